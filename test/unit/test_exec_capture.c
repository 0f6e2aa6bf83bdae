/* SPDX-License-Identifier: Apache-2.0
 *
 * Bounded output: what is kept, what is counted, what the mark says; against a plain model. */
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

static void assert_copy(const struct capture *capture, const char *expected, size_t expected_len)
{
	size_t len;
	char *copy = capture_copy(capture, &len);

	assert_int_equal(len, expected_len);
	assert_memory_equal(copy, expected, len);
	assert_int_equal(copy[len], '\0');
	free(copy);
}

static void test_short_output_is_kept_whole(void **state)
{
	struct capture capture;

	capture_init(&capture, 8);
	assert_copy(&capture, "", 0);
	capture_write(&capture, "abc", 3);
	capture_write(&capture, "", 0);
	capture_write(&capture, "\0\377def", 5);
	assert_copy(&capture, "abc\0\377def", 8);
	assert_int_equal(capture.total, 8);
	capture_fini(&capture);
}

static void test_long_output_keeps_beginning_and_end_with_a_mark_between(void **state)
{
	static const char expected[] = "ab\n[... 5 bytes left out ...]\nhijklm";
	struct capture capture;

	capture_init(&capture, 8);
	capture_write(&capture, "abcdefgh", 8);
	capture_write(&capture, "ijklm", 5);
	assert_copy(&capture, expected, sizeof(expected) - 1);
	assert_int_equal(capture.total, 13);
	capture_fini(&capture);
}

static void test_one_write_larger_than_the_limit(void **state)
{
	static const char expected[] = "ab\n[... 18 bytes left out ...]\nuvwxyz";
	struct capture capture;

	capture_init(&capture, 8);
	capture_write(&capture, "abcdefghijklmnopqrstuvwxyz", 26);
	assert_copy(&capture, expected, sizeof(expected) - 1);
	capture_fini(&capture);
}

/* On either side of what is left out. */
static void test_the_cut_does_not_split_a_character(void **state)
{
	static const char euro[] = "\xe2\x82\xac";
	static const char expected[] = "a\n[... 15 bytes left out ...]\nbcdef";
	struct capture capture;

	capture_init(&capture, 8); /* 2 and 6 */
	capture_write(&capture, "a", 1);
	for (int i = 0; i < 5; i++)
		capture_write(&capture, euro, 3);
	capture_write(&capture, "bcdef", 5);
	assert_int_equal(capture.total, 21);
	assert_copy(&capture, expected, sizeof(expected) - 1);
	capture_fini(&capture);
}

static void test_a_line_that_ends_at_the_cut_gets_no_empty_one(void **state)
{
	static const char expected[] = "a\n[... 3 bytes left out ...]\nefghij";
	struct capture capture;

	capture_init(&capture, 8);
	capture_write(&capture, "a\nxyzefghij", 11);
	assert_copy(&capture, expected, sizeof(expected) - 1);
	capture_fini(&capture);
}

static void test_nothing_kept_still_counts(void **state)
{
	struct capture capture;
	size_t len;
	char *copy;

	capture_init(&capture, 0);
	capture_write(&capture, "abc", 3);
	assert_int_equal(capture.total, 3);
	copy = capture_copy(&capture, &len);
	assert_string_equal(copy, "[... 3 bytes left out ...]\n");
	free(copy);
	capture_fini(&capture);
}

/* Bytes below 0x80 only, so that the cut stays where the model has it. */
static void try_random(struct seed *seed)
{
	static char all[20000], expected[20100];
	struct capture capture;
	size_t max = 1 + seed_below(seed, 2000);
	size_t total = 0, head = max / 4, mark;

	capture_init(&capture, max);
	while (total < 15000) {
		size_t len = seed_below(seed, seed_below(seed, 4) == 0 ? 5000 : 50);

		for (size_t i = 0; i < len; i++)
			all[total + i] = (char)seed_below(seed, 128);
		capture_write(&capture, all + total, len);
		total += len;
		if (total <= max) {
			assert_copy(&capture, all, total);
			continue;
		}
		memcpy(expected, all, head);
		mark = head + (size_t)snprintf(expected + head, sizeof(expected) - head,
				      "%s[... %zu bytes left out ...]\n",
				      head > 0 && all[head - 1] != '\n' ? "\n" : "", total - max);
		memcpy(expected + mark, all + total - (max - head), max - head);
		assert_copy(&capture, expected, mark + max - head);
	}
	assert_int_equal(capture.total, total);
	capture_fini(&capture);
}

static void test_random_writes_agree_with_a_model(void **state)
{
	struct seed seed = seed_start("capture");

	for (int i = 0; i < 50; i++)
		try_random(&seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_short_output_is_kept_whole),
		cmocka_unit_test(test_long_output_keeps_beginning_and_end_with_a_mark_between),
		cmocka_unit_test(test_one_write_larger_than_the_limit),
		cmocka_unit_test(test_the_cut_does_not_split_a_character),
		cmocka_unit_test(test_a_line_that_ends_at_the_cut_gets_no_empty_one),
		cmocka_unit_test(test_nothing_kept_still_counts),
		cmocka_unit_test(test_random_writes_agree_with_a_model),
	};

	return cmocka_run_group_tests_name("exec_capture", tests, NULL, NULL);
}
