/* SPDX-License-Identifier: Apache-2.0
 *
 * Between rrule_parse.c (text), rrule.c (the set of local times) and rrule_pick.c (what BYSETPOS,
 * DTSTART and COUNT leave of it). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "plan/calendar_priv.h"

/* In the order of their length: what is below DAILY follows the clock, not the calendar. */
enum rrule_freq {
	FREQ_SECONDLY,
	FREQ_MINUTELY,
	FREQ_HOURLY,
	FREQ_DAILY,
	FREQ_WEEKLY,
	FREQ_MONTHLY,
	FREQ_YEARLY
};

#define RRULE_COUNT_MAX    100000
#define RRULE_NUMBERS_MAX  366 /* the largest number in a list */
#define RRULE_NUMBER_WORDS 6
#define RRULE_ORDINAL_MAX  53 /* of a weekday in a year */

/* How long the periods are at least, in seconds. */
extern const int64_t rrule_freq_s[FREQ_YEARLY + 1];

/* A list of numbers, each counted from the first (bits of `up`) or from the last (`down`). */
struct numbers {
	uint64_t up[RRULE_NUMBER_WORDS], down[RRULE_NUMBER_WORDS];
	bool is_given;
};

/* How the times of one day differ from those of another. */
enum rrule_clock {
	CLOCK_SAME,    /* not at all */
	CLOCK_STEPPED, /* INTERVAL does not divide the clock's hour or day: sets are made as needed
			*/
	CLOCK_EVEN     /* every so many seconds, whatever they show */
};

/* Without start_at the rule counts from 1970-01-01T00:00:00 on the zone's clock. */
struct rrule {
	enum rrule_freq freq;
	int64_t interval;
	int week_start;   /* 0 is Sunday */
	int64_t origin_s; /* DTSTART on the wall clock: what is left out of the rule is taken from
			     it */
	int64_t origin;   /* the number of the year, month, ... that it lies in: INTERVAL's phase */
	int64_t first_s;  /* where COUNT begins, and nothing is before; INT64_MIN: no COUNT */
	int64_t last_s;   /* nor after */
	int64_t until_ms; /* UNTIL; DUE_MAX_MS: none */
	struct times times;
	uint16_t months;
	uint32_t month_days, month_days_from_last; /* bits 1 to 31; both 0: all */
	uint8_t weekdays;                          /* in any week */
	uint8_t weekdays_nth[RRULE_ORDINAL_MAX + 1], weekdays_nth_from_last[RRULE_ORDINAL_MAX + 1];
	uint8_t weekdays_named; /* with or without an ordinal; 0: all */
	bool has_ordinals, has_ordinals_of_year;
	struct numbers year_days, weeks;
	struct numbers positions;
	enum rrule_clock clock;
	int64_t times_a_day; /* 0: not the same each day */
};

/* The value of UNTIL (rrule_until.c), to the last millisecond; false: it is no such time. */
bool rrule_read_until(const struct piece *value, const struct zone *zone, int64_t *ret_until_ms);

/* What stands in the text is set; derives the rest (phase, clock). False, and why, for what can
 * never be due and what would cost too much to search. */
bool rrule_finish(struct rrule *rule, const char **ret_why);

/* Settles a BYSETPOS whose periods have the same number of times each; false: it picks nothing. */
bool rrule_fold_positions(struct rrule *rule);

/* The set of local times without BYSETPOS and without bounds; as cron_next and cron_count. */
bool rrule_base_next(const struct rrule *rule, int64_t from_local_s, int64_t limit_local_s,
	int64_t *ret_local_s);
int64_t rrule_base_count(const struct rrule *rule, int64_t from_local_s, int64_t limit_local_s);

/* The year, month, ..., second that local_s lies in: [*ret_from_s, *ret_limit_s). */
void rrule_period(
	const struct rrule *rule, int64_t local_s, int64_t *ret_from_s, int64_t *ret_limit_s);

/* The local time of occurrence number `count` (from 1); false when there are fewer within
 * HORIZON_YEARS. */
bool rrule_nth(const struct rrule *rule, int64_t count, int64_t *ret_local_s);

/* Is number `index` of `total` (from 1) in the list? */
static inline bool numbers_have(const struct numbers *numbers, int index, int total)
{
	int back = total + 1 - index;

	return numbers->up[index / 64] >> index % 64 & 1 ||
	       numbers->down[back / 64] >> back % 64 & 1;
}
