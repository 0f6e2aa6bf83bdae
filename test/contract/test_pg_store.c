/* SPDX-License-Identifier: Apache-2.0
 *
 * What only the PostgreSQL backend has: its schema and migrations, several instances, lost
 * connections and a server that goes away. */
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "store/instances.h"

#define T0 RIG_EPOCH_MS

/* --- schema --- */

static void assert_check_lists(const char *constraint, const char *const names[])
{
	char text[512];
	auto_free char *sql = xasprintf("SELECT pg_get_constraintdef(oid) FROM pg_constraint"
					" WHERE conname = '%s'",
		constraint);
	size_t quotes = 0, count = 0;

	rig_pg_sql(sql, text, sizeof(text));
	for (; names[count]; count++) {
		auto_free char *quoted = xasprintf("'%s'", names[count]);

		if (!strstr(text, quoted))
			fail_msg("%s lacks %s: %s", constraint, quoted, text);
	}
	for (const char *at = text; (at = strchr(at, '\'')) != NULL; at++)
		quotes++;
	assert_int_equal(quotes, 2 * count); /* and nothing else */
}

static void test_schema_lists_the_names_of_the_model(void **state)
{
	(void)state;
	assert_check_lists("run_state", run_state_names);
	assert_check_lists("run_trigger", run_trigger_names);
	assert_check_lists("action_overlap_check", overlap_names);
	assert_check_lists("instance_state_check", store_instance_state_names);
}

static void test_schema_refuses_nonsense(void **state)
{
	struct rig *rig = *state;
	static const char *const nonsense[] = {
		"UPDATE gathering.run SET state = 'lost'",
		"UPDATE gathering.run SET instance_id = NULL",
		"UPDATE gathering.run SET lease_until = NULL",
		"UPDATE gathering.run SET attempt = -1",
		"INSERT INTO gathering.definition VALUES (gen_random_uuid(), 1, '{}')",
		"UPDATE gathering.definition SET body = '{'",
		"UPDATE gathering.action SET name = ''",
		"UPDATE gathering.action SET definition_version = 9",
	};
	char why[256], count[32];

	(void)rig_start(rig, rig_create(rig, "a", "", T0), T0);
	for (size_t i = 0; i < COUNT_OF(nonsense); i++)
		if (!rig_pg_refuses(nonsense[i], why, sizeof(why)))
			fail_msg("taken: %s", nonsense[i]);
	rig_pg_sql(
		"SELECT count(*) FROM gathering.run WHERE state = 'running'", count, sizeof(count));
	assert_string_equal(count, "1");
}

/* What a person sets by hand, to the microsecond, is a due time that can be claimed. */
static void test_times_by_hand_can_be_claimed(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "", T0);

	rig_pg_sql("UPDATE gathering.action SET next_due_at = next_due_at - interval '1234 us'",
		NULL, 0);
	action = rig_get(rig, &action->id);
	assert_true(rig_claim(rig, action, action->next_due_ms, 1));
}

/* The answer of the first try was lost: the one that made a row and the one that did not were ours.
 */
static void test_claim_asked_again_answers_what_it_won(void **state)
{
	struct rig *rig = *state;
	static const char *const again[] = {"false", "true"};
	char won[64];

	(void)rig_create(rig, "a", "", T0);
	(void)rig_create(rig, "b", "", T0);
	(void)rig_create(rig, "c", "", T0 + 1); /* whose due time has not come */
	for (size_t i = 0; i < COUNT_OF(again); i++) {
		auto_free char *sql = xasprintf(
			"SELECT ARRAY(SELECT unnest(c.ret_won) ORDER BY 1)::text || ' ' || "
			"c.ret_started::text"
			" FROM (SELECT array_agg(id ORDER BY name) AS ids, array_agg(version) AS "
			"versions,"
			" gathering.clock() AS due,"
			" uuid '11111111-1111-7111-8111-111111111111' AS run FROM "
			"gathering.action) a,"
			" gathering.claim(a.run, interval '30 s', %s, '{http,exec}', '{9,9}', "
			"a.ids,"
			" a.versions, array_fill(a.due, ARRAY[3]), array_fill(a.due + interval '1 "
			"min',"
			" ARRAY[3]), '{1}', ARRAY[a.run], ARRAY[a.due], ARRAY[a.due], '{1}', '{0}',"
			" '{f,f,f}') c",
			again[i]);

		rig_pg_sql(sql, won, sizeof(won));
		assert_string_equal(won, "{1,2} {1}");
	}
}

