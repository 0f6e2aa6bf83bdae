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
		fail_msg("'%s' is taken", spec->cron ? spec->cron : spec->every ? spec->every : "?");
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
		/* the number of fields */
		{"", "cron expression has 0 fields; it takes 5 (minute hour day-of-month month day-of-week) or 6 with the second first"},
		{" \t ", "cron expression has 0 fields; it takes 5 (minute hour day-of-month month day-of-week) or 6 with the second first"},
		{"*", "cron expression has 1 field; it takes 5 (minute hour day-of-month month day-of-week) or 6 with the second first"},
		{"* * * *", "cron expression has 4 fields; it takes 5 (minute hour day-of-month month day-of-week) or 6 with the second first"},
		{"0 0 12 * * ? 2026", "cron expression has 7 fields; it takes 5 (minute hour day-of-month month day-of-week) or 6 with the second first"},
		/* above and below */
		{"60 * * * *", "cron field 'minute': 60 is above 59"},
		{"0 25 * * *", "cron field 'hour': 25 is above 23"},
		{"0 24 * * *", "cron field 'hour': 24 is above 23"},
		{"0 0 32 * *", "cron field 'day-of-month': 32 is above 31"},
		{"0 0 0 * *", "cron field 'day-of-month': 0 is below 1"},
		{"0 0 1 13 *", "cron field 'month': 13 is above 12"},
		{"0 0 1 0 *", "cron field 'month': 0 is below 1"},
		{"0 0 * * 8", "cron field 'day-of-week': 8 is above 7"},
		{"60 0 0 * * *", "cron field 'second': 60 is above 59"},
		{"0 60 0 * * *", "cron field 'minute': 60 is above 59"},
		{"0-60 * * * *", "cron field 'minute': 60 is above 59"},
		{"1,2,99 * * * *", "cron field 'minute': 99 is above 59"},
		{"99999999999999999999 * * * *", "cron field 'minute': 99999999999999999999 is above 59"},
		{"0 0 40-50 * *", "cron field 'day-of-month': 40 is above 31"},
		/* not numbers */
		{"x * * * *", "cron field 'minute': 'x' is not a number"},
		{"-5 * * * *", "cron field 'minute': '-5' is not a number"},
		{"+5 * * * *", "cron field 'minute': '+5' is not a number"},
		{"0x5 * * * *", "cron field 'minute': 'x5' cannot follow in '0x5'"},
		{"1.5 * * * *", "cron field 'minute': '.5' cannot follow in '1.5'"},
		{"5a * * * *", "cron field 'minute': 'a' cannot follow in '5a'"},
		{"MON * * * *", "cron field 'minute': 'MON' is not a number"},
		{"0 0 1 MON *", "cron field 'month': 'MON' is not a number or a name such as JAN"},
		{"0 0 1 January *", "cron field 'month': 'January' is not a number or a name such as JAN"},
		{"0 0 1 JA *", "cron field 'month': 'JA' is not a number or a name such as JAN"},
		{"0 0 * * JAN", "cron field 'day-of-week': 'JAN' is not a number or a name such as SUN"},
		{"0 0 * * MOND", "cron field 'day-of-week': 'MOND' is not a number or a name such as SUN"},
		{"0 0 * * MON2", "cron field 'day-of-week': '2' cannot follow in 'MON2'"},
		{"0 0 \xc3\xa9 * *", "cron field 'day-of-month': '\?\?' is not a number"},
		{"0 0 1\n * *", "cron field 'day-of-month': '\?' cannot follow in '1\?'"},
		/* lists */
		{",5 * * * *", "cron field 'minute': ',5' has an empty entry"},
		{"5, * * * *", "cron field 'minute': '5,' has an empty entry"},
		{"1,,2 * * * *", "cron field 'minute': '1,,2' has an empty entry"},
		{", * * * *", "cron field 'minute': ',' has an empty entry"},
		/* ranges */
		{"5- * * * *", "cron field 'minute': '5-' is not complete"},
		{"5-x * * * *", "cron field 'minute': 'x' is not a number"},
		{"1-5-9 * * * *", "cron field 'minute': '-9' cannot follow in '1-5-9'"},
		{"*-5 * * * *", "cron field 'minute': '-5' cannot follow in '*-5'"},
		{"** * * * *", "cron field 'minute': '*' cannot follow in '**'"},
		{"*5 * * * *", "cron field 'minute': '5' cannot follow in '*5'"},
		{"50-10 * * * *", "cron field 'minute': '50-10' runs backwards; write 50-59,0-10"},
		{"0 22-3 * * *", "cron field 'hour': '22-3' runs backwards; write 22-23,0-3"},
		{"0 23-0 * * *", "cron field 'hour': '23-0' runs backwards; write 23,0"},
		{"0 22-3/2 * * *", "cron field 'hour': '22-3/2' runs backwards; write 22-23,0-3"},
		{"0 0 1 NOV-FEB *", "cron field 'month': 'NOV-FEB' runs backwards; write 11-12,1-2"},
		{"0 0 * * FRI-SUN", "cron field 'day-of-week': 'FRI-SUN' runs backwards; write 5-6,0"},
		{"0 0 * * SAT-MON", "cron field 'day-of-week': 'SAT-MON' runs backwards; write 6,0-1"},
		{"0 0 * * 7-2", "cron field 'day-of-week': '7-2' runs backwards; write 0-2"},
		/* steps */
		{"*/0 * * * *", "cron field 'minute': step 0 is below 1"},
		{"5/0 * * * *", "cron field 'minute': step 0 is below 1"},
		{"*/ * * * *", "cron field 'minute': '*/': a number must follow '/'"},
		{"*/x * * * *", "cron field 'minute': '*/x': a number must follow '/'"},
		{"*/-5 * * * *", "cron field 'minute': '*/-5': a number must follow '/'"},
		{"*/5/5 * * * *", "cron field 'minute': '/5' cannot follow in '*/5/5'"},
		{"*/10000 * * * *", "cron field 'minute': step 10000 is above 9999"},
		{"/5 * * * *", "cron field 'minute': '/5' is not a number"},
		/* L, W, #, ?, H */
		{"? * * * *", "cron field 'minute': '?' is for the day fields; write '*'"},
		{"0 0 1 ? *", "cron field 'month': '?' is for the day fields; write '*'"},
		{"0 L * * *", "cron field 'hour': 'L' is not a number"},
		{"0 0 L-31 * *", "cron field 'day-of-month': L-31 is above 30"},
		{"0 0 L- * *", "cron field 'day-of-month': 'L-': a number must follow '-'"},
		{"0 0 L5 * *", "cron field 'day-of-month': '5' cannot follow in 'L5'"},
		{"0 0 L/2 * *", "cron field 'day-of-month': '/2' cannot follow in 'L/2'"},
		{"0 0 L-3W * *", "cron field 'day-of-month': 'W' cannot follow in 'L-3W'"},
		{"0 0 1-L * *", "cron field 'day-of-month': 'L' is not a number"},
		{"0 0 W * *", "cron field 'day-of-month': W needs a day before it: 15W or LW"},
		{"0 0 32W * *", "cron field 'day-of-month': 32 is above 31"},
		{"0 0 0W * *", "cron field 'day-of-month': 0 is below 1"},
		{"0 0 15W-20 * *", "cron field 'day-of-month': '-20' cannot follow in '15W-20'"},
		{"0 0 10-15W * *", "cron field 'day-of-month': 'W' cannot follow in '10-15W'"},
		{"0 0 LWW * *", "cron field 'day-of-month': 'W' cannot follow in 'LWW'"},
		{"0 0 5#3 * *", "cron field 'day-of-month': '#3' cannot follow in '5#3'"},
		{"0 0 * * L", "cron field 'day-of-week': L needs a day before it: 5L is the last Friday of a month"},
		{"0 0 * * 8L", "cron field 'day-of-week': 8 is above 7"},
		{"0 0 * * 5L-6", "cron field 'day-of-week': '-6' cannot follow in '5L-6'"},
		{"0 0 * * 5#0", "cron field 'day-of-week': #0 is below 1"},
		{"0 0 * * 5#6", "cron field 'day-of-week': #6 is above 5"},
		{"0 0 * * 5#", "cron field 'day-of-week': '5#': a number must follow '#'"},
		{"0 0 * * 5#L", "cron field 'day-of-week': '5#L': a number must follow '#'"},
		{"0 0 * * #3", "cron field 'day-of-week': '#3' is not a number or a name such as SUN"},
		{"0 0 * * 5#3/2", "cron field 'day-of-week': '/2' cannot follow in '5#3/2'"},
		{"0 0 * * 5W", "cron field 'day-of-week': 'W' cannot follow in '5W'"},
		{"H * * * *", "cron field 'minute': H (a value picked by the action's name) is not supported yet; write a number"},
		{"0 H(0-7) * * *", "cron field 'hour': H (a value picked by the action's name) is not supported yet; write a number"},
		{"h/15 * * * *", "cron field 'minute': H (a value picked by the action's name) is not supported yet; write a number"},
		/* macros */
		{"@reboot", "cron macro '@reboot' names no time; set \"run_on_start\": true instead"},
		{"@every 5m", "cron macro '@every' is an interval; write \"every\": \"5m\" instead of \"cron\""},
		{"@every", "unknown cron macro '@every'; there are @yearly @annually @monthly @weekly @daily @midnight @hourly"},
		{"@fortnightly", "unknown cron macro '@fortnightly'; there are @yearly @annually @monthly @weekly @daily @midnight @hourly"},
		{"@daily extra", "unknown cron macro '@daily'; there are @yearly @annually @monthly @weekly @daily @midnight @hourly"},
		{"@", "unknown cron macro '@'; there are @yearly @annually @monthly @weekly @daily @midnight @hourly"},
		/* dates that do not exist */
		{"0 0 30 2 *", "cron expression can never be due: no year has day-of-month '30' with month '2' and day-of-week '*'"},
		{"0 0 31 4,6,9,11 *", "cron expression can never be due: no year has day-of-month '31' with month '4,6,9,11' and day-of-week '*'"},
		{"0 0 30,31 FEB ?", "cron expression can never be due: no year has day-of-month '30,31' with month 'FEB' and day-of-week '\?'"},
		{"0 0 31W 4 *", "cron expression can never be due: no year has day-of-month '31W' with month '4' and day-of-week '*'"},
		{"0 0 L-29 2 *", "cron expression can never be due: no year has day-of-month 'L-29' with month '2' and day-of-week '*'"},
		{"0 0 0 30 2 */2", "cron expression can never be due: no year has day-of-month '30' with month '2' and day-of-week '*/2'"},
	};

	assert_true(COUNT_OF(rows) >= 60);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_refused(&(struct schedule_spec){.cron = rows[i].cron}, "/cron", rows[i].text);
}

