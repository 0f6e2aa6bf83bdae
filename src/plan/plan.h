/* SPDX-License-Identifier: Apache-2.0
 *
 * When things are due. Pure: `now` is a parameter, there is no clock, no I/O and no lock, and the
 * same input gives the same answer on every instance. Time zone data is read once per zone and
 * kept. SCHEDULES.md is the specification; doc/schedules.md tells users. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"

enum schedule_kind {
	SCHEDULE_CRON,
	SCHEDULE_EVERY,
	SCHEDULE_ONCE,
	SCHEDULE_AFTER, /* an interval from the end of the last run */
	SCHEDULE_RRULE, /* RFC 5545 */
	SCHEDULE_EVENT, /* has no due times: events start it */
	SCHEDULE_START  /* nor has this: run_on_start and nothing else */
};
#define SCHEDULE_KIND_COUNT (SCHEDULE_START + 1)

enum dst_gap {
	DST_GAP_RUN_AFTER,
	DST_GAP_SKIP
};
enum dst_overlap {
	DST_OVERLAP_FIRST,
	DST_OVERLAP_LAST,
	DST_OVERLAP_BOTH
};
enum day_match {
	DAY_MATCH_EITHER,
	DAY_MATCH_BOTH
};

/* Names as written in JSON and on the command line ("run_after", "first", "either", ...), in enum
 * order, NULL at the end. */
extern const char *const dst_gap_names[];
extern const char *const dst_overlap_names[];
extern const char *const day_match_names[];

/* A window in which nothing runs: from..to (RFC 3339), or each time of a cron expression, for a
 * duration. */
struct blackout_spec {
	const char *from, *to;
	const char *cron, *duration;
};
#define BLACKOUTS_MAX 16 /* windows of a schedule */

/* A schedule as written. Exactly one of cron, every, every_after, at, rrule, on is set, or
 * run_on_start; the rest may be NULL or 0 (defaults: UTC, anchor at the epoch, no bounds, no
 * jitter). All strings borrowed for the call. */
struct schedule_spec {
	const char *cron;
	const char *every;       /* duration, at least EVERY_MIN_MS */
	const char *every_after; /* the same, from the end of a run */
	const char *anchor;      /* RFC 3339 */
	const char *at;          /* RFC 3339 */
	const char *rrule;       /* RFC 5545, without "RRULE:"; start_at is its DTSTART */
	const char *on;          /* name of an event */
	const char *timezone;    /* IANA name */
	const char *start_at;    /* RFC 3339; nothing is due before this */
	const char *end_at;      /* RFC 3339; nothing is due after this */
	const char *jitter;      /* duration, at most 7d, of an interval at most the interval */
	const char *name;  /* the action's: H and jitter are picked by it. NULL: refuse them */
	int64_t max_runs;  /* completed after so many runs; 0: no limit */
	bool run_on_start; /* also when the service starts; alone it is a schedule, too */
	const struct blackout_spec *blackouts;
	size_t blackout_count;
	enum dst_gap dst_gap;
	enum dst_overlap dst_overlap;
	enum day_match day_match;
};

#define EVERY_MIN_MS   100
#define EVENT_NAME_MAX 200 /* bytes */

/* Whether `name` can name an event. */
bool event_name_is_valid(const char *name);

struct schedule; /* immutable, counted references */

/* Parses and checks. ERR_INVALID with err->field one of "/cron", "/every", "/every_after",
 * "/anchor", "/at", "/rrule", "/on", "/max_runs", "/blackout", "/timezone",
 * "/start_at", "/end_at", "/jitter" or "" and a text such as "cron field 'hour': 25 is
 * above 23". What can never be due (30 February, bounds that hold no due time) is refused.
 * *ret_schedule is owned by the caller (schedule_unref). */
int schedule_parse(
	const struct schedule_spec *spec, struct schedule **ret_schedule, struct err *err);

struct schedule *schedule_ref(struct schedule *schedule);
void schedule_unref(struct schedule *schedule); /* NULL is fine */

enum schedule_kind schedule_kind(const struct schedule *schedule);

/* The event it waits for; NULL unless SCHEDULE_EVENT. Borrowed. */
const char *schedule_event(const struct schedule *schedule);

/* Has it run_on_start? And would the start of the service at now_ms be one for it: not before
 * start_at, nor after end_at. */
bool schedule_runs_on_start(const struct schedule *schedule);
bool schedule_starts_at(const struct schedule *schedule, int64_t now_ms);

/* Are its due times known beforehand? An event's are not: it has no cursor, and never ends. */
bool schedule_has_due_times(const struct schedule *schedule);

/* What the store has to keep of a schedule, because it is decided when runs begin and end. */
struct schedule_pace {
	int64_t every_after_ms; /* 0: not SCHEDULE_AFTER */
	int64_t end_at_ms;      /* NO_TIME: none */
	int64_t max_runs;       /* 0: no limit */
};
/* False: nothing (and *ret_pace is empty). */
bool schedule_pace(const struct schedule *schedule, struct schedule_pace *ret_pace);

