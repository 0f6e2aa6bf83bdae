/* SPDX-License-Identifier: Apache-2.0
 *
 * Schedules that are refused, each with its exact words: they are what the user works from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "plan_input.h"

static void assert_refused(const struct schedule_spec *spec, const char *field, const char *text)
{
	struct schedule *schedule = NULL;
	struct err err = {0};
	int code = schedule_parse(spec, &schedule, &err);

	if (code == ERR_NONE)
		fail_msg("'%s' is taken", spec->cron    ? spec->cron
					  : spec->every ? spec->every
							: "?");
	assert_int_equal(code, ERR_INVALID);
	assert_int_equal(err.code, ERR_INVALID);
	assert_string_equal(err.text, text);
	assert_string_equal(err.field, field);
	assert_null(schedule);
}

static void test_cron_errors_name_field_text_and_range(void **state)
{
	static const struct {
		const char *cron, *text;
	} rows[] = {
#define X(cron, text) {cron, text},
#include "cron_errors.def"
#undef X
	};

	assert_true(COUNT_OF(rows) >= 60);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_refused(
			&(struct schedule_spec){.cron = rows[i].cron}, "/cron", rows[i].text);
}

static void test_cron_whose_date_does_not_exist_is_refused(void **state)
{
	static const struct {
		const char *cron, *day, *month, *weekday;
	} rows[] = {
		{"0 0 30 2 *", "30", "2", "*"},
		{"0 0 31 4,6,9,11 *", "31", "4,6,9,11", "*"},
		{"0 0 30,31 FEB ?", "30,31", "FEB", "?"},
		{"0 0 31W 4 *", "31W", "4", "*"},
		{"0 0 L-29 2 *", "L-29", "2", "*"},
		{"0 0 0 30 2 */2", "30", "2", "*/2"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char text[200];

		(void)snprintf(text, sizeof(text),
			"cron expression can never be due: no year has day-of-month '%s' with "
			"month '%s' and day-of-week '%s'",
			rows[i].day, rows[i].month, rows[i].weekday);
		assert_refused(&(struct schedule_spec){.cron = rows[i].cron}, "/cron", text);
	}
}

static void test_cron_that_both_day_fields_forbid_is_refused(void **state)
{
	assert_refused(
		&(struct schedule_spec){.cron = "0 0 1-7 * MON#2", .day_match = DAY_MATCH_BOTH},
		"/cron",
		"cron expression can never be due: no year has day-of-month '1-7' with month '*' "
		"and "
		"day-of-week 'MON#2'");
}

/* New York jumps from 02:00 to 03:00 on the second Sunday of March, and no other time is asked for.
 */
static void test_cron_that_only_gaps_match_is_refused_when_gaps_are_skipped(void **state)
{
	struct schedule_spec spec = {
		.cron = "30 2 ? 3 SUN#2", .timezone = "America/New_York", .dst_gap = DST_GAP_SKIP};

	assert_refused(&spec, "/cron",
		"cron expression can never be due in zone 'America/New_York': each of its times "
		"falls into "
		"a DST gap and is left out");
	spec.dst_gap = DST_GAP_RUN_AFTER;
	schedule_unref(plan_input(&spec));
	spec.dst_gap = DST_GAP_SKIP;
	spec.cron = "30 2 ? 3 SUN#3";
	schedule_unref(plan_input(&spec));
	/* An interval-like expression leaves gaps alone whatever the setting. */
	spec.dst_gap = DST_GAP_RUN_AFTER;
	spec.cron = "*/10 2 ? 3 SUN#2";
	assert_refused(&spec, "/cron",
		"cron expression can never be due in zone 'America/New_York': each of its times "
		"falls into "
		"a DST gap and is left out");
}

static void test_cron_of_great_length_is_refused(void **state)
{
	char cron[CRON_TEXT_MAX + 2];

	memset(cron, '1', sizeof(cron) - 1);
	cron[sizeof(cron) - 1] = '\0';
	assert_refused(&(struct schedule_spec){.cron = cron}, "/cron",
		"cron expression is longer than 1024 characters");
	cron[CRON_TEXT_MAX] = '\0';
	assert_refused(&(struct schedule_spec){.cron = cron}, "/cron",
		"cron expression has 1 field; it takes 5 (minute hour day-of-month month "
		"day-of-week) or "
		"6 with the second first");
}

static void test_long_text_is_cut_in_the_message(void **state)
{
	char cron[200] = "", text[200];

	memset(cron, 'x', 100);
	(void)snprintf(cron + 100, sizeof(cron) - 100, " * * * *");
	(void)snprintf(text, sizeof(text), "cron field 'minute': '%.60s...' is not a number", cron);
	assert_refused(&(struct schedule_spec){.cron = cron}, "/cron", text);
}

