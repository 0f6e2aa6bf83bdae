/* SPDX-License-Identifier: Apache-2.0
 *
 * A cron expression on the calendar: no zone, no gaps, a wall clock that never jumps (local.c adds
 * the jumps). calendar.c walks from month to month; here is which days of one match. */
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

/* --- moments --- */

static bool next_in_month(
	const void *data, const struct month *month, int day, int time_s, int64_t *ret_local_s)
{
	const struct cron *cron = data;
	uint32_t days = matching_days(cron, month);
	int found_s = days >> day & 1 ? times_next(&cron->times, time_s) : -1;

	if (found_s < 0) {
		day = next_in(days, day + 1);
		found_s = times_first(&cron->times);
	}
	if (day < 0)
		return false;
	*ret_local_s = month_local_s(month, day, found_s);
	return true;
}

static int64_t count_in_month(const void *data, const struct month *month, int day, int time_s)
{
	const struct cron *cron = data;
	uint64_t days = matching_days(cron, month);
	int64_t count = count_below(days, day) * times_count(&cron->times, SECONDS_PER_DAY);

	return days >> day & 1 ? count + times_count(&cron->times, time_s) : count;
}

static struct month_rule month_rule(const struct cron *cron)
{
	return (struct month_rule){cron, cron->months, next_in_month, count_in_month};
}

bool cron_next(
	const struct cron *cron, int64_t from_local_s, int64_t limit_local_s, int64_t *ret_local_s)
{
	struct month_rule rule = month_rule(cron);

	return calendar_next(&rule, from_local_s, limit_local_s, ret_local_s);
}

int64_t cron_count(const struct cron *cron, int64_t from_local_s, int64_t limit_local_s)
{
	struct month_rule rule = month_rule(cron);

	return calendar_count(&rule, from_local_s, limit_local_s);
}
