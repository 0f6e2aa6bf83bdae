/* SPDX-License-Identifier: Apache-2.0
 *
 * finish and the second round of recover. Finishes are written in batches, one statement each: what
 * arrives while a batch is under way is the next one, so the batch grows with the load and a single
 * one waits for nobody. No timer. */
#include <stdlib.h>
#include <string.h>

#include "base/prove.h"
#include "base/text.h"
#include "store/pg_store_priv.h"

#define BATCH_MAX       500
#define BATCH_BYTES_MAX (8 * 1024 * 1024) /* of output; one finish more than that goes alone */

#define FINISH_TEXT                                                                                \
	"SELECT ret_state, ret_was_done, ret_found, ret_found_epoch, ret_cancel"                   \
	" FROM gathering.finish($1::boolean, $2::uuid[], $3::bigint[], $4::text[],"                \
	" $5::integer[], $6::integer[], $7::timestamptz[], $8::text[], $9::bytea[],"               \
	" $10::bigint[], $11::text[], $12::text[], $13::bigint[], $14::boolean[],"                 \
	" $15::boolean[])"

static const struct pg_statement finish_statement = {.name = "finish", .text = FINISH_TEXT};

/* One ended attempt, from a request or from a lost owner. */
struct ending {
	const struct run *run;
	const struct attempt_result *result;
	const struct run_follow_up *follow_up;
};

/* Everything a batch holds, for the arrays. */
struct endings {
	struct ending *items; /* owned */
	size_t count, room;
};

static void add_ending(struct endings *endings, const struct ending *ending)
{
	endings->items =
		grow_array(endings->items, endings->count, &endings->room, sizeof(*endings->items));
	endings->items[endings->count++] = *ending;
}

/* --- parameters --- */

/* PostgreSQL takes no ill-formed text; what a program wrote may be any. */
static void put_error(struct pg_params *params, const char *error)
{
	struct buf clean;

	if (!error) {
		pg_array_null(params);
		return;
	}
	buf_init(&clean, 4 * strlen(error) + 16);
	utf8_clean(error, strlen(error), &clean);
	pg_array_text(params, buf_text(&clean));
	buf_fini(&clean);
}

static void put_number(struct pg_params *params, int value, int none)
{
	if (value == none)
		pg_array_null(params);
	else
		pg_array_i32(params, value);
}

static void put_output(struct pg_params *params, const struct attempt_result *result)
{
	if (result->output_len == 0)
		pg_array_null(params);
	else
		pg_array_bytes(params, result->output, result->output_len);
}

static int64_t total_of(const struct attempt_result *result)
{
	int64_t kept = (int64_t)result->output_len;

	return result->output_total > kept ? result->output_total : kept;
}

/* One array, an element by each ending `e`. */
#define PUT_EACH(type, put)                                                                        \
	do {                                                                                       \
		pg_array_begin(params, type);                                                      \
		for (const struct ending *e = endings->items; e < endings->items + endings->count; \
			e++)                                                                       \
			put;                                                                       \
		pg_array_end(params);                                                              \
	} while (0)

static void put_results(struct pg_params *params, const struct endings *endings)
{
	PUT_EACH(PG_TEXT, pg_array_text(params, attempt_outcome_names[e->result->outcome]));
	PUT_EACH(PG_I32, put_number(params, e->result->http_status, 0));
	PUT_EACH(PG_I32, put_number(params, e->result->exit_code, -1));
	PUT_EACH(PG_TIME, pg_array_time(params, e->result->started_at_ms));
	PUT_EACH(PG_TEXT, put_error(params, e->result->error));
	PUT_EACH(PG_BYTES, put_output(params, e->result));
	PUT_EACH(PG_I64, pg_array_i64(params, total_of(e->result)));
}

static void put_endings(struct pg_params *params, bool is_again, const struct endings *endings)
{
	pg_put_bool(params, is_again);
	PUT_EACH(PG_ID, pg_array_id(params, &e->run->id));
	PUT_EACH(PG_I64, pg_array_i64(params, e->run->epoch));
	put_results(params, endings);
	PUT_EACH(PG_TEXT, pg_array_text(params, run_state_names[e->follow_up->state]));
	PUT_EACH(PG_TEXT, pg_array_text(params, run_reason_names[e->follow_up->reason]));
	PUT_EACH(PG_I64, pg_array_i64(params, e->follow_up->delay_ms));
	PUT_EACH(PG_BOOL, pg_array_bool(params, e->follow_up->counts));
	PUT_EACH(PG_BOOL, pg_array_bool(params, attempt_has_begun(e->result)));
}
#undef PUT_EACH

/* --- answers --- */

