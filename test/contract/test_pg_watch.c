/* SPDX-License-Identifier: Apache-2.0
 *
 * What several instances on one PostgreSQL hold, hear and notice of each other (store_watch), and
 * that none of them waits for what somebody else has locked. Stores of one process stand for
 * instances; one that is to die is a session of the test's own, with a row in the table. */
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "store/instances.h"

#define T0 RIG_EPOCH_MS

/* --- an instance, and what it was told --- */

struct peer {
	struct store *store;
	struct id id;
	struct store_held held;
	struct id action, cancel, pause, dead; /* the last of each */
	int actions, many, pending, cancels, pauses, wishes, deaths;
	bool is_open, is_closed;
};

static void on_held(const struct store_held *held, void *data)
{
	((struct peer *)data)->held = *held;
}

static void on_action(const struct id *id, void *data)
{
	struct peer *peer = data;

	if (!id) {
		peer->many++;
		return;
	}
	peer->action = *id;
	peer->actions++;
}

static void on_pending(void *data)
{
	((struct peer *)data)->pending++;
}

static void on_cancel(const struct id *id, void *data)
{
	struct peer *peer = data;

	peer->cancel = *id;
	peer->cancels++;
}

static void on_pause(const struct id *id, void *data)
{
	struct peer *peer = data;

	peer->pause = *id;
	peer->pauses++;
}

static void on_wish(void *data)
{
	((struct peer *)data)->wishes++;
}

static void on_dead(const struct id *ids, size_t count, void *data)
{
	struct peer *peer = data;

	peer->dead = ids[count - 1];
	peer->deaths += (int)count;
}

static void on_opened(const struct err *err, void *data)
{
	assert_null(err);
	((struct peer *)data)->is_open = true;
}

static void on_closed(void *data)
{
	((struct peer *)data)->is_closed = true;
}

static void watch(struct peer *peer)
{
	static const struct store_watcher watcher = {.on_held = on_held,
		.on_action = on_action,
		.on_pending = on_pending,
		.on_cancel = on_cancel,
		.on_pause = on_pause,
		.on_wish = on_wish,
		.on_dead = on_dead};
	struct store_watcher mine = watcher;

	mine.data = peer;
	store_watch(peer->store, &mine);
	store_want_work(peer->store, true);
}

static void open_peer(struct rig *rig, struct peer *peer, bool waits_for_leases)
{
	struct err err = {0};

	*peer = (struct peer){.id = id_make()};
	if (store_open(&(struct store_opts){.loop = &rig->loop,
			       .url = rig->url,
			       .queue_max = 100,
			       .batch_max = 100,
			       .instance_id = peer->id,
			       .waits_for_leases = waits_for_leases,
			       .opened = on_opened,
			       .opened_data = peer},
		    &peer->store, &err) < 0)
		fail_msg("%s", err.text);
	rig_await(rig, peer->is_open);
	watch(peer);
}

static void close_peer(struct rig *rig, struct peer *peer)
{
	store_close(peer->store, on_closed, peer);
	rig_await(rig, peer->is_closed);
}

/* The rig's own store, and another one; each has its half. */
static void open_two(struct rig *rig, struct peer *a, struct peer *b)
{
	*a = (struct peer){.store = rig->store, .id = rig->instance_id};
	watch(a);
	open_peer(rig, b, false);
	rig_await(rig, __builtin_popcountll(a->held.shards) == 32 &&
			       __builtin_popcountll(b->held.shards) == 32);
}

/* Ends the session of one of them. */
static void end_session(const struct peer *peer)
{
	char id[ID_TEXT_SIZE], count[16];
	auto_free char *sql = NULL;

	id_format(&peer->id, id);
	sql = xasprintf("SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype ="
			" 'advisory' AND classid = 1198811251 AND mode = 'ExclusiveLock' AND"
			" objid = (gathering.instance_key('%s')::bigint & 4294967295)::oid",
		id);
	rig_pg_sql(sql, count, sizeof(count));
	assert_string_equal(count, "1");
}

/* --- who looks after what --- */

static void test_two_share_and_the_one_that_stays_gets_all(void **state)
{
	struct rig *rig = *state;
	struct peer a, b;

	open_two(rig, &a, &b);
	assert_true((a.held.shards & b.held.shards) == 0);
	assert_int_equal(a.held.members, 2);
	assert_true(a.held.is_listening && b.held.is_listening);
	assert_int_equal(a.held.duties & b.held.duties, 0);
	store_want_work(b.store, false); /* it drains */
	rig_await(rig, a.held.shards == ALL_SHARDS);
	store_want_work(b.store, true);
	rig_await(rig, __builtin_popcountll(b.held.shards) == 32);
	/* its session ends: it is told that it is exposed, and takes the locks anew */
	end_session(&b);
	rig_await(rig, b.held.is_exposed && b.held.shards == ALL_SHARDS);
	rig_await(rig, !b.held.is_exposed && __builtin_popcountll(b.held.shards) == 32);
	close_peer(rig, &b);
	rig_await(rig, a.held.shards == ALL_SHARDS && a.held.members == 1);
	store_unwatch(a.store);
}

