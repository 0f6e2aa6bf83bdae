/* SPDX-License-Identifier: Apache-2.0
 *
 * look and claim: who wins, and what becomes of each due time. */
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define T0 RIG_EPOCH_MS

/* --- look --- */

static void test_look_shows_what_is_due_within_the_horizon_in_order(void **state)
{
	struct rig *rig = *state;
	struct store_look look = {.horizon_ms = 5000, .limit = 2};

	(void)rig_create(rig, "later", "", T0 + 5001);
	(void)rig_create(rig, "third", "", T0 + 5000);
	(void)rig_create(rig, "first", "", T0 - 5000);
	(void)rig_create(rig, "second", "", T0);
	(void)rig_create(rig, "never", "", NO_TIME);
	assert_int_equal(rig_do(rig, look, &look), 0);
	assert_int_equal(look.ret_now_ms, T0);
	assert_int_equal(look.ret_count, 2);
	assert_true(look.ret_has_more);
	assert_string_equal(look.ret_actions[0]->name, "first");
	assert_int_equal(look.ret_actions[0]->next_due_ms, T0 - 5000);
	assert_string_equal(look.ret_actions[1]->name, "second");
	assert_int_equal(look.ret_pending_at_ms, NO_TIME);
	store_look_fini(&look);
	look.limit = 3;
	assert_int_equal(rig_do(rig, look, &look), 0);
	assert_int_equal(look.ret_count, 3);
	assert_false(look.ret_has_more);
	store_look_fini(&look);
	look.horizon_ms = INT64_MAX;
	look.limit = 10;
	assert_int_equal(rig_do(rig, look, &look), 0);
	assert_int_equal(look.ret_count, 4);
	store_look_fini(&look);
}

static int64_t pending_at(struct rig *rig)
{
	struct store_look look = {.limit = 1};
	int64_t at_ms;

	assert_int_equal(rig_do(rig, look, &look), 0);
	at_ms = look.ret_pending_at_ms;
	store_look_fini(&look);
	return at_ms;
}

static void test_look_tells_when_a_pending_run_may_start(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "\"overlap\": \"queue\"", T0);
	struct run *run;

	assert_int_equal(pending_at(rig), NO_TIME);
	run = rig_start(rig, action, T0);
	assert_int_equal(pending_at(rig), NO_TIME);
	rig_now_ms = T0 + MINUTE_MS;
	assert_true(rig_claim(rig, action, T0 + MINUTE_MS, 1));
	assert_int_equal(
		pending_at(rig), NO_TIME); /* waits for the one that runs, not for a time */
	assert_int_equal(rig_finish(rig, run, ATTEMPT_FAILED,
				 (struct run_follow_up){.state = RUN_PENDING,
					 .reason = REASON_RETRY,
					 .delay_ms = 500,
					 .counts = true}),
		0);
	assert_int_equal(
		pending_at(rig), rig_now_ms + 500); /* order is kept: the older one first */
	rig_now_ms += 500;
	assert_int_equal(pending_at(rig), rig_now_ms);
	rig_now_ms += 500;
	assert_int_equal(pending_at(rig), rig_now_ms);
}

/* --- who wins --- */

/* --- who goes first --- */

/* A pending run of `priority` from T0 on, then at `now_ms` a due time of an action of priority 0
 * with room for both: whether that starts. */
static bool starts_past(struct rig *rig, const char *members, int64_t now_ms)
{
	static int number;
	auto_free char *early = xasprintf("early%d", ++number), *late = xasprintf("late%d", number);
	struct action *waiting, *action;
	bool is_running;

	rig_now_ms = T0;
	waiting = rig_create(rig, early, members, T0);
	action = rig_create(rig, late, "", now_ms);
	assert_true(rig_claim(rig, waiting, T0, 0));
	rig_now_ms = now_ms;
	assert_true(rig_claim(rig, action, now_ms, 2));
	is_running = rig_find_run(rig, action, now_ms)->state == RUN_RUNNING;
	while (rig_take(rig, 9, NULL) > 0)
		;
	return is_running;
}

