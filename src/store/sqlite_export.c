/* SPDX-License-Identifier: Apache-2.0
 *
 * A file on its way to a server: its tables, its rows as JSON, and the mark that it was moved, so
 * that nobody starts a second server on what has gone elsewhere. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "store/move_priv.h"
#include "store/sqlite_priv.h"

#define SQL_MAX      (64 * 1024)
#define ROW_MAX      (64u << 20) /* PG_PARAMS_BYTES_MAX: more could not be written */
#define CLEAN_FACTOR 3           /* U+FFFD is three bytes and may stand for each single one */

struct export
{
	struct sqlite_db db;
	sqlite3_stmt *rows; /* of the table being read */
	struct buf row;
};

int export_open(const char *path, struct export **ret_export, struct err *err)
{
	struct export *export;
	struct stat facts;

	if (stat(path, &facts) < 0)
		return err_set(err, ERR_NOT_FOUND, "there is no database file '%s' to move", path);
	export = xcalloc(1, sizeof(*export));
	export->db.takes_moved = true;
	buf_init(&export->row, ROW_MAX);
	if (sqlite_enter(&export->db, path, &(struct file_lock_claim){0}, err) < 0) {
		export_close(export);
		return err->code;
	}
	*ret_export = export;
	return 0;
}

int export_upgrade(struct export *export, struct err *err)
{
	return sqlite_upgrade(&export->db.writer, NULL, NULL, err);
}

void export_close(struct export *export)
{
	(void)sqlite3_finalize(export->rows);
	buf_fini(&export->row);
	sqlite_leave(&export->db);
	free(export);
}

/* --- names --- */

static int read_names(struct conn *conn, const char *sql, char ***ret_names, struct err *err)
{
	sqlite3_stmt *handle = NULL;
	size_t count = 0, room = 0;
	char **names = NULL;
	int rc = sqlite3_prepare_v2(conn->db, sql, -1, &handle, NULL);

	for (;;) {
		names = grow_array(names, count, &room, sizeof(*names));
		if (rc != SQLITE_OK || (rc = sqlite3_step(handle)) != SQLITE_ROW)
			break;
		names[count++] = xstrdup((const char *)sqlite3_column_text(handle, 0));
		rc = SQLITE_OK;
	}
	(void)sqlite3_finalize(handle);
	*ret_names = names;
	return rc == SQLITE_DONE ? 0 : conn_fail(conn, rc, err);
}

int export_tables(struct export *export, char ***ret_names, struct err *err)
{
	return read_names(&export->db.writer,
		"SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
		" AND name NOT IN ('migration', 'kept_output', 'moved')",
		ret_names, err);
}

int export_columns(struct export *export, const char *table, char ***ret_names, struct err *err)
{
	auto_free char *sql = xasprintf("SELECT name FROM pragma_table_info('%s')", table);

	return read_names(&export->db.writer, sql, ret_names, err);
}

/* --- rows --- */

static bool is_bytes(const struct move_column *column)
{
	return strcmp(column->type, "uuid") == 0 || strcmp(column->type, "bytea") == 0;
}

static char *row_sql(const struct move_table *table)
{
	struct buf sql;

	buf_init(&sql, SQL_MAX);
	for (size_t i = 0; i < table->count; i++) {
		const char *from = table->columns[i].from;

		buf_printf(&sql, "%s'%s', ", i ? ", " : "SELECT json_object(", from);
		buf_printf(&sql,
			is_bytes(&table->columns[i]) ? "iif(\"%s\" IS NULL, NULL, hex(\"%s\"))"
						     : "\"%s\"",
			from, from);
	}
	buf_printf(&sql, ") FROM \"%s\"", table->name);
	return buf_take(&sql);
}

int export_count(struct export *export, const char *table, int64_t *ret_rows, struct err *err)
{
	auto_free char *sql = xasprintf("SELECT count(*) FROM \"%s\"", table);

	return conn_read_i64(&export->db.writer, sql, ret_rows, err);
}

int export_begin(struct export *export, const struct move_table *table, struct err *err)
{
	struct conn *conn = &export->db.writer;
	auto_free char *sql = row_sql(table);
	int rc;

	(void)sqlite3_finalize(export->rows);
	export->rows = NULL;
	rc = sqlite3_prepare_v2(conn->db, sql, -1, &export->rows, NULL);
	return rc == SQLITE_OK ? 0 : conn_fail(conn, rc, err);
}

int export_row(struct export *export, const char **ret_json, struct err *err)
{
	int rc = sqlite3_step(export->rows);

	if (rc == SQLITE_DONE)
		return 0;
	if (rc != SQLITE_ROW)
		return conn_fail(&export->db.writer, rc, err);
	buf_clear(&export->row);
	utf8_clean((const char *)sqlite3_column_text(export->rows, 0),
		(size_t)sqlite3_column_bytes(export->rows, 0), &export->row);
	*ret_json = buf_text(&export->row);
	return 1;
}

/* --- the mark --- */

int export_mark(struct export *export, const char *place, struct err *err)
{
	struct conn *conn = &export->db.writer;
	char *quoted = sqlite3_mprintf("%Q", place ? place : "");
	auto_free char *sql = xasprintf("BEGIN IMMEDIATE;"
					"DROP TABLE IF EXISTS moved;"
					"%s%s%s"
					"PRAGMA application_id = %d;"
					"COMMIT",
		place ? "CREATE TABLE moved (place TEXT NOT NULL) STRICT; INSERT INTO moved VALUES "
			"("
		      : "",
		place ? quoted : "", place ? ");" : "",
		place ? SQLITE_APPLICATION_MOVED : SQLITE_APPLICATION_ID);
	int status;

	sqlite3_free(quoted);
	(void)sqlite3_finalize(export->rows);
	export->rows = NULL;
	status = conn_run_text(conn, sql, err);
	if (status < 0)
		(void)conn_run_text(conn, "ROLLBACK", NULL);
	return status;
}
