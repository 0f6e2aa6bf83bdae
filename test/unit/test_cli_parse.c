/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line: tables to a parsed call, usage errors with their suggestions, flags to the JSON
 * of a definition; and that the tables hold together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/cli_priv.h"

#define ARGS_MAX 24

/* Splits at blanks; a '_' in a word stands for a blank. */
static int split(const char *line, char **ret_argv)
{
	int argc = 0;

	ret_argv[argc++] = xstrdup("gathering");
	while (*line) {
		size_t len = strcspn(line, " ");
		char *word = xstrndup(line, len);

		for (char *c = word; *c; c++)
			*c = *c == '_' ? ' ' : *c;
		ret_argv[argc++] = word;
		line += len + (line[len] == ' ');
	}
	ret_argv[argc] = NULL;
	return argc;
}

struct parsed {
	struct cli cli;
	struct err err;
	char *argv[ARGS_MAX];
	bool wants_help;
	int code;
};

static void parse(const char *line, struct parsed *parsed)
{
	int argc;

	memset(parsed, 0, sizeof(*parsed));
	argc = split(line, parsed->argv);
	parsed->code =
		cli_parse(argc, parsed->argv, &parsed->cli, &parsed->wants_help, &parsed->err);
}

static void parsed_fini(struct parsed *parsed)
{
	cli_fini(&parsed->cli);
	for (size_t i = 0; parsed->argv[i]; i++)
		free(parsed->argv[i]);
}

/* --- usage errors --- */

static const struct {
	const char *line, *text;
} error_rows[] = {
	{"", "which command? `gathering help` lists them"},
	{"nxt", "no command 'nxt'; did you mean 'next'?"},
	{"frobnicate", "no command 'frobnicate'; `gathering help` lists them"},
	{"actoin list", "no command 'actoin'; did you mean 'action list'?"},
	{"action",
		"action what? one of: add, list, show, edit, pause, resume, run, delete, export"},
	{"action lst", "no command 'action lst'; did you mean 'action list'?"},
	{"action xyz",
		"no command 'action xyz'; action takes: add, list, show, edit, pause, resume, "
		"run, delete, export"},
	{"action show", "action show needs ACTION"},
	{"action show a b", "action show: 'b' is one argument too many"},
	{"action add a b",
		"action add: 'b' is one argument too many; the program goes behind `--`"},
	{"action add a --crn x", "no flag '--crn' here; did you mean --cron?"},
	{"action add a -Q x", "no flag '-Q' here; flags of your own program go behind `--`"},
	{"next @daily --cuont=3", "no flag '--cuont=3' here; did you mean --count?"},
	{"next @daily --count", "--count needs a value: N"},
	{"next @daily --count 0", "--count '0': a whole number from 1 to 100000"},
	{"next @daily --count 1x", "--count '1x': a whole number from 1 to 100000"},
	{"next @daily --notes=yes", "--notes stands alone, it takes no value"},
	{"next @daily --dst-gap never", "--dst-gap 'never': one of run_after, skip"},
	{"next @daily --from yesterday", "--from 'yesterday': a time such as 2026-11-22T01:30:00Z, "
					 "or how long ago such as 2h"},
	{"action add a --timeout 5", "--timeout '5': a duration such as 90s, 5m or 1h30m"},
	{"action add a --env NAME", "--env 'NAME': written NAME=VALUE"},
	{"action add a --env =x", "--env '=x': written NAME=VALUE"},
	{"action add a -H x=y", "--header 'x=y': written 'NAME: VALUE'"},
	{"version --output yaml", "--output 'yaml': one of table, json"},
};

static void test_usage_error_says_what_and_suggests(void **state)
{
	for (size_t i = 0; i < COUNT_OF(error_rows); i++) {
		struct parsed parsed;

		parse(error_rows[i].line, &parsed);
		print_message("%s\n", error_rows[i].line);
		assert_int_equal(parsed.code, ERR_INVALID);
		assert_string_equal(parsed.err.text, error_rows[i].text);
		parsed_fini(&parsed);
	}
}

/* --- parsing --- */

static void test_flags_and_arguments_come_in_any_order(void **state)
{
	static const char *const lines[] = {
		"--server http://x -o json next --count=3 0_2_*_*_* -z UTC",
		"next 0_2_*_*_* -zUTC -n3 --output json --server=http://x",
		("next -n 9 --json --server http://y --timezone UTC --server http://x -n 3 -- "
		 "0_2_*_*_*"),
	};

	for (size_t i = 0; i < COUNT_OF(lines); i++) {
		struct parsed parsed;

		parse(lines[i], &parsed);
		print_message("%s\n", lines[i]);
		assert_int_equal(parsed.code, 0);
		assert_string_equal(parsed.cli.command->name, "next");
		assert_int_equal(parsed.cli.arg_count, 1);
		assert_string_equal(parsed.cli.args[0], "0 2 * * *");
		assert_string_equal(cli_flag(&parsed.cli, "server"), "http://x");
		assert_string_equal(cli_flag(&parsed.cli, "timezone"), "UTC");
		assert_int_equal(cli_flag_int(&parsed.cli, "count", 5), 3);
		assert_true(parsed.cli.is_json);
		assert_false(cli_has(&parsed.cli, "notes"));
		parsed_fini(&parsed);
	}
}

