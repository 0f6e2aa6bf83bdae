/* SPDX-License-Identifier: Apache-2.0
 *
 * The small readers of the API: limit and cursor of lists, entity tags, /proc texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/etag_priv.h"
#include "api/page_priv.h"
#include "api/system_priv.h"
#include "base/mem.h"
#include "base/text.h"
#include "seed.h"

static void test_page_limit_takes_1_to_1000_and_has_a_default(void **state)
{
	static const char *const bad[] = {
		"", "0", "-1", "1001", "10x", " 10", "1e2", "99999999999999999999"};
	struct err err = {0};
	int limit = 0;

	assert_int_equal(page_limit(NULL, &limit, &err), 0);
	assert_int_equal(limit, 100);
	assert_int_equal(page_limit("1", &limit, &err), 0);
	assert_int_equal(limit, 1);
	assert_int_equal(page_limit("1000", &limit, &err), 0);
	assert_int_equal(limit, 1000);
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		assert_int_equal(page_limit(bad[i], &limit, &err), ERR_BAD_REQUEST);
		assert_non_null(strstr(err.text, "'limit'"));
		assert_int_equal(limit, 1000);
	}
}

static void test_page_cursor_comes_back_as_it_went(void **state)
{
	static const char *const keys[] = {
		"a", "ab", "abc", "nightly report", "T\xc3\xa4glich", "~~~?>?>?>"};

	for (size_t i = 0; i < COUNT_OF(keys); i++) {
		struct err err = {0};
		auto_free char *cursor = page_cursor(PAGE_ACTIONS, keys[i]);
		auto_free char *key = NULL;

		assert_int_equal(
			strspn(cursor,
				"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
			strlen(cursor));
		assert_int_equal(page_key(PAGE_ACTIONS, cursor, &key, &err), 0);
		assert_string_equal(key, keys[i]);
		assert_int_equal(page_key(PAGE_RUNS, cursor, &key, &err), ERR_BAD_REQUEST);
	}
}

/* RFC 4648 section 10, behind our letter: "afoobar" */
static void test_page_cursor_is_base64url(void **state)
{
	auto_free char *cursor = page_cursor(PAGE_ACTIONS, "foobar");

	assert_string_equal(cursor, "YWZvb2Jhcg");
}

static void test_page_key_refuses_what_was_not_given_out(void **state)
{
	static const char *const bad[] = {"", "Y", "YQ", "YWZvb2Jhcg==", "YWZvb2Jhch",
		"YWZv b2Jhcg", "YWZvb2Jhcg%", "Yf8", "YQBi" /* a NUL */, "+/+/"};
	char long_cursor[4000];
	struct err err = {0};
	char *key = NULL;

	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		assert_int_equal(page_key(PAGE_ACTIONS, bad[i], &key, &err), ERR_BAD_REQUEST);
		assert_null(key);
	}
	memset(long_cursor, 'Y', sizeof(long_cursor) - 1);
	long_cursor[sizeof(long_cursor) - 1] = '\0';
	assert_int_equal(page_key(PAGE_ACTIONS, long_cursor, &key, &err), ERR_BAD_REQUEST);
}

/* Whatever is accepted is exactly what page_cursor() would write. */
static void test_page_key_when_random_then_canonical(void **state)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	struct seed seed = seed_start("page key");
	int accepted = 0;

	for (int round = 0; round < 200000; round++) {
		char cursor[12] = "Y"; /* 'a' begins 011000 01 */
		struct err err = {0};
		char *key = NULL;
		int len = 2 + (int)seed_below(&seed, 8);

		for (int i = 1; i < len; i++)
			cursor[i] = alphabet[seed_below(&seed, 64)];
		if (page_key(PAGE_ACTIONS, cursor, &key, &err) == 0) {
			auto_free char *again = page_cursor(PAGE_ACTIONS, key);

			assert_string_equal(again, cursor);
			free(key);
			accepted++;
		}
	}
	assert_true(accepted > 100);
}