static void test_claim_does_not_pass_a_pending_run_that_goes_first(void **state)
{
	struct rig *rig = *state;

	assert_true(starts_past(rig, "", T0 + 100)); /* as good as at the same time */
	assert_false(starts_past(rig, "", T0 + 101));
	assert_false(starts_past(rig, "\"priority\": 1", T0));
	assert_true(starts_past(rig, "\"priority\": -1", T0 + MINUTE_MS));
	assert_false(starts_past(rig, "\"priority\": -1", T0 + MINUTE_MS + 101));
}

static void test_claim_passes_a_pending_run_that_cannot_start(void **state)
{
	struct rig *rig = *state;
	struct action *queue = rig_create(rig, "q", "\"overlap\": \"queue\"", T0);
	struct action *other = rig_create(rig, "o", "", T0 + 2 * MINUTE_MS);

	(void)rig_start(rig, queue, T0);
	rig_now_ms = T0 + MINUTE_MS;
	assert_true(rig_claim(rig, queue, rig_now_ms, 1));
	rig_now_ms = T0 + 2 * MINUTE_MS;
	assert_true(rig_claim(rig, other, rig_now_ms, 1));
	assert_run(rig_find_run(rig, other, rig_now_ms), RUN_RUNNING, REASON_NONE);
}

static void test_claim_gives_capacity_in_the_order_of_items(void **state)
{
	struct rig *rig = *state;
	struct action *actions[3] = {rig_create(rig, "a", "", T0 - 1),
		rig_create(rig, "b", "", T0 - 2), rig_create(rig, "c", "", T0)};
	struct planned_due dues[3];
	struct claim_item items[3];
	struct store_claim claim = {.items = items, .count = 3, .capacity = {2, 2}};

	for (size_t i = 0; i < 3; i++) {
		dues[i] = (struct planned_due){
			.due_at_ms = actions[i]->next_due_ms, .count = 1, .verdict = DUE_RUN};
		items[i] = (struct claim_item){.action = actions[i],
			.expected_ms = actions[i]->next_due_ms,
			.dues = &dues[i],
			.due_count = 1,
			.next_due_ms = NO_TIME};
	}
	assert_int_equal(rig_do(rig, claim, &claim), 0);
	store_claim_fini(&claim);
	for (size_t i = 0; i < 3; i++)
		assert_run(rig_find_run(rig, actions[i], actions[i]->next_due_ms),
			i < 2 ? RUN_RUNNING : RUN_PENDING, i < 2 ? REASON_NONE : REASON_QUEUED);
}

/* Every member of the run of T0, claimed 3 ms later. */
static void assert_is_born_running(
	const struct rig *rig, const struct run *run, const struct action *action)
{
	assert_run(run, RUN_RUNNING, REASON_NONE);
	assert_true(id_equal(&run->action_id, &action->id));
	assert_string_equal(run->action_name, "a");
	assert_int_equal(run->action_version, 1);
	assert_int_equal(run->trigger, TRIGGER_SCHEDULE);
	assert_int_equal(run->due_at_ms, T0);
	assert_int_equal(run->attempt, 1);
	assert_int_equal(run->interruptions, 0);
	assert_int_equal(run->epoch, 1);
	assert_true(id_equal(&run->instance_id, &rig->instance_id));
	assert_int_equal(run->priority, 9);
	assert_int_equal(run->not_before_ms, NO_TIME);
	assert_int_equal(run->created_at_ms, T0 + 3);
	assert_int_equal(run->claimed_at_ms, T0 + 3);
	assert_int_equal(run->started_at_ms, T0 + 3);
	assert_int_equal(run->finished_at_ms, NO_TIME);
	assert_int_equal(run->http_status, 0);
	assert_int_equal(run->exit_code, -1);
	assert_null(run->error);
	assert_int_equal(run->missed_count, 1);
	assert_false(run->cancel_requested);
}