/* One that waits for a limit, behind somebody who replaces an action and runs it. */
static void test_take_that_waited_has_the_definitions_of_its_runs(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "", NO_TIME);
	struct run_limit limit = {.kind = -1, .tag = (char *)"db", .max = 5};
	struct store_take take = {.limits = &limit, .limit_count = 1};
	char id[ID_TEXT_SIZE], waiting[8] = "0";
	auto_free char *write = xasprintf(
		"SELECT gathering.replace('%s', 0, false, 'a', NULL, 'exec', 'allow', 9, 0, 0, "
		"true,"
		" false, d.body::text, '{}', NULL, '{NULL,NULL,NULL}', false, '{NULL,NULL,NULL}',"
		" '{NULL,NULL,NULL}') FROM gathering.definition d;"
		" SELECT gathering.trigger('%s', gen_random_uuid(), NULL, NULL, 0); COMMIT",
		id_format(&action->id, id), id);
	PGconn *other = PQconnectdb(rig->url);

	take.capacity[ACTION_EXEC] = 1;
	PQclear(PQexec(other, "INSERT INTO gathering.limit_lock VALUES ('/db');"
			      "BEGIN; SELECT FROM gathering.limit_lock FOR UPDATE"));
	store_take(rig->store, &take, rig_on_done);
	while (strcmp(waiting, "1") != 0) {
		(void)uv_run(&rig->loop, UV_RUN_NOWAIT);
		rig_pg_sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
			waiting, sizeof(waiting));
	}
	PQclear(PQexec(other, write));
	PQfinish(other);
	assert_int_equal(rig_wait(&rig->loop, &take.req), 0);
	assert_int_equal(take.ret_started_count, 1);
	assert_non_null(take.ret_started[0].action);
	store_take_fini(&take);
}

/* --- migrations --- */

#define CROWD 10

struct crowd {
	struct store *stores[CROWD];
	int opened, closed;
};

static void on_crowd_opened(const struct err *err, void *data)
{
	if (err)
		fail_msg("%s", err->text);
	((struct crowd *)data)->opened++;
}

static void on_crowd_closed(void *data)
{
	((struct crowd *)data)->closed++;
}

static void open_crowd(struct rig *rig, struct crowd *crowd, int count)
{
	struct err err = {0};

	for (int i = 0; i < count; i++)
		if (store_open(&(struct store_opts){.loop = &rig->loop,
				       .url = rig->url,
				       .queue_max = 100,
				       .batch_max = 100,
				       .instance_id = id_make(),
				       .opened = on_crowd_opened,
				       .opened_data = crowd},
			    &crowd->stores[i], &err) < 0)
			fail_msg("%s", err.text);
	while (crowd->opened < count)
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
}

static void close_crowd(struct rig *rig, struct crowd *crowd, int count)
{
	for (int i = 0; i < count; i++)
		store_close(crowd->stores[i], on_crowd_closed, crowd);
	while (crowd->closed < count)
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
}

static void test_ten_open_at_once_and_migrate_once(void **state)
{
	struct rig *rig = *state;
	struct crowd crowd = {0};
	char count[32];

	rig_close(rig);
	rig_pg_sql("SET client_min_messages = warning; DROP SCHEMA gathering CASCADE", NULL, 0);
	open_crowd(rig, &crowd, CROWD);
	rig_pg_sql("SELECT count(*) FROM gathering.migration", count, sizeof(count));
	assert_string_equal(count, "1");
	rig_pg_sql("SELECT count(*) FROM gathering.instance", count, sizeof(count));
	assert_string_equal(count, "10");
	close_crowd(rig, &crowd, CROWD);
	rig_pg_sql("SELECT count(*) FROM gathering.instance", count, sizeof(count));
	assert_string_equal(count, "0");
}

static void assert_open_fails(struct rig *rig, int code, const char *part)
{
	struct err err = {0};

	if (rig_open(rig, 10, 10, &err) != code)
		fail_msg("expected %s, got %s: %s", err_name(code), err_name(err.code), err.text);
	if (!strstr(err.text, part))
		fail_msg("no '%s' in: %s", part, err.text);
	rig->store = NULL;
}

