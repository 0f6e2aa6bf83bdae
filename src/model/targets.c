/* SPDX-License-Identifier: Apache-2.0
 *
 * The targets of an action, what it calls or starts: members of `http` and of `exec`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"
#include "model/model_priv.h"

#define STATUS_MIN 100
#define STATUS_MAX 599

/* --- maps of names to values: headers, env --- */

struct pair_rules {
	size_t count_max, name_max, value_max, total_max;
	member_check_fn *check_name;
	member_check_fn *check_value; /* NULL: any text */
	bool ignores_case;            /* two names that differ in case only are the same */
};

static const struct pair_rules header_rules = {ACTION_HEADERS_MAX, ACTION_HEADER_NAME_MAX,
	ACTION_HEADER_VALUE_MAX, ACTION_HEADERS_BYTES_MAX, check_header_name, check_header_value,
	true};
static const struct pair_rules env_rules = {ACTION_ENV_MAX, ACTION_ENV_NAME_MAX,
	ACTION_ENV_BYTES_MAX, ACTION_ENV_BYTES_MAX, check_env_name, NULL, false};

static bool is_listed(const struct name_value *pairs, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcasecmp(pairs[i].name, name) == 0)
			return true;
	return false;
}

/* One pair; what is wrong with it is a fault at its own place. */
static void read_pair(const struct pair_rules *rules, const char *name, const json_t *value,
	struct name_value *ret_pair, const struct place *place)
{
	size_t len = strlen(name);

	if (len == 0 || len > rules->name_max)
		place_fault(place, "a name must have 1 to %zu bytes", rules->name_max);
	else
		rules->check_name(name, place);
	if (text_fits(value, 0, (int64_t)rules->value_max, place) && rules->check_value != NULL)
		rules->check_value(json_string_value(value), place);
	ret_pair->name = xstrdup(name);
	ret_pair->value = xstrdup(json_is_string(value) ? json_string_value(value) : "");
}

/* Those that are null have been taken out by a PATCH (RFC 7396). */
static size_t count_present(json_t *map)
{
	size_t count = 0;

	for (void *it = json_object_iter(map); it != NULL; it = json_object_iter_next(map, it))
		count += !json_is_null(json_object_iter_value(it));
	return count;
}

static bool map_fits(
	const struct pair_rules *rules, const json_t *json, size_t count, const struct place *place)
{
	if (!json_is_object(json))
		place_fault(
			place, "must be an object of names and strings, not %s", json_kind(json));
	else if (count > rules->count_max)
		place_fault(
			place, "%zu entries are above the limit of %zu", count, rules->count_max);
	return json_is_object(json) && count <= rules->count_max;
}

static size_t read_pairs(const struct pair_rules *rules, const json_t *json,
	struct name_value **ret_pairs, const struct place *place)
{
	json_t *map = (json_t *)json; /* iterators take no const */
	size_t count = count_present(map), bytes = 0, i = 0;

	if (json == NULL || !map_fits(rules, json, count, place) || count == 0)
		return 0;
	*ret_pairs = xcalloc(count, sizeof(**ret_pairs));
	for (void *it = json_object_iter(map); it != NULL; it = json_object_iter_next(map, it)) {
		const char *name = json_object_iter_key(it);
		const json_t *value = json_object_iter_value(it);
		struct place at = place_member(place, name);

		if (json_is_null(value))
			continue;
		if (rules->ignores_case && is_listed(*ret_pairs, i, name))
			place_fault(&at, "is given twice; upper and lower case are the same here");
		read_pair(rules, name, value, &(*ret_pairs)[i++], &at);
		bytes += strlen(name) + json_string_length(value) + 2; /* '=' or ':', and an end */
	}
	if (bytes > rules->total_max)
		place_fault(place, "%zu bytes in all are above the limit of %zu", bytes,
			rules->total_max);
	return count;
}

static json_t *write_pairs(const struct name_value *pairs, size_t count)
{
	json_t *json = json_new_object();

	for (size_t i = 0; i < count; i++)
		json_put(json, pairs[i].name, json_text(pairs[i].value));
	return json;
}

/* --- http --- */

static void read_headers(const json_t *value, void *object, const struct place *place)
{
	struct http_target *http = object;

	http->header_count = read_pairs(&header_rules, value, &http->headers, place);
}

static json_t *write_headers(const void *object)
{
	const struct http_target *http = object;

	return write_pairs(http->headers, http->header_count);
}

