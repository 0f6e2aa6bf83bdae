/* SPDX-License-Identifier: Apache-2.0
 *
 * The states of a run: every pair of them, the words made from the table, and a run as JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/model.h"

/* Spelled out a second time, on purpose: a move that appears or vanishes has to be meant. */
static bool move_is_expected(enum run_state from, enum run_state to)
{
	switch (from) {
	case RUN_PENDING:
		return to == RUN_RUNNING || to == RUN_CANCELLED || to == RUN_HELD ||
		       to == RUN_FAILED;
	case RUN_RUNNING:
		return to == RUN_SUCCEEDED || to == RUN_FAILED || to == RUN_TIMED_OUT ||
		       to == RUN_CANCELLED || to == RUN_HELD || to == RUN_PENDING;
	case RUN_HELD:
		return to == RUN_PENDING || to == RUN_CANCELLED;
	case RUN_SUCCEEDED:
	case RUN_FAILED:
	case RUN_TIMED_OUT:
	case RUN_CANCELLED:
	case RUN_SKIPPED:
	case RUN_STATE_COUNT:
		return false;
	}
	return false;
}

static void check_pair(enum run_state from, enum run_state to)
{
	struct run run = {.state = from, .reason = REASON_LATE};
	bool moved = run_move(&run, to, REASON_RETRY);

	if (moved != move_is_expected(from, to))
		fail_msg("%s -> %s: %d", run_state_names[from], run_state_names[to], moved);
	assert_int_equal(run.state, moved ? to : from);
	assert_int_equal(run.reason, moved ? REASON_RETRY : REASON_LATE);
}

static void test_run_move_allows_the_pairs_of_the_table_and_no_other(void **state)
{
	for (int from = 0; from < RUN_STATE_COUNT; from++)
		for (int to = 0; to < RUN_STATE_COUNT; to++)
			check_pair((enum run_state)from, (enum run_state)to);
}

static void test_final_states_are_those_without_a_way_out(void **state)
{
	assert_false(run_state_is_final(RUN_PENDING));
	assert_false(run_state_is_final(RUN_RUNNING));
	assert_false(run_state_is_final(RUN_HELD));
	assert_true(run_state_is_final(RUN_SUCCEEDED));
	assert_true(run_state_is_final(RUN_FAILED));
	assert_true(run_state_is_final(RUN_TIMED_OUT));
	assert_true(run_state_is_final(RUN_CANCELLED));
	assert_true(run_state_is_final(RUN_SKIPPED));
}

static void test_sql_check_has_every_state_once(void **state)
{
	assert_string_equal(run_state_sql_check(),
		"state = 'pending' OR state = 'running' OR state = 'succeeded' OR state = 'failed' "
		"OR state = 'timed_out' OR state = 'cancelled' OR state = 'skipped' OR "
		"state = 'held'");
}

static void check_names(const char *const *names, int last, const char *last_name)
{
	for (int i = 0; i <= last; i++)
		assert_non_null(names[i]);
	assert_string_equal(names[last], last_name);
	assert_null(names[last + 1]);
}

static void test_name_tables_end_where_their_enums_do(void **state)
{
	check_names(run_state_names, RUN_HELD, "held");
	check_names(run_reason_names, REASON_SHUTDOWN, "shutdown");
	check_names(run_trigger_names, TRIGGER_START, "start");
	check_names(action_kind_names, ACTION_KIND_COUNT - 1, "noop");
	check_names(overlap_names, OVERLAP_CANCEL_RUNNING, "cancel_running");
	check_names(on_interrupt_names, ON_INTERRUPT_HOLD, "hold");
	check_names(backoff_names, BACKOFF_EXPONENTIAL, "exponential");
	check_names(action_state_names, ACTION_COMPLETED, "completed");
	assert_string_equal(run_reason_names[REASON_NONE], "");
}

/* --- JSON --- */

static struct id id_of(const char *text)
{
	struct id id;

	assert_true(id_parse(text, &id));
	return id;
}

static struct run new_run(void)
{
	return (struct run){
		.id = id_of("0193aaaa-0000-7000-8000-000000000001"),
		.action_id = id_of("0193aaaa-0000-7000-8000-000000000002"),
		.action_name = xstrdup("nightly-report"),
		.due_at_ms = 1795311000000,
		.not_before_ms = NO_TIME,
		.created_at_ms = 1795311000001,
		.claimed_at_ms = NO_TIME,
		.started_at_ms = NO_TIME,
		.finished_at_ms = NO_TIME,
		.exit_code = -1,
	};
}

static void assert_run_json(const struct run *run, const char *expected)
{
	json_t *json = run_to_json(run);
	auto_free char *text = json_dumps(json, JSON_WRITE_FLAGS);

	assert_string_equal(text, expected);
	json_decref(json);
}

