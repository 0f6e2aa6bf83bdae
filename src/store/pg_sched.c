/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs that decide what runs: look, claim, take, trigger. The decisions themselves are taken
 * by functions of the schema (sql/pg), on the locked row of the action. */
#include <stdlib.h>
#include <string.h>

#include "store/pg_store_priv.h"

/* --- pending runs: when the next may start --- */

#define LIMITED_AGAIN_MS 500
#define LOCKED_AGAIN_MS  20 /* somebody decides about that action right now: no longer than this */

/* The clock, the kinds of which one could start, the next not_before. Not EXISTS: the planner may
 * hash that, and then asks has_turn() of the whole line for each question (measured: most of the
 * time of a backlog). */
#define COULD_START                                                                                \
	" AND r.kind = k.kind AND (NOT r.is_serial OR gathering.has_turn(r.action_id, r.due_at, "  \
	"r.backfill))"                                                                             \
	" AND (r.max_concurrent = 0 OR gathering.has_place(r.action_id, r.max_concurrent))"
static const struct pg_statement pending_statement = {.name = "pending",
	.text = "SELECT c.clock, ARRAY(SELECT k.n::bigint - 1 FROM unnest($1::text[])"
		" WITH ORDINALITY k(kind, n) WHERE (SELECT true FROM gathering.run r"
		" WHERE r.state = 'pending' AND r.not_before IS NULL" COULD_START
		" ORDER BY gathering.rank(r.created_at, r.priority) LIMIT 1)"
		" OR (SELECT true FROM gathering.run r"
		" WHERE r.state = 'pending' AND r.not_before <= c.clock" COULD_START
		" ORDER BY r.not_before LIMIT 1)),"
		" (SELECT r.not_before FROM gathering.run r WHERE r.state = 'pending'"
		" AND r.not_before > c.clock ORDER BY r.not_before LIMIT 1)"
		" FROM gathering.clock() c(clock)"};
#undef COULD_START

struct pending {
	int64_t now_ms, next_ms;
	bool is_ready[ACTION_KIND_COUNT];
};

static void put_pending(struct pg_call *call)
{
	pg_put_kinds(pg_call_add(call, &pending_statement));
}

static struct pending read_pending(const struct pg_query *query)
{
	struct pg_row row = pg_rows(query);
	struct pending pending = {0};
	struct pg_elements kinds;

	must(pg_row_next(&row));
	pending.now_ms = pg_read_time(&row);
	kinds = pg_read_array(&row);
	while (pg_element_next(&kinds))
		pending.is_ready[pg_element_i64(&kinds)] = true;
	pending.next_ms = pg_read_time(&row);
	return pending;
}

/* --- look --- */

#define HORIZON_MAX_MS                                                                             \
	INT64_C(315360000000000) /* 10,000 years; the server's calendar has an end                 \
				  */

static const struct pg_statement look_statement = {.name = "look",
	.text = "SELECT " PG_ACTION_FIELDS PG_ACTION_FROM
		" WHERE a.next_due_at <= gathering.clock() + $1::bigint * interval '1 millisecond'"
		" AND ($3::bigint = 0 OR ($3 >> (get_byte(uuid_send(a.id), 15) & 63)) & 1 = 1"
		" OR a.next_due_at < gathering.clock() - $4::bigint * interval '1 millisecond')"
		" ORDER BY a.next_due_at, a.id LIMIT $2::bigint"};

static struct store_look *look_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_look, req);
}

static void put_look(struct pg_call *call)
{
	struct pg_params *params = pg_call_add(call, &look_statement);
	int64_t horizon_ms = look_of(call)->horizon_ms;

	pg_put_i64(params, horizon_ms < HORIZON_MAX_MS ? horizon_ms : HORIZON_MAX_MS);
	pg_put_i64(params, (int64_t)look_of(call)->limit + 1);
	pg_put_i64(params, (int64_t)look_of(call)->shards);
	pg_put_i64(params, STORE_OVERDUE_MS);
	put_pending(call);
}

static int read_look(struct pg_call *call)
{
	struct store_look *req = look_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);
	struct pending pending = read_pending(&call->queries[1]);

	while (pg_row_next(&row)) {
		if (req->req.scratch->row_count == (size_t)req->limit) {
			req->ret_has_more = true;
			break;
		}
		pg_read_stored_action(&row, scratch_add_row(req->req.scratch));
	}
	req->ret_now_ms = pending.now_ms;
	req->ret_pending_at_ms = pending.next_ms;
	for (int kind = 0; kind < ACTION_KIND_COUNT; kind++)
		if (pending.is_ready[kind])
			req->ret_pending_at_ms = pending.now_ms;
	return 0;
}

