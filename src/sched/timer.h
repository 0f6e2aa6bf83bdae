/* SPDX-License-Identifier: Apache-2.0
 *
 * One absolute wall-clock timer on the loop: a timerfd with TFD_TIMER_CANCEL_ON_SET, so that a
 * clock that is set wakes it too (timerfd_create(2)). A loop timer would be up to a millisecond
 * early and would not notice (MEASURED.md "Timers"). Private to sched/. */
#pragma once

#include <stdint.h>
#include <uv.h>

#include "base/err.h"

struct wake_timer;
typedef void wake_fn(void *data);

/* `wake` runs on the loop, at or after the time set, or when the wall clock was set. */
int wake_timer_create(
	uv_loop_t *loop, wake_fn *wake, void *data, struct wake_timer **ret_timer, struct err *err);

/* Arms it for wall-clock `at_ms` (the past: at once, in a later turn); NO_TIME: only when the clock
 * is set. */
void wake_timer_set(struct wake_timer *timer, int64_t at_ms);

/* Frees it once its handle has closed. `wake` is not called again. */
void wake_timer_destroy(struct wake_timer *timer);
