/* SPDX-License-Identifier: Apache-2.0
 *
 * Templates: what each expression becomes in each place, what is refused and where, and that no
 * value ever breaks out of the place it was put into. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"
#include "model/model.h"
#include "model/template.h"
#include "seed.h"

#define ID "01a204ab-0000-7000-8000-0000000000a1"

struct world {
	struct action *action;
	struct run run;
	json_t *payload;
	struct name_value secrets[2];
	struct template_values values;
};

/* 23:30 UTC on the 21st is half past midnight on the 22nd in Paris. */
static void world_open(struct world *world, const char *payload)
{
	static const char definition[] =
		"{\"name\":\"nightly\",\"kind\":\"http\",\"http\":{\"url\":\"http://h/\"},"
		"\"schedule\":{\"cron\":\"30 0 * * *\",\"timezone\":\"Europe/Paris\"}}";

	*world = (struct world){0};
	assert_int_equal(action_from_text(definition, strlen(definition), &world->action, NULL), 0);
	assert_true(id_parse(ID, &world->run.id));
	world->run.action = world->action;
	world->run.action_id = world->run.id;
	world->run.due_at_ms = 1795303800000; /* 2026-11-21T23:30:00Z */
	world->run.attempt = 2;
	world->run.epoch = 7;
	world->payload = payload != NULL ? json_loads(payload, JSON_DECODE_ANY, NULL) : NULL;
	world->secrets[0] = (struct name_value){(char *)"TOKEN", (char *)"a\"b&c\\d"};
	world->secrets[1] = (struct name_value){(char *)"BROKEN", (char *)"line\r\nbreak"};
	world->values = (struct template_values){
		&world->run, world->payload, world->secrets, COUNT_OF(world->secrets)};
}

static void world_close(struct world *world)
{
	action_unref(world->action);
	json_decref(world->payload);
}

struct row {
	enum template_form form;
	const char *text;
	const char *expected; /* NULL: refused */
	const char *why;      /* a part of the text */
};

static const char payload[] =
	"{\"n\":5,\"s\":\"x y\",\"q\":\"\\\",\\\"admin\\\":true,\\\"a\\\":\\\"\",\"z\":null,"
	"\"list\":[\"a\",{\"b\":true}],\"up\":\"..\",\"dot\":\".\",\"crlf\":\"a\\r\\nX-Evil: 1\","
	"\"path\":\"../../"
	"etc?x#y\",\"xml\":\"<a>&'\\\"\",\"e\":\"\",\"uni\":\"\\u00e9\",\"f\":1.5}";

static void assert_row(const struct world *world, const struct row *row)
{
	struct err err = {0};
	struct buf out;
	int code = template_render(row->form, row->text, &world->values, &out, &err);

	if (row->expected != NULL) {
		if (code != 0)
			fail_msg("%s: %s", row->text, err.text);
		assert_string_equal(buf_text(&out), row->expected);
	} else {
		assert_int_not_equal(code, 0);
		if (strstr(err.text, row->why) == NULL)
			fail_msg("%s: '%s' is not in '%s'", row->text, row->why, err.text);
	}
	buf_fini(&out);
}

