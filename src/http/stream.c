/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams: answers without an end of their own (events, output as it comes).
 *
 * libmicrohttpd asks for bytes (read_bytes). When there are none the connection is suspended, and
 * resumed by the next write; so an idle stream costs no turn of anything. But a suspended
 * connection is not watched by libmicrohttpd, and would never notice that its client has left. So
 * the loop watches the socket for that alone (a client that shuts its sending half counts as gone:
 * nobody who wants to read on does that), and the kernel is told to give up on a peer that answers
 * nothing.
 *
 * A reader that is slower than what it wants to read cannot make us keep more than stream_buffer:
 * then a write is refused, and whoever writes ends the stream with a last word, for which there is
 * always room.
 *
 * A stream is no request in flight: nobody waits for its end. While draining streams are closed one
 * by one, evenly over the time given, so that their clients do not all come back to the next
 * instance in the same moment. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/prove.h"
#include "http/http_priv.h"
#include "http/progress.h"

/* What a piece of the answer is asked for in; it has to fit into a connection's memory. */
#define BLOCK_SIZE 4096

/* A peer that does not answer keep-alive probes is given up after so many, so far apart. */
#define PROBES        3
#define PROBE_EVERY_S 5

struct http_stream {
	struct http *http;
	struct conn *conn; /* NULL: the connection is gone */
	struct http_stream_opts opts;
	struct buf bytes;
	size_t sent;   /* of these */
	bool is_ended; /* nothing more will be written; the owner hears no more of it */
	bool is_over;  /* and nothing more will be sent */
	uv_poll_t poll;
	struct list node; /* http->streams, until it is over */
	int holders;      /* libmicrohttpd's response, the poll handle */
};

static void let_go(struct http_stream *stream)
{
	if (--stream->holders > 0)
		return;
	buf_fini(&stream->bytes);
	free(stream);
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct http_stream *stream = container_of(handle, struct http_stream, poll);
	struct http *http = stream->http;

	let_go(stream);
	http_handle_closed(http);
}

/* --- the end --- */

void stream_over(struct http_stream *stream)
{
	struct http *http = stream->http;

	if (stream->is_over)
		return;
	stream->is_over = true;
	list_remove(&stream->node);
	http->stream_count--;
	http_count(http);
	must(uv_poll_stop(&stream->poll) == 0);
	uv_close((uv_handle_t *)&stream->poll, on_poll_closed);
	if (stream->is_ended)
		return;
	stream->is_ended = true;
	stream->opts.gone(stream->opts.data);
}

void stream_detach(struct conn *conn)
{
	struct http_stream *stream = take_ptr(conn->stream);

	stream_over(stream);
	stream->conn = NULL;
}

static void on_disconnect(uv_poll_t *poll, int status, int events)
{
	struct http_stream *stream = container_of(poll, struct http_stream, poll);

	conn_cut(stream->conn);
}

/* --- bytes --- */

static void wake(struct conn *conn)
{
	if (!conn->is_suspended)
		return;
	conn->is_suspended = false;
	MHD_resume_connection(conn->mhd);
	http_kick(conn->http);
}

