/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of the PostgreSQL backend.
 *
 *   pg_store.c    life: pools, opening (connect, migrate, enrol), closing
 *   pg_session.c  what we hold: the lock of life, shards, duties
 *   pg_news.c     what the instances tell each other
 *   pg_lookout.c  who has died
 *   pg_call.c     one request's way to the database and back: statements, retries, unknown outcomes
 *   pg_actions.c  pg_sched.c  pg_runs.c  pg_finish.c  pg_events.c  pg_instances.c pg_care.c   the
 * verbs: what each sends and reads pg_rows.c     rows to structs pg_migrate.c  the schema
 *
 * Every write is one statement, so it is a transaction of its own and needs no round trip while it
 * holds locks: a client that is stopped in the middle cannot hold up the others. What takes more
 * than one step is a function of the schema (sql/pg).
 *
 * Unknown outcomes. When a connection is lost after a write was sent, it may have been committed or
 * not. The write is then sent once more with is_again set, and each verb knows its own traces:
 *
 *   create, trigger, send_event   ids are fixed beforehand: rows with them are ours
 *   claim             run ids are fixed beforehand; and the cursor compare lets nothing happen
 * twice take              names itself (claim_id); asked again it returns what that name holds
 *   finish            fenced by epoch; an attempt on record with this outcome is ours
 *   replace, pause    the version is one further and the row is as we wanted it
 *   delete            gone is what we wanted (whose runs were running is lost; their next write
 * tells) cancel            cancelled by a person is what we wanted
 *
 * When the database does not come back within RETRY_MS the answer is ERR_UNAVAILABLE. Should a
 * claim or take have come through then, nobody here knows of its runs: nobody extends their lease,
 * and they are recovered when it ends. */
#pragma once

#include "pg/pg.h"
#include "store/store_priv.h"

enum pg_place {
	PG_READS,  /* one Sync a turn */
	PG_WRITES, /* what people ask for; may wait for locks */
	PG_CLAIMS,
	PG_FINISHES,
	PG_PLACE_COUNT
};

enum pg_store_state {
	PG_STORE_OPENING,
	PG_STORE_OPEN,
	PG_STORE_FAILED,
	PG_STORE_CLOSING
};

struct pg_migration;

/* --- coordination --- */

struct pg_session {
	struct pg_store *pg;
	struct pg_conn *conn; /* NULL: not begun, or a pooler is in between */
	struct pg_query query;
	uv_timer_t timer;
	int64_t due_mono_ms; /* of the timer; INT64_MAX: not armed */
	bool is_asking, is_closing;
	bool has_failed; /* the last balance: not at once again */
	bool is_held;    /* the lock of life */
	bool is_member, wanted;
	int members;
	uint64_t owned;
	uint32_t duties;
};

struct pg_news {
	struct pg_store *pg;
	struct pg_query query;
	uv_timer_t gap;
	bool is_telling, is_closing;
	bool has_failed; /* the last message: the next one waits for a reason, or for a session */
	unsigned told;   /* what the message under way is to be replaced by if it fails */
	/* the next message */
	unsigned flags; /* NEWS_..., see pg_news.c */
	size_t actions;
	struct buf words;
	int64_t listened_mono_ms; /* somebody listens elsewhere until then */
};

struct pg_ids {
	struct id *ids; /* owned */
	size_t count;
};

struct pg_lookout {
	struct pg_store *pg;
	struct pg_conn *conn;
	struct pg_query query;
	uv_timer_t timer;
	uv_timer_cb on_timer; /* what a failed answer goes on with */
	bool is_asking, is_closing;
	bool waits_for_leases;    /* store_opts */
	bool is_alone;            /* there was nobody to watch ... */
	bool is_stale;            /* ... but somebody came while that was being found out */
	struct pg_ids seen, gone; /* in this session */
	int64_t gone_at_ms, grace_ms;
};

struct pg_store {
	struct store *store;
	enum pg_store_state state;
	struct pg_pool *pools[PG_PLACE_COUNT];
	int pool_min, pool_max;         /* of those that an option decides */
	struct pg_pool *first_pool;     /* to migrate with, before the others are there */
	struct pg_migration *migration; /* owned while under way */
	char *url;                      /* owned */
	bool is_pooled;                 /* a transaction pooler stands in between */
	struct pg_query enrol;          /* also to leave */
	struct err open_err;
	struct list waiting;       /* requests of this turn, or of all turns while opening */
	struct list finishes;      /* finish requests that wait for the batch under way */
	size_t calls;              /* under way */
	bool is_finishing;         /* a batch of finishes is under way */
	bool was_open, is_leaving; /* while closing */
	int pools_open;            /* and other parts that take their time to close */
	struct pg_session session;
	struct pg_news news;
	struct pg_lookout lookout;
};

/* Goes on with closing, when that is under way and nothing else is. */
void pg_store_step(struct pg_store *pg);

/* One of what pools_open counts has closed. */
void pg_store_part_closed(struct pg_store *pg);

/* --- coordination (pg_session.c, pg_news.c, pg_lookout.c) --- */

