/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers, switches, sizes and durations: what is taken, what is refused, and the way back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"
#include "seed.h"

#define ROUNDS 20000

static const char *const not_integers[] = {"", "-", "+1", " 1", "1 ", "1.0", "0x10", "--1", "1-",
	"1e3", "١", "9223372036854775808", "-9223372036854775809", "99999999999999999999999"};

static void test_parse_i64_takes_the_whole_range(void **state)
{
	static const struct {
		const char *text;
		int64_t value;
	} rows[] = {
		{"0", 0},
		{"-0", 0},
		{"007", 7},
		{"-12", -12},
		{"9223372036854775807", INT64_MAX},
		{"-9223372036854775808", INT64_MIN},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		int64_t value = 42;

		assert_true(parse_i64(rows[i].text, INT64_MIN, INT64_MAX, &value));
		assert_int_equal(value, rows[i].value);
	}
}

static void test_parse_i64_refuses_what_is_no_integer(void **state)
{
	int64_t value = 42;

	for (size_t i = 0; i < COUNT_OF(not_integers); i++)
		if (parse_i64(not_integers[i], INT64_MIN, INT64_MAX, &value))
			fail_msg("taken: '%s'", not_integers[i]);
	assert_false(parse_i64(NULL, INT64_MIN, INT64_MAX, &value));
	assert_int_equal(value, 42);
}

static void test_parse_i64_keeps_to_its_bounds(void **state)
{
	int64_t value = 42;

	assert_true(parse_i64("5", 5, 5, &value));
	assert_false(parse_i64("4", 5, 5, &value));
	assert_false(parse_i64("6", 5, 5, &value));
	assert_int_equal(value, 5);
}

static void test_hex_value_knows_both_cases_and_nothing_else(void **state)
{
	static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";

	for (int c = -128; c < 128; c++) {
		const char *in_lower = c != 0 ? strchr(lower, c) : NULL;
		const char *in_upper = c != 0 ? strchr(upper, c) : NULL;
		int value = in_lower ? (int)(in_lower - lower)
				     : (in_upper ? (int)(in_upper - upper) : -1);

		assert_int_equal(hex_value((char)c), value);
	}
}

static void test_parse_bool_knows_eight_words(void **state)
{
	static const char *const yes[] = {"true", "yes", "on", "1"};
	static const char *const no[] = {"false", "no", "off", "0"};
	static const char *const neither[] = {
		"", "TRUE", "Yes", "y", "2", "true ", "tru", "enabled"};
	bool value = false;

	for (size_t i = 0; i < COUNT_OF(yes); i++) {
		assert_true(parse_bool(yes[i], &value) && value);
		assert_true(parse_bool(no[i], &value) && !value);
	}
	for (size_t i = 0; i < COUNT_OF(neither); i++)
		if (parse_bool(neither[i], &value))
			fail_msg("taken: '%s'", neither[i]);
	assert_false(parse_bool(NULL, &value));
}

static void test_parse_size_knows_binary_units(void **state)
{
	static const struct {
		const char *text;
		int64_t bytes;
	} rows[] = {
		{"0", 0},
		{"512", 512},
		{"64KiB", 65536},
		{"1MiB", 1048576},
		{"2GiB", INT64_C(2147483648)},
		{"8589934591GiB", INT64_C(9223372035781033984)},
	};
	static const char *const bad[] = {"", "KiB", "1KB", "1K", "1kib", "1 KiB", "1.5MiB", "-1",
		"1KiBx", "8589934592GiB", "9223372036854775808", "18446744073709551616"};
	int64_t bytes = 42;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		assert_true(parse_size(rows[i].text, &bytes));
		assert_int_equal(bytes, rows[i].bytes);
	}
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (parse_size(bad[i], &bytes))
			fail_msg("taken: '%s'", bad[i]);
	assert_false(parse_size(NULL, &bytes));
}

