/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs that look after the ledger: what is kept of it, and who is told how an action fares.
 * What holds for all verbs stands in store.h. */
#pragma once

#include "store/store.h"

/* One step of a walk over all actions that keeps the ledger within its limits. Of each action those
 * runs go that have ended (or were skipped) and are older than its retention.age, counted from
 * their end, or not among its newest retention.count; each as `server` says where the action says
 * nothing. Never one that is pending, running or held, never the newest of an action, and for their
 * number none that ended within RETAIN_YOUNG_MS: somebody may be about to ask for it. Of a deleted
 * action goes what store_delete_action left. Of its definitions those go that have been replaced
 * and that no open or held run needs any more. At the end of the walk the oldest output goes until
 * no more than output_bytes are kept.
 *
 * Rows that somebody else holds are left for another time; a step removes `limit` rows at most and
 * looks at actions_max actions, so it holds nobody up for long. Go on from ret_after until
 * ret_is_done. Doing a step twice does no harm. */
#define RETAIN_YOUNG_MS 60000
struct store_retain {
	struct store_req req;
	struct id after; /* zero: from the start */
	int actions_max, limit;
	struct retention server;          /* 0: without limit */
	int64_t output_bytes;             /* of all attempts together; 0: without limit */
	int64_t ret_removed, ret_outputs; /* runs; outputs of attempts */
	bool ret_is_done;
	struct id ret_after;
};
void store_retain(struct store *store, struct store_retain *req, store_done_fn *done);

/* Tells of those actions, `limit` at most, of which no run has succeeded within
 * expect_success_within: notes that each is late, and delivers the alert, in one transaction. An
 * action is late once, until a run of it succeeds. The time counts from the last success, else from
 * when it was asked for, or the action was resumed; a paused one is never late. */
struct store_lapse {
	struct store_req req;
	int limit;
	int64_t ret_now_ms;
	int64_t ret_count;
	int64_t ret_next_ms;   /* the next deadline; NO_TIME: there is none */
	int64_t ret_renew_ms;  /* the shortest expectation of those that are late now: once one has
				  succeeded its next deadline is not before that much from now.
				  NO_TIME: none is late */
	struct id *ret_cancel; /* overlap=cancel_running: runs to end now */
	size_t ret_cancel_count;
};
void store_lapse(struct store *store, struct store_lapse *req, store_done_fn *done);
void store_lapse_fini(struct store_lapse *req);

/* How an action fares; NO_TIME: it does not. The deadline is gone while it is late or paused. */
struct care {
	int64_t failing_since_ms, deadline_ms, late_since_ms;
};

/* How each of some actions fares, and who was to be told of it but is not there. One that is gone
 * itself fares well. Failures are noted only where somebody is to be told (see store_finish). */
struct store_get_cares {
	struct store_req req;
	struct action *const *actions; /* borrowed until the answer */
	size_t count;
	struct action_care {
		struct care care;
		unsigned missing_hooks; /* bit 1 << enum alert: no action has the name now */
	} * ret_cares;                  /* as many, in their order */
};
void store_get_cares(struct store *store, struct store_get_cares *req, store_done_fn *done);
void store_get_cares_fini(struct store_get_cares *req);
