/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading the ledger, cancel, output; and the counts. */
#include <stdlib.h>
#include <string.h>

#include "store/pg_store_priv.h"

/* --- get --- */

/* Not those of a deleted action, which go later. */
#define RUN_FROM " FROM gathering.run r JOIN gathering.action a ON a.id = r.action_id"

static const struct pg_statement get_statement = {.name = "get run",
	.text = "SELECT " PG_RUN_FIELDS PG_RUN_EVENT_FIELDS PG_NOTE_FIELDS RUN_FROM
		PG_RUN_EVENT_JOIN PG_NOTE_JOIN " WHERE r.id = $1::uuid"};

static void put_get(struct pg_call *call)
{
	pg_put_id(pg_call_add(call, &get_statement),
		&container_of(call->req, struct store_get_run, req)->id);
}

static int read_get(struct pg_call *call)
{
	struct store_get_run *req = container_of(call->req, struct store_get_run, req);
	struct pg_row row = pg_rows(&call->queries[0]);

	if (!pg_row_next(&row))
		return err_no_run(&call->req->err);
	pg_read_run(&row, &req->ret_run);
	pg_read_run_event(&row, &req->ret_run);
	pg_read_note(&row, &req->ret_run);
	return 0;
}

int pg_get_run(void *db, struct store_get_run *req, int64_t now_ms)
{
	static const struct pg_plan plan = {.place = PG_READS, .put = put_get, .read = read_get};

	return pg_call_start(db, &req->req, &plan);
}

/* --- list --- */

/* $1 before this id, $2 states, $3 trigger, $4 and $5 the range of due times, $6 action. */
#define RUN_FILTER                                                                                 \
	" r.id < $1::uuid AND ($2::text[] IS NULL OR r.state = ANY ($2))"                          \
	" AND ($3::text IS NULL OR r.triggered_by = $3)"                                           \
	" AND ($4::timestamptz IS NULL OR r.due_at >= $4)"                                         \
	" AND ($5::timestamptz IS NULL OR r.due_at < $5)"
#define OF_ANY    " WHERE $6::uuid IS NULL AND" RUN_FILTER
#define OF_ACTION " WHERE r.action_id = $6::uuid AND" RUN_FILTER
#define OF_OPEN   " WHERE r.state IN ('pending','running') AND $6::uuid IS NULL AND" RUN_FILTER
#define OF_TROUBLE                                                                                 \
	" WHERE r.state IN ('failed','timed_out','held') AND $6::uuid IS NULL AND" RUN_FILTER
#define LIST(of)                                                                                   \
	"SELECT " PG_RUN_FIELDS PG_NOTE_FIELDS RUN_FROM PG_NOTE_JOIN of                            \
	" ORDER BY r.id DESC LIMIT $7::bigint"
#define COUNT(of) "SELECT count(*) FROM gathering.run r" of

/* The same list by the index that fits the filter best. */
static const struct run_query {
	struct pg_statement list, count;
} any_runs = {{"list runs", LIST(OF_ANY)}, {"count runs", COUNT(OF_ANY)}},
  runs_of_action = {{"list runs of an action", LIST(OF_ACTION)},
	  {"count runs of an action", COUNT(OF_ACTION)}},
  open_runs = {{"list open runs", LIST(OF_OPEN)}, {"count open runs", COUNT(OF_OPEN)}},
  trouble_runs = {{"list failed runs", LIST(OF_TROUBLE)}, {"count failed runs", COUNT(OF_TROUBLE)}};

#define STATE_BIT(state) (1u << RUN_##state)
#define TROUBLE_STATES   (STATE_BIT(FAILED) | STATE_BIT(TIMED_OUT) | STATE_BIT(HELD))
#define OPEN_STATES      (STATE_BIT(PENDING) | STATE_BIT(RUNNING))

static const struct run_query *choose_query(const struct store_list_runs *req)
{
	if (!id_is_zero(&req->action_id))
		return &runs_of_action;
	if (req->states && !(req->states & ~OPEN_STATES))
		return &open_runs;
	if (req->states && !(req->states & ~TROUBLE_STATES))
		return &trouble_runs;
	return &any_runs;
}

static struct id greatest_id(void)
{
	struct id id;

	memset(id.bytes, 0xff, sizeof(id.bytes));
	return id;
}

#define PG_TEXTS ((enum pg_type)1009) /* text[]; a statement's types stay the same */

static void put_states(struct pg_params *params, uint32_t states)
{
	if (states == 0) {
		pg_put_null(params, PG_TEXTS);
		return;
	}
	pg_array_begin(params, PG_TEXT);
	for (int state = 0; state < RUN_STATE_COUNT; state++)
		if (states & (1u << state))
			pg_array_text(params, run_state_names[state]);
	pg_array_end(params);
}

static void put_filter(
	struct pg_params *params, const struct store_list_runs *req, const struct id *before)
{
	pg_put_id(params, before);
	put_states(params, req->states);
	pg_put_name(params, run_trigger_names, req->trigger);
	pg_put_time(params, req->due_from_ms);
	pg_put_time(params, req->due_to_ms);
	pg_put_id(params, &req->action_id);
}

