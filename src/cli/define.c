/* SPDX-License-Identifier: Apache-2.0
 *
 * Flags to the JSON of an action's definition. Each flag's row says which member it sets (a JSON
 * pointer); only what excludes each other is written out here. Values are not judged: the server
 * does that, for every client alike, and names the member. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/cli_priv.h"
#include "model/model.h"

static void put(json_t *object, const char *key, json_t *value_take)
{
	must(json_object_set_new(object, key, value_take) == 0);
}

/* The object that holds the last segment of `pointer`, made on the way; *ret_key is that segment.
 */
static json_t *parent_of(json_t *root, const char *pointer, const char **ret_key)
{
	const char *slash;

	pointer++;
	while ((slash = strchr(pointer, '/'))) {
		auto_free char *key = xstrndup(pointer, (size_t)(slash - pointer));

		if (!json_object_get(root, key))
			put(root, key, json_object());
		root = json_object_get(root, key);
		pointer = slash + 1;
	}
	*ret_key = pointer;
	return root;
}

/* "0.25"; parse.c has seen to its form. */
static json_t *share_value(const char *text)
{
	double digits = 0, unit = 1;

	for (const char *at = text; *at; at++)
		if (*at != '.') {
			digits = 10 * digits + (*at - '0');
			unit *= at > text ? 10 : 1;
		}
	return json_real(digits / unit);
}

/* NULL: the text is not UTF-8. */
static json_t *window_value(const char *text)
{
	const char *between = strstr(text, " for ");
	bool is_cron = between != NULL;
	auto_free char *first = NULL;

	between = between ? between : strstr(text, " to ");
	first = xstrndup(text, (size_t)(between - text));
	return json_pack("{s:s, s:s}", is_cron ? "cron" : "from", first,
		is_cron ? "duration" : "to", between + (is_cron ? 5 : 4));
}

/* NULL: the text is not UTF-8. */
static json_t *flag_value(const struct given_flag *given)
{
	int64_t number = 0;

	switch (given->flag->type) {
	case FLAG_SWITCH:
		return json_true();
	case FLAG_BOOL:
		return json_boolean(strcmp(given->value, "true") == 0);
	case FLAG_SHARE:
		return share_value(given->value);
	case FLAG_WINDOW:
		return window_value(given->value);
	case FLAG_INT:
		break;
	case FLAG_TEXT:
	case FLAG_DURATION:
	case FLAG_TIME:
	case FLAG_CHOICE:
	case FLAG_LIST:
	case FLAG_PAIR:
		return json_string(given->value);
	}
	must(parse_i64(given->value, given->flag->min, given->flag->max, &number));
	return json_integer(number + given->flag->plus);
}

static bool add_pair(json_t *parent, const char *key, const struct given_flag *given)
{
	const char *separator = strchr(given->value, given->flag->separator);
	auto_free char *name = xstrndup(given->value, (size_t)(separator - given->value));
	const char *value = separator + 1;

	if (given->flag->separator == ':')
		value += strspn(value, " ");
	if (!json_object_get(parent, key))
		put(parent, key, json_object());
	return json_object_set_new(json_object_get(parent, key), name, json_string(value)) == 0;
}

static bool set_member(json_t *root, const struct given_flag *given)
{
	const char *key;
	json_t *parent = parent_of(root, given->flag->pointer, &key);
	json_t *value;

	if (given->flag->type == FLAG_PAIR)
		return add_pair(parent, key, given);
	value = flag_value(given);
	if (!value)
		return false;
	if (given->flag->type != FLAG_LIST && given->flag->type != FLAG_WINDOW)
		return json_object_set_new(parent, key, value) == 0;
	if (!json_object_get(parent, key))
		put(parent, key, json_array());
	return json_array_append_new(json_object_get(parent, key), value) == 0;
}

/* --- what excludes each other --- */

/* The flags that say what kind a schedule is. */
static const char *const schedule_kinds[] = {"cron", "every", "every-after", "at", "rrule", "on"};

static int count_kinds(const struct cli *cli)
{
	int count = 0;

	for (size_t i = 0; i < COUNT_OF(schedule_kinds); i++)
		count += cli_has(cli, schedule_kinds[i]);
	return count;
}

/* The flags that say what an action does, and so its kind; a program behind `--` does too. */
static const struct {
	const char *flag;
	enum action_kind kind;
} targets[] = {
	{"shell", ACTION_EXEC},
	{"url", ACTION_HTTP},
	{"sql", ACTION_SQL},
	{"noop", ACTION_NOOP},
};

