/* SPDX-License-Identifier: Apache-2.0
 *
 * Templates: text in which {{name}} stands for a fact of the run, a field of its payload or a
 * secret. Pure, and safe by construction: what is put in can never end what surrounds it.
 *
 *   {{due_at}}                 a fact; the table below
 *   {{payload.user.id}}        a field of the payload; {{payload.items.0}} an element, {{payload}}
 * all
 *   {{payload.user.id|none}}   the same, with what to write when it is absent or null
 *   {{secret.NAME}}            a secret
 *   {{checkpoint|0}}           the run's last checkpoint, and what to write while there is none
 *   {{'{{'}}                   the two characters themselves
 *
 * What a value becomes depends on the place (enum template_form): percent-encoded in a URL, refused
 * with a control character in a header. In JSON it depends on what the text around has come to:
 * inside a string the value is written as the inside of a string, elsewhere as a JSON value of its
 * own, so {"id": {{payload.id}}} sends the number 5 as 5 and the text 5 as "5". Only the author's
 * own characters move that state; what is put in is always balanced.
 *
 * There are no loops, conditions or functions, and there will be none: that is what programs are
 * for. */
#include <stdio.h>
#include <string.h>

#include "base/ascii.h"
#include "base/escape.h"
#include "base/mem.h"
#include "base/text.h"
#include "model/model_priv.h"

#define OPEN       "{{"
#define CLOSE      "}}"
#define LITERAL    "'{{'"
#define PAYLOAD    "payload"
#define SECRET     "secret."
#define CHECKPOINT "checkpoint"

#define EXCERPT_MAX 80 /* bytes of a name in a message */

/* --- facts of the run --- */

static void put_due_at(const struct run *run, struct buf *out)
{
	char text[RFC3339_TEXT_SIZE];

	buf_puts(out, format_rfc3339(run->due_at_ms, text));
}

/* The day on the clock of the schedule; UTC without one. */
static void put_due_date(const struct run *run, struct buf *out)
{
	const struct schedule *schedule = run->action->schedule;
	int32_t offset_s = schedule != NULL ? schedule_utc_offset_s(schedule, run->due_at_ms) : 0;
	char text[RFC3339_TEXT_SIZE];

	(void)format_rfc3339_offset(run->due_at_ms, offset_s, text);
	buf_append(out, text, strcspn(text, "T"));
}

static void put_run_id(const struct run *run, struct buf *out)
{
	char text[ID_TEXT_SIZE];

	buf_puts(out, id_format(&run->id, text));
}

static void put_action(const struct run *run, struct buf *out)
{
	buf_puts(out, run->action->name);
}

static void put_attempt(const struct run *run, struct buf *out)
{
	buf_printf(out, "%d", run->attempt);
}

static void put_epoch(const struct run *run, struct buf *out)
{
	buf_printf(out, "%lld", (long long)run->epoch);
}

static void put_idempotency_key(const struct run *run, struct buf *out)
{
	char text[RUN_KEY_SIZE];

	buf_puts(out, run_idempotency_key(run, text));
}

static const struct fact {
	const char *name;
	void (*put)(const struct run *run, struct buf *out);
	bool is_number; /* outside of a JSON string it needs no quotes */
} facts[] = {
	{"due_at", put_due_at},
	{"due_date", put_due_date},
	{"run_id", put_run_id},
	{"action", put_action},
	{"attempt", put_attempt, true},
	{"epoch", put_epoch, true},
	{"idempotency_key", put_idempotency_key},
};
#define NAMES                                                                                      \
	"due_at, due_date, run_id, action, attempt, epoch, idempotency_key, payload.FIELD, "       \
	"secret.NAME, checkpoint"

static const struct fact *find_fact(const char *name, size_t len)
{
	for (size_t i = 0; i < COUNT_OF(facts); i++)
		if (strlen(facts[i].name) == len && memcmp(facts[i].name, name, len) == 0)
			return &facts[i];
	return NULL;
}

/* --- reading a template --- */

enum piece_kind {
	PIECE_TEXT, /* to be copied */
	PIECE_FACT,
	PIECE_PAYLOAD,   /* name: the path behind "payload", "" for all of it */
	PIECE_SECRET,    /* name: its name */
	PIECE_CHECKPOINT /* what an earlier attempt of the run left */
};

struct piece {
	enum piece_kind kind;
	const char *text; /* PIECE_TEXT; borrowed from the template, as all here */
	size_t len;
	const struct fact *fact;
	const char *name;
	size_t name_len;
	const char *fallback; /* NULL: none */
	size_t fallback_len;
};

static bool is_name_char(char c)
{
	return ascii_is_alnum(c) || (c != '\0' && strchr("._-", c) != NULL);
}

