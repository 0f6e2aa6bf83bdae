/* SPDX-License-Identifier: Apache-2.0
 *
 * Actions come into the world, many in one statement. When some cannot, a second statement finds
 * out whose name or id is taken, or that an earlier try of ours has made them. */
#include <string.h>

#include "store/pg_store_priv.h"

static const struct pg_statement create_statement = {.name = "create",
	.text = "SELECT ret_clock, ret_refused, ret_chain, ret_is_long"
		" FROM gathering.create_actions($1::uuid[], $2::text[], $3::timestamptz[],"
		" $4::text[], $5::text[], $6::integer[], $7::integer[], $8::integer[],"
		" $9::boolean[], $10::boolean[], $11::boolean[], $12::text[], $13::text[],"
		" $14::uuid[], $15::text[], $16::bigint[], $17::bigint[], $18::text[])"};

static const struct pg_statement taken_statement = {.name = "create: taken",
	.text = "SELECT id, name, created_at FROM gathering.action"
		" WHERE id = ANY ($1::uuid[]) OR name = ANY ($2::text[])"};

static struct store_create_actions *create_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_create_actions, req);
}

static void put_new_ids(struct pg_params *params, const struct store_create_actions *req)
{
	pg_array_begin(params, PG_ID);
	for (size_t i = 0; i < req->count; i++)
		pg_array_id(params, &req->req.scratch->ids[i]);
	pg_array_end(params);
}

static void put_names(struct pg_params *params, const struct store_create_actions *req)
{
	pg_array_begin(params, PG_TEXT);
	for (size_t i = 0; i < req->count; i++)
		pg_array_text(params, req->actions[i]->name);
	pg_array_end(params);
}

/* One array of `req->actions`, an element by each. */
#define PUT_EACH(params, type, put, value)                                                         \
	do {                                                                                       \
		pg_array_begin(params, type);                                                      \
		for (size_t i = 0; i < req->count; i++) {                                          \
			const struct action *action = req->actions[i];                             \
                                                                                                   \
			put(params, value);                                                        \
		}                                                                                  \
		pg_array_end(params);                                                              \
	} while (0)

static void put_tags(struct pg_params *params, const struct store_create_actions *req)
{
	pg_array_begin(params, PG_ID);
	for (size_t i = 0; i < req->count; i++)
		for (char **tag = req->actions[i]->tags; *tag; tag++)
			pg_array_id(params, &req->req.scratch->ids[i]);
	pg_array_end(params);
	pg_array_begin(params, PG_TEXT);
	for (size_t i = 0; i < req->count; i++)
		for (char **tag = req->actions[i]->tags; *tag; tag++)
			pg_array_text(params, *tag);
	pg_array_end(params);
}

static void put_number(struct pg_params *params, int64_t number, int64_t none)
{
	if (number == none)
		pg_array_null(params);
	else
		pg_array_i64(params, number);
}

/* Three numbers each, as gathering.put_pace has it. */
void pg_put_paces(struct pg_params *params, struct action *const *actions, size_t count)
{
	pg_array_begin(params, PG_I64);
	for (size_t i = 0; i < count; i++) {
		struct schedule_pace pace = {.end_at_ms = NO_TIME};

		if (actions[i]->schedule)
			(void)schedule_pace(actions[i]->schedule, &pace);
		put_number(params, pace.every_after_ms, 0);
		put_number(params, pace.end_at_ms, NO_TIME);
		put_number(params, pace.max_runs, 0);
	}
	pg_array_end(params);
}

static void put_create(struct pg_call *call)
{
	const struct store_create_actions *req = create_of(call);
	struct pg_params *params = pg_call_add(call, &create_statement);

	put_new_ids(params, req);
	put_names(params, req);
	PUT_EACH(params, PG_TIME, pg_array_time, action->next_due_ms);
	PUT_EACH(params, PG_TEXT, pg_array_text, action_kind_names[action->kind]);
	PUT_EACH(params, PG_TEXT, pg_array_text, overlap_names[action->overlap]);
	PUT_EACH(params, PG_I32, pg_array_i32, action_pending_limit(action));
	PUT_EACH(params, PG_I32, pg_array_i32, action->max_concurrent);
	PUT_EACH(params, PG_I32, pg_array_i32, action->priority);
	PUT_EACH(params, PG_BOOL, pg_array_bool, action_has_due_times(action));
	PUT_EACH(params, PG_BOOL, pg_array_bool, action_runs_on_start(action));
	PUT_EACH(params, PG_BOOL, pg_array_bool, action->is_paused);
	pg_array_begin(params, PG_TEXT);
	for (size_t i = 0; i < req->count; i++)
		pg_array_text(params, req->req.scratch->texts[i]);
	pg_array_end(params);
	PUT_EACH(params, PG_TEXT, pg_array_text, action_event(action));
	put_tags(params, req);
	pg_put_paces(params, req->actions, req->count);
	pg_put_cares(params, req->actions, req->count);
}
#undef PUT_EACH

