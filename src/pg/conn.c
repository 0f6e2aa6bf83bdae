/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection that keeps itself up: the states, the one timer whose meaning depends on them, and
 * what happens at the beginning and the end of a session. connect.c gets a session, queue.c and
 * answer.c use it. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "pg_priv.h"

#define SETUP_MAX          (64 * 1024)
#define CLIENT_CHECK_SINCE 140000 /* server versions that notice by themselves that we are gone */
#define HANDLES            2

struct pg_conn_opts pg_conn_defaults(void)
{
	return (struct pg_conn_opts){
		.application_name = "gathering",
		.connect_timeout_ms = 3000,
		.backoff_min_ms = 100,
		.backoff_max_ms = 5000,
		.cancel_grace_ms = 2000,
		.pipeline_max = 64,
		.queue_max = 10000,
	};
}

/* --- states --- */

#define TO(state) (1U << (state))

static const struct {
	const char *name;
	unsigned moves;
} states[] = {
	[CONN_DOWN] = {"down", TO(CONN_RESOLVING) | TO(CONN_CLOSING)},
	[CONN_RESOLVING] = {"resolving", TO(CONN_CONNECTING) | TO(CONN_DOWN) | TO(CONN_CLOSING)},
	[CONN_CONNECTING] = {"connecting",
		TO(CONN_SETUP) | TO(CONN_READY) | TO(CONN_DOWN) | TO(CONN_CLOSING)},
	[CONN_SETUP] = {"setup", TO(CONN_READY) | TO(CONN_DOWN) | TO(CONN_CLOSING)},
	[CONN_READY] = {"ready", TO(CONN_DOWN) | TO(CONN_CLOSING)},
	[CONN_CLOSING] = {"closing", 0},
};

void pg_conn_move(struct pg_conn *conn, enum pg_conn_state state)
{
	must((states[conn->state].moves & TO(state)) != 0);
	conn->state = state;
}

static void tell_state(struct pg_conn *conn, bool is_ready, const struct err *err)
{
	if (conn->pool != NULL)
		pg_pool_on_conn_state(conn, is_ready, err);
	else if (conn->opts.on_state != NULL)
		conn->opts.on_state(conn, is_ready, err, conn->opts.data);
}

/* --- timer and turn --- */

static void on_timer(uv_timer_t *timer)
{
	struct pg_conn *conn = container_of(timer, struct pg_conn, timer);
	int64_t armed_mono_ms = conn->armed_mono_ms;

	conn->armed_mono_ms = 0;
	if (clock_mono_ms() < armed_mono_ms) {
		pg_conn_arm(
			conn, armed_mono_ms); /* the loop's clock was behind when it was armed */
		return;
	}
	switch (conn->state) {
	case CONN_DOWN:
		pg_connect_start(conn);
		return;
	case CONN_RESOLVING:
	case CONN_CONNECTING:
		pg_connect_on_timer(conn);
		return;
	case CONN_SETUP:
	case CONN_READY:
		pg_queue_on_timer(conn);
		return;
	case CONN_CLOSING:
		return;
	}
}

void pg_conn_arm(struct pg_conn *conn, int64_t until_mono_ms)
{
	int64_t in_ms = until_mono_ms - clock_mono_ms();

	if (conn->armed_mono_ms != 0 && conn->armed_mono_ms <= until_mono_ms)
		return;
	conn->armed_mono_ms = until_mono_ms;
	(void)uv_timer_start(&conn->timer, on_timer, in_ms > 0 ? (uint64_t)in_ms : 0, 0);
}

void pg_conn_disarm(struct pg_conn *conn)
{
	conn->armed_mono_ms = 0;
	(void)uv_timer_stop(&conn->timer);
}

void pg_texts_fini(struct pg_texts *texts)
{
	free(texts->application_name);
	free(texts->settings);
	for (size_t i = 0; texts->channels != NULL && texts->channels[i] != NULL; i++)
		free(texts->channels[i]);
	free(texts->channels);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct pg_conn *conn = handle->data;
	pg_closed_fn *closed = conn->closed;
	void *data = conn->closed_data;

	if (--conn->handles_left > 0)
		return;
	pg_target_unref(conn->target);
	buf_fini(&conn->problems);
	pg_texts_fini(&conn->texts);
	free(conn->prepared);
	free(conn);
	if (closed != NULL)
		closed(data);
}

