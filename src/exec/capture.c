/* SPDX-License-Identifier: Apache-2.0
 *
 * Output of an attempt: whatever its length, the end is what tells why it failed, so the last bytes
 * are kept and the rest is only counted. A ring: no byte is moved twice, however much is written.
 * Bytes are bytes here; text for people is cleaned where it is shown. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "exec_priv.h"

#define CAPTURE_FIRST 256 /* most output is shorter than this */
#define MARK_SIZE     64

void capture_init(struct capture *capture, size_t max)
{
	*capture = (struct capture){.max = max};
}

void capture_fini(struct capture *capture)
{
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

void capture_write(struct capture *capture, const void *bytes, size_t len)
{
	const char *from = bytes;
	size_t over, at, first;

	capture->total += (int64_t)len;
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

char *capture_copy(const struct capture *capture, size_t *ret_len)
{
	bool is_cut = capture->total > (int64_t)capture->len;
	size_t skip = is_cut ? broken_prefix(capture) : 0;
	size_t len = capture->len - skip;
	struct buf out;

	buf_init(&out, len + MARK_SIZE);
	if (is_cut)
		buf_printf(&out, "[... %lld bytes left out ...]\n",
			(long long)(capture->total - (int64_t)len));
	if (len > 0) {
		size_t at = (capture->start + skip) % capture->size;
		size_t first = len < capture->size - at ? len : capture->size - at;

		buf_append(&out, capture->bytes + at, first);
		buf_append(&out, capture->bytes, len - first);
	}
	*ret_len = out.len;
	return buf_take(&out);
}