static struct store_list_runs *list_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_list_runs, req);
}

static void put_list(struct pg_call *call)
{
	const struct store_list_runs *req = list_of(call);
	const struct run_query *query = choose_query(req);
	struct id newest = greatest_id();
	struct pg_params *params = pg_call_add(call, &query->list);

	put_filter(params, req, id_is_zero(&req->before_id) ? &newest : &req->before_id);
	pg_put_i64(params, (int64_t)req->limit + 1);
	if (req->want_total)
		put_filter(pg_call_add(call, &query->count), req, &newest);
}

static int read_list(struct pg_call *call)
{
	struct store_list_runs *req = list_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);
	size_t room = 0;

	while (pg_row_next(&row)) {
		if (req->ret_count == (size_t)req->limit) {
			req->ret_has_more = true;
			break;
		}
		req->ret_runs =
			grow_array(req->ret_runs, req->ret_count, &room, sizeof(*req->ret_runs));
		pg_read_run(&row, &req->ret_runs[req->ret_count]);
		pg_read_note(&row, &req->ret_runs[req->ret_count++]);
	}
	if (req->want_total) {
		row = pg_rows(&call->queries[1]);
		must(pg_row_next(&row));
		req->ret_total = pg_read_i64(&row);
	}
	return 0;
}

int pg_list_runs(void *db, struct store_list_runs *req, int64_t now_ms)
{
	static const struct pg_plan plan = {.place = PG_READS, .put = put_list, .read = read_list};

	return pg_call_start(db, &req->req, &plan);
}

/* --- cancel --- */

static const struct pg_statement cancel_statement = {.name = "cancel",
	.text = "SELECT " PG_RUN_FIELDS ", t.ret_done, t.ret_cancel"
		" FROM gathering.cancel($1::uuid) t,"
		" LATERAL (SELECT (t.ret_run).*) r" PG_RUN_JOIN};

static struct store_cancel_run *cancel_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_cancel_run, req);
}

static void put_cancel(struct pg_call *call)
{
	pg_put_id(pg_call_add(call, &cancel_statement), &cancel_of(call)->id);
}

static int read_cancel(struct pg_call *call)
{
	struct store_cancel_run *req = cancel_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);
	struct run *run = &req->ret_run;

	if (!pg_row_next(&row))
		return err_no_run(&req->req.err);
	pg_read_run(&row, run);
	if (run->state == RUN_RUNNING)
		pg_tell_cancels(call->pg, &run->id, 1);
	if (pg_read_bool(&row)) {
		if (run->state == RUN_CANCELLED) /* its action may count from this end */
			pg_tell_action(call->pg, &run->action_id);
		pg_read_ids(&row, &req->ret_cancel, &req->ret_cancel_count);
		pg_tell_cancels(call->pg, req->ret_cancel, req->ret_cancel_count);
		return 0;
	}
	if (call->is_again && run->state == RUN_CANCELLED && run->reason == REASON_USER)
		return 0; /* the answer to an earlier try was lost */
	return err_run_ended(&req->req.err, run->state);
}

int pg_cancel_run(void *db, struct store_cancel_run *req, int64_t now_ms)
{
	static const struct pg_plan plan = {
		.place = PG_WRITES, .put = put_cancel, .read = read_cancel};

	return pg_call_start(db, &req->req, &plan);
}

/* --- pause and resume --- */

/* Both mirror run_apply_change(), in two steps: what may be done to the row as it is when it is
 * locked; then the row, changed or not, from which the same rules make the answer. */
#define CHANGED(set, states)                                                                       \
	"WITH changed AS (UPDATE gathering.run r SET " set " WHERE r.id = $1::uuid AND " states    \
	" RETURNING r.*)"                                                                          \
	" SELECT " PG_RUN_FIELDS " FROM changed r" PG_RUN_JOIN " UNION ALL"                        \
	" SELECT " PG_RUN_FIELDS RUN_FROM                                                          \
	" WHERE r.id = $1 AND NOT EXISTS (SELECT 1 FROM changed)"

static const struct pg_statement pause_statement = {.name = "pause run",
	.text = CHANGED("state = CASE r.state WHEN 'pending' THEN 'held' ELSE r.state END,"
			" reason = 'paused', not_before = NULL",
		"r.state IN ('pending','running') AND NOT r.cancel_requested")};
static const struct pg_statement resume_statement = {.name = "resume run",
	.text = CHANGED("state = 'pending', reason = 'queued', instance_id = NULL,"
			" claimed_at = NULL, started_at = NULL, finished_at = NULL",
		"r.state = 'held'")};

static struct store_change_run *change_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_change_run, req);
}

static void put_change(struct pg_call *call)
{
	bool is_pause = change_of(call)->change == RUN_PAUSE;

	pg_put_id(pg_call_add(call, is_pause ? &pause_statement : &resume_statement),
		&change_of(call)->id);
}

