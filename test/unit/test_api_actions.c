/* SPDX-License-Identifier: Apache-2.0
 *
 * Actions, runs and previews over a real socket, on the memory store, with a real scheduler and
 * executor. */
#include "api_rig.h"

#define HTTP_TARGET "\"kind\": \"http\", \"http\": {\"url\": \"http://127.0.0.1:9/\"}"
#define ECHO_TARGET "\"kind\": \"exec\", \"exec\": {\"command\": [\"/bin/echo\", \"hello\"]}"
#define DAILY       "\"schedule\": {\"cron\": \"30 2 * * *\"}"

static struct rig *open_rig(void)
{
	static struct rig rig;

	rig = (struct rig){0};
	rig_open(&rig);
	rig_ready(&rig);
	return &rig;
}

static void create(struct rig *rig, const char *body)
{
	struct answer answer = rig_ask(rig, "POST", "/api/v1/actions", body);

	if (answer.status != 201)
		fail_msg("%s", answer.body);
	answer_fini(&answer);
}

struct refused {
	const char *method, *path, *headers, *body;
	int status;
	const char *pointer; /* NULL: any */
};

static void assert_problem(struct rig *rig, const struct refused *refused)
{
	struct answer answer =
		rig_ask_with(rig, refused->method, refused->path, refused->headers, refused->body);

	if (answer.status != refused->status)
		fail_msg("%s %s %s: %d %s", refused->method, refused->path, refused->body,
			answer.status, answer.body);
	assert_string_equal(answer_header(&answer, "Content-Type"), "application/problem+json");
	assert_int_equal(answer_number(&answer, "status"), refused->status);
	assert_true(*answer_text(&answer, "code") && *answer_text(&answer, "title") &&
		    *answer_text(&answer, "request_id"));
	if (refused->pointer)
		assert_string_equal(answer_text(&answer, "errors.0.pointer"), refused->pointer);
	answer_fini(&answer);
}

static void test_action_is_created_read_and_deleted(void **state)
{
	struct rig *rig = open_rig();
	struct answer answer;
	auto_free char *path = NULL;

	answer = rig_ask(rig, "POST", "/api/v1/actions",
		"{\"name\": \"nightly-report\", " HTTP_TARGET ", " DAILY ", \"tags\": [\"a\"]}");
	assert_int_equal(answer.status, 201);
	assert_string_equal(answer_header(&answer, "ETag"), "\"1\"");
	path = xstrdup(answer_header(&answer, "Location"));
	assert_int_equal(strncmp(path, "/api/v1/actions/", 16), 0);
	assert_string_equal(path + 16, answer_text(&answer, "id"));
	assert_string_equal(answer_text(&answer, "state"), "active");
	assert_true(strstr(answer_text(&answer, "next_due_at"), "T02:30:00Z") != NULL);
	assert_null(answer_at(&answer, "warnings"));
	answer_fini(&answer);

	answer = rig_ask(rig, "GET", path, "");
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer_text(&answer, "name"), "nightly-report");
	answer_fini(&answer);
	answer = rig_ask(rig, "GET", "/api/v1/actions/nightly%2Dreport", "");
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer_header(&answer, "ETag"), "\"1\"");
	/* what was read can be sent back */
	{
		auto_free char *text = json_dumps(answer.json, 0);

		assert_int_equal(rig_status(rig, "PUT", path, text), 200);
	}
	answer_fini(&answer);
	assert_problem(
		rig, &(struct refused){"POST", "/api/v1/actions", "",
			     "{\"name\": \"nightly-report\", " HTTP_TARGET "}", 409, "/name"});
	assert_int_equal(rig_status(rig, "DELETE", path, ""), 204);
	assert_problem(rig, &(struct refused){"DELETE", path, "", "", 404, NULL});
	assert_problem(rig, &(struct refused){"GET", path, "", "", 404, NULL});
	rig_close(rig);
}

