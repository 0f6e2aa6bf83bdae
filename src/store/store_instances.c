/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs on instances, loop side, and their answers for a backend that serves one instance only.
 */
#include <stdlib.h>
#include <unistd.h>

#include "store/store_priv.h"

const char *const store_instance_state_names[] = {"starting", "ready", "draining", NULL};

/* The last byte of a UUID is random in all versions that we meet. */
int store_shard_of(const struct id *action_id)
{
	return action_id->bytes[ID_BYTES - 1] % STORE_SHARDS;
}

/* --- heartbeat --- */

/* Asks for one run, inside the transaction of the heartbeat. */
static int look_after(const struct sync_verbs *verbs, void *db, struct store_heartbeat *req,
	const struct store_lease *lease, int64_t now_ms)
{
	struct store_get_run get = {.req = {.store = req->req.store}, .id = lease->run_id};
	const struct run *run = &get.ret_run;
	int status = verbs->get_run(db, &get, now_ms);

	if (status < 0 && status != ERR_NOT_FOUND) {
		req->req.err = get.req.err;
		return status;
	}
	if (status < 0 || run->state != RUN_RUNNING || run->epoch != lease->epoch)
		ids_add(&req->ret_lost, &req->ret_lost_count, &lease->run_id);
	else if (run->cancel_requested)
		ids_add(&req->ret_cancel, &req->ret_cancel_count, &lease->run_id);
	else if (run_is_pausing(run))
		ids_add(&req->ret_pause, &req->ret_pause_count, &lease->run_id);
	store_get_run_fini(&get);
	return 0;
}

static int heartbeat_run(
	const struct sync_verbs *verbs, void *db, struct store_req *base, int64_t now_ms)
{
	struct store_heartbeat *req = container_of(base, struct store_heartbeat, req);

	if (verbs->heartbeat)
		return verbs->heartbeat(db, req, now_ms);
	for (size_t i = 0; i < req->count; i++)
		if (look_after(verbs, db, req, &req->leases[i], now_ms) < 0)
			return base->err.code;
	req->ret_now_ms = now_ms;
	req->ret_instances = 1;
	req->ret_is_first = true;
	req->ret_lease_end_ms = NO_TIME;
	req->ret_lease_until_ms = add_ms(now_ms, base->store->lease_ms);
	return 0;
}

static void heartbeat_prepare(struct store_req *base)
{
	container_of(base, struct store_heartbeat, req)->ret_lease_end_ms = NO_TIME;
}

STORE_VERB_FREES(heartbeat)
/* It writes, also where it only reads: the state of the runs as of now, not of a snapshot. */
STORE_VERB(heartbeat, .lane = LANE_WRITE, OUTPUTS(heartbeat, ret_now_ms),
	.prepare = heartbeat_prepare, .fini = heartbeat_release)

void store_heartbeat_fini(struct store_heartbeat *req)
{
	free(take_ptr(req->ret_lost));
	free(take_ptr(req->ret_cancel));
	free(take_ptr(req->ret_pause));
	req->ret_lost_count = req->ret_cancel_count = req->ret_pause_count = 0;
}

/* --- list --- */

static int count_running(
	const struct sync_verbs *verbs, void *db, struct store_list_instances *req, int64_t now_ms)
{
	struct store_stats stats = {.req = {.store = req->req.store}};

	if (verbs->stats(db, &stats, now_ms) < 0) {
		req->req.err = stats.req.err;
		return stats.req.err.code;
	}
	req->ret_instances[0].running = stats.ret_runs_running;
	return 0;
}

static int list_instances_run(
	const struct sync_verbs *verbs, void *db, struct store_req *base, int64_t now_ms)
{
	struct store_list_instances *req = container_of(base, struct store_list_instances, req);
	char host[256] = "";

	if (verbs->list_instances)
		return verbs->list_instances(db, req, now_ms);
	(void)gethostname(host, sizeof(host) - 1);
	req->ret_now_ms = now_ms;
	req->ret_instances = xcalloc(1, sizeof(*req->ret_instances));
	req->ret_instances[0] = (struct store_instance){.id = base->store->instance_id,
		.host = xstrdup(host),
		.version = xstrdup(GATHERING_VERSION),
		.pid = (int)getpid(),
		.state = INSTANCE_READY,
		.started_at_ms = base->store->opened_at_ms,
		.heartbeat_at_ms = now_ms};
	req->ret_count = 1;
	return count_running(verbs, db, req, now_ms);
}

STORE_VERB_FREES(list_instances)
STORE_VERB(list_instances, .lane = LANE_READ, OUTPUTS(list_instances, ret_now_ms),
	.fini = list_instances_release)

void store_list_instances_fini(struct store_list_instances *req)
{
	for (size_t i = 0; i < req->ret_count; i++) {
		free(req->ret_instances[i].host);
		free(req->ret_instances[i].version);
	}
	free(take_ptr(req->ret_instances));
	req->ret_count = 0;
}

/* --- wish --- */

static int wish_run(
	const struct sync_verbs *verbs, void *db, struct store_req *base, int64_t now_ms)
{
	if (verbs->wish)
		return verbs->wish(db, container_of(base, struct store_wish, req), now_ms);
	return err_no_instance(&base->err);
}

STORE_VERB(wish, .lane = LANE_WRITE)

/* --- reap --- */

static int reap_run(
	const struct sync_verbs *verbs, void *db, struct store_req *base, int64_t now_ms)
{
	if (verbs->reap)
		return verbs->reap(db, container_of(base, struct store_reap, req), now_ms);
	return 0;
}

STORE_VERB_FREES(reap)
STORE_VERB(reap, .lane = LANE_WRITE, OUTPUTS(reap, ret_dead), .fini = reap_release)

void store_reap_fini(struct store_reap *req)
{
	free(take_ptr(req->ret_dead));
	req->ret_dead_count = 0;
}

/* --- coordination --- */

static bool held_equal(const struct store_held *a, const struct store_held *b)
{
	return a->shards == b->shards && a->duties == b->duties && a->members == b->members &&
	       a->is_listening == b->is_listening && a->is_exposed == b->is_exposed &&
	       a->is_pooled == b->is_pooled;
}

void store_set_held(struct store *store, const struct store_held *held)
{
	bool is_deaf;

	if (held_equal(&store->held, held))
		return;
	is_deaf = store->held.is_listening != held->is_listening;
	store->held = *held;
	if (is_deaf && store->listener.data)
		store->listener.on_missed(store->listener.data);
	if (store->watcher.on_held)
		store->watcher.on_held(held, store->watcher.data);
}

void store_watch(struct store *store, const struct store_watcher *watcher)
{
	must(store->is_opened && !store->watcher.on_held);
	store->watcher = *watcher;
	if (store->backend->watch)
		store->backend->watch(store);
}

void store_unwatch(struct store *store)
{
	store->watcher = (struct store_watcher){0};
}

void store_want_work(struct store *store, bool wants_work)
{
	if (store->wants_work == wants_work)
		return;
	store->wants_work = wants_work;
	if (store->backend->want_work)
		store->backend->want_work(store);
}

const struct store_held *store_held(const struct store *store)
{
	return &store->held;
}
