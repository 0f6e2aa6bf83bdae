/* SPDX-License-Identifier: Apache-2.0
 *
 * A schedule as an object: one of three kinds, parsed once, asked often. Immutable after
 * schedule_parse but for its reference count, which belongs to the loop thread. */
#include "plan/plan_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

/* 2026-01-01, before which this program did not exist: a time that only the past had is no due time
 * of anybody's, whatever `now` is. */
#define BORN_AT_S INT64_C(1767225600)

const char *const dst_gap_names[] = {"run_after", "skip", NULL};
const char *const dst_overlap_names[] = {"first", "last", "both", NULL};
const char *const day_match_names[] = {"either", "both", NULL};

struct schedule {
	int refs;
	enum schedule_kind kind;
	const struct zone *zone; /* the cache's */
	union {
		struct local_cron local;
		struct every every;
		int64_t once_at_ms;
	};
	char warning[CRON_WARNING_SIZE];
};

const char *excerpt(const char *text, size_t len, char ret_text[static EXCERPT_SIZE])
{
	size_t shown = len < EXCERPT_SIZE ? len : EXCERPT_SIZE - 4;

	for (size_t i = 0; i < shown; i++)
		ret_text[i] = text[i] < ' ' || text[i] > '~' ? '?' : text[i];
	(void)snprintf(ret_text + shown, EXCERPT_SIZE - shown, "%s", shown < len ? "..." : "");
	return ret_text;
}

/* --- parsing --- */

static int parse_cron(const struct schedule_spec *spec, struct schedule *schedule, struct err *err)
{
	struct local_cron *local = &schedule->local;
	struct due due;
	int code = cron_parse(spec->cron, spec->day_match, &local->cron, schedule->warning, err);

	if (code != ERR_NONE)
		return code;
	local->zone = schedule->zone;
	local->dst_gap = spec->dst_gap;
	local->dst_overlap = spec->dst_overlap;
	/* The date exists; the time of day may still lie in each year's gap. */
	if (!local_next(local, BORN_AT_S, &due))
		return err_field(err, ERR_INVALID, "/cron",
			"cron expression can never be due in zone '%s': each of its times falls "
			"into a "
			"DST gap and is left out",
			spec->timezone ? spec->timezone : "UTC");
	return ERR_NONE;
}

static int parse_once(const struct schedule_spec *spec, struct schedule *schedule, struct err *err)
{
	char shown[EXCERPT_SIZE];

	if (parse_rfc3339(spec->at, &schedule->once_at_ms))
		return ERR_NONE;
	return err_field(err, ERR_INVALID, "/at",
		"at '%s' is not a time with an offset such as 2026-11-22T01:30:00Z",
		excerpt(spec->at, strlen(spec->at), shown));
}

static int parse_kind(const struct schedule_spec *spec, struct schedule *schedule, struct err *err)
{
	switch (schedule->kind) {
	case SCHEDULE_CRON:
		return parse_cron(spec, schedule, err);
	case SCHEDULE_EVERY:
		return every_parse(spec->every, spec->anchor, &schedule->every, err);
	case SCHEDULE_ONCE:
		return parse_once(spec, schedule, err);
	}
	must(!"a kind of schedule");
	return ERR_INTERNAL;
}

static int find_kind(
	const struct schedule_spec *spec, enum schedule_kind *ret_kind, struct err *err)
{
	int written = !!spec->cron + !!spec->every + !!spec->at;

	if (written == 0)
		return err_field(err, ERR_INVALID, "",
			"a schedule needs one of 'cron', 'every' or 'at'; it has none");
	if (written > 1)
		return err_field(err, ERR_INVALID, "",
			"a schedule takes only one of 'cron', 'every' and 'at'; it has %d",
			written);
	if (spec->anchor && !spec->every)
		return err_field(err, ERR_INVALID, "/anchor",
			"'anchor' goes with 'every', which is not there");
	*ret_kind = spec->cron ? SCHEDULE_CRON : spec->every ? SCHEDULE_EVERY : SCHEDULE_ONCE;
	return ERR_NONE;
}

int schedule_parse(
	const struct schedule_spec *spec, struct schedule **ret_schedule, struct err *err)
{
	auto_free struct schedule *schedule = xcalloc(1, sizeof(*schedule));
	int code = find_kind(spec, &schedule->kind, err);

	schedule->refs = 1;
	if (code == ERR_NONE)
		code = zone_get(spec->timezone ? spec->timezone : "UTC", &schedule->zone, err);
	if (code == ERR_NONE)
		code = parse_kind(spec, schedule, err);
	if (code == ERR_NONE)
		*ret_schedule = take_ptr(schedule);
	return code;
}

struct schedule *schedule_ref(struct schedule *schedule)
{
	schedule->refs++;
	return schedule;
}

void schedule_unref(struct schedule *schedule)
{
	if (schedule && --schedule->refs == 0)
		free(schedule);
}

/* --- asking --- */

enum schedule_kind schedule_kind(const struct schedule *schedule)
{
	return schedule->kind;
}

const char *schedule_warning(const struct schedule *schedule)
{
	return schedule->warning[0] ? schedule->warning : NULL;
}

static int64_t floor_seconds(int64_t at_ms)
{
	return at_ms / 1000 - (at_ms % 1000 < 0);
}

/* The first due time at or after from_at_ms, which lies within 0 to DUE_MAX_MS. */
static bool find_due(const struct schedule *schedule, int64_t from_at_ms, struct due *due)
{
	switch (schedule->kind) {
	case SCHEDULE_CRON:
		return local_next(&schedule->local, floor_seconds(from_at_ms + 999), due);
	case SCHEDULE_EVERY:
		return every_next(&schedule->every, from_at_ms, &due->at_ms);
	case SCHEDULE_ONCE:
		due->at_ms = schedule->once_at_ms;
		return schedule->once_at_ms >= from_at_ms;
	}
	return false;
}

static bool next_due(const struct schedule *schedule, int64_t after_at_ms, struct due *due)
{
	if (after_at_ms >= DUE_MAX_MS)
		return false;
	return find_due(schedule, after_at_ms < 0 ? 0 : after_at_ms + 1, due);
}

int64_t schedule_next(const struct schedule *schedule, int64_t after_at_ms)
{
	struct due due = {0};

	return next_due(schedule, after_at_ms, &due) ? due.at_ms : NO_TIME;
}

bool schedule_next_due(const struct schedule *schedule, int64_t after_at_ms, struct due *ret_due)
{
	struct due due = {0};

	if (!next_due(schedule, after_at_ms, &due))
		return false;
	due.utc_offset_s = zone_find(schedule->zone, floor_seconds(due.at_ms)).offset_s;
	*ret_due = due;
	return true;
}

int64_t schedule_count(const struct schedule *schedule, int64_t from_at_ms, int64_t to_at_ms)
{
	int64_t from_ms = from_at_ms < 0 ? 0 : from_at_ms;
	int64_t to_ms = to_at_ms > DUE_MAX_MS ? DUE_MAX_MS : to_at_ms;

	if (from_ms > to_ms)
		return 0;
	switch (schedule->kind) {
	case SCHEDULE_CRON:
		return local_count(
			&schedule->local, floor_seconds(from_ms + 999), floor_seconds(to_ms));
	case SCHEDULE_EVERY:
		return every_count(&schedule->every, from_ms, to_ms);
	case SCHEDULE_ONCE:
		return schedule->once_at_ms >= from_ms && schedule->once_at_ms <= to_ms;
	}
	return 0;
}
