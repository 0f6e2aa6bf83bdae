/* SPDX-License-Identifier: Apache-2.0
 *
 * The store in an SQLite file: write-ahead log, synchronous=FULL, a writing
 * connection, a reading one and one for lists, each used by one batch at a time on the thread pool
 * (store_batch.c). The file belongs
 * to one server at a time (file_lock.c).
 *
 * The log is copied back into the file (a checkpoint) when nothing was written for a moment, never
 * inside a commit: a commit that pays for a checkpoint is the 5 to 10 ms that show up as the worst
 * case of MEASURED.md. Only a log that has grown very long is cut under load. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/sqlite_priv.h"

/* Every page is looked at when the file is opened, up to this size: 6 ms a MiB were measured. */
#define CHECK_MAX_BYTES (64 << 20)

#define REST_PAGES        256   /* a log of 1 MiB is worth a checkpoint in a quiet moment */
#define FORCE_PAGES       16384 /* 64 MiB: now, quiet or not */
#define FORCE_AGAIN_PAGES 16384 /* and then after so many more, as a long read may keep it */

/* --- the file --- */

/* The absolute path without links, so that every way to a file leads to the same lock. */
static char *resolve(const char *path)
{
	auto_free char *folder = NULL, *copy = NULL;
	char full[PATH_MAX];
	const char *slash = strrchr(path, '/');

	if (realpath(path, full))
		return xstrdup(full);
	copy = slash ? xstrndup(path, (size_t)(slash - path) + 1) : xstrdup(".");
	if (errno != ENOENT || !realpath(copy, full))
		return xstrdup(path); /* opening it will tell */
	folder = xstrdup(full);
	return xasprintf("%s/%s", strcmp(folder, "/") == 0 ? "" : folder, slash ? slash + 1 : path);
}

/* Created here and not by SQLite: readable by its owner alone, since definitions may hold secrets.
 */
static int create_file(const char *path, struct err *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
	struct stat facts;
	int status = 0;

	if (fd < 0)
		return file_error(err, errno, path);
	if (fstat(fd, &facts) < 0)
		status = file_error(err, errno, path);
	else if (!S_ISREG(facts.st_mode))
		status = err_set(err, ERR_IO, "'%s' is not a regular file", path);
	(void)close(fd);
	return status;
}

static int check_path(const char *path, struct err *err)
{
	if (path[0] == '\0')
		return err_set(
			err, ERR_INVALID, "database 'sqlite:' lacks a file name: sqlite:PATH");
	if (strcmp(path, ":memory:") == 0)
		return err_set(err, ERR_INVALID,
			"'sqlite::memory:' would be lost with the process: name a file");
	return 0;
}

/* The log mode is kept in the file, so only ours may be touched. */
static int use_log(struct conn *conn, struct err *err)
{
	sqlite3_stmt *handle = NULL;
	int rc = sqlite3_prepare_v2(conn->db, "PRAGMA journal_mode = WAL", -1, &handle, NULL);
	bool is_wal = false;

	if (rc == SQLITE_OK)
		rc = sqlite3_step(handle);
	if (rc == SQLITE_ROW)
		is_wal = strcmp((const char *)sqlite3_column_text(handle, 0), "wal") == 0;
	(void)sqlite3_finalize(handle);
	if (rc != SQLITE_ROW)
		return conn_fail(conn, rc, err);
	if (!is_wal)
		return err_set(err, ERR_IO,
			"database '%s': its file system cannot share memory (a network drive?); "
			"use a local disk",
			conn->place);
	return 0;
}

/* Counting memory takes a lock at each of the many small allocations of a statement: a tenth of a
 * claim. Only possible before the library's first use; start-up, one thread. */
