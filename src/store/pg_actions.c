/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs on actions. A definition is a row of its own, written once under the version that made
 * it; the small action row points to the current one. */
#include <stdlib.h>
#include <string.h>

#include "store/pg_store_priv.h"

/* --- create --- */

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

static void put_event(struct pg_params *params, const struct action *action)
{
	const char *event = action_event(action);

	if (event)
		pg_array_text(params, event);
	else
		pg_array_null(params);
}

static void put_number(struct pg_params *params, int64_t number, int64_t none)
{
	if (number == none)
		pg_array_null(params);
	else
		pg_array_i64(params, number);
}

/* Three numbers each, as gathering.put_pace has it. */
static void put_paces(struct pg_params *params, struct action *const *actions, size_t count)
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
	PUT_EACH(params, PG_TEXT, put_event, action);
	put_tags(params, req);
	put_paces(params, req->actions, req->count);
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

/* --- create: whose name or id is taken --- */

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

/* --- get --- */

static const struct pg_statement get_by_id = {.name = "get action",
	.text = "SELECT " PG_ACTION_FIELDS PG_ACTION_FROM " WHERE a.id = $1::uuid"};
static const struct pg_statement get_by_name = {.name = "get action by name",
	.text = "SELECT " PG_ACTION_FIELDS PG_ACTION_FROM " WHERE a.name = $1::text"};

static void put_get(struct pg_call *call)
{
	const struct store_get_action *req = container_of(call->req, struct store_get_action, req);

	if (req->name)
		pg_put_text(pg_call_add(call, &get_by_name), req->name);
	else
		pg_put_id(pg_call_add(call, &get_by_id), &req->id);
}

static int read_get(struct pg_call *call)
{
	struct pg_row row = pg_rows(&call->queries[0]);

	if (!pg_row_next(&row))
		return err_no_action(&call->req->err);
	pg_read_stored_action(&row, scratch_add_row(call->req->scratch));
	return 0;
}

int pg_get_action(void *db, struct store_get_action *req, int64_t now_ms)
{
	static const struct pg_plan plan = {.place = PG_READS, .put = put_get, .read = read_get};

	return pg_call_start(db, &req->req, &plan);
}

/* --- list --- */

/* $2 part of a name as pattern, $3 kind, $4 state, $5 tag, $6 run_on_start only. The state as in
 * action_state(). */
#define ACTION_FILTER                                                                              \
	"($2::text IS NULL OR a.name ILIKE $2) AND ($3::text IS NULL OR a.kind = $3)"              \
	" AND ($4::text IS NULL OR $4 = CASE WHEN a.is_paused THEN 'paused'"                       \
	" WHEN a.has_schedule AND a.next_due_at IS NULL THEN 'completed' ELSE 'active' END)"       \
	" AND ($5::text IS NULL OR EXISTS (SELECT 1 FROM gathering.action_tag t"                   \
	" WHERE t.action_id = a.id AND t.tag = $5))"                                               \
	" AND (NOT $6::boolean OR a.runs_on_start)"

static const struct pg_statement list_statement = {.name = "list actions",
	.text = "SELECT " PG_ACTION_FIELDS PG_ACTION_FROM " WHERE a.name > $1::text"
		" AND " ACTION_FILTER " ORDER BY a.name LIMIT $7::bigint"};
static const struct pg_statement count_statement = {.name = "count actions",
	.text = "SELECT count(*) FROM gathering.action a WHERE a.name > $1::text"
		" AND " ACTION_FILTER};

/* "50%" -> "%50\%%": found anywhere, and nothing in it is a wildcard. */
static char *like_pattern(const char *part)
{
	char *pattern = xmalloc(2 * strlen(part) + 3), *to = pattern;

	*to++ = '%';
	for (; *part; part++) {
		if (*part == '%' || *part == '_' || *part == '\\')
			*to++ = '\\';
		*to++ = *part;
	}
	*to++ = '%';
	*to = '\0';
	return pattern;
}

