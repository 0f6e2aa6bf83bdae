/* SPDX-License-Identifier: Apache-2.0
 *
 * The lookout: notices within a moment that another instance has died. It has a connection of its
 * own, on which a procedure of the schema waits for the lock of life of another one; kernels close
 * the sockets of the dead, so the server ends their sessions at once, and the lock is free.
 *
 *   look out -> somebody seen before holds the lock no more -> grace -> reap -> look out ...
 *                              or has left the table, too -> balance -> look out ...
 *
 * A session that has ended is a suspicion, no more: sessions are also lost by those who live. One
 * that lives has noticed and sends heartbeats until it has its lock again. So it is dead if after
 * the grace it has neither; a heartbeat from the first third of the grace may have been on its way
 * when its sender died, and one that lives has sent others since. When the *server* lost all
 * sessions (restart, crash, failover) nobody is suspected: only a lock that was seen held in this
 * very session of ours can be seen to become free, and the suspicion is dropped when our session
 * ends before the grace does. Then leases decide alone. (What it wrote of its lock counts as seen,
 * if that was within our session.) doc/design/postgres.md has the cases. */
#include <stdlib.h>

#include "store/pg_store_priv.h"

#define CALL_MS         600000 /* of one call; a server may have a limit for statements */
#define CALL_SLACK_MS   10000
#define ALONE_MS        300000 /* there was nobody to watch; news of one that comes is sooner */
#define GRACE_MS        1200   /* to send a heartbeat, or to have the lock again */
#define GRACE_MAX_MS    5000   /* for one that lives and does not get its lock */
#define REAP_TIMEOUT_MS 5000

static void look_out(struct pg_lookout *lookout);

/* --- lists of ids --- */

static void ids_clear(struct pg_ids *ids)
{
	free(take_ptr(ids->ids));
	ids->count = 0;
}

static struct pg_ids ids_take(struct pg_ids *ids)
{
	struct pg_ids taken = *ids;

	*ids = (struct pg_ids){0};
	return taken;
}

static void ids_read(struct pg_row *row, struct pg_ids *ids)
{
	ids_clear(ids);
	pg_read_ids(row, &ids->ids, &ids->count);
}

static void ids_put(struct pg_params *params, const struct pg_ids *ids)
{
	pg_array_begin(params, PG_ID);
	for (size_t i = 0; i < ids->count; i++)
		pg_array_id(params, &ids->ids[i]);
	pg_array_end(params);
}

static bool ids_contain(const struct pg_ids *ids, const struct id *id)
{
	for (size_t i = 0; i < ids->count; i++)
		if (id_equal(&ids->ids[i], id))
			return true;
	return false;
}

/* Are all of `some` among `ids`? */
static bool ids_contain_all(const struct pg_ids *ids, const struct pg_ids *some)
{
	for (size_t i = 0; i < some->count; i++)
		if (!ids_contain(ids, &some->ids[i]))
			return false;
	return true;
}

/* --- statements --- */

static const struct pg_statement lookout_statement = {.name = "lookout",
	.text = "CALL gathering.lookout($1::uuid, $2::bigint * interval '1 millisecond',"
		" $3::uuid[], NULL, NULL)"};

static const struct pg_statement reap_gone_statement = {.name = "reap gone",
	.text = "SELECT gathering.reap($1::uuid, $2::uuid[], $3::timestamptz, NULL)"};

static void ask(struct pg_lookout *lookout, const struct pg_statement *statement,
	int64_t timeout_ms, pg_done_fn *done)
{
	struct pg_query *query = &lookout->query;

	pg_query_init(query);
	query->statement = statement;
	query->timeout_ms = timeout_ms;
	query->session = pg_conn_session(lookout->conn);
	query->done = done;
	query->data = lookout;
	pg_put_id(&query->params, &lookout->pg->store->instance_id);
	lookout->is_asking = true;
}

/* An error that leaves the session alive: not this time. */
static bool answer_is_good(struct pg_lookout *lookout)
{
	struct pg_query *query = &lookout->query;
	bool is_good = query->err.code == 0 && !lookout->is_closing;

	lookout->is_asking = false;
	if (is_good)
		return true;
	pg_query_fini(query);
	if (!lookout->is_closing)
		uv_timer_start(&lookout->timer, lookout->on_timer, GRACE_MS, 0);
	return false;
}

/* --- the dead --- */

static void on_look_out(uv_timer_t *timer)
{
	look_out(timer->data);
}

static void on_reaped(struct pg_query *query)
{
	struct pg_lookout *lookout = query->data;
	const struct store_watcher *watcher = &lookout->pg->store->watcher;
	struct pg_ids dead = {0};
	struct pg_row row;

	lookout->on_timer = on_look_out;
	if (!answer_is_good(lookout))
		return;
	row = pg_rows(query);
	must(pg_row_next(&row));
	ids_read(&row, &dead);
	pg_query_fini(query);
	if (dead.count > 0 && watcher->on_dead)
		watcher->on_dead(dead.ids, dead.count, watcher->data);
	ids_clear(&dead);
	look_out(lookout);
}

