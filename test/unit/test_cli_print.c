/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables that fit, times people can read, and nothing hostile on the terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/cli_priv.h"

static const struct column columns[] = {
	{"NAME", COLUMN_SHRINKS},
	{"COUNT", COLUMN_RIGHT},
	{"TARGET", COLUMN_SHRINKS},
};

static char *render(int width, bool has_color)
{
	struct table table;
	struct buf out;
	char *text;

	table_init(&table, columns, COUNT_OF(columns));
	table_add(&table, "a");
	table_add(&table, "7");
	table_add(&table, NULL);
	table_add(&table, "größer-than-that");
	table_printf(&table, "%d", 1234567);
	table_add(&table, "/usr/bin/something with arguments");
	buf_init(&out, 1u << 16);
	table_write(&table, width, has_color, &out);
	text = buf_take(&out);
	buf_fini(&out);
	table_fini(&table);
	return text;
}

static void test_table_is_aligned_and_whole_off_the_terminal(void **state)
{
	auto_free char *text = render(0, false);

	assert_string_equal(text, "NAME                COUNT  TARGET\n"
				  "a                       7  -\n"
				  "größer-than-that  1234567  /usr/bin/something with arguments\n");
}

static void test_table_is_cut_to_the_width_of_the_terminal(void **state)
{
	auto_free char *text = render(40, false);

	assert_string_equal(text, "NAME              COUNT  TARGET\n"
				  "a                     7  -\n"
				  "größer-than-t…  1234567  /usr/bin/somet…\n");
}

static size_t width_of(const char *line, size_t len)
{
	size_t width = 0;

	for (size_t i = 0; i < len; i++)
		width += ((unsigned char)line[i] & 0xc0) != 0x80;
	return width;
}

static void test_no_line_is_wider_than_the_terminal(void **state)
{
	for (int width = 30; width < 90; width++) {
		auto_free char *text = render(width, false);

		for (const char *line = text; *line;) {
			size_t len = strcspn(line, "\n");

			assert_true(width_of(line, len) <= (size_t)width);
			line += len + 1;
		}
	}
}

static void test_control_characters_never_reach_the_terminal(void **state)
{
	struct buf out;

	buf_init(&out, 1024);
	append_safe(&out, "a\033[31mb\nc\td\x7f"
			  "e\xc2\x9b"
			  "f\xff");
	assert_string_equal(buf_text(&out), "a?[31mb c d?e?f\xef\xbf\xbd");
	buf_fini(&out);
}

static const struct {
	int64_t at_ms;
	const char *text;
} relative_rows[] = {
	{1000000000, "now"},
	{1000000999, "now"},
	{1000001000, "in 1s"},
	{999941000, "59s ago"},
	{1000000000 + 90000, "in 1m30s"},
	{1000000000 + 3600000, "in 1h"},
	{1000000000 + 3660000, "in 1h1m"},
	{1000000000 - 86400000 - 3599999, "1d ago"},
	{1000000000 + 86400000 * INT64_C(400), "in 400d"},
};

static void test_relative_times_have_two_units_at_most(void **state)
{
	char text[RELATIVE_TEXT_SIZE];

	for (size_t i = 0; i < COUNT_OF(relative_rows); i++)
		assert_string_equal(format_relative(relative_rows[i].at_ms, 1000000000, text),
			relative_rows[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_is_aligned_and_whole_off_the_terminal),
		cmocka_unit_test(test_table_is_cut_to_the_width_of_the_terminal),
		cmocka_unit_test(test_no_line_is_wider_than_the_terminal),
		cmocka_unit_test(test_control_characters_never_reach_the_terminal),
		cmocka_unit_test(test_relative_times_have_two_units_at_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
