/* SPDX-License-Identifier: Apache-2.0
 *
 * What becomes of the due times that passed while nobody was looking. Every one of them ends in
 * exactly one row; which run is the policy's decision. The work is bounded whatever the outage: a
 * job of every second that was down for a year has 31 million due times, and they are counted per
 * month and per change of offset (schedule_count), not walked through. Only those that get a row of
 * their own are computed one by one. */
#include "plan/plan_priv.h"

#include <stdlib.h>

#include "base/mem.h"

const char *const misfire_names[] = {"latest", "skip", "earliest", "all", NULL};

/* The rows written so far and the first due time that has none yet (NO_TIME: no more). */
struct ledger {
	const struct schedule *schedule;
	int64_t at_ms;
	struct planned_due *dues;
	size_t count, size;
	int64_t skips_listed;
};

/* How the missed due times fall apart, in the order of time. */
struct shares {
	int64_t too_old;
	int64_t late;
	int64_t on_time;
};

static int64_t min_i64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t max_i64(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static void ledger_add(struct ledger *ledger, const struct planned_due *due)
{
	if (ledger->count == ledger->size) {
		ledger->size = ledger->size ? ledger->size * 2 : 8;
		ledger->dues = xrealloc(ledger->dues, ledger->size, sizeof(*ledger->dues));
	}
	ledger->dues[ledger->count++] = *due;
	ledger->at_ms = schedule_next(ledger->schedule, due->until_ms);
}

static void ledger_add_each(struct ledger *ledger, int64_t count, enum due_verdict verdict)
{
	for (int64_t i = 0; i < count; i++)
		ledger_add(ledger, &(struct planned_due){ledger->at_ms, ledger->at_ms, 1, verdict});
}

/* The due time that is number `count` from ledger->at_ms on, known to lie before limit_ms. */
static int64_t ledger_find(const struct ledger *ledger, int64_t count, int64_t limit_ms)
{
	int64_t low = ledger->at_ms, high = limit_ms;

	while (low < high) {
		int64_t middle = low + (high - low) / 2;

		if (schedule_count(ledger->schedule, ledger->at_ms, middle) >= count)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* A row each while there is room for them, then one row for the rest of the stretch. */
static void ledger_skip(
	struct ledger *ledger, int64_t count, enum due_verdict verdict, int64_t limit_ms)
{
	int64_t listed = min_i64(count, MISFIRE_MAX_ROWS - ledger->skips_listed);

	ledger_add_each(ledger, listed, verdict);
	ledger->skips_listed += listed;
	count -= listed;
	if (count > 0)
		ledger_add(ledger, &(struct planned_due){ledger->at_ms,
					   ledger_find(ledger, count, limit_ms), count, verdict});
}

static int64_t before(int64_t now_ms, int64_t span_ms)
{
	int64_t at_ms = 0;

	return __builtin_sub_overflow(now_ms, span_ms, &at_ms) ? INT64_MIN : at_ms;
}

/* Due times in [from_ms, to_ms], the cursor included even when the schedule no longer names it. */
static int64_t count_due(
	const struct schedule *schedule, int64_t cursor_ms, int64_t from_ms, int64_t to_ms)
{
	int64_t cursor = cursor_ms >= from_ms && cursor_ms <= to_ms;

	return cursor + schedule_count(schedule, max_i64(from_ms, cursor_ms + 1), to_ms);
}

static void plan_late(struct ledger *ledger, const struct misfire_rules *rules,
	const struct shares *shares, int64_t now_ms)
{
	int64_t limit = min_i64(max_i64(rules->max_catchup, 0), MISFIRE_MAX_CATCHUP);
	int64_t runs = min_i64(shares->late, limit);

	switch (rules->policy) {
	case MISFIRE_LATEST:
		runs = min_i64(runs, shares->on_time == 0);
		ledger_skip(ledger, shares->too_old + shares->late - runs, DUE_SKIP_LATE, now_ms);
		ledger_add_each(ledger, runs, DUE_RUN);
		break;
	case MISFIRE_SKIP:
		ledger_skip(ledger, shares->too_old + shares->late, DUE_SKIP_LATE, now_ms);
		break;
	case MISFIRE_EARLIEST:
		runs = min_i64(runs, 1);
		ledger_skip(ledger, shares->too_old, DUE_SKIP_LATE, now_ms);
		ledger_add_each(ledger, runs, DUE_RUN);
		ledger_skip(ledger, shares->late - runs, DUE_SKIP_LATE, now_ms);
		break;
	case MISFIRE_ALL:
		ledger_skip(ledger, shares->too_old, DUE_SKIP_LATE, now_ms);
		ledger_skip(ledger, shares->late - runs, DUE_SKIP_LIMIT, now_ms);
		ledger_add_each(ledger, runs, DUE_RUN);
		break;
	}
}

/* Only what would run: a reason that stands already stays. */
static void black_out(struct ledger *ledger, const struct misfire_rules *rules, int64_t now_ms)
{
	bool is_now = ledger->schedule->blackout_count > 0 &&
		      schedule_is_blacked_out(ledger->schedule, now_ms);
	int64_t on_time_from_ms = before(now_ms, rules->grace_ms);

	if (ledger->schedule->blackout_count == 0)
		return;
	for (size_t i = 0; i < ledger->count; i++) {
		struct planned_due *due = &ledger->dues[i];
		bool is_late = due->due_at_ms < on_time_from_ms;

		if (due->verdict == DUE_RUN &&
			((is_late && is_now) ||
				schedule_is_blacked_out(ledger->schedule, due->due_at_ms)))
			due->verdict = DUE_SKIP_BLACKOUT;
	}
}

size_t misfire_plan(const struct schedule *schedule, const struct misfire_rules *rules,
	int64_t expected_ms, int64_t now_ms, struct planned_due **ret_dues, int64_t *ret_next_ms)
{
	struct ledger ledger = {.schedule = schedule, .at_ms = expected_ms};
	int64_t on_time_from_ms = before(now_ms, rules->grace_ms);
	int64_t late_from_ms = min_i64(before(now_ms, rules->max_lateness_ms), on_time_from_ms);
	struct shares shares = {0};

	if (expected_ms <= now_ms) {
		shares.too_old = late_from_ms == INT64_MIN ? 0
							   : count_due(schedule, expected_ms,
								     expected_ms, late_from_ms - 1);
		shares.on_time = count_due(
			schedule, expected_ms, max_i64(expected_ms, on_time_from_ms), now_ms);
		shares.late = count_due(schedule, expected_ms, expected_ms, now_ms) -
			      shares.too_old - shares.on_time;
		plan_late(&ledger, rules, &shares, now_ms);
		ledger_add_each(&ledger, min_i64(shares.on_time, MISFIRE_MAX_ROWS), DUE_RUN);
	}
	black_out(&ledger, rules, now_ms);
	*ret_dues = ledger.dues;
	*ret_next_ms = ledger.at_ms;
	if (schedule->kind == SCHEDULE_AFTER && ledger.count > 0)
		*ret_next_ms = DUE_AT_RUN_END;
	return ledger.count;
}
