/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate's pure rules, without a server. The hostile table goes over real sockets in test_http.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/gate.h"
#include "http/http.h"

static void test_percent_decode(void **state)
{
	static const struct {
		const char *in, *out; /* out NULL: refused */
	} rows[] = {
		{"", ""},
		{"/a/b", "/a/b"},
		{"%41%6a%6A", "Ajj"},
		{"a%20b+c", "a b+c"},
		{"%c3%a4", "\303\244"},
		{"%F0%9F%98%80", "\360\237\230\200"},
		{"%25", "%"},
		{"%2541", "%41"}, /* once only */
		{"%", NULL},
		{"a%4", NULL},
		{"%4g", NULL},
		{"%-1", NULL},
		{"% 1", NULL},
		{"%00", NULL},
		{"a%00b", NULL},
		{"%80", NULL},
		{"%c3", NULL},
		{"%c0%af", NULL},
		{"%ed%a0%80", NULL},
		{"%f4%90%80%80", NULL},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		auto_free char *text = xstrdup(rows[i].in);
		bool is_good = http_percent_decode(text);

		if (is_good != (rows[i].out != NULL))
			fail_msg("'%s'", rows[i].in);
		if (is_good)
			assert_string_equal(text, rows[i].out);
	}
}

static void test_target_is_taken_apart(void **state)
{
	static const struct {
		const char *name, *value;
	} pairs[] = {
		{"a", "1"},
		{"b", ""},
		{"c d", "e=f"},
		{"a", "2"},
		{"", "x"},
		{"g&h", "i+j"},
	};
	struct target target;

	assert_null(target_parse("/p%2Fq//r?a=1&&b&c+d=e=f&a=2&=x&g%26h=i%2Bj&", &target));
	assert_string_equal(target.path, "/p%2Fq//r");
	assert_int_equal(target.query_count, COUNT_OF(pairs));
	for (size_t i = 0; i < COUNT_OF(pairs); i++) {
		assert_string_equal(target.query[i].name, pairs[i].name);
		assert_string_equal(target.query[i].value, pairs[i].value);
	}
	target_fini(&target);
	assert_null(target_parse("/...?/../x", &target)); /* dots that are no dot segments */
	assert_int_equal(target.query_count, 1);
	target_fini(&target);
}

/* A head as libmicrohttpd leaves it: separators are NULs. */
struct seam {
	char bytes[64];
	size_t len;
	struct gate_field fields[2];
	struct gate_head head;
	size_t target_at, target_len;
};

static struct seam *seam_make(void)
{
	static const char bytes[] = "GET\0/x?y\0HTTP/1.1\0\0A\0  b\0\0Cc\0\td \0\0\0";
	struct seam *seam = xcalloc(1, sizeof(*seam));

	memcpy(seam->bytes, bytes, sizeof(bytes));
	seam->len = sizeof(bytes); /* the literal's own NUL is the last one */
	seam->target_at = 4;
	seam->target_len = 4;
	seam->fields[0] = (struct gate_field){seam->bytes + 19, 1, seam->bytes + 23, 1};
	seam->fields[1] = (struct gate_field){seam->bytes + 26, 2, seam->bytes + 30, 2};
	seam->head = (struct gate_head){.method = seam->bytes,
		.target = "/x?y",
		.version = seam->bytes + 9,
		.fields = seam->fields,
		.field_count = 2,
		.bytes = seam->len};
	return seam;
}

static bool seam_holds(const struct seam *seam)
{
	return gate_is_seamless(&seam->head, seam->bytes + seam->target_at, seam->target_len);
}

static void test_seams(void **state)
{
	auto_free struct seam *seam = seam_make();

	assert_true(seam_holds(seam));
	seam->head.bytes++; /* something behind the last header: a NUL line */
	assert_false(seam_holds(seam));
	seam->head.bytes -= 2; /* the empty line was a bare line feed */
	assert_false(seam_holds(seam));
	seam->head.bytes++;
	seam->target_at++; /* two blanks behind the method */
	assert_false(seam_holds(seam));
	seam->target_at--;
	seam->target_len--; /* something behind the target */
	assert_false(seam_holds(seam));
	seam->target_len++;
	seam->bytes[18] = 'X'; /* bare line feed behind the first line */
	assert_false(seam_holds(seam));
	seam->bytes[18] = '\0';
	seam->bytes[25] = 'X'; /* and behind a header */
	assert_false(seam_holds(seam));
	seam->bytes[25] = '\0';
	seam->fields[0].value_len--; /* a NUL cut the value */
	assert_false(seam_holds(seam));
	seam->fields[0].value_len++;
	seam->fields[1].name = "Cc"; /* moved elsewhere: folded */
	assert_false(seam_holds(seam));
	seam->fields[1].name = seam->bytes + 26;
	seam->head.field_count = 1; /* one unaccounted for */
	assert_false(seam_holds(seam));
	seam->head.field_count = 2;
	assert_true(seam_holds(seam));
}

static void test_verdict_tells_about_the_body(void **state)
{
	static const struct gate_limits limits = {.header_max = 1000, .body_max = 100};
	struct gate_field fields[] = {
		{"hOsT", 4, "a", 1},
		{"CONTENT-LENGTH", 14, "100", 3},
	};
	struct gate_head head = {.method = "POST",
		.target = "/",
		.version = "HTTP/1.1",
		.fields = fields,
		.field_count = 2,
		.bytes = 60};
	struct gate_verdict verdict = gate_check(&head, &limits);

	assert_int_equal(verdict.status, 0);
	assert_int_equal(verdict.content_length, 100);
	assert_false(verdict.is_head_only);
	fields[1].value = "101";
	assert_int_equal(gate_check(&head, &limits).status, 413);
	fields[1].value = "000";
	assert_true(gate_check(&head, &limits).is_head_only);
	fields[1] = (struct gate_field){"Transfer-Encoding", 17, "CHUNKED", 7};
	verdict = gate_check(&head, &limits);
	assert_int_equal(verdict.status, 0);
	assert_true(verdict.is_chunked);
	assert_false(verdict.is_head_only);
	head.version = "HTTP/1.0";
	assert_int_equal(gate_check(&head, &limits).status, 400);
	head.field_count = 0; /* 1.0 needs no host */
	assert_int_equal(gate_check(&head, &limits).status, 0);
	head.bytes = 1001;
	assert_int_equal(gate_check(&head, &limits).status, 431);
}

static void test_request_ids(void **state)
{
	static const char just[] =
		"0123456789012345678901234567890123456789012345678901234567890123";

	assert_true(gate_is_request_id("a"));
	assert_true(gate_is_request_id("A-z_0.9"));
	assert_true(gate_is_request_id(just));
	assert_false(gate_is_request_id(""));
	assert_false(gate_is_request_id(
		"01234567890123456789012345678901234567890123456789012345678901234"));
	assert_false(gate_is_request_id("a b"));
	assert_false(gate_is_request_id("a\"b"));
	assert_false(gate_is_request_id("\303\244"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_percent_decode),
		cmocka_unit_test(test_target_is_taken_apart),
		cmocka_unit_test(test_seams),
		cmocka_unit_test(test_verdict_tells_about_the_body),
		cmocka_unit_test(test_request_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
