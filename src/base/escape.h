/* SPDX-License-Identifier: Apache-2.0
 *
 * Text made safe for the place it is put into, so that it cannot end what surrounds it. */
#pragma once

#include <stddef.h>

#include "base/buf.h"

enum escape {
	ESCAPE_NONE,    /* as it is */
	ESCAPE_PERCENT, /* all but letters, digits and -._~ as %XX (RFC 3986 section 2.3) */
	ESCAPE_JSON,    /* the inside of a JSON string: quote, backslash, control characters */
	ESCAPE_XML,     /* & < > " ' as references; text and attribute values */
	ESCAPE_COUNT
};

/* A byte becomes at most so many. */
#define ESCAPE_GROWTH 6

/* Appends `len` bytes of `text`, escaped. */
void escape_append(enum escape escape, const char *text, size_t len, struct buf *out);