static void test_newer_schema_is_used_while_it_allows_us(void **state)
{
	struct rig *rig = *state;

	rig_close(rig);
	rig_pg_sql("INSERT INTO gathering.migration VALUES (2, 'next', 1)", NULL, 0);
	assert_int_equal(rig_open(rig, 10, 10, NULL), 0);
	(void)rig_create(rig, "a", "", T0);
	rig_close(rig);
	rig_pg_sql("INSERT INTO gathering.migration VALUES (3, 'after', 2)", NULL, 0);
	assert_open_fails(rig, ERR_CORRUPT, "newer");
}

static void test_foreign_schema_is_left_alone(void **state)
{
	struct rig *rig = *state;

	rig_close(rig);
	rig_pg_sql("SET client_min_messages = warning; DROP SCHEMA gathering CASCADE;"
		   " CREATE SCHEMA gathering; CREATE TABLE gathering.theirs (x integer)",
		NULL, 0);
	assert_open_fails(rig, ERR_CORRUPT, "another program");
	rig_pg_sql("SELECT x FROM gathering.theirs", NULL, 0);
}

/* The step fails in its middle: nothing of it stays. */
static void test_failed_migration_leaves_nothing(void **state)
{
	struct rig *rig = *state;
	char count[32];

	rig_close(rig);
	rig_pg_sql(
		"SET client_min_messages = warning; DROP SCHEMA gathering CASCADE;"
		" CREATE OR REPLACE FUNCTION no_index() RETURNS event_trigger LANGUAGE plpgsql AS"
		" $$ BEGIN RAISE EXCEPTION 'no index today'; END $$;"
		" CREATE EVENT TRIGGER no_index ON ddl_command_start WHEN TAG IN ('CREATE INDEX')"
		" EXECUTE FUNCTION no_index()",
		NULL, 0);
	assert_open_fails(rig, ERR_INTERNAL, "no index today");
	rig_pg_sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'gathering'", count,
		sizeof(count));
	assert_string_equal(count, "0");
	rig_pg_sql("DROP EVENT TRIGGER no_index", NULL, 0);
	assert_int_equal(rig_open(rig, 10, 10, NULL), 0);
}

static void test_nobody_there_is_unavailable(void **state)
{
	struct rig *rig = *state;
	struct store_stats stats = {0};
	struct store *store;
	struct crowd crowd = {0};

	assert_int_equal(store_open(&(struct store_opts){.loop = &rig->loop,
					    .url = "postgresql://postgres@127.0.0.1:1/nothing",
					    .queue_max = 10,
					    .batch_max = 10,
					    .start_max_ms = 300,
					    .instance_id = id_make()},
				 &store, NULL),
		0);
	store_stats(store, &stats, rig_on_done);
	while (!stats.req.data)
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
	assert_int_equal(stats.req.err.code, ERR_UNAVAILABLE);
	assert_non_null(strstr(stats.req.err.text, "127.0.0.1"));
	store_close(store, on_crowd_closed, &crowd);
	while (crowd.closed == 0)
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
}

static void test_close_while_opening(void **state)
{
	struct rig *rig = *state;

	for (int turns = 0; turns < 12; turns++) {
		struct crowd crowd = {0};
		struct store *store;

		assert_int_equal(store_open(&(struct store_opts){.loop = &rig->loop,
						    .url = rig->url,
						    .queue_max = 10,
						    .batch_max = 10,
						    .instance_id = id_make(),
						    .opened = on_crowd_opened,
						    .opened_data = &crowd},
					 &store, NULL),
			0);
		for (int i = 0; i < turns && crowd.opened == 0; i++)
			(void)uv_run(&rig->loop, UV_RUN_ONCE);
		store_close(store, on_crowd_closed, &crowd);
		while (crowd.closed == 0)
			(void)uv_run(&rig->loop, UV_RUN_ONCE);
	}
}

/* --- output while it comes --- */

