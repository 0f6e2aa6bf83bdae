/* SPDX-License-Identifier: Apache-2.0
 *
 * What is kept of the ledger and what goes; who is told how an action fares; how many may wait. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "rig.h"
#include "store/care.h"

#define T0           RIG_EPOCH_MS
#define HOUR         (60 * MINUTE_MS)
#define DAY          (24 * HOUR)
#define ALL          (1 << 20)
#define STATE(state) (1u << RUN_##state)

static const struct run_follow_up failed = {.state = RUN_FAILED, .counts = true};

/* Any further one waits for its turn, whatever else does. */
#define FREELY "\"overlap\": \"allow\""

/* --- shorthands --- */

static struct run *begin(struct rig *rig, struct action *action)
{
	(void)rig_trigger(rig, action);
	(void)rig_take(rig, 1000, NULL);
	return rig_newest_run(rig, action, STATE(RUNNING));
}

static void succeed(struct rig *rig, struct action *action)
{
	assert_int_equal(rig_succeed(rig, begin(rig, action)), 0);
}

static void fail_once(struct rig *rig, struct action *action)
{
	assert_int_equal(rig_finish(rig, begin(rig, action), ATTEMPT_FAILED, failed), 0);
}

/* A whole walk in steps of `limit`; how many runs went. */
static int64_t retain(struct rig *rig, struct store_retain walk)
{
	int64_t removed = 0;
	int steps = 0;

	walk.actions_max = walk.actions_max ? walk.actions_max : ALL;
	walk.limit = walk.limit ? walk.limit : ALL;
	do {
		assert_int_equal(rig_do(rig, retain, &walk), 0);
		assert_true(walk.ret_removed <= walk.limit);
		removed += walk.ret_removed;
		walk.after = walk.ret_after;
		assert_true(++steps < 1000);
	} while (!walk.ret_is_done);
	return removed;
}

static int64_t lapse(struct rig *rig, int64_t *ret_next_ms)
{
	struct store_lapse req = {.limit = 100};
	int64_t count;

	assert_int_equal(rig_do(rig, lapse, &req), 0);
	assert_true(req.ret_now_ms == rig_now_ms);
	if (ret_next_ms)
		*ret_next_ms = req.ret_next_ms;
	count = req.ret_count;
	store_lapse_fini(&req);
	return count;
}

static int64_t renew_ms(struct rig *rig)
{
	struct store_lapse req = {.limit = 100};

	assert_int_equal(rig_do(rig, lapse, &req), 0);
	assert_int_equal(req.ret_count, 0);
	store_lapse_fini(&req);
	return req.ret_renew_ms;
}

static void set_pause(struct rig *rig, const struct action *action, bool is_paused)
{
	struct store_pause_action req = {
		.id = action->id, .is_paused = is_paused, .next_due_ms = NO_TIME};

	assert_int_equal(rig_do(rig, pause_action, &req), 0);
	store_pause_action_fini(&req);
}

static void replace(struct rig *rig, const struct action *action, const char *members)
{
	struct store_replace_action req = {
		.id = action->id, .action = rig_define(rig, action->name, members)};

	assert_int_equal(rig_do(rig, replace_action, &req), 0);
	store_replace_action_fini(&req);
}

static void delete_action(struct rig *rig, const struct action *action)
{
	struct store_delete_action req = {.id = action->id};

	assert_int_equal(rig_do(rig, delete_action, &req), 0);
	store_delete_action_fini(&req);
}

static struct action *waits_for(struct rig *rig, const char *name, const char *event)
{
	auto_free char *members = xasprintf("\"schedule\": {\"on\": \"%s\"}, " FREELY, event);

	return rig_create(rig, name, members, NO_TIME);
}

/* The newest alert that has started a run of `listener`, which has as many. */
static void assert_alert(
	struct rig *rig, struct action *listener, size_t count, const char *event, const char *part)
{
	const struct run *run;

	assert_int_equal(rig_run_count(rig, listener), count);
	run = rig_get_run(rig, &rig_newest_run(rig, listener, 0)->id);
	assert_int_equal(run->trigger, TRIGGER_EVENT);
	assert_string_equal(run->event, event);
	if (!strstr(run->payload, part))
		fail_msg("no %s in %s", part, run->payload);
}

