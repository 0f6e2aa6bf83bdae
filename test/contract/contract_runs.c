/* SPDX-License-Identifier: Apache-2.0
 *
 * trigger, get, list, cancel, output, stats. */
#include <stdlib.h>
#include <string.h>

#include "rig.h"

/* RUNS() gives defaults that a row of a test may replace. */
#pragma GCC diagnostic ignored "-Woverride-init"

#define T0 RIG_EPOCH_MS

/* --- trigger --- */

static void test_trigger_makes_a_pending_run_due_now(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "\"priority\": 3", T0 + 100);
	struct run *run = rig_trigger(rig, action), *taken;

	assert_run(run, RUN_PENDING, REASON_QUEUED);
	assert_int_equal(run->trigger, TRIGGER_MANUAL);
	assert_int_equal(run->due_at_ms, T0);
	assert_int_equal(run->priority, 3);
	assert_string_equal(run->action_name, "a");
	assert_int_equal(rig_get(rig, &action->id)->next_due_ms, T0 + 100);
	assert_int_equal(rig_get_run(rig, &run->id)->trigger, TRIGGER_MANUAL);
	assert_int_equal(rig_take(rig, 1, &taken), 1);
	assert_true(id_equal(&taken->id, &run->id));
}

static void test_trigger_takes_the_first_free_millisecond(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "\"overlap\": \"allow\"", T0 + 1);

	assert_int_equal(rig_trigger(rig, action)->due_at_ms, T0);
	/* T0 + 1 is the cursor: it belongs to the schedule */
	assert_int_equal(rig_trigger(rig, action)->due_at_ms, T0 + 2);
	assert_int_equal(rig_trigger(rig, action)->due_at_ms, T0 + 3);
	rig_now_ms = T0 + 1;
	assert_true(rig_claim(rig, action, T0 + 1, 1));
	assert_int_equal(rig_trigger(rig, action)->due_at_ms, T0 + 4);
}

static void test_trigger_many_at_once_each_gets_a_row(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "\"overlap\": \"allow\"", NO_TIME);
	struct store_trigger triggers[10] = {0};

	for (size_t i = 0; i < COUNT_OF(triggers); i++) {
		triggers[i].action_id = action->id;
		store_trigger(rig->store, &triggers[i], rig_on_done);
	}
	rig_settle(rig);
	for (size_t i = 0; i < COUNT_OF(triggers); i++) {
		assert_int_equal(triggers[i].req.err.code, 0);
		assert_int_equal(triggers[i].ret_run.due_at_ms, T0 + (int64_t)i);
		store_trigger_fini(&triggers[i]);
	}
	assert_int_equal(rig_run_count(rig, action), 10);
}

static void test_trigger_obeys_overlap(void **state)
{
	struct rig *rig = *state;
	struct action *skip = rig_create(rig, "skip", "", NO_TIME);
	struct action *queue = rig_create(rig, "queue", "\"overlap\": \"queue\"", NO_TIME);
	struct action *cancel =
		rig_create(rig, "cancel", "\"overlap\": \"cancel_running\"", NO_TIME);
	struct store_trigger trigger = {.action_id = cancel->id};
	struct run *first;

	(void)rig_trigger(rig, skip);
	assert_run(rig_trigger(rig, skip), RUN_SKIPPED, REASON_OVERLAP);
	(void)rig_trigger(rig, queue);
	trigger.action_id = queue->id;
	assert_int_equal(rig_do(rig, trigger, &trigger), ERR_QUEUE_FULL);
	trigger.action_id = cancel->id;
	assert_int_equal(rig_take(rig, 9, NULL), 2);
	assert_run(rig_trigger(rig, queue), RUN_PENDING, REASON_QUEUED);
	first = rig_trigger(rig, cancel);
	assert_int_equal(rig_take(rig, 9, NULL), 1);
	assert_int_equal(rig_do(rig, trigger, &trigger), 0);
	assert_run(&trigger.ret_run, RUN_PENDING, REASON_QUEUED);
	assert_int_equal(trigger.ret_cancel_count, 1);
	assert_true(id_equal(&trigger.ret_cancel[0], &first->id));
	store_trigger_fini(&trigger);
	assert_true(rig_get_run(rig, &first->id)->cancel_requested);
}

