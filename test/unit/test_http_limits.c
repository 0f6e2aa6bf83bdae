/* SPDX-License-Identifier: Apache-2.0
 *
 * Limits of time and number, addresses, and how the server stops. */
#include "http_rig.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

/* --- time --- */

/* Bytes that keep coming must not keep the connection: one each turn until it ends. */
static void drip(struct client *client, const char *text)
{
	int64_t deadline = rig_deadline();

	while (!client->is_eof) {
		(void)send(client->fd, text, *text ? 1 : 0, MSG_NOSIGNAL | MSG_DONTWAIT);
		text += *text != '\0';
		client_turn(client);
		assert_true(clock_mono_ms() < deadline);
	}
}

static void test_dripped_head_is_ended_with_408(void **state)
{
	static char head[20000] = "GET /x HTTP/1.1\r\nHost: a\r\nX-A: ";
	struct http_opts opts = rig_opts();
	struct client fresh, reused, silent;
	struct rig rig;

	memset(head + strlen(head), 'a', sizeof(head) - strlen(head) - 1);
	opts.header_timeout_ms = 200;
	opts.idle_timeout_ms = 100;
	opts.header_max = 64 * 1024;
	rig_start(&rig, opts);
	client_open(&fresh, &rig);
	drip(&fresh, head);
	assert_int_equal(client_status(&fresh, 0), 408);
	client_open(&reused, &rig);
	client_say(&reused, GET("/x"));
	client_await(&reused, 1);
	drip(&reused, head);
	assert_int_equal(client_status(&reused, 1), 408);
	client_open(&silent, &rig);
	client_await_end(&silent);
	assert_int_equal(silent.in.len, 0);
	assert_int_equal(rig.handled, 1);
	client_close(&fresh);
	client_close(&reused);
	client_close(&silent);
	rig_until(&rig, http_connections(rig.http) == 0);
	rig_stop(&rig);
}

