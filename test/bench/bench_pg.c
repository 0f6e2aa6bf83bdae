/* SPDX-License-Identifier: Apache-2.0
 *
 * SELECT by primary key with 64 statements in flight, against a cluster of its own: one Sync a
 * turn, one Sync each, and waiting for each answer. MEASURED.md found 93,000, 62,500 and 51,000 a
 * second with a prototype. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "pg/pg.h"

#define ROWS       10000
#define IN_FLIGHT  64
#define RUN_MS     3000
#define URL_MAX    256
#define TIMEOUT_MS 60000

static const struct pg_statement by_key = {"by_key", "SELECT id, name, n FROM bench WHERE id = $1"};

struct bench;
struct client {
	struct pg_query query;
	struct bench *bench;
	int64_t started_ns;
};
struct bench {
	uv_loop_t loop;
	struct pg_pool *pool;
	struct client clients[IN_FLIGHT];
	int64_t until_mono_ms;
	int64_t count;
	int running;
	uint64_t random;
	int64_t *took_ns; /* of each answer, up to took_max */
	size_t took_max;
	bool is_closed;
};

static void die(const char *what, const char *text)
{
	(void)fprintf(stderr, "bench_pg: %s: %s\n", what, text);
	exit(1);
}

static void next(struct client *client);

static void on_answer(struct pg_query *query)
{
	struct client *client = container_of(query, struct client, query);
	struct bench *bench = client->bench;
	struct pg_row row = pg_rows(query);

	if (query->err.code != 0 || !pg_row_next(&row))
		die("query", query->err.text);
	if ((size_t)bench->count < bench->took_max)
		bench->took_ns[bench->count] = (int64_t)uv_hrtime() - client->started_ns;
	bench->count++;
	pg_query_fini(query);
	if (clock_mono_ms() < bench->until_mono_ms)
		next(client);
	else
		bench->running--;
}

static void next(struct client *client)
{
	struct bench *bench = client->bench;

	bench->random = bench->random * UINT64_C(6364136223846793005) + 1442695040888963407U;
	pg_query_init(&client->query);
	client->query.statement = &by_key;
	client->query.timeout_ms = TIMEOUT_MS;
	client->query.done = on_answer;
	pg_put_i64(&client->query.params, (int64_t)(bench->random >> 33) % ROWS + 1);
	client->started_ns = (int64_t)uv_hrtime();
	pg_pool_query(bench->pool, &client->query);
}

static int compare_i64(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return (left > right) - (left < right);
}

static double cpu_s(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_SELF, &usage);
	return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void on_closed(void *data)
{
	((struct bench *)data)->is_closed = true;
}

static void measure(const char *url, const char *what, enum pg_sync sync, int conns, size_t depth)
{
	struct bench *bench = xcalloc(1, sizeof(*bench));
	struct pg_pool_opts opts = pg_pool_defaults();
	struct pg_pool_stats stats;
	struct err err = {0};
	double cpu;
	size_t kept;

	(void)uv_loop_init(&bench->loop);
	opts.conn.loop = &bench->loop;
	opts.conn.url = url;
	opts.conn.sync = sync;
	opts.conn.pipeline_max = depth;
	opts.min = opts.max = conns;
	if (pg_pool_create(&opts, &bench->pool, &err) != 0)
		die("pool", err.text);
	do {
		(void)uv_run(&bench->loop, UV_RUN_ONCE);
		pg_pool_stats(bench->pool, &stats);
	} while (stats.ready < conns);
	bench->took_max = 1000000;
	bench->took_ns = xcalloc(bench->took_max, sizeof(*bench->took_ns));
	bench->until_mono_ms = clock_mono_ms() + RUN_MS;
	bench->running = IN_FLIGHT;
	cpu = cpu_s();
	for (int i = 0; i < IN_FLIGHT; i++) {
		bench->clients[i].bench = bench;
		next(&bench->clients[i]);
	}
	while (bench->running > 0)
		(void)uv_run(&bench->loop, UV_RUN_ONCE);
	cpu = cpu_s() - cpu;
	kept = (size_t)bench->count < bench->took_max ? (size_t)bench->count : bench->took_max;
	qsort(bench->took_ns, kept, sizeof(*bench->took_ns), compare_i64);
	(void)printf("%-34s %8lld/s   p50 %6.2f ms   p99 %6.2f ms   our CPU %5.1f us\n", what,
		(long long)(bench->count * 1000 / RUN_MS), (double)bench->took_ns[kept / 2] / 1e6,
		(double)bench->took_ns[kept * 99 / 100] / 1e6, cpu * 1e6 / (double)bench->count);
	pg_pool_close(bench->pool, 1000, on_closed, bench);
	while (!bench->is_closed)
		(void)uv_run(&bench->loop, UV_RUN_ONCE);
	(void)uv_run(&bench->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&bench->loop);
	free(bench->took_ns);
	free(bench);
}

