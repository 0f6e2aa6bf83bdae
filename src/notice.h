/* SPDX-License-Identifier: Apache-2.0
 *
 * The notice phase of a stop: readiness says 503 already, and the listener stays open while load
 * balancers learn of it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct api;
struct http;

struct notice_opts {
	int64_t min_ms, max_ms;  /* it lasts this long at least and at most */
	int64_t quiet_ms;        /* no ordinary request has come for so long */
	int refusals;            /* every regular prober has got so many 503 in a row */
	const struct http *http; /* borrowed, as is api */
	const struct api *api;
};

typedef void notice_done_fn(void *data);

/* Embedded by its owner; plain data that only notice.c touches. */
struct notice {
	struct notice_opts opts;
	uv_timer_t timer;
	int64_t began_mono_ms;
	notice_done_fn *done;
	void *data;
};

void notice_init(struct notice *notice, uv_loop_t *loop);

/* Begins to wait for min_ms, then for quiet and for the probers, max_ms in all. `done` runs once,
 * and may do so before this returns. */
void notice_begin(
	struct notice *notice, const struct notice_opts *opts, notice_done_fn *done, void *data);

/* Ends it now, if it is under way: `done` runs before this returns. */
void notice_hurry(struct notice *notice);

/* Closes its timer; the memory must stay until the loop has turned. */
void notice_close(struct notice *notice);
