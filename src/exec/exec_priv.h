/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the executor share. From the outside in:
 *
 *   exec.c            slots; the table of kinds
 *   attempt.c         what all kinds share: secrets, beginning, ending, output, delivery
 *   webhook.c         one http attempt          program.c          one exec attempt
 *   webhook_loop.c    libcurl multi on libuv    child.c            fork, exec, and why it failed
 *   webhook_addr.c    addresses we do not call  program_policy.c   which program, as whom, allowed?
 *   webhook_policy.c  may we call there?        program_env.c      the environment
 *   webhook_request.c method, headers, limits   account.c          users and groups
 *   webhook_follow.c  redirects                 accounts.c         looked up beside the loop
 *   webhook_sign.c    signature, traceparent
 *   webhook_hosts.c   places at each host
 *   webhook_result.c  what became of it
 *   capture.c         bounded output            keeper.c           ends programs when we are killed
 *   redact.c          secrets taken out of it   noop.c             nothing at all
 *   query.c           one sql attempt               databases.c      where to, over which pool
 *   notes.c           watches what programs note  folder.c         and the folder they do it in
 */
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include "base/list.h"
#include "exec/exec.h"
#include "exec/program_priv.h"
#include "model/template.h"
#include "pg/pg.h"

/* --- named limits --- */

#define OUTPUT_LINGER_MS 500   /* a program has exited, but something still holds its output */
#define KILL_WAIT_MS     10000 /* a program that does not even end on KILL is given up */
/* Before the end of the lease. The server's own TERM comes earlier, so that the keeper's is only
 * for a server that stands still; the KILL is there also for one whose term_grace is long. */
#define KEEPER_TERM_MS       4000
#define KEEPER_KILL_MS       1000
#define OUTPUT_CHUNK         65536      /* bytes of one read; the capacity of a pipe */
#define OUTPUT_READS         4          /* reads of one program in one loop turn */
#define ERROR_TEXT_MAX       1000       /* bytes of attempt_result.error */
#define ERROR_TEXT_ROOM      16384      /* while secrets are still in it */
#define NOTE_EVERY_MS        1000       /* progress and checkpoint of a program are read so often */
#define HOOK_BODY_MAX        (16 << 20) /* bytes of an answer's body that are read */
#define HOOK_IDLE_MAX        64         /* CURL handles kept for the next transfer */
#define HOOK_BUFFER_SIZE     4096       /* bytes of one read of an answer */
#define HOOK_UPLOAD_SIZE     16384      /* and of one write of a long body; libcurl's least */
#define HOOK_HEADERS_MAX     (256 << 10)
#define HOOK_RETRY_AFTER_MAX (7 * 24 * 3600) /* seconds */

/* --- capture.c: output of which beginning and end are kept --- */

/* The first quarter of the limit, then a ring that grows up to `max`, the rest of it, and forgets
 * its oldest bytes. */
struct capture {
	char *head; /* owned */
	size_t head_len, head_max;
	char *bytes; /* owned */
	size_t size, start, len, max;
	int64_t total; /* bytes ever written */
};
void capture_init(struct capture *capture, size_t max);
void capture_fini(struct capture *capture);
void capture_write(struct capture *capture, const void *bytes, size_t len);

/* A copy, owned by the caller, NUL behind it; never NULL. Where bytes were forgotten stands a line
 * "[... 12345 bytes left out ...]", which comes on top of `max`. */
char *capture_copy(const struct capture *capture, size_t *ret_len);

/* A copy of at most `max` bytes from byte `from` of all that was written on, or from the first one
 * behind it that is not forgotten: *io_from. */
char *capture_from(const struct capture *capture, int64_t *io_from, size_t max, size_t *ret_len);

/* --- redact.c: the values of secrets, taken out of output --- */

/* Each value that was added is replaced by "[redacted]", also where it lies across two writes,
 * percent-encoded or escaped for JSON. */
