/* SPDX-License-Identifier: Apache-2.0
 *
 * The store in memory: the same answers as the others, kept for nobody. It serves the tests of all
 * that stands on a store, on the loop thread and by the injected clock. "memory:" is private to its
 * store; several stores of one process that open the same "memory:NAME" see the same rows, so that
 * a test can play a cluster, or an instance that dies and comes back. The rows go with the last
 * one.
 *
 * Verbs are all or nothing by themselves: each checks everything before it changes anything. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "store/mem_priv.h"

/* --- sorted pointers --- */

bool sorted_find(const struct sorted *sorted, const void *key, size_t *ret_index)
{
	size_t low = 0, high = sorted->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = sorted->compare(key, sorted->items[middle]);

		if (order == 0) {
			*ret_index = middle;
			return true;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	*ret_index = low;
	return false;
}

void *sorted_get(const struct sorted *sorted, const void *key)
{
	size_t index;

	return sorted_find(sorted, key, &index) ? sorted->items[index] : NULL;
}

void sorted_insert(struct sorted *sorted, const void *key, void *item)
{
	size_t index;

	must(!sorted_find(sorted, key, &index));
	sorted->items =
		grow_array(sorted->items, sorted->count, &sorted->room, sizeof(*sorted->items));
	memmove(&sorted->items[index + 1], &sorted->items[index],
		(sorted->count - index) * sizeof(*sorted->items));
	sorted->items[index] = item;
	sorted->count++;
}

void sorted_remove(struct sorted *sorted, const void *key)
{
	size_t index;

	must(sorted_find(sorted, key, &index));
	sorted->count--;
	memmove(&sorted->items[index], &sorted->items[index + 1],
		(sorted->count - index) * sizeof(*sorted->items));
}

static int compare_name(const void *key, const void *item)
{
	return strcmp(key, ((const struct mem_action *)item)->action->name);
}

static int compare_action_id(const void *key, const void *item)
{
	return id_compare(key, &((const struct mem_action *)item)->action->id);
}

static int compare_run_id(const void *key, const void *item)
{
	return id_compare(key, &((const struct mem_run *)item)->run.id);
}

/* --- actions --- */

static void create_one(struct mem_db *rows, struct store_scratch *scratch,
	const struct action *given, const struct id *id, int64_t now_ms)
{
	struct mem_action *row = xcalloc(1, sizeof(*row));

	row->action =
		action_with_row(given, id, 1, given->is_paused, given->next_due_ms, now_ms, now_ms);
	mem_pace_reset(row);
	row->care = CARE_NONE;
	mem_care_write(row, 0, now_ms);
	list_init(&row->runs);
	list_init(&row->open_runs);
	sorted_insert(&rows->actions_by_name, row->action->name, row);
	sorted_insert(&rows->actions_by_id, id, row);
	*scratch_add_row(scratch) = (struct stored_action){
		.id = *id,
		.version = 1,
		.is_paused = given->is_paused,
		.next_due_ms = given->next_due_ms,
		.created_at_ms = now_ms,
		.updated_at_ms = now_ms,
	};
}

static void action_destroy(struct mem_db *rows, struct mem_action *row)
{
	list_for_each (node, &row->runs)
		mem_run_destroy(rows, list_entry(node, struct mem_run, of_action));
	mem_forget_backfills(rows, &row->action->id, INT64_MAX);
	sorted_remove(&rows->actions_by_name, row->action->name);
	sorted_remove(&rows->actions_by_id, &row->action->id);
	action_unref(row->action);
	free(row);
}

static int check_free(
	const struct mem_db *rows, const struct action *given, const struct id *id, struct err *err)
{
	if (sorted_get(&rows->actions_by_name, given->name))
		return err_name_taken(err, given->name);
	if (sorted_get(&rows->actions_by_id, id))
		return err_id_taken(err);
	return 0;
}

static int event_of(void *db, const char *name, char **ret_event, struct err *err)
{
	const struct mem_db *rows = db;
	const struct mem_action *row = sorted_get(&rows->actions_by_name, name);

	if (row)
		*ret_event = xstrdup(action_event(row->action));
	return 0;
}

static void undo_create(struct mem_db *rows, const struct id *ids, size_t count)
{
	for (size_t i = 0; i < count; i++)
		action_destroy(rows, sorted_get(&rows->actions_by_id, &ids[i]));
}

static int mem_create_actions(void *db, struct store_create_actions *req, int64_t now_ms)
{
	struct mem_db *rows = ((struct mem *)db)->rows;
	const struct id *ids = req->req.scratch->ids;

	for (size_t i = 0; i < req->count; i++) {
		if (check_free(rows, req->actions[i], &ids[i], &req->req.err) < 0) {
			req->ret_index = i;
			undo_create(rows, ids, i);
			return req->req.err.code;
		}
		create_one(rows, req->req.scratch, req->actions[i], &ids[i], now_ms);
	}
	for (size_t i = 0; i < req->count; i++)
		if (chain_check(req->actions[i], event_of, rows, &req->req.err) < 0) {
			req->ret_index = i;
			undo_create(rows, ids, req->count);
			return req->req.err.code;
		}
	return 0;
}

static int mem_get_action(void *db, struct store_get_action *req, int64_t now_ms)
{
	const struct mem_db *rows = ((struct mem *)db)->rows;
	const struct mem_action *row = req->name ? sorted_get(&rows->actions_by_name, req->name)
						 : sorted_get(&rows->actions_by_id, &req->id);

	if (!row)
		return err_no_action(&req->req.err);
	req->ret_action = action_ref(row->action);
	return 0;
}

static bool has_tag(const struct action *action, const char *tag)
{
	for (char **each = action->tags; *each; each++)
		if (strcmp(*each, tag) == 0)
			return true;
	return false;
}

static bool action_passes(const struct store_list_actions *req, const struct action *action)
{
	if (req->name_part && !strcasestr(action->name, req->name_part))
		return false;
	if (req->tag && !has_tag(action, req->tag))
		return false;
	if (req->kind >= 0 && (int)action->kind != req->kind)
		return false;
	if (req->on_start && !action_runs_on_start(action))
		return false;
	return req->state < 0 || (int)action_state(action) == req->state;
}

static int mem_list_actions(void *db, struct store_list_actions *req, int64_t now_ms)
{
	const struct sorted *all = &((struct mem *)db)->rows->actions_by_name;
	size_t room = 0;

	for (size_t i = 0; i < all->count; i++) {
		struct action *action = ((struct mem_action *)all->items[i])->action;

		if (!action_passes(req, action))
			continue;
		req->ret_total += req->want_total;
		if (req->after_name && strcmp(action->name, req->after_name) <= 0)
			continue;
		if (req->ret_count == (size_t)req->limit) {
			req->ret_has_more = true;
			continue;
		}
		req->ret_actions =
			grow_array(req->ret_actions, req->ret_count, &room, sizeof(action));
		req->ret_actions[req->ret_count++] = action_ref(action);
	}
	return 0;
}

/* NULL with the error. */
static struct mem_action *find_version(
	const struct mem_db *rows, const struct id *id, int64_t expected, struct err *err)
{
	struct mem_action *row = sorted_get(&rows->actions_by_id, id);

	if (!row)
		(void)err_no_action(err);
	else if (expected != 0 && expected != row->action->version)
		(void)err_version(err, row->action->version, expected);
	else
		return row;
	return NULL;
}

static void set_action(struct mem_db *rows, struct mem_action *row, struct action *action)
{
	sorted_remove(&rows->actions_by_name, row->action->name);
	action_unref(row->action);
	row->action = action;
	sorted_insert(&rows->actions_by_name, action->name, row);
}

static int mem_replace_action(void *db, struct store_replace_action *req, int64_t now_ms)
{
	struct mem_db *rows = ((struct mem *)db)->rows;
	struct mem_action *row = find_version(rows, &req->id, req->expected_version, &req->req.err);
	struct mem_action *other;
	struct action *old;

	if (!row)
		return req->req.err.code;
	other = sorted_get(&rows->actions_by_name, req->action->name);
	if (other && other != row)
		return err_name_taken(&req->req.err, req->action->name);
	old = action_ref(row->action);
	set_action(rows, row,
		action_with_row(req->action, &old->id, old->version + 1, old->is_paused,
			req->keeps_cursor ? old->next_due_ms : req->action->next_due_ms,
			old->created_at_ms, now_ms));
	if (chain_check(req->action, event_of, rows, &req->req.err) < 0) {
		set_action(rows, row, old);
		return req->req.err.code;
	}
	mem_care_write(row, old->expect_success_ms, now_ms);
	action_unref(old);
	if (!req->keeps_cursor)
		mem_pace_reset(row);
	*scratch_add_row(req->req.scratch) = (struct stored_action){
		.id = row->action->id,
		.version = row->action->version,
		.is_paused = row->action->is_paused,
		.next_due_ms = row->action->next_due_ms,
		.created_at_ms = row->action->created_at_ms,
		.updated_at_ms = now_ms,
	};
	return 0;
}

static int mem_pause_action(void *db, struct store_pause_action *req, int64_t now_ms)
{
	struct mem_db *rows = ((struct mem *)db)->rows;
	struct mem_action *row = find_version(rows, &req->id, req->expected_version, &req->req.err);
	const struct action *old;

	if (!row)
		return req->req.err.code;
	old = row->action;
	if (old->is_paused != req->is_paused) {
		care_pause(&row->care, old->expect_success_ms, req->is_paused, now_ms);
		set_action(rows, row,
			action_with_row(old, &old->id, old->version + 1, req->is_paused,
				req->next_due_ms, old->created_at_ms, now_ms));
	}
	req->ret_action = action_ref(row->action);
	return 0;
}

static void note_running(struct store_delete_action *req, const struct mem_action *row)
{
	size_t room = 0;

	list_for_each (node, &row->open_runs) {
		const struct run *run = &list_entry(node, struct mem_run, open_of_action)->run;

		if (run->state != RUN_RUNNING)
			continue;
		req->ret_running = grow_array(
			req->ret_running, req->ret_running_count, &room, sizeof(*req->ret_running));
		req->ret_running[req->ret_running_count++] = run->id;
	}
}

static int mem_delete_action(void *db, struct store_delete_action *req, int64_t now_ms)
{
	struct mem_db *rows = ((struct mem *)db)->rows;
	struct mem_action *row = find_version(rows, &req->id, req->expected_version, &req->req.err);

	if (!row)
		return req->req.err.code;
	note_running(req, row);
	action_destroy(rows, row);
	return 0;
}

/* --- life --- */

/* The named ones; loop thread only. The one global of the store, and for tests alone. */
static struct mem_db *shared_dbs;

static struct mem_db *mem_db_ref(const char *name)
{
	struct mem_db *rows;

	for (rows = shared_dbs; rows && name[0]; rows = rows->next)
		if (strcmp(rows->name, name) == 0) {
			rows->refs++;
			return rows;
		}
	rows = xcalloc(1, sizeof(*rows));
	rows->name = xstrdup(name);
	rows->refs = 1;
	rows->actions_by_name.compare = compare_name;
	rows->actions_by_id.compare = compare_action_id;
	rows->runs.compare = compare_run_id;
	list_init(&rows->open_runs);
	mem_secrets_init(rows);
	rows->next = shared_dbs;
	shared_dbs = rows;
	return rows;
}

static void mem_db_unref(struct mem_db *rows)
{
	struct mem_db **link = &shared_dbs;

	if (--rows->refs > 0)
		return;
	while (*link != rows)
		link = &(*link)->next;
	*link = rows->next;
	while (rows->actions_by_id.count > 0)
		action_destroy(rows, rows->actions_by_id.items[rows->actions_by_id.count - 1]);
	free(rows->actions_by_name.items);
	free(rows->actions_by_id.items);
	free(rows->runs.items);
	mem_event_keys_fini(rows);
	mem_secrets_fini(rows);
	mem_backfills_fini(rows);
	free(rows->name);
	free(rows);
}

static void mem_close(void *db)
{
	struct mem *mem = db;

	mem_db_unref(mem->rows);
	free(mem);
}

static const struct sync_verbs mem_verbs = {
#define X(verb) .verb = mem_##verb,
	STORE_VERBS(X)
#undef X
		.list_orphans = mem_list_orphans,
};

static const struct sync_ops mem_ops = {.verbs = &mem_verbs, .close = mem_close};

static int mem_open(
	struct store *store, const struct store_opts *opts, const char *place, struct err *err)
{
	struct mem *mem = xcalloc(1, sizeof(*mem));

	mem->rows = mem_db_ref(place);
	mem->instance_id = opts->instance_id;
	store->place = xasprintf("memory:%s", place);
	store->impl = batch_create(store, &mem_ops, mem);
	return 0;
}

/* There is nothing to bring up to date. */
static int mem_migrate(const char *place, enum store_migrate_mode mode,
	void (*each)(const char *name, void *data), void *data, struct err *err)
{
	return 0;
}

const struct store_backend memory_backend = {
	.schemes = {"memory:"},
	.name = "memory",
	.open = mem_open,
	.submit = batch_submit,
	.flush = batch_flush,
	.close = batch_close,
	.migrate = mem_migrate,
};
