/* SPDX-License-Identifier: Apache-2.0
 *
 * Events: who is started, once, with what; and the ends of runs, by which actions are chained. */
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define T0        RIG_EPOCH_MS
#define WINDOW_MS INT64_C(3600000)

/* An action that waits for an event, with more members. */
static struct action *waits_for(
	struct rig *rig, const char *name, const char *event, const char *members)
{
	auto_free char *text = xasprintf(
		"\"schedule\": {\"on\": \"%s\"}%s%s", event, members[0] ? ", " : "", members);

	return rig_create(rig, name, text, NO_TIME);
}

/* What sending gave; released with the test's end. */
static struct store_send_event sent_event(
	struct rig *rig, const char *name, const char *key, const char *payload)
{
	struct store_send_event send = {
		.name = name, .key = key, .payload = payload, .window_ms = WINDOW_MS};

	if (rig_do(rig, send_event, &send) < 0)
		fail_msg("%s", send.req.err.text);
	return send;
}

static void test_event_starts_each_who_waits_for_it_with_its_payload(void **state)
{
	struct rig *rig = *state;
	struct action *one = waits_for(rig, "one", "order.created", "\"priority\": 3");
	struct action *two = waits_for(rig, "two", "order.created", "");
	struct action *other = waits_for(rig, "other", "order.paid", "");
	struct store_send_event sent = sent_event(rig, "order.created", NULL, "{\"id\":7}");
	struct run *run, *taken;

	assert_int_equal(sent.ret_count, 2);
	assert_false(sent.ret_is_duplicate);
	assert_false(id_is_zero(&sent.ret_event_id));
	assert_int_equal(rig_run_count(rig, other), 0);
	run = rig_only_run(rig, one);
	assert_run(run, RUN_PENDING, REASON_QUEUED);
	assert_int_equal(run->trigger, TRIGGER_EVENT);
	assert_int_equal(run->due_at_ms, T0);
	assert_string_equal(run->event, "order.created");
	assert_string_equal(run->payload, "{\"id\":7}");
	assert_string_equal(rig_only_run(rig, two)->payload, "{\"id\":7}");
	assert_int_equal(rig_take(rig, 1, &taken), 1);
	assert_true(id_equal(&taken->id, &run->id)); /* the higher priority */
	assert_string_equal(taken->event, "order.created");
	assert_string_equal(taken->payload, "{\"id\":7}");
	store_send_event_fini(&sent);
}

static void test_event_without_payload_or_listener_is_fine(void **state)
{
	struct rig *rig = *state;
	struct store_send_event sent = sent_event(rig, "nobody.cares", "k", NULL);

	assert_int_equal(sent.ret_count, 0);
	store_send_event_fini(&sent);
	(void)waits_for(rig, "a", "order.created", "");
	sent = sent_event(rig, "order.created", NULL, NULL);
	assert_int_equal(sent.ret_count, 1);
	assert_null(rig_get_run(rig, &sent.ret_runs[0].id)->payload);
	store_send_event_fini(&sent);
}

static void test_event_with_a_key_is_delivered_once_within_the_window(void **state)
{
	struct rig *rig = *state;
	struct action *action = waits_for(rig, "a", "paid", "\"overlap\": \"allow\"");
	struct store_send_event first = sent_event(rig, "paid", "order 7", "1");
	struct store_send_event again;

	rig_now_ms += WINDOW_MS - 1;
	again = sent_event(rig, "paid", "order 7", "2");
	assert_true(again.ret_is_duplicate);
	assert_true(id_equal(&again.ret_event_id, &first.ret_event_id));
	assert_int_equal(again.ret_count, 1);
	assert_true(id_equal(&again.ret_runs[0].id, &first.ret_runs[0].id));
	assert_string_equal(rig_only_run(rig, action)->payload, "1");
	store_send_event_fini(&again);
	again = sent_event(rig, "paid", "order 8", NULL);
	assert_false(again.ret_is_duplicate);
	store_send_event_fini(&again);
	rig_now_ms += 1; /* the window has passed since the first */
	again = sent_event(rig, "paid", "order 7", "3");
	assert_false(again.ret_is_duplicate);
	assert_int_equal(again.ret_count, 1);
	store_send_event_fini(&again);
	assert_int_equal(rig_run_count(rig, action), 3);
	store_send_event_fini(&first);
}

