/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing one action. Every change reads the row first: for If-Match, for what a PATCH starts
 * from, and for the cursor. It is then written against the version that was read; when somebody was
 * faster and the client did not insist on a version, it is read and done again, at most TRIES_MAX
 * times. */
#include <stdlib.h>
#include <string.h>

#include "api/actions_priv.h"
#include "api/cursor_priv.h"

#define TRIES_MAX 16

static const char *const patch_types[] = {"application/json", "application/merge-patch+json", NULL};

struct change {
	struct action_find find;
	int tries;
	store_done_fn *done; /* of the write; tells which request below was started */
	json_t *body;        /* owned; PUT and PATCH */
	bool is_patch;
	struct action *replacement; /* owned */
	bool is_pausing;
	struct store_claim claim; /* of what is overdue, before the cursor goes elsewhere */
	struct claim_item item;
	struct store_replace_action replace;
	struct store_pause_action pause;
	struct store_delete_action delete;
	struct actions_answer answer;
};

static void on_replaced(struct store_req *req);
static void on_paused(struct store_req *req);
static void on_deleted(struct store_req *req);
static void on_claimed(struct store_req *req);

/* Forgets one try. */
static void try_fini(struct change *change)
{
	if (change->done == on_replaced)
		store_replace_action_fini(&change->replace);
	else if (change->done == on_paused)
		store_pause_action_fini(&change->pause);
	else if (change->done == on_deleted)
		store_delete_action_fini(&change->delete);
	else if (change->done == on_claimed)
		store_claim_fini(&change->claim);
	free((void *)take_ptr(change->item.dues));
	change->done = NULL;
	action_unref(take_ptr(change->replacement));
}

static void change_fini(void *state)
{
	struct change *change = state;

	actions_answer_fini(&change->answer);
	try_fini(change);
	action_find_fini(&change->find);
	json_decref(change->body);
}

static struct change *change_create(struct api_call *call)
{
	return api_call_state(call, sizeof(struct change), change_fini);
}

/* Reads the row and does it again. */
static void try_again(struct change *change)
{
	struct api_call *call = change->find.call;

	if (++change->tries >= TRIES_MAX) {
		api_reply_problem(call, ERR_CONFLICT,
			"the action was changed by others %d times meanwhile; try again",
			TRIES_MAX);
		return;
	}
	try_fini(change);
	action_find(&change->find, call, call->param, change->find.found);
}

/* True when the write went well; else it is answered or tried again. */
static bool went_well(struct change *change, const struct err *err)
{
	struct api_call *call = change->find.call;

	if (err->code == 0)
		return true;
	if (err->code != ERR_VERSION || http_header(call->request, "If-Match")) {
		api_reply_err(call, err);
	} else {
		try_again(change);
	}
	return false;
}

/* --- what is overdue ---
 *
 * A cursor that stands at a due time which nobody has claimed yet (the scheduler is about to, or
 * the server has just come up) must not be moved away from it: no due time goes without a row. So
 * it is claimed first, by the rules that were in force, with room for nothing: what is to run waits
 * its turn in the ledger. */

static void on_claimed(struct store_req *req)
{
	struct change *change = container_of(req, struct change, claim.req);
	struct api_call *call = change->find.call;

	if (req->err.code != 0) {
		api_reply_err(call, &req->err);
		return;
	}
	for (size_t i = 0; call->api->sched && i < change->claim.ret_cancel_count; i++)
		sched_cancel_run(call->api->sched, &change->claim.ret_cancel[i]);
	if (call->api->sched)
		sched_run_pending(call->api->sched);
	try_again(change);
}

/* True when there is something, and it is being claimed; then the change is begun anew. */
static bool claim_overdue(struct change *change, struct action *old)
{
	struct api *api = change->find.call->api;
	int64_t now_ms = sched_now_ms(api->sched);
	struct planned_due *dues = NULL;

	if (!old->schedule || old->next_due_ms == NO_TIME || old->next_due_ms > now_ms)
		return false;
	change->item = (struct claim_item){.action = old, .expected_ms = old->next_due_ms};
	change->item.due_count = misfire_plan(old->schedule, &old->misfire, old->next_due_ms,
		now_ms, &dues, &change->item.next_due_ms);
	change->item.dues = dues;
	change->claim = (struct store_claim){.items = &change->item, .count = 1};
	change->done = on_claimed;
	store_claim(api->store, &change->claim, on_claimed);
	return true;
}

/* --- PUT and PATCH --- */

static void on_replaced(struct store_req *req)
{
	struct change *change = container_of(req, struct change, replace.req);
	struct api_call *call = change->find.call;

	if (!went_well(change, &req->err))
		return;
	api_tell_action(call->api, change->replace.ret_action);
	action_answer(&change->answer, call, 200, &change->replace.ret_action);
}

