/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands about secrets. A value is read from standard input only: what stands on a command line
 * can be seen by every user of the machine and stays in the history of the shell. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cli_priv.h"
#include "cli/files.h"
#include "model/model.h"
#include "vault/vault.h"

int cmd_secret_keygen(struct cli *cli)
{
	struct buf out;

	buf_init(&out, 256);
	vault_write_key(&out);
	(void)fputs(buf_text(&out), stdout);
	explicit_bzero(out.data, out.size);
	buf_fini(&out);
	return 0;
}

static const struct column secret_columns[] = {
	{"NAME", COLUMN_SHRINKS, "name"},
	{"CREATED", COLUMN_TIME, "created_at"},
	{"UPDATED", COLUMN_TIME, "updated_at"},
};

int cmd_secret_list(struct cli *cli)
{
	json_t *answer;
	int status = remote_call(cli, "GET", "/api/v1/secrets", NULL, &answer);

	if (status)
		return status;
	if (cli->is_json) {
		print_json(answer);
		json_decref(answer);
		return 0;
	}
	print_items(
		cli, secret_columns, COUNT_OF(secret_columns), json_object_get(answer, "items"));
	json_decref(answer);
	return 0;
}

/* At a terminal the value is asked for and not shown. One line break at the end is the terminal's,
 * or echo's. */
static int read_value(char **ret_value, struct err *err)
{
	bool is_terminal = isatty(STDIN_FILENO) == 1;
	struct termios before, silent;
	size_t len;
	int code;

	if (is_terminal && tcgetattr(STDIN_FILENO, &before) == 0) {
		silent = before;
		silent.c_lflag &= ~(tcflag_t)ECHO;
		(void)fputs("value (not shown; end with ctrl-D on a line of its own): ", stderr);
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
	}
	code = read_file("-", SECRET_VALUE_MAX + 1, ret_value, &len, err);
	if (is_terminal) {
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
		(void)fputc('\n', stderr);
	}
	if (code == 0 && len > 0 && (*ret_value)[len - 1] == '\n')
		(*ret_value)[len - 1] = '\0';
	return code;
}

int cmd_secret_set(struct cli *cli)
{
	auto_free char *path = remote_path("/api/v1/secrets/", cli->args[0], "");
	char *value = NULL;
	struct err err = {0};
	json_t *body;
	int status;

	if (read_value(&value, &err))
		return cli_fail(&err);
	body = json_pack("{s:s}", "value", value);
	explicit_bzero(value, strlen(value));
	free(value);
	if (!body) {
		(void)err_set(&err, ERR_INVALID, "the value is not UTF-8");
		return cli_fail(&err);
	}
	status = remote_call(cli, "PUT", path, body, NULL);
	json_decref(body);
	if (!status && !cli->is_json)
		(void)printf("%s: set\n", cli->args[0]);
	return status;
}

int cmd_secret_delete(struct cli *cli)
{
	int worst = 0;

	for (size_t i = 0; i < cli->arg_count; i++) {
		auto_free char *path = remote_path("/api/v1/secrets/", cli->args[i], "");
		int status = remote_call(cli, "DELETE", path, NULL, NULL);

		if (!status && !cli->is_json)
			(void)printf("%s: deleted\n", cli->args[i]);
		worst = status ? status : worst;
	}
	return worst;
}
