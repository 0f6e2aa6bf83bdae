/* SPDX-License-Identifier: Apache-2.0
 *
 * `gathering backfill ...`: the past, on purpose. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli_priv.h"

#define PATH         "/api/v1/backfills"
#define LIST_PRESET  20
#define ASK_EVERY_MS 1000

static char *backfill_path(const char *id, const char *after)
{
	return remote_path(PATH "/", id, after);
}

static const char *preset_text(const char *text, const char *preset)
{
	return text ? text : preset;
}

static long long number(const json_t *json, const char *key)
{
	return (long long)get_number(json, key, 0);
}

/* --- begin, preview --- */

static void put_time(json_t *body, const struct cli *cli, const char *flag)
{
	char text[RFC3339_TEXT_SIZE];
	int64_t at_ms = cli_flag_time(cli, flag, clock_wall_ms(), NO_TIME);

	if (at_ms != NO_TIME)
		json_object_set_new(body, flag, json_string(format_rfc3339(at_ms, text)));
}

static json_t *make_body(const struct cli *cli)
{
	json_t *body = json_object();

	put_time(body, cli, "from");
	put_time(body, cli, "to");
	if (cli_has(cli, "rate"))
		json_object_set_new(body, "rate", json_string(cli_flag(cli, "rate")));
	if (cli_has(cli, "rerun"))
		json_object_set_new(body, "rerun", json_string(cli_flag(cli, "rerun")));
	if (cli_has(cli, "max-running"))
		json_object_set_new(
			body, "max_running", json_integer(cli_flag_int(cli, "max-running", 0)));
	if (cli_has(cli, "dry-run"))
		json_object_set_new(body, "dry_run", json_true());
	return body;
}

static void print_preview(const json_t *preview)
{
	const json_t *items = json_object_get(preview, "items"), *item;
	size_t i;

	json_array_foreach(items, i, item)
	{
		const char *note = get_text(item, "note");

		(void)printf("%s%s%s\n", get_text(item, "local"), note ? "  " : "",
			preset_text(note, ""));
	}
	if ((size_t)number(preview, "total") + (size_t)number(preview, "blacked_out") > i)
		(void)puts("...");
	(void)printf("%lld due times", number(preview, "total"));
	if (number(preview, "total") > 0)
		(void)printf(", from %s to %s", get_text(preview, "first_due_at"),
			get_text(preview, "last_due_at"));
	if (number(preview, "blacked_out") > 0)
		(void)printf("; %lld more lie in blackouts", number(preview, "blacked_out"));
	(void)puts("");
}

static void print_progress(const json_t *backfill)
{
	(void)printf("%s  %s  %s: %lld of %lld due times done, %lld of them had run before; "
		     "%lld failed%s\n",
		get_text(backfill, "id"), get_text(backfill, "action"), get_text(backfill, "state"),
		number(backfill, "done"), number(backfill, "total"), number(backfill, "passed"),
		number(backfill, "failed"),
		json_is_true(json_object_get(backfill, "action_paused"))
			? "; waits, as the action is paused"
			: "");
}

/* On a terminal one line that changes. */
static void show_progress(const json_t *backfill)
{
	if (!isatty(STDERR_FILENO))
		return;
	(void)fprintf(stderr, "\r\033[K%lld of %lld, %lld failed", number(backfill, "done"),
		number(backfill, "total"), number(backfill, "failed"));
	(void)fflush(stderr);
}

static bool is_over(const json_t *backfill)
{
	return strcmp(preset_text(get_text(backfill, "state"), "running"), "running") != 0;
}

/* Until it is over; *backfill becomes what it is then. */
static int wait_for(struct cli *cli, json_t **backfill)
{
	auto_free char *path = backfill_path(get_text(*backfill, "id"), "");
	int status = 0;

	while (status == 0 && !is_over(*backfill)) {
		json_t *now = NULL;

		(void)poll(NULL, 0, ASK_EVERY_MS);
		status = remote_call(cli, "GET", path, NULL, &now);
		if (status != 0)
			break;
		json_decref(*backfill);
		*backfill = now;
		show_progress(now);
	}
	if (isatty(STDERR_FILENO))
		(void)fputs("\r\033[K", stderr);
	return status;
}

/* 1 unless all of it went well. */
static int exit_status(const json_t *backfill)
{
	bool is_done = strcmp(preset_text(get_text(backfill, "state"), ""), "done") == 0;

	return is_done && number(backfill, "failed") == 0 ? 0 : 1;
}

int cmd_backfill(struct cli *cli)
{
	auto_free char *path = remote_path("/api/v1/actions/", cli->args[0], "/backfill");
	json_t *body = make_body(cli), *answer = NULL;
	int status;

	if (!json_object_get(body, "from") || !json_object_get(body, "to")) {
		json_decref(body);
		return cli_usage(cli, "--from and --to are needed");
	}
	status = remote_call(cli, "POST", path, body, &answer);
	json_decref(body);
	if (status)
		return status;
	if (cli_has(cli, "wait") && !cli_has(cli, "dry-run")) {
		status = wait_for(cli, &answer);
		if (status == 0)
			status = exit_status(answer);
	}
	if (cli->is_json)
		print_json(answer);
	else if (cli_has(cli, "dry-run"))
		print_preview(answer);
	else
		print_progress(answer);
	json_decref(answer);
	return status;
}

/* --- list, show, cancel --- */

static const struct column backfill_columns[] = {
	{"BACKFILL", COLUMN_PLAIN, "id"},
	{"ACTION", COLUMN_SHRINKS, "action"},
	{"STATE", COLUMN_PLAIN, "state"},
	{"FROM", COLUMN_PLAIN, "from"},
	{"TO", COLUMN_PLAIN, "to"},
	{"DONE", COLUMN_RIGHT, "done"},
	{"TOTAL", COLUMN_RIGHT, "total"},
	{"FAILED", COLUMN_RIGHT, "failed"},
};

int cmd_backfill_list(struct cli *cli)
{
	struct buf path;
	json_t *items;
	int status;

	buf_init(&path, 4096);
	buf_puts(&path, PATH);
	remote_query(&path, "action", cli_flag(cli, "action"));
	remote_query(&path, "running", cli_has(cli, "running") ? "true" : NULL);
	status = remote_list(cli, buf_text(&path), (size_t)cli_flag_int(cli, "limit", LIST_PRESET),
		&items, NULL);
	buf_fini(&path);
	if (status)
		return status;
	if (cli->is_json)
		print_json(items);
	else
		print_items(cli, backfill_columns, COUNT_OF(backfill_columns), items);
	json_decref(items);
	return 0;
}

static int call_one(struct cli *cli, const char *method, const char *path)
{
	json_t *backfill = NULL;
	int status = remote_call(cli, method, path, NULL, &backfill);

	if (status)
		return status;
	if (cli->is_json)
		print_json(backfill);
	else
		print_progress(backfill);
	json_decref(backfill);
	return 0;
}

int cmd_backfill_show(struct cli *cli)
{
	auto_free char *path = backfill_path(cli->args[0], "");

	return call_one(cli, "GET", path);
}

int cmd_backfill_cancel(struct cli *cli)
{
	auto_free char *path = backfill_path(cli->args[0], "/cancel");

	return call_one(cli, "POST", path);
}
