/* SPDX-License-Identifier: Apache-2.0
 *
 * What the backends implement, and what they share.
 *
 *   store_claim() -> store.c: counts it, gives it to the backend
 *                 -> backend->submit: takes it, and completes it on a later turn of the loop
 *                 -> store_req_finish: callback
 *
 * A backend is asynchronous by nature: it may answer whenever it likes. The synchronous ones
 * (SQLite on the thread pool, memory on the loop) share batch.c, which gathers requests into
 * batches and runs the verbs of a `struct sync_ops` over each, one transaction a batch.
 *
 * Who runs where: a verb of `sync_ops` may run on a worker thread. It touches its database handle,
 * its request and the scratch of its request, nothing else: no id_make (loop only), no counted
 * references of actions, no parsing of definitions (time zones are cached without a lock).
 * Therefore `prepare` makes ids and texts on the loop beforehand and `complete` turns texts into
 * actions afterwards. */
#pragma once

#include "base/text.h"
#include "store/backfill.h"
#include "store/boot.h"
#include "store/care.h"
#include "store/instances.h"
#include "store/live.h"
#include "store/secrets.h"
#include "store/store.h"

/* --- requests --- */

enum store_lane {
	LANE_WRITE,
	LANE_READ, /* by key: microseconds */
	LANE_LIST, /* may walk a long ledger, and nothing else is to wait for that */
	LANE_COUNT
};

/* Every verb once, but recover, which is made of two others. */
#define STORE_VERBS(X)                                                                             \
	X(create_actions)                                                                          \
	X(get_action)                                                                              \
	X(list_actions)                                                                            \
	X(replace_action)                                                                          \
	X(pause_action)                                                                            \
	X(delete_action)                                                                           \
	X(look)                                                                                    \
	X(claim)                                                                                   \
	X(take)                                                                                    \
	X(finish)                                                                                  \
	X(trigger)                                                                                 \
	X(send_event)                                                                              \
	X(boot)                                                                                    \
	X(get_run)                                                                                 \
	X(list_runs)                                                                               \
	X(cancel_run)                                                                              \
	X(create_backfill)                                                                         \
	X(list_backfills)                                                                          \
	X(advance_backfill)                                                                        \
	X(cancel_backfill)                                                                         \
	X(change_run)                                                                              \
	X(get_output)                                                                              \
	X(note)                                                                                    \
	X(get_checkpoint)                                                                          \
	X(put_secret)                                                                              \
	X(get_secrets)                                                                             \
	X(delete_secret)                                                                           \
	X(retain)                                                                                  \
	X(lapse)                                                                                   \
	X(get_cares)                                                                               \
	X(stats)

/* The verbs of a synchronous backend, by name. Each returns 0 or a negative code with req->req.err
 * filled, and then leaves no change behind that its transaction's undo would not take back. */
struct sync_verbs {
#define X(verb) int (*verb)(void *db, struct store_##verb *req, int64_t now_ms);
	STORE_VERBS(X)
#undef X
	/* First round of recover: the running runs of other instances, into the scratch. */
	int (*list_orphans)(void *db, struct store_recover *req);
	/* Of a backend that several instances share; NULL: there is one, and it knows itself. */
	int (*heartbeat)(void *db, struct store_heartbeat *req, int64_t now_ms);
	int (*list_instances)(void *db, struct store_list_instances *req, int64_t now_ms);
	int (*reap)(void *db, struct store_reap *req, int64_t now_ms);
	int (*wish)(void *db, struct store_wish *req, int64_t now_ms);
	int (*put_live)(void *db, struct store_put_live *req, int64_t now_ms);
};

struct store_verb {
	const char *name;
	enum store_lane lane;
	int (*run)(const struct sync_verbs *verbs, void *db, struct store_req *req, int64_t now_ms);
	size_t outputs, end; /* where in the request the outputs lie: zero when it begins */
	void (*fini)(struct store_req *req);    /* frees the outputs; may be NULL */
	void (*prepare)(struct store_req *req); /* on the loop, before; may be NULL */
	/* On the loop, after a success; may be NULL. Returns whether it must run once more. */
	bool (*complete)(struct store_req *req);
	/* Tells what it has changed, when somebody wants to know; NULL: nothing that is watched. */
	void (*changes)(struct store_req *req);
};

