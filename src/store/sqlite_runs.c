/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs on the ledger: finish and recover, reading, cancel, output; and the counts. */
#include <stdio.h>
#include <string.h>

#include "store/sqlite_priv.h"

/* --- finish and recover --- */

static int insert_attempt(struct conn *conn, const struct run *run, const struct store_finish *req,
	int64_t now_ms, struct err *err)
{
	const struct attempt_result *result = req->result;
	int64_t kept = (int64_t)result->output_len;
	struct statement st = statement_start(conn, QUERY_ATTEMPT_INSERT);

	put_id(&st, &run->id);
	put_i64(&st, run->epoch);
	put_i64(&st, run->attempt);
	put_id(&st, &run->instance_id);
	put_text(&st, attempt_outcome_names[result->outcome]);
	put_time(&st, result->started_at_ms);
	put_i64(&st, now_ms);
	put_unless(&st, result->http_status, 0);
	put_unless(&st, result->exit_code, -1);
	put_text(&st, result->error);
	put_bytes(&st, result->output_len ? result->output : NULL, result->output_len);
	put_i64(&st, result->output_total > kept ? result->output_total : kept);
	return statement_run(&st, err);
}

static int finish_loaded(
	struct sqlite_db *db, struct run *run, struct store_finish *req, int64_t now_ms)
{
	struct conn *conn = &db->writer;
	const struct sequels sequels = {
		&req->ret_has_sequels, &req->ret_cancel, &req->ret_cancel_count};
	const struct run before = *run; /* borrows; only its facts are read */
	struct err *err = &req->req.err;

	if (run_apply_finish(run, req, now_ms, err) < 0)
		return err->code;
	if (attempt_has_begun(req->result) && insert_attempt(conn, &before, req, now_ms, err) < 0)
		return err->code;
	if (update_run(conn, run, err) < 0)
		return err->code;
	if (run_forgets_checkpoint(run->state) && drop_checkpoint(conn, &run->id, err) < 0)
		return err->code;
	req->ret_state = run->state;
	if (run_state_is_final(run->state) &&
		pace_ended(conn, &run->action_id, now_ms, &req->ret_has_sequels, err) < 0)
		return err->code;
	return announce_end(db, run, &sequels, now_ms, err);
}

int sqlite_finish(void *data, struct store_finish *req, int64_t now_ms)
{
	struct sqlite_db *db = data;
	struct run run;
	int status = load_run(&db->writer, &req->run->id, &run, &req->req.err);

	if (status == ERR_NOT_FOUND)
		return err_run_gone(&req->req.err);
	if (status < 0)
		return status;
	status = finish_loaded(db, &run, req, now_ms);
	run_fini(&run);
	return status;
}

int sqlite_list_orphans(void *data, struct store_recover *req)
{
	struct sqlite_db *db = data;
	struct statement st = statement_start(&db->writer, QUERY_ORPHANS);
	int status;

	put_id(&st, &db->instance_id);
	while ((status = statement_step(&st, &req->req.err)) > 0) {
		read_run(&st, &scratch_add_orphan(req->req.scratch)->run);
		(void)read_i64(&st); /* is_serial */
		read_stored_action(&st, scratch_add_row(req->req.scratch));
	}
	statement_end(&st);
	return status;
}

/* --- reading --- */

int sqlite_get_run(void *data, struct store_get_run *req, int64_t now_ms)
{
	struct conn *conn = &((struct sqlite_db *)data)->reader;

	if (load_run(conn, &req->id, &req->ret_run, &req->req.err) < 0)
		return req->req.err.code;
	if (load_note(conn, &req->ret_run, &req->req.err) < 0)
		return req->req.err.code;
	return load_run_event(conn, &req->ret_run, NULL, &req->req.err);
}

#define STATE_BIT(state) (1u << RUN_##state)
#define TROUBLE_STATES   (STATE_BIT(FAILED) | STATE_BIT(TIMED_OUT) | STATE_BIT(HELD))
#define OPEN_STATES      (STATE_BIT(PENDING) | STATE_BIT(RUNNING))

/* The same list by the index that fits the filter best. */
struct run_query {
	enum query list, count;
};

static struct run_query choose_query(const struct store_list_runs *req)
{
	if (!id_is_zero(&req->action_id))
		return (struct run_query){QUERY_RUN_LIST_OF_ACTION, QUERY_RUN_COUNT_OF_ACTION};
	if (req->states && !(req->states & ~OPEN_STATES))
		return (struct run_query){QUERY_RUN_LIST_OPEN, QUERY_RUN_COUNT_OPEN};
	if (req->states && !(req->states & ~TROUBLE_STATES))
		return (struct run_query){QUERY_RUN_LIST_TROUBLE, QUERY_RUN_COUNT_TROUBLE};
	return (struct run_query){QUERY_RUN_LIST, QUERY_RUN_COUNT};
}

#define STATES_TEXT_SIZE 128

/* ",failed,held,"; NULL: any. */
static const char *states_text(uint32_t states, char ret_text[static STATES_TEXT_SIZE])
{
	size_t len = 0;

	if (states == 0)
		return NULL;
	for (int state = 0; state < RUN_STATE_COUNT; state++)
		if (states & (1u << state))
			len += (size_t)snprintf(ret_text + len, STATES_TEXT_SIZE - len, ",%s",
				run_state_names[state]);
	must(len + 1 < STATES_TEXT_SIZE);
	ret_text[len] = ',';
	ret_text[len + 1] = '\0';
	return ret_text;
}

/* ?1 to ?5. */
static void put_run_filter(struct statement *st, const struct store_list_runs *req,
	const struct id *before, const char *states)
{
	put_id(st, before);
	put_text(st, states);
	put_text(st, req->trigger < 0 ? NULL : run_trigger_names[req->trigger]);
	put_time(st, req->due_from_ms);
	put_time(st, req->due_to_ms);
}

