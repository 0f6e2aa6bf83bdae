/* SPDX-License-Identifier: Apache-2.0
 *
 * take: pending runs (manual, queued, retried, handed back) are started within free capacity. */
#include "sched/sched_priv.h"

#include "base/clock.h"

static void on_taken(struct store_req *req)
{
	struct store_take *take = container_of(req, struct store_take, req);
	struct sched *sched = req->data;
	int capacity[ACTION_KIND_COUNT];

	if (exchange_end(sched, &req->err, "pending runs")) {
		sched->pending_at_ms = take->ret_pending_at_ms;
		for (size_t i = 0; i < take->ret_started_count; i++)
			attempt_start(sched, &take->ret_started[i], take->ret_now_ms);
		if (take->ret_started_count > 0 && attempt_capacity(sched, capacity))
			sched->take_wanted = true; /* there may be more behind what was taken */
	} else {
		sched->take_wanted = true;
	}
	store_take_fini(take);
	sched_turn(sched);
	drain_check(sched);
}

bool take_try(struct sched *sched)
{
	struct store_take take = {.req.data = sched};

	if (sched->pending_at_ms != NO_TIME && sched->pending_at_ms <= sched_now_ms(sched)) {
		sched->take_wanted = true;
		sched->pending_at_ms = NO_TIME; /* else the timer would fire until there is room */
	}
	if (!sched->take_wanted || !attempt_capacity(sched, take.capacity))
		return false;
	sched->take_wanted = false;
	sched->has_pending = true;
	exchange_begin(sched, EXCHANGE_TAKE);
	sched->take = take;
	store_take(sched->opts.store, &sched->take, on_taken);
	return true;
}
