/* SPDX-License-Identifier: Apache-2.0
 *
 * The search against brute force: a random expression in a random zone, walked minute by minute
 * with the C library's idea of local time and the rules of doc/schedules.md applied to each minute,
 * must be due when schedule_next says so. Nothing of plan/ is used on the slow side: the expression
 * is made as text and as sets at the same time, the zone is libc's, and what a name picks for H and
 * jitter is computed here from the formula in doc/schedules.md. Some schedules have bounds. A
 * quarter are recurrence rules that a cron expression could stand for (test_rrule.c has the
 * others).
 *
 * A window is a few days, mostly around a change of the clock; it is computed once and serves many
 * expressions and starting points. GATHERING_TEST_WINDOWS asks for more of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "plan_input.h"
#include "seed.h"

#define WINDOWS        200
#define EXPRESSIONS    60 /* a window */
#define STARTS         18 /* an expression */
#define WINDOW_MINUTES (4 * 1440)
#define MARGIN_MINUTES (2 * 1440)
#define INSTANTS       (WINDOW_MINUTES + 2 * MARGIN_MINUTES)
#define LOCAL_SPARE    1500 /* a day of gap, and an hour */
#define LOCALS         (INSTANTS + 2 * LOCAL_SPARE)
#define SPECIALS_MAX   4
#define NOWHERE        (-1)
#define JITTER_MAX_S   86400 /* of a test */

static const char *const zones[] = {"Australia/Lord_Howe", "America/Santiago", "America/Asuncion",
	"Africa/Cairo", "Pacific/Apia", "Africa/Casablanca", "Antarctica/Troll", "Europe/Dublin",
	"Asia/Kathmandu", "America/New_York", "Europe/Paris", "Europe/Riga", "UTC", "America/Nuuk",
	"Asia/Gaza", "Pacific/Chatham", "America/St_Johns", "Pacific/Kwajalein"};

/* --- a window of time in a zone --- */

struct local_minute {
	int minute, hour, day, month, weekday, last_day;
	int first, last; /* the instants that show it; NOWHERE when it is in a gap */
	int after_gap;   /* the instant right after the gap it is in */
};

struct window {
	const char *zone;
	int64_t start_s;        /* instant 0 */
	int local_of[INSTANTS]; /* index into locals */
	struct local_minute locals[LOCALS];
};

static long libc_offset(int64_t at_s)
{
	time_t at_time = at_s;
	struct tm tm;

	assert_non_null(localtime_r(&at_time, &tm));
	return tm.tm_gmtoff;
}

static int days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month - 1] +
	       (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
}

static void fill_local(struct local_minute *local, int64_t local_s)
{
	time_t as_utc = local_s;
	struct tm tm;

	assert_non_null(gmtime_r(&as_utc, &tm));
	*local = (struct local_minute){.minute = tm.tm_min,
		.hour = tm.tm_hour,
		.day = tm.tm_mday,
		.month = tm.tm_mon + 1,
		.weekday = tm.tm_wday,
		.last_day = days_in_month(tm.tm_year + 1900, tm.tm_mon + 1),
		.first = NOWHERE,
		.last = NOWHERE,
		.after_gap = NOWHERE};
}

/* An instant near a change of the zone's clock in a random year, or anywhere when it has none. */
static int64_t pick_moment(struct seed *seed)
{
	int64_t at_s = 60 * (int64_t)seed_below(seed, 2 * 525960 + 180 * 525960) + 63072000;

	if (seed_below(seed, 3) == 0)
		at_s = 60 * (int64_t)seed_below(seed, 44 * 525960) + 63072000;
	if (seed_below(seed, 5) == 0)
		return at_s;
	for (int hours = 0; hours < 400 * 24; hours++)
		if (libc_offset(at_s + hours * 3600) != libc_offset(at_s + hours * 3600 + 3600))
			return at_s + hours * 3600;
	return at_s;
}