static const struct {
	const char *headers, *body;
	int status;
	const char *pointer;
} bad_actions[] = {
	{"", "{", 400, NULL},
	{"", "", 400, NULL},
	{"", "{\"name\": \"a\", \"name\": \"b\"}", 400, NULL},
	{"", "{} {}", 400, NULL},
	{"", "{\"name\": \"\xff\"}", 400, NULL},
	{"Content-Type: text/plain\r\n", "{}", 415, NULL},
	{"Content-Type: application/merge-patch+json\r\n", "{}", 415, NULL},
	{"Content-Type: application/jsonx\r\n", "{}", 415, NULL},
	{"", "3", 422, ""},
	{"", "{\"name\": 7, " HTTP_TARGET "}", 422, "/name"},
	{"", "{\"name\": \"a\", " HTTP_TARGET ", \"colour\": 1}", 422, "/colour"},
	{"", "{\"name\": \"a\", " HTTP_TARGET ", \"schedule\": {\"cron\": \"0 25 * * *\"}}", 422,
		"/schedule/cron"},
	{"", "{\"name\": \"a\", " HTTP_TARGET ", \"schedule\": {\"at\": \"2020-01-01T00:00:00Z\"}}",
		422, "/schedule/at"},
	{"", "{\"name\": \"a\", \"kind\": \"exec\", \"exec\": {\"command\": [\"/opt/x\"]}}", 403,
		"/exec/command"},
	{"", "[]", 422, ""},
	{"", "{\"items\": 3}", 422, "/items"},
	{"",
		"[{\"name\": \"a\", " HTTP_TARGET "}, {\"name\": \"b\", " HTTP_TARGET ", "
		"\"schedule\": {\"cron\": \"x\"}}]",
		422, "/1/schedule/cron"},
	{"", "{\"items\": [{\"name\": \"a\", " HTTP_TARGET ", \"priority\": 1000}]}", 422,
		"/items/0/priority"},
	{"", "[{\"name\": \"a\", " HTTP_TARGET "}, {\"name\": \"a\", " HTTP_TARGET "}]", 409,
		"/1/name"},
	{"",
		"[{\"name\": \"a\", " HTTP_TARGET "}, {\"name\": \"c\", \"kind\": \"exec\", "
		"\"exec\": {\"command\": [\"/opt/x\"]}}]",
		403, "/1/exec/command"},
};

static void test_action_when_input_is_bad_then_the_problem_names_it(void **state)
{
	struct rig *rig = open_rig();
	struct answer answer;

	for (size_t i = 0; i < COUNT_OF(bad_actions); i++)
		assert_problem(rig, &(struct refused){"POST", "/api/v1/actions",
					    bad_actions[i].headers, bad_actions[i].body,
					    bad_actions[i].status, bad_actions[i].pointer});
	answer = rig_ask(rig, "GET", "/api/v1/actions?total=true", "");
	assert_int_equal(answer_number(&answer, "total"), 0);
	answer_fini(&answer);
	rig_close(rig);
}

static void test_action_when_version_differs_then_412(void **state)
{
	struct rig *rig = open_rig();
	struct answer answer;

	create(rig, "{\"name\": \"a\", " HTTP_TARGET "}");
	answer = rig_ask_with(rig, "PATCH", "/api/v1/actions/a",
		"If-Match: \"1\"\r\nContent-Type: application/merge-patch+json\r\n",
		"{\"priority\": 5}");
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer_header(&answer, "ETag"), "\"2\"");
	assert_int_equal(answer_number(&answer, "priority"), 5);
	answer_fini(&answer);
	assert_problem(rig, &(struct refused){"PATCH", "/api/v1/actions/a", "If-Match: \"1\"\r\n",
				    "{\"priority\": 6}", 412, NULL});
	assert_problem(rig, &(struct refused){"PUT", "/api/v1/actions/a", "If-Match: \"1\"\r\n",
				    "{\"name\": \"a\", " HTTP_TARGET "}", 412, NULL});
	assert_problem(rig, &(struct refused){"POST", "/api/v1/actions/a/pause",
				    "If-Match: \"1\"\r\n", "", 412, NULL});
	assert_problem(rig, &(struct refused){"POST", "/api/v1/actions/a/resume",
				    "If-Match: \"1\"\r\n", "", 412, NULL});
	assert_problem(rig, &(struct refused){"DELETE", "/api/v1/actions/a", "If-Match: \"1\"\r\n",
				    "", 412, NULL});
	assert_problem(rig,
		&(struct refused){"DELETE", "/api/v1/actions/a", "If-Match: 2\r\n", "", 400, NULL});
	assert_problem(rig, &(struct refused){"PUT", "/api/v1/actions/b", "",
				    "{\"name\": \"b\", " HTTP_TARGET "}", 404, NULL});
	assert_problem(rig, &(struct refused){"PATCH", "/api/v1/actions/a", "",
				    "{\"priority\": \"high\"}", 422, "/priority"});
	answer = rig_ask_with(rig, "PUT", "/api/v1/actions/a", "If-Match: \"2\"\r\n",
		"{\"name\": \"renamed\", " HTTP_TARGET "}");
	assert_int_equal(answer.status, 200);
	assert_int_equal(answer_number(&answer, "priority"), 0);
	answer_fini(&answer);
	assert_int_equal(rig_status(rig, "GET", "/api/v1/actions/a", ""), 404);
	assert_int_equal(rig_status(rig, "GET", "/api/v1/actions/renamed", ""), 200);
	rig_close(rig);
}

