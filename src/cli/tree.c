/* SPDX-License-Identifier: Apache-2.0
 *
 * One thing in full: the members of a JSON answer as indented lines; and the output of a run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli_priv.h"

#define TREE_DEPTH_MAX 6
#define TREE_BYTES_MAX (16u << 20)
#define TREE_TITLE     16

static bool is_empty(const json_t *value)
{
	return json_is_null(value) ||
	       ((json_is_array(value) || json_is_object(value)) &&
		       json_array_size(value) + json_object_size(value) == 0);
}

/* Arguments as a person would type them: quoted only where blanks make it needful. */
static void write_list(struct buf *out, const json_t *list)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		const char *text = json_string_value(item);
		auto_free char *other =
			text ? NULL : json_dumps(item, JSON_ENCODE_ANY | JSON_COMPACT);
		bool is_quoted = text && (*text == '\0' || strpbrk(text, " \t\n'\"$"));

		buf_puts(out, i ? " " : "");
		buf_puts(out, is_quoted ? "'" : "");
		append_safe(out, text ? text : other);
		buf_puts(out, is_quoted ? "'" : "");
	}
}

static void write_scalar(struct buf *out, const json_t *value)
{
	const char *text = json_string_value(value);
	auto_free char *other =
		text ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
	char relative[RELATIVE_TEXT_SIZE];
	int64_t at_ms;

	append_safe(out, text ? text : other);
	if (text && parse_rfc3339(text, &at_ms))
		buf_printf(out, " (%s)", format_relative(at_ms, clock_wall_ms(), relative));
}

static void write_object(struct buf *out, const json_t *object, int depth, const char *skip);

static void write_member(struct buf *out, const char *key, const json_t *value, int depth)
{
	int indent = 2 * depth;
	size_t at = out->len;

	buf_printf(out, "%*s", indent, "");
	append_safe(out, key);
	if (json_is_object(value) && depth < TREE_DEPTH_MAX) {
		buf_puts(out, "\n");
		write_object(out, value, depth + 1, NULL);
		return;
	}
	if (out->len - at < TREE_TITLE + (size_t)indent)
		buf_printf(out, "%*s", (int)(TREE_TITLE + (size_t)indent - (out->len - at)), "");
	buf_puts(out, "  ");
	if (json_is_array(value) && !json_is_object(json_array_get(value, 0)))
		write_list(out, value);
	else
		write_scalar(out, value);
	buf_putc(out, '\n');
}

static void write_object(struct buf *out, const json_t *object, int depth, const char *skip)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value)
	{
		if (!is_empty(value) && !(skip && strcmp(skip, key) == 0))
			write_member(out, key, value, depth);
	}
}

void print_object(const json_t *object, const char *skip)
{
	struct buf out;

	buf_init(&out, TREE_BYTES_MAX);
	write_object(&out, object, 0, skip);
	(void)fputs(buf_text(&out), stdout);
	buf_fini(&out);
}

void print_piece(const struct cli *cli, const char *bytes, size_t len)
{
	struct buf clean;

	if (!cli->is_terminal) {
		(void)fwrite(bytes, 1, len, stdout);
		return;
	}
	buf_init(&clean, TREE_BYTES_MAX * 4);
	utf8_clean(bytes, len, &clean);
	for (size_t i = 0; i < clean.len; i++) {
		char c = clean.data[i];

		if (((unsigned char)c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
			clean.data[i] = c == '\r' ? ' ' : '?';
	}
	(void)fwrite(buf_text(&clean), 1, clean.len, stdout);
	buf_fini(&clean);
}

void print_output(const struct cli *cli, const char *bytes, size_t len)
{
	print_piece(cli, bytes, len);
	if (cli->is_terminal && len > 0 && bytes[len - 1] != '\n')
		(void)putchar('\n');
}
