/* SPDX-License-Identifier: Apache-2.0
 *
 * Statements on their way to the server. They wait in a queue until the turn of the loop is over,
 * so that one write and, for reads, one Sync serve all of that turn. What was sent is a flight,
 * answered in order; a query whose time is up leaves its flight behind, whose answer is then for
 * nobody.
 *
 * Only the first flight is running on the server. So only it can be cancelled there, and a query
 * that ends early behind it is cancelled when its turn comes. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "pg_priv.h"

#define SERIAL_NAME_SIZE 16
#define CANCEL_DELAY_MS  20

static struct pg_query *query_of(struct list *node)
{
	return container_of(container_of(node, struct pg_waiter, node), struct pg_query, wait);
}

static struct pg_flight *flight_of(struct list *node)
{
	return container_of(node, struct pg_flight, node);
}

void pg_flight_destroy(struct pg_flight *flight)
{
	PQclear(flight->result);
	PQclear(flight->failure);
	free(flight);
}

/* --- taking requests, giving answers --- */

void pg_query_init(struct pg_query *query)
{
	*query = (struct pg_query){0};
}

void pg_query_fini(struct pg_query *query)
{
	must(query->place == PG_NOWHERE);
	PQclear(take_ptr(query->result));
	buf_fini(&query->params.bytes);
	query->params.count = 0;
}

void pg_query_begin(struct pg_query *query, int64_t now_mono_ms)
{
	must(query->place == PG_NOWHERE && query->done != NULL && query->timeout_ms > 0 &&
		query->result == NULL);
	must((query->statement != NULL) + (query->text != NULL) + (query->script != NULL) == 1);
	query->err = (struct err){0};
	query->sqlstate[0] = query->constraint[0] = '\0';
	query->was_sent = query->was_last_word = false;
	query->retries = 0;
	query->conn = NULL;
	query->pool = NULL;
	query->until_mono_ms = now_mono_ms + query->timeout_ms;
	list_init(&query->wait.node);
}

void pg_queue_done(struct pg_conn *conn, struct pg_query *query)
{
	if (query->place == PG_IN_QUEUE || query->place == PG_IN_FLIGHT)
		conn->load--;
	query->place = PG_IN_DONE;
	list_remove(&query->wait.node);
	list_push(&conn->done, &query->wait.node);
	pg_conn_schedule(conn);
}

/* What ends meanwhile waits for the next time: a callback that starts again what fails at once must
 * not keep the loop here. */
void pg_queue_deliver(struct pg_conn *conn)
{
	struct list batch;
	struct list *node;

	list_init(&batch);
	list_splice(&batch, &conn->done);
	while ((node = list_pop(&batch)) != NULL) {
		struct pg_query *query = query_of(node);

		query->place = PG_NOWHERE;
		if (query->pool != NULL)
			pg_pool_on_answer(query->pool, query);
		query->done(query);
	}
}

static int refusal(const struct pg_conn *conn, struct pg_query *query)
{
	const char *people = conn->target->people;
	bool is_setup = query == &conn->setup;

	if (conn->state == CONN_CLOSING)
		return err_set(&query->err, ERR_CANCELLED, "connection to %s closed", people);
	if (conn->state != CONN_READY && !is_setup) {
		if (conn->last_err.code == 0)
			return err_set(
				&query->err, ERR_UNAVAILABLE, "not yet connected to %s", people);
		query->err = conn->last_err;
		return query->err.code;
	}
	if (query->session != 0 && query->session != conn->session)
		return err_set(&query->err, ERR_UNAVAILABLE,
			"the session with %s that it belongs to was lost", people);
	if (conn->load >= conn->opts.queue_max)
		return err_set(&query->err, ERR_UNAVAILABLE,
			"%zu statements wait on the connection to %s", conn->load, people);
	if (query->params.bytes.is_cut)
		return err_set(&query->err, ERR_TOO_LARGE,
			"a statement has more than %d bytes of parameters", PG_PARAMS_BYTES_MAX);
	return 0;
}

