/* SPDX-License-Identifier: Apache-2.0
 *
 * What ends the programs of a server that was killed, or that stands still. PR_SET_PDEATHSIG
 * reaches the leader of a program's process group only: of `sh -c "a; b"` it kills the shell and
 * leaves `a`, which another instance would then run a second time. So one small process per
 * executor, forked while the server is small, keeps the list of groups that are alive and sleeps on
 * a socket whose other end the server (and nobody else for longer than a fork) holds. When that end
 * is gone, so is the server, and it kills every group on its list.
 *
 * A server that others share the store with has a lease. One that cannot extend it ends its own
 * programs; one that is stopped (SIGSTOP, a debugger, a machine out of memory) cannot even do that.
 * So it tells the keeper with each extension how long it is good for, and when that is nearly over
 * the keeper sends TERM, then KILL, and says which programs it ended, so that the server, should it
 * wake, does not take that for a result. The end is a moment of CLOCK_BOOTTIME, which goes on while
 * the machine sleeps, as the database's clock does.
 *
 * A child announces itself before it becomes the program, so no group can be missed; the server
 * withdraws it before it reaps the leader, so no number on the list can have been given to somebody
 * else. Sequenced packets: a record is whole or not there, and they come in order: a program that
 * was started after an extension is never ended by what was before. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/prove.h"
#include "exec_priv.h"

enum news {
	GROUP_STARTED,
	GROUP_ENDING, /* it has got its TERM */
	GROUP_REAPED,
	LEASE_EXTENDED
};

struct record {
	enum news news;
	pid_t group;           /* GROUP_ */
	int64_t until_boot_ms; /* LEASE_ */
};

/* False when it could not be sent. */
static bool tell(int fd, struct record record)
{
	return send(fd, &record, sizeof(record), MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(record);
}

void keeper_announce(int fd, pid_t group)
{
	if (fd >= 0)
		(void)tell(fd, (struct record){.news = GROUP_STARTED, .group = group});
}

/* --- in the keeper; only async-signal-safe calls, as after any fork --- */

struct group {
	pid_t leader; /* 0: a free place */
	bool was_told;
};

struct wards {
	int fd, timer_fd;
	int64_t until_boot_ms; /* of the lease; 0: there is none */
	struct group *groups;
	pid_t *ended; /* for one message to the server; as many places as groups */
	int groups_max;
};

static void note_group(struct wards *wards, const struct record *record)
{
	pid_t wanted = record->news == GROUP_STARTED ? 0 : record->group;

	for (int i = 0; i < wards->groups_max; i++) {
		struct group *group = &wards->groups[i];

		if (group->leader != wanted)
			continue;
		group->leader = record->news == GROUP_REAPED ? 0 : record->group;
		group->was_told = record->news == GROUP_ENDING;
		return;
	}
}

/* All that has been said. False: the server is gone. */
static bool hear(struct wards *wards)
{
	struct record record;

	for (;;) {
		ssize_t got = recv(wards->fd, &record, sizeof(record), MSG_DONTWAIT);

		if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
			return false;
		if (got < 0 && errno == EAGAIN)
			return true;
		if (got != sizeof(record))
			continue;
		if (record.news == LEASE_EXTENDED)
			wards->until_boot_ms = record.until_boot_ms;
		else
			note_group(wards, &record);
	}
}

/* One that has exited keeps its own result, although the server has not heard of it yet. */
static bool leader_runs(pid_t leader)
{
	struct pollfd exited = {.fd = (int)syscall(SYS_pidfd_open, leader, 0), .events = POLLIN};
	bool runs = exited.fd >= 0 && poll(&exited, 1, 0) == 0;

	if (exited.fd >= 0)
		(void)close(exited.fd);
	return runs;
}

static void signal_groups(const struct wards *wards, int signo)
{
	for (int i = 0; i < wards->groups_max; i++) {
		if (wards->groups[i].leader > 0)
			(void)kill(-wards->groups[i].leader, signo);
	}
}

/* The message first: whoever sees a program gone can know why. */
static void end_politely(struct wards *wards)
{
	int count = 0;

	for (int i = 0; i < wards->groups_max; i++) {
		const struct group *group = &wards->groups[i];

		if (group->leader > 0 && !group->was_told && leader_runs(group->leader))
			wards->ended[count++] = group->leader;
	}
	if (count > 0)
		(void)send(wards->fd, wards->ended, (size_t)count * sizeof(*wards->ended),
			MSG_NOSIGNAL | MSG_DONTWAIT);
	for (int i = 0; i < wards->groups_max; i++) {
		struct group *group = &wards->groups[i];

		if (group->leader == 0 || group->was_told)
			continue;
		group->was_told = true;
		(void)kill(-group->leader, SIGTERM);
		(void)kill(-group->leader, SIGCONT); /* a stopped one would not see it */
	}
}

static void arm(const struct wards *wards, int64_t after_ms)
{
	struct itimerspec spec = {
		.it_value = {.tv_sec = after_ms / 1000, .tv_nsec = after_ms % 1000 * 1000000}};

	(void)timerfd_settime(wards->timer_fd, 0, &spec, NULL);
}

static void mind_lease(struct wards *wards)
{
	int64_t term_at = wards->until_boot_ms - KEEPER_TERM_MS;
	int64_t kill_at = wards->until_boot_ms - KEEPER_KILL_MS;
	int64_t now;

	if (wards->until_boot_ms == 0 || RULE_IS_OFF(FENCED))
		return;
	now = clock_boot_ms();
	if (now >= term_at)
		end_politely(wards);
	if (now >= kill_at)
		signal_groups(wards, SIGKILL);
	arm(wards, now < term_at ? term_at - now : now < kill_at ? kill_at - now : 0);
}

static void close_all_but(int fd, int other_fd)
{
	int low = fd < other_fd ? fd : other_fd, high = fd < other_fd ? other_fd : fd;

	if (low > 3)
		(void)close_range(3, (unsigned)low - 1, 0);
	if (high > low + 1)
		(void)close_range((unsigned)low + 1, (unsigned)high - 1, 0);
	(void)close_range((unsigned)high + 1, ~0U, 0);
}

static void leave_everything(const struct wards *wards)
{
	sigset_t all;
	int null_fd = open("/dev/null", O_RDWR);

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, NULL);
	(void)setpgid(0, 0);
	(void)prctl(PR_SET_NAME, "gathering-keep");
	for (int std_fd = 0; null_fd >= 0 && std_fd <= 2; std_fd++)
		(void)dup2(null_fd, std_fd);
	close_all_but(wards->fd, wards->timer_fd);
	(void)chdir("/");
}