/* False when the window's offsets are not whole minutes (none since 1972). */
static bool window_make(struct window *window, struct seed *seed)
{
	int64_t first_local_s = 0;

	window->zone = zones[seed_below(seed, COUNT_OF(zones))];
	assert_int_equal(setenv("TZ", window->zone, 1), 0);
	tzset();
	window->start_s = pick_moment(seed) -
			  60 * (MARGIN_MINUTES + (int64_t)seed_below(seed, WINDOW_MINUTES));
	window->start_s -= window->start_s % 60;
	first_local_s = window->start_s + libc_offset(window->start_s) - 60 * LOCAL_SPARE;
	if (first_local_s % 60 != 0 || first_local_s < 0)
		return false;
	for (int i = 0; i < LOCALS; i++)
		fill_local(&window->locals[i], first_local_s + 60 * (int64_t)i);
	for (int i = 0; i < INSTANTS; i++) {
		int64_t at_s = window->start_s + 60 * (int64_t)i;
		int64_t local = (at_s + libc_offset(at_s) - first_local_s) / 60;

		assert_true(local >= 0 && local < LOCALS);
		window->local_of[i] = (int)local;
		if (window->locals[local].first == NOWHERE)
			window->locals[local].first = i;
		window->locals[local].last = i;
		for (int64_t gap = i ? window->local_of[i - 1] + 1 : local; gap < local; gap++)
			window->locals[gap].after_gap = i;
	}
	return true;
}

/* --- a random expression, as text and as sets --- */

enum special {
	LAST_DAY,
	LAST_WORKDAY,
	NEAREST_WORKDAY,
	LAST_WEEKDAY,
	NTH_WEEKDAY
};

struct expression {
	char text[400];
	char name[24];    /* the action's */
	bool sets[6][64]; /* second minute hour day month weekday */
	bool stars[6];
	struct {
		enum special kind;
		int a, b;
	} specials[2][SPECIALS_MAX]; /* of the day of month, of the day of week */
	int special_counts[2];
	bool has_seconds, is_rule;
};

static const int mins[] = {0, 0, 0, 1, 1, 0}, maxs[] = {59, 59, 23, 31, 12, 6};
static const char *const month_names[] = {
	"jan", "FEB", "Mar", "APR", "may", "JUN", "JUL", "AUG", "sep", "OCT", "nov", "DEC"};
static const char *const day_names[] = {"SUN", "mon", "Tue", "WED", "THU", "fri", "SAT"};

__attribute__((format(printf, 2, 3))) static void add(struct expression *expr, const char *fmt, ...)
{
	size_t len = strlen(expr->text);
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(expr->text + len, sizeof(expr->text) - len, fmt, args);
	va_end(args);
}

static void add_value(struct expression *expr, struct seed *seed, int field, int value)
{
	if (field == 4 && seed_below(seed, 3) == 0)
		add(expr, "%s", month_names[value - 1]);
	else if (field == 5 && seed_below(seed, 3) == 0)
		add(expr, "%s", day_names[value]);
	else
		add(expr, "%d", field == 5 && value == 0 && seed_below(seed, 2) ? 7 : value);
}

/* Hours are mostly those at which clocks change. */
static int pick_value(struct seed *seed, int field)
{
	static const int hours[] = {0, 1, 2, 3, 23};

	if (field == 2 && seed_below(seed, 4) != 0)
		return hours[seed_below(seed, COUNT_OF(hours))];
	return mins[field] + (int)seed_below(seed, (uint64_t)(maxs[field] - mins[field] + 1));
}

static void set_every(struct expression *expr, int field, int from, int to, int step)
{
	for (int value = from; value <= to; value += step)
		expr->sets[field][value] = true;
}

