/* SPDX-License-Identifier: Apache-2.0
 *
 * Log lines as they arrive at file descriptor 2: form, escapes, limits, and whole lines from
 * several threads. Programs that must end (must(), no memory) are watched in a child of their own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#define CAPTURE_MAX  (1 << 21)
#define THREADS      4
#define THREAD_LINES 200

static char captured[CAPTURE_MAX];

static int64_t fixed_ms(void)
{
	return INT64_C(1795311000250);
}

static const struct clock_source fixed_clock = {fixed_ms, fixed_ms};

/* Runs `emit` with descriptor 2 on a file without a name, and reads that file. */
static const char *capture(void (*emit)(void))
{
	FILE *file = tmpfile();
	int saved = dup(STDERR_FILENO);
	size_t len = 0;

	assert_non_null(file);
	assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
	clock_set_source(&fixed_clock);
	emit();
	clock_set_source(NULL);
	log_configure(LOG_INFO, LOG_TEXT);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	(void)close(saved);
	assert_int_equal(fseek(file, 0, SEEK_SET), 0);
	len = fread(captured, 1, sizeof(captured) - 1, file);
	captured[len] = '\0';
	(void)fclose(file);
	return captured;
}

static const struct id some_id = {{0x01, 0x93, 0x9f, 0x4a, 0x7c, 0x1b, 0x7d, 0xef, 0x8a, 0xbc, 1,
	0x23, 0x45, 0x67, 0x89, 0xab}};

static void emit_each_type(void)
{
	log_info("run finished", kv_id("run", &some_id), kv_i64("took_ms", INT64_MIN),
		kv_bool("is_late", false), kv_str("name", "nightly"), kv_str("none", NULL),
		kv_id("no_id", NULL));
	log_warn("alone");
}

static void emit_each_type_as_json(void)
{
	log_configure(LOG_INFO, LOG_JSON);
	emit_each_type();
}

static void test_text_line_has_each_type(void **state)
{
	assert_string_equal(capture(emit_each_type), "2026-11-22T01:30:00.250Z info run finished "
						     "run=01939f4a-7c1b-7def-8abc-0123456789ab "
						     "took_ms=-9223372036854775808 is_late=false "
						     "name=nightly none=null no_id=null\n"
						     "2026-11-22T01:30:00.250Z warn alone\n");
}

static void test_json_line_has_each_type(void **state)
{
	assert_string_equal(capture(emit_each_type_as_json),
		"{\"time\":\"2026-11-22T01:30:00.250Z\",\"level\":\"info\",\"event\":\"run "
		"finished\","
		"\"run\":\"01939f4a-7c1b-7def-8abc-0123456789ab\",\"took_ms\":-9223372036854775808,"
		"\"is_late\":false,\"name\":\"nightly\",\"none\":null,\"no_id\":null}\n"
		"{\"time\":\"2026-11-22T01:30:00.250Z\",\"level\":\"warn\",\"event\":\"alone\"}\n");
}

static const struct {
	const char *value;
	const char *text; /* as it stands in a text line */
	const char *json;
} value_rows[] = {
	{"plain/1:2", "plain/1:2", "\"plain/1:2\""},
	{"", "\"\"", "\"\""},
	{"null", "\"null\"", "\"null\""},
	{"two words", "\"two words\"", "\"two words\""},
	{"a=b", "\"a=b\"", "\"a=b\""},
	{"say \"hi\" \\ bye", "\"say \\\"hi\\\" \\\\ bye\"", "\"say \\\"hi\\\" \\\\ bye\""},
	{"x\ninfo fake line", "\"x\\ninfo fake line\"", "\"x\\ninfo fake line\""},
	{"\r\t\x1b[31m\x7f", "\"\\u000d\\t\\u001b[31m\\u007f\"",
		"\"\\u000d\\t\\u001b[31m\\u007f\""},
	{"\xc2\x9b"
	 "31m",
		"\"\\u009b31m\"", "\"\\u009b31m\""},
	{"\xe2\x80\xae"
	 "evil",
		"\"\\u202eevil\"", "\"\\u202eevil\""},
	{"\xff\xc3", "\"\\ufffd\\ufffd\"", "\"\\ufffd\\ufffd\""},
	{"caf\xc3\xa9 \xf0\x9f\x98\x80", "\"caf\xc3\xa9 \xf0\x9f\x98\x80\"",
		"\"caf\xc3\xa9 \xf0\x9f\x98\x80\""},
};

static void emit_values(void)
{
	for (size_t i = 0; i < COUNT_OF(value_rows); i++)
		log_info("e", kv_str("v", value_rows[i].value));
}

static void emit_values_as_json(void)
{
	log_configure(LOG_INFO, LOG_JSON);
	emit_values();
}

