/* SPDX-License-Identifier: Apache-2.0
 *
 * Recurrence rules: the examples of RFC 5545 and the corners around them, what is refused with
 * which words, changes of the clock, and random rules against a slow reading of the RFC that
 * generates period after period from DTSTART. Other people's readings are asked in test/diff. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/civil.h"
#include "base/mem.h"
#include "plan_input.h"
#include "seed.h"

/* A row a line: */
/* clang-format off */

static const struct {
	const char *rrule, *start_at, *after;
	const char *dues[DUES_MAX];
} parts[] = {
	/* what is left out is the start's */
	{"FREQ=DAILY", "2026-01-31T09:30:15Z", "2026-01-01T00:00:00Z", {"2026-01-31T09:30:15+00:00", "2026-02-01T09:30:15+00:00"}},
	{"FREQ=WEEKLY", "2026-01-31T09:00:00Z", "2026-01-31T09:00:00Z", {"2026-02-07T09:00:00+00:00"}},
	{"FREQ=MONTHLY", "2026-01-31T09:00:00Z", "2026-01-31T09:00:00Z", {"2026-03-31T09:00:00+00:00", "2026-05-31T09:00:00+00:00"}},
	{"FREQ=YEARLY", "2024-02-29T09:00:00Z", "2025-01-01T00:00:00Z", {"2028-02-29T09:00:00+00:00", "2032-02-29T09:00:00+00:00"}},
	{"FREQ=YEARLY;BYMONTH=6", "2024-02-29T09:00:00Z", "2025-01-01T00:00:00Z", {"2025-06-29T09:00:00+00:00"}},
	{"FREQ=YEARLY;BYWEEKNO=20", "2026-01-01T09:00:00Z", "2026-01-01T00:00:00Z", {"2026-05-14T09:00:00+00:00", "2027-05-20T09:00:00+00:00"}},
	{"FREQ=HOURLY", "2026-01-31T09:30:15Z", "2026-01-31T23:00:00Z", {"2026-01-31T23:30:15+00:00", "2026-02-01T00:30:15+00:00"}},
	{"FREQ=MINUTELY", "2026-01-31T09:30:15Z", "2026-01-31T23:59:20Z", {"2026-02-01T00:00:15+00:00"}},
	{"FREQ=SECONDLY", "2026-01-31T09:30:15Z", "2025-01-01T00:00:00Z", {"2026-01-31T09:30:15+00:00", "2026-01-31T09:30:16+00:00"}},
	{"FREQ=DAILY", NULL, "2026-01-31T09:00:00Z", {"2026-02-01T00:00:00+00:00"}},
	{"FREQ=WEEKLY", NULL, "2026-01-01T00:00:00Z", {"2026-01-08T00:00:00+00:00"}},
	{"freq=weekly;byday=mo;wkst=su", NULL, "2026-01-01T00:00:00Z", {"2026-01-05T00:00:00+00:00"}},
	/* the RFC's examples, moved to our years */
	{"FREQ=DAILY;COUNT=3", "2026-09-02T09:00:00Z", "2026-01-01T00:00:00Z", {"2026-09-02T09:00:00+00:00", "2026-09-03T09:00:00+00:00", "2026-09-04T09:00:00+00:00", "none"}},
	{"FREQ=DAILY;UNTIL=20260904T090000Z", "2026-09-02T09:00:00Z", "2026-09-03T00:00:00Z", {"2026-09-03T09:00:00+00:00", "2026-09-04T09:00:00+00:00", "none"}},
	{"FREQ=DAILY;UNTIL=20260904T085959Z", "2026-09-02T09:00:00Z", "2026-09-03T00:00:00Z", {"2026-09-03T09:00:00+00:00", "none"}},
	{"FREQ=DAILY;UNTIL=20260904", "2026-09-02T09:00:00Z", "2026-09-03T00:00:00Z", {"2026-09-03T09:00:00+00:00", "2026-09-04T09:00:00+00:00", "none"}},
	{"FREQ=DAILY;INTERVAL=10;COUNT=3", "2026-09-02T09:00:00Z", "2026-09-02T09:00:00Z", {"2026-09-12T09:00:00+00:00", "2026-09-22T09:00:00+00:00", "none"}},
	{"FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", "2026-08-04T09:00:00Z", "2026-08-01T00:00:00Z", {"2026-08-04T09:00:00+00:00", "2026-08-09T09:00:00+00:00", "2026-08-18T09:00:00+00:00", "2026-08-23T09:00:00+00:00", "none"}},
	{"FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", "2026-08-04T09:00:00Z", "2026-08-01T00:00:00Z", {"2026-08-04T09:00:00+00:00", "2026-08-16T09:00:00+00:00", "2026-08-18T09:00:00+00:00", "2026-08-30T09:00:00+00:00", "none"}},
	{"FREQ=MONTHLY;BYDAY=1SU,-1SU;INTERVAL=2", "2026-09-01T09:00:00Z", "2026-09-01T00:00:00Z", {"2026-09-06T09:00:00+00:00", "2026-09-27T09:00:00+00:00", "2026-11-01T09:00:00+00:00", "2026-11-29T09:00:00+00:00"}},
	{"FREQ=MONTHLY;BYMONTHDAY=-3", "2026-01-29T09:00:00Z", "2026-01-29T00:00:00Z", {"2026-01-29T09:00:00+00:00", "2026-02-26T09:00:00+00:00", "2026-03-29T09:00:00+00:00"}},
	{"FREQ=MONTHLY;BYMONTHDAY=1,-1", "2026-09-30T09:00:00Z", "2026-09-01T00:00:00Z", {"2026-09-30T09:00:00+00:00", "2026-10-01T09:00:00+00:00", "2026-10-31T09:00:00+00:00"}},
	{"FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "2026-01-01T09:00:00Z", "2026-01-01T00:00:00Z", {"2026-02-13T09:00:00+00:00", "2026-03-13T09:00:00+00:00", "2026-11-13T09:00:00+00:00"}},
	{"FREQ=MONTHLY;BYDAY=MO,2TU", "2026-01-01T09:00:00Z", "2026-01-12T09:00:00Z", {"2026-01-13T09:00:00+00:00", "2026-01-19T09:00:00+00:00"}},
	{"FREQ=YEARLY;INTERVAL=3;COUNT=4;BYYEARDAY=1,100,200", "2026-01-01T09:00:00Z", "2026-01-01T09:00:00Z", {"2026-04-10T09:00:00+00:00", "2026-07-19T09:00:00+00:00", "2029-01-01T09:00:00+00:00", "none"}},
	{"FREQ=YEARLY;BYYEARDAY=-1,366", "2027-01-01T09:00:00Z", "2027-01-01T09:00:00Z", {"2027-12-31T09:00:00+00:00", "2028-12-31T09:00:00+00:00", "2029-12-31T09:00:00+00:00"}},
	{"FREQ=YEARLY;BYDAY=20MO", "2026-05-18T09:00:00Z", "2026-05-01T00:00:00Z", {"2026-05-18T09:00:00+00:00", "2027-05-17T09:00:00+00:00"}},
	{"FREQ=YEARLY;BYDAY=-1MO,53TH", "2026-01-01T09:00:00Z", "2026-12-01T00:00:00Z", {"2026-12-28T09:00:00+00:00", "2026-12-31T09:00:00+00:00", "2027-12-27T09:00:00+00:00"}},
	{"FREQ=YEARLY;BYMONTH=3;BYDAY=TH", "2026-03-05T09:00:00Z", "2026-03-20T00:00:00Z", {"2026-03-26T09:00:00+00:00", "2027-03-04T09:00:00+00:00"}},
	{"FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8", "2024-11-05T09:00:00Z", "2024-11-05T09:00:00Z", {"2028-11-07T09:00:00+00:00", "2032-11-02T09:00:00+00:00"}},
	{"FREQ=YEARLY;BYWEEKNO=1;BYDAY=MO", "2025-01-01T09:00:00Z", "2025-01-01T09:00:00Z", {"2025-12-29T09:00:00+00:00", "2027-01-04T09:00:00+00:00"}},
	{"FREQ=YEARLY;BYWEEKNO=53,-1;BYDAY=SU", "2026-01-01T09:00:00Z", "2026-12-01T09:00:00Z", {"2027-01-03T09:00:00+00:00", "2028-01-02T09:00:00+00:00", "2028-12-31T09:00:00+00:00"}},
	/* BYSETPOS */
	{"FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", "2026-09-04T09:00:00Z", "2026-09-01T00:00:00Z", {"2026-10-07T09:00:00+00:00", "2026-11-05T09:00:00+00:00", "2026-12-03T09:00:00+00:00", "none"}},
	{"FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", "2026-09-29T09:00:00Z", "2026-09-01T00:00:00Z", {"2026-09-29T09:00:00+00:00", "2026-10-29T09:00:00+00:00", "2026-11-27T09:00:00+00:00"}},
	{"FREQ=WEEKLY;BYDAY=MO,WE,FR;BYHOUR=8,20;BYSETPOS=1,-1", "2026-01-05T00:00:00Z", "2026-01-05T00:00:00Z", {"2026-01-05T08:00:00+00:00", "2026-01-09T20:00:00+00:00", "2026-01-12T08:00:00+00:00"}},
	{"FREQ=DAILY;BYHOUR=8,12;BYMINUTE=0,30;BYSETPOS=2,-1", "2026-01-05T00:00:00Z", "2026-01-05T00:00:00Z", {"2026-01-05T08:30:00+00:00", "2026-01-05T12:30:00+00:00", "2026-01-06T08:30:00+00:00"}},
	{"FREQ=HOURLY;BYMINUTE=10,20,30;BYSETPOS=-1", "2026-01-05T00:00:00Z", "2026-01-05T00:00:00Z", {"2026-01-05T00:30:00+00:00", "2026-01-05T01:30:00+00:00"}},
	{"FREQ=MINUTELY;BYSECOND=5,15,45;BYSETPOS=1,-1", "2026-01-05T00:00:00Z", "2026-01-05T00:00:10Z", {"2026-01-05T00:00:45+00:00", "2026-01-05T00:01:05+00:00"}},
	{"FREQ=SECONDLY;BYSECOND=5,15,45;BYSETPOS=1", "2026-01-05T00:00:00Z", "2026-01-05T00:00:10Z", {"2026-01-05T00:00:15+00:00", "2026-01-05T00:00:45+00:00"}},
	/* intervals of the clock */
	{"FREQ=HOURLY;INTERVAL=3;UNTIL=20260902T170000Z", "2026-09-02T09:00:00Z", "2026-09-02T09:00:00Z", {"2026-09-02T12:00:00+00:00", "2026-09-02T15:00:00+00:00", "none"}},
	{"FREQ=HOURLY;INTERVAL=7", "2026-09-02T09:15:00Z", "2026-09-03T00:00:00Z", {"2026-09-03T06:15:00+00:00", "2026-09-03T13:15:00+00:00"}},
	{"FREQ=MINUTELY;INTERVAL=90;COUNT=4", "2026-09-02T09:00:00Z", "2026-09-02T09:00:00Z", {"2026-09-02T10:30:00+00:00", "2026-09-02T12:00:00+00:00", "2026-09-02T13:30:00+00:00", "none"}},
	{"FREQ=MINUTELY;INTERVAL=20;BYHOUR=9,10", "2026-09-02T09:00:00Z", "2026-09-02T10:00:00Z", {"2026-09-02T10:20:00+00:00", "2026-09-02T10:40:00+00:00", "2026-09-03T09:00:00+00:00"}},
	{"FREQ=MINUTELY;INTERVAL=7;BYHOUR=9", "2026-09-02T09:00:00Z", "2026-09-02T09:50:00Z", {"2026-09-02T09:56:00+00:00", "2026-09-03T09:02:00+00:00"}},
	{"FREQ=MINUTELY;INTERVAL=7;BYSECOND=0,59", "2026-09-02T09:00:00Z", "2026-09-02T09:00:00Z", {"2026-09-02T09:00:59+00:00", "2026-09-02T09:07:00+00:00", "2026-09-02T09:07:59+00:00", "2026-09-02T09:14:00+00:00"}},
	{"FREQ=DAILY;COUNT=2", "2026-09-02T09:00:00.5Z", "2026-09-01T09:00:00Z", {"2026-09-03T09:00:00+00:00", "2026-09-04T09:00:00+00:00", "none"}},
	{"FREQ=SECONDLY;INTERVAL=7", "2026-09-02T09:00:00Z", "2026-09-02T09:00:55Z", {"2026-09-02T09:00:56+00:00", "2026-09-02T09:01:03+00:00"}},
	{"FREQ=SECONDLY;INTERVAL=90;BYHOUR=9", "2026-09-02T09:00:00Z", "2026-09-02T09:58:00Z", {"2026-09-02T09:58:30+00:00", "2026-09-03T09:00:00+00:00"}},
	{"FREQ=HOURLY;INTERVAL=50;BYMONTH=1", "2026-01-30T00:00:00Z", "2026-01-30T00:00:00Z", {"2027-01-02T12:00:00+00:00"}},
	/* far */
	{"FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", {"2044-02-29T00:00:00+00:00", "2072-02-29T00:00:00+00:00", "2112-02-29T00:00:00+00:00"}},
	{"FREQ=MONTHLY;BYDAY=5MO", "2099-01-01T00:00:00Z", "2099-01-01T00:00:00Z", {"2099-03-30T00:00:00+00:00", "2099-06-29T00:00:00+00:00"}},
	{"FREQ=YEARLY;INTERVAL=100", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", {"2126-01-01T00:00:00+00:00", "2226-01-01T00:00:00+00:00"}},
};

static void test_next_of_each_part_is_the_first_match(void **state)
{
	for (size_t i = 0; i < COUNT_OF(parts); i++)
		assert_dues(&(struct schedule_spec){.rrule = parts[i].rrule, .start_at = parts[i].start_at},
			parts[i].after, parts[i].dues);
}

static void test_clock_changes_are_as_for_cron(void **state)
{
	static const struct {
		struct schedule_spec spec;
		const char *after;
		const char *dues[DUES_MAX];
	} rows[] = {
		{{.rrule = "FREQ=DAILY;BYHOUR=2;BYMINUTE=30", .timezone = "Europe/Paris"}, "2026-03-28T00:00:00Z",
			{"2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00 moved out of DST gap", "2026-03-30T02:30:00+02:00"}},
		{{.rrule = "FREQ=DAILY;BYHOUR=2;BYMINUTE=30", .timezone = "Europe/Paris", .dst_gap = DST_GAP_SKIP}, "2026-03-28T00:00:00Z",
			{"2026-03-28T02:30:00+01:00", "2026-03-30T02:30:00+02:00"}},
		{{.rrule = "FREQ=DAILY;BYHOUR=2;BYMINUTE=30", .timezone = "Europe/Paris", .dst_overlap = DST_OVERLAP_BOTH}, "2026-10-24T12:00:00Z",
			{"2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00 second pass", "2026-10-26T02:30:00+01:00"}},
		{{.rrule = "FREQ=HOURLY", .timezone = "Europe/Paris"}, "2026-10-24T23:30:00Z",
			{"2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00 second pass", "2026-10-25T03:00:00+01:00"}},
		{{.rrule = "FREQ=HOURLY;INTERVAL=2", .timezone = "Europe/Paris"}, "2026-03-28T23:00:00Z",
			{"2026-03-29T04:00:00+02:00", "2026-03-29T06:00:00+02:00"}},
		{{.rrule = "FREQ=MINUTELY;INTERVAL=20", .timezone = "Europe/Paris", .start_at = "2026-10-25T00:40:00Z"}, "2026-10-25T00:00:00Z",
			{"2026-10-25T02:40:00+02:00", "2026-10-25T02:00:00+01:00 second pass", "2026-10-25T02:20:00+01:00 second pass"}},
		{{.rrule = "FREQ=WEEKLY;BYDAY=SU", .timezone = "America/New_York", .start_at = "2026-03-01T15:00:00Z"}, "2026-03-01T15:00:00Z",
			{"2026-03-08T10:00:00-04:00", "2026-03-15T10:00:00-04:00"}},
		{{.rrule = "FREQ=DAILY;COUNT=3", .timezone = "Europe/Paris", .start_at = "2026-03-28T01:30:00Z", .dst_gap = DST_GAP_SKIP}, "2026-03-01T00:00:00Z",
			{"2026-03-28T02:30:00+01:00", "2026-03-30T02:30:00+02:00", "none"}},
		{{.rrule = "FREQ=DAILY;UNTIL=20260329T023000", .timezone = "Europe/Paris", .start_at = "2026-03-28T01:30:00Z"}, "2026-03-28T02:00:00Z",
			{"2026-03-29T03:00:00+02:00 moved out of DST gap", "none"}},
		{{.rrule = "FREQ=DAILY;UNTIL=20261025T023000", .timezone = "Europe/Paris", .start_at = "2026-10-24T00:30:00Z", .dst_overlap = DST_OVERLAP_LAST}, "2026-10-24T12:00:00Z",
			{"2026-10-25T02:30:00+01:00 second pass", "none"}},
		{{.rrule = "FREQ=DAILY;BYHOUR=9", .timezone = "Pacific/Apia"}, "2011-12-29T12:00:00Z",
			{"2011-12-29T09:00:00-10:00", "2011-12-31T00:00:00+14:00 moved out of DST gap", "2011-12-31T09:00:00+14:00"}},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_dues(&rows[i].spec, rows[i].after, rows[i].dues);
}

static const struct {
	const char *rrule, *text;
} refusals[] = {
	{"", "rrule has an empty part at character 1; parts are NAME=VALUE with ';' between"},
	{"FREQ=DAILY;", "rrule has an empty part at character 12; parts are NAME=VALUE with ';' between"},
	{"BYDAY=MO", "rrule has no FREQ; write for example FREQ=MONTHLY;BYDAY=-1FR"},
	{"FREQ", "rrule part 'FREQ': has no '=' and value"},
	{"FREQ=", "rrule part 'FREQ': '' is none of SECONDLY MINUTELY HOURLY DAILY WEEKLY MONTHLY YEARLY"},
	{"FREQ=FORTNIGHTLY", "rrule part 'FREQ': 'FORTNIGHTLY' is none of SECONDLY MINUTELY HOURLY DAILY WEEKLY MONTHLY YEARLY"},
	{"FREQ=DAILY;FREQ=DAILY", "rrule part 'FREQ': is given twice"},
	{"FREQ=DAILY;BYDAYS=MO", "unknown rrule part 'BYDAYS' at character 12; there are FREQ INTERVAL COUNT UNTIL WKST BYSECOND BYMINUTE BYHOUR BYDAY BYMONTHDAY BYYEARDAY BYWEEKNO BYMONTH BYSETPOS"},
	{"RRULE:FREQ=DAILY", "rrule is written without 'RRULE:' in front"},
	{"DTSTART:20260101T000000Z", "rrule takes no DTSTART; give \"start_at\" beside it"},
	{"FREQ=DAILY;INTERVAL=0", "rrule part 'INTERVAL': '0' is not a number from 1 to 36525"},
	{"FREQ=DAILY;INTERVAL=x", "rrule part 'INTERVAL': 'x' is not a number from 1 to 36525"},
	{"FREQ=DAILY;INTERVAL=-1", "rrule part 'INTERVAL': '-1' is not a number from 1 to 36525"},
	{"FREQ=YEARLY;INTERVAL=101", "rrule part 'INTERVAL': 101 is above 100"},
	{"FREQ=DAILY;COUNT=0", "rrule part 'COUNT': '0' is not a number from 1 to 100000"},
	{"FREQ=DAILY;COUNT=3", "rrule part 'COUNT': counts from \"start_at\", which is not there (\"max_runs\" counts runs)"},
	{"FREQ=DAILY;COUNT=3;UNTIL=20270101", "rrule part 'COUNT': does not go with UNTIL: only one of them can end the rule"},
	{"FREQ=DAILY;UNTIL=tomorrow", "rrule part 'UNTIL': 'tomorrow' is not a time such as 20261231T235959Z, or 20261231 on the zone's clock"},
	{"FREQ=DAILY;UNTIL=20270229", "rrule part 'UNTIL': '20270229' is not a time such as 20261231T235959Z, or 20261231 on the zone's clock"},
	{"FREQ=DAILY;UNTIL=20270101T250000Z", "rrule part 'UNTIL': '20270101T250000Z' is not a time such as 20261231T235959Z, or 20261231 on the zone's clock"},
	{"FREQ=WEEKLY;WKST=XX", "rrule part 'WKST': 'XX' is none of MO TU WE TH FR SA SU"},
	{"FREQ=DAILY;BYHOUR=24", "rrule part 'BYHOUR': 24 is above 23"},
	{"FREQ=DAILY;BYHOUR=-1", "rrule part 'BYHOUR': -1 is below 0"},
	{"FREQ=DAILY;BYHOUR=9,,10", "rrule part 'BYHOUR': '' is not a number"},
	{"FREQ=DAILY;BYMINUTE=9.5", "rrule part 'BYMINUTE': '9.5' is not a number"},
	{"FREQ=DAILY;BYSECOND=60", "rrule part 'BYSECOND': 60 is above 59"},
	{"FREQ=DAILY;BYMONTH=13", "rrule part 'BYMONTH': 13 is above 12"},
	{"FREQ=DAILY;BYMONTH=0", "rrule part 'BYMONTH': 0 is not from 1 to 12"},
	{"FREQ=MONTHLY;BYMONTHDAY=0", "rrule part 'BYMONTHDAY': 0 is not from 1 to 31, or the same with a minus, from the end"},
	{"FREQ=MONTHLY;BYMONTHDAY=-32", "rrule part 'BYMONTHDAY': -32 is below -31"},
	{"FREQ=MONTHLY;BYMONTHDAY=99999999999", "rrule part 'BYMONTHDAY': '99999999999' is not a number"},
	{"FREQ=WEEKLY;BYMONTHDAY=1", "rrule part 'BYMONTHDAY': does not go with FREQ=WEEKLY"},
	{"FREQ=MONTHLY;BYYEARDAY=1", "rrule part 'BYYEARDAY': does not go with FREQ=MONTHLY"},
	{"FREQ=MONTHLY;BYWEEKNO=1", "rrule part 'BYWEEKNO': does not go with FREQ=MONTHLY"},
	{"FREQ=WEEKLY;BYDAY=1MO", "rrule part 'BYDAY': '1MO' has a number, which goes with MONTHLY and with YEARLY without BYWEEKNO"},
	{"FREQ=YEARLY;BYWEEKNO=3;BYDAY=1MO", "rrule part 'BYDAY': '1MO' has a number, which goes with MONTHLY and with YEARLY without BYWEEKNO"},
	{"FREQ=MONTHLY;BYDAY=6MO", "rrule part 'BYDAY': the number of '6MO' is not from 1 to 5, or from -1 to -5"},
	{"FREQ=YEARLY;BYDAY=0MO", "rrule part 'BYDAY': the number of '0MO' is not from 1 to 53, or from -1 to -53"},
	{"FREQ=MONTHLY;BYDAY=MONDAY", "rrule part 'BYDAY': 'MONDAY' is none of MO TU WE TH FR SA SU, nor one with a number such as -1FR"},
	{"FREQ=MONTHLY;BYSETPOS=1", "rrule part 'BYSETPOS': needs another BY part to pick from"},
	{"FREQ=MONTHLY;BYDAY=MO;BYSETPOS=367", "rrule part 'BYSETPOS': 367 is above 366"},
	{"FREQ=DAILY;BYHOUR=1,2;BYSETPOS=3", "rrule can never be due: BYSETPOS asks for more times than any period has"},
	{"FREQ=MONTHLY;BYDAY=MO;BYSETPOS=6", "rrule can never be due: nothing within 400 years matches all of its parts"},
	{"FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "rrule can never be due: nothing within 400 years matches all of its parts"},
	{"FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30", "rrule can never be due: nothing within 400 years matches all of its parts"},
	{"FREQ=MINUTELY;INTERVAL=2;BYMINUTE=1", "rrule can never be due: INTERVAL never comes to the times of day that are asked for"},
	{"FREQ=HOURLY;INTERVAL=4;BYHOUR=9", "rrule can never be due: INTERVAL never comes to the times of day that are asked for"},
	{"FREQ=SECONDLY;INTERVAL=5400;BYHOUR=1;BYMINUTE=10", "rrule can never be due: INTERVAL never comes to the times of day that are asked for"},
	{"FREQ=SECONDLY;INTERVAL=7;BYHOUR=9", "rrule is not taken: an INTERVAL of seconds that does not divide a day goes without BYHOUR, BYMINUTE and BYSECOND"},
};

static void test_errors_name_the_part_the_text_and_what_is_allowed(void **state)
{
	for (size_t i = 0; i < COUNT_OF(refusals); i++) {
		struct schedule *schedule = NULL;
		struct err err = {0};

		assert_int_equal(schedule_parse(&(struct schedule_spec){.rrule = refusals[i].rrule}, &schedule, &err), ERR_INVALID);
		assert_string_equal(err.text, refusals[i].text);
		assert_string_equal(err.field, "/rrule");
	}
}

static void test_bounds_and_remarks_go_with_rules(void **state)
{
	static const struct {
		struct schedule_spec spec;
		const char *field, *text;
	} rows[] = {
		{{.rrule = "FREQ=DAILY;UNTIL=20260101", .start_at = "2026-06-01T00:00:00Z"}, "/rrule", "rrule part 'UNTIL': there is no due time up to that moment"},
		{{.rrule = "FREQ=YEARLY;BYMONTH=1", .start_at = "2026-06-01T00:00:00Z", .end_at = "2026-07-01T00:00:00Z"}, "/end_at", "there is no due time from start_at 2026-06-01T00:00:00Z to end_at 2026-07-01T00:00:00Z"},
		{{.rrule = "FREQ=DAILY", .start_at = "soon"}, "/start_at", "start_at 'soon' is not a time with an offset such as 2026-11-22T01:30:00Z"},
		{{.rrule = "FREQ=DAILY", .cron = "* * * * *"}, "", "a schedule takes only one of 'cron', 'every', 'every_after', 'at', 'rrule' and 'on'; it has 2"},
		{{.rrule = "FREQ=YEARLY;BYMONTH=3;BYDAY=2SU;BYHOUR=2;BYMINUTE=30", .timezone = "America/New_York", .dst_gap = DST_GAP_SKIP}, "/rrule", "rrule can never be due in zone 'America/New_York': each of its times falls into a DST gap and is left out"},
	};
	static const struct {
		const char *rrule, *start_at, *warning;
	} remarks[] = {
		{"FREQ=WEEKLY", NULL, "without start_at the rule counts from 1970-01-01T00:00:00, a Thursday, on the zone's clock"},
		{"FREQ=DAILY;INTERVAL=2", NULL, "without start_at the rule counts from 1970-01-01T00:00:00, a Thursday, on the zone's clock"},
		{"FREQ=WEEKLY;BYDAY=MO", NULL, NULL},
		{"FREQ=WEEKLY;INTERVAL=2", "2026-01-01T00:00:00Z", NULL},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct schedule *schedule = NULL;
		struct err err = {0};

		assert_int_equal(schedule_parse(&rows[i].spec, &schedule, &err), ERR_INVALID);
		assert_string_equal(err.text, rows[i].text);
		assert_string_equal(err.field, rows[i].field);
	}
	for (size_t i = 0; i < COUNT_OF(remarks); i++) {
		struct schedule *schedule = plan_input(&(struct schedule_spec){.rrule = remarks[i].rrule, .start_at = remarks[i].start_at});

		if (remarks[i].warning)
			assert_string_equal(schedule_warning(schedule), remarks[i].warning);
		else
			assert_null(schedule_warning(schedule));
		schedule_unref(schedule);
	}
}

/* clang-format on */

/* --- a slow reading of the RFC --- */

#define RULES      300
#define STARTS     12
#define DATES_DAYS 2200 /* six years */
#define FOUND_MAX  60000

/* A random rule as text and as lists, empty where it says nothing. */
struct rule {
	char text[400];
	int freq, interval; /* 0 yearly, 1 monthly, 2 weekly, 3 daily */
	int week_start;
	int months[6], month_days[6], year_days[6], weeks[6], positions[6]; /* 0 ends */
	int hours[4], minutes[4];                                           /* -1 ends */
	struct {
		int ordinal, weekday;
	} days[5];
	int day_count;
	int64_t count;
};

static const char *const freqs[] = {"YEARLY", "MONTHLY", "WEEKLY", "DAILY"};
static const char *const days[] = {"SU", "MO", "TU", "WE", "TH", "FR", "SA"};

__attribute__((format(printf, 2, 3))) static void add(struct rule *rule, const char *fmt, ...)
{
	size_t len = strlen(rule->text);
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(rule->text + len, sizeof(rule->text) - len, fmt, args);
	va_end(args);
}

/* `name` with up to four different numbers up to `max`, some from the end; 0 after the last. */
static void add_list(struct rule *rule, struct seed *seed, const char *name, int max,
	bool is_signed, int list[6])
{
	int count = 1 + (int)seed_below(seed, 4);

	add(rule, ";%s=", name);
	for (int i = 0; i < count; i++) {
		list[i] = 1 + (int)seed_below(seed, (uint64_t)max);
		if (is_signed && seed_below(seed, 3) == 0)
			list[i] = -list[i];
		add(rule, "%s%d", i ? "," : "", list[i]);
	}
}

static void add_times(struct rule *rule, struct seed *seed, const char *name, int max, int list[4])
{
	int count = 1 + (int)seed_below(seed, 3);

	add(rule, ";%s=", name);
	for (int i = 0; i < count; i++) {
		list[i] = (int)seed_below(seed, (uint64_t)max);
		add(rule, "%s%d", i ? "," : "", list[i]);
	}
	list[count] = -1;
}

static void add_days(struct rule *rule, struct seed *seed)
{
	int max = rule->freq > 1 || rule->weeks[0]      ? 0
		  : rule->freq == 0 && !rule->months[0] ? 53
							: 5;

	rule->day_count = 1 + (int)seed_below(seed, 4);
	add(rule, ";BYDAY=");
	for (int i = 0; i < rule->day_count; i++) {
		int ordinal =
			max && seed_below(seed, 2) ? 1 + (int)seed_below(seed, (uint64_t)max) : 0;

		rule->days[i].ordinal = seed_below(seed, 2) ? ordinal : -ordinal;
		rule->days[i].weekday = (int)seed_below(seed, 7);
		add(rule, "%s", i ? "," : "");
		if (ordinal)
			add(rule, "%+d", rule->days[i].ordinal);
		add(rule, "%s", days[rule->days[i].weekday]);
	}
}

static void rule_make(struct rule *rule, struct seed *seed)
{
	bool has_part = true;

	*rule = (struct rule){.freq = (int)seed_below(seed, 4), .interval = 1, .week_start = 1};
	rule->hours[0] = rule->minutes[0] = -1;
	add(rule, "FREQ=%s", freqs[rule->freq]);
	if (seed_below(seed, 2))
		add(rule, ";INTERVAL=%d", rule->interval = 1 + (int)seed_below(seed, 5));
	if (seed_below(seed, 3) == 0)
		add(rule, ";WKST=%s", days[rule->week_start = (int)seed_below(seed, 7)]);
	if (seed_below(seed, 3) == 0)
		add_list(rule, seed, "BYMONTH", 12, false, rule->months);
	if (rule->freq == 0 && seed_below(seed, 4) == 0)
		add_list(rule, seed, "BYWEEKNO", 53, true, rule->weeks);
	if (rule->freq == 0 && seed_below(seed, 5) == 0)
		add_list(rule, seed, "BYYEARDAY", 366, true, rule->year_days);
	if (rule->freq != 2 && seed_below(seed, 3) == 0)
		add_list(rule, seed, "BYMONTHDAY", 31, true, rule->month_days);
	if (seed_below(seed, 2))
		add_days(rule, seed);
	if (seed_below(seed, 3) == 0)
		add_times(rule, seed, "BYHOUR", 24, rule->hours);
	if (seed_below(seed, 3) == 0)
		add_times(rule, seed, "BYMINUTE", 60, rule->minutes);
	has_part = strstr(rule->text, ";BY");
	if (has_part && seed_below(seed, 3) == 0)
		add_list(rule, seed, "BYSETPOS", 8, true, rule->positions);
	if (seed_below(seed, 4) == 0)
		add(rule, ";COUNT=%" PRId64, rule->count = 1 + (int64_t)seed_below(seed, 200));
}

/* A number of a list that may count from the end of `total`; an empty list has them all. */
static bool is_listed(const int list[6], int number, int total)
{
	for (int i = 0; list[i]; i++)
		if (list[i] == number || (total && list[i] == number - total - 1))
			return true;
	return !list[0];
}

static bool is_weekday_named(const struct rule *rule, int weekday, int number, int total)
{
	for (int i = 0; i < rule->day_count; i++) {
		int ordinal = rule->days[i].ordinal;

		if (rule->days[i].weekday == weekday &&
			(!ordinal || ordinal == (number + 6) / 7 ||
				-ordinal == (total - number + 7) / 7))
			return true;
	}
	return !rule->day_count;
}

/* The week's year and number, by walking the year's weeks. */
static bool is_week_named(const struct rule *rule, int64_t day)
{
	int64_t monday = day;
	int year = 0, number = 0, total = 0;

	while (civil_weekday(monday) != rule->week_start)
		monday--;
	year = civil_from_seconds((monday + 3) * 86400).year;
	for (int64_t d = civil_days(year, 1, 1); d < civil_days(year + 1, 1, 1); d++)
		if (civil_weekday(d) == (rule->week_start + 3) % 7) {
			total++;
			if (d == monday + 3)
				number = total;
		}
	return is_listed(rule->weeks, number, total);
}

static bool is_day_named(const struct rule *rule, int64_t day, const struct civil *start)
{
	struct civil at = civil_from_seconds(day * 86400);
	int of_year = (int)(day - civil_days(at.year, 1, 1)) + 1;
	int year_days = (int)(civil_days(at.year + 1, 1, 1) - civil_days(at.year, 1, 1));
	int month_days = civil_days_in_month(at.year, at.month);
	int start_weekday = civil_weekday(civil_days(start->year, start->month, start->day));
	bool in_year = rule->freq == 0 && !rule->months[0];
	bool names_days = rule->month_days[0] || rule->year_days[0] || rule->day_count;

	if (!names_days && (rule->freq == 2 || rule->weeks[0]) &&
		civil_weekday(day) != start_weekday)
		return false;
	if (!names_days && rule->freq < 2 && !rule->weeks[0] && at.day != start->day)
		return false;
	if (!names_days && in_year && !rule->weeks[0] && at.month != start->month)
		return false;
	return is_listed(rule->months, at.month, 0) &&
	       is_listed(rule->month_days, at.day, month_days) &&
	       is_listed(rule->year_days, of_year, year_days) &&
	       (!rule->weeks[0] || is_week_named(rule, day)) &&
	       is_weekday_named(rule, civil_weekday(day), in_year ? of_year : at.day,
		       in_year ? year_days : month_days);
}

/* Which period of FREQ a day lies in, counted in periods. */
static int64_t period_of(const struct rule *rule, int64_t day)
{
	struct civil at = civil_from_seconds(day * 86400);

	if (rule->freq < 2)
		return rule->freq == 0 ? at.year : at.year * 12 + at.month;
	while (rule->freq == 2 && civil_weekday(day) != rule->week_start)
		day--;
	return rule->freq == 2 ? (day + 7000) / 7 : day;
}

static bool is_time_named(const struct rule *rule, int minute_of_day, const struct civil *start)
{
	const int *lists[] = {rule->hours, rule->minutes};
	int shown[] = {minute_of_day / 60, minute_of_day % 60},
	    own[] = {start->hour, start->minute};

	for (int which = 0; which < 2; which++) {
		bool is_named = lists[which][0] < 0 && shown[which] == own[which];

		for (int i = 0; lists[which][i] >= 0; i++)
			is_named |= lists[which][i] == shown[which];
		if (!is_named)
			return false;
	}
	return true;
}

/* Keeps of the period's times found[from..count) those that BYSETPOS names; the new count. */
static size_t pick(const struct rule *rule, int64_t *found, size_t from, size_t count)
{
	int total = (int)(count - from);
	size_t kept = from;

	for (int i = 0; i < total; i++)
		if (is_listed(rule->positions, i + 1, total))
			found[kept++] = found[from + (size_t)i];
	return kept;
}

/* All times of the rule from the start on, for DATES_DAYS days. */
static size_t generate(const struct rule *rule, int64_t start_s, int64_t found[FOUND_MAX])
{
	struct civil start = civil_from_seconds(start_s);
	int64_t first_day = start_s / 86400, phase = period_of(rule, first_day);
	size_t count = 0, period_from = 0, kept = 0;

	/* From the beginning of the start's period, which BYSETPOS needs whole. */
	while (period_of(rule, first_day - 1) == phase)
		first_day--;
	for (int64_t day = first_day; day < start_s / 86400 + DATES_DAYS; day++) {
		if (period_of(rule, day) != period_of(rule, day - 1)) {
			count = pick(rule, found, period_from, count);
			period_from = count;
		}
		if ((period_of(rule, day) - phase) % rule->interval ||
			!is_day_named(rule, day, &start))
			continue;
		for (int minute = 0; minute < 1440; minute++)
			if (is_time_named(rule, minute, &start))
				found[count++] = day * 86400 + minute * 60 + start.second;
		assert_true(count < FOUND_MAX - 1440);
	}
	/* The last period may be cut off: what it has is not known. */
	count = rule->positions[0] ? period_from : count;
	for (size_t i = 0; i < count; i++)
		if (found[i] >= start_s && (!rule->count || kept < (size_t)rule->count))
			found[kept++] = found[i];
	return kept;
}

static void compare(const struct rule *rule, struct schedule *schedule, const int64_t *found,
	size_t count, struct seed *seed)
{
	for (int i = 0; i < STARTS; i++) {
		size_t from = seed_below(seed, count), to = from + seed_below(seed, count - from);
		int64_t next_ms = schedule_next(schedule, found[from] * 1000 - 1);
		int64_t after_ms = schedule_next(schedule, found[from] * 1000);

		if (next_ms != found[from] * 1000)
			fail_msg("%s: %" PRId64 " instead of %" PRId64, rule->text, next_ms / 1000,
				found[from]);
		if (from + 1 < count && after_ms != found[from + 1] * 1000)
			fail_msg("%s: %" PRId64 " follows %" PRId64 " instead of %" PRId64,
				rule->text, after_ms / 1000, found[from], found[from + 1]);
		if (schedule_count(schedule, found[from] * 1000, found[to] * 1000) !=
			(int64_t)(to - from) + 1)
			fail_msg("%s: wrong count from %" PRId64 " to %" PRId64, rule->text,
				found[from], found[to]);
	}
	if (rule->count && (int64_t)count == rule->count)
		assert_true(schedule_next(schedule, found[count - 1] * 1000) == NO_TIME);
}

static void test_next_and_count_are_what_the_rfc_generates(void **state)
{
	struct seed seed = seed_start("test_rrule");
	int64_t *found = xcalloc(FOUND_MAX, sizeof(*found)), rules = RULES;
	const char *given = getenv("GATHERING_TEST_RULES");
	int64_t compared = 0;

	if (given)
		assert_true(parse_i64(given, 1, 10000000, &rules));
	for (int64_t i = 0; i < rules; i++) {
		char start[RFC3339_TEXT_SIZE];
		int64_t start_s = INT64_C(1577836800) + (int64_t)seed_below(&seed, 20 * 31557600);
		struct rule rule;
		struct schedule *schedule = NULL;
		struct err err = {0};
		size_t count;

		rule_make(&rule, &seed);
		count = generate(&rule, start_s, found);
		if (schedule_parse(&(struct schedule_spec){.rrule = rule.text,
					   .start_at = format_rfc3339(start_s * 1000, start)},
			    &schedule, &err) != ERR_NONE) {
			if (count > 0 || !strstr(err.text, "can never be due"))
				fail_msg("%s from %s: %s", rule.text, start, err.text);
			continue;
		}
		if (count > 0) {
			compare(&rule, schedule, found, count, &seed);
			compared++;
		}
		schedule_unref(schedule);
	}
	free(found);
	(void)fprintf(stderr, "# %" PRId64 " rules compared\n", compared);
	assert_true(compared > rules / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_next_of_each_part_is_the_first_match),
		cmocka_unit_test(test_clock_changes_are_as_for_cron),
		cmocka_unit_test(test_errors_name_the_part_the_text_and_what_is_allowed),
		cmocka_unit_test(test_bounds_and_remarks_go_with_rules),
		cmocka_unit_test(test_next_and_count_are_what_the_rfc_generates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
