/* SPDX-License-Identifier: Apache-2.0
 *
 * One request's way to the database and back. A call sends the statements of its plan, waits for
 * all of them, and answers; or sends them once more, when the database said "try again" or nobody
 * knows what became of them (see pg_store_priv.h). */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/metric.h"
#include "store/pg_store_priv.h"

#define RETRY_MS  3000 /* from the first try; a statement under way may take longer */
#define TRIES_MAX 20

static const int64_t timeouts_ms[PG_PLACE_COUNT] = {
	[PG_READS] = 10000,
	[PG_WRITES] = 30000,
	[PG_CLAIMS] = 10000,
	[PG_FINISHES] = 10000,
};

static void call_send(struct pg_call *call);

static void clear_queries(struct pg_call *call)
{
	for (int i = 0; i < call->query_count; i++)
		pg_query_fini(&call->queries[i]);
	call->query_count = 0;
}

/* --- the end --- */

static void give_answer(struct pg_call *call)
{
	struct pg_store *pg = call->pg;
	struct store_req *req = call->req;

	if (req->err.code == 0 && req->verb->complete && req->verb->complete(req)) {
		list_push(&pg->waiting, &req->queue_node); /* once more */
		store_turn_later(pg->store);
		return;
	}
	store_req_finish(req);
}

static void call_end(struct pg_call *call, const struct err *err)
{
	struct pg_store *pg = call->pg;

	clear_queries(call);
	pg->calls--;
	if (call->req) {
		if (err)
			call->req->err = *err;
		give_answer(call);
	} else {
		call->plan->done(call, err);
	}
	free(call);
	pg_store_step(pg);
}

/* --- what an error means --- */

static bool was_rolled_back(const struct pg_query *query)
{
	static const char *const states[] = {"40001", "40P01", "55P03"};

	for (size_t i = 0; i < COUNT_OF(states); i++)
		if (strcmp(query->sqlstate, states[i]) == 0)
			return true;
	return !query->was_sent;
}

/* The answer was lost, not given. */
static bool is_unknown(const struct pg_query *query)
{
	int code = query->err.code;

	return (code == ERR_UNAVAILABLE || code == ERR_TIMEOUT || code == ERR_CANCELLED) &&
	       !was_rolled_back(query);
}

static bool may_try_again(const struct pg_call *call, const struct pg_query *failed)
{
	if (failed->err.code != ERR_UNAVAILABLE && failed->err.code != ERR_TIMEOUT)
		return false;
	return call->pg->state == PG_STORE_OPEN && call->tries < TRIES_MAX &&
	       clock_mono_ms() < call->until_mono_ms;
}

static const struct pg_query *first_failed(const struct pg_call *call)
{
	for (int i = 0; i < call->query_count; i++)
		if (call->queries[i].err.code < 0)
			return &call->queries[i];
	return NULL;
}

/* For the one who asked, a deadline of ours is the database's absence. */
static void call_fail(struct pg_call *call, const struct pg_query *failed)
{
	struct err err = failed->err;

	if (err.code == ERR_TIMEOUT)
		err.code = ERR_UNAVAILABLE;
	if (call->is_again && call->plan->place != PG_READS)
		(void)err_wrap(&err, "it is not known whether this was done");
	call_end(call, &err);
}

/* Whether read or refused wants another round. */
static bool goes_on(struct pg_call *call, int status)
{
	if (status != PG_CALL_MORE)
		return false;
	clear_queries(call);
	call_send(call);
	return true;
}

static void call_judge(struct pg_call *call)
{
	const struct pg_query *failed = first_failed(call);

	if (!failed) {
		if (!goes_on(call, call->plan->read(call)))
			call_end(call, NULL);
		return;
	}
	if (failed->err.code == ERR_CONFLICT && call->plan->refused) {
		if (!goes_on(call, call->plan->refused(call)))
			call_end(call, NULL);
		return;
	}
	call->is_again |= is_unknown(failed);
	if (!may_try_again(call, failed)) {
		call_fail(call, failed);
		return;
	}
	clear_queries(call);
	call_send(call);
}

/* --- sending --- */

static void on_answer(struct pg_query *query)
{
	struct pg_call *call = query->data;

	if (--call->left == 0)
		call_judge(call);
}

struct pg_params *pg_call_add(struct pg_call *call, const struct pg_statement *statement)
{
	struct pg_query *query = &call->queries[call->query_count];

	must(call->query_count < PG_CALL_QUERIES);
	call->query_count++;
	pg_query_init(query);
	query->statement = statement;
	query->timeout_ms =
		call->plan->timeout_ms ? call->plan->timeout_ms : timeouts_ms[call->plan->place];
	query->done = on_answer;
	query->data = call;
	return &query->params;
}

static void call_send(struct pg_call *call)
{
	struct pg_pool *pool = call->pg->pools[call->plan->place];

	call->tries++;
	call->plan->put(call);
	call->left = call->query_count;
	for (int i = 0, count = call->query_count; i < count; i++)
		pg_pool_query(pool, &call->queries[i]);
}

static struct pg_call *call_create(struct pg_store *pg, const struct pg_plan *plan)
{
	struct pg_call *call = xcalloc(1, sizeof(*call));

	call->pg = pg;
	call->plan = plan;
	call->until_mono_ms = clock_mono_ms() + RETRY_MS;
	call->token = id_make();
	list_init(&call->list);
	pg->calls++;
	return call;
}

int pg_call_start(struct pg_store *pg, struct store_req *req, const struct pg_plan *plan)
{
	struct pg_call *call = call_create(pg, plan);

	call->req = req;
	call_send(call);
	return 0;
}

void pg_call_start_batch(struct pg_store *pg, struct list *list, const struct pg_plan *plan)
{
	struct pg_call *call = call_create(pg, plan);

	list_splice(&call->list, list);
	call_send(call);
}
