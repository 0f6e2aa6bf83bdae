/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a zone, shared by its reader (zone_file.c), its rule (zone_rule.c) and its look-up
 * (zone.c). */
#pragma once

#include "plan/plan_priv.h"

#define ZONE_NAME_SIZE       64
#define ZONE_FILE_MAX_BYTES  65536 /* the largest one of tzdata 2026f has 3,872 */
#define ZONE_TRANSITIONS_MAX 4096  /* the longest one of tzdata 2026f has 310 */

/* When in a year a rule's change comes: RFC 8536 section 3.3 and POSIX "TZ". */
enum rule_form {
	RULE_MONTH,
	RULE_JULIAN,
	RULE_DAY
};

struct rule_date {
	enum rule_form form;
	int month, week, weekday; /* RULE_MONTH: week 5 is the last */
	int day;                  /* RULE_JULIAN: 1..365 without 29 February; RULE_DAY: 0..365 */
	int32_t time_s; /* on the clock before the change; may be negative or over a day */
};

struct zone_rule {
	bool has_dst;
	int32_t std_offset_s; /* east of UTC is positive, unlike in the text */
	int32_t dst_offset_s;
	struct rule_date to_dst;
	struct rule_date to_std;
};

/* Reads a footer such as "CET-1CEST,M3.5.0,M10.5.0/3"; false when it is none. */
bool zone_rule_parse(const char *text, size_t len, struct zone_rule *ret_rule);

/* One change of offset, from at_s on. */
struct zone_change {
	int64_t at_s;
	int32_t offset_s;
};

/* The two changes of a year; their order is that of the parameters, not that of the calendar. */
void zone_rule_changes(const struct zone_rule *rule, int year, struct zone_change *ret_to_dst,
	struct zone_change *ret_to_std);

/* changes[0] starts at INT64_MIN; after the last one the rule holds, if there is one. */
struct zone {
	struct zone *next;
	char name[ZONE_NAME_SIZE];
	struct zone_change *changes; /* owned, ascending, each a change indeed */
	size_t change_count;         /* at least 1 */
	bool has_rule;               /* with DST; a rule without is the last change */
	struct zone_rule rule;
};

/* Reads the bytes of a TZif file (RFC 8536, version 2 or later) into a zone whose changes are
 * then owned by it. ERR_CORRUPT with what is wrong; leap seconds are refused. */
int zone_file_parse(const uint8_t *bytes, size_t len, struct zone *zone, struct err *err);

/* The IANA name nearest to a misspelt one; false when none is near. */
bool zone_nearest_name(const char *name, char ret_name[static ZONE_NAME_SIZE]);
