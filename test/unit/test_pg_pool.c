/* SPDX-License-Identifier: Apache-2.0
 *
 * The pool against a real server: who is served when, how many connections there are, what becomes
 * of them, and how it ends. */
#include "pg_rig.h"

#include "seed.h"

static struct cluster cluster;

static int start_cluster(void **state)
{
	/* few enough for one pool to take them all */
	cluster_start(&cluster, (const char *const[]){"--set", "max_connections=40", NULL});
	return 0;
}

static int stop_cluster(void **state)
{
	cluster_stop(&cluster);
	guard_check();
	return 0;
}

struct bath {
	struct rig rig; /* its loop; no connection of its own */
	struct pg_pool_opts opts;
	struct pg_pool *pool;
	int up_count, down_count;
};

static void on_pool_state(struct pg_pool *pool, bool is_up, const struct err *err, void *data)
{
	struct bath *bath = data;

	assert_int_equal(err != NULL, !is_up);
	*(is_up ? &bath->up_count : &bath->down_count) += 1;
}

static void bath_init(struct bath *bath)
{
	*bath = (struct bath){0};
	rig_init(&bath->rig, cluster.url);
	bath->opts = pg_pool_defaults();
	bath->opts.conn = bath->rig.opts;
	bath->opts.wait_ms = RIG_PATIENCE_MS;
	bath->opts.check_timeout_ms = 20000;
	bath->opts.on_state = on_pool_state;
	bath->opts.data = bath;
}

static void bath_open(struct bath *bath)
{
	struct err err = {0};

	if (pg_pool_create(&bath->opts, &bath->pool, &err) != 0)
		fail_msg("%s", err.text);
}

static struct pg_pool_stats bath_stats(struct bath *bath)
{
	struct pg_pool_stats stats;

	pg_pool_stats(bath->pool, &stats);
	return stats;
}

static void bath_close(struct bath *bath)
{
	pg_pool_close(bath->pool, RIG_PATIENCE_MS, rig_on_closed, &bath->rig);
	assert_false(bath->rig.is_closed);
	rig_until(&bath->rig, bath->rig.is_closed);
	rig_fini(&bath->rig);
}

static void pool_ask(struct bath *bath, struct ask *ask, const char *text)
{
	ask_init(ask, &bath->rig, text);
	pg_pool_query(bath->pool, &ask->query);
	assert_int_equal(ask->callbacks, 0);
}

static int64_t bath_i64(struct bath *bath, const char *text)
{
	struct ask ask;
	int64_t value;

	pool_ask(bath, &ask, text);
	ask_wait(&ask);
	value = ask_i64(&ask);
	ask_fini(&ask);
	return value;
}

/* --- leases --- */

struct loan {
	struct pg_lease lease;
	int callbacks;
	int order;
	int *last_order;
};

static void loan_on_done(struct pg_lease *lease)
{
	struct loan *loan = container_of(lease, struct loan, lease);

	loan->callbacks++;
	if (loan->last_order != NULL)
		loan->order = ++*loan->last_order;
}

static void loan_start(struct bath *bath, struct loan *loan)
{
	*loan = (struct loan){.lease = {.timeout_ms = RIG_PATIENCE_MS, .done = loan_on_done}};
	pg_pool_lease(bath->pool, &loan->lease);
	assert_int_equal(loan->callbacks, 0);
}

static void loan_take(struct bath *bath, struct loan *loan)
{
	loan_start(bath, loan);
	rig_until(&bath->rig, loan->callbacks == 1);
	if (loan->lease.err.code != 0)
		fail_msg("%s", loan->lease.err.text);
}

static void loan_ask(struct bath *bath, struct loan *loan, struct ask *ask, const char *text)
{
	ask_init(ask, &bath->rig, text);
	pg_lease_query(&loan->lease, &ask->query);
	assert_int_equal(ask->callbacks, 0);
}

static int64_t loan_i64(struct bath *bath, struct loan *loan, const char *text)
{
	struct ask ask;
	int64_t value;

	loan_ask(bath, loan, &ask, text);
	ask_wait(&ask);
	value = ask_i64(&ask);
	ask_fini(&ask);
	return value;
}

/* --- sizes --- */

