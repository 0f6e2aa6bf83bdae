/* SPDX-License-Identifier: Apache-2.0 */
#include "api/etag_priv.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

const char *etag_format(int64_t version, char ret_text[static ETAG_SIZE])
{
	(void)snprintf(ret_text, ETAG_SIZE, "\"%" PRId64 "\"", version);
	return ret_text;
}

static const char *skip_blanks(const char *text)
{
	return text + strspn(text, " \t");
}

enum etag_match etag_if_match(const char *header, int64_t version)
{
	char own[ETAG_SIZE];
	size_t own_len = strlen(etag_format(version, own));
	enum etag_match result = ETAG_DIFFERS;

	header = skip_blanks(header);
	if (*header == '*')
		return *skip_blanks(header + 1) == '\0' ? ETAG_MATCHES : ETAG_MALFORMED;
	for (;;) {
		bool is_weak = strncmp(header, "W/", 2) == 0;
		const char *tag = header + (is_weak ? 2 : 0);
		const char *end = *tag == '"' ? strchr(tag + 1, '"') : NULL;

		if (!end)
			return ETAG_MALFORMED;
		if (!is_weak && (size_t)(end + 1 - tag) == own_len &&
			memcmp(tag, own, own_len) == 0)
			result = ETAG_MATCHES;
		header = skip_blanks(end + 1);
		if (*header == '\0')
			return result;
		if (*header != ',')
			return ETAG_MALFORMED;
		header = skip_blanks(header + 1);
	}
}
