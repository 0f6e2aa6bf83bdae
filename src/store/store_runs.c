/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs on runs, loop side: what each prepares before the backend works, completes
 * after it, and frees. One block a verb. */
#include <stdlib.h>
#include <string.h>

#include "store/store_priv.h"

static void runs_free(struct run *runs, size_t count)
{
	for (size_t i = 0; runs && i < count; i++)
		run_fini(&runs[i]);
	free(runs);
}

/* A single run in an output; all zero when there is none. */
static void run_release(struct run *run)
{
	run_fini(run);
	memset(run, 0, sizeof(*run));
}

/* --- claim --- */

STORE_VERB_RUN(claim)

static void claim_prepare(struct store_req *base)
{
	struct store_claim *req = container_of(base, struct store_claim, req);
	size_t dues = 0;

	for (size_t i = 0; i < req->count; i++) {
		req->items[i].ret_won = false;
		dues += req->items[i].due_count;
	}
	scratch_make_ids(base->scratch, dues);
}

static struct action *claimed_action(const struct store_claim *req, const struct run *run)
{
	for (size_t i = 0; i < req->count; i++)
		if (id_equal(&req->items[i].action->id, &run->action_id))
			return req->items[i].action;
	must(false);
}

/* Started runs come in the order of their items; so does this walk, unless one action stands in two
 * items. */
static bool claim_complete(struct store_req *base)
{
	struct store_claim *req = container_of(base, struct store_claim, req);
	size_t at = 0;

	for (size_t i = 0; i < req->ret_started_count; i++) {
		struct run *run = &req->ret_started[i];

		while (at < req->count && !id_equal(&req->items[at].action->id, &run->action_id))
			at++;
		run->action = action_ref(
			at < req->count ? req->items[at].action : claimed_action(req, run));
	}
	runs_sort_by_due(req->ret_started, req->ret_started_count);
	return false;
}

/* After a failure nothing was won either. */
static void claim_release(struct store_req *base)
{
	struct store_claim *req = container_of(base, struct store_claim, req);

	store_claim_fini(req);
	for (size_t i = 0; i < req->count; i++)
		req->items[i].ret_won = false;
}

STORE_VERB(claim, .lane = LANE_WRITE, OUTPUTS(claim, ret_now_ms), .fini = claim_release,
	.prepare = claim_prepare, .complete = claim_complete, .changes = claim_changes)

void store_claim_fini(struct store_claim *req)
{
	runs_free(take_ptr(req->ret_started), req->ret_started_count);
	free(take_ptr(req->ret_cancel));
	req->ret_started_count = req->ret_cancel_count = 0;
}

/* --- orphans: running runs whose attempt nobody will finish --- */

struct attempt_result orphan_result(const struct run *orphan, char *error)
{
	return (struct attempt_result){
		.outcome = ATTEMPT_INTERRUPTED,
		.exit_code = -1,
		.retry_after_ms = -1,
		.started_at_ms = orphan->started_at_ms,
		.error = error,
	};
}

/* 1: moved as decided, 0: somebody else has moved it. Backend side. */
static int orphan_move(const struct sync_verbs *verbs, void *db, struct store_req *base,
	size_t index, int64_t now_ms)
{
	const struct store_orphan *orphan = &base->scratch->orphans[index];
	auto_free char *error = xstrdup(orphan->why);
	struct attempt_result result = orphan_result(&orphan->run, error);
	struct store_finish finish = {
		.req = {.store = base->store},
		.run = &orphan->run,
		.result = &result,
		.follow_up = orphan->follow_up,
	};

	int status = verbs->finish(db, &finish, now_ms);

	store_finish_fini(&finish); /* who is to be ended is nobody's yet: we have just started */
	if (status == 0)
		return 1;
	if (finish.req.err.code == ERR_STALE)
		return 0;
	base->err = finish.req.err;
	return base->err.code;
}

static int orphans_move(
	const struct sync_verbs *verbs, void *db, struct store_req *base, int64_t now_ms)
{
	base->scratch->moved_count = 0;
	for (size_t i = 0; i < base->scratch->orphan_count; i++) {
		int moved = orphan_move(verbs, db, base, i, now_ms);

		if (moved < 0)
			return moved;
		base->scratch->moved_count += (size_t)moved;
	}
	return 0;
}

/* --- take --- */

