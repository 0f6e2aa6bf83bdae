/* SPDX-License-Identifier: Apache-2.0
 *
 * PostgreSQL for the rig: one throwaway cluster for the program, an empty schema for each test, and
 * a database clock that follows rig_now_ms. The latter lies in a file that both share, and takes
 * the place of gathering.clock(), the one function that everything asks. */
#include <fcntl.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pg_cluster.h"
#include "rig.h"

static struct cluster cluster;
static char clock_path[64];
static char database_url[300];

/* --- the clock --- */

static void remove_clock(void)
{
	(void)unlink(clock_path);
}

static void share_clock(void)
{
	int fd;
	void *shared;

	(void)snprintf(clock_path, sizeof(clock_path), "/tmp/gathering-clock-XXXXXX");
	fd = mkstemp(clock_path);
	assert_true(fd >= 0);
	(void)atexit(remove_clock);
	assert_int_equal(fchmod(fd, 0644), 0); /* the server is another user */
	assert_int_equal(ftruncate(fd, sizeof(int64_t)), 0);
	shared = mmap(NULL, sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(shared != MAP_FAILED);
	(void)close(fd);
	*(int64_t *)shared = rig_now_ms;
	rig_clock_ms = shared;
}

/* Six bytes, little end first, are enough for milliseconds. */
static const char clock_text[] =
	"CREATE OR REPLACE FUNCTION gathering.clock() RETURNS timestamptz LANGUAGE sql STABLE AS $$"
	" SELECT timestamptz 'epoch' + ((get_byte(b, 0)::bigint) + (get_byte(b, 1)::bigint << 8)"
	" + (get_byte(b, 2)::bigint << 16) + (get_byte(b, 3)::bigint << 24)"
	" + (get_byte(b, 4)::bigint << 32) + (get_byte(b, 5)::bigint << 40))"
	" * interval '1 millisecond' FROM pg_read_binary_file('%s', 0, 8) b $$";

/* --- statements of our own --- */

static int run(const char *url, const char *sql, char *ret_value, size_t size)
{
	PGconn *conn = PQconnectdb(url);
	PGresult *result;
	int status = -1;

	if (PQstatus(conn) != CONNECTION_OK)
		fail_msg("%s", PQerrorMessage(conn));
	result = PQexec(conn, sql);
	if (PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK)
		status = 0;
	if (ret_value)
		(void)snprintf(ret_value, size, "%s",
			status < 0 ? PQresultErrorMessage(result)
				   : (PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : ""));
	PQclear(result);
	PQfinish(conn);
	return status;
}

void rig_pg_sql(const char *sql, char *ret_value, size_t size)
{
	char value[512];

	if (run(database_url, sql, value, sizeof(value)) < 0)
		fail_msg("%.200s: %s", sql, value);
	if (ret_value)
		(void)snprintf(ret_value, size, "%s", value);
}

bool rig_pg_refuses(const char *sql, char *ret_why, size_t size)
{
	return run(database_url, sql, ret_why, size) < 0;
}

void rig_pg_do(const char *command)
{
	cluster_do(&cluster, command);
}

static PGconn *meanwhile;

void rig_pg_start(const char *sql)
{
	meanwhile = PQconnectdb(database_url);
	assert_int_equal(PQstatus(meanwhile), CONNECTION_OK);
	assert_int_equal(PQsendQuery(meanwhile, sql), 1);
}

void rig_pg_end(void)
{
	PGresult *result;

	while ((result = PQgetResult(meanwhile)) != NULL) {
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			fail_msg("%s", PQresultErrorMessage(result));
		PQclear(result);
	}
	PQfinish(meanwhile);
}

static PGconn *holding;

void rig_pg_hold(const char *sql)
{
	PGresult *result;

	holding = PQconnectdb(database_url);
	assert_int_equal(PQstatus(holding), CONNECTION_OK);
	PQclear(PQexec(holding, "SET client_min_messages = error"));
	PQclear(PQexec(holding, "BEGIN"));
	result = PQexec(holding, sql);
	if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%.200s: %s", sql, PQresultErrorMessage(result));
	PQclear(result);
}

void rig_pg_let_go(void)
{
	PQclear(PQexec(holding, "ROLLBACK")); /* what it locked is free when we return */
	PQfinish(holding);
}

/* --- life --- */

static void stop_cluster(void)
{
	cluster_stop(&cluster);
}

static void start_cluster(void)
{
	cluster_start(&cluster, NULL);
	(void)atexit(stop_cluster);
	assert_int_equal(run(cluster.url, "CREATE DATABASE rig", NULL, 0), 0);
	assert_int_equal(run(cluster.url, "CREATE DATABASE \"rig-2\"", NULL, 0), 0);
	*strrchr(cluster.url, '/') = '\0';
	share_clock();
}

void rig_pg_init(struct rig *rig)
{
	static const char drop[] = "SET client_min_messages = warning;"
				   " DROP SCHEMA IF EXISTS gathering CASCADE";
	char second[sizeof(database_url) + 8];

	if (cluster.pid == 0)
		start_cluster();
	(void)snprintf(database_url, sizeof(database_url), "%s/rig", cluster.url);
	(void)snprintf(second, sizeof(second), "%s-2", database_url);
	assert_int_equal(run(database_url, drop, NULL, 0), 0);
	assert_int_equal(run(second, drop, NULL, 0), 0);
	(void)snprintf(rig->url, sizeof(rig->url), "%s", database_url);
}

void rig_pg_take_clock(void)
{
	char sql[sizeof(clock_text) + sizeof(clock_path)];

	(void)snprintf(sql, sizeof(sql), clock_text, clock_path);
	rig_pg_sql(sql, NULL, 0);
}
