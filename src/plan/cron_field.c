/* SPDX-License-Identifier: Apache-2.0
 *
 * One field of a cron expression: a list of items, each a range with a step (whose place in the
 * field the action's name picks, behind an H) or, in the two day fields, one of the forms with L, W
 * and #. The table cron_fields says all that differs between the
 * fields. An error names the field, what was written and what is allowed; what is legal but rarely
 * meant gets a remark. */
#include "plan/cron_priv.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/ascii.h"

const struct cron_field_rule cron_fields[CRON_FIELDS] = {
	[SECOND] = {"second", 0, 59, 59, NULL},
	[MINUTE] = {"minute", 0, 59, 59, NULL},
	[HOUR] = {"hour", 0, 23, 23, NULL},
	[DAY_OF_MONTH] = {"day-of-month", 1, 31, 31, NULL},
	[MONTH] = {"month", 1, 12, 12, "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"},
	[DAY_OF_WEEK] = {"day-of-week", 0, 7, 6, "SUNMONTUEWEDTHUFRISAT"},
};

static struct subject here(const struct cron_parser *parser)
{
	return (struct subject){parser->err, "/cron", "cron field", parser->rule->name};
}

static bool is_at(const struct cron_parser *parser, char wanted)
{
	return parser->at < parser->end && ascii_upper(*parser->at) == wanted;
}

static bool take(struct cron_parser *parser, char wanted)
{
	if (!is_at(parser, wanted))
		return false;
	parser->at++;
	return true;
}

static const char *item_text(const struct cron_parser *parser, char shown[static EXCERPT_SIZE])
{
	return excerpt(parser->item.at, parser->item.len, shown);
}

/* --- numbers and names --- */

/* Digits from parser->at on, checked against a range; never at the beginning of an item without
 * having seen one. `what` goes before the number in a message. */
static int take_number(
	struct cron_parser *parser, const char *what, int min, int max, int *ret_number)
{
	const char *start = parser->at;
	char shown[EXCERPT_SIZE];
	int number = 0;

	for (; parser->at < parser->end && ascii_is_digit(*parser->at); parser->at++)
		if (number <= max)
			number = number * 10 + (*parser->at - '0');
	if (parser->at == start)
		return subject_fail(here(parser), "'%s': a number must follow '%c'",
			item_text(parser, shown), start[-1]);
	(void)excerpt(start, (size_t)(parser->at - start), shown);
	if (number < min)
		return subject_fail(here(parser), "%s%s is below %d", what, shown, min);
	if (number > max)
		return subject_fail(here(parser), "%s%s is above %d", what, shown, max);
	*ret_number = number;
	return ERR_NONE;
}

/* The word at parser->at as a name of the field; its number, or -1. */
static int find_name(const struct cron_parser *parser, const char *word_end)
{
	const char *names = parser->rule->names;

	if (!names || word_end - parser->at != 3)
		return -1;
	for (int i = 0; names[i] != '\0'; i += 3)
		if (strncasecmp(parser->at, names + i, 3) == 0)
			return parser->rule->min + i / 3;
	return -1;
}

static int fail_word(const struct cron_parser *parser, const char *word_end)
{
	char shown[EXCERPT_SIZE];
	const char *at = parser->at;
	const char *stop = word_end > at ? word_end : parser->end;

	if (at == parser->end)
		return subject_fail(here(parser), "'%s' is not complete", item_text(parser, shown));
	(void)excerpt(at, (size_t)(stop - at), shown);
	if (ascii_upper(*at) == 'H' && (stop - at == 1))
		return subject_fail(here(parser),
			"'%s': H goes into no range; write H, H(0-5), H/2 or H(0-5)/2",
			item_text(parser, shown));
	if (*at == '?')
		return subject_fail(here(parser), "'?' is for the day fields; write '*'");
	if (parser->rule->names)
		return subject_fail(here(parser), "'%s' is not a number or a name such as %.3s",
			shown, parser->rule->names);
	return subject_fail(here(parser), "'%s' is not a number", shown);
}

