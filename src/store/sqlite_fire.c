/* SPDX-License-Identifier: Apache-2.0
 *
 * A place for a run beside the others of its action: what claim, manual runs and events share, and
 * the runs that no due time asked for. All inside BEGIN IMMEDIATE: see sqlite_sched.c. */
#include <stdlib.h>
#include <string.h>

#include "store/sqlite_priv.h"

struct claiming claiming_start(struct sqlite_db *db, int64_t now_ms, struct id **cancel,
	size_t *cancel_count, struct err *err)
{
	return (struct claiming){.conn = &db->writer,
		.instance_id = &db->instance_id,
		.now_ms = now_ms,
		.err = err,
		.cancel = cancel,
		.cancel_count = cancel_count};
}

int claiming_count_open(struct claiming *claiming)
{
	struct statement st;
	int status;

	claiming->open = (struct open_runs){0};
	st = statement_start(claiming->conn, QUERY_OPEN_COUNT);
	put_id(&st, &claiming->action_id);
	status = statement_step(&st, claiming->err);
	if (status > 0) {
		claiming->open.pending = read_i64(&st);
		claiming->open.running = read_i64(&st);
		claiming->open.backfilling = read_i64(&st);
	}
	statement_end(&st);
	return status < 0 ? status : 0;
}

static int load_open(struct claiming *claiming, struct run **ret_runs, size_t *ret_count)
{
	struct statement st = statement_start(claiming->conn, QUERY_OPEN_RUNS);
	size_t room = 0;
	int status;

	put_id(&st, &claiming->action_id);
	while ((status = statement_step(&st, claiming->err)) > 0) {
		*ret_runs = grow_array(*ret_runs, *ret_count, &room, sizeof(**ret_runs));
		read_run(&st, &(*ret_runs)[(*ret_count)++]);
	}
	statement_end(&st);
	return status;
}

static int clear_one(struct claiming *claiming, struct run *run)
{
	if (run->state == RUN_PENDING) {
		run_end(run, RUN_CANCELLED, REASON_OVERLAP, claiming->now_ms);
		return update_run(claiming->conn, run, claiming->err);
	}
	if (run->cancel_requested)
		return 0; /* asked before */
	run_request_cancel(run, REASON_OVERLAP);
	ids_add(claiming->cancel, claiming->cancel_count, &run->id);
	return update_run(claiming->conn, run, claiming->err);
}

int claiming_make_room(struct claiming *claiming)
{
	struct run *runs = NULL;
	size_t count = 0;
	int status = load_open(claiming, &runs, &count);

	for (size_t i = 0; i < count; i++) {
		if (status == 0)
			status = clear_one(claiming, &runs[i]);
		run_fini(&runs[i]);
	}
	free(runs);
	return status;
}

int claiming_write_due(
	struct claiming *claiming, const struct due_fate *fate, struct run *run, bool *ret_is_new)
{
	run->action_id = claiming->action_id;
	run->action_version = claiming->version;
	run->priority = claiming->priority;
	run_settle(run, fate, claiming->instance_id, claiming->now_ms);
	if (insert_run(claiming->conn, run, &claiming->origin, ret_is_new, claiming->err) < 0)
		return claiming->err->code;
	if (*ret_is_new)
		open_runs_count(&claiming->open, fate);
	return 0;
}

int claiming_due_exists(struct claiming *claiming, int64_t due_at_ms)
{
	struct statement st = statement_start(claiming->conn, QUERY_DUE_EXISTS);

	put_id(&st, &claiming->action_id);
	put_i64(&st, due_at_ms);
	return statement_any(&st, claiming->err);
}

/* --- runs that no due time asked for --- */

int claiming_load(struct claiming *claiming, int64_t *ret_cursor_ms, char **ret_name)
{
	struct statement st = statement_start(claiming->conn, QUERY_TRIGGER_ROW);
	int status;

	put_id(&st, &claiming->action_id);
	status = statement_step(&st, claiming->err);
	if (status > 0) {
		claiming->version = read_i64(&st);
		claiming->origin.definition_version = read_i64(&st);
		*ret_cursor_ms = read_time(&st);
		claiming->origin.kind = (enum action_kind)read_name(&st, action_kind_names);
		claiming->origin.overlap = (enum overlap)read_name(&st, overlap_names);
		claiming->rules.overlap = claiming->origin.overlap;
		claiming->rules.queue_limit = read_int(&st, 0);
		claiming->origin.max_concurrent = read_int(&st, 0);
		claiming->priority = read_int(&st, 0);
		claiming->rules.is_paused = read_i64(&st) != 0;
		*ret_name = read_text(&st);
	}
	statement_end(&st);
	return status;
}

/* Not the cursor itself either: that due time is still to be claimed. */
static int free_due(struct claiming *claiming, int64_t cursor_ms, int64_t *ret_due_at_ms)
{
	int64_t due_at_ms = claiming->now_ms;
	int exists = 0;

	for (;; due_at_ms++) {
		if (due_at_ms == cursor_ms)
			continue;
		exists = claiming_due_exists(claiming, due_at_ms);
		if (exists <= 0)
			break;
	}
	*ret_due_at_ms = due_at_ms;
	return exists;
}

