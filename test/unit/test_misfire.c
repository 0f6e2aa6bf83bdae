/* SPDX-License-Identifier: Apache-2.0
 *
 * Missed due times: each policy by table, the promises of plan.h on random outages against a plan
 * made the slow way, and a year of seconds. */
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

#define ROUNDS    3000
#define SLOW_MAX  6000
#define MINUTE_MS 60000
#define HOUR_MS   3600000
#define DAY_MS    INT64_C(86400000)

static const struct misfire_rules usual = {.policy = MISFIRE_LATEST,
	.grace_ms = MINUTE_MS,
	.max_lateness_ms = DAY_MS,
	.max_catchup = 100};

/* A plan as a text: R, S (late) or L (limit) a due time, with a count when it is more than one. */
static const char *plan_text(const struct planned_due *dues, size_t count, char *text, size_t size)
{
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < count && len < size; i++) {
		len += (size_t)snprintf(text + len, size - len, "%c", "RSL"[dues[i].verdict]);
		if (dues[i].count > 1)
			len += (size_t)snprintf(text + len, size - len, "%" PRId64, dues[i].count);
	}
	return text;
}

/* A row a line: */
/* clang-format off */

static const struct {
	enum misfire policy;
	int max_catchup;
	const char *lateness, *expected, *now;
	const char *plan, *next;
} outages[] = {
	/* nothing is due yet */
	{MISFIRE_LATEST, 100, "1d", "2026-01-01T12:00:00Z", "2026-01-01T11:59:59.999Z", "", "2026-01-01T12:00:00Z"},
	/* on time, to the millisecond and to the end of the grace */
	{MISFIRE_LATEST, 100, "1d", "2026-01-01T12:00:00Z", "2026-01-01T12:00:00Z", "R", "2026-01-01T13:00:00Z"},
	{MISFIRE_SKIP, 0, "0", "2026-01-01T12:00:00Z", "2026-01-01T12:01:00Z", "R", "2026-01-01T13:00:00Z"},
	{MISFIRE_SKIP, 0, "0", "2026-01-01T12:00:00Z", "2026-01-01T12:01:00.001Z", "S", "2026-01-01T13:00:00Z"},
	/* five missed, the newest of them late: 08:00 to 12:00 at 12:30 */
	{MISFIRE_LATEST, 100, "1d", "2026-01-01T08:00:00Z", "2026-01-01T12:30:00Z", "SSSSR", "2026-01-01T13:00:00Z"},
	{MISFIRE_SKIP, 100, "1d", "2026-01-01T08:00:00Z", "2026-01-01T12:30:00Z", "SSSSS", "2026-01-01T13:00:00Z"},
	{MISFIRE_EARLIEST, 100, "1d", "2026-01-01T08:00:00Z", "2026-01-01T12:30:00Z", "RSSSS", "2026-01-01T13:00:00Z"},
	{MISFIRE_ALL, 100, "1d", "2026-01-01T08:00:00Z", "2026-01-01T12:30:00Z", "RRRRR", "2026-01-01T13:00:00Z"},
	{MISFIRE_ALL, 2, "1d", "2026-01-01T08:00:00Z", "2026-01-01T12:30:00Z", "LLLRR", "2026-01-01T13:00:00Z"},
	{MISFIRE_ALL, 0, "1d", "2026-01-01T08:00:00Z", "2026-01-01T12:30:00Z", "LLLLL", "2026-01-01T13:00:00Z"},
	{MISFIRE_LATEST, 0, "1d", "2026-01-01T08:00:00Z", "2026-01-01T12:30:00Z", "SSSSS", "2026-01-01T13:00:00Z"},
	{MISFIRE_EARLIEST, 0, "1d", "2026-01-01T08:00:00Z", "2026-01-01T12:30:00Z", "SSSSS", "2026-01-01T13:00:00Z"},
	/* the newest is on time: it is the latest */
	{MISFIRE_LATEST, 100, "1d", "2026-01-01T08:00:00Z", "2026-01-01T12:00:30Z", "SSSSR", "2026-01-01T13:00:00Z"},
	{MISFIRE_SKIP, 100, "1d", "2026-01-01T08:00:00Z", "2026-01-01T12:00:30Z", "SSSSR", "2026-01-01T13:00:00Z"},
	{MISFIRE_EARLIEST, 100, "1d", "2026-01-01T08:00:00Z", "2026-01-01T12:00:30Z", "RSSSR", "2026-01-01T13:00:00Z"},
	{MISFIRE_ALL, 2, "1d", "2026-01-01T08:00:00Z", "2026-01-01T12:00:30Z", "LLRRR", "2026-01-01T13:00:00Z"},
	/* older than 2 h 30 min never runs: 08:00 and 09:00 */
	{MISFIRE_LATEST, 100, "2h30m", "2026-01-01T08:00:00Z", "2026-01-01T12:30:00Z", "SSSSR", "2026-01-01T13:00:00Z"},
	{MISFIRE_EARLIEST, 100, "2h30m", "2026-01-01T08:00:00Z", "2026-01-01T12:30:00Z", "SSRSS", "2026-01-01T13:00:00Z"},
	{MISFIRE_ALL, 100, "2h30m", "2026-01-01T08:00:00Z", "2026-01-01T12:30:00Z", "SSRRR", "2026-01-01T13:00:00Z"},
	{MISFIRE_ALL, 2, "2h30m", "2026-01-01T08:00:00Z", "2026-01-01T12:30:00Z", "SSLRR", "2026-01-01T13:00:00Z"},
	{MISFIRE_ALL, 100, "10m", "2026-01-01T08:00:00Z", "2026-01-01T12:30:00Z", "SSSSS", "2026-01-01T13:00:00Z"},
	/* lateness below the grace: on time is on time */
	{MISFIRE_ALL, 100, "1s", "2026-01-01T11:00:00Z", "2026-01-01T12:00:30Z", "SR", "2026-01-01T13:00:00Z"},
	/* a cursor that the schedule does not name (it was changed meanwhile) is due as well */
	{MISFIRE_ALL, 100, "1d", "2026-01-01T10:20:00Z", "2026-01-01T12:30:00Z", "RRR", "2026-01-01T13:00:00Z"},
	{MISFIRE_LATEST, 100, "1d", "2026-01-01T12:20:00Z", "2026-01-01T12:30:00Z", "R", "2026-01-01T13:00:00Z"},
};