/* A number or a name of the field. */
static int take_value(struct cron_parser *parser, int *ret_value)
{
	const char *word_end = parser->at;
	int value = 0;

	if (parser->at < parser->end && ascii_is_digit(*parser->at))
		return take_number(parser, "", parser->rule->min, parser->rule->max, ret_value);
	while (word_end < parser->end && ascii_is_letter(*word_end))
		word_end++;
	/* FRIL is FRI and an L; no name of a day has four letters. */
	if (parser->field == DAY_OF_WEEK && word_end - parser->at == 4 &&
		ascii_upper(word_end[-1]) == 'L')
		word_end--;
	value = find_name(parser, word_end);
	if (value < 0)
		return fail_word(parser, word_end);
	parser->at = word_end;
	*ret_value = value;
	return ERR_NONE;
}

/* Nothing may follow the item that was just read. */
static int expect_end(const struct cron_parser *parser)
{
	char shown[EXCERPT_SIZE], rest[EXCERPT_SIZE];

	if (parser->at == parser->end)
		return ERR_NONE;
	return subject_fail(here(parser), "'%s' cannot follow in '%s'",
		excerpt(parser->at, (size_t)(parser->end - parser->at), rest),
		item_text(parser, shown));
}

/* --- ranges and steps --- */

struct range {
	int from, to, step;
	bool is_single;
	bool is_hashed; /* H: the name picks one of these or, with a step, the first of them */
	bool has_step;
};

static int fail_backwards(const struct cron_parser *parser, const struct range *range)
{
	const struct cron_field_rule *rule = parser->rule;
	char shown[EXCERPT_SIZE], head[32] = "", tail[32];

	(void)item_text(parser, shown);
	if (range->is_hashed)
		return subject_fail(
			here(parser), "'%s' runs backwards; turn the range round", shown);
	if (range->from < rule->last)
		(void)snprintf(head, sizeof(head), "%d-%d,", range->from, rule->last);
	else if (range->from == rule->last)
		(void)snprintf(head, sizeof(head), "%d,", range->from);
	(void)snprintf(
		tail, sizeof(tail), range->to > rule->min ? "%d-%d" : "%d", rule->min, range->to);
	return subject_fail(here(parser), "'%s' runs backwards; write %s%s", shown, head, tail);
}

/* An H that is not the beginning of a word. */
static bool take_hash(struct cron_parser *parser)
{
	bool is_word = parser->end - parser->at > 1 && ascii_is_letter(parser->at[1]);

	return !is_word && take(parser, 'H');
}

/* What follows an H: nothing, or a range in parentheses. */
static int take_hashed(struct cron_parser *parser, struct range *range)
{
	const struct cron_field_rule *rule = parser->rule;
	char shown[EXCERPT_SIZE];
	int code = ERR_NONE;

	(void)item_text(parser, shown);
	range->is_hashed = true;
	range->from = rule->min;
	range->to = parser->field == DAY_OF_MONTH ? HASHED_LAST_DAY : rule->last;
	if (!parser->name)
		return subject_fail(here(parser),
			"'%s': H is picked by the action's name, which is not given", shown);
	if (!take(parser, '('))
		return ERR_NONE;
	code = take_value(parser, &range->from);
	if (code == ERR_NONE && !take(parser, '-'))
		return subject_fail(here(parser),
			"'%s': a range such as H(%d-%d) goes into the parentheses", shown,
			rule->min, rule->last);
	if (code == ERR_NONE)
		code = take_value(parser, &range->to);
	if (code == ERR_NONE && !take(parser, ')'))
		return subject_fail(here(parser), "'%s': a ')' is missing after the range", shown);
	return code;
}

