/* SPDX-License-Identifier: Apache-2.0
 *
 * PostgreSQL on the loop: a connection that keeps itself up (pg_conn), a bounded pool of them
 * (pg_pool), statements with binary parameters and typed results. No call here blocks: names are
 * looked up in the thread pool, and a server that has stopped answering costs a deadline, never the
 * loop. doc/design/postgres.md tells how and what to choose.
 *
 * A request (pg_query, pg_lease) is a struct that the caller embeds and keeps until its callback
 * has run: exactly once, on the loop thread, never before the call that started it returned; inside
 * it the request may be freed or used again. Everything here is for the loop thread only.
 *
 * Every error carries a text for people. The codes:
 *   ERR_UNAVAILABLE  no connection, connection lost, queue full, deadlock, serialization,
 * lock_timeout ERR_TIMEOUT      the statement's own deadline, or the server's statement_timeout
 *   ERR_CANCELLED    pg_query_cancel, or the connection or pool was closed
 *   ERR_CONFLICT     a constraint (SQLSTATE class 23), or COMMIT of a transaction that had failed
 *   ERR_FULL, ERR_IO, ERR_CORRUPT, ERR_FORBIDDEN, ERR_INVALID (class 22), ERR_INTERNAL: by SQLSTATE
 * was_sent false means that the server never began it: it is safe to send again. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "base/list.h"

struct pg_conn;
struct pg_pool;
struct pg_query;
struct pg_lease;
struct pg_result; /* libpq's */

/* --- connection URLs --- */

/* postgresql://[user[:password]@][host[:port],...][/database][?option=value&...] with libpq's
 * options (sslmode, sslrootcert, target_session_attrs, connect_timeout, ...) and its environment
 * variables for what is left out. Service files are not supported. ERR_INVALID; the text never
 * shows the password. */
int pg_url_check(const char *url, struct err *err);

/* "user@host:port,host:port/database" for logs; owned by the caller. "?" for an invalid URL. */
char *pg_url_for_people(const char *url);

/* --- parameters: $1, $2, ... from left to right, in binary --- */

#define PG_PARAMS_MAX       32
#define PG_PARAMS_BYTES_MAX (64 * 1024 * 1024) /* of one statement; more is ERR_TOO_LARGE */

struct pg_param {
	uint32_t type;
	int len; /* -1: NULL */
	size_t offset;
};
struct pg_params {
	int count;
	struct pg_param items[PG_PARAMS_MAX];
	struct buf bytes;
};

/* X(name, type, array type): the OIDs of pg_type.dat, which never change. */
#define PG_TYPES(X)                                                                                \
	X(BOOL, 16, 1000)                                                                          \
	X(BYTES, 17, 1001)                                                                         \
	X(I64, 20, 1016)                                                                           \
	X(I16, 21, 1005)                                                                           \
	X(I32, 23, 1007)                                                                           \
	X(TEXT, 25, 1009)                                                                          \
	X(TIME, 1184, 1185)                                                                        \
	X(ID, 2950, 2951)
enum pg_type {
#define X(name, type, array) PG_##name = (type),
	PG_TYPES(X)
#undef X
};

/* Values are copied. PG_TEXT may be cast in the statement ($1::jsonb). A time is a timestamptz
 * given in milliseconds since 1970; NO_TIME is NULL. A zero id is NULL, and so is a NULL text. */
void pg_put_null(struct pg_params *params, enum pg_type type);
void pg_put_bool(struct pg_params *params, bool value);
void pg_put_i32(struct pg_params *params, int32_t value);
void pg_put_i64(struct pg_params *params, int64_t value);
void pg_put_time(struct pg_params *params, int64_t at_ms);
void pg_put_id(struct pg_params *params, const struct id *id);
void pg_put_text(struct pg_params *params, const char *text);
void pg_put_bytes(struct pg_params *params, const void *bytes, size_t len);

/* An array as the next parameter, for statements over many rows (unnest($1, $2)):
 *     pg_array_begin(&query.params, PG_ID);
 *     for (...) pg_array_id(&query.params, &ids[i]);
 *     pg_array_end(&query.params);
 * One at a time; every element of the type it began with. */
