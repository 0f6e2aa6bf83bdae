/* SPDX-License-Identifier: Apache-2.0
 *
 * Health, states, limits, routing and headers, over a real socket. */
#include "api_rig.h"

#include <time.h>

#include "base/clock.h"
#include "store/store_priv.h"

#define READY "{\"ready\": true}"

static void assert_body(struct rig *rig, const char *path, int status, const char *body)
{
	struct answer answer = rig_ask(rig, "GET", path, "");

	assert_int_equal(answer.status, status);
	assert_string_equal(answer.body, body);
	assert_string_equal(answer_header(&answer, "Content-Type"), "application/json");
	assert_string_equal(answer_header(&answer, "X-Content-Type-Options"), "nosniff");
	assert_string_equal(answer_header(&answer, "Cache-Control"), "no-store");
	answer_fini(&answer);
}

static void test_health_when_starting_then_only_health_answers(void **state)
{
	struct rig rig = {0};
	struct answer answer;

	rig_open(&rig);
	assert_body(&rig, "/health/live", 200, "{\"alive\": true}");
	answer = rig_ask(&rig, "GET", "/health/ready", "");
	assert_int_equal(answer.status, 503);
	assert_true(json_is_false(answer_at(&answer, "ready")));
	assert_string_equal(answer_text(&answer, "reason"), "starting");
	assert_string_equal(answer_text(&answer, "phase"), "everything");
	answer_fini(&answer);
	assert_int_equal(rig_status(&rig, "GET", "/health/startup", ""), 503);
	answer = rig_ask(&rig, "GET", "/health", "");
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer_text(&answer, "state"), "starting");
	assert_true(json_is_null(answer_at(&answer, "actions.total")));
	answer_fini(&answer);
	assert_int_equal(rig_status(&rig, "GET", "/health/checks", ""), 200);
	assert_int_equal(rig_status(&rig, "GET", "/metrics", ""), 200);
	answer = rig_ask(&rig, "GET", "/api/v1/actions", "");
	assert_int_equal(answer.status, 503);
	assert_string_equal(answer_header(&answer, "Retry-After"), "1");
	assert_string_equal(answer_text(&answer, "code"), "unavailable");
	answer_fini(&answer);
	assert_int_equal(rig_status(&rig, "POST", "/api/v1/instances/self/drain", ""), 503);
	rig_close(&rig);
}

static void test_health_when_ready(void **state)
{
	struct rig rig = {0};
	struct answer answer;

	rig_open(&rig);
	rig_ready(&rig);
	assert_body(&rig, "/health/live", 200, "{\"alive\": true}");
	assert_body(&rig, "/health/ready?cachebuster=1", 200, READY);
	assert_body(&rig, "/health/startup", 200, "{\"started\": true}");

	answer = rig_ask(&rig, "GET", "/health", "");
	assert_string_equal(answer_text(&answer, "status"), "healthy");
	assert_string_equal(answer_text(&answer, "state"), "ready");
	assert_string_equal(answer_text(&answer, "version"), "9.9.9");
	assert_int_equal(answer_number(&answer, "actions.total"), 0);
	assert_int_equal(answer_number(&answer, "runs.running"), 0);
	assert_int_equal(answer_number(&answer, "instances.total"), 1);
	assert_true(answer_number(&answer, "uptime_ms") >= 0);
	assert_null(answer_at(&answer, "shutdown"));
	answer_fini(&answer);

	answer = rig_ask(&rig, "GET", "/health/checks", "");
	assert_int_equal(json_array_size(answer_at(&answer, "checks")), 5);
	assert_string_equal(answer_text(&answer, "checks.1.name"), "database");
	assert_string_equal(answer_text(&answer, "checks.1.status"), "healthy");
	assert_string_equal(answer_text(&answer, "checks.2.name"), "scheduler");
	assert_string_equal(answer_text(&answer, "checks.2.status"), "healthy");
	assert_true(*answer_text(&answer, "overall_status") != '\0');
	answer_fini(&answer);

	answer = rig_ask(&rig, "GET", "/health/system", "");
	assert_true(answer_number(&answer, "cpu.count") >= 1);
	assert_true(answer_number(&answer, "memory.total_bytes") > 0);
	assert_true(answer_number(&answer, "memory.process_bytes") > 0);
	assert_true(answer_number(&answer, "disk.total_bytes") > 0);
	assert_int_equal(json_array_size(answer_at(&answer, "load_average")), 3);
	assert_true(answer_number(&answer, "uptime_ms") > 0);
	answer_fini(&answer);

	answer = rig_ask(&rig, "GET", "/metrics", "");
	assert_non_null(strstr(answer.body, "\ngathering_http_requests_total "));
	answer_fini(&answer);
	rig_close(&rig);
}

