/* SPDX-License-Identifier: Apache-2.0
 *
 * Whose file it is, and which version its schema has: SQLite's own application_id and user_version,
 * in the first page. Migrations are the numbered files of sql/sqlite; number n makes version n, in
 * one transaction that reads the version again, so two that begin at once do it once, and one that
 * is killed leaves the version before. */
#include <errno.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/prove.h"
#include "store/sqlite_priv.h"

int64_t sqlite_newest_version(void)
{
	int64_t count = 0;

	while (sqlite_migrations[count].name)
		count++;
	return count;
}

static int refuse_moved(const struct conn *conn, struct err *err)
{
	auto_free char *place = conn_read_text(conn, "SELECT place FROM moved");

	return err_set(err, ERR_CONFLICT,
		"what '%s' held was moved to %s; start the server with that database, or take the "
		"file back as it was: gathering migrate --database sqlite:%s --take-back",
		conn->place, place ? place : "a server", conn->place);
}

static int judge(const struct conn *conn, int64_t application, int64_t version, int64_t tables,
	struct err *err)
{
	if (application == 0 && version == 0 && tables == 0)
		return 0; /* new */
	if (application == SQLITE_APPLICATION_MOVED)
		application = conn->takes_moved ? SQLITE_APPLICATION_ID : application;
	if (application == SQLITE_APPLICATION_MOVED)
		return refuse_moved(conn, err);
	if (application != SQLITE_APPLICATION_ID)
		return err_set(err, ERR_CORRUPT,
			"'%s' is a database of another program, not of gathering; name another "
			"file",
			conn->place);
	if (version > sqlite_newest_version() && !RULE_IS_OFF(SCHEMA_CHECKED))
		return err_set(err, ERR_CORRUPT,
			"database '%s' was made by a newer gathering (schema %lld, this program "
			"knows %lld); use that program or another file",
			conn->place, (long long)version, (long long)sqlite_newest_version());
	return 0;
}

int sqlite_inspect(struct conn *conn, int64_t *ret_version, struct err *err)
{
	int64_t application = 0, version = 0, tables = 0;

	if (conn_read_i64(conn, "PRAGMA application_id", &application, err) < 0 ||
		conn_read_i64(conn, "PRAGMA user_version", &version, err) < 0 ||
		conn_read_i64(conn, "SELECT count(*) FROM sqlite_schema", &tables, err) < 0 ||
		judge(conn, application, version, tables, err) < 0)
		return err->code;
	*ret_version = version;
	return 0;
}

static int note_migration(struct conn *conn, int64_t version, const char *name, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_MIGRATION_INSERT);

	put_i64(&st, version);
	put_text(&st, name);
	put_i64(&st, clock_wall_ms());
	return statement_run(&st, err);
}

/* Inside the transaction. 1: applied, 0: somebody had done it. */
static int apply_here(struct conn *conn, int64_t version, struct err *err)
{
	const struct embedded_file *file = &sqlite_migrations[version - 1];
	int64_t now = 0;

	if (conn_read_i64(conn, "PRAGMA user_version", &now, err) < 0)
		return err->code;
	if (now >= version)
		return 0;
	if (conn_run_text(conn, file->text, err) < 0 ||
		note_migration(conn, version, file->name, err) < 0 ||
		conn_read_i64(conn, "PRAGMA user_version", &now, err) < 0)
		return err->code;
	must(now == version); /* each file sets its own number */
	return 1;
}

static int apply(struct conn *conn, int64_t version, struct err *err)
{
	int status;

	if (conn_run_text(conn, "BEGIN IMMEDIATE", err) < 0)
		return err->code;
	status = apply_here(conn, version, err);
	if (status >= 0 && conn_run_text(conn, "COMMIT", err) < 0)
		status = err->code;
	if (status < 0) {
		(void)conn_run_text(conn, "ROLLBACK", NULL);
		return err_wrap(err, "migration %s", sqlite_migrations[version - 1].name);
	}
	return status;
}

int sqlite_upgrade(
	struct conn *conn, void (*each)(const char *name, void *data), void *data, struct err *err)
{
	int64_t version = 0;

	if (sqlite_inspect(conn, &version, err) < 0)
		return err->code;
	while (++version <= sqlite_newest_version()) {
		int status = apply(conn, version, err);

		if (status < 0)
			return status;
		if (status > 0 && each)
			each(sqlite_migrations[version - 1].name, data);
	}
	return 0;
}

/* --- the command line's way --- */

static int migrate_apply(
	const char *path, void (*each)(const char *name, void *data), void *data, struct err *err)
{
	struct sqlite_db db = {0};
	int status;

	if (sqlite_enter(&db, path, &(struct file_lock_claim){0}, err) < 0)
		return err->code;
	status = sqlite_upgrade(&db.writer, each, data, err);
	sqlite_leave(&db);
	return status;
}

/* Nothing is created and no lock is taken: it may be asked while a server runs. */
static int read_version(const char *path, int64_t *ret_version, struct err *err)
{
	struct stat facts;
	struct conn conn;
	int status;

	*ret_version = 0;
	if (stat(path, &facts) < 0)
		return errno == ENOENT ? 0 : file_error(err, errno, path);
	if (facts.st_size == 0)
		return 0;
	if (conn_open(&conn, path, CONN_INSPECT, err) < 0)
		return err->code;
	status = sqlite_inspect(&conn, ret_version, err);
	conn_close(&conn);
	return status;
}

static int migrate_dry_run(
	const char *path, void (*each)(const char *name, void *data), void *data, struct err *err)
{
	int64_t version = 0;

	if (read_version(path, &version, err) < 0)
		return err->code;
	for (; version < sqlite_newest_version(); version++)
		each(sqlite_migrations[version].name, data);
	return 0;
}

int sqlite_migrate(const char *path, enum store_migrate_mode mode,
	void (*each)(const char *name, void *data), void *data, struct err *err)
{
	switch (mode) {
	case STORE_MIGRATE_APPLY:
		return migrate_apply(path, each, data, err);
	case STORE_MIGRATE_DRY_RUN:
		break;
	}
	return migrate_dry_run(path, each, data, err);
}