/* It says nothing, only its session ends; its row is gone as well, so nobody is suspected. */
static void test_one_that_leaves_without_a_word_is_noticed(void **state)
{
	struct rig *rig = *state;
	struct peer a;
	char id[ID_TEXT_SIZE];
	struct id other = id_make();
	auto_free char *join = NULL, *leave = NULL, *seen = NULL;
	char value[16] = "";

	a = (struct peer){.store = rig->store, .id = rig->instance_id};
	watch(&a);
	rig_await(rig, a.held.shards == ALL_SHARDS);
	id_format(&other, id);
	join = xasprintf("INSERT INTO gathering.instance VALUES ('%s', 'h', 1, 'v', 'ready',"
			 " gathering.clock(), gathering.clock(), clock_timestamp())",
		id);
	rig_pg_sql(join, NULL, 0);
	leave = xasprintf("SELECT gathering.hail('%s'), pg_try_advisory_lock(1198811252,"
			  " gathering.instance_key('%s')); COMMIT; NOTIFY gathering, '%s i'",
		id, id, id);
	rig_pg_hold(leave);
	rig_await(rig, __builtin_popcountll(a.held.shards) == 32);
	/* somebody waits for its lock: it has been seen */
	seen = xasprintf("SELECT count(*) FROM pg_locks WHERE classid = 1198811251 AND NOT granted"
			 " AND objid = (gathering.instance_key('%s')::bigint & 4294967295)::oid",
		id);
	while (value[0] != '1') {
		rig_turn(rig, rig_patience(), "the lookout");
		rig_pg_sql(seen, value, sizeof(value));
	}
	rig_pg_sql("DELETE FROM gathering.instance WHERE host = 'h'", NULL, 0);
	rig_pg_let_go();
	rig_await(rig, a.held.shards == ALL_SHARDS);
	assert_int_equal(a.deaths, 0);
	store_unwatch(a.store);
}

/* Session locks outlive a statement that fails after it took them. */
static void test_a_balance_that_fails_in_its_middle_keeps_no_locks(void **state)
{
	struct rig *rig = *state;
	struct peer a = {.store = rig->store, .id = rig->instance_id}, b;
	char failures[16] = "0";

	rig_pg_sql(
		"CREATE TABLE gathering.broken AS SELECT 1 AS x; CREATE SEQUENCE"
		" gathering.failures; ALTER FUNCTION gathering.balance RENAME TO whole;"
		" CREATE FUNCTION gathering.balance(in_me uuid, in_wants boolean, in_is_member"
		" boolean, in_owned bigint, in_duties integer, in_duty_count integer,"
		" OUT ret_members bigint, OUT ret_is_member boolean, OUT ret_owned bigint,"
		" OUT ret_duties integer, OUT ret_freed boolean) LANGUAGE plpgsql AS $$ BEGIN"
		" SELECT * INTO ret_members, ret_is_member, ret_owned, ret_duties, ret_freed FROM"
		" gathering.whole(in_me, in_wants, in_is_member, in_owned, in_duties,"
		" in_duty_count); IF EXISTS (SELECT FROM gathering.broken) THEN"
		" PERFORM nextval('gathering.failures'); RAISE EXCEPTION 'in the middle';"
		" END IF; END $$",
		NULL, 0);
	watch(&a);
	while (atoi(failures) < 2) {
		rig_turn(rig, rig_patience(), "a balance");
		rig_pg_sql("SELECT last_value FROM gathering.failures", failures, sizeof(failures));
	}
	rig_pg_sql("DELETE FROM gathering.broken", NULL, 0);
	rig_await(rig, a.held.members == 1 && a.held.is_listening);
	open_peer(rig, &b, false);
	rig_await(rig, __builtin_popcountll(a.held.shards) == 32 &&
			       __builtin_popcountll(b.held.shards) == 32);
	close_peer(rig, &b);
	store_unwatch(a.store);
}

/* --- what is heard --- */

