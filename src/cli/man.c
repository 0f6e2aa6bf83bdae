/* SPDX-License-Identifier: Apache-2.0
 *
 * The manual pages, as roff with the man macros: gathering(1) from the table of commands,
 * gathering.conf(5) from the table of options. What the tables do not say (environment, files,
 * exit status) stands here and nowhere else in roff. */
#include "cli/cli.h"

#include <string.h>

#include "base/ascii.h"
#include "cli/cli_priv.h"
#include "conf/conf.h"

#define MAN_TEXT_MAX 16384

/* --- roff --- */

/* What roff would take for its own. */
static const char *roff_name(char c)
{
	switch (c) {
	case '\\':
		return "\\e";
	case '-':
		return "\\-";
	case '\'':
		return "\\(aq";
	case '"':
		return "\\(dq";
	case '^':
		return "\\(ha";
	case '~':
		return "\\(ti";
	default:
		return NULL;
	}
}

/* Text as it is; what stands between backticks becomes bold. */
static void put_text(struct buf *out, const char *text)
{
	bool is_bold = false;

	if (*text == '.')
		buf_puts(out, "\\&");
	for (; *text; text++) {
		const char *name = roff_name(*text);

		if (*text == '`') {
			is_bold = !is_bold;
			buf_puts(out, is_bold ? "\\fB" : "\\fR");
		} else if (name) {
			buf_puts(out, name);
		} else {
			buf_putc(out, *text);
		}
	}
}

static void put_line(struct buf *out, const char *text)
{
	put_text(out, text);
	buf_putc(out, '\n');
}

/* A term and what it means. */
static void put_item(struct buf *out, const char *term, const char *meaning)
{
	buf_puts(out, ".TP\n");
	put_line(out, term);
	put_line(out, meaning);
}

static void put_sentence(struct buf *out, const char *text)
{
	char first[2] = {ascii_upper(*text), '\0'};

	put_text(out, first);
	put_text(out, text + 1);
	buf_puts(out, ".\n");
}

static void put_example(struct buf *out, const char *text)
{
	buf_puts(out, ".PP\n.RS\n.nf\n");
	put_line(out, text);
	buf_puts(out, ".fi\n.RE\n");
}

static void put_title(struct buf *out, const char *name, int section, const char *what)
{
	buf_printf(out, ".TH %s %d \"\" \"gathering " GATHERING_VERSION "\"\n.SH NAME\n", name,
		section);
	put_line(out, what);
}

/* --- gathering(1) --- */

static void put_flag(struct buf *out, const struct flag *flag)
{
	struct buf term, text;

	buf_init(&term, MAN_TEXT_MAX);
	buf_init(&text, MAN_TEXT_MAX);
	if (flag->letter)
		buf_printf(&term, "`-%c`, ", flag->letter);
	buf_printf(&term, "`--%s`", flag->name);
	if (flag->value)
		buf_printf(&term, " %s", flag->value);
	help_write_flag_text(flag, &text);
	put_item(out, buf_text(&term), buf_text(&text));
	buf_fini(&term);
	buf_fini(&text);
}

/* An earlier command with the very same flags, so that a page says them once; NULL: none. */
static const struct command *same_flags(const struct command *command)
{
	for (const struct command *other = cli_commands; other < command; other++)
		if (other->flags[0] &&
			memcmp(other->flags, command->flags, sizeof(command->flags)) == 0)
			return other;
	return NULL;
}

static void put_flags(struct buf *out, const struct command *command)
{
	const struct command *same = same_flags(command);

	if (command->raw)
		buf_puts(out, ".PP\nThe options are those of\n.BR gathering.conf (5).\n");
	if (same) {
		buf_printf(
			out, ".PP\nThe flags are those of\n.BR \"gathering %s\" .\n", same->name);
		return;
	}
	for (size_t t = 0; t < COMMAND_FLAGS_MAX && command->flags[t]; t++)
		for (const struct flag *flag = command->flags[t]; flag->name; flag++)
			put_flag(out, flag);
}