struct redactor;
struct redactor *redactor_create(void);
void redactor_destroy(struct redactor *redactor); /* NULL is fine; wipes the values */
/* `value` is copied; "" adds nothing. Only before the first write. */
void redactor_add(struct redactor *redactor, const char *value);
/* Passes on to `capture` what cannot be the beginning of a value any more; the rest, less than the
 * longest value, follows with later writes or with redactor_end. */
void redactor_write(
	struct redactor *redactor, const void *bytes, size_t len, struct capture *capture);
void redactor_end(struct redactor *redactor, struct capture *capture);
/* A copy of a text that is complete in itself (an error), owned by the caller. Independent of what
 * is being written. */
char *redactor_clean(const struct redactor *redactor, const char *text);

/* --- attempt.c --- */

struct attempt;

/* A kind of action. All hooks run on the loop; none may deliver the result itself: attempt_finish.
 */
struct exec_kind {
	struct attempt *(*create)(void);
	void (*destroy)(struct attempt *attempt);
	void (*start)(struct attempt *attempt);
	bool (*has_ended)(const struct attempt *attempt); /* by itself, seen by us or not yet */
	void (*end)(struct attempt *attempt);             /* politely; attempt->ending says why */
	void (*kill)(struct attempt *attempt);            /* at once */
	int (*check)(const struct exec *exec, const struct action *action, struct err *err);
	void (*finish_by)(struct attempt *attempt, int64_t at_ms); /* NULL: cannot be told */
	bool takes_no_slot; /* of max_running; its own limit holds */
};
extern const struct exec_kind webhook_kind;
extern const struct exec_kind program_kind;
extern const struct exec_kind query_kind;
extern const struct exec_kind noop_kind;

/* The part of a running attempt that all kinds have; a kind embeds it in a struct of its own. */
struct attempt {
	struct list link; /* exec->attempts */
	struct exec *exec;
	const struct exec_kind *kind;
	const struct run *run;         /* borrowed from the caller of exec_start */
	const struct action *action;   /* the run's */
	struct rendered_target target; /* the action's, with the values of its templates put in */
	struct name_value *secrets;    /* owned; of the action */
	size_t secret_count;
	bool is_fetching; /* its secrets; it has not begun */
	exec_done_fn *done;
	void *data;
	uv_timer_t timer; /* the deadline; kinds may re-arm it for what follows */
	int open_handles; /* the timer and the kind's; the result is delivered when all are closed
			   */
	bool is_finished;
	enum attempt_outcome ending;  /* who asked it to end; ATTEMPT_SUCCEEDED: nobody */
	struct capture output;        /* written through attempt_write */
	struct redactor *redactor;    /* owned; NULL: the action uses no secrets */
	struct attempt_result result; /* outcome, codes and error are the kind's to fill */
};

/* Once its fields are set: fetches its secrets, renders its target, and lets the kind start. */
void attempt_prepare(struct attempt *attempt);

/* Every uv handle of an attempt is announced once it is initialised, and closed by
 * attempt_close_handle. handle->data is the attempt's. */
void attempt_own_handle(struct attempt *attempt, uv_handle_t *handle);
void attempt_close_handle(struct attempt *attempt, uv_handle_t *handle);

/* (Re)arms the attempt's one timer. */
void attempt_arm(struct attempt *attempt, int64_t after_ms, uv_timer_cb on_timer);
/* With the action's timeout from now on. */
void attempt_arm_deadline(struct attempt *attempt);
/* Ends it as its deadline would, or a person. */
void attempt_end(struct attempt *attempt, enum attempt_outcome outcome);

/* Adds to the captured output. Values of the action's secrets are taken out. */
void attempt_write(struct attempt *attempt, const void *bytes, size_t len);

/* Hands over what the attempt has noted; its message without the values of secrets. The rest stays
 * the caller's to free. */
