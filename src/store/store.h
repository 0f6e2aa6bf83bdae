/* SPDX-License-Identifier: Apache-2.0
 *
 * Every durable fact behind one asynchronous contract. Backends: SQLite (one file, one machine) and
 * memory (tests). The same contract test passes on each (test/contract).
 *
 * A request is a struct that the caller embeds and keeps until its callback has run. It runs
 * exactly once, on the loop thread, never before the call that started it returned; inside it the
 * request may be freed. Inputs are borrowed until then. When req.err.code is 0 the outputs are set;
 * release them with the request's _fini (fine to call always, also after an error). Nothing can be
 * cancelled: store_close waits for what is under way, and answers the rest with ERR_CANCELLED.
 *
 * Errors common to all: ERR_UNAVAILABLE (queue full, database busy or gone), ERR_FULL (disk full),
 * ERR_IO (read-only or failing disk), ERR_CORRUPT. After any error nothing of the request was kept.
 *
 * "Database clock": the clock that decides what is due and when leases end. With SQLite it is the
 * wall clock of the one machine. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/id.h"
#include "base/list.h"
#include "model/model.h"

struct store;
struct store_req;
typedef void store_done_fn(struct store_req *req);

struct store_req {
	struct err err;
	store_done_fn *done;
	void *data; /* the caller's */
	/* private to store/ */
	struct list queue_node;
	const struct store_verb *verb;
	struct store *store;
	struct store_scratch *scratch; /* owned while under way */
};

/* `err` is NULL when the store is open. */
typedef void store_opened_fn(const struct err *err, void *data);

struct store_opts {
	uv_loop_t *loop;
	/* "postgresql://..." (libpq's URL), "sqlite:PATH" or "memory:"; stores of one process share
	 * the rows of "memory:NAME" */
	const char *url;
	size_t queue_max;        /* requests not yet answered; more is ERR_UNAVAILABLE */
	size_t batch_max;        /* requests joined in one transaction */
	struct id instance_id;   /* owner written by claims */
	int lock_fd;             /* of a database file, from a predecessor (store_lock_fd) that may
				    still have the file open; taken over; 0 or less: none */
	int64_t lease_ms;        /* of a run, unless extended; 0: 30 s (PostgreSQL only) */
	bool waits_for_leases;   /* nobody is dead before that (PostgreSQL only) */
	int pool_min, pool_max;  /* connections for reads; pool_max also for changes. 0: 0 and 2
				    (PostgreSQL only) */
	int64_t start_max_ms;    /* for the database to come up; 0: 60 s (PostgreSQL only) */
	store_opened_fn *opened; /* may be NULL */
	void *opened_data;
};

/* Begins to open the database and to bring its schema up to date. `opened` follows once, on a later
 * turn of the loop, unless store_close comes first. Requests may be made at once; they wait, and
 * fail with the reason if it cannot be opened; then the store only waits to be closed. PostgreSQL
 * is connected to and migrated in the background, tried again until start_max_ms; SQLite is opened,
 * checked and migrated on the thread pool, since a slow disk may take its time.
 *
 * What is known to be wrong at once is returned, and there is no store then. The same codes, here
 * or in `opened`: ERR_UNAVAILABLE (PostgreSQL does not answer), ERR_CONFLICT (another server has
 * the file; the text names its process), ERR_IO (missing folder, read-only), ERR_CORRUPT (not a
 * database, or newer than this program), ERR_FULL, ERR_INVALID (url). */
int store_open(const struct store_opts *opts, struct store **ret_store, struct err *err);

/* The lock on the database file, for a successor that is to open it while we still have it open;
 * then whoever goes last lets go of the lock. -1: there is none. Borrowed. */
int store_lock_fd(const struct store *store);

/* Finishes what is under way, fails what waits (and what is asked meanwhile) with ERR_CANCELLED,
 * closes the database and calls back once, last of all, on the loop. The store must not be used
 * afterwards. */
