/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets in SQLite. */
#include <stdlib.h>
#include <string.h>

#include "store/sqlite_priv.h"

int sqlite_put_secret(void *data, struct store_put_secret *req, int64_t now_ms)
{
	struct conn *conn = &((struct sqlite_db *)data)->writer;
	struct err *err = &req->req.err;
	struct statement st = statement_start(conn, QUERY_SECRET_COUNT);
	int64_t others = 0;

	put_text(&st, req->name); /* others than this one */
	if (statement_i64(&st, &others, err) < 0)
		return err->code;
	if (others >= STORE_SECRETS_MAX)
		return err_secrets_full(err);
	st = statement_start(conn, QUERY_SECRET_PUT);
	put_text(&st, req->name);
	put_bytes(&st, req->sealed, req->len);
	put_i64(&st, now_ms);
	return statement_run(&st, err);
}

static void read_secret(struct statement *st, struct store_get_secrets *req)
{
	auto_free char *name = read_text(st), *sealed = NULL;
	struct store_secret secret = {.name = name};
	const void *bytes = sqlite3_column_blob(st->handle, st->column);

	secret.len = (size_t)sqlite3_column_bytes(st->handle, st->column++);
	sealed = xmemdup(bytes, secret.len);
	secret.sealed = sealed;
	secret.created_at_ms = read_i64(st);
	secret.updated_at_ms = read_i64(st);
	secrets_add(req, &secret);
}

static int read_secrets(struct statement *st, struct store_get_secrets *req)
{
	int status;

	while ((status = statement_step(st, &req->req.err)) > 0)
		read_secret(st, req);
	statement_end(st);
	return status;
}

static int compare_secrets(const void *a, const void *b)
{
	return strcmp(
		((const struct store_secret *)a)->name, ((const struct store_secret *)b)->name);
}

int sqlite_get_secrets(void *data, struct store_get_secrets *req, int64_t now_ms)
{
	struct conn *conn = &((struct sqlite_db *)data)->reader;
	struct statement st;
	int status = 0;

	if (!req->names) {
		st = statement_start(conn, QUERY_SECRET_LIST);
		return read_secrets(&st, req);
	}
	for (char *const *name = req->names; *name && status == 0; name++) {
		st = statement_start(conn, QUERY_SECRET_GET);
		put_text(&st, *name);
		status = read_secrets(&st, req);
	}
	if (req->ret_count > 1)
		qsort(req->ret_secrets, req->ret_count, sizeof(*req->ret_secrets), compare_secrets);
	return status;
}

int sqlite_delete_secret(void *data, struct store_delete_secret *req, int64_t now_ms)
{
	struct conn *conn = &((struct sqlite_db *)data)->writer;
	struct statement st = statement_start(conn, QUERY_SECRET_DELETE);
	int status;

	put_text(&st, req->name);
	status = statement_run(&st, &req->req.err);
	if (status == 0 && sqlite3_changes(conn->db) == 0)
		return err_no_secret(&req->req.err, req->name);
	return status;
}
