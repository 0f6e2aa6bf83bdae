/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /api/v1/actions: one action, or all or none of up to BULK_MAX in an array or in {"items":
 * [...]}. Pointers of faults lead into the body as it was sent: "/schedule/cron",
 * "/3/schedule/cron",
 * "/items/3/schedule/cron". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/actions_priv.h"
#include "api/cursor_priv.h"

#define BULK_MAX     1000
#define POINTER_SIZE 32

struct create {
	struct api_call *call;
	struct store_create_actions create;
	struct action **actions; /* owned, one reference each; NULL where it could not be read */
	size_t count;
	const char
		*root; /* where the list stands in the body: "" or "/items"; NULL: a single one */
	bool is_started;
	struct actions_answer answer;
};

static void create_fini(void *state)
{
	struct create *create = state;

	actions_answer_fini(&create->answer);
	if (create->is_started)
		store_create_actions_fini(&create->create);
	for (size_t i = 0; i < create->count; i++)
		action_unref(create->actions[i]);
	free(create->actions);
}

/* Where item `i` stands in the body. */
static const char *item_pointer(
	const struct create *create, size_t i, char ret_text[static POINTER_SIZE])
{
	ret_text[0] = '\0';
	if (create->root)
		(void)snprintf(ret_text, POINTER_SIZE, "%s/%zu", create->root, i);
	return ret_text;
}

/* The same error, pointing into the item; `member` when it did not point anywhere. */
static void reply_item_err(
	const struct create *create, size_t i, const struct err *err, const char *member)
{
	struct err full = *err;
	char pointer[POINTER_SIZE];

	(void)snprintf(full.field, sizeof(full.field), "%s%s", item_pointer(create, i, pointer),
		err->field[0] != '\0' ? err->field : member);
	api_reply_err(create->call, &full);
}

static json_t *wrap_items(struct api_call *call, json_t *items_take)
{
	return json_pack("{s:o}", "items", items_take);
}

static void on_created(struct store_req *req)
{
	struct create *create = container_of(req, struct create, create.req);
	struct action **made = create->create.ret_actions;

	if (req->err.code == ERR_CONFLICT) {
		reply_item_err(create, create->create.ret_index, &req->err, "/name");
		return;
	}
	if (req->err.code != 0) {
		api_reply_err(create->call, &req->err);
		return;
	}
	for (size_t i = 0; i < create->count; i++)
		api_tell_action(create->call->api, made[i]);
	actions_answer(&create->answer, create->call, 201, made, create->count,
		create->root ? wrap_items : NULL);
}

/* --- reading --- */

/* Adds the faults of item `i` to those of the whole body. */
static void collect_faults(
	const struct create *create, size_t i, const struct faults *item, struct faults *faults)
{
	size_t kept = item->count < FAULTS_MAX ? item->count : FAULTS_MAX;
	char pointer[POINTER_SIZE];

	item_pointer(create, i, pointer);
	for (size_t k = 0; k < kept; k++) {
		auto_free char *full = xasprintf("%s%s", pointer, item->item[k].pointer);

		faults_add(faults, full, "%s", item->item[k].detail);
	}
	faults->count += item->count - kept;
}

static void read_item(struct create *create, size_t i, json_t *json, struct faults *faults)
{
	struct faults item;

	item.count = 0;
	if (action_from_json(json, NULL, &create->actions[i], &item) < 0)
		collect_faults(create, i, &item, faults);
}

static void read_items(struct create *create, json_t *list, struct faults *faults)
{
	size_t i;
	json_t *item;

	if (json_array_size(list) < 1 || json_array_size(list) > BULK_MAX) {
		faults_add(faults, create->root, "must be a list of 1 to %d actions, not %zu",
			BULK_MAX, json_array_size(list));
		return;
	}
	create->count = json_array_size(list);
	create->actions = xcalloc(create->count, sizeof(struct action *));
	json_array_foreach(list, i, item) read_item(create, i, item, faults);
}

static void read_body(struct create *create, json_t *json, struct faults *faults)
{
	json_t *items = json_object_get(json, "items");

	if (json_is_array(json)) {
		create->root = "";
		read_items(create, json, faults);
	} else if (items) {
		create->root = "/items";
		if (json_object_size(json) > 1)
			faults_add(faults, "", "beside 'items' no other member is taken");
		read_items(create, items, faults);
	} else {
		create->count = 1;
		create->actions = xcalloc(1, sizeof(struct action *));
		read_item(create, 0, json, faults);
	}
}

/* What the configuration forbids, and the first due time. False: answered. */
static bool prepare_item(struct create *create, size_t i)
{
	const struct api *api = create->call->api;
	struct action *action = create->actions[i];
	struct err err = {0};

	if (exec_check(api->exec, action, &err) < 0) {
		char member[16];

		(void)snprintf(member, sizeof(member), "/%s", action_kind_names[action->kind]);
		reply_item_err(create, i, &err, member);
		return false;
	}
	if (cursor_for_create(action, sched_now_ms(api->sched), &action->next_due_ms, &err) < 0) {
		reply_item_err(create, i, &err, "");
		return false;
	}
	return true;
}

void actions_create(struct api_call *call)
{
	struct create *create = api_call_state(call, sizeof(*create), create_fini);
	struct faults faults = {.count = 0};
	json_t *json;

	create->call = call;
	if (!api_read_json(call, api_json_types, &json))
		return;
	read_body(create, json, &faults);
	json_decref(json);
	if (faults.count > 0) {
		api_reply_faults(call, &faults);
		return;
	}
	for (size_t i = 0; i < create->count; i++) {
		if (!prepare_item(create, i))
			return;
	}
	create->create.actions = create->actions;
	create->create.count = create->count;
	create->is_started = true;
	store_create_actions(call->api->store, &create->create, on_created);
}
