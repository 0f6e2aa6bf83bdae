/* SPDX-License-Identifier: Apache-2.0
 *
 * Through PgBouncer in transaction mode: four sessions for everybody, and a statement may run in
 * any of them. */
#include "pg_rig.h"

static struct cluster cluster;

static int start_cluster(void **state)
{
	static const char *const args[] = {"--pooler", NULL};

	cluster_start(&cluster, args);
	return 0;
}

static int stop_cluster(void **state)
{
	cluster_stop(&cluster);
	guard_check();
	return 0;
}

static void rig_open(struct rig *rig)
{
	rig_init(rig, cluster.pooler_url);
	rig->opts.route = PG_POOLED;
	rig_connect(rig);
}

/* More clients than sessions, the same statements from all: nothing may be prepared in one session
 * and looked for in another. */
static void test_many_clients_share_few_sessions(void **state)
{
	static const struct pg_statement add = {"add", "SELECT $1 + 1"};
	enum {
		CLIENTS = 12,
		EACH = 50
	};
	struct rig rig;
	struct pg_conn *conns[CLIENTS];
	struct ask *asks = xcalloc(CLIENTS * EACH, sizeof(*asks));
	struct err err = {0};
	int order = 0, closed = 0;

	rig_init(&rig, cluster.pooler_url);
	rig.opts.route = PG_POOLED;
	for (int i = 0; i < CLIENTS; i++)
		assert_int_equal(pg_conn_create(&rig.opts, &conns[i], &err), 0);
	rig_until(&rig, rig.ready_count == CLIENTS);
	for (int i = 0; i < CLIENTS * EACH; i++) {
		ask_init(&asks[i], &rig, NULL);
		asks[i].query.statement = &add;
		asks[i].last_order = &order;
		pg_put_i64(&asks[i].query.params, i);
		pg_conn_query(conns[i % CLIENTS], &asks[i].query);
	}
	rig_until(&rig, order == CLIENTS * EACH);
	for (int i = 0; i < CLIENTS * EACH; i++) {
		assert_int_equal(ask_i64(&asks[i]), i + 1);
		ask_fini(&asks[i]);
	}
	assert_int_equal(rig.down_count, 0);
	free(asks);
	for (int i = 0; i < CLIENTS; i++) {
		rig.is_closed = false;
		pg_conn_close(conns[i], rig_on_closed, &rig);
		rig_until(&rig, rig.is_closed);
		closed++;
	}
	assert_int_equal(closed, CLIENTS);
	rig_fini(&rig);
}

static void test_transaction_stays_together(void **state)
{
	static const char *const texts[] = {"BEGIN", "CREATE TABLE pooled (id bigint)",
		"INSERT INTO pooled VALUES (1), (2)", "SELECT count(*) FROM pooled", "ROLLBACK",
		"SELECT count(*) FROM pg_tables WHERE tablename = 'pooled'"};
	struct ask asks[COUNT_OF(texts)];
	struct rig rig;

	rig_open(&rig);
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		ask_init(&asks[i], &rig, texts[i]);
		ask_start(&asks[i]);
	}
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		ask_wait(&asks[i]);
		ask_assert_ok(&asks[i]);
	}
	assert_int_equal(ask_i64(&asks[3]), 2);
	assert_int_equal(ask_i64(&asks[5]), 0);
	for (size_t i = 0; i < COUNT_OF(texts); i++)
		ask_fini(&asks[i]);
	rig_close(&rig);
}

static void test_errors_and_scripts(void **state)
{
	struct rig rig;
	struct ask ask;

	rig_open(&rig);
	ask_init(&ask, &rig, "SELECT 1/0");
	ask_run(&ask);
	ask_assert_err(&ask, ERR_INVALID, "22012");
	ask_fini(&ask);
	ask_init(&ask, &rig, NULL);
	ask.query.script = "CREATE TABLE scripted (id bigint); INSERT INTO scripted VALUES (1)";
	ask_run(&ask);
	ask_assert_ok(&ask);
	ask_fini(&ask);
	assert_int_equal(rig_i64(&rig, "SELECT count(*) FROM scripted"), 1);
	rig_close(&rig);
}

/* The pooler has keys of its own, and passes the cancel on. */
static void test_deadline_ends_the_statement(void **state)
{
	struct rig rig;
	struct ask slow;

	rig_open(&rig);
	ask_init(&slow, &rig, "SELECT pg_sleep(1000)");
	slow.query.timeout_ms = 50;
	ask_run(&slow);
	ask_assert_err(&slow, ERR_TIMEOUT, "");
	ask_fini(&slow);
	rig_until(&rig, pg_conn_load(rig.conn) == 0);
	while (rig_i64(&rig, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND "
			     "query LIKE '%pg_sleep(1000)%' "
			     "AND pid <> pg_backend_pid()") > 0)
		;
	assert_int_equal(pg_conn_session(rig.conn), 1);
	rig_close(&rig);
}

static void test_pool_with_checks(void **state)
{
	struct pg_pool_opts opts = pg_pool_defaults();
	struct pg_pool_stats stats;
	struct pg_pool *pool;
	struct err err = {0};
	struct rig rig;

	rig_init(&rig, cluster.pooler_url);
	opts.conn = rig.opts;
	opts.conn.route = PG_POOLED;
	opts.check_ms = 20;
	opts.check_timeout_ms = 20000;
	assert_int_equal(pg_pool_create(&opts, &pool, &err), 0);
	do {
		rig_turn(&rig);
		pg_pool_stats(pool, &stats);
	} while (stats.checks < 5);
	assert_int_equal(stats.sessions, 1);
	pg_pool_close(pool, 1000, rig_on_closed, &rig);
	rig_until(&rig, rig.is_closed);
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_clients_share_few_sessions),
		cmocka_unit_test(test_transaction_stays_together),
		cmocka_unit_test(test_errors_and_scripts),
		cmocka_unit_test(test_deadline_ends_the_statement),
		cmocka_unit_test(test_pool_with_checks),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
