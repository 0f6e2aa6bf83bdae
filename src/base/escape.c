/* SPDX-License-Identifier: Apache-2.0
 *
 * A byte either stands for itself or is replaced; bytes above 0x7f belong to UTF-8 and stand for
 * themselves everywhere but in URLs. */
#include "base/escape.h"

#include <stdbool.h>
#include <string.h>

#include "base/ascii.h"

static void append_percent(unsigned char c, struct buf *out)
{
	bool is_plain = ascii_is_alnum((char)c) || (c != '\0' && strchr("-._~", c) != NULL);

	if (is_plain)
		buf_putc(out, (char)c);
	else
		buf_printf(out, "%%%02X", c);
}

static void append_json(unsigned char c, struct buf *out)
{
	static const char named[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
	const char *found = c != '\0' ? strchr(named, c) : NULL;

	if (found != NULL)
		buf_printf(out, "\\%c", names[found - named]);
	else if (c < 0x20 || c == 0x7F)
		buf_printf(out, "\\u%04x", c);
	else
		buf_putc(out, (char)c);
}

static void append_xml(unsigned char c, struct buf *out)
{
	switch (c) {
	case '&':
		buf_puts(out, "&amp;");
		break;
	case '<':
		buf_puts(out, "&lt;");
		break;
	case '>':
		buf_puts(out, "&gt;");
		break;
	case '"':
		buf_puts(out, "&quot;");
		break;
	case '\'':
		buf_puts(out, "&#39;");
		break;
	default:
		buf_putc(out, (char)c);
	}
}

void escape_append(enum escape escape, const char *text, size_t len, struct buf *out)
{
	static void (*const append[ESCAPE_COUNT])(unsigned char c, struct buf *out) = {
		[ESCAPE_PERCENT] = append_percent,
		[ESCAPE_JSON] = append_json,
		[ESCAPE_XML] = append_xml,
	};

	if (append[escape] == NULL) {
		buf_append(out, text, len);
		return;
	}
	for (size_t i = 0; i < len; i++)
		append[escape]((unsigned char)text[i], out);
}