static int read_change(struct pg_call *call)
{
	struct store_change_run *req = change_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);

	if (!pg_row_next(&row))
		return err_no_run(&req->req.err);
	pg_read_run(&row, &req->ret_run);
	if (req->change == RUN_PAUSE && req->ret_run.state == RUN_RUNNING)
		pg_tell_pause(call->pg, &req->ret_run.id);
	else if (req->ret_run.state == RUN_PENDING)
		pg_tell_pending(call->pg);
	return run_apply_change(&req->ret_run, req->change, call->is_again, &req->req.err);
}

int pg_change_run(void *db, struct store_change_run *req, int64_t now_ms)
{
	static const struct pg_plan plan = {
		.place = PG_WRITES, .put = put_change, .read = read_change};

	return pg_call_start(db, &req->req, &plan);
}

/* --- output --- */

/* A run without that attempt has a row too, with NULLs. */
static const struct pg_statement output_statement = {.name = "output",
	.text = "SELECT t.run_id IS NOT NULL OR l.run_id IS NOT NULL,"
		" coalesce(t.output, l.output), coalesce(CASE WHEN t.output IS NULL"
		" THEN l.output_total END, t.output_total),"
		" coalesce(t.attempt, l.attempt), t.run_id IS NULL FROM gathering.run r"
		" LEFT JOIN LATERAL (SELECT * FROM gathering.attempt t WHERE t.run_id = r.id"
		" AND ($2::integer = 0 OR t.attempt = $2) AND ($3::bigint = 0 OR t.epoch = $3)"
		" ORDER BY t.epoch DESC LIMIT 1) t ON true"
		" LEFT JOIN gathering.live l ON l.run_id = r.id AND l.epoch = $3"
		" WHERE r.id = $1::uuid"};

static void put_output(struct pg_call *call)
{
	const struct store_get_output *req = container_of(call->req, struct store_get_output, req);
	struct pg_params *params = pg_call_add(call, &output_statement);

	pg_put_id(params, &req->run_id);
	pg_put_i32(params, req->attempt);
	pg_put_i64(params, req->epoch);
}

static int read_output(struct pg_call *call)
{
	struct store_get_output *req = container_of(call->req, struct store_get_output, req);
	struct pg_row row = pg_rows(&call->queries[0]);
	const char *bytes;

	if (!pg_row_next(&row))
		return err_no_run(&req->req.err);
	if (!pg_read_bool(&row))
		return err_no_output(&req->req.err, req->attempt);
	bytes = pg_read_bytes(&row, &req->ret_len);
	req->ret_output = req->ret_len > 0 ? xmemdup(bytes, req->ret_len) : NULL;
	req->ret_total = pg_read_i64(&row);
	req->ret_attempt = pg_read_int(&row, 0);
	req->ret_is_live = pg_read_bool(&row);
	return 0;
}

int pg_get_output(void *db, struct store_get_output *req, int64_t now_ms)
{
	static const struct pg_plan plan = {
		.place = PG_READS, .put = put_output, .read = read_output};

	return pg_call_start(db, &req->req, &plan);
}

/* --- health --- */

/* Counting a million rows each second is no health check: above 100,000 the statistics will do. */
static const struct pg_statement stats_statement = {.name = "stats",
	.text = "SELECT gathering.clock(),"
		" (SELECT CASE WHEN c.reltuples > 100000 THEN c.reltuples::bigint"
		" ELSE (SELECT count(*) FROM gathering.action) END"
		" FROM pg_class c WHERE c.oid = 'gathering.action'::regclass),"
		" (SELECT count(*) FROM gathering.action WHERE is_paused),"
		" (SELECT count(*) FROM gathering.run WHERE state = 'pending'"
		" AND state IN ('pending','running')),"
		" (SELECT count(*) FROM gathering.run WHERE state = 'running'),"
		" (SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c"
		" WHERE c.relnamespace = 'gathering'::regnamespace AND c.relkind = 'r'),"
		" (SELECT count(*) FROM gathering.instance)"};

static void put_stats(struct pg_call *call)
{
	(void)pg_call_add(call, &stats_statement);
}

static int read_stats(struct pg_call *call)
{
	struct store_stats *req = container_of(call->req, struct store_stats, req);
	struct pg_row row = pg_rows(&call->queries[0]);

	must(pg_row_next(&row));
	req->ret_now_ms = pg_read_time(&row);
	req->ret_actions = pg_read_i64(&row);
	req->ret_actions_paused = pg_read_i64(&row);
	req->ret_runs_pending = pg_read_i64(&row);
	req->ret_runs_running = pg_read_i64(&row);
	req->ret_size_bytes = pg_read_i64(&row);
	req->ret_instances = pg_read_i64(&row);
	return 0;
}

int pg_stats(void *db, struct store_stats *req, int64_t now_ms)
{
	static const struct pg_plan plan = {
		.place = PG_READS, .put = put_stats, .read = read_stats};

	return pg_call_start(db, &req->req, &plan);
}