static int fire_write(struct claiming *claiming, const struct firing *firing, int64_t cursor_ms,
	struct run *ret_run)
{
	struct due_fate fate = {.state = RUN_SKIPPED, .reason = firing->reason};
	struct planned_due due = {.count = 1};
	struct run run;
	bool is_new;

	if (claiming_count_open(claiming) < 0 || free_due(claiming, cursor_ms, &due.due_at_ms) < 0)
		return claiming->err->code;
	if (firing->reason == REASON_NONE ||
		(claiming->rules.is_paused && firing->trigger == TRIGGER_START))
		fate = due_decide(&claiming->rules, DUE_RUN, &claiming->open, false);
	if (fate.reason == REASON_LIMIT && firing->is_asked_for)
		return err_queue_full(claiming->err, claiming->rules.queue_limit);
	if (fate.makes_room && claiming_make_room(claiming) < 0)
		return claiming->err->code;
	run_init(&run, &firing->run_id, &due, claiming->now_ms);
	run.trigger = firing->trigger;
	run.retry_of = firing->retry_of;
	run_set_trace(&run, firing->traceparent);
	if (claiming_write_due(claiming, &fate, &run, &is_new) < 0)
		return claiming->err->code;
	must(is_new);
	*ret_run = run;
	return 1;
}

int claiming_fire(struct claiming *claiming, const struct firing *firing, struct run *ret_run)
{
	auto_free char *name = NULL;
	int64_t cursor_ms;
	int status = claiming_load(claiming, &cursor_ms, &name);

	if (status <= 0)
		return status;
	claiming->rules.is_paused &= firing->obeys_pause;
	status = fire_write(claiming, firing, cursor_ms, ret_run);
	if (status > 0)
		ret_run->action_name = take_ptr(name);
	return status;
}

/* What an event brought to the run that this one repeats. */
static int copy_event(struct claiming *claiming, const struct firing *firing)
{
	struct statement st;

	if (id_is_zero(&firing->retry_of))
		return 0;
	st = statement_start(claiming->conn, QUERY_RUN_EVENT_COPY);
	put_id(&st, &firing->run_id);
	put_id(&st, &firing->retry_of);
	return statement_run(&st, claiming->err);
}

int check_queue(struct conn *conn, int queued_max, struct err *err)
{
	struct statement st;
	int status;

	if (queued_max == 0)
		return 0;
	st = statement_start(conn, QUERY_QUEUE_FULL);
	put_i64(&st, queued_max - 1);
	status = statement_any(&st, err);
	return status > 0 ? err_server_full(err, queued_max) : status;
}

int sqlite_trigger(void *data, struct store_trigger *req, int64_t now_ms)
{
	struct sqlite_db *db = data;
	struct claiming claiming =
		claiming_start(db, now_ms, &req->ret_cancel, &req->ret_cancel_count, &req->req.err);
	const struct firing firing = {
		.trigger = id_is_zero(&req->retry_of) ? TRIGGER_MANUAL : TRIGGER_RETRY,
		.run_id = *scratch_next_id(req->req.scratch),
		.retry_of = req->retry_of,
		.traceparent = req->traceparent,
		.is_asked_for = true,
	};
	int status;

	claiming.action_id = req->action_id;
	if (check_queue(&db->writer, req->queued_max, &req->req.err) < 0)
		return req->req.err.code;
	status = claiming_fire(&claiming, &firing, &req->ret_run);
	if (status <= 0)
		return status < 0 ? status : err_no_action(&req->req.err);
	return copy_event(&claiming, &firing);
}

/* --- the start of the service --- */

static int fire_start(struct claiming *claiming, struct store_boot *req, size_t index)
{
	const struct boot_item *item = &req->items[index];
	struct firing firing = {.trigger = TRIGGER_START,
		.run_id = req->req.scratch->ids[index],
		.obeys_pause = true};
	struct run run = {0};
	int64_t left;
	bool is_made;
	int status;

	claiming->action_id = item->action->id;
	if (pace_left(claiming->conn, item->action, &left, claiming->err) < 0)
		return claiming->err->code;
	if (item->verdict != DUE_RUN || left <= 0)
		firing.reason = left <= 0 ? REASON_LIMIT : REASON_BLACKOUT;
	status = claiming_fire(claiming, &firing, &run);
	if (status <= 0)
		return status;
	is_made = run.state != RUN_SKIPPED;
	req->ret_queued += is_made;
	req->ret_skipped += !is_made;
	run_fini(&run);
	return is_made ? pace_claimed(
				 claiming->conn, item->action, 1, claiming->now_ms, claiming->err)
		       : 0;
}

/* The lock on the file says that nobody else serves it. */
int sqlite_boot(void *data, struct store_boot *req, int64_t now_ms)
{
	struct sqlite_db *db = data;
	struct claiming claiming =
		claiming_start(db, now_ms, &req->ret_cancel, &req->ret_cancel_count, &req->req.err);

	req->ret_answer = req->is_running ? BOOT_RUNNING : BOOT_STARTED;
	for (size_t i = 0; i < req->count && !req->is_running; i++)
		if (fire_start(&claiming, req, i) < 0)
			return req->req.err.code;
	return 0;
}
