/* SPDX-License-Identifier: Apache-2.0
 *
 * The end of a run as an event, by which actions are chained: its name, which says whose run ended
 * and how, and its payload, which says which. A name can hold dots itself: the state is what stands
 * behind the last one. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/model_priv.h"

static const enum run_state ends[] = {RUN_SUCCEEDED, RUN_FAILED, RUN_TIMED_OUT, RUN_CANCELLED};

static bool is_end(const char *state)
{
	for (size_t i = 0; i < COUNT_OF(ends); i++)
		if (strcmp(state, run_state_names[ends[i]]) == 0)
			return true;
	return false;
}

char *run_event_name(const struct run *run)
{
	if (!is_end(run_state_names[run->state]))
		return NULL;
	return xasprintf(RUN_EVENT_PREFIX "%s.%s", run->action_name, run_state_names[run->state]);
}

char *run_event_action(const char *event)
{
	const size_t prefix = strlen(RUN_EVENT_PREFIX);
	const char *dot = strrchr(event, '.');

	if (strncmp(event, RUN_EVENT_PREFIX, prefix) != 0 || dot < event + prefix + 1 ||
		!is_end(dot + 1))
		return NULL;
	return xstrndup(event + prefix, (size_t)(dot - event) - prefix);
}

static json_t *payload_json(const struct run *run)
{
	json_t *json = json_new_object();

	json_put(json, "action", json_text(run->action_name));
	json_put(json, "run_id", json_id(&run->id));
	json_put(json, "state", json_text(run_state_names[run->state]));
	json_put(json, "due_at", json_time(run->due_at_ms));
	json_put(json, "attempt", json_integer(run->attempt));
	json_put(json, "http_status",
		run->http_status == 0 ? json_null() : json_integer(run->http_status));
	json_put(json, "exit_code",
		run->exit_code == -1 ? json_null() : json_integer(run->exit_code));
	json_put(json, "error", json_text(run->error));
	return json;
}

static char *to_text(json_t *json_take)
{
	char *text = json_dumps(json_take, JSON_WRITE_FLAGS);

	must(text != NULL);
	json_decref(json_take);
	return text;
}

char *run_event_payload(const struct run *run)
{
	return to_text(payload_json(run));
}

/* --- alerts: how an action fares --- */

char *alert_event_name(enum alert alert, const char *action_name)
{
	return xasprintf(RUN_EVENT_PREFIX "%s.%s", action_name, alert_names[alert]);
}

char *alert_payload(enum alert alert, const struct run *run)
{
	json_t *json = payload_json(run);
	char id[ID_TEXT_SIZE];
	auto_free char *link = xasprintf("/api/v1/runs/%s", id_format(&run->id, id));

	json_put(json, "alert", json_text(alert_names[alert]));
	json_put(json, "link", json_text(link));
	return to_text(json);
}

char *late_payload(const char *action_name, int64_t deadline_ms, int64_t expect_ms)
{
	json_t *json = json_new_object();
	auto_free char *link = xasprintf("/api/v1/actions/%s", action_name);

	json_put(json, "action", json_text(action_name));
	json_put(json, "alert", json_text(alert_names[ALERT_LATE]));
	json_put(json, "deadline", json_time(deadline_ms));
	json_put(json, "expect_success_within_s", json_real((double)expect_ms / 1000));
	json_put(json, "link", json_text(link));
	return to_text(json);
}
