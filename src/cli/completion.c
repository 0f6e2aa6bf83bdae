/* SPDX-License-Identifier: Apache-2.0
 *
 * Completion for bash: the tables of commands, flags and options as shell functions, and below them
 * one function that walks the line typed so far. Needs nothing but bash itself. */
#include "cli/cli.h"

#include <string.h>

#include "cli/cli_priv.h"
#include "conf/conf.h"

/* "name=" takes a value; behind it the values that are allowed, if they are few. */
static void write_flag(struct buf *out, const struct flag *flag)
{
	buf_printf(out, "--%s%s", flag->name, flag->type == FLAG_SWITCH ? "" : "=");
	for (size_t i = 0; flag->choices && flag->choices[i]; i++)
		buf_printf(out, " %s", flag->choices[i]);
	buf_putc(out, '\n');
	if (flag->letter)
		buf_printf(out, "-%c%s\n", flag->letter, flag->type == FLAG_SWITCH ? "" : "=");
}

static void write_option(const struct conf_row *row, void *data)
{
	struct buf *out = data;

	buf_printf(out, "%s%s%s%s\n", row->flag, row->stands_alone ? "" : "=",
		row->words ? " " : "", row->words ? row->words : "");
}

static void write_command(struct buf *out, const struct command *command)
{
	buf_printf(out, "\t'%s') echo '", command->name);
	for (size_t t = 0; t < COMMAND_FLAGS_MAX && command->flags[t]; t++)
		for (const struct flag *flag = command->flags[t]; flag->name; flag++)
			write_flag(out, flag);
	if (command->raw) {
		conf_each(write_option, out);
		buf_puts(out, "--config=\n--set=\n--help\n");
	} else {
		for (const struct flag *flag = cli_global_flags; flag->name; flag++)
			write_flag(out, flag);
	}
	buf_puts(out, "' ;;\n");
}

static const char head[] =
	"# Completion of gathering for bash; made by `gathering gen-docs completion`.\n"
	"\n"
	"# The flags of a command, one a line; \"=\" when a value follows, then the values it may "
	"have.\n"
	"_gathering_flags()\n"
	"{\n"
	"\tcase $1 in\n";

static const char middle[] = "\tesac\n"
			     "}\n"
			     "\n"
			     "_gathering_commands='";

/* Reads the words before the cursor: they give the command, and whether a value is wanted. */
static const char tail[] =
	"'\n"
	"\n"
	"# The line of the flag $2 of the command $1; fails when there is none.\n"
	"_gathering_flag()\n"
	"{\n"
	"\t_gathering_flags \"$1\" | grep -m 1 -E -e \"^$2(=|\\$)\"\n"
	"}\n"
	"\n"
	"_gathering_words()\n"
	"{\n"
	"\tlocal command=$1\n"
	"\n"
	"\tif _gathering_flags \"$command\" | grep -q .; then\n"
	"\t\tcase $command in\n"
	"\t\taction\\ add | action\\ list) ;;\n"
	"\t\taction\\ * | run\\ logs) gathering action list 2>/dev/null | awk 'NR > 1 {print $1}' "
	";;\n"
	"\t\tesac\n"
	"\telif [ -n \"$command\" ]; then\n"
	"\t\techo \"$_gathering_commands\" | awk -v group=\"$command\" '$1 == group && $2 {print "
	"$2}'\n"
	"\telse\n"
	"\t\techo \"$_gathering_commands\" | awk '$1 {print $1}' | sort -u\n"
	"\tfi\n"
	"}\n"
	"\n"
	"_gathering()\n"
	"{\n"
	"\tlocal current=${COMP_WORDS[COMP_CWORD]} command='' flag='' word line i\n"
	"\n"
	"\tCOMPREPLY=()\n"
	"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	"\t\tword=${COMP_WORDS[i]}\n"
	"\t\tif [ \"$word\" = = ]; then\n"
	"\t\t\tcontinue\n"
	"\t\telif [ -n \"$flag\" ]; then\n"
	"\t\t\tflag=\n"
	"\t\telif [ \"$word\" = -- ]; then\n"
	"\t\t\treturn\n"
	"\t\telif [[ $word == -* ]]; then\n"
	"\t\t\tline=$(_gathering_flag \"${command:-help}\" \"$word\")\n"
	"\t\t\t[[ ${line%% *} == *= ]] && flag=$word\n"
	"\t\telif ! _gathering_flags \"$command\" | grep -q . || [ \"$command\" = help ]; then\n"
	"\t\t\t[ \"$command\" = help ] && command=\n"
	"\t\t\tcommand=${command:+$command }$word\n"
	"\t\tfi\n"
	"\tdone\n"
	"\t[ \"$current\" = = ] && current=\n"
	"\tif [ -n \"$flag\" ]; then\n"
	"\t\tline=$(_gathering_flag \"${command:-help}\" \"$flag\")\n"
	"\t\tline=${line#*=}\n"
	"\telif [[ $current == -* ]]; then\n"
	"\t\tline=$(_gathering_flags \"${command:-help}\" | sed 's/=.*//')\n"
	"\telif [ \"$command\" = help ]; then\n"
	"\t\tline=$(_gathering_words '')\n"
	"\telse\n"
	"\t\tline=$(_gathering_words \"$command\")\n"
	"\tfi\n"
	"\tmapfile -t COMPREPLY < <(compgen -W \"$line\" -- \"$current\")\n"
	"}\n"
	"\n"
	"complete -o default -F _gathering gathering\n";

void cli_write_completion(struct buf *out)
{
	buf_puts(out, head);
	for (const struct command *command = cli_commands; command->name; command++)
		write_command(out, command);
	buf_puts(out, middle);
	for (const struct command *command = cli_commands; command->name; command++)
		buf_printf(out, "%s\n", command->name);
	buf_puts(out, tail);
}
