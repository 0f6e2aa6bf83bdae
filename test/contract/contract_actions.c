/* SPDX-License-Identifier: Apache-2.0
 *
 * create, get, list, replace, pause, delete. */
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "store/care.h"
#include "store/sqlite_priv.h"

/* LIST() gives defaults that a row of a test may replace. */
#pragma GCC diagnostic ignored "-Woverride-init"

static void test_create_keeps_the_definition_and_sets_the_row(void **state)
{
	struct rig *rig = *state;
	struct action *given = rig_define(rig, "nightly",
		"\"tags\": [\"a\", \"b\"], \"overlap\": \"queue\", \"queue_limit\": 7, "
		"\"priority\": -5,"
		"\"description\": \"d\xc3\xa9j\xc3\xa0\"");
	struct action *stored = rig_create(rig, "other", "", NO_TIME);
	struct store_create_actions create = {.actions = &given, .count = 1};
	auto_free char *before = action_definition_text(given);

	given->next_due_ms = RIG_EPOCH_MS + 5;
	rig_now_ms += 77;
	assert_int_equal(rig_do(rig, create_actions, &create), 0);
	stored = rig_own_action(rig, action_ref(create.ret_actions[0]));
	store_create_actions_fini(&create);
	for (int round = 0; round < 2; round++) {
		auto_free char *after = action_definition_text(stored);

		assert_string_equal(after, before);
		assert_false(id_is_zero(&stored->id));
		assert_int_equal(stored->version, 1);
		assert_false(stored->is_paused);
		assert_int_equal(stored->next_due_ms, RIG_EPOCH_MS + 5);
		assert_int_equal(stored->created_at_ms, RIG_EPOCH_MS + 77);
		assert_int_equal(stored->updated_at_ms, RIG_EPOCH_MS + 77);
		stored = rig_get(rig, &stored->id);
	}
}

static void test_create_takes_the_id_given(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_define(rig, "mine", ""), *again = rig_define(rig, "yours", "");
	struct store_create_actions create = {.actions = &action, .count = 1};
	struct store_create_actions second = {.actions = &again, .count = 1};

	action->id = again->id = id_make();
	assert_int_equal(rig_do(rig, create_actions, &create), 0);
	assert_true(id_equal(&create.ret_actions[0]->id, &action->id));
	store_create_actions_fini(&create);
	assert_int_equal(rig_do(rig, create_actions, &second), ERR_CONFLICT);
	assert_string_equal(second.req.err.field, "/id");
	store_create_actions_fini(&second);
}

static void test_create_is_all_or_none_and_tells_whose_name(void **state)
{
	struct rig *rig = *state;
	struct action *first[3] = {
		rig_define(rig, "a", ""), rig_define(rig, "b", ""), rig_define(rig, "taken", "")};
	struct action *twice[2] = {rig_define(rig, "c", ""), rig_define(rig, "c", "")};
	struct store_create_actions create = {.actions = first, .count = 3};
	struct store_create_actions doubled = {.actions = twice, .count = 2};
	struct store_stats stats = {0};

	(void)rig_create(rig, "taken", "", NO_TIME);
	assert_int_equal(rig_do(rig, create_actions, &create), ERR_CONFLICT);
	assert_int_equal(create.ret_index, 2);
	assert_null(create.ret_actions);
	assert_non_null(strstr(create.req.err.text, "'taken'"));
	assert_int_equal(rig_do(rig, create_actions, &doubled), ERR_CONFLICT);
	assert_int_equal(doubled.ret_index, 1);
	assert_int_equal(rig_do(rig, stats, &stats), 0);
	assert_int_equal(stats.ret_actions, 1);
	store_create_actions_fini(&create);
	store_create_actions_fini(&doubled);
}

