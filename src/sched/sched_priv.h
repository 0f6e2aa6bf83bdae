/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of sched/ share.
 *
 * The scheduler has one exchange with the store at a time: a look, a claim or a take. Whatever
 * becomes due meanwhile waits a few milliseconds and is claimed in one batch: that is the
 * back-pressure. Ends of attempts are recorded beside it, as many as there are; the store joins
 * them. */
#pragma once

#include "base/list.h"
#include "sched/sched.h"
#include "sched/timer.h"
#include "sched/window.h"
#include "store/care.h"

/* The largest start lag is remembered for so long. */
#define LAG_WINDOW_MS 60000

enum exchange {
	EXCHANGE_NONE,
	EXCHANGE_LOOK,
	EXCHANGE_TAKE,
	EXCHANGE_CLAIM /* in order of what their success proves: reading, locking, writing */
};

/* An attempt, from the claim until its result is recorded. */
struct attempt {
	struct list node; /* in sched.attempts */
	struct sched *sched;
	struct run run;
	int64_t leased_boot_ms; /* since when its lease runs, at least; INT64_MAX: it never began */
	bool is_named;          /* in the last heartbeat that was sent */
	bool is_waiting;        /* recording failed; the retry timer tries again */
	bool has_failed;        /* it failed before; counted in sched.unrecorded */
	struct attempt_result result;
	struct store_finish finish;

	struct store_get_checkpoint get; /* under way: is_fetching */
	struct run_note note;            /* what the ledger does not know yet */
	struct run_note noting;          /* on its way: is_noting */
	struct store_note noting_req;
	struct showing *showing; /* of its output, under way; NULL: none is */
	int64_t wanted_mono_ms;  /* somebody elsewhere follows it until then; 0: nobody has */
	int64_t shown_total;     /* so much of it; 0: nothing yet */
	bool is_fetching, is_noting;
	bool has_ended; /* `finish` says how */
	bool is_kept;   /* in the file of unrecorded results, or on its way */
	struct list in_unrecorded;
	int64_t ended_mono_ms;
	enum attempt_outcome end_now; /* while fetching: somebody asked; SUCCEEDED: nobody */
};

struct sched {
	struct sched_opts opts;
	struct window *window;
	struct wake_timer *wake;
	uv_timer_t poll;      /* safety poll, and the pause after a store error */
	uv_timer_t retry;     /* results that could not be recorded */
	uv_timer_t heartbeat; /* shared store: says that we live */
	uv_timer_t fence;     /* ends our work before our lease does */
	uv_timer_t run_max;   /* shutdown: ends the attempts */
	uv_timer_t duty_timer;
	uv_timer_t live;     /* shows output to other instances */
	uv_timer_t look_gap; /* many actions were changed elsewhere */

	uint64_t shards;   /* store_held's, as of the last change; 0: others have all */
	bool is_listening; /* the same */
	size_t fetches;    /* of single actions, under way; and outputs being shown */

	struct boot *boot;           /* owned */
	struct backfills *backfills; /* owned */

	struct list duties; /* of sched_duty */
	size_t duties_working;
	struct sched_duty retain_duty, lapse_duty; /* keep.c */
	struct store_retain retain;                /* the walk; under way: a step */
	int64_t walk_removed;
	struct store_lapse lapse;

	enum exchange exchange; /* under way */
	enum exchange last;     /* the turn goes round from here */
	int64_t asked_ms;       /* wall clock when it began ... */
	int64_t asked_boot_ms;  /* ... and the clock of leases */
	union {
		struct store_recover recover;
		struct store_look look;
		struct store_take take;
		struct store_claim claim;
	};
	struct claim_item
		*claim_items; /* owned, claim_max of them; their dues too while claiming */

	struct store_heartbeat beat; /* under way: is_beating */
	struct store_lease *leases;  /* owned; what it names */
	struct store_reap reap;      /* these two, one after the other: is_reaping */
	struct store_recover orphans;
	int64_t wish; /* of an operator, the last that was heard */
	bool is_beating, is_reaping;
	bool recover_wanted;    /* once more, when what is under way has ended */
	bool is_exposed;        /* our lock of life is gone */
	bool has_missed;        /* heartbeats have failed since the last that came through */
	int64_t accuse_boot_ms; /* not before this is anybody taken for dead by his leases */
	int64_t beat_sent_boot_ms;
	int64_t beat_due_boot_ms; /* the next one; INT64_MAX: nobody has asked for one */
	int64_t fence_boot_ms;    /* our work ends then, unless the lease is extended */

