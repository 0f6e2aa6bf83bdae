/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs that decide what runs: look, claim, take. All but look run inside BEGIN
 * IMMEDIATE, so what they read stays true until what they write is committed; therefore plain reads
 * and store_rules.c do what clever statements would have to do elsewhere. */
#include <stdlib.h>
#include <string.h>

#include "store/sqlite_priv.h"

/* --- look --- */

static int ready_exists(struct conn *conn, enum action_kind kind, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_READY_EXISTS);

	put_text(&st, action_kind_names[kind]);
	return statement_any(&st, err);
}

/* 1: a run may start right now, 0: none. */
static int may_start_now(struct conn *conn, int64_t now_ms, struct err *err)
{
	struct statement st;

	for (int kind = 0; kind < ACTION_KIND_COUNT; kind++) {
		int status = ready_exists(conn, (enum action_kind)kind, err);

		if (status != 0)
			return status;
	}
	st = statement_start(conn, QUERY_LATER_EXISTS);
	put_i64(&st, now_ms);
	return statement_any(&st, err);
}

static int next_later(struct conn *conn, int64_t now_ms, int64_t *ret_at_ms, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_LATER_NEXT);

	put_i64(&st, now_ms);
	*ret_at_ms = NO_TIME;
	return statement_i64(&st, ret_at_ms, err);
}

static int look_at_pending(struct conn *conn, struct store_look *req, int64_t now_ms)
{
	int status = may_start_now(conn, now_ms, &req->req.err);

	if (status == 0)
		return next_later(conn, now_ms, &req->ret_pending_at_ms, &req->req.err);
	req->ret_pending_at_ms = now_ms;
	return status < 0 ? status : 0;
}

int sqlite_look(void *data, struct store_look *req, int64_t now_ms)
{
	struct conn *conn = &((struct sqlite_db *)data)->reader;
	struct statement st = statement_start(conn, QUERY_LOOK);
	int status;

	put_i64(&st, add_ms(now_ms, req->horizon_ms));
	put_i64(&st, (int64_t)req->limit + 1);
	while ((status = statement_step(&st, &req->req.err)) > 0) {
		if (req->req.scratch->row_count == (size_t)req->limit) {
			req->ret_has_more = true;
			break;
		}
		read_stored_action(&st, scratch_add_row(req->req.scratch));
	}
	statement_end(&st);
	req->ret_now_ms = now_ms;
	return status < 0 ? status : look_at_pending(conn, req, now_ms);
}

/* --- claim --- */

struct started_runs {
	struct run **runs;
	size_t *count;
	size_t room;
};

static void keep_started(struct started_runs *started, const struct run *run, const char *name)
{
	*started->runs = grow_array(
		*started->runs, *started->count, &started->room, sizeof(**started->runs));
	(*started->runs)[*started->count] = *run;
	(*started->runs)[(*started->count)++].action_name = xstrdup(name);
}

/* The first in line of a kind that could start. */
static int find_ahead(
	struct conn *conn, enum action_kind kind, int64_t *ret_rank_ms, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_AHEAD);
	int64_t rank_ms = INT64_MAX;
	int status, seen = 0;

	put_text(&st, action_kind_names[kind]);
	put_i64(&st, AHEAD_MAX);
	*ret_rank_ms = INT64_MAX;
	while ((status = statement_step(&st, err)) > 0) {
		rank_ms = read_i64(&st);
		seen++;
		if (read_i64(&st) || seen == AHEAD_MAX) {
			*ret_rank_ms = rank_ms;
			break;
		}
	}
	statement_end(&st);
	return status < 0 ? status : 0;
}

static int find_room(struct conn *conn, struct store_claim *req, struct claim_room *ret_room)
{
	memcpy(ret_room->left, req->capacity, sizeof(ret_room->left));
	for (int kind = 0; kind < ACTION_KIND_COUNT; kind++)
		if (req->capacity[kind] > 0 &&
			find_ahead(conn, (enum action_kind)kind, &ret_room->ahead_ms[kind],
				&req->req.err) < 0)
			return req->req.err.code;
	return 0;
}

