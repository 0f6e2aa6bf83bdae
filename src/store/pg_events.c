/* SPDX-License-Identifier: Apache-2.0
 *
 * Events: one statement that finds who waits, starts their runs and tells which; and the start of
 * the service. */
#include <stdlib.h>
#include <string.h>

#include "store/pg_store_priv.h"

static const struct pg_statement send_statement = {.name = "send event",
	.text = "SELECT t.ret_event, t.ret_is_duplicate, t.ret_cancel, " PG_RUN_FIELDS
		" FROM gathering.send_event($1::uuid, $2::boolean, $3::text, $4::text, $5::text,"
		" $6::bigint * interval '1 millisecond', $7::text, $8::integer) t,"
		" LATERAL (SELECT (t.ret_run).*) r" PG_RUN_JOIN};

static struct store_send_event *send_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_send_event, req);
}

static void put_send(struct pg_call *call)
{
	const struct store_send_event *req = send_of(call);
	struct pg_params *params = pg_call_add(call, &send_statement);

	pg_put_id(params, &req->req.scratch->ids[0]);
	pg_put_bool(params, call->is_again);
	pg_put_text(params, req->name);
	pg_put_text(params, req->key);
	pg_put_text(params, req->payload);
	pg_put_i64(params, req->window_ms);
	pg_put_text(params, req->traceparent);
	pg_put_i32(params, req->queued_max);
}

static void skip_head(struct pg_row *row)
{
	pg_skip(row);
	pg_skip(row);
	pg_skip(row);
}

static int read_send(struct pg_call *call)
{
	struct store_send_event *req = send_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);
	size_t room = 0;

	if (!pg_row_next(&row))
		return err_server_full(&req->req.err, req->queued_max);
	req->ret_event_id = pg_read_id(&row);
	req->ret_is_duplicate = pg_read_bool(&row);
	pg_read_ids(&row, &req->ret_cancel, &req->ret_cancel_count);
	pg_tell_cancels(call->pg, req->ret_cancel, req->ret_cancel_count);
	while (pg_row_next(&row)) {
		skip_head(&row);
		req->ret_runs =
			grow_array(req->ret_runs, req->ret_count, &room, sizeof(*req->ret_runs));
		pg_read_run(&row, &req->ret_runs[req->ret_count++]);
		pg_tell_pending(call->pg);
	}
	return 0;
}

int pg_send_event(void *db, struct store_send_event *req, int64_t now_ms)
{
	static const struct pg_plan plan = {.place = PG_WRITES, .put = put_send, .read = read_send};

	return pg_call_start(db, &req->req, &plan);
}

/* --- the start of the service --- */

static const struct pg_statement boot_statement = {.name = "boot",
	.text = "SELECT ret_answer, ret_queued, ret_skipped, ret_cancel, ret_ask"
		" FROM gathering.boot($1::uuid, $2::boolean, $3::uuid[], $4::uuid[], $5::text[])"};

static struct store_boot *boot_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_boot, req);
}

static void put_boot(struct pg_call *call)
{
	const struct store_boot *req = boot_of(call);
	struct pg_params *params = pg_call_add(call, &boot_statement);

	pg_put_id(params, &call->pg->store->instance_id);
	pg_put_bool(params, req->is_running);
	pg_array_begin(params, PG_ID);
	for (size_t i = 0; i < req->count; i++)
		pg_array_id(params, &req->items[i].action->id);
	pg_array_end(params);
	pg_array_begin(params, PG_ID);
	for (size_t i = 0; i < req->count; i++)
		pg_array_id(params, &req->req.scratch->ids[i]);
	pg_array_end(params);
	pg_array_begin(params, PG_TEXT);
	for (size_t i = 0; i < req->count; i++)
		if (req->items[i].verdict == DUE_RUN)
			pg_array_null(params);
		else
			pg_array_text(params, run_reason_names[REASON_BLACKOUT]);
	pg_array_end(params);
}

static int read_boot(struct pg_call *call)
{
	static const char *const answers[] = {[BOOT_STARTED] = "started",
		[BOOT_RUNNING] = "running",
		[BOOT_UNKNOWN] = "unknown",
		NULL};
	struct store_boot *req = boot_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);
	struct id *ask = NULL;
	size_t ask_count = 0;

	must(pg_row_next(&row));
	req->ret_answer = (enum store_boot_answer)name_index(answers, pg_read_text(&row));
	req->ret_queued = (size_t)pg_read_i64(&row);
	req->ret_skipped = (size_t)pg_read_i64(&row);
	pg_read_ids(&row, &req->ret_cancel, &req->ret_cancel_count);
	pg_read_ids(&row, &ask, &ask_count);
	pg_tell_cancels(call->pg, req->ret_cancel, req->ret_cancel_count);
	if (req->ret_queued > 0)
		pg_tell_pending(call->pg);
	for (size_t i = 0; i < ask_count; i++)
		pg_tell_wish(call->pg, &ask[i]); /* he answers with a heartbeat */
	free(ask);
	return 0;
}

int pg_boot(void *db, struct store_boot *req, int64_t now_ms)
{
	static const struct pg_plan plan = {.place = PG_WRITES, .put = put_boot, .read = read_boot};

	return pg_call_start(db, &req->req, &plan);
}