	struct unrecorded *file; /* owned; results that the store could not be told */
	uv_timer_t give_up;      /* shutdown: looks for results that the store does not take */
	size_t kept_count;       /* attempts that are kept while the store still owes an answer */
	bool is_replaying;
	bool has_successor;  /* another process plans; we only end what runs here */
	bool recovery_first; /* before anything else: what the instance before us left */
	bool is_paused;
	bool is_stopping; /* paused for good: attempts have a last moment */
	bool is_destroyed;
	bool is_backing_off;   /* after a store error: no exchange before the poll timer fires */
	enum exchange failing; /* failed last, and nothing that proves as much went well since */
	bool look_wanted;
	bool take_wanted;
	bool take_was_cut;  /* the take under way offers some kind less than is free of it */
	int take_first;     /* the kind that is served first; they take turns */
	int empty_takes;    /* cut ones in a row that found nothing, of this round; -1: before it */
	bool has_pending;   /* the ledger may hold pending runs */
	bool window_is_cut; /* more lay within the horizon than the window took */
	int64_t covered_until_ms; /* the window is complete up to here */
	int64_t pending_at_ms;    /* a pending run may start then; NO_TIME: none known */
	int64_t skew_ms;          /* database clock - wall clock */
	int64_t backoff_ms;       /* after store errors */

	struct list attempts;
	size_t attempt_count;
	int recording[ACTION_KIND_COUNT]; /* ended, not yet in the ledger */
	size_t unrecorded;                /* of these, failed at least once */

	bool was_cut;
	struct id cut_runs[SCHED_CUT_RUNS_MAX];
	size_t cut_count;
	int hurries;
	int64_t stopping_mono_ms;     /* since when */
	int64_t record_until_mono_ms; /* in a hurry: what is not recorded by then is kept; NO_TIME:
					 there is none */
	int64_t last_claim_mono_ms;
	int64_t max_lag_ms, lag_since_mono_ms;

	sched_done_fn *started, *claims_drained, *runs_drained, *closed;
	void *started_data, *drain_data, *closed_data;
	int open_handles;
};

/* --- sched.c --- */

/* Starts the next exchange that is wanted, if none is under way, and arms the timer. */
void sched_turn(struct sched *sched);

/* Begins `exchange`; ends it, noting whether the store answered. False: it did not, and the turn is
 * taken up again after a pause. */
void exchange_begin(struct sched *sched, enum exchange exchange);
bool exchange_end(struct sched *sched, const struct err *err, const char *what);

/* What the store says its clock is, in answer to the exchange that has just ended. */
void sched_note_clock(struct sched *sched, int64_t store_now_ms);

/* A pending run may start at `at_ms` (store's clock). NO_TIME: nothing new. */
void sched_note_pending(struct sched *sched, int64_t at_ms);

/* Sets the safety poll to its next, jittered time. */
void sched_arm_poll(struct sched *sched);

/* Puts `action` into the window if it belongs and fits there, else takes it out. */
void sched_put(struct sched *sched, struct action *action, int64_t due_ms);

/* --- drain.c --- */

/* Reports the steps of a drain that have been reached. */
void drain_check(struct sched *sched);

/* --- look.c, take.c, claim.c: each starts its exchange if there is reason to --- */

bool look_try(struct sched *sched);
bool take_try(struct sched *sched);
/* There is more room, or more that waits: every kind is to be offered everything once more. */
void take_want(struct sched *sched);
bool claim_try(struct sched *sched);

/* --- lease.c --- */

/* Sends a heartbeat now, and from then on every heartbeat_ms; nothing when the store is not shared.
 */
void lease_start(struct sched *sched);
void lease_beat(uv_timer_t *timer);

/* May work be started? Not from when our own was ended for the lease's sake until it is extended;
 * always when the store is not shared. */
bool lease_is_held(const struct sched *sched);

/* An attempt that was just claimed or taken: its run is leased since that exchange was asked for,
 * and our heartbeats may have been rare, or have gone out without it meanwhile. False: that was so
 * long ago that it must not start. */
bool lease_begins(struct sched *sched, struct attempt *attempt);

/* Nobody but heartbeats tells that we live, or our lock of life does again. */
void lease_exposed(struct sched *sched, bool is_exposed);

