/* SPDX-License-Identifier: Apache-2.0
 *
 * Retention, deadlines and how an action fares, in SQLite. A row of its own for the actions that
 * ask for any of it: the others cost one look by key at the end of a run. */
#include <stdlib.h>
#include <string.h>

#include "base/prove.h"
#include "store/sqlite_priv.h"

/* --- the row --- */

int care_load(
	struct conn *conn, const struct id *action_id, struct care_row *ret_row, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_CARE_GET);
	int status;

	*ret_row = (struct care_row){.action_id = *action_id, .care = CARE_NONE};
	put_id(&st, action_id);
	status = statement_step(&st, err);
	if (status > 0) {
		ret_row->care.failing_since_ms = read_time(&st);
		ret_row->care.deadline_ms = read_time(&st);
		ret_row->care.late_since_ms = read_time(&st);
		ret_row->expect_ms = read_i64(&st);
		for (int alert = 0; alert < ALERT_COUNT; alert++)
			ret_row->hooks[alert] = read_text(&st);
		ret_row->is_paused = read_i64(&st) != 0;
		ret_row->action_name = read_text(&st);
	}
	statement_end(&st);
	return status;
}

void care_row_fini(struct care_row *row)
{
	for (int alert = 0; alert < ALERT_COUNT; alert++)
		free(row->hooks[alert]);
	free(row->action_name);
}

static void put_care(struct statement *st, const struct id *action_id, const struct care *care)
{
	put_id(st, action_id);
	put_time(st, care->failing_since_ms);
	put_time(st, care->deadline_ms);
	put_time(st, care->late_since_ms);
}

int care_save(struct conn *conn, const struct care_row *row, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_CARE_SET);

	put_care(&st, &row->action_id, &row->care);
	return statement_run(&st, err);
}

static int show_care(struct conn *conn, const struct id *action_id, struct action_care *ret_care,
	struct err *err)
{
	struct statement st = statement_start(conn, QUERY_CARE_SHOWN);
	int status;

	put_id(&st, action_id);
	status = statement_step(&st, err);
	if (status > 0) {
		ret_care->care.failing_since_ms = read_time(&st);
		ret_care->care.deadline_ms = read_time(&st);
		ret_care->care.late_since_ms = read_time(&st);
		for (int alert = 0; alert < ALERT_COUNT; alert++)
			ret_care->missing_hooks |= read_i64(&st) ? 1u << alert : 0;
	}
	statement_end(&st);
	return status;
}

int sqlite_get_cares(void *data, struct store_get_cares *req, int64_t now_ms)
{
	struct conn *conn = &((struct sqlite_db *)data)->reader;
	int status = 0;

	for (size_t i = 0; i < req->count && status >= 0; i++)
		status = show_care(conn, &req->actions[i]->id, &req->ret_cares[i], &req->req.err);
	return status < 0 ? status : 0;
}

/* --- what the definition asks for --- */

static bool asks_care(const struct action *action)
{
	return action->retention.age_ms > 0 || action->retention.count > 0 ||
	       action->expect_success_ms > 0 || action->hooks[ALERT_FAILING] ||
	       action->hooks[ALERT_RECOVERED] || action->hooks[ALERT_LATE];
}

static void put_wish(struct statement *st, int64_t number)
{
	put_time(st, number > 0 ? number : NO_TIME);
}

static int write_row(struct conn *conn, const struct id *id, const struct action *action,
	const struct care *care, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_CARE_PUT);

	put_care(&st, id, care);
	put_wish(&st, action->retention.age_ms);
	put_wish(&st, action->retention.count);
	put_wish(&st, action->expect_success_ms);
	for (int alert = 0; alert < ALERT_COUNT; alert++)
		put_text(&st, action->hooks[alert]);
	return statement_run(&st, err);
}

int care_write(struct conn *conn, const struct id *id, const struct action *action, bool is_paused,
	int64_t now_ms, struct err *err)
{
	struct care_row old;
	int status = care_load(conn, id, &old, err);

	if (status > 0 || (status == 0 && asks_care(action))) {
		care_expect(&old.care, old.expect_ms, action->expect_success_ms, is_paused, now_ms);
		status = write_row(conn, id, action, &old.care, err);
	}
	care_row_fini(&old);
	return status;
}

int care_paused(
	struct conn *conn, const struct id *id, bool is_paused, int64_t now_ms, struct err *err)
{
	struct care_row row;
	int status = care_load(conn, id, &row, err);

	if (status > 0) {
		care_pause(&row.care, row.expect_ms, is_paused, now_ms);
		status = care_save(conn, &row, err);
	}
	care_row_fini(&row);
	return status;
}

/* --- lapse --- */

/* The ids that a query gives. */
static int list_ids(struct statement *st, struct id **ret_ids, size_t *ret_count, struct err *err)
{
	int status;

	while ((status = statement_step(st, err)) > 0) {
		struct id id = read_id(st);

		ids_add(ret_ids, ret_count, &id);
	}
	statement_end(st);
	return status;
}

