/* SPDX-License-Identifier: Apache-2.0
 *
 * Accepting, and ceasing to.
 *
 * We accept ourselves, not libmicrohttpd: only so can a connection too many be told why, can
 * descriptors run out without a busy loop, and can the listener be closed without loss. A plain
 * close() resets whoever waits in the accept queue (15 clients a stop, measured). So first no new
 * handshake may begin (a socket filter drops SYNs; the client's kernel sends them again and meets
 * the successor, or a plain refusal), then the queue is emptied until it has been quiet for 20 ms,
 * then the socket is closed (LIFECYCLE section 4). Accepted sockets inherit the filter; it passes
 * everything but a bare SYN, so it does them no harm. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/prove.h"
#include "http/http_priv.h"

static int open_reserve(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* The refusal is tiny and the socket new: it always fits into the send buffer. */
static void turn_away(struct http *http, int fd, const char *why)
{
	metrics.http_refused++;
	answer_write(fd, 503, why);
	(void)shutdown(fd, SHUT_WR);
	linger_take(http, fd);
}

static void admit(struct http *http, int fd, const struct peer *peer)
{
	size_t limit = (size_t)http->opts.connections_max;

	if (peer->is_limited &&
		conn_count_at(http, peer) >= (size_t)http->opts.connections_per_address)
		return turn_away(http, fd, "too many connections from this address");
	if (http->connection_count >=
		limit + (RULE_IS_OFF(HEALTH_RESERVE) ? 0 : HTTP_RESERVE_CONNECTIONS))
		return turn_away(http, fd, "too many connections");
	http->arriving = peer;
	http->arriving_is_reserve = http->connection_count >= limit;
	/* Closes fd when it fails. */
	(void)MHD_add_connection(
		http->daemon, fd, (const struct sockaddr *)&peer->addr, peer->addr_len);
	http->arriving = NULL;
}

/* Out of descriptors: the spare one makes room to accept one client and say so; otherwise the
 * kernel would report the socket readable for ever. False when even that does not help. */
static bool shed_one(struct listener *listener)
{
	int fd;

	if (listener->reserve_fd < 0)
		listener->reserve_fd = open_reserve();
	if (listener->reserve_fd < 0)
		return false;
	close(listener->reserve_fd);
	fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		char unread[4096];

		metrics.http_refused++;
		answer_write(fd, 503, "out of file descriptors");
		(void)shutdown(fd, SHUT_WR);
		(void)!recv(fd, unread, sizeof(unread), MSG_DONTWAIT);
		close(fd);
	}
	listener->reserve_fd = open_reserve();
	return fd >= 0;
}

static void on_timer(uv_timer_t *timer);

static void pause_accepting(struct listener *listener)
{
	if (listener->state != LISTENER_OPEN)
		return;
	listener->state = LISTENER_PAUSED;
	must(uv_poll_stop(&listener->poll) == 0);
	must(uv_timer_start(&listener->timer, on_timer, HTTP_ACCEPT_PAUSE_MS, 0) == 0);
}

/* Accepts one client. 1: done (or the client has gone already); 0: nobody waits; -1: cannot. */
static int accept_one(struct http *http)
{
	struct listener *listener = &http->listener;
	struct peer peer = {.addr_len = sizeof(peer.addr)};
	int fd = accept4(listener->fd, (struct sockaddr *)&peer.addr, &peer.addr_len,
		SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		metrics.http_accepted_late += listener->state == LISTENER_CLOSING;
		address_of_peer(&peer);
		admit(http, fd, &peer);
		return 1;
	}
	switch (errno) {
	case EAGAIN:
		return 0;
	case EMFILE:
	case ENFILE:
		if (RULE_IS_OFF(SPARE_DESCRIPTOR))
			return 0;
		return shed_one(listener) ? 1 : -1;
	case ENOBUFS:
	case ENOMEM:
		return -1;
	default: /* a network error of that one connection: accept(2) */
		return 1;
	}
}

/* Returns how many came. */
static int accept_batch(struct http *http)
{
	int count = 0;

	while (count < HTTP_ACCEPT_BATCH) {
		int result = accept_one(http);

		if (result < 0)
			pause_accepting(&http->listener);
		if (result <= 0)
			break;
		count++;
	}
	return count;
}

/* The whole queue, which is no longer than the backlog. */
static int accept_queue(struct http *http)
{
	int total = 0;

	for (int count = 1; count > 0 && total <= http->opts.backlog; total += count)
		count = accept_batch(http);
	return total;
}

