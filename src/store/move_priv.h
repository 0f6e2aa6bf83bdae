/* SPDX-License-Identifier: Apache-2.0
 *
 * Moving a store: the file that is read (sqlite_export.c) and the server that is written to
 * (pg_import.c). Both blocking, for the command line only.
 *
 * Nothing here knows a table by heart. The server's catalogue tells the tables, in the order of
 * their references, and their columns; a column of the file belongs to the one of the same name,
 * `_ms` being `_at` or nothing there. What the file has and the server has not is an error, so
 * that no table can be forgotten. */
#pragma once

#include "store/store_priv.h"

struct move_column {
	char *from, *to; /* owned; names in the file and on the server */
	char *type;      /* owned; the server's, as format_type writes it */
};

/* A table of the server and where each of its columns comes from. */
struct move_table {
	char *name;
	struct move_column *columns;
	size_t count;
	int64_t rows; /* in the file */
};
void move_tables_free(struct move_table *tables, size_t count);

/* --- the file --- */

struct export;

/* Takes the file for itself, as a server does; one that was moved before is taken too.
 * ERR_NOT_FOUND: there is no such file; else as store_open. */
int export_open(const char *path, struct export **ret_export, struct err *err);
int export_upgrade(struct export *export, struct err *err);
void export_close(struct export *export);

/* Names, NULL at the end; owned by the caller, as is each of them. */
int export_tables(struct export *export, char ***ret_names, struct err *err);
int export_columns(struct export *export, const char *table, char ***ret_names, struct err *err);

int export_count(struct export *export, const char *table, int64_t *ret_rows, struct err *err);

/* Reads the rows one after the other: each a JSON object of `from` names in UTF-8, bytes in
 * hexadecimal. The text lives until the next call. 1: a row, 0: no more. */
int export_begin(struct export *export, const struct move_table *table, struct err *err);
int export_row(struct export *export, const char **ret_json, struct err *err);

/* From now on store_open refuses the file and names `place`, or takes it again (NULL). */
int export_mark(struct export *export, const char *place, struct err *err);

/* --- the server --- */

struct import;

/* Migrates the database and begins the one transaction. ERR_CONFLICT: it has actions. */
int import_open(const char *url, struct import **ret_import, struct err *err);
/* Without a commit nothing was done. */
void import_close(struct import *import);

/* In the order in which they can be filled; columns have no `from` yet. */
int import_tables(
	struct import *import, struct move_table **ret_tables, size_t *ret_count, struct err *err);
/* `rows`: a JSON array of what export_row gave. */
int import_rows(
	struct import *import, const struct move_table *table, const char *rows, struct err *err);
int import_commit(struct import *import, struct err *err);
