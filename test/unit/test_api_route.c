/* SPDX-License-Identifier: Apache-2.0
 *
 * The router on a small table, and problem documents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/problem_priv.h"
#include "api/route_priv.h"
#include "base/mem.h"

static const struct route table[] = {
	{HTTP_GET, "/things", NULL, TIER_READ, "limit cursor state+", "list"},
	{HTTP_POST, "/things", NULL, TIER_WRITE, "", "create"},
	{HTTP_GET, "/things/{thing}", NULL, TIER_READ, "", "show"},
	{HTTP_PUT, "/things/{thing}", NULL, TIER_READ, "", "replace"},
	{HTTP_DELETE, "/things/{thing}", NULL, TIER_READ, "", "delete"},
	{HTTP_POST, "/things/{thing}/run", NULL, TIER_READ, "", "run"},
	{HTTP_GET, "/", NULL, TIER_READ, "*", "root"},
};

static void test_route_finds_the_row_and_its_parameter(void **state)
{
	static const struct {
		enum http_method method;
		const char *path;
		int row;
		const char *param;
	} rows[] = {
		{HTTP_GET, "/things", 0, NULL},
		{HTTP_HEAD, "/things", 0, NULL},
		{HTTP_POST, "/things", 1, NULL},
		{HTTP_GET, "/things/a", 2, "a"},
		{HTTP_DELETE, "/things/run", 4, "run"},
		{HTTP_POST, "/things/a%20b/run", 5, "a b"},
		{HTTP_GET, "/things/a%2Fb", 2, "a/b"},
		{HTTP_GET, "/things/%C3%A4", 2, "\xc3\xa4"},
		{HTTP_GET, "/", 6, NULL},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct route_match match;
		struct err err = {0};

		assert_int_equal(route_find(table, COUNT_OF(table), rows[i].method, rows[i].path,
					 &match, &err),
			0);
		assert_ptr_equal(match.route, &table[rows[i].row]);
		if (rows[i].param)
			assert_string_equal(match.param, rows[i].param);
		else
			assert_null(match.param);
		free(match.param);
	}
}

static void test_route_when_unknown_then_the_error_tells(void **state)
{
	static const struct {
		enum http_method method;
		const char *path;
		int code;
		const char *allow;
	} rows[] = {
		{HTTP_GET, "/thing", ERR_NOT_FOUND, ""},
		{HTTP_GET, "/things/", ERR_NOT_FOUND, ""},
		{HTTP_GET, "/things//run", ERR_NOT_FOUND, ""},
		{HTTP_POST, "/things/a/run/", ERR_NOT_FOUND, ""},
		{HTTP_GET, "", ERR_NOT_FOUND, ""},
		{HTTP_GET, "*", ERR_NOT_FOUND, ""},
		{HTTP_GET, "/things/a/b/run", ERR_NOT_FOUND, ""},
		{HTTP_PUT, "/things", ERR_METHOD, "GET, HEAD, POST, OPTIONS"},
		{HTTP_OPTIONS, "/things/x", ERR_METHOD, "GET, HEAD, PUT, DELETE, OPTIONS"},
		{HTTP_OTHER, "/things/x/run", ERR_METHOD, "POST, OPTIONS"},
		{HTTP_GET, "/things/%zz", ERR_BAD_REQUEST, "GET, HEAD, PUT, DELETE, OPTIONS"},
		{HTTP_GET, "/things/%00", ERR_BAD_REQUEST, "GET, HEAD, PUT, DELETE, OPTIONS"},
		{HTTP_GET, "/things/%ff", ERR_BAD_REQUEST, "GET, HEAD, PUT, DELETE, OPTIONS"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct route_match match;
		struct err err = {0};

		assert_int_equal(route_find(table, COUNT_OF(table), rows[i].method, rows[i].path,
					 &match, &err),
			rows[i].code);
		assert_string_equal(match.allow, rows[i].allow);
		assert_null(match.param);
		assert_true(err.text[0] != '\0');
	}
}

static void test_route_query_knows_its_words(void **state)
{
	struct err err = {0};
	unsigned seen = 0;

	assert_int_equal(route_query_check(&table[0], "limit", &seen, &err), 0);
	assert_int_equal(route_query_check(&table[0], "state", &seen, &err), 0);
	assert_int_equal(route_query_check(&table[0], "state", &seen, &err), 0);
	assert_int_equal(route_query_check(&table[0], "cursor", &seen, &err), 0);
	assert_int_equal(route_query_check(&table[0], "limit", &seen, &err), ERR_BAD_REQUEST);
	assert_non_null(strstr(err.text, "'limit' is given twice"));
	assert_int_equal(route_query_check(&table[0], "limi", &seen, &err), ERR_BAD_REQUEST);
	assert_non_null(strstr(err.text, "'limi'"));
	assert_int_equal(route_query_check(&table[0], "", &seen, &err), ERR_BAD_REQUEST);
	assert_int_equal(route_query_check(&table[0], "state+", &seen, &err), ERR_BAD_REQUEST);
	assert_int_equal(route_query_check(&table[1], "limit", &seen, &err), ERR_BAD_REQUEST);
	assert_int_equal(route_query_check(&table[6], "anything", &seen, &err), 0);
}

static const char *text_of(const json_t *json, const char *key)
{
	return json_string_value(json_object_get(json, key));
}

static void test_problem_from_err_names_code_and_member(void **state)
{
	struct err err = {0};
	json_t *json, *first;

	(void)err_field(&err, ERR_INVALID, "/schedule/at", "it has passed");
	json = problem_from_err(&err, "req-1");
	assert_string_equal(text_of(json, "type"), "urn:gathering:problem:invalid");
	assert_string_equal(text_of(json, "code"), "invalid");
	assert_string_equal(text_of(json, "detail"), "it has passed");
	assert_string_equal(text_of(json, "request_id"), "req-1");
	assert_string_equal(text_of(json, "title"), err_meaning(ERR_INVALID));
	assert_int_equal(json_integer_value(json_object_get(json, "status")), 422);
	first = json_array_get(json_object_get(json, "errors"), 0);
	assert_string_equal(text_of(first, "pointer"), "/schedule/at");
	assert_string_equal(text_of(first, "detail"), "it has passed");
	json_decref(json);

	(void)err_set(&err, ERR_UNAVAILABLE, "busy");
	json = problem_from_err(&err, NULL);
	assert_null(json_object_get(json, "errors"));
	assert_null(json_object_get(json, "request_id"));
	json_decref(json);
}

/* An outside text that was cut within a character must not cost the whole answer. */
static void test_problem_when_text_is_not_utf8_then_it_is_cleaned(void **state)
{
	struct err err = {0};
	json_t *json;

	(void)err_set(&err, ERR_BAD_REQUEST, "'\xc3' is cut");
	json = problem_from_err(&err, NULL);
	assert_string_equal(text_of(json, "detail"), "'\xef\xbf\xbd' is cut");
	json_decref(json);
}

