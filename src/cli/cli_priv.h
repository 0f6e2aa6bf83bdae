/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by the files of cli/. A command is one row of the table in commands.c: its words, what it
 * takes, its tables of flags, the function that does it. Parsing, --help, doc/cli.md and the usage
 * errors all come from that row, so none of them can disagree. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "model/model.h"

/* --- tables --- */

enum flag_type {
	FLAG_SWITCH, /* stands alone */
	FLAG_TEXT,
	FLAG_INT,      /* min .. max */
	FLAG_DURATION, /* "90s" */
	FLAG_TIME,     /* RFC 3339, or a duration: that long ago */
	FLAG_CHOICE,   /* one of `choices` */
	FLAG_BOOL,     /* true, false */
	FLAG_SHARE,    /* 0 to 1, decimal */
	FLAG_LIST,     /* may repeat; an array of texts */
	FLAG_PAIR,     /* may repeat; NAME `separator` VALUE, an object */
	FLAG_WINDOW    /* may repeat; "CRON for DURATION" or "TIME to TIME", an array of objects */
};

/* One flag. A table of them ends with a NULL name. */
struct flag {
	const char *name; /* without the dashes */
	char letter;      /* '\0': no short form */
	char separator;   /* FLAG_PAIR: ':' or '=' */
	enum flag_type type;
	const char *value; /* what stands for the value in help */
	const char *help;
	const char *preset; /* the default as help shows it; NULL: none worth a word */
	const char *const *choices;
	int64_t min, max;
	int64_t plus;        /* FLAG_INT: added before it becomes the member */
	const char *pointer; /* the member of an action's definition that it sets; NULL: none */
};

struct cli;

#define COMMAND_FLAGS_MAX 4

struct command {
	const char *name; /* "action add": the words, one blank between */
	const char *args; /* as shown in usage; "" for none */
	int min_args, max_args;
	bool takes_rest; /* what follows `--` is a program and its arguments */
	bool raw;        /* flags are options.def's: conf_load parses them */
	const struct flag *flags[COMMAND_FLAGS_MAX]; /* NULL: unused */
	int (*run)(struct cli *cli); /* the exit status; NULL: not done here (serve) */
	const char *summary;
	const char *detail;   /* NULL: the summary says it all */
	const char *examples; /* lines; NULL: none */
};

extern const struct command cli_commands[]; /* ends with a NULL name */
extern const struct flag cli_global_flags[];

/* --- one call of the program --- */

struct given_flag {
	const struct flag *flag;
	const char *value; /* "" for a switch; borrowed from argv */
};

struct cli {
	const struct command *command;
	struct given_flag *given; /* owned */
	size_t given_count;
	const char **args; /* owned array, borrowed texts, NULL at the end; not those after `--` of
			      takes_rest */
	size_t arg_count;
	char *const *rest; /* behind `--`; NULL when there was none */
	size_t rest_count;
	bool is_json;
	bool is_terminal; /* standard output */
	bool has_color;
	int width;             /* columns of the terminal; 0: not one, nothing is cut */
	struct client *client; /* made on first use */
};

/* Fills `cli` from argv: finds the command, checks every flag against its tables. Errors:
 * ERR_INVALID with the text to print; *ret_wants_help is set when --help was met first (then 0 is
 * returned and `command` may be NULL). Release with cli_fini. Pure but for reading the environment.
 */
int cli_parse(int argc, char *const *argv, struct cli *cli, bool *ret_wants_help, struct err *err);
void cli_fini(struct cli *cli);

/* The value of a flag of this command (the last one given), or NULL. Asking for a flag that the
 * command's tables do not have is a bug. */
const char *cli_flag(const struct cli *cli, const char *name);
bool cli_has(const struct cli *cli, const char *name);
int64_t cli_flag_int(const struct cli *cli, const char *name, int64_t preset);
int64_t cli_flag_duration(const struct cli *cli, const char *name, int64_t preset_ms);
/* RFC 3339, or a duration before now_ms. */
int64_t cli_flag_time(const struct cli *cli, const char *name, int64_t now_ms, int64_t preset_ms);
/* Index into the flag's choices, or `preset`. */
int cli_flag_choice(const struct cli *cli, const char *name, int preset);

/* The row whose name is the first word, or the first two words, of `words`; *ret_used says how
 * many. NULL: none. */
const struct command *command_find(char *const *words, size_t count, size_t *ret_used);