static ssize_t read_bytes(void *data, uint64_t at, char *bytes, size_t max)
{
	struct http_stream *stream = data;
	size_t len = stream->bytes.len - stream->sent;

	if (stream->is_over || !stream->conn)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (len == 0 && stream->is_ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (len == 0) {
		stream->conn->is_suspended = true;
		MHD_suspend_connection(stream->conn->mhd);
		return 0;
	}
	len = len < max ? len : max;
	memcpy(bytes, stream->bytes.data + stream->sent, len);
	stream->sent += len;
	if (stream->sent == stream->bytes.len) {
		buf_clear(&stream->bytes);
		stream->sent = 0;
	}
	return (ssize_t)len;
}

static void on_response_gone(void *data)
{
	let_go(data);
}

/* What was sent is forgotten when that makes room for what is to come. */
static void append(struct http_stream *stream, const char *bytes, size_t len)
{
	if (stream->sent > 0) {
		stream->bytes.len -= stream->sent;
		memmove(stream->bytes.data, stream->bytes.data + stream->sent, stream->bytes.len);
		stream->sent = 0;
	}
	buf_append(&stream->bytes, bytes, len);
	must(!stream->bytes.is_cut);
	wake(stream->conn);
}

size_t http_stream_room(const struct http_stream *stream)
{
	size_t waiting = stream->bytes.len - stream->sent, limit = stream->http->opts.stream_buffer;

	return waiting < limit ? limit - waiting : 0;
}

bool http_stream_write(struct http_stream *stream, const char *bytes, size_t len)
{
	must(!stream->is_ended);
	if (len > http_stream_room(stream))
		return false;
	append(stream, bytes, len);
	conn_enter(stream->conn, PHASE_STREAM);
	return true;
}

void http_stream_end(struct http_stream *stream, const char *last, size_t len)
{
	must(!stream->is_ended && len <= HTTP_STREAM_LAST_MAX);
	stream->is_ended = true;
	append(stream, last, len);
	conn_enter(stream->conn, PHASE_SEND);
}

/* Nothing was written for a while. Whoever has read nothing either, of what waits, does not read.
 */
void stream_beat(struct conn *conn)
{
	struct http_stream *stream = conn->stream;
	const char *heartbeat = stream->opts.heartbeat;
	struct tcp_progress progress = {.acked_bytes = UINT64_MAX};

	(void)tcp_progress_read(conn->fd, &progress);
	if (stream->bytes.len > stream->sent && progress.acked_bytes == conn->acked_bytes) {
		metrics.http_streams_slow++;
		conn_cut(conn);
		return;
	}
	conn->acked_bytes = progress.acked_bytes;
	if (heartbeat && stream->bytes.len == stream->sent)
		append(stream, heartbeat, strlen(heartbeat));
	conn_enter(conn, PHASE_STREAM);
}

/* --- the beginning --- */

static size_t count_at(const struct conn *conn)
{
	const struct http *http = conn->http;
	size_t count = 0;

	list_for_each (node, &http->streams) {
		const struct conn *other = list_entry(node, struct http_stream, node)->conn;

		count += memcmp(other->peer.key, conn->peer.key, sizeof(conn->peer.key)) == 0;
	}
	return count;
}

static int check_limits(const struct conn *conn, struct err *err)
{
	const struct http *http = conn->http;

	if (http->is_draining)
		return err_set(err, ERR_UNAVAILABLE, "the service is stopping");
	if (http->stream_count >= (size_t)http->opts.streams_max)
		return err_set(err, ERR_UNAVAILABLE,
			"%zu streams are open already, as many as may (streams_max)",
			http->stream_count);
	if (conn->peer.is_limited && count_at(conn) >= (size_t)http->opts.streams_per_address)
		return err_set(err, ERR_RATE,
			"%d streams from this address are open already, as many as may "
			"(streams_per_address)",
			http->opts.streams_per_address);
	return 0;
}

/* Refused on sockets that are not TCP, which need none of it. */
static void watch_peer(const struct conn *conn)
{
	int64_t beat_ms = conn->http->opts.stream_heartbeat_ms;
	int yes = 1, idle_s = (int)(beat_ms / 1000) + 1, every_s = PROBE_EVERY_S, probes = PROBES;
	unsigned gone_ms = (unsigned)beat_ms * 3;

	(void)setsockopt(conn->fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(yes));
	(void)setsockopt(conn->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	(void)setsockopt(conn->fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof(every_s));
	(void)setsockopt(conn->fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	(void)setsockopt(conn->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &gone_ms, sizeof(gone_ms));
}

/* The kernel may have no more room for what is watched. */
static int create(struct conn *conn, const struct http_stream_opts *opts,
	struct http_stream **ret_stream, struct err *err)
{
	struct http *http = conn->http;
	struct http_stream *stream = xcalloc(1, sizeof(*stream));
	int code = uv_poll_init_socket(http->loop, &stream->poll, conn->fd);

	if (code < 0) {
		free(stream);
		return err_set(err, ERR_UNAVAILABLE,
			"the connection cannot be watched for its end: %s", uv_strerror(code));
	}
	stream->http = http;
	stream->conn = conn;
	stream->opts = *opts;
	stream->holders = 2;
	buf_init(&stream->bytes, http->opts.stream_buffer + HTTP_STREAM_LAST_MAX);
	list_init(&stream->node);
	list_push(&http->streams, &stream->node);
	http->stream_count++;
	http->in_flight--; /* nobody waits for its end */
	http_count(http);
	http_handle_opened(http);
	must(uv_poll_start(&stream->poll, UV_DISCONNECT, on_disconnect) == 0);
	watch_peer(conn);
	conn->stream = *ret_stream = stream;
	return 0;
}

/* Of a HEAD request it is all there is; a body in chunks would get its end from libmicrohttpd even
 * there. */
static struct MHD_Response *make_head(
	struct http_stream *stream, const struct http_stream_opts *opts)
{
	struct MHD_Response *response =
		stream ? MHD_create_response_from_callback(
				 MHD_SIZE_UNKNOWN, BLOCK_SIZE, read_bytes, stream, on_response_gone)
		       : MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT);

	must(response);
	(void)MHD_add_response_header(response, "Content-Type", opts->content_type);
	for (const char *const *h = opts->headers; h && h[0]; h += 2)
		(void)MHD_add_response_header(response, h[0], h[1]);
	return response;
}

int http_stream_begin(struct http_request *request, const struct http_stream_opts *opts,
	struct http_stream **ret_stream, struct err *err)
{
	struct conn *conn = request->conn;
	struct http_stream *stream = NULL;

	must(request->is_with_handler);
	if (conn && request->method != HTTP_HEAD &&
		(check_limits(conn, err) < 0 || create(conn, opts, &stream, err) < 0))
		return err->code;
	answer_give(request, 200, conn ? make_head(stream, opts) : NULL, true);
	*ret_stream = stream;
	return 0;
}

/* --- closing while draining --- */

static void close_one(struct http_stream *stream)
{
	if (RULE_IS_OFF(STREAMS_TOLD)) {
		conn_cut(stream->conn);
		return;
	}
	stream->opts.closing(stream->opts.data);
	must(stream->is_ended);
}

void streams_begin_close(struct http *http, int64_t spread_ms)
{
	http->closing_from_mono_ms = clock_mono_ms();
	http->closing_spread_ms = spread_ms;
	http->closing_total = http->closing_left = http->stream_count;
	if (http->closing_total > 0)
		http_arm(http, http->closing_from_mono_ms);
}

/* The i-th of n goes after i/n of the time. One that has been closed is at the end of the list
 * until it has been read. */
int64_t streams_close_due(struct http *http, int64_t now_mono_ms)
{
	while (http->closing_left > 0) {
		size_t done = http->closing_total - http->closing_left;
		int64_t due = http->closing_from_mono_ms + http->closing_spread_ms * (int64_t)done /
								   (int64_t)http->closing_total;
		struct http_stream *stream;

		if (due > now_mono_ms)
			return due;
		http->closing_left = list_is_empty(&http->streams) ? 0 : http->closing_left - 1;
		if (list_is_empty(&http->streams))
			break;
		stream = list_entry(list_pop(&http->streams), struct http_stream, node);
		list_push(&http->streams, &stream->node);
		if (!stream->is_ended)
			close_one(stream);
	}
	return INT64_MAX;
}