static void assert_five_leased_and_waiting(struct bath *bath)
{
	struct pg_pool_stats stats = bath_stats(bath);

	assert_int_equal(stats.ready, 5);
	assert_int_equal(stats.leased, 5);
	assert_int_equal(stats.waiting, 5);
	assert_int_equal(stats.connecting + stats.idle + stats.busy, 0);
}

static void test_min_is_opened_and_max_never_passed(void **state)
{
	enum {
		LEASES = 10
	};
	struct loan loans[LEASES];
	struct pg_pool_stats stats;
	struct bath bath;
	int64_t pids[LEASES];
	int granted = 0;

	bath_init(&bath);
	bath.opts.min = 2;
	bath.opts.max = 5;
	bath_open(&bath);
	rig_until(&bath.rig, bath_stats(&bath).ready == 2);
	assert_true(pg_pool_is_up(bath.pool));
	assert_int_equal(bath.up_count, 1);
	for (int i = 0; i < LEASES; i++)
		loan_start(&bath, &loans[i]);
	rig_until(&bath.rig, loans[4].callbacks == 1);
	assert_five_leased_and_waiting(&bath);
	while (granted < LEASES) { /* first come, first served; each connection is one user's */
		assert_int_equal(loans[granted].callbacks, 1);
		pids[granted] = loan_i64(&bath, &loans[granted], "SELECT pg_backend_pid()");
		for (int i = granted - 4; i < granted; i++)
			if (i >= 0 && granted < 5)
				assert_true(pids[i] != pids[granted]);
		if (granted >= 4) {
			pg_lease_release(&loans[granted - 4].lease);
			if (granted + 1 < LEASES) {
				rig_until(&bath.rig, loans[granted + 1].callbacks == 1);
				assert_int_equal(bath_stats(&bath).waiting, LEASES - granted - 2);
			}
		}
		granted++;
	}
	for (int i = LEASES - 4; i < LEASES; i++)
		pg_lease_release(&loans[i].lease);
	stats = bath_stats(&bath);
	assert_int_equal(stats.leases, LEASES);
	assert_int_equal(stats.sessions, 5);
	assert_int_equal(stats.queries, LEASES);
	bath_close(&bath);
}

/* Room that is made is used at once; of less room the surplus goes when it has been idle. */
static void test_max_changes_while_it_works(void **state)
{
	struct loan loans[3];
	struct bath bath;

	bath_init(&bath);
	bath.opts.min = 0;
	bath.opts.max = 1;
	bath.opts.idle_ms = 100;
	bath_open(&bath);
	for (int i = 0; i < 3; i++)
		loan_start(&bath, &loans[i]);
	rig_until(&bath.rig, loans[0].callbacks == 1);
	assert_int_equal(bath_stats(&bath).waiting, 2);
	pg_pool_set_max(bath.pool, 3);
	rig_until(&bath.rig, loans[1].callbacks == 1 && loans[2].callbacks == 1);
	assert_int_equal(bath_stats(&bath).leased, 3);
	pg_pool_set_max(bath.pool, 1);
	assert_int_equal(bath_stats(&bath).leased, 3);
	for (int i = 0; i < 3; i++)
		pg_lease_release(&loans[i].lease);
	rig_until(&bath.rig, bath_stats(&bath).ready == 0);
	for (int i = 0; i < 2; i++)
		loan_start(&bath, &loans[i]);
	rig_until(&bath.rig, loans[0].callbacks == 1);
	assert_int_equal(bath_stats(&bath).waiting, 1);
	pg_lease_release(&loans[0].lease);
	rig_until(&bath.rig, loans[1].callbacks == 1);
	pg_lease_release(&loans[1].lease);
	assert_int_equal(bath_stats(&bath).sessions, 4);
	bath_close(&bath);
}

