/* SPDX-License-Identifier: Apache-2.0
 *
 * What the health pages show, gathered at most once a second whoever asks how often: counts from
 * the store (which is also the probe of the database), free disk space (statvfs may block, so it
 * goes to the thread pool), CPU shares between two looks, the delay of the loop.
 *
 * A look waits for its two answers at most VITALS_WAIT_MS; then the pages go out with what is known
 * and the store counts as not answering. So health answers also while the database hangs.
 *
 * A pulse once a second measures the loop's delay and keeps the verdict on the database for
 * /health/ready, which must answer from memory: the store is asked when it has not answered anybody
 * for PROBE_MS, and each second while it owes answers or its sessions are gone. So where several
 * share it the heartbeats are the probe, and an idle instance asks for nothing more. It counts as
 * lost after db_grace_ms without an answer, so that a short restart of it does not take every
 * instance out of the balancer, and as back after two good checks (LIFECYCLE section 6). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "api/api_priv.h"
#include "api/system_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/instances.h"

#define FRESH_MS        1000
#define PULSE_MS        1000
#define PROBE_MS        10000
#define SHARED_PROBE_MS 25000 /* longer than the pause between two heartbeats */
#define BACK_CHECKS     2
#define LAG_PULSES      30 /* pulses a lag window; two are kept */

struct disk_job {
	uv_work_t work;
	const char *path; /* borrowed from the api */
	bool is_ok;
	int64_t total_bytes, free_bytes;
};

struct vitals {
	struct api *api;
	uv_timer_t pulse, deadline;
	int open_handles;
	bool is_closing;

	struct list waiters; /* of struct api_call */
	bool is_looking;
	int64_t looked_mono_ms; /* NO_TIME: never */

	struct store_stats stats;
	bool is_store_busy;
	int64_t asked_mono_ms;
	bool is_probe_ok;
	int ok_checks;
	int64_t lost_mono_ms; /* since when the database has not answered; NO_TIME: it does */
	bool is_lost;         /* for longer than the grace */

	struct disk_job disk;
	bool is_disk_busy;

	struct cpu_sample cpu;
	int64_t pulse_due_mono_ms;
	int lag_pulses;
	int64_t lag_ms[2]; /* worst of this window and of the one before */

	struct vitals_view view;
	char store_error[sizeof(((struct err *)NULL)->text)];
};

/* --- the database --- */

static void set_lost(struct vitals *vitals, bool is_lost)
{
	if (vitals->is_lost == is_lost)
		return;
	vitals->is_lost = is_lost;
	if (is_lost)
		log_error("database lost", kv_str("error", vitals->store_error));
	else
		log_info("database back");
}

static bool is_store_answering(const struct vitals *vitals)
{
	struct sched_stats stats;

	if (!vitals->api->sched)
		return vitals->is_probe_ok;
	sched_stats(vitals->api->sched, &stats);
	return vitals->is_probe_ok && stats.is_store_ok;
}

static void judge_database(struct vitals *vitals)
{
	int64_t now = clock_mono_ms();

	if (!vitals->api->store || is_store_answering(vitals)) {
		vitals->ok_checks++;
		vitals->lost_mono_ms = NO_TIME;
		if (vitals->ok_checks >= BACK_CHECKS || !vitals->api->store)
			set_lost(vitals, false);
		return;
	}
	vitals->ok_checks = 0;
	if (vitals->lost_mono_ms == NO_TIME)
		vitals->lost_mono_ms = now;
	if (vitals->api->opts.db_grace_ms != API_DB_IGNORED &&
		now - vitals->lost_mono_ms >= vitals->api->opts.db_grace_ms)
		set_lost(vitals, true);
}

bool vitals_is_database_lost(const struct vitals *vitals)
{
	return vitals->is_lost;
}

static void store_failed(struct vitals *vitals, const char *why)
{
	vitals->is_probe_ok = false;
	(void)snprintf(vitals->store_error, sizeof(vitals->store_error), "%s", why);
	judge_database(vitals);
}

/* --- a look --- */

