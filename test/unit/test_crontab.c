/* SPDX-License-Identifier: Apache-2.0
 *
 * The crontab reader and the names it gives. What Debian's cron does with escapes, standard input
 * and variables was observed on Debian 12 (cron 3.0pl1-162) and is the expectation here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/crontab.h"
#include "seed.h"

static struct crontab parse(const char *text, enum crontab_form form)
{
	struct crontab crontab;

	crontab_parse(text, strlen(text), form, &crontab);
	return crontab;
}

static size_t count_refused(const struct crontab *crontab)
{
	size_t count = 0;

	for (size_t i = 0; i < crontab->remark_count; i++)
		count += crontab->remarks[i].verdict == CRONTAB_REFUSED;
	return count;
}

static const char *env_of(const struct crontab_job *job, const char *name)
{
	for (size_t i = 0; i < job->env_count; i++)
		if (strcmp(job->env[i].name, name) == 0)
			return job->env[i].value;
	return NULL;
}

static void assert_text(const char *got, const char *want)
{
	if (!got || !want) {
		assert_ptr_equal(got, want);
		return;
	}
	assert_string_equal(got, want);
}

/* --- jobs --- */

static const struct {
	const char *line;
	enum crontab_form form;
	const char *schedule, *user, *command, *input;
} job_rows[] = {
	{"5 0 * * * $HOME/bin/daily", CRONTAB_USER, "5 0 * * *", NULL, "$HOME/bin/daily", NULL},
	{"  \t17 *\t* * *\troot\tcd / && run-parts x", CRONTAB_SYSTEM, "17 * * * *", "root",
		"cd / && run-parts x", NULL},
	{"@daily x", CRONTAB_USER, "@daily", NULL, "x", NULL},
	{"@hourly  www-data   x y", CRONTAB_SYSTEM, "@hourly", "www-data", "x y", NULL},
	{"0 22 * * 1-5 mail -s \"It's 10pm\" joe%Joe,%%Where?%", CRONTAB_USER, "0 22 * * 1-5", NULL,
		"mail -s \"It's 10pm\" joe", "Joe,\n\nWhere?\n"},
	{"* * * * * cat%one%two\\%three\\four%", CRONTAB_USER, "* * * * *", NULL, "cat",
		"one\ntwo%three\\four\n"},
	{"* * * * * cat%single", CRONTAB_USER, "* * * * *", NULL, "cat", "single\n"},
	{"* * * * * cat%", CRONTAB_USER, "* * * * *", NULL, "cat", "\n"},
	{"* * * * * cat%a\\\\%b", CRONTAB_USER, "* * * * *", NULL, "cat", "a\\%b\n"},
	{"* * * * * printf '[\\%s]' 'a\\\\b' 'c\\d'", CRONTAB_USER, "* * * * *", NULL,
		"printf '[%s]' 'a\\b' 'c\\d'", NULL},
	{"* * * * * printf 'b\\\\'", CRONTAB_USER, "* * * * *", NULL, "printf 'b\\'", NULL},
	{"* * * * * date +\\%Y-\\%m", CRONTAB_USER, "* * * * *", NULL, "date +%Y-%m", NULL},
	{"* * * * * FOO=1 x", CRONTAB_USER, "* * * * *", NULL, "FOO=1 x", NULL},
	{"* * * * * x # not a comment", CRONTAB_USER, "* * * * *", NULL, "x # not a comment", NULL},
	{"* * * * * x\\", CRONTAB_USER, "* * * * *", NULL, "x\\", NULL},
	{"*/5 1,2-9/3 * JAN-mar Sun =x", CRONTAB_USER, "*/5 1,2-9/3 * JAN-mar Sun", NULL, "=x",
		NULL},
};

static void test_job_line_gives_its_parts(void **state)
{
	for (size_t i = 0; i < COUNT_OF(job_rows); i++) {
		auto_free char *text = xasprintf("%s\n", job_rows[i].line);
		struct crontab crontab = parse(text, job_rows[i].form);

		print_message("%s\n", job_rows[i].line);
		assert_int_equal(crontab.job_count, 1);
		assert_int_equal(crontab.remark_count, 0);
		assert_int_equal(crontab.jobs[0].line, 1);
		assert_text(crontab.jobs[0].schedule, job_rows[i].schedule);
		assert_text(crontab.jobs[0].user, job_rows[i].user);
		assert_text(crontab.jobs[0].command, job_rows[i].command);
		assert_text(crontab.jobs[0].stdin_text, job_rows[i].input);
		crontab_fini(&crontab);
	}
}

/* --- refusals --- */

