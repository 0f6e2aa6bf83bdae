/* SPDX-License-Identifier: Apache-2.0
 *
 * Growable bytes with a hard limit. Memory doubles, so that many small writes cost little. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

#define BUF_SIZE_MIN 64

/* Makes room for up to `more` bytes and a NUL; returns how many bytes may be written. */
static size_t buf_reserve(struct buf *buf, size_t more)
{
	size_t room = buf->limit - buf->len;
	size_t size = buf->size < BUF_SIZE_MIN ? BUF_SIZE_MIN : buf->size;

	if (more > room)
		more = room;
	if (buf->data && buf->size - buf->len > more)
		return more;
	while (size - 1 - buf->len < more)
		size = size > SIZE_MAX / 2 ? buf->len + more + 1 : size * 2;
	if (size > buf->limit + 1)
		size = buf->limit + 1;
	buf->data = xrealloc(buf->data, size, 1);
	buf->size = size;
	return more;
}

void buf_init(struct buf *buf, size_t limit)
{
	must(limit < SIZE_MAX);
	*buf = (struct buf){.limit = limit};
}

void buf_fini(struct buf *buf)
{
	free(buf->data);
	buf_init(buf, buf->limit);
}

void buf_append(struct buf *buf, const void *bytes, size_t len)
{
	size_t fits = buf_reserve(buf, len);

	if (fits > 0)
		memcpy(buf->data + buf->len, bytes, fits);
	buf->len += fits;
	buf->data[buf->len] = '\0';
	buf->is_cut = buf->is_cut || fits < len;
}

void buf_puts(struct buf *buf, const char *text)
{
	buf_append(buf, text, strlen(text));
}

void buf_putc(struct buf *buf, char c)
{
	buf_append(buf, &c, 1);
}

void buf_printf(struct buf *buf, const char *fmt, ...)
{
	size_t fits = buf_reserve(buf, BUF_SIZE_MIN);
	va_list args, again;
	int len = 0;

	va_start(args, fmt);
	va_copy(again, args);
	len = vsnprintf(buf->data + buf->len, fits + 1, fmt, args);
	must(len >= 0);
	if ((size_t)len > fits) {
		fits = buf_reserve(buf, (size_t)len);
		(void)vsnprintf(buf->data + buf->len, fits + 1, fmt, again);
	}
	va_end(again);
	va_end(args);
	buf->is_cut = buf->is_cut || fits < (size_t)len;
	buf->len += (size_t)len < fits ? (size_t)len : fits;
}

void buf_clear(struct buf *buf)
{
	buf->len = 0;
	buf->is_cut = false;
	if (buf->data)
		buf->data[0] = '\0';
}

const char *buf_text(const struct buf *buf)
{
	return buf->data ? buf->data : "";
}

char *buf_take(struct buf *buf)
{
	char *text = buf->data ? buf->data : xstrdup("");

	buf_init(buf, buf->limit);
	return text;
}