static void test_problem_from_faults_lists_each(void **state)
{
	struct faults faults = {.count = 0};
	json_t *json, *errors;

	faults_add(&faults, "/name", "must be a string");
	faults_add(&faults, "/schedule/cron", "cron field 'hour': 25 is above 23");
	json = problem_from_faults(&faults, "r");
	errors = json_object_get(json, "errors");
	assert_int_equal(json_array_size(errors), 2);
	assert_string_equal(text_of(json_array_get(errors, 1), "pointer"), "/schedule/cron");
	assert_string_equal(
		text_of(json_array_get(errors, 1), "detail"), "cron field 'hour': 25 is above 23");
	json_decref(json);

	for (int i = 0; i < 30; i++)
		faults_add(&faults, "/tags", "no");
	json = problem_from_faults(&faults, "r");
	assert_int_equal(json_array_size(json_object_get(json, "errors")), FAULTS_MAX);
	assert_non_null(strstr(text_of(json, "detail"), "32"));
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_route_finds_the_row_and_its_parameter),
		cmocka_unit_test(test_route_when_unknown_then_the_error_tells),
		cmocka_unit_test(test_route_query_knows_its_words),
		cmocka_unit_test(test_problem_from_err_names_code_and_member),
		cmocka_unit_test(test_problem_when_text_is_not_utf8_then_it_is_cleaned),
		cmocka_unit_test(test_problem_from_faults_lists_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
