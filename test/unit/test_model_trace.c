/* SPDX-License-Identifier: Apache-2.0
 *
 * traceparent: which headers name a trace, and what is kept of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* needs the ones above */
#include <cmocka.h>

#include "base/mem.h"
#include "model/model.h"

#define TRACE  "0af7651916cd43dd8448eb211c80319c"
#define PARENT "b7ad6b7169203331"
#define ZEROS  "00000000000000000000000000000000"

static void assert_kept(const char *header, const char *expected)
{
	char kept[TRACEPARENT_SIZE] = "untouched";

	if (!traceparent_parse(header, kept))
		fail_msg("refused: %s", header);
	assert_string_equal(kept, expected);
}

static void test_a_trace_is_kept_with_its_parent_and_whether_it_is_sampled(void **state)
{
	assert_kept("00-" TRACE "-" PARENT "-01", "00-" TRACE "-" PARENT "-01");
	assert_kept("00-" TRACE "-" PARENT "-00", "00-" TRACE "-" PARENT "-00");
	assert_kept("00-" TRACE "-" PARENT "-ff", "00-" TRACE "-" PARENT "-01");
	assert_kept("00-" TRACE "-" PARENT "-fe", "00-" TRACE "-" PARENT "-00");
}

static void test_a_later_version_is_read_as_far_as_it_is_known(void **state)
{
	assert_kept("01-" TRACE "-" PARENT "-03", "00-" TRACE "-" PARENT "-01");
	assert_kept("cc-" TRACE "-" PARENT "-01-what-will-be", "00-" TRACE "-" PARENT "-01");
}

static void test_what_is_malformed_is_no_trace(void **state)
{
	static const char *const bad[] = {
		"",
		"00",
		"00-" TRACE "-" PARENT,
		"00-" TRACE "-" PARENT "-1",
		"00-" TRACE "-" PARENT "-01-more",
		"00-" TRACE "-" PARENT "-011",
		"01-" TRACE "-" PARENT "-011",
		"ff-" TRACE "-" PARENT "-01",
		"0g-" TRACE "-" PARENT "-01",
		"00-" TRACE "-" PARENT "-0g",
		"00_" TRACE "-" PARENT "-01",
		"00-" TRACE "_" PARENT "-01",
		"00-" TRACE "-" PARENT "_01",
		"00-0AF7651916cd43dd8448eb211c80319c-" PARENT "-01",
		"00-" TRACE "-B7ad6b7169203331-01",
		"00-" ZEROS "-" PARENT "-01",
		"00-" TRACE "-0000000000000000-01",
		" 00-" TRACE "-" PARENT "-01",
		"00-" TRACE "-" PARENT "-01 ",
	};
	char kept[TRACEPARENT_SIZE] = "untouched";

	assert_false(traceparent_parse(NULL, kept));
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (traceparent_parse(bad[i], kept))
			fail_msg("taken: '%s'", bad[i]);
	assert_string_equal(kept, "untouched");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_trace_is_kept_with_its_parent_and_whether_it_is_sampled),
		cmocka_unit_test(test_a_later_version_is_read_as_far_as_it_is_known),
		cmocka_unit_test(test_what_is_malformed_is_no_trace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
