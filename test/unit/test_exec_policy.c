/* SPDX-License-Identifier: Apache-2.0
 *
 * What the configuration forbids: asked before an action is stored (exec_check), and enforced again
 * when an attempt starts, because the action may have been stored elsewhere. */
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "exec_rig.h"

#define ARGV(...) ((char *[]){__VA_ARGS__, NULL})

static char folder[64];

static char *in_folder(const char *name)
{
	return xasprintf("%s/%s", folder, name);
}

static void make_program(const char *path)
{
	static const char text[] = "#!/bin/sh\nexit 0\n";
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(close(fd), 0);
}

/* exec_check and an attempt say the same; `text` NULL means allowed. */
static void assert_verdict(
	struct rig *rig, const struct exec_target *target, const char *field, const char *text)
{
	struct err err = {0};
	struct job job;
	int code;

	job_init(&job, ACTION_EXEC);
	job.action.exec = *target;
	code = exec_check(rig->exec, &job.action, &err);
	job_run(rig, &job);
	if (text == NULL) {
		if (code != 0)
			fail_msg("refused: %s", err.text);
		job_assert(&job, ATTEMPT_SUCCEEDED, 0, NULL);
	} else {
		assert_int_equal(code, ERR_FORBIDDEN);
		assert_string_equal(err.text, text);
		assert_string_equal(err.field, field);
		job_assert(&job, ATTEMPT_FAILED, -1, text);
	}
	job_fini(&job);
}

static void assert_path(struct rig *rig, char *program, const char *refused_file)
{
	const struct exec_target target = {.command = ARGV(program)};
	auto_free char *text = xasprintf("%s stands in no folder that exec_paths allows: %s",
		refused_file != NULL ? refused_file : "", rig->opts.exec_paths);

	assert_verdict(rig, &target, "/exec/command", refused_file != NULL ? text : NULL);
}

static void test_programs_are_off_unless_enabled(void **state)
{
	const struct exec_target target = {.command = ARGV("/bin/true")};
	struct rig rig;

	rig_init(&rig);
	rig.opts.exec_enabled = false;
	rig_open(&rig);
	assert_verdict(&rig, &target, "/kind",
		"exec actions are off on this server; set exec_enabled = true to allow programs");
	rig_close(&rig);
}

static void test_paths_limit_where_programs_stand(void **state)
{
	auto_free char *jobs = in_folder("jobs"), *sub = in_folder("jobs/sub");
	auto_free char *plain = in_folder("jobs/plain"), *deep = in_folder("jobs/sub/deep");
	auto_free char *neighbour = in_folder("jobs2"), *alien = in_folder("jobs2/alien");
	auto_free char *door = in_folder("jobs/door"), *dots = in_folder("jobs/../jobs2/alien");
	auto_free char *alias = in_folder("alias"), *through = in_folder("alias/plain");
	auto_free char *paths = xasprintf("/no/such::%s:", jobs);
	struct rig rig;

	assert_int_equal(mkdir(jobs, 0755), 0);
	assert_int_equal(mkdir(sub, 0755), 0);
	assert_int_equal(mkdir(neighbour, 0755), 0);
	make_program(plain);
	make_program(deep);
	make_program(alien);
	assert_int_equal(symlink(alien, door), 0); /* stands inside, leads outside */
	assert_int_equal(symlink(jobs, alias), 0);
	rig_init(&rig);
	rig.opts.exec_paths = paths;
	rig_open(&rig);
	assert_path(&rig, plain, NULL);
	assert_path(&rig, deep, NULL);
	assert_path(&rig, through, NULL);
	assert_path(&rig, alien, alien);
	assert_path(&rig, door, alien);
	assert_path(&rig, dots, alien);
	assert_path(&rig, (char *)(uintptr_t) "/usr/bin/env", "/usr/bin/env");
	assert_path(&rig, (char *)(uintptr_t) "env", "/usr/bin/env"); /* found through PATH */
	rig_close(&rig);
}

static void test_a_shell_command_counts_as_the_shell(void **state)
{
	const struct exec_target target = {.command = ARGV("/usr/bin/env"), .use_shell = true};
	auto_free char *shell = realpath("/bin/sh", NULL);
	auto_free char *text =
		xasprintf("%s stands in no folder that exec_paths allows: /opt", shell);
	struct rig rig;

	rig_init(&rig);
	rig.opts.exec_paths = "/opt";
	rig_open(&rig);
	assert_verdict(&rig, &target, "/exec/command", text);
	rig_close(&rig);

	rig_init(&rig);
	rig.opts.exec_paths = "/bin";
	rig_open(&rig);
	assert_verdict(&rig, &target, "", NULL);
	rig_close(&rig);
}

static void test_an_absent_program_cannot_be_allowed_by_path(void **state)
{
	struct err err = {0};
	struct rig rig;
	struct job job;

	rig_init(&rig);
	rig.opts.exec_paths = "/opt";
	rig_open(&rig);
	job_init(&job, ACTION_EXEC);
	job.action.exec.command = ARGV("/opt/not-yet-installed");
	assert_int_equal(exec_check(rig.exec, &job.action, &err), ERR_FORBIDDEN);
	assert_string_equal(err.text, "exec_paths cannot be checked: cannot run "
				      "/opt/not-yet-installed: No such file or directory");
	rig_close(&rig);

	/* Without exec_paths it may be installed later. */
	rig_init(&rig);
	rig_open(&rig);
	assert_int_equal(exec_check(rig.exec, &job.action, &err), 0);
	rig_close(&rig);
}

