/* SPDX-License-Identifier: Apache-2.0
 *
 * One new process: fork, become somebody else if asked, exec; and its end, as a descriptor.
 *
 * Why not uv_spawn: it cannot set a death signal, initgroups, or a process group of its own,
 * installs a SIGCHLD handler, and reports a failed exec without saying what failed. Between fork
 * and exec the child calls only what signal-safety(7) lists, and raw system calls for the user
 * switch (glibc's wrappers speak to threads that do not exist there). All signals are blocked
 * across fork, so that no handler of the server runs in the child and writes into the server's own
 * pipes.
 *
 * A failure on the way to exec travels through a CLOEXEC pipe as {stage, errno}; the loop reads it
 * when the child has exited, so nobody ever waits for a child that hangs in chdir on a dead file
 * server. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/prove.h"
#include "exec_priv.h"

#define CHILD_UMASK       022
#define CHILD_FAILED_EXIT 127

struct pipe {
	int read_fd, write_fd;
};

struct pipes {
	struct pipe input, output, status;
};

/* --- pipes --- */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

static void close_pipes(struct pipes *pipes)
{
	close_fd(&pipes->input.read_fd);
	close_fd(&pipes->input.write_fd);
	close_fd(&pipes->output.read_fd);
	close_fd(&pipes->output.write_fd);
	close_fd(&pipes->status.read_fd);
	close_fd(&pipes->status.write_fd);
}

bool child_lift_fd(int *fd)
{
	int lifted;

	if (*fd > STDERR_FILENO)
		return true;
	lifted = fcntl(*fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (lifted < 0)
		return false;
	(void)close(*fd);
	*fd = lifted;
	return true;
}

static bool open_pipe(struct pipe *pipe)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) != 0)
		return false;
	*pipe = (struct pipe){fds[0], fds[1]};
	return child_lift_fd(&pipe->read_fd) && child_lift_fd(&pipe->write_fd);
}

/* Ours alone: what the program sees as its 0, 1 and 2 stays blocking. */
static bool make_nonblocking(int fd)
{
	return fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK | fcntl(fd, F_GETFL)) == 0;
}

static bool open_pipes(struct pipes *pipes, bool has_stdin)
{
	*pipes = (struct pipes){{-1, -1}, {-1, -1}, {-1, -1}};
	return (!has_stdin || open_pipe(&pipes->input)) && open_pipe(&pipes->output) &&
	       open_pipe(&pipes->status) && make_nonblocking(pipes->input.write_fd) &&
	       make_nonblocking(pipes->output.read_fd) && make_nonblocking(pipes->status.read_fd);
}

/* --- in the child --- */

static _Noreturn void fail(int status_fd, enum child_stage stage)
{
	struct child_failure failure = {stage, errno};
	ssize_t ignored = write(status_fd, &failure, sizeof(failure));

	(void)ignored; /* then the exit status alone tells */
	_exit(CHILD_FAILED_EXIT);
}

/* What the kernel reads as SIG_DFL, no flags and an empty mask, whatever the machine. */
static const unsigned long default_action[8];

/* An ignored signal stays ignored across exec, and SIGPIPE is ignored here. Not sigaction(): it
 * refuses the numbers glibc keeps for itself, which whoever started the server may have ignored
 * (musl's posix_spawn does). SIGKILL and SIGSTOP refuse, and are at their defaults. */
static void reset_signals(void)
{
	for (int signo = 1; signo < NSIG; signo++)
		(void)syscall(SYS_rt_sigaction, signo, default_action, NULL, NSIG / 8);
}

static void become(const struct account *account, int status_fd)
{
	if (syscall(SYS_setgroups, (size_t)account->group_count, account->groups) != 0 ||
		syscall(SYS_setresgid, account->gid, account->gid, account->gid) != 0 ||
		syscall(SYS_setresuid, account->uid, account->uid, account->uid) != 0)
		fail(status_fd, CHILD_USER);
}

/* After the user switch, which clears it. The parent may have died before: then the signal will
 * never come. */
static void die_with(pid_t parent)
{
	if (!RULE_IS_OFF(PROGRAMS_DIE_WITH_US))
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(CHILD_FAILED_EXIT);
}

/* Never above what the server itself has been given. The kernel's signal comes at the soft limit,
 * its KILL at the hard one: `between` them. */
static void set_limit(int resource, int64_t value, rlim_t between, int status_fd)
{
	struct rlimit limit;

	if (value == 0)
		return;
	if (syscall(SYS_prlimit64, 0, resource, NULL, &limit) != 0)
		fail(status_fd, CHILD_LIMITS);
	if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max > (rlim_t)value + between)
		limit.rlim_max = (rlim_t)value + between;
	limit.rlim_cur = limit.rlim_max > (rlim_t)value ? (rlim_t)value : limit.rlim_max;
	if (syscall(SYS_prlimit64, 0, resource, &limit, NULL) != 0)
		fail(status_fd, CHILD_LIMITS);
}

