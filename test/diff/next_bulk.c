/* SPDX-License-Identifier: Apache-2.0
 *
 * Due times in bulk, for test/diff/run: each line of standard input is an expression, a zone, a
 * moment (seconds since 1970) and a count, with tabs between, for a recurrence rule also its
 * start_at; the answer is a line with the due times after that moment in seconds, or "refused" and
 * why. The peers of test/diff answer alike. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "plan/plan.h"

#define LINE_MAX_BYTES 1024
#define COUNT_MAX      1000

static void answer(const struct schedule_spec *spec, int64_t from_s, int64_t count)
{
	struct schedule *schedule = NULL;
	struct err err = {0};
	int64_t at_ms = from_s * 1000;

	if (schedule_parse(spec, &schedule, &err) != ERR_NONE) {
		(void)printf("refused %s\n", err.text);
		return;
	}
	for (int64_t i = 0; i < count; i++) {
		at_ms = schedule_next(schedule, at_ms);
		if (at_ms == NO_TIME)
			break;
		(void)printf("%s%" PRId64, i ? " " : "", at_ms / 1000);
	}
	(void)putchar('\n');
	schedule_unref(schedule);
}

int main(void)
{
	char line[LINE_MAX_BYTES];

	while (fgets(line, sizeof(line), stdin)) {
		char *rest = line;
		const char *expression = strsep(&rest, "\t"), *zone = strsep(&rest, "\t");
		const char *from = strsep(&rest, "\t"), *count = strsep(&rest, "\t\n"),
			   *start = strsep(&rest, "\n");
		bool is_rule = start && *start != '\0';
		int64_t from_s = 0, wanted = 0;

		if (!count || !parse_i64(from, 0, INT64_C(253402300799), &from_s) ||
			!parse_i64(count, 1, COUNT_MAX, &wanted)) {
			(void)fprintf(stderr, "next_bulk: cannot read '%s'\n", expression);
			return 2;
		}
		answer(&(struct schedule_spec){.cron = is_rule ? NULL : expression,
			       .rrule = is_rule ? expression : NULL,
			       .start_at = is_rule ? start : NULL,
			       .timezone = zone},
			from_s, wanted);
	}
	return 0;
}
