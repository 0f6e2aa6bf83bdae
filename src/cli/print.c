/* SPDX-License-Identifier: Apache-2.0
 *
 * What people see: tables that fit the terminal, times, JSON, error lines. Nothing that came from a
 * server or a file reaches the terminal with its control characters. */
#include "cli/cli_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

#define PRINT_MAX (256u << 20)

int cli_fail(const struct err *err)
{
	struct buf line;

	buf_init(&line, sizeof(err->text) * 4);
	append_safe(&line, err->text);
	(void)fprintf(stderr, "gathering: %s\n", buf_text(&line));
	buf_fini(&line);
	return err_exit_status(err->code);
}

int cli_usage(const struct cli *cli, const char *fmt, ...)
{
	struct buf usage;
	va_list args;

	(void)fputs("gathering: ", stderr);
	va_start(args, fmt);
	(void)vfprintf(stderr, fmt, args);
	va_end(args);
	buf_init(&usage, 4096);
	if (cli->command) {
		help_write_usage(cli->command, &usage);
		buf_printf(&usage, "(gathering help %s)\n", cli->command->name);
	}
	(void)fprintf(stderr, "\n%s", buf_text(&usage));
	buf_fini(&usage);
	return 2;
}

void print_json(const json_t *json)
{
	(void)json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	(void)putchar('\n');
}

void append_safe(struct buf *out, const char *text)
{
	struct buf clean;

	buf_init(&clean, PRINT_MAX);
	utf8_clean(text, strlen(text), &clean);
	for (const char *c = buf_text(&clean); *c; c++) {
		if (*c == '\n' || *c == '\t' || *c == '\r')
			buf_putc(out, ' ');
		else if ((unsigned char)*c < 0x20 || *c == 0x7f)
			buf_putc(out, '?');
		else if ((unsigned char)c[0] == 0xc2 && (unsigned char)c[1] < 0xa0 && c[1])
			buf_putc(out, '?'), c++; /* C1 controls: some terminals obey them */
		else
			buf_putc(out, *c);
	}
	buf_fini(&clean);
}

/* --- tables --- */

void table_init(struct table *table, const struct column *columns, size_t count)
{
	must(count > 0 && count <= TABLE_COLUMNS_MAX);
	*table = (struct table){.columns = columns, .column_count = count};
}

void table_fini(struct table *table)
{
	for (size_t i = 0; i < table->cell_count; i++)
		free(table->cells[i]);
	free(table->cells);
	*table = (struct table){0};
}

static void table_add_take(struct table *table, char *text)
{
	if (table->cell_count == table->cell_size) {
		table->cell_size = table->cell_size ? 2 * table->cell_size : 64;
		table->cells = xrealloc(table->cells, table->cell_size, sizeof(char *));
	}
	table->cells[table->cell_count++] = text;
}

void table_add(struct table *table, const char *text)
{
	struct buf safe;

	buf_init(&safe, PRINT_MAX);
	append_safe(&safe, text && *text ? text : "-");
	table_add_take(table, buf_take(&safe));
	buf_fini(&safe);
}

void table_printf(struct table *table, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	table_add(table, text);
}

/* Characters, not bytes; wide ones count as one, which is near enough for names and commands. */
static size_t text_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

#define COLUMN_GAP  2
#define SHRINKS_MIN 8

/* Takes what is too much from the widest shrinking column, one by one, until the row fits. */
static void fit_widths(const struct table *table, size_t *widths, size_t limit)
{
	for (;;) {
		size_t total = COLUMN_GAP * (table->column_count - 1), widest = SIZE_MAX;

		for (size_t c = 0; c < table->column_count; c++) {
			total += widths[c];
			if (table->columns[c].kind == COLUMN_SHRINKS && widths[c] > SHRINKS_MIN &&
				(widest == SIZE_MAX || widths[c] > widths[widest]))
				widest = c;
		}
		if (total <= limit || widest == SIZE_MAX)
			return;
		widths[widest]--;
	}
}

static void measure(const struct table *table, size_t *widths, int limit)
{
	must(table->column_count > 0);
	for (size_t c = 0; c < table->column_count; c++)
		widths[c] = text_width(table->columns[c].title);
	for (size_t i = 0; i < table->cell_count; i++) {
		size_t width = text_width(table->cells[i]), c = i % table->column_count;

		widths[c] = width > widths[c] ? width : widths[c];
	}
	if (limit > 0)
		fit_widths(table, widths, (size_t)limit);
}

struct shade {
	const char *word, *code;
};

static const char *shade_of(const char *text)
{
	static const struct shade shades[] = {
		{"succeeded", "32"},
		{"healthy", "32"},
		{"ready", "32"},
		{"active", "32"},
		{"running", "36"},
		{"pending", "33"},
		{"warning", "33"},
		{"paused", "33"},
		{"skipped", "33"},
		{"held", "33"},
		{"failed", "31"},
		{"timed_out", "31"},
		{"critical", "31"},
		{"cancelled", "31"},
	};

	for (size_t i = 0; i < COUNT_OF(shades); i++)
		if (strcmp(shades[i].word, text) == 0)
			return shades[i].code;
	return NULL;
}