static void test_claim_moves_cursor_and_starts_the_run(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "\"priority\": 9", T0);
	struct planned_due due = {.due_at_ms = T0, .until_ms = T0, .count = 1, .verdict = DUE_RUN};
	struct claim_item item = {.action = action,
		.expected_ms = T0,
		.dues = &due,
		.due_count = 1,
		.next_due_ms = T0 + MINUTE_MS};
	struct store_claim claim = {.items = &item, .count = 1, .capacity = {5, 5}};
	struct run *stored;

	rig_now_ms = T0 + 3;
	assert_int_equal(rig_do(rig, claim, &claim), 0);
	assert_true(item.ret_won);
	assert_int_equal(claim.ret_now_ms, T0 + 3);
	assert_int_equal(claim.ret_started_count, 1);
	assert_ptr_equal(claim.ret_started[0].action, action);
	assert_int_equal(claim.ret_queued + claim.ret_skipped + claim.ret_cancel_count, 0);
	assert_int_equal(claim.capacity[ACTION_EXEC], 5); /* an input stays */
	stored = rig_get_run(rig, &claim.ret_started[0].id);
	assert_is_born_running(rig, &claim.ret_started[0], action);
	assert_is_born_running(rig, stored, action);
	store_claim_fini(&claim);
	assert_int_equal(rig_get(rig, &action->id)->next_due_ms, T0 + MINUTE_MS);
	assert_int_equal(rig_get(rig, &action->id)->version, 1);
}

static void test_claim_lost_leaves_no_trace(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "", T0 + 1);
	struct action *gone = rig_create(rig, "gone", "", T0);
	struct action *manual = rig_create(rig, "manual", "", NO_TIME);
	struct store_delete_action delete = {.id = gone->id};
	struct store_pause_action pause = {
		.id = action->id, .is_paused = true, .next_due_ms = T0 + 1};

	assert_int_equal(rig_do(rig, delete_action, &delete), 0);
	assert_false(rig_claim(rig, gone, T0, 1));        /* the row is gone */
	assert_false(rig_claim(rig, action, T0 + 1, 1));  /* the cursor is after now */
	assert_false(rig_claim(rig, action, T0, 1));      /* the cursor is another */
	assert_false(rig_claim(rig, manual, NO_TIME, 1)); /* there is no cursor */
	rig_now_ms = T0 + 1;
	assert_int_equal(rig_do(rig, pause_action, &pause), 0);
	store_pause_action_fini(&pause);
	assert_false(rig_claim(rig, action, T0 + 1, 1)); /* the version is another */
	assert_int_equal(rig_run_count(rig, action), 0);
	assert_int_equal(rig_get(rig, &action->id)->next_due_ms, T0 + 1);
}

static void test_claim_same_due_twice_wins_once(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "", T0);

	assert_true(rig_claim(rig, action, T0, 1));
	assert_false(rig_claim(rig, action, T0, 1));
	assert_int_equal(rig_run_count(rig, action), 1);
}

static void test_claim_items_stand_for_themselves(void **state)
{
	struct rig *rig = *state;
	struct action *late = rig_create(rig, "late", "", T0),
		      *early = rig_create(rig, "early", "", T0 - 9);
	struct action *future = rig_create(rig, "future", "", T0 + 1);
	struct planned_due dues[3] = {
		{T0, T0, 1, DUE_RUN}, {T0 - 9, T0 - 9, 1, DUE_RUN}, {T0 + 1, T0 + 1, 1, DUE_RUN}};
	struct claim_item items[4] = {{.action = late, .expected_ms = T0},
		{.action = future, .expected_ms = T0 + 1}, {.action = early, .expected_ms = T0 - 9},
		{.action = late, .expected_ms = T0}};
	struct store_claim claim = {.items = items, .count = 4, .capacity = {9, 9}};

	items[0].dues = items[3].dues = &dues[0];
	items[1].dues = &dues[2];
	items[2].dues = &dues[1];
	for (int i = 0; i < 4; i++) {
		items[i].due_count = 1;
		items[i].next_due_ms = NO_TIME;
	}
	assert_int_equal(rig_do(rig, claim, &claim), 0);
	assert_true(items[0].ret_won && items[2].ret_won);
	assert_false(items[1].ret_won || items[3].ret_won); /* the second time the cursor is gone */
	assert_int_equal(claim.ret_started_count, 2);
	assert_ptr_equal(claim.ret_started[0].action, early); /* in due order */
	assert_ptr_equal(claim.ret_started[1].action, late);
	store_claim_fini(&claim);
	assert_int_equal(rig_get(rig, &late->id)->next_due_ms, NO_TIME);
	assert_int_equal(rig_get(rig, &future->id)->next_due_ms, T0 + 1);
}

