/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs that decide what runs, in memory: look, claim, take. The reference for what the SQL of
 * the other backends must answer: the rules stand here as loops over all rows. */
#include <stdlib.h>
#include <string.h>

#include "store/mem_priv.h"

/* --- look --- */

static int compare_due(const void *left, const void *right)
{
	const struct action *a = *(struct action *const *)left;
	const struct action *b = *(struct action *const *)right;

	if (a->next_due_ms != b->next_due_ms)
		return a->next_due_ms < b->next_due_ms ? -1 : 1;
	return id_compare(&a->id, &b->id);
}

static int64_t count_running_of(const struct mem_action *owner)
{
	struct open_runs open = mem_count_open(owner);

	return open.running + open.backfilling;
}

static bool has_running(const struct mem_action *owner)
{
	return count_running_of(owner) > 0;
}

static bool has_older_pending(const struct mem_run *run)
{
	list_for_each (node, &run->owner->open_runs) {
		const struct run *other = &list_entry(node, struct mem_run, open_of_action)->run;

		if (other->state != RUN_PENDING || other->backfill > run->run.backfill)
			continue;
		if (other->backfill < run->run.backfill || other->due_at_ms < run->run.due_at_ms)
			return true;
	}
	return false;
}

/* But for its time. */
static bool may_start(const struct mem_run *run)
{
	if (run->run.state != RUN_PENDING)
		return false;
	if (run->definition->overlap == OVERLAP_ALLOW)
		return run->definition->max_concurrent == 0 ||
		       count_running_of(run->owner) < run->definition->max_concurrent;
	return !has_running(run->owner) && !has_older_pending(run);
}

static int64_t next_not_before(const struct mem_db *rows, int64_t now_ms)
{
	int64_t next = NO_TIME;

	list_for_each (node, &rows->open_runs) {
		const struct run *run = &list_entry(node, struct mem_run, open_of_all)->run;

		if (run->state == RUN_PENDING && run->not_before_ms > now_ms &&
			(next == NO_TIME || run->not_before_ms < next))
			next = run->not_before_ms;
	}
	return next;
}

static int64_t pending_at(const struct mem_db *rows, int64_t now_ms)
{
	list_for_each (node, &rows->open_runs) {
		const struct mem_run *run = list_entry(node, struct mem_run, open_of_all);

		if (run->run.not_before_ms <= now_ms && may_start(run))
			return now_ms;
	}
	return next_not_before(rows, now_ms);
}

int mem_look(void *db, struct store_look *req, int64_t now_ms)
{
	const struct mem_db *rows = ((struct mem *)db)->rows;
	const struct sorted *all = &rows->actions_by_id;
	int64_t end_ms = add_ms(now_ms, req->horizon_ms);
	size_t found = 0;

	req->ret_actions = xcalloc(all->count + 1, sizeof(struct action *));
	for (size_t i = 0; i < all->count; i++) {
		struct action *action = ((struct mem_action *)all->items[i])->action;

		if (req->shards && !(req->shards >> store_shard_of(&action->id) & 1))
			continue;
		if (action->next_due_ms != NO_TIME && action->next_due_ms <= end_ms)
			req->ret_actions[found++] = action;
	}
	qsort(req->ret_actions, found, sizeof(struct action *), compare_due);
	req->ret_has_more = found > (size_t)req->limit;
	req->ret_count = req->ret_has_more ? (size_t)req->limit : found;
	for (size_t i = 0; i < req->ret_count; i++)
		(void)action_ref(req->ret_actions[i]);
	req->ret_now_ms = now_ms;
	req->ret_pending_at_ms = pending_at(rows, now_ms);
	return 0;
}

/* --- claim --- */

static void count_claimed(
	struct store_claim *req, const struct mem_run *run, struct claim_room *room)
{
	req->ret_queued += run->run.state == RUN_PENDING;
	req->ret_skipped += run->run.state == RUN_SKIPPED;
	if (run->run.state != RUN_RUNNING)
		return;
	room->left[run->definition->kind]--;
	req->ret_started =
		xrealloc(req->ret_started, req->ret_started_count + 1, sizeof(*req->ret_started));
	mem_copy_run(run, &req->ret_started[req->ret_started_count++]);
}

