/* SPDX-License-Identifier: Apache-2.0
 *
 * The scheduler's window against a plain array: random puts, removals and pops give the same
 * answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sched/window.h"
#include "seed.h"

#define ACTIONS 50
#define STEPS   20000

static struct action *make_action(int number, int64_t version)
{
	char text[256];
	struct action *action;
	struct action *with_row;
	struct err err = {0};
	struct id id = {.bytes = {(uint8_t)number}};
	int len = snprintf(text, sizeof(text),
		"{\"name\":\"a%d\",\"kind\":\"http\",\"http\":{\"url\":\"http://127.0.0.1/\"}}",
		number);

	assert_int_equal(action_from_text(text, (size_t)len, &action, &err), 0);
	with_row = action_with_row(action, &id, version, false, NO_TIME, 0, 0);
	action_unref(action);
	return with_row;
}

static void put(struct window *window, int number, int64_t version, int64_t due)
{
	struct action *action = make_action(number, version);

	window_put(window, action, due);
	action_unref(action);
}

static int64_t least(const int64_t *model)
{
	int64_t min = NO_TIME;

	for (int i = 0; i < ACTIONS; i++)
		if (model[i] != NO_TIME && (min == NO_TIME || model[i] < min))
			min = model[i];
	return min;
}

static void pop_and_compare(struct window *window, int64_t *model, int64_t now)
{
	int64_t due, want = least(model);
	struct action *action = window_pop(window, now, &due);

	if (!action) {
		assert_true(want == NO_TIME || want > now);
		return;
	}
	assert_int_equal(due, want);
	assert_int_equal(model[action->id.bytes[0]], due);
	model[action->id.bytes[0]] = NO_TIME;
	action_unref(action);
}

static void test_window_behaves_like_a_sorted_list(void **state)
{
	struct window *window = window_create();
	int64_t model[ACTIONS];
	struct seed seed = seed_start("window");

	for (int i = 0; i < ACTIONS; i++)
		model[i] = NO_TIME;
	for (int step = 0; step < STEPS; step++) {
		int number = (int)seed_below(&seed, ACTIONS);
		struct id id = {.bytes = {(uint8_t)number}};

		switch (seed_below(&seed, 4)) {
		case 0:
		case 1:
			model[number] = (int64_t)seed_below(&seed, 1000);
			put(window, number, 1, model[number]);
			break;
		case 2:
			window_remove(window, &id);
			model[number] = NO_TIME;
			break;
		default:
			pop_and_compare(window, model, (int64_t)seed_below(&seed, 1000));
		}
		assert_int_equal(window_head(window), least(model));
	}
	window_destroy(window);
}

static void test_put_of_an_older_version_changes_nothing(void **state)
{
	struct window *window = window_create();

	put(window, 1, 2, 500);
	put(window, 1, 1, 100);
	assert_int_equal(window_head(window), 500);
	put(window, 1, 2, 300);
	assert_int_equal(window_head(window), 300);
	put(window, 1, 3, NO_TIME);
	assert_int_equal(window_count(window), 0);
	window_destroy(window);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_window_behaves_like_a_sorted_list),
		cmocka_unit_test(test_put_of_an_older_version_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
