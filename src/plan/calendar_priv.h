/* SPDX-License-Identifier: Apache-2.0
 *
 * The walk from month to month, and times of day as sets of bits, for cron.c and rrule*.c. Days of
 * a month are bits 1 to 31, days of the week bits 0 (Sunday) to 6. */
#pragma once

#include <stdint.h>

#include "plan/plan_priv.h"

struct month {
	int year, number;
	int day_count;
	int64_t first_day; /* since 1970 */
};

/* What the walk has to know about a rule. A place in a month is a day (from 1; 32: behind the last)
 * and a second of it. */
struct month_rule {
	const void *rule; /* what `next` and `count` are handed */
	uint16_t months;  /* the only ones that are asked about; bits 1 to 12, not 0 */
	/* The first match of the month from a place on; false: there is none. */
	bool (*next)(const void *rule, const struct month *month, int day, int time_s,
		int64_t *ret_local_s);
	/* How many it has before a place. */
	int64_t (*count)(const void *rule, const struct month *month, int day, int time_s);
};

/* See cron_next and cron_count. */
bool calendar_next(const struct month_rule *rule, int64_t from_local_s, int64_t limit_local_s,
	int64_t *ret_local_s);
int64_t calendar_count(const struct month_rule *rule, int64_t from_local_s, int64_t limit_local_s);

/* A place as the seconds of a clock. */
int64_t month_local_s(const struct month *month, int day, int time_s);

/* The lowest member at or above `from` (at most 63), -1 when there is none. */
int next_in(uint64_t set, int from);

/* How many members lie below `limit` (at most 63). */
int count_below(uint64_t set, int limit);

/* The days from..to of the month that fall on `weekdays`, as bits. */
uint32_t days_on(uint8_t weekdays, int first_weekday, int from, int to);

/* Of a day's times, in seconds since midnight: the first; the first at or after from_s (-1 when the
 * day has no more); how many there are before limit_s. */
int times_first(const struct times *times);
int times_next(const struct times *times, int from_s);
int64_t times_count(const struct times *times, int limit_s);
