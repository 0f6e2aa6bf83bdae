/* SPDX-License-Identifier: Apache-2.0
 *
 * Cron expressions: text to sets of numbers. A field is a list of items; an item is a range with a
 * step or, in the two day fields, one of the forms with L, W and #. The table `fields` says all
 * that differs between the fields. Errors name the field, what was written and what is allowed;
 * remarks on what is legal but rarely meant are gathered in the warning.
 *
 * Where dialects disagree this is Debian's cron (Vixie): a field "begins with *" or it does not,
 * and that decides on either-or-both of the day fields and on DST (doc/schedules.md). */
#include "plan/plan_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum field {
	SECOND,
	MINUTE,
	HOUR,
	DAY_OF_MONTH,
	MONTH,
	DAY_OF_WEEK,
	FIELD_COUNT
};

struct field_rule {
	const char *name;
	int min, max;
	int last;          /* where * and open steps end: 7 is another name of Sunday */
	const char *names; /* three letters each, the first one is min; NULL when there are none */
};

static const struct field_rule fields[FIELD_COUNT] = {
	[SECOND] = {"second",       0, 59, 59, NULL                                  },
	[MINUTE] = {"minute",       0, 59, 59, NULL                                  },
	[HOUR] = {"hour",         0, 23, 23, NULL                                  },
	[DAY_OF_MONTH] = {"day-of-month", 1, 31, 31, NULL                                  },
	[MONTH] = {"month",        1, 12, 12, "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"},
	[DAY_OF_WEEK] = {"day-of-week",  0, 7,  6,  "SUNMONTUEWEDTHUFRISAT"               },
};

struct piece {
	const char *at;
	size_t len;
};

/* One field being read. What a later form needs to know of the action (H and its name) belongs
 * here, next to the rule. */
struct parser {
	enum field field;
	const struct field_rule *rule;
	struct piece item; /* what is being read, for messages */
	const char *at, *end;
	uint64_t set;
	struct cron *cron;
	char *warning; /* CRON_WARNING_SIZE */
	struct err *err;
};

static const struct {
	const char *name;
	const char *expression;
} macros[] = {
	{"@yearly",   "0 0 1 1 *"},
	{"@annually", "0 0 1 1 *"},
	{"@monthly",  "0 0 1 * *"},
	{"@weekly",   "0 0 * * 0"},
	{"@daily",    "0 0 * * *"},
	{"@midnight", "0 0 * * *"},
	{"@hourly",   "0 * * * *"},
};

/* --- messages --- */

__attribute__((format(printf, 2, 3))) static int fail(
	const struct parser *parser, const char *fmt, ...)
{
	char why[200];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	return err_field(
		parser->err, ERR_INVALID, "/cron", "cron field '%s': %s", parser->rule->name, why);
}

/* A remark that does not fit any more is left out whole. */
__attribute__((format(printf, 2, 3))) static void warn(char *warning, const char *fmt, ...)
{
	char text[CRON_WARNING_SIZE];
	size_t len = strlen(warning);
	va_list args;
	int more = 0;

	va_start(args, fmt);
	more = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (more > 0 && len + 2 + (size_t)more < CRON_WARNING_SIZE)
		(void)snprintf(
			warning + len, CRON_WARNING_SIZE - len, "%s%s", len ? "; " : "", text);
}

/* --- characters --- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static bool is_letter(char c)
{
	return upper(c) >= 'A' && upper(c) <= 'Z';
}

static bool is_at(const struct parser *parser, char wanted)
{
	return parser->at < parser->end && upper(*parser->at) == wanted;
}

static bool take(struct parser *parser, char wanted)
{
	if (!is_at(parser, wanted))
		return false;
	parser->at++;
	return true;
}

static const char *item_text(const struct parser *parser, char shown[static EXCERPT_SIZE])
{
	return excerpt(parser->item.at, parser->item.len, shown);
}

/* --- numbers and names --- */

/* Digits from parser->at on, checked against a range; never at the beginning of an item without
 * having seen one. `what` goes before the number in a message. */
static int take_number(struct parser *parser, const char *what, int min, int max, int *ret_number)
{
	const char *start = parser->at;
	char shown[EXCERPT_SIZE];
	int number = 0;

	for (; parser->at < parser->end && is_digit(*parser->at); parser->at++)
		if (number <= max)
			number = number * 10 + (*parser->at - '0');
	if (parser->at == start)
		return fail(parser, "'%s': a number must follow '%c'", item_text(parser, shown),
			start[-1]);
	(void)excerpt(start, (size_t)(parser->at - start), shown);
	if (number < min)
		return fail(parser, "%s%s is below %d", what, shown, min);
	if (number > max)
		return fail(parser, "%s%s is above %d", what, shown, max);
	*ret_number = number;
	return ERR_NONE;
}

