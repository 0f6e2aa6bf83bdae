/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper and the lease: programs of a server that stands still end before its lease does. In
 * these tests the loop does not turn while the lease runs out, which is what standing still is. */
#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "exec_rig.h"

#define PAST_TERM_MS 4300 /* KEEPER_TERM_MS and a little: TERM comes that little from now */
#define PAST_KILL_MS 1300

/* -> how long it took; the loop stands still meanwhile. */
static int64_t wait_until_dead(pid_t pid)
{
	int64_t began = clock_mono_ms();

	while (is_alive(pid)) {
		if (clock_mono_ms() > began + RIG_PATIENCE_MS)
			fail_msg("process %d lives on", (int)pid);
		(void)usleep(1000);
	}
	return clock_mono_ms() - began;
}

static void prepare(struct job *job, const char *text)
{
	static char *argv[2];

	job_init(job, ACTION_EXEC);
	argv[0] = (char *)(uintptr_t)text;
	job->action.exec.command = argv;
	job->action.exec.use_shell = true;
}

/* A shell command whose output begins with the number of the process to watch; it is running. */
static pid_t start(struct rig *rig, struct job *job, const char *text)
{
	size_t len;
	char *output;
	pid_t pid;

	prepare(job, text);
	job_start(rig, job);
	job_wait_for_output(rig, job, "\n");
	output = exec_output_so_far(rig->exec, &job->run.id, &len);
	pid = (pid_t)strtol(output, NULL, 10);
	free(output);
	assert_true(pid > 1);
	return pid;
}

static void finish(struct rig *rig, struct job *job)
{
	rig_wait(rig, &job->is_done);
	assert_int_equal(job->callbacks, 1);
}

static void test_a_program_gets_term_and_its_attempt_is_interrupted(void **state)
{
	struct rig rig;
	struct job job;
	pid_t pid;

	rig_init(&rig);
	rig_open(&rig);
	pid = start(
		&rig, &job, "trap 'echo term; exit 0' TERM; echo $$; while :; do sleep 0.01; done");
	exec_extend_lease(rig.exec, clock_boot_ms() + PAST_TERM_MS);
	(void)wait_until_dead(pid);
	finish(&rig, &job);
	job_assert(&job, ATTEMPT_INTERRUPTED, 0,
		"ended before its lease was over: the server had stood still and could not "
		"extend it");
	assert_non_null(strstr(job.result.output, "term\n"));
	job_fini(&job);
	rig_close(&rig);
}

/* The one that ignores TERM is not the leader of its group. */
static void test_a_program_that_ignores_term_is_killed_before_the_lease_ends(void **state)
{
	struct rig rig;
	struct job job;
	pid_t pid;
	int64_t until;

	rig_init(&rig);
	rig_open(&rig);
	pid = start(&rig, &job,
		"trap '' TERM; sh -c 'echo $$; while :; do sleep 0.01; done'; echo never");
	until = clock_boot_ms() + PAST_KILL_MS;
	exec_extend_lease(rig.exec, until);
	(void)wait_until_dead(pid);
	assert_true(clock_boot_ms() < until);
	finish(&rig, &job);
	assert_int_equal(job.result.outcome, ATTEMPT_INTERRUPTED);
	assert_int_equal(job.result.exit_code, 128 + SIGKILL);
	job_fini(&job);
	rig_close(&rig);
}

static void test_a_lease_that_is_extended_ends_nothing(void **state)
{
	struct rig rig;
	struct job job;
	int64_t began = clock_mono_ms();

	rig_init(&rig);
	rig_open(&rig);
	(void)start(&rig, &job,
		"trap 'exit 3' TERM; echo $$; for i in $(seq 100); do sleep 0.01; done");
	while (!job.is_done) {
		exec_extend_lease(rig.exec, clock_boot_ms() + PAST_TERM_MS + 30000);
		(void)uv_run(&rig.loop, UV_RUN_ONCE);
	}
	assert_true(clock_mono_ms() - began >= 1000);
	job_assert(&job, ATTEMPT_SUCCEEDED, 0, NULL);
	job_fini(&job);
	rig_close(&rig);
}

