/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs on actions. A definition is a row of its own, written once under the version that made
 * it; the small action row points to the current one. */
#include <stdlib.h>
#include <string.h>

#include "store/sqlite_priv.h"

/* --- writing --- */

static void put_copies(struct statement *st, const struct action *action)
{
	put_text(st, action_kind_names[action->kind]);
	put_text(st, overlap_names[action->overlap]);
	put_i64(st, action_pending_limit(action));
	put_i64(st, action->max_concurrent);
	put_i64(st, action->priority);
	put_i64(st, action_has_due_times(action));
	put_i64(st, action_runs_on_start(action));
}

static int insert_definition(
	struct conn *conn, const struct id *id, int64_t version, const char *text, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_DEFINITION_INSERT);

	put_id(&st, id);
	put_i64(&st, version);
	put_text(&st, text);
	return statement_run(&st, err);
}

static int insert_tags(
	struct conn *conn, const struct id *id, const struct action *action, struct err *err)
{
	for (char **tag = action->tags; *tag; tag++) {
		struct statement st = statement_start(conn, QUERY_TAG_INSERT);

		put_id(&st, id);
		put_text(&st, *tag);
		if (statement_run(&st, err) < 0)
			return err->code;
	}
	return 0;
}

/* Which event starts it. */
static int write_subscription(
	struct conn *conn, const struct id *id, const struct action *action, struct err *err)
{
	struct statement st;

	if (!action_event(action))
		return run_by_id(conn, QUERY_SUBSCRIPTION_DELETE, id, err);
	st = statement_start(conn, QUERY_SUBSCRIPTION_PUT);
	put_id(&st, id);
	put_text(&st, action_event(action));
	return statement_run(&st, err);
}

static int event_of(void *data, const char *name, char **ret_event, struct err *err)
{
	struct statement st = statement_start(data, QUERY_SUBSCRIPTION_OF_NAME);
	int status;

	put_text(&st, name);
	status = statement_step(&st, err);
	if (status > 0)
		*ret_event = read_text(&st);
	statement_end(&st);
	return status < 0 ? status : 0;
}

/* Which rule a row broke decides what to tell. */
static int fail_write(const struct statement *st, const struct action *action, struct err *err)
{
	if (st->rc == SQLITE_CONSTRAINT_UNIQUE)
		return err_name_taken(err, action->name);
	if (st->rc == SQLITE_CONSTRAINT_PRIMARYKEY)
		return err_id_taken(err);
	return err->code;
}

static int insert_action(struct conn *conn, const struct id *id, const struct action *action,
	int64_t now_ms, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_ACTION_INSERT);

	put_id(&st, id);
	put_text(&st, action->name);
	put_i64(&st, action->is_paused);
	put_time(&st, action->next_due_ms);
	put_copies(&st, action);
	put_i64(&st, now_ms);
	return statement_run(&st, err) < 0 ? fail_write(&st, action, err) : 0;
}

static int create_one(
	struct conn *conn, struct store_create_actions *req, size_t index, int64_t now_ms)
{
	struct store_scratch *scratch = req->req.scratch;
	const struct action *action = req->actions[index];
	const struct id *id = &scratch->ids[index];
	struct err *err = &req->req.err;

	if (insert_action(conn, id, action, now_ms, err) < 0 ||
		insert_definition(conn, id, 1, scratch->texts[index], err) < 0 ||
		write_subscription(conn, id, action, err) < 0 ||
		pace_write(conn, id, action, err) < 0 ||
		care_write(conn, id, action, action->is_paused, now_ms, err) < 0 ||
		insert_tags(conn, id, action, err) < 0)
		return err->code;
	*scratch_add_row(scratch) = (struct stored_action){
		.id = *id,
		.version = 1,
		.is_paused = action->is_paused,
		.next_due_ms = action->next_due_ms,
		.created_at_ms = now_ms,
		.updated_at_ms = now_ms,
	};
	return 0;
}

