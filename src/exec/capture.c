/* SPDX-License-Identifier: Apache-2.0
 *
 * Output of an attempt: whatever its length, the beginning tells what it was about and the end why
 * it failed, so both are kept and what lies between is only counted. The end is a ring: no byte is
 * moved twice, however much is written. Bytes are bytes here; text for people is cleaned where it
 * is shown. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/buf.h"
#include "base/mem.h"
#include "exec_priv.h"

#define CAPTURE_FIRST 256                  /* most output is shorter than this */
#define MARK_SIZE     (EXEC_MARK_SIZE + 1) /* with the end of the line before it */
#define MARK_BEGIN    "[... "
#define MARK_END      " bytes left out ...]\n"
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

const char *exec_mark(int64_t left_out, char ret_text[static EXEC_MARK_SIZE])
{
	(void)snprintf(ret_text, EXEC_MARK_SIZE, MARK_BEGIN "%lld" MARK_END, (long long)left_out);
	return ret_text;
}

static void append_mark(struct buf *out, int64_t left_out)
{
	char mark[EXEC_MARK_SIZE];

	if (out->len > 0 && buf_text(out)[out->len - 1] != '\n')
		buf_putc(out, '\n');
	buf_puts(out, exec_mark(left_out, mark));
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

/* --- from somewhere on --- */

/* `len` bytes of the ring, from its byte `skip` on. */
static char *copy_ring(const struct capture *capture, size_t skip, size_t len)
{
	char *bytes = xmalloc(len + 1);
	size_t at = capture->size > 0 ? (capture->start + skip) % capture->size : 0;
	size_t first = len < capture->size - at ? len : capture->size - at;

	if (len > 0) {
		memcpy(bytes, capture->bytes + at, first);
		memcpy(bytes + first, capture->bytes, len - first);
	}
	return bytes;
}

char *capture_from(const struct capture *capture, int64_t *io_from, size_t max, size_t *ret_len)
{
	int64_t ring_from = capture->total - (int64_t)capture->len;
	size_t skip, left;

	if (*io_from < (int64_t)capture->head_len) {
		left = capture->head_len - (size_t)*io_from;
		*ret_len = left < max ? left : max;
		return xmemdup(capture->head + *io_from, *ret_len);
	}
	if (*io_from < ring_from)
		*io_from = ring_from + (int64_t)broken_prefix(capture);
	skip = (size_t)(*io_from - ring_from) < capture->len ? (size_t)(*io_from - ring_from)
							     : capture->len;
	left = capture->len - skip;
	*ret_len = left < max ? left : max;
	return copy_ring(capture, skip, *ret_len);
}

/* Where the mark stands: `tail` behind it, `head` bytes of the output before it. */
struct mark {
	size_t head, tail;
};

/* Is this the mark, or a line of the program that looks like it? Ours has the number of the bytes
 * that are missing. The line before it may have been ended for its sake. */
static bool read_mark(const char *text, size_t len, int64_t total, size_t at, struct mark *ret_mark)
{
	size_t tail = at + strlen(MARK_BEGIN), end_len = strlen(MARK_END);
	int64_t left_out = 0, kept;

	for (; tail < len && ascii_is_digit(text[tail]) && left_out < total; tail++)
		left_out = left_out * 10 + (text[tail] - '0');
	if (len - tail < end_len || memcmp(text + tail, MARK_END, end_len) != 0)
		return false;
	tail += end_len;
	kept = total - left_out - (int64_t)(len - tail);
	*ret_mark = (struct mark){.head = (size_t)kept, .tail = tail};
	return kept == (int64_t)at || (at > 0 && kept == (int64_t)at - 1);
}

/* How far it is from where the beginning gets its share; a line of the program's can have the right
 * number by chance, but not the place. */
static size_t mark_distance(const struct mark *mark, size_t len)
{
	size_t share = (mark->head + len - mark->tail) / HEAD_SHARE;

	return mark->head > share ? mark->head - share : share - mark->head;
}

/* False: nothing is missing. A mark that is as long as what it stands for is text like any other,
 * for nothing else tells it from one that the program wrote: every byte keeps its place. */
static bool find_mark(const char *text, size_t len, int64_t total, struct mark *ret_mark)
{
	size_t begin_len = strlen(MARK_BEGIN);
	bool is_found = false;

	if (total == (int64_t)len)
		return false;
	for (const char *at = text, *end = text + len;
		at < end && (at = memmem(at, (size_t)(end - at), MARK_BEGIN, begin_len)) != NULL;
		at++) {
		struct mark mark;

		if (!read_mark(text, len, total, (size_t)(at - text), &mark) ||
			(is_found && mark_distance(&mark, len) >= mark_distance(ret_mark, len)))
			continue;
		*ret_mark = mark;
		is_found = true;
	}
	return is_found;
}

void exec_kept_from(
	const char *text, size_t len, int64_t total, int64_t from, struct exec_output *ret_output)
{
	struct mark mark = {.head = len, .tail = len};
	bool is_cut = find_mark(text, len, total, &mark);
	int64_t tail_from = total - (int64_t)(len - mark.tail);
	size_t skip;

	ret_output->from = from;
	ret_output->total = total;
	if (from < (int64_t)mark.head) {
		skip = (size_t)from;
		ret_output->len = mark.head - skip;
	} else if (is_cut) {
		if (ret_output->from < tail_from)
			ret_output->from = tail_from;
		skip = mark.tail + (size_t)(ret_output->from - tail_from);
		ret_output->len = len - (skip < len ? skip : len);
	} else {
		skip = len;
		ret_output->len = 0;
	}
	ret_output->bytes = (char *)text + skip;
}