static void await_quiet(struct listener *listener)
{
	must(uv_timer_start(&listener->timer, on_timer, HTTP_QUIET_MS, 0) == 0);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct http *http = container_of(poll, struct http, listener.poll);

	struct listener *listener = &http->listener;

	if (accept_batch(http) > 0 && listener->state == LISTENER_CLOSING &&
		clock_mono_ms() < listener->closing_until_mono_ms)
		await_quiet(listener);
}

static void start_polling(struct listener *listener)
{
	must(uv_poll_start(&listener->poll, UV_READABLE, on_readable) == 0);
}

static void remove_unix_path(struct listener *listener)
{
	struct stat status;

	if (!listener->unix_path || listener->is_shared)
		return;
	/* Not if a successor has put its own socket there meanwhile. */
	if (lstat(listener->unix_path, &status) == 0 && status.st_dev == listener->unix_device &&
		status.st_ino == listener->unix_inode)
		(void)unlink(listener->unix_path);
	free(listener->unix_path);
	listener->unix_path = NULL;
}

static void on_closed(uv_handle_t *handle)
{
	struct http *http = container_of(handle, struct http, listener.poll);
	struct listener *listener = &http->listener;

	if (listener->closed)
		listener->closed(listener->closed_data);
	http_handle_closed(http);
}

static void close_now(struct http *http)
{
	struct listener *listener = &http->listener;

	listener->state = LISTENER_CLOSED;
	must(uv_timer_stop(&listener->timer) == 0);
	must(uv_poll_stop(&listener->poll) == 0);
	close(listener->fd);
	listener->fd = -1;
	uv_close((uv_handle_t *)&listener->poll, on_closed);
}

static void on_timer(uv_timer_t *timer)
{
	struct http *http = container_of(timer, struct http, listener.timer);
	struct listener *listener = &http->listener;

	if (listener->state == LISTENER_PAUSED) {
		listener->state = LISTENER_OPEN;
		start_polling(listener);
		return;
	}
	if (accept_queue(http) > 0 && clock_mono_ms() < listener->closing_until_mono_ms)
		await_quiet(listener);
	else
		close_now(http);
}

/* tcp[13] & (SYN|ACK) == SYN: drop. A filter on a TCP socket sees the packet from its TCP header.
 */
static bool refuse_handshakes(int fd)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x12),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x02, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	struct sock_fprog program = {.len = COUNT_OF(code), .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0;
}

void listener_begin_close(struct http *http)
{
	struct listener *listener = &http->listener;

	if (listener->is_shared && !RULE_IS_OFF(SHARED_SOCKET_SPARED)) {
		close_now(http);
		return;
	}
	if (listener->state != LISTENER_OPEN)
		start_polling(listener);
	listener->state = LISTENER_CLOSING;
	listener->closing_until_mono_ms = clock_mono_ms() + HTTP_QUIET_MAX_MS;
	remove_unix_path(listener);
	/* Without the filter waiting would only collect more clients: empty the queue and close. */
	if (!listener->is_unix && !refuse_handshakes(listener->fd))
		listener->closing_until_mono_ms = 0;
	if (RULE_IS_OFF(QUEUE_EMPTIED))
		close_now(http);
	else
		await_quiet(listener);
}

int listener_init(struct http *http, struct err *err)
{
	const struct http_socket *socket = http->opts.socket;
	struct listener *listener = &http->listener;
	int result;

	*listener = (struct listener){.fd = -1,
		.reserve_fd = -1,
		.state = LISTENER_HELD,
		.is_shared = socket && socket->is_shared};
	result = socket ? address_adopt(socket->fd, listener, http->address, err)
			: address_listen(&http->opts, listener, http->address, err);
	if (result < 0) {
		if (socket)
			close(socket->fd);
		return result;
	}
	listener->reserve_fd = open_reserve();
	return 0;
}

void listener_start(struct http *http)
{
	struct listener *listener = &http->listener;

	must(uv_poll_init_socket(http->loop, &listener->poll, listener->fd) == 0);
	http_handle_opened(http);
	must(uv_timer_init(http->loop, &listener->timer) == 0);
	http_handle_opened(http);
	if (!http->opts.is_held)
		listener_open(http);
}

void listener_open(struct http *http)
{
	struct listener *listener = &http->listener;

	if (listener->state != LISTENER_HELD)
		return;
	listener->state = LISTENER_OPEN;
	start_polling(listener);
}

static void on_timer_closed(uv_handle_t *handle)
{
	http_handle_closed(container_of(handle, struct http, listener.timer));
}

void listener_fini(struct http *http)
{
	struct listener *listener = &http->listener;

	if (listener->state != LISTENER_CLOSED) {
		remove_unix_path(listener);
		close_now(http);
	}
	free(listener->unix_path);
	uv_close((uv_handle_t *)&listener->timer, on_timer_closed);
	if (listener->reserve_fd >= 0)
		close(listener->reserve_fd);
}