typedef void store_closed_fn(void *data);
void store_close(struct store *store, store_closed_fn *closed, void *data);

/* "sqlite" or "memory", and the place, for people ("gathering.db"). Borrowed. */
const char *store_backend_name(const struct store *store);
const char *store_place(const struct store *store);

/* Applies or lists the migrations of `url` without a server. `dry_run`: only say. For each
 * migration that is (to be) applied `each` is called with its name. Blocking; command line only. */
enum store_migrate_mode {
	STORE_MIGRATE_APPLY,
	STORE_MIGRATE_DRY_RUN
};
int store_migrate(const char *url, enum store_migrate_mode mode,
	void (*each)(const char *name, void *data), void *data, struct err *err);

/* Moves all that an SQLite file holds to a PostgreSQL database without actions, in one transaction
 * there; then the file is refused by store_open until store_take_back. Running runs are recovered
 * by the first instance that starts there. `progress` is called for each table as it grows (of
 * `total` rows); with dry_run only that, with done 0. Blocking; command line only.
 *
 * ERR_INVALID (other kinds of places), ERR_NOT_FOUND (no such file), ERR_CONFLICT (a server has the
 * file; actions in the database); else as store_open. After any error the database is as it was,
 * unless the text says that the server did not confirm. */
struct store_move {
	const char *from, *to;
	bool dry_run;
	void (*progress)(const char *table, int64_t done, int64_t total, void *data);
	void *data;
	int64_t ret_rows;
};
int store_move(struct store_move *move, struct err *err);

/* Makes a file that was moved usable again, as it was then. Blocking; command line only. */
int store_take_back(const char *url, struct err *err);

/* --- connections --- */

struct store_pool {
	const char *name; /* what it is for; static */
	bool is_up;       /* at least one connection */
#define X(kind, field, help) int64_t field;
#include "store/pools.def"
#undef X
};
#define STORE_POOLS_MAX 8

/* What each pool of connections is doing now, from memory; returns how many there are: none where
 * the database is a file, or is not open yet. */
size_t store_pools(const struct store *store, struct store_pool ret_pools[static STORE_POOLS_MAX]);

/* --- actions --- */

/* Creates all or none. Each gets its row facts (id from the action if not zero, version 1, times
 * from the database clock); next_due_ms is stored as given. ERR_CONFLICT: a name is taken;
 * `ret_index` tells whose. */
struct store_create_actions {
	struct store_req req;
	struct action *const *actions;
	size_t count;
	/* out: as stored, same order */
	struct action **ret_actions;
	size_t ret_index;
};
void store_create_actions(
	struct store *store, struct store_create_actions *req, store_done_fn *done);
void store_create_actions_fini(struct store_create_actions *req);

/* By id, or by name when `name` is set. ERR_NOT_FOUND. */
struct store_get_action {
	struct store_req req;
	struct id id;
	const char *name; /* NULL: by id */
	struct action *ret_action;
};
void store_get_action(struct store *store, struct store_get_action *req, store_done_fn *done);
void store_get_action_fini(struct store_get_action *req);

/* A page, by name ascending, of the actions that pass every filter set. */
struct store_list_actions {
	struct store_req req;
	int limit;
	const char *after_name; /* NULL: from the start */
	const char *name_part;  /* NULL: any; substring, case-insensitive (ASCII) */
	const char *tag;        /* NULL: any */
	int kind;               /* enum action_kind, or -1 */
	int state;              /* enum action_state, or -1 */
	bool on_start;          /* those with run_on_start only */
	bool want_total;
	struct action **ret_actions;
	size_t ret_count;
	bool ret_has_more;
	int64_t ret_total; /* with want_total: all that pass */
};
void store_list_actions(struct store *store, struct store_list_actions *req, store_done_fn *done);
void store_list_actions_fini(struct store_list_actions *req);

