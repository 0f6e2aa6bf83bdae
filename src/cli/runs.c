/* SPDX-License-Identifier: Apache-2.0
 *
 * `gathering run ...`, and waiting for a run. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli_priv.h"
#include "model/model.h"

#define RUNS_PATH     "/api/v1/runs"
#define RUNS_PRESET   20
#define POLL_FIRST_MS 50
#define POLL_LAST_MS  2000
#define PROBLEM_MAX   65536

static char *run_path(const char *id, const char *after)
{
	return remote_path(RUNS_PATH "/", id, after);
}

bool run_is(const json_t *run, enum run_state state)
{
	const char *text = get_text(run, "state");

	return text && strcmp(text, run_state_names[state]) == 0;
}

/* --- list, show --- */

/* Of what ended by itself "exit 1", "HTTP 200"; else why it did not, rather than the signal that
 * ended its program. */
static bool has_own_result(const json_t *run)
{
	return !get_text(run, "reason") || run_is(run, RUN_SUCCEEDED) || run_is(run, RUN_FAILED);
}

static void add_result(struct table *table, const json_t *run)
{
	const json_t *percent = json_object_get(json_object_get(run, "progress"), "percent");
	const json_t *status = json_object_get(run, "http_status");
	const json_t *exit_code = json_object_get(run, "exit_code");
	bool is_own = has_own_result(run);

	if (run_is(run, RUN_RUNNING) && json_is_integer(percent))
		table_printf(table, "%lld %%", (long long)json_integer_value(percent));
	else if (is_own && json_is_integer(status))
		table_printf(table, "HTTP %lld", (long long)json_integer_value(status));
	else if (is_own && json_is_integer(exit_code))
		table_printf(table, "exit %lld", (long long)json_integer_value(exit_code));
	else
		table_add(table, get_text(run, "reason"));
}

static void add_duration(struct table *table, const json_t *run)
{
	char text[DURATION_TEXT_SIZE];
	int64_t took_ms = get_number(run, "duration_ms", -1);

	table_add(table, took_ms < 0 ? NULL : format_duration(took_ms, text));
}

static const struct column run_columns[] = {
	{"RUN", COLUMN_PLAIN, "id"},
	{"ACTION", COLUMN_SHRINKS, "action"},
	{"STATE", COLUMN_PLAIN, "state"},
	{"RESULT", COLUMN_PLAIN, .add = add_result},
	{"TRIGGER", COLUMN_PLAIN, "trigger"},
	{"DUE", COLUMN_TIME, "due_at"},
	{"TOOK", COLUMN_RIGHT, .add = add_duration},
	{"ERROR", COLUMN_SHRINKS, "error"},
};

static void add_time_query(const struct cli *cli, struct buf *path, const char *flag)
{
	int64_t at_ms = cli_flag_time(cli, flag, clock_wall_ms(), NO_TIME);
	char text[RFC3339_TEXT_SIZE];

	if (at_ms != NO_TIME)
		remote_query(path, flag, format_rfc3339(at_ms, text));
}

static int fetch_runs(struct cli *cli, json_t **ret_items, bool *ret_has_more)
{
	static const char *const filters[] = {"action", "state", "trigger"};
	struct buf path;
	int status;

	buf_init(&path, 4096);
	buf_puts(&path, RUNS_PATH);
	for (size_t i = 0; i < COUNT_OF(filters); i++)
		remote_query(&path, filters[i], cli_flag(cli, filters[i]));
	add_time_query(cli, &path, "since");
	add_time_query(cli, &path, "until");
	status = remote_list(cli, buf_text(&path), (size_t)cli_flag_int(cli, "limit", RUNS_PRESET),
		ret_items, ret_has_more);
	buf_fini(&path);
	return status;
}

