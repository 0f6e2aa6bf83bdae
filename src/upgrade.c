/* SPDX-License-Identifier: Apache-2.0 */
#include "upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "http/http.h"
#include "inherit.h"
#include "life/life.h"
#include "sched/sched.h"
#include "server_priv.h"
#include "store/store.h"
#include "successor.h"

#define LIFTED_FD_MIN 16 /* above every number a descriptor gets in the new process */

/* --- the new process --- */

/* What it gets, by its number there; -1: not. */
struct gift {
	int from, to;
};

/* Ours, but what was meant for this process alone; and what the new one is given. The array is the
 * caller's, the strings are the environment's but the last two. */
static char **make_environment(char *mark, char *handovers)
{
	static const char *const dropped[] = {"WATCHDOG_PID=", "LISTEN_PID=", "LISTEN_FDS="};
	size_t count = 0, kept = 0;
	char **made;

	while (environ[count])
		count++;
	made = xcalloc(count + 3, sizeof(*made));
	for (size_t i = 0; i < count; i++) {
		bool is_dropped = false;

		for (size_t k = 0; k < COUNT_OF(dropped); k++)
			is_dropped |= strncmp(environ[i], dropped[k], strlen(dropped[k])) == 0;
		if (!is_dropped)
			made[kept++] = environ[i];
	}
	made[kept++] = mark;
	made[kept] = handovers;
	return made;
}

/* Each descriptor to its number. They are lifted out of the way first: one may stand where another
 * is to go. False: no descriptors left. */
static bool place(posix_spawn_file_actions_t *actions, struct gift *gifts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (gifts[i].from < 0)
			continue;
		gifts[i].from = fcntl(gifts[i].from, F_DUPFD_CLOEXEC, LIFTED_FD_MIN);
		if (gifts[i].from < 0 ||
			posix_spawn_file_actions_adddup2(actions, gifts[i].from, gifts[i].to) != 0)
			return false;
	}
	return posix_spawn_file_actions_addclosefrom_np(actions, UPGRADE_LAST_FD + 1) == 0;
}

/* 0 or an errno. */
static int spawn_with(const struct server *server, struct gift *gifts, size_t count, pid_t *ret_pid)
{
	auto_free char *mark = xasprintf("%s=%d%d%d", UPGRADE_VARIABLE, gifts[2].from >= 0,
		server->inherited.is_shared, gifts[3].from >= 0);
	auto_free char *handovers =
		xasprintf("%s=%" PRId64, HANDOVERS_VARIABLE, server->inherited.handovers + 1);
	auto_free char **environment = make_environment(mark, handovers);
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t all, none;
	int error = EMFILE;

	(void)sigfillset(&all);
	(void)sigemptyset(&none);
	must(posix_spawn_file_actions_init(&actions) == 0 &&
		posix_spawnattr_init(&attributes) == 0);
	(void)posix_spawnattr_setsigdefault(&attributes, &all);
	(void)posix_spawnattr_setsigmask(&attributes, &none);
	(void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	if (place(&actions, gifts, count))
		error = posix_spawnp(
			ret_pid, server->argv[0], &actions, &attributes, server->argv, environment);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)posix_spawnattr_destroy(&attributes);
	return error;
}

/* `channel_fd` is the new process's end. 0 or an errno. */
static int spawn(const struct server *server, int channel_fd, pid_t *ret_pid)
{
	struct gift gifts[] = {
		{channel_fd, UPGRADE_CHANNEL_FD},
		{http_listener_fd(server->http), UPGRADE_LISTEN_FD},
		{store_lock_fd(server->store), UPGRADE_LOCK_FD},
		{server->admin ? http_listener_fd(server->admin) : -1, UPGRADE_ADMIN_FD},
	};
	int original[COUNT_OF(gifts)];
	int error;

	for (size_t i = 0; i < COUNT_OF(gifts); i++)
		original[i] = gifts[i].from;
	error = spawn_with(server, gifts, COUNT_OF(gifts), ret_pid);
	for (size_t i = 0; i < COUNT_OF(gifts); i++)
		if (gifts[i].from >= 0 && gifts[i].from != original[i])
			(void)close(gifts[i].from);
	return error;
}