/* Replaces the definition and the cursor (taken from `action`) of action `id`; the pause flag
 * stays. ERR_NOT_FOUND; ERR_VERSION when expected_version is not 0 and not the row's; ERR_CONFLICT:
 * name. Runs already in the ledger keep the definition they were claimed with. */
struct store_replace_action {
	struct store_req req;
	struct id id;
	int64_t expected_version;
	struct action *action;
	bool keeps_cursor; /* the row's own cursor stays, and its count of runs (max_runs) */
	struct action *ret_action;
};
void store_replace_action(
	struct store *store, struct store_replace_action *req, store_done_fn *done);
void store_replace_action_fini(struct store_replace_action *req);

/* Pauses or resumes, sets the cursor, and adds one to the version if that changed the flag; setting
 * what is set already changes nothing and succeeds. ERR_NOT_FOUND, ERR_VERSION. */
struct store_pause_action {
	struct store_req req;
	struct id id;
	int64_t expected_version; /* 0: any */
	bool is_paused;
	int64_t next_due_ms;
	struct action *ret_action;
};
void store_pause_action(struct store *store, struct store_pause_action *req, store_done_fn *done);
void store_pause_action_fini(struct store_pause_action *req);

/* Deletes the action with its ledger: nobody sees its runs any more. Those that have ended go in
 * batches, by store_retain, when they are many. `ret_running` lists its runs that were running (the
 * executor is to end them). ERR_NOT_FOUND, ERR_VERSION. */
struct store_delete_action {
	struct store_req req;
	struct id id;
	int64_t expected_version; /* 0: any */
	struct id *ret_running;
	size_t ret_running_count;
};
void store_delete_action(struct store *store, struct store_delete_action *req, store_done_fn *done);
void store_delete_action_fini(struct store_delete_action *req);

/* --- scheduling --- */

/* The next due actions, by due time: those with a cursor not after database-now + horizon_ms, at
 * most `limit`. A paused action without pause_records has no cursor, so it never shows. One whose
 * definition cannot be read (damaged, or written by a newer program) is left out and counted. */
#define STORE_OVERDUE_MS 10000
struct store_look {
	struct store_req req;
	int64_t horizon_ms;
	int limit;
	uint64_t shards; /* bit 1 << store_shard_of() each; 0: all. SQLite: all. Besides, whatever
			    its shard, what is overdue by STORE_OVERDUE_MS: who should have claimed
			    it did not */
	int64_t ret_now_ms;
	struct action **ret_actions;
	size_t ret_count;
	bool ret_has_more;         /* more lie within the horizon */
	int64_t ret_pending_at_ms; /* when the next pending run may start: ret_now_ms for at once;
				      NO_TIME: none but such as wait for a running one */
	size_t ret_unreadable;
	struct err ret_unreadable_err; /* why the first of them */
};
void store_look(struct store *store, struct store_look *req, store_done_fn *done);
void store_look_fini(struct store_look *req);

/* Claims due times of many actions in one transaction; each action is all or nothing and stands for
 * itself. An action is lost, without trace, when its row is gone, its version or cursor is not the
 * expected one, or the cursor is after database-now.
 *
 * For each planned due, in order, a ledger row (unique on action and due time): DUE_SKIP_* becomes
 * `skipped` with late or limit. DUE_RUN becomes
 *   skipped: paused       the action is paused
 *   skipped: overlap      overlap=skip and a run of the action is pending or running
 *   pending: queued       overlap=queue and one is; beyond queue_limit pending ones: skipped: limit
 *   pending: queued       overlap=cancel_running and one is running: that one is marked for cancel
 *                         (ret_cancel, once); pending ones become cancelled: overlap, also when
 *                         none is running
 *   running               else, while `capacity` (per kind) lasts, in the order of the items:
 *                         owner, epoch 1, attempt 1. Not when is_queued, and not past a pending
 *                         run of the kind that could start too and goes first (see take), unless
 *                         that has waited less than 100 ms
 *   pending: queued       else; with overlap=allow beyond max_pending: skipped: limit
 *
 * A due time that has a row already (a manual run of the same millisecond) gets no second one. The
 * cursor moves to next_due_ms and both commit together.
 *
 * max_runs: of the due times only so many become other than skipped, over all claims since the
 * schedule was last changed; the rest of a claim is `skipped: limit`, and with the last the cursor
 * is cleared. every_after: the cursor is DUE_AT_RUN_END while a run is open; when the claim made
 * none, it is pace_next(), and so it is after each end of a run of the action (store_finish,
 * store_cancel_run), unless the action is paused or has no cursor. */
