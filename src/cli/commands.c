/* SPDX-License-Identifier: Apache-2.0
 *
 * Every command and every flag, once. Parsing (parse.c), help and doc/cli.md (help.c), usage errors
 * and the JSON that flags make (define.c) read these tables; a new flag is a row here and, unless
 * it names a member of the definition, one line in its command. */
#include "cli/cli_priv.h"
#include "model/model.h"
#include "plan/plan.h"

static const char *const bool_names[] = {"false", "true", NULL};
static const char *const output_names[] = {"table", "json", NULL};

/* clang-format off */
const struct flag cli_global_flags[] = {
	{"server", .type = FLAG_TEXT, .value = "URL", .preset = "$GATHERING_SERVER, else http://127.0.0.1:8080",
		.help = "the server to talk to: http://host:port or unix:PATH"},
	{"output", .letter = 'o', .type = FLAG_CHOICE, .value = "FORM", .choices = output_names, .preset = "table",
		.help = "what to print: tables and text for people, or the JSON of the API"},
	{"json", .type = FLAG_SWITCH, .help = "the same as --output json"},
	{"no-color", .type = FLAG_SWITCH, .help = "no colors, as NO_COLOR in the environment"},
	{"help", .letter = 'h', .type = FLAG_SWITCH, .help = "explain the command"},
	{0}};

static const struct flag schedule_flags[] = {
	{"timezone", .letter = 'z', .type = FLAG_TEXT, .value = "ZONE", .preset = "UTC", .pointer = "/schedule/timezone",
		.help = "IANA name of the zone the schedule is meant in, such as Europe/Paris"},
	{"dst-gap", .type = FLAG_CHOICE, .value = "RULE", .choices = dst_gap_names, .preset = "run_after", .pointer = "/schedule/dst_gap",
		.help = "a local time that the clock skips in spring: run at the first moment after, or skip it"},
	{"dst-overlap", .type = FLAG_CHOICE, .value = "RULE", .choices = dst_overlap_names, .preset = "first", .pointer = "/schedule/dst_overlap",
		.help = "a local time that comes twice in autumn: run at the first, the last, or both"},
	{"day-match", .type = FLAG_CHOICE, .value = "RULE", .choices = day_match_names, .preset = "either", .pointer = "/schedule/day_match",
		.help = "day of month and day of week both given: either is enough (as cron), or both must match"},
	{"start-at", .type = FLAG_TEXT, .value = "TIME", .pointer = "/schedule/start_at", .help = "nothing is due before this moment (RFC 3339 with offset)"},
	{"end-at", .type = FLAG_TEXT, .value = "TIME", .pointer = "/schedule/end_at", .help = "nothing is due after this moment"},
	{"jitter", .type = FLAG_DURATION, .value = "DURATION", .pointer = "/schedule/jitter",
		.help = "move each due time by less than this, picked by the action's name: the same on every instance"},
	{0}};

static const struct flag next_flags[] = {
	{"from", .type = FLAG_TIME, .value = "TIME", .preset = "now", .help = "list due times strictly after this moment"},
	{"count", .letter = 'n', .type = FLAG_INT, .value = "N", .min = 1, .max = 100000, .preset = "5", .help = "how many due times"},
	{"name", .type = FLAG_TEXT, .value = "NAME", .help = "name of the action, by which H in an expression and --jitter are picked"},
	{"notes", .type = FLAG_SWITCH, .help = "say behind a due time what daylight saving and jitter did to it"},
	{0}};