/* The word at parser->at as a name of the field; its number, or -1. */
static int find_name(const struct parser *parser, const char *word_end)
{
	const char *names = parser->rule->names;

	if (!names || word_end - parser->at != 3)
		return -1;
	for (int i = 0; names[i] != '\0'; i += 3)
		if (upper(parser->at[0]) == names[i] && upper(parser->at[1]) == names[i + 1] &&
			upper(parser->at[2]) == names[i + 2])
			return parser->rule->min + i / 3;
	return -1;
}

static int fail_word(const struct parser *parser, const char *word_end)
{
	char shown[EXCERPT_SIZE];
	const char *at = parser->at;
	const char *stop = word_end > at ? word_end : parser->end;

	if (at == parser->end)
		return fail(parser, "'%s' is not complete", item_text(parser, shown));
	(void)excerpt(at, (size_t)(stop - at), shown);
	if (upper(*at) == 'H' && (stop - at == 1))
		return fail(parser, "H (a value picked by the action's name) is not supported yet; "
				    "write a number");
	if (*at == '?')
		return fail(parser, "'?' is for the day fields; write '*'");
	if (parser->rule->names)
		return fail(parser, "'%s' is not a number or a name such as %.3s", shown,
			parser->rule->names);
	return fail(parser, "'%s' is not a number", shown);
}

/* A number or a name of the field. */
static int take_value(struct parser *parser, int *ret_value)
{
	const char *word_end = parser->at;
	int value = 0;

	if (parser->at < parser->end && is_digit(*parser->at))
		return take_number(parser, "", parser->rule->min, parser->rule->max, ret_value);
	while (word_end < parser->end && is_letter(*word_end))
		word_end++;
	/* FRIL is FRI and an L; no name of a day has four letters. */
	if (parser->field == DAY_OF_WEEK && word_end - parser->at == 4 &&
		upper(word_end[-1]) == 'L')
		word_end--;
	value = find_name(parser, word_end);
	if (value < 0)
		return fail_word(parser, word_end);
	parser->at = word_end;
	*ret_value = value;
	return ERR_NONE;
}

/* Nothing may follow the item that was just read. */
static int expect_end(const struct parser *parser)
{
	char shown[EXCERPT_SIZE], rest[EXCERPT_SIZE];

	if (parser->at == parser->end)
		return ERR_NONE;
	return fail(parser, "'%s' cannot follow in '%s'",
		excerpt(parser->at, (size_t)(parser->end - parser->at), rest),
		item_text(parser, shown));
}

/* --- ranges and steps --- */

struct range {
	int from, to, step;
	bool is_single;
};

static int fail_backwards(const struct parser *parser, const struct range *range)
{
	const struct field_rule *rule = parser->rule;
	char shown[EXCERPT_SIZE], head[32] = "", tail[32];

	(void)item_text(parser, shown);
	if (range->from < rule->last)
		(void)snprintf(head, sizeof(head), "%d-%d,", range->from, rule->last);
	else if (range->from == rule->last)
		(void)snprintf(head, sizeof(head), "%d,", range->from);
	(void)snprintf(
		tail, sizeof(tail), range->to > rule->min ? "%d-%d" : "%d", rule->min, range->to);
	return fail(parser, "'%s' runs backwards; write %s%s", shown, head, tail);
}

static int take_range(struct parser *parser, struct range *ret_range)
{
	struct range range = {.step = 1};
	bool is_day = parser->field == DAY_OF_MONTH || parser->field == DAY_OF_WEEK;
	int code = ERR_NONE;

	if (take(parser, '*') || (is_day && take(parser, '?'))) {
		range.from = parser->rule->min;
		range.to = parser->rule->last;
	} else {
		code = take_value(parser, &range.from);
		range.to = range.from;
		range.is_single = !is_at(parser, '-');
		if (code == ERR_NONE && take(parser, '-'))
			code = take_value(parser, &range.to);
	}
	if (code == ERR_NONE && range.from > range.to)
		code = fail_backwards(parser, &range);
	*ret_range = range;
	return code;
}

/* Remarks on steps that do not do what they seem to say. */
static void warn_step(const struct parser *parser, const struct range *range)
{
	const struct field_rule *rule = parser->rule;
	int values = rule->last - rule->min + 1;
	char shown[EXCERPT_SIZE];

	(void)item_text(parser, shown);
	if (range->is_single)
		warn(parser->warning, "%s '%s' means from %d to %d every %d", rule->name, shown,
			range->from, range->to, range->step);
	else if (range->from + range->step > range->to)
		warn(parser->warning, "%s '%s' is only ever %d: the step is longer than the range",
			rule->name, shown, range->from);
	else if (range->from == rule->min && range->to == rule->last && values % range->step != 0)
		warn(parser->warning,
			"%s '%s' starts again at %d each time, so the last step is shorter",
			rule->name, shown, range->from);
}