/* --- the end of an upgrade, one way or the other --- */

static void on_handle_closed(uv_handle_t *handle)
{
	struct server *server = handle->data;
	struct upgrade *upgrade = &server->upgrade;

	if (--upgrade->open_handles > 0)
		return;
	if (upgrade->state == UPGRADE_STARTING)
		upgrade->state = UPGRADE_NONE;
	if (upgrade->is_stopping)
		life_part_done(server->life);
}

static void close_handles(struct upgrade *upgrade)
{
	(void)close(upgrade->channel_fd);
	(void)close(upgrade->pid_fd);
	uv_close((uv_handle_t *)&upgrade->exit, on_handle_closed);
	uv_close((uv_handle_t *)&upgrade->channel, on_handle_closed);
	uv_close((uv_handle_t *)&upgrade->limit, on_handle_closed);
}

/* Only once the new process is gone: there are never two schedulers on one file. */
static void go_on(struct server *server)
{
	struct upgrade *upgrade = &server->upgrade;

	if (upgrade->is_holding && life_state(server->life) == SERVICE_READY)
		sched_resume(server->sched);
	upgrade->is_holding = false;
}

static void on_ended(uv_poll_t *poll, int status, int events)
{
	struct server *server = poll->data;
	struct upgrade *upgrade = &server->upgrade;
	siginfo_t info = {0};

	(void)status;
	(void)events;
	if (waitid(P_PIDFD, (id_t)upgrade->pid_fd, &info, WEXITED | WNOHANG) != 0 ||
		info.si_pid == 0)
		return;
	(void)uv_poll_stop(poll);
	if (upgrade->state == UPGRADE_HANDED_OVER) {
		log_error("the process that took over has ended; this one is draining and cannot "
			  "take back: start the service again",
			kv_i64("pid", upgrade->pid));
		return;
	}
	metrics.upgrades_failed++;
	log_error("the upgrade failed: the new process ended before it was ready; this one goes on",
		kv_i64("pid", upgrade->pid),
		kv_str("ended", info.si_code == CLD_EXITED ? "exit" : "signal"),
		kv_i64("status", info.si_status));
	go_on(server);
	close_handles(upgrade);
}

static void on_limit(uv_timer_t *timer)
{
	struct server *server = timer->data;

	log_error("the new process is not ready in time: ending it",
		kv_i64("pid", server->upgrade.pid),
		kv_i64("upgrade_max_ms", server->conf.upgrade_max));
	(void)kill(server->upgrade.pid, SIGKILL);
}

/* --- the words --- */

