/* SPDX-License-Identifier: Apache-2.0
 *
 * Recurrence rules (RFC 5545, 3.3.10): text to struct rrule. A table says for each part which
 * values it takes and with which FREQ it goes; what the rule leaves open is taken from the moment
 * it counts from, as the RFC has it. An error names the part, what was written and what is allowed.
 */
#include "plan/rrule_priv.h"

#include <inttypes.h>
#include <string.h>

#include "base/ascii.h"
#include "base/civil.h"
#include "base/mem.h"
#include "base/text.h"

#define INTERVAL_MAX_S (INT64_C(36525) * SECONDS_PER_DAY)

enum part {
	PART_FREQ,
	PART_INTERVAL,
	PART_COUNT,
	PART_UNTIL,
	PART_WKST,
	PART_BYSECOND,
	PART_BYMINUTE,
	PART_BYHOUR,
	PART_BYDAY,
	PART_BYMONTHDAY,
	PART_BYYEARDAY,
	PART_BYWEEKNO,
	PART_BYMONTH,
	PART_BYSETPOS,
	PARTS
};

#define ONLY(freq)  (1u << (freq))
#define ALL_FREQS   (ONLY(FREQ_YEARLY + 1) - 1)
#define BELOW_DAILY (ONLY(FREQ_SECONDLY) | ONLY(FREQ_MINUTELY) | ONLY(FREQ_HOURLY))

/* `max` of a list of numbers (0: no such list), and whether they count from the end as well. */
static const struct {
	const char *name;
	int min, max;
	bool is_signed;
	unsigned freqs; /* it goes with */
} parts[PARTS] = {
	[PART_FREQ] = {"FREQ", .freqs = ALL_FREQS},
	[PART_INTERVAL] = {"INTERVAL", .freqs = ALL_FREQS},
	[PART_COUNT] = {"COUNT", .freqs = ALL_FREQS},
	[PART_UNTIL] = {"UNTIL", .freqs = ALL_FREQS},
	[PART_WKST] = {"WKST", .freqs = ALL_FREQS},
	[PART_BYSECOND] = {"BYSECOND", 0, 59, false, ALL_FREQS},
	[PART_BYMINUTE] = {"BYMINUTE", 0, 59, false, ALL_FREQS},
	[PART_BYHOUR] = {"BYHOUR", 0, 23, false, ALL_FREQS},
	[PART_BYDAY] = {"BYDAY", .freqs = ALL_FREQS},
	[PART_BYMONTHDAY] = {"BYMONTHDAY", 1, 31, true, ALL_FREQS & ~ONLY(FREQ_WEEKLY)},
	[PART_BYYEARDAY] = {"BYYEARDAY", 1, 366, true, BELOW_DAILY | ONLY(FREQ_YEARLY)},
	[PART_BYWEEKNO] = {"BYWEEKNO", 1, 53, true, ONLY(FREQ_YEARLY)},
	[PART_BYMONTH] = {"BYMONTH", 1, 12, false, ALL_FREQS},
	[PART_BYSETPOS] = {"BYSETPOS", 1, RRULE_NUMBERS_MAX, true, ALL_FREQS},
};

/* In the order of enum rrule_freq. */
static const char *const freq_names[] = {
	"SECONDLY", "MINUTELY", "HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"};
static const char day_names[] = "SUMOTUWETHFRSA";

/* What was written: the values of the parts, at == NULL for those that are not there. */
struct reader {
	struct piece values[PARTS];
	struct rrule *rule;
	int64_t count; /* 0: none */
	struct err *err;
};

/* --- pieces of text --- */

static struct subject in(const struct reader *reader, enum part part)
{
	return (struct subject){reader->err, "/rrule", "rrule part", parts[part].name};
}

/* Takes what stands before `separator`; false when nothing is left. */
static bool take(struct piece *rest, char separator, struct piece *ret_piece)
{
	const char *end;

	if (!rest->at)
		return false;
	end = memchr(rest->at, separator, rest->len);
	*ret_piece = (struct piece){rest->at, end ? (size_t)(end - rest->at) : rest->len};
	if (end)
		*rest = (struct piece){end + 1, rest->len - ret_piece->len - 1};
	else
		rest->at = NULL;
	return true;
}

/* Digits with an optional sign, at most `digits` of them; *ret_len is what was read, 0: no number.
 */
