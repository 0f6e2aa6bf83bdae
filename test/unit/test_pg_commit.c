/* SPDX-License-Identifier: Apache-2.0
 *
 * The server reports a statement as done before it commits: what goes wrong in between must never
 * be told as success. */
#include "pg_rig.h"

static struct cluster cluster;

static int start_cluster(void **state)
{
	cluster_start(&cluster, NULL);
	return 0;
}

static int stop_cluster(void **state)
{
	cluster_stop(&cluster);
	guard_check();
	return 0;
}

static void open_rig(struct rig *rig, enum pg_route route)
{
	rig_init(rig, cluster.url);
	rig->opts.route = route;
	rig_connect(rig);
	rig_exec(rig, "DROP TABLE IF EXISTS t, kinds CASCADE");
	rig_exec(rig, "CREATE TABLE kinds (kind int PRIMARY KEY)");
	rig_exec(rig, "CREATE TABLE t (kind int REFERENCES kinds DEFERRABLE INITIALLY DEFERRED)");
}

static void assert_deferred(enum pg_route route)
{
	struct rig rig;
	struct ask ask, after;

	open_rig(&rig, route);
	ask_init(&ask, &rig, "INSERT INTO t VALUES (1)");
	ask_init(&after, &rig, "INSERT INTO t VALUES (NULL)");
	ask_start(&ask);
	ask_start(&after);
	ask_wait(&ask);
	ask_assert_err(&ask, ERR_CONFLICT, "23503");
	assert_string_equal(ask.query.constraint, "t_kind_fkey");
	ask_wait(&after); /* a transaction of its own, on the same session */
	ask_assert_ok(&after);
	assert_int_equal(rig.down_count, 0);
	assert_int_equal(rig_i64(&rig, "SELECT count(*) FROM t"), 1);
	ask_fini(&ask);
	ask_fini(&after);
	rig_close(&rig);
}

static void test_deferred_constraint_is_an_error_of_its_statement(void **state)
{
	assert_deferred(PG_DIRECT);
	assert_deferred(PG_POOLED);
}

/* The session ends while the statement, whose rows have been sent, commits. */
static void test_session_lost_in_the_commit_is_no_success(void **state)
{
	struct rig rig;
	struct ask ask;

	open_rig(&rig, PG_DIRECT);
	rig_exec(&rig, "CREATE OR REPLACE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS $$"
		       " BEGIN PERFORM pg_terminate_backend(pg_backend_pid());"
		       " PERFORM pg_sleep(60); RETURN NULL; END $$");
	rig_exec(&rig, "CREATE CONSTRAINT TRIGGER leaves AFTER INSERT ON t"
		       " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION leave()");
	ask_init(&ask, &rig, "INSERT INTO t VALUES (NULL) RETURNING repeat('x', 100000)");
	ask_run(&ask);
	ask_assert_err(&ask, ERR_UNAVAILABLE, "57P01");
	assert_true(ask.query.was_sent);
	ask_fini(&ask);
	rig_until(&rig, rig.ready_count == 2);
	assert_int_equal(rig_i64(&rig, "SELECT count(*) FROM t"), 0);
	rig_close(&rig);
}

/* Its time is up while it commits. */
static void test_deadline_in_the_commit(void **state)
{
	struct rig rig;
	struct ask ask;

	open_rig(&rig, PG_DIRECT);
	rig_exec(&rig, "CREATE OR REPLACE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$"
		       " BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$");
	rig_exec(&rig, "CREATE CONSTRAINT TRIGGER dawdles AFTER INSERT ON t"
		       " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle()");
	ask_init(&ask, &rig, "INSERT INTO t VALUES (NULL) RETURNING repeat('x', 100000)");
	ask.query.timeout_ms = 100;
	ask_run(&ask);
	ask_assert_err(&ask, ERR_TIMEOUT, "");
	ask_fini(&ask);
	assert_true(rig_i64(&rig, "SELECT count(*) FROM t") >= 0); /* the connection is of use */
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deferred_constraint_is_an_error_of_its_statement),
		cmocka_unit_test(test_session_lost_in_the_commit_is_no_success),
		cmocka_unit_test(test_deadline_in_the_commit),
	};

	return cmocka_run_group_tests_name("pg_commit", tests, start_cluster, stop_cluster);
}