/* A second round only for runs whose definition turned out to be unreadable. */
static int take_run(
	const struct sync_verbs *verbs, void *db, struct store_req *base, int64_t now_ms)
{
	if (!base->scratch->is_decided)
		return verbs->take(db, container_of(base, struct store_take, req), now_ms);
	return orphans_move(verbs, db, base, now_ms);
}

/* Damage to one definition must not keep the others from running, nor its own run running for ever.
 */
static void take_give_up(struct store_req *base, const struct run *run, const struct err *err)
{
	struct store_orphan *orphan = scratch_add_orphan(base->scratch);

	orphan->run = *run; /* with its strings */
	orphan->why = xstrdup(err->text);
	orphan->follow_up =
		(struct run_follow_up){.state = RUN_FAILED, .reason = REASON_NONE, .counts = true};
}

/* The backend leaves one row for each started run, in the same order. */
static void take_read_definitions(struct store_req *base, struct store_take *req)
{
	const struct store_scratch *scratch = base->scratch;
	size_t kept = 0;

	must(scratch->row_count == req->ret_started_count);
	for (size_t i = 0; i < scratch->row_count; i++) {
		struct run run = req->ret_started[i];
		struct err err = {0};

		if (definition_cache_read(
			    base->store->definitions, &scratch->rows[i], &run.action, &err) < 0)
			take_give_up(base, &run, &err);
		else
			req->ret_started[kept++] = run;
	}
	req->ret_started_count = kept;
}

static bool take_complete(struct store_req *base)
{
	struct store_take *req = container_of(base, struct store_take, req);
	bool is_first = !base->scratch->is_decided;

	if (is_first && base->scratch->row_count > 0)
		take_read_definitions(base, req);
	base->scratch->is_decided = true;
	runs_sort_by_rank(req->ret_started, req->ret_started_count);
	return is_first && base->scratch->orphan_count > 0;
}

static void take_prepare(struct store_req *base)
{
	container_of(base, struct store_take, req)->ret_pending_at_ms = NO_TIME;
}

STORE_VERB_FREES(take)
STORE_VERB(take, .lane = LANE_WRITE, OUTPUTS(take, ret_now_ms), .prepare = take_prepare,
	.fini = take_release, .complete = take_complete, .changes = take_changes)

void store_take_fini(struct store_take *req)
{
	runs_free(take_ptr(req->ret_started), req->ret_started_count);
	req->ret_started_count = 0;
}

/* --- finish --- */

STORE_VERB_RUN(finish)
STORE_VERB_FREES(finish)
STORE_VERB(finish, .lane = LANE_WRITE, OUTPUTS(finish, ret_state), .fini = finish_release,
	.changes = finish_changes)

void store_finish_fini(struct store_finish *req)
{
	free(take_ptr(req->ret_cancel));
	req->ret_cancel_count = 0;
}

/* --- recover ---
 *
 * Two rounds: the decision needs the definitions, and those are parsed on the loop. In between
 * nobody else moves these runs, and if somebody did, the fence of finish would tell. */

static int recover_run(
	const struct sync_verbs *verbs, void *db, struct store_req *base, int64_t now_ms)
{
	struct store_recover *req = container_of(base, struct store_recover, req);

	if (!base->scratch->is_decided)
		return verbs->list_orphans(db, req);
	return orphans_move(verbs, db, base, now_ms);
}

/* A definition that cannot be read must not keep the server from starting: that run has failed. */
static void recover_decide(struct store_req *base, size_t index)
{
	struct store_orphan *orphan = &base->scratch->orphans[index];
	struct run *run = &orphan->run;
	struct attempt_result result = orphan_result(run, NULL);
	struct err err = {0};

	if (!run->action && definition_cache_read(base->store->definitions,
				    &base->scratch->rows[index], &run->action, &err) < 0) {
		orphan->why = xstrdup(err.text);
		orphan->follow_up = (struct run_follow_up){
			.state = RUN_FAILED, .reason = REASON_OWNER_LOST, .counts = true};
		return;
	}
	orphan->why = xstrdup("the instance that ran it is gone");
	orphan->follow_up = run_follow_up(
		run, run->action, &result, REASON_OWNER_LOST, (uint32_t)id_hash(&run->id));
}

static bool recover_complete(struct store_req *base)
{
	struct store_scratch *scratch = base->scratch;

	if (scratch->is_decided) {
		container_of(base, struct store_recover, req)->ret_count = scratch->moved_count;
		return false;
	}
	for (size_t i = 0; i < scratch->orphan_count; i++)
		recover_decide(base, i);
	scratch->is_decided = true;
	return scratch->orphan_count > 0;
}

