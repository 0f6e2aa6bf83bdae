/* SPDX-License-Identifier: Apache-2.0
 *
 * The definition of an action, read and written by one table: a member is a row with its type,
 * range and default. A PATCH is merged over the base's definition first (RFC 7396), then the whole
 * is read as if it had been sent, so a PATCH can make nothing that a PUT could not.
 *
 * Members that the API adds when it shows an action are ignored here: GET, edit, PUT works. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/model_priv.h"

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

/* Of the row, and what the API adds to them. */
static const char *const row_members[] = {"id", "version", "state", "next_due_at", "created_at",
	"updated_at", "failing_since", "late_since", "deadline", "warnings", NULL};

/* --- members with a shape of their own --- */

/* The target has to be there for its own kind, and for no other. Nothing is said while the kind
 * itself is wrong. */
static bool target_is_wanted(const json_t *value, const struct action *action,
	enum action_kind kind, const struct place *place)
{
	if (action->kind == ACTION_KIND_COUNT)
		return false;
	if (action->kind == kind && value == NULL)
		place_fault(place, "is required: the kind is '%s'", action_kind_names[kind]);
	if (action->kind != kind && value != NULL)
		place_fault(place, "must be left out (in a PATCH: null): the kind is '%s'",
			action_kind_names[action->kind]);
	return action->kind == kind && value != NULL;
}

static void read_http(const json_t *value, void *object, const struct place *place)
{
	struct action *action = object;

	if (!target_is_wanted(value, action, ACTION_HTTP, place))
		return;
	members_read(http_members, NULL, value, &action->http, place);
	http_target_finish(&action->http);
	templates_read_http(action, place);
}

static void read_exec(const json_t *value, void *object, const struct place *place)
{
	struct action *action = object;

	if (!target_is_wanted(value, action, ACTION_EXEC, place))
		return;
	members_read(exec_members, NULL, value, &action->exec, place);
	exec_target_finish(&action->exec, place);
	templates_read_exec(action, place);
}

static void read_sql(const json_t *value, void *object, const struct place *place)
{
	struct action *action = object;

	if (target_is_wanted(value, action, ACTION_SQL, place))
		members_read(sql_members, NULL, value, &action->sql, place);
}

static json_t *write_sql(const void *object)
{
	const struct action *action = object;
	json_t *json;

	if (action->kind != ACTION_SQL)
		return NULL;
	json = json_new_object();
	members_write(sql_members, &action->sql, json);
	return json;
}

static json_t *write_http(const void *object)
{
	const struct action *action = object;
	json_t *json;

	if (action->kind != ACTION_HTTP)
		return NULL;
	json = json_new_object();
	members_write(http_members, &action->http, json);
	return json;
}

static json_t *write_exec(const void *object)
{
	const struct action *action = object;
	json_t *json;

	if (action->kind != ACTION_EXEC)
		return NULL;
	json = json_new_object();
	members_write(exec_members, &action->exec, json);
	return json;
}

static void read_schedule(const json_t *value, void *object, const struct place *place)
{
	struct action *action = object;

	/* A name that is missing or wrong has its own fault; the schedule need not add one. */
	if (value != NULL)
		schedule_read(value, action->name != NULL ? action->name : "", place,
			&action->schedule, &action->schedule_json);
}

/* A copy: what we hand out may be changed, what an action holds may not. */
static json_t *write_schedule(const void *object)
{
	const struct action *action = object;

	return action->schedule_json == NULL ? NULL : json_deep_copy(action->schedule_json);
}

static bool has_tag(char *const *tags, const char *tag)
{
	for (; *tags != NULL; tags++)
		if (strcmp(*tags, tag) == 0)
			return true;
	return false;
}

static void read_tags(const json_t *value, void *object, const struct place *place)
{
	struct action *action = object;
	size_t count = json_array_size(value), kept = 0;

	if (value != NULL && !json_is_array(value))
		place_fault(place, "must be a list of strings, not %s", json_kind(value));
	if (count > ACTION_TAGS_MAX) {
		place_fault(place, "%zu tags are above the limit of %d", count, ACTION_TAGS_MAX);
		count = 0;
	}
	action->tags = xcalloc(count + 1, sizeof(*action->tags));
	for (size_t i = 0; i < count; i++) {
		const json_t *tag = json_array_get(value, i);
		struct place at = place_element(place, i);

		if (!text_fits(tag, 1, ACTION_TAG_BYTES_MAX, &at))
			continue;
		check_tag(json_string_value(tag), &at);
		if (has_tag(action->tags, json_string_value(tag)))
			place_fault(&at, "'%.60s' is given twice", json_string_value(tag));
		action->tags[kept++] = xstrdup(json_string_value(tag));
	}
}

