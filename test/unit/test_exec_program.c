/* SPDX-License-Identifier: Apache-2.0
 *
 * exec attempts with real processes: results, output, input, what a program inherits, and all the
 * ways in which it ends. Each test waits for what happens, never for a time to pass. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/text.h"
#include "exec_rig.h"

#define ARGV(...) ((char *[]){__VA_ARGS__, NULL})

static char folder[64]; /* of this test program; removed at its end */

static char *in_folder(const char *name)
{
	return xasprintf("%s/%s", folder, name);
}

static void job_argv(struct job *job, char **argv)
{
	job_init(job, ACTION_EXEC);
	job->action.exec.command = argv;
}

static void job_shell(struct job *job, char **text)
{
	job_argv(job, text);
	job->action.exec.use_shell = true;
}

/* One program from beginning to end with everything at its default. */
static void run_once(struct job *job)
{
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	job_run(&rig, job);
	rig_close(&rig);
}

static void wait_until_dead(pid_t pid)
{
	int64_t until = clock_mono_ms() + RIG_PATIENCE_MS;

	while (is_alive(pid)) {
		if (clock_mono_ms() > until)
			fail_msg("process %d lives on", (int)pid);
		(void)usleep(1000);
	}
}

static void wait_until_stopped(pid_t pid)
{
	int64_t until = clock_mono_ms() + RIG_PATIENCE_MS;

	while (state_of(pid) != 'T') {
		if (clock_mono_ms() > until)
			fail_msg("process %d does not stop", (int)pid);
		(void)usleep(1000);
	}
}

static pid_t read_pid(const char *text)
{
	auto_free char *line = xstrndup(text, strcspn(text, "\n"));
	int64_t pid;

	if (!parse_i64(line, 2, INT32_MAX, &pid))
		fail_msg("'%s' is no process id", line);
	return (pid_t)pid;
}

/* Waits until a program has written its id into the file. */
static pid_t wait_for_pid_file(const char *path)
{
	int64_t until = clock_mono_ms() + RIG_PATIENCE_MS;
	char text[32];

	for (;;) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t got = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;

		if (fd >= 0)
			(void)close(fd);
		if (got > 0 && text[got - 1] == '\n') {
			text[got] = '\0';
			return read_pid(text);
		}
		if (clock_mono_ms() > until)
			fail_msg("%s never appeared", path);
		(void)usleep(1000);
	}
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(close(fd), 0);
	assert_int_equal(chmod(path, mode), 0);
}

/* --- results --- */

static void test_success(void **state)
{
	struct job job;

	job_argv(&job, ARGV("/bin/echo", "hello", "two words"));
	run_once(&job);
	job_assert(&job, ATTEMPT_SUCCEEDED, 0, NULL);
	job_assert_output(&job, "hello two words\n");
	assert_int_equal(job.result.http_status, 0);
	assert_int_equal(job.result.retry_after_ms, -1);
	job_fini(&job);
}

static void test_exit_status(void **state)
{
	struct job job;

	job_shell(&job, ARGV("echo out; echo err >&2; exit 3"));
	run_once(&job);
	job_assert(&job, ATTEMPT_FAILED, 3, "exit status 3");
	job_assert_output(&job, "out\nerr\n");
	job_fini(&job);
}

static void test_ended_by_signal(void **state)
{
	struct job job;

	job_shell(&job, ARGV("kill -9 $$"));
	run_once(&job);
	job_assert(&job, ATTEMPT_FAILED, 137, "ended by signal 9 (Killed)");
	job_assert_output(&job, "");
	job_fini(&job);
}

static void test_exit_127_of_a_program_is_its_own(void **state)
{
	struct job job;

	job_shell(&job, ARGV("exit 127"));
	run_once(&job);
	job_assert(&job, ATTEMPT_FAILED, 127, "exit status 127");
	job_fini(&job);
}

/* --- what cannot be run --- */

static void assert_cannot(char **argv, const char *cwd, const char *error)
{
	struct job job;

	job_argv(&job, argv);
	job.action.exec.cwd = (char *)(uintptr_t)cwd;
	run_once(&job);
	job_assert(&job, ATTEMPT_FAILED, -1, error);
	job_assert_output(&job, "");
	job_fini(&job);
}