static int64_t read_number(const struct piece *piece, int digits, size_t *ret_len)
{
	bool has_sign = piece->len > 0 && (*piece->at == '-' || *piece->at == '+');
	size_t i = has_sign;
	int64_t number = 0;

	for (; i < piece->len && ascii_is_digit(piece->at[i]); i++)
		if (digits-- > 0)
			number = number * 10 + piece->at[i] - '0';
	*ret_len = i > has_sign && digits >= 0 ? i : 0;
	return has_sign && *piece->at == '-' ? -number : number;
}

/* 0 (Sunday) to 6; -1. */
static int read_weekday(const struct piece *piece)
{
	for (int day = 0; piece->len == 2 && day < 7; day++)
		if (ascii_upper(piece->at[0]) == day_names[day * 2] &&
			ascii_upper(piece->at[1]) == day_names[day * 2 + 1])
			return day;
	return -1;
}

/* --- values --- */

static int read_freq(struct reader *reader)
{
	const struct piece *value = &reader->values[PART_FREQ];
	char shown[EXCERPT_SIZE];

	if (!value->at)
		return err_field(reader->err, ERR_INVALID, "/rrule",
			"rrule has no FREQ; write for example FREQ=MONTHLY;BYDAY=-1FR");
	for (int freq = FREQ_SECONDLY; freq <= FREQ_YEARLY; freq++)
		if (piece_is(value, freq_names[freq])) {
			reader->rule->freq = (enum rrule_freq)freq;
			return ERR_NONE;
		}
	return subject_fail(in(reader, PART_FREQ),
		"'%s' is none of SECONDLY MINUTELY HOURLY DAILY WEEKLY MONTHLY YEARLY",
		excerpt(value->at, value->len, shown));
}

/* A single number from 1 to max; *ret_number stays when the part is not there. */
static int read_amount(
	const struct reader *reader, enum part part, int64_t max, int64_t *ret_number)
{
	const struct piece *value = &reader->values[part];
	char shown[EXCERPT_SIZE];
	size_t len = 0;
	int64_t number;

	if (!value->at)
		return ERR_NONE;
	number = read_number(value, 12, &len);
	if (len == 0 || len != value->len || number < 1)
		return subject_fail(in(reader, part), "'%s' is not a number from 1 to %" PRId64,
			excerpt(value->at, value->len, shown), max);
	if (number > max)
		return subject_fail(in(reader, part), "%" PRId64 " is above %" PRId64, number, max);
	*ret_number = number;
	return ERR_NONE;
}

static int read_week_start(struct reader *reader)
{
	const struct piece *value = &reader->values[PART_WKST];
	char shown[EXCERPT_SIZE];
	int day = value->at ? read_weekday(value) : 1;

	if (day < 0)
		return subject_fail(in(reader, PART_WKST), "'%s' is none of MO TU WE TH FR SA SU",
			excerpt(value->at, value->len, shown));
	reader->rule->week_start = day;
	return ERR_NONE;
}

/* One number of a list. */
static int read_item(const struct reader *reader, enum part part, const struct piece *item,
	struct numbers *numbers)
{
	char shown[EXCERPT_SIZE];
	size_t len = 0;
	int64_t number = read_number(item, 9, &len);
	int64_t distance = number < 0 ? -number : number;

	if (len == 0 || len != item->len)
		return subject_fail(in(reader, part), "'%s' is not a number",
			excerpt(item->at, item->len, shown));
	if (number < 0 && !parts[part].is_signed)
		return subject_fail(
			in(reader, part), "%" PRId64 " is below %d", number, parts[part].min);
	if (distance < parts[part].min)
		return subject_fail(in(reader, part), "%" PRId64 " is not from %d to %d%s", number,
			parts[part].min, parts[part].max,
			parts[part].is_signed ? ", or the same with a minus, from the end" : "");
	if (distance > parts[part].max)
		return subject_fail(in(reader, part), "%" PRId64 " is %s %s%d", number,
			number < 0 ? "below" : "above", number < 0 ? "-" : "", parts[part].max);
	*(number < 0 ? &numbers->down[distance / 64] : &numbers->up[distance / 64]) |=
		UINT64_C(1) << distance % 64;
	return ERR_NONE;
}

