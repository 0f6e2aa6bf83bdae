/* SPDX-License-Identifier: Apache-2.0
 *
 * One walker over the table of parts: forward to start, backward to drain, backward to stop. A hook
 * may report from inside its own call or later; `step_done` and the loop in walk_run() make both
 * the same, without recursion. */
#include "life/life.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/prove.h"
#include "life/notify.h"
#include "life/watchdog.h"

#define SECOND_SIGNAL_AFTER_MS 500
#define HURRY_MAX_MS           2800 /* from the second signal to the end, whatever hangs */

const char *const service_state_names[] = {
	"starting", "ready", "draining", "stopping", "stopped", NULL};

enum walk {
	WALK_NONE,
	WALK_START,
	WALK_DRAIN,
	WALK_STOP
};

struct life {
	struct life_opts opts;
	enum service_state state;
	int64_t state_since_mono_ms;

	enum walk walk;
	size_t at; /* the part whose hook was called last; opts.part_count before the first */
	bool is_walking;
	bool step_done;
	bool step_was_cut;
	uv_timer_t limit; /* deadline of the drain hook that is running */

	const char *drain_when_ready; /* why; NULL: nobody has asked while we start */
	bool is_stopping;
	bool is_hurried;
	int64_t started_mono_ms, drain_mono_ms, stop_mono_ms, signal_mono_ms;
	int grade;                       /* of the last stop signal; 0: none yet */
	struct watchdog *watchdog;       /* owned; NULL until a stop begins */
	struct watchdog *hurry_watchdog; /* owned; NULL until the second signal */
	struct notify *notify;           /* owned */

	struct life_event events[LIFE_EVENTS_MAX];
	size_t event_count;
	int exit_status;
};

static void walk_run(struct life *life);
static void begin_drain(struct life *life, const char *cause);

struct life *life_create(const struct life_opts *opts)
{
	struct life *life = xcalloc(1, sizeof(*life));

	life->opts = *opts;
	life->started_mono_ms = life->state_since_mono_ms = clock_mono_ms();
	life->at = opts->part_count;
	must(uv_timer_init(opts->loop, &life->limit) == 0);
	life->limit.data = life;
	life->notify = notify_create(opts->loop);
	return life;
}

void life_destroy(struct life *life)
{
	if (!life)
		return;
	watchdog_stop(life->watchdog);
	watchdog_stop(life->hurry_watchdog);
	notify_destroy(life->notify);
	free(life);
}

static void set_state(struct life *life, enum service_state state, const char *cause)
{
	int64_t now = clock_mono_ms();

	log_info("state", kv_str("from", service_state_names[life->state]),
		kv_str("to", service_state_names[state]), kv_str("cause", cause),
		kv_i64("after_ms", now - life->state_since_mono_ms));
	life->state = state;
	life->state_since_mono_ms = now;
	notify_say(life->notify, "%sSTATUS=%s: %s", state == SERVICE_READY ? "READY=1\n" : "",
		service_state_names[state], cause);
}

static void call_all(struct life *life, size_t hook_offset)
{
	for (size_t i = 0; i < life->opts.part_count; i++) {
		void (*hook)(void *);

		memcpy(&hook, (const char *)&life->opts.parts[i] + hook_offset, sizeof(hook));
		if (hook)
			hook(life->opts.server);
	}
}

/* --- the walk --- */

static void (*step_hook(const struct life *life))(void *)
{
	const struct part *part = &life->opts.parts[life->at];

	switch (life->walk) {
	case WALK_START:
		return part->start;
	case WALK_DRAIN:
		return part->drain;
	case WALK_STOP:
		return part->stop;
	case WALK_NONE:
		break;
	}
	return NULL;
}

/* Everything is stopped: nothing of ours keeps the loop alive any more. */
static void finish(struct life *life)
{
	life->walk = WALK_NONE;
	set_state(life, SERVICE_STOPPED, "all parts stopped");
	uv_close((uv_handle_t *)&life->limit, NULL);
	notify_close(life->notify);
}

static void begin_stop_walk(struct life *life, size_t part_count)
{
	life->walk = WALK_STOP;
	life->at = part_count;
	life->step_done = true;
}

/* Moves to the next part, or to the next walk; false when there is nothing left to walk. */
static bool walk_next(struct life *life)
{
	if (life->walk == WALK_START) {
		life->at = life->at == life->opts.part_count ? 0 : life->at + 1;
		if (life->at < life->opts.part_count)
			return true;
		life->walk = WALK_NONE;
		set_state(life, SERVICE_READY, "all parts started");
		if (life->drain_when_ready)
			begin_drain(life, life->drain_when_ready);
		return false;
	}
	if (life->at > 0) {
		life->at--;
		return true;
	}
	if (life->walk == WALK_DRAIN) {
		begin_stop_walk(life, life->opts.part_count);
		life->at--;
		return true;
	}
	finish(life);
	return false;
}