static bool begins_with(const char *text, size_t len, const char *prefix)
{
	return len >= strlen(prefix) && memcmp(text, prefix, strlen(prefix)) == 0;
}

bool secret_name_is_valid(const char *name, size_t len)
{
	if (len == 0 || len > SECRET_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_name_char(name[i]) || name[i] == '.' || name[i] == '-')
			return false;
	return name[0] < '0' || name[0] > '9';
}

/* "", ".a", ".a.0.b": no empty part. */
static bool path_is_valid(const char *path, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (path[i] == '.' && (i + 1 == len || path[i + 1] == '.'))
			return false;
	return len == 0 || path[0] == '.';
}

/* What a name means; false: nothing. */
static bool read_name(const char *name, size_t len, struct piece *piece)
{
	piece->fact = find_fact(name, len);
	piece->kind = PIECE_FACT;
	if (piece->fact != NULL)
		return piece->fallback == NULL; /* a fact is always there */
	if (len == strlen(CHECKPOINT) && begins_with(name, len, CHECKPOINT)) {
		piece->kind = PIECE_CHECKPOINT;
		return true;
	}
	if (begins_with(name, len, PAYLOAD)) {
		piece->kind = PIECE_PAYLOAD;
		piece->name = name + strlen(PAYLOAD);
		piece->name_len = len - strlen(PAYLOAD);
		return path_is_valid(piece->name, piece->name_len);
	}
	if (!begins_with(name, len, SECRET) || piece->fallback != NULL)
		return false;
	piece->kind = PIECE_SECRET;
	piece->name = name + strlen(SECRET);
	piece->name_len = len - strlen(SECRET);
	return secret_name_is_valid(piece->name, piece->name_len);
}

/* Counted in characters, from 1, as an editor does. */
static size_t position(const char *text, const char *at)
{
	size_t count = 1;

	for (; text < at; text++)
		count += ((unsigned char)*text & 0xC0) != 0x80;
	return count;
}

static int refuse_name(
	struct err *err, const char *text, const char *at, const char *name, size_t len)
{
	char excerpt[41] = "";

	(void)snprintf(excerpt, sizeof(excerpt), "%.*s", (int)(len < 40 ? len : 40), name);
	for (size_t i = 0; excerpt[i] != '\0'; i++) /* it may be cut within a character */
		if (!is_name_char(excerpt[i]) && excerpt[i] != '|')
			excerpt[i] = '?';
	return err_set(err, ERR_INVALID,
		"position %zu: '%s' is no name that can stand in a template; known are %s",
		position(text, at), excerpt, NAMES);
}

/* An expression at `at`, behind its "{{"; *ret_end is behind its "}}". */
static int read_expression(const char *text, const char *at, struct piece *piece,
	const char **ret_end, struct err *err)
{
	const char *close = strstr(at, CLOSE), *name = at + strspn(at, " "), *end, *bar;

	if (close == NULL)
		return err_set(err, ERR_INVALID,
			"position %zu: '{{' begins a template but no '}}' follows; for the two "
			"characters themselves write {{'{{'}}",
			position(text, at - strlen(OPEN)));
	*ret_end = close + strlen(CLOSE);
	bar = memchr(name, '|', name < close ? (size_t)(close - name) : 0);
	end = bar != NULL ? bar : close;
	piece->fallback = bar != NULL ? bar + 1 : NULL;
	piece->fallback_len = bar != NULL ? (size_t)(close - bar - 1) : 0;
	while (end > name && end[-1] == ' ')
		end--;
	if (begins_with(name, (size_t)(end - name), LITERAL) && end - name == strlen(LITERAL)) {
		*piece = (struct piece){.text = OPEN, .len = strlen(OPEN)};
		return 0;
	}
	if (name >= end || !read_name(name, (size_t)(end - name), piece))
		return refuse_name(err, text, at, name, name < close ? (size_t)(close - name) : 0);
	return 0;
}

/* The next piece at *at, which moves behind it; 1: there is one, 0: the end, ERR_INVALID. */
static int next_piece(const char *text, const char **at, struct piece *piece, struct err *err)
{
	const char *open;

	*piece = (struct piece){0};
	if (**at == '\0')
		return 0;
	open = strstr(*at, OPEN);
	if (open == *at)
		return read_expression(text, open + strlen(OPEN), piece, at, err) < 0 ? ERR_INVALID
										      : 1;
	piece->text = *at;
	piece->len = open != NULL ? (size_t)(open - *at) : strlen(*at);
	*at += piece->len;
	return 1;
}

bool template_is(const char *text)
{
	return strstr(text, OPEN) != NULL;
}