static const struct flag when_flags[] = {
	{"cron", .type = FLAG_TEXT, .value = "EXPR", .pointer = "/schedule/cron", .help = "cron expression of 5 fields (6: seconds first) or a macro such as @daily"},
	{"every", .type = FLAG_TEXT, .value = "DURATION", .pointer = "/schedule/every", .help = "interval, such as 90s or 1h30m"},
	{"every-after", .type = FLAG_TEXT, .value = "DURATION", .pointer = "/schedule/every_after", .help = "interval from the end of one run to the next"},
	{"anchor", .type = FLAG_TEXT, .value = "TIME", .pointer = "/schedule/anchor", .help = "with --every: a moment the interval is counted from"},
	{"at", .type = FLAG_TEXT, .value = "TIME", .pointer = "/schedule/at", .help = "once, at this moment (RFC 3339 with offset)"},
	{"rrule", .type = FLAG_TEXT, .value = "RULE", .pointer = "/schedule/rrule", .help = "recurrence rule (RFC 5545) such as 'FREQ=MONTHLY;BYDAY=-1FR', counted from --start-at"},
	{"max-runs", .type = FLAG_INT, .value = "N", .min = 1, .max = SCHEDULE_RUNS_MAX, .pointer = "/schedule/max_runs", .help = "completed after so many runs"},
	{"run-on-start", .type = FLAG_SWITCH, .pointer = "/schedule/run_on_start", .help = "also when the service starts; alone or with another schedule"},
	{"on", .type = FLAG_TEXT, .value = "EVENT", .pointer = "/schedule/on", .help = "when this event is sent, or a run ends: action.NAME.succeeded, .failed, .timed_out, .cancelled"},
	{"manual", .type = FLAG_SWITCH, .help = "no schedule: runs only when told to"},
	{0}};

