/* SPDX-License-Identifier: Apache-2.0
 *
 * gathering: cron that survives crashes and deploys. The map of the program, as it runs:
 *
 *   main.c           which command
 *     cli/           every command but `serve`: a client of the HTTP interface, and what needs no server
 *     conf/          options.def: file, environment, flags
 *   server.c         `serve`: the table of parts; the only file that knows all modules
 *     life/          walks that table: start forward, drain and stop backward
 *     http/          requests in, answers out (libmicrohttpd behind a strict gate)
 *     api/           routes.def: what a request means; health
 *     store/         every durable fact; SQLite or memory behind one asynchronous contract
 *     sched/         look, wake, claim, start, record
 *     exec/          one attempt: a webhook or a program
 *   model/           action, run, result: their JSON, the run's state table
 *   plan/            when things are due: pure
 *   base/            leaf tools: errors, memory, text, clocks, ids, log lines, metrics
 *
 * ARCHITECTURE.md follows a request, a due time and a lifetime through these. */
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "base/buf.h"
#include "cli/cli.h"
#include "conf/conf.h"
#include "server.h"

#define DOC_MAX (1024 * 1024)

/* `gathering gen-docs config|api`: the generated parts of doc/, for tools/gen-docs. */
static int gen_docs(const char *what)
{
	struct buf out;

	buf_init(&out, DOC_MAX);
	if (strcmp(what, "config") == 0)
		conf_write_markdown(&out);
	else if (strcmp(what, "api") == 0)
		api_write_markdown(&out);
	fputs(buf_text(&out), stdout);
	buf_fini(&out);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "serve") == 0)
		return server_run(argc - 1, argv + 1);
	if (argc > 2 && strcmp(argv[1], "gen-docs") == 0)
		return gen_docs(argv[2]);
	return cli_main(argc, argv);
}