/* A row a line: */
/* clang-format off */

static void test_schedule_errors_name_the_member(void **state)
{
	static const struct {
		struct schedule_spec spec;
		const char *field, *text;
	} rows[] = {
		{{0}, "", "a schedule needs one of 'cron', 'every', 'every_after', 'at', 'rrule' and 'on', or 'run_on_start'; it has none"},
		{{.timezone = "UTC"}, "", "a schedule needs one of 'cron', 'every', 'every_after', 'at', 'rrule' and 'on', or 'run_on_start'; it has none"},
		{{.run_on_start = true, .jitter = "5m", .name = "a"}, "/jitter", "'jitter' goes with due times, and 'run_on_start' has none"},
		{{.cron = "* * * * *", .every = "5m"}, "", "a schedule takes only one of 'cron', 'every', 'every_after', 'at', 'rrule' and 'on'; it has 2"},
		{{.cron = "* * * * *", .every = "5m", .at = "x"}, "", "a schedule takes only one of 'cron', 'every', 'every_after', 'at', 'rrule' and 'on'; it has 3"},
		{{.cron = "* * * * *", .anchor = "2026-01-01T00:00:00Z"}, "/anchor", "'anchor' goes with 'every', which is not there"},
		{{.on = ""}, "/on", "event name '' must be 1 to 200 letters, digits, '.', '_', '-' and ':', or action.*. and one of failing, recovered, late"},
		{{.on = "a/b"}, "/on", "event name 'a/b' must be 1 to 200 letters, digits, '.', '_', '-' and ':', or action.*. and one of failing, recovered, late"},
		{{.on = "e", .jitter = "1s", .name = "n"}, "/jitter", "'jitter' goes with due times, and 'on' has none"},
		{{.every_after = "soon"}, "/every_after", "interval 'soon' is not a duration such as 90s or 1h30m"},
		{{.every_after = "40000d"}, "/every_after", "interval '40000d' is above 36525d"},
		{{.every_after = "1m", .anchor = "2026-01-01T00:00:00Z"}, "/anchor", "'anchor' goes with 'every', which is not there"},
		{{.every = ""}, "/every", "interval '' is not a duration such as 90s or 1h30m"},
		{{.every = "90"}, "/every", "interval '90' is not a duration such as 90s or 1h30m"},
		{{.every = "-5s"}, "/every", "interval '-5s' is not a duration such as 90s or 1h30m"},
		{{.every = "5s1m"}, "/every", "interval '5s1m' is not a duration such as 90s or 1h30m"},
		{{.every = "soon"}, "/every", "interval 'soon' is not a duration such as 90s or 1h30m"},
		{{.every = "9999999999999999999w"}, "/every", "interval '9999999999999999999w' is not a duration such as 90s or 1h30m"},
		{{.every = "0"}, "/every", "interval '0' is below 100ms"},
		{{.every = "99ms"}, "/every", "interval '99ms' is below 100ms"},
		{{.every = "36526d"}, "/every", "interval '36526d' is above 36525d"},
		{{.every = "5m", .anchor = "noon"}, "/anchor", "anchor 'noon' is not a time with an offset such as 2026-11-22T01:30:00Z"},
		{{.every = "5m", .anchor = "2026-11-22T01:30:00"}, "/anchor", "anchor '2026-11-22T01:30:00' is not a time with an offset such as 2026-11-22T01:30:00Z"},
		{{.at = ""}, "/at", "at '' is not a time with an offset such as 2026-11-22T01:30:00Z"},
		{{.at = "2026-02-30T00:00:00Z"}, "/at", "at '2026-02-30T00:00:00Z' is not a time with an offset such as 2026-11-22T01:30:00Z"},
		{{.cron = "* * * * *", .timezone = "Mars/Phobos"}, "/timezone", "unknown time zone 'Mars/Phobos'; use an IANA name such as 'Europe/Paris', or 'UTC'"},
		{{.every = "5m", .timezone = "europe/paris"}, "/timezone", "unknown time zone 'europe/paris'; did you mean 'Europe/Paris'?"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_refused(&rows[i].spec, rows[i].field, rows[i].text);
}

/* clang-format on */

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cron_errors_name_field_text_and_range),
		cmocka_unit_test(test_cron_whose_date_does_not_exist_is_refused),
		cmocka_unit_test(test_cron_that_both_day_fields_forbid_is_refused),
		cmocka_unit_test(test_cron_that_only_gaps_match_is_refused_when_gaps_are_skipped),
		cmocka_unit_test(test_cron_of_great_length_is_refused),
		cmocka_unit_test(test_long_text_is_cut_in_the_message),
		cmocka_unit_test(test_schedule_errors_name_the_member),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
