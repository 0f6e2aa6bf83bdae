/* SPDX-License-Identifier: Apache-2.0
 *
 * note: what an attempt writes down goes to the ledger under its epoch, so that the next attempt,
 * on whatever instance, goes on from the last checkpoint. One note of an attempt is under way at a
 * time; what comes meanwhile is joined. When the store is away the newest is kept and sent again,
 * and a result waits for the note before it. */
#include "sched/sched_priv.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"

static void go_on(struct attempt *attempt)
{
	if (attempt->has_ended)
		attempt_record(attempt);
	else
		(void)note_send(attempt);
}

static void on_noted(struct store_req *req)
{
	struct attempt *attempt = container_of(req, struct attempt, noting_req.req);
	struct err err = req->err;

	attempt->is_noting = false;
	if (err.code == 0) {
		metrics.notes_kept++;
	} else if (err.code != ERR_STALE) { /* the newer parts win */
		run_note_merge(&attempt->noting, &attempt->note);
		attempt->note = attempt->noting;
		attempt->noting = (struct run_note){0};
	}
	run_note_fini(&attempt->noting);
	if (err.code == 0 || err.code == ERR_STALE)
		go_on(attempt);
	else if (attempt->has_ended)
		attempt_record_failed(attempt, &err);
	else
		attempt_retry_later(attempt->sched);
}

bool note_send(struct attempt *attempt)
{
	if (attempt->is_noting || run_note_is_empty(&attempt->note))
		return false;
	attempt->is_noting = true;
	attempt->noting = attempt->note;
	attempt->note = (struct run_note){0};
	attempt->noting_req = (struct store_note){
		.run_id = attempt->run.id, .epoch = attempt->run.epoch, .note = &attempt->noting};
	store_note(attempt->sched->opts.store, &attempt->noting_req, on_noted);
	return true;
}

void sched_note(const struct run *run, struct run_note *note, void *data)
{
	struct attempt *attempt = data;

	run_note_merge(&attempt->note, note);
	(void)note_send(attempt);
}

void note_fini(struct attempt *attempt)
{
	run_note_fini(&attempt->note);
	run_note_fini(&attempt->noting);
}

/* --- the checkpoint of an earlier attempt --- */

/* Without it the attempt would begin from the start, or skip what it has not done: then rather
 * somebody else, or we a little later. */
static void on_fetched(struct store_req *req)
{
	struct attempt *attempt = container_of(req, struct attempt, get.req);

	attempt->is_fetching = false;
	attempt->sched->recording[attempt->run.action->kind]--;
	if (req->err.code != 0) {
		log_warn("the checkpoint of a run cannot be read; handing the run back",
			kv_id("run", &attempt->run.id), kv_str("error", req->err.text));
		if (attempt->end_now == ATTEMPT_SUCCEEDED)
			attempt->end_now = ATTEMPT_INTERRUPTED;
	}
	attempt->run.checkpoint = take_ptr(attempt->get.ret_checkpoint);
	attempt->run.checkpoint_bytes = (int64_t)attempt->get.ret_len;
	store_get_checkpoint_fini(&attempt->get);
	attempt_begin(attempt);
}

/* Only a run that was begun before can have one, or one that repeats such a run. */
bool checkpoint_fetch(struct attempt *attempt)
{
	const struct run *run = &attempt->run;

	if ((run->action->kind == ACTION_NOOP ||
		    (run->action->kind == ACTION_HTTP && !run->action->uses_checkpoint)) ||
		(run->epoch < 2 && id_is_zero(&run->retry_of)))
		return false;
	attempt->is_fetching = true;
	attempt->sched->recording[run->action->kind]++; /* its slot is taken */
	attempt->get =
		(struct store_get_checkpoint){.run_id = run->epoch < 2 ? run->retry_of : run->id};
	store_get_checkpoint(attempt->sched->opts.store, &attempt->get, on_fetched);
	return true;
}