static json_t *write_tags(const void *object)
{
	const struct action *action = object;
	json_t *list = json_array();

	for (char *const *tag = action->tags; *tag != NULL; tag++)
		must(json_array_append_new(list, json_text(*tag)) == 0);
	return list;
}

/* --- retry.on: "timeout", "connection", "other", "status:429", "exit:1-9" --- */

#define STATUS_MIN 100
#define STATUS_MAX 599
#define EXIT_MIN   1
#define EXIT_MAX   255

static bool read_retry_rule(const char *text, struct retry_rule *rule)
{
	size_t len = strcspn(text, ":");
	bool is_status;

	for (int cause = 0; retry_cause_names[cause] != NULL; cause++) {
		if (strlen(retry_cause_names[cause]) != len ||
			strncmp(text, retry_cause_names[cause], len) != 0)
			continue;
		rule->cause = (enum retry_cause)cause;
		if (cause != RETRY_CAUSE_STATUS && cause != RETRY_CAUSE_EXIT)
			return text[len] == '\0';
		is_status = cause == RETRY_CAUSE_STATUS;
		return text[len] == ':' &&
		       parse_number_range(text + len + 1, is_status ? STATUS_MIN : EXIT_MIN,
			       is_status ? STATUS_MAX : EXIT_MAX, &rule->range);
	}
	return false;
}

static void read_retry_on(const json_t *value, void *object, const struct place *place)
{
	struct retry_policy *retry = object;
	size_t count = json_array_size(value);

	if (value == NULL)
		return;
	if (!json_is_array(value) || count == 0 || count > ACTION_RETRY_RULES_MAX) {
		place_fault(place, "must be a list of 1 to %d rules such as \"status:500-599\"",
			ACTION_RETRY_RULES_MAX);
		return;
	}
	retry->on = xcalloc(count, sizeof(*retry->on));
	for (size_t i = 0; i < count; i++) {
		const char *text = json_string_value(json_array_get(value, i));
		struct place at = place_element(place, i);

		if (text == NULL || !read_retry_rule(text, &retry->on[retry->on_count++]))
			place_fault(&at, "must be one of \"timeout\", \"connection\", \"other\", "
					 "\"status:500-599\", \"exit:75\", with numbers of your "
					 "choice");
	}
}

static json_t *write_retry_on(const void *object)
{
	const struct retry_policy *retry = object;
	json_t *list = retry->on_count > 0 ? json_array() : NULL;

	for (size_t i = 0; i < retry->on_count; i++) {
		const struct retry_rule *rule = &retry->on[i];
		bool has_range =
			rule->cause == RETRY_CAUSE_STATUS || rule->cause == RETRY_CAUSE_EXIT;
		char range[NUMBER_RANGE_SIZE], text[64];

		(void)snprintf(text, sizeof(text), "%s%s%s", retry_cause_names[rule->cause],
			has_range ? ":" : "",
			has_range ? format_number_range(&rule->range, range) : "");
		must(json_array_append_new(list, json_text(text)) == 0);
	}
	return list;
}

/* --- retention --- */

#define RETENTION(field) offsetof(struct retention, field)
static const struct member retention_members[] = {
	{"age", RETENTION(age_ms), MEMBER_DURATION, .is_optional = true, .min = MINUTE,
		.max = RETENTION_AGE_MAX_MS},
	{"count", RETENTION(count), MEMBER_INT, .is_optional = true, .min = 1,
		.max = RETENTION_COUNT_MAX},
	{0}};
#undef RETENTION

static void read_retention(const json_t *value, void *object, const struct place *place)
{
	struct action *action = object;

	if (value != NULL)
		members_read(retention_members, NULL, value, &action->retention, place);
}

static json_t *write_retention(const void *object)
{
	const struct retention *retention = &((const struct action *)object)->retention;
	json_t *json;

	if (retention->age_ms == 0 && retention->count == 0)
		return NULL;
	json = json_new_object();
	members_write(retention_members, retention, json);
	return json;
}

/* --- the tables --- */

/* clang-format off */
#define RETRY(field) offsetof(struct retry_policy, field)
static const struct member retry_members[] = {
	{"max_attempts", RETRY(max_attempts), MEMBER_INT, .min = 1, .max = ACTION_ATTEMPTS_MAX, .fallback = 1},
	{"backoff", RETRY(backoff), MEMBER_ENUM, .fallback = BACKOFF_EXPONENTIAL, .names = backoff_names},
	{"initial", RETRY(initial_ms), MEMBER_DURATION, .max = RETRY_DELAY_MAX_MS, .fallback = 10 * SECOND},
	{"max", RETRY(max_ms), MEMBER_DURATION, .max = RETRY_DELAY_MAX_MS, .fallback = 10 * MINUTE},
	{"jitter", RETRY(jitter), MEMBER_SHARE, .max = 1000000, .fallback = 200000},
	{"on", .type = MEMBER_CUSTOM, .read = read_retry_on, .write = write_retry_on},
	{0}};