static int claim_due(struct claiming *claiming, struct store_claim *req,
	const struct planned_due *due, struct claim_room *room, struct started_runs *started)
{
	const struct id *id = scratch_next_id(req->req.scratch);
	enum action_kind kind = claiming->origin.kind;
	bool is_spent = due->verdict == DUE_RUN && claiming->made >= claiming->runs_left;
	struct due_fate fate = due_decide(&claiming->rules,
		is_spent ? DUE_SKIP_LIMIT : due->verdict, &claiming->open,
		!claiming->is_queued &&
			claim_may_start(room, kind, claiming->priority, claiming->now_ms));
	int exists = claiming_due_exists(claiming, due->due_at_ms);
	struct run run;
	bool is_new;

	if (exists != 0) /* accounted for already, if only by a backfill: no room is needed */
		return exists < 0 ? exists : 0;
	if (fate.makes_room && claiming_make_room(claiming) < 0)
		return claiming->err->code;
	run_init(&run, id, due, claiming->now_ms);
	run.trigger = TRIGGER_SCHEDULE;
	if (claiming_write_due(claiming, &fate, &run, &is_new) < 0 || !is_new)
		return claiming->err->code;
	req->ret_queued += run.state == RUN_PENDING;
	req->ret_skipped += run.state == RUN_SKIPPED;
	claiming->made += run.state != RUN_SKIPPED;
	if (run.state == RUN_RUNNING) {
		room->left[kind]--;
		keep_started(started, &run, claiming->name);
	}
	return 0;
}

/* 1: the row is as expected, and definition_version is set. */
static int claim_row(struct claiming *claiming, const struct claim_item *item)
{
	struct statement st = statement_start(claiming->conn, QUERY_CLAIM_ROW);
	int status;

	put_id(&st, &claiming->action_id);
	status = statement_step(&st, claiming->err);
	if (status > 0)
		status = read_i64(&st) == item->action->version &&
			 read_time(&st) == item->expected_ms && item->expected_ms != NO_TIME &&
			 item->expected_ms <= claiming->now_ms;
	if (status > 0)
		claiming->origin.definition_version = read_i64(&st);
	statement_end(&st);
	return status;
}

static int move_cursor(struct claiming *claiming, int64_t next_due_ms)
{
	struct statement st = statement_start(claiming->conn, QUERY_CURSOR_MOVE);

	put_id(&st, &claiming->action_id);
	put_time(&st, next_due_ms);
	return statement_run(&st, claiming->err);
}

static int claim_one(struct claiming *claiming, struct store_claim *req, struct claim_item *item,
	struct claim_room *room, struct started_runs *started)
{
	const struct action *action = item->action;
	int status;

	claiming->action_id = action->id;
	claiming->version = action->version;
	claiming->name = action->name;
	claiming->priority = action->priority;
	claiming->origin = (struct run_origin){.kind = action->kind,
		.overlap = action->overlap,
		.max_concurrent = action->max_concurrent};
	claiming->is_queued = item->is_queued;
	claiming->rules = (struct overlap_rules){
		action->overlap, action_pending_limit(action), action->is_paused};
	status = claim_row(claiming, item);
	if (status <= 0)
		return status;
	claiming->made = 0;
	if (claiming_count_open(claiming) < 0 ||
		pace_left(claiming->conn, action, &claiming->runs_left, claiming->err) < 0)
		return claiming->err->code;
	for (size_t i = 0; i < item->due_count; i++)
		if (claim_due(claiming, req, &item->dues[i], room, started) < 0)
			return claiming->err->code;
	if (move_cursor(claiming, item->next_due_ms) < 0 ||
		pace_claimed(claiming->conn, action, claiming->made, claiming->now_ms,
			claiming->err) < 0)
		return claiming->err->code;
	item->ret_won = true;
	return 0;
}

