/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole files, bounded, and the way through the user's editor. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/files.h"
#include "model/model.h"

#define READ_CHUNK    65536
#define JSON_FILE_MAX (64u << 20)

static int read_all(int fd, const char *name, size_t limit, struct buf *text, struct err *err)
{
	auto_free char *chunk = xmalloc(READ_CHUNK);

	for (;;) {
		ssize_t got = read(fd, chunk, READ_CHUNK);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_set(
				err, ERR_IO, "cannot read %.200s: %s", name, strerror(errno));
		if (got == 0)
			return 0;
		buf_append(text, chunk, (size_t)got);
		if (text->is_cut)
			return err_set(
				err, ERR_TOO_LARGE, "%.200s is larger than %zu bytes", name, limit);
	}
}

int read_file(const char *path, size_t limit, char **ret_text, size_t *ret_len, struct err *err)
{
	bool is_stdin = strcmp(path, "-") == 0;
	int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	struct buf text;
	int code;

	if (fd < 0)
		return err_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO,
			"cannot read %.200s: %s", path, strerror(errno));
	buf_init(&text, limit);
	code = read_all(fd, is_stdin ? "standard input" : path, limit, &text, err);
	if (!code) {
		*ret_len = text.len;
		*ret_text = buf_take(&text);
	}
	buf_fini(&text);
	if (!is_stdin)
		(void)close(fd);
	return code;
}

int read_json_file(const char *path, json_t **ret_json, struct err *err)
{
	auto_free char *text = NULL;
	size_t len;
	int code = read_file(path, JSON_FILE_MAX, &text, &len, err);

	if (code)
		return code;
	code = json_from_text(text, len, ret_json, err);
	return code ? err_wrap(err, "%.200s", strcmp(path, "-") == 0 ? "standard input" : path) : 0;
}

/* --- the editor --- */

static int write_temporary(const char *text, char **ret_path, struct err *err)
{
	const char *folder = getenv("TMPDIR");
	auto_free char *path =
		xasprintf("%s/gathering-XXXXXX.json", folder && *folder ? folder : "/tmp");
	int fd = mkostemps(path, (int)strlen(".json"), O_CLOEXEC);
	size_t len = strlen(text);

	if (fd < 0)
		return err_set(err, ERR_IO, "cannot create %.200s: %s", path, strerror(errno));
	if (write(fd, text, len) != (ssize_t)len) {
		(void)close(fd);
		(void)unlink(path);
		return err_set(err, ERR_IO, "cannot write %.200s", path);
	}
	(void)close(fd);
	*ret_path = take_ptr(path);
	return 0;
}

/* By a shell, as the variable may hold arguments ("code --wait"). */
static int spawn_editor(const char *path, struct err *err)
{
	const char *editor = getenv("VISUAL");
	auto_free char *script = NULL;
	int status;
	pid_t pid;

	if (!editor || !*editor)
		editor = getenv("EDITOR");
	script = xasprintf("%s \"$1\"", editor && *editor ? editor : "vi");
	char *argv[] = {(char *)"sh", (char *)"-c", script, (char *)"sh", (char *)path, NULL};

	if (posix_spawnp(&pid, "sh", NULL, NULL, argv, environ) != 0)
		return err_set(err, ERR_IO, "cannot start an editor");
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_set(err, ERR_IO, "waiting for the editor: %s", strerror(errno));
	if (status != 0)
		return err_set(err, ERR_CANCELLED, "the editor failed; nothing was changed");
	return 0;
}

int edit_json(const json_t *json, json_t **ret_json, char **ret_path, struct err *err)
{
	auto_free char *before = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
	auto_free char *path = NULL, *after = NULL;
	size_t len = 0;
	int code = write_temporary(before, &path, err);

	if (!code)
		code = spawn_editor(path, err);
	if (!code)
		code = read_file(path, JSON_FILE_MAX, &after, &len, err);
	if (code || (len == strlen(before) && memcmp(after, before, len) == 0)) {
		if (path)
			(void)unlink(path);
		if (!code)
			*ret_json = NULL;
		return code;
	}
	code = json_from_text(after, len, ret_json, err);
	if (code)
		return err_wrap(err, "what you wrote is kept in %.200s", path);
	*ret_path = take_ptr(path);
	return 0;
}
