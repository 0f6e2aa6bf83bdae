/* SPDX-License-Identifier: Apache-2.0
 *
 * One server a file. The lock is the kernel's (flock), so that it ends with its holder however that
 * dies; the file's text only tells people whom to look for. */
#pragma once

#include "base/err.h"
#include "base/id.h"

struct file_lock {
	int fd; /* -1: not held */
};

/* Takes the lock on "<path>.lock", creating that file. ERR_CONFLICT naming the holder; ERR_IO,
 * ERR_FULL. `instance_id` may be NULL. */
int file_lock_take(
	struct file_lock *lock, const char *path, const struct id *instance_id, struct err *err);

/* Lets go; harmless when not held. The file stays: removing it could take away another's lock. */
void file_lock_release(struct file_lock *lock);

/* What an errno of opening or creating `path` means, and what to do. */
int file_error(struct err *err, int error, const char *path);
