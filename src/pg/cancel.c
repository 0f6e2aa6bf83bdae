/* SPDX-License-Identifier: Apache-2.0
 *
 * Ending a statement on the server: 16 bytes over a connection of its own, to the address of the
 * session, with the key the server gave at its start. The server signals the session's process and
 * closes.
 *
 * PQcancel does the same, but blocks, and without an end when the server's processes hang; in the
 * thread pool it would then hold a thread that name lookups need. The key it uses cannot be asked
 * for before libpq 17. PQtrace, however, tells it: one line of the trace of a session's start. When
 * libpq's wording should change, the key is unknown, and the connection is closed instead, which
 * ends the statement too (client_connection_check_interval), only later.
 *
 * It is always left to end by itself, even when its session has ended before: PgBouncer 1.18 dies
 * of a client that leaves in the middle of a cancel.
 *
 * Like PQcancel before libpq 17, this is not encrypted. A proxy that takes TLS only drops it: see
 * above. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "pg_priv.h"

#define CANCEL_CODE 80877102 /* of the protocol: 1234 << 16 | 5678 */

struct pg_cancel {
	uv_timer_t timer;
	struct pg_watch *watch;
	int fd;
	bool is_sent;
	uint32_t message[4];
	pg_cancel_fn *done;
	void *data;
};

/* "B\t12\tBackendKeyData\t 4711 -1234567\n": two signed numbers. */
static bool read_number(const char **text, uint32_t *ret_number)
{
	char digits[16];
	size_t len;
	int64_t value;

	*text += strspn(*text, " \t");
	len = strcspn(*text, " \t\n");
	if (len == 0 || len >= sizeof(digits))
		return false;
	memcpy(digits, *text, len);
	digits[len] = '\0';
	*text += len;
	if (!parse_i64(digits, INT32_MIN, UINT32_MAX, &value))
		return false;
	*ret_number = (uint32_t)value;
	return true;
}

void pg_cancel_read_key(const char *trace, struct pg_cancel_key *ret_key)
{
	static const char label[] = "\tBackendKeyData\t";
	const char *line = trace != NULL ? strstr(trace, label) : NULL;

	*ret_key = (struct pg_cancel_key){0};
	if (line == NULL)
		return;
	line += strlen(label);
	ret_key->is_known = read_number(&line, &ret_key->pid) &&
			    read_number(&line, &ret_key->secret) && *line == '\n';
}

static void on_timer_closed(uv_handle_t *handle)
{
	free(container_of((uv_timer_t *)handle, struct pg_cancel, timer));
}

/* The server's side is closed, or never was open, or takes too long. What was achieved shows in the
 * session. */
static void finish(struct pg_cancel *cancel)
{
	pg_watch_close(cancel->watch);
	(void)close(cancel->fd);
	uv_close((uv_handle_t *)&cancel->timer, on_timer_closed);
	cancel->done(cancel, cancel->data);
}

static void on_timeout(uv_timer_t *timer)
{
	finish(container_of(timer, struct pg_cancel, timer));
}

static void on_io(void *data, int status, int events)
{
	struct pg_cancel *cancel = data;
	ssize_t len;
	char byte;

	if (!cancel->is_sent) {
		len = send(cancel->fd, cancel->message, sizeof(cancel->message), MSG_NOSIGNAL);
		if (len < 0 && (errno == EAGAIN || errno == EINTR) &&
			pg_watch_set(cancel->watch, UV_WRITABLE))
			return;
		cancel->is_sent = len == sizeof(cancel->message);
		if (!cancel->is_sent || !pg_watch_set(cancel->watch, UV_READABLE))
			finish(cancel);
		return;
	}
	len = recv(cancel->fd, &byte, sizeof(byte), 0);
	if (len == 0 || (len < 0 && errno != EAGAIN && errno != EINTR) ||
		!pg_watch_set(cancel->watch, UV_READABLE))
		finish(cancel);
}

/* -1: not to be reached without waiting. */
static int connect_like(int session_fd)
{
	struct sockaddr_storage address = {0};
	socklen_t len = sizeof(address);
	int fd;

	if (getpeername(session_fd, (struct sockaddr *)&address, &len) != 0)
		return -1;
	fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, len) != 0 && errno != EINPROGRESS) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

struct pg_cancel *pg_cancel_start(uv_loop_t *loop, int fd, const struct pg_cancel_key *key,
	int64_t timeout_ms, pg_cancel_fn *done, void *data)
{
	int own_fd = key->is_known ? connect_like(fd) : -1;
	struct pg_cancel *cancel;

	if (own_fd < 0)
		return NULL;
	cancel = xcalloc(1, sizeof(*cancel));
	*cancel = (struct pg_cancel){.fd = own_fd,
		.message = {htonl(sizeof(cancel->message)), htonl(CANCEL_CODE), htonl(key->pid),
			htonl(key->secret)},
		.done = done,
		.data = data};
	cancel->watch = pg_watch_open(loop, own_fd, on_io, cancel);
	if (cancel->watch == NULL || !pg_watch_set(cancel->watch, UV_WRITABLE)) {
		pg_watch_close(cancel->watch);
		(void)close(own_fd);
		free(cancel);
		return NULL;
	}
	must(uv_timer_init(loop, &cancel->timer) == 0);
	(void)uv_timer_start(&cancel->timer, on_timeout, (uint64_t)timeout_ms, 0);
	return cancel;
}