bool parse_number_range(const char *text, int min, int max, struct number_range *ret_range)
{
	char first[8] = "";
	size_t len = strcspn(text, "-");
	int64_t low, high;

	if (len >= sizeof(first))
		return false;
	memcpy(first, text, len);
	if (!parse_i64(first, min, max, &low))
		return false;
	high = low;
	if (text[len] == '-' && !parse_i64(text + len + 1, low, max, &high))
		return false;
	*ret_range = (struct number_range){(int)low, (int)high};
	return true;
}

const char *format_number_range(
	const struct number_range *range, char ret_text[static NUMBER_RANGE_SIZE])
{
	if (range->min == range->max)
		(void)snprintf(ret_text, NUMBER_RANGE_SIZE, "%d", range->min);
	else
		(void)snprintf(ret_text, NUMBER_RANGE_SIZE, "%d-%d", range->min, range->max);
	return ret_text;
}

static void read_status(const json_t *value, struct number_range *range, const struct place *place)
{
	int64_t status = json_integer_value(value);
	bool fits;

	if (json_is_integer(value)) {
		fits = status >= STATUS_MIN && status <= STATUS_MAX;
		*range = (struct number_range){(int)status, (int)status};
	} else {
		fits = json_is_string(value) &&
		       parse_number_range(json_string_value(value), STATUS_MIN, STATUS_MAX, range);
	}
	if (!fits)
		place_fault(place,
			"must be a status such as 204 or a range such as \"200-299\", within %d to "
			"%d",
			STATUS_MIN, STATUS_MAX);
}

/* One status or range, or a list of them. */
static void read_expect_status(const json_t *value, void *object, const struct place *place)
{
	struct http_target *http = object;
	size_t count = json_array_size(value);

	if (value == NULL)
		return;
	if (json_is_array(value) && (count == 0 || count > ACTION_STATUSES_MAX)) {
		place_fault(
			place, "must have 1 to %d elements, not %zu", ACTION_STATUSES_MAX, count);
		return;
	}
	http->expect_count = json_is_array(value) ? count : 1;
	http->expect = xcalloc(http->expect_count, sizeof(*http->expect));
	if (!json_is_array(value))
		read_status(value, http->expect, place);
	for (size_t i = 0; i < count; i++) {
		struct place at = place_element(place, i);

		read_status(json_array_get(value, i), &http->expect[i], &at);
	}
}

static json_t *write_status(const struct number_range *range)
{
	char text[NUMBER_RANGE_SIZE];

	if (range->min == range->max)
		return json_integer(range->min);
	return json_text(format_number_range(range, text));
}

static json_t *write_expect_status(const void *object)
{
	static const struct number_range fallback = {200, 299};
	const struct http_target *http = object;
	json_t *list;

	if (http->expect_count <= 1)
		return write_status(http->expect_count == 1 ? http->expect : &fallback);
	list = json_array();
	for (size_t i = 0; i < http->expect_count; i++)
		must(json_array_append_new(list, write_status(&http->expect[i])) == 0);
	return list;
}

bool http_target_expects(const struct http_target *target, int status)
{
	for (size_t i = 0; i < target->expect_count; i++)
		if (status >= target->expect[i].min && status <= target->expect[i].max)
			return true;
	return target->expect_count == 0 && status >= 200 && status <= 299;
}

static const char *guess_content_type(const char *body)
{
	const char *first = body + strspn(body, " \t\r\n");

	return *first == '{' || *first == '[' ? "application/json" : "text/plain; charset=utf-8";
}

const char *http_target_content_type(const struct http_target *target)
{
	for (size_t i = 0; i < target->header_count; i++)
		if (strcasecmp(target->headers[i].name, "Content-Type") == 0)
			return target->headers[i].value;
	return target->body != NULL ? guess_content_type(target->body) : NULL;
}

