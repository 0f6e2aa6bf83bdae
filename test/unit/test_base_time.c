/* SPDX-License-Identifier: Apache-2.0
 *
 * RFC 3339 texts, the calendar below them, and the injectable clocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/civil.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "seed.h"

#define ROUNDS    20000
#define AT_MS_MAX INT64_C(253402300799999)

static void test_parse_rfc3339_reads_moments(void **state)
{
	static const struct {
		const char *text;
		int64_t at_ms;
	} rows[] = {
		{"1970-01-01T00:00:00Z", 0},
		{"2026-11-22T01:30:00Z", INT64_C(1795311000000)},
		{"2026-11-22T02:30:00.250+01:00", INT64_C(1795311000250)},
		{"2026-11-21T20:00:00-05:30", INT64_C(1795311000000)},
		{"2026-11-22t01:30:00z", INT64_C(1795311000000)},
		{"2026-11-22T01:30:00-00:00", INT64_C(1795311000000)},
		{"2026-11-22T01:30:00.5Z", INT64_C(1795311000500)},
		{"2026-11-22T01:30:00.1239999999Z", INT64_C(1795311000123)},
		{"2024-02-29T00:00:00Z", INT64_C(1709164800000)},
		{"2000-02-29T00:00:00Z", INT64_C(951782400000)},
		{"2016-12-31T23:59:60Z", INT64_C(1483228800000)},
		{"2017-01-01T08:59:60.5+09:00", INT64_C(1483228800500)},
		{"1970-01-01T23:59:00+23:59", 0},
		{"9999-12-31T23:59:59.999Z", AT_MS_MAX},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		int64_t at_ms = -42;

		if (!parse_rfc3339(rows[i].text, &at_ms))
			fail_msg("refused: '%s'", rows[i].text);
		assert_int_equal(at_ms, rows[i].at_ms);
	}
}

static void test_parse_rfc3339_refuses_everything_else(void **state)
{
	static const char *const bad[] = {"", "2026", "2026-11-22", "2026-11-22T01:30Z",
		"2026-11-22T01:30:00", "2026-11-22 01:30:00Z", "2026-11-22T01:30:00 Z",
		"2026-11-22T01:30:00.Z", "2026-11-22T01:30:00,5Z", "2026-11-22T01:30:00+0100",
		"2026-11-22T01:30:00+1:00", "2026-11-22T01:30:00+01", "2026-11-22T01:30:00+24:00",
		"2026-11-22T01:30:00+01:60", "2026-11-22T01:30:00Zx", " 2026-11-22T01:30:00Z",
		"2026-11-22T24:00:00Z", "2026-11-22T01:60:00Z", "2026-11-22T01:30:61Z",
		"2026-00-22T01:30:00Z", "2026-13-22T01:30:00Z", "2026-11-00T01:30:00Z",
		"2026-11-31T01:30:00Z", "2026-02-29T01:30:00Z", "2100-02-29T01:30:00Z",
		"1969-12-31T23:59:59Z", "1970-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01",
		"9999-12-31T23:59:60Z", "10000-01-01T00:00:00Z", "+2026-11-22T01:30:00Z",
		"2026-1-22T01:30:00Z", "2026-11-22T1:30:00Z", "0x26-11-22T01:30:00Z"};
	int64_t at_ms = 42;

	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (parse_rfc3339(bad[i], &at_ms))
			fail_msg("taken: '%s'", bad[i]);
	assert_false(parse_rfc3339(NULL, &at_ms));
	assert_int_equal(at_ms, 42);
}

/* Every prefix of a good text is refused, and none is read past its end (ASan watches). */
static void test_parse_rfc3339_refuses_every_prefix(void **state)
{
	static const char text[] = "2026-11-22T02:30:00.250+01:00";
	int64_t at_ms = 0;

	for (size_t len = 0; len < strlen(text); len++) {
		auto_free char *prefix = xstrndup(text, len);

		assert_false(parse_rfc3339(prefix, &at_ms));
	}
}

static void test_format_rfc3339_writes_the_least(void **state)
{
	char text[RFC3339_TEXT_SIZE];

	assert_string_equal(format_rfc3339(0, text), "1970-01-01T00:00:00Z");
	assert_string_equal(
		format_rfc3339(INT64_C(1795311000007), text), "2026-11-22T01:30:00.007Z");
	assert_string_equal(format_rfc3339(-1, text), "1969-12-31T23:59:59.999Z");
	assert_string_equal(format_rfc3339(AT_MS_MAX, text), "9999-12-31T23:59:59.999Z");
	assert_string_equal(format_rfc3339(AT_MS_MAX + 1, text), "-");
	assert_string_equal(format_rfc3339(NO_TIME, text), "-");
	assert_string_equal(format_rfc3339(INT64_MAX, text), "-");
}

