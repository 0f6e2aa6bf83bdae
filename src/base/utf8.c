/* SPDX-License-Identifier: Apache-2.0
 *
 * UTF-8 after RFC 3629: shortest forms only, no surrogates, nothing above U+10FFFF. */
#include <stdbool.h>

#include "base/text.h"
#include "base/text_priv.h"

#define UTF8_REPLACEMENT "\xef\xbf\xbd"

/* What may follow a first byte: the syntax of RFC 3629 section 4. The bounds of the second byte
 * keep out overlong forms, surrogates and the planes above 16; later bytes are always 80..BF. */
struct utf8_lead {
	uint8_t first, last;
	uint8_t len;
	uint8_t second_min, second_max;
};

static const struct utf8_lead utf8_leads[] = {
	{0x00, 0x7f, 1, 0x00, 0x00},
	{0xc2, 0xdf, 2, 0x80, 0xbf},
	{0xe0, 0xe0, 3, 0xa0, 0xbf},
	{0xe1, 0xec, 3, 0x80, 0xbf},
	{0xed, 0xed, 3, 0x80, 0x9f},
	{0xee, 0xef, 3, 0x80, 0xbf},
	{0xf0, 0xf0, 4, 0x90, 0xbf},
	{0xf1, 0xf3, 4, 0x80, 0xbf},
	{0xf4, 0xf4, 4, 0x80, 0x8f},
};

static const struct utf8_lead *utf8_find_lead(uint8_t byte)
{
	for (size_t i = 0; i < sizeof(utf8_leads) / sizeof(utf8_leads[0]); i++)
		if (byte >= utf8_leads[i].first && byte <= utf8_leads[i].last)
			return &utf8_leads[i];
	return NULL;
}

size_t utf8_next(const char *bytes, size_t len, uint32_t *ret_code)
{
	const uint8_t *at = (const uint8_t *)bytes;
	const struct utf8_lead *lead = utf8_find_lead(at[0]);
	uint32_t code = 0;
	size_t i = 1;

	*ret_code = UTF8_ILL_FORMED;
	if (!lead)
		return 1;
	code = lead->len == 1 ? at[0] : at[0] & (0x7fu >> lead->len);
	for (; i < lead->len; i++) {
		uint8_t min = i == 1 ? lead->second_min : 0x80;
		uint8_t max = i == 1 ? lead->second_max : 0xbf;

		if (i >= len || at[i] < min || at[i] > max)
			return i;
		code = code << 6 | (at[i] & 0x3fu);
	}
	*ret_code = code;
	return i;
}

size_t utf8_cut(const char *bytes, size_t len)
{
	size_t start = len;

	/* Back to the first byte of the last character, which is at most three before the end. */
	while (start > 0 && len - start < 3 && ((uint8_t)bytes[start - 1] & 0xc0) == 0x80)
		start--;
	if (start == 0)
		return len;
	start--;
	const struct utf8_lead *lead = utf8_find_lead((uint8_t)bytes[start]);

	return lead && lead->len > len - start ? start : len;
}

bool utf8_is_valid(const char *bytes, size_t len)
{
	for (size_t at = 0; at < len;) {
		uint32_t code = 0;

		at += utf8_next(bytes + at, len - at, &code);
		if (code == UTF8_ILL_FORMED || code == 0)
			return false;
	}
	return true;
}

void utf8_clean(const char *bytes, size_t len, struct buf *out)
{
	for (size_t at = 0; at < len;) {
		uint32_t code = 0;
		size_t took = utf8_next(bytes + at, len - at, &code);

		if (code == UTF8_ILL_FORMED || code == 0)
			buf_puts(out, UTF8_REPLACEMENT);
		else
			buf_append(out, bytes + at, took);
		at += took;
	}
}
