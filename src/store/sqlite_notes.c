/* SPDX-License-Identifier: Apache-2.0
 *
 * What attempts note down, in SQLite. */
#include "store/sqlite_priv.h"

static void put_note(struct statement *st, const struct store_note *req)
{
	const struct run_note *note = req->note;

	put_id(st, &req->run_id);
	put_i64(st, req->epoch);
	put_i64(st, note->has_progress);
	put_unless(st, note->percent, -1);
	put_text(st, note->message);
	put_i64(st, note->checkpoint != NULL);
	put_bytes(st, note->checkpoint, note->checkpoint_len);
}

int sqlite_note(void *data, struct store_note *req, int64_t now_ms)
{
	struct conn *conn = &((struct sqlite_db *)data)->writer;
	struct err *err = &req->req.err;
	struct statement st;
	struct run run;
	int status = load_run(conn, &req->run_id, &run, err);

	if (status == ERR_NOT_FOUND)
		return err_run_gone(err);
	if (status < 0)
		return status;
	status = run_check_note(&run, req->epoch, err);
	run_fini(&run);
	if (status < 0)
		return status;
	st = statement_start(conn, QUERY_NOTE_PUT);
	put_note(&st, req);
	return statement_run(&st, err);
}

int sqlite_get_checkpoint(void *data, struct store_get_checkpoint *req, int64_t now_ms)
{
	struct conn *conn = &((struct sqlite_db *)data)->reader;
	struct statement st = statement_start(conn, QUERY_CHECKPOINT_OF);
	int status;

	put_id(&st, &req->run_id);
	status = statement_step(&st, &req->req.err);
	if (status > 0) {
		req->ret_len = (size_t)sqlite3_column_bytes(st.handle, 0);
		req->ret_checkpoint = xmemdup(sqlite3_column_blob(st.handle, 0), req->ret_len);
	}
	statement_end(&st);
	return status < 0 ? status : 0;
}

int load_note(struct conn *conn, struct run *run, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_NOTE_OF);
	int status;

	put_id(&st, &run->id);
	status = statement_step(&st, err);
	if (status > 0) {
		int64_t epoch = read_i64(&st);
		bool has_progress = read_i64(&st) != 0;
		int percent = read_int(&st, -1);

		if (has_progress)
			run_apply_progress(run, epoch, percent, read_text(&st));
		else
			st.column++;
		run->checkpoint_bytes = read_i64(&st);
	}
	statement_end(&st);
	return status < 0 ? status : 0;
}

int drop_checkpoint(struct conn *conn, const struct id *run_id, struct err *err)
{
	return run_by_id(conn, QUERY_CHECKPOINT_DROP, run_id, err);
}
