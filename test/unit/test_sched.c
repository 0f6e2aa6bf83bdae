/* SPDX-License-Identifier: Apache-2.0
 *
 * The scheduler with a real store and a real executor on a loop of its own: what starts when, and
 * that nothing that may start is forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "sched/sched.h"
#include "store/store.h"

#define PATIENCE_MS   120000
#define TICK_MS       5 /* what is waited for is asked for again, should nothing else happen */
#define ACTIONS       6 /* of each kind */
#define LIMIT         4 /* attempts at a time, of each kind and in all */
#define NOOPS_AT_ONCE 3
#define WINDOW_MS     3600000
#define POLL_MS       WINDOW_MS /* none within a test: who needs one is found out */
#define WINDOW_MAX    20
#define SILENT_TICKS  20 /* so long without a word to the store: it has gone to sleep */
#define CROWD         (5 * WINDOW_MAX)

struct rig {
	uv_loop_t loop;
	uv_timer_t watchdog, tick;
	char folder[32];
	struct store *store;
	struct exec *exec;
	struct sched *sched;
	int awaited; /* callbacks still to come */
};

static void on_watchdog(uv_timer_t *timer)
{
	(void)fprintf(stderr, "a test waited longer than %d ms\n", PATIENCE_MS);
	abort();
}

static void on_tick(uv_timer_t *timer)
{
	(void)timer;
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

static void on_opened(const struct err *err, void *data)
{
	if (err)
		fail_msg("%s", err->text);
	came(data);
}

static void open_parts(struct rig *rig)
{
	auto_free char *url = xasprintf("sqlite:%s/store.db", rig->folder);
	struct store_opts store_opts = {.loop = &rig->loop,
		.url = url,
		.queue_max = 1000,
		.batch_max = 100,
		.instance_id = id_make(),
		.opened = on_opened,
		.opened_data = rig};
	struct exec_opts exec_opts = {.loop = &rig->loop,
		.max_running = LIMIT,
		.max_running_kind = {LIMIT, LIMIT, [ACTION_NOOP] = NOOPS_AT_ONCE},
		.exec_enabled = true,
		.exec_paths = "",
		.exec_users = "",
		.allow_private_targets = true,
		.term_grace_ms = 100,
		.output_max = 1000,
		.state_dir = rig->folder,
		.on_note = sched_note,
		.user_agent = "gathering/test"};
	struct sched_opts sched_opts = {.loop = &rig->loop,
		.window_max = WINDOW_MAX,
		.window_ms = WINDOW_MS,
		.poll_ms = POLL_MS,
		.claim_max = 100,
		.db_max_ms = 1000};
	struct err err = {0};

	rig->awaited = 1;
	assert_int_equal(store_open(&store_opts, &rig->store, &err), 0);
	wait_all(rig);
	assert_int_equal(exec_create(&exec_opts, &rig->exec, &err), 0);
	sched_opts.store = rig->store;
	sched_opts.exec = rig->exec;
	assert_int_equal(sched_create(&sched_opts, &rig->sched, &err), 0);
}

static int setup(void **state)
{
	struct rig *rig = xcalloc(1, sizeof(*rig));

	*state = rig;
	log_configure(LOG_ERROR, LOG_TEXT);
	(void)snprintf(rig->folder, sizeof(rig->folder), "/tmp/test-sched-XXXXXX");
	assert_non_null(mkdtemp(rig->folder));
	assert_int_equal(uv_loop_init(&rig->loop), 0);
	assert_int_equal(uv_timer_init(&rig->loop, &rig->watchdog), 0);
	(void)uv_timer_start(&rig->watchdog, on_watchdog, PATIENCE_MS, 0);
	uv_unref((uv_handle_t *)&rig->watchdog);
	assert_int_equal(uv_timer_init(&rig->loop, &rig->tick), 0);
	(void)uv_timer_start(&rig->tick, on_tick, TICK_MS, TICK_MS);
	uv_unref((uv_handle_t *)&rig->tick);
	open_parts(rig);
	rig->awaited = 1;
	sched_start(rig->sched, came, rig);
	wait_all(rig);
	return 0;
}

static void remove_folder(const char *folder)
{
	auto_free char *tmp = xasprintf("%s/tmp", folder);
	static const char *const names[] = {
		"store.db", "store.db-wal", "store.db-shm", "store.db.lock", "store.db-lock", "go"};

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		auto_free char *path = xasprintf("%s/%s", folder, names[i]);

		(void)unlink(path);
	}
	(void)rmdir(tmp);
	(void)rmdir(folder);
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	rig->awaited = 1;
	sched_destroy(rig->sched, came, rig);
	wait_all(rig);
	rig->awaited = 2;
	exec_destroy(rig->exec, came, rig);
	store_close(rig->store, came, rig);
	wait_all(rig);
	uv_close((uv_handle_t *)&rig->watchdog, NULL);
	uv_close((uv_handle_t *)&rig->tick, NULL);
	(void)uv_run(&rig->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&rig->loop), 0);
	remove_folder(rig->folder);
	free(rig);
	return 0;
}