static void test_action_is_paused_and_resumed(void **state)
{
	struct rig *rig = open_rig();
	struct answer answer;

	create(rig, "{\"name\": \"a\", " HTTP_TARGET ", " DAILY ", \"pause_records\": false}");
	for (int i = 0; i < 2; i++) {
		answer = rig_ask(rig, "POST", "/api/v1/actions/a/pause", "");
		assert_int_equal(answer.status, 200);
		assert_string_equal(answer_text(&answer, "state"), "paused");
		assert_string_equal(answer_header(&answer, "ETag"), "\"2\"");
		assert_true(json_is_null(answer_at(&answer, "next_due_at")));
		answer_fini(&answer);
	}
	for (int i = 0; i < 2; i++) {
		answer = rig_ask(rig, "POST", "/api/v1/actions/a/resume", "{}");
		assert_int_equal(answer.status, 200);
		assert_string_equal(answer_text(&answer, "state"), "active");
		assert_string_equal(answer_header(&answer, "ETag"), "\"3\"");
		assert_true(json_is_string(answer_at(&answer, "next_due_at")));
		answer_fini(&answer);
	}
	assert_problem(rig,
		&(struct refused){"POST", "/api/v1/actions/a/pause", "", "{\"x\": 1}", 400, NULL});
	rig_close(rig);
}

static void test_actions_are_listed_a_page_at_a_time(void **state)
{
	struct rig *rig = open_rig();
	auto_free char *path = xstrdup("/api/v1/actions?limit=2");
	struct answer answer;
	char seen[32] = "";

	create(rig, "[{\"name\": \"e\", " HTTP_TARGET "}, {\"name\": \"b\", " HTTP_TARGET "}, "
		    "{\"name\": \"a\", " HTTP_TARGET
		    ", \"tags\": [\"x\"]}, {\"name\": \"d\", " ECHO_TARGET
		    "}, {\"name\": \"c\", " HTTP_TARGET "}]");
	for (int pages = 0; path; pages++) {
		assert_true(pages < 3);
		answer = rig_ask(rig, "GET", path, "");
		assert_int_equal(answer.status, 200);
		free(take_ptr(path));
		for (size_t i = 0; i < json_array_size(answer_at(&answer, "items")); i++) {
			char at[32];

			(void)snprintf(at, sizeof(at), "items.%zu.name", i);
			strncat(seen, answer_text(&answer, at), 1);
		}
		if (answer_at(&answer, "next_cursor"))
			path = xasprintf("/api/v1/actions?limit=2&cursor=%s",
				answer_text(&answer, "next_cursor"));
		answer_fini(&answer);
	}
	assert_string_equal(seen, "abcde");
	answer = rig_ask(rig, "GET", "/api/v1/actions?tag=x&total=true&kind=http&state=active", "");
	assert_int_equal(json_array_size(answer_at(&answer, "items")), 1);
	assert_int_equal(answer_number(&answer, "total"), 1);
	answer_fini(&answer);
	assert_problem(
		rig, &(struct refused){"GET", "/api/v1/actions?colour=red", "", "", 400, NULL});
	assert_problem(rig, &(struct refused){"GET", "/api/v1/actions?limit=0", "", "", 400, NULL});
	assert_problem(rig,
		&(struct refused){"GET", "/api/v1/actions?limit=1&limit=2", "", "", 400, NULL});
	assert_problem(
		rig, &(struct refused){"GET", "/api/v1/actions?kind=mail", "", "", 400, NULL});
	assert_problem(
		rig, &(struct refused){"GET", "/api/v1/actions?cursor=abc", "", "", 400, NULL});
	assert_problem(
		rig, &(struct refused){"GET", "/api/v1/actions?total=maybe", "", "", 400, NULL});
	rig_close(rig);
}

