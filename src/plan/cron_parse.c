/* SPDX-License-Identifier: Apache-2.0
 *
 * Cron expressions: text to sets of numbers. Macros and five fields become six, each is read by
 * cron_field.c, and what concerns several fields is settled here: which days match, whether the
 * expression keeps its rhythm, whether there is any such date at all.
 *
 * Where dialects disagree this is Debian's cron (Vixie): a field "begins with *" or it does not,
 * and that decides on either-or-both of the day fields and on DST (doc/schedules.md). */
#include "plan/cron_priv.h"

#include <string.h>

#include "base/mem.h"

static const struct {
	const char *name;
	const char *expression;
} macros[] = {
	{"@yearly", "0 0 1 1 *"},
	{"@annually", "0 0 1 1 *"},
	{"@monthly", "0 0 1 * *"},
	{"@weekly", "0 0 * * 0"},
	{"@daily", "0 0 * * *"},
	{"@midnight", "0 0 * * *"},
	{"@hourly", "0 * * * *"},
};

/* --- fields --- */

static bool is_star(const struct piece *text)
{
	return *text->at == '*' || *text->at == '?';
}

/* A field that restricts nothing: all of its values. */
static bool is_full(enum cron_field field, uint64_t set)
{
	const struct cron_field_rule *rule = &cron_fields[field];

	return set == (UINT64_C(2) << rule->last) - (UINT64_C(1) << rule->min);
}

/* Vixie: both day fields must match when one begins with '*', else either. As a bare '*' matches
 * every day, that is the usual reading; it shows when the star has a step. */
static void set_day_match(
	struct cron *cron, const struct piece *texts, enum day_match day_match, char *warning)
{
	bool has_star = is_star(&texts[DAY_OF_MONTH]) || is_star(&texts[DAY_OF_WEEK]);
	bool restricts_both =
		!is_full(DAY_OF_MONTH, cron->days) && !is_full(DAY_OF_WEEK, cron->weekdays);

	cron->needs_both_days = has_star || day_match == DAY_MATCH_BOTH;
	if (day_match == DAY_MATCH_BOTH || (has_star && !restricts_both))
		return;
	if (has_star)
		warning_add(warning,
			"both day-of-month and day-of-week must match, as one begins with '*'");
	else
		warning_add(warning,
			"day-of-month and day-of-week are both given: either one is enough "
			"(\"day_match\": \"both\" for both)");
}

static int parse_fields(struct cron_parser *parser, const struct piece texts[CRON_FIELDS])
{
	struct cron *cron = parser->cron;
	uint64_t sets[CRON_FIELDS];

	for (enum cron_field field = SECOND; field < CRON_FIELDS; field++) {
		int code = cron_parse_field(parser, field, &texts[field]);

		if (code != ERR_NONE)
			return code;
		sets[field] = parser->set;
	}
	cron->times.seconds = sets[SECOND];
	cron->times.minutes = sets[MINUTE];
	cron->times.hours = (uint32_t)sets[HOUR];
	cron->days = (uint32_t)sets[DAY_OF_MONTH];
	cron->months = (uint16_t)sets[MONTH];
	cron->weekdays = (uint8_t)((sets[DAY_OF_WEEK] | sets[DAY_OF_WEEK] >> 7) & 0x7f);
	cron->is_interval_like = is_star(&texts[MINUTE]) || is_star(&texts[HOUR]);
	return ERR_NONE;
}

/* --- expressions --- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* Cuts at blanks into at most `max` pieces; the number found, which may be more. */
static size_t split(const char *text, size_t max, struct piece *ret_pieces)
{
	size_t count = 0;

	while (*text != '\0') {
		const char *start = text;

		while (*text != '\0' && !is_space(*text))
			text++;
		if (text > start && count++ < max)
			ret_pieces[count - 1] = (struct piece){start, (size_t)(text - start)};
		while (is_space(*text))
			text++;
	}
	return count;
}

