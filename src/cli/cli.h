/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line: every `gathering` command but `serve`, which main.c keeps for itself. */
#pragma once

struct buf;

/* Runs the command that argv (as main got it) names and returns the exit status of the process: 0
 * ok, 1 error, 2 usage or an unacceptable value, 3 not found or a deadline passed. Blocking; prints
 * results on standard output and everything else on standard error. Main thread, once. */
int cli_main(int argc, char *const *argv);

/* `gathering serve --help`: the help page of one command ("serve") on standard output; returns 0,
 * or 2 when there is no such command. */
int cli_help(const char *command);

/* What `make install` installs beside the program, from the same tables as --help: the manual pages
 * gathering(1) and gathering.conf(5) as roff, and the completion for bash. */
void cli_write_man(struct buf *out);
void cli_write_conf_man(struct buf *out);
void cli_write_completion(struct buf *out);