static void assert_live(struct rig *rig, const struct run *run, int64_t epoch, const char *expected)
{
	struct store_get_output get = {.run_id = run->id, .epoch = epoch};

	assert_int_equal(rig_do(rig, get_output, &get), expected ? 0 : ERR_NOT_FOUND);
	if (expected) {
		assert_true(get.ret_is_live);
		assert_int_equal(get.ret_total, 100);
		assert_int_equal(get.ret_attempt, run->attempt);
		assert_int_equal(get.ret_len, strlen(expected));
		assert_memory_equal(get.ret_output, expected, get.ret_len);
	}
	store_get_output_fini(&get);
}

static void test_output_put_while_it_runs_is_read_by_its_epoch_until_it_goes(void **state)
{
	struct rig *rig = *state;
	struct run *run = rig_start(rig, rig_create(rig, "a", "", T0), T0);
	struct store_put_live put = {
		.run_id = run->id, .epoch = run->epoch, .output = "one", .len = 3, .total = 100};

	assert_live(rig, run, run->epoch, NULL);
	assert_int_equal(rig_do(rig, put_live, &put), 0);
	assert_live(rig, run, run->epoch, "one");
	assert_live(rig, run, run->epoch + 1, NULL);
	assert_live(rig, run, 0, NULL); /* of those that ended */
	put.output = "three";
	put.len = 5;
	put.epoch++; /* not ours any more: nothing is written */
	assert_int_equal(rig_do(rig, put_live, &put), 0);
	assert_live(rig, run, put.epoch, NULL);
	put.epoch--;
	assert_int_equal(rig_do(rig, put_live, &put), 0);
	assert_live(rig, run, run->epoch, "three");
	put.output = NULL;
	assert_int_equal(rig_do(rig, put_live, &put), 0);
	assert_live(rig, run, run->epoch, NULL);
}

/* --- several instances --- */

/* Asks as another instance. */
#define other_do(rig, store, verb, request)                                                        \
	({                                                                                         \
		(request)->req.data = NULL;                                                        \
		store_##verb((store), (request), rig_on_done);                                     \
		rig_wait(&(rig)->loop, &(request)->req);                                           \
	})

static void beat(struct rig *rig, const struct run *run)
{
	struct store_lease lease = {run->id, run->epoch};
	struct store_heartbeat beat = {.state = INSTANCE_READY, .leases = &lease, .count = 1};

	assert_int_equal(rig_do(rig, heartbeat, &beat), 0);
	assert_int_equal(beat.ret_lost_count, 0);
	store_heartbeat_fini(&beat);
}

static size_t recover_as(struct rig *rig, struct store *store)
{
	struct store_recover recover = {0};

	assert_int_equal(other_do(rig, store, recover, &recover), 0);
	return recover.ret_count;
}

static void test_lease_holds_while_it_is_extended(void **state)
{
	struct rig *rig = *state;
	struct crowd crowd = {0};
	struct run *run = rig_start(rig, rig_create(rig, "a", "", T0), T0);

	open_crowd(rig, &crowd, 1);
	rig_now_ms = T0 + 29999;
	assert_int_equal(recover_as(rig, crowd.stores[0]), 0);
	beat(rig, run);
	rig_now_ms = T0 + 30000 + 29998;
	assert_int_equal(recover_as(rig, crowd.stores[0]), 0);
	rig_now_ms = T0 + 30000 + 29999;
	assert_int_equal(recover_as(rig, crowd.stores[0]), 1);
	assert_run(rig_get_run(rig, &run->id), RUN_PENDING, REASON_OWNER_LOST);
	assert_int_equal(rig_succeed(rig, run), ERR_STALE);
	close_crowd(rig, &crowd, 1);
}

