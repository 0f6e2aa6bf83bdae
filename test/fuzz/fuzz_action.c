/* SPDX-License-Identifier: Apache-2.0
 *
 * action_from_json over arbitrary text: whole definitions, patches of two known actions, and stored
 * text. The first byte picks which. What is taken must come back the same from what is written for
 * it; what is refused must say where and why in text that a problem document can carry.
 *
 *     FUZZ_SECONDS=60 tools/run-fuzz action
 *
 * test/fuzz/smoke.c runs it on mutations of the corpus in every `make test`. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char exec_base[] = "{\"name\": \"base\", \"kind\": \"exec\", \"exec\": {\"command\": "
				"[\"/bin/true\"], \"env\": {\"A\": \"1\"}},"
				" \"schedule\": {\"cron\": \"0 2 * * *\", \"timezone\": "
				"\"Europe/Paris\"}, \"tags\": [\"a\"]}";
static const char http_base[] =
	"{\"name\": \"base\", \"kind\": \"http\", \"http\": {\"url\": \"http://127.0.0.1/\", "
	"\"headers\": {\"X-A\": \"b\"}},"
	" \"schedule\": {\"every\": \"90s\"}, \"retry\": {\"max_attempts\": 3}}";

static bool is_clean(const char *text)
{
	return utf8_is_valid(text, strlen(text));
}

static void check_faults(const struct faults *faults)
{
	must(faults->count > 0);
	for (size_t i = 0; i < faults->count && i < FAULTS_MAX; i++) {
		const char *pointer = faults->item[i].pointer, *detail = faults->item[i].detail;

		must(pointer[0] == '\0' || pointer[0] == '/');
		must(detail[0] != '\0' && is_clean(pointer) && is_clean(detail));
	}
}

/* As text and back: what is stored is what was taken. */
static void check_stored(const struct action *action, const json_t *definition)
{
	auto_free char *text = action_definition_text(action);
	struct action *again = NULL;
	struct err err = {0};
	json_t *back;

	must(action_from_text(text, strlen(text), &again, &err) == 0);
	back = action_definition_json(again);
	must(json_equal(back, definition));
	json_decref(back);
	action_unref(again);
}

/* The definition that is shown is accepted, and is its own definition; so is all that GET shows. */
static void check_action(const struct action *action)
{
	json_t *definition = action_definition_json(action), *shown = action_to_json(action), *back;
	const json_t *forms[] = {definition, shown};
	struct faults faults = {0};

	for (size_t i = 0; i < COUNT_OF(forms); i++) {
		struct action *again = NULL;

		must(action_from_json(forms[i], NULL, &again, &faults) == 0 && faults.count == 0);
		back = action_definition_json(again);
		must(json_equal(back, definition));
		json_decref(back);
		action_unref(again);
	}
	check_stored(action, definition);
	json_decref(definition);
	json_decref(shown);
}

static struct action *base_action(const char *text)
{
	struct action *action = NULL;

	must(action_from_text(text, strlen(text), &action, NULL) == 0);
	return action;
}

static void try_json(const json_t *json, const char *base_text)
{
	struct action *base = base_text ? base_action(base_text) : NULL, *action = NULL;
	struct faults faults = {0};

	if (action_from_json(json, base, &action, &faults) == 0) {
		must(faults.count == 0);
		check_action(action);
		action_unref(action);
	} else {
		must(!action);
		check_faults(&faults);
	}
	action_unref(base);
}

static void try_text(const char *text, size_t len, const char *base_text)
{
	struct err err = {0};
	json_t *json = NULL;

	if (json_from_text(text, len, &json, &err) == 0) {
		try_json(json, base_text);
		json_decref(json);
	} else {
		must(!json && err.text[0] != '\0');
	}
}

static void try_stored(const char *text, size_t len)
{
	struct action *action = NULL;
	struct err err = {0};

	if (action_from_text(text, len, &action, &err) == 0) {
		check_action(action);
		action_unref(action);
	} else {
		must(!action && err.code == ERR_CORRUPT && err.text[0] != '\0');
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t pick = size ? data[0] % 4 : 0;
	const char *text = (const char *)data + (size > 0);
	size_t len = size - (size > 0);

	switch (pick) {
	case 1:
		try_text(text, len, exec_base);
		break;
	case 2:
		try_text(text, len, http_base);
		break;
	case 3:
		try_stored(text, len);
		break;
	default:
		try_text(text, len, NULL);
	}
	return 0;
}
