/* SPDX-License-Identifier: Apache-2.0
 *
 * Months and times of day as sets of bits, shared by cron.c and rrule*.c. Days of a month are bits
 * 1 to 31, days of the week bits 0 (Sunday) to 6. */
#pragma once

#include <stdint.h>

#include "plan/plan_priv.h"

struct month {
	int year, number;
	int day_count;
	int64_t first_day; /* since 1970 */
};

struct month month_of(int year, int number);

/* The next one that is in the set `months` (bits 1 to 12), which is not empty. */
struct month month_after(uint16_t months, const struct month *month);

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