static int find_macro(
	const struct piece *pieces, size_t count, const char **ret_text, struct err *err)
{
	char shown[EXCERPT_SIZE], next[EXCERPT_SIZE];

	for (size_t i = 0; count == 1 && i < COUNT_OF(macros); i++) {
		if (piece_is(&pieces[0], macros[i].name)) {
			*ret_text = macros[i].expression;
			return ERR_NONE;
		}
	}
	(void)excerpt(pieces[0].at, pieces[0].len, shown);
	if (piece_is(&pieces[0], "@reboot"))
		return err_field(err, ERR_INVALID, "/cron",
			"cron macro '%s' names no due time; write \"run_on_start\": true "
			"instead of \"cron\"",
			shown);
	if (piece_is(&pieces[0], "@every") && count == 2)
		return err_field(err, ERR_INVALID, "/cron",
			"cron macro '%s' is an interval; write \"every\": \"%s\" instead of "
			"\"cron\"",
			shown, excerpt(pieces[1].at, pieces[1].len, next));
	return err_field(err, ERR_INVALID, "/cron",
		"unknown cron macro '%s'; there are @yearly @annually @monthly @weekly @daily "
		"@midnight "
		"@hourly",
		shown);
}

/* Is there any such date? The calendar repeats within the search's horizon. */
static int check_possible(
	const struct cron *cron, const struct piece texts[CRON_FIELDS], struct err *err)
{
	char day[EXCERPT_SIZE], month[EXCERPT_SIZE], weekday[EXCERPT_SIZE];
	int64_t found = 0;

	if (cron_next(cron, 0, DUE_MAX_S, &found))
		return ERR_NONE;
	return err_field(err, ERR_INVALID, "/cron",
		"cron expression can never be due: no year has day-of-month '%s' with month '%s' "
		"and "
		"day-of-week '%s'",
		excerpt(texts[DAY_OF_MONTH].at, texts[DAY_OF_MONTH].len, day),
		excerpt(texts[MONTH].at, texts[MONTH].len, month),
		excerpt(texts[DAY_OF_WEEK].at, texts[DAY_OF_WEEK].len, weekday));
}

/* Finds the six fields of an expression or macro; they point into `text` or into constants. */
static int find_fields(const char *text, struct piece ret_texts[CRON_FIELDS], struct err *err)
{
	size_t count = 0;

	if (strnlen(text, CRON_TEXT_MAX + 1) > CRON_TEXT_MAX)
		return err_field(err, ERR_INVALID, "/cron",
			"cron expression is longer than %d characters", CRON_TEXT_MAX);
	count = split(text, CRON_FIELDS, ret_texts);
	if (count > 0 && *ret_texts[0].at == '@') {
		int code = find_macro(ret_texts, count, &text, err);

		if (code != ERR_NONE)
			return code;
		count = split(text, CRON_FIELDS, ret_texts);
	}
	if (count != CRON_FIELDS && count != CRON_FIELDS - 1)
		return err_field(err, ERR_INVALID, "/cron",
			"cron expression has %zu field%s; it takes 5 (minute hour day-of-month "
			"month "
			"day-of-week) or 6 with the second first",
			count, count == 1 ? "" : "s");
	if (count == CRON_FIELDS - 1) {
		memmove(&ret_texts[1], &ret_texts[0], count * sizeof(*ret_texts));
		ret_texts[SECOND] = (struct piece){"0", 1};
	}
	return ERR_NONE;
}

int cron_parse(const struct schedule_spec *spec, struct cron *ret_cron,
	char warning[static WARNING_SIZE], struct err *err)
{
	struct piece texts[CRON_FIELDS];
	struct cron cron = {0};
	struct cron_parser parser = {
		.name = spec->name, .cron = &cron, .warning = warning, .err = err};
	int code = find_fields(spec->cron, texts, err);

	warning[0] = '\0';
	if (code == ERR_NONE)
		code = parse_fields(&parser, texts);
	if (code != ERR_NONE)
		return code;
	set_day_match(&cron, texts, spec->day_match, warning);
	code = check_possible(&cron, texts, err);
	if (code == ERR_NONE)
		*ret_cron = cron;
	return code;
}
