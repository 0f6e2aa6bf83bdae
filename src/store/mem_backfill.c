/* SPDX-License-Identifier: Apache-2.0
 *
 * Backfills in memory. */
#include <stdlib.h>
#include <string.h>

#include "store/mem_priv.h"

static bool is_open(const struct run *run)
{
	return run->state == RUN_PENDING || run->state == RUN_RUNNING || run->state == RUN_HELD;
}

static struct backfill *find(const struct mem_db *rows, const struct id *id)
{
	for (size_t i = 0; i < rows->backfill_count; i++)
		if (id_equal(&rows->backfills[i].id, id))
			return &rows->backfills[i];
	return NULL;
}

static void remove_at(struct mem_db *rows, size_t index)
{
	backfill_fini(&rows->backfills[index]);
	rows->backfill_count--;
	memmove(&rows->backfills[index], &rows->backfills[index + 1],
		(rows->backfill_count - index) * sizeof(*rows->backfills));
}

void mem_forget_backfills(struct mem_db *rows, const struct id *action_id, int64_t number)
{
	for (size_t i = rows->backfill_count; i-- > 0;)
		if (id_equal(&rows->backfills[i].action_id, action_id) &&
			rows->backfills[i].number <= number)
			remove_at(rows, i);
}

void mem_backfills_fini(struct mem_db *rows)
{
	while (rows->backfill_count > 0)
		remove_at(rows, rows->backfill_count - 1);
	free(rows->backfills);
}

int mem_create_backfill(void *db, struct store_create_backfill *req, int64_t now_ms)
{
	struct mem_db *rows = ((struct mem *)db)->rows;
	const struct backfill *given = req->backfill;
	const struct mem_action *owner = sorted_get(&rows->actions_by_id, &given->action_id);
	struct backfill *row;
	int64_t number = 1;

	if (!owner)
		return err_no_action(&req->req.err);
	for (size_t i = 0; i < rows->backfill_count; i++) {
		if (!id_equal(&rows->backfills[i].action_id, &given->action_id))
			continue;
		if (rows->backfills[i].state == BACKFILL_RUNNING)
			return err_backfill_busy(&req->req.err, &rows->backfills[i].id);
		number = rows->backfills[i].number + 1;
	}
	mem_forget_backfills(rows, &given->action_id, number - BACKFILLS_KEPT);
	rows->backfills = grow_array(rows->backfills, rows->backfill_count, &rows->backfill_room,
		sizeof(*rows->backfills));
	row = &rows->backfills[rows->backfill_count++];
	backfill_copy(row, given);
	row->id = *scratch_next_id(req->req.scratch);
	row->number = number;
	row->state = BACKFILL_RUNNING;
	row->made = row->passed = 0;
	row->next_at_ms = row->created_at_ms = now_ms;
	row->finished_at_ms = NO_TIME;
	free(row->action_name);
	row->action_name = xstrdup(owner->action->name);
	backfill_copy(&req->ret_backfill, row);
	return 0;
}

static void count_runs(const struct mem_action *owner, struct backfill *backfill)
{
	list_for_each (node, &owner->runs) {
		const struct run *run = &list_entry(node, struct mem_run, of_action)->run;

		backfill->runs[run->state] += run->backfill == backfill->number;
	}
}

static bool passes(const struct store_list_backfills *req, const struct backfill *row)
{
	if (!id_is_zero(&req->id) && !id_equal(&req->id, &row->id))
		return false;
	if (!id_is_zero(&req->action_id) && !id_equal(&req->action_id, &row->action_id))
		return false;
	if (!id_is_zero(&req->before_id) && id_compare(&row->id, &req->before_id) >= 0)
		return false;
	return !req->only_running || row->state == BACKFILL_RUNNING;
}

int mem_list_backfills(void *db, struct store_list_backfills *req, int64_t now_ms)
{
	const struct mem_db *rows = ((struct mem *)db)->rows;

	req->ret_now_ms = now_ms;
	for (size_t i = rows->backfill_count; i-- > 0;) {
		const struct backfill *row = &rows->backfills[i];
		const struct mem_action *owner;
		struct backfill *copy;

		if (!passes(req, row))
			continue;
		if (req->ret_count == (size_t)req->limit) {
			req->ret_has_more = true;
			break;
		}
		owner = sorted_get(&rows->actions_by_id, &row->action_id);
		copy = backfills_add(req);
		backfill_copy(copy, row);
		free(copy->action_name);
		copy->action_name = xstrdup(owner->action->name);
		copy->is_action_paused = owner->action->is_paused;
		count_runs(owner, copy);
	}
	return 0;
}

