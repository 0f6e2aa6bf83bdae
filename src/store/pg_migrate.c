/* SPDX-License-Identifier: Apache-2.0
 *
 * Brings the schema up to date. Migration n is one transaction that takes an advisory lock first,
 * at transaction level, so that a pooler in between cannot strand it, and reads the version again
 * after that: of ten instances that begin at once one applies it, and nine find it done. One that
 * is killed leaves the version before.
 *
 *   CONNECT -> INSPECT -> VERSION -+-> up to date, dry run: done
 *                 ^                +-> BEGIN (lock) -> INSPECT -> VERSION -+-> APPLY -> COMMIT -+
 *                 +----------------------- ROLLBACK (somebody did it) <----+                    |
 *                 +-----------------------------------------------------------------------------+
 *
 * A lost connection or a lock that did not come begins anew, until start_max. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/prove.h"
#include "store/pg_store_priv.h"

#define QUERY_TIMEOUT_MS 10000
#define APPLY_TIMEOUT_MS 600000 /* a step over a long ledger */
#define SERVER_MIN       120000
#define SERVER_MIN_NAME  "12"
#define AGAIN_MS         200

struct pg_migration {
	struct pg_migration_opts opts;
	struct pg_lease lease;
	struct pg_query query;
	uv_timer_t again;
	void (*next)(struct pg_migration *migration); /* after the query, when it went well */
	int64_t until_mono_ms;
	int64_t version, min_version; /* of the schema */
	bool is_locked;               /* inside the transaction */
	bool is_cancelled;
	bool is_pooled;
	struct err err;
};

static void begin(struct pg_migration *migration);
static void inspect(struct pg_migration *migration);

static int64_t newest_version(void)
{
	int64_t count = 0;

	while (pg_migrations[count].name)
		count++;
	return count;
}

/* --- the end --- */

static void on_timer_closed(uv_handle_t *handle)
{
	struct pg_migration *migration = handle->data;
	struct pg_migration_opts opts = migration->opts;
	struct err err = migration->err;
	bool is_pooled = migration->is_pooled;

	free(migration);
	opts.done(err.code ? &err : NULL, is_pooled, opts.data);
}

static void end(struct pg_migration *migration)
{
	if (migration->lease.conn)
		pg_lease_release(&migration->lease);
	uv_close((uv_handle_t *)&migration->again, on_timer_closed);
}

/* --- trying again --- */

static void on_leased(struct pg_lease *lease);

static void connect_again(struct pg_migration *migration)
{
	int64_t left_ms = migration->until_mono_ms - clock_mono_ms();

	migration->is_locked = false;
	migration->lease = (struct pg_lease){
		.timeout_ms = left_ms > 0 ? left_ms : 1, .done = on_leased, .data = migration};
	pg_pool_lease(migration->opts.pool, &migration->lease);
}

static void on_again(uv_timer_t *timer)
{
	connect_again(timer->data);
}

static void fail(struct pg_migration *migration, const struct err *err)
{
	bool is_passing = err->code == ERR_UNAVAILABLE || err->code == ERR_TIMEOUT;

	migration->err = *err;
	if (migration->is_cancelled) {
		(void)err_set(&migration->err, ERR_CANCELLED, "the store is closing");
		end(migration);
		return;
	}
	if (!is_passing || clock_mono_ms() >= migration->until_mono_ms) {
		end(migration);
		return;
	}
	if (migration->lease.conn)
		pg_lease_release(&migration->lease);
	migration->lease.conn = NULL;
	(void)uv_timer_start(&migration->again, on_again, AGAIN_MS, 0);
}

static void on_answer(struct pg_query *query)
{
	struct pg_migration *migration = query->data;

	if (query->err.code < 0 || migration->is_cancelled) {
		struct err err = query->err;

		pg_query_fini(query);
		fail(migration, &err);
		return;
	}
	migration->next(migration);
}

/* Text with several statements, or one with columns to read. */
static struct pg_query *ask(
	struct pg_migration *migration, void (*next)(struct pg_migration *migration))
{
	struct pg_query *query = &migration->query;

	pg_query_init(query);
	query->timeout_ms = QUERY_TIMEOUT_MS;
	query->done = on_answer;
	query->data = migration;
	migration->next = next;
	return query;
}

/* --- looking --- */

static void judge(struct pg_migration *migration);

