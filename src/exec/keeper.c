/* SPDX-License-Identifier: Apache-2.0
 *
 * What ends the programs of a server that was killed. PR_SET_PDEATHSIG reaches the leader of a
 * program's process group only: of `sh -c "a; b"` it kills the shell and leaves `a`, which another
 * instance would then run a second time. So one small process per executor, forked while the server
 * is small, keeps the list of groups that are alive and sleeps on a socket whose other end the
 * server (and nobody else for longer than a fork) holds. When that end is gone, so is the server,
 * and it kills every group on its list.
 *
 * A child announces itself before it becomes the program, so no group can be missed; the server
 * withdraws it before it reaps the leader, so no number on the list can have been given to somebody
 * else. Sequenced packets: a record is whole or not there. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/prove.h"
#include "exec_priv.h"

/* A record is a group id; its negative withdraws it. False when it could not be sent. */
static bool tell(int fd, pid_t record)
{
	return send(fd, &record, sizeof(record), MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(record);
}

void keeper_announce(int fd, pid_t group)
{
	if (fd >= 0)
		(void)tell(fd, group);
}

bool keeper_withdraw(int fd, pid_t group)
{
	return fd < 0 || tell(fd, -group);
}

/* --- in the keeper; only async-signal-safe calls, as after any fork --- */

static void note(pid_t *groups, int groups_max, pid_t record)
{
	pid_t wanted = record < 0 ? -record : 0; /* 0: a free place */

	for (int i = 0; i < groups_max; i++) {
		if (groups[i] == wanted) {
			groups[i] = record > 0 ? record : 0;
			return;
		}
	}
}

static void leave_everything(int fd)
{
	sigset_t all;
	int null_fd = open("/dev/null", O_RDWR);

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, NULL);
	(void)setpgid(0, 0);
	(void)prctl(PR_SET_NAME, "gathering-keep");
	for (int std_fd = 0; null_fd >= 0 && std_fd <= 2; std_fd++)
		(void)dup2(null_fd, std_fd);
	if (fd > 3)
		(void)close_range(3, (unsigned)fd - 1, 0);
	(void)close_range((unsigned)fd + 1, ~0U, 0);
	(void)chdir("/");
}

static _Noreturn void keep(int fd, pid_t *groups, int groups_max)
{
	pid_t record;
	ssize_t got;

	leave_everything(fd);
	do {
		got = recv(fd, &record, sizeof(record), 0);
		if (got == sizeof(record))
			note(groups, groups_max, record);
	} while (got > 0 || (got < 0 && errno == EINTR));
	for (int i = 0; i < groups_max; i++) {
		if (groups[i] > 0 && !RULE_IS_OFF(PROGRAMS_DIE_WITH_US))
			(void)kill(-groups[i], SIGKILL);
	}
	_exit(0);
}

/* --- in the server --- */

int keeper_start(int groups_max, struct keeper *ret_keeper, struct err *err)
{
	auto_free pid_t *groups = xcalloc((size_t)groups_max, sizeof(*groups));
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return err_set(err, ERR_IO, "cannot make the keeper's socket: %s", strerror(errno));
	pid = child_lift_fd(&pair[0]) && child_lift_fd(&pair[1]) ? fork() : -1;
	if (pid == 0) {
		(void)close(pair[0]);
		keep(pair[1], groups, groups_max);
	}
	(void)close(pair[1]);
	if (pid < 0) {
		int error = errno;

		(void)close(pair[0]);
		return err_set(
			err, ERR_IO, "cannot fork the keeper of programs: %s", strerror(error));
	}
	*ret_keeper = (struct keeper){.pid = pid, .fd = pair[0]};
	return 0;
}

void keeper_stop(struct keeper *keeper)
{
	if (keeper->pid == 0)
		return;
	(void)kill(keeper->pid, SIGKILL);
	(void)close(keeper->fd);
	while (waitpid(keeper->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	*keeper = (struct keeper){.fd = -1};
}
