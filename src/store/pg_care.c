/* SPDX-License-Identifier: Apache-2.0
 *
 * Retention, deadlines and how actions fare, in PostgreSQL. All may be asked again when an answer
 * was lost: what was done is not found any more. */
#include <stdlib.h>

#include "store/pg_store_priv.h"

/* --- what the definitions ask for --- */

static void put_number(struct pg_params *params, int64_t number)
{
	if (number == 0)
		pg_array_null(params);
	else
		pg_array_i64(params, number);
}

void pg_put_cares(struct pg_params *params, struct action *const *actions, size_t count)
{
	pg_array_begin(params, PG_I64);
	for (size_t i = 0; i < count; i++) {
		put_number(params, actions[i]->retention.age_ms);
		put_number(params, actions[i]->retention.count);
		put_number(params, actions[i]->expect_success_ms);
	}
	pg_array_end(params);
	pg_array_begin(params, PG_TEXT);
	for (size_t i = 0; i < count; i++)
		for (int alert = 0; alert < ALERT_COUNT; alert++)
			if (actions[i]->hooks[alert])
				pg_array_text(params, actions[i]->hooks[alert]);
			else
				pg_array_null(params);
	pg_array_end(params);
}

/* --- retain --- */

static const struct pg_statement retain_statement = {.name = "retain",
	.text = "SELECT ret_removed, ret_outputs, ret_is_done, ret_after FROM gathering.retain("
		"coalesce($1::uuid, '00000000-0000-0000-0000-000000000000'), $2::integer,"
		" $3::integer, $4::bigint, $5::bigint, $6::bigint,"
		" $7::bigint * interval '1 millisecond')"};

static struct store_retain *retain_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_retain, req);
}

static void put_retain(struct pg_call *call)
{
	const struct store_retain *req = retain_of(call);
	struct pg_params *params = pg_call_add(call, &retain_statement);

	pg_put_id(params, &req->after);
	pg_put_i32(params, req->actions_max);
	pg_put_i32(params, req->limit);
	pg_put_i64(params, req->server.age_ms);
	pg_put_i64(params, req->server.count);
	pg_put_i64(params, req->output_bytes);
	pg_put_i64(params, RETAIN_YOUNG_MS);
}

static int read_retain(struct pg_call *call)
{
	struct store_retain *req = retain_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);

	must(pg_row_next(&row));
	req->ret_removed = pg_read_i64(&row);
	req->ret_outputs = pg_read_i64(&row);
	req->ret_is_done = pg_read_bool(&row);
	req->ret_after = pg_read_id(&row);
	return 0;
}

int pg_retain(void *db, struct store_retain *req, int64_t now_ms)
{
	static const struct pg_plan plan = {
		.place = PG_WRITES, .put = put_retain, .read = read_retain};

	return pg_call_start(db, &req->req, &plan);
}

/* --- lapse --- */

static const struct pg_statement lapse_statement = {.name = "lapse",
	.text = "SELECT ret_clock, ret_count, ret_next, coalesce(ret_renew_ms, -1), ret_cancel"
		" FROM gathering.lapse($1::integer)"};

static struct store_lapse *lapse_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_lapse, req);
}

static void put_lapse(struct pg_call *call)
{
	pg_put_i32(pg_call_add(call, &lapse_statement), lapse_of(call)->limit);
}

static int read_lapse(struct pg_call *call)
{
	struct store_lapse *req = lapse_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);
	int64_t renew_ms;

	must(pg_row_next(&row));
	req->ret_now_ms = pg_read_time(&row);
	req->ret_count = pg_read_i64(&row);
	req->ret_next_ms = pg_read_time(&row);
	renew_ms = pg_read_i64(&row);
	req->ret_renew_ms = renew_ms < 0 ? NO_TIME : renew_ms;
	pg_read_ids(&row, &req->ret_cancel, &req->ret_cancel_count);
	if (req->ret_count > 0)
		pg_tell_pending(call->pg);
	pg_tell_cancels(call->pg, req->ret_cancel, req->ret_cancel_count);
	return 0;
}

int pg_lapse(void *db, struct store_lapse *req, int64_t now_ms)
{
	static const struct pg_plan plan = {
		.place = PG_WRITES, .put = put_lapse, .read = read_lapse};

	return pg_call_start(db, &req->req, &plan);
}

/* --- get_cares --- */

static const struct pg_statement cares_statement = {.name = "cares",
	.text = "SELECT g.n, c.failing_since, c.deadline, c.late_since,"
		" c.on_failure IS NOT NULL AND NOT EXISTS (SELECT 1 FROM gathering.action a"
		" WHERE a.name = c.on_failure),"
		" c.on_recovery IS NOT NULL AND NOT EXISTS (SELECT 1 FROM gathering.action a"
		" WHERE a.name = c.on_recovery),"
		" c.on_late IS NOT NULL AND NOT EXISTS (SELECT 1 FROM gathering.action a"
		" WHERE a.name = c.on_late)"
		" FROM unnest($1::uuid[]) WITH ORDINALITY g(id, n)"
		" JOIN gathering.care c ON c.action_id = g.id"};

static struct store_get_cares *cares_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_get_cares, req);
}

static void put_cares(struct pg_call *call)
{
	const struct store_get_cares *req = cares_of(call);
	struct pg_params *params = pg_call_add(call, &cares_statement);

	pg_array_begin(params, PG_ID);
	for (size_t i = 0; i < req->count; i++)
		pg_array_id(params, &req->actions[i]->id);
	pg_array_end(params);
}

static int read_cares(struct pg_call *call)
{
	struct store_get_cares *req = cares_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);

	while (pg_row_next(&row)) {
		struct action_care *ret = &req->ret_cares[pg_read_i64(&row) - 1];

		ret->care.failing_since_ms = pg_read_time(&row);
		ret->care.deadline_ms = pg_read_time(&row);
		ret->care.late_since_ms = pg_read_time(&row);
		ret->missing_hooks = 0;
		for (int alert = 0; alert < ALERT_COUNT; alert++)
			ret->missing_hooks |= pg_read_bool(&row) ? 1u << alert : 0;
	}
	return 0;
}

int pg_get_cares(void *db, struct store_get_cares *req, int64_t now_ms)
{
	static const struct pg_plan plan = {
		.place = PG_READS, .put = put_cares, .read = read_cares};

	return pg_call_start(db, &req->req, &plan);
}