static const struct {
	const char *line;
	enum crontab_form form;
	const char *why; /* part of the text */
} refused_rows[] = {
	{"@reboot", CRONTAB_USER, "no command"},
	{"@reboot root", CRONTAB_SYSTEM, "no command"},
	{"-* * * * * x", CRONTAB_USER, "leading '-'"},
	{"* * * * *", CRONTAB_USER, "no command"},
	{"* * * * *   ", CRONTAB_USER, "no command"},
	{"@daily", CRONTAB_USER, "no command"},
	{"@daily root", CRONTAB_SYSTEM, "no command behind the time and the user"},
	{"* * * * * root", CRONTAB_SYSTEM, "no command"},
	{"* * * * * %input only", CRONTAB_USER, "no command"},
	{"* * *", CRONTAB_USER, "only 3 of the 5"},
	{"hello", CRONTAB_USER, "only 1 of the 5"},
	{"A B=1", CRONTAB_USER, "only 2 of the 5"},
	{"'A=1", CRONTAB_USER, "only 1 of the 5"},
	{"\"A B\"=1", CRONTAB_USER, "not a variable name"},
	{"1A=1", CRONTAB_USER, "not a variable name"},
	{"A-B=1", CRONTAB_USER, "not a variable name"},
	{"A=\"x", CRONTAB_USER, "not closed"},
	{"A='x' y", CRONTAB_USER, "behind the closing quote"},
	{"GATHERING_RUN_ID=1", CRONTAB_USER, "set by the server"},
	{"* * * * * caf\xe9", CRONTAB_USER, "not UTF-8"},
};

static void test_bad_line_is_refused_by_number_and_why(void **state)
{
	for (size_t i = 0; i < COUNT_OF(refused_rows); i++) {
		auto_free char *text =
			xasprintf("# first\n0 0 * * * root ok\n%s\n", refused_rows[i].line);
		struct crontab crontab = parse(text, refused_rows[i].form);

		print_message("%s\n", refused_rows[i].line);
		assert_int_equal(crontab.job_count, 1);
		assert_int_equal(crontab.remark_count, 1);
		assert_int_equal(crontab.remarks[0].verdict, CRONTAB_REFUSED);
		assert_int_equal(crontab.remarks[0].line, 3);
		assert_non_null(strstr(crontab.remarks[0].text, refused_rows[i].why));
		crontab_fini(&crontab);
	}
}

static void test_nul_byte_and_long_line_are_refused(void **state)
{
	static const char nul[] = "0 0 * * * a\0b\n0 1 * * * c\n";
	auto_free char *line = xmalloc(CRONTAB_LINE_MAX + 3);
	struct crontab crontab;

	crontab_parse(nul, sizeof(nul) - 1, CRONTAB_USER, &crontab);
	assert_int_equal(crontab.job_count, 1);
	assert_int_equal(count_refused(&crontab), 1);
	crontab_fini(&crontab);

	memset(line, 'x', CRONTAB_LINE_MAX + 2);
	memcpy(line, "0 0 * * * ", 10);
	line[CRONTAB_LINE_MAX + 1] = '\n';
	crontab_parse(line, CRONTAB_LINE_MAX + 2, CRONTAB_USER, &crontab);
	assert_int_equal(crontab.job_count, 0);
	assert_int_equal(count_refused(&crontab), 1);
	crontab_fini(&crontab);

	line[CRONTAB_LINE_MAX] = '\n';
	crontab_parse(line, CRONTAB_LINE_MAX + 1, CRONTAB_USER, &crontab);
	assert_int_equal(crontab.job_count, 1);
	assert_int_equal(count_refused(&crontab), 0);
	crontab_fini(&crontab);
}

/* --- variables --- */

static void test_variables_hold_for_the_lines_that_follow(void **state)
{
	struct crontab crontab = parse("* * * * * early\n"
				       " Q1 = 'a b'  \n"
				       "Q2 = plain value  \n"
				       "\"Q3\"=x # y\n"
				       "Q4=\"  kept  \"\n"
				       "EMPTY=\n"
				       "TZ=Asia/Tokyo\n"
				       "* * * * * middle\n"
				       "Q1=new\n"
				       "* * * * * late\n",
		CRONTAB_USER);

	assert_int_equal(crontab.job_count, 3);
	assert_int_equal(crontab.remark_count, 0);
	assert_int_equal(crontab.jobs[0].env_count, 0);
	assert_text(env_of(&crontab.jobs[1], "Q1"), "a b");
	assert_text(env_of(&crontab.jobs[1], "Q2"), "plain value");
	assert_text(env_of(&crontab.jobs[1], "Q3"), "x # y");
	assert_text(env_of(&crontab.jobs[1], "Q4"), "  kept  ");
	assert_text(env_of(&crontab.jobs[1], "EMPTY"), "");
	assert_text(env_of(&crontab.jobs[1], "TZ"), "Asia/Tokyo");
	assert_null(crontab.jobs[1].timezone);
	assert_text(env_of(&crontab.jobs[2], "Q1"), "new");
	assert_int_equal(crontab.jobs[2].env_count, 6);
	crontab_fini(&crontab);
}