static void test_what_cannot_be_run_says_why(void **state)
{
	auto_free char *plain = in_folder("plain"), *bare = in_folder("bare");
	auto_free char *lost = in_folder("lost");
	auto_free char *plain_error =
		xasprintf("cannot run %s: Permission denied (is it executable? chmod +x)", plain);
	auto_free char *bare_error = xasprintf("cannot run %s: Exec format error (a script must "
					       "begin with #! and its interpreter)",
		bare);
	auto_free char *lost_error = xasprintf("cannot run %s: No such file or directory (the "
					       "file is there; the interpreter it names is not)",
		lost);

	write_file(plain, "#!/bin/sh\n", 0644);
	write_file(bare, "echo hello\n", 0755);
	write_file(lost, "#!/no/such/interpreter\n", 0755);
	assert_cannot(ARGV("/usr/bin/no-such-program"), NULL,
		"cannot run /usr/bin/no-such-program: No such file or directory");
	assert_cannot(ARGV("no-such-program"), NULL,
		"cannot run no-such-program: not found in PATH "
		"(/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)");
	assert_cannot(ARGV("echo hello"), NULL,
		"cannot run echo hello: not found in PATH "
		"(/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin); program and "
		"arguments are separate words, or use a shell command");
	assert_cannot(ARGV("/etc"), NULL, "cannot run /etc: Permission denied");
	assert_cannot(ARGV(plain), NULL, plain_error);
	assert_cannot(ARGV(bare), NULL, bare_error);
	assert_cannot(ARGV(lost), NULL, lost_error);
	assert_cannot(ARGV("/bin/true"), "/no/such/folder",
		"cannot change to folder /no/such/folder: No such file or directory");
	assert_cannot(ARGV("/bin/true"), "/etc/passwd",
		"cannot change to folder /etc/passwd: Not a directory");
}

static void test_path_of_the_action_is_searched(void **state)
{
	auto_free char *tool = in_folder("tool");
	auto_free char *path = xasprintf("/no/such:%s:/bin", folder);
	auto_free char *error =
		xasprintf("cannot run %s: Permission denied (is it executable? chmod +x)", tool);
	struct name_value env[] = {{(char *)(uintptr_t) "PATH", path}};
	struct job job;

	write_file(tool, "#!/bin/sh\necho my tool\n", 0755);
	job_argv(&job, ARGV("tool"));
	job.action.exec.env = env;
	job.action.exec.env_count = 1;
	run_once(&job);
	job_assert_output(&job, "my tool\n");
	job_fini(&job);

	assert_int_equal(chmod(tool, 0644), 0);
	job_argv(&job, ARGV("tool"));
	job.action.exec.env = env;
	job.action.exec.env_count = 1;
	run_once(&job);
	job_assert(&job, ATTEMPT_FAILED, -1, error);
	job_fini(&job);
}

