/* SPDX-License-Identifier: Apache-2.0
 *
 * A cron expression on the calendar: no zone, no gaps, a wall clock that never jumps (local.c adds
 * the jumps). What calendar.c does for every kind of rule is not here: only which days of a month
 * match, and the walk from month to month. */
#include "plan/plan_priv.h"

#include "base/civil.h"
#include "plan/calendar_priv.h"

/* --- days --- */

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

	time_s = days >> day & 1 ? times_next(&cron->times, time_s) : -1;
	if (time_s < 0) {
		time_s = times_first(&cron->times);
		day = next_in(days, day + 1);
	}
	while (day < 0) {
		month = month_after(cron->months, &month);
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
	return times_count(&cron->times, SECONDS_PER_DAY);
}

/* How many matches the month of `local_s` has before it. */
static int64_t count_in_month(const struct cron *cron, int64_t local_s)
{
	struct civil at = civil_from_seconds(local_s);
	struct month month = month_of(at.year, at.month);
	uint32_t days = cron->months >> at.month & 1 ? matching_days(cron, &month) : 0;
	int64_t count = count_below(days, at.day) * matches_a_day(cron);

	if (days >> at.day & 1)
		count += times_count(&cron->times, at.hour * 3600 + at.minute * 60 + at.second);
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
		month = month_after(cron->months, &month);
	while (month.year < limit.year ||
		(month.year == limit.year && month.number < limit.month)) {
		days += __builtin_popcount(matching_days(cron, &month));
		month = month_after(cron->months, &month);
	}
	return days * matches_a_day(cron) + count_in_month(cron, limit_local_s) -
	       count_in_month(cron, from_local_s);
}
