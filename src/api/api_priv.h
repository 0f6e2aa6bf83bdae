/* SPDX-License-Identifier: Apache-2.0
 *
 * What the resource files share: one call on its way to its answer, and the ways to answer.
 *
 * A handler is called with a call whose path and query have been checked. It ends, now or after
 * store requests, in exactly one api_reply_*(), which frees the call and its state. State that must
 * live until then is got from api_call_state(), with the store requests embedded in it; so a client
 * that leaves mid-way leaks nothing: the store calls back, the reply is dropped by http, all is
 * freed. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "api/api.h"
#include "api/limit_priv.h"
#include "api/prober_priv.h"
#include "api/route_priv.h"
#include "base/list.h"
#include "model/model.h"

struct vitals;

struct api {
	struct api_opts opts;
	char *disk_path; /* owned */
	char *host;      /* owned */
	int64_t started_at_ms;
	struct store *store; /* borrowed; all three NULL until attached */
	struct sched *sched;
	struct exec *exec;
	struct probers probers;
	struct limiter *limiter; /* owned */
	struct vitals *vitals;   /* owned */
	struct feed *feed;       /* owned; NULL: nobody listens */
	int64_t feed_next;       /* no feed had this number or a later one; 0: there was none */
	size_t calls;            /* not answered yet, and what else holds it */
	bool is_closing, are_vitals_closed;
	void (*closed)(void *data);
	void *closed_data;
};

struct api_call {
	struct api *api;
	struct http_request *request;
	bool is_private;           /* from the admin socket */
	const struct route *route; /* NULL: none fits */
	char *param;               /* owned; the path's {parameter}, decoded; NULL: none */
	char *allow;               /* owned; for 405 and OPTIONS; NULL otherwise */
	struct limit_verdict limit;
	void *state; /* owned; api_call_state */
	void (*state_fini)(void *state);
	struct list wait_node; /* in vitals->waiters */
	void (*resume)(struct api_call *call);
};

/* Zeroed memory freed with the call, after `fini(state)` (may be NULL). Once a call. */
void *api_call_state(struct api_call *call, size_t size, void (*fini)(void *state));

/* Frees the call after its answer; only reply.c calls it. */
void api_call_end(struct api_call *call);

/* The api stays until who holds it lets go: for what lives on behind the answer of its call. */
void api_hold(struct api *api);
void api_let_go(struct api *api);

/* --- answers; each frees the call. `headers`: name, value, ..., NULL; NULL: none beyond the usual
 * --- */

#define API_HEADERS_MAX 4 /* pairs a handler may add */

/* Consumes `json`. */
void api_reply_json(struct api_call *call, int status, json_t *json, const char *const *headers);
void api_reply_bytes(struct api_call *call, int status, const char *content_type, const char *bytes,
	size_t len, const char *const *headers);
void api_reply_text(struct api_call *call, int status, const char *content_type, const char *text);
void api_reply_empty(struct api_call *call, int status, const char *const *headers);

/* A problem document with the status of the error. 503 carries Retry-After: 1. Errors from 500 on
 * are logged here, once, and api_reply_err keeps their text back. */
void api_reply_err(struct api_call *call, const struct err *err);
void api_reply_problem(struct api_call *call, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void api_reply_faults(struct api_call *call, const struct faults *faults);

/* Answers with a stream (http_stream_begin) and frees the call. False: refused, and answered so. */
bool api_reply_stream(struct api_call *call, const struct http_stream_opts *opts,
	struct http_stream **ret_stream);

/* --- reading the request; false: answered already --- */

/* The body as one JSON value (new reference): 415, 400. `types`: the media types taken, NULL at the
 * end. */
bool api_read_json(struct api_call *call, const char *const *types, json_t **ret_json);
extern const char *const api_json_types[];

/* For requests that take no body: empty or {}. */
bool api_read_nothing(struct api_call *call);

/* The trace the request belongs to, or NULL. `room` keeps it. */
const char *api_traceparent(const struct api_call *call, char room[static TRACEPARENT_SIZE]);

/* A query parameter as one of `names` (-1: absent), as an RFC 3339 time (NO_TIME: absent), as
 * yes/no (false: absent). */
bool api_query_name(
	struct api_call *call, const char *name, const char *const *names, int *ret_value);
bool api_query_time(struct api_call *call, const char *name, int64_t *ret_at_ms);
bool api_query_bool(struct api_call *call, const char *name, bool *ret_value);

/* `Accept` names this media type. */
bool api_accepts(const struct api_call *call, const char *type);

/* The parts may be taken away while a store request is under way: then there is nobody to tell. */
void api_tell_action(struct api *api, struct action *action);

/* --- vitals.c: what the health pages show, gathered at most once a second --- */

struct vitals *vitals_create(struct api *api);

/* Answers who waits, closes the handles and ends in api_vitals_closed(). */
void vitals_close(struct vitals *vitals);
void vitals_destroy(struct vitals *vitals);
void api_vitals_closed(struct api *api);

/* Runs `resume` with fresh figures: at once when they are younger than a second, else when store
 * and disk have answered or after VITALS_WAIT_MS, whichever comes first. */
#define VITALS_WAIT_MS 500
void vitals_wait(struct api_call *call, void (*resume)(struct api_call *call));

/* The parts were attached or taken away. */
void vitals_parts_changed(struct vitals *vitals);

/* The database has not answered for longer than the grace. From memory. */
bool vitals_is_database_lost(const struct vitals *vitals);

struct vitals_view {
	bool has_counts; /* false: the store never answered */
	int64_t actions, actions_paused, runs_pending, runs_running, instances, size_bytes;
	bool is_store_ok;
	int64_t store_took_ms;
	const char *store_error; /* "" */
	bool has_disk;
	int64_t disk_total_bytes, disk_free_bytes; /* free: for this user */
	int64_t loop_lag_ms;                       /* worst delay of the loop in the last minute */
	double cpu_busy, process_cpu; /* share of all CPUs, 0..1, since the look before */
};
struct vitals_view vitals_view(const struct vitals *vitals);

/* --- instances.c --- */

/* The items of the list; a new reference. */
struct store_list_instances;
json_t *instances_to_json(const struct api *api, const struct store_list_instances *list);

/* --- metrics.c --- */

/* The connection pools of the database, a new reference; NULL when there are none. */
json_t *pools_json(const struct api *api);

#define X(method, pattern, handler, tier, query, doc) void handler(struct api_call *call);
#include "api/routes.def"
#undef X
