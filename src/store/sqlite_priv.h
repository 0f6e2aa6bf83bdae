/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of the SQLite backend: connections with their prepared statements, the way values go
 * in and out, and the verbs. */
#pragma once

#include <sqlite3.h>

#include "store/file_lock_priv.h"
#include "store/store_priv.h"

/* --- statements --- */

enum query {
#define X(name, plan, text) QUERY_##name,
#include "store/sqlite_queries.def"
#undef X
	QUERY_COUNT
};

enum query_plan {
	QUERY_PLAN_KEYED,
	QUERY_PLAN_WALKS,
	QUERY_PLAN_NONE
};

struct query_text {
	const char *name;
	enum query_plan plan;
	const char *text;
};
extern const struct query_text query_texts[QUERY_COUNT];

/* --- a connection: one thread at a time --- */

struct conn {
	sqlite3 *db;
	const char *place; /* borrowed from the store's database */
	sqlite3_stmt *statements[QUERY_COUNT];
	bool takes_moved; /* sqlite_inspect does not mind */
	int wal_pages;    /* in the log since the last checkpoint reached its end */
	int force_pages;  /* the length at which it is cut under load */
};

enum conn_mode {
	CONN_WRITER,
	CONN_READER,
	CONN_INSPECT
};

/* Opens the file, which must exist, and sets it up. ERR_IO, ERR_CORRUPT, ERR_FULL, ERR_UNAVAILABLE.
 */
int conn_open(struct conn *conn, const char *place, enum conn_mode mode, struct err *err);
void conn_close(struct conn *conn);

/* Text that is not in sqlite_queries.def: pragmas and migrations. */
int conn_run_text(struct conn *conn, const char *sql, struct err *err);
int conn_read_i64(struct conn *conn, const char *sql, int64_t *ret_value, struct err *err);
/* The first value, owned by the caller; NULL when there is none, or it cannot be read. */
char *conn_read_text(const struct conn *conn, const char *sql);

/* Fills `err` from the connection's last failure, with the file and what to do; returns its code.
 */
int conn_fail(struct conn *conn, int rc, struct err *err);
int conn_damaged(const struct conn *conn, const char *what, struct err *err);

/* --- one execution of a statement ---
 *
 *     struct statement st = statement_start(conn, QUERY_RUN_BY_ID);
 *     put_id(&st, &id);
 *     while ((row = statement_step(&st, err)) > 0)
 *             read...(&st);
 *     statement_end(&st);
 *
 * Parameters are put and columns read from left to right. A failure to prepare or to bind shows up
 * at the first step. */
struct statement {
	struct conn *conn;
	sqlite3_stmt *handle;
	int parameter, column; /* the last one put, the next one to read */
	int rc;
};
struct statement statement_start(struct conn *conn, enum query query);
/* 1: a row, 0: no more, negative: ERR_*. */
int statement_step(struct statement *st, struct err *err);
void statement_end(struct statement *st);
/* To the end; the rows, if any, are not wanted. */
int statement_run(struct statement *st, struct err *err);
/* 1: there is a row, 0: none. */
int statement_any(struct statement *st, struct err *err);
/* Runs one that gives a single value, and ends it. Without a row *ret_value stays as it is. */
int statement_i64(struct statement *st, int64_t *ret_value, struct err *err);

void put_i64(struct statement *st, int64_t value);
void put_time(struct statement *st, int64_t at_ms);         /* NO_TIME is NULL */
void put_unless(struct statement *st, int value, int none); /* `none` is NULL */
void put_id(struct statement *st, const struct id *id);     /* zero is NULL */
void put_text(struct statement *st, const char *text); /* borrowed until the end; NULL is NULL */
void put_bytes(struct statement *st, const void *bytes, size_t len);

int64_t read_i64(struct statement *st);
int read_int(struct statement *st, int if_null);
int64_t read_time(struct statement *st);
struct id read_id(struct statement *st);
char *read_text(struct statement *st); /* a copy; NULL for NULL */
/* "" for NULL and for what does not fit. */
void read_text_into(struct statement *st, char *ret_text, size_t size);
/* Place in a table of names; an unknown name reads as the first. */
int read_name(struct statement *st, const char *const names[]);

