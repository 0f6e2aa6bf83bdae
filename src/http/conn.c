/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections: which phase each is in, how long it may stay there, and how it ends.
 *
 * libmicrohttpd's own timeout begins anew with every byte, so a client that drips one a second
 * holds a connection for ever; it is switched off. Here each phase has a deadline that bytes do not
 * move.
 *
 * We never close libmicrohttpd's socket. To end a connection we shut the socket down: our half, so
 * that the client can still read what was said, and a second later both; libmicrohttpd then finds
 * it at its end and lets go. When it lets go on its own account, a copy of the descriptor lingers.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/prove.h"
#include "http/http_priv.h"
#include "http/progress.h"

static struct list *bucket_of(const struct http *http, const struct peer *peer)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < sizeof(peer->key); i++)
		hash = (hash ^ peer->key[i]) * 16777619u;
	return (struct list *)&http->buckets[hash % HTTP_ADDRESS_BUCKETS];
}

size_t conn_count_at(const struct http *http, const struct peer *peer)
{
	size_t count = 0;

	list_for_each (node, bucket_of(http, peer)) {
		const struct conn *conn = list_entry(node, struct conn, in_bucket);

		count += memcmp(conn->peer.key, peer->key, sizeof(peer->key)) == 0;
	}
	return count;
}