void pg_array_begin(struct pg_params *params, enum pg_type type);
void pg_array_null(struct pg_params *params);
void pg_array_bool(struct pg_params *params, bool value);
void pg_array_i32(struct pg_params *params, int32_t value);
void pg_array_i64(struct pg_params *params, int64_t value);
void pg_array_time(struct pg_params *params, int64_t at_ms);
void pg_array_id(struct pg_params *params, const struct id *id);
void pg_array_text(struct pg_params *params, const char *text);
void pg_array_bytes(struct pg_params *params, const void *bytes, size_t len);
void pg_array_end(struct pg_params *params);

/* --- one statement --- */

/* A place in a pool's line. Private to pg/. */
struct pg_waiter {
	struct list node;
	int64_t queued_mono_ms, until_mono_ms;
	bool is_lease;
};

/* A constant for the life of the program: its address is what a connection remembers as prepared.
 * `name` is for people. */
struct pg_statement {
	const char *name;
	const char *text;
};

enum pg_format {
	PG_FORMAT_BINARY, /* for the readers below */
	PG_FORMAT_TEXT,   /* pg_read_text reads any column */
};

typedef void pg_done_fn(struct pg_query *query);

struct pg_query {
	/* in: one of statement, text and script; borrowed until the callback */
	const struct pg_statement *statement; /* prepared once per session, on direct connections */
	const char *text;                     /* sent as it is */
	const char *script; /* many statements with ';', no parameters; runs alone on its connection
			     * and, unless it says BEGIN, in one transaction. The result is the last
			     * one's. */
	struct pg_params params;
	enum pg_format format;
	int64_t timeout_ms; /* from now to the callback; > 0 */
	int64_t session; /* 0: any; else refused (ERR_UNAVAILABLE) in another session than this */
	/* Somebody else's statement, and what errors call it: they then tell the position, the
	 * server's detail and its hint as well. NULL: our own. Borrowed. */
	const char *people;
	pg_done_fn *done;
	void *data; /* the caller's */
	/* out */
	struct err err;
	char sqlstate[6];    /* "" when the error is not the server's */
	char constraint[64]; /* the constraint of a class 23 error */
	bool was_sent;
	bool was_last_word; /* the session ended with the error: it says nothing of a commit */
	struct pg_result *result; /* private: read it with pg_rows */
	/* private to pg/ */
	enum {
		PG_NOWHERE,
		PG_IN_POOL,
		PG_IN_QUEUE,
		PG_IN_FLIGHT,
		PG_IN_DONE
	} place;
	struct pg_waiter wait; /* its node is also in the connection's lists */
	int64_t until_mono_ms;
	unsigned retries;
	struct pg_conn *conn; /* with PG_IN_QUEUE and PG_IN_FLIGHT */
	struct pg_pool *pool; /* that accepted it, or whose lease did; NULL: none */
};

/* {0}, and again before it is used a second time. */
void pg_query_init(struct pg_query *query);
/* Frees parameters and result; fine to call always, but not while under way. */
void pg_query_fini(struct pg_query *query);

/* Its callback follows with ERR_CANCELLED, unless it had ended by itself. A statement that is
 * running is ended on the server too: over a second connection, or by closing its own when that
 * fails. Harmless for a query that is not under way. */
void pg_query_cancel(struct pg_query *query);

/* --- results --- */

/* Rows from first to last, columns from left to right:
 *     struct pg_row row = pg_rows(&query);
 *     while (pg_row_next(&row)) { id = pg_read_id(&row); at_ms = pg_read_time(&row); }
 * Pointers live until pg_query_fini. A reader that does not fit the column's type is a bug: must().
 */
struct pg_row {
	const struct pg_result *result;
	int index, column;
};
struct pg_row pg_rows(const struct pg_query *query);
bool pg_row_next(struct pg_row *row);
int64_t pg_row_count(const struct pg_query *query);
/* Rows that INSERT, UPDATE, DELETE, SELECT touched; 0 for other statements. */
int64_t pg_affected(const struct pg_query *query);
int pg_column_count(const struct pg_query *query);
const char *pg_column_name(const struct pg_query *query, int column);

