/* SPDX-License-Identifier: Apache-2.0
 *
 * The set of local times that a recurrence rule (RFC 5545, 3.3.10) names, on a calendar without
 * zones. Each part of a rule but BYSETPOS, COUNT and UNTIL is a statement about a single moment:
 * "its month is one of these", "its week's number from the weeks of DTSTART is a multiple of
 * INTERVAL". So nothing has to be generated from DTSTART on: the days of any month that match are a
 * set of 32 bits, as in cron.c, the times of a day are sets as well, and the search begins where it
 * is asked to.
 *
 * Only an INTERVAL of hours, minutes or seconds makes one day's times differ from another's. Where
 * it divides the clock's hour or day rrule_finish makes a fixed set of it; else it is applied hour
 * by hour or minute by minute while searching. */
#include "plan/rrule_priv.h"

#include "base/civil.h"
#include "base/mem.h"

#define ALL_SIXTY ((UINT64_C(1) << 60) - 1)
#define ALL_HOURS ((UINT32_C(1) << 24) - 1)
#define THURSDAY  4 /* 1970-01-01 */

const int64_t rrule_freq_s[FREQ_YEARLY + 1] = {1, 60, 3600, SECONDS_PER_DAY, 7 * SECONDS_PER_DAY,
	INT64_C(30) * SECONDS_PER_DAY, INT64_C(365) * SECONDS_PER_DAY};

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* 0 .. b - 1 */
static int64_t floor_mod(int64_t a, int64_t b)
{
	return a % b + (a % b < 0 ? b : 0);
}

/* --- INTERVAL --- */

static int64_t week_number(const struct rrule *rule, int64_t day)
{
	return floor_div(day + THURSDAY - rule->week_start, 7);
}

/* The number of the unit of FREQ that a local time lies in. */
static int64_t unit_number(const struct rrule *rule, int64_t local_s)
{
	struct civil at = civil_from_seconds(local_s);

	switch (rule->freq) {
	case FREQ_YEARLY:
		return at.year;
	case FREQ_MONTHLY:
		return at.year * INT64_C(12) + at.month;
	case FREQ_WEEKLY:
		return week_number(rule, floor_div(local_s, SECONDS_PER_DAY));
	case FREQ_DAILY:
		return floor_div(local_s, SECONDS_PER_DAY);
	case FREQ_HOURLY:
		return floor_div(local_s, 3600);
	case FREQ_MINUTELY:
		return floor_div(local_s, 60);
	case FREQ_SECONDLY:
		break;
	}
	return local_s;
}

/* How far the next unit that counts lies behind unit `number`; 0: it counts itself. */
static int64_t units_to_go(const struct rrule *rule, int64_t number)
{
	return floor_mod(rule->origin - number, rule->interval);
}

/* Of `count` units from `first` on, those that count, as bits. */
static uint64_t units_in(const struct rrule *rule, int64_t first, int count)
{
	uint64_t set = 0;

	for (int64_t i = units_to_go(rule, first); i < count; i += rule->interval)
		set |= UINT64_C(1) << i;
	return set;
}

/* --- days --- */

static uint32_t days_in_counting_weeks(const struct rrule *rule, const struct month *month)
{
	uint32_t days = 0;

	for (int day = 1; day <= month->day_count; day++)
		if (units_to_go(rule, week_number(rule, month->first_day + day - 1)) == 0)
			days |= UINT32_C(1) << day;
	return days;
}

/* The days of the month in the years, months, weeks or days that INTERVAL leaves. */
static uint32_t counting_days(const struct rrule *rule, const struct month *month)
{
	uint32_t all = (uint32_t)((UINT64_C(2) << month->day_count) - 2);

	if (rule->interval == 1 || rule->freq < FREQ_DAILY)
		return all;
	switch (rule->freq) {
	case FREQ_YEARLY:
		return units_to_go(rule, month->year) == 0 ? all : 0;
	case FREQ_MONTHLY:
		return units_to_go(rule, month->year * INT64_C(12) + month->number) == 0 ? all : 0;
	case FREQ_WEEKLY:
		return days_in_counting_weeks(rule, month);
	default:
		return (uint32_t)(units_in(rule, month->first_day, month->day_count) << 1);
	}
}

