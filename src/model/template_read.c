/* SPDX-License-Identifier: Apache-2.0
 *
 * Templates: text in which {{name}} stands for a fact of the run, a field of its payload or a
 * secret. Here they are read, piece by piece; template.c renders them.
 *
 *   {{due_at}}                 a fact; the table below
 *   {{payload.user.id}}        a field of the payload; {{payload.items.0}} an element, {{payload}}
 * all
 *   {{payload.user.id|none}}   the same, with what to write when it is absent or null
 *   {{secret.NAME}}            a secret
 *   {{checkpoint|0}}           the run's last checkpoint, and what to write while there is none
 *   {{'{{'}}                   the two characters themselves
 *
 * There are no loops, conditions or functions, and there will be none: that is what programs are
 * for. */
#include <stdio.h>
#include <string.h>

#include "base/ascii.h"
#include "base/mem.h"
#include "base/text.h"
#include "model/template_priv.h"

#define OPEN       "{{"
#define CLOSE      "}}"
#define LITERAL    "'{{'"
#define PAYLOAD    "payload"
#define SECRET     "secret."
#define CHECKPOINT "checkpoint"

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

static const struct fact facts[] = {
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

int template_next(const char *text, const char **at, struct piece *piece, struct err *err)
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

	while ((more = template_next(text, &at, &piece, err)) > 0)
		if (piece.kind == PIECE_SECRET && each_secret != NULL)
			each_secret(piece.name, piece.name_len, data);
	return more;
}

bool template_uses_checkpoint(const char *text)
{
	const char *at = text;
	struct piece piece;

	while (template_next(text, &at, &piece, NULL) > 0)
		if (piece.kind == PIECE_CHECKPOINT)
			return true;
	return false;
}
