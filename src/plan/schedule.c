/* SPDX-License-Identifier: Apache-2.0
 *
 * A schedule as an object: one kind with bounds and jitter, parsed once, asked often
 * (due.c). Immutable after schedule_parse but for its reference count, which belongs to the loop
 * thread. */
#include "plan/plan_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

/* 2026-01-01, before which this program did not exist: a time that only the past had is no due time
 * of anybody's, whatever `now` is. */
#define BORN_AT_S INT64_C(1767225600)

#define SCHEDULE_KINDS "'cron', 'every', 'every_after', 'at', 'rrule' and 'on'"

const char *const dst_gap_names[] = {"run_after", "skip", NULL};
const char *const dst_overlap_names[] = {"first", "last", "both", NULL};
const char *const day_match_names[] = {"either", "both", NULL};

/* --- parsing --- */

/* The date exists; the time of day may still lie in each year's gap. */
static int check_gaps(const struct schedule_spec *spec, const struct schedule *schedule,
	int64_t from_s, struct err *err)
{
	bool is_cron = schedule->kind == SCHEDULE_CRON;
	struct due due;

	if (local_next(&schedule->local, from_s, &due))
		return ERR_NONE;
	return err_field(err, ERR_INVALID, is_cron ? "/cron" : "/rrule",
		"%s can never be due in zone '%s': each of its times falls into a DST gap and is "
		"left out",
		is_cron ? "cron expression" : "rrule", spec->timezone ? spec->timezone : "UTC");
}

static int parse_cron(const struct schedule_spec *spec, struct schedule *schedule, struct err *err)
{
	struct local_times *local = &schedule->local;
	int code = cron_parse(spec, &local->cron, schedule->warning, err);

	if (code != ERR_NONE)
		return code;
	local->is_interval_like = local->cron.is_interval_like;
	return check_gaps(spec, schedule, BORN_AT_S, err);
}

/* UNTIL is another end_at: what comes first holds. */
static int parse_rrule(const struct schedule_spec *spec, struct schedule *schedule, struct err *err)
{
	struct local_times *local = &schedule->local;
	int64_t until_ms, start_ms = schedule->start_at_ms;
	int code =
		rrule_parse(spec, schedule->zone, start_ms, &local->rrule, schedule->warning, err);

	if (code != ERR_NONE)
		return code;
	until_ms = rrule_until_ms(local->rrule);
	local->is_interval_like = rrule_is_interval_like(local->rrule);
	code = check_gaps(
		spec, schedule, spec->start_at ? (start_ms + 999) / 1000 : BORN_AT_S, err);
	if (code == ERR_NONE && schedule_next(schedule, start_ms - 1) > until_ms)
		return err_field(err, ERR_INVALID, "/rrule",
			"rrule part 'UNTIL': there is no due time up to that moment");
	if (until_ms < schedule->end_at_ms)
		schedule->end_at_ms = until_ms;
	return code;
}

/* Cron expressions and rules: whole seconds of a zone's clock. */
static int parse_local(const struct schedule_spec *spec, struct schedule *schedule, struct err *err)
{
	schedule->local.zone = schedule->zone;
	schedule->local.dst_gap = spec->dst_gap;
	schedule->local.dst_overlap = spec->dst_overlap;
	return schedule->kind == SCHEDULE_CRON ? parse_cron(spec, schedule, err)
					       : parse_rrule(spec, schedule, err);
}

