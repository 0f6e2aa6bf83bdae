/* SPDX-License-Identifier: Apache-2.0
 *
 * Help from the tables: the overview, a page a command, and the reference part of doc/cli.md. */
#include "cli/cli.h"
#include "cli/cli_priv.h"

#include <string.h>

#include "base/ascii.h"
#include "base/mem.h"
#include "conf/conf.h"

#define HELP_BYTES_MAX (1u << 20)
#define HELP_WIDTH     80
#define FLAG_INDENT    26

/* --- text that wraps --- */

/* Words of `text` from column `indent` on, broken before `width`; the cursor stands at `column`. */
static void write_wrapped(struct buf *out, const char *text, int indent, int column, int width)
{
	while (*text) {
		int len = (int)strcspn(text, " ");

		if (column > indent && column + 1 + len > width) {
			buf_printf(out, "\n%*s", indent, "");
			column = indent;
		} else if (column > indent) {
			buf_putc(out, ' ');
			column++;
		}
		buf_append(out, text, (size_t)len);
		column += len;
		text += len + (text[len] == ' ');
	}
	buf_putc(out, '\n');
}

static void write_choices(struct buf *out, const struct flag *flag)
{
	buf_puts(out, " (");
	for (size_t i = 0; flag->choices[i]; i++)
		buf_printf(out, "%s%s", i ? ", " : "", flag->choices[i]);
	buf_putc(out, ')');
}

void help_write_flag_text(const struct flag *flag, struct buf *out)
{
	buf_puts(out, flag->help);
	if (flag->choices)
		write_choices(out, flag);
	if (flag->preset)
		buf_printf(out, " [%s]", flag->preset);
}

static void write_flag(struct buf *out, const struct flag *flag, int width)
{
	struct buf text;
	char left[80];
	int len;

	if (flag->letter)
		(void)snprintf(left, sizeof(left), "  -%c, --%s", flag->letter, flag->name);
	else
		(void)snprintf(left, sizeof(left), "      --%s", flag->name);
	if (flag->value)
		(void)snprintf(
			left + strlen(left), sizeof(left) - strlen(left), " %s", flag->value);
	len = (int)strlen(left);
	buf_puts(out, left);
	if (len + 2 > FLAG_INDENT + 4) {
		buf_putc(out, '\n');
		len = 0;
	}
	buf_printf(out, "%*s", FLAG_INDENT + 4 - len, "");
	buf_init(&text, 4096);
	help_write_flag_text(flag, &text);
	write_wrapped(out, buf_text(&text), FLAG_INDENT + 4, FLAG_INDENT + 4, width);
	buf_fini(&text);
}

static bool has_flags(const struct command *command)
{
	return command->flags[0] != NULL;
}

void help_write_usage(const struct command *command, struct buf *out)
{
	const char *args = command->args;
	const char *rest = command->takes_rest ? strstr(args, "[-- ") : NULL;
	int before = rest ? (int)(rest - args) : (int)strlen(args);

	buf_printf(out, "usage: gathering %s", command->name);
	if (before)
		buf_printf(out, " %.*s", rest ? before - 1 : before, args);
	if (command->raw)
		buf_puts(out, " [options]");
	else if (has_flags(command))
		buf_puts(out, " [flags]");
	if (rest)
		buf_printf(out, " %s", rest);
	buf_putc(out, '\n');
}

static void write_examples(struct buf *out, const char *examples, const char *before)
{
	while (*examples) {
		int len = (int)strcspn(examples, "\n");

		buf_printf(out, "%s%.*s\n", before, len, examples);
		examples += len + (examples[len] == '\n');
	}
}

void help_write_command(const struct command *command, struct buf *out, int width)
{
	width = width ? width : HELP_WIDTH;
	help_write_usage(command, out);
	buf_putc(out, '\n');
	write_wrapped(out, command->summary, 0, 0, width);
	if (command->detail) {
		buf_putc(out, '\n');
		write_wrapped(out, command->detail, 0, 0, width);
	}
	if (command->examples) {
		buf_puts(out, "\nexamples:\n");
		write_examples(out, command->examples, "  ");
	}
	if (command->raw) {
		buf_puts(out, "\noptions:\n");
		conf_write_help(out);
		return;
	}
	for (size_t t = 0; t < COMMAND_FLAGS_MAX && command->flags[t]; t++) {
		buf_puts(out, t ? "" : "\nflags:\n");
		for (const struct flag *flag = command->flags[t]; flag->name; flag++)
			write_flag(out, flag, width);
	}
	buf_puts(out, "\nfor all commands:\n");
	for (const struct flag *flag = cli_global_flags; flag->name; flag++)
		write_flag(out, flag, width);
}

#define NAME_INDENT 20