static void put_filter(
	struct pg_params *params, const struct store_list_actions *req, const char *after)
{
	auto_free char *pattern = req->name_part ? like_pattern(req->name_part) : NULL;

	pg_put_text(params, after ? after : "");
	pg_put_text(params, pattern);
	pg_put_name(params, action_kind_names, req->kind);
	pg_put_name(params, action_state_names, req->state);
	pg_put_text(params, req->tag);
	pg_put_bool(params, req->on_start);
}

static struct store_list_actions *list_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_list_actions, req);
}

static void put_list(struct pg_call *call)
{
	const struct store_list_actions *req = list_of(call);
	struct pg_params *params = pg_call_add(call, &list_statement);

	put_filter(params, req, req->after_name);
	pg_put_i64(params, (int64_t)req->limit + 1);
	if (req->want_total)
		put_filter(pg_call_add(call, &count_statement), req, NULL);
}

static int read_list(struct pg_call *call)
{
	struct store_list_actions *req = list_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);

	while (pg_row_next(&row)) {
		if (req->req.scratch->row_count == (size_t)req->limit) {
			req->ret_has_more = true;
			break;
		}
		pg_read_stored_action(&row, scratch_add_row(req->req.scratch));
	}
	if (req->want_total) {
		row = pg_rows(&call->queries[1]);
		must(pg_row_next(&row));
		req->ret_total = pg_read_i64(&row);
	}
	return 0;
}

int pg_list_actions(void *db, struct store_list_actions *req, int64_t now_ms)
{
	static const struct pg_plan plan = {.place = PG_READS, .put = put_list, .read = read_list};

	return pg_call_start(db, &req->req, &plan);
}

/* --- replace and pause --- */

/* The new row's body comes from the request (replace) or is joined (pause). */
static const struct pg_statement replace_statement = {.name = "replace",
	.text = "SELECT a.id, a.version, a.is_paused, a.next_due_at, a.created_at, a.updated_at,"
		" a.definition_version, NULL::json, t.ret_done, t.ret_chain, t.ret_is_long"
		" FROM gathering.replace($1::uuid, $2::bigint, $3::boolean, $4::text,"
		" $5::timestamptz, $6::text, $7::text, $8::integer, $9::integer, $10::integer,"
		" $11::boolean, $12::boolean, $13::text, $14::text[], $15::text, $16::bigint[],"
		" $17::boolean, $18::bigint[], $19::text[]) t,"
		" LATERAL (SELECT (t.ret_action).*) a"};
static const struct pg_statement pause_statement = {.name = "pause",
	.text = "SELECT " PG_ACTION_FIELDS
		", t.ret_done, NULL::text, false FROM gathering.pause($1::uuid, $2::bigint,"
		" $3::boolean, $4::boolean, $5::timestamptz) t,"
		" LATERAL (SELECT (t.ret_action).*) a LEFT JOIN gathering.definition d"
		" ON d.action_id = a.id AND d.version = a.definition_version"};

/* The row that both return. */
static int read_changed(struct pg_call *call, int64_t expected, bool has_body)
{
	struct pg_row row = pg_rows(&call->queries[0]);
	struct stored_action changed = {0};
	bool is_done;
	const char *chain;

	if (!pg_row_next(&row))
		return err_no_action(&call->req->err);
	pg_read_stored_action(&row, &changed);
	is_done = pg_read_bool(&row);
	chain = pg_read_text(&row);
	if (!is_done) {
		free(changed.text);
		if (chain)
			return err_chain(&call->req->err, chain, pg_read_bool(&row));
		return err_version(&call->req->err, changed.version, expected);
	}
	if (!has_body)
		free(take_ptr(changed.text));
	pg_tell_action(call->pg, &changed.id);
	*scratch_add_row(call->req->scratch) = changed;
	return 0;
}

static struct store_replace_action *replace_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_replace_action, req);
}