/* --- what becomes of each --- */

/* Claims `count` due times, T0 and the minutes after it, with this verdict. */
static void claim_row(struct rig *rig, struct action *action, size_t count,
	enum due_verdict verdict, int capacity, struct store_claim *claim)
{
	static struct planned_due dues[8];
	static struct claim_item item;

	for (size_t i = 0; i < count; i++)
		dues[i] = (struct planned_due){
			T0 + (int64_t)i * MINUTE_MS, T0 + (int64_t)i * MINUTE_MS, 1, verdict};
	rig_now_ms = dues[count - 1].due_at_ms;
	item = (struct claim_item){.action = action,
		.expected_ms = T0,
		.dues = dues,
		.due_count = count,
		.next_due_ms = rig_now_ms + MINUTE_MS};
	*claim = (struct store_claim){.items = &item, .count = 1, .capacity = {capacity, capacity}};
	assert_int_equal(rig_do(rig, claim, claim), 0);
	assert_true(item.ret_won);
}

static struct run *nth(struct rig *rig, struct action *action, int n)
{
	return rig_find_run(rig, action, T0 + n * MINUTE_MS);
}

static void test_claim_skipped_rows_say_why_and_how_many(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "", T0 - 10 * MINUTE_MS);
	struct planned_due dues[3] = {{T0 - 10 * MINUTE_MS, T0 - 10 * MINUTE_MS, 1, DUE_SKIP_LATE},
		{T0 - 9 * MINUTE_MS, T0 - 5 * MINUTE_MS, 5, DUE_SKIP_LIMIT}, {T0, T0, 1, DUE_RUN}};
	struct claim_item item = {.action = action,
		.expected_ms = T0 - 10 * MINUTE_MS,
		.dues = dues,
		.due_count = 3,
		.next_due_ms = T0 + MINUTE_MS};
	struct store_claim claim = {.items = &item, .count = 1, .capacity = {1, 1}};
	struct run *run;

	assert_int_equal(rig_do(rig, claim, &claim), 0);
	assert_int_equal(claim.ret_skipped, 2);
	assert_int_equal(claim.ret_started_count, 1);
	store_claim_fini(&claim);
	run = rig_find_run(rig, action, T0 - 10 * MINUTE_MS);
	assert_run(run, RUN_SKIPPED, REASON_LATE);
	assert_int_equal(run->missed_count, 1);
	assert_int_equal(run->attempt, 0);
	assert_int_equal(run->epoch, 0);
	assert_int_equal(run->claimed_at_ms, NO_TIME);
	assert_true(id_is_zero(&run->instance_id));
	run = rig_find_run(rig, action, T0 - 9 * MINUTE_MS);
	assert_run(run, RUN_SKIPPED, REASON_LIMIT);
	assert_int_equal(run->missed_count, 5);
	assert_int_equal(run->missed_until_ms, T0 - 5 * MINUTE_MS);
}

static void test_claim_paused_is_skipped(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "", T0);
	struct store_pause_action pause = {.id = action->id, .is_paused = true, .next_due_ms = T0};
	struct store_claim claim;

	assert_int_equal(rig_do(rig, pause_action, &pause), 0);
	claim_row(rig, pause.ret_action, 2, DUE_RUN, 9, &claim);
	assert_int_equal(claim.ret_skipped, 2);
	assert_run(nth(rig, action, 0), RUN_SKIPPED, REASON_PAUSED);
	assert_run(nth(rig, action, 1), RUN_SKIPPED, REASON_PAUSED);
	store_claim_fini(&claim);
	store_pause_action_fini(&pause);
}

