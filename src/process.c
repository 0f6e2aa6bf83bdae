/* SPDX-License-Identifier: Apache-2.0 */
#include "process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/prove.h"

#define DESCRIPTORS_MIN 64 /* some twenty are ours; with fewer not even the start is sure */

void process_open_standard_descriptors(void)
{
	int fd;

	while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO)
		;
	if (fd > STDERR_FILENO)
		(void)close(fd);
}

/* Reaps all there is; the exit status once `server` is among them, else -1. */
static int reap(pid_t server)
{
	int status, result = -1;
	pid_t pid;

	while ((pid = waitpid(RULE_IS_OFF(ORPHANS_REAPED) ? server : -1, &status, WNOHANG)) > 0)
		if (pid == server)
			result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return result;
}

static _Noreturn void be_init(pid_t server, const sigset_t *all)
{
	int result = -1;

	while (result < 0) {
		int number = sigwaitinfo(all, NULL);

		if (number == SIGCHLD)
			result = reap(server);
		else if (number > 0 && !RULE_IS_OFF(INIT_PASSES_SIGNALS))
			(void)kill(server, number);
	}
	_exit(result);
}

bool process_leave_init(void)
{
	sigset_t all, before;
	pid_t server;

	if (getpid() != 1)
		return false;
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	server = fork();
	if (server > 0)
		be_init(server, &all);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	if (server < 0)
		return false; /* then nobody reaps, but the server runs */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	return true;
}

void process_ignore_write_signals(void)
{
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	/* until signals.c takes them: one that comes too early must not end the server */
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGUSR1, SIG_IGN);
	(void)signal(SIGUSR2, SIG_IGN);
}

int process_raise_descriptor_limit(struct err *err)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	if (limit.rlim_max < DESCRIPTORS_MIN)
		return err_set(err, ERR_FULL,
			"only %llu file descriptors are allowed and %d are needed: raise the limit "
			"(ulimit -n, LimitNOFILE=)",
			(unsigned long long)limit.rlim_max, DESCRIPTORS_MIN);
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	return 0;
}