static void add_special(struct expression *expr, struct seed *seed, int which)
{
	int *count = &expr->special_counts[which];
	int a = 0, b = 0;
	enum special kind;

	if (which == 0) {
		kind = (enum special)seed_below(seed, 3);
		a = kind == NEAREST_WORKDAY ? 1 + (int)seed_below(seed, 31)
					    : (int)seed_below(seed, 31) * (int)seed_below(seed, 2);
		if (kind == LAST_DAY)
			add(expr, a ? "L-%d" : "L", a);
		else if (kind == LAST_WORKDAY)
			add(expr, "LW");
		else
			add(expr, "%dW", a);
	} else {
		kind = seed_below(seed, 2) ? LAST_WEEKDAY : NTH_WEEKDAY;
		a = (int)seed_below(seed, 7);
		b = 1 + (int)seed_below(seed, 5);
		add_value(expr, seed, 5, a);
		add(expr, kind == LAST_WEEKDAY ? "L" : "#%d", b);
	}
	expr->specials[which][*count].kind = kind;
	expr->specials[which][*count].a = a;
	expr->specials[which][(*count)++].b = b;
}

/* What a name picks, by doc/schedules.md. */
static int64_t pick_slowly(const char *name, uint64_t salt, int64_t count)
{
	uint64_t z = 14695981039346656037u;

	for (size_t i = 0; i < strlen(name); i++) {
		z ^= (uint8_t)name[i];
		z *= 1099511628211u;
	}
	z += salt * 11400714819323198485u;
	z = (z ^ (z >> 30)) * 13787848793156543929u;
	z = (z ^ (z >> 27)) * 10723151780598845931u;
	z ^= z >> 31;
	return (int64_t)(z % (uint64_t)count);
}

static void add_hashed(
	struct expression *expr, struct seed *seed, int field, int low, int high, int step)
{
	bool has_range = seed_below(seed, 2), has_step = seed_below(seed, 2);
	int count = 0, first = 0;

	add(expr, "%c", "Hh"[seed_below(seed, 2)]);
	if (has_range)
		add(expr, "(%d-%d)", low, high);
	if (has_step)
		add(expr, "/%d", step);
	low = has_range ? low : mins[field];
	high = has_range ? high : field == 3 ? 28 : maxs[field];
	count = high - low + 1;
	if (has_step && step < count) {
		first = low + (int)pick_slowly(expr->name, (uint64_t)field + 1, step);
		set_every(expr, field, first, high, step);
	} else {
		first = low + (int)pick_slowly(expr->name, (uint64_t)field + 1, count);
		expr->sets[field][first] = true;
	}
}

static void add_item(struct expression *expr, struct seed *seed, int field, bool is_first)
{
	int step = 1 + (int)seed_below(seed, 20), a = pick_value(seed, field),
	    b = pick_value(seed, field);
	int low = a < b ? a : b, high = a < b ? b : a;

	if (seed_below(seed, 6) == 0) {
		add_hashed(expr, seed, field, low, high, step);
		return;
	}
	switch (seed_below(seed, field == 3 || field == 5 ? 7 : 5)) {
	case 0:
		add(expr, "*/%d", step);
		set_every(expr, field, mins[field], maxs[field], step);
		expr->stars[field] |= is_first;
		return;
	case 1:
		add(expr, "%d-%d", low, high);
		set_every(expr, field, low, high, 1);
		return;
	case 2:
		add(expr, "%d-%d/%d", low, high, step);
		set_every(expr, field, low, high, step);
		return;
	case 3:
		add(expr, "%d/%d", a, step);
		set_every(expr, field, a, maxs[field], step);
		return;
	case 4:
		add_value(expr, seed, field, a);
		expr->sets[field][a] = true;
		return;
	default:
		add_special(expr, seed, field == 5);
	}
}