static const struct row rows[] = {
	/* facts */
	{TEMPLATE_TEXT, "{{due_at}} {{ due_date }} {{run_id}}",
		"2026-11-21T23:30:00Z 2026-11-22 " ID, NULL},
	{TEMPLATE_TEXT, "{{action}}/{{attempt}}/{{epoch}}", "nightly/2/7", NULL},
	{TEMPLATE_TEXT, "{{idempotency_key}}", ID "/2026-11-21T23:30:00Z", NULL},
	{TEMPLATE_TEXT, "no template }} { {x} }", "no template }} { {x} }", NULL},
	{TEMPLATE_TEXT, "{{'{{'}}x}} {{ '{{' }}", "{{x}} {{", NULL},
	/* the payload */
	{TEMPLATE_TEXT, "{{payload.n}} {{payload.s}} {{payload.f}}", "5 x y 1.5", NULL},
	{TEMPLATE_TEXT, "{{payload.list.0}} {{payload.list.1.b}} {{payload.list.1}}",
		"a true {\"b\":true}", NULL},
	{TEMPLATE_TEXT, "{{payload.e}}", "", NULL},
	{TEMPLATE_TEXT, "{{payload.none|nobody here}} {{payload.z|}} {{payload.n|9}}",
		"nobody here  5", NULL},
	{TEMPLATE_TEXT, "{{payload.none}}", NULL, "has no 'payload.none'"},
	{TEMPLATE_TEXT, "{{payload.z}}", NULL, "has no 'payload.z'"},
	{TEMPLATE_TEXT, "{{payload.list.2}}", NULL, "has no 'payload.list.2'"},
	{TEMPLATE_TEXT, "{{payload.n.deeper}}", NULL, "has no 'payload.n.deeper'"},
	/* JSON: in a string, and by itself */
	{TEMPLATE_JSON, "{\"a\":\"{{payload.q}}\"}",
		"{\"a\":\"\\\",\\\"admin\\\":true,\\\"a\\\":\\\"\"}", NULL},
	{TEMPLATE_JSON, "{\"a\":{{payload.q}}}",
		"{\"a\":\"\\\",\\\"admin\\\":true,\\\"a\\\":\\\"\"}", NULL},
	{TEMPLATE_JSON,
		"[{{payload.n}},{{payload.list}},{{payload.z|null}},{{attempt}},{{action}}]",
		"[5,[\"a\",{\"b\":true}],null,2,\"nightly\"]", NULL},
	{TEMPLATE_JSON, "{\"a\":\"n={{payload.n}} {{payload.list}}\"}",
		"{\"a\":\"n=5 [\\\"a\\\",{\\\"b\\\":true}]\"}", NULL},
	{TEMPLATE_JSON, "{\"a\\\"{{payload.n}}\\\\\":{{payload.s}}}", "{\"a\\\"5\\\\\":\"x y\"}",
		NULL},
	{TEMPLATE_JSON, "[{{secret.TOKEN}},\"{{secret.TOKEN}}\"]",
		"[\"a\\\"b&c\\\\d\",\"a\\\"b&c\\\\d\"]", NULL},
	{TEMPLATE_JSON, "[\"{{payload.crlf}}\"]", "[\"a\\r\\nX-Evil: 1\"]", NULL},
	/* URLs */
	{TEMPLATE_URL, "http://h/{{payload.s}}?q={{payload.uni}}&t={{secret.TOKEN}}",
		"http://h/x%20y?q=%C3%A9&t=a%22b%26c%5Cd", NULL},
	{TEMPLATE_URL, "http://h/a/{{payload.path}}", "http://h/a/..%2F..%2Fetc%3Fx%23y", NULL},
	{TEMPLATE_URL, "http://h/a/{{payload.up}}/b", NULL, "would lead elsewhere"},
	{TEMPLATE_URL, "http://h/a/{{payload.dot}}{{payload.dot}}", NULL, "would lead elsewhere"},
	{TEMPLATE_URL, "http://h/a/.{{payload.dot}}/b", NULL, "would lead elsewhere"},
	{TEMPLATE_URL, "http://h/a/../b?x={{payload.up}}", "http://h/a/../b?x=..", NULL},
	/* headers, forms, XML */
	{TEMPLATE_HEADER, "Bearer {{secret.TOKEN}}", "Bearer a\"b&c\\d", NULL},
	{TEMPLATE_HEADER, "{{payload.crlf}}", NULL, "line break"},
	{TEMPLATE_HEADER, "{{secret.BROKEN}}", NULL, "line break"},
	{TEMPLATE_PERCENT, "a={{payload.q}}&b=1", "a=%22%2C%22admin%22%3Atrue%2C%22a%22%3A%22&b=1",
		NULL},
	{TEMPLATE_XML, "<a b=\"{{payload.xml}}\"/>", "<a b=\"&lt;a&gt;&amp;&#39;&quot;\"/>", NULL},
	{TEMPLATE_JSON, "[{{checkpoint}},\"{{checkpoint}}\",{{checkpoint|7}}]", "[null,\"\",7]",
		NULL},
	{TEMPLATE_TEXT, "{{secret.NONE}}", NULL, "gathering secret set NONE"},
};

static void test_each_expression_in_each_place(void **state)
{
	struct world world;

	world_open(&world, payload);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_row(&world, &rows[i]);
	world_close(&world);
}

