/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers, switches, sizes and durations. Every parser takes the whole string or nothing. */
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/ascii.h"
#include "base/mem.h"

struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit size_units[] = {
	{"", 1},
	{"KiB", INT64_C(1) << 10},
	{"MiB", INT64_C(1) << 20},
	{"GiB", INT64_C(1) << 30},
};

/* Falling; weeks only count when nothing is left over (see format_duration). */
static const struct unit duration_units[] = {
	{"w", INT64_C(604800000)},
	{"d", 86400000},
	{"h", 3600000},
	{"m", 60000},
	{"s", 1000},
	{"ms", 1},
};

/* Reads digits at *at into *ret_value, at least one, moving *at behind them. */
static bool scan_digits(const char **at, uint64_t *ret_value)
{
	const char *start = *at;
	uint64_t value = 0;

	for (; ascii_is_digit(**at); (*at)++)
		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, (uint64_t)(**at - '0'), &value))
			return false;
	*ret_value = value;
	return *at != start;
}

bool parse_i64(const char *text, int64_t min, int64_t max, int64_t *ret_value)
{
	uint64_t magnitude = 0;
	int64_t value = 0;
	bool is_negative = text && text[0] == '-';
	const char *at = is_negative ? text + 1 : text;

	if (!text || !scan_digits(&at, &magnitude) || *at != '\0')
		return false;
	if (is_negative ? __builtin_sub_overflow(0, magnitude, &value)
			: __builtin_add_overflow(0, magnitude, &value))
		return false;
	if (value < min || value > max)
		return false;
	*ret_value = value;
	return true;
}

int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int name_index(const char *const names[], const char *name)
{
	for (int i = 0; name && names[i]; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

bool parse_bool(const char *text, bool *ret_value)
{
	static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};

	for (size_t i = 0; text && i < COUNT_OF(words); i++) {
		if (strcmp(text, words[i]) == 0) {
			*ret_value = i % 2 == 1;
			return true;
		}
	}
	return false;
}

bool parse_size(const char *text, int64_t *ret_bytes)
{
	uint64_t count = 0;
	int64_t bytes = 0;

	if (!text || !scan_digits(&text, &count))
		return false;
	for (size_t i = 0; i < COUNT_OF(size_units); i++) {
		if (strcmp(text, size_units[i].name) != 0)
			continue;
		if (__builtin_mul_overflow(count, size_units[i].factor, &bytes))
			return false;
		*ret_bytes = bytes;
		return true;
	}
	return false;
}

/* The row whose name stands at *at up to the next digit or the end, searched from row `from` on,
 * which makes the units fall; COUNT_OF when there is none. */
static size_t scan_duration_unit(const char **at, size_t from)
{
	size_t len = 0;

	while ((*at)[len] != '\0' && !ascii_is_digit((*at)[len]))
		len++;
	for (size_t i = from; i < COUNT_OF(duration_units); i++) {
		const char *name = duration_units[i].name;

		if (strlen(name) == len && memcmp(name, *at, len) == 0) {
			*at += len;
			return i;
		}
	}
	return COUNT_OF(duration_units);
}

bool parse_duration(const char *text, int64_t *ret_ms)
{
	int64_t total = 0;
	size_t unit = 0;

	if (!text || *text == '\0')
		return false;
	if (strcmp(text, "0") == 0)
		text = "0s";
	for (; *text != '\0'; unit++) {
		uint64_t count = 0;
		int64_t part = 0;

		if (!scan_digits(&text, &count))
			return false;
		unit = scan_duration_unit(&text, unit);
		if (unit == COUNT_OF(duration_units) ||
			__builtin_mul_overflow(count, duration_units[unit].factor, &part) ||
			__builtin_add_overflow(total, part, &total))
			return false;
	}
	*ret_ms = total;
	return true;
}

const char *format_duration(int64_t ms, char ret_text[static DURATION_TEXT_SIZE])
{
	uint64_t rest = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
	uint64_t week = (uint64_t)duration_units[0].factor;
	int len = 0;

	if (rest == 0 || rest % week == 0) {
		(void)snprintf(ret_text, DURATION_TEXT_SIZE, "%s%" PRIu64 "%s", ms < 0 ? "-" : "",
			rest / week, rest == 0 ? "s" : "w");
		return ret_text;
	}
	if (ms < 0)
		ret_text[len++] = '-';
	for (size_t i = 1; i < COUNT_OF(duration_units); i++) {
		uint64_t factor = (uint64_t)duration_units[i].factor;

		if (rest / factor > 0)
			len += snprintf(ret_text + len, (size_t)(DURATION_TEXT_SIZE - len),
				"%" PRIu64 "%s", rest / factor, duration_units[i].name);
		rest %= factor;
	}
	return ret_text;
}
