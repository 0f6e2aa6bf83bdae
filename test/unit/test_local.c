/* SPDX-License-Identifier: Apache-2.0
 *
 * Cron on wall clocks that jump: the table of SCHEDULES.md ("Local time, gaps and overlaps")
 * written out for zones with an hour, half an hour, two hours, a quarter, seconds and a whole day
 * of jump, at night, at midnight and in the opposite season. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "plan_input.h"

#define MOVED  " moved out of DST gap"
#define SECOND " second pass"

struct row {
	struct schedule_spec spec;
	const char *after;
	const char *dues[DUES_MAX];
};

static void assert_rows(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_dues(&rows[i].spec, rows[i].after, rows[i].dues);
}

/* A row a line: */
/* clang-format off */

static const struct row fixed_in_gaps[] = {
	/* 02:00 -> 03:00 on 8 March 2026 */
	{{.cron = "30 2 * * *", .timezone = "America/New_York"}, "2026-03-07T06:00:00Z", {"2026-03-07T02:30:00-05:00", "2026-03-08T03:00:00-04:00" MOVED, "2026-03-09T02:30:00-04:00"}},
	/* asked in the instant before and at the edge itself */
	{{.cron = "30 2 * * *", .timezone = "America/New_York"}, "2026-03-08T06:59:59.999Z", {"2026-03-08T03:00:00-04:00" MOVED, "2026-03-09T02:30:00-04:00"}},
	{{.cron = "30 2 * * *", .timezone = "America/New_York"}, "2026-03-08T07:00:00Z", {"2026-03-09T02:30:00-04:00"}},
	/* several times in one gap are one due time */
	{{.cron = "0,10,59 2 * * *", .timezone = "America/New_York"}, "2026-03-07T12:00:00Z", {"2026-03-08T03:00:00-04:00" MOVED, "2026-03-09T02:00:00-04:00"}},
	/* the first minute of the gap is in it, the last instant's end is not */
	{{.cron = "0 2 * * *", .timezone = "America/New_York"}, "2026-03-07T12:00:00Z", {"2026-03-08T03:00:00-04:00" MOVED}},
	{{.cron = "59 59 2 * * *", .timezone = "America/New_York"}, "2026-03-07T12:00:00Z", {"2026-03-08T03:00:00-04:00" MOVED}},
	{{.cron = "59 1 * * *", .timezone = "America/New_York"}, "2026-03-07T12:00:00Z", {"2026-03-08T01:59:00-05:00"}},
	{{.cron = "0 3 * * *", .timezone = "America/New_York"}, "2026-03-07T12:00:00Z", {"2026-03-08T03:00:00-04:00", "2026-03-09T03:00:00-04:00"}},
	/* it lands on another due time: one run, and that one was not moved */
	{{.cron = "0,30 2,3 * * *", .timezone = "America/New_York"}, "2026-03-07T12:00:00Z", {"2026-03-08T03:00:00-04:00", "2026-03-08T03:30:00-04:00", "2026-03-09T02:00:00-04:00"}},
	/* a step of seconds does not make it interval-like: minute and hour are fixed */
	{{.cron = "*/10 30 2 * * *", .timezone = "America/New_York"}, "2026-03-07T12:00:00Z", {"2026-03-08T03:00:00-04:00" MOVED, "2026-03-09T02:30:00-04:00", "2026-03-09T02:30:10-04:00"}},
	/* nothing of the day, nothing moved */
	{{.cron = "30 2 * * MON", .timezone = "America/New_York"}, "2026-03-07T12:00:00Z", {"2026-03-09T02:30:00-04:00"}},
	/* the only due time of years lies in the gap */
	{{.cron = "30 2 8 3 *", .timezone = "America/New_York"}, "2020-12-01T00:00:00Z", {"2021-03-08T02:30:00-05:00", "2022-03-08T02:30:00-05:00", "2023-03-08T02:30:00-05:00", "2024-03-08T02:30:00-05:00", "2025-03-08T02:30:00-05:00", "2026-03-08T03:00:00-04:00" MOVED, "2027-03-08T02:30:00-05:00"}},
	{{.cron = "30 2 * * *", .timezone = "Europe/Paris"}, "2026-03-28T12:00:00Z", {"2026-03-29T03:00:00+02:00" MOVED}},
	{{.cron = "30 3 * * *", .timezone = "Europe/Riga"}, "2026-03-28T12:00:00Z", {"2026-03-29T04:00:00+03:00" MOVED}},
	{{.cron = "30 1 * * *", .timezone = "Europe/Dublin"}, "2026-03-28T12:00:00Z", {"2026-03-29T02:00:00+01:00" MOVED}},
	/* two hours: 01:00 -> 03:00 */
	{{.cron = "0 1,2 * * *", .timezone = "Antarctica/Troll"}, "2026-03-28T12:00:00Z", {"2026-03-29T03:00:00+02:00" MOVED, "2026-03-30T01:00:00+02:00", "2026-03-30T02:00:00+02:00"}},
	/* half an hour: 02:00 -> 02:30 */
	{{.cron = "15 2 * * *", .timezone = "Australia/Lord_Howe"}, "2026-10-02T16:00:00Z", {"2026-10-04T02:30:00+11:00" MOVED, "2026-10-05T02:15:00+11:00"}},
	{{.cron = "30 2 * * *", .timezone = "Australia/Lord_Howe"}, "2026-10-02T16:00:00Z", {"2026-10-04T02:30:00+11:00"}},
	/* at midnight: 00:00 -> 01:00; the day's first instant is 01:00 */
	{{.cron = "@daily", .timezone = "America/Santiago"}, "2026-09-05T12:00:00Z", {"2026-09-06T01:00:00-03:00" MOVED, "2026-09-07T00:00:00-03:00"}},
	{{.cron = "0 0 * * SUN", .timezone = "America/Santiago"}, "2026-08-31T12:00:00Z", {"2026-09-06T01:00:00-03:00" MOVED, "2026-09-13T00:00:00-03:00"}},
	{{.cron = "30 0 * * *", .timezone = "America/Asuncion"}, "2023-09-30T12:00:00Z", {"2023-10-01T01:00:00-03:00" MOVED}},
	{{.cron = "0 0 26 4 *", .timezone = "Africa/Cairo"}, "2024-01-01T00:00:00Z", {"2024-04-26T01:00:00+03:00" MOVED}},
	/* fifteen minutes, once: 00:00 -> 00:15 on 1 January 1986 */
	{{.cron = "@yearly", .timezone = "Asia/Kathmandu"}, "1985-02-01T00:00:00Z", {"1986-01-01T00:15:00+05:45" MOVED, "1987-01-01T00:00:00+05:45"}},
	/* after Ramadan, 02:00 -> 03:00 */
	{{.cron = "30 2 * * *", .timezone = "Africa/Casablanca"}, "2024-04-13T12:00:00Z", {"2024-04-14T03:00:00+01:00" MOVED}},
	/* a whole day: 30 December 2011 is not */
	{{.cron = "0 9 * * *", .timezone = "Pacific/Apia"}, "2011-12-29T12:00:00Z", {"2011-12-29T09:00:00-10:00", "2011-12-31T00:00:00+14:00" MOVED, "2011-12-31T09:00:00+14:00"}},
	{{.cron = "0 9 30 * *", .timezone = "Pacific/Apia"}, "2011-12-01T12:00:00Z", {"2011-12-31T00:00:00+14:00" MOVED, "2012-01-30T09:00:00+14:00"}},
	{{.cron = "0 0 L * *", .timezone = "Pacific/Apia"}, "2011-12-01T12:00:00Z", {"2011-12-31T00:00:00+14:00", "2012-01-31T00:00:00+14:00"}},
	{{.cron = "0 9 29 * *", .timezone = "Pacific/Apia"}, "2011-12-01T12:00:00Z", {"2011-12-29T09:00:00-10:00", "2012-01-29T09:00:00+14:00"}},
	{{.cron = "0 12 * * SAT", .timezone = "Pacific/Kwajalein"}, "1993-08-15T00:00:00Z", {"1993-08-22T00:00:00+12:00" MOVED, "1993-08-28T12:00:00+12:00"}},
};

