/* SPDX-License-Identifier: Apache-2.0
 *
 * How long the questions to plan/ take. Prints figures, never fails on them: DESIGN section 8 has
 * the targets (1,000,000 next due times a second for a simple expression in UTC, 200,000 in a zone
 * with DST, no single answer above 50 us).
 *
 *     meson setup build-bench -Dbuildtype=release && ninja -C build-bench bench_plan
 *     build-bench/test/bench/bench_plan */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "plan/plan_priv.h"

#define FROM_MS  INT64_C(1767225600000) /* 2026-01-01 */
#define ROUND_MS 200
#define STARTS   512
#define WORST_OF 4000
#define YEAR_MS  (INT64_C(366) * 86400000)

struct row {
	const char *what;
	struct schedule_spec spec;
};

/* A row a line: */
/* clang-format off */
static const struct row rows[] = {
	{"every minute, UTC", {.cron = "* * * * *"}},
	{"every 5 min at work, UTC", {.cron = "*/5 9-17 * * MON-FRI"}},
	{"daily, UTC", {.cron = "30 2 * * *"}},
	{"yearly, UTC", {.cron = "0 0 1 1 *"}},
	{"every second, UTC", {.cron = "* * * * * *"}},
	{"last workday, UTC", {.cron = "0 18 LW * *"}},
	{"daily, Paris", {.cron = "30 2 * * *", .timezone = "Europe/Paris"}},
	{"every 5 min at work, New York", {.cron = "*/5 9-17 * * MON-FRI", .timezone = "America/New_York"}},
	{"3rd Friday, Casablanca", {.cron = "0 9 ? * 5#3", .timezone = "Africa/Casablanca"}},
	{"29 February, Lord Howe", {.cron = "0 0 29 2 *", .timezone = "Australia/Lord_Howe"}},
	{"29 Feb and Monday, UTC", {.cron = "0 0 29 2 MON", .day_match = DAY_MATCH_BOTH}},
	{"29 Feb and Monday, both, Paris", {.cron = "*/7 */5 29 2 MON", .timezone = "Europe/Paris", .day_match = DAY_MATCH_BOTH}},
	{"every 90 s", {.every = "90s"}},
	{"rule: daily, UTC", {.rrule = "FREQ=DAILY;BYHOUR=2;BYMINUTE=30"}},
	{"rule: last Friday, Paris", {.rrule = "FREQ=MONTHLY;BYDAY=-1FR", .timezone = "Europe/Paris"}},
	{"rule: every 2nd week, Paris", {.rrule = "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR", .timezone = "Europe/Paris"}},
	{"rule: last workday, SETPOS, Paris", {.rrule = "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", .timezone = "Europe/Paris"}},
	{"rule: SETPOS of a year", {.rrule = "FREQ=YEARLY;BYDAY=MO;BYHOUR=9,17;BYSETPOS=50,-50"}},
	{"rule: week 53's Sunday", {.rrule = "FREQ=YEARLY;BYWEEKNO=53;BYDAY=SU"}},
	{"rule: every 7 min at 9 h, New York", {.rrule = "FREQ=MINUTELY;INTERVAL=7;BYHOUR=9", .timezone = "America/New_York"}},
	{"rule: every 7 s in February", {.rrule = "FREQ=SECONDLY;INTERVAL=7;BYMONTH=2"}},
	{"rule: 29 Feb and Monday, Paris", {.rrule = "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO", .timezone = "Europe/Paris"}},
	{"rule: every 6 years, 29 Feb, Monday", {.rrule = "FREQ=YEARLY;INTERVAL=6;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO"}},
	{"rule: every 1439 min, 13th at 5:07", {.rrule = "FREQ=MINUTELY;INTERVAL=1439;BYHOUR=5;BYMINUTE=7;BYMONTHDAY=13"}},
	{"rule: BYSETPOS and a long COUNT", {.rrule = "FREQ=HOURLY;BYMINUTE=1,2;BYSETPOS=1;COUNT=100000", .start_at = "2026-01-01T00:00:00Z"}},
	{"every minute, jitter 30 s", {.cron = "* * * * *", .jitter = "30s", .name = "backup"}},
	{"daily, jitter 1 h, Paris", {.cron = "30 2 * * *", .timezone = "Europe/Paris", .jitter = "1h", .name = "backup"}},
	{"every second, jitter 7 d, Paris", {.cron = "* * * * * *", .timezone = "Europe/Paris", .jitter = "7d", .name = "backup"}},
	{"29 Feb and Monday, jitter 7 d, Paris", {.cron = "*/7 */5 29 2 MON", .timezone = "Europe/Paris", .day_match = DAY_MATCH_BOTH, .jitter = "7d", .name = "backup"}},
};
/* clang-format on */