/* A verb, beside its store_<verb>_fini: STORE_VERB(verb, .lane = ..., ...) defines store_<verb>()
 * and says in the members of struct store_verb what goes with it. The other three fill these
 * members. */
#define STORE_VERB(verb, ...)                                                                      \
	static const struct store_verb verb_##verb = {                                             \
		.name = #verb, .run = verb##_run, __VA_ARGS__};                                    \
	_Static_assert(offsetof(struct store_##verb, req) == 0, "OUTPUTS counts from there");      \
	void store_##verb(struct store *store, struct store_##verb *req, store_done_fn *done)      \
	{                                                                                          \
		store_submit(store, &req->req, &verb_##verb, done);                                \
	}

/* From `first` to the end of the request all members are outputs. */
#define OUTPUTS(verb, first)                                                                       \
	.outputs = offsetof(struct store_##verb, first), .end = sizeof(struct store_##verb)

/* <verb>_run, which does what the backend's function of that name does. */
#define STORE_VERB_RUN(verb)                                                                       \
	static int verb##_run(                                                                     \
		const struct sync_verbs *verbs, void *db, struct store_req *req, int64_t now_ms)   \
	{                                                                                          \
		return verbs->verb(db, container_of(req, struct store_##verb, req), now_ms);       \
	}

/* <verb>_release, which does what store_<verb>_fini does. */
#define STORE_VERB_FREES(verb)                                                                     \
	static void verb##_release(struct store_req *req)                                          \
	{                                                                                          \
		store_##verb##_fini(container_of(req, struct store_##verb, req));                  \
	}

/* An action as rows hold it, not yet parsed. */
struct stored_action {
	struct id id;
	int64_t version;
	bool is_paused;
	int64_t next_due_ms, created_at_ms, updated_at_ms;
	int64_t definition_version; /* with id the key of the text */
	char *text;                 /* owned; NULL: the definition is the one the request brought */
	size_t len;
};

/* A running run that nobody will finish, and what is to become of it. */
struct store_orphan {
	struct run run;
	struct run_follow_up follow_up;
	char *why; /* owned; the error of its last attempt */
};

/* What a request needs beside its inputs and outputs, from prepare to complete. */
struct store_scratch {
	struct id *ids; /* fresh ones for rows to come, ascending */
	size_t id_count, id_next;
	char **texts; /* definitions to be written */
	size_t text_count;
	struct stored_action *rows; /* definitions that were read */
	size_t row_count, row_room;
	struct store_orphan *orphans; /* found in the first round, moved in the second */
	size_t orphan_count, orphan_room;
	bool is_decided;    /* the second round */
	size_t moved_count; /* what it did: orphans that nobody else had moved */
};
void scratch_make_ids(struct store_scratch *scratch, size_t count);
const struct id *scratch_next_id(struct store_scratch *scratch);
void scratch_set_texts(struct store_scratch *scratch, struct action *const *actions, size_t count);
/* A zeroed row at the end, and the same for orphans. */
struct stored_action *scratch_add_row(struct store_scratch *scratch);
struct store_orphan *scratch_add_orphan(struct store_scratch *scratch);

/* The result of an attempt that nobody will finish; borrows `error`. */
struct attempt_result orphan_result(const struct run *orphan, char *error);

/* Room for one more element behind `count` of `size` bytes each; `room` doubles. Zeroes it. */
void *grow_array(void *array, size_t count, size_t *room, size_t size);

/* --- the store --- */

/* Text that tools/embed has put into the program. */
struct embedded_file {
	const char *name;
	const char *text;
};

struct store_backend {
	const char *schemes[2]; /* "sqlite:" */
	bool takes_whole_url;   /* `place` below is the URL, not what stands behind the scheme */
	const char *name;
	bool is_shared; /* by several instances */
	/* Sets store->impl and store->place. 0 when it is open (having blocked), STORE_OPENING when
	 * store_opened will follow. */
	int (*open)(struct store *store, const struct store_opts *opts, const char *place,
		struct err *err);
	/* Takes the request; answers on a later turn through store_req_finish. */
	void (*submit)(struct store *store, struct store_req *req);
	/* Once a turn after requests were submitted: the moment to start what was gathered. */
	void (*flush)(struct store *store);
	/* Answers what waits with ERR_CANCELLED, lets end what is under way, lets go of the
	 * database, then calls store_backend_closed. */
	void (*close)(struct store *store);
	size_t (*pools)(const struct store *store,
		struct store_pool ret_pools[static STORE_POOLS_MAX]); /* NULL: there are none */
	int (*migrate)(const char *place, enum store_migrate_mode mode,
		void (*each)(const char *name, void *data), void *data, struct err *err);
	/* store_put_finish and store_read_finish; NULL: cannot be. */
	void (*put_finish)(const struct store_finish *req, struct pg_query *query);
	int (*read_finish)(struct store_finish *req, const struct pg_query *query, struct err *err);
	/* Of a shared one: store->watcher was set; store->wants_work was. */
	void (*watch)(struct store *store);
	void (*want_work)(struct store *store);
	/* Of a shared one: tells the others that somebody listens here; whether they have told us
	 * so; tells them of a run (NULL: of some), if they have. */
	void (*listen)(struct store *store);
	bool (*others_listen)(const struct store *store);
	void (*tell_run)(struct store *store, const struct id *run_id);
	void (*want_output)(struct store *store, const struct id *run_id);
};
extern const struct store_backend sqlite_backend, memory_backend, postgres_backend;
#define STORE_OPENING 1

struct store {
	const struct store_backend *backend;
	uv_loop_t *loop;
	void *impl;  /* the backend's */
	char *place; /* owned */
	struct id instance_id;
	int lock_fd; /* the backend's, for successors; -1: none */
	int64_t opened_at_ms, lease_ms;
	size_t queue_max, batch_max;
	size_t open_count;        /* not yet called back, refused ones included */
	size_t queue_count;       /* accepted and not yet called back */
	int64_t answered_mono_ms; /* by the database; NO_TIME: never */
	int64_t waiting_mono_ms;  /* somebody waits, and nobody was answered, since then */
	struct list late;         /* answered already; called back on the next turn */
	uv_idle_t turn;           /* runs while there is something to deliver or to flush */
	bool is_closing, is_backend_closed;
	store_opened_fn *opened; /* still to be called, or NULL */
	void *opened_data;
	bool is_opened; /* one way or the other */
	struct err open_err;
	store_closed_fn *closed;
	void *closed_data;
	struct definition_cache *definitions; /* owned */
	struct store_watcher watcher;
	struct store_listener listener;
	store_output_wanted_fn *output_wanted; /* NULL: nobody cares */
	void *output_wanted_data;
	struct store_held held;
	bool wants_work;
};

/* Sets what we hold and tells the watcher when that is something else. */
void store_set_held(struct store *store, const struct store_held *held);

/* Gives the answer; loop thread, never inside submit (store_req_finish_late is for that). */
void store_req_finish(struct store_req *req);
void store_req_finish_late(struct store_req *req);
void store_backend_closed(struct store *store);

/* The end of an opening that took its time; err NULL: open. */
void store_opened(struct store *store, const struct err *err);

/* Asks for a flush on the next turn. */
void store_turn_later(struct store *store);

/* --- store_changes.c --- */

void store_req_tell(struct store_req *req);
#define X(verb) void verb##_changes(struct store_req *req);
X(create_actions)
X(replace_action)
X(pause_action)
X(delete_action)
X(claim)
X(take)
X(finish)
X(recover)
X(trigger)
X(send_event)
X(cancel_run)
X(change_run)
X(some_runs)
#undef X

/* The way in, for the verb functions. */
void store_submit(struct store *store, struct store_req *req, const struct store_verb *verb,
	store_done_fn *done);

/* --- definitions read back (loop thread) --- */

/* A cache, because the same definitions are read at every look and parsing one costs more than
 * reading it. */
struct definition_cache;
struct definition_cache *definition_cache_create(void);
void definition_cache_destroy(struct definition_cache *cache);

/* The action of a row, one reference. ERR_CORRUPT naming the action. The first keeps what it
 * parsed, for the scheduler; the second does not, for people who leaf through. */
int definition_cache_read(struct definition_cache *cache, const struct stored_action *row,
	struct action **ret_action, struct err *err);
int definition_cache_read_once(struct definition_cache *cache, const struct stored_action *row,
	struct action **ret_action, struct err *err);

/* --- batches --- */

/* Transactions of a backend that has them; `lane` says on which connection. */
struct sync_transactions {
	int (*begin)(void *db, enum store_lane lane, struct err *err);
	int (*commit)(void *db, enum store_lane lane, struct err *err);
	void (*rollback)(void *db, enum store_lane lane);
	/* One request of several in a transaction: mark before it, then keep or undo. */
	int (*mark)(void *db, struct err *err);
	int (*keep)(void *db, struct err *err);
	int (*undo)(void *db, struct err *err);
	/* False once an error has ended the transaction by itself. */
	bool (*is_open)(void *db, enum store_lane lane);
	/* Housekeeping for a quiet moment of the write lane. */
	bool (*wants_rest)(void *db);
	void (*rest)(void *db);
};

struct sync_ops {
	const struct sync_verbs *verbs;
	const struct sync_transactions
		*transactions; /* NULL: the verbs are all or nothing by themselves */
	bool is_threaded;      /* run on the thread pool, else on the loop */
	int (*open)(void *db, struct err *err); /* on the thread pool; NULL: it is open already */
	int (*lock_fd)(const void *db);         /* for store->lock_fd; with `open` */
	void (*close)(void *db);                /* also after `open` has failed */
};

/* The submit, flush and close of a synchronous backend; batch_create makes its store->impl. `db` is
 * taken. With ops->open it is STORE_OPENING: opened first, while requests wait. */
struct batch_runner;
struct batch_runner *batch_create(struct store *store, const struct sync_ops *ops, void *db);
void batch_submit(struct store *store, struct store_req *req);
void batch_flush(struct store *store);
void batch_close(struct store *store);

/* --- rules shared by the backends (store_rules.c; pure) --- */

/* Unfinished runs of one action; those of a backfill are not among the first two. */
struct open_runs {
	int64_t pending, running;
	int64_t backfilling; /* running ones of a backfill */
};

struct overlap_rules {
	enum overlap overlap;
	int queue_limit; /* action_pending_limit() */
	bool is_paused;
};

/* What becomes of one planned due time. */
struct due_fate {
	enum run_state state; /* pending, running or skipped */
	enum run_reason reason;
	bool makes_room; /* pending runs are cancelled, running ones marked for cancel */
};
struct due_fate due_decide(const struct overlap_rules *rules, enum due_verdict verdict,
	const struct open_runs *open, bool may_start);

/* Whether a due time of `priority`, claimed now, may start at once: there is room, and no pending
 * run that could start too goes first. Less than CLAIM_GRACE_MS of waiting does not count: else the
 * runs that one instance has queued a moment ago would make all others queue theirs, and so on for
 * ever. */
#define CLAIM_GRACE_MS 100
struct claim_room {
	int left[ACTION_KIND_COUNT];
	int64_t ahead_ms[ACTION_KIND_COUNT]; /* rank of the first that could; INT64_MAX: none */
};
bool claim_may_start(
	const struct claim_room *room, enum action_kind kind, int priority, int64_t now_ms);

/* So many of those that are first in line are asked whether they could start; when none can, the
 * last of them counts as one that could. */
#define AHEAD_MAX 100

/* Keeps `open` true after `fate` was carried out. */
void open_runs_count(struct open_runs *open, const struct due_fate *fate);

/* A new row; strings NULL. A running one still has to be begun. */
void run_init(struct run *run, const struct id *id, const struct planned_due *due, int64_t now_ms);
/* NULL or "": none. */
void run_set_trace(struct run *run, const char *traceparent);

/* pending -> running: owner, epoch, attempt; what the last attempt left is cleared. */
void run_begin(struct run *run, const struct id *instance_id, int64_t now_ms);

/* Gives the row its first state by the fate; a running one is begun. */
void run_settle(
	struct run *run, const struct due_fate *fate, const struct id *instance_id, int64_t now_ms);

/* To a final state, or held, or for a cancel; sets finished_at where it ends. */
void run_end(struct run *run, enum run_state state, enum run_reason reason, int64_t now_ms);

/* Marks a running run for cancel. The reason kept is the one it will end with. */
void run_request_cancel(struct run *run, enum run_reason reason);

/* The effect of store_finish on the row. ERR_STALE. `run` gets its own copy of the error text. */
int run_apply_finish(
	struct run *run, const struct store_finish *req, int64_t now_ms, struct err *err);

/* False for a run handed back before anything was started: there is no attempt to keep. */
bool attempt_has_begun(const struct attempt_result *result);

/* May the attempt of this epoch note something down? ERR_STALE. */
int run_check_note(const struct run *run, int64_t epoch, struct err *err);
/* What a run shows of a note made by the attempt `epoch`. Takes the message. */
void run_apply_progress(struct run *run, int64_t epoch, int percent, char *message_take);
/* Does a run that ended so need its checkpoint no more? */
bool run_forgets_checkpoint(enum run_state state);

/* A person's cancel. ERR_CONFLICT when it has ended. */
int run_apply_cancel(struct run *run, int64_t now_ms, struct err *err);

/* Of store_change_run. `is_again`: an earlier try may have come through. */
int run_apply_change(struct run *run, enum run_change change, bool is_again, struct err *err);

/* Started runs in due order. */
void runs_sort_by_due(struct run *runs, size_t count);
/* As they stand in line: by rank, then due time. */
void runs_sort_by_rank(struct run *runs, size_t count);
int run_compare_rank(const struct run *a, const struct run *b);

/* Whether `runs` has one of that action. */
bool runs_have_action(const struct run *runs, size_t count, const struct id *action_id);

/* Follows the chain of ends that starts `action` back to where it begins. ERR_INVALID when it comes
 * back to the action itself, or is longer than CHAIN_MAX. `event_of` gives the event that the
 * action of that name waits for, text for us to free, or NULL; negative after a failure. */
typedef int chain_event_fn(void *db, const char *name, char **ret_event, struct err *err);
int chain_check(const struct action *action, chain_event_fn *event_of, void *db, struct err *err);

/* A copy with its own strings; the next one at the end of an output (zeroed). */
void backfill_copy(struct backfill *to, const struct backfill *from);
struct backfill *backfills_add(struct store_list_backfills *req);

/* One more id in an output. */
void ids_add(struct id **ids, size_t *count, const struct id *id);

/* Saturating sum, for horizons. */
int64_t add_ms(int64_t a_ms, int64_t b_ms);

/* --- how an action fares (store_care.c) --- */

#define CARE_NONE ((struct care){NO_TIME, NO_TIME, NO_TIME})

/* The deadline of an action that expects a success within expect_ms (0: nothing) from now on. */
int64_t care_deadline(int64_t expect_ms, bool is_paused, int64_t now_ms);
/* The definition now says expect_ms, and said `old_expect_ms` before. */
void care_expect(struct care *care, int64_t old_expect_ms, int64_t expect_ms, bool is_paused,
	int64_t now_ms);
void care_pause(struct care *care, int64_t expect_ms, bool is_paused, int64_t now_ms);
/* Does the definition ask for news of failures? Else they are noted only while some action waits
 * for the ends of others. */
bool care_is_told(int64_t expect_ms, char *const hooks[ALERT_COUNT]);
/* A run has ended. True: that is to be told. */
bool care_ended(struct care *care, enum run_state state, int64_t expect_ms, bool is_paused,
	int64_t now_ms, enum alert *ret_alert);
/* "action.*.late". Static. */
const char *alert_of_any(enum alert alert);

/* What store_delete_action removes at once of the runs that have ended; the rest goes later. */
#define DELETE_BATCH 1000

/* The errors every backend words alike. */
int err_no_action(struct err *err);
int err_no_run(struct err *err);
int err_no_backfill(struct err *err);
int err_backfill_busy(struct err *err, const struct id *other);
int err_backfill_over(struct err *err, enum backfill_state state);
int err_no_instance(struct err *err);
int err_run_gone(struct err *err);
int err_run_stale(struct err *err, enum run_state state, int64_t epoch, int64_t expected);
int err_run_ended(struct err *err, enum run_state state);
int err_queue_full(struct err *err, int64_t pending);
int err_server_full(struct err *err, int64_t pending);
int err_no_output(struct err *err, int attempt);
int err_chain(struct err *err, const char *chain, bool is_long);
int err_no_secret(struct err *err, const char *name);
int err_secrets_full(struct err *err);

/* One more secret in an output; `sealed` is copied. The order of names is the backend's to keep. */
void secrets_add(struct store_get_secrets *req, const struct store_secret *secret);
int err_version(struct err *err, int64_t version, int64_t expected);
int err_name_taken(struct err *err, const char *name);
int err_id_taken(struct err *err);