/* --- retention --- */

static void test_ended_runs_go_by_age_and_the_newest_stays(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", FREELY, NO_TIME);

	for (int day = 0; day < 4; day++) {
		succeed(rig, action);
		rig_now_ms += DAY;
	}
	assert_int_equal(retain(rig, (struct store_retain){.server.age_ms = 0}), 0);
	assert_int_equal(retain(rig, (struct store_retain){.server.age_ms = 3 * DAY}), 1);
	assert_int_equal(rig_run_count(rig, action), 3);
	rig_now_ms += 100 * DAY;
	assert_int_equal(retain(rig, (struct store_retain){.server.age_ms = DAY}), 2);
	assert_int_equal(rig_only_run(rig, action)->due_at_ms, T0 + 3 * DAY);
	assert_int_equal(retain(rig, (struct store_retain){.server.age_ms = DAY}), 0);
}

/* What somebody still has to do with stays, however old; and age counts from the end. */
static void test_open_and_held_runs_never_go(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", FREELY, NO_TIME);
	struct run *running = begin(rig, action), *late = begin(rig, action);
	struct run *pending = rig_trigger(rig, action);
	struct run *held = rig_trigger(rig, action);
	struct store_change_run hold = {.id = held->id, .change = RUN_PAUSE};

	assert_int_equal(rig_do(rig, change_run, &hold), 0);
	store_change_run_fini(&hold);
	rig_now_ms += 50 * DAY;
	assert_int_equal(rig_succeed(rig, late), 0);
	rig_now_ms += DAY;
	succeed(rig, action);
	rig_now_ms += HOUR;
	assert_int_equal(
		retain(rig, (struct store_retain){.server = {2 * DAY, 1}}), 1); /* by number */
	assert_int_equal(rig_get_run(rig, &running->id)->state, RUN_RUNNING);
	assert_int_equal(rig_get_run(rig, &held->id)->state, RUN_HELD);
	(void)pending; /* became running with the last begin */
	assert_int_equal(rig_run_count(rig, action), 4);
}

static void test_number_of_runs_is_kept_but_none_that_just_ended_goes(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", FREELY, NO_TIME);

	for (int i = 0; i < 5; i++)
		succeed(rig, action);
	assert_int_equal(retain(rig, (struct store_retain){.server.count = 2}), 0);
	rig_now_ms += RETAIN_YOUNG_MS + 1;
	assert_int_equal(retain(rig, (struct store_retain){.server.count = 5}), 0);
	assert_int_equal(retain(rig, (struct store_retain){.server.count = 2}), 3);
	assert_int_equal(rig_run_count(rig, action), 2);
}

static void test_own_retention_goes_before_the_servers(void **state)
{
	struct rig *rig = *state;
	struct action *longer =
		rig_create(rig, "longer", FREELY ", \"retention\": {\"age\": \"30d\"}", NO_TIME);
	struct action *fewer =
		rig_create(rig, "fewer", FREELY ", \"retention\": {\"count\": 1}", NO_TIME);

	for (int i = 0; i < 3; i++) {
		succeed(rig, longer);
		succeed(rig, fewer);
	}
	rig_now_ms += 2 * DAY;
	assert_int_equal(retain(rig, (struct store_retain){.server = {DAY * 3, 100}}), 2);
	assert_int_equal(rig_run_count(rig, fewer), 1);
	assert_int_equal(retain(rig, (struct store_retain){.server = {DAY, 100}}), 0);
	assert_int_equal(rig_run_count(rig, longer), 3);
	replace(rig, longer, FREELY);
	assert_int_equal(retain(rig, (struct store_retain){.server = {DAY, 100}}), 2);
}

static void test_walk_goes_on_where_a_step_ended(void **state)
{
	struct rig *rig = *state;
	struct action *actions[5];

	for (int i = 0; i < 5; i++) {
		auto_free char *name = xasprintf("a%d", i);

		actions[i] = rig_create(rig, name, FREELY, NO_TIME);
		for (int run = 0; run < 4; run++)
			succeed(rig, actions[i]);
	}
	rig_now_ms += 2 * DAY;
	assert_int_equal(
		retain(rig,
			(struct store_retain){.server.age_ms = DAY, .limit = 2, .actions_max = 2}),
		15);
	for (int i = 0; i < 5; i++)
		assert_int_equal(rig_run_count(rig, actions[i]), 1);
}

