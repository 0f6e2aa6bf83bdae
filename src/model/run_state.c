/* SPDX-License-Identifier: Apache-2.0
 *
 * The states of a run and the moves between them.
 *
 *              +------------------- handed back, retry, owner lost ------------------+
 *              v                                                                     |
 *   (born) -> pending -----------------------> running ------------------------------+
 *              |  ^  |                           |
 *              |  |  +-> cancelled, failed       +-> succeeded, failed, timed_out, cancelled
 *              v  |                              |
 *             held <-----------------------------+        held -> cancelled
 *
 *   (born) -> running     claimed with capacity: the claim inserts it so
 *   (born) -> skipped     and stays: the ledger's word on a due time that did not run
 *
 * One row a state: its name and where it may go. Everything else that knows the
 * states (names in JSON, the CHECK of the SQL column) is made from these rows. */
#include <string.h>

#include "model/model_priv.h"

#define TO(state) (1u << RUN_##state)

/* clang-format off */
#define RUN_STATES(X) \
	X(PENDING,   "pending",   TO(RUNNING) | TO(CANCELLED) | TO(HELD) | TO(FAILED)) \
	X(RUNNING,   "running",   TO(SUCCEEDED) | TO(FAILED) | TO(TIMED_OUT) | TO(CANCELLED) | TO(HELD) | \
	                          TO(PENDING)) \
	X(SUCCEEDED, "succeeded", 0) \
	X(FAILED,    "failed",    0) \
	X(TIMED_OUT, "timed_out", 0) \
	X(CANCELLED, "cancelled", 0) \
	X(SKIPPED,   "skipped",   0) \
	X(HELD,      "held",      TO(PENDING) | TO(CANCELLED))
/* clang-format on */

#define X(state, name, moves) [RUN_##state] = (name),
const char *const run_state_names[] = {RUN_STATES(X) NULL};
#undef X

#define X(state, name, moves) [RUN_##state] = (moves),
static const unsigned allowed[] = {RUN_STATES(X)};
#undef X

_Static_assert(sizeof(allowed) / sizeof(allowed[0]) == RUN_STATE_COUNT, "a row for each state");

bool run_move(struct run *run, enum run_state to, enum run_reason reason)
{
	must(run->state < RUN_STATE_COUNT && to < RUN_STATE_COUNT);
	if ((allowed[run->state] & (1u << to)) == 0)
		return false;
	run->state = to;
	run->reason = reason;
	return true;
}

bool run_state_is_final(enum run_state state)
{
	must(state < RUN_STATE_COUNT);
	return allowed[state] == 0; /* an end is where nothing leads away from */
}

bool run_is_pausing(const struct run *run)
{
	return run->state == RUN_RUNNING && run->reason == REASON_PAUSED && !run->cancel_requested;
}

int64_t run_rank_ms(int64_t created_at_ms, int priority)
{
	return created_at_ms - (int64_t)priority * RUN_AGEING_MS;
}

const char *run_state_sql_check(void)
{
#define X(state, name, moves) " OR state = '" name "'"
	static const char check[] = RUN_STATES(X);
#undef X
	return check + strlen(" OR ");
}