static void test_policy_decides_what_late_due_times_run(void **state)
{
	struct schedule *schedule = plan_input(&(struct schedule_spec){.cron = "0 * * * *"});

	for (size_t i = 0; i < COUNT_OF(outages); i++) {
		struct misfire_rules rules = usual;
		struct planned_due *dues = NULL;
		int64_t next_ms = 0;
		char text[64];
		size_t count = 0;

		rules.policy = outages[i].policy;
		rules.max_catchup = outages[i].max_catchup;
		assert_true(parse_duration(outages[i].lateness, &rules.max_lateness_ms));
		count = misfire_plan(
			schedule, &rules, at(outages[i].expected), at(outages[i].now), &dues, &next_ms);
		if (strcmp(plan_text(dues, count, text, sizeof(text)), outages[i].plan) != 0)
			fail_msg("row %zu: %s instead of %s", i, text, outages[i].plan);
		assert_true(next_ms == at(outages[i].next));
		assert_true(count == 0 || dues[0].due_at_ms == at(outages[i].expected));
		free(dues);
	}
	schedule_unref(schedule);
}

/* clang-format on */

static void test_moment_that_was_missed_runs_late_and_never_again(void **state)
{
	struct schedule *schedule =
		plan_input(&(struct schedule_spec){.at = "2026-01-01T12:00:00Z"});
	struct planned_due *dues = NULL;
	int64_t next_ms = 0;

	assert_int_equal(misfire_plan(schedule, &usual, at("2026-01-01T12:00:00Z"),
				 at("2026-01-01T18:00:00Z"), &dues, &next_ms),
		1);
	assert_int_equal(dues[0].verdict, DUE_RUN);
	assert_true(dues[0].due_at_ms == at("2026-01-01T12:00:00Z"));
	assert_true(next_ms == NO_TIME);
	free(dues);
	schedule_unref(schedule);
}

