/* SPDX-License-Identifier: Apache-2.0
 *
 * What reaches us from the other instances (store_watch): which shards are ours to look after, what
 * somebody else has written, who has died. All of it hints: the safety poll and the heartbeat find
 * the same, later. */
#include "sched/sched_priv.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/prove.h"

/* Looks on hints are this far apart: a look reads all that is due soon. */
#define LOOK_GAP_MS 250

bool sched_owns(const struct sched *sched, const struct id *action_id)
{
	uint64_t shards = sched->shards;

	return shards == 0 || ((shards >> store_shard_of(action_id)) & 1) != 0;
}

int64_t sched_poll_ms(const struct sched *sched)
{
	bool is_deaf =
		store_is_shared(sched->opts.store) && !store_held(sched->opts.store)->is_listening;

	return is_deaf ? sched->opts.deaf_poll_ms : sched->opts.poll_ms;
}

/* --- what we hold --- */

static void tell_people(const struct sched *sched, const struct store_held *held)
{
	if (sched->is_listening != held->is_listening && held->is_listening)
		log_info("sharing the work with the other instances");
	else if (sched->is_listening != held->is_listening)
		log_warn("out of touch with the other instances; looking after all actions");
	log_debug("what we hold", kv_i64("members", held->members),
		kv_i64("shards", __builtin_popcountll(held->shards)),
		kv_i64("duties", __builtin_popcount(held->duties)));
}

/* What is no longer ours leaves the window when it comes up. */
static void on_held(const struct store_held *held, void *data)
{
	struct sched *sched = data;
	uint64_t gained = held->shards & ~sched->shards;

	tell_people(sched, held);
	sched->is_listening = held->is_listening;
	sched->shards = held->shards;
	metrics.shards_owned = __builtin_popcountll(held->shards);
	lease_exposed(sched, held->is_exposed);
	if (gained != 0 && !sched->started && !sched->is_destroyed) {
		sched->look_wanted = true;
		sched_turn(sched);
	}
}

/* --- what others have written --- */

struct fetch {
	struct store_get_action get;
	struct sched *sched;
	struct id id;
};

static void on_fetched(struct store_req *req)
{
	struct fetch *fetch = container_of(req, struct fetch, get.req);
	struct sched *sched = fetch->sched;

	sched->fetches--;
	if (req->err.code == 0)
		sched_action_changed(sched, fetch->get.ret_action);
	else if (req->err.code == ERR_NOT_FOUND)
		sched_action_gone(sched, &fetch->id);
	else
		news_look_soon(sched);
	store_get_action_fini(&fetch->get);
	free(fetch);
	drain_check(sched);
}

static void fetch(struct sched *sched, const struct id *action_id)
{
	struct fetch *fetch = xcalloc(1, sizeof(*fetch));

	fetch->sched = sched;
	fetch->id = *action_id;
	fetch->get.id = fetch->id;
	sched->fetches++;
	store_get_action(sched->opts.store, &fetch->get, on_fetched);
}

static void on_look_gap(uv_timer_t *timer)
{
	struct sched *sched = timer->data;

	sched->look_wanted = true;
	sched_turn(sched);
}

void news_look_soon(struct sched *sched)
{
	if (!sched->is_destroyed && !uv_is_active((uv_handle_t *)&sched->look_gap))
		uv_timer_start(&sched->look_gap, on_look_gap, LOOK_GAP_MS, 0);
}

static void on_action(const struct id *action_id, void *data)
{
	struct sched *sched = data;

	if (sched->is_paused || sched->is_destroyed || RULE_IS_OFF(CHANGES_HEARD))
		return;
	duties_hint(sched);
	if (action_id && sched_owns(sched, action_id))
		fetch(sched, action_id);
	else if (!action_id)
		news_look_soon(sched);
}

static void on_pending(void *data)
{
	sched_run_pending(data);
}

static void on_cancel(const struct id *run_id, void *data)
{
	if (!RULE_IS_OFF(CHANGES_HEARD))
		sched_cancel_run(data, run_id);
}

static void on_pause(const struct id *run_id, void *data)
{
	sched_pause_run(data, run_id);
}

static void on_wish(void *data)
{
	lease_beat_soon(data);
}

static void on_dead(const struct id *ids, size_t count, void *data)
{
	struct sched *sched = data;

	for (size_t i = 0; i < count; i++)
		log_warn("an instance has died", kv_id("instance", &ids[i]));
	lease_recover(sched);
}

void news_begin(struct sched *sched)
{
	const struct store_held *held = store_held(sched->opts.store);
	struct store_watcher watcher = {.on_held = on_held,
		.on_action = on_action,
		.on_pending = on_pending,
		.on_cancel = on_cancel,
		.on_pause = on_pause,
		.on_wish = on_wish,
		.on_dead = on_dead,
		.data = sched};

	if (held->is_pooled)
		log_warn("a transaction pooler is between us and PostgreSQL: no session locks, no "
			 "LISTEN and no prepared statements, so life shows by heartbeats, work is "
			 "found by polling, and every instance looks after all actions");
	sched->shards = held->shards;
	metrics.shards_owned = __builtin_popcountll(held->shards);
	store_watch(sched->opts.store, &watcher);
	live_begin(sched);
}