/* One claim, and of its action at hand how many runs it has made. */
struct claiming {
	struct mem *mem;
	struct store_claim *req;
	struct claim_room room;
	int64_t made, now_ms;
};

static void claim_due(struct claiming *claiming, const struct claim_item *item,
	struct mem_action *owner, const struct planned_due *due)
{
	const struct action *action = owner->action;
	struct store_claim *req = claiming->req;
	int64_t now_ms = claiming->now_ms;
	bool is_spent = due->verdict == DUE_RUN && owner->runs_left != NO_TIME &&
			claiming->made >= owner->runs_left;
	const struct id *id = scratch_next_id(req->req.scratch);
	struct overlap_rules rules = {
		action->overlap, action_pending_limit(action), action->is_paused};
	struct open_runs open = mem_count_open(owner);
	struct due_fate fate = due_decide(&rules, is_spent ? DUE_SKIP_LIMIT : due->verdict, &open,
		!item->is_queued &&
			claim_may_start(&claiming->room, action->kind, action->priority, now_ms));
	struct run run;

	if (mem_has_due(owner, due->due_at_ms))
		return;
	if (fate.makes_room)
		mem_make_room(claiming->mem->rows, owner, now_ms, &req->ret_cancel,
			&req->ret_cancel_count);
	run_init(&run, id, due, now_ms);
	run.trigger = TRIGGER_SCHEDULE;
	run_settle(&run, &fate, &claiming->mem->instance_id, now_ms);
	claiming->made += run.state != RUN_SKIPPED;
	count_claimed(req, mem_insert_run(claiming->mem->rows, owner, &run), &claiming->room);
}

/* The first in line of each kind among those that could start. (Without AHEAD_MAX, which bounds the
 * work of the databases: no test has so many that cannot.) */
static void find_ahead(const struct mem_db *rows, int64_t now_ms, struct claim_room *room)
{
	for (int kind = 0; kind < ACTION_KIND_COUNT; kind++)
		room->ahead_ms[kind] = INT64_MAX;
	list_for_each (node, &rows->open_runs) {
		const struct mem_run *run = list_entry(node, struct mem_run, open_of_all);
		int64_t *ahead_ms = &room->ahead_ms[run->definition->kind];
		int64_t rank_ms = run_rank_ms(run->run.created_at_ms, run->run.priority);

		if (run->run.not_before_ms == NO_TIME && may_start(run) && rank_ms < *ahead_ms)
			*ahead_ms = rank_ms;
	}
}

static bool is_won(const struct mem_action *row, const struct claim_item *item, int64_t now_ms)
{
	return row && row->action->version == item->action->version &&
	       item->expected_ms != NO_TIME && row->action->next_due_ms == item->expected_ms &&
	       item->expected_ms <= now_ms;
}

void mem_move_cursor(struct mem_action *row, int64_t next_due_ms)
{
	struct action *old = row->action;

	/* The name, by which rows are sorted, stays. */
	row->action = action_with_row(old, &old->id, old->version, old->is_paused, next_due_ms,
		old->created_at_ms, old->updated_at_ms);
	action_unref(old);
}

int mem_claim(void *db, struct store_claim *req, int64_t now_ms)
{
	struct claiming claiming = {.mem = db, .req = req, .now_ms = now_ms};
	struct mem_db *rows = claiming.mem->rows;

	memcpy(claiming.room.left, req->capacity, sizeof(claiming.room.left));
	find_ahead(rows, now_ms, &claiming.room);
	for (size_t i = 0; i < req->count; i++) {
		struct claim_item *item = &req->items[i];
		struct mem_action *row = sorted_get(&rows->actions_by_id, &item->action->id);

		item->ret_won = is_won(row, item, now_ms);
		if (!item->ret_won)
			continue;
		claiming.made = 0;
		for (size_t due = 0; due < item->due_count; due++)
			claim_due(&claiming, item, row, &item->dues[due]);
		mem_move_cursor(row, item->next_due_ms);
		mem_pace_claimed(row, claiming.made, now_ms);
	}
	req->ret_now_ms = now_ms;
	return 0;
}

