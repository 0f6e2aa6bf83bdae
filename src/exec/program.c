/* SPDX-License-Identifier: Apache-2.0
 *
 * One exec attempt. The child's end is a pidfd in the loop: no SIGCHLD handler, and no wait that
 * could take somebody else's child.
 *
 *   LOOKING_UP (another user) --(deadline, exec_end)--> attempt_finish, unbegun
 *      v
 *   RUNNING --(deadline, exec_end)--> ENDING: TERM --(term_grace)--> KILLED: KILL
 *      |                                 |                              |     |
 *      +------------ exited -------------+------------ exited ----------+     |
 *      |                                                         (KILL_WAIT): given up
 *      v                                                                      |
 *   LINGERING ---------------------------> attempt_finish <-------------------+
 *
 * Signals go to the whole group. LINGERING kills what is left of it and reads the output to its
 * end, at most for OUTPUT_LINGER_MS: a daemon that left the group may hold it open for ever. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/metric.h"
#include "exec_priv.h"

#define LOOKS_UP_USER "looking up its user"

enum program_state {
	PROGRAM_NEW,
	PROGRAM_LOOKING_UP,
	PROGRAM_RUNNING,
	PROGRAM_ENDING,
	PROGRAM_KILLED,
	PROGRAM_LINGERING
};

/* A descriptor and the handle that watches it; closed together. */
struct watch {
	uv_poll_t poll;
	int fd; /* -1: none, or closed */
	bool is_polled;
};

struct program {
	struct attempt attempt;
	enum program_state state;
	struct child child; /* its descriptors pass to the watches, but status_fd */
	char *path;         /* owned */
	struct watch exit, input, output;
	size_t input_sent, input_len;
	bool was_fenced; /* by the keeper */
	struct folder folder;
	struct account_wait account;
	int64_t finish_by_ms; /* NO_TIME: not told yet */
};

static struct program *program_of(const struct attempt *attempt)
{
	return container_of(attempt, struct program, attempt);
}

static struct attempt *program_create(void)
{
	struct program *program = xcalloc(1, sizeof(*program));

	program->child.status_fd = -1;
	program->finish_by_ms = NO_TIME;
	program->exit.fd = program->input.fd = program->output.fd = -1;
	return &program->attempt;
}

static void program_destroy(struct attempt *attempt)
{
	struct program *program = program_of(attempt);

	free(program->path);
	free(program);
}

/* --- watched descriptors --- */

/* True too when there is nothing to watch. */
static bool watch_start(
	struct program *program, struct watch *watch, int events, uv_poll_cb on_event)
{
	if (watch->fd < 0)
		return true;
	if (uv_poll_init(program->attempt.exec->opts.loop, &watch->poll, watch->fd) != 0)
		return false;
	watch->is_polled = true;
	attempt_own_handle(&program->attempt, (uv_handle_t *)&watch->poll);
	return uv_poll_start(&watch->poll, events, on_event) == 0;
}

static void watch_close(struct program *program, struct watch *watch)
{
	if (watch->fd < 0)
		return;
	if (watch->is_polled)
		attempt_close_handle(&program->attempt, (uv_handle_t *)&watch->poll);
	(void)close(watch->fd);
	watch->fd = -1;
}

static void program_finish(struct program *program)
{
	watch_close(program, &program->exit);
	watch_close(program, &program->input);
	watch_close(program, &program->output);
	if (program->child.status_fd >= 0)
		(void)close(program->child.status_fd);
	notes_close(&program->attempt, &program->folder);
	attempt_finish(&program->attempt);
}

/* --- input and output --- */

static void on_input(uv_poll_t *poll, int status, int events)
{
	struct program *program = program_of(poll->data);
	const char *text = program->attempt.target.exec.stdin_text;

	while (status == 0 && program->input_sent < program->input_len) {
		ssize_t sent = write(program->input.fd, text + program->input_sent,
			program->input_len - program->input_sent);

		if (sent > 0)
			program->input_sent += (size_t)sent;
		else if (sent < 0 && errno == EAGAIN)
			return;
		else if (sent == 0 || errno != EINTR)
			break; /* it does not want to read all: its right, as with any pipe */
	}
	watch_close(program, &program->input);
}