static uint32_t days_of_month(const struct rrule *rule, const struct month *month)
{
	uint32_t days = rule->month_days;

	for (uint32_t rest = rule->month_days_from_last; rest; rest &= rest - 1)
		if (__builtin_ctz(rest) <= month->day_count)
			days |= UINT32_C(1) << (month->day_count + 1 - __builtin_ctz(rest));
	return days;
}

/* Does the week that `day` lies in have one of the numbers? Week 1 of a year is the first one of
 * which four days lie in it, so the fourth day says which year's a week is. */
static bool week_matches(const struct rrule *rule, int64_t day)
{
	int64_t week = week_number(rule, day);
	int64_t fourth_day = week * 7 - THURSDAY + rule->week_start + 3;
	int year = civil_from_seconds(fourth_day * SECONDS_PER_DAY).year;
	int64_t first = week_number(rule, civil_days(year, 1, 4));
	int64_t next_first = week_number(rule, civil_days(year + 1, 1, 4));

	return numbers_have(&rule->weeks, (int)(week - first + 1), (int)(next_first - first));
}

/* Is this weekday the nth of the month, or of the year, as asked for? */
static bool weekday_matches(const struct rrule *rule, uint8_t weekday, int index, int total)
{
	return (rule->weekdays | rule->weekdays_nth[(index - 1) / 7 + 1] |
		       rule->weekdays_nth_from_last[(total - index) / 7 + 1]) >>
		       weekday &
	       1;
}

/* What no set of bits tells: drops the days whose number in the year, week or ordinal is wrong. */
static uint32_t sift(const struct rrule *rule, const struct month *month, uint32_t days)
{
	int64_t new_year = civil_days(month->year, 1, 1);
	int year_days = (int)(civil_days(month->year + 1, 1, 1) - new_year);
	uint32_t kept = 0;

	for (uint32_t rest = days; rest; rest &= rest - 1) {
		int day = __builtin_ctz(rest);
		int64_t number = month->first_day + day - 1;
		int day_of_year = (int)(number - new_year) + 1;
		bool is_of_year = rule->has_ordinals_of_year;

		if (rule->year_days.is_given &&
			!numbers_have(&rule->year_days, day_of_year, year_days))
			continue;
		if (rule->has_ordinals && !weekday_matches(rule, (uint8_t)civil_weekday(number),
						  is_of_year ? day_of_year : day,
						  is_of_year ? year_days : month->day_count))
			continue;
		if (rule->weeks.is_given && !week_matches(rule, number))
			continue;
		kept |= UINT32_C(1) << day;
	}
	return kept;
}

/* The days of the month that match, bits 1 to 31. */
static uint32_t matching_days(const struct rrule *rule, const struct month *month)
{
	uint32_t days = counting_days(rule, month);

	if (rule->month_days || rule->month_days_from_last)
		days &= days_of_month(rule, month);
	if (days && rule->weekdays_named)
		days &= days_on(
			rule->weekdays_named, civil_weekday(month->first_day), 1, month->day_count);
	if (days && (rule->has_ordinals || rule->year_days.is_given || rule->weeks.is_given))
		days = sift(rule, month, days);
	return days;
}

/* --- times of a day --- */

static uint64_t hours_of(const struct rrule *rule, int64_t day)
{
	uint64_t hours = rule->times.hours;

	return rule->freq == FREQ_HOURLY ? hours & units_in(rule, day * 24, 24) : hours;
}

static uint64_t minutes_of(const struct rrule *rule, int64_t hour)
{
	uint64_t minutes = rule->times.minutes;

	return rule->freq == FREQ_MINUTELY ? minutes & units_in(rule, hour * 60, 60) : minutes;
}

static uint64_t seconds_of(const struct rrule *rule, int64_t minute)
{
	uint64_t seconds = rule->times.seconds;

	return rule->freq == FREQ_SECONDLY ? seconds & units_in(rule, minute * 60, 60) : seconds;
}

