/* SPDX-License-Identifier: Apache-2.0
 *
 * What a name picks: H in cron expressions and jitter, against values that were computed elsewhere
 * from the formula in doc/schedules.md; and the bounds. That a value never changes is the promise,
 * so a failing row here is no row to correct. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "plan_input.h"
#include "seed.h"

#define FROM   "2026-01-01T00:00:00Z"
#define DAY_MS INT64_C(86400000)
#define ROUNDS 400
#define LISTED 400

/* --- H --- */

/* A row a line: */
/* clang-format off */
static const struct {
	const char *name, *cron, *same_as;
} hash_rows[] = {
	{"backup", "H H * * *", "27 14 * * *"},
	{"backup", "h H H H * *", "48 27 14 14 * *"},
	{"backup", "0 0 1 H *", "0 0 1 12 *"},
	{"backup", "0 0 * * H", "0 0 * * 0"},
	{"backup", "H/15 * * * *", "12-59/15 * * * *"},
	{"backup", "H(0-29) * * * *", "27 * * * *"},
	{"backup", "0 H(9-17)/2 * * *", "0 9-17/2 * * *"},
	{"backup", "H(10-19)/30,59 * * * *", "17,59 * * * *"},
	{"backup", "0 0 H/7 * *", "0 0 7-28/7 * *"},
	{"backup", "0 0 ? * H(MON-FRI)", "0 0 ? * 3"},
	{"backup", "0 0 ? * H(5-7)", "0 0 ? * 0"},
	{"backup", "0 0 H(29-31) * *", "0 0 29 * *"},
	{"report", "H H * * *", "50 19 * * *"},
	{"report", "h H H H * *", "34 50 19 2 * *"},
	{"report", "0 0 1 H *", "0 0 1 11 *"},
	{"report", "0 0 * * H", "0 0 * * 1"},
	{"report", "H/15 * * * *", "5-59/15 * * * *"},
	{"report", "H(0-29) * * * *", "20 * * * *"},
	{"report", "0 H(9-17)/2 * * *", "0 10-17/2 * * *"},
	{"report", "H(10-19)/30,59 * * * *", "10,59 * * * *"},
	{"report", "0 0 H/7 * *", "0 0 2-28/7 * *"},
	{"report", "0 0 ? * H(MON-FRI)", "0 0 ? * 1"},
	{"report", "0 0 ? * H(5-7)", "0 0 ? * 0"},
	{"report", "0 0 H(29-31) * *", "0 0 31 * *"},
	{"job-1", "H H * * *", "34 20 * * *"},
	{"job-1", "h H H H * *", "30 34 20 14 * *"},
	{"job-1", "0 0 1 H *", "0 0 1 2 *"},
	{"job-1", "0 0 * * H", "0 0 * * 5"},
	{"job-1", "H/15 * * * *", "4-59/15 * * * *"},
	{"job-1", "H(0-29) * * * *", "4 * * * *"},
	{"job-1", "0 H(9-17)/2 * * *", "0 9-17/2 * * *"},
	{"job-1", "H(10-19)/30,59 * * * *", "14,59 * * * *"},
	{"job-1", "0 0 H/7 * *", "0 0 7-28/7 * *"},
	{"job-1", "0 0 ? * H(MON-FRI)", "0 0 ? * 1"},
	{"job-1", "0 0 ? * H(5-7)", "0 0 ? * 6"},
	{"job-1", "0 0 H(29-31) * *", "0 0 29 * *"},
	{"job-2", "H H * * *", "55 1 * * *"},
	{"job-2", "h H H H * *", "51 55 1 12 * *"},
	{"job-2", "0 0 1 H *", "0 0 1 2 *"},
	{"job-2", "0 0 * * H", "0 0 * * 1"},
	{"job-2", "H/15 * * * *", "10-59/15 * * * *"},
	{"job-2", "H(0-29) * * * *", "25 * * * *"},
	{"job-2", "0 H(9-17)/2 * * *", "0 10-17/2 * * *"},
	{"job-2", "H(10-19)/30,59 * * * *", "15,59 * * * *"},
	{"job-2", "0 0 H/7 * *", "0 0 5-28/7 * *"},
	{"job-2", "0 0 ? * H(MON-FRI)", "0 0 ? * 1"},
	{"job-2", "0 0 ? * H(5-7)", "0 0 ? * 0"},
	{"job-2", "0 0 H(29-31) * *", "0 0 29 * *"},
	{"größe", "H H * * *", "36 14 * * *"},
	{"größe", "h H H H * *", "48 36 14 9 * *"},
	{"größe", "0 0 1 H *", "0 0 1 3 *"},
	{"größe", "0 0 * * H", "0 0 * * 0"},
	{"größe", "H/15 * * * *", "6-59/15 * * * *"},
	{"größe", "H(0-29) * * * *", "6 * * * *"},
	{"größe", "0 H(9-17)/2 * * *", "0 9-17/2 * * *"},
	{"größe", "H(10-19)/30,59 * * * *", "16,59 * * * *"},
	{"größe", "0 0 H/7 * *", "0 0 2-28/7 * *"},
	{"größe", "0 0 ? * H(MON-FRI)", "0 0 ? * 3"},
	{"größe", "0 0 ? * H(5-7)", "0 0 ? * 6"},
	{"größe", "0 0 H(29-31) * *", "0 0 29 * *"},
};
/* clang-format on */

