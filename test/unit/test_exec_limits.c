/* SPDX-License-Identifier: Apache-2.0
 *
 * What a program may use, enforced by the kernel on real programs. */
#include <sys/resource.h>
#include <unistd.h>

#include "exec_rig.h"

static void run_limited(struct job *job, const char *command, const struct exec_limits *limits)
{
	char *words[] = {(char *)(uintptr_t)command, NULL};
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	job_init(job, ACTION_EXEC);
	job->action.exec.command = words;
	job->action.exec.use_shell = true;
	job->action.exec.limits = *limits;
	job_run(&rig, job);
	rig_close(&rig);
}

static void test_every_limit_is_set_in_the_program(void **state)
{
	static const struct exec_limits limits = {.cpu_ms = 1500,
		.memory = 256 << 20,
		.file_size = 4096,
		.files = 20,
		.processes = 12345,
		.nice = 5};
	struct job job;

	run_limited(&job,
		"awk '/^Max (cpu|file size|proc|open|addr)/"
		" {print $(NF-2), $(NF-1)}' /proc/self/limits; nice",
		&limits);
	job_assert(&job, ATTEMPT_SUCCEEDED, 0, NULL);
	job_assert_output(&job, "2 3\n4096 4096\n12345 12345\n20 20\n268435456 268435456\n5\n");
	job_fini(&job);
}

static void test_without_limits_a_program_has_those_of_the_server(void **state)
{
	static const struct exec_limits none;
	auto_free char *expected = NULL;
	struct rlimit own;
	struct job job;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &own), 0);
	expected = xasprintf("%llu %llu\n%d\n", (unsigned long long)own.rlim_cur,
		(unsigned long long)own.rlim_max, getpriority(PRIO_PROCESS, 0));
	run_limited(
		&job, "awk '/open files/ {print $(NF-2), $(NF-1)}' /proc/self/limits; nice", &none);
	job_assert_output(&job, expected);
	job_fini(&job);
}

/* Asking for more than the server itself may have is no failure: the stricter limit holds. */
static void test_a_limit_above_the_servers_own_changes_nothing(void **state)
{
	static const struct exec_limits limits = {.files = 1000000};
	auto_free char *expected = NULL;
	struct rlimit before, lower;
	struct job job;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	lower = before;
	lower.rlim_cur = 256; /* the soft one is ours to raise again */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &lower), 0);
	expected = xasprintf("%llu\n",
		(unsigned long long)(before.rlim_max < 1000000 ? before.rlim_max : 1000000));
	run_limited(&job, "awk '/open files/ {print $(NF-1)}' /proc/self/limits", &limits);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	job_assert_output(&job, expected);
	job_fini(&job);
}

static void test_a_program_that_computes_too_long_is_ended(void **state)
{
	struct job job;

	run_limited(&job, "while :; do :; done", &(struct exec_limits){.cpu_ms = 1000});
	job_assert(&job, ATTEMPT_FAILED, 128 + SIGXCPU,
		"ended by signal 24 (CPU time limit exceeded); limits.cpu may be the cause");
	job_fini(&job);
}

static void test_a_program_that_writes_too_much_is_ended(void **state)
{
	struct job job;

	run_limited(&job, "exec head -c 100000 /dev/zero > $(dirname $GATHERING_PROGRESS_FILE)/big",
		&(struct exec_limits){.file_size = 4096});
	job_assert(&job, ATTEMPT_FAILED, 128 + SIGXFSZ,
		"ended by signal 25 (File size limit exceeded); limits.file_size is the cause");
	job_fini(&job);
}

static void test_a_program_that_wants_too_much_memory_gets_none(void **state)
{
	struct job job;

	run_limited(&job, "exec dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null",
		&(struct exec_limits){.memory = 64 << 20});
	job_assert(&job, ATTEMPT_FAILED, 1, "exit status 1");
	job_fini(&job);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_limit_is_set_in_the_program),
		cmocka_unit_test(test_without_limits_a_program_has_those_of_the_server),
		cmocka_unit_test(test_a_limit_above_the_servers_own_changes_nothing),
		cmocka_unit_test(test_a_program_that_computes_too_long_is_ended),
		cmocka_unit_test(test_a_program_that_writes_too_much_is_ended),
		cmocka_unit_test(test_a_program_that_wants_too_much_memory_gets_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
