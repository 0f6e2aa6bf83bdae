/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows of runs in memory, and the verbs on one run or a list of them.
 */
#include <stdlib.h>

#include "store/mem_priv.h"

/* --- rows --- */

void mem_run_destroy(struct mem_db *rows, struct mem_run *run)
{
	sorted_remove(&rows->runs, &run->run.id);
	list_remove(&run->of_action);
	list_remove(&run->open_of_action);
	list_remove(&run->open_of_all);
	for (size_t i = 0; i < run->attempt_count; i++)
		free(run->attempts[i].output);
	free(run->attempts);
	run_note_fini(&run->note);
	run_fini(&run->run);
	action_unref(run->definition);
	free(run);
}

static bool is_open(const struct run *run)
{
	return run->state == RUN_PENDING || run->state == RUN_RUNNING;
}

/* After each change of state: the lists of open runs follow it. */
static void file_by_state(struct mem_db *rows, struct mem_run *run)
{
	list_remove(&run->open_of_action);
	list_remove(&run->open_of_all);
	if (is_open(&run->run)) {
		list_push(&run->owner->open_runs, &run->open_of_action);
		list_push(&rows->open_runs, &run->open_of_all);
	}
}

struct mem_run *mem_insert_run(
	struct mem_db *rows, struct mem_action *owner, const struct run *given)
{
	struct mem_run *run = xcalloc(1, sizeof(*run));

	run->run = *given;
	run->owner = owner;
	run->definition = action_ref(owner->action);
	run->run.action_id = owner->action->id;
	run->run.action_version = owner->action->version;
	if (given->backfill == 0)
		run->run.priority = owner->action->priority;
	list_init(&run->of_action);
	list_init(&run->open_of_action);
	list_init(&run->open_of_all);
	list_push(&owner->runs, &run->of_action);
	sorted_insert(&rows->runs, &run->run.id, run);
	file_by_state(rows, run);
	return run;
}

void mem_copy_run(const struct mem_run *row, struct run *ret_run)
{
	*ret_run = row->run;
	ret_run->action_name = xstrdup(row->owner->action->name);
	ret_run->error = xstrdup(row->run.error);
	ret_run->event = xstrdup(row->run.event);
	ret_run->payload = xstrdup(row->run.payload);
	ret_run->action = NULL;
	if (row->note.has_progress)
		run_apply_progress(
			ret_run, row->note_epoch, row->note.percent, xstrdup(row->note.message));
	ret_run->checkpoint_bytes = (int64_t)row->note.checkpoint_len;
}

struct open_runs mem_count_open(const struct mem_action *owner)
{
	struct open_runs open = {0};

	list_for_each (node, &owner->open_runs) {
		const struct run *run = &list_entry(node, struct mem_run, open_of_action)->run;

		if (run->backfill > 0)
			open.backfilling += run->state == RUN_RUNNING;
		else if (run->state == RUN_PENDING)
			open.pending++;
		else
			open.running++;
	}
	return open;
}

bool mem_has_due(const struct mem_action *owner, int64_t due_at_ms)
{
	list_for_each (node, &owner->runs)
		if (list_entry(node, struct mem_run, of_action)->run.due_at_ms == due_at_ms)
			return true;
	return false;
}

void mem_make_room(struct mem_db *rows, struct mem_action *owner, int64_t now_ms,
	struct id **cancel, size_t *cancel_count)
{
	list_for_each (node, &owner->open_runs) {
		struct mem_run *run = list_entry(node, struct mem_run, open_of_action);

		if (run->run.backfill > 0)
			continue;
		if (run->run.state == RUN_PENDING) {
			run_end(&run->run, RUN_CANCELLED, REASON_OVERLAP, now_ms);
			file_by_state(rows, run);
		} else if (!run->run.cancel_requested) {
			run_request_cancel(&run->run, REASON_OVERLAP);
			ids_add(cancel, cancel_count, &run->run.id);
		}
	}
}

/* --- finish and recover --- */