int sqlite_claim(void *data, struct store_claim *req, int64_t now_ms)
{
	struct sqlite_db *db = data;
	struct claiming claiming =
		claiming_start(db, now_ms, &req->ret_cancel, &req->ret_cancel_count, &req->req.err);
	struct started_runs started = {.runs = &req->ret_started, .count = &req->ret_started_count};
	struct claim_room room = {.left = {0}};

	if (find_room(&db->writer, req, &room) < 0)
		return req->req.err.code;
	for (size_t i = 0; i < req->count; i++)
		if (claim_one(&claiming, req, &req->items[i], &room, &started) < 0)
			return req->req.err.code;
	req->ret_now_ms = now_ms;
	return 0;
}

/* --- take --- */

static int promote(struct conn *conn, int64_t now_ms, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_PROMOTE);

	put_i64(&st, now_ms);
	return statement_run(&st, err);
}

/* A run that may start, with the row of its definition. */
struct candidate {
	struct run run;
	enum action_kind kind;
	bool is_serial;
	int max_concurrent;
	struct stored_action row;
};

/* One take: what is left of each limit, and who is in line, by rank. */
struct taking {
	struct sqlite_db *db;
	struct store_take *req;
	int64_t now_ms;
	int left[ACTION_KIND_COUNT], limit_left[RUN_LIMITS_MAX];
	size_t room;
	struct candidate *found;
	size_t found_count, found_room;
};

static int count_limits(struct taking *taking)
{
	const struct store_take *req = taking->req;

	must(req->limit_count <= RUN_LIMITS_MAX);
	for (size_t i = 0; i < req->limit_count; i++) {
		const struct run_limit *limit = &req->limits[i];
		struct statement st = statement_start(&taking->db->writer, QUERY_RUNNING_COUNT);
		int64_t running = 0;

		put_text(&st, limit->kind < 0 ? NULL : action_kind_names[limit->kind]);
		put_text(&st, limit->tag);
		if (statement_i64(&st, &running, &taking->req->req.err) < 0)
			return taking->req->req.err.code;
		taking->limit_left[i] = limit->max - (int)running;
	}
	return 0;
}

/* 1, 0. */
static int limit_counts(
	struct taking *taking, const struct run_limit *limit, const struct candidate *candidate)
{
	struct statement st;

	if (limit->kind >= 0 && (enum action_kind)limit->kind != candidate->kind)
		return 0;
	if (!limit->tag)
		return 1;
	st = statement_start(&taking->db->writer, QUERY_TAG_EXISTS);
	put_id(&st, &candidate->run.action_id);
	put_text(&st, limit->tag);
	return statement_any(&st, &taking->req->req.err);
}

/* 1: no limit stands against it, and each that counts it is one less; 0. */
static int use_limits(struct taking *taking, const struct candidate *candidate)
{
	uint32_t hits = 0;

	for (size_t i = 0; i < taking->req->limit_count; i++) {
		int counts = limit_counts(taking, &taking->req->limits[i], candidate);

		if (counts < 0 || (counts > 0 && taking->limit_left[i] <= 0))
			return counts < 0 ? counts : 0;
		hits |= (uint32_t)counts << i;
	}
	for (size_t i = 0; i < taking->req->limit_count; i++)
		taking->limit_left[i] -= (int)(hits >> i & 1);
	return 1;
}

