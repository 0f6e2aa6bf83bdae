/* SPDX-License-Identifier: Apache-2.0
 *
 * RFC 3339 date-times to milliseconds and back. The parser walks the fixed columns of section 5.6;
 * an offset is required, so that no text ever means two moments. */
#include <inttypes.h>
#include <stdio.h>

#include "base/ascii.h"
#include "base/civil.h"
#include "base/text.h"

#define YEAR_MIN  1970
#define YEAR_MAX  9999
#define AT_MS_MAX INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */

/* Exactly `digits` digits at *at, as a number within min..max. */
static bool scan_field(const char **at, int digits, int min, int max, int *ret_value)
{
	int value = 0;

	for (int i = 0; i < digits; i++, (*at)++) {
		if (!ascii_is_digit(**at))
			return false;
		value = value * 10 + (**at - '0');
	}
	*ret_value = value;
	return value >= min && value <= max;
}

/* One character out of `choices`. */
static bool scan_one_of(const char **at, const char *choices, char *ret_found)
{
	for (; *choices != '\0'; choices++) {
		if (**at == *choices) {
			*ret_found = *choices;
			(*at)++;
			return true;
		}
	}
	return false;
}

static bool scan_char(const char **at, char wanted)
{
	return *(*at)++ == wanted;
}

static bool scan_date(const char **at, struct civil *civil)
{
	return scan_field(at, 4, YEAR_MIN, YEAR_MAX, &civil->year) && scan_char(at, '-') &&
	       scan_field(at, 2, 1, 12, &civil->month) && scan_char(at, '-') &&
	       scan_field(at, 2, 1, civil_days_in_month(civil->year, civil->month), &civil->day);
}

static bool scan_time(const char **at, struct civil *civil)
{
	return scan_field(at, 2, 0, 23, &civil->hour) && scan_char(at, ':') &&
	       scan_field(at, 2, 0, 59, &civil->minute) && scan_char(at, ':') &&
	       scan_field(at, 2, 0, 60, &civil->second);
}

/* ".25" -> 250. Digits past the third must be digits, but are not looked at. */
static bool scan_fraction(const char **at, int *ret_ms)
{
	int scale = 100;

	*ret_ms = 0;
	if (**at != '.')
		return true;
	(*at)++;
	if (!ascii_is_digit(**at))
		return false;
	for (; ascii_is_digit(**at); (*at)++, scale /= 10)
		*ret_ms += (**at - '0') * scale;
	return true;
}

static bool scan_offset(const char **at, int *ret_offset_s)
{
	char sign = 0;
	int hours = 0, minutes = 0;

	if (!scan_one_of(at, "Zz+-", &sign))
		return false;
	if (sign == '+' || sign == '-') {
		if (!scan_field(at, 2, 0, 23, &hours) || !scan_char(at, ':') ||
			!scan_field(at, 2, 0, 59, &minutes))
			return false;
	}
	*ret_offset_s = (hours * 3600 + minutes * 60) * (sign == '-' ? -1 : 1);
	return true;
}

bool parse_rfc3339(const char *text, int64_t *ret_at_ms)
{
	struct civil civil = {0};
	int fraction_ms = 0, offset_s = 0;
	int64_t at_ms = 0;
	char separator = 0;

	if (!text || !scan_date(&text, &civil) || !scan_one_of(&text, "Tt", &separator) ||
		!scan_time(&text, &civil) || !scan_fraction(&text, &fraction_ms) ||
		!scan_offset(&text, &offset_s) || *text != '\0')
		return false;
	at_ms = (civil_seconds(&civil) - offset_s) * 1000 + fraction_ms;
	if (at_ms < 0 || at_ms > AT_MS_MAX)
		return false;
	*ret_at_ms = at_ms;
	return true;
}

/* Writes the fields of local time `local_ms` without a zone; returns the length, 0 when the year
 * does not have four digits. */
static int format_local(int64_t local_ms, char *ret_text)
{
	int64_t ms = local_ms % 1000 < 0 ? local_ms % 1000 + 1000 : local_ms % 1000;
	struct civil civil = {0};
	int len = 0;

	/* From 0000-01-01, so that a moment near 1970 can be shown west of Greenwich. */
	if (local_ms < civil_days(0, 1, 1) * INT64_C(86400000) || local_ms > AT_MS_MAX)
		return 0;
	civil = civil_from_seconds((local_ms - ms) / 1000);
	len = snprintf(ret_text, RFC3339_TEXT_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d", civil.year,
		civil.month, civil.day, civil.hour, civil.minute, civil.second);
	if (ms != 0)
		len += snprintf(
			ret_text + len, (size_t)(RFC3339_TEXT_SIZE - len), ".%03d", (int)ms);
	return len;
}

const char *format_rfc3339(int64_t at_ms, char ret_text[static RFC3339_TEXT_SIZE])
{
	int len = format_local(at_ms, ret_text);

	(void)snprintf(ret_text + len, (size_t)(RFC3339_TEXT_SIZE - len), len > 0 ? "Z" : "-");
	return ret_text;
}

const char *format_utc_offset(int32_t offset_s, char ret_text[static UTC_OFFSET_TEXT_SIZE])
{
	int32_t minutes = offset_s / 60, size = minutes < 0 ? -minutes : minutes;

	(void)snprintf(ret_text, UTC_OFFSET_TEXT_SIZE, "%c%02d:%02d", minutes < 0 ? '-' : '+',
		size / 60 % 100, size % 60);
	return ret_text;
}

const char *format_rfc3339_offset(
	int64_t at_ms, int32_t offset_s, char ret_text[static RFC3339_TEXT_SIZE])
{
	/* RFC 3339 has no seconds in an offset; local time follows the offset as it is written. */
	char offset[UTC_OFFSET_TEXT_SIZE];
	int64_t local_ms = 0;
	int len = 0;

	if (!__builtin_add_overflow(at_ms, offset_s / 60 * INT64_C(60000), &local_ms))
		len = format_local(local_ms, ret_text);
	if (len == 0)
		(void)snprintf(ret_text, RFC3339_TEXT_SIZE, "-");
	else
		(void)snprintf(ret_text + len, (size_t)(RFC3339_TEXT_SIZE - len), "%s",
			format_utc_offset(offset_s, offset));
	return ret_text;
}
