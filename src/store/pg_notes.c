/* SPDX-License-Identifier: Apache-2.0
 *
 * What attempts note down, in PostgreSQL. */
#include <stdlib.h>

#include "store/pg_store_priv.h"

/* --- note --- */

static const struct pg_statement note_statement = {.name = "note",
	.text = "SELECT ret_done, ret_found, ret_found_epoch FROM gathering.note_down($1::uuid,"
		" $2::bigint, $3::boolean, $4::integer, $5::text, $6::boolean, $7::bytea)"};

static struct store_note *note_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_note, req);
}

static void put_note(struct pg_call *call)
{
	struct pg_params *params = pg_call_add(call, &note_statement);
	const struct store_note *req = note_of(call);
	const struct run_note *note = req->note;

	pg_put_id(params, &req->run_id);
	pg_put_i64(params, req->epoch);
	pg_put_bool(params, note->has_progress);
	if (note->has_progress && note->percent >= 0)
		pg_put_i32(params, note->percent);
	else
		pg_put_null(params, PG_I32);
	pg_put_text(params, note->message);
	pg_put_bool(params, note->checkpoint != NULL);
	pg_put_bytes(params, note->checkpoint, note->checkpoint_len);
}

static int read_note(struct pg_call *call)
{
	struct pg_row row = pg_rows(&call->queries[0]);
	struct err *err = &call->req->err;
	bool is_done;
	int state;

	if (!pg_row_next(&row))
		return err_run_gone(err);
	is_done = pg_read_bool(&row);
	state = name_index(run_state_names, pg_read_text(&row));
	if (is_done)
		return 0;
	return err_run_stale(err, (enum run_state)state, pg_read_i64(&row), note_of(call)->epoch);
}

int pg_note(void *db, struct store_note *req, int64_t now_ms)
{
	static const struct pg_plan plan = {.place = PG_WRITES, .put = put_note, .read = read_note};

	return pg_call_start(db, &req->req, &plan);
}

/* --- get_checkpoint --- */

static const struct pg_statement checkpoint_statement = {.name = "checkpoint",
	.text = "SELECT checkpoint FROM gathering.note WHERE run_id = $1::uuid"
		" AND checkpoint IS NOT NULL"};

static struct store_get_checkpoint *checkpoint_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_get_checkpoint, req);
}

static void put_checkpoint(struct pg_call *call)
{
	pg_put_id(pg_call_add(call, &checkpoint_statement), &checkpoint_of(call)->run_id);
}

static int read_checkpoint(struct pg_call *call)
{
	struct store_get_checkpoint *req = checkpoint_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);
	const char *bytes;

	if (!pg_row_next(&row))
		return 0;
	bytes = pg_read_bytes(&row, &req->ret_len);
	req->ret_checkpoint = xmemdup(bytes, req->ret_len);
	return 0;
}

int pg_get_checkpoint(void *db, struct store_get_checkpoint *req, int64_t now_ms)
{
	static const struct pg_plan plan = {
		.place = PG_READS, .put = put_checkpoint, .read = read_checkpoint};

	return pg_call_start(db, &req->req, &plan);
}

/* --- for the readers of runs --- */

void pg_read_note(struct pg_row *row, struct run *run)
{
	int64_t epoch = pg_read_i64(row);
	bool has_progress = pg_read_bool(row);
	int percent = pg_read_int(row, -1);
	const char *message = pg_read_text(row);

	if (has_progress)
		run_apply_progress(run, epoch, percent, xstrdup(message));
	run->checkpoint_bytes = pg_read_i64(row);
}