static _Noreturn void keep(struct wards *wards)
{
	struct pollfd polled[] = {
		{.fd = wards->fd, .events = POLLIN}, {.fd = wards->timer_fd, .events = POLLIN}};
	uint64_t expirations;

	leave_everything(wards);
	/* What was said counts before the time does: we may have stood still ourselves. */
	while (hear(wards)) {
		mind_lease(wards);
		(void)poll(polled, COUNT_OF(polled), -1);
		(void)!read(wards->timer_fd, &expirations, sizeof(expirations));
	}
	if (!RULE_IS_OFF(PROGRAMS_DIE_WITH_US))
		signal_groups(wards, SIGKILL);
	_exit(0);
}

/* --- in the server --- */

static pid_t fork_keeper(struct keeper *keeper, int fd, int timer_fd)
{
	auto_free struct group *groups = xcalloc((size_t)keeper->groups_max, sizeof(*groups));
	struct wards wards = {.fd = fd,
		.timer_fd = timer_fd,
		.groups = groups,
		.ended = keeper->ended,
		.groups_max = keeper->groups_max};
	pid_t pid = fork();

	if (pid == 0) {
		(void)close(keeper->fd);
		keep(&wards);
	}
	return pid;
}

int keeper_start(int groups_max, struct keeper *ret_keeper, struct err *err)
{
	int timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	int pair[2] = {-1, -1};
	int error = 0;

	*ret_keeper = (struct keeper){.fd = -1, .groups_max = groups_max};
	if (timer_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0 ||
		!child_lift_fd(&timer_fd) || !child_lift_fd(&pair[0]) || !child_lift_fd(&pair[1]))
		error = errno;
	ret_keeper->fd = pair[0];
	ret_keeper->ended = xcalloc((size_t)groups_max, sizeof(*ret_keeper->ended));
	if (error == 0) {
		ret_keeper->pid = fork_keeper(ret_keeper, pair[1], timer_fd);
		error = ret_keeper->pid < 0 ? errno : 0;
	}
	if (pair[1] >= 0)
		(void)close(pair[1]);
	if (timer_fd >= 0)
		(void)close(timer_fd);
	if (error == 0)
		return 0;
	ret_keeper->pid = 0;
	keeper_stop(ret_keeper);
	return err_set(err, ERR_IO, "cannot start the keeper of programs: %s", strerror(error));
}

void keeper_stop(struct keeper *keeper)
{
	if (keeper->pid > 0)
		(void)kill(keeper->pid, SIGKILL);
	if (keeper->fd >= 0)
		(void)close(keeper->fd);
	while (keeper->pid > 0 && waitpid(keeper->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	free(keeper->ended);
	*keeper = (struct keeper){.fd = -1};
}

/* A keeper that does not listen holds what is no longer true, which is worse than none. */
static void say(struct keeper *keeper, struct record record)
{
	if (keeper->fd >= 0 && !tell(keeper->fd, record))
		keeper_stop(keeper);
}

void keeper_note_ending(struct keeper *keeper, pid_t group)
{
	say(keeper, (struct record){.news = GROUP_ENDING, .group = group});
}

void keeper_extend(struct keeper *keeper, int64_t until_boot_ms)
{
	say(keeper, (struct record){.news = LEASE_EXTENDED, .until_boot_ms = until_boot_ms});
}

/* Each group is named once, and a number counts until its group is withdrawn: there is room. */
static void read_ended(struct keeper *keeper)
{
	ssize_t got;

	if (keeper->fd < 0)
		return;
	do {
		size_t room = (size_t)(keeper->groups_max - keeper->ended_count);

		got = recv(keeper->fd, keeper->ended + keeper->ended_count,
			room * sizeof(*keeper->ended), MSG_DONTWAIT);
		if (got > 0)
			keeper->ended_count += (int)((size_t)got / sizeof(*keeper->ended));
	} while (got > 0 || (got < 0 && errno == EINTR));
}

bool keeper_has_ended(struct keeper *keeper, pid_t group)
{
	read_ended(keeper);
	for (int i = 0; i < keeper->ended_count; i++) {
		if (keeper->ended[i] == group)
			return true;
	}
	return false;
}

void keeper_withdraw(struct keeper *keeper, pid_t group)
{
	for (int i = 0; i < keeper->ended_count; i++) {
		if (keeper->ended[i] == group)
			keeper->ended[i--] = keeper->ended[--keeper->ended_count];
	}
	say(keeper, (struct record){.news = GROUP_REAPED, .group = group});
}