static void finish_closing(struct pg_conn *conn)
{
	if (conn->state != CONN_CLOSING || !list_is_empty(&conn->done) || conn->cancels_left > 0 ||
		uv_is_closing((uv_handle_t *)&conn->turn))
		return;
	uv_close((uv_handle_t *)&conn->turn, on_handle_closed);
	uv_close((uv_handle_t *)&conn->timer, on_handle_closed);
}

/* An idle handle, not a prepare handle: while it is active the loop does not sleep, so what a
 * callback asks of another connection is never left lying until something else happens. */
static void on_turn(uv_idle_t *turn)
{
	struct pg_conn *conn = container_of(turn, struct pg_conn, turn);

	(void)uv_idle_stop(turn);
	pg_queue_send(conn);
	pg_queue_deliver(conn);
	finish_closing(conn);
}

void pg_conn_schedule(struct pg_conn *conn)
{
	if (!uv_is_closing((uv_handle_t *)&conn->turn))
		(void)uv_idle_start(&conn->turn, on_turn);
}

/* --- the beginning of a session --- */

static void put_channel(struct pg_conn *conn, struct buf *script, const char *channel)
{
	char *quoted = PQescapeIdentifier(conn->handle, channel, strlen(channel));

	must(quoted != NULL);
	buf_printf(script, "LISTEN %s;\n", quoted);
	PQfreemem(quoted);
}

/* NULL: nothing to do. */
static char *setup_script(struct pg_conn *conn)
{
	struct buf script;

	if (conn->opts.route == PG_POOLED)
		return NULL;
	buf_init(&script, SETUP_MAX);
	if (PQserverVersion(conn->handle) >= CLIENT_CHECK_SINCE)
		buf_puts(&script, "SET client_connection_check_interval = '1s';\n");
	if (conn->opts.sync == PG_SYNC_TURN)
		buf_puts(&script, "SET default_transaction_read_only = on;\n");
	if (conn->opts.settings != NULL)
		buf_printf(&script, "%s;\n", conn->opts.settings);
	for (size_t i = 0; conn->opts.channels != NULL && conn->opts.channels[i] != NULL; i++)
		put_channel(conn, &script, conn->opts.channels[i]);
	must(!script.is_cut);
	return buf_take(&script);
}

static void setup_clear(struct pg_conn *conn)
{
	if (conn->setup.place == PG_IN_DONE) {
		list_remove(&conn->setup.wait.node); /* lost before its callback ran */
		conn->setup.place = PG_NOWHERE;
	}
	free(take_ptr(conn->setup_script));
	pg_query_fini(&conn->setup);
	pg_query_init(&conn->setup);
}

static void session_ready(struct pg_conn *conn)
{
	pg_conn_move(conn, CONN_READY);
	conn->failures = 0;
	conn->session = ++conn->last_session;
	tell_state(conn, true, NULL);
}

static void on_setup_done(struct pg_query *query)
{
	struct pg_conn *conn = query->data;
	struct err err = query->err;

	setup_clear(conn);
	if (err.code == 0) {
		session_ready(conn);
		return;
	}
	(void)err_wrap(&err, "preparing a session with %s", conn->target->people);
	err.code = ERR_UNAVAILABLE;
	pg_conn_lost(conn, &err);
}

void pg_conn_ready(struct pg_conn *conn)
{
	char *script = setup_script(conn);

	pg_conn_disarm(conn);
	if (script == NULL) {
		session_ready(conn);
		return;
	}
	pg_conn_move(conn, CONN_SETUP);
	conn->setup.script = conn->setup_script = script;
	conn->setup.timeout_ms = conn->opts.connect_timeout_ms;
	conn->setup.done = on_setup_done;
	conn->setup.data = conn;
	pg_query_begin(&conn->setup, clock_mono_ms());
	pg_queue_accept(conn, &conn->setup);
}

/* --- its end --- */

/* Twice as long each time, and anything between half and all of it, so that instances which lost
 * the same server do not come back in step. */