static void test_hash_is_the_value_that_the_formula_gives(void **state)
{
	for (size_t i = 0; i < COUNT_OF(hash_rows); i++) {
		struct schedule *hashed = plan_input(&(struct schedule_spec){
			.cron = hash_rows[i].cron, .name = hash_rows[i].name});
		struct schedule *plain =
			plan_input(&(struct schedule_spec){.cron = hash_rows[i].same_as});
		int64_t at_ms = at(FROM);

		for (int n = 0; n < 50; n++) {
			int64_t expected_ms = schedule_next(plain, at_ms);

			if (schedule_next(hashed, at_ms) != expected_ms)
				fail_msg("'%s' of %s is not '%s'", hash_rows[i].cron,
					hash_rows[i].name, hash_rows[i].same_as);
			at_ms = expected_ms;
		}
		assert_true(schedule_uses_name(hashed));
		assert_false(schedule_uses_name(plain));
		schedule_unref(hashed);
		schedule_unref(plain);
	}
}

/* Day of month in every month; numbers within the range; every value is somebody's. */
static void test_hash_of_many_names_fills_its_range_evenly(void **state)
{
	static const struct {
		const char *cron;
		int from, count;
		int64_t unit_ms;
	} rows[] = {
		{"H 0 1 1 *", 0, 60, 60000},
		{"0 H 1 1 *", 0, 24, 3600000},
		{"0 0 H 1 *", 0, 28, DAY_MS},
		{"0 0 H(10-20) 1 *", 9, 11, DAY_MS},
		{"H(30-39) 0 1 1 *", 30, 10, 60000},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		int seen[60] = {0};

		for (int n = 0; n < 6000; n++) {
			auto_free char *name = xasprintf("job-%d", n);
			struct schedule *schedule = plan_input(
				&(struct schedule_spec){.cron = rows[i].cron, .name = name});
			int64_t value = (schedule_next(schedule, at(FROM) - 1) - at(FROM)) /
					rows[i].unit_ms;

			assert_true(value >= rows[i].from && value < rows[i].from + rows[i].count);
			seen[value]++;
			schedule_unref(schedule);
		}
		for (int v = rows[i].from; v < rows[i].from + rows[i].count; v++)
			assert_true(seen[v] > 6000 / rows[i].count / 2 &&
				    seen[v] < 6000 / rows[i].count * 2);
	}
}

