/* SPDX-License-Identifier: Apache-2.0 */
#include "api/cursor_priv.h"

#include <string.h>

#include "base/text.h"

#define BEFORE_ALL_MS (-1) /* times begin in 1970 */

static int64_t next_or_none(const struct action *action, int64_t now_ms)
{
	return action->schedule ? schedule_next(action->schedule, now_ms) : NO_TIME;
}

static int cursor_for_past(
	const struct action *action, int64_t now_ms, int64_t *ret_due_ms, struct err *err)
{
	const struct misfire_rules *rules = &action->misfire;
	int64_t at_ms = schedule_next(action->schedule, BEFORE_ALL_MS);
	int64_t late_ms = now_ms - at_ms;
	char text[RFC3339_TEXT_SIZE];

	if (at_ms != NO_TIME &&
		(late_ms <= rules->grace_ms ||
			(rules->policy != MISFIRE_SKIP && late_ms <= rules->max_lateness_ms))) {
		*ret_due_ms = at_ms;
		return 0;
	}
	return err_field(err, ERR_INVALID, "/schedule/at",
		"%s has passed, and misfire '%s' would not run it any more",
		at_ms == NO_TIME ? "the moment" : format_rfc3339(at_ms, text),
		misfire_names[rules->policy]);
}

int cursor_for_create(
	const struct action *action, int64_t now_ms, int64_t *ret_due_ms, struct err *err)
{
	int64_t due_ms = next_or_none(action, now_ms);

	if (due_ms == NO_TIME && action->schedule &&
		schedule_kind(action->schedule) == SCHEDULE_ONCE)
		return cursor_for_past(action, now_ms, ret_due_ms, err);
	*ret_due_ms = due_ms;
	return 0;
}

static bool has_same_schedule(const struct action *a, const struct action *b)
{
	if (!a->schedule_json || !b->schedule_json)
		return a->schedule_json == b->schedule_json;
	if (schedule_uses_name(a->schedule) && strcmp(a->name, b->name) != 0)
		return false;
	return json_equal(a->schedule_json, b->schedule_json);
}

bool cursor_is_kept(const struct action *action, const struct action *old)
{
	return has_same_schedule(action, old) && !old->is_paused;
}

int cursor_for_replace(const struct action *action, const struct action *old, int64_t now_ms,
	int64_t *ret_due_ms, struct err *err)
{
	int64_t due_ms = NO_TIME;

	if (!has_same_schedule(action, old)) {
		int code = cursor_for_create(action, now_ms, &due_ms, err);

		if (code < 0)
			return code;
	} else if (!old->is_paused || old->next_due_ms != NO_TIME) {
		due_ms = old->next_due_ms;
	} else {
		due_ms = next_or_none(action, now_ms); /* paused, and recording from now on */
	}
	*ret_due_ms = old->is_paused && !action->pause_records ? NO_TIME : due_ms;
	return 0;
}

int64_t cursor_for_pause(const struct action *action)
{
	return action->pause_records ? action->next_due_ms : NO_TIME;
}

int64_t cursor_for_resume(const struct action *action, int64_t now_ms)
{
	return next_or_none(action, now_ms);
}