static void test_fixed_time_in_a_gap_is_due_once_right_after_it(void **state)
{
	assert_rows(fixed_in_gaps, COUNT_OF(fixed_in_gaps));
}

static void test_fixed_time_in_a_gap_is_left_out_when_asked(void **state)
{
	static const struct row rows[] = {
		{{.cron = "30 2 * * *", .timezone = "America/New_York", .dst_gap = DST_GAP_SKIP}, "2026-03-07T06:00:00Z", {"2026-03-07T02:30:00-05:00", "2026-03-09T02:30:00-04:00"}},
		{{.cron = "0,30 2,3 * * *", .timezone = "America/New_York", .dst_gap = DST_GAP_SKIP}, "2026-03-07T12:00:00Z", {"2026-03-08T03:00:00-04:00", "2026-03-08T03:30:00-04:00", "2026-03-09T02:00:00-04:00"}},
		{{.cron = "@daily", .timezone = "America/Santiago", .dst_gap = DST_GAP_SKIP}, "2026-09-05T12:00:00Z", {"2026-09-07T00:00:00-03:00"}},
		{{.cron = "0 9 30 * *", .timezone = "Pacific/Apia", .dst_gap = DST_GAP_SKIP}, "2011-12-01T12:00:00Z", {"2012-01-30T09:00:00+14:00"}},
	};

	assert_rows(rows, COUNT_OF(rows));
}