static struct id greatest_id(void)
{
	struct id id;

	memset(id.bytes, 0xff, sizeof(id.bytes));
	return id;
}

static int count_runs(
	struct conn *conn, enum query query, struct store_list_runs *req, const char *states)
{
	struct statement st = statement_start(conn, query);
	struct id newest = greatest_id();

	put_run_filter(&st, req, &newest, states);
	if (query == QUERY_RUN_COUNT_OF_ACTION) {
		st.parameter++; /* ?6, the limit, has no place in a count */
		put_id(&st, &req->action_id);
	}
	return statement_i64(&st, &req->ret_total, &req->req.err);
}

static int read_runs(struct statement *st, struct store_list_runs *req)
{
	size_t room = 0;
	int status;

	while ((status = statement_step(st, &req->req.err)) > 0) {
		if (req->ret_count == (size_t)req->limit) {
			req->ret_has_more = true;
			break;
		}
		req->ret_runs =
			grow_array(req->ret_runs, req->ret_count, &room, sizeof(*req->ret_runs));
		read_run(st, &req->ret_runs[req->ret_count++]);
	}
	statement_end(st);
	for (size_t i = 0; status >= 0 && i < req->ret_count; i++)
		status = load_note(st->conn, &req->ret_runs[i], &req->req.err);
	return status < 0 ? status : 0;
}

int sqlite_list_runs(void *data, struct store_list_runs *req, int64_t now_ms)
{
	struct conn *conn = &((struct sqlite_db *)data)->lister;
	struct run_query query = choose_query(req);
	char buffer[STATES_TEXT_SIZE];
	const char *states = states_text(req->states, buffer);
	struct id before = id_is_zero(&req->before_id) ? greatest_id() : req->before_id;
	struct statement st;

	if (req->want_total && count_runs(conn, query.count, req, states) < 0)
		return req->req.err.code;
	st = statement_start(conn, query.list);
	put_run_filter(&st, req, &before, states);
	put_i64(&st, (int64_t)req->limit + 1);
	if (query.list == QUERY_RUN_LIST_OF_ACTION)
		put_id(&st, &req->action_id);
	return read_runs(&st, req);
}

/* --- cancel --- */

int sqlite_cancel_run(void *data, struct store_cancel_run *req, int64_t now_ms)
{
	struct sqlite_db *db = data;
	const struct sequels sequels = {
		.cancel = &req->ret_cancel, .cancel_count = &req->ret_cancel_count};
	struct err *err = &req->req.err;

	if (load_run(&db->writer, &req->id, &req->ret_run, err) < 0 ||
		run_apply_cancel(&req->ret_run, now_ms, err) < 0 ||
		update_run(&db->writer, &req->ret_run, err) < 0 ||
		(run_state_is_final(req->ret_run.state) &&
			pace_ended(&db->writer, &req->ret_run.action_id, now_ms, NULL, err) < 0))
		return err->code;
	return announce_end(db, &req->ret_run, &sequels, now_ms, err);
}

int sqlite_change_run(void *data, struct store_change_run *req, int64_t now_ms)
{
	struct conn *conn = &((struct sqlite_db *)data)->writer;
	struct err *err = &req->req.err;

	if (load_run(conn, &req->id, &req->ret_run, err) < 0 ||
		run_apply_change(&req->ret_run, req->change, false, err) < 0)
		return err->code;
	return update_run(conn, &req->ret_run, err);
}

/* --- output --- */

static void read_output(struct statement *st, struct store_get_output *req)
{
	const void *bytes = sqlite3_column_blob(st->handle, 0);
	int len = sqlite3_column_bytes(st->handle, 0);

	req->ret_output = len > 0 ? xmemdup(bytes, (size_t)len) : NULL;
	req->ret_len = (size_t)len;
	req->ret_total = sqlite3_column_int64(st->handle, 1);
	req->ret_attempt = sqlite3_column_int(st->handle, 2);
}

/* Why there is no output: no such run, or no such attempt. */
static int explain_no_output(struct conn *conn, struct store_get_output *req)
{
	struct run run;

	if (load_run(conn, &req->run_id, &run, &req->req.err) < 0)
		return req->req.err.code;
	run_fini(&run);
	return err_no_output(&req->req.err, req->attempt);
}

int sqlite_get_output(void *data, struct store_get_output *req, int64_t now_ms)
{
	struct conn *conn = &((struct sqlite_db *)data)->reader;
	struct statement st = statement_start(conn, QUERY_OUTPUT);
	int status;

	put_id(&st, &req->run_id);
	put_i64(&st, req->attempt);
	put_i64(&st, req->epoch);
	status = statement_step(&st, &req->req.err);
	if (status > 0)
		read_output(&st, req);
	statement_end(&st);
	if (status == 0)
		return explain_no_output(conn, req);
	return status < 0 ? status : 0;
}

/* --- health --- */

int sqlite_stats(void *data, struct store_stats *req, int64_t now_ms)
{
	struct statement st = statement_start(&((struct sqlite_db *)data)->reader, QUERY_STATS);
	int status = statement_step(&st, &req->req.err);

	if (status > 0) {
		req->ret_actions = read_i64(&st);
		req->ret_actions_paused = read_i64(&st);
		req->ret_runs_pending = read_i64(&st);
		req->ret_runs_running = read_i64(&st);
		req->ret_size_bytes = read_i64(&st);
	}
	statement_end(&st);
	req->ret_now_ms = now_ms;
	req->ret_instances = 1;
	return status < 0 ? status : 0;
}