static void set_up_library(void)
{
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

/* Damage is better met at the start, where somebody watches, than in the middle of the night. */
static int check_pages(struct conn *conn, struct err *err)
{
	struct stat facts;
	sqlite3_stmt *handle = NULL;
	int rc, status = 0;

	if (stat(conn->place, &facts) < 0 || facts.st_size > CHECK_MAX_BYTES)
		return 0;
	rc = sqlite3_prepare_v2(conn->db, "PRAGMA quick_check(1)", -1, &handle, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(handle);
	if (rc != SQLITE_ROW)
		status = conn_fail(conn, rc, err);
	else if (strcmp((const char *)sqlite3_column_text(handle, 0), "ok") != 0)
		status = conn_damaged(conn, (const char *)sqlite3_column_text(handle, 0), err);
	(void)sqlite3_finalize(handle);
	return status;
}

/* A file that a predecessor has in use is in order, and it waits for us. */
static int open_writer(struct sqlite_db *db, bool is_in_use, struct err *err)
{
	int64_t version;

	if (conn_open(&db->writer, db->place, CONN_WRITER, err) < 0)
		return err->code;
	db->writer.takes_moved = db->takes_moved;
	if (sqlite_inspect(&db->writer, &version, err) < 0 ||
		(!is_in_use && check_pages(&db->writer, err) < 0) ||
		use_log(&db->writer, err) < 0) {
		conn_close(&db->writer);
		return err->code;
	}
	return 0;
}

int sqlite_enter(struct sqlite_db *db, const char *path, const struct file_lock_claim *claim,
	struct err *err)
{
	bool is_in_use = false;

	set_up_library();
	db->lock.fd = -1;
	if (check_path(path, err) < 0)
		return err->code;
	db->place = resolve(path);
	if (file_lock_take(&db->lock, db->place, claim, &is_in_use, err) < 0 ||
		create_file(db->place, err) < 0 || open_writer(db, is_in_use, err) < 0) {
		sqlite_leave(db);
		return err->code;
	}
	return 0;
}

void sqlite_leave(struct sqlite_db *db)
{
	conn_close(&db->lister);
	conn_close(&db->reader);
	conn_close(&db->writer); /* the last one out copies the log back */
	file_lock_release(&db->lock);
	free(take_ptr(db->place));
}

/* --- transactions --- */

static struct conn *conn_of(struct sqlite_db *db, enum store_lane lane)
{
	switch (lane) {
	case LANE_WRITE:
		return &db->writer;
	case LANE_LIST:
		return &db->lister;
	case LANE_READ:
	case LANE_COUNT:
		break;
	}
	return &db->reader;
}

static int run_plain(struct conn *conn, enum query query, struct err *err)
{
	struct statement st = statement_start(conn, query);

	return statement_run(&st, err);
}

static int sqlite_begin(void *db, enum store_lane lane, struct err *err)
{
	return run_plain(
		conn_of(db, lane), lane == LANE_WRITE ? QUERY_BEGIN_WRITE : QUERY_BEGIN_READ, err);
}

/* May hold up to the end of the log, if a reader stands in it; the rest comes next time. */
static void checkpoint(struct conn *conn)
{
	int pages = 0, copied = 0;

	(void)sqlite3_wal_checkpoint_v2(
		conn->db, "main", SQLITE_CHECKPOINT_PASSIVE, &pages, &copied);
	if (pages >= 0 && copied == pages)
		conn->wal_pages = 0;
}

static int sqlite_commit(void *db, enum store_lane lane, struct err *err)
{
	struct conn *conn = conn_of(db, lane);
	int status = run_plain(conn, QUERY_COMMIT, err);

	if (status == 0 && conn->wal_pages >= conn->force_pages) {
		conn->force_pages = conn->wal_pages + FORCE_AGAIN_PAGES;
		checkpoint(conn);
	}
	if (conn->wal_pages < FORCE_PAGES)
		conn->force_pages = FORCE_PAGES;
	return status;
}

static bool sqlite_is_open(void *db, enum store_lane lane)
{
	return sqlite3_get_autocommit(conn_of(db, lane)->db) == 0;
}

static void sqlite_rollback(void *db, enum store_lane lane)
{
	struct conn *conn = conn_of(db, lane);

	if (sqlite_is_open(db, lane))
		(void)run_plain(conn, QUERY_ROLLBACK, NULL);
}

static int sqlite_mark(void *db, struct err *err)
{
	return run_plain(conn_of(db, LANE_WRITE), QUERY_MARK, err);
}

static int sqlite_keep(void *db, struct err *err)
{
	return run_plain(conn_of(db, LANE_WRITE), QUERY_KEEP, err);
}

static int sqlite_undo(void *db, struct err *err)
{
	if (run_plain(conn_of(db, LANE_WRITE), QUERY_UNDO, err) < 0)
		return err->code;
	return sqlite_keep(db, err);
}

static bool sqlite_wants_rest(void *db)
{
	return conn_of(db, LANE_WRITE)->wal_pages >= REST_PAGES;
}

static void sqlite_rest(void *db)
{
	checkpoint(conn_of(db, LANE_WRITE));
}

static void sqlite_close(void *data)
{
	struct sqlite_db *db = data;

	sqlite_leave(db);
	free(db->path);
	free(db);
}

/* --- the backend --- */

static const struct sync_verbs sqlite_verbs = {
#define X(verb) .verb = sqlite_##verb,
	STORE_VERBS(X)
#undef X
		.list_orphans = sqlite_list_orphans,
};

static const struct sync_transactions sqlite_transactions = {
	.begin = sqlite_begin,
	.commit = sqlite_commit,
	.rollback = sqlite_rollback,
	.mark = sqlite_mark,
	.keep = sqlite_keep,
	.undo = sqlite_undo,
	.is_open = sqlite_is_open,
	.wants_rest = sqlite_wants_rest,
	.rest = sqlite_rest,
};

static int open_db(void *data, struct err *err)
{
	struct sqlite_db *db = data;
	struct file_lock_claim claim = {
		.instance_id = &db->instance_id, .inherited_fd = db->lock_fd};

	if (sqlite_enter(db, db->path, &claim, err) < 0)
		return err->code;
	if (sqlite_upgrade(&db->writer, NULL, NULL, err) == 0 &&
		conn_open(&db->reader, db->place, CONN_READER, err) == 0 &&
		conn_open(&db->lister, db->place, CONN_READER, err) == 0)
		return 0;
	sqlite_leave(db);
	return err->code;
}

static int lock_fd_of(const void *db)
{
	return ((const struct sqlite_db *)db)->lock.fd;
}

static const struct sync_ops sqlite_ops = {
	.verbs = &sqlite_verbs,
	.transactions = &sqlite_transactions,
	.is_threaded = true,
	.open = open_db,
	.lock_fd = lock_fd_of,
	.close = sqlite_close,
};

static int sqlite_open(
	struct store *store, const struct store_opts *opts, const char *path, struct err *err)
{
	struct sqlite_db *db;

	if (check_path(path, err) < 0)
		return err->code;
	db = xcalloc(1, sizeof(*db));
	db->instance_id = opts->instance_id;
	db->path = xstrdup(path);
	db->lock_fd = opts->lock_fd;
	store->place = xstrdup(path);
	store->impl = batch_create(store, &sqlite_ops, db);
	return STORE_OPENING;
}

const struct store_backend sqlite_backend = {
	.schemes = {"sqlite:"},
	.name = "sqlite",
	.open = sqlite_open,
	.submit = batch_submit,
	.flush = batch_flush,
	.close = batch_close,
	.migrate = sqlite_migrate,
};
