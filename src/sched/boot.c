/* SPDX-License-Identifier: Apache-2.0
 *
 * boot: run_on_start. Once after its own start each instance asks the store whether the service
 * starts with it, and gives it all actions that would run then. The store decides, in one
 * transaction, so of many that start together one fires. As long as the store cannot tell whether
 * those who served before are alive, it is asked again; nothing else waits for that.
 *
 * Which actions there are and what they say now is read anew each time: a page after the other, at
 * most STARTS_MAX. */
#include "sched/sched_priv.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/boot.h"

#define AGAIN_MS   500
#define PAGE       500
#define STARTS_MAX 10000 /* runs in one transaction */

struct boot {
	struct sched *sched;
	uv_timer_t timer;
	bool is_asking, is_running;
	struct store_list_actions list;
	struct store_boot boot;
	struct action **actions; /* a reference each */
	size_t count;
	struct boot_item *items; /* owned; actions borrowed */
};

static void begin(struct boot *boot);

static void on_timer(uv_timer_t *timer)
{
	begin(timer->data);
}

static void forget_actions(struct boot *boot)
{
	for (size_t i = 0; i < boot->count; i++)
		action_unref(boot->actions[i]);
	free(take_ptr(boot->actions));
	free(take_ptr(boot->items));
	boot->count = 0;
}

static void end(struct boot *boot, bool is_answered)
{
	struct sched *sched = boot->sched;

	forget_actions(boot);
	boot->is_asking = false;
	if (!is_answered && !sched->is_destroyed)
		uv_timer_start(&boot->timer, on_timer, AGAIN_MS, 0);
	drain_check(sched);
}

static void tell(const struct store_boot *req)
{
	if (req->ret_answer == BOOT_STARTED)
		log_info("the service starts: nobody else served this database",
			kv_i64("runs", (int64_t)req->ret_queued),
			kv_i64("skipped", (int64_t)req->ret_skipped));
	else if (req->ret_answer == BOOT_RUNNING)
		log_debug("the service was running already: nothing is run for its start");
}

static void on_booted(struct store_req *req)
{
	struct store_boot *asked = container_of(req, struct store_boot, req);
	struct boot *boot = req->data;
	struct sched *sched = boot->sched;
	bool is_answered = req->err.code == 0 && asked->ret_answer != BOOT_UNKNOWN;

	if (req->err.code == 0) {
		tell(asked);
		for (size_t i = 0; i < asked->ret_cancel_count; i++)
			sched_cancel_run(sched, &asked->ret_cancel[i]);
		if (asked->ret_queued > 0 || boot->count > 0) /* or it was an earlier try */
			sched_run_pending(sched);
	}
	store_boot_fini(asked);
	end(boot, is_answered);
}

static void ask(struct boot *boot)
{
	int64_t now_ms = sched_now_ms(boot->sched);
	size_t count = 0;

	boot->items = xcalloc(boot->count + 1, sizeof(*boot->items));
	for (size_t i = 0; i < boot->count; i++) {
		const struct schedule *schedule = boot->actions[i]->schedule;

		if (!schedule_starts_at(schedule, now_ms))
			continue;
		boot->items[count++] = (struct boot_item){.action = boot->actions[i],
			.verdict = schedule_is_blacked_out(schedule, now_ms) ? DUE_SKIP_BLACKOUT
									     : DUE_RUN};
	}
	boot->boot = (struct store_boot){.req.data = boot,
		.is_running = boot->is_running,
		.items = boot->items,
		.count = count};
	store_boot(boot->sched->opts.store, &boot->boot, on_booted);
}

static void list_page(struct boot *boot);

static void on_listed(struct store_req *req)
{
	struct store_list_actions *list = container_of(req, struct store_list_actions, req);
	struct boot *boot = req->data;
	bool has_more = list->ret_has_more && boot->count + PAGE <= STARTS_MAX;

	if (req->err.code != 0) {
		store_list_actions_fini(list);
		end(boot, false);
		return;
	}
	boot->actions =
		xrealloc(boot->actions, boot->count + list->ret_count + 1, sizeof(struct action *));
	for (size_t i = 0; i < list->ret_count; i++)
		boot->actions[boot->count++] = action_ref(list->ret_actions[i]);
	if (list->ret_has_more && !has_more)
		log_error("more actions have run_on_start than are run at a start; the others are "
			  "left out",
			kv_i64("run", (int64_t)boot->count));
	store_list_actions_fini(list);
	if (has_more)
		list_page(boot);
	else
		ask(boot);
}

static void list_page(struct boot *boot)
{
	boot->list = (struct store_list_actions){.req.data = boot,
		.limit = PAGE,
		.after_name = boot->count > 0 ? boot->actions[boot->count - 1]->name : NULL,
		.kind = -1,
		.state = -1,
		.on_start = true};
	store_list_actions(boot->sched->opts.store, &boot->list, on_listed);
}

static void begin(struct boot *boot)
{
	if (boot->is_asking || boot->sched->is_destroyed)
		return;
	boot->is_asking = true;
	list_page(boot);
}

struct boot *boot_create(struct sched *sched)
{
	struct boot *boot = xcalloc(1, sizeof(*boot));

	boot->sched = sched;
	boot->is_running = sched->opts.is_handed_over;
	must(uv_timer_init(sched->opts.loop, &boot->timer) == 0);
	boot->timer.data = boot;
	return boot;
}

void boot_begin(struct boot *boot)
{
	begin(boot);
}

void boot_was_gone(struct boot *boot)
{
	boot->is_running = true;
	begin(boot);
}

bool boot_is_busy(const struct boot *boot)
{
	return boot->is_asking;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void boot_destroy(struct boot *boot)
{
	must(!boot->is_asking);
	uv_close((uv_handle_t *)&boot->timer, on_closed);
}
