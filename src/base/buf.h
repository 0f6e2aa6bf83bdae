/* SPDX-License-Identifier: Apache-2.0
 *
 * Growable bytes with a hard limit. Writing past the limit keeps what fits and sets is_cut. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* data is always NUL-terminated behind len once something was written; owned by the buffer. */
struct buf {
	char *data;
	size_t len;
	size_t size;
	size_t limit;
	bool is_cut;
};

/* Starts empty; at most `limit` bytes will ever be held. buf_fini frees; both can be repeated. */
void buf_init(struct buf *buf, size_t limit);
void buf_fini(struct buf *buf);

void buf_append(struct buf *buf, const void *bytes, size_t len);
void buf_puts(struct buf *buf, const char *text);
void buf_putc(struct buf *buf, char c);
void buf_printf(struct buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Forgets the content, keeps the memory. */
void buf_clear(struct buf *buf);

/* The text, never NULL; valid until the next write. */
const char *buf_text(const struct buf *buf);

/* Hands the NUL-terminated content to the caller (free()), leaving the buffer empty. Never NULL. */
char *buf_take(struct buf *buf);
