/* SPDX-License-Identifier: Apache-2.0
 *
 * Backfills: each write is a function of the schema, a transaction of its own. An advance whose
 * answer was lost finds the cursor moved and does nothing: the next round reads where it stands. */
#include <stdlib.h>
#include <string.h>

#include "store/pg_store_priv.h"

/* --- create --- */

static const struct pg_statement create_statement = {.name = "create backfill",
	.text = "SELECT ret_number, ret_clock, ret_busy FROM gathering.create_backfill($1::uuid,"
		" $2::uuid, $3::text, $4::text, $5::text, $6::timestamptz, $7::timestamptz,"
		" $8::timestamptz, $9::bigint, $10::bigint, $11::integer)"};

static struct store_create_backfill *create_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_create_backfill, req);
}

static void put_create(struct pg_call *call)
{
	const struct backfill *given = create_of(call)->backfill;
	struct pg_params *params = pg_call_add(call, &create_statement);

	pg_put_id(params, &call->req->scratch->ids[0]);
	pg_put_id(params, &given->action_id);
	pg_put_text(params, backfill_rerun_names[given->rerun]);
	pg_put_text(params, given->seed);
	pg_put_text(params, given->schedule);
	pg_put_time(params, given->from_ms);
	pg_put_time(params, given->to_ms);
	pg_put_time(params, given->cursor_ms);
	pg_put_i64(params, given->total);
	pg_put_i64(params, given->interval_ms);
	pg_put_i32(params, given->max_open);
}

static int read_create(struct pg_call *call)
{
	struct store_create_backfill *req = create_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);
	struct backfill *made = &req->ret_backfill;
	int64_t number, now_ms;
	struct id busy;

	if (!pg_row_next(&row))
		return err_no_action(&req->req.err);
	number = pg_read_i64(&row);
	now_ms = pg_read_time(&row);
	busy = pg_read_id(&row);
	if (!id_is_zero(&busy))
		return err_backfill_busy(&req->req.err, &busy);
	backfill_copy(made, req->backfill);
	made->id = call->req->scratch->ids[0];
	made->number = number;
	made->state = BACKFILL_RUNNING;
	made->next_at_ms = made->created_at_ms = now_ms;
	made->finished_at_ms = NO_TIME;
	pg_tell_action(call->pg, &req->backfill->action_id);
	return 0;
}

int pg_create_backfill(void *db, struct store_create_backfill *req, int64_t now_ms)
{
	static const struct pg_plan plan = {
		.place = PG_WRITES, .put = put_create, .read = read_create};

	return pg_call_start(db, &req->req, &plan);
}

/* --- list --- */

#define FIELDS                                                                                     \
	"SELECT gathering.clock(), b.id, b.action_id, b.number, a.name, b.state, b.rerun, b.seed," \
	" b.schedule, b.from_at, b.to_at, b.cursor_at, b.total, b.made, b.passed, b.interval_ms,"  \
	" b.max_open, b.next_at, b.created_at, b.finished_at, a.is_paused, ARRAY(SELECT"           \
	" count(r.id) FROM unnest('{pending,running,succeeded,failed,timed_out,cancelled,skipped," \
	"held}'::text[]) WITH ORDINALITY s(name, n) LEFT JOIN gathering.run r"                     \
	" ON r.action_id = b.action_id AND r.backfill = b.number AND r.backfill > 0"               \
	" AND r.state = s.name GROUP BY s.n ORDER BY s.n)"                                         \
	" FROM gathering.backfill b JOIN gathering.action a ON a.id = b.action_id"
_Static_assert(RUN_PENDING == 0 && RUN_HELD == 7 && RUN_STATE_COUNT == 8, "counted in this order");

static const struct pg_statement get_statement = {
	.name = "get backfill", .text = FIELDS " WHERE b.id = $1::uuid"};
static const struct pg_statement list_statement = {.name = "list backfills",
	.text = FIELDS " WHERE b.id < $1::uuid AND ($2::uuid IS NULL OR b.action_id = $2)"
		       " ORDER BY b.id DESC LIMIT $3::bigint"};
static const struct pg_statement running_statement = {.name = "list running backfills",
	.text = FIELDS " WHERE b.state = 'running' AND b.id < $1::uuid"
		       " AND ($2::uuid IS NULL OR b.action_id = $2)"
		       " ORDER BY b.id DESC LIMIT $3::bigint"};

static struct store_list_backfills *list_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_list_backfills, req);
}

static void put_list(struct pg_call *call)
{
	const struct store_list_backfills *req = list_of(call);
	struct id before = req->before_id;
	struct pg_params *params;

	if (!id_is_zero(&req->id)) {
		pg_put_id(pg_call_add(call, &get_statement), &req->id);
		return;
	}
	if (id_is_zero(&before))
		memset(before.bytes, 0xff, sizeof(before.bytes));
	params = pg_call_add(call, req->only_running ? &running_statement : &list_statement);
	pg_put_id(params, &before);
	pg_put_id(params, &req->action_id);
	pg_put_i64(params, (int64_t)req->limit + 1);
}

static void read_counts(struct pg_row *row, struct backfill *backfill)
{
	struct pg_elements counts = pg_read_array(row);

	for (int state = 0; state < RUN_STATE_COUNT && pg_element_next(&counts); state++)
		backfill->runs[state] = pg_element_i64(&counts);
}