static void test_cron_tz_is_the_zone_and_shell_the_shell(void **state)
{
	struct crontab crontab =
		parse("0 1 * * * a\nCRON_TZ=Europe/Paris\nSHELL=/bin/bash\n0 1 * * * b\n"
		      "CRON_TZ=\n0 1 * * * c\n",
			CRONTAB_USER);

	assert_null(crontab.jobs[0].timezone);
	assert_null(crontab.jobs[0].shell);
	assert_text(crontab.jobs[1].timezone, "Europe/Paris");
	assert_text(crontab.jobs[1].shell, "/bin/bash");
	assert_text(env_of(&crontab.jobs[1], "SHELL"), "/bin/bash");
	assert_null(env_of(&crontab.jobs[1], "CRON_TZ"));
	assert_null(crontab.jobs[2].timezone);
	crontab_fini(&crontab);
}

static void test_mail_and_foreign_settings_are_noted_not_carried(void **state)
{
	struct crontab crontab =
		parse("MAILTO=\"\"\nRANDOM_DELAY=5\nLOGNAME=x\n0 1 * * * a\n", CRONTAB_USER);

	assert_int_equal(crontab.remark_count, 3);
	assert_int_equal(count_refused(&crontab), 0);
	assert_non_null(strstr(crontab.remarks[0].text, "MAILTO"));
	assert_int_equal(crontab.jobs[0].env_count, 0);
	crontab_fini(&crontab);
}

/* --- the file --- */

static void test_crlf_and_missing_newline_are_noted_once(void **state)
{
	struct crontab crontab = parse("A=1\r\n0 1 * * * a b\r\n\r\n0 2 * * * c", CRONTAB_USER);

	assert_int_equal(crontab.job_count, 2);
	assert_text(crontab.jobs[0].command, "a b");
	assert_text(env_of(&crontab.jobs[0], "A"), "1");
	assert_text(crontab.jobs[1].command, "c");
	assert_int_equal(crontab.jobs[1].line, 4);
	assert_int_equal(crontab.remark_count, 2);
	assert_int_equal(count_refused(&crontab), 0);
	crontab_fini(&crontab);
}

static void test_empty_file_has_no_jobs(void **state)
{
	static const char *const texts[] = {"", "\n", "\n\n# x\n", "   \t \n", "#"};

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct crontab crontab = parse(texts[i], CRONTAB_AUTO);

		assert_int_equal(crontab.job_count, 0);
		assert_int_equal(count_refused(&crontab), 0);
		assert_int_equal(crontab.form, CRONTAB_USER);
		crontab_fini(&crontab);
	}
}

static const struct {
	const char *text;
	enum crontab_form form;
} form_rows[] = {
	{"0 1 * * * root x\n", CRONTAB_SYSTEM},
	{"@daily root x\n", CRONTAB_SYSTEM},
	{"0 1 * * * www-data x\n0 1 * * * root y\n", CRONTAB_SYSTEM},
	{"0 1 * * * mail -s x bob\n", CRONTAB_USER},
	{"0 1 * * * rootkit-check\n", CRONTAB_USER},
	{"# 0 1 * * * root x\n0 1 * * * y\n", CRONTAB_USER},
};

static void test_form_is_system_only_when_root_is_named(void **state)
{
	for (size_t i = 0; i < COUNT_OF(form_rows); i++) {
		struct crontab crontab = parse(form_rows[i].text, CRONTAB_AUTO);

		print_message("%s", form_rows[i].text);
		assert_int_equal(crontab.form, form_rows[i].form);
		crontab_fini(&crontab);
	}
}

static void test_remarks_stand_in_line_order(void **state)
{
	struct crontab crontab =
		parse("MAILTO=x\n-1 * * * * a\n0 1 * * * b\n-1 * * * * c\n", CRONTAB_USER);

	crontab_remark(&crontab, 3, CRONTAB_NOTED, "later");
	for (size_t i = 1; i < crontab.remark_count; i++)
		assert_true(crontab.remarks[i - 1].line <= crontab.remarks[i].line);
	assert_int_equal(crontab.remark_count, 4);
	crontab_fini(&crontab);
}

/* --- names and identity --- */