static void keep_attempt(struct mem_run *run, int number, const struct store_finish *req)
{
	const struct attempt_result *result = req->result;
	int64_t kept = (int64_t)result->output_len;

	run->attempts = grow_array(
		run->attempts, run->attempt_count, &run->attempt_room, sizeof(*run->attempts));
	run->attempts[run->attempt_count++] = (struct mem_attempt){
		.epoch = run->run.epoch,
		.attempt = number,
		.output = result->output_len ? xmemdup(result->output, result->output_len) : NULL,
		.len = result->output_len,
		.total = result->output_total > kept ? result->output_total : kept,
	};
}

int mem_finish(void *db, struct store_finish *req, int64_t now_ms)
{
	struct mem_db *rows = ((struct mem *)db)->rows;
	struct mem_run *run = sorted_get(&rows->runs, &req->run->id);
	int attempt;

	if (!run)
		return err_run_gone(&req->req.err);
	attempt = run->run.attempt;
	if (run_apply_finish(&run->run, req, now_ms, &req->req.err) < 0)
		return req->req.err.code;
	if (attempt_has_begun(req->result))
		keep_attempt(run, attempt, req);
	if (run_forgets_checkpoint(run->run.state)) {
		free(take_ptr(run->note.checkpoint));
		run->note.checkpoint_len = 0;
	}
	file_by_state(rows, run);
	req->ret_state = run->run.state;
	req->ret_has_sequels =
		mem_announce_end(db, run, &req->ret_cancel, &req->ret_cancel_count, now_ms) > 0;
	if (run_state_is_final(run->run.state))
		req->ret_has_sequels |= mem_pace_ended(run->owner, now_ms);
	return 0;
}

/* --- notes --- */

static struct run_note copy_note(const struct run_note *note)
{
	struct run_note copy = *note;

	copy.message = xstrdup(note->message);
	copy.checkpoint = note->checkpoint ? xmemdup(note->checkpoint, note->checkpoint_len) : NULL;
	return copy;
}

int mem_note(void *db, struct store_note *req, int64_t now_ms)
{
	struct mem_run *run = sorted_get(&((struct mem *)db)->rows->runs, &req->run_id);
	struct run_note note;

	if (!run)
		return err_run_gone(&req->req.err);
	if (run_check_note(&run->run, req->epoch, &req->req.err) < 0)
		return req->req.err.code;
	if (run->note_epoch != req->epoch)
		run->note.has_progress = false;
	run->note_epoch = req->epoch;
	note = copy_note(req->note);
	run_note_merge(&run->note, &note);
	return 0;
}

int mem_get_checkpoint(void *db, struct store_get_checkpoint *req, int64_t now_ms)
{
	const struct mem_run *run = sorted_get(&((struct mem *)db)->rows->runs, &req->run_id);

	if (!run || run->note.checkpoint_len == 0)
		return 0;
	req->ret_checkpoint = xmemdup(run->note.checkpoint, run->note.checkpoint_len);
	req->ret_len = run->note.checkpoint_len;
	return 0;
}

int mem_list_orphans(void *db, struct store_recover *req)
{
	const struct mem *mem = db;

	list_for_each (node, &mem->rows->open_runs) {
		const struct mem_run *row = list_entry(node, struct mem_run, open_of_all);
		struct run *orphan;

		if (row->run.state != RUN_RUNNING ||
			id_equal(&row->run.instance_id, &mem->instance_id))
			continue;
		orphan = &scratch_add_orphan(req->req.scratch)->run;
		mem_copy_run(row, orphan);
		orphan->action = action_ref(row->definition);
	}
	return 0;
}

/* --- reading --- */

int mem_get_run(void *db, struct store_get_run *req, int64_t now_ms)
{
	const struct mem_run *run = sorted_get(&((struct mem *)db)->rows->runs, &req->id);

	if (!run)
		return err_no_run(&req->req.err);
	mem_copy_run(run, &req->ret_run);
	return 0;
}

static bool run_passes(const struct store_list_runs *req, const struct run *run)
{
	if (!id_is_zero(&req->action_id) && !id_equal(&req->action_id, &run->action_id))
		return false;
	if (req->states && !(req->states & (1u << run->state)))
		return false;
	if (req->trigger >= 0 && (int)run->trigger != req->trigger)
		return false;
	if (req->due_from_ms != NO_TIME && run->due_at_ms < req->due_from_ms)
		return false;
	return req->due_to_ms == NO_TIME || run->due_at_ms < req->due_to_ms;
}

