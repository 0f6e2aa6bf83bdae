/* SPDX-License-Identifier: Apache-2.0
 *
 * Time zones: each zone of this machine against the C library's own reading of it, the rules at the
 * end of the files, damaged files, and names that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <ftw.h>

#include "base/civil.h"
#include "base/mem.h"
#include "base/text.h"
#include "plan/zone_priv.h"
#include "seed.h"

#define ZONES_MAX     1000
#define SAMPLES       200
#define UNTIL_S       INT64_C(5680281600)  /* 2150 */
#define SAMPLES_S     INT64_C(16725225600) /* 2500 */
#define EDGES_APART_S (2 * INT64_C(86400))

static const struct zone *get(const char *name)
{
	const struct zone *zone = NULL;
	struct err err = {0};

	if (zone_get(name, &zone, &err) != ERR_NONE)
		fail_msg("%s: %s", name, err.text);
	return zone;
}

/* --- every zone there is --- */

static char *names[ZONES_MAX];
static size_t name_count;

/* IANA names begin with a capital; what does not is a copy or a table. */
static int add_name(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	const char *name = path + sizeof(ZONE_DIR);

	if (kind == FTW_F && name[0] >= 'A' && name[0] <= 'Z' && name_count < ZONES_MAX)
		names[name_count++] = xstrdup(name);
	return 0;
}

static int find_names(void **state)
{
	return nftw(ZONE_DIR, add_name, 16, FTW_PHYS | FTW_MOUNT) == 0 && name_count > 0 ? 0 : -1;
}

static int free_names(void **state)
{
	for (size_t i = 0; i < name_count; i++)
		free(names[i]);
	return unsetenv("TZ");
}

static void set_libc_zone(const char *name)
{
	assert_int_equal(setenv("TZ", name, 1), 0);
	tzset();
}

static long libc_offset(int64_t at_s)
{
	time_t at = at_s;
	struct tm tm;

	assert_non_null(localtime_r(&at, &tm));
	return tm.tm_gmtoff;
}

static void assert_offset(const char *name, const struct zone *zone, int64_t at_s)
{
	long ours = zone_find(zone, at_s).offset_s, theirs = libc_offset(at_s);

	if (ours != theirs)
		fail_msg("%s at %" PRId64 ": %ld instead of %ld", name, at_s, ours, theirs);
}

/* Walks the spans from 1970 on: they join, their sides are their neighbours, and the C library
 * agrees at both ends. */
static void walk_spans(const char *name, const struct zone *zone)
{
	struct zone_span span = zone_find(zone, 0);

	while (span.end_at_s < UNTIL_S) {
		struct zone_span next = zone_find(zone, span.end_at_s);

		assert_offset(name, zone, span.end_at_s - 1);
		assert_offset(name, zone, span.end_at_s);
		assert_true(next.start_at_s == span.end_at_s);
		assert_int_equal(next.before_s, span.offset_s);
		assert_int_equal(span.after_s, next.offset_s);
		assert_int_not_equal(next.offset_s, span.offset_s);
		/* local.c looks at one edge at a time, which is right as long as this holds. */
		if (next.end_at_s - next.start_at_s < EDGES_APART_S)
			fail_msg("%s: a span of less than two days", name);
		span = next;
	}
}

static void test_offsets_of_every_zone_are_those_of_libc(void **state)
{
	struct seed seed = seed_start("test_zone");

	for (size_t i = 0; i < name_count; i++) {
		const struct zone *zone = NULL;
		struct err err = {0};

		if (zone_get(names[i], &zone, &err) != ERR_NONE)
			fail_msg("%s", err.text);
		set_libc_zone(names[i]);
		walk_spans(names[i], zone);
		for (int sample = 0; sample < SAMPLES; sample++)
			assert_offset(
				names[i], zone, (int64_t)seed_below(&seed, (uint64_t)SAMPLES_S));
	}
	assert_true(name_count > 300);
}

