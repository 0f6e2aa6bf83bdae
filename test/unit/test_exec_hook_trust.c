/* SPDX-License-Identifier: Apache-2.0
 *
 * What a webhook does not do, whatever its target says: call an address that a name turned to
 * meanwhile, carry an action's credentials elsewhere, wait for ever for a first byte, or bury a
 * host. */
#include <netdb.h>

#include "exec_rig.h"
#include "http_target.h"

/* --- names whose answers change ---
 *
 * This definition stands before libc's for every library of the process, libcurl among them. Names
 * below .test are answered from `answers`, an address a line: one look-up takes one line, with
 * several addresses apart by a blank. */

static pthread_mutex_t names_lock = PTHREAD_MUTEX_INITIALIZER;
static const char *answers;
static int look_ups;

static struct addrinfo *make_answer(const char *text, size_t len, int port)
{
	struct addrinfo *found = xcalloc(1, sizeof(*found) + sizeof(struct sockaddr_in));
	struct sockaddr_in *address = (struct sockaddr_in *)(void *)(found + 1);
	auto_free char *number = xstrndup(text, len);

	*address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	assert_int_equal(inet_pton(AF_INET, number, &address->sin_addr), 1);
	found->ai_family = AF_INET;
	found->ai_socktype = SOCK_STREAM;
	found->ai_protocol = IPPROTO_TCP;
	found->ai_addrlen = sizeof(*address);
	found->ai_addr = (struct sockaddr *)address;
	return found;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
	struct addrinfo **ret_found)
{
	struct addrinfo **next = ret_found;

	if (name == NULL || strstr(name, ".test") == NULL)
		return EAI_NONAME;
	(void)pthread_mutex_lock(&names_lock);
	look_ups++;
	*ret_found = NULL;
	while (*answers != '\0' && *answers != '\n') {
		size_t len = strcspn(answers, " \n");

		*next = make_answer(answers, len, service != NULL ? atoi(service) : 0);
		next = &(*next)->ai_next;
		answers += len + (answers[len] == ' ');
	}
	answers += *answers == '\n';
	(void)pthread_mutex_unlock(&names_lock);
	return *ret_found != NULL ? 0 : EAI_NONAME;
}

void freeaddrinfo(struct addrinfo *found)
{
	while (found != NULL) {
		struct addrinfo *next = found->ai_next;

		free(found);
		found = next;
	}
}

/* --- the world: a target, and another on the same machine --- */

struct world {
	struct rig rig;
	struct target target, other;
};

static void world_open(struct world *world, int max_per_host, int max_running)
{
	rig_init(&world->rig);
	world->rig.opts.max_per_host = max_per_host;
	world->rig.opts.max_running_kind[ACTION_HTTP] = max_running;
	rig_open(&world->rig);
	target_start(&world->target);
	target_start(&world->other);
}

static void world_close(struct world *world)
{
	rig_close(&world->rig);
	target_stop(&world->target);
	target_stop(&world->other);
}

static void job_url(struct job *job, const char *host, int port, const char *path)
{
	job_init(job, ACTION_HTTP);
	job->action.http.url = xasprintf("http://%s:%d%s", host, port, path);
}

static void job_free(struct job *job)
{
	free(job->action.http.url);
	job_fini(job);
}

static void assert_has(const char *text, const char *part)
{
	if (text == NULL || strstr(text, part) == NULL)
		fail_msg("'%s' is not in '%s'", part, text != NULL ? text : "(nothing)");
}

/* --- names --- */

static void run_name(
	struct world *world, const char *path, enum attempt_outcome outcome, const char *error)
{
	struct job job;

	job_url(&job, "rebind.test", world->target.port, path);
	job_run(&world->rig, &job);
	assert_int_equal(job.result.outcome, outcome);
	if (error != NULL)
		assert_has(job.result.error, error);
	assert_false(job.result.is_unanswered);
	job_free(&job);
}

