/* SPDX-License-Identifier: Apache-2.0
 *
 * The server object: libmicrohttpd turned by our loop.
 *
 * libmicrohttpd watches its connections with an epoll descriptor of its own; the loop watches that
 * descriptor and runs it when something has happened there. It has no thread, no listening socket
 * and no timeouts: listener.c accepts and conn.c keeps the deadlines. */
#include "http/http_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/prove.h"

/* Memory libmicrohttpd gives a connection beyond the largest head: its list of fields and query
 * parameters, and the head of the answer. */
#define CONNECTION_MEMORY_EXTRA 8192

void http_handle_opened(struct http *http)
{
	http->open_handles++;
}

void http_count(const struct http *http)
{
	if (http->opts.is_private)
		return;
	metrics.http_connections = (int64_t)http->connection_count;
	metrics.http_connections_idle =
		(int64_t)(http->connection_count - http->in_flight - http->stream_count);
	metrics.http_requests_in_flight = (int64_t)http->in_flight;
	metrics.http_streams = (int64_t)http->stream_count;
}

static void on_deadline(uv_timer_t *timer);

void http_arm(struct http *http, int64_t mono_ms)
{
	int64_t in_ms = mono_ms - clock_mono_ms();

	if (http->is_destroying || mono_ms >= http->timer_mono_ms)
		return;
	http->timer_mono_ms = mono_ms;
	/* One more: uv rounds down. */
	must(uv_timer_start(&http->timer, on_deadline, in_ms > 0 ? (uint64_t)in_ms + 1 : 0, 0) ==
		0);
}

/* Nothing in flight, nothing open, nothing still being said. */
static void settle(struct http *http)
{
	http_done_fn *drained = http->drained;

	if (!drained || http->in_flight + http->connection_count + http->linger_count > 0)
		return;
	http->drained = NULL;
	drained(http->drained_data);
}

static void run_turn(struct http *http)
{
	MHD_UNSIGNED_LONG_LONG wait_ms;

	must(MHD_run(http->daemon) == MHD_YES);
	for (struct list *node; (node = list_pop(&http->resumed));) {
		struct conn *conn = list_entry(node, struct conn, in_resumed);

		(void)MHD_set_connection_option(conn->mhd, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
	}
	if (MHD_get_timeout(http->daemon, &wait_ms) == MHD_YES && wait_ms == 0)
		http_kick(http);
	settle(http);
}

static void on_epoll(uv_poll_t *poll, int status, int events)
{
	run_turn(container_of(poll, struct http, epoll));
}

static void on_turn(uv_idle_t *turn)
{
	must(uv_idle_stop(turn) == 0);
	run_turn(container_of(turn, struct http, turn));
}

void http_kick(struct http *http)
{
	if (!http->is_destroying)
		must(uv_idle_start(&http->turn, on_turn) == 0);
}

static void on_deadline(uv_timer_t *timer)
{
	struct http *http = container_of(timer, struct http, timer);
	int64_t now_mono_ms = clock_mono_ms();
	int64_t conns, lingers, streams;

	http->timer_mono_ms = INT64_MAX;
	streams = streams_close_due(http, now_mono_ms);
	if (streams != INT64_MAX)
		http_arm(http, streams);
	conns = conn_expire(http, now_mono_ms);
	lingers = linger_expire(http, now_mono_ms);
	if (conns != INT64_MAX)
		http_arm(http, conns);
	if (lingers != INT64_MAX)
		http_arm(http, lingers);
}

/* The query is decoded by target.c, from a copy; libmicrohttpd's decoding would only blur what the
 * gate looks at. */
static size_t leave_escaped(void *data, struct MHD_Connection *mhd, char *text)
{
	return strlen(text);
}

static int start_daemon(struct http *http, struct err *err)
{
	unsigned limit = (unsigned)http->opts.connections_max + HTTP_RESERVE_CONNECTIONS;

	http->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
		request_on_data, http, MHD_OPTION_NOTIFY_CONNECTION, conn_notify, http,
		MHD_OPTION_URI_LOG_CALLBACK, request_on_target, http, MHD_OPTION_NOTIFY_COMPLETED,
		request_on_completed, http, MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL,
		MHD_OPTION_CONNECTION_LIMIT, limit, MHD_OPTION_CONNECTION_TIMEOUT, 0u,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, http->opts.header_max + CONNECTION_MEMORY_EXTRA,
		MHD_OPTION_END);
	if (!http->daemon)
		return err_set(err, ERR_IO, "cannot start the http server: out of descriptors");
	return 0;
}

static void start_handles(struct http *http)
{
	int epoll_fd = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;

	must(uv_poll_init(http->loop, &http->epoll, epoll_fd) == 0);
	http_handle_opened(http);
	must(uv_poll_start(&http->epoll, UV_READABLE, on_epoll) == 0);
	must(uv_idle_init(http->loop, &http->turn) == 0);
	http_handle_opened(http);
	must(uv_timer_init(http->loop, &http->timer) == 0);
	http_handle_opened(http);
	listener_start(http);
}

static void check_opts(const struct http_opts *opts)
{
	must(opts->loop && (opts->listen || opts->socket));
	must(opts->backlog > 0 && opts->connections_max > 0 && opts->connections_per_address > 0);
	must(opts->header_max > 0 && opts->body_max > 0);
	must(opts->streams_max == 0 || (opts->streams_per_address > 0 && opts->stream_buffer > 0 &&
					       opts->stream_heartbeat_ms > 0));
	must(opts->header_timeout_ms > 0 && opts->body_timeout_ms > 0 && opts->idle_timeout_ms > 0);
}