/* Is the next column NULL? Does not move on. */
bool pg_is_null(const struct pg_row *row);
void pg_skip(struct pg_row *row);
bool pg_read_bool(struct pg_row *row);            /* NULL: false */
int64_t pg_read_i64(struct pg_row *row);          /* smallint, integer, bigint; NULL: 0 */
int pg_read_int(struct pg_row *row, int if_null); /* the same, within int */
int64_t pg_read_time(struct pg_row *row);         /* ms, rounded down; NULL and infinity: NO_TIME */
struct id pg_read_id(struct pg_row *row);         /* NULL: zero */
const char *pg_read_text(struct pg_row *row);     /* text, name, json(b) cast to text; NULL: NULL */
const char *pg_read_bytes(struct pg_row *row, size_t *ret_len); /* bytea; NULL: NULL */

/* A one-dimensional array column, element by element:
 *     struct pg_elements tags = pg_read_array(&row);
 *     while (pg_element_next(&tags)) use(tags.bytes, tags.len);      (bytes NULL: a NULL element)
 * NULL reads as empty. */
struct pg_elements {
	uint32_t type; /* of the elements: enum pg_type */
	int64_t left;
	const char *bytes; /* as on the wire; text without a NUL at its end */
	size_t len;
	const char *next, *end; /* private */
};
struct pg_elements pg_read_array(struct pg_row *row);
bool pg_element_next(struct pg_elements *elements);
int64_t pg_element_i64(const struct pg_elements *elements);
struct id pg_element_id(const struct pg_elements *elements);

/* --- one connection --- */

enum pg_route {
	PG_DIRECT, /* to the server: prepared statements, LISTEN, settings, session locks */
	PG_POOLED, /* through a transaction pooler: none of these */
};
/* Where a pipeline is cut into transactions. */
enum pg_sync {
	PG_SYNC_EACH, /* every statement is a transaction of its own (unless it says BEGIN) */
	PG_SYNC_TURN, /* one for all of a loop turn: READS ONLY, and a direct session refuses
		       * others. What a failing neighbour aborted is sent again; no BEGIN. */
};

typedef void pg_state_fn(struct pg_conn *conn, bool is_ready, const struct err *err, void *data);
typedef void pg_notify_fn(
	struct pg_conn *conn, const char *channel, const char *payload, void *data);
typedef void pg_closed_fn(void *data);

struct pg_conn_opts {
	uv_loop_t *loop;
	const char *url;
	const char *application_name;
	enum pg_route route;
	enum pg_sync sync;
	int64_t connect_timeout_ms; /* to each address, TLS and sign-in included; a URL's
				       connect_timeout wins */
	int64_t backoff_min_ms;     /* after the first failure; doubles, with jitter ... */
	int64_t backoff_max_ms;     /* ... up to this */
	int64_t cancel_grace_ms;    /* a statement that is to end and does not costs the connection
				       after this */
	size_t pipeline_max;        /* statements sent and not answered */
	size_t queue_max;     /* statements accepted and not answered; more is ERR_UNAVAILABLE */
	const char *settings; /* script run at the start of each session, or NULL; direct only */
	const char *const
		*channels; /* to LISTEN to in each session, NULL at the end, or NULL; direct only */
	pg_state_fn *on_state; /* may be NULL, as the next */
	pg_notify_fn *on_notify;
	void *data;
};

/* Every limit at its default; set loop and url. */
struct pg_conn_opts pg_conn_defaults(void);

/* Begins to connect, and does so again after every loss and failure until closed. `opts` and its
 * texts are copied. ERR_INVALID: url, or settings and channels on a pooled route.
 *
 * on_state tells of each session that is ready (is_ready, err NULL), of its end, and of each failed
 * try (err: why). With a new session nothing of the old remains: prepared statements and LISTEN are
 * renewed here; session locks, and what NOTIFY said meanwhile, are the caller's to look after. */