static void test_create_many_come_back_in_order(void **state)
{
	struct rig *rig = *state;
	struct action *given[100];
	struct store_create_actions create = {.actions = given, .count = COUNT_OF(given)};
	char name[16];

	for (size_t i = 0; i < COUNT_OF(given); i++) {
		(void)snprintf(name, sizeof(name), "n%03zu", (i * 37) % 100);
		given[i] = rig_define(rig, name, "");
	}
	assert_int_equal(rig_do(rig, create_actions, &create), 0);
	for (size_t i = 0; i < COUNT_OF(given); i++)
		assert_string_equal(create.ret_actions[i]->name, given[i]->name);
	store_create_actions_fini(&create);
}

static void test_get_by_id_and_by_name(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "found", "", NO_TIME);
	struct store_get_action by_name = {.name = "found"}, absent = {.name = "Found"};
	struct store_get_action unknown = {.id = id_make()};

	assert_string_equal(rig_get(rig, &action->id)->name, "found");
	assert_int_equal(rig_do(rig, get_action, &by_name), 0);
	assert_true(id_equal(&by_name.ret_action->id, &action->id));
	store_get_action_fini(&by_name);
	assert_int_equal(rig_do(rig, get_action, &absent), ERR_NOT_FOUND);
	assert_null(absent.ret_action);
	store_get_action_fini(&absent);
	assert_int_equal(rig_do(rig, get_action, &unknown), ERR_NOT_FOUND);
	store_get_action_fini(&unknown);
}

/* The names of a page, joined by spaces; "+" when there are more. */
static const char *list_names(struct rig *rig, struct store_list_actions *list)
{
	static char text[512];
	size_t len = 0;

	text[0] = '\0';
	assert_int_equal(rig_do(rig, list_actions, list), 0);
	for (size_t i = 0; i < list->ret_count; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", len ? " " : "",
			list->ret_actions[i]->name);
	if (list->ret_has_more)
		(void)snprintf(text + len, sizeof(text) - len, "+");
	return text;
}

static void assert_list(struct rig *rig, struct store_list_actions list, const char *expected,
	int64_t expected_total)
{
	list.want_total = true;
	assert_string_equal(list_names(rig, &list), expected);
	assert_int_equal(list.ret_total, expected_total);
	store_list_actions_fini(&list);
}

#define LIST(...) ((struct store_list_actions){.limit = 100, .kind = -1, .state = -1, __VA_ARGS__})

static void test_list_filters(void **state)
{
	struct rig *rig = *state;
	struct store_pause_action pause = {.is_paused = true, .next_due_ms = NO_TIME};
	struct action *zebra = rig_create(rig, "Zebra_1", "\"tags\": [\"x\"]", RIG_EPOCH_MS);

	(void)rig_create(rig, "alpha", "\"tags\": [\"x\", \"y\"]", RIG_EPOCH_MS);
	(void)rig_create(rig, "beta.2", "\"tags\": [\"xy\"]", NO_TIME);
	(void)rig_create(rig, "gamma-3", "\"schedule\": null", NO_TIME);
	pause.id = zebra->id;
	assert_int_equal(rig_do(rig, pause_action, &pause), 0);
	store_pause_action_fini(&pause);

	assert_list(rig, LIST(.limit = 10), "Zebra_1 alpha beta.2 gamma-3", 4);
	assert_list(rig, LIST(.tag = "x"), "Zebra_1 alpha", 2);
	assert_list(rig, LIST(.tag = "X"), "", 0);
	assert_list(rig, LIST(.name_part = "EB"), "Zebra_1", 1);
	assert_list(rig, LIST(.name_part = "_"), "Zebra_1", 1);
	assert_list(rig, LIST(.name_part = "%"), "", 0);
	assert_list(rig, LIST(.name_part = "\\"), "", 0);
	assert_list(rig, LIST(.name_part = "a%"), "", 0);
	assert_list(rig, LIST(.kind = ACTION_EXEC), "Zebra_1 alpha beta.2 gamma-3", 4);
	assert_list(rig, LIST(.kind = ACTION_HTTP), "", 0);
	assert_list(rig, LIST(.state = ACTION_PAUSED), "Zebra_1", 1);
	assert_list(rig, LIST(.state = ACTION_COMPLETED), "beta.2", 1);
	assert_list(rig, LIST(.state = ACTION_ACTIVE), "alpha gamma-3", 2);
	assert_list(rig, LIST(.state = ACTION_ACTIVE, .tag = "y", .name_part = "ph"), "alpha", 1);
	assert_list(rig, LIST(.tag = "x", .after_name = "Zebra_1"), "alpha", 2);
}

