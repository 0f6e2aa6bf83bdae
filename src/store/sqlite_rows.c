/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows to structs and back, in the order of the columns in sqlite_queries.c. */
#include <stdlib.h>
#include <string.h>

#include "store/sqlite_priv.h"

void read_stored_action(struct statement *st, struct stored_action *ret_row)
{
	ret_row->id = read_id(st);
	ret_row->version = read_i64(st);
	ret_row->is_paused = read_i64(st) != 0;
	ret_row->next_due_ms = read_time(st);
	ret_row->created_at_ms = read_i64(st);
	ret_row->updated_at_ms = read_i64(st);
	ret_row->definition_version = read_i64(st);
	ret_row->text = read_text(st);
	if (!ret_row->text)
		ret_row->text = xstrdup(""); /* a definition that is gone cannot be read either */
	ret_row->len = strlen(ret_row->text);
}

static void read_run_facts(struct statement *st, struct run *run)
{
	run->id = read_id(st);
	run->action_id = read_id(st);
	run->action_version = read_i64(st);
	run->action_name = read_text(st);
	run->trigger = (enum run_trigger)read_name(st, run_trigger_names);
	run->due_at_ms = read_i64(st);
	run->state = (enum run_state)read_name(st, run_state_names);
	run->reason = (enum run_reason)read_name(st, run_reason_names);
}

void read_run(struct statement *st, struct run *run)
{
	memset(run, 0, sizeof(*run));
	read_run_facts(st, run);
	run->attempt = read_int(st, 0);
	run->interruptions = read_int(st, 0);
	run->epoch = read_i64(st);
	run->instance_id = read_id(st);
	run->priority = read_int(st, 0);
	run->not_before_ms = read_time(st);
	run->created_at_ms = read_time(st);
	run->claimed_at_ms = read_time(st);
	run->started_at_ms = read_time(st);
	run->finished_at_ms = read_time(st);
	run->http_status = read_int(st, 0);
	run->exit_code = read_int(st, -1);
	run->error = read_text(st);
	run->output_bytes = read_i64(st);
	run->missed_count = read_i64(st);
	run->missed_until_ms = read_i64(st);
	run->cancel_requested = read_i64(st) != 0;
	run->retry_of = read_id(st);
	read_text_into(st, run->traceparent, sizeof(run->traceparent));
	run->backfill = read_i64(st);
}

static void put_birth(struct statement *st, const struct run *run, const struct run_origin *origin)
{
	put_id(st, &run->id);
	put_id(st, &run->action_id);
	put_i64(st, run->action_version);
	put_i64(st, origin->definition_version);
	put_text(st, action_kind_names[origin->kind]);
	put_i64(st, origin->overlap != OVERLAP_ALLOW);
	put_text(st, run_trigger_names[run->trigger]);
	put_i64(st, run->due_at_ms);
}

static void put_progress(struct statement *st, const struct run *run)
{
	put_text(st, run_state_names[run->state]);
	put_text(st, run_reason_names[run->reason]);
	put_i64(st, run->attempt);
	put_i64(st, run->interruptions);
	put_i64(st, run->epoch);
	put_id(st, &run->instance_id);
}

static void put_times(struct statement *st, const struct run *run)
{
	put_time(st, run->claimed_at_ms);
	put_time(st, run->started_at_ms);
	put_time(st, run->finished_at_ms);
}

static void put_result(struct statement *st, const struct run *run)
{
	put_unless(st, run->http_status, 0);
	put_unless(st, run->exit_code, -1);
	put_text(st, run->error);
	put_i64(st, run->output_bytes);
}

int insert_run(struct conn *conn, const struct run *run, const struct run_origin *origin,
	bool *ret_is_new, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_RUN_INSERT);

	put_birth(&st, run, origin);
	put_progress(&st, run);
	put_i64(&st, run->priority);
	put_time(&st, run->not_before_ms);
	put_i64(&st, run->created_at_ms);
	put_times(&st, run);
	put_result(&st, run);
	put_i64(&st, run->missed_count);
	put_i64(&st, run->missed_until_ms);
	put_i64(&st, run->cancel_requested);
	put_id(&st, &run->retry_of);
	put_i64(&st, origin->max_concurrent);
	put_text(&st, run->traceparent[0] != '\0' ? run->traceparent : NULL);
	put_i64(&st, run->backfill);
	if (statement_run(&st, err) < 0)
		return err->code;
	*ret_is_new = sqlite3_changes(conn->db) > 0;
	return 0;
}

int update_run(struct conn *conn, const struct run *run, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_RUN_UPDATE);

	put_id(&st, &run->id);
	put_progress(&st, run);
	put_time(&st, run->not_before_ms);
	put_times(&st, run);
	put_result(&st, run);
	put_i64(&st, run->cancel_requested);
	return statement_run(&st, err);
}

int load_run(struct conn *conn, const struct id *id, struct run *ret_run, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_RUN_BY_ID);
	int status;

	put_id(&st, id);
	status = statement_step(&st, err);
	if (status > 0)
		read_run(&st, ret_run);
	statement_end(&st);
	if (status == 0)
		return err_no_run(err);
	return status < 0 ? status : 0;
}
