/* SPDX-License-Identifier: Apache-2.0
 *
 * Beginning a backfill, or telling what one would run. The due times are counted here, on the loop,
 * so there is a limit to how many one may have; their runs are made by the scheduler
 * (sched/backfill.c). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/actions_priv.h"
#include "api/backfills_priv.h"
#include "base/mem.h"
#include "base/text.h"

#define RATE_DEFAULT "10/s"
#define OPEN_DEFAULT 10
#define SHOWN_MAX    10 /* due times of a preview */
#define PATH_SIZE    64

/* --- what is asked for --- */

struct wish {
	int64_t from_ms, to_ms, interval_ms;
	int max_open;
	enum backfill_rerun rerun;
	bool is_dry;
};

/* "10/s", "30/m", "5/h". */
static bool parse_rate(const char *text, int64_t *ret_interval_ms)
{
	const char *slash = text ? strchr(text, '/') : NULL;
	auto_free char *number = slash ? xstrndup(text, (size_t)(slash - text)) : NULL;
	int64_t count, unit_ms = 0;

	if (!slash || strlen(slash) != 2 || !parse_i64(number, 1, 1000000, &count))
		return false;
	if (slash[1] == 's')
		unit_ms = 1000;
	else if (slash[1] == 'm')
		unit_ms = 60000;
	else if (slash[1] == 'h')
		unit_ms = 3600000;
	*ret_interval_ms = unit_ms / count;
	return *ret_interval_ms >= BACKFILL_INTERVAL_MIN_MS;
}

static void read_time(
	const json_t *json, const char *name, int64_t *ret_at_ms, struct faults *faults)
{
	const char *text = json_string_value(json_object_get(json, name));
	auto_free char *pointer = xasprintf("/%s", name);

	if (!json_object_get(json, name))
		faults_add(faults, pointer, "is missing");
	else if (!text || !parse_rfc3339(text, ret_at_ms))
		faults_add(faults, pointer, "must be a time such as 2026-11-22T01:30:00Z");
}

static void read_options(const json_t *json, struct wish *wish, struct faults *faults)
{
	const json_t *rate = json_object_get(json, "rate"), *rerun = json_object_get(json, "rerun");
	const json_t *open = json_object_get(json, "max_running");
	const json_t *dry = json_object_get(json, "dry_run");
	int rerun_index = rerun ? name_index(backfill_rerun_names,
					  json_string_value(rerun) ? json_string_value(rerun) : "")
				: BACKFILL_RERUN_NONE;

	if (!parse_rate(rate ? json_string_value(rate) : RATE_DEFAULT, &wish->interval_ms))
		faults_add(faults, "/rate",
			"must be a number of runs a second, minute or hour such as \"10/s\", "
			"\"30/m\" or \"5/h\", at most 100/s");
	if (rerun_index < 0)
		faults_add(faults, "/rerun", "must be none, failed or all");
	wish->rerun = (enum backfill_rerun)rerun_index;
	if (open && (!json_is_integer(open) || json_integer_value(open) < 1 ||
			    json_integer_value(open) > BACKFILL_OPEN_MAX))
		faults_add(faults, "/max_running", "must be a whole number from 1 to %d",
			BACKFILL_OPEN_MAX);
	else
		wish->max_open = open ? (int)json_integer_value(open) : OPEN_DEFAULT;
	if (dry && !json_is_boolean(dry))
		faults_add(faults, "/dry_run", "must be true or false");
	wish->is_dry = json_is_true(dry);
}

static void check_members(const json_t *json, struct faults *faults)
{
	static const char *const known[] = {
		"from", "to", "rate", "max_running", "rerun", "dry_run", NULL};
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)json, key, value) if (name_index(known, key) < 0)
		faults_add(faults, "",
			"unknown member '%.48s'; from, to, rate, max_running, rerun and dry_run "
			"are known",
			key);
}

static void read_wish(const json_t *json, int64_t now_ms, struct wish *wish, struct faults *faults)
{
	if (!json_is_object(json)) {
		faults_add(faults, "", "must be an object such as {\"from\": ..., \"to\": ...}");
		return;
	}
	check_members(json, faults);
	read_time(json, "from", &wish->from_ms, faults);
	read_time(json, "to", &wish->to_ms, faults);
	read_options(json, wish, faults);
	if (faults->count > 0)
		return;
	if (wish->to_ms > now_ms)
		faults_add(faults, "/to",
			"lies in the future: a backfill is about due times that have been");
	if (wish->from_ms >= wish->to_ms)
		faults_add(faults, "/from", "must lie before 'to', which is not part of it");
}

/* --- the due times --- */

struct range {
	int64_t total, blacked_out;
	int64_t first_ms, last_ms; /* NO_TIME: none */
	json_t *shown;             /* owned */
};

static bool has_a_past(const struct action *action)
{
	return action_has_due_times(action) && schedule_kind(action->schedule) != SCHEDULE_AFTER;
}

/* What is still to be claimed is not the past: the cursor goes no further back. */
static void cut_at_cursor(struct wish *wish, const struct action *action)
{
	if (action->next_due_ms != NO_TIME && action->next_due_ms < wish->to_ms)
		wish->to_ms = action->next_due_ms;
}

