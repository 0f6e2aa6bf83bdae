/* SPDX-License-Identifier: Apache-2.0
 *
 * What comes back: each flight ends with libpq's NULL, a sync with its own kind of result. An error
 * aborts what follows it up to the next sync; with one sync a turn those reads have not run, and
 * are sent again. So are the few whose prepared statement the server does not know (any more).
 *
 * A statement is reported as done before the Sync commits it. With a Sync of its own it has
 * succeeded when that has: until then a good answer waits in the flight of the sync, and a deferred
 * constraint or the end of the session takes its place. Reads have nothing to commit. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "pg_priv.h"

#define RETRIES_MAX 3 /* of a read; those that a neighbour's error aborted are not counted */

#define STATE_CANCELLED      "57014"
#define STATE_NOT_PREPARED   "26000"
#define STATE_RESULT_CHANGED "0A000" /* "cached plan must not change result type", and others */
#define STATE_READ_ONLY      "25006"

/* A good one replaces the one before (only a script has several), the first bad one stays. */
static void keep_result(struct pg_flight *flight, PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);
	bool is_good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ||
		       status == PGRES_EMPTY_QUERY;
	PGresult *superfluous = result;

	if (is_good) {
		superfluous = flight->result;
		flight->result = result;
	} else if (flight->failure == NULL) {
		superfluous = NULL;
		flight->failure = result;
	}
	PQclear(superfluous);
}

static bool is_state(const struct pg_flight *flight, const char *sqlstate)
{
	const char *state = PQresultErrorField(flight->failure, PG_DIAG_SQLSTATE);

	return state != NULL && strcmp(state, sqlstate) == 0;
}

static void forget_prepared(struct pg_flight *flight)
{
	if (flight->prepared != NULL && flight->prepared->serial == flight->serial)
		flight->prepared->serial = 0;
}

static bool is_prepared_broken(const struct pg_flight *flight)
{
	return flight->prepared != NULL &&
	       (is_state(flight, STATE_NOT_PREPARED) || is_state(flight, STATE_RESULT_CHANGED));
}

/* Reads only. With a sync for each the next statement may be the COMMIT of a transaction that this
 * one belongs to, and by itself it would be a transaction of its own. */
static bool is_to_be_sent_again(const struct pg_conn *conn, const struct pg_flight *flight)
{
	struct pg_query *query = flight->query;

	if (conn->opts.sync == PG_SYNC_EACH)
		return false;
	if (PQresultStatus(flight->failure) == PGRES_PIPELINE_ABORTED)
		return query->err.code == 0; /* else its own PREPARE failed */
	if (!is_prepared_broken(flight) &&
		!(conn->has_cancelled && is_state(flight, STATE_CANCELLED)))
		return false;
	return query->retries++ < RETRIES_MAX;
}

static void send_again(struct pg_conn *conn, struct pg_query *query)
{
	query->place = PG_IN_QUEUE;
	list_remove(&query->wait.node);
	list_push(&conn->resend, &query->wait.node);
}

static const char *text_of(const struct pg_query *query)
{
	const char *text = query->statement != NULL ? query->statement->text
			   : query->text != NULL    ? query->text
						    : "";

	return text + strspn(text, " \t\n");
}

/* The server answers COMMIT with success even when it rolls back. */
static void check_commit(struct pg_query *query)
{
	const char *text = text_of(query);

	if (strcmp(PQcmdStatus(query->result), "ROLLBACK") != 0 ||
		(strncasecmp(text, "COMMIT", strlen("COMMIT")) != 0 &&
			strncasecmp(text, "END", strlen("END")) != 0))
		return;
	(void)err_set(&query->err, ERR_CONFLICT,
		"the transaction was rolled back: a statement in it had failed");
}

static void query_failed(struct pg_conn *conn, struct pg_flight *flight)
{
	struct pg_query *query = flight->query;

	if (query->err.code == 0)
		pg_error_read(query, flight->failure);
	if (is_prepared_broken(flight)) {
		query->was_sent = false; /* it never began; the next time it is prepared anew */
		query->err.code = ERR_UNAVAILABLE;
	}
	if (is_state(flight, STATE_CANCELLED) && conn->has_cancelled)
		(void)err_set(&query->err, ERR_UNAVAILABLE,
			"ended by the cancelling of the statement before it; try again");
	if (is_state(flight, STATE_READ_ONLY) && conn->opts.sync == PG_SYNC_EACH)
		conn->renew_reason = "the server has become read-only";
	if (PQresultStatus(flight->failure) == PGRES_COPY_IN ||
		PQresultStatus(flight->failure) == PGRES_COPY_OUT)
		conn->renew_reason = "COPY is not supported";
}

