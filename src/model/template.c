/* SPDX-License-Identifier: Apache-2.0
 *
 * Rendering templates (their language: template_read.c). Safe by construction: what is put in can
 * never end what surrounds it.
 *
 * What a value becomes depends on the place (enum template_form): percent-encoded in a URL, refused
 * with a control character in a header. In JSON it depends on what the text around has come to:
 * inside a string the value is written as the inside of a string, elsewhere as a JSON value of its
 * own, so {"id": {{payload.id}}} sends the number 5 as 5 and the text 5 as "5". Only the author's
 * own characters move that state; what is put in is always balanced. */
#include <stdio.h>
#include <string.h>

#include "base/escape.h"
#include "base/mem.h"
#include "base/text.h"
#include "model/template_priv.h"

#define EXCERPT_MAX 80 /* bytes of a name in a message */

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
	while (code == 0 && (more = template_next(text, &at, &piece, err)) != 0)
		code = more < 0 ? more : put_piece(&rendering, &piece, err);
	if (code == 0 && out->is_cut)
		code = err_set(err, ERR_TOO_LARGE,
			"with its values put in it is longer than %zu bytes", forms[form].max);
	if (code == 0 && form == TEMPLATE_URL)
		code = check_path_kept(text, out, err);
	return code;
}
