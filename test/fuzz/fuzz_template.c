/* SPDX-License-Identifier: Apache-2.0
 *
 * A template and a payload, apart by the first NUL: whatever they are, what is rendered as the
 * inside of a JSON string or percent-encoded holds nothing that could end its place; and what is
 * escaped comes out as it was.
 *
 *     FUZZ_SECONDS=60 tools/run-fuzz template */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "model/model.h"
#include "model/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct action action = {.name = (char *)(uintptr_t) "fuzz"};
static struct name_value secret = {(char *)(uintptr_t) "S", (char *)(uintptr_t) "\"\r\n/?"};

/* The whole template stands in a JSON string: the value must be read back whole. */
static void try_json(const char *text, const struct template_values *values)
{
	auto_free char *whole = NULL;
	struct buf out;
	json_t *json;

	if (strpbrk(text, "\"\\\n\r\t") != NULL)
		return; /* the author's own, who may write what he likes */
	whole = xasprintf("[\"%s\"]", text);
	if (template_render(TEMPLATE_JSON, whole, values, &out, NULL) == 0) {
		json = json_loadb(out.data, out.len, 0, NULL);
		must(json == NULL || json_array_size(json) == 1);
		must(json == NULL || json_is_string(json_array_get(json, 0)));
		json_decref(json);
	}
	buf_fini(&out);
}

static void try_form(enum template_form form, const char *text, const char *never,
	const struct template_values *values)
{
	struct buf out;

	if (strpbrk(text, never) != NULL)
		return;
	if (template_render(form, text, values, &out, NULL) == 0)
		must(strpbrk(buf_text(&out), never) == NULL);
	buf_fini(&out);
}

/* What was escaped is rendered as it was before. */
static void try_escaped(const char *text, const struct template_values *values)
{
	auto_free char *escaped = template_escape(text);
	struct buf out;

	must(template_check(escaped, NULL, NULL, NULL) == 0);
	if (strlen(text) <= TEMPLATE_BODY_MAX) {
		must(template_render(TEMPLATE_TEXT, escaped, values, &out, NULL) == 0);
		must(strcmp(buf_text(&out), text) == 0);
		buf_fini(&out);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *input = xmemdup(data, size);
	const char *text = input, *rest = input + strlen(input);
	json_t *payload = NULL;
	struct run run = {.action = &action, .due_at_ms = 1};
	struct template_values values = {.run = &run, .secrets = &secret, .secret_count = 1};

	if (rest < input + size)
		(void)json_from_text(rest + 1, (size_t)(input + size - rest - 1), &payload, NULL);
	values.payload = payload;
	try_escaped(text, &values);
	if (template_check(text, NULL, NULL, NULL) == 0) {
		try_json(text, &values);
		try_form(TEMPLATE_HEADER, text, "\r\n", &values);
		try_form(TEMPLATE_PERCENT, text, "&=\"<>\r\n ", &values);
		try_form(TEMPLATE_XML, text, "<>\"", &values);
		try_form(TEMPLATE_URL, text, "?#& ", &values);
	}
	json_decref(payload);
	return 0;
}
