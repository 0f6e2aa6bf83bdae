/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs one attempt, reports one result. Knows neither schedule nor store. A kind of action is a
 * file (webhook.c, program.c, query.c, noop.c) and a row in exec.c's table. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/id.h"
#include "model/model.h"

struct exec;

/* Reads secrets by name for an attempt. Calls `done` once, on the loop, never before it returned;
 * what it hands over (those that exist) is borrowed for that call. */
typedef void exec_secrets_fn(
	const struct name_value *secrets, size_t count, const struct err *err, void *attempt);
typedef void exec_get_secrets_fn(
	char *const *names, exec_secrets_fn *done, void *attempt, void *data);

/* Takes what it wants out of `note`; the rest is freed behind it. On the loop, before the attempt's
 * end; not more than one a second, and a last one. */
typedef void exec_note_fn(const struct run *run, struct run_note *note, void *data);

/* See exec_opts; `data` is that of exec_start. A result that was recorded so says is_recorded. */
struct pg_query;
typedef void exec_put_end_fn(const struct run *run, const struct attempt_result *result,
	struct pg_query *query, void *data);
typedef int exec_read_end_fn(
	const struct run *run, const struct pg_query *query, struct err *err, void *data);

struct exec_opts {
	uv_loop_t *loop;
	int max_running;                         /* attempts at a time, all kinds */
	int max_running_kind[ACTION_KIND_COUNT]; /* and per kind */
	bool exec_enabled;                       /* programs are refused unless set */

	/* Folders, separated by ':', in which (at any depth) programs must stand, symbolic links
	 * resolved; a shell command stands where /bin/sh does. "" or NULL: anywhere. */
	const char *exec_paths;

	/* Users, separated by ',', a program may run as. The server's own is among them only when
	 * it is named. "" or NULL: only the server's own. */
	const char *exec_users;

	bool allow_private_targets;
	int max_per_host; /* http attempts at a time to one scheme, host and port; 0: no limit */
	const char
		*ca_file; /* PEM: the only authorities that are trusted; "" or NULL: the system's */
	exec_get_secrets_fn *get_secrets; /* NULL: actions that use secrets are refused */
	void *get_secrets_data;
	int64_t term_grace_ms; /* TERM, then KILL */
	size_t output_max; /* bytes of output kept: a quarter of the beginning, the rest of the end;
			      a mark between */
	/* "NAME=postgresql://... NAME=...": what sql actions may use. "" or NULL: none. */
	const char *sql_databases;
	/* Our own database, and the role that sql actions become there. Either "" or NULL: they
	 * must not use it. The end of the run is recorded in their transaction by these two:
	 * put_end fills the query that does, read_end says whether its answer allows the COMMIT. */
	const char *sql_self_url, *sql_self_role;
	exec_put_end_fn *put_end;
	exec_read_end_fn *read_end;
	const char *state_dir; /* for the private folders of programs */
	/* What a running attempt has noted; `data` is that of exec_start. May be NULL. */
	exec_note_fn *on_note;
	const char *user_agent; /* "gathering/0.1.0" */
};

/* Strings in `opts` are borrowed for the life of the executor. For the whole process SIGPIPE is
 * ignored from now on, and an ignored SIGCHLD set back to its default. With exec_enabled a small
 * process is forked (keeper.c) that ends the programs of a server that was killed or stands still.
 * On the thread that runs the loop, which must be the one that lives as long as the process:
 * programs die with the thread that started them. */
int exec_create(const struct exec_opts *opts, struct exec **ret_exec, struct err *err);

/* What can change while it runs, as in exec_opts; for what begins from now on. With less room than
 * is taken, what runs goes on. */
struct exec_tuning {
	int max_running;
	int max_running_kind[ACTION_KIND_COUNT];
	int max_per_host;
	int64_t term_grace_ms;
	size_t output_max;
	bool allow_private_targets;
};
void exec_tune(struct exec *exec, const struct exec_tuning *tuning);

/* Only when idle (exec_in_flight() == 0); handles close asynchronously, then `closed` runs. */
typedef void exec_closed_fn(void *data);
void exec_destroy(struct exec *exec, exec_closed_fn *closed, void *data);

/* Would this action be refused here and now (exec disabled, path, user; an address written in the
 * URL)? 0 or ERR_FORBIDDEN with the member to blame and the option to change. The API asks before
 * it stores an action. Looks at the file system when exec_paths is set. */
int exec_check(const struct exec *exec, const struct action *action, struct err *err);

/* Attempts that may still start: of each kind alone, and, returned, of all kinds together that take
 * a slot of max_running. They share that: it can be less than their sum. */
