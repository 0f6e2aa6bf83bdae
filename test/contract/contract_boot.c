/* SPDX-License-Identifier: Apache-2.0
 *
 * The start of the service: which actions run then, and which not. Who decides that it starts when
 * there are several instances is in test_pg_store.c. */
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "store/boot.h"

#define T0 RIG_EPOCH_MS

static struct action *starter(
	struct rig *rig, const char *name, const char *schedule, const char *members)
{
	auto_free char *text =
		xasprintf("\"schedule\": {%s\"run_on_start\": true}%s", schedule, members);

	return rig_create(rig, name, text, NO_TIME);
}

static struct store_boot boot(
	struct rig *rig, struct action *const *actions, size_t count, bool is_running)
{
	struct boot_item items[8];
	struct store_boot boot = {.items = items, .count = count, .is_running = is_running};

	assert_true(count <= COUNT_OF(items));
	for (size_t i = 0; i < count; i++)
		items[i] = (struct boot_item){.action = actions[i]};
	assert_int_equal(rig_do(rig, boot, &boot), 0);
	return boot;
}

static struct run *newest_run(struct rig *rig, const struct action *action)
{
	struct store_list_runs list = {.limit = 1,
		.action_id = action->id,
		.trigger = -1,
		.due_from_ms = NO_TIME,
		.due_to_ms = NO_TIME};
	struct id id = {0};

	assert_int_equal(rig_do(rig, list_runs, &list), 0);
	assert_int_equal(list.ret_count, 1);
	id = list.ret_runs[0].id;
	store_list_runs_fini(&list);
	return rig_get_run(rig, &id);
}

static void test_start_of_the_service_runs_each_once_and_again_only_as_another_start(void **state)
{
	struct rig *rig = *state;
	struct action *both[] = {starter(rig, "a", "", ", \"priority\": 7"),
		starter(rig, "b", "\"every\": \"1h\", ", "")};
	struct store_boot first = boot(rig, both, 2, false), second;
	const struct run *run = newest_run(rig, both[0]);

	assert_int_equal(first.ret_answer, BOOT_STARTED);
	assert_int_equal(first.ret_queued, 2);
	assert_int_equal(first.ret_skipped, 0);
	assert_run(run, RUN_PENDING, REASON_QUEUED);
	assert_int_equal(run->trigger, TRIGGER_START);
	assert_int_equal(run->due_at_ms, T0);
	assert_int_equal(run->priority, 7);
	assert_int_equal(newest_run(rig, both[1])->trigger, TRIGGER_START);
	assert_int_equal(action_state(rig_get(rig, &both[0]->id)), ACTION_ACTIVE);
	second = boot(rig, both, 2, false);
	assert_int_equal(
		second.ret_answer, store_is_shared(rig->store) ? BOOT_RUNNING : BOOT_STARTED);
	assert_int_equal(second.ret_queued, 0);
	assert_int_equal(second.ret_skipped, store_is_shared(rig->store) ? 0 : 2); /* overlap */
	store_boot_fini(&first);
	store_boot_fini(&second);
}

static void test_service_that_goes_on_starts_nothing(void **state)
{
	struct rig *rig = *state;
	struct action *action = starter(rig, "a", "", "");
	struct store_boot booted = boot(rig, &action, 1, true);

	assert_int_equal(booted.ret_answer, BOOT_RUNNING);
	assert_int_equal(rig_run_count(rig, action), 0);
	store_boot_fini(&booted);
}