static void test_nobody_passes_the_first_waiter(void **state)
{
	struct bath bath;
	struct loan holder, loan;
	struct ask asks[3];
	int order = 0;

	bath_init(&bath);
	bath.opts.max = 1;
	bath_open(&bath);
	loan_take(&bath, &holder);
	pool_ask(&bath, &asks[0], "SELECT 1");
	loan_start(&bath, &loan);
	pool_ask(&bath, &asks[1], "SELECT 2");
	pool_ask(&bath, &asks[2], "SELECT 3");
	for (size_t i = 0; i < COUNT_OF(asks); i++)
		asks[i].last_order = &order;
	loan.last_order = &order;
	for (int i = 0; i < 50; i++)
		(void)uv_run(&bath.rig.loop, UV_RUN_NOWAIT);
	assert_int_equal(order, 0);
	pg_lease_release(&holder.lease);
	rig_until(&bath.rig, loan.callbacks == 1);
	assert_int_equal(asks[0].order, 1);
	assert_int_equal(loan.order, 2);
	for (int i = 0; i < 50; i++)
		(void)uv_run(&bath.rig.loop, UV_RUN_NOWAIT);
	assert_int_equal(order, 2);
	pg_lease_release(&loan.lease);
	ask_wait(&asks[2]);
	assert_int_equal(asks[1].order, 3);
	assert_int_equal(asks[2].order, 4);
	for (size_t i = 0; i < COUNT_OF(asks); i++)
		ask_fini(&asks[i]);
	bath_close(&bath);
}

static void test_queue_is_bounded(void **state)
{
	struct bath bath;
	struct loan holder, late;
	struct ask asks[3];

	bath_init(&bath);
	bath.opts.max = 1;
	bath.opts.queue_max = 2;
	bath_open(&bath);
	loan_take(&bath, &holder);
	for (size_t i = 0; i < COUNT_OF(asks); i++)
		pool_ask(&bath, &asks[i], "SELECT 1");
	loan_start(&bath, &late);
	ask_wait(&asks[2]);
	ask_assert_err(&asks[2], ERR_UNAVAILABLE, "");
	assert_false(asks[2].query.was_sent);
	rig_until(&bath.rig, late.callbacks == 1);
	assert_int_equal(late.lease.err.code, ERR_UNAVAILABLE);
	assert_int_equal(bath_stats(&bath).refused, 2);
	pg_lease_release(&holder.lease);
	for (size_t i = 0; i < 2; i++) {
		ask_wait(&asks[i]);
		assert_int_equal(ask_i64(&asks[i]), 1);
	}
	for (size_t i = 0; i < COUNT_OF(asks); i++)
		ask_fini(&asks[i]);
	bath_close(&bath);
}

/* Whoever waited too long, or changed his mind, is told; those behind move up. */
static void test_waiting_ends(void **state)
{
	struct bath bath;
	struct loan holder, impatient, regretted;
	struct ask expired, regretted_ask, patient;
	struct pg_pool_stats stats;

	bath_init(&bath);
	bath.opts.max = 1;
	bath_open(&bath);
	loan_take(&bath, &holder);
	impatient = (struct loan){.lease = {.timeout_ms = 20, .done = loan_on_done}};
	pg_pool_lease(bath.pool, &impatient.lease);
	loan_start(&bath, &regretted);
	ask_init(&expired, &bath.rig, "SELECT 1");
	expired.query.timeout_ms = 30;
	pg_pool_query(bath.pool, &expired.query);
	pool_ask(&bath, &regretted_ask, "SELECT 1");
	pool_ask(&bath, &patient, "SELECT 2");
	pg_lease_cancel(&regretted.lease);
	pg_query_cancel(&regretted_ask.query);
	assert_int_equal(regretted.callbacks + regretted_ask.callbacks, 0);
	ask_wait(&expired);
	ask_assert_err(&expired, ERR_TIMEOUT, "");
	assert_false(expired.query.was_sent);
	assert_int_equal(impatient.callbacks, 1);
	assert_int_equal(impatient.lease.err.code, ERR_TIMEOUT);
	assert_int_equal(regretted.callbacks, 1);
	assert_int_equal(regretted.lease.err.code, ERR_CANCELLED);
	ask_wait(&regretted_ask);
	ask_assert_err(&regretted_ask, ERR_CANCELLED, "");
	assert_int_equal(patient.callbacks, 0);
	pg_lease_release(&holder.lease);
	ask_wait(&patient);
	assert_int_equal(ask_i64(&patient), 2);
	stats = bath_stats(&bath);
	assert_true(stats.wait_max_ms >= 30);
	assert_int_equal(stats.timeouts, 1);
	assert_int_equal(stats.cancelled, 1);
	ask_fini(&expired);
	ask_fini(&regretted_ask);
	ask_fini(&patient);
	bath_close(&bath);
}