int cmd_run_list(struct cli *cli)
{
	bool has_more;
	json_t *items;
	int status = fetch_runs(cli, &items, &has_more);

	if (status)
		return status;
	if (cli->is_json) {
		json_t *answer = json_pack("{s:O}", "items", items);

		print_json(answer);
		json_decref(answer);
	} else {
		print_items(cli, run_columns, COUNT_OF(run_columns), items);
	}
	if (has_more && cli->is_terminal)
		(void)fprintf(stderr, "there are more: --limit N, --since TIME\n");
	json_decref(items);
	return 0;
}

int cmd_run_show(struct cli *cli)
{
	auto_free char *path = run_path(cli->args[0], "");
	json_t *run;
	int status = remote_call(cli, "GET", path, NULL, &run);

	if (status)
		return status;
	if (cli->is_json)
		print_json(run);
	else
		print_object(run, NULL);
	json_decref(run);
	return 0;
}

/* --- what is done to runs --- */

struct deed {
	const char *after;   /* of the path */
	const char *is_done; /* what to say then */
	const char *begins;  /* and when the run is running, so its owner is still at it */
};

static void tell_deed(const struct deed *deed, const char *id, const json_t *run)
{
	const char *new_id = get_text(run, "id");

	if (run_is(run, RUN_RUNNING) && deed->begins)
		(void)printf("run %s: %s\n", id, deed->begins);
	else if (new_id && strcmp(new_id, id) != 0)
		(void)printf("run %s: repeated as %s\n", id, new_id);
	else
		(void)printf("run %s: %s\n", id, deed->is_done);
}

static int do_to_run(struct cli *cli, const struct deed *deed, const char *id)
{
	auto_free char *path = run_path(id, deed->after);
	json_t *run = NULL;
	struct buf problem;
	int status;

	buf_init(&problem, PROBLEM_MAX);
	status = remote_try(cli, "POST", path, NULL, &run, &problem);
	if (status)
		(void)fprintf(stderr, "gathering: run %s: %s\n", id, buf_text(&problem));
	else if (cli->is_json)
		print_json(run);
	else
		tell_deed(deed, id, run);
	buf_fini(&problem);
	json_decref(run);
	return status;
}

static int do_to_runs(struct cli *cli, const struct deed *deed)
{
	int first = 0;

	for (size_t i = 0; i < cli->arg_count; i++) {
		int status = do_to_run(cli, deed, cli->args[i]);

		first = first ? first : status;
	}
	return first;
}

int cmd_run_cancel(struct cli *cli)
{
	return do_to_runs(cli, &(struct deed){"/cancel", "cancelled", "is being ended"});
}

int cmd_run_pause(struct cli *cli)
{
	return do_to_runs(cli, &(struct deed){"/pause", "held", "is being ended, then held"});
}

int cmd_run_resume(struct cli *cli)
{
	return do_to_runs(cli, &(struct deed){"/resume", "pending", NULL});
}

/* Another run, unless it was held. */
int cmd_run_retry(struct cli *cli)
{
	return do_to_runs(cli, &(struct deed){"/retry", "pending", NULL});
}

/* --- logs --- */

int print_run_output(struct cli *cli, const char *run_id, int64_t attempt)
{
	auto_free char *path = run_path(run_id, "/output"), *bytes = NULL;
	struct buf full;
	char number[24];
	size_t len;
	int status;

	buf_init(&full, 4096);
	buf_puts(&full, path);
	(void)snprintf(number, sizeof(number), "%lld", (long long)attempt);
	remote_query(&full, "attempt", attempt > 0 ? number : NULL);
	status = remote_bytes(cli, buf_text(&full), &bytes, &len);
	if (!status)
		print_output(cli, bytes, len);
	buf_fini(&full);
	return status;
}

/* The id of the newest run of an action that was started at all, or (follows) is going to be;
 * owned, NULL after telling why not. */
