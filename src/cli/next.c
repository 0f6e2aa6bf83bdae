/* SPDX-License-Identifier: Apache-2.0
 *
 * `gathering next`: due times of a schedule, computed here by plan/, without a server. */
#include <stdio.h>
#include <string.h>

#include "base/ascii.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli_priv.h"
#include "model/model.h"

#define COUNT_PRESET 5
#define EXPR_MAX     1024

/* The arguments joined by blanks, so that an unquoted expression works where the shell left it be.
 */
static int join_args(const struct cli *cli, struct buf *expr, struct err *err)
{
	for (size_t i = 0; i < cli->arg_count; i++)
		buf_printf(expr, "%s%s", i ? " " : "", cli->args[i]);
	return expr->is_cut ? err_set(err, ERR_INVALID, "longer than %d bytes", EXPR_MAX) : 0;
}

/* A rule, a date, a duration, or else cron. Told apart by their shape, so that the error that
 * follows is of the right parser: rules have NAME=VALUE, fields have blanks, dates begin "2026-",
 * durations begin with a digit. */
static void set_kind(const char *expr, struct schedule_spec *spec)
{
	bool has_year = strlen(expr) > 4 && expr[4] == '-' && ascii_is_digit(expr[0]) &&
			ascii_is_digit(expr[1]) && ascii_is_digit(expr[2]) &&
			ascii_is_digit(expr[3]);

	if (strchr(expr, '='))
		spec->rrule = expr;
	else if (has_year && !strchr(expr, '*'))
		spec->at = expr;
	else if (ascii_is_digit(expr[0]) && !strpbrk(expr, " \t*,/"))
		spec->every = expr;
	else
		spec->cron = expr;
}

static void print_due(const struct due *due, bool has_notes)
{
	char text[RFC3339_TEXT_SIZE];

	(void)printf("%s", format_rfc3339_offset(due->at_ms, due->utc_offset_s, text));
	if (has_notes && due->note)
		(void)printf("  %s", due->note);
	if (has_notes && due->nominal_ms != due->at_ms)
		(void)printf("  nominal %s",
			format_rfc3339_offset(due->nominal_ms, due->nominal_utc_offset_s, text));
	(void)putchar('\n');
}

static int list_dues(const struct cli *cli, const struct schedule *schedule, int64_t from_ms)
{
	int64_t count = cli_flag_int(cli, "count", COUNT_PRESET);
	bool is_json = cli->is_json, has_notes = cli_has(cli, "notes");
	json_t *items = json_array();
	int64_t listed = 0;
	struct due due = {.at_ms = from_ms};

	for (; listed < count && schedule_next_due(schedule, due.at_ms, &due); listed++) {
		if (is_json)
			(void)json_array_append_new(items, due_to_json(&due));
		else
			print_due(&due, has_notes);
	}
	if (is_json) {
		json_t *answer = json_pack(
			"{s:O, s:s?}", "items", items, "warning", schedule_warning(schedule));

		print_json(answer);
		json_decref(answer);
	}
	json_decref(items);
	return listed > 0 ? 0 : 3;
}

int cmd_next(struct cli *cli)
{
	int64_t now_ms = clock_wall_ms(), from_ms = cli_flag_time(cli, "from", now_ms, now_ms);
	struct schedule_spec spec = {.timezone = cli_flag(cli, "timezone"),
		.start_at = cli_flag(cli, "start-at"),
		.end_at = cli_flag(cli, "end-at"),
		.jitter = cli_flag(cli, "jitter"),
		.name = cli_flag(cli, "name"),
		.dst_gap = (enum dst_gap)cli_flag_choice(cli, "dst-gap", DST_GAP_RUN_AFTER),
		.dst_overlap =
			(enum dst_overlap)cli_flag_choice(cli, "dst-overlap", DST_OVERLAP_FIRST),
		.day_match = (enum day_match)cli_flag_choice(cli, "day-match", DAY_MATCH_EITHER)};
	struct schedule *schedule = NULL;
	struct err err = {0};
	struct buf expr;
	int status;

	buf_init(&expr, EXPR_MAX);
	if (join_args(cli, &expr, &err) == 0) {
		set_kind(buf_text(&expr), &spec);
		(void)schedule_parse(&spec, &schedule, &err);
	}
	if (schedule) {
		if (schedule_warning(schedule) && !cli->is_json)
			(void)fprintf(stderr, "gathering: note: %s\n", schedule_warning(schedule));
		status = list_dues(cli, schedule, from_ms);
		if (status == 3)
			(void)fputs("gathering: nothing is due after that moment\n", stderr);
	} else {
		status = cli_fail(&err);
	}
	schedule_unref(schedule);
	buf_fini(&expr);
	return status;
}
