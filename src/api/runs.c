/* SPDX-License-Identifier: Apache-2.0
 *
 * The ledger: pages of runs, one run, cancel, and the manual run of an action. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/actions_priv.h"
#include "api/page_priv.h"
#include "base/metric.h"
#include "base/text.h"

#define PATH_SIZE 64

/* --- lists --- */

struct runs_page {
	struct action_find find;
	struct store_list_runs list;
	bool is_started;
};

static void page_fini(void *state)
{
	struct runs_page *page = state;

	if (page->is_started)
		store_list_runs_fini(&page->list);
	action_find_fini(&page->find);
}

static void on_listed(struct store_req *req)
{
	struct runs_page *page = container_of(req, struct runs_page, list.req);
	const struct store_list_runs *list = &page->list;
	json_t *items, *json;

	if (req->err.code != 0) {
		api_reply_err(page->find.call, &req->err);
		return;
	}
	items = json_array();
	for (size_t i = 0; i < list->ret_count; i++)
		json_array_append_new(items, run_to_json(&list->ret_runs[i]));
	json = json_pack("{s:o}", "items", items);
	if (list->ret_has_more && list->ret_count > 0) {
		char id[ID_TEXT_SIZE];
		char *cursor = page_cursor(
			PAGE_RUNS, id_format(&list->ret_runs[list->ret_count - 1].id, id));

		json_object_set_new(json, "next_cursor", json_string(cursor));
		free(cursor);
	}
	if (list->want_total)
		json_object_set_new(json, "total", json_integer(list->ret_total));
	api_reply_json(page->find.call, 200, json, NULL);
}

static int read_cursor(const char *cursor, struct id *ret_before, struct err *err)
{
	char *key;
	bool is_id;

	if (!cursor)
		return 0;
	if (page_key(PAGE_RUNS, cursor, &key, err) < 0)
		return err->code;
	is_id = id_parse(key, ret_before);
	free(key);
	return is_id ? 0
		     : err_set(err, ERR_BAD_REQUEST,
			       "query parameter 'cursor' is not one that this list gave out");
}

/* `state` may be repeated and may be a list with commas. */
struct states_read {
	uint32_t states;
	struct err err;
};

static void read_state_word(struct states_read *read, const char *word, size_t len)
{
	auto_free char *name = xstrndup(word, len);
	int state = name_index(run_state_names, name);

	if (state >= 0)
		read->states |= 1u << state;
	else
		(void)err_set(&read->err, ERR_BAD_REQUEST,
			"query parameter 'state': '%.64s' is no state of a run", name);
}

static void read_states(const char *name, const char *value, void *data)
{
	struct states_read *read = data;

	if (strcmp(name, "state") != 0)
		return;
	for (;;) {
		size_t len = strcspn(value, ",");

		read_state_word(read, value, len);
		value += len;
		if (*value++ == '\0')
			return;
	}
}

/* False: answered. */
static bool read_page(struct api_call *call, struct store_list_runs *list)
{
	struct states_read states = {.states = 0};
	struct err err = {0};

	http_query_each(call->request, read_states, &states);
	if (states.err.code != 0) {
		api_reply_err(call, &states.err);
		return false;
	}
	list->states = states.states;
	if (page_limit(http_query(call->request, "limit"), &list->limit, &err) < 0 ||
		read_cursor(http_query(call->request, "cursor"), &list->before_id, &err) < 0) {
		api_reply_err(call, &err);
		return false;
	}
	return api_query_name(call, "trigger", run_trigger_names, &list->trigger) &&
	       api_query_time(call, "since", &list->due_from_ms) &&
	       api_query_time(call, "until", &list->due_to_ms) &&
	       api_query_bool(call, "total", &list->want_total);
}

static void start_list(struct runs_page *page, struct api_call *call)
{
	page->find.call = call;
	page->is_started = true;
	store_list_runs(call->api->store, &page->list, on_listed);
}

static void list_found(struct action_find *find)
{
	struct runs_page *page = container_of(find, struct runs_page, find);

	if (!find->call->api->store) {
		api_reply_problem(find->call, ERR_UNAVAILABLE, "the service is stopping");
		return;
	}
	page->list.action_id = find->get.ret_action->id;
	start_list(page, find->call);
}

/* An action that does not exist is a 404 also as a filter: more often a slip than a wish for an
 * empty page. */
static void list_runs(struct api_call *call, const char *action)
{
	struct runs_page *page = api_call_state(call, sizeof(*page), page_fini);

	if (!read_page(call, &page->list))
		return;
	if (action)
		action_find(&page->find, call, action, list_found);
	else
		start_list(page, call);
}

void runs_list(struct api_call *call)
{
	list_runs(call, http_query(call->request, "action"));
}