/* The run once it has left the states in which something still happens to it. */
static struct answer wait_for_run(struct rig *rig, const char *path)
{
	for (;;) {
		struct answer answer = rig_ask(rig, "GET", path, "");
		const char *run_state = answer_text(&answer, "state");

		assert_int_equal(answer.status, 200);
		if (strcmp(run_state, "pending") != 0 && strcmp(run_state, "running") != 0)
			return answer;
		answer_fini(&answer);
	}
}

/* Runs the action `a`, whose output is not all UTF-8; the path of the run, owned by the caller. */
static char *run_once(struct rig *rig)
{
	struct answer answer;
	char *path;

	create(rig, "{\"name\": \"a\", \"kind\": \"exec\", \"exec\": {\"shell\": true, "
		    "\"command\": [\"printf 'caf\\\\303\\\\251 \\\\377'\"]}}");
	answer = rig_ask(rig, "POST", "/api/v1/actions/a/run", "");
	assert_int_equal(answer.status, 202);
	path = xstrdup(answer_header(&answer, "Location"));
	assert_string_equal(answer_text(&answer, "trigger"), "manual");
	answer_fini(&answer);
	answer = wait_for_run(rig, path);
	assert_string_equal(answer_text(&answer, "state"), "succeeded");
	answer_fini(&answer);
	return path;
}

static void assert_run_problem(
	struct rig *rig, const char *method, const char *run_path, const char *rest, int status)
{
	auto_free char *path = xasprintf("%s%s", run_path, rest);

	assert_problem(rig, &(struct refused){method, path, "", "", status, NULL});
}

static void test_run_is_triggered_and_its_output_read(void **state)
{
	struct rig *rig = open_rig();
	auto_free char *path = run_once(rig), *output = xasprintf("%s/output", path);
	struct answer answer = rig_ask(rig, "GET", output, "");

	assert_int_equal(answer.status, 200);
	assert_string_equal(answer_header(&answer, "Content-Type"), "text/plain; charset=utf-8");
	assert_string_equal(answer.body, "caf\xc3\xa9 \xef\xbf\xbd");
	answer_fini(&answer);
	answer = rig_ask_with(
		rig, "GET", output, "Accept: text/html, application/octet-stream;q=0.9\r\n", "");
	assert_string_equal(answer_header(&answer, "Content-Type"), "application/octet-stream");
	assert_string_equal(answer.body, "caf\xc3\xa9 \xff");
	assert_string_equal(answer_header(&answer, "X-Gathering-Output-Total"), "7");
	answer_fini(&answer);
	assert_run_problem(rig, "GET", path, "/output?attempt=2", 404);
	assert_run_problem(rig, "GET", path, "/output?attempt=0", 400);
	assert_run_problem(rig, "POST", path, "/cancel", 409);
	rig_close(rig);
}

static const struct refused bad_run_requests[] = {
	{"GET", "/api/v1/runs?action=none", "", "", 404, NULL},
	{"GET", "/api/v1/runs?state=done", "", "", 400, NULL},
	{"GET", "/api/v1/runs?since=yesterday", "", "", 400, NULL},
	{"GET", "/api/v1/runs/a", "", "", 404, NULL},
	{"POST", "/api/v1/actions/none/run", "", "", 404, NULL},
};

static void test_runs_are_listed_by_what_is_asked_for(void **state)
{
	struct rig *rig = open_rig();
	struct answer answer;

	free(run_once(rig));
	answer = rig_ask(rig, "GET",
		"/api/v1/runs?action=a&state=succeeded,failed&state=held&trigger=manual"
		"&since=2020-01-01T00:00:00Z&total=true",
		"");
	assert_int_equal(answer.status, 200);
	assert_int_equal(answer_number(&answer, "total"), 1);
	answer_fini(&answer);
	answer = rig_ask(rig, "GET", "/api/v1/actions/a/runs?state=failed", "");
	assert_int_equal(json_array_size(answer_at(&answer, "items")), 0);
	answer_fini(&answer);
	for (size_t i = 0; i < COUNT_OF(bad_run_requests); i++)
		assert_problem(rig, &bad_run_requests[i]);
	rig_close(rig);
}

