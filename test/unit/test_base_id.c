/* SPDX-License-Identifier: Apache-2.0
 *
 * Ids: the layout of RFC 9562, their order whatever the clock does, and their text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"

#define MANY 50000

/* Far ahead of the real clock, so that tests that use it come in any order. */
static int64_t test_now_ms = INT64_C(4000000000000);

static int64_t read_test_now(void)
{
	return test_now_ms;
}

static const struct clock_source test_clock = {read_test_now, read_test_now};

static int64_t id_ms(const struct id *id)
{
	int64_t ms = 0;

	for (int i = 0; i < 6; i++)
		ms = ms << 8 | id->bytes[i];
	return ms;
}

static void test_make_has_the_layout_of_version_7(void **state)
{
	clock_set_source(&test_clock);
	test_now_ms += 1000;
	struct id id = id_make();

	assert_int_equal(id_ms(&id), test_now_ms);
	assert_int_equal(id.bytes[6] >> 4, 7);
	assert_int_equal(id.bytes[8] >> 6, 2);
	clock_set_source(NULL);
}

static void test_make_ascends_within_a_millisecond(void **state)
{
	clock_set_source(&test_clock);
	test_now_ms += 1000;
	struct id last = id_make();

	for (int i = 0; i < MANY; i++) {
		struct id id = id_make();

		assert_true(id_compare(&id, &last) > 0);
		assert_int_equal(id.bytes[6] >> 4, 7);
		assert_int_equal(id.bytes[8] >> 6, 2);
		last = id;
	}
	assert_true(id_ms(&last) - test_now_ms <= 1);
	clock_set_source(NULL);
}

static void test_make_ascends_when_the_clock_is_set_back(void **state)
{
	clock_set_source(&test_clock);
	test_now_ms += 1000;
	struct id last = id_make();

	test_now_ms -= 500;
	struct id id = id_make();

	assert_true(id_compare(&id, &last) > 0);
	test_now_ms += 1000;
	last = id_make();
	assert_true(id_compare(&last, &id) > 0);
	assert_int_equal(id_ms(&last), test_now_ms);
	clock_set_source(NULL);
}

static void test_text_and_back(void **state)
{
	static const char lower[] = "01939f4a-7c1b-7def-8abc-0123456789ab";
	static const char mixed[] = "01939F4a-7C1B-7DEF-8aBC-0123456789AB";
	struct id id, again;
	char text[ID_TEXT_SIZE];

	assert_true(id_parse(lower, &id));
	assert_string_equal(id_format(&id, text), lower);
	assert_true(id_parse(mixed, &again));
	assert_true(id_equal(&id, &again));
	assert_int_equal(id_hash(&id), id_hash(&again));
	again.bytes[15] ^= 1;
	assert_false(id_equal(&id, &again));
	assert_true(id_compare(&id, &again) > 0);
	assert_true(id_hash(&id) != id_hash(&again));
}

static void test_parse_refuses_other_forms(void **state)
{
	static const char *const bad[] = {"", "01939f4a7c1b7def8abc0123456789ab",
		"{01939f4a-7c1b-7def-8abc-0123456789ab}", "01939f4a-7c1b-7def-8abc-0123456789a",
		"01939f4a-7c1b-7def-8abc-0123456789abc", "01939f4a-7c1b-7def-8abc-0123456789ag",
		"01939f4a_7c1b-7def-8abc-0123456789ab", "01939f4-a7c1b-7def-8abc-0123456789ab",
		" 1939f4a-7c1b-7def-8abc-0123456789ab",
		"urn:uuid:01939f4a-7c1b-7def-8abc-0123456789ab"};
	struct id id = {{1}};

	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (id_parse(bad[i], &id))
			fail_msg("taken: '%s'", bad[i]);
	assert_false(id_parse(NULL, &id));
	assert_int_equal(id.bytes[0], 1);
}

/* No prefix of a good text is taken, nor read past its end (ASan watches). */
static void test_parse_refuses_every_prefix(void **state)
{
	static const char text[] = "01939f4a-7c1b-7def-8abc-0123456789ab";
	struct id id;

	for (size_t len = 0; len < strlen(text); len++) {
		auto_free char *prefix = xstrndup(text, len);

		assert_false(id_parse(prefix, &id));
	}
}

static void test_zero_and_hash_are_fixed(void **state)
{
	struct id zero = {{0}}, counted;

	assert_true(id_is_zero(&zero));
	for (int i = 0; i < ID_BYTES; i++)
		counted.bytes[i] = (uint8_t)i;
	assert_false(id_is_zero(&counted));
	/* Stable for ever: work is spread by it. Values computed with an independent FNV-1a. */
	assert_int_equal(id_hash(&zero), UINT64_C(0x88201fb960ff6465));
	assert_int_equal(id_hash(&counted), UINT64_C(0x7c84dc9477851775));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_make_has_the_layout_of_version_7),
		cmocka_unit_test(test_make_ascends_within_a_millisecond),
		cmocka_unit_test(test_make_ascends_when_the_clock_is_set_back),
		cmocka_unit_test(test_text_and_back),
		cmocka_unit_test(test_parse_refuses_other_forms),
		cmocka_unit_test(test_parse_refuses_every_prefix),
		cmocka_unit_test(test_zero_and_hash_are_fixed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
