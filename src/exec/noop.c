/* SPDX-License-Identifier: Apache-2.0
 *
 * The kind that does nothing and succeeds: a node where chains join or branch, a heartbeat in the
 * ledger. It costs the database two writes and this process next to nothing, so it takes no share
 * of max_running: a thousand of them do not hold up one program. */
#include <stdlib.h>

#include "base/mem.h"
#include "exec_priv.h"

static struct attempt *noop_create(void)
{
	return xcalloc(1, sizeof(struct attempt));
}

static void noop_destroy(struct attempt *attempt)
{
	free(attempt);
}

static void noop_start(struct attempt *attempt)
{
	attempt->result.outcome = ATTEMPT_SUCCEEDED;
	attempt_finish(attempt);
}

static bool noop_has_ended(const struct attempt *attempt)
{
	return true;
}

/* It has ended before anybody could ask. */
static void noop_end(struct attempt *attempt)
{
}

static int noop_check(const struct exec *exec, const struct action *action, struct err *err)
{
	return 0;
}

const struct exec_kind noop_kind = {
	.create = noop_create,
	.destroy = noop_destroy,
	.start = noop_start,
	.has_ended = noop_has_ended,
	.end = noop_end,
	.kill = noop_end,
	.check = noop_check,
	.takes_no_slot = true,
};
