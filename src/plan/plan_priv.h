/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of plan/ share. Inside, time is in seconds: `_at_s` is UTC since 1970, `_local_s`
 * is the same count of a wall clock's reading, as if that were UTC. Milliseconds begin at plan.h.
 *
 *     schedule.c   parse, keep                      due.c       ask: nominal, jitter, bounds
 *     spread.c     what a name picks                misfire.c   what to do after an outage
 *     piece.c      what the parsers share           event.c     names of events
 *     cron_parse.c, cron_field.c  text -> struct cron          cron.c  its matches, without a zone
 *     rrule_parse.c, rrule_until.c  text -> struct rrule       rrule.c, rrule_pick.c  the same
 *     calendar.c   the walk from month to month, for both
 *     local.c      fields on a zone's clock: gaps, overlaps     every.c  intervals
 *     zone.c       names, cache, look-up            zone_file.c, zone_rule.c, zone_names.c */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "plan/plan.h"

/* No due time is later than 9999-12-31T23:59:59, the last one RFC 3339 can write. */
#define DUE_MAX_S  INT64_C(253402300799)
#define DUE_MAX_MS (DUE_MAX_S * 1000 + 999)

#define SECONDS_PER_DAY 86400

/* The Gregorian calendar repeats after 400 years, days of the week included, and so do the rules of
 * a zone: what is not due within that time never is. */
#define HORIZON_YEARS 400
#define HORIZON_S     (INT64_C(146097) * SECONDS_PER_DAY)

/* --- shared by the parsers (piece.c) --- */

/* A part of somebody's text, not terminated; at == NULL: it is not there. */
struct piece {
	const char *at;
	size_t len;
};

/* Is it this word, in letters of either case? */
bool piece_is(const struct piece *piece, const char *word);

/* Somebody's text made fit for a message: cut, and without control characters. */
#define EXCERPT_SIZE 64
const char *excerpt(const char *text, size_t len, char ret_text[static EXCERPT_SIZE]);

/* What an error is about: "cron field 'hour'". */
struct subject {
	struct err *err;
	const char *member; /* of the schedule: "/cron" */
	const char *kind, *name;
};

