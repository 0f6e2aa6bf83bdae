/* SPDX-License-Identifier: Apache-2.0
 *
 * The decisions every backend takes alike: what a due time becomes, how an attempt begins and ends.
 * Pure functions over rows already read; the backend has read them inside the transaction that
 * writes the outcome, which is what makes the decision safe. */
#include <stdlib.h>
#include <string.h>

#include "store/store_priv.h"

#define NONE_EXIT_CODE (-1)

/* --- due times --- */

static struct due_fate skipped(enum run_reason reason)
{
	return (struct due_fate){.state = RUN_SKIPPED, .reason = reason};
}

static struct due_fate queued(bool makes_room)
{
	return (struct due_fate){
		.state = RUN_PENDING, .reason = REASON_QUEUED, .makes_room = makes_room};
}

static struct due_fate started(bool may_start, bool makes_room)
{
	if (!may_start)
		return queued(makes_room);
	return (struct due_fate){.state = RUN_RUNNING, .makes_room = makes_room};
}

static struct due_fate overlap_decide(
	const struct overlap_rules *rules, const struct open_runs *open, bool may_start)
{
	bool is_blocked = open->pending + open->running > 0;

	switch (rules->overlap) {
	case OVERLAP_SKIP:
		return is_blocked ? skipped(REASON_OVERLAP) : started(may_start, false);
	case OVERLAP_QUEUE:
		if (!is_blocked)
			return started(may_start, false);
		return open->pending >= rules->queue_limit ? skipped(REASON_LIMIT) : queued(false);
	case OVERLAP_CANCEL_RUNNING:
		return started(may_start && open->running == 0, is_blocked);
	case OVERLAP_ALLOW:
		if (!may_start && open->pending >= rules->queue_limit)
			return skipped(REASON_LIMIT);
		break;
	}
	return started(may_start, false);
}

struct due_fate due_decide(const struct overlap_rules *rules, enum due_verdict verdict,
	const struct open_runs *open, bool may_start)
{
	switch (verdict) {
	case DUE_SKIP_LATE:
		return skipped(REASON_LATE);
	case DUE_SKIP_LIMIT:
		return skipped(REASON_LIMIT);
	case DUE_SKIP_BLACKOUT:
		return skipped(REASON_BLACKOUT);
	case DUE_RUN:
		break;
	}
	if (rules->is_paused)
		return skipped(REASON_PAUSED);
	if (rules->overlap != OVERLAP_ALLOW && open->backfilling > 0)
		may_start = false;
	return overlap_decide(rules, open, may_start);
}

bool claim_may_start(
	const struct claim_room *room, enum action_kind kind, int priority, int64_t now_ms)
{
	return room->left[kind] > 0 &&
	       run_rank_ms(now_ms, priority) <= add_ms(room->ahead_ms[kind], CLAIM_GRACE_MS);
}

void open_runs_count(struct open_runs *open, const struct due_fate *fate)
{
	if (fate->makes_room)
		open->pending = 0;
	if (fate->state == RUN_PENDING)
		open->pending++;
	if (fate->state == RUN_RUNNING)
		open->running++;
}

/* --- the row --- */

static void clear_result(struct run *run)
{
	run->http_status = 0;
	run->exit_code = NONE_EXIT_CODE;
	free(take_ptr(run->error));
	run->output_bytes = 0;
}

static void clear_owner(struct run *run)
{
	run->instance_id = (struct id){0};
	run->claimed_at_ms = run->started_at_ms = run->finished_at_ms = NO_TIME;
}

void run_init(struct run *run, const struct id *id, const struct planned_due *due, int64_t now_ms)
{
	*run = (struct run){
		.id = *id,
		.due_at_ms = due->due_at_ms,
		.state = RUN_PENDING,
		.not_before_ms = NO_TIME,
		.created_at_ms = now_ms,
		.missed_count = due->count > 0 ? due->count : 1,
		.missed_until_ms = due->count > 1 ? due->until_ms : due->due_at_ms,
	};
	clear_result(run);
	clear_owner(run);
}

void run_set_trace(struct run *run, const char *traceparent)
{
	(void)snprintf(
		run->traceparent, sizeof(run->traceparent), "%s", traceparent ? traceparent : "");
}

void run_begin(struct run *run, const struct id *instance_id, int64_t now_ms)
{
	must(run_move(run, RUN_RUNNING, REASON_NONE));
	clear_result(run);
	run->instance_id = *instance_id;
	run->epoch++;
	run->attempt++;
	run->not_before_ms = NO_TIME;
	run->claimed_at_ms = run->started_at_ms = now_ms;
	run->finished_at_ms = NO_TIME;
}

void run_settle(
	struct run *run, const struct due_fate *fate, const struct id *instance_id, int64_t now_ms)
{
	if (fate->state == RUN_RUNNING) {
		run_begin(run, instance_id, now_ms);
		return;
	}
	run->state = fate->state; /* its birth, not a move */
	run->reason = fate->reason;
}

