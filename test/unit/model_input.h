/* SPDX-License-Identifier: Apache-2.0
 *
 * Inputs for the tests of model/: JSON written with ' for ", so that it can be read. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "model/model.h"

/* The smallest definitions; `more` goes between the braces, beginning with a comma. */
#define HTTP_WITH(more)     "{'name':'a','kind':'http','http':{'url':'http://h/'}" more "}"
#define HTTP_TARGET(target) "{'name':'a','kind':'http','http':{" target "}}"
#define EXEC_TARGET(target) "{'name':'a','kind':'exec','exec':{" target "}}"

static inline json_t *input_json(const char *quoted)
{
	auto_free char *text = xstrdup(quoted);
	struct err err = {0};
	json_t *json = NULL;

	for (char *c = text; *c != '\0'; c++)
		if (*c == '\'')
			*c = '"';
	if (json_from_text(text, strlen(text), &json, &err) != 0)
		fail_msg("the test's input is not JSON: %s: %s", err.text, text);
	return json;
}

/* Reads a definition, or a PATCH of `base`; NULL with faults. */
static inline struct action *input_read(
	const char *quoted, const struct action *base, struct faults *ret_faults)
{
	json_t *json = input_json(quoted);
	struct action *action = NULL;
	int code;

	*ret_faults = (struct faults){0};
	code = action_from_json(json, base, &action, ret_faults);
	json_decref(json);
	assert_int_equal(code, ret_faults->count == 0 ? 0 : ERR_INVALID);
	assert_true((action == NULL) == (code != 0));
	return action;
}

static inline struct action *input_patch(const char *quoted, const struct action *base)
{
	struct faults faults;
	struct action *action = input_read(quoted, base, &faults);

	if (action == NULL)
		fail_msg("%s: '%s': %s", quoted, faults.item[0].pointer, faults.item[0].detail);
	return action;
}

static inline struct action *input_action(const char *quoted)
{
	return input_patch(quoted, NULL);
}

static inline void assert_definition(const struct action *action, const char *quoted)
{
	json_t *expected = input_json(quoted), *got = action_definition_json(action);
	auto_free char *text = json_dumps(got, JSON_WRITE_FLAGS);

	if (!json_equal(expected, got))
		fail_msg("definition is %s", text);
	json_decref(expected);
	json_decref(got);
}
