/* SPDX-License-Identifier: Apache-2.0
 *
 * What plan.h promises of every schedule that is taken, and of every refusal: for the fuzz targets
 * that make schedules. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "plan/plan_priv.h"

#define WALK 20

static inline void check_refusal(const struct err *err)
{
	must(err->text[0] != '\0' && err->field[0] == '/');
	for (const char *c = err->text; *c; c++)
		must(*c >= ' ' && *c <= '~');
}

/* Due times rise, are within reach, and counting agrees with walking. */
static inline void check_schedule(const struct schedule *schedule, int64_t from_ms)
{
	int64_t at_ms = from_ms;
	const char *warning = schedule_warning(schedule);
	int walked = 0;

	must(!warning || (warning[0] != '\0' && strlen(warning) < WARNING_SIZE));
	for (; walked < WALK; walked++) {
		struct due due;

		if (!schedule_next_due(schedule, at_ms, &due))
			break;
		must(due.at_ms > at_ms && due.at_ms >= 0 && due.at_ms <= DUE_MAX_MS);
		must(due.utc_offset_s > -90000 && due.utc_offset_s < 93600);
		must(schedule_next(schedule, due.at_ms - 1) == due.at_ms);
		at_ms = due.at_ms;
	}
	if (walked > 0)
		must(schedule_count(schedule, from_ms + 1, at_ms) == walked);
	must(schedule_next(schedule, at_ms) == NO_TIME || walked == WALK);
}

static inline void try_spec(const struct schedule_spec *spec)
{
	struct schedule *schedule = NULL;
	struct err err = {0};

	if (schedule_parse(spec, &schedule, &err) != ERR_NONE) {
		check_refusal(&err);
		return;
	}
	check_schedule(schedule, INT64_C(1774742400000)); /* 2026-03-29, clocks change */
	check_schedule(schedule, INT64_C(4102444800000)); /* 2100 */
	schedule_unref(schedule);
}
