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

/* --- from somewhere on --- */

/* What is read from `from` on is what was written there, or from the first byte behind it that is
 * still there. Returns how many bytes were read. */
static size_t assert_part(const char *all, size_t total, int64_t from, int64_t got_from,
	const char *bytes, size_t len)
{
	assert_true(got_from >= from && got_from + (int64_t)len <= (int64_t)total);
	assert_memory_equal(bytes, all + got_from, len);
	return len;
}

/* A reader that begins anywhere and goes on to the end has every byte once, but those of one hole.
 */
static void assert_readable_from(
	const struct capture *capture, const char *all, size_t total, int64_t from, size_t piece)
{
	size_t read = 0, missing = 0, len;
	int holes = 0;

	for (int64_t at = from; at < (int64_t)total; at += (int64_t)len) {
		int64_t got_from = at;
		auto_free char *bytes = capture_from(capture, &got_from, piece, &len);

		assert_true(len > 0 && len <= piece);
		read += assert_part(all, total, at, got_from, bytes, len);
		missing += (size_t)(got_from - at);
		holes += got_from > at;
		at = got_from;
	}
	assert_true(holes <= 1);
	assert_int_equal(read + missing, total - (size_t)from);
}

static void assert_kept_readable_from(
	const struct capture *capture, const char *all, size_t total, int64_t from)
{
	size_t len, read = 0, missing = 0;
	auto_free char *text = capture_copy(capture, &len);
	struct exec_output output = {.len = 1};
	bool is_cut = capture->total > (int64_t)(capture->head_len + capture->len);

	if (is_cut && total == len)
		return; /* the mark is as long as what is missing, and is read as text */
	for (int64_t at = from; output.len > 0; at = output.from + (int64_t)output.len) {
		exec_kept_from(text, len, capture->total, at, &output);
		read += assert_part(all, total, at, output.from, output.bytes, output.len);
		missing += output.len > 0 ? (size_t)(output.from - at) : 0;
	}
	assert_int_equal(read + missing, total - (size_t)from);
}

static void test_output_that_was_not_cut_is_read_whole_whatever_it_says(void **state)
{
	static const char text[] = "before\n[... 28 bytes left out ...]\nafter\n"
				   "no end[... 29 bytes left out ...]\n";
	struct exec_output output;

	exec_kept_from(text, strlen(text), (int64_t)strlen(text), 0, &output);
	assert_true(output.from == 0 && output.len == strlen(text));
	exec_kept_from(text, strlen(text), (int64_t)strlen(text), 10, &output);
	assert_true(output.from == 10 && output.len == strlen(text) - 10);
}

/* The program writes lines that look like our mark, too. */
static void test_output_is_read_on_from_anywhere_while_it_runs_and_when_it_has_ended(void **state)
{
	static const char *const lines[] = {"[... 12 bytes left out ...]\n", "[... ", "x",
		"a line\n", "[... 99999999999999999999 bytes left out ...]\n"};
	static char all[20000];
	struct seed seed = seed_start("capture-from");

	for (int i = 0; i < 100; i++) {
		struct capture capture;
		size_t total = 0;

		capture_init(&capture, 8 + seed_below(&seed, 3000));
		for (size_t n = seed_below(&seed, 300); n > 0; n--) {
			const char *line = lines[seed_below(&seed, COUNT_OF(lines))];

			capture_write(&capture, line, strlen(line));
			memcpy(all + total, line, strlen(line));
			total += strlen(line);
		}
		for (int n = 0; n < 10; n++) {
			int64_t from = (int64_t)seed_below(&seed, total + 1);

			assert_readable_from(
				&capture, all, total, from, 1 + seed_below(&seed, 500));
			assert_kept_readable_from(&capture, all, total, from);
		}
		capture_fini(&capture);
	}
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
		cmocka_unit_test(test_output_that_was_not_cut_is_read_whole_whatever_it_says),
		cmocka_unit_test(
			test_output_is_read_on_from_anywhere_while_it_runs_and_when_it_has_ended),
	};

	return cmocka_run_group_tests_name("exec_capture", tests, NULL, NULL);
}