static void test_spans_of_known_zones_are_those_of_history(void **state)
{
	static const struct {
		const char *zone, *edge;
		int before_s, after_s;
	} rows[] = {
		{"America/New_York", "2026-03-08T07:00:00Z", -18000, -14400},
		{"America/New_York", "2026-11-01T06:00:00Z", -14400, -18000},
		{"Europe/Paris", "2026-03-29T01:00:00Z", 3600, 7200},
		{"Europe/Riga", "2026-10-25T01:00:00Z", 10800, 7200},
		{"Australia/Lord_Howe", "2026-04-04T15:00:00Z", 39600, 37800},
		{"Australia/Lord_Howe", "2026-10-03T15:30:00Z", 37800, 39600},
		{"America/Santiago", "2026-09-06T04:00:00Z", -14400, -10800},
		{"America/Asuncion", "2023-03-26T03:00:00Z", -10800, -14400},
		{"Africa/Cairo", "2024-04-25T22:00:00Z", 7200, 10800},
		{"Pacific/Apia", "2011-12-30T10:00:00Z", -36000, 50400},
		{"Africa/Casablanca", "2024-03-10T02:00:00Z", 3600, 0},
		{"Antarctica/Troll", "2026-03-29T01:00:00Z", 0, 7200},
		{"Europe/Dublin", "2026-10-25T01:00:00Z", 3600, 0},
		{"Europe/Dublin", "2040-03-25T01:00:00Z", 0, 3600},
		{"Europe/Dublin", "2040-10-28T01:00:00Z", 3600, 0},
		{"Asia/Kathmandu", "1985-12-31T18:30:00Z", 19800, 20700},
		{"Africa/Monrovia", "1972-01-07T00:44:30Z", -2670, 0},
		{"Pacific/Kwajalein", "1993-08-21T12:00:00Z", -43200, 43200},
		{"America/New_York", "2099-03-08T07:00:00Z", -18000, -14400},
		{"Europe/Paris", "2400-10-29T01:00:00Z", 7200, 3600},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		int64_t edge_ms = 0;
		struct zone_span span;

		assert_true(parse_rfc3339(rows[i].edge, &edge_ms));
		span = zone_find(get(rows[i].zone), edge_ms / 1000);
		if (span.start_at_s != edge_ms / 1000)
			fail_msg("%s: no edge at %s", rows[i].zone, rows[i].edge);
		assert_int_equal(span.before_s, rows[i].before_s);
		assert_int_equal(span.offset_s, rows[i].after_s);
	}
}

/* --- rules --- */

static void test_rule_changes_come_when_it_says(void **state)
{
	static const struct {
		const char *rule;
		int year;
		const char *to_dst, *to_std;
	} rows[] = {
		{"EST5EDT,M3.2.0,M11.1.0", 2050, "2050-03-13T07:00:00Z", "2050-11-06T06:00:00Z"},
		{"IST-1GMT0,M10.5.0,M3.5.0/1", 2040, "2040-10-28T01:00:00Z",
			"2040-03-25T01:00:00Z"},
		{"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 2050, "2050-03-27T01:00:00Z",
			"2050-10-30T01:00:00Z"},
		{"EET-2EEST,M4.5.5/0,M10.5.4/24", 2050, "2050-04-28T22:00:00Z",
			"2050-10-27T21:00:00Z"},
		{"IST-2IDT,M3.4.4/26,M10.5.0", 2050, "2050-03-25T00:00:00Z",
			"2050-10-29T23:00:00Z"},
		{"<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", 2050, "2050-10-01T15:30:00Z",
			"2050-04-02T15:00:00Z"},
		{"AAA-1BBB,J59/0,J60/0", 2048, "2048-02-27T23:00:00Z", "2048-02-29T22:00:00Z"},
		{"AAA-1BBB,58/0,59/0", 2048, "2048-02-27T23:00:00Z", "2048-02-28T22:00:00Z"},
		{"AAA-1BBB,J365/0:30:15,365/0", 2048, "2048-12-30T23:30:15Z",
			"2048-12-30T22:00:00Z"},
		{"AAA+3BBB+2:59:59,M2.5.6/-167,M2.5.6/167", 2050, "2050-02-19T04:00:00Z",
			"2050-03-05T01:59:59Z"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct zone_rule rule;
		struct zone_change to_dst, to_std;
		char text[RFC3339_TEXT_SIZE];

		if (!zone_rule_parse(rows[i].rule, strlen(rows[i].rule), &rule))
			fail_msg("%s is not taken", rows[i].rule);
		zone_rule_changes(&rule, rows[i].year, &to_dst, &to_std);
		assert_string_equal(format_rfc3339(to_dst.at_s * 1000, text), rows[i].to_dst);
		assert_string_equal(format_rfc3339(to_std.at_s * 1000, text), rows[i].to_std);
	}
}

static void test_rule_that_is_none_is_refused(void **state)
{
	static const char *const rows[] = {"", "EST", "ES5", "5", "EST5EDT", "EST5EDT,M3.2.0",
		"EST5EDT,M3.2.0,M11.1", "EST5EDT,M13.2.0,M11.1.0", "EST5EDT,M3.6.0,M11.1.0",
		"EST5EDT,M3.0.0,M11.1.0", "EST5EDT,M3.2.7,M11.1.0", "EST5EDT,J0,J365",
		"EST5EDT,J1,J366", "EST5EDT,0,366", "EST5EDT,M3.2.0/168,M11.1.0",
		"EST5EDT,M3.2.0/,M11.1.0", "EST25", "EST5:60", "EST5:30:60", "<EST5", "EST5x",
		"EST5EDT,M3.2.0,M11.1.0x", "EST5EDT,M3.2.0,M11.1.0,", "EST--5", "EST99999999999",
		"EST5EDT,M3.2.0/99999999999,M11.1.0"};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct zone_rule rule;

		if (zone_rule_parse(rows[i], strlen(rows[i]), &rule))
			fail_msg("'%s' is taken", rows[i]);
	}
}

