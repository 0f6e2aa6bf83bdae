/* SPDX-License-Identifier: Apache-2.0
 *
 * Cron expressions that are taken: every field, form and macro in UTC, months of every length, and
 * the remarks. What is refused is in test_cron_errors.c, local time in test_local.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/civil.h"
#include "base/mem.h"
#include "plan_input.h"

/* A row a line: */
/* clang-format off */

static const struct {
	const char *cron, *after;
	const char *dues[DUES_MAX];
} forms[] = {
	/* minutes */
	{"* * * * *", "2026-01-01T00:00:00Z", {"2026-01-01T00:01:00+00:00", "2026-01-01T00:02:00+00:00"}},
	{"* * * * *", "2026-01-01T00:00:59.999Z", {"2026-01-01T00:01:00+00:00"}},
	{"* * * * *", "2025-12-31T23:59:59.999Z", {"2026-01-01T00:00:00+00:00"}},
	{"5 * * * *", "2026-01-01T00:05:00Z", {"2026-01-01T01:05:00+00:00"}},
	{"05 * * * *", "2026-01-01T00:00:00Z", {"2026-01-01T00:05:00+00:00"}},
	{"1,58,3 * * * *", "2026-01-01T00:02:00Z", {"2026-01-01T00:03:00+00:00", "2026-01-01T00:58:00+00:00", "2026-01-01T01:01:00+00:00"}},
	{"*/20 * * * *", "2026-01-01T00:01:00Z", {"2026-01-01T00:20:00+00:00", "2026-01-01T00:40:00+00:00", "2026-01-01T01:00:00+00:00"}},
	{"*/25 * * * *", "2026-01-01T00:25:00Z", {"2026-01-01T00:50:00+00:00", "2026-01-01T01:00:00+00:00"}},
	{"*/60 * * * *", "2026-01-01T00:25:00Z", {"2026-01-01T01:00:00+00:00"}},
	{"7-9 * * * *", "2026-01-01T00:07:00Z", {"2026-01-01T00:08:00+00:00", "2026-01-01T00:09:00+00:00", "2026-01-01T01:07:00+00:00"}},
	{"10-30/10 * * * *", "2026-01-01T00:11:00Z", {"2026-01-01T00:20:00+00:00", "2026-01-01T00:30:00+00:00", "2026-01-01T01:10:00+00:00"}},
	{"30/15 * * * *", "2026-01-01T00:31:00Z", {"2026-01-01T00:45:00+00:00", "2026-01-01T01:30:00+00:00"}},
	{"0/15 * * * *", "2026-01-01T00:01:00Z", {"2026-01-01T00:15:00+00:00", "2026-01-01T00:30:00+00:00"}},
	{"0-10/5,59 * * * *", "2026-01-01T00:09:00Z", {"2026-01-01T00:10:00+00:00", "2026-01-01T00:59:00+00:00", "2026-01-01T01:00:00+00:00"}},
	/* hours */
	{"0 9 * * *", "2026-01-01T09:00:00Z", {"2026-01-02T09:00:00+00:00"}},
	{"15 */6 * * *", "2026-01-01T06:16:00Z", {"2026-01-01T12:15:00+00:00", "2026-01-01T18:15:00+00:00", "2026-01-02T00:15:00+00:00"}},
	{"59 23 * * *", "2026-12-31T23:58:00Z", {"2026-12-31T23:59:00+00:00", "2027-01-01T23:59:00+00:00"}},
	{"*/5 9-17 * * MON-FRI", "2026-01-02T17:55:00Z", {"2026-01-05T09:00:00+00:00", "2026-01-05T09:05:00+00:00"}},
	/* seconds */
	{"* * * * * *", "2026-01-01T00:00:00Z", {"2026-01-01T00:00:01+00:00", "2026-01-01T00:00:02+00:00"}},
	{"*/20 * * * * *", "2026-01-01T00:00:41Z", {"2026-01-01T00:01:00+00:00", "2026-01-01T00:01:20+00:00"}},
	{"30 15 10 * * *", "2026-01-01T10:15:30Z", {"2026-01-02T10:15:30+00:00"}},
	{"30 15 10 * * *", "2026-01-01T10:15:29.999Z", {"2026-01-01T10:15:30+00:00"}},
	{"10,50 5,6 * * * *", "2026-01-01T00:05:50Z", {"2026-01-01T00:06:10+00:00", "2026-01-01T00:06:50+00:00", "2026-01-01T01:05:10+00:00"}},
	/* days of the month, months and their lengths */
	{"0 0 31 * *", "2026-01-31T00:00:00Z", {"2026-03-31T00:00:00+00:00", "2026-05-31T00:00:00+00:00", "2026-07-31T00:00:00+00:00", "2026-08-31T00:00:00+00:00", "2026-10-31T00:00:00+00:00", "2026-12-31T00:00:00+00:00", "2027-01-31T00:00:00+00:00"}},
	{"0 0 30 * *", "2026-01-30T00:00:00Z", {"2026-03-30T00:00:00+00:00"}},
	{"0 0 29 2 *", "2024-03-01T00:00:00Z", {"2028-02-29T00:00:00+00:00", "2032-02-29T00:00:00+00:00"}},
	{"0 0 29 2 *", "2096-02-29T00:00:00Z", {"2104-02-29T00:00:00+00:00"}},
	{"0 0 29 2 *", "1996-02-29T00:00:00Z", {"2000-02-29T00:00:00+00:00"}},
	{"0 0 1 */3 *", "2026-01-01T00:00:00Z", {"2026-04-01T00:00:00+00:00", "2026-07-01T00:00:00+00:00", "2026-10-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"}},
	{"0 0 1 JAN,jul,Dec *", "2026-01-01T00:00:00Z", {"2026-07-01T00:00:00+00:00", "2026-12-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"}},
	{"0 0 1 feb-apr *", "2026-01-01T00:00:00Z", {"2026-02-01T00:00:00+00:00", "2026-03-01T00:00:00+00:00", "2026-04-01T00:00:00+00:00", "2027-02-01T00:00:00+00:00"}},
	{"0 0 1-31/10 * *", "2026-02-02T00:00:00Z", {"2026-02-11T00:00:00+00:00", "2026-02-21T00:00:00+00:00", "2026-03-01T00:00:00+00:00", "2026-03-11T00:00:00+00:00", "2026-03-21T00:00:00+00:00", "2026-03-31T00:00:00+00:00", "2026-04-01T00:00:00+00:00"}},
	/* days of the week */
	{"0 0 * * 0", "2026-01-01T00:00:00Z", {"2026-01-04T00:00:00+00:00", "2026-01-11T00:00:00+00:00"}},
	{"0 0 * * 7", "2026-01-01T00:00:00Z", {"2026-01-04T00:00:00+00:00"}},
	{"0 0 * * sun", "2026-01-01T00:00:00Z", {"2026-01-04T00:00:00+00:00"}},
	{"0 0 * * 5-7", "2026-01-01T00:00:00Z", {"2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00", "2026-01-04T00:00:00+00:00", "2026-01-09T00:00:00+00:00"}},
	{"0 0 * * 1-7/2", "2026-01-01T00:00:00Z", {"2026-01-02T00:00:00+00:00", "2026-01-04T00:00:00+00:00", "2026-01-05T00:00:00+00:00", "2026-01-07T00:00:00+00:00"}},
	{"0 0 * * MON-WED,Fri", "2026-01-01T00:00:00Z", {"2026-01-02T00:00:00+00:00", "2026-01-05T00:00:00+00:00", "2026-01-06T00:00:00+00:00", "2026-01-07T00:00:00+00:00", "2026-01-09T00:00:00+00:00"}},
	{"0 0 * * */3", "2026-01-01T00:00:00Z", {"2026-01-03T00:00:00+00:00", "2026-01-04T00:00:00+00:00", "2026-01-07T00:00:00+00:00"}},
	{"0 0 * * 5/2", "2026-01-01T00:00:00Z", {"2026-01-02T00:00:00+00:00", "2026-01-09T00:00:00+00:00"}},
	/* ? */
	{"0 0 ? * 1", "2026-01-01T00:00:00Z", {"2026-01-05T00:00:00+00:00"}},
	{"0 0 0 15 * ?", "2026-01-01T00:00:00Z", {"2026-01-15T00:00:00+00:00", "2026-02-15T00:00:00+00:00"}},
	/* forms with letters in lists, doubled on purpose */
	{"0 0 1,15,L * *", "2026-02-01T00:00:00Z", {"2026-02-15T00:00:00+00:00", "2026-02-28T00:00:00+00:00", "2026-03-01T00:00:00+00:00"}},
	{"0 0 l,lw,l-1 2 *", "2026-01-01T00:00:00Z", {"2026-02-27T00:00:00+00:00", "2026-02-28T00:00:00+00:00", "2027-02-26T00:00:00+00:00", "2027-02-27T00:00:00+00:00", "2027-02-28T00:00:00+00:00"}},
	{"0 0 1w,15w * *", "2026-08-01T00:00:00Z", {"2026-08-03T00:00:00+00:00", "2026-08-14T00:00:00+00:00"}},
	{"0 0 * * mon#1,FRIL,3", "2026-06-24T00:00:00Z", {"2026-06-26T00:00:00+00:00", "2026-07-01T00:00:00+00:00", "2026-07-06T00:00:00+00:00", "2026-07-08T00:00:00+00:00"}},
	{"0 0 * * 0L", "2026-01-01T00:00:00Z", {"2026-01-25T00:00:00+00:00"}},
	{"0 0 * * 7L", "2026-01-01T00:00:00Z", {"2026-01-25T00:00:00+00:00"}},
	/* blanks */
	{"  0\t0  1 1 \t * ", "2026-01-01T00:00:00Z", {"2027-01-01T00:00:00+00:00"}},
	/* macros */
	{"@yearly", "2026-01-01T00:00:00Z", {"2027-01-01T00:00:00+00:00"}},
	{"@annually", "2026-01-01T00:00:00Z", {"2027-01-01T00:00:00+00:00"}},
	{"@monthly", "2026-01-01T00:00:00Z", {"2026-02-01T00:00:00+00:00"}},
	{"@weekly", "2026-01-01T00:00:00Z", {"2026-01-04T00:00:00+00:00"}},
	{"@daily", "2026-01-01T00:00:00Z", {"2026-01-02T00:00:00+00:00"}},
	{" @Midnight ", "2026-01-01T00:00:00Z", {"2026-01-02T00:00:00+00:00"}},
	{"@hourly", "2026-01-01T00:00:00Z", {"2026-01-01T01:00:00+00:00"}},
	/* far ends */
	{"0 0 1 1 *", "2098-06-01T00:00:00Z", {"2099-01-01T00:00:00+00:00", "2100-01-01T00:00:00+00:00"}},
	{"59 23 31 12 *", "2099-01-01T00:00:00Z", {"2099-12-31T23:59:00+00:00", "2100-12-31T23:59:00+00:00"}},
	{"59 59 23 31 12 *", "9999-01-01T00:00:00Z", {"9999-12-31T23:59:59+00:00", "none"}},
	{"0 0 29 2 *", "9996-02-29T00:00:00Z", {"none"}},
	{"0 0 * * *", "1970-01-01T00:00:00Z", {"1970-01-02T00:00:00+00:00"}},
};