static void test_what_stands_behind_dashes_is_the_program_untouched(void **state)
{
	struct parsed parsed;

	parse("action add backup --cron 0_2_*_*_* -- /usr/bin/backup --all -n --help", &parsed);
	assert_int_equal(parsed.code, 0);
	assert_false(parsed.wants_help);
	assert_int_equal(parsed.cli.arg_count, 1);
	assert_int_equal(parsed.cli.rest_count, 4);
	assert_string_equal(parsed.cli.rest[1], "--all");
	parsed_fini(&parsed);
}

static void test_times_are_absolute_or_ago(void **state)
{
	struct parsed parsed;

	parse("run list --since 2h --until 1970-01-01T00:00:01Z", &parsed);
	assert_int_equal(parsed.code, 0);
	assert_int_equal(cli_flag_time(&parsed.cli, "since", 10000000, 0), 10000000 - 7200000);
	assert_int_equal(cli_flag_time(&parsed.cli, "until", 10000000, 0), 1000);
	parsed_fini(&parsed);
}

static void test_options_of_the_server_pass_through_check_config(void **state)
{
	struct parsed parsed;

	parse("check-config --listen 127.0.0.1:0 --set a=b", &parsed);
	assert_int_equal(parsed.code, 0);
	assert_int_equal(parsed.cli.arg_count, 4);
	assert_string_equal(parsed.cli.args[3], "a=b");
	parsed_fini(&parsed);
}

static void test_help_is_asked_anywhere(void **state)
{
	static const char *const lines[] = {"--help", "-h action list", "action list --help",
		"action show --help", "check-config -h", "serve --help"};

	for (size_t i = 0; i < COUNT_OF(lines); i++) {
		struct parsed parsed;

		parse(lines[i], &parsed);
		assert_int_equal(parsed.code, 0);
		assert_true(parsed.wants_help);
		parsed_fini(&parsed);
	}
}

/* --- definitions --- */

/* clang-format off */
static const struct {
	const char *line;
	enum define_mode mode;
	const char *json; /* NULL: refused */
} define_rows[] = {
	{"action add b --cron 0_2_*_*_* -- /usr/bin/backup --all", DEFINE_WHOLE,
		"{'schedule':{'cron':'0 2 * * *'},'exec':{'command':['/usr/bin/backup','--all']},"
		"'kind':'exec'}"},
	{"action add b --every 30s -z Asia/Tokyo --shell echo_hi --retries 2 --tag x --tag y", DEFINE_WHOLE,
		"{'schedule':{'every':'30s','timezone':'Asia/Tokyo'},'exec':{'command':'echo hi','shell':true},"
		"'retry':{'max_attempts':3},'tags':['x','y'],'kind':'exec'}"},
	{"action add b --url http://h/ -H A:_1 -H B:2 --priority -5 --timeout 5s", DEFINE_WHOLE,
		"{'http':{'url':'http://h/','headers':{'A':'1','B':'2'}},'priority':-5,'timeout':'5s',"
		"'kind':'http'}"},
	{"action add b -e A=1=2 -e B= --cwd /x -- env", DEFINE_WHOLE,
		"{'exec':{'env':{'A':'1=2','B':''},'cwd':'/x','command':['env']},'kind':'exec'}"},
	{"action edit b --every 1h", DEFINE_PATCH,
		"{'schedule':{'every':'1h','cron':null,'every_after':null,'at':null,'rrule':null,'on':null,'anchor':null}}"},
	{"action edit b --rrule FREQ=MONTHLY;BYDAY=-1FR --start-at 2026-01-01T00:00:00Z", DEFINE_PATCH,
		"{'schedule':{'rrule':'FREQ=MONTHLY;BYDAY=-1FR','start_at':'2026-01-01T00:00:00Z','cron':null,'every':null,"
		"'every_after':null,'at':null,'on':null,'anchor':null}}"},
	{"action edit b --timezone UTC", DEFINE_PATCH, "{'schedule':{'timezone':'UTC'}}"},
	{"action edit b --manual", DEFINE_PATCH, "{'schedule':null}"},
	{"action edit b --url http://h/", DEFINE_PATCH,
		"{'http':{'url':'http://h/'},'kind':'http','exec':null,'sql':null}"},
	{"action edit b -- new", DEFINE_PATCH,
		"{'exec':{'command':['new'],'shell':false},'kind':'exec','http':null,'sql':null}"},
	{"action edit b --shell x", DEFINE_PATCH,
		"{'exec':{'command':'x','shell':true},'kind':'exec','http':null,'sql':null}"},
	{"action edit b --sql x --sql-read-only true", DEFINE_PATCH,
		"{'sql':{'statement':'x','read_only':true},'kind':'sql','http':null,'exec':null}"},
	{"action edit b --noop", DEFINE_PATCH, "{'kind':'noop','http':null,'exec':null,'sql':null}"},
	{"action edit b --retry-jitter 0.3 --limit-memory 1GiB", DEFINE_PATCH,
		"{'retry':{'jitter':0.3},'exec':{'limits':{'memory':'1GiB'}}}"},
	{"action add b --sql x --noop", DEFINE_WHOLE, NULL},
	{"action edit b --name c --env A=1", DEFINE_PATCH, "{'name':'c','exec':{'env':{'A':'1'}}}"},
	{"action add b --cron x --every 1s -- y", DEFINE_WHOLE, NULL},
	{"action add b --manual --at 2026-01-01T00:00:00Z -- y", DEFINE_WHOLE, NULL},
	{"action add b --url http://h/ -- y", DEFINE_WHOLE, NULL},
	{"action add b --url http://h/ --shell y", DEFINE_WHOLE, NULL},
	{"action add b --", DEFINE_WHOLE, NULL},
	{"action add b -- \xff", DEFINE_WHOLE, NULL},
	{"action add b --description \xff -- x", DEFINE_WHOLE, NULL},
};
/* clang-format on */