static void test_a_name_that_turns_to_a_forbidden_address_is_not_called(void **state)
{
	struct world world;

	world_open(&world, 0, 100);
	look_ups = 0;
	answers = "127.0.0.1\n169.254.169.254\n10.0.0.1\n192.168.0.1 127.0.0.1\n";
	run_name(&world, "/status/200", ATTEMPT_SUCCEEDED, NULL);
	exec_drop_connections(world.rig.exec); /* what was looked up is forgotten, too */
	run_name(&world, "/status/200", ATTEMPT_FAILED, "169.254.169.254:");
	exec_drop_connections(world.rig.exec);
	run_name(&world, "/status/200", ATTEMPT_FAILED, "allow_private_targets = true");
	exec_drop_connections(world.rig.exec);
	/* one good address among bad ones: that one alone is called */
	run_name(&world, "/status/200", ATTEMPT_SUCCEEDED, NULL);
	assert_int_equal(look_ups, 4);
	assert_int_equal(atomic_load(&world.target.requests), 2);
	world_close(&world);
}

static void test_a_redirect_to_such_a_name_is_not_followed(void **state)
{
	struct world world;
	struct job job;

	world_open(&world, 0, 100);
	answers = "172.16.0.1\n";
	job_url(&job, "127.0.0.1", world.target.port, "/to?http://inner.test/");
	job_run(&world.rig, &job);
	assert_int_equal(job.result.outcome, ATTEMPT_FAILED);
	assert_has(job.result.error, "172.16.0.1:80 is a private address");
	job_free(&job);
	world_close(&world);
}

/* --- redirects --- */

static struct name_value own_headers[] = {
	{(char *)(uintptr_t) "Authorization", (char *)(uintptr_t) "Bearer abcdef"},
	{(char *)(uintptr_t) "X-Api-Key", (char *)(uintptr_t) "abcdef"},
	{(char *)(uintptr_t) "Accept", (char *)(uintptr_t) "text/x-mine"},
	{(char *)(uintptr_t) "Content-Type", (char *)(uintptr_t) "text/x-body"},
};

/* The request that comes out at the end, when `path` redirects to /echo of `to`. */
static char *redirected(struct world *world, const char *path, const struct target *to)
{
	auto_free char *whole = xasprintf("%shttp://127.0.0.1:%d/echo", path, to->port);
	struct job job;
	char *seen;

	job_url(&job, "127.0.0.1", world->target.port, whole);
	job.action.http.method = (char *)(uintptr_t) "POST";
	job.action.http.body = (char *)(uintptr_t) "the body";
	job.action.http.headers = own_headers;
	job.action.http.header_count = COUNT_OF(own_headers);
	job_run(&world->rig, &job);
	assert_int_equal(job.result.outcome, ATTEMPT_SUCCEEDED);
	seen = take_ptr(job.result.output);
	job_free(&job);
	return seen;
}

static void test_the_headers_of_an_action_stay_with_its_origin(void **state)
{
	auto_free char *here = NULL, *there = NULL, *back = NULL, *way = NULL, *get = NULL;
	struct world world;

	world_open(&world, 0, 100);
	here = redirected(&world, "/via/307?", &world.target);
	assert_has(here, "\r\nX-Api-Key: abcdef\r\n");
	assert_has(here, "\r\nAuthorization: Bearer abcdef\r\n");
	assert_has(here, "\r\nAccept: text/x-mine\r\n");
	assert_has(here, "\r\n\r\nthe body");

	there = redirected(&world, "/via/307?", &world.other);
	assert_null(strstr(there, "abcdef"));
	assert_has(there, "\r\nAccept: text/x-mine\r\n");
	assert_has(there, "\r\nContent-Type: text/x-body\r\n");
	assert_has(there, "\r\nX-Gathering-Attempt: 2\r\n");
	assert_has(there, "\r\n\r\nthe body");

	/* elsewhere and back again: it has been seen elsewhere, so it could have been bent */
	way = xasprintf("/via/307?http://127.0.0.1:%d/via/307?", world.other.port);
	back = redirected(&world, way, &world.target);
	assert_null(strstr(back, "abcdef"));

	get = redirected(&world, "/to?", &world.target);
	assert_memory_equal(get, "GET /echo ", 10);
	assert_has(get, "\r\nX-Api-Key: abcdef\r\n");
	assert_null(strstr(get, "text/x-body"));
	world_close(&world);
}