#undef RETRY

#define ACTION(field) offsetof(struct action, field)
/* `kind` stands before the targets, which depend on it, `name` before the schedule. */
static const struct member action_members[] = {
	{"name", ACTION(name), MEMBER_TEXT, .is_required = true, .min = 1, .max = ACTION_NAME_MAX, .check = check_name},
	{"description", ACTION(description), MEMBER_TEXT, .min = 0, .max = ACTION_DESCRIPTION_MAX},
	{"kind", ACTION(kind), MEMBER_ENUM, .is_required = true, .fallback = ACTION_KIND_COUNT, .names = action_kind_names},
	{"http", .type = MEMBER_CUSTOM, .read = read_http, .write = write_http},
	{"exec", .type = MEMBER_CUSTOM, .read = read_exec, .write = write_exec},
	{"sql", .type = MEMBER_CUSTOM, .read = read_sql, .write = write_sql},
	{"schedule", .type = MEMBER_CUSTOM, .read = read_schedule, .write = write_schedule},
	{"timeout", ACTION(timeout_ms), MEMBER_DURATION, .min = 1, .max = 7 * DAY, .fallback = 10 * MINUTE},
	{"overlap", ACTION(overlap), MEMBER_ENUM, .fallback = OVERLAP_SKIP, .names = overlap_names},
	{"queue_limit", ACTION(queue_limit), MEMBER_INT, .min = 1, .max = ACTION_QUEUE_LIMIT_MAX, .fallback = 1},
	{"max_concurrent", ACTION(max_concurrent), MEMBER_INT, .max = ACTION_CONCURRENT_MAX, .fallback = 0},
	{"max_pending", ACTION(max_pending), MEMBER_INT, .min = 1, .max = ACTION_PENDING_MAX, .fallback = 10000},
	{"misfire", ACTION(misfire.policy), MEMBER_ENUM, .fallback = MISFIRE_LATEST, .names = misfire_names},
	{"misfire_grace", ACTION(misfire.grace_ms), MEMBER_DURATION, .max = 7 * DAY, .fallback = MINUTE},
	{"max_lateness", ACTION(misfire.max_lateness_ms), MEMBER_DURATION, .max = 366 * DAY, .fallback = DAY},
	{"max_catchup", ACTION(misfire.max_catchup), MEMBER_INT, .max = ACTION_CATCHUP_MAX, .fallback = 100},
	{"pause_records", ACTION(pause_records), MEMBER_BOOL, .fallback = true},
	{"on_interrupt", ACTION(on_interrupt), MEMBER_ENUM, .fallback = ON_INTERRUPT_RETRY, .names = on_interrupt_names},
	{"retry", ACTION(retry), MEMBER_OBJECT, .members = retry_members},
	{"priority", ACTION(priority), MEMBER_INT, .min = -100, .max = 100, .fallback = 0},
	{"retention", .type = MEMBER_CUSTOM, .read = read_retention, .write = write_retention},
	{"expect_success_within", ACTION(expect_success_ms), MEMBER_DURATION, .is_optional = true, .min = 1, .max = 366 * DAY},
	{"on_failure", ACTION(hooks[ALERT_FAILING]), MEMBER_TEXT, .min = 1, .max = ACTION_NAME_MAX, .check = check_name},
	{"on_recovery", ACTION(hooks[ALERT_RECOVERED]), MEMBER_TEXT, .min = 1, .max = ACTION_NAME_MAX, .check = check_name},
	{"on_late", ACTION(hooks[ALERT_LATE]), MEMBER_TEXT, .min = 1, .max = ACTION_NAME_MAX, .check = check_name},
	{"tags", .type = MEMBER_CUSTOM, .read = read_tags, .write = write_tags},
	{0}};
#undef ACTION
/* clang-format on */

/* --- reading --- */

/* RFC 7396. A null stays, instead of taking the member out: read, it means the same, and an unknown
 * member is noticed even then. `target` is changed; `patch` only gains references. */
static json_t *merge_patch(json_t *target_take, json_t *patch)
{
	if (!json_is_object(patch)) {
		json_decref(target_take);
		return json_incref(patch);
	}
	if (!json_is_object(target_take)) {
		json_decref(target_take);
		target_take = json_new_object();
	}
	for (void *it = json_object_iter(patch); it != NULL;
		it = json_object_iter_next(patch, it)) {
		const char *name = json_object_iter_key(it);
		json_t *old = json_incref(json_object_get(target_take, name));

		json_put(target_take, name, merge_patch(old, json_object_iter_value(it)));
	}
	return target_take;
}

/* A rule that never fits would leave unseen that nothing is tried again. */
static bool fits_kind(enum retry_cause cause, enum action_kind kind)
{
	if (cause == RETRY_CAUSE_EXIT)
		return kind == ACTION_EXEC;
	return kind == ACTION_HTTP ||
	       (cause != RETRY_CAUSE_STATUS && cause != RETRY_CAUSE_CONNECTION);
}

