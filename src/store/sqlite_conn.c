/* SPDX-License-Identifier: Apache-2.0
 *
 * One connection to the file: opening, errors in words, prepared statements and their values. */
#include <errno.h>
#include <string.h>

#include "store/sqlite_priv.h"

/* Another program (a backup, a shell) may hold the file for a moment. */
#define BUSY_TIMEOUT_MS 2000

/* The log is emptied by hand (sqlite_store.c), so that no commit pays for it. */
#define WRITER_SETTINGS                                                                            \
	"PRAGMA foreign_keys = ON;"                                                                \
	"PRAGMA synchronous = FULL;"                                                               \
	"PRAGMA wal_autocheckpoint = 0;"                                                           \
	"PRAGMA journal_size_limit = 67108864;"                                                    \
	"PRAGMA cache_size = -8000;"                                                               \
	"PRAGMA secure_delete = FAST;"                                                             \
	"PRAGMA temp_store = MEMORY;"                                                              \
	"PRAGMA cell_size_check = ON;"                                                             \
	"PRAGMA trusted_schema = OFF;"
#define READER_SETTINGS                                                                            \
	"PRAGMA cache_size = -4000;"                                                               \
	"PRAGMA temp_store = MEMORY;"                                                              \
	"PRAGMA cell_size_check = ON;"                                                             \
	"PRAGMA trusted_schema = OFF;"                                                             \
	"PRAGMA query_only = ON;"

/* --- errors --- */