static void test_run_is_read_while_running_and_cancelled(void **state)
{
	struct rig *rig = open_rig();
	auto_free char *path = NULL, *output = NULL, *cancel = NULL;
	struct answer answer;

	create(rig, "{\"name\": \"a\", \"kind\": \"exec\", \"exec\": {\"shell\": true, "
		    "\"command\": [\"echo begun; sleep 1000\"]}}");
	answer = rig_ask(rig, "POST", "/api/v1/actions/a/run", "");
	path = xstrdup(answer_header(&answer, "Location"));
	answer_fini(&answer);
	output = xasprintf("%s/output", path);
	for (bool is_there = false; !is_there;) {
		answer = rig_ask(rig, "GET", output, "");
		is_there = answer.status == 200 && strcmp(answer.body, "begun\n") == 0;
		answer_fini(&answer);
	}
	cancel = xasprintf("%s/cancel", path);
	assert_int_equal(rig_status(rig, "POST", cancel, ""), 202);
	answer = wait_for_run(rig, path);
	assert_string_equal(answer_text(&answer, "state"), "cancelled");
	answer_fini(&answer);
	rig_close(rig);
}

static void test_runs_are_listed_newest_first(void **state)
{
	struct rig *rig = open_rig();
	auto_free char *path = xstrdup("/api/v1/runs?limit=2");
	char last[ID_TEXT_SIZE] = "g";
	size_t count = 0;

	create(rig, "{\"name\": \"a\", " ECHO_TARGET ", \"overlap\": \"allow\"}");
	for (int i = 0; i < 5; i++)
		assert_int_equal(rig_status(rig, "POST", "/api/v1/actions/a/run", ""), 202);
	while (path) {
		struct answer answer = rig_ask(rig, "GET", path, "");

		assert_int_equal(answer.status, 200);
		free(take_ptr(path));
		for (size_t i = 0; i < json_array_size(answer_at(&answer, "items")); i++) {
			char at[32];

			(void)snprintf(at, sizeof(at), "items.%zu.id", i);
			assert_true(strcmp(answer_text(&answer, at), last) < 0);
			(void)snprintf(last, sizeof(last), "%s", answer_text(&answer, at));
			count++;
		}
		if (answer_at(&answer, "next_cursor"))
			path = xasprintf("/api/v1/runs?limit=2&cursor=%s",
				answer_text(&answer, "next_cursor"));
		answer_fini(&answer);
	}
	assert_int_equal(count, 5);
	rig_close(rig);
}

/* Deleting ends what is running, or rig_close() would wait for ever. */
static void test_action_when_deleted_then_its_runs_end(void **state)
{
	struct rig *rig = open_rig();
	struct answer answer;
	bool is_running = false;

	create(rig,
		"{\"name\": \"a\", \"kind\": \"exec\", \"exec\": {\"command\": [\"/bin/sleep\", "
		"\"1000\"]}}");
	assert_int_equal(rig_status(rig, "POST", "/api/v1/actions/a/run", ""), 202);
	while (!is_running) {
		answer = rig_ask(rig, "GET", "/api/v1/runs?state=running", "");
		is_running = json_array_size(answer_at(&answer, "items")) == 1;
		answer_fini(&answer);
	}
	assert_int_equal(exec_in_flight(rig->exec), 1);
	assert_int_equal(rig_status(rig, "DELETE", "/api/v1/actions/a", ""), 204);
	while (exec_in_flight(rig->exec) > 0)
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
	rig_close(rig);
}