static void test_trigger_paused_yes_unknown_no(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "", NO_TIME);
	struct store_pause_action pause = {
		.id = action->id, .is_paused = true, .next_due_ms = NO_TIME};
	struct store_trigger unknown = {.action_id = id_make()};

	assert_int_equal(rig_do(rig, pause_action, &pause), 0);
	store_pause_action_fini(&pause);
	assert_run(rig_trigger(rig, action), RUN_PENDING, REASON_QUEUED);
	assert_int_equal(rig_do(rig, trigger, &unknown), ERR_NOT_FOUND);
	store_trigger_fini(&unknown);
}

/* --- get and list --- */

static void test_get_run_unknown_is_not_found(void **state)
{
	struct rig *rig = *state;
	struct store_get_run get = {.id = id_make()};

	assert_int_equal(rig_do(rig, get_run, &get), ERR_NOT_FOUND);
	store_get_run_fini(&get);
}

#define RUNS(...)                                                                                  \
	((struct store_list_runs){.limit = 100,                                                    \
		.trigger = -1,                                                                     \
		.due_from_ms = NO_TIME,                                                            \
		.due_to_ms = NO_TIME,                                                              \
		.want_total = true,                                                                \
		__VA_ARGS__})

/* The due times of a page as seconds after T0, newest first. */
static void assert_runs(struct rig *rig, struct store_list_runs list, const char *expected)
{
	char text[256] = "";
	size_t len = 0, on_page;

	assert_int_equal(rig_do(rig, list_runs, &list), 0);
	for (size_t i = 0; i < list.ret_count; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%d", len ? " " : "",
			(int)((list.ret_runs[i].due_at_ms - T0) / 1000));
	assert_string_equal(text, expected);
	on_page = list.ret_count;
	if (!list.ret_has_more && id_is_zero(&list.before_id))
		assert_int_equal(list.ret_total, on_page);
	store_list_runs_fini(&list);
}

/* Runs at T0 + 0 .. 5 s: succeeded, failed, running, skipped, pending, manual pending. */
static struct action *make_ledger(struct rig *rig)
{
	struct action *action =
		rig_create(rig, "a", "\"overlap\": \"queue\", \"queue_limit\": 2", T0);
	struct run *run = rig_start(rig, action, T0);
	struct action moved = *action;

	assert_int_equal(rig_succeed(rig, run), 0);
	for (int i = 1; i < 5; i++) {
		struct planned_due due = {
			T0 + i * 1000, T0 + i * 1000, 1, i == 3 ? DUE_SKIP_LATE : DUE_RUN};
		struct claim_item item = {.action = &moved,
			.expected_ms = i == 1 ? T0 + MINUTE_MS : due.due_at_ms,
			.dues = &due,
			.due_count = 1,
			.next_due_ms = T0 + (i + 1) * 1000};
		struct store_claim claim = {.items = &item, .count = 1, .capacity = {9, 9}};

		rig_now_ms = i == 1 ? T0 + MINUTE_MS : rig_now_ms + 1;
		item.action = action;
		assert_int_equal(rig_do(rig, claim, &claim), 0);
		assert_true(item.ret_won);
		store_claim_fini(&claim);
		if (i == 1)
			assert_int_equal(rig_finish(rig, rig_find_run(rig, action, T0 + 1000),
						 ATTEMPT_FAILED,
						 (struct run_follow_up){
							 .state = RUN_FAILED, .counts = true}),
				0);
	}
	rig_now_ms = T0 + 5000; /* back on purpose: ids keep ascending */
	assert_int_equal(rig_get(rig, &action->id)->next_due_ms, T0 + 5000);
	rig_now_ms = T0 + 6000;
	assert_int_equal(rig_trigger(rig, action)->due_at_ms, T0 + 6000);
	return action;
}

#define BIT(state) (1u << RUN_##state)