int define_target_count(const struct cli *cli)
{
	int count = cli->rest != NULL;

	for (size_t i = 0; i < COUNT_OF(targets); i++)
		count += cli_has(cli, targets[i].flag);
	return count;
}

/* -1: not said. */
static int target_kind(const struct cli *cli)
{
	for (size_t i = 0; i < COUNT_OF(targets); i++)
		if (cli_has(cli, targets[i].flag))
			return (int)targets[i].kind;
	return cli->rest != NULL ? (int)ACTION_EXEC : -1;
}

static int check_flags(const struct cli *cli, struct err *err)
{
	int schedules = count_kinds(cli) + cli_has(cli, "manual") +
			(cli_has(cli, "manual") && cli_has(cli, "run-on-start"));
	int target_count = define_target_count(cli);

	if (schedules > 1)
		return err_set(err, ERR_INVALID,
			"--cron, --every, --every-after, --at, --rrule, --on and --manual: only "
			"one of them");
	if (target_count > 1)
		return err_set(err, ERR_INVALID,
			"a program behind `--`, --shell, --url, --sql and --noop: only one of "
			"them");
	if (cli->rest && cli->rest_count == 0)
		return err_set(err, ERR_INVALID, "no program behind `--`");
	return 0;
}

static int add_program(const struct cli *cli, json_t *root, struct err *err)
{
	const char *key;
	json_t *exec = parent_of(root, "/exec/command", &key), *command = json_array();

	put(exec, key, command);
	for (size_t i = 0; i < cli->rest_count; i++)
		if (json_array_append_new(command, json_string(cli->rest[i])) != 0)
			return err_set(err, ERR_INVALID, "argument %zu of the program is not UTF-8",
				i + 1);
	return 0;
}

static void put_kind_null(json_t *schedule, const char *flag)
{
	put(schedule, strcmp(flag, "every-after") == 0 ? "every_after" : flag, json_null());
}

/* A new schedule or target pushes out the old one. */
static void null_others(const struct cli *cli, json_t *root)
{
	json_t *schedule = json_object_get(root, "schedule");
	bool has_kind = count_kinds(cli) > 0;
	int kind = target_kind(cli);

	for (size_t i = 0; has_kind && i < COUNT_OF(schedule_kinds); i++)
		if (!cli_has(cli, schedule_kinds[i]))
			put_kind_null(schedule, schedule_kinds[i]);
	if (has_kind && !cli_has(cli, "anchor"))
		put(schedule, "anchor", json_null());
	for (int other = 0; kind >= 0 && other < ACTION_KIND_COUNT; other++)
		if (other != kind && other != ACTION_NOOP)
			put(root, action_kind_names[other], json_null());
	if (cli->rest)
		put(json_object_get(root, "exec"), "shell", json_false());
	if (cli_has(cli, "manual"))
		put(root, "schedule", json_null());
}

static int fill(const struct cli *cli, enum define_mode mode, json_t *root, struct err *err)
{
	int kind = target_kind(cli);

	for (size_t i = 0; i < cli->given_count; i++)
		if (cli->given[i].flag->pointer && !set_member(root, &cli->given[i]))
			return err_set(err, ERR_INVALID, "--%s: the value is not UTF-8",
				cli->given[i].flag->name);
	if (cli->rest && add_program(cli, root, err))
		return err->code;
	if (cli_has(cli, "shell"))
		put(json_object_get(root, "exec"), "shell", json_true());
	if (kind >= 0)
		put(root, "kind", json_string(action_kind_names[kind]));
	if (mode == DEFINE_PATCH)
		null_others(cli, root);
	return 0;
}

int define_from_flags(
	const struct cli *cli, enum define_mode mode, json_t **ret_json, struct err *err)
{
	json_t *root;
	int code = check_flags(cli, err);

	if (code)
		return code;
	root = json_object();
	code = fill(cli, mode, root, err);
	if (code)
		json_decref(root);
	else
		*ret_json = root;
	return code;
}

bool define_is_asked(const struct cli *cli)
{
	for (size_t i = 0; i < cli->given_count; i++)
		if (cli->given[i].flag->pointer)
			return true;
	return cli->rest || cli_has(cli, "manual") || cli_has(cli, "noop");
}

json_t *define_only(const json_t *action)
{
	struct faults faults = {0};
	struct action *parsed = NULL;
	json_t *json;

	/* a newer server may show members this program does not know: then all of it is better than
	 * nothing */
	if (action_from_json(action, NULL, &parsed, &faults))
		return json_deep_copy(action);
	json = action_definition_json(parsed);
	action_unref(parsed);
	return json;
}