void pg_queue_accept(struct pg_conn *conn, struct pg_query *query)
{
	query->conn = conn;
	if (refusal(conn, query) != 0) {
		pg_queue_done(conn, query);
		return;
	}
	query->place = PG_IN_QUEUE;
	conn->load++;
	list_push(&conn->queue, &query->wait.node);
	pg_conn_arm(conn, query->until_mono_ms);
	pg_conn_schedule(conn);
}

void pg_queue_fail_all(struct pg_conn *conn, const struct err *err)
{
	struct list *node;

	list_for_each (sent, &conn->flights) {
		pg_answer_lost(conn, flight_of(sent), err);
		pg_flight_destroy(flight_of(sent));
	}
	list_init(&conn->flights);
	list_splice(&conn->resend, &conn->queue);
	while ((node = list_pop(&conn->resend)) != NULL) {
		query_of(node)->err = *err;
		pg_queue_done(conn, query_of(node));
	}
	conn->in_flight = conn->abandoned = 0;
}

/* --- sending --- */

static struct pg_flight *flight_push(
	struct pg_conn *conn, enum pg_flight_kind kind, struct pg_query *query)
{
	struct pg_flight *flight = xcalloc(1, sizeof(*flight));

	flight->kind = kind;
	flight->query = query;
	list_push(&conn->flights, &flight->node);
	if (kind == FLIGHT_QUERY || kind == FLIGHT_SCRIPT) {
		conn->in_flight++;
		query->place = PG_IN_FLIGHT;
		query->was_sent = true;
	}
	return flight;
}

/* libpq's view of the parameters. */
struct arguments {
	Oid types[PG_PARAMS_MAX];
	const char *values[PG_PARAMS_MAX];
	int lens[PG_PARAMS_MAX];
	int formats[PG_PARAMS_MAX];
};

static void arguments_fill(struct arguments *arguments, const struct pg_params *params)
{
	const char *bytes = buf_text(&params->bytes);

	for (int i = 0; i < params->count; i++) {
		const struct pg_param *param = &params->items[i];

		arguments->types[i] = param->type;
		arguments->values[i] = param->len >= 0 ? bytes + param->offset : NULL;
		arguments->lens[i] = param->len >= 0 ? param->len : 0;
		arguments->formats[i] = 1;
	}
}

static bool send_prepared(struct pg_conn *conn, struct pg_query *query,
	struct pg_prepared *prepared, const struct arguments *arguments)
{
	int count = query->params.count;
	char name[SERIAL_NAME_SIZE];
	struct pg_flight *flight;

	if (prepared->serial == 0) {
		prepared->serial = ++conn->prepared->last_serial;
		(void)snprintf(name, sizeof(name), "g%u", prepared->serial);
		flight = flight_push(conn, FLIGHT_PREPARE, query);
		flight->prepared = prepared;
		flight->serial = prepared->serial;
		if (!PQsendPrepare(
			    conn->handle, name, query->statement->text, count, arguments->types))
			return false;
	}
	(void)snprintf(name, sizeof(name), "g%u", prepared->serial);
	flight = flight_push(conn, FLIGHT_QUERY, query);
	flight->prepared = prepared;
	flight->serial = prepared->serial;
	return PQsendQueryPrepared(conn->handle, name, count, arguments->values, arguments->lens,
		       arguments->formats, query->format == PG_FORMAT_BINARY) == 1;
}

/* For all of the turn. */
static bool send_sync(struct pg_conn *conn)
{
	conn->is_sync_due = false;
	(void)flight_push(conn, FLIGHT_SYNC, NULL);
	return PQpipelineSync(conn->handle) == 1;
}

/* For the statement before it alone. */
static bool send_own_sync(struct pg_conn *conn)
{
	flight_of(conn->flights.prev)->has_sync = true;
	return PQpipelineSync(conn->handle) == 1;
}