static void test_start_obeys_pause_overlap_and_blackout(void **state)
{
	struct rig *rig = *state;
	struct action *paused = starter(rig, "paused", "", ", \"overlap\": \"allow\"");
	struct action *busy = starter(rig, "busy", "", "");
	struct action *dark = starter(rig, "dark", "", "");
	struct action *kills = starter(rig, "kills", "", ", \"overlap\": \"cancel_running\"");
	struct store_pause_action pause = {
		.id = paused->id, .is_paused = true, .next_due_ms = NO_TIME};
	struct run *old = rig_trigger(rig, kills), *taken;
	const struct boot_item items[] = {{.action = paused, .verdict = DUE_SKIP_BLACKOUT},
		{.action = busy}, {.action = dark, .verdict = DUE_SKIP_BLACKOUT},
		{.action = kills}};
	struct store_boot booted = {.items = items, .count = COUNT_OF(items)};

	assert_int_equal(rig_take(rig, 1, &taken), 1);
	assert_int_equal(rig_do(rig, pause_action, &pause), 0);
	store_pause_action_fini(&pause);
	(void)rig_trigger(rig, busy);
	rig_now_ms++;
	assert_int_equal(rig_do(rig, boot, &booted), 0);
	assert_int_equal(booted.ret_queued, 1);
	assert_int_equal(booted.ret_skipped, 3);
	assert_run(newest_run(rig, paused), RUN_SKIPPED, REASON_PAUSED);
	assert_run(newest_run(rig, busy), RUN_SKIPPED, REASON_OVERLAP);
	assert_run(newest_run(rig, dark), RUN_SKIPPED, REASON_BLACKOUT);
	assert_run(newest_run(rig, kills), RUN_PENDING, REASON_QUEUED);
	assert_int_equal(booted.ret_cancel_count, 1);
	assert_true(id_equal(&booted.ret_cancel[0], &old->id));
	store_boot_fini(&booted);
}

static void test_start_takes_one_of_max_runs(void **state)
{
	struct rig *rig = *state;
	struct action *action = starter(rig, "a", "\"max_runs\": 1, ", ", \"overlap\": \"allow\"");
	struct action *twin = starter(rig, "b", "\"max_runs\": 1, ", ", \"overlap\": \"allow\"");
	struct action *both[] = {action, twin};
	struct store_boot booted = boot(rig, both, 1, false);

	assert_run(newest_run(rig, action), RUN_PENDING, REASON_QUEUED);
	store_boot_fini(&booted);
	if (store_is_shared(rig->store))
		return; /* a second start takes a second instance */
	rig_now_ms++;
	booted = boot(rig, both, 2, false);
	assert_run(newest_run(rig, action), RUN_SKIPPED, REASON_LIMIT);
	assert_run(newest_run(rig, twin), RUN_PENDING, REASON_QUEUED);
	store_boot_fini(&booted);
}

static void test_list_finds_who_runs_on_start_also_after_a_change(void **state)
{
	struct rig *rig = *state;
	struct action *action = starter(rig, "b", "", "");
	struct action *plain = rig_create(rig, "a", "", T0);
	struct store_list_actions list = {.limit = 10, .kind = -1, .state = -1, .on_start = true};
	struct store_replace_action replace = {.id = action->id,
		.action = rig_define(rig, "b", "\"schedule\": {\"every\": \"1h\"}")};

	assert_int_equal(rig_do(rig, list_actions, &list), 0);
	assert_int_equal(list.ret_count, 1);
	assert_true(id_equal(&list.ret_actions[0]->id, &action->id));
	store_list_actions_fini(&list);
	assert_int_equal(rig_do(rig, replace_action, &replace), 0);
	store_replace_action_fini(&replace);
	replace.id = plain->id;
	replace.action = rig_define(rig, "a", "\"schedule\": {\"run_on_start\": true}");
	assert_int_equal(rig_do(rig, replace_action, &replace), 0);
	store_replace_action_fini(&replace);
	assert_int_equal(rig_do(rig, list_actions, &list), 0);
	assert_int_equal(list.ret_count, 1);
	assert_true(id_equal(&list.ret_actions[0]->id, &plain->id));
	store_list_actions_fini(&list);
}

const struct CMUnitTest boot_tests[] = {
	RIG_TEST(test_start_of_the_service_runs_each_once_and_again_only_as_another_start),
	RIG_TEST(test_service_that_goes_on_starts_nothing),
	RIG_TEST(test_start_obeys_pause_overlap_and_blackout),
	RIG_TEST(test_start_takes_one_of_max_runs),
	RIG_TEST(test_list_finds_who_runs_on_start_also_after_a_change),
};
const size_t boot_test_count = COUNT_OF(boot_tests);