/* The URL of a cluster that ends with us; GATHERING_TEST_PG names one that is there already. */
static void find_url(char url[static URL_MAX])
{
	const char *given = getenv("GATHERING_TEST_PG");
	char line[URL_MAX + 8] = "";
	int in[2], out[2];
	FILE *answers;

	if (given != NULL) {
		(void)snprintf(url, URL_MAX, "%s", given);
		return;
	}
	if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
		die("pipe", strerror(errno));
	if (fork() == 0) {
		(void)dup2(in[0], STDIN_FILENO);
		(void)dup2(out[1], STDOUT_FILENO);
		(void)execl(PG_CLUSTER, PG_CLUSTER, NULL);
		_exit(127);
	}
	(void)close(in[0]);
	(void)close(out[1]);
	answers = fdopen(out[0], "r");
	while (answers != NULL && strcmp(line, "ready\n") != 0) {
		if (fgets(line, sizeof(line), answers) == NULL)
			die("cluster", "tools/pg-cluster has ended");
		if (strncmp(line, "url=", 4) == 0)
			(void)snprintf(
				url, URL_MAX, "%.*s", (int)strcspn(line + 4, "\n"), line + 4);
	}
}

static void on_prepared(struct pg_query *query)
{
	if (query->err.code != 0)
		die("table", query->err.text);
	*(bool *)query->data = true;
}

static void make_table(const char *url)
{
	struct pg_conn_opts opts = pg_conn_defaults();
	struct pg_query query = {.script = "DROP TABLE IF EXISTS bench; CREATE TABLE bench (id "
					   "bigint PRIMARY KEY, name text, n bigint);"
					   "INSERT INTO bench SELECT i, 'row ' || i, i * 7 FROM "
					   "generate_series(1, 10000) AS i; ANALYZE bench",
		.timeout_ms = TIMEOUT_MS,
		.done = on_prepared};
	struct err err = {0};
	struct pg_conn *conn;
	bool is_done = false;
	uv_loop_t loop;

	(void)uv_loop_init(&loop);
	opts.loop = &loop;
	opts.url = url;
	if (pg_conn_create(&opts, &conn, &err) != 0)
		die("connection", err.text);
	while (!pg_conn_is_ready(conn))
		(void)uv_run(&loop, UV_RUN_ONCE);
	query.data = &is_done;
	pg_conn_query(conn, &query);
	while (!is_done)
		(void)uv_run(&loop, UV_RUN_ONCE);
	pg_query_fini(&query);
	pg_conn_close(conn, NULL, NULL);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&loop);
}

int main(void)
{
	char url[URL_MAX] = "";

	find_url(url);
	make_table(url);
	(void)printf("SELECT by primary key, %d in flight, %d ms each\n", IN_FLIGHT, RUN_MS);
	measure(url, "pipeline, one Sync a turn, 2 conn.", PG_SYNC_TURN, 2, IN_FLIGHT);
	measure(url, "pipeline, one Sync each, 4 conn.", PG_SYNC_EACH, 4, IN_FLIGHT);
	measure(url, "one at a time, 4 connections", PG_SYNC_EACH, 4, 1);
	return 0;
}
