/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers that show actions. How they fare is asked of the store first: it is no part of the
 * definitions that the scheduler reads at every look. */
#include <stdio.h>
#include <stdlib.h>

#include "api/actions_priv.h"
#include "api/etag_priv.h"
#include "base/text.h"

#define PATH_SIZE 64

static json_t *warn_of_hook(const struct action *action, enum alert alert)
{
	static const char *const members[] = {"on_failure", "on_recovery", "on_late"};
	auto_free char *text = xasprintf("%s: there is no action '%s'; nothing is started until "
					 "it is created",
		members[alert], action->hooks[alert]);

	return json_string(text);
}

static json_t *warnings_on(const struct action *action, unsigned missing_hooks)
{
	const char *of_schedule = action->schedule ? schedule_warning(action->schedule) : NULL;
	json_t *warnings = json_array();

	if (of_schedule)
		json_array_append_new(warnings, json_string(of_schedule));
	for (int alert = 0; alert < ALERT_COUNT; alert++)
		if (missing_hooks & 1u << alert && action->hooks[alert])
			json_array_append_new(warnings, warn_of_hook(action, (enum alert)alert));
	return warnings;
}

static json_t *action_shown(const struct action *action, const struct action_care *care)
{
	json_t *json = action_to_json(action);
	json_t *warnings = warnings_on(action, care ? care->missing_hooks : 0);

	if (care) {
		json_object_set_new(json, "failing_since", json_time(care->care.failing_since_ms));
		json_object_set_new(json, "late_since", json_time(care->care.late_since_ms));
		json_object_set_new(json, "deadline", json_time(care->care.deadline_ms));
	}
	if (json_array_size(warnings) > 0)
		json_object_set(json, "warnings", warnings);
	json_decref(warnings);
	return json;
}

static void reply_one(const struct actions_answer *answer, json_t *json)
{
	const struct action *action = answer->actions[0];
	char etag[ETAG_SIZE], id[ID_TEXT_SIZE], path[PATH_SIZE];
	const char *headers[5] = {"ETag", etag_format(action->version, etag)};

	if (answer->status == 201) {
		(void)snprintf(
			path, sizeof(path), "/api/v1/actions/%s", id_format(&action->id, id));
		headers[2] = "Location";
		headers[3] = path;
	}
	api_reply_json(answer->call, answer->status, json, headers);
}

/* `cares` may be NULL: not known. */
static void reply(struct actions_answer *answer, const struct action_care *cares)
{
	struct api_call *call = answer->call;
	json_t *items;

	if (!answer->wrap) {
		reply_one(answer, action_shown(answer->actions[0], cares));
		return;
	}
	items = json_array();
	for (size_t i = 0; i < answer->cares.count; i++)
		json_array_append_new(
			items, action_shown(answer->actions[i], cares ? &cares[i] : NULL));
	api_reply_json(call, answer->status, answer->wrap(call, items), NULL);
}

/* What was written is written: that is answered, whatever the store says now. */
static void on_told(struct store_req *req)
{
	struct actions_answer *answer = container_of(req, struct actions_answer, cares.req);
	bool was_written = http_method(answer->call->request) != HTTP_GET &&
			   http_method(answer->call->request) != HTTP_HEAD;

	if (req->err.code == 0)
		reply(answer, answer->cares.ret_cares);
	else if (was_written)
		reply(answer, NULL);
	else
		api_reply_err(answer->call, &req->err);
}

void actions_answer(struct actions_answer *answer, struct api_call *call, int status,
	struct action *const *actions, size_t count,
	json_t *(*wrap)(struct api_call *call, json_t *items_take))
{
	*answer = (struct actions_answer){
		.call = call, .status = status, .actions = actions, .wrap = wrap};
	answer->cares = (struct store_get_cares){.actions = actions, .count = count};
	if (!call->api->store) { /* taken away meanwhile */
		reply(answer, NULL);
		return;
	}
	answer->is_asked = true;
	store_get_cares(call->api->store, &answer->cares, on_told);
}

void action_answer(struct actions_answer *answer, struct api_call *call, int status,
	struct action *const *action)
{
	actions_answer(answer, call, status, action, 1, NULL);
}

void actions_answer_fini(struct actions_answer *answer)
{
	if (answer->is_asked)
		store_get_cares_fini(&answer->cares);
}