static void test_claim_overlap_skip(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "\"overlap\": \"skip\"", T0);
	struct action *waits = rig_create(rig, "b", "\"overlap\": \"skip\"", T0);
	struct store_claim claim;

	claim_row(rig, action, 3, DUE_RUN, 9, &claim);
	store_claim_fini(&claim);
	assert_run(nth(rig, action, 0), RUN_RUNNING, REASON_NONE);
	assert_run(nth(rig, action, 1), RUN_SKIPPED, REASON_OVERLAP);
	assert_run(nth(rig, action, 2), RUN_SKIPPED, REASON_OVERLAP);
	claim_row(rig, waits, 2, DUE_RUN, 0, &claim); /* a pending one blocks as well */
	store_claim_fini(&claim);
	assert_run(nth(rig, waits, 0), RUN_PENDING, REASON_QUEUED);
	assert_run(nth(rig, waits, 1), RUN_SKIPPED, REASON_OVERLAP);
}

static void test_claim_overlap_queue_up_to_its_limit(void **state)
{
	struct rig *rig = *state;
	struct action *action =
		rig_create(rig, "a", "\"overlap\": \"queue\", \"queue_limit\": 2", T0);
	struct store_claim claim;

	claim_row(rig, action, 5, DUE_RUN, 9, &claim);
	assert_int_equal(claim.ret_started_count, 1);
	assert_int_equal(claim.ret_queued, 2);
	assert_int_equal(claim.ret_skipped, 2);
	store_claim_fini(&claim);
	assert_run(nth(rig, action, 0), RUN_RUNNING, REASON_NONE);
	assert_run(nth(rig, action, 1), RUN_PENDING, REASON_QUEUED);
	assert_run(nth(rig, action, 2), RUN_PENDING, REASON_QUEUED);
	assert_run(nth(rig, action, 3), RUN_SKIPPED, REASON_LIMIT);
	assert_run(nth(rig, action, 4), RUN_SKIPPED, REASON_LIMIT);
}

static void test_claim_overlap_allow_up_to_capacity(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "\"overlap\": \"allow\"", T0);
	struct store_claim claim;

	claim_row(rig, action, 4, DUE_RUN, 3, &claim);
	assert_int_equal(claim.ret_started_count, 3);
	assert_int_equal(claim.ret_queued, 1);
	store_claim_fini(&claim);
	assert_run(nth(rig, action, 2), RUN_RUNNING, REASON_NONE);
	assert_run(nth(rig, action, 3), RUN_PENDING, REASON_QUEUED);
}

static void test_claim_overlap_cancel_running_makes_room(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "\"overlap\": \"cancel_running\"", T0);
	struct store_claim claim;
	struct run *first;

	claim_row(rig, action, 3, DUE_RUN, 9, &claim);
	first = nth(rig, action, 0);
	assert_int_equal(claim.ret_started_count, 1);
	assert_int_equal(claim.ret_cancel_count, 1); /* told once */
	assert_true(id_equal(&claim.ret_cancel[0], &first->id));
	store_claim_fini(&claim);
	assert_int_equal(first->state, RUN_RUNNING);
	assert_true(first->cancel_requested);
	assert_run(nth(rig, action, 1), RUN_CANCELLED, REASON_OVERLAP);
	assert_int_equal(nth(rig, action, 1)->finished_at_ms, rig_now_ms);
	assert_run(nth(rig, action, 2), RUN_PENDING, REASON_QUEUED);
	/* its executor ends it; asked or not, it is not tried again */
	assert_int_equal(
		rig_finish(rig, first, ATTEMPT_FAILED,
			(struct run_follow_up){
				.state = RUN_PENDING, .reason = REASON_RETRY, .counts = true}),
		0);
	assert_run(nth(rig, action, 0), RUN_CANCELLED, REASON_OVERLAP);
	assert_int_equal(rig_take(rig, 5, NULL), 1);
	assert_run(nth(rig, action, 2), RUN_RUNNING, REASON_NONE);
}

static void test_claim_overlap_cancel_running_replaces_one_that_waits(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "\"overlap\": \"cancel_running\"", T0);

	assert_true(rig_claim(rig, action, T0, 0));
	rig_now_ms = T0 + MINUTE_MS;
	assert_true(rig_claim(rig, action, T0 + MINUTE_MS, 1));
	assert_run(nth(rig, action, 0), RUN_CANCELLED, REASON_OVERLAP);
	assert_run(nth(rig, action, 1), RUN_PENDING, REASON_QUEUED); /* it stood before others */
	assert_int_equal(rig_take(rig, 1, NULL), 1);
	assert_run(nth(rig, action, 1), RUN_RUNNING, REASON_NONE);
}

