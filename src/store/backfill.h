/* SPDX-License-Identifier: Apache-2.0
 *
 * Backfills: the due times of a stretch of the past, run on purpose at a bounded rate. What holds
 * for all verbs stands in store.h.
 *
 * A backfill is a row with a cursor. Whoever advances it (a duty) works out the next due times by
 * the schedule as it was asked for; the transaction that makes their runs moves the cursor from
 * where it was expected, so that each due time is looked at once, whatever crashes and whoever
 * tries at the same time. A run made by backfill N of its action has run.backfill = N (others have
 * 0), and (action, due time, backfill) is unique: a due time that has a run already can be run
 * again, once for each backfill.
 *
 * Its runs have trigger backfill, the lowest priority and the action's present definition. For the
 * overlap rules of all others they do not exist, but for one thing: a run of an action whose
 * overlap is not `allow` never runs at the same time as another, so a due time that comes while one
 * of them is running waits (`pending: queued`) until it has ended. Others always go first. */
#pragma once

#include "store/store.h"

enum backfill_state {
	BACKFILL_RUNNING, /* there are due times left, or runs that have not ended */
	BACKFILL_DONE,
	BACKFILL_CANCELLED
};
extern const char *const backfill_state_names[];

/* Which due times are run although a run of them is in the ledger. Those that were skipped always
 * are. */
enum backfill_rerun {
	BACKFILL_RERUN_NONE,
	BACKFILL_RERUN_FAILED, /* when none of their runs has succeeded or is still open */
	BACKFILL_RERUN_ALL
};
extern const char *const backfill_rerun_names[];

#define BACKFILL_PRIORITY        (-100)
#define BACKFILL_TOTAL_MAX       10000 /* due times */
#define BACKFILL_OPEN_MAX        1000
#define BACKFILL_INTERVAL_MIN_MS 10
#define BACKFILLS_KEPT           100 /* of an action, when another one is made */

struct backfill {
	struct id id, action_id;
	int64_t number;    /* of the action's, from 1 */
	char *action_name; /* owned; as it is now */
	enum backfill_state state;
	enum backfill_rerun rerun;
	char *seed;             /* owned; the name that picked H and jitter */
	char *schedule;         /* owned; JSON, as it was when asked for */
	int64_t from_ms, to_ms; /* [from, to) */
	int64_t cursor_ms;      /* the next due time to look at; NO_TIME: there is none */
	int64_t total;          /* due times in all */
	int64_t made, passed;   /* so many were run; not run, as a run was there */
	int64_t interval_ms;    /* from one run to the next */
	int max_open;           /* of its runs: pending, running and held */
	int64_t next_at_ms;     /* the next run is not made before */
	int64_t created_at_ms, finished_at_ms;
	int64_t runs[RUN_STATE_COUNT]; /* in the ledger now */
	bool is_action_paused;         /* then nothing is made */
};
void backfill_fini(struct backfill *backfill);
/* Its runs that are pending, running or held. */
int64_t backfill_open_runs(const struct backfill *backfill);

/* Begins one; id, number and times are given by the store. ERR_NOT_FOUND: no such action;
 * ERR_CONFLICT: another one of the action is not over. */
struct store_create_backfill {
	struct store_req req;
	const struct backfill *backfill;
	struct backfill ret_backfill;
};
void store_create_backfill(
	struct store *store, struct store_create_backfill *req, store_done_fn *done);
void store_create_backfill_fini(struct store_create_backfill *req);

/* A page, newest first, of those that pass each filter set. */
struct store_list_backfills {
	struct store_req req;
	struct id id, action_id, before_id; /* zero: any; any; from the newest */
	bool only_running;
	int limit;
	int64_t ret_now_ms;
	struct backfill *ret_backfills;
	size_t ret_count;
	bool ret_has_more;
};
void store_list_backfills(
	struct store *store, struct store_list_backfills *req, store_done_fn *done);
void store_list_backfills_fini(struct store_list_backfills *req);

/* Makes runs of the due times in order, at most max_new: those that `rerun` leaves out are passed
 * without counting. The cursor moves behind the last one that was looked at, next_at by an interval
 * a run. Without due times left and without open runs it is done.
 *
 * Nothing happens (ret_won false) when the cursor is not cursor_ms, when it is over, or while the
 * action is paused. ERR_NOT_FOUND. */
struct store_advance_backfill {
	struct store_req req;
	struct id id;
	int64_t cursor_ms; /* as expected */
	const int64_t *dues;
	size_t count;
	int64_t next_cursor_ms; /* behind all of them; NO_TIME: that was the last */
	size_t max_new;
	bool ret_won;
	int64_t ret_made, ret_passed;
	bool ret_is_done;
};
void store_advance_backfill(
	struct store *store, struct store_advance_backfill *req, store_done_fn *done);

/* No more runs are made; those that wait are cancelled, as a person's cancel does, and those that
 * run are asked to end (ret_cancel). ERR_NOT_FOUND; ERR_CONFLICT when it is over. */
struct store_cancel_backfill {
	struct store_req req;
	struct id id;
	struct id *ret_cancel;
	size_t ret_cancel_count;
};
void store_cancel_backfill(
	struct store *store, struct store_cancel_backfill *req, store_done_fn *done);
void store_cancel_backfill_fini(struct store_cancel_backfill *req);
