/* SPDX-License-Identifier: Apache-2.0
 *
 * look: what is due within the next minute or so goes into the window. The store is the truth; a
 * stale entry costs a lost claim, nothing more. */
#include "sched/sched_priv.h"

#include "base/clock.h"
#include "base/log.h"

/* The window is complete up to its last entry when the look was cut, else to the horizon. */
static void note_coverage(struct sched *sched, const struct store_look *look)
{
	sched->window_is_cut = look->ret_has_more;
	sched->covered_until_ms = look->ret_has_more && look->ret_count > 0
					  ? look->ret_actions[look->ret_count - 1]->next_due_ms
					  : look->ret_now_ms + look->horizon_ms;
}

/* Only adds to what is known: the answer may be older than a retry noted meanwhile, and it does not
 * tell of runs that wait for one that is running here. */
static void note_pending_runs(struct sched *sched, int64_t at_ms)
{
	if (at_ms == NO_TIME && sched->pending_at_ms == NO_TIME && sched->attempt_count == 0)
		sched->has_pending = false;
	sched_note_pending(sched, at_ms);
}

static void on_looked(struct store_req *req)
{
	struct store_look *look = container_of(req, struct store_look, req);
	struct sched *sched = req->data;

	if (exchange_end(sched, &req->err, "look")) {
		sched_note_clock(sched, look->ret_now_ms);
		for (size_t i = 0; i < look->ret_count; i++)
			window_put(sched->window, look->ret_actions[i],
				look->ret_actions[i]->next_due_ms);
		note_coverage(sched, look);
		note_pending_runs(sched, look->ret_pending_at_ms);
		sched_arm_poll(sched);
		if (look->ret_unreadable > 0)
			log_error("actions cannot be read and are not scheduled; replace or delete "
				  "them",
				kv_i64("actions", (int64_t)look->ret_unreadable),
				kv_str("first", look->ret_unreadable_err.text));
		if (sched->started) {
			boot_begin(sched->boot);
			take_ptr(sched->started)(sched->started_data);
		}
	}
	store_look_fini(look);
	sched_turn(sched);
	drain_check(sched);
}

/* Time has run past what the window covers; and if it was cut, it has room again or holds nothing
 * of that any more. */
static bool is_uncovered(const struct sched *sched)
{
	size_t half = (size_t)sched->opts.window_max / 2;

	return sched_now_ms(sched) >= sched->covered_until_ms &&
	       (!sched->window_is_cut || window_count(sched->window) < half ||
		       window_head(sched->window) > sched->covered_until_ms);
}

bool look_try(struct sched *sched)
{
	if (!sched->look_wanted && !is_uncovered(sched))
		return false;
	sched->look_wanted = false;
	exchange_begin(sched, EXCHANGE_LOOK);
	sched->look = (struct store_look){.req.data = sched,
		.horizon_ms = sched->opts.window_ms,
		.shards = sched->shards == ALL_SHARDS ? 0 : sched->shards,
		.limit = sched->opts.window_max};
	store_look(sched->opts.store, &sched->look, on_looked);
	return true;
}
