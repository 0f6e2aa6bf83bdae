/* SPDX-License-Identifier: Apache-2.0
 *
 * The new process's side of a hand-over (upgrade.c is the old one's). Over a socket pair:
 *
 *   successor                       predecessor
 *   'S' may I open the store?   ->  a database file: stops planning and claiming, and waits for
 *                                   the claim under way; a shared database: nothing
 *                               <-  'G' go
 *   'R' I am ready              ->  lets go of the listener and drains
 *                                   (end of file: it is gone)
 *
 * An end of file before 'G' is as good as 'G': there is nobody left to wait for. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#define SUCCESSOR_ASKS  'S'
#define SUCCESSOR_READY 'R'
#define PREDECESSOR_GO  'G'

typedef void successor_fn(void *data);

/* Embedded by its owner; plain data that only successor.c touches. */
struct successor {
	int fd; /* -1: there is no predecessor (any more) */
	uv_poll_t poll;
	successor_fn *may_go, *gone;
	void *data;
};

/* `fd` is the channel, or -1; taken over. `gone` runs once, when the predecessor has ended. */
void successor_init(
	struct successor *successor, uv_loop_t *loop, int fd, successor_fn *gone, void *data);
bool successor_has_predecessor(const struct successor *successor);

/* Asks for the store; `may_go` runs once: at once without a predecessor, else later. */
void successor_ask(struct successor *successor, successor_fn *may_go);

/* Asks no more; false: `may_go` was not being waited for. */
bool successor_cancel(struct successor *successor);

/* Tells the predecessor that everything it does is done here now. */
void successor_ready(struct successor *successor);

/* Closes the channel; nothing is called back any more. The memory must stay until the loop has
 * turned. */
void successor_close(struct successor *successor);
