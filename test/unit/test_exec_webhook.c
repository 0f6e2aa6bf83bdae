/* SPDX-License-Identifier: Apache-2.0
 *
 * http attempts against a real server on loopback: what is sent, what each kind of answer or
 * silence becomes, what is refused, and that connections are kept. */
#include "base/clock.h"
#include "exec_rig.h"
#include "http_target.h"

struct world {
	struct rig rig;
	struct target target;
};

static void world_open(struct world *world)
{
	rig_init(&world->rig);
	rig_open(&world->rig);
	target_start(&world->target);
}

static void world_close(struct world *world)
{
	rig_close(&world->rig);
	target_stop(&world->target);
}

/* The URL is the job's until job_free. */
static void job_url(struct job *job, const struct world *world, const char *path)
{
	job_init(job, ACTION_HTTP);
	job->action.http.url = xasprintf("http://127.0.0.1:%d%s", world->target.port, path);
}

/* One range; borrowed. */
static void job_expect(struct job *job, struct number_range *range)
{
	job->action.http.expect = range;
	job->action.http.expect_count = 1;
}

static void job_free(struct job *job)
{
	free(job->action.http.url);
	job_fini(job);
}

/* In expected texts @ stands for the address of the target. */
static char *with_address(const struct world *world, const char *text)
{
	size_t before = strcspn(text, "@");

	if (text[before] == '\0')
		return xstrdup(text);
	return xasprintf(
		"%.*s127.0.0.1:%d%s", (int)before, text, world->target.port, text + before + 1);
}

static void job_assert_http(const struct world *world, const struct job *job,
	enum attempt_outcome outcome, int status, const char *error)
{
	auto_free char *text = error != NULL ? with_address(world, error) : NULL;

	job_assert(job, outcome, -1, text);
	assert_int_equal(job->result.http_status, status);
}

struct row {
	const char *path;
	enum attempt_outcome outcome;
	int status;
	const char *error;
};

static void assert_rows(const struct row *rows, size_t count)
{
	struct world world;

	world_open(&world);
	for (size_t i = 0; i < count; i++) {
		struct job job;

		job_url(&job, &world, rows[i].path);
		job_run(&world.rig, &job);
		job_assert_http(&world, &job, rows[i].outcome, rows[i].status, rows[i].error);
		job_free(&job);
	}
	world_close(&world);
}

/* --- answers --- */

static void test_statuses(void **state)
{
	static const struct row rows[] = {
		{"/status/200", ATTEMPT_SUCCEEDED, 200, NULL},
		{"/status/299", ATTEMPT_SUCCEEDED, 299, NULL},
		{"/204", ATTEMPT_SUCCEEDED, 204, NULL},
		{"/status/300", ATTEMPT_FAILED, 300, "status 300 is outside 200-299"},
		{"/status/302", ATTEMPT_FAILED, 302, "status 302 is outside 200-299"},
		{"/status/404", ATTEMPT_FAILED, 404, "status 404 is outside 200-299"},
		{"/status/500", ATTEMPT_FAILED, 500, "status 500 is outside 200-299"},
		{"/status/503", ATTEMPT_FAILED, 503, "status 503 is outside 200-299"},
	};

	assert_rows(rows, COUNT_OF(rows));
}

static void test_the_body_is_the_output_even_of_a_failure(void **state)
{
	struct world world;
	struct job job;

	world_open(&world);
	job_url(&job, &world, "/status/500");
	job_run(&world.rig, &job);
	job_assert_output(&job, "a body");
	job_free(&job);
	world_close(&world);
}