int pg_conn_create(const struct pg_conn_opts *opts, struct pg_conn **ret_conn, struct err *err);

/* Fails what is under way with ERR_CANCELLED, ends the session, then calls back; the connection is
 * gone then. May be called in any callback. A name lookup that hangs is left behind in the thread
 * pool. */
void pg_conn_close(struct pg_conn *conn, pg_closed_fn *closed, void *data);

/* Drops the session, if any (what is under way fails with ERR_UNAVAILABLE), and connects anew. */
void pg_conn_renew(struct pg_conn *conn, const char *why);

bool pg_conn_is_ready(const struct pg_conn *conn);
/* Number of the session, from 1; 0 while there is none. */
int64_t pg_conn_session(const struct pg_conn *conn);
/* Statements accepted and not answered. */
size_t pg_conn_load(const struct pg_conn *conn);
/* Why the last try or session ended; code 0 when nothing failed yet. Borrowed. */
const struct err *pg_conn_last_err(const struct pg_conn *conn);
/* Process id of the server's backend, for pg_stat_activity; 0 without a session. Not the real one
 * behind a pooler. */
int pg_conn_backend_pid(const struct pg_conn *conn);

/* Sends a statement, behind those given before. Without a session it fails at once
 * (ERR_UNAVAILABLE): waiting is the pool's work. A lost session fails all of its statements; those
 * behind the one that was running too, so that the rest of a transaction can never run in the next
 * session. */
void pg_conn_query(struct pg_conn *conn, struct pg_query *query);

/* --- the pool --- */

struct pg_pool_opts {
	struct pg_conn_opts conn; /* of each connection; on_state, on_notify, data are not used */
	int min, max;             /* connections: 0 <= min <= max, 1 <= max <= PG_POOL_MAX */
	size_t queue_max;         /* requests waiting for a connection */
	int64_t wait_ms;     /* each waits at most this long, and never past its own deadline */
	int64_t idle_ms;     /* connections above min are closed after this time without work */
	int64_t lifetime_ms; /* a connection is replaced, between two statements, at about this age
			      */
	int64_t check_ms;    /* an idle connection is asked this often whether it is alive ... */
	int64_t check_timeout_ms; /* ... and is dropped when it does not answer within this */
	/* The first connection is there, or the last one is gone. May be NULL. */
	void (*on_state)(struct pg_pool *pool, bool is_up, const struct err *err, void *data);
	void *data;
};
#define PG_POOL_MAX 64
struct pg_pool_opts pg_pool_defaults(void);

/* Opens `min` connections in the background. ERR_INVALID. */
int pg_pool_create(const struct pg_pool_opts *opts, struct pg_pool **ret_pool, struct err *err);

/* `max` of pg_pool_opts from now on; connections beyond it go when they have been idle. */
void pg_pool_set_max(struct pg_pool *pool, int max);

/* Refuses new requests and answers the waiting ones with ERR_CANCELLED at once; lets what runs, and
 * who has a lease, finish for up to `grace_ms`, then ends that too (a lease must still be
 * released). Closes the connections and calls back; the pool is gone then. Calling it again only
 * shortens the grace. */
void pg_pool_close(struct pg_pool *pool, int64_t grace_ms, pg_closed_fn *closed, void *data);

/* Runs the statement on whichever connection has room; together with others in its pipeline. A
 * waiter is served in the order of arrival, queries and leases in one line. */
void pg_pool_query(struct pg_pool *pool, struct pg_query *query);

