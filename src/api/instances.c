/* SPDX-License-Identifier: Apache-2.0
 *
 * The instances of the service, as the store has them. This process can be drained by an operator:
 * it is not ready and takes no new work, and closes nothing; undrain takes that back. */
#include <string.h>
#include <unistd.h>

#include "api/api_priv.h"
#include "api/problem_priv.h"
#include "base/clock.h"
#include "base/metric.h"
#include "base/text.h"
#include "store/instances.h"

struct instances_call {
	struct api_call *call;
	struct store_list_instances list;
};

static json_t *instance_json(const struct api *api, const struct store_instance *instance)
{
	bool is_self = id_equal(&instance->id, &api->opts.instance_id);
	/* what this process knows of itself is newer than its last heartbeat */
	const char *state = is_self ? service_state_names[life_state(api->opts.life)]
				    : store_instance_state_names[instance->state];
	char id[ID_TEXT_SIZE], started_at[RFC3339_TEXT_SIZE], heartbeat_at[RFC3339_TEXT_SIZE];

	return json_pack("{s:s, s:o, s:i, s:o, s:s, s:s, s:s, s:I, s:b}", "id",
		id_format(&instance->id, id), "host", json_clean_string(instance->host), "pid",
		instance->pid, "version", json_clean_string(instance->version), "started_at",
		format_rfc3339(instance->started_at_ms, started_at), "heartbeat_at",
		format_rfc3339(instance->heartbeat_at_ms, heartbeat_at), "state", state,
		"runs_running", (json_int_t)instance->running, "is_self", (int)is_self);
}

json_t *instances_to_json(const struct api *api, const struct store_list_instances *list)
{
	json_t *items = json_array();

	for (size_t i = 0; i < list->ret_count; i++)
		json_array_append_new(items, instance_json(api, &list->ret_instances[i]));
	return items;
}

static void on_listed(struct store_req *req)
{
	struct instances_call *state = container_of(req, struct instances_call, list.req);

	if (req->err.code != 0) {
		api_reply_err(state->call, &req->err);
		return;
	}
	api_reply_json(state->call, 200,
		json_pack("{s:o}", "items", instances_to_json(state->call->api, &state->list)),
		NULL);
}

static void instances_fini(void *data)
{
	store_list_instances_fini(&((struct instances_call *)data)->list);
}

void instances_list(struct api_call *call)
{
	struct instances_call *state = api_call_state(call, sizeof(*state), instances_fini);

	state->call = call;
	store_list_instances(call->api->store, &state->list, on_listed);
}

/* --- this one --- */

/* From memory: a drain must be possible while the database is away. */
static json_t *self_json(const struct api *api)
{
	const struct store_instance self = {.id = api->opts.instance_id,
		.host = api->host,
		.version = (char *)api->opts.version,
		.pid = (int)getpid(),
		.started_at_ms = api->started_at_ms,
		.heartbeat_at_ms = clock_wall_ms(),
		.running = metrics.runs_running};

	return instance_json(api, &self);
}

/* --- another one: it is asked through the store --- */

struct wish_call {
	struct api_call *call;
	struct store_wish wish;
};

static void on_wished(struct store_req *req)
{
	struct wish_call *state = container_of(req, struct wish_call, wish.req);
	char id[ID_TEXT_SIZE];

	if (req->err.code != 0) {
		api_reply_err(state->call, &req->err);
		return;
	}
	api_reply_json(state->call, 202,
		json_pack("{s:s, s:s}", "id", id_format(&state->wish.instance_id, id), "asked_to",
			state->wish.drain ? "drain" : "undrain"),
		NULL);
}

static void ask_another(struct api_call *call, const struct id *id, bool drain)
{
	struct wish_call *state;

	if (!call->api->store) {
		api_reply_problem(call, ERR_UNAVAILABLE, "the server is starting");
		return;
	}
	state = api_call_state(call, sizeof(*state), NULL);
	state->call = call;
	state->wish = (struct store_wish){.instance_id = *id, .drain = drain};
	store_wish(call->api->store, &state->wish, on_wished);
}

/* True: this process is meant, by its id or as "self", and there is no body. Else it is answered
 * from here. */
static bool is_for_self(struct api_call *call, bool drain)
{
	struct id id = call->api->opts.instance_id;

	if (strcmp(call->param, "self") != 0 && !id_parse(call->param, &id)) {
		api_reply_problem(call, ERR_NOT_FOUND, "no instance '%.64s'", call->param);
		return false;
	}
	if (!api_read_nothing(call))
		return false;
	if (id_equal(&id, &call->api->opts.instance_id))
		return true;
	ask_another(call, &id, drain);
	return false;
}

/* --- drain --- */

void instances_drain(struct api_call *call)
{
	struct life *life = call->api->opts.life;

	if (!is_for_self(call, true))
		return;
	if (life_is_stopping(life)) {
		api_reply_problem(call, ERR_CONFLICT, "this instance is stopping already");
		return;
	}
	life_drain(life, LIFE_DRAIN_HOLD, "api");
	api_reply_json(call, 200, self_json(call->api), NULL);
}

void instances_undrain(struct api_call *call)
{
	if (!is_for_self(call, false))
		return;
	if (!life_undrain(call->api->opts.life)) {
		api_reply_problem(
			call, ERR_CONFLICT, "this instance is stopping; that cannot be taken back");
		return;
	}
	api_reply_json(call, 200, self_json(call->api), NULL);
}
