/* SPDX-License-Identifier: Apache-2.0 */
#include "store/file_lock_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <uv.h>

#include "base/mem.h"
#include "base/text.h"

#define LOCK_TEXT_SIZE 128
#define LET_GO_STEP_MS 20
#define LET_GO_STEPS   100 /* what a dead holder has left is gone by then */

int file_error(struct err *err, int error, const char *path)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return err_set(err, ERR_IO,
			"cannot open '%s': its folder does not exist; create it", path);
	case EACCES:
	case EPERM:
		return err_set(err, ERR_IO,
			"cannot write '%s': permission denied; the file and its folder must belong "
			"to "
			"the user that runs the server",
			path);
	case EROFS:
		return err_set(err, ERR_IO,
			"cannot write '%s': the file system is read-only; choose another place",
			path);
	case EISDIR:
		return err_set(err, ERR_IO, "'%s' is a folder: name a file in it", path);
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return err_set(err, ERR_FULL, "cannot write '%s': no space left; make room", path);
	}
	return err_set(err, ERR_IO, "cannot open '%s': %s", path, strerror(error));
}

/* "1234 0193..." as written below; nothing when its holder has not come so far. */
static void read_holder(int fd, char *ret_text, size_t size)
{
	ssize_t len = pread(fd, ret_text, size - 1, 0);

	ret_text[len > 0 ? len : 0] = '\0';
	ret_text[strcspn(ret_text, "\n")] = '\0';
	for (char *at = ret_text; *at; at++) /* it is going to a terminal */
		if ((unsigned char)*at < ' ' || (unsigned char)*at > '~')
			*at = '?';
}

/* 0: nobody is named. */
static int64_t holder_pid(int fd)
{
	char holder[LOCK_TEXT_SIZE];
	int64_t pid = 0;

	read_holder(fd, holder, sizeof(holder));
	holder[strcspn(holder, " ")] = '\0';
	return parse_i64(holder, 1, INT32_MAX, &pid) ? pid : 0;
}

static bool holder_lives(int fd)
{
	int64_t pid = holder_pid(fd);

	return pid > 0 && (kill((pid_t)pid, 0) == 0 || errno != ESRCH);
}

/* 0 or an errno. A holder that was killed while it started a program has left its lock with that
 * child, until the child executes something. */
static int lock_file(int fd)
{
	for (int step = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; step++) {
		int error = errno;

		if (error != EWOULDBLOCK || holder_lives(fd) || step == LET_GO_STEPS)
			return error;
		uv_sleep(LET_GO_STEP_MS);
	}
	return 0;
}

static int refuse(int fd, const char *path, struct err *err)
{
	char holder[LOCK_TEXT_SIZE];
	char *id;

	read_holder(fd, holder, sizeof(holder));
	id = strchr(holder, ' ');
	if (id)
		*id++ = '\0';
	return err_set(err, ERR_CONFLICT,
		"'%s' is in use by process %s (%s); stop it or use another file", path,
		holder[0] ? holder : "?", id ? id : "unknown");
}

static void write_holder(int fd, const struct id *instance_id)
{
	char text[LOCK_TEXT_SIZE], id[ID_TEXT_SIZE];
	int len = snprintf(text, sizeof(text), "%ld %s%s\n", (long)getpid(),
		instance_id ? "instance " : "gathering migrate",
		instance_id ? id_format(instance_id, id) : "");

	must(len > 0 && (size_t)len < sizeof(text));
	if (ftruncate(fd, 0) == 0) /* only for people: a full disk is found out soon enough */
		(void)!pwrite(fd, text, (size_t)len, 0);
}

/* The lock is the open file's, not the process's, and that has come to us. */
static bool adopt(struct file_lock *lock, const char *lock_path, int inherited_fd)
{
	struct stat ours, wanted;

	if (inherited_fd <= 0)
		return false;
	if (fstat(inherited_fd, &ours) == 0 && stat(lock_path, &wanted) == 0 &&
		ours.st_dev == wanted.st_dev && ours.st_ino == wanted.st_ino &&
		flock(inherited_fd, LOCK_EX | LOCK_NB) == 0) {
		lock->fd = inherited_fd;
		return true;
	}
	(void)close(inherited_fd); /* of another database: the configuration has changed */
	return false;
}

int file_lock_take(struct file_lock *lock, const char *path, const struct file_lock_claim *claim,
	bool *ret_is_inherited, struct err *err)
{
	auto_free char *lock_path = xasprintf("%s.lock", path);
	int fd, error;

	lock->fd = -1;
	*ret_is_inherited = adopt(lock, lock_path, claim->inherited_fd);
	if (*ret_is_inherited) {
		write_holder(lock->fd, claim->instance_id);
		return 0;
	}
	fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0)
		return file_error(err, errno, lock_path);
	error = lock_file(fd);
	if (error != 0) {
		int status = error == EWOULDBLOCK ? refuse(fd, path, err)
						  : file_error(err, error, lock_path);

		(void)close(fd);
		return status;
	}
	write_holder(fd, claim->instance_id);
	lock->fd = fd;
	return 0;
}

void file_lock_release(struct file_lock *lock)
{
	if (lock->fd < 0)
		return;
	if (holder_pid(lock->fd) == getpid()) /* a successor may have written its own name */
		(void)!ftruncate(lock->fd, 0);
	(void)close(lock->fd);
	lock->fd = -1;
}
