/* SPDX-License-Identifier: Apache-2.0
 *
 * The store in PostgreSQL: its life. Opening takes its time (a server that is not up yet, another
 * instance that migrates), so it is asynchronous: requests that come before wait. Closing lets what
 * is under way end, takes this instance out of the table, and closes the pools.
 *
 *   opening -> open -> closing          opening -> failed -> closing
 *
 * Four pools, because they fail and wait for different reasons: reads share one Sync a turn; writes
 * of people may wait for locks, and a long delete must not stand in front of a finish; claims and
 * finishes have a connection each to themselves. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/pg_store_priv.h"

#define START_MAX_MS     60000  /* to be open */
#define CHECK_MS         300000 /* an idle connection; the heartbeat notices sooner */
#define BACKOFF_MAX_MS   500    /* half a second after it is back, so are we */
#define WAIT_MS          3000   /* for a connection, when the database is away */
#define ENROL_TIMEOUT_MS 5000
#define LEAVE_TIMEOUT_MS 1000
#define CLOSE_GRACE_MS   3000

#define BY_OPTION        (-1)
#define POOL_MAX_DEFAULT 2

static const struct {
	const char *name;
	enum pg_sync sync;
	int min, max; /* BY_OPTION: as the options say */
} places[PG_PLACE_COUNT] = {
	[PG_READS] = {"gathering reads", PG_SYNC_TURN, BY_OPTION, BY_OPTION},
	[PG_WRITES] = {"gathering writes", PG_SYNC_EACH, 0, BY_OPTION},
	[PG_CLAIMS] = {"gathering claims", PG_SYNC_EACH, 1, 1},
	[PG_FINISHES] = {"gathering finishes", PG_SYNC_EACH, 1, 1},
};

/* --- requests --- */

static const struct sync_verbs pg_verbs = {
#define X(verb) .verb = pg_##verb,
	STORE_VERBS(X)
#undef X
		.list_orphans = pg_list_orphans,
	.heartbeat = pg_heartbeat,
	.list_instances = pg_list_instances,
	.reap = pg_reap,
	.wish = pg_wish,
	.put_live = pg_put_live,
};

static void pg_submit(struct store *store, struct store_req *req)
{
	struct pg_store *pg = store->impl;

	list_push(&pg->waiting, &req->queue_node);
}

static void dispatch(struct pg_store *pg, struct store_req *req)
{
	if (req->scratch->is_decided)
		(void)pg_move_orphans(pg, req);
	else
		(void)req->verb->run(&pg_verbs, pg, req, 0);
}

static void fail_waiting(struct pg_store *pg, struct list *waiting, const struct err *err)
{
	for (struct list *node; (node = list_pop(waiting)) != NULL;) {
		struct store_req *req = list_entry(node, struct store_req, queue_node);

		req->err = *err;
		store_req_finish_late(req);
	}
}

static void cancel_waiting(struct pg_store *pg)
{
	struct err err = {0};

	(void)err_set(&err, ERR_CANCELLED, "the store is closing");
	fail_waiting(pg, &pg->waiting, &err);
	fail_waiting(pg, &pg->finishes, &err);
}

static void pg_flush(struct store *store)
{
	struct pg_store *pg = store->impl;
	struct list batch;

	switch (pg->state) {
	case PG_STORE_OPENING:
		return;
	case PG_STORE_FAILED:
		fail_waiting(pg, &pg->waiting, &pg->open_err);
		return;
	case PG_STORE_CLOSING:
		cancel_waiting(pg);
		pg_store_step(pg);
		return;
	case PG_STORE_OPEN:
		break;
	}
	list_init(&batch);
	list_splice(&batch, &pg->waiting);
	for (struct list *node; (node = list_pop(&batch)) != NULL;)
		dispatch(pg, list_entry(node, struct store_req, queue_node));
	pg_finish_flush(pg);
}

/* --- opening --- */

static void open_failed(struct pg_store *pg, const struct err *err)
{
	pg->state = PG_STORE_FAILED;
	pg->open_err = *err;
	store_opened(pg->store, err);
	store_turn_later(pg->store);
}

static void on_enrolled(struct pg_query *query)
{
	struct pg_store *pg = query->data;
	struct err err = query->err;

	pg_query_fini(query);
	if (pg->state != PG_STORE_OPENING) {
		pg->calls--;
		pg_store_step(pg);
		return;
	}
	pg->calls--;
	if (err.code < 0) {
		open_failed(pg, &err);
		return;
	}
	pg->state = PG_STORE_OPEN;
	pg->store->held.is_pooled = pg->is_pooled;
	store_opened(pg->store, NULL);
	store_turn_later(pg->store);
}

