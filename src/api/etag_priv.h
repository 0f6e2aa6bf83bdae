/* SPDX-License-Identifier: Apache-2.0
 *
 * Entity tags (RFC 9110 sections 8.8.3 and 13.1.1): the version of an action in quotes. */
#pragma once

#include <stdint.h>

#define ETAG_SIZE 24
const char *etag_format(int64_t version, char ret_text[static ETAG_SIZE]);

enum etag_match {
	ETAG_MATCHES,
	ETAG_DIFFERS,
	ETAG_MALFORMED
};

/* `If-Match` against the version that stands now. "*" matches; a weak tag never does, as the RFC
 * demands of this header. */
enum etag_match etag_if_match(const char *header, int64_t version);
