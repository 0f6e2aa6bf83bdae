/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads bodies, query parameters and Accept; what cannot be read is answered here. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/api_priv.h"
#include "base/text.h"

#define LIST_TEXT_SIZE 160

const char *const api_json_types[] = {"application/json", NULL};

/* The media type at the start of `text`, without parameters, is `type`. */
static bool is_media_type(const char *text, const char *type)
{
	size_t len = strlen(type);

	text += strspn(text, " \t");
	if (strncasecmp(text, type, len) != 0)
		return false;
	text += len;
	text += strspn(text, " \t");
	return *text == '\0' || *text == ';' || *text == ',';
}

bool api_accepts(const struct api_call *call, const char *type)
{
	const char *accept = http_header(call->request, "Accept");

	while (accept) {
		if (is_media_type(accept, type))
			return true;
		accept = strchr(accept, ',');
		if (accept)
			accept++;
	}
	return false;
}

static bool has_media_type(const struct api_call *call, const char *const *types)
{
	const char *text = http_header(call->request, "Content-Type");

	if (!text)
		return true;
	for (; *types; types++) {
		if (is_media_type(text, *types))
			return true;
	}
	return false;
}

bool api_read_json(struct api_call *call, const char *const *types, json_t **ret_json)
{
	struct err err = {0};
	const char *body;
	size_t len;

	if (!has_media_type(call, types)) {
		api_reply_problem(call, ERR_MEDIA_TYPE, "Content-Type '%.64s' is not %s%s%s",
			http_header(call->request, "Content-Type"), types[0],
			types[1] ? " or " : "", types[1] ? types[1] : "");
		return false;
	}
	body = http_body(call->request, &len);
	if (len == 0) {
		api_reply_problem(call, ERR_BAD_REQUEST, "the body is empty; send JSON");
		return false;
	}
	if (json_from_text(body, len, ret_json, &err) < 0) {
		api_reply_err(call, &err);
		return false;
	}
	return true;
}

bool api_read_nothing(struct api_call *call)
{
	const char *body;
	json_t *json;
	bool is_empty;
	size_t len;

	body = http_body(call->request, &len);
	if (strspn(body, " \t\r\n") == len)
		return true;
	if (!api_read_json(call, api_json_types, &json))
		return false;
	is_empty = json_is_object(json) && json_object_size(json) == 0;
	json_decref(json);
	if (!is_empty)
		api_reply_problem(call, ERR_BAD_REQUEST, "this request takes no body");
	return is_empty;
}

const char *api_traceparent(const struct api_call *call, char room[static TRACEPARENT_SIZE])
{
	return traceparent_parse(http_header(call->request, "traceparent"), room) ? room : NULL;
}

static void list_names(const char *const *names, char text[static LIST_TEXT_SIZE])
{
	size_t used = 0;

	text[0] = '\0';
	for (int i = 0; names[i] && used < LIST_TEXT_SIZE; i++)
		used += (size_t)snprintf(
			text + used, LIST_TEXT_SIZE - used, "%s%s", i > 0 ? ", " : "", names[i]);
}

bool api_query_name(
	struct api_call *call, const char *name, const char *const *names, int *ret_value)
{
	const char *text = http_query(call->request, name);
	char list[LIST_TEXT_SIZE];
	int value;

	*ret_value = -1;
	if (!text)
		return true;
	value = name_index(names, text);
	if (value < 0) {
		list_names(names, list);
		api_reply_problem(call, ERR_BAD_REQUEST,
			"query parameter '%s': '%.64s' is none of %s", name, text, list);
		return false;
	}
	*ret_value = value;
	return true;
}

bool api_query_time(struct api_call *call, const char *name, int64_t *ret_at_ms)
{
	const char *text = http_query(call->request, name);

	*ret_at_ms = NO_TIME;
	if (!text || parse_rfc3339(text, ret_at_ms))
		return true;
	api_reply_problem(call, ERR_BAD_REQUEST,
		"query parameter '%s': '%.64s' is not a time such as 2026-11-22T01:30:00Z "
		"(write '+' as %%2B)",
		name, text);
	return false;
}

bool api_query_bool(struct api_call *call, const char *name, bool *ret_value)
{
	const char *text = http_query(call->request, name);

	*ret_value = false;
	if (!text || parse_bool(text, ret_value))
		return true;
	api_reply_problem(call, ERR_BAD_REQUEST,
		"query parameter '%s': '%.64s' is not true or false", name, text);
	return false;
}
