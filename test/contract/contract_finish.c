/* SPDX-License-Identifier: Apache-2.0
 *
 * finish: what stays of an attempt, and who may still write it. */
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define T0 RIG_EPOCH_MS

static struct run *start(struct rig *rig, const char *members)
{
	return rig_start(rig, rig_create(rig, "a", members, T0), T0);
}

static void test_finish_writes_result_and_output(void **state)
{
	struct rig *rig = *state;
	struct run *run = start(rig, "");
	char output[] = "a\0b\xff\n";
	char error[] = "exit status 3";
	struct attempt_result result = {.outcome = ATTEMPT_FAILED,
		.http_status = 503,
		.exit_code = 3,
		.started_at_ms = T0 + 4,
		.retry_after_ms = -1,
		.error = error,
		.output = output,
		.output_len = sizeof(output) - 1,
		.output_total = 5000};
	struct store_finish finish = {.run = run,
		.result = &result,
		.follow_up = {.state = RUN_FAILED, .reason = REASON_NONE, .counts = true}};
	struct store_get_output get = {.run_id = run->id};

	rig_now_ms = T0 + 40;
	assert_int_equal(rig_do(rig, finish, &finish), 0);
	assert_int_equal(finish.ret_state, RUN_FAILED);
	run = rig_get_run(rig, &run->id);
	assert_run(run, RUN_FAILED, REASON_NONE);
	assert_int_equal(run->http_status, 503);
	assert_int_equal(run->exit_code, 3);
	assert_string_equal(run->error, "exit status 3");
	assert_int_equal(run->started_at_ms, T0 + 4);
	assert_int_equal(run->finished_at_ms, T0 + 40);
	assert_int_equal(run->output_bytes, 5000);
	assert_int_equal(run->attempt, 1);
	assert_true(id_equal(&run->instance_id, &rig->instance_id)); /* the last owner */
	assert_int_equal(rig_do(rig, get_output, &get), 0);
	assert_int_equal(get.ret_len, sizeof(output) - 1);
	assert_memory_equal(get.ret_output, output, get.ret_len);
	assert_int_equal(get.ret_total, 5000);
	store_get_output_fini(&get);
}

static void test_finish_each_final_state(void **state)
{
	struct rig *rig = *state;
	static const struct {
		enum attempt_outcome outcome;
		enum run_state state;
		enum run_reason reason;
	} rows[] = {{ATTEMPT_SUCCEEDED, RUN_SUCCEEDED, REASON_NONE},
		{ATTEMPT_FAILED, RUN_FAILED, REASON_NONE},
		{ATTEMPT_TIMED_OUT, RUN_TIMED_OUT, REASON_NONE},
		{ATTEMPT_CANCELLED, RUN_CANCELLED, REASON_USER},
		{ATTEMPT_INTERRUPTED, RUN_HELD, REASON_SHUTDOWN}};
	struct action *action = rig_create(rig, "a", "", T0);

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct run *run;

		rig_now_ms = T0 + (int64_t)i * MINUTE_MS;
		run = rig_start(rig, action, rig_now_ms);
		assert_int_equal(rig_finish(rig, run, rows[i].outcome,
					 (struct run_follow_up){.state = rows[i].state,
						 .reason = rows[i].reason,
						 .counts = true}),
			0);
		assert_run(rig_get_run(rig, &run->id), rows[i].state, rows[i].reason);
	}
}

static void test_finish_retry_goes_back_to_pending(void **state)
{
	struct rig *rig = *state;
	struct run *run = start(rig, "");

	rig_now_ms = T0 + 10;
	assert_int_equal(rig_finish(rig, run, ATTEMPT_FAILED,
				 (struct run_follow_up){.state = RUN_PENDING,
					 .reason = REASON_RETRY,
					 .delay_ms = 250,
					 .counts = true}),
		0);
	run = rig_get_run(rig, &run->id);
	assert_run(run, RUN_PENDING, REASON_RETRY);
	assert_int_equal(run->not_before_ms, T0 + 260);
	assert_int_equal(run->attempt, 1);
	assert_int_equal(run->interruptions, 0);
	assert_int_equal(run->epoch, 1);
	assert_true(id_is_zero(&run->instance_id));
	assert_int_equal(run->claimed_at_ms, NO_TIME);
	assert_int_equal(run->finished_at_ms, NO_TIME);
	assert_int_equal(run->exit_code, 0); /* how the last attempt went */
}

static void test_finish_hand_back_does_not_use_up_the_attempt(void **state)
{
	struct rig *rig = *state;
	struct run *run = start(rig, ""), *again;
	struct run_follow_up hand_back = {.state = RUN_PENDING, .reason = REASON_HANDED_BACK};

	assert_int_equal(rig_finish(rig, run, ATTEMPT_INTERRUPTED, hand_back), 0);
	again = rig_get_run(rig, &run->id);
	assert_run(again, RUN_PENDING, REASON_HANDED_BACK);
	assert_int_equal(again->attempt, 0);
	assert_int_equal(again->interruptions, 1);
	assert_int_equal(again->not_before_ms, NO_TIME);
	assert_int_equal(rig_take(rig, 1, &again), 1);
	assert_int_equal(again->attempt, 1);
	assert_int_equal(again->epoch, 2);
	assert_int_equal(rig_finish(rig, again, ATTEMPT_INTERRUPTED, hand_back), 0);
	assert_int_equal(rig_get_run(rig, &run->id)->interruptions, 2);
}

