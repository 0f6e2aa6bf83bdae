/* SPDX-License-Identifier: Apache-2.0
 *
 * What the server makes of requests: good ones, hostile ones, several at a time, late answers. */
#include "http_rig.h"
#include "seed.h"

static const struct hostile {
	const char *name;
	int status;
	const char *bytes;
	size_t len;
} hostile[] = {
#define X(name, status, bytes) {name, status, bytes, sizeof(bytes) - 1},
#include "hostile_requests.def"
#undef X
};

static void assert_refused(
	const struct rig *rig, const struct client *client, const char *name, int status)
{
	int got = client_status(client, 0);

	if (rig->handled != 0)
		fail_msg("'%s' was executed: %s", name, rig->last_path);
	if (status != 0 && got != status)
		fail_msg("'%s' was answered %d, not %d: %s", name, got, status,
			buf_text(&client->in));
	if (got != 0 && got < 400)
		fail_msg("'%s' was answered %d", name, got);
	if (client_answers(client, -1, NULL) > 1)
		fail_msg("'%s' got more than one answer: %s", name, buf_text(&client->in));
	if (got != 0 && !answer_has(client, 0, "\r\nConnection: close\r\n"))
		fail_msg("'%s' was not told that the connection ends", name);
	if (status != 0 && !answer_has(client, 0, "\"request_id\":\""))
		fail_msg("'%s' got no problem document with a request id", name);
	if (client->error != 0)
		fail_msg("'%s': %s", name, strerror(client->error));
}

/* Sends the bytes in two pieces (in one when `cut` is 0). */
static void try_hostile(const struct hostile *request, size_t cut)
{
	struct http_opts opts = rig_opts();
	struct client client;
	struct rig rig;

	opts.header_timeout_ms = 100;
	opts.body_timeout_ms = 100;
	rig_start(&rig, opts);
	client_open(&client, &rig);
	if (client_send(&client, request->bytes, cut)) {
		client_turn(&client);
		(void)client_send(&client, request->bytes + cut, request->len - cut);
	}
	client_await_end(&client);
	assert_refused(&rig, &client, request->name, request->status);
	client_close(&client);
	rig_until(&rig, http_connections(rig.http) == 0);
	assert_int_equal(http_in_flight(rig.http), 0);
	rig_stop(&rig);
}

static void test_hostile_requests_are_not_executed(void **state)
{
	for (size_t i = 0; i < COUNT_OF(hostile); i++)
		try_hostile(&hostile[i], 0);
}

static void test_hostile_requests_in_two_pieces_are_not_executed(void **state)
{
	struct seed seed = seed_start("http");

	for (size_t i = 0; i < COUNT_OF(hostile); i++)
		try_hostile(&hostile[i], (size_t)seed_below(&seed, hostile[i].len));
}

/* A refusal must not let a request behind it through, however well-formed that is. */
static void test_request_behind_a_hostile_one_is_not_executed(void **state)
{
	static const char behind[] = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

	for (size_t i = 0; i < COUNT_OF(hostile); i++) {
		struct hostile both = hostile[i];
		auto_free char *bytes = xmalloc(both.len + sizeof(behind));

		/* What has no end yet would swallow it. */
		if (both.status == 408 || strncmp(both.bytes, "\026\003", 2) == 0)
			continue;
		memcpy(bytes, both.bytes, both.len);
		memcpy(bytes + both.len, behind, sizeof(behind));
		both.bytes = bytes;
		both.len += sizeof(behind) - 1;
		try_hostile(&both, 0);
	}
}