/* As many as there is capacity for; all of them when some may be left for a limit. */
static int find_candidates(struct taking *taking, enum action_kind kind)
{
	struct statement st = statement_start(&taking->db->writer, QUERY_TAKE);
	int status;

	put_text(&st, action_kind_names[kind]);
	put_i64(&st, taking->req->limit_count > 0 ? -1 : taking->left[kind]);
	while ((status = statement_step(&st, &taking->req->req.err)) > 0) {
		struct candidate *candidate;

		taking->found = grow_array(taking->found, taking->found_count, &taking->found_room,
			sizeof(*taking->found));
		candidate = &taking->found[taking->found_count++];
		read_run(&st, &candidate->run);
		candidate->kind = kind;
		candidate->is_serial = read_i64(&st) != 0;
		candidate->max_concurrent = read_int(&st, 0);
		read_stored_action(&st, &candidate->row);
	}
	statement_end(&st);
	return status;
}

/* 1, 0: whether it may still start, now that others have been started. */
static int may_still_start(struct taking *taking, const struct candidate *candidate)
{
	const struct store_take *req = taking->req;
	struct statement st;
	int64_t running = 0;

	if (taking->left[candidate->kind] <= 0)
		return 0;
	if (candidate->is_serial && runs_have_action(req->ret_started, req->ret_started_count,
					    &candidate->run.action_id))
		return 0;
	if (candidate->max_concurrent > 0) {
		st = statement_start(&taking->db->writer, QUERY_RUNNING_OF_ACTION);
		put_id(&st, &candidate->run.action_id);
		if (statement_i64(&st, &running, &taking->req->req.err) < 0)
			return taking->req->req.err.code;
		if (running >= candidate->max_concurrent)
			return 0;
	}
	return use_limits(taking, candidate);
}

/* The run and its row go over to the request, unless it has to wait. */
static int start_candidate(struct taking *taking, struct candidate *candidate)
{
	struct store_take *req = taking->req;
	struct run *run = &candidate->run;
	int may_start = may_still_start(taking, candidate);

	if (may_start <= 0)
		return may_start;
	run_begin(run, &taking->db->instance_id, taking->now_ms);
	if (update_run(&taking->db->writer, run, &req->req.err) < 0 ||
		load_run_event(&taking->db->writer, run, NULL, &req->req.err) < 0)
		return req->req.err.code;
	taking->left[candidate->kind]--;
	req->ret_started = grow_array(
		req->ret_started, req->ret_started_count, &taking->room, sizeof(*req->ret_started));
	req->ret_started[req->ret_started_count++] = *run;
	*scratch_add_row(req->req.scratch) = candidate->row;
	*candidate = (struct candidate){0};
	return 0;
}

static int compare_candidates(const void *left, const void *right)
{
	return run_compare_rank(
		&((const struct candidate *)left)->run, &((const struct candidate *)right)->run);
}

/* Kinds stand in one line: they may share a limit. */
static int start_candidates(struct taking *taking)
{
	int status = 0;

	if (taking->found_count > 1)
		qsort(taking->found, taking->found_count, sizeof(*taking->found),
			compare_candidates);
	for (size_t i = 0; i < taking->found_count; i++) {
		struct candidate *candidate = &taking->found[i];

		if (status == 0)
			status = start_candidate(taking, candidate);
		run_fini(&candidate->run);
		free(candidate->row.text);
	}
	free(taking->found);
	return status;
}

int sqlite_take(void *data, struct store_take *req, int64_t now_ms)
{
	struct sqlite_db *db = data;
	struct taking taking = {.db = db, .req = req, .now_ms = now_ms};
	int status = 0, started;

	if (promote(&db->writer, now_ms, &req->req.err) < 0)
		return req->req.err.code;
	memcpy(taking.left, req->capacity, sizeof(taking.left));
	if (count_limits(&taking) < 0)
		return req->req.err.code;
	for (int kind = 0; kind < ACTION_KIND_COUNT && status == 0; kind++)
		if (taking.left[kind] > 0)
			status = find_candidates(&taking, (enum action_kind)kind);
	started = start_candidates(&taking);
	if (status < 0 || started < 0)
		return req->req.err.code;
	req->ret_now_ms = now_ms;
	return next_later(&db->writer, now_ms, &req->ret_pending_at_ms, &req->req.err);
}
