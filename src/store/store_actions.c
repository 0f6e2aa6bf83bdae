/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs on actions, loop side: what each clears, prepares before the backend works, completes
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

static void create_actions_clear(struct store_req *base)
{
	struct store_create_actions *req = container_of(base, struct store_create_actions, req);

	req->ret_actions = NULL;
	req->ret_index = 0;
}

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

static const struct store_verb verb_create_actions = {
	.name = "create_actions",
	.lane = LANE_WRITE,
	.run = create_actions_run,
	.clear = create_actions_clear,
	.fini = create_actions_release,
	.prepare = create_actions_prepare,
	.complete = create_actions_complete,
};

void store_create_actions(
	struct store *store, struct store_create_actions *req, store_done_fn *done)
{
	store_submit(store, &req->req, &verb_create_actions, done);
}

void store_create_actions_fini(struct store_create_actions *req)
{
	create_actions_release(&req->req);
}

/* --- get --- */

STORE_VERB_RUN(get_action)

static void get_action_clear(struct store_req *base)
{
	container_of(base, struct store_get_action, req)->ret_action = NULL;
}

static bool get_action_complete(struct store_req *base)
{
	struct store_get_action *req = container_of(base, struct store_get_action, req);

	(void)row_to_action(base, &req->ret_action);
	return false;
}

static void get_action_release(struct store_req *base)
{
	store_get_action_fini(container_of(base, struct store_get_action, req));
}

static const struct store_verb verb_get_action = {
	.name = "get_action",
	.lane = LANE_READ,
	.run = get_action_run,
	.clear = get_action_clear,
	.fini = get_action_release,
	.complete = get_action_complete,
};

void store_get_action(struct store *store, struct store_get_action *req, store_done_fn *done)
{
	store_submit(store, &req->req, &verb_get_action, done);
}

void store_get_action_fini(struct store_get_action *req)
{
	action_unref(take_ptr(req->ret_action));
}

/* --- list --- */

STORE_VERB_RUN(list_actions)

static void list_actions_clear(struct store_req *base)
{
	struct store_list_actions *req = container_of(base, struct store_list_actions, req);

	req->ret_actions = NULL;
	req->ret_count = 0;
	req->ret_has_more = false;
	req->ret_total = 0;
}

static bool list_actions_complete(struct store_req *base)
{
	struct store_list_actions *req = container_of(base, struct store_list_actions, req);

	(void)rows_to_actions(base, definition_cache_read_once, &req->ret_actions, &req->ret_count);
	return false;
}

static void list_actions_release(struct store_req *base)
{
	store_list_actions_fini(container_of(base, struct store_list_actions, req));
}

static const struct store_verb verb_list_actions = {
	.name = "list_actions",
	.lane = LANE_LIST,
	.run = list_actions_run,
	.clear = list_actions_clear,
	.fini = list_actions_release,
	.complete = list_actions_complete,
};

void store_list_actions(struct store *store, struct store_list_actions *req, store_done_fn *done)
{
	store_submit(store, &req->req, &verb_list_actions, done);
}

void store_list_actions_fini(struct store_list_actions *req)
{
	actions_free(take_ptr(req->ret_actions), req->ret_count);
	list_actions_clear(&req->req);
}

/* --- replace --- */

STORE_VERB_RUN(replace_action)

static void replace_action_clear(struct store_req *base)
{
	container_of(base, struct store_replace_action, req)->ret_action = NULL;
}

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

static void replace_action_release(struct store_req *base)
{
	store_replace_action_fini(container_of(base, struct store_replace_action, req));
}

static const struct store_verb verb_replace_action = {
	.name = "replace_action",
	.lane = LANE_WRITE,
	.run = replace_action_run,
	.clear = replace_action_clear,
	.fini = replace_action_release,
	.prepare = replace_action_prepare,
	.complete = replace_action_complete,
};

void store_replace_action(
	struct store *store, struct store_replace_action *req, store_done_fn *done)
{
	store_submit(store, &req->req, &verb_replace_action, done);
}

void store_replace_action_fini(struct store_replace_action *req)
{
	action_unref(take_ptr(req->ret_action));
}

/* --- pause --- */

STORE_VERB_RUN(pause_action)

static void pause_action_clear(struct store_req *base)
{
	container_of(base, struct store_pause_action, req)->ret_action = NULL;
}

static bool pause_action_complete(struct store_req *base)
{
	struct store_pause_action *req = container_of(base, struct store_pause_action, req);

	(void)row_to_action(base, &req->ret_action);
	return false;
}

static void pause_action_release(struct store_req *base)
{
	store_pause_action_fini(container_of(base, struct store_pause_action, req));
}

static const struct store_verb verb_pause_action = {
	.name = "pause_action",
	.lane = LANE_WRITE,
	.run = pause_action_run,
	.clear = pause_action_clear,
	.fini = pause_action_release,
	.complete = pause_action_complete,
};

void store_pause_action(struct store *store, struct store_pause_action *req, store_done_fn *done)
{
	store_submit(store, &req->req, &verb_pause_action, done);
}

void store_pause_action_fini(struct store_pause_action *req)
{
	action_unref(take_ptr(req->ret_action));
}

/* --- delete --- */

STORE_VERB_RUN(delete_action)

static void delete_action_clear(struct store_req *base)
{
	struct store_delete_action *req = container_of(base, struct store_delete_action, req);

	req->ret_running = NULL;
	req->ret_running_count = 0;
}

static void delete_action_release(struct store_req *base)
{
	store_delete_action_fini(container_of(base, struct store_delete_action, req));
}

static const struct store_verb verb_delete_action = {
	.name = "delete_action",
	.lane = LANE_WRITE,
	.run = delete_action_run,
	.clear = delete_action_clear,
	.fini = delete_action_release,
};

void store_delete_action(struct store *store, struct store_delete_action *req, store_done_fn *done)
{
	store_submit(store, &req->req, &verb_delete_action, done);
}

void store_delete_action_fini(struct store_delete_action *req)
{
	free(take_ptr(req->ret_running));
	req->ret_running_count = 0;
}

/* --- look --- */

STORE_VERB_RUN(look)

static void look_clear(struct store_req *base)
{
	struct store_look *req = container_of(base, struct store_look, req);

	req->ret_now_ms = 0;
	req->ret_actions = NULL;
	req->ret_count = 0;
	req->ret_has_more = false;
	req->ret_pending_at_ms = NO_TIME;
	req->ret_unreadable = 0;
}

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

static void look_release(struct store_req *base)
{
	store_look_fini(container_of(base, struct store_look, req));
}

static const struct store_verb verb_look = {
	.name = "look",
	.lane = LANE_READ,
	.run = look_run,
	.clear = look_clear,
	.fini = look_release,
	.complete = look_complete,
};

void store_look(struct store *store, struct store_look *req, store_done_fn *done)
{
	store_submit(store, &req->req, &verb_look, done);
}

void store_look_fini(struct store_look *req)
{
	actions_free(take_ptr(req->ret_actions), req->ret_count);
	look_clear(&req->req);
}
