/* SPDX-License-Identifier: Apache-2.0
 *
 * Health: what probes, balancers and people ask. live, ready and startup answer at once from memory
 * and depend on nothing that may hang; their bodies are a contract, so they stand here as text. The
 * other three show figures that are at most a second old (vitals.c) and always answer 200: the
 * verdict is in the body, and a monitor that wants a status asks /health/ready. */
#include <stdio.h>
#include <string.h>

#include "api/api_priv.h"
#include "api/problem_priv.h"
#include "api/system_priv.h"
#include "base/clock.h"
#include "base/metric.h"
#include "base/prove.h"
#include "base/text.h"

#define JSON_TYPE "application/json"

#define LAG_WARNING_MS       100
#define LAG_CRITICAL_MS      1000
#define START_LAG_WARNING_MS 1000
#define FREE_WARNING         0.10 /* share of memory or disk still free */
#define FREE_CRITICAL        0.03
#define DETAIL_SIZE          512

/* --- probes --- */

void health_live(struct api_call *call)
{
	bool is_alive =
		!RULE_IS_OFF(LIVE_WITHOUT_DATABASE) || !vitals_is_database_lost(call->api->vitals);

	api_reply_text(call, is_alive ? 200 : 503, JSON_TYPE, "{\"alive\": true}");
}

static void not_ready(struct api_call *call, const char *reason)
{
	char body[64];

	metrics.probes_refused++;
	(void)snprintf(body, sizeof(body), "{\"ready\": false, \"reason\": \"%s\"}", reason);
	api_reply_text(call, 503, JSON_TYPE, body);
}

static void reply_starting(struct api_call *call, const char *flag)
{
	json_t *json = json_pack("{s:b, s:s, s:s}", flag, 0, "reason", "starting", "phase",
		life_phase(call->api->opts.life));

	api_reply_json(call, 503, json, NULL);
}

static void note_prober(struct api_call *call)
{
	if (call->is_private)
		return;
	probers_note(&call->api->probers, http_peer(call->request),
		http_header(call->request, "User-Agent"),
		life_state(call->api->opts.life) != SERVICE_READY, clock_mono_ms());
}

void health_ready(struct api_call *call)
{
	note_prober(call);
	switch (life_state(call->api->opts.life)) {
	case SERVICE_STARTING:
		metrics.probes_refused++;
		reply_starting(call, "ready");
		return;
	case SERVICE_READY:
		if (vitals_is_database_lost(call->api->vitals))
			not_ready(call, "database");
		else
			api_reply_text(call, 200, JSON_TYPE, "{\"ready\": true}");
		return;
	case SERVICE_DRAINING:
	case SERVICE_STOPPING:
	case SERVICE_STOPPED:
		not_ready(call, "shutting_down");
		return;
	}
}

void health_startup(struct api_call *call)
{
	if (life_state(call->api->opts.life) == SERVICE_STARTING)
		reply_starting(call, "started");
	else
		api_reply_text(call, 200, JSON_TYPE, "{\"started\": true}");
}

/* --- /health --- */

static json_t *count_or_null(const struct vitals_view *view, int64_t count)
{
	return view->has_counts ? json_integer(count) : json_null();
}

/* Whom the notice waits for. */
static json_t *probers_json(const struct api *api)
{
	int64_t now = clock_mono_ms();
	json_t *list = json_array();

	for (size_t i = 0; i < api->probers.count; i++) {
		const struct prober *prober = &api->probers.item[i];

		if (prober_is_live(prober, now))
			json_array_append_new(
				list, json_pack("{s:s, s:o, s:I, s:i}", "address", prober->peer,
					      "agent", json_clean_string(prober->agent),
					      "interval_ms", (json_int_t)prober->interval_ms,
					      "refusals", prober->refusals));
	}
	return list;
}

static json_t *cut_runs_json(const struct api *api)
{
	struct id ids[SCHED_CUT_RUNS_MAX];
	size_t count = api->sched ? sched_cut_runs(api->sched, ids) : 0;
	json_t *list = json_array();
	char text[ID_TEXT_SIZE];

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_string(id_format(&ids[i], text)));
	return list;
}

static json_t *events_json(const struct api *api)
{
	struct life_event events[LIFE_EVENTS_MAX];
	size_t count = life_events(api->opts.life, events);
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(
			list, json_pack("{s:s, s:I, s:I, s:b}", "event", events[i].name, "after_ms",
				      (json_int_t)events[i].after_ms, "took_ms",
				      (json_int_t)events[i].took_ms, "cut", events[i].was_cut));
	return list;
}