static void test_list_pages_without_gap_while_rows_come(void **state)
{
	struct rig *rig = *state;
	struct store_list_actions list = LIST(.limit = 2);
	static const char *const pages[] = {"b d+", "f h+", "i"};
	char last[8];

	(void)rig_create(rig, "b", "", NO_TIME);
	(void)rig_create(rig, "d", "", NO_TIME);
	(void)rig_create(rig, "f", "", NO_TIME);
	(void)rig_create(rig, "h", "", NO_TIME);
	for (size_t i = 0; i < COUNT_OF(pages); i++) {
		assert_string_equal(list_names(rig, &list), pages[i]);
		(void)snprintf(
			last, sizeof(last), "%s", list.ret_actions[list.ret_count - 1]->name);
		store_list_actions_fini(&list);
		list.after_name = last;
		if (i > 0)
			continue;
		(void)rig_create(rig, "a", "", NO_TIME); /* behind us: not seen */
		(void)rig_create(rig, "i", "", NO_TIME); /* before us: seen */
	}
}

static void test_replace_changes_all_but_the_pause_flag(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "old", "\"tags\": [\"t1\"]", RIG_EPOCH_MS);
	struct action *next = rig_define(rig, "new", "\"tags\": [\"t2\"], \"overlap\": \"allow\"");
	struct store_pause_action pause = {
		.id = action->id, .is_paused = true, .next_due_ms = RIG_EPOCH_MS};
	struct store_replace_action replace = {
		.id = action->id, .expected_version = 2, .action = next};

	assert_int_equal(rig_do(rig, pause_action, &pause), 0);
	store_pause_action_fini(&pause);
	next->next_due_ms = RIG_EPOCH_MS + 9;
	rig_now_ms += 1000;
	assert_int_equal(rig_do(rig, replace_action, &replace), 0);
	for (int round = 0; round < 2; round++) {
		struct action *seen = round ? rig_get(rig, &action->id) : replace.ret_action;

		assert_string_equal(seen->name, "new");
		assert_int_equal(seen->version, 3);
		assert_true(seen->is_paused);
		assert_int_equal(seen->overlap, OVERLAP_ALLOW);
		assert_int_equal(seen->next_due_ms, RIG_EPOCH_MS + 9);
		assert_int_equal(seen->created_at_ms, RIG_EPOCH_MS);
		assert_int_equal(seen->updated_at_ms, RIG_EPOCH_MS + 1000);
	}
	store_replace_action_fini(&replace);
	assert_list(rig, LIST(.tag = "t1"), "", 0);
	assert_list(rig, LIST(.tag = "t2"), "new", 1);
}

static void test_replace_errors_change_nothing(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "one", "", RIG_EPOCH_MS);
	struct store_replace_action replace = {
		.id = action->id, .expected_version = 2, .action = rig_define(rig, "x", "")};

	(void)rig_create(rig, "two", "", RIG_EPOCH_MS);
	assert_int_equal(rig_do(rig, replace_action, &replace), ERR_VERSION);
	replace.expected_version = 1;
	replace.action = rig_define(rig, "two", "");
	assert_int_equal(rig_do(rig, replace_action, &replace), ERR_CONFLICT);
	assert_string_equal(replace.req.err.field, "/name");
	assert_null(replace.ret_action);
	replace.id = id_make();
	assert_int_equal(rig_do(rig, replace_action, &replace), ERR_NOT_FOUND);
	store_replace_action_fini(&replace);
	assert_int_equal(rig_get(rig, &action->id)->version, 1);
	assert_string_equal(rig_get(rig, &action->id)->name, "one");
	replace = (struct store_replace_action){
		.id = action->id, .expected_version = 0, .action = rig_define(rig, "one", "")};
	assert_int_equal(rig_do(rig, replace_action, &replace), 0); /* 0: any; own name is free */
	store_replace_action_fini(&replace);
}

