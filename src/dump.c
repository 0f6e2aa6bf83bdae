/* SPDX-License-Identifier: Apache-2.0
 *
 * SIGUSR1: what the server is doing right now, into the log. For the moment when it does not answer
 * any more, or when nobody is allowed to ask it. */
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "exec/exec.h"
#include "http/http.h"
#include "life/life.h"
#include "sched/sched.h"
#include "server_priv.h"
#include "store/store.h"

#define DUMP_RUNS_MAX 100

static void dump_life(const struct server *server)
{
	log_info("dump service", kv_str("version", GATHERING_VERSION),
		kv_id("instance", &server->instance_id),
		kv_str("state", service_state_names[life_state(server->life)]),
		kv_str("phase", life_phase(server->life)),
		kv_i64("uptime_ms", life_uptime_ms(server->life)));
}

static void dump_http(const struct server *server)
{
	if (!server->http)
		return;
	log_info("dump http", kv_str("address", http_address(server->http)),
		kv_i64("connections", (int64_t)http_connections(server->http)),
		kv_i64("in_flight", (int64_t)http_in_flight(server->http)),
		kv_i64("answered", metrics.http_requests), kv_i64("refused", metrics.http_refused));
}

static void dump_store(const struct server *server)
{
	if (!server->store)
		return;
	log_info("dump store", kv_str("kind", store_backend_name(server->store)),
		kv_str("place", store_place(server->store)), kv_i64("waiting", metrics.store_queue),
		kv_i64("requests", metrics.store_requests), kv_i64("errors", metrics.store_errors),
		kv_i64("commits", metrics.store_commits));
}

static void dump_sched(const struct server *server)
{
	struct sched_stats stats;

	if (!server->sched)
		return;
	sched_stats(server->sched, &stats);
	log_info("dump scheduler", kv_bool("paused", stats.is_paused),
		kv_bool("store_ok", stats.is_store_ok),
		kv_i64("due_soon", (int64_t)stats.window_count),
		kv_i64("running", (int64_t)stats.runs_running),
		kv_i64("max_lag_ms", stats.max_lag_ms));
}

static void dump_runs(const struct server *server)
{
	struct id ids[DUMP_RUNS_MAX];
	size_t count;

	if (!server->exec)
		return;
	count = exec_list(server->exec, ids, COUNT_OF(ids));
	for (size_t i = 0; i < count; i++)
		log_info("dump run", kv_id("run", &ids[i]));
	if (exec_in_flight(server->exec) > count)
		log_info("dump runs cut",
			kv_i64("more", (int64_t)(exec_in_flight(server->exec) - count)));
}

void server_dump(const struct server *server)
{
	dump_life(server);
	dump_http(server);
	dump_store(server);
	dump_sched(server);
	dump_runs(server);
}
