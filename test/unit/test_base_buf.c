/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory, buffers, lists, errors and metrics: the small tools everything else stands on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/text.h"
#include "seed.h"

#define ROUNDS 2000

static void test_mem_copies_are_terminated(void **state)
{
	auto_free char *none = xstrdup(NULL);
	auto_free char *whole = xstrdup("whole");
	auto_free char *part = xstrndup("partial", 4);
	auto_free char *more = xstrndup("short", 100);
	auto_free char *bytes = xmemdup("a\0b", 3);
	auto_free char *printed = xasprintf("%s-%d", "x", 7);
	auto_free void *empty = xmalloc(0);

	assert_null(none);
	assert_string_equal(whole, "whole");
	assert_string_equal(part, "part");
	assert_string_equal(more, "short");
	assert_memory_equal(bytes, "a\0b\0", 4);
	assert_string_equal(printed, "x-7");
	assert_non_null(empty);
}

static void test_mem_take_ptr_leaves_null(void **state)
{
	auto_free char *mine = xstrdup("text");
	char *theirs = take_ptr(mine);

	assert_null(mine);
	assert_string_equal(theirs, "text");
	free(theirs);
}

static void test_buf_is_text_before_any_write(void **state)
{
	struct buf buf;

	buf_init(&buf, 10);
	assert_string_equal(buf_text(&buf), "");
	auto_free char *taken = buf_take(&buf);

	assert_string_equal(taken, "");
	buf_clear(&buf);
	buf_fini(&buf);
	buf_fini(&buf);
}

static void test_buf_keeps_what_fits_and_says_so(void **state)
{
	struct buf buf;

	buf_init(&buf, 8);
	buf_puts(&buf, "12345678");
	assert_false(buf.is_cut);
	buf_putc(&buf, '9');
	assert_true(buf.is_cut);
	assert_string_equal(buf_text(&buf), "12345678");
	buf_clear(&buf);
	assert_false(buf.is_cut);
	buf_printf(&buf, "%d-%s", 123, "abcdefgh");
	assert_true(buf.is_cut);
	assert_string_equal(buf_text(&buf), "123-abcd");
	buf_append(&buf, "", 0);
	assert_int_equal(buf.len, 8);
	buf_fini(&buf);

	buf_init(&buf, 0);
	buf_append(&buf, "", 0);
	assert_false(buf.is_cut);
	buf_printf(&buf, "x");
	assert_true(buf.is_cut);
	assert_string_equal(buf_text(&buf), "");
	buf_fini(&buf);
}

static void test_buf_take_leaves_it_empty_with_its_limit(void **state)
{
	struct buf buf;

	buf_init(&buf, 4);
	buf_puts(&buf, "12345");
	auto_free char *taken = buf_take(&buf);

	assert_string_equal(taken, "1234");
	assert_false(buf.is_cut);
	assert_int_equal(buf.len, 0);
	buf_puts(&buf, "abcde");
	assert_string_equal(buf_text(&buf), "abcd");
	buf_fini(&buf);
}

/* Random writes of all kinds against one plain array. */
static void test_buf_agrees_with_an_array(void **state)
{
	static char model[1 << 16];
	struct seed seed = seed_start("buf_agrees_with_an_array");

	for (int i = 0; i < ROUNDS; i++) {
		size_t limit = seed_below(&seed, 2000), len = 0;
		char piece[400];
		struct buf buf;

		buf_init(&buf, limit);
		for (uint64_t writes = seed_below(&seed, 40); writes > 0; writes--) {
			size_t size = seed_below(&seed, sizeof(piece) - 1);

			memset(piece, 'a' + (int)seed_below(&seed, 26), size);
			piece[size] = '\0';
			if (seed_below(&seed, 2))
				buf_append(&buf, piece, size);
			else
				buf_printf(&buf, "%s", piece);
			memcpy(model + len, piece, size);
			len += size;
		}
		assert_int_equal(buf.len, len < limit ? len : limit);
		assert_int_equal(buf.is_cut, len > limit);
		assert_memory_equal(buf_text(&buf), model, buf.len);
		assert_int_equal(buf_text(&buf)[buf.len], 0);
		buf_fini(&buf);
	}
}

struct item {
	int value;
	struct list node;
};

static void test_list_keeps_order_and_lets_go(void **state)
{
	struct item items[5];
	struct list head, other;
	int sum = 0, next = 0;

	list_init(&head);
	list_init(&other);
	for (int i = 0; i < 5; i++) {
		items[i].value = i;
		list_push(i < 3 ? &head : &other, &items[i].node);
	}
	list_splice(&head, &other);
	assert_true(list_is_empty(&other));
	list_for_each (node, &head) {
		struct item *item = list_entry(node, struct item, node);

		assert_int_equal(item->value, next++);
		if (item->value % 2)
			list_remove(node);
	}
	list_remove(&items[1].node);
	for (struct list *node = list_pop(&head); node; node = list_pop(&head))
		sum += list_entry(node, struct item, node)->value;
	assert_int_equal(sum, 0 + 2 + 4);
	assert_null(list_pop(&head));
}

