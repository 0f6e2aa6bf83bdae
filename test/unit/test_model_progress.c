/* SPDX-License-Identifier: Apache-2.0
 *
 * Progress as programs write it, and how notes are joined. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/model.h"
#include "seed.h"

#define NOTHING (-2)

static const struct {
	const char *text;
	int percent;
	const char *message;
} rows[] = {
	{"", NOTHING, NULL},
	{" \n\t\n", NOTHING, NULL},
	{"42", 42, NULL},
	{"42\n", 42, NULL},
	{"42%", 42, NULL},
	{"42 %", 42, "%"},
	{"42 copying", 42, "copying"},
	{"42% copying files\n", 42, "copying files"},
	{"42.9 copying", 42, "copying"},
	{"42.", -1, "42."},
	{"250", 100, NULL},
	{"99999999999999999999999999", 100, NULL},
	{"-5 below", -1, "-5 below"},
	{"42nd file", -1, "42nd file"},
	{"copying", -1, "copying"},
	{"10 first\n20 second\n", 20, "second"},
	{"10 first\n\n  \n", 10, "first"},
	{"10 first\r\n20 second\r\n", 20, "second"},
	{"{\"percent\": 7.8, \"message\": \" half \"}", 7, "half"},
	{"{\"percent\": 7}", 7, NULL},
	{"{\"message\": \"x\"}", -1, "x"},
	{"{\"percent\": null, \"message\": null}", -1, "{\"percent\": null, \"message\": null}"},
	{"10 first\n{\"percent\": 20}\n", 20, NULL},
	{"{\n \"percent\": 30,\n \"message\": \"three\"\n}\n", 30, "three"},
	{"{\"percent\": 20", -1, "{\"percent\": 20"},
	{"bad \xff byte", -1, "bad \xEF\xBF\xBD byte"},
};

static void test_progress_is_read_from_lines_and_objects(void **state)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct run_note note;
		bool has = progress_parse(rows[i].text, strlen(rows[i].text), &note);

		if (has != (rows[i].percent != NOTHING))
			fail_msg("'%s': %d", rows[i].text, has);
		if (has && note.percent != rows[i].percent)
			fail_msg("'%s': %d", rows[i].text, note.percent);
		if (rows[i].message == NULL)
			assert_null(note.message);
		else
			assert_string_equal(note.message, rows[i].message);
		run_note_fini(&note);
	}
}

static void test_a_long_message_is_cut_between_characters(void **state)
{
	char text[2 * PROGRESS_MESSAGE_MAX];
	struct run_note note;

	for (size_t i = 0; i + 1 < sizeof(text); i += 2)
		memcpy(text + i, "\u00e4", 2);
	text[0] = 'x';
	text[1] = 'y';
	memmove(text + 1, text + 2, sizeof(text) - 2);
	assert_true(progress_parse(text, sizeof(text) - 1, &note));
	assert_int_equal(strlen(note.message), PROGRESS_MESSAGE_MAX - 1);
	assert_memory_equal(note.message + PROGRESS_MESSAGE_MAX - 3, "\u00e4", 2);
	run_note_fini(&note);
}

static void test_any_bytes_are_read_without_harm(void **state)
{
	static const char bytes[] = "{}\"percent\":message 0123456789.%\n\r\t\xc3\xff-e,[]";

	struct seed seed = seed_start("progress");

	for (int round = 0; round < 20000; round++) {
		char text[64];
		size_t len = seed_below(&seed, sizeof(text));
		auto_free char *exact = NULL;
		struct run_note note;

		for (size_t i = 0; i < len; i++)
			text[i] = bytes[seed_below(&seed, sizeof(bytes) - 1)];
		exact = xmemdup(text, len);
		if (progress_parse(exact, len, &note))
			assert_true(note.percent >= -1 && note.percent <= 100);
		run_note_fini(&note);
	}
}

static void test_a_newer_note_replaces_only_what_it_has(void **state)
{
	struct run_note note = {.has_progress = true, .percent = 1, .message = xstrdup("one")};
	struct run_note newer = {
		.percent = -1, .checkpoint = xmemdup("a\0b", 3), .checkpoint_len = 3};

	run_note_merge(&note, &newer);
	assert_true(run_note_is_empty(&newer));
	assert_int_equal(note.percent, 1);
	assert_string_equal(note.message, "one");
	assert_int_equal(note.checkpoint_len, 3);
	newer = (struct run_note){.has_progress = true, .percent = 2};
	run_note_merge(&note, &newer);
	assert_int_equal(note.percent, 2);
	assert_null(note.message);
	assert_memory_equal(note.checkpoint, "a\0b", 3);
	run_note_fini(&note);
	assert_true(run_note_is_empty(&note));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_progress_is_read_from_lines_and_objects),
		cmocka_unit_test(test_a_long_message_is_cut_between_characters),
		cmocka_unit_test(test_any_bytes_are_read_without_harm),
		cmocka_unit_test(test_a_newer_note_replaces_only_what_it_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