int exec_free_slots(const struct exec *exec, int ret_free[static ACTION_KIND_COUNT]);
/* False for a kind whose attempts are over at once (noop): only its own limit counts. */
bool exec_takes_slot(enum action_kind kind);
size_t exec_in_flight(const struct exec *exec);

/* No attempt will start for a while: closes the connections kept to targets, so that nobody has to
 * wait for them to time out. Does nothing while an attempt is in flight. */
void exec_drop_connections(struct exec *exec);

/* Starts one attempt of `run` (run->action set; both borrowed until the callback). Never fails
 * here: whatever goes wrong becomes the result. `started_at_ms` (database clock) is put into the
 * result. The callback runs once, on the loop, never before this returned; `result` is handed over
 * (attempt_result_fini). Slots are the caller's to respect: must() when none is free.
 *
 * An attempt ends by itself, by action->timeout_ms (ATTEMPT_TIMED_OUT), or by exec_end(). A program
 * runs in its own process group with a clean environment (PATH, HOME, USER, LOGNAME, SHELL, LANG,
 * the action's, GATHERING_*), no inherited descriptor, and dies with the server; it is ended by
 * TERM, after term_grace_ms KILL, to the whole group; leftovers of its group are killed when it
 * exits. An http attempt succeeds when its status is expected. With max_per_host it may have to
 * wait for a place, at most as long as its timeout, which begins anew when it has one; those that
 * wait take no slot, until as many wait as may run. Headers and environment are those of API.md
 * "What an attempt is told".
 */
typedef void exec_done_fn(const struct run *run, struct attempt_result *result, void *data);
void exec_start(struct exec *exec, const struct run *run, int64_t started_at_ms, exec_done_fn *done,
	void *data);

/* Ends a running attempt; its callback still comes, with `outcome` (ATTEMPT_CANCELLED or
 * ATTEMPT_INTERRUPTED) unless it had ended by itself first. When asked again the first outcome
 * stays, but CANCELLED replaces INTERRUPTED. False: no such attempt here. */
bool exec_end(struct exec *exec, const struct id *run_id, enum attempt_outcome outcome);

/* The same for all; returns how many are in flight. exec_kill_all sends KILL at once and aborts
 * requests; attempts nobody had ended become ATTEMPT_INTERRUPTED. */
size_t exec_end_all(struct exec *exec, enum attempt_outcome outcome);
void exec_kill_all(struct exec *exec);

/* The lease under which attempts run is good until `until_boot_ms` (clock_boot_ms()). Programs get
 * TERM and then KILL from a process of their own (keeper.c) before that, whatever state this one is
 * in, unless it is extended in time; such an attempt becomes ATTEMPT_INTERRUPTED. Requests end when
 * the caller says so. Never called: there is no lease. */
void exec_extend_lease(struct exec *exec, int64_t until_boot_ms);

/* Tells running programs (GATHERING_FINISH_BY_FILE) when they will be ended. */
void exec_finish_by(struct exec *exec, int64_t at_ms);

/* The ids of what is running, at most `max`; returns how many were written. For logs and health. */
size_t exec_list(const struct exec *exec, struct id *ret_ids, size_t max);

/* Bytes captured so far by a running attempt: a copy (free()), or NULL when it does not run here.
 */
char *exec_output_so_far(const struct exec *exec, const struct id *run_id, size_t *ret_len);

/* The epoch under which an attempt of this run runs here; 0: none does. */
int64_t exec_epoch_of(const struct exec *exec, const struct id *run_id);

/* Of the output of the attempt of `run_id` that runs here under `epoch`, what comes from byte
 * `from` on (counted from the first it has written; secrets are taken out), at most `max` bytes.
 * When bytes from there on have been forgotten, `from` is where the rest begins. False: it does not
 * run here. */
struct exec_output {
	int64_t from, total;
	char *bytes; /* owned */
	size_t len;
};
bool exec_output_from(const struct exec *exec, const struct id *run_id, int64_t epoch, int64_t from,
	size_t max, struct exec_output *ret_output);

/* The same of output that was kept of an attempt of which nothing is to come: `text` of `len`
 * bytes, in which a mark may stand for what was left out of `total`. `bytes` is borrowed from it.
 */
void exec_kept_from(
	const char *text, size_t len, int64_t total, int64_t from, struct exec_output *ret_output);

/* The line that stands for bytes left out. */
#define EXEC_MARK_SIZE 64
const char *exec_mark(int64_t left_out, char ret_text[static EXEC_MARK_SIZE]);
