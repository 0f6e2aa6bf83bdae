/* SPDX-License-Identifier: Apache-2.0
 *
 * A server whose processes are stopped (SIGSTOP): the kernel still accepts connections and bytes
 * for it, and nothing is ever answered. The loop goes on ticking in whatever is done meanwhile. */
#include "pg_rig.h"

#define TICK_MAX_MS 10
#define TRIES       10 /* a busy machine may hold us up; what blocks would do so every time */

static struct cluster cluster;

static int start_cluster(void **state)
{
	static const char *const args[] = {"--tls", NULL};

	cluster_start(&cluster, args);
	return 0;
}

static int stop_cluster(void **state)
{
	cluster_stop(&cluster);
	guard_check();
	return 0;
}

/* --- the tick --- */

struct tick {
	uv_timer_t timer;
	uint64_t last_ns, longest_ns;
	int count;
};

static void on_tick(uv_timer_t *timer)
{
	struct tick *tick = container_of(timer, struct tick, timer);
	uint64_t now_ns = uv_hrtime();

	if (now_ns - tick->last_ns > tick->longest_ns)
		tick->longest_ns = now_ns - tick->last_ns;
	tick->last_ns = now_ns;
	tick->count++;
}

static void tick_start(struct tick *tick, uv_loop_t *loop)
{
	*tick = (struct tick){0};
	assert_int_equal(uv_timer_init(loop, &tick->timer), 0);
	tick->last_ns = uv_hrtime();
	uv_update_time(loop);
	(void)uv_timer_start(&tick->timer, on_tick, 1, 1);
}

/* The longest time between two ticks, the last one being now. */
static int64_t tick_stop(struct tick *tick)
{
	on_tick(&tick->timer);
	uv_close((uv_handle_t *)&tick->timer, NULL);
	return (int64_t)(tick->longest_ns / 1000000);
}

static void run_for(struct rig *rig, int64_t ms)
{
	int64_t until_mono_ms = clock_mono_ms() + ms;

	rig_until(rig, clock_mono_ms() >= until_mono_ms);
}

/* Runs `story` against a frozen server until the loop was never held up; gives the longest hold-up
 * of that time. */
static void assert_ticks(const char *what, const char *url, void (*before)(struct rig *),
	void (*story)(struct rig *))
{
	int64_t longest_ms = INT64_MAX;

	for (int i = 0; i < TRIES && longest_ms >= TICK_MAX_MS; i++) {
		struct tick tick;
		struct rig rig;

		rig_init(&rig, url);
		rig.opts.cancel_grace_ms = 30;
		before(&rig);
		cluster_do(&cluster, "freeze");
		tick_start(&tick, &rig.loop);
		story(&rig);
		longest_ms = tick_stop(&tick);
		cluster_do(&cluster, "thaw");
		if (rig.conn != NULL && !rig.is_closed)
			rig_close(&rig);
		else
			rig_fini(&rig);
	}
	(void)fprintf(stderr, "# %s: the longest time between two ticks was %d ms\n", what,
		(int)longest_ms);
	assert_true(longest_ms < TICK_MAX_MS);
}

static void before_nothing(struct rig *rig)
{
}

static void before_connected(struct rig *rig)
{
	rig_connect(rig);
}

/* --- the stories --- */

static void connect_and_fail(struct rig *rig)
{
	rig->opts.connect_timeout_ms = 30;
	rig_connect_only(rig);
	rig_until(rig, rig->down_count == 2);
	assert_int_equal(rig->ready_count, 0);
}

static void connect_and_close(struct rig *rig)
{
	rig_connect_only(rig);
	run_for(rig, 30);
	pg_conn_close(rig->conn, rig_on_closed, rig);
	rig_until(rig, rig->is_closed);
}

static void test_connecting(void **state)
{
	auto_free char *by_name =
		xasprintf("postgresql://postgres@localhost%s", strrchr(cluster.url, ':'));
	auto_free char *two = xasprintf("postgresql://postgres@127.0.0.1%.*s,localhost%s",
		(int)strcspn(strrchr(cluster.url, ':'), "/"), strrchr(cluster.url, ':'),
		strrchr(cluster.url, ':'));

	assert_ticks("connecting", cluster.url, before_nothing, connect_and_fail);
	assert_ticks("connecting by name", by_name, before_nothing, connect_and_fail);
	assert_ticks("connecting to two hosts", two, before_nothing, connect_and_fail);
	assert_ticks("connecting to a unix socket", cluster.socket_url, before_nothing,
		connect_and_fail);
	assert_ticks("closing while connecting", by_name, before_nothing, connect_and_close);
}

static void query_and_time_out(struct rig *rig)
{
	struct ask asks[5];

	for (size_t i = 0; i < COUNT_OF(asks); i++) {
		ask_init(&asks[i], rig, "SELECT 1");
		asks[i].query.timeout_ms = 10 + (int64_t)i;
		ask_start(&asks[i]);
	}
	for (size_t i = 0; i < COUNT_OF(asks); i++) {
		ask_wait(&asks[i]);
		ask_assert_err(&asks[i], ERR_TIMEOUT, "");
		ask_fini(&asks[i]);
	}
	/* The cancel is not answered either: the session is given up. */
	rig_until(rig, rig->down_count == 1);
	assert_non_null(strstr(rig->state_err.text, "cancelled"));
}

