/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs on secrets, loop side. */
#include <stdlib.h>

#include "store/store_priv.h"

int err_no_secret(struct err *err, const char *name)
{
	return err_set(err, ERR_NOT_FOUND, "no secret '%.64s'", name);
}

int err_secrets_full(struct err *err)
{
	return err_set(err, ERR_FULL,
		"there are %d secrets already; delete one that no action uses", STORE_SECRETS_MAX);
}

void secrets_add(struct store_get_secrets *req, const struct store_secret *secret)
{
	struct store_secret *copy;

	req->ret_secrets =
		xrealloc(req->ret_secrets, req->ret_count + 1, sizeof(*req->ret_secrets));
	copy = &req->ret_secrets[req->ret_count++];
	*copy = *secret;
	copy->name = xstrdup(secret->name);
	copy->sealed = xmemdup(secret->sealed, secret->len);
}

/* --- put --- */

STORE_VERB_RUN(put_secret)

static const struct store_verb verb_put_secret = {
	.name = "put_secret",
	.lane = LANE_WRITE,
	.run = put_secret_run,
};

void store_put_secret(struct store *store, struct store_put_secret *req, store_done_fn *done)
{
	store_submit(store, &req->req, &verb_put_secret, done);
}

/* --- get --- */

STORE_VERB_RUN(get_secrets)

static void get_secrets_clear(struct store_req *base)
{
	struct store_get_secrets *req = container_of(base, struct store_get_secrets, req);

	req->ret_secrets = NULL;
	req->ret_count = 0;
}

static void get_secrets_release(struct store_req *base)
{
	store_get_secrets_fini(container_of(base, struct store_get_secrets, req));
}

static const struct store_verb verb_get_secrets = {
	.name = "get_secrets",
	.lane = LANE_READ,
	.run = get_secrets_run,
	.clear = get_secrets_clear,
	.fini = get_secrets_release,
};

void store_get_secrets(struct store *store, struct store_get_secrets *req, store_done_fn *done)
{
	store_submit(store, &req->req, &verb_get_secrets, done);
}

void store_get_secrets_fini(struct store_get_secrets *req)
{
	for (size_t i = 0; i < req->ret_count; i++) {
		free(req->ret_secrets[i].name);
		free(req->ret_secrets[i].sealed);
	}
	free(take_ptr(req->ret_secrets));
	req->ret_count = 0;
}

/* --- delete --- */

STORE_VERB_RUN(delete_secret)

static const struct store_verb verb_delete_secret = {
	.name = "delete_secret",
	.lane = LANE_WRITE,
	.run = delete_secret_run,
};

void store_delete_secret(struct store *store, struct store_delete_secret *req, store_done_fn *done)
{
	store_submit(store, &req->req, &verb_delete_secret, done);
}
