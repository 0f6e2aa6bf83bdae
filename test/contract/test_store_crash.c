/* SPDX-License-Identifier: Apache-2.0
 *
 * kill -9 at random moments. A child claims, takes and finishes on an SQLite file as fast as it can
 * and says each step on a pipe; after some of them it is killed. Whatever the moment, afterwards
 * each action's cursor and its ledger agree: every due time before the cursor has exactly one row,
 * none has one behind it, and nothing that was acknowledged is missing. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "rig.h"
#include "seed.h"
#include "store/file_lock_priv.h"

#define ACTIONS   12
#define ROUNDS    15
#define STEPS_MAX 60 /* acknowledged steps before a child is killed */
#define FIRST_MS  RIG_EPOCH_MS
#define FINISHES  64

/* --- the child --- */

/* What it has been told is done: the sum of the cursors of all actions. */
struct report {
	int64_t cursors_ms;
};

static int64_t far_ahead(void)
{
	return FIRST_MS + 1000000000; /* every due time of the test has come */
}

static const struct clock_source child_clock = {.wall_ms = far_ahead, .mono_ms = far_ahead};

static void claim_all(struct rig *rig, int fd)
{
	struct store_look look = {.limit = ACTIONS};
	struct planned_due dues[ACTIONS][3];
	struct claim_item items[ACTIONS];
	struct store_claim claim = {.items = items, .capacity = {3, 3}};
	struct report report = {0};

	assert_int_equal(rig_do(rig, look, &look), 0);
	for (size_t i = 0; i < look.ret_count; i++) {
		int64_t at_ms = look.ret_actions[i]->next_due_ms;

		for (int n = 0; n < 3; n++)
			dues[i][n] = (struct planned_due){
				at_ms + n, at_ms + n, 1, n == 0 ? DUE_SKIP_LATE : DUE_RUN};
		items[i] = (struct claim_item){.action = look.ret_actions[i],
			.expected_ms = at_ms,
			.dues = dues[i],
			.due_count = 3,
			.next_due_ms = at_ms + 3};
		report.cursors_ms += at_ms + 3 - FIRST_MS;
	}
	claim.count = look.ret_count;
	assert_int_equal(rig_do(rig, claim, &claim), 0);
	assert_int_equal(write(fd, &report, sizeof(report)), sizeof(report));
	store_claim_fini(&claim);
	store_look_fini(&look);
}

static void finish_running(struct rig *rig)
{
	struct store_list_runs list = {.limit = FINISHES,
		.states = 1u << RUN_RUNNING,
		.trigger = -1,
		.due_from_ms = NO_TIME,
		.due_to_ms = NO_TIME};
	char output[] = "output";
	struct attempt_result result = {.outcome = ATTEMPT_SUCCEEDED,
		.started_at_ms = FIRST_MS,
		.output = output,
		.output_len = sizeof(output)};
	struct store_finish finish[FINISHES];

	assert_int_equal(rig_do(rig, list_runs, &list), 0);
	for (size_t i = 0; i < list.ret_count; i++) {
		finish[i] = (struct store_finish){.run = &list.ret_runs[i],
			.result = &result,
			.follow_up = {.state = RUN_SUCCEEDED, .counts = true}};
		store_finish(rig->store, &finish[i], rig_on_done);
	}
	(void)uv_run(&rig->loop, UV_RUN_DEFAULT);
	store_list_runs_fini(&list);
}

/* Until it is killed. */
static _Noreturn void child(const char *url, int fd)
{
	static struct rig rig;

	assert_int_equal(uv_loop_init(&rig.loop), 0);
	clock_set_source(&child_clock);
	(void)snprintf(rig.url, sizeof(rig.url), "%s", url);
	assert_int_equal(rig_open(&rig, 1000, 100, NULL), 0);
	for (;;) {
		claim_all(&rig, fd);
		(void)rig_take(&rig, 5, NULL);
		finish_running(&rig);
	}
}

/* --- the parent --- */

static struct seed seed;

static pid_t start_child(const char *url, int *ret_fd)
{
	int fds[2];
	char fd_text[16];
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	(void)snprintf(fd_text, sizeof(fd_text), "%d", fds[1]);
	pid = fork();
	if (pid == 0) {
		(void)close(fds[0]);
		(void)execl("/proc/self/exe", "test_store_crash", url, fd_text, (char *)NULL);
		_exit(127);
	}
	assert_true(pid > 0);
	assert_int_equal(close(fds[1]), 0);
	*ret_fd = fds[0];
	return pid;
}

/* What the child has reported when it is dead. */
static int64_t kill_after(const char *url)
{
	struct report report = {0};
	uint64_t steps = 1 + seed_below(&seed, STEPS_MAX);
	int fd, status;
	pid_t pid = start_child(url, &fd);

	for (uint64_t i = 0; i < steps; i++)
		if (read(fd, &report, sizeof(report)) != sizeof(report))
			fail_msg("the child ended by itself");
	for (uint64_t spin = seed_below(&seed, 2000000); spin > 0; spin--)
		__asm__ volatile("");
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	while (read(fd, &report, sizeof(report)) == sizeof(report))
		;
	assert_int_equal(close(fd), 0);
	return report.cursors_ms;
}

