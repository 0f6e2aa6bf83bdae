/* SPDX-License-Identifier: Apache-2.0
 *
 * What follows an attempt: the decisions as a table, the delays, and the bounds that hold whatever
 * the numbers are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/model.h"
#include "seed.h"

#define ROUNDS  20000
#define BEGUN   1000
#define UNBEGUN NO_TIME

struct row {
	const char *what;
	enum attempt_outcome outcome;
	enum run_reason reason; /* if interrupted */
	int64_t started_at_ms;
	enum on_interrupt on_interrupt;
	int attempt, max_attempts, interruptions;
	bool cancel_requested;
	enum run_state to;
	enum run_reason to_reason;
	int64_t delay_ms;
	bool counts;
};

#define BACK REASON_HANDED_BACK
#define LOST REASON_OWNER_LOST
/* clang-format off */
static const struct row rows[] = {
	{"success", ATTEMPT_SUCCEEDED, BACK, BEGUN, ON_INTERRUPT_RETRY, 1, 1, 0, false,
		RUN_SUCCEEDED, REASON_NONE, 0, true},
	{"success wins over a late cancel", ATTEMPT_SUCCEEDED, BACK, BEGUN, ON_INTERRUPT_RETRY, 1, 3, 0, true,
		RUN_SUCCEEDED, REASON_NONE, 0, true},
	{"failure without retry", ATTEMPT_FAILED, BACK, BEGUN, ON_INTERRUPT_RETRY, 1, 1, 0, false,
		RUN_FAILED, REASON_NONE, 0, true},
	{"failure with retry", ATTEMPT_FAILED, BACK, BEGUN, ON_INTERRUPT_RETRY, 1, 2, 0, false,
		RUN_PENDING, REASON_RETRY, 1000, true},
	{"last failure", ATTEMPT_FAILED, BACK, BEGUN, ON_INTERRUPT_RETRY, 2, 2, 0, false,
		RUN_FAILED, REASON_NONE, 0, true},
	{"more attempts than are allowed now", ATTEMPT_FAILED, BACK, BEGUN, ON_INTERRUPT_RETRY, 5, 2, 0, false,
		RUN_FAILED, REASON_NONE, 0, true},
	{"failure of a run to be cancelled", ATTEMPT_FAILED, BACK, BEGUN, ON_INTERRUPT_RETRY, 1, 2, 0, true,
		RUN_CANCELLED, REASON_USER, 0, true},
	{"last failure of a run to be cancelled", ATTEMPT_FAILED, BACK, BEGUN, ON_INTERRUPT_RETRY, 2, 2, 0, true,
		RUN_FAILED, REASON_NONE, 0, true},
	{"failures do not look at on_interrupt", ATTEMPT_FAILED, BACK, BEGUN, ON_INTERRUPT_HOLD, 1, 2, 0, false,
		RUN_PENDING, REASON_RETRY, 1000, true},
	{"time-out without retry", ATTEMPT_TIMED_OUT, BACK, BEGUN, ON_INTERRUPT_RETRY, 1, 1, 0, false,
		RUN_TIMED_OUT, REASON_NONE, 0, true},
	{"time-out with retry", ATTEMPT_TIMED_OUT, BACK, BEGUN, ON_INTERRUPT_RETRY, 2, 3, 0, false,
		RUN_PENDING, REASON_RETRY, 2000, true},
	{"cancelled", ATTEMPT_CANCELLED, BACK, BEGUN, ON_INTERRUPT_RETRY, 1, 9, 0, true,
		RUN_CANCELLED, REASON_USER, 0, true},

	{"handed back", ATTEMPT_INTERRUPTED, BACK, BEGUN, ON_INTERRUPT_RETRY, 1, 1, 0, false,
		RUN_PENDING, REASON_HANDED_BACK, 0, false},
	{"owner lost", ATTEMPT_INTERRUPTED, LOST, BEGUN, ON_INTERRUPT_RETRY, 1, 1, 0, false,
		RUN_PENDING, REASON_OWNER_LOST, 0, false},
	{"third interruption", ATTEMPT_INTERRUPTED, BACK, BEGUN, ON_INTERRUPT_RETRY, 1, 1, 2, false,
		RUN_PENDING, REASON_HANDED_BACK, 0, false},
	{"fourth interruption, no retry", ATTEMPT_INTERRUPTED, BACK, BEGUN, ON_INTERRUPT_RETRY, 1, 1, 3, false,
		RUN_FAILED, REASON_SHUTDOWN, 0, true},
	{"fourth owner lost, no retry", ATTEMPT_INTERRUPTED, LOST, BEGUN, ON_INTERRUPT_RETRY, 1, 1, 3, false,
		RUN_FAILED, REASON_OWNER_LOST, 0, true},
	{"fourth interruption, retry left", ATTEMPT_INTERRUPTED, LOST, BEGUN, ON_INTERRUPT_RETRY, 1, 2, 3, false,
		RUN_PENDING, REASON_RETRY, 1000, true},
	{"fail, handed back", ATTEMPT_INTERRUPTED, BACK, BEGUN, ON_INTERRUPT_FAIL, 1, 5, 0, false,
		RUN_FAILED, REASON_SHUTDOWN, 0, true},
	{"fail, owner lost", ATTEMPT_INTERRUPTED, LOST, BEGUN, ON_INTERRUPT_FAIL, 1, 5, 0, false,
		RUN_FAILED, REASON_OWNER_LOST, 0, true},
	{"hold, handed back", ATTEMPT_INTERRUPTED, BACK, BEGUN, ON_INTERRUPT_HOLD, 1, 5, 0, false,
		RUN_HELD, REASON_SHUTDOWN, 0, false},
	{"hold, owner lost, often", ATTEMPT_INTERRUPTED, LOST, BEGUN, ON_INTERRUPT_HOLD, 1, 5, 9, false,
		RUN_HELD, REASON_OWNER_LOST, 0, false},
	{"interrupted and to be cancelled", ATTEMPT_INTERRUPTED, BACK, BEGUN, ON_INTERRUPT_HOLD, 1, 5, 0, true,
		RUN_CANCELLED, REASON_USER, 0, true},
	{"unbegun and handed back, fail", ATTEMPT_INTERRUPTED, BACK, UNBEGUN, ON_INTERRUPT_FAIL, 1, 1, 0, false,
		RUN_PENDING, REASON_HANDED_BACK, 0, false},
	{"unbegun and handed back, often", ATTEMPT_INTERRUPTED, BACK, UNBEGUN, ON_INTERRUPT_RETRY, 1, 1, 9, false,
		RUN_PENDING, REASON_HANDED_BACK, 0, false},
	{"owner lost: nobody knows whether it began", ATTEMPT_INTERRUPTED, LOST, UNBEGUN, ON_INTERRUPT_FAIL, 1, 1, 0,
		false, RUN_FAILED, REASON_OWNER_LOST, 0, true},
};
/* clang-format on */

