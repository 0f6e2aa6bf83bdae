/* SPDX-License-Identifier: Apache-2.0
 *
 * An attempt: started, ended, recorded. The result is written under the epoch of the claim; when
 * the store is away it is kept and tried again, and its slot stays taken meanwhile. */
#include "sched/sched_priv.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/prove.h"
#include "store/live.h"

#define RECORD_RETRY_MS 200

int attempt_capacity(const struct sched *sched, int ret_capacity[static ACTION_KIND_COUNT])
{
	int room = exec_free_slots(sched->opts.exec, ret_capacity);
	int sum = 0;

	for (int kind = 0; kind < ACTION_KIND_COUNT; kind++) {
		ret_capacity[kind] -= sched->recording[kind];
		if (ret_capacity[kind] < 0)
			ret_capacity[kind] = 0;
		if (!exec_takes_slot((enum action_kind)kind))
			continue;
		room -= sched->recording[kind];
		sum += ret_capacity[kind];
	}
	if (room > sum)
		room = sum;
	return room > 0 ? room : 0;
}

static void attempt_free(struct attempt *attempt)
{
	struct sched *sched = attempt->sched;

	sched->recording[attempt->run.action->kind]--;
	sched->unrecorded -= attempt->has_failed;
	sched->attempt_count--;
	metrics.runs_running = (int64_t)sched->attempt_count;
	list_remove(&attempt->node);
	live_forget(attempt);
	attempt_result_fini(&attempt->result);
	note_fini(attempt);
	run_fini(&attempt->run);
	free(attempt);
	if (sched->has_pending)
		take_want(sched);
	if (sched->is_paused)
		exec_drop_connections(sched->opts.exec);
	sched_turn(sched);
	drain_check(sched);
}

/* --- recording --- */

static void count_recorded(enum run_state state, enum run_reason reason)
{
	if (state == RUN_SUCCEEDED)
		metrics.runs_succeeded++;
	else if (state == RUN_HELD)
		metrics.runs_held++;
	else if (state != RUN_PENDING)
		metrics.runs_failed++;
	else if (reason == REASON_HANDED_BACK)
		metrics.runs_handed_back++;
	else
		metrics.runs_retried++;
}

static void log_recorded(const struct attempt *attempt, enum run_state state)
{
	const struct run *run = &attempt->run;
	enum log_level level = state == RUN_FAILED || state == RUN_TIMED_OUT ? LOG_WARN : LOG_INFO;

	log_at(level, "run", kv_str("action", run->action_name), kv_id("run", &run->id),
		kv_str("state", run_state_names[state]),
		kv_str("reason", run_reason_names[attempt->finish.follow_up.reason]),
		kv_i64("attempt", run->attempt), kv_str("error", attempt->result.error));
}

/* The store gets db_max for each result, and for what had ended before from the moment of the stop.
 */
static bool is_late(const struct attempt *attempt, int64_t now_mono_ms)
{
	const struct sched *sched = attempt->sched;
	int64_t since = attempt->ended_mono_ms > sched->stopping_mono_ms ? attempt->ended_mono_ms
									 : sched->stopping_mono_ms;

	return now_mono_ms >= since + sched->opts.db_max_ms || sched->hurries > 1 ||
	       (sched->record_until_mono_ms != NO_TIME &&
		       now_mono_ms >= sched->record_until_mono_ms);
}

/* The store's answer may still be owed; then the attempt stays until it comes, but nobody waits. */
static void keep(struct attempt *attempt)
{
	if (attempt->is_kept)
		return;
	attempt->is_kept = true;
	if (attempt->sched->opts.on_unrecorded)
		attempt->sched->opts.on_unrecorded(attempt->sched->opts.data);
	unrecorded_keep(attempt->sched->file, attempt);
}

void attempt_keep_late(struct sched *sched)
{
	int64_t now = clock_mono_ms();

	list_for_each (node, &sched->attempts) {
		struct attempt *attempt = list_entry(node, struct attempt, node);

		if (attempt->has_ended && is_late(attempt, now))
			keep(attempt);
	}
}

void attempt_kept(struct attempt *attempt, const struct err *err)
{
	if (err->code == 0)
		log_warn("a result could not be recorded; it is kept in state_dir and recorded at "
			 "the next start",
			kv_id("run", &attempt->run.id));
	else
		log_error("a result could neither be recorded nor kept; the run is recovered at "
			  "the next start",
			kv_id("run", &attempt->run.id), kv_str("error", err->text));
	metrics.results_unrecorded++;
	if (attempt->is_waiting)
		attempt_free(attempt);
	else
		attempt->sched->kept_count++;
}

static void on_retry(uv_timer_t *timer)
{
	attempt_record_waiting(timer->data);
}

