/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows to structs, in the order of the columns in pg_store_priv.h. */
#include <string.h>

#include "store/pg_store_priv.h"

void pg_read_stored_action(struct pg_row *row, struct stored_action *ret_row)
{
	const char *text;

	ret_row->id = pg_read_id(row);
	ret_row->version = pg_read_i64(row);
	ret_row->is_paused = pg_read_bool(row);
	ret_row->next_due_ms = pg_read_time(row);
	ret_row->created_at_ms = pg_read_time(row);
	ret_row->updated_at_ms = pg_read_time(row);
	ret_row->definition_version = pg_read_i64(row);
	text = pg_read_text(row);
	ret_row->text = xstrdup(text ? text : ""); /* one that is gone cannot be read either */
	ret_row->len = strlen(ret_row->text);
}

/* 0, the name's place; for one we do not know, which no CHECK lets in, the first. */
static int read_name(struct pg_row *row, const char *const names[])
{
	int index = name_index(names, pg_read_text(row));

	return index < 0 ? 0 : index;
}

static void read_run_facts(struct pg_row *row, struct run *run)
{
	run->id = pg_read_id(row);
	run->action_id = pg_read_id(row);
	run->action_version = pg_read_i64(row);
	run->action_name = xstrdup(pg_read_text(row));
	run->trigger = (enum run_trigger)read_name(row, run_trigger_names);
	run->due_at_ms = pg_read_time(row);
	run->state = (enum run_state)read_name(row, run_state_names);
	run->reason = (enum run_reason)read_name(row, run_reason_names);
	run->attempt = pg_read_int(row, 0);
	run->interruptions = pg_read_int(row, 0);
	run->epoch = pg_read_i64(row);
	run->instance_id = pg_read_id(row);
	run->priority = pg_read_int(row, 0);
}

void pg_read_run(struct pg_row *row, struct run *ret_run)
{
	memset(ret_run, 0, sizeof(*ret_run));
	read_run_facts(row, ret_run);
	ret_run->not_before_ms = pg_read_time(row);
	ret_run->created_at_ms = pg_read_time(row);
	ret_run->claimed_at_ms = pg_read_time(row);
	ret_run->started_at_ms = pg_read_time(row);
	ret_run->finished_at_ms = pg_read_time(row);
	ret_run->http_status = pg_read_int(row, 0);
	ret_run->exit_code = pg_read_int(row, -1);
	ret_run->error = xstrdup(pg_read_text(row));
	ret_run->output_bytes = pg_read_i64(row);
	ret_run->missed_count = pg_read_i64(row);
	ret_run->missed_until_ms = pg_read_time(row);
	ret_run->cancel_requested = pg_read_bool(row);
	ret_run->retry_of = pg_read_id(row);
	run_set_trace(ret_run, pg_read_text(row));
	ret_run->backfill = pg_read_i64(row);
}

void pg_read_run_event(struct pg_row *row, struct run *run)
{
	run->event = xstrdup(pg_read_text(row));
	run->payload = xstrdup(pg_read_text(row));
}

enum action_kind pg_read_kind(struct pg_row *row)
{
	return (enum action_kind)read_name(row, action_kind_names);
}

void pg_read_ids(struct pg_row *row, struct id **ids, size_t *count)
{
	struct pg_elements elements = pg_read_array(row);

	while (pg_element_next(&elements)) {
		struct id id = pg_element_id(&elements);

		ids_add(ids, count, &id);
	}
}

void pg_put_name(struct pg_params *params, const char *const names[], int index)
{
	pg_put_text(params, index < 0 ? NULL : names[index]);
}

void pg_put_kinds(struct pg_params *params)
{
	pg_array_begin(params, PG_TEXT);
	for (int kind = 0; kind < ACTION_KIND_COUNT; kind++)
		pg_array_text(params, action_kind_names[kind]);
	pg_array_end(params);
}

void pg_put_capacity(struct pg_params *params, const int capacity[static ACTION_KIND_COUNT])
{
	pg_array_begin(params, PG_I32);
	for (int kind = 0; kind < ACTION_KIND_COUNT; kind++)
		pg_array_i32(params, capacity[kind]);
	pg_array_end(params);
}
