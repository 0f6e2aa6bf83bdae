/* SPDX-License-Identifier: Apache-2.0
 *
 * Lifetime of the scheduler and its turn. The work is in look.c, claim.c, take.c and attempt.c; how
 * it becomes quiet in drain.c. */
#include "sched/sched_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/prove.h"
#include "store/live.h"

#define BACKOFF_MIN_MS    100
#define BACKOFF_MAX_MS    1000
#define HAND_OVER_POLL_MS 500 /* two processes on one file: how often each asks */

static void on_wake(void *data)
{
	sched_turn(data);
}

static void on_poll(uv_timer_t *timer)
{
	struct sched *sched = timer->data;

	sched->look_wanted = true;
	sched->is_backing_off = false;
	sched_turn(sched);
}

/* The safety poll, spread so that instances do not look in step. */
void sched_arm_poll(struct sched *sched)
{
	int64_t poll_ms = sched->opts.has_predecessor ? HAND_OVER_POLL_MS : sched_poll_ms(sched);
	uint32_t quarter = (uint32_t)(poll_ms / 4);
	uint64_t wait = (uint64_t)poll_ms - quarter + arc4random_uniform(2 * quarter + 1);

	uv_timer_start(&sched->poll, on_poll, wait, 0);
}

static void init_timer(struct sched *sched, uv_timer_t *timer)
{
	must(uv_timer_init(sched->opts.loop, timer) == 0);
	timer->data = sched;
	sched->open_handles++;
}

int sched_create(const struct sched_opts *opts, struct sched **ret_sched, struct err *err)
{
	struct sched *sched = xcalloc(1, sizeof(*sched));

	sched->opts = *opts;
	if (wake_timer_create(opts->loop, on_wake, sched, &sched->wake, err) < 0) {
		free(sched);
		return err->code;
	}
	sched->window = window_create();
	sched->claim_items = xcalloc((size_t)opts->claim_max, sizeof(*sched->claim_items));
	sched->covered_until_ms = sched->pending_at_ms = NO_TIME;
	sched->record_until_mono_ms = sched->last_claim_mono_ms = NO_TIME;
	sched->backoff_ms = BACKOFF_MIN_MS;
	list_init(&sched->attempts);
	list_init(&sched->duties);
	init_timer(sched, &sched->poll);
	init_timer(sched, &sched->retry);
	init_timer(sched, &sched->heartbeat);
	init_timer(sched, &sched->fence);
	init_timer(sched, &sched->run_max);
	init_timer(sched, &sched->give_up);
	sched->boot = boot_create(sched);
	sched->file = unrecorded_create(sched, opts->unrecorded_path);
	sched->opts.unrecorded_path = NULL;
	init_timer(sched, &sched->duty_timer);
	init_timer(sched, &sched->look_gap);
	init_timer(sched, &sched->live);
	sched->backfills = backfills_create(sched);
	*ret_sched = sched;
	return 0;
}

/* --- the turn --- */

int64_t sched_now_ms(const struct sched *sched)
{
	return clock_wall_ms() + sched->skew_ms;
}

/* The store has read its clock somewhere between question and answer, which may lie a slow disk
 * apart: only what that cannot explain is a difference of the clocks. */
void sched_note_clock(struct sched *sched, int64_t store_now_ms)
{
	int64_t least = store_now_ms - clock_wall_ms(), most = store_now_ms - sched->asked_ms;

	if (least > most) { /* our clock was set back meanwhile */
		int64_t swap = least;

		least = most;
		most = swap;
	}
	if (RULE_IS_OFF(DATABASE_CLOCK))
		return;
	if (sched->skew_ms < least)
		sched->skew_ms = least;
	else if (sched->skew_ms > most)
		sched->skew_ms = most;
}

void sched_note_pending(struct sched *sched, int64_t at_ms)
{
	if (at_ms == NO_TIME)
		return;
	sched->has_pending = true;
	if (sched->pending_at_ms == NO_TIME || at_ms < sched->pending_at_ms)
		sched->pending_at_ms = at_ms;
}

/* Wakes at the head of the window, when a pending run may start, or where a window that was cut
 * ends, whichever is first. */
