/* SPDX-License-Identifier: Apache-2.0
 *
 * One server a file. The lock is the kernel's (flock), so that it ends with its holder however that
 * dies; the file's text only tells people whom to look for. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/id.h"

struct file_lock {
	int fd; /* -1: not held */
};

/* Who wants the lock, and how. */
struct file_lock_claim {
	const struct id *instance_id; /* NULL: a command */
	int inherited_fd; /* taken over: a predecessor's lock, held by both until both let go; 0 or
			     less: none */
};

/* Takes the lock on "<path>.lock", creating that file. ERR_CONFLICT naming the holder; ERR_IO,
 * ERR_FULL. Waits up to 2 s for what a holder that is dead has left. *ret_is_inherited: the
 * predecessor's lock was on this very file. */
int file_lock_take(struct file_lock *lock, const char *path, const struct file_lock_claim *claim,
	bool *ret_is_inherited, struct err *err);

/* Lets go; harmless when not held. The file stays: removing it could take away another's lock. */
void file_lock_release(struct file_lock *lock);

/* What an errno of opening or creating `path` means, and what to do. */
int file_error(struct err *err, int error, const char *path);