/* The new definition with its cursor. False: answered. */
static bool make_replacement(struct change *change, const struct action *old)
{
	struct api_call *call = change->find.call;
	struct faults faults = {.count = 0};
	struct err err = {0};

	if (action_from_json(change->body, change->is_patch ? old : NULL, &change->replacement,
		    &faults) < 0) {
		api_reply_faults(call, &faults);
		return false;
	}
	if (exec_check(call->api->exec, change->replacement, &err) < 0 ||
		cursor_for_replace(change->replacement, old, sched_now_ms(call->api->sched),
			&change->replacement->next_due_ms, &err) < 0) {
		api_reply_err(call, &err);
		return false;
	}
	return true;
}

/* The parts may have been taken away while the row was read. False: answered. */
static bool has_parts(struct api_call *call)
{
	if (call->api->store)
		return true;
	api_reply_problem(call, ERR_UNAVAILABLE, "the service is stopping");
	return false;
}

static void replace_found(struct action_find *find)
{
	struct change *change = container_of(find, struct change, find);
	struct action *old = find->get.ret_action;

	if (!has_parts(find->call) || !action_passes_if_match(find->call, old) ||
		!make_replacement(change, old))
		return;
	if (!cursor_is_kept(change->replacement, old) && claim_overdue(change, old))
		return;
	change->replace = (struct store_replace_action){
		.id = old->id,
		.expected_version = old->version,
		.action = change->replacement,
		.keeps_cursor = cursor_is_kept(change->replacement, old),
	};
	change->done = on_replaced;
	store_replace_action(find->call->api->store, &change->replace, on_replaced);
}

static void start_replace(struct api_call *call, bool is_patch, const char *const *types)
{
	struct change *change = change_create(call);

	change->is_patch = is_patch;
	if (!api_read_json(call, types, &change->body))
		return;
	action_find(&change->find, call, call->param, replace_found);
}

void actions_replace(struct api_call *call)
{
	start_replace(call, false, api_json_types);
}

void actions_patch(struct api_call *call)
{
	start_replace(call, true, patch_types);
}

/* --- pause and resume --- */

static void on_paused(struct store_req *req)
{
	struct change *change = container_of(req, struct change, pause.req);
	struct api_call *call = change->find.call;

	if (!went_well(change, &req->err))
		return;
	api_tell_action(call->api, change->pause.ret_action);
	action_answer(&change->answer, call, 200, &change->pause.ret_action);
}

static void pause_found(struct action_find *find)
{
	struct change *change = container_of(find, struct change, find);
	struct action *old = find->get.ret_action;

	if (!has_parts(find->call) || !action_passes_if_match(find->call, old))
		return;
	if (old->is_paused == change->is_pausing) {
		action_answer(&change->answer, find->call, 200, &find->get.ret_action);
		return;
	}
	if (!change->is_pausing && claim_overdue(change, old))
		return;
	change->pause = (struct store_pause_action){
		.id = old->id,
		.expected_version = old->version,
		.is_paused = change->is_pausing,
		.next_due_ms = change->is_pausing ? cursor_for_pause(old)
						  : cursor_for_resume(old,
							    sched_now_ms(find->call->api->sched)),
	};
	change->done = on_paused;
	store_pause_action(find->call->api->store, &change->pause, on_paused);
}

static void start_pause(struct api_call *call, bool is_pausing)
{
	struct change *change = change_create(call);

	change->is_pausing = is_pausing;
	if (api_read_nothing(call))
		action_find(&change->find, call, call->param, pause_found);
}

void actions_pause(struct api_call *call)
{
	start_pause(call, true);
}

void actions_resume(struct api_call *call)
{
	start_pause(call, false);
}

/* --- DELETE --- */

static void on_deleted(struct store_req *req)
{
	struct change *change = container_of(req, struct change, delete.req);
	struct api_call *call = change->find.call;
	struct sched *sched = call->api->sched;

	if (!went_well(change, &req->err))
		return;
	if (sched) {
		sched_action_gone(sched, &change->delete.id);
		for (size_t i = 0; i < change->delete.ret_running_count; i++)
			sched_cancel_run(sched, &change->delete.ret_running[i]);
	}
	api_reply_empty(call, 204, NULL);
}

static void delete_found(struct action_find *find)
{
	struct change *change = container_of(find, struct change, find);
	const struct action *old = find->get.ret_action;

	if (!has_parts(find->call) || !action_passes_if_match(find->call, old))
		return;
	change->delete =
		(struct store_delete_action){.id = old->id, .expected_version = old->version};
	change->done = on_deleted;
	store_delete_action(find->call->api->store, &change->delete, on_deleted);
}

void actions_delete(struct api_call *call)
{
	struct change *change = change_create(call);

	if (api_read_nothing(call))
		action_find(&change->find, call, call->param, delete_found);
}