/* {given, milliseconds, as written back} */
static const struct {
	const char *text;
	int64_t ms;
	const char *canonical;
} duration_rows[] = {
	{"0", 0, "0s"},
	{"0s", 0, "0s"},
	{"0w0ms", 0, "0s"},
	{"1ms", 1, "1ms"},
	{"250ms", 250, "250ms"},
	{"1000ms", 1000, "1s"},
	{"1500ms", 1500, "1s500ms"},
	{"90s", 90000, "1m30s"},
	{"1h30m", 5400000, "1h30m"},
	{"24h", 86400000, "1d"},
	{"7d", 604800000, "1w"},
	{"8d", 691200000, "8d"},
	{"2w", 1209600000, "2w"},
	{"1w1d1h1m1s1ms", 694861001, "8d1h1m1s1ms"},
	{"9223372036854775807ms", INT64_MAX, "106751991167d7h12m55s807ms"},
};

static void test_parse_duration_reads_each_unit(void **state)
{
	for (size_t i = 0; i < COUNT_OF(duration_rows); i++) {
		int64_t ms = 42;

		if (!parse_duration(duration_rows[i].text, &ms))
			fail_msg("refused: '%s'", duration_rows[i].text);
		assert_int_equal(ms, duration_rows[i].ms);
	}
}

static void test_parse_duration_refuses_what_it_would_have_to_guess(void **state)
{
	static const char *const bad[] = {"", "10", "00", "-1s", "+1s", "1.5h", "1h 30m", " 1s",
		"1s ", "1S", "1H", "1sec", "ms", "s", "30m1h", "1s1s", "1ms1s", "1m1m", "1h30",
		"1d1w", "1y", "1M", "9223372036854775808ms", "15250284453w",
		"9223372036854775807ms1", "9223372036854775s808ms", "99999999999999999999s"};
	int64_t ms = 42;

	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (parse_duration(bad[i], &ms))
			fail_msg("taken: '%s'", bad[i]);
	assert_false(parse_duration(NULL, &ms));
	assert_int_equal(ms, 42);
}

static void test_format_duration_is_the_shortest_text(void **state)
{
	char text[DURATION_TEXT_SIZE];

	for (size_t i = 0; i < COUNT_OF(duration_rows); i++)
		assert_string_equal(
			format_duration(duration_rows[i].ms, text), duration_rows[i].canonical);
	assert_string_equal(format_duration(-1500, text), "-1s500ms");
	assert_string_equal(format_duration(-604800000, text), "-1w");
	assert_string_equal(format_duration(INT64_MIN, text), "-106751991167d7h12m55s808ms");
}

static void test_durations_survive_the_round_trip(void **state)
{
	struct seed seed = seed_start("durations_survive_the_round_trip");

	for (int i = 0; i < ROUNDS; i++) {
		int64_t ms = (int64_t)(seed_next(&seed) >> (1 + seed_below(&seed, 63)));
		int64_t back = -1;
		char text[DURATION_TEXT_SIZE];

		/* Whole seconds, minutes and weeks as well, which chance would hardly give. */
		ms -= seed_below(&seed, 2) ? ms % 1000 : 0;
		ms -= seed_below(&seed, 3) ? 0 : ms % 604800000;
		if (!parse_duration(format_duration(ms, text), &back) || back != ms)
			fail_msg("%" PRId64 " became '%s' became %" PRId64, ms, text, back);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hex_value_knows_both_cases_and_nothing_else),
		cmocka_unit_test(test_parse_i64_takes_the_whole_range),
		cmocka_unit_test(test_parse_i64_refuses_what_is_no_integer),
		cmocka_unit_test(test_parse_i64_keeps_to_its_bounds),
		cmocka_unit_test(test_parse_bool_knows_eight_words),
		cmocka_unit_test(test_parse_size_knows_binary_units),
		cmocka_unit_test(test_parse_duration_reads_each_unit),
		cmocka_unit_test(test_parse_duration_refuses_what_it_would_have_to_guess),
		cmocka_unit_test(test_format_duration_is_the_shortest_text),
		cmocka_unit_test(test_durations_survive_the_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
