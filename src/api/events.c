/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /api/v1/events/{event}: tells those who wait. The body is the payload, any JSON value, or
 * nothing. A key says which events are the same: sent again, such an event is answered as it was
 * the first time, and starts nothing. */
#include <stdlib.h>
#include <string.h>

#include "api/api_priv.h"
#include "base/metric.h"
#include "base/text.h"

#define KEY_MAX 200

struct event_send {
	struct api_call *call;
	struct store_send_event send;
	char *payload; /* owned */
	char traceparent[TRACEPARENT_SIZE];
	bool is_started;
};

static void send_fini(void *state)
{
	struct event_send *send = state;

	if (send->is_started)
		store_send_event_fini(&send->send);
	free(send->payload);
}

static void tell_sched(struct sched *sched, const struct store_send_event *send)
{
	for (size_t i = 0; i < send->ret_cancel_count; i++)
		sched_cancel_run(sched, &send->ret_cancel[i]);
	for (size_t i = 0; i < send->ret_count; i++)
		if (send->ret_runs[i].state == RUN_PENDING) {
			sched_run_pending(sched);
			return;
		}
}

static void on_sent(struct store_req *req)
{
	struct event_send *event = container_of(req, struct event_send, send.req);
	const struct store_send_event *send = &event->send;
	struct api_call *call = event->call;
	char id[ID_TEXT_SIZE];
	json_t *runs;

	if (req->err.code != 0) {
		metrics.queue_refused += req->err.code == ERR_QUEUE_FULL;
		api_reply_err(call, &req->err);
		return;
	}
	if (call->api->sched)
		tell_sched(call->api->sched, send);
	runs = json_array();
	for (size_t i = 0; i < send->ret_count; i++)
		json_array_append_new(runs, run_to_json(&send->ret_runs[i]));
	api_reply_json(call, send->ret_is_duplicate ? 200 : 202,
		json_pack("{s:s, s:s, s:s?, s:b, s:o}", "event_id",
			id_format(&send->ret_event_id, id), "event", send->name, "key", send->key,
			"duplicate", send->ret_is_duplicate, "runs", runs),
		NULL);
}

/* False: answered. */
static bool check_name(struct api_call *call, const char *name)
{
	if (!event_name_is_valid(name))
		api_reply_problem(call, ERR_INVALID,
			"an event's name is 1 to %d letters, digits, '.', '_', '-' and ':'",
			EVENT_NAME_MAX);
	else if (strncmp(name, RUN_EVENT_PREFIX, strlen(RUN_EVENT_PREFIX)) == 0)
		api_reply_problem(call, ERR_FORBIDDEN,
			"names that begin with '" RUN_EVENT_PREFIX "' are for the ends of runs: "
			"only the server sends those");
	else
		return true;
	return false;
}

static bool check_key(struct api_call *call, const char *key)
{
	size_t len = key ? strlen(key) : 1;

	if (len >= 1 && len <= KEY_MAX && (!key || utf8_is_valid(key, len)))
		return true;
	api_reply_problem(call, ERR_BAD_REQUEST,
		"query parameter 'key' must be 1 to %d bytes of "
		"UTF-8",
		KEY_MAX);
	return false;
}

static bool read_payload(struct api_call *call, char **ret_payload)
{
	json_t *json;
	size_t len;

	(void)http_body(call->request, &len);
	if (len == 0)
		return true;
	if (!api_read_json(call, api_json_types, &json))
		return false;
	*ret_payload = json_dumps(json, JSON_WRITE_FLAGS | JSON_ENCODE_ANY);
	json_decref(json);
	must(*ret_payload != NULL);
	if (strlen(*ret_payload) <= EVENT_PAYLOAD_MAX)
		return true;
	api_reply_problem(call, ERR_TOO_LARGE, "the payload has %zu bytes; at most %d are taken",
		strlen(*ret_payload), EVENT_PAYLOAD_MAX);
	return false;
}

void events_send(struct api_call *call)
{
	struct event_send *event = api_call_state(call, sizeof(*event), send_fini);
	const char *key = http_query(call->request, "key");

	event->call = call;
	if (!check_name(call, call->param) || !check_key(call, key) ||
		!read_payload(call, &event->payload))
		return;
	event->send = (struct store_send_event){.name = call->param,
		.key = key,
		.payload = event->payload,
		.traceparent = api_traceparent(call, event->traceparent),
		.window_ms = call->api->opts.event_window_ms,
		.queued_max = call->api->opts.queued_max};
	event->is_started = true;
	store_send_event(call->api->store, &event->send, on_sent);
}