static void test_expected_range(void **state)
{
	struct world world;
	struct job job;

	world_open(&world);
	job_url(&job, &world, "/status/404");
	job_expect(&job, &(struct number_range){404, 404});
	job_run(&world.rig, &job);
	job_assert_http(&world, &job, ATTEMPT_SUCCEEDED, 404, NULL);
	job_free(&job);

	job_url(&job, &world, "/status/200");
	job_expect(&job, &(struct number_range){201, 204});
	job_run(&world.rig, &job);
	job_assert_http(&world, &job, ATTEMPT_FAILED, 200, "status 200 is outside 201-204");
	job_free(&job);

	/* Who expects a redirect gets it. */
	job_url(&job, &world, "/redirect/1");
	job_expect(&job, &(struct number_range){302, 302});
	job_run(&world.rig, &job);
	job_assert_http(&world, &job, ATTEMPT_SUCCEEDED, 302, NULL);
	job_assert_output(&job, "not the body");
	job_free(&job);
	world_close(&world);
}

static void test_redirects(void **state)
{
	static const struct row rows[] = {
		{"/redirect/5", ATTEMPT_SUCCEEDED, 200, NULL},
		{"/redirect/6", ATTEMPT_FAILED, 302,
			"more than 5 redirects; the last answer came from @"},
		{"/circle", ATTEMPT_FAILED, 302,
			"more than 5 redirects; the last answer came from @"},
		{"/to?file:///etc/passwd", ATTEMPT_FAILED, 302,
			"redirected to file://, but only http and https are followed"},
		{"/to?gopher://127.0.0.1:9/", ATTEMPT_FAILED, 302,
			"redirected to gopher://, but only http and https are followed"},
		{"/to?http://169.254.169.254/latest/meta-data/", ATTEMPT_FAILED, 302,
			"169.254.169.254:80 is a link-local address and is not called"},
		{"/to?http://10.0.0.1:8080/", ATTEMPT_FAILED, 302,
			"10.0.0.1:8080 is a private address and is not called; set "
			"allow_private_targets = true to allow it"},
		{"/to?http://[::ffff:10.0.0.1]/", ATTEMPT_FAILED, 302,
			"[::ffff:10.0.0.1]:80 is a private address and is not called; set "
			"allow_private_targets = true to allow it"},
		{"/to?http://0/", ATTEMPT_FAILED, 302,
			"0.0.0.0:80 is an unspecified address and is not called"},
	};

	assert_rows(rows, COUNT_OF(rows));
}

static void test_broken_answers(void **state)
{
	static const struct row rows[] = {
		{"/close", ATTEMPT_FAILED, 0, "@ closed the connection without an answer"},
		{"/reset", ATTEMPT_FAILED, 0,
			"request to @ failed: Recv failure: Connection reset by peer"},
		{"/ssh", ATTEMPT_FAILED, 0,
			"@ answers with something that is not HTTP; is the port right?"},
		{"/headers?Broken|", ATTEMPT_FAILED, 503,
			"request to @ failed: Header without colon"},
		{"/short", ATTEMPT_FAILED, 200,
			"request to @ failed: transfer closed with 90 bytes remaining to read"},
		{"/big/104857600", ATTEMPT_FAILED, 200,
			"reading the answer of @ was stopped: its body is longer than 16 MiB"},
		{"/endless", ATTEMPT_FAILED, 200,
			"reading the answer of @ was stopped: its body is longer than 16 MiB"},
		{"/flood", ATTEMPT_FAILED, 200,
			"reading the answer of @ was stopped: its headers are longer than 256 KiB"},
	};

	assert_rows(rows, COUNT_OF(rows));
}

static void test_long_answer_keeps_beginning_and_end(void **state)
{
	struct world world;
	struct job job;

	world_open(&world);
	job_url(&job, &world, "/big/16777216");
	job_run(&world.rig, &job);
	job_assert_http(&world, &job, ATTEMPT_SUCCEEDED, 200, NULL);
	assert_int_equal(job.result.output_total, 16777216);
	assert_memory_equal(job.result.output + RIG_OUTPUT_MAX / 4,
		"\n[... 16711680 bytes left out ...]\n", 35);
	assert_int_equal(job.result.output_len, 35 + RIG_OUTPUT_MAX);
	job_free(&job);
	world_close(&world);
}

/* --- silence --- */

static void assert_times_out(struct world *world, const char *path, int status, const char *error)
{
	struct job job;

	job_url(&job, world, path);
	job.action.timeout_ms = 200;
	job_run(&world->rig, &job);
	job_assert_http(world, &job, ATTEMPT_TIMED_OUT, status, error);
	job_free(&job);
}