static void test_what_had_ended_by_itself_keeps_its_result(void **state)
{
	struct rig rig;
	struct job ended, witness;
	pid_t pid, last;

	rig_init(&rig);
	rig_open(&rig);
	last = start(&rig, &witness, "echo $$; exec sleep 1000");
	pid = start(&rig, &ended, "trap 'exit 7' USR1; echo $$; while :; do sleep 0.01; done");
	assert_int_equal(kill(pid, SIGUSR1), 0);
	(void)wait_until_dead(pid);
	exec_extend_lease(rig.exec, clock_boot_ms() + PAST_TERM_MS);
	(void)wait_until_dead(last);
	finish(&rig, &ended);
	finish(&rig, &witness);
	job_assert(&ended, ATTEMPT_FAILED, 7, "exit status 7");
	assert_int_equal(witness.result.outcome, ATTEMPT_INTERRUPTED);
	job_fini(&ended);
	job_fini(&witness);
	rig_close(&rig);
}

/* Two TERM would make some programs leave at once: what the server has ended, or the keeper, the
 * other one does not end again. */
static void test_nobody_gets_term_twice(void **state)
{
	static const char text[] = "trap 'echo term' TERM; echo $$; while :; do sleep 0.01; done";
	struct rig rig;
	struct job by_server, by_keeper;
	pid_t pid;

	rig_init(&rig);
	rig.opts.term_grace_ms = RIG_PATIENCE_MS;
	rig_open(&rig);
	(void)start(&rig, &by_server, text);
	assert_true(exec_end(rig.exec, &by_server.run.id, ATTEMPT_CANCELLED));
	job_wait_for_output(&rig, &by_server, "term\n");
	pid = start(&rig, &by_keeper, text);
	exec_extend_lease(rig.exec, clock_boot_ms() + 2 * PAST_KILL_MS);
	job_wait_for_output(&rig, &by_keeper, "term\n");
	assert_true(exec_end(rig.exec, &by_keeper.run.id, ATTEMPT_INTERRUPTED));
	(void)wait_until_dead(pid);
	finish(&rig, &by_server);
	finish(&rig, &by_keeper);
	assert_string_equal(strstr(by_server.result.output, "term"), "term\n");
	assert_string_equal(strstr(by_keeper.result.output, "term"), "term\n");
	assert_int_equal(by_server.result.outcome, ATTEMPT_CANCELLED);
	assert_int_equal(by_keeper.result.outcome, ATTEMPT_INTERRUPTED);
	job_fini(&by_server);
	job_fini(&by_keeper);
	rig_close(&rig);
}

/* It woke up: the lease is extended first, then work begins again. */
static void test_a_lease_that_was_over_can_be_extended_again(void **state)
{
	struct rig rig;
	struct job first, second;

	rig_init(&rig);
	rig_open(&rig);
	exec_extend_lease(rig.exec, clock_boot_ms() - 1);
	prepare(&first, "exec sleep 1000");
	job_start(&rig, &first);
	finish(&rig, &first);
	exec_extend_lease(rig.exec, clock_boot_ms() + RIG_PATIENCE_MS);
	prepare(&second, "exit 0");
	job_start(&rig, &second);
	finish(&rig, &second);
	assert_int_equal(first.result.outcome, ATTEMPT_INTERRUPTED);
	job_assert(&second, ATTEMPT_SUCCEEDED, 0, NULL);
	job_fini(&first);
	job_fini(&second);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_program_gets_term_and_its_attempt_is_interrupted),
		cmocka_unit_test(test_a_program_that_ignores_term_is_killed_before_the_lease_ends),
		cmocka_unit_test(test_a_lease_that_is_extended_ends_nothing),
		cmocka_unit_test(test_what_had_ended_by_itself_keeps_its_result),
		cmocka_unit_test(test_nobody_gets_term_twice),
		cmocka_unit_test(test_a_lease_that_was_over_can_be_extended_again),
	};

	return cmocka_run_group_tests_name("exec_keeper", tests, NULL, NULL);
}
