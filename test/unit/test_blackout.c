/* SPDX-License-Identifier: Apache-2.0
 *
 * Windows in which nothing runs: what they cover, to the millisecond, and what becomes of due times
 * in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* needs the ones above */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "plan_input.h"

#define RULES                                                                                      \
	{                                                                                          \
		.policy = MISFIRE_ALL, .grace_ms = 60000, .max_lateness_ms = 86400000,             \
		.max_catchup = 100                                                                 \
	}

static void assert_covers(const struct schedule *schedule, const char *when, bool expected)
{
	if (schedule_is_blacked_out(schedule, at(when)) != expected)
		fail_msg("%s is %scovered", when, expected ? "not " : "");
}

static void test_range_covers_from_its_begin_to_before_its_end(void **state)
{
	const struct blackout_spec window = {
		.from = "2026-12-24T00:00:00Z", .to = "2027-01-02T00:00:00+01:00"};
	struct schedule *schedule = plan_input(
		&(struct schedule_spec){.every = "1h", .blackouts = &window, .blackout_count = 1});

	assert_covers(schedule, "2026-12-23T23:59:59.999Z", false);
	assert_covers(schedule, "2026-12-24T00:00:00Z", true);
	assert_covers(schedule, "2027-01-01T22:59:59.999Z", true);
	assert_covers(schedule, "2027-01-01T23:00:00Z", false);
	schedule_unref(schedule);
}

static void test_recurring_covers_its_duration_on_the_zones_clock(void **state)
{
	const struct blackout_spec window = {.cron = "0 22 * * FRI", .duration = "60h"};
	struct schedule *schedule = plan_input(&(struct schedule_spec){.cron = "0 * * * *",
		.timezone = "Europe/Paris",
		.blackouts = &window,
		.blackout_count = 1});

	assert_covers(schedule, "2026-11-20T21:59:59.999+01:00", false);
	assert_covers(schedule, "2026-11-20T22:00:00+01:00", true);
	assert_covers(schedule, "2026-11-23T09:59:59.999+01:00", true);
	assert_covers(schedule, "2026-11-23T10:00:00+01:00", false);
	/* in summer the same local time */
	assert_covers(schedule, "2026-07-03T21:59:59+02:00", false);
	assert_covers(schedule, "2026-07-03T22:00:00+02:00", true);
	schedule_unref(schedule);
}

static void test_windows_may_overlap_and_be_longer_than_their_distance(void **state)
{
	const struct blackout_spec windows[] = {{.cron = "0 * * * *", .duration = "90m"},
		{.from = "2026-01-01T00:00:00Z", .to = "2026-01-02T00:00:00Z"}};
	struct schedule *schedule = plan_input(&(struct schedule_spec){
		.every = "1m", .blackouts = windows, .blackout_count = COUNT_OF(windows)});

	assert_covers(schedule, "1970-01-01T00:00:00Z", true);
	assert_covers(schedule, "2026-06-01T12:34:56Z", true);
	schedule_unref(schedule);
}

static void assert_plan(const struct schedule *schedule, const char *cursor, const char *now,
	const enum due_verdict *expected, size_t count)
{
	struct misfire_rules rules = RULES;
	struct planned_due *dues = NULL;
	int64_t next_ms;
	size_t found = misfire_plan(schedule, &rules, at(cursor), at(now), &dues, &next_ms);

	assert_int_equal(found, count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(dues[i].verdict, expected[i]);
	free(dues);
}

static void test_due_times_in_a_window_are_skipped_for_it(void **state)
{
	const struct blackout_spec window = {.cron = "0 2 * * *", .duration = "1h"};
	struct schedule *schedule = plan_input(&(struct schedule_spec){
		.cron = "*/30 * * * *", .blackouts = &window, .blackout_count = 1});
	static const enum due_verdict out = DUE_SKIP_BLACKOUT, run = DUE_RUN;

	assert_plan(schedule, "2026-01-01T02:00:00Z", "2026-01-01T02:00:00.005Z", &out, 1);
	assert_plan(schedule, "2026-01-01T03:00:00Z", "2026-01-01T03:00:00.005Z", &run, 1);
	/* due just before, claimed in the window: on time, so it runs */
	assert_plan(schedule, "2026-01-01T01:30:00Z", "2026-01-01T01:30:59Z", &run, 1);
	/* after an outage: late ones wait for no window to pass, they are not run in it */
	assert_plan(schedule, "2026-01-01T01:00:00Z", "2026-01-01T02:10:00Z",
		(const enum due_verdict[]){out, out, out}, 3);
	assert_plan(schedule, "2026-01-01T01:30:00Z", "2026-01-01T03:10:00Z",
		(const enum due_verdict[]){run, out, out, run}, 4);
	schedule_unref(schedule);
}

static void test_preview_says_which_are_skipped(void **state)
{
	const struct blackout_spec window = {
		.from = "2026-01-02T00:00:00Z", .to = "2026-01-03T00:00:00Z"};
	const struct schedule_spec spec = {
		.cron = "0 12 * * *", .blackouts = &window, .blackout_count = 1};

	assert_dues(&spec, "2026-01-01T00:00:00Z",
		(const char *const[DUES_MAX]){"2026-01-01T12:00:00+00:00",
			"2026-01-02T12:00:00+00:00 skipped: blackout",
			"2026-01-03T12:00:00+00:00"});
}

static void test_windows_that_make_no_sense_are_refused(void **state)
{
	static const struct {
		struct blackout_spec window;
		const char *text;
	} rows[] = {
		{{0}, "window 1: takes either 'cron' and 'duration', or 'from' and 'to'"},
		{{.from = "2026-01-01T00:00:00Z"}, "takes either"},
		{{.cron = "* * * * *", .to = "2026-01-01T00:00:00Z", .duration = "1h"},
			"takes either"},
		{{.from = "x", .to = "2026-01-01T00:00:00Z"}, "'from' 'x' is not a time"},
		{{.from = "2026-01-01T00:00:00Z", .to = "2026-01-01T00:00:00Z"}, "not after"},
		{{.cron = "0 25 * * *", .duration = "1h"}, "25 is above 23"},
		{{.cron = "0 2 * * *"}, "'duration' '' is not a duration from 1s to 366d"},
		{{.cron = "0 2 * * *", .duration = "999ms"}, "from 1s to 366d"},
		{{.cron = "0 2 * * *", .duration = "367d"}, "from 1s to 366d"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct schedule *schedule = NULL;
		struct err err = {0};
		const struct schedule_spec spec = {
			.every = "1h", .blackouts = &rows[i].window, .blackout_count = 1};

		assert_int_equal(schedule_parse(&spec, &schedule, &err), ERR_INVALID);
		assert_string_equal(err.field, "/blackout");
		if (!strstr(err.text, rows[i].text))
			fail_msg("'%s' does not say '%s'", err.text, rows[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_range_covers_from_its_begin_to_before_its_end),
		cmocka_unit_test(test_recurring_covers_its_duration_on_the_zones_clock),
		cmocka_unit_test(test_windows_may_overlap_and_be_longer_than_their_distance),
		cmocka_unit_test(test_due_times_in_a_window_are_skipped_for_it),
		cmocka_unit_test(test_preview_says_which_are_skipped),
		cmocka_unit_test(test_windows_that_make_no_sense_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
