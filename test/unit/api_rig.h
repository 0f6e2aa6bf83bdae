/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole server but for main: loop, life, memory store, executor, scheduler, API and HTTP on a
 * free loopback port, and a client in the same thread that turns the loop until its answer is
 * complete. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <jansson.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "api/api.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#define RIG_PATIENCE_MS 120000 /* no test waits longer for anything */
#define RIG_ANSWER_MAX  (16 * 1024 * 1024)

struct rig {
	uv_loop_t loop;
	uv_timer_t watchdog;
	struct life *life;
	struct store *store;
	struct exec *exec;
	struct sched *sched;
	struct api *api;
	struct http *http;
	struct api_opts api_opts;
	int awaited;     /* callbacks still to come */
	char folder[32]; /* for what programs leave */
};

struct answer {
	int status;
	char *bytes; /* owned: head and body */
	const char *body;
	size_t body_len;
	json_t *json; /* owned; NULL: the body is none */
};

static inline void rig_on_watchdog(uv_timer_t *timer)
{
	(void)fprintf(stderr, "a test waited longer than %d ms\n", RIG_PATIENCE_MS);
	abort();
}

static inline void rig_came(void *data)
{
	((struct rig *)data)->awaited--;
}

static inline void rig_wait(struct rig *rig)
{
	while (rig->awaited > 0)
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
}

/* Both hooks only begin: rig_ready() and rig_close() report them. */
static inline void rig_part_hook(void *data)
{
	(void)data;
}

static const struct part rig_parts[] = {
	{.name = "everything", .start = rig_part_hook, .drain = rig_part_hook},
};

/* Listening and starting; nothing attached. */
static inline void rig_open(struct rig *rig)
{
	struct err err = {0};
	struct life_opts life_opts = {.loop = &rig->loop,
		.parts = rig_parts,
		.part_count = 1,
		.server = rig,
		.total_max_ms = 60000};
	struct http_opts http_opts = {
		.loop = &rig->loop,
		.listen = "127.0.0.1:0",
		.backlog = 16,
		.connections_max = 64,
		.connections_per_address = 64,
		.header_max = 16384,
		.body_max = 1 << 20,
		.header_timeout_ms = 10000,
		.body_timeout_ms = 10000,
		.idle_timeout_ms = 10000,
	};
	struct api_opts api_opts = rig->api_opts;

	*rig = (struct rig){0};
	log_configure(LOG_ERROR, LOG_TEXT);
	assert_int_equal(uv_loop_init(&rig->loop), 0);
	assert_int_equal(uv_timer_init(&rig->loop, &rig->watchdog), 0);
	uv_timer_start(&rig->watchdog, rig_on_watchdog, RIG_PATIENCE_MS, 0);
	rig->life = life_create(&life_opts);
	api_opts.loop = &rig->loop;
	api_opts.life = rig->life;
	if (api_opts.db_grace_ms == 0)
		api_opts.db_grace_ms = 5000;
	api_opts.version = "9.9.9";
	api_opts.instance_id = id_make();
	rig->api_opts = api_opts;
	assert_int_equal(api_create(&api_opts, &rig->api, &err), 0);
	assert_int_equal(http_create(&http_opts, api_handle, rig->api, &rig->http, &err), 0);
	life_start(rig->life);
}