/* False: there are too many. */
static bool find_range(const struct action *action, const struct wish *wish, struct range *range)
{
	struct due due;
	int64_t after_ms = wish->from_ms - 1;

	*range = (struct range){.first_ms = NO_TIME, .last_ms = NO_TIME, .shown = json_array()};
	if (wish->from_ms >= wish->to_ms)
		return true;
	range->total = schedule_count(action->schedule, wish->from_ms, wish->to_ms - 1);
	if (range->total > BACKFILL_TOTAL_MAX)
		return false;
	range->total = 0;
	while (schedule_next_due(action->schedule, after_ms, &due) && due.at_ms < wish->to_ms) {
		after_ms = due.at_ms;
		if (json_array_size(range->shown) < SHOWN_MAX)
			json_array_append_new(range->shown, due_to_json(&due));
		if (schedule_is_blacked_out(action->schedule, due.at_ms)) {
			range->blacked_out++;
			continue;
		}
		range->total++;
		range->last_ms = due.at_ms;
		if (range->first_ms == NO_TIME)
			range->first_ms = due.at_ms;
	}
	return true;
}

/* --- begin --- */

struct begin {
	struct action_find find;
	struct wish wish;
	struct range range;
	struct backfill backfill; /* strings owned */
	struct store_create_backfill create;
	bool is_started;
};

static void begin_fini(void *state)
{
	struct begin *begin = state;

	if (begin->is_started)
		store_create_backfill_fini(&begin->create);
	json_decref(begin->range.shown);
	backfill_fini(&begin->backfill);
	action_find_fini(&begin->find);
}

static void on_begun(struct store_req *req)
{
	struct begin *begin = container_of(req, struct begin, create.req);
	struct api_call *call = begin->find.call;
	const struct backfill *made = &begin->create.ret_backfill;
	char id[ID_TEXT_SIZE], path[PATH_SIZE];
	const char *const headers[] = {"Location", path, NULL};

	if (req->err.code != 0) {
		api_reply_err(call, &req->err);
		return;
	}
	if (call->api->sched)
		sched_backfill_soon(call->api->sched);
	(void)snprintf(path, sizeof(path), "/api/v1/backfills/%s", id_format(&made->id, id));
	api_reply_json(call, 202, backfill_json(made), headers);
}

static void reply_preview(struct begin *begin)
{
	const struct range *range = &begin->range;

	api_reply_json(begin->find.call, 200,
		json_pack("{s:b, s:s, s:o, s:o, s:I, s:I, s:o, s:o, s:O}", "dry_run", 1, "action",
			begin->find.get.ret_action->name, "from", json_time(begin->wish.from_ms),
			"to", json_time(begin->wish.to_ms), "total", (json_int_t)range->total,
			"blacked_out", (json_int_t)range->blacked_out, "first_due_at",
			json_time(range->first_ms), "last_due_at", json_time(range->last_ms),
			"items", range->shown),
		NULL);
}

static void begin_it(struct begin *begin, const struct action *action)
{
	begin->backfill = (struct backfill){
		.action_id = action->id,
		.action_name = xstrdup(action->name),
		.rerun = begin->wish.rerun,
		.seed = xstrdup(action->name),
		.schedule = json_dumps(action->schedule_json, JSON_WRITE_FLAGS),
		.from_ms = begin->wish.from_ms,
		.to_ms = begin->wish.to_ms,
		.cursor_ms = begin->range.first_ms,
		.total = begin->range.total,
		.interval_ms = begin->wish.interval_ms,
		.max_open = begin->wish.max_open,
	};
	begin->is_started = true;
	begin->create = (struct store_create_backfill){.backfill = &begin->backfill};
	store_create_backfill(begin->find.call->api->store, &begin->create, on_begun);
}

static void on_action_found(struct action_find *find)
{
	struct begin *begin = container_of(find, struct begin, find);
	const struct action *action = find->get.ret_action;
	struct api_call *call = find->call;

	if (!has_a_past(action)) {
		api_reply_problem(call, ERR_CONFLICT,
			"the schedule of '%s' has no due times in the past: only cron, every, at "
			"and rrule can be backfilled",
			action->name);
		return;
	}
	cut_at_cursor(&begin->wish, action);
	if (!find_range(action, &begin->wish, &begin->range))
		api_reply_problem(call, ERR_INVALID,
			"%" PRId64 " due times lie in this range; a backfill has at most %d: ask "
			"for a part of it",
			begin->range.total, BACKFILL_TOTAL_MAX);
	else if (begin->wish.is_dry)
		reply_preview(begin);
	else if (begin->range.total == 0)
		api_reply_problem(call, ERR_INVALID, "no due time lies in this range");
	else if (!call->api->store)
		api_reply_problem(call, ERR_UNAVAILABLE, "the service is stopping");
	else
		begin_it(begin, action);
}

void backfills_begin(struct api_call *call)
{
	struct begin *begin = api_call_state(call, sizeof(*begin), begin_fini);
	struct faults faults = {.count = 0};
	json_t *json;

	if (!api_read_json(call, api_json_types, &json))
		return;
	read_wish(json, sched_now_ms(call->api->sched), &begin->wish, &faults);
	json_decref(json);
	if (faults.count > 0)
		api_reply_faults(call, &faults);
	else
		action_find(&begin->find, call, call->param, on_action_found);
}