/* Statements of one id and nothing else. */
int run_by_id(struct conn *conn, enum query query, const struct id *id, struct err *err);

/* --- the backend --- */

extern const struct embedded_file sqlite_migrations[]; /* sql/sqlite, in order, {0} at the end */

struct sqlite_db {
	char *path;  /* as it was given; owned, NULL: not the server's */
	int lock_fd; /* from a predecessor, to be taken over when it is opened */
	char *place; /* owned */
	struct file_lock lock;
	struct conn writer, reader, lister;
	bool takes_moved; /* a file whose rows have gone to a server is fine, too */
	struct id instance_id;
};

/* The file's application_id: ours, and ours with its rows gone elsewhere (see export_mark). */
#define SQLITE_APPLICATION_ID    0x47746872 /* "Gthr"; set by 0001_init.sql */
#define SQLITE_APPLICATION_MOVED 0x4774686d /* "Gthm" */

/* Checks that the file is ours, and brings its schema up to date. */
int sqlite_inspect(struct conn *conn, int64_t *ret_version, struct err *err);
int sqlite_upgrade(
	struct conn *conn, void (*each)(const char *name, void *data), void *data, struct err *err);
int sqlite_migrate(const char *place, enum store_migrate_mode mode,
	void (*each)(const char *name, void *data), void *data, struct err *err);
/* The schema version this program makes. */
int64_t sqlite_newest_version(void);

/* Opens the file exclusively: path made absolute, lock taken, file created when missing, schema not
 * looked at yet. */
int sqlite_enter(struct sqlite_db *db, const char *path, const struct file_lock_claim *claim,
	struct err *err);
void sqlite_leave(struct sqlite_db *db);

/* --- rows (sqlite_rows.c) --- */

void read_stored_action(struct statement *st, struct stored_action *ret_row);
void read_run(struct statement *st, struct run *ret_run);

/* What a run row copies from its action. */
struct run_origin {
	int64_t definition_version;
	enum action_kind kind;
	enum overlap overlap;
	int max_concurrent;
};
/* False in *ret_is_new: that due time has a row already, and nothing was done. */
int insert_run(struct conn *conn, const struct run *run, const struct run_origin *origin,
	bool *ret_is_new, struct err *err);
int update_run(struct conn *conn, const struct run *run, struct err *err);
/* ret_run's strings are the caller's. ERR_NOT_FOUND. */
int load_run(struct conn *conn, const struct id *id, struct run *ret_run, struct err *err);

/* What an event brought to a run; nothing for the triggers that bring nothing. ret_depth may be
 * NULL. */
int load_run_event(struct conn *conn, struct run *run, int *ret_depth, struct err *err);

/* --- places for runs (sqlite_fire.c): what claim and the triggers share --- */

/* One transaction's work on one action. */
struct claiming {
	struct conn *conn;
	const struct id *instance_id;
	int64_t now_ms;
	struct err *err;
	/* the action */
	struct id action_id;
	int64_t version;
	const char *name;
	int priority;
	struct run_origin origin;
	bool is_queued; /* nothing starts by the claim */
	struct overlap_rules rules;
	struct open_runs open;
	int64_t runs_left, made; /* of a claim: how many may run, how many do */
	/* out */
	struct id **cancel;
	size_t *cancel_count;
};

/* Nothing of the action yet, which the caller sets. The ids of running runs that are to end are
 * added to *cancel; NULL where none can be. */
struct claiming claiming_start(struct sqlite_db *db, int64_t now_ms, struct id **cancel,
	size_t *cancel_count, struct err *err);
/* 1: the facts of action_id are in `claiming`, its name is the caller's to free; 0: no such action.
 */
int claiming_load(struct claiming *claiming, int64_t *ret_cursor_ms, char **ret_name);
/* Sets claiming->open. */
int claiming_count_open(struct claiming *claiming);
/* Cancels what waits, asks what runs to end. */
int claiming_make_room(struct claiming *claiming);
/* Writes the row of one due time as `fate` says. */
int claiming_write_due(
	struct claiming *claiming, const struct due_fate *fate, struct run *run, bool *ret_is_new);
