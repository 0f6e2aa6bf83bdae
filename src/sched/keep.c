/* SPDX-License-Identifier: Apache-2.0
 *
 * The two duties of the scheduler itself: the ledger is kept within its limits, and who expected a
 * success in vain is told. One instance has each of them at a time (duty.c).
 *
 * Retention is a walk over all actions in small steps with a pause after each, so that those who
 * claim and finish meanwhile wait for a step at most; a walk begins every retain_every_ms. One that
 * is cut by a drain, an error or the loss of the duty is gone on with, or begun again by another:
 * no step depends on the one before.
 *
 * Deadlines are looked for when the next one passes, and when an action was changed: it may have a
 * new one. */
#include "sched/sched_priv.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"

#define RETAIN_ACTIONS  500  /* looked at in one step */
#define RETAIN_ROWS     500  /* removed in one step */
#define RETAIN_PAUSE_MS 50   /* after a step */
#define LAPSE_LIMIT     100  /* told in one transaction */
#define LAPSE_AGAIN_MS  5000 /* after an error */
#define LAPSE_LEAST_MS  20   /* between two looks */

/* --- retention --- */

static void walk_ended(struct sched *sched)
{
	if (sched->walk_removed > 0)
		log_info("runs were removed from the ledger by its retention",
			kv_i64("runs", sched->walk_removed));
	sched->walk_removed = 0;
	sched->retain.after = (struct id){0};
	metrics.retention_walks++;
	metrics.retention_done_at = clock_wall_ms();
}

static void on_retained(struct store_req *req)
{
	struct sched *sched = req->data;

	if (req->err.code < 0) {
		log_warn("the ledger could not be kept within its limits; trying again",
			kv_str("error", req->err.text));
		sched_duty_done(&sched->retain_duty, NO_TIME);
		return;
	}
	metrics.retention_removed += (uint64_t)sched->retain.ret_removed;
	metrics.retention_outputs += (uint64_t)sched->retain.ret_outputs;
	sched->walk_removed += sched->retain.ret_removed;
	sched->retain.after = sched->retain.ret_after;
	if (sched->retain.ret_is_done)
		walk_ended(sched);
	sched_duty_done(&sched->retain_duty, sched->retain.ret_is_done ? NO_TIME : RETAIN_PAUSE_MS);
}

static void retain_work(struct sched_duty *duty)
{
	struct sched *sched = duty->data;

	sched->retain.req.data = sched;
	store_retain(sched->opts.store, &sched->retain, on_retained);
}

/* --- deadlines --- */

/* A success of one that is late gives it a new deadline, and that is nothing we would hear of. */
static int64_t next_look_ms(const struct sched *sched, const struct store_lapse *lapse)
{
	int64_t rest_ms = duty_rest_ms(sched), renew_ms = lapse->ret_renew_ms, wait_ms;

	if (renew_ms != NO_TIME && renew_ms < LAPSE_AGAIN_MS)
		renew_ms = LAPSE_AGAIN_MS;
	if (renew_ms != NO_TIME && renew_ms < rest_ms)
		rest_ms = renew_ms;
	if (lapse->ret_next_ms == NO_TIME)
		return rest_ms;
	wait_ms = lapse->ret_next_ms - lapse->ret_now_ms;
	if (wait_ms < LAPSE_LEAST_MS)
		return LAPSE_LEAST_MS;
	return wait_ms < rest_ms ? wait_ms : rest_ms;
}

static void on_lapsed(struct store_req *req)
{
	struct sched *sched = req->data;
	struct store_lapse *lapse = &sched->lapse;

	if (req->err.code < 0) {
		log_warn("deadlines could not be looked at; trying again",
			kv_str("error", req->err.text));
		sched_run_pending(sched); /* it may have come through */
		sched_duty_done(&sched->lapse_duty, NO_TIME);
		return;
	}
	metrics.actions_late += (uint64_t)lapse->ret_count;
	for (size_t i = 0; i < lapse->ret_cancel_count; i++)
		sched_cancel_run(sched, &lapse->ret_cancel[i]);
	if (lapse->ret_count > 0) {
		log_warn("no run has succeeded in time", kv_i64("actions", lapse->ret_count));
		sched_run_pending(sched);
	}
	store_lapse_fini(lapse);
	sched_duty_done(&sched->lapse_duty, next_look_ms(sched, lapse));
}

static void lapse_work(struct sched_duty *duty)
{
	struct sched *sched = duty->data;

	sched->lapse = (struct store_lapse){.limit = LAPSE_LIMIT};
	sched->lapse.req.data = sched;
	store_lapse(sched->opts.store, &sched->lapse, on_lapsed);
}

void keep_start(struct sched *sched)
{
	const struct sched_opts *opts = &sched->opts;

	if (opts->retain_every_ms == 0)
		return;
	sched->retain = (struct store_retain){.actions_max = RETAIN_ACTIONS,
		.limit = RETAIN_ROWS,
		.server = opts->retention,
		.output_bytes = opts->retain_output_bytes};
	sched->retain_duty = (struct sched_duty){.duty = STORE_DUTY_RETENTION,
		.period_ms = opts->retain_every_ms,
		.work = retain_work,
		.data = sched};
	sched->lapse_duty = (struct sched_duty){.duty = STORE_DUTY_ALERTS,
		.period_ms = LAPSE_AGAIN_MS,
		.minds_actions = true,
		.work = lapse_work,
		.data = sched};
	sched_duty_add(sched, &sched->retain_duty);
	sched_duty_add(sched, &sched->lapse_duty);
}