static void test_preview_shows_local_time_and_notes(void **state)
{
	struct rig *rig = open_rig();
	struct answer answer;

	answer = rig_ask(rig, "POST", "/api/v1/schedules/preview",
		"{\"schedule\": {\"cron\": \"30 2 * * *\", \"timezone\": \"Europe/Paris\"}, "
		"\"count\": 2, \"from\": \"2026-03-28T12:00:00Z\"}");
	assert_int_equal(answer.status, 200);
	assert_int_equal(json_array_size(answer_at(&answer, "items")), 2);
	assert_string_equal(answer_text(&answer, "items.0.due_at"), "2026-03-29T01:00:00Z");
	assert_string_equal(answer_text(&answer, "items.0.local"), "2026-03-29T03:00:00+02:00");
	assert_string_equal(answer_text(&answer, "items.0.utc_offset"), "+02:00");
	assert_string_equal(answer_text(&answer, "items.0.note"), "moved out of DST gap");
	assert_true(json_is_null(answer_at(&answer, "items.1.note")));
	assert_true(json_is_null(answer_at(&answer, "warning")));
	answer_fini(&answer);
	answer = rig_ask(rig, "POST", "/api/v1/schedules/preview",
		"{\"schedule\": {\"cron\": \"0/15 * * * *\"}}");
	assert_int_equal(json_array_size(answer_at(&answer, "items")), 10);
	assert_true(json_is_string(answer_at(&answer, "warning")));
	answer_fini(&answer);
	answer = rig_ask(rig, "POST", "/api/v1/schedules/preview",
		"{\"schedule\": {\"cron\": \"30 2 * * *\", \"jitter\": \"5m\"}, \"count\": 1, "
		"\"from\": \"2026-01-01T00:00:00Z\", \"name\": \"backup\"}");
	assert_string_equal(answer_text(&answer, "items.0.due_at"), "2026-01-01T02:32:09.168Z");
	assert_string_equal(answer_text(&answer, "items.0.nominal_at"), "2026-01-01T02:30:00Z");
	answer_fini(&answer);
	rig_close(rig);
}

static const struct refused bad_previews[] = {
	{"POST", "/api/v1/schedules/preview", "", "{}", 422, "/schedule"},
	{"POST", "/api/v1/schedules/preview", "", "{\"schedule\": {\"cron\": \"H 2 * * *\"}}", 422,
		"/schedule/cron"},
	{"POST", "/api/v1/schedules/preview", "",
		"{\"schedule\": {\"cron\": \"0 2 * * *\"}, \"name\": 5}", 422, "/name"},
	{"POST", "/api/v1/schedules/preview", "", "{\"schedule\": {\"cron\": \"61 * * * *\"}}", 422,
		"/schedule/cron"},
	{"POST", "/api/v1/schedules/preview", "",
		"{\"schedule\": {\"every\": \"1h\"}, \"count\": 1001}", 422, "/count"},
	{"POST", "/api/v1/schedules/preview", "",
		"{\"schedule\": {\"every\": \"1h\"}, \"from\": 3}", 422, "/from"},
	{"POST", "/api/v1/schedules/preview", "",
		"{\"schedule\": {\"every\": \"1h\"}, \"until\": 3}", 422, "/until"},
};

static void test_preview_when_input_is_bad_then_the_problem_names_it(void **state)
{
	struct rig *rig = open_rig();

	for (size_t i = 0; i < COUNT_OF(bad_previews); i++)
		assert_problem(rig, &bad_previews[i]);
	rig_close(rig);
}

static void test_create_shows_warnings(void **state)
{
	struct rig *rig = open_rig();
	struct answer answer = rig_ask(rig, "POST", "/api/v1/actions",
		"[{\"name\": \"a\", " HTTP_TARGET ", \"schedule\": {\"cron\": \"0/15 * * * *\"}}]");

	assert_int_equal(answer.status, 201);
	assert_int_equal(json_array_size(answer_at(&answer, "items.0.warnings")), 1);
	answer_fini(&answer);
	rig_close(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_action_is_created_read_and_deleted),
		cmocka_unit_test(test_action_when_input_is_bad_then_the_problem_names_it),
		cmocka_unit_test(test_action_when_version_differs_then_412),
		cmocka_unit_test(test_action_is_paused_and_resumed),
		cmocka_unit_test(test_actions_are_listed_a_page_at_a_time),
		cmocka_unit_test(test_run_is_triggered_and_its_output_read),
		cmocka_unit_test(test_runs_are_listed_by_what_is_asked_for),
		cmocka_unit_test(test_run_is_read_while_running_and_cancelled),
		cmocka_unit_test(test_runs_are_listed_newest_first),
		cmocka_unit_test(test_action_when_deleted_then_its_runs_end),
		cmocka_unit_test(test_preview_shows_local_time_and_notes),
		cmocka_unit_test(test_preview_when_input_is_bad_then_the_problem_names_it),
		cmocka_unit_test(test_create_shows_warnings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