static int read_list(const struct reader *reader, enum part part, struct numbers *ret_numbers)
{
	struct piece rest = reader->values[part], item;
	int code = ERR_NONE;

	*ret_numbers = (struct numbers){.is_given = rest.at != NULL};
	while (code == ERR_NONE && take(&rest, ',', &item))
		code = read_item(reader, part, &item, ret_numbers);
	return code;
}

/* How large the number before a weekday may be; 0: none is taken. */
static int ordinal_max(const struct reader *reader)
{
	enum rrule_freq freq = reader->rule->freq;
	bool is_in_month = freq == FREQ_MONTHLY || reader->values[PART_BYMONTH].at;

	if (freq < FREQ_MONTHLY || reader->values[PART_BYWEEKNO].at)
		return 0;
	return is_in_month ? 5 : RRULE_ORDINAL_MAX;
}

/* MO, or 2MO and -1MO. */
static int read_day(const struct reader *reader, const struct piece *item)
{
	struct rrule *rule = reader->rule;
	char shown[EXCERPT_SIZE];
	size_t len = 0;
	int64_t ordinal = read_number(item, 3, &len), max = ordinal_max(reader);
	int weekday = read_weekday(&(struct piece){item->at + len, item->len - len});

	(void)excerpt(item->at, item->len, shown);
	if (weekday < 0)
		return subject_fail(in(reader, PART_BYDAY),
			"'%s' is none of MO TU WE TH FR SA SU, nor one with a number such as -1FR",
			shown);
	if (len > 0 && max == 0)
		return subject_fail(in(reader, PART_BYDAY),
			"'%s' has a number, which goes with MONTHLY and with YEARLY without "
			"BYWEEKNO",
			shown);
	if (len > 0 && (ordinal == 0 || ordinal > max || ordinal < -max))
		return subject_fail(in(reader, PART_BYDAY),
			"the number of '%s' is not from 1 to %" PRId64 ", or from -1 to -%" PRId64,
			shown, max, max);
	*(len == 0            ? &rule->weekdays
		: ordinal > 0 ? &rule->weekdays_nth[ordinal]
			      : &rule->weekdays_nth_from_last[-ordinal]) |= (uint8_t)(1 << weekday);
	rule->weekdays_named |= (uint8_t)(1 << weekday);
	rule->has_ordinals |= len > 0;
	rule->has_ordinals_of_year = rule->has_ordinals && max > 5;
	return ERR_NONE;
}

static int read_days(const struct reader *reader)
{
	struct piece rest = reader->values[PART_BYDAY], item;
	int code = ERR_NONE;

	while (code == ERR_NONE && take(&rest, ',', &item))
		code = read_day(reader, &item);
	return code;
}

static int read_until(const struct reader *reader, const struct zone *zone)
{
	const struct piece *value = &reader->values[PART_UNTIL];
	char shown[EXCERPT_SIZE];

	if (!value->at)
		return ERR_NONE;
	if (!rrule_read_until(value, zone, &reader->rule->until_ms))
		return subject_fail(in(reader, PART_UNTIL),
			"'%s' is not a time such as 20261231T235959Z, or 20261231 on the zone's "
			"clock",
			excerpt(value->at, value->len, shown));
	return ERR_NONE;
}

/* --- parts --- */

static int find_part(const struct reader *reader, const struct piece *text, enum part *ret_part,
	const char *start)
{
	const char *equal = memchr(text->at, '=', text->len);
	struct piece name = {text->at, equal ? (size_t)(equal - text->at) : text->len};
	char shown[EXCERPT_SIZE];
	int place = (int)(text->at - start) + 1;

	(void)excerpt(name.at, name.len, shown);
	for (int part = 0; part < PARTS; part++)
		if (piece_is(&name, parts[part].name)) {
			*ret_part = (enum part)part;
			return equal ? ERR_NONE
				     : subject_fail(in(reader, *ret_part), "has no '=' and value");
		}
	if (name.len >= 5 && piece_is(&(struct piece){name.at, 5}, "RRULE"))
		return err_field(reader->err, ERR_INVALID, "/rrule",
			"rrule is written without 'RRULE:' in front");
	if (name.len >= 7 && piece_is(&(struct piece){name.at, 7}, "DTSTART"))
		return err_field(reader->err, ERR_INVALID, "/rrule",
			"rrule takes no DTSTART; give \"start_at\" beside it");
	if (name.len == 0)
		return err_field(reader->err, ERR_INVALID, "/rrule",
			"rrule has an empty part at character %d; parts are NAME=VALUE with ';' "
			"between",
			place);
	return err_field(reader->err, ERR_INVALID, "/rrule",
		"unknown rrule part '%s' at character %d; there are FREQ INTERVAL COUNT UNTIL WKST "
		"BYSECOND BYMINUTE BYHOUR BYDAY BYMONTHDAY BYYEARDAY BYWEEKNO BYMONTH BYSETPOS",
		shown, place);
}

