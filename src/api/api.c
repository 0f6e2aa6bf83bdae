/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of the API and the way of a request: limit, route, state of the service, query, handler.
 * What may be asked when:
 *
 *   health, /metrics and /     always, from memory
 *   the rest                   503 `starting` until the parts are attached and the service is
 * ready; served while draining; 503 once the parts have been taken away */
#include "api/api_priv.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/feed_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/prove.h"

#define HOST_NAME_SIZE 256

const struct route routes[] = {
#define X(method, pattern, handler, tier, query, doc)                                              \
	{HTTP_##method, pattern, handler, TIER_##tier, query, doc},
#include "api/routes.def"
#undef X
};
const size_t route_count = COUNT_OF(routes);

int api_create(const struct api_opts *opts, struct api **ret_api, struct err *err)
{
	const int per_minute[TIER_COUNT] = {
		[TIER_HEALTH] = opts->rate_health, [TIER_PROBE] = opts->rate_probe,
		/* read and write get their options with access control */
	};
	char host[HOST_NAME_SIZE] = "";
	struct api *api;

	if (gethostname(host, sizeof(host) - 1) < 0)
		return err_set(err, ERR_IO, "cannot read this machine's host name");
	api = xcalloc(1, sizeof(*api));
	api->opts = *opts;
	api->disk_path = xstrdup(opts->disk_path ? opts->disk_path : ".");
	api->host = xstrdup(host);
	api->started_at_ms = clock_wall_ms();
	api->limiter = limiter_create(per_minute, LIMIT_ADDRESSES_MAX);
	api->vitals = vitals_create(api);
	*ret_api = api;
	return 0;
}

static void close_if_done(struct api *api)
{
	void (*closed)(void *data) = api->closed;
	void *data = api->closed_data;

	if (!api->is_closing || !api->are_vitals_closed || api->calls > 0)
		return;
	vitals_destroy(api->vitals);
	limiter_destroy(api->limiter);
	free(api->disk_path);
	free(api->host);
	free(api);
	if (closed)
		closed(data);
}

void api_destroy(struct api *api, void (*closed)(void *data), void *data)
{
	api->is_closing = true;
	api->closed = closed;
	api->closed_data = data;
	feed_close(api->feed);
	vitals_close(api->vitals);
}

void api_vitals_closed(struct api *api)
{
	api->are_vitals_closed = true;
	close_if_done(api);
}

void api_attach(struct api *api, struct store *store, struct sched *sched, struct exec *exec)
{
	if (!store)
		feed_parts_gone(api->feed);
	api->store = store;
	api->sched = sched;
	api->exec = exec;
	vitals_parts_changed(api->vitals);
}

void api_tell_action(struct api *api, struct action *action)
{
	if (api->sched)
		sched_action_changed(api->sched, action);
}

/* --- a call --- */

void *api_call_state(struct api_call *call, size_t size, void (*fini)(void *state))
{
	must(!call->state);
	call->state = xcalloc(1, size);
	call->state_fini = fini;
	return call->state;
}

void api_hold(struct api *api)
{
	api->calls++;
}

void api_let_go(struct api *api)
{
	api->calls--;
	close_if_done(api);
}

void api_call_end(struct api_call *call)
{
	struct api *api = call->api;

	if (call->state_fini)
		call->state_fini(call->state);
	free(call->state);
	free(call->param);
	free(call->allow);
	free(call);
	api_let_go(api);
}

/* --- the way of a request --- */

struct query_check {
	const struct route *route;
	unsigned seen;
	struct err err;
};

static void check_query(const char *name, const char *value, void *data)
{
	struct query_check *check = data;

	(void)value;
	if (check->err.code == 0)
		(void)route_query_check(check->route, name, &check->seen, &check->err);
}

/* False when the call has been answered. */
static bool pass_limit(struct api_call *call)
{
	if (call->is_private)
		return true;
	call->limit = limiter_take(
		call->api->limiter, http_peer(call->request), call->route->tier, clock_mono_ms());
	if (!call->limit.is_refused)
		return true;
	metrics.http_refused++;
	api_reply_problem(call, ERR_RATE,
		"more than %d requests a minute from this address; try again in %d s",
		call->limit.limit, call->limit.retry_s);
	return false;
}

/* What must work while there is no store: it is there to end just that. */
static bool needs_store(const struct route *route)
{
	return route->handler != instances_drain && route->handler != instances_undrain;
}

static bool pass_state(struct api_call *call)
{
	struct life *life = call->api->opts.life;

	if (strncmp(call->route->pattern, "/api/", strlen("/api/")) != 0)
		return true;
	if (life_state(life) == SERVICE_STARTING)
		api_reply_problem(
			call, ERR_UNAVAILABLE, "the service is starting (%s)", life_phase(life));
	else if ((!call->api->store && needs_store(call->route)) ||
		 (life_state(life) == SERVICE_DRAINING && RULE_IS_OFF(SERVES_WHILE_DRAINING)))
		api_reply_problem(call, ERR_UNAVAILABLE, "the service is stopping");
	else
		return true;
	return false;
}

/* The admin socket is no second way around what will guard the API. */
static bool pass_private(struct api_call *call)
{
	static const char *const served[] = {"/health", "/metrics", "/api/v1/instances"};

	if (!call->is_private)
		return true;
	for (size_t i = 0; i < COUNT_OF(served); i++)
		if (strncmp(call->route->pattern, served[i], strlen(served[i])) == 0)
			return true;
	api_reply_problem(call, ERR_NOT_FOUND,
		"the admin socket serves /health, /metrics and /api/v1/instances");
	return false;
}

static bool pass_query(struct api_call *call)
{
	struct query_check check = {.route = call->route};

	http_query_each(call->request, check_query, &check);
	if (check.err.code == 0)
		return true;
	api_reply_err(call, &check.err);
	return false;
}

/* Unknown paths and methods; OPTIONS is answered for every path there is. */
static void answer_no_route(struct api_call *call, const struct err *err)
{
	if (err->code == ERR_METHOD && http_method(call->request) == HTTP_OPTIONS)
		api_reply_empty(call, 204, NULL);
	else
		api_reply_err(call, err);
}

static void api_route(struct api_call *call)
{
	struct route_match match;
	struct err err = {0};

	if (route_find(routes, route_count, http_method(call->request),
		    http_path_raw(call->request), &match, &err) < 0) {
		if (err.code == ERR_METHOD)
			call->allow = xstrdup(match.allow);
		answer_no_route(call, &err);
		return;
	}
	call->route = match.route;
	call->param = match.param;
	if (pass_private(call) && pass_limit(call) && pass_state(call) && pass_query(call))
		call->route->handler(call);
}

static void handle(struct http_request *request, struct api *api, bool is_private)
{
	struct api_call *call = xcalloc(1, sizeof(*call));

	call->api = api;
	call->request = request;
	call->is_private = is_private;
	list_init(&call->wait_node);
	api_hold(api);
	api_route(call);
}

void api_handle(struct http_request *request, void *api)
{
	handle(request, api, false);
}

void api_handle_private(struct http_request *request, void *api)
{
	handle(request, api, true);
}

void api_set_limits(struct api *api, const struct api_limits *limits)
{
	limiter_set(api->limiter, TIER_HEALTH, limits->rate_health);
	limiter_set(api->limiter, TIER_PROBE, limits->rate_probe);
	api->opts.event_window_ms = limits->event_window_ms;
	api->opts.db_grace_ms = limits->db_grace_ms;
}

bool api_probers_have_heard(const struct api *api, int refusals)
{
	return probers_have_heard(&api->probers, refusals, clock_mono_ms());
}

size_t api_probers(const struct api *api)
{
	return probers_live(&api->probers, clock_mono_ms());
}