/* Everything started, attached and ready. */
static inline void rig_ready(struct rig *rig)
{
	struct err err = {0};
	struct store_opts store_opts = {.loop = &rig->loop,
		.url = "memory:",
		.queue_max = 1000,
		.batch_max = 100,
		.instance_id = rig->api_opts.instance_id};
	struct exec_opts exec_opts = {.loop = &rig->loop,
		.max_running = 10,
		.max_running_kind = {10, 10},
		.exec_enabled = true,
		.exec_paths = "/bin:/usr/bin",
		.exec_users = "",
		.term_grace_ms = 1000,
		.output_max = 65536,
		.state_dir = rig->folder,
		.user_agent = "gathering/test"};
	struct sched_opts sched_opts = {.loop = &rig->loop,
		.window_max = 1000,
		.window_ms = 60000,
		.poll_ms = 5000,
		.claim_max = 100,
		.db_max_ms = 1000};

	assert_int_equal(store_open(&store_opts, &rig->store, &err), 0);
	(void)snprintf(rig->folder, sizeof(rig->folder), "/tmp/test-api-XXXXXX");
	assert_non_null(mkdtemp(rig->folder));
	assert_int_equal(exec_create(&exec_opts, &rig->exec, &err), 0);
	sched_opts.store = rig->store;
	sched_opts.exec = rig->exec;
	assert_int_equal(sched_create(&sched_opts, &rig->sched, &err), 0);
	rig->awaited = 1;
	sched_start(rig->sched, rig_came, rig);
	rig_wait(rig);
	api_attach(rig->api, rig->store, rig->sched, rig->exec);
	life_part_done(rig->life);
	assert_int_equal(life_state(rig->life), SERVICE_READY);
}

/* Nothing of any program may be left there. */
static inline void rig_remove_folder(struct rig *rig)
{
	auto_free char *tmp = xasprintf("%s/tmp", rig->folder);

	assert_int_equal(rmdir(tmp), 0);
	assert_int_equal(rmdir(rig->folder), 0);
}

static inline void rig_stop_parts(struct rig *rig)
{
	sched_pause(rig->sched);
	(void)exec_end_all(rig->exec, ATTEMPT_CANCELLED);
	rig->awaited = 2;
	sched_drain(rig->sched, rig_came, rig_came, rig);
	rig_wait(rig);
	api_attach(rig->api, NULL, NULL, NULL);
	rig->awaited = 1;
	sched_destroy(rig->sched, rig_came, rig);
	rig_wait(rig);
	rig->awaited = 2;
	exec_destroy(rig->exec, rig_came, rig);
	store_close(rig->store, rig_came, rig);
	rig_wait(rig);
	rig_remove_folder(rig);
}

/* To the end of the life, whatever its state, then everything away. */
static inline void rig_close(struct rig *rig)
{
	life_drain(rig->life, LIFE_DRAIN_STOP, "test");
	if (life_state(rig->life) == SERVICE_DRAINING)
		life_part_done(rig->life);
	assert_int_equal(life_state(rig->life), SERVICE_STOPPED);
	if (rig->store)
		rig_stop_parts(rig);
	rig->awaited = 2;
	http_destroy(rig->http, rig_came, rig);
	api_destroy(rig->api, rig_came, rig);
	rig_wait(rig);
	uv_close((uv_handle_t *)&rig->watchdog, NULL);
	(void)uv_run(&rig->loop, UV_RUN_DEFAULT);
	life_destroy(rig->life);
	assert_int_equal(uv_loop_close(&rig->loop), 0);
}

/* --- the client --- */

