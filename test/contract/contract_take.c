/* SPDX-License-Identifier: Apache-2.0
 *
 * take and recover. */
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define T0 RIG_EPOCH_MS

static const struct run_follow_up retry_in_a_second = {
	.state = RUN_PENDING, .reason = REASON_RETRY, .delay_ms = 1000, .counts = true};

static void test_take_by_priority_then_due_time(void **state)
{
	struct rig *rig = *state;
	static const struct {
		const char *name, *members;
		int64_t due_at_ms;
	} rows[] = {{"low-early", "\"priority\": -1", T0 - 30},
		{"high-late", "\"priority\": 5", T0}, {"high-early", "\"priority\": 5", T0 - 20},
		{"mid", "", T0 - 40}};
	static const char *const order[] = {"high-early", "high-late", "mid", "low-early"};
	struct store_take take = {.capacity = {3, 3}};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_true(rig_claim(rig,
			rig_create(rig, rows[i].name, rows[i].members, rows[i].due_at_ms),
			rows[i].due_at_ms, 0));
	rig_now_ms = T0 + 7;
	assert_int_equal(rig_do(rig, take, &take), 0);
	assert_int_equal(take.ret_now_ms, T0 + 7);
	assert_int_equal(take.ret_started_count, 3);
	assert_int_equal(take.ret_pending_at_ms, NO_TIME);
	for (size_t i = 0; i < 3; i++) {
		const struct run *run = &take.ret_started[i];

		assert_string_equal(run->action_name, order[i]);
		assert_run(run, RUN_RUNNING, REASON_NONE);
		assert_int_equal(run->attempt, 1);
		assert_int_equal(run->epoch, 1);
		assert_int_equal(run->claimed_at_ms, T0 + 7);
		assert_true(id_equal(&run->instance_id, &rig->instance_id));
		assert_string_equal(run->action->name, order[i]);
		assert_true(id_equal(&run->action->id, &run->action_id));
	}
	store_take_fini(&take);
	assert_int_equal(rig_take(rig, 3, NULL), 1);
	assert_int_equal(rig_take(rig, 3, NULL), 0);
}

static void test_take_waiting_outweighs_priority_in_time(void **state)
{
	struct rig *rig = *state;
	struct action *low = rig_create(rig, "low", "\"priority\": -2", T0);
	struct action *same = rig_create(rig, "same", "", T0 + 2 * RUN_AGEING_MS);
	struct action *soon = rig_create(rig, "soon", "", T0 + 2 * RUN_AGEING_MS - 1);
	static const char *const order[] = {"soon", "low", "same"};
	struct store_take take = {.capacity = {3, 3}};

	assert_true(rig_claim(rig, low, T0, 0));
	rig_now_ms = T0 + 2 * RUN_AGEING_MS - 1;
	assert_true(rig_claim(rig, soon, rig_now_ms, 0));
	rig_now_ms++;
	assert_true(rig_claim(rig, same, rig_now_ms, 0));
	assert_int_equal(rig_do(rig, take, &take), 0);
	assert_int_equal(take.ret_started_count, 3);
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(take.ret_started[i].action_name, order[i]);
	store_take_fini(&take);
}

/* One place, and every minute somebody more important who finds it free. */
static void test_who_waits_long_enough_goes_before_any_priority(void **state)
{
	struct rig *rig = *state;
	struct action *urgent =
		rig_create(rig, "urgent", "\"overlap\": \"allow\", \"priority\": 5", T0);
	struct action *patient = rig_create(rig, "patient", "\"priority\": -5", NO_TIME);
	int minutes = 0;
	struct id id;

	rig_now_ms = T0 - MINUTE_MS / 2; /* so that nobody is equal */
	id = rig_trigger(rig, patient)->id;
	for (;; minutes++) {
		struct run *running;

		assert_in_range(minutes, 0, 10);
		rig_now_ms = T0 + minutes * MINUTE_MS;
		assert_true(rig_claim(rig, urgent, rig_now_ms, 1));
		running = rig_find_run(rig, urgent, rig_now_ms);
		if (running->state == RUN_PENDING) /* not past one that goes before it */
			assert_int_equal(rig_take(rig, 1, &running), 1);
		if (id_equal(&running->id, &id))
			break;
		assert_int_equal(rig_succeed(rig, running), 0);
	}
	assert_int_equal(minutes, 10); /* as far as the priorities are apart, and not sooner */
}

