/* SPDX-License-Identifier: Apache-2.0
 *
 * What programs and the executor write to each other, with real programs and a real file system. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "exec_rig.h"

/* What the executor passed on so far. */
static struct run_note noted;
static int notes_count;

static void on_note(const struct run *run, struct run_note *note, void *data)
{
	const struct job *job = data;

	assert_ptr_equal(run, &job->run);
	assert_false(job->is_done);
	notes_count++;
	run_note_merge(&noted, note);
}

static void open_rig(struct rig *rig)
{
	run_note_fini(&noted);
	notes_count = 0;
	rig_init(rig);
	rig->opts.on_note = on_note;
	rig_open(rig);
}

static void close_rig(struct rig *rig)
{
	rig_close(rig);
	run_note_fini(&noted);
}

static void job_shell(struct job *job, char *text)
{
	static char *command[] = {NULL, NULL};

	job_init(job, ACTION_EXEC);
	command[0] = text;
	job->action.exec.command = command;
	job->action.exec.use_shell = true;
}

static void wait_for_message(struct rig *rig, const struct job *job, const char *message)
{
	while (noted.message == NULL || strcmp(noted.message, message) != 0) {
		assert_false(job->is_done);
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
	}
}

static char *text(const char *constant)
{
	return (char *)(uintptr_t)constant;
}

static void test_notes_are_passed_on_while_the_program_runs(void **state)
{
	struct rig rig;
	struct job job;

	open_rig(&rig);
	job_shell(&job, text("echo '40 copying' > $GATHERING_PROGRESS_FILE;"
			     "printf abc > $GATHERING_CHECKPOINT_FILE.new;"
			     "mv $GATHERING_CHECKPOINT_FILE.new $GATHERING_CHECKPOINT_FILE;"
			     "while test -e $GATHERING_PROGRESS_FILE; do sleep 0.02; done;"
			     "echo '80 almost' > $GATHERING_PROGRESS_FILE"));
	job_start(&rig, &job);
	wait_for_message(&rig, &job, "copying");
	while (noted.checkpoint == NULL)
		(void)uv_run(&rig.loop, UV_RUN_ONCE);
	assert_int_equal(noted.percent, 40);
	assert_int_equal(noted.checkpoint_len, 3);
	assert_memory_equal(noted.checkpoint, "abc", 3);
	assert_true(exec_end(rig.exec, &job.run.id, ATTEMPT_CANCELLED));
	rig_wait(&rig, &job.is_done);
	job_fini(&job);
	close_rig(&rig);
}

static void touch(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	(void)close(fd);
}

static void wait_for_file(const char *path)
{
	while (access(path, F_OK) != 0)
		(void)usleep(1000);
}

/* A program that goes on when there is a file of that name: its number. */
static char *waits_for(const char *path)
{
	return xasprintf("echo $$; while ! test -e %s; do sleep 0.01; done;", path);
}

static pid_t pid_of(struct rig *rig, struct job *job)
{
	pid_t pid = 0;
	size_t len;

	job_wait_for_output(rig, job, "\n");
	auto_free char *output = exec_output_so_far(rig->exec, &job->run.id, &len);
	assert_int_equal(sscanf(output, "%d", &pid), 1);
	return pid;
}

/* The loop hears of the end of the one, then of what the other has written; the last look at the
 * folder of the first reads the events of both. */
static void test_news_are_not_lost_when_another_program_ends(void **state)
{
	struct rig rig;
	struct job job, other;
	auto_free char *go = NULL, *done = NULL, *end = NULL, *wait = NULL, *command = NULL;
	pid_t pid;

	open_rig(&rig);
	go = xasprintf("%s/go", rig.folder);
	end = xasprintf("%s/end", rig.folder);
	done = xasprintf("%s/done", rig.folder);
	wait = waits_for(go);
	command = xasprintf(
		"%s echo abc > $GATHERING_CHECKPOINT_FILE; touch %s; exec sleep 1000", wait, done);
	job_shell(&job, command);
	job_start(&rig, &job);
	(void)pid_of(&rig, &job);
	free(wait);
	wait = waits_for(end);
	job_init(&other, ACTION_EXEC);
	other.action.exec.command = (char *[]){wait, NULL};
	other.action.exec.use_shell = true;
	job_start(&rig, &other);
	pid = pid_of(&rig, &other);
	touch(end);
	while (is_alive(pid)) /* the loop stands still */
		(void)usleep(1000);
	touch(go);
	wait_for_file(done);
	while (noted.checkpoint == NULL)
		(void)uv_run(&rig.loop, UV_RUN_ONCE);
	assert_true(other.is_done);
	assert_true(exec_end(rig.exec, &job.run.id, ATTEMPT_CANCELLED));
	rig_wait(&rig, &job.is_done);
	assert_int_equal(unlink(go) + unlink(end) + unlink(done), 0);
	job_fini(&job);
	job_fini(&other);
	close_rig(&rig);
}