/* --- nearest.c --- */

/* The candidate that `word` was probably meant to be, or NULL when none is near. `get` gives the
 * i-th candidate, NULL at the end. */
const char *nearest_word(
	const char *word, const char *(*get)(const void *data, size_t i), const void *data);

/* --- help.c --- */

void help_write_overview(struct buf *out, int width);
void help_write_command(const struct command *command, struct buf *out, int width);
void help_write_markdown(struct buf *out);
/* "usage: gathering next EXPR [flags]" */
void help_write_usage(const struct command *command, struct buf *out);
/* Help, choices and default of a flag as one text. */
void help_write_flag_text(const struct flag *flag, struct buf *out);

/* --- print.c: what people see --- */

/* "gathering: TEXT" on standard error; returns the exit status of the error. */
int cli_fail(const struct err *err);
int cli_usage(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Prints JSON, indented, with a newline. */
void print_json(const json_t *json);

/* A table: rows of texts under titles. Texts are made safe (no control characters reach the
 * terminal). */
enum column_kind {
	COLUMN_PLAIN,
	COLUMN_SHRINKS, /* gives way when the terminal is narrow */
	COLUMN_RIGHT,   /* numbers */
	COLUMN_TIME     /* of an item: see table_add_time */
};
struct table;
struct column {
	const char *title;
	enum column_kind kind;
	/* For print_items: the member of an item that is shown, or what else adds its cell. */
	const char *member;
	void (*add)(struct table *table, const json_t *item);
};
#define TABLE_COLUMNS_MAX 12
struct table {
	const struct column *columns;
	size_t column_count;
	char **cells; /* owned, row by row */
	size_t cell_count, cell_size;
};
void table_init(struct table *table, const struct column *columns, size_t count);
void table_fini(struct table *table);
/* Adds the next cell; NULL becomes "-". */
void table_add(struct table *table, const char *text);
void table_printf(struct table *table, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* width 0: nothing is cut. Colors the states when has_color. */
void table_write(const struct table *table, int width, bool has_color, struct buf *out);
void table_print(const struct table *table, const struct cli *cli);

/* "in 3h12m", "5m ago", "now" */
#define RELATIVE_TEXT_SIZE 64
const char *format_relative(
	int64_t at_ms, int64_t now_ms, char ret_text[static RELATIVE_TEXT_SIZE]);

/* A time of a JSON answer for a list: relative on a terminal, as it is elsewhere; "-" for null. */
void table_add_time(struct table *table, const struct cli *cli, const json_t *time);

/* The items of an answer as a table. */
void print_items(const struct cli *cli, const struct column *columns, size_t column_count,
	const json_t *items);

/* Members of an answer for a person, one a line, nested ones indented, times also relative; nulls
 * and empty lists are left out. `skip` (may be NULL) names a member to leave out. */
void print_object(const json_t *object, const char *skip);

/* Output of a program: as it is, but on a terminal without its control characters. */
void print_output(const struct cli *cli, const char *bytes, size_t len);
/* A piece of it: a terminal's line is not ended behind it. */
void print_piece(const struct cli *cli, const char *bytes, size_t len);

/* Appends `text` with control characters and ill-formed UTF-8 replaced. */
void append_safe(struct buf *out, const char *text);

/* --- json helpers --- */

/* The text of member `key`, or NULL when absent or no string. Borrowed. */
const char *get_text(const json_t *json, const char *key);
int64_t get_number(const json_t *json, const char *key, int64_t preset);

/* --- remote.c: calls to the server, errors already told --- */

/* One call; `path` begins with '/'. 0 and *ret_json (owned; NULL for an empty body), else the exit
 * status, after the problem was printed. ret_json may be NULL. */
int remote_call(struct cli *cli, const char *method, const char *path, const json_t *body,
	json_t **ret_json);
/* The same with If-Match (NULL: none). */
int remote_call_if(struct cli *cli, const char *method, const char *path, const json_t *body,
	const char *if_match, json_t **ret_json);
/* The same, but the problem goes to `ret_problem` as text instead of being told. */
int remote_try(struct cli *cli, const char *method, const char *path, const json_t *body,
	json_t **ret_json, struct buf *ret_problem);
/* Raw bytes of an answer (owned, free()). */
int remote_bytes(struct cli *cli, const char *path, char **ret_bytes, size_t *ret_len);
/* An answer that goes on: `on_bytes` gets what comes, as it comes. 0: it has ended. Else the exit
 * status and the problem as text; ret_may_retry: the server was away (refused, 503, broken off) and
 * trying again makes sense. */
typedef void remote_bytes_fn(const char *bytes, size_t len, void *data);
struct remote_stream {
	const char *path, *last_id; /* last_id NULL: none */
	remote_bytes_fn *on_bytes;
	void *data;
	bool ret_may_retry;
};
int remote_follow(struct cli *cli, struct remote_stream *stream, struct buf *ret_problem);
/* "/api/v1/actions/NAME/run": `fmt` with one %s, filled with the percent-encoded segment. Owned. */
char *remote_path(const char *before, const char *segment, const char *after);
/* Appends "?key=value" or "&key=value", encoded; nothing when value is NULL. */
void remote_query(struct buf *path, const char *key, const char *value);
/* All pages of a list, at most `max` items (0: all); *ret_items is an owned array. *ret_has_more
 * when the limit left some out (may be NULL). */
int remote_list(
	struct cli *cli, const char *path, size_t max, json_t **ret_items, bool *ret_has_more);

/* --- the commands, one function each --- */

int cmd_help(struct cli *cli);
int cmd_version(struct cli *cli);
int cmd_next(struct cli *cli);
int cmd_check_config(struct cli *cli);
int cmd_migrate(struct cli *cli);
int cmd_event_send(struct cli *cli);
int cmd_backfill(struct cli *cli);
int cmd_backfill_list(struct cli *cli);
int cmd_backfill_show(struct cli *cli);
int cmd_backfill_cancel(struct cli *cli);
int cmd_status(struct cli *cli);
int cmd_action_add(struct cli *cli);
int cmd_action_list(struct cli *cli);
int cmd_action_show(struct cli *cli);
int cmd_action_edit(struct cli *cli);
int cmd_action_pause(struct cli *cli);
int cmd_action_resume(struct cli *cli);
int cmd_action_run(struct cli *cli);
int cmd_action_delete(struct cli *cli);
int cmd_action_export(struct cli *cli);
int cmd_run_list(struct cli *cli);
int cmd_run_show(struct cli *cli);
int cmd_run_cancel(struct cli *cli);
int cmd_run_pause(struct cli *cli);
int cmd_run_resume(struct cli *cli);
int cmd_run_retry(struct cli *cli);
int cmd_run_logs(struct cli *cli);
int cmd_instance_list(struct cli *cli);
int cmd_instance_drain(struct cli *cli);
/* Waits until the instance that answers has nothing left to do, or is gone; timeout_ms below 0: for
 * ever. The exit status: 3 when a deadline cut something, or the time is over. */
int cli_wait_drained(struct cli *cli, int64_t timeout_ms);
int cmd_instance_undrain(struct cli *cli);
int cmd_secret_keygen(struct cli *cli);
int cmd_secret_set(struct cli *cli);
int cmd_secret_list(struct cli *cli);
int cmd_secret_delete(struct cli *cli);
int cmd_import_crontab(struct cli *cli);

/* --- shared between commands --- */

/* Is the run of an answer in this state? */
bool run_is(const json_t *run, enum run_state state);
/* A definition, or a merge patch for one, from this command's flags and what stands behind `--`: in
 * a patch what cannot stand beside a new member becomes null. ERR_INVALID: flags that exclude each
 * other. *ret_json is a new reference. */
enum define_mode {
	DEFINE_WHOLE,
	DEFINE_PATCH
};
int define_from_flags(
	const struct cli *cli, enum define_mode mode, json_t **ret_json, struct err *err);
/* How many flags say what the action does, a program behind `--` included. */
int define_target_count(const struct cli *cli);
/* Was any flag or program given that says something about the definition? */
bool define_is_asked(const struct cli *cli);
/* The definition alone, without the facts that the server shows with it; new reference. */
json_t *define_only(const json_t *action);
/* Waits for the end of a run, prints its output; 0 succeeded, 1 not, 3 deadline. */
int wait_for_run(struct cli *cli, const char *run_id, int64_t timeout_ms);
/* "run ID succeeded in 3s", on standard error. */
void tell_run_end(const json_t *run);
/* Prints the output of a run. */
int print_run_output(struct cli *cli, const char *run_id, int64_t attempt);
/* The same while it comes, to the end of the run, or of that attempt; 0 succeeded, 1 not. */
int follow_run(struct cli *cli, const char *run_id, int64_t attempt);