static void test_event_obeys_pause_and_overlap(void **state)
{
	struct rig *rig = *state;
	struct action *paused = waits_for(rig, "paused", "e", "");
	struct action *skips = waits_for(rig, "skips", "e", "");
	struct store_pause_action pause = {
		.id = paused->id, .is_paused = true, .next_due_ms = NO_TIME};
	struct store_send_event sent;

	assert_int_equal(rig_do(rig, pause_action, &pause), 0);
	store_pause_action_fini(&pause);
	sent = sent_event(rig, "e", NULL, NULL);
	store_send_event_fini(&sent);
	assert_run(rig_only_run(rig, paused), RUN_SKIPPED, REASON_PAUSED);
	assert_run(rig_only_run(rig, skips), RUN_PENDING, REASON_QUEUED);
	sent = sent_event(rig, "e", NULL, NULL);
	assert_int_equal(sent.ret_count, 2);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(sent.ret_runs[i].state, RUN_SKIPPED);
	store_send_event_fini(&sent);
}

static void succeed_running(struct rig *rig, const struct action *action)
{
	assert_int_equal(rig_succeed(rig, rig_newest_run(rig, action, 1u << RUN_RUNNING)), 0);
}

static void test_events_and_chains_obey_max_pending_and_max_concurrent(void **state)
{
	struct rig *rig = *state;
	struct action *first = waits_for(rig, "first", "e",
		"\"overlap\": \"allow\", \"max_pending\": 3, \"max_concurrent\": 2");
	struct action *next = waits_for(rig, "next", "action.first.succeeded",
		"\"overlap\": \"allow\", \"max_pending\": 1, \"max_concurrent\": 1");

	for (int i = 0; i < 4; i++) {
		struct store_send_event sent = sent_event(rig, "e", NULL, NULL);

		assert_int_equal(sent.ret_count, 1);
		if (i < 3)
			assert_run(&sent.ret_runs[0], RUN_PENDING, REASON_QUEUED);
		else
			assert_run(&sent.ret_runs[0], RUN_SKIPPED, REASON_LIMIT);
		store_send_event_fini(&sent);
	}
	assert_int_equal(rig_take(rig, 10, NULL), 2);
	assert_int_equal(rig_take(rig, 10, NULL), 0);
	succeed_running(rig, first);
	succeed_running(rig, first);
	assert_int_equal(rig_run_count(rig, next), 2);
	assert_run(rig_newest_run(rig, next, 1u << RUN_PENDING), RUN_PENDING, REASON_QUEUED);
	assert_run(rig_newest_run(rig, next, 1u << RUN_SKIPPED), RUN_SKIPPED, REASON_LIMIT);
	assert_int_equal(rig_take(rig, 10, NULL), 2); /* the last of one, the first of the other */
	succeed_running(rig, first);
	assert_run(rig_newest_run(rig, next, 1u << RUN_PENDING), RUN_PENDING, REASON_QUEUED);
	assert_int_equal(rig_take(rig, 10, NULL), 0);
	succeed_running(rig, next);
	assert_int_equal(rig_take(rig, 10, NULL), 1);
}