/* Sends the next heartbeat now, for what it may bring. */
void lease_beat_soon(struct sched *sched);

/* Somebody's leases have ended. */
void lease_recover(struct sched *sched);

/* --- news.c --- */

/* Takes part in the division of the work from now on. */
void news_begin(struct sched *sched);

/* Something of ours may have changed: looks in a moment, once for all that asks meanwhile. */
void news_look_soon(struct sched *sched);

/* Is this action's shard ours to look after? */
bool sched_owns(const struct sched *sched, const struct id *action_id);

/* The safety poll: often when nobody can tell us anything. */
int64_t sched_poll_ms(const struct sched *sched);

/* --- keep.c --- */

/* Adds the duties of our own. */
void keep_start(struct sched *sched);

/* --- live.c --- */

/* Shows output to those who ask for it from now on. */
void live_begin(struct sched *sched);
/* Its end is recorded, or never will be. */
void live_forget(struct attempt *attempt);

/* --- duty.c --- */

/* The next round of this duty, if it is ours, begins within so long: from now on, or from the end
 * of the round under way, which may have looked too early. */
void duty_within(struct sched_duty *duty, int64_t in_ms);

/* An action was changed: those that mind have their next round within a moment. */
void duties_hint(struct sched *sched);

/* How long a duty rests that has nothing to do: for minutes when changes are told, else for a poll.
 */
int64_t duty_rest_ms(const struct sched *sched);

/* The scheduler was paused or resumed. */
void duty_turn(struct sched *sched);

/* --- backfill.c --- */

struct backfills *backfills_create(struct sched *sched);
void backfills_destroy(struct backfills *all); /* its duty is not working any more */

/* --- boot.c --- */

/* run_on_start: asked once after our start, and again until the store knows. boot_was_gone: the
 * others had taken us for dead, but we have been serving. */
struct boot *boot_create(struct sched *sched);
void boot_destroy(struct boot *boot); /* not while busy */
void boot_begin(struct boot *boot);
void boot_was_gone(struct boot *boot);
bool boot_is_busy(const struct boot *boot);

/* --- attempt.c --- */

/* How many attempts may start now: of each kind alone, and, returned, of all kinds together that
 * take a slot, which can be less than their sum. Results being recorded still count. */
int attempt_capacity(const struct sched *sched, int ret_capacity[static ACTION_KIND_COUNT]);

/* Takes over `run` (state running, ours) and starts it, or hands it back when paused. */
void attempt_start(struct sched *sched, struct run *run, int64_t now_ms);

/* The executor has it from here on; but see above. */
void attempt_begin(struct attempt *attempt);

/* Ends the attempt of this run, if it is ours: CANCELLED or INTERRUPTED. */
void attempt_end_early(struct sched *sched, const struct id *run_id, enum attempt_outcome outcome);

/* The result, and before it what is still to be noted, goes to the store. */
void attempt_record(struct attempt *attempt);
void attempt_record_failed(struct attempt *attempt, const struct err *err);
/* attempt_record_waiting follows in a moment. */
void attempt_retry_later(struct sched *sched);

/* --- note.c --- */

/* Where an attempt that may go on from a checkpoint gets it first: true, and attempt_begin follows.
 */
bool checkpoint_fetch(struct attempt *attempt);

/* Sends what is to be noted. False: there is nothing. */
bool note_send(struct attempt *attempt);
void note_fini(struct attempt *attempt);

/* Tries again to record what could not be recorded. */
void attempt_record_waiting(struct sched *sched);

/* The file has it, or could not take it: err->code. */
void attempt_kept(struct attempt *attempt, const struct err *err);

/* While stopping: puts results into the file that the store has not taken for db_max. */
void attempt_keep_late(struct sched *sched);

/* --- unrecorded.c --- */

struct unrecorded;
struct unrecorded *unrecorded_create(struct sched *sched, const char *path);
void unrecorded_destroy(struct unrecorded *unrecorded); /* not while busy; NULL is fine */
bool unrecorded_is_busy(const struct unrecorded *unrecorded);

/* Puts the end of `attempt` into the file; attempt_kept() follows, at once when there is none. */
void unrecorded_keep(struct unrecorded *unrecorded, struct attempt *attempt);

/* Records what the file holds; sched_replayed() follows. */
void unrecorded_replay(struct unrecorded *unrecorded);
void sched_replayed(struct sched *sched);