static int64_t backoff_ms(struct pg_conn *conn)
{
	unsigned doublings = conn->failures > 16 ? 16 : conn->failures;
	int64_t ms = conn->opts.backoff_min_ms << doublings;
	uint32_t random = 0;

	if (ms > conn->opts.backoff_max_ms)
		ms = conn->opts.backoff_max_ms;
	(void)uv_random(NULL, NULL, &random, sizeof(random), 0, NULL);
	return ms - (int64_t)(random % (uint64_t)(ms / 2 + 1));
}

static void drop_session(struct pg_conn *conn, const struct err *err)
{
	conn->cancel = NULL;
	pg_connect_clean(conn);
	pg_conn_disarm(conn);
	pg_queue_fail_all(conn, err);
	memset(conn->prepared, 0, sizeof(*conn->prepared));
	conn->session = 0;
	conn->renew_reason = NULL;
	conn->has_cancelled = conn->is_sync_due = false;
	conn->cancel_until_mono_ms = 0;
	setup_clear(conn);
}

void pg_conn_lost(struct pg_conn *conn, const struct err *err)
{
	struct err reason = *err;
	bool was_ready = conn->state == CONN_READY;

	if (conn->state == CONN_DOWN || conn->state == CONN_CLOSING)
		return;
	conn->last_err = reason;
	drop_session(conn, &reason);
	pg_conn_move(conn, CONN_DOWN);
	pg_conn_arm(conn,
		clock_mono_ms() + (was_ready ? conn->opts.backoff_min_ms / 2 : backoff_ms(conn)));
	if (!was_ready)
		conn->failures++;
	tell_state(conn, false, &reason);
}

void pg_conn_renew(struct pg_conn *conn, const char *why)
{
	struct err err = {0};

	(void)err_set(
		&err, ERR_UNAVAILABLE, "connection to %s renewed: %s", conn->target->people, why);
	pg_conn_lost(conn, &err);
	if (conn->state != CONN_DOWN)
		return;
	pg_conn_disarm(conn);
	pg_conn_arm(conn, clock_mono_ms());
}

void pg_conn_close(struct pg_conn *conn, pg_closed_fn *closed, void *data)
{
	struct err err = {0};

	must(conn->state != CONN_CLOSING);
	(void)err_set(&err, ERR_CANCELLED, "connection to %s closed", conn->target->people);
	conn->closed = closed;
	conn->closed_data = data;
	drop_session(conn, &err);
	pg_conn_move(conn, CONN_CLOSING);
	pg_conn_schedule(conn);
}

/* --- events --- */

/* Lines become sentences; an indented line ("Is the server running on that host ...?") is a hint
 * and left out. */
void pg_conn_libpq_err(const struct pg_conn *conn, struct err *ret_err)
{
	const char *message = PQerrorMessage(conn->handle);
	struct buf text;

	buf_init(&text, sizeof(ret_err->text));
	while (*message != '\0') {
		size_t len = strcspn(message, "\n");

		if (len > 0 && *message != '\t') {
			buf_puts(&text, text.len > 0 ? "; " : "");
			buf_append(&text, message, len);
		}
		message += len + (message[len] == '\n');
	}
	(void)err_set(ret_err, ERR_UNAVAILABLE, "%s", buf_text(&text));
	buf_fini(&text);
}

static void session_lost(struct pg_conn *conn)
{
	struct err err = {0};

	pg_conn_libpq_err(conn, &err);
	(void)err_wrap(&err, "connection to %s lost", conn->target->people);
	pg_conn_lost(conn, &err);
}

static void tell_notifications(struct pg_conn *conn)
{
	PGnotify *notify;

	while (conn->handle != NULL && (notify = PQnotifies(conn->handle)) != NULL) {
		if (conn->opts.on_notify != NULL)
			conn->opts.on_notify(conn, notify->relname, notify->extra, conn->opts.data);
		PQfreemem(notify);
	}
}

static void session_read(struct pg_conn *conn)
{
	bool is_alive = PQconsumeInput(conn->handle) == 1;

	/* What the server said before it went is in the buffer still. */
	if (!pg_answer_take(conn))
		return;
	if (is_alive && PQstatus(conn->handle) == CONNECTION_OK)
		tell_notifications(conn);
	else
		session_lost(conn);
}

static void session_on_io(struct pg_conn *conn, int events)
{
	if ((events & UV_READABLE) != 0)
		session_read(conn);
	if (conn->handle != NULL)
		(void)pg_queue_flush(conn);
}

