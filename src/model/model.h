/* SPDX-License-Identifier: Apache-2.0
 *
 * The nouns: action, run, attempt result. Their limits, their JSON, the run's state table with its
 * one mover, and the decision what follows an attempt. Pure: no clock, no I/O, no loop. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/id.h"
#include "plan/plan.h"

/* --- faults: everything wrong with one input, for a problem document --- */

#define FAULTS_MAX 16
struct faults {
	size_t count; /* may exceed FAULTS_MAX; only that many are kept */
	struct {
		char pointer[96];
		char detail[512];
	} item[FAULTS_MAX];
};
void faults_add(struct faults *faults, const char *pointer, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* --- action --- */

enum action_kind {
	ACTION_HTTP,
	ACTION_EXEC,
	ACTION_SQL,
	ACTION_NOOP,
	ACTION_KIND_COUNT
};
extern const char *const action_kind_names[]; /* NULL at the end, as all name tables here */

enum overlap {
	OVERLAP_SKIP,
	OVERLAP_QUEUE,
	OVERLAP_ALLOW,
	OVERLAP_CANCEL_RUNNING
};
extern const char *const overlap_names[];

enum on_interrupt {
	ON_INTERRUPT_RETRY,
	ON_INTERRUPT_FAIL,
	ON_INTERRUPT_HOLD
};
extern const char *const on_interrupt_names[];

enum backoff {
	BACKOFF_FIXED,
	BACKOFF_LINEAR,
	BACKOFF_EXPONENTIAL
};
extern const char *const backoff_names[];

enum action_state {
	ACTION_ACTIVE,
	ACTION_PAUSED,
	ACTION_COMPLETED
};
extern const char *const action_state_names[];

/* Limits of a definition; bytes where nothing else is said. Durations: timeout 1ms .. 7d,
 * misfire_grace up to 7d, max_lateness up to 366d, retry.initial and retry.max up to
 * RETRY_DELAY_MAX_MS. */
#define ACTION_NAME_MAX          128
#define ACTION_DESCRIPTION_MAX   4096
#define ACTION_TAGS_MAX          32 /* tags */
#define ACTION_TAG_BYTES_MAX     64
#define ACTION_URL_MAX           8192
#define ACTION_HEADERS_MAX       64 /* headers */
#define ACTION_HEADER_NAME_MAX   128
#define ACTION_HEADER_VALUE_MAX  8192
#define ACTION_HEADERS_BYTES_MAX 65536  /* names and values in all */
#define ACTION_BODY_MAX          262144 /* also stdin */
#define ACTION_ARGV_MAX          256    /* arguments */
#define ACTION_ARGV_BYTES_MAX    131072 /* in all; for one, too (Linux: MAX_ARG_STRLEN) */
#define ACTION_ENV_MAX           256    /* variables */
#define ACTION_ENV_NAME_MAX      256
#define ACTION_ENV_BYTES_MAX     131072 /* in all */
#define ACTION_PATH_MAX          4095
#define ACTION_USER_MAX          32
#define ACTION_DATABASE_MAX      64
#define ACTION_STATEMENT_MAX     262144
#define ACTION_QUEUE_LIMIT_MAX   1000
#define ACTION_CATCHUP_MAX       1000
#define ACTION_CONCURRENT_MAX    100000  /* runs at a time */
#define ACTION_PENDING_MAX       1000000 /* runs that wait */
#define ACTION_ATTEMPTS_MAX      100
#define SCHEDULE_TEXT_MAX        256 /* cron, every, at, anchor */
#define SCHEDULE_RUNS_MAX        1000000000
#define TIMEZONE_MAX             64
#define ACTION_STATUSES_MAX      16 /* ranges in expect_status */
#define ACTION_REDIRECTS_MAX     20
#define ACTION_RETRY_RULES_MAX   16
#define ACTION_SECRETS_MAX       32 /* distinct secrets of one action */
#define ACTION_SIGNERS_MAX       4
#define SECRET_NAME_MAX          64
#define SECRET_VALUE_MIN         4 /* shorter ones could not be kept out of output */
#define SECRET_VALUE_MAX         8192
#define RETRY_DELAY_MAX_MS       INT64_C(86400000) /* 24 h; bounds Retry-After too */

struct name_value {
	char *name;
	char *value;
};

/* Both ends belong to it. */
struct number_range {
	int min, max;
};

/* All strings owned by the action. url, header values and body may be templates. */
struct http_target {
	char *method;
	char *url;
	struct name_value *headers;
	size_t header_count;
	char *body;                  /* NULL: none */
	struct number_range *expect; /* statuses that count as success; none: 200..299 */
	size_t expect_count;
	char **signing_secrets; /* names, the first is the newest; NULL: not signed */
	int64_t connect_timeout_ms;
	int64_t first_byte_timeout_ms; /* from the request to the first byte of its answer; 0: none
					*/
	int max_redirects;             /* 0: a redirect is the answer */
};

bool http_target_expects(const struct http_target *target, int status);
/* The value that Content-Type will have: the action's, or guessed from the body. NULL: no body. */
const char *http_target_content_type(const struct http_target *target);

/* What one program, or each of its processes, may use. 0: no limit but the server's own. */
struct exec_limits {
	int64_t cpu_ms;    /* processor time of a process; rounded up to seconds */
	int64_t memory;    /* bytes of address space of a process */
	int64_t file_size; /* bytes of the largest file it may write */
	int files;         /* open files of a process */
	int processes;     /* of its user, whoever started them; does not bind root */
	int nice;          /* 0 .. 19: politeness towards other programs */
};
#define LIMIT_MEMORY_MIN (1 << 20)
#define LIMIT_MAX        (INT64_C(1) << 50)

struct exec_target {
	char **command; /* argv, NULL at the end; with use_shell exactly one element, given to sh -c
			 */
	char *cwd;      /* NULL: the state of the server */
	struct name_value *env;
	size_t env_count;
	char *stdin_text; /* NULL: /dev/null; a template, as the values of env */
	char *user;       /* NULL: as the server */
	bool use_shell;
	struct exec_limits limits;
};

/* After which failures an attempt is followed by another. */
enum retry_cause {
	RETRY_CAUSE_STATUS,     /* http: the answer had such a status */
	RETRY_CAUSE_EXIT,       /* exec: it ended with such an exit code (128 + n: signal n) */
	RETRY_CAUSE_TIMEOUT,    /* the action's timeout */
	RETRY_CAUSE_CONNECTION, /* http: there was no answer, or not all of it */
	RETRY_CAUSE_OTHER       /* it could not be begun as written, or was refused */
};
extern const char *const retry_cause_names[];

struct retry_rule {
	enum retry_cause cause;
	struct number_range range; /* of statuses or exit codes */
};

struct sql_target {
	char *database; /* "self", or the name of a configured one */
	char *statement;
	bool is_read_only;
};

struct retry_policy {
	int max_attempts; /* 1: no retry */
	enum backoff backoff;
	int64_t initial_ms, max_ms;
	double jitter;         /* 0 .. 1, share of the delay that is random */
	struct retry_rule *on; /* owned; none: any failure */
	size_t on_count;
};

/* What is kept of an action's ledger; 0: as the server's options say. */
struct retention {
	int64_t age_ms;
	int count;
};
#define RETENTION_AGE_MAX_MS (INT64_C(3660) * 86400000)
#define RETENTION_COUNT_MAX  1000000

/* How an action fares, when that changes. Each is an event, "action.<name>.failing", for which
 * others may wait, also by "action.*.failing"; and it starts the action that the one it is about
 * names for it (on_failure, on_recovery, on_late).
 *
 *   failing    a run has failed or timed out for good, and the one that ended before had not
 *   recovered  a run has succeeded, and it was failing or late before
 *   late       no run has succeeded within expect_success_within
 */
enum alert {
	ALERT_FAILING,
	ALERT_RECOVERED,
	ALERT_LATE,
	ALERT_COUNT
};
extern const char *const alert_names[];

/* An action: its definition (what a person writes) and the facts of its row. Immutable once shared,
 * counted references, freed by the last action_unref. The counts are atomic: a reference may be
 * taken and dropped on any thread. */
struct action {
	/* facts of the row */
	struct id id;
	int64_t version; /* 1, then +1 with each change; its ETag */
	bool is_paused;
	int64_t next_due_ms; /* the cursor; NO_TIME: nothing more to come */
	int64_t created_at_ms, updated_at_ms;

	/* definition */
	char *name;
	char *description; /* NULL: none */
	char **tags;       /* NULL at the end; never NULL itself */
	enum action_kind kind;
	struct http_target http;
	struct exec_target exec;
	struct sql_target sql;
	struct schedule *schedule; /* owned; NULL: manual only */
	json_t *schedule_json;     /* owned; as written and normalised; NULL: manual only */
	int64_t timeout_ms;
	enum overlap overlap;
	int queue_limit;
	int max_concurrent; /* overlap allow: runs at a time, in the whole cluster; 0: any number */
	int max_pending;    /* runs that may wait, for whatever reason */
	struct misfire_rules misfire;
	bool pause_records;
	enum on_interrupt on_interrupt;
	struct retry_policy retry;
	int priority; /* -100 .. 100, higher first */
	struct retention retention;
	int64_t expect_success_ms; /* 0: nothing is expected */
	char *hooks[ALERT_COUNT];  /* names of actions; NULL: none */
	char **secrets;            /* names of those the target uses, each once; NULL: none */
	bool uses_checkpoint;      /* {{checkpoint}} stands in the target */

	/* private to model/ */
	int refs;
	struct action
		*origin; /* one reference; the action whose definition this one shares. NULL: own */
};

struct action *action_ref(struct action *action);
void action_unref(struct action *action); /* NULL is fine */
enum action_state action_state(const struct action *action);

/* The event that starts it, NULL when none does; borrowed. Whether it has a schedule with due
 * times.
 */
const char *action_event(const struct action *action);
bool action_has_due_times(const struct action *action);
bool action_runs_on_start(const struct action *action);

/* How many runs may wait before the next is skipped or refused, as its overlap has it. */
int action_pending_limit(const struct action *action);

/* --- limits: how much runs at a time in the whole cluster --- */

/* Counts the running runs of a kind and of actions with a tag; both may be open. */
struct run_limit {
	int kind;  /* enum action_kind, or -1: any */
	char *tag; /* owned; NULL: any */
	int max;
};
#define RUN_LIMITS_MAX 32

/* "all=200, kind.exec=4, tag.db=2" (option `limits`); "" for none. `ret_limits` has room for
 * RUN_LIMITS_MAX; release with run_limits_fini. ERR_INVALID, naming the part that is wrong. */
int run_limits_parse(
	const char *text, struct run_limit *ret_limits, size_t *ret_count, struct err *err);
void run_limits_fini(struct run_limit *limits, size_t count);

/* Whether runs of `action` count. */
bool run_limit_applies(const struct run_limit *limit, const struct action *action);

/* Reads a definition. Unknown members, wrong types and out-of-range values are faults, each with
 * its JSON pointer; ERR_INVALID then. `base` (may be NULL) is what a PATCH starts from: members
 * absent in `json` keep its values, null restores the default; nested objects merge (RFC 7396).
 * What the merge yields is judged as a whole: a PATCH from cron to every, or to the other kind, has
 * to null the old. The members that action_to_json and the API add (id, version, state,
 * next_due_at, created_at, updated_at, failing_since, late_since, deadline, warnings) are accepted
 * with any value and ignored, so that GET, edit, PUT works.
 * Without `base`, too, a null counts as absent. The facts of the row are left zero (next_due_ms
 * NO_TIME). *ret_action has one reference. `faults` gains; start with {0}. */
int action_from_json(const json_t *json, const struct action *base, struct action **ret_action,
	struct faults *faults);

/* The definition alone, defaults written out, members without a value (no schedule, no description)
 * left out: what the store keeps and PUT takes back unchanged. New reference, owned by the caller;
 * it shares nothing with the action. */
json_t *action_definition_json(const struct action *action);

/* For json_dumps of anything from here: shares such as 0.2 are written as they were read. */
#define JSON_WRITE_FLAGS (JSON_COMPACT | JSON_REAL_PRECISION(15))

/* The definition plus id, version, state, next_due_at, created_at, updated_at: what the API shows.
 */
json_t *action_to_json(const struct action *action);

/* The definition as compact text (owned by the caller) and back. action_from_text gives ERR_CORRUPT
 * when stored text cannot be read any more. */
char *action_definition_text(const struct action *action);
int action_from_text(const char *text, size_t len, struct action **ret_action, struct err *err);

/* A schedule object ({"cron": ...,"timezone": ...}) by itself, for previews. `pointer` is where it
 * stands in the input ("/schedule", or "" when it is the input); `name` is the action's, by which H
 * and jitter are picked (NULL: they are refused). Members: exactly one of cron, every, at; anchor
 * (with every); start_at, end_at, jitter, timezone; dst_gap, dst_overlap, day_match (these three
 * have an effect on cron only; elsewhere they are checked, then forgotten). 0 or ERR_INVALID with
 * faults. */
int schedule_from_json(const json_t *json, const char *pointer, const char *name,
	struct schedule **ret_schedule, struct faults *faults);

/* As RFC 3339 in UTC; NO_TIME gives null. New reference. */
json_t *json_time(int64_t at_ms);

/* A due time as previews show it. New reference. */
json_t *due_to_json(const struct due *due);

/* JSON text from outside to a value: depth <= JSON_MAX_DEPTH, no duplicate keys, valid UTF-8, no
 * NUL, one value only. ERR_BAD_REQUEST with position. */
#define JSON_MAX_DEPTH 32
int json_from_text(const char *text, size_t len, json_t **ret_json, struct err *err);

/* A copy of an action that differs in the facts of its row only. Cheap: the definition is shared.
 * One reference, owned by the caller; `action` may go before it. */
struct action *action_with_row(const struct action *action, const struct id *id, int64_t version,
	bool is_paused, int64_t next_due_ms, int64_t created_at_ms, int64_t updated_at_ms);

/* --- run --- */

enum run_state {
	RUN_PENDING,
	RUN_RUNNING,
	RUN_SUCCEEDED,
	RUN_FAILED,
	RUN_TIMED_OUT,
	RUN_CANCELLED,
	RUN_SKIPPED,
	RUN_HELD,
	RUN_STATE_COUNT
};

enum run_reason {
	REASON_NONE,
	REASON_HANDED_BACK, /* pending: its owner shut down */
	REASON_OWNER_LOST,  /* pending, failed or held: its owner died */
	REASON_RETRY,       /* pending: an attempt failed, another follows at not_before */
	REASON_QUEUED,      /* pending: waits for an earlier run of the action, or for capacity */
	REASON_OVERLAP,     /* skipped: an earlier run was unfinished; cancelled: made room */
	REASON_PAUSED,   /* skipped: the action was; held: a person paused the run; running: that is
			    asked for */
	REASON_LATE,     /* skipped */
	REASON_BLACKOUT, /* skipped: due in a blackout of the schedule */
	REASON_LIMIT,    /* skipped: queue_limit or max_catchup */
	REASON_USER,     /* cancelled by a person */
	REASON_SHUTDOWN  /* failed or held by on_interrupt: interrupted by a shutdown */
};

enum run_trigger {
	TRIGGER_SCHEDULE,
	TRIGGER_MANUAL,
	TRIGGER_EVENT,
	TRIGGER_BACKFILL,
	TRIGGER_RETRY,
	TRIGGER_START
};

extern const char *const run_state_names[];
extern const char *const run_reason_names[]; /* [REASON_NONE] is "" and written as null in JSON */
extern const char *const run_trigger_names[];

/* What a running attempt writes down for people (progress) and for the attempt after it (an opaque
 * checkpoint). A note says what is new; the parts it does not have stay as they are. */
#define CHECKPOINT_MAX       1048576 /* bytes */
#define PROGRESS_MESSAGE_MAX 500     /* bytes */
struct run_note {
	bool has_progress;
	int percent;      /* 0 .. 100; -1: not said */
	char *message;    /* owned, well-formed UTF-8; NULL: none */
	char *checkpoint; /* owned; NULL: nothing new; one of no bytes takes the old one back */
	size_t checkpoint_len;
};
void run_note_fini(struct run_note *note);
bool run_note_is_empty(const struct run_note *note);
/* Takes over what `newer_take` has, and empties it. */
void run_note_merge(struct run_note *note, struct run_note *newer_take);

/* Reads progress: the last line that says something counts, either `42 copying`, `42%`, `copying`
 * or {"percent": 42, "message": "copying"}; the whole text may be one such object, too. A
 * percentage is rounded down and kept within 0 to 100, a message cut. False: nothing in it. */
bool progress_parse(const char *text, size_t len, struct run_note *note);

/* An answer of a target (http, sql) that says something about the run: {"progress": {"percent": 42,
 * "message": "..."}, "checkpoint": ..., "done": false}, all optional, others ignored. A checkpoint
 * is a text, or any other JSON value, which is kept as its compact text; null takes the old one
 * back. ERR_INVALID or ERR_TOO_LARGE with the reason, and nothing in `note`. Not done: the attempt
 * did its part, but has to be followed by another. */
#define ANSWER_NOTE_TYPE "application/vnd.gathering+json"
#define ANSWER_NOTE_MAX  (2 * CHECKPOINT_MAX)
#define ANSWER_UNDONE    "the target is not done yet, it says"
int answer_note_parse(const char *text, size_t len, struct run_note *ret_note, bool *ret_is_done,
	struct err *err);

/* W3C Trace Context. Reads the header of a request; written back as version 00, with no flag but
 * "sampled". False: none (NULL), or malformed, which is the same. */
#define TRACEPARENT_SIZE 56
bool traceparent_parse(const char *text, char ret_text[static TRACEPARENT_SIZE]);

/* The ledger row. Strings owned; run_fini frees them. `action` is set (one reference) where a run
 * is to be started, else NULL. */
struct run {
	struct id id;
	struct id action_id;
	int64_t action_version; /* the definition it was claimed with */
	char *action_name;
	enum run_trigger trigger;
	int64_t due_at_ms;
	enum run_state state;
	enum run_reason reason;
	int attempt; /* attempts begun; 0 before the first */
	int interruptions;
	int64_t epoch;
	struct id instance_id; /* owner while running, last owner after; zero: none */
	int priority;
	int64_t not_before_ms;                                               /* NO_TIME: at once */
	int64_t created_at_ms, claimed_at_ms, started_at_ms, finished_at_ms; /* NO_TIME: not yet */
	int http_status;                                                     /* 0: none */
	int exit_code; /* -1: none; 128+n: ended by signal n */
	char *error;   /* NULL: none */
	int64_t output_bytes;
	int64_t missed_count;    /* > 1: this skipped row stands for so many due times ... */
	int64_t missed_until_ms; /* ... up to this one */
	bool cancel_requested;
	int64_t backfill;   /* number of the action's backfill that made it; 0: none */
	struct id retry_of; /* the run a person repeats with this one; zero: none */
	/* What an event brought, of a run with trigger event: its name, and JSON text. Only where
	 * store.h says so, else NULL. */
	char *event;
	char *payload;
	bool has_progress;        /* of the present or last attempt */
	int progress_percent;     /* -1: not said */
	char *progress_message;   /* NULL: none */
	int64_t checkpoint_bytes; /* of the last checkpoint; 0: none */
	char *checkpoint;         /* where a run is to be started, what to go on from; else NULL */
	/* Of the request that asked for the run, or set in motion what did; "": none. */
	char traceparent[TRACEPARENT_SIZE];
	struct action *action;
};

void run_fini(struct run *run);

/* A payload in compact JSON text, at most so long. */
#define EVENT_PAYLOAD_MAX 262144

/* The end of a run is an event too, by which others are chained to it:
 * "action.<name>.succeeded|failed|timed_out|cancelled". Names that begin so are the server's own.
 */
#define RUN_EVENT_PREFIX "action."

/* The event that the end of `run` is (action_name and a final state are set); NULL for a state that
 * is none: skipped runs have not ended, they never were. Text owned by the caller. */
char *run_event_name(const struct run *run);
/* Its payload: {"action": ..., "run_id": ..., "state": ..., ...}. Owned by the caller. */
char *run_event_payload(const struct run *run);
/* "nightly" of "action.nightly.succeeded": the action whose end that event is; NULL for any other
 * event. Owned by the caller. */
char *run_event_action(const char *event);

/* "action.nightly.late" and "action.*.late"; owned by the caller. */
char *alert_event_name(enum alert alert, const char *action_name);
/* What it brings: the payload of the event that the end of `run` is, and which alert. */
char *alert_payload(enum alert alert, const struct run *run);
/* The same for a deadline that has passed. */
char *late_payload(const char *action_name, int64_t deadline_ms, int64_t expect_ms);

/* An event that starts a run which ends in an event which ...: a chain no longer than this. Longer
 * ones are refused when an action is written; runs that would come later in one are skipped. */
#define CHAIN_MAX 32

/* As in API.md; new reference. Absent values are null; not_before_at, missed_count, missed_until,
 * retry_of, cancel_requested, pause_requested and traceparent are members only when they say
 * something. Ill-formed UTF-8 in `error` is replaced. */
json_t *run_to_json(const struct run *run);

/* The only writer of run->state (a run is born in its first state). False, and nothing changed,
 * when the move is not allowed.
 *
 *   pending -> running -> succeeded | failed | timed_out | cancelled | held
 *   pending -> cancelled | held | failed        running -> pending (handed back, retry, owner lost)
 *   held -> pending | cancelled                 skipped is born and stays */
bool run_move(struct run *run, enum run_state to, enum run_reason reason);
bool run_state_is_final(enum run_state state);

/* A person asked a running run to stop where it is; it will be held. */
bool run_is_pausing(const struct run *run);

/* Waiting for so long outweighs one point of priority: nothing starves. */
#define RUN_AGEING_MS 60000

/* The place of a pending run in the line for capacity; less goes first. It orders by priority + age
 * / RUN_AGEING_MS, but has no `now` in it (that is the same for all), so the place never changes
 * and an index can hold it. Equal places: by due time, then id. */
int64_t run_rank_ms(int64_t created_at_ms, int priority);

/* "state = 'pending' OR state = 'running' OR ..." for the CHECK of SQLite, generated from the
 * table. Static. */
const char *run_state_sql_check(void);

/* `Idempotency-Key`: "<action id>/<due time>", the same for every attempt; of a run made by the nth
 * backfill with "/bn" behind it. */
#define RUN_KEY_SIZE 112
const char *run_idempotency_key(const struct run *run, char ret_text[static RUN_KEY_SIZE]);

/* --- the end of an attempt --- */

enum attempt_outcome {
	ATTEMPT_SUCCEEDED,
	ATTEMPT_FAILED,
	ATTEMPT_TIMED_OUT,
	ATTEMPT_CANCELLED,  /* a person or cancel_running asked */
	ATTEMPT_INTERRUPTED /* our shutdown or a lost owner ended it; no result of its own */
};
extern const char *const attempt_outcome_names[];

struct attempt_result {
	enum attempt_outcome outcome;
	int http_status; /* 0: none */
	int exit_code;   /* -1: none */
	int64_t started_at_ms;
	int64_t retry_after_ms; /* -1: the target did not say */
	bool is_unanswered;     /* http: no answer came, or not all of it */
	char *error;            /* owned; NULL: none; for people */
	char *output;           /* owned; binary-safe; NULL: none */
	size_t output_len;
	int64_t output_total; /* bytes produced, kept or not */
	bool is_recorded;     /* with what it did: there is nothing left to write */
};
void attempt_result_fini(struct attempt_result *result);

/* What a finished or interrupted attempt makes of its run. */
struct run_follow_up {
	enum run_state state;
	enum run_reason reason;
	int64_t delay_ms; /* pending: not before so long from now; 0: at once */
	bool counts;      /* false: the attempt is not used up (interruption) */
};

/* The end of an attempt as one line of JSON without its newline (owned by the caller), and back. Of
 * the run only id, epoch and attempt. ERR_CORRUPT: not such a line. */
struct ended_attempt {
	struct run run;
	struct attempt_result result;
	struct run_follow_up follow_up;
};
char *ended_attempt_to_text(const struct run *run, const struct attempt_result *result,
	const struct run_follow_up *follow_up);
int ended_attempt_from_text(
	const char *text, size_t len, struct ended_attempt *ret_ending, struct err *err);
void ended_attempt_fini(struct ended_attempt *ending);

#define INTERRUPTIONS_MAX 3 /* the 4th interruption: the attempt counts as failed */

/* Pure decision (retry policy, on_interrupt, limits). `random` is 0 .. 2^32-1 for the jitter.
 * `reason_if_interrupted` is REASON_HANDED_BACK or REASON_OWNER_LOST.
 *
 * succeeded: succeeded.
 *
 * cancelled: cancelled (user; overlap when run->reason says so already).
 *
 * failed, timed out: pending (retry) after the delay, while run->attempt < max_attempts and
 * retry.on (if any) has a rule for the failure; else final.
 *
 * interrupted: by on_interrupt. `retry`: pending at once with reason_if_interrupted, not counted;
 * the 4th time as failed. `hold`: held, not counted. `fail`: failed. The reason of the last three
 * is owner_lost or shutdown.
 *
 * handed back unbegun (interrupted, HANDED_BACK, result->started_at_ms NO_TIME): always pending at
 * once, counted neither as an attempt nor as an interruption: nothing can have happened twice.
 *
 * With run->cancel_requested, cancelled (user) stands in place of pending, held and an
 * interruption's failed.
 *
 * The delay before attempt n+1 is initial (fixed), initial * n (linear) or initial * 2^(n-1)
 * (exponential), at most max; the share `jitter` of it is taken at random; then not less than
 * Retry-After, and never above RETRY_DELAY_MAX_MS. */
struct run_follow_up run_follow_up(const struct run *run, const struct action *action,
	const struct attempt_result *result, enum run_reason reason_if_interrupted,
	uint32_t random);
