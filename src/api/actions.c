/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading actions: a page of them, or one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/actions_priv.h"
#include "api/etag_priv.h"
#include "api/page_priv.h"

/* --- shared --- */

static void on_found(struct store_req *req)
{
	struct action_find *find = container_of(req, struct action_find, get.req);

	if (req->err.code == 0)
		find->found(find);
	else if (req->err.code == ERR_NOT_FOUND)
		api_reply_problem(find->call, ERR_NOT_FOUND, "no action '%.200s'",
			find->get.name ? find->get.name : find->call->param);
	else
		api_reply_err(find->call, &req->err);
}

void action_find(struct action_find *find, struct api_call *call, const char *id_or_name,
	void (*found)(struct action_find *find))
{
	struct store *store = call->api->store;

	action_find_fini(find);
	*find = (struct action_find){.call = call, .found = found};
	if (!store) {
		api_reply_problem(call, ERR_UNAVAILABLE, "the service is stopping");
		return;
	}
	if (!id_parse(id_or_name, &find->get.id))
		find->get.name = id_or_name;
	store_get_action(store, &find->get, on_found);
}

void action_find_fini(struct action_find *find)
{
	if (find->call)
		store_get_action_fini(&find->get);
}

bool action_passes_if_match(struct api_call *call, const struct action *action)
{
	const char *header = http_header(call->request, "If-Match");

	switch (header ? etag_if_match(header, action->version) : ETAG_MATCHES) {
	case ETAG_MATCHES:
		return true;
	case ETAG_DIFFERS:
		api_reply_problem(call, ERR_VERSION,
			"action '%s' is at version %lld now; read it again", action->name,
			(long long)action->version);
		return false;
	case ETAG_MALFORMED:
		break;
	}
	api_reply_problem(call, ERR_BAD_REQUEST,
		"If-Match must be * or versions in quotes, as ETag gives them");
	return false;
}

/* --- GET /api/v1/actions/{action} --- */

struct show {
	struct action_find find;
	struct actions_answer answer;
};

static void show_found(struct action_find *find)
{
	struct show *show = container_of(find, struct show, find);

	action_answer(&show->answer, find->call, 200, &find->get.ret_action);
}

static void show_fini(void *state)
{
	struct show *show = state;

	actions_answer_fini(&show->answer);
	action_find_fini(&show->find);
}

void actions_show(struct api_call *call)
{
	struct show *show = api_call_state(call, sizeof(*show), show_fini);

	action_find(&show->find, call, call->param, show_found);
}

/* --- GET /api/v1/actions --- */

struct actions_page {
	struct api_call *call;
	struct store_list_actions list;
	char *after_name; /* owned */
	bool is_started;
	struct actions_answer answer;
};

static void page_fini(void *state)
{
	struct actions_page *page = state;

	actions_answer_fini(&page->answer);
	if (page->is_started)
		store_list_actions_fini(&page->list);
	free(page->after_name);
}

static json_t *wrap_page(struct api_call *call, json_t *items_take)
{
	const struct store_list_actions *list = &((struct actions_page *)call->state)->list;
	json_t *json = json_pack("{s:o}", "items", items_take);

	if (list->ret_has_more && list->ret_count > 0) {
		char *cursor =
			page_cursor(PAGE_ACTIONS, list->ret_actions[list->ret_count - 1]->name);

		json_object_set_new(json, "next_cursor", json_string(cursor));
		free(cursor);
	}
	if (list->want_total)
		json_object_set_new(json, "total", json_integer(list->ret_total));
	return json;
}

static void on_listed(struct store_req *req)
{
	struct actions_page *page = container_of(req, struct actions_page, list.req);
	const struct store_list_actions *list = &page->list;

	if (req->err.code != 0)
		api_reply_err(page->call, &req->err);
	else
		actions_answer(&page->answer, page->call, 200, list->ret_actions, list->ret_count,
			wrap_page);
}

/* False: answered. */
static bool read_page(struct api_call *call, struct actions_page *page)
{
	const char *cursor = http_query(call->request, "cursor");
	struct err err = {0};

	if (page_limit(http_query(call->request, "limit"), &page->list.limit, &err) < 0 ||
		(cursor && page_key(PAGE_ACTIONS, cursor, &page->after_name, &err) < 0)) {
		api_reply_err(call, &err);
		return false;
	}
	page->list.after_name = page->after_name;
	page->list.name_part = http_query(call->request, "name");
	page->list.tag = http_query(call->request, "tag");
	return api_query_name(call, "kind", action_kind_names, &page->list.kind) &&
	       api_query_name(call, "state", action_state_names, &page->list.state) &&
	       api_query_bool(call, "total", &page->list.want_total);
}

void actions_list(struct api_call *call)
{
	struct actions_page *page = api_call_state(call, sizeof(*page), page_fini);

	page->call = call;
	if (!read_page(call, page))
		return;
	page->is_started = true;
	store_list_actions(call->api->store, &page->list, on_listed);
}