static void test_reap_lets_a_dead_ones_runs_be_recovered(void **state)
{
	struct rig *rig = *state;
	struct crowd crowd = {0};
	struct run *run = rig_start(rig, rig_create(rig, "a", "", T0), T0);
	struct store_reap reap = {.dead_ms = 2000};
	struct store_heartbeat mine = {.state = INSTANCE_READY};

	open_crowd(rig, &crowd, 1);
	beat(rig, run);
	rig_now_ms = T0 + 2000;
	assert_int_equal(other_do(rig, crowd.stores[0], reap, &reap), 0);
	assert_int_equal(reap.ret_dead_count, 0); /* not silent for long enough */
	rig_now_ms = T0 + 2001;
	assert_int_equal(other_do(rig, crowd.stores[0], heartbeat, &mine), 0);
	assert_int_equal(mine.ret_orphans, 0);
	assert_int_equal(mine.ret_instances, 2);
	assert_int_equal(other_do(rig, crowd.stores[0], reap, &reap), 0);
	assert_int_equal(reap.ret_dead_count, 1);
	store_reap_fini(&reap);
	assert_int_equal(other_do(rig, crowd.stores[0], heartbeat, &mine), 0);
	assert_int_equal(mine.ret_orphans, 1);
	store_heartbeat_fini(&mine);
	assert_int_equal(recover_as(rig, crowd.stores[0]), 1);
	/* it was alive after all: it is told, and is in the table again */
	mine = (struct store_heartbeat){.state = INSTANCE_READY,
		.leases = &(struct store_lease){run->id, run->epoch},
		.count = 1};
	assert_int_equal(rig_do(rig, heartbeat, &mine), 0);
	assert_true(mine.ret_was_gone);
	assert_int_equal(mine.ret_lost_count, 1);
	store_heartbeat_fini(&mine);
	close_crowd(rig, &crowd, 1);
}

/* --- connections that are lost --- */

#define ROUNDS    100
#define PER_ROUND 8

struct tally {
	size_t started, ghosts; /* ghosts: runs of claims whose answer never came */
};

/* Keeps asking until there is an answer, as the scheduler does. One that says "not known" may have
 * been done, and is refused the next time. */
static int persist_finish(struct rig *rig, struct store_finish *finish)
{
	bool was_unknown = false;

	for (;;) {
		int code = rig_do(rig, finish, finish);

		if (code == ERR_STALE && was_unknown)
			return 0;
		if (code == 0)
			return finish->ret_state == RUN_SUCCEEDED ? 0 : -1;
		assert_int_equal(code, ERR_UNAVAILABLE);
		was_unknown = true;
	}
}

static void finish_started(struct rig *rig, const struct store_claim *claim)
{
	for (size_t i = 0; i < claim->ret_started_count; i++) {
		struct attempt_result result = {
			.outcome = ATTEMPT_SUCCEEDED, .exit_code = 0, .started_at_ms = rig_now_ms};
		struct store_finish finish = {.run = &claim->ret_started[i],
			.result = &result,
			.follow_up = {.state = RUN_SUCCEEDED, .counts = true}};

		assert_int_equal(persist_finish(rig, &finish), 0);
	}
}

static void claim_round(
	struct rig *rig, struct action **actions, int64_t due_at_ms, struct tally *tally)
{
	struct planned_due due = {due_at_ms, due_at_ms, 1, DUE_RUN};
	struct claim_item items[PER_ROUND];
	struct store_claim claim = {.items = items, .count = PER_ROUND, .capacity = {100, 100}};
	bool was_unknown = false;

	for (int i = 0; i < PER_ROUND; i++)
		items[i] = (struct claim_item){.action = actions[i],
			.expected_ms = due_at_ms,
			.dues = &due,
			.due_count = 1,
			.next_due_ms = due_at_ms + 1};
	while (rig_do(rig, claim, &claim) < 0) {
		assert_int_equal(claim.req.err.code, ERR_UNAVAILABLE);
		was_unknown = true;
	}
	for (int i = 1; i < PER_ROUND; i++)
		assert_int_equal(items[i].ret_won, items[0].ret_won); /* all or none */
	assert_true(items[0].ret_won || was_unknown);                 /* nobody else is there */
	assert_int_equal(claim.ret_started_count, items[0].ret_won ? PER_ROUND : 0);
	finish_started(rig, &claim);
	tally->started += claim.ret_started_count;
	tally->ghosts += PER_ROUND - claim.ret_started_count;
	store_claim_fini(&claim);
}

