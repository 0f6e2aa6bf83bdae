/* SPDX-License-Identifier: Apache-2.0
 *
 * What attempts note down: who may write it, who sees it, when it goes. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "rig.h"

#define T0 RIG_EPOCH_MS

static struct run *start(struct rig *rig)
{
	return rig_start(rig, rig_create(rig, "a", "", T0), T0);
}

static int note(struct rig *rig, const struct run *run, const struct run_note *what)
{
	struct store_note req = {.run_id = run->id, .epoch = run->epoch, .note = what};

	return rig_do(rig, note, &req);
}

static int note_progress(struct rig *rig, const struct run *run, int percent, const char *message)
{
	auto_free char *copy = xstrdup(message);

	return note(rig, run,
		&(struct run_note){.has_progress = true, .percent = percent, .message = copy});
}

static int note_checkpoint(struct rig *rig, const struct run *run, const char *bytes, size_t len)
{
	auto_free char *copy = xmemdup(bytes, len);

	return note(rig, run,
		&(struct run_note){.percent = -1, .checkpoint = copy, .checkpoint_len = len});
}

static void assert_progress(
	struct rig *rig, const struct id *run_id, int percent, const char *message)
{
	const struct run *run = rig_get_run(rig, run_id);

	assert_true(run->has_progress);
	assert_int_equal(run->progress_percent, percent);
	if (message)
		assert_string_equal(run->progress_message, message);
	else
		assert_null(run->progress_message);
}

static void assert_checkpoint(
	struct rig *rig, const struct id *run_id, const char *bytes, size_t len)
{
	struct store_get_checkpoint get = {.run_id = *run_id};

	assert_int_equal(rig_do(rig, get_checkpoint, &get), 0);
	assert_int_equal(get.ret_len, len);
	assert_int_equal(rig_get_run(rig, run_id)->checkpoint_bytes, len);
	if (len > 0)
		assert_memory_equal(get.ret_checkpoint, bytes, len);
	else
		assert_null(get.ret_checkpoint);
	store_get_checkpoint_fini(&get);
}

static struct run *begin_again(struct rig *rig)
{
	struct run *run;

	assert_int_equal(rig_take(rig, 1, &run), 1);
	return run;
}

/* --- */

static void test_progress_and_checkpoint_are_kept_apart(void **state)
{
	struct rig *rig = *state;
	struct run *run = start(rig);

	assert_false(rig_get_run(rig, &run->id)->has_progress);
	assert_checkpoint(rig, &run->id, NULL, 0);
	assert_int_equal(note_progress(rig, run, 10, "begun"), 0);
	assert_int_equal(note_checkpoint(rig, run, "a\0b", 3), 0);
	assert_progress(rig, &run->id, 10, "begun");
	assert_int_equal(note_progress(rig, run, -1, NULL), 0);
	assert_progress(rig, &run->id, -1, NULL);
	assert_checkpoint(rig, &run->id, "a\0b", 3);
	assert_int_equal(note_checkpoint(rig, run, "", 0), 0); /* takes it back */
	assert_checkpoint(rig, &run->id, NULL, 0);
	assert_progress(rig, &run->id, -1, NULL);
}

static void test_a_list_of_runs_shows_progress(void **state)
{
	struct rig *rig = *state;
	struct run *run = start(rig);
	struct store_list_runs list = {
		.limit = 10, .trigger = -1, .due_from_ms = NO_TIME, .due_to_ms = NO_TIME};

	assert_int_equal(note_progress(rig, run, 10, "begun"), 0);
	assert_int_equal(rig_do(rig, list_runs, &list), 0);
	assert_int_equal(list.ret_count, 1);
	assert_true(list.ret_runs[0].has_progress);
	assert_string_equal(list.ret_runs[0].progress_message, "begun");
	store_list_runs_fini(&list);
}

static void test_the_largest_checkpoint_comes_back_byte_by_byte(void **state)
{
	struct rig *rig = *state;
	struct run *run = start(rig);
	auto_free char *bytes = xmalloc(CHECKPOINT_MAX);

	for (size_t i = 0; i < CHECKPOINT_MAX; i++)
		bytes[i] = (char)(i * 31 + i / 256);
	assert_int_equal(note_checkpoint(rig, run, bytes, CHECKPOINT_MAX), 0);
	assert_checkpoint(rig, &run->id, bytes, CHECKPOINT_MAX);
}