/* 2025 has 31,536,000 seconds; asked at the end of it. */
static void test_year_of_seconds_is_summed_up_exactly(void **state)
{
	static const struct {
		struct schedule_spec spec;
		enum misfire policy;
		const char *tail; /* the plan after 1,000 single skips */
	} rows[] = {
		{{.cron = "* * * * * *"}, MISFIRE_LATEST, "S31534939"},
		{{.cron = "* * * * * *", .timezone = "Europe/Paris"}, MISFIRE_SKIP, "S31534939"},
		{{.every = "1s"}, MISFIRE_SKIP, "S31534939"},
		{{.every = "100ms"}, MISFIRE_SKIP, "S315358390"},
		/* a day and its grace are the late ones: all but 1,000 of them over the limit */
		{{.cron = "* * * * * *"}, MISFIRE_ALL, "S31448599L86240RRR"},
		{{.cron = "* * * * * *", .timezone = "America/New_York"}, MISFIRE_EARLIEST,
			"S31448599RS86339"},
	};
	int64_t from_ms = at("2025-01-01T00:00:00Z"), now_ms = at("2025-12-31T23:59:59Z");

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct schedule *schedule = plan_input(&rows[i].spec);
		struct misfire_rules rules = usual;
		struct planned_due *dues = NULL;
		int64_t next_ms = 0, total = 0;
		size_t count = 0;
		char text[2048];

		rules.policy = rows[i].policy;
		count = misfire_plan(schedule, &rules, from_ms, now_ms, &dues, &next_ms);
		assert_true(count <= 2 * MISFIRE_MAX_ROWS + 2 + (size_t)rules.max_catchup);
		(void)plan_text(dues, count, text, sizeof(text));
		if (memcmp(text + MISFIRE_MAX_ROWS, rows[i].tail, strlen(rows[i].tail)) != 0)
			fail_msg("row %zu: %.60s instead of %s", i, text + MISFIRE_MAX_ROWS,
				rows[i].tail);
		for (size_t d = 0; d < count; d++)
			total += dues[d].count;
		assert_true(total == schedule_count(schedule, from_ms, now_ms));
		assert_true(schedule_next(schedule, dues[MISFIRE_MAX_ROWS].until_ms) ==
			    dues[MISFIRE_MAX_ROWS + 1].due_at_ms);
		assert_true(next_ms > now_ms && next_ms <= now_ms + 1000);
		free(dues);
		schedule_unref(schedule);
	}
}

/* More on time than a plan may hold: the rest is left for the next one, not lost. */
static void test_flood_of_due_times_on_time_is_cut_into_plans(void **state)
{
	struct schedule *schedule = plan_input(&(struct schedule_spec){.every = "1s"});
	struct misfire_rules rules = usual;
	int64_t cursor_ms = at("2026-01-01T00:00:00Z"), now_ms = at("2026-01-01T00:59:59Z");
	int64_t runs = 0, plans = 0;

	rules.grace_ms = HOUR_MS;
	while (cursor_ms <= now_ms) {
		struct planned_due *dues = NULL;
		size_t count = misfire_plan(schedule, &rules, cursor_ms, now_ms, &dues, &cursor_ms);

		assert_true(count > 0 && count <= MISFIRE_MAX_ROWS);
		assert_true(dues[count - 1].until_ms < cursor_ms);
		runs += (int64_t)count;
		plans++;
		free(dues);
	}
	assert_true(runs == 3600);
	assert_true(plans == 4);
	schedule_unref(schedule);
}

static void test_limits_out_of_range_do_no_harm(void **state)
{
	struct schedule *schedule = plan_input(&(struct schedule_spec){.every = "1s"});
	struct misfire_rules rules = {.policy = MISFIRE_ALL,
		.grace_ms = 0,
		.max_lateness_ms = INT64_MAX,
		.max_catchup = INT32_MAX};
	struct planned_due *dues = NULL;
	int64_t next_ms = 0;
	size_t count = misfire_plan(schedule, &rules, at("2020-01-01T00:00:00Z"),
		at("2026-01-01T00:00:00Z"), &dues, &next_ms);

	assert_true(count == MISFIRE_MAX_ROWS + 1 + MISFIRE_MAX_CATCHUP + 1);
	assert_int_equal(dues[0].verdict, DUE_SKIP_LIMIT);
	free(dues);
	rules.grace_ms = INT64_MAX;
	rules.max_catchup = -5;
	count = misfire_plan(schedule, &rules, at("2025-12-31T23:59:58Z"),
		at("2026-01-01T00:00:00Z"), &dues, &next_ms);
	assert_true(count == 3);
	assert_int_equal(dues[0].verdict, DUE_RUN);
	free(dues);
	schedule_unref(schedule);
}

/* --- against the slow way --- */

struct slow {
	int64_t at_ms[SLOW_MAX];
	enum due_verdict verdicts[SLOW_MAX];
	size_t count;
	int64_t next_ms;
};

