/* SPDX-License-Identifier: Apache-2.0
 *
 * `type` is "urn:gathering:problem:<code>": an identifier, not an address. The codes, their
 * statuses and titles stand in base/errors.def. */
#include "api/problem_priv.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"

json_t *json_clean_string(const char *text)
{
	struct buf clean;
	json_t *string = json_string(text);

	if (string)
		return string;
	buf_init(&clean, sizeof(((struct err *)NULL)->text) * 3);
	utf8_clean(text, strlen(text), &clean);
	string = json_string(buf_text(&clean));
	buf_fini(&clean);
	return string ? string : json_string("");
}

static void add_fault(json_t *errors, const char *pointer, const char *detail)
{
	json_array_append_new(errors, json_pack("{s:o, s:o}", "pointer", json_clean_string(pointer),
					      "detail", json_clean_string(detail)));
}

static json_t *problem(int code, const char *detail, const char *request_id)
{
	auto_free char *type = xasprintf("urn:gathering:problem:%s", err_name(code));
	json_t *json = json_pack("{s:s, s:s, s:i, s:o, s:s}", "type", type, "title",
		err_meaning(code), "status", err_http_status(code), "detail",
		json_clean_string(detail), "code", err_name(code));

	must(json);
	if (request_id)
		json_object_set_new(json, "request_id", json_string(request_id));
	return json;
}

json_t *problem_from_err(const struct err *err, const char *request_id)
{
	json_t *json = problem(err->code, err->text, request_id);

	if (err->field[0] != '\0') {
		json_t *errors = json_array();

		add_fault(errors, err->field, err->text);
		json_object_set_new(json, "errors", errors);
	}
	return json;
}

json_t *problem_from_faults(const struct faults *faults, const char *request_id)
{
	size_t kept = faults->count < FAULTS_MAX ? faults->count : FAULTS_MAX;
	json_t *errors = json_array();
	char detail[128];
	json_t *json;

	must(faults->count > 0);
	if (faults->count == 1)
		(void)snprintf(detail, sizeof(detail), "one value is not acceptable; see errors");
	else if (kept == faults->count)
		(void)snprintf(
			detail, sizeof(detail), "%zu values are not acceptable; see errors", kept);
	else
		(void)snprintf(detail, sizeof(detail),
			"%zu values are not acceptable; errors lists the first %zu", faults->count,
			kept);
	for (size_t i = 0; i < kept; i++)
		add_fault(errors, faults->item[i].pointer, faults->item[i].detail);
	json = problem(ERR_INVALID, detail, request_id);
	json_object_set_new(json, "errors", errors);
	return json;
}
