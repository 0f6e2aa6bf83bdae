/* SPDX-License-Identifier: Apache-2.0
 *
 * Backfills: a row with a cursor, which moves in the transaction that makes the runs. */
#include <stdlib.h>

#include "store/sqlite_priv.h"

static void read_backfill(struct statement *st, struct backfill *row)
{
	row->id = read_id(st);
	row->action_id = read_id(st);
	row->number = read_i64(st);
	row->action_name = read_text(st);
	row->state = (enum backfill_state)read_name(st, backfill_state_names);
	row->rerun = (enum backfill_rerun)read_name(st, backfill_rerun_names);
	row->seed = read_text(st);
	row->schedule = read_text(st);
	row->from_ms = read_i64(st);
	row->to_ms = read_i64(st);
	row->cursor_ms = read_time(st);
	row->total = read_i64(st);
	row->made = read_i64(st);
	row->passed = read_i64(st);
	row->interval_ms = read_i64(st);
	row->max_open = read_int(st, 0);
	row->next_at_ms = read_i64(st);
	row->created_at_ms = read_i64(st);
	row->finished_at_ms = read_time(st);
	row->is_action_paused = read_i64(st) != 0;
}

/* Strings are the caller's. ERR_NOT_FOUND. */
static int load(struct conn *conn, const struct id *id, struct backfill *ret_row, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_BACKFILL_BY_ID);
	int status;

	*ret_row = (struct backfill){0};
	put_id(&st, id);
	status = statement_step(&st, err);
	if (status > 0)
		read_backfill(&st, ret_row);
	statement_end(&st);
	if (status == 0)
		return err_no_backfill(err);
	return status < 0 ? status : 0;
}

/* --- create --- */

/* 1: another one is not over, and *ret_id names it; 0. */
static int find_busy(
	struct conn *conn, const struct id *action_id, struct id *ret_id, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_BACKFILL_BUSY);
	int status;

	put_id(&st, action_id);
	status = statement_step(&st, err);
	if (status > 0)
		*ret_id = read_id(&st);
	statement_end(&st);
	return status;
}

static int find_number(
	struct conn *conn, const struct id *action_id, int64_t *ret_number, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_BACKFILL_LAST);
	int status;

	put_id(&st, action_id);
	status = statement_step(&st, err);
	*ret_number = status > 0 ? read_i64(&st) + 1 : 1;
	statement_end(&st);
	if (status < 0)
		return status;
	st = statement_start(conn, QUERY_BACKFILL_FORGET);
	put_id(&st, action_id);
	put_i64(&st, *ret_number - BACKFILLS_KEPT);
	return statement_run(&st, err);
}

static int insert(struct conn *conn, const struct id *id, int64_t number,
	const struct backfill *given, int64_t now_ms, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_BACKFILL_INSERT);

	put_id(&st, id);
	put_id(&st, &given->action_id);
	put_i64(&st, number);
	put_text(&st, backfill_rerun_names[given->rerun]);
	put_text(&st, given->seed);
	put_text(&st, given->schedule);
	put_i64(&st, given->from_ms);
	put_i64(&st, given->to_ms);
	put_time(&st, given->cursor_ms);
	put_i64(&st, given->total);
	put_i64(&st, given->interval_ms);
	put_i64(&st, given->max_open);
	put_i64(&st, now_ms);
	return statement_run(&st, err);
}

int sqlite_create_backfill(void *data, struct store_create_backfill *req, int64_t now_ms)
{
	struct conn *conn = &((struct sqlite_db *)data)->writer;
	const struct id *id = scratch_next_id(req->req.scratch);
	const struct id *action_id = &req->backfill->action_id;
	struct err *err = &req->req.err;
	struct claiming claiming = claiming_start(data, now_ms, NULL, NULL, err);
	auto_free char *name = NULL;
	struct id other;
	int64_t number, cursor_ms;
	int status;

	claiming.action_id = *action_id;
	status = claiming_load(&claiming, &cursor_ms, &name);
	if (status <= 0)
		return status < 0 ? status : err_no_action(err);
	status = find_busy(conn, action_id, &other, err);
	if (status != 0)
		return status < 0 ? status : err_backfill_busy(err, &other);
	if (find_number(conn, action_id, &number, err) < 0 ||
		insert(conn, id, number, req->backfill, now_ms, err) < 0)
		return err->code;
	return load(conn, id, &req->ret_backfill, err);
}