static void test_next_of_each_form_is_the_first_match(void **state)
{
	for (size_t i = 0; i < COUNT_OF(forms); i++)
		assert_dues(
			&(struct schedule_spec){.cron = forms[i].cron}, forms[i].after, forms[i].dues);
}

/* clang-format on */

static void test_next_before_1970_begins_there(void **state)
{
	struct schedule *schedule = plan_input(&(struct schedule_spec){.cron = "0 0 * * *"});

	assert_true(schedule_next(schedule, -1) == 0);
	assert_true(schedule_next(schedule, -5000000) == 0);
	assert_true(schedule_next(schedule, NO_TIME) == 0);
	assert_true(schedule_next(schedule, 0) == INT64_C(86400000));
	assert_true(schedule_next(schedule, INT64_MAX) == NO_TIME);
	schedule_unref(schedule);
}

/* A row a line: */
/* clang-format off */

/* The day of each month of a year; 0 where there is none. From a calendar, not from our code. */
static const struct {
	const char *cron;
	int year;
	int days[12];
} month_rows[] = {
	{"0 0 L * *", 2023, {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}},
	{"0 0 L-3 * *", 2023, {28, 25, 28, 27, 28, 27, 28, 28, 27, 28, 27, 28}},
	{"0 0 L-28 * *", 2023, {3, 0, 3, 2, 3, 2, 3, 3, 2, 3, 2, 3}},
	{"0 0 L-30 * *", 2023, {1, 0, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1}},
	{"0 0 LW * *", 2023, {31, 28, 31, 28, 31, 30, 31, 31, 29, 31, 30, 29}},
	{"0 0 1W * *", 2023, {2, 1, 1, 3, 1, 1, 3, 1, 1, 2, 1, 1}},
	{"0 0 15W * *", 2023, {16, 15, 15, 14, 15, 15, 14, 15, 15, 16, 15, 15}},
	{"0 0 29W * *", 2023, {30, 0, 29, 28, 29, 29, 28, 29, 29, 30, 29, 29}},
	{"0 0 31W * *", 2023, {31, 0, 31, 0, 31, 0, 31, 31, 0, 31, 0, 29}},
	{"0 0 * * 5L", 2023, {27, 24, 31, 28, 26, 30, 28, 25, 29, 27, 24, 29}},
	{"0 0 * * SUNL", 2023, {29, 26, 26, 30, 28, 25, 30, 27, 24, 29, 26, 31}},
	{"0 0 * * 1L", 2023, {30, 27, 27, 24, 29, 26, 31, 28, 25, 30, 27, 25}},
	{"0 0 * * 5#3", 2023, {20, 17, 17, 21, 19, 16, 21, 18, 15, 20, 17, 15}},
	{"0 0 * * MON#1", 2023, {2, 6, 6, 3, 1, 5, 3, 7, 4, 2, 6, 4}},
	{"0 0 * * 6#5", 2023, {0, 0, 0, 29, 0, 0, 29, 0, 30, 0, 0, 30}},
	{"0 0 * * 7#5", 2023, {29, 0, 0, 30, 0, 0, 30, 0, 0, 29, 0, 31}},
	{"0 0 * * 3#2", 2023, {11, 8, 8, 12, 10, 14, 12, 9, 13, 11, 8, 13}},
	{"0 0 * * 2#4", 2023, {24, 28, 28, 25, 23, 27, 25, 22, 26, 24, 28, 26}},
	{"0 0 L * *", 2024, {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}},
	{"0 0 L-3 * *", 2024, {28, 26, 28, 27, 28, 27, 28, 28, 27, 28, 27, 28}},
	{"0 0 L-28 * *", 2024, {3, 1, 3, 2, 3, 2, 3, 3, 2, 3, 2, 3}},
	{"0 0 L-30 * *", 2024, {1, 0, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1}},
	{"0 0 LW * *", 2024, {31, 29, 29, 30, 31, 28, 31, 30, 30, 31, 29, 31}},
	{"0 0 1W * *", 2024, {1, 1, 1, 1, 1, 3, 1, 1, 2, 1, 1, 2}},
	{"0 0 15W * *", 2024, {15, 15, 15, 15, 15, 14, 15, 15, 16, 15, 15, 16}},
	{"0 0 29W * *", 2024, {29, 29, 29, 29, 29, 28, 29, 29, 30, 29, 29, 30}},
	{"0 0 31W * *", 2024, {31, 0, 29, 0, 31, 0, 31, 30, 0, 31, 0, 31}},
	{"0 0 * * 5L", 2024, {26, 23, 29, 26, 31, 28, 26, 30, 27, 25, 29, 27}},
	{"0 0 * * SUNL", 2024, {28, 25, 31, 28, 26, 30, 28, 25, 29, 27, 24, 29}},
	{"0 0 * * 1L", 2024, {29, 26, 25, 29, 27, 24, 29, 26, 30, 28, 25, 30}},
	{"0 0 * * 5#3", 2024, {19, 16, 15, 19, 17, 21, 19, 16, 20, 18, 15, 20}},
	{"0 0 * * MON#1", 2024, {1, 5, 4, 1, 6, 3, 1, 5, 2, 7, 4, 2}},
	{"0 0 * * 6#5", 2024, {0, 0, 30, 0, 0, 29, 0, 31, 0, 0, 30, 0}},
	{"0 0 * * 7#5", 2024, {0, 0, 31, 0, 0, 30, 0, 0, 29, 0, 0, 29}},
	{"0 0 * * 3#2", 2024, {10, 14, 13, 10, 8, 12, 10, 14, 11, 9, 13, 11}},
	{"0 0 * * 2#4", 2024, {23, 27, 26, 23, 28, 25, 23, 27, 24, 22, 26, 24}},
};