static void test_format_rfc3339_offset_keeps_the_moment(void **state)
{
	static const struct {
		int64_t at_ms;
		int32_t offset_s;
		const char *text;
	} rows[] = {
		{INT64_C(1774746000000), 7200, "2026-03-29T03:00:00+02:00"},
		{INT64_C(1774746000250), 0, "2026-03-29T01:00:00.250+00:00"},
		{0, -18000, "1969-12-31T19:00:00-05:00"},
		{0, -12600, "1969-12-31T20:30:00-03:30"},
		{0, 561, "1970-01-01T00:09:00+00:09"},
		{0, -561, "1969-12-31T23:51:00-00:09"},
		{AT_MS_MAX, 3600, "-"},
		{INT64_MAX, 3600, "-"},
		{NO_TIME, -3600, "-"},
	};
	char text[RFC3339_TEXT_SIZE];

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_string_equal(
			format_rfc3339_offset(rows[i].at_ms, rows[i].offset_s, text), rows[i].text);
}

static void test_rfc3339_survives_the_round_trip(void **state)
{
	struct seed seed = seed_start("rfc3339_survives_the_round_trip");

	for (int i = 0; i < ROUNDS; i++) {
		int64_t at_ms = (int64_t)seed_below(&seed, AT_MS_MAX + 1);
		int32_t offset_s = (int32_t)seed_below(&seed, 2 * 86340) - 86340;
		int64_t back = -1;
		char text[RFC3339_TEXT_SIZE];

		at_ms -= seed_below(&seed, 2) ? at_ms % 1000 : 0;
		if (!parse_rfc3339(format_rfc3339(at_ms, text), &back) || back != at_ms)
			fail_msg("%" PRId64 " became '%s' became %" PRId64, at_ms, text, back);
		/* Two days off the edges, where local time has a year that is refused. */
		if (at_ms < 172800000 || at_ms > AT_MS_MAX - 172800000)
			continue;
		if (!parse_rfc3339(format_rfc3339_offset(at_ms, offset_s, text), &back) ||
			back != at_ms)
			fail_msg("%" PRId64 " %d became '%s' became %" PRId64, at_ms, offset_s,
				text, back);
	}
}

/* Counts every day of 8 centuries by the rule everyone learns, against the arithmetic. */
static void test_civil_agrees_with_counting(void **state)
{
	static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int64_t days = civil_days(1600, 1, 1);

	for (int year = 1600; year < 2400; year++) {
		bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

		for (int month = 1; month <= 12; month++) {
			int len = lengths[month - 1] + (month == 2 && is_leap);

			assert_int_equal(civil_days_in_month(year, month), len);
			for (int day = 1; day <= len; day++, days++) {
				struct civil civil = civil_from_seconds(days * 86400 + 86399);

				assert_int_equal(civil_days(year, month, day), days);
				assert_true(civil.year == year && civil.month == month &&
					    civil.day == day && civil.hour == 23 &&
					    civil.minute == 59 && civil.second == 59);
				assert_int_equal(civil_seconds(&civil), days * 86400 + 86399);
			}
		}
	}
	assert_int_equal(days, civil_days(2400, 1, 1));
}

static void test_civil_weekday_is_known_for_known_days(void **state)
{
	assert_int_equal(civil_days(1970, 1, 1), 0);
	assert_int_equal(civil_weekday(0), 4);
	assert_int_equal(civil_weekday(-1), 3);
	assert_int_equal(civil_weekday(-5), 6);
	assert_int_equal(civil_weekday(civil_days(2026, 11, 22)), 0);
	assert_int_equal(civil_weekday(civil_days(2000, 2, 29)), 2);
	assert_int_equal(civil_weekday(civil_days(9999, 12, 31)), 5);
}

static int64_t fixed_wall_ms(void)
{
	return 1234;
}

static int64_t fixed_mono_ms(void)
{
	return 99;
}

static void test_clock_can_be_replaced_and_restored(void **state)
{
	static const struct clock_source fixed = {fixed_wall_ms, fixed_mono_ms};
	int64_t before_ms = clock_mono_ms();

	clock_set_source(&fixed);
	assert_int_equal(clock_wall_ms(), 1234);
	assert_int_equal(clock_mono_ms(), 99);
	clock_set_source(NULL);
	assert_true(clock_wall_ms() > INT64_C(1700000000000));
	assert_true(clock_mono_ms() >= before_ms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_rfc3339_reads_moments),
		cmocka_unit_test(test_parse_rfc3339_refuses_everything_else),
		cmocka_unit_test(test_parse_rfc3339_refuses_every_prefix),
		cmocka_unit_test(test_format_rfc3339_writes_the_least),
		cmocka_unit_test(test_format_rfc3339_offset_keeps_the_moment),
		cmocka_unit_test(test_rfc3339_survives_the_round_trip),
		cmocka_unit_test(test_civil_agrees_with_counting),
		cmocka_unit_test(test_civil_weekday_is_known_for_known_days),
		cmocka_unit_test(test_clock_can_be_replaced_and_restored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