static int64_t count_runs(
	struct rig *rig, const struct id *action_id, int64_t from_ms, int64_t to_ms)
{
	struct store_list_runs list = {.limit = 1,
		.action_id = *action_id,
		.trigger = -1,
		.due_from_ms = from_ms,
		.due_to_ms = to_ms,
		.want_total = true};
	int64_t total;

	assert_int_equal(rig_do(rig, list_runs, &list), 0);
	total = list.ret_total;
	store_list_runs_fini(&list);
	return total;
}

static int64_t check_actions(struct rig *rig)
{
	struct store_list_actions list = {.limit = ACTIONS, .kind = -1, .state = -1};
	int64_t cursors_ms = 0;

	assert_int_equal(rig_do(rig, list_actions, &list), 0);
	assert_int_equal(list.ret_count, ACTIONS);
	for (size_t i = 0; i < list.ret_count; i++) {
		const struct action *action = list.ret_actions[i];
		int64_t moved_ms = action->next_due_ms - FIRST_MS;

		/* unique on action and due time, so as many as there are is each of them */
		assert_int_equal(
			count_runs(rig, &action->id, FIRST_MS, action->next_due_ms), moved_ms);
		assert_int_equal(count_runs(rig, &action->id, NO_TIME, NO_TIME), moved_ms);
		cursors_ms += moved_ms;
	}
	store_list_actions_fini(&list);
	return cursors_ms;
}

/* A run that succeeded has its output: both were one transaction. */
static void check_outputs(struct rig *rig)
{
	struct store_list_runs list = {.limit = 100,
		.states = 1u << RUN_SUCCEEDED,
		.trigger = -1,
		.due_from_ms = NO_TIME,
		.due_to_ms = NO_TIME};

	assert_int_equal(rig_do(rig, list_runs, &list), 0);
	for (size_t i = 0; i < list.ret_count; i++) {
		struct store_get_output get = {.run_id = list.ret_runs[i].id};

		assert_int_equal(rig_do(rig, get_output, &get), 0);
		assert_string_equal(get.ret_output, "output");
		store_get_output_fini(&get);
	}
	store_list_runs_fini(&list);
}

static void check_recovery(struct rig *rig)
{
	struct store_recover recover = {.ret_count = 0};
	struct store_stats stats = {0};

	assert_int_equal(rig_do(rig, recover, &recover), 0);
	assert_int_equal(rig_do(rig, stats, &stats), 0);
	assert_int_equal(stats.ret_runs_running, 0);
}

static void test_kill_at_any_moment_leaves_cursor_and_ledger_in_step(void **state)
{
	struct rig *rig = *state;
	static const char *const overlaps[] = {"skip", "queue", "allow", "cancel_running"};
	int64_t total_ms = 0;

	for (int i = 0; i < ACTIONS; i++) {
		auto_free char *name = xasprintf("a%d", i);
		auto_free char *members = xasprintf("\"overlap\": \"%s\"", overlaps[i % 4]);

		(void)rig_create(rig, name, members, FIRST_MS);
	}
	for (int round = 0; round < ROUNDS; round++) {
		int64_t reported_ms;

		rig_close(rig);
		reported_ms = kill_after(rig->url);
		assert_int_equal(rig_open(rig, 1000, 100, NULL), 0); /* the lock is free */
		total_ms = check_actions(rig);
		assert_true(total_ms >= reported_ms);
		check_outputs(rig);
		check_recovery(rig);
	}
	print_message("%lld due times, killed %d times\n", (long long)total_ms, ROUNDS);
}

/* The holder is killed while a child of its own has not yet executed anything. */
static void test_lock_left_with_a_child_is_waited_for(void **state)
{
	struct rig *rig = *state;
	struct err err = {0};
	struct file_lock lock;
	bool is_inherited;
	int status;
	pid_t pid;

	rig_close(rig);
	pid = fork();
	if (pid == 0) {
		if (file_lock_take(&lock, rig->url + strlen("sqlite:"),
			    &(struct file_lock_claim){0}, &is_inherited, NULL) < 0)
			_exit(1);
		if (fork() == 0) {
			(void)usleep(300000);
			_exit(0);
		}
		(void)raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(rig_open(rig, 10, 10, &err), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_kill_at_any_moment_leaves_cursor_and_ledger_in_step),
		RIG_TEST(test_lock_left_with_a_child_is_waited_for),
	};
	int64_t fd;

	rig_backend = "sqlite";
	if (argc == 3 && parse_i64(argv[2], 0, 1000, &fd))
		child(argv[1], (int)fd);
	seed = seed_start("store_crash"); /* by the real clock */
	return cmocka_run_group_tests_name("store crash", tests, NULL, NULL);
}