/* One name, or a list of them. */
static void read_signing_secret(const json_t *value, void *object, const struct place *place)
{
	struct http_target *http = object;
	size_t count = json_is_array(value) ? json_array_size(value) : 1;

	if (value == NULL)
		return;
	if (count == 0 || count > ACTION_SIGNERS_MAX) {
		place_fault(
			place, "must have 1 to %d elements, not %zu", ACTION_SIGNERS_MAX, count);
		return;
	}
	http->signing_secrets = xcalloc(count + 1, sizeof(*http->signing_secrets));
	for (size_t i = 0; i < count; i++) {
		const json_t *name = json_is_array(value) ? json_array_get(value, i) : value;
		struct place element = place_element(place, i);
		const struct place *at = json_is_array(value) ? &element : place;

		if (!text_fits(name, 1, SECRET_NAME_MAX, at))
			break;
		http->signing_secrets[i] = xstrdup(json_string_value(name));
		if (!secret_name_is_valid(json_string_value(name), json_string_length(name)))
			place_fault(at,
				"'%.60s' is not the name of a secret: letters, digits and "
				"'_' only, no digit first",
				json_string_value(name));
	}
}

static json_t *write_signing_secret(const void *object)
{
	const struct http_target *http = object;
	json_t *list;

	if (http->signing_secrets == NULL)
		return NULL;
	if (http->signing_secrets[1] == NULL)
		return json_text(http->signing_secrets[0]);
	list = json_array();
	for (char *const *name = http->signing_secrets; *name != NULL; name++)
		must(json_array_append_new(list, json_text(*name)) == 0);
	return list;
}

#define HTTP(field) offsetof(struct http_target, field)
/* clang-format off */
const struct member http_members[] = {
	{"method", HTTP(method), MEMBER_TEXT, .min = 1, .max = 16, .check = check_method},
	{"url", HTTP(url), MEMBER_TEXT, .is_required = true, .min = 1, .max = ACTION_URL_MAX, .check = check_url},
	{"headers", .type = MEMBER_CUSTOM, .read = read_headers, .write = write_headers},
	{"body", HTTP(body), MEMBER_TEXT, .min = 0, .max = ACTION_BODY_MAX},
	{"expect_status", .type = MEMBER_CUSTOM, .read = read_expect_status, .write = write_expect_status},
	{"signing_secret", .type = MEMBER_CUSTOM, .read = read_signing_secret, .write = write_signing_secret},
	{"connect_timeout", HTTP(connect_timeout_ms), MEMBER_DURATION, .min = 1, .max = 600000, .fallback = 10000},
	{"first_byte_timeout", HTTP(first_byte_timeout_ms), MEMBER_DURATION, .max = 7 * 86400000, .fallback = 0},
	{"max_redirects", HTTP(max_redirects), MEMBER_INT, .max = ACTION_REDIRECTS_MAX, .fallback = 5},
	{0}};
/* clang-format on */
#undef HTTP

void http_target_finish(struct http_target *http)
{
	if (http->method == NULL)
		http->method = xstrdup(http->body != NULL ? "POST" : "GET");
}

/* --- exec --- */

static void read_command_list(
	const json_t *list, struct exec_target *exec, const struct place *place)
{
	size_t bytes = 0, count = json_array_size(list);

	if (count == 0 || count > ACTION_ARGV_MAX) {
		place_fault(place, "must have 1 to %d elements, not %zu", ACTION_ARGV_MAX, count);
		return;
	}
	exec->command = xcalloc(count + 1, sizeof(*exec->command));
	for (size_t i = 0; i < count; i++) {
		const json_t *value = json_array_get(list, i);
		struct place at = place_element(place, i);

		if (text_fits(value, i == 0, ACTION_ARGV_BYTES_MAX - 1, &at))
			exec->command[i] = xstrdup(json_string_value(value));
		else
			exec->command[i] = xstrdup(""); /* keeps the list whole until it is freed */
		bytes += json_string_length(value) + 1;
	}
	if (bytes > ACTION_ARGV_BYTES_MAX)
		place_fault(place, "%zu bytes in all are above the limit of %d", bytes,
			ACTION_ARGV_BYTES_MAX);
}

static void read_command(const json_t *value, void *object, const struct place *place)
{
	struct exec_target *exec = object;

	if (value == NULL) {
		place_fault(place, "is required");
	} else if (json_is_array(value)) {
		read_command_list(value, exec, place);
	} else if (!json_is_string(value)) {
		place_fault(place, "must be a list of strings, not %s", json_kind(value));
	} else if (!exec->use_shell) {
		place_fault(place,
			"a string is for a shell: set \"shell\": true, or write a list such as "
			"[\"/bin/echo\", \"hello\"]");
	} else if (text_fits(value, 1, ACTION_ARGV_BYTES_MAX - 1, place)) {
		exec->command = xcalloc(2, sizeof(*exec->command));
		exec->command[0] = xstrdup(json_string_value(value));
	}
}

