/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs on actions but create (pg_create.c). A definition is a row of its own, written once
 * under the version that made it; the small action row points to the current one. */
#include <stdlib.h>
#include <string.h>

#include "store/pg_store_priv.h"

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
	pg_put_paces(params, &req->action, 1);
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