static void set_limits(const struct exec_limits *limits, int status_fd)
{
	set_limit(RLIMIT_CPU, (limits->cpu_ms + 999) / 1000, 1, status_fd);
	set_limit(RLIMIT_FSIZE, limits->file_size, 0, status_fd);
	set_limit(RLIMIT_NPROC, limits->processes, 0, status_fd);
	if (limits->nice != 0 && syscall(SYS_setpriority, PRIO_PROCESS, 0, limits->nice) != 0)
		fail(status_fd, CHILD_LIMITS);
	set_limit(RLIMIT_NOFILE, limits->files, 0, status_fd);
	set_limit(
		RLIMIT_AS, limits->memory, 0, status_fd); /* last: from here on nothing may grow */
}

static _Noreturn void child_main(
	const struct child_spec *spec, const struct pipes *pipes, pid_t parent)
{
	int status_fd = pipes->status.write_fd;
	sigset_t none;

	(void)setpgid(0, 0);
	keeper_announce(spec->keeper_fd, getpid());
	reset_signals();
	if (dup2(spec->has_stdin ? pipes->input.read_fd : spec->null_fd, STDIN_FILENO) < 0 ||
		dup2(pipes->output.write_fd, STDOUT_FILENO) < 0 ||
		dup2(pipes->output.write_fd, STDERR_FILENO) < 0)
		fail(status_fd, CHILD_STDIO);
	/* Everything of ours is CLOEXEC from birth; this is for what a library forgot. An old
	 * kernel without it is no reason to refuse. */
	(void)close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
	(void)umask(CHILD_UMASK);
	if (spec->account != NULL)
		become(spec->account, status_fd);
	if (spec->cwd != NULL && chdir(spec->cwd) != 0)
		fail(status_fd, CHILD_CWD);
	die_with(parent);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	set_limits(spec->limits, status_fd);
	(void)execve(spec->path, spec->argv, spec->env);
	fail(status_fd, CHILD_EXEC);
}

/* --- in the server --- */

static int start_error(const struct child_spec *spec, int error, struct err *err)
{
	const char *hint = "";

	if (error == EMFILE || error == ENFILE)
		hint = "; raise the limit of open files (LimitNOFILE) or lower max_running_exec";
	else if (error == EAGAIN)
		hint = "; raise the limit of processes (TasksMax, ulimit -u) or lower "
		       "max_running_exec";
	else if (error == ENOMEM)
		hint = "; the machine is short of memory";
	return err_set(err, ERR_IO, "cannot start %s: %s%s", spec->path, strerror(error), hint);
}

static pid_t fork_quietly(const struct child_spec *spec, const struct pipes *pipes)
{
	pid_t parent = getpid();
	sigset_t all, before;
	pid_t pid;
	int error;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		child_main(spec, pipes, parent);
	error = errno;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = error;
	return pid;
}

int child_start(const struct child_spec *spec, struct child *ret_child, struct err *err)
{
	struct pipes pipes;
	struct child child;
	int error;

	if (!open_pipes(&pipes, spec->has_stdin))
		goto fail;
	child.pid = fork_quietly(spec, &pipes);
	if (child.pid < 0)
		goto fail;
	(void)setpgid(child.pid, child.pid); /* in both: whoever is first; too late is fine */
	child.stdin_fd = take_fd(&pipes.input.write_fd);
	child.output_fd = take_fd(&pipes.output.read_fd);
	child.status_fd = take_fd(&pipes.status.read_fd);
	close_pipes(&pipes); /* the child's ends; so there is room for one more descriptor */
	child.pidfd = (int)syscall(SYS_pidfd_open, child.pid, 0);
	if (child.pidfd < 0) {
		error = errno;
		child_discard(&child);
		close_fd(&child.stdin_fd);
		close_fd(&child.output_fd);
		close_fd(&child.status_fd);
		return start_error(spec, error, err);
	}
	*ret_child = child;
	return 0;
fail:
	error = errno;
	close_pipes(&pipes);
	return start_error(spec, error, err);
}

void child_signal(const struct child *child, int signo)
{
	(void)kill(RULE_IS_OFF(GROUP_SIGNALLED) ? child->pid : -child->pid, signo);
}

bool child_has_exited(const struct child *child)
{
	siginfo_t info = {0};

	/* An error means that there is nothing left to wait for. */
	return waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
	       info.si_pid != 0;
}

bool child_reap(const struct child *child, siginfo_t *ret_info)
{
	siginfo_t info = {0};

	if (waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0)
		return false;
	*ret_info = info;
	return true;
}

bool child_failed(const struct child *child, struct child_failure *ret_failure)
{
	struct child_failure failure;

	if (read(child->status_fd, &failure, sizeof(failure)) != sizeof(failure))
		return false;
	*ret_failure = failure;
	return true;
}

void child_discard(const struct child *child)
{
	child_signal(child, SIGKILL);
	while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
}
