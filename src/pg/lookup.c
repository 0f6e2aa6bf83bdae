/* SPDX-License-Identifier: Apache-2.0
 *
 * Host names, looked up in the thread pool: libpq would do it within PQconnectPoll, blocking the
 * loop for as long as a name server takes to fail. A lookup cannot be stopped; one that nobody
 * waits for any more ends by itself. */
#include <netdb.h>
#include <stdlib.h>

#include "pg_priv.h"

struct pg_lookup {
	uv_getaddrinfo_t req;
	char *name;         /* owned */
	pg_lookup_fn *done; /* NULL: abandoned */
	void *data;
};

static void lookup_destroy(struct pg_lookup *lookup)
{
	free(lookup->name);
	free(lookup);
}

static void on_looked_up(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
	struct pg_lookup *lookup = container_of(req, struct pg_lookup, req);
	struct err err = {0};

	if (status != 0)
		(void)err_set(&err, ERR_UNAVAILABLE, "host name \"%s\" cannot be resolved: %s",
			lookup->name, uv_strerror(status));
	if (lookup->done != NULL)
		lookup->done(lookup->data, found, &err);
	uv_freeaddrinfo(found);
	lookup_destroy(lookup);
}

struct pg_lookup *pg_lookup_start(uv_loop_t *loop, const char *name, pg_lookup_fn *done, void *data)
{
	static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct pg_lookup *lookup = xcalloc(1, sizeof(*lookup));

	lookup->name = xstrdup(name);
	lookup->done = done;
	lookup->data = data;
	if (uv_getaddrinfo(loop, &lookup->req, on_looked_up, name, NULL, &hints) != 0) {
		lookup_destroy(lookup); /* a name that is too long or not a name */
		return NULL;
	}
	return lookup;
}

void pg_lookup_abandon(struct pg_lookup *lookup)
{
	if (lookup == NULL)
		return;
	lookup->done = NULL;
	(void)uv_cancel((uv_req_t *)&lookup->req);
}
