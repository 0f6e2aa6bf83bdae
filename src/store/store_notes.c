/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs on what attempts note down, and the rules the backends share. Notes stand in a table of
 * their own: the ledger's rows stay small, and rewriting a note each second rewrites no index. */
#include <stdlib.h>

#include "store/store_priv.h"

int run_check_note(const struct run *run, int64_t epoch, struct err *err)
{
	if (run->state == RUN_RUNNING && run->epoch == epoch)
		return 0;
	return err_run_stale(err, run->state, run->epoch, epoch);
}

void run_apply_progress(struct run *run, int64_t epoch, int percent, char *message_take)
{
	run->has_progress = run->epoch == epoch;
	run->progress_percent = percent;
	free(run->progress_message);
	run->progress_message = message_take;
}

bool run_forgets_checkpoint(enum run_state state)
{
	return state == RUN_SUCCEEDED || state == RUN_CANCELLED;
}

/* --- note --- */

STORE_VERB_RUN(note)
STORE_VERB(note, .lane = LANE_WRITE)

/* --- get_checkpoint --- */

STORE_VERB_RUN(get_checkpoint)
STORE_VERB_FREES(get_checkpoint)
STORE_VERB(get_checkpoint, .lane = LANE_READ, OUTPUTS(get_checkpoint, ret_checkpoint),
	.fini = get_checkpoint_release)

void store_get_checkpoint_fini(struct store_get_checkpoint *req)
{
	free(take_ptr(req->ret_checkpoint));
	req->ret_len = 0;
}
