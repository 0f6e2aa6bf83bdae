/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers that go on: what is written arrives, a client that leaves or does not read is noticed,
 * limits hold, and a drain closes them one after the other. */
#include "http_rig.h"

#define LINE      "a line of some length, so that many of them fill what there is to fill\n"
#define HEARTBEAT ": still here\n"

struct owner {
	struct http_stream *stream;
	struct err err;
	int gone, closing;
	int64_t closing_mono_ms;
};

static void on_gone(void *data)
{
	struct owner *owner = data;

	owner->gone++;
	owner->stream = NULL;
}

static void on_closing(void *data)
{
	struct owner *owner = data;

	owner->closing++;
	owner->closing_mono_ms = clock_mono_ms();
	http_stream_end(take_ptr(owner->stream), "bye\n", 4);
}

static int begin(struct http_request *request, struct owner *owner)
{
	static const char *const headers[] = {"X-Test", "yes", NULL};
	const struct http_stream_opts opts = {.content_type = "text/plain",
		.headers = headers,
		.heartbeat = HEARTBEAT,
		.closing = on_closing,
		.gone = on_gone,
		.data = owner};

	return http_stream_begin(request, &opts, &owner->stream, &owner->err);
}

/* A client whose request has become a stream. */
static void open_stream(struct client *client, struct rig *rig, struct owner *owner)
{
	size_t before = rig->pending_count;

	client_open(client, rig);
	client_say(client, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
	rig_until(rig, rig->pending_count == before + 1);
	*owner = (struct owner){.gone = 0};
	assert_int_equal(begin(rig->pending[--rig->pending_count], owner), 0);
	assert_non_null(owner->stream);
}

static void write_text(struct owner *owner, const char *text)
{
	assert_true(http_stream_write(owner->stream, text, strlen(text)));
}

static void await_text(struct client *client, const char *text)
{
	int64_t deadline = rig_deadline();

	while (!strstr(buf_text(&client->in), text)) {
		client_turn(client);
		if (client->is_eof || clock_mono_ms() > deadline)
			fail_msg("'%s' did not come: %s", text, buf_text(&client->in));
	}
}

static void test_stream_written_bit_by_bit_arrives_bit_by_bit(void **state)
{
	struct client client;
	struct owner owner;
	struct rig rig;

	rig_start(&rig, rig_opts());
	open_stream(&client, &rig, &owner);
	await_text(&client, "\r\n\r\n"); /* the head comes at once */
	assert_non_null(strstr(buf_text(&client.in), "Transfer-Encoding: chunked\r\n"));
	assert_non_null(strstr(buf_text(&client.in), "X-Test: yes\r\n"));
	assert_non_null(strstr(buf_text(&client.in), "Connection: close\r\n"));
	assert_int_equal(http_streams(rig.http), 1);
	assert_int_equal(http_in_flight(rig.http), 0);
	write_text(&owner, "one");
	await_text(&client, "\r\n3\r\none\r\n");
	write_text(&owner, "two");
	await_text(&client, "\r\n3\r\ntwo\r\n");
	http_stream_end(take_ptr(owner.stream), "end", 3);
	client_await_end(&client);
	assert_non_null(strstr(buf_text(&client.in), "\r\n3\r\nend\r\n0\r\n\r\n"));
	assert_int_equal(client.error, 0);
	rig_until(&rig, http_connections(rig.http) == 0);
	assert_int_equal(http_streams(rig.http), 0);
	assert_int_equal(owner.gone, 0);
	client_close(&client);
	rig_stop(&rig);
}

static void test_stream_to_http_1_0_ends_with_the_connection(void **state)
{
	struct client client;
	struct owner owner = {.gone = 0};
	struct rig rig;

	rig_start(&rig, rig_opts());
	client_open(&client, &rig);
	client_say(&client, "GET /later HTTP/1.0\r\nHost: a\r\n\r\n");
	rig_until(&rig, rig.pending_count == 1);
	assert_int_equal(begin(rig.pending[--rig.pending_count], &owner), 0);
	write_text(&owner, "one ");
	await_text(&client, "one ");
	http_stream_end(take_ptr(owner.stream), "end", 3);
	client_await_end(&client);
	assert_non_null(strstr(buf_text(&client.in), "\r\n\r\none end"));
	assert_null(strstr(buf_text(&client.in), "chunked"));
	client_close(&client);
	rig_stop(&rig);
}

static void test_stream_of_a_head_request_is_a_head_alone(void **state)
{
	struct client client;
	struct owner owner = {.gone = 0};
	struct rig rig;

	rig_start(&rig, rig_opts());
	client_open(&client, &rig);
	client_say(&client, "HEAD /later HTTP/1.1\r\nHost: a\r\n\r\n");
	rig_until(&rig, rig.pending_count == 1);
	assert_int_equal(begin(rig.pending[--rig.pending_count], &owner), 0);
	assert_null(owner.stream);
	client_await_end(&client);
	assert_non_null(strstr(buf_text(&client.in), "Content-Type: text/plain\r\n"));
	assert_string_equal(strstr(buf_text(&client.in), "\r\n\r\n"), "\r\n\r\n");
	assert_int_equal(http_streams(rig.http), 0);
	client_close(&client);
	rig_stop(&rig);
}

/* Nothing is written to it: a suspended connection alone would never tell. */
static void test_client_that_leaves_is_noticed_without_a_write(void **state)
{
	struct client client;
	struct owner owner;
	struct rig rig;

	rig_start(&rig, rig_opts());
	open_stream(&client, &rig, &owner);
	await_text(&client, "\r\n\r\n");
	client_close(&client);
	rig_until(&rig, owner.gone == 1);
	rig_until(&rig, http_connections(rig.http) == 0);
	assert_int_equal(http_streams(rig.http), 0);
	assert_int_equal(owner.gone, 1);
	rig_stop(&rig);
}

static void test_request_whose_client_has_left_gets_no_stream(void **state)
{
	struct client client;
	struct owner owner = {.gone = 0};
	struct rig rig;

	rig_start(&rig, rig_opts());
	client_open(&client, &rig);
	client_say(&client, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
	rig_until(&rig, rig.pending_count == 1);
	(void)http_cut(rig.http);
	assert_int_equal(begin(rig.pending[--rig.pending_count], &owner), 0);
	assert_null(owner.stream);
	client_close(&client);
	rig_stop(&rig);
}

/* Fills what the kernel takes, then what we take: then a write is refused, the last word is not,
 * and others are served all the while. What was taken arrives whole. */
static void test_reader_that_never_reads_is_bounded_and_disturbs_nobody(void **state)
{
	struct http_opts opts = rig_opts();
	struct client reader, other;
	struct owner owner;
	struct rig rig;
	size_t lines = 0, refused = 0;

	rig_start(&rig, opts);
	open_stream(&reader, &rig, &owner);
	client_open(&other, &rig);
	while (refused == 0) {
		for (int i = 0; i < 100 && refused == 0; i++) {
			bool is_taken = http_stream_write(owner.stream, LINE, strlen(LINE));

			lines += is_taken;
			refused += !is_taken;
			assert_true(http_stream_room(owner.stream) <= opts.stream_buffer);
		}
		client_say(&other, "GET /other HTTP/1.1\r\nHost: a\r\n\r\n");
		client_await(&other, 1);
		buf_clear(&other.in);
		assert_true(lines * strlen(LINE) < RIG_BIG_BYTES);
	}
	assert_true(http_stream_room(owner.stream) < strlen(LINE));
	http_stream_end(take_ptr(owner.stream), "too slow\n", 9);
	client_await_end(&reader);
	assert_int_equal(reader.error, 0);
	assert_non_null(strstr(buf_text(&reader.in), "too slow\n\r\n0\r\n\r\n"));
	assert_true(reader.in.len > lines * strlen(LINE));
	client_close(&reader);
	client_close(&other);
	rig_stop(&rig);
}

static void test_stalled_reader_is_cut_at_the_second_sign_of_life(void **state)
{
	int64_t deadline;
	struct http_opts opts = rig_opts();
	struct client reader;
	struct owner owner;
	struct rig rig;

	opts.stream_heartbeat_ms = 100;
	deadline = rig_deadline();
	rig_start(&rig, opts);
	open_stream(&reader, &rig, &owner);
	while (owner.gone == 0) { /* as much as goes in; then nothing */
		assert_true(clock_mono_ms() < deadline);
		if (http_stream_room(owner.stream) > strlen(LINE))
			write_text(&owner, LINE);
		else
			rig_turn(&rig, -1);
	}
	rig_until(&rig, http_streams(rig.http) == 0);
	client_close(&reader);
	rig_stop(&rig);
}

static void test_silent_stream_gives_signs_of_life(void **state)
{
	struct http_opts opts = rig_opts();
	struct client client;
	struct owner owner;
	struct rig rig;

	opts.stream_heartbeat_ms = 20;
	rig_start(&rig, opts);
	open_stream(&client, &rig, &owner);
	await_text(&client, HEARTBEAT);
	buf_clear(&client.in);
	await_text(&client, HEARTBEAT);
	http_stream_end(take_ptr(owner.stream), "", 0);
	client_await_end(&client);
	client_close(&client);
	rig_stop(&rig);
}

static void test_streams_too_many_are_refused(void **state)
{
	struct http_opts opts = rig_opts();
	struct client clients[3], last;
	struct owner owners[3], refused = {.gone = 0};
	struct rig rig;

	opts.streams_max = 3;
	opts.streams_per_address = 2;
	rig_start(&rig, opts);
	open_stream(&clients[0], &rig, &owners[0]);
	open_stream(&clients[1], &rig, &owners[1]);
	client_open(&last, &rig);
	client_say(&last, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
	rig_until(&rig, rig.pending_count == 1);
	assert_int_equal(begin(rig.pending[0], &refused), ERR_RATE);
	rig_resolve(&rig, 0); /* it still waits for its answer */
	client_await(&last, 1);
	client_close(&clients[0]);
	rig_until(&rig, owners[0].gone == 1);
	open_stream(&clients[0], &rig, &owners[0]); /* there is room again */
	for (int i = 0; i < 2; i++)
		client_close(&clients[i]);
	client_close(&last);
	rig_stop(&rig);
	opts.streams_max = 0;
	rig_start(&rig, opts);
	client_open(&last, &rig);
	client_say(&last, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
	rig_until(&rig, rig.pending_count == 1);
	assert_int_equal(begin(rig.pending[0], &refused), ERR_UNAVAILABLE);
	rig_resolve(&rig, 0);
	client_await(&last, 1);
	client_close(&last);
	rig_stop(&rig);
}

#define CROWD 20

static void test_drain_closes_streams_one_after_the_other(void **state)
{
	struct client clients[CROWD];
	struct owner owners[CROWD];
	int64_t began_mono_ms, last_mono_ms = 0;
	struct rig rig;

	rig_start(&rig, rig_opts());
	for (int i = 0; i < CROWD; i++)
		open_stream(&clients[i], &rig, &owners[i]);
	client_close(&clients[3]);
	rig_until(&rig, owners[3].gone == 1);
	http_close_listener(rig.http, rig_set, &rig.is_listener_closed);
	rig_until(&rig, rig.is_listener_closed);
	began_mono_ms = clock_mono_ms();
	http_drain(rig.http, 0, 1000, rig_set, &rig.is_drained);
	rig_until(&rig, rig.is_drained);
	for (int i = 0; i < CROWD; i++) {
		if (i == 3)
			continue;
		client_await_end(&clients[i]);
		assert_non_null(strstr(buf_text(&clients[i].in), "\r\n4\r\nbye\n\r\n0\r\n\r\n"));
		assert_int_equal(clients[i].error, 0);
		assert_int_equal(owners[i].closing, 1);
		assert_int_equal(owners[i].gone, 0);
		if (owners[i].closing_mono_ms > last_mono_ms)
			last_mono_ms = owners[i].closing_mono_ms;
		client_close(&clients[i]);
	}
	/* the last of 19 goes after 18/19 of the time; a timer may be late, not early */
	assert_true(last_mono_ms - began_mono_ms >= 1000 * 18 / 19);
	rig_stop(&rig);
}

static void test_cut_and_destroy_tell_the_owner_once(void **state)
{
	struct client clients[2];
	struct owner owners[2];
	struct rig rig;

	rig_start(&rig, rig_opts());
	for (int i = 0; i < 2; i++)
		open_stream(&clients[i], &rig, &owners[i]);
	assert_int_equal(http_cut(rig.http), 0); /* nobody waits for them */
	for (int i = 0; i < 2; i++)
		assert_int_equal(owners[i].gone, 1);
	rig_until(&rig, http_connections(rig.http) == 0);
	for (int i = 0; i < 2; i++)
		client_close(&clients[i]);
	open_stream(&clients[0], &rig, &owners[0]);
	rig_stop(&rig);
	assert_int_equal(owners[0].gone, 1);
	client_close(&clients[0]);
}

/* --- begun inside the handler --- */

static struct owner at_once;

static void handle_at_once(struct http_request *request, void *data)
{
	assert_int_equal(begin(request, &at_once), 0);
	write_text(&at_once, "at once");
}

static void test_stream_begun_in_the_handler_works(void **state)
{
	struct http_opts opts = rig_opts();
	struct client client;
	struct rig rig;

	memset(&rig, 0, sizeof(rig));
	assert_int_equal(uv_loop_init(&rig.loop), 0);
	opts.loop = &rig.loop;
	assert_int_equal(http_create(&opts, handle_at_once, &rig, &rig.http, &rig.err), 0);
	client_open(&client, &rig);
	client_say(&client, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
	await_text(&client, "\r\n7\r\nat once\r\n");
	http_stream_end(take_ptr(at_once.stream), "", 0);
	client_await_end(&client);
	assert_non_null(strstr(buf_text(&client.in), "\r\n0\r\n\r\n"));
	client_close(&client);
	rig_stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stream_written_bit_by_bit_arrives_bit_by_bit),
		cmocka_unit_test(test_stream_to_http_1_0_ends_with_the_connection),
		cmocka_unit_test(test_stream_of_a_head_request_is_a_head_alone),
		cmocka_unit_test(test_client_that_leaves_is_noticed_without_a_write),
		cmocka_unit_test(test_request_whose_client_has_left_gets_no_stream),
		cmocka_unit_test(test_reader_that_never_reads_is_bounded_and_disturbs_nobody),
		cmocka_unit_test(test_stalled_reader_is_cut_at_the_second_sign_of_life),
		cmocka_unit_test(test_silent_stream_gives_signs_of_life),
		cmocka_unit_test(test_streams_too_many_are_refused),
		cmocka_unit_test(test_drain_closes_streams_one_after_the_other),
		cmocka_unit_test(test_cut_and_destroy_tell_the_owner_once),
		cmocka_unit_test(test_stream_begun_in_the_handler_works),
	};

	return cmocka_run_group_tests_name("http_stream", tests, NULL, NULL);
}