static void test_take_nothing_without_capacity(void **state)
{
	struct rig *rig = *state;

	assert_true(rig_claim(rig, rig_create(rig, "a", "", T0), T0, 0));
	assert_int_equal(rig_take(rig, 0, NULL), 0);
	assert_int_equal(rig_take(rig, -1, NULL), 0);
	assert_int_equal(rig_take(rig, 1, NULL), 1);
}

static void test_take_capacity_is_by_kind(void **state)
{
	struct rig *rig = *state;
	struct store_take take = {.capacity = {[ACTION_HTTP] = 2}};

	assert_true(rig_claim(rig, rig_create(rig, "p", "", T0), T0, 0));
	assert_true(rig_claim(rig,
		rig_create(rig, "h",
			"\"kind\": \"http\", \"exec\": null,"
			"\"http\": {\"url\": \"http://127.0.0.1:1/\"}",
			T0),
		T0, 0));
	assert_int_equal(rig_do(rig, take, &take), 0);
	assert_int_equal(take.ret_started_count, 1);
	assert_int_equal(take.ret_started[0].action->kind, ACTION_HTTP);
	store_take_fini(&take);
}

static void test_take_serial_one_at_a_time_oldest_first(void **state)
{
	struct rig *rig = *state;
	struct action *action =
		rig_create(rig, "a", "\"overlap\": \"queue\", \"queue_limit\": 9", T0);
	struct run *run;

	for (int i = 0; i < 3; i++) {
		rig_now_ms = T0 + i * MINUTE_MS;
		assert_true(rig_claim(rig, action, rig_now_ms, 0));
	}
	for (int i = 0; i < 3; i++) {
		assert_int_equal(rig_take(rig, 9, &run), 1);
		assert_int_equal(run->due_at_ms, T0 + i * MINUTE_MS);
		assert_int_equal(rig_take(rig, 9, NULL), 0); /* while it runs */
		assert_int_equal(rig_succeed(rig, run), 0);
	}
}

static void test_take_allow_many_at_a_time(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "\"overlap\": \"allow\"", T0);

	for (int i = 0; i < 3; i++) {
		rig_now_ms = T0 + i * MINUTE_MS;
		assert_true(rig_claim(rig, action, rig_now_ms, 0));
	}
	assert_int_equal(rig_take(rig, 2, NULL), 2);
	assert_int_equal(rig_take(rig, 2, NULL), 1);
}

static void test_take_waits_for_not_before(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "", T0);
	struct run *run = rig_start(rig, action, T0);
	struct store_take take = {.capacity = {1, 1}};

	assert_int_equal(rig_finish(rig, run, ATTEMPT_FAILED, retry_in_a_second), 0);
	rig_now_ms = T0 + 999;
	assert_int_equal(rig_do(rig, take, &take), 0);
	assert_int_equal(take.ret_started_count, 0);
	assert_int_equal(take.ret_pending_at_ms, T0 + 1000);
	store_take_fini(&take);
	rig_now_ms = T0 + 1000;
	assert_int_equal(rig_take(rig, 1, &run), 1);
	assert_int_equal(run->attempt, 2);
	assert_int_equal(run->epoch, 2);
	assert_int_equal(run->not_before_ms, NO_TIME);
}