STORE_VERB(recover, .lane = LANE_WRITE, OUTPUTS(recover, ret_count), .complete = recover_complete,
	.changes = recover_changes)

/* --- trigger --- */

STORE_VERB_RUN(trigger)

static void trigger_prepare(struct store_req *base)
{
	scratch_make_ids(base->scratch, 1);
}

STORE_VERB_FREES(trigger)
STORE_VERB(trigger, .lane = LANE_WRITE, OUTPUTS(trigger, ret_run), .fini = trigger_release,
	.prepare = trigger_prepare, .changes = trigger_changes)

void store_trigger_fini(struct store_trigger *req)
{
	run_release(&req->ret_run);
	free(take_ptr(req->ret_cancel));
	req->ret_cancel_count = 0;
}

/* --- events --- */

STORE_VERB_RUN(send_event)
STORE_VERB_FREES(send_event)
STORE_VERB(send_event, .lane = LANE_WRITE, OUTPUTS(send_event, ret_event_id),
	.fini = send_event_release, .prepare = trigger_prepare, .changes = send_event_changes)

void store_send_event_fini(struct store_send_event *req)
{
	runs_free(take_ptr(req->ret_runs), req->ret_count);
	free(take_ptr(req->ret_cancel));
	req->ret_count = req->ret_cancel_count = 0;
}

/* --- the start of the service --- */

STORE_VERB_RUN(boot)

static void boot_prepare(struct store_req *base)
{
	scratch_make_ids(base->scratch, container_of(base, struct store_boot, req)->count);
}

STORE_VERB_FREES(boot)
STORE_VERB(boot, .lane = LANE_WRITE, OUTPUTS(boot, ret_answer), .fini = boot_release,
	.prepare = boot_prepare, .changes = some_runs_changes)

void store_boot_fini(struct store_boot *req)
{
	free(take_ptr(req->ret_cancel));
	req->ret_cancel_count = 0;
}

/* --- get --- */

STORE_VERB_RUN(get_run)
STORE_VERB_FREES(get_run)
STORE_VERB(get_run, .lane = LANE_READ, OUTPUTS(get_run, ret_run), .fini = get_run_release)

void store_get_run_fini(struct store_get_run *req)
{
	run_release(&req->ret_run);
}

/* --- list --- */

STORE_VERB_RUN(list_runs)
STORE_VERB_FREES(list_runs)
STORE_VERB(list_runs, .lane = LANE_LIST, OUTPUTS(list_runs, ret_runs), .fini = list_runs_release)

void store_list_runs_fini(struct store_list_runs *req)
{
	runs_free(take_ptr(req->ret_runs), req->ret_count);
	req->ret_count = 0;
}

/* --- cancel --- */

STORE_VERB_RUN(cancel_run)
STORE_VERB_FREES(cancel_run)
STORE_VERB(cancel_run, .lane = LANE_WRITE, OUTPUTS(cancel_run, ret_run), .fini = cancel_run_release,
	.changes = cancel_run_changes)

void store_cancel_run_fini(struct store_cancel_run *req)
{
	run_release(&req->ret_run);
	free(take_ptr(req->ret_cancel));
	req->ret_cancel_count = 0;
}

/* --- change --- */

STORE_VERB_RUN(change_run)
STORE_VERB_FREES(change_run)
STORE_VERB(change_run, .lane = LANE_WRITE, OUTPUTS(change_run, ret_run), .fini = change_run_release,
	.changes = change_run_changes)

void store_change_run_fini(struct store_change_run *req)
{
	run_release(&req->ret_run);
}

/* --- finish, within another transaction --- */

void store_put_finish(
	const struct store *store, const struct store_finish *req, struct pg_query *query)
{
	must(store->backend->put_finish != NULL);
	store->backend->put_finish(req, query);
}

int store_read_finish(const struct store *store, struct store_finish *req,
	const struct pg_query *query, struct err *err)
{
	return store->backend->read_finish(req, query, err);
}

/* --- output --- */

STORE_VERB_RUN(get_output)
STORE_VERB_FREES(get_output)
STORE_VERB(
	get_output, .lane = LANE_READ, OUTPUTS(get_output, ret_attempt), .fini = get_output_release)

void store_get_output_fini(struct store_get_output *req)
{
	free(take_ptr(req->ret_output));
	req->ret_len = 0;
}

/* --- stats --- */

STORE_VERB_RUN(stats)
STORE_VERB(stats, .lane = LANE_READ, OUTPUTS(stats, ret_now_ms))
