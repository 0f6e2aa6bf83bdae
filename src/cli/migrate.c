/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands that work on the database without a server: its schema, and the move from a file to a
 * server. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_priv.h"
#include "conf/conf.h"
#include "store/store.h"

struct migration_list {
	json_t *names;
	bool is_json;
	const char *verb;
};

static void on_migration(const char *name, void *data)
{
	struct migration_list *list = data;

	(void)json_array_append_new(list->names, json_string(name));
	if (!list->is_json)
		(void)printf("%s %s\n", list->verb, name);
}

/* The database `gathering serve` would use, with the flags of this command on top. */
static int load_conf(const struct cli *cli, struct conf *ret_conf, struct err *err)
{
	static const char *const names[] = {"database", "config"};
	static const char *const options[] = {"--database", "--config"};
	char *argv[2 * COUNT_OF(names) + 2] = {(char *)"migrate"};
	int argc = 1;

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		const char *value = cli_flag(cli, names[i]);

		if (value) {
			argv[argc++] = (char *)options[i];
			argv[argc++] = (char *)value;
		}
	}
	return conf_load(argc, argv, ret_conf, err);
}

static int update_schema(struct cli *cli)
{
	bool is_dry = cli_has(cli, "dry-run");
	struct migration_list list = {
		.is_json = cli->is_json, .verb = is_dry ? "would apply" : "applied"};
	struct conf conf = {0};
	struct err err = {0};
	int code = load_conf(cli, &conf, &err);

	if (code)
		return cli_fail(&err);
	list.names = json_array();
	code = store_migrate(conf.database, is_dry ? STORE_MIGRATE_DRY_RUN : STORE_MIGRATE_APPLY,
		on_migration, &list, &err);
	if (!code && cli->is_json) {
		json_t *answer = json_pack("{s:s, s:b, s:O}", "database", conf.database, "dry_run",
			(int)is_dry, "migrations", list.names);

		print_json(answer);
		json_decref(answer);
	} else if (!code && json_array_size(list.names) == 0) {
		(void)printf("%s is up to date\n", conf.database);
	}
	json_decref(list.names);
	conf_fini(&conf);
	return code ? cli_fail(&err) : 0;
}

/* --- from a file to a server --- */

struct moving {
	json_t *rows; /* of each table */
	bool is_json, is_terminal, is_dry;
};

/* One line a table; on a terminal it grows in its place. */
static void on_progress(const char *table, int64_t done, int64_t total, void *data)
{
	struct moving *moving = data;
	bool is_end = moving->is_dry || done == total;

	if (is_end)
		json_object_set_new(moving->rows, table, json_integer(total));
	if (moving->is_json || (!is_end && !moving->is_terminal))
		return;
	if (moving->is_dry)
		(void)printf("%-16s %lld rows to copy\n", table, (long long)total);
	else
		(void)printf("%s%-16s %lld of %lld rows%s", moving->is_terminal ? "\r" : "", table,
			(long long)done, (long long)total, is_end ? "\n" : "");
	(void)fflush(stdout);
}

static int move_database(struct cli *cli)
{
	struct moving moving = {.rows = json_object(),
		.is_json = cli->is_json,
		.is_terminal = cli->is_terminal,
		.is_dry = cli_has(cli, "dry-run")};
	struct store_move move = {.from = cli_flag(cli, "from"),
		.to = cli_flag(cli, "to"),
		.dry_run = moving.is_dry,
		.progress = on_progress,
		.data = &moving};
	struct err err = {0};
	int code = store_move(&move, &err);

	if (!code && cli->is_json) {
		json_t *answer = json_pack("{s:s, s:b, s:O}", "from", move.from, "dry_run",
			(int)move.dry_run, "rows", moving.rows);

		print_json(answer);
		json_decref(answer);
	} else if (!code && !move.dry_run) {
		(void)printf("moved %lld rows; start the servers with that database from now on\n",
			(long long)move.ret_rows);
	}
	json_decref(moving.rows);
	return code ? cli_fail(&err) : 0;
}

static int take_back(const struct cli *cli)
{
	const char *url = cli_flag(cli, "database");
	struct err err = {0};

	if (!url)
		(void)err_set(&err, ERR_INVALID, "which file? --database sqlite:PATH --take-back");
	else if (store_take_back(url, &err) == 0)
		(void)printf("%s can be used again, as it was when it was moved\n", url);
	return err.code ? cli_fail(&err) : 0;
}

int cmd_migrate(struct cli *cli)
{
	struct err err = {0};

	if (cli_has(cli, "take-back"))
		return take_back(cli);
	if (!cli_flag(cli, "from") && !cli_flag(cli, "to"))
		return update_schema(cli);
	if (cli_flag(cli, "from") && cli_flag(cli, "to"))
		return move_database(cli);
	(void)err_set(&err, ERR_INVALID,
		"to move a database give both: --from sqlite:PATH --to "
		"postgresql://HOST/NAME");
	return cli_fail(&err);
}