static json_t *write_command(const void *object)
{
	const struct exec_target *exec = object;
	json_t *list;

	if (exec->use_shell)
		return json_text(exec->command[0]);
	list = json_array();
	for (char *const *argument = exec->command; *argument != NULL; argument++)
		must(json_array_append_new(list, json_text(*argument)) == 0);
	return list;
}

static void read_env(const json_t *value, void *object, const struct place *place)
{
	struct exec_target *exec = object;

	exec->env_count = read_pairs(&env_rules, value, &exec->env, place);
}

static json_t *write_env(const void *object)
{
	const struct exec_target *exec = object;

	return write_pairs(exec->env, exec->env_count);
}

#define DAY_MS       INT64_C(86400000)
#define LIMIT(field) offsetof(struct exec_limits, field)
/* clang-format off */
static const struct member limit_members[] = {
	{"cpu", LIMIT(cpu_ms), MEMBER_DURATION, .min = 1000, .max = 7 * DAY_MS},
	{"memory", LIMIT(memory), MEMBER_SIZE, .min = LIMIT_MEMORY_MIN, .max = LIMIT_MAX},
	{"file_size", LIMIT(file_size), MEMBER_SIZE, .min = 1, .max = LIMIT_MAX},
	{"files", LIMIT(files), MEMBER_INT, .min = 4, .max = 1000000},
	{"processes", LIMIT(processes), MEMBER_INT, .min = 1, .max = 1000000},
	{"nice", LIMIT(nice), MEMBER_INT, .min = 0, .max = 19},
	{0}};
/* clang-format on */
#undef LIMIT

static void read_limits(const json_t *value, void *object, const struct place *place)
{
	struct exec_target *exec = object;

	members_read(limit_members, NULL, value, &exec->limits, place);
}

/* Only what is set: 0 would be refused when it is read back. */
static json_t *write_limits(const void *object)
{
	const struct exec_target *exec = object;
	json_t *json = json_new_object();

	members_write(limit_members, &exec->limits, json);
	for (const struct member *member = limit_members; member->name != NULL; member++) {
		static const struct exec_limits none;
		bool is_int = member->type == MEMBER_INT;

		if (memcmp((const char *)&exec->limits + member->offset, &none,
			    is_int ? sizeof(int) : sizeof(int64_t)) == 0)
			(void)json_object_del(json, member->name);
	}
	if (json_object_size(json) > 0)
		return json;
	json_decref(json);
	return NULL;
}

#define EXEC(field) offsetof(struct exec_target, field)
/* `shell` stands before `command`, whose form depends on it. */
/* clang-format off */
const struct member exec_members[] = {
	{"shell", EXEC(use_shell), MEMBER_BOOL, .fallback = false},
	{"command", .type = MEMBER_CUSTOM, .read = read_command, .write = write_command},
	{"cwd", EXEC(cwd), MEMBER_TEXT, .min = 1, .max = ACTION_PATH_MAX, .check = check_path},
	{"env", .type = MEMBER_CUSTOM, .read = read_env, .write = write_env},
	{"stdin", EXEC(stdin_text), MEMBER_TEXT, .min = 0, .max = ACTION_BODY_MAX},
	{"limits", .type = MEMBER_CUSTOM, .read = read_limits, .write = write_limits},
	{"user", EXEC(user), MEMBER_TEXT, .min = 1, .max = ACTION_USER_MAX, .check = check_user},
	{0}};
/* clang-format on */
#undef EXEC

/* --- sql --- */

#define SQL(field) offsetof(struct sql_target, field)
/* clang-format off */
const struct member sql_members[] = {
	{"database", SQL(database), MEMBER_TEXT, .is_required = true, .min = 1, .max = ACTION_DATABASE_MAX, .check = check_database},
	{"statement", SQL(statement), MEMBER_TEXT, .is_required = true, .min = 1, .max = ACTION_STATEMENT_MAX},
	{"read_only", SQL(is_read_only), MEMBER_BOOL, .fallback = false},
	{0}};
/* clang-format on */
#undef SQL

void exec_target_finish(struct exec_target *exec, const struct place *place)
{
	struct place at = place_member(place, "command");

	if (exec->use_shell && exec->command != NULL && exec->command[1] != NULL)
		place_fault(&at, "with \"shell\": true there is one string, not a list of several");
}