static void test_finish_unbegun_hand_back_leaves_no_trace(void **state)
{
	struct rig *rig = *state;
	struct run *run = start(rig, "");
	struct store_get_output get = {.run_id = run->id};

	run->started_at_ms = NO_TIME;
	assert_int_equal(
		rig_finish(rig, run, ATTEMPT_INTERRUPTED,
			(struct run_follow_up){.state = RUN_PENDING, .reason = REASON_HANDED_BACK}),
		0);
	assert_int_equal(rig_do(rig, get_output, &get), ERR_NOT_FOUND);
	store_get_output_fini(&get);
	assert_int_equal(rig_get_run(rig, &run->id)->attempt, 0);
	assert_int_equal(rig_get_run(rig, &run->id)->interruptions, 0);
}

static void test_finish_is_fenced_by_epoch_and_state(void **state)
{
	struct rig *rig = *state;
	struct run *run = start(rig, ""), *taken, wrong = *run, unknown = *run;

	wrong.epoch = 2;
	assert_int_equal(rig_succeed(rig, &wrong), ERR_STALE);
	unknown.id = id_make();
	assert_int_equal(rig_succeed(rig, &unknown), ERR_STALE);
	assert_run(rig_get_run(rig, &run->id), RUN_RUNNING, REASON_NONE);
	assert_int_equal(
		rig_finish(rig, run, ATTEMPT_INTERRUPTED,
			(struct run_follow_up){.state = RUN_PENDING, .reason = REASON_HANDED_BACK}),
		0);
	assert_int_equal(rig_succeed(rig, run), ERR_STALE); /* pending now */
	assert_int_equal(rig_take(rig, 1, &taken), 1);
	assert_int_equal(rig_succeed(rig, run), ERR_STALE); /* running, but in epoch 2 */
	assert_int_equal(rig_succeed(rig, taken), 0);
	assert_int_equal(rig_succeed(rig, taken), ERR_STALE); /* twice */
	assert_run(rig_get_run(rig, &run->id), RUN_SUCCEEDED, REASON_NONE);
}

/* Good and stale ones in one batch. */
static void test_finish_many_at_once_stand_for_themselves(void **state)
{
	enum {
		COUNT = 20
	};
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "\"overlap\": \"allow\"", T0);
	struct attempt_result result = {.outcome = ATTEMPT_SUCCEEDED, .started_at_ms = T0};
	struct store_finish finish[COUNT] = {0};
	struct run *runs[COUNT], stale;

	for (int i = 0; i < COUNT; i++) {
		rig_now_ms = T0 + i * MINUTE_MS;
		runs[i] = rig_start(rig, action, rig_now_ms);
	}
	stale = *runs[7];
	stale.epoch = 9;
	for (int i = 0; i < COUNT; i++) {
		finish[i].run = i == 7 ? &stale : runs[i];
		finish[i].result = &result;
		finish[i].follow_up =
			(struct run_follow_up){.state = RUN_SUCCEEDED, .counts = true};
		store_finish(rig->store, &finish[i], rig_on_done);
	}
	rig_settle(rig);
	for (int i = 0; i < COUNT; i++) {
		assert_non_null(finish[i].req.data);
		assert_int_equal(finish[i].req.err.code, i == 7 ? ERR_STALE : 0);
		assert_int_equal(rig_get_run(rig, &runs[i]->id)->state,
			i == 7 ? RUN_RUNNING : RUN_SUCCEEDED);
	}
}

static void request_cancel(struct rig *rig, const struct run *run)
{
	struct store_cancel_run cancel = {.id = run->id};

	assert_int_equal(rig_do(rig, cancel_run, &cancel), 0);
	assert_int_equal(cancel.ret_run.state, RUN_RUNNING);
	assert_true(cancel.ret_run.cancel_requested);
	store_cancel_run_fini(&cancel);
}

static void test_finish_after_cancel_does_not_go_back_to_pending(void **state)
{
	struct rig *rig = *state;
	struct run *run = start(rig, "");

	request_cancel(rig, run);
	assert_int_equal(rig_finish(rig, run, ATTEMPT_FAILED,
				 (struct run_follow_up){.state = RUN_PENDING,
					 .reason = REASON_RETRY,
					 .delay_ms = 5,
					 .counts = true}),
		0);
	run = rig_get_run(rig, &run->id);
	assert_run(run, RUN_CANCELLED, REASON_USER);
	assert_int_equal(run->finished_at_ms, T0);
	assert_int_equal(run->not_before_ms, NO_TIME);
}

static void test_finish_after_cancel_success_stays_success(void **state)
{
	struct rig *rig = *state;
	struct run *run = start(rig, "");

	request_cancel(rig, run);
	assert_int_equal(rig_succeed(rig, run), 0);
	assert_run(rig_get_run(rig, &run->id), RUN_SUCCEEDED, REASON_NONE);
}

const struct CMUnitTest finish_tests[] = {
	RIG_TEST(test_finish_writes_result_and_output),
	RIG_TEST(test_finish_each_final_state),
	RIG_TEST(test_finish_retry_goes_back_to_pending),
	RIG_TEST(test_finish_hand_back_does_not_use_up_the_attempt),
	RIG_TEST(test_finish_unbegun_hand_back_leaves_no_trace),
	RIG_TEST(test_finish_is_fenced_by_epoch_and_state),
	RIG_TEST(test_finish_many_at_once_stand_for_themselves),
	RIG_TEST(test_finish_after_cancel_does_not_go_back_to_pending),
	RIG_TEST(test_finish_after_cancel_success_stays_success),
};
const size_t finish_test_count = COUNT_OF(finish_tests);
