/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands about the server itself: version, configuration, health, instances. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/cli_priv.h"
#include "conf/conf.h"
#include "model/model.h"

#define CONF_TEXT_MAX (1u << 20)

int cmd_version(struct cli *cli)
{
	if (cli->is_json)
		(void)puts("{\"version\": \"" GATHERING_VERSION "\"}");
	else
		(void)puts("gathering " GATHERING_VERSION);
	return 0;
}

int cmd_check_config(struct cli *cli)
{
	char **argv = xcalloc(cli->arg_count + 2, sizeof(*argv));
	struct run_limit limits[RUN_LIMITS_MAX];
	struct conf conf = {0};
	struct err err = {0};
	struct buf out;
	size_t count;
	int code;

	argv[0] = (char *)"check-config";
	memcpy(argv + 1, cli->args, cli->arg_count * sizeof(*argv));
	code = conf_load((int)cli->arg_count + 1, argv, &conf, &err);
	free(argv);
	if (code)
		return cli_fail(&err);
	if (run_limits_parse(conf.limits, limits, &count, &err) < 0) {
		conf_fini(&conf);
		return cli_fail(&err);
	}
	run_limits_fini(limits, count);
	buf_init(&out, CONF_TEXT_MAX);
	conf_write_effective(&conf, &out);
	(void)fputs(buf_text(&out), stdout);
	buf_fini(&out);
	conf_fini(&conf);
	return 0;
}

/* --- status --- */

static void add_detail(struct table *table, const json_t *check)
{
	const char *detail = get_text(check, "detail");

	table_add(table, detail ? detail : get_text(check, "message"));
}

static const struct column check_columns[] = {
	{"CHECK", COLUMN_PLAIN, "name"},
	{"STATUS", COLUMN_PLAIN, "status"},
	{"DETAIL", COLUMN_SHRINKS, .add = add_detail},
};

int cmd_status(struct cli *cli)
{
	json_t *health = NULL, *checks = NULL;
	const char *overall;
	int status = remote_call(cli, "GET", "/health", NULL, &health);

	if (!status)
		status = remote_call(cli, "GET", "/health/checks", NULL, &checks);
	if (status) {
		json_decref(health);
		return status;
	}
	overall = get_text(checks, "overall_status");
	status = overall && strcmp(overall, "critical") == 0;
	if (cli->is_json) {
		json_t *both = json_pack("{s:O, s:O}", "health", health, "checks", checks);

		print_json(both);
		json_decref(both);
	} else {
		print_object(health, NULL);
		(void)putchar('\n');
		print_items(cli, check_columns, COUNT_OF(check_columns),
			json_object_get(checks, "checks"));
	}
	json_decref(health);
	json_decref(checks);
	return status;
}

/* --- instances --- */

static const struct column instance_columns[] = {
	{"ID", COLUMN_PLAIN, "id"},
	{"STATE", COLUMN_PLAIN, "state"},
	{"STARTED", COLUMN_TIME, "started_at"},
	{"HEARTBEAT", COLUMN_TIME, "heartbeat_at"},
	{"RUNS", COLUMN_RIGHT, "runs_running"},
	{"VERSION", COLUMN_PLAIN, "version"},
	{"PID", COLUMN_RIGHT, "pid"},
	{"HOST", COLUMN_SHRINKS, "host"},
};

int cmd_instance_list(struct cli *cli)
{
	json_t *answer;
	int status = remote_call(cli, "GET", "/api/v1/instances", NULL, &answer);

	if (status)
		return status;
	if (cli->is_json)
		print_json(answer);
	else
		print_items(cli, instance_columns, COUNT_OF(instance_columns),
			json_object_get(answer, "items"));
	json_decref(answer);
	return 0;
}

#define DRAINING "draining: not ready, takes no new work"

static int change_instance(struct cli *cli, const char *verb, const char *done)
{
	const char *name = cli->arg_count ? cli->args[0] : "self";
	auto_free char *after = xasprintf("/%s", verb);
	auto_free char *path = remote_path("/api/v1/instances/", name, after);
	json_t *answer = NULL;
	int status = remote_call(cli, "POST", path, NULL, &answer);

	if (status)
		return status;
	if (cli->is_json)
		print_json(answer);
	else
		(void)printf("%s: %s\n", get_text(answer, "id") ? get_text(answer, "id") : name,
			get_text(answer, "asked_to")
				? "asked through the database; it answers within "
				  "a second, see `gathering instance list`"
				: done);
	json_decref(answer);
	return 0;
}

int cmd_instance_drain(struct cli *cli)
{
	json_t *health = NULL;
	int status = 0;

	if (!cli_has(cli, "wait"))
		return change_instance(cli, "drain", DRAINING);
	status = remote_call(cli, "GET", "/health", NULL, &health);
	if (status)
		return status;
	if (!json_is_true(json_object_get(json_object_get(health, "shutdown"), "is_stop")))
		status = change_instance(cli, "drain", DRAINING);
	else if (!cli->is_json)
		(void)puts("stopping already");
	(void)fflush(stdout); /* whoever reads it need not wait for the end */
	json_decref(health);
	return status ? status : cli_wait_drained(cli, cli_flag_duration(cli, "timeout", -1));
}

int cmd_instance_undrain(struct cli *cli)
{
	return change_instance(cli, "undrain", "ready");
}