static void test_event_follows_a_changed_schedule(void **state)
{
	struct rig *rig = *state;
	struct action *action = waits_for(rig, "a", "before", "");
	struct store_replace_action replace = {.id = action->id,
		.action = rig_define(rig, "a", "\"schedule\": {\"on\": \"after\"}")};
	struct store_send_event sent;

	assert_int_equal(rig_do(rig, replace_action, &replace), 0);
	store_replace_action_fini(&replace);
	sent = sent_event(rig, "before", NULL, NULL);
	assert_int_equal(sent.ret_count, 0);
	store_send_event_fini(&sent);
	sent = sent_event(rig, "after", NULL, NULL);
	assert_int_equal(sent.ret_count, 1);
	store_send_event_fini(&sent);
	replace =
		(struct store_replace_action){.id = action->id, .action = rig_define(rig, "a", "")};
	assert_int_equal(rig_do(rig, replace_action, &replace), 0);
	store_replace_action_fini(&replace);
	sent = sent_event(rig, "after", NULL, NULL);
	assert_int_equal(sent.ret_count, 0);
	store_send_event_fini(&sent);
}

static void test_action_that_waits_for_an_event_is_never_completed(void **state)
{
	struct rig *rig = *state;
	struct action *action = waits_for(rig, "a", "e", "");
	struct store_list_actions list = {.limit = 10, .kind = -1, .state = ACTION_COMPLETED};

	assert_int_equal(action_state(rig_get(rig, &action->id)), ACTION_ACTIVE);
	assert_int_equal(rig_do(rig, list_actions, &list), 0);
	assert_int_equal(list.ret_count, 0);
	store_list_actions_fini(&list);
}

/* --- chains --- */

static const struct {
	enum attempt_outcome outcome;
	enum run_state state;
} ends[] = {{ATTEMPT_SUCCEEDED, RUN_SUCCEEDED}, {ATTEMPT_FAILED, RUN_FAILED},
	{ATTEMPT_TIMED_OUT, RUN_TIMED_OUT}, {ATTEMPT_CANCELLED, RUN_CANCELLED}};

static void test_end_of_a_run_starts_who_waits_for_that_end(void **state)
{
	struct rig *rig = *state;
	struct action *first = rig_create(rig, "first.of", "", T0), *then[COUNT_OF(ends)];

	for (size_t i = 0; i < COUNT_OF(ends); i++) {
		auto_free char *event =
			xasprintf("action.first.of.%s", run_state_names[ends[i].state]);

		then[i] = waits_for(rig, run_state_names[ends[i].state], event, "");
	}
	for (size_t i = 0; i < COUNT_OF(ends); i++) {
		int64_t due_at_ms = rig_now_ms = T0 + (int64_t)i * MINUTE_MS;
		struct run *run = rig_start(rig, first, due_at_ms);
		struct store_finish finish = {.run = run,
			.follow_up = {.state = ends[i].state, .counts = true},
			.result = &(struct attempt_result){
				.outcome = ends[i].outcome, .exit_code = 3, .started_at_ms = T0}};
		struct run *sequel;

		assert_int_equal(rig_do(rig, finish, &finish), 0);
		assert_true(finish.ret_has_sequels);
		store_finish_fini(&finish);
		sequel = rig_only_run(rig, then[i]);
		assert_run(sequel, RUN_PENDING, REASON_QUEUED);
		assert_int_equal(sequel->trigger, TRIGGER_EVENT);
		assert_non_null(strstr(sequel->event, run_state_names[ends[i].state]));
		assert_non_null(strstr(sequel->payload, "first.of"));
		assert_non_null(strstr(sequel->payload, "\"exit_code\""));
		for (size_t k = i + 1; k < COUNT_OF(ends); k++)
			assert_int_equal(rig_run_count(rig, then[k]), 0);
		assert_int_equal(
			rig_take(rig, 9, NULL), 1); /* nothing waits in front of the next */
	}
}

