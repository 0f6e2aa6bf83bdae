/* SPDX-License-Identifier: Apache-2.0
 *
 * Schedules for tests: parse one that must be good, read times, compare the next due times with
 * a list of texts. Each due time is asked for from the one before, and counted as well, so that
 * every row of every table also tries schedule_count. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/text.h"
#include "plan/plan_priv.h"

#define DUES_MAX 12

static inline const char *spec_text(const struct schedule_spec *spec)
{
	return spec->cron ? spec->cron : spec->rrule ? spec->rrule : spec->every;
}

static inline struct schedule *plan_input(const struct schedule_spec *spec)
{
	struct schedule *schedule = NULL;
	struct err err = {0};

	if (schedule_parse(spec, &schedule, &err) != ERR_NONE)
		fail_msg("'%s' in %s: %s: %s", spec_text(spec),
			spec->timezone ? spec->timezone : "UTC", err.field, err.text);
	return schedule;
}

static inline int64_t at(const char *text)
{
	int64_t at_ms = 0;

	if (!parse_rfc3339(text, &at_ms))
		fail_msg("the test's own time '%s' cannot be read", text);
	return at_ms;
}

/* The due times after `after` are exactly `dues` (local time with offset, then a space and the note
 * when there is one), up to the first NULL; "none" as the last one says that nothing follows. */
static inline void assert_dues(
	const struct schedule_spec *spec, const char *after, const char *const dues[DUES_MAX])
{
	struct schedule *schedule = plan_input(spec);
	int64_t after_ms = at(after), last_ms = after_ms;

	for (int i = 0; i < DUES_MAX && dues[i]; i++) {
		struct due due = {0};
		char text[RFC3339_TEXT_SIZE] = "none", shown[128];
		bool is_due = schedule_next_due(schedule, last_ms, &due);

		if (is_due)
			(void)format_rfc3339_offset(due.at_ms, due.utc_offset_s, text);
		(void)snprintf(shown, sizeof(shown), "%s%s%s", text, due.note ? " " : "",
			due.note ? due.note : "");
		if (strcmp(shown, dues[i]) != 0)
			fail_msg("'%s' in %s after %s, number %d: %s instead of %s",
				spec_text(spec), spec->timezone ? spec->timezone : "UTC", after,
				i + 1, shown, dues[i]);
		if (!is_due) {
			assert_true(schedule_next(schedule, last_ms) == NO_TIME);
			break;
		}
		assert_true(schedule_next(schedule, last_ms) == due.at_ms);
		assert_true(schedule_count(schedule, after_ms + 1, due.at_ms) == i + 1);
		assert_true(schedule_count(schedule, after_ms + 1, due.at_ms - 1) == i);
		last_ms = due.at_ms;
	}
	schedule_unref(schedule);
}
