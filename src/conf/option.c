/* SPDX-License-Identifier: Apache-2.0
 *
 * options.def as a table, and what can be done with one of its rows: find it, set it from text,
 * write it as text, check it against another. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "conf/conf_priv.h"

#define NAME_MAX_LEN 32 /* longer names are compared by their beginning */

#define RANGE_STRING(min, max)      NULL, 0, 0
#define RANGE_BOOL(min, max)        NULL, 0, 0
#define RANGE_ENUM(words, max)      words, 0, 0
#define RANGE_DURATION(least, most) NULL, least, most
#define RANGE_SIZE(least, most)     NULL, least, most
#define RANGE_INT(least, most)      NULL, least, most

const struct conf_option conf_options[] = {
#define ROW(name, type, value, min, max, help, is_live)                                            \
	{#name, CONF_TYPE_##type, value, RANGE_##type(min, max), offsetof(struct conf, name),      \
		help, is_live},
#define X(...)    ROW(__VA_ARGS__, false)
#define LIVE(...) ROW(__VA_ARGS__, true)
#include "conf/options.def"
#undef X
#undef LIVE
};

const size_t conf_option_count = COUNT_OF(conf_options);

static char as_underscore(char c)
{
	return c == '-' ? '_' : c;
}

const struct conf_option *conf_find(const char *name, size_t len)
{
	for (size_t i = 0; i < conf_option_count; i++) {
		const char *known = conf_options[i].name;
		size_t at = 0;

		while (at < len && known[at] != '\0' && as_underscore(name[at]) == known[at])
			at++;
		if (at == len && known[at] == '\0')
			return &conf_options[i];
	}
	return NULL;
}

/* Levenshtein's edit distance, a row of its matrix at a time. */
static size_t edit_distance(const char *a, size_t a_len, const char *b)
{
	size_t row[NAME_MAX_LEN + 1];

	a_len = a_len < NAME_MAX_LEN ? a_len : NAME_MAX_LEN;
	for (size_t i = 0; i <= a_len; i++)
		row[i] = i;
	for (size_t j = 0; b[j] != '\0'; j++) {
		size_t diagonal = row[0];

		row[0] = j + 1;
		for (size_t i = 0; i < a_len; i++) {
			size_t best = diagonal + (as_underscore(a[i]) != b[j]);

			diagonal = row[i + 1];
			if (best > diagonal + 1)
				best = diagonal + 1;
			if (best > row[i] + 1)
				best = row[i] + 1;
			row[i + 1] = best;
		}
	}
	return row[a_len];
}

const char *conf_nearest(const char *name, size_t len)
{
	const char *nearest = NULL;
	size_t least = SIZE_MAX;

	for (size_t i = 0; i < conf_option_count; i++) {
		size_t distance = edit_distance(name, len, conf_options[i].name);

		if (distance < least) {
			least = distance;
			nearest = conf_options[i].name;
		}
	}
	return nearest;
}

static bool is_word_of(const char *words, const char *value)
{
	size_t len = strlen(value);

	for (const char *at = words; *at != '\0';) {
		size_t word_len = strcspn(at, " ");

		if (word_len == len && memcmp(at, value, len) == 0)
			return true;
		at += word_len + (at[word_len] == ' ');
	}
	return false;
}

/* The place of the value; its type is what the type of the row says. */
static void *value_at(const struct conf *conf, const struct conf_option *option)
{
	return (char *)conf + option->offset;
}

static bool set_string(char **at, const char *value)
{
	free(*at);
	*at = xstrdup(value);
	return true;
}

static bool set_number(int64_t *at, const struct conf_option *option, bool is_read, int64_t number)
{
	if (!is_read || number < option->min || number > option->max)
		return false;
	*at = number;
	return true;
}

static bool set_value(void *at, const struct conf_option *option, const char *value)
{
	int64_t number = 0;
	bool is_read = false;

	switch (option->type) {
	case CONF_TYPE_STRING:
		return set_string(at, value);
	case CONF_TYPE_ENUM:
		return is_word_of(option->words, value) && set_string(at, value);
	case CONF_TYPE_BOOL:
		return parse_bool(value, at);
	case CONF_TYPE_DURATION:
		is_read = parse_duration(value, &number);
		break;
	case CONF_TYPE_SIZE:
		is_read = parse_size(value, &number);
		break;
	case CONF_TYPE_INT:
		is_read = parse_i64(value, INT64_MIN, INT64_MAX, &number);
		break;
	}
	return set_number(at, option, is_read, number);
}

static void write_size(int64_t bytes, struct buf *out)
{
	static const char *const units[] = {"", "KiB", "MiB", "GiB"};
	size_t unit = 0;

	while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < COUNT_OF(units)) {
		bytes /= 1024;
		unit++;
	}
	buf_printf(out, "%" PRId64 "%s", bytes, units[unit]);
}