/* Every due time one by one, each judged by the words of plan.h. */
static bool plan_slowly(const struct schedule *schedule, const struct misfire_rules *rules,
	int64_t expected_ms, int64_t now_ms, struct slow *slow)
{
	size_t late = 0, on_time = 0, seen = 0;

	slow->count = 0;
	for (int64_t due = expected_ms; due != NO_TIME && due <= now_ms;
		due = schedule_next(schedule, due)) {
		if (slow->count == SLOW_MAX)
			return false;
		slow->at_ms[slow->count++] = due;
		if (now_ms - due <= rules->grace_ms)
			on_time++;
		else if (now_ms - due <= rules->max_lateness_ms)
			late++;
	}
	slow->next_ms = schedule_next(schedule, now_ms);
	for (size_t i = 0; i < slow->count; i++) {
		int64_t age_ms = now_ms - slow->at_ms[i];
		enum due_verdict *verdict = &slow->verdicts[i];

		*verdict = DUE_SKIP_LATE;
		if (age_ms <= rules->grace_ms) {
			*verdict = DUE_RUN;
			continue;
		}
		if (age_ms > rules->max_lateness_ms)
			continue;
		seen++;
		if (rules->policy == MISFIRE_ALL)
			*verdict =
				late - seen < (size_t)rules->max_catchup ? DUE_RUN : DUE_SKIP_LIMIT;
		if (rules->max_catchup > 0 && rules->policy == MISFIRE_EARLIEST && seen == 1)
			*verdict = DUE_RUN;
		if (rules->max_catchup > 0 && rules->policy == MISFIRE_LATEST && seen == late &&
			on_time == 0)
			*verdict = DUE_RUN;
	}
	return on_time <= MISFIRE_MAX_ROWS;
}

static void assert_same_plan(const struct slow *slow, const struct planned_due *dues, size_t count)
{
	size_t at = 0, singles = 0, sums = 0;

	for (size_t i = 0; i < count; i++) {
		const struct planned_due *due = &dues[i];

		assert_true(due->count >= 1 && at + (size_t)due->count <= slow->count);
		assert_true(due->due_at_ms == slow->at_ms[at]);
		assert_true(due->until_ms == slow->at_ms[at + (size_t)due->count - 1]);
		for (int64_t n = 0; n < due->count; n++)
			assert_int_equal(slow->verdicts[at++], due->verdict);
		if (due->verdict == DUE_RUN)
			assert_true(due->count == 1);
		singles += due->verdict != DUE_RUN && due->count == 1;
		sums += due->count > 1;
	}
	assert_true(at == slow->count);
	/* A stretch whose rest is a single one looks like a single row. */
	assert_true(singles <= MISFIRE_MAX_ROWS + 2 && sums <= 2);
}

static void test_plans_of_random_outages_are_those_made_slowly(void **state)
{
	static const struct schedule_spec specs[] = {
		{.cron = "* * * * *", .timezone = "Europe/Paris"},
		{.cron = "*/10 * * * * *"},
		{.cron = "0,20,40 1-3 * * *", .timezone = "America/New_York"},
		{.cron = "30 2 * * *", .timezone = "Australia/Lord_Howe"},
		{.every = "7m"},
		{.every = "13s"},
		{.at = "2026-10-25T01:00:00Z"},
	};
	struct seed seed = seed_start("test_misfire");
	struct slow *slow = xmalloc(sizeof(*slow));
	int compared = 0;

	for (int round = 0; round < ROUNDS; round++) {
		struct schedule *schedule = plan_input(&specs[seed_below(&seed, COUNT_OF(specs))]);
		struct misfire_rules rules = {.policy = (enum misfire)seed_below(&seed, 4),
			.grace_ms = (int64_t)seed_below(&seed, 2 * HOUR_MS),
			.max_lateness_ms = (int64_t)seed_below(&seed, 2 * DAY_MS),
			.max_catchup = (int)seed_below(&seed, 20)};
		int64_t now_ms =
			at("2026-10-24T00:00:00Z") + (int64_t)seed_below(&seed, 3 * DAY_MS);
		int64_t expected_ms =
			schedule_next(schedule, now_ms - (int64_t)seed_below(&seed, 3 * DAY_MS));

		if (expected_ms != NO_TIME &&
			plan_slowly(schedule, &rules, expected_ms, now_ms, slow)) {
			struct planned_due *dues = NULL;
			int64_t next_ms = 0;
			size_t count = misfire_plan(
				schedule, &rules, expected_ms, now_ms, &dues, &next_ms);

			assert_same_plan(slow, dues, count);
			assert_true(next_ms == slow->next_ms);
			free(dues);
			compared++;
		}
		schedule_unref(schedule);
	}
	free(slow);
	assert_true(compared > ROUNDS / 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policy_decides_what_late_due_times_run),
		cmocka_unit_test(test_moment_that_was_missed_runs_late_and_never_again),
		cmocka_unit_test(test_year_of_seconds_is_summed_up_exactly),
		cmocka_unit_test(test_flood_of_due_times_on_time_is_cut_into_plans),
		cmocka_unit_test(test_limits_out_of_range_do_no_harm),
		cmocka_unit_test(test_plans_of_random_outages_are_those_made_slowly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