static void check_row(const struct row *row)
{
	struct run run = {
		.state = RUN_RUNNING,
		.attempt = row->attempt,
		.interruptions = row->interruptions,
		.cancel_requested = row->cancel_requested,
	};
	struct action action = {
		.on_interrupt = row->on_interrupt,
		.retry = {row->max_attempts, BACKOFF_EXPONENTIAL, 1000, 60000, 0},
	};
	struct attempt_result result = {
		.outcome = row->outcome, .started_at_ms = row->started_at_ms, .retry_after_ms = -1};
	struct run_follow_up got = run_follow_up(&run, &action, &result, row->reason, 0);

	if (got.state != row->to || got.reason != row->to_reason || got.delay_ms != row->delay_ms ||
		got.counts != row->counts)
		fail_msg("%s: %s (%s), delay %lld, counts %d", row->what,
			run_state_names[got.state], run_reason_names[got.reason],
			(long long)got.delay_ms, got.counts);
	assert_true(run_move(&run, got.state, got.reason)); /* never a move the table forbids */
}

static void test_follow_up_table(void **state)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		check_row(&rows[i]);
}

static void test_follow_up_when_cancelled_to_make_room_says_overlap(void **state)
{
	struct run run = {.state = RUN_RUNNING, .reason = REASON_OVERLAP, .attempt = 1};
	struct action action = {.retry = {.max_attempts = 3}};
	struct attempt_result result = {.outcome = ATTEMPT_CANCELLED, .retry_after_ms = -1};
	struct run_follow_up got = run_follow_up(&run, &action, &result, BACK, 0);

	assert_int_equal(got.state, RUN_CANCELLED);
	assert_int_equal(got.reason, REASON_OVERLAP);
}

static int64_t delay_of(
	struct retry_policy retry, int attempt, int64_t retry_after_ms, uint32_t random)
{
	struct run run = {.state = RUN_RUNNING, .attempt = attempt};
	struct action action = {.retry = retry};
	struct attempt_result result = {
		.outcome = ATTEMPT_FAILED, .retry_after_ms = retry_after_ms};