static void add_field(struct expression *expr, struct seed *seed, int field)
{
	/* Of ten, how many are restricted; else hardly anything would be due in a window. */
	static const unsigned restricted[] = {5, 9, 7, 3, 1, 3};
	int items = 1 + (int)seed_below(seed, 3);

	add(expr, "%s", expr->text[0] ? " " : "");
	if (seed_below(seed, 10) >= restricted[field]) {
		add(expr, (field == 3 || field == 5) && seed_below(seed, 4) == 0 ? "?" : "*");
		set_every(expr, field, mins[field], maxs[field], 1);
		expr->stars[field] = true;
		return;
	}
	for (int i = 0; i < items; i++) {
		add(expr, "%s", i ? "," : "");
		add_item(expr, seed, field, i == 0);
	}
}

/* "BYHOUR=" and a few values. */
static void add_part(struct expression *expr, struct seed *seed, const char *name, int field)
{
	int count = 1 + (int)seed_below(seed, 4);

	add(expr, ";%s=", name);
	for (int i = 0; i < count; i++) {
		int value = pick_value(seed, field);

		expr->sets[field][value] = true;
		if (field == 5)
			add(expr, "%s%.2s", i ? "," : "", &"SUMOTUWETHFRSA"[(size_t)value * 2]);
		else
			add(expr, "%s%d", i ? "," : "", value);
	}
}

/* A recurrence rule that says the same as a cron expression could: every day or every hour, minute
 * or second, or only those that the other parts name. What it leaves open is DTSTART's, so that a
 * part is only left out where nothing is left open. */
static void rule_make(struct expression *expr, struct seed *seed)
{
	static const char *const freqs[] = {"SECONDLY", "MINUTELY", "HOURLY", "DAILY"};
	static const char *const names[] = {
		"BYSECOND", "BYMINUTE", "BYHOUR", "BYMONTHDAY", "BYMONTH", "BYDAY"};
	int freq = 1 + (int)seed_below(seed, 3);

	expr->has_seconds = true;
	expr->is_rule = true;
	add(expr, "FREQ=%s", freqs[freq]);
	expr->stars[1] = freq < 3;
	for (int field = 0; field < 6; field++) {
		if (field < freq || seed_below(seed, 3) == 0)
			add_part(expr, seed, names[field], field);
		else
			set_every(expr, field, mins[field], maxs[field], 1);
	}
}

static void expression_make(struct expression *expr, struct seed *seed)
{
	*expr = (struct expression){.has_seconds = seed_below(seed, 4) == 0};
	(void)snprintf(expr->name, sizeof(expr->name), "job-%" PRIu64, seed_below(seed, 100000));
	if (seed_below(seed, 4) == 0) {
		rule_make(expr, seed);
		return;
	}
	if (!expr->has_seconds)
		expr->sets[0][0] = true;
	for (int field = expr->has_seconds ? 0 : 1; field < 6; field++)
		add_field(expr, seed, field);
}

/* --- the rules, minute by minute --- */

static bool is_workday(int weekday)
{
	return weekday >= 1 && weekday <= 5;
}

/* The workday of the month that has the fewest days between itself and `day`. */
static int nearest_workday(const struct local_minute *local, int day)
{
	int best = 0;

	for (int d = 1; d <= local->last_day; d++) {
		int weekday = (local->weekday + d - local->day + 70) % 7;

		if (is_workday(weekday) && (best == 0 || abs(d - day) < abs(best - day)))
			best = d;
	}
	return best;
}

static bool special_matches(enum special kind, int a, int b, const struct local_minute *local)
{
	switch (kind) {
	case LAST_DAY:
		return local->day == local->last_day - a;
	case LAST_WORKDAY:
		return local->day == nearest_workday(local, local->last_day);
	case NEAREST_WORKDAY:
		return a <= local->last_day && local->day == nearest_workday(local, a);
	case LAST_WEEKDAY:
		return local->weekday == a && local->day + 7 > local->last_day;
	case NTH_WEEKDAY:
		return local->weekday == a && (local->day - 1) / 7 + 1 == b;
	}
	return false;
}