/* What this process has computed: who else is on the machine does not matter. */
static int64_t clock_ns(void)
{
	struct rusage used;

	(void)getrusage(RUSAGE_SELF, &used);
	return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * INT64_C(1000000000) +
	       (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * INT64_C(1000);
}

/* Walks on from due time to due time, as the scheduler does; ns each. */
static double bench_walk(const struct schedule *schedule, int64_t round_ms, int64_t *ret_sum)
{
	int64_t end_ns = clock_ns() + round_ms * INT64_C(1000000), start_ns = clock_ns(),
		at_ms = FROM_MS;
	int64_t count = 0;

	while (clock_ns() < end_ns) {
		for (int i = 0; i < 1000; i++) {
			at_ms = schedule_next(schedule, at_ms);
			at_ms = at_ms == NO_TIME ? FROM_MS : at_ms;
		}
		count += 1000;
	}
	*ret_sum += at_ms;
	return (double)(clock_ns() - start_ns) / (double)count;
}

/* From starts strewn over 400 years, the rules behind the listed changes included; ns each. */
static double bench_far(const struct schedule *schedule, int64_t *ret_sum)
{
	int64_t start_ns = clock_ns(), end_ns = start_ns + ROUND_MS * INT64_C(1000000), count = 0;

	while (clock_ns() < end_ns) {
		for (int64_t i = 0; i < STARTS; i++)
			*ret_sum += schedule_next(schedule, FROM_MS + i * 400 / STARTS * YEAR_MS);
		count += STARTS;
	}
	return (double)(clock_ns() - start_ns) / (double)count;
}

static struct schedule *parse(const struct schedule_spec *spec)
{
	struct schedule *schedule = NULL;
	struct err err = {0};

	if (schedule_parse(spec, &schedule, &err) != ERR_NONE) {
		(void)fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	return schedule;
}

static double bench_parse(const struct schedule_spec *spec)
{
	int64_t start_ns = clock_ns(), end_ns = start_ns + ROUND_MS * INT64_C(1000000), count = 0;

	for (; clock_ns() < end_ns; count += 100)
		for (int i = 0; i < 100; i++)
			schedule_unref(parse(spec));
	return (double)(clock_ns() - start_ns) / (double)count;
}

static void bench_outage(const char *what, const struct schedule_spec *spec)
{
	struct schedule *schedule = parse(spec);
	struct misfire_rules rules = {MISFIRE_ALL, 60000, INT64_C(86400000), 100};
	int64_t start_ns = clock_ns(), count = 0, next_ms = 0;
	size_t dues_count = 0;

	for (; clock_ns() < start_ns + ROUND_MS * INT64_C(1000000); count++) {
		struct planned_due *dues = NULL;

		dues_count = misfire_plan(schedule, &rules,
			schedule_next(schedule, FROM_MS - YEAR_MS), FROM_MS, &dues, &next_ms);
		free(dues);
	}
	printf("%-44s %9.1f us  (%zu rows)\n", what,
		(double)(clock_ns() - start_ns) / (double)count / 1000, dues_count);
	schedule_unref(schedule);
}

static void bench_refusal(const char *what, const struct schedule_spec *spec)
{
	int64_t start_ns = clock_ns(), count = 0;

	for (; clock_ns() < start_ns + ROUND_MS * INT64_C(1000000); count++) {
		struct schedule *schedule = NULL;

		if (schedule_parse(spec, &schedule, NULL) == ERR_NONE)
			exit(1);
	}
	printf("%-44s %9.1f us\n", what, (double)(clock_ns() - start_ns) / (double)count / 1000);
}

/* Due times a second for each line of standard input (an expression, a zone, and what the peers of
 * test/diff need), measured for so many milliseconds: one side of bench-plan-peers. */
static int bench_lines(const char *millis)
{
	char line[1024], start[RFC3339_TEXT_SIZE];
	int64_t round_ms = 0, sum = 0;

	if (!parse_i64(millis, 1, 60000, &round_ms))
		return 2;
	while (fgets(line, sizeof(line), stdin)) {
		char *rest = line;
		const char *text = strsep(&rest, "\t"), *timezone = strsep(&rest, "\t");
		bool is_rule = strchr(text, '=');
		struct schedule *schedule =
			parse(&(struct schedule_spec){.cron = is_rule ? NULL : text,
				.rrule = is_rule ? text : NULL,
				.start_at = is_rule ? format_rfc3339(FROM_MS, start) : NULL,
				.timezone = timezone});

		printf("%.0f\n", 1e9 / bench_walk(schedule, round_ms, &sum));
		schedule_unref(schedule);
	}
	(void)fprintf(stderr, "# checksum %" PRId64 "\n", sum);
	return 0;
}

int main(int argc, char **argv)
{
	int64_t sum = 0;

	if (argc > 1)
		return bench_lines(argv[1]);
	printf("%-34s %12s %12s %12s\n", "ns each", "walking", "400 years", "parsing");
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct schedule *schedule = parse(&rows[i].spec);
		double walk = bench_walk(schedule, ROUND_MS, &sum), far = bench_far(schedule, &sum);

		printf("%-34s %12.0f %12.0f %12.0f\n", rows[i].what, walk, far,
			bench_parse(&rows[i].spec));
		schedule_unref(schedule);
	}
	bench_outage(
		"a year of seconds missed, UTC", &(struct schedule_spec){.cron = "* * * * * *"});
	bench_outage("a year of seconds missed, New York",
		&(struct schedule_spec){.cron = "* * * * * *", .timezone = "America/New_York"});
	bench_outage("a year of seconds missed, rule, New York",
		&(struct schedule_spec){.rrule = "FREQ=SECONDLY", .timezone = "America/New_York"});
	bench_outage("a year of every 90 s missed, rule, 9 to 16 h",
		&(struct schedule_spec){
			.rrule = "FREQ=SECONDLY;INTERVAL=90;BYHOUR=9,10,11,12,13,14,15,16"});
	bench_outage("a year of hours missed, rule with BYSETPOS",
		&(struct schedule_spec){.rrule = "FREQ=HOURLY;BYMINUTE=1,2;BYSETPOS=1"});
	bench_outage("a year of days missed, New York",
		&(struct schedule_spec){.cron = "0 9 * * *", .timezone = "America/New_York"});
	bench_refusal("refusing 30 February", &(struct schedule_spec){.cron = "0 0 30 2 *"});
	bench_refusal("refusing 30 February, every minute of it",
		&(struct schedule_spec){.rrule = "FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=30"});
	bench_refusal("refusing BYSETPOS=6 of a month's Mondays",
		&(struct schedule_spec){.rrule = "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=6"});
	bench_refusal("refusing minutes that INTERVAL misses",
		&(struct schedule_spec){
			.rrule = "FREQ=MINUTELY;INTERVAL=719;BYHOUR=1;BYMINUTE=1;BYMONTH=2;"
				 "BYMONTHDAY=30"});
	bench_refusal("refusing what is only ever in a gap",
		&(struct schedule_spec){.cron = "30 2 ? 3 SUN#2",
			.timezone = "America/New_York",
			.dst_gap = DST_GAP_SKIP});
	bench_refusal("refusing a misspelt zone",
		&(struct schedule_spec){.cron = "30 2 * * *", .timezone = "Europe/Pariss"});
	(void)fprintf(stderr, "# checksum %" PRId64 "\n", sum);
	return 0;
}