static void add_created(struct pg_call *call, int64_t now_ms)
{
	struct store_create_actions *req = create_of(call);

	for (size_t i = 0; i < req->count; i++) {
		pg_tell_action(call->pg, &req->req.scratch->ids[i]);
		*scratch_add_row(req->req.scratch) = (struct stored_action){
			.id = req->req.scratch->ids[i],
			.version = 1,
			.is_paused = req->actions[i]->is_paused,
			.next_due_ms = req->actions[i]->next_due_ms,
			.created_at_ms = now_ms,
			.updated_at_ms = now_ms,
		};
	}
}

static int read_create(struct pg_call *call)
{
	struct store_create_actions *req = create_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);
	int64_t now_ms;
	int refused;
	const char *chain;

	must(pg_row_next(&row));
	now_ms = pg_read_time(&row);
	refused = pg_read_int(&row, 0);
	chain = pg_read_text(&row);
	if (refused > 0) {
		req->ret_index = (size_t)refused - 1;
		return err_chain(&req->req.err, chain, pg_read_bool(&row));
	}
	add_created(call, now_ms);
	return 0;
}

/* --- whose name or id is taken --- */

static void put_taken(struct pg_call *call)
{
	struct pg_params *params = pg_call_add(call, &taken_statement);

	put_new_ids(params, create_of(call));
	put_names(params, create_of(call));
}

/* By an earlier one of the same request. */
static bool is_twice(const struct store_create_actions *req, size_t index, bool *ret_is_name)
{
	for (size_t i = 0; i < index; i++) {
		*ret_is_name = strcmp(req->actions[i]->name, req->actions[index]->name) == 0;
		if (*ret_is_name ||
			id_equal(&req->req.scratch->ids[i], &req->req.scratch->ids[index]))
			return true;
	}
	return false;
}

static bool is_taken(const struct pg_call *call, size_t index, bool *ret_is_name)
{
	const struct store_create_actions *req = create_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);

	while (pg_row_next(&row)) {
		struct id id = pg_read_id(&row);

		*ret_is_name = strcmp(pg_read_text(&row), req->actions[index]->name) == 0;
		if (*ret_is_name || id_equal(&id, &req->req.scratch->ids[index]))
			return true;
	}
	return is_twice(req, index, ret_is_name);
}

static bool all_are_ours(const struct pg_call *call, int64_t *ret_created_at_ms)
{
	const struct store_create_actions *req = create_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);
	size_t ours = 0;

	while (pg_row_next(&row)) {
		struct id id = pg_read_id(&row);

		pg_skip(&row);
		*ret_created_at_ms = pg_read_time(&row);
		for (size_t i = 0; i < req->count; i++)
			ours += id_equal(&id, &req->req.scratch->ids[i]);
	}
	return ours == req->count;
}

static int read_taken(struct pg_call *call)
{
	struct store_create_actions *req = create_of(call);
	struct err *err = &req->req.err;
	int64_t created_at_ms = NO_TIME;
	bool is_name;

	if (call->is_again && all_are_ours(call, &created_at_ms)) {
		add_created(call, created_at_ms);
		return 0;
	}
	for (size_t i = 0; i < req->count; i++)
		if (is_taken(call, i, &is_name)) {
			req->ret_index = i;
			return is_name ? err_name_taken(err, req->actions[i]->name)
				       : err_id_taken(err);
		}
	/* free again: whoever had it has gone meanwhile */
	return err_set(err, ERR_UNAVAILABLE, "others create and delete the same names: try again");
}

static const struct pg_plan taken_plan = {.place = PG_WRITES, .put = put_taken, .read = read_taken};

static int create_refused(struct pg_call *call)
{
	call->plan = &taken_plan;
	return PG_CALL_MORE;
}

int pg_create_actions(void *db, struct store_create_actions *req, int64_t now_ms)
{
	static const struct pg_plan plan = {.place = PG_WRITES,
		.put = put_create,
		.read = read_create,
		.refused = create_refused};

	return pg_call_start(db, &req->req, &plan);
}