static void test_what_one_writes_the_other_hears(void **state)
{
	struct rig *rig = *state;
	struct peer a, b;
	struct action *action;
	struct run *run, *other;
	struct store_cancel_run cancel = {0};
	struct store_change_run pause = {.change = RUN_PAUSE};
	struct store_wish wish = {.drain = true};

	open_two(rig, &a, &b);
	action = rig_create(rig, "a", "\"overlap\": \"allow\"", T0);
	rig_await(rig, b.actions == 1);
	assert_true(id_equal(&b.action, &action->id));
	run = rig_start(rig, action, T0);
	other = rig_start(rig, rig_create(rig, "b", "", T0), T0);
	(void)rig_trigger(rig, action);
	rig_await(rig, b.pending > 0);
	cancel.id = run->id;
	assert_int_equal(rig_do(rig, cancel_run, &cancel), 0);
	store_cancel_run_fini(&cancel);
	rig_await(rig, b.cancels == 1);
	assert_true(id_equal(&b.cancel, &run->id));
	pause.id = other->id;
	assert_int_equal(rig_do(rig, change_run, &pause), 0);
	store_change_run_fini(&pause);
	rig_await(rig, b.pauses == 1);
	assert_true(id_equal(&b.pause, &other->id));
	wish.instance_id = b.id;
	assert_int_equal(rig_do(rig, wish, &wish), 0);
	rig_await(rig, b.wishes == 1);
	/* our own words are not news */
	assert_int_equal(a.actions + a.many + a.pending + a.cancels + a.pauses + a.wishes, 0);
	close_peer(rig, &b);
	store_unwatch(a.store);
}

static void test_many_actions_are_told_as_many(void **state)
{
	struct rig *rig = *state;
	struct action *actions[50];
	struct store_create_actions create = {.actions = actions, .count = COUNT_OF(actions)};
	struct peer a, b;
	char name[16];

	open_two(rig, &a, &b);
	for (size_t i = 0; i < COUNT_OF(actions); i++) {
		(void)snprintf(name, sizeof(name), "a%zu", i);
		actions[i] = rig_define(rig, name, "");
	}
	assert_int_equal(rig_do(rig, create_actions, &create), 0);
	store_create_actions_fini(&create);
	rig_await(rig, b.many == 1);
	assert_true(b.actions < 50);
	close_peer(rig, &b);
	store_unwatch(a.store);
}

/* There is no session to say it in; there is one a moment later. */
static void test_what_could_not_be_told_is_told_when_there_is_a_session_again(void **state)
{
	struct rig *rig = *state;
	struct peer a, b;

	open_two(rig, &a, &b);
	end_session(&a);
	(void)rig_trigger(rig, rig_create(rig, "a", "", T0));
	rig_await(rig, b.actions + b.many > 0 && b.pending > 0);
	close_peer(rig, &b);
	store_unwatch(a.store);
}

/* --- who has died --- */

/* An instance that works on `run`, and whose session is the test's. */
static struct id make_mortal(const struct run *run)
{
	struct id id = id_make();
	char text[ID_TEXT_SIZE], run_text[ID_TEXT_SIZE];
	auto_free char *sql = NULL;

	id_format(&id, text);
	id_format(&run->id, run_text);
	sql = xasprintf("INSERT INTO gathering.instance VALUES ('%s', 'h', 1, 'v', 'ready',"
			" gathering.clock(), gathering.clock()); UPDATE gathering.run SET"
			" instance_id = '%s' WHERE id = '%s'; SELECT gathering.hail('%s');"
			" COMMIT; NOTIFY gathering, '%s i'",
		text, text, run_text, text, text);
	rig_pg_hold(sql);
	return id;
}

static size_t count_recovered(struct rig *rig)
{
	struct store_recover recover = {0};

	assert_int_equal(rig_do(rig, recover, &recover), 0);
	return recover.ret_count;
}

static void test_one_that_dies_is_told_and_its_runs_can_be_recovered(void **state)
{
	struct rig *rig = *state;
	struct run *run = rig_start(rig, rig_create(rig, "a", "", T0), T0);
	struct peer a = {.store = rig->store, .id = rig->instance_id};
	struct id mortal;

	watch(&a);
	rig_await(rig, a.held.is_listening);
	mortal = make_mortal(run);
	assert_int_equal(count_recovered(rig), 0);
	rig_pg_let_go();
	rig_await(rig, a.deaths == 1);
	assert_true(id_equal(&a.dead, &mortal));
	assert_int_equal(count_recovered(rig), 1);
	assert_run(rig_get_run(rig, &run->id), RUN_PENDING, REASON_OWNER_LOST);
	store_unwatch(a.store);
}

#define LONGER_THAN_THE_GRACE_MS 4000

