/* SPDX-License-Identifier: Apache-2.0
 *
 * The instances of the service: this process. An operator's drain makes it not ready and stops new
 * work without closing anything; undrain takes that back. */
#include <string.h>
#include <unistd.h>

#include "api/api_priv.h"
#include "api/problem_priv.h"
#include "base/text.h"

static json_t *instance_json(const struct api *api)
{
	char id[ID_TEXT_SIZE], started_at[RFC3339_TEXT_SIZE];

	return json_pack("{s:s, s:o, s:i, s:s, s:s, s:s, s:b}", "id",
		id_format(&api->opts.instance_id, id), "host", json_clean_string(api->host), "pid",
		(int)getpid(), "version", api->opts.version, "started_at",
		format_rfc3339(api->started_at_ms, started_at), "state",
		service_state_names[life_state(api->opts.life)], "is_self", 1);
}

void instances_list(struct api_call *call)
{
	api_reply_json(call, 200, json_pack("{s:[o]}", "items", instance_json(call->api)), NULL);
}

/* The id of this process or "self", and no body; else it is answered here. */
static bool read_self(struct api_call *call)
{
	struct id id;

	if (strcmp(call->param, "self") != 0 &&
		(!id_parse(call->param, &id) || !id_equal(&id, &call->api->opts.instance_id))) {
		api_reply_problem(call, ERR_NOT_FOUND, "no instance '%.64s'", call->param);
		return false;
	}
	return api_read_nothing(call);
}

/* An operator's drain waits for no part; a stop always does. */
static bool is_stopping(const struct life *life)
{
	return life_state(life) >= SERVICE_STOPPING ||
	       (life_state(life) == SERVICE_DRAINING && *life_phase(life) != '\0');
}

void instances_drain(struct api_call *call)
{
	struct life *life = call->api->opts.life;

	if (!read_self(call))
		return;
	if (is_stopping(life)) {
		api_reply_problem(call, ERR_CONFLICT, "this instance is stopping already");
		return;
	}
	life_drain(life, LIFE_DRAIN_HOLD, "api");
	api_reply_json(call, 200, instance_json(call->api), NULL);
}

void instances_undrain(struct api_call *call)
{
	if (!read_self(call))
		return;
	if (!life_undrain(call->api->opts.life)) {
		api_reply_problem(
			call, ERR_CONFLICT, "this instance is stopping; that cannot be taken back");
		return;
	}
	api_reply_json(call, 200, instance_json(call->api), NULL);
}
