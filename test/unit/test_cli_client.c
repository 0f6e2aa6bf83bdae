/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP client of the command line against a scripted server in a thread: each connection gets
 * the next answer of the script, and what came in is kept for the test to look at. */
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/client.h"

#define ANSWERS_MAX  8
#define REQUEST_SIZE 4096

struct script {
	const char *answers[ANSWERS_MAX + 1]; /* NULL at the end */
	char requests[ANSWERS_MAX][REQUEST_SIZE];
	size_t served;
	int fd;
	pthread_t thread;
	char address[128];
	char folder[64]; /* of the unix socket; "": TCP */
};

static bool is_complete(const char *request)
{
	const char *end = strstr(request, "\r\n\r\n"),
		   *length = strstr(request, "Content-Length: ");

	if (!end)
		return false;
	return !length || strlen(end + 4) >= strtoul(length + 16, NULL, 10);
}

static void *serve(void *data)
{
	struct script *script = data;

	for (size_t i = 0; script->answers[i]; i++) {
		int fd = accept(script->fd, NULL, NULL);
		char *request = script->requests[i];
		size_t len = 0;

		while (!is_complete(request)) {
			ssize_t got = read(fd, request + len, REQUEST_SIZE - 1 - len);

			if (got <= 0)
				break;
			len += (size_t)got;
		}
		(void)!write(fd, script->answers[i], strlen(script->answers[i]));
		(void)close(fd);
		script->served++;
	}
	return NULL;
}

static void listen_tcp(struct script *script)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);

	script->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(script->fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(getsockname(script->fd, (struct sockaddr *)&address, &size), 0);
	(void)snprintf(
		script->address, sizeof(script->address), "127.0.0.1:%d/", ntohs(address.sin_port));
}