static void look_done(struct vitals *vitals)
{
	struct list waiters;
	struct list *node;

	vitals->is_looking = false;
	vitals->looked_mono_ms = clock_mono_ms();
	uv_timer_stop(&vitals->deadline);
	/* apart: an answer may make somebody wait anew */
	list_init(&waiters);
	list_splice(&waiters, &vitals->waiters);
	while ((node = list_pop(&waiters))) {
		struct api_call *call = list_entry(node, struct api_call, wait_node);

		call->resume(call);
	}
}

static void close_if_done(struct vitals *vitals)
{
	if (vitals->is_closing && vitals->open_handles == 0 && !vitals->is_store_busy &&
		!vitals->is_disk_busy)
		api_vitals_closed(vitals->api);
}

static void answer_came(struct vitals *vitals)
{
	if (vitals->is_looking && !vitals->is_store_busy && !vitals->is_disk_busy)
		look_done(vitals);
	close_if_done(vitals);
}

static void on_stats(struct store_req *req)
{
	struct vitals *vitals = container_of(req, struct vitals, stats.req);
	struct vitals_view *view = &vitals->view;

	vitals->is_store_busy = false;
	view->store_took_ms = clock_mono_ms() - vitals->asked_mono_ms;
	if (req->err.code != 0) {
		store_failed(vitals, req->err.text);
	} else {
		view->has_counts = true;
		view->actions = vitals->stats.ret_actions;
		view->actions_paused = vitals->stats.ret_actions_paused;
		view->runs_pending = vitals->stats.ret_runs_pending;
		view->runs_running = vitals->stats.ret_runs_running;
		view->instances = vitals->stats.ret_instances;
		view->size_bytes = vitals->stats.ret_size_bytes;
		vitals->is_probe_ok = true;
		vitals->store_error[0] = '\0';
		judge_database(vitals);
	}
	answer_came(vitals);
}

/* In the thread pool: touches its job only. */
static void measure_disk(uv_work_t *work)
{
	struct disk_job *job = container_of(work, struct disk_job, work);
	struct statvfs fs;

	job->is_ok = statvfs(job->path, &fs) == 0;
	if (!job->is_ok)
		return;
	job->total_bytes = (int64_t)(fs.f_blocks * fs.f_frsize);
	job->free_bytes = (int64_t)(fs.f_bavail * fs.f_frsize);
}

static void on_disk(uv_work_t *work, int status)
{
	struct disk_job *job = container_of(work, struct disk_job, work);
	struct vitals *vitals = container_of(job, struct vitals, disk);

	vitals->is_disk_busy = false;
	vitals->view.has_disk = status == 0 && job->is_ok;
	vitals->view.disk_total_bytes = job->total_bytes;
	vitals->view.disk_free_bytes = job->free_bytes;
	answer_came(vitals);
}

static void on_deadline(uv_timer_t *timer)
{
	struct vitals *vitals = container_of(timer, struct vitals, deadline);

	if (vitals->is_store_busy)
		store_failed(vitals, "the database has not answered in time");
	look_done(vitals);
}

static void measure_cpu(struct vitals *vitals)
{
	struct cpu_sample sample;

	system_cpu_sample(&sample);
	system_cpu_share(&vitals->cpu, &sample, &vitals->view.cpu_busy, &vitals->view.process_cpu);
	vitals->cpu = sample;
}

/* Asks store and disk, unless an earlier question to them is still open. */
static void look(struct vitals *vitals)
{
	if (vitals->is_looking || vitals->is_closing)
		return;
	vitals->is_looking = true;
	measure_cpu(vitals);
	(void)uv_timer_start(&vitals->deadline, on_deadline, VITALS_WAIT_MS, 0);
	if (vitals->api->store && !vitals->is_store_busy) {
		vitals->is_store_busy = true;
		vitals->asked_mono_ms = clock_mono_ms();
		store_stats(vitals->api->store, &vitals->stats, on_stats);
	}
	if (!vitals->is_disk_busy)
		vitals->is_disk_busy = uv_queue_work(vitals->api->opts.loop, &vitals->disk.work,
					       measure_disk, on_disk) == 0;
}

