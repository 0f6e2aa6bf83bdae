/* SPDX-License-Identifier: Apache-2.0
 *
 * gathering: cron that survives crashes and deploys. The map of the program, as it runs:
 *
 *   main.c           which command
 *     cli/           every command but `serve`: a client of the HTTP interface, or local
 *     conf/          options.def: file, environment, flags
 *   server.c         `serve`: the table of parts; with those below it all that knows every module
 *     doors.c        what clients meet: listener, HTTP, how both are closed
 *     admin.c        the admin socket
 *     signals.c      what each signal does; reload.c and dump.c are two of them
 *     upgrade.c      a new process takes over from this one; successor.c is the other side,
 *     inherit.c      and this what a process is given by whoever started it
 *     process.c      what the process puts right about itself first
 *     secrets.c      from the store through the vault to an attempt
 *     notice.c       how long the listener stays open in a stop
 *     life/          walks that table: start forward, drain and stop backward
 *     http/          requests in, answers out (libmicrohttpd behind a strict gate)
 *     api/           routes.def: what a request means; health
 *     store/         every durable fact: PostgreSQL, SQLite or memory behind one contract
 *     sched/         look, wake, claim, start, record
 *     exec/          one attempt: a webhook, a program, a statement
 *   vault/           secrets at rest: sealed and opened with the key of this server
 *   pg/              PostgreSQL on the loop: connections, pool, statements
 *   model/           action, run, result: their JSON, the run's state table
 *   plan/            when things are due: pure
 *   base/            leaf tools: errors, memory, text, clocks, ids, log lines, metrics
 *
 * ARCHITECTURE.md follows a request, a due time and a lifetime through these. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "conf/conf.h"
#include "server.h"

#define DOC_MAX (1024 * 1024)

/* `gathering gen-docs NAME`: what is made from the program's own tables, for tools/gen-docs and
 * `make install`. */
static const struct {
	const char *name;
	void (*write)(struct buf *out);
} documents[] = {
	{"config", conf_write_markdown},
	{"api", api_write_markdown},
	{"man", cli_write_man},
	{"conf-man", cli_write_conf_man},
	{"completion", cli_write_completion},
};

static int gen_docs(const char *name)
{
	struct buf out;

	for (size_t i = 0; i < COUNT_OF(documents); i++) {
		if (strcmp(documents[i].name, name) != 0)
			continue;
		buf_init(&out, DOC_MAX);
		documents[i].write(&out);
		must(!out.is_cut);
		(void)fputs(buf_text(&out), stdout);
		buf_fini(&out);
		return 0;
	}
	(void)fprintf(stderr, "gathering gen-docs: no document '%s'\n", name);
	return 2;
}

static bool wants_help(int argc, char **argv)
{
	for (int i = 2; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "";

	if (strcmp(command, "serve") == 0 && wants_help(argc, argv))
		return cli_help("serve");
	if (strcmp(command, "serve") == 0)
		return server_run(argc, argv);
	if (strcmp(command, "gen-docs") == 0 && argc == 3)
		return gen_docs(argv[2]);
	if (strcmp(command, "--version") == 0)
		argv[1] = (char *)"version";
	return cli_main(argc, argv);
}
