/* SPDX-License-Identifier: Apache-2.0
 *
 * UUID version 7 (RFC 9562 section 5.7): 48 bits of wall-clock milliseconds, then random bits; ids
 * made by one process within a millisecond still ascend. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ID_BYTES     16
#define ID_TEXT_SIZE 37

struct id {
	uint8_t bytes[ID_BYTES];
};

/* A fresh id, greater than every earlier one of this process. Loop thread only. */
struct id id_make(void);

/* An id made of two others, for rows that come of both: the same pair gives the same id. It carries
 * `now_ms`; any thread. */
struct id id_derive(const struct id *a, const struct id *b, int64_t now_ms);

/* Canonical text, lower case; returns `ret_text`. */
const char *id_format(const struct id *id, char ret_text[static ID_TEXT_SIZE]);

/* True and *ret_id set only for the canonical 36-character form (either case). */
bool id_parse(const char *text, struct id *ret_id);

bool id_equal(const struct id *a, const struct id *b);
bool id_is_zero(const struct id *id);
int id_compare(const struct id *a, const struct id *b);

/* FNV-1a (64 bit) over the bytes: for hash tables and stable spreading, not for secrets. */
uint64_t id_hash(const struct id *id);