static int tell_late(struct sqlite_db *db, struct store_lapse *req, struct care_row *row)
{
	auto_free char *payload =
		late_payload(row->action_name, row->care.deadline_ms, row->expect_ms);
	const struct sequels sequels = {
		.cancel = &req->ret_cancel, .cancel_count = &req->ret_cancel_count};
	const struct alert_news news = {
		.alert = ALERT_LATE,
		.row = row,
		.event_id = id_derive(&row->action_id, &row->action_id, req->ret_now_ms),
		.payload = payload,
		.depth = 1,
	};

	if (!RULE_IS_OFF(LATE_ONCE))
		row->care.deadline_ms = NO_TIME;
	row->care.late_since_ms = req->ret_now_ms;
	if (care_save(&db->writer, row, &req->req.err) < 0)
		return req->req.err.code;
	req->ret_count++;
	return tell_alert(db, &news, &sequels, req->ret_now_ms, &req->req.err);
}

static int lapse_one(struct sqlite_db *db, struct store_lapse *req, const struct id *action_id)
{
	struct care_row row;
	int status = care_load(&db->writer, action_id, &row, &req->req.err);

	if (status > 0)
		status = tell_late(db, req, &row);
	care_row_fini(&row);
	return status;
}

int sqlite_lapse(void *data, struct store_lapse *req, int64_t now_ms)
{
	struct sqlite_db *db = data;
	struct statement st = statement_start(&db->writer, QUERY_CARE_LAPSED);
	struct id *ids = NULL;
	size_t count = 0;
	int status;

	req->ret_now_ms = now_ms;
	req->ret_next_ms = req->ret_renew_ms = NO_TIME;
	put_i64(&st, now_ms);
	put_i64(&st, req->limit);
	status = list_ids(&st, &ids, &count, &req->req.err);
	for (size_t i = 0; i < count && status >= 0; i++)
		status = lapse_one(db, req, &ids[i]);
	free(ids);
	if (status < 0)
		return status;
	st = statement_start(&db->writer, QUERY_CARE_NEXT);
	if (statement_i64(&st, &req->ret_next_ms, &req->req.err) < 0)
		return req->req.err.code;
	st = statement_start(&db->writer, QUERY_CARE_RENEW);
	return statement_i64(&st, &req->ret_renew_ms, &req->req.err);
}

/* --- retain --- */

/* A step on its way. */
struct retaining {
	struct conn *conn;
	struct store_retain *req;
	int64_t now_ms;
	struct err *err;
};

static int64_t room_left(const struct retaining *step)
{
	return step->req->limit - step->req->ret_removed;
}

/* Removes the runs that the query gives. */
static int drop_listed(struct retaining *step, struct statement *st)
{
	struct id *ids = NULL;
	size_t count = 0;
	int status = list_ids(st, &ids, &count, step->err);

	for (size_t i = 0; i < count && status >= 0; i++)
		status = run_by_id(step->conn, QUERY_RUN_DELETE, &ids[i], step->err);
	step->req->ret_removed += (int64_t)count;
	free(ids);
	return status;
}

int drop_ledger(struct conn *conn, const struct id *action_id, int64_t limit, int64_t *ret_removed,
	struct err *err)
{
	struct store_retain req = {.ret_removed = 0};
	struct retaining step = {.conn = conn, .req = &req, .err = err};
	struct statement st = statement_start(conn, QUERY_RUNS_OF_REMOVED);
	int status;

	put_id(&st, action_id);
	put_i64(&st, limit);
	status = drop_listed(&step, &st);
	*ret_removed += req.ret_removed;
	return status;
}

static int retain_removed(struct retaining *step)
{
	struct statement st = statement_start(step->conn, QUERY_REMOVED_LIST);
	struct id *ids = NULL;
	size_t count = 0;
	int status;

	put_i64(&st, step->req->actions_max);
	status = list_ids(&st, &ids, &count, step->err);
	for (size_t i = 0; i < count && status >= 0 && room_left(step) > 0; i++) {
		status = drop_ledger(
			step->conn, &ids[i], room_left(step), &step->req->ret_removed, step->err);
		if (status >= 0 && room_left(step) > 0)
			status = run_by_id(step->conn, QUERY_REMOVED_DELETE, &ids[i], step->err);
	}
	free(ids);
	return status;
}

/* The id of the nth newest run; zero: there are not so many. */
static int find_newest(
	struct retaining *step, const struct id *action_id, int64_t nth, struct id *ret_id)
{
	struct statement st = statement_start(step->conn, QUERY_RUN_NEWEST);
	int status;

	*ret_id = (struct id){0};
	put_id(&st, action_id);
	put_i64(&st, nth - 1);
	status = statement_step(&st, step->err);
	if (status > 0)
		*ret_id = read_id(&st);
	statement_end(&st);
	return status;
}

static int retain_by_age(struct retaining *step, const struct id *action_id, int64_t age_ms)
{
	struct statement st;
	struct id newest;
	int status = find_newest(step, action_id, 1, &newest);

	if (age_ms == 0 || status <= 0)
		return status;
	st = statement_start(step->conn, QUERY_RUNS_OLD);
	put_id(&st, action_id);
	put_i64(&st, step->now_ms - age_ms);
	put_id(&st, &newest);
	put_i64(&st, room_left(step));
	return drop_listed(step, &st);
}