static inline int rig_connect(const struct rig *rig)
{
	const char *port = strrchr(http_address(rig->http), ':') + 1;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int64_t number = 0;

	assert_true(fd >= 0);
	assert_true(parse_i64(port, 1, 65535, &number));
	to.sin_port = htons((uint16_t)number);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

/* Turns the loop until `fd` can be read or was closed. */
static inline void rig_on_readable(uv_poll_t *poll, int status, int events)
{
	*(bool *)poll->data = true;
}

static inline void rig_on_poll_closed(uv_handle_t *handle)
{
	*(bool *)handle->data = true;
}

static inline void rig_read_all(struct rig *rig, int fd, struct buf *out)
{
	bool is_readable = false, is_closed = false;
	uv_poll_t poll;
	char piece[65536];
	ssize_t got;

	assert_int_equal(uv_poll_init(&rig->loop, &poll, fd), 0);
	poll.data = &is_readable;
	assert_int_equal(uv_poll_start(&poll, UV_READABLE, rig_on_readable), 0);
	do {
		is_readable = false;
		while (!is_readable)
			(void)uv_run(&rig->loop, UV_RUN_ONCE);
		got = recv(fd, piece, sizeof(piece), MSG_DONTWAIT);
		if (got > 0)
			buf_append(out, piece, (size_t)got);
	} while (got > 0);
	assert_int_equal(got, 0);
	poll.data = &is_closed;
	uv_close((uv_handle_t *)&poll, rig_on_poll_closed);
	while (!is_closed)
		(void)uv_run(&rig->loop, UV_RUN_NOWAIT);
}

/* `headers`: whole lines, each with CRLF; "" none. A body is sent as application/json unless they
 * say otherwise. */
static inline struct answer rig_ask_with(struct rig *rig, const char *method, const char *path,
	const char *headers, const char *body)
{
	bool has_type = strstr(headers, "Content-Type:") || !*body;
	auto_free char *request = xasprintf("%s %s HTTP/1.1\r\nHost: x\r\nConnection: "
					    "close\r\nContent-Length: %zu\r\n%s%s\r\n%s",
		method, path, strlen(body), headers,
		has_type ? "" : "Content-Type: application/json\r\n", body);
	struct answer answer = {0};
	struct buf bytes;
	int fd = rig_connect(rig);
	size_t sent = 0;

	while (sent < strlen(request)) {
		ssize_t put = send(fd, request + sent, strlen(request) - sent, MSG_DONTWAIT);

		if (put > 0)
			sent += (size_t)put;
		else
			(void)uv_run(&rig->loop, UV_RUN_NOWAIT);
	}
	buf_init(&bytes, RIG_ANSWER_MAX);
	rig_read_all(rig, fd, &bytes);
	close(fd);
	assert_int_equal(strncmp(buf_text(&bytes), "HTTP/1.1 ", 9), 0);
	answer.status = (buf_text(&bytes)[9] - '0') * 100 + (buf_text(&bytes)[10] - '0') * 10 +
			(buf_text(&bytes)[11] - '0');
	answer.body_len = bytes.len;
	answer.bytes = buf_take(&bytes);
	answer.body = strstr(answer.bytes, "\r\n\r\n") + 4;
	answer.body_len -= (size_t)(answer.body - answer.bytes);
	answer.json = json_loadb(answer.body, answer.body_len, 0, NULL);
	return answer;
}

static inline struct answer rig_ask(
	struct rig *rig, const char *method, const char *path, const char *body)
{
	return rig_ask_with(rig, method, path, "", body);
}

static inline void answer_fini(struct answer *answer)
{
	json_decref(answer->json);
	free(answer->bytes);
}

/* For requests of which only the status matters. */
static inline int rig_status(
	struct rig *rig, const char *method, const char *path, const char *body)
{
	struct answer answer = rig_ask(rig, method, path, body);
	int status = answer.status;

	answer_fini(&answer);
	return status;
}

/* The value of a header, "" when absent; valid until the next call. */
static inline const char *answer_header(const struct answer *answer, const char *name)
{
	static char value[512];
	size_t len = strlen(name);

	for (const char *line = answer->bytes; line && line < answer->body - 2;
		line = strstr(line, "\r\n")) {
		line += line == answer->bytes ? 0 : 2;
		if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
			const char *from = line + len + 1 + strspn(line + len + 1, " ");

			(void)snprintf(
				value, sizeof(value), "%.*s", (int)strcspn(from, "\r"), from);
			return value;
		}
	}
	return "";
}

/* A member by path: "errors.0.pointer". */
static inline const json_t *answer_at(const struct answer *answer, const char *path)
{
	const json_t *json = answer->json;
	int64_t index;

	while (json && *path) {
		size_t len = strcspn(path, ".");
		auto_free char *word = xstrndup(path, len);

		json = parse_i64(word, 0, 1000000, &index) ? json_array_get(json, (size_t)index)
							   : json_object_get(json, word);
		path += len + (path[len] == '.');
	}
	return json;
}

static inline const char *answer_text(const struct answer *answer, const char *path)
{
	const char *text = json_string_value(answer_at(answer, path));

	return text ? text : "";
}

static inline int64_t answer_number(const struct answer *answer, const char *path)
{
	const json_t *json = answer_at(answer, path);

	return json_is_integer(json) ? json_integer_value(json) : -999;
}
