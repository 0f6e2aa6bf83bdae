/* SPDX-License-Identifier: Apache-2.0
 *
 * Getting a session, and getting one again: URLs, what goes wrong and how it is told, TLS, several
 * hosts, a server that restarts. */
#include "pg_rig.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

static struct cluster cluster;

static int start_cluster(void **state)
{
	static const char *const args[] = {"--tls", "--hba",
		"host all secret 127.0.0.1/32 scram-sha-256", "--hba",
		"hostssl all tls 127.0.0.1/32 trust", "--hba", "host all tls 127.0.0.1/32 reject",
		NULL};

	cluster_start(&cluster, args);
	rig_sql(&cluster, "CREATE ROLE secret LOGIN PASSWORD 'p@ss:w/rd'");
	rig_sql(&cluster, "CREATE ROLE tls LOGIN");
	return 0;
}

static int stop_cluster(void **state)
{
	cluster_stop(&cluster);
	guard_check();
	return 0;
}

static const char *port_of(const struct cluster *server)
{
	const char *colon = strrchr(server->url, ':');
	static char port[8];

	(void)snprintf(port, sizeof(port), "%.*s", (int)strcspn(colon + 1, "/"), colon + 1);
	return port;
}

/* "postgresql://" and the format, in which %s stands for the port. */
static char *url_at(const char *format, const struct cluster *server)
{
	const char *at = strstr(format, "%s");

	return xasprintf(
		"postgresql://%.*s%s%s", (int)(at - format), format, port_of(server), at + 2);
}

/* --- URLs --- */

static void test_urls_are_checked(void **state)
{
	static const struct {
		const char *url, *problem;
	} rows[] = {
		{"postgresql://localhost/x", NULL},
		{"postgres://u:p@a:1,b:2/x?target_session_attrs=read-write&connect_timeout=3",
			NULL},
		{"postgresql://a,b:2/x", NULL},
		{"postgresql:///x?host=/run/postgresql", NULL},
		{"host=localhost password=hunter2", "must begin with postgresql://"},
		{"mysql://localhost", "must begin with postgresql://"},
		{"postgresql://u:hunter2@host:port/x",
			NULL}, /* libpq looks at the port when it connects */
		{"postgresql://u:hunter2@[::1/x", "matching \"]\""},
		{"postgresql://u:hunter2@host/x?nonsense=1", "invalid URI query parameter"},
		{"postgresql://u:hunter2%zz@host/x", "percent-encoded"},
		{"postgresql://u:hunter2@[::1]x/x", "unexpected character"},
		{"postgresql://host/x?connect_timeout=soon", "connect_timeout"},
		{"postgresql://a:1,b:2,c:3/x?hostaddr=1.2.3.4", "3 hosts, but 1 in hostaddr"},
		{"postgresql://host/x?service=mine", "service"},
		{"postgresql://1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17/x", "more than 16 hosts"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct err err = {0};
		int code = pg_url_check(rows[i].url, &err);

		assert_int_equal(code, rows[i].problem != NULL ? ERR_INVALID : 0);
		if (rows[i].problem != NULL && strstr(err.text, rows[i].problem) == NULL)
			fail_msg("%s: '%s' does not say '%s'", rows[i].url, err.text,
				rows[i].problem);
		assert_null(strstr(err.text, "hunter2"));
	}
}

static void test_urls_for_people_have_no_password(void **state)
{
	static const struct {
		const char *url, *people;
	} rows[] = {
		{"postgresql://u:hunter2@a:1,b:2/x?sslmode=require", "u@a:1,b:2/x"},
		{"postgresql://u:hunter2@[::1]:7/x", "u@::1:7/x"},
		{"postgresql://u@/x?host=/run/pg", "u@/run/pg:5432/x"},
		{"nonsense", "?"},
	};

	(void)unsetenv("PGPORT");
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		auto_free char *people = pg_url_for_people(rows[i].url);

		assert_string_equal(people, rows[i].people);
	}
}

static void test_pooled_route_has_no_session(void **state)
{
	struct pg_conn *conn;
	struct err err = {0};
	struct rig rig;

	rig_init(&rig, cluster.url);
	rig.opts.route = PG_POOLED;
	rig.opts.settings = "SET lock_timeout = 1";
	assert_int_equal(pg_conn_create(&rig.opts, &conn, &err), ERR_INVALID);
	rig_fini(&rig);
}

/* --- what goes wrong --- */

