/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening, closing, the queue, and when callbacks come. */
#include <stdlib.h>
#include <string.h>

#include "base/metric.h"
#include "rig.h"

static void test_open_tells_backend_and_place(void **state)
{
	struct rig *rig = *state;

	assert_string_equal(store_backend_name(rig->store), rig_backend);
	assert_non_null(strstr(store_place(rig->store), rig_is_sqlite() ? "rig.db" : "rig"));
}

static void test_open_unknown_url_is_invalid(void **state)
{
	struct rig *rig = *state;
	static const char *const bad[] = {"", "gathering.db", "mysql://x",
		"sqlite:", "sqlite::memory:", "postgresql://h/d?nonsense=1"};

	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct err err = {0};
		struct store *store = NULL;
		struct store_opts opts = {
			.loop = &rig->loop, .url = bad[i], .queue_max = 1, .batch_max = 1};

		assert_int_equal(store_open(&opts, &store, &err), ERR_INVALID);
		assert_null(store);
		assert_true(strlen(err.text) > 0);
	}
}

/* Each callback frees its request, which is allowed; the counter tells how often it came. */
struct counted {
	struct store_stats stats;
	int *calls;
	int expected_code;
};

static void on_counted(struct store_req *req)
{
	struct counted *counted = container_of(req, struct counted, stats.req);

	assert_int_equal(req->err.code, counted->expected_code);
	(*counted->calls)++;
	free(counted);
}

static void ask(struct rig *rig, int *calls, int expected_code)
{
	struct counted *counted = calloc(1, sizeof(*counted));

	assert_non_null(counted);
	counted->calls = calls;
	counted->expected_code = expected_code;
	store_stats(rig->store, &counted->stats, on_counted);
}

static void test_callback_comes_once_on_a_later_turn(void **state)
{
	struct rig *rig = *state;
	int calls = 0;

	for (int i = 0; i < 50; i++)
		ask(rig, &calls, 0);
	assert_int_equal(calls, 0);
	rig_settle(rig);
	assert_int_equal(calls, 50);
}

static void test_idle_store_does_not_hold_the_loop(void **state)
{
	struct rig *rig = *state;

	(void)rig_create(rig, "a", "", RIG_EPOCH_MS);
	if (rig_is_pg())
		return; /* connections are watched */
	assert_int_equal(uv_run(&rig->loop, UV_RUN_DEFAULT), 0);
}

static void test_queue_full_is_unavailable(void **state)
{
	struct rig *rig = *state;
	int calls = 0;

	rig_close(rig);
	assert_int_equal(rig_open(rig, 3, 2, NULL), 0);
	for (int i = 0; i < 3; i++)
		ask(rig, &calls, 0);
	assert_int_equal(metrics.store_queue, 3);
	for (int i = 0; i < 5; i++)
		ask(rig, &calls, ERR_UNAVAILABLE);
	assert_int_equal(calls, 0);
	rig_settle(rig);
	assert_int_equal(calls, 8);
	assert_int_equal(metrics.store_queue, 0);
	ask(rig, &calls, 0); /* there is room again */
	rig_settle(rig);
	assert_int_equal(calls, 9);
}

struct chain {
	struct store_stats stats;
	struct store *store;
	int left;
	bool is_inside;
};

static void on_chain(struct store_req *req)
{
	struct chain *chain = container_of(req, struct chain, stats.req);

	assert_int_equal(req->err.code, 0);
	assert_false(chain->is_inside); /* not from within the call below */
	if (--chain->left == 0)
		return;
	chain->is_inside = true;
	store_stats(chain->store, &chain->stats, on_chain);
	chain->is_inside = false;
}

static void test_callback_may_ask_again(void **state)
{
	struct rig *rig = *state;
	struct chain chain = {.store = rig->store, .left = 20};

	store_stats(rig->store, &chain.stats, on_chain);
	rig_settle(rig);
	assert_int_equal(chain.left, 0);
}

struct at_close {
	struct store_create_actions create[40];
	struct action *action[40];
	int answered, kept, cancelled;
	bool is_closed;
};

static struct at_close at_close;

static void on_at_close(struct store_req *req)
{
	assert_false(at_close.is_closed); /* closed comes last */
	at_close.answered++;
	at_close.kept += req->err.code == 0;
	at_close.cancelled += req->err.code == ERR_CANCELLED;
	store_create_actions_fini(container_of(req, struct store_create_actions, req));
}

static void on_closed(void *data)
{
	assert_false(at_close.is_closed);
	at_close.is_closed = true;
}

