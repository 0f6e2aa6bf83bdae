/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets of the memory backend. */
#include <stdlib.h>
#include <string.h>

#include "store/mem_priv.h"

static int compare_secret(const void *key, const void *item)
{
	return strcmp(key, ((const struct store_secret *)item)->name);
}

void mem_secrets_init(struct mem_db *rows)
{
	rows->secrets.compare = compare_secret;
}

static void secret_destroy(struct store_secret *secret)
{
	free(secret->name);
	free(secret->sealed);
	free(secret);
}

void mem_secrets_fini(struct mem_db *rows)
{
	for (size_t i = 0; i < rows->secrets.count; i++)
		secret_destroy(rows->secrets.items[i]);
	free(rows->secrets.items);
}

int mem_put_secret(void *db, struct store_put_secret *req, int64_t now_ms)
{
	struct sorted *secrets = &((struct mem *)db)->rows->secrets;
	struct store_secret *secret = sorted_get(secrets, req->name);

	if (!secret && secrets->count >= STORE_SECRETS_MAX)
		return err_secrets_full(&req->req.err);
	if (!secret) {
		secret = xcalloc(1, sizeof(*secret));
		secret->name = xstrdup(req->name);
		secret->created_at_ms = now_ms;
		sorted_insert(secrets, req->name, secret);
	}
	free(secret->sealed);
	secret->sealed = xmemdup(req->sealed, req->len);
	secret->len = req->len;
	secret->updated_at_ms = now_ms;
	return 0;
}

static bool is_named(char *const *names, const char *name)
{
	for (; *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

int mem_get_secrets(void *db, struct store_get_secrets *req, int64_t now_ms)
{
	const struct sorted *secrets = &((struct mem *)db)->rows->secrets;

	for (size_t i = 0; i < secrets->count; i++) {
		const struct store_secret *secret = secrets->items[i];

		if (!req->names || is_named(req->names, secret->name))
			secrets_add(req, secret);
	}
	return 0;
}

int mem_delete_secret(void *db, struct store_delete_secret *req, int64_t now_ms)
{
	struct sorted *secrets = &((struct mem *)db)->rows->secrets;
	struct store_secret *secret = sorted_get(secrets, req->name);

	if (!secret)
		return err_no_secret(&req->req.err, req->name);
	sorted_remove(secrets, req->name);
	secret_destroy(secret);
	return 0;
}
