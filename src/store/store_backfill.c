/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs on backfills, loop side. */
#include <stdlib.h>

#include "store/store_priv.h"

const char *const backfill_state_names[] = {
	[BACKFILL_RUNNING] = "running",
	[BACKFILL_DONE] = "done",
	[BACKFILL_CANCELLED] = "cancelled",
	NULL,
};

const char *const backfill_rerun_names[] = {
	[BACKFILL_RERUN_NONE] = "none",
	[BACKFILL_RERUN_FAILED] = "failed",
	[BACKFILL_RERUN_ALL] = "all",
	NULL,
};

int err_no_backfill(struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "no such backfill");
}

int err_backfill_busy(struct err *err, const struct id *other)
{
	char id[ID_TEXT_SIZE];

	return err_set(err, ERR_CONFLICT,
		"backfill %s of this action is not over; wait for its end, or cancel it",
		id_format(other, id));
}

int err_backfill_over(struct err *err, enum backfill_state state)
{
	return err_set(
		err, ERR_CONFLICT, "the backfill is %s already", backfill_state_names[state]);
}

void backfill_fini(struct backfill *backfill)
{
	free(take_ptr(backfill->action_name));
	free(take_ptr(backfill->seed));
	free(take_ptr(backfill->schedule));
}

int64_t backfill_open_runs(const struct backfill *backfill)
{
	return backfill->runs[RUN_PENDING] + backfill->runs[RUN_RUNNING] + backfill->runs[RUN_HELD];
}

void backfill_copy(struct backfill *to, const struct backfill *from)
{
	*to = *from;
	to->action_name = xstrdup(from->action_name);
	to->seed = xstrdup(from->seed);
	to->schedule = xstrdup(from->schedule);
}

struct backfill *backfills_add(struct store_list_backfills *req)
{
	struct backfill *backfill;

	req->ret_backfills =
		xrealloc(req->ret_backfills, req->ret_count + 1, sizeof(*req->ret_backfills));
	backfill = &req->ret_backfills[req->ret_count++];
	*backfill = (struct backfill){.cursor_ms = NO_TIME, .finished_at_ms = NO_TIME};
	return backfill;
}

/* --- create --- */

STORE_VERB_RUN(create_backfill)

static void create_backfill_prepare(struct store_req *base)
{
	scratch_make_ids(base->scratch, 1);
}

STORE_VERB_FREES(create_backfill)
STORE_VERB(create_backfill, .lane = LANE_WRITE, OUTPUTS(create_backfill, ret_backfill),
	.fini = create_backfill_release, .prepare = create_backfill_prepare)

void store_create_backfill_fini(struct store_create_backfill *req)
{
	backfill_fini(&req->ret_backfill);
}

/* --- list --- */

STORE_VERB_RUN(list_backfills)
STORE_VERB_FREES(list_backfills)
STORE_VERB(list_backfills, .lane = LANE_READ, OUTPUTS(list_backfills, ret_now_ms),
	.fini = list_backfills_release)

void store_list_backfills_fini(struct store_list_backfills *req)
{
	for (size_t i = 0; i < req->ret_count; i++)
		backfill_fini(&req->ret_backfills[i]);
	free(take_ptr(req->ret_backfills));
	req->ret_count = 0;
}

/* --- advance --- */

STORE_VERB_RUN(advance_backfill)

static void advance_backfill_prepare(struct store_req *base)
{
	scratch_make_ids(
		base->scratch, container_of(base, struct store_advance_backfill, req)->count);
}

STORE_VERB(advance_backfill, .lane = LANE_WRITE, OUTPUTS(advance_backfill, ret_won),
	.prepare = advance_backfill_prepare, .changes = some_runs_changes)

/* --- cancel --- */

STORE_VERB_RUN(cancel_backfill)
STORE_VERB_FREES(cancel_backfill)
STORE_VERB(cancel_backfill, .lane = LANE_WRITE, OUTPUTS(cancel_backfill, ret_cancel),
	.fini = cancel_backfill_release, .changes = some_runs_changes)

void store_cancel_backfill_fini(struct store_cancel_backfill *req)
{
	free(take_ptr(req->ret_cancel));
	req->ret_cancel_count = 0;
}