static void test_runs_keep_the_definition_they_were_claimed_with(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "\"description\": \"first\"", RIG_EPOCH_MS);
	struct store_replace_action replace = {
		.id = action->id, .action = rig_define(rig, "a", "\"description\": \"second\"")};
	struct store_take take = {.capacity = {1, 1}};

	assert_true(rig_claim(rig, action, RIG_EPOCH_MS, 0)); /* pending */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(rig_do(rig, replace_action, &replace), 0);
		store_replace_action_fini(&replace);
	}
	assert_int_equal(rig_do(rig, take, &take), 0);
	assert_int_equal(take.ret_started_count, 1);
	assert_int_equal(take.ret_started[0].action_version, 1);
	assert_string_equal(take.ret_started[0].action->description, "first");
	assert_int_equal(take.ret_started[0].action->version, 1);
	store_take_fini(&take);
}

/* `expected` there are; memory counts its references. */
static void assert_definitions(struct rig *rig, int64_t expected)
{
	struct store_retain walk = {.actions_max = 10, .limit = 10};
	static const char sqlite_text[] = "SELECT count(*) FROM definition";
	int64_t count = expected;
	char text[32];
	struct conn conn;

	assert_int_equal(rig_do(rig, retain, &walk), 0);
	assert_true(walk.ret_is_done);
	if (rig_is_sqlite()) {
		assert_int_equal(
			conn_open(&conn, rig->url + strlen("sqlite:"), CONN_READER, NULL), 0);
		assert_int_equal(conn_read_i64(&conn, sqlite_text, &count, NULL), 0);
		conn_close(&conn);
	} else if (rig_is_pg()) {
		rig_pg_sql("SELECT count(*) FROM gathering.definition", text, sizeof(text));
		count = strtoll(text, NULL, 10);
	}
	assert_int_equal(count, expected);
}

static void test_definition_goes_when_no_run_needs_it(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "\"overlap\": \"allow\"", NO_TIME);
	struct store_replace_action replace = {
		.id = action->id, .action = rig_define(rig, "a", "\"overlap\": \"allow\"")};
	struct run *running, *held;

	replace.action->next_due_ms = NO_TIME;
	for (int version = 2; version <= 4; version++) {
		(void)rig_trigger(rig, action);
		assert_int_equal(rig_do(rig, replace_action, &replace), 0);
		store_replace_action_fini(&replace);
	}
	assert_definitions(rig, 4); /* three wait */
	assert_int_equal(rig_take(rig, 2, &running), 2);
	held = rig_newest_run(rig, action, 1u << RUN_RUNNING);
	assert_int_equal(rig_finish(rig, held, ATTEMPT_INTERRUPTED,
				 (struct run_follow_up){RUN_HELD, REASON_SHUTDOWN, 0, true}),
		0);
	assert_definitions(rig, 4); /* one runs, one is held, one waits */
	assert_int_equal(rig_succeed(rig, running), 0);
	assert_definitions(rig, 3);
	assert_int_equal(rig_take(rig, 1, &running), 1);
	assert_int_equal(rig_succeed(rig, running), 0);
	assert_definitions(rig, 2);
	assert_int_equal(rig_do(rig, replace_action, &replace), 0); /* the last one has no runs */
	store_replace_action_fini(&replace);
	assert_definitions(rig, 2);
}