/* Reads what is there, a bounded amount a turn. Closes the watch at the end of the stream. */
static void read_output(struct program *program)
{
	char *chunk = program->attempt.exec->chunk;

	for (int reads = 0; reads < OUTPUT_READS && program->output.fd >= 0; reads++) {
		ssize_t got = read(program->output.fd, chunk, OUTPUT_CHUNK);

		if (got > 0)
			attempt_write(&program->attempt, chunk, (size_t)got);
		else if (got < 0 && errno == EAGAIN)
			return;
		else if (got == 0 || errno != EINTR)
			watch_close(program, &program->output);
	}
}

static void on_output(uv_poll_t *poll, int status, int events)
{
	struct program *program = program_of(poll->data);

	read_output(program);
	if (status != 0)
		watch_close(program, &program->output);
	if (program->state == PROGRAM_LINGERING && program->output.fd < 0)
		program_finish(program);
}

/* --- results --- */

/* exec's ENOENT for a file that is there means the program it names in its first line. */
static void set_failure(struct program *program, const struct child_failure *failure)
{
	const struct exec_target *target = &program->attempt.target.exec;
	const char *why = strerror(failure->error);
	const char *hint = "";

	switch (failure->stage) {
	case CHILD_STDIO:
		attempt_set_error(&program->attempt, "cannot connect input and output of %s: %s",
			program->path, why);
		return;
	case CHILD_USER:
		attempt_set_error(&program->attempt, "cannot become user '%s': %s%s", target->user,
			why, failure->error == EPERM ? " (the server must run as root)" : "");
		return;
	case CHILD_CWD:
		attempt_set_error(
			&program->attempt, "cannot change to folder %s: %s", target->cwd, why);
		return;
	case CHILD_LIMITS:
		attempt_set_error(
			&program->attempt, "cannot set the limits of %s: %s", program->path, why);
		return;
	case CHILD_EXEC:
		if (failure->error == ENOENT && access(program->path, F_OK) == 0)
			hint = " (the file is there; the interpreter it names is not)";
		else if (failure->error == EACCES && access(program->path, X_OK) != 0)
			hint = " (is it executable? chmod +x)";
		else if (failure->error == ENOEXEC)
			hint = " (a script must begin with #! and its interpreter)";
		attempt_set_error(
			&program->attempt, "cannot run %s: %s%s", program->path, why, hint);
		return;
	}
	must_fail("a stage that child.c knows", __FILE__, __LINE__);
}

/* A hard limit of processor time ends with KILL where TERM's kin is ignored. */
static const char *limit_hint(int signo, const struct exec_limits *limits)
{
	if (limits->cpu_ms > 0 && (signo == SIGXCPU || signo == SIGKILL))
		return "; limits.cpu may be the cause";
	return limits->file_size > 0 && signo == SIGXFSZ ? "; limits.file_size is the cause" : "";
}

static void set_exit(struct program *program, const siginfo_t *info)
{
	struct attempt *attempt = &program->attempt;
	bool by_signal = info->si_code != CLD_EXITED;
	char text[ENDING_TEXT_SIZE];

	attempt->result.exit_code = by_signal ? 128 + info->si_status : info->si_status;
	if (attempt->ending == ATTEMPT_SUCCEEDED && program->was_fenced) {
		attempt->result.outcome = ATTEMPT_INTERRUPTED;
		attempt_set_error(attempt, "ended before its lease was over: the server had stood "
					   "still and could not extend it");
	} else if (attempt->ending != ATTEMPT_SUCCEEDED) {
		attempt->result.outcome = attempt->ending;
		attempt_set_error(attempt, "%s; %s", attempt_ending_text(attempt, text),
			program->state == PROGRAM_KILLED ? "killed" : "it ended upon TERM");
	} else if (by_signal) {
		const char *name = sigdescr_np(info->si_status);

		attempt_set_error(attempt, "ended by signal %d (%s)%s%s", info->si_status,
			name != NULL ? name : "real-time signal",
			info->si_code == CLD_DUMPED ? ", core dumped" : "",
			limit_hint(info->si_status, &attempt->target.exec.limits));
	} else if (info->si_status != 0) {
		attempt_set_error(attempt, "exit status %d", info->si_status);
	} else {
		attempt->result.outcome = ATTEMPT_SUCCEEDED;
	}
}