/* --- statements --- */

/* A crowd at random: nothing lost, nothing mixed up, never above the limits. */
static void test_a_crowd_is_served(void **state)
{
	enum {
		CROWD = 3000
	};
	struct seed seed = seed_start("test_a_crowd_is_served");
	struct ask *asks = xcalloc(CROWD, sizeof(*asks));
	struct bath bath;
	int started = 0, done = 0;

	bath_init(&bath);
	bath.opts.max = 3;
	bath.opts.conn.pipeline_max = 8;
	bath_open(&bath);
	while (done < CROWD) {
		for (uint64_t n = seed_below(&seed, 60); n > 0 && started < CROWD; n--, started++) {
			ask_init(&asks[started], &bath.rig,
				seed_below(&seed, 20) == 0 ? "SELECT $1 / 0" : "SELECT $1");
			pg_put_i64(&asks[started].query.params, started);
			asks[started].last_order = &done;
			pg_pool_query(bath.pool, &asks[started].query);
		}
		if (done < started)
			rig_turn(&bath.rig);
		assert_true(bath_stats(&bath).in_flight <= 3 * 8);
	}
	for (int i = 0; i < CROWD; i++) {
		if (strstr(asks[i].query.text, "/ 0") != NULL)
			ask_assert_err(&asks[i], ERR_INVALID, "22012");
		else
			assert_int_equal(ask_i64(&asks[i]), i);
		ask_fini(&asks[i]);
	}
	free(asks);
	assert_int_equal(bath_stats(&bath).queries, CROWD);
	assert_true(bath_stats(&bath).sessions <= 3);
	bath_close(&bath);
}

/* --- what a lease leaves behind --- */

static void test_open_transaction_is_rolled_back(void **state)
{
	struct bath bath;
	struct loan loan;
	struct ask ask;

	bath_init(&bath);
	bath.opts.max = 1;
	bath_open(&bath);
	assert_int_equal(bath_i64(&bath, "SELECT 1"), 1);
	loan_take(&bath, &loan);
	loan_ask(&bath, &loan, &ask, "BEGIN");
	ask_wait(&ask);
	ask_fini(&ask);
	loan_ask(&bath, &loan, &ask, "CREATE TABLE open_transaction (id bigint)");
	ask_wait(&ask);
	ask_assert_ok(&ask);
	ask_fini(&ask);
	loan_ask(&bath, &loan, &ask, "SELECT pg_sleep(1000)");
	pg_lease_release(&loan.lease);
	ask_wait(&ask);
	ask_assert_err(&ask, ERR_UNAVAILABLE, "");
	ask_fini(&ask);
	assert_int_equal(
		bath_i64(&bath,
			"SELECT count(*) FROM pg_tables WHERE tablename = 'open_transaction'"),
		0);
	assert_int_equal(bath_stats(&bath).sessions, 2);
	assert_int_equal(bath.down_count, 0); /* on purpose: no news */
	bath_close(&bath);
}

/* The session of a lease dies: its holder learns it from every further statement, whatever became
 * of the connection. */
static void test_lease_is_of_one_session(void **state)
{
	struct bath bath;
	struct loan loan;
	struct ask ask;
	char kill[80];

	bath_init(&bath);
	bath.opts.min = bath.opts.max = 2;
	bath_open(&bath);
	loan_take(&bath, &loan);
	(void)snprintf(kill, sizeof(kill), "SELECT pg_terminate_backend(%lld, 10000)::int",
		(long long)loan_i64(&bath, &loan, "SELECT pg_backend_pid()"));
	assert_int_equal(bath_i64(&bath, kill), 1);
	rig_until(&bath.rig, bath_stats(&bath).sessions_lost == 1);
	rig_until(&bath.rig, bath_stats(&bath).ready == 2);
	loan_ask(&bath, &loan, &ask, "SELECT 1");
	ask_wait(&ask);
	ask_assert_err(&ask, ERR_UNAVAILABLE, "");
	assert_false(ask.query.was_sent);
	ask_fini(&ask);
	pg_lease_release(&loan.lease);
	loan_take(&bath, &loan);
	assert_int_equal(loan_i64(&bath, &loan, "SELECT 7"), 7);
	pg_lease_release(&loan.lease);
	assert_int_equal(bath.down_count, 0);
	bath_close(&bath);
}