/* --- the store, waited for --- */

static void on_answer(struct store_req *req)
{
	came(req->data);
}

#define ask(rig, verb, request)                                                                    \
	do {                                                                                       \
		(request)->req.data = (rig);                                                       \
		(rig)->awaited++;                                                                  \
		store_##verb((rig)->store, (request), on_answer);                                  \
		wait_all(rig);                                                                     \
		assert_int_equal((request)->req.err.code, 0);                                      \
	} while (0)

/* Stored and due at `due_ms`; the scheduler is not told. */
static struct action *create(struct rig *rig, const char *name, const char *members, int64_t due_ms)
{
	auto_free char *text = xasprintf("{\"name\":\"%s\",%s}", name, members);
	struct store_create_actions request = {.count = 1};
	struct action *action, *stored;
	struct err err = {0};

	if (action_from_text(text, strlen(text), &action, &err) < 0)
		fail_msg("%s", err.text);
	action->next_due_ms = due_ms;
	request.actions = &action;
	ask(rig, create_actions, &request);
	stored = action_ref(request.ret_actions[0]);
	store_create_actions_fini(&request);
	action_unref(action);
	return stored;
}

static void trigger(struct rig *rig, const struct action *action)
{
	struct store_trigger request = {.action_id = action->id};

	ask(rig, trigger, &request);
	store_trigger_fini(&request);
}

static size_t count_runs(struct rig *rig, enum run_state run_state)
{
	struct store_list_runs request = {.limit = 100,
		.states = 1u << run_state,
		.trigger = -1,
		.due_from_ms = NO_TIME,
		.due_to_ms = NO_TIME};
	size_t count;

	ask(rig, list_runs, &request);
	count = request.ret_count;
	store_list_runs_fini(&request);
	return count;
}

static void wait_runs(struct rig *rig, enum run_state run_state, size_t count)
{
	while (count_runs(rig, run_state) < count)
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
}

/* --- the limit that the kinds share --- */

static void create_some(struct rig *rig, struct action *actions[2 * ACTIONS], int64_t due_ms)
{
	static const char *const members[] = {
		"\"kind\":\"http\",\"http\":{\"url\":\"http://127.0.0.1:1/\"},"
		"\"schedule\":{\"every\":\"1h\"}",
		"\"kind\":\"exec\",\"exec\":{\"command\":[\"/bin/sleep\",\"0.05\"]},"
		"\"schedule\":{\"every\":\"1h\"}"};

	for (int i = 0; i < 2 * ACTIONS; i++) {
		auto_free char *name = xasprintf("a%d", i);

		actions[i] = create(rig, name, members[i % 2], due_ms);
	}
}

static void test_kinds_share_the_common_limit_in_a_claim(void **state)
{
	struct rig *rig = *state;
	struct action *actions[2 * ACTIONS];

	create_some(rig, actions, clock_wall_ms());
	for (int i = 0; i < 2 * ACTIONS; i++) {
		sched_action_changed(rig->sched, actions[i]);
		action_unref(actions[i]);
	}
	wait_runs(rig, RUN_SUCCEEDED, ACTIONS); /* programs */
	wait_runs(rig, RUN_FAILED, ACTIONS);    /* nobody listens there */
}

static void test_kinds_share_the_common_limit_in_a_take(void **state)
{
	struct rig *rig = *state;
	struct action *actions[2 * ACTIONS];

	create_some(rig, actions, clock_wall_ms() + 3600000);
	for (int i = 0; i < 2 * ACTIONS; i++) {
		trigger(rig, actions[i]);
		action_unref(actions[i]);
	}
	sched_run_pending(rig->sched);
	wait_runs(rig, RUN_SUCCEEDED, ACTIONS);
	wait_runs(rig, RUN_FAILED, ACTIONS);
}

