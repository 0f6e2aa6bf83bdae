/* SPDX-License-Identifier: Apache-2.0
 *
 * A cron expression on the calendar: no zone, no gaps, a wall clock that never jumps (local.c adds
 * the jumps). The search moves by field, never by minute: the days of a month that match are one
 * 32-bit set, and so are hours, minutes and seconds, so the next match is a few "lowest bit from
 * here on" and a step to the next month that may match. */
#include "plan/plan_priv.h"

#include "base/civil.h"

/* Bits 0, 7, 14, ...: times a set of weekdays, repeats it week after week. */
#define EVERY_WEEK UINT64_C(0x0000040810204081)

struct month {
	int year, number;
	int day_count;
	int64_t first_day; /* since 1970 */
};

static struct month month_of(int year, int number)
{
	static const uint8_t day_counts[] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return (struct month){.year = year,
		.number = number,
		.day_count = day_counts[number] + (number == 2 && is_leap),
		.first_day = civil_days(year, number, 1)};
}

/* The lowest member at or above `from`, -1 when there is none. */
static int next_in(uint64_t set, int from)
{
	uint64_t rest = set >> from << from;

	return rest ? __builtin_ctzll(rest) : -1;
}

static int count_below(uint64_t set, int limit)
{
	return __builtin_popcountll(set & ((UINT64_C(1) << limit) - 1));
}

/* --- days --- */

/* The days from..to of the month that fall on `weekdays`, as bits. */
static uint32_t days_on(uint8_t weekdays, int first_weekday, int from, int to)
{
	uint64_t weeks = weekdays * EVERY_WEEK >> first_weekday << 1;
	uint64_t range = (UINT64_C(2) << to) - (UINT64_C(1) << from);

	return (uint32_t)(weeks & range);
}

/* The workday nearest to `day` within the month: from a Saturday back to Friday, from a Sunday on
 * to Monday, and the other way round where that would leave the month. */
static int nearest_workday(const struct month *month, int first_weekday, int day)
{
	int weekday = (first_weekday + day - 1) % 7;

	if (weekday == 6)
		return day > 1 ? day - 1 : day + 2;
	if (weekday == 0)
		return day < month->day_count ? day + 1 : day - 2;
	return day;
}

/* What L, W and # add to the days of month and to the days of week. */
static void add_special_days(const struct cron *cron, const struct month *month, int first_weekday,
	uint32_t *by_month, uint32_t *by_week)
{
	int last = month->day_count;

	for (uint32_t rest = cron->days_from_last; rest; rest &= rest - 1)
		if (__builtin_ctz(rest) < last)
			*by_month |= UINT32_C(1) << (last - __builtin_ctz(rest));
	for (uint32_t rest = cron->days_nearest; rest; rest &= rest - 1)
		if (__builtin_ctz(rest) <= last)
			*by_month |= UINT32_C(1)
				     << nearest_workday(month, first_weekday, __builtin_ctz(rest));
	if (cron->has_last_workday)
		*by_month |= UINT32_C(1) << nearest_workday(month, first_weekday, last);
	*by_week |= days_on(cron->weekdays_last, first_weekday, last - 6, last);
	for (int week = 0; week < 5; week++) {
		int to = week < 4 ? week * 7 + 7 : last;

		*by_week |= days_on(cron->weekdays_nth[week], first_weekday, week * 7 + 1, to);
	}
}

/* The days of the month that match, bits 1 to 31. */
static uint32_t matching_days(const struct cron *cron, const struct month *month)
{
	int first_weekday = civil_weekday(month->first_day);
	uint32_t by_month = cron->days & (uint32_t)((UINT64_C(2) << month->day_count) - 1);
	uint32_t by_week = days_on(cron->weekdays, first_weekday, 1, month->day_count);

	if (cron->has_special_days)
		add_special_days(cron, month, first_weekday, &by_month, &by_week);
	return cron->needs_both_days ? by_month & by_week : by_month | by_week;
}

/* The next month after `month` that the expression names. */
static struct month month_after(const struct cron *cron, const struct month *month)
{
	int number = next_in(cron->months, month->number + 1);

	if (number > 0)
		return month_of(month->year, number);
	return month_of(month->year + 1, __builtin_ctz(cron->months));
}

/* --- times of day --- */