/* --- list --- */

_Static_assert(RUN_PENDING == 0 && RUN_HELD == 7 && RUN_STATE_COUNT == 8, "the query has them so");

static int count_runs(struct conn *conn, struct backfill *row, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_BACKFILL_COUNTS);
	int status;

	put_id(&st, &row->action_id);
	put_i64(&st, row->number);
	status = statement_step(&st, err);
	for (int state = 0; status > 0 && state < RUN_STATE_COUNT; state++)
		row->runs[state] = read_i64(&st);
	statement_end(&st);
	return status < 0 ? status : 0;
}

static const struct id greatest_id = {
	.bytes = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}};

static struct statement start_list(struct conn *conn, const struct store_list_backfills *req)
{
	struct statement st;

	if (!id_is_zero(&req->id)) {
		st = statement_start(conn, QUERY_BACKFILL_BY_ID);
		put_id(&st, &req->id);
		return st;
	}
	st = statement_start(
		conn, req->only_running ? QUERY_BACKFILL_LIST_RUNNING : QUERY_BACKFILL_LIST);
	put_id(&st, id_is_zero(&req->before_id) ? &greatest_id : &req->before_id);
	put_id(&st, &req->action_id);
	put_i64(&st, (int64_t)req->limit + 1);
	return st;
}

int sqlite_list_backfills(void *data, struct store_list_backfills *req, int64_t now_ms)
{
	struct conn *conn = &((struct sqlite_db *)data)->reader;
	struct statement st = start_list(conn, req);
	int status;

	req->ret_now_ms = now_ms;
	while ((status = statement_step(&st, &req->req.err)) > 0) {
		if (req->ret_count == (size_t)req->limit) {
			req->ret_has_more = true;
			break;
		}
		read_backfill(&st, backfills_add(req));
	}
	statement_end(&st);
	for (size_t i = 0; status >= 0 && i < req->ret_count; i++)
		status = count_runs(conn, &req->ret_backfills[i], &req->req.err);
	return status < 0 ? status : 0;
}

/* --- advance --- */

/* 1, 0. */
static int is_passed(struct claiming *claiming, const struct backfill *row, int64_t due_at_ms)
{
	struct statement st;

	if (row->rerun == BACKFILL_RERUN_ALL)
		return 0;
	st = statement_start(claiming->conn, QUERY_BACKFILL_RAN);
	put_id(&st, &row->action_id);
	put_i64(&st, due_at_ms);
	put_text(&st, backfill_rerun_names[row->rerun]);
	return statement_any(&st, claiming->err);
}

static int make_run(struct claiming *claiming, const struct backfill *row, int64_t due_at_ms,
	const struct id *id)
{
	const struct due_fate fate = {.state = RUN_PENDING, .reason = REASON_QUEUED};
	const struct planned_due due = {.due_at_ms = due_at_ms, .count = 1};
	struct run run;
	bool is_new;

	run_init(&run, id, &due, claiming->now_ms);
	run.trigger = TRIGGER_BACKFILL;
	run.backfill = row->number;
	return claiming_write_due(claiming, &fate, &run, &is_new);
}

static int make_runs(struct claiming *claiming, struct store_advance_backfill *req,
	const struct backfill *row, int64_t *ret_cursor_ms)
{
	size_t i;

	for (i = 0; i < req->count && req->ret_made < (int64_t)req->max_new; i++) {
		int passed = is_passed(claiming, row, req->dues[i]);

		if (passed < 0)
			return passed;
		req->ret_passed += passed;
		if (passed)
			continue;
		if (make_run(claiming, row, req->dues[i], scratch_next_id(req->req.scratch)) < 0)
			return req->req.err.code;
		req->ret_made++;
	}
	*ret_cursor_ms = i < req->count ? req->dues[i] : req->next_cursor_ms;
	return 0;
}

static int move(
	struct conn *conn, struct store_advance_backfill *req, int64_t cursor_ms, int64_t now_ms)
{
	struct statement st = statement_start(conn, QUERY_BACKFILL_MOVE);