int pg_look(void *db, struct store_look *req, int64_t now_ms)
{
	static const struct pg_plan plan = {.place = PG_READS, .put = put_look, .read = read_look};

	return pg_call_start(db, &req->req, &plan);
}

/* --- claim --- */

static const struct pg_statement claim_statement = {.name = "claim",
	.text = "SELECT ret_clock, ret_won, ret_started, ret_cancel, ret_queued, ret_skipped"
		" FROM gathering.claim($1::uuid, $2::bigint * interval '1 millisecond',"
		" $3::boolean, $4::text[], $5::integer[], $6::uuid[], $7::bigint[],"
		" $8::timestamptz[], $9::timestamptz[], $10::integer[], $11::uuid[],"
		" $12::timestamptz[], $13::timestamptz[], $14::bigint[], $15::integer[],"
		" $16::boolean[])"};

static struct store_claim *claim_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_claim, req);
}

static void put_items(struct pg_params *params, const struct store_claim *req)
{
	pg_array_begin(params, PG_ID);
	for (size_t i = 0; i < req->count; i++)
		pg_array_id(params, &req->items[i].action->id);
	pg_array_end(params);
	pg_array_begin(params, PG_I64);
	for (size_t i = 0; i < req->count; i++)
		pg_array_i64(params, req->items[i].action->version);
	pg_array_end(params);
	pg_array_begin(params, PG_TIME);
	for (size_t i = 0; i < req->count; i++)
		pg_array_time(params, req->items[i].expected_ms);
	pg_array_end(params);
	pg_array_begin(params, PG_TIME);
	for (size_t i = 0; i < req->count; i++)
		pg_array_time(params, req->items[i].next_due_ms);
	pg_array_end(params);
}

#define EACH_DUE(req, item, due)                                                                   \
	for (size_t item = 0; item < (req)->count; item++)                                         \
		for (size_t due = 0; due < (req)->items[item].due_count; due++)

static void put_due_times(struct pg_params *params, const struct store_claim *req)
{
	pg_array_begin(params, PG_TIME);
	EACH_DUE(req, i, k)
	pg_array_time(params, req->items[i].dues[k].due_at_ms);
	pg_array_end(params);
	pg_array_begin(params, PG_TIME);
	EACH_DUE(req, i, k)
	{
		const struct planned_due *due = &req->items[i].dues[k];

		pg_array_time(params, due->count > 1 ? due->until_ms : due->due_at_ms);
	}
	pg_array_end(params);
}

/* 0 run, 1 late, 2 limit, 3 blackout: as the claim function has it. */
_Static_assert(DUE_RUN == 0 && DUE_SKIP_LATE == 1 && DUE_SKIP_LIMIT == 2 && DUE_SKIP_BLACKOUT == 3,
	"sql/pg counts on it");

static void put_dues(struct pg_params *params, const struct store_claim *req)
{
	size_t place = 0;

	pg_array_begin(params, PG_I32);
	EACH_DUE(req, i, k)
	pg_array_i32(params, (int32_t)i + 1);
	pg_array_end(params);
	pg_array_begin(params, PG_ID);
	EACH_DUE(req, i, k)
	pg_array_id(params, &req->req.scratch->ids[place++]);
	pg_array_end(params);
	put_due_times(params, req);
	pg_array_begin(params, PG_I64);
	EACH_DUE(req, i, k)
	{
		int64_t count = req->items[i].dues[k].count;

		pg_array_i64(params, count > 0 ? count : 1);
	}
	pg_array_end(params);
	pg_array_begin(params, PG_I32);
	EACH_DUE(req, i, k)
	pg_array_i32(params, (int32_t)req->items[i].dues[k].verdict);
	pg_array_end(params);
	pg_array_begin(params, PG_BOOL);
	for (size_t i = 0; i < req->count; i++)
		pg_array_bool(params, req->items[i].is_queued);
	pg_array_end(params);
}