static void assert_refused(const struct schedule_spec *spec, const char *field, const char *text)
{
	struct schedule *schedule = NULL;
	struct err err = {0};

	if (schedule_parse(spec, &schedule, &err) == ERR_NONE)
		fail_msg("taken instead of refused with '%s'", text);
	assert_string_equal(err.text, text);
	assert_string_equal(err.field, field);
}

static void test_hash_that_is_misused_is_refused(void **state)
{
	static const struct {
		const char *cron, *text;
	} rows[] = {
		{"H(5) * * * *", "cron field 'minute': 'H(5)': a range such as H(0-59) goes into "
				 "the parentheses"},
		{"0 0 * * H(MON)", "cron field 'day-of-week': 'H(MON)': a range such as H(0-6) "
				   "goes into the parentheses"},
		{"H() * * * *", "cron field 'minute': ')' is not a number"},
		{"H( * * * *", "cron field 'minute': 'H(' is not complete"},
		{"H(*) * * * *", "cron field 'minute': '*)' is not a number"},
		{"H(0-29 * * * *",
			"cron field 'minute': 'H(0-29': a ')' is missing after the range"},
		{"0 H(22-3) * * *",
			"cron field 'hour': 'H(22-3)' runs backwards; turn the range round"},
		{"H(0-60) * * * *", "cron field 'minute': 60 is above 59"},
		{"0 0 H(0-5) * *", "cron field 'day-of-month': 0 is below 1"},
		{"H-5 * * * *", "cron field 'minute': '-5' cannot follow in 'H-5'"},
		{"H5 * * * *", "cron field 'minute': '5' cannot follow in 'H5'"},
		{"5-H * * * *", "cron field 'minute': '5-H': H goes into no range; write H, "
				"H(0-5), H/2 or H(0-5)/2"},
		{"H/0 * * * *", "cron field 'minute': step 0 is below 1"},
		{"H/H * * * *", "cron field 'minute': 'H/H': a number must follow '/'"},
		{"0 0 * * HL",
			"cron field 'day-of-week': 'HL' is not a number or a name such as SUN"},
		{"0 0 H(30-31) 2 *", "cron expression can never be due: no year has day-of-month "
				     "'H(30-31)' with month '2' and day-of-week '*'"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_refused(&(struct schedule_spec){.cron = rows[i].cron, .name = "backup"},
			"/cron", rows[i].text);
}

/* --- jitter --- */

static void test_jitter_is_what_the_formula_gives(void **state)
{
	static const struct {
		const char *name, *cron, *jitter;
		int64_t offsets_ms[4];
	} rows[] = {
		{"backup", "30 2 * * *", "5m", {129168, 222811, 141116}},
		{"backup", "* * * * *", "5m", {9168, 7934, 23560}},
		{"report", "30 2 * * *", "5m", {81576, 58315, 99050}},
		{"report", "* * * * *", "5m", {21576, 48728, 7367}},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct schedule *schedule = plan_input(&(struct schedule_spec){
			.cron = rows[i].cron, .jitter = rows[i].jitter, .name = rows[i].name});
		struct due due = {.at_ms = at("2026-01-01T02:29:59Z")};

		assert_true(schedule_uses_name(schedule));
		for (int n = 0; n < 3; n++) {
			assert_true(schedule_next_due(schedule, due.at_ms, &due));
			assert_true(due.at_ms - due.nominal_ms == rows[i].offsets_ms[n]);
			assert_true(due.nominal_ms % 60000 == 0);
		}
		schedule_unref(schedule);
	}
}

static const struct schedule_spec jittered_specs[] = {
	{.cron = "* * * * *", .jitter = "1m"},
	{.cron = "* * * * * *", .jitter = "7d", .timezone = "Europe/Paris"},
	{.cron = "*/5 9-10 * * *", .jitter = "1h", .timezone = "America/New_York"},
	{.cron = "30 2 * * *", .jitter = "12h", .timezone = "Europe/Paris"},
	{.cron = "0,59 1-3 * * *",
		.jitter = "3d",
		.dst_overlap = DST_OVERLAP_BOTH,
		.timezone = "Europe/Paris"},
	{.cron = "30 2 * * *", .jitter = "100ms", .timezone = "Australia/Lord_Howe"},
	{.cron = "H H * * *", .jitter = "2d"},
	{.every = "7m", .jitter = "7m"},
	{.every = "250ms", .jitter = "100ms"},
	{.at = "2026-10-25T01:00:00Z", .jitter = "1d"},
};

/* The due times one by one from the nominal ones: what jitter and bounds promise. */
static size_t list_slowly(const struct schedule_spec *spec, int64_t from_ms, int64_t *dues)
{
	struct schedule_spec plain_spec = *spec;
	struct schedule *plain = NULL;
	int64_t jitter_ms = 0, start_ms = 0, end_ms = INT64_MAX, nominal_ms = 0;
	size_t count = 0;

	plain_spec.jitter = plain_spec.start_at = plain_spec.end_at = NULL;
	plain = plan_input(&plain_spec);
	assert_true(parse_duration(spec->jitter, &jitter_ms));
	if (spec->start_at)
		start_ms = at(spec->start_at);
	if (spec->end_at)
		end_ms = at(spec->end_at);
	nominal_ms = schedule_next(plain, from_ms - jitter_ms - 1);
	while (nominal_ms != NO_TIME && nominal_ms <= end_ms && count < LISTED) {
		int64_t next_ms = schedule_next(plain, nominal_ms);
		int64_t room_ms = next_ms != NO_TIME && next_ms - nominal_ms < jitter_ms
					  ? next_ms - nominal_ms
					  : jitter_ms;
		int64_t due_ms = nominal_ms + spread_pick(spread_hash(spec->name),
						      (uint64_t)nominal_ms, room_ms);

		if (due_ms >= from_ms && due_ms >= start_ms && due_ms <= end_ms)
			dues[count++] = due_ms;
		if (jitter_ms > DAY_MS && next_ms != NO_TIME && next_ms < from_ms - 10 * 60000 &&
			schedule_next(plain, from_ms - 10 * 60000) < from_ms)
			next_ms = schedule_next(plain, from_ms - 10 * 60000);
		nominal_ms = next_ms;
	}
	schedule_unref(plain);
	return count;
}

static void compare_with_list(const struct schedule_spec *spec, int64_t from_ms, struct seed *seed)
{
	static int64_t dues[LISTED];
	struct schedule *schedule = plan_input(spec);
	size_t count = list_slowly(spec, from_ms, dues);
	int64_t at_ms = from_ms - 1;

	for (size_t i = 0; i < count; i++) {
		assert_true(i == 0 || dues[i] > dues[i - 1]);
		at_ms = schedule_next(schedule, at_ms);
		if (at_ms != dues[i])
			fail_msg("'%s' %s: number %zu after %" PRId64 " is %" PRId64
				 " instead of %" PRId64,
				spec->cron ? spec->cron : spec->every, spec->jitter, i, from_ms - 1,
				at_ms, dues[i]);
	}
	for (int n = 0; n < 20 && count > 0; n++) {
		size_t i = seed_below(seed, count);
		int64_t inside_ms =
			dues[i] - (int64_t)seed_below(seed, (uint64_t)(dues[i] - from_ms) + 1);
		size_t before = 0;

		while (before < count && dues[before] < inside_ms)
			before++;
		assert_true(schedule_next(schedule, inside_ms - 1) == dues[before]);
		assert_true(schedule_count(schedule, from_ms, dues[i]) == (int64_t)i + 1);
		assert_true(schedule_count(schedule, from_ms, dues[i] - 1) == (int64_t)i);
		assert_true(
			schedule_count(schedule, inside_ms, dues[i]) == (int64_t)(i + 1 - before));
	}
	schedule_unref(schedule);
}

static void test_jitter_keeps_order_and_counts_exactly(void **state)
{
	struct seed seed = seed_start("test_spread");
	int64_t begin_ms = at("2026-10-22T00:00:00Z");

	for (int round = 0; round < ROUNDS; round++) {
		struct schedule_spec spec =
			jittered_specs[seed_below(&seed, COUNT_OF(jittered_specs))];
		int64_t from_ms = begin_ms + (int64_t)seed_below(&seed, 5 * DAY_MS);
		char name[24], start[RFC3339_TEXT_SIZE], end[RFC3339_TEXT_SIZE];

		(void)snprintf(name, sizeof(name), "job-%d", round);
		spec.name = name;
		if (!spec.at && seed_below(&seed, 3) == 0)
			spec.start_at = format_rfc3339(
				from_ms - DAY_MS + (int64_t)seed_below(&seed, 2 * DAY_MS), start);
		if (!spec.at && seed_below(&seed, 3) == 0)
			spec.end_at = format_rfc3339(
				from_ms + 2 * DAY_MS + (int64_t)seed_below(&seed, DAY_MS), end);
		compare_with_list(&spec, from_ms, &seed);
	}
}

/* A cursor on a jittered time: the rows of an outage add up, and the next is the schedule's. */
static void test_misfire_counts_jittered_times_exactly(void **state)
{
	struct misfire_rules rules = {MISFIRE_ALL, 60000, DAY_MS, 3};
	int64_t now_ms = at("2026-10-26T12:34:56Z");

	for (size_t i = 0; i < COUNT_OF(jittered_specs); i++) {
		struct schedule_spec spec = jittered_specs[i];
		struct planned_due *dues = NULL;
		int64_t next_ms = 0, expected_ms = 0, total = 0;
		size_t count = 0;
		struct schedule *schedule = NULL;

		spec.name = "backup";
		schedule = plan_input(&spec);
		expected_ms = schedule_next(schedule, now_ms - 5 * DAY_MS);
		count = misfire_plan(schedule, &rules, expected_ms, now_ms, &dues, &next_ms);
		for (size_t d = 0; d < count; d++) {
			total += dues[d].count;
			assert_true(schedule_count(schedule, dues[d].due_at_ms, dues[d].until_ms) ==
				    dues[d].count);
			assert_true(d == 0 || schedule_next(schedule, dues[d - 1].until_ms) ==
						      dues[d].due_at_ms);
		}
		assert_true(total == schedule_count(schedule, expected_ms, now_ms));
		assert_true(next_ms == schedule_next(schedule, now_ms));
		free(dues);
		schedule_unref(schedule);
	}
}

static void test_jitter_that_is_misused_is_refused(void **state)
{
	assert_refused(&(struct schedule_spec){.cron = "* * * * *", .jitter = "1m"}, "/jitter",
		"jitter is picked by the action's name, which is not given");
	assert_refused(
		&(struct schedule_spec){.cron = "* * * * *", .jitter = "soon", .name = "backup"},
		"/jitter", "jitter 'soon' is not a duration such as 30s or 5m");
	assert_refused(
		&(struct schedule_spec){.cron = "* * * * *", .jitter = "8d", .name = "backup"},
		"/jitter", "jitter '8d' is above 7d");
	assert_refused(&(struct schedule_spec){.every = "5m", .jitter = "6m", .name = "backup"},
		"/jitter", "jitter '6m' is longer than the interval");
}

static void test_jitter_beyond_the_distance_draws_a_remark(void **state)
{
	struct schedule *short_one = plan_input(
		&(struct schedule_spec){.cron = "* * * * *", .jitter = "1m", .name = "backup"});
	struct schedule *long_one = plan_input(
		&(struct schedule_spec){.cron = "* * * * *", .jitter = "2m", .name = "backup"});

	assert_null(schedule_warning(short_one));
	assert_string_equal(schedule_warning(long_one),
		"due times nearer to each other than the jitter, 2m, move by less than their "
		"distance");
	schedule_unref(short_one);
	schedule_unref(long_one);
}

/* --- bounds --- */

static void test_bounds_hold_the_due_times_on_them_and_between(void **state)
{
	assert_dues(&(struct schedule_spec){.cron = "0 9 * * *",
			    .timezone = "Europe/Paris",
			    .start_at = "2026-03-28T09:00:00+01:00",
			    .end_at = "2026-03-30T09:00:00+02:00"},
		FROM,
		(const char *const[DUES_MAX]){"2026-03-28T09:00:00+01:00",
			"2026-03-29T09:00:00+02:00", "2026-03-30T09:00:00+02:00", "none"});
	assert_dues(&(struct schedule_spec){.every = "1h",
			    .start_at = "2026-03-28T09:00:00.001Z",
			    .end_at = "2026-03-28T10:59:59.999Z"},
		FROM, (const char *const[DUES_MAX]){"2026-03-28T10:00:00+00:00", "none"});
	assert_dues(&(struct schedule_spec){.at = "2026-03-28T09:00:00Z",
			    .start_at = "2026-03-28T09:00:00Z",
			    .end_at = "2026-03-28T09:00:00Z"},
		FROM, (const char *const[DUES_MAX]){"2026-03-28T09:00:00+00:00", "none"});
}

static void test_bounds_that_hold_nothing_are_refused(void **state)
{
	assert_refused(&(struct schedule_spec){.cron = "0 9 * * *", .start_at = "tomorrow"},
		"/start_at",
		"start_at 'tomorrow' is not a time with an offset such as 2026-11-22T01:30:00Z");
	assert_refused(&(struct schedule_spec){.cron = "0 9 * * *", .end_at = "2026-13-01"},
		"/end_at",
		"end_at '2026-13-01' is not a time with an offset such as 2026-11-22T01:30:00Z");
	assert_refused(&(struct schedule_spec){.cron = "0 9 * * *",
			       .start_at = "2026-11-22T01:30:00Z",
			       .end_at = "2026-11-22T02:00:00+01:00"},
		"/end_at", "end_at 2026-11-22T01:00:00Z is before start_at 2026-11-22T01:30:00Z");
	assert_refused(&(struct schedule_spec){.cron = "0 9 * * *",
			       .start_at = "2026-11-22T09:00:01Z",
			       .end_at = "2026-11-23T08:59:59Z"},
		"/end_at",
		"there is no due time from start_at 2026-11-22T09:00:01Z to end_at "
		"2026-11-23T08:59:59Z");
	assert_refused(&(struct schedule_spec){.at = "2026-11-22T09:00:01Z",
			       .end_at = "2026-11-22T09:00:00Z"},
		"/end_at", "there is no due time up to end_at 2026-11-22T09:00:00Z");
	assert_refused(&(struct schedule_spec){.at = "2026-11-22T09:00:00Z",
			       .start_at = "2026-11-22T09:00:01Z"},
		"/start_at", "there is no due time from start_at 2026-11-22T09:00:01Z on");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hash_is_the_value_that_the_formula_gives),
		cmocka_unit_test(test_hash_of_many_names_fills_its_range_evenly),
		cmocka_unit_test(test_hash_that_is_misused_is_refused),
		cmocka_unit_test(test_jitter_is_what_the_formula_gives),
		cmocka_unit_test(test_jitter_keeps_order_and_counts_exactly),
		cmocka_unit_test(test_misfire_counts_jittered_times_exactly),
		cmocka_unit_test(test_jitter_that_is_misused_is_refused),
		cmocka_unit_test(test_jitter_beyond_the_distance_draws_a_remark),
		cmocka_unit_test(test_bounds_hold_the_due_times_on_them_and_between),
		cmocka_unit_test(test_bounds_that_hold_nothing_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