/* --- secrets --- */

static struct {
	uv_idle_t idle;
	exec_secrets_fn *done;
	void *attempt;
} asked;

static void on_asked(uv_idle_t *idle)
{
	const struct name_value secret = {
		(char *)(uintptr_t) "TOKEN", (char *)(uintptr_t) "hunter22"};
	const struct err none = {0};

	uv_close((uv_handle_t *)idle, NULL);
	asked.done(&secret, 1, &none, asked.attempt);
}

static void give_secrets(char *const *names, exec_secrets_fn *done, void *attempt, void *data)
{
	struct rig *rig = data;

	assert_string_equal(names[0], "TOKEN");
	asked.done = done;
	asked.attempt = attempt;
	assert_int_equal(uv_idle_init(&rig->loop, &asked.idle), 0);
	assert_int_equal(uv_idle_start(&asked.idle, on_asked), 0);
}

static void world_open_with_secrets(struct world *world, exec_get_secrets_fn *get_secrets)
{
	rig_init(&world->rig);
	world->rig.opts.get_secrets = get_secrets;
	world->rig.opts.get_secrets_data = &world->rig;
	rig_open(&world->rig);
	target_start(&world->target);
	target_start(&world->other);
}

static void job_secret(struct job *job, char **names, const struct world *world, const char *path)
{
	names[0] = (char *)(uintptr_t) "TOKEN";
	names[1] = NULL;
	job_url(job, "127.0.0.1", world->target.port, path);
	job->action.secrets = names;
	job->action.http.method = (char *)(uintptr_t) "POST";
	job->action.http.body = (char *)(uintptr_t) "token={{secret.TOKEN}}";
}

static void test_a_body_with_a_secret_goes_nowhere_else(void **state)
{
	auto_free char *path = NULL;
	struct world world;
	char *names[2];
	struct job job;

	world_open_with_secrets(&world, give_secrets);
	path = xasprintf("/via/307?http://127.0.0.1:%d/echo", world.other.port);
	job_secret(&job, names, &world, path);
	job_run(&world.rig, &job);
	assert_int_equal(job.result.outcome, ATTEMPT_FAILED);
	assert_has(job.result.error, "is not sent the secret in the body");
	assert_int_equal(atomic_load(&world.other.requests), 0);
	job_free(&job);
	world_close(&world);
}

static void test_an_echoed_secret_is_not_in_the_output(void **state)
{
	struct world world;
	char *names[2];
	struct job job;

	world_open_with_secrets(&world, give_secrets);
	job_secret(&job, names, &world, "/echo");
	job_run(&world.rig, &job);
	assert_int_equal(job.result.outcome, ATTEMPT_SUCCEEDED);
	assert_has(job.result.output, "\r\n\r\ntoken=[redacted]");
	assert_null(strstr(job.result.output, "hunter"));
	job_free(&job);
	world_close(&world);
}

static void test_an_attempt_that_waits_for_its_secrets_can_be_ended(void **state)
{
	struct world world;
	char *names[2];
	struct job job;

	world_open_with_secrets(&world, give_secrets);
	job_secret(&job, names, &world, "/echo");
	job_start(&world.rig, &job);
	assert_true(exec_end(world.rig.exec, &job.run.id, ATTEMPT_INTERRUPTED));
	rig_wait(&world.rig, &job.is_done);
	assert_int_equal(job.result.outcome, ATTEMPT_INTERRUPTED);
	assert_int_equal(job.result.started_at_ms, NO_TIME); /* nothing can have happened */
	assert_int_equal(atomic_load(&world.target.requests), 0);
	job_free(&job);
	world_close(&world);
}

static void on_given_up(uv_timer_t *timer)
{
	struct err away = {0};

	(void)err_set(&away, ERR_UNAVAILABLE, "the database is away");
	uv_close((uv_handle_t *)timer, NULL);
	asked.done(NULL, 0, &away, asked.attempt);
}