static void test_list_runs_filters(void **state)
{
	struct rig *rig = *state;
	struct action *action = make_ledger(rig);
	struct action *other = rig_create(rig, "other", "", T0 + 7000);

	rig_now_ms = T0 + 7000;
	assert_true(rig_claim(rig, other, T0 + 7000, 0));
	assert_runs(rig, RUNS(.limit = 10), "7 6 4 3 2 1 0");
	assert_runs(rig, RUNS(.action_id = action->id), "6 4 3 2 1 0");
	assert_runs(rig, RUNS(.action_id = other->id), "7");
	assert_runs(rig, RUNS(.action_id = id_make()), "");
	assert_runs(rig, RUNS(.states = BIT(PENDING)), "7 6 4");
	assert_runs(rig, RUNS(.states = BIT(RUNNING)), "2");
	assert_runs(rig, RUNS(.states = BIT(PENDING) | BIT(RUNNING)), "7 6 4 2");
	assert_runs(rig, RUNS(.states = BIT(FAILED)), "1");
	assert_runs(rig, RUNS(.states = BIT(FAILED) | BIT(HELD) | BIT(TIMED_OUT)), "1");
	assert_runs(rig, RUNS(.states = BIT(FAILED) | BIT(SUCCEEDED)), "1 0");
	assert_runs(rig, RUNS(.states = BIT(SKIPPED)), "3");
	assert_runs(rig, RUNS(.states = BIT(PENDING), .action_id = action->id), "6 4");
	assert_runs(rig, RUNS(.trigger = TRIGGER_MANUAL), "6");
	assert_runs(rig, RUNS(.trigger = TRIGGER_SCHEDULE, .states = BIT(PENDING)), "7 4");
	assert_runs(rig, RUNS(.due_from_ms = T0 + 2000, .due_to_ms = T0 + 6000), "4 3 2");
	assert_runs(rig, RUNS(.due_from_ms = T0 + 6000), "7 6");
	assert_runs(rig, RUNS(.due_to_ms = T0 + 1000, .action_id = action->id), "0");
	assert_runs(rig, RUNS(.limit = 2), "7 6");
}

static void test_list_runs_pages_without_gap_while_rows_come(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "newer", "\"overlap\": \"allow\"", NO_TIME);
	struct id before = {0};
	static const char *const pages[] = {"6 4", "3 2", "1 0"};

	(void)make_ledger(rig);
	for (size_t i = 0; i < COUNT_OF(pages); i++) {
		struct store_list_runs list = RUNS(.limit = 2, .before_id = before);
		bool has_more;

		assert_runs(rig, list, pages[i]);
		list.before_id = before;
		assert_int_equal(rig_do(rig, list_runs, &list), 0);
		before = list.ret_runs[list.ret_count - 1].id;
		has_more = list.ret_has_more;
		store_list_runs_fini(&list);
		assert_int_equal(has_more, i < 2);
		rig_now_ms += 10;
		(void)rig_trigger(rig, action); /* newer: not on the pages to come */
	}
	assert_runs(rig, RUNS(.before_id = before), "");
}

static void test_run_name_follows_the_action(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "before", "", T0);
	struct run *run = rig_start(rig, action, T0);
	struct store_replace_action replace = {
		.id = action->id, .action = rig_define(rig, "after", "")};

	assert_int_equal(rig_do(rig, replace_action, &replace), 0);
	store_replace_action_fini(&replace);
	assert_string_equal(rig_get_run(rig, &run->id)->action_name, "after");
	assert_int_equal(rig_get_run(rig, &run->id)->action_version, 1);
}

/* --- cancel --- */

static int cancel(struct rig *rig, const struct run *run, struct run **ret_run)
{
	struct store_cancel_run cancel = {.id = run->id};
	int code = rig_do(rig, cancel_run, &cancel);

	store_cancel_run_fini(&cancel);
	if (code == 0)
		*ret_run = rig_get_run(rig, &run->id);
	return code;
}