static void test_cron_that_both_day_fields_forbid_is_refused(void **state)
{
	assert_refused(
		&(struct schedule_spec){.cron = "0 0 1-7 * MON#2", .day_match = DAY_MATCH_BOTH}, "/cron",
		"cron expression can never be due: no year has day-of-month '1-7' with month '*' and "
		"day-of-week 'MON#2'");
}

/* New York jumps from 02:00 to 03:00 on the second Sunday of March, and no other time is asked for. */
static void test_cron_that_only_gaps_match_is_refused_when_gaps_are_skipped(void **state)
{
	struct schedule_spec spec = {.cron = "30 2 ? 3 SUN#2",
		.timezone = "America/New_York",
		.dst_gap = DST_GAP_SKIP};

	assert_refused(&spec, "/cron",
		"cron expression can never be due in zone 'America/New_York': each of its times falls into "
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
		"cron expression can never be due in zone 'America/New_York': each of its times falls into "
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
		"cron expression has 1 field; it takes 5 (minute hour day-of-month month day-of-week) or "
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

static void test_schedule_errors_name_the_member(void **state)
{
	static const struct {
		struct schedule_spec spec;
		const char *field, *text;
	} rows[] = {
		{{0}, "", "a schedule needs one of 'cron', 'every' or 'at'; it has none"},
		{{.timezone = "UTC"}, "", "a schedule needs one of 'cron', 'every' or 'at'; it has none"},
		{{.cron = "* * * * *", .every = "5m"}, "", "a schedule takes only one of 'cron', 'every' and 'at'; it has 2"},
		{{.cron = "* * * * *", .every = "5m", .at = "x"}, "", "a schedule takes only one of 'cron', 'every' and 'at'; it has 3"},
		{{.cron = "* * * * *", .anchor = "2026-01-01T00:00:00Z"}, "/anchor", "'anchor' goes with 'every', which is not there"},
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cron_errors_name_field_text_and_range),
		cmocka_unit_test(test_cron_that_both_day_fields_forbid_is_refused),
		cmocka_unit_test(test_cron_that_only_gaps_match_is_refused_when_gaps_are_skipped),
		cmocka_unit_test(test_cron_of_great_length_is_refused),
		cmocka_unit_test(test_long_text_is_cut_in_the_message),
		cmocka_unit_test(test_schedule_errors_name_the_member),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