static void on_limit(uv_timer_t *timer)
{
	struct life *life = timer->data;
	const struct part *part = &life->opts.parts[life->at];

	log_warn("deadline passed: cutting what is left", kv_str("part", part->name));
	life->step_was_cut = true;
	life_set_exit(life, 3);
	if (part->hurry)
		part->hurry(life->opts.server);
}

static void step_begin(struct life *life)
{
	const struct part *part = &life->opts.parts[life->at];
	void (*hook)(void *) = step_hook(life);

	life->step_was_cut = false;
	life->step_done = !hook;
	if (!hook)
		return;
	log_debug("part", kv_str("name", part->name), kv_i64("walk", life->walk));
	if (life->walk == WALK_DRAIN && part->drain_max_ms)
		uv_timer_start(
			&life->limit, on_limit, (uint64_t)part->drain_max_ms(life->opts.server), 0);
	hook(life->opts.server);
	if (life->walk == WALK_DRAIN && life->is_hurried && part->hurry && !life->step_done)
		part->hurry(life->opts.server);
}

static void walk_run(struct life *life)
{
	if (life->is_walking)
		return; /* a hook reported from inside its call: the loop below goes on */
	life->is_walking = true;
	while (life->walk != WALK_NONE && life->step_done) {
		uv_timer_stop(&life->limit);
		if (walk_next(life))
			step_begin(life);
	}
	life->is_walking = false;
}

void life_start(struct life *life)
{
	life->walk = WALK_START;
	life->step_done = true;
	walk_run(life);
}

void life_part_done(struct life *life)
{
	life->step_done = true;
	walk_run(life);
}

void life_part_failed(struct life *life, const struct err *err)
{
	must(life->walk == WALK_START);
	log_error("cannot start", kv_str("part", life->opts.parts[life->at].name),
		kv_str("error", err->text));
	life_set_exit(life, 1);
	life->is_stopping = true;
	set_state(life, SERVICE_STOPPING, "a part could not start");
	begin_stop_walk(life, life->at);
	walk_run(life);
}

/* --- draining and stopping --- */

static void begin_drain(struct life *life, const char *cause)
{
	set_state(life, SERVICE_DRAINING, cause);
	life->drain_mono_ms = clock_mono_ms();
	life->event_count = 0;
	life_event(life, "shutting_down");
	if (RULE_IS_OFF(STOPPING_ONLY_ON_STOP))
		notify_stopping(life->notify);
	call_all(life, offsetof(struct part, quiet));
}

static void begin_stop(struct life *life, const char *cause)
{
	life->is_stopping = true;
	life->stop_mono_ms = clock_mono_ms();
	if (!RULE_IS_OFF(TOTAL_MAX_HOLDS))
		life->watchdog = watchdog_start(life->opts.total_max_ms,
			"the stop took longer than total_max: exiting now; what was running is "
			"recovered "
			"at the next start");
	notify_stopping(life->notify);
	if (life->state == SERVICE_STARTING) {
		life->drain_mono_ms = clock_mono_ms();
		set_state(life, SERVICE_STOPPING, cause);
		begin_stop_walk(life, life->at + 1);
	} else {
		life->walk = WALK_DRAIN;
		life->at = life->opts.part_count;
		life->step_done = true;
	}
	walk_run(life);
}

void life_drain(struct life *life, enum life_drain drain, const char *cause)
{
	if (life->state == SERVICE_READY)
		begin_drain(life, cause);
	else if (life->state == SERVICE_STARTING && drain == LIFE_DRAIN_HOLD)
		life->drain_when_ready = cause;
	if (drain == LIFE_DRAIN_STOP && !life->is_stopping)
		begin_stop(life, cause);
}

void life_doors_closed(struct life *life)
{
	if (life->state == SERVICE_DRAINING)
		set_state(life, SERVICE_STOPPING, "listener closed");
}

bool life_undrain(struct life *life)
{
	if (life->is_stopping)
		return false;
	life->drain_when_ready = NULL;
	if (life->state != SERVICE_DRAINING)
		return true;
	set_state(life, SERVICE_READY, "undrain");
	life->event_count = 0;
	call_all(life, offsetof(struct part, unquiet));
	return true;
}