void vitals_wait(struct api_call *call, void (*resume)(struct api_call *call))
{
	struct vitals *vitals = call->api->vitals;

	if (vitals->is_closing || (vitals->looked_mono_ms != NO_TIME &&
					  clock_mono_ms() - vitals->looked_mono_ms < FRESH_MS)) {
		resume(call);
		return;
	}
	call->resume = resume;
	list_push(&vitals->waiters, &call->wait_node);
	look(vitals);
}

/* --- the pulse --- */

static void measure_lag(struct vitals *vitals)
{
	int64_t now = clock_mono_ms();
	int64_t lag = now - vitals->pulse_due_mono_ms;

	vitals->pulse_due_mono_ms = now + PULSE_MS;
	if (++vitals->lag_pulses > LAG_PULSES) {
		vitals->lag_pulses = 1;
		vitals->lag_ms[1] = vitals->lag_ms[0];
		vitals->lag_ms[0] = 0;
	}
	if (lag > vitals->lag_ms[0])
		vitals->lag_ms[0] = lag;
}

/* Has the database shown lately that it lives, without having been asked for it? */
static bool is_proven(const struct vitals *vitals)
{
	const struct store *store = vitals->api->store;
	int64_t answered = store ? store_answered_mono_ms(store) : NO_TIME;
	int64_t looked = vitals->looked_mono_ms;

	if (!vitals->is_probe_ok || looked == NO_TIME)
		return false;
	if (!store)
		return clock_mono_ms() - looked < PROBE_MS;
	if (store_silent_ms(store) >= PULSE_MS || store_held(store)->is_exposed)
		return false;
	return clock_mono_ms() - (answered > looked ? answered : looked) <
	       (store_is_shared(store) ? SHARED_PROBE_MS : PROBE_MS);
}

static void on_pulse(uv_timer_t *timer)
{
	struct vitals *vitals = container_of(timer, struct vitals, pulse);

	measure_lag(vitals);
	judge_database(vitals);
	if (!is_proven(vitals))
		look(vitals);
}

/* --- life --- */

struct vitals *vitals_create(struct api *api)
{
	struct vitals *vitals = xcalloc(1, sizeof(*vitals));

	vitals->api = api;
	vitals->looked_mono_ms = NO_TIME;
	vitals->lost_mono_ms = NO_TIME;
	vitals->is_probe_ok = true;
	vitals->disk.path = api->disk_path;
	list_init(&vitals->waiters);
	system_cpu_sample(&vitals->cpu);
	must(uv_timer_init(api->opts.loop, &vitals->pulse) == 0);
	must(uv_timer_init(api->opts.loop, &vitals->deadline) == 0);
	vitals->open_handles = 2;
	vitals->pulse_due_mono_ms = clock_mono_ms() + PULSE_MS;
	(void)uv_timer_start(&vitals->pulse, on_pulse, PULSE_MS, PULSE_MS);
	return vitals;
}

/* What was found before says nothing about the parts of now, and who waits need not wait on. */
void vitals_parts_changed(struct vitals *vitals)
{
	look_done(vitals);
	vitals->is_probe_ok = true;
	vitals->looked_mono_ms = NO_TIME;
	judge_database(vitals);
}

static void handle_closed(uv_handle_t *handle)
{
	struct vitals *vitals = handle->data;

	vitals->open_handles--;
	close_if_done(vitals);
}

void vitals_close(struct vitals *vitals)
{
	vitals->is_closing = true;
	look_done(vitals);
	vitals->pulse.data = vitals;
	vitals->deadline.data = vitals;
	uv_close((uv_handle_t *)&vitals->pulse, handle_closed);
	uv_close((uv_handle_t *)&vitals->deadline, handle_closed);
}

void vitals_destroy(struct vitals *vitals)
{
	free(vitals);
}

struct vitals_view vitals_view(const struct vitals *vitals)
{
	struct vitals_view view = vitals->view;

	view.is_store_ok = vitals->api->store && is_store_answering(vitals);
	view.store_error = vitals->store_error;
	view.loop_lag_ms =
		vitals->lag_ms[0] > vitals->lag_ms[1] ? vitals->lag_ms[0] : vitals->lag_ms[1];
	return view;
}