/* One row. 0: done, *ret_state is what the run has become; or ERR_STALE. */
static int read_ending(
	struct pg_row *row, const struct ending *ending, enum run_state *ret_state, struct err *err)
{
	int state = name_index(run_state_names, pg_read_text(row));
	bool was_done = pg_read_bool(row);
	int found = name_index(run_state_names, pg_read_text(row));
	int64_t epoch = pg_read_i64(row);

	if (state >= 0 || was_done) {
		*ret_state = (enum run_state)(state >= 0 ? state : found);
		return 0;
	}
	if (found < 0)
		return err_run_gone(err);
	return err_run_stale(err, (enum run_state)found, epoch, ending->run->epoch);
}

/* --- finish --- */

static struct store_finish *finish_of(struct list *node)
{
	return container_of(
		list_entry(node, struct store_req, queue_node), struct store_finish, req);
}

static void put_finishes(struct pg_call *call)
{
	struct endings endings = {0};

	list_for_each (node, &call->list) {
		const struct store_finish *req = finish_of(node);

		add_ending(&endings, &(struct ending){req->run, req->result, &req->follow_up});
	}
	put_endings(pg_call_add(call, &finish_statement), call->is_again, &endings);
	free(endings.items);
}

/* The last row, when there is one more: others were started. One request of the batch tells. */
static void read_sequels(struct pg_call *call, struct pg_row *row)
{
	struct store_finish *req = finish_of(call->list.next);

	list_for_each (node, &call->list)
		if (finish_of(node)->req.err.code == 0)
			req = finish_of(node); /* one that was refused passes nothing on */
	for (int column = 0; column < 4; column++)
		pg_skip(row);
	req->ret_has_sequels = true;
	pg_read_ids(row, &req->ret_cancel, &req->ret_cancel_count);
	pg_tell_pending(call->pg);
	pg_tell_cancels(call->pg, req->ret_cancel, req->ret_cancel_count);
}

/* The end of this run may be what its action's next due time counts from: who looks after it is to
 * know. */
static void tell_pace(struct pg_call *call, const struct run *run, enum run_state state)
{
	struct schedule_pace pace;

	if (run->action && run->action->schedule && run_state_is_final(state) &&
		schedule_pace(run->action->schedule, &pace) && pace.every_after_ms > 0)
		pg_tell_action(call->pg, &run->action->id);
}

static int read_finishes(struct pg_call *call)
{
	struct pg_row row = pg_rows(&call->queries[0]);
	bool is_pending = false;

	list_for_each (node, &call->list) {
		struct store_finish *req = finish_of(node);
		struct ending ending = {.run = req->run};

		must(pg_row_next(&row));
		if (read_ending(&row, &ending, &req->ret_state, &req->req.err) < 0)
			continue;
		is_pending |= req->ret_state == RUN_PENDING && req->follow_up.delay_ms == 0;
		tell_pace(call, req->run, req->ret_state);
	}
	if (pg_row_next(&row))
		read_sequels(call, &row);
	if (is_pending)
		pg_tell_pending(call->pg);
	return 0;
}

static void finishes_done(struct pg_call *call, const struct err *err)
{
	call->pg->is_finishing = false;
	for (struct list *node; (node = list_pop(&call->list)) != NULL;) {
		struct store_req *req = list_entry(node, struct store_req, queue_node);

		if (err)
			req->err = *err;
		store_req_finish(req);
	}
	pg_finish_flush(call->pg);
}

static const struct pg_plan finish_plan = {
	.place = PG_FINISHES, .put = put_finishes, .read = read_finishes, .done = finishes_done};

int pg_finish(void *db, struct store_finish *req, int64_t now_ms)
{
	struct pg_store *pg = db;

	list_push(&pg->finishes, &req->req.queue_node);
	return 0;
}

void pg_finish_flush(struct pg_store *pg)
{
	size_t count = 0, bytes = 0;
	struct list batch;

	if (pg->is_finishing || list_is_empty(&pg->finishes))
		return;
	list_init(&batch);
	while (!list_is_empty(&pg->finishes) && count < BATCH_MAX) {
		bytes += finish_of(pg->finishes.next)->result->output_len;
		if (count > 0 && bytes > BATCH_BYTES_MAX)
			break;
		list_push(&batch, list_pop(&pg->finishes));
		count++;
	}
	pg->is_finishing = true;
	pg_call_start_batch(pg, &batch, &finish_plan);
}

/* --- finish, within another transaction --- */

/* A condition without columns is looked at first: nothing is called when the setting is gone. */
void pg_put_finish(const struct store_finish *req, struct pg_query *query)
{
	struct ending ending = {req->run, req->result, &req->follow_up};
	struct endings endings = {.items = &ending, .count = 1};

	query->text = FINISH_TEXT " WHERE current_setting('gathering.epoch', true) <> ''";
	put_endings(&query->params, false, &endings);
}

