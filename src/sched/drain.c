/* SPDX-License-Identifier: Apache-2.0
 *
 * How the scheduler becomes quiet: it claims nothing more (pause), waits for what runs (drain),
 * ends it when there is no more time (finish_within, hurry), and says when each is done
 * (drain_check, which everybody calls who has ended something). doc/design/shutdown.md tells when.
 */
#include "sched/sched_priv.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"

#define GIVE_UP_LOOK_MS 100
#define HURRY_GRACE_MS  1000
#define HURRY_RECORD_MS 2000 /* from the hurry on; the KILL and the way to the store included */

/* --- pause --- */

void sched_pause(struct sched *sched)
{
	if (!sched->is_paused)
		exec_drop_connections(sched->opts.exec);
	sched->is_paused = true;
	uv_timer_stop(&sched->poll);
	wake_timer_set(sched->wake, NO_TIME);
	duty_turn(sched);
	store_want_work(sched->opts.store, false);
	lease_beat_soon(sched); /* the others see at once what we are */
}

void sched_resume(struct sched *sched)
{
	if (!sched->is_paused)
		return;
	sched->is_paused = sched->is_backing_off = false; /* pausing has stopped the poll timer */
	sched->look_wanted = true;
	take_want(sched);
	duty_turn(sched);
	store_want_work(sched->opts.store, true);
	lease_beat_soon(sched);
	sched_turn(sched);
}

/* --- the end of what runs --- */

/* Whoever asks what the stop has interrupted finds it by name. */
static void note_cut_runs(struct sched *sched)
{
	list_for_each (node, &sched->attempts) {
		struct attempt *attempt = list_entry(node, struct attempt, node);

		if (attempt->has_ended || attempt->is_fetching)
			continue;
		metrics.runs_cut++;
		if (sched->cut_count == SCHED_CUT_RUNS_MAX)
			continue;
		sched->cut_runs[sched->cut_count++] = attempt->run.id;
		log_warn("run cut", kv_str("action", attempt->run.action_name),
			kv_id("run", &attempt->run.id), kv_i64("attempt", attempt->run.attempt));
	}
}

static void end_attempts(struct sched *sched)
{
	size_t ended;

	if (!sched->was_cut)
		note_cut_runs(sched);
	ended = exec_end_all(sched->opts.exec, ATTEMPT_INTERRUPTED);
	if (ended == 0)
		return;
	sched->was_cut = true;
	log_warn("ending runs to hand them back", kv_i64("runs", (int64_t)ended));
}

static void on_run_max(uv_timer_t *timer)
{
	end_attempts(timer->data);
}

static void on_give_up(uv_timer_t *timer)
{
	attempt_keep_late(timer->data);
}

/* From now on nothing waits for the store for ever. */
static void begin_stopping(struct sched *sched)
{
	if (sched->is_stopping)
		return;
	sched->is_stopping = true;
	sched->stopping_mono_ms = clock_mono_ms();
	uv_timer_start(&sched->give_up, on_give_up, GIVE_UP_LOOK_MS, GIVE_UP_LOOK_MS);
}

/* The limit is armed once; after a hurry its timer counts down to the KILL. */
void sched_finish_within(struct sched *sched, int64_t run_max_ms)
{
	begin_stopping(sched);
	if (uv_is_active((uv_handle_t *)&sched->run_max))
		return;
	uv_timer_start(&sched->run_max, on_run_max, (uint64_t)run_max_ms, 0);
	exec_finish_by(sched->opts.exec, sched_now_ms(sched) + run_max_ms);
}

/* --- drain --- */

void drain_check(struct sched *sched)
{
	if (sched->exchange != EXCHANGE_NONE)
		return;
	if (sched->is_destroyed && !sched->runs_drained)
		return; /* its handles are being closed */
	if (sched->claims_drained)
		take_ptr(sched->claims_drained)(sched->drain_data);
	if (sched->is_destroyed &&
		(sched->is_beating || sched->is_reaping || sched->duties_working > 0 ||
			sched->fetches > 0 || boot_is_busy(sched->boot)))
		return;
	if (unrecorded_is_busy(sched->file) || (sched->is_destroyed && sched->attempt_count > 0))
		return;
	if (sched->attempt_count == sched->kept_count && sched->runs_drained)
		take_ptr(sched->runs_drained)(sched->drain_data);
}

void sched_drain(
	struct sched *sched, sched_done_fn *claims_drained, sched_done_fn *runs_drained, void *data)
{
	sched_pause(sched);
	sched->claims_drained = claims_drained;
	sched->runs_drained = runs_drained;
	sched->drain_data = data;
	drain_check(sched);
}

static void on_hurry_grace(uv_timer_t *timer)
{
	struct sched *sched = timer->data;

	exec_kill_all(sched->opts.exec);
}

void sched_hurry(struct sched *sched)
{
	begin_stopping(sched);
	if (sched->record_until_mono_ms == NO_TIME)
		sched->record_until_mono_ms = clock_mono_ms() + HURRY_RECORD_MS;
	end_attempts(sched);
	uv_timer_start(&sched->run_max, on_hurry_grace, sched->hurries ? 0 : HURRY_GRACE_MS, 0);
	sched->hurries++;
}

bool sched_was_cut(const struct sched *sched)
{
	return sched->was_cut;
}

size_t sched_cut_runs(const struct sched *sched, struct id ret_ids[static SCHED_CUT_RUNS_MAX])
{
	memcpy(ret_ids, sched->cut_runs, sched->cut_count * sizeof(*ret_ids));
	return sched->cut_count;
}