/* The due time is behind the cursor: that it has no row any more lets nobody claim it again. */
static void test_due_time_whose_row_has_gone_is_not_claimed_again(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", FREELY, T0);

	assert_true(rig_claim(rig, action, T0, 1));
	assert_int_equal(rig_succeed(rig, rig_find_run(rig, action, T0)), 0);
	succeed(rig, action);
	rig_now_ms += 2 * DAY;
	assert_int_equal(retain(rig, (struct store_retain){.server.age_ms = DAY}), 1);
	assert_null(rig_find_run(rig, action, T0));
	assert_false(rig_claim(rig, action, T0, 1));
}

static int finish_with_output(struct rig *rig, const struct run *run, char byte)
{
	char output[1000];
	struct attempt_result result = {.outcome = ATTEMPT_SUCCEEDED,
		.started_at_ms = run->started_at_ms,
		.output = output,
		.output_len = sizeof(output)};
	struct store_finish finish = {.run = run,
		.result = &result,
		.follow_up = {.state = RUN_SUCCEEDED, .counts = true}};

	memset(output, byte, sizeof(output));
	return rig_do(rig, finish, &finish);
}

static size_t output_len(struct rig *rig, const struct run *run)
{
	struct store_get_output get = {.run_id = run->id};
	size_t len;

	assert_int_equal(rig_do(rig, get_output, &get), 0);
	assert_int_equal(get.ret_total, 1000);
	len = get.ret_len;
	store_get_output_fini(&get);
	return len;
}

static void test_oldest_output_goes_until_no_more_is_kept_than_may(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", FREELY, NO_TIME);
	struct run *runs[4];

	for (int i = 0; i < 4; i++) {
		runs[i] = begin(rig, action);
		assert_int_equal(finish_with_output(rig, runs[i], (char)('a' + i)), 0);
		rig_now_ms += MINUTE_MS;
	}
	assert_int_equal(retain(rig, (struct store_retain){.output_bytes = 4000}), 0);
	assert_int_equal(output_len(rig, runs[0]), 1000);
	assert_int_equal(retain(rig, (struct store_retain){.output_bytes = 2500, .limit = 1}), 0);
	assert_int_equal(output_len(rig, runs[0]), 0);
	assert_int_equal(output_len(rig, runs[1]), 0);
	assert_int_equal(output_len(rig, runs[2]), 1000);
	assert_int_equal(output_len(rig, runs[3]), 1000);
	assert_int_equal(rig_run_count(rig, action), 4);
}

static void test_output_that_went_with_its_runs_counts_no_more(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", FREELY, NO_TIME);
	struct action *other = rig_create(rig, "b", FREELY, NO_TIME);
	struct store_retain once = {.actions_max = ALL, .limit = ALL, .output_bytes = 2000};
	struct run *runs[3];

	for (int i = 0; i < 3; i++) {
		runs[i] = begin(rig, action);
		assert_int_equal(finish_with_output(rig, runs[i], 'a'), 0);
		assert_int_equal(finish_with_output(rig, begin(rig, other), 'b'), 0);
		rig_now_ms += MINUTE_MS;
	}
	delete_action(rig, other);
	for (int64_t gone = 1; gone >= 0; gone--) { /* of three outputs one, and then none */
		assert_int_equal(rig_do(rig, retain, &once), 0);
		assert_int_equal(once.ret_outputs, gone);
		once = (struct store_retain){
			.actions_max = ALL, .limit = ALL, .output_bytes = 2000};
	}
	assert_int_equal(output_len(rig, runs[1]), 1000);
}

/* --- a long ledger whose action is deleted --- */

#define LONG_LEDGER 1200 /* more than goes at once */