void actions_runs(struct api_call *call)
{
	list_runs(call, call->param);
}

/* --- one run --- */

/* The id of the path; false: answered. */
static bool read_run_id(struct api_call *call, struct id *ret_id)
{
	if (id_parse(call->param, ret_id))
		return true;
	api_reply_problem(call, ERR_NOT_FOUND, "no run '%.64s'; runs have ids only", call->param);
	return false;
}

struct run_get {
	struct api_call *call;
	struct store_get_run get;
	bool is_started;
};

static void get_fini(void *state)
{
	struct run_get *get = state;

	if (get->is_started)
		store_get_run_fini(&get->get);
}

static void on_got(struct store_req *req)
{
	struct run_get *get = container_of(req, struct run_get, get.req);

	if (req->err.code != 0)
		api_reply_err(get->call, &req->err);
	else
		api_reply_json(get->call, 200, run_to_json(&get->get.ret_run), NULL);
}

void runs_show(struct api_call *call)
{
	struct run_get *get = api_call_state(call, sizeof(*get), get_fini);

	get->call = call;
	if (!read_run_id(call, &get->get.id))
		return;
	get->is_started = true;
	store_get_run(call->api->store, &get->get, on_got);
}

/* --- cancel --- */

struct run_cancel {
	struct api_call *call;
	struct store_cancel_run cancel;
	bool is_started;
};

static void cancel_fini(void *state)
{
	struct run_cancel *cancel = state;

	if (cancel->is_started)
		store_cancel_run_fini(&cancel->cancel);
}

/* The end of a run may have started others, and those may have ended yet others. */
static void tell_cancelled(struct sched *sched, const struct store_cancel_run *cancel)
{
	for (size_t i = 0; i < cancel->ret_cancel_count; i++)
		sched_cancel_run(sched, &cancel->ret_cancel[i]);
	if (cancel->ret_run.state == RUN_RUNNING)
		sched_cancel_run(sched, &cancel->ret_run.id);
	else
		sched_look_again(sched); /* which finds pending runs, and cursors that were set */
}

static void on_cancelled(struct store_req *req)
{
	struct run_cancel *cancel = container_of(req, struct run_cancel, cancel.req);
	const struct run *run = &cancel->cancel.ret_run;
	struct api_call *call = cancel->call;

	if (req->err.code != 0) {
		api_reply_err(call, &req->err);
		return;
	}
	if (call->api->sched)
		tell_cancelled(call->api->sched, &cancel->cancel);
	api_reply_json(call, run->state == RUN_RUNNING ? 202 : 200, run_to_json(run), NULL);
}

void runs_cancel(struct api_call *call)
{
	struct run_cancel *cancel = api_call_state(call, sizeof(*cancel), cancel_fini);

	cancel->call = call;
	if (!read_run_id(call, &cancel->cancel.id) || !api_read_nothing(call))
		return;
	cancel->is_started = true;
	store_cancel_run(call->api->store, &cancel->cancel, on_cancelled);
}

/* --- pause and resume --- */

struct run_changing {
	struct api_call *call;
	struct store_change_run change;
	bool is_started;
};

static void changing_fini(void *state)
{
	struct run_changing *changing = state;

	if (changing->is_started)
		store_change_run_fini(&changing->change);
}

static void on_changed(struct store_req *req)
{
	struct run_changing *changing = container_of(req, struct run_changing, change.req);
	const struct run *run = &changing->change.ret_run;
	struct api_call *call = changing->call;

	if (req->err.code != 0) {
		api_reply_err(call, &req->err);
		return;
	}
	if (run->state == RUN_PENDING && call->api->sched)
		sched_run_pending(call->api->sched);
	if (run_is_pausing(run) && call->api->sched)
		sched_pause_run(call->api->sched, &run->id);
	api_reply_json(call, run_is_pausing(run) ? 202 : 200, run_to_json(run), NULL);
}

static void change_run(struct api_call *call, enum run_change change)
{
	struct run_changing *changing = api_call_state(call, sizeof(*changing), changing_fini);

	changing->call = call;
	changing->change.change = change;
	if (!read_run_id(call, &changing->change.id) || !api_read_nothing(call))
		return;
	changing->is_started = true;
	store_change_run(call->api->store, &changing->change, on_changed);
}

void runs_pause(struct api_call *call)
{
	change_run(call, RUN_PAUSE);
}

void runs_resume(struct api_call *call)
{
	change_run(call, RUN_RESUME);
}

/* --- runs that people make: POST /api/v1/actions/{action}/run, POST /api/v1/runs/{run}/retry ---
 */

struct run_now {
	struct action_find find;
	struct store_trigger trigger;
	char traceparent[TRACEPARENT_SIZE];
	bool is_started;
};