void attempt_note(struct attempt *attempt, struct run_note *note);

/* What a target's answer says about the run, handed over as attempt_note does. */
void attempt_take_answer(
	struct attempt *attempt, const char *text, size_t len, bool *ret_is_done, struct err *err);
/* Tells in the output that `what` was not taken, if `err` says why. */
void attempt_refuse_note(struct attempt *attempt, const char *what, const struct err *err);

/* Sets result.error without the values of secrets; what is not UTF-8 is replaced, what is too long
 * is cut. */
void attempt_set_error(struct attempt *attempt, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* "timed out after 5s", "cancelled": how an attempt that was made to end (attempt->ending) ended.
 */
#define ENDING_TEXT_SIZE 96
const char *attempt_ending_text(
	const struct attempt *attempt, char ret_text[static ENDING_TEXT_SIZE]);

/* Nobody outside has seen anything of it yet: interrupted now, it has not begun. */
void attempt_forget_start(struct attempt *attempt);
/* The result of one that was ended (attempt->ending) before it did anything but wait: "waiting for
 * its secrets". The caller finishes it. */
void attempt_end_unbegun(struct attempt *attempt, const char *what);
/* The same, as interrupted, when nothing may begin any more (exec_lease_is_over). False: go on. */
bool attempt_is_too_late(struct attempt *attempt, const char *what);

/* The result is complete: closes the timer; the callback follows once all handles are closed. */
void attempt_finish(struct attempt *attempt);

/* --- exec.c --- */

/* Has the lease run out while we stood still, or nearly? The keeper ends no program that is started
 * so late, and our own fence has yet to hear of it. For what begins after a wait. */
bool exec_lease_is_over(const struct exec *exec);

/* ERR_FORBIDDEN: the action has secrets and nobody here keeps any. */
int exec_check_secrets(const struct exec *exec, const struct action *action, struct err *err);
/* Its slot is free; it is not on the list any more. */
void exec_leave(struct attempt *attempt);

/* --- webhook_loop.c: every transfer of the executor --- */

struct hooks;
int hooks_create(uv_loop_t *loop, int connections_max, struct hooks **ret_hooks, struct err *err);
/* How many are kept for later, from now on. */
void hooks_set_connections(struct hooks *hooks, int connections_max);
/* Connections are closed now, handles later; then `closed` runs. Only without transfers. */
void hooks_destroy(struct hooks *hooks, exec_closed_fn *closed, void *data);
/* `easy` is a CURL handle whose private pointer is what webhook_on_done wants. Not from within a
 * callback of libcurl. hooks_add returns a CURLMcode. */
int hooks_add(struct hooks *hooks, void *easy);
void hooks_remove(struct hooks *hooks, void *easy);
/* A CURL handle as new, and its way back (NULL is fine) once its transfer was removed. */
void *hooks_take_easy(struct hooks *hooks);
void hooks_give_easy(struct hooks *hooks, void *easy);
/* Closes the connections kept for later; only while no transfer is under way. */
void hooks_drop_connections(struct hooks *hooks);
/* In webhook.c: a transfer ended with a CURLcode. */
void webhook_on_done(void *easy, int curl_code);

/* --- webhook_request.c --- */

struct curl_slist;
struct webhook;
/* All that libcurl has to know about a request, and its headers. What the webhook's target holds is
 * borrowed. */
void webhook_set_request(struct webhook *hook);

/* --- webhook_follow.c --- */

/* Is this status, with a Location, a redirect that will be followed? */
bool webhook_will_follow(const struct webhook *hook, int status);
/* After such an answer: makes the webhook's next request from it, or sets the error and says false.
 */
bool webhook_follow(struct webhook *hook, int status);

/* --- webhook_sign.c --- */

/* Standard Webhooks: "v1,BASE64 v1,BASE64" over "ID.TIMESTAMP.BODY", one for each secret that
 * target->signing_secrets names. *ret_text owned by the caller. ERR_NOT_FOUND, ERR_INVALID. */
int webhook_sign(
	const struct attempt *attempt, int64_t timestamp_s, char **ret_text, struct err *err);
/* W3C Trace Context: the trace that the run belongs to, or else one of its own; the span is this
 * attempt's. */
const char *webhook_traceparent(const struct run *run, char ret_text[static TRACEPARENT_SIZE]);

/* --- webhook_hosts.c: so many requests to one host at a time --- */

struct hosts;
struct hosts *hosts_create(int max_per_host);
void hosts_destroy(struct hosts *hosts);
/* Takes a place at the host of `url`; false: there is none, and the webhook waits. hosts_leave
 * gives a place back, or the waiting up. */
bool hosts_enter(struct hosts *hosts, struct webhook *hook, const char *url);
void hosts_leave(struct hosts *hosts, struct webhook *hook);
/* The next that waits at a host with a free place; it has the place now. NULL: none. */
struct webhook *hosts_next(struct hosts *hosts);
int hosts_limit(const struct hosts *hosts);
/* Requests under way that had no limit when they began are not counted. */
void hosts_set_limit(struct hosts *hosts, int max_per_host);
/* In webhook.c: starts those that wait while there are slots and places for them. */
void webhook_start_waiting(struct exec *exec);

/* --- webhook_policy.c --- */

/* Why this executor does not call `address`, and what could be done about it ("": nothing); NULL
 * when it does. Both static. */
const char *webhook_refusal(
	const struct exec *exec, const struct sockaddr *address, const char **ret_advice);
int webhook_check(const struct exec *exec, const struct action *action, struct err *err);
/* At the start: can the option's file be read? ERR_INVALID. */
int webhook_check_ca_file(const char *path, struct err *err);

/* --- webhook_addr.c --- */

/* Why `address` must not be called ("a link-local address"), or NULL when it may. The text is
 * static. */
enum private_targets {
	PRIVATE_TARGETS_REFUSED,
	PRIVATE_TARGETS_ALLOWED
};
const char *address_refusal(const struct sockaddr *address, enum private_targets targets);
/* "127.0.0.1:80", "[::1]:80"; returns `ret_text`. */
#define ADDRESS_TEXT_SIZE 64
const char *address_format(const struct sockaddr *address, char ret_text[static ADDRESS_TEXT_SIZE]);

/* --- query.c, databases.c --- */

#define SQL_SELF "self"
int query_check(const struct exec *exec, const struct action *action, struct err *err);

struct databases;
/* ERR_INVALID: the option sql_databases. */
int databases_create(
	const struct exec_opts *opts, struct databases **ret_databases, struct err *err);
/* Of each, from now on: as many as there may be sql attempts. */
void databases_set_connections(struct databases *databases, int connections_max);
/* Only without attempts. */
void databases_destroy(struct databases *databases, exec_closed_fn *closed, void *data);
bool databases_has(const struct databases *databases, const char *name);
/* The pool, made at the first use; and the role to become, or NULL. */
int databases_find(struct databases *databases, const char *name, struct pg_pool **ret_pool,
	const char **ret_role, struct err *err);

/* --- the executor --- */

struct exec {
	struct exec_opts opts; /* strings borrowed */
	struct list attempts;
	int running; /* attempts, those that take no slot included */
	int slots_taken;
	int running_kind[ACTION_KIND_COUNT];
	int waiting; /* of the http ones: for a place at their host */
	struct hooks *hooks;
	struct hosts *hosts;
	struct account own;
	struct accounts *accounts;
	int64_t lease_until_boot_ms; /* 0: there is no lease */
	struct keeper keeper;
	struct databases *databases;
	struct notes *notes; /* NULL: programs are off */
	int null_fd;
	char *chunk; /* OUTPUT_CHUNK bytes, for reading */
	exec_closed_fn *closed;
	void *closed_data;
};