/* The commands whose name begins with `group` ("": all); how many. */
static size_t write_commands(struct buf *out, const char *group, int width)
{
	size_t count = 0;

	for (const struct command *command = cli_commands; command->name; command++) {
		if (strncmp(command->name, group, strlen(group)) != 0)
			continue;
		buf_printf(out, "  %-*s", NAME_INDENT - 2, command->name);
		write_wrapped(out, command->summary, NAME_INDENT, NAME_INDENT,
			width ? width : HELP_WIDTH);
		count++;
	}
	return count;
}

void help_write_overview(struct buf *out, int width)
{
	buf_puts(out, "gathering " GATHERING_VERSION ": cron that survives crashes and deploys\n\n"
		      "usage: gathering COMMAND [flags]\n\n");
	(void)write_commands(out, "", width);
	buf_puts(out, "\nfor all commands:\n");
	for (const struct flag *flag = cli_global_flags; flag->name; flag++)
		write_flag(out, flag, width ? width : HELP_WIDTH);
	buf_puts(out, "\n`gathering help COMMAND` explains one. Exit status: 0 ok, 1 error, 2 "
		      "usage or an\n"
		      "unacceptable value, 3 not found or a deadline passed.\n");
}

/* --- Markdown --- */

static void write_markdown_flags(struct buf *out, const struct flag *flag)
{
	for (; flag->name; flag++) {
		struct buf text;

		buf_printf(out, "| `--%s", flag->name);
		if (flag->letter)
			buf_printf(out, "`, `-%c", flag->letter);
		if (flag->value)
			buf_printf(out, " %s", flag->value);
		buf_puts(out, "` | ");
		buf_init(&text, 4096);
		help_write_flag_text(flag, &text);
		for (const char *c = buf_text(&text); *c; c++)
			buf_printf(out, *c == '|' ? "\\%c" : "%c", *c);
		buf_fini(&text);
		buf_puts(out, " |\n");
	}
}

static void write_markdown_command(struct buf *out, const struct command *command)
{
	struct buf usage;

	buf_init(&usage, 4096);
	help_write_usage(command, &usage);
	buf_printf(out, "\n### gathering %s\n\n```\n%s```\n\n%c%s.", command->name,
		buf_text(&usage) + strlen("usage: "), ascii_upper(command->summary[0]),
		command->summary + 1);
	buf_fini(&usage);
	buf_printf(
		out, "%s%s\n", command->detail ? " " : "", command->detail ? command->detail : "");
	if (has_flags(command))
		buf_puts(out, "\n| flag | meaning [default] |\n|---|---|\n");
	for (size_t t = 0; t < COMMAND_FLAGS_MAX && command->flags[t]; t++)
		write_markdown_flags(out, command->flags[t]);
	if (command->examples) {
		buf_puts(out, "\n```\n");
		write_examples(out, command->examples, "");
		buf_puts(out, "```\n");
	}
}

void help_write_markdown(struct buf *out)
{
	buf_puts(out, "### For all commands\n\n| flag | meaning [default] |\n|---|---|\n");
	write_markdown_flags(out, cli_global_flags);
	for (const struct command *command = cli_commands; command->name; command++)
		write_markdown_command(out, command);
}

/* --- the command --- */

static int print_help(const struct command *command, int width)
{
	struct buf out;

	buf_init(&out, HELP_BYTES_MAX);
	if (command)
		help_write_command(command, &out, width);
	else
		help_write_overview(&out, width);
	(void)fputs(buf_text(&out), stdout);
	buf_fini(&out);
	return 0;
}

/* `gathering help action`; false: no such group. */
static bool print_group(const char *name, int width)
{
	auto_free char *group = xasprintf("%s ", name);
	struct buf out;
	size_t count;

	buf_init(&out, HELP_BYTES_MAX);
	count = write_commands(&out, group, width);
	(void)fputs(buf_text(&out), stdout);
	buf_fini(&out);
	return count > 0;
}

int cmd_help(struct cli *cli)
{
	const struct command *command;
	size_t used;
	struct buf out;

	if (cli_has(cli, "markdown")) {
		buf_init(&out, HELP_BYTES_MAX);
		help_write_markdown(&out);
		(void)fputs(buf_text(&out), stdout);
		buf_fini(&out);
		return 0;
	}
	if (cli->arg_count == 0)
		return print_help(NULL, cli->width);
	command = command_find((char *const *)cli->args, cli->arg_count, &used);
	if (command)
		return print_help(command, cli->width);
	if (cli->arg_count == 1 && print_group(cli->args[0], cli->width))
		return 0;
	return cli_usage(cli, "no command '%.80s%s%.80s'; `gathering help` lists them",
		cli->args[0], cli->arg_count > 1 ? " " : "",
		cli->arg_count > 1 ? cli->args[1] : "");
}

int cli_help(const char *command)
{
	char *const words[] = {(char *)command, NULL};
	size_t used;
	const struct command *found = command ? command_find(words, 1, &used) : NULL;

	if (command && !found)
		return 2;
	return print_help(found, 0);
}