static void put_replace(struct pg_call *call)
{
	const struct store_replace_action *req = replace_of(call);
	const struct action *action = req->action;
	struct pg_params *params = pg_call_add(call, &replace_statement);

	pg_put_id(params, &req->id);
	pg_put_i64(params, req->expected_version);
	pg_put_bool(params, call->is_again);
	pg_put_text(params, action->name);
	pg_put_time(params, action->next_due_ms);
	pg_put_text(params, action_kind_names[action->kind]);
	pg_put_text(params, overlap_names[action->overlap]);
	pg_put_i32(params, action_pending_limit(action));
	pg_put_i32(params, action->max_concurrent);
	pg_put_i32(params, action->priority);
	pg_put_bool(params, action_has_due_times(action));
	pg_put_bool(params, action_runs_on_start(action));
	pg_put_text(params, req->req.scratch->texts[0]);
	pg_array_begin(params, PG_TEXT);
	for (char **tag = action->tags; *tag; tag++)
		pg_array_text(params, *tag);
	pg_array_end(params);
	pg_put_text(params, action_event(action));
	put_paces(params, &req->action, 1);
	pg_put_bool(params, req->keeps_cursor);
	pg_put_cares(params, &req->action, 1);
}

static int read_replace(struct pg_call *call)
{
	return read_changed(call, replace_of(call)->expected_version, false);
}

static int replace_refused(struct pg_call *call)
{
	return err_name_taken(&call->req->err, replace_of(call)->action->name);
}

int pg_replace_action(void *db, struct store_replace_action *req, int64_t now_ms)
{
	static const struct pg_plan plan = {.place = PG_WRITES,
		.put = put_replace,
		.read = read_replace,
		.refused = replace_refused};

	return pg_call_start(db, &req->req, &plan);
}

static struct store_pause_action *pause_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_pause_action, req);
}

static void put_pause(struct pg_call *call)
{
	const struct store_pause_action *req = pause_of(call);
	struct pg_params *params = pg_call_add(call, &pause_statement);

	pg_put_id(params, &req->id);
	pg_put_i64(params, req->expected_version);
	pg_put_bool(params, call->is_again);
	pg_put_bool(params, req->is_paused);
	pg_put_time(params, req->next_due_ms);
}

static int read_pause(struct pg_call *call)
{
	return read_changed(call, pause_of(call)->expected_version, true);
}

int pg_pause_action(void *db, struct store_pause_action *req, int64_t now_ms)
{
	static const struct pg_plan plan = {
		.place = PG_WRITES, .put = put_pause, .read = read_pause};

	return pg_call_start(db, &req->req, &plan);
}

/* --- delete --- */

static const struct pg_statement delete_statement = {.name = "delete",
	.text = "SELECT ret_version, ret_done, ret_running"
		" FROM gathering.remove($1::uuid, $2::bigint)"};

#define DELETE_TIMEOUT_MS 120000 /* what is open goes along */

static struct store_delete_action *delete_of(const struct pg_call *call)
{
	return container_of(call->req, struct store_delete_action, req);
}

static void put_delete(struct pg_call *call)
{
	struct pg_params *params = pg_call_add(call, &delete_statement);

	pg_put_id(params, &delete_of(call)->id);
	pg_put_i64(params, delete_of(call)->expected_version);
}

static int read_delete(struct pg_call *call)
{
	struct store_delete_action *req = delete_of(call);
	struct pg_row row = pg_rows(&call->queries[0]);
	int64_t version;

	if (!pg_row_next(&row)) /* gone; after a lost answer that is what we wanted */
		return call->is_again ? 0 : err_no_action(&req->req.err);
	version = pg_read_i64(&row);
	if (!pg_read_bool(&row))
		return err_version(&req->req.err, version, req->expected_version);
	pg_read_ids(&row, &req->ret_running, &req->ret_running_count);
	pg_tell_action(call->pg, &req->id);
	pg_tell_cancels(call->pg, req->ret_running, req->ret_running_count);
	return 0;
}

int pg_delete_action(void *db, struct store_delete_action *req, int64_t now_ms)
{
	static const struct pg_plan plan = {.place = PG_WRITES,
		.timeout_ms = DELETE_TIMEOUT_MS,
		.put = put_delete,
		.read = read_delete};

	return pg_call_start(db, &req->req, &plan);
}
