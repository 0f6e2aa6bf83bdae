/* SPDX-License-Identifier: Apache-2.0
 *
 * What the service manager hears (sd_notify(3), systemd.service(5) Type=notify): ready, stopping,
 * that a drain still goes on, and that the loop turns. Without $NOTIFY_SOCKET every call does
 * nothing. Private to life/. */
#pragma once

#include <uv.h>

struct notify;

/* Reads $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID; with a watchdog, WATCHDOG=1 is sent from
 * the loop twice in its interval until notify_close(). */
struct notify *notify_create(uv_loop_t *loop);

/* One message: lines of NAME=value. Never blocks; a manager that does not listen is ignored. */
void notify_say(struct notify *notify, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* From here on the manager is told every five seconds that stopping takes its time
 * (EXTEND_TIMEOUT_USEC). Our own total_max bounds it. */
void notify_stopping(struct notify *notify);

/* Nothing is said any more: another process speaks for the service. */
void notify_mute(struct notify *notify);

/* Closes the handles of the loop; notify_destroy frees, after the loop has ended. */
void notify_close(struct notify *notify);
void notify_destroy(struct notify *notify);
