/* SPDX-License-Identifier: Apache-2.0
 *
 * Due times of a schedule nobody has stored yet. At most PREVIEW_MAX searches, each bounded: done
 * on the loop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_priv.h"
#include "base/text.h"

#define PREVIEW_DEFAULT 10
#define PREVIEW_MAX     1000

struct preview {
	struct schedule *schedule; /* owned */
	json_int_t count;
	int64_t from_ms;
};

static void read_count(const json_t *json, struct preview *preview, struct faults *faults)
{
	preview->count = json_is_integer(json) ? json_integer_value(json) : 0;
	if (preview->count < 1 || preview->count > PREVIEW_MAX)
		faults_add(faults, "/count", "must be a whole number from 1 to %d", PREVIEW_MAX);
}

/* The name of the action that is to have the schedule; NULL unless given. */
static const char *read_name(const json_t *json, struct faults *faults)
{
	const json_t *value = json_object_get(json, "name");
	size_t len = json_string_length(value);

	if (!value)
		return NULL;
	if (!json_is_string(value) || len < 1 || len > ACTION_NAME_MAX)
		faults_add(
			faults, "/name", "must be a string of 1 to %d characters", ACTION_NAME_MAX);
	return json_string_value(value);
}

static void read_from(const json_t *json, struct preview *preview, struct faults *faults)
{
	const char *text = json_string_value(json);

	if (!text || !parse_rfc3339(text, &preview->from_ms))
		faults_add(faults, "/from", "must be a time such as 2026-11-22T01:30:00Z");
}

/* A name that needs escapes in a pointer (RFC 6901) is only told. */
static void fault_unknown(struct faults *faults, const char *key)
{
	auto_free char *pointer = xasprintf("/%s", key);

	faults_add(faults, strpbrk(key, "/~") ? "" : pointer,
		"unknown member '%.48s'; schedule, name, count and from are known", key);
}

static void read_preview(json_t *json, struct preview *preview, struct faults *faults)
{
	const char *key, *name;
	json_t *value;

	if (!json_is_object(json)) {
		faults_add(faults, "", "must be an object");
		return;
	}
	if (!json_object_get(json, "schedule"))
		faults_add(faults, "/schedule", "is missing");
	name = read_name(json, faults);
	json_object_foreach(json, key, value)
	{
		if (strcmp(key, "schedule") == 0)
			(void)schedule_from_json(
				value, "/schedule", name, &preview->schedule, faults);
		else if (strcmp(key, "name") == 0)
			continue;
		else if (strcmp(key, "count") == 0)
			read_count(value, preview, faults);
		else if (strcmp(key, "from") == 0)
			read_from(value, preview, faults);
		else
			fault_unknown(faults, key);
	}
}

static json_t *preview_json(const struct preview *preview)
{
	int64_t after_ms = preview->from_ms;
	json_t *items = json_array();
	struct due due;

	for (json_int_t i = 0; i < preview->count; i++) {
		if (!schedule_next_due(preview->schedule, after_ms, &due))
			break;
		json_array_append_new(items, due_to_json(&due));
		after_ms = due.at_ms;
	}
	return json_pack(
		"{s:o, s:s?}", "items", items, "warning", schedule_warning(preview->schedule));
}

void schedules_preview(struct api_call *call)
{
	struct preview preview = {
		.count = PREVIEW_DEFAULT, .from_ms = sched_now_ms(call->api->sched)};
	struct faults faults = {.count = 0};
	json_t *json;

	if (!api_read_json(call, api_json_types, &json))
		return;
	read_preview(json, &preview, &faults);
	json_decref(json);
	if (faults.count > 0)
		api_reply_faults(call, &faults);
	else
		api_reply_json(call, 200, preview_json(&preview), NULL);
	schedule_unref(preview.schedule);
}
