/* SPDX-License-Identifier: Apache-2.0
 *
 * The lifecycle: the state of the service and the table of its parts. Start runs the table forward;
 * stopping quiets all parts at once, then drains and stops them in reverse, each with a deadline.
 * LIFECYCLE.md is the specification; doc/design/shutdown.md tells what is built.
 *
 *   starting -> ready -> draining -> stopping -> stopped
 *                 ^         |
 *                 +-undrain-+        (before the listener closes, and not after a signal)
 *   starting, ready -> stopping      (second signal, failure) */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"

enum service_state {
	SERVICE_STARTING,
	SERVICE_READY,
	SERVICE_DRAINING,
	SERVICE_STOPPING,
	SERVICE_STOPPED
};
extern const char *const service_state_names[];

struct life;

/* One part of the program, in start order. Every hook gets `server`; a NULL hook counts as done.
 * start, drain and stop only begin their work and report with life_part_done() or
 * life_part_failed(), now or later. Nobody but life.c calls the hooks. */
struct part {
	const char *name;
	void (*start)(void *server);
	void (*quiet)(void *server);   /* t0 of a drain, for all parts in the same loop turn */
	void (*unquiet)(void *server); /* undrain */
	void (*drain)(void *server);   /* finish politely */
	int64_t (*drain_max_ms)(
		void *server);       /* after this hurry is called and the exit status is 3 */
	void (*hurry)(void *server); /* deadline or second signal: cut what is left; drain then ends
					soon */
	void (*stop)(void *server);  /* release; also when start has not reported yet (it will not
					then) */
};

/* One event of the stop sequence, kept for /health and logged: shutting_down, notice_done,
 * listener_closed, http_drained, scheduler_stopped, claims_drained, executor_stopped, store_closed.
 */
struct life_event {
	const char *name;
	int64_t after_ms; /* since the drain began */
	int64_t took_ms;  /* since the event before */
	bool was_cut;     /* ended by a deadline or a second signal */
};
#define LIFE_EVENTS_MAX 16

struct life_opts {
	uv_loop_t *loop;
	const struct part *parts;
	size_t part_count;
	void *server;
	int64_t total_max_ms; /* the watchdog: the process exits after this, whatever hangs */
};

/* life_destroy: after the loop has ended. The watchdog is a thread of its own, so that a loop that
 * hangs cannot keep the process alive. */
struct life *life_create(const struct life_opts *opts);
void life_destroy(struct life *life);

/* Starts the parts one after the other; the state becomes ready after the last. */
void life_start(struct life *life);

/* The part whose hook was called last has finished it. life_part_failed: it could not start; what
 * had started is stopped in reverse and the exit status is 1. */
void life_part_done(struct life *life);
void life_part_failed(struct life *life, const struct err *err);

enum service_state life_state(const struct life *life);
const char *life_phase(const struct life *life); /* name of the part being started or drained; "" */

/* Begins a drain: state draining, every part quiet in this turn. `stops` false is the operator's
 * drain: nothing is closed until undrain or a signal; while the service starts it is remembered,
 * and begins when all parts have started. Idempotent; cause is for the log, a constant. */
enum life_drain {
	LIFE_DRAIN_HOLD,
	LIFE_DRAIN_STOP
};
void life_drain(struct life *life, enum life_drain drain, const char *cause);

/* The listener is closed: state stopping, no undrain from here on. */
void life_doors_closed(struct life *life);

/* Ends an operator's drain, or the wish for one: ready again. False when a stop is under way.
 * Setting what is set already succeeds. */
bool life_undrain(struct life *life);

/* A stop signal. The first drains and stops; the second (0.5 s later or more) skips the notice,
 * cuts what is in flight and hands runs back, within 3 s; the third exits at once with 3.
 * LIFE_SIGNAL_QUIT is like the second, also when it comes first. */
enum life_signal {
	LIFE_SIGNAL_STOP,
	LIFE_SIGNAL_QUIT
};
void life_signal(struct life *life, enum life_signal signal, const char *name);

/* The service manager hears that the configuration is being read again, and that it has been. */
void life_reloading(struct life *life);
void life_reloaded(struct life *life);

/* The watchdog of a stop that begins from now on. */
void life_set_total_max(struct life *life, int64_t total_max_ms);

/* Another process of ours goes on with the service: the service manager is told whom to look at
 * from now on, and hears nothing more from this one. A stop follows. */
void life_handed_over(struct life *life, int pid);

/* Adds an event to the stop sequence: in the list, and one log line with what is left. It counts as
 * cut when the current part's deadline or a second signal came first. `name` is a constant. */
void life_event(struct life *life, const char *name);
size_t life_events(const struct life *life, struct life_event ret_events[static LIFE_EVENTS_MAX]);

/* True once a stop has begun: there is no way back. */
bool life_is_stopping(const struct life *life);

/* Until the process ends whatever hangs (total_max); -1: no stop is under way. */
int64_t life_left_ms(const struct life *life);

/* 0 clean; 1 could not start; 3 a deadline cut something; 4 a result was not recorded. The largest
 * that was set counts. */
void life_set_exit(struct life *life, int status);
int life_exit_status(const struct life *life);
int64_t life_uptime_ms(const struct life *life);
