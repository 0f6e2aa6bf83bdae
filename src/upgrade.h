/* SPDX-License-Identifier: Apache-2.0
 *
 * SIGUSR2: a new process of the program on disk takes over while this one serves on. It inherits
 * the listening socket, starts, and says when it is ready; only then does this one drain, and
 * without a notice, since the socket lives on and no client can tell. If the new one fails, or is
 * not ready in time, it is gone and nothing has happened. One at a time. successor.h has the words
 * they exchange, doc/design/handover.md the whole story. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

enum upgrade_state {
	UPGRADE_NONE,
	UPGRADE_STARTING,   /* the new process is on its way */
	UPGRADE_HANDED_OVER /* it serves; we drain */
};

struct server;

/* Embedded in the server; plain data that only upgrade.c touches. */
struct upgrade {
	enum upgrade_state state;
	pid_t pid;
	int pid_fd, channel_fd;
	uv_poll_t exit, channel;
	uv_timer_t limit;
	int open_handles;
	int64_t began_mono_ms, held_mono_ms;
	bool is_holding;  /* the scheduler is held for it */
	bool is_stopping; /* the part is to stop once the new process has been reaped */
};

void upgrade_begin(struct server *server);

/* A stop has come first: the new process is killed, unless it has taken over already. */
void upgrade_abort(struct server *server);

bool upgrade_is_done(const struct server *server);

/* Hook of the part; waits until a killed process is reaped. */
void upgrade_part_stop(void *server);