	action.retry.max_attempts = INT32_MAX;
	return run_follow_up(&run, &action, &result, BACK, random).delay_ms;
}

static void test_backoff_grows_as_its_name_says_up_to_max(void **state)
{
	/* clang-format off */
	static const struct {
		enum backoff backoff;
		int64_t delay_ms[6]; /* after attempt 1, 2, ... */
	} series[] = {
		{BACKOFF_FIXED, {1000, 1000, 1000, 1000, 1000, 1000}},
		{BACKOFF_LINEAR, {1000, 2000, 3000, 4000, 5000, 6000}},
		{BACKOFF_EXPONENTIAL, {1000, 2000, 4000, 8000, 10000, 10000}},
	};
	/* clang-format on */

	for (size_t i = 0; i < COUNT_OF(series); i++)
		for (int attempt = 1; attempt <= 6; attempt++)
			assert_int_equal(delay_of((struct retry_policy){0, series[i].backoff, 1000,
							  10000, 0},
						 attempt, -1, 77),
				series[i].delay_ms[attempt - 1]);
}

static void test_backoff_when_huge_does_not_overflow(void **state)
{
	for (int backoff = BACKOFF_FIXED; backoff <= BACKOFF_EXPONENTIAL; backoff++) {
		struct retry_policy retry = {
			0, (enum backoff)backoff, INT64_MAX / 2, INT64_MAX, 1.0};

		assert_int_equal(delay_of(retry, 100, -1, 0), RETRY_DELAY_MAX_MS);
		retry.initial_ms = 0;
		assert_int_equal(delay_of(retry, INT32_MAX - 1, -1, UINT32_MAX), 0);
	}
}

static void test_jitter_takes_away_at_most_its_share(void **state)
{
	const struct retry_policy retry = {0, BACKOFF_FIXED, 10000, 10000, 0.2};
	const struct retry_policy all = {0, BACKOFF_FIXED, 10000, 10000, 1.0};

	assert_int_equal(delay_of(retry, 1, -1, 0), 10000);
	assert_int_equal(delay_of(retry, 1, -1, UINT32_MAX / 2 + 1), 9000);
	assert_int_equal(delay_of(retry, 1, -1, UINT32_MAX), 8001);
	assert_int_equal(delay_of(all, 1, -1, UINT32_MAX), 1);
}

static void test_retry_after_is_a_minimum_bounded_by_a_day(void **state)
{
	const struct retry_policy retry = {0, BACKOFF_FIXED, 10000, 10000, 0};

	assert_int_equal(delay_of(retry, 1, 0, 0), 10000);
	assert_int_equal(delay_of(retry, 1, 9999, 0), 10000);
	assert_int_equal(
		delay_of(retry, 1, 120000, 0), 120000); /* above max: the target knows better */
	assert_int_equal(delay_of(retry, 1, RETRY_DELAY_MAX_MS, 0), RETRY_DELAY_MAX_MS);
	assert_int_equal(delay_of(retry, 1, RETRY_DELAY_MAX_MS + 1, 0), RETRY_DELAY_MAX_MS);
	assert_int_equal(delay_of(retry, 1, INT64_MAX, 0), RETRY_DELAY_MAX_MS);
}

/* Whatever happens in whatever order, a run comes to an end: attempts and interruptions are
 * bounded. */
static int steps_to_the_end(struct seed *seed, const struct action *action)
{
	struct run run = {.state = RUN_RUNNING, .attempt = 1};

	for (int steps = 1;; steps++) {
		struct attempt_result result = {
			.outcome = (enum attempt_outcome)seed_below(seed, ATTEMPT_INTERRUPTED + 1),
			.started_at_ms = BEGUN,
			.retry_after_ms = (int64_t)seed_below(seed, 3) - 1,
		};
		struct run_follow_up next = run_follow_up(&run, action, &result,
			seed_below(seed, 2) ? BACK : LOST, (uint32_t)seed_next(seed));

		assert_true(run_move(&run, next.state, next.reason));
		if (run.state != RUN_PENDING)
			return steps;
		assert_true(next.delay_ms >= 0 && next.delay_ms <= RETRY_DELAY_MAX_MS);
		run.attempt -= !next.counts;
		run.interruptions += !next.counts;
		assert_true(run_move(&run, RUN_RUNNING, REASON_NONE));
		run.attempt++;
	}
}