struct claim_item {
	struct action *action; /* id, version and policies from here; not its next_due_ms */
	int64_t expected_ms;   /* the cursor the row must still have */
	const struct planned_due *dues;
	size_t due_count;
	int64_t next_due_ms;
	bool is_queued; /* starts by a take only: a limit on concurrency is to be counted there */
	bool ret_won;
};
struct store_claim {
	struct store_req req;
	struct claim_item *items;
	size_t count;
	int capacity[ACTION_KIND_COUNT];
	int64_t ret_now_ms;
	struct run *ret_started; /* now running, ours, with ->action set, in due order */
	size_t ret_started_count;
	struct id *ret_cancel; /* runs to end now */
	size_t ret_cancel_count;
	size_t ret_queued, ret_skipped; /* ledger rows that became pending / skipped */
};
void store_claim(struct store *store, struct store_claim *req, store_done_fn *done);
void store_claim_fini(struct store_claim *req);

/* Takes pending runs that may start (not_before reached; for overlap other than `allow` no other
 * run of the action running, oldest due time first), by run_rank_ms() then due time, and makes them
 * running: owner, epoch + 1, attempt + 1. With what an event brought (->event, ->payload) and the
 * definition of action_version in ->action; a run
 * whose definition cannot be read any more becomes failed. not_before is cleared when it is
 * reached. Never more of an action with max_concurrent than that many at a time, nor more than the
 * limits given allow, whatever the number of instances (that all give the same ones): what runs is
 * counted while nobody else can start any. Without limits only the first in line are looked at, as
 * many as there is capacity for: when max_concurrent keeps some of them, another take is needed. */
struct store_take {
	struct store_req req;
	int capacity[ACTION_KIND_COUNT];
	const struct run_limit *limits;
	size_t limit_count;
	int64_t ret_now_ms;
	struct run *ret_started;
	size_t ret_started_count;
	int64_t ret_pending_at_ms; /* the next not_before of the rest; NO_TIME: none. It may be
				      early (one that also waits for a running one) */
};
void store_take(struct store *store, struct store_take *req, store_done_fn *done);
void store_take_fini(struct store_take *req);

/* Ends an attempt: writes its attempt row and output, and moves the run as `follow_up` says
 * (pending: not_before = database-now + delay_ms, owner cleared; !counts: attempt - 1,
 * interruptions + 1). Fenced: ERR_STALE unless the run is running with this epoch. Of concurrent
 * finishes each stands for itself; they share one transaction. A cancel requested meanwhile turns a
 * pending follow-up into `cancelled` (user; overlap when a claim asked). A run handed back before
 * it was started (interrupted, started_at_ms NO_TIME) leaves no attempt row and is no interruption.
 *
 * A run that ends so as succeeded, failed, timed_out or cancelled is an event (run_event_name), and
 * starts who waits for it in the same transaction: as store_send_event does, without a key. When
 * that changes how its action fares (enum alert), those who are to be told are started, too: who
 * waits for the alert, of this action or of any, and the action that is named for it, but never
 * the one that it is about. A cancelled run changes nothing. */
struct store_finish {
	struct store_req req;
	const struct run *run; /* id, epoch, attempt */
	const struct attempt_result *result;
	struct run_follow_up follow_up;
	enum run_state ret_state;
	bool ret_has_sequels;  /* by this end runs of others may be pending, or a cursor set */
	struct id *ret_cancel; /* and these are to be ended now, for overlap=cancel_running */
	size_t ret_cancel_count;
};
void store_finish_fini(struct store_finish *req);
void store_finish(struct store *store, struct store_finish *req, store_done_fn *done);