void run_end(struct run *run, enum run_state state, enum run_reason reason, int64_t now_ms)
{
	must(run_move(run, state, reason));
	run->not_before_ms = NO_TIME;
	if (run_state_is_final(state))
		run->finished_at_ms = now_ms;
}

void run_request_cancel(struct run *run, enum run_reason reason)
{
	run->cancel_requested = true;
	run->reason = reason;
}

/* --- the end of an attempt --- */

static void keep_result(struct run *run, const struct attempt_result *result)
{
	int64_t kept = (int64_t)result->output_len;

	free(run->error);
	run->http_status = result->http_status;
	run->exit_code = result->exit_code;
	run->error = xstrdup(result->error);
	run->output_bytes = result->output_total > kept ? result->output_total : kept;
}

static void put_back(struct run *run, const struct run_follow_up *follow_up, int64_t now_ms)
{
	must(run_move(run, RUN_PENDING, follow_up->reason));
	clear_owner(run);
	run->not_before_ms =
		follow_up->delay_ms > 0 ? add_ms(now_ms, follow_up->delay_ms) : NO_TIME;
}

/* Whether a finish ends in a pause. */
static bool ends_paused(const struct run *run, const struct store_finish *req)
{
	return run_is_pausing(run) &&
	       (req->follow_up.state == RUN_PENDING || req->result->outcome == ATTEMPT_INTERRUPTED);
}

static void apply_pause(struct run *run, const struct store_finish *req, int64_t now_ms)
{
	if (req->result->outcome == ATTEMPT_INTERRUPTED)
		run->attempt--;
	run->started_at_ms = req->result->started_at_ms;
	run_end(run, RUN_HELD, REASON_PAUSED, now_ms);
}

int run_apply_finish(
	struct run *run, const struct store_finish *req, int64_t now_ms, struct err *err)
{
	const struct run_follow_up *follow_up = &req->follow_up;
	enum run_reason cancel_reason =
		run->reason == REASON_OVERLAP ? REASON_OVERLAP : REASON_USER;

	if (run->state != RUN_RUNNING || run->epoch != req->run->epoch)
		return err_run_stale(err, run->state, run->epoch, req->run->epoch);
	keep_result(run, req->result);
	if (ends_paused(run, req)) {
		apply_pause(run, req, now_ms);
		return 0;
	}
	if (!follow_up->counts) {
		run->attempt--;
		run->interruptions += attempt_has_begun(req->result);
	}
	if (follow_up->state == RUN_PENDING && !run->cancel_requested) {
		put_back(run, follow_up, now_ms);
		return 0;
	}
	run->started_at_ms = req->result->started_at_ms;
	if (follow_up->state == RUN_PENDING || follow_up->state == RUN_CANCELLED)
		run_end(run, RUN_CANCELLED, cancel_reason, now_ms);
	else
		run_end(run, follow_up->state, follow_up->reason, now_ms);
	return 0;
}

bool attempt_has_begun(const struct attempt_result *result)
{
	return result->outcome != ATTEMPT_INTERRUPTED || result->started_at_ms != NO_TIME;
}

int run_apply_cancel(struct run *run, int64_t now_ms, struct err *err)
{
	if (run_state_is_final(run->state))
		return err_run_ended(err, run->state);
	if (run->state != RUN_RUNNING)
		run_end(run, RUN_CANCELLED, REASON_USER, now_ms);
	else if (!run->cancel_requested)
		run_request_cancel(run, REASON_USER);
	return 0;
}

int run_apply_change(struct run *run, enum run_change change, bool is_again, struct err *err)
{
	if (run_state_is_final(run->state))
		return err_run_ended(err, run->state);
	switch (change) {
	case RUN_PAUSE:
		if (run->cancel_requested)
			return err_set(err, ERR_CONFLICT, "the run is being cancelled");
		if (run->state == RUN_RUNNING)
			run->reason = REASON_PAUSED;
		else if (run->state == RUN_PENDING)
			run_end(run, RUN_HELD, REASON_PAUSED, NO_TIME);
		return 0;
	case RUN_RESUME:
		if (run->state == RUN_RUNNING && !is_again)
			return err_set(err, ERR_CONFLICT,
				"the run is running, not held: nothing to resume");
		if (run->state == RUN_HELD) {
			must(run_move(run, RUN_PENDING, REASON_QUEUED));
			clear_owner(run);
		}
		return 0;
	}
	return 0;
}

/* --- small things --- */

static int compare_due(const void *left, const void *right)
{
	const struct run *a = left, *b = right;

	if (a->due_at_ms != b->due_at_ms)
		return a->due_at_ms < b->due_at_ms ? -1 : 1;
	return id_compare(&a->id, &b->id);
}