static void test_without_a_payload_every_field_is_missing(void **state)
{
	static const struct row none[] = {
		{TEMPLATE_TEXT, "{{payload}}", NULL, "this run has no 'payload'"},
		{TEMPLATE_TEXT, "{{payload.a.b}}", NULL, "has no 'payload.a.b'"},
		{TEMPLATE_JSON, "{{payload|{}}}", "{}", NULL},
	};
	struct world world;

	world_open(&world, NULL);
	for (size_t i = 0; i < COUNT_OF(none); i++)
		assert_row(&world, &none[i]);
	world_close(&world);
}

static void test_what_is_no_template_is_refused_with_its_position(void **state)
{
	static const struct {
		const char *text, *why;
	} refused[] = {
		{"{{nothing}}", "position 3: 'nothing' is no name"},
		{"a\u00e9{{Due_at}}", "position 5: 'Due_at'"},
		{"x {{due_at", "position 3: '{{' begins a template but no '}}' follows"},
		{"{{}}", "position 3: ''"},
		{"{{due_at|x}}", "'due_at|x'"},
		{"{{secret.}}", "'secret.'"},
		{"{{secret.1A}}", "'secret.1A'"},
		{"{{secret.A-B}}", "'secret.A-B'"},
		{"{{secret.A|x}}", "'secret.A|x'"},
		{"{{payload.}}", "'payload.'"},
		{"{{payload..a}}", "'payload..a'"},
		{"{{payloads.a}}", "'payloads.a'"},
		{"{{due_at}}{{a\"b}}", "position 13: 'a?b'"},
		{"{{{due_at}}}", "position 3"},
	};

	for (size_t i = 0; i < COUNT_OF(refused); i++) {
		struct err err = {0};

		assert_int_equal(template_check(refused[i].text, NULL, NULL, &err), ERR_INVALID);
		if (strstr(err.text, refused[i].why) == NULL)
			fail_msg("%s: %s", refused[i].text, err.text);
	}
}

static void test_escaped_text_is_rendered_as_it_was(void **state)
{
	static const char *const texts[] = {"", "plain", "{{", "{{{", "{{{{{", "a {{run_id}} b",
		"}}", "{{'{{'}}", "{ {{x}} {", "docker ps --format '{{.Names}}'"};
	struct world world;
	struct buf out;

	world_open(&world, NULL);
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		auto_free char *escaped = template_escape(texts[i]);

		assert_int_equal(
			template_render(TEMPLATE_TEXT, escaped, &world.values, &out, NULL), 0);
		assert_string_equal(buf_text(&out), texts[i]);
		buf_fini(&out);
	}
	world_close(&world);
}

static void test_what_becomes_too_long_is_refused(void **state)
{
	auto_free char *long_text = xmalloc(TEMPLATE_LINE_MAX + 1);
	auto_free char *text = NULL;
	struct err err = {0};
	struct world world;
	struct buf out;

	memset(long_text, 'x', TEMPLATE_LINE_MAX - 10);
	long_text[TEMPLATE_LINE_MAX - 10] = '\0';
	text = xasprintf("%s{{run_id}}", long_text);
	world_open(&world, payload);
	assert_int_equal(
		template_render(TEMPLATE_HEADER, text, &world.values, &out, &err), ERR_TOO_LARGE);
	buf_fini(&out);
	world_close(&world);
}

/* Any text as a field of the payload: the JSON around it keeps its shape, and the value is what it
 * was. */
static void test_no_value_breaks_out_of_a_json_body(void **state)
{
	static const char body[] =
		"{\"in\":\"<{{payload.v}}>\",\"out\":{{payload.v}},\"end\":true}";
	static const char alphabet[] = "\"\\{}[]:,/\n\t'ab\x01\x7f";
	struct seed seed = seed_start("template");

	for (int round = 0; round < 500; round++) {
		char value[40] = "";
		size_t len = (size_t)seed_below(&seed, sizeof(value));
		auto_free char *expected = NULL;
		struct world world;
		struct err err = {0};
		json_t *sent;
		struct buf out;

		for (size_t i = 0; i < len; i++)
			value[i] = alphabet[seed_below(&seed, sizeof(alphabet) - 1)];
		value[sizeof(value) - 1] = '\0';
		expected = xasprintf("<%s>", value);
		world_open(&world, NULL);
		world.payload = json_pack("{s:s}", "v", value);
		world.values.payload = world.payload;
		assert_int_equal(
			template_render(TEMPLATE_JSON, body, &world.values, &out, &err), 0);
		sent = json_loads(buf_text(&out), JSON_REJECT_DUPLICATES, NULL);
		assert_non_null(sent);
		assert_int_equal(json_object_size(sent), 3);
		assert_string_equal(json_string_value(json_object_get(sent, "in")), expected);
		assert_string_equal(json_string_value(json_object_get(sent, "out")), value);
		assert_true(json_is_true(json_object_get(sent, "end")));
		json_decref(sent);
		buf_fini(&out);
		world_close(&world);
	}
}