static void test_take_serial_keeps_order_behind_a_retry(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "\"overlap\": \"queue\"", T0);
	struct run *first = rig_start(rig, action, T0), *taken;

	rig_now_ms = T0 + MINUTE_MS;
	assert_true(rig_claim(rig, action, T0 + MINUTE_MS, 1));
	assert_int_equal(rig_finish(rig, first, ATTEMPT_FAILED, retry_in_a_second), 0);
	assert_int_equal(rig_take(rig, 5, NULL), 0);
	rig_now_ms += 1000;
	assert_int_equal(rig_take(rig, 5, &taken), 1);
	assert_true(id_equal(&taken->id, &first->id));
}

/* --- limits --- */

/* Takes with room for 9 of each kind; how many started. They go on running. */
static size_t take_within(struct rig *rig, const struct run_limit *limits, size_t count)
{
	struct store_take take = {.capacity = {9, 9}, .limits = limits, .limit_count = count};
	size_t started;

	assert_int_equal(rig_do(rig, take, &take), 0);
	started = take.ret_started_count;
	store_take_fini(&take);
	return started;
}

static void queue_runs(struct rig *rig, struct action *action, int count)
{
	for (int i = 0; i < count; i++)
		(void)rig_trigger(rig, action);
}

static void test_take_no_more_of_an_action_than_max_concurrent(void **state)
{
	struct rig *rig = *state;
	struct action *action =
		rig_create(rig, "a", "\"overlap\": \"allow\", \"max_concurrent\": 3", NO_TIME);

	queue_runs(rig, action, 8);
	assert_int_equal(rig_take(rig, 2, NULL), 2);
	assert_int_equal(rig_take(rig, 9, NULL), 1);
	assert_int_equal(rig_take(rig, 9, NULL), 0);
	assert_int_equal(rig_succeed(rig, rig_newest_run(rig, action, 1u << RUN_RUNNING)), 0);
	assert_int_equal(rig_take(rig, 9, NULL), 1);
}

static void test_take_others_past_one_that_has_all_it_may(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a",
		"\"overlap\": \"allow\", \"max_concurrent\": 1, \"priority\": 9", NO_TIME);
	struct action *other = rig_create(rig, "o", "", NO_TIME);

	queue_runs(rig, action, 3);
	queue_runs(rig, other, 1);
	while (rig_take(rig, 2, NULL) > 0)
		;
	assert_non_null(rig_newest_run(rig, other, 1u << RUN_RUNNING));
}

static void test_take_no_more_than_a_limit_allows(void **state)
{
	struct rig *rig = *state;
	struct action *tagged =
		rig_create(rig, "t", "\"overlap\": \"allow\", \"tags\": [\"db\", \"x\"]", NO_TIME);
	struct action *free = rig_create(rig, "f", "\"overlap\": \"allow\"", NO_TIME);
	const struct run_limit limits[] = {
		{.kind = -1, .tag = (char *)"db", .max = 2},
		{.kind = ACTION_EXEC, .max = 5},
		{.kind = ACTION_HTTP, .max = 1},
	};

	queue_runs(rig, tagged, 4); /* first in line */
	queue_runs(rig, free, 4);
	assert_int_equal(take_within(rig, limits, 1), 6);
	assert_int_equal(take_within(rig, limits, 1), 0);
	queue_runs(rig, free, 1);
	assert_int_equal(take_within(rig, limits, 3), 0); /* 6 of 5 run */
	assert_int_equal(rig_succeed(rig, rig_newest_run(rig, tagged, 1u << RUN_RUNNING)), 0);
	assert_int_equal(take_within(rig, limits, 3), 0);
	assert_int_equal(take_within(rig, limits, 1), 2); /* one of each */
}