static void test_silence_times_out(void **state)
{
	struct world world;

	world_open(&world);
	assert_times_out(
		&world, "/hang", 0, "timed out after 200ms while waiting for the answer of @");
	assert_times_out(&world, "/hang-head", 200,
		"timed out after 200ms while reading the answer of @, after 0 bytes of its body");
	assert_times_out(&world, "/hang-body", 200,
		"timed out after 200ms while reading the answer of @, after 10 bytes of its body");
	world_close(&world);
}

/* A full accept queue: the kernel answers no further SYN. */
static void test_silence_while_connecting_times_out(void **state)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct world world = {0};
	int listener = target_listen(0, &world.target.port);
	int fillers[4];

	address.sin_port = htons((uint16_t)world.target.port);
	for (size_t i = 0; i < COUNT_OF(fillers); i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)connect(fillers[i], (struct sockaddr *)&address, sizeof(address));
	}
	rig_init(&world.rig);
	rig_open(&world.rig);
	assert_times_out(&world, "/", 0, "timed out after 200ms while connecting to @");
	rig_close(&world.rig);
	for (size_t i = 0; i < COUNT_OF(fillers); i++)
		(void)close(fillers[i]);
	(void)close(listener);
}

static void test_nobody_listens(void **state)
{
	struct world world = {0};
	struct job job;

	(void)close(target_listen(1, &world.target.port));
	rig_init(&world.rig);
	rig_open(&world.rig);
	job_url(&job, &world, "/");
	job_run(&world.rig, &job);
	job_assert_http(&world, &job, ATTEMPT_FAILED, 0, "connect to @ failed: Connection refused");
	job_free(&job);
	rig_close(&world.rig);
}

static void test_unknown_host(void **state)
{
	struct rig rig;
	struct job job;

	rig_init(&rig);
	rig_open(&rig);
	job_init(&job, ACTION_HTTP);
	job.action.http.url = (char *)(uintptr_t) "http://host.invalid/"; /* RFC 6761: never */
	job_run(&rig, &job);
	job_assert(&job, ATTEMPT_FAILED, -1, "the host name host.invalid cannot be resolved");
	job_fini(&job);
	rig_close(&rig);
}

/* --- being ended --- */

static void test_end_and_kill(void **state)
{
	struct world world;
	struct job jobs[3];

	world_open(&world);
	for (size_t i = 0; i < COUNT_OF(jobs); i++) {
		job_url(&jobs[i], &world, "/hang");
		job_start(&world.rig, &jobs[i]);
	}
	while (atomic_load(&world.target.requests) < 3)
		(void)uv_run(&world.rig.loop, UV_RUN_NOWAIT);
	assert_true(exec_end(world.rig.exec, &jobs[0].run.id, ATTEMPT_CANCELLED));
	assert_true(exec_end(world.rig.exec, &jobs[0].run.id, ATTEMPT_CANCELLED));
	assert_true(exec_end(world.rig.exec, &jobs[1].run.id, ATTEMPT_INTERRUPTED));
	assert_false(jobs[0].is_done);
	exec_kill_all(world.rig.exec);
	for (size_t i = 0; i < COUNT_OF(jobs); i++) {
		rig_wait(&world.rig, &jobs[i].is_done);
		job_assert_http(&world, &jobs[i], i == 0 ? ATTEMPT_CANCELLED : ATTEMPT_INTERRUPTED,
			0,
			i == 0 ? "cancelled while waiting for the answer of @"
			       : "interrupted by the server while waiting for the answer of @");
		job_free(&jobs[i]);
	}
	world_close(&world);
}

static void test_end_right_after_start(void **state)
{
	struct world world;

	world_open(&world);
	for (int i = 0; i < 20; i++) {
		struct job job;

		job_url(&job, &world, "/hang");
		job_start(&world.rig, &job);
		assert_true(exec_end(world.rig.exec, &job.run.id, ATTEMPT_CANCELLED));
		rig_wait(&world.rig, &job.is_done);
		assert_int_equal(job.result.outcome, ATTEMPT_CANCELLED);
		job_free(&job);
	}
	world_close(&world);
}

