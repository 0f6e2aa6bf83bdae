/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs on actions, loop side: what each prepares before the backend works, completes
 * after it, and frees. One block a verb. */
#include <stdlib.h>

#include "store/store_priv.h"

/* --- lists of actions --- */

static void actions_free(struct action **actions, size_t count)
{
	for (size_t i = 0; actions && i < count; i++)
		action_unref(actions[i]);
	free(actions);
}

typedef int read_fn(struct definition_cache *cache, const struct stored_action *row,
	struct action **ret_action, struct err *err);

/* Makes actions of the rows the worker left; a backend that has actions already leaves no rows. */
static int rows_to_actions(
	struct store_req *req, read_fn *read, struct action ***ret_actions, size_t *ret_count)
{
	const struct store_scratch *scratch = req->scratch;
	struct action **actions;

	if (scratch->row_count == 0)
		return 0;
	actions = xcalloc(scratch->row_count, sizeof(struct action *));
	for (size_t i = 0; i < scratch->row_count; i++)
		if (read(req->store->definitions, &scratch->rows[i], &actions[i], &req->err) < 0) {
			actions_free(actions, i);
			return req->err.code;
		}
	*ret_actions = actions;
	*ret_count = scratch->row_count;
	return 0;
}

static int row_to_action(struct store_req *req, struct action **ret_action)
{
	const struct store_scratch *scratch = req->scratch;

	if (scratch->row_count == 0)
		return 0;
	return definition_cache_read_once(
		req->store->definitions, &scratch->rows[0], ret_action, &req->err);
}

static struct action *action_as_stored(const struct action *action, const struct stored_action *row)
{
	return action_with_row(action, &row->id, row->version, row->is_paused, row->next_due_ms,
		row->created_at_ms, row->updated_at_ms);
}

/* --- create --- */

STORE_VERB_RUN(create_actions)

static void create_actions_prepare(struct store_req *base)
{
	struct store_create_actions *req = container_of(base, struct store_create_actions, req);

	scratch_make_ids(base->scratch, req->count);
	scratch_set_texts(base->scratch, req->actions, req->count);
	for (size_t i = 0; i < req->count; i++)
		if (!id_is_zero(&req->actions[i]->id))
			base->scratch->ids[i] = req->actions[i]->id;
}

static bool create_actions_complete(struct store_req *base)
{
	struct store_create_actions *req = container_of(base, struct store_create_actions, req);

	must(base->scratch->row_count == req->count);
	req->ret_actions = xcalloc(req->count ? req->count : 1, sizeof(struct action *));
	for (size_t i = 0; i < req->count; i++)
		req->ret_actions[i] = action_as_stored(req->actions[i], &base->scratch->rows[i]);
	return false;
}

/* The index of the guilty one survives: the only output of a failure. */
static void create_actions_release(struct store_req *base)
{
	struct store_create_actions *req = container_of(base, struct store_create_actions, req);

	actions_free(take_ptr(req->ret_actions), req->count);
}

STORE_VERB(create_actions, .lane = LANE_WRITE, OUTPUTS(create_actions, ret_actions),
	.fini = create_actions_release, .prepare = create_actions_prepare,
	.complete = create_actions_complete, .changes = create_actions_changes)

void store_create_actions_fini(struct store_create_actions *req)
{
	create_actions_release(&req->req);
}

/* --- get --- */

STORE_VERB_RUN(get_action)

static bool get_action_complete(struct store_req *base)
{
	struct store_get_action *req = container_of(base, struct store_get_action, req);

	(void)row_to_action(base, &req->ret_action);
	return false;
}

STORE_VERB_FREES(get_action)
STORE_VERB(get_action, .lane = LANE_READ, OUTPUTS(get_action, ret_action),
	.fini = get_action_release, .complete = get_action_complete)

void store_get_action_fini(struct store_get_action *req)
{
	action_unref(take_ptr(req->ret_action));
}

/* --- list --- */

STORE_VERB_RUN(list_actions)