int sqlite_create_actions(void *data, struct store_create_actions *req, int64_t now_ms)
{
	struct sqlite_db *db = data;

	for (size_t i = 0; i < req->count; i++)
		if (create_one(&db->writer, req, i, now_ms) < 0) {
			req->ret_index = i;
			return req->req.err.code;
		}
	for (size_t i = 0; i < req->count; i++)
		if (chain_check(req->actions[i], event_of, &db->writer, &req->req.err) < 0) {
			req->ret_index = i;
			return req->req.err.code;
		}
	return 0;
}

/* --- reading --- */

static int read_first(struct statement *st, struct store_scratch *scratch, struct err *err)
{
	int status = statement_step(st, err);

	if (status > 0)
		read_stored_action(st, scratch_add_row(scratch));
	statement_end(st);
	if (status == 0)
		return err_no_action(err);
	return status < 0 ? status : 0;
}

int sqlite_get_action(void *data, struct store_get_action *req, int64_t now_ms)
{
	struct sqlite_db *db = data;
	struct statement st =
		statement_start(&db->reader, req->name ? QUERY_ACTION_BY_NAME : QUERY_ACTION_BY_ID);

	if (req->name)
		put_text(&st, req->name);
	else
		put_id(&st, &req->id);
	return read_first(&st, req->req.scratch, &req->req.err);
}

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

static const char *name_or_null(const char *const names[], int index)
{
	return index < 0 ? NULL : names[index];
}

static void put_action_filter(
	struct statement *st, const struct store_list_actions *req, const char *pattern)
{
	put_text(st, pattern);
	put_text(st, name_or_null(action_kind_names, req->kind));
	put_text(st, name_or_null(action_state_names, req->state));
	put_text(st, req->tag);
	put_i64(st, req->on_start);
}

static int count_actions(struct conn *conn, struct store_list_actions *req, const char *pattern)
{
	struct statement st = statement_start(conn, QUERY_ACTION_COUNT);

	put_text(&st, "");
	put_action_filter(&st, req, pattern);
	return statement_i64(&st, &req->ret_total, &req->req.err);
}

/* Reads up to `limit` rows into the scratch; one more only tells that there are more. */
static int read_page(struct statement *st, struct store_scratch *scratch, int limit,
	bool *ret_has_more, struct err *err)
{
	int status;

	while ((status = statement_step(st, err)) > 0) {
		if (scratch->row_count == (size_t)limit) {
			*ret_has_more = true;
			break;
		}
		read_stored_action(st, scratch_add_row(scratch));
	}
	statement_end(st);
	return status < 0 ? status : 0;
}

int sqlite_list_actions(void *data, struct store_list_actions *req, int64_t now_ms)
{
	struct sqlite_db *db = data;
	auto_free char *pattern = req->name_part ? like_pattern(req->name_part) : NULL;
	struct statement st;

	if (req->want_total && count_actions(&db->lister, req, pattern) < 0)
		return req->req.err.code;
	st = statement_start(&db->lister, QUERY_ACTION_LIST);
	put_text(&st, req->after_name ? req->after_name : "");
	put_action_filter(&st, req, pattern);
	put_i64(&st, (int64_t)req->limit + 1);
	return read_page(&st, req->req.scratch, req->limit, &req->ret_has_more, &req->req.err);
}

/* --- changing --- */

static int load_row(struct conn *conn, const struct id *id, int64_t expected,
	struct stored_action *ret_row, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_ACTION_ROW);
	int status;

	put_id(&st, id);
	status = statement_step(&st, err);
	if (status > 0) {
		*ret_row = (struct stored_action){.id = read_id(&st)};
		ret_row->version = read_i64(&st);
		ret_row->is_paused = read_i64(&st) != 0;
		ret_row->next_due_ms = read_time(&st);
		ret_row->created_at_ms = read_i64(&st);
		ret_row->updated_at_ms = read_i64(&st);
		ret_row->definition_version = read_i64(&st);
	}
	statement_end(&st);
	if (status == 0)
		return err_no_action(err);
	if (status > 0 && expected != 0 && expected != ret_row->version)
		return err_version(err, ret_row->version, expected);
	return status < 0 ? status : 0;
}

static int write_replacement(
	struct conn *conn, const struct store_replace_action *req, int64_t now_ms, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_ACTION_REPLACE);

	put_id(&st, &req->id);
	put_text(&st, req->action->name);
	put_time(&st, req->action->next_due_ms);
	put_copies(&st, req->action);
	put_i64(&st, now_ms);
	put_i64(&st, req->keeps_cursor);
	return statement_run(&st, err) < 0 ? fail_write(&st, req->action, err) : 0;
}