static bool send_statement(struct pg_conn *conn, struct pg_query *query)
{
	struct pg_prepared *prepared = NULL;
	struct arguments arguments;
	bool is_sent;

	arguments_fill(&arguments, &query->params);
	if (query->statement != NULL && conn->opts.route == PG_DIRECT)
		prepared = pg_prepared_slot(conn->prepared, query->statement);
	if (prepared != NULL) {
		is_sent = send_prepared(conn, query, prepared, &arguments);
	} else {
		(void)flight_push(conn, FLIGHT_QUERY, query);
		is_sent = PQsendQueryParams(conn->handle,
				  query->statement != NULL ? query->statement->text : query->text,
				  query->params.count, arguments.types, arguments.values,
				  arguments.lens, arguments.formats,
				  query->format == PG_FORMAT_BINARY) == 1;
	}
	if (conn->opts.sync == PG_SYNC_TURN) {
		conn->is_sync_due = true;
		return is_sent;
	}
	return is_sent && send_own_sync(conn);
}

static bool send_script(struct pg_conn *conn, struct pg_query *query)
{
	(void)flight_push(conn, FLIGHT_SCRIPT, query);
	if (conn->is_pipelined && PQexitPipelineMode(conn->handle) != 1)
		return false;
	conn->is_pipelined = false;
	return PQsendQuery(conn->handle, query->script) == 1;
}

/* A script is alone on the wire; nothing overtakes it. And nothing is sent behind a statement that
 * is to be cancelled: the server sends the signal twice, to the process and to its group, and the
 * second may hit what comes next. */
static bool may_send(const struct pg_conn *conn, const struct pg_query *query)
{
	if (conn->in_flight >= conn->opts.pipeline_max || conn->abandoned > 0 ||
		conn->cancel != NULL)
		return false;
	if (list_is_empty(&conn->flights))
		return true;
	return query->script == NULL && flight_of(conn->flights.next)->kind != FLIGHT_SCRIPT;
}

static bool send_next(struct pg_conn *conn)
{
	struct pg_query *query = query_of(list_pop(&conn->queue));

	if (query->script != NULL)
		return send_script(conn, query);
	if (!conn->is_pipelined && PQenterPipelineMode(conn->handle) != 1)
		return false;
	conn->is_pipelined = true;
	return send_statement(conn, query);
}

static void send_failed(struct pg_conn *conn)
{
	struct err err = {0};

	pg_conn_libpq_err(conn, &err);
	(void)err_wrap(&err, "sending to %s", conn->target->people);
	pg_conn_lost(conn, &err);
}

void pg_queue_send(struct pg_conn *conn)
{
	bool is_sent = true;

	if (conn->state != CONN_READY && conn->state != CONN_SETUP)
		return;
	while (is_sent && !list_is_empty(&conn->queue) &&
		may_send(conn, query_of(conn->queue.next)))
		is_sent = send_next(conn);
	if (is_sent && conn->is_sync_due)
		is_sent = send_sync(conn);
	if (!is_sent)
		send_failed(conn);
	else
		(void)pg_queue_flush(conn);
}

bool pg_queue_flush(struct pg_conn *conn)
{
	int left = PQflush(conn->handle);

	if (left >= 0 &&
		pg_watch_set(conn->watch, left > 0 ? UV_READABLE | UV_WRITABLE : UV_READABLE))
		return true;
	/* The server may have said why it went: the reading side finds out. */
	if (pg_watch_set(conn->watch, UV_READABLE))
		return true;
	send_failed(conn);
	return false;
}

/* --- ending early --- */

static void abandon(struct pg_conn *conn, struct pg_query *query)
{
	list_for_each (node, &conn->flights) {
		if (flight_of(node)->query == query)
			flight_of(node)->query = NULL;
	}
	conn->abandoned++;
}

static void end_early(struct pg_conn *conn, struct pg_query *query)
{
	if (query->place == PG_IN_FLIGHT)
		abandon(conn, query);
	else
		query->was_sent = false; /* what was sent before, was aborted before it began */
	pg_queue_done(conn, query);
}

static void cancel_ended(struct pg_cancel *cancel, void *data)
{
	struct pg_conn *conn = data;

	conn->cancels_left--;
	pg_conn_schedule(conn); /* what was held back, or the closing */
	if (conn->cancel != cancel)
		return;
	conn->cancel = NULL;
	pg_queue_cancel_head(conn);
}

