/* SPDX-License-Identifier: Apache-2.0
 *
 * Text to values and back: whole-string parsers that never guess, and UTF-8. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Decimal integer, whole string, optional '-', min <= value <= max. */
bool parse_i64(const char *text, int64_t min, int64_t max, int64_t *ret_value);

/* 0 to 15, or -1 when it is no hexadecimal digit. */
int hex_value(char c);

/* The place of `name` in a table of names, NULL at its end; -1 when it is none of them, or NULL. */
int name_index(const char *const names[], const char *name);

/* true|false|yes|no|on|off|1|0 */
bool parse_bool(const char *text, bool *ret_value);

/* "512", "64KiB", "1MiB", "2GiB" -> bytes. */
bool parse_size(const char *text, int64_t *ret_bytes);

/* "250ms", "10s", "1h30m", "7d", "2w"; units ms s m h d w, each at most once and in falling order;
 * not negative. A bare number is refused except "0". */
bool parse_duration(const char *text, int64_t *ret_ms);

/* The shortest such text ("90s" -> "1m30s"); returns `ret_text`. */
#define DURATION_TEXT_SIZE 48
const char *format_duration(int64_t ms, char ret_text[static DURATION_TEXT_SIZE]);

/* RFC 3339: "2026-11-22T01:30:00Z", "2026-11-22T02:30:00.250+01:00". An offset is required; a leap
 * second (:60) counts as the next second; years 1970 to 9999. Digits past milliseconds are cut. */
bool parse_rfc3339(const char *text, int64_t *ret_at_ms);

/* UTC with Z; milliseconds only when not zero. `offset` writes local time with +hh:mm instead. */
#define RFC3339_TEXT_SIZE 40
const char *format_rfc3339(int64_t at_ms, char ret_text[static RFC3339_TEXT_SIZE]);
const char *format_rfc3339_offset(
	int64_t at_ms, int32_t offset_s, char ret_text[static RFC3339_TEXT_SIZE]);

/* "+05:45": what RFC 3339 writes of an offset. */
#define UTC_OFFSET_TEXT_SIZE 8
const char *format_utc_offset(int32_t offset_s, char ret_text[static UTC_OFFSET_TEXT_SIZE]);

/* Well-formed UTF-8 (RFC 3629) without NUL. */
bool utf8_is_valid(const char *bytes, size_t len);

/* Appends `bytes` with each ill-formed sequence and NUL replaced by U+FFFD. */
void utf8_clean(const char *bytes, size_t len, struct buf *out);