static bool is_disk_full(int error)
{
	return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

static int fail_full(const struct conn *conn, struct err *err)
{
	return err_set(err, ERR_FULL,
		"database '%s': no space left on its disk; make room, then it goes on by itself",
		conn->place);
}

/* SQLite keeps the errno of some failures only; that of the others is still where the system call
 * left it, since every step begins with none. */
static int last_errno(const struct conn *conn)
{
	int error = sqlite3_system_errno(conn->db);

	return error ? error : errno;
}

static int fail_io(const struct conn *conn, struct err *err)
{
	int error = last_errno(conn);

	if (is_disk_full(error))
		return fail_full(conn, err);
	return err_set(err, ERR_IO,
		"database '%s': the operating system refused a read or a write (%s); check the "
		"disk and its log",
		conn->place, error ? strerror(error) : sqlite3_errmsg(conn->db));
}

int conn_damaged(const struct conn *conn, const char *what, struct err *err)
{
	return err_set(err, ERR_CORRUPT,
		"database '%s' is damaged (%.120s); restore a backup, or save what can be read "
		"with: sqlite3 FILE .recover",
		conn->place, what);
}

int conn_fail(struct conn *conn, int rc, struct err *err)
{
	const char *place = conn->place, *text = conn->db ? sqlite3_errmsg(conn->db) : "";

	switch (rc & 0xff) {
	case SQLITE_FULL:
		return fail_full(conn, err);
	case SQLITE_IOERR:
		return fail_io(conn, err);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_PROTOCOL:
		return err_set(err, ERR_UNAVAILABLE,
			"database '%s' is locked by another program (a shell, a backup); end it",
			place);
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return err_set(err, ERR_IO,
			"database '%s' is read-only; the file and its folder must be writable for "
			"the user that runs the server",
			place);
	case SQLITE_CANTOPEN:
		return err_set(err, ERR_IO, "database '%s' cannot be opened: %s", place,
			strerror(last_errno(conn)));
	case SQLITE_NOTADB:
		return err_set(err, ERR_CORRUPT,
			"'%s' is not a database; name another file, or restore a backup", place);
	case SQLITE_CORRUPT:
	case SQLITE_FORMAT:
		return conn_damaged(conn, text, err);
	case SQLITE_NOMEM:
		return err_set(
			err, ERR_UNAVAILABLE, "database '%s': no memory for this request", place);
	}
	return err_set(err, ERR_INTERNAL, "database '%s': %s (%d)", place, text, rc);
}

/* --- open and close --- */

static int on_commit_to_log(void *data, sqlite3 *db, const char *schema, int pages)
{
	struct conn *conn = data;

	conn->wal_pages = pages;
	return SQLITE_OK;
}

static int conn_set_up(struct conn *conn, enum conn_mode mode, struct err *err)
{
	(void)sqlite3_busy_timeout(conn->db, BUSY_TIMEOUT_MS);
	(void)sqlite3_db_config(conn->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	switch (mode) {
	case CONN_WRITER:
		(void)sqlite3_wal_hook(conn->db, on_commit_to_log, conn);
		return conn_run_text(conn, WRITER_SETTINGS, err);
	case CONN_READER:
	case CONN_INSPECT:
		break;
	}
	return conn_run_text(conn, READER_SETTINGS, err);
}

int conn_open(struct conn *conn, const char *place, enum conn_mode mode, struct err *err)
{
	int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_PRIVATECACHE;
	int rc;

	*conn = (struct conn){.place = place};
	flags |= mode == CONN_WRITER ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
	rc = sqlite3_open_v2(place, &conn->db, flags, NULL);
	if (rc != SQLITE_OK)
		rc = conn_fail(conn, rc, err);
	else if (mode == CONN_WRITER && sqlite3_db_readonly(conn->db, "main") == 1)
		rc = conn_fail(conn, SQLITE_READONLY, err);
	else
		rc = conn_set_up(conn, mode, err);
	if (rc < 0)
		conn_close(conn);
	return rc;
}

void conn_close(struct conn *conn)
{
	for (int i = 0; i < QUERY_COUNT; i++)
		(void)sqlite3_finalize(take_ptr(conn->statements[i]));
	/* fails only with statements left open, and all are closed */
	must(sqlite3_close(take_ptr(conn->db)) == SQLITE_OK);
}

int conn_run_text(struct conn *conn, const char *sql, struct err *err)
{
	int rc;

	errno = 0;
	rc = sqlite3_exec(conn->db, sql, NULL, NULL, NULL);
	return rc == SQLITE_OK ? 0 : conn_fail(conn, rc, err);
}

int conn_read_i64(struct conn *conn, const char *sql, int64_t *ret_value, struct err *err)
{
	sqlite3_stmt *handle = NULL;
	int rc = sqlite3_prepare_v2(conn->db, sql, -1, &handle, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(handle);
	if (rc == SQLITE_ROW)
		*ret_value = sqlite3_column_int64(handle, 0);
	(void)sqlite3_finalize(handle);
	return rc == SQLITE_ROW ? 0 : conn_fail(conn, rc, err);
}

char *conn_read_text(const struct conn *conn, const char *sql)
{
	sqlite3_stmt *handle = NULL;
	char *text = NULL;

	if (sqlite3_prepare_v2(conn->db, sql, -1, &handle, NULL) == SQLITE_OK &&
		sqlite3_step(handle) == SQLITE_ROW && sqlite3_column_text(handle, 0))
		text = xstrdup((const char *)sqlite3_column_text(handle, 0));
	(void)sqlite3_finalize(handle);
	return text;
}

/* --- statements --- */

struct statement statement_start(struct conn *conn, enum query query)
{
	struct statement st = {.conn = conn, .handle = conn->statements[query]};

	if (st.handle)
		return st;
	st.rc = sqlite3_prepare_v3(conn->db, query_texts[query].text, -1, SQLITE_PREPARE_PERSISTENT,
		&conn->statements[query], NULL);
	st.handle = conn->statements[query];
	return st;
}

int statement_step(struct statement *st, struct err *err)
{
	st->column = 0;
	errno = 0;
	if (st->rc == SQLITE_OK || st->rc == SQLITE_ROW)
		st->rc = sqlite3_step(st->handle);
	if (st->rc == SQLITE_ROW)
		return 1;
	if (st->rc == SQLITE_DONE)
		return 0;
	return conn_fail(st->conn, st->rc, err);
}

void statement_end(struct statement *st)
{
	if (!st->handle)
		return; /* it could not be prepared */
	(void)sqlite3_reset(st->handle);
	(void)sqlite3_clear_bindings(st->handle); /* they borrow */
}

int statement_run(struct statement *st, struct err *err)
{
	int status;

	do
		status = statement_step(st, err);
	while (status > 0);
	statement_end(st);
	return status;
}

int statement_any(struct statement *st, struct err *err)
{
	int status = statement_step(st, err);

	statement_end(st);
	return status;
}

int statement_i64(struct statement *st, int64_t *ret_value, struct err *err)
{
	int status = statement_step(st, err);

	if (status > 0)
		*ret_value = read_i64(st);
	statement_end(st);
	return status < 0 ? status : 0;
}

int run_by_id(struct conn *conn, enum query query, const struct id *id, struct err *err)
{
	struct statement st = statement_start(conn, query);

	put_id(&st, id);
	return statement_run(&st, err);
}

/* --- values in --- */

static void put_done(struct statement *st, int rc)
{
	if (st->rc == SQLITE_OK)
		st->rc = rc;
}

void put_i64(struct statement *st, int64_t value)
{
	st->parameter++;
	put_done(st, sqlite3_bind_int64(st->handle, st->parameter, value));
}

static void put_null(struct statement *st)
{
	st->parameter++;
	put_done(st, sqlite3_bind_null(st->handle, st->parameter));
}

void put_time(struct statement *st, int64_t at_ms)
{
	if (at_ms == NO_TIME)
		put_null(st);
	else
		put_i64(st, at_ms);
}

void put_unless(struct statement *st, int value, int none)
{
	if (value == none)
		put_null(st);
	else
		put_i64(st, value);
}

void put_id(struct statement *st, const struct id *id)
{
	if (id_is_zero(id))
		put_null(st);
	else
		put_bytes(st, id->bytes, ID_BYTES);
}

void put_text(struct statement *st, const char *text)
{
	st->parameter++;
	put_done(st, sqlite3_bind_text(st->handle, st->parameter, text, -1, SQLITE_STATIC));
}

void put_bytes(struct statement *st, const void *bytes, size_t len)
{
	st->parameter++;
	put_done(st, sqlite3_bind_blob64(st->handle, st->parameter, bytes, len, SQLITE_STATIC));
}

/* --- values out --- */

int64_t read_i64(struct statement *st)
{
	return sqlite3_column_int64(st->handle, st->column++);
}

int read_int(struct statement *st, int if_null)
{
	if (sqlite3_column_type(st->handle, st->column) == SQLITE_NULL) {
		st->column++;
		return if_null;
	}
	return (int)read_i64(st);
}

int64_t read_time(struct statement *st)
{
	if (sqlite3_column_type(st->handle, st->column) == SQLITE_NULL) {
		st->column++;
		return NO_TIME;
	}
	return read_i64(st);
}

struct id read_id(struct statement *st)
{
	struct id id = {0};
	int column = st->column++;

	if (sqlite3_column_bytes(st->handle, column) == ID_BYTES)
		memcpy(id.bytes, sqlite3_column_blob(st->handle, column), ID_BYTES);
	return id;
}

char *read_text(struct statement *st)
{
	int column = st->column++;
	const unsigned char *text = sqlite3_column_text(st->handle, column);

	if (!text)
		return NULL;
	return xstrndup((const char *)text, (size_t)sqlite3_column_bytes(st->handle, column));
}

void read_text_into(struct statement *st, char *ret_text, size_t size)
{
	int column = st->column++;
	const unsigned char *text = sqlite3_column_text(st->handle, column);
	size_t len = text ? (size_t)sqlite3_column_bytes(st->handle, column) : 0;

	if (len >= size)
		len = 0;
	if (len > 0)
		memcpy(ret_text, text, len);
	ret_text[len] = '\0';
}

int read_name(struct statement *st, const char *const names[])
{
	const char *text = (const char *)sqlite3_column_text(st->handle, st->column++);
	int index = name_index(names, text);

	return index < 0 ? 0 : index;
}