static void test_cancel_pending_and_held_at_once(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "", T0);
	struct run *pending = rig_trigger(rig, action), *held, *seen;

	rig_now_ms = T0 + 1;
	assert_int_equal(cancel(rig, pending, &seen), 0);
	assert_run(seen, RUN_CANCELLED, REASON_USER);
	assert_int_equal(seen->finished_at_ms, T0 + 1);
	held = rig_start(rig, action, T0);
	assert_int_equal(
		rig_finish(rig, held, ATTEMPT_INTERRUPTED,
			(struct run_follow_up){
				.state = RUN_HELD, .reason = REASON_SHUTDOWN, .counts = true}),
		0);
	assert_int_equal(cancel(rig, held, &seen), 0);
	assert_run(seen, RUN_CANCELLED, REASON_USER);
	assert_int_equal(rig_take(rig, 9, NULL), 0);
}

static void test_cancel_running_only_asks(void **state)
{
	struct rig *rig = *state;
	struct run *run = rig_start(rig, rig_create(rig, "a", "", T0), T0), *seen;

	for (int i = 0; i < 2; i++) { /* asking again is fine */
		assert_int_equal(cancel(rig, run, &seen), 0);
		assert_int_equal(seen->state, RUN_RUNNING);
		assert_true(seen->cancel_requested);
	}
}

/* --- pause and resume --- */

static int change(
	struct rig *rig, const struct id *id, enum run_change change, struct run **ret_run)
{
	struct store_change_run request = {.id = *id, .change = change};
	int code = rig_do(rig, change_run, &request);

	if (code == 0)
		*ret_run = rig_get_run(rig, id);
	if (code == 0)
		assert_run(&request.ret_run, (*ret_run)->state, (*ret_run)->reason);
	store_change_run_fini(&request);
	return code;
}

static const struct run_follow_up handed_back = {
	.state = RUN_PENDING, .reason = REASON_HANDED_BACK};
static const struct run_follow_up failed = {.state = RUN_FAILED, .counts = true};

static void test_pause_holds_a_pending_run_until_resumed(void **state)
{
	struct rig *rig = *state;
	struct run *run = rig_trigger(rig, rig_create(rig, "a", "", NO_TIME)), *seen;

	for (int i = 0; i < 2; i++) { /* asking again is fine */
		assert_int_equal(change(rig, &run->id, RUN_PAUSE, &seen), 0);
		assert_run(seen, RUN_HELD, REASON_PAUSED);
	}
	assert_int_equal(rig_take(rig, 9, NULL), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(change(rig, &run->id, RUN_RESUME, &seen), 0);
		assert_run(seen, RUN_PENDING, REASON_QUEUED);
	}
	assert_int_equal(rig_take(rig, 9, &seen), 1);
	assert_int_equal(seen->attempt, 1);
}

static void test_pause_of_a_retry_forgets_its_delay(void **state)
{
	struct rig *rig = *state;
	struct run *run = rig_start(rig, rig_create(rig, "a", "", T0), T0), *seen;

	assert_int_equal(rig_finish(rig, run, ATTEMPT_FAILED,
				 (struct run_follow_up){.state = RUN_PENDING,
					 .reason = REASON_RETRY,
					 .delay_ms = 5000,
					 .counts = true}),
		0);
	assert_int_equal(change(rig, &run->id, RUN_PAUSE, &seen), 0);
	assert_int_equal(seen->not_before_ms, NO_TIME);
	assert_int_equal(change(rig, &run->id, RUN_RESUME, &seen), 0);
	assert_int_equal(rig_take(rig, 9, &seen), 1);
	assert_int_equal(seen->attempt, 2);
}

