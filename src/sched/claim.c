/* SPDX-License-Identifier: Apache-2.0
 *
 * claim: everything that is due when the store is free goes into one transaction: the cursor past
 * the due times, and their ledger rows. What is won starts at once. What is lost was moved by
 * somebody else; the next look tells. */
#include "sched/sched_priv.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"

/* After a long outage one action can have a thousand due times to record; a transaction stays
 * bounded. */
#define CLAIM_ROWS_MAX 5000

/* Higher priority first, then the older due time: so capacity is given out. */
static int compare_items(const void *left, const void *right)
{
	const struct claim_item *a = left, *b = right;

	if (a->action->priority != b->action->priority)
		return a->action->priority > b->action->priority ? -1 : 1;
	return (a->expected_ms > b->expected_ms) - (a->expected_ms < b->expected_ms);
}

/* Whether its runs can only be started where what runs is counted. */
static bool is_limited(const struct sched *sched, const struct action *action)
{
	for (size_t i = 0; i < sched->opts.limit_count; i++)
		if (run_limit_applies(&sched->opts.limits[i], action))
			return true;
	return action->max_concurrent > 0;
}

/* Plans what is due into sched->claim_items; returns how many. */
static size_t gather(struct sched *sched, int64_t now_ms)
{
	size_t count = 0, rows = 0;
	struct action *action;
	int64_t due;

	while (count < (size_t)sched->opts.claim_max && rows < CLAIM_ROWS_MAX &&
		(action = window_pop(sched->window, now_ms, &due))) {
		struct claim_item *item = &sched->claim_items[count];
		struct planned_due *dues;

		if (!sched_owns(sched, &action->id) && now_ms - due < STORE_OVERDUE_MS) {
			action_unref(action);
			continue;
		}
		count++;
		*item = (struct claim_item){.action = action,
			.expected_ms = due,
			.is_queued = is_limited(sched, action)};
		item->due_count = misfire_plan(
			action->schedule, &action->misfire, due, now_ms, &dues, &item->next_due_ms);
		item->dues = dues;
		rows += item->due_count;
	}
	qsort(sched->claim_items, count, sizeof(*sched->claim_items), compare_items);
	return count;
}

/* Where the action stands in the window from now on. */
static void settle(struct sched *sched, const struct claim_item *item, bool was_answered)
{
	struct schedule_pace pace;
	bool was_early = was_answered && item->expected_ms > sched->claim.ret_now_ms;

	if (item->ret_won) {
		metrics.due_claimed += (int64_t)item->due_count;
		sched_put(sched, item->action, item->next_due_ms);
		/* the store may have set another: no run was made, or the last one */
		sched->look_wanted |= schedule_pace(item->action->schedule, &pace);
	} else if (!was_answered || was_early) {
		window_put(sched->window, item->action, item->expected_ms);
	} else {
		metrics.claims_lost++;
		news_look_soon(sched); /* moved by somebody, or only locked just now */
	}
	free((void *)item->dues);
	action_unref(item->action);
}

static void start_won(struct sched *sched, struct store_claim *claim)
{
	for (size_t i = 0; i < claim->ret_started_count; i++)
		attempt_start(sched, &claim->ret_started[i], claim->ret_now_ms);
	for (size_t i = 0; i < claim->ret_cancel_count; i++)
		sched_cancel_run(sched, &claim->ret_cancel[i]);
	metrics.due_skipped += (int64_t)claim->ret_skipped;
	if (claim->ret_queued > 0) {
		sched->has_pending = true;
		take_want(sched);
	}
}

static void on_claimed(struct store_req *req)
{
	struct store_claim *claim = container_of(req, struct store_claim, req);
	struct sched *sched = req->data;
	bool is_answered = exchange_end(sched, &req->err, "claim");

	if (is_answered) {
		sched->last_claim_mono_ms = clock_mono_ms();
		sched_note_clock(sched, claim->ret_now_ms);
		start_won(sched, claim);
	}
	for (size_t i = 0; i < claim->count; i++)
		settle(sched, &claim->items[i], is_answered);
	log_debug("claimed", kv_i64("actions", (int64_t)claim->count),
		kv_i64("started", (int64_t)claim->ret_started_count),
		kv_i64("queued", (int64_t)claim->ret_queued),
		kv_i64("skipped", (int64_t)claim->ret_skipped));
	store_claim_fini(claim);
	sched_turn(sched);
	drain_check(sched);
}

/* The kinds share the common limit: in the order of the items, as far as it goes. */
static void allot_capacity(const struct sched *sched, struct store_claim *claim)
{
	int capacity[ACTION_KIND_COUNT];
	int room = attempt_capacity(sched, capacity);

	for (size_t i = 0; i < claim->count; i++) {
		const struct claim_item *item = &claim->items[i];
		enum action_kind kind = item->action->kind;

		for (size_t k = 0; k < item->due_count; k++) {
			bool takes_slot = exec_takes_slot(kind);

			if (item->dues[k].verdict != DUE_RUN || capacity[kind] == 0 ||
				(takes_slot && room == 0))
				continue;
			claim->capacity[kind]++;
			capacity[kind]--;
			room -= takes_slot;
		}
	}
}

bool claim_try(struct sched *sched)
{
	struct store_claim claim = {.req.data = sched, .items = sched->claim_items};

	claim.count = gather(sched, sched_now_ms(sched));
	if (claim.count == 0)
		return false;
	allot_capacity(sched, &claim);
	exchange_begin(sched, EXCHANGE_CLAIM);
	sched->claim = claim;
	store_claim(sched->opts.store, &sched->claim, on_claimed);
	return true;
}
