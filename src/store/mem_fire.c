/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs that no due time asked for, in memory: manual ones and those that events start. */
#include <stdlib.h>
#include <string.h>

#include "store/mem_priv.h"

/* Where the ids of runs to end now go. */
struct ending_ids {
	struct id **ids;
	size_t *count;
};

/* Not the cursor itself either: that due time is still to be claimed. */
static int64_t free_due(const struct mem_action *owner, int64_t now_ms)
{
	int64_t due_at_ms = now_ms;

	while (due_at_ms == owner->action->next_due_ms || mem_has_due(owner, due_at_ms))
		due_at_ms++;
	return due_at_ms;
}

/* The run as it is to begin; its id, trigger, trace and strings are in `given`. */
static struct mem_run *fire(struct mem *mem, struct mem_action *owner, struct due_fate fate,
	const struct run *given, const struct ending_ids *cancel, int64_t now_ms)
{
	struct planned_due due = {.due_at_ms = free_due(owner, now_ms), .count = 1};
	struct run run;

	if (fate.makes_room)
		mem_make_room(mem->rows, owner, now_ms, cancel->ids, cancel->count);
	run_init(&run, &given->id, &due, now_ms);
	run.trigger = given->trigger;
	run.retry_of = given->retry_of;
	run_set_trace(&run, given->traceparent);
	run.event = xstrdup(given->event);
	run.payload = xstrdup(given->payload);
	run_settle(&run, &fate, &mem->instance_id, now_ms);
	return mem_insert_run(mem->rows, owner, &run);
}

static struct due_fate decide(const struct mem_action *owner, bool is_paused)
{
	const struct action *action = owner->action;
	struct overlap_rules rules = {action->overlap, action_pending_limit(action), is_paused};
	struct open_runs open = mem_count_open(owner);

	return due_decide(&rules, DUE_RUN, &open, false);
}

/* What an event brought to `from`, for the run that repeats it. */
static void copy_event(struct mem_run *to, const struct mem_run *from)
{
	to->run.event = xstrdup(from->run.event);
	to->run.payload = xstrdup(from->run.payload);
	to->event_id = from->event_id;
	to->depth = from->depth;
}

/* So many runs wait for their turn? 0: any number may. */
static bool queue_is_full(const struct mem_db *rows, int queued_max)
{
	int waiting = 0;

	list_for_each (node, &rows->open_runs) {
		const struct run *run = &list_entry(node, struct mem_run, open_of_all)->run;

		waiting += run->state == RUN_PENDING && run->not_before_ms == NO_TIME;
	}
	return queued_max > 0 && waiting >= queued_max;
}

int mem_trigger(void *db, struct store_trigger *req, int64_t now_ms)
{
	struct mem *mem = db;
	struct mem_action *owner = sorted_get(&mem->rows->actions_by_id, &req->action_id);
	struct run given = {
		.id = *scratch_next_id(req->req.scratch),
		.trigger = id_is_zero(&req->retry_of) ? TRIGGER_MANUAL : TRIGGER_RETRY,
		.retry_of = req->retry_of,
	};
	const struct ending_ids cancel = {&req->ret_cancel, &req->ret_cancel_count};
	const struct mem_run *original = sorted_get(&mem->rows->runs, &req->retry_of);
	struct due_fate fate;
	struct mem_run *run;

	if (!owner)
		return err_no_action(&req->req.err);
	if (queue_is_full(mem->rows, req->queued_max))
		return err_server_full(&req->req.err, req->queued_max);
	run_set_trace(&given, req->traceparent);
	fate = decide(owner, false);
	if (fate.reason == REASON_LIMIT)
		return err_queue_full(&req->req.err, action_pending_limit(owner->action));
	run = fire(mem, owner, fate, &given, &cancel, now_ms);
	if (original)
		copy_event(run, original);
	mem_copy_run(run, &req->ret_run);
	return 0;
}

/* --- events --- */

struct delivery {
	struct id event_id;
	char *name, *payload;    /* borrowed */
	const char *traceparent; /* NULL: none */
	int depth;
	int64_t now_ms;
	/* of an alert: who waits for it from any action, who is named for it, whom it is about */
	const char *any, *hook;
	const struct mem_action *about;
	struct ending_ids cancel;
	void (*made)(const struct mem_run *run, void *data); /* may be NULL */
	void *data;
};

static bool waits_for(const struct mem_action *owner, const struct delivery *delivery)
{
	const char *waits = action_event(owner->action);

	if (owner == delivery->about)
		return false;
	if (delivery->hook && strcmp(delivery->hook, owner->action->name) == 0)
		return true;
	return waits && (strcmp(waits, delivery->name) == 0 ||
				(delivery->any && strcmp(waits, delivery->any) == 0));
}

