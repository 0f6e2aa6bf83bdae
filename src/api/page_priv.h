/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages: the `limit` and the opaque `cursor` of lists. A cursor is base64url (RFC 4648 section 5,
 * no padding) of one letter for the list and the key of the last item shown. Clients must not look
 * inside; so a cursor of another list, or one somebody made up, is refused. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define PAGE_LIMIT_DEFAULT 100
#define PAGE_LIMIT_MAX     1000
#define PAGE_KEY_MAX       1024 /* bytes of a key; longer cursors are refused */

enum page_list {
	PAGE_BACKFILLS = 'b', /* as runs */
	PAGE_ACTIONS = 'a',   /* the key is a name */
	PAGE_RUNS = 'r'       /* the key is the 36 characters of an id */
};

/* `text` NULL: the default. ERR_BAD_REQUEST. */
int page_limit(const char *text, int *ret_limit, struct err *err);

/* The cursor that continues after `key`; owned by the caller. */
char *page_cursor(enum page_list list, const char *key);

/* The key in `cursor`, owned by the caller: well-formed UTF-8 without NUL. ERR_BAD_REQUEST. */
int page_key(enum page_list list, const char *cursor, char **ret_key, struct err *err);
