/* SPDX-License-Identifier: Apache-2.0
 *
 * Schedules whose next due time depends on their runs: every_after and max_runs. */
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define T0       RIG_EPOCH_MS
#define AFTER_MS INT64_C(90000)

static struct action *paced(struct rig *rig, const char *name, const char *schedule)
{
	auto_free char *text = xasprintf("\"schedule\": {%s}", schedule);

	return rig_create(rig, name, text, T0);
}

/* Claims due times from `due_at_ms` on, a second apart, as a plan would. */
static void claim(struct rig *rig, struct action *action, size_t count, int64_t next_due_ms)
{
	struct planned_due dues[8];
	struct claim_item item = {.action = action,
		.expected_ms = rig_get(rig, &action->id)->next_due_ms,
		.dues = dues,
		.due_count = count,
		.next_due_ms = next_due_ms};
	struct store_claim claim = {.items = &item, .count = 1, .capacity = {9, 9}};

	for (size_t i = 0; i < count; i++)
		dues[i] = (struct planned_due){.due_at_ms = item.expected_ms + (int64_t)i * 1000,
			.count = 1,
			.verdict = DUE_RUN};
	assert_int_equal(rig_do(rig, claim, &claim), 0);
	assert_true(item.ret_won);
	store_claim_fini(&claim);
}

static int64_t cursor(struct rig *rig, const struct action *action)
{
	return rig_get(rig, &action->id)->next_due_ms;
}

static void test_every_after_counts_from_the_end_of_the_run(void **state)
{
	struct rig *rig = *state;
	struct action *action = paced(rig, "a", "\"every_after\": \"90s\"");
	struct store_finish finish;
	struct run *run;

	claim(rig, action, 1, DUE_AT_RUN_END);
	assert_int_equal(cursor(rig, action), DUE_AT_RUN_END);
	assert_int_equal(action_state(rig_get(rig, &action->id)), ACTION_ACTIVE);
	run = rig_find_run(rig, action, T0);
	rig_now_ms = T0 + 7777;
	finish = (struct store_finish){.run = run,
		.follow_up = {.state = RUN_FAILED, .counts = true},
		.result = &(struct attempt_result){.outcome = ATTEMPT_FAILED, .started_at_ms = T0}};
	assert_int_equal(rig_do(rig, finish, &finish), 0);
	assert_true(finish.ret_has_sequels);
	store_finish_fini(&finish);
	assert_int_equal(cursor(rig, action), T0 + 7777 + AFTER_MS);
}

static void test_every_after_never_stalls(void **state)
{
	struct rig *rig = *state;
	struct action *action = paced(rig, "a", "\"every_after\": \"90s\"");
	struct run *manual = rig_trigger(rig, action), *run;
	struct store_cancel_run cancel = {.id = manual->id};
	struct store_recover recover = {0};

	/* skipped, as another is under way: no run whose end could be waited for */
	claim(rig, action, 1, DUE_AT_RUN_END);
	assert_run(rig_find_run(rig, action, manual->due_at_ms == T0 ? T0 : T0 + 1), RUN_PENDING,
		REASON_QUEUED);
	assert_int_equal(cursor(rig, action), T0 + AFTER_MS);
	/* a person's cancel is an end */
	rig_now_ms = T0 + 10;
	assert_int_equal(rig_do(rig, cancel_run, &cancel), 0);
	store_cancel_run_fini(&cancel);
	assert_int_equal(cursor(rig, action), T0 + 10 + AFTER_MS);
	/* a retry is none, and the owner's death in the end is one */
	rig_now_ms = T0 + 10 + AFTER_MS;
	claim(rig, action, 1, DUE_AT_RUN_END);
	run = rig_find_run(rig, action, rig_now_ms);
	assert_int_equal(
		rig_finish(rig, run, ATTEMPT_FAILED,
			(struct run_follow_up){
				.state = RUN_PENDING, .reason = REASON_RETRY, .counts = true}),
		0);
	assert_int_equal(cursor(rig, action), DUE_AT_RUN_END);
	assert_int_equal(rig_take(rig, 1, &run), 1);
	for (int i = 0; i <= INTERRUPTIONS_MAX; i++) {
		assert_int_equal(cursor(rig, action), DUE_AT_RUN_END);
		rig_restart(rig);
		assert_int_equal(rig_do(rig, recover, &recover), 0);
		if (i < INTERRUPTIONS_MAX)
			assert_int_equal(rig_take(rig, 1, &run), 1);
	}
	assert_int_equal(cursor(rig, action), rig_now_ms + AFTER_MS);
}

static void test_every_after_ends_with_its_bound_and_rests_while_paused(void **state)
{
	struct rig *rig = *state;
	struct action *bound = paced(rig, "bound",
		"\"every_after\": \"90s\", \"end_at\": \"2027-01-15T08:01:00Z\""); /* T0 + 60 s */
	struct action *paused = paced(rig, "paused", "\"every_after\": \"90s\"");
	struct store_pause_action pause = {
		.id = paused->id, .is_paused = true, .next_due_ms = DUE_AT_RUN_END};

	claim(rig, bound, 1, DUE_AT_RUN_END);
	assert_int_equal(rig_succeed(rig, rig_find_run(rig, bound, T0)), 0);
	assert_int_equal(cursor(rig, bound), NO_TIME);
	assert_int_equal(action_state(rig_get(rig, &bound->id)), ACTION_COMPLETED);
	claim(rig, paused, 1, DUE_AT_RUN_END);
	assert_int_equal(rig_do(rig, pause_action, &pause), 0);
	store_pause_action_fini(&pause);
	assert_int_equal(rig_succeed(rig, rig_find_run(rig, paused, T0)), 0);
	assert_int_equal(cursor(rig, paused), DUE_AT_RUN_END);
}

