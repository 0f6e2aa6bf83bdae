/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of running servers: heartbeat, list, reap. A heartbeat is one statement, whatever it
 * extends, for an idle instance is to be quiet. */
#include <stdlib.h>
#include <unistd.h>

#include "store/pg_store_priv.h"

/* --- heartbeat --- */

const struct pg_statement pg_heartbeat_statement = {.name = "heartbeat",
	.text = "SELECT ret_clock, ret_lease_until, ret_instances,"
		" ret_silent, ret_is_first, ret_orphans, ret_lease_end, ret_was_gone, ret_lost,"
		" ret_cancel, ret_pause, coalesce(ret_wish, 0)"
		" FROM gathering.heartbeat($1::uuid, $2::text, $3::integer,"
		" $4::text, $5::text, $6::bigint * interval '1 millisecond', $7::uuid[], "
		"$8::bigint[])"};

void pg_put_heartbeat(struct pg_params *params, const struct store *store,
	enum store_instance_state state, const struct store_lease *leases, size_t count)
{
	char host[256] = "";

	(void)gethostname(host, sizeof(host) - 1);
	pg_put_id(params, &store->instance_id);
	pg_put_text(params, host);
	pg_put_i32(params, (int32_t)getpid());
	pg_put_text(params, GATHERING_VERSION);
	pg_put_text(params, store_instance_state_names[state]);
	pg_put_i64(params, store->lease_ms);
	pg_array_begin(params, PG_ID);
	for (size_t i = 0; i < count; i++)
		pg_array_id(params, &leases[i].run_id);
	pg_array_end(params);
	pg_array_begin(params, PG_I64);
	for (size_t i = 0; i < count; i++)
		pg_array_i64(params, leases[i].epoch);
	pg_array_end(params);
}

static struct store_heartbeat *heartbeat_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_heartbeat, req);
}

static void put_heartbeat(struct pg_call *call)
{
	const struct store_heartbeat *req = heartbeat_of(call);

	pg_put_heartbeat(pg_call_add(call, &pg_heartbeat_statement), call->pg->store, req->state,
		req->leases, req->count);
}

static int read_heartbeat(struct pg_call *call)
{
	struct store_heartbeat *req = heartbeat_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);

	must(pg_row_next(&row));
	req->ret_now_ms = pg_read_time(&row);
	req->ret_lease_until_ms = pg_read_time(&row);
	req->ret_instances = pg_read_i64(&row);
	req->ret_silent = pg_read_i64(&row);
	req->ret_is_first = pg_read_bool(&row);
	req->ret_orphans = pg_read_i64(&row);
	req->ret_lease_end_ms = pg_read_time(&row);
	req->ret_was_gone = pg_read_bool(&row);
	pg_read_ids(&row, &req->ret_lost, &req->ret_lost_count);
	pg_read_ids(&row, &req->ret_cancel, &req->ret_cancel_count);
	pg_read_ids(&row, &req->ret_pause, &req->ret_pause_count);
	req->ret_wish = pg_read_i64(&row);
	pg_session_note_first(call->pg, req->ret_is_first);
	return 0;
}

/* With the finishes, for it has to come through when people's writes wait for locks. */
int pg_heartbeat(void *db, struct store_heartbeat *req, int64_t now_ms)
{
	static const struct pg_plan plan = {
		.place = PG_FINISHES, .put = put_heartbeat, .read = read_heartbeat};

	return pg_call_start(db, &req->req, &plan);
}

/* --- list --- */

static const struct pg_statement list_statement = {.name = "list instances",
	.text = "SELECT gathering.clock(), i.id, i.host, i.pid, i.version, i.state, i.started_at,"
		" i.heartbeat_at, (SELECT count(*) FROM gathering.run r WHERE r.state = 'running'"
		" AND r.instance_id = i.id) FROM gathering.instance i ORDER BY i.started_at, i.id"};

static void put_list(struct pg_call *call)
{
	(void)pg_call_add(call, &list_statement);
}

static void read_instance(struct pg_row *row, struct store_instance *instance)
{
	instance->id = pg_read_id(row);
	instance->host = xstrdup(pg_read_text(row));
	instance->pid = pg_read_int(row, 0);
	instance->version = xstrdup(pg_read_text(row));
	instance->state = (enum store_instance_state)name_index(
		store_instance_state_names, pg_read_text(row)); /* a CHECK has it */
	instance->started_at_ms = pg_read_time(row);
	instance->heartbeat_at_ms = pg_read_time(row);
	instance->running = pg_read_i64(row);
}

static int read_list(struct pg_call *call)
{
	struct store_list_instances *req =
		container_of(call->req, struct store_list_instances, req);
	struct pg_row row = pg_rows(&call->queries[0]);
	size_t room = 0;

	while (pg_row_next(&row)) {
		req->ret_now_ms = pg_read_time(&row);
		req->ret_instances = grow_array(
			req->ret_instances, req->ret_count, &room, sizeof(*req->ret_instances));
		read_instance(&row, &req->ret_instances[req->ret_count++]);
	}
	return 0;
}

int pg_list_instances(void *db, struct store_list_instances *req, int64_t now_ms)
{
	static const struct pg_plan plan = {.place = PG_READS, .put = put_list, .read = read_list};

	return pg_call_start(db, &req->req, &plan);
}

/* --- reap --- */

static const struct pg_statement reap_statement = {.name = "reap",
	.text = "SELECT gathering.reap($1::uuid, NULL, NULL,"
		" $2::bigint * interval '1 millisecond')"};

static struct store_reap *reap_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_reap, req);
}

static void put_reap(struct pg_call *call)
{
	struct pg_params *params = pg_call_add(call, &reap_statement);

	pg_put_id(params, &call->pg->store->instance_id);
	pg_put_i64(params, reap_of(call)->dead_ms);
}

static int read_reap(struct pg_call *call)
{
	struct store_reap *req = reap_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);

	must(pg_row_next(&row));
	pg_read_ids(&row, &req->ret_dead, &req->ret_dead_count);
	if (req->ret_dead_count > 0) { /* their shards are free */
		pg_session_members_changed(call->pg);
		pg_tell_instances(call->pg);
	}
	return 0;
}

int pg_reap(void *db, struct store_reap *req, int64_t now_ms)
{
	static const struct pg_plan plan = {.place = PG_WRITES, .put = put_reap, .read = read_reap};

	return pg_call_start(db, &req->req, &plan);
}

/* --- wish --- */

static const struct pg_statement wish_statement = {.name = "wish",
	.text = "UPDATE gathering.instance SET wish = wish +"
		" CASE WHEN $2::boolean THEN 1 + wish % 2 ELSE 2 - wish % 2 END"
		" WHERE id = $1::uuid"};

static struct store_wish *wish_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_wish, req);
}

static void put_wish(struct pg_call *call)
{
	struct pg_params *params = pg_call_add(call, &wish_statement);

	pg_put_id(params, &wish_of(call)->instance_id);
	pg_put_bool(params, wish_of(call)->drain);
}

static int read_wish(struct pg_call *call)
{
	struct store_wish *req = wish_of(call);

	if (pg_affected(&call->queries[0]) == 0)
		return err_no_instance(&req->req.err);
	pg_tell_wish(call->pg, &req->instance_id);
	return 0;
}

int pg_wish(void *db, struct store_wish *req, int64_t now_ms)
{
	static const struct pg_plan plan = {.place = PG_WRITES, .put = put_wish, .read = read_wish};

	return pg_call_start(db, &req->req, &plan);
}