/* A start that is walked back has nothing that could be cut, but something may hang. */
static void hurry(struct life *life)
{
	if (life->is_hurried)
		return;
	life->is_hurried = true;
	life->hurry_watchdog = watchdog_start(HURRY_MAX_MS,
		"something hangs in a stop that was to be quick: exiting now; what was running is "
		"recovered at the next start");
	watchdog_set_status(life->hurry_watchdog, life->exit_status > 3 ? life->exit_status : 3);
	if (life->walk != WALK_DRAIN)
		return;
	life->step_was_cut = true;
	life_set_exit(life, 3);
	if (life->opts.parts[life->at].hurry)
		life->opts.parts[life->at].hurry(life->opts.server);
}

/* How far this signal takes us: 1 drain, 2 hurry, 3 out; 0: it is one with the signal before (one
 * keypress, or one `kill` sent to a group and to us). */
static int grade_of(const struct life *life, enum life_signal signal, int64_t now_mono_ms)
{
	if (signal == LIFE_SIGNAL_QUIT && life->grade < 2)
		return 2;
	if (life->grade > 0 && now_mono_ms - life->signal_mono_ms < SECOND_SIGNAL_AFTER_MS)
		return 0;
	return life->grade + 1;
}

void life_signal(struct life *life, enum life_signal signal, const char *name)
{
	int64_t now = clock_mono_ms();
	int grade = grade_of(life, signal, now);

	if (grade == 0 || (grade > 1 && RULE_IS_OFF(LATER_SIGNALS_HURRY)))
		return;
	life->grade = grade;
	life->signal_mono_ms = now;
	log_info("signal", kv_str("name", name), kv_i64("grade", grade));
	if (life->state == SERVICE_STARTING && RULE_IS_OFF(STOPPABLE_WHILE_STARTING))
		return;
	if (grade >= 3)
		_exit(3);
	life_drain(life, LIFE_DRAIN_STOP, name);
	if (grade == 2)
		hurry(life);
}

void life_reloading(struct life *life)
{
	notify_say(life->notify, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, clock_mono_ms() * 1000);
}

void life_reloaded(struct life *life)
{
	if (life->state == SERVICE_READY)
		notify_say(life->notify, "READY=1");
}

void life_set_total_max(struct life *life, int64_t total_max_ms)
{
	life->opts.total_max_ms = total_max_ms;
}

void life_handed_over(struct life *life, int pid)
{
	notify_say(life->notify, "MAINPID=%d\nREADY=1", pid);
	notify_mute(life->notify);
}

/* --- what others may know --- */

void life_event(struct life *life, const char *name)
{
	size_t count = life->event_count;
	struct life_event event = {.name = name,
		.after_ms = clock_mono_ms() - life->drain_mono_ms,
		.was_cut = life->step_was_cut || life->is_hurried};

	event.took_ms = event.after_ms - (count > 0 ? life->events[count - 1].after_ms : 0);
	if (count < LIFE_EVENTS_MAX)
		life->events[life->event_count++] = event;
	metrics.phases_cut += event.was_cut;
	log_info("stop sequence", kv_str("event", name), kv_i64("after_ms", event.after_ms),
		kv_bool("cut", event.was_cut), kv_i64("took_ms", event.took_ms),
		kv_i64("connections", metrics.http_connections),
		kv_i64("requests", metrics.http_requests_in_flight),
		kv_i64("runs", metrics.runs_running));
}

size_t life_events(const struct life *life, struct life_event ret_events[static LIFE_EVENTS_MAX])
{
	memcpy(ret_events, life->events, life->event_count * sizeof(life->events[0]));
	return life->event_count;
}

bool life_is_stopping(const struct life *life)
{
	return life->is_stopping;
}

int64_t life_left_ms(const struct life *life)
{
	int64_t left = life->stop_mono_ms + life->opts.total_max_ms - clock_mono_ms();

	if (!life->is_stopping)
		return -1;
	return left > 0 ? left : 0;
}

enum service_state life_state(const struct life *life)
{
	return life->state;
}

const char *life_phase(const struct life *life)
{
	return life->walk == WALK_NONE || life->at >= life->opts.part_count
		       ? ""
		       : life->opts.parts[life->at].name;
}

void life_set_exit(struct life *life, int status)
{
	if (status <= life->exit_status)
		return;
	life->exit_status = status;
	if (status < 3)
		return;
	watchdog_set_status(life->watchdog, status);
	watchdog_set_status(life->hurry_watchdog, status);
}

int life_exit_status(const struct life *life)
{
	return life->exit_status;
}

int64_t life_uptime_ms(const struct life *life)
{
	return clock_mono_ms() - life->started_mono_ms;
}
