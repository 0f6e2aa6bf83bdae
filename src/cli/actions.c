/* SPDX-License-Identifier: Apache-2.0
 *
 * `gathering action ...`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/cli_priv.h"
#include "cli/files.h"
#include "model/model.h"

#define ACTIONS_PATH "/api/v1/actions"
#define WARNING_MAX  65536

static char *action_path(const char *name, const char *after)
{
	return remote_path(ACTIONS_PATH "/", name, after);
}

static void print_warnings(const json_t *action)
{
	const json_t *warning;
	size_t i;

	(void)fflush(stdout); /* in this order on a terminal and in a file */
	json_array_foreach(json_object_get(action, "warnings"), i, warning)
	{
		struct buf line;

		buf_init(&line, WARNING_MAX);
		append_safe(&line, json_is_string(warning) ? json_string_value(warning) : "");
		(void)fprintf(stderr, "gathering: note: %s\n", buf_text(&line));
		buf_fini(&line);
	}
}

/* What was done to an action, in one line. */
static void tell_action(const struct cli *cli, const char *verb, const json_t *action)
{
	const char *due = get_text(action, "next_due_at");
	char relative[RELATIVE_TEXT_SIZE];
	int64_t at_ms;

	if (cli->is_json) {
		print_json(action);
		return;
	}
	(void)printf("%s %s", verb, get_text(action, "name"));
	if (due && parse_rfc3339(due, &at_ms))
		(void)printf("; next due %s (%s)", due,
			format_relative(at_ms, clock_wall_ms(), relative));
	else if (json_is_null(json_object_get(action, "next_due_at")) &&
		 !json_is_object(json_object_get(action, "schedule")))
		(void)printf("; no schedule: `gathering action run %s` runs it",
			get_text(action, "name"));
	else if (get_text(json_object_get(action, "schedule"), "on"))
		(void)printf("; runs at each event %s",
			get_text(json_object_get(action, "schedule"), "on"));
	(void)putchar('\n');
	print_warnings(action);
}

/* --- add --- */

static int add_file(struct cli *cli, const char *file)
{
	struct err err = {0};
	json_t *json, *answer = NULL, *item;
	int status;
	size_t i;

	if (cli->arg_count > 0 || define_is_asked(cli))
		return cli_usage(cli, "either --file or flags that describe the action");
	if (read_json_file(file, &json, &err))
		return cli_fail(&err);
	status = remote_call(cli, "POST", ACTIONS_PATH, json, &answer);
	json_decref(json);
	if (status)
		return status;
	if (cli->is_json || !json_object_get(answer, "items"))
		tell_action(cli, "created", answer);
	else
		json_array_foreach(json_object_get(answer, "items"), i, item)
			tell_action(cli, "created", item);
	json_decref(answer);
	return 0;
}

static int check_add(const struct cli *cli, const char *name, struct err *err)
{
	const char *flag = cli_flag(cli, "name");

	if (!name)
		return err_set(err, ERR_INVALID, "the action needs a name");
	if (flag && strcmp(flag, name) != 0)
		return err_set(
			err, ERR_INVALID, "two names, '%.60s' and --name '%.60s'", name, flag);
	if (define_target_count(cli) == 0)
		return err_set(err, ERR_INVALID,
			"what shall '%.60s' do? a program behind `--`, --shell TEXT, --url URL, "
			"--sql STATEMENT or --noop",
			name);
	return 0;
}

int cmd_action_add(struct cli *cli)
{
	const char *file = cli_flag(cli, "file");
	const char *name = cli->arg_count ? cli->args[0] : cli_flag(cli, "name");
	struct err err = {0};
	json_t *json, *answer = NULL;
	int status;

	if (file)
		return add_file(cli, file);
	if (check_add(cli, name, &err) || define_from_flags(cli, DEFINE_WHOLE, &json, &err))
		return cli_usage(cli, "%s", err.text);
	(void)json_object_set_new(json, "name", json_string(name));
	status = remote_call(cli, "POST", ACTIONS_PATH, json, &answer);
	json_decref(json);
	if (status)
		return status;
	tell_action(cli, "created", answer);
	json_decref(answer);
	return 0;
}

/* --- list, show, export --- */

static char *schedule_text(const json_t *action)
{
	const json_t *schedule = json_object_get(action, "schedule");
	const char *cron = get_text(schedule, "cron"), *zone = get_text(schedule, "timezone");
	const char *local = cron ? cron : get_text(schedule, "rrule");
	bool has_zone = zone && strcmp(zone, "UTC") != 0;

	if (local)
		return xasprintf("%s%s%s", local, has_zone ? "  " : "", has_zone ? zone : "");
	if (get_text(schedule, "every"))
		return xasprintf("every %s", get_text(schedule, "every"));
	if (get_text(schedule, "every_after"))
		return xasprintf("%s after each run", get_text(schedule, "every_after"));
	if (get_text(schedule, "at"))
		return xasprintf("at %s", get_text(schedule, "at"));
	if (get_text(schedule, "on"))
		return xasprintf("on %s", get_text(schedule, "on"));
	if (json_is_true(json_object_get(schedule, "run_on_start")))
		return xstrdup("on start");
	return xstrdup("manual");
}