static void test_what_is_written_last_is_not_lost(void **state)
{
	struct rig rig;
	struct job job;

	open_rig(&rig);
	job_shell(&job, text("for i in 1 2 3 4 5 6 7 8 9; do echo $i > $GATHERING_CHECKPOINT_FILE;"
			     "echo $i > $GATHERING_PROGRESS_FILE; done"));
	job_run(&rig, &job);
	job_assert(&job, ATTEMPT_SUCCEEDED, 0, NULL);
	assert_int_equal(noted.percent, 9);
	assert_memory_equal(noted.checkpoint, "9\n", 2);
	job_fini(&job);
	close_rig(&rig);
}

static void test_a_program_that_notes_nothing_makes_no_note(void **state)
{
	struct rig rig;
	struct job job;

	open_rig(&rig);
	job_shell(&job, text("test ! -e $GATHERING_CHECKPOINT_FILE -a ! -e $GATHERING_PROGRESS_FILE"
			     " -a ! -e $GATHERING_FINISH_BY_FILE"));
	job_run(&rig, &job);
	job_assert(&job, ATTEMPT_SUCCEEDED, 0, NULL);
	assert_int_equal(notes_count, 0);
	job_fini(&job);
	close_rig(&rig);
}

static void test_the_next_attempt_finds_the_checkpoint_and_need_not_touch_it(void **state)
{
	struct rig rig;
	struct job job;

	open_rig(&rig);
	job_shell(&job, text("od -An -c $GATHERING_CHECKPOINT_FILE"));
	job.run.checkpoint = text("a\0b");
	job.run.checkpoint_bytes = 3;
	job_run(&rig, &job);
	job_assert(&job, ATTEMPT_SUCCEEDED, 0, NULL);
	job_assert_output(&job, "   a  \\0   b\n");
	assert_int_equal(notes_count, 0);
	job_fini(&job);
	close_rig(&rig);
}

static void test_a_checkpoint_counts_when_it_is_whole(void **state)
{
	struct rig rig;
	struct job job;

	open_rig(&rig);
	job_shell(&job, text("exec 3> $GATHERING_CHECKPOINT_FILE; printf ha >&3;"
			     "echo begun > $GATHERING_PROGRESS_FILE;"
			     "while ! test -e $GATHERING_FINISH_BY_FILE; do sleep 0.02; done;"
			     "printf lf >&3; exec 3>&-; echo closed > $GATHERING_PROGRESS_FILE;"
			     "sleep 1000"));
	job_start(&rig, &job);
	wait_for_message(&rig, &job, "begun");
	assert_null(noted.checkpoint);
	exec_finish_by(rig.exec, 1795311000000);
	wait_for_message(&rig, &job, "closed");
	while (noted.checkpoint == NULL)
		(void)uv_run(&rig.loop, UV_RUN_ONCE);
	assert_int_equal(noted.checkpoint_len, 4);
	assert_memory_equal(noted.checkpoint, "half", 4);
	exec_kill_all(rig.exec);
	rig_wait(&rig, &job.is_done);
	job_fini(&job);
	close_rig(&rig);
}

static void test_a_checkpoint_that_is_too_long_is_refused_in_the_output(void **state)
{
	struct rig rig;
	struct job job;

	open_rig(&rig);
	job_shell(&job, text("head -c 1048577 /dev/zero > $GATHERING_CHECKPOINT_FILE"));
	job_run(&rig, &job);
	job_assert_output(&job,
		"[gathering: the checkpoint has more than 1048576 bytes and was not taken]\n");
	assert_null(noted.checkpoint);
	job_fini(&job);
	job_shell(&job, text("head -c 1048576 /dev/zero > $GATHERING_CHECKPOINT_FILE"));
	job_run(&rig, &job);
	assert_int_equal(noted.checkpoint_len, 1048576);
	job_fini(&job);
	close_rig(&rig);
}

/* A link could show us a file that the program itself must not read; a pipe could hold us up. */
static void test_only_plain_files_of_the_program_are_read(void **state)
{
	struct rig rig;
	struct job job;

	open_rig(&rig);
	job_shell(&job, text("ln -s /etc/passwd $GATHERING_PROGRESS_FILE;"
			     "mkfifo $GATHERING_CHECKPOINT_FILE"));
	job_run(&rig, &job);
	job_assert(&job, ATTEMPT_SUCCEEDED, 0, NULL);
	job_fini(&job);
	job_shell(&job,
		text("d=$(dirname $GATHERING_PROGRESS_FILE); echo x > $d/other;"
		     "ln $d/other $GATHERING_PROGRESS_FILE; mkdir $GATHERING_CHECKPOINT_FILE"));
	job_run(&rig, &job);
	job_assert(&job, ATTEMPT_SUCCEEDED, 0, NULL);
	assert_int_equal(notes_count, 0);
	job_fini(&job);
	close_rig(&rig);
}