void attempt_retry_later(struct sched *sched)
{
	if (!uv_is_active((uv_handle_t *)&sched->retry))
		uv_timer_start(&sched->retry, on_retry, RECORD_RETRY_MS, 0);
}

/* The store's last word on an attempt that is kept; true: nothing more is to be done with it. */
static bool attempt_is_settled(struct attempt *attempt)
{
	if (!attempt->is_kept)
		return false;
	attempt->is_waiting = true; /* for nobody: it is freed now, or once it is in the file */
	if (!list_is_empty(&attempt->in_unrecorded))
		return true;
	attempt->sched->kept_count--;
	attempt_free(attempt);
	return true;
}

void attempt_record_failed(struct attempt *attempt, const struct err *err)
{
	struct sched *sched = attempt->sched;

	if (attempt_is_settled(attempt))
		return;
	if (RULE_IS_OFF(RESULTS_KEPT)) {
		attempt_free(attempt);
		return;
	}
	sched->unrecorded += !attempt->has_failed;
	attempt->is_waiting = attempt->has_failed = true;
	if (uv_is_active((uv_handle_t *)&sched->retry))
		return;
	log_warn("a result cannot be recorded now; trying again", kv_id("run", &attempt->run.id),
		kv_str("error", err->text));
	attempt_retry_later(sched);
}

/* The end of this run may have started others. */
static void start_sequels(struct attempt *attempt, bool has_sequels)
{
	struct sched *sched = attempt->sched;

	for (size_t i = 0; i < attempt->finish.ret_cancel_count; i++)
		sched_cancel_run(sched, &attempt->finish.ret_cancel[i]);
	if (has_sequels) {
		take_want(sched);
		sched_look_again(sched); /* the end may be what a due time counts from */
	}
	if (attempt->run.trigger == TRIGGER_BACKFILL)
		sched_backfill_soon(sched);
}

static void on_recorded(struct store_req *req)
{
	struct attempt *attempt = container_of(req, struct attempt, finish.req);

	if (req->err.code == ERR_STALE) {
		metrics.results_stale++;
		log_warn(
			attempt->has_failed
				? "stale: the result of this run is recorded already, by a try "
				  "whose answer was lost, or the run was taken over or removed"
				: "stale: this run was taken over or removed meanwhile; its result "
				  "is dropped",
			kv_id("run", &attempt->run.id), kv_i64("epoch", attempt->run.epoch));
		start_sequels(attempt, attempt->has_failed); /* that may have come through */
	} else if (req->err.code != 0) {
		attempt_record_failed(attempt, &req->err);
		return;
	} else {
		enum run_state state = attempt->finish.ret_state;

		count_recorded(state, attempt->finish.follow_up.reason);
		log_recorded(attempt, state);
		if (state == RUN_PENDING)
			sched_note_pending(attempt->sched,
				sched_now_ms(attempt->sched) + attempt->finish.follow_up.delay_ms);
		start_sequels(attempt, attempt->finish.ret_has_sequels);
	}
	store_finish_fini(&attempt->finish);
	if (!attempt_is_settled(attempt))
		attempt_free(attempt);
}

/* What was noted last first: afterwards nobody may write it. */
void attempt_record(struct attempt *attempt)
{
	if (attempt_is_settled(attempt))
		return;
	attempt->is_waiting = false;
	if (attempt->is_noting || note_send(attempt))
		return;
	attempt->finish.req = (struct store_req){0};
	store_finish(attempt->sched->opts.store, &attempt->finish, on_recorded);
}

void attempt_record_waiting(struct sched *sched)
{
	list_for_each (node, &sched->attempts) {
		struct attempt *attempt = list_entry(node, struct attempt, node);

		if (attempt->is_waiting && !attempt->is_kept)
			attempt_record(attempt);
		else if (!attempt->has_ended)
			(void)note_send(attempt);
	}
}

static void attempt_end(struct attempt *attempt, struct run_follow_up follow_up)
{
	attempt->sched->recording[attempt->run.action->kind]++;
	attempt->finish = (struct store_finish){
		.run = &attempt->run, .result = &attempt->result, .follow_up = follow_up};
	attempt->has_ended = true;
	attempt->ended_mono_ms = clock_mono_ms();
	attempt_record(attempt);
}

/* --- starting and ending --- */

void sched_put_end(const struct run *run, const struct attempt_result *result,
	struct pg_query *query, void *data)
{
	struct attempt *attempt = data;

	attempt->finish = (struct store_finish){.run = run,
		.result = result,
		.follow_up =
			run_follow_up(run, run->action, result, REASON_HANDED_BACK, arc4random())};
	store_put_finish(attempt->sched->opts.store, &attempt->finish, query);
	attempt->finish.result = NULL; /* it is copied, and goes */
}