static void query_and_cancel(struct rig *rig)
{
	struct ask ask;

	ask_init(&ask, rig, "SELECT 1");
	ask_start(&ask);
	run_for(rig, 10);
	pg_query_cancel(&ask.query);
	ask_wait(&ask);
	ask_assert_err(&ask, ERR_CANCELLED, "");
	ask_fini(&ask);
	rig_until(rig, rig->down_count == 1);
}

/* More than the kernel takes: it stays in libpq, and is given up with the session. */
static char *big_text(void)
{
	enum {
		BIG = 32 * 1024 * 1024
	};
	char *text = xmalloc(BIG + 1);

	memset(text, 'x', BIG);
	text[BIG] = '\0';
	return text;
}

static struct ask big_ask;

static void before_big(struct rig *rig)
{
	char *text = big_text();

	rig_connect(rig);
	ask_init(&big_ask, rig, "SELECT length($1)");
	pg_put_text(&big_ask.query.params, text);
	free(text);
}

/* Copying 32 MiB takes its time, and is no waiting. */
static void send_and_close(struct rig *rig)
{
	struct tick tick;

	ask_start(&big_ask);
	rig_turn(rig);
	tick_start(&tick, &rig->loop);
	run_for(rig, 20);
	pg_conn_close(rig->conn, rig_on_closed, rig);
	rig_until(rig, rig->is_closed);
	(void)tick_stop(&tick);
	ask_assert_err(&big_ask, ERR_CANCELLED, "");
	ask_fini(&big_ask);
}

static void close_with_a_query(struct rig *rig)
{
	struct ask ask;

	ask_init(&ask, rig, "SELECT 1");
	ask_start(&ask);
	run_for(rig, 10);
	pg_conn_close(rig->conn, rig_on_closed, rig);
	rig_until(rig, rig->is_closed);
	ask_assert_err(&ask, ERR_CANCELLED, "");
	ask_fini(&ask);
}

static void test_working(void **state)
{
	auto_free char *encrypted = xasprintf("%s?sslmode=require", cluster.url);
	const char *const urls[] = {cluster.url, encrypted, cluster.socket_url};

	for (size_t i = 0; i < COUNT_OF(urls); i++) {
		assert_ticks("statements past their deadline", urls[i], before_connected,
			query_and_time_out);
		assert_ticks("cancelling", urls[i], before_connected, query_and_cancel);
		assert_ticks("closing", urls[i], before_connected, close_with_a_query);
	}
}

/* The guard of pg_guard.h watches: nothing waits for the socket to take more. */
static void test_closing_with_unsent_bytes(void **state)
{
	auto_free char *encrypted = xasprintf("%s?sslmode=require", cluster.url);
	const char *const urls[] = {cluster.url, encrypted, cluster.socket_url};

	for (size_t i = 0; i < COUNT_OF(urls); i++) {
		struct rig rig;

		rig_init(&rig, urls[i]);
		before_big(&rig);
		cluster_do(&cluster, "freeze");
		send_and_close(&rig);
		cluster_do(&cluster, "thaw");
		rig_fini(&rig);
	}
}

/* --- the pool --- */

static struct pg_pool *pool;

static void before_pool(struct rig *rig)
{
	struct pg_pool_opts opts = pg_pool_defaults();
	struct err err = {0};

	opts.conn = rig->opts;
	opts.conn.connect_timeout_ms = 100;
	opts.min = 2;
	opts.wait_ms = 60;
	opts.check_ms = 20;
	opts.check_timeout_ms = 20;
	assert_int_equal(pg_pool_create(&opts, &pool, &err), 0);
	rig_until(rig, pg_pool_is_up(pool));
}

static void pool_goes_down_and_closes(struct rig *rig)
{
	struct ask asks[10];

	for (size_t i = 0; i < COUNT_OF(asks); i++) {
		ask_init(&asks[i], rig, "SELECT 1");
		asks[i].query.timeout_ms = 100;
		pg_pool_query(pool, &asks[i].query);
	}
	rig_until(rig, !pg_pool_is_up(pool));
	for (size_t i = 0; i < COUNT_OF(asks); i++) {
		ask_wait(&asks[i]);
		assert_true(asks[i].query.err.code == ERR_TIMEOUT ||
			    asks[i].query.err.code == ERR_UNAVAILABLE);
		ask_fini(&asks[i]);
	}
	ask_init(&asks[0], rig, "SELECT 1");
	pg_pool_query(pool, &asks[0].query);
	ask_wait(&asks[0]);
	ask_assert_err(&asks[0], ERR_UNAVAILABLE, "");
	ask_fini(&asks[0]);
	pg_pool_close(pool, 1000, rig_on_closed, rig);
	rig_until(rig, rig->is_closed);
}

static void test_pool(void **state)
{
	assert_ticks("a pool", cluster.url, before_pool, pool_goes_down_and_closes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connecting),
		cmocka_unit_test(test_working),
		cmocka_unit_test(test_closing_with_unsent_bytes),
		cmocka_unit_test(test_pool),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