/* What the stop has done so far and what it waits for. */
static json_t *shutdown_json(const struct api *api)
{
	bool is_cut =
		life_exit_status(api->opts.life) >= 3 || (api->sched && sched_was_cut(api->sched));
	int64_t left_ms = life_left_ms(api->opts.life);

	return json_pack("{s:s, s:b, s:b, s:o, s:I, s:I, s:o, s:o, s:o}", "waits_for",
		life_phase(api->opts.life), "is_stop", (int)life_is_stopping(api->opts.life), "cut",
		(int)is_cut, "left_ms", left_ms < 0 ? json_null() : json_integer(left_ms),
		"requests_in_flight", (json_int_t)metrics.http_requests_in_flight, "runs_running",
		(json_int_t)metrics.runs_running, "runs_cut", cut_runs_json(api), "probers",
		probers_json(api), "events", events_json(api));
}

static void show_health(struct api_call *call)
{
	const struct api *api = call->api;
	struct vitals_view view = vitals_view(api->vitals);
	enum service_state state = life_state(api->opts.life);
	int64_t uptime_ms = life_uptime_ms(api->opts.life);
	bool is_degraded = state != SERVICE_STARTING && !view.is_store_ok;
	char uptime[DURATION_TEXT_SIZE], id[ID_TEXT_SIZE];
	json_t *json = json_pack("{s:s, s:s, s:s, s:I, s:s, s:s}", "status",
		is_degraded ? "degraded" : "healthy", "version", api->opts.version, "uptime",
		format_duration(uptime_ms / 1000 * 1000, uptime), "uptime_ms",
		(json_int_t)uptime_ms, "state", service_state_names[state], "instance_id",
		id_format(&api->opts.instance_id, id));

	if (state == SERVICE_STARTING)
		json_object_set_new(json, "phase", json_string(life_phase(api->opts.life)));
	json_object_set_new(json, "actions",
		json_pack("{s:o, s:o}", "total", count_or_null(&view, view.actions), "paused",
			count_or_null(&view, view.actions_paused)));
	json_object_set_new(json, "runs",
		json_pack("{s:o, s:o}", "pending", count_or_null(&view, view.runs_pending),
			"running", count_or_null(&view, view.runs_running)));
	json_object_set_new(json, "instances",
		json_pack("{s:o}", "total", count_or_null(&view, view.instances)));
	if (state >= SERVICE_DRAINING)
		json_object_set_new(json, "shutdown", shutdown_json(api));
	api_reply_json(call, 200, json, NULL);
}

void health_show(struct api_call *call)
{
	vitals_wait(call, show_health);
}

/* --- /health/checks --- */

enum verdict {
	HEALTHY,
	WARNING,
	CRITICAL
};
static const char *const verdict_names[] = {"healthy", "warning", "critical"};

struct check {
	enum verdict verdict;
	char detail[DETAIL_SIZE];
};

typedef void check_fn(
	const struct api *api, const struct vitals_view *view, struct check *ret_check);

static enum verdict verdict_of_free(double share)
{
	return share < FREE_CRITICAL ? CRITICAL : share < FREE_WARNING ? WARNING : HEALTHY;
}

static void check_server(
	const struct api *api, const struct vitals_view *view, struct check *ret_check)
{
	enum service_state state = life_state(api->opts.life);

	ret_check->verdict =
		state != SERVICE_READY || view->loop_lag_ms >= LAG_WARNING_MS ? WARNING : HEALTHY;
	if (view->loop_lag_ms >= LAG_CRITICAL_MS)
		ret_check->verdict = CRITICAL;
	(void)snprintf(ret_check->detail, DETAIL_SIZE,
		"%s; the loop was at most %lld ms late within the last minute",
		service_state_names[state], (long long)view->loop_lag_ms);
}

static void check_database(
	const struct api *api, const struct vitals_view *view, struct check *ret_check)
{
	if (!api->store) {
		ret_check->verdict = WARNING;
		(void)snprintf(ret_check->detail, DETAIL_SIZE, "not open");
	} else if (!view->is_store_ok) {
		ret_check->verdict = CRITICAL;
		(void)snprintf(ret_check->detail, DETAIL_SIZE, "%s",
			view->store_error[0] != '\0' ? view->store_error
						     : "it can be read, but what the scheduler "
						       "writes is refused; the log tells why");
	} else {
		ret_check->verdict = HEALTHY;
		(void)snprintf(ret_check->detail, DETAIL_SIZE,
			"%s %.200s answered in %lld ms, %lld bytes", store_backend_name(api->store),
			store_place(api->store), (long long)view->store_took_ms,
			(long long)view->size_bytes);
	}
}