static void test_the_content_type_decides_the_form(void **state)
{
	static const struct {
		const char *type;
		enum template_form form;
	} types[] = {
		{NULL, TEMPLATE_TEXT},
		{"text/plain", TEMPLATE_TEXT},
		{"application/json; charset=utf-8", TEMPLATE_JSON},
		{"application/problem+JSON", TEMPLATE_JSON},
		{"application/x-ndjson", TEMPLATE_JSON},
		{"application/x-www-form-urlencoded", TEMPLATE_PERCENT},
		{"text/xml", TEMPLATE_XML},
		{"application/soap+xml;x=y", TEMPLATE_XML},
		{"text/html", TEMPLATE_XML},
		{"text/jsonx", TEMPLATE_TEXT},
	};

	for (size_t i = 0; i < COUNT_OF(types); i++)
		assert_int_equal(template_body_form(types[i].type), types[i].form);
}

static void assert_fault(const char *http, const char *pointer)
{
	auto_free char *text = xasprintf(
		"{\"name\":\"a\",\"kind\":\"http\",\"http\":{\"url\":\"http://h/\",%s}}", http);
	json_t *json = json_loads(text, 0, NULL); /* of two urls the last counts */
	struct action *action = NULL;
	struct faults faults = {0};

	assert_non_null(json);
	assert_int_equal(action_from_json(json, NULL, &action, &faults), ERR_INVALID);
	assert_string_equal(faults.item[0].pointer, pointer);
	json_decref(json);
}

static void test_a_definition_with_a_wrong_template_is_refused_at_its_place(void **state)
{
	assert_fault("\"url\":\"http://{{payload.host}}/\"", "/http/url");
	assert_fault("\"body\":\"{{nothing}}\"", "/http/body");
	assert_fault("\"headers\":{\"X-A\":\"{{nothing}}\"}", "/http/headers/X-A");
	assert_fault("\"body\":\"x\",\"headers\":{\"Content-Type\":\"{{payload.t}}\"}",
		"/http/headers/Content-Type");
	assert_fault(
		"\"method\":\"GET\",\"signing_secret\":\"not a name\"", "/http/signing_secret");
}

static void test_an_action_knows_its_secrets_once_each(void **state)
{
	static const char text[] =
		"{\"name\":\"a\",\"kind\":\"http\",\"http\":{\"url\":\"http://h/{{secret.A}}\","
		"\"headers\":{\"X\":\"{{secret.B}}{{secret.A}}\"},\"signing_secret\":[\"C\",\"B\"]}"
		"}";
	struct action *action = NULL;

	assert_int_equal(action_from_text(text, strlen(text), &action, NULL), 0);
	assert_string_equal(action->secrets[0], "A");
	assert_string_equal(action->secrets[1], "B");
	assert_string_equal(action->secrets[2], "C");
	assert_null(action->secrets[3]);
	action_unref(action);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_expression_in_each_place),
		cmocka_unit_test(test_without_a_payload_every_field_is_missing),
		cmocka_unit_test(test_what_is_no_template_is_refused_with_its_position),
		cmocka_unit_test(test_escaped_text_is_rendered_as_it_was),
		cmocka_unit_test(test_what_becomes_too_long_is_refused),
		cmocka_unit_test(test_no_value_breaks_out_of_a_json_body),
		cmocka_unit_test(test_the_content_type_decides_the_form),
		cmocka_unit_test(test_a_definition_with_a_wrong_template_is_refused_at_its_place),
		cmocka_unit_test(test_an_action_knows_its_secrets_once_each),
	};

	return cmocka_run_group_tests_name("template", tests, NULL, NULL);
}