static int take_step(struct parser *parser, struct range *range)
{
	int code = ERR_NONE;

	if (!take(parser, '/'))
		return ERR_NONE;
	/* Debian's cron takes a step that is longer than the field, and so must an import. */
	code = take_number(parser, "step ", 1, 9999, &range->step);
	if (code != ERR_NONE)
		return code;
	if (range->is_single && range->to < parser->rule->last)
		range->to = parser->rule->last;
	if (range->step > 1 || range->is_single)
		warn_step(parser, range);
	return ERR_NONE;
}

static int parse_range(struct parser *parser)
{
	struct range range;
	int code = take_range(parser, &range);

	if (code == ERR_NONE)
		code = take_step(parser, &range);
	if (code == ERR_NONE)
		code = expect_end(parser);
	if (code != ERR_NONE)
		return code;
	for (int value = range.from; value <= range.to; value += range.step)
		parser->set |= UINT64_C(1) << value;
	return ERR_NONE;
}

/* --- L, W and # --- */

/* L, L-n, LW */
static int parse_last_day(struct parser *parser)
{
	int before = 0, code = ERR_NONE;

	if (take(parser, 'W')) {
		parser->cron->has_last_workday = true;
		return expect_end(parser);
	}
	if (take(parser, '-'))
		code = take_number(parser, "L-", 0, 30, &before);
	if (code == ERR_NONE)
		code = expect_end(parser);
	if (code == ERR_NONE)
		parser->cron->days_from_last |= UINT32_C(1) << before;
	return code;
}

/* nW; the number has been seen to be one. */
static int parse_nearest_workday(struct parser *parser)
{
	int day = 0;
	int code = take_number(parser, "", 1, 31, &day);

	if (code == ERR_NONE && take(parser, 'W'))
		code = expect_end(parser);
	if (code == ERR_NONE)
		parser->cron->days_nearest |= UINT32_C(1) << day;
	return code;
}

/* w#n and wL */
static int parse_special_weekday(struct parser *parser)
{
	int weekday = 0, nth = 0;
	int code = take_value(parser, &weekday);

	weekday %= 7;
	if (code != ERR_NONE)
		return code;
	if (take(parser, '#')) {
		code = take_number(parser, "#", 1, 5, &nth);
		if (code == ERR_NONE)
			code = expect_end(parser);
		if (code == ERR_NONE)
			parser->cron->weekdays_nth[nth - 1] |= (uint8_t)(1 << weekday);
		return code;
	}
	parser->at++; /* the L that has_mark saw */
	code = expect_end(parser);
	if (code == ERR_NONE)
		parser->cron->weekdays_last |= (uint8_t)(1 << weekday);
	return code;
}

/* Does the item go on with `mark` right after its first number or name? */
static bool has_mark(const struct parser *parser, char mark)
{
	const char *at = parser->at;

	if (at < parser->end && is_letter(*at))
		at += parser->end - at >= 3 ? 3 : 0;
	else
		while (at < parser->end && is_digit(*at))
			at++;
	return at > parser->at && at < parser->end && upper(*at) == mark;
}

/* A day field's own forms; false when the item is none of them. */
static bool parse_special(struct parser *parser, int *ret_code)
{
	int (*parse)(struct parser *) = NULL;

	if (parser->field == DAY_OF_MONTH) {
		if (take(parser, 'L'))
			parse = parse_last_day;
		else if (has_mark(parser, 'W'))
			parse = parse_nearest_workday;
		else if (is_at(parser, 'W')) {
			*ret_code = fail(parser, "W needs a day before it: 15W or LW");
			return true;
		}
	}
	if (parser->field == DAY_OF_WEEK) {
		if (has_mark(parser, '#') || has_mark(parser, 'L'))
			parse = parse_special_weekday;
		else if (is_at(parser, 'L')) {
			*ret_code = fail(parser,
				"L needs a day before it: 5L is the last Friday of a month");
			return true;
		}
	}
	if (!parse)
		return false;
	parser->cron->has_special_days = true;
	*ret_code = parse(parser);
	return true;
}

/* --- fields --- */

static int parse_item(struct parser *parser, const struct piece *item)
{
	int code = ERR_NONE;

	parser->item = *item;
	parser->at = item->at;
	parser->end = item->at + item->len;
	if (parse_special(parser, &code))
		return code;
	return parse_range(parser);
}

