/* SPDX-License-Identifier: Apache-2.0 */
#include "life/notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"

#define MESSAGE_SIZE    512
#define EXTEND_EVERY_MS 5000
#define EXTEND_BY_US    15000000 /* three of our messages may get lost */

struct notify {
	int fd; /* -1: nobody listens */
	struct sockaddr_un address;
	socklen_t address_len;
	uv_timer_t watchdog, extend;
};

/* A path, or "@name" for an abstract one (sd_notify(3)). */
static int connect_to(struct notify *notify, const char *path)
{
	size_t len = strlen(path);

	if ((path[0] != '/' && path[0] != '@') || len < 2 ||
		len >= sizeof(notify->address.sun_path))
		return -1;
	notify->address.sun_family = AF_UNIX;
	memcpy(notify->address.sun_path, path, len);
	if (path[0] == '@')
		notify->address.sun_path[0] = '\0';
	notify->address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static void on_watchdog(uv_timer_t *timer)
{
	notify_say(container_of(timer, struct notify, watchdog), "WATCHDOG=1");
}

static void on_extend(uv_timer_t *timer)
{
	notify_say(
		container_of(timer, struct notify, extend), "EXTEND_TIMEOUT_USEC=%d", EXTEND_BY_US);
}

/* $WATCHDOG_PID, when set, names whom the interval is meant for. */
static void start_watchdog(struct notify *notify)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	int64_t interval_us, wanted_pid;

	if (!usec || !parse_i64(usec, 2000, INT64_MAX, &interval_us))
		return;
	if (pid && (!parse_i64(pid, 1, INT32_MAX, &wanted_pid) || wanted_pid != getpid()))
		return;
	uv_timer_start(&notify->watchdog, on_watchdog, 0, (uint64_t)(interval_us / 2000));
}

struct notify *notify_create(uv_loop_t *loop)
{
	struct notify *notify = xcalloc(1, sizeof(*notify));
	const char *path = getenv("NOTIFY_SOCKET");

	notify->fd = path ? connect_to(notify, path) : -1;
	must(uv_timer_init(loop, &notify->watchdog) == 0);
	must(uv_timer_init(loop, &notify->extend) == 0);
	if (notify->fd >= 0)
		start_watchdog(notify);
	return notify;
}

void notify_say(struct notify *notify, const char *fmt, ...)
{
	char message[MESSAGE_SIZE];
	va_list args;

	if (notify->fd < 0)
		return;
	va_start(args, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	(void)sendto(notify->fd, message, strlen(message), MSG_NOSIGNAL,
		(const struct sockaddr *)&notify->address, notify->address_len);
}

void notify_stopping(struct notify *notify)
{
	notify_say(notify, "STOPPING=1");
	if (notify->fd >= 0)
		uv_timer_start(&notify->extend, on_extend, 0, EXTEND_EVERY_MS);
}

void notify_mute(struct notify *notify)
{
	if (notify->fd >= 0)
		(void)close(notify->fd);
	notify->fd = -1;
	uv_timer_stop(&notify->watchdog);
}

void notify_close(struct notify *notify)
{
	uv_close((uv_handle_t *)&notify->watchdog, NULL);
	uv_close((uv_handle_t *)&notify->extend, NULL);
}

void notify_destroy(struct notify *notify)
{
	if (notify->fd >= 0)
		(void)close(notify->fd);
	free(notify);
}