static void test_users(void **state)
{
	struct exec_target target = {.command = ARGV("/bin/true")};
	struct rig rig;

	if (geteuid() != 0)
		skip();
	rig_init(&rig);
	rig_open(&rig);
	assert_verdict(&rig, &target, "", NULL);
	target.user = (char *)(uintptr_t) "root"; /* the server's own, by name */
	assert_verdict(&rig, &target, "", NULL);
	target.user = (char *)(uintptr_t) "nobody";
	assert_verdict(&rig, &target, "/exec/user",
		"programs run as 'root' here; add 'nobody' to exec_users to allow it");
	rig_close(&rig);

	/* A list that does not name the server's own user keeps programs from running as it. */
	rig_init(&rig);
	rig.opts.exec_users = "daemon , nobody";
	rig_open(&rig);
	assert_verdict(&rig, &target, "", NULL);
	target.user = (char *)(uintptr_t) "nobod";
	assert_verdict(&rig, &target, "/exec/user",
		"programs may not run as 'nobod' here; exec_users allows: daemon , nobody");
	target.user = NULL;
	assert_verdict(&rig, &target, "/exec/user",
		"programs may not run as 'root' here; exec_users allows: daemon , nobody");
	rig_close(&rig);
}

static void test_an_unknown_user_is_a_failed_result(void **state)
{
	struct rig rig;
	struct job job;

	rig_init(&rig);
	rig.opts.exec_users = "no-such-user";
	rig_open(&rig);
	job_init(&job, ACTION_EXEC);
	job.action.exec.command = ARGV("/bin/true");
	job.action.exec.user = (char *)(uintptr_t) "no-such-user";
	job_run(&rig, &job);
	job_assert(&job, ATTEMPT_FAILED, -1, "there is no user 'no-such-user' on this machine");
	job_fini(&job);
	rig_close(&rig);
}

static void assert_url(struct rig *rig, const char *url, const char *text)
{
	struct err err = {0};
	struct job job;
	int code;

	job_init(&job, ACTION_HTTP);
	job.action.http.url = (char *)(uintptr_t)url;
	code = exec_check(rig->exec, &job.action, &err);
	assert_int_equal(code, text != NULL ? ERR_FORBIDDEN : 0);
	if (text != NULL) {
		assert_string_equal(err.text, text);
		assert_string_equal(err.field, "/http/url");
	}
}

static void test_literal_addresses_are_refused_before_they_are_stored(void **state)
{
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	assert_url(&rig, "http://127.0.0.1:9000/", NULL);
	assert_url(&rig, "http://[::1]:9000/", NULL);
	assert_url(&rig, "https://example.org/", NULL);
	assert_url(&rig, "http://169.254.169.254/latest/meta-data/",
		"169.254.169.254 is a link-local address and is not called");
	assert_url(&rig, "http://10.1.2.3/x",
		"10.1.2.3 is a private address and is not called; set allow_private_targets = "
		"true to allow it");
	/* 169.254.169.254 as other programs would also read it */
	assert_url(&rig, "http://2852039166/",
		"169.254.169.254 is a link-local address and is not called");
	assert_url(&rig, "http://0xa9.0xfe.0xa9.0xfe/",
		"169.254.169.254 is a link-local address and is not called");
	assert_url(&rig, "http://[::ffff:169.254.169.254]/",
		"[::ffff:169.254.169.254] is a link-local address and is not called");
	rig_close(&rig);

	rig_init(&rig);
	rig.opts.allow_private_targets = true;
	rig_open(&rig);
	assert_url(&rig, "http://10.1.2.3/x", NULL);
	assert_url(&rig, "http://169.254.169.254/",
		"169.254.169.254 is a link-local address and is not called");
	rig_close(&rig);
}

static int make_folder(void **state)
{
	(void)snprintf(folder, sizeof(folder), "/tmp/test_exec_policy.XXXXXX");
	return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
	static const char *const names[] = {"alias", "jobs/door", "jobs/plain", "jobs/sub/deep",
		"jobs2/alien", "jobs/sub", "jobs", "jobs2", ""};

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		auto_free char *path = in_folder(names[i]);

		if (remove(path) != 0)
			return -1;
	}
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_programs_are_off_unless_enabled),
		cmocka_unit_test(test_paths_limit_where_programs_stand),
		cmocka_unit_test(test_a_shell_command_counts_as_the_shell),
		cmocka_unit_test(test_an_absent_program_cannot_be_allowed_by_path),
		cmocka_unit_test(test_users),
		cmocka_unit_test(test_an_unknown_user_is_a_failed_result),
		cmocka_unit_test(test_literal_addresses_are_refused_before_they_are_stored),
	};

	return cmocka_run_group_tests_name("exec_policy", tests, make_folder, remove_folder);
}