/* Only one kind waits, and it is not the one that would be served first. */
static void test_one_kind_alone_gets_the_whole_common_limit(void **state)
{
	struct rig *rig = *state;
	struct action *actions[2 * ACTIONS];

	create_some(rig, actions, clock_wall_ms() + 3600000);
	for (int round = 0; round < 4; round++)
		for (int i = 0; i < 2 * ACTIONS; i++)
			if (i % 2 == 1)
				trigger(rig, actions[i]);
	for (int i = 0; i < 2 * ACTIONS; i++)
		action_unref(actions[i]);
	sched_run_pending(rig->sched);
	wait_runs(rig, RUN_SUCCEEDED, ACTIONS);
}

/* --- noop --- */

static char *waiting_members(const struct rig *rig, const char *more)
{
	return xasprintf("\"kind\":\"exec\",%s\"exec\":{\"shell\":true,\"command\":"
			 "\"while ! test -e %s/go; do sleep 0.02; done\"}",
		more, rig->folder);
}

static void let_go(const struct rig *rig)
{
	auto_free char *go = xasprintf("%s/go", rig->folder);
	FILE *file = fopen(go, "w");

	assert_non_null(file);
	(void)fclose(file);
}

/* Some due, some asked for. */
static void test_noops_run_while_programs_hold_every_slot(void **state)
{
	struct rig *rig = *state;
	auto_free char *members = waiting_members(rig, "\"overlap\":\"allow\",");
	struct action *action = create(rig, "slow", members, NO_TIME);

	for (int i = 0; i < LIMIT + 1; i++)
		trigger(rig, action);
	action_unref(action);
	sched_run_pending(rig->sched);
	wait_runs(rig, RUN_RUNNING, LIMIT);
	for (int i = 0; i < 4 * NOOPS_AT_ONCE; i++) {
		auto_free char *name = xasprintf("noop%d", i);

		action = create(rig, name, "\"kind\":\"noop\",\"schedule\":{\"every\":\"1h\"}",
			clock_wall_ms());
		trigger(rig, action);
		sched_action_changed(rig->sched, action);
		sched_run_pending(rig->sched);
		action_unref(action);
		wait_runs(rig, RUN_SUCCEEDED, (size_t)i + 1);
	}
	assert_int_equal(count_runs(rig, RUN_RUNNING), LIMIT);
	assert_int_equal(count_runs(rig, RUN_FAILED), 0);
	let_go(rig);
	wait_runs(rig, RUN_SUCCEEDED, 4 * NOOPS_AT_ONCE + LIMIT + 1);
}

/* --- a run that waits for another --- */

/* A look in between sees that the second must wait; it must not be forgotten over that. */
static void test_a_queued_run_starts_when_the_one_before_it_ends(void **state)
{
	struct rig *rig = *state;
	auto_free char *members = waiting_members(rig, "\"overlap\":\"queue\",");
	struct action *action = create(rig, "queue", members, NO_TIME);
	int64_t requests;

	trigger(rig, action);
	sched_run_pending(rig->sched);
	wait_runs(rig, RUN_RUNNING, 1);
	trigger(rig, action);
	action_unref(action);
	sched_run_pending(rig->sched);
	/* A take that finds nothing, and all that it brings about. */
	requests = metrics.store_requests;
	for (int silent = 0; silent < SILENT_TICKS; silent++) {
		if (metrics.store_requests != requests)
			silent = 0;
		requests = metrics.store_requests;
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
	}
	let_go(rig);
	wait_runs(rig, RUN_SUCCEEDED, 2);
}

/* --- the clock --- */

/* The store's clock is ours here, however long its answers take. */
static void test_a_slow_answer_is_not_a_slow_clock(void **state)
{
	struct rig *rig = *state;
	struct action *action = create(rig, "tick",
		"\"kind\":\"exec\",\"exec\":{\"command\":[\"/bin/true\"]},\"overlap\":\"allow\","
		"\"schedule\":{\"every\":\"100ms\"}",
		clock_wall_ms());

	sched_action_changed(rig->sched, action);
	action_unref(action);
	for (size_t done = 1; done <= 10; done++) {
		wait_runs(rig, RUN_SUCCEEDED, done);
		assert_true(llabs(sched_now_ms(rig->sched) - clock_wall_ms()) <= 1);
	}
}