/* ERR_INVALID, "cron field 'hour': " and the reason. */
int subject_fail(struct subject subject, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* What a schedule is worth remarking on; "" when nothing is. */
#define WARNING_SIZE 240

/* Adds a remark to a warning; one that does not fit is left out whole. */
void warning_add(char warning[static WARNING_SIZE], const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* --- cron expressions (cron_parse.c, cron.c) --- */

#define CRON_TEXT_MAX 1024

/* Sets of numbers as bits: bit n stands for n. */
struct times {
	uint64_t seconds;
	uint64_t minutes;
	uint32_t hours;
};

struct cron {
	struct times times;
	uint16_t months;         /* 1 .. 12 */
	uint32_t days;           /* 1 .. 31 */
	uint32_t days_from_last; /* L-n; bit 0 is L */
	uint32_t days_nearest;   /* nW */
	bool has_last_workday;   /* LW */
	uint8_t weekdays;        /* 0 is Sunday */
	uint8_t weekdays_last;   /* nL */
	uint8_t weekdays_nth[5]; /* w#n in [n - 1] */

	bool needs_both_days;  /* day of month and day of week must match; else one is enough */
	bool has_special_days; /* any of L, W, #: the month's days take longer to tell */
	bool is_interval_like; /* minute or hour begins with '*': keeps its rhythm through DST */
	bool is_hashed;        /* H: another name, other due times */
};

/* Reads 5 or 6 fields or a macro: `cron`, `day_match` and `name` of the spec. `warning` gets
 * remarks, "" when there are none. ERR_INVALID on
 * "/cron", also for an expression whose date does not exist in any year. */
int cron_parse(const struct schedule_spec *spec, struct cron *ret_cron,
	char warning[static WARNING_SIZE], struct err *err);

/* The first match in [from_local_s, limit_local_s). Looks HORIZON_YEARS ahead at most. */
bool cron_next(
	const struct cron *cron, int64_t from_local_s, int64_t limit_local_s, int64_t *ret_local_s);

/* How many matches [from_local_s, limit_local_s) holds. Work: a few ns a month. */
int64_t cron_count(const struct cron *cron, int64_t from_local_s, int64_t limit_local_s);

/* --- recurrence rules (rrule_parse.c, rrule.c, rrule_pick.c) --- */

#define RRULE_TEXT_MAX 1024

struct rrule;
struct zone;

/* Reads `rrule` of the spec, which counts from start_at_ms (0: start_at is not given) on the zone's
 * clock. `warning` gets remarks. ERR_INVALID on "/rrule". *ret_rule is the caller's (free). */
int rrule_parse(const struct schedule_spec *spec, const struct zone *zone, int64_t start_at_ms,
	struct rrule **ret_rule, char warning[static WARNING_SIZE], struct err *err);

/* The end that UNTIL names; DUE_MAX_MS when there is none. */
int64_t rrule_until_ms(const struct rrule *rule);

/* Every minute, hour or second, or some of them: keeps its rhythm through changes of the clock. */
bool rrule_is_interval_like(const struct rrule *rule);

/* As cron_next and cron_count. */
bool rrule_next(const struct rrule *rule, int64_t from_local_s, int64_t limit_local_s,
	int64_t *ret_local_s);
int64_t rrule_count(const struct rrule *rule, int64_t from_local_s, int64_t limit_local_s);

/* --- zones (zone.c) --- */

struct zone;

/* A stretch of time with one offset from UTC: [start_at_s, end_at_s), with the offsets on both
 * sides; INT64_MIN and INT64_MAX when nothing lies beyond, the offset there is then this one. */
struct zone_span {
	int64_t start_at_s;
	int64_t end_at_s;
	int32_t offset_s;
	int32_t before_s;
	int32_t after_s;
};

/* The zone of an IANA name, read once from ZONE_DIR and kept for the life of the process (so that a
 * change of tzdata needs a restart, and no schedule changes its mind while running). The first use
 * of a name reads one small local file. Loop thread only. ERR_INVALID on "/timezone" for an unknown
 * name, with the nearest one; ERR_CORRUPT for a damaged file. */
int zone_get(const char *name, const struct zone **ret_zone, struct err *err);

struct zone_span zone_find(const struct zone *zone, int64_t at_s);

#define ZONE_DIR "/usr/share/zoneinfo"

/* --- cron expressions and recurrence rules on a zone's clock (local.c) --- */

struct local_times {
	struct cron cron;    /* unless rrule */
	struct rrule *rrule; /* owned by the schedule */
	bool is_interval_like;
	const struct zone *zone;
	enum dst_gap dst_gap;
	enum dst_overlap dst_overlap;
};

/* The first due time at or after from_at_s; false when there is none. */
bool local_next(const struct local_times *local, int64_t from_at_s, struct due *ret_due);

/* How many due times [from_at_s, to_at_s] holds, exactly. Work: a few ns a month and a hundred a
 * change of offset. */
int64_t local_count(const struct local_times *local, int64_t from_at_s, int64_t to_at_s);

/* --- intervals (every.c) --- */

#define EVERY_MAX_MS (INT64_C(36525) * SECONDS_PER_DAY * 1000)

struct every {
	int64_t every_ms;
	int64_t anchor_at_ms;
};

/* A duration that may stand between due times; `member` is its name. */
int interval_parse(const char *member, const char *text, int64_t *ret_every_ms, struct err *err);
int every_parse(const char *every, const char *anchor, struct every *ret_every, struct err *err);

/* As local_next and local_count, but in milliseconds. Due before the anchor as well: it sets the
 * phase, not the start. */
bool every_next(const struct every *every, int64_t from_at_ms, int64_t *ret_at_ms);
int64_t every_count(const struct every *every, int64_t from_at_ms, int64_t to_at_ms);

/* --- events (event.c) --- */

int event_parse(const char *on, char ret_event[static EVENT_NAME_MAX + 1], struct err *err);

/* --- what a name picks (spread.c) --- */

uint64_t spread_hash(const char *name);

/* A number from 0 to count - 1; `salt` tells apart what one name picks for: 1 to 6 for the fields
 * of a cron expression (the second is 1), the nominal time in milliseconds for jitter. */
int64_t spread_pick(uint64_t hash, uint64_t salt, int64_t count);

/* --- blackouts (blackout.c) --- */

#define BLACKOUT_MAX_MS (INT64_C(366) * SECONDS_PER_DAY * 1000)

struct blackout {
	int64_t duration_ms; /* 0: one window, from..to */
	struct local_times local;
	int64_t from_ms, to_ms;
};
/* Window `index` of the spec. ERR_INVALID on "/blackout". */
int blackout_parse(const struct schedule_spec *schedule, size_t index, const struct zone *zone,
	struct blackout *ret_window, struct err *err);

/* --- schedules (schedule.c, due.c) --- */

#define JITTER_MAX_MS (INT64_C(7) * SECONDS_PER_DAY * 1000)

struct schedule {
	int refs;
	enum schedule_kind kind;
	const struct zone *zone; /* the cache's */
	union {
		struct local_times local;
		struct every every;
		int64_t once_at_ms;
		char event[EVENT_NAME_MAX + 1];
	};
	int64_t start_at_ms, end_at_ms; /* 0 and DUE_MAX_MS when not given */
	int64_t max_runs;               /* 0: no limit */
	bool run_on_start;
	int64_t jitter_ms; /* 0: none */
	uint64_t name_hash;
	struct blackout *blackouts; /* owned */
	size_t blackout_count;
	char warning[WARNING_SIZE];
};

/* Does it follow a zone's clock, by whole seconds? */
bool schedule_is_local(const struct schedule *schedule);