static void put_claim(struct pg_call *call)
{
	const struct store_claim *req = claim_of(call);
	struct pg_params *params = pg_call_add(call, &claim_statement);

	pg_put_id(params, &call->pg->store->instance_id);
	pg_put_i64(params, call->pg->store->lease_ms);
	pg_put_bool(params, call->is_again);
	pg_put_kinds(params);
	pg_put_capacity(params, req->capacity);
	put_items(params, req);
	put_dues(params, req);
}

/* The row that the claim made, from what we know of it. */
static void add_started(struct pg_call *call, size_t item, size_t due, size_t place)
{
	struct store_claim *req = claim_of(call);
	const struct action *action = req->items[item].action;
	struct run *run = &req->ret_started[req->ret_started_count++];

	run_init(run, &req->req.scratch->ids[place], &req->items[item].dues[due], req->ret_now_ms);
	run->trigger = TRIGGER_SCHEDULE;
	run->action_id = action->id;
	run->action_version = action->version;
	run->action_name = xstrdup(action->name);
	run->priority = action->priority;
	run_begin(run, &call->pg->store->instance_id, req->ret_now_ms);
}

/* Both ascend: the places that the database names, and ours. */
static void read_started(struct pg_call *call, struct pg_row *row)
{
	struct store_claim *req = claim_of(call);
	struct pg_elements started = pg_read_array(row);
	size_t place = 0;

	if (started.left > 0)
		req->ret_started = xcalloc((size_t)started.left, sizeof(*req->ret_started));
	if (!pg_element_next(&started))
		return;
	EACH_DUE(req, i, k)
	{
		if ((size_t)pg_element_i64(&started) == ++place) {
			add_started(call, i, k, place - 1);
			if (!pg_element_next(&started))
				return;
		}
	}
}

static int read_claim(struct pg_call *call)
{
	struct store_claim *req = claim_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);
	struct pg_elements won;

	must(pg_row_next(&row));
	req->ret_now_ms = pg_read_time(&row);
	won = pg_read_array(&row);
	while (pg_element_next(&won))
		req->items[pg_element_i64(&won) - 1].ret_won = true;
	read_started(call, &row);
	pg_read_ids(&row, &req->ret_cancel, &req->ret_cancel_count);
	req->ret_queued = (size_t)pg_read_i64(&row);
	req->ret_skipped = (size_t)pg_read_i64(&row);
	pg_tell_cancels(call->pg, req->ret_cancel, req->ret_cancel_count);
	if (req->ret_queued > 0)
		pg_tell_pending(call->pg);
	return 0;
}

int pg_claim(void *db, struct store_claim *req, int64_t now_ms)
{
	static const struct pg_plan plan = {
		.place = PG_CLAIMS, .put = put_claim, .read = read_claim};

	return pg_call_start(db, &req->req, &plan);
}

/* --- take --- */

static const struct pg_statement take_statement = {.name = "take",
	.text = "SELECT bool_and(d.version IS NOT NULL) OVER (), " PG_RUN_FIELDS
		", " PG_RUN_ACTION_FIELDS ", r.kind" PG_RUN_EVENT_FIELDS
		" FROM gathering.take($1::uuid, $2::bigint * interval '1 millisecond', $3::uuid,"
		" $4::boolean, $5::text[], $6::integer[], $7::text[], $8::text[], $9::integer[]) "
		"r" PG_RUN_ACTION_JOINS PG_RUN_EVENT_JOIN};

static struct store_take *take_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_take, req);
}

static void put_limits(struct pg_params *params, const struct store_take *req)
{
	const struct run_limit *end = req->limits + req->limit_count;

	pg_array_begin(params, PG_TEXT);
	for (const struct run_limit *limit = req->limits; limit < end; limit++)
		if (limit->kind < 0)
			pg_array_null(params);
		else
			pg_array_text(params, action_kind_names[limit->kind]);
	pg_array_end(params);
	pg_array_begin(params, PG_TEXT);
	for (const struct run_limit *limit = req->limits; limit < end; limit++)
		if (limit->tag)
			pg_array_text(params, limit->tag);
		else
			pg_array_null(params);
	pg_array_end(params);
	pg_array_begin(params, PG_I32);
	for (const struct run_limit *limit = req->limits; limit < end; limit++)
		pg_array_i32(params, limit->max);
	pg_array_end(params);
}

static void put_take(struct pg_call *call)
{
	struct pg_params *params = pg_call_add(call, &take_statement);

	pg_put_id(params, &call->pg->store->instance_id);
	pg_put_i64(params, call->pg->store->lease_ms);
	pg_put_id(params, &call->token);
	pg_put_bool(params, call->is_again);
	pg_put_kinds(params);
	pg_put_capacity(params, take_of(call)->capacity);
	put_limits(params, take_of(call));
	put_pending(call);
}