/* The child never became the program: the number it exited with means nothing. */
static void set_result(struct program *program, const siginfo_t *info)
{
	struct child_failure failure;

	if (info == NULL)
		attempt_set_error(&program->attempt,
			"%s ended, but its exit status was taken by somebody else", program->path);
	else if (child_failed(&program->child, &failure))
		set_failure(program, &failure);
	else
		set_exit(program, info);
}

/* --- the end --- */

static void on_lingered(uv_timer_t *timer)
{
	program_finish(program_of(timer->data));
}

static void on_child_exit(uv_poll_t *poll, int status, int events)
{
	struct program *program = program_of(poll->data);
	struct keeper *keeper = &program->attempt.exec->keeper;
	siginfo_t info;
	bool is_known;

	if (!child_has_exited(&program->child))
		return;
	/* While the leader is unreaped its number cannot belong to anybody else. */
	child_signal(&program->child, SIGKILL);
	program->was_fenced = keeper_has_ended(keeper, program->child.pid);
	keeper_withdraw(keeper, program->child.pid);
	is_known = child_reap(&program->child, &info);
	set_result(program, is_known ? &info : NULL);
	program->state = PROGRAM_LINGERING;
	watch_close(program, &program->exit);
	watch_close(program, &program->input);
	read_output(program);
	if (program->output.fd >= 0)
		attempt_arm(&program->attempt, OUTPUT_LINGER_MS, on_lingered);
	else
		program_finish(program);
}

static void on_unkillable(uv_timer_t *timer)
{
	struct program *program = program_of(timer->data);

	program->attempt.result.outcome = program->attempt.ending;
	attempt_set_error(&program->attempt,
		"process %d did not end within %d s after KILL and was given up; it may still be "
		"there (stuck in the kernel, or running as another user)",
		(int)program->child.pid, KILL_WAIT_MS / 1000);
	program_finish(program);
}

static void end_look_up(struct program *program)
{
	accounts_give_up(&program->account);
	attempt_end_unbegun(&program->attempt, LOOKS_UP_USER);
	program_finish(program);
}

static void program_kill(struct attempt *attempt)
{
	struct program *program = program_of(attempt);

	if (program->state == PROGRAM_LOOKING_UP) {
		end_look_up(program);
		return;
	}
	if (program->state == PROGRAM_LINGERING) {
		program_finish(program);
		return;
	}
	child_signal(&program->child, SIGKILL);
	if (program->state != PROGRAM_KILLED) {
		metrics.runs_killed++;
		attempt_arm(attempt, KILL_WAIT_MS, on_unkillable);
	}
	program->state = PROGRAM_KILLED;
}

static void on_grace_over(uv_timer_t *timer)
{
	program_kill(timer->data);
}

/* A stopped process would not see TERM, hence CONT. */
static void program_end(struct attempt *attempt)
{
	struct program *program = program_of(attempt);
	struct keeper *keeper = &attempt->exec->keeper;

	if (program->state == PROGRAM_LOOKING_UP) {
		end_look_up(program);
		return;
	}
	program->state = PROGRAM_ENDING;
	if (!keeper_has_ended(keeper, program->child.pid))
		child_signal(&program->child, SIGTERM);
	child_signal(&program->child, SIGCONT);
	keeper_note_ending(keeper, program->child.pid);
	attempt_arm(attempt, attempt->exec->opts.term_grace_ms, on_grace_over);
}

static void program_finish_by(struct attempt *attempt, int64_t at_ms)
{
	struct program *program = program_of(attempt);

	program->finish_by_ms = at_ms;
	if (program->state != PROGRAM_LOOKING_UP)
		folder_finish_by(&program->folder, at_ms);
}

static bool program_has_ended(const struct attempt *attempt)
{
	const struct program *program = program_of(attempt);

	return program->state == PROGRAM_LINGERING ||
	       (program->state != PROGRAM_LOOKING_UP && child_has_exited(&program->child));
}

/* --- the beginning --- */

