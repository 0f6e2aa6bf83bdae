/* SPDX-License-Identifier: Apache-2.0
 *
 * The server reports a statement as done before it commits, and as failed before it lets go of its
 * locks: what goes wrong in between must never be told as success, and nobody is answered before
 * the end. A stand-in speaks for the server where that instant has to be held. */
#include "pg_rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/socket.h>

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

/* --- a stand-in for the server --- */

/* One session. For each Sync it says what a text lists, then nothing more until the client has
 * gone:
 *   d  done          e  an error, 23505    n  a NOTIFY
 *   f  the session is ended, 57P01         z  ready for more
 *   p  the same, by a pooler, 08P01        .  waits for `go_on`
 *   w  no room for the log, 53100 */
struct stand_in {
	const char *const *answers; /* NULL at the end */
	int listener;
	char url[80];
	pthread_t thread;
	sem_t go_on;
};

#define say(fd, text) must(write(fd, text, sizeof(text) - 1) == (ssize_t)sizeof(text) - 1)

/* Both of five letters. */
#define THE_END(severity, sqlstate)                                                                \
	"E\0\0\0\031"                                                                              \
	"S" severity "\0"                                                                          \
	"C" sqlstate "\0"                                                                          \
	"Mgone\0\0"

static void stand_in_say(struct stand_in *server, int fd, char what)
{
	switch (what) {
	case 'd':
		say(fd, "1\0\0\0\4"
			"2\0\0\0\4"
			"n\0\0\0\4"
			"C\0\0\0\017"
			"INSERT 0 1\0");
		return;
	case 'e':
		say(fd, "E\0\0\0\032"
			"SERROR\0"
			"C23505\0"
			"Mtwice\0\0");
		return;
	case 'f':
		say(fd, THE_END("FATAL", "57P01"));
		return;
	case 'p':
		say(fd, THE_END("FATAL", "08P01"));
		return;
	case 'w':
		say(fd, THE_END("PANIC", "53100"));
		return;
	case 'n':
		say(fd, "A\0\0\0\014\0\0\0\1"
			"a\0"
			"b\0");
		return;
	case 'z':
		say(fd, "Z\0\0\0\5I");
		return;
	default:
		must(sem_wait(&server->go_on) == 0);
	}
}

/* The kind of the next message; 0: the client has gone. */
static char stand_in_hear(int fd, bool is_start)
{
	char body[4096], kind = 'S';
	uint32_t len;

	if ((!is_start && recv(fd, &kind, 1, MSG_WAITALL) != 1) ||
		recv(fd, &len, sizeof(len), MSG_WAITALL) != sizeof(len))
		return 0;
	len = ntohl(len) - (uint32_t)sizeof(len);
	must(len <= sizeof(body));
	return len == 0 || recv(fd, body, len, MSG_WAITALL) == (ssize_t)len ? kind : 0;
}

static void *stand_in_main(void *data)
{
	struct stand_in *server = data;
	int fd = accept(server->listener, NULL, NULL);
	char kind;

	must(fd >= 0 && stand_in_hear(fd, true) != 0);
	say(fd, "R\0\0\0\010\0\0\0\0"
		"Z\0\0\0\5I");
	for (const char *const *answer = server->answers; *answer != NULL; answer++) {
		while ((kind = stand_in_hear(fd, false)) != 'S')
			must(kind != 0);
		for (const char *what = *answer; *what != '\0'; what++)
			stand_in_say(server, fd, *what);
	}
	(void)shutdown(fd, SHUT_WR);
	while (stand_in_hear(fd, false) != 0)
		continue; /* bytes left unread would reset the connection, and what was said with it
			   */
	(void)close(fd);
	return NULL;
}

static void stand_in_start(struct stand_in *server, const char *const *answers)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);

	*server = (struct stand_in){
		.answers = answers, .listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	assert_int_equal(sem_init(&server->go_on, 0, 0), 0);
	assert_int_equal(bind(server->listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(server->listener, 8), 0);
	assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &len), 0);
	(void)snprintf(server->url, sizeof(server->url),
		"postgresql://x@127.0.0.1:%d/x?sslmode=disable", ntohs(address.sin_port));
	assert_int_equal(pthread_create(&server->thread, NULL, stand_in_main, server), 0);
}

static void stand_in_end(struct stand_in *server)
{
	assert_int_equal(pthread_join(server->thread, NULL), 0);
	(void)close(server->listener);
	(void)sem_destroy(&server->go_on);
}