/* Two tries, so that the next one after a failure is seen too. Gives the text. */
static void assert_fails(const char *url, const char *problem)
{
	struct rig rig;

	rig_init(&rig, url);
	rig.opts.connect_timeout_ms = 2000;
	rig_connect_only(&rig);
	rig_until(&rig, rig.down_count == 2);
	assert_int_equal(rig.ready_count, 0);
	assert_int_equal(rig.state_err.code, ERR_UNAVAILABLE);
	if (strstr(rig.state_err.text, problem) == NULL)
		fail_msg("'%s' does not say '%s'", rig.state_err.text, problem);
	assert_null(strstr(rig.state_err.text, "hunter2"));
	assert_string_equal(pg_conn_last_err(rig.conn)->text, rig.state_err.text);
	rig_close(&rig);
}

static void test_connection_refused(void **state)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char url[64];

	/* Bound and not listening: nobody else gets the port meanwhile. */
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	(void)snprintf(url, sizeof(url), "postgresql://postgres@127.0.0.1:%d/postgres",
		ntohs(address.sin_port));
	assert_fails(url, "refused");
	(void)close(fd);
	assert_fails("postgresql://postgres@/postgres?host=/nonexistent", "No such file");
}

static void test_sign_in_refused(void **state)
{
	auto_free char *wrong = url_at("secret:hunter2@127.0.0.1:%s/postgres", &cluster);
	auto_free char *none = url_at("secret@127.0.0.1:%s/postgres", &cluster);
	auto_free char *database = url_at("postgres@127.0.0.1:%s/elsewhere", &cluster);
	auto_free char *right = url_at("secret:p%40ss%3Aw%2Frd@127.0.0.1:%s/postgres", &cluster);
	struct rig rig;

	assert_fails(wrong, "password authentication failed for user \"secret\"");
	assert_fails(none, "password");
	assert_fails(database, "database \"elsewhere\" does not exist");
	rig_init(&rig, right);
	rig_connect(&rig);
	rig_close(&rig);
}

static void test_unknown_host(void **state)
{
	assert_fails("postgresql://postgres@no-such-host.invalid/postgres",
		"host name \"no-such-host.invalid\" cannot be resolved");
}

/* Accepts in the kernel, and never says a word. */
static void test_silent_server(void **state)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct rig rig;
	char url[64];

	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	(void)snprintf(url, sizeof(url), "postgresql://postgres@127.0.0.1:%d/postgres",
		ntohs(address.sin_port));
	rig_init(&rig, url);
	rig.opts.connect_timeout_ms = 50;
	rig_connect_only(&rig);
	rig_until(&rig, rig.down_count == 2);
	assert_non_null(strstr(rig.state_err.text, "does not answer"));
	rig_close(&rig);
	(void)close(fd);
}

/* In each of its states. */
static void test_close_while_connecting(void **state)
{
	const char *const urls[] = {cluster.url, "postgresql://postgres@localhost:1/x",
		"postgresql://postgres@127.0.0.1:1/x"};

	for (size_t i = 0; i < COUNT_OF(urls); i++)
		for (int turns = 0; turns < 12; turns++) {
			struct rig rig;

			rig_init(&rig, urls[i]);
			rig_connect_only(&rig);
			for (int j = 0; j < turns; j++)
				(void)uv_run(&rig.loop, UV_RUN_NOWAIT);
			rig_close(&rig);
		}
}

/* --- TLS --- */

static void assert_connects(const char *url, bool is_encrypted)
{
	struct rig rig;

	rig_init(&rig, url);
	rig_connect(&rig);
	assert_int_equal(
		rig_i64(&rig, "SELECT ssl::int FROM pg_stat_ssl WHERE pid = pg_backend_pid()"),
		is_encrypted);
	assert_int_equal(rig_i64(&rig, "SELECT length(repeat('x', 1000000))"), 1000000);
	rig_close(&rig);
}