static int split_parts(struct reader *reader, const char *text)
{
	struct piece rest = {text, strnlen(text, RRULE_TEXT_MAX + 1)}, piece;

	if (rest.len > RRULE_TEXT_MAX)
		return err_field(reader->err, ERR_INVALID, "/rrule",
			"rrule is longer than %d characters", RRULE_TEXT_MAX);
	while (take(&rest, ';', &piece)) {
		enum part part = PARTS;
		int code = find_part(reader, &piece, &part, text);
		size_t skip = code == ERR_NONE ? strlen(parts[part].name) + 1 : 0;

		if (code != ERR_NONE)
			return code;
		if (reader->values[part].at)
			return subject_fail(in(reader, part), "is given twice");
		reader->values[part] = (struct piece){piece.at + skip, piece.len - skip};
	}
	return ERR_NONE;
}

/* What RFC 5545 says goes together. */
static int check_parts(const struct reader *reader)
{
	enum rrule_freq freq = reader->rule->freq;
	bool has_by = false;

	for (int part = 0; part < PARTS; part++) {
		if (!reader->values[part].at)
			continue;
		if (!(parts[part].freqs & ONLY(freq)))
			return subject_fail(in(reader, (enum part)part), "does not go with FREQ=%s",
				freq_names[freq]);
		has_by |= part >= PART_BYSECOND && part != PART_BYSETPOS;
	}
	if (reader->values[PART_COUNT].at && reader->values[PART_UNTIL].at)
		return subject_fail(in(reader, PART_COUNT),
			"does not go with UNTIL: only one of them can end the rule");
	if (reader->values[PART_BYSETPOS].at && !has_by)
		return subject_fail(
			in(reader, PART_BYSETPOS), "needs another BY part to pick from");
	return ERR_NONE;
}

/* --- what the rule leaves open --- */

static uint64_t one_of(uint64_t given, bool is_free, int from_start, int count)
{
	if (given)
		return given;
	return is_free ? (UINT64_C(1) << count) - 1 : UINT64_C(1) << from_start;
}

/* What is longer than FREQ is free when it is not given; what is shorter is DTSTART's. */
static int read_times(const struct reader *reader, const struct civil *start)
{
	struct rrule *rule = reader->rule;
	struct numbers seconds, minutes, hours;

	if (read_list(reader, PART_BYSECOND, &seconds) < 0 ||
		read_list(reader, PART_BYMINUTE, &minutes) < 0 ||
		read_list(reader, PART_BYHOUR, &hours) < 0)
		return ERR_INVALID;
	rule->times.seconds = one_of(seconds.up[0], rule->freq <= FREQ_SECONDLY, start->second, 60);
	rule->times.minutes = one_of(minutes.up[0], rule->freq <= FREQ_MINUTELY, start->minute, 60);
	rule->times.hours =
		(uint32_t)one_of(hours.up[0], rule->freq <= FREQ_HOURLY, start->hour, 24);
	return ERR_NONE;
}

/* A rule that names no day has DTSTART's; *ret_is_derived says so. */
static void derive_days(
	const struct reader *reader, const struct civil *start, bool *ret_is_derived)
{
	struct rrule *rule = reader->rule;
	bool has_days = rule->month_days || rule->month_days_from_last || rule->weekdays_named ||
			rule->year_days.is_given;
	uint8_t weekday =
		(uint8_t)(1 << civil_weekday(civil_days(start->year, start->month, start->day)));

	*ret_is_derived = !has_days && rule->freq > FREQ_DAILY;
	if (!*ret_is_derived)
		return;
	if (rule->freq == FREQ_WEEKLY || rule->weeks.is_given) {
		rule->weekdays = rule->weekdays_named = weekday;
		return;
	}
	rule->month_days = UINT32_C(1) << start->day;
	if (rule->freq == FREQ_YEARLY && !reader->values[PART_BYMONTH].at)
		rule->months = (uint16_t)(1 << start->month);
}