static void test_oversized_heads(void **state)
{
	struct buf many, target, value, params;
	struct hostile requests[4];

	buf_init(&many, 1 << 20);
	buf_init(&target, 1 << 20);
	buf_init(&value, 1 << 20);
	buf_init(&params, 1 << 20);
	buf_puts(&many, "GET /x HTTP/1.1\r\nHost: a\r\n");
	buf_puts(&target, "GET /");
	buf_puts(&value, "GET /x HTTP/1.1\r\nHost: a\r\nX-A: ");
	buf_puts(&params, "GET /x?");
	for (int i = 0; i < 100; i++)
		buf_printf(&many, "X-%d: %d\r\n", i, i);
	for (int i = 0; i < 101; i++)
		buf_printf(&params, "p%d=1&", i);
	for (int i = 0; i < 9000; i++)
		buf_putc(&target, 'a');
	for (int i = 0; i < 16300; i++)
		buf_putc(&value, 'a');
	buf_puts(&many, "\r\n");
	buf_puts(&target, " HTTP/1.1\r\nHost: a\r\n\r\n");
	buf_puts(&value, "\r\nX-B: 01234567890123456789012345678901234567890123456789\r\n\r\n");
	buf_puts(&params, " HTTP/1.1\r\nHost: a\r\n\r\n");
	requests[0] = (struct hostile){"101 headers", 431, many.data, many.len};
	requests[1] = (struct hostile){"long target", 414, target.data, target.len};
	requests[2] = (struct hostile){"large head", 431, value.data, value.len};
	requests[3] = (struct hostile){"101 query parameters", 400, params.data, params.len};
	for (size_t i = 0; i < COUNT_OF(requests); i++)
		try_hostile(&requests[i], 0);
	buf_fini(&many);
	buf_fini(&target);
	buf_fini(&value);
	buf_fini(&params);
}

/* So large that libmicrohttpd's own memory ends first. */
static void test_endless_heads(void **state)
{
	static const char *const begin[] = {"GET /", "GET /x HTTP/1.1\r\nHost: a\r\nX-A: "};

	for (size_t i = 0; i < COUNT_OF(begin); i++) {
		struct hostile request = {begin[i], 0, NULL, 200 * 1024};
		auto_free char *bytes = xmalloc(request.len);

		memset(bytes, 'a', request.len);
		memcpy(bytes, begin[i], strlen(begin[i]));
		request.bytes = bytes;
		try_hostile(&request, 0);
	}
}

static void test_good_requests_are_answered(void **state)
{
	struct client client;
	struct rig rig;

	rig_start(&rig, rig_opts());
	client_open(&client, &rig);
	client_say(&client, "GET /a%20b?x=1&y=a+b%2Bc&z HTTP/1.1\r\nHost: a\r\n\r\n");
	client_await(&client, 1);
	assert_int_equal(client_status(&client, 0), 200);
	assert_true(answer_has(&client, 0, "\r\n\r\n/a%20b"));
	assert_true(answer_has(&client, 0, "X-Test: yes\r\n"));
	assert_false(answer_has(&client, 0, "Connection: close"));
	assert_string_equal(rig.last_peer, "127.0.0.1");
	client_say(&client, "\r\nPOST /b HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\nhello");
	client_await(&client, 2);
	assert_true(answer_has(&client, 1, "\r\n\r\nhello"));
	client_say(&client, "brew /pot HTTP/1.1\r\nHost: [::1]:80\r\nX-A:\t \303\244 \t\r\n\r\n");
	client_await(&client, 3);
	assert_int_equal(rig.handled, 3);
	client_close(&client);
	rig_stop(&rig);
}