/* --- take --- */

static void promote(struct mem_db *rows, int64_t now_ms)
{
	list_for_each (node, &rows->open_runs) {
		struct run *run = &list_entry(node, struct mem_run, open_of_all)->run;

		if (run->state == RUN_PENDING && run->not_before_ms <= now_ms)
			run->not_before_ms = NO_TIME;
	}
}

static int compare_run(const void *left, const void *right)
{
	return run_compare_rank(
		&(*(struct mem_run *const *)left)->run, &(*(struct mem_run *const *)right)->run);
}

static struct mem_run **find_startable(const struct mem_db *rows, size_t *ret_count)
{
	struct mem_run **found = NULL;
	size_t count = 0, room = 0;

	list_for_each (node, &rows->open_runs) {
		struct mem_run *run = list_entry(node, struct mem_run, open_of_all);

		if (run->run.not_before_ms != NO_TIME || !may_start(run))
			continue;
		found = grow_array(found, count, &room, sizeof(struct mem_run *));
		found[count++] = run;
	}
	if (count > 1)
		qsort(found, count, sizeof(struct mem_run *), compare_run);
	*ret_count = count;
	return found;
}

/* The kind is the run's, the tags are those the action has now: as the other backends know them. */
static bool run_counts(const struct run_limit *limit, const struct mem_run *run)
{
	struct run_limit tag = {.kind = -1, .tag = limit->tag};

	return (limit->kind < 0 || (enum action_kind)limit->kind == run->definition->kind) &&
	       run_limit_applies(&tag, run->owner->action);
}

/* Running runs that a limit counts. */
static int count_running(const struct mem_db *rows, const struct run_limit *limit)
{
	int count = 0;

	list_for_each (node, &rows->open_runs) {
		const struct mem_run *run = list_entry(node, struct mem_run, open_of_all);

		count += run->run.state == RUN_RUNNING && run_counts(limit, run);
	}
	return count;
}

static bool limits_allow(
	const struct mem_db *rows, const struct store_take *req, const struct mem_run *run)
{
	for (size_t i = 0; i < req->limit_count; i++)
		if (run_counts(&req->limits[i], run) &&
			count_running(rows, &req->limits[i]) >= req->limits[i].max)
			return false;
	return true;
}

int mem_take(void *db, struct store_take *req, int64_t now_ms)
{
	struct mem *mem = db;
	struct mem_run **found;
	int left[ACTION_KIND_COUNT], offered[ACTION_KIND_COUNT] = {0};
	size_t count;

	promote(mem->rows, now_ms);
	memcpy(left, req->capacity, sizeof(left));
	found = find_startable(mem->rows, &count);
	for (size_t i = 0; i < count; i++) {
		struct mem_run *run = found[i];

		if (req->limit_count == 0 &&
			offered[run->definition->kind]++ >= req->capacity[run->definition->kind])
			continue;
		/* may_start: others have been started a moment ago */
		if (left[run->definition->kind] <= 0 || !may_start(run) ||
			!limits_allow(mem->rows, req, run))
			continue;
		left[run->definition->kind]--;
		run_begin(&run->run, &mem->instance_id, now_ms);
		req->ret_started = xrealloc(
			req->ret_started, req->ret_started_count + 1, sizeof(*req->ret_started));
		mem_copy_run(run, &req->ret_started[req->ret_started_count]);
		req->ret_started[req->ret_started_count++].action = action_ref(run->definition);
	}
	free(found);
	req->ret_now_ms = now_ms;
	req->ret_pending_at_ms = next_not_before(mem->rows, now_ms);
	return 0;
}
