/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by import.c (lines to definitions), import_send.c (definitions to the server) and
 * import_report.c (what people see of it). */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/cli_priv.h"
#include "cli/crontab.h"

struct import_row {
	const struct crontab_job *job; /* borrowed from the crontab */
	json_t *definition;            /* owned */
	char *name;                    /* owned */
	char tag[32];                  /* its identity */
	uint64_t hash;
	int64_t next_due_ms;
	bool exists;  /* was imported before */
	bool created; /* by this call */
};

struct import {
	struct cli *cli;
	const char *source;   /* for people: the path, or "a crontab" */
	const char *timezone; /* where the file says none */
	const char *prefix;
	char *machine_zone;     /* owned */
	char *home_user, *home; /* the last home looked up; owned */
	int64_t now_ms;
	struct crontab crontab;
	struct import_row *rows; /* the jobs that are acceptable; owned */
	size_t row_count;
};

size_t import_refused(const struct import *import);

/* Creates the rows that do not exist yet, in requests of bounded size; the exit status. With
 * --keep-going a row that the server refuses becomes a remark, else it ends the import. */
int import_send(struct import *import);

void import_show_plan(const struct import *import);
void import_tell_result(const struct import *import);
void import_tell_remarks(const struct import *import, FILE *out);
