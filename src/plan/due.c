/* SPDX-License-Identifier: Apache-2.0
 *
 * When a schedule is due, in three layers:
 *
 *     nominal    what the expression, the interval or the moment says
 *     jitter     moves each nominal time by what the name picks: less than the jitter, and less
 * than the distance to the next nominal time bounds     start_at and end_at: due times outside do
 * not exist
 *
 * So due time number i lies in [nominal i, nominal i + 1). Order is kept whatever the schedule
 * does, around changes of the clock too, and both questions stay as cheap as without jitter: of the
 * nominal times before a moment only the last can be due after it. That one is the candidate of the
 * search and the correction of the count. */
#include "plan/plan_priv.h"

#include "base/mem.h"

static int64_t min_i64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t max_i64(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t floor_seconds(int64_t at_ms)
{
	return at_ms / 1000 - (at_ms % 1000 < 0);
}

/* --- nominal --- */

/* As if a run had ended just before from_ms; the bound itself is due. */
static int64_t after_from(const struct schedule *schedule, int64_t from_ms)
{
	if (schedule->start_at_ms > 0 && from_ms == schedule->start_at_ms)
		return from_ms;
	return from_ms - 1 + schedule->every.every_ms;
}

/* The first at or after from_ms, which is not negative. */
static bool find_nominal(const struct schedule *schedule, int64_t from_ms, struct due *due)
{
	if (from_ms > DUE_MAX_MS)
		return false;
	switch (schedule->kind) {
	case SCHEDULE_CRON:
	case SCHEDULE_RRULE:
		return local_next(&schedule->local, floor_seconds(from_ms + 999), due);
	case SCHEDULE_EVERY:
		return every_next(&schedule->every, from_ms, &due->at_ms);
	case SCHEDULE_ONCE:
		due->at_ms = schedule->once_at_ms;
		return schedule->once_at_ms >= from_ms;
	case SCHEDULE_AFTER:
		due->at_ms = after_from(schedule, from_ms);
		return due->at_ms <= DUE_MAX_MS;
	case SCHEDULE_EVENT:
	case SCHEDULE_START:
		break;
	}
	return false;
}

static int64_t nominal_from(const struct schedule *schedule, int64_t from_ms)
{
	struct due due = {0};

	return find_nominal(schedule, from_ms, &due) ? due.at_ms : NO_TIME;
}

static int64_t count_nominal(const struct schedule *schedule, int64_t from_ms, int64_t to_ms)
{
	switch (schedule->kind) {
	case SCHEDULE_CRON:
	case SCHEDULE_RRULE:
		return local_count(
			&schedule->local, floor_seconds(from_ms + 999), floor_seconds(to_ms));
	case SCHEDULE_EVERY:
		return every_count(&schedule->every, from_ms, to_ms);
	case SCHEDULE_ONCE:
		return schedule->once_at_ms >= from_ms && schedule->once_at_ms <= to_ms;
	case SCHEDULE_AFTER: /* one at a time: the cursor, which others count */
	case SCHEDULE_EVENT:
	case SCHEDULE_START:
		break;
	}
	return 0;
}

/* --- jitter --- */

static bool is_before(int64_t at_ms, int64_t limit_ms)
{
	return at_ms != NO_TIME && at_ms < limit_ms;
}

/* The last nominal time within a jitter before limit_ms; NO_TIME when there is none. Where several
 * lie so near it is found by bisection: 20 searches for the longest jitter. */
static int64_t last_nominal(const struct schedule *schedule, int64_t limit_ms)
{
	int64_t last_ms = nominal_from(schedule, max_i64(limit_ms + 1 - schedule->jitter_ms, 0));
	int64_t granule_ms = schedule_is_local(schedule) ? 1000 : 1;
	int64_t empty_from_ms = limit_ms; /* nothing from here to the limit */

	if (!is_before(last_ms, limit_ms))
		return NO_TIME;
	if (!is_before(nominal_from(schedule, last_ms + 1), limit_ms))
		return last_ms;
	while (empty_from_ms - last_ms > granule_ms) {
		int64_t middle_ms = last_ms + (empty_from_ms - last_ms) / 2;
		int64_t found_ms = nominal_from(schedule, middle_ms);

		if (is_before(found_ms, limit_ms))
			last_ms = found_ms;
		else
			empty_from_ms = middle_ms;
	}
	return last_ms;
}

/* When a nominal time is due. */
static int64_t jittered(const struct schedule *schedule, int64_t nominal_ms)
{
	int64_t next_ms = nominal_from(schedule, nominal_ms + 1);
	int64_t room_ms = schedule->jitter_ms;

	if (next_ms != NO_TIME)
		room_ms = min_i64(room_ms, next_ms - nominal_ms);
	return nominal_ms + spread_pick(schedule->name_hash, (uint64_t)nominal_ms, room_ms);
}

/* The nominal time before at_ms that is due at or after it; NO_TIME when there is none. */
static int64_t straddling(const struct schedule *schedule, int64_t at_ms)
{
	int64_t last_ms = schedule->jitter_ms ? last_nominal(schedule, at_ms) : NO_TIME;

	return last_ms != NO_TIME && jittered(schedule, last_ms) >= at_ms ? last_ms : NO_TIME;
}

/* The first due time at or after from_ms, which is not negative. */
static bool find_due(const struct schedule *schedule, int64_t from_ms, struct due *due)
{
	int64_t early_ms = straddling(schedule, from_ms);

	if (!find_nominal(schedule, early_ms != NO_TIME ? early_ms : from_ms, due))
		return false;
	due->nominal_ms = due->at_ms;
	if (schedule->jitter_ms)
		due->at_ms = jittered(schedule, due->nominal_ms);
	return true;
}

/* --- bounds, and what is asked --- */

static bool next_due(const struct schedule *schedule, int64_t after_ms, struct due *due)
{
	if (after_ms >= schedule->end_at_ms)
		return false;
	return find_due(schedule, max_i64(after_ms + 1, schedule->start_at_ms), due) &&
	       due->at_ms <= schedule->end_at_ms;
}

int64_t schedule_next(const struct schedule *schedule, int64_t after_at_ms)
{
	struct due due = {0};

	return next_due(schedule, after_at_ms, &due) ? due.at_ms : NO_TIME;
}

int32_t schedule_utc_offset_s(const struct schedule *schedule, int64_t at_ms)
{
	return zone_find(schedule->zone, floor_seconds(at_ms)).offset_s;
}

bool schedule_next_due(const struct schedule *schedule, int64_t after_at_ms, struct due *ret_due)
{
	struct due due = {0};

	if (!next_due(schedule, after_at_ms, &due))
		return false;
	due.utc_offset_s = schedule_utc_offset_s(schedule, due.at_ms);
	if (schedule_is_blacked_out(schedule, due.at_ms))
		due.note = "skipped: blackout";
	due.nominal_utc_offset_s = schedule_utc_offset_s(schedule, due.nominal_ms);
	*ret_due = due;
	return true;
}

int64_t schedule_count(const struct schedule *schedule, int64_t from_at_ms, int64_t to_at_ms)
{
	int64_t from_ms = max_i64(from_at_ms, schedule->start_at_ms);
	int64_t to_ms = min_i64(to_at_ms, schedule->end_at_ms);

	if (from_ms > to_ms)
		return 0;
	return count_nominal(schedule, from_ms, to_ms) +
	       (straddling(schedule, from_ms) != NO_TIME) -
	       (straddling(schedule, to_ms + 1) != NO_TIME);
}