static void test_no_descriptors_left_is_a_failed_result(void **state)
{
	struct rlimit before, low;
	struct rig rig;
	struct job job, after;

	rig_init(&rig);
	rig_open(&rig);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	for (rlim_t spare = 0; spare < 6; spare++) {
		int lowest;

		assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
		lowest = dup(0);
		assert_true(lowest > 0);
		assert_int_equal(close(lowest), 0);
		low = (struct rlimit){(rlim_t)lowest + spare, before.rlim_max};
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
		job_argv(&job, ARGV("/bin/cat"));
		job.action.exec.stdin_text = (char *)(uintptr_t) "x";
		job_run(&rig, &job);
		job_assert(&job, ATTEMPT_FAILED, -1,
			"cannot start /bin/cat: Too many open files; raise the limit of open "
			"files (LimitNOFILE) or lower max_running_exec");
		job_fini(&job);
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	job_argv(&after, ARGV("/bin/true"));
	job_run(&rig, &after);
	job_assert(&after, ATTEMPT_SUCCEEDED, 0, NULL);
	job_fini(&after);
	rig_close(&rig);
}

/* --- output --- */

static void test_long_output_keeps_beginning_and_end(void **state)
{
	static const char mark[] = "x\n[... 10420228 bytes left out ...]\nx";
	struct job job;

	job_shell(&job, ARGV("head -c 10485760 /dev/zero | tr '\\0' x; echo END"));
	run_once(&job);
	job_assert(&job, ATTEMPT_SUCCEEDED, 0, NULL);
	assert_int_equal(job.result.output_total, 10485764);
	assert_int_equal(job.result.output_len, RIG_OUTPUT_MAX + strlen(mark) - 2);
	assert_memory_equal(job.result.output + RIG_OUTPUT_MAX / 4 - 1, mark, strlen(mark));
	assert_string_equal(job.result.output + job.result.output_len - 5, "xEND\n");
	job_fini(&job);
}

static void test_binary_output(void **state)
{
	struct job job;

	job_shell(&job, ARGV("printf 'a\\000\\377\\001b'"));
	run_once(&job);
	job_assert(&job, ATTEMPT_SUCCEEDED, 0, NULL);
	assert_int_equal(job.result.output_len, 5);
	assert_memory_equal(job.result.output, "a\0\377\001b", 5);
	job_fini(&job);
}

static void test_output_closed_early(void **state)
{
	struct job job;

	job_shell(&job, ARGV("echo first; exec >/dev/null 2>&1; sleep 0.1; echo lost; exit 4"));
	run_once(&job);
	job_assert(&job, ATTEMPT_FAILED, 4, "exit status 4");
	job_assert_output(&job, "first\n");
	job_fini(&job);
}

static void test_output_so_far(void **state)
{
	struct rig rig;
	struct job job;
	size_t len;

	rig_init(&rig);
	rig_open(&rig);
	job_shell(&job, ARGV("echo begun; sleep 1000"));
	job_start(&rig, &job);
	job_wait_for_output(&rig, &job, "begun\n");
	assert_true(exec_end(rig.exec, &job.run.id, ATTEMPT_CANCELLED));
	rig_wait(&rig, &job.is_done);
	assert_null(exec_output_so_far(rig.exec, &job.run.id, &len));
	job_assert_output(&job, "begun\n");
	job_fini(&job);
	rig_close(&rig);
}

/* --- input --- */

static char *long_text(size_t len)
{
	char *text = xmalloc(len + 1);

	for (size_t i = 0; i < len; i++)
		text[i] = i % 64 == 63 ? '\n' : (char)('a' + i % 26);
	text[len] = '\0';
	return text;
}

static void test_input_arrives_whole(void **state)
{
	auto_free char *text = long_text(1 << 20);
	struct job job;

	job_argv(&job, ARGV("/bin/cat"));
	job.action.exec.stdin_text = text;
	run_once(&job);
	job_assert(&job, ATTEMPT_SUCCEEDED, 0, NULL);
	assert_int_equal(job.result.output_total, 1 << 20);
	assert_memory_equal(job.result.output, text, RIG_OUTPUT_MAX / 4);
	assert_memory_equal(job.result.output + job.result.output_len - RIG_OUTPUT_MAX / 4 * 3,
		text + (1 << 20) - RIG_OUTPUT_MAX / 4 * 3, RIG_OUTPUT_MAX / 4 * 3);
	job_fini(&job);
}

static void test_input_that_is_not_read_is_no_fault(void **state)
{
	auto_free char *text = long_text(1 << 20);
	struct job job;

	job_argv(&job, ARGV("/bin/true"));
	job.action.exec.stdin_text = text;
	run_once(&job);
	job_assert(&job, ATTEMPT_SUCCEEDED, 0, NULL);
	job_fini(&job);

	job_argv(&job, ARGV("/usr/bin/head", "-c", "3"));
	job.action.exec.stdin_text = text;
	run_once(&job);
	job_assert(&job, ATTEMPT_SUCCEEDED, 0, NULL);
	job_assert_output(&job, "abc");
	job_fini(&job);

	job_shell(&job, ARGV("exec <&-; echo closed; sleep 0.1"));
	job.action.exec.stdin_text = text;
	run_once(&job);
	job_assert(&job, ATTEMPT_SUCCEEDED, 0, NULL);
	job_fini(&job);
}

static void test_no_input_is_an_empty_one(void **state)
{
	struct job job;

	job_argv(&job, ARGV("/bin/cat"));
	run_once(&job);
	job_assert(&job, ATTEMPT_SUCCEEDED, 0, NULL);
	job_assert_output(&job, "");
	job_fini(&job);

	job_argv(&job, ARGV("/bin/cat"));
	job.action.exec.stdin_text = (char *)(uintptr_t) "";
	run_once(&job);
	job_assert(&job, ATTEMPT_SUCCEEDED, 0, NULL);
	job_fini(&job);
}

/* --- what a program inherits --- */

/* Where they stand has a random name. */
static void assert_private_files(const char *lines)
{
	static const char *const files[][2] = {{"GATHERING_CHECKPOINT_FILE=/", "/checkpoint"},
		{"GATHERING_PROGRESS_FILE=/", "/progress"},
		{"GATHERING_FINISH_BY_FILE=/", "/finish_by"}};

	for (size_t i = 0; i < COUNT_OF(files); i++) {
		const char *end = strchr(lines, '\n');

		assert_non_null(end);
		assert_memory_equal(lines, files[i][0], strlen(files[i][0]));
		assert_memory_equal(end - strlen(files[i][1]), files[i][1], strlen(files[i][1]));
		lines = end + 1;
	}
	assert_string_equal(lines, "");
}

static void test_environment_is_exactly_as_specified(void **state)
{
	struct name_value env[] = {
		{(char *)(uintptr_t) "COLOUR", (char *)(uintptr_t) "light blue"},
		{(char *)(uintptr_t) "LANG", (char *)(uintptr_t) "fr_FR.UTF-8"},
		{(char *)(uintptr_t) "EMPTY", (char *)(uintptr_t) ""},
	};
	char action_id[ID_TEXT_SIZE], run_id[ID_TEXT_SIZE];
	const struct passwd *own = getpwuid(geteuid());
	auto_free char *expected = NULL;
	struct job job;

	assert_non_null(own);
	assert_int_equal(setenv("GATHERING_SECRET", "swordfish", 1), 0);
	assert_int_equal(setenv("LD_LIBRARY_PATH", "/nowhere", 1), 0);
	job_argv(&job, ARGV("/usr/bin/env"));
	job.action.exec.env = env;
	job.action.exec.env_count = COUNT_OF(env);
	expected = xasprintf("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
			     "HOME=%s\nUSER=%s\nLOGNAME=%s\nSHELL=/bin/sh\nLANG=fr_FR.UTF-8\n"
			     "COLOUR=light blue\nEMPTY=\nGATHERING_RUN_ID=%s\n"
			     "GATHERING_ACTION=nightly\nGATHERING_DUE_AT=2026-11-22T01:30:00Z\n"
			     "GATHERING_ATTEMPT=2\nGATHERING_EPOCH=7\n"
			     "GATHERING_IDEMPOTENCY_KEY=%s/2026-11-22T01:30:00Z\n",
		own->pw_dir, own->pw_name, own->pw_name, id_format(&job.run.id, run_id),
		id_format(&job.action.id, action_id));
	run_once(&job);
	assert_non_null(job.result.output);
	assert_memory_equal(job.result.output, expected, strlen(expected));
	assert_private_files(job.result.output + strlen(expected));
	job_fini(&job);
}

/* One descriptor of ours without CLOEXEC, as a library might forget: 3 is ls's own. */
static void test_no_descriptor_is_inherited(void **state)
{
	int forgotten = open("/etc/passwd", O_RDONLY);
	struct job job;

	assert_true(forgotten >= 0);
	job_argv(&job, ARGV("/bin/ls", "/proc/self/fd"));
	run_once(&job);
	job_assert_output(&job, "0\n1\n2\n3\n");
	job_fini(&job);

	job_argv(&job, ARGV("/bin/ls", "/proc/self/fd"));
	job.action.exec.stdin_text = (char *)(uintptr_t) "text";
	run_once(&job);
	job_assert_output(&job, "0\n1\n2\n3\n");
	job_fini(&job);
	assert_int_equal(close(forgotten), 0);
}

/* glibc's sigaction() refuses the numbers it keeps for itself; a server may still have been started
 * with one of them ignored. */
static void ignore_internal_signal(bool is_ignored)
{
	unsigned long action[8] = {is_ignored ? (unsigned long)SIG_IGN : (unsigned long)SIG_DFL};

	assert_int_equal(syscall(SYS_rt_sigaction, __SIGRTMIN, action, NULL, NSIG / 8), 0);
}

static void test_signals_start_at_their_defaults(void **state)
{
	sigset_t some, before;
	struct job job;

	(void)sigemptyset(&some);
	(void)sigaddset(&some, SIGTERM);
	(void)sigaddset(&some, SIGUSR1);
	(void)sigprocmask(SIG_BLOCK, &some, &before);
	(void)signal(SIGHUP, SIG_IGN);
	ignore_internal_signal(true);
	job_argv(&job, ARGV("/bin/grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"));
	run_once(&job);
	ignore_internal_signal(false);
	(void)signal(SIGHUP, SIG_DFL);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	job_assert_output(&job, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
	job_fini(&job);
}

static void test_umask_group_and_folder(void **state)
{
	mode_t before = umask(077);
	struct job job;

	job_shell(&job, ARGV("umask; pwd; read pid name state parent group rest </proc/$$/stat; "
			     "[ $pid = $group ] && echo leader"));
	job.action.exec.cwd = (char *)(uintptr_t) "/usr";
	run_once(&job);
	(void)umask(before);
	job_assert_output(&job, "0022\n/usr\nleader\n");
	job_fini(&job);
}

/* In a process of its own: libraries take the numbers that become free, and libuv ends the process
 * when it meets them at the end of a loop. */
static _Noreturn void be_without_standard_descriptors(void)
{
	struct rig rig;
	struct job job, quiet;
	bool is_right;

	rig_init(&rig);
	for (int fd = 0; fd < 3; fd++)
		(void)close(fd);
	rig_open(&rig);
	job_argv(&job, ARGV("/bin/cat"));
	job.action.exec.stdin_text = (char *)(uintptr_t) "through\n";
	job_run(&rig, &job);
	job_argv(&quiet, ARGV("/bin/cat"));
	job_run(&rig, &quiet);
	is_right = job.result.outcome == ATTEMPT_SUCCEEDED &&
		   strcmp(job.result.output, "through\n") == 0 &&
		   quiet.result.outcome == ATTEMPT_SUCCEEDED;
	_exit(is_right ? 0 : 1);
}

static void test_server_started_without_standard_descriptors(void **state)
{
	pid_t helper = fork();
	int status;

	assert_true(helper >= 0);
	if (helper == 0)
		be_without_standard_descriptors();
	assert_int_equal(waitpid(helper, &status, 0), helper);
	assert_int_equal(status, 0);
}

/* Whether a write meets a reader that has just left is a race; the promise is not. */
static void test_sigpipe_is_ignored(void **state)
{
	struct sigaction action;
	struct rig rig;

	(void)signal(SIGPIPE, SIG_DFL);
	rig_init(&rig);
	rig_open(&rig);
	assert_int_equal(sigaction(SIGPIPE, NULL, &action), 0);
	assert_true(action.sa_handler == SIG_IGN);
	rig_close(&rig);
}

static void test_ignored_sigchld_does_not_lose_the_status(void **state)
{
	struct job job;

	(void)signal(SIGCHLD, SIG_IGN);
	job_shell(&job, ARGV("exit 5"));
	run_once(&job);
	job_assert(&job, ATTEMPT_FAILED, 5, "exit status 5");
	job_fini(&job);
}

static void test_another_user(void **state)
{
	struct rig rig;
	struct job job;

	if (geteuid() != 0)
		skip();
	assert_int_equal(setgroups(2, (gid_t[]){0, 4}), 0); /* not to be inherited */
	rig_init(&rig);
	rig.opts.exec_users = "root, nobody";
	rig_open(&rig);
	job_shell(&job, ARGV("id -un; id -gn; id -Gn; echo $USER $HOME; touch /etc/gathering-test "
			     "2>/dev/null && echo wrote"));
	job.action.exec.user = (char *)(uintptr_t) "nobody";
	job_run(&rig, &job);
	job_assert_output(&job, "nobody\nnogroup\nnogroup\nnobody /nonexistent\n");
	job_fini(&job);

	job_argv(&job, ARGV("/bin/grep", "CapEff", "/proc/self/status"));
	job.action.exec.user = (char *)(uintptr_t) "nobody";
	job_run(&rig, &job);
	job_assert_output(&job, "CapEff:\t0000000000000000\n");
	job_fini(&job);
	assert_int_equal(setgroups(1, (gid_t[]){0}), 0);
	rig_close(&rig);
}

/* --- being ended --- */

static void test_timeout_with_term_honoured(void **state)
{
	struct job job;

	job_argv(&job, ARGV("/bin/sleep", "1000"));
	job.action.timeout_ms = 150;
	run_once(&job);
	job_assert(&job, ATTEMPT_TIMED_OUT, 143, "timed out after 150ms; it ended upon TERM");
	job_fini(&job);
}

static void test_term_that_is_handled_may_exit_zero(void **state)
{
	struct rig rig;
	struct job job;

	rig_init(&rig);
	rig.opts.term_grace_ms = RIG_PATIENCE_MS;
	rig_open(&rig);
	job_shell(&job, ARGV("trap 'echo tidy; exit 0' TERM; echo ready; while :; do sleep 0.01; "
			     "done"));
	job_start(&rig, &job);
	job_wait_for_output(&rig, &job, "ready\n");
	assert_true(exec_end(rig.exec, &job.run.id, ATTEMPT_INTERRUPTED));
	rig_wait(&rig, &job.is_done);
	job_assert(&job, ATTEMPT_INTERRUPTED, 0, "interrupted by the server; it ended upon TERM");
	assert_non_null(strstr(job.result.output, "tidy\n"));
	job_fini(&job);
	rig_close(&rig);
}

static void test_term_ignored_is_followed_by_kill(void **state)
{
	struct rig rig;
	struct job job;
	pid_t inner;

	rig_init(&rig);
	rig_open(&rig);
	/* The inner one ignores TERM as well: the whole group must go. */
	job_shell(
		&job, ARGV("trap '' TERM; sh -c 'echo $$; while :; do sleep 1; done'; echo never"));
	job_start(&rig, &job);
	job_wait_for_output(&rig, &job, "\n");
	assert_true(exec_end(rig.exec, &job.run.id, ATTEMPT_CANCELLED));
	rig_wait(&rig, &job.is_done);
	job_assert(&job, ATTEMPT_CANCELLED, 137, "cancelled; killed");
	inner = read_pid(job.result.output);
	wait_until_dead(inner);
	job_fini(&job);
	rig_close(&rig);
}

static void test_a_stopped_program_is_ended_too(void **state)
{
	auto_free char *file = in_folder("stopped");
	auto_free char *text = xasprintf("echo $$ >%s; kill -STOP $$", file);
	struct rig rig;
	struct job job;

	rig_init(&rig);
	rig.opts.term_grace_ms = RIG_PATIENCE_MS;
	rig_open(&rig);
	job_shell(&job, ARGV(text));
	job_start(&rig, &job);
	wait_until_stopped(wait_for_pid_file(file));
	assert_true(exec_end(rig.exec, &job.run.id, ATTEMPT_CANCELLED));
	rig_wait(&rig, &job.is_done);
	job_assert(&job, ATTEMPT_CANCELLED, 143, "cancelled; it ended upon TERM");
	job_fini(&job);
	rig_close(&rig);
}

static void test_kill_all(void **state)
{
	struct rig rig;
	struct job jobs[3];

	rig_init(&rig);
	rig.opts.term_grace_ms = RIG_PATIENCE_MS;
	rig_open(&rig);
	for (size_t i = 0; i < COUNT_OF(jobs); i++) {
		job_shell(&jobs[i], ARGV("trap '' TERM; echo ready; while :; do sleep 1; done"));
		job_start(&rig, &jobs[i]);
	}
	for (size_t i = 0; i < COUNT_OF(jobs); i++)
		job_wait_for_output(&rig, &jobs[i], "ready");
	assert_true(exec_end(rig.exec, &jobs[0].run.id, ATTEMPT_CANCELLED));
	exec_kill_all(rig.exec);
	for (size_t i = 0; i < COUNT_OF(jobs); i++) {
		rig_wait(&rig, &jobs[i].is_done);
		job_assert(&jobs[i], i == 0 ? ATTEMPT_CANCELLED : ATTEMPT_INTERRUPTED, 137,
			i == 0 ? "cancelled; killed" : "interrupted by the server; killed");
		job_fini(&jobs[i]);
	}
	rig_close(&rig);
}

/* --- exec_end at awkward moments --- */

static void test_end_right_after_start(void **state)
{
	struct rig rig;
	struct job job;

	rig_init(&rig);
	rig_open(&rig);
	for (int i = 0; i < 20; i++) {
		job_argv(&job, ARGV("/bin/sleep", "1000"));
		job_start(&rig, &job);
		assert_true(exec_end(rig.exec, &job.run.id, ATTEMPT_CANCELLED));
		assert_true(exec_end(rig.exec, &job.run.id, ATTEMPT_INTERRUPTED));
		rig_wait(&rig, &job.is_done);
		assert_int_equal(job.result.outcome, ATTEMPT_CANCELLED);
		assert_int_equal(job.callbacks, 1);
		job_fini(&job);
	}
	rig_close(&rig);
}

/* The child is a zombie the loop has not heard of: its own result counts. */
static void test_end_after_it_has_ended_by_itself(void **state)
{
	siginfo_t info;
	struct rig rig;
	struct job job;

	rig_init(&rig);
	rig_open(&rig);
	job_argv(&job, ARGV("/bin/true"));
	job_start(&rig, &job);
	assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0);
	assert_true(exec_end(rig.exec, &job.run.id, ATTEMPT_CANCELLED));
	rig_wait(&rig, &job.is_done);
	job_assert(&job, ATTEMPT_SUCCEEDED, 0, NULL);
	assert_false(exec_end(rig.exec, &job.run.id, ATTEMPT_CANCELLED));
	job_fini(&job);
	rig_close(&rig);
}

static void test_cancel_outranks_an_interruption(void **state)
{
	struct rig rig;
	struct job job;

	rig_init(&rig);
	rig_open(&rig);
	job_argv(&job, ARGV("/bin/sleep", "1000"));
	job_start(&rig, &job);
	assert_int_equal(exec_end_all(rig.exec, ATTEMPT_INTERRUPTED), 1);
	assert_true(exec_end(rig.exec, &job.run.id, ATTEMPT_CANCELLED));
	rig_wait(&rig, &job.is_done);
	assert_int_equal(job.result.outcome, ATTEMPT_CANCELLED);
	job_fini(&job);
	rig_close(&rig);
}

static void test_end_of_what_failed_to_start(void **state)
{
	struct rig rig;
	struct job job;

	rig_init(&rig);
	rig_open(&rig);
	job_argv(&job, ARGV("no-such-program"));
	job_start(&rig, &job);
	assert_true(exec_end(rig.exec, &job.run.id, ATTEMPT_CANCELLED));
	exec_kill_all(rig.exec);
	rig_wait(&rig, &job.is_done);
	assert_int_equal(job.result.outcome, ATTEMPT_FAILED);
	job_fini(&job);
	rig_close(&rig);
}

/* --- leftovers --- */

static void test_a_daemon_in_the_group_is_gone(void **state)
{
	struct job job;

	job_shell(&job, ARGV("sleep 1000 & echo $!"));
	run_once(&job);
	job_assert(&job, ATTEMPT_SUCCEEDED, 0, NULL);
	wait_until_dead(read_pid(job.result.output));
	job_fini(&job);
}

/* It has left the group and holds the pipe: the result does not wait for it. */
static void test_a_daemon_that_escaped_does_not_hold_the_result(void **state)
{
	auto_free char *file = in_folder("escaped");
	auto_free char *text = xasprintf("setsid sh -c 'echo $$ >%s; exec sleep 1000' & while [ ! "
					 "-s %s ]; do sleep 0.01; done; echo done",
		file, file);
	struct job job;
	pid_t escaped;

	job_shell(&job, ARGV(text));
	run_once(&job);
	escaped = wait_for_pid_file(file);
	assert_true(is_alive(escaped));
	assert_int_equal(kill(escaped, SIGKILL), 0);
	job_assert(&job, ATTEMPT_SUCCEEDED, 0, NULL);
	job_assert_output(&job, "done\n");
	job_fini(&job);
}

/* The helper is a server with two programs; it is killed and can clean nothing up. */
static _Noreturn void be_killed(const char *first, const char *second)
{
	auto_free char *plain = xasprintf("echo $$ >%s; exec sleep 1000", first);
	auto_free char *nested =
		xasprintf("sh -c 'echo $$ >%s; while :; do sleep 1; done'; echo never", second);
	struct rig rig;
	struct job jobs[2];
	bool never = false;

	rig_init(&rig);
	rig_open(&rig);
	job_shell(&jobs[0], ARGV(plain));
	job_start(&rig, &jobs[0]);
	job_shell(&jobs[1], ARGV(nested));
	job_start(&rig, &jobs[1]);
	rig_wait(&rig, &never);
	abort();
}

static void test_programs_die_with_a_killed_server(void **state)
{
	auto_free char *first = in_folder("first"), *second = in_folder("second");
	pid_t helper = fork();
	pid_t leader, grandchild;

	assert_true(helper >= 0);
	if (helper == 0)
		be_killed(first, second);
	leader = wait_for_pid_file(first);
	grandchild = wait_for_pid_file(second); /* not the leader of its group */
	assert_true(is_alive(leader));
	assert_true(is_alive(grandchild));
	assert_int_equal(kill(helper, SIGKILL), 0);
	assert_int_equal(waitpid(helper, NULL, 0), helper);
	wait_until_dead(leader);
	wait_until_dead(grandchild);
}

/* --- the executor --- */

static void test_many_at_once(void **state)
{
	static struct job jobs[200];
	static char *argv[200][3];
	struct rig rig;

	rig_init(&rig);
	rig_open(&rig);
	for (int i = 0; i < 200; i++) {
		argv[i][0] = (char *)(uintptr_t) "/bin/echo";
		argv[i][1] = xasprintf("%d", i);
		job_argv(&jobs[i], argv[i]);
		job_start(&rig, &jobs[i]);
	}
	assert_int_equal(exec_in_flight(rig.exec), 200);
	for (int i = 0; i < 200; i++) {
		auto_free char *expected = xasprintf("%d\n", i);

		rig_wait(&rig, &jobs[i].is_done);
		job_assert(&jobs[i], ATTEMPT_SUCCEEDED, 0, NULL);
		job_assert_output(&jobs[i], expected);
		assert_int_equal(jobs[i].callbacks, 1);
		job_fini(&jobs[i]);
		free(argv[i][1]);
	}
	rig_close(&rig);
}

static struct rig *chain_rig;
static struct job chain[50];

static void start_next(struct job *job)
{
	if (job + 1 < chain + COUNT_OF(chain))
		exec_start(chain_rig->exec, &job[1].run, 4711, job_on_done, job + 1);
}

/* The slot is free again when the callback runs. */
static void test_one_slot_used_again_from_the_callback(void **state)
{
	char **argv = ARGV("/bin/true");
	struct rig rig;

	rig_init(&rig);
	rig.opts.max_running = 1;
	rig_open(&rig);
	chain_rig = &rig;
	for (size_t i = 0; i < COUNT_OF(chain); i++) {
		job_argv(&chain[i], argv);
		chain[i].when_done = start_next;
	}
	job_start(&rig, &chain[0]);
	rig_wait(&rig, &chain[COUNT_OF(chain) - 1].is_done);
	for (size_t i = 0; i < COUNT_OF(chain); i++) {
		job_assert(&chain[i], ATTEMPT_SUCCEEDED, 0, NULL);
		job_fini(&chain[i]);
	}
	rig_close(&rig);
}

static void test_slots_and_list(void **state)
{
	int slots[ACTION_KIND_COUNT];
	struct id ids[3];
	struct rig rig;
	struct job jobs[2];

	rig_init(&rig);
	rig.opts.max_running = 5;
	rig.opts.max_running_kind[ACTION_EXEC] = 2;
	rig.opts.max_running_kind[ACTION_HTTP] = 4;
	rig_open(&rig);
	exec_free_slots(rig.exec, slots);
	assert_int_equal(slots[ACTION_EXEC], 2);
	assert_int_equal(slots[ACTION_HTTP], 4);
	for (int i = 0; i < 2; i++) {
		job_argv(&jobs[i], ARGV("/bin/sleep", "1000"));
		job_start(&rig, &jobs[i]);
	}
	exec_free_slots(rig.exec, slots);
	assert_int_equal(slots[ACTION_EXEC], 0);
	assert_int_equal(slots[ACTION_HTTP], 3);
	assert_int_equal(exec_list(rig.exec, ids, 3), 2);
	assert_true(id_equal(&ids[0], &jobs[0].run.id));
	assert_true(id_equal(&ids[1], &jobs[1].run.id));
	assert_int_equal(exec_list(rig.exec, ids, 1), 1);
	assert_int_equal(exec_end_all(rig.exec, ATTEMPT_INTERRUPTED), 2);
	for (int i = 0; i < 2; i++) {
		rig_wait(&rig, &jobs[i].is_done);
		job_fini(&jobs[i]);
	}
	exec_free_slots(rig.exec, slots);
	assert_int_equal(slots[ACTION_EXEC], 2);
	rig_close(&rig);
}

/* --- */

static int make_folder(void **state)
{
	(void)snprintf(folder, sizeof(folder), "/tmp/test_exec_program.XXXXXX");
	return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
	static const char *const names[] = {
		"plain", "bare", "lost", "tool", "stopped", "escaped", "first", "second"};

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		auto_free char *path = in_folder(names[i]);

		(void)unlink(path);
	}
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_success),
		cmocka_unit_test(test_exit_status),
		cmocka_unit_test(test_ended_by_signal),
		cmocka_unit_test(test_exit_127_of_a_program_is_its_own),
		cmocka_unit_test(test_what_cannot_be_run_says_why),
		cmocka_unit_test(test_path_of_the_action_is_searched),
		cmocka_unit_test(test_no_descriptors_left_is_a_failed_result),
		cmocka_unit_test(test_long_output_keeps_beginning_and_end),
		cmocka_unit_test(test_binary_output),
		cmocka_unit_test(test_output_closed_early),
		cmocka_unit_test(test_output_so_far),
		cmocka_unit_test(test_input_arrives_whole),
		cmocka_unit_test(test_input_that_is_not_read_is_no_fault),
		cmocka_unit_test(test_no_input_is_an_empty_one),
		cmocka_unit_test(test_environment_is_exactly_as_specified),
		cmocka_unit_test(test_no_descriptor_is_inherited),
		cmocka_unit_test(test_signals_start_at_their_defaults),
		cmocka_unit_test(test_umask_group_and_folder),
		cmocka_unit_test(test_server_started_without_standard_descriptors),
		cmocka_unit_test(test_sigpipe_is_ignored),
		cmocka_unit_test(test_ignored_sigchld_does_not_lose_the_status),
		cmocka_unit_test(test_another_user),
		cmocka_unit_test(test_timeout_with_term_honoured),
		cmocka_unit_test(test_term_that_is_handled_may_exit_zero),
		cmocka_unit_test(test_term_ignored_is_followed_by_kill),
		cmocka_unit_test(test_a_stopped_program_is_ended_too),
		cmocka_unit_test(test_kill_all),
		cmocka_unit_test(test_end_right_after_start),
		cmocka_unit_test(test_end_after_it_has_ended_by_itself),
		cmocka_unit_test(test_cancel_outranks_an_interruption),
		cmocka_unit_test(test_end_of_what_failed_to_start),
		cmocka_unit_test(test_a_daemon_in_the_group_is_gone),
		cmocka_unit_test(test_a_daemon_that_escaped_does_not_hold_the_result),
		cmocka_unit_test(test_programs_die_with_a_killed_server),
		cmocka_unit_test(test_many_at_once),
		cmocka_unit_test(test_one_slot_used_again_from_the_callback),
		cmocka_unit_test(test_slots_and_list),
	};

	return cmocka_run_group_tests_name("exec_program", tests, make_folder, remove_folder);
}