/* --- more actions than the window holds --- */

static size_t most_in_window(struct rig *rig, size_t most)
{
	struct sched_stats stats;

	sched_stats(rig->sched, &stats);
	return stats.window_count > most ? stats.window_count : most;
}

/* A crowd that is told of one by one, and while the window is full of later ones some that are due
 * first: all run without the help of a poll, and the window stays bounded. */
static void test_a_crowd_does_not_outgrow_the_window(void **state)
{
	static const char members[] =
		"\"kind\":\"http\",\"http\":{\"url\":\"http://127.0.0.1:1/\"},"
		"\"schedule\":{\"every\":\"1h\"}";
	struct rig *rig = *state;
	int64_t now = clock_wall_ms();
	size_t most = 0;

	for (int i = 0; i < CROWD; i++) {
		auto_free char *name = xasprintf("crowd%d", i);
		int64_t due = i < CROWD / 2 ? now + WINDOW_MS / 2 : now + 500 + i;
		struct action *action = create(rig, name, members, due);

		sched_action_changed(rig->sched, action);
		action_unref(action);
		most = most_in_window(rig, most);
	}
	while (count_runs(rig, RUN_FAILED) < CROWD - CROWD / 2) {
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
		most = most_in_window(rig, most);
	}
	assert_true(most <= 2 * WINDOW_MAX);
}

/* --- duties --- */

struct duty_rig {
	struct sched_duty duty;
	struct rig *rig;
	int begun, ended;
};

static void on_work_over(uv_timer_t *timer)
{
	struct duty_rig *duties = timer->data;

	uv_close((uv_handle_t *)timer, (uv_close_cb)free);
	duties->ended++;
	sched_duty_done(&duties->duty, NO_TIME);
}

/* A round takes some turns of the loop. */
static void work(struct sched_duty *duty)
{
	struct duty_rig *duties = duty->data;
	uv_timer_t *timer = xcalloc(1, sizeof(*timer));

	duties->begun++;
	assert_int_equal(duties->begun, duties->ended + 1); /* never two at once */
	assert_int_equal(uv_timer_init(&duties->rig->loop, timer), 0);
	timer->data = duties;
	(void)uv_timer_start(timer, on_work_over, 20, 0);
}

static void wait_rounds(struct duty_rig *duties, int begun)
{
	while (duties->begun < begun)
		(void)uv_run(&duties->rig->loop, UV_RUN_ONCE);
}

static void test_a_duty_is_done_again_and_again_but_not_while_paused(void **state)
{
	struct rig *rig = *state;
	static struct duty_rig duties;
	int64_t until;

	duties = (struct duty_rig){.rig = rig,
		.duty = {.duty = STORE_DUTY_RETENTION,
			.period_ms = 30,
			.work = work,
			.data = &duties}};
	sched_duty_add(rig->sched, &duties.duty);
	wait_rounds(&duties, 3);
	sched_pause(rig->sched);
	until = clock_mono_ms() + 150; /* several periods */
	while (clock_mono_ms() < until)
		(void)uv_run(&rig->loop, UV_RUN_NOWAIT);
	assert_int_equal(duties.begun, 3);
	assert_int_equal(duties.ended, 3);
	sched_resume(rig->sched);
	wait_rounds(&duties, 5);
	/* the teardown destroys the scheduler in the middle of a round, and waits for its end */
}

#define SCHED_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCHED_TEST(test_kinds_share_the_common_limit_in_a_claim),
		SCHED_TEST(test_kinds_share_the_common_limit_in_a_take),
		SCHED_TEST(test_one_kind_alone_gets_the_whole_common_limit),
		SCHED_TEST(test_noops_run_while_programs_hold_every_slot),
		SCHED_TEST(test_a_queued_run_starts_when_the_one_before_it_ends),
		SCHED_TEST(test_a_slow_answer_is_not_a_slow_clock),
		SCHED_TEST(test_a_duty_is_done_again_and_again_but_not_while_paused),
		SCHED_TEST(test_a_crowd_does_not_outgrow_the_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