/* --- upkeep --- */

static void test_idle_connections_are_closed(void **state)
{
	struct bath bath;
	struct loan loans[3];

	bath_init(&bath);
	bath.opts.min = 1;
	bath.opts.max = 3;
	bath.opts.idle_ms = 50;
	bath_open(&bath);
	for (size_t i = 0; i < COUNT_OF(loans); i++)
		loan_start(&bath, &loans[i]);
	rig_until(&bath.rig, loans[2].callbacks == 1);
	assert_int_equal(bath_stats(&bath).ready, 3);
	for (size_t i = 0; i < COUNT_OF(loans); i++)
		pg_lease_release(&loans[i].lease);
	rig_until(&bath.rig, bath_stats(&bath).ready == 1);
	for (int i = 0; i < 3; i++) /* and one stays */
		assert_int_equal(bath_i64(&bath, "SELECT 1 FROM pg_sleep(0.1)"), 1);
	assert_int_equal(bath_stats(&bath).ready, 1);
	assert_int_equal(bath_stats(&bath).sessions, 3);
	assert_int_equal(bath.down_count, 0);
	bath_close(&bath);
}

static void test_pool_without_minimum(void **state)
{
	struct bath bath;

	bath_init(&bath);
	bath.opts.min = 0;
	bath.opts.idle_ms = 30;
	bath_open(&bath);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(bath_i64(&bath, "SELECT 1"), 1);
		rig_until(&bath.rig, bath_stats(&bath).ready == 0);
	}
	assert_int_equal(bath_stats(&bath).sessions, 3);
	bath_close(&bath);
}

/* Replaced at their age, between two statements; nobody sees it. */
static void test_old_connections_are_replaced(void **state)
{
	struct bath bath;

	bath_init(&bath);
	bath.opts.min = bath.opts.max = 2;
	bath.opts.lifetime_ms = 50;
	bath_open(&bath);
	while (bath_stats(&bath).sessions < 8)
		assert_int_equal(bath_i64(&bath, "SELECT 1"), 1);
	assert_int_equal(bath_stats(&bath).sessions_lost, 0);
	assert_int_equal(bath_stats(&bath).errors, 0);
	assert_int_equal(bath.down_count, 0);
	bath_close(&bath);
}

static void test_idle_connections_are_checked(void **state)
{
	struct bath bath;

	bath_init(&bath);
	bath.opts.check_ms = 20;
	bath_open(&bath);
	rig_until(&bath.rig, bath_stats(&bath).checks >= 5);
	assert_int_equal(bath_stats(&bath).sessions, 1);
	assert_int_equal(bath_stats(&bath).queries, 0);
	/* a check is no statement to those who count them */
	assert_int_equal(
		bath_i64(&bath, "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT 1'"),
		0);
	bath_close(&bath);
}

static void test_dead_connection_is_found_by_its_check(void **state)
{
	struct bath bath;

	bath_init(&bath);
	bath.opts.check_ms = 20;
	bath.opts.check_timeout_ms = 50;
	bath_open(&bath);
	rig_until(&bath.rig, bath_stats(&bath).checks >= 1);
	cluster_do(&cluster, "freeze");
	rig_until(&bath.rig, bath.down_count == 1);
	assert_false(pg_pool_is_up(bath.pool));
	assert_non_null(strstr(bath_stats(&bath).last_err.text, "health check"));
	cluster_do(&cluster, "thaw");
	rig_until(&bath.rig, bath.up_count == 2);
	assert_int_equal(bath_i64(&bath, "SELECT 1"), 1);
	bath_close(&bath);
}

/* The end of a check and the time for the next one, both in one turn of a loop that was held up. */
static void test_check_fails_while_the_loop_is_late(void **state)
{
	struct bath bath;

	bath_init(&bath);
	bath.opts.check_ms = 20;
	bath.opts.check_timeout_ms = 10;
	bath_open(&bath);
	rig_until(&bath.rig, pg_pool_is_up(bath.pool));
	cluster_do(&cluster, "freeze");
	while (bath.down_count == 0) {
		(void)usleep(50000); /* not to wait for anything: to be late */
		rig_turn(&bath.rig);
	}
	cluster_do(&cluster, "thaw");
	bath_close(&bath);
}