/* The backend's watch and want_work. */
void pg_session_open(struct store *store);
void pg_session_want_work(struct store *store);
/* Closes all three; how many parts will report (pg_store_part_closed). */
int pg_session_close(struct pg_store *pg);
/* A direct connection that idles for long. */
struct pg_conn *pg_session_connect(struct pg_store *pg, const char *name,
	const char *const *channels, pg_state_fn *on_state_fn, pg_notify_fn *on_notify_fn,
	void *data);
/* Members came or went, or gave something up. */
void pg_session_members_changed(struct pg_store *pg);
/* From the heartbeat. */
void pg_session_note_first(struct pg_store *pg, bool is_first);

#define PG_NEWS_CHANNEL "gathering"
void pg_news_open(struct pg_store *pg);
int pg_news_close(struct pg_store *pg);
bool pg_news_is_busy(const struct pg_store *pg);
void pg_news_read(struct pg_store *pg, const char *payload);
/* There is a session again: what could not be told meanwhile is. */
void pg_news_catch_up(struct pg_store *pg);
/* After a write that concerns the others. */
void pg_tell_pending(struct pg_store *pg);
void pg_tell_instances(struct pg_store *pg);
/* The backend's listen, others_listen and tell_run. */
void pg_news_listen(struct store *store);
bool pg_news_others_listen(const struct store *store);
void pg_news_tell_run(struct store *store, const struct id *run_id);
void pg_news_want_output(struct store *store, const struct id *run_id);
void pg_tell_action(struct pg_store *pg, const struct id *action_id);
void pg_tell_pause(struct pg_store *pg, const struct id *run_id);
void pg_tell_wish(struct pg_store *pg, const struct id *instance_id);
void pg_tell_cancels(struct pg_store *pg, const struct id *run_ids, size_t count);

void pg_lookout_open(struct pg_store *pg);
int pg_lookout_close(struct pg_store *pg);
void pg_lookout_members_changed(struct pg_store *pg);

/* --- calls --- */

#define PG_CALL_QUERIES 2

struct pg_call;

/* What a verb asks of the database. */
struct pg_plan {
	enum pg_place place;
	int64_t timeout_ms; /* of each statement; 0: the default of its place */
	/* Fills queries[0 .. query_count - 1]; again for each try. */
	void (*put)(struct pg_call *call);
	/* All have succeeded: outputs from rows. 0, a negative code with req->err set, or
	 * PG_CALL_MORE after `plan` was changed. */
	int (*read)(struct pg_call *call);
	/* A constraint was broken (ERR_CONFLICT, in queries[0]); as read. NULL: a bug. */
	int (*refused)(struct pg_call *call);
	/* After the answer, for a call that serves more than one request. */
	void (*done)(struct pg_call *call, const struct err *err);
};
#define PG_CALL_MORE 1

struct pg_call {
	struct pg_store *pg;
	struct store_req *req; /* NULL: a batch of finishes, see `list` */
	struct list list;
	const struct pg_plan *plan;
	struct pg_query queries[PG_CALL_QUERIES];
	int query_count, left;
	bool is_again; /* an earlier try may have come through */
	int tries;
	int64_t until_mono_ms; /* no retry after this */
	struct id token;       /* names a take */
};

/* Begins; the plan's outputs go to the request. Always 0, to be the value of a verb. */
int pg_call_start(struct pg_store *pg, struct store_req *req, const struct pg_plan *plan);
/* A batch: takes the requests of `list`. */
void pg_call_start_batch(struct pg_store *pg, struct list *list, const struct pg_plan *plan);

/* For put: the next statement, and its parameters. */
struct pg_params *pg_call_add(struct pg_call *call, const struct pg_statement *statement);

/* --- the verbs --- */

#define X(verb) int pg_##verb(void *db, struct store_##verb *req, int64_t now_ms);
STORE_VERBS(X)
#undef X
void pg_put_finish(const struct store_finish *req, struct pg_query *query);
int pg_read_finish(struct store_finish *req, const struct pg_query *query, struct err *err);
int pg_list_orphans(void *db, struct store_recover *req);
/* The second round of recover and take. */
int pg_move_orphans(struct pg_store *pg, struct store_req *req);
int pg_wish(void *db, struct store_wish *req, int64_t now_ms);
int pg_put_live(void *db, struct store_put_live *req, int64_t now_ms);
int pg_heartbeat(void *db, struct store_heartbeat *req, int64_t now_ms);
int pg_list_instances(void *db, struct store_list_instances *req, int64_t now_ms);
int pg_reap(void *db, struct store_reap *req, int64_t now_ms);
/* The first one of all enters this instance into the table. */
extern const struct pg_statement pg_heartbeat_statement;
void pg_put_heartbeat(struct pg_params *params, const struct store *store,
	enum store_instance_state state, const struct store_lease *leases, size_t count);
/* The finishes gathered so far go, unless a batch is under way: what comes meanwhile is the next.
 */
void pg_finish_flush(struct pg_store *pg);

/* --- rows (pg_rows.c) --- */

