/* SPDX-License-Identifier: Apache-2.0
 *
 * The way of a secret from the database to an attempt: sealed in the store, opened with the key of
 * this server, handed to the executor, wiped. Read anew for each attempt: a secret that was
 * replaced on another instance a moment ago is the new one here. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "exec/exec.h"
#include "server_priv.h"
#include "store/secrets.h"
#include "store/store.h"
#include "vault/vault.h"

struct reading {
	struct store_get_secrets get;
	const struct vault *vault;
	exec_secrets_fn *done;
	void *attempt;
};

static int unseal_all(const struct reading *reading, struct name_value *values, struct err *err)
{
	int code = 0;

	for (size_t i = 0; i < reading->get.ret_count && code == 0; i++) {
		const struct store_secret *secret = &reading->get.ret_secrets[i];

		values[i].name = secret->name;
		code = vault_unseal(reading->vault, secret->name, secret->sealed, secret->len,
			&values[i].value, err);
	}
	return code;
}

static void on_read(struct store_req *req)
{
	struct reading *reading = container_of(req, struct reading, get.req);
	struct name_value *values = xcalloc(reading->get.ret_count + 1, sizeof(*values));
	struct err err = req->err;

	if (err.code == 0)
		(void)unseal_all(reading, values, &err);
	reading->done(values, err.code == 0 ? reading->get.ret_count : 0, &err, reading->attempt);
	for (size_t i = 0; i < reading->get.ret_count; i++) {
		if (values[i].value == NULL)
			continue;
		explicit_bzero(values[i].value, strlen(values[i].value));
		free(values[i].value);
	}
	free(values);
	store_get_secrets_fini(&reading->get);
	free(reading);
}

void secrets_read(char *const *names, exec_secrets_fn *done, void *attempt, void *data)
{
	const struct server *server = data;
	struct reading *reading = xcalloc(1, sizeof(*reading));

	reading->vault = server->vault;
	reading->done = done;
	reading->attempt = attempt;
	reading->get.names = names;
	store_get_secrets(server->store, &reading->get, on_read);
}
