/* SPDX-License-Identifier: Apache-2.0
 *
 * UTF-8: what RFC 3629 allows at its edges, and each way of being ill-formed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"
#include "base/text_priv.h"
#include "seed.h"

#define ROUNDS   20000
#define R        "\xef\xbf\xbd" /* the replacement character */
#define BYTES(s) s, sizeof(s) - 1

struct bytes_row {
	const char *bytes;
	size_t len;
	const char *clean; /* NULL: is well-formed, stays as it is */
};

static const struct bytes_row rows[] = {
	{BYTES(""), NULL},
	{BYTES("plain \x7f\x01"), NULL},
	{BYTES("\xc2\x80\xdf\xbf"), NULL},
	{BYTES("\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"), NULL},
	{BYTES("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), NULL},
	{BYTES("a\0b"), "a" R "b"},
	/* alone, missing and surplus continuation bytes */
	{BYTES("\x80"), R},
	{BYTES("\xbf\x41"), R "A"},
	{BYTES("\xc3"), R},
	{BYTES("\xc3\x28"), R "("},
	{BYTES("\xe2\x82"), R},
	{BYTES("\xe2\x82\x41"), R "A"},
	{BYTES("\xf0\x9f\x98"), R},
	{BYTES("\xf0\x9f\x98\x41"), R "A"},
	{BYTES("\xc3\xa9\xa9"), "\xc3\xa9" R},
	/* overlong forms: each of their bytes is an error of its own */
	{BYTES("\xc0\x80"), R R},
	{BYTES("\xc1\xbf"), R R},
	{BYTES("\xe0\x80\x80"), R R R},
	{BYTES("\xe0\x9f\xbf"), R R R},
	{BYTES("\xf0\x80\x80\x80"), R R R R},
	{BYTES("\xf0\x8f\xbf\xbf"), R R R R},
	/* surrogates, above U+10FFFF, bytes that never occur */
	{BYTES("\xed\xa0\x80"), R R R},
	{BYTES("\xed\xbf\xbf"), R R R},
	{BYTES("\xf4\x90\x80\x80"), R R R R},
	{BYTES("\xf5\x80\x80\x80"), R R R R},
	{BYTES("\xfe\xff"), R R},
};

static void test_is_valid_follows_rfc_3629(void **state)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		if (utf8_is_valid(rows[i].bytes, rows[i].len) != (rows[i].clean == NULL))
			fail_msg("row %zu", i);
}

static void test_clean_replaces_each_ill_formed_part(void **state)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct buf out;

		buf_init(&out, 100);
		utf8_clean(rows[i].bytes, rows[i].len, &out);
		if (rows[i].clean && strcmp(buf_text(&out), rows[i].clean) != 0)
			fail_msg("row %zu became '%s'", i, buf_text(&out));
		if (!rows[i].clean && (out.len != rows[i].len ||
					      memcmp(buf_text(&out), rows[i].bytes, out.len) != 0))
			fail_msg("row %zu was changed", i);
		buf_fini(&out);
	}
}

static void test_every_code_point_is_read_back(void **state)
{
	for (uint32_t code = 0x800; code <= 0x10ffff; code++) {
		char bytes[4];
		size_t len = code > 0xffff ? 4 : 3;
		uint32_t rest = code, found = 0;

		for (size_t i = len; i-- > 1; rest >>= 6)
			bytes[i] = (char)(0x80 | (rest & 0x3f));
		bytes[0] = (char)((len == 4 ? 0xf0 : 0xe0) | rest);
		size_t took = utf8_next(bytes, len, &found);

		if (code >= 0xd800 && code <= 0xdfff)
			assert_int_equal(found, UTF8_ILL_FORMED);
		else
			assert_true(found == code && took == len);
	}
}

static void test_clean_always_gives_valid_text(void **state)
{
	struct seed seed = seed_start("clean_always_gives_valid_text");

	for (int i = 0; i < ROUNDS; i++) {
		/* Exactly as large as it is, so that ASan sees a read past the end. */
		size_t len = seed_below(&seed, 24);
		auto_free char *bytes = xmalloc(len);
		struct buf out;

		for (size_t j = 0; j < len; j++)
			bytes[j] = (char)(seed_below(&seed, 3) ? 0x80 | seed_next(&seed)
							       : seed_next(&seed));
		buf_init(&out, 3 * 24);
		utf8_clean(bytes, len, &out);
		assert_true(utf8_is_valid(buf_text(&out), out.len));
		assert_false(out.is_cut);
		if (utf8_is_valid(bytes, len))
			assert_memory_equal(buf_text(&out), bytes, len);
		buf_fini(&out);
	}
}

static void test_cut_ends_between_characters(void **state)
{
	static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z";
	static const size_t wanted[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};

	for (size_t len = 0; len < COUNT_OF(wanted); len++)
		assert_int_equal(utf8_cut(text, len), wanted[len]);
	assert_int_equal(utf8_cut("\x80\x80\x80\x80\x80", 5), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_is_valid_follows_rfc_3629),
		cmocka_unit_test(test_clean_replaces_each_ill_formed_part),
		cmocka_unit_test(test_every_code_point_is_read_back),
		cmocka_unit_test(test_clean_always_gives_valid_text),
		cmocka_unit_test(test_cut_ends_between_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