static void test_every_run_comes_to_an_end(void **state)
{
	struct seed seed = seed_start(__func__);

	for (int round = 0; round < ROUNDS; round++) {
		struct action action = {
			.on_interrupt = (enum on_interrupt)seed_below(&seed, 3),
			.retry = {(int)seed_below(&seed, 5) + 1, (enum backoff)seed_below(&seed, 3),
				(int64_t)seed_below(&seed, 100000), 86400000,
				(double)seed_below(&seed, 101) / 100},
		};

		assert_true(steps_to_the_end(&seed, &action) <=
			    action.retry.max_attempts + INTERRUPTIONS_MAX);
	}
}

static void test_only_what_a_rule_names_is_tried_again(void **state)
{
	static struct retry_rule statuses[] = {
		{RETRY_CAUSE_STATUS, {429, 429}}, {RETRY_CAUSE_STATUS, {500, 599}}};
	static struct retry_rule lines[] = {{RETRY_CAUSE_TIMEOUT}, {RETRY_CAUSE_CONNECTION}};
	static struct retry_rule exits[] = {{RETRY_CAUSE_EXIT, {75, 78}}};
	static struct retry_rule others[] = {{RETRY_CAUSE_OTHER}};
	static const struct {
		struct retry_rule *on;
		size_t count;
		struct attempt_result result;
		bool is_retried;
	} cases[] = {
		{NULL, 0, {ATTEMPT_FAILED, .http_status = 404, .exit_code = -1}, true},
		{statuses, 2, {ATTEMPT_FAILED, .http_status = 429, .exit_code = -1}, true},
		{statuses, 2, {ATTEMPT_FAILED, .http_status = 599, .exit_code = -1}, true},
		{statuses, 2, {ATTEMPT_FAILED, .http_status = 428, .exit_code = -1}, false},
		{statuses, 2, {ATTEMPT_FAILED, .http_status = 430, .exit_code = -1}, false},
		{statuses, 2, {ATTEMPT_FAILED, .http_status = 499, .exit_code = -1}, false},
		{statuses, 2, {ATTEMPT_TIMED_OUT, .http_status = 503, .exit_code = -1}, false},
		{statuses, 2, {ATTEMPT_FAILED, .exit_code = -1}, false},
		/* an answer that broke off is a connection's failure, whatever its status */
		{lines, 2,
			{ATTEMPT_FAILED, .http_status = 200, .exit_code = -1,
				.is_unanswered = true},
			true},
		{lines, 2, {ATTEMPT_TIMED_OUT, .exit_code = 143}, true},
		{lines, 2, {ATTEMPT_FAILED, .http_status = 500, .exit_code = -1}, false},
		{exits, 1, {ATTEMPT_FAILED, .exit_code = 75}, true},
		{exits, 1, {ATTEMPT_FAILED, .exit_code = 78}, true},
		{exits, 1, {ATTEMPT_FAILED, .exit_code = 74}, false},
		{exits, 1, {ATTEMPT_FAILED, .exit_code = 79}, false},
		{exits, 1, {ATTEMPT_FAILED, .exit_code = -1}, false},
		{others, 1, {ATTEMPT_FAILED, .exit_code = -1}, true},
		{others, 1, {ATTEMPT_FAILED, .exit_code = 1}, false},
		/* an interruption is no failure of the action */
		{exits, 1, {ATTEMPT_INTERRUPTED, .exit_code = -1, .started_at_ms = BEGUN}, true},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct run run = {.attempt = 1, .interruptions = INTERRUPTIONS_MAX};
		struct action action = {
			.retry = {
				.max_attempts = 2, .on = cases[i].on, .on_count = cases[i].count}};
		enum run_state to =
			run_follow_up(&run, &action, &cases[i].result, REASON_HANDED_BACK, 0).state;

		if ((to == RUN_PENDING) != cases[i].is_retried)
			fail_msg("case %zu: %s", i, run_state_names[to]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_follow_up_table),
		cmocka_unit_test(test_follow_up_when_cancelled_to_make_room_says_overlap),
		cmocka_unit_test(test_backoff_grows_as_its_name_says_up_to_max),
		cmocka_unit_test(test_backoff_when_huge_does_not_overflow),
		cmocka_unit_test(test_jitter_takes_away_at_most_its_share),
		cmocka_unit_test(test_retry_after_is_a_minimum_bounded_by_a_day),
		cmocka_unit_test(test_every_run_comes_to_an_end),
		cmocka_unit_test(test_only_what_a_rule_names_is_tried_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