static void on_version(struct pg_migration *migration)
{
	struct pg_row row = pg_rows(&migration->query);

	if (pg_row_next(&row)) {
		migration->version = pg_read_i64(&row);
		migration->min_version = pg_read_i64(&row);
	}
	pg_query_fini(&migration->query);
	judge(migration);
}

static void ask_version(struct pg_migration *migration)
{
	struct pg_query *query = ask(migration, on_version);

	query->text = "SELECT version, min_version FROM gathering.migration"
		      " ORDER BY version DESC LIMIT 1";
	pg_lease_query(&migration->lease, query);
}

/* Does this server, and what it has, suit us? */
static int check_server(
	bool is_ours, bool is_there, int64_t server, bool is_standby, struct err *err)
{
	if (server < SERVER_MIN)
		return err_set(err, ERR_INVALID,
			"this PostgreSQL is too old (%lld): version " SERVER_MIN_NAME
			" or later is needed",
			(long long)server);
	if (is_there && !is_ours)
		return err_set(err, ERR_CORRUPT,
			"the schema 'gathering' in this database is another program's; name "
			"another database");
	if (is_standby) /* passes when it is promoted, or another host of the URL answers */
		return err_set(err, ERR_UNAVAILABLE,
			"this PostgreSQL is a read-only standby: name the primary, or all hosts "
			"and target_session_attrs=read-write");
	return 0;
}

static void on_inspected(struct pg_migration *migration)
{
	struct pg_row row = pg_rows(&migration->query);
	struct err err = {0};
	bool is_ours, is_there, is_standby;
	int64_t server;

	must(pg_row_next(&row));
	is_ours = pg_read_bool(&row);
	is_there = pg_read_bool(&row);
	server = pg_read_i64(&row);
	is_standby = pg_read_bool(&row);
	/* A pooler invents the process id that it gives its clients. */
	migration->is_pooled = pg_read_i64(&row) != pg_conn_backend_pid(migration->lease.conn) &&
			       !RULE_IS_OFF(POOLER_RECOGNISED);
	pg_query_fini(&migration->query);
	migration->version = migration->min_version = 0;
	if (check_server(is_ours, is_there, server, is_standby, &err) < 0)
		fail(migration, &err);
	else if (is_ours)
		ask_version(migration);
	else
		judge(migration);
}

static void inspect(struct pg_migration *migration)
{
	struct pg_query *query = ask(migration, on_inspected);

	/* From the tables, not by to_regclass(): that answers from a cache which, in the
	 * transaction that waited for the lock, may not know yet what the holder has just made. */
	query->text = "SELECT EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n"
		      " ON n.oid = c.relnamespace"
		      " WHERE n.nspname = 'gathering' AND c.relname = 'migration'),"
		      " EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'gathering'),"
		      " current_setting('server_version_num')::integer, pg_is_in_recovery(),"
		      " pg_backend_pid()";
	pg_lease_query(&migration->lease, query);
}

static void on_leased(struct pg_lease *lease)
{
	struct pg_migration *migration = lease->data;

	if (lease->err.code < 0)
		fail(migration, &lease->err);
	else if (migration->is_cancelled)
		fail(migration, &migration->err);
	else
		inspect(migration);
}

/* --- changing --- */

static void on_unlocked(struct pg_migration *migration)
{
	pg_query_fini(&migration->query);
	migration->is_locked = false;
	inspect(migration);
}

static void unlock(struct pg_migration *migration, const char *script)
{
	struct pg_query *query = ask(migration, on_unlocked);

	query->script = script;
	pg_lease_query(&migration->lease, query);
}

static void on_committed(struct pg_migration *migration)
{
	if (migration->opts.each)
		migration->opts.each(
			pg_migrations[migration->version].name, migration->opts.each_data);
	on_unlocked(migration);
}

static void on_applied(struct pg_migration *migration)
{
	struct pg_query *query;

	pg_query_fini(&migration->query);
	query = ask(migration, on_committed);
	query->script = "COMMIT";
	pg_lease_query(&migration->lease, query);
}

static void apply(struct pg_migration *migration)
{
	struct pg_query *query = ask(migration, on_applied);

	query->script = pg_migrations[migration->version].text;
	query->timeout_ms = APPLY_TIMEOUT_MS;
	pg_lease_query(&migration->lease, query);
}

static void on_locked(struct pg_migration *migration)
{
	pg_query_fini(&migration->query);
	migration->is_locked = true;
	inspect(migration);
}

/* 1198811250 is PG_LOCK_DUTIES, 1 PG_DUTY_MIGRATE. */
_Static_assert(PG_LOCK_DUTIES == 1198811250 && PG_DUTY_MIGRATE == 1, "as in the text");