/* --- the request --- */

/* The request as the target saw it. */
static char *echoed(struct world *world, struct job *job)
{
	char *text;

	job_run(&world->rig, job);
	job_assert_http(world, job, ATTEMPT_SUCCEEDED, 200, NULL);
	text = take_ptr(job->result.output);
	job_free(job);
	return text;
}

/* It differs each time; its form is asserted, its digits become dots. */
static void blank_traceparent(char *request)
{
	char *digits = strstr(request, "traceparent: 00-");

	assert_non_null(digits);
	digits += strlen("traceparent: 00-");
	assert_int_equal(strspn(digits, "0123456789abcdef"), 32);
	assert_int_equal(strspn(digits + 33, "0123456789abcdef"), 16);
	memset(digits, '.', 32);
	memset(digits + 33, '.', 16);
	digits = strstr(request, "webhook-timestamp: ") + strlen("webhook-timestamp: ");
	assert_in_range(*digits, '4', '9'); /* exec_rig.h: it started at 4.711 s */
	*digits = '.';
}

static void test_a_get_is_exactly_this(void **state)
{
	char run[ID_TEXT_SIZE], action[ID_TEXT_SIZE];
	auto_free char *expected = NULL, *seen = NULL;
	struct world world;
	struct job job;

	assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1/", 1), 0);
	assert_int_equal(setenv("all_proxy", "http://127.0.0.1:1/", 1), 0);
	world_open(&world);
	job_url(&job, &world, "/echo");
	expected =
		xasprintf("GET /echo HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
			  "User-Agent: gathering/test\r\nAccept: */*\r\n"
			  "Idempotency-Key: %s/2026-11-22T01:30:00Z\r\n"
			  "X-Gathering-Run-Id: %s\r\n"
			  "X-Gathering-Due-At: 2026-11-22T01:30:00Z\r\n"
			  "X-Gathering-Attempt: 2\r\nX-Gathering-Epoch: 7\r\n"
			  "traceparent: 00-................................-................-01\r\n"
			  "webhook-id: %s\r\nwebhook-timestamp: .\r\n\r\n",
			world.target.port, id_format(&job.action.id, action),
			id_format(&job.run.id, run), run);
	seen = echoed(&world, &job);
	blank_traceparent(seen);
	assert_string_equal(seen, expected);
	world_close(&world);
	(void)unsetenv("http_proxy");
	(void)unsetenv("all_proxy");
}

static void assert_content_type(struct world *world, const char *body, const char *expected)
{
	auto_free char *line = xasprintf("\r\nContent-Type: %s\r\n", expected);
	auto_free char *seen = NULL;
	struct job job;

	job_url(&job, world, "/echo");
	job.action.http.method = (char *)(uintptr_t) "POST";
	job.action.http.body = (char *)(uintptr_t)body;
	seen = echoed(world, &job);
	assert_memory_equal(seen, "POST /echo HTTP/1.1\r\n", 21);
	assert_non_null(strstr(seen, line));
	assert_string_equal(strstr(seen, "\r\n\r\n") + 4, body);
}

static void test_body_and_content_type(void **state)
{
	struct name_value own = {
		(char *)(uintptr_t) "content-type", (char *)(uintptr_t) "text/csv"};
	auto_free char *seen = NULL, *bare = NULL;
	struct world world;
	struct job job;

	world_open(&world);
	assert_content_type(&world, "{\"day\": 1}", "application/json");
	assert_content_type(&world, " \n[1]", "application/json");
	assert_content_type(&world, "day=1", "text/plain; charset=utf-8");
	job_url(&job, &world, "/echo");
	job.action.http.method = (char *)(uintptr_t) "POST";
	job.action.http.body = (char *)(uintptr_t) "{}";
	job.action.http.headers = &own;
	job.action.http.header_count = 1;
	seen = echoed(&world, &job);
	assert_non_null(strstr(seen, "\r\ncontent-type: text/csv\r\n"));
	assert_null(strstr(seen, "application/json"));

	job_url(&job, &world, "/echo");
	job.action.http.method = (char *)(uintptr_t) "POST";
	bare = echoed(&world, &job);
	assert_non_null(strstr(bare, "\r\nContent-Length: 0\r\n"));
	assert_null(strcasestr(bare, "Content-Type"));
	world_close(&world);
}