/* The same as a part of somebody else's transaction, on the same database (PostgreSQL only): fills
 * `query`, everything copied; then reads its answer into req, before the COMMIT: ERR_STALE and the
 * other errors of store_finish mean that there must be none. The transaction must have set
 * gathering.epoch, by which is seen that it is still the same one (ERR_CONFLICT). */
struct pg_query;
void store_put_finish(
	const struct store *store, const struct store_finish *req, struct pg_query *query);
int store_read_finish(const struct store *store, struct store_finish *req,
	const struct pg_query *query, struct err *err);

/* Runs left `running` by an instance other than ours, which is known to be gone: each is moved by
 * run_follow_up(ATTEMPT_INTERRUPTED, owner_lost) of its own definition, all in one transaction. One
 * whose definition cannot be read becomes failed. */
struct store_recover {
	struct store_req req;
	size_t ret_count;
};
void store_recover(struct store *store, struct store_recover *req, store_done_fn *done);

/* An event: starts a run of each action whose schedule waits for it (`on`), with trigger event, the
 * name and the payload; due now, `pending: queued` or `skipped` as a manual run is, and `skipped:
 * paused` when the action is paused. All in one transaction.
 *
 * An event with a key is delivered once: when another with the same name and key came within
 * window_ms, that one is answered (ret_is_duplicate), with its runs, and nothing is done.
 *
 * ERR_QUEUE_FULL, and nothing is kept, when queued_max runs of all actions wait for their turn. */
struct store_send_event {
	struct store_req req;
	const char *name;
	const char *key;     /* NULL: none */
	const char *payload; /* JSON text; NULL: none */
	int64_t window_ms;
	const char *traceparent; /* of its runs; NULL: none */
	int queued_max;          /* 0: any number */
	struct id ret_event_id;
	bool ret_is_duplicate;
	struct run *ret_runs; /* without the payload */
	size_t ret_count;
	struct id *ret_cancel; /* overlap=cancel_running: runs to end now */
	size_t ret_cancel_count;
};
void store_send_event(struct store *store, struct store_send_event *req, store_done_fn *done);
void store_send_event_fini(struct store_send_event *req);

/* --- runs --- */

/* A manual run: a ledger row with trigger manual (or retry), due now (the first millisecond that is
 * neither taken nor the cursor), `pending: queued`, or `skipped: overlap` by the same rules as a
 * claim; what would be `skipped: limit` there is ERR_QUEUE_FULL here, and nothing is kept. Also
 * for a paused action. ERR_NOT_FOUND. ERR_QUEUE_FULL also when queued_max runs of all actions wait
 * for their turn. */
struct store_trigger {
	struct store_req req;
	struct id action_id;
	struct id retry_of;      /* not zero: repeats that run, which has ended; trigger retry */
	const char *traceparent; /* borrowed; of the run; NULL: none */
	int queued_max;          /* 0: any number */
	struct run ret_run;
	struct id *ret_cancel; /* overlap=cancel_running: runs to end now */
	size_t ret_cancel_count;
};
void store_trigger(struct store *store, struct store_trigger *req, store_done_fn *done);
void store_trigger_fini(struct store_trigger *req);

/* With what an event brought. */
struct store_get_run {
	struct store_req req;
	struct id id;
	struct run ret_run;
};
void store_get_run(struct store *store, struct store_get_run *req, store_done_fn *done);
void store_get_run_fini(struct store_get_run *req);

