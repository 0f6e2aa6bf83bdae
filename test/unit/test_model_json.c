/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON text from outside: what is taken, what is refused and with which position, and that depth is
 * bounded before the parser recurses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"
#include "model/model.h"

static void test_any_value_is_taken(void **state)
{
	static const char *const texts[] = {"{}", "[]", "null", "true", "1", "-0.5e1", "\"x\"",
		" \t\r\n{\"a\" : [1, {\"b\":null}]} \n", "\"\\u00e9\\ud83d\\ude00\"",
		"\"\xc3\xa9\""};

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct err err = {0};
		json_t *json = NULL;

		if (json_from_text(texts[i], strlen(texts[i]), &json, &err) != 0)
			fail_msg("%s: %s", texts[i], err.text);
		json_decref(json);
	}
}

#define TEXT(bytes) (bytes), sizeof(bytes) - 1
static const struct {
	const char *text;
	size_t len;
	const char *message; /* its beginning */
} refused[] = {
	/* clang-format off */
	{TEXT(""), "JSON expected, found nothing"},
	{TEXT(" \n\t"), "JSON expected, found nothing"},
	{TEXT("{"), "JSON, line 1, column 1: "},
	{TEXT("{\n  \"a\": 1,\n  \"a\": 2}"), "JSON, line 3, column 5: duplicate object key"},
	{TEXT("{\"x\": {\"a\": 1, \"a\": 1}}"), "JSON, line 1, column 18: duplicate object key"},
	{TEXT("{} x"), "JSON, line 1, column 4: end of file expected"},
	{TEXT("{}{}"), "JSON, line 1, column 3: end of file expected"},
	{TEXT("[1,]"), "JSON, line 1, column 4: "},
	{TEXT("[01]"), "JSON, line 1, column 2: "},
	{TEXT("NaN"), "JSON, line 1, column 3: "},
	{TEXT("'a'"), "JSON, line 1, column 1: "},
	{TEXT("[1] // x"), "JSON, line 1, column 5: "},
	{TEXT("\"\xff\""), "JSON, line 1, column 1: unable to decode byte 0xff"},
	{TEXT("\"\xc0\x80\""), "JSON, line 1, column 1: unable to decode byte 0xc0"},
	{TEXT("\"\xed\xa0\x80\""), "JSON, line 1, column 1: unable to decode byte 0xed"},
	{TEXT("\"\\ud800\""), "JSON, line 1, column 8: invalid Unicode '\\uD800'"},
	{TEXT("\"a\\u0000b\""), "JSON, line 1, column 10: \\u0000 is not allowed"},
	{TEXT("\"a\0b\""), "JSON, line 1, column 2: control character 0x0"},
	{TEXT("{}\0"), "JSON, line 1, column 3: "},
	{TEXT("\0"), "JSON, line 1, column 1: "},
	{TEXT("\"a\nb\""), "JSON, line 1, column 2: unexpected newline"},
	{TEXT("[99999999999999999999]"), "JSON, line 1, column 21: too big integer"},
	{TEXT("[1e999]"), "JSON, line 1, column 6: real number overflow"},
	/* clang-format on */
};

static void test_the_rest_is_refused_with_its_position(void **state)
{
	for (size_t i = 0; i < COUNT_OF(refused); i++) {
		struct err err = {0};
		json_t *json = NULL;

		if (json_from_text(refused[i].text, refused[i].len, &json, &err) != ERR_BAD_REQUEST)
			fail_msg("taken: %s", refused[i].text);
		assert_null(json);
		if (strncmp(err.text, refused[i].message, strlen(refused[i].message)) != 0)
			fail_msg("%s: %s", refused[i].text, err.text);
		assert_true(utf8_is_valid(err.text, strlen(err.text)));
	}
}

/* `depth` of `open`, a 1, and as many of `close`. */
static int read_nested(
	const char *open, const char *close, size_t depth, json_t **ret_json, struct err *err)
{
	struct buf text;
	int code;

	buf_init(&text, 16 << 20);
	for (size_t i = 0; i < depth; i++)
		buf_puts(&text, open);
	buf_putc(&text, '1');
	for (size_t i = 0; i < depth; i++)
		buf_puts(&text, close);
	code = json_from_text(text.data, text.len, ret_json, err);
	buf_fini(&text);
	return code;
}

static void test_depth_is_taken_at_its_limit_and_refused_beyond(void **state)
{
	struct err err = {0};
	json_t *json = NULL;

	assert_int_equal(read_nested("[", "]", JSON_MAX_DEPTH, &json, &err), 0);
	json_decref(json);
	assert_int_equal(read_nested("{\"a\":", "}", JSON_MAX_DEPTH, &json, &err), 0);
	json_decref(json);
	assert_int_equal(read_nested("[", "]", JSON_MAX_DEPTH + 1, &json, &err), ERR_BAD_REQUEST);
	assert_string_equal(err.text, "JSON, line 1, column 33: nested deeper than 32");
	assert_int_equal(read_nested("\n[", "]", JSON_MAX_DEPTH + 1, &json, &err), ERR_BAD_REQUEST);
	assert_string_equal(err.text, "JSON, line 34, column 1: nested deeper than 32");
	assert_int_equal(read_nested("[", "", 1000000, &json, &err), ERR_BAD_REQUEST);
	assert_int_equal(read_nested("{\"a\":", "}", 1000000, &json, &err), ERR_BAD_REQUEST);
}

static void test_brackets_within_strings_are_no_depth(void **state)
{
	static const char text[] = "[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[\\\\\", "
				   "\"{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{\"]";
	struct err err = {0};
	json_t *json = NULL;

	assert_int_equal(json_from_text(text, sizeof(text) - 1, &json, &err), 0);
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_value_is_taken),
		cmocka_unit_test(test_the_rest_is_refused_with_its_position),
		cmocka_unit_test(test_depth_is_taken_at_its_limit_and_refused_beyond),
		cmocka_unit_test(test_brackets_within_strings_are_no_depth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