static bool day_matches(
	const struct expression *expr, const struct local_minute *local, enum day_match match)
{
	bool ok[2] = {expr->sets[3][local->day], expr->sets[5][local->weekday]};

	for (int which = 0; which < 2; which++)
		for (int i = 0; i < expr->special_counts[which]; i++)
			ok[which] |= special_matches(expr->specials[which][i].kind,
				expr->specials[which][i].a, expr->specials[which][i].b, local);
	if (match == DAY_MATCH_BOTH || expr->stars[3] || expr->stars[5])
		return ok[0] && ok[1];
	return ok[0] || ok[1];
}

enum {
	DUE_BY_CLOCK = 1,
	DUE_MOVED = 2
};

/* What is due at each instant, by the table of doc/schedules.md. */
static void judge(const struct window *window, const struct expression *expr,
	const struct schedule_spec *spec, uint8_t due[INSTANTS])
{
	bool is_interval_like = expr->stars[1] || expr->stars[2];

	memset(due, 0, INSTANTS);
	for (int i = 0; i < LOCALS; i++) {
		const struct local_minute *local = &window->locals[i];

		if (!expr->sets[1][local->minute] || !expr->sets[2][local->hour] ||
			!expr->sets[4][local->month] || !day_matches(expr, local, spec->day_match))
			continue;
		if (local->first == NOWHERE) {
			if (local->after_gap != NOWHERE && !is_interval_like &&
				spec->dst_gap == DST_GAP_RUN_AFTER)
				due[local->after_gap] |= DUE_MOVED;
			continue;
		}
		if (is_interval_like || spec->dst_overlap != DST_OVERLAP_LAST)
			due[local->first] |= DUE_BY_CLOCK;
		if (is_interval_like || spec->dst_overlap != DST_OVERLAP_FIRST)
			due[local->last] |= DUE_BY_CLOCK;
	}
}

/* The first due second at or after second `from` of the window, counted from its start. */
static int64_t next_slowly(const struct expression *expr, const uint8_t due[INSTANTS], int64_t from)
{
	for (int64_t i = from / 60; i < INSTANTS; i++) {
		if ((due[i] & DUE_MOVED) && i * 60 >= from)
			return i * 60;
		for (int64_t second = 0; due[i] & DUE_BY_CLOCK && second < 60; second++)
			if (expr->sets[0][second] && i * 60 + second >= from)
				return i * 60 + second;
	}
	return NOWHERE;
}

/* The last due second before second `limit`, at most the longest jitter before it. */
static int64_t last_slowly(
	const struct expression *expr, const uint8_t due[INSTANTS], int64_t limit)
{
	for (int64_t at_s = limit - 1; at_s > limit - 1 - JITTER_MAX_S; at_s--) {
		int64_t i = at_s / 60;

		if (!due[i])
			at_s = i * 60; /* a minute of nothing */
		else if ((due[i] & DUE_MOVED) && at_s % 60 == 0)
			return at_s;
		else if ((due[i] & DUE_BY_CLOCK) && expr->sets[0][at_s % 60])
			return at_s;
	}
	return NOWHERE;
}

/* Bounds and jitter, in milliseconds from the window's start; NOWHERE: not bounded. */
struct limits {
	int64_t start_ms, end_ms, jitter_ms;
	char texts[3][RFC3339_TEXT_SIZE + DURATION_TEXT_SIZE];
};

/* When a due second of the window is due after jitter, in milliseconds from the window's start. */
static int64_t jittered_slowly(const struct window *window, const struct expression *expr,
	const uint8_t due[INSTANTS], const struct limits *limits, int64_t at_s)
{
	int64_t next_s = next_slowly(expr, due, at_s + 1), room_ms = limits->jitter_ms;

	if (room_ms == 0)
		return at_s * 1000;
	if (next_s != NOWHERE && (next_s - at_s) * 1000 < room_ms)
		room_ms = (next_s - at_s) * 1000;
	return at_s * 1000 +
	       pick_slowly(expr->name, (uint64_t)(window->start_s + at_s) * 1000, room_ms);
}