static void arm_wake(struct sched *sched)
{
	int64_t at = window_head(sched->window);

	if (sched->pending_at_ms != NO_TIME && (at == NO_TIME || sched->pending_at_ms < at))
		at = sched->pending_at_ms;
	if (sched->window_is_cut && (at == NO_TIME || sched->covered_until_ms < at))
		at = sched->covered_until_ms;
	wake_timer_set(sched->wake, at == NO_TIME ? NO_TIME : at - sched->skew_ms);
}

static void store_answers(struct sched *sched)
{
	if (sched->failing == EXCHANGE_NONE)
		return;
	log_info("the store answers again");
	sched->failing = EXCHANGE_NONE;
	sched->backoff_ms = BACKOFF_MIN_MS;
}

static void on_recovered(struct store_req *req)
{
	struct sched *sched = req->data;

	if (exchange_end(sched, &req->err, "recovery")) {
		metrics.runs_recovered += (int64_t)sched->recover.ret_count;
		if (sched->recover.ret_count > 0)
			log_info("recovered runs of an instance that is gone",
				kv_i64("runs", (int64_t)sched->recover.ret_count));
		sched->recovery_first = false;
		sched->look_wanted = true;
	}
	sched_turn(sched);
	drain_check(sched);
}

static void recover(struct sched *sched)
{
	exchange_begin(sched, EXCHANGE_LOOK);
	sched->recover = (struct store_recover){.req.data = sched};
	store_recover(sched->opts.store, &sched->recover, on_recovered);
}

void sched_turn(struct sched *sched)
{
	static bool (*const tries[])(struct sched *) = {look_try, take_try, claim_try};

	if (sched->exchange != EXCHANGE_NONE || sched->is_backing_off || sched->is_paused ||
		sched->is_destroyed || sched->is_replaying || !lease_is_held(sched))
		return;
	if (sched->recovery_first) {
		recover(sched);
		return;
	}
	for (size_t i = 0; i < COUNT_OF(tries); i++)
		if (tries[((size_t)sched->last + i) % COUNT_OF(tries)](sched))
			return;
	store_answers(sched); /* what failed is wanted no more */
	arm_wake(sched);
}

void exchange_begin(struct sched *sched, enum exchange exchange)
{
	sched->exchange = sched->last = exchange;
	sched->asked_ms = clock_wall_ms();
	sched->asked_boot_ms = clock_boot_ms();
}

bool exchange_end(struct sched *sched, const struct err *err, const char *what)
{
	enum exchange ended = sched->exchange;

	sched->exchange = EXCHANGE_NONE;
	if (err->code == 0) {
		if (ended >= sched->failing)
			store_answers(sched);
		return true;
	}
	log_warn("the store does not answer; trying again", kv_str("for", what),
		kv_str("error", err->text), kv_i64("in_ms", sched->backoff_ms));
	sched->failing = ended;
	sched->is_backing_off = true;
	if (!sched->is_destroyed)
		uv_timer_start(&sched->poll, on_poll, (uint64_t)sched->backoff_ms, 0);
	sched->backoff_ms =
		sched->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : sched->backoff_ms * 2;
	return false;
}

/* --- start --- */

void sched_start(struct sched *sched, sched_done_fn *started, void *data)
{
	sched->started = started;
	sched->started_data = data;
	sched->recovery_first = !sched->opts.has_predecessor;
	sched->look_wanted = true;
	news_begin(sched);
	store_want_work(sched->opts.store, !sched->is_paused);
	keep_start(sched);
	lease_start(sched);
	sched->is_replaying = true;
	unrecorded_replay(sched->file);
}

void sched_replayed(struct sched *sched)
{
	sched->is_replaying = false;
	sched_turn(sched);
	drain_check(sched);
}

void sched_predecessor_gone(struct sched *sched)
{
	if (!sched->opts.has_predecessor)
		return;
	sched->opts.has_predecessor = false;
	sched->recovery_first = true;
	sched_turn(sched);
}

void sched_hand_over(struct sched *sched)
{
	if (store_is_shared(sched->opts.store))
		return;
	sched->has_successor = true;
	sched->opts.heartbeat_ms = HAND_OVER_POLL_MS;
	lease_beat(&sched->heartbeat);
}

void sched_set_limits(struct sched *sched, const struct sched_limits *limits)
{
	sched->opts.db_max_ms = limits->db_max_ms;
	if (!sched->has_successor)
		sched->opts.heartbeat_ms = limits->heartbeat_ms;
	lease_beat_soon(sched);
	sched_run_pending(sched);
}