static void enrol(struct pg_store *pg)
{
	pg_query_init(&pg->enrol);
	pg->enrol.statement = &pg_heartbeat_statement;
	pg->enrol.timeout_ms = ENROL_TIMEOUT_MS;
	pg->enrol.done = on_enrolled;
	pg->enrol.data = pg;
	pg_put_heartbeat(&pg->enrol.params, pg->store, INSTANCE_STARTING, NULL, 0);
	pg->calls++;
	pg_pool_query(pg->pools[PG_WRITES], &pg->enrol);
}

static int open_pool(
	struct pg_store *pg, struct pg_pool_opts *opts, struct pg_pool **ret_pool, struct err *err)
{
	opts->conn.loop = pg->store->loop;
	opts->conn.url = pg->url;
	opts->conn.backoff_max_ms = BACKOFF_MAX_MS;
	opts->conn.queue_max = pg->store->queue_max + 16;
	opts->queue_max =
		pg->store->queue_max + 16; /* the store's own bound is the one that counts */
	opts->wait_ms = WAIT_MS;
	opts->check_ms = CHECK_MS;
	if (pg_pool_create(opts, ret_pool, err) < 0)
		return err->code;
	pg->pools_open++;
	return 0;
}

/* The URL has been used already, so none of them fails. */
static void open_pools(struct pg_store *pg)
{
	struct err err;

	for (int i = 0; i < PG_PLACE_COUNT; i++) {
		struct pg_pool_opts opts = pg_pool_defaults();

		opts.conn.application_name = places[i].name;
		opts.conn.sync = places[i].sync;
		opts.conn.route = pg->is_pooled ? PG_POOLED : PG_DIRECT;
		opts.min = places[i].min == BY_OPTION ? pg->pool_min : places[i].min;
		opts.max = places[i].max == BY_OPTION ? pg->pool_max : places[i].max;
		must(open_pool(pg, &opts, &pg->pools[i], &err) == 0);
	}
}

static void on_first_pool_closed(void *data)
{
	struct pg_store *pg = data;

	pg->pools_open--;
	pg->first_pool = NULL;
	pg_store_step(pg);
}

static void on_migrated(const struct err *err, bool is_pooled, void *data)
{
	struct pg_store *pg = data;

	pg->migration = NULL;
	pg->is_pooled = is_pooled;
	pg_pool_close(pg->first_pool, 0, on_first_pool_closed, pg);
	if (pg->state != PG_STORE_OPENING)
		return; /* closing goes on when that pool is gone */
	if (err) {
		open_failed(pg, err);
		return;
	}
	open_pools(pg);
	enrol(pg);
}

static struct pg_store *pg_store_create(struct store *store, const char *url)
{
	struct pg_store *pg = xcalloc(1, sizeof(*pg));

	pg->store = store;
	pg->url = xstrdup(url);
	list_init(&pg->waiting);
	list_init(&pg->finishes);
	return pg;
}

static void pg_store_destroy(struct pg_store *pg)
{
	free(pg->url);
	free(pg);
}

/* Whether there is a pooler is not known yet, so nothing is prepared here. */
static int open_first_pool(struct pg_store *pg, struct err *err)
{
	struct pg_pool_opts opts = pg_pool_defaults();

	opts.conn.application_name = "gathering start";
	opts.conn.route = PG_POOLED;
	opts.min = opts.max = 1;
	return open_pool(pg, &opts, &pg->first_pool, err);
}

static int set_pools(struct pg_store *pg, const struct store_opts *opts, struct err *err)
{
	pg->pool_min = opts->pool_min;
	pg->pool_max = opts->pool_max > 0 ? opts->pool_max : POOL_MAX_DEFAULT;
	if (pg->pool_min > pg->pool_max)
		return err_set(err, ERR_INVALID,
			"pool_min (%d) is above pool_max (%d): lower the one or raise the other",
			pg->pool_min, pg->pool_max);
	return 0;
}

static int pg_open(
	struct store *store, const struct store_opts *opts, const char *place, struct err *err)
{
	struct pg_store *pg = pg_store_create(store, place);

	pg->lookout.waits_for_leases = opts->waits_for_leases;
	if (pg_url_check(place, err) < 0 || set_pools(pg, opts, err) < 0 ||
		open_first_pool(pg, err) < 0) {
		pg_store_destroy(pg);
		return err->code;
	}
	store->impl = pg;
	store->place = pg_url_for_people(place);
	pg->migration = pg_migration_start(&(struct pg_migration_opts){.loop = store->loop,
		.pool = pg->first_pool,
		.mode = STORE_MIGRATE_APPLY,
		.start_max_ms = opts->start_max_ms > 0 ? opts->start_max_ms : START_MAX_MS,
		.done = on_migrated,
		.data = pg});
	return STORE_OPENING;
}