static void cancel_now(struct pg_conn *conn, struct pg_flight *flight)
{
	struct err err = {0};

	conn->cancel = pg_cancel_start(conn->opts.loop, PQsocket(conn->handle), &conn->cancel_key,
		conn->opts.cancel_grace_ms, cancel_ended, conn);
	if (conn->cancel == NULL) {
		(void)err_set(&err, ERR_UNAVAILABLE, "connection to %s closed, to end a statement",
			conn->target->people);
		pg_conn_lost(conn, &err);
		return;
	}
	conn->cancels_left++;
	flight->is_cancelling = true;
	conn->has_cancelled = true;
	conn->cancel_until_mono_ms = clock_mono_ms() + conn->opts.cancel_grace_ms;
	pg_conn_arm(conn, conn->cancel_until_mono_ms);
}

/* A short statement ends by itself, and a cancel that came too late would hit the next one. */
void pg_queue_cancel_head(struct pg_conn *conn)
{
	struct pg_flight *flight =
		list_is_empty(&conn->flights) ? NULL : flight_of(conn->flights.next);
	int64_t now_mono_ms;

	if (flight == NULL || flight->query != NULL || flight->kind == FLIGHT_SYNC ||
		flight->is_committing || flight->is_cancelling || conn->cancel != NULL)
		return;
	now_mono_ms = clock_mono_ms();
	if (flight->cancel_at_mono_ms == 0)
		flight->cancel_at_mono_ms = now_mono_ms + CANCEL_DELAY_MS;
	if (flight->cancel_at_mono_ms <= now_mono_ms)
		cancel_now(conn, flight);
	else
		pg_conn_arm(conn, flight->cancel_at_mono_ms);
}

void pg_queue_cancel(struct pg_conn *conn, struct pg_query *query)
{
	(void)err_set(&query->err, ERR_CANCELLED, "cancelled");
	end_early(conn, query);
	pg_queue_cancel_head(conn);
}

void pg_query_cancel(struct pg_query *query)
{
	switch (query->place) {
	case PG_NOWHERE:
	case PG_IN_DONE:
		return;
	case PG_IN_POOL:
		pg_pool_cancel(query->pool, &query->wait);
		return;
	case PG_IN_QUEUE:
	case PG_IN_FLIGHT:
		pg_queue_cancel(query->conn, query);
		return;
	}
}

/* Ends it if its time is up; else remembers when that will be, if sooner. */
static void check_deadline(
	struct pg_conn *conn, struct pg_query *query, int64_t now_mono_ms, int64_t *next)
{
	if (query->until_mono_ms > now_mono_ms) {
		if (*next == 0 || query->until_mono_ms < *next)
			*next = query->until_mono_ms;
		return;
	}
	(void)err_set(&query->err, ERR_TIMEOUT, "%s takes longer than %lld ms",
		pg_query_name(query), (long long)query->timeout_ms);
	end_early(conn, query);
}

void pg_queue_on_timer(struct pg_conn *conn)
{
	int64_t now_mono_ms = clock_mono_ms(), next = conn->cancel_until_mono_ms;
	struct err err = {0};

	if (next != 0 && next <= now_mono_ms) {
		(void)err_set(&err, ERR_UNAVAILABLE,
			"%s does not end a statement that was cancelled", conn->target->people);
		pg_conn_lost(conn, &err);
		return;
	}
	list_for_each (node, &conn->resend)
		check_deadline(conn, query_of(node), now_mono_ms, &next);
	list_for_each (node, &conn->queue)
		check_deadline(conn, query_of(node), now_mono_ms, &next);
	list_for_each (node, &conn->flights) {
		struct pg_flight *flight = flight_of(node);

		if (flight->query != NULL && flight->kind != FLIGHT_PREPARE)
			check_deadline(conn, flight->query, now_mono_ms, &next);
	}
	if (next != 0)
		pg_conn_arm(conn, next);
	pg_queue_cancel_head(conn);
}