static void test_tls(void **state)
{
	auto_free char *prefer = url_at("tls@127.0.0.1:%s/postgres", &cluster);
	auto_free char *disable = url_at("tls@127.0.0.1:%s/postgres?sslmode=disable", &cluster);
	auto_free char *plain = url_at("postgres@127.0.0.1:%s/postgres?sslmode=disable", &cluster);
	auto_free char *require = url_at("tls@127.0.0.1:%s/postgres?sslmode=require", &cluster);
	auto_free char *by_name =
		url_at("tls@localhost:%s/postgres?sslmode=verify-full&sslrootcert=", &cluster);
	auto_free char *verified = xasprintf("%s%s", by_name, cluster.certificate);
	auto_free char *by_address =
		url_at("tls@127.0.0.1:%s/postgres?sslmode=verify-full&sslrootcert=", &cluster);
	auto_free char *wrong_name = xasprintf("%s%s", by_address, cluster.certificate);
	auto_free char *authority = url_at(
		"tls@localhost:%s/postgres?sslmode=verify-full&sslrootcert=/nonexistent", &cluster);

	assert_connects(prefer, true);
	assert_connects(plain, false);
	assert_connects(require, true);
	assert_connects(verified, true);
	assert_fails(disable, "pg_hba.conf");
	assert_fails(wrong_name, "does not match host name");
	assert_fails(authority, "/nonexistent");
}

/* sslmode=allow tries without first: libpq opens a second socket, which often gets the number of
 * the first. */
static void test_socket_that_is_replaced(void **state)
{
	auto_free char *url = url_at("tls@127.0.0.1:%s/postgres?sslmode=allow", &cluster);

	for (int i = 0; i < 10; i++)
		assert_connects(url, true);
}

/* --- several hosts --- */

static void test_second_host_when_the_first_is_away(void **state)
{
	static const char *const formats[] = {
		"postgres@127.0.0.1:1,127.0.0.1:%s/postgres",
		"postgres@no-such-host.invalid:1,localhost:%s/postgres",
		"postgres@localhost:1,%2Fnonexistent:1,localhost:%s/postgres",
	};
	struct rig rig;

	for (size_t i = 0; i < COUNT_OF(formats); i++) {
		auto_free char *url = url_at(formats[i], &cluster);

		rig_init(&rig, url);
		rig_connect(&rig);
		rig_close(&rig);
	}
}

static int64_t port_in_use(struct rig *rig)
{
	return rig_i64(rig, "SELECT current_setting('port')::bigint");
}

/* Until what was written on the primary is seen here. */
static void wait_for_facts(struct rig *reader)
{
	while (rig_i64(reader, "SELECT count(*) FROM pg_tables WHERE tablename = 'facts'") == 0)
		;
}

/* A primary and its standby: which one a session is for, the primary's death, the promotion. */
static void test_failover(void **state)
{
	const char *args[] = {"--replica-of", cluster.folder, NULL};
	char primary_port[8], standby_port[8];
	struct cluster primary, standby;
	auto_free char *url = NULL, *prefers_url = NULL;
	struct rig rig, reader;

	cluster_start(&primary, NULL);
	args[1] = primary.folder;
	cluster_start(&standby, args);
	(void)snprintf(primary_port, sizeof(primary_port), "%s", port_of(&primary));
	(void)snprintf(standby_port, sizeof(standby_port), "%s", port_of(&standby));
	url = xasprintf("postgresql://postgres@127.0.0.1:%s,127.0.0.1:%s/"
			"postgres?target_session_attrs=read-write",
		standby_port, primary_port);
	prefers_url = xasprintf("postgresql://postgres@127.0.0.1:%s,127.0.0.1:%s/"
				"postgres?target_session_attrs=prefer-standby",
		primary_port, standby_port);
	rig_init(&rig, url);
	rig_connect(&rig);
	assert_int_equal(port_in_use(&rig), strtoll(primary_port, NULL, 10));
	rig_init(&reader, prefers_url);
	rig_connect(&reader);
	assert_int_equal(port_in_use(&reader), strtoll(standby_port, NULL, 10));
	rig_exec(&rig, "CREATE TABLE facts AS SELECT 42 AS fact");
	wait_for_facts(&reader);

	cluster_do(&primary, "stop immediate");
	rig_until(&rig, rig.down_count >= 2); /* nobody to write to */
	assert_false(pg_conn_is_ready(rig.conn));
	assert_non_null(strstr(rig.state_err.text, "read-only"));
	cluster_do(&standby, "promote");
	rig_until(&rig, rig.ready_count == 2);
	assert_int_equal(port_in_use(&rig), strtoll(standby_port, NULL, 10));
	assert_int_equal(rig_i64(&rig, "SELECT fact::bigint FROM facts"), 42);

	rig_close(&reader);
	rig_init(&reader, prefers_url); /* no standby left: the second round takes anyone */
	rig_connect(&reader);
	assert_int_equal(port_in_use(&reader), strtoll(standby_port, NULL, 10));
	rig_close(&reader);
	rig_close(&rig);
	cluster_stop(&standby);
	cluster_stop(&primary);
}