static void test_dripped_body_is_ended_with_408(void **state)
{
	static char body[10000];
	struct http_opts opts = rig_opts();
	struct client client;
	struct rig rig;

	memset(body, 'b', sizeof(body) - 1);
	opts.body_timeout_ms = 200;
	rig_start(&rig, opts);
	client_open(&client, &rig);
	client_say(&client, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n");
	drip(&client, body);
	assert_int_equal(client_status(&client, 0), 408);
	assert_true(answer_has(&client, 0, "\"code\":\"timeout\""));
	assert_int_equal(rig.handled, 0);
	client_close(&client);
	rig_until(&rig, http_connections(rig.http) == 0);
	rig_stop(&rig);
}

static void test_idle_connection_is_closed_politely(void **state)
{
	struct http_opts opts = rig_opts();
	struct client client;
	struct rig rig;
	int64_t began_ms;

	opts.idle_timeout_ms = 150;
	rig_start(&rig, opts);
	client_open(&client, &rig);
	client_say(&client, GET("/x"));
	client_await(&client, 1);
	began_ms = clock_mono_ms();
	client_await_end(&client);
	assert_int_equal(client.error, 0);
	assert_true(clock_mono_ms() - began_ms >= 150);
	assert_int_equal(client_answers(&client, -1, NULL), 1);
	client_close(&client);
	rig_until(&rig, http_connections(rig.http) == 0);
	rig_stop(&rig);
}

static void test_client_that_never_reads_is_cut(void **state)
{
	struct http_opts opts = rig_opts();
	struct client client;
	struct rig rig;

	opts.body_timeout_ms = 150;
	rig_start(&rig, opts);
	client_open(&client, &rig);
	client_say(&client, GET("/big"));
	rig_until(&rig, rig.handled == 1);
	rig_until(&rig, http_connections(rig.http) == 0);
	assert_int_equal(http_in_flight(rig.http), 0);
	client_close(&client);
	rig_stop(&rig);
}

static void test_client_that_reads_slowly_is_served(void **state)
{
	struct http_opts opts = rig_opts();
	struct client client;
	struct rig rig;
	int64_t began_ms;

	/* Server and client share this thread: the limit must be longer than it can lie idle on a
	 * busy machine, or the client would have stopped reading indeed. */
	opts.body_timeout_ms = 700;
	rig_start(&rig, opts);
	client_open(&client, &rig);
	client_say(&client, GET("/big"));
	began_ms = clock_mono_ms();
	while (client.in.len < RIG_BIG_BYTES && !client.is_eof) {
		static char bytes[256 * 1024];
		ssize_t len;

		rig_turn(&rig, -1);
		if (clock_mono_ms() - began_ms < (int64_t)(client.in.len / (RIG_BIG_BYTES / 1600)))
			continue; /* about 1600 ms for all of it, more than twice the limit */
		len = recv(client.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		if (len > 0)
			buf_append(&client.in, bytes, (size_t)len);
		client.is_eof = len == 0 || (len < 0 && errno != EAGAIN);
	}
	client_await(&client, 1);
	assert_true(clock_mono_ms() - began_ms > 2 * opts.body_timeout_ms);
	client_close(&client);
	rig_stop(&rig);
}

/* --- number --- */

static void test_connection_limit_refuses_but_serves_health(void **state)
{
	struct http_opts opts = rig_opts();
	struct client clients[4 + 16], client;
	struct rig rig;

	opts.connections_max = 4;
	rig_start(&rig, opts);
	for (int i = 0; i < 4; i++) {
		client_open(&clients[i], &rig);
		client_say(&clients[i], GET("/x"));
		client_await(&clients[i], 1);
	}
	client_open(&client, &rig);
	client_say(&client, GET("/x"));
	client_await_end(&client);
	assert_int_equal(client_status(&client, 0), 503);
	assert_true(answer_has(&client, 0, "Retry-After: 1\r\n"));
	client_close(&client);
	client_open(&client, &rig);
	client_say(&client, GET("/health/live"));
	client_await_end(&client);
	assert_int_equal(client_status(&client, 0), 200);
	client_close(&client);
	rig_until(&rig, http_connections(rig.http) == 4);
	for (int i = 4; i < 20; i++)
		client_open(&clients[i], &rig);
	rig_until(&rig, http_connections(rig.http) == 20);
	client_open(&client, &rig); /* beyond the reserve: told before it says anything */
	client_await_end(&client);
	assert_int_equal(client_status(&client, 0), 503);
	assert_int_equal(client.error, 0);
	client_close(&client);
	for (int i = 0; i < 20; i++)
		client_close(&clients[i]);
	rig_until(&rig, http_connections(rig.http) == 0);
	client_open(&client, &rig);
	client_say(&client, GET("/x"));
	client_await(&client, 1);
	assert_int_equal(client_status(&client, 0), 200);
	client_close(&client);
	rig_stop(&rig);
}

/* 127.0.0.2 is another address. */
static void client_open_from(struct client *client, struct rig *rig, const char *from)
{
	struct sockaddr_storage addr;
	struct sockaddr_in source = {.sin_family = AF_INET};
	socklen_t len = rig_sockaddr(http_address(rig->http), &addr);

	*client = (struct client){.rig = rig};
	buf_init(&client->in, 4096);
	assert_int_equal(inet_pton(AF_INET, from, &source.sin_addr), 1);
	client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(client->fd, (struct sockaddr *)&source, sizeof(source)), 0);
	assert_int_equal(connect(client->fd, (struct sockaddr *)&addr, len), 0);
}

static void test_address_limit(void **state)
{
	struct http_opts opts = rig_opts();
	struct client clients[3], client;
	struct rig rig;

	opts.connections_per_address = 3;
	rig_start(&rig, opts);
	for (int i = 0; i < 3; i++) {
		client_open(&clients[i], &rig);
		client_say(&clients[i], GET("/x"));
		client_await(&clients[i], 1);
	}
	client_open(&client, &rig);
	client_say(&client, GET("/x"));
	client_await_end(&client);
	assert_int_equal(client_status(&client, 0), 503);
	assert_int_equal(client.error, 0);
	client_close(&client);
	client_open_from(&client, &rig, "127.0.0.2");
	client_say(&client, GET("/x"));
	client_await(&client, 1);
	assert_int_equal(client_status(&client, 0), 200);
	assert_string_equal(rig.last_peer, "127.0.0.2");
	client_close(&client);
	client_close(&clients[0]);
	rig_until(&rig, http_connections(rig.http) == 2);
	client_open(&client, &rig);
	client_say(&client, GET("/x"));
	client_await(&client, 1);
	assert_int_equal(client_status(&client, 0), 200);
	client_close(&client);
	client_close(&clients[1]);
	client_close(&clients[2]);
	rig_stop(&rig);
}

/* Without descriptors: clients are told, the loop does not spin, and all is well afterwards. */
static void test_out_of_descriptors(void **state)
{
	struct rlimit before, limit;
	struct sockaddr_storage addr;
	struct client clients[8], client;
	struct rig rig;
	socklen_t len;

	rig_start(&rig, rig_opts());
	len = rig_sockaddr(http_address(rig.http), &addr);
	for (int i = 0; i < 8; i++) {
		clients[i] = (struct client){.rig = &rig};
		buf_init(&clients[i].in, 4096);
		clients[i].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	}
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = before;
	limit.rlim_cur = (rlim_t)clients[7].fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	for (int i = 0; i < 8; i++)
		assert_int_equal(connect(clients[i].fd, (struct sockaddr *)&addr, len), 0);
	for (int i = 0; i < 8; i++) {
		client_await_end(&clients[i]);
		assert_int_equal(client_status(&clients[i], 0), 503);
		client_close(&clients[i]);
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	client_open(&client, &rig);
	client_say(&client, GET("/x"));
	client_await(&client, 1);
	client_close(&client);
	rig_stop(&rig);
}

/* --- stopping --- */

static void test_closing_adds_connection_close(void **state)
{
	struct client client;
	struct rig rig;

	rig_start(&rig, rig_opts());
	client_open(&client, &rig);
	http_set_closing(rig.http, true);
	http_set_closing(rig.http, false);
	client_say(&client, GET("/x"));
	client_await(&client, 1);
	assert_false(answer_has(&client, 0, "Connection: close"));
	http_set_closing(rig.http, true);
	client_say(&client, GET("/x"));
	client_await_end(&client);
	assert_true(answer_has(&client, 1, "Connection: close"));
	assert_int_equal(client.error, 0);
	client_close(&client);
	rig_stop(&rig);
}

static void test_closing_serves_every_pipelined_request(void **state)
{
	struct client client;
	struct rig rig;

	rig_start(&rig, rig_opts());
	client_open(&client, &rig);
	client_say(&client, GET("/later") GET("/2") GET("/later3") GET("/4") GET("/5"));
	rig_until(&rig, rig.pending_count == 1);
	http_set_closing(rig.http, true);
	rig_resolve(&rig, 0);
	rig_until(&rig, rig.pending_count == 1);
	rig_resolve(&rig, 0);
	client_await_end(&client);
	assert_int_equal(client.error, 0);
	assert_int_equal(client_answers(&client, -1, NULL), 5);
	for (int i = 0; i < 5; i++)
		assert_int_equal(answer_has(&client, i, "Connection: close"), i == 4);
	client_close(&client);
	rig_stop(&rig);
}

static void close_listener(struct rig *rig)
{
	http_close_listener(rig->http, rig_set, &rig->is_listener_closed);
	assert_false(rig->is_listener_closed);
	rig_until(rig, rig->is_listener_closed);
}

static void test_drain_waits_for_what_is_in_flight(void **state)
{
	struct client busy, idle, partial;
	struct rig rig;

	rig_start(&rig, rig_opts());
	client_open(&busy, &rig);
	client_say(&busy, GET("/later"));
	client_open(&idle, &rig);
	client_say(&idle, GET("/x"));
	client_await(&idle, 1);
	client_open(&partial, &rig);
	client_say(&partial, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
	rig_until(&rig, rig.pending_count == 1 && http_in_flight(rig.http) == 2);
	close_listener(&rig);
	http_drain(rig.http, 100, 0, rig_set, &rig.is_drained);
	assert_false(rig.is_drained);
	client_await_end(&idle);
	assert_int_equal(idle.error, 0);
	rig_until(&rig, http_connections(rig.http) == 3); /* the idle one lingers in there */
	client_close(&idle);
	rig_until(&rig, http_connections(rig.http) == 2);
	client_say(&partial, "cd");
	client_await_end(&partial);
	assert_true(answer_has(&partial, 0, "\r\n\r\nabcd"));
	client_close(&partial);
	rig_until(&rig, http_connections(rig.http) == 1);
	assert_false(rig.is_drained);
	rig_resolve(&rig, 0);
	client_await_end(&busy);
	assert_true(answer_has(&busy, 0, "Connection: close"));
	client_close(&busy);
	rig_until(&rig, rig.is_drained);
	assert_int_equal(http_connections(rig.http), 0);
	rig_stop(&rig);
}

static void test_drain_of_an_empty_server_is_quick(void **state)
{
	struct rig rig;
	int64_t began_ms;

	rig_start(&rig, rig_opts());
	began_ms = clock_mono_ms();
	close_listener(&rig);
	http_drain(rig.http, 60000, 0, rig_set, &rig.is_drained);
	assert_false(rig.is_drained); /* never before it returns */
	rig_until(&rig, rig.is_drained);
	assert_true(clock_mono_ms() - began_ms < 30000);
	rig_stop(&rig);
}

static void test_cut_lets_go_of_suspended_requests(void **state)
{
	struct client clients[3];
	struct rig rig;

	rig_start(&rig, rig_opts());
	for (int i = 0; i < 3; i++) {
		client_open(&clients[i], &rig);
		client_say(&clients[i], i < 2 ? GET("/later") : GET("/big"));
	}
	rig_until(&rig, rig.handled == 3);
	close_listener(&rig);
	http_drain(rig.http, 0, 0, rig_set, &rig.is_drained);
	assert_int_equal(http_cut(rig.http), 3);
	rig_until(&rig, rig.is_drained);
	assert_int_equal(http_connections(rig.http), 0);
	assert_string_equal(http_header(rig.pending[0], "host"), "a");
	for (int i = 0; i < 3; i++)
		client_close(&clients[i]);
	rig_stop(&rig); /* answers the two pending ones afterwards */
}

static void test_destroy_with_everything_open(void **state)
{
	struct client clients[4];
	struct rig rig;

	rig_start(&rig, rig_opts());
	for (int i = 0; i < 4; i++)
		client_open(&clients[i], &rig);
	client_say(&clients[0], GET("/later"));
	client_say(&clients[1], GET("/big"));
	client_say(&clients[2], "GET /ha");
	rig_until(&rig, rig.handled == 2);
	rig_stop(&rig);
	for (int i = 0; i < 4; i++)
		client_close(&clients[i]);
}

/* Of this process alone, so that test runs do not meet. */
static void unix_address(const char *name, char *ret_listen, size_t size)
{
	(void)snprintf(
		ret_listen, size, "unix:/tmp/gathering-test-%s-%d.sock", name, (int)getpid());
}

/* A client that makes a connection for each request until it is refused. */
struct stormer {
	pthread_t thread;
	struct sockaddr_storage addr;
	socklen_t addr_len;
	int served, lost;
	char lost_how[80]; /* the first one */
};

/* `len` as of recv, -1 with errno also when nothing could be sent. */
static void note_lost(struct stormer *stormer, const char *answer, ssize_t len)
{
	const char *error = len < 0 ? strerror(errno) : "";

	if (stormer->lost++ == 0)
		(void)snprintf(stormer->lost_how, sizeof(stormer->lost_how), "%zd bytes: %s%.*s",
			len, error, len > 0 ? (int)strcspn(answer, "\r") : 0, answer);
}

static bool ask_once(struct stormer *stormer)
{
	struct timeval patience = {.tv_sec = 10};
	char answer[512] = "";
	int fd = socket(stormer->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool is_connected;
	ssize_t len;

	/* A dropped SYN is sent again after a second: what was refused by then was never connected.
	 */
	is_connected = connect(fd, (struct sockaddr *)&stormer->addr, stormer->addr_len) == 0;
	if (is_connected) {
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		len = send(fd, GET("/x"), strlen(GET("/x")), MSG_NOSIGNAL);
		if (len > 0)
			len = recv(fd, answer, sizeof(answer) - 1, 0);
		if (len > 12 && memcmp(answer + 9, "200", 3) == 0)
			stormer->served++;
		else
			note_lost(stormer, answer, len);
	}
	(void)close(fd);
	return is_connected;
}

static void *storm(void *data)
{
	struct stormer *stormer = data;

	while (ask_once(stormer) && stormer->lost < 100)
		;
	return NULL;
}

static void stop_in_a_storm(const char *listen, int *served, int *lost)
{
	struct stormer stormers[4];
	struct http_opts opts = rig_opts();
	struct rig rig;

	opts.listen = listen;
	rig_start(&rig, opts);
	for (size_t i = 0; i < COUNT_OF(stormers); i++) {
		stormers[i] = (struct stormer){0};
		stormers[i].addr_len = rig_sockaddr(http_address(rig.http), &stormers[i].addr);
		assert_int_equal(pthread_create(&stormers[i].thread, NULL, storm, &stormers[i]), 0);
	}
	rig_until(&rig, rig.handled > 50);
	close_listener(&rig);
	http_drain(rig.http, 0, 0, rig_set, &rig.is_drained);
	rig_until(&rig, rig.is_drained);
	for (size_t i = 0; i < COUNT_OF(stormers); i++) {
		assert_int_equal(pthread_join(stormers[i].thread, NULL), 0);
		*served += stormers[i].served;
		*lost += stormers[i].lost;
		if (stormers[i].lost > 0)
			(void)fprintf(stderr, "# lost: %s\n", stormers[i].lost_how);
	}
	rig_stop(&rig);
}

static void test_stop_in_a_storm_resets_nobody(void **state)
{
	int served = 0, lost = 0;
	const char *repeat = getenv("GATHERING_TEST_STOPS");
	char unix_listen[64];
	int64_t stops = 5;

	unix_address("storm", unix_listen, sizeof(unix_listen));

	if (repeat)
		assert_true(parse_i64(repeat, 1, 1000, &stops));
	for (int i = 0; i < stops; i++)
		stop_in_a_storm("127.0.0.1:0", &served, &lost);
	(void)fprintf(stderr, "# tcp: %d stops, %d served, %d lost\n", (int)stops, served, lost);
	assert_int_equal(lost, 0);
	for (int i = 0; i < stops; i++)
		stop_in_a_storm(unix_listen, &served, &lost);
	(void)fprintf(stderr, "# and unix: %d served, %d lost\n", served, lost);
	assert_int_equal(lost, 0);
}

/* --- addresses --- */

static void test_bad_addresses_are_refused_with_a_reason(void **state)
{
	static const struct {
		const char *listen;
		int code;
	} rows[] = {
		{"", ERR_INVALID},
		{"8080", ERR_INVALID},
		{":8080", ERR_INVALID},
		{"127.0.0.1", ERR_INVALID},
		{"127.0.0.1:", ERR_INVALID},
		{"127.0.0.1:65536", ERR_INVALID},
		{"127.0.0.1:-1", ERR_INVALID},
		{"127.0.0.1:80x", ERR_INVALID},
		{"[127.0.0.1]:80", ERR_INVALID},
		{"::1:80", ERR_INVALID},
		{"[::1:80", ERR_INVALID},
		{"example.com:80", ERR_INVALID},
		{"300.0.0.1:80", ERR_INVALID},
		{"192.0.2.1:0", ERR_INVALID}, /* TEST-NET: nobody's own */
		{"unix:", ERR_INVALID},
		{"unix:relative", ERR_INVALID},
		{"unix:/nonexistent/x.sock", ERR_IO},
		{"unix:/dev/null", ERR_CONFLICT},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct http_opts opts = rig_opts();
		struct rig rig;

		opts.listen = rows[i].listen;
		if (rig_try_start(&rig, opts) != rows[i].code)
			fail_msg("'%s': %s", rows[i].listen, rig.err.text);
		assert_true(strlen(rig.err.text) > 10);
		assert_int_equal(uv_loop_close(&rig.loop), 0);
	}
}

static void test_address_in_use_is_a_conflict(void **state)
{
	struct http_opts opts = rig_opts();
	struct rig first, second;

	rig_start(&first, opts);
	assert_true(strncmp(http_address(first.http), "127.0.0.1:", 10) == 0);
	opts.listen = http_address(first.http);
	assert_int_equal(rig_try_start(&second, opts), ERR_CONFLICT);
	assert_int_equal(uv_loop_close(&second.loop), 0);
	rig_stop(&first);
}

static void assert_serves(struct rig *rig, const char *peer)
{
	struct client client;

	client_open(&client, rig);
	client_say(&client, GET("/later"));
	rig_until(rig, rig->pending_count == 1);
	rig_resolve(rig, 0);
	client_await(&client, 1);
	assert_int_equal(client_status(&client, 0), 200);
	assert_string_equal(rig->last_peer, peer);
	client_close(&client);
	rig_until(rig, http_connections(rig->http) == 0);
}

static void test_unix_socket(void **state)
{
	struct http_opts opts = rig_opts();
	struct sockaddr_storage addr;
	struct rig first, second;
	struct stat status;
	char listen[64];
	const char *path;
	int fd;

	unix_address("http", listen, sizeof(listen));
	opts.listen = listen;
	path = listen + strlen("unix:");
	opts.connections_per_address = 1; /* does not count here */
	(void)unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); /* a stale one */
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, rig_sockaddr(opts.listen, &addr)), 0);
	(void)close(fd);
	assert_int_equal(stat(path, &status), 0);
	rig_start(&first, opts);
	assert_string_equal(http_address(first.http), opts.listen);
	assert_int_equal(rig_try_start(&second, opts), ERR_CONFLICT);
	assert_int_equal(uv_loop_close(&second.loop), 0);
	assert_serves(&first, "unix");
	close_listener(&first);
	assert_int_not_equal(stat(path, &status), 0);
	rig_stop(&first);
}

static void test_ipv6(void **state)
{
	struct http_opts opts = rig_opts();
	struct rig rig;

	opts.listen = "[::1]:0";
	if (rig_try_start(&rig, opts) < 0) {
		(void)uv_loop_close(&rig.loop);
		print_message("SKIPPED: no IPv6 here: %s\n", rig.err.text);
		skip();
	}
	assert_true(strncmp(http_address(rig.http), "[::1]:", 6) == 0);
	assert_serves(&rig, "::1");
	rig_stop(&rig);
}

static void test_last_request_ignores_health(void **state)
{
	struct client client;
	struct rig rig;

	rig_start(&rig, rig_opts());
	assert_true(http_last_request_mono_ms(rig.http) == NO_TIME);
	client_open(&client, &rig);
	client_say(&client, GET("/health") GET("/health/ready"));
	client_await(&client, 2);
	assert_true(http_last_request_mono_ms(rig.http) == NO_TIME);
	client_say(&client, GET("/healthy"));
	client_await(&client, 3);
	assert_true(http_last_request_mono_ms(rig.http) > clock_mono_ms() - RIG_PATIENCE_MS);
	client_close(&client);
	rig_stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dripped_head_is_ended_with_408),
		cmocka_unit_test(test_dripped_body_is_ended_with_408),
		cmocka_unit_test(test_idle_connection_is_closed_politely),
		cmocka_unit_test(test_client_that_never_reads_is_cut),
		cmocka_unit_test(test_client_that_reads_slowly_is_served),
		cmocka_unit_test(test_connection_limit_refuses_but_serves_health),
		cmocka_unit_test(test_address_limit),
		cmocka_unit_test(test_out_of_descriptors),
		cmocka_unit_test(test_closing_adds_connection_close),
		cmocka_unit_test(test_closing_serves_every_pipelined_request),
		cmocka_unit_test(test_drain_waits_for_what_is_in_flight),
		cmocka_unit_test(test_drain_of_an_empty_server_is_quick),
		cmocka_unit_test(test_cut_lets_go_of_suspended_requests),
		cmocka_unit_test(test_destroy_with_everything_open),
		cmocka_unit_test(test_stop_in_a_storm_resets_nobody),
		cmocka_unit_test(test_bad_addresses_are_refused_with_a_reason),
		cmocka_unit_test(test_address_in_use_is_a_conflict),
		cmocka_unit_test(test_unix_socket),
		cmocka_unit_test(test_ipv6),
		cmocka_unit_test(test_last_request_ignores_health),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