static void claim_skipped(struct rig *rig, struct action *action, size_t count)
{
	struct planned_due *dues = xcalloc(count, sizeof(*dues));
	struct claim_item item = {.action = action,
		.expected_ms = action->next_due_ms,
		.dues = dues,
		.due_count = count,
		.next_due_ms = NO_TIME};
	struct store_claim claim = {.items = &item, .count = 1};

	for (size_t i = 0; i < count; i++)
		dues[i] = (struct planned_due){.due_at_ms = T0 - (int64_t)(count - i),
			.until_ms = T0 - (int64_t)(count - i),
			.count = 1,
			.verdict = DUE_SKIP_LATE};
	assert_int_equal(rig_do(rig, claim, &claim), 0);
	assert_int_equal(claim.ret_skipped, count);
	store_claim_fini(&claim);
	free(dues);
}

static void assert_no_runs(struct rig *rig)
{
	struct store_list_runs list = {
		.limit = 1, .trigger = -1, .due_from_ms = NO_TIME, .due_to_ms = NO_TIME};

	assert_int_equal(rig_do(rig, list_runs, &list), 0);
	assert_int_equal(list.ret_count, 0);
	store_list_runs_fini(&list);
}

static void test_deleted_actions_ledger_is_seen_by_nobody_and_goes_in_batches(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", FREELY, T0 - LONG_LEDGER);
	struct run *open = rig_trigger(rig, action);
	struct store_get_run get = {.id = open->id};
	char left[32];

	claim_skipped(rig, action, LONG_LEDGER);
	delete_action(rig, action);
	assert_no_runs(rig);
	assert_int_equal(rig_do(rig, get_run, &get), ERR_NOT_FOUND);
	assert_int_equal(rig_take(rig, 100, NULL), 0);
	if (strcmp(rig_backend, "memory") != 0) {
		struct store_retain step = {.actions_max = 1, .limit = 150};

		assert_int_equal(rig_do(rig, retain, &step), 0);
		assert_int_equal(step.ret_removed, 150);
		assert_false(step.ret_is_done);
		assert_int_equal(retain(rig, (struct store_retain){.limit = 150}), 50);
	}
	if (rig_is_pg()) {
		rig_pg_sql("SELECT (SELECT count(*) FROM gathering.run)"
			   " + (SELECT count(*) FROM gathering.removed)",
			left, sizeof(left));
		assert_string_equal(left, "0");
	}
	action = rig_create(rig, "a", FREELY, NO_TIME);
	assert_int_equal(rig_run_count(rig, action), 0);
}

/* --- alerts --- */

static void test_first_failure_and_first_success_after_it_are_told_once(void **state)
{
	struct rig *rig = *state;
	struct action *fails = rig_create(rig, "fails", FREELY, NO_TIME);
	struct action *well = rig_create(rig, "well", FREELY, NO_TIME);
	struct action *action = rig_create(
		rig, "a", FREELY ", \"on_failure\": \"fails\", \"on_recovery\": \"well\"", NO_TIME);

	succeed(rig, action);
	assert_int_equal(rig_run_count(rig, fails) + rig_run_count(rig, well), 0);
	fail_once(rig, action);
	assert_alert(rig, fails, 1, "action.a.failing", "failing");
	assert_alert(rig, fails, 1, "action.a.failing", "/api/v1/runs/");
	assert_run(rig_newest_run(rig, fails, 0), RUN_PENDING, REASON_QUEUED);
	fail_once(rig, action);
	assert_int_equal(rig_run_count(rig, fails), 1);
	assert_int_equal(rig_run_count(rig, well), 0);
	succeed(rig, action);
	assert_alert(rig, well, 1, "action.a.recovered", "recovered");
	succeed(rig, action);
	assert_int_equal(rig_run_count(rig, well), 1);
	fail_once(rig, action);
	assert_int_equal(rig_run_count(rig, fails), 2);
}

static struct action_care care_of(struct rig *rig, struct action *action)
{
	struct action *actions[] = {action, action};
	struct store_get_cares get = {.actions = actions, .count = 2};
	struct action_care care;

	assert_int_equal(rig_do(rig, get_cares, &get), 0);
	assert_memory_equal(&get.ret_cares[0], &get.ret_cares[1], sizeof(care));
	care = get.ret_cares[0];
	store_get_cares_fini(&get);
	return care;
}