/* A server that turned read-only under us is left for another one. */
static void test_demoted_server_is_left(void **state)
{
	struct rig rig;
	struct ask ask;

	rig_init(&rig, cluster.url);
	rig_connect(&rig);
	rig_exec(&rig, "SET default_transaction_read_only = on");
	ask_init(&ask, &rig, "CREATE TABLE never (id bigint)");
	ask_run(&ask);
	ask_assert_err(&ask, ERR_UNAVAILABLE, "25006");
	ask_fini(&ask);
	rig_until(&rig, rig.ready_count == 2);
	assert_int_equal(rig.down_count, 1);
	rig_close(&rig);
}

/* --- a server that comes and goes --- */

static void test_restart(void **state)
{
	static const char *const commands[] = {"restart immediate", "restart fast"};
	struct rig rig;
	struct ask ask;

	rig_init(&rig, cluster.url);
	rig_connect(&rig);
	for (size_t i = 0; i < COUNT_OF(commands); i++) {
		int down_count = rig.down_count;

		ask_init(&ask, &rig, "SELECT pg_sleep(1000)");
		ask_start(&ask);
		rig_turn(&rig);
		cluster_begin(&cluster, commands[i]);
		ask_wait(&ask);
		ask_assert_err(&ask, ERR_UNAVAILABLE, ask.query.sqlstate);
		ask_fini(&ask);
		rig_until(&rig, rig.down_count > down_count);
		rig_until(&rig, pg_conn_is_ready(rig.conn));
		cluster_end(&cluster, commands[i]);
		assert_int_equal(rig_i64(&rig, "SELECT 1"), 1);
	}
	rig_close(&rig);
}

/* The server says a last word and resets the connection, for it had bytes of ours unread: libuv
 * takes that for the end of its watch, with the word still to be read. */
static void test_reset_behind_last_words(void **state)
{
	struct rig rig, watcher;
	struct ask running, unread;

	rig_init(&watcher, cluster.url);
	rig_connect(&watcher);
	rig_init(&rig, cluster.url);
	rig_connect(&rig);
	ask_init(&running, &rig, "SELECT pg_sleep(1000)");
	ask_init(&unread, &rig, "SELECT 1");
	ask_start(&running);
	while (rig_i64(&watcher, "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT "
				 "pg_sleep(1000)'") == 0)
		(void)uv_run(&rig.loop, UV_RUN_NOWAIT);
	ask_start(&unread);
	(void)uv_run(&rig.loop, UV_RUN_NOWAIT);
	rig_close(&watcher);
	cluster_do(&cluster, "restart immediate");
	ask_wait(&running);
	ask_wait(&unread);
	ask_assert_err(&running, ERR_UNAVAILABLE, running.query.sqlstate);
	ask_assert_err(&unread, ERR_UNAVAILABLE, "");
	ask_fini(&running);
	ask_fini(&unread);
	rig_until(&rig, rig.ready_count == 2);
	rig_close(&rig);
}

/* The tries stand further and further apart, up to the limit, and not in step. */
static void test_backoff(void **state)
{
	struct rig rig;
	int64_t started;
	int tries;

	rig_init(&rig, "postgresql://postgres@127.0.0.1:1/x");
	rig.opts.backoff_min_ms = 10;
	rig.opts.backoff_max_ms = 80;
	rig_connect_only(&rig);
	started = clock_mono_ms();
	rig_until(&rig, rig.down_count == 8);
	/* at least half of 10 + 20 + 40 + 80 * 4; the other limit is the patience of the watchdog
	 */
	assert_true(clock_mono_ms() - started >= (10 + 20 + 40 + 80 * 4) / 2 - 8);
	tries = rig.down_count;
	pg_conn_renew(rig.conn, "nothing to renew");
	assert_int_equal(rig.down_count, tries);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls_are_checked),
		cmocka_unit_test(test_urls_for_people_have_no_password),
		cmocka_unit_test(test_pooled_route_has_no_session),
		cmocka_unit_test(test_connection_refused),
		cmocka_unit_test(test_sign_in_refused),
		cmocka_unit_test(test_unknown_host),
		cmocka_unit_test(test_silent_server),
		cmocka_unit_test(test_close_while_connecting),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_socket_that_is_replaced),
		cmocka_unit_test(test_second_host_when_the_first_is_away),
		cmocka_unit_test(test_failover),
		cmocka_unit_test(test_demoted_server_is_left),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_reset_behind_last_words),
		cmocka_unit_test(test_backoff),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