static void test_fixed_time_that_happens_twice_is_due_as_set(void **state)
{
	static const struct row rows[] = {
		/* 02:00 -> 01:00 on 1 November 2026 */
		{{.cron = "30 1 * * *", .timezone = "America/New_York"}, "2026-10-31T12:00:00Z", {"2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"}},
		{{.cron = "30 1 * * *", .timezone = "America/New_York", .dst_overlap = DST_OVERLAP_LAST}, "2026-10-31T12:00:00Z", {"2026-11-01T01:30:00-05:00" SECOND, "2026-11-02T01:30:00-05:00"}},
		{{.cron = "30 1 * * *", .timezone = "America/New_York", .dst_overlap = DST_OVERLAP_BOTH}, "2026-10-31T12:00:00Z", {"2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-05:00" SECOND, "2026-11-02T01:30:00-05:00"}},
		/* asked between the passes */
		{{.cron = "30 1 * * *", .timezone = "America/New_York"}, "2026-11-01T05:45:00Z", {"2026-11-02T01:30:00-05:00"}},
		{{.cron = "30 1 * * *", .timezone = "America/New_York"}, "2026-11-01T06:00:00Z", {"2026-11-02T01:30:00-05:00"}},
		/* the edges of the overlap: 01:00 is in it, 02:00 is not */
		{{.cron = "0 1,2 * * *", .timezone = "America/New_York"}, "2026-10-31T12:00:00Z", {"2026-11-01T01:00:00-04:00", "2026-11-01T02:00:00-05:00", "2026-11-02T01:00:00-05:00"}},
		{{.cron = "0 1,2 * * *", .timezone = "America/New_York", .dst_overlap = DST_OVERLAP_LAST}, "2026-10-31T12:00:00Z", {"2026-11-01T01:00:00-05:00" SECOND, "2026-11-01T02:00:00-05:00", "2026-11-02T01:00:00-05:00"}},
		/* the order within the hour stays */
		{{.cron = "0,30 1 * * *", .timezone = "America/New_York", .dst_overlap = DST_OVERLAP_BOTH}, "2026-10-31T12:00:00Z", {"2026-11-01T01:00:00-04:00", "2026-11-01T01:30:00-04:00", "2026-11-01T01:00:00-05:00" SECOND, "2026-11-01T01:30:00-05:00" SECOND}},
		/* seconds with a step: the first pass only */
		{{.cron = "*/30 59 1 * * *", .timezone = "America/New_York"}, "2026-10-31T12:00:00Z", {"2026-11-01T01:59:00-04:00", "2026-11-01T01:59:30-04:00", "2026-11-02T01:59:00-05:00"}},
		{{.cron = "30 2 * * *", .timezone = "Europe/Paris"}, "2026-10-24T12:00:00Z", {"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
		{{.cron = "30 3 * * *", .timezone = "Europe/Riga"}, "2026-10-24T12:00:00Z", {"2026-10-25T03:30:00+03:00", "2026-10-26T03:30:00+02:00"}},
		{{.cron = "30 1 * * *", .timezone = "Europe/Dublin"}, "2026-10-24T12:00:00Z", {"2026-10-25T01:30:00+01:00", "2026-10-26T01:30:00+00:00"}},
		/* two hours: 03:00 -> 01:00 */
		{{.cron = "0 1,2 * * *", .timezone = "Antarctica/Troll", .dst_overlap = DST_OVERLAP_BOTH}, "2026-10-24T12:00:00Z", {"2026-10-25T01:00:00+02:00", "2026-10-25T02:00:00+02:00", "2026-10-25T01:00:00+00:00" SECOND, "2026-10-25T02:00:00+00:00" SECOND, "2026-10-26T01:00:00+00:00"}},
		/* half an hour: 02:00 -> 01:30 */
		{{.cron = "15,45 1 * * *", .timezone = "Australia/Lord_Howe"}, "2026-04-04T12:00:00Z", {"2026-04-05T01:15:00+11:00", "2026-04-05T01:45:00+11:00", "2026-04-06T01:15:00+10:30"}},
		{{.cron = "15,45 1 * * *", .timezone = "Australia/Lord_Howe", .dst_overlap = DST_OVERLAP_LAST}, "2026-04-04T12:00:00Z", {"2026-04-05T01:15:00+11:00", "2026-04-05T01:45:00+10:30" SECOND, "2026-04-06T01:15:00+10:30"}},
		/* at midnight, 24:00 -> 23:00: the day before ends twice, midnight comes once */
		{{.cron = "30 23 * * *", .timezone = "America/Santiago"}, "2026-04-04T12:00:00Z", {"2026-04-04T23:30:00-03:00", "2026-04-05T23:30:00-04:00"}},
		{{.cron = "30 23 * * SAT", .timezone = "America/Santiago", .dst_overlap = DST_OVERLAP_LAST}, "2026-04-04T12:00:00Z", {"2026-04-04T23:30:00-04:00" SECOND}},
		{{.cron = "@daily", .timezone = "America/Asuncion"}, "2023-03-25T12:00:00Z", {"2023-03-26T00:00:00-04:00", "2023-03-27T00:00:00-04:00"}},
		{{.cron = "30 23 L 10 *", .timezone = "Africa/Cairo", .dst_overlap = DST_OVERLAP_BOTH}, "2024-10-01T00:00:00Z", {"2024-10-31T23:30:00+03:00", "2024-10-31T23:30:00+02:00" SECOND, "2025-10-31T23:30:00+02:00"}},
		{{.cron = "30 2 * * *", .timezone = "Africa/Casablanca"}, "2024-03-09T12:00:00Z", {"2024-03-10T02:30:00+01:00", "2024-03-11T02:30:00+00:00"}},
	};

	assert_rows(rows, COUNT_OF(rows));
}

static void test_interval_like_expression_keeps_its_rhythm(void **state)
{
	static const struct row rows[] = {
		/* an hour by the clock that is an hour in truth */
		{{.cron = "0 * * * *", .timezone = "America/New_York"}, "2026-03-08T05:30:00Z", {"2026-03-08T01:00:00-05:00", "2026-03-08T03:00:00-04:00", "2026-03-08T04:00:00-04:00"}},
		{{.cron = "0 * * * *", .timezone = "America/New_York"}, "2026-11-01T04:30:00Z", {"2026-11-01T01:00:00-04:00", "2026-11-01T01:00:00-05:00" SECOND, "2026-11-01T02:00:00-05:00"}},
		{{.cron = "*/30 * * * *", .timezone = "Europe/Paris"}, "2026-10-25T00:00:00Z", {"2026-10-25T02:30:00+02:00", "2026-10-25T02:00:00+01:00" SECOND, "2026-10-25T02:30:00+01:00" SECOND, "2026-10-25T03:00:00+01:00"}},
		/* nothing of the gap's hour is made up for */
		{{.cron = "*/15 2 * * *", .timezone = "Europe/Paris"}, "2026-03-28T01:30:00Z", {"2026-03-28T02:45:00+01:00", "2026-03-30T02:00:00+02:00"}},
		{{.cron = "30 */2 * * *", .timezone = "Europe/Paris"}, "2026-03-28T23:00:00Z", {"2026-03-29T00:30:00+01:00", "2026-03-29T04:30:00+02:00"}},
		/* the settings are for fixed times */
		{{.cron = "30 */2 * * *", .timezone = "Europe/Paris", .dst_gap = DST_GAP_RUN_AFTER, .dst_overlap = DST_OVERLAP_FIRST}, "2026-10-24T23:00:00Z", {"2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00" SECOND, "2026-10-25T04:30:00+01:00"}},
		/* half an hour: the full hour 02:00 is in the gap; in autumn it shows once */
		{{.cron = "0 * * * *", .timezone = "Australia/Lord_Howe"}, "2026-10-03T14:00:00Z", {"2026-10-04T01:00:00+10:30", "2026-10-04T03:00:00+11:00"}},
		{{.cron = "0 * * * *", .timezone = "Australia/Lord_Howe"}, "2026-04-04T13:30:00Z", {"2026-04-05T01:00:00+11:00", "2026-04-05T02:00:00+10:30"}},
		{{.cron = "45 * * * *", .timezone = "Australia/Lord_Howe"}, "2026-04-04T14:00:00Z", {"2026-04-05T01:45:00+11:00", "2026-04-05T01:45:00+10:30" SECOND, "2026-04-05T02:45:00+10:30"}},
		{{.cron = "0 */12 * * *", .timezone = "Pacific/Apia"}, "2011-12-29T21:00:00Z", {"2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"}},
		/* seconds with every minute */
		{{.cron = "*/30 * * * * *", .timezone = "America/Santiago"}, "2026-09-06T03:59:00Z", {"2026-09-05T23:59:30-04:00", "2026-09-06T01:00:00-03:00"}},
		/* an offset of -00:44:30 until the edge at 00:44:30 UTC; RFC 3339 writes whole minutes */
		{{.cron = "* * * * *", .timezone = "Africa/Monrovia"}, "1972-01-07T00:43:00Z", {"1972-01-06T23:59:30-00:44", "1972-01-07T00:45:00+00:00"}},
	};

	assert_rows(rows, COUNT_OF(rows));
}

static void test_places_without_jumps_have_plain_days(void **state)
{
	static const struct row rows[] = {
		{{.cron = "0 6 * * *", .timezone = "Asia/Kathmandu"}, "2026-03-28T12:00:00Z", {"2026-03-29T06:00:00+05:45", "2026-03-30T06:00:00+05:45"}},
		{{.cron = "0 6 * * *", .timezone = "UTC"}, "2026-03-28T12:00:00Z", {"2026-03-29T06:00:00+00:00"}},
		{{.cron = "0 6 * * *", .timezone = "Etc/GMT+5"}, "2026-03-28T12:00:00Z", {"2026-03-29T06:00:00-05:00"}},
		{{.cron = "0 0 1 1 *", .timezone = "Pacific/Kiritimati"}, "2098-06-01T00:00:00Z", {"2099-01-01T00:00:00+14:00", "2100-01-01T00:00:00+14:00"}},
		/* the first and the last moment there are, where the local year is another one */
		{{.cron = "0 12 31 12 *", .timezone = "Etc/GMT+12"}, "1970-01-01T00:00:00Z", {"1970-12-31T12:00:00-12:00"}},
		{{.cron = "0 0 1 1 *", .timezone = "Etc/GMT-14"}, "9999-06-01T00:00:00Z", {"none"}},
		{{.cron = "0 11 31 12 *", .timezone = "Etc/GMT+12"}, "9999-06-01T00:00:00Z", {"9999-12-31T11:00:00-12:00", "none"}},
		{{.cron = "0 12 31 12 *", .timezone = "Etc/GMT+12"}, "9999-06-01T00:00:00Z", {"none"}},
	};

	assert_rows(rows, COUNT_OF(rows));
}

static void test_rules_hold_after_the_listed_years(void **state)
{
	static const struct row rows[] = {
		{{.cron = "30 2 * 3 *", .timezone = "Europe/Paris"}, "2099-03-28T12:00:00Z", {"2099-03-29T03:00:00+02:00" MOVED}},
		{{.cron = "30 2 * 10 *", .timezone = "Europe/Paris", .dst_overlap = DST_OVERLAP_BOTH}, "2099-10-24T12:00:00Z", {"2099-10-25T02:30:00+02:00", "2099-10-25T02:30:00+01:00" SECOND}},
		{{.cron = "30 1 * 10 *", .timezone = "Europe/Dublin", .dst_overlap = DST_OVERLAP_LAST}, "2099-10-24T12:00:00Z", {"2099-10-25T01:30:00+00:00" SECOND}},
		{{.cron = "15 2 * 10 *", .timezone = "Australia/Lord_Howe"}, "2099-10-03T00:00:00Z", {"2099-10-04T02:30:00+11:00" MOVED}},
		{{.cron = "0 0 * 9 *", .timezone = "America/Santiago"}, "2099-09-05T12:00:00Z", {"2099-09-06T01:00:00-03:00" MOVED}},
		{{.cron = "59 59 23 31 12 *", .timezone = "America/New_York"}, "2098-12-31T00:00:00Z", {"2098-12-31T23:59:59-05:00", "2099-12-31T23:59:59-05:00"}},
	};

	assert_rows(rows, COUNT_OF(rows));
}

/* clang-format on */

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fixed_time_in_a_gap_is_due_once_right_after_it),
		cmocka_unit_test(test_fixed_time_in_a_gap_is_left_out_when_asked),
		cmocka_unit_test(test_fixed_time_that_happens_twice_is_due_as_set),
		cmocka_unit_test(test_interval_like_expression_keeps_its_rhythm),
		cmocka_unit_test(test_places_without_jumps_have_plain_days),
		cmocka_unit_test(test_rules_hold_after_the_listed_years),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