int sched_read_end(const struct run *run, const struct pg_query *query, struct err *err, void *data)
{
	struct attempt *attempt = data;

	return store_read_finish(attempt->sched->opts.store, &attempt->finish, query, err);
}

static void on_done(const struct run *run, struct attempt_result *result, void *data)
{
	struct attempt *attempt = data;

	attempt->result = *result;
	*result = (struct attempt_result){0};
	if (attempt->result.is_recorded) {
		store_run_changed(attempt->sched->opts.store, &attempt->run.id);
		attempt->sched->recording[run->action->kind]++;
		on_recorded(&attempt->finish.req);
		return;
	}
	store_finish_fini(&attempt->finish); /* of a COMMIT that failed */
	attempt_end(attempt, run_follow_up(run, run->action, &attempt->result, REASON_HANDED_BACK,
				     arc4random()));
}

/* Won by a claim that was under way when the drain began or our lease ran out: nobody has seen it
 * start. */
static void hand_back_unstarted(struct attempt *attempt)
{
	attempt->result = (struct attempt_result){.outcome = ATTEMPT_INTERRUPTED,
		.exit_code = -1,
		.retry_after_ms = -1,
		.started_at_ms = NO_TIME};
	attempt_end(attempt,
		(struct run_follow_up){.state = RUN_PENDING, .reason = REASON_HANDED_BACK});
}

static void note_lag(struct sched *sched, const struct run *run, int64_t now_ms)
{
	int64_t mono = clock_mono_ms(), lag = now_ms - run->due_at_ms;

	if (run->trigger != TRIGGER_SCHEDULE || run->attempt > 1)
		return;
	if (mono - sched->lag_since_mono_ms > LAG_WINDOW_MS) {
		sched->lag_since_mono_ms = mono;
		sched->max_lag_ms = 0;
	}
	if (lag > sched->max_lag_ms)
		sched->max_lag_ms = lag;
}

void attempt_start(struct sched *sched, struct run *run, int64_t now_ms)
{
	struct attempt *attempt = xcalloc(1, sizeof(*attempt));
	bool is_leased;

	attempt->sched = sched;
	list_init(&attempt->in_unrecorded);
	attempt->run = *run;
	*run = (struct run){0};
	list_push(&sched->attempts, &attempt->node);
	metrics.runs_running = (int64_t)++sched->attempt_count;
	is_leased = lease_begins(sched, attempt);
	if (sched->is_paused || !is_leased) {
		hand_back_unstarted(attempt);
		return;
	}
	note_lag(sched, &attempt->run, now_ms);
	if (!checkpoint_fetch(attempt))
		attempt_begin(attempt);
}

/* Ended before it began. A run that somebody cancelled must not start elsewhere. */
static void end_unstarted(struct attempt *attempt)
{
	if (attempt->end_now != ATTEMPT_CANCELLED) {
		hand_back_unstarted(attempt);
		return;
	}
	attempt->result = (struct attempt_result){.outcome = ATTEMPT_CANCELLED,
		.exit_code = -1,
		.retry_after_ms = -1,
		.started_at_ms = NO_TIME};
	attempt_end(attempt, run_follow_up(&attempt->run, attempt->run.action, &attempt->result,
				     REASON_HANDED_BACK, arc4random()));
}

void attempt_end_early(struct sched *sched, const struct id *run_id, enum attempt_outcome outcome)
{
	if (exec_end(sched->opts.exec, run_id, outcome))
		return;
	list_for_each (node, &sched->attempts) {
		struct attempt *attempt = list_entry(node, struct attempt, node);

		if (id_equal(&attempt->run.id, run_id) && attempt->is_fetching &&
			attempt->end_now != ATTEMPT_CANCELLED)
			attempt->end_now = outcome;
	}
}

/* There was one when it was claimed; a reload may have taken it since. */
static bool has_slot(const struct attempt *attempt)
{
	int slots[ACTION_KIND_COUNT];

	(void)exec_free_slots(attempt->sched->opts.exec, slots);
	return slots[attempt->run.action->kind] > 0;
}

void attempt_begin(struct attempt *attempt)
{
	struct sched *sched = attempt->sched;

	if (sched->is_paused || !lease_is_held(sched) || attempt->end_now != ATTEMPT_SUCCEEDED ||
		!has_slot(attempt)) {
		end_unstarted(attempt);
		return;
	}
	metrics.runs_started++;
	log_debug("start", kv_str("action", attempt->run.action_name),
		kv_id("run", &attempt->run.id), kv_i64("attempt", attempt->run.attempt),
		kv_i64("lag_ms", sched_now_ms(sched) - attempt->run.due_at_ms));
	exec_start(sched->opts.exec, &attempt->run, attempt->run.started_at_ms, on_done, attempt);
}
