/* SPDX-License-Identifier: Apache-2.0
 *
 * Backfills that have been begun (backfills_begin.c): how far each is, cancelling one. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/actions_priv.h"
#include "api/backfills_priv.h"
#include "api/page_priv.h"
#include "base/mem.h"
#include "base/text.h"

#define RATE_SIZE 16

/* --- as JSON --- */

/* As a person would write it: the largest unit of which it is a whole number less one. */
static const char *rate_text(int64_t interval_ms, char ret_text[static RATE_SIZE])
{
	static const struct {
		int64_t ms;
		char unit;
	} units[] = {{1000, 's'}, {60000, 'm'}, {3600000, 'h'}};
	size_t unit = 0;

	while (unit + 1 < COUNT_OF(units) && units[unit].ms % interval_ms != 0)
		unit++;
	(void)snprintf(ret_text, RATE_SIZE, "%" PRId64 "/%c", units[unit].ms / interval_ms,
		units[unit].unit);
	return ret_text;
}

static json_t *runs_json(const struct backfill *backfill)
{
	json_t *json = json_object();

	for (int state = 0; state < RUN_STATE_COUNT; state++)
		if (backfill->runs[state] > 0)
			json_object_set_new(
				json, run_state_names[state], json_integer(backfill->runs[state]));
	return json;
}

static int64_t count_failed(const struct backfill *backfill)
{
	return backfill->runs[RUN_FAILED] + backfill->runs[RUN_TIMED_OUT];
}

json_t *backfill_json(const struct backfill *backfill)
{
	char id[ID_TEXT_SIZE], action_id[ID_TEXT_SIZE], rate[RATE_SIZE];
	json_t *json = json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:o, s:o, s:s, s:i}", "id",
		id_format(&backfill->id, id), "action_id",
		id_format(&backfill->action_id, action_id), "action", backfill->action_name,
		"number", (json_int_t)backfill->number, "state",
		backfill_state_names[backfill->state], "rerun",
		backfill_rerun_names[backfill->rerun], "from", json_time(backfill->from_ms), "to",
		json_time(backfill->to_ms), "rate", rate_text(backfill->interval_ms, rate),
		"max_running", backfill->max_open);
	json_t *counts = json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:b}", "total",
		(json_int_t)backfill->total, "made", (json_int_t)backfill->made, "passed",
		(json_int_t)backfill->passed, "done",
		(json_int_t)(backfill->made + backfill->passed - backfill_open_runs(backfill)),
		"failed", (json_int_t)count_failed(backfill), "runs", runs_json(backfill),
		"created_at", json_time(backfill->created_at_ms), "finished_at",
		json_time(backfill->finished_at_ms), "action_paused", backfill->is_action_paused);

	must(json && counts && json_object_update(json, counts) == 0);
	json_decref(counts);
	return json;
}

/* --- list and show --- */

struct listing {
	struct action_find find;
	struct store_list_backfills list;
	bool is_started;
	int status; /* of the answer that shows one; 0: a list */
};

static void listing_fini(void *state)
{
	struct listing *listing = state;

	if (listing->is_started)
		store_list_backfills_fini(&listing->list);
	action_find_fini(&listing->find);
}

static void reply_page(struct listing *listing)
{
	const struct store_list_backfills *list = &listing->list;
	json_t *items = json_array(), *json = json_pack("{s:o}", "items", items);

	for (size_t i = 0; i < list->ret_count; i++)
		json_array_append_new(items, backfill_json(&list->ret_backfills[i]));
	if (list->ret_has_more && list->ret_count > 0) {
		char id[ID_TEXT_SIZE];
		auto_free char *cursor = page_cursor(PAGE_BACKFILLS,
			id_format(&list->ret_backfills[list->ret_count - 1].id, id));

		json_object_set_new(json, "next_cursor", json_string(cursor));
	}
	api_reply_json(listing->find.call, 200, json, NULL);
}

