/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs on secrets: sealed values by name (vault.h), which the store cannot read. What holds
 * for all verbs stands in store.h. */
#pragma once

#include "store/store.h"

#define STORE_SECRETS_MAX 1000

/* Sets or replaces. ERR_FULL when there are STORE_SECRETS_MAX others. */
struct store_put_secret {
	struct store_req req;
	const char *name;
	const char *sealed; /* bytes */
	size_t len;
};
void store_put_secret(struct store *store, struct store_put_secret *req, store_done_fn *done);

struct store_secret {
	char *name, *sealed; /* owned */
	size_t len;
	int64_t created_at_ms, updated_at_ms;
};

/* Those of `names` that exist, or all; by name. */
struct store_get_secrets {
	struct store_req req;
	char *const *names; /* NULL at the end; NULL: all */
	struct store_secret *ret_secrets;
	size_t ret_count;
};
void store_get_secrets(struct store *store, struct store_get_secrets *req, store_done_fn *done);
void store_get_secrets_fini(struct store_get_secrets *req);

/* ERR_NOT_FOUND. */
struct store_delete_secret {
	struct store_req req;
	const char *name;
};
void store_delete_secret(struct store *store, struct store_delete_secret *req, store_done_fn *done);
