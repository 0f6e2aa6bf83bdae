/* SPDX-License-Identifier: Apache-2.0
 *
 * What BYSETPOS, DTSTART and COUNT leave of the set of rrule.c. BYSETPOS numbers the times of one
 * period (a year for FREQ=YEARLY, ...); a period is found, its times are counted, and only the one
 * that is asked for is looked up, by bisection over counts. So a rule with BYSETPOS can be entered
 * anywhere, too. COUNT is turned into the last time once, when the rule is made. */
#include "plan/rrule_priv.h"

#include "base/mem.h"

struct period {
	int64_t from_s, limit_s;
	int64_t total; /* times in it */
};

static int64_t min_i64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t max_i64(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* The first period with times at or after at_s. */
static bool find_period(
	const struct rrule *rule, int64_t at_s, int64_t limit_s, struct period *ret_period)
{
	int64_t found_s = 0;

	if (!rrule_base_next(rule, at_s, limit_s, &found_s))
		return false;
	rrule_period(rule, found_s, &ret_period->from_s, &ret_period->limit_s);
	ret_period->total = rrule_base_count(rule, ret_period->from_s, ret_period->limit_s);
	return true;
}

/* How many times of the period lie before at_s. */
static int64_t rank_at(const struct rrule *rule, const struct period *period, int64_t at_s)
{
	if (at_s <= period->from_s)
		return 0;
	return at_s >= period->limit_s ? period->total
				       : rrule_base_count(rule, period->from_s, at_s);
}

/* How many times [from_s, limit_s) has: of the rule without BYSETPOS, or with it. */
typedef int64_t count_fn(const struct rrule *rule, int64_t from_s, int64_t limit_s);

/* The local time of number `rank` (from 0) of those in [from_s, limit_s), which has so many. */
static int64_t time_at_rank(
	const struct rrule *rule, count_fn *count, int64_t from_s, int64_t limit_s, int64_t rank)
{
	int64_t low_s = from_s, high_s = limit_s;

	while (high_s - low_s > 1) {
		int64_t middle_s = low_s + (high_s - low_s) / 2;
		int64_t before = count(rule, low_s, middle_s);

		if (before <= rank) {
			rank -= before; /* counts add up: what was counted is not counted again */
			low_s = middle_s;
		} else {
			high_s = middle_s;
		}
	}
	return low_s;
}

static int64_t next_up(const uint64_t set[RRULE_NUMBER_WORDS], int64_t from)
{
	for (int64_t word = from / 64; word < RRULE_NUMBER_WORDS; word++) {
		int found = next_in(set[word], word == from / 64 ? (int)(from % 64) : 0);

		if (found >= 0)
			return word * 64 + found;
	}
	return INT64_MAX;
}

static int64_t next_down(const uint64_t set[RRULE_NUMBER_WORDS], int64_t from)
{
	for (int64_t number = min_i64(from, RRULE_NUMBERS_MAX); number > 0; number--)
		if (set[number / 64] >> number % 64 & 1)
			return number;
	return 0;
}

/* The first rank at or after `rank` that BYSETPOS picks; `total` or more when there is none. */
static int64_t next_pick(const struct rrule *rule, const struct period *period, int64_t rank)
{
	int64_t up = next_up(rule->positions.up, min_i64(rank + 1, RRULE_NUMBERS_MAX + 1));
	int64_t down = next_down(rule->positions.down, period->total - rank);

	return min_i64(up == INT64_MAX ? up : up - 1, down == 0 ? INT64_MAX : period->total - down);
}

/* The seconds of a minute that BYSETPOS picks. */
static uint64_t picked_seconds(const struct rrule *rule, const struct period *minute)
{
	uint64_t seconds = 0;
	int64_t rank = 0;

	for (uint64_t rest = rule->times.seconds; rest; rest &= rest - 1, rank++)
		if (next_pick(rule, minute, rank) == rank)
			seconds |= rest & -rest;
	return seconds;
}

bool rrule_fold_positions(struct rrule *rule)
{
	const struct times *times = &rule->times;
	struct period period = {.total = 1};

	if (rule->freq > FREQ_DAILY)
		return true;
	if (rule->freq > FREQ_SECONDLY)
		period.total *= __builtin_popcountll(times->seconds);
	if (rule->freq > FREQ_MINUTELY)
		period.total *= __builtin_popcountll(times->minutes);
	if (rule->freq > FREQ_HOURLY)
		period.total *= __builtin_popcount(times->hours);
	if (next_pick(rule, &period, 0) >= period.total)
		return false;
	if (rule->freq == FREQ_MINUTELY)
		rule->times.seconds = picked_seconds(rule, &period);
	if (rule->freq < FREQ_HOURLY)
		rule->positions = (struct numbers){.is_given = false};
	return true;
}

static bool picked_next(
	const struct rrule *rule, int64_t from_s, int64_t limit_s, int64_t *ret_local_s)
{
	struct period period;

	for (int64_t at_s = from_s; find_period(rule, at_s, limit_s, &period);
		at_s = period.limit_s) {
		int64_t pick = next_pick(rule, &period, rank_at(rule, &period, from_s));

		if (pick >= period.total)
			continue;
		*ret_local_s =
			time_at_rank(rule, rrule_base_count, period.from_s, period.limit_s, pick);
		return *ret_local_s < limit_s;
	}
	return false;
}

/* How many of the period's times before rank `end` BYSETPOS picks. */
static int64_t picks_below(const struct rrule *rule, const struct period *period, int64_t end)
{
	int64_t count = 0;

	for (int64_t pick = next_pick(rule, period, 0); pick < end;
		pick = next_pick(rule, period, pick + 1))
		count++;
	return count;
}

/* Up to DAILY all periods have the same number of times: whole ones need no look. */
static int64_t even_count(const struct rrule *rule, int64_t from_s, int64_t limit_s)
{
	struct period period;
	int64_t times;

	if (!find_period(rule, from_s, limit_s, &period))
		return 0;
	times = rrule_base_count(rule, period.from_s, limit_s);
	return times / period.total * picks_below(rule, &period, period.total) +
	       picks_below(rule, &period, times % period.total) -
	       picks_below(rule, &period, rank_at(rule, &period, from_s));
}

static int64_t picked_count(const struct rrule *rule, int64_t from_s, int64_t limit_s)
{
	struct period period;
	int64_t count = 0;

	if (rule->freq <= FREQ_DAILY)
		return even_count(rule, from_s, limit_s);
	for (int64_t at_s = from_s; find_period(rule, at_s, limit_s, &period);
		at_s = period.limit_s)
		count += picks_below(rule, &period, rank_at(rule, &period, limit_s)) -
			 picks_below(rule, &period, rank_at(rule, &period, from_s));
	return count;
}

static bool picked_nth(const struct rrule *rule, int64_t count, int64_t limit_s, int64_t *ret_s)
{
	struct period period;

	for (int64_t at_s = rule->first_s; find_period(rule, at_s, limit_s, &period);
		at_s = period.limit_s)
		for (int64_t pick = next_pick(rule, &period, rank_at(rule, &period, rule->first_s));
			pick < period.total; pick = next_pick(rule, &period, pick + 1))
			if (--count == 0) {
				*ret_s = time_at_rank(rule, rrule_base_count, period.from_s,
					period.limit_s, pick);
				return true;
			}
	return false;
}

/* Far enough from the start, doubling the distance, then back by bisection. No time is counted
 * twice on the way there: a sparse rule reaches over centuries. */
static bool counted_nth(const struct rrule *rule, count_fn *count_times, int64_t count,
	int64_t limit_s, int64_t *ret_s)
{
	int64_t low_s = rule->first_s;

	for (int64_t span_s = SECONDS_PER_DAY; low_s < limit_s; span_s *= 2) {
		int64_t high_s = min_i64(rule->first_s + span_s, limit_s);
		int64_t times = count_times(rule, low_s, high_s);

		if (times >= count) {
			*ret_s = time_at_rank(rule, count_times, low_s, high_s, count - 1);
			return true;
		}
		count -= times;
		low_s = high_s;
	}
	return false;
}

bool rrule_nth(const struct rrule *rule, int64_t count, int64_t *ret_local_s)
{
	int64_t limit_s = min_i64(rule->first_s + HORIZON_S, DUE_MAX_S + 1);

	if (rule->positions.is_given && rule->freq > FREQ_DAILY)
		return picked_nth(rule, count, limit_s, ret_local_s);
	return counted_nth(rule, rule->positions.is_given ? even_count : rrule_base_count, count,
		limit_s, ret_local_s);
}

bool rrule_next(
	const struct rrule *rule, int64_t from_local_s, int64_t limit_local_s, int64_t *ret_local_s)
{
	int64_t from_s = max_i64(from_local_s, rule->first_s);
	int64_t limit_s = min_i64(limit_local_s, rule->last_s + 1);

	if (from_s >= limit_s)
		return false;
	return rule->positions.is_given ? picked_next(rule, from_s, limit_s, ret_local_s)
					: rrule_base_next(rule, from_s, limit_s, ret_local_s);
}

int64_t rrule_count(const struct rrule *rule, int64_t from_local_s, int64_t limit_local_s)
{
	int64_t from_s = max_i64(from_local_s, rule->first_s);
	int64_t limit_s = min_i64(limit_local_s, rule->last_s + 1);

	if (from_s >= limit_s)
		return 0;
	return rule->positions.is_given ? picked_count(rule, from_s, limit_s)
					: rrule_base_count(rule, from_s, limit_s);
}