/* A page, newest id first, of the runs that pass every filter set. */
struct store_list_runs {
	struct store_req req;
	int limit;
	struct id before_id;            /* zero: from the newest */
	struct id action_id;            /* zero: any */
	uint32_t states;                /* bit 1 << enum run_state each; 0: any */
	int trigger;                    /* enum run_trigger, or -1 */
	int64_t due_from_ms, due_to_ms; /* [from, to); NO_TIME: open */
	bool want_total;
	struct run *ret_runs;
	size_t ret_count;
	bool ret_has_more;
	int64_t ret_total;
};
void store_list_runs(struct store *store, struct store_list_runs *req, store_done_fn *done);
void store_list_runs_fini(struct store_list_runs *req);

/* pending or held: `cancelled` (user) at once, and an event as in store_finish. running:
 * cancel_requested is set, and the reason it will end with; the owner is to end it. Asking again is
 * fine. ERR_NOT_FOUND; ERR_CONFLICT when it has ended already. */
struct store_cancel_run {
	struct store_req req;
	struct id id;
	struct run ret_run;
	struct id *ret_cancel; /* others, that its end made obsolete: to be ended now */
	size_t ret_cancel_count;
};
void store_cancel_run(struct store *store, struct store_cancel_run *req, store_done_fn *done);
void store_cancel_run_fini(struct store_cancel_run *req);

/* What a person does to one run that has not ended. ERR_NOT_FOUND.
 *
 *   pause    pending: `held` (paused) at once. running: asked for (run_is_pausing); the owner is to
 *            end its work, and the run is held when it has. held: stays. ERR_CONFLICT when it has
 *            ended or is to be cancelled.
 *   resume   held: `pending` (queued), to be taken at once. pending: stays. Else ERR_CONFLICT.
 *
 * A finish keeps a pause: an interruption, or a failure that another attempt would follow, becomes
 * held; an interrupted attempt is not used up. */
enum run_change {
	RUN_PAUSE,
	RUN_RESUME
};
struct store_change_run {
	struct store_req req;
	struct id id;
	enum run_change change;
	struct run ret_run;
};
void store_change_run(struct store *store, struct store_change_run *req, store_done_fn *done);
void store_change_run_fini(struct store_change_run *req);

/* Notes down what a running attempt has written: progress and checkpoint, what of the two is there.
 * Kept as long as the run; the checkpoint until it succeeds or is cancelled. Fenced: ERR_STALE
 * unless the run is running with this epoch. */
struct store_note {
	struct store_req req;
	struct id run_id;
	int64_t epoch;
	const struct run_note *note;
};
void store_note(struct store *store, struct store_note *req, store_done_fn *done);

/* The last checkpoint of a run, by whichever attempt; NULL: none. No run is none, too. */
struct store_get_checkpoint {
	struct store_req req;
	struct id run_id;
	char *ret_checkpoint;
	size_t ret_len;
};
void store_get_checkpoint(
	struct store *store, struct store_get_checkpoint *req, store_done_fn *done);
void store_get_checkpoint_fini(struct store_get_checkpoint *req);

/* Asks another instance to drain or to undrain, as an operator would ask it itself: it hears of it
 * within a second, with its next heartbeat at the latest. ERR_NOT_FOUND: it is not in the table, or
 * nobody shares this store. */
struct store_wish {
	struct store_req req;
	struct id instance_id;
	bool drain;
};
void store_wish(struct store *store, struct store_wish *req, store_done_fn *done);

/* True when several instances may share this store; then each must send heartbeats. */
bool store_is_shared(const struct store *store);

/* --- health --- */

/* How the database behaves, from memory: when it last answered anybody (NO_TIME: never yet), and
 * how long all who wait have been waiting for any answer (0: nobody waits). */
int64_t store_answered_mono_ms(const struct store *store);
int64_t store_silent_ms(const struct store *store);

/* Also the liveness probe of the database. */
struct store_stats {
	struct store_req req;
	int64_t ret_now_ms;
	int64_t ret_actions, ret_actions_paused;
	int64_t ret_runs_pending, ret_runs_running;
	int64_t ret_instances; /* that serve this database, ours included */
	int64_t ret_size_bytes;
};
void store_stats(struct store *store, struct store_stats *req, store_done_fn *done);