/* Somebody ends our sessions at random moments, again and again. */
static void test_lost_connections_lose_and_double_nothing(void **state)
{
	struct rig *rig = *state;
	struct action *actions[PER_ROUND];
	struct tally tally = {0};
	char value[64], name[64];

	rig_pg_sql("CREATE OR REPLACE PROCEDURE kill_now_and_then() LANGUAGE plpgsql AS $$ BEGIN"
		   " LOOP PERFORM pg_terminate_backend(pid) FROM pg_stat_activity"
		   " WHERE application_name LIKE 'gathering %'; COMMIT;"
		   " PERFORM pg_sleep(0.02 + random() * 0.05);"
		   " EXIT WHEN EXISTS (SELECT FROM pg_class WHERE relname = 'enough');"
		   " END LOOP; END $$",
		NULL, 0);
	for (int i = 0; i < PER_ROUND; i++) {
		(void)snprintf(name, sizeof(name), "a%d", i);
		actions[i] = rig_create(rig, name, "\"overlap\": \"allow\"", T0);
	}
	rig_pg_start("CALL kill_now_and_then()");
	rig_now_ms = T0 + 100000;
	for (int round = 0; round < ROUNDS; round++)
		claim_round(rig, actions, T0 + round, &tally);
	rig_pg_sql("CREATE TABLE enough ()", NULL, 0);
	rig_pg_end();
	rig_pg_sql("DROP TABLE enough", NULL, 0);
	rig_pg_sql("SELECT count(*) || ' ' || count(*) FILTER (WHERE state = 'succeeded')"
		   " || ' ' || count(DISTINCT (action_id, due_at)) || ' '"
		   " || (SELECT count(*) FROM gathering.attempt) FROM gathering.run",
		value, sizeof(value));
	(void)snprintf(name, sizeof(name), "%zu %zu %zu %zu", tally.started + tally.ghosts,
		tally.started, tally.started + tally.ghosts, tally.started);
	if (strcmp(value, name) != 0)
		fail_msg("runs, succeeded, due times, attempts are %s, not %s", value, name);
	assert_true(tally.ghosts < tally.started);
}

static void test_server_restart_is_survived(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "", T0);
	struct store_get_action get = {.id = action->id};
	struct run *run;

	for (int i = 0; i < 3; i++) {
		while (rig_do(rig, get_action, &get) != 0)
			;
		store_get_action_fini(&get);
		run = rig_start(rig, action, rig_now_ms);
		rig_pg_do(i == 1 ? "restart fast" : "restart immediate");
		while (rig_succeed(rig, run) != 0)
			;
		rig_now_ms += MINUTE_MS;
	}
	assert_int_equal(rig_run_count(rig, action), 3);
}

static void test_away_is_unavailable_and_comes_back(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_create(rig, "a", "", T0), *more = rig_define(rig, "b", "");
	struct store_get_action get = {.id = action->id};
	struct store_create_actions create = {.actions = &more, .count = 1};

	rig_pg_do("stop immediate");
	assert_int_equal(rig_do(rig, get_action, &get), ERR_UNAVAILABLE);
	assert_int_equal(rig_do(rig, create_actions, &create), ERR_UNAVAILABLE);
	rig_pg_do("start");
	while (rig_do(rig, get_action, &get) != 0)
		;
	store_get_action_fini(&get);
	while (rig_do(rig, create_actions, &create) != 0)
		;
	store_create_actions_fini(&create);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_schema_lists_the_names_of_the_model),
		RIG_TEST(test_schema_refuses_nonsense),
		RIG_TEST(test_times_by_hand_can_be_claimed),
		RIG_TEST(test_claim_asked_again_answers_what_it_won),
		RIG_TEST(test_take_that_waited_has_the_definitions_of_its_runs),
		RIG_TEST(test_ten_open_at_once_and_migrate_once),
		RIG_TEST(test_newer_schema_is_used_while_it_allows_us),
		RIG_TEST(test_foreign_schema_is_left_alone),
		RIG_TEST(test_failed_migration_leaves_nothing),
		RIG_TEST(test_nobody_there_is_unavailable),
		RIG_TEST(test_close_while_opening),
		RIG_TEST(test_output_put_while_it_runs_is_read_by_its_epoch_until_it_goes),
		RIG_TEST(test_lease_holds_while_it_is_extended),
		RIG_TEST(test_reap_lets_a_dead_ones_runs_be_recovered),
		RIG_TEST(test_lost_connections_lose_and_double_nothing),
		RIG_TEST(test_server_restart_is_survived),
		RIG_TEST(test_away_is_unavailable_and_comes_back),
	};

	rig_backend = "postgresql";
	return cmocka_run_group_tests_name("pg_store", tests, NULL, NULL);
}