/* An optional moment: `member` is its name, *ret_at_ms stays when it is not given. */
static int parse_moment(const char *member, const char *text, int64_t *ret_at_ms, struct err *err)
{
	char shown[EXCERPT_SIZE], field[16];

	if (!text || parse_rfc3339(text, ret_at_ms))
		return ERR_NONE;
	(void)snprintf(field, sizeof(field), "/%s", member);
	return err_field(err, ERR_INVALID, field,
		"%s '%s' is not a time with an offset such as 2026-11-22T01:30:00Z", member,
		excerpt(text, strlen(text), shown));
}
static int parse_kind(const struct schedule_spec *spec, struct schedule *schedule, struct err *err)
{
	switch (schedule->kind) {
	case SCHEDULE_CRON:
	case SCHEDULE_RRULE:
		return parse_local(spec, schedule, err);
	case SCHEDULE_EVERY:
		return every_parse(spec->every, spec->anchor, &schedule->every, err);
	case SCHEDULE_ONCE:
		return parse_moment("at", spec->at, &schedule->once_at_ms, err);
	case SCHEDULE_AFTER:
		return interval_parse(
			"every_after", spec->every_after, &schedule->every.every_ms, err);
	case SCHEDULE_EVENT:
		return event_parse(spec->on, schedule->event, err);
	case SCHEDULE_START:
		return ERR_NONE;
	}
	must(!"a kind of schedule");
	return ERR_INTERNAL;
}

/* The members of which exactly one says what kind a schedule is, in the order of the kinds. */
static void kinds_written(
	const struct schedule_spec *spec, const char *ret_texts[static SCHEDULE_KIND_COUNT])
{
	ret_texts[SCHEDULE_CRON] = spec->cron;
	ret_texts[SCHEDULE_EVERY] = spec->every;
	ret_texts[SCHEDULE_ONCE] = spec->at;
	ret_texts[SCHEDULE_AFTER] = spec->every_after;
	ret_texts[SCHEDULE_RRULE] = spec->rrule;
	ret_texts[SCHEDULE_EVENT] = spec->on;
	ret_texts[SCHEDULE_START] = NULL; /* a flag, that goes with the others, too */
}

static bool kind_has_due_times(enum schedule_kind kind)
{
	return kind != SCHEDULE_EVENT && kind != SCHEDULE_START;
}

/* What goes with some kinds only. */
static int check_companions(
	const struct schedule_spec *spec, enum schedule_kind kind, struct err *err)
{
	const struct {
		const char *member, *text;
	} bounds[] = {{"/start_at", spec->start_at}, {"/end_at", spec->end_at},
		{"/jitter", spec->jitter}};

	if (spec->anchor && !spec->every)
		return err_field(err, ERR_INVALID, "/anchor",
			"'anchor' goes with 'every', which is not there");
	if (spec->max_runs && kind == SCHEDULE_EVENT)
		return err_field(err, ERR_INVALID, "/max_runs",
			"'max_runs' goes with due times, and 'on' has none");
	if (spec->jitter && kind == SCHEDULE_AFTER)
		return err_field(err, ERR_INVALID, "/jitter",
			"'jitter' does not go with 'every_after', whose due times follow the runs");
	for (size_t i = 0; !kind_has_due_times(kind) && i < COUNT_OF(bounds); i++)
		if (bounds[i].text)
			return err_field(err, ERR_INVALID, bounds[i].member,
				"'%s' goes with due times, and '%s' has none", bounds[i].member + 1,
				kind == SCHEDULE_EVENT ? "on" : "run_on_start");
	return ERR_NONE;
}

static int find_kind(
	const struct schedule_spec *spec, enum schedule_kind *ret_kind, struct err *err)
{
	const char *texts[SCHEDULE_KIND_COUNT];
	int written = 0;

	kinds_written(spec, texts);
	for (int kind = 0; kind < SCHEDULE_KIND_COUNT; kind++)
		if (texts[kind]) {
			*ret_kind = (enum schedule_kind)kind;
			written++;
		}
	if (written == 0 && !spec->run_on_start)
		return err_field(err, ERR_INVALID, "",
			"a schedule needs one of " SCHEDULE_KINDS
			", or 'run_on_start'; it has none");
	if (written == 0)
		*ret_kind = SCHEDULE_START;
	if (written > 1)
		return err_field(err, ERR_INVALID, "",
			"a schedule takes only one of " SCHEDULE_KINDS "; it has %d", written);
	return check_companions(spec, *ret_kind, err);
}

/* --- bounds and jitter --- */