/* libcurl asks for "100 Continue" above 1 MiB unless told otherwise, and waits a second for it. */
static void test_long_bodies_are_sent_without_asking(void **state)
{
	size_t len = (1 << 20) + 4096;
	auto_free char *body = xmalloc(len + 1);
	auto_free char *seen = NULL;
	struct world world;
	struct job job;

	memset(body, 'b', len);
	body[len] = '\0';
	rig_init(&world.rig);
	world.rig.opts.output_max = 2 * len;
	rig_open(&world.rig);
	target_start(&world.target);
	job_url(&job, &world, "/echo");
	job.action.http.method = (char *)(uintptr_t) "PUT";
	job.action.http.body = body;
	seen = echoed(&world, &job);
	assert_null(strcasestr(seen, "\nExpect"));
	assert_string_equal(strstr(seen, "\r\n\r\n") + 4, body);
	world_close(&world);
}

static void test_own_headers_and_methods(void **state)
{
	static const char *const methods[] = {"PUT", "PATCH", "DELETE", "OPTIONS"};
	struct name_value own[] = {
		{(char *)(uintptr_t) "X-Team", (char *)(uintptr_t) "data"},
		{(char *)(uintptr_t) "X-Empty", (char *)(uintptr_t) ""},
		{(char *)(uintptr_t) "User-Agent", (char *)(uintptr_t) "mine/1.0"},
	};
	struct world world;
	struct job job;

	world_open(&world);
	for (size_t i = 0; i < COUNT_OF(methods); i++) {
		auto_free char *line = xasprintf("%s /echo HTTP/1.1\r\n", methods[i]);
		auto_free char *seen = NULL;

		job_url(&job, &world, "/echo");
		job.action.http.method = (char *)(uintptr_t)methods[i];
		job.action.http.headers = own;
		job.action.http.header_count = COUNT_OF(own);
		seen = echoed(&world, &job);
		assert_memory_equal(seen, line, strlen(line));
		assert_non_null(strstr(seen, "\r\nX-Team: data\r\n"));
		assert_non_null(strstr(seen, "\r\nX-Empty:\r\n"));
		assert_non_null(strstr(seen, "\r\nUser-Agent: mine/1.0\r\n"));
		assert_null(strstr(seen, "gathering/test"));
	}
	job_url(&job, &world, "/big/100");
	job.action.http.method = (char *)(uintptr_t) "HEAD";
	job_run(&world.rig, &job);
	job_assert_http(&world, &job, ATTEMPT_SUCCEEDED, 200, NULL);
	job_assert_output(&job, "");
	job_free(&job);
	world_close(&world);
}

/* RFC 9110 section 15.4: 302 makes a POST a GET, 307 repeats it. */
static void test_redirected_posts(void **state)
{
	auto_free char *first = NULL, *second = NULL;
	struct world world;
	struct job job;

	world_open(&world);
	job_url(&job, &world, "/to?/echo");
	job.action.http.method = (char *)(uintptr_t) "POST";
	job.action.http.body = (char *)(uintptr_t) "text";
	first = echoed(&world, &job);
	assert_memory_equal(first, "GET /echo ", 10);
	assert_null(strstr(first, "text\n"));
	job_url(&job, &world, "/via/307?/echo");
	job.action.http.method = (char *)(uintptr_t) "POST";
	job.action.http.body = (char *)(uintptr_t) "text";
	second = echoed(&world, &job);
	assert_memory_equal(second, "POST /echo ", 11);
	assert_string_equal(strstr(second, "\r\n\r\n"), "\r\n\r\ntext");
	world_close(&world);
}

/* --- Retry-After --- */