static int64_t clock_ahead_ms;

static int64_t mono_ahead_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + clock_ahead_ms;
}

static int64_t wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void wait_for_ready(struct rig *rig, int status)
{
	while (rig_status(rig, "GET", "/health/ready", "") != status)
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
}

/* A store that takes no request stands for a database that is gone. */
static void test_health_when_database_is_lost_then_not_ready_after_the_grace(void **state)
{
	static const struct clock_source source = {wall_ms, mono_ahead_ms};
	struct rig rig = {0};
	struct store_opts opts = {.url = "memory:", .queue_max = 1, .batch_max = 1};
	struct store *broken;
	struct answer answer;
	struct err err = {0};

	clock_ahead_ms = 0;
	clock_set_source(&source);
	rig_open(&rig);
	rig_ready(&rig);
	opts.loop = &rig.loop;
	assert_int_equal(store_open(&opts, &broken, &err), 0);
	broken->queue_max = 0;
	api_attach(rig.api, broken, rig.sched, rig.exec);
	answer = rig_ask(&rig, "GET", "/health", "");
	assert_string_equal(answer_text(&answer, "status"), "degraded");
	answer_fini(&answer);
	assert_body(&rig, "/health/ready", 200, READY);
	answer = rig_ask(&rig, "GET", "/api/v1/runs", "");
	assert_int_equal(answer.status, 503);
	assert_string_equal(answer_header(&answer, "Retry-After"), "1");
	answer_fini(&answer);

	clock_ahead_ms = 4000; /* not yet, even after another pulse */
	answer = rig_ask(&rig, "GET", "/health/checks", "");
	assert_string_equal(answer_text(&answer, "checks.1.status"), "critical");
	assert_string_equal(answer_text(&answer, "overall_status"), "critical");
	answer_fini(&answer);
	clock_ahead_ms = 6000;
	wait_for_ready(&rig, 503);
	assert_body(&rig, "/health/ready", 503, "{\"ready\": false, \"reason\": \"database\"}");
	assert_body(&rig, "/health/live", 200, "{\"alive\": true}");

	api_attach(rig.api, rig.store, rig.sched, rig.exec);
	wait_for_ready(&rig, 200);
	rig.awaited = 1;
	store_close(broken, rig_came, &rig);
	rig_wait(&rig);
	rig_close(&rig);
	clock_set_source(NULL);
}