static const struct flag definition_flags[] = {
	{"name", .type = FLAG_TEXT, .value = "NAME", .pointer = "/name", .help = "name of the action; with edit: its new name"},
	{"description", .type = FLAG_TEXT, .value = "TEXT", .pointer = "/description", .help = "a remark for people"},
	{"tag", .type = FLAG_LIST, .value = "TAG", .pointer = "/tags", .help = "a tag; may be repeated"},
	{"blackout", .type = FLAG_WINDOW, .value = "'CRON for DURATION'", .pointer = "/schedule/blackout", .help = "nothing runs in this window, or 'TIME to TIME'; may be repeated"},
	{"url", .type = FLAG_TEXT, .value = "URL", .pointer = "/http/url", .help = "call this URL (an http action)"},
	{"method", .type = FLAG_TEXT, .value = "METHOD", .pointer = "/http/method", .preset = "GET, with a body POST", .help = "method of the call"},
	{"header", .letter = 'H', .type = FLAG_PAIR, .separator = ':', .value = "'NAME: VALUE'", .pointer = "/http/headers", .help = "a header of the call; may be repeated"},
	{"body", .type = FLAG_TEXT, .value = "TEXT", .pointer = "/http/body", .help = "body of the call"},
	{"expect-status", .type = FLAG_LIST, .value = "RANGE", .pointer = "/http/expect_status", .preset = "200-299", .help = "HTTP status that counts as success, 204 or 200-299; may be repeated"},
	{"signing-secret", .type = FLAG_LIST, .value = "NAME", .pointer = "/http/signing_secret", .help = "sign the call with this secret (Standard Webhooks); may be repeated"},
	{"max-redirects", .type = FLAG_INT, .value = "N", .min = 0, .max = ACTION_REDIRECTS_MAX, .pointer = "/http/max_redirects", .preset = "5", .help = "redirects to follow"},
	{"connect-timeout", .type = FLAG_DURATION, .value = "DURATION", .pointer = "/http/connect_timeout", .preset = "10s", .help = "for look-up and connect"},
	{"first-byte-timeout", .type = FLAG_DURATION, .value = "DURATION", .pointer = "/http/first_byte_timeout", .preset = "none", .help = "from the request to the first byte of the answer"},
	{"shell", .type = FLAG_TEXT, .value = "TEXT", .pointer = "/exec/command", .help = "run this text with /bin/sh -c (an exec action)"},
	{"cwd", .type = FLAG_TEXT, .value = "PATH", .pointer = "/exec/cwd", .help = "folder the program starts in"},
	{"env", .letter = 'e', .type = FLAG_PAIR, .separator = '=', .value = "NAME=VALUE", .pointer = "/exec/env", .help = "a variable for the program; may be repeated"},
	{"stdin", .type = FLAG_TEXT, .value = "TEXT", .pointer = "/exec/stdin", .help = "standard input of the program"},
	{"user", .type = FLAG_TEXT, .value = "USER", .pointer = "/exec/user", .help = "run the program as this user (option exec_users of the server)"},
	{"limit-cpu", .type = FLAG_DURATION, .value = "DURATION", .pointer = "/exec/limits/cpu", .help = "processor time the program may use"},
	{"limit-memory", .type = FLAG_TEXT, .value = "SIZE", .pointer = "/exec/limits/memory", .help = "address space of each of its processes, such as 512MiB"},
	{"limit-file-size", .type = FLAG_TEXT, .value = "SIZE", .pointer = "/exec/limits/file_size", .help = "bytes of a file it writes"},
	{"limit-files", .type = FLAG_INT, .value = "N", .min = 4, .max = 1000000, .pointer = "/exec/limits/files", .help = "open files of each of its processes"},
	{"limit-processes", .type = FLAG_INT, .value = "N", .min = 1, .max = 1000000, .pointer = "/exec/limits/processes", .help = "processes of its user, others included"},
	{"nice", .type = FLAG_INT, .value = "N", .min = 0, .max = 19, .pointer = "/exec/limits/nice", .preset = "0", .help = "how much it gives way to others"},
	{"sql", .type = FLAG_TEXT, .value = "STATEMENT", .pointer = "/sql/statement", .help = "do this statement (an sql action)"},
	{"sql-database", .type = FLAG_TEXT, .value = "NAME", .pointer = "/sql/database", .help = "where: a name of the option sql_databases of the server, or self"},
	{"sql-read-only", .type = FLAG_BOOL, .value = "BOOL", .choices = bool_names, .pointer = "/sql/read_only", .preset = "false", .help = "the statement may not change anything"},
	{"noop", .type = FLAG_SWITCH, .help = "do nothing and succeed: a heartbeat, a node in a chain (a noop action)"},
	{"timeout", .type = FLAG_DURATION, .value = "DURATION", .pointer = "/timeout", .preset = "10m", .help = "an attempt that takes longer is ended"},
	{"overlap", .type = FLAG_CHOICE, .value = "RULE", .choices = overlap_names, .pointer = "/overlap", .preset = "skip", .help = "what a due time does while an earlier run is unfinished"},
	{"queue-limit", .type = FLAG_INT, .value = "N", .min = 1, .max = INT32_MAX, .pointer = "/queue_limit", .preset = "1", .help = "with overlap queue: how many may wait"},
	{"max-concurrent", .type = FLAG_INT, .value = "N", .max = ACTION_CONCURRENT_MAX, .pointer = "/max_concurrent", .preset = "0", .help = "with overlap allow: at most so many runs at a time, on all instances together; 0: any number"},
	{"max-pending", .type = FLAG_INT, .value = "N", .min = 1, .max = ACTION_PENDING_MAX, .pointer = "/max_pending", .preset = "10000", .help = "how many runs may wait; what is due then is skipped, what is asked for is refused"},
	{"misfire", .type = FLAG_CHOICE, .value = "RULE", .choices = misfire_names, .pointer = "/misfire", .preset = "latest", .help = "which of the due times missed while the server was away still run"},
	{"misfire-grace", .type = FLAG_DURATION, .value = "DURATION", .pointer = "/misfire_grace", .preset = "1m", .help = "later than this is missed"},
	{"max-lateness", .type = FLAG_DURATION, .value = "DURATION", .pointer = "/max_lateness", .preset = "1d", .help = "older than this never runs"},
	{"max-catchup", .type = FLAG_INT, .value = "N", .min = 0, .max = INT32_MAX, .pointer = "/max_catchup", .preset = "100", .help = "at most so many missed due times run"},
	{"pause-records", .type = FLAG_BOOL, .value = "BOOL", .choices = bool_names, .pointer = "/pause_records", .preset = "true", .help = "while paused, due times are recorded as skipped"},
	{"retries", .type = FLAG_INT, .value = "N", .min = 0, .max = 1000, .plus = 1, .pointer = "/retry/max_attempts", .preset = "0", .help = "further attempts after one that failed"},
	{"retry-on", .type = FLAG_LIST, .value = "FAILURE", .pointer = "/retry/on", .preset = "any", .help = "only after such a failure: timeout, connection, other, status:500-599, exit:75; may be repeated"},
	{"backoff", .type = FLAG_CHOICE, .value = "RULE", .choices = backoff_names, .pointer = "/retry/backoff", .preset = "exponential", .help = "how the pause before a retry grows"},
	{"retry-initial", .type = FLAG_DURATION, .value = "DURATION", .pointer = "/retry/initial", .preset = "10s", .help = "pause before the first retry"},
	{"retry-max", .type = FLAG_DURATION, .value = "DURATION", .pointer = "/retry/max", .preset = "10m", .help = "longest pause before a retry"},
	{"retry-jitter", .type = FLAG_SHARE, .value = "SHARE", .pointer = "/retry/jitter", .preset = "0.2", .help = "so much of the pause is random"},
	{"on-interrupt", .type = FLAG_CHOICE, .value = "RULE", .choices = on_interrupt_names, .pointer = "/on_interrupt", .preset = "retry", .help = "an attempt that a crash or a shutdown cut off"},
	{"priority", .type = FLAG_INT, .value = "N", .min = -100, .max = 100, .pointer = "/priority", .preset = "0", .help = "higher goes first when there is more to do than can run"},
	{"retention-age", .type = FLAG_DURATION, .value = "DURATION", .pointer = "/retention/age", .help = "its runs that ended longer ago are removed; default: the option retention_age of the server"},
	{"retention-count", .type = FLAG_INT, .value = "N", .min = 1, .max = RETENTION_COUNT_MAX, .pointer = "/retention/count", .help = "so many of its runs are kept; default: the option retention_count of the server"},
	{"expect-success-within", .type = FLAG_DURATION, .value = "DURATION", .pointer = "/expect_success_within", .help = "the action is late when no run of it has succeeded for so long"},
	{"on-failure", .type = FLAG_TEXT, .value = "ACTION", .pointer = "/on_failure", .help = "action that is started by the first failure after a success"},
	{"on-recovery", .type = FLAG_TEXT, .value = "ACTION", .pointer = "/on_recovery", .help = "action that is started by the first success after a failure, or when it was late"},
	{"on-late", .type = FLAG_TEXT, .value = "ACTION", .pointer = "/on_late", .help = "action that is started when this one is late"},
	{"file", .letter = 'f', .type = FLAG_TEXT, .value = "FILE", .help = "take the definition from a JSON file, '-' for standard input"},
	{0}};