static void listen_unix(struct script *script)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	(void)snprintf(script->folder, sizeof(script->folder), "/tmp/gathering-test-XXXXXX");
	assert_non_null(mkdtemp(script->folder));
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", script->folder);
	(void)snprintf(script->address, sizeof(script->address), "unix:%s", address.sun_path);
	script->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(script->fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

static void script_start(struct script *script, void (*listen_on)(struct script *script))
{
	listen_on(script);
	assert_int_equal(listen(script->fd, 8), 0);
	assert_int_equal(pthread_create(&script->thread, NULL, serve, script), 0);
}

static void script_end(struct script *script)
{
	assert_int_equal(pthread_join(script->thread, NULL), 0);
	(void)close(script->fd);
	if (script->folder[0]) {
		(void)unlink(script->address + 5);
		(void)rmdir(script->folder);
	}
}

#define OK_ANSWER "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 11\r\n\r\n{\"ok\":true}"
#define WAIT_ANSWER                                                                                \
	"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nRetry-After: "                     \
	"0\r\nContent-Length: 0\r\n\r\n"

static struct client *connect_to(const char *server)
{
	struct client *client = NULL;
	struct err err = {0};

	assert_int_equal(client_create(server, &client, &err), 0);
	return client;
}

static void test_call_sends_what_was_asked_and_returns_the_answer(void **state)
{
	static void (*const places[])(struct script * script) = {listen_tcp, listen_unix};

	for (size_t i = 0; i < COUNT_OF(places); i++) {
		struct script script = {.answers = {OK_ANSWER}};
		struct call call = {.method = "PATCH",
			.path = "/api/v1/actions/a%20b",
			.body = "{\"a\":1}",
			.body_len = 7,
			.if_match = "\"3\""};
		struct answer answer = {0};
		struct err err = {0};
		struct client *client;

		script_start(&script, places[i]);
		client = connect_to(script.address);
		assert_int_equal(client_call(client, &call, &answer, &err), 0);
		script_end(&script);
		assert_int_equal(answer.status, 200);
		assert_string_equal(answer.body, "{\"ok\":true}");
		assert_non_null(
			strstr(script.requests[0], "PATCH /api/v1/actions/a%20b HTTP/1.1\r\n"));
		assert_non_null(strstr(script.requests[0], "If-Match: \"3\"\r\n"));
		assert_non_null(strstr(script.requests[0], "Content-Type: application/json\r\n"));
		assert_non_null(strstr(script.requests[0], "\r\n\r\n{\"a\":1}"));
		answer_fini(&answer);
		client_destroy(client);
	}
}

static void test_post_without_body_sends_an_empty_one(void **state)
{
	struct script script = {.answers = {OK_ANSWER}};
	struct call call = {.method = "POST", .path = "/x"};
	struct answer answer = {0};
	struct client *client;

	script_start(&script, listen_tcp);
	client = connect_to(script.address);
	assert_int_equal(client_call(client, &call, &answer, NULL), 0);
	script_end(&script);
	assert_non_null(strstr(script.requests[0], "POST /x HTTP/1.1\r\n"));
	assert_non_null(strstr(script.requests[0], "Content-Length: 0\r\n"));
	assert_null(strstr(script.requests[0], "application/x-www-form-urlencoded"));
	answer_fini(&answer);
	client_destroy(client);
}

static void test_429_is_waited_out(void **state)
{
	struct script script = {.answers = {WAIT_ANSWER, WAIT_ANSWER, OK_ANSWER}};
	struct call call = {.method = "GET", .path = "/x"};
	struct answer answer = {0};
	struct client *client;

	script_start(&script, listen_tcp);
	client = connect_to(script.address);
	assert_int_equal(client_call(client, &call, &answer, NULL), 0);
	script_end(&script);
	assert_int_equal(answer.status, 200);
	assert_int_equal(script.served, 3);
	answer_fini(&answer);
	client_destroy(client);
}

static void test_429_is_waited_out_a_bounded_number_of_times(void **state)
{
	struct script script = {.answers = {WAIT_ANSWER, WAIT_ANSWER, WAIT_ANSWER, WAIT_ANSWER,
					WAIT_ANSWER, WAIT_ANSWER}};
	struct call call = {.method = "GET", .path = "/x"};
	struct answer answer = {0};
	struct client *client;

	script_start(&script, listen_tcp);
	client = connect_to(script.address);
	assert_int_equal(client_call(client, &call, &answer, NULL), 0);
	script_end(&script);
	assert_int_equal(answer.status, 429);
	assert_int_equal(script.served, 1 + CLIENT_RETRIES_MAX);
	answer_fini(&answer);
	client_destroy(client);
}

#define FULL_ANSWER                                                                                \
	"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nRetry-After: "                     \
	"0\r\nContent-Length: 21\r\n\r\n{\"code\":\"queue_full\"}"

static void test_a_full_queue_is_not_waited_out(void **state)
{
	struct script script = {.answers = {FULL_ANSWER}};
	struct call call = {.method = "POST", .path = "/x"};
	struct answer answer = {0};
	struct client *client;

	script_start(&script, listen_tcp);
	client = connect_to(script.address);
	assert_int_equal(client_call(client, &call, &answer, NULL), 0);
	script_end(&script);
	assert_int_equal(answer.status, 429);
	assert_string_equal(answer.body, "{\"code\":\"queue_full\"}");
	answer_fini(&answer);
	client_destroy(client);
}

static void test_nobody_listening_is_told_with_what_to_check(void **state)
{
	struct script script = {0};
	struct call call = {.method = "GET", .path = "/x"};
	struct answer answer = {0};
	struct err err = {0};
	struct client *client;

	listen_tcp(
		&script); /* bound but not listening: refused, and nobody else can take the port */
	client = connect_to(script.address);
	assert_int_equal(client_call(client, &call, &answer, &err), ERR_UNAVAILABLE);
	assert_non_null(strstr(err.text, "cannot reach http://127.0.0.1:"));
	assert_non_null(strstr(
		err.text, ": Connection refused; is `gathering serve` running there? (--server)"));
	client_destroy(client);
	(void)close(script.fd);
}

static void test_broken_answer_is_an_error(void **state)
{
	static const char *const answers[] = {
		"", "hello\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"};

	for (size_t i = 0; i < COUNT_OF(answers); i++) {
		struct script script = {.answers = {answers[i]}};
		struct call call = {.method = "GET", .path = "/x"};
		struct answer answer = {0};
		struct err err = {0};
		struct client *client;

		script_start(&script, listen_tcp);
		client = connect_to(script.address);
		assert_true(client_call(client, &call, &answer, &err) < 0);
		assert_true(err.text[0] != '\0');
		script_end(&script);
		client_destroy(client);
	}
}

static void test_server_address_is_checked(void **state)
{
	static const char *const bad[] = {"", "/", "ftp://x", "http://a b", "file:///etc/passwd",
		"http://x?y", "http://", "unix:", "127.0.0.1:99999", "https://:80"};

	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct client *client = NULL;
		struct err err = {0};

		assert_int_equal(client_create(bad[i], &client, &err), ERR_INVALID);
		assert_non_null(strstr(err.text, "--server"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_call_sends_what_was_asked_and_returns_the_answer),
		cmocka_unit_test(test_post_without_body_sends_an_empty_one),
		cmocka_unit_test(test_429_is_waited_out),
		cmocka_unit_test(test_429_is_waited_out_a_bounded_number_of_times),
		cmocka_unit_test(test_a_full_queue_is_not_waited_out),
		cmocka_unit_test(test_nobody_listening_is_told_with_what_to_check),
		cmocka_unit_test(test_broken_answer_is_an_error),
		cmocka_unit_test(test_server_address_is_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