/* --- a server that is away --- */

static void test_waiting_queries_outlive_a_restart(void **state)
{
	struct bath bath;
	struct ask waiting[20], running;
	struct pg_pool_stats stats;

	bath_init(&bath);
	bath.opts.min = 2;
	bath_open(&bath);
	assert_int_equal(bath_i64(&bath, "SELECT 1"), 1);
	rig_until(&bath.rig, bath_stats(&bath).ready == 2);
	pool_ask(&bath, &running, "SELECT pg_sleep(1000)");
	rig_turn(&bath.rig);
	cluster_do(&cluster, "stop immediate");
	ask_wait(&running);
	ask_assert_err(&running, ERR_UNAVAILABLE, running.query.sqlstate);
	assert_true(running.query.was_sent);
	ask_fini(&running);
	rig_until(&bath.rig, bath.down_count == 1);
	for (size_t i = 0; i < COUNT_OF(waiting); i++)
		pool_ask(&bath, &waiting[i], "SELECT 6");
	rig_until(&bath.rig, bath_stats(&bath).connect_failures >= 3);
	stats = bath_stats(&bath);
	assert_false(stats.is_up);
	assert_true(stats.down_ms > 0);
	assert_int_equal(stats.waiting, COUNT_OF(waiting));
	assert_int_equal(stats.connecting, 2); /* no storm of tries */
	cluster_do(&cluster, "start");
	for (size_t i = 0; i < COUNT_OF(waiting); i++) {
		ask_wait(&waiting[i]);
		assert_int_equal(ask_i64(&waiting[i]), 6);
		ask_fini(&waiting[i]);
	}
	assert_int_equal(bath.up_count, 2);
	bath_close(&bath);
}

static void test_waiting_ends_when_the_server_is_away(void **state)
{
	struct bath bath;
	struct ask ask;

	bath_init(&bath);
	bath.opts.conn.url = "postgresql://postgres@127.0.0.1:1/x";
	bath.opts.wait_ms = 100;
	bath_open(&bath);
	pool_ask(&bath, &ask, "SELECT 1");
	ask_wait(&ask);
	ask_assert_err(&ask, ERR_UNAVAILABLE, "");
	assert_non_null(strstr(ask.query.err.text, "refused"));
	assert_false(ask.query.was_sent);
	ask_fini(&ask);
	bath_close(&bath);
}

/* Full, for others: the pool goes on with what it got. */
static void test_server_has_no_room(void **state)
{
	struct bath bath, greedy;
	struct loan loans[PG_POOL_MAX];

	bath_init(&greedy);
	greedy.opts.min = greedy.opts.max = PG_POOL_MAX; /* more than max_connections */
	bath_open(&greedy);
	rig_until(&greedy.rig, bath_stats(&greedy).connect_failures > 3);
	assert_non_null(strstr(bath_stats(&greedy).last_err.text, "too many clients"));
	loan_start(&greedy, &loans[0]);
	rig_until(&greedy.rig, loans[0].callbacks == 1);
	pg_lease_release(&loans[0].lease);
	assert_int_equal(bath_i64(&greedy, "SELECT 1"), 1);
	bath_close(&greedy);
	bath_init(&bath);
	bath_open(&bath);
	assert_int_equal(bath_i64(&bath, "SELECT 1"), 1);
	bath_close(&bath);
}

/* --- the end --- */

