/* SPDX-License-Identifier: Apache-2.0 */
#include "api/page_priv.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

int page_limit(const char *text, int *ret_limit, struct err *err)
{
	int64_t limit = PAGE_LIMIT_DEFAULT;

	if (text && !parse_i64(text, 1, PAGE_LIMIT_MAX, &limit))
		return err_set(err, ERR_BAD_REQUEST,
			"query parameter 'limit': '%.32s' is not a number from 1 to %d", text,
			PAGE_LIMIT_MAX);
	*ret_limit = (int)limit;
	return 0;
}

char *page_cursor(enum page_list list, const char *key)
{
	size_t len = strlen(key) + 1;
	char *out = xmalloc(len / 3 * 4 + 4);
	char *at = out;
	uint32_t bits = 0;
	int pending = 0;

	for (size_t i = 0; i < len; i++) {
		bits = bits << 8 | (i == 0 ? (uint8_t)list : (uint8_t)key[i - 1]);
		for (pending += 8; pending >= 6; pending -= 6)
			*at++ = alphabet[bits >> (pending - 6) & 63];
	}
	if (pending > 0)
		*at++ = alphabet[bits << (6 - pending) & 63];
	*at = '\0';
	return out;
}

/* Decodes into `out`; false for a foreign character or leftover bits that are not zero. */
static bool decode(const char *text, char *out, size_t *ret_len)
{
	uint32_t bits = 0;
	int pending = 0;
	size_t len = 0;

	for (; *text != '\0'; text++) {
		const char *place = strchr(alphabet, *text);

		if (!place)
			return false;
		bits = bits << 6 | (uint32_t)(place - alphabet);
		pending += 6;
		if (pending >= 8) {
			pending -= 8;
			out[len++] = (char)(bits >> pending & 255);
		}
	}
	*ret_len = len;
	return pending < 6 && (bits & ((1u << pending) - 1)) == 0;
}

int page_key(enum page_list list, const char *cursor, char **ret_key, struct err *err)
{
	size_t cursor_len = strlen(cursor);
	auto_free char *bytes = NULL;
	size_t len;

	if (cursor_len > (PAGE_KEY_MAX + 1) * 4 / 3 + 1)
		goto bad;
	bytes = xmalloc(cursor_len + 1);
	if (!decode(cursor, bytes, &len) || len < 2 || bytes[0] != (char)list ||
		!utf8_is_valid(bytes + 1, len - 1))
		goto bad;
	*ret_key = xstrndup(bytes + 1, len - 1);
	return 0;
bad:
	return err_set(err, ERR_BAD_REQUEST,
		"query parameter 'cursor' is not one that this list gave out; start without it");
}