/* --- closing --- */

static const struct pg_statement leave_statement = {
	.name = "leave", .text = "SELECT gathering.leave($1::uuid)"};

static void closed_all(struct pg_store *pg)
{
	struct store *store = pg->store;

	pg_store_destroy(pg);
	store->impl = NULL;
	store_backend_closed(store);
}

void pg_store_part_closed(struct pg_store *pg)
{
	if (--pg->pools_open == 0)
		closed_all(pg);
}

static void on_pool_closed(void *data)
{
	pg_store_part_closed(data);
}

static void close_pools(struct pg_store *pg)
{
	struct pg_pool *pools[PG_PLACE_COUNT];

	if (pg->pools_open == 0) { /* it never came so far */
		closed_all(pg);
		return;
	}
	memcpy(pools, pg->pools, sizeof(pools)); /* the last one takes `pg` along */
	pg->pools_open += pg_session_close(pg);
	for (int i = 0; i < PG_PLACE_COUNT; i++)
		pg_pool_close(pools[i], CLOSE_GRACE_MS, on_pool_closed, pg);
}

static void on_left(struct pg_query *query)
{
	struct pg_store *pg = query->data;

	pg_query_fini(query);
	close_pools(pg);
}

/* Last of all: whatever is still marked as running here is anybody's from now on. */
static void leave(struct pg_store *pg)
{
	pg_query_init(&pg->enrol);
	pg->enrol.statement = &leave_statement;
	pg->enrol.timeout_ms = LEAVE_TIMEOUT_MS;
	pg->enrol.done = on_left;
	pg->enrol.data = pg;
	pg_put_id(&pg->enrol.params, &pg->store->instance_id);
	pg_pool_query(pg->pools[PG_WRITES], &pg->enrol);
}

void pg_store_step(struct pg_store *pg)
{
	if (pg->state != PG_STORE_CLOSING || pg->is_leaving)
		return;
	cancel_waiting(pg); /* one that wanted to go round once more */
	if (pg->calls > 0 || pg->migration || pg->first_pool || pg_news_is_busy(pg))
		return;
	pg->is_leaving = true;
	if (pg->was_open)
		leave(pg);
	else
		close_pools(pg);
}

static void pg_close(struct store *store)
{
	struct pg_store *pg = store->impl;

	pg->was_open = pg->state == PG_STORE_OPEN;
	pg->state = PG_STORE_CLOSING;
	cancel_waiting(pg);
	if (pg->migration)
		pg_migration_cancel(pg->migration);
	pg_store_step(pg);
}

/* --- the backend --- */

_Static_assert(PG_PLACE_COUNT <= STORE_POOLS_MAX, "each pool has its place in an answer");

static size_t pg_store_pools(
	const struct store *store, struct store_pool ret_pools[static STORE_POOLS_MAX])
{
	const struct pg_store *pg = store->impl;

	if (pg->state != PG_STORE_OPEN)
		return 0;
	for (int i = 0; i < PG_PLACE_COUNT; i++) {
		struct pg_pool_stats stats;

		pg_pool_stats(pg->pools[i], &stats);
		ret_pools[i] = (struct store_pool){.name = places[i].name + strlen("gathering "),
			.is_up = stats.is_up,
			.ready = stats.ready,
			.busy = stats.busy,
			.leased = stats.leased,
			.connecting = stats.connecting,
			.max = stats.max,
			.waiting = (int64_t)stats.waiting,
			.in_flight = (int64_t)stats.in_flight,
			.down_ms = stats.down_ms,
			.queries = stats.queries,
			.errors = stats.errors,
			.timeouts = stats.timeouts,
			.refused = stats.refused,
			.sessions = stats.sessions,
			.sessions_lost = stats.sessions_lost,
			.connect_failures = stats.connect_failures,
			.wait_ms = stats.wait_total_ms};
	}
	return PG_PLACE_COUNT;
}

const struct store_backend postgres_backend = {
	.schemes = {"postgresql://", "postgres://"},
	.takes_whole_url = true,
	.name = "postgresql",
	.is_shared = true,
	.open = pg_open,
	.submit = pg_submit,
	.flush = pg_flush,
	.close = pg_close,
	.pools = pg_store_pools,
	.migrate = pg_store_migrate,
	.watch = pg_session_open,
	.want_work = pg_session_want_work,
	.listen = pg_news_listen,
	.others_listen = pg_news_others_listen,
	.tell_run = pg_news_tell_run,
	.want_output = pg_news_want_output,
	.put_finish = pg_put_finish,
	.read_finish = pg_read_finish,
};