static void test_pause_sets_flag_cursor_and_version(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "", RIG_EPOCH_MS);
	struct store_pause_action pause = {
		.id = action->id, .expected_version = 1, .is_paused = true, .next_due_ms = NO_TIME};
	struct action *seen;

	rig_now_ms += 5;
	assert_int_equal(rig_do(rig, pause_action, &pause), 0);
	assert_true(pause.ret_action->is_paused);
	assert_int_equal(pause.ret_action->version, 2);
	assert_int_equal(pause.ret_action->next_due_ms, NO_TIME);
	assert_int_equal(pause.ret_action->updated_at_ms, RIG_EPOCH_MS + 5);
	store_pause_action_fini(&pause);

	pause.expected_version = 2;
	pause.next_due_ms = RIG_EPOCH_MS; /* already paused: not even the cursor moves */
	assert_int_equal(rig_do(rig, pause_action, &pause), 0);
	store_pause_action_fini(&pause);
	seen = rig_get(rig, &action->id);
	assert_int_equal(seen->version, 2);
	assert_int_equal(seen->next_due_ms, NO_TIME);

	pause.is_paused = false;
	pause.expected_version = 1;
	assert_int_equal(rig_do(rig, pause_action, &pause), ERR_VERSION);
	pause.expected_version = 0;
	assert_int_equal(rig_do(rig, pause_action, &pause), 0);
	assert_int_equal(pause.ret_action->next_due_ms, RIG_EPOCH_MS);
	store_pause_action_fini(&pause);
	pause.id = id_make();
	assert_int_equal(rig_do(rig, pause_action, &pause), ERR_NOT_FOUND);
	store_pause_action_fini(&pause);
	assert_false(rig_get(rig, &action->id)->is_paused);
	assert_int_equal(rig_get(rig, &action->id)->version, 3);
}

static void test_delete_takes_the_ledger_along(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "\"overlap\": \"allow\"", RIG_EPOCH_MS);
	struct action *other = rig_create(rig, "b", "", RIG_EPOCH_MS);
	struct run *done = rig_start(rig, action, RIG_EPOCH_MS), *running, *kept;
	struct store_delete_action delete = {.id = action->id, .expected_version = 3};
	struct store_get_run get = {.id = done->id};

	assert_int_equal(rig_succeed(rig, done), 0);
	rig_now_ms += MINUTE_MS;
	running = rig_start(rig, action, RIG_EPOCH_MS + MINUTE_MS);
	kept = rig_start(rig, other, RIG_EPOCH_MS);
	assert_int_equal(rig_do(rig, delete_action, &delete), ERR_VERSION);
	assert_int_equal(delete.ret_running_count, 0);
	delete.expected_version = 1;
	assert_int_equal(rig_do(rig, delete_action, &delete), 0);
	assert_int_equal(delete.ret_running_count, 1);
	assert_true(id_equal(&delete.ret_running[0], &running->id));
	store_delete_action_fini(&delete);

	assert_int_equal(rig_do(rig, get_run, &get), ERR_NOT_FOUND);
	assert_int_equal(rig_succeed(rig, running), ERR_STALE);
	assert_int_equal(rig_do(rig, delete_action, &delete), ERR_NOT_FOUND);
	store_delete_action_fini(&delete);
	assert_int_equal(rig_succeed(rig, kept), 0);
	(void)rig_create(rig, "a", "", NO_TIME); /* the name is free again */
}

const struct CMUnitTest action_tests[] = {
	RIG_TEST(test_create_keeps_the_definition_and_sets_the_row),
	RIG_TEST(test_create_takes_the_id_given),
	RIG_TEST(test_create_is_all_or_none_and_tells_whose_name),
	RIG_TEST(test_create_many_come_back_in_order),
	RIG_TEST(test_get_by_id_and_by_name),
	RIG_TEST(test_list_filters),
	RIG_TEST(test_list_pages_without_gap_while_rows_come),
	RIG_TEST(test_replace_changes_all_but_the_pause_flag),
	RIG_TEST(test_replace_errors_change_nothing),
	RIG_TEST(test_runs_keep_the_definition_they_were_claimed_with),
	RIG_TEST(test_definition_goes_when_no_run_needs_it),
	RIG_TEST(test_pause_sets_flag_cursor_and_version),
	RIG_TEST(test_delete_takes_the_ledger_along),
};
const size_t action_test_count = COUNT_OF(action_tests);