static char *latest_run(struct cli *cli, const char *action, bool follows, int *ret_status)
{
	auto_free char *path = remote_path("/api/v1/actions/", action, "/runs");
	struct buf full;
	json_t *items;
	char *id;

	buf_init(&full, 4096);
	buf_puts(&full, path);
	for (int state = 0; state < RUN_STATE_COUNT; state++)
		if (state != RUN_SKIPPED && (state != RUN_PENDING || follows))
			remote_query(&full, "state", run_state_names[state]);
	*ret_status = remote_list(cli, buf_text(&full), 1, &items, NULL);
	buf_fini(&full);
	if (*ret_status)
		return NULL;
	id = xstrdup(get_text(json_array_get(items, 0), "id"));
	json_decref(items);
	if (!id) {
		(void)fprintf(stderr, "gathering: no run of '%s' has been started yet\n", action);
		*ret_status = 3;
	}
	return id;
}

int cmd_run_logs(struct cli *cli)
{
	int64_t attempt = cli_flag_int(cli, "attempt", 0);
	bool follows = cli_has(cli, "follow");
	const char *run_id = cli->args[0];
	auto_free char *latest = NULL;
	struct id id;
	int status = 0;

	if (!id_parse(run_id, &id)) {
		latest = latest_run(cli, run_id, follows, &status);
		if (!latest)
			return status;
		run_id = latest;
	}
	return follows ? follow_run(cli, run_id, attempt) : print_run_output(cli, run_id, attempt);
}

/* --- waiting --- */

static bool is_over(const json_t *run)
{
	int state = name_index(run_state_names, get_text(run, "state"));

	/* -1: a state of a newer server; do not wait for ever */
	return state < 0 || state == RUN_HELD || run_state_is_final((enum run_state)state);
}

/* Asks at growing intervals until the run is over; NULL after telling why not. */
static json_t *await_run(struct cli *cli, const char *path, int64_t timeout_ms, int *ret_status)
{
	int64_t deadline_mono_ms = clock_mono_ms() + timeout_ms, pause_ms = POLL_FIRST_MS, left_ms;

	for (;;) {
		json_t *run;

		*ret_status = remote_call(cli, "GET", path, NULL, &run);
		if (*ret_status)
			return NULL;
		if (is_over(run))
			return run;
		json_decref(run);
		left_ms = deadline_mono_ms - clock_mono_ms();
		if (left_ms <= 0)
			break;
		(void)poll(NULL, 0, (int)(pause_ms < left_ms ? pause_ms : left_ms));
		pause_ms = pause_ms * 3 / 2 < POLL_LAST_MS ? pause_ms * 3 / 2 : POLL_LAST_MS;
	}
	(void)fputs("gathering: the run goes on, but the time to wait is over (--wait-timeout)\n",
		stderr);
	*ret_status = 3;
	return NULL;
}

void tell_run_end(const json_t *run)
{
	const char *error = get_text(run, "error"), *reason = get_text(run, "reason");
	char took[DURATION_TEXT_SIZE];
	struct buf line;

	buf_init(&line, 8192);
	buf_printf(&line, "run %s %s", get_text(run, "id"), get_text(run, "state"));
	if (get_number(run, "duration_ms", -1) >= 0)
		buf_printf(
			&line, " in %s", format_duration(get_number(run, "duration_ms", 0), took));
	if (error || reason) {
		buf_puts(&line, ": ");
		append_safe(&line, error ? error : reason);
	}
	(void)fprintf(stderr, "%s\n", buf_text(&line));
	buf_fini(&line);
}

int wait_for_run(struct cli *cli, const char *run_id, int64_t timeout_ms)
{
	auto_free char *path = run_path(run_id, "");
	int status;
	json_t *run = await_run(cli, path, timeout_ms, &status);

	if (!run)
		return status;
	if (cli->is_json)
		print_json(run);
	else if (get_number(run, "output_bytes", 0) > 0)
		status = print_run_output(cli, run_id, 0);
	(void)fflush(stdout);
	if (!cli->is_json)
		tell_run_end(run);
	if (!run_is(run, RUN_SUCCEEDED))
		status = 1;
	json_decref(run);
	return status;
}