/* One cell of `width`, cut with an ellipsis; the last column of a row is not padded. */
static void write_cell(struct buf *out, const char *text, size_t width, bool right, bool is_last)
{
	size_t have = text_width(text), keep = have > width ? width - 1 : have;

	if (right && have < width)
		buf_printf(out, "%*s", (int)(width - have), "");
	for (const char *c = text; *c; c++) {
		if (((unsigned char)*c & 0xc0) != 0x80 && keep-- == 0)
			break;
		buf_putc(out, *c);
	}
	if (have > width)
		buf_puts(out, "…");
	if (!right && have < width && !is_last)
		buf_printf(out, "%*s", (int)(width - have), "");
}

void table_write(const struct table *table, int width, bool has_color, struct buf *out)
{
	size_t widths[TABLE_COLUMNS_MAX], count = table->column_count;

	must(count > 0);
	measure(table, widths, width);
	for (size_t c = 0; c < count; c++) {
		write_cell(out, table->columns[c].title, widths[c],
			table->columns[c].kind == COLUMN_RIGHT, c + 1 == count);
		buf_puts(out, c + 1 == count ? "\n" : "  ");
	}
	for (size_t i = 0; i < table->cell_count; i++) {
		size_t c = i % count;
		const char *code = has_color ? shade_of(table->cells[i]) : NULL;

		if (code)
			buf_printf(out, "\033[%sm", code);
		write_cell(out, table->cells[i], widths[c], table->columns[c].kind == COLUMN_RIGHT,
			c + 1 == count);
		buf_puts(out, code ? "\033[0m" : "");
		buf_puts(out, c + 1 == count ? "\n" : "  ");
	}
}

void table_print(const struct table *table, const struct cli *cli)
{
	struct buf out;

	buf_init(&out, PRINT_MAX);
	table_write(table, cli->width, cli->has_color, &out);
	(void)fwrite(out.data, 1, out.len, stdout);
	buf_fini(&out);
}

/* --- times --- */

/* The two largest units are enough for a person. */
static void format_rough(int64_t ms, char *text, size_t size)
{
	static const struct {
		int64_t ms;
		const char *unit;
	} units[] = {
		{86400000, "d"},
		{3600000, "h"},
		{60000, "m"},
		{1000, "s"},
	};

	for (size_t i = 0; i < COUNT_OF(units); i++) {
		int64_t whole = ms / units[i].ms, rest = ms % units[i].ms;

		if (whole == 0 && i + 1 < COUNT_OF(units))
			continue;
		rest = i + 1 < COUNT_OF(units) ? rest / units[i + 1].ms : 0;
		if (rest > 0)
			(void)snprintf(text, size, "%lld%s%lld%s", (long long)whole, units[i].unit,
				(long long)rest, units[i + 1].unit);
		else
			(void)snprintf(text, size, "%lld%s", (long long)whole, units[i].unit);
		return;
	}
}

const char *format_relative(int64_t at_ms, int64_t now_ms, char ret_text[static RELATIVE_TEXT_SIZE])
{
	int64_t away_ms = at_ms > now_ms ? at_ms - now_ms : now_ms - at_ms;
	char rough[48];

	if (away_ms < 1000) {
		(void)snprintf(ret_text, RELATIVE_TEXT_SIZE, "now");
		return ret_text;
	}
	format_rough(away_ms, rough, sizeof(rough));
	if (at_ms > now_ms)
		(void)snprintf(ret_text, RELATIVE_TEXT_SIZE, "in %s", rough);
	else
		(void)snprintf(ret_text, RELATIVE_TEXT_SIZE, "%s ago", rough);
	return ret_text;
}

void table_add_time(struct table *table, const struct cli *cli, const json_t *time)
{
	const char *text = json_string_value(time);
	char relative[RELATIVE_TEXT_SIZE];
	int64_t at_ms;

	if (text && cli->is_terminal && parse_rfc3339(text, &at_ms))
		text = format_relative(at_ms, clock_wall_ms(), relative);
	table_add(table, text);
}

static void add_cell(
	struct table *table, const struct cli *cli, const struct column *column, const json_t *item)
{
	const json_t *value = json_object_get(item, column->member);

	if (column->add)
		column->add(table, item);
	else if (column->kind == COLUMN_TIME)
		table_add_time(table, cli, value);
	else if (column->kind == COLUMN_RIGHT)
		table_printf(table, "%lld", (long long)get_number(item, column->member, 0));
	else
		table_add(table, get_text(item, column->member));
}

void print_items(const struct cli *cli, const struct column *columns, size_t column_count,
	const json_t *items)
{
	struct table table;
	json_t *item;
	size_t i;

	table_init(&table, columns, column_count);
	json_array_foreach(items, i, item)
	{
		for (size_t c = 0; c < column_count; c++)
			add_cell(&table, cli, &columns[c], item);
	}
	table_print(&table, cli);
	table_fini(&table);
}

/* --- json --- */

const char *get_text(const json_t *json, const char *key)
{
	return json_string_value(json_object_get(json, key));
}

int64_t get_number(const json_t *json, const char *key, int64_t preset)
{
	const json_t *value = json_object_get(json, key);

	return json_is_integer(value) ? json_integer_value(value) : preset;
}