static void check_retry(const struct action *action, const struct place *root)
{
	const struct retry_policy *retry = &action->retry;
	struct place parent = place_member(root, "retry");
	struct place initial = place_member(&parent, "initial");
	struct place on = place_member(&parent, "on");

	if (retry->initial_ms > retry->max_ms)
		place_fault(&initial, "must not be above 'max'");
	for (size_t i = 0; i < retry->on_count; i++) {
		struct place at = place_element(&on, i);

		if (!fits_kind(retry->on[i].cause, action->kind))
			place_fault(&at, "an action of kind '%s' never fails with '%s'",
				action_kind_names[action->kind],
				retry_cause_names[retry->on[i].cause]);
	}
}

static void check_concurrent(const struct action *action, const struct place *root)
{
	struct place place = place_member(root, "max_concurrent");

	if (action->max_concurrent > 0 && action->overlap != OVERLAP_ALLOW)
		place_fault(&place,
			"needs overlap 'allow': with '%s' there is one run at a time anyway",
			overlap_names[action->overlap]);
}

static const char *const hook_members[] = {"on_failure", "on_recovery", "on_late"};

static void check_hooks(const struct action *action, const struct place *root)
{
	struct place place;

	for (int alert = 0; alert < ALERT_COUNT; alert++) {
		place = place_member(root, hook_members[alert]);
		if (action->hooks[alert] != NULL && strcmp(action->hooks[alert], action->name) == 0)
			place_fault(&place, "an action cannot tell itself: name another one");
	}
	place = place_member(root, "on_late");
	if (action->hooks[ALERT_LATE] != NULL && action->expect_success_ms == 0)
		place_fault(&place, "needs 'expect_success_within': else it would never be late");
}

static int read_definition(const json_t *json, struct action **ret_action, struct faults *faults)
{
	const struct place root = {.name = "", .faults = faults};
	size_t faults_before = faults->count;
	struct action *action = xcalloc(1, sizeof(*action));

	action->refs = 1;
	action->next_due_ms = NO_TIME;
	members_read(action_members, row_members, json, action, &root);
	if (faults->count == faults_before)
		check_retry(action, &root);
	if (faults->count == faults_before)
		check_concurrent(action, &root);
	if (faults->count == faults_before)
		check_hooks(action, &root);
	if (faults->count != faults_before) {
		action_unref(action);
		return ERR_INVALID;
	}
	*ret_action = action;
	return 0;
}

int action_from_json(const json_t *json, const struct action *base, struct action **ret_action,
	struct faults *faults)
{
	json_t *merged;
	int code;

	if (json == NULL || !json_is_object(json)) {
		faults_add(faults, "", "an action must be an object, not %s",
			json == NULL ? "nothing" : json_kind(json));
		return ERR_INVALID;
	}
	if (base == NULL)
		return read_definition(json, ret_action, faults);
	merged = merge_patch(action_definition_json(base), (json_t *)json);
	code = read_definition(merged, ret_action, faults);
	json_decref(merged);
	return code;
}

int action_from_text(const char *text, size_t len, struct action **ret_action, struct err *err)
{
	struct faults faults = {0};
	struct err parse_err = {0};
	json_t *json;

	if (json_from_text(text, len, &json, &parse_err) != 0)
		return err_set(
			err, ERR_CORRUPT, "stored definition of an action: %s", parse_err.text);
	(void)action_from_json(json, NULL, ret_action, &faults);
	json_decref(json);
	if (faults.count == 0)
		return 0;
	return err_set(err, ERR_CORRUPT, "stored definition of an action: %s: %s",
		faults.item[0].pointer, faults.item[0].detail);
}

/* --- writing --- */

json_t *action_definition_json(const struct action *action)
{
	json_t *json = json_new_object();

	members_write(action_members, action, json);
	return json;
}

json_t *action_to_json(const struct action *action)
{
	json_t *json = json_new_object();

	json_put(json, "id", json_id(&action->id));
	json_put(json, "version", json_integer(action->version));
	json_put(json, "state", json_text(action_state_names[action_state(action)]));
	json_put(json, "next_due_at",
		json_time(action->next_due_ms == DUE_AT_RUN_END ? NO_TIME : action->next_due_ms));
	json_put(json, "created_at", json_time(action->created_at_ms));
	json_put(json, "updated_at", json_time(action->updated_at_ms));
	members_write(action_members, action, json);
	return json;
}

char *action_definition_text(const struct action *action)
{
	json_t *json = action_definition_json(action);
	char *text = json_dumps(json, JSON_WRITE_FLAGS);

	must(text != NULL);
	json_decref(json);
	return text;
}
