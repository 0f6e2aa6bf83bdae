/* SPDX-License-Identifier: Apache-2.0
 *
 * The private folder of one attempt, through which a program and the server tell each other things:
 *
 *   checkpoint   from where to go on: there before the program starts when an earlier attempt has
 *                left one, and taken back whenever the program has written it
 *   progress     how far it is, for people
 *   payload      what the event brought that started the run, as JSON
 *   finish_by    written by us when the server is about to stop: the moment of TERM
 *
 * The program, perhaps another user's, owns the folder and may put into it what it likes: links,
 * pipes, a tree. So files are opened without following anything and must be plain, and removing
 * goes down by descriptor, never by path. What is there is bounded: a checkpoint that is too long
 * is not taken, of progress only the end is read. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "exec_priv.h"

#define PROGRESS_TAIL      8192 /* bytes at the end of the file that are looked at */
#define FOLDER_DEPTH_MAX   64
#define FOLDER_ENTRIES_MAX 1000 /* more is left to the next start: the loop must go on */
#define FOLDER_MODE        0700
#define FILE_MODE          0600

/* --- removing --- */

static void remove_inside(int folder_fd, int depth, int *budget);

static void remove_entry(int folder_fd, const char *name, int depth, int *budget)
{
	int fd;

	if (unlinkat(folder_fd, name, 0) == 0 || errno != EISDIR)
		return;
	fd = openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == EACCES && fchmodat(folder_fd, name, FOLDER_MODE, 0) == 0)
		fd = openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	remove_inside(fd, depth + 1, budget);
	(void)unlinkat(folder_fd, name, AT_REMOVEDIR);
}

/* Takes the descriptor. */
static void remove_inside(int folder_fd, int depth, int *budget)
{
	DIR *folder = depth < FOLDER_DEPTH_MAX ? fdopendir(folder_fd) : NULL;
	const struct dirent *entry;

	if (folder == NULL) {
		(void)close(folder_fd);
		return;
	}
	while (*budget > 0 && (entry = readdir(folder)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		(*budget)--;
		remove_entry(folder_fd, entry->d_name, depth, budget);
	}
	(void)closedir(folder);
}

void folder_remove(const char *path, enum folder_extent extent)
{
	int budget = extent == FOLDER_ALL ? INT32_MAX : FOLDER_ENTRIES_MAX;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0)
		remove_inside(fd, 0, &budget);
	(void)rmdir(path);
}

/* --- writing --- */

static bool write_all(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t written = write(fd, bytes, len);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return false;
		bytes += written;
		len -= (size_t)written;
	}
	return true;
}

/* A new file of the program's user, whole before it can be seen under its name. */
static bool put_file(const struct folder *folder, const char *name, const char *bytes, size_t len)
{
	auto_free char *path = xasprintf("%s/%s", folder->path, name);
	auto_free char *part = xasprintf("%s/.%s", folder->path, name);
	int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
	bool is_done =
		fd >= 0 && write_all(fd, bytes, len) &&
		(folder->owner == geteuid() || fchown(fd, folder->owner, folder->group) == 0);

	if (fd >= 0)
		(void)close(fd);
	return is_done && rename(part, path) == 0;
}

/* What we have put there is not news. */
static bool put_checkpoint(struct folder *folder, const struct run *run)
{
	auto_free char *path = xasprintf("%s/%s", folder->path, FOLDER_CHECKPOINT);
	struct stat facts;

	if (!put_file(folder, FOLDER_CHECKPOINT, run->checkpoint, (size_t)run->checkpoint_bytes) ||
		lstat(path, &facts) != 0)
		return false;
	folder->checkpoint_seen = facts.st_mtim;
	return true;
}

bool folder_make(struct folder *folder, const struct run *run)
{
	if (mkdir(folder->path, FOLDER_MODE) != 0)
		return false;
	if (folder->owner != geteuid() && chown(folder->path, folder->owner, folder->group) != 0)
		return false;
	if (run->payload != NULL &&
		!put_file(folder, FOLDER_PAYLOAD, run->payload, strlen(run->payload)))
		return false;
	return run->checkpoint == NULL || put_checkpoint(folder, run);
}

void folder_finish_by(const struct folder *folder, int64_t at_ms)
{
	char at[RFC3339_TEXT_SIZE];
	auto_free char *text = xasprintf("%s\n", format_rfc3339(at_ms, at));

	(void)put_file(folder, FOLDER_FINISH_BY, text, strlen(text));
}

/* --- reading --- */

/* A plain file of the program's, not a link to somebody else's. -1: there is none. */
static int open_file(const struct folder *folder, const char *name, struct stat *ret_facts)
{
	auto_free char *path = xasprintf("%s/%s", folder->path, name);
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (fstat(fd, ret_facts) == 0 && S_ISREG(ret_facts->st_mode) && ret_facts->st_nlink == 1)
		return fd;
	(void)close(fd);
	return -1;
}

static size_t read_all(int fd, off_t from, char *bytes, size_t size)
{
	size_t len = 0;

	while (len < size) {
		ssize_t got = pread(fd, bytes + len, size - len, from + (off_t)len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		len += (size_t)got;
	}
	return len;
}

/* The same content may be announced more than once: by its end, and by the last look. */
static bool is_seen(struct timespec *seen, const struct stat *facts)
{
	bool is_same =
		seen->tv_sec == facts->st_mtim.tv_sec && seen->tv_nsec == facts->st_mtim.tv_nsec;

	*seen = facts->st_mtim;
	return is_same;
}

void folder_read_progress(struct folder *folder, struct run_note *note)
{
	char text[PROGRESS_TAIL];
	struct run_note read = {0};
	struct stat facts;
	int fd = open_file(folder, FOLDER_PROGRESS, &facts);
	off_t from;

	if (fd < 0)
		return;
	from = facts.st_size > PROGRESS_TAIL ? facts.st_size - PROGRESS_TAIL : 0;
	if (!is_seen(&folder->progress_seen, &facts) &&
		progress_parse(text, read_all(fd, from, text, sizeof(text)), &read))
		run_note_merge(note, &read);
	(void)close(fd);
}

enum folder_checkpoint folder_read_checkpoint(struct folder *folder, struct run_note *note)
{
	enum folder_checkpoint found = CHECKPOINT_SAME;
	struct run_note read = {.percent = -1};
	struct stat facts;
	int fd = open_file(folder, FOLDER_CHECKPOINT, &facts);

	if (fd < 0)
		return CHECKPOINT_SAME;
	if (!is_seen(&folder->checkpoint_seen, &facts)) {
		found = facts.st_size > CHECKPOINT_MAX ? CHECKPOINT_TOO_LONG : CHECKPOINT_NEW;
		if (found == CHECKPOINT_NEW) {
			read.checkpoint = xmalloc((size_t)facts.st_size + 1);
			read.checkpoint_len =
				read_all(fd, 0, read.checkpoint, (size_t)facts.st_size);
			run_note_merge(note, &read);
		}
	}
	(void)close(fd);
	return found;
}