static void test_flags_make_the_definition(void **state)
{
	for (size_t i = 0; i < COUNT_OF(define_rows); i++) {
		struct parsed parsed;
		struct err err = {0};
		json_t *json = NULL, *want;
		int code;

		parse(define_rows[i].line, &parsed);
		print_message("%s\n", define_rows[i].line);
		assert_int_equal(parsed.code, 0);
		assert_true(define_is_asked(&parsed.cli));
		code = define_from_flags(&parsed.cli, define_rows[i].mode, &json, &err);
		if (!define_rows[i].json) {
			assert_int_equal(code, ERR_INVALID);
			assert_true(err.text[0] != '\0');
		} else {
			auto_free char *text = xstrdup(define_rows[i].json);

			for (char *c = text; *c; c++)
				*c = *c == '\'' ? '"' : *c;
			want = json_loads(text, 0, NULL);
			assert_non_null(want);
			assert_int_equal(code, 0);
			if (!json_equal(json, want))
				json_dumpf(json, stderr, JSON_INDENT(1));
			assert_true(json_equal(json, want));
			json_decref(want);
		}
		json_decref(json);
		parsed_fini(&parsed);
	}
}

static void test_export_drops_what_the_server_adds(void **state)
{
	json_t *shown = json_loads(
		"{\"id\":\"0193e4b0-0000-7000-8000-000000000001\",\"version\":4,"
		"\"state\":\"active\",\"next_due_at\":null,\"created_at\":\"2026-01-01T00:00:00Z\","
		"\"updated_at\":\"2026-01-01T00:00:00Z\",\"name\":\"a\",\"kind\":\"exec\","
		"\"exec\":{\"command\":[\"x\"]}}",
		0, NULL);
	json_t *only;

	assert_non_null(shown);
	only = define_only(shown);
	assert_null(json_object_get(only, "id"));
	assert_null(json_object_get(only, "version"));
	assert_null(json_object_get(only, "updated_at"));
	assert_string_equal(get_text(only, "name"), "a");
	assert_non_null(json_object_get(only, "timeout"));
	json_decref(only);
	json_decref(shown);
}

/* --- help --- */

static void test_every_command_has_a_help_page(void **state)
{
	for (const struct command *command = cli_commands; command->name; command++) {
		struct buf out;

		if (command->raw)
			continue; /* the options are conf's */
		buf_init(&out, 1u << 20);
		help_write_command(command, &out, 60);
		assert_non_null(strstr(buf_text(&out), command->name));
		for (size_t t = 0; t < COMMAND_FLAGS_MAX && command->flags[t]; t++)
			for (const struct flag *flag = command->flags[t]; flag->name; flag++) {
				auto_free char *dashed = xasprintf("--%s", flag->name);

				assert_non_null(strstr(buf_text(&out), dashed));
				assert_true(flag->type == FLAG_SWITCH || flag->value);
				assert_true(flag->type != FLAG_CHOICE || flag->choices);
				assert_true(flag->type != FLAG_PAIR || flag->separator);
				assert_true(flag->type != FLAG_INT || flag->max > flag->min);
			}
		buf_fini(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usage_error_says_what_and_suggests),
		cmocka_unit_test(test_flags_and_arguments_come_in_any_order),
		cmocka_unit_test(test_what_stands_behind_dashes_is_the_program_untouched),
		cmocka_unit_test(test_times_are_absolute_or_ago),
		cmocka_unit_test(test_options_of_the_server_pass_through_check_config),
		cmocka_unit_test(test_help_is_asked_anywhere),
		cmocka_unit_test(test_flags_make_the_definition),
		cmocka_unit_test(test_export_drops_what_the_server_adds),
		cmocka_unit_test(test_every_command_has_a_help_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
