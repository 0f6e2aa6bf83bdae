/* SPDX-License-Identifier: Apache-2.0
 *
 * The rule at the end of a TZif file: how a zone goes on after its last listed change, in the
 * notation of POSIX "TZ" with the wider hours of RFC 8536 section 3.3.1. Some rules look odd and
 * are right: Dublin's winter time is the "daylight" one and lies behind (IST-1GMT0), Cairo changes
 * at 24:00, Nuuk an hour before midnight (-1), Gaza up to six days later. */
#include "plan/zone_priv.h"

#include "base/ascii.h"
#include "base/civil.h"

#define OFFSET_HOURS_MAX 24
#define TIME_HOURS_MAX   167
#define TIME_DEFAULT_S   7200

struct cursor {
	const char *at, *end;
};

static bool take_char(struct cursor *in, char wanted)
{
	if (in->at == in->end || *in->at != wanted)
		return false;
	in->at++;
	return true;
}

static bool take_number(struct cursor *in, int min, int max, int *ret_number)
{
	int number = 0;
	const char *start = in->at;

	for (; in->at < in->end && ascii_is_digit(*in->at) && number <= max; in->at++)
		number = number * 10 + (*in->at - '0');
	*ret_number = number;
	return in->at > start && number >= min && number <= max;
}

/* The abbreviation: three letters or more, or anything short in angle brackets. Not kept. */
static bool take_name(struct cursor *in)
{
	const char *start = in->at;

	if (take_char(in, '<')) {
		while (in->at < in->end && *in->at != '>')
			in->at++;
		return take_char(in, '>');
	}
	while (in->at < in->end && ascii_is_letter(*in->at))
		in->at++;
	return in->at - start >= 3;
}

/* [+-]h[:mm[:ss]] in seconds. */
static bool take_time(struct cursor *in, int hours_max, int32_t *ret_s)
{
	bool is_negative = take_char(in, '-');
	int hours, minutes = 0, seconds = 0;

	if (!is_negative)
		(void)take_char(in, '+');
	if (!take_number(in, 0, hours_max, &hours))
		return false;
	if (take_char(in, ':') && !take_number(in, 0, 59, &minutes))
		return false;
	if (take_char(in, ':') && !take_number(in, 0, 59, &seconds))
		return false;
	*ret_s = hours * 3600 + minutes * 60 + seconds;
	if (is_negative)
		*ret_s = -*ret_s;
	return true;
}

static bool take_day(struct cursor *in, struct rule_date *ret_date)
{
	if (take_char(in, 'M')) {
		ret_date->form = RULE_MONTH;
		return take_number(in, 1, 12, &ret_date->month) && take_char(in, '.') &&
		       take_number(in, 1, 5, &ret_date->week) && take_char(in, '.') &&
		       take_number(in, 0, 6, &ret_date->weekday);
	}
	if (take_char(in, 'J')) {
		ret_date->form = RULE_JULIAN;
		return take_number(in, 1, 365, &ret_date->day);
	}
	ret_date->form = RULE_DAY;
	return take_number(in, 0, 365, &ret_date->day);
}

static bool take_date(struct cursor *in, struct rule_date *ret_date)
{
	ret_date->time_s = TIME_DEFAULT_S;
	return take_char(in, ',') && take_day(in, ret_date) &&
	       (!take_char(in, '/') || take_time(in, TIME_HOURS_MAX, &ret_date->time_s));
}

/* POSIX counts west of UTC as positive. */
static bool take_offset(struct cursor *in, int32_t *ret_offset_s)
{
	if (!take_time(in, OFFSET_HOURS_MAX, ret_offset_s))
		return false;
	*ret_offset_s = -*ret_offset_s;
	return true;
}

/* The day a rule names in `year`, since 1970. */
static int64_t rule_day(const struct rule_date *date, int year)
{
	int64_t first = civil_days(year, date->form == RULE_MONTH ? date->month : 1, 1);
	bool is_leap = false;
	int ahead = 0;

	switch (date->form) {
	case RULE_DAY:
		return first + date->day;
	case RULE_JULIAN:
		is_leap = civil_days_in_month(year, 2) == 29;
		return first + date->day - 1 + (is_leap && date->day >= 60);
	case RULE_MONTH:
		ahead = (date->weekday - civil_weekday(first) + 7) % 7 + (date->week - 1) * 7;
		if (ahead >= civil_days_in_month(year, date->month))
			ahead -= 7;
	}
	return first + ahead;
}

void zone_rule_changes(const struct zone_rule *rule, int year, struct zone_change *ret_to_dst,
	struct zone_change *ret_to_std)
{
	int64_t dst_local_s = rule_day(&rule->to_dst, year) * SECONDS_PER_DAY + rule->to_dst.time_s;
	int64_t std_local_s = rule_day(&rule->to_std, year) * SECONDS_PER_DAY + rule->to_std.time_s;

	*ret_to_dst = (struct zone_change){dst_local_s - rule->std_offset_s, rule->dst_offset_s};
	*ret_to_std = (struct zone_change){std_local_s - rule->dst_offset_s, rule->std_offset_s};
}

/* RFC 8536 section 3.3.1 writes daylight saving all the year round as one that ends when it begins
 * again. Without this every new year would be an edge. */
static void drop_idle_dst(struct zone_rule *rule)
{
	struct zone_change to_dst, to_std, next_to_dst, next_to_std;

	zone_rule_changes(rule, 2001, &to_dst, &to_std);
	zone_rule_changes(rule, 2002, &next_to_dst, &next_to_std);
	if (to_std.at_s == next_to_dst.at_s)
		rule->std_offset_s = rule->dst_offset_s;
	rule->has_dst = rule->std_offset_s != rule->dst_offset_s && to_dst.at_s != to_std.at_s;
}

bool zone_rule_parse(const char *text, size_t len, struct zone_rule *ret_rule)
{
	struct cursor in = {text, text + len};
	struct zone_rule rule = {0};

	if (!take_name(&in) || !take_offset(&in, &rule.std_offset_s))
		return false;
	if (in.at < in.end) {
		rule.has_dst = true;
		rule.dst_offset_s = rule.std_offset_s + 3600;
		if (!take_name(&in))
			return false;
		if (in.at < in.end && *in.at != ',' && !take_offset(&in, &rule.dst_offset_s))
			return false;
		if (!take_date(&in, &rule.to_dst) || !take_date(&in, &rule.to_std))
			return false;
	}
	if (in.at != in.end)
		return false;
	if (rule.has_dst)
		drop_idle_dst(&rule);
	*ret_rule = rule;
	return true;
}