static void on_time_over(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

static void test_one_that_waits_for_leases_takes_nobody_for_dead_before_they_end(void **state)
{
	struct rig *rig = *state;
	struct run *run = rig_start(rig, rig_create(rig, "a", "", T0), T0);
	struct peer b;
	uv_timer_t timer;
	bool is_over = false;

	open_peer(rig, &b, true);
	rig_await(rig, b.held.is_listening);
	(void)make_mortal(run);
	rig_pg_let_go();
	assert_int_equal(uv_timer_init(&rig->loop, &timer), 0);
	timer.data = &is_over;
	uv_timer_start(&timer, on_time_over, LONGER_THAN_THE_GRACE_MS, 0);
	rig_await(rig, is_over);
	uv_close((uv_handle_t *)&timer, NULL);
	assert_int_equal(b.deaths, 0);
	assert_int_equal(count_recovered(rig), 0);
	rig_now_ms = T0 + 30000;
	assert_int_equal(count_recovered(rig), 1);
	close_peer(rig, &b);
}

/* A claim that came through while its caller had given up: nobody names its run in a heartbeat. */
static void test_our_own_run_whose_lease_has_ended_is_recovered_by_ourselves(void **state)
{
	struct rig *rig = *state;
	struct run *run = rig_start(rig, rig_create(rig, "a", "", T0), T0);
	struct store_heartbeat beat = {.state = INSTANCE_READY};

	rig_now_ms = T0 + 30000;
	assert_int_equal(rig_do(rig, heartbeat, &beat), 0);
	assert_int_equal(beat.ret_orphans, 1);
	store_heartbeat_fini(&beat);
	assert_int_equal(count_recovered(rig), 1);
	assert_run(rig_get_run(rig, &run->id), RUN_PENDING, REASON_OWNER_LOST);
}

/* --- nobody waits for another one's lock --- */

static char *row_of(const struct run *run, const char *format)
{
	char id[ID_TEXT_SIZE];

	id_format(&run->id, id);
	return xasprintf("SELECT %s FROM gathering.run WHERE id = '%s'", format, id);
}

/* -> how many are lost */
static size_t beat(struct rig *rig, struct store_lease *leases, size_t count)
{
	struct store_heartbeat beat = {.state = INSTANCE_READY, .leases = leases, .count = count};
	size_t lost;

	assert_int_equal(rig_do(rig, heartbeat, &beat), 0);
	lost = beat.ret_lost_count;
	assert_true(lost == 0 || id_equal(&beat.ret_lost[0], &leases[0].run_id));
	store_heartbeat_fini(&beat);
	return lost;
}

static void assert_leased_for(const struct run *run, const char *milliseconds)
{
	auto_free char *sql =
		row_of(run, "(extract(epoch FROM lease_until - gathering.clock()) * 1000)::int");
	char left[32];

	rig_pg_sql(sql, left, sizeof(left));
	assert_string_equal(left, milliseconds);
}

static void test_a_heartbeat_passes_over_a_run_that_is_locked_and_extends_the_others(void **state)
{
	struct rig *rig = *state;
	struct run *held = rig_start(rig, rig_create(rig, "held", "", T0), T0);
	struct run *fine = rig_start(rig, rig_create(rig, "fine", "", T0), T0);
	struct store_lease leases[] = {{held->id, 1}, {fine->id, 1}};
	auto_free char *sql = row_of(held, "1");
	auto_free char *lock = xasprintf("%s FOR UPDATE", sql);

	rig_pg_hold(lock);
	rig_now_ms = T0 + 15000;
	assert_int_equal(beat(rig, leases, 2), 0); /* half of its lease is left */
	assert_leased_for(fine, "30000");
	assert_leased_for(held, "15000");
	rig_now_ms = T0 + 15001;
	assert_int_equal(beat(rig, leases, 2), 1); /* while there is time to end its work */
	rig_pg_let_go();
	assert_int_equal(beat(rig, leases, 2), 0);
	assert_leased_for(held, "30000");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_two_share_and_the_one_that_stays_gets_all),
		RIG_TEST(test_one_that_leaves_without_a_word_is_noticed),
		RIG_TEST(test_a_balance_that_fails_in_its_middle_keeps_no_locks),
		RIG_TEST(test_what_one_writes_the_other_hears),
		RIG_TEST(test_many_actions_are_told_as_many),
		RIG_TEST(test_what_could_not_be_told_is_told_when_there_is_a_session_again),
		RIG_TEST(test_one_that_dies_is_told_and_its_runs_can_be_recovered),
		RIG_TEST(test_one_that_waits_for_leases_takes_nobody_for_dead_before_they_end),
		RIG_TEST(test_our_own_run_whose_lease_has_ended_is_recovered_by_ourselves),
		RIG_TEST(test_a_heartbeat_passes_over_a_run_that_is_locked_and_extends_the_others),
	};

	rig_backend = "postgresql";
	return cmocka_run_group_tests_name("pg_watch", tests, NULL, NULL);
}