static const struct flag action_list_flags[] = {
	{"name", .type = FLAG_TEXT, .value = "PART", .help = "only names that contain this"},
	{"tag", .type = FLAG_TEXT, .value = "TAG", .help = "only actions with this tag"},
	{"kind", .type = FLAG_CHOICE, .value = "KIND", .choices = action_kind_names, .help = "only this kind"},
	{"state", .type = FLAG_CHOICE, .value = "STATE", .choices = action_state_names, .help = "only this state"},
	{"limit", .letter = 'n', .type = FLAG_INT, .value = "N", .min = 0, .max = 1000000, .preset = "0, all", .help = "at most so many"},
	{0}};

static const struct flag action_run_flags[] = {
	{"wait", .letter = 'w', .type = FLAG_SWITCH, .help = "wait for the end and print the output; exit status 1 unless it succeeded"},
	{"wait-timeout", .type = FLAG_DURATION, .value = "DURATION", .preset = "1h", .help = "with --wait: give up waiting after this (exit status 3); the run goes on"},
	{0}};

static const struct flag run_list_flags[] = {
	{"action", .letter = 'a', .type = FLAG_TEXT, .value = "ACTION", .help = "only runs of this action (name or id)"},
	{"state", .type = FLAG_CHOICE, .value = "STATE", .choices = run_state_names, .help = "only this state"},
	{"trigger", .type = FLAG_CHOICE, .value = "TRIGGER", .choices = run_trigger_names, .help = "only runs begun by this"},
	{"since", .type = FLAG_TIME, .value = "TIME", .help = "only due at or after this moment; 2h means two hours ago"},
	{"until", .type = FLAG_TIME, .value = "TIME", .help = "only due before this moment"},
	{"limit", .letter = 'n', .type = FLAG_INT, .value = "N", .min = 0, .max = 1000000, .preset = "20", .help = "at most so many, the newest; 0: all"},
	{0}};

