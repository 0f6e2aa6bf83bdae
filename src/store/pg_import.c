/* SPDX-License-Identifier: Apache-2.0
 *
 * A database that takes in what a file held: all in one transaction, so that it has everything or
 * nothing. The asynchronous client is driven to the end of each statement; nobody else waits. */
#include <stdlib.h>
#include <string.h>

#include "store/move_priv.h"
#include "store/pg_store_priv.h"

#define SQL_MAX            (64 * 1024)
#define CONNECT_TIMEOUT_MS 10000
#define STATEMENT_MS       600000 /* one batch, or the commit */

struct import {
	uv_loop_t loop;
	struct pg_pool *pool;
	struct pg_lease lease;
	bool is_done; /* what is being waited for */
	bool is_held; /* the lease */
};

/* --- one step after the other --- */

static void wait_done(struct import *import)
{
	while (!import->is_done)
		(void)uv_run(&import->loop, UV_RUN_ONCE);
	import->is_done = false;
}

static void on_query(struct pg_query *query)
{
	((struct import *)query->data)->is_done = true;
}

/* `query` has its text and parameters; its result stays until pg_query_fini. */
static int run(struct import *import, struct pg_query *query, struct err *err)
{
	query->timeout_ms = STATEMENT_MS;
	query->done = on_query;
	query->data = import;
	pg_lease_query(&import->lease, query);
	wait_done(import);
	if (query->err.code < 0)
		*err = query->err;
	return query->err.code;
}

static int run_text(struct import *import, const char *text, struct err *err)
{
	struct pg_query query;
	int status;

	pg_query_init(&query);
	query.text = text;
	status = run(import, &query, err);
	pg_query_fini(&query);
	return status;
}

/* --- life --- */

static void on_lease(struct pg_lease *lease)
{
	((struct import *)lease->data)->is_done = true;
}

static int take_lease(struct import *import, const char *url, struct err *err)
{
	if (pg_command_pool(&import->loop, url, &import->pool, err) < 0)
		return err->code;
	import->lease = (struct pg_lease){
		.timeout_ms = CONNECT_TIMEOUT_MS, .done = on_lease, .data = import};
	pg_pool_lease(import->pool, &import->lease);
	wait_done(import);
	if (import->lease.err.code < 0)
		*err = import->lease.err;
	import->is_held = import->lease.err.code == 0;
	return import->lease.err.code;
}

/* Nobody may add actions meanwhile; looking is fine. */
static int check_empty(struct import *import, struct err *err)
{
	struct pg_query query;
	struct pg_row row;
	int64_t actions;
	int status;

	if (run_text(import, "LOCK TABLE gathering.action IN EXCLUSIVE MODE", err) < 0)
		return err->code;
	pg_query_init(&query);
	query.text = "SELECT count(*) FROM gathering.action";
	status = run(import, &query, err);
	if (status == 0) {
		row = pg_rows(&query);
		must(pg_row_next(&row));
		actions = pg_read_i64(&row);
		if (actions > 0)
			status = err_set(err, ERR_CONFLICT,
				"the database to move to has %lld actions already; name an empty "
				"one",
				(long long)actions);
	}
	pg_query_fini(&query);
	return status;
}

int import_open(const char *url, struct import **ret_import, struct err *err)
{
	struct import *import;

	if (pg_store_migrate(url, STORE_MIGRATE_APPLY, NULL, NULL, err) < 0)
		return err->code;
	import = xcalloc(1, sizeof(*import));
	must(uv_loop_init(&import->loop) == 0);
	if (take_lease(import, url, err) < 0 || run_text(import, "BEGIN", err) < 0 ||
		check_empty(import, err) < 0) {
		import_close(import);
		return err->code;
	}
	*ret_import = import;
	return 0;
}

void import_close(struct import *import)
{
	if (import->is_held)
		pg_lease_release(&import->lease);
	if (import->pool)
		pg_pool_close(import->pool, 0, NULL, NULL);
	(void)uv_run(&import->loop, UV_RUN_DEFAULT);
	must(uv_loop_close(&import->loop) == 0);
	free(import);
}

int import_commit(struct import *import, struct err *err)
{
	return run_text(import, "COMMIT", err);
}

/* --- tables --- */

static void read_columns(struct pg_row *row, struct move_table *table)
{
	struct pg_elements names = pg_read_array(row), types = pg_read_array(row);
	size_t room = 0;

	while (pg_element_next(&names) && pg_element_next(&types)) {
		table->columns =
			grow_array(table->columns, table->count, &room, sizeof(*table->columns));
		table->columns[table->count++] =
			(struct move_column){.to = xstrndup(names.bytes, names.len),
				.type = xstrndup(types.bytes, types.len)};
	}
}