/* --- files --- */

struct file {
	uint8_t bytes[512];
	size_t len;
};

struct transition {
	int64_t at_s;
	uint8_t type;
};

static void put(struct file *file, uint64_t value, int bytes)
{
	for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8)
		file->bytes[file->len++] = (uint8_t)(value >> shift);
}

static void put_text(struct file *file, const char *text)
{
	memcpy(file->bytes + file->len, text, strlen(text));
	file->len += strlen(text);
}

static void put_header(
	struct file *file, char version, uint32_t leaps, uint32_t times, uint32_t types)
{
	const uint32_t counts[] = {0, 0, leaps, times, types, 4};

	put_text(file, "TZif");
	put(file, (uint64_t)version, 1);
	file->len += 15;
	for (size_t i = 0; i < COUNT_OF(counts); i++)
		put(file, counts[i], 4);
}

/* A file of two types, at UTC and at `offset_s`, whose first block is the smallest there can be. */
static struct file make_file(
	const struct transition *transitions, uint32_t count, int32_t offset_s, const char *footer)
{
	struct file file = {0};

	put_header(&file, '2', 0, 0, 1);
	put(&file, 0, 6);
	put_text(&file, "AAA");
	put(&file, 0, 1);
	put_header(&file, '2', 0, count, 2);
	for (uint32_t i = 0; i < count; i++)
		put(&file, (uint64_t)transitions[i].at_s, 8);
	for (uint32_t i = 0; i < count; i++)
		put(&file, transitions[i].type, 1);
	put(&file, 0, 6);
	put(&file, (uint32_t)offset_s, 4);
	put(&file, 0, 2);
	put_text(&file, "AAA");
	put(&file, 0, 1);
	put_text(&file, footer);
	return file;
}

static void assert_corrupt(const struct file *file, size_t len, const char *text)
{
	/* A copy of exactly this length lets ASan see each step beyond it. */
	auto_free uint8_t *bytes = (uint8_t *)xmemdup(file->bytes, len);
	auto_free uint8_t *exact = len ? xmalloc(len) : NULL;
	struct zone zone = {0};
	struct err err = {0};

	if (len)
		memcpy(exact, bytes, len);
	assert_int_equal(zone_file_parse(exact, len, &zone, &err), ERR_CORRUPT);
	if (text)
		assert_string_equal(err.text, text);
	assert_null(zone.changes);
}

static struct zone parse_good(const struct file *file)
{
	struct zone zone = {0};
	struct err err = {0};

	if (zone_file_parse(file->bytes, file->len, &zone, &err) != ERR_NONE)
		fail_msg("%s", err.text);
	return zone;
}