/* Whatever follows an interruption by the policy; only a result of its own goes before a pause. */
static void test_pause_of_a_running_run_is_kept_by_its_finish(void **state)
{
	struct rig *rig = *state;
	static const struct {
		enum attempt_outcome outcome;
		struct run_follow_up follow_up;
		enum run_state state;
		int attempt;
	} rows[] = {
		{ATTEMPT_INTERRUPTED, {RUN_PENDING, REASON_HANDED_BACK, 0, false}, RUN_HELD, 0},
		{ATTEMPT_INTERRUPTED, {RUN_FAILED, REASON_SHUTDOWN, 0, true}, RUN_HELD, 0},
		{ATTEMPT_INTERRUPTED, {RUN_HELD, REASON_SHUTDOWN, 0, true}, RUN_HELD, 0},
		{ATTEMPT_FAILED, {RUN_PENDING, REASON_RETRY, 700, true}, RUN_HELD, 1},
		{ATTEMPT_FAILED, {RUN_FAILED, REASON_NONE, 0, true}, RUN_FAILED, 1},
		{ATTEMPT_SUCCEEDED, {RUN_SUCCEEDED, REASON_NONE, 0, true}, RUN_SUCCEEDED, 1},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		auto_free char *name = xasprintf("a%zu", i);
		struct run *run = rig_start(rig, rig_create(rig, name, "", rig_now_ms), rig_now_ms);
		struct run *seen;

		assert_int_equal(change(rig, &run->id, RUN_PAUSE, &seen), 0);
		assert_run(seen, RUN_RUNNING, REASON_PAUSED);
		assert_true(run_is_pausing(seen));
		assert_int_equal(change(rig, &run->id, RUN_RESUME, &seen), ERR_CONFLICT);
		assert_int_equal(rig_finish(rig, run, rows[i].outcome, rows[i].follow_up), 0);
		seen = rig_get_run(rig, &run->id);
		assert_int_equal(seen->state, rows[i].state);
		assert_int_equal(seen->attempt, rows[i].attempt);
		assert_int_equal(seen->interruptions, 0);
		assert_int_equal(seen->not_before_ms, NO_TIME);
		if (rows[i].state != RUN_HELD)
			continue;
		assert_run(seen, RUN_HELD, REASON_PAUSED);
		assert_int_equal(seen->finished_at_ms, NO_TIME);
		assert_int_equal(change(rig, &run->id, RUN_RESUME, &seen), 0);
		assert_true(id_is_zero(&seen->instance_id));
		assert_int_equal(rig_take(rig, 9, &seen), 1);
		assert_int_equal(seen->epoch, 2);
		assert_int_equal(seen->attempt, rows[i].attempt + 1);
	}
}

static void test_pause_of_a_lost_owner_is_kept_by_recover(void **state)
{
	struct rig *rig = *state;
	struct run *run = rig_start(rig, rig_create(rig, "a", "", T0), T0), *seen;
	struct store_recover recover = {0};

	assert_int_equal(change(rig, &run->id, RUN_PAUSE, &seen), 0);
	rig_restart(rig);
	assert_int_equal(rig_do(rig, recover, &recover), 0);
	assert_int_equal(recover.ret_count, 1);
	assert_run(rig_get_run(rig, &run->id), RUN_HELD, REASON_PAUSED);
}

static void test_cancel_overrules_a_pause(void **state)
{
	struct rig *rig = *state;
	struct run *run = rig_start(rig, rig_create(rig, "a", "", T0), T0), *seen;

	assert_int_equal(change(rig, &run->id, RUN_PAUSE, &seen), 0);
	assert_int_equal(cancel(rig, run, &seen), 0);
	assert_false(run_is_pausing(seen));
	assert_int_equal(change(rig, &run->id, RUN_PAUSE, &seen), ERR_CONFLICT);
	assert_int_equal(rig_finish(rig, run, ATTEMPT_INTERRUPTED, handed_back), 0);
	assert_run(rig_get_run(rig, &run->id), RUN_CANCELLED, REASON_USER);
}

static void test_pause_and_resume_of_what_has_ended_or_is_unknown_are_refused(void **state)
{
	struct rig *rig = *state;
	struct run *run = rig_start(rig, rig_create(rig, "a", "", T0), T0), *seen = NULL;
	struct id unknown = id_make();

	assert_int_equal(rig_finish(rig, run, ATTEMPT_FAILED, failed), 0);
	for (int kind = RUN_PAUSE; kind <= RUN_RESUME; kind++) {
		enum run_change what = (enum run_change)kind;

		assert_int_equal(change(rig, &run->id, what, &seen), ERR_CONFLICT);
		assert_int_equal(change(rig, &unknown, what, &seen), ERR_NOT_FOUND);
	}
	assert_run(rig_get_run(rig, &run->id), RUN_FAILED, REASON_NONE);
}