static void test_since_when_an_action_fails_and_is_late_and_whom_it_cannot_tell_is_shown(
	void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a",
		FREELY ", \"on_failure\": \"ops\", \"on_late\": \"ops\", \"on_recovery\": \"a2\","
		       "\"expect_success_within\": \"1m\"",
		NO_TIME);
	struct action *plain = rig_create(rig, "a2", FREELY, NO_TIME);
	int64_t made_ms = rig_now_ms;
	struct action_care care = care_of(rig, plain);

	assert_true(care.care.deadline_ms == NO_TIME && care.missing_hooks == 0);
	care = care_of(rig, action);
	assert_true(care.care.failing_since_ms == NO_TIME && care.care.late_since_ms == NO_TIME);
	assert_true(care.care.deadline_ms == made_ms + MINUTE_MS);
	assert_int_equal(care.missing_hooks, 1u << ALERT_FAILING | 1u << ALERT_LATE);
	(void)rig_create(rig, "ops", FREELY, NO_TIME);
	assert_int_equal(care_of(rig, action).missing_hooks, 0);
	rig_now_ms += 2 * MINUTE_MS;
	assert_int_equal(lapse(rig, NULL), 1);
	rig_now_ms += MINUTE_MS;
	fail_once(rig, action);
	care = care_of(rig, action);
	assert_true(care.care.deadline_ms == NO_TIME);
	assert_true(care.care.late_since_ms == made_ms + 2 * MINUTE_MS);
	assert_true(care.care.failing_since_ms == rig_now_ms);
	succeed(rig, action);
	care = care_of(rig, action);
	assert_true(care.care.failing_since_ms == NO_TIME && care.care.late_since_ms == NO_TIME);
	delete_action(rig, action);
	assert_true(care_of(rig, action).care.deadline_ms == NO_TIME);
}

/* A limit of retention alone asks for no news, whatever others ask for. */
static void test_failure_is_noted_only_where_somebody_is_to_be_told(void **state)
{
	struct rig *rig = *state;
	struct action *kept =
		rig_create(rig, "kept", FREELY ", \"retention\": {\"count\": 9}", NO_TIME);
	struct action *told;

	fail_once(rig, kept);
	assert_true(care_of(rig, kept).care.failing_since_ms == NO_TIME);
	told = rig_create(rig, "told", FREELY ", \"on_recovery\": \"ops\"", NO_TIME);
	fail_once(rig, kept);
	fail_once(rig, told);
	assert_true(care_of(rig, kept).care.failing_since_ms == NO_TIME);
	assert_true(care_of(rig, told).care.failing_since_ms == rig_now_ms);
	(void)waits_for(rig, "hears", "action.*.failing");
	fail_once(rig, kept);
	assert_true(care_of(rig, kept).care.failing_since_ms == rig_now_ms);
}

/* A retry to come is no failure yet; a cancel says nothing about the action. */
static void test_only_final_ends_of_their_own_count(void **state)
{
	struct rig *rig = *state;
	struct action *listener = rig_create(rig, "listener", FREELY, NO_TIME);
	struct action *action = rig_create(rig, "a",
		FREELY ", \"on_failure\": \"listener\", \"on_recovery\": \"listener\"", NO_TIME);
	struct run *run = begin(rig, action);

	assert_int_equal(rig_finish(rig, run, ATTEMPT_FAILED,
				 (struct run_follow_up){.state = RUN_PENDING,
					 .reason = REASON_RETRY,
					 .delay_ms = 0,
					 .counts = true}),
		0);
	(void)rig_take(rig, 1000, NULL);
	run = rig_get_run(rig, &run->id);
	assert_int_equal(run->state, RUN_RUNNING);
	assert_int_equal(
		rig_finish(rig, run, ATTEMPT_CANCELLED,
			(struct run_follow_up){
				.state = RUN_CANCELLED, .reason = REASON_USER, .counts = true}),
		0);
	assert_int_equal(rig_run_count(rig, listener), 0);
	assert_int_equal(rig_finish(rig, begin(rig, action), ATTEMPT_TIMED_OUT,
				 (struct run_follow_up){.state = RUN_TIMED_OUT, .counts = true}),
		0);
	assert_alert(rig, listener, 1, "action.a.failing", "timed_out");
}