static void test_file_that_is_sound_is_read(void **state)
{
	static const struct transition transitions[] = {
		{-1000000, 1},
		{1000, 0},
		{2000, 0},
		{400000, 1},
	};
	struct file file = make_file(transitions, 4, 3600, "\n\n");
	struct zone zone = parse_good(&file);
	struct zone_span span = zone_find(&zone, 0);

	/* Before 1970 counts as one; a transition that changes nothing is none. */
	assert_true(span.start_at_s == INT64_MIN && span.end_at_s == 1000);
	assert_int_equal(span.offset_s, 3600);
	span = zone_find(&zone, 1000);
	assert_true(span.start_at_s == 1000 && span.end_at_s == 400000);
	assert_true(span.before_s == 3600 && span.offset_s == 0 && span.after_s == 3600);
	span = zone_find(&zone, INT64_C(200000000000));
	assert_true(span.start_at_s == 400000 && span.end_at_s == INT64_MAX);
	assert_true(span.offset_s == 3600 && span.after_s == 3600);
	free(zone.changes);
}

/* RFC 8536 section 3.3.1: daylight saving all the year round ends at the instant it begins. */
static void test_rule_of_dst_all_the_year_round_has_no_edges(void **state)
{
	static const struct transition transitions[] = {{1000, 1}};
	struct file file = make_file(transitions, 1, -14400, "\nXXX3EDT4,0/0,J365/23\n");
	struct zone zone = parse_good(&file);

	struct zone_span span = zone_find(&zone, civil_days(2050, 1, 1) * 86400 + 10800);

	assert_true(span.start_at_s == 1000 && span.end_at_s == INT64_MAX);
	assert_true(span.before_s == 0 && span.offset_s == -14400 && span.after_s == -14400);
	free(zone.changes);
}

static void test_file_that_is_damaged_is_refused(void **state)
{
	static const struct transition good[] = {{0, 1}, {86400, 0}};
	static const struct transition backwards[] = {{86400, 1}, {0, 0}};
	static const struct transition no_type[] = {{0, 2}};
	struct file file = make_file(good, 2, 3600, "\nAAA0\n");
	struct zone zone = parse_good(&file);

	free(zone.changes);
	for (size_t len = 0; len < file.len; len++)
		assert_corrupt(&file, len, NULL);
	file.bytes[0] = 'X';
	assert_corrupt(&file, file.len, "time zone data: not a TZif file");
	file = make_file(backwards, 2, 3600, "\nAAA0\n");
	assert_corrupt(&file, file.len, "time zone data: transitions do not ascend");
	file = make_file(no_type, 1, 3600, "\nAAA0\n");
	assert_corrupt(
		&file, file.len, "time zone data: a transition names a type that is not there");
	file = make_file(good, 2, 93600, "\nAAA0\n");
	assert_corrupt(&file, file.len, "time zone data: an offset from UTC is out of range");
	file = make_file(good, 2, -90000, "\nAAA0\n");
	assert_corrupt(&file, file.len, "time zone data: an offset from UTC is out of range");
	file = make_file(good, 2, 3600, "\nAAA\n");
	assert_corrupt(&file, file.len, "time zone data: the rule in the footer cannot be read");
	file = make_file(good, 2, 3600, "AAA0\n");
	assert_corrupt(&file, file.len, "time zone data: the footer is missing");
	file = make_file(good, 2, 3600, "\nAAA0");
	assert_corrupt(&file, file.len, "time zone data: the footer has no end");
}

static void test_file_with_wild_counts_is_refused(void **state)
{
	static const struct transition good[] = {{0, 1}, {86400, 0}};
	size_t second = 44 + 6 + 4;

	/* The six counts of each header, each of its bytes: far too many of everything. */
	for (size_t header = 0; header <= second; header += second) {
		for (size_t i = 20; i < 44; i++) {
			struct file file = make_file(good, 2, 3600, "\nAAA0\n");

			file.bytes[header + i] = 0xff;
			assert_corrupt(&file, file.len, NULL);
		}
	}
}