int mem_list_runs(void *db, struct store_list_runs *req, int64_t now_ms)
{
	const struct sorted *all = &((struct mem *)db)->rows->runs;
	size_t room = 0;

	for (size_t i = all->count; i-- > 0;) {
		const struct mem_run *run = all->items[i];
		struct run *copy;

		if (!run_passes(req, &run->run))
			continue;
		req->ret_total += req->want_total;
		if (!id_is_zero(&req->before_id) && id_compare(&run->run.id, &req->before_id) >= 0)
			continue;
		if (req->ret_count == (size_t)req->limit) {
			req->ret_has_more = true;
			continue;
		}
		req->ret_runs =
			grow_array(req->ret_runs, req->ret_count, &room, sizeof(*req->ret_runs));
		copy = &req->ret_runs[req->ret_count++];
		mem_copy_run(run, copy);
		free(take_ptr(copy->event));
		free(take_ptr(copy->payload));
	}
	return 0;
}

int mem_cancel_run(void *db, struct store_cancel_run *req, int64_t now_ms)
{
	struct mem_db *rows = ((struct mem *)db)->rows;
	struct mem_run *run = sorted_get(&rows->runs, &req->id);

	if (!run)
		return err_no_run(&req->req.err);
	if (run_apply_cancel(&run->run, now_ms, &req->req.err) < 0)
		return req->req.err.code;
	file_by_state(rows, run);
	mem_copy_run(run, &req->ret_run);
	if (run_state_is_final(run->run.state))
		(void)mem_pace_ended(run->owner, now_ms);
	(void)mem_announce_end(db, run, &req->ret_cancel, &req->ret_cancel_count, now_ms);
	return 0;
}

int mem_change_run(void *db, struct store_change_run *req, int64_t now_ms)
{
	struct mem_db *rows = ((struct mem *)db)->rows;
	struct mem_run *run = sorted_get(&rows->runs, &req->id);

	if (!run)
		return err_no_run(&req->req.err);
	if (run_apply_change(&run->run, req->change, false, &req->req.err) < 0)
		return req->req.err.code;
	file_by_state(rows, run);
	mem_copy_run(run, &req->ret_run);
	return 0;
}

int mem_get_output(void *db, struct store_get_output *req, int64_t now_ms)
{
	const struct mem_run *run = sorted_get(&((struct mem *)db)->rows->runs, &req->run_id);

	if (!run)
		return err_no_run(&req->req.err);
	for (size_t i = run->attempt_count; i-- > 0;) {
		const struct mem_attempt *attempt = &run->attempts[i];

		if ((req->attempt != 0 && attempt->attempt != req->attempt) ||
			(req->epoch != 0 && attempt->epoch != req->epoch))
			continue;
		req->ret_output = attempt->len ? xmemdup(attempt->output, attempt->len) : NULL;
		req->ret_len = attempt->len;
		req->ret_total = attempt->total;
		req->ret_attempt = attempt->attempt;
		return 0;
	}
	return err_no_output(&req->req.err, req->attempt);
}

int mem_stats(void *db, struct store_stats *req, int64_t now_ms)
{
	const struct mem_db *rows = ((struct mem *)db)->rows;

	req->ret_now_ms = now_ms;
	req->ret_actions = (int64_t)rows->actions_by_id.count;
	req->ret_actions_paused = req->ret_runs_pending = req->ret_runs_running = 0;
	req->ret_size_bytes = 0;
	req->ret_instances = 1;
	for (size_t i = 0; i < rows->actions_by_id.count; i++)
		req->ret_actions_paused +=
			((struct mem_action *)rows->actions_by_id.items[i])->action->is_paused;
	list_for_each (node, &rows->open_runs) {
		if (list_entry(node, struct mem_run, open_of_all)->run.state == RUN_PENDING)
			req->ret_runs_pending++;
		else
			req->ret_runs_running++;
	}
	return 0;
}