static void test_claim_capacity_is_by_kind(void **state)
{
	struct rig *rig = *state;
	struct action *program = rig_create(rig, "p", "", T0);
	struct action *hook = rig_create(rig, "h",
		"\"kind\": \"http\", \"exec\": null, \"http\": {\"url\": \"http://127.0.0.1:1/\"}",
		T0);
	struct planned_due due = {T0, T0, 1, DUE_RUN};
	struct claim_item items[2] = {{.action = program}, {.action = hook}};
	struct store_claim claim = {.items = items, .count = 2, .capacity = {[ACTION_HTTP] = 1}};

	for (int i = 0; i < 2; i++) {
		items[i].expected_ms = T0;
		items[i].dues = &due;
		items[i].due_count = 1;
		items[i].next_due_ms = NO_TIME;
	}
	assert_int_equal(rig_do(rig, claim, &claim), 0);
	assert_int_equal(claim.ret_started_count, 1);
	assert_ptr_equal(claim.ret_started[0].action, hook);
	store_claim_fini(&claim);
	assert_run(nth(rig, program, 0), RUN_PENDING, REASON_QUEUED);
}

static void test_claim_due_time_with_a_row_gets_no_second(void **state)
{
	struct rig *rig = *state;
	struct action *action =
		rig_create(rig, "a", "\"overlap\": \"cancel_running\"", T0 - MINUTE_MS);
	struct run *manual = rig_trigger(rig, action); /* at T0, which is a due time too */
	struct planned_due dues[2] = {
		{T0 - MINUTE_MS, T0 - MINUTE_MS, 1, DUE_SKIP_LATE}, {T0, T0, 1, DUE_RUN}};
	struct claim_item item = {.action = action,
		.expected_ms = T0 - MINUTE_MS,
		.dues = dues,
		.due_count = 2,
		.next_due_ms = T0 + MINUTE_MS};
	struct store_claim claim = {.items = &item, .count = 1, .capacity = {9, 9}};

	assert_int_equal(manual->due_at_ms, T0);
	assert_int_equal(rig_do(rig, claim, &claim), 0);
	assert_true(item.ret_won);
	assert_int_equal(claim.ret_started_count + claim.ret_queued, 0);
	assert_int_equal(claim.ret_skipped, 1);
	store_claim_fini(&claim);
	assert_int_equal(rig_run_count(rig, action), 2);
	assert_run(rig_get_run(rig, &manual->id), RUN_PENDING, REASON_QUEUED);
	assert_int_equal(rig_get(rig, &action->id)->next_due_ms, T0 + MINUTE_MS);
}

const struct CMUnitTest claim_tests[] = {
	RIG_TEST(test_look_shows_what_is_due_within_the_horizon_in_order),
	RIG_TEST(test_look_tells_when_a_pending_run_may_start),
	RIG_TEST(test_claim_does_not_pass_a_pending_run_that_goes_first),
	RIG_TEST(test_claim_passes_a_pending_run_that_cannot_start),
	RIG_TEST(test_claim_gives_capacity_in_the_order_of_items),
	RIG_TEST(test_claim_moves_cursor_and_starts_the_run),
	RIG_TEST(test_claim_lost_leaves_no_trace),
	RIG_TEST(test_claim_same_due_twice_wins_once),
	RIG_TEST(test_claim_items_stand_for_themselves),
	RIG_TEST(test_claim_skipped_rows_say_why_and_how_many),
	RIG_TEST(test_claim_paused_is_skipped),
	RIG_TEST(test_claim_overlap_skip),
	RIG_TEST(test_claim_overlap_queue_up_to_its_limit),
	RIG_TEST(test_claim_overlap_allow_up_to_capacity),
	RIG_TEST(test_claim_overlap_cancel_running_makes_room),
	RIG_TEST(test_claim_overlap_cancel_running_replaces_one_that_waits),
	RIG_TEST(test_claim_capacity_is_by_kind),
	RIG_TEST(test_claim_due_time_with_a_row_gets_no_second),
};
const size_t claim_test_count = COUNT_OF(claim_tests);