static bool is_passed(
	const struct mem_action *owner, const struct backfill *backfill, int64_t due_at_ms)
{
	list_for_each (node, &owner->runs) {
		const struct run *run = &list_entry(node, struct mem_run, of_action)->run;

		if (run->due_at_ms != due_at_ms || run->state == RUN_SKIPPED)
			continue;
		if (backfill->rerun == BACKFILL_RERUN_NONE ||
			(backfill->rerun == BACKFILL_RERUN_FAILED &&
				(is_open(run) || run->state == RUN_SUCCEEDED)))
			return true;
	}
	return false;
}

static void make_run(struct mem *mem, struct mem_action *owner, const struct backfill *backfill,
	int64_t due_at_ms, const struct id *id, int64_t now_ms)
{
	const struct planned_due due = {.due_at_ms = due_at_ms, .count = 1};
	struct run run;

	run_init(&run, id, &due, now_ms);
	run.trigger = TRIGGER_BACKFILL;
	run.backfill = backfill->number;
	run.priority = BACKFILL_PRIORITY;
	run.reason = REASON_QUEUED;
	(void)mem_insert_run(mem->rows, owner, &run);
}

static bool has_open_runs(const struct mem_action *owner, int64_t number)
{
	list_for_each (node, &owner->runs) {
		const struct run *run = &list_entry(node, struct mem_run, of_action)->run;

		if (run->backfill == number && is_open(run))
			return true;
	}
	return false;
}

int mem_advance_backfill(void *db, struct store_advance_backfill *req, int64_t now_ms)
{
	struct mem *mem = db;
	struct backfill *row = find(mem->rows, &req->id);
	struct mem_action *owner;
	size_t i;

	if (!row)
		return err_no_backfill(&req->req.err);
	owner = sorted_get(&mem->rows->actions_by_id, &row->action_id);
	req->ret_won = row->state == BACKFILL_RUNNING && !owner->action->is_paused &&
		       row->cursor_ms == req->cursor_ms;
	if (!req->ret_won)
		return 0;
	for (i = 0; i < req->count && req->ret_made < (int64_t)req->max_new; i++) {
		if (is_passed(owner, row, req->dues[i])) {
			req->ret_passed++;
			continue;
		}
		make_run(mem, owner, row, req->dues[i], scratch_next_id(req->req.scratch), now_ms);
		req->ret_made++;
	}
	row->cursor_ms = i < req->count ? req->dues[i] : req->next_cursor_ms;
	row->made += req->ret_made;
	row->passed += req->ret_passed;
	if (row->next_at_ms < now_ms - 1000)
		row->next_at_ms = now_ms - 1000;
	row->next_at_ms += req->ret_made * row->interval_ms;
	req->ret_is_done = row->cursor_ms == NO_TIME && !has_open_runs(owner, row->number);
	if (req->ret_is_done) {
		row->state = BACKFILL_DONE;
		row->finished_at_ms = now_ms;
	}
	return 0;
}

/* The ids first: an end may start others, and move the rows. */
static void list_open(
	const struct mem_action *owner, int64_t number, struct id **ids, size_t *count)
{
	list_for_each (node, &owner->runs) {
		const struct run *run = &list_entry(node, struct mem_run, of_action)->run;

		if (run->backfill == number && is_open(run))
			ids_add(ids, count, &run->id);
	}
}

int mem_cancel_backfill(void *db, struct store_cancel_backfill *req, int64_t now_ms)
{
	struct mem *mem = db;
	struct backfill *row = find(mem->rows, &req->id);
	struct id *ids = NULL;
	size_t count = 0;

	if (!row)
		return err_no_backfill(&req->req.err);
	if (row->state != BACKFILL_RUNNING)
		return err_backfill_over(&req->req.err, row->state);
	row->state = BACKFILL_CANCELLED;
	row->finished_at_ms = now_ms;
	list_open(
		sorted_get(&mem->rows->actions_by_id, &row->action_id), row->number, &ids, &count);
	for (size_t i = 0; i < count; i++) {
		struct store_cancel_run one = {.req = req->req, .id = ids[i]};

		must(mem_cancel_run(db, &one, now_ms) == 0);
		if (one.ret_run.state == RUN_RUNNING)
			ids_add(&req->ret_cancel, &req->ret_cancel_count, &ids[i]);
		for (size_t k = 0; k < one.ret_cancel_count; k++)
			ids_add(&req->ret_cancel, &req->ret_cancel_count, &one.ret_cancel[k]);
		store_cancel_run_fini(&one);
	}
	free(ids);
	return 0;
}