int sqlite_replace_action(void *data, struct store_replace_action *req, int64_t now_ms)
{
	struct conn *conn = &((struct sqlite_db *)data)->writer;
	struct store_scratch *scratch = req->req.scratch;
	struct err *err = &req->req.err;
	struct stored_action row = {0};

	if (load_row(conn, &req->id, req->expected_version, &row, err) < 0 ||
		write_replacement(conn, req, now_ms, err) < 0 ||
		insert_definition(conn, &req->id, row.version + 1, scratch->texts[0], err) < 0 ||
		run_by_id(conn, QUERY_DEFINITIONS_FORGET, &req->id, err) < 0 ||
		run_by_id(conn, QUERY_TAGS_DELETE, &req->id, err) < 0 ||
		insert_tags(conn, &req->id, req->action, err) < 0 ||
		write_subscription(conn, &req->id, req->action, err) < 0 ||
		(!req->keeps_cursor && pace_write(conn, &req->id, req->action, err) < 0) ||
		care_write(conn, &req->id, req->action, row.is_paused, now_ms, err) < 0 ||
		chain_check(req->action, event_of, conn, err) < 0)
		return err->code;
	row.version++;
	if (!req->keeps_cursor)
		row.next_due_ms = req->action->next_due_ms;
	row.updated_at_ms = now_ms;
	*scratch_add_row(scratch) = row;
	return 0;
}

int sqlite_pause_action(void *data, struct store_pause_action *req, int64_t now_ms)
{
	struct conn *conn = &((struct sqlite_db *)data)->writer;
	struct err *err = &req->req.err;
	struct stored_action row = {0};
	struct statement st;

	if (load_row(conn, &req->id, req->expected_version, &row, err) < 0)
		return err->code;
	if (row.is_paused != req->is_paused) {
		st = statement_start(conn, QUERY_ACTION_PAUSE);
		put_id(&st, &req->id);
		put_i64(&st, req->is_paused);
		put_time(&st, req->next_due_ms);
		put_i64(&st, now_ms);
		if (statement_run(&st, err) < 0 ||
			care_paused(conn, &req->id, req->is_paused, now_ms, err) < 0)
			return err->code;
	}
	st = statement_start(conn, QUERY_ACTION_BY_ID);
	put_id(&st, &req->id);
	return read_first(&st, req->req.scratch, err);
}

static int note_running(struct conn *conn, struct store_delete_action *req)
{
	struct statement st = statement_start(conn, QUERY_RUNNING_IDS);
	int status;

	put_id(&st, &req->id);
	while ((status = statement_step(&st, &req->req.err)) > 0) {
		struct id id = read_id(&st);

		ids_add(&req->ret_running, &req->ret_running_count, &id);
	}
	statement_end(&st);
	return status;
}

/* What is open goes at once, of the rest a batch. */
static int delete_ledger(struct conn *conn, const struct id *id, int64_t now_ms, struct err *err)
{
	struct statement st;
	int64_t removed = 0;

	if (run_by_id(conn, QUERY_OPEN_DELETE, id, err) < 0 ||
		run_by_id(conn, QUERY_HELD_DELETE, id, err) < 0 ||
		drop_ledger(conn, id, DELETE_BATCH, &removed, err) < 0)
		return err->code;
	st = statement_start(conn, QUERY_REMOVED_PUT);
	put_id(&st, id);
	put_i64(&st, now_ms);
	return statement_run(&st, err);
}

int sqlite_delete_action(void *data, struct store_delete_action *req, int64_t now_ms)
{
	struct conn *conn = &((struct sqlite_db *)data)->writer;
	struct err *err = &req->req.err;
	struct stored_action row = {0};

	if (load_row(conn, &req->id, req->expected_version, &row, err) < 0 ||
		note_running(conn, req) < 0 || delete_ledger(conn, &req->id, now_ms, err) < 0)
		return err->code;
	return run_by_id(conn, QUERY_ACTION_DELETE, &req->id, err);
}