static void test_take_counts_all_kinds_in_one_line(void **state)
{
	struct rig *rig = *state;
	const struct run_limit all = {.kind = -1, .max = 1};
	struct action *program = rig_create(rig, "p", "\"priority\": 1", NO_TIME);
	struct action *hook = rig_create(rig, "h",
		"\"kind\": \"http\", \"exec\": null, \"http\": {\"url\": \"http://127.0.0.1:1/\"}",
		NO_TIME);

	queue_runs(rig, hook, 1);
	queue_runs(rig, program, 1);
	assert_int_equal(take_within(rig, &all, 1), 1);
	assert_int_equal(take_within(rig, &all, 1), 0);
	assert_int_equal(rig_succeed(rig, rig_newest_run(rig, program, 1u << RUN_RUNNING)), 0);
	assert_int_equal(take_within(rig, &all, 1), 1);
	assert_non_null(rig_newest_run(rig, hook, 1u << RUN_RUNNING));
}

static void test_claim_of_a_limited_action_leaves_the_start_to_take(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "", T0);
	struct planned_due due = {.due_at_ms = T0, .until_ms = T0, .count = 1, .verdict = DUE_RUN};
	struct claim_item item = {.action = action,
		.expected_ms = T0,
		.dues = &due,
		.due_count = 1,
		.next_due_ms = NO_TIME,
		.is_queued = true};
	struct store_claim claim = {.items = &item, .count = 1, .capacity = {5, 5}};

	assert_int_equal(rig_do(rig, claim, &claim), 0);
	assert_int_equal(claim.ret_started_count, 0);
	assert_int_equal(claim.ret_queued, 1);
	store_claim_fini(&claim);
	assert_int_equal(rig_take(rig, 1, NULL), 1);
}

static void test_queue_is_full_at_max_pending(void **state)
{
	struct rig *rig = *state;
	struct action *action =
		rig_create(rig, "a", "\"overlap\": \"allow\", \"max_pending\": 2", T0);
	struct store_trigger trigger = {.action_id = action->id};

	queue_runs(rig, action, 1);
	rig_now_ms = T0;
	assert_true(rig_claim(rig, action, T0, 0));
	assert_int_equal(rig_do(rig, trigger, &trigger), ERR_QUEUE_FULL);
	store_trigger_fini(&trigger);
	assert_int_equal(rig_run_count(rig, action), 2); /* nothing was kept */
	rig_now_ms = T0 + MINUTE_MS;
	assert_true(rig_claim(rig, action, rig_now_ms, 0));
	assert_run(rig_find_run(rig, action, rig_now_ms), RUN_SKIPPED, REASON_LIMIT);
	assert_int_equal(rig_take(rig, 1, NULL), 1);
	queue_runs(rig, action, 1);
}

/* --- recover --- */

static size_t recover(struct rig *rig)
{
	struct store_recover recover = {0};

	assert_int_equal(rig_do(rig, recover, &recover), 0);
	return recover.ret_count;
}

static void test_recover_own_runs_are_left_alone(void **state)
{
	struct rig *rig = *state;
	struct run *run = rig_start(rig, rig_create(rig, "a", "", T0), T0);

	assert_int_equal(recover(rig), 0);
	assert_run(rig_get_run(rig, &run->id), RUN_RUNNING, REASON_NONE);
}