static int parse_field(struct parser *parser, enum field field, const struct piece *text)
{
	const char *at = text->at, *end = text->at + text->len;

	parser->field = field;
	parser->rule = &fields[field];
	parser->set = 0;
	while (at <= end) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		struct piece item = {at, (size_t)((comma ? comma : end) - at)};
		char shown[EXCERPT_SIZE];
		int code = ERR_NONE;

		if (item.len == 0)
			return fail(parser, "'%s' has an empty entry",
				excerpt(text->at, text->len, shown));
		code = parse_item(parser, &item);
		if (code != ERR_NONE)
			return code;
		at += item.len + 1;
	}
	return ERR_NONE;
}

static bool is_star(const struct piece *text)
{
	return *text->at == '*' || *text->at == '?';
}

/* A field that restricts nothing: all of its values. */
static bool is_full(enum field field, uint64_t set)
{
	const struct field_rule *rule = &fields[field];

	return set == (UINT64_C(2) << rule->last) - (UINT64_C(1) << rule->min);
}

/* Vixie: both day fields must match when one begins with '*', else either. As "*" itself matches
 * every day, that is the usual reading; it shows in the likes of "*""/2". */
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
		warn(warning,
			"both day-of-month and day-of-week must match, as one begins with '*'");
	else
		warn(warning, "day-of-month and day-of-week are both given: either one is enough "
			      "(\"day_match\": \"both\" for both)");
}

static int parse_fields(struct parser *parser, const struct piece texts[FIELD_COUNT])
{
	struct cron *cron = parser->cron;
	uint64_t sets[FIELD_COUNT];

	for (enum field field = SECOND; field < FIELD_COUNT; field++) {
		int code = parse_field(parser, field, &texts[field]);

		if (code != ERR_NONE)
			return code;
		sets[field] = parser->set;
	}
	cron->seconds = sets[SECOND];
	cron->minutes = sets[MINUTE];
	cron->hours = (uint32_t)sets[HOUR];
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

static bool equals_fold(const struct piece *piece, const char *word)
{
	size_t i = 0;

	for (; i < piece->len && word[i] != '\0'; i++)
		if (upper(piece->at[i]) != upper(word[i]))
			return false;
	return i == piece->len && word[i] == '\0';
}

static int find_macro(
	const struct piece *pieces, size_t count, const char **ret_text, struct err *err)
{
	char shown[EXCERPT_SIZE], next[EXCERPT_SIZE];

	for (size_t i = 0; count == 1 && i < COUNT_OF(macros); i++) {
		if (equals_fold(&pieces[0], macros[i].name)) {
			*ret_text = macros[i].expression;
			return ERR_NONE;
		}
	}
	(void)excerpt(pieces[0].at, pieces[0].len, shown);
	if (equals_fold(&pieces[0], "@reboot"))
		return err_field(err, ERR_INVALID, "/cron",
			"cron macro '%s' names no time; set \"run_on_start\": true instead", shown);
	if (equals_fold(&pieces[0], "@every") && count == 2)
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
	const struct cron *cron, const struct piece texts[FIELD_COUNT], struct err *err)
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
static int find_fields(const char *text, struct piece ret_texts[FIELD_COUNT], struct err *err)
{
	size_t count = 0;

	if (strnlen(text, CRON_TEXT_MAX + 1) > CRON_TEXT_MAX)
		return err_field(err, ERR_INVALID, "/cron",
			"cron expression is longer than %d characters", CRON_TEXT_MAX);
	count = split(text, FIELD_COUNT, ret_texts);
	if (count > 0 && *ret_texts[0].at == '@') {
		int code = find_macro(ret_texts, count, &text, err);

		if (code != ERR_NONE)
			return code;
		count = split(text, FIELD_COUNT, ret_texts);
	}
	if (count != FIELD_COUNT && count != FIELD_COUNT - 1)
		return err_field(err, ERR_INVALID, "/cron",
			"cron expression has %zu field%s; it takes 5 (minute hour day-of-month "
			"month "
			"day-of-week) or 6 with the second first",
			count, count == 1 ? "" : "s");
	if (count == FIELD_COUNT - 1) {
		memmove(&ret_texts[1], &ret_texts[0], count * sizeof(*ret_texts));
		ret_texts[SECOND] = (struct piece){"0", 1};
	}
	return ERR_NONE;
}

int cron_parse(const char *text, enum day_match day_match, struct cron *ret_cron,
	char warning[static CRON_WARNING_SIZE], struct err *err)
{
	struct piece texts[FIELD_COUNT];
	struct cron cron = {0};
	struct parser parser = {.cron = &cron, .warning = warning, .err = err};
	int code = find_fields(text, texts, err);

	warning[0] = '\0';
	if (code == ERR_NONE)
		code = parse_fields(&parser, texts);
	if (code != ERR_NONE)
		return code;
	set_day_match(&cron, texts, day_match, warning);
	code = check_possible(&cron, texts, err);
	if (code == ERR_NONE)
		*ret_cron = cron;
	return code;
}