static void end_query(struct pg_conn *conn, struct pg_flight *flight)
{
	struct pg_query *query = flight->query;

	conn->in_flight--;
	if (flight->failure != NULL && is_prepared_broken(flight))
		forget_prepared(flight);
	if (query == NULL) {
		conn->abandoned--;
		return;
	}
	if (flight->failure != NULL && is_to_be_sent_again(conn, flight)) {
		send_again(conn, query);
		return;
	}
	if (flight->failure != NULL) {
		query_failed(conn, flight);
	} else {
		query->result = take_ptr(flight->result);
		check_commit(query);
	}
	pg_queue_done(conn, query);
}

static void end_statement(struct pg_conn *conn, struct pg_flight *flight)
{
	struct pg_flight *sync = container_of(conn->flights.next, struct pg_flight, node);

	if (conn->opts.sync != PG_SYNC_EACH || flight->failure != NULL) {
		end_query(conn, flight);
		return;
	}
	must(sync->kind == FLIGHT_SYNC);
	sync->query = flight->query;
	sync->result = take_ptr(flight->result);
	sync->is_commit = true;
}

static void end_commit(struct pg_conn *conn, struct pg_flight *sync)
{
	if (!sync->is_commit)
		return;
	sync->is_commit = false;
	end_query(conn, sync);
	sync->query = NULL;
}

/* Its query follows, and is aborted with it. */
static void end_prepare(struct pg_flight *flight)
{
	if (flight->failure == NULL)
		return;
	forget_prepared(flight);
	if (flight->query != NULL && PQresultStatus(flight->failure) != PGRES_PIPELINE_ABORTED)
		pg_error_read(flight->query, flight->failure);
}

static void resend_now(struct pg_conn *conn)
{
	list_splice(&conn->resend, &conn->queue);
	list_splice(&conn->queue, &conn->resend);
	pg_conn_schedule(conn);
}

static void end_flight(struct pg_conn *conn, struct pg_flight *flight)
{
	list_remove(&flight->node);
	if (flight->is_cancelling)
		conn->cancel_until_mono_ms = 0;
	switch (flight->kind) {
	case FLIGHT_PREPARE:
		end_prepare(flight);
		break;
	case FLIGHT_QUERY:
		end_statement(conn, flight);
		break;
	case FLIGHT_SCRIPT:
		end_query(conn, flight);
		break;
	case FLIGHT_SYNC:
		end_commit(conn, flight);
		break;
	}
	if (!list_is_empty(&conn->resend) &&
		(flight->kind == FLIGHT_SYNC || flight->kind == FLIGHT_SCRIPT))
		resend_now(conn);
	pg_flight_destroy(flight);
	pg_queue_cancel_head(conn);
}

static void protocol_broken(struct pg_conn *conn, const PGresult *result)
{
	struct err err = {0};

	(void)err_set(&err, ERR_UNAVAILABLE, "%s answers out of order: %s", conn->target->people,
		result != NULL ? PQresStatus(PQresultStatus(result)) : "nothing");
	pg_conn_lost(conn, &err);
}

static bool is_copy(const PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

/* libpq would report the same for ever. */
static void refuse_copy(struct pg_conn *conn, struct pg_flight *flight)
{
	struct err err = {0};

	if (flight->query != NULL)
		(void)err_set(&flight->query->err, ERR_INVALID,
			"COPY to or from the client is not supported");
	(void)err_set(&err, ERR_UNAVAILABLE, "connection to %s closed, because of a COPY",
		conn->target->people);
	pg_conn_lost(conn, &err);
}

/* An error in place of the sync, and libpq's NULL behind it; the sync itself still follows. */
static bool is_of_commit(const struct pg_flight *flight, const PGresult *result)
{
	return flight->kind == FLIGHT_SYNC &&
	       (result == NULL ? flight->failure != NULL
			       : flight->is_commit && PQresultStatus(result) == PGRES_FATAL_ERROR);
}

/* False: the session was lost. */
static bool take_result(struct pg_conn *conn, PGresult *result)
{
	struct pg_flight *flight = container_of(conn->flights.next, struct pg_flight, node);
	bool is_sync = result != NULL && PQresultStatus(result) == PGRES_PIPELINE_SYNC;
	bool is_in_order = is_sync == (flight->kind == FLIGHT_SYNC);

	if (is_of_commit(flight, result)) {
		if (result != NULL)
			keep_result(flight, result);
		end_commit(conn, flight);
		return true;
	}
	if (!is_in_order || (result == NULL && flight->result == NULL && flight->failure == NULL)) {
		protocol_broken(conn, result);
		PQclear(result);
		return false;
	}
	if (is_sync || result == NULL) {
		PQclear(result);
		end_flight(conn, flight);
	} else if (is_copy(result)) {
		PQclear(result);
		refuse_copy(conn, flight);
	} else {
		keep_result(flight, result);
	}
	return conn->handle != NULL;
}

bool pg_answer_take(struct pg_conn *conn)
{
	while (!list_is_empty(&conn->flights) && !PQisBusy(conn->handle))
		if (!take_result(conn, PQgetResult(conn->handle)))
			return false;
	if (!list_is_empty(&conn->queue))
		pg_conn_schedule(conn);
	return true;
}