static int stepped_next(const struct rrule *rule, int64_t day, int from_s)
{
	uint64_t hours = hours_of(rule, day);

	for (int h = next_in(hours, from_s / 3600); h >= 0; h = next_in(hours, h + 1)) {
		uint64_t minutes = minutes_of(rule, day * 24 + h);
		int skip_s = from_s > h * 3600 ? from_s - h * 3600 : 0;

		for (int m = next_in(minutes, skip_s / 60); m >= 0; m = next_in(minutes, m + 1)) {
			int at_s = h * 3600 + m * 60;
			int second = next_in(seconds_of(rule, (day * 24 + h) * 60 + m),
				from_s > at_s ? from_s - at_s : 0);

			if (second >= 0)
				return at_s + second;
		}
	}
	return -1;
}

static int64_t stepped_count(const struct rrule *rule, int64_t day, int limit_s)
{
	uint64_t hours = hours_of(rule, day);
	int64_t count = 0;

	for (int h = next_in(hours, 0); h >= 0 && h * 3600 < limit_s; h = next_in(hours, h + 1)) {
		uint64_t minutes = minutes_of(rule, day * 24 + h);

		for (int m = next_in(minutes, 0); m >= 0; m = next_in(minutes, m + 1)) {
			int rest_s = limit_s - h * 3600 - m * 60;

			if (rest_s <= 0)
				break;
			count += count_below(seconds_of(rule, (day * 24 + h) * 60 + m),
				rest_s < 60 ? rest_s : 60);
		}
	}
	return count;
}

/* The first matching second of the day at or after `from_s`, -1 when it has no more. */
static int time_next(const struct rrule *rule, int64_t day, int from_s)
{
	int64_t even_s;

	if (rule->clock == CLOCK_SAME)
		return times_next(&rule->times, from_s);
	if (rule->clock == CLOCK_STEPPED)
		return stepped_next(rule, day, from_s);
	even_s = from_s + units_to_go(rule, day * SECONDS_PER_DAY + from_s);
	return even_s < SECONDS_PER_DAY ? (int)even_s : -1;
}

/* How many of the day's seconds before `limit_s` match. */
static int64_t time_count(const struct rrule *rule, int64_t day, int limit_s)
{
	int64_t first_s;

	if (rule->clock == CLOCK_SAME)
		return times_count(&rule->times, limit_s);
	if (rule->clock == CLOCK_STEPPED)
		return stepped_count(rule, day, limit_s);
	first_s = units_to_go(rule, day * SECONDS_PER_DAY);
	return first_s < limit_s ? (limit_s - 1 - first_s) / rule->interval + 1 : 0;
}

/* --- moments --- */

static bool next_in_month(
	const void *data, const struct month *month, int day, int time_s, int64_t *ret_local_s)
{
	const struct rrule *rule = data;
	uint32_t days = matching_days(rule, month);

	for (int d = next_in(days, day); d >= 0; d = next_in(days, d + 1)) {
		int found_s = time_next(rule, month->first_day + d - 1, d == day ? time_s : 0);

		if (found_s >= 0) {
			*ret_local_s = month_local_s(month, d, found_s);
			return true;
		}
	}
	return false;
}

/* How many matches there are on these days of the month. */
static int64_t count_on(const struct rrule *rule, const struct month *month, uint32_t days)
{
	int64_t count = 0;

	if (rule->times_a_day > 0)
		return __builtin_popcount(days) * rule->times_a_day;
	for (; days; days &= days - 1)
		count += time_count(
			rule, month->first_day + __builtin_ctz(days) - 1, SECONDS_PER_DAY);
	return count;
}

static int64_t count_in_month(const void *data, const struct month *month, int day, int time_s)
{
	const struct rrule *rule = data;
	uint64_t days = matching_days(rule, month);
	uint32_t whole = (uint32_t)(days & ((UINT64_C(1) << day) - 1));
	int64_t count = count_on(rule, month, whole);

	return days >> day & 1 ? count + time_count(rule, month->first_day + day - 1, time_s)
			       : count;
}

static struct month_rule month_rule(const struct rrule *rule)
{
	return (struct month_rule){rule, rule->months, next_in_month, count_in_month};
}

bool rrule_base_next(
	const struct rrule *rule, int64_t from_local_s, int64_t limit_local_s, int64_t *ret_local_s)
{
	struct month_rule months = month_rule(rule);

	return calendar_next(&months, from_local_s, limit_local_s, ret_local_s);
}

