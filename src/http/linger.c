/* SPDX-License-Identifier: Apache-2.0
 *
 * Lingering close (RFC 9112 section 9.6). A socket closed while bytes of its client lie unread, or
 * still come, answers them with a reset, and a reset can overtake the answer. So after our half is
 * shut the socket is kept a little, read and forgotten, until the client has closed its half too:
 * at most a second, so many bytes, and so many sockets at a time. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/http_priv.h"

#define READ_SIZE       (32 * 1024)
#define READS_IN_A_TURN 16

struct linger_socket {
	struct http *http; /* borrowed */
	int fd;
	uv_poll_t poll;
	struct list node; /* http->lingers, in order of deadline */
	int64_t deadline_mono_ms;
	size_t bytes_left;
};

/* Reads what is there. False when nothing more is worth waiting for. */
static bool is_still_open(int fd, size_t *bytes_left)
{
	static char unread[READ_SIZE];

	for (int i = 0; i < READS_IN_A_TURN; i++) {
		ssize_t len = recv(fd, unread, sizeof(unread), MSG_DONTWAIT);

		if (len < 0)
			return errno == EAGAIN || errno == EINTR;
		if (len == 0 || (size_t)len >= *bytes_left)
			return false;
		*bytes_left -= (size_t)len;
	}
	return true;
}

static void on_closed(uv_handle_t *handle)
{
	struct linger_socket *socket = container_of(handle, struct linger_socket, poll);
	struct http *http = socket->http;

	free(socket);
	http_handle_closed(http);
}

static void linger_close(struct linger_socket *socket)
{
	struct http *http = socket->http;

	list_remove(&socket->node);
	http->linger_count--;
	must(uv_poll_stop(&socket->poll) == 0);
	close(socket->fd);
	uv_close((uv_handle_t *)&socket->poll, on_closed);
	if (http->is_draining)
		http_kick(http);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct linger_socket *socket = container_of(poll, struct linger_socket, poll);

	if (status < 0 || !is_still_open(socket->fd, &socket->bytes_left))
		linger_close(socket);
}

void linger_take(struct http *http, int fd)
{
	size_t bytes_left = HTTP_LINGER_BYTES;
	struct linger_socket *socket;

	if (http->is_destroying || http->linger_count == HTTP_LINGER_MAX ||
		!is_still_open(fd, &bytes_left)) {
		close(fd);
		return;
	}
	socket = xcalloc(1, sizeof(*socket));
	socket->http = http;
	socket->fd = fd;
	socket->bytes_left = bytes_left;
	socket->deadline_mono_ms = clock_mono_ms() + HTTP_LINGER_MS;
	list_init(&socket->node);
	list_push(&http->lingers, &socket->node);
	http->linger_count++;
	must(uv_poll_init_socket(http->loop, &socket->poll, fd) == 0);
	http_handle_opened(http);
	must(uv_poll_start(&socket->poll, UV_READABLE | UV_DISCONNECT, on_readable) == 0);
	http_arm(http, socket->deadline_mono_ms);
}

int64_t linger_expire(struct http *http, int64_t now_mono_ms)
{
	list_for_each (node, &http->lingers) {
		struct linger_socket *socket = list_entry(node, struct linger_socket, node);

		if (socket->deadline_mono_ms > now_mono_ms)
			return socket->deadline_mono_ms;
		linger_close(socket);
	}
	return INT64_MAX;
}

void linger_close_all(struct http *http)
{
	list_for_each (node, &http->lingers)
		linger_close(list_entry(node, struct linger_socket, node));
}