static const struct {
	const char *command, *name;
} name_rows[] = {
	{"/usr/bin/backup --all", "backup"},
	{"cd / && run-parts --report /etc/cron.hourly", "cron-hourly"},
	{"test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }",
		"cron-daily"},
	{"test -e /run/systemd/system || SERVICE_MODE=1 /sbin/e2scrub_all -A -r", "e2scrub_all"},
	{"[ -x /a ] && /opt/Rotate.Logs.sh", "rotate-logs"},
	{"nice -n 10 /usr/bin/index", "index"},
	{"FOO=1 BAR='a b' /usr/bin/thing", "thing"},
	{"/usr/bin/python3 /srv/report.py --x", "report"},
	{"flock -n /run/lock /usr/bin/job1", "job1"},
	{"sudo -n /usr/bin/thing -u", "thing"},
	{"ionice -c 3 nice -n10 /usr/bin/big", "big"},
	{"timeout 30 curl http://x", "curl"},
	{"timeout -k 5 30 curl http://x", "curl"},
	{"sudo -u bob /x/y.pl", "y"},
	{"cd /srv; ./run.sh > /dev/null 2>&1", "run"},
	{"bash -c 'echo hi'", "echo-hi"},
	{"$HOME/bin/daily.job", "daily-job"},
	{"env", "env"},
	{"cd /", "job"},
	{"--", "job"},
	{"größe", "gr-e"},
	{"", "job"},
	{"||&&;;", "job"},
};

static void test_base_name_is_the_program_that_matters(void **state)
{
	for (size_t i = 0; i < COUNT_OF(name_rows); i++) {
		auto_free char *name = crontab_base_name(name_rows[i].command);

		print_message("%s -> %s\n", name_rows[i].command, name);
		assert_string_equal(name, name_rows[i].name);
	}
}

static void test_hash_is_of_the_job_not_of_its_place(void **state)
{
	struct crontab one = parse("0 1 * * * a\n0 1 * * * b\n0 2 * * * a\n", CRONTAB_USER);
	struct crontab two = parse("# moved\n\nA=1\n0\t1 * * *  a\n", CRONTAB_USER);
	uint64_t hash = crontab_job_hash(&one.jobs[0], 0);

	assert_true(hash == crontab_job_hash(&two.jobs[0], 0));
	assert_true(hash != crontab_job_hash(&one.jobs[0], 1));
	assert_true(hash != crontab_job_hash(&one.jobs[1], 0));
	assert_true(hash != crontab_job_hash(&one.jobs[2], 0));
	crontab_fini(&one);
	crontab_fini(&two);
}

/* Anything at all may come; the reader must survive it, and account for every line that is not
 * blank, a comment or an assignment. */
static void test_random_bytes_never_break_the_reader(void **state)
{
	static const char alphabet[] = "* 0159-/,@%\\\"'=#\n\n\r\t aZ_&;|\xc3\xa9\xff";
	struct seed seed = seed_start("crontab");

	for (int round = 0; round < 3000; round++) {
		char text[300];
		size_t len = seed_below(&seed, sizeof(text)), lines = 1;
		struct crontab crontab;

		for (size_t i = 0; i < len; i++) {
			text[i] = alphabet[seed_below(&seed, sizeof(alphabet) - 1)];
			lines += text[i] == '\n';
		}
		crontab_parse(text, len, (enum crontab_form)seed_below(&seed, 3), &crontab);
		assert_true(crontab.job_count + count_refused(&crontab) <= lines);
		for (size_t i = 0; i < crontab.job_count; i++) {
			auto_free char *name = crontab_base_name(crontab.jobs[i].command);

			assert_true(strlen(name) > 0 && strlen(name) <= CRONTAB_BASE_MAX);
			assert_true(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") ==
				    strlen(name));
		}
		crontab_fini(&crontab);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_job_line_gives_its_parts),
		cmocka_unit_test(test_bad_line_is_refused_by_number_and_why),
		cmocka_unit_test(test_nul_byte_and_long_line_are_refused),
		cmocka_unit_test(test_variables_hold_for_the_lines_that_follow),
		cmocka_unit_test(test_cron_tz_is_the_zone_and_shell_the_shell),
		cmocka_unit_test(test_mail_and_foreign_settings_are_noted_not_carried),
		cmocka_unit_test(test_crlf_and_missing_newline_are_noted_once),
		cmocka_unit_test(test_empty_file_has_no_jobs),
		cmocka_unit_test(test_form_is_system_only_when_root_is_named),
		cmocka_unit_test(test_remarks_stand_in_line_order),
		cmocka_unit_test(test_base_name_is_the_program_that_matters),
		cmocka_unit_test(test_hash_is_of_the_job_not_of_its_place),
		cmocka_unit_test(test_random_bytes_never_break_the_reader),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
