/* SPDX-License-Identifier: Apache-2.0
 *
 * heartbeat, list, reap and shards, as every backend answers them; what takes several instances is
 * in test_pg_store.c. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rig.h"
#include "store/instances.h"

#define T0 RIG_EPOCH_MS

static void test_heartbeat_tells_what_is_lost_and_what_is_to_end(void **state)
{
	struct rig *rig = *state;
	struct run *fine = rig_start(rig, rig_create(rig, "fine", "", T0), T0);
	struct run *ended = rig_start(rig, rig_create(rig, "ended", "", T0), T0);
	struct run *asked = rig_start(rig, rig_create(rig, "asked", "", T0), T0);
	struct run *paused = rig_start(rig, rig_create(rig, "paused", "", T0), T0);
	struct store_lease leases[] = {
		{fine->id, 1},
		{ended->id, 1},
		{asked->id, 1},
		{fine->id, 2},
		{id_make(), 1},
		{paused->id, 1},
	};
	struct store_heartbeat beat = {
		.state = INSTANCE_READY, .leases = leases, .count = COUNT_OF(leases)};
	struct store_cancel_run cancel = {.id = asked->id};
	struct store_change_run pause = {.id = paused->id, .change = RUN_PAUSE};

	assert_int_equal(rig_succeed(rig, ended), 0);
	assert_int_equal(rig_do(rig, cancel_run, &cancel), 0);
	store_cancel_run_fini(&cancel);
	assert_int_equal(rig_do(rig, change_run, &pause), 0);
	store_change_run_fini(&pause);
	rig_now_ms = T0 + 10;
	leases[3].run_id = ended->id;
	assert_int_equal(rig_do(rig, heartbeat, &beat), 0);
	assert_int_equal(beat.ret_now_ms, T0 + 10);
	assert_int_equal(beat.ret_lease_until_ms, T0 + 10 + 30000);
	assert_int_equal(beat.ret_instances, 1);
	assert_int_equal(beat.ret_orphans, 0);
	assert_int_equal(beat.ret_silent, 0);
	assert_true(beat.ret_is_first);
	assert_true(!store_is_shared(rig->store) || beat.ret_lease_end_ms == T0 + 10 + 30000);
	assert_false(beat.ret_was_gone);
	assert_int_equal(beat.ret_cancel_count, 1);
	assert_true(id_equal(&beat.ret_cancel[0], &asked->id));
	assert_int_equal(beat.ret_pause_count, 1);
	assert_true(id_equal(&beat.ret_pause[0], &paused->id));
	assert_int_equal(beat.ret_lost_count, 3);
	for (size_t i = 0; i < beat.ret_lost_count; i++)
		assert_false(id_equal(&beat.ret_lost[i], &fine->id));
	store_heartbeat_fini(&beat);
}

static void test_heartbeat_of_an_idle_instance(void **state)
{
	struct rig *rig = *state;
	struct store_heartbeat beat = {.state = INSTANCE_DRAINING};

	assert_int_equal(rig_do(rig, heartbeat, &beat), 0);
	assert_int_equal(beat.ret_lost_count + beat.ret_cancel_count, 0);
	store_heartbeat_fini(&beat);
}

static void test_list_instances_shows_us(void **state)
{
	struct rig *rig = *state;
	struct store_list_instances list = {0};

	(void)rig_start(rig, rig_create(rig, "a", "", T0), T0);
	assert_int_equal(rig_do(rig, list_instances, &list), 0);
	assert_int_equal(list.ret_count, 1);
	assert_true(id_equal(&list.ret_instances[0].id, &rig->instance_id));
	assert_int_equal(list.ret_instances[0].pid, getpid());
	assert_string_equal(list.ret_instances[0].version, GATHERING_VERSION);
	assert_true(strlen(list.ret_instances[0].host) > 0);
	assert_int_equal(list.ret_instances[0].running, 1);
	store_list_instances_fini(&list);
}

static void test_reap_never_takes_us(void **state)
{
	struct rig *rig = *state;
	struct store_reap reap = {.dead_ms = 1};

	rig_now_ms += INT64_C(86400000);
	assert_int_equal(rig_do(rig, reap, &reap), 0);
	assert_int_equal(reap.ret_dead_count, 0);
	store_reap_fini(&reap);
}

static void test_look_by_shard_shows_each_action_once(void **state)
{
	struct rig *rig = *state;
	char name[16];
	size_t seen = 0;

	if (rig_is_sqlite())
		return; /* one instance looks after all */
	for (int i = 0; i < 30; i++) {
		(void)snprintf(name, sizeof(name), "a%d", i);
		(void)rig_create(rig, name, "", T0);
	}
	for (int shard = 0; shard < STORE_SHARDS; shard++) {
		struct store_look look = {.limit = 100, .shards = UINT64_C(1) << shard};

		assert_int_equal(rig_do(rig, look, &look), 0);
		for (size_t i = 0; i < look.ret_count; i++)
			assert_int_equal(store_shard_of(&look.ret_actions[i]->id), shard);
		seen += look.ret_count;
		store_look_fini(&look);
	}
	assert_int_equal(seen, 30);
}

/* --- the watcher of one instance alone --- */

struct ears {
	struct store_held held;
	int heard;
};

static void on_held(const struct store_held *held, void *data)
{
	((struct ears *)data)->held = *held;
}

static void on_id(const struct id *id, void *data)
{
	(void)id;
	((struct ears *)data)->heard++;
}

static void on_word(void *data)
{
	((struct ears *)data)->heard++;
}

static void on_ids(const struct id *ids, size_t count, void *data)
{
	(void)ids;
	((struct ears *)data)->heard += (int)count;
}

static void test_one_instance_alone_holds_everything_and_hears_nothing(void **state)
{
	struct rig *rig = *state;
	struct ears ears = {.held = *store_held(rig->store)};
	struct store_watcher watcher = {.on_held = on_held,
		.on_action = on_id,
		.on_pending = on_word,
		.on_cancel = on_id,
		.on_pause = on_id,
		.on_wish = on_word,
		.on_dead = on_ids,
		.data = &ears};
	struct store_wish wish = {.instance_id = id_make(), .drain = true};
	struct action *action;

	store_watch(rig->store, &watcher);
	store_want_work(rig->store, true);
	rig_await(rig, ears.held.shards == ALL_SHARDS && ears.held.members == 1);
	rig_await(rig, ears.held.is_listening == store_is_shared(rig->store));
	assert_false(ears.held.is_exposed || ears.held.is_pooled);
	for (int duty = 0; duty < STORE_DUTY_COUNT; duty++)
		rig_await(rig, (ears.held.duties >> duty) & 1);
	assert_memory_equal(&ears.held, store_held(rig->store), sizeof(ears.held));
	action = rig_create(rig, "a", "", T0);
	(void)rig_start(rig, action, T0);
	(void)rig_trigger(rig, action);
	assert_int_equal(rig_do(rig, wish, &wish), ERR_NOT_FOUND);
	assert_int_equal(ears.heard, 0);
	store_unwatch(rig->store);
}

const struct CMUnitTest instance_tests[] = {
	RIG_TEST(test_heartbeat_tells_what_is_lost_and_what_is_to_end),
	RIG_TEST(test_heartbeat_of_an_idle_instance),
	RIG_TEST(test_list_instances_shows_us),
	RIG_TEST(test_reap_never_takes_us),
	RIG_TEST(test_look_by_shard_shows_each_action_once),
	RIG_TEST(test_one_instance_alone_holds_everything_and_hears_nothing),
};
const size_t instance_test_count = COUNT_OF(instance_tests);
