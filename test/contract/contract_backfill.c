/* SPDX-License-Identifier: Apache-2.0
 *
 * Backfills: each due time once, whatever is in the ledger already, and never in anybody's way. */
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "store/backfill.h"

#define T0       RIG_EPOCH_MS
#define DUE(n)   (T0 - 100 * MINUTE_MS + (n)*MINUTE_MS)
#define LAST_DUE 5

static struct backfill begin(
	struct rig *rig, const struct action *action, enum backfill_rerun rerun)
{
	const struct backfill given = {.action_id = action->id,
		.action_name = action->name,
		.seed = action->name,
		.schedule = (char *)"{\"every\":\"1m\"}",
		.rerun = rerun,
		.from_ms = DUE(0),
		.to_ms = DUE(LAST_DUE),
		.cursor_ms = DUE(0),
		.total = LAST_DUE,
		.interval_ms = 1000,
		.max_open = 10};
	struct store_create_backfill create = {.backfill = &given};
	struct backfill made;

	if (rig_do(rig, create_backfill, &create) < 0)
		fail_msg("%s", create.req.err.text);
	made = create.ret_backfill;
	assert_string_equal(made.schedule, given.schedule);
	store_create_backfill_fini(&create);
	return made;
}

/* The due times from `first` to before `end`, at most `max_new` runs. */
static struct store_advance_backfill advance(
	struct rig *rig, const struct backfill *backfill, int first, int end, size_t max_new)
{
	int64_t dues[LAST_DUE];
	struct store_advance_backfill advance = {.id = backfill->id,
		.cursor_ms = first < LAST_DUE ? DUE(first) : NO_TIME,
		.dues = dues,
		.next_cursor_ms = end < LAST_DUE ? DUE(end) : NO_TIME,
		.max_new = max_new};

	for (int n = first; n < end; n++)
		dues[advance.count++] = DUE(n);
	assert_int_equal(rig_do(rig, advance_backfill, &advance), 0);
	return advance;
}

/* As it stands now; the strings are gone. */
static struct backfill look(struct rig *rig, const struct backfill *backfill)
{
	struct store_list_backfills list = {.id = backfill->id, .limit = 1};
	struct backfill found;

	assert_int_equal(rig_do(rig, list_backfills, &list), 0);
	assert_int_equal(list.ret_count, 1);
	assert_int_equal(list.ret_now_ms, rig_now_ms);
	found = list.ret_backfills[0];
	store_list_backfills_fini(&list);
	return found;
}

static struct action *allowing(struct rig *rig, const char *name)
{
	return rig_create(rig, name, "\"overlap\": \"allow\", \"priority\": 5", T0);
}

static void test_backfill_looks_at_each_due_time_once_and_is_done_when_its_runs_are(void **state)
{
	struct rig *rig = *state;
	struct action *action = allowing(rig, "a");
	struct backfill backfill = begin(rig, action, BACKFILL_RERUN_NONE), seen;
	struct store_advance_backfill moved = advance(rig, &backfill, 0, 3, 2);
	struct run *run;

	assert_int_equal(backfill.number, 1);
	assert_true(moved.ret_won);
	assert_int_equal(moved.ret_made, 2);
	assert_false(advance(rig, &backfill, 0, 3, 2).ret_won); /* another instance, too late */
	seen = look(rig, &backfill);
	assert_int_equal(seen.cursor_ms, DUE(2));
	assert_int_equal(seen.made, 2);
	assert_int_equal(seen.runs[RUN_PENDING], 2);
	assert_int_equal(seen.next_at_ms, T0 + 2000);
	rig_now_ms = T0 + 60000;
	assert_true(advance(rig, &backfill, 2, LAST_DUE, 9).ret_won);
	assert_int_equal(look(rig, &backfill).next_at_ms, T0 + 60000 - 1000 + 3000);
	run = rig_find_run(rig, action, DUE(4));
	assert_run(run, RUN_PENDING, REASON_QUEUED);
	assert_int_equal(run->trigger, TRIGGER_BACKFILL);
	assert_int_equal(run->backfill, 1);
	assert_int_equal(run->priority, BACKFILL_PRIORITY);
	for (int n = 0; n < LAST_DUE; n++) {
		assert_false(advance(rig, &backfill, LAST_DUE, LAST_DUE, 9).ret_is_done);
		assert_int_equal(rig_take(rig, 1, &run), 1);
		assert_int_equal(run->due_at_ms, DUE(n));
		assert_int_equal(rig_succeed(rig, run), 0);
	}
	assert_true(advance(rig, &backfill, LAST_DUE, LAST_DUE, 9).ret_is_done);
	seen = look(rig, &backfill);
	assert_int_equal(seen.state, BACKFILL_DONE);
	assert_int_equal(seen.finished_at_ms, rig_now_ms);
	assert_int_equal(seen.runs[RUN_SUCCEEDED], LAST_DUE);
	assert_false(advance(rig, &backfill, LAST_DUE, LAST_DUE, 9).ret_won);
	assert_int_equal(rig_run_count(rig, action), LAST_DUE);
}