static const struct flag event_send_flags[] = {
	{"data", .letter = 'd', .type = FLAG_TEXT, .value = "JSON", .help = "the payload, any JSON value; @FILE reads it from a file, @- from standard input"},
	{"key", .letter = 'k', .type = FLAG_TEXT, .value = "KEY", .help = "sent again with the same key it is the same event, and starts nothing"},
	{0}};

static const char *const rerun_names[] = {"none", "failed", "all", NULL};

static const struct flag backfill_flags[] = {
	{"from", .type = FLAG_TIME, .value = "TIME", .help = "the first moment of the past; 7d means a week ago"},
	{"to", .type = FLAG_TIME, .value = "TIME", .help = "the moment before which it ends; 0s means now"},
	{"dry-run", .type = FLAG_SWITCH, .help = "only show how many due times that are, and the first of them"},
	{"rate", .type = FLAG_TEXT, .value = "N/s|m|h", .preset = "10/s", .help = "so many runs are begun a second, minute or hour; at most 100/s"},
	{"max-running", .type = FLAG_INT, .value = "N", .min = 1, .max = 1000, .preset = "10", .help = "at most so many of them pending and running at a time"},
	{"rerun", .type = FLAG_CHOICE, .value = "WHICH", .choices = rerun_names, .preset = "none", .help = "of the due times that have run: repeat none, those that failed, or all"},
	{"wait", .letter = 'w', .type = FLAG_SWITCH, .help = "wait for its end; exit status 1 unless all of it succeeded"},
	{0}};

static const struct flag backfill_list_flags[] = {
	{"action", .letter = 'a', .type = FLAG_TEXT, .value = "ACTION", .help = "only those of this action (name or id)"},
	{"running", .type = FLAG_SWITCH, .help = "only those that are not over"},
	{"limit", .letter = 'n', .type = FLAG_INT, .value = "N", .min = 0, .max = 1000000, .preset = "20", .help = "at most so many, the newest; 0: all"},
	{0}};

static const struct flag run_logs_flags[] = {
	{"attempt", .type = FLAG_INT, .value = "N", .min = 1, .max = 1000000, .preset = "the last", .help = "which attempt"},
	{"follow", .letter = 'f', .type = FLAG_SWITCH, .help = "go on with what comes, until the run has ended"},
	{0}};

static const struct flag import_flags[] = {
	{"dry-run", .type = FLAG_SWITCH, .help = "only show what would be created; needs no server"},
	{"keep-going", .type = FLAG_SWITCH, .help = "import the rest although some lines are refused"},
	{"system", .type = FLAG_SWITCH, .help = "the file has the user column (known by itself for /etc/crontab and /etc/cron.d/*)"},
	{"user", .letter = 'u', .type = FLAG_TEXT, .value = "USER", .help = "run all jobs as this user, whatever the column says; '-': as the server"},
	{"timezone", .letter = 'z', .type = FLAG_TEXT, .value = "ZONE", .preset = "that of this machine", .help = "zone of the schedules; CRON_TZ in the file wins"},
	{"prefix", .type = FLAG_TEXT, .value = "TEXT", .preset = "cron-", .help = "begins the names of the actions"},
	{"overlap", .type = FLAG_CHOICE, .value = "RULE", .choices = overlap_names, .preset = "allow, as cron does", .help = "what a due time does while an earlier run is unfinished"},
	{"misfire", .type = FLAG_CHOICE, .value = "RULE", .choices = misfire_names, .preset = "skip, as cron does", .help = "which of the missed due times still run"},
	{"timeout", .type = FLAG_DURATION, .value = "DURATION", .preset = "1d", .help = "an attempt that takes longer is ended (cron has no limit)"},
	{0}};

