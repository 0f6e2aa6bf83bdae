/* SPDX-License-Identifier: Apache-2.0
 *
 * Calendar arithmetic on years that begin in March, so that the leap day comes last and a month's
 * first day is a linear function of its number. 400 such years are one era of 146,097 days. */
#include "base/civil.h"

#include <stdbool.h>

#define DAYS_PER_ERA    146097
#define DAYS_TO_EPOCH   719468 /* from 0000-03-01 to 1970-01-01 */
#define SECONDS_PER_DAY INT64_C(86400)

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

int64_t civil_days(int year, int month, int day)
{
	int64_t march_year = (int64_t)year - (month <= 2);
	int64_t era = floor_div(march_year, 400);
	int64_t year_of_era = march_year - era * 400;
	int64_t march_month = month > 2 ? month - 3 : month + 9;
	int64_t day_of_year = (153 * march_month + 2) / 5 + day - 1;
	int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

	return era * DAYS_PER_ERA + day_of_era - DAYS_TO_EPOCH;
}

int64_t civil_seconds(const struct civil *civil)
{
	int64_t days = civil_days(civil->year, civil->month, civil->day);

	return days * SECONDS_PER_DAY + civil->hour * 3600 + civil->minute * 60 + civil->second;
}

static void civil_set_date(int64_t days, struct civil *ret_civil)
{
	int64_t from_march = days + DAYS_TO_EPOCH;
	int64_t era = floor_div(from_march, DAYS_PER_ERA);
	int64_t day_of_era = from_march - era * DAYS_PER_ERA;
	/* The leap days before this day are taken off: every 4 years, not every 100, but every 400.
	 */
	int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 -
				      day_of_era / (DAYS_PER_ERA - 1)) /
			      365;
	int64_t day_of_year =
		day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t march_month = (5 * day_of_year + 2) / 153;

	ret_civil->day = (int)(day_of_year - (153 * march_month + 2) / 5 + 1);
	ret_civil->month = (int)(march_month < 10 ? march_month + 3 : march_month - 9);
	ret_civil->year = (int)(year_of_era + era * 400 + (ret_civil->month <= 2));
}

struct civil civil_from_seconds(int64_t seconds)
{
	int64_t days = floor_div(seconds, SECONDS_PER_DAY);
	int rest = (int)(seconds - days * SECONDS_PER_DAY);
	struct civil civil = {.hour = rest / 3600, .minute = rest / 60 % 60, .second = rest % 60};

	civil_set_date(days, &civil);
	return civil;
}

int civil_weekday(int64_t days)
{
	/* 1970-01-01 was a Thursday. */
	return (int)(days + 4 - floor_div(days + 4, 7) * 7);
}

int civil_days_in_month(int year, int month)
{
	static const uint8_t counts[] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return counts[month] + (month == 2 && is_leap);
}