static void deliver_to(struct mem *mem, struct mem_action *owner, const struct delivery *delivery)
{
	struct run given = {
		.id = id_derive(&delivery->event_id, &owner->action->id, delivery->now_ms),
		.trigger = TRIGGER_EVENT,
		.event = delivery->name,
		.payload = delivery->payload,
	};
	struct due_fate fate = {.state = RUN_SKIPPED, .reason = REASON_LIMIT};
	struct mem_run *run;

	run_set_trace(&given, delivery->traceparent);
	if (delivery->depth <= CHAIN_MAX)
		fate = decide(owner, owner->action->is_paused);
	run = fire(mem, owner, fate, &given, &delivery->cancel, delivery->now_ms);
	run->event_id = delivery->event_id;
	run->depth = delivery->depth;
	if (delivery->made)
		delivery->made(run, delivery->data);
}

/* Returns how many runs it made. */
static size_t deliver(struct mem *mem, const struct delivery *delivery)
{
	const struct sorted *all = &mem->rows->actions_by_id;
	size_t count = 0;

	for (size_t i = 0; i < all->count; i++)
		if (waits_for(all->items[i], delivery)) {
			deliver_to(mem, all->items[i], delivery);
			count++;
		}
	return count;
}

static void keep_run(const struct mem_run *run, void *data)
{
	struct store_send_event *req = data;
	struct run *copy;

	req->ret_runs = xrealloc(req->ret_runs, req->ret_count + 1, sizeof(*req->ret_runs));
	copy = &req->ret_runs[req->ret_count++];
	mem_copy_run(run, copy);
	free(take_ptr(copy->payload));
}

static struct mem_event_key *find_key(const struct mem_db *rows, const struct store_send_event *req)
{
	for (size_t i = 0; i < rows->event_key_count; i++)
		if (strcmp(rows->event_keys[i].name, req->name) == 0 &&
			strcmp(rows->event_keys[i].key, req->key) == 0)
			return &rows->event_keys[i];
	return NULL;
}

/* With this key, within the window. */
static bool has_come(const struct mem_db *rows, const struct store_send_event *req, int64_t now_ms)
{
	const struct mem_event_key *key = req->key ? find_key(rows, req) : NULL;

	return key && key->sent_at_ms > now_ms - req->window_ms;
}

/* True when this is the first of its key within the window. */
static bool note_key(struct mem_db *rows, struct store_send_event *req, int64_t now_ms)
{
	struct mem_event_key *key = find_key(rows, req);

	if (has_come(rows, req, now_ms)) {
		req->ret_event_id = key->event_id;
		return false;
	}
	if (!key) {
		rows->event_keys = grow_array(rows->event_keys, rows->event_key_count,
			&rows->event_key_room, sizeof(*rows->event_keys));
		key = &rows->event_keys[rows->event_key_count++];
		key->name = xstrdup(req->name);
		key->key = xstrdup(req->key);
	}
	key->event_id = req->ret_event_id;
	key->sent_at_ms = now_ms;
	return true;
}

int mem_send_event(void *db, struct store_send_event *req, int64_t now_ms)
{
	struct mem *mem = db;
	const struct sorted *runs = &mem->rows->runs;
	const struct delivery delivery = {
		.event_id = *scratch_next_id(req->req.scratch),
		.name = (char *)req->name,
		.payload = (char *)req->payload,
		.traceparent = req->traceparent,
		.now_ms = now_ms,
		.cancel = {&req->ret_cancel, &req->ret_cancel_count},
		.made = keep_run,
		.data = req,
	};

	req->ret_event_id = delivery.event_id;
	if (queue_is_full(mem->rows, req->queued_max) && !has_come(mem->rows, req, now_ms))
		return err_server_full(&req->req.err, req->queued_max);
	req->ret_is_duplicate = req->key && !note_key(mem->rows, req, now_ms);
	if (!req->ret_is_duplicate) {
		(void)deliver(mem, &delivery);
		return 0;
	}
	for (size_t i = 0; i < runs->count; i++)
		if (id_equal(&((struct mem_run *)runs->items[i])->event_id, &req->ret_event_id))
			keep_run(runs->items[i], req);
	return 0;
}

size_t mem_tell_alert(struct mem *mem, const struct mem_action *about, const struct mem_news *news,
	int64_t now_ms)
{
	auto_free char *name = alert_event_name(news->alert, about->action->name);
	const struct delivery delivery = {
		.event_id = news->event_id,
		.name = name,
		.payload = news->payload,
		.traceparent = news->traceparent,
		.depth = news->depth,
		.now_ms = now_ms,
		.any = alert_of_any(news->alert),
		.hook = about->action->hooks[news->alert],
		.about = about,
		.cancel = {news->cancel, news->cancel_count},
	};

	return deliver(mem, &delivery);
}