/* clang-format on */

static int64_t midnight_ms(int year, int month, int day)
{
	return civil_days(year, month, day) * SECONDS_PER_DAY * 1000;
}

static void test_day_forms_hit_one_day_of_each_month(void **state)
{
	for (size_t i = 0; i < COUNT_OF(month_rows); i++) {
		struct schedule *schedule =
			plan_input(&(struct schedule_spec){.cron = month_rows[i].cron});
		int year = month_rows[i].year;
		int64_t at_ms = midnight_ms(year, 1, 1) - 1;

		for (int month = 1; month <= 12; month++) {
			int day = month_rows[i].days[month - 1];

			if (day == 0)
				continue;
			at_ms = schedule_next(schedule, at_ms);
			if (at_ms != midnight_ms(year, month, day))
				fail_msg("'%s': %d-%02d is not due on the %d.", month_rows[i].cron,
					year, month, day);
		}
		assert_true(schedule_next(schedule, at_ms) >= midnight_ms(year + 1, 1, 1));
		schedule_unref(schedule);
	}
}

/* A row a line: */
/* clang-format off */

/* Both day fields: Vixie's rule with its star, and the setting. 2026-01-01 is a Thursday. */
static void test_two_day_fields_match_as_documented(void **state)
{
	static const struct {
		const char *cron;
		enum day_match match;
		const char *dues[DUES_MAX];
	} rows[] = {
		{"0 0 13 * FRI", DAY_MATCH_EITHER, {"2026-01-02T00:00:00+00:00", "2026-01-09T00:00:00+00:00", "2026-01-13T00:00:00+00:00", "2026-01-16T00:00:00+00:00"}},
		{"0 0 13 * FRI", DAY_MATCH_BOTH, {"2026-02-13T00:00:00+00:00", "2026-03-13T00:00:00+00:00", "2026-11-13T00:00:00+00:00"}},
		{"0 0 L * FRI", DAY_MATCH_EITHER, {"2026-01-02T00:00:00+00:00", "2026-01-09T00:00:00+00:00", "2026-01-16T00:00:00+00:00", "2026-01-23T00:00:00+00:00", "2026-01-30T00:00:00+00:00", "2026-01-31T00:00:00+00:00"}},
		{"0 0 L * FRI", DAY_MATCH_BOTH, {"2026-07-31T00:00:00+00:00", "2027-04-30T00:00:00+00:00"}},
		/* begins with *: both, even though the field restricts */
		{"0 0 */2 * 1", DAY_MATCH_EITHER, {"2026-01-05T00:00:00+00:00", "2026-01-19T00:00:00+00:00", "2026-02-09T00:00:00+00:00"}},
		{"0 0 ?/2 * 1", DAY_MATCH_EITHER, {"2026-01-05T00:00:00+00:00", "2026-01-19T00:00:00+00:00"}},
		{"0 0 13 * */2", DAY_MATCH_EITHER, {"2026-01-13T00:00:00+00:00", "2026-06-13T00:00:00+00:00"}},
		{"0 0 */2,2 * 1", DAY_MATCH_EITHER, {"2026-01-05T00:00:00+00:00", "2026-01-19T00:00:00+00:00", "2026-02-02T00:00:00+00:00"}},
		/* a star further on does not count, but the field then matches every day */
		{"0 0 2,* * 1", DAY_MATCH_EITHER, {"2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00"}},
		{"0 0 1-31 * 1", DAY_MATCH_EITHER, {"2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00"}},
		{"0 0 1-31 * 1", DAY_MATCH_BOTH, {"2026-01-05T00:00:00+00:00", "2026-01-12T00:00:00+00:00"}},
		/* 29 February on a Monday: 28 years, or 40 over 2100 */
		{"0 0 29 2 MON", DAY_MATCH_BOTH, {"2044-02-29T00:00:00+00:00", "2072-02-29T00:00:00+00:00", "2112-02-29T00:00:00+00:00"}},
		/* impossible as a date, but every Monday of February is one */
		{"0 0 30 2 1", DAY_MATCH_EITHER, {"2026-02-02T00:00:00+00:00", "2026-02-09T00:00:00+00:00"}},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_dues(
			&(struct schedule_spec){.cron = rows[i].cron, .day_match = rows[i].match},
			"2026-01-01T00:00:00Z", rows[i].dues);
}

static void test_warning_tells_what_surprises(void **state)
{
	static const struct {
		const char *cron;
		enum day_match match;
		const char *warning;
	} rows[] = {
		{"0 0 * * *", DAY_MATCH_EITHER, NULL},
		{"*/5 9-17 * * MON-FRI", DAY_MATCH_EITHER, NULL},
		{"@weekly", DAY_MATCH_EITHER, NULL},
		{"*/1 0 * * *", DAY_MATCH_EITHER, NULL},
		{"0-20/7 0 * * *", DAY_MATCH_EITHER, NULL},
		{"0 0 * * 5L", DAY_MATCH_EITHER, NULL},
		{"0/15 * * * *", DAY_MATCH_EITHER, "minute '0/15' means from 0 to 59 every 15"},
		{"0 5/1 * * *", DAY_MATCH_EITHER, "hour '5/1' means from 5 to 23 every 1"},
		{"0 0 * * 5/2", DAY_MATCH_EITHER, "day-of-week '5/2' means from 5 to 6 every 2"},
		{"*/7 * * * *", DAY_MATCH_EITHER, "minute '*/7' starts again at 0 each time, so the last step is shorter"},
		{"0 0 */2 * *", DAY_MATCH_EITHER, "day-of-month '*/2' starts again at 1 each time, so the last step is shorter"},
		{"*/90 * * * *", DAY_MATCH_EITHER, "minute '*/90' is only ever 0: the step is longer than the range"},
		{"0 0 13 * 5", DAY_MATCH_EITHER, "day-of-month and day-of-week are both given: either one is enough (\"day_match\": \"both\" for both)"},
		{"0 0 13 * 5", DAY_MATCH_BOTH, NULL},
		{"0 0 13 * */6", DAY_MATCH_EITHER, "day-of-week '*/6' starts again at 0 each time, so the last step is shorter; both day-of-month and day-of-week must match, as one begins with '*'"},
		{"0/30 0/12 * * *", DAY_MATCH_EITHER, "minute '0/30' means from 0 to 59 every 30; hour '0/12' means from 0 to 23 every 12"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct schedule *schedule = plan_input(
			&(struct schedule_spec){.cron = rows[i].cron, .day_match = rows[i].match});

		if (rows[i].warning)
			assert_string_equal(schedule_warning(schedule), rows[i].warning);
		else
			assert_null(schedule_warning(schedule));
		schedule_unref(schedule);
	}
}

/* clang-format on */

static void test_warning_of_many_remarks_stays_within_its_size(void **state)
{
	struct schedule *schedule = plan_input(&(struct schedule_spec){
		.cron = "0/7,1/7,2/7,3/7,4/7,5/7 0/7,1/7,2/7,3/7 */3,*/4,*/5 */5,*/7 1/2,2/2"});

	assert_true(strlen(schedule_warning(schedule)) < WARNING_SIZE);
	schedule_unref(schedule);
}

/* Counting and walking are two programs with one answer. */
static void test_count_over_years_equals_walking(void **state)
{
	static const char *const crons[] = {"0 0 * * *", "30 6 31 * *", "0 0 29 2 *",
		"7 */9 LW,3W 2,5 ?", "0 12 */2 3-9 1", "10-50/20 3 L-2 * MON#2", "0 0 1 12 *"};
	int64_t from_ms = at("2019-05-17T13:47:11Z"), to_ms = at("2033-02-28T23:59:59.999Z");

	for (size_t i = 0; i < COUNT_OF(crons); i++) {
		struct schedule *schedule = plan_input(&(struct schedule_spec){.cron = crons[i]});
		int64_t walked = 0;

		for (int64_t due = schedule_next(schedule, from_ms - 1); due <= to_ms;
			due = schedule_next(schedule, due))
			walked++;
		assert_true(schedule_count(schedule, from_ms, to_ms) == walked);
		schedule_unref(schedule);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_next_of_each_form_is_the_first_match),
		cmocka_unit_test(test_next_before_1970_begins_there),
		cmocka_unit_test(test_day_forms_hit_one_day_of_each_month),
		cmocka_unit_test(test_two_day_fields_match_as_documented),
		cmocka_unit_test(test_warning_tells_what_surprises),
		cmocka_unit_test(test_warning_of_many_remarks_stays_within_its_size),
		cmocka_unit_test(test_count_over_years_equals_walking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