/* The first due time at or after from_ms; both in milliseconds from the window's start. */
static int64_t next_limited(const struct window *window, const struct expression *expr,
	const uint8_t due[INSTANTS], const struct limits *limits, int64_t from_ms)
{
	int64_t at_s = NOWHERE, at_ms = 0, from_s = 0;

	if (limits->start_ms != NOWHERE && limits->start_ms > from_ms)
		from_ms = limits->start_ms;
	from_s = (from_ms + 999) / 1000;
	if (limits->jitter_ms > 0)
		at_s = last_slowly(expr, due, from_s);
	if (at_s == NOWHERE)
		at_s = next_slowly(expr, due, from_s);
	for (; at_s != NOWHERE; at_s = next_slowly(expr, due, at_s + 1)) {
		at_ms = jittered_slowly(window, expr, due, limits, at_s);
		if (at_ms >= from_ms)
			return limits->end_ms == NOWHERE || at_ms <= limits->end_ms ? at_ms
										    : NOWHERE;
	}
	return NOWHERE;
}

static int64_t count_slowly(const struct window *window, const struct expression *expr,
	const uint8_t due[INSTANTS], const struct limits *limits, int64_t from_ms, int64_t limit_ms)
{
	int64_t count = 0;

	for (int64_t at_ms = next_limited(window, expr, due, limits, from_ms);
		at_ms != NOWHERE && at_ms < limit_ms;
		at_ms = next_limited(window, expr, due, limits, at_ms + 1))
		count++;
	return count;
}

/* Bounds within the window and jitter, a part of the time each. */
static void limits_make(const struct window *window, struct limits *limits, struct seed *seed,
	struct schedule_spec *spec)
{
	int64_t base_ms = window->start_s * 1000, minute_ms = 60000;

	*limits = (struct limits){.start_ms = NOWHERE, .end_ms = NOWHERE};
	if (seed_below(seed, 5) == 0) {
		limits->start_ms = minute_ms * (MARGIN_MINUTES + (int64_t)seed_below(seed, 1440)) +
				   (int64_t)seed_below(seed, 2);
		spec->start_at = format_rfc3339(base_ms + limits->start_ms, limits->texts[0]);
	}
	if (seed_below(seed, 5) == 0) {
		limits->end_ms = minute_ms * (MARGIN_MINUTES + WINDOW_MINUTES -
						     (int64_t)seed_below(seed, 1440)) -
				 (int64_t)seed_below(seed, 2);
		spec->end_at = format_rfc3339(base_ms + limits->end_ms, limits->texts[1]);
	}
	if (seed_below(seed, 4) == 0) {
		limits->jitter_ms = 1 + (int64_t)seed_below(seed,
						seed_below(seed, 2) ? 120000 : JITTER_MAX_S * 1000);
		spec->jitter = format_duration(limits->jitter_ms, limits->texts[2]);
	}
}

/* --- the comparison --- */

struct tally {
	int64_t compared, due_in_window, refused;
};

static void assert_is_rightly_refused(const struct expression *expr,
	const struct schedule_spec *spec, const struct err *err, bool is_due_in_window)
{
	bool is_bounded = strstr(err->text, "there is no due time");

	if (!is_bounded && !strstr(err->text, "can never be due"))
		fail_msg("'%s': %s", expr->text, err->text);
	if (is_bounded && is_due_in_window)
		fail_msg("'%s' of %s in %s: %s", expr->text, expr->name, spec->timezone, err->text);
}

static void compare(const struct window *window, const struct expression *expr,
	const struct schedule_spec *spec, const struct limits *limits, struct seed *seed,
	struct tally *tally)
{
	static uint8_t due[INSTANTS];
	struct schedule *schedule = NULL;
	struct err err = {0};
	int64_t begin = MARGIN_MINUTES * 60000, end = (MARGIN_MINUTES + WINDOW_MINUTES) * 60000;
	int64_t start_ms = window->start_s * 1000;