static void test_values_are_escaped(void **state)
{
	auto_free char *text_lines = xstrdup(capture(emit_values));
	auto_free char *json_lines = xstrdup(capture(emit_values_as_json));
	char *text_at = NULL, *json_at = NULL;
	char *text_line = strtok_r(text_lines, "\n", &text_at);
	char *json_line = strtok_r(json_lines, "\n", &json_at);

	for (size_t i = 0; i < COUNT_OF(value_rows); i++) {
		auto_free char *text =
			xasprintf("2026-11-22T01:30:00.250Z info e v=%s", value_rows[i].text);
		auto_free char *json = xasprintf("{\"time\":\"2026-11-22T01:30:00.250Z\",\"level\":"
						 "\"info\",\"event\":\"e\",\"v\":%s}",
			value_rows[i].json);

		assert_string_equal(text_line, text);
		assert_string_equal(json_line, json);
		text_line = strtok_r(NULL, "\n", &text_at);
		json_line = strtok_r(NULL, "\n", &json_at);
	}
	assert_null(text_line);
	assert_null(json_line);
}

static void emit_each_level(void)
{
	log_debug("no");
	log_info("yes");
	log_configure(LOG_WARN, LOG_TEXT);
	log_debug("no");
	log_info("no");
	log_warn("yes");
	log_error("yes");
	log_line(LOG_INFO, "no", (const struct log_kv[]){{0}});
	log_configure(LOG_DEBUG, LOG_TEXT);
	log_debug("yes");
}

static void test_levels_below_the_least_are_silent(void **state)
{
	assert_string_equal(capture(emit_each_level),
		"2026-11-22T01:30:00.250Z info yes\n2026-11-22T01:30:00.250Z warn yes\n"
		"2026-11-22T01:30:00.250Z error yes\n2026-11-22T01:30:00.250Z debug yes\n");
}

/* Long values are shortened, long lines lose whole keys. */
static void emit_long(void)
{
	auto_free char *value = xmalloc(5001);
	auto_free char *escapes = xmalloc(2001);

	memset(value, 'v', 5000);
	value[5000] = '\0';
	memset(escapes, 1, 2000);
	escapes[2000] = '\0';
	log_configure(LOG_INFO, LOG_JSON);
	log_info("long", kv_str("v", value), kv_str("after", "ok"));
	log_info("longer", kv_str("a", escapes), kv_str("b", escapes), kv_str("c", "lost"));
}

static void test_long_values_and_lines_are_cut_well_formed(void **state)
{
	const char *lines = capture(emit_long);
	const char *second = strchr(lines, '\n') + 1;

	assert_non_null(strstr(lines, "vvv...\",\"after\":\"ok\"}\n"));
	assert_true(second - lines < 2300);
	assert_non_null(strstr(second, "\\u0001\",\"cut\":true}\n"));
	assert_null(strstr(second, "lost"));
	assert_true(strlen(second) <= 16384);
}

static void *log_many(void *letter)
{
	char value[1500];

	memset(value, *(const char *)letter, sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (int i = 0; i < THREAD_LINES; i++)
		log_info("x", kv_str("v", value));
	return NULL;
}

static void emit_from_threads(void)
{
	pthread_t threads[THREADS];
	char letters[] = "abcd";

	/* As a redirected log does: every write(2) goes to the end. */
	assert_true(fcntl(STDERR_FILENO, F_SETFL, O_APPEND) == 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, log_many, &letters[i]), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void test_lines_of_threads_do_not_mix(void **state)
{
	const char *at = capture(emit_from_threads);
	int lines = 0;

	for (const char *end = strchr(at, '\n'); end; end = strchr(at, '\n')) {
		const char *value = strstr(at, "v=") + 2;

		for (const char *c = value; c < end; c++)
			assert_int_equal(*c, *value);
		lines++;
		at = end + 1;
	}
	assert_int_equal(lines, THREADS * THREAD_LINES);
}

static void break_the_program(void)
{
	must(1 + 1 == 3);
}

static void ask_for_too_much(void)
{
	free(xrealloc(NULL, SIZE_MAX / 2, 3));
}

static int child_status;

static void (*child_body)(void);

static void emit_in_child(void)
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		(void)signal(SIGABRT, SIG_DFL);
		child_body();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &child_status, 0), child);
}

static void test_must_prints_its_place_and_aborts(void **state)
{
	child_body = break_the_program;
	const char *text = capture(emit_in_child);

	assert_true(WIFSIGNALED(child_status) && WTERMSIG(child_status) == SIGABRT);
	assert_non_null(strstr(text, "test_base_log.c:"));
	assert_non_null(strstr(text, "1 + 1 == 3"));
}

static void test_size_overflow_aborts_instead_of_wrapping(void **state)
{
	child_body = ask_for_too_much;
	const char *text = capture(emit_in_child);

	assert_true(WIFSIGNALED(child_status) && WTERMSIG(child_status) == SIGABRT);
	assert_non_null(strstr(text, "out of memory"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_line_has_each_type),
		cmocka_unit_test(test_json_line_has_each_type),
		cmocka_unit_test(test_values_are_escaped),
		cmocka_unit_test(test_levels_below_the_least_are_silent),
		cmocka_unit_test(test_long_values_and_lines_are_cut_well_formed),
		cmocka_unit_test(test_lines_of_threads_do_not_mix),
		cmocka_unit_test(test_must_prints_its_place_and_aborts),
		cmocka_unit_test(test_size_overflow_aborts_instead_of_wrapping),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
