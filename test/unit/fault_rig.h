/* SPDX-License-Identifier: Apache-2.0
 *
 * A scheduler and an executor over a store that fails (store_faults.h), on a loop of their own, and
 * the ledger that they leave. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "http_target.h"
#include "sched/sched.h"
#include "store_faults.h"

#define PATIENCE_MS 120000
#define TICK_MS     3 /* real ones; so often the ledger is read */
#define QUIET_TICKS 3 /* nothing more has been asked for so long: it is over */
#define HOUR_MS     INT64_C(3600000)
#define RUNS_MAX    100

struct rig {
	uv_loop_t loop;
	uv_timer_t watchdog, tick;
	bool has_ticked;
	char folder[40];
	char url[80];
	struct target target;
	struct store *store;
	struct exec *exec;
	struct sched *sched;
	int awaited;  /* callbacks still to come */
	int restarts; /* instances that were lost */
	const struct story *story;
	struct action *past; /* what has a backfill */
	struct id held_run, queued_run, noting_run;
	struct store_list_runs ledger; /* as last read */
};

static bool is_sqlite;

/* --- waiting --- */

/* The test's: for people. */
static char *tell_ledger(const struct rig *rig);

/* With what tells that story alone, as arguments of this program. */
#define complain(fmt, ...)                                                                         \
	fail_msg("%s %s %d: " fmt, fault_manners[fault.manner], fault.name,                        \
		fault.nth __VA_OPT__(, ) __VA_ARGS__)

static void on_watchdog(uv_timer_t *timer)
{
	(void)fprintf(stderr, "in vain waited for the end of a story: %s %s %d%s\n%s",
		fault_manners[fault.manner], fault.name, fault.nth, fault.is_hit ? "" : ", not yet",
		tell_ledger(timer->data));
	abort();
}

static void on_tick(uv_timer_t *timer)
{
	((struct rig *)timer->data)->has_ticked = true;
}

static void came(void *data)
{
	((struct rig *)data)->awaited--;
}

static void wait_all(struct rig *rig)
{
	while (rig->awaited > 0)
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
}

static void fault_on_answer(struct store_req *req)
{
	came(req->data);
}

static int answer(struct rig *rig, const struct store_req *req)
{
	wait_all(rig);
	return req->err.code;
}

#define ask(rig, verb, request)                                                                    \
	({                                                                                         \
		(request)->req.data = (rig);                                                       \
		(rig)->awaited++;                                                                  \
		store_##verb((rig)->store, (request), fault_on_answer);                            \
		answer((rig), &(request)->req);                                                    \
	})

/* A person's: it may fail, and is asked again until it is known. */
static void on_person_answer(struct store_req *req)
{
	came(req->data);
}

#define insist(rig, verb, request)                                                                 \
	({                                                                                         \
		int code_;                                                                         \
		do {                                                                               \
			(request)->req.data = (rig);                                               \
			(rig)->awaited++;                                                          \
			store_##verb((rig)->store, (request), on_person_answer);                   \
			code_ = answer((rig), &(request)->req);                                    \
		} while (code_ == ERR_UNAVAILABLE);                                                \
		code_;                                                                             \
	})

/* --- an instance --- */

struct reading {
	struct store_get_secrets get;
	exec_secrets_fn *done;
	void *attempt;
};

static void on_secrets(struct store_req *req)
{
	struct reading *reading = container_of(req, struct reading, get.req);
	struct name_value values[1] = {{NULL, NULL}};

	if (reading->get.ret_count > 0)
		values[0] = (struct name_value){.name = reading->get.ret_secrets[0].name,
			.value = reading->get.ret_secrets[0].sealed};
	reading->done(values, reading->get.ret_count, &req->err, reading->attempt);
	store_get_secrets_fini(&reading->get);
	free(reading);
}

/* As src/secrets.c does, but for the seal. */
static void read_secrets(char *const *names, exec_secrets_fn *done, void *attempt, void *data)
{
	struct reading *reading = xcalloc(1, sizeof(*reading));

	reading->done = done;
	reading->attempt = attempt;
	reading->get.names = names;
	store_get_secrets(((struct rig *)data)->store, &reading->get, on_secrets);
}

static void on_opened(const struct err *err, void *data)
{
	if (err)
		fail_msg("%s", err->text);
	came(data);
}

static struct store *open_store(struct rig *rig)
{
	struct store_opts opts = {.loop = &rig->loop,
		.url = rig->url,
		.queue_max = 1000,
		.batch_max = 100,
		.instance_id = id_make(),
		.opened = on_opened,
		.opened_data = rig};
	struct store *store;
	struct err err = {0};

	rig->awaited++;
	assert_int_equal(store_open(&opts, &store, &err), 0);
	wait_all(rig);
	return store;
}

