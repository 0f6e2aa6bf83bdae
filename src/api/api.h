/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP interface: routes.def, one file per resource, problem documents (RFC 9457), rate limits.
 * Knows HTTP, store and scheduler; no SQL. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "exec/exec.h"
#include "http/http.h"
#include "life/life.h"
#include "sched/sched.h"
#include "store/store.h"

struct api;

#define API_DB_IGNORED (-1)

struct api_opts {
	uv_loop_t *loop;
	struct life *life;
	const char *version;
	struct id instance_id;
	const struct vault *vault;   /* NULL: no secrets are kept */
	int rate_health, rate_probe; /* requests a minute per address; 0: no limit */
	int64_t event_window_ms;     /* an event sent again with its key is the same for so long */
	int queued_max;              /* runs that may wait before more are refused; 0: any number */
	int64_t db_grace_ms;   /* the database may be away for so long before we are not ready;
				  API_DB_IGNORED: for ever */
	const char *disk_path; /* whose free space /health/checks reports; NULL: "." */
};

/* Answers health at once; everything else is 503 (`starting`) until api_attach() and life says
 * ready. */
int api_create(const struct api_opts *opts, struct api **ret_api, struct err *err);

/* Answers what still waits, closes the handles, waits for requests whose store request is under
 * way, frees, then calls back on the loop (`closed` may be NULL). No request may come any more. */
void api_destroy(struct api *api, void (*closed)(void *data), void *data);

/* Hands over the parts once they have started; NULL takes them away again (before they stop);
 * requests that wait for the store are still answered by its callbacks. */
void api_attach(struct api *api, struct store *store, struct sched *sched, struct exec *exec);

/* The handler for http_create(); `data` is the struct api. Each request is answered exactly once.
 */
void api_handle(struct http_request *request, void *api);

/* The same for a socket that only the server's owner reaches: health, metrics and this instance's
 * drain, without limits; who asks there is no prober. */
void api_handle_private(struct http_request *request, void *api);

/* What can change while it runs, as in api_opts; the minutes under way are counted on. */
struct api_limits {
	int rate_health, rate_probe;
	int64_t event_window_ms, db_grace_ms;
};
void api_set_limits(struct api *api, const struct api_limits *limits);

/* True when everyone who regularly asks /health/ready has had `refusals` 503 in a row, or asks no
 * more: the load balancers know. */
bool api_probers_have_heard(const struct api *api, int refusals);

/* How many ask it regularly. */
size_t api_probers(const struct api *api);

/* The table of doc/api.md (Markdown), from routes.def and the error codes. */
void api_write_markdown(struct buf *out);