int pg_read_finish(struct store_finish *req, const struct pg_query *query, struct err *err)
{
	struct pg_row row = pg_rows(query);
	struct ending ending = {.run = req->run};

	if (!pg_row_next(&row))
		return err_set(err, ERR_CONFLICT,
			"the statement has ended its transaction, which is not its to end");
	if (read_ending(&row, &ending, &req->ret_state, err) != 0)
		return err->code;
	pg_skip(&row);
	if (pg_row_next(&row)) {
		for (int column = 0; column < 4; column++)
			pg_skip(&row);
		req->ret_has_sequels = true;
		pg_read_ids(&row, &req->ret_cancel, &req->ret_cancel_count);
	}
	return 0;
}

/* --- recover --- */

/* Runs whose lease has ended. Ours are among them when a claim came through whose answer did not:
 * nobody works on those, and each heartbeat extends what it names alone. */
static const struct pg_statement orphans_statement = {.name = "orphans",
	.text = "SELECT " PG_RUN_FIELDS ", " PG_RUN_ACTION_FIELDS
		" FROM gathering.run r" PG_RUN_ACTION_JOINS
		" WHERE r.state = 'running' AND r.lease_until <= gathering.clock()"
		" ORDER BY r.id LIMIT $1::bigint"};

/* With ONLY_THE_DEAD_RECOVERED off: whatever runs elsewhere. */
static const struct pg_statement others_statement = {.name = "others",
	.text = "SELECT " PG_RUN_FIELDS ", " PG_RUN_ACTION_FIELDS
		" FROM gathering.run r" PG_RUN_ACTION_JOINS
		" WHERE r.state = 'running' AND r.instance_id <> $2::uuid LIMIT $1::bigint"};

#define ORPHANS_MAX 5000 /* of one recover; the next one takes the rest */

static void put_orphans(struct pg_call *call)
{
	bool is_off = RULE_IS_OFF(ONLY_THE_DEAD_RECOVERED);
	struct pg_params *params =
		pg_call_add(call, is_off ? &others_statement : &orphans_statement);

	pg_put_i64(params, RULE_IS_OFF(THE_DEAD_RECOVERED) ? 0 : ORPHANS_MAX);
	if (is_off)
		pg_put_id(params, &call->pg->store->instance_id);
}

static int read_orphans(struct pg_call *call)
{
	struct pg_row row = pg_rows(&call->queries[0]);

	while (pg_row_next(&row)) {
		pg_read_run(&row, &scratch_add_orphan(call->req->scratch)->run);
		pg_read_stored_action(&row, scratch_add_row(call->req->scratch));
	}
	return 0;
}

int pg_list_orphans(void *db, struct store_recover *req)
{
	static const struct pg_plan plan = {
		.place = PG_WRITES, .put = put_orphans, .read = read_orphans};

	return pg_call_start(db, &req->req, &plan);
}

static void put_moves(struct pg_call *call)
{
	const struct store_scratch *scratch = call->req->scratch;
	struct attempt_result *results =
		xcalloc(scratch->orphan_count + 1, sizeof(struct attempt_result));
	struct endings endings = {0};

	for (size_t i = 0; i < scratch->orphan_count; i++) {
		const struct store_orphan *orphan = &scratch->orphans[i];

		results[i] = orphan_result(&orphan->run, orphan->why);
		add_ending(
			&endings, &(struct ending){&orphan->run, &results[i], &orphan->follow_up});
	}
	put_endings(pg_call_add(call, &finish_statement), call->is_again, &endings);
	free(endings.items);
	free(results);
}

static int read_moves(struct pg_call *call)
{
	struct store_scratch *scratch = call->req->scratch;
	struct pg_row row = pg_rows(&call->queries[0]);

	scratch->moved_count = 0;
	for (size_t i = 0; i < scratch->orphan_count; i++) {
		struct ending ending = {.run = &scratch->orphans[i].run};
		enum run_state state = RUN_PENDING;
		struct err stale;

		must(pg_row_next(&row));
		if (read_ending(&row, &ending, &state, &stale) < 0)
			continue;
		scratch->moved_count++;
		tell_pace(call, ending.run, state);
	}
	if (scratch->moved_count > 0)
		pg_tell_pending(call->pg);
	return 0;
}

int pg_move_orphans(struct pg_store *pg, struct store_req *req)
{
	static const struct pg_plan plan = {
		.place = PG_WRITES, .put = put_moves, .read = read_moves};

	return pg_call_start(pg, req, &plan);
}
