/* SPDX-License-Identifier: Apache-2.0
 *
 * Programs of other users while the user database is slow. getpwnam_r below stands in for one
 * behind a directory service: it answers when it is told to. */
#include <errno.h>
#include <pthread.h>
#include <pwd.h>

#include "base/clock.h"
#include "exec_rig.h"

#define UNKNOWN "nobody-knows"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int asked, may_answer; /* look-ups that began; that may end */

/* Everybody is our own user, who is allowed to become himself, but one. */
int getpwnam_r(
	const char *name, struct passwd *entry, char *bytes, size_t size, struct passwd **ret_found)
{
	int mine;

	(void)pthread_mutex_lock(&lock);
	mine = ++asked;
	(void)pthread_cond_broadcast(&changed);
	while (may_answer < mine)
		(void)pthread_cond_wait(&changed, &lock);
	(void)pthread_mutex_unlock(&lock);
	*ret_found = NULL;
	if (strcmp(name, UNKNOWN) == 0)
		return ENOENT;
	(void)snprintf(bytes, size, "%s", name);
	*entry = (struct passwd){.pw_name = bytes,
		.pw_uid = geteuid(),
		.pw_gid = getegid(),
		.pw_dir = (char *)(uintptr_t) "/tmp",
		.pw_shell = (char *)(uintptr_t) "/bin/sh"};
	*ret_found = entry;
	return 0;
}

static void let_answer(int count)
{
	(void)pthread_mutex_lock(&lock);
	may_answer += count;
	(void)pthread_cond_broadcast(&changed);
	(void)pthread_mutex_unlock(&lock);
}

static int times_asked(void)
{
	int count;

	(void)pthread_mutex_lock(&lock);
	count = asked;
	(void)pthread_mutex_unlock(&lock);
	return count;
}

static void wait_until_asked(int times)
{
	(void)pthread_mutex_lock(&lock);
	while (asked < times)
		(void)pthread_cond_wait(&changed, &lock);
	(void)pthread_mutex_unlock(&lock);
}

static int thread_count(void)
{
	FILE *status = fopen("/proc/self/status", "re");
	char line[256];
	int count = 0;

	assert_non_null(status);
	while (fgets(line, sizeof(line), status))
		if (strncmp(line, "Threads:", 8) == 0)
			count = (int)strtol(line + 8, NULL, 10);
	(void)fclose(status);
	return count;
}

static void open_slow(struct rig *rig)
{
	if (geteuid() != 0)
		skip(); /* only root may become another user */
	asked = may_answer = 0;
	rig_init(rig);
	rig->opts.exec_users = "alice,bob," UNKNOWN ",root";
	rig_open(rig);
}

static void prepare(struct job *job, const char *user)
{
	static char *argv[] = {(char *)(uintptr_t) "/usr/bin/env", NULL};

	job_init(job, ACTION_EXEC);
	job->action.exec.command = argv;
	job->action.exec.user = (char *)(uintptr_t)user;
}

static void assert_ran_as(struct job *job, const char *user)
{
	auto_free char *line = xasprintf("\nUSER=%s\n", user);

	job_assert(job, ATTEMPT_SUCCEEDED, 0, NULL);
	assert_non_null(strstr(job->result.output, line));
	job_fini(job);
}

static void test_a_slow_user_database_holds_up_nobody_else(void **state)
{
	struct job slow, own;
	struct rig rig;

	open_slow(&rig);
	prepare(&slow, "alice");
	job_start(&rig, &slow);
	wait_until_asked(1);
	prepare(&own, NULL);
	job_run(&rig, &own);
	job_assert(&own, ATTEMPT_SUCCEEDED, 0, NULL);
	job_fini(&own);
	assert_false(slow.is_done);
	let_answer(1);
	rig_wait(&rig, &slow.is_done);
	assert_ran_as(&slow, "alice");
	rig_close(&rig);
}