static void give_up_later(char *const *names, exec_secrets_fn *done, void *attempt, void *data)
{
	static uv_timer_t timer;
	struct rig *rig = data;

	(void)names;
	asked.done = done;
	asked.attempt = attempt;
	assert_int_equal(uv_timer_init(&rig->loop, &timer), 0);
	assert_int_equal(uv_timer_start(&timer, on_given_up, 100, 0), 0);
}

/* However short the action's timeout: nothing has begun that could take too long. */
static void test_an_attempt_whose_secrets_are_away_is_not_timed_out(void **state)
{
	struct world world;
	char *names[2];
	struct job job;

	world_open_with_secrets(&world, give_up_later);
	job_secret(&job, names, &world, "/echo");
	job.action.timeout_ms = 10;
	job_start(&world.rig, &job);
	rig_wait(&world.rig, &job.is_done);
	assert_int_equal(job.result.outcome, ATTEMPT_INTERRUPTED);
	assert_int_equal(job.result.started_at_ms, NO_TIME);
	assert_has(job.result.error, "the database is away");
	job_free(&job);
	world_close(&world);
}

/* --- the first byte --- */

static void test_a_target_that_sends_no_first_byte_in_time_is_left(void **state)
{
	struct world world;
	struct job job;

	world_open(&world, 0, 100);
	job_url(&job, "127.0.0.1", world.target.port, "/hang");
	job.action.http.first_byte_timeout_ms = 50;
	job_run(&world.rig, &job);
	assert_int_equal(job.result.outcome, ATTEMPT_TIMED_OUT);
	assert_has(job.result.error, "sent no first byte within 50ms");
	job_free(&job);

	job_url(&job, "127.0.0.1", world.target.port, "/hang-body");
	job.action.http.first_byte_timeout_ms = RIG_PATIENCE_MS;
	job.action.timeout_ms = 300;
	job_run(&world.rig, &job);
	assert_int_equal(job.result.outcome, ATTEMPT_TIMED_OUT);
	assert_has(job.result.error, "timed out after 300ms");
	job_free(&job);
	world_close(&world);
}

/* --- was there an answer? --- */

static void test_no_answer_is_told_from_a_bad_one(void **state)
{
	static const struct {
		const char *path;
		bool is_unanswered;
	} rows[] = {
		{"/reset", true},
		{"/close", true},
		{"/short", true},
		{"/status/500", false},
		{"/circle", false},
		{"/to?http://169.254.169.254/", false},
		{"/endless", false},
	};
	struct world world;

	world_open(&world, 0, 100);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct job job;

		job_url(&job, "127.0.0.1", world.target.port, rows[i].path);
		job_run(&world.rig, &job);
		assert_int_equal(job.result.outcome, ATTEMPT_FAILED);
		if (job.result.is_unanswered != rows[i].is_unanswered)
			fail_msg("%s: %s", rows[i].path, job.result.error);
		job_free(&job);
	}
	world_close(&world);
}

/* --- places at a host --- */

#define JOBS 6

static void wait_requests(struct world *world, int count)
{
	while (atomic_load(&world->target.requests) < count)
		(void)uv_run(&world->rig.loop, UV_RUN_NOWAIT);
}

static int free_http(const struct world *world)
{
	int slots[ACTION_KIND_COUNT];

	(void)exec_free_slots(world->rig.exec, slots);
	return slots[ACTION_HTTP];
}