static void read_backfill(struct pg_row *row, struct backfill *backfill)
{
	backfill->id = pg_read_id(row);
	backfill->action_id = pg_read_id(row);
	backfill->number = pg_read_i64(row);
	backfill->action_name = xstrdup(pg_read_text(row));
	/* CHECKs have these two */
	backfill->state = (enum backfill_state)name_index(backfill_state_names, pg_read_text(row));
	backfill->rerun = (enum backfill_rerun)name_index(backfill_rerun_names, pg_read_text(row));
	backfill->seed = xstrdup(pg_read_text(row));
	backfill->schedule = xstrdup(pg_read_text(row));
	backfill->from_ms = pg_read_time(row);
	backfill->to_ms = pg_read_time(row);
	backfill->cursor_ms = pg_read_time(row);
	backfill->total = pg_read_i64(row);
	backfill->made = pg_read_i64(row);
	backfill->passed = pg_read_i64(row);
	backfill->interval_ms = pg_read_i64(row);
	backfill->max_open = pg_read_int(row, 0);
	backfill->next_at_ms = pg_read_time(row);
	backfill->created_at_ms = pg_read_time(row);
	backfill->finished_at_ms = pg_read_time(row);
	backfill->is_action_paused = pg_read_bool(row);
	read_counts(row, backfill);
}

static int read_list(struct pg_call *call)
{
	struct store_list_backfills *req = list_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);

	while (pg_row_next(&row)) {
		if (req->ret_count == (size_t)req->limit) {
			req->ret_has_more = true;
			break;
		}
		req->ret_now_ms = pg_read_time(&row);
		read_backfill(&row, backfills_add(req));
	}
	return 0;
}

int pg_list_backfills(void *db, struct store_list_backfills *req, int64_t now_ms)
{
	static const struct pg_plan plan = {.place = PG_READS, .put = put_list, .read = read_list};

	return pg_call_start(db, &req->req, &plan);
}

/* --- advance --- */

static const struct pg_statement advance_statement = {.name = "advance backfill",
	.text = "SELECT ret_won, ret_made, ret_passed, ret_done"
		" FROM gathering.advance_backfill($1::uuid, $2::timestamptz, $3::uuid[],"
		" $4::timestamptz[], $5::timestamptz, $6::bigint)"};

static struct store_advance_backfill *advance_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_advance_backfill, req);
}

static void put_advance(struct pg_call *call)
{
	const struct store_advance_backfill *req = advance_of(call);
	struct pg_params *params = pg_call_add(call, &advance_statement);

	pg_put_id(params, &req->id);
	pg_put_time(params, req->cursor_ms);
	pg_array_begin(params, PG_ID);
	for (size_t i = 0; i < req->count; i++)
		pg_array_id(params, &req->req.scratch->ids[i]);
	pg_array_end(params);
	pg_array_begin(params, PG_TIME);
	for (size_t i = 0; i < req->count; i++)
		pg_array_time(params, req->dues[i]);
	pg_array_end(params);
	pg_put_time(params, req->next_cursor_ms);
	pg_put_i64(params, (int64_t)req->max_new);
}

static int read_advance(struct pg_call *call)
{
	struct store_advance_backfill *req = advance_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);

	if (!pg_row_next(&row))
		return err_no_backfill(&req->req.err);
	req->ret_won = pg_read_bool(&row);
	req->ret_made = pg_read_i64(&row);
	req->ret_passed = pg_read_i64(&row);
	req->ret_is_done = pg_read_bool(&row);
	if (req->ret_made > 0)
		pg_tell_pending(call->pg);
	return 0;
}

int pg_advance_backfill(void *db, struct store_advance_backfill *req, int64_t now_ms)
{
	static const struct pg_plan plan = {
		.place = PG_WRITES, .put = put_advance, .read = read_advance};

	return pg_call_start(db, &req->req, &plan);
}

/* --- cancel --- */

static const struct pg_statement cancel_statement = {.name = "cancel backfill",
	.text = "SELECT ret_found, ret_done, ret_cancel"
		" FROM gathering.cancel_backfill($1::uuid, $2::boolean)"};

static struct store_cancel_backfill *cancel_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_cancel_backfill, req);
}

static void put_cancel(struct pg_call *call)
{
	struct pg_params *params = pg_call_add(call, &cancel_statement);

	pg_put_id(params, &cancel_of(call)->id);
	pg_put_bool(params, call->is_again);
}

static int read_cancel(struct pg_call *call)
{
	struct store_cancel_backfill *req = cancel_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);
	int state;

	if (!pg_row_next(&row))
		return err_no_backfill(&req->req.err);
	state = name_index(backfill_state_names, pg_read_text(&row));
	if (!pg_read_bool(&row))
		return err_backfill_over(&req->req.err, (enum backfill_state)state);
	pg_read_ids(&row, &req->ret_cancel, &req->ret_cancel_count);
	pg_tell_cancels(call->pg, req->ret_cancel, req->ret_cancel_count);
	return 0;
}

int pg_cancel_backfill(void *db, struct store_cancel_backfill *req, int64_t now_ms)
{
	static const struct pg_plan plan = {
		.place = PG_WRITES, .put = put_cancel, .read = read_cancel};

	return pg_call_start(db, &req->req, &plan);
}
