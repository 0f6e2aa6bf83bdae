/* SPDX-License-Identifier: Apache-2.0
 *
 * A server and its clients in one thread: the server on a loop, the clients raw sockets. Every wait
 * is for something to happen, and turns the loop meanwhile; only when it does not happen within
 * RIG_PATIENCE_MS does the test fail. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "http/http.h"

#define RIG_PATIENCE_MS 120000
#define RIG_PENDING_MAX 128
#define RIG_BIG_BYTES   (32 * 1024 * 1024)

struct rig {
	uv_loop_t loop;
	struct http *http;
	struct err err;
	int handled;
	char last_path[256];
	char last_peer[64];
	struct http_request *pending[RIG_PENDING_MAX]; /* of /later, in order of arrival */
	size_t pending_count;
	bool is_listener_closed, is_drained, is_destroyed;
};

struct client {
	struct rig *rig;
	int fd;
	struct buf in;
	bool is_eof;
	int error; /* of recv, ECONNRESET ... */
};

static inline struct http_opts rig_opts(void)
{
	return (struct http_opts){
		.listen = "127.0.0.1:0",
		.backlog = 1024,
		.connections_max = 200,
		.connections_per_address = 200,
		.header_max = 16 * 1024,
		.body_max = 64 * 1024,
		.header_timeout_ms = 15000,
		.body_timeout_ms = 15000,
		.idle_timeout_ms = 15000,
		.streams_max = 100,
		.streams_per_address = 100,
		.stream_buffer = 64 * 1024,
		.stream_heartbeat_ms = 15000,
	};
}

static inline void rig_answer(struct http_request *request, const char *text, size_t len)
{
	static const char *const headers[] = {"X-Test", "yes", NULL};
	struct http_answer answer = {.status = 200,
		.content_type = "text/plain",
		.body = text,
		.body_len = len,
		.headers = headers};

	http_reply(request, &answer);
}

static inline void rig_answer_big(struct http_request *request)
{
	char *text = xcalloc(1, RIG_BIG_BYTES);

	memset(text, 'b', RIG_BIG_BYTES);
	rig_answer(request, text, RIG_BIG_BYTES);
	free(text);
}

/* /later waits for rig_resolve; /big is large; everything else is answered with its own path, or
 * with its body if it has one. */
static inline void rig_handle(struct http_request *request, void *data)
{
	struct rig *rig = data;
	size_t len;
	const char *body = http_body(request, &len);

	rig->handled++;
	(void)snprintf(rig->last_path, sizeof(rig->last_path), "%s", http_path_raw(request));
	(void)snprintf(rig->last_peer, sizeof(rig->last_peer), "%s", http_peer(request));
	if (strncmp(rig->last_path, "/later", 6) == 0) {
		assert_true(rig->pending_count < RIG_PENDING_MAX);
		rig->pending[rig->pending_count++] = request;
	} else if (strcmp(rig->last_path, "/big") == 0) {
		rig_answer_big(request);
	} else if (len > 0) {
		rig_answer(request, body, len);
	} else {
		rig_answer(request, rig->last_path, strlen(rig->last_path));
	}
}

/* Answers the i-th waiting request with its own path. */
static inline void rig_resolve(struct rig *rig, size_t i)
{
	struct http_request *request = rig->pending[i];
	char path[256];

	(void)snprintf(path, sizeof(path), "%s", http_path_raw(request));
	rig->pending[i] = rig->pending[--rig->pending_count];
	rig_answer(request, path, strlen(path));
}

static inline void rig_set(void *flag)
{
	*(bool *)flag = true;
}

static inline int rig_try_start(struct rig *rig, struct http_opts opts)
{
	memset(rig, 0, sizeof(*rig));
	assert_int_equal(uv_loop_init(&rig->loop), 0);
	opts.loop = &rig->loop;
	return http_create(&opts, rig_handle, rig, &rig->http, &rig->err);
}

static inline void rig_start(struct rig *rig, struct http_opts opts)
{
	if (rig_try_start(rig, opts) < 0)
		fail_msg("%s", rig->err.text);
}

/* One turn; waits for the loop or for `fd` (-1: none) a little. */
static inline void rig_turn(struct rig *rig, int fd)
{
	struct pollfd fds[2] = {
		{.fd = uv_backend_fd(&rig->loop), .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	int timeout_ms;

	uv_update_time(&rig->loop);
	timeout_ms = uv_backend_timeout(&rig->loop);
	(void)poll(fds, 2, timeout_ms < 0 || timeout_ms > 50 ? 50 : timeout_ms);
	(void)uv_run(&rig->loop, UV_RUN_NOWAIT);
}

static inline int64_t rig_deadline(void)
{
	return clock_mono_ms() + RIG_PATIENCE_MS;
}

/* Turns the loop until `condition` holds. */
#define rig_until(rig, condition)                                                                  \
	do {                                                                                       \
		int64_t deadline_ = rig_deadline();                                                \
		while (!(condition)) {                                                             \
			rig_turn((rig), -1);                                                       \
			if (clock_mono_ms() > deadline_)                                           \
				fail_msg("waited in vain for: %s", #condition);                    \
		}                                                                                  \
	} while (0)

static inline void rig_stop(struct rig *rig)
{
	http_destroy(rig->http, rig_set, &rig->is_destroyed);
	rig_until(rig, rig->is_destroyed);
	while (rig->pending_count > 0) /* answers to nobody: must neither crash nor leak */
		rig_resolve(rig, 0);
	assert_int_equal(uv_run(&rig->loop, UV_RUN_NOWAIT), 0);
	assert_int_equal(uv_loop_close(&rig->loop), 0);
}

/* Parses what http_address() says. */
static inline socklen_t rig_sockaddr(const char *text, struct sockaddr_storage *addr)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)addr;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)addr;
	struct sockaddr_un *un = (struct sockaddr_un *)addr;
	const char *port = strrchr(text, ':') + 1;
	int64_t number;

	memset(addr, 0, sizeof(*addr));
	if (strncmp(text, "unix:", 5) == 0) {
		un->sun_family = AF_UNIX;
		(void)snprintf(un->sun_path, sizeof(un->sun_path), "%s", text + 5);
		return sizeof(*un);
	}
	assert_true(parse_i64(port, 1, 65535, &number));
	if (text[0] == '[') {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)number);
		v6->sin6_addr = in6addr_loopback;
		return sizeof(*v6);
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons((uint16_t)number);
	v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return sizeof(*v4);
}