static bool list_actions_complete(struct store_req *base)
{
	struct store_list_actions *req = container_of(base, struct store_list_actions, req);

	(void)rows_to_actions(base, definition_cache_read_once, &req->ret_actions, &req->ret_count);
	return false;
}

STORE_VERB_FREES(list_actions)
STORE_VERB(list_actions, .lane = LANE_LIST, OUTPUTS(list_actions, ret_actions),
	.fini = list_actions_release, .complete = list_actions_complete)

void store_list_actions_fini(struct store_list_actions *req)
{
	actions_free(take_ptr(req->ret_actions), req->ret_count);
	req->ret_count = 0;
}

/* --- replace --- */

STORE_VERB_RUN(replace_action)

static void replace_action_prepare(struct store_req *base)
{
	struct store_replace_action *req = container_of(base, struct store_replace_action, req);

	scratch_set_texts(base->scratch, &req->action, 1);
}

static bool replace_action_complete(struct store_req *base)
{
	struct store_replace_action *req = container_of(base, struct store_replace_action, req);

	must(base->scratch->row_count == 1);
	req->ret_action = action_as_stored(req->action, &base->scratch->rows[0]);
	return false;
}

STORE_VERB_FREES(replace_action)
STORE_VERB(replace_action, .lane = LANE_WRITE, OUTPUTS(replace_action, ret_action),
	.fini = replace_action_release, .prepare = replace_action_prepare,
	.complete = replace_action_complete, .changes = replace_action_changes)

void store_replace_action_fini(struct store_replace_action *req)
{
	action_unref(take_ptr(req->ret_action));
}

/* --- pause --- */

STORE_VERB_RUN(pause_action)

static bool pause_action_complete(struct store_req *base)
{
	struct store_pause_action *req = container_of(base, struct store_pause_action, req);

	(void)row_to_action(base, &req->ret_action);
	return false;
}

STORE_VERB_FREES(pause_action)
STORE_VERB(pause_action, .lane = LANE_WRITE, OUTPUTS(pause_action, ret_action),
	.fini = pause_action_release, .complete = pause_action_complete,
	.changes = pause_action_changes)

void store_pause_action_fini(struct store_pause_action *req)
{
	action_unref(take_ptr(req->ret_action));
}

/* --- delete --- */

STORE_VERB_RUN(delete_action)
STORE_VERB_FREES(delete_action)
STORE_VERB(delete_action, .lane = LANE_WRITE, OUTPUTS(delete_action, ret_running),
	.fini = delete_action_release, .changes = delete_action_changes)

void store_delete_action_fini(struct store_delete_action *req)
{
	free(take_ptr(req->ret_running));
	req->ret_running_count = 0;
}

/* --- look --- */

STORE_VERB_RUN(look)

/* One definition that cannot be read must not keep all the others from running. */
static bool look_complete(struct store_req *base)
{
	struct store_look *req = container_of(base, struct store_look, req);
	const struct store_scratch *scratch = base->scratch;

	if (scratch->row_count == 0)
		return false;
	req->ret_actions = xcalloc(scratch->row_count, sizeof(struct action *));
	for (size_t i = 0; i < scratch->row_count; i++) {
		struct err err = {0};

		if (definition_cache_read(base->store->definitions, &scratch->rows[i],
			    &req->ret_actions[req->ret_count], &err) == 0)
			req->ret_count++;
		else if (req->ret_unreadable++ == 0)
			req->ret_unreadable_err = err;
	}
	return false;
}

static void look_prepare(struct store_req *base)
{
	container_of(base, struct store_look, req)->ret_pending_at_ms = NO_TIME;
}

STORE_VERB_FREES(look)
STORE_VERB(look, .lane = LANE_READ, OUTPUTS(look, ret_now_ms), .prepare = look_prepare,
	.fini = look_release, .complete = look_complete)

void store_look_fini(struct store_look *req)
{
	actions_free(take_ptr(req->ret_actions), req->ret_count);
	req->ret_count = 0;
}
