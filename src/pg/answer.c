/* SPDX-License-Identifier: Apache-2.0
 *
 * What comes back: each flight ends with libpq's NULL, a sync with its own kind of result. An error
 * aborts what follows it up to the next sync; with one sync a turn those reads have not run, and
 * are sent again. So are the few whose prepared statement the server does not know (any more).
 *
 * A statement is reported as done before the Sync commits it, and as failed before the server lets
 * go of its locks. So one with a Sync of its own ends with that: until then a success may become
 * the error of a deferred constraint, or unknown with the end of the session; a failure stays one,
 * unless it is that end.
 * Reads have nothing to commit. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/prove.h"
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
	if (flight->has_sync && query->was_last_word)
		query->err.code = ERR_UNAVAILABLE; /* whatever the reason: it may be committed */
	if (is_prepared_broken(flight)) {
		query->was_sent = false; /* it never began; the next time it is prepared anew */
		query->err.code = ERR_UNAVAILABLE;
	}
	if (is_state(flight, STATE_CANCELLED) && conn->has_cancelled)
		(void)err_set(&query->err, ERR_UNAVAILABLE,
			"ended by the cancelling of the statement before it; try again");
	if (is_state(flight, STATE_READ_ONLY) && conn->opts.sync == PG_SYNC_EACH)
		conn->renew_reason = "the server has become read-only";
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

/* A failure that has come stands, what was aborted has not run; of the rest nobody knows. */
void pg_answer_lost(struct pg_conn *conn, struct pg_flight *flight, const struct err *err)
{
	struct pg_query *query = flight->query;

	if (query == NULL || flight->kind == FLIGHT_PREPARE)
		return;
	if (flight->failure != NULL && PQresultStatus(flight->failure) != PGRES_PIPELINE_ABORTED)
		query_failed(conn, flight);
	if (query->err.code == 0)
		query->err = *err;
	pg_queue_done(conn, query);
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
	case FLIGHT_SCRIPT:
		end_query(conn, flight);
		break;
	case FLIGHT_SYNC:
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

/* Results and libpq's NULL behind them, then the sync if it is its own; where the commit fails, an
 * error and another NULL come in between. libpq gives NULL for ever when it has nothing left, so
 * each must be behind a result. */
static bool is_in_order(const struct pg_flight *flight, const PGresult *result)
{
	if (result == NULL)
		return flight->is_answering;
	switch (PQresultStatus(result)) {
	case PGRES_PIPELINE_SYNC:
		return flight->kind == FLIGHT_SYNC ||
		       (flight->is_committing && !flight->is_answering);
	case PGRES_FATAL_ERROR:
		return flight->kind != FLIGHT_SYNC;
	default:
		return flight->kind != FLIGHT_SYNC && !flight->is_committing;
	}
}

/* The server has said its last; an error without a code is what libpq says about that. */
static bool is_over(const struct pg_conn *conn, const PGresult *result)
{
	return PQstatus(conn->handle) == CONNECTION_BAD && result != NULL &&
	       PQresultStatus(result) == PGRES_FATAL_ERROR &&
	       PQresultErrorField(result, PG_DIAG_SQLSTATE) == NULL;
}

/* Takes the server's word for the deed. */
static void answer_early(struct pg_conn *conn, struct pg_flight *flight)
{
	if (flight->query == NULL)
		return;
	end_query(conn, flight);
	flight->query = NULL;
	conn->in_flight++;
	conn->abandoned++;
}

static void take_result(struct pg_conn *conn, PGresult *result)
{
	struct pg_flight *flight = container_of(conn->flights.next, struct pg_flight, node);

	if (!is_in_order(flight, result)) {
		protocol_broken(conn, result);
		PQclear(result);
	} else if (result == NULL && flight->has_sync) {
		flight->is_answering = false;
		flight->is_committing = true;
		if (RULE_IS_OFF(COMMITS_AWAITED))
			answer_early(conn, flight);
	} else if (result == NULL || PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
		PQclear(result);
		end_flight(conn, flight);
	} else if (is_copy(result)) {
		PQclear(result);
		refuse_copy(conn, flight);
	} else {
		keep_result(flight, result);
		flight->is_answering = true;
	}
}

bool pg_answer_take(struct pg_conn *conn)
{
	while (!list_is_empty(&conn->flights) && !PQisBusy(conn->handle)) {
		PGresult *result = PQgetResult(conn->handle);

		if (is_over(conn, result)) {
			PQclear(result);
			return true;
		}
		take_result(conn, result);
		if (conn->handle == NULL)
			return false;
	}
	if (!list_is_empty(&conn->queue))
		pg_conn_schedule(conn);
	return true;
}