char *template_escape(const char *text)
{
	struct buf out;
	char *escaped;
	const char *open;

	buf_init(&out, 4 * strlen(text) + 1); /* two bytes become eight */
	for (; (open = strstr(text, OPEN)) != NULL; text = open + strlen(OPEN)) {
		buf_append(&out, text, (size_t)(open - text));
		buf_puts(&out, OPEN LITERAL CLOSE);
	}
	buf_puts(&out, text);
	escaped = buf_take(&out);
	buf_fini(&out);
	return escaped;
}

int template_check(const char *text, template_secret_fn *each_secret, void *data, struct err *err)
{
	const char *at = text;
	struct piece piece;
	int more;

	while ((more = next_piece(text, &at, &piece, err)) > 0)
		if (piece.kind == PIECE_SECRET && each_secret != NULL)
			each_secret(piece.name, piece.name_len, data);
	return more;
}

bool template_uses_checkpoint(const char *text)
{
	const char *at = text;
	struct piece piece;

	while (next_piece(text, &at, &piece, NULL) > 0)
		if (piece.kind == PIECE_CHECKPOINT)
			return true;
	return false;
}

/* --- rendering --- */

static const struct {
	enum escape escape;
	size_t max;
} forms[] = {
	[TEMPLATE_TEXT] = {ESCAPE_NONE, TEMPLATE_BODY_MAX},
	[TEMPLATE_HEADER] = {ESCAPE_NONE, TEMPLATE_LINE_MAX},
	[TEMPLATE_URL] = {ESCAPE_PERCENT, TEMPLATE_LINE_MAX},
	[TEMPLATE_PERCENT] = {ESCAPE_PERCENT, TEMPLATE_BODY_MAX},
	[TEMPLATE_JSON] = {ESCAPE_JSON, TEMPLATE_BODY_MAX},
	[TEMPLATE_XML] = {ESCAPE_XML, TEMPLATE_BODY_MAX},
};

/* Where in a JSON text the author's characters have come to. */
struct json_state {
	bool in_string, is_escaped;
};

static void follow_json(struct json_state *state, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!state->in_string)
			state->in_string = text[i] == '"';
		else if (state->is_escaped)
			state->is_escaped = false;
		else if (text[i] == '\\')
			state->is_escaped = true;
		else if (text[i] == '"')
			state->in_string = false;
	}
}

struct rendering {
	enum template_form form;
	const struct template_values *values;
	struct json_state json;
	struct buf *out;
};

static bool has_line_break(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f)
			return true;
	return false;
}

/* A piece of text; `is_value`: it is a JSON value by itself, and may stand bare in JSON. */
static int put_text(struct rendering *rendering, const struct piece *piece, const char *text,
	size_t len, bool is_value, struct err *err)
{
	bool is_bare = rendering->form == TEMPLATE_JSON && !rendering->json.in_string;

	if (rendering->form == TEMPLATE_HEADER && has_line_break(text, len))
		return err_set(err, ERR_INVALID,
			"the value of '%.*s' has a line break or another control character, which "
			"a "
			"header cannot hold",
			(int)(piece->name_len < EXCERPT_MAX ? piece->name_len : EXCERPT_MAX),
			piece->name);
	if (is_bare && !is_value)
		buf_putc(rendering->out, '"');
	escape_append(is_bare && is_value ? ESCAPE_NONE : forms[rendering->form].escape, text, len,
		rendering->out);
	if (is_bare && !is_value)
		buf_putc(rendering->out, '"');
	return 0;
}

static int put_fact(struct rendering *rendering, const struct piece *piece, struct err *err)
{
	struct buf text;
	int code;

	buf_init(&text, TEMPLATE_LINE_MAX);
	piece->fact->put(rendering->values->run, &text);
	code = put_text(rendering, piece, buf_text(&text), text.len, piece->fact->is_number, err);
	buf_fini(&text);
	return code;
}

static const json_t *element_of(const json_t *list, const char *name)
{
	int64_t index;

	if (!parse_i64(name, 0, INT32_MAX, &index))
		return NULL;
	return json_array_get(list, (size_t)index);
}

/* The field at ".a.b"; NULL: absent, or null, which is the same. */
static const json_t *find_field(const json_t *json, const char *path, size_t len)
{
	const char *end = path + len;

	while (json != NULL && path < end) {
		const char *name = path + 1, *dot = memchr(name, '.', (size_t)(end - name));
		auto_free char *key = xstrndup(name, (size_t)((dot != NULL ? dot : end) - name));

		json = json_is_array(json) ? element_of(json, key) : json_object_get(json, key);
		path = dot != NULL ? dot : end;
	}
	return json_is_null(json) ? NULL : json;
}

static int put_json(
	struct rendering *rendering, const struct piece *piece, const json_t *json, struct err *err)
{
	char *text;
	int code;