/* In the session that saw them go, or not at all. */
static void on_grace_over(uv_timer_t *timer)
{
	struct pg_lookout *lookout = timer->data;
	struct pg_params *params = &lookout->query.params;

	if (lookout->is_closing || lookout->is_asking || !pg_conn_is_ready(lookout->conn))
		return;
	if (lookout->waits_for_leases) {
		look_out(lookout);
		return;
	}
	ask(lookout, &reap_gone_statement, REAP_TIMEOUT_MS, on_reaped);
	ids_put(params, &lookout->gone);
	pg_put_time(params, lookout->gone_at_ms + GRACE_MS / 3);
	pg_conn_query(lookout->conn, &lookout->query);
}

/* The same ones once more live, without their lock: they are asked about less and less often.
 * New ones' shards are free already: all are told before it is known what has become of them. */
static void suspect(struct pg_lookout *lookout, const struct pg_ids *before)
{
	if (!ids_contain_all(before, &lookout->gone)) {
		lookout->grace_ms = GRACE_MS;
		pg_tell_instances(lookout->pg);
	} else if (lookout->grace_ms < GRACE_MAX_MS) {
		lookout->grace_ms *= 2;
	}
	lookout->on_timer = on_grace_over;
	uv_timer_start(&lookout->timer, on_grace_over, (uint64_t)lookout->grace_ms, 0);
}

/* --- looking out --- */

static void note_seen(struct pg_lookout *lookout, struct pg_query *query)
{
	struct pg_row row = pg_rows(query);

	must(pg_row_next(&row));
	ids_read(&row, &lookout->seen);
	ids_read(&row, &lookout->gone);
	lookout->gone_at_ms = pg_read_time(&row);
	pg_query_fini(query);
}

static void on_seen(struct pg_query *query)
{
	struct pg_lookout *lookout = query->data;
	struct pg_ids gone;

	lookout->on_timer = on_look_out;
	if (!answer_is_good(lookout))
		return;
	gone = ids_take(&lookout->gone);
	note_seen(lookout, query);
	pg_session_members_changed(lookout->pg); /* one that has left may have told nobody */
	if (lookout->gone.count > 0) {
		suspect(lookout, &gone);
	} else if (lookout->seen.count > 0 || lookout->is_stale) {
		look_out(lookout); /* its time was over, or somebody has left */
	} else {
		lookout->is_alone = true;
		uv_timer_start(&lookout->timer, on_look_out, ALONE_MS, 0);
	}
	ids_clear(&gone);
}

static void look_out(struct pg_lookout *lookout)
{
	struct pg_params *params = &lookout->query.params;

	uv_timer_stop(&lookout->timer);
	lookout->is_alone = lookout->is_stale = false;
	if (lookout->is_closing || lookout->is_asking || !pg_conn_is_ready(lookout->conn))
		return;
	ask(lookout, &lookout_statement, CALL_MS + CALL_SLACK_MS, on_seen);
	pg_put_i64(params, CALL_MS);
	ids_put(params, &lookout->seen);
	pg_conn_query(lookout->conn, &lookout->query);
}

void pg_lookout_members_changed(struct pg_store *pg)
{
	pg->lookout.is_stale = true;
	if (pg->lookout.conn && pg->lookout.is_alone)
		look_out(&pg->lookout);
}

static void on_state(struct pg_conn *conn, bool is_ready, const struct err *err, void *data)
{
	struct pg_lookout *lookout = data;

	uv_timer_stop(&lookout->timer);
	ids_clear(&lookout->seen);
	ids_clear(&lookout->gone);
	lookout->is_alone = false;
	if (is_ready && !lookout->is_closing)
		look_out(lookout);
}

/* --- life --- */

void pg_lookout_open(struct pg_store *pg)
{
	struct pg_lookout *lookout = &pg->lookout;

	lookout->pg = pg;
	lookout->grace_ms = GRACE_MS;
	lookout->on_timer = on_look_out;
	must(uv_timer_init(pg->store->loop, &lookout->timer) == 0);
	lookout->timer.data = lookout;
	lookout->conn = pg_session_connect(pg, "gathering lookout", NULL, on_state, NULL, lookout);
}

static void on_conn_closed(void *data)
{
	struct pg_lookout *lookout = data;

	ids_clear(&lookout->seen);
	ids_clear(&lookout->gone);
	pg_store_part_closed(lookout->pg);
}

static void on_timer_closed(uv_handle_t *handle)
{
	pg_store_part_closed(((struct pg_lookout *)handle->data)->pg);
}

int pg_lookout_close(struct pg_store *pg)
{
	struct pg_lookout *lookout = &pg->lookout;

	lookout->is_closing = true;
	uv_close((uv_handle_t *)&lookout->timer, on_timer_closed);
	pg_conn_close(lookout->conn, on_conn_closed, lookout);
	return 2;
}
