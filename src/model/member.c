/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads and writes objects by a table of their members. Each type of member has one reader; a
 * reader either sets the field or adds a fault, and reading goes on, so that a person sees all
 * faults of an input at once. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"
#include "model/model_priv.h"

#define SHARE_UNIT    1000000.0
#define SUGGEST_BYTES 32 /* longer names get no suggestion */
#define LIST_BYTES    440

static void *field(const struct member *member, void *object)
{
	return (char *)object + member->offset;
}

static const void *const_field(const struct member *member, const void *object)
{
	return (const char *)object + member->offset;
}

const char *json_kind(const json_t *json)
{
	switch (json_typeof(json)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "a number";
	case JSON_REAL:
		return "a number with a fraction";
	case JSON_TRUE:
	case JSON_FALSE:
		return "true or false";
	case JSON_NULL:
		return "null";
	}
	return "something else";
}

bool text_fits(const json_t *json, int64_t min, int64_t max, const struct place *place)
{
	size_t len;

	if (!json_is_string(json)) {
		place_fault(place, "must be a string, not %s", json_kind(json));
		return false;
	}
	len = json_string_length(json);
	if (memchr(json_string_value(json), '\0', len) != NULL) {
		place_fault(place, "must not contain a NUL character");
		return false;
	}
	if ((int64_t)len < min) {
		place_fault(place, "must not be empty");
		return false;
	}
	if ((int64_t)len > max) {
		place_fault(place, "%zu bytes are above the limit of %lld", len, (long long)max);
		return false;
	}
	return true;
}

/* --- reading --- */

static void read_text(
	const struct member *member, const json_t *value, void *object, const struct place *place)
{
	if (!text_fits(value, member->min, member->max, place))
		return;
	if (member->check != NULL)
		member->check(json_string_value(value), place);
	*(char **)field(member, object) =
		xmemdup(json_string_value(value), json_string_length(value));
}

static void list_names(const char *const *names, struct buf *out)
{
	for (size_t i = 0; names[i] != NULL; i++)
		buf_printf(out, "%s%s", i == 0 ? "" : ", ", names[i]);
}

static void read_enum(
	const struct member *member, const json_t *value, void *object, const struct place *place)
{
	const char *text = json_string_value(value);
	int index = name_index(member->names, text);
	struct buf list;

	if (index >= 0) {
		*(int *)field(member, object) = index;
		return;
	}
	buf_init(&list, LIST_BYTES);
	list_names(member->names, &list);
	if (text == NULL)
		place_fault(place, "must be one of %s, not %s", buf_text(&list), json_kind(value));
	else
		place_fault(place, "'%.60s' is none of %s", text, buf_text(&list));
	buf_fini(&list);
}

static void read_bool(
	const struct member *member, const json_t *value, void *object, const struct place *place)
{
	if (json_is_boolean(value))
		*(bool *)field(member, object) = json_is_true(value);
	else
		place_fault(place, "must be true or false, not %s", json_kind(value));
}

static void read_int(
	const struct member *member, const json_t *value, void *object, const struct place *place)
{
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value))
		place_fault(place, "must be a whole number, not %s", json_kind(value));
	else if (number < member->min)
		place_fault(place, "%lld is below %lld", (long long)number, (long long)member->min);
	else if (number > member->max)
		place_fault(place, "%lld is above %lld", (long long)number, (long long)member->max);
	else
		*(int *)field(member, object) = (int)number;
}

static void read_duration(
	const struct member *member, const json_t *value, void *object, const struct place *place)
{
	const char *text = json_string_value(value);
	char bound[DURATION_TEXT_SIZE];
	int64_t ms;

	if (text == NULL)
		place_fault(place, "must be a duration such as \"10m\", not %s", json_kind(value));
	else if (!parse_duration(text, &ms))
		place_fault(
			place, "'%.60s' is not a duration such as 250ms, 10s, 1h30m or 7d", text);
	else if (ms < member->min)
		place_fault(
			place, "'%.60s' is below %s", text, format_duration(member->min, bound));
	else if (ms > member->max)
		place_fault(
			place, "'%.60s' is above %s", text, format_duration(member->max, bound));
	else
		*(int64_t *)field(member, object) = ms;
}