/* Lets the first batch get under way, then closes over the others. */
static void test_close_finishes_what_runs_and_cancels_what_waits(void **state)
{
	struct rig *rig = *state;
	char name[16];

	memset(&at_close, 0, sizeof(at_close));
	rig_close(rig);
	assert_int_equal(rig_open(rig, 100, 10, NULL), 0);
	for (size_t i = 0; i < COUNT_OF(at_close.create); i++) {
		(void)snprintf(name, sizeof(name), "close-%zu", i);
		at_close.action[i] = rig_define(rig, name, "");
		at_close.create[i].actions = &at_close.action[i];
		at_close.create[i].count = 1;
		store_create_actions(rig->store, &at_close.create[i], on_at_close);
	}
	if (rig_is_sqlite())
		(void)uv_run(&rig->loop, UV_RUN_NOWAIT);
	store_close(rig->store, on_closed, NULL);
	rig->store = NULL;
	(void)uv_run(&rig->loop, UV_RUN_DEFAULT);
	assert_true(at_close.is_closed);
	assert_int_equal(at_close.answered, 40);
	assert_int_equal(at_close.kept + at_close.cancelled, 40);
	assert_true(at_close.cancelled > 0);
	if (rig_is_sqlite())
		assert_true(at_close.kept >= 10); /* the batch under way */
}

/* Asks again from the callback that says it is closing: answered too, and then it does close. */
static int asked_again;

static void on_cancelled(struct store_req *req)
{
	assert_int_equal(req->err.code, ERR_CANCELLED);
	if (asked_again++ < 3)
		store_stats(req->store, container_of(req, struct store_stats, req), on_cancelled);
}

static void test_ask_while_closing_is_cancelled(void **state)
{
	struct rig *rig = *state;
	struct store_stats stats = {0};
	struct store *store = rig->store;

	memset(&at_close, 0, sizeof(at_close));
	asked_again = 0;
	store_close(store, on_closed, NULL);
	store_stats(store, &stats, on_cancelled);
	rig->store = NULL;
	(void)uv_run(&rig->loop, UV_RUN_DEFAULT);
	assert_int_equal(asked_again, 4);
	assert_true(at_close.is_closed);
}

static void test_batch_one_failure_leaves_the_others(void **state)
{
	struct rig *rig = *state;
	struct action *names[3] = {
		rig_define(rig, "one", ""), rig_define(rig, "one", ""), rig_define(rig, "two", "")};
	struct store_create_actions create[3] = {0};
	int codes[3];

	for (int i = 0; i < 3; i++) {
		create[i].actions = &names[i];
		create[i].count = 1;
		store_create_actions(rig->store, &create[i], rig_on_done);
	}
	for (int i = 0; i < 3; i++) {
		while (!create[i].req.data)
			(void)uv_run(&rig->loop, UV_RUN_ONCE);
		codes[i] = create[i].req.err.code;
		store_create_actions_fini(&create[i]);
	}
	assert_int_equal(codes[0], 0);
	assert_int_equal(codes[1], ERR_CONFLICT);
	assert_int_equal(codes[2], 0);
}

static void count_migration(const char *name, void *data)
{
	assert_non_null(strstr(name, ".sql"));
	(*(int *)data)++;
}

static void test_migrate_is_repeatable_and_dry_run_changes_nothing(void **state)
{
	struct rig *rig = *state;
	struct err err = {0};
	char url[sizeof(rig->url) + 8];
	int count = 0, expected = rig_is_sqlite() || rig_is_pg() ? 1 : 0;

	(void)snprintf(url, sizeof(url), "%s-2", rig->url);
	assert_int_equal(
		store_migrate(url, STORE_MIGRATE_DRY_RUN, count_migration, &count, &err), 0);
	assert_int_equal(count, expected);
	assert_int_equal(store_migrate(url, STORE_MIGRATE_APPLY, count_migration, &count, &err), 0);
	assert_int_equal(count, 2 * expected);
	assert_int_equal(store_migrate(url, STORE_MIGRATE_APPLY, count_migration, &count, &err), 0);
	assert_int_equal(
		store_migrate(url, STORE_MIGRATE_DRY_RUN, count_migration, &count, &err), 0);
	assert_int_equal(count, 2 * expected);
}

const struct CMUnitTest life_tests[] = {
	RIG_TEST(test_open_tells_backend_and_place),
	RIG_TEST(test_open_unknown_url_is_invalid),
	RIG_TEST(test_callback_comes_once_on_a_later_turn),
	RIG_TEST(test_idle_store_does_not_hold_the_loop),
	RIG_TEST(test_queue_full_is_unavailable),
	RIG_TEST(test_callback_may_ask_again),
	RIG_TEST(test_close_finishes_what_runs_and_cancels_what_waits),
	RIG_TEST(test_ask_while_closing_is_cancelled),
	RIG_TEST(test_batch_one_failure_leaves_the_others),
	RIG_TEST(test_migrate_is_repeatable_and_dry_run_changes_nothing),
};
const size_t life_test_count = COUNT_OF(life_tests);
