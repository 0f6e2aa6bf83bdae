/* SPDX-License-Identifier: Apache-2.0
 *
 * backfill: a duty. A round lists the backfills that are not over and takes each one step further:
 * works out its next due times, by the schedule as it was asked for, and lets the store make their
 * runs and move the cursor in one transaction. How many is bounded by its rate, and by how many of
 * its runs are open; what has not been made is not in anybody's way. Nothing is remembered between
 * two rounds, so whoever does the next one goes on where this one stopped.
 *
 * A round is early when a run of a backfill has ended here: it may have been waited for. With no
 * backfill there are few rounds; who asks for one tells it as a change of its action. */
#include "sched/sched_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "store/backfill.h"

#define PERIOD_MS  5000 /* while there is one: its action may be resumed, a blackout end */
#define WAITING_MS 500  /* the same for a run that has ended elsewhere */
#define ROUND_MS   100  /* a high rate makes several runs in a round */
#define DUES_MAX   500  /* looked at in one transaction */
#define PAGE_MAX   100  /* backfills listed at a time */

struct backfills {
	struct sched *sched;
	struct sched_duty duty;
	struct store_list_backfills list; /* a page of a round */
	size_t next;                      /* of the list */
	int64_t listed;                   /* in this round */
	struct store_advance_backfill advance;
	int64_t dues[DUES_MAX];
	int64_t again_ms; /* until the next round; NO_TIME: nobody needs one */
	bool has_failed;  /* the list is not known */
};

static void step(struct backfills *all);

static void want_in(struct backfills *all, int64_t in_ms)
{
	if (all->again_ms == NO_TIME || in_ms < all->again_ms)
		all->again_ms = in_ms;
}

static void end_round(struct backfills *all)
{
	want_in(all, all->listed > 0 || all->has_failed ? PERIOD_MS : duty_rest_ms(all->sched));
	if (!all->has_failed && !all->list.ret_has_more)
		metrics.backfills_running = all->listed;
	store_list_backfills_fini(&all->list);
	sched_duty_done(&all->duty, all->again_ms);
}

static struct schedule *read_schedule(const struct backfill *backfill)
{
	struct faults faults = {.count = 0};
	struct schedule *schedule = NULL;
	struct err err = {0};
	json_t *json = NULL;

	if (json_from_text(backfill->schedule, strlen(backfill->schedule), &json, &err) == 0)
		(void)schedule_from_json(json, "", backfill->seed, &schedule, &faults);
	if (!schedule)
		log_error("the schedule of a backfill cannot be read; cancel it",
			kv_id("backfill", &backfill->id),
			kv_str("error", err.code ? err.text : faults.item[0].detail));
	json_decref(json);
	return schedule;
}

/* Those of a blackout are left out, as they were when they were due. */
static void find_dues(
	struct backfills *all, const struct backfill *backfill, const struct schedule *schedule)
{
	int64_t at_ms = backfill->cursor_ms;
	size_t count = 0;

	while (at_ms != NO_TIME && at_ms < backfill->to_ms && count < DUES_MAX) {
		if (!schedule_is_blacked_out(schedule, at_ms))
			all->dues[count++] = at_ms;
		at_ms = schedule_next(schedule, at_ms);
	}
	all->advance.count = count;
	all->advance.next_cursor_ms = at_ms != NO_TIME && at_ms < backfill->to_ms ? at_ms : NO_TIME;
}

/* How many runs may be made now; asks for the round in which there may be more. */
static size_t allowance(struct backfills *all, const struct backfill *backfill, int64_t now_ms)
{
	int64_t by_rate = 0, room = backfill->max_open - backfill_open_runs(backfill);

	if (now_ms >= backfill->next_at_ms)
		by_rate = 1 + (now_ms - backfill->next_at_ms) / backfill->interval_ms;
	if (room <= 0)
		want_in(all, WAITING_MS);
	else if (by_rate == 0)
		want_in(all, backfill->next_at_ms - now_ms);
	if (by_rate > DUES_MAX)
		by_rate = DUES_MAX;
	return room <= 0 ? 0 : (size_t)(room < by_rate ? room : by_rate);
}