/* In the ledger: due times 0 succeeded, 1 failed, 2 skipped, 3 running, 4 none. */
static struct action *with_a_past(struct rig *rig)
{
	struct action *action = allowing(rig, "a");
	const enum due_verdict late = DUE_SKIP_LATE;
	struct run *runs[LAST_DUE];

	for (int n = 0; n < 4; n++) {
		struct planned_due due = {.due_at_ms = DUE(n), .count = 1};
		struct claim_item item = {.action = action,
			.expected_ms = rig_get(rig, &action->id)->next_due_ms,
			.dues = &due,
			.due_count = 1,
			.next_due_ms = T0};
		struct store_claim claim = {.items = &item, .count = 1, .capacity = {9, 9}};

		if (n == 2)
			due.verdict = late;
		assert_int_equal(rig_do(rig, claim, &claim), 0);
		assert_true(item.ret_won);
		store_claim_fini(&claim);
		runs[n] = rig_find_run(rig, action, DUE(n));
	}
	assert_int_equal(rig_succeed(rig, runs[0]), 0);
	assert_int_equal(rig_finish(rig, runs[1], ATTEMPT_FAILED,
				 (struct run_follow_up){.state = RUN_FAILED, .counts = true}),
		0);
	return action;
}

static void test_backfill_reruns_what_it_is_told_to(void **state)
{
	static const struct {
		enum backfill_rerun rerun;
		int made;
	} rows[] = {{BACKFILL_RERUN_NONE, 2}, {BACKFILL_RERUN_FAILED, 1}, {BACKFILL_RERUN_ALL, 5}};
	struct rig *rig = *state;
	struct action *action = with_a_past(rig);
	struct store_list_runs list = {.limit = 9,
		.action_id = action->id,
		.states = 1u << RUN_SKIPPED,
		.trigger = -1,
		.due_from_ms = DUE(2),
		.due_to_ms = DUE(3)};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct backfill backfill = begin(rig, action, rows[i].rerun);
		struct store_advance_backfill moved = advance(rig, &backfill, 0, LAST_DUE, 9);
		struct store_cancel_backfill cancel = {.id = backfill.id};

		/* the second finds due time 1 failed, and 2 and 4 cancelled with the first */
		assert_int_equal(moved.ret_made, i == 1 ? 3 : rows[i].made);
		assert_int_equal(moved.ret_made + moved.ret_passed, LAST_DUE);
		assert_int_equal(rig_do(rig, cancel_backfill, &cancel), 0);
		store_cancel_backfill_fini(&cancel);
	}
	assert_int_equal(rig_do(rig, list_runs, &list), 0);
	assert_int_equal(list.ret_count, 1); /* the row that tells why it was not run then stays */
	assert_run(&list.ret_runs[0], RUN_SKIPPED, REASON_LATE);
	store_list_runs_fini(&list);
	assert_int_equal(rig_run_count(rig, action), 4 + 2 + 3 + 5);
}

static void test_backfill_is_refused_while_another_is_not_over(void **state)
{
	struct rig *rig = *state;
	struct action *action = allowing(rig, "a");
	struct backfill backfill = begin(rig, action, BACKFILL_RERUN_NONE);
	struct backfill given = backfill;
	struct store_create_backfill create = {.backfill = &given};
	struct store_cancel_backfill cancel = {.id = backfill.id};

	given.seed = given.action_name = given.schedule = (char *)"{}";
	assert_int_equal(rig_do(rig, create_backfill, &create), ERR_CONFLICT);
	assert_non_null(strstr(create.req.err.text, "is not over"));
	given.action_id = id_make();
	assert_int_equal(rig_do(rig, create_backfill, &create), ERR_NOT_FOUND);
	assert_int_equal(rig_do(rig, cancel_backfill, &cancel), 0);
	store_cancel_backfill_fini(&cancel);
	assert_int_equal(begin(rig, action, BACKFILL_RERUN_NONE).number, 2);
	assert_int_equal(begin(rig, allowing(rig, "b"), BACKFILL_RERUN_NONE).number, 1);
}

static void test_backfill_cancelled_ends_what_waits_and_what_runs(void **state)
{
	struct rig *rig = *state;
	struct action *action = allowing(rig, "a");
	struct backfill backfill = begin(rig, action, BACKFILL_RERUN_NONE), seen;
	struct store_cancel_backfill cancel = {.id = backfill.id};
	struct run *running;

	(void)advance(rig, &backfill, 0, 3, 9);
	assert_int_equal(rig_take(rig, 1, &running), 1);
	rig_now_ms++;
	assert_int_equal(rig_do(rig, cancel_backfill, &cancel), 0);
	assert_int_equal(cancel.ret_cancel_count, 1);
	assert_true(id_equal(&cancel.ret_cancel[0], &running->id));
	store_cancel_backfill_fini(&cancel);
	seen = look(rig, &backfill);
	assert_int_equal(seen.state, BACKFILL_CANCELLED);
	assert_int_equal(seen.finished_at_ms, rig_now_ms);
	assert_int_equal(seen.runs[RUN_CANCELLED], 2);
	assert_true(rig_get_run(rig, &running->id)->cancel_requested);
	assert_false(advance(rig, &backfill, 3, LAST_DUE, 9).ret_won);
	assert_int_equal(rig_do(rig, cancel_backfill, &cancel), ERR_CONFLICT);
	cancel.id = id_make();
	assert_int_equal(rig_do(rig, cancel_backfill, &cancel), ERR_NOT_FOUND);
}

