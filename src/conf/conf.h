/* SPDX-License-Identifier: Apache-2.0
 *
 * Configuration: options.def -> struct conf, from default, file ([gathering] of a GKeyFile),
 * environment and flags; the later wins. Only main.c, server.c and cli/ include this. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"

enum conf_source {
	CONF_DEFAULT,
	CONF_FILE,
	CONF_ENVIRONMENT,
	CONF_FLAG
};

#define CONF_STRING   char *
#define CONF_ENUM     char *
#define CONF_DURATION int64_t
#define CONF_SIZE     int64_t
#define CONF_INT      int64_t
#define CONF_BOOL     bool

struct conf {
#define X(name, type, value, min, max, help) CONF_##type name;
#include "conf/options.def"
#undef X
	/* private to conf.c: where each value came from, in table order */
	enum conf_source *sources;
	char *file; /* NULL: no file was read */
};

/* Fills `ret_conf` from defaults, then the file, then GATHERING_* of `environ`, then the flags in
 * argv
 * (--name VALUE, --name=VALUE, --set name=VALUE; a BOOL flag may stand alone; '-' and '_' are the
 * same).
 * --config FILE names the file (it must exist); else $GATHERING_CONFIG (likewise; empty: not set),
 * else /etc/gathering/gathering.conf if it exists. In the file, the last of several equal keys
 * counts. argv[0] is skipped; anything that is no option is an error; other GATHERING_* variables
 * are not ours to judge. Then options that contradict each other are refused. ERR_INVALID names the
 * option, the value, what is allowed and where it came from (`field`: "/name"); an unknown option
 * names the nearest known one. ERR_IO: a file that cannot be read. *ret_conf is set only on
 * success. Blocking; before the loop starts. */
[[nodiscard]] int conf_load(int argc, char *const *argv, struct conf *ret_conf, struct err *err);

/* One option that differs between two configurations; passwords in URLs are hidden. All borrowed
 * for the call. */
struct conf_change {
	const char *name, *before, *after;
	bool is_live; /* it has been taken over; else it waits for a restart */
};
typedef void conf_change_fn(const struct conf_change *change, void *data);

/* Takes what may change while running over from `fresh`, and tells of every option that differs.
 * ERR_INVALID, and nothing taken or told: with those that must wait it would contradict itself.
 * `fresh` is left with the old values, for conf_fini. */
[[nodiscard]] int conf_apply_live(
	struct conf *conf, struct conf *fresh, conf_change_fn *each, void *data, struct err *err);

/* Frees what a loaded `conf` owns; harmless for {0} and when repeated. */
void conf_fini(struct conf *conf);

/* `gathering check-config`, passwords in URLs hidden: one line an option, in columns: name, value
 * ("" when empty), and where it came from: "default", "file PATH", "environment GATHERING_NAME" or
 * "flag". */
void conf_write_effective(const struct conf *conf, struct buf *out);

/* The options part of --help, and the table of doc/config.md (Markdown). */
void conf_write_help(struct buf *out);
void conf_write_markdown(struct buf *out);

/* One option for a document that conf/ does not write itself (manual pages, completion). All
 * borrowed for the call. */
struct conf_row {
	const char *name;    /* as in the file: "log_level" */
	const char *flag;    /* "--log-level" */
	const char *words;   /* the values allowed, a blank between; NULL: not a choice */
	const char *allowed; /* what it takes, as --help says it */
	const char *preset;  /* "" is empty */
	const char *help;
	bool is_live;      /* changes at SIGHUP */
	bool stands_alone; /* the flag needs no value */
};
typedef void conf_row_fn(const struct conf_row *row, void *data);

/* Shows every option, in the order of options.def. */
void conf_each(conf_row_fn *show, void *data);