static const struct flag migrate_flags[] = {
	{"database", .type = FLAG_TEXT, .value = "URL", .preset = "as `gathering serve` would use", .help = "sqlite:PATH"},
	{"config", .type = FLAG_TEXT, .value = "FILE", .help = "configuration file"},
	{"from", .type = FLAG_TEXT, .value = "URL", .help = "move what this file holds (sqlite:PATH) ..."},
	{"to", .type = FLAG_TEXT, .value = "URL", .help = "... to this database, which has no actions yet (postgresql://HOST/NAME)"},
	{"take-back", .type = FLAG_SWITCH, .help = "make a file that was moved usable again, as it was"},
	{"dry-run", .type = FLAG_SWITCH, .help = "only list what would be done"},
	{0}};

static const struct flag drain_flags[] = {
	{"wait", .type = FLAG_SWITCH, .help = "wait until it has no run and no request left, or is gone if it stops"},
	{"timeout", .type = FLAG_DURATION, .value = "TIME", .help = "with --wait: at most so long"},
	{0}};

static const struct flag help_flags[] = {
	{"markdown", .type = FLAG_SWITCH, .help = "all commands as Markdown: the reference part of doc/cli.md"},
	{0}};

const struct command cli_commands[] = {
	{"serve", "", .raw = true, .summary = "run the server",
		.examples = "gathering serve --database sqlite:/var/lib/gathering/gathering.db"},
	{"check-config", "", .raw = true, .run = cmd_check_config,
		.summary = "validate the configuration; print every value and where it came from",
		.detail = "Takes the options of `gathering serve`, reads the same file and environment, starts nothing."},
	{"migrate", "", .flags = {migrate_flags}, .run = cmd_migrate, .summary = "bring the database schema up to date without a server, or move to another database",
		.detail = "With --from and --to everything is copied in one transaction. Then the file is marked, so that no server starts on it by mistake.",
		.examples = "gathering migrate --from sqlite:gathering.db --to postgresql://db.example/gathering"},
	{"next", "EXPR", .min_args = 1, .max_args = 6, .flags = {next_flags, schedule_flags}, .run = cmd_next,
		.summary = "list the next due times of a schedule; needs no server",
		.detail = "EXPR is a cron expression (one argument, or its fields as several), a macro such as @daily, a duration such as 90s for an interval, a recurrence rule such as FREQ=MONTHLY;BYDAY=-1FR, or an RFC 3339 time. "
			  "Prints one local time with offset a line. Exit status 2 when EXPR is not acceptable, 3 when there is no due time after --from.",
		.examples = "gathering next '30 2 * * *' --timezone Europe/Paris --notes\ngathering next 90s --count 3\n"
			    "gathering next 'FREQ=MONTHLY;BYDAY=-1FR' --start-at 2026-01-01T17:00:00Z"},
	{"action add", "[NAME] [-- PROGRAM [ARG...]]", .max_args = 1, .takes_rest = true, .flags = {when_flags, schedule_flags, definition_flags}, .run = cmd_action_add,
		.summary = "create an action: a program behind `--`, --shell, --url, --sql or --noop, and when",
		.detail = "With --file: an object, or many as an array or {\"items\": [...]}, created all or none.",
		.examples = "gathering action add backup --cron '0 2 * * *' -- /usr/bin/backup --all\n"
			    "gathering action add ping --every 30s --url http://127.0.0.1:9000/ping --retries 2\n"
			    "gathering action add report --cron @daily --timezone Europe/Paris --shell 'make report | mail -s report ops'\n"
			    "gathering action add tidy --every 1h --sql 'CALL tidy_sessions()' --sql-database shop"},
	{"action list", "", .flags = {action_list_flags}, .run = cmd_action_list, .summary = "list actions, by name"},
	{"action show", "ACTION", .min_args = 1, .max_args = 1, .run = cmd_action_show, .summary = "show one action (name or id)"},
	{"action edit", "ACTION [-- PROGRAM [ARG...]]", .min_args = 1, .max_args = 1, .takes_rest = true, .flags = {when_flags, schedule_flags, definition_flags}, .run = cmd_action_edit,
		.summary = "change an action: the flags given, a whole definition (--file), or in $EDITOR",
		.detail = "Flags change what they name and leave the rest. --file replaces the definition. With neither, on a terminal, the definition is opened in $VISUAL or $EDITOR; nothing is written when somebody else changed the action meanwhile.",
		.examples = "gathering action edit backup --cron '30 3 * * *' --timeout 2h"},
	{"action pause", "ACTION...", .min_args = 1, .max_args = 1000, .run = cmd_action_pause, .summary = "stop actions from running until resumed"},
	{"action resume", "ACTION...", .min_args = 1, .max_args = 1000, .run = cmd_action_resume, .summary = "let paused actions run again, from the next due time on"},
	{"action run", "ACTION", .min_args = 1, .max_args = 1, .flags = {action_run_flags}, .run = cmd_action_run, .summary = "run an action now",
		.examples = "gathering action run backup --wait"},
	{"action delete", "ACTION...", .min_args = 1, .max_args = 1000, .run = cmd_action_delete, .summary = "delete actions with their history"},
	{"action export", "[ACTION...]", .max_args = 1000, .run = cmd_action_export, .summary = "print definitions as JSON that `action add --file` takes; all without a name"},
	{"run list", "", .flags = {run_list_flags}, .run = cmd_run_list, .summary = "list runs, newest first",
		.examples = "gathering run list --action backup --since 7d\ngathering run list --state failed"},
	{"run show", "RUN", .min_args = 1, .max_args = 1, .run = cmd_run_show, .summary = "show one run"},
	{"run cancel", "RUN...", .min_args = 1, .max_args = 1000, .run = cmd_run_cancel, .summary = "cancel runs that have not ended"},
	{"run pause", "RUN...", .min_args = 1, .max_args = 1000, .run = cmd_run_pause, .summary = "hold runs back; a running program is ended first and goes on from its checkpoint when resumed"},
	{"run resume", "RUN...", .min_args = 1, .max_args = 1000, .run = cmd_run_resume, .summary = "let held runs go on",
		.examples = "gathering run list --state held\ngathering run resume 0193c1f6-7a2e-7000-8000-000000000000"},
	{"run retry", "RUN...", .min_args = 1, .max_args = 1000, .run = cmd_run_retry, .summary = "repeat runs that have ended, each as a new run; a held one is resumed"},
	{"run logs", "RUN|ACTION", .min_args = 1, .max_args = 1, .flags = {run_logs_flags}, .run = cmd_run_logs, .summary = "print the output of a run, or of an action's latest run",
		.detail = "With --follow it waits for a run that has not begun, and goes on with the next attempt when one follows. When the server stops, or the connection breaks, it comes back to the same address (behind a load balancer: to another instance) and goes on where it was, for up to a minute without an answer. That a run is held is told; it waits until somebody resumes or cancels it. "
			  "Then the exit status is 0 when the run has succeeded, 1 when it has not, 3 when there is no such run; with --attempt 0 when the output of that attempt is complete. With --json each event is a line.",
		.examples = "gathering run logs -f backup\ngathering run logs 0193c1f6-7a2e-7000-8000-000000000000 --attempt 1"},
	{"backfill list", "", .flags = {backfill_list_flags}, .run = cmd_backfill_list, .summary = "list backfills with their progress, newest first"},
	{"backfill show", "BACKFILL", .min_args = 1, .max_args = 1, .run = cmd_backfill_show, .summary = "show how far a backfill is"},
	{"backfill cancel", "BACKFILL", .min_args = 1, .max_args = 1, .run = cmd_backfill_cancel, .summary = "end a backfill: no more runs, and those of it that have not ended are cancelled"},
	{"backfill", "ACTION", .min_args = 1, .max_args = 1, .flags = {backfill_flags}, .run = cmd_backfill,
		.summary = "run the due times of a stretch of the past, at a bounded rate",
		.detail = "Due times that have run are left out unless --rerun says otherwise; those that were skipped or never recorded are run. doc/schedules.md tells how it goes together with overlap, pause and blackouts.",
		.examples = "gathering backfill nightly --from 2026-11-01T00:00:00Z --to 2026-11-08T00:00:00Z --dry-run\ngathering backfill nightly --from 7d --to 0s --rate 30/m --wait"},
	{"event send", "NAME", .min_args = 1, .max_args = 1, .flags = {event_send_flags}, .run = cmd_event_send,
		.summary = "send an event: starts the actions that wait for it (schedule `on`)",
		.detail = "Prints the runs it started, one a line.",
		.examples = "gathering event send order.created --data '{\"id\": 7}' --key order-7"},
	{"instance list", "", .run = cmd_instance_list, .summary = "list the instances of the service"},
	{"instance drain", "[INSTANCE]", .max_args = 1, .flags = {drain_flags}, .run = cmd_instance_drain, .summary = "let an instance take no new work (without a name: the one that answers)",
		.detail = "Exit status with --wait: 0 drained or stopped, 3 when a deadline cut something or the time is over. The admin socket answers to the very end of a stop.",
		.examples = "gathering instance drain\ngathering --server unix:/run/gathering/admin.sock instance drain --wait --timeout 60s"},
	{"instance undrain", "[INSTANCE]", .max_args = 1, .run = cmd_instance_undrain, .summary = "let it work again"},
	{"secret set", "NAME", .min_args = 1, .max_args = 1, .run = cmd_secret_set, .summary = "set or replace a secret; its value is read from standard input",
		.detail = "One line break at the end is left out. The value cannot be shown again; actions use it as {{secret.NAME}}, doc/templates.md tells where.",
		.examples = "gathering secret set API_TOKEN < token.txt\nopenssl rand -base64 32 | sed s/^/whsec_/ | gathering secret set SIGNING_KEY"},
	{"secret list", "", .run = cmd_secret_list, .summary = "list the names of the secrets"},
	{"secret delete", "NAME...", .min_args = 1, .max_args = 1000, .run = cmd_secret_delete, .summary = "delete secrets"},
	{"secret keygen", "", .run = cmd_secret_keygen, .summary = "print a new key for secret_key_file",
		.examples = "(umask 077; gathering secret keygen > secret.key)"},
	{"import crontab", "FILE", .min_args = 1, .max_args = 1, .flags = {import_flags}, .run = cmd_import_crontab,
		.summary = "create an action for each line of a crontab ('-': standard input)",
		.detail = "Lines that were imported before are recognised and left alone, so the command can be repeated. A line that cannot be taken is reported with its number, and stops the import before anything is created unless --keep-going. doc/crontab.md tells what becomes of what.",
		.examples = "crontab -l | gathering import crontab - --dry-run\ngathering import crontab /etc/crontab"},
	{"status", "", .run = cmd_status, .summary = "one glance at the server; exit status 1 when a check is critical"},
	{"version", "", .run = cmd_version, .summary = "print the version (also `gathering --version`)"},
	{"help", "[COMMAND]", .max_args = 2, .flags = {help_flags}, .run = cmd_help, .summary = "explain a command, or list them all"},
	{0}};
/* clang-format on */
