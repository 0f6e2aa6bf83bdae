/* SPDX-License-Identifier: Apache-2.0
 *
 * What it takes to run a program: as whom, in which environment and folder, the process itself, and
 * who ends it when we are gone. Nothing here knows attempts but notes.c; program.c puts it
 * together.
 */
#pragma once

#include <signal.h>
#include <sys/types.h>

#include "base/list.h"
#include "exec/exec.h"

struct attempt;

/* --- account.c --- */

/* Who a program runs as. Strings and groups owned. */
struct account {
	uid_t uid;
	gid_t gid;
	gid_t *groups;
	int group_count;
	char *name;
	char *home;
};
/* Looks a user up (NSS: may read files or ask a directory service). ERR_NOT_FOUND, ERR_IO. */
int account_find(const char *name, struct account *ret_account, struct err *err);
/* As above. The user this process runs as; works without an entry in the user database. No groups.
 */
void account_find_own(struct account *ret_account);
void account_fini(struct account *account);

/* --- accounts.c: the same beside the loop --- */

/* Somebody who waits for an account. `done` is called once on the loop, never before accounts_find
 * returned, with what is borrowed for that call: the account, or NULL and why. */
struct account_wait {
	struct list link;
	const char *name; /* borrowed until then */
	void (*done)(
		struct account_wait *wait, const struct account *account, const struct err *err);
};
struct accounts;
struct accounts *accounts_create(uv_loop_t *loop);
/* Only when nobody waits. `closed` runs at once, or soon: a look-up that is under way is not waited
 * for. */
void accounts_destroy(struct accounts *accounts, exec_closed_fn *closed, void *data);
void accounts_find(struct accounts *accounts, struct account_wait *wait);
/* Before it was called back; it will not be. */
void accounts_give_up(struct account_wait *wait);

/* --- folder.c: what a program and we write to each other --- */

#define FOLDER_CHECKPOINT "checkpoint"
#define FOLDER_PROGRESS   "progress"
#define FOLDER_FINISH_BY  "finish_by"
#define FOLDER_PAYLOAD    "payload"
#define CHECKPOINT_COMPLAINT                                                                       \
	"[gathering: the checkpoint has more than 1048576 bytes and was not taken]\n"

struct folder {
	struct list link; /* of notes */
	struct attempt *attempt;
	char *path; /* owned; NULL: there is none */
	uid_t owner;
	gid_t group;
	int watch; /* -1: looked at instead */
	bool has_progress, has_checkpoint;
	bool is_being_written; /* the checkpoint */
	struct timespec progress_seen, checkpoint_seen;
};

/* With the run's last checkpoint in it, and its payload. False: errno, and something may be there.
 */
bool folder_make(struct folder *folder, const struct run *run);
/* Puts the file finish_by there; best effort. */
void folder_finish_by(const struct folder *folder, int64_t at_ms);
/* Both add to `note` what is new. */
void folder_read_progress(struct folder *folder, struct run_note *note);
enum folder_checkpoint {
	CHECKPOINT_SAME,
	CHECKPOINT_NEW,
	CHECKPOINT_TOO_LONG
};
enum folder_checkpoint folder_read_checkpoint(struct folder *folder, struct run_note *note);
/* With all that is in it; SOME: bounded, what is more stays. */
enum folder_extent {
	FOLDER_SOME,
	FOLDER_ALL
};
void folder_remove(const char *path, enum folder_extent extent);

/* --- notes.c: all folders of this process --- */

struct notes;
/* Makes <state_dir>/tmp and a folder of our own in it; removes what dead processes have left there.
 */
int notes_create(uv_loop_t *loop, const char *state_dir, struct notes **ret_notes, struct err *err);
/* Only without folders. */
void notes_destroy(struct notes *notes, exec_closed_fn *closed, void *data);
/* Makes and watches the folder of an attempt. */
int notes_open(struct attempt *attempt, const struct account *account, struct folder *folder,
	struct err *err);
/* A last look, then it is removed. Fine when there is none. */
void notes_close(struct attempt *attempt, struct folder *folder);

/* --- program_env.c --- */

#define PROGRAM_PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define PROGRAM_SHELL        "/bin/sh"

/* The whole environment of a program, NULL at the end; owned (env_free). `target` is the rendered
 * one, `folder_path` the private folder of the attempt. */