struct conn *conn_of(struct MHD_Connection *mhd)
{
	return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static void conn_begin(struct http *http, struct MHD_Connection *mhd, void **socket_context)
{
	struct conn *conn = xcalloc(1, sizeof(*conn));

	conn->http = http;
	conn->mhd = mhd;
	conn->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	conn->peer = *http->arriving;
	conn->is_reserve = http->arriving_is_reserve;
	list_init(&conn->in_phase);
	list_init(&conn->in_resumed);
	list_init(&conn->in_bucket);
	if (conn->peer.is_limited)
		list_push(bucket_of(http, &conn->peer), &conn->in_bucket);
	http->connection_count++;
	http_count(http);
	*socket_context = conn;
	conn_enter(conn, PHASE_HEAD);
}

static void conn_gone(struct http *http, struct conn *conn)
{
	int copy = -1;

	if (!conn->is_cut && !http->is_destroying)
		copy = fcntl(conn->fd, F_DUPFD_CLOEXEC, 0);
	if (copy >= 0)
		linger_take(http, copy);
	list_remove(&conn->in_phase);
	list_remove(&conn->in_resumed);
	list_remove(&conn->in_bucket);
	http->connection_count--;
	http_count(http);
	free(conn);
}

void conn_notify(void *data, struct MHD_Connection *mhd, void **socket_context,
	enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		conn_begin(data, mhd, socket_context);
	else
		conn_gone(data, *socket_context);
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t phase_limit_ms(const struct http *http, enum phase phase)
{
	const struct http_opts *opts = &http->opts;

	switch (phase) {
	case PHASE_HEAD:
		return http->is_draining && !RULE_IS_OFF(HEAD_DEADLINE)
			       ? least(opts->header_timeout_ms, HTTP_DRAIN_HEAD_MS)
			       : opts->header_timeout_ms;
	case PHASE_BODY:
	case PHASE_SEND:
		return opts->body_timeout_ms;
	case PHASE_STREAM:
		return opts->stream_heartbeat_ms;
	case PHASE_IDLE:
		return HTTP_HALF_CLOSED_MS;
	case PHASE_RESTING:
		return http->is_draining ? http->idle_grace_ms : opts->idle_timeout_ms;
	case PHASE_ENDED:
		return HTTP_LINGER_MS;
	case PHASE_BUSY:
	case PHASE_COUNT:
		break;
	}
	return 0;
}

void conn_enter(struct conn *conn, enum phase phase)
{
	struct http *http = conn->http;

	conn->phase = phase;
	list_remove(&conn->in_phase);
	list_push(&http->phases[phase], &conn->in_phase);
	if (phase == PHASE_BUSY)
		return;
	conn->deadline_mono_ms = clock_mono_ms() + phase_limit_ms(http, phase);
	http_arm(http, conn->deadline_mono_ms);
}

/* libmicrohttpd does not tell what is in its buffer, but the kernel knows how much has arrived, and
 * we know how much belonged to the requests so far. */
bool conn_has_more(const struct conn *conn)
{
	struct tcp_progress progress;

	return tcp_progress_read(conn->fd, &progress) &&
	       progress.received_bytes > conn->consumed_bytes;
}

void conn_end(struct conn *conn, int status, const char *why)
{
	if (conn->phase == PHASE_ENDED)
		return;
	if (status != 0) {
		metrics.http_refused++;
		answer_write(conn->fd, status, why);
	}
	(void)shutdown(conn->fd, SHUT_WR);
	conn_enter(conn, PHASE_ENDED);
}

void conn_cut(struct conn *conn)
{
	struct http_request *request = conn->request;

	conn->is_cut = true;
	if (conn->stream)
		stream_over(conn->stream);
	if (conn->phase != PHASE_ENDED)
		conn_enter(conn, PHASE_ENDED);
	if (request && request->is_with_handler)
		request_detach(request);
	(void)shutdown(conn->fd, SHUT_RDWR);
	if (conn->is_suspended) {
		conn->is_suspended = false;
		MHD_resume_connection(conn->mhd);
	}
	http_kick(conn->http);
}

/* A slow reader may go on as long as it reads at all; one that has stopped is reset, so that the
 * kernel does not keep the answer either. */
static void expire_send(struct conn *conn)
{
	struct tcp_progress progress;

	if (RULE_IS_OFF(UNREAD_ANSWER_CUT)) {
		conn_enter(conn, PHASE_SEND);
		return;
	}

	if (tcp_progress_read(conn->fd, &progress) && progress.acked_bytes > conn->acked_bytes) {
		conn->acked_bytes = progress.acked_bytes;
		conn_enter(conn, PHASE_SEND);
		return;
	}
	(void)setsockopt(conn->fd, SOL_SOCKET, SO_LINGER,
		&(struct linger){.l_onoff = 1, .l_linger = 0}, sizeof(struct linger));
	conn_cut(conn);
}

static bool has_client_closed(const struct conn *conn)
{
	char byte;

	return recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void expire(struct conn *conn)
{
	switch (conn->phase) {
	case PHASE_HEAD:
		if (conn->request || conn_has_more(conn))
			conn_end(conn, 408, "the request head did not arrive in time");
		else
			conn_end(conn, 0, NULL);
		break;
	case PHASE_BODY:
		conn_end(conn, 408, "the request body did not arrive in time");
		break;
	case PHASE_SEND:
		expire_send(conn);
		break;
	case PHASE_STREAM:
		stream_beat(conn);
		break;
	case PHASE_IDLE:
		if (has_client_closed(conn))
			conn_end(conn, 0, NULL);
		else
			conn_enter(conn, PHASE_RESTING);
		break;
	case PHASE_RESTING:
		if (conn_has_more(conn))
			conn_enter(conn, PHASE_HEAD);
		else
			conn_end(conn, 0, NULL);
		break;
	case PHASE_ENDED:
		conn_cut(conn);
		list_remove(&conn->in_phase);
		break;
	case PHASE_BUSY:
	case PHASE_COUNT:
		break;
	}
}

int64_t conn_expire(struct http *http, int64_t now_mono_ms)
{
	int64_t next = INT64_MAX;

	for (int phase = 0; phase < PHASE_COUNT; phase++) {
		if (phase == PHASE_BUSY)
			continue;
		list_for_each (node, &http->phases[phase]) {
			struct conn *conn = list_entry(node, struct conn, in_phase);

			if (conn->deadline_mono_ms > now_mono_ms) {
				next = least(next, conn->deadline_mono_ms);
				break;
			}
			expire(conn);
		}
	}
	return next;
}

static void shorten(struct http *http, enum phase phase)
{
	int64_t until = clock_mono_ms() + phase_limit_ms(http, phase);

	list_for_each (node, &http->phases[phase]) {
		struct conn *conn = list_entry(node, struct conn, in_phase);

		conn->deadline_mono_ms = least(conn->deadline_mono_ms, until);
	}
	http_arm(http, until);
}

void conn_drain_all(struct http *http)
{
	shorten(http, PHASE_HEAD);
	shorten(http, PHASE_RESTING);
}