static void test_alert_reaches_who_waits_for_any_action_once_and_not_itself(void **state)
{
	struct rig *rig = *state;
	struct action *any = waits_for(rig, "any", "action.*.failing");
	struct action *one = waits_for(rig, "one", "action.a.failing");
	struct action *other = waits_for(rig, "other", "action.b.failing");
	struct action *action = rig_create(rig, "a", FREELY ", \"on_failure\": \"any\"", NO_TIME);
	struct action *plain = rig_create(rig, "plain", FREELY, NO_TIME);

	fail_once(rig, action);
	assert_alert(rig, any, 1, "action.a.failing", "\"a\"");
	assert_alert(rig, one, 1, "action.a.failing", "\"a\"");
	assert_int_equal(rig_run_count(rig, other), 0);
	rig_now_ms += 1;       /* ids of runs order them by the millisecond */
	fail_once(rig, plain); /* asks for nothing itself */
	fail_once(rig, plain);
	assert_alert(rig, any, 2, "action.plain.failing", "\"plain\"");
	fail_once(rig, any);
	assert_int_equal(rig_run_count(rig, any), 3); /* that one, and none for it */
}

/* Each of them would tell the other for ever, if every failure were told. */
static void test_circle_of_alerts_comes_to_rest(void **state)
{
	struct rig *rig = *state;
	struct action *one = rig_create(rig, "one", FREELY ", \"on_failure\": \"two\"", NO_TIME);
	struct action *two = rig_create(rig, "two", FREELY ", \"on_failure\": \"one\"", NO_TIME);

	fail_once(rig, one);
	assert_int_equal(rig_take(rig, 10, NULL), 1);
	assert_int_equal(
		rig_finish(rig, rig_newest_run(rig, two, STATE(RUNNING)), ATTEMPT_FAILED, failed),
		0);
	assert_int_equal(rig_take(rig, 10, NULL), 1);
	assert_int_equal(
		rig_finish(rig, rig_newest_run(rig, one, STATE(RUNNING)), ATTEMPT_FAILED, failed),
		0);
	assert_int_equal(rig_take(rig, 10, NULL), 0);
}

static void test_action_without_success_in_time_is_late_once(void **state)
{
	struct rig *rig = *state;
	struct action *listener = rig_create(rig, "listener", FREELY, NO_TIME);
	struct action *action = rig_create(rig, "a",
		FREELY ", \"expect_success_within\": \"26h\", \"on_late\": \"listener\","
		       " \"on_recovery\": \"listener\"",
		NO_TIME);
	int64_t next_ms;

	rig_now_ms += 20 * HOUR;
	succeed(rig, action);
	rig_now_ms += 26 * HOUR - 1;
	fail_once(rig, action); /* counts for nothing here */
	assert_int_equal(lapse(rig, &next_ms), 0);
	assert_true(next_ms == rig_now_ms + 1);
	rig_now_ms += 1;
	assert_int_equal(lapse(rig, &next_ms), 1);
	assert_true(next_ms == NO_TIME);
	assert_true(renew_ms(rig) == 26 * HOUR);
	assert_alert(rig, listener, 1, "action.a.late", "\"deadline\"");
	rig_now_ms += 100 * DAY;
	assert_int_equal(lapse(rig, NULL), 0);
	succeed(rig, action); /* was failing and late: one recovery */
	assert_true(renew_ms(rig) == NO_TIME);
	assert_alert(rig, listener, 2, "action.a.recovered", "recovered");
	rig_now_ms += 30 * HOUR;
	rig_restart(rig); /* found also when nobody ran at that moment */
	assert_int_equal(lapse(rig, NULL), 1);
	assert_int_equal(rig_run_count(rig, listener), 3);
}