static void tell_go(void *data)
{
	struct server *server = data;
	char word = PREDECESSOR_GO;

	(void)send(server->upgrade.channel_fd, &word, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void grant_store(struct server *server)
{
	if (store_is_shared(server->store)) {
		tell_go(server);
		return;
	}
	server->upgrade.is_holding = true;
	server->upgrade.held_mono_ms = clock_mono_ms();
	sched_drain(server->sched, tell_go, NULL, server);
}

static void hand_over(struct server *server)
{
	struct upgrade *upgrade = &server->upgrade;
	int64_t now = clock_mono_ms();

	upgrade->state = UPGRADE_HANDED_OVER;
	(void)uv_timer_stop(&upgrade->limit);
	log_info("handed over", kv_i64("pid", upgrade->pid),
		kv_i64("took_ms", now - upgrade->began_mono_ms),
		kv_i64("unplanned_ms", upgrade->is_holding ? now - upgrade->held_mono_ms : 0));
	life_handed_over(server->life, upgrade->pid);
	http_share_listener(server->http, true);
	if (server->admin)
		http_share_listener(server->admin, true);
	sched_hand_over(server->sched);
	life_drain(server->life, LIFE_DRAIN_STOP, "upgrade");
	sched_finish_within(server->sched, server_run_max_ms(&server->conf));
	if (server->admin)
		http_close_listener(server->admin, NULL, NULL);
}

static void on_word(uv_poll_t *poll, int status, int events)
{
	struct server *server = poll->data;
	char word = 0;
	ssize_t got = recv(server->upgrade.channel_fd, &word, 1, MSG_DONTWAIT);

	(void)status;
	(void)events;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0)
		(void)uv_poll_stop(poll); /* its exit tells the rest */
	else if (word == SUCCESSOR_ASKS && life_state(server->life) == SERVICE_READY)
		grant_store(server);
	else if (word == SUCCESSOR_READY && life_state(server->life) == SERVICE_READY)
		hand_over(server);
}

/* --- the way in --- */

static void init_poll(struct server *server, uv_poll_t *poll, int fd, uv_poll_cb on_event)
{
	must(uv_poll_init(&server->loop, poll, fd) == 0);
	poll->data = server;
	must(uv_poll_start(poll, UV_READABLE, on_event) == 0);
	server->upgrade.open_handles++;
}

static void watch(struct server *server)
{
	struct upgrade *upgrade = &server->upgrade;

	init_poll(server, &upgrade->exit, upgrade->pid_fd, on_ended);
	init_poll(server, &upgrade->channel, upgrade->channel_fd, on_word);
	must(uv_timer_init(&server->loop, &upgrade->limit) == 0);
	upgrade->limit.data = server;
	upgrade->open_handles++;
	(void)uv_timer_start(&upgrade->limit, on_limit, (uint64_t)server->conf.upgrade_max, 0);
}

/* Why an upgrade cannot begin now; NULL: it can. */
static const char *obstacle(const struct server *server)
{
	if (life_state(server->life) != SERVICE_READY)
		return "the service is not in the state `ready`";
	if (server->upgrade.state != UPGRADE_NONE)
		return "an upgrade is under way";
	if (successor_has_predecessor(&server->successor))
		return "the process before this one has not ended yet";
	if (strcmp(store_backend_name(server->store), "memory") == 0)
		return "what is kept in memory ends with this process";
	if (server->has_init || getpid() == 1)
		return "the container ends with this process";
	return NULL;
}

/* 0 or an errno; nothing is left behind then. */
static int start(struct server *server)
{
	struct upgrade *upgrade = &server->upgrade;
	int pair[2];
	int error;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
		return errno;
	error = spawn(server, pair[1], &upgrade->pid);
	(void)close(pair[1]);
	if (error == 0) {
		upgrade->pid_fd = (int)syscall(SYS_pidfd_open, upgrade->pid, 0);
		if (upgrade->pid_fd < 0) {
			error = errno;
			(void)kill(upgrade->pid, SIGKILL);
			(void)waitpid(upgrade->pid, NULL, 0);
		}
	}
	if (error != 0)
		(void)close(pair[0]);
	else
		upgrade->channel_fd = pair[0];
	return error;
}

void upgrade_begin(struct server *server)
{
	const char *why = obstacle(server);
	int error;

	if (why) {
		log_warn("SIGUSR2 ignored: no upgrade now", kv_str("because", why));
		return;
	}
	error = start(server);
	if (error != 0) {
		metrics.upgrades_failed++;
		log_error("the upgrade failed: the new process cannot be started; this one goes on",
			kv_str("program", server->argv[0]), kv_str("error", strerror(error)));
		return;
	}
	server->upgrade.state = UPGRADE_STARTING;
	server->upgrade.began_mono_ms = clock_mono_ms();
	log_info("upgrade: the new process is starting", kv_str("program", server->argv[0]),
		kv_i64("pid", server->upgrade.pid));
	watch(server);
}

void upgrade_abort(struct server *server)
{
	if (server->upgrade.state != UPGRADE_STARTING)
		return;
	log_warn("the upgrade is called off: this process is to stop",
		kv_i64("pid", server->upgrade.pid));
	(void)kill(server->upgrade.pid, SIGKILL);
}

bool upgrade_is_done(const struct server *server)
{
	return server->upgrade.state == UPGRADE_HANDED_OVER;
}

void upgrade_part_stop(void *data)
{
	struct server *server = data;

	if (server->upgrade.open_handles == 0) {
		life_part_done(server->life);
		return;
	}
	server->upgrade.is_stopping = true;
	if (server->upgrade.state == UPGRADE_HANDED_OVER)
		close_handles(&server->upgrade);
}