static void test_a_program_is_told_when_it_will_be_ended(void **state)
{
	struct rig rig;
	struct job job;

	open_rig(&rig);
	job_shell(&job, text("echo up; while ! test -e $GATHERING_FINISH_BY_FILE; do sleep 0.02;"
			     "done; cat $GATHERING_FINISH_BY_FILE"));
	job_start(&rig, &job);
	job_wait_for_output(&rig, &job, "up");
	exec_finish_by(rig.exec, 1795311000000);
	rig_wait(&rig, &job.is_done);
	job_assert_output(&job, "up\n2026-11-22T01:30:00Z\n");
	job_fini(&job);
	close_rig(&rig);
}

/* rig_close finds out whether anything is left. */
static void test_the_folder_is_private_and_goes_with_all_that_is_in_it(void **state)
{
	struct rig rig;
	struct job job;
	auto_free char *outside = NULL, *command = NULL;

	open_rig(&rig);
	outside = xasprintf("%s.keep", rig.folder);
	command = xasprintf("cd $(dirname $GATHERING_PROGRESS_FILE); stat -c %%a .;"
			    "mkdir -p a/b/c; touch a/b/c/d; ln -s / root; ln -s %s link;"
			    "mkfifo fifo; chmod 0 a/b",
		outside);
	assert_int_equal(close(open(outside, O_WRONLY | O_CREAT, 0600)), 0);
	job_shell(&job, command);
	job_run(&rig, &job);
	job_assert_output(&job, "700\n");
	job_fini(&job);
	close_rig(&rig);
	assert_int_equal(unlink(outside), 0);
}

static void test_what_a_dead_server_left_goes_at_the_next_start_and_nothing_else(void **state)
{
	struct rig rig, other;
	struct job job, job2;
	auto_free char *left = NULL, *file = NULL;

	open_rig(&rig);
	job_shell(&job, text("echo up; sleep 1000"));
	job_start(&rig, &job);
	job_wait_for_output(&rig, &job, "up");
	left = xasprintf("%s/tmp/0193aaaa-0000-7000-8000-000000000001", rig.folder);
	file = xasprintf("%s/checkpoint", left);
	assert_int_equal(mkdir(left, 0711), 0);
	assert_int_equal(close(open(file, O_WRONLY | O_CREAT, 0600)), 0);
	rig_init(&other);
	other.opts.state_dir = rig.folder;
	rig_open(&other);
	assert_int_equal(access(left, F_OK), -1);
	job_shell(&job2, text("true"));
	job_run(&other, &job2);
	job_fini(&job2);
	exec_destroy(other.exec, rig_on_closed, &other);
	rig_wait(&other, &other.is_closed);
	assert_int_equal(rmdir(other.folder), 0);
	uv_close((uv_handle_t *)&other.watchdog, NULL);
	(void)uv_run(&other.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&other.loop), 0);
	exec_finish_by(rig.exec, 1795311000000); /* our folder is still there */
	exec_kill_all(rig.exec);
	rig_wait(&rig, &job.is_done);
	job_fini(&job);
	close_rig(&rig);
}

static void test_a_state_folder_that_cannot_be_made_is_told_at_the_start(void **state)
{
	struct rig rig;
	struct err err = {0};

	rig_init(&rig);
	rig.opts.state_dir = "/proc/nowhere";
	assert_int_equal(exec_create(&rig.opts, &rig.exec, &err), ERR_IO);
	assert_string_equal(err.text,
		"cannot make the folder /proc/nowhere for the files of programs: No "
		"such file or directory; set state_dir");
	assert_int_equal(rmdir(rig.folder), 0);
	uv_close((uv_handle_t *)&rig.watchdog, NULL);
	(void)uv_run(&rig.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&rig.loop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_notes_are_passed_on_while_the_program_runs),
		cmocka_unit_test(test_news_are_not_lost_when_another_program_ends),
		cmocka_unit_test(test_what_is_written_last_is_not_lost),
		cmocka_unit_test(test_a_program_that_notes_nothing_makes_no_note),
		cmocka_unit_test(test_the_next_attempt_finds_the_checkpoint_and_need_not_touch_it),
		cmocka_unit_test(test_a_checkpoint_counts_when_it_is_whole),
		cmocka_unit_test(test_a_checkpoint_that_is_too_long_is_refused_in_the_output),
		cmocka_unit_test(test_only_plain_files_of_the_program_are_read),
		cmocka_unit_test(test_a_program_is_told_when_it_will_be_ended),
		cmocka_unit_test(test_the_folder_is_private_and_goes_with_all_that_is_in_it),
		cmocka_unit_test(
			test_what_a_dead_server_left_goes_at_the_next_start_and_nothing_else),
		cmocka_unit_test(test_a_state_folder_that_cannot_be_made_is_told_at_the_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