static void test_instances_drain_and_undrain_are_idempotent(void **state)
{
	static const char shutting_down[] = "{\"ready\": false, \"reason\": \"shutting_down\"}";
	struct rig rig = {0};
	struct answer answer;
	char path[100], id[ID_TEXT_SIZE];

	rig_open(&rig);
	rig_ready(&rig);
	answer = rig_ask(&rig, "GET", "/api/v1/instances", "");
	assert_int_equal(json_array_size(answer_at(&answer, "items")), 1);
	assert_string_equal(
		answer_text(&answer, "items.0.id"), id_format(&rig.api_opts.instance_id, id));
	assert_string_equal(answer_text(&answer, "items.0.state"), "ready");
	assert_int_equal(answer_number(&answer, "items.0.pid"), getpid());
	assert_true(json_is_true(answer_at(&answer, "items.0.is_self")));
	answer_fini(&answer);

	assert_int_equal(rig_status(&rig, "POST", "/api/v1/instances/self/undrain", ""), 200);
	for (int i = 0; i < 2; i++) {
		answer = rig_ask(&rig, "POST", "/api/v1/instances/self/drain", "");
		assert_int_equal(answer.status, 200);
		assert_string_equal(answer_text(&answer, "state"), "draining");
		answer_fini(&answer);
		assert_body(&rig, "/health/ready", 503, shutting_down);
	}
	assert_body(&rig, "/health/live", 200, "{\"alive\": true}");
	assert_body(&rig, "/health/startup", 200, "{\"started\": true}");
	/* reads and writes are served while draining */
	assert_int_equal(rig_status(&rig, "GET", "/api/v1/runs", ""), 200);
	answer = rig_ask(&rig, "GET", "/health", "");
	assert_string_equal(answer_text(&answer, "state"), "draining");
	assert_true(json_is_array(answer_at(&answer, "shutdown.events")));
	answer_fini(&answer);

	(void)snprintf(path, sizeof(path), "/api/v1/instances/%s/undrain", id);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(rig_status(&rig, "POST", path, "{}"), 200);
		assert_body(&rig, "/health/ready", 200, READY);
	}
	assert_int_equal(rig_status(&rig, "POST", "/api/v1/instances/other/drain", ""), 404);
	assert_int_equal(
		rig_status(&rig, "POST", "/api/v1/instances/self/drain", "{\"force\": true}"), 400);
	rig_close(&rig);
}

static void test_instances_when_stopping_then_409(void **state)
{
	struct rig rig = {0};
	struct answer answer;

	rig_open(&rig);
	rig_ready(&rig);
	life_drain(rig.life, LIFE_DRAIN_STOP, "signal");
	life_event(rig.life, "notice_done");
	assert_int_equal(rig_status(&rig, "POST", "/api/v1/instances/self/drain", ""), 409);
	assert_int_equal(rig_status(&rig, "POST", "/api/v1/instances/self/undrain", ""), 409);
	answer = rig_ask(&rig, "GET", "/health", "");
	assert_string_equal(answer_text(&answer, "shutdown.waits_for"), "everything");
	assert_string_equal(answer_text(&answer, "shutdown.events.0.event"), "shutting_down");
	assert_string_equal(answer_text(&answer, "shutdown.events.1.event"), "notice_done");
	answer_fini(&answer);
	assert_int_equal(rig_status(&rig, "GET", "/health/ready", ""), 503);
	assert_int_equal(rig_status(&rig, "GET", "/api/v1/runs", ""), 200);
	/* the parts are taken away, the socket is still open */
	rig_stop_parts(&rig);
	rig.store = NULL;
	answer = rig_ask(&rig, "GET", "/api/v1/runs", "");
	assert_int_equal(answer.status, 503);
	assert_non_null(strstr(answer_text(&answer, "detail"), "stopping"));
	answer_fini(&answer);
	assert_int_equal(rig_status(&rig, "GET", "/health/live", ""), 200);
	assert_int_equal(rig_status(&rig, "GET", "/health", ""), 200);
	rig_close(&rig);
}

static void test_limit_answers_429_with_its_headers(void **state)
{
	struct rig rig = {.api_opts = {.rate_health = 2, .rate_probe = 4}};
	struct answer answer;

	rig_open(&rig);
	rig_ready(&rig);
	answer = rig_ask(&rig, "GET", "/health", "");
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer_header(&answer, "X-RateLimit-Limit"), "2");
	assert_string_equal(answer_header(&answer, "X-RateLimit-Remaining"), "1");
	assert_string_equal(answer_header(&answer, "X-RateLimit-Reset"), "60");
	assert_string_equal(answer_header(&answer, "Retry-After"), "");
	answer_fini(&answer);
	assert_int_equal(rig_status(&rig, "HEAD", "/health/system", ""), 200);
	answer = rig_ask(&rig, "GET", "/health/checks", "");
	assert_int_equal(answer.status, 429);
	assert_string_equal(answer_text(&answer, "code"), "rate_limited");
	assert_string_equal(answer_header(&answer, "X-RateLimit-Remaining"), "0");
	assert_true(*answer_header(&answer, "Retry-After") != '\0');
	answer_fini(&answer);
	/* a prober is not told "down" because somebody looked at /health too often */
	for (int i = 0; i < 4; i++)
		assert_int_equal(rig_status(&rig, "GET", "/health/ready", ""), 200);
	assert_int_equal(rig_status(&rig, "GET", "/health/live", ""), 429);
	assert_int_equal(rig_status(&rig, "GET", "/api/v1/runs", ""), 200);
	rig_close(&rig);
}