static int parse_bounds(
	const struct schedule_spec *spec, struct schedule *schedule, struct err *err)
{
	char start[RFC3339_TEXT_SIZE], end[RFC3339_TEXT_SIZE];
	int code = ERR_NONE;

	schedule->end_at_ms = DUE_MAX_MS;
	code = parse_moment("start_at", spec->start_at, &schedule->start_at_ms, err);
	if (code == ERR_NONE)
		code = parse_moment("end_at", spec->end_at, &schedule->end_at_ms, err);
	if (code == ERR_NONE && schedule->end_at_ms < schedule->start_at_ms)
		return err_field(err, ERR_INVALID, "/end_at", "end_at %s is before start_at %s",
			format_rfc3339(schedule->end_at_ms, end),
			format_rfc3339(schedule->start_at_ms, start));
	return code;
}

static int parse_jitter(
	const struct schedule_spec *spec, struct schedule *schedule, struct err *err)
{
	char shown[EXCERPT_SIZE];

	if (!spec->jitter)
		return ERR_NONE;
	(void)excerpt(spec->jitter, strlen(spec->jitter), shown);
	if (!parse_duration(spec->jitter, &schedule->jitter_ms))
		return err_field(err, ERR_INVALID, "/jitter",
			"jitter '%s' is not a duration such as 30s or 5m", shown);
	if (schedule->jitter_ms > JITTER_MAX_MS)
		return err_field(err, ERR_INVALID, "/jitter", "jitter '%s' is above 7d", shown);
	if (schedule->kind == SCHEDULE_EVERY && schedule->jitter_ms > schedule->every.every_ms)
		return err_field(err, ERR_INVALID, "/jitter",
			"jitter '%s' is longer than the interval", shown);
	if (schedule->jitter_ms > 0 && !spec->name)
		return err_field(err, ERR_INVALID, "/jitter",
			"jitter is picked by the action's name, which is not given");
	return ERR_NONE;
}

/* Only the first two due times are looked at: most expressions have one distance. */
static void warn_of_short_distance(const struct schedule_spec *spec, struct schedule *schedule)
{
	struct due first = {0}, second = {0};

	if (schedule_is_local(schedule) && schedule->jitter_ms > 0 &&
		local_next(&schedule->local, BORN_AT_S, &first) &&
		local_next(&schedule->local, first.at_ms / 1000 + 1, &second) &&
		second.at_ms - first.at_ms < schedule->jitter_ms)
		warning_add(schedule->warning,
			"due times nearer to each other than the jitter, %s, move by less than "
			"their distance",
			spec->jitter);
}

static int check_bounds(
	const struct schedule_spec *spec, const struct schedule *schedule, struct err *err)
{
	char start[RFC3339_TEXT_SIZE], end[RFC3339_TEXT_SIZE];

	if ((!spec->start_at && !spec->end_at) ||
		schedule_next(schedule, schedule->start_at_ms - 1) != NO_TIME)
		return ERR_NONE;
	(void)format_rfc3339(schedule->start_at_ms, start);
	(void)format_rfc3339(schedule->end_at_ms, end);
	if (!spec->end_at)
		return err_field(err, ERR_INVALID, "/start_at",
			"there is no due time from start_at %s on", start);
	if (!spec->start_at)
		return err_field(
			err, ERR_INVALID, "/end_at", "there is no due time up to end_at %s", end);
	return err_field(err, ERR_INVALID, "/end_at",
		"there is no due time from start_at %s to end_at %s", start, end);
}

static int parse_blackouts(
	const struct schedule_spec *spec, struct schedule *schedule, struct err *err)
{
	if (spec->blackout_count == 0)
		return ERR_NONE;
	if (schedule->kind == SCHEDULE_EVENT)
		return err_field(err, ERR_INVALID, "/blackout",
			"'blackout' goes with due times, and 'on' has none");
	schedule->blackouts = xcalloc(spec->blackout_count, sizeof(*schedule->blackouts));
	schedule->blackout_count = spec->blackout_count;
	for (size_t i = 0; i < spec->blackout_count; i++)
		if (blackout_parse(spec, i, schedule->zone, &schedule->blackouts[i], err) < 0)
			return err->code;
	return ERR_NONE;
}