static void on_listed(struct store_req *req)
{
	struct listing *listing = container_of(req, struct listing, list.req);
	struct api_call *call = listing->find.call;

	if (req->err.code != 0)
		api_reply_err(call, &req->err);
	else if (listing->status == 0)
		reply_page(listing);
	else if (listing->list.ret_count == 0)
		api_reply_problem(call, ERR_NOT_FOUND, "no backfill '%.64s'", call->param);
	else
		api_reply_json(call, listing->status,
			backfill_json(&listing->list.ret_backfills[0]), NULL);
}

static void start_list(struct listing *listing)
{
	struct api_call *call = listing->find.call;

	if (!call->api->store) {
		api_reply_problem(call, ERR_UNAVAILABLE, "the service is stopping");
		return;
	}
	listing->is_started = true;
	store_list_backfills(call->api->store, &listing->list, on_listed);
}

static void on_filter_found(struct action_find *find)
{
	struct listing *listing = container_of(find, struct listing, find);

	listing->list.action_id = find->get.ret_action->id;
	start_list(listing);
}

static int read_cursor(const char *cursor, struct id *ret_before, struct err *err)
{
	auto_free char *key = NULL;

	if (!cursor)
		return 0;
	if (page_key(PAGE_BACKFILLS, cursor, &key, err) < 0)
		return err->code;
	return id_parse(key, ret_before) ? 0
					 : err_set(err, ERR_BAD_REQUEST,
						   "query parameter 'cursor' is not one that this "
						   "list gave out");
}

void backfills_list(struct api_call *call)
{
	struct listing *listing = api_call_state(call, sizeof(*listing), listing_fini);
	const char *action = http_query(call->request, "action");
	struct err err = {0};

	listing->find.call = call;
	if (page_limit(http_query(call->request, "limit"), &listing->list.limit, &err) < 0 ||
		read_cursor(http_query(call->request, "cursor"), &listing->list.before_id, &err) <
			0)
		api_reply_err(call, &err);
	else if (!api_query_bool(call, "running", &listing->list.only_running))
		return;
	else if (action)
		action_find(&listing->find, call, action, on_filter_found);
	else
		start_list(listing);
}

/* The id of the path; false: answered. */
static bool read_id(struct api_call *call, struct id *ret_id)
{
	if (id_parse(call->param, ret_id))
		return true;
	api_reply_problem(
		call, ERR_NOT_FOUND, "no backfill '%.64s'; backfills have ids only", call->param);
	return false;
}

static void show(struct listing *listing, const struct id *id, int status)
{
	listing->status = status;
	listing->list = (struct store_list_backfills){.id = *id, .limit = 1};
	start_list(listing);
}

void backfills_show(struct api_call *call)
{
	struct listing *listing = api_call_state(call, sizeof(*listing), listing_fini);
	struct id id;

	listing->find.call = call;
	if (read_id(call, &id))
		show(listing, &id, 200);
}

/* --- cancel --- */

struct cancel {
	struct listing listing; /* what is shown afterwards */
	struct store_cancel_backfill cancel;
};

static void cancel_fini(void *state)
{
	struct cancel *cancel = state;

	store_cancel_backfill_fini(&cancel->cancel);
	listing_fini(&cancel->listing);
}

static void on_cancelled(struct store_req *req)
{
	struct cancel *cancel = container_of(req, struct cancel, cancel.req);
	struct api_call *call = cancel->listing.find.call;
	size_t count = cancel->cancel.ret_cancel_count;

	if (req->err.code != 0) {
		api_reply_err(call, &req->err);
		return;
	}
	for (size_t i = 0; call->api->sched && i < count; i++)
		sched_cancel_run(call->api->sched, &cancel->cancel.ret_cancel[i]);
	show(&cancel->listing, &cancel->cancel.id, count > 0 ? 202 : 200);
}

void backfills_cancel(struct api_call *call)
{
	struct cancel *cancel = api_call_state(call, sizeof(*cancel), cancel_fini);

	cancel->listing.find.call = call;
	if (read_id(call, &cancel->cancel.id) && api_read_nothing(call))
		store_cancel_backfill(call->api->store, &cancel->cancel, on_cancelled);
}