static int first_time(const struct cron *cron)
{
	return __builtin_ctz(cron->hours) * 3600 + __builtin_ctzll(cron->minutes) * 60 +
	       __builtin_ctzll(cron->seconds);
}

/* The first matching second of the day at or after `from_s`, -1 when the day has no more. */
static int next_time(const struct cron *cron, int from_s)
{
	int hour = from_s / 3600, minute = from_s / 60 % 60, second = from_s % 60;
	int found = next_in(cron->hours, hour);

	if (found < 0)
		return -1;
	if (found > hour)
		return found * 3600 + first_time(cron) % 3600;
	found = next_in(cron->minutes, minute);
	if (found == minute) {
		second = next_in(cron->seconds, second);
		if (second >= 0)
			return hour * 3600 + minute * 60 + second;
		found = next_in(cron->minutes, minute + 1);
	}
	if (found >= 0)
		return hour * 3600 + found * 60 + first_time(cron) % 60;
	found = next_in(cron->hours, hour + 1);
	return found < 0 ? -1 : found * 3600 + first_time(cron) % 3600;
}

/* How many matching seconds a day has before `limit_s`. */
static int64_t count_times(const struct cron *cron, int limit_s)
{
	int hour = limit_s / 3600, minute = limit_s / 60 % 60, second = limit_s % 60;
	int64_t seconds = __builtin_popcountll(cron->seconds);
	int64_t minutes = __builtin_popcountll(cron->minutes);
	int64_t count = count_below(cron->hours, hour) * minutes * seconds;

	if (!(cron->hours >> hour & 1))
		return count;
	count += count_below(cron->minutes, minute) * seconds;
	if (cron->minutes >> minute & 1)
		count += count_below(cron->seconds, second);
	return count;
}

/* --- search --- */

static int64_t seconds_of(const struct month *month, int day, int time_s)
{
	return (month->first_day + day - 1) * SECONDS_PER_DAY + time_s;
}

bool cron_next(
	const struct cron *cron, int64_t from_local_s, int64_t limit_local_s, int64_t *ret_local_s)
{
	struct civil from = civil_from_seconds(from_local_s);
	struct month month = month_of(from.year, from.month);
	uint32_t days = cron->months >> from.month & 1 ? matching_days(cron, &month) : 0;
	int time_s = from.hour * 3600 + from.minute * 60 + from.second;
	int day = from.day;

	time_s = days >> day & 1 ? next_time(cron, time_s) : -1;
	if (time_s < 0) {
		time_s = first_time(cron);
		day = next_in(days, day + 1);
	}
	while (day < 0) {
		month = month_after(cron, &month);
		if (month.first_day * SECONDS_PER_DAY >= limit_local_s ||
			month.year > from.year + HORIZON_YEARS)
			return false;
		day = next_in(matching_days(cron, &month), 1);
	}
	if (seconds_of(&month, day, time_s) >= limit_local_s)
		return false;
	*ret_local_s = seconds_of(&month, day, time_s);
	return true;
}

/* --- counting --- */

static int64_t matches_a_day(const struct cron *cron)
{
	return count_times(cron, SECONDS_PER_DAY);
}

/* How many matches the month of `local_s` has before it. */
static int64_t count_in_month(const struct cron *cron, int64_t local_s)
{
	struct civil at = civil_from_seconds(local_s);
	struct month month = month_of(at.year, at.month);
	uint32_t days = cron->months >> at.month & 1 ? matching_days(cron, &month) : 0;
	int64_t count = count_below(days, at.day) * matches_a_day(cron);

	if (days >> at.day & 1)
		count += count_times(cron, at.hour * 3600 + at.minute * 60 + at.second);
	return count;
}

int64_t cron_count(const struct cron *cron, int64_t from_local_s, int64_t limit_local_s)
{
	struct civil from = civil_from_seconds(from_local_s);
	struct civil limit = civil_from_seconds(limit_local_s);
	struct month month = month_of(from.year, from.month);
	int64_t days = 0;

	if (from_local_s >= limit_local_s)
		return 0;
	if (!(cron->months >> from.month & 1))
		month = month_after(cron, &month);
	while (month.year < limit.year ||
		(month.year == limit.year && month.number < limit.month)) {
		days += __builtin_popcount(matching_days(cron, &month));
		month = month_after(cron, &month);
	}
	return days * matches_a_day(cron) + count_in_month(cron, limit_local_s) -
	       count_in_month(cron, from_local_s);
}