static void test_close_lets_work_finish(void **state)
{
	struct bath bath;
	struct loan loan, waiting_loan;
	struct ask running, leased, waiting, late;

	bath_init(&bath);
	bath.opts.max = 2;
	bath.opts.conn.pipeline_max = 1;
	bath_open(&bath);
	loan_take(&bath, &loan);
	pool_ask(&bath, &running, "SELECT 1 FROM pg_sleep(0.2)");
	rig_until(&bath.rig, bath_stats(&bath).in_flight == 1);
	loan_start(&bath, &waiting_loan);
	pool_ask(&bath, &waiting, "SELECT 1");
	pg_pool_close(bath.pool, RIG_PATIENCE_MS, rig_on_closed, &bath.rig);
	pool_ask(&bath, &late, "SELECT 1");
	ask_wait(&waiting);
	ask_wait(&late);
	ask_assert_err(&waiting, ERR_CANCELLED, "");
	ask_assert_err(&late, ERR_CANCELLED, "");
	assert_int_equal(waiting_loan.lease.err.code, ERR_CANCELLED);
	loan_ask(&bath, &loan, &leased, "SELECT 8"); /* may finish its work */
	ask_wait(&leased);
	assert_int_equal(ask_i64(&leased), 8);
	ask_wait(&running);
	assert_int_equal(ask_i64(&running), 1);
	for (int i = 0; i < 50; i++)
		(void)uv_run(&bath.rig.loop, UV_RUN_NOWAIT);
	assert_false(bath.rig.is_closed);
	pg_lease_release(&loan.lease);
	rig_until(&bath.rig, bath.rig.is_closed);
	ask_fini(&running);
	ask_fini(&leased);
	ask_fini(&waiting);
	ask_fini(&late);
	rig_fini(&bath.rig);
}

static void test_close_cuts_what_does_not_end(void **state)
{
	struct bath bath;
	struct loan loan;
	struct ask running, leased, late;

	bath_init(&bath);
	bath.opts.max = 2;
	bath_open(&bath);
	loan_take(&bath, &loan);
	pool_ask(&bath, &running, "SELECT pg_sleep(1000)");
	loan_ask(&bath, &loan, &leased, "SELECT pg_sleep(1000)");
	rig_until(&bath.rig, bath_stats(&bath).in_flight == 2);
	pg_pool_close(bath.pool, RIG_PATIENCE_MS, rig_on_closed, &bath.rig);
	pg_pool_close(bath.pool, 30, rig_on_closed, &bath.rig); /* in more of a hurry now */
	ask_wait(&running);
	ask_wait(&leased);
	ask_assert_err(&running, ERR_CANCELLED, "");
	ask_assert_err(&leased, ERR_CANCELLED, "");
	loan_ask(&bath, &loan, &late, "SELECT 1");
	ask_wait(&late);
	ask_assert_err(&late, ERR_CANCELLED, "");
	assert_false(bath.rig.is_closed);
	pg_lease_release(&loan.lease);
	rig_until(&bath.rig, bath.rig.is_closed);
	ask_fini(&running);
	ask_fini(&leased);
	ask_fini(&late);
	rig_fini(&bath.rig);
}

static void test_close_at_once(void **state)
{
	for (int turns = 0; turns < 10; turns++) {
		struct bath bath;

		bath_init(&bath);
		bath.opts.min = 3;
		bath_open(&bath);
		for (int i = 0; i < turns; i++)
			(void)uv_run(&bath.rig.loop, UV_RUN_NOWAIT);
		bath_close(&bath);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_min_is_opened_and_max_never_passed),
		cmocka_unit_test(test_max_changes_while_it_works),
		cmocka_unit_test(test_nobody_passes_the_first_waiter),
		cmocka_unit_test(test_queue_is_bounded),
		cmocka_unit_test(test_waiting_ends),
		cmocka_unit_test(test_a_crowd_is_served),
		cmocka_unit_test(test_open_transaction_is_rolled_back),
		cmocka_unit_test(test_lease_is_of_one_session),
		cmocka_unit_test(test_idle_connections_are_closed),
		cmocka_unit_test(test_pool_without_minimum),
		cmocka_unit_test(test_old_connections_are_replaced),
		cmocka_unit_test(test_idle_connections_are_checked),
		cmocka_unit_test(test_dead_connection_is_found_by_its_check),
		cmocka_unit_test(test_check_fails_while_the_loop_is_late),
		cmocka_unit_test(test_waiting_queries_outlive_a_restart),
		cmocka_unit_test(test_waiting_ends_when_the_server_is_away),
		cmocka_unit_test(test_server_has_no_room),
		cmocka_unit_test(test_close_lets_work_finish),
		cmocka_unit_test(test_close_cuts_what_does_not_end),
		cmocka_unit_test(test_close_at_once),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