static void test_file_with_leap_seconds_or_of_version_1_is_refused(void **state)
{
	struct file file = {0};

	put_header(&file, '2', 0, 0, 1);
	file.len += 6 + 4;
	put_header(&file, '2', 1, 0, 1);
	file.len += 6 + 4 + 12;
	put_text(&file, "\nAAA0\n");
	assert_corrupt(&file, file.len,
		"time zone data: counts leap seconds; use the zone without 'right/'");
	file.bytes[4] = 0;
	assert_corrupt(&file, file.len,
		"time zone data: version 1, which ends in 2037; version 2 or later is needed");
}

/* --- names --- */

static void test_name_that_is_none_is_refused(void **state)
{
	static const char *const rows[] = {"", "/", ".", "..", "../Europe/Paris",
		"Europe/../Europe/Paris", "Europe/Paris/..", "/usr/share/zoneinfo/Europe/Paris",
		"Europe//Paris", "Europe/Paris/", "Europe", "America/Argentina",
		"posix/Europe/Paris", "right/Europe/Paris", "localtime", "posixrules", "tzdata.zi",
		"leapseconds", "zone.tab", "Europe/Paris\n", "Europe/Paris ", "Europe/P\xc3\xa4ris",
		"EST5EDT,M3.2.0,M11.1.0", ":UTC", "utc ", "+01:00",
		"Europe/ParisEurope/ParisEurope/ParisEurope/ParisEurope/ParisEurope/Paris"};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		const struct zone *zone = NULL;
		struct err err = {0};

		if (zone_get(rows[i], &zone, &err) == ERR_NONE)
			fail_msg("'%s' is taken", rows[i]);
		assert_int_equal(err.code, ERR_INVALID);
		assert_string_equal(err.field, "/timezone");
		assert_memory_equal(err.text, "unknown time zone '", 19);
		for (const char *c = err.text; *c; c++)
			assert_true(*c >= ' ' && *c <= '~');
	}
}

static void test_name_that_is_misspelt_gets_the_nearest(void **state)
{
	static const struct {
		const char *wrong, *right;
	} rows[] = {
		{"europe/paris", "Europe/Paris"},
		{"Europe/Pariss", "Europe/Paris"},
		{"paris", "Europe/Paris"},
		{"New York", "America/New_York"},
		{"america/newyork", "America/New_York"},
		{"Asia/Katmandoo", "Asia/Katmandu"},
		{"US/Pacfic", "US/Pacific"},
		{"utc", "UTC"},
		{"PST", NULL},
		{"Narnia", NULL},
		{"", NULL},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char near[ZONE_NAME_SIZE] = "";
		bool is_near = zone_nearest_name(rows[i].wrong, near);

		if (rows[i].right && !is_near)
			fail_msg("'%s': nothing near", rows[i].wrong);
		assert_int_equal(is_near, rows[i].right != NULL);
		assert_string_equal(near, rows[i].right ? rows[i].right : "");
	}
}

static void test_zone_is_read_once(void **state)
{
	const struct zone *paris = get("Europe/Paris");

	assert_ptr_equal(get("Europe/Riga"), get("Europe/Riga"));
	assert_ptr_equal(get("Europe/Paris"), paris);
	assert_ptr_equal(get("UTC"), get("UTC"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_offsets_of_every_zone_are_those_of_libc),
		cmocka_unit_test(test_spans_of_known_zones_are_those_of_history),
		cmocka_unit_test(test_rule_changes_come_when_it_says),
		cmocka_unit_test(test_rule_that_is_none_is_refused),
		cmocka_unit_test(test_file_that_is_sound_is_read),
		cmocka_unit_test(test_rule_of_dst_all_the_year_round_has_no_edges),
		cmocka_unit_test(test_file_that_is_damaged_is_refused),
		cmocka_unit_test(test_file_with_wild_counts_is_refused),
		cmocka_unit_test(test_file_with_leap_seconds_or_of_version_1_is_refused),
		cmocka_unit_test(test_name_that_is_none_is_refused),
		cmocka_unit_test(test_name_that_is_misspelt_gets_the_nearest),
		cmocka_unit_test(test_zone_is_read_once),
	};

	return cmocka_run_group_tests(tests, find_names, free_names);
}