static char *target_text(const json_t *action)
{
	const json_t *http = json_object_get(action, "http"),
		     *exec = json_object_get(action, "exec"), *sql = json_object_get(action, "sql");
	const json_t *command = json_object_get(exec, "command"), *word;
	struct buf out;
	char *text;
	size_t i;

	if (http)
		return xasprintf("%s %s", get_text(http, "method") ? get_text(http, "method") : "",
			get_text(http, "url"));
	if (sql)
		return xasprintf("%s: %s", get_text(sql, "database"), get_text(sql, "statement"));
	buf_init(&out, 1u << 20);
	if (json_is_string(command))
		buf_puts(&out, json_string_value(command));
	json_array_foreach(command, i, word)
		buf_printf(&out, "%s%s", i ? " " : "", json_string_value(word));
	text = buf_take(&out);
	buf_fini(&out);
	return text;
}

/* "active", or "active, failing, late". */
static void add_state(struct table *table, const json_t *action)
{
	auto_free char *text = xasprintf("%s%s%s", get_text(action, "state"),
		get_text(action, "failing_since") ? ", failing" : "",
		get_text(action, "late_since") ? ", late" : "");

	table_add(table, text);
}

static void add_schedule(struct table *table, const json_t *action)
{
	auto_free char *text = schedule_text(action);

	table_add(table, text);
}

static void add_target(struct table *table, const json_t *action)
{
	auto_free char *text = target_text(action);

	table_add(table, text);
}

static const struct column action_columns[] = {
	{"NAME", COLUMN_SHRINKS, "name"},
	{"STATE", COLUMN_PLAIN, .add = add_state},
	{"SCHEDULE", COLUMN_SHRINKS, .add = add_schedule},
	{"NEXT DUE", COLUMN_TIME, "next_due_at"},
	{"KIND", COLUMN_PLAIN, "kind"},
	{"TARGET", COLUMN_SHRINKS, .add = add_target},
};

static int fetch_actions(struct cli *cli, json_t **ret_items)
{
	static const char *const filters[] = {"name", "tag", "kind", "state"};
	struct buf path;
	int status;

	buf_init(&path, 4096);
	buf_puts(&path, ACTIONS_PATH);
	for (size_t i = 0; i < COUNT_OF(filters); i++)
		remote_query(&path, filters[i], cli_flag(cli, filters[i]));
	status = remote_list(
		cli, buf_text(&path), (size_t)cli_flag_int(cli, "limit", 0), ret_items, NULL);
	buf_fini(&path);
	return status;
}

static void print_items_take(json_t *items_take)
{
	json_t *answer = json_pack("{s:o}", "items", items_take);

	print_json(answer);
	json_decref(answer);
}

int cmd_action_list(struct cli *cli)
{
	json_t *items;
	int status = fetch_actions(cli, &items);

	if (status)
		return status;
	if (cli->is_json) {
		print_items_take(items);
		return 0;
	}
	if (json_array_size(items) == 0 && cli->is_terminal)
		(void)puts("no actions; `gathering action add --help` shows how to make one");
	else
		print_items(cli, action_columns, COUNT_OF(action_columns), items);
	json_decref(items);
	return 0;
}

static int fetch_action(struct cli *cli, const char *name, json_t **ret_action)
{
	auto_free char *path = action_path(name, "");

	return remote_call(cli, "GET", path, NULL, ret_action);
}

int cmd_action_show(struct cli *cli)
{
	json_t *action;
	int status = fetch_action(cli, cli->args[0], &action);

	if (status)
		return status;
	if (cli->is_json)
		print_json(action);
	else
		print_object(action, NULL);
	json_decref(action);
	return 0;
}

static int export_named(struct cli *cli, json_t *ret_items)
{
	for (size_t i = 0; i < cli->arg_count; i++) {
		json_t *action;
		int status = fetch_action(cli, cli->args[i], &action);

		if (status)
			return status;
		(void)json_array_append_new(ret_items, define_only(action));
		json_decref(action);
	}
	return 0;
}

static int export_all(struct cli *cli, json_t *ret_items)
{
	json_t *items, *item;
	int status = remote_list(cli, ACTIONS_PATH, 0, &items, NULL);
	size_t i;

	if (status)
		return status;
	json_array_foreach(items, i, item)(void)
		json_array_append_new(ret_items, define_only(item));
	json_decref(items);
	return 0;
}