/* 1: that due time has a row, 0: none. */
int claiming_due_exists(struct claiming *claiming, int64_t due_at_ms);

/* --- schedules that depend on what their runs do (sqlite_pace.c) --- */

int pace_write(
	struct conn *conn, const struct id *id, const struct action *action, struct err *err);
/* How many due times of the action may still run; INT64_MAX where nothing limits them. */
int pace_left(struct conn *conn, const struct action *action, int64_t *ret_left, struct err *err);
/* After a claim that made `made` runs, and moved the cursor. */
int pace_claimed(struct conn *conn, const struct action *action, int64_t made, int64_t now_ms,
	struct err *err);
/* After the end of a run. *ret_has_moved becomes true when the cursor was set (may be NULL). */
int pace_ended(struct conn *conn, const struct id *action_id, int64_t now_ms, bool *ret_has_moved,
	struct err *err);

/* --- how an action fares, and what is kept of its ledger (sqlite_care.c) --- */

struct care_row {
	struct id action_id;
	struct care care;
	int64_t expect_ms;
	char *hooks[ALERT_COUNT], *action_name; /* owned */
	bool is_paused;
};
/* 1: there is a row; 0: none, and nothing is asked for. care_row_fini it whatever the result. */
int care_load(
	struct conn *conn, const struct id *action_id, struct care_row *ret_row, struct err *err);
void care_row_fini(struct care_row *row);
/* Writes row->care. */
int care_save(struct conn *conn, const struct care_row *row, struct err *err);
/* What a new definition asks for. */
int care_write(struct conn *conn, const struct id *id, const struct action *action, bool is_paused,
	int64_t now_ms, struct err *err);
int care_paused(
	struct conn *conn, const struct id *id, bool is_paused, int64_t now_ms, struct err *err);
/* Removes runs of a deleted action; adds how many. */
int drop_ledger(struct conn *conn, const struct id *action_id, int64_t limit, int64_t *ret_removed,
	struct err *err);

/* The end of `run`, just written, as an event (sqlite_events.c). */
struct sequels {
	bool *has_any; /* may be NULL */
	struct id **cancel;
	size_t *cancel_count;
};
int announce_end(struct sqlite_db *db, const struct run *run, const struct sequels *sequels,
	int64_t now_ms, struct err *err);

/* An alert, to whom it concerns. */
struct alert_news {
	enum alert alert;
	const struct care_row *row;
	struct id event_id;
	const char *payload, *traceparent;
	int depth;
};
int tell_alert(struct sqlite_db *db, const struct alert_news *news, const struct sequels *sequels,
	int64_t now_ms, struct err *err);

/* ERR_QUEUE_FULL when so many runs wait for their turn; 0: any number may (sqlite_fire.c). */
int check_queue(struct conn *conn, int queued_max, struct err *err);

/* A run that no due time asked for. */
struct firing {
	enum run_trigger trigger;
	struct id run_id, retry_of;
	const char *traceparent; /* NULL: none */
	enum run_reason
		reason;    /* of a skip, whatever the overlap policy says; NONE: that decides */
	bool obeys_pause;  /* else it runs although the action is paused */
	bool is_asked_for; /* too many that wait are an error, not a skip */
};
/* Due now, or at the first free millisecond after it. claiming->action_id names the action. 1:
 * *ret_run is written, with its own copy of the name; 0: no such action. */
int claiming_fire(struct claiming *claiming, const struct firing *firing, struct run *ret_run);
/* Adds to `run` what its attempts have noted (sqlite_notes.c). */
int load_note(struct conn *conn, struct run *run, struct err *err);
int drop_checkpoint(struct conn *conn, const struct id *run_id, struct err *err);

/* --- verbs --- */

#define X(verb) int sqlite_##verb(void *db, struct store_##verb *req, int64_t now_ms);
STORE_VERBS(X)
#undef X
int sqlite_list_orphans(void *db, struct store_recover *req);