	judge(window, expr, spec, due);
	if (schedule_parse(spec, &schedule, &err) != ERR_NONE) {
		int64_t slow = next_limited(window, expr, due, limits, begin);

		assert_is_rightly_refused(expr, spec, &err, slow != NOWHERE);
		tally->refused++;
		return;
	}
	for (int i = 0; i < STARTS; i++) {
		int64_t from = begin + (int64_t)seed_below(seed, WINDOW_MINUTES * 60000);
		int64_t slow = next_limited(window, expr, due, limits, from);
		int64_t after_ms = start_ms + from - 1;
		int64_t fast_ms = schedule_next(schedule, after_ms);
		int64_t fast = fast_ms == NO_TIME ? end : fast_ms - start_ms;
		bool is_same = slow == NOWHERE || slow >= end ? fast >= end : fast == slow;

		tally->due_in_window += slow != NOWHERE && slow < end;
		tally->compared++;
		if (!is_same)
			fail_msg("'%s' of %s in %s after %" PRId64
				 " (gap %d, overlap %d, days %d, %s to %s, jitter %s): %" PRId64
				 " instead of %" PRId64,
				expr->text, expr->name, spec->timezone, after_ms, spec->dst_gap,
				spec->dst_overlap, spec->day_match, limits->texts[0],
				limits->texts[1], limits->texts[2], fast + start_ms,
				slow + start_ms);
	}
	if (!expr->has_seconds || seed_below(seed, 8) == 0) {
		int64_t count = schedule_count(schedule, start_ms + begin, start_ms + end - 1);

		if (count != count_slowly(window, expr, due, limits, begin, end))
			fail_msg("'%s' of %s in %s from %" PRId64 " (%s to %s, jitter %s): wrong "
				 "count %" PRId64,
				expr->text, expr->name, spec->timezone, start_ms + begin,
				limits->texts[0], limits->texts[1], limits->texts[2], count);
	}
	schedule_unref(schedule);
}

static void test_next_is_what_brute_force_finds(void **state)
{
	struct seed seed = seed_start("test_plan_oracle");
	struct window *window = xmalloc(sizeof(*window));
	struct tally tally = {0};
	const char *given = getenv("GATHERING_TEST_WINDOWS");
	int64_t windows = WINDOWS;

	if (given)
		assert_true(parse_i64(given, 1, 1000000, &windows));
	for (int64_t i = 0; i < windows; i++) {
		if (!window_make(window, &seed))
			continue;
		for (int e = 0; e < EXPRESSIONS; e++) {
			struct expression expr;
			struct limits limits;
			struct schedule_spec spec = {.name = expr.name,
				.timezone = window->zone,
				.dst_gap = (enum dst_gap)seed_below(&seed, 2),
				.dst_overlap = (enum dst_overlap)seed_below(&seed, 3),
				.day_match =
					seed_below(&seed, 4) ? DAY_MATCH_EITHER : DAY_MATCH_BOTH};

			expression_make(&expr, &seed);
			if (expr.is_rule) {
				spec.rrule = expr.text;
				spec.day_match = DAY_MATCH_BOTH;
			} else {
				spec.cron = expr.text;
			}
			limits_make(window, &limits, &seed, &spec);
			compare(window, &expr, &spec, &limits, &seed, &tally);
		}
	}
	free(window);
	(void)unsetenv("TZ");
	(void)fprintf(stderr,
		"# %" PRId64 " compared, %" PRId64 " due within their window, %" PRId64
		" expressions refused\n",
		tally.compared, tally.due_in_window, tally.refused);
	/* A generator that makes nothing worth comparing would pass as well. */
	assert_true(tally.compared > windows * EXPRESSIONS * STARTS * 8 / 10);
	assert_true(tally.due_in_window > tally.compared / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_next_is_what_brute_force_finds)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
