/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets in PostgreSQL. Their number is bounded as of the statement's snapshot; a few too many,
 * set in the same moment, do no harm. */
#include <stdlib.h>

#include "store/pg_store_priv.h"

/* --- put --- */

static const struct pg_statement put_statement = {.name = "put secret",
	.text = "INSERT INTO gathering.secret (name, sealed, created_at, updated_at)"
		" SELECT $1::text, $2::bytea, gathering.clock(), gathering.clock()"
		" WHERE (SELECT count(*) FROM gathering.secret WHERE name <> $1::text) < $3::bigint"
		" ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed,"
		" updated_at = excluded.updated_at RETURNING 1"};

static void put_put(struct pg_call *call)
{
	const struct store_put_secret *req = container_of(call->req, struct store_put_secret, req);
	struct pg_params *params = pg_call_add(call, &put_statement);

	pg_put_text(params, req->name);
	pg_put_bytes(params, req->sealed, req->len);
	pg_put_i64(params, STORE_SECRETS_MAX);
}

static int read_put(struct pg_call *call)
{
	struct pg_row row = pg_rows(&call->queries[0]);

	return pg_row_next(&row) ? 0 : err_secrets_full(&call->req->err);
}

int pg_put_secret(void *db, struct store_put_secret *req, int64_t now_ms)
{
	static const struct pg_plan plan = {.place = PG_WRITES, .put = put_put, .read = read_put};

	return pg_call_start(db, &req->req, &plan);
}

/* --- get --- */

static const struct pg_statement get_statement = {.name = "get secrets",
	.text = "SELECT name, sealed, created_at, updated_at FROM gathering.secret"
		" WHERE $1::boolean OR name = ANY ($2::text[]) ORDER BY name"};

static void put_get(struct pg_call *call)
{
	const struct store_get_secrets *req =
		container_of(call->req, struct store_get_secrets, req);
	struct pg_params *params = pg_call_add(call, &get_statement);

	pg_put_bool(params, req->names == NULL);
	pg_array_begin(params, PG_TEXT);
	for (char *const *name = req->names; name && *name; name++)
		pg_array_text(params, *name);
	pg_array_end(params);
}

static int read_get(struct pg_call *call)
{
	struct store_get_secrets *req = container_of(call->req, struct store_get_secrets, req);
	struct pg_row row = pg_rows(&call->queries[0]);

	while (pg_row_next(&row)) {
		auto_free char *name = xstrdup(pg_read_text(&row)), *sealed = NULL;
		struct store_secret secret = {.name = name};
		const char *bytes = pg_read_bytes(&row, &secret.len);

		sealed = xmemdup(bytes, secret.len);
		secret.sealed = sealed;
		secret.created_at_ms = pg_read_time(&row);
		secret.updated_at_ms = pg_read_time(&row);
		secrets_add(req, &secret);
	}
	return 0;
}

int pg_get_secrets(void *db, struct store_get_secrets *req, int64_t now_ms)
{
	static const struct pg_plan plan = {.place = PG_READS, .put = put_get, .read = read_get};

	return pg_call_start(db, &req->req, &plan);
}

/* --- delete --- */

static const struct pg_statement delete_statement = {.name = "delete secret",
	.text = "DELETE FROM gathering.secret WHERE name = $1::text RETURNING 1"};

static void put_delete(struct pg_call *call)
{
	const struct store_delete_secret *req =
		container_of(call->req, struct store_delete_secret, req);

	pg_put_text(pg_call_add(call, &delete_statement), req->name);
}

/* After an answer that was lost it may have been us. */
static int read_delete(struct pg_call *call)
{
	struct store_delete_secret *req = container_of(call->req, struct store_delete_secret, req);
	struct pg_row row = pg_rows(&call->queries[0]);

	if (pg_row_next(&row) || call->is_again)
		return 0;
	return err_no_secret(&req->req.err, req->name);
}

int pg_delete_secret(void *db, struct store_delete_secret *req, int64_t now_ms)
{
	static const struct pg_plan plan = {
		.place = PG_WRITES, .put = put_delete, .read = read_delete};

	return pg_call_start(db, &req->req, &plan);
}