static void test_the_next_attempt_gets_the_checkpoint_but_not_the_progress(void **state)
{
	struct rig *rig = *state;
	struct run *run = start(rig), *again;

	assert_int_equal(note_progress(rig, run, 60, "file 6"), 0);
	assert_int_equal(note_checkpoint(rig, run, "6", 1), 0);
	assert_int_equal(
		rig_finish(rig, run, ATTEMPT_INTERRUPTED,
			(struct run_follow_up){.state = RUN_PENDING, .reason = REASON_HANDED_BACK}),
		0);
	assert_progress(rig, &run->id, 60, "file 6"); /* of the last attempt */
	again = begin_again(rig);
	assert_false(rig_get_run(rig, &run->id)->has_progress);
	assert_checkpoint(rig, &run->id, "6", 1);
	assert_int_equal(note_checkpoint(rig, again, "7", 1), 0);
	assert_false(rig_get_run(rig, &run->id)->has_progress);
	assert_checkpoint(rig, &run->id, "7", 1);
}

static void test_only_the_attempt_that_runs_may_note(void **state)
{
	struct rig *rig = *state;
	struct run *run = start(rig), none = {.id = id_make()};

	assert_int_equal(note_progress(rig, &none, 1, "x"), ERR_STALE);
	assert_int_equal(
		rig_finish(rig, run, ATTEMPT_INTERRUPTED,
			(struct run_follow_up){.state = RUN_PENDING, .reason = REASON_HANDED_BACK}),
		0);
	assert_int_equal(note_checkpoint(rig, run, "x", 1), ERR_STALE);
	(void)begin_again(rig);
	assert_int_equal(note_checkpoint(rig, run, "x", 1), ERR_STALE); /* an older epoch */
	assert_checkpoint(rig, &run->id, NULL, 0);
}

static void test_success_and_cancel_forget_the_checkpoint_failure_keeps_it(void **state)
{
	static const struct {
		enum attempt_outcome outcome;
		enum run_state state;
		enum run_reason reason;
		size_t kept;
	} rows[] = {{ATTEMPT_SUCCEEDED, RUN_SUCCEEDED, REASON_NONE, 0},
		{ATTEMPT_CANCELLED, RUN_CANCELLED, REASON_USER, 0},
		{ATTEMPT_FAILED, RUN_FAILED, REASON_NONE, 2},
		{ATTEMPT_TIMED_OUT, RUN_TIMED_OUT, REASON_NONE, 2},
		{ATTEMPT_INTERRUPTED, RUN_HELD, REASON_SHUTDOWN, 2}};
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "", T0);

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct run *run;

		rig_now_ms = T0 + (int64_t)i * MINUTE_MS;
		run = rig_start(rig, action, rig_now_ms);
		assert_int_equal(note_progress(rig, run, 100, "done"), 0);
		assert_int_equal(note_checkpoint(rig, run, "cp", 2), 0);
		assert_int_equal(rig_finish(rig, run, rows[i].outcome,
					 (struct run_follow_up){.state = rows[i].state,
						 .reason = rows[i].reason,
						 .counts = true}),
			0);
		assert_progress(rig, &run->id, 100, "done");
		assert_checkpoint(rig, &run->id, "cp", rows[i].kept);
	}
}

const struct CMUnitTest note_tests[] = {
	RIG_TEST(test_progress_and_checkpoint_are_kept_apart),
	RIG_TEST(test_a_list_of_runs_shows_progress),
	RIG_TEST(test_the_largest_checkpoint_comes_back_byte_by_byte),
	RIG_TEST(test_the_next_attempt_gets_the_checkpoint_but_not_the_progress),
	RIG_TEST(test_only_the_attempt_that_runs_may_note),
	RIG_TEST(test_success_and_cancel_forget_the_checkpoint_failure_keeps_it),
};
const size_t note_test_count = COUNT_OF(note_tests);