/* However much of the answer had come. libpq has nothing more to give then, without an end. */
static void test_session_lost_before_the_sync_answers_all(void **state)
{
	static const struct {
		const char *answer;
		int code;
		const char *sqlstate;
	} rows[] = {
		{"", ERR_UNAVAILABLE, ""},
		{"d", ERR_UNAVAILABLE, ""},
		{"e", ERR_CONFLICT, "23505"},
		{"de", ERR_CONFLICT, "23505"},
		{"f", ERR_UNAVAILABLE, "57P01"},
		{"df", ERR_UNAVAILABLE, "57P01"},
		{"dw", ERR_UNAVAILABLE, "53100"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		const char *answers[] = {rows[i].answer, NULL};
		struct stand_in server;
		struct ask ask, behind;
		struct rig rig;

		stand_in_start(&server, answers);
		rig_init(&rig, server.url);
		rig.opts.route = PG_POOLED;
		rig_connect(&rig);
		ask_init(&ask, &rig, "INSERT");
		ask_init(&behind, &rig, "INSERT");
		ask_start(&ask);
		ask_run(&behind);
		ask_assert_err(&ask, rows[i].code, rows[i].sqlstate);
		ask_assert_err(&behind, ERR_UNAVAILABLE, "");
		assert_non_null(strstr(behind.query.err.text, "lost"));
		assert_int_equal(rig.down_count, 1);
		ask_fini(&ask);
		ask_fini(&behind);
		rig_close(&rig);
		stand_in_end(&server);
	}
}

/* Its locks are held until then: whoever is told sooner, and comes back, meets them. */
static void test_failure_is_told_with_its_sync(void **state)
{
	static const char *const answers[] = {"en.z", "den.z", "dz", NULL};
	struct stand_in server;
	struct ask asks[3];
	struct rig rig;

	stand_in_start(&server, answers);
	rig_init(&rig, server.url);
	rig.opts.route = PG_POOLED;
	rig_connect(&rig);
	for (size_t i = 0; i < COUNT_OF(asks); i++) {
		ask_init(&asks[i], &rig, "INSERT");
		ask_start(&asks[i]);
	}
	for (int i = 0; i < 2; i++) {
		rig_until(&rig, rig.notify_count == i + 1); /* what was said before, was read */
		assert_int_equal(asks[i].callbacks, 0);
		assert_int_equal(sem_post(&server.go_on), 0);
		ask_wait(&asks[i]);
		ask_assert_err(&asks[i], ERR_CONFLICT, "23505");
	}
	ask_wait(&asks[2]);
	ask_assert_ok(&asks[2]);
	for (size_t i = 0; i < COUNT_OF(asks); i++)
		ask_fini(&asks[i]);
	rig_close(&rig);
	stand_in_end(&server);
}

static void set_flag(void *data)
{
	*(bool *)data = true;
}

static void set_done(struct pg_errand *errand)
{
	set_flag(errand->data);
}

/* COMMIT says that it is done when it is; the session may end before the Sync behind it is read. */
static void test_errand_whose_session_ends_in_the_commit_is_unknown(void **state)
{
	static const struct {
		const char *answer;
		bool is_unknown;
	} rows[] = {{"df", true}, {"f", true}, {"p", true}, {"w", true}, {"d", true}, {"", true},
		{"ez", false}};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		const char *answers[] = {"dz", "dz", rows[i].answer, NULL};
		bool is_done = false, is_closed = false;
		struct pg_pool_opts opts = pg_pool_defaults();
		struct pg_errand errand = {
			.text = "INSERT", .timeout_ms = RIG_PATIENCE_MS, .done = set_done};
		struct stand_in server;
		struct err err = {0};
		struct rig rig;

		stand_in_start(&server, answers);
		rig_init(&rig, server.url);
		opts.conn = rig.opts;
		opts.conn.route = PG_POOLED;
		opts.conn.on_state = NULL;
		opts.conn.on_notify = NULL;
		opts.min = opts.max = 1;
		assert_int_equal(pg_pool_create(&opts, &errand.pool, &err), 0);
		errand.data = &is_done;
		pg_errand_start(&errand);
		rig_until(&rig, is_done);
		assert_int_not_equal(errand.err.code, 0);
		assert_int_equal(errand.is_unknown, rows[i].is_unknown);
		pg_errand_fini(&errand);
		pg_pool_close(errand.pool, 0, set_flag, &is_closed);
		rig_until(&rig, is_closed);
		rig_fini(&rig);
		stand_in_end(&server);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deferred_constraint_is_an_error_of_its_statement),
		cmocka_unit_test(test_session_lost_in_the_commit_is_no_success),
		cmocka_unit_test(test_deadline_in_the_commit),
		cmocka_unit_test(test_session_lost_before_the_sync_answers_all),
		cmocka_unit_test(test_failure_is_told_with_its_sync),
		cmocka_unit_test(test_errand_whose_session_ends_in_the_commit_is_unknown),
	};

	return cmocka_run_group_tests_name("pg_commit", tests, start_cluster, stop_cluster);
}