static void test_run_to_json_when_pending_writes_nulls(void **state)
{
	struct run run = new_run();

	assert_run_json(&run, "{\"id\":\"0193aaaa-0000-7000-8000-000000000001\","
			      "\"action_id\":\"0193aaaa-0000-7000-8000-000000000002\","
			      "\"action\":\"nightly-report\",\"trigger\":\"schedule\","
			      "\"due_at\":\"2026-11-22T01:30:00Z\",\"state\":\"pending\","
			      "\"reason\":null,\"attempt\":0,\"interruptions\":0,\"epoch\":0,"
			      "\"instance_id\":null,\"priority\":0,\"claimed_at\":null,"
			      "\"started_at\":null,\"finished_at\":null,\"start_lag_ms\":null,"
			      "\"duration_ms\":null,\"http_status\":null,\"exit_code\":null,"
			      "\"error\":null,\"progress\":null,\"output_bytes\":0}");
	run_fini(&run);
}

static void test_run_to_json_when_finished_writes_times_and_result(void **state)
{
	struct run run = new_run();

	run.state = RUN_FAILED;
	run.reason = REASON_OWNER_LOST;
	run.trigger = TRIGGER_MANUAL;
	run.attempt = 2;
	run.interruptions = 1;
	run.epoch = 3;
	run.instance_id = id_of("0193aaaa-0000-7000-8000-000000000003");
	run.priority = -5;
	run.not_before_ms = run.due_at_ms + 10000;
	run.claimed_at_ms = run.due_at_ms + 2;
	run.started_at_ms = run.due_at_ms + 3;
	run.finished_at_ms = run.due_at_ms + 815;
	run.http_status = 503;
	run.exit_code = 0;
	run.error = xstrdup("status \xff 503");
	run.output_bytes = 5120;
	run.missed_count = 7;
	run.missed_until_ms = run.due_at_ms + 60000;
	run.cancel_requested = true;
	assert_run_json(&run,
		"{\"id\":\"0193aaaa-0000-7000-8000-000000000001\","
		"\"action_id\":\"0193aaaa-0000-7000-8000-000000000002\","
		"\"action\":\"nightly-report\",\"trigger\":\"manual\","
		"\"due_at\":\"2026-11-22T01:30:00Z\",\"state\":\"failed\","
		"\"reason\":\"owner_lost\",\"attempt\":2,\"interruptions\":1,\"epoch\":3,"
		"\"instance_id\":\"0193aaaa-0000-7000-8000-000000000003\",\"priority\":-5,"
		"\"not_before_at\":\"2026-11-22T01:30:10Z\","
		"\"claimed_at\":\"2026-11-22T01:30:00.002Z\","
		"\"started_at\":\"2026-11-22T01:30:00.003Z\","
		"\"finished_at\":\"2026-11-22T01:30:00.815Z\",\"start_lag_ms\":3,"
		"\"duration_ms\":812,\"http_status\":503,\"exit_code\":0,"
		"\"error\":\"status \xef\xbf\xbd 503\",\"progress\":null,\"output_bytes\":5120,"
		"\"missed_count\":7,\"missed_until\":\"2026-11-22T01:31:00Z\","
		"\"cancel_requested\":true}");
	run_fini(&run);
}

static void test_run_to_json_when_the_clock_went_back_has_no_negative_span(void **state)
{
	struct run run = new_run();
	json_t *json;

	run.started_at_ms = run.due_at_ms - 5;
	run.finished_at_ms = run.due_at_ms - 10;
	json = run_to_json(&run);
	assert_int_equal(json_integer_value(json_object_get(json, "start_lag_ms")), 0);
	assert_int_equal(json_integer_value(json_object_get(json, "duration_ms")), 0);
	json_decref(json);
	run_fini(&run);
}

static void test_idempotency_key_is_action_and_due_time(void **state)
{
	struct run run = new_run();
	char key[RUN_KEY_SIZE];

	run.attempt = 4;
	assert_string_equal(run_idempotency_key(&run, key),
		"0193aaaa-0000-7000-8000-000000000002/2026-11-22T01:30:00Z");
	run.due_at_ms += 250;
	assert_string_equal(run_idempotency_key(&run, key),
		"0193aaaa-0000-7000-8000-000000000002/2026-11-22T01:30:00.250Z");
	run_fini(&run);
}

static void test_fini_can_be_repeated(void **state)
{
	struct run run = new_run();
	struct attempt_result result = {
		.error = xstrdup("e"), .output = xstrdup("o"), .output_len = 1};

	run.error = xstrdup("e");
	run_fini(&run);
	run_fini(&run);
	attempt_result_fini(&result);
	attempt_result_fini(&result);
	assert_null(run.error);
	assert_null(result.output);
	assert_int_equal(result.output_len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_run_move_allows_the_pairs_of_the_table_and_no_other),
		cmocka_unit_test(test_final_states_are_those_without_a_way_out),
		cmocka_unit_test(test_sql_check_has_every_state_once),
		cmocka_unit_test(test_name_tables_end_where_their_enums_do),
		cmocka_unit_test(test_run_to_json_when_pending_writes_nulls),
		cmocka_unit_test(test_run_to_json_when_finished_writes_times_and_result),
		cmocka_unit_test(test_run_to_json_when_the_clock_went_back_has_no_negative_span),
		cmocka_unit_test(test_idempotency_key_is_action_and_due_time),
		cmocka_unit_test(test_fini_can_be_repeated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