static void run_now_fini(void *state)
{
	struct run_now *now = state;

	if (now->is_started)
		store_trigger_fini(&now->trigger);
	action_find_fini(&now->find);
}

static void tell_sched(struct sched *sched, const struct store_trigger *trigger)
{
	for (size_t i = 0; i < trigger->ret_cancel_count; i++)
		sched_cancel_run(sched, &trigger->ret_cancel[i]);
	if (trigger->ret_run.state == RUN_PENDING)
		sched_run_pending(sched);
}

static void reply_triggered(struct api_call *call, const struct store_trigger *trigger)
{
	const struct run *run = &trigger->ret_run;
	char path[PATH_SIZE], id[ID_TEXT_SIZE];

	if (trigger->req.err.code != 0) {
		metrics.queue_refused += trigger->req.err.code == ERR_QUEUE_FULL;
		api_reply_err(call, &trigger->req.err);
		return;
	}
	if (call->api->sched)
		tell_sched(call->api->sched, trigger);
	(void)snprintf(path, sizeof(path), "/api/v1/runs/%s", id_format(&run->id, id));
	api_reply_json(call, 202, run_to_json(run), (const char *const[]){"Location", path, NULL});
}

static void on_triggered(struct store_req *req)
{
	struct run_now *now = container_of(req, struct run_now, trigger.req);

	reply_triggered(now->find.call, &now->trigger);
}

static void run_found(struct action_find *find)
{
	struct run_now *now = container_of(find, struct run_now, find);

	if (!find->call->api->store) {
		api_reply_problem(find->call, ERR_UNAVAILABLE, "the service is stopping");
		return;
	}
	now->trigger.action_id = find->get.ret_action->id;
	now->trigger.queued_max = find->call->api->opts.queued_max;
	now->trigger.traceparent = api_traceparent(find->call, now->traceparent);
	now->is_started = true;
	store_trigger(find->call->api->store, &now->trigger, on_triggered);
}

void actions_run(struct api_call *call)
{
	struct run_now *now = api_call_state(call, sizeof(*now), run_now_fini);

	if (api_read_nothing(call))
		action_find(&now->find, call, call->param, run_found);
}

/* A final state is never left, so what was read stays true until the trigger. */
struct run_retry {
	struct api_call *call;
	struct store_get_run get;
	struct store_change_run change; /* of a held one */
	struct store_trigger trigger;
	char traceparent[TRACEPARENT_SIZE];
};

static void retry_fini(void *state)
{
	struct run_retry *retry = state;

	store_get_run_fini(&retry->get);
	store_change_run_fini(&retry->change);
	store_trigger_fini(&retry->trigger);
}

static void on_retry_resumed(struct store_req *req)
{
	struct run_retry *retry = container_of(req, struct run_retry, change.req);
	struct api_call *call = retry->call;

	if (req->err.code != 0) {
		api_reply_err(call, &req->err);
		return;
	}
	if (call->api->sched)
		sched_run_pending(call->api->sched);
	api_reply_json(call, 202, run_to_json(&retry->change.ret_run), NULL);
}

static void on_retry_triggered(struct store_req *req)
{
	struct run_retry *retry = container_of(req, struct run_retry, trigger.req);

	reply_triggered(retry->call, &retry->trigger);
}

static void on_retry_got(struct store_req *req)
{
	struct run_retry *retry = container_of(req, struct run_retry, get.req);
	const struct run *run = &retry->get.ret_run;
	struct store *store = retry->call->api->store;

	if (req->err.code != 0) {
		api_reply_err(retry->call, &req->err);
	} else if (!store) {
		api_reply_problem(retry->call, ERR_UNAVAILABLE, "the service is stopping");
	} else if (run->state == RUN_HELD) {
		retry->change.id = run->id;
		retry->change.change = RUN_RESUME;
		store_change_run(store, &retry->change, on_retry_resumed);
	} else if (run_state_is_final(run->state)) {
		retry->trigger.action_id = run->action_id;
		retry->trigger.retry_of = run->id;
		retry->trigger.queued_max = retry->call->api->opts.queued_max;
		retry->trigger.traceparent = api_traceparent(retry->call, retry->traceparent);
		store_trigger(store, &retry->trigger, on_retry_triggered);
	} else {
		api_reply_problem(retry->call, ERR_CONFLICT,
			"the run is '%s': only one that has ended can be repeated",
			run_state_names[run->state]);
	}
}

void runs_retry(struct api_call *call)
{
	struct run_retry *retry = api_call_state(call, sizeof(*retry), retry_fini);

	retry->call = call;
	if (!read_run_id(call, &retry->get.id) || !api_read_nothing(call))
		return;
	store_get_run(call->api->store, &retry->get, on_retry_got);
}
