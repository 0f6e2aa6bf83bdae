/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of pg/: a connection's parts, and what its files ask of each other. */
#pragma once

#include <libpq-fe.h>

#include "base/mem.h"
#include "pg/pg.h"

/* --- where to (target.c) --- */

struct pg_host {
	char *name; /* owned; NULL: libpq's default socket */
	char *addr; /* owned; a numeric address given in the URL, or NULL */
	char *port; /* owned; NULL: the default */
};

#define PG_HOSTS_MAX 16

/* A URL taken apart, once: its defaults may ask the system for the user's name, which can take
 * time. Shared by the connections of a pool. */
struct pg_target {
	int refs;
	PQconninfoOption *options; /* owned */
	struct pg_host hosts[PG_HOSTS_MAX];
	int host_count;
	bool prefers_standby;       /* two rounds over the hosts */
	int64_t connect_timeout_ms; /* 0: the URL does not say */
	char *people;               /* owned */
};
int pg_target_create(const char *url, struct pg_target **ret_target, struct err *err);
struct pg_target *pg_target_ref(struct pg_target *target);
void pg_target_unref(struct pg_target *target);
const char *pg_target_option(const struct pg_target *target, const char *keyword);

/* --- a watched socket (watch.c) ---
 *
 * libpq may replace a socket by another of the same number, so a watch is never kept over a call
 * that may do that: it is paused before (which takes the descriptor out of epoll) and set again
 * after. */

/* After a negative status it is paused, though there may be bytes to read still. */
typedef void pg_watch_fn(void *data, int status, int events);
struct pg_watch;
/* NULL: the loop refuses the descriptor. */
struct pg_watch *pg_watch_open(uv_loop_t *loop, int fd, pg_watch_fn *on_io, void *data);
int pg_watch_fd(const struct pg_watch *watch);
/* `events` 0 pauses. False: refused. */
bool pg_watch_set(struct pg_watch *watch, int events);
/* No event follows; the descriptor is the caller's to close. NULL is fine. */
void pg_watch_close(struct pg_watch *watch);

/* --- statements prepared in a session (prepared.c) --- */

#define PG_PREPARED_MAX 256 /* more are sent unprepared */

struct pg_prepared {
	const struct pg_statement *statement;
	unsigned serial; /* names it in the session ("g7"); 0: not prepared there */
};
struct pg_prepared_set {
	struct pg_prepared slots[2 * PG_PREPARED_MAX];
	int count;
	unsigned last_serial;
};
/* Its slot, made when missing; NULL: full. */
struct pg_prepared *pg_prepared_slot(
	struct pg_prepared_set *set, const struct pg_statement *statement);

/* --- cancelling on the server (cancel.c) --- */

struct pg_cancel_key {
	bool is_known;
	uint32_t pid, secret;
};
struct pg_cancel;
/* Reads the key from what PQtrace wrote of the start of a session. */
void pg_cancel_read_key(const char *trace, struct pg_cancel_key *ret_key);
/* Sends a request over a connection of its own to where `fd` leads. `done` runs once, later, when
 * the server has closed that connection, which it does after having sent the signal; or after
 * timeout_ms. NULL: impossible. */
typedef void pg_cancel_fn(struct pg_cancel *cancel, void *data);
struct pg_cancel *pg_cancel_start(uv_loop_t *loop, int fd, const struct pg_cancel_key *key,
	int64_t timeout_ms, pg_cancel_fn *done, void *data);

/* --- a connection --- */

/*            +--------------------------- lost, failed ---------------------------+
 *            v                                                                    |
 *   DOWN --(backoff)--> RESOLVING --(addresses)--> CONNECTING --(signed in)--> SETUP --> READY
 *                                                       +----(nothing to set up)----------^
 *   from anywhere: CLOSING                                                                       */
enum pg_conn_state {
	CONN_DOWN,
	CONN_RESOLVING,
	CONN_CONNECTING,
	CONN_SETUP,
	CONN_READY,
	CONN_CLOSING,
};

/* One thing libpq owes an answer for, in the order of sending. */
enum pg_flight_kind {
	FLIGHT_PREPARE,
	FLIGHT_QUERY,
	FLIGHT_SCRIPT,
	FLIGHT_SYNC
};
struct pg_flight {
	struct list node;
	enum pg_flight_kind kind;
	struct pg_query *query;       /* NULL: nobody waits for it, or not any more */
	struct pg_prepared *prepared; /* of a statement that was sent by its name */
	unsigned serial;              /* under which */
	PGresult *result;             /* owned: the last good one */
	PGresult *failure;            /* owned: the first bad one */
	int64_t cancel_at_mono_ms;    /* nobody waits for it: when to end it on the server; 0: not
					 known */
	bool is_cancelling;           /* the request went out */
	bool has_sync;                /* a query: the Sync behind it is its own, and ends it */
	bool is_answering;            /* a result has come, libpq's NULL behind it not yet */
	bool is_committing;           /* has_sync: all has come but the sync */
};

struct pg_address {
	const struct pg_host *host;
	char numeric[64]; /* "": a unix socket */
};
#define PG_ADDRESSES_MAX 32

struct pg_lookup;

/* Those of the options, owned. */
struct pg_texts {
	char *application_name;
	char *settings;
	char **channels;
};

struct pg_conn {
	struct pg_conn_opts opts; /* its texts are those that follow */
	struct pg_texts texts;
	struct pg_target *target; /* one reference */
	struct pg_pool *pool;     /* NULL: none */
	enum pg_conn_state state;
	uv_idle_t turn;
	uv_timer_t timer;
	int64_t armed_mono_ms; /* when the timer fires; 0: it does not */