static void read_size(
	const struct member *member, const json_t *value, void *object, const struct place *place)
{
	const char *text = json_string_value(value);
	int64_t bytes = json_integer_value(value);

	if (!json_is_integer(value) && (text == NULL || !parse_size(text, &bytes)))
		place_fault(place, "must be a size such as 64MiB or a number of bytes");
	else if (bytes < member->min || bytes > member->max)
		place_fault(place, "%lld bytes are not within %lld to %lld", (long long)bytes,
			(long long)member->min, (long long)member->max);
	else
		*(int64_t *)field(member, object) = bytes;
}

/* In the largest unit that says it exactly. */
static json_t *write_size(int64_t bytes)
{
	static const char *const units[] = {"", "KiB", "MiB", "GiB"};
	char text[32];
	size_t unit = 0;

	while (unit + 1 < COUNT_OF(units) && bytes != 0 && bytes % 1024 == 0) {
		bytes /= 1024;
		unit++;
	}
	(void)snprintf(text, sizeof(text), "%lld%s", (long long)bytes, units[unit]);
	return json_text(text);
}

/* Rounded to its resolution, so that what is written reads back as the same double. */
static void read_share(
	const struct member *member, const json_t *value, void *object, const struct place *place)
{
	double number = json_number_value(value);
	double min = (double)member->min / SHARE_UNIT, max = (double)member->max / SHARE_UNIT;

	if (!json_is_number(value))
		place_fault(place, "must be a number from %g to %g, not %s", min, max,
			json_kind(value));
	else if (number < min || number > max)
		place_fault(place, "%g is not within %g to %g", number, min, max);
	else
		*(double *)field(member, object) = round(number * SHARE_UNIT) / SHARE_UNIT;
}

static void set_fallback(const struct member *member, void *object)
{
	switch (member->type) {
	case MEMBER_ENUM:
	case MEMBER_INT:
		*(int *)field(member, object) = (int)member->fallback;
		break;
	case MEMBER_BOOL:
		*(bool *)field(member, object) = member->fallback != 0;
		break;
	case MEMBER_DURATION:
	case MEMBER_SIZE:
		*(int64_t *)field(member, object) = member->fallback;
		break;
	case MEMBER_SHARE:
		*(double *)field(member, object) = (double)member->fallback / SHARE_UNIT;
		break;
	case MEMBER_TEXT:
	case MEMBER_OBJECT:
	case MEMBER_CUSTOM:
		break;
	}
}

static void read_present(
	const struct member *member, const json_t *value, void *object, const struct place *place)
{
	switch (member->type) {
	case MEMBER_TEXT:
		read_text(member, value, object, place);
		break;
	case MEMBER_ENUM:
		read_enum(member, value, object, place);
		break;
	case MEMBER_BOOL:
		read_bool(member, value, object, place);
		break;
	case MEMBER_INT:
		read_int(member, value, object, place);
		break;
	case MEMBER_DURATION:
		read_duration(member, value, object, place);
		break;
	case MEMBER_SIZE:
		read_size(member, value, object, place);
		break;
	case MEMBER_SHARE:
		read_share(member, value, object, place);
		break;
	case MEMBER_OBJECT:
	case MEMBER_CUSTOM:
		break; /* read_member: these see absence too */
	}
}

static void read_member(
	const struct member *member, const json_t *value, void *object, const struct place *place)
{
	set_fallback(member, object);
	if (member->type == MEMBER_CUSTOM)
		member->read(value, object, place);
	else if (member->type == MEMBER_OBJECT)
		members_read(member->members, NULL, value, field(member, object), place);
	else if (value != NULL)
		read_present(member, value, object, place);
	else if (member->is_required)
		place_fault(place, "is required");
}

/* --- unknown members --- */

/* Edit distance without regard to case (Wagner and Fischer, one row at a time). */
static size_t edit_distance(const char *a, const char *b)
{
	size_t row[SUGGEST_BYTES + 1], len_b = strlen(b);

	for (size_t j = 0; j <= len_b; j++)
		row[j] = j;
	for (size_t i = 0; a[i] != '\0'; i++) {
		size_t diagonal = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < len_b; j++) {
			size_t change = diagonal + (strncasecmp(a + i, b + j, 1) != 0);
			size_t least = row[j] < row[j + 1] ? row[j] + 1 : row[j + 1] + 1;

			diagonal = row[j + 1];
			row[j + 1] = change < least ? change : least;
		}
	}
	return row[len_b];
}