static int read_dates(const struct reader *reader, const struct civil *start, bool *ret_is_derived)
{
	struct rrule *rule = reader->rule;
	struct numbers months, days;

	if (read_list(reader, PART_BYMONTH, &months) < 0 ||
		read_list(reader, PART_BYMONTHDAY, &days) < 0 ||
		read_list(reader, PART_BYYEARDAY, &rule->year_days) < 0 ||
		read_list(reader, PART_BYWEEKNO, &rule->weeks) < 0 ||
		read_list(reader, PART_BYSETPOS, &rule->positions) < 0 || read_days(reader) < 0)
		return ERR_INVALID;
	rule->months = months.is_given ? (uint16_t)months.up[0] : 0x1ffe;
	rule->month_days = (uint32_t)days.up[0];
	rule->month_days_from_last = (uint32_t)days.down[0];
	derive_days(reader, start, ret_is_derived);
	return ERR_NONE;
}

/* --- rules --- */

static int read_rule(struct reader *reader, const char *text, bool *ret_is_derived)
{
	struct civil start = civil_from_seconds(reader->rule->origin_s);
	struct rrule *rule = reader->rule;

	rule->interval = 1;
	if (split_parts(reader, text) < 0 || read_freq(reader) < 0 || check_parts(reader) < 0 ||
		read_amount(reader, PART_INTERVAL, INTERVAL_MAX_S / rrule_freq_s[rule->freq],
			&rule->interval) < 0 ||
		read_amount(reader, PART_COUNT, RRULE_COUNT_MAX, &reader->count) < 0 ||
		read_week_start(reader) < 0 || read_times(reader, &start) < 0 ||
		read_dates(reader, &start, ret_is_derived) < 0)
		return ERR_INVALID;
	return ERR_NONE;
}

/* Is there a time at all, and which one is the last by COUNT? */
static int settle(struct reader *reader, bool has_start)
{
	struct rrule *rule = reader->rule;
	const char *why = NULL;
	int64_t found_s = 0, last_s = 0, from_s = has_start ? rule->first_s : 0;

	if (!rrule_finish(rule, &why))
		return err_field(reader->err, ERR_INVALID, "/rrule", "rrule %s", why);
	if (!rrule_next(rule, from_s, from_s + HORIZON_S, &found_s))
		return err_field(reader->err, ERR_INVALID, "/rrule",
			"rrule can never be due: nothing within %d years matches all of its parts",
			HORIZON_YEARS);
	if (reader->count > 0 && !has_start)
		return subject_fail(in(reader, PART_COUNT),
			"counts from \"start_at\", which is not there (\"max_runs\" counts runs)");
	if (reader->count > 0 && rrule_nth(rule, reader->count, &last_s))
		rule->last_s = last_s;
	/* start_at is a bound by itself, of moments: a clock that is set back shows times before
	 * it. */
	if (reader->count == 0)
		rule->first_s = INT64_MIN;
	return ERR_NONE;
}

int rrule_parse(const struct schedule_spec *spec, const struct zone *zone, int64_t start_at_ms,
	struct rrule **ret_rule, char warning[static WARNING_SIZE], struct err *err)
{
	auto_free struct rrule *rule = xcalloc(1, sizeof(*rule));
	struct reader reader = {.rule = rule, .err = err};
	int64_t start_s = start_at_ms / 1000;
	bool is_derived = false;

	rule->first_s = INT64_MIN;
	rule->last_s = DUE_MAX_S;
	rule->until_ms = DUE_MAX_MS;
	if (spec->start_at) {
		rule->origin_s = start_s + zone_find(zone, start_s).offset_s;
		rule->first_s = rule->origin_s + (start_at_ms % 1000 > 0);
	}
	if (read_rule(&reader, spec->rrule, &is_derived) < 0 || read_until(&reader, zone) < 0 ||
		settle(&reader, spec->start_at) < 0)
		return ERR_INVALID;
	if (!spec->start_at && (is_derived || rule->interval > 1))
		warning_add(warning,
			"without start_at the rule counts from 1970-01-01T00:00:00, a Thursday, on "
			"the zone's clock");
	*ret_rule = take_ptr(rule);
	return ERR_NONE;
}

bool rrule_is_interval_like(const struct rrule *rule)
{
	return rule->freq < FREQ_DAILY;
}

int64_t rrule_until_ms(const struct rrule *rule)
{
	return rule->until_ms;
}
