/* SPDX-License-Identifier: Apache-2.0
 *
 * The way of a command: argv -> parse.c with the tables of commands.c -> the command's function ->
 * exit status. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli_priv.h"
#include "cli/client.h"

void cli_fini(struct cli *cli)
{
	client_destroy(cli->client);
	free(cli->given);
	free(cli->args);
	*cli = (struct cli){0};
}

static int show_help(const struct cli *cli)
{
	struct buf out;

	buf_init(&out, 1u << 20);
	if (cli->command)
		help_write_command(cli->command, &out, cli->width);
	else
		help_write_overview(&out, cli->width);
	(void)fputs(buf_text(&out), stdout);
	buf_fini(&out);
	return 0;
}

/* A full disk or a closed pipe behind standard output must not look like success. */
static int finish_output(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	perror("gathering: writing the output");
	return status ? status : 1;
}

static int run_command(struct cli *cli)
{
	if (!cli->command->run)
		return cli_usage(cli, "%s must be the first word", cli->command->name);
	return cli->command->run(cli);
}

int cli_main(int argc, char *const *argv)
{
	struct cli cli;
	struct err err = {0};
	bool wants_help;
	int status;

	if (cli_parse(argc, argv, &cli, &wants_help, &err))
		status = cli_usage(&cli, "%s", err.text);
	else if (wants_help)
		status = show_help(&cli);
	else
		status = run_command(&cli);
	cli_fini(&cli);
	return finish_output(status);
}
