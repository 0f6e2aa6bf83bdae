/* SPDX-License-Identifier: Apache-2.0
 *
 * Crontabs as Debian's cron reads them (crontab(5); where the manual is silent, as its cron 3.0pl1
 * was seen to behave). Pure: text in, jobs and remarks out. Whether an expression is acceptable is
 * not decided here but by plan/, when the job becomes an action. Private to cli/. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRONTAB_BYTES_MAX (16u << 20)
#define CRONTAB_LINE_MAX  16384 /* bytes; Debian's own limit is 999 for a command */
#define CRONTAB_ENV_MAX   100   /* variables in force at a time */

enum crontab_form {
	CRONTAB_AUTO, /* system when a job's first command word is "root", which no program is
			 called */
	CRONTAB_USER,
	CRONTAB_SYSTEM /* with the user column */
};

struct crontab_env {
	char *name;
	char *value;
};

/* One job line. All strings owned. */
struct crontab_job {
	int line;
	char *schedule;   /* "17 * * * *" (fields one blank apart) or "@daily" */
	char *timezone;   /* CRON_TZ in force; NULL: none */
	char *user;       /* the column; NULL: user form */
	char *command;    /* up to the first unescaped %, escapes resolved */
	char *stdin_text; /* what follows the %, ends in a newline; NULL: no % */
	struct crontab_env
		*env; /* in force at this line; without CRON_TZ and what cron keeps for itself */
	size_t env_count;
	char *shell; /* SHELL in force; NULL: /bin/sh */
};

enum crontab_verdict {
	CRONTAB_NOTED,  /* taken, but something is worth knowing */
	CRONTAB_REFUSED /* this line cannot be taken */
};

struct crontab_remark {
	int line; /* 0: about the file */
	enum crontab_verdict verdict;
	char *text;
};

struct crontab {
	enum crontab_form form; /* as found: never AUTO */
	struct crontab_job *jobs;
	size_t job_count;
	struct crontab_remark *remarks; /* in line order */
	size_t remark_count;
};

/* Reads all lines; whatever cannot be taken becomes a remark, so this never fails. `text` need not
 * end in NUL or a newline. Release with crontab_fini. */
void crontab_parse(
	const char *text, size_t len, enum crontab_form form, struct crontab *ret_crontab);
void crontab_fini(struct crontab *crontab);

/* Adds a remark in its place by line. */
void crontab_remark(struct crontab *crontab, int line, enum crontab_verdict verdict,
	const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* --- names (crontab_name.c) --- */

/* What the command is about, fit for an action's name: "backup" of
 * "cd /srv && nice -n 10 /usr/local/bin/backup.sh --all"; "job" when nothing better is found.
 * Owned. */
#define CRONTAB_BASE_MAX 40
char *crontab_base_name(const char *command);

/* Identity of a job: what it runs, when, as whom; not where in the file it stands. `twin` counts
 * identical jobs of one file from 0, so that each has its own. */
uint64_t crontab_job_hash(const struct crontab_job *job, int twin);