static void test_deadline_stands_still_while_paused_and_counts_anew_when_changed(void **state)
{
	struct rig *rig = *state;
	struct action *action =
		rig_create(rig, "a", FREELY ", \"expect_success_within\": \"1h\"", NO_TIME);
	int64_t next_ms;

	set_pause(rig, action, true);
	rig_now_ms += 10 * HOUR;
	assert_int_equal(lapse(rig, &next_ms), 0);
	assert_true(next_ms == NO_TIME);
	set_pause(rig, action, false);
	(void)lapse(rig, &next_ms);
	assert_true(next_ms == rig_now_ms + HOUR);
	rig_now_ms += HOUR / 2;
	replace(rig, action, FREELY ", \"expect_success_within\": \"1h\", \"priority\": 1");
	(void)lapse(rig, &next_ms);
	assert_true(next_ms == rig_now_ms + HOUR / 2);
	replace(rig, action, FREELY ", \"expect_success_within\": \"2h\"");
	(void)lapse(rig, &next_ms);
	assert_true(next_ms == rig_now_ms + 2 * HOUR);
	replace(rig, action, FREELY);
	(void)lapse(rig, &next_ms);
	assert_true(next_ms == NO_TIME);
}

/* --- how many may wait --- */

static void test_full_queue_refuses_what_is_asked_for_but_no_due_time(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", FREELY, T0);
	struct action *listener = waits_for(rig, "listener", "e");
	struct store_trigger trigger = {.action_id = action->id, .queued_max = 3};
	struct store_send_event send = {
		.name = "e", .key = "k", .window_ms = HOUR, .queued_max = 3};

	for (int i = 0; i < 2; i++)
		(void)rig_trigger(rig, action);
	assert_int_equal(rig_do(rig, send_event, &send), 0);
	store_send_event_fini(&send);
	assert_int_equal(rig_do(rig, trigger, &trigger), ERR_QUEUE_FULL);
	store_trigger_fini(&trigger);
	assert_int_equal(rig_do(rig, send_event, &send), 0); /* the same again is no more */
	assert_true(send.ret_is_duplicate);
	store_send_event_fini(&send);
	send.key = "l";
	assert_int_equal(rig_do(rig, send_event, &send), ERR_QUEUE_FULL);
	store_send_event_fini(&send);
	assert_int_equal(rig_run_count(rig, listener), 1);
	assert_true(rig_claim(rig, action, T0, 0));
	assert_run(rig_find_run(rig, action, T0), RUN_PENDING, REASON_QUEUED);
	assert_int_equal(rig_run_count(rig, action), 3);
	assert_int_equal(rig_take(rig, 2, NULL), 2);
	assert_int_equal(rig_do(rig, send_event, &send), 0);
	assert_false(send.ret_is_duplicate);
	store_send_event_fini(&send);
}

const struct CMUnitTest care_tests[] = {
	RIG_TEST(test_ended_runs_go_by_age_and_the_newest_stays),
	RIG_TEST(test_open_and_held_runs_never_go),
	RIG_TEST(test_number_of_runs_is_kept_but_none_that_just_ended_goes),
	RIG_TEST(test_own_retention_goes_before_the_servers),
	RIG_TEST(test_walk_goes_on_where_a_step_ended),
	RIG_TEST(test_due_time_whose_row_has_gone_is_not_claimed_again),
	RIG_TEST(test_oldest_output_goes_until_no_more_is_kept_than_may),
	RIG_TEST(test_output_that_went_with_its_runs_counts_no_more),
	RIG_TEST(test_deleted_actions_ledger_is_seen_by_nobody_and_goes_in_batches),
	RIG_TEST(test_first_failure_and_first_success_after_it_are_told_once),
	RIG_TEST(test_since_when_an_action_fails_and_is_late_and_whom_it_cannot_tell_is_shown),
	RIG_TEST(test_failure_is_noted_only_where_somebody_is_to_be_told),
	RIG_TEST(test_only_final_ends_of_their_own_count),
	RIG_TEST(test_alert_reaches_who_waits_for_any_action_once_and_not_itself),
	RIG_TEST(test_circle_of_alerts_comes_to_rest),
	RIG_TEST(test_action_without_success_in_time_is_late_once),
	RIG_TEST(test_deadline_stands_still_while_paused_and_counts_anew_when_changed),
	RIG_TEST(test_full_queue_refuses_what_is_asked_for_but_no_due_time),
};
const size_t care_test_count = sizeof(care_tests) / sizeof(care_tests[0]);