static int retain_by_count(struct retaining *step, const struct id *action_id, int64_t count)
{
	struct statement st;
	struct id oldest;
	int status = count > 0 ? find_newest(step, action_id, count, &oldest) : 0;

	if (status <= 0)
		return status;
	st = statement_start(step->conn, QUERY_RUNS_BEYOND);
	put_id(&st, action_id);
	put_id(&st, &oldest);
	put_i64(&st, step->now_ms - (RULE_IS_OFF(YOUNG_KEPT) ? 0 : RETAIN_YOUNG_MS));
	put_i64(&st, room_left(step));
	return drop_listed(step, &st);
}

/* What one action asks for. */
struct retained {
	struct id id;
	int64_t age_ms, count;
};

static int list_retained(struct retaining *step, struct retained **ret_items, size_t *ret_count)
{
	struct statement st = statement_start(step->conn, QUERY_RETAINED);
	const struct retention *server = &step->req->server;
	size_t room = 0;
	int status;

	put_bytes(&st, step->req->after.bytes, ID_BYTES); /* zero is no NULL here */
	put_i64(&st, step->req->actions_max);
	put_i64(&st, server->age_ms);
	put_i64(&st, server->count);
	while ((status = statement_step(&st, step->err)) > 0) {
		*ret_items = grow_array(*ret_items, *ret_count, &room, sizeof(**ret_items));
		(*ret_items)[*ret_count].id = read_id(&st);
		(*ret_items)[*ret_count].age_ms = read_i64(&st);
		(*ret_items)[(*ret_count)++].count = read_i64(&st);
	}
	statement_end(&st);
	return status;
}

/* *ret_is_end: the last action was looked at. */
static int retain_actions(struct retaining *step, bool *ret_is_end)
{
	struct retained *items = NULL;
	size_t count = 0;
	int status = list_retained(step, &items, &count);

	for (size_t i = 0; i < count && status >= 0; i++) {
		status = run_by_id(step->conn, QUERY_DEFINITIONS_FORGET, &items[i].id, step->err);
		if (status >= 0)
			status = retain_by_age(step, &items[i].id, items[i].age_ms);
		if (status >= 0 && room_left(step) > 0)
			status = retain_by_count(step, &items[i].id, items[i].count);
		if (room_left(step) <= 0) /* this one may have more */
			break;
		step->req->ret_after = items[i].id;
	}
	*ret_is_end = room_left(step) > 0 && count < (size_t)step->req->actions_max;
	free(items);
	return status;
}

static int drop_output(struct retaining *step, const struct id *run_id, int64_t epoch)
{
	struct statement st = statement_start(step->conn, QUERY_OUTPUT_DROP);

	put_id(&st, run_id);
	put_i64(&st, epoch);
	step->req->ret_outputs++;
	return statement_run(&st, step->err);
}

/* An attempt whose output may go. */
struct kept_output {
	struct id run_id;
	int64_t epoch, bytes;
};

static int list_outputs(
	struct retaining *step, int64_t excess, struct kept_output **ret_items, size_t *ret_count)
{
	struct statement st = statement_start(step->conn, QUERY_OUTPUT_OLDEST);
	size_t room = 0;
	int status = 1;

	put_i64(&st, step->req->limit);
	while (excess > 0 && (status = statement_step(&st, step->err)) > 0) {
		struct kept_output *item;

		*ret_items = grow_array(*ret_items, *ret_count, &room, sizeof(**ret_items));
		item = &(*ret_items)[(*ret_count)++];
		item->run_id = read_id(&st);
		item->epoch = read_i64(&st);
		item->bytes = read_i64(&st);
		excess -= item->bytes;
	}
	statement_end(&st);
	return status;
}

static int retain_output(struct retaining *step)
{
	struct statement st = statement_start(step->conn, QUERY_OUTPUT_SUM);
	struct kept_output *items = NULL;
	size_t count = 0;
	int64_t kept = 0;
	int status = statement_i64(&st, &kept, step->err);

	if (status >= 0 && kept > step->req->output_bytes)
		status = list_outputs(step, kept - step->req->output_bytes, &items, &count);
	for (size_t i = 0; i < count && status >= 0; i++)
		status = drop_output(step, &items[i].run_id, items[i].epoch);
	free(items);
	return status;
}

int sqlite_retain(void *data, struct store_retain *req, int64_t now_ms)
{
	struct retaining step = {.conn = &((struct sqlite_db *)data)->writer,
		.req = req,
		.now_ms = now_ms,
		.err = &req->req.err};
	bool is_end = false;

	req->ret_after = req->after;
	if (retain_removed(&step) < 0)
		return req->req.err.code;
	if (room_left(&step) > 0 && retain_actions(&step, &is_end) < 0)
		return req->req.err.code;
	if (is_end && req->output_bytes > 0 && retain_output(&step) < 0)
		return req->req.err.code;
	req->ret_is_done = is_end && req->ret_outputs < req->limit;
	return 0;
}