static void test_recover_moves_each_by_its_own_on_interrupt(void **state)
{
	struct rig *rig = *state;
	struct run *retry =
		rig_start(rig, rig_create(rig, "r", "\"on_interrupt\": \"retry\"", T0), T0);
	struct run *fail =
		rig_start(rig, rig_create(rig, "f", "\"on_interrupt\": \"fail\"", T0), T0);
	struct run *hold =
		rig_start(rig, rig_create(rig, "h", "\"on_interrupt\": \"hold\"", T0), T0);
	struct run *taken;
	struct action *waiting = rig_create(rig, "w", "", T0);

	assert_true(rig_claim(rig, waiting, T0, 0));
	rig_restart(rig);
	rig_now_ms += 50;
	assert_int_equal(recover(rig), 3);
	assert_run(rig_get_run(rig, &retry->id), RUN_PENDING, REASON_OWNER_LOST);
	assert_int_equal(rig_get_run(rig, &retry->id)->attempt, 0); /* not used up */
	assert_int_equal(rig_get_run(rig, &retry->id)->interruptions, 1);
	assert_true(id_is_zero(&rig_get_run(rig, &retry->id)->instance_id));
	assert_run(rig_get_run(rig, &fail->id), RUN_FAILED, REASON_OWNER_LOST);
	assert_int_equal(rig_get_run(rig, &fail->id)->finished_at_ms, T0 + 50);
	assert_non_null(rig_get_run(rig, &fail->id)->error);
	assert_run(rig_get_run(rig, &hold->id), RUN_HELD, REASON_OWNER_LOST);
	assert_int_equal(rig_get_run(rig, &hold->id)->finished_at_ms, NO_TIME);
	assert_run(rig_find_run(rig, waiting, T0), RUN_PENDING, REASON_QUEUED);
	assert_int_equal(recover(rig), 0);
	assert_int_equal(rig_succeed(rig, retry), ERR_STALE); /* the lost owner comes back */
	assert_int_equal(rig_take(rig, 9, &taken), 2);
	assert_int_equal(rig_get_run(rig, &retry->id)->epoch, 2);
	assert_int_equal(rig_get_run(rig, &retry->id)->attempt, 1);
}

static void test_recover_honours_a_cancel(void **state)
{
	struct rig *rig = *state;
	struct run *run = rig_start(rig, rig_create(rig, "a", "", T0), T0);
	struct store_cancel_run cancel = {.id = run->id};

	assert_int_equal(rig_do(rig, cancel_run, &cancel), 0);
	store_cancel_run_fini(&cancel);
	rig_restart(rig);
	assert_int_equal(recover(rig), 1);
	assert_run(rig_get_run(rig, &run->id), RUN_CANCELLED, REASON_USER);
}

static void test_recover_after_too_many_interruptions_fails(void **state)
{
	struct rig *rig = *state;
	struct run *run = rig_start(rig, rig_create(rig, "a", "", T0), T0);

	for (int i = 0; i < INTERRUPTIONS_MAX; i++) {
		rig_restart(rig);
		assert_int_equal(recover(rig), 1);
		assert_int_equal(rig_take(rig, 1, NULL), 1);
	}
	assert_int_equal(rig_get_run(rig, &run->id)->interruptions, INTERRUPTIONS_MAX);
	rig_restart(rig);
	assert_int_equal(recover(rig), 1);
	assert_run(rig_get_run(rig, &run->id), RUN_FAILED, REASON_OWNER_LOST);
}

const struct CMUnitTest take_tests[] = {
	RIG_TEST(test_take_by_priority_then_due_time),
	RIG_TEST(test_take_waiting_outweighs_priority_in_time),
	RIG_TEST(test_who_waits_long_enough_goes_before_any_priority),
	RIG_TEST(test_take_nothing_without_capacity),
	RIG_TEST(test_take_capacity_is_by_kind),
	RIG_TEST(test_take_serial_one_at_a_time_oldest_first),
	RIG_TEST(test_take_allow_many_at_a_time),
	RIG_TEST(test_take_waits_for_not_before),
	RIG_TEST(test_take_serial_keeps_order_behind_a_retry),
	RIG_TEST(test_take_no_more_of_an_action_than_max_concurrent),
	RIG_TEST(test_take_others_past_one_that_has_all_it_may),
	RIG_TEST(test_take_no_more_than_a_limit_allows),
	RIG_TEST(test_take_counts_all_kinds_in_one_line),
	RIG_TEST(test_claim_of_a_limited_action_leaves_the_start_to_take),
	RIG_TEST(test_queue_is_full_at_max_pending),
	RIG_TEST(test_recover_own_runs_are_left_alone),
	RIG_TEST(test_recover_moves_each_by_its_own_on_interrupt),
	RIG_TEST(test_recover_honours_a_cancel),
	RIG_TEST(test_recover_after_too_many_interruptions_fails),
};
const size_t take_test_count = COUNT_OF(take_tests);