int schedule_parse(
	const struct schedule_spec *spec, struct schedule **ret_schedule, struct err *err)
{
	struct schedule *schedule = xcalloc(1, sizeof(*schedule));
	int code = find_kind(spec, &schedule->kind, err);

	schedule->refs = 1;
	if (code == ERR_NONE)
		code = zone_get(spec->timezone ? spec->timezone : "UTC", &schedule->zone, err);
	if (code == ERR_NONE)
		code = parse_bounds(spec, schedule, err);
	if (code == ERR_NONE)
		code = parse_kind(spec, schedule, err);
	if (code == ERR_NONE)
		code = parse_jitter(spec, schedule, err);
	schedule->max_runs = spec->max_runs;
	schedule->run_on_start = spec->run_on_start;
	schedule->name_hash = spread_hash(spec->name ? spec->name : "");
	if (code == ERR_NONE)
		code = check_bounds(spec, schedule, err);
	if (code == ERR_NONE)
		code = parse_blackouts(spec, schedule, err);
	if (code != ERR_NONE) {
		schedule_unref(schedule);
		return code;
	}
	warn_of_short_distance(spec, schedule);
	*ret_schedule = schedule;
	return ERR_NONE;
}

struct schedule *schedule_ref(struct schedule *schedule)
{
	schedule->refs++;
	return schedule;
}

void schedule_unref(struct schedule *schedule)
{
	if (!schedule || --schedule->refs > 0)
		return;
	if (schedule->kind == SCHEDULE_RRULE)
		free(schedule->local.rrule);
	free(schedule->blackouts);
	free(schedule);
}

/* --- asking --- */

enum schedule_kind schedule_kind(const struct schedule *schedule)
{
	return schedule->kind;
}

const char *schedule_event(const struct schedule *schedule)
{
	return schedule->kind == SCHEDULE_EVENT ? schedule->event : NULL;
}

bool schedule_pace(const struct schedule *schedule, struct schedule_pace *ret_pace)
{
	*ret_pace = (struct schedule_pace){.end_at_ms = NO_TIME, .max_runs = schedule->max_runs};
	if (schedule->kind == SCHEDULE_AFTER)
		ret_pace->every_after_ms = schedule->every.every_ms;
	if (schedule->end_at_ms != DUE_MAX_MS)
		ret_pace->end_at_ms = schedule->end_at_ms;
	return ret_pace->every_after_ms > 0 || ret_pace->max_runs > 0;
}

int64_t pace_next(const struct schedule_pace *pace, int64_t now_ms)
{
	int64_t end_ms = pace->end_at_ms == NO_TIME ? DUE_AT_RUN_END - 1 : pace->end_at_ms;

	return pace->every_after_ms > end_ms - now_ms ? NO_TIME : now_ms + pace->every_after_ms;
}

bool schedule_is_local(const struct schedule *schedule)
{
	return schedule->kind == SCHEDULE_CRON || schedule->kind == SCHEDULE_RRULE;
}

bool schedule_has_due_times(const struct schedule *schedule)
{
	return kind_has_due_times(schedule->kind);
}

bool schedule_runs_on_start(const struct schedule *schedule)
{
	return schedule->run_on_start;
}

bool schedule_starts_at(const struct schedule *schedule, int64_t now_ms)
{
	return schedule->run_on_start && now_ms >= schedule->start_at_ms &&
	       now_ms <= schedule->end_at_ms;
}

bool schedule_uses_name(const struct schedule *schedule)
{
	return schedule->jitter_ms > 0 ||
	       (schedule->kind == SCHEDULE_CRON && schedule->local.cron.is_hashed);
}

const char *schedule_warning(const struct schedule *schedule)
{
	return schedule->warning[0] ? schedule->warning : NULL;
}
