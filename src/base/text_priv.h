/* SPDX-License-Identifier: Apache-2.0
 *
 * UTF-8 a character at a time, for the other files of base/. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define UTF8_ILL_FORMED UINT32_MAX

/* Reads one character of at least one byte; returns how many bytes it took. An ill-formed one gives
 * UTF8_ILL_FORMED and takes the longest prefix of a well-formed character (at least one byte), as
 * the Unicode standard advises (section 3.9, "maximal subpart"). */
size_t utf8_next(const char *bytes, size_t len, uint32_t *ret_code);

/* The longest length <= len that does not end within a character. */
size_t utf8_cut(const char *bytes, size_t len);