int import_tables(
	struct import *import, struct move_table **ret_tables, size_t *ret_count, struct err *err)
{
	struct move_table *tables = NULL;
	size_t count = 0, room = 0;
	struct pg_query query;
	struct pg_row row;
	int status;

	pg_query_init(&query);
	query.text = "WITH RECURSIVE depth (oid, level) AS ("
		     " SELECT c.oid, 0 FROM pg_class c"
		     " WHERE c.relnamespace = 'gathering'::regnamespace AND c.relkind = 'r'"
		     /* each place has its own */
		     " AND c.relname NOT IN ('migration', 'kept_output')"
		     " UNION SELECT k.conrelid, d.level + 1 FROM depth d JOIN pg_constraint k"
		     " ON k.confrelid = d.oid AND k.contype = 'f' AND k.conrelid <> k.confrelid)"
		     " SELECT c.relname::text,"
		     " array_agg(a.attname::text ORDER BY a.attnum),"
		     " array_agg(format_type(a.atttypid, NULL) ORDER BY a.attnum)"
		     " FROM (SELECT oid, max(level) AS level FROM depth GROUP BY oid) t"
		     " JOIN pg_class c ON c.oid = t.oid"
		     " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
		     " AND NOT a.attisdropped AND a.attgenerated = ''"
		     " GROUP BY c.relname, t.level ORDER BY t.level, c.relname";
	status = run(import, &query, err);
	if (status == 0) {
		row = pg_rows(&query);
		while (pg_row_next(&row)) {
			tables = grow_array(tables, count, &room, sizeof(*tables));
			tables[count].name = xstrdup(pg_read_text(&row));
			read_columns(&row, &tables[count++]);
		}
	}
	pg_query_fini(&query);
	*ret_tables = tables;
	*ret_count = count;
	return status;
}

/* --- rows --- */

/* How a value of the file, read from JSON as `json`, becomes one of `type`. */
struct conversion {
	const char *type, *json;
	const char *before, *after; /* what stands around the value */
};

static const struct conversion conversions[] = {
	{"uuid", "text", "", "::uuid"},
	{"bytea", "text", "decode(", ", 'hex')"},
	{"timestamp with time zone", "numeric", "to_timestamp(", " / 1000)"},
	{"boolean", "integer", "", " <> 0"},
	{"json", "text", "", "::json"},
	{"jsonb", "text", "", "::jsonb"},
};

static struct conversion conversion_of(const char *type)
{
	for (size_t i = 0; i < COUNT_OF(conversions); i++)
		if (strcmp(conversions[i].type, type) == 0)
			return conversions[i];
	return (struct conversion){type, type, "", ""};
}

/* An interrupted run has no lease in the file: it ends with the move, and the first instance
 * recovers it. */
static char *insert_sql(const struct move_table *table)
{
	bool is_run = strcmp(table->name, "run") == 0;
	struct buf names, values, types;
	char *sql;

	buf_init(&names, SQL_MAX);
	buf_init(&values, SQL_MAX);
	buf_init(&types, SQL_MAX);
	for (size_t i = 0; i < table->count; i++) {
		const struct move_column *column = &table->columns[i];
		struct conversion how = conversion_of(column->type);
		const char *comma = i ? ", " : "";

		buf_printf(&names, "%s\"%s\"", comma, column->to);
		buf_printf(&types, "%s\"%s\" %s", comma, column->from, how.json);
		buf_printf(&values, "%s%sx.\"%s\"%s", comma, how.before, column->from, how.after);
	}
	sql = xasprintf("INSERT INTO gathering.\"%s\" (%s%s) SELECT %s%s"
			" FROM json_to_recordset($1::json) AS x (%s)",
		table->name, buf_text(&names), is_run ? ", lease_until" : "", buf_text(&values),
		is_run ? ", CASE WHEN x.state = 'running' THEN gathering.clock() END" : "",
		buf_text(&types));
	buf_fini(&names);
	buf_fini(&values);
	buf_fini(&types);
	return sql;
}

int import_rows(
	struct import *import, const struct move_table *table, const char *rows, struct err *err)
{
	auto_free char *sql = insert_sql(table);
	struct pg_query query;
	int status;

	pg_query_init(&query);
	query.text = sql;
	pg_put_text(&query.params, rows);
	status = run(import, &query, err);
	pg_query_fini(&query);
	return status < 0 ? err_wrap(err, "table %s", table->name) : 0;
}