static void begin(struct pg_migration *migration)
{
	struct pg_query *query = ask(migration, on_locked);

	query->script = "BEGIN; SET LOCAL lock_timeout = '5s';"
			" SET LOCAL idle_in_transaction_session_timeout = '60s';"
			" SET LOCAL client_min_messages = warning;"
			" SELECT pg_advisory_xact_lock(1198811250, 1)";
	if (RULE_IS_OFF(MIGRATION_LOCKED))
		query->script = "BEGIN";
	pg_lease_query(&migration->lease, query);
}

static void list_missing(struct pg_migration *migration)
{
	for (int64_t i = migration->version; i < newest_version(); i++)
		migration->opts.each(pg_migrations[i].name, migration->opts.each_data);
}

static int judge_version(const struct pg_migration *migration, struct err *err)
{
	if (migration->version <= newest_version() || migration->min_version <= newest_version() ||
		RULE_IS_OFF(SCHEMA_CHECKED))
		return 0;
	return err_set(err, ERR_CORRUPT,
		"the database was made by a newer gathering (schema %lld, for programs that know "
		"%lld or later; this one knows %lld); use that program or another database",
		(long long)migration->version, (long long)migration->min_version,
		(long long)newest_version());
}

/* The version is known. */
static void judge(struct pg_migration *migration)
{
	bool is_current = migration->version >= newest_version();
	struct err err = {0};

	if (judge_version(migration, &err) < 0)
		fail(migration, &err);
	else if (migration->is_locked && is_current)
		unlock(migration, "ROLLBACK");
	else if (migration->is_locked)
		apply(migration);
	else if (is_current || migration->opts.mode == STORE_MIGRATE_DRY_RUN) {
		if (!is_current)
			list_missing(migration);
		migration->err = (struct err){0};
		end(migration);
	} else {
		begin(migration);
	}
}

/* --- from outside --- */

struct pg_migration *pg_migration_start(const struct pg_migration_opts *opts)
{
	struct pg_migration *migration = xcalloc(1, sizeof(*migration));

	migration->opts = *opts;
	migration->until_mono_ms = clock_mono_ms() + opts->start_max_ms;
	must(uv_timer_init(opts->loop, &migration->again) == 0);
	migration->again.data = migration;
	connect_again(migration);
	return migration;
}

void pg_migration_cancel(struct pg_migration *migration)
{
	migration->is_cancelled = true;
	if (uv_is_active((uv_handle_t *)&migration->again)) {
		(void)uv_timer_stop(&migration->again);
		fail(migration, &migration->err);
		return;
	}
	if (RULE_IS_OFF(MIGRATION_CANCELLED))
		return;
	pg_lease_cancel(&migration->lease);
	if (migration->lease.conn)
		pg_query_cancel(&migration->query);
}

/* --- the command line's way --- */

struct command {
	uv_loop_t loop;
	struct pg_pool *pool;
	struct err err;
};

static void on_command_done(const struct err *err, bool is_pooled, void *data)
{
	struct command *command = data;

	if (err)
		command->err = *err;
	pg_pool_close(command->pool, 0, NULL, NULL);
}

int pg_command_pool(uv_loop_t *loop, const char *url, struct pg_pool **ret_pool, struct err *err)
{
	struct pg_pool_opts opts = pg_pool_defaults();

	opts.conn.loop = loop;
	opts.conn.url = url;
	opts.conn.application_name = "gathering migrate";
	opts.conn.route = PG_POOLED; /* works either way */
	opts.min = opts.max = 1;
	return pg_pool_create(&opts, ret_pool, err);
}

#define COMMAND_START_MAX_MS 10000

int pg_store_migrate(const char *url, enum store_migrate_mode mode,
	void (*each)(const char *name, void *data), void *data, struct err *err)
{
	struct command command = {0};

	must(uv_loop_init(&command.loop) == 0);
	if (pg_command_pool(&command.loop, url, &command.pool, &command.err) == 0)
		(void)pg_migration_start(&(struct pg_migration_opts){.loop = &command.loop,
			.pool = command.pool,
			.mode = mode,
			.start_max_ms = COMMAND_START_MAX_MS,
			.each = each,
			.each_data = data,
			.done = on_command_done,
			.data = &command});
	(void)uv_run(&command.loop, UV_RUN_DEFAULT);
	must(uv_loop_close(&command.loop) == 0);
	*err = command.err;
	return command.err.code;
}
