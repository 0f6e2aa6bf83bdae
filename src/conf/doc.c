/* SPDX-License-Identifier: Apache-2.0
 *
 * options.def for people: --help, doc/config.md, and row by row for the documents of others. */
#include "conf/conf_priv.h"

#include <string.h>

#define DOC_TEXT_MAX 4096

/* What stands for the value after the flag. */
static const char *const placeholders[] = {[CONF_TYPE_STRING] = " TEXT",
	[CONF_TYPE_ENUM] = " WORD",
	[CONF_TYPE_DURATION] = " TIME",
	[CONF_TYPE_SIZE] = " BYTES",
	[CONF_TYPE_INT] = " NUMBER",
	[CONF_TYPE_BOOL] = ""};

/* The name as a flag is written: with '-'. */
static void write_flag(const struct conf_option *option, struct buf *out)
{
	buf_puts(out, "--");
	for (const char *at = option->name; *at != '\0'; at++)
		buf_putc(out, *at == '_' ? '-' : *at);
}

void conf_write_help(struct buf *out)
{
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct conf_option *option = &conf_options[i];

		buf_puts(out, "  ");
		write_flag(option, out);
		buf_printf(
			out, "%s\n        %s\n        ", placeholders[option->type], option->help);
		conf_write_allowed(option, out);
		buf_printf(out, "; default %s\n",
			option->preset[0] != '\0' ? option->preset : "empty");
	}
}

/* A cell of a table: '|' would end it. */
static void write_cell(const char *text, struct buf *out)
{
	for (; *text != '\0'; text++)
		buf_printf(out, "%s%c", *text == '|' ? "\\" : "", *text);
}

void conf_write_markdown(struct buf *out)
{
	struct buf allowed;

	buf_puts(out, "| Option | Default | Takes | At SIGHUP | Meaning |\n"
		      "| --- | --- | --- | --- | --- |\n");
	buf_init(&allowed, out->limit);
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct conf_option *option = &conf_options[i];

		buf_clear(&allowed);
		conf_write_allowed(option, &allowed);
		buf_printf(out, "| `%s` | ", option->name);
		if (option->preset[0] != '\0')
			buf_printf(out, "`%s`", option->preset);
		buf_puts(out, " | ");
		write_cell(buf_text(&allowed), out);
		buf_printf(out, " | %s | ", option->is_live ? "changes" : "");
		write_cell(option->help, out);
		buf_puts(out, " |\n");
	}
	buf_fini(&allowed);
}

void conf_each(conf_row_fn *show, void *data)
{
	struct buf allowed, flag;

	buf_init(&allowed, DOC_TEXT_MAX);
	buf_init(&flag, DOC_TEXT_MAX);
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct conf_option *option = &conf_options[i];

		buf_clear(&allowed);
		buf_clear(&flag);
		conf_write_allowed(option, &allowed);
		write_flag(option, &flag);
		show(&(struct conf_row){.name = option->name,
			     .flag = buf_text(&flag),
			     .words = option->words,
			     .allowed = buf_text(&allowed),
			     .preset = option->preset,
			     .help = option->help,
			     .is_live = option->is_live,
			     .stands_alone = option->type == CONF_TYPE_BOOL},
			data);
	}
	buf_fini(&allowed);
	buf_fini(&flag);
}
