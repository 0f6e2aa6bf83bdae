/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the cursor of an action stands after a person changed it. Pure. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "model/model.h"

/* A new action, or one with a new schedule: the first due time after now; NO_TIME for a manual one.
 *
 * A moment (`at`) that has passed is taken when the misfire rules would still run it: within
 * misfire_grace always, within max_lateness unless the policy is `skip`. Then the cursor is that
 * moment and it runs at once. Otherwise ERR_INVALID at /schedule/at: nobody wants a job stored that
 * will never run. */
int cursor_for_create(
	const struct action *action, int64_t now_ms, int64_t *ret_due_ms, struct err *err);

/* `old` becomes `action`: an unchanged schedule keeps the cursor, also one that is overdue or done;
 * a changed one starts from now. A paused action without pause_records has none. */
int cursor_for_replace(const struct action *action, const struct action *old, int64_t now_ms,
	int64_t *ret_due_ms, struct err *err);

/* Whether the change leaves the row's own cursor (and its count of runs) alone. */
bool cursor_is_kept(const struct action *action, const struct action *old);

/* Pausing keeps the cursor moving when the skipped due times are to be recorded. Resuming starts
 * from now: nothing is replayed. */
int64_t cursor_for_pause(const struct action *action);
int64_t cursor_for_resume(const struct action *action, int64_t now_ms);
