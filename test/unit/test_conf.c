/* SPDX-License-Identifier: Apache-2.0
 *
 * Configuration: which source wins, what each refusal says, and what is shown to people. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"
#include "conf/conf.h"

#define ARGS_MAX 16

extern char **environ;

static char file_path[] = "/tmp/gathering-test-conf-XXXXXX";

/* --- one load with everything given --- */

static void write_file(const char *text, size_t len)
{
	FILE *file = fopen(file_path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static int load_args(const char *const *args, struct conf *conf, struct err *err)
{
	const char *argv[ARGS_MAX + 2] = {"serve"};
	int argc = 1;

	for (; args[argc - 1]; argc++) {
		assert_true(argc < ARGS_MAX);
		argv[argc] = args[argc - 1];
	}
	*err = (struct err){0};
	return conf_load(argc, (char *const *)argv, conf, err);
}

#define LOAD(conf, err, ...)                                                                       \
	load_args((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL}, conf, err)

/* Loading must fail with exactly this code and text, and leave the target alone. */
static void assert_refused(const char *const *args, int code, const char *text)
{
	struct conf conf = {.db_max = -42};
	struct err err;

	assert_int_equal(load_args(args, &conf, &err), code);
	assert_string_equal(err.text, text);
	assert_int_equal(err.code, code);
	assert_int_equal(conf.db_max, -42);
	assert_null(conf.sources);
}

#define ASSERT_REFUSED(code, text, ...)                                                            \
	assert_refused((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL}, code, text)

static void assert_file_refused(const char *text, const char *message)
{
	auto_free char *whole = xasprintf("%s: %s", file_path, message);

	write_file(text, strlen(text));
	ASSERT_REFUSED(ERR_INVALID, whole);
}

/* Each test starts with an empty file as the file and no other GATHERING_ variable. */
static int set_up(void **state)
{
	bool is_clean = false;

	while (!is_clean) {
		is_clean = true;
		for (char **var = environ; *var && is_clean; var++) {
			auto_free char *name = xstrndup(*var, strcspn(*var, "="));

			if (strncmp(name, "GATHERING_", 10) == 0)
				is_clean = unsetenv(name) != 0;
		}
	}
	write_file("", 0);
	return setenv("GATHERING_CONFIG", file_path, 1);
}

static int make_file(void **state)
{
	int fd = mkstemp(file_path);

	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	return unlink(file_path);
}

/* --- precedence --- */

static void test_defaults_are_those_of_the_table(void **state)
{
	struct conf conf;
	struct err err;

	assert_int_equal(LOAD(&conf, &err), 0);
	assert_string_equal(conf.listen, "127.0.0.1:8080");
	assert_string_equal(conf.database, "sqlite:gathering.db");
	assert_string_equal(conf.log_level, "info");
	assert_int_equal(conf.total_max, 25000);
	assert_int_equal(conf.quiet, 500);
	assert_int_equal(conf.body_max, 1048576);
	assert_int_equal(conf.output_max, 65536);
	assert_false(conf.exec_enabled);
	assert_string_equal(conf.exec_paths, "");
	conf_fini(&conf);
	conf_fini(&conf);
}

static void test_file_beats_default(void **state)
{
	static const char text[] =
		"# a comment\n[gathering]\nlisten = [::1]:9 \nbody_max=2MiB\n"
		"exec-enabled = yes\nexec_paths = /opt/a b\\c:/x\nquiet=1s\nquiet=2s\n";
	struct conf conf;
	struct err err;

	write_file(text, sizeof(text) - 1);
	assert_int_equal(LOAD(&conf, &err), 0);
	assert_string_equal(conf.listen, "[::1]:9");
	assert_int_equal(conf.body_max, 2097152);
	assert_true(conf.exec_enabled);
	assert_string_equal(conf.exec_paths, "/opt/a b\\c:/x");
	assert_int_equal(conf.quiet, 2000);
	assert_string_equal(conf.file, file_path);
	conf_fini(&conf);
}

static void test_environment_beats_file_and_flag_beats_both(void **state)
{
	static const char text[] = "[gathering]\nmax_running=1\nquiet=1s\nlog_level=error\n";
	struct conf conf;
	struct err err;

	write_file(text, sizeof(text) - 1);
	assert_int_equal(setenv("GATHERING_MAX_RUNNING", "2", 1), 0);
	assert_int_equal(setenv("GATHERING_QUIET", "2s", 1), 0);
	assert_int_equal(LOAD(&conf, &err, "--max-running", "3"), 0);
	assert_int_equal(conf.max_running, 3);
	assert_int_equal(conf.quiet, 2000);
	assert_string_equal(conf.log_level, "error");
	conf_fini(&conf);
}

static void test_flags_have_five_forms(void **state)
{
	struct conf conf;
	struct err err;

	assert_int_equal(
		LOAD(&conf, &err, "--max-running", "3", "--max_running_http=4", "--set",
			"max_running_exec=5", "--set=listen=a=b", "--insecure", "--exec-enabled",
			"no", "--allow-private-targets=on", "--quiet", "1s", "--quiet", "3s"),
		0);
	assert_int_equal(conf.max_running, 3);
	assert_int_equal(conf.max_running_http, 4);
	assert_int_equal(conf.max_running_exec, 5);
	assert_string_equal(conf.listen, "a=b");
	assert_true(conf.insecure);
	assert_false(conf.exec_enabled);
	assert_true(conf.allow_private_targets);
	assert_int_equal(conf.quiet, 3000);
	conf_fini(&conf);
	assert_int_equal(LOAD(&conf, &err, "--exec-paths=", "--insecure"), 0);
	assert_string_equal(conf.exec_paths, "");
	assert_true(conf.insecure);
	conf_fini(&conf);
}

static void test_config_flag_beats_the_variable(void **state)
{
	static const char text[] = "[gathering]\nmax_running=7\n";
	struct conf conf;
	struct err err;

	write_file(text, sizeof(text) - 1);
	assert_int_equal(setenv("GATHERING_CONFIG", "/nonexistent/x.conf", 1), 0);
	assert_int_equal(LOAD(&conf, &err, "--max-running=9", "--config", file_path), 0);
	assert_int_equal(conf.max_running, 9);
	assert_string_equal(conf.file, file_path);
	conf_fini(&conf);
	assert_int_equal(
		LOAD(&conf, &err, "--config=/nonexistent/y.conf", "--config", file_path), 0);
	assert_int_equal(conf.max_running, 7);
	conf_fini(&conf);
}

static void test_foreign_variables_are_left_alone(void **state)
{
	struct conf conf;
	struct err err;

	assert_int_equal(setenv("GATHERING_SERVER", "http://x", 1), 0);
	assert_int_equal(setenv("GATHERING_TOKEN", "t", 1), 0);
	assert_int_equal(setenv("GATHERING_RUN_ID", "r", 1), 0);
	assert_int_equal(setenv("GATHERING_max_running", "nonsense", 1), 0);
	assert_int_equal(LOAD(&conf, &err), 0);
	conf_fini(&conf);
}

static void test_empty_config_variable_means_none(void **state)
{
	struct conf conf;
	struct err err;

	if (access("/etc/gathering/gathering.conf", F_OK) == 0)
		skip();
	assert_int_equal(setenv("GATHERING_CONFIG", "", 1), 0);
	assert_int_equal(LOAD(&conf, &err), 0);
	assert_null(conf.file);
	conf_fini(&conf);
}

/* --- refusals --- */

static void test_flag_refusals_name_value_and_remedy(void **state)
{
	ASSERT_REFUSED(ERR_INVALID,
		"--max-running: '0' cannot be the value of max_running: give a whole number, 1 to "
		"100000",
		"--max-running", "0");
	ASSERT_REFUSED(ERR_INVALID,
		"--max_running: 'x' cannot be the value of max_running: give a whole number, 1 to "
		"100000",
		"--max_running=x");
	ASSERT_REFUSED(ERR_INVALID,
		"--quiet: '10' cannot be the value of quiet: give a duration such as 10s, 0s to 1m",
		"--quiet", "10");
	ASSERT_REFUSED(ERR_INVALID,
		"--quiet: '61s' cannot be the value of quiet: give a duration such as 10s, 0s to "
		"1m",
		"--quiet", "61s");
	ASSERT_REFUSED(ERR_INVALID,
		"--header-max: '1K' cannot be the value of header_max: give a size such as 64KiB, "
		"1KiB to 64KiB",
		"--header-max=1K");
	ASSERT_REFUSED(ERR_INVALID,
		"--set: 'perhaps' cannot be the value of insecure: give true or false", "--set",
		"insecure=perhaps");
	ASSERT_REFUSED(ERR_INVALID,
		"--log-level: 'warning' cannot be the value of log_level: give one of debug info "
		"warn error",
		"--log-level", "warning");
	ASSERT_REFUSED(ERR_INVALID,
		"--log-format: 'text json' cannot be the value of log_format: give one of text "
		"json",
		"--log-format", "text json");
	ASSERT_REFUSED(ERR_INVALID,
		"--log-format: '' cannot be the value of log_format: give one of text json",
		"--log-format=");
}

static void test_unknown_names_are_refused_with_the_nearest(void **state)
{
	ASSERT_REFUSED(ERR_INVALID,
		"unknown option 'max-runing': the nearest known one is 'max_running'",
		"--max-runing", "3");
	ASSERT_REFUSED(ERR_INVALID, "unknown option 'lisen': the nearest known one is 'listen'",
		"--set", "lisen=x");
	ASSERT_REFUSED(ERR_INVALID, "unknown option 'DB_MAX': the nearest known one is 'db_max'",
		"--DB_MAX=1s");
}

static void test_arguments_that_are_no_option_are_refused(void **state)
{
	ASSERT_REFUSED(
		ERR_INVALID, "'start' is not an option: options are written --name VALUE", "start");
	ASSERT_REFUSED(
		ERR_INVALID, "'-l' is not an option: options are written --name VALUE", "-l", "x");
	ASSERT_REFUSED(
		ERR_INVALID, "'--' is not an option: options are written --name VALUE", "--");
	ASSERT_REFUSED(ERR_INVALID, "'yes' is not an option: options are written --name VALUE",
		"--insecure", "true", "yes");
	ASSERT_REFUSED(
		ERR_INVALID, "option '--listen' needs a value: write --listen=VALUE", "--listen");
	ASSERT_REFUSED(ERR_INVALID, "option '--listen' needs a value: write --listen=VALUE",
		"--listen", "--insecure");
	ASSERT_REFUSED(
		ERR_INVALID, "option '--config' needs a value: write --config=VALUE", "--config");
	ASSERT_REFUSED(
		ERR_INVALID, "--set 'insecure': write --set name=value", "--set", "insecure");
}

static void test_environment_refusal_names_the_variable(void **state)
{
	assert_int_equal(setenv("GATHERING_TERM_GRACE", "-1s", 1), 0);
	ASSERT_REFUSED(ERR_INVALID, "GATHERING_TERM_GRACE: '-1s' cannot be the value of "
				    "term_grace: give a duration such "
				    "as 10s, 0s to 10m");
	/* A flag does not repair it: the variable is wrong all the same. */
	ASSERT_REFUSED(ERR_INVALID,
		"GATHERING_TERM_GRACE: '-1s' cannot be the value of term_grace: give a duration "
		"such "
		"as 10s, 0s to 10m",
		"--term-grace=1s");
}

static void test_file_refusals_name_file_and_key(void **state)
{
	assert_file_refused("[gathering]\nmax_running = many\n",
		"'many' cannot be the value of max_running: give a whole number, 1 to 100000");
	assert_file_refused("[gathering]\nmax_runing = 3\n",
		"unknown option 'max_runing': the nearest known one is 'max_running'");
	assert_file_refused("[gathering]\nlisten[de] = x\n",
		"unknown option 'listen[de]': the nearest known one is 'listen'");
	assert_file_refused("[gathering]\n[Gathering]\nquiet=1s\n",
		"unknown group [Gathering]: everything stands in [gathering]");
	assert_file_refused(
		"listen = x\n", "not a configuration file: Key file does not start with a group");
}

static void test_field_names_the_option(void **state)
{
	struct conf conf;
	struct err err;

	assert_int_equal(LOAD(&conf, &err, "--max-running=0"), ERR_INVALID);
	assert_string_equal(err.field, "/max_running");
	assert_int_equal(LOAD(&conf, &err, "--notice-min=11s"), ERR_INVALID);
	assert_string_equal(err.field, "/notice_min");
}

static void test_unreadable_files_are_refused(void **state)
{
	auto_free char *missing = xasprintf("%s.missing", file_path);
	auto_free char *text = xasprintf("%s: cannot be read: No such file or directory", missing);
	auto_free char *zero = xasprintf("%s: has bytes in it that are not UTF-8 text", file_path);
	auto_free char *large =
		xasprintf("%s: larger than 1048576 bytes: not a configuration file", file_path);
	auto_free char *many = xmalloc(1048577);

	ASSERT_REFUSED(ERR_IO, text, "--config", missing);
	assert_int_equal(setenv("GATHERING_CONFIG", missing, 1), 0);
	ASSERT_REFUSED(ERR_IO, text);
	ASSERT_REFUSED(ERR_IO, "/: cannot be read: Is a directory", "--config", "/");
	write_file("[gathering]\nquiet=1s\0x\n", 24);
	ASSERT_REFUSED(ERR_INVALID, zero, "--config", file_path);
	memset(many, '#', 1048577);
	write_file(many, 1048577);
	ASSERT_REFUSED(ERR_INVALID, large, "--config", file_path);
}

/* Every kind of broken text is an error with the path in it, or fine; never a crash or a leak. */
static void test_broken_files_are_refused(void **state)
{
	static const char *const texts[] = {"[gathering", "[]\n", "[gathering]\nno sign\n",
		"[gathering]\n= 3\n", "[gathering]\nlisten = \xff\xfe\n", "\x01\x02XYZ", "{}",
		"[gathering]\n\xff = 1\n"};
	struct conf conf;
	struct err err;

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		write_file(texts[i], strlen(texts[i]));
		if (LOAD(&conf, &err) != ERR_INVALID)
			fail_msg("taken: '%s'", texts[i]);
		assert_true(strncmp(err.text, file_path, strlen(file_path)) == 0);
		assert_true(utf8_is_valid(err.text, strlen(err.text)));
	}
}

static void test_contradictions_are_refused(void **state)
{
	struct conf conf;
	struct err err;

	ASSERT_REFUSED(ERR_INVALID,
		"notice_min (11s) is above notice_max (10s): lower the one or raise the other",
		"--notice-min=11s");
	ASSERT_REFUSED(ERR_INVALID,
		"notice_min (30s) leaves no time before total_max (25s): lower the one or raise "
		"the "
		"other",
		"--notice-min=30s", "--notice-max=40s");
	ASSERT_REFUSED(ERR_INVALID,
		"total_max (6s) must be above term_grace and db_max together (6s), or runs are cut "
		"before they can be handed back: raise it",
		"--total-max=6s");
	assert_int_equal(
		LOAD(&conf, &err, "--total-max=6001ms", "--notice-min=5s", "--notice-max=5s"), 0);
	conf_fini(&conf);
}

/* --- for people --- */

/* The line that begins with `name`, with runs of blanks as one. */
static char *find_line(const char *text, const char *name)
{
	auto_free char *copy = xstrdup(text);
	char *at = NULL;

	for (char *line = strtok_r(copy, "\n", &at); line; line = strtok_r(NULL, "\n", &at)) {
		size_t len = 0;

		if (strncmp(line, name, strlen(name)) != 0 || line[strlen(name)] != ' ')
			continue;
		for (char *c = line; *c != '\0'; c++)
			if (c[0] != ' ' || c[1] != ' ')
				line[len++] = *c;
		return xstrndup(line, len);
	}
	return xstrdup("(no line)");
}

static void assert_line(const struct buf *out, const char *name, const char *wanted)
{
	auto_free char *line = find_line(buf_text(out), name);

	assert_string_equal(line, wanted);
}

static void test_effective_names_value_and_source(void **state)
{
	static const char text[] = "[gathering]\nquiet = 1500ms\n";
	auto_free char *quiet = xasprintf("quiet 1s500ms file %s", file_path);
	struct conf conf;
	struct err err;
	struct buf out;

	write_file(text, sizeof(text) - 1);
	assert_int_equal(setenv("GATHERING_HEADER_MAX", "2000", 1), 0);
	assert_int_equal(LOAD(&conf, &err, "--insecure", "--output-max", "65536"), 0);
	buf_init(&out, 1 << 16);
	conf_write_effective(&conf, &out);
	assert_line(&out, "listen", "listen 127.0.0.1:8080 default");
	assert_line(&out, "quiet", quiet);
	assert_line(&out, "header_max", "header_max 2000 environment GATHERING_HEADER_MAX");
	assert_line(&out, "insecure", "insecure true flag");
	assert_line(&out, "output_max", "output_max 64KiB flag");
	assert_line(&out, "exec_paths", "exec_paths \"\" default");
	conf_fini(&conf);
	buf_fini(&out);
}

/* They are refused, but not before a person has asked what is set. */
static void test_passwords_that_should_have_been_escaped_are_shown_to_nobody(void **state)
{
	static const char *const rows[][2] = {
		{"a=postgresql://u:hun/ter@h/d", "a=postgresql://u:***@h/d"},
		{"a=postgresql://u:12/hunter@h:5/d", "a=postgresql://u:***@h:5/d"},
		{"a=postgresql://u:hun?ter@h", "a=postgresql://u:***@h"},
		{"a=postgresql://u:hun@te/r@h/d", "a=postgresql://u:***@h/d"},
		{"a=postgresql://u:hunter@h:5/d?user=u@x", "a=postgresql://u:***@h:5/d?user=u@x"},
		{"a=postgresql://u/x:hunter@h/d", "a=postgresql://u/x:***@h/d"},
		{"a=postgresql://h:5432/d?user=u@x", "a=postgresql://h:5432/d?user=u@x"},
		{"a=postgresql://h/d?user=u:v@x b=postgresql://h",
			"a=postgresql://h/d?user=u:v@x b=postgresql://h"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		auto_free char *line = xasprintf("sql_databases %s flag", rows[i][1]);
		struct conf conf;
		struct err err;
		struct buf out;

		assert_int_equal(LOAD(&conf, &err, "--sql-databases", rows[i][0]), 0);
		buf_init(&out, 1 << 16);
		conf_write_effective(&conf, &out);
		assert_line(&out, "sql_databases", line);
		conf_fini(&conf);
		buf_fini(&out);
	}
}

static void test_passwords_are_shown_to_nobody(void **state)
{
	static const char *const given[] = {
		"postgresql://me:se@hunter@db:5432/x?sslpassword=hunter2&a=b",
		"postgresql://me@db/x:y", "postgresql://db/x?password=hunter", "sqlite:/a:b@c.db"};
	static const char *const shown[] = {
		"database postgresql://me:***@db:5432/x?sslpassword=***&a=b flag",
		"database postgresql://me@db/x:y flag",
		"database postgresql://db/x?password=*** flag", "database sqlite:/a:b@c.db flag"};

	for (size_t i = 0; i < COUNT_OF(given); i++) {
		struct conf conf;
		struct err err;
		struct buf out;

		assert_int_equal(LOAD(&conf, &err, "--database", given[i], "--sql-databases",
					 "a=postgresql://u:hunter@h/d b=postgresql://u:hunter@h/d"),
			0);
		buf_init(&out, 1 << 16);
		conf_write_effective(&conf, &out);
		assert_line(&out, "database", shown[i]);
		assert_line(&out, "sql_databases",
			"sql_databases a=postgresql://u:***@h/d b=postgresql://u:***@h/d flag");
		assert_null(strstr(buf_text(&out), "hunter"));
		conf_fini(&conf);
		buf_fini(&out);
	}
}

/* What is shown can be given back: every effective value, as a flag, is taken and shown the same.
 */
static void test_effective_values_can_be_given_back(void **state)
{
	struct conf conf;
	struct err err;
	struct buf first, again;

	buf_init(&first, 1 << 16);
	buf_init(&again, 1 << 16);
	assert_int_equal(LOAD(&conf, &err), 0);
	conf_write_effective(&conf, &first);
	conf_fini(&conf);
	auto_free char *copy = xstrdup(buf_text(&first));
	char *at = NULL;

	for (char *line = strtok_r(copy, "\n", &at); line; line = strtok_r(NULL, "\n", &at)) {
		auto_free char *name = xstrndup(line, strcspn(line, " "));
		char *value = line + strlen(name) + strspn(line + strlen(name), " ");

		value[strcspn(value, " ")] = '\0';
		auto_free char *flag =
			xasprintf("--%s=%s", name, strcmp(value, "\"\"") == 0 ? "" : value);
		auto_free char *wanted = xasprintf("%s %s flag", name, value);

		if (LOAD(&conf, &err, flag) < 0)
			fail_msg("%s", err.text);
		buf_clear(&again);
		conf_write_effective(&conf, &again);
		assert_line(&again, name, wanted);
		conf_fini(&conf);
	}
	buf_fini(&first);
	buf_fini(&again);
}

static void test_help_and_markdown_have_every_option(void **state)
{
	struct buf help, markdown;

	buf_init(&help, 1 << 16);
	buf_init(&markdown, 1 << 16);
	conf_write_help(&help);
	conf_write_markdown(&markdown);
	assert_false(help.is_cut || markdown.is_cut);
#define X(name, type, value, min, max, help_text)                                                  \
	assert_non_null(strstr(buf_text(&help), help_text));                                       \
	assert_non_null(strstr(buf_text(&markdown), "\n| `" #name "` | "));
#include "conf/options.def"
#undef X
	assert_non_null(
		strstr(buf_text(&help), "\n  --max-running NUMBER\n        attempts at a "
					"time, all kinds together\n        a whole number, 1 "
					"to 100000; default 256\n"));
	assert_non_null(strstr(buf_text(&markdown),
		"\n| `quiet` | `500ms` | a duration such as 10s, 0s to 1m | changes | shutdown: "));
	assert_null(strchr(buf_text(&help), '|'));
	buf_fini(&help);
	buf_fini(&markdown);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_defaults_are_those_of_the_table),
		TEST(test_file_beats_default),
		TEST(test_environment_beats_file_and_flag_beats_both),
		TEST(test_flags_have_five_forms),
		TEST(test_config_flag_beats_the_variable),
		TEST(test_foreign_variables_are_left_alone),
		TEST(test_empty_config_variable_means_none),
		TEST(test_flag_refusals_name_value_and_remedy),
		TEST(test_unknown_names_are_refused_with_the_nearest),
		TEST(test_arguments_that_are_no_option_are_refused),
		TEST(test_environment_refusal_names_the_variable),
		TEST(test_file_refusals_name_file_and_key),
		TEST(test_field_names_the_option),
		TEST(test_unreadable_files_are_refused),
		TEST(test_broken_files_are_refused),
		TEST(test_contradictions_are_refused),
		TEST(test_effective_names_value_and_source),
		TEST(test_passwords_are_shown_to_nobody),
		TEST(test_passwords_that_should_have_been_escaped_are_shown_to_nobody),
		TEST(test_effective_values_can_be_given_back),
		TEST(test_help_and_markdown_have_every_option),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