/* How many of each kind are in *left still. */
static void read_taken_runs(struct pg_call *call, int left[static ACTION_KIND_COUNT])
{
	struct store_take *req = take_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);
	size_t room = 0;

	while (pg_row_next(&row)) {
		req->ret_started = grow_array(
			req->ret_started, req->ret_started_count, &room, sizeof(*req->ret_started));
		pg_skip(&row);
		pg_read_run(&row, &req->ret_started[req->ret_started_count]);
		pg_read_stored_action(&row, scratch_add_row(req->req.scratch));
		left[pg_read_kind(&row)]--;
		pg_read_run_event(&row, &req->ret_started[req->ret_started_count++]);
	}
}

/* The take sees what was written while it waited for a limit, the joins of its statement do not. */
static bool sees_definitions(const struct pg_call *call)
{
	struct pg_row row = pg_rows(&call->queries[0]);

	return !pg_row_next(&row) || pg_read_bool(&row);
}

/* What could start and was left although there is room was locked by somebody else, or waits for a
 * limit: then who ends a run that it counts takes the next, unless that one has no room. */
static int read_take(struct pg_call *call)
{
	struct store_take *req = take_of(call);
	struct pending pending = read_pending(&call->queries[1]);
	int left[ACTION_KIND_COUNT];

	if (!call->is_again && !sees_definitions(call)) {
		call->is_again = true; /* then it gives what it has taken */
		return PG_CALL_MORE;
	}
	memcpy(left, req->capacity, sizeof(left));
	read_taken_runs(call, left);
	req->ret_now_ms = pending.now_ms;
	req->ret_pending_at_ms = pending.next_ms;
	for (int kind = 0; kind < ACTION_KIND_COUNT; kind++)
		if (pending.is_ready[kind] && left[kind] > 0)
			req->ret_pending_at_ms =
				pending.now_ms +
				(req->limit_count > 0 ? LIMITED_AGAIN_MS : LOCKED_AGAIN_MS);
	return 0;
}

int pg_take(void *db, struct store_take *req, int64_t now_ms)
{
	static const struct pg_plan plan = {.place = PG_CLAIMS, .put = put_take, .read = read_take};

	return pg_call_start(db, &req->req, &plan);
}

/* --- trigger --- */

static const struct pg_statement trigger_statement = {.name = "trigger",
	.text = "SELECT " PG_RUN_FIELDS ", t.ret_cancel, coalesce(t.ret_full, -1)"
		" FROM gathering.trigger($1::uuid, $2::uuid, $3::uuid, $4::text, $5::integer) t,"
		" LATERAL (SELECT (t.ret_run).*) r" PG_RUN_JOIN};

static void put_trigger(struct pg_call *call)
{
	const struct store_trigger *req = container_of(call->req, struct store_trigger, req);
	struct pg_params *params = pg_call_add(call, &trigger_statement);

	pg_put_id(params, &req->action_id);
	pg_put_id(params, &req->req.scratch->ids[0]);
	pg_put_id(params, &req->retry_of);
	pg_put_text(params, req->traceparent);
	pg_put_i32(params, req->queued_max);
}

static int read_trigger(struct pg_call *call)
{
	struct store_trigger *req = container_of(call->req, struct store_trigger, req);
	struct pg_row row = pg_rows(&call->queries[0]);
	int64_t full;

	if (!pg_row_next(&row))
		return err_no_action(&req->req.err);
	pg_read_run(&row, &req->ret_run);
	pg_read_ids(&row, &req->ret_cancel, &req->ret_cancel_count);
	pg_tell_cancels(call->pg, req->ret_cancel, req->ret_cancel_count);
	if (req->ret_run.state == RUN_PENDING)
		pg_tell_pending(call->pg);
	full = pg_read_i64(&row);
	if (full == 0)
		return err_server_full(&req->req.err, req->queued_max);
	return full < 0 ? 0 : err_queue_full(&req->req.err, full);
}

int pg_trigger(void *db, struct store_trigger *req, int64_t now_ms)
{
	static const struct pg_plan plan = {
		.place = PG_WRITES, .put = put_trigger, .read = read_trigger};

	return pg_call_start(db, &req->req, &plan);
}