static void test_backfill_waits_while_the_action_is_paused_and_goes_with_it(void **state)
{
	struct rig *rig = *state;
	struct action *action = allowing(rig, "a");
	struct backfill backfill = begin(rig, action, BACKFILL_RERUN_NONE);
	struct store_pause_action pause = {.id = action->id, .is_paused = true, .next_due_ms = T0};
	struct store_delete_action delete = {.id = action->id};
	struct store_list_backfills list = {.limit = 9, .only_running = true};

	assert_int_equal(rig_do(rig, pause_action, &pause), 0);
	store_pause_action_fini(&pause);
	assert_false(advance(rig, &backfill, 0, 3, 9).ret_won);
	assert_true(look(rig, &backfill).is_action_paused);
	assert_int_equal(rig_do(rig, list_backfills, &list), 0);
	assert_int_equal(list.ret_count, 1);
	store_list_backfills_fini(&list);
	assert_int_equal(rig_do(rig, delete_action, &delete), 0);
	store_delete_action_fini(&delete);
	assert_int_equal(rig_do(rig, list_backfills, &list), 0);
	assert_int_equal(list.ret_count, 0);
	store_list_backfills_fini(&list);
}

static void test_ordinary_due_time_is_neither_skipped_nor_beside_a_backfill(void **state)
{
	static const char *const overlaps[] = {"skip", "queue", "cancel_running"};
	struct rig *rig = *state;

	for (size_t i = 0; i < COUNT_OF(overlaps); i++) {
		auto_free char *members = xasprintf("\"overlap\": \"%s\"", overlaps[i]);
		struct action *action = rig_create(rig, overlaps[i], members, T0);
		struct backfill backfill = begin(rig, action, BACKFILL_RERUN_NONE);
		struct run *past, *due;

		(void)advance(rig, &backfill, 0, 3, 9);
		assert_int_equal(rig_take(rig, 9, &past), 1); /* one at a time */
		assert_true(rig_claim(rig, action, T0, 9));
		due = rig_find_run(rig, action, T0);
		assert_run(due, RUN_PENDING, REASON_QUEUED);
		assert_false(rig_get_run(rig, &past->id)->cancel_requested);
		assert_int_equal(rig_take(rig, 9, &due), 0);
		assert_int_equal(rig_succeed(rig, past), 0);
		assert_int_equal(rig_take(rig, 9, &due), 1); /* before the older ones of the past */
		assert_int_equal(due->due_at_ms, T0);
		assert_int_equal(rig_succeed(rig, due), 0);
		assert_int_equal(rig_take(rig, 9, &past), 1);
		assert_int_equal(past->due_at_ms, DUE(1));
		assert_int_equal(rig_succeed(rig, past), 0);
		assert_int_equal(rig_take(rig, 9, &past), 1);
		assert_int_equal(rig_succeed(rig, past), 0);
	}
}

static void test_due_time_that_a_backfill_has_run_is_not_run_by_the_claim(void **state)
{
	static const char *const overlaps[] = {"skip", "allow", "cancel_running"};
	struct rig *rig = *state;

	for (size_t i = 0; i < COUNT_OF(overlaps); i++) {
		auto_free char *members = xasprintf("\"overlap\": \"%s\"", overlaps[i]);
		struct action *action = rig_create(rig, overlaps[i], members, DUE(0));
		struct backfill backfill = begin(rig, action, BACKFILL_RERUN_NONE);

		assert_int_equal(advance(rig, &backfill, 0, 1, 9).ret_made, 1);
		assert_true(rig_claim(rig, action, DUE(0), 9)); /* it moves the cursor */
		assert_int_equal(rig_only_run(rig, action)->trigger, TRIGGER_BACKFILL);
	}
}

const struct CMUnitTest backfill_tests[] = {
	RIG_TEST(test_backfill_looks_at_each_due_time_once_and_is_done_when_its_runs_are),
	RIG_TEST(test_backfill_reruns_what_it_is_told_to),
	RIG_TEST(test_backfill_is_refused_while_another_is_not_over),
	RIG_TEST(test_backfill_cancelled_ends_what_waits_and_what_runs),
	RIG_TEST(test_backfill_waits_while_the_action_is_paused_and_goes_with_it),
	RIG_TEST(test_ordinary_due_time_is_neither_skipped_nor_beside_a_backfill),
	RIG_TEST(test_due_time_that_a_backfill_has_run_is_not_run_by_the_claim),
};
const size_t backfill_test_count = COUNT_OF(backfill_tests);