/* From here on the descriptors are the watches'. */
static bool watch_child(struct program *program)
{
	program->exit.fd = program->child.pidfd;
	program->output.fd = program->child.output_fd;
	program->input.fd = program->child.stdin_fd;
	return watch_start(program, &program->exit, UV_READABLE, on_child_exit) &&
	       watch_start(program, &program->output, UV_READABLE, on_output) &&
	       watch_start(program, &program->input, UV_WRITABLE, on_input);
}

static int launch(
	struct program *program, const struct account *account, bool becomes, struct err *err)
{
	const struct attempt *attempt = &program->attempt;
	const struct exec_target *target = &attempt->target.exec;
	char *const shell_argv[] = {"sh", "-c", target->command[0], NULL};
	char **env = env_create(attempt->run, target, account, program->folder.path);
	const struct child_spec spec = {
		.path = program->path,
		.argv = target->use_shell ? shell_argv : target->command,
		.env = env,
		.cwd = target->cwd,
		.account = becomes ? account : NULL,
		.has_stdin = target->stdin_text != NULL,
		.null_fd = attempt->exec->null_fd,
		.limits = &target->limits,
		.keeper_fd = attempt->exec->keeper.fd,
	};
	int code = child_start(&spec, &program->child, err);

	env_free(env);
	return code;
}

/* What it may read is there before it begins. */
static int open_notes(struct program *program, const struct account *as, struct err *err)
{
	if (notes_open(&program->attempt, as, &program->folder, err) != 0)
		return err->code;
	if (program->finish_by_ms != NO_TIME)
		folder_finish_by(&program->folder, program->finish_by_ms);
	return 0;
}

/* `account`: of the other user it becomes; NULL: it stays ours. */
static void start_as(struct program *program, const struct account *account)
{
	struct attempt *attempt = &program->attempt;
	const struct account *as = account != NULL ? account : &attempt->exec->own;
	struct err err = {0};

	if (open_notes(program, as, &err) != 0 || launch(program, as, account != NULL, &err) != 0) {
		attempt_set_error(attempt, "%s", err.text);
		program_finish(program);
		return;
	}
	program->state = PROGRAM_RUNNING;
	program->input_len = attempt->target.exec.stdin_text != NULL
				     ? strlen(attempt->target.exec.stdin_text)
				     : 0;
	if (watch_child(program))
		return;
	attempt_set_error(attempt, "cannot watch %s: the event loop takes no more descriptors",
		program->path);
	child_signal(&program->child, SIGKILL);
	keeper_withdraw(&attempt->exec->keeper, program->child.pid);
	child_discard(&program->child);
	program_finish(program);
}

static void on_account(
	struct account_wait *wait, const struct account *account, const struct err *err)
{
	struct program *program = container_of(wait, struct program, account);

	program->state = PROGRAM_NEW;
	if (account == NULL)
		attempt_set_error(&program->attempt, "%s", err->text);
	if (account == NULL || attempt_is_too_late(&program->attempt, LOOKS_UP_USER))
		program_finish(program);
	else
		start_as(program, account);
}

static void look_up_user(struct program *program)
{
	program->state = PROGRAM_LOOKING_UP;
	program->account = (struct account_wait){
		.name = program->attempt.target.exec.user, .done = on_account};
	accounts_find(program->attempt.exec->accounts, &program->account);
}

static void program_start(struct attempt *attempt)
{
	struct program *program = program_of(attempt);
	const struct exec *exec = attempt->exec;
	const struct exec_target *target = &attempt->target.exec;
	struct err err = {0};

	if (program_check_user(exec, target, &err) != 0 ||
		program_find(exec, target, &program->path, &err) != 0) {
		attempt_set_error(attempt, "%s", err.text);
		program_finish(program);
	} else if (target->user != NULL && strcmp(target->user, exec->own.name) != 0) {
		look_up_user(program);
	} else {
		start_as(program, NULL);
	}
}

const struct exec_kind program_kind = {
	.create = program_create,
	.destroy = program_destroy,
	.start = program_start,
	.has_ended = program_has_ended,
	.end = program_end,
	.kill = program_kill,
	.check = program_check,
	.finish_by = program_finish_by,
};