int http_create(const struct http_opts *opts, http_handler_fn *handler, void *data,
	struct http **ret_http, struct err *err)
{
	struct http *http = xcalloc(1, sizeof(*http));
	int result;

	check_opts(opts);
	http->loop = opts->loop;
	http->opts = *opts;
	http->handler = handler;
	http->data = data;
	http->timer_mono_ms = INT64_MAX;
	http->last_request_mono_ms = NO_TIME;
	for (int i = 0; i < PHASE_COUNT; i++)
		list_init(&http->phases[i]);
	for (int i = 0; i < HTTP_ADDRESS_BUCKETS; i++)
		list_init(&http->buckets[i]);
	list_init(&http->resumed);
	list_init(&http->lingers);
	list_init(&http->streams);
	result = start_daemon(http, err);
	if (result == 0)
		result = listener_init(http, err);
	http->opts.listen = NULL;
	http->opts.socket = NULL;
	if (result < 0) {
		if (http->daemon)
			MHD_stop_daemon(http->daemon);
		free(http);
		return result;
	}
	start_handles(http);
	*ret_http = http;
	return 0;
}

const char *http_address(const struct http *http)
{
	return http->address;
}

void http_open_doors(struct http *http)
{
	listener_open(http);
}

int http_listener_fd(const struct http *http)
{
	return http->listener.fd;
}

void http_share_listener(struct http *http, bool is_shared)
{
	http->listener.is_shared = is_shared;
}

/* A list of connections in order of their deadlines has some of both kinds for a while: those
 * behind a longer one wait for it, at most as long as that was to last. */
void http_set_limits(struct http *http, const struct http_limits *limits)
{
	http->opts.connections_per_address = limits->connections_per_address;
	http->opts.body_max = limits->body_max;
	http->opts.header_timeout_ms = limits->header_timeout_ms;
	http->opts.body_timeout_ms = limits->body_timeout_ms;
	http->opts.idle_timeout_ms = limits->idle_timeout_ms;
}

void http_set_closing(struct http *http, bool is_closing)
{
	http->is_closing = is_closing;
	for (int phase = PHASE_IDLE; RULE_IS_OFF(IDLE_KEPT) && phase <= PHASE_RESTING; phase++)
		list_for_each (node, &http->phases[phase])
			conn_end(list_entry(node, struct conn, in_phase), 0, NULL);
}

int64_t http_last_request_mono_ms(const struct http *http)
{
	return http->last_request_mono_ms;
}

void http_close_listener(struct http *http, http_done_fn *closed, void *data)
{
	must(http->listener.state < LISTENER_CLOSING);
	http->listener.closed = closed;
	http->listener.closed_data = data;
	listener_begin_close(http);
}

void http_drain(struct http *http, int64_t idle_grace_ms, int64_t close_spread_ms,
	http_done_fn *drained, void *data)
{
	must(http->listener.state == LISTENER_CLOSED && !http->drained);
	http->is_closing = true;
	http->is_draining = true;
	http->idle_grace_ms = idle_grace_ms;
	http->drained = drained;
	http->drained_data = data;
	conn_drain_all(http);
	streams_begin_close(http, close_spread_ms);
	http_kick(http);
}

size_t http_cut(struct http *http)
{
	size_t count = http->in_flight;

	for (int phase = 0; phase < PHASE_COUNT; phase++) {
		list_for_each (node, &http->phases[phase])
			conn_cut(list_entry(node, struct conn, in_phase));
	}
	linger_close_all(http);
	return count;
}

size_t http_in_flight(const struct http *http)
{
	return http->in_flight;
}

void http_each_in_flight(const struct http *http, http_each_fn *each, void *data)
{
	for (int phase = 0; phase < PHASE_COUNT; phase++) {
		list_for_each (node, &http->phases[phase]) {
			const struct conn *conn = list_entry(node, struct conn, in_phase);

			if (conn->request && conn->request->has_head && conn->request->head &&
				!conn->stream)
				each(conn->request, data);
		}
	}
}

size_t http_streams(const struct http *http)
{
	return http->stream_count;
}

size_t http_connections(const struct http *http)
{
	return http->connection_count;
}

void http_handle_closed(struct http *http)
{
	http_done_fn *destroyed = http->destroyed;
	void *data = http->destroyed_data;

	http->open_handles--;
	if (http->open_handles > 0 || !http->is_destroying)
		return;
	MHD_stop_daemon(http->daemon);
	free(http);
	if (destroyed)
		destroyed(data);
}

static void on_epoll_closed(uv_handle_t *handle)
{
	http_handle_closed(container_of(handle, struct http, epoll));
}

static void on_turn_closed(uv_handle_t *handle)
{
	http_handle_closed(container_of(handle, struct http, turn));
}

static void on_timer_closed(uv_handle_t *handle)
{
	http_handle_closed(container_of(handle, struct http, timer));
}

void http_destroy(struct http *http, http_done_fn *destroyed, void *data)
{
	http->is_destroying = true;
	http->drained = NULL;
	http->destroyed = destroyed;
	http->destroyed_data = data;
	(void)http_cut(http);
	listener_fini(http);
	uv_close((uv_handle_t *)&http->epoll, on_epoll_closed);
	uv_close((uv_handle_t *)&http->turn, on_turn_closed);
	uv_close((uv_handle_t *)&http->timer, on_timer_closed);
}