static void test_paths_and_methods(void **state)
{
	struct rig rig = {0};
	struct answer answer;

	rig_open(&rig);
	rig_ready(&rig);
	answer = rig_ask_with(&rig, "GET", "/nowhere", "X-Request-ID: abc-1\r\n", "");
	assert_int_equal(answer.status, 404);
	assert_string_equal(answer_header(&answer, "Content-Type"), "application/problem+json");
	assert_string_equal(answer_text(&answer, "code"), "not_found");
	assert_string_equal(answer_text(&answer, "type"), "urn:gathering:problem:not_found");
	assert_string_equal(answer_text(&answer, "request_id"), "abc-1");
	assert_int_equal(answer_number(&answer, "status"), 404);
	answer_fini(&answer);
	answer = rig_ask(&rig, "PATCH", "/api/v1/actions", "{}");
	assert_int_equal(answer.status, 405);
	assert_string_equal(answer_header(&answer, "Allow"), "GET, HEAD, POST, OPTIONS");
	answer_fini(&answer);
	answer = rig_ask(&rig, "OPTIONS", "/api/v1/actions/x", "");
	assert_int_equal(answer.status, 204);
	assert_string_equal(
		answer_header(&answer, "Allow"), "GET, HEAD, PUT, PATCH, DELETE, OPTIONS");
	answer_fini(&answer);
	answer = rig_ask(&rig, "HEAD", "/health/ready", "");
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer_header(&answer, "Content-Length"), "15");
	assert_int_equal(answer.body_len, 0);
	answer_fini(&answer);
	answer = rig_ask(&rig, "GET", "/", "");
	assert_int_equal(answer.status, 200);
	assert_non_null(strstr(answer.body, "/api/v1/runs/{run}/output"));
	answer_fini(&answer);
	rig_close(&rig);
}

/* A client that leaves before its answer costs nothing: the leak checker is the judge. */
static void test_client_that_leaves_is_no_leak(void **state)
{
	static const char *const requests[] = {
		"GET /health/checks HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /api/v1/actions?total=true HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /api/v1/actions/none/runs HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /api/v1/actions/none/run HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
	};
	struct rig rig = {0};

	rig_open(&rig);
	rig_ready(&rig);
	for (int i = 0; i < 200; i++) {
		const char *request = requests[(size_t)i % COUNT_OF(requests)];
		int fd = rig_connect(&rig);

		assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
		for (int turns = i / 4 % 4; turns > 0; turns--)
			(void)uv_run(&rig.loop, UV_RUN_NOWAIT);
		close(fd);
	}
	assert_int_equal(rig_status(&rig, "GET", "/health/ready", ""), 200);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_health_when_starting_then_only_health_answers),
		cmocka_unit_test(test_health_when_ready),
		cmocka_unit_test(test_health_when_database_is_lost_then_not_ready_after_the_grace),
		cmocka_unit_test(test_instances_drain_and_undrain_are_idempotent),
		cmocka_unit_test(test_instances_when_stopping_then_409),
		cmocka_unit_test(test_limit_answers_429_with_its_headers),
		cmocka_unit_test(test_paths_and_methods),
		cmocka_unit_test(test_client_that_leaves_is_no_leak),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
