/* SPDX-License-Identifier: Apache-2.0
 *
 * UNTIL of a recurrence rule: an instant, or what a zone's clock shows last. */
#include "plan/rrule_priv.h"

#include "base/ascii.h"
#include "base/civil.h"

static bool read_digits(const char *at, int count, int *ret_number)
{
	*ret_number = 0;
	for (int i = 0; i < count; i++) {
		if (!ascii_is_digit(at[i]))
			return false;
		*ret_number = *ret_number * 10 + at[i] - '0';
	}
	return true;
}

/* 20261231, 20261231T235959 or 20261231T235959Z, as seconds of the clock; a date is its last one.
 */
static bool read_date(const struct piece *value, int64_t *ret_s)
{
	struct civil civil = {.hour = 23, .minute = 59, .second = 59};
	const char *at = value->at;

	if (value->len != 8 && value->len != 15 && value->len != 16)
		return false;
	if (!read_digits(at, 4, &civil.year) || !read_digits(at + 4, 2, &civil.month) ||
		!read_digits(at + 6, 2, &civil.day))
		return false;
	if (value->len > 8 && (ascii_upper(at[8]) != 'T' || !read_digits(at + 9, 2, &civil.hour) ||
				      !read_digits(at + 11, 2, &civil.minute) ||
				      !read_digits(at + 13, 2, &civil.second)))
		return false;
	if (civil.year < 1970 || civil.month < 1 || civil.month > 12 || civil.day < 1 ||
		civil.day > civil_days_in_month(civil.year, civil.month) || civil.hour > 23 ||
		civil.minute > 59 || civil.second > 59)
		return false;
	*ret_s = civil_seconds(&civil);
	return value->len < 16 || ascii_upper(at[15]) == 'Z';
}

/* The last instant at which the zone's clock has not passed local_s; of a time that falls into a
 * gap it is the first one after the gap, when that is due. */
static int64_t last_instant(const struct zone *zone, int64_t local_s)
{
	int64_t at_s = local_s - 2 * SECONDS_PER_DAY, last_s = at_s;

	while (at_s < local_s + 2 * SECONDS_PER_DAY) {
		struct zone_span span = zone_find(zone, at_s);
		bool is_in_gap = local_s >= span.start_at_s + span.before_s &&
				 local_s < span.start_at_s + span.offset_s;

		if (span.start_at_s != INT64_MIN && is_in_gap)
			last_s = span.start_at_s;
		else if (local_s - span.offset_s >= span.start_at_s)
			last_s = local_s - span.offset_s < span.end_at_s ? local_s - span.offset_s
									 : span.end_at_s - 1;
		at_s = span.end_at_s;
	}
	return last_s;
}

bool rrule_read_until(const struct piece *value, const struct zone *zone, int64_t *ret_until_ms)
{
	int64_t until_s = 0;

	if (!read_date(value, &until_s))
		return false;
	if (value->len < 16)
		until_s = last_instant(zone, until_s);
	*ret_until_ms = until_s * 1000 + 999;
	return true;
}