static void start_work(struct rig *rig)
{
	struct exec_opts exec_opts = {.loop = &rig->loop,
		.max_running = 4,
		.max_running_kind = {4, 4, [ACTION_NOOP] = 4},
		.exec_enabled = true,
		.allow_private_targets = true,
		.get_secrets = read_secrets,
		.get_secrets_data = rig,
		.term_grace_ms = HOUR_MS,
		.output_max = 1000,
		.state_dir = rig->folder,
		.on_note = sched_note,
		.user_agent = "gathering/test"};
	struct sched_opts sched_opts = {.loop = &rig->loop,
		.store = rig->store,
		.window_max = 20,
		.window_ms = HOUR_MS,
		.poll_ms = HOUR_MS, /* none within a story: who needs one is found out */
		.claim_max = 100,
		.retain_every_ms = 1000,
		.db_max_ms = HOUR_MS};
	struct err err = {0};

	assert_int_equal(exec_create(&exec_opts, &rig->exec, &err), 0);
	sched_opts.exec = rig->exec;
	assert_int_equal(sched_create(&sched_opts, &rig->sched, &err), 0);
	rig->awaited++;
	sched_start(rig->sched, came, rig);
	wait_all(rig);
}

/* What runs is handed back. */
static void end_work(struct rig *rig)
{
	sched_pause(rig->sched);
	(void)exec_end_all(rig->exec, ATTEMPT_INTERRUPTED);
	rig->awaited++;
	sched_destroy(rig->sched, came, rig);
	wait_all(rig);
	rig->awaited++;
	exec_destroy(rig->exec, came, rig);
	wait_all(rig);
}

static void close_store(struct rig *rig, struct store *store)
{
	rig->awaited++;
	store_close(store, came, rig);
	wait_all(rig);
}

/* The rows of memory live as long as one store of them is open. */
static void restart(struct rig *rig)
{
	struct store *old = rig->store;

	fault.has_orphans = false;
	rig->restarts++;
	end_work(rig);
	if (is_sqlite)
		close_store(rig, old);
	rig->store = open_store(rig);
	if (!is_sqlite)
		close_store(rig, old);
	start_work(rig);
}

/* --- the ledger --- */

static void read_ledger(struct rig *rig)
{
	store_list_runs_fini(&rig->ledger);
	rig->ledger = (struct store_list_runs){
		.limit = RUNS_MAX, .trigger = -1, .due_from_ms = NO_TIME, .due_to_ms = NO_TIME};
	assert_int_equal(ask(rig, list_runs, &rig->ledger), 0);
	assert_false(rig->ledger.ret_has_more);
}

/* One turn, until the next look at the ledger. */
static void turn(struct rig *rig)
{
	rig->has_ticked = false;
	while (!rig->has_ticked)
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
	if (fault.has_orphans && !fault.is_holding)
		restart(rig);
	read_ledger(rig);
}

static const struct run *find_run(const struct rig *rig, const struct id *id)
{
	for (size_t i = 0; i < rig->ledger.ret_count; i++)
		if (id_equal(&rig->ledger.ret_runs[i].id, id))
			return &rig->ledger.ret_runs[i];
	fail_msg("a run is gone");
	return NULL;
}

static bool is_in(const struct rig *rig, const struct id *id, enum run_state state)
{
	return find_run(rig, id)->state == state;
}

static bool is_open(const struct run *run)
{
	return run->state == RUN_PENDING || run->state == RUN_RUNNING || run->state == RUN_HELD;
}

/* --- its life --- */

static void open_rig(struct rig *rig, const struct story *story)
{
	static int number;

	*rig = (struct rig){.story = story};
	(void)snprintf(rig->folder, sizeof(rig->folder), "/tmp/test-sched-faults-XXXXXX");
	assert_non_null(mkdtemp(rig->folder));
	if (is_sqlite)
		(void)snprintf(rig->url, sizeof(rig->url), "sqlite:%s/db", rig->folder);
	else
		(void)snprintf(rig->url, sizeof(rig->url), "memory:faults%d", number++);
	assert_int_equal(uv_loop_init(&rig->loop), 0);
	assert_int_equal(uv_timer_init(&rig->loop, &rig->watchdog), 0);
	rig->watchdog.data = rig;
	(void)__real_uv_timer_start(&rig->watchdog, on_watchdog, PATIENCE_MS, 0);
	uv_unref((uv_handle_t *)&rig->watchdog);
	assert_int_equal(uv_timer_init(&rig->loop, &rig->tick), 0);
	rig->tick.data = rig;
	(void)__real_uv_timer_start(&rig->tick, on_tick, TICK_MS, TICK_MS);
	uv_unref((uv_handle_t *)&rig->tick);
	target_start(&rig->target);
	fault_set_clock(0);
	rig->store = open_store(rig);
}

static void close_rig(struct rig *rig)
{
	static const char *const names[] = {"db", "db-wal", "db-shm", "db.lock", "begun", "tmp"};

	store_list_runs_fini(&rig->ledger);
	action_unref(rig->past);
	end_work(rig);
	close_store(rig, rig->store);
	uv_close((uv_handle_t *)&rig->watchdog, NULL);
	uv_close((uv_handle_t *)&rig->tick, NULL);
	(void)uv_run(&rig->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&rig->loop), 0);
	target_stop(&rig->target);
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		auto_free char *path = xasprintf("%s/%s", rig->folder, names[i]);

		(void)remove(path);
	}
	assert_int_equal(rmdir(rig->folder), 0); /* and nothing else is there */
}