static void test_held_run_keeps_its_definition_when_the_action_is_replaced(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "\"description\": \"old\"", NO_TIME);
	struct run *run = rig_trigger(rig, action), *seen;
	struct store_take take = {.capacity = {9, 9}};

	assert_int_equal(change(rig, &run->id, RUN_PAUSE, &seen), 0);
	rig_now_ms++;
	assert_non_null(rig_trigger(rig, action)); /* a newer one, which is not held */
	for (int i = 0; i < 2; i++) {
		struct store_replace_action replace = {
			.id = action->id, .action = rig_define(rig, "a", "")};

		assert_int_equal(rig_do(rig, replace_action, &replace), 0);
		store_replace_action_fini(&replace);
	}
	assert_int_equal(change(rig, &run->id, RUN_RESUME, &seen), 0);
	assert_int_equal(rig_do(rig, take, &take), 0);
	assert_int_equal(take.ret_started_count, 1);
	assert_true(id_equal(&take.ret_started[0].id, &run->id));
	assert_string_equal(take.ret_started[0].action->description, "old");
	store_take_fini(&take);
}

static void test_retry_is_a_run_of_its_own_that_names_the_first(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "", T0);
	struct run *run = rig_start(rig, action, T0), *seen;
	struct store_trigger trigger = {.action_id = action->id, .retry_of = run->id};

	assert_int_equal(rig_finish(rig, run, ATTEMPT_FAILED, failed), 0);
	rig_now_ms = T0 + 5;
	assert_int_equal(rig_do(rig, trigger, &trigger), 0);
	assert_run(&trigger.ret_run, RUN_PENDING, REASON_QUEUED);
	assert_int_equal(trigger.ret_run.due_at_ms, T0 + 5);
	seen = rig_get_run(rig, &trigger.ret_run.id);
	assert_int_equal(seen->trigger, TRIGGER_RETRY);
	assert_true(id_equal(&seen->retry_of, &run->id));
	assert_true(id_is_zero(&rig_get_run(rig, &run->id)->retry_of));
	store_trigger_fini(&trigger);
}

static void test_cancel_ended_or_unknown_is_refused(void **state)
{
	struct rig *rig = *state;
	struct run *run = rig_start(rig, rig_create(rig, "a", "", T0), T0), *seen = NULL;
	struct run unknown = {.id = id_make()};

	assert_int_equal(rig_succeed(rig, run), 0);
	assert_int_equal(cancel(rig, run, &seen), ERR_CONFLICT);
	assert_int_equal(cancel(rig, &unknown, &seen), ERR_NOT_FOUND);
	assert_run(rig_get_run(rig, &run->id), RUN_SUCCEEDED, REASON_NONE);
}

/* --- output --- */

static void finish_with(
	struct rig *rig, const struct run *run, const char *output, struct run_follow_up follow_up)
{
	auto_free char *copy = xstrdup(output);
	struct attempt_result result = {.outcome = ATTEMPT_FAILED,
		.exit_code = 1,
		.started_at_ms = rig_now_ms,
		.output = copy,
		.output_len = strlen(output),
		.output_total = (int64_t)strlen(output)};
	struct store_finish finish = {.run = run, .result = &result, .follow_up = follow_up};

	assert_int_equal(rig_do(rig, finish, &finish), 0);
}

static void assert_output(struct rig *rig, const struct run *run, int attempt, const char *expected)
{
	struct store_get_output get = {.run_id = run->id, .attempt = attempt};

	assert_int_equal(rig_do(rig, get_output, &get), 0);
	assert_int_equal(get.ret_len, strlen(expected));
	assert_int_equal(get.ret_total, strlen(expected));
	if (get.ret_len)
		assert_memory_equal(get.ret_output, expected, get.ret_len);
	store_get_output_fini(&get);
}

