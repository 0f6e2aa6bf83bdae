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

static const struct store_verb verb_note = {.name = "note", .lane = LANE_WRITE, .run = note_run};

void store_note(struct store *store, struct store_note *req, store_done_fn *done)
{
	store_submit(store, &req->req, &verb_note, done);
}

/* --- get_checkpoint --- */

STORE_VERB_RUN(get_checkpoint)

static void get_checkpoint_clear(struct store_req *base)
{
	struct store_get_checkpoint *req = container_of(base, struct store_get_checkpoint, req);

	req->ret_checkpoint = NULL;
	req->ret_len = 0;
}

static void get_checkpoint_release(struct store_req *base)
{
	store_get_checkpoint_fini(container_of(base, struct store_get_checkpoint, req));
}

static const struct store_verb verb_get_checkpoint = {
	.name = "get_checkpoint",
	.lane = LANE_READ,
	.run = get_checkpoint_run,
	.clear = get_checkpoint_clear,
	.fini = get_checkpoint_release,
};

void store_get_checkpoint(
	struct store *store, struct store_get_checkpoint *req, store_done_fn *done)
{
	store_submit(store, &req->req, &verb_get_checkpoint, done);
}

void store_get_checkpoint_fini(struct store_get_checkpoint *req)
{
	free(take_ptr(req->ret_checkpoint));
	req->ret_len = 0;
}
