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
STORE_VERB(put_secret, .lane = LANE_WRITE)

/* --- get --- */

STORE_VERB_RUN(get_secrets)
STORE_VERB_FREES(get_secrets)
STORE_VERB(get_secrets, .lane = LANE_READ, OUTPUTS(get_secrets, ret_secrets),
	.fini = get_secrets_release)

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
STORE_VERB(delete_secret, .lane = LANE_WRITE)