/* --- stop --- */

static void on_handle_closed(uv_handle_t *handle)
{
	struct sched *sched = handle->data;

	if (--sched->open_handles > 0)
		return;
	unrecorded_destroy(sched->file);
	window_destroy(sched->window);
	free(sched->claim_items);
	backfills_destroy(sched->backfills);
	sched->closed(sched->closed_data);
	free(sched);
}

/* The end of a destroy: nothing is under way any more. */
static void close_handles(void *data)
{
	struct sched *sched = data;

	store_unwatch(sched->opts.store);
	store_watch_output(sched->opts.store, NULL, NULL);
	uv_close((uv_handle_t *)&sched->poll, on_handle_closed);
	uv_close((uv_handle_t *)&sched->retry, on_handle_closed);
	uv_close((uv_handle_t *)&sched->heartbeat, on_handle_closed);
	uv_close((uv_handle_t *)&sched->fence, on_handle_closed);
	uv_close((uv_handle_t *)&sched->run_max, on_handle_closed);
	uv_close((uv_handle_t *)&sched->give_up, on_handle_closed);
	uv_close((uv_handle_t *)&sched->duty_timer, on_handle_closed);
	uv_close((uv_handle_t *)&sched->look_gap, on_handle_closed);
	uv_close((uv_handle_t *)&sched->live, on_handle_closed);
	wake_timer_destroy(sched->wake);
	boot_destroy(take_ptr(sched->boot));
}

void sched_destroy(struct sched *sched, sched_done_fn *closed, void *data)
{
	sched->is_destroyed = true;
	sched->started = NULL;
	sched->closed = closed;
	sched->closed_data = data;
	sched_drain(sched, NULL, close_handles, sched);
}

/* --- what the API tells us --- */

/* While a look is under way the window may turn out to cover all of its horizon, but the answer
 * need not know yet what the API has just written. */
static bool sched_covers(const struct sched *sched, int64_t due_ms)
{
	if (sched->exchange == EXCHANGE_LOOK &&
		due_ms <= sched_now_ms(sched) + sched->opts.window_ms)
		return true;
	return due_ms <= sched->covered_until_ms;
}

/* A full window is as one that a look has cut: complete up to before what did not fit. Not while a
 * look is under way, as its answer will say what the window covers. */
void sched_put(struct sched *sched, struct action *action, int64_t due_ms)
{
	bool is_near =
		due_ms != NO_TIME && sched_covers(sched, due_ms) && sched_owns(sched, &action->id);

	if (is_near && sched->exchange != EXCHANGE_LOOK &&
		window_count(sched->window) >= (size_t)sched->opts.window_max) {
		sched->window_is_cut = true;
		sched->covered_until_ms = due_ms - 1;
		is_near = false;
	}
	window_put(sched->window, action, is_near ? due_ms : NO_TIME);
}

void sched_action_changed(struct sched *sched, struct action *action)
{
	sched_put(sched, action, action->next_due_ms);
	duties_hint(sched);
	sched_turn(sched);
}

void sched_action_gone(struct sched *sched, const struct id *action_id)
{
	window_remove(sched->window, action_id);
}

void sched_run_pending(struct sched *sched)
{
	take_want(sched);
	sched_turn(sched);
}

void sched_look_again(struct sched *sched)
{
	sched->look_wanted = true;
	sched_turn(sched);
}

void sched_cancel_run(struct sched *sched, const struct id *run_id)
{
	attempt_end_early(sched, run_id, ATTEMPT_CANCELLED);
}

void sched_pause_run(struct sched *sched, const struct id *run_id)
{
	attempt_end_early(sched, run_id, ATTEMPT_INTERRUPTED);
}

void sched_stats(const struct sched *sched, struct sched_stats *ret_stats)
{
	*ret_stats = (struct sched_stats){
		.last_claim_mono_ms = sched->last_claim_mono_ms,
		.window_count = window_count(sched->window),
		.runs_running = sched->attempt_count,
		.is_paused = sched->is_paused,
		.is_store_ok = sched->failing == EXCHANGE_NONE && sched->unrecorded == 0,
		.max_lag_ms = clock_mono_ms() - sched->lag_since_mono_ms > 2 * LAG_WINDOW_MS
				      ? 0
				      : sched->max_lag_ms,
	};
}