	put_id(&st, &req->id);
	put_time(&st, cursor_ms);
	put_i64(&st, req->ret_made);
	put_i64(&st, req->ret_passed);
	put_i64(&st, now_ms);
	put_i64(&st, req->ret_is_done);
	return statement_run(&st, &req->req.err);
}

static int advance(struct sqlite_db *db, struct store_advance_backfill *req, struct backfill *row,
	int64_t now_ms)
{
	struct claiming claiming = claiming_start(db, now_ms, NULL, NULL, &req->req.err);
	auto_free char *name = NULL;
	int64_t action_cursor_ms, cursor_ms = NO_TIME;

	claiming.action_id = row->action_id;
	if (claiming_load(&claiming, &action_cursor_ms, &name) < 0)
		return req->req.err.code;
	claiming.priority = BACKFILL_PRIORITY;
	if (make_runs(&claiming, req, row, &cursor_ms) < 0 ||
		count_runs(&db->writer, row, &req->req.err) < 0)
		return req->req.err.code;
	req->ret_is_done = cursor_ms == NO_TIME && backfill_open_runs(row) == 0;
	return move(&db->writer, req, cursor_ms, now_ms);
}

int sqlite_advance_backfill(void *data, struct store_advance_backfill *req, int64_t now_ms)
{
	struct sqlite_db *db = data;
	struct backfill row;
	int status = load(&db->writer, &req->id, &row, &req->req.err);

	if (status == 0)
		req->ret_won = row.state == BACKFILL_RUNNING && !row.is_action_paused &&
			       row.cursor_ms == req->cursor_ms;
	if (status == 0 && req->ret_won)
		status = advance(db, req, &row, now_ms);
	backfill_fini(&row);
	return status;
}

/* --- cancel --- */

static int list_open(struct conn *conn, const struct backfill *row, struct id **ret_ids,
	size_t *ret_count, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_BACKFILL_OPEN_RUNS);
	int status;

	put_id(&st, &row->action_id);
	put_i64(&st, row->number);
	while ((status = statement_step(&st, err)) > 0) {
		struct id id = read_id(&st);

		ids_add(ret_ids, ret_count, &id);
	}
	statement_end(&st);
	return status;
}

static int cancel_one(struct sqlite_db *db, struct store_cancel_backfill *req, const struct id *id,
	int64_t now_ms)
{
	struct store_cancel_run one = {.req = req->req, .id = *id};
	int status = sqlite_cancel_run(db, &one, now_ms);

	if (status == 0 && one.ret_run.state == RUN_RUNNING)
		ids_add(&req->ret_cancel, &req->ret_cancel_count, id);
	for (size_t i = 0; status == 0 && i < one.ret_cancel_count; i++)
		ids_add(&req->ret_cancel, &req->ret_cancel_count, &one.ret_cancel[i]);
	req->req.err = one.req.err;
	store_cancel_run_fini(&one);
	return status;
}

static int cancel_all(struct sqlite_db *db, struct store_cancel_backfill *req,
	const struct backfill *row, int64_t now_ms)
{
	struct statement st = statement_start(&db->writer, QUERY_BACKFILL_CANCEL);
	struct id *ids = NULL;
	size_t count = 0;
	int status;

	put_id(&st, &req->id);
	put_i64(&st, now_ms);
	status = statement_run(&st, &req->req.err);
	if (status == 0)
		status = list_open(&db->writer, row, &ids, &count, &req->req.err);
	for (size_t i = 0; status == 0 && i < count; i++)
		status = cancel_one(db, req, &ids[i], now_ms);
	free(ids);
	return status;
}

int sqlite_cancel_backfill(void *data, struct store_cancel_backfill *req, int64_t now_ms)
{
	struct sqlite_db *db = data;
	struct backfill row;
	int status = load(&db->writer, &req->id, &row, &req->req.err);

	if (status == 0)
		status = row.state == BACKFILL_RUNNING
				 ? cancel_all(db, req, &row, now_ms)
				 : err_backfill_over(&req->req.err, row.state);
	backfill_fini(&row);
	return status;
}