/* The member that was probably meant, or NULL. */
static const char *nearest_member(const struct member *members, const char *name)
{
	size_t best = 2 + strlen(name) / 3; /* further away is another word */
	const char *nearest = NULL;

	if (strlen(name) > SUGGEST_BYTES)
		return NULL;
	for (; members->name != NULL; members++) {
		size_t distance = edit_distance(name, members->name);

		if (distance < best) {
			best = distance;
			nearest = members->name;
		}
	}
	return nearest;
}

static void fault_unknown(
	const struct member *members, const char *name, const struct place *parent)
{
	struct place place = place_member(parent, name);
	const char *nearest = nearest_member(members, name);
	struct buf list;

	if (nearest != NULL) {
		place_fault(&place, "unknown member '%.60s'; did you mean '%s'?", name, nearest);
		return;
	}
	buf_init(&list, LIST_BYTES);
	for (size_t i = 0; members[i].name != NULL; i++)
		buf_printf(&list, "%s%s", i == 0 ? "" : ", ", members[i].name);
	place_fault(&place, "unknown member '%.60s'; known are %s", name, buf_text(&list));
	buf_fini(&list);
}

static bool is_known(const struct member *members, const char *const *ignored, const char *name)
{
	for (; members->name != NULL; members++)
		if (strcmp(members->name, name) == 0)
			return true;
	for (; ignored != NULL && *ignored != NULL; ignored++)
		if (strcmp(*ignored, name) == 0)
			return true;
	return false;
}

static void fault_unknowns(const struct member *members, const char *const *ignored,
	const json_t *json, const struct place *place)
{
	json_t *object = (json_t *)json; /* iterators take no const */

	for (void *it = json_object_iter(object); it != NULL;
		it = json_object_iter_next(object, it))
		if (!is_known(members, ignored, json_object_iter_key(it)))
			fault_unknown(members, json_object_iter_key(it), place);
}

void members_read(const struct member *members, const char *const *ignored, const json_t *json,
	void *object, const struct place *place)
{
	size_t found = 0;
	if (json != NULL && !json_is_object(json)) {
		place_fault(place, "must be an object, not %s", json_kind(json));
		return;
	}
	for (const struct member *member = members; member->name != NULL; member++) {
		struct place at = place_member(place, member->name);
		const json_t *value = json_object_get(json, member->name);

		found += value != NULL;
		read_member(member, json_is_null(value) ? NULL : value, object, &at);
	}
	if (found == json_object_size(json))
		return; /* the usual case: nothing but what we know */
	fault_unknowns(members, ignored, json, place);
}

/* --- writing --- */

static json_t *write_object(const struct member *members, const void *object)
{
	json_t *json = json_new_object();

	members_write(members, object, json);
	return json;
}

static json_t *write_member(const struct member *member, const void *object)
{
	const void *at = const_field(member, object);
	char text[DURATION_TEXT_SIZE];

	switch (member->type) {
	case MEMBER_TEXT:
		return *(char *const *)at == NULL ? NULL : json_text(*(char *const *)at);
	case MEMBER_ENUM:
		return json_text(member->names[*(const int *)at]);
	case MEMBER_BOOL:
		return json_boolean(*(const bool *)at);
	case MEMBER_INT:
		if (member->is_optional && *(const int *)at == 0)
			return NULL;
		return json_integer(*(const int *)at);
	case MEMBER_DURATION:
		if (member->is_optional && *(const int64_t *)at == 0)
			return NULL;
		return json_text(format_duration(*(const int64_t *)at, text));
	case MEMBER_SIZE:
		return write_size(*(const int64_t *)at);
	case MEMBER_SHARE:
		return json_real(*(const double *)at);
	case MEMBER_OBJECT:
		return write_object(member->members, at);
	case MEMBER_CUSTOM:
		return member->write(object);
	}
	return NULL;
}

void members_write(const struct member *members, const void *object, json_t *json)
{
	for (; members->name != NULL; members++) {
		json_t *value = write_member(members, object);

		if (value != NULL)
			json_put(json, members->name, value);
	}
}
