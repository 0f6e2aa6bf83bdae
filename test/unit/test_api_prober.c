/* SPDX-License-Identifier: Apache-2.0
 *
 * When a drain may end its notice: the rules of prober_priv.h, on made-up times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "api/prober_priv.h"

/* Asks every `interval_ms` from `from_ms` on, `count` times; returns the time of the last one. */
static int64_t ask(struct probers *probers, const char *agent, int64_t from_ms, int64_t interval_ms,
	int count, bool is_refused)
{
	int64_t at = from_ms;

	for (int i = 0; i < count; i++, at += interval_ms)
		probers_note(probers, "10.0.0.1", agent, is_refused, at);
	return at - interval_ms;
}

static void test_nobody_asks_then_there_is_nobody_to_tell(void **state)
{
	struct probers probers = {0};

	assert_true(probers_have_heard(&probers, 3, 1000));
	probers_note(&probers, "10.0.0.1", "curl/7", false, 900);
	assert_true(probers_have_heard(&probers, 3, 1000)); /* once is no habit */
}

static void test_a_prober_has_heard_after_three_503_in_a_row(void **state)
{
	struct probers probers = {0};
	int64_t at = ask(&probers, NULL, 1000, 500, 5, false);

	assert_false(probers_have_heard(&probers, 3, at + 1));
	at = ask(&probers, NULL, at + 500, 500, 2, true);
	assert_false(probers_have_heard(&probers, 3, at + 1));
	at = ask(&probers, NULL, at + 500, 500, 1, true);
	assert_true(probers_have_heard(&probers, 3, at + 1));
	at = ask(&probers, NULL, at + 500, 500, 1, false); /* undrained */
	assert_false(probers_have_heard(&probers, 3, at + 1));
}

static void test_all_of_several_must_have_heard(void **state)
{
	struct probers probers = {0};

	ask(&probers, "a", 1000, 1000, 3, false);
	ask(&probers, "b", 1100, 1000, 3, false);
	ask(&probers, "a", 4000, 1000, 3, true);
	assert_false(probers_have_heard(&probers, 3, 4900));
	ask(&probers, "b", 4100, 1000, 3, true);
	assert_true(probers_have_heard(&probers, 3, 6200));
}

static void test_a_prober_that_went_silent_is_dropped(void **state)
{
	struct probers probers = {0};
	int64_t at = ask(&probers, NULL, 1000, 2000, 3, false);

	assert_false(probers_have_heard(&probers, 3, at + 4000));
	assert_true(probers_have_heard(&probers, 3, at + 4001));
	at = ask(&probers, NULL, at + 10, 10, 3, false); /* a quick one gets a second */
	assert_false(probers_have_heard(&probers, 3, at + 1000));
	assert_true(probers_have_heard(&probers, 3, at + 1001));
}

static void test_slow_askers_and_those_without_a_say_do_not_count(void **state)
{
	struct probers probers = {0};

	ask(&probers, NULL, 1000, 70000, 2, false);
	assert_true(probers_have_heard(&probers, 3, 1000 + 70000 + 60001));
	ask(&probers, "kube-probe/1.27", 200000, 1000, 5, false);
	ask(&probers, "gathering/0.1.0", 200000, 1000, 5, false);
	assert_true(probers_have_heard(&probers, 3, 205000));
}

static void test_more_than_the_table_holds_forgets_the_longest_silent(void **state)
{
	struct probers probers = {0};
	char agent[16];

	for (int i = 0; i < PROBERS_MAX + 5; i++) {
		(void)snprintf(agent, sizeof(agent), "a%d", i);
		ask(&probers, agent, 1000 + i, 100, 2, false);
	}
	assert_int_equal(probers.count, PROBERS_MAX);
	assert_false(probers_have_heard(&probers, 1, 1200));
	for (int i = 5; i < PROBERS_MAX + 5; i++) {
		(void)snprintf(agent, sizeof(agent), "a%d", i);
		ask(&probers, agent, 1300, 100, 1, true);
	}
	assert_true(probers_have_heard(&probers, 1, 1400));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody_asks_then_there_is_nobody_to_tell),
		cmocka_unit_test(test_a_prober_has_heard_after_three_503_in_a_row),
		cmocka_unit_test(test_all_of_several_must_have_heard),
		cmocka_unit_test(test_a_prober_that_went_silent_is_dropped),
		cmocka_unit_test(test_slow_askers_and_those_without_a_say_do_not_count),
		cmocka_unit_test(test_more_than_the_table_holds_forgets_the_longest_silent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