/* A connection for one user alone, for transactions of several statements. */
typedef void pg_leased_fn(struct pg_lease *lease);
struct pg_lease {
	/* in */
	int64_t timeout_ms; /* to wait for it; > 0 */
	pg_leased_fn *done;
	void *data;
	/* out */
	struct err err; /* ERR_UNAVAILABLE, ERR_TIMEOUT, ERR_CANCELLED: no lease */
	/* private to pg/ */
	struct pg_conn *conn; /* NULL: not held */
	int64_t session;
	enum {
		PG_LEASE_NONE,
		PG_LEASE_WAITS,
		PG_LEASE_ENDED,
		PG_LEASE_HELD
	} state;
	struct pg_waiter wait;
	struct pg_pool *pool;
};
void pg_pool_lease(struct pg_pool *pool, struct pg_lease *lease);
/* Gives up waiting: ERR_CANCELLED follows. Harmless when it does not wait. */
void pg_lease_cancel(struct pg_lease *lease);
/* A statement within the lease. When its session is lost all further ones fail. Pipelining BEGIN,
 * statements and COMMIT without waiting is fine: a COMMIT that rolled back reports ERR_CONFLICT. */
void pg_lease_query(struct pg_lease *lease, struct pg_query *query);
/* Gives the connection back. With a statement under way or a transaction open the session is
 * dropped, which rolls back. Exactly once for every lease that was granted. */
void pg_lease_release(struct pg_lease *lease);

/* --- a statement that somebody else wrote --- */

/* In a transaction of its own, with settings that hold as long as it does. */
struct pg_setting {
	const char *name; /* a constant; without quotes in it */
	const char *value;
};
#define PG_ERRAND_QUERIES       6
#define PG_ERRAND_SETTINGS_TEXT 4096
struct pg_errand {
	/* in; borrowed until `done` */
	struct pg_pool *pool;
	const char *text;
	const char *people; /* what errors of the statement begin with, such as its database */
	bool is_read_only;
	const struct pg_setting *settings; /* "role" among them is undone before the last word */
	size_t setting_count;
	int64_t timeout_ms; /* to wait for a connection, and of each step */
	/* Its rows are there (errand->statement), the COMMIT is still to come. May be NULL. */
	void (*on_statement)(struct pg_errand *errand);
	/* What else belongs into the transaction, once the statement has succeeded; and whether its
	 * answer allows the COMMIT (false: errand->err says why). NULL: nothing. */
	void (*put_last)(struct pg_errand *errand, struct pg_query *query);
	bool (*read_last)(struct pg_errand *errand, const struct pg_query *query);
	/* Once, on the loop, never before pg_errand_start returned; then pg_errand_fini. */
	void (*done)(struct pg_errand *errand);
	void *data;
	/* out */
	struct err err;  /* code 0: committed */
	bool is_unknown; /* the connection was lost under the COMMIT: done or not done */
	/* private to pg/, but for the rows of on_statement */
	struct pg_query *statement;
	enum {
		PG_ERRAND_LEASING,
		PG_ERRAND_WORKING,
		PG_ERRAND_LAST_WORD,
		PG_ERRAND_COMMITTING,
		PG_ERRAND_ROLLING_BACK,
		PG_ERRAND_DONE
	} stage;
	struct pg_lease lease;
	struct pg_query queries[PG_ERRAND_QUERIES];
	int query_count, under_way;
	bool is_cancelled;
	char *settings_text; /* owned */
};
void pg_errand_start(struct pg_errand *errand);
/* Ends it, on the server too: `done` follows with ERR_CANCELLED, unless it was being committed. */
void pg_errand_cancel(struct pg_errand *errand);
void pg_errand_fini(struct pg_errand *errand);

struct pg_pool_stats {
	/* now */
	int min, max;
	int ready, connecting, leased, busy,
		idle; /* busy and idle: of the ready ones that are not leased */
	size_t waiting, in_flight;
	bool is_up;
	int64_t down_ms; /* since when there is no connection; 0 when up */
	/* since the start */
	int64_t queries, errors, timeouts, cancelled,
		refused; /* refused: queue full or waited too long */
	int64_t leases, sessions, connect_failures, sessions_lost, checks;
	int64_t wait_total_ms, wait_max_ms; /* for a connection */
	struct err last_err; /* of connecting or of a lost session; code 0: none yet */
};
void pg_pool_stats(const struct pg_pool *pool, struct pg_pool_stats *ret_stats);

/* At least one connection is ready. From memory. */
bool pg_pool_is_up(const struct pg_pool *pool);