static void check_scheduler(
	const struct api *api, const struct vitals_view *view, struct check *ret_check)
{
	struct sched_stats stats;

	(void)view;
	if (!api->sched) {
		ret_check->verdict = WARNING;
		(void)snprintf(ret_check->detail, DETAIL_SIZE, "not started");
		return;
	}
	sched_stats(api->sched, &stats);
	ret_check->verdict = HEALTHY;
	if (stats.is_paused || stats.max_lag_ms >= START_LAG_WARNING_MS)
		ret_check->verdict = WARNING;
	if (!stats.is_store_ok)
		ret_check->verdict = CRITICAL;
	(void)snprintf(ret_check->detail, DETAIL_SIZE,
		"%s%s; %zu running, %zu due soon, largest start lag %lld ms",
		stats.is_paused ? "paused" : "planning",
		stats.is_store_ok ? "" : ", cannot reach the database", stats.runs_running,
		stats.window_count, (long long)stats.max_lag_ms);
}

static void check_memory(
	const struct api *api, const struct vitals_view *view, struct check *ret_check)
{
	struct system_facts facts;
	double share;

	(void)api;
	(void)view;
	system_read(&facts);
	if (facts.memory_total_bytes == 0) {
		ret_check->verdict = WARNING;
		(void)snprintf(ret_check->detail, DETAIL_SIZE, "/proc/meminfo cannot be read");
		return;
	}
	share = (double)facts.memory_available_bytes / (double)facts.memory_total_bytes;
	ret_check->verdict = verdict_of_free(share);
	(void)snprintf(ret_check->detail, DETAIL_SIZE,
		"%.1f %% available; this process holds %lld KiB", share * 100,
		(long long)facts.process_memory_bytes / 1024);
}

static void check_disk(
	const struct api *api, const struct vitals_view *view, struct check *ret_check)
{
	double share;

	if (!view->has_disk || view->disk_total_bytes == 0) {
		ret_check->verdict = WARNING;
		(void)snprintf(ret_check->detail, DETAIL_SIZE, "%.200s: free space is not known",
			api->disk_path);
		return;
	}
	share = (double)view->disk_free_bytes / (double)view->disk_total_bytes;
	ret_check->verdict = verdict_of_free(share);
	(void)snprintf(ret_check->detail, DETAIL_SIZE, "%.200s: %.1f %% free, %lld MiB",
		api->disk_path, share * 100, (long long)view->disk_free_bytes / (1024 * 1024));
}

static const struct {
	const char *name;
	check_fn *check;
} checks[] = {
	{"server", check_server},
	{"database", check_database},
	{"scheduler", check_scheduler},
	{"memory", check_memory},
	{"disk", check_disk},
};

static void show_checks(struct api_call *call)
{
	struct vitals_view view = vitals_view(call->api->vitals);
	enum verdict worst = HEALTHY;
	json_t *list = json_array();

	for (size_t i = 0; i < COUNT_OF(checks); i++) {
		struct check result;

		checks[i].check(call->api, &view, &result);
		if (result.verdict > worst)
			worst = result.verdict;
		json_array_append_new(list,
			json_pack("{s:s, s:s, s:o, s:o*}", "name", checks[i].name, "status",
				verdict_names[result.verdict], "detail",
				json_clean_string(result.detail), "pools",
				checks[i].check == check_database ? pools_json(call->api) : NULL));
	}
	api_reply_json(call, 200,
		json_pack("{s:s, s:o}", "overall_status", verdict_names[worst], "checks", list),
		NULL);
}

void health_checks(struct api_call *call)
{
	vitals_wait(call, show_checks);
}

/* --- /health/system --- */

static double percent(double share)
{
	return (double)(int64_t)(share * 1000 + 0.5) / 10;
}

static json_t *space_json(int64_t total, int64_t available)
{
	double used = total > 0 ? 1 - (double)available / (double)total : 0;

	return json_pack("{s:I, s:I, s:f}", "total_bytes", (json_int_t)total, "available_bytes",
		(json_int_t)available, "used_percent", percent(used));
}

static void show_system(struct api_call *call)
{
	const struct api *api = call->api;
	struct vitals_view view = vitals_view(api->vitals);
	struct system_facts facts;
	json_t *memory, *disk;

	system_read(&facts);
	memory = space_json(facts.memory_total_bytes, facts.memory_available_bytes);
	json_object_set_new(memory, "process_bytes", json_integer(facts.process_memory_bytes));
	disk = view.has_disk ? space_json(view.disk_total_bytes, view.disk_free_bytes)
			     : json_object();
	json_object_set_new(disk, "path", json_clean_string(api->disk_path));
	api_reply_json(call, 200,
		json_pack("{s:{s:i, s:f, s:f}, s:o, s:o, s:[f, f, f], s:I, s:I}", "cpu", "count",
			facts.cpu_count, "used_percent", percent(view.cpu_busy), "process_percent",
			percent(view.process_cpu), "memory", memory, "disk", disk, "load_average",
			facts.load[0], facts.load[1], facts.load[2], "uptime_ms",
			(json_int_t)facts.uptime_ms, "process_uptime_ms",
			(json_int_t)life_uptime_ms(api->opts.life)),
		NULL);
}

void health_system(struct api_call *call)
{
	vitals_wait(call, show_system);
}