static inline void client_open_at(struct client *client, struct rig *rig, const char *address)
{
	struct sockaddr_storage addr;
	socklen_t len = rig_sockaddr(address, &addr);

	*client = (struct client){.rig = rig};
	buf_init(&client->in, RIG_BIG_BYTES + 4096);
	client->fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(client->fd >= 0);
	assert_int_equal(connect(client->fd, (struct sockaddr *)&addr, len), 0);
}

static inline void client_open(struct client *client, struct rig *rig)
{
	client_open_at(client, rig, http_address(rig->http));
}

static inline void client_close(struct client *client)
{
	if (client->fd >= 0)
		(void)close(client->fd);
	client->fd = -1;
	buf_fini(&client->in);
}

/* Sends all, turning the loop while the socket is full. False when the server has gone. */
static inline bool client_send(struct client *client, const char *bytes, size_t len)
{
	int64_t deadline = rig_deadline();

	while (len > 0) {
		ssize_t sent = send(client->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno != EAGAIN)
			return false;
		if (sent > 0) {
			bytes += sent;
			len -= (size_t)sent;
			continue;
		}
		rig_turn(client->rig, -1);
		assert_true(clock_mono_ms() < deadline);
	}
	return true;
}

static inline void client_say(struct client *client, const char *text)
{
	assert_true(client_send(client, text, strlen(text)));
}

/* Reads what there is, after a turn of the loop. */
static inline void client_turn(struct client *client)
{
	static char bytes[256 * 1024];
	ssize_t len;

	rig_turn(client->rig, client->is_eof ? -1 : client->fd);
	while (!client->is_eof) {
		len = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		if (len < 0 && errno == EAGAIN)
			return;
		if (len <= 0) {
			client->is_eof = true;
			client->error = len < 0 ? errno : 0;
			return;
		}
		buf_append(&client->in, bytes, (size_t)len);
	}
}

/* How many whole answers have come; `ret_at` gets where the n-th (from 0) begins. */
static inline int client_answers(const struct client *client, int n, const char **ret_at)
{
	const char *at = buf_text(&client->in), *end = at + client->in.len;
	int count = 0;

	for (;;) {
		const char *body = strstr(at, "\r\n\r\n"), *length;
		size_t len = 0;

		if (n == count && ret_at)
			*ret_at = at;
		if (!body)
			return count;
		body += 4;
		length = strstr(at, "Content-Length: ");
		if (length && length < body)
			len = strtoul(length + strlen("Content-Length: "), NULL, 10);
		if ((size_t)(end - body) < len)
			return count;
		at = body + len;
		count++;
	}
}

static inline void client_await(struct client *client, int answers)
{
	int64_t deadline = rig_deadline();

	while (client_answers(client, -1, NULL) < answers && !client->is_eof) {
		client_turn(client);
		assert_true(clock_mono_ms() < deadline);
	}
	if (client_answers(client, -1, NULL) < answers)
		fail_msg("%d answers expected, got (error %s): %s", answers,
			strerror(client->error), buf_text(&client->in));
}

static inline void client_await_end(struct client *client)
{
	int64_t deadline = rig_deadline();

	while (!client->is_eof) {
		client_turn(client);
		if (clock_mono_ms() > deadline)
			fail_msg("the connection was not closed: %s", buf_text(&client->in));
	}
}

static inline int client_status(const struct client *client, int n)
{
	const char *at = NULL;

	if (client_answers(client, n, &at) <= n)
		return 0;
	return strncmp(at, "HTTP/1.", 7) == 0 ? (int)strtoul(at + 9, NULL, 10) : -1;
}

/* A copy of the n-th answer, to be freed. */
static inline char *client_answer(const struct client *client, int n)
{
	const char *at = NULL, *next = NULL;
	int count = client_answers(client, n, &at);

	assert_true(count > n);
	(void)client_answers(client, n + 1, &next);
	return xstrndup(at, (size_t)(next - at));
}

static inline bool answer_has(const struct client *client, int n, const char *text)
{
	auto_free char *answer = client_answer(client, n);

	return strstr(answer, text) != NULL;
}
