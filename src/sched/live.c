/* SPDX-License-Identifier: Apache-2.0
 *
 * live: the output of an attempt that runs here, for those who follow it at another instance. They
 * ask again and again (store_want_output); as long as they do, what the executor has kept of it is
 * written to the store once a second, when there is more than before. Nobody asks: nothing is
 * written. When the attempt has ended its output is in the ledger, and this goes. */
#include "sched/sched_priv.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/live.h"

#define SHOW_MS   1000
#define WANTED_MS (3 * STORE_WANT_MS)

/* One writing; it may outlive its attempt. */
struct showing {
	struct store_put_live put;
	struct sched *sched;
	struct attempt *attempt; /* NULL: has ended */
	char *text;              /* owned; NULL: takes it away */
};

static void on_shown(struct store_req *req)
{
	struct showing *showing = container_of(req, struct showing, put.req);
	struct attempt *attempt = showing->attempt;
	struct sched *sched = showing->sched;

	if (attempt) {
		attempt->showing = NULL;
		if (req->err.code == 0)
			attempt->shown_total = showing->put.total;
	}
	free(showing->text);
	free(showing);
	sched->fetches--;
	drain_check(sched);
}

static void put(struct attempt *attempt, char *text_take, size_t len, int64_t total)
{
	struct showing *showing = xcalloc(1, sizeof(*showing));

	showing->sched = attempt->sched;
	showing->text = text_take;
	showing->put = (struct store_put_live){.run_id = attempt->run.id,
		.epoch = attempt->run.epoch,
		.output = text_take,
		.len = len,
		.total = total};
	if (text_take) {
		showing->attempt = attempt;
		attempt->showing = showing;
	}
	attempt->sched->fetches++;
	store_put_live(attempt->sched->opts.store, &showing->put, on_shown);
}

static void show(struct attempt *attempt)
{
	struct exec *exec = attempt->sched->opts.exec;
	struct exec_output output;
	char *text;
	size_t len;

	if (attempt->showing || attempt->has_ended ||
		!exec_output_from(exec, &attempt->run.id, attempt->run.epoch, 0, 0, &output))
		return;
	free(output.bytes);
	if (output.total == attempt->shown_total)
		return;
	text = exec_output_so_far(exec, &attempt->run.id, &len);
	if (text)
		put(attempt, text, len, output.total);
}

static void on_tick(uv_timer_t *timer)
{
	struct sched *sched = timer->data;
	int64_t now = clock_mono_ms();
	bool is_wanted = false;

	list_for_each (node, &sched->attempts) {
		struct attempt *attempt = list_entry(node, struct attempt, node);

		if (now >= attempt->wanted_mono_ms)
			continue;
		is_wanted = true;
		show(attempt);
	}
	if (!is_wanted)
		(void)uv_timer_stop(timer);
}

static void on_wanted(const struct id *run_id, void *data)
{
	struct sched *sched = data;

	if (sched->is_destroyed)
		return;
	list_for_each (node, &sched->attempts) {
		struct attempt *attempt = list_entry(node, struct attempt, node);

		if (!id_equal(&attempt->run.id, run_id) || attempt->has_ended)
			continue;
		attempt->wanted_mono_ms = clock_mono_ms() + WANTED_MS;
		if (!uv_is_active((uv_handle_t *)&sched->live))
			must(uv_timer_start(&sched->live, on_tick, 0, SHOW_MS) == 0);
	}
}

void live_begin(struct sched *sched)
{
	store_watch_output(sched->opts.store, on_wanted, sched);
}

void live_forget(struct attempt *attempt)
{
	if (attempt->showing)
		attempt->showing->attempt = NULL;
	if ((attempt->showing || attempt->shown_total > 0) && !attempt->sched->is_destroyed)
		put(attempt, NULL, 0, 0);
}