static void write_number(enum conf_type type, int64_t number, struct buf *out)
{
	char text[DURATION_TEXT_SIZE];

	if (type == CONF_TYPE_DURATION)
		buf_puts(out, format_duration(number, text));
	else if (type == CONF_TYPE_SIZE)
		write_size(number, out);
	else
		buf_printf(out, "%" PRId64, number);
}

void conf_write_allowed(const struct conf_option *option, struct buf *out)
{
	static const char *const what[] = {[CONF_TYPE_STRING] = "text",
		[CONF_TYPE_ENUM] = "one of",
		[CONF_TYPE_DURATION] = "a duration such as 10s",
		[CONF_TYPE_SIZE] = "a size such as 64KiB",
		[CONF_TYPE_INT] = "a whole number",
		[CONF_TYPE_BOOL] = "true or false"};

	buf_puts(out, what[option->type]);
	if (option->words)
		buf_printf(out, " %s", option->words);
	if (option->max > option->min) {
		buf_puts(out, ", ");
		write_number(option->type, option->min, out);
		buf_puts(out, " to ");
		write_number(option->type, option->max, out);
	}
}

void conf_write_value(const struct conf *conf, const struct conf_option *option, struct buf *out)
{
	const void *at = value_at(conf, option);

	switch (option->type) {
	case CONF_TYPE_STRING:
	case CONF_TYPE_ENUM:
		buf_puts(out, *(char *const *)at);
		break;
	case CONF_TYPE_BOOL:
		buf_puts(out, *(const bool *)at ? "true" : "false");
		break;
	case CONF_TYPE_DURATION:
	case CONF_TYPE_SIZE:
	case CONF_TYPE_INT:
		write_number(option->type, *(const int64_t *)at, out);
		break;
	}
}

void conf_swap(struct conf *a, struct conf *b, const struct conf_option *option)
{
	static const size_t sizes[] = {[CONF_TYPE_STRING] = sizeof(char *),
		[CONF_TYPE_ENUM] = sizeof(char *),
		[CONF_TYPE_DURATION] = sizeof(int64_t),
		[CONF_TYPE_SIZE] = sizeof(int64_t),
		[CONF_TYPE_INT] = sizeof(int64_t),
		[CONF_TYPE_BOOL] = sizeof(bool)};
	size_t size = sizes[option->type], index = (size_t)(option - conf_options);
	char kept[sizeof(int64_t)];
	enum conf_source source = a->sources[index];

	memcpy(kept, value_at(a, option), size);
	memcpy(value_at(a, option), value_at(b, option), size);
	memcpy(value_at(b, option), kept, size);
	a->sources[index] = b->sources[index];
	b->sources[index] = source;
}

int conf_set(struct conf *conf, const struct conf_option *option, const char *value,
	const char *where, struct err *err)
{
	char field[sizeof(err->field)];
	struct buf allowed;

	if (set_value(value_at(conf, option), option, value))
		return 0;
	buf_init(&allowed, sizeof(err->text));
	conf_write_allowed(option, &allowed);
	(void)snprintf(field, sizeof(field), "/%s", option->name);
	(void)err_field(err, ERR_INVALID, field, "%s: '%.80s' cannot be the value of %s: give %s",
		where, value, option->name, buf_text(&allowed));
	buf_fini(&allowed);
	return ERR_INVALID;
}

/* An owner ends its runs so long before its lease does. */
#define LEASE_MARGIN_MS 5000

int conf_check(const struct conf *conf, struct err *err)
{
	char left[DURATION_TEXT_SIZE], right[DURATION_TEXT_SIZE];

	if (conf->notice_min > conf->notice_max)
		return err_field(err, ERR_INVALID, "/notice_min",
			"notice_min (%s) is above notice_max (%s): lower the one or raise the "
			"other",
			format_duration(conf->notice_min, left),
			format_duration(conf->notice_max, right));
	if (conf->notice_min >= conf->total_max)
		return err_field(err, ERR_INVALID, "/notice_min",
			"notice_min (%s) leaves no time before total_max (%s): lower the one or "
			"raise "
			"the other",
			format_duration(conf->notice_min, left),
			format_duration(conf->total_max, right));
	if (conf->total_max <= conf->term_grace + conf->db_max)
		return err_field(err, ERR_INVALID, "/total_max",
			"total_max (%s) must be above term_grace and db_max together (%s), or runs "
			"are "
			"cut before they can be handed back: raise it",
			format_duration(conf->total_max, left),
			format_duration(conf->term_grace + conf->db_max, right));
	if (conf->lease < 2 * conf->heartbeat + LEASE_MARGIN_MS)
		return err_field(err, ERR_INVALID, "/lease",
			"lease (%s) must be at least twice heartbeat (%s) and 5s more, or one lost "
			"heartbeat ends every run: raise it",
			format_duration(conf->lease, left),
			format_duration(conf->heartbeat, right));
	return 0;
}
