/* SPDX-License-Identifier: Apache-2.0
 *
 * Proleptic Gregorian calendar arithmetic: days and fields, no zones, no clock.
 * After Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms". */
#pragma once

#include <stdint.h>

struct civil {
	int year;  /* 1970 .. 9999 */
	int month; /* 1 .. 12 */
	int day;   /* 1 .. 31 */
	int hour, minute, second;
};

/* Days since 1970-01-01. */
int64_t civil_days(int year, int month, int day);

/* Seconds since 1970-01-01T00:00:00 of the fields, read as if UTC; and back. */
int64_t civil_seconds(const struct civil *civil);
struct civil civil_from_seconds(int64_t seconds);

/* 0 = Sunday .. 6 = Saturday. */
int civil_weekday(int64_t days);

int civil_days_in_month(int year, int month);