	if (json_is_string(json))
		return put_text(rendering, piece, json_string_value(json), json_string_length(json),
			false, err);
	text = json_dumps(json, JSON_WRITE_FLAGS | JSON_ENCODE_ANY);
	must(text != NULL);
	code = put_text(rendering, piece, text, strlen(text), true, err);
	free(text);
	return code;
}

static int put_payload(struct rendering *rendering, const struct piece *piece, struct err *err)
{
	const json_t *field = find_field(rendering->values->payload, piece->name, piece->name_len);
	int len = (int)(piece->name_len < EXCERPT_MAX ? piece->name_len : EXCERPT_MAX);

	if (field != NULL)
		return put_json(rendering, piece, field, err);
	if (piece->fallback != NULL) /* the author's own words */
		return put_text(rendering, piece, piece->fallback, piece->fallback_len, true, err);
	return err_set(err, ERR_INVALID,
		"this run has no 'payload%.*s'; write {{payload%.*s|...}} to say what stands in "
		"its place",
		len, piece->name, len, piece->name);
}

const char *secret_find(const struct template_values *values, const char *name, size_t len)
{
	for (size_t i = 0; i < values->secret_count; i++)
		if (strlen(values->secrets[i].name) == len &&
			memcmp(values->secrets[i].name, name, len) == 0)
			return values->secrets[i].value;
	return NULL;
}

static int put_secret(struct rendering *rendering, const struct piece *piece, struct err *err)
{
	const char *value = secret_find(rendering->values, piece->name, piece->name_len);

	if (value == NULL)
		return err_set(err, ERR_NOT_FOUND,
			"there is no secret '%.*s'; store it with: gathering secret set %.*s",
			(int)piece->name_len, piece->name, (int)piece->name_len, piece->name);
	return put_text(rendering, piece, value, strlen(value), false, err);
}

/* The first attempt of a run has none: nothing, then, or null where a JSON value has to stand. */
static int put_checkpoint(struct rendering *rendering, const struct piece *piece, struct err *err)
{
	const char *checkpoint = rendering->values->run->checkpoint;
	bool is_bare = rendering->form == TEMPLATE_JSON && !rendering->json.in_string;

	if (checkpoint != NULL)
		return put_text(rendering, piece, checkpoint, strlen(checkpoint), false, err);
	if (piece->fallback != NULL)
		return put_text(rendering, piece, piece->fallback, piece->fallback_len, true, err);
	if (is_bare)
		buf_puts(rendering->out, "null");
	return 0;
}

static int put_piece(struct rendering *rendering, const struct piece *piece, struct err *err)
{
	switch (piece->kind) {
	case PIECE_TEXT:
		if (rendering->form == TEMPLATE_JSON)
			follow_json(&rendering->json, piece->text, piece->len);
		buf_append(rendering->out, piece->text, piece->len);
		return 0;
	case PIECE_FACT:
		return put_fact(rendering, piece, err);
	case PIECE_PAYLOAD:
		return put_payload(rendering, piece, err);
	case PIECE_SECRET:
		return put_secret(rendering, piece, err);
	case PIECE_CHECKPOINT:
		return put_checkpoint(rendering, piece, err);
	}
	return 0;
}

/* --- paths: a value must not climb --- */

/* Segments of the path that are "." or "..", which receivers (and libcurl) resolve. */
static size_t count_dot_segments(const char *url)
{
	const char *at = strstr(url, "://");
	size_t count = 0, len;

	at = at != NULL ? at + 3 : url;
	for (at += strcspn(at, "/?#"); *at == '/'; at += len) {
		at++;
		len = strcspn(at, "/?#");
		count += (len == 1 && at[0] == '.') || (len == 2 && memcmp(at, "..", 2) == 0);
	}
	return count;
}

/* As many as the author wrote; an expression has letters, so it is no such segment. */
static int check_path_kept(const char *text, const struct buf *out, struct err *err)
{
	if (count_dot_segments(text) == count_dot_segments(buf_text(out)))
		return 0;
	return err_set(err, ERR_INVALID,
		"a value makes a part of the path '.' or '..', which would lead elsewhere");
}

int template_render(enum template_form form, const char *text, const struct template_values *values,
	struct buf *out, struct err *err)
{
	struct rendering rendering = {.form = form, .values = values, .out = out};
	const char *at = text;
	struct piece piece;
	int more, code = 0;

	buf_init(out, forms[form].max);
	while (code == 0 && (more = next_piece(text, &at, &piece, err)) != 0)
		code = more < 0 ? more : put_piece(&rendering, &piece, err);
	if (code == 0 && out->is_cut)
		code = err_set(err, ERR_TOO_LARGE,
			"with its values put in it is longer than %zu bytes", forms[form].max);
	if (code == 0 && form == TEMPLATE_URL)
		code = check_path_kept(text, out, err);
	return code;
}
