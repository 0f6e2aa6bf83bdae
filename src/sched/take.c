/* SPDX-License-Identifier: Apache-2.0
 *
 * take: pending runs (manual, queued, retried, handed back) are started within free capacity. What
 * the kinds share is offered to one after the other, and each take begins with another one; when
 * nothing of the one that was offered all of it is pending, the next is asked at once. */
#include "sched/sched_priv.h"

#include "base/clock.h"

/* May an attempt of any kind start? `room` is what the kinds that take slots have together. */
static bool has_capacity(const int capacity[static ACTION_KIND_COUNT], int room)
{
	for (int kind = 0; kind < ACTION_KIND_COUNT; kind++)
		if (capacity[kind] > 0 && !exec_takes_slot((enum action_kind)kind))
			return true;
	return room > 0;
}

/* There may be more behind what was taken, or of the kind that was offered less; not once all kinds
 * have been offered everything in vain, when empty_takes is back at 0. */
static bool is_more_likely(struct sched *sched, const struct store_take *take)
{
	int capacity[ACTION_KIND_COUNT];
	int room = attempt_capacity(sched, capacity);

	if (take->ret_started_count == 0 && sched->take_was_cut)
		sched->empty_takes = (sched->empty_takes + 1) % ACTION_KIND_COUNT;
	else
		sched->empty_takes = 0;
	return (take->ret_started_count > 0 || sched->empty_takes > 0) &&
	       has_capacity(capacity, room);
}

void take_want(struct sched *sched)
{
	sched->take_wanted = true;
	/* the take under way knows nothing of it, and is not the first of the new round */
	sched->empty_takes = sched->exchange == EXCHANGE_TAKE ? -1 : 0;
}

static void on_taken(struct store_req *req)
{
	struct store_take *take = container_of(req, struct store_take, req);
	struct sched *sched = req->data;

	if (exchange_end(sched, &req->err, "pending runs")) {
		sched_note_pending(sched, take->ret_pending_at_ms);
		for (size_t i = 0; i < take->ret_started_count; i++)
			attempt_start(sched, &take->ret_started[i], take->ret_now_ms);
		if (is_more_likely(sched, take))
			sched->take_wanted = true;
	} else {
		take_want(sched); /* the exchange is over: a new round */
	}
	store_take_fini(take);
	sched_turn(sched);
	drain_check(sched);
}

/* Cuts `capacity` of the kinds that take slots down to `room` in all. */
static void offer(struct sched *sched, int capacity[static ACTION_KIND_COUNT], int room)
{
	sched->take_was_cut = false;
	for (int i = 0; i < ACTION_KIND_COUNT; i++) {
		int kind = (sched->take_first + i) % ACTION_KIND_COUNT;

		if (!exec_takes_slot((enum action_kind)kind))
			continue;
		if (capacity[kind] > room) {
			capacity[kind] = room;
			sched->take_was_cut = true;
		}
		room -= capacity[kind];
	}
	sched->take_first = (sched->take_first + 1) % ACTION_KIND_COUNT;
}

bool take_try(struct sched *sched)
{
	struct store_take take = {.req.data = sched,
		.limits = sched->opts.limits,
		.limit_count = sched->opts.limit_count};
	int room = attempt_capacity(sched, take.capacity);

	if (sched->pending_at_ms != NO_TIME && sched->pending_at_ms <= sched_now_ms(sched)) {
		take_want(sched);
		sched->pending_at_ms = NO_TIME; /* else the timer would fire until there is room */
	}
	if (!sched->take_wanted || !has_capacity(take.capacity, room))
		return false;
	sched->take_wanted = false;
	sched->has_pending = true;
	offer(sched, take.capacity, room);
	exchange_begin(sched, EXCHANGE_TAKE);
	sched->take = take;
	store_take(sched->opts.store, &sched->take, on_taken);
	return true;
}