static void test_a_crowded_host_holds_up_nobody_else(void **state)
{
	struct job jobs[JOBS], elsewhere;
	struct world world;
	int unbegun = 0;

	world_open(&world, 2, 10);
	for (int i = 0; i < JOBS; i++) {
		job_url(&jobs[i], "127.0.0.1", world.target.port, "/hang");
		job_start(&world.rig, &jobs[i]);
	}
	assert_int_equal(free_http(&world), 8); /* those that wait take none */
	wait_requests(&world, 2);
	job_url(&elsewhere, "127.0.0.1", world.other.port, "/echo");
	job_run(&world.rig, &elsewhere);
	assert_int_equal(elsewhere.result.outcome, ATTEMPT_SUCCEEDED);
	job_free(&elsewhere);
	assert_int_equal(atomic_load(&world.target.accepts), 2);

	/* a waiting one is cancelled: it says so; a running one is: the next goes */
	assert_true(exec_end(world.rig.exec, &jobs[5].run.id, ATTEMPT_CANCELLED));
	rig_wait(&world.rig, &jobs[5].is_done);
	assert_string_equal(jobs[5].result.error,
		"cancelled while waiting for one of the 2 places at 127.0.0.1 (max_per_host)");
	assert_true(exec_end(world.rig.exec, &jobs[0].run.id, ATTEMPT_CANCELLED));
	wait_requests(&world, 3);
	assert_int_equal(atomic_load(&world.target.accepts), 3);
	(void)exec_end_all(world.rig.exec, ATTEMPT_INTERRUPTED);
	for (int i = 0; i < JOBS; i++) {
		rig_wait(&world.rig, &jobs[i].is_done);
		unbegun += jobs[i].result.started_at_ms == NO_TIME;
		job_free(&jobs[i]);
	}
	assert_int_equal(unbegun, JOBS - 4); /* two were asking, two were cancelled */
	assert_int_equal(free_http(&world), 10);
	world_close(&world);
}

static void test_as_many_may_wait_as_may_run(void **state)
{
	struct job jobs[4];
	struct world world;

	world_open(&world, 1, 3);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(free_http(&world), i == 0 ? 3 : 2);
		job_url(&jobs[i], "127.0.0.1", world.target.port, "/hang");
		job_start(&world.rig, &jobs[i]);
	}
	assert_int_equal(free_http(&world), 0);
	exec_kill_all(world.rig.exec);
	for (int i = 0; i < 4; i++) {
		rig_wait(&world.rig, &jobs[i].is_done);
		job_free(&jobs[i]);
	}
	world_close(&world);
}

static void test_a_wait_for_a_place_ends_with_the_timeout(void **state)
{
	struct job first, second;
	struct world world;

	world_open(&world, 1, 10);
	job_url(&first, "127.0.0.1", world.target.port, "/hang");
	job_start(&world.rig, &first);
	job_url(&second, "127.0.0.1", world.target.port, "/echo");
	second.action.timeout_ms = 50;
	job_run(&world.rig, &second);
	assert_int_equal(second.result.outcome, ATTEMPT_TIMED_OUT);
	assert_has(
		second.result.error, "timed out after 50ms while waiting for one of the 1 places");
	(void)exec_end(world.rig.exec, &first.run.id, ATTEMPT_CANCELLED);
	rig_wait(&world.rig, &first.is_done);
	job_free(&first);
	job_free(&second);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_name_that_turns_to_a_forbidden_address_is_not_called),
		cmocka_unit_test(test_a_redirect_to_such_a_name_is_not_followed),
		cmocka_unit_test(test_the_headers_of_an_action_stay_with_its_origin),
		cmocka_unit_test(test_a_body_with_a_secret_goes_nowhere_else),
		cmocka_unit_test(test_an_echoed_secret_is_not_in_the_output),
		cmocka_unit_test(test_an_attempt_that_waits_for_its_secrets_can_be_ended),
		cmocka_unit_test(test_an_attempt_whose_secrets_are_away_is_not_timed_out),
		cmocka_unit_test(test_a_target_that_sends_no_first_byte_in_time_is_left),
		cmocka_unit_test(test_no_answer_is_told_from_a_bad_one),
		cmocka_unit_test(test_a_crowded_host_holds_up_nobody_else),
		cmocka_unit_test(test_as_many_may_wait_as_may_run),
		cmocka_unit_test(test_a_wait_for_a_place_ends_with_the_timeout),
	};

	return cmocka_run_group_tests_name("hook_trust", tests, NULL, NULL);
}
