/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides what runs and when: look, wake, plan, claim, start, finish (DESIGN section 5). The store
 * decides who wins; this module only keeps a bounded window of what is due soon and one timer. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/id.h"
#include "exec/exec.h"
#include "store/instances.h"
#include "store/store.h"

struct sched;

struct sched_opts {
	uv_loop_t *loop;
	struct store *store;
	struct exec *exec;
	int window_max;       /* actions held in memory ahead of time */
	int64_t window_ms;    /* how far ahead is looked */
	int64_t poll_ms;      /* the safety poll; jittered by a quarter ... */
	int64_t deaf_poll_ms; /* ... and where others share the store and cannot tell us what they
				 do */
	int claim_max;        /* actions in one claim */
	/* Shared store: how often we say that we live while there is work, for how long it counts.
	 * Without work two thirds of a lease are often enough. */
	int64_t heartbeat_ms, lease_ms;
	const char *unrecorded_path; /* file for results that cannot be recorded; copied;
					NULL: they are lost */
	bool has_predecessor; /* a process that plans no more but still ends runs of its own: what
				 it leaves is recovered after sched_predecessor_gone() only, and
				 what it is told is looked for often */
	bool is_handed_over;  /* by another process: for run_on_start the service goes on */
	int64_t db_max_ms;    /* draining: how long a result is tried to be recorded */
	const struct run_limit
		*limits; /* of the whole cluster; borrowed for the life of the sched */
	size_t limit_count;
	/* The ledger of all actions is brought within these limits so often (store_retain), and
	 * deadlines are looked after; 0: neither, here */
	int64_t retain_every_ms;
	struct retention retention; /* where an action says nothing; 0: without limit */
	int64_t retain_output_bytes;
	/* An operator asked another instance to have this one drained, or undrained. May be NULL.
	 */
	void (*on_wish)(bool drain, void *data);
	/* A stop cannot wait any longer for a result to be recorded. May be NULL. */
	void (*on_unrecorded)(void *data);
	void *data;
};

typedef void sched_done_fn(void *data);

int sched_create(const struct sched_opts *opts, struct sched **ret_sched, struct err *err);

/* Recovers what a dead instance left, looks for the first time, then calls back: ready. Retries by
 * itself while the store is unavailable. */
void sched_start(struct sched *sched, sched_done_fn *started, void *data);

/* Stops planning and claiming in this very turn; a claim under way may commit, and its runs are
 * handed back unstarted. Running attempts go on. sched_resume undoes it (undrain). Both idempotent.
 */
void sched_pause(struct sched *sched);
void sched_resume(struct sched *sched);

/* What can change while it runs, as in sched_opts. Room that the executor has got or lost is looked
 * for, too. */
struct sched_limits {
	int64_t heartbeat_ms, db_max_ms;
};
void sched_set_limits(struct sched *sched, const struct sched_limits *limits);

/* The process is going to stop: attempts still running after `run_max_ms` are ended (TERM, grace,
 * KILL) and handed back. The first call counts. */
void sched_finish_within(struct sched *sched, int64_t run_max_ms);

/* The predecessor has ended: what it left is recovered. */
void sched_predecessor_gone(struct sched *sched);

/* A successor plans from now on, while our own runs end: it is asked often, also on a store that is
 * not shared, whether they are to. After sched_pause. */
void sched_hand_over(struct sched *sched);

/* After sched_pause: `claims_drained` when no claim is under way, then `runs_drained` when every
 * attempt has ended and is recorded (or given up after db_max_ms). sched_hurry ends all attempts
 * now; the second time it kills them and gives up recording. */
void sched_drain(struct sched *sched, sched_done_fn *claims_drained, sched_done_fn *runs_drained,
	void *data);
void sched_hurry(struct sched *sched);

/* True when a shutdown ended an attempt before it was done. */
bool sched_was_cut(const struct sched *sched);

/* The runs it ended so, the first of them; returns how many were written. Each is in the log. */
#define SCHED_CUT_RUNS_MAX 20
size_t sched_cut_runs(const struct sched *sched, struct id ret_ids[static SCHED_CUT_RUNS_MAX]);

/* Waits for what the store still owes, then frees. Attempts must have been drained or the executor
 * is destroyed after us. No other callback of ours comes from here on. */
void sched_destroy(struct sched *sched, sched_done_fn *closed, void *data);

/* Something the API wrote: `action` is the row as stored now (its cursor may be near), or is_gone.
 */
void sched_action_changed(struct sched *sched, struct action *action);
void sched_action_gone(struct sched *sched, const struct id *action_id);

/* A pending run was inserted: take it when there is room. */
void sched_run_pending(struct sched *sched);

/* Something made cursors move that we do not know of in detail. */
void sched_look_again(struct sched *sched);

/* A backfill was begun, or a run of one has ended. */
void sched_backfill_soon(struct sched *sched);

/* A running run is to be cancelled: ends it if it runs here. */
void sched_cancel_run(struct sched *sched, const struct id *run_id);

/* A running run is to be paused: ends its attempt if that runs here; the store holds it then. */
void sched_pause_run(struct sched *sched, const struct id *run_id);

/* --- duties: work for all instances that one of them does at a time ---
 *
 * Retention, alerts and the like. Each instance adds the same duties; `work` is called in the one
 * that holds the duty (store_held: one instance with PostgreSQL, this one with SQLite), every
 * period_ms (jittered by an eighth, counted from the end of the last round), never while paused or
 * draining. Two instances may overlap for a moment when a session is lost, so a round must be
 * harmless when done twice. An error means: not this time. */
struct sched_duty {
	enum store_duty duty;
	int64_t period_ms;
	bool minds_actions; /* a round follows soon after any action was changed, by whomever */
	/* Begins a round; sched_duty_done must follow, also after an error, and may be called at
	 * once. */
	void (*work)(struct sched_duty *duty);
	void *data; /* the caller's */
	/* private to sched/ */
	struct list node;
	struct sched *sched;
	bool is_working;
	int64_t next_mono_ms;
	int64_t asked_in_ms; /* for the round after this one; INT64_MAX: nobody did */
};

/* `duty` is the caller's and stays until sched_destroy has called back, which waits for the round
 * under way. */
void sched_duty_add(struct sched *sched, struct sched_duty *duty);

/* The round has ended; the next one in a period, or (not NO_TIME) in again_ms, when something was
 * left over. */
void sched_duty_done(struct sched_duty *duty, int64_t again_ms);

/* The executor's, passed through for health and the API. */
struct sched_stats {
	int64_t last_claim_mono_ms; /* NO_TIME: never */
	size_t window_count;
	size_t runs_running;
	bool is_paused;
	bool is_store_ok;   /* what it wrote last got through, and all results are recorded */
	int64_t max_lag_ms; /* largest start lag within the last minute or so */
};
void sched_stats(const struct sched *sched, struct sched_stats *ret_stats);

/* For exec_opts.on_note: what an attempt notes is kept in the ledger. */
exec_note_fn sched_note;

/* For exec_opts.put_end and read_end: the end of an attempt in its own transaction. */
exec_put_end_fn sched_put_end;
exec_read_end_fn sched_read_end;

/* The database clock as far as known here: for computing cursors before a write. */
int64_t sched_now_ms(const struct sched *sched);