static void test_retry_after(void **state)
{
	static const struct {
		const char *path;
		int64_t expected_ms;
	} rows[] = {
		{"/status/503", -1},
		{"/headers?Retry-After:120", 120000},
		{"/headers?Retry-After:++120+", 120000},
		{"/headers?retry-AFTER:0", 0},
		{"/headers?Retry-After:99999999999999999999", -1},
		{"/headers?Retry-After:999999999", 7 * 24 * 3600 * 1000LL},
		{"/headers?Retry-After:soon", -1},
		/* a moment means something beside the target's own clock only */
		{"/headers?Retry-After:Sun,+22+Nov+2026+01:30:00+GMT", -1},
		{"/headers?Retry-After:Sun,+22+Nov+2026+01:30:00+GMT|"
		 "Date:Sun,+22+Nov+2026+01:28:30+GMT",
			90000},
		{"/headers?Date:Sun,+22+Nov+2026+01:30:30+GMT|"
		 "Retry-After:Sun,+22+Nov+2026+01:30:00+GMT",
			0},
	};
	struct world world;

	world_open(&world);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct job job;

		job_url(&job, &world, rows[i].path);
		job_run(&world.rig, &job);
		if (job.result.retry_after_ms != rows[i].expected_ms)
			fail_msg("%s: %lld", rows[i].path, (long long)job.result.retry_after_ms);
		job_free(&job);
	}
	world_close(&world);
}

/* --- connections --- */

static void test_connections_are_used_again(void **state)
{
	struct world world;

	world_open(&world);
	for (int i = 0; i < 20; i++) {
		struct job job;

		job_url(&job, &world, "/status/200");
		job_run(&world.rig, &job);
		job_assert_http(&world, &job, ATTEMPT_SUCCEEDED, 200, NULL);
		job_free(&job);
	}
	assert_int_equal(atomic_load(&world.target.accepts), 1);
	world_close(&world);
}

static void test_many_at_once_twice(void **state)
{
	static struct job jobs[300];
	struct world world;

	world_open(&world);
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < COUNT_OF(jobs); i++) {
			job_url(&jobs[i], &world, "/status/200");
			job_start(&world.rig, &jobs[i]);
		}
		assert_int_equal(exec_in_flight(world.rig.exec), COUNT_OF(jobs));
		for (size_t i = 0; i < COUNT_OF(jobs); i++) {
			rig_wait(&world.rig, &jobs[i].is_done);
			assert_int_equal(jobs[i].callbacks, 1);
			job_assert_http(&world, &jobs[i], ATTEMPT_SUCCEEDED, 200, NULL);
			job_free(&jobs[i]);
		}
	}
	assert_int_equal(atomic_load(&world.target.requests), 2 * COUNT_OF(jobs));
	assert_in_range(atomic_load(&world.target.accepts), 1, COUNT_OF(jobs));
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_statuses),
		cmocka_unit_test(test_the_body_is_the_output_even_of_a_failure),
		cmocka_unit_test(test_expected_range),
		cmocka_unit_test(test_redirects),
		cmocka_unit_test(test_broken_answers),
		cmocka_unit_test(test_long_answer_keeps_beginning_and_end),
		cmocka_unit_test(test_silence_times_out),
		cmocka_unit_test(test_silence_while_connecting_times_out),
		cmocka_unit_test(test_nobody_listens),
		cmocka_unit_test(test_unknown_host),
		cmocka_unit_test(test_end_and_kill),
		cmocka_unit_test(test_end_right_after_start),
		cmocka_unit_test(test_a_get_is_exactly_this),
		cmocka_unit_test(test_body_and_content_type),
		cmocka_unit_test(test_long_bodies_are_sent_without_asking),
		cmocka_unit_test(test_own_headers_and_methods),
		cmocka_unit_test(test_redirected_posts),
		cmocka_unit_test(test_retry_after),
		cmocka_unit_test(test_connections_are_used_again),
		cmocka_unit_test(test_many_at_once_twice),
	};

	return cmocka_run_group_tests_name("exec_webhook", tests, NULL, NULL);
}