static void test_a_trace_goes_with_what_a_request_sets_in_motion(void **state)
{
	static const char trace[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
	struct rig *rig = *state;
	struct action *first = waits_for(rig, "first", "begin", "");
	struct action *then = waits_for(rig, "then", "action.first.succeeded", "");
	struct action *none = rig_create(rig, "none", "", NO_TIME);
	struct store_send_event send = {.name = "begin", .traceparent = trace};
	struct store_trigger again;
	struct run *run;

	assert_int_equal(rig_do(rig, send_event, &send), 0);
	assert_string_equal(send.ret_runs[0].traceparent, trace);
	store_send_event_fini(&send);
	assert_int_equal(rig_take(rig, 1, &run), 1);
	assert_string_equal(run->traceparent, trace);
	assert_int_equal(rig_succeed(rig, run), 0);
	assert_string_equal(rig_only_run(rig, then)->traceparent, trace);
	again = (struct store_trigger){
		.action_id = first->id, .retry_of = run->id, .traceparent = trace};
	assert_int_equal(rig_do(rig, trigger, &again), 0);
	assert_string_equal(rig_get_run(rig, &again.ret_run.id)->traceparent, trace);
	store_trigger_fini(&again);
	assert_string_equal(rig_trigger(rig, none)->traceparent, "");
}

static void test_retry_and_stale_finish_start_nobody(void **state)
{
	struct rig *rig = *state;
	struct action *first = rig_create(rig, "first", "", T0);
	struct action *then = waits_for(rig, "then", "action.first.failed", "");
	struct run *run = rig_start(rig, first, T0), *again;

	assert_int_equal(
		rig_finish(rig, run, ATTEMPT_FAILED,
			(struct run_follow_up){
				.state = RUN_PENDING, .reason = REASON_RETRY, .counts = true}),
		0);
	assert_int_equal(rig_run_count(rig, then), 0);
	assert_int_equal(rig_take(rig, 1, &again), 1);
	assert_int_equal(rig_finish(rig, run, ATTEMPT_FAILED,
				 (struct run_follow_up){.state = RUN_FAILED, .counts = true}),
		ERR_STALE);
	assert_int_equal(rig_run_count(rig, then), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(
			rig_finish(rig, again, ATTEMPT_FAILED,
				(struct run_follow_up){.state = RUN_FAILED, .counts = true}),
			i == 0 ? 0 : ERR_STALE);
	assert_int_equal(rig_run_count(rig, then), 1); /* once, however often it is told */
}

static void test_cancel_of_a_waiting_run_is_an_end(void **state)
{
	struct rig *rig = *state;
	struct action *first = rig_create(rig, "first", "", NO_TIME);
	struct action *then = waits_for(rig, "then", "action.first.cancelled", "");
	struct store_cancel_run cancel = {.id = rig_trigger(rig, first)->id};

	assert_int_equal(rig_do(rig, cancel_run, &cancel), 0);
	store_cancel_run_fini(&cancel);
	assert_run(rig_only_run(rig, then), RUN_PENDING, REASON_QUEUED);
}

static void test_lost_owner_ends_a_run_and_starts_who_waits(void **state)
{
	struct rig *rig = *state;
	struct action *first = rig_create(rig, "first", "\"on_interrupt\": \"fail\"", T0);
	struct action *then = waits_for(rig, "then", "action.first.failed", "");
	struct store_recover recover = {0};

	(void)rig_start(rig, first, T0);
	rig_restart(rig);
	assert_int_equal(rig_do(rig, recover, &recover), 0);
	assert_int_equal(recover.ret_count, 1);
	assert_run(rig_only_run(rig, then), RUN_PENDING, REASON_QUEUED);
}

static void test_chain_that_would_go_round_is_refused_and_named(void **state)
{
	struct rig *rig = *state;
	struct action *a = rig_create(rig, "a", "", NO_TIME), *given[2];
	struct store_create_actions create;
	struct store_replace_action replace;

	(void)waits_for(rig, "b", "action.a.succeeded", "");
	(void)waits_for(rig, "c", "action.b.failed", "");
	replace = (struct store_replace_action){.id = a->id,
		.action = rig_define(rig, "a", "\"schedule\": {\"on\": \"action.c.timed_out\"}")};
	assert_int_equal(rig_do(rig, replace_action, &replace), ERR_INVALID);
	assert_string_equal(replace.req.err.field, "/schedule/on");
	assert_non_null(strstr(replace.req.err.text, "a -> b -> c -> a"));
	store_replace_action_fini(&replace);
	assert_null(action_event(rig_get(rig, &a->id)));
	given[0] = rig_define(rig, "x", "\"schedule\": {\"on\": \"action.y.failed\"}");
	given[1] = rig_define(rig, "y", "\"schedule\": {\"on\": \"action.x.failed\"}");
	create = (struct store_create_actions){.actions = given, .count = 2};
	assert_int_equal(rig_do(rig, create_actions, &create), ERR_INVALID);
	assert_int_equal(create.ret_index, 0);
	assert_non_null(strstr(create.req.err.text, "x -> y -> x"));
	store_create_actions_fini(&create);
	given[0] = rig_define(rig, "self", "\"schedule\": {\"on\": \"action.self.succeeded\"}");
	create = (struct store_create_actions){.actions = given, .count = 1};
	assert_int_equal(rig_do(rig, create_actions, &create), ERR_INVALID);
	assert_non_null(strstr(create.req.err.text, "self -> self"));
	store_create_actions_fini(&create);
}

/* Links are made from the far end, so that each alone is short. */
static void test_chain_is_bounded_when_made_and_when_run(void **state)
{
	struct rig *rig = *state;
	struct action *links[CHAIN_MAX + 3], *first;
	struct run *run;
	size_t made = 0;

	for (int i = CHAIN_MAX + 2; i > 0; i--) {
		char name[16], event[40];

		(void)snprintf(name, sizeof(name), "link%d", i);
		(void)snprintf(event, sizeof(event), "action.link%d.succeeded", i - 1);
		links[i] = waits_for(rig, name, event, "");
	}
	first = rig_create(rig, "link0", "", T0);
	run = rig_start(rig, first, T0);
	do {
		assert_int_equal(rig_succeed(rig, run), 0);
		made++;
	} while (rig_take(rig, 1, &run) == 1);
	assert_int_equal(made, CHAIN_MAX + 1); /* the first, and as many as a chain may have */
	assert_run(rig_only_run(rig, links[CHAIN_MAX + 1]), RUN_SKIPPED, REASON_LIMIT);
	assert_int_equal(rig_run_count(rig, links[CHAIN_MAX + 2]), 0);
	{
		struct action *late = rig_define(
			rig, "late", "\"schedule\": {\"on\": \"action.link34.succeeded\"}");
		struct store_create_actions create = {.actions = &late, .count = 1};

		assert_int_equal(rig_do(rig, create_actions, &create), ERR_INVALID);
		assert_non_null(strstr(create.req.err.text, "at most 32"));
		store_create_actions_fini(&create);
	}
}

const struct CMUnitTest event_tests[] = {
	RIG_TEST(test_event_starts_each_who_waits_for_it_with_its_payload),
	RIG_TEST(test_event_without_payload_or_listener_is_fine),
	RIG_TEST(test_event_with_a_key_is_delivered_once_within_the_window),
	RIG_TEST(test_event_obeys_pause_and_overlap),
	RIG_TEST(test_events_and_chains_obey_max_pending_and_max_concurrent),
	RIG_TEST(test_event_follows_a_changed_schedule),
	RIG_TEST(test_action_that_waits_for_an_event_is_never_completed),
	RIG_TEST(test_end_of_a_run_starts_who_waits_for_that_end),
	RIG_TEST(test_a_trace_goes_with_what_a_request_sets_in_motion),
	RIG_TEST(test_retry_and_stale_finish_start_nobody),
	RIG_TEST(test_cancel_of_a_waiting_run_is_an_end),
	RIG_TEST(test_lost_owner_ends_a_run_and_starts_who_waits),
	RIG_TEST(test_chain_that_would_go_round_is_refused_and_named),
	RIG_TEST(test_chain_is_bounded_when_made_and_when_run),
};
const size_t event_test_count = COUNT_OF(event_tests);