static void test_etag_if_match(void **state)
{
	static const struct {
		const char *header;
		enum etag_match expected;
	} rows[] = {
		{"\"3\"", ETAG_MATCHES},
		{" \"3\" ", ETAG_MATCHES},
		{"*", ETAG_MATCHES},
		{"\"1\", \"3\"", ETAG_MATCHES},
		{"\"1\",\"2\"", ETAG_DIFFERS},
		{"\"33\"", ETAG_DIFFERS},
		{"\"\"", ETAG_DIFFERS},
		{"W/\"3\"", ETAG_DIFFERS},
		{"W/\"3\", \"3\"", ETAG_MATCHES},
		{"", ETAG_MALFORMED},
		{"3", ETAG_MALFORMED},
		{"\"3", ETAG_MALFORMED},
		{"\"3\",", ETAG_MALFORMED},
		{"\"3\" \"3\"", ETAG_MALFORMED},
		{"*, \"3\"", ETAG_MALFORMED},
	};
	char text[ETAG_SIZE];

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_int_equal(etag_if_match(rows[i].header, 3), rows[i].expected);
	assert_string_equal(etag_format(INT64_MAX, text), "\"9223372036854775807\"");
}

static void test_system_reads_proc_texts(void **state)
{
	static const char meminfo[] =
		"MemTotal:       16316412 kB\nMemFree:  5 kB\nMemAvailable:\t12 kB\n";
	struct cpu_sample sample = {0};

	assert_int_equal(system_meminfo_bytes(meminfo, "MemTotal"), INT64_C(16316412) * 1024);
	assert_int_equal(system_meminfo_bytes(meminfo, "MemAvailable"), 12 * 1024);
	assert_int_equal(system_meminfo_bytes(meminfo, "Mem"), 0);
	assert_int_equal(system_meminfo_bytes("", "MemTotal"), 0);
	assert_true(system_parse_cpu("cpu  10 1 5 100 4 0 2 3 99 99\ncpu0 1\n", &sample));
	assert_int_equal(sample.all, 125);
	assert_int_equal(sample.idle, 104);
	assert_false(system_parse_cpu("cpu0 10 1", &sample));
}

static void test_system_share_is_bounded(void **state)
{
	const struct cpu_sample from = {.all = 100, .idle = 60, .process = 5};
	double machine, process;

	system_cpu_share(&from, &(struct cpu_sample){200, 110, 30}, &machine, &process);
	assert_true(machine == 0.5 && process == 0.25);
	system_cpu_share(&from, &from, &machine, &process);
	assert_true(machine == 0 && process == 0);
	system_cpu_share(&from, &(struct cpu_sample){110, 50, 50}, &machine, &process);
	assert_true(machine == 1 && process == 1);
}

static void test_system_reads_this_machine(void **state)
{
	struct system_facts facts;
	struct cpu_sample sample;

	system_read(&facts);
	assert_true(facts.cpu_count >= 1);
	assert_true(facts.memory_total_bytes > facts.memory_available_bytes);
	assert_true(facts.memory_available_bytes > 0);
	assert_true(facts.process_memory_bytes > 0);
	assert_true(facts.uptime_ms > 0);
	system_cpu_sample(&sample);
	assert_true(sample.all > sample.idle);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_page_limit_takes_1_to_1000_and_has_a_default),
		cmocka_unit_test(test_page_cursor_comes_back_as_it_went),
		cmocka_unit_test(test_page_cursor_is_base64url),
		cmocka_unit_test(test_page_key_refuses_what_was_not_given_out),
		cmocka_unit_test(test_page_key_when_random_then_canonical),
		cmocka_unit_test(test_etag_if_match),
		cmocka_unit_test(test_system_reads_proc_texts),
		cmocka_unit_test(test_system_share_is_bounded),
		cmocka_unit_test(test_system_reads_this_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
