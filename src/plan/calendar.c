/* SPDX-License-Identifier: Apache-2.0
 *
 * The search for matches, and their count, month by month, never by the minute. Which moments of a
 * month match is the rule's to say (cron.c, rrule.c), with sets of bits: the days of a month are 32
 * of them, and so are hours, minutes and seconds, so the next match is a few "lowest bit from here
 * on". No zone, no gaps. */
#include "plan/calendar_priv.h"

#include "base/civil.h"

/* Bits 0, 7, 14, ...: times a set of weekdays, repeats it week after week. */
#define EVERY_WEEK UINT64_C(0x0000040810204081)

/* --- months --- */

static struct month month_of(int year, int number)
{
	return (struct month){.year = year,
		.number = number,
		.day_count = civil_days_in_month(year, number),
		.first_day = civil_days(year, number, 1)};
}

/* The next one in the set. */
static struct month month_after(uint16_t months, const struct month *month)
{
	int number = next_in(months, month->number + 1);

	if (number > 0)
		return month_of(month->year, number);
	return month_of(month->year + 1, __builtin_ctz(months));
}

int64_t month_local_s(const struct month *month, int day, int time_s)
{
	return (month->first_day + day - 1) * SECONDS_PER_DAY + time_s;
}

static bool is_asked(const struct month_rule *rule, const struct month *month)
{
	return rule->months >> month->number & 1;
}

static int time_of(const struct civil *at)
{
	return at->hour * 3600 + at->minute * 60 + at->second;
}

bool calendar_next(const struct month_rule *rule, int64_t from_local_s, int64_t limit_local_s,
	int64_t *ret_local_s)
{
	struct civil from = civil_from_seconds(from_local_s);
	struct month month = month_of(from.year, from.month);
	int64_t found_s = 0;
	bool is_found = is_asked(rule, &month) &&
			rule->next(rule->rule, &month, from.day, time_of(&from), &found_s);

	while (!is_found) {
		month = month_after(rule->months, &month);
		if (month.first_day * SECONDS_PER_DAY >= limit_local_s ||
			month.year > from.year + HORIZON_YEARS)
			return false;
		is_found = rule->next(rule->rule, &month, 1, 0, &found_s);
	}
	if (found_s >= limit_local_s)
		return false;
	*ret_local_s = found_s;
	return true;
}

/* How many matches the month that `at` lies in has before it. */
static int64_t count_before(const struct month_rule *rule, const struct civil *at)
{
	struct month month = month_of(at->year, at->month);

	if (!is_asked(rule, &month))
		return 0;
	return rule->count(rule->rule, &month, at->day, time_of(at));
}

int64_t calendar_count(const struct month_rule *rule, int64_t from_local_s, int64_t limit_local_s)
{
	struct civil from = civil_from_seconds(from_local_s);
	struct civil limit = civil_from_seconds(limit_local_s);
	struct month month = month_of(from.year, from.month);
	int64_t count = 0;

	if (from_local_s >= limit_local_s)
		return 0;
	if (!is_asked(rule, &month))
		month = month_after(rule->months, &month);
	while (month.year < limit.year ||
		(month.year == limit.year && month.number < limit.month)) {
		count += rule->count(rule->rule, &month, 32, 0);
		month = month_after(rule->months, &month);
	}
	return count + count_before(rule, &limit) - count_before(rule, &from);
}

/* --- sets --- */

int next_in(uint64_t set, int from)
{
	uint64_t rest = set >> from << from;

	return rest ? __builtin_ctzll(rest) : -1;
}

int count_below(uint64_t set, int limit)
{
	return __builtin_popcountll(set & ((UINT64_C(1) << limit) - 1));
}

uint32_t days_on(uint8_t weekdays, int first_weekday, int from, int to)
{
	uint64_t weeks = weekdays * EVERY_WEEK >> first_weekday << 1;
	uint64_t range = (UINT64_C(2) << to) - (UINT64_C(1) << from);

	return (uint32_t)(weeks & range);
}

/* --- times of day --- */

int times_first(const struct times *times)
{
	return __builtin_ctz(times->hours) * 3600 + __builtin_ctzll(times->minutes) * 60 +
	       __builtin_ctzll(times->seconds);
}

int times_next(const struct times *times, int from_s)
{
	int hour = from_s / 3600, minute = from_s / 60 % 60, second = from_s % 60;
	int found = next_in(times->hours, hour);

	if (found < 0)
		return -1;
	if (found > hour)
		return found * 3600 + times_first(times) % 3600;
	found = next_in(times->minutes, minute);
	if (found == minute) {
		second = next_in(times->seconds, second);
		if (second >= 0)
			return hour * 3600 + minute * 60 + second;
		found = next_in(times->minutes, minute + 1);
	}
	if (found >= 0)
		return hour * 3600 + found * 60 + times_first(times) % 60;
	found = next_in(times->hours, hour + 1);
	return found < 0 ? -1 : found * 3600 + times_first(times) % 3600;
}

int64_t times_count(const struct times *times, int limit_s)
{
	int hour = limit_s / 3600, minute = limit_s / 60 % 60, second = limit_s % 60;
	int64_t seconds = __builtin_popcountll(times->seconds);
	int64_t minutes = __builtin_popcountll(times->minutes);
	int64_t count = count_below(times->hours, hour) * minutes * seconds;

	if (!(times->hours >> hour & 1))
		return count;
	count += count_below(times->minutes, minute) * seconds;
	if (times->minutes >> minute & 1)
		count += count_below(times->seconds, second);
	return count;
}