static void test_output_of_each_attempt(void **state)
{
	struct rig *rig = *state;
	struct run *run = rig_start(rig, rig_create(rig, "a", "", T0), T0), *again;
	struct store_get_output get = {.run_id = run->id}, unknown = {.run_id = id_make()};
	const struct run_follow_up retry = {
		.state = RUN_PENDING, .reason = REASON_RETRY, .counts = true};
	const struct run_follow_up interrupted = {
		.state = RUN_PENDING, .reason = REASON_HANDED_BACK};

	assert_int_equal(rig_do(rig, get_output, &get), ERR_NOT_FOUND); /* none has ended */
	finish_with(rig, run, "one", retry);
	assert_int_equal(rig_take(rig, 1, &again), 1);
	assert_output(rig, run, 0, "one"); /* the last that ended */
	finish_with(rig, again, "cut", interrupted);
	assert_output(rig, run, 2, "cut");
	assert_int_equal(rig_take(rig, 1, &again), 1);
	finish_with(rig, again, "", retry);
	assert_output(rig, run, 0, "");
	assert_output(rig, run, 2, ""); /* the number was given back and used again */
	assert_output(rig, run, 1, "one");
	get.epoch = 2;
	assert_int_equal(rig_do(rig, get_output, &get), 0); /* the one that was interrupted */
	assert_memory_equal(get.ret_output, "cut", get.ret_len);
	assert_int_equal(get.ret_attempt, 2);
	assert_false(get.ret_is_live);
	store_get_output_fini(&get);
	get.epoch = 4;
	assert_int_equal(rig_do(rig, get_output, &get), ERR_NOT_FOUND);
	get.epoch = 0;
	get.attempt = 3;
	assert_int_equal(rig_do(rig, get_output, &get), ERR_NOT_FOUND);
	assert_int_equal(rig_do(rig, get_output, &unknown), ERR_NOT_FOUND);
	store_get_output_fini(&get);
	store_get_output_fini(&unknown);
}

/* --- stats --- */

static void test_stats_counts(void **state)
{
	struct rig *rig = *state;
	struct action *action = make_ledger(rig);
	struct store_pause_action pause = {
		.id = action->id, .is_paused = true, .next_due_ms = NO_TIME};
	struct store_stats stats = {0};

	(void)rig_create(rig, "b", "", NO_TIME);
	assert_int_equal(rig_do(rig, pause_action, &pause), 0);
	store_pause_action_fini(&pause);
	assert_int_equal(rig_do(rig, stats, &stats), 0);
	assert_int_equal(stats.ret_now_ms, rig_now_ms);
	assert_int_equal(stats.ret_actions, 2);
	assert_int_equal(stats.ret_actions_paused, 1);
	assert_int_equal(stats.ret_runs_pending, 2);
	assert_int_equal(stats.ret_runs_running, 1);
	if (rig_is_sqlite() || rig_is_pg())
		assert_true(stats.ret_size_bytes > 0);
}

const struct CMUnitTest run_tests[] = {
	RIG_TEST(test_trigger_makes_a_pending_run_due_now),
	RIG_TEST(test_trigger_takes_the_first_free_millisecond),
	RIG_TEST(test_trigger_many_at_once_each_gets_a_row),
	RIG_TEST(test_trigger_obeys_overlap),
	RIG_TEST(test_trigger_paused_yes_unknown_no),
	RIG_TEST(test_get_run_unknown_is_not_found),
	RIG_TEST(test_list_runs_filters),
	RIG_TEST(test_list_runs_pages_without_gap_while_rows_come),
	RIG_TEST(test_run_name_follows_the_action),
	RIG_TEST(test_cancel_pending_and_held_at_once),
	RIG_TEST(test_cancel_running_only_asks),
	RIG_TEST(test_pause_holds_a_pending_run_until_resumed),
	RIG_TEST(test_pause_of_a_retry_forgets_its_delay),
	RIG_TEST(test_pause_of_a_running_run_is_kept_by_its_finish),
	RIG_TEST(test_pause_of_a_lost_owner_is_kept_by_recover),
	RIG_TEST(test_cancel_overrules_a_pause),
	RIG_TEST(test_pause_and_resume_of_what_has_ended_or_is_unknown_are_refused),
	RIG_TEST(test_held_run_keeps_its_definition_when_the_action_is_replaced),
	RIG_TEST(test_retry_is_a_run_of_its_own_that_names_the_first),
	RIG_TEST(test_cancel_ended_or_unknown_is_refused),
	RIG_TEST(test_output_of_each_attempt),
	RIG_TEST(test_stats_counts),
};
const size_t run_test_count = COUNT_OF(run_tests);