static void test_one_look_up_at_a_time_answers_all_who_wait_for_the_name(void **state)
{
	static const char *const users[] = {"alice", "bob", "alice", UNKNOWN, "bob", "alice"};
	struct job jobs[COUNT_OF(users)];
	struct rig rig;

	open_slow(&rig);
	for (size_t i = 0; i < COUNT_OF(users); i++) {
		prepare(&jobs[i], users[i]);
		job_start(&rig, &jobs[i]);
	}
	wait_until_asked(1);
	assert_int_equal(times_asked(), 1);
	let_answer(3);
	for (size_t i = 0; i < COUNT_OF(users); i++) {
		rig_wait(&rig, &jobs[i].is_done);
		if (strcmp(users[i], UNKNOWN) != 0) {
			assert_ran_as(&jobs[i], users[i]);
			continue;
		}
		job_assert(&jobs[i], ATTEMPT_FAILED, -1,
			"there is no user '" UNKNOWN "' on this machine");
		job_fini(&jobs[i]);
	}
	assert_int_equal(times_asked(), 3);
	rig_close(&rig);
}

/* And the executor closes while the look-up goes on, for which nobody waits any more. */
static void test_an_attempt_that_waits_for_its_user_can_be_ended(void **state)
{
	struct job late, cancelled, interrupted;
	struct rig rig;
	int threads;

	open_slow(&rig);
	prepare(&late, "alice");
	late.action.timeout_ms = 50;
	prepare(&cancelled, "alice");
	prepare(&interrupted, "bob");
	job_start(&rig, &late);
	job_start(&rig, &cancelled);
	job_start(&rig, &interrupted);
	wait_until_asked(1);
	assert_true(exec_end(rig.exec, &cancelled.run.id, ATTEMPT_CANCELLED));
	rig_wait(&rig, &cancelled.is_done);
	job_assert(&cancelled, ATTEMPT_CANCELLED, -1, "cancelled while looking up its user");
	rig_wait(&rig, &late.is_done);
	job_assert(&late, ATTEMPT_TIMED_OUT, -1, "timed out after 50ms while looking up its user");
	exec_kill_all(rig.exec);
	rig_wait(&rig, &interrupted.is_done);
	job_assert(&interrupted, ATTEMPT_INTERRUPTED, -1,
		"interrupted by the server while looking up its user");
	assert_int_equal(interrupted.result.started_at_ms, NO_TIME); /* unbegun */
	job_fini(&late);
	job_fini(&cancelled);
	job_fini(&interrupted);
	exec_destroy(rig.exec, rig_on_closed, &rig);
	rig_wait(&rig, &rig.is_closed);
	rig_end(&rig);
	assert_int_equal(times_asked(), 1);
	threads = thread_count();
	let_answer(1); /* the thread finds nobody, and what it touches is its own */
	while (thread_count() >= threads)
		(void)usleep(1000);
}

/* A server that stood still in between must not start what somebody else has taken over. */
static void test_a_program_does_not_begin_when_the_lease_ran_out_meanwhile(void **state)
{
	struct job job;
	struct rig rig;

	open_slow(&rig);
	prepare(&job, "alice");
	job_start(&rig, &job);
	wait_until_asked(1);
	exec_extend_lease(rig.exec, clock_boot_ms() + 1000);
	let_answer(1);
	rig_wait(&rig, &job.is_done);
	job_assert(&job, ATTEMPT_INTERRUPTED, -1,
		"interrupted by the server while looking up its user");
	assert_int_equal(job.result.started_at_ms, NO_TIME);
	job_fini(&job);
	rig_close(&rig);
}

static void test_a_program_that_begins_late_learns_until_when_it_may_finish(void **state)
{
	static char *argv[] = {(char *)(uintptr_t) "cat \"$GATHERING_FINISH_BY_FILE\"", NULL};
	struct job job;
	struct rig rig;

	open_slow(&rig);
	prepare(&job, "alice");
	job.action.exec.command = argv;
	job.action.exec.use_shell = true;
	job_start(&rig, &job);
	wait_until_asked(1);
	exec_finish_by(rig.exec, 1795311000000);
	let_answer(1);
	rig_wait(&rig, &job.is_done);
	job_assert(&job, ATTEMPT_SUCCEEDED, 0, NULL);
	assert_string_equal(job.result.output, "2026-11-22T01:30:00Z\n");
	job_fini(&job);
	rig_close(&rig);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_slow_user_database_holds_up_nobody_else),
		cmocka_unit_test(test_one_look_up_at_a_time_answers_all_who_wait_for_the_name),
		cmocka_unit_test(test_an_attempt_that_waits_for_its_user_can_be_ended),
		cmocka_unit_test(test_a_program_does_not_begin_when_the_lease_ran_out_meanwhile),
		cmocka_unit_test(test_a_program_that_begins_late_learns_until_when_it_may_finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
