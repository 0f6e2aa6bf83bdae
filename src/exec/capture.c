/* SPDX-License-Identifier: Apache-2.0
 *
 * Output of an attempt: whatever its length, the beginning tells what it was about and the end why
 * it failed, so both are kept and what lies between is only counted. The end is a ring: no byte is
 * moved twice, however much is written. Bytes are bytes here; text for people is cleaned where it
 * is shown. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "exec_priv.h"

#define CAPTURE_FIRST 256 /* most output is shorter than this */
#define MARK_SIZE     64
#define HEAD_SHARE    4 /* one part in so many is for the beginning */

void capture_init(struct capture *capture, size_t max)
{
	size_t head_max = max / HEAD_SHARE;

	*capture = (struct capture){.head_max = head_max, .max = max - head_max};
}

void capture_fini(struct capture *capture)
{
	free(take_ptr(capture->head));
	free(take_ptr(capture->bytes));
}

/* Only before the ring has wrapped: start is 0 until it is as large as it may get. */
static void grow(struct capture *capture, size_t wanted)
{
	size_t size = capture->size > 0 ? capture->size : CAPTURE_FIRST;

	if (wanted > capture->max)
		wanted = capture->max;
	if (wanted <= capture->size)
		return;
	while (size < wanted)
		size *= 2;
	if (size > capture->max)
		size = capture->max;
	capture->bytes = xrealloc(capture->bytes, size, 1);
	capture->size = size;
}

/* How many bytes have gone into the beginning; it is allocated as small as it stays. */
static size_t write_head(struct capture *capture, const char *bytes, size_t len)
{
	size_t room = capture->head_max - capture->head_len;
	size_t count = len < room ? len : room;

	if (count == 0)
		return 0;
	capture->head = xrealloc(capture->head, capture->head_len + count, 1);
	memcpy(capture->head + capture->head_len, bytes, count);
	capture->head_len += count;
	return count;
}

void capture_write(struct capture *capture, const void *bytes, size_t len)
{
	const char *from = bytes;
	size_t over, at, first;

	capture->total += (int64_t)len;
	first = write_head(capture, from, len);
	from += first;
	len -= first;
	if (len > capture->max) {
		from += len - capture->max;
		len = capture->max;
	}
	if (len == 0)
		return;
	grow(capture, capture->len + len);
	over = capture->len + len > capture->size ? capture->len + len - capture->size : 0;
	capture->start = (capture->start + over) % capture->size;
	capture->len -= over;
	at = (capture->start + capture->len) % capture->size;
	first = len < capture->size - at ? len : capture->size - at;
	memcpy(capture->bytes + at, from, first);
	memcpy(capture->bytes, from + first, len - first);
	capture->len += len;
}

/* How many bytes at the cut are the rest of a UTF-8 character whose beginning is gone. */
static size_t broken_prefix(const struct capture *capture)
{
	size_t count = 0;

	while (count < 3 && count < capture->len &&
		(capture->bytes[(capture->start + count) % capture->size] & 0xC0) == 0x80)
		count++;
	return count;
}

/* And at the end of the beginning: of one whose end is gone. */
static size_t broken_suffix(const struct capture *capture)
{
	for (size_t count = 1; count <= 3 && count <= capture->head_len; count++) {
		unsigned char byte = (unsigned char)capture->head[capture->head_len - count];

		if ((byte & 0xC0) == 0x80)
			continue;
		return byte >= (count == 1 ? 0xC0 : count == 2 ? 0xE0 : 0xF0) ? count : 0;
	}
	return 0;
}

static void append_mark(struct buf *out, int64_t left_out)
{
	bool is_line_open = out->len > 0 && buf_text(out)[out->len - 1] != '\n';

	buf_printf(out, "%s[... %lld bytes left out ...]\n", is_line_open ? "\n" : "",
		(long long)left_out);
}

char *capture_copy(const struct capture *capture, size_t *ret_len)
{
	bool is_cut = capture->total > (int64_t)(capture->head_len + capture->len);
	size_t head = capture->head_len - (is_cut ? broken_suffix(capture) : 0);
	size_t skip = is_cut ? broken_prefix(capture) : 0;
	size_t len = capture->len - skip;
	struct buf out;

	buf_init(&out, head + len + MARK_SIZE);
	buf_append(&out, capture->head, head);
	if (is_cut)
		append_mark(&out, capture->total - (int64_t)(head + len));
	if (len > 0) {
		size_t at = (capture->start + skip) % capture->size;
		size_t first = len < capture->size - at ? len : capture->size - at;

		buf_append(&out, capture->bytes + at, first);
		buf_append(&out, capture->bytes, len - first);
	}
	*ret_len = out.len;
	return buf_take(&out);
}