static void test_chunked_body_is_taken_and_ends_the_connection(void **state)
{
	struct client client;
	struct rig rig;

	rig_start(&rig, rig_opts());
	client_open(&client, &rig);
	client_say(&client, "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
			    "3\r\nabc\r\nA;ext=1\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
			    "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
	client_await_end(&client);
	assert_int_equal(client.error, 0);
	assert_int_equal(client_answers(&client, -1, NULL), 1);
	assert_true(answer_has(&client, 0, "\r\n\r\nabc0123456789"));
	assert_true(answer_has(&client, 0, "Connection: close"));
	assert_int_equal(rig.handled, 1);
	client_close(&client);
	rig_stop(&rig);
}

static void test_head_sends_the_length_only(void **state)
{
	struct client client;
	struct rig rig;

	rig_start(&rig, rig_opts());
	client_open(&client, &rig);
	client_say(&client, "HEAD /four HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	client_await_end(&client);
	assert_non_null(strstr(buf_text(&client.in), "\r\nContent-Length: 5\r\n"));
	assert_string_equal(strstr(buf_text(&client.in), "\r\n\r\n"), "\r\n\r\n");
	client_close(&client);
	rig_stop(&rig);
}

static void test_request_id_is_kept_or_made(void **state)
{
	struct client client;
	struct rig rig;

	rig_start(&rig, rig_opts());
	client_open(&client, &rig);
	client_say(&client, "GET /x HTTP/1.1\r\nHost: a\r\nX-Request-ID: my.id_1-2\r\n\r\n");
	client_await(&client, 1);
	assert_true(answer_has(&client, 0, "X-Request-ID: my.id_1-2\r\n"));
	client_say(&client, "GET /x HTTP/1.1\r\nHost: a\r\nX-Request-ID: \"><b>\r\n\r\n");
	client_await(&client, 2);
	assert_false(answer_has(&client, 1, "<b>"));
	assert_true(answer_has(&client, 1, "X-Request-ID: 0"));
	client_close(&client);
	rig_stop(&rig);
}

static void test_http_1_0(void **state)
{
	struct client client;
	struct rig rig;

	rig_start(&rig, rig_opts());
	client_open(&client, &rig);
	client_say(&client, "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	client_await(&client, 1);
	client_say(&client, "GET /y HTTP/1.0\r\n\r\n");
	client_await_end(&client);
	assert_int_equal(client_answers(&client, -1, NULL), 2);
	assert_int_equal(client.error, 0);
	client_close(&client);
	rig_stop(&rig);
}

static void test_five_pipelined_requests_get_five_answers_in_order(void **state)
{
	struct client client;
	struct rig rig;

	rig_start(&rig, rig_opts());
	client_open(&client, &rig);
	client_say(&client, "GET /later1 HTTP/1.1\r\nHost: a\r\n\r\n"
			    "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\ntwo"
			    "GET /later3 HTTP/1.1\r\nHost: a\r\n\r\n"
			    "GET /4 HTTP/1.1\r\nHost: a\r\n\r\n"
			    "GET /later5 HTTP/1.1\r\nHost: a\r\n\r\n");
	for (int i = 0; i < 3; i++) {
		rig_until(&rig, rig.pending_count == 1);
		rig_resolve(&rig, 0);
	}
	client_await(&client, 5);
	assert_true(answer_has(&client, 0, "\r\n\r\n/later1"));
	assert_true(answer_has(&client, 1, "\r\n\r\ntwo"));
	assert_true(answer_has(&client, 2, "\r\n\r\n/later3"));
	assert_true(answer_has(&client, 3, "\r\n\r\n/4"));
	assert_true(answer_has(&client, 4, "\r\n\r\n/later5"));
	client_close(&client);
	rig_stop(&rig);
}

static void test_half_closed_client_gets_its_answer(void **state)
{
	static const char *const requests[] = {
		"GET /now HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /later HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab",
		"GET /now HTTP/1.1\r\nHost: a\r\n\r\nGET /later HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /later HTTP/1.1\r\nHost: a\r\n\r\nGET /now HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
	};

	for (size_t i = 0; i < COUNT_OF(requests); i++) {
		struct client client;
		struct rig rig;

		rig_start(&rig, rig_opts());
		client_open(&client, &rig);
		client_say(&client, requests[i]);
		assert_int_equal(shutdown(client.fd, SHUT_WR), 0);
		if (strstr(requests[i], "/later")) {
			rig_until(&rig, rig.pending_count == 1);
			rig_resolve(&rig, 0);
		}
		client_await(&client, i == 3 || i == 4 ? 2 : 1);
		client_await_end(&client);
		assert_int_equal(client.error, 0);
		client_close(&client);
		rig_until(&rig, http_connections(rig.http) == 0);
		rig_stop(&rig);
	}
}

static void test_hundred_suspended_requests_resolved_in_random_order(void **state)
{
	struct seed seed = seed_start("http");
	struct client clients[100];
	struct rig rig;

	rig_start(&rig, rig_opts());
	for (int i = 0; i < 100; i++) {
		char text[64];

		client_open(&clients[i], &rig);
		(void)snprintf(text, sizeof(text), "GET /later%d HTTP/1.1\r\nHost: a\r\n\r\n", i);
		client_say(&clients[i], text);
		if (i % 2 == 1) /* half of them half-closed */
			assert_int_equal(shutdown(clients[i].fd, SHUT_WR), 0);
	}
	rig_until(&rig, rig.pending_count == 100);
	assert_int_equal(http_in_flight(rig.http), 100);
	while (rig.pending_count > 0)
		rig_resolve(&rig, (size_t)seed_below(&seed, rig.pending_count));
	for (int i = 0; i < 100; i++) {
		char text[64];

		client_await(&clients[i], 1);
		(void)snprintf(text, sizeof(text), "\r\n\r\n/later%d", i);
		assert_true(answer_has(&clients[i], 0, text));
		client_close(&clients[i]);
	}
	rig_until(&rig, http_connections(rig.http) == 0);
	assert_int_equal(http_in_flight(rig.http), 0);
	rig_stop(&rig);
}

static void test_client_that_left_while_suspended(void **state)
{
	struct rig rig;

	rig_start(&rig, rig_opts());
	for (int i = 0; i < 4; i++) {
		struct client client;

		client_open(&client, &rig);
		client_say(&client, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
		rig_until(&rig, rig.pending_count == 1);
		if (i % 2 == 1) /* with a reset */
			(void)setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0},
				sizeof(struct linger));
		client_close(&client);
		rig_turn(&rig, -1);
		rig_resolve(&rig, 0);
		rig_until(&rig, http_connections(rig.http) == 0);
		assert_int_equal(http_in_flight(rig.http), 0);
	}
	rig_stop(&rig);
}

static void test_expect_100_continue(void **state)
{
	struct client client;
	struct rig rig;

	rig_start(&rig, rig_opts());
	client_open(&client, &rig);
	client_say(&client,
		"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
	client_await(&client, 1);
	assert_int_equal(client_status(&client, 0), 100);
	client_say(&client, "abc");
	client_await(&client, 2);
	assert_true(answer_has(&client, 1, "\r\n\r\nabc"));
	client_say(&client, "POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
			    "Content-Length: 65537\r\n\r\n");
	client_await_end(&client);
	assert_int_equal(client_status(&client, 2), 413);
	assert_int_equal(rig.handled, 1);
	client_close(&client);
	rig_stop(&rig);
}

/* The client sends all of its body before it looks: it must find the answer, not a reset. */
static void test_too_large_a_declared_body_is_413_at_once(void **state)
{
	auto_free char *body = xcalloc(1, 4 << 20);
	struct client client;
	struct rig rig;

	rig_start(&rig, rig_opts());
	client_open(&client, &rig);
	client_say(&client, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4194304\r\n\r\n");
	assert_true(client_send(&client, body, 4 << 20));
	client_await_end(&client);
	assert_int_equal(client.error, 0);
	assert_int_equal(client_status(&client, 0), 413);
	assert_true(answer_has(&client, 0, "\"code\":\"too_large\""));
	assert_int_equal(rig.handled, 0);
	client_close(&client);
	rig_stop(&rig);
}

static void test_too_large_a_chunked_body_is_413_when_exceeded(void **state)
{
	auto_free char *chunk = xmalloc(1024 + 7);
	struct client client;
	struct rig rig;

	memset(chunk, 'c', 1024 + 7);
	memcpy(chunk, "400\r\n", 5);
	memcpy(chunk + 5 + 1024, "\r\n", 2);
	rig_start(&rig, rig_opts());
	client_open(&client, &rig);
	client_say(&client, "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 64; i++)
		assert_true(client_send(&client, chunk, 1024 + 7));
	for (int i = 0; i < 20; i++)
		client_turn(&client);
	assert_int_equal(client.in.len, 0); /* exactly at the limit: still waiting */
	assert_true(client_send(&client, chunk, 1024 + 7));
	client_await_end(&client);
	assert_int_equal(client.error, 0);
	assert_int_equal(client_status(&client, 0), 413);
	assert_int_equal(rig.handled, 0);
	client_close(&client);
	rig_stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile_requests_are_not_executed),
		cmocka_unit_test(test_hostile_requests_in_two_pieces_are_not_executed),
		cmocka_unit_test(test_request_behind_a_hostile_one_is_not_executed),
		cmocka_unit_test(test_oversized_heads),
		cmocka_unit_test(test_endless_heads),
		cmocka_unit_test(test_good_requests_are_answered),
		cmocka_unit_test(test_chunked_body_is_taken_and_ends_the_connection),
		cmocka_unit_test(test_head_sends_the_length_only),
		cmocka_unit_test(test_request_id_is_kept_or_made),
		cmocka_unit_test(test_http_1_0),
		cmocka_unit_test(test_five_pipelined_requests_get_five_answers_in_order),
		cmocka_unit_test(test_half_closed_client_gets_its_answer),
		cmocka_unit_test(test_hundred_suspended_requests_resolved_in_random_order),
		cmocka_unit_test(test_client_that_left_while_suspended),
		cmocka_unit_test(test_expect_100_continue),
		cmocka_unit_test(test_too_large_a_declared_body_is_413_at_once),
		cmocka_unit_test(test_too_large_a_chunked_body_is_413_when_exceeded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