static void test_max_runs_completes_the_action(void **state)
{
	struct rig *rig = *state;
	struct action *action = paced(rig, "a", "\"every\": \"1s\", \"max_runs\": 2");

	claim(rig, action, 1, T0 + 1000);
	assert_int_equal(cursor(rig, action), T0 + 1000);
	/* skipped ones do not count */
	rig_now_ms = T0 + 1000;
	claim(rig, action, 1, T0 + 2000);
	assert_run(rig_find_run(rig, action, T0 + 1000), RUN_SKIPPED, REASON_OVERLAP);
	assert_int_equal(cursor(rig, action), T0 + 2000);
	assert_int_equal(rig_succeed(rig, rig_find_run(rig, action, T0)), 0);
	rig_now_ms = T0 + 2000;
	claim(rig, action, 1, T0 + 3000);
	assert_run(rig_find_run(rig, action, T0 + 2000), RUN_RUNNING, REASON_NONE);
	assert_int_equal(cursor(rig, action), NO_TIME);
	assert_int_equal(action_state(rig_get(rig, &action->id)), ACTION_COMPLETED);
}

static void test_max_runs_bounds_a_catch_up(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a",
		"\"overlap\": \"allow\", \"schedule\": {\"every\": \"1s\", \"max_runs\": 2}", T0);

	rig_now_ms = T0 + 5000;
	claim(rig, action, 4, T0 + 6000);
	for (int i = 0; i < 2; i++)
		assert_run(rig_find_run(rig, action, T0 + i * 1000), RUN_RUNNING, REASON_NONE);
	for (int i = 2; i < 4; i++)
		assert_run(rig_find_run(rig, action, T0 + i * 1000), RUN_SKIPPED, REASON_LIMIT);
	assert_int_equal(cursor(rig, action), NO_TIME);
}

static void test_replace_keeps_or_restarts_the_count_of_runs(void **state)
{
	struct rig *rig = *state;
	const char *const members =
		"\"overlap\": \"allow\", \"schedule\": {\"every\": \"1s\", \"max_runs\": 2}";
	struct action *action = rig_create(rig, "a", members, T0);
	struct store_replace_action replace = {.id = action->id, .keeps_cursor = true};

	claim(rig, action, 1, T0 + 1000);
	replace.action = rig_define(rig, "a", members);
	replace.action->next_due_ms = T0; /* as it was read, before the claim */
	assert_int_equal(rig_do(rig, replace_action, &replace), 0);
	assert_int_equal(replace.ret_action->next_due_ms, T0 + 1000);
	store_replace_action_fini(&replace);
	rig_now_ms = T0 + 1000;
	claim(rig, rig_get(rig, &action->id), 1, T0 + 2000);
	assert_int_equal(cursor(rig, action), NO_TIME);
	replace.keeps_cursor = false;
	replace.action->next_due_ms = T0 + 3000;
	assert_int_equal(rig_do(rig, replace_action, &replace), 0);
	store_replace_action_fini(&replace);
	rig_now_ms = T0 + 3000;
	claim(rig, rig_get(rig, &action->id), 1, T0 + 4000);
	assert_int_equal(cursor(rig, action), T0 + 4000);
}

static void test_due_time_in_a_blackout_has_a_row_that_says_so(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "", T0);
	struct planned_due due = {.due_at_ms = T0, .count = 1, .verdict = DUE_SKIP_BLACKOUT};
	struct claim_item item = {.action = action,
		.expected_ms = T0,
		.dues = &due,
		.due_count = 1,
		.next_due_ms = T0 + MINUTE_MS};
	struct store_claim claim = {.items = &item, .count = 1, .capacity = {9, 9}};

	assert_int_equal(rig_do(rig, claim, &claim), 0);
	assert_int_equal(claim.ret_skipped, 1);
	store_claim_fini(&claim);
	assert_run(rig_find_run(rig, action, T0), RUN_SKIPPED, REASON_BLACKOUT);
	assert_int_equal(cursor(rig, action), T0 + MINUTE_MS);
}

const struct CMUnitTest pace_tests[] = {
	RIG_TEST(test_every_after_counts_from_the_end_of_the_run),
	RIG_TEST(test_every_after_never_stalls),
	RIG_TEST(test_every_after_ends_with_its_bound_and_rests_while_paused),
	RIG_TEST(test_max_runs_completes_the_action),
	RIG_TEST(test_max_runs_bounds_a_catch_up),
	RIG_TEST(test_due_time_in_a_blackout_has_a_row_that_says_so),
	RIG_TEST(test_replace_keeps_or_restarts_the_count_of_runs),
};
const size_t pace_test_count = COUNT_OF(pace_tests);