char **env_create(const struct run *run, const struct exec_target *target,
	const struct account *account, const char *folder_path);
void env_free(char **env);
/* The PATH the program will see. Borrowed from `target`, or static. */
const char *env_path(const struct exec_target *target);

/* --- program_policy.c --- */

/* What will be executed: the file, found through PATH when its name has no '/'. With exec_paths set
 * it is the resolved file (no symbolic link left), so that what was checked is what runs. *ret_path
 * is owned by the caller. ERR_FORBIDDEN by policy; ERR_NOT_FOUND. */
int program_find(const struct exec *exec, const struct exec_target *target, char **ret_path,
	struct err *err);
/* Are programs enabled, and may they run as the user this target names? ERR_FORBIDDEN. */
int program_check_user(const struct exec *exec, const struct exec_target *target, struct err *err);
int program_check(const struct exec *exec, const struct action *action, struct err *err);

/* --- child.c --- */

/* Everything the new process needs, looked up before fork. All borrowed. */
struct child_spec {
	const char *path;
	char *const *argv;
	char *const *env;
	const char *cwd;               /* NULL: stay */
	const struct account *account; /* to become; NULL: stay */
	bool has_stdin;                /* a pipe; else `null_fd` */
	int null_fd;
	const struct exec_limits *limits;
	int keeper_fd; /* told of the new process group; -1: none */
};

enum child_stage {
	CHILD_STDIO,
	CHILD_USER,
	CHILD_CWD,
	CHILD_LIMITS,
	CHILD_EXEC
};

/* Why the child never became the program. */
struct child_failure {
	enum child_stage stage;
	int error; /* errno */
};

/* A process we started and have not reaped, and our ends of its pipes (non-blocking, CLOEXEC). */
struct child {
	pid_t pid; /* also its process group */
	int pidfd;
	int stdin_fd; /* -1: none */
	int output_fd;
	int status_fd; /* see child_failed */
};

/* A server that was started with 0, 1 or 2 closed is given these numbers for descriptors of its
 * own, which a child's dup2 would overwrite: moves *fd above them, CLOEXEC. False: errno. */
bool child_lift_fd(int *fd);

/* ERR_IO with a text when there is no process. */
int child_start(const struct child_spec *spec, struct child *ret_child, struct err *err);
/* Sends `signo` to the whole group. Only before the child was reaped: its number is ours till then.
 */
void child_signal(const struct child *child, int signo);
/* Has it exited (reaped or not)? */
bool child_has_exited(const struct child *child);
/* Collects the exit status of one that has exited. False: cannot be known (somebody else did). */
bool child_reap(const struct child *child, siginfo_t *ret_info);
/* Once it has exited: true when it failed before it became the program. */
bool child_failed(const struct child *child, struct child_failure *ret_failure);
/* KILL and wait: for the one moment where a child exists that cannot be watched. */
void child_discard(const struct child *child);

/* --- keeper.c --- */

/* The process that outlives a `kill -9` of this one and then kills the groups of its programs; and
 * ends them before the lease does when this one stands still. All but keeper_start are for a keeper
 * that was stopped, too. One that does not listen any more is stopped. */
struct keeper {
	pid_t pid;    /* 0: none */
	int fd;       /* -1: none */
	pid_t *ended; /* owned; groups it has ended and we have not withdrawn */
	int ended_count, groups_max;
};
#define KEEPER_GROUPS_MAX 10000 /* what max_running_exec may be raised to */
int keeper_start(int groups_max, struct keeper *ret_keeper, struct err *err);
/* Without a word to the groups: only when there are none, or when the keeper cannot be trusted. */
void keeper_stop(struct keeper *keeper);
/* Async-signal-safe; fd -1 is fine. A group that could not be announced has its PDEATHSIG only. */
void keeper_announce(int fd, pid_t group);
/* `group` has got its TERM: it is not to get another one. */
void keeper_note_ending(struct keeper *keeper, pid_t group);
/* Has the keeper ended `group`, whose leader was running then? */
bool keeper_has_ended(struct keeper *keeper, pid_t group);
/* Before the leader is reaped, for then the number may be somebody else's. */
void keeper_withdraw(struct keeper *keeper, pid_t group);
/* Programs may run until then, from the first time on. */
void keeper_extend(struct keeper *keeper, int64_t until_boot_ms);