int cmd_action_export(struct cli *cli)
{
	json_t *items = json_array();
	int status = cli->arg_count ? export_named(cli, items) : export_all(cli, items);

	if (status) {
		json_decref(items);
		return status;
	}
	if (cli->arg_count != 1) {
		print_items_take(items);
		return 0;
	}
	print_json(json_array_get(items, 0));
	json_decref(items);
	return 0;
}

/* --- edit --- */

static int send_edit(struct cli *cli, const char *method, const json_t *body, const char *if_match)
{
	auto_free char *path = action_path(cli->args[0], "");
	json_t *answer = NULL;
	int status = remote_call_if(cli, method, path, body, if_match, &answer);

	if (status)
		return status;
	tell_action(cli, "changed", answer);
	json_decref(answer);
	return 0;
}

static int edit_file(struct cli *cli, const char *file)
{
	struct err err = {0};
	json_t *json;
	int status;

	if (define_is_asked(cli))
		return cli_usage(cli, "either --file or flags that describe the change");
	if (read_json_file(file, &json, &err))
		return cli_fail(&err);
	status = send_edit(cli, "PUT", json, NULL);
	json_decref(json);
	return status;
}

static int edit_in_editor(struct cli *cli)
{
	auto_free char *path = NULL, *version = NULL;
	json_t *action, *definition, *edited = NULL;
	struct err err = {0};
	int status = fetch_action(cli, cli->args[0], &action);

	if (status)
		return status;
	version = xasprintf("\"%lld\"", (long long)get_number(action, "version", 0));
	definition = define_only(action);
	json_decref(action);
	if (edit_json(definition, &edited, &path, &err))
		status = cli_fail(&err);
	else if (!edited)
		(void)fputs("nothing was changed\n", stderr);
	else
		status = send_edit(cli, "PUT", edited, version);
	if (path && status)
		(void)fprintf(stderr, "what you wrote is kept in %s\n", path);
	else if (path)
		(void)unlink(path);
	json_decref(definition);
	json_decref(edited);
	return status;
}

int cmd_action_edit(struct cli *cli)
{
	const char *file = cli_flag(cli, "file");
	struct err err = {0};
	json_t *patch;
	int status;

	if (file)
		return edit_file(cli, file);
	if (!define_is_asked(cli) && isatty(STDIN_FILENO) && cli->is_terminal)
		return edit_in_editor(cli);
	if (!define_is_asked(cli))
		return cli_usage(cli, "what shall be changed? flags, or --file FILE");
	if (define_from_flags(cli, DEFINE_PATCH, &patch, &err))
		return cli_usage(cli, "%s", err.text);
	status = send_edit(cli, "PATCH", patch, NULL);
	json_decref(patch);
	return status;
}

/* --- pause, resume, delete --- */

/* Does the same to every action named; goes on after a failure and returns the first. */
static int for_each_action(struct cli *cli, const char *method, const char *after, const char *done)
{
	int first = 0;

	for (size_t i = 0; i < cli->arg_count; i++) {
		auto_free char *path = action_path(cli->args[i], after);
		json_t *answer = NULL;
		int status = remote_call(cli, method, path, NULL, &answer);

		if (!status && json_is_object(answer))
			tell_action(cli, done, answer);
		else if (!status && !cli->is_json)
			(void)printf("%s %s\n", done, cli->args[i]);
		json_decref(answer);
		first = first ? first : status;
	}
	return first;
}

int cmd_action_pause(struct cli *cli)
{
	return for_each_action(cli, "POST", "/pause", "paused");
}

int cmd_action_resume(struct cli *cli)
{
	return for_each_action(cli, "POST", "/resume", "resumed");
}

int cmd_action_delete(struct cli *cli)
{
	return for_each_action(cli, "DELETE", "", "deleted");
}

/* --- run --- */

#define WAIT_PRESET_MS 3600000

int cmd_action_run(struct cli *cli)
{
	auto_free char *path = action_path(cli->args[0], "/run");
	int64_t timeout_ms = cli_flag_duration(cli, "wait-timeout", WAIT_PRESET_MS);
	json_t *run;
	int status = remote_call(cli, "POST", path, NULL, &run);

	if (status)
		return status;
	if (cli_has(cli, "wait"))
		status = wait_for_run(cli, get_text(run, "id"), timeout_ms);
	else if (cli->is_json)
		print_json(run);
	else if (run_is(run, RUN_SKIPPED))
		tell_run_end(run);
	else
		(void)printf("run %s is %s; `gathering run logs %s` prints its output\n",
			get_text(run, "id"), get_text(run, "state"), get_text(run, "id"));
	if (status == 0 && run_is(run, RUN_SKIPPED)) /* by overlap: it will never run */
		status = 1;
	json_decref(run);
	return status;
}
