/* SPDX-License-Identifier: Apache-2.0
 *
 * Windows in which nothing is to run: from one moment to another, or each time a cron expression
 * matches, for a while. What is due in one is skipped, and the ledger says so. */
#include "plan/plan_priv.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* The same complaint, naming the window. */
static int in_window(struct err *err, size_t index, const struct err *cause)
{
	return err_field(err, ERR_INVALID, "/blackout", "window %zu: %s", index + 1, cause->text);
}

static int moment_parse(const char *member, const char *text, int64_t *ret_at_ms, struct err *err)
{
	char shown[EXCERPT_SIZE];

	if (text && parse_rfc3339(text, ret_at_ms))
		return ERR_NONE;
	return err_set(err, ERR_INVALID,
		"'%s' '%s' is not a time with an offset such as 2026-11-22T01:30:00Z", member,
		text ? excerpt(text, strlen(text), shown) : "");
}

static int range_parse(
	const struct blackout_spec *spec, struct blackout *ret_window, struct err *err)
{
	if (moment_parse("from", spec->from, &ret_window->from_ms, err) < 0 ||
		moment_parse("to", spec->to, &ret_window->to_ms, err) < 0)
		return err->code;
	if (ret_window->to_ms <= ret_window->from_ms)
		return err_set(err, ERR_INVALID, "'to' is not after 'from'");
	return ERR_NONE;
}

static int recurring_parse(const struct schedule_spec *schedule, const struct blackout_spec *spec,
	const struct zone *zone, struct blackout *ret_window, struct err *err)
{
	const struct schedule_spec cron = {
		.cron = spec->cron, .name = schedule->name, .day_match = schedule->day_match};
	char warning[WARNING_SIZE], shown[EXCERPT_SIZE];

	if (!spec->duration || !parse_duration(spec->duration, &ret_window->duration_ms) ||
		ret_window->duration_ms < 1000 || ret_window->duration_ms > BLACKOUT_MAX_MS)
		return err_set(err, ERR_INVALID,
			"'duration' '%s' is not a duration from 1s to 366d",
			spec->duration ? excerpt(spec->duration, strlen(spec->duration), shown)
				       : "");
	ret_window->local.zone = zone;
	if (cron_parse(&cron, &ret_window->local.cron, warning, err) < 0)
		return ERR_INVALID;
	ret_window->local.is_interval_like = ret_window->local.cron.is_interval_like;
	return ERR_NONE;
}

int blackout_parse(const struct schedule_spec *schedule, size_t index, const struct zone *zone,
	struct blackout *ret_window, struct err *err)
{
	const struct blackout_spec *spec = &schedule->blackouts[index];
	struct err cause = {0};
	int code;

	if (spec->cron && !spec->from && !spec->to)
		code = recurring_parse(schedule, spec, zone, ret_window, &cause);
	else if (!spec->cron && !spec->duration && spec->from && spec->to)
		code = range_parse(spec, ret_window, &cause);
	else
		code = err_set(&cause, ERR_INVALID,
			"takes either 'cron' and 'duration', or 'from' and 'to'");
	return code < 0 ? in_window(err, index, &cause) : ERR_NONE;
}

/* A recurring one covers at_ms when one began within its duration before. */
static bool window_covers(const struct blackout *window, int64_t at_ms)
{
	int64_t since_ms = at_ms - window->duration_ms;
	struct due begin;

	if (window->duration_ms == 0)
		return at_ms >= window->from_ms && at_ms < window->to_ms;
	return local_next(&window->local, since_ms < 0 ? 0 : since_ms / 1000 + 1, &begin) &&
	       begin.at_ms <= at_ms;
}

bool schedule_is_blacked_out(const struct schedule *schedule, int64_t at_ms)
{
	for (size_t i = 0; i < schedule->blackout_count; i++)
		if (window_covers(&schedule->blackouts[i], at_ms))
			return true;
	return false;
}