	/* connecting */
	struct pg_lookup *lookup; /* under way, or NULL */
	int lookup_host;
	struct pg_address addresses[PG_ADDRESSES_MAX];
	int address_count, address_index, round;
	unsigned failures;   /* tries in a row */
	struct buf problems; /* of this try, for the error */
	struct err last_err;
	char *setup_script; /* owned, while it runs */
	struct pg_query setup;
	char *trace; /* owned by the stream until that is closed, then by us */
	size_t trace_len;
	FILE *trace_stream;

	/* a session */
	PGconn *handle;
	struct pg_watch *watch;
	int64_t session, last_session;
	bool is_pipelined;
	struct pg_prepared_set *prepared; /* owned */
	const char *renew_reason;         /* set: the session is to be dropped */
	struct pg_cancel_key cancel_key;
	struct pg_cancel *cancel; /* under way for this session, or NULL */
	int cancels_left;         /* under way, for earlier ones too: they outlive their session */
	bool has_cancelled;       /* in this session: one may hit the statement behind */
	int64_t cancel_until_mono_ms;

	/* statements */
	struct list queue;  /* not sent yet */
	struct list resend; /* aborted by a neighbour; go before the queue at the next sync */
	struct list flights;
	struct list done; /* ended, callback to come */
	size_t load, in_flight;
	size_t abandoned; /* flights nobody waits for any more: what is sent now waits behind them
			   */
	bool is_sync_due;

	pg_closed_fn *closed;
	void *closed_data;
	int handles_left;
};

/* Made around a shared target; pool may be NULL. Begins to connect. */
struct pg_conn *pg_conn_make(
	const struct pg_conn_opts *opts, struct pg_target *target, struct pg_pool *pool);
/* ERR_INVALID for what does not go together. */
int pg_conn_check_opts(const struct pg_conn_opts *opts, struct err *err);
/* `to` points into `texts`. */
void pg_texts_copy(
	struct pg_texts *texts, struct pg_conn_opts *to, const struct pg_conn_opts *from);
void pg_texts_fini(struct pg_texts *texts);
/* The only writer of conn->state. */
void pg_conn_move(struct pg_conn *conn, enum pg_conn_state state);
/* Fires the timer no later than then; its handler looks what is due. */
void pg_conn_arm(struct pg_conn *conn, int64_t until_mono_ms);
void pg_conn_disarm(struct pg_conn *conn);
/* A turn of the loop in which to send and call back. */
void pg_conn_schedule(struct pg_conn *conn);
/* The session, or the try for one, is over: fails its statements, and tries again later. */
void pg_conn_lost(struct pg_conn *conn, const struct err *err);
/* PQerrorMessage in one line, as ERR_UNAVAILABLE. */
void pg_conn_libpq_err(const struct pg_conn *conn, struct err *ret_err);
/* No transaction is open and nothing is under way. */
bool pg_conn_is_clean(const struct pg_conn *conn);
void pg_conn_ready(struct pg_conn *conn);
void pg_conn_on_io(void *data, int status, int events);

/* connect.c */
void pg_connect_start(struct pg_conn *conn);
void pg_connect_on_timer(struct pg_conn *conn);
void pg_connect_on_io(struct pg_conn *conn);
/* Leaves nothing of a try or a session behind. */
void pg_connect_clean(struct pg_conn *conn);

/* lookup.c: host names in the thread pool. `done` runs once, later, on the loop, with what was
 * found (err: why nothing was); the list is gone after it. */
typedef void pg_lookup_fn(void *data, const struct addrinfo *found, const struct err *err);
struct pg_lookup *pg_lookup_start(
	uv_loop_t *loop, const char *name, pg_lookup_fn *done, void *data);
/* `done` does not run; the thread may go on for a while. NULL is fine. */
void pg_lookup_abandon(struct pg_lookup *lookup);

/* queue.c: from a request to the wire */
void pg_queue_accept(struct pg_conn *conn, struct pg_query *query);
void pg_queue_send(struct pg_conn *conn);
bool pg_queue_flush(struct pg_conn *conn);
/* The query's outputs are set; its callback will run. */
void pg_queue_done(struct pg_conn *conn, struct pg_query *query);
void pg_queue_deliver(struct pg_conn *conn);
void pg_queue_fail_all(struct pg_conn *conn, const struct err *err);
void pg_queue_on_timer(struct pg_conn *conn);
void pg_queue_cancel(struct pg_conn *conn, struct pg_query *query);
/* Ends on the server what nobody waits for, when it is that which runs. */
void pg_queue_cancel_head(struct pg_conn *conn);
/* Takes a request at its start. */
void pg_query_begin(struct pg_query *query, int64_t now_mono_ms);

/* answer.c: from the wire to a request */
/* False: the session was lost, and that was told. When the server has gone (PQstatus) that is left
 * to the caller. */
bool pg_answer_take(struct pg_conn *conn);
/* The session is gone: answers the query of a flight, if it is one. */
void pg_answer_lost(struct pg_conn *conn, struct pg_flight *flight, const struct err *err);
void pg_flight_destroy(struct pg_flight *flight);

/* sqlstate.c */
/* What errors call it; borrowed. */
const char *pg_query_name(const struct pg_query *query);
/* Fills err, sqlstate and constraint from a failed result. */
void pg_error_read(struct pg_query *query, const PGresult *failure);
int pg_error_code(const char *sqlstate);

/* pool.c: what its connections tell it */
void pg_pool_on_conn_state(struct pg_conn *conn, bool is_ready, const struct err *err);
void pg_pool_on_room(struct pg_conn *conn);
void pg_pool_on_answer(struct pg_pool *pool, const struct pg_query *query);
/* Of a query or lease that waits in the pool's line. */
void pg_pool_cancel(struct pg_pool *pool, struct pg_waiter *waiter);