static void put_command(struct buf *out, const struct command *command)
{
	struct buf usage;

	buf_init(&usage, MAN_TEXT_MAX);
	help_write_usage(command, &usage);
	buf_printf(out, ".SS gathering %s\n.nf\n", command->name);
	put_text(out, buf_text(&usage) + strlen("usage: "));
	buf_puts(out, ".fi\n.PP\n");
	buf_fini(&usage);
	put_sentence(out, command->summary);
	if (command->detail)
		put_line(out, command->detail);
	put_flags(out, command);
	if (command->examples)
		put_example(out, command->examples);
}

static void put_environment(struct buf *out)
{
	buf_puts(out, ".SH ENVIRONMENT\n");
	put_item(out, "`GATHERING_SERVER`", "where the server is, for all commands that need one");
	put_item(out, "`NO_COLOR`, `TERM`, `COLUMNS`", "no colors; what terminal, how wide");
	put_item(out, "`VISUAL`, `EDITOR`, `TMPDIR`",
		"what `gathering action edit` opens, and where");
	put_item(out, "`GATHERING_CONFIG`", "the configuration file, as --config");
	put_item(out, "`GATHERING_`OPTION",
		"an option of the server, in capitals: `GATHERING_LOG_LEVEL=debug`");
}

void cli_write_man(struct buf *out)
{
	put_title(out, "GATHERING", 1, "gathering - cron that survives crashes and deploys");
	buf_puts(out,
		".SH SYNOPSIS\n.B gathering serve\n[options]\n.br\n.B gathering\nCOMMAND [flags]\n"
		".SH DESCRIPTION\n");
	put_line(out,
		"One program is the server (`gathering serve`) and the client of it. The server "
		"runs actions, programs and HTTP calls, when their schedules say so, and keeps "
		"a record of every due time and what became of it.");
	buf_puts(out, ".SH COMMANDS\n");
	for (const struct command *command = cli_commands; command->name; command++)
		put_command(out, command);
	buf_puts(out, ".SH FLAGS FOR ALL COMMANDS\n");
	for (const struct flag *flag = cli_global_flags; flag->name; flag++)
		put_flag(out, flag);
	buf_puts(out, ".SH EXIT STATUS\nOf the server: 0 stopped in order; 1 it could not start; "
		      "2 an option is not acceptable; 3 a deadline of the shutdown cut something; "
		      "4 a result could not be recorded.\n.PP\nOf all other commands: 0 done; 1 "
		      "error; 2 usage, or a value that is not acceptable; 3 not found, or a "
		      "deadline passed.\n");
	put_environment(out);
	buf_puts(out, ".SH SEE ALSO\n.BR gathering.conf (5),\n.BR crontab (5)\n");
}

/* --- gathering.conf(5) --- */

static void put_option(const struct conf_row *row, void *data)
{
	struct buf *out = data;

	buf_puts(out, ".TP\n.B ");
	put_line(out, row->name);
	put_sentence(out, row->help);
	buf_puts(out, "Takes ");
	put_text(out, row->allowed);
	buf_puts(out, "; default ");
	put_text(out, *row->preset ? row->preset : "empty");
	buf_puts(out, ".\n");
}

void cli_write_conf_man(struct buf *out)
{
	put_title(
		out, "GATHERING.CONF", 5, "gathering.conf - configuration of the gathering server");
	buf_puts(out, ".SH SYNOPSIS\n.I /etc/gathering/gathering.conf\n.SH DESCRIPTION\n");
	put_line(out,
		"A key file with one group, [gathering], and lines `key = value`; lines that "
		"begin with # are comments. An option may also stand in the environment "
		"(`GATHERING_LOG_LEVEL`) or behind `gathering serve` (`--log-level`, or `--set "
		"log_level=VALUE`). The command line wins over the environment, and that over "
		"the file. `gathering check-config` shows every value and where it came from.");
	buf_puts(out, ".SH OPTIONS\n");
	conf_each(put_option, out);
	buf_puts(out, ".SH EXAMPLE\n");
	put_example(out, "[gathering]\nlisten = 127.0.0.1:8080\n"
			 "database = sqlite:/var/lib/gathering/gathering.db\nexec_enabled = true");
	buf_puts(out, ".SH SEE ALSO\n.BR gathering (1)\n");
}