/* What the end makes of its action. */
static size_t announce_care(struct mem *mem, const struct mem_run *run, const struct run *ended,
	const struct ending_ids *cancel, int64_t now_ms)
{
	auto_free char *payload = NULL;
	struct mem_news news = {
		.event_id = id_derive(&ended->action_id, &ended->id, now_ms),
		.traceparent = ended->traceparent,
		.depth = run->depth + 1,
		.cancel = cancel->ids,
		.cancel_count = cancel->count,
	};

	if (!mem_care_ended(mem->rows, run->owner, ended->state, now_ms, &news.alert))
		return 0;
	payload = alert_payload(news.alert, ended);
	news.payload = payload;
	return mem_tell_alert(mem, run->owner, &news, now_ms);
}

size_t mem_announce_end(struct mem *mem, const struct mem_run *run, struct id **cancel,
	size_t *cancel_count, int64_t now_ms)
{
	struct run ended;
	auto_free char *name = NULL, *payload = NULL;
	struct delivery delivery = {
		.event_id = id_derive(&run->run.id, &run->run.action_id, now_ms),
		.depth = run->depth + 1,
		.traceparent = run->run.traceparent,
		.now_ms = now_ms,
		.cancel = {cancel, cancel_count},
	};
	size_t count = 0;

	mem_copy_run(run, &ended);
	name = run_event_name(&ended);
	if (name) {
		payload = run_event_payload(&ended);
		delivery.name = name;
		delivery.payload = payload;
		count = deliver(mem, &delivery);
		count += announce_care(mem, run, &ended, &delivery.cancel, now_ms);
	}
	run_fini(&ended);
	return count;
}

/* --- the start of the service --- */

static void fire_start(struct mem *mem, struct store_boot *req, size_t index, int64_t now_ms)
{
	const struct boot_item *item = &req->items[index];
	struct mem_action *owner = sorted_get(&mem->rows->actions_by_id, &item->action->id);
	const struct run given = {.id = req->req.scratch->ids[index], .trigger = TRIGGER_START};
	const struct ending_ids cancel = {&req->ret_cancel, &req->ret_cancel_count};
	struct due_fate fate = {.state = RUN_SKIPPED, .reason = REASON_BLACKOUT};

	if (!owner)
		return;
	if (owner->action->is_paused)
		fate.reason = REASON_PAUSED;
	else if (owner->runs_left != NO_TIME && owner->runs_left <= 0)
		fate.reason = REASON_LIMIT;
	else if (item->verdict == DUE_RUN)
		fate = decide(owner, false);
	(void)fire(mem, owner, fate, &given, &cancel, now_ms);
	req->ret_skipped += fate.state == RUN_SKIPPED;
	if (fate.state == RUN_SKIPPED)
		return;
	req->ret_queued++;
	mem_pace_claimed(owner, 1, now_ms);
}

int mem_boot(void *db, struct store_boot *req, int64_t now_ms)
{
	req->ret_answer = req->is_running ? BOOT_RUNNING : BOOT_STARTED;
	for (size_t i = 0; i < req->count && !req->is_running; i++)
		fire_start(db, req, i, now_ms);
	return 0;
}

void mem_event_keys_fini(struct mem_db *rows)
{
	for (size_t i = 0; i < rows->event_key_count; i++) {
		free(rows->event_keys[i].name);
		free(rows->event_keys[i].key);
	}
	free(rows->event_keys);
}

/* --- schedules that depend on what their runs do --- */

static bool has_pace(const struct mem_action *row, struct schedule_pace *ret_pace)
{
	return row->action->schedule && schedule_pace(row->action->schedule, ret_pace);
}

void mem_pace_reset(struct mem_action *row)
{
	struct schedule_pace pace;

	row->runs_left = has_pace(row, &pace) && pace.max_runs > 0 ? pace.max_runs : NO_TIME;
}

void mem_pace_claimed(struct mem_action *row, int64_t made, int64_t now_ms)
{
	struct schedule_pace pace;

	if (!has_pace(row, &pace))
		return;
	if (row->runs_left != NO_TIME)
		row->runs_left -= made;
	if (row->runs_left != NO_TIME && row->runs_left <= 0)
		mem_move_cursor(row, NO_TIME);
	else if (pace.every_after_ms > 0 && made == 0)
		mem_move_cursor(row, pace_next(&pace, now_ms));
}

bool mem_pace_ended(struct mem_action *row, int64_t now_ms)
{
	struct schedule_pace pace;

	if (!has_pace(row, &pace) || pace.every_after_ms == 0 || row->action->is_paused ||
		row->action->next_due_ms == NO_TIME)
		return false;
	mem_move_cursor(row, pace_next(&pace, now_ms));
	return true;
}