int64_t rrule_base_count(const struct rrule *rule, int64_t from_local_s, int64_t limit_local_s)
{
	struct month_rule months = month_rule(rule);

	return calendar_count(&months, from_local_s, limit_local_s);
}

/* --- periods --- */

void rrule_period(
	const struct rrule *rule, int64_t local_s, int64_t *ret_from_s, int64_t *ret_limit_s)
{
	int64_t number = unit_number(rule, local_s);

	if (rule->freq == FREQ_YEARLY) {
		*ret_from_s = civil_days((int)number, 1, 1) * SECONDS_PER_DAY;
		*ret_limit_s = civil_days((int)number + 1, 1, 1) * SECONDS_PER_DAY;
	} else if (rule->freq == FREQ_MONTHLY) {
		int year = (int)((number - 1) / 12), month = (int)(number - 1) % 12 + 1;

		*ret_from_s = civil_days(year, month, 1) * SECONDS_PER_DAY;
		*ret_limit_s = *ret_from_s +
			       civil_days_in_month(year, month) * INT64_C(1) * SECONDS_PER_DAY;
	} else if (rule->freq == FREQ_WEEKLY) {
		*ret_from_s = (number * 7 - THURSDAY + rule->week_start) * SECONDS_PER_DAY;
		*ret_limit_s = *ret_from_s + INT64_C(7) * SECONDS_PER_DAY;
	} else {
		*ret_from_s = number * rrule_freq_s[rule->freq];
		*ret_limit_s = *ret_from_s + rrule_freq_s[rule->freq];
	}
}

/* --- a rule made ready --- */

static int64_t common_divisor(int64_t a, int64_t b)
{
	while (b > 0) {
		int64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* Of the `size` numbers that the clock shows of the unit of FREQ, those that INTERVAL ever comes
 * to. When it divides `size` that is all there is to say about it. */
static uint64_t fold_interval(struct rrule *rule, int size)
{
	int64_t interval = rule->interval;
	uint64_t set = 0;

	rule->interval = common_divisor(interval, size);
	rule->clock = rule->interval == interval ? CLOCK_SAME : CLOCK_STEPPED;
	set = units_in(rule, 0, size);
	rule->interval = interval;
	return set;
}

static void set_clock(struct rrule *rule)
{
	struct times *times = &rule->times;
	bool is_all = times->hours == ALL_HOURS && times->minutes == ALL_SIXTY &&
		      times->seconds == ALL_SIXTY;

	if (rule->freq == FREQ_HOURLY)
		times->hours &= (uint32_t)fold_interval(rule, 24);
	else if (rule->freq == FREQ_MINUTELY)
		times->minutes &= fold_interval(rule, 60);
	else if (rule->freq == FREQ_SECONDLY)
		times->seconds &= fold_interval(rule, 60);
	if (is_all && rule->freq == FREQ_SECONDLY && rule->clock == CLOCK_STEPPED)
		rule->clock = CLOCK_EVEN;
}

bool rrule_finish(struct rrule *rule, const char **ret_why)
{
	const struct times *times = &rule->times;

	rule->origin = unit_number(rule, rule->origin_s);
	set_clock(rule);
	*ret_why = "can never be due: BYSETPOS asks for more times than any period has";
	if (rule->positions.is_given && !rrule_fold_positions(rule))
		return false;
	*ret_why = "can never be due: INTERVAL never comes to the times of day that are asked for";
	if (!times->hours || !times->minutes || !times->seconds)
		return false;
	if (rule->clock == CLOCK_SAME ||
		SECONDS_PER_DAY % (rrule_freq_s[rule->freq] * rule->interval) == 0) {
		rule->times_a_day = time_count(rule, 0, SECONDS_PER_DAY);
		return rule->times_a_day > 0;
	}
	*ret_why = "is not taken: an INTERVAL of seconds that does not divide a day goes without "
		   "BYHOUR, BYMINUTE "
		   "and BYSECOND";
	return rule->freq != FREQ_SECONDLY || rule->clock == CLOCK_EVEN;
}