/* Columns of action a and definition d; read by pg_read_stored_action. */
#define PG_ACTION_FIELDS                                                                           \
	"a.id, a.version, a.is_paused, a.next_due_at, a.created_at, a.updated_at,"                 \
	" a.definition_version, d.body"
#define PG_ACTION_FROM                                                                             \
	" FROM gathering.action a LEFT JOIN gathering.definition d"                                \
	" ON d.action_id = a.id AND d.version = a.definition_version"
/* The same for the definition a run r was claimed with. */
#define PG_RUN_ACTION_FIELDS                                                                       \
	"r.action_id, r.action_version, a.is_paused, a.next_due_at, a.created_at, a.updated_at,"   \
	" r.definition_version, d.body"
#define PG_RUN_ACTION_JOINS                                                                        \
	" LEFT JOIN gathering.action a ON a.id = r.action_id"                                      \
	" LEFT JOIN gathering.definition d"                                                        \
	" ON d.action_id = r.action_id AND d.version = r.definition_version"
/* Read by pg_read_run. */
#define PG_RUN_FIELDS                                                                              \
	"r.id, r.action_id, r.action_version, a.name, r.triggered_by, r.due_at, r.state,"          \
	" r.reason, r.attempt, r.interruptions, r.epoch, r.instance_id, r.priority,"               \
	" r.not_before, r.created_at, r.claimed_at, r.started_at, r.finished_at,"                  \
	" r.http_status, r.exit_code, r.error, r.output_bytes, r.missed_count,"                    \
	" r.missed_until, r.cancel_requested, r.retry_of, r.traceparent, r.backfill"
/* What an event brought; read by pg_read_run_event. */
#define PG_RUN_EVENT_FIELDS ", x.name, x.payload"
#define PG_RUN_EVENT_JOIN   " LEFT JOIN gathering.run_event x ON x.run_id = r.id"
#define PG_RUN_JOIN         " LEFT JOIN gathering.action a ON a.id = r.action_id"

/* What attempts have noted, behind the fields of a run; read by pg_read_note. */
#define PG_NOTE_FIELDS                                                                             \
	", n.epoch, n.has_progress, n.percent, n.message, octet_length(n.checkpoint)::bigint"
#define PG_NOTE_JOIN " LEFT JOIN gathering.note n ON n.run_id = r.id"
void pg_read_note(struct pg_row *row, struct run *run);

void pg_read_stored_action(struct pg_row *row, struct stored_action *ret_row);
/* Strings owned by the caller (run_fini). */
void pg_read_run(struct pg_row *row, struct run *ret_run);
void pg_read_run_event(struct pg_row *row, struct run *run);
enum action_kind pg_read_kind(struct pg_row *row);
/* Appends the ids of an array column. */
void pg_read_ids(struct pg_row *row, struct id **ids, size_t *count);
/* Two arrays: three numbers, three names each, as gathering.put_care has it (pg_care.c). */
void pg_put_cares(struct pg_params *params, struct action *const *actions, size_t count);
/* What limits their schedules by what their runs do (pg_create.c). */
void pg_put_paces(struct pg_params *params, struct action *const *actions, size_t count);
/* "failed" or NULL for -1. */
void pg_put_name(struct pg_params *params, const char *const names[], int index);
/* A literal array of the kinds' names, in the order of the enum. */
void pg_put_kinds(struct pg_params *params);
void pg_put_capacity(struct pg_params *params, const int capacity[static ACTION_KIND_COUNT]);

/* --- the schema (pg_migrate.c) --- */

extern const struct embedded_file pg_migrations[]; /* sql/pg, in order, {0} at the end */

/* Advisory locks, two-integer form: the namespace, and what is locked in it. The others are in
 * sql/pg. */
#define PG_LOCK_DUTIES  0x47746872 /* "Gthr"; PG_DUTY_MIGRATE; from 16 on enum store_duty */
#define PG_DUTY_MIGRATE 1

struct pg_migration_opts {
	uv_loop_t *loop;
	struct pg_pool *pool;
	enum store_migrate_mode mode;
	int64_t start_max_ms; /* for a connection, and for others that migrate */
	void (*each)(const char *name, void *data); /* may be NULL */
	void *each_data;
	/* err NULL: the schema is up to date; is_pooled: this is not a session of our own, a
	 * pooler gives us one for each transaction. Once; the migration is gone then. */
	void (*done)(const struct err *err, bool is_pooled, void *data);
	void *data;
};
struct pg_migration *pg_migration_start(const struct pg_migration_opts *opts);

/* One connection for a command of the command line. */
int pg_command_pool(uv_loop_t *loop, const char *url, struct pg_pool **ret_pool, struct err *err);
/* `done` follows, with ERR_CANCELLED unless it had ended. The step under way is rolled back. */
void pg_migration_cancel(struct pg_migration *migration);

/* The backend's migrate: blocks, on a loop of its own. */
int pg_store_migrate(const char *url, enum store_migrate_mode mode,
	void (*each)(const char *name, void *data), void *data, struct err *err);