void pg_conn_on_io(void *data, int status, int events)
{
	struct pg_conn *conn = data;

	if (status < 0)
		events = UV_READABLE; /* libpq finds out what it is */
	if (conn->state == CONN_CONNECTING) {
		pg_connect_on_io(conn);
		return;
	}
	session_on_io(conn, events);
	if (conn->renew_reason != NULL)
		pg_conn_renew(conn, conn->renew_reason);
	pg_queue_deliver(conn);
	if (conn->pool != NULL && conn->state == CONN_READY)
		pg_pool_on_room(conn);
}

/* --- making --- */

static char **dup_texts(const char *const *texts)
{
	size_t count = 0;
	char **copy;

	if (texts == NULL)
		return NULL;
	while (texts[count] != NULL)
		count++;
	copy = xcalloc(count + 1, sizeof(*copy));
	for (size_t i = 0; i < count; i++)
		copy[i] = xstrdup(texts[i]);
	return copy;
}

void pg_texts_copy(struct pg_texts *texts, struct pg_conn_opts *to, const struct pg_conn_opts *from)
{
	*texts = (struct pg_texts){.application_name = xstrdup(from->application_name),
		.settings = xstrdup(from->settings),
		.channels = dup_texts(from->channels)};
	*to = *from;
	to->url = NULL; /* the target stands for it */
	to->application_name = texts->application_name;
	to->settings = texts->settings;
	to->channels = (const char *const *)texts->channels;
}

struct pg_conn *pg_conn_make(
	const struct pg_conn_opts *opts, struct pg_target *target, struct pg_pool *pool)
{
	struct pg_conn *conn = xcalloc(1, sizeof(*conn));

	pg_texts_copy(&conn->texts, &conn->opts, opts);
	conn->target = pg_target_ref(target);
	conn->pool = pool;
	conn->prepared = xcalloc(1, sizeof(*conn->prepared));
	list_init(&conn->queue);
	list_init(&conn->resend);
	list_init(&conn->flights);
	list_init(&conn->done);
	must(uv_idle_init(opts->loop, &conn->turn) == 0 &&
		uv_timer_init(opts->loop, &conn->timer) == 0);
	conn->turn.data = conn->timer.data = conn;
	conn->handles_left = HANDLES;
	pg_conn_arm(conn, clock_mono_ms());
	return conn;
}

int pg_conn_check_opts(const struct pg_conn_opts *opts, struct err *err)
{
	must(opts->loop != NULL && opts->connect_timeout_ms > 0 && opts->backoff_min_ms > 0);
	must(opts->pipeline_max > 0 && opts->queue_max > 0 && opts->cancel_grace_ms > 0);
	if (opts->route == PG_POOLED && (opts->settings != NULL || opts->channels != NULL))
		return err_set(err, ERR_INVALID,
			"settings and LISTEN need a direct connection, not a transaction pooler");
	return 0;
}

int pg_conn_create(const struct pg_conn_opts *opts, struct pg_conn **ret_conn, struct err *err)
{
	struct pg_target *target = NULL;

	if (pg_conn_check_opts(opts, err) != 0 || pg_target_create(opts->url, &target, err) != 0)
		return ERR_INVALID;
	*ret_conn = pg_conn_make(opts, target, NULL);
	pg_target_unref(target);
	return 0;
}

bool pg_conn_is_ready(const struct pg_conn *conn)
{
	return conn->state == CONN_READY;
}

int64_t pg_conn_session(const struct pg_conn *conn)
{
	return conn->session;
}

size_t pg_conn_load(const struct pg_conn *conn)
{
	return conn->load;
}

const struct err *pg_conn_last_err(const struct pg_conn *conn)
{
	return &conn->last_err;
}

int pg_conn_backend_pid(const struct pg_conn *conn)
{
	return conn->session != 0 ? PQbackendPID(conn->handle) : 0;
}

bool pg_conn_is_clean(const struct pg_conn *conn)
{
	return conn->state == CONN_READY && conn->load == 0 && list_is_empty(&conn->flights) &&
	       PQtransactionStatus(conn->handle) == PQTRANS_IDLE;
}

void pg_conn_query(struct pg_conn *conn, struct pg_query *query)
{
	pg_query_begin(query, clock_mono_ms());
	pg_queue_accept(conn, query);
}