static int take_range(struct cron_parser *parser, struct range *ret_range)
{
	struct range range = {.step = 1};
	bool is_day = parser->field == DAY_OF_MONTH || parser->field == DAY_OF_WEEK;
	int code = ERR_NONE;

	if (take_hash(parser)) {
		code = take_hashed(parser, &range);
	} else if (take(parser, '*') || (is_day && take(parser, '?'))) {
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
static void warn_step(const struct cron_parser *parser, const struct range *range)
{
	const struct cron_field_rule *rule = parser->rule;
	int values = rule->last - rule->min + 1;
	char shown[EXCERPT_SIZE];

	(void)item_text(parser, shown);
	if (range->is_single)
		warning_add(parser->warning, "%s '%s' means from %d to %d every %d", rule->name,
			shown, range->from, range->to, range->step);
	else if (range->from + range->step > range->to && !range->is_hashed)
		warning_add(parser->warning,
			"%s '%s' is only ever %d: the step is longer than the range", rule->name,
			shown, range->from);
	else if (range->from == rule->min && range->to == rule->last && values % range->step != 0)
		warning_add(parser->warning,
			"%s '%s' starts again at %d each time, so the last step is shorter",
			rule->name, shown, range->from);
}

static int take_step(struct cron_parser *parser, struct range *range)
{
	int code = ERR_NONE;

	if (!take(parser, '/'))
		return ERR_NONE;
	/* Debian's cron takes a step that is longer than the field, and so must an import. */
	code = take_number(parser, "step ", 1, 9999, &range->step);
	if (code != ERR_NONE)
		return code;
	range->has_step = true;
	if (range->is_single && range->to < parser->rule->last)
		range->to = parser->rule->last;
	if (range->step > 1 || range->is_single)
		warn_step(parser, range);
	return ERR_NONE;
}

/* H alone is one of the range; H/n is every n-th of it, from one of its first n on. */
static void pick_hashed(const struct cron_parser *parser, struct range *range)
{
	int count = range->to - range->from + 1;
	bool is_one = !range->has_step || range->step >= count;

	parser->cron->is_hashed = true;
	range->from += (int)spread_pick(spread_hash(parser->name), (uint64_t)parser->field + 1,
		is_one ? count : range->step);
	if (is_one)
		range->to = range->from;
}

static int parse_range(struct cron_parser *parser)
{
	struct range range;
	int code = take_range(parser, &range);

	if (code == ERR_NONE)
		code = take_step(parser, &range);
	if (code == ERR_NONE)
		code = expect_end(parser);
	if (code != ERR_NONE)
		return code;
	if (range.is_hashed)
		pick_hashed(parser, &range);
	for (int value = range.from; value <= range.to; value += range.step)
		parser->set |= UINT64_C(1) << value;
	return ERR_NONE;
}

/* --- L, W and # --- */

/* L, L-n, LW */
static int parse_last_day(struct cron_parser *parser)
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
static int parse_nearest_workday(struct cron_parser *parser)
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
static int parse_special_weekday(struct cron_parser *parser)
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
static bool has_mark(const struct cron_parser *parser, char mark)
{
	const char *at = parser->at;

	if (at < parser->end && ascii_is_letter(*at))
		at += parser->end - at >= 3 ? 3 : 0;
	else
		while (at < parser->end && ascii_is_digit(*at))
			at++;
	return at > parser->at && at < parser->end && ascii_upper(*at) == mark;
}

/* A day field's own forms; false when the item is none of them. */
static bool parse_special(struct cron_parser *parser, int *ret_code)
{
	int (*parse)(struct cron_parser *) = NULL;

	if (parser->field == DAY_OF_MONTH) {
		if (take(parser, 'L'))
			parse = parse_last_day;
		else if (has_mark(parser, 'W'))
			parse = parse_nearest_workday;
		else if (is_at(parser, 'W')) {
			*ret_code =
				subject_fail(here(parser), "W needs a day before it: 15W or LW");
			return true;
		}
	}
	if (parser->field == DAY_OF_WEEK) {
		if (has_mark(parser, '#') || has_mark(parser, 'L'))
			parse = parse_special_weekday;
		else if (is_at(parser, 'L')) {
			*ret_code = subject_fail(here(parser),
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

/* --- the field --- */

static int parse_item(struct cron_parser *parser, const struct piece *item)
{
	int code = ERR_NONE;

	parser->item = *item;
	parser->at = item->at;
	parser->end = item->at + item->len;
	if (parse_special(parser, &code))
		return code;
	return parse_range(parser);
}

int cron_parse_field(struct cron_parser *parser, enum cron_field field, const struct piece *text)
{
	const char *at = text->at, *end = text->at + text->len;

	parser->field = field;
	parser->rule = &cron_fields[field];
	parser->set = 0;
	while (at <= end) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		struct piece item = {at, (size_t)((comma ? comma : end) - at)};
		char shown[EXCERPT_SIZE];
		int code = ERR_NONE;

		if (item.len == 0)
			return subject_fail(here(parser), "'%s' has an empty entry",
				excerpt(text->at, text->len, shown));
		code = parse_item(parser, &item);
		if (code != ERR_NONE)
			return code;
		at += item.len + 1;
	}
	return ERR_NONE;
}
