/* SPDX-License-Identifier: Apache-2.0
 *
 * Users and groups: all that becoming somebody else needs, looked up while it is still allowed to
 * allocate and read files, that is before fork. Blocking: accounts.c calls it from a thread. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "exec_priv.h"

#define ENTRY_FIRST 1024      /* bytes of one user database entry */
#define ENTRY_MAX   (1 << 20) /* what no honest entry reaches */
#define GROUPS_MAX  65536     /* NGROUPS_MAX of Linux */

struct look_up {
	const char *name; /* NULL: by uid */
	uid_t uid;
	struct passwd entry;
	char *strings; /* owned, the entry points into it */
};

/* 0 and the entry, or an errno; ENOENT when there is no such user. */
static int look_up(struct look_up *query)
{
	for (size_t size = ENTRY_FIRST; size <= ENTRY_MAX; size *= 2) {
		struct passwd *found = NULL;
		int error;

		query->strings = xrealloc(query->strings, size, 1);
		error = query->name != NULL ? getpwnam_r(query->name, &query->entry, query->strings,
						      size, &found)
					    : getpwuid_r(query->uid, &query->entry, query->strings,
						      size, &found);
		if (found != NULL)
			return 0;
		if (error != ERANGE)
			return error != 0 && error != ESRCH ? error : ENOENT;
	}
	return ERANGE;
}

static void find_groups(struct account *account)
{
	int count = 32;
	int got;

	do {
		account->groups = xrealloc(account->groups, (size_t)count, sizeof(gid_t));
		got = count;
		if (getgrouplist(account->name, account->gid, account->groups, &got) >= 0)
			break;
		count = got > count ? got : 2 * count;
	} while (count <= GROUPS_MAX);
	account->group_count = got < count ? got : count;
}

int account_find(const char *name, struct account *ret_account, struct err *err)
{
	struct look_up query = {.name = name};
	int error = look_up(&query);

	if (error == 0) {
		*ret_account = (struct account){.uid = query.entry.pw_uid,
			.gid = query.entry.pw_gid,
			.name = xstrdup(query.entry.pw_name),
			.home = xstrdup(query.entry.pw_dir)};
		find_groups(ret_account);
	}
	free(query.strings);
	if (error == ENOENT)
		return err_set(err, ERR_NOT_FOUND, "there is no user '%s' on this machine", name);
	if (error != 0)
		return err_set(err, ERR_IO, "cannot look up user '%s': %s", name, strerror(error));
	return 0;
}

void account_find_own(struct account *ret_account)
{
	struct look_up query = {.uid = geteuid()};
	bool is_known = look_up(&query) == 0;

	*ret_account = (struct account){.uid = geteuid(),
		.gid = getegid(),
		.name = is_known ? xstrdup(query.entry.pw_name)
				 : xasprintf("%lu", (unsigned long)geteuid()),
		.home = xstrdup(is_known ? query.entry.pw_dir : "/")};
	free(query.strings);
}

void account_fini(struct account *account)
{
	free(take_ptr(account->groups));
	free(take_ptr(account->name));
	free(take_ptr(account->home));
}
