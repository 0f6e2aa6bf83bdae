/* SPDX-License-Identifier: Apache-2.0
 *
 * Retention, deadlines and how an action fares, in memory: the reference for the SQL of the others.
 * They note how an action fares only where somebody asks for it; so does this. */
#include <stdlib.h>
#include <string.h>

#include "store/mem_priv.h"

void mem_care_write(struct mem_action *row, int64_t old_expect_ms, int64_t now_ms)
{
	const struct action *action = row->action;

	care_expect(
		&row->care, old_expect_ms, action->expect_success_ms, action->is_paused, now_ms);
}

static bool has_listener(const struct mem_db *rows)
{
	for (size_t i = 0; i < rows->actions_by_id.count; i++) {
		const struct mem_action *row = rows->actions_by_id.items[i];
		const char *event = action_event(row->action);

		if (event && strncmp(event, RUN_EVENT_PREFIX, strlen(RUN_EVENT_PREFIX)) == 0)
			return true;
	}
	return false;
}

bool mem_care_ended(struct mem_db *rows, struct mem_action *row, enum run_state state,
	int64_t now_ms, enum alert *ret_alert)
{
	const struct action *action = row->action;

	if ((state == RUN_FAILED || state == RUN_TIMED_OUT) &&
		!care_is_told(action->expect_success_ms, action->hooks) && !has_listener(rows))
		return false;
	return care_ended(
		&row->care, state, action->expect_success_ms, action->is_paused, now_ms, ret_alert);
}

int mem_get_cares(void *db, struct store_get_cares *req, int64_t now_ms)
{
	const struct mem_db *rows = ((struct mem *)db)->rows;

	for (size_t i = 0; i < req->count; i++) {
		const struct mem_action *row =
			sorted_get(&rows->actions_by_id, &req->actions[i]->id);
		struct action_care *ret = &req->ret_cares[i];

		if (!row)
			continue;
		ret->care = row->care;
		for (int alert = 0; alert < ALERT_COUNT; alert++) {
			const char *hook = row->action->hooks[alert];

			if (hook && !sorted_get(&rows->actions_by_name, hook))
				ret->missing_hooks |= 1u << alert;
		}
	}
	return 0;
}

/* --- lapse --- */

static void tell_late(
	struct mem *mem, struct mem_action *row, struct store_lapse *req, int64_t now_ms)
{
	auto_free char *payload = late_payload(
		row->action->name, row->care.deadline_ms, row->action->expect_success_ms);
	const struct mem_news news = {
		.alert = ALERT_LATE,
		.event_id = id_derive(&row->action->id, &row->action->id, now_ms),
		.payload = payload,
		.depth = 1,
		.cancel = &req->ret_cancel,
		.cancel_count = &req->ret_cancel_count,
	};

	row->care.deadline_ms = NO_TIME;
	row->care.late_since_ms = now_ms;
	req->ret_count++;
	(void)mem_tell_alert(mem, row, &news, now_ms);
}

int mem_lapse(void *db, struct store_lapse *req, int64_t now_ms)
{
	struct mem *mem = db;
	const struct sorted *all = &mem->rows->actions_by_id;

	req->ret_now_ms = now_ms;
	req->ret_next_ms = req->ret_renew_ms = NO_TIME;
	for (size_t i = 0; i < all->count; i++) {
		struct mem_action *row = all->items[i];
		int64_t deadline_ms = row->care.deadline_ms;

		if (deadline_ms == NO_TIME)
			continue;
		if (deadline_ms <= now_ms && req->ret_count < req->limit)
			tell_late(mem, row, req, now_ms);
		else if (req->ret_next_ms == NO_TIME || deadline_ms < req->ret_next_ms)
			req->ret_next_ms = deadline_ms;
	}
	for (size_t i = 0; i < all->count; i++) {
		const struct mem_action *row = all->items[i];
		int64_t expect_ms = row->action->expect_success_ms;

		if (row->care.late_since_ms != NO_TIME &&
			(req->ret_renew_ms == NO_TIME || expect_ms < req->ret_renew_ms))
			req->ret_renew_ms = expect_ms;
	}
	return 0;
}

/* --- retain --- */

static int64_t ended_at_ms(const struct run *run)
{
	return run->finished_at_ms != NO_TIME ? run->finished_at_ms : run->created_at_ms;
}

/* How many runs of the action are newer. */
static int64_t newer_count(const struct mem_run *run)
{
	int64_t count = 0;

	list_for_each (node, &run->owner->runs)
		count += id_compare(&list_entry(node, struct mem_run, of_action)->run.id,
				 &run->run.id) > 0;
	return count;
}

static bool may_go(const struct mem_run *run, const struct retention *server, int64_t now_ms)
{
	const struct retention *own = &run->owner->action->retention;
	int64_t age_ms = own->age_ms > 0 ? own->age_ms : server->age_ms;
	int count = own->count > 0 ? own->count : server->count;
	int64_t ended_ms = ended_at_ms(&run->run), newer = newer_count(run);

	if (!run_state_is_final(run->run.state) || newer == 0)
		return false;
	return (age_ms > 0 && ended_ms < now_ms - age_ms) ||
	       (count > 0 && newer >= count && ended_ms < now_ms - RETAIN_YOUNG_MS);
}

static void retain_action(
	struct mem_db *rows, struct mem_action *row, struct store_retain *req, int64_t now_ms)
{
	list_for_each (node, &row->runs) {
		struct mem_run *run = list_entry(node, struct mem_run, of_action);

		if (req->ret_removed >= req->limit)
			return;
		if (!may_go(run, &req->server, now_ms))
			continue;
		mem_run_destroy(rows, run);
		req->ret_removed++;
	}
}

/* Attempts come with their runs, oldest first: near enough to the order of their ends. */
static void retain_output(struct mem_db *rows, struct store_retain *req)
{
	int64_t excess = -req->output_bytes;

	for (size_t i = 0; i < rows->runs.count; i++) {
		const struct mem_run *run = rows->runs.items[i];

		for (size_t a = 0; a < run->attempt_count; a++)
			excess += (int64_t)run->attempts[a].len;
	}
	for (size_t i = 0; i < rows->runs.count; i++) {
		struct mem_run *run = rows->runs.items[i];

		for (size_t a = 0; a < run->attempt_count; a++) {
			struct mem_attempt *attempt = &run->attempts[a];

			if (excess <= 0 || attempt->len == 0 || req->ret_outputs >= req->limit)
				continue;
			excess -= (int64_t)attempt->len;
			free(take_ptr(attempt->output));
			attempt->len = 0;
			req->ret_outputs++;
		}
	}
}

int mem_retain(void *db, struct store_retain *req, int64_t now_ms)
{
	struct mem_db *rows = ((struct mem *)db)->rows;
	const struct sorted *all = &rows->actions_by_id;
	int seen = 0;

	req->ret_after = req->after;
	for (size_t i = 0; i < all->count; i++) {
		struct mem_action *row = all->items[i];

		if (id_compare(&row->action->id, &req->after) <= 0)
			continue;
		if (seen++ == req->actions_max)
			return 0;
		retain_action(rows, row, req, now_ms);
		if (req->ret_removed >= req->limit)
			return 0;
		req->ret_after = row->action->id;
	}
	if (seen == req->actions_max)
		return 0;
	if (req->output_bytes > 0)
		retain_output(rows, req);
	req->ret_is_done = req->ret_outputs < req->limit;
	return 0;
}