static void test_err_set_fills_and_returns(void **state)
{
	struct err err = {.field = "/old", .text = "old"};

	assert_int_equal(err_set(&err, ERR_NOT_FOUND, "no action '%s'", "x"), ERR_NOT_FOUND);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_string_equal(err.text, "no action 'x'");
	assert_string_equal(err.field, "");
	assert_int_equal(err_field(&err, ERR_INVALID, "/a/b", "bad"), ERR_INVALID);
	assert_string_equal(err.field, "/a/b");
	assert_int_equal(err_set(NULL, ERR_IO, "%d", 1), ERR_IO);
	assert_int_equal(err_field(NULL, ERR_IO, "/x", "%d", 1), ERR_IO);
}

static void test_err_wrap_prefixes(void **state)
{
	struct err err = {0};

	err_field(&err, ERR_IO, "/x", "disk gone");
	assert_int_equal(err_wrap(&err, "file %d", 7), ERR_IO);
	assert_string_equal(err.text, "file 7: disk gone");
	assert_string_equal(err.field, "/x");
	/* its own text as argument */
	err_set(&err, ERR_IO, "again: %s", err.text);
	assert_string_equal(err.text, "again: file 7: disk gone");
	err_wrap(&err, "%s", err.text);
	assert_string_equal(err.text, "again: file 7: disk gone: again: file 7: disk gone");
}

static void test_err_text_is_cut_between_characters(void **state)
{
	struct err err = {0};
	char euros[600 * 3 + 1];

	for (size_t i = 0; i < sizeof(euros) - 1; i++)
		euros[i] = "\xe2\x82\xac"[i % 3];
	euros[sizeof(euros) - 1] = '\0';
	for (int shift = 0; shift < 3; shift++) {
		err_field(&err, ERR_INVALID, euros + 3, "%.*s%s", shift, "xx", euros);
		assert_true(utf8_is_valid(err.text, strlen(err.text)));
		assert_true(utf8_is_valid(err.field, strlen(err.field)));
		assert_true(strlen(err.text) > sizeof(err.text) - 4);
		err_wrap(&err, "%.*s", shift + 1, "yyy");
		assert_true(utf8_is_valid(err.text, strlen(err.text)));
		assert_true(strlen(err.text) > sizeof(err.text) - 4);
		err_wrap(&err, "%s", euros);
		assert_true(utf8_is_valid(err.text, strlen(err.text)));
	}
}

static void test_err_table_answers_for_each_code(void **state)
{
	int count = 0;
#define X(name, value, code, http, exit, meaning)                                                  \
	assert_int_equal(name, value);                                                             \
	assert_string_equal(err_name(name), code);                                                 \
	assert_string_equal(err_meaning(name), meaning);                                           \
	assert_int_equal(err_http_status(name), http);                                             \
	assert_int_equal(err_exit_status(name), exit);                                             \
	assert_true(http >= 400 && http < 600 && exit > 0 && value < 0);                           \
	count++;
#include "base/errors.def"
#undef X
	assert_true(count > 10);
	assert_string_equal(err_name(-9999), "internal");
	assert_string_equal(err_name(1), "internal");
	assert_int_equal(err_http_status(INT32_MIN), 500);
	assert_int_equal(err_exit_status(ERR_NONE), 0);
}

static void test_metrics_are_prometheus_text(void **state)
{
	struct buf out;

	metrics.http_requests = 12;
	metrics.runs_running = -3;
	buf_init(&out, 1 << 16);
	metrics_write(&out);
	assert_false(out.is_cut);
	assert_non_null(
		strstr(buf_text(&out), "# HELP gathering_http_requests_total requests answered\n"
				       "# TYPE gathering_http_requests_total counter\n"
				       "gathering_http_requests_total 12\n"));
	assert_non_null(strstr(buf_text(&out),
		"# TYPE gathering_runs_running gauge\ngathering_runs_running -3\n"));
	assert_int_equal(out.data[out.len - 1], '\n');
	metrics = (struct metrics){0};
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mem_copies_are_terminated),
		cmocka_unit_test(test_mem_take_ptr_leaves_null),
		cmocka_unit_test(test_buf_is_text_before_any_write),
		cmocka_unit_test(test_buf_keeps_what_fits_and_says_so),
		cmocka_unit_test(test_buf_take_leaves_it_empty_with_its_limit),
		cmocka_unit_test(test_buf_agrees_with_an_array),
		cmocka_unit_test(test_list_keeps_order_and_lets_go),
		cmocka_unit_test(test_err_set_fills_and_returns),
		cmocka_unit_test(test_err_wrap_prefixes),
		cmocka_unit_test(test_err_text_is_cut_between_characters),
		cmocka_unit_test(test_err_table_answers_for_each_code),
		cmocka_unit_test(test_metrics_are_prometheus_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
