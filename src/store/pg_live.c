/* SPDX-License-Identifier: Apache-2.0
 *
 * What an attempt that runs on another instance has written so far, in a table of its own: it is
 * there only while somebody reads it, and no other row is written for its sake. Fenced as it is
 * read: a row counts for its epoch alone. */
#include <stdlib.h>

#include "store/pg_store_priv.h"

static const struct pg_statement put_statement = {.name = "put_live",
	.text = "INSERT INTO gathering.live (run_id, epoch, attempt, output, output_total)"
		" SELECT r.id, r.epoch, r.attempt, $3::bytea, $4::bigint FROM gathering.run r"
		" WHERE r.id = $1::uuid AND r.epoch = $2::bigint AND r.state = 'running'"
		" ON CONFLICT (run_id) DO UPDATE SET epoch = excluded.epoch,"
		" attempt = excluded.attempt, output = excluded.output,"
		" output_total = excluded.output_total"};

static const struct pg_statement forget_statement = {.name = "forget_live",
	.text = "DELETE FROM gathering.live WHERE run_id = $1::uuid AND epoch = $2::bigint"};

static void put_live(struct pg_call *call)
{
	const struct store_put_live *req = container_of(call->req, struct store_put_live, req);
	struct pg_params *params =
		pg_call_add(call, req->output ? &put_statement : &forget_statement);

	pg_put_id(params, &req->run_id);
	pg_put_i64(params, req->epoch);
	if (!req->output)
		return;
	pg_put_bytes(params, req->output, req->len);
	pg_put_i64(params, req->total);
}

static int read_nothing(struct pg_call *call)
{
	return 0;
}

int pg_put_live(void *db, struct store_put_live *req, int64_t now_ms)
{
	static const struct pg_plan plan = {
		.place = PG_WRITES, .put = put_live, .read = read_nothing};

	return pg_call_start(db, &req->req, &plan);
}
