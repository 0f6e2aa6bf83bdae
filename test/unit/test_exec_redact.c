/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets are taken out of output, however it is cut into pieces; against a plain model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exec/exec_priv.h"
#include "seed.h"

#define MARK "[redacted]"

static struct redactor *redactor_of(const char *const *values)
{
	struct redactor *redactor = redactor_create();

	for (; *values != NULL; values++)
		redactor_add(redactor, *values);
	return redactor;
}

static char *clean_text(const char *const *values, const char *text)
{
	struct redactor *redactor = redactor_of(values);
	char *clean = redactor_clean(redactor, text);

	redactor_destroy(redactor);
	return clean;
}

static void test_each_value_and_its_forms_are_replaced(void **state)
{
	static const struct {
		const char *values[3], *text, *expected;
	} rows[] = {
		{{"hunter22"}, "pass=hunter22;", "pass=" MARK ";"},
		{{"hunter22"}, "hunter2 hunter22hunter22 hunter", "hunter2 " MARK " hunter"},
		{{"a b/c"}, "?k=a%20b%2Fc&x=a b/c", "?k=" MARK "&x=" MARK},
		{{"say \"hi\"\n"}, "{\"k\":\"say \\\"hi\\\"\\n\"}", "{\"k\":\"" MARK "\"}"},
		{{"abcX", "Xdef"}, "-abcXdef-", "-" MARK "-"},
		{{"abc", "abcdef"}, "abcdef abcde", MARK " " MARK "de"},
		{{"abcdef", "cd"}, "xxabcdexx", "xxab" MARK "exx"},
		{{"aab"}, "aaab", "a" MARK},
		{{"aaaa"}, "aaaaaaa", MARK},
		{{"", "none here"}, "nothing to see", "nothing to see"},
		{{"secret"}, "", ""},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *clean = clean_text(rows[i].values, rows[i].text);

		assert_string_equal(clean, rows[i].expected);
		free(clean);
	}
}

/* Marks by brute force. */
static void model_clean(const char *const *values, const char *text, size_t len, struct buf *out)
{
	bool secret[512] = {0}, was_secret = false;

	for (; *values != NULL; values++) {
		size_t size = strlen(*values);

		for (size_t at = 0; at + size <= len; at++)
			if (memcmp(text + at, *values, size) == 0)
				memset(secret + at, true, size);
	}
	for (size_t at = 0; at < len; at++) {
		if (!secret[at])
			buf_putc(out, text[at]);
		else if (!was_secret)
			buf_puts(out, MARK);
		was_secret = secret[at];
	}
}

static void random_text(struct seed *seed, char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		text[i] = (char)('a' + seed_below(seed, 2));
	text[len] = '\0';
}

/* Two letters only, so that values overlap themselves and each other all the time. */
static void test_any_cut_of_the_output_gives_what_the_model_gives(void **state)
{
	struct seed seed = seed_start("exec_redact");

	for (int round = 0; round < 3000; round++) {
		char text[301], first[9], second[9];
		const char *values[] = {first, second, NULL};
		size_t len = (size_t)seed_below(&seed, 300), copy_len;
		struct redactor *redactor;
		struct capture capture;
		struct buf expected;
		char *copy;

		random_text(&seed, first, 2 + (size_t)seed_below(&seed, 6));
		random_text(&seed, second, 2 + (size_t)seed_below(&seed, 6));
		random_text(&seed, text, len);
		redactor = redactor_of(values);
		capture_init(&capture, 8192);
		for (size_t at = 0, step; at < len; at += step) {
			step = 1 + (size_t)seed_below(&seed, 7);
			step = step < len - at ? step : len - at;
			redactor_write(redactor, text + at, step, &capture);
		}
		redactor_end(redactor, &capture);
		copy = capture_copy(&capture, &copy_len);
		buf_init(&expected, 8192);
		model_clean(values, text, len, &expected);
		assert_string_equal(copy, buf_text(&expected));
		free(copy);
		buf_fini(&expected);
		capture_fini(&capture);
		redactor_destroy(redactor);
	}
}

static void test_what_cannot_be_a_secret_is_not_held_back(void **state)
{
	static const char *const values[] = {"hunter22", NULL};
	struct redactor *redactor = redactor_of(values);
	struct capture capture;

	capture_init(&capture, 100);
	redactor_write(redactor, "line\nhun", 8, &capture);
	assert_int_equal(capture.total, 5);
	redactor_write(redactor, "t", 1, &capture);
	assert_int_equal(capture.total, 5);
	redactor_write(redactor, "\n", 1, &capture);
	assert_int_equal(capture.total, 10);
	redactor_end(redactor, &capture);
	assert_int_equal(capture.total, 10);
	capture_fini(&capture);
	redactor_destroy(redactor);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_value_and_its_forms_are_replaced),
		cmocka_unit_test(test_any_cut_of_the_output_gives_what_the_model_gives),
		cmocka_unit_test(test_what_cannot_be_a_secret_is_not_held_back),
	};
	return cmocka_run_group_tests_name("exec_redact", tests, NULL, NULL);
}
