/* SPDX-License-Identifier: Apache-2.0
 *
 * What clients meet: the listening socket, which answers from the first moment on (health only,
 * until the other parts are attached), and how it is closed again: the notice, the requests in
 * flight, the socket itself. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/prove.h"
#include "base/text.h"
#include "http/http.h"
#include "life/life.h"
#include "server_priv.h"

/* Fixed limits that nobody has needed to change yet. */
#define LISTEN_BACKLOG      1024
#define CUT_REQUESTS_LOGGED 20

/* --- listener --- */

static bool is_local(const char *listen)
{
	static const char *const local[] = {"127.", "localhost:", "[::1]:", "unix:"};

	for (size_t i = 0; i < COUNT_OF(local); i++)
		if (strncmp(listen, local[i], strlen(local[i])) == 0)
			return true;
	return false;
}

static int refuse_open(const char *where, struct err *err)
{
	return err_set(err, ERR_FORBIDDEN,
		"there is no access control yet, so '%s' would let anybody who can reach it run "
		"actions: listen on 127.0.0.1 or [::1], or say --insecure",
		where);
}

static int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* An inherited socket counts as shared: at first it is, with systemd or with the predecessor.
 * Nobody is accepted from it before we are ready: who waits in its queue is answered a moment
 * later, by the predecessor or by us, and not told 503 now. */
static int open_listener(struct server *server, struct err *err)
{
	const struct conf *conf = &server->conf;
	struct http_socket socket = {
		.fd = take_fd(&server->inherited.listen_fd), .is_shared = true};
	struct http_opts http_opts = {
		.loop = &server->loop,
		.listen = conf->listen,
		.socket = socket.fd >= 0 ? &socket : NULL,
		.is_held = socket.fd >= 0 && !RULE_IS_OFF(HELD_UNTIL_READY),
		.backlog = LISTEN_BACKLOG,
		.connections_max = (int)conf->connections_max,
		.connections_per_address = (int)conf->connections_per_address,
		.header_max = (size_t)conf->header_max,
		.body_max = (size_t)conf->body_max,
		.header_timeout_ms = conf->header_timeout,
		.body_timeout_ms = conf->body_timeout,
		.idle_timeout_ms = conf->idle_timeout,
		.streams_max = (int)conf->streams_max,
		.streams_per_address = (int)conf->streams_per_address,
		.stream_buffer = (size_t)conf->stream_buffer,
		.stream_heartbeat_ms = conf->stream_heartbeat,
	};

	if (socket.fd >= 0 && !inherit_is_local(socket.fd) && !conf->insecure) {
		(void)close(socket.fd);
		return refuse_open("the socket that was passed to us", err);
	}
	if (socket.fd < 0 && !is_local(conf->listen) && !conf->insecure)
		return refuse_open(conf->listen, err);
	return http_create(&http_opts, api_handle, server->api, &server->http, err);
}

static void on_http_destroyed(void *data)
{
	struct server *server = data;

	server->http = NULL;
	life_part_done(server->life);
}

void listener_part_stop(void *data)
{
	struct server *server = data;

	http_destroy(server->http, on_http_destroyed, server);
}

/* The kernel cuts the queue to this without a word, and a storm of connections meets its end. */
static void warn_of_short_queue(void)
{
	char text[32] = "";
	int64_t most = 0;
	int fd = open("/proc/sys/net/core/somaxconn", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;

	if (fd >= 0)
		(void)close(fd);
	text[got > 0 ? strcspn(text, "\n") : 0] = '\0';
	if (parse_i64(text, 1, INT64_MAX, &most) && most < LISTEN_BACKLOG)
		log_warn("the kernel allows a shorter queue of connections than we ask for: raise "
			 "net.core.somaxconn, or some are refused under load",
			kv_i64("somaxconn", most), kv_i64("wanted", LISTEN_BACKLOG));
}

void listener_part_start(void *data)
{
	struct server *server = data;
	struct err err = {0};
	bool is_inherited = server->inherited.listen_fd >= 0;
	int status = open_listener(server, &err);

	if (status == 0)
		warn_of_short_queue();
	if (status == 0)
		log_info("listening", kv_str("address", http_address(server->http)),
			kv_bool("inherited", is_inherited));
	server_report(server, status, &err);
}

/* --- http: opens the doors once all is up; requests in flight end before the runs --- */

void http_part_start(void *data)
{
	struct server *server = data;

	api_attach(server->api, server->store, server->sched, server->exec);
	http_open_doors(server->http);
	if (server->admin)
		http_open_doors(server->admin);
	life_part_done(server->life);
}

void http_quiet(void *data)
{
	struct server *server = data;

	http_set_closing(server->http, true);
}

void http_unquiet(void *data)
{
	struct server *server = data;

	http_set_closing(server->http, false);
}

static void on_http_drained(void *data)
{
	struct server *server = data;

	life_event(server->life, "http_drained");
	life_part_done(server->life);
}

void http_part_drain(void *data)
{
	struct server *server = data;

	http_drain(server->http, server->conf.idle_grace, server->conf.close_spread,
		on_http_drained, server);
}

int64_t http_drain_max(void *data)
{
	return ((struct server *)data)->conf.http_max;
}

/* Who asks why a request was not answered finds it by the id it carried. */
static void log_cut_request(const struct http_request *request, void *data)
{
	int *room = data;

	if (--*room >= 0)
		log_warn("request cut", kv_str("request", http_request_id(request)),
			kv_str("method", http_method_name(request)),
			kv_str("path", http_path_raw(request)));
}

void http_part_hurry(void *data)
{
	struct server *server = data;
	int room = CUT_REQUESTS_LOGGED;
	int64_t count;

	http_each_in_flight(server->http, log_cut_request, &room);
	count = (int64_t)http_cut(server->http);
	metrics.http_requests_cut += count;
	log_warn("requests cut", kv_i64("requests", count));
}

void http_part_stop(void *data)
{
	struct server *server = data;

	api_attach(server->api, NULL, NULL, NULL);
	life_part_done(server->life);
}

/* --- notice: the listener stays open while load balancers learn that we are going --- */

static void on_listener_closed(void *data)
{
	struct server *server = data;

	life_event(server->life, "listener_closed");
	life_part_done(server->life);
}

static void on_notice_done(void *data)
{
	struct server *server = data;

	life_event(server->life, "notice_done");
	life_doors_closed(server->life);
	http_close_listener(server->http, on_listener_closed, server);
}

void notice_part_start(void *data)
{
	struct server *server = data;

	notice_init(&server->notice, &server->loop);
	life_part_done(server->life);
}

void notice_part_drain(void *data)
{
	struct server *server = data;
	const struct conf *conf = &server->conf;
	struct notice_opts opts = {
		.min_ms = conf->notice_min,
		.max_ms = conf->notice_max,
		.quiet_ms = conf->quiet,
		.refusals = (int)conf->notice_503s,
		.http = server->http,
		.api = server->api,
	};

	if (upgrade_is_done(server)) /* the socket lives on: there is nothing to announce */
		on_notice_done(server);
	else
		notice_begin(&server->notice, &opts, on_notice_done, server);
}

void notice_part_hurry(void *data)
{
	struct server *server = data;

	notice_hurry(&server->notice);
}

void notice_part_stop(void *data)
{
	struct server *server = data;

	notice_close(&server->notice);
	life_part_done(server->life);
}
