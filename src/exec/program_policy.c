/* SPDX-License-Identifier: Apache-2.0
 *
 * Which file will run, and may it? The answer for the API (exec_check) and for the attempt is the
 * same code, because an action may have been stored by an instance with another configuration, and
 * files move. With exec_paths the resolved file is what runs: a symbolic link that is turned around
 * between the check and the exec changes nothing. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "exec_priv.h"

/* Calls `matches` with each non-empty item of a list; true at the first that matches. */
typedef bool item_fn(const char *item, const void *data);
static bool any_item(const char *list, char separator, item_fn *matches, const void *data)
{
	while (*list != '\0') {
		const char *end = strchrnul(list, separator);
		auto_free char *item = xstrndup(list, (size_t)(end - list));

		if (item[0] != '\0' && matches(item, data))
			return true;
		list = *end != '\0' ? end + 1 : end;
	}
	return false;
}

static bool is_set(const char *list)
{
	return list != NULL && list[0] != '\0';
}

/* --- users --- */

/* Spaces around a name are forgiven: "root, backup". */
static bool is_same_user(const char *item, const void *name)
{
	size_t begin = strspn(item, " \t");
	size_t len = strcspn(item + begin, " \t");

	return len == strlen(name) && strncmp(item + begin, name, len) == 0;
}

int program_check_user(const struct exec *exec, const struct exec_target *target, struct err *err)
{
	const char *users = exec->opts.exec_users;
	const char *user = target->user != NULL ? target->user : exec->own.name;

	if (!exec->opts.exec_enabled)
		return err_field(err, ERR_FORBIDDEN, "/kind",
			"exec actions are off on this server; set exec_enabled = true to allow "
			"programs");
	if (is_set(users) && !any_item(users, ',', is_same_user, user))
		return err_field(err, ERR_FORBIDDEN, "/exec/user",
			"programs may not run as '%s' here; exec_users allows: %s", user, users);
	if (!is_set(users) && strcmp(user, exec->own.name) != 0)
		return err_field(err, ERR_FORBIDDEN, "/exec/user",
			"programs run as '%s' here; add '%s' to exec_users to allow it",
			exec->own.name, user);
	return 0;
}

/* --- files --- */

/* Is there something we could run? A folder or a plain text file is remembered as "no" so that a
 * later folder of PATH is tried, as execvp does. */
static bool is_executable(const char *path)
{
	struct stat facts;

	return stat(path, &facts) == 0 && S_ISREG(facts.st_mode) && access(path, X_OK) == 0;
}

struct search {
	const char *name;
	char **ret_found;      /* executable */
	char **ret_unsuitable; /* there, but not executable */
};

static bool look_in(const char *folder, const void *data)
{
	const struct search *search = data;
	auto_free char *path = xasprintf("%s/%s", folder, search->name);

	if (is_executable(path)) {
		*search->ret_found = take_ptr(path);
		return true;
	}
	if (*search->ret_unsuitable == NULL && access(path, F_OK) == 0)
		*search->ret_unsuitable = take_ptr(path);
	return false;
}

#define WORDS_HINT "; program and arguments are separate words, or use a shell command"

/* A file that is there but cannot be executed is returned all the same: exec says best why. */
static int search_path(
	const struct exec_target *target, const char *name, char **ret_path, struct err *err)
{
	auto_free char *found = NULL;
	auto_free char *unsuitable = NULL;
	const struct search search = {name, &found, &unsuitable};
	const char *path = env_path(target);

	if (!any_item(path, ':', look_in, &search))
		found = take_ptr(unsuitable);
	if (found == NULL)
		return err_field(err, ERR_NOT_FOUND, "/exec/command",
			"cannot run %s: not found in PATH (%s)%s", name, path,
			strpbrk(name, " \t") == NULL ? "" : WORDS_HINT);
	*ret_path = take_ptr(found);
	return 0;
}

static bool stands_in(const char *folder, const void *path)
{
	auto_free char *resolved = realpath(folder, NULL);
	size_t len = resolved != NULL ? strlen(resolved) : 0;

	if (len == 1) /* "/" */
		return true;
	return len > 0 && strncmp(path, resolved, len) == 0 && ((const char *)path)[len] == '/';
}

/* A relative name with '/' is meant from the folder the program is started in. */
static char *resolve(const struct exec_target *target, const char *path)
{
	auto_free char *joined = path[0] != '/' && target->cwd != NULL
					 ? xasprintf("%s/%s", target->cwd, path)
					 : xstrdup(path);

	return realpath(joined, NULL);
}

static int check_folder(
	const struct exec *exec, const struct exec_target *target, char **path, struct err *err)
{
	char *resolved = resolve(target, *path);

	if (resolved == NULL)
		return err_field(err, ERR_NOT_FOUND, "/exec/command", "cannot run %s: %s", *path,
			strerror(errno));
	if (!any_item(exec->opts.exec_paths, ':', stands_in, resolved)) {
		(void)err_field(err, ERR_FORBIDDEN, "/exec/command",
			"%s stands in no folder that exec_paths allows: %s", resolved,
			exec->opts.exec_paths);
		free(resolved);
		return ERR_FORBIDDEN;
	}
	free(*path);
	*path = resolved;
	return 0;
}

int program_find(
	const struct exec *exec, const struct exec_target *target, char **ret_path, struct err *err)
{
	const char *name = target->use_shell ? PROGRAM_SHELL : target->command[0];
	char *path = NULL;
	int code = 0;

	if (strchr(name, '/') != NULL)
		path = xstrdup(name);
	else
		code = search_path(target, name, &path, err);
	if (code == 0 && is_set(exec->opts.exec_paths))
		code = check_folder(exec, target, &path, err);
	if (code != 0) {
		free(path);
		return code;
	}
	*ret_path = path;
	return 0;
}

/* What is missing today may be installed by the time it is due: only exec_paths makes an absent
 * program a refusal, for then nothing can be said about it. */
int program_check(const struct exec *exec, const struct action *action, struct err *err)
{
	auto_free char *path = NULL;
	int code = program_check_user(exec, &action->exec, err);

	if (code != 0 || !is_set(exec->opts.exec_paths))
		return code;
	code = program_find(exec, &action->exec, &path, err);
	if (code == ERR_NOT_FOUND) {
		(void)err_wrap(err, "exec_paths cannot be checked");
		err->code = code = ERR_FORBIDDEN;
	}
	return code;
}