int run_compare_rank(const struct run *a, const struct run *b)
{
	int64_t a_rank_ms = run_rank_ms(a->created_at_ms, a->priority);
	int64_t b_rank_ms = run_rank_ms(b->created_at_ms, b->priority);

	if (a_rank_ms != b_rank_ms)
		return a_rank_ms < b_rank_ms ? -1 : 1;
	return compare_due(a, b);
}

static int compare_rank(const void *left, const void *right)
{
	return run_compare_rank(left, right);
}

void runs_sort_by_due(struct run *runs, size_t count)
{
	if (count > 1)
		qsort(runs, count, sizeof(*runs), compare_due);
}

void runs_sort_by_rank(struct run *runs, size_t count)
{
	if (count > 1)
		qsort(runs, count, sizeof(*runs), compare_rank);
}

bool runs_have_action(const struct run *runs, size_t count, const struct id *action_id)
{
	for (size_t i = 0; i < count; i++)
		if (id_equal(&runs[i].action_id, action_id))
			return true;
	return false;
}

void ids_add(struct id **ids, size_t *count, const struct id *id)
{
	*ids = xrealloc(*ids, *count + 1, sizeof(**ids));
	(*ids)[(*count)++] = *id;
}

int64_t add_ms(int64_t a_ms, int64_t b_ms)
{
	int64_t sum;

	if (__builtin_add_overflow(a_ms, b_ms, &sum))
		return b_ms > 0 ? INT64_MAX : INT64_MIN + 1;
	return sum;
}

void *grow_array(void *array, size_t count, size_t *room, size_t size)
{
	if (count == *room) {
		*room = *room ? *room * 2 : 8;
		array = xrealloc(array, *room, size);
	}
	memset((char *)array + count * size, 0, size);
	return array;
}

int err_no_action(struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "no such action");
}

int err_no_instance(struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "no such instance");
}

int err_no_run(struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "no such run");
}

int err_run_gone(struct err *err)
{
	return err_set(err, ERR_STALE, "the run has been deleted: its result is not kept");
}

int err_run_stale(struct err *err, enum run_state state, int64_t epoch, int64_t expected)
{
	return err_set(err, ERR_STALE,
		"the run is '%s' in epoch %lld, not running in epoch %lld: its result is not kept",
		run_state_names[state], (long long)epoch, (long long)expected);
}

int err_run_ended(struct err *err, enum run_state state)
{
	return err_set(
		err, ERR_CONFLICT, "the run has ended already: it is '%s'", run_state_names[state]);
}

int err_queue_full(struct err *err, int64_t pending)
{
	return err_set(err, ERR_QUEUE_FULL,
		"%lld runs of the action wait already, and more may not (queue_limit, "
		"max_pending): "
		"try again later",
		(long long)pending);
}

int err_server_full(struct err *err, int64_t pending)
{
	return err_set(err, ERR_QUEUE_FULL,
		"%lld runs of all actions wait already, and more may not (option max_queued): try "
		"again later",
		(long long)pending);
}

int err_no_output(struct err *err, int attempt)
{
	if (attempt == 0)
		return err_set(err, ERR_NOT_FOUND, "no attempt of this run has ended yet");
	return err_set(
		err, ERR_NOT_FOUND, "attempt %d of this run has not ended, or never was", attempt);
}

int err_chain(struct err *err, const char *chain, bool is_long)
{
	if (is_long)
		return err_field(err, ERR_INVALID, "/schedule/on",
			"a chain of events is at most %d actions long: %s", CHAIN_MAX, chain);
	return err_field(err, ERR_INVALID, "/schedule/on",
		"these actions would start each other for ever: %s", chain);
}

static char *put_in_front(const char *up, char *chain_take)
{
	char *longer = xasprintf("%s -> %s", up, chain_take);

	free(chain_take);
	return longer;
}

int chain_check(const struct action *action, chain_event_fn *event_of, void *db, struct err *err)
{
	auto_free char *chain = xstrdup(action->name);
	auto_free char *event = xstrdup(action_event(action));

	for (int steps = 1; event != NULL; steps++) {
		auto_free char *up = run_event_action(event);

		if (up == NULL)
			return 0;
		chain = put_in_front(up, chain);
		if (strcmp(up, action->name) == 0 || steps > CHAIN_MAX)
			return err_chain(err, chain, steps > CHAIN_MAX);
		free(take_ptr(event));
		if (event_of(db, up, &event, err) < 0)
			return err->code;
	}
	return 0;
}

int err_version(struct err *err, int64_t version, int64_t expected)
{
	return err_set(err, ERR_VERSION,
		"the action is at version %lld, not %lld: read it again before changing it",
		(long long)version, (long long)expected);
}

int err_name_taken(struct err *err, const char *name)
{
	return err_field(err, ERR_CONFLICT, "/name",
		"an action named '%s' exists already: choose another name", name);
}

int err_id_taken(struct err *err)
{
	return err_field(err, ERR_CONFLICT, "/id", "an action with this id exists already");
}