/* The cursor of a SCHEDULE_AFTER whose run is not over: later than all that is ever due. */
#define DUE_AT_RUN_END INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */

/* When it is due next, `now_ms` being the end of a run (or the moment one was skipped); NO_TIME
 * when end_at has come. */
int64_t pace_next(const struct schedule_pace *pace, int64_t now_ms);

/* Does it depend on the action's name (H, jitter)? Then a new name means other due times. */
bool schedule_uses_name(const struct schedule *schedule);

/* A remark on something legal but surprising ("0/15 means from 0 to 59 every 15"), or NULL.
 * Borrowed from the schedule. */
const char *schedule_warning(const struct schedule *schedule);

/* The first due time strictly after `after_at_ms`; NO_TIME when there is none. Bounded work. */
int64_t schedule_next(const struct schedule *schedule, int64_t after_at_ms);

/* The same with what a preview shows. note is NULL, "moved out of DST gap", "second pass" or
 * "skipped: blackout".
 * nominal_ms is what the schedule says before jitter: at_ms when there is none. */
struct due {
	int64_t at_ms;
	int32_t utc_offset_s;
	const char *note;
	int64_t nominal_ms;
	int32_t nominal_utc_offset_s;
};
bool schedule_next_due(const struct schedule *schedule, int64_t after_at_ms, struct due *ret_due);

/* What its time zone's clocks are ahead of UTC at that moment (negative: behind). */
int32_t schedule_utc_offset_s(const struct schedule *schedule, int64_t at_ms);

/* How many due times [from_at_ms, to_at_ms] holds: exact, without walking through them. */
int64_t schedule_count(const struct schedule *schedule, int64_t from_at_ms, int64_t to_at_ms);

/* --- missed due times --- */

enum misfire {
	MISFIRE_LATEST,
	MISFIRE_SKIP,
	MISFIRE_EARLIEST,
	MISFIRE_ALL
};
extern const char *const misfire_names[];

struct misfire_rules {
	enum misfire policy;
	int64_t grace_ms;        /* later than this is "late" */
	int64_t max_lateness_ms; /* older than this never runs */
	int max_catchup;         /* at most so many late due times run (policy `all`: the newest) */
};

enum due_verdict {
	DUE_RUN,
	DUE_SKIP_LATE,  /* dropped by the policy or by max_lateness */
	DUE_SKIP_LIMIT, /* dropped by max_catchup */
	DUE_SKIP_BLACKOUT
};

/* One ledger row to write. `count` > 1 only on the last row of a stretch of skipped ones in a long
 * outage: it stands for that many due times, the first at due_at_ms and the last at until_ms.
 * Counts are exact for every kind of schedule. */
struct planned_due {
	int64_t due_at_ms;
	int64_t until_ms; /* due_at_ms unless count > 1 */
	int64_t count;
	enum due_verdict verdict;
};

#define MISFIRE_MAX_ROWS    1000
#define MISFIRE_MAX_CATCHUP 1000 /* a larger max_catchup counts as this */

/* Whether a window of its blackout covers that moment. */
bool schedule_is_blacked_out(const struct schedule *schedule, int64_t at_ms);

/* What to do about an action whose cursor stands at `expected_ms` when it is `now_ms`: every due
 * time in [expected_ms, *ret_next_ms) is in exactly one row, in due order; *ret_next_ms is the
 * first due time after now_ms (NO_TIME: none). expected_ms itself counts as due whatever the
 * schedule says, since it is the cursor.
 *
 * A due time not older than grace_ms is on time and always runs. Of the late ones, not older than
 * max_lateness_ms: `latest` runs the newest, but only when nothing is on time (else that one is the
 * latest); `skip` none; `earliest` the oldest; `all` the newest max_catchup of them.
 *
 * What would run, and is due in a blackout, is skipped for that; so is a late one when now_ms lies
 * in a blackout.
 *
 * At most MISFIRE_MAX_ROWS skipped rows with a count of 1, two with more, max_catchup late runs and
 * MISFIRE_MAX_ROWS on-time runs. Only when more than those are on time at once (a grace of hours
 * and a schedule of seconds) *ret_next_ms stays at or before now_ms: claim these, then plan again.
 * Work: the rows and about 50 counts, a fraction of a millisecond for a year of seconds.
 *
 * *ret_dues is malloc'ed, owned by the caller, NULL when there are none; returns their number (0
 * when expected_ms > now_ms, and then *ret_next_ms is expected_ms). */
size_t misfire_plan(const struct schedule *schedule, const struct misfire_rules *rules,
	int64_t expected_ms, int64_t now_ms, struct planned_due **ret_dues, int64_t *ret_next_ms);