static void on_advanced(struct store_req *req)
{
	struct store_advance_backfill *advance =
		container_of(req, struct store_advance_backfill, req);
	struct backfills *all = req->data;
	const struct backfill *backfill = &all->list.ret_backfills[all->next - 1];

	if (req->err.code == 0) {
		metrics.backfill_runs += advance->ret_made;
		if (advance->ret_made > 0 || !advance->ret_won) /* or it was an earlier try */
			sched_run_pending(all->sched);
		if (advance->ret_is_done)
			log_info("a backfill is done", kv_id("backfill", &backfill->id),
				kv_str("action", backfill->action_name));
		else
			want_in(all, advance->ret_passed > 0            ? 0
				     : backfill->interval_ms > ROUND_MS ? backfill->interval_ms
									: ROUND_MS);
	} else if (req->err.code != ERR_NOT_FOUND) { /* that one went with its action */
		log_warn("a backfill cannot be taken further now", kv_id("backfill", &backfill->id),
			kv_str("error", req->err.text));
		sched_run_pending(all->sched); /* it may have come through */
		want_in(all, PERIOD_MS);
	}
	step(all);
}

/* False: nothing to be done about it now. */
static bool try_advance(struct backfills *all, const struct backfill *backfill)
{
	size_t max_new = allowance(all, backfill, all->list.ret_now_ms);
	bool is_last = backfill->cursor_ms == NO_TIME;
	struct schedule *schedule;

	if (is_last && backfill_open_runs(backfill) > 0)
		want_in(all, WAITING_MS);
	if (backfill->is_action_paused ||
		(is_last ? backfill_open_runs(backfill) > 0 : max_new == 0))
		return false;
	all->advance = (struct store_advance_backfill){.req.data = all,
		.id = backfill->id,
		.cursor_ms = backfill->cursor_ms,
		.dues = all->dues,
		.next_cursor_ms = NO_TIME,
		.max_new = max_new};
	if (!is_last) {
		schedule = read_schedule(backfill);
		if (!schedule || schedule_is_blacked_out(schedule, all->list.ret_now_ms)) {
			schedule_unref(schedule);
			return false;
		}
		find_dues(all, backfill, schedule);
		schedule_unref(schedule);
	}
	store_advance_backfill(all->sched->opts.store, &all->advance, on_advanced);
	return true;
}

static void list_before(struct backfills *all, struct id before_id);

static void step(struct backfills *all)
{
	struct store_list_backfills *list = &all->list;

	while (all->next < list->ret_count && !all->sched->is_paused)
		if (try_advance(all, &list->ret_backfills[all->next++]))
			return;
	if (list->ret_has_more && !all->sched->is_paused)
		list_before(all, list->ret_backfills[list->ret_count - 1].id);
	else
		end_round(all);
}

static void on_listed(struct store_req *req)
{
	struct backfills *all = req->data;

	all->has_failed = req->err.code != 0;
	if (all->has_failed)
		log_warn("backfills cannot be listed now", kv_str("error", req->err.text));
	all->listed += (int64_t)all->list.ret_count;
	step(all);
}

/* The next page, newest first; zero: the first one. */
static void list_before(struct backfills *all, struct id before_id)
{
	store_list_backfills_fini(&all->list);
	all->next = 0;
	all->list = (struct store_list_backfills){
		.req.data = all, .only_running = true, .before_id = before_id, .limit = PAGE_MAX};
	store_list_backfills(all->sched->opts.store, &all->list, on_listed);
}

static void work(struct sched_duty *duty)
{
	struct backfills *all = duty->data;

	all->again_ms = NO_TIME;
	all->listed = 0;
	list_before(all, (struct id){0});
}

struct backfills *backfills_create(struct sched *sched)
{
	struct backfills *all = xcalloc(1, sizeof(*all));

	all->sched = sched;
	all->duty = (struct sched_duty){.duty = STORE_DUTY_BACKFILL,
		.period_ms = PERIOD_MS,
		.minds_actions = true,
		.work = work,
		.data = all};
	sched_duty_add(sched, &all->duty);
	return all;
}

void backfills_destroy(struct backfills *all)
{
	free(all);
}

void sched_backfill_soon(struct sched *sched)
{
	duty_within(&sched->backfills->duty, 0);
}
