/* SPDX-License-Identifier: Apache-2.0
 *
 * What only the SQLite backend has: query plans, the schema's own rules, the lock, and files that
 * are not as they should be. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig.h"
#include "store/sqlite_priv.h"

#define T0 RIG_EPOCH_MS

static const char *path_of(const struct rig *rig)
{
	return rig->url + strlen("sqlite:");
}

static void write_file(const char *path, const void *bytes, size_t len, off_t at)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, len, at), len);
	assert_int_equal(close(fd), 0);
}

static void run_sql(const char *path, const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* --- plans --- */

/* "SCAN t" walks; "SCAN CONSTANT ROW" and a scan of a co-routine or subquery do not. */
static bool walks(const char *detail)
{
	return strncmp(detail, "SCAN ", 5) == 0 && strstr(detail, "CONSTANT ROW") == NULL &&
	       strstr(detail, "SUBQUERY") == NULL && strstr(detail, "(subquery") == NULL;
}

static void check_plan(sqlite3 *db, const struct query_text *query)
{
	auto_free char *explain = xasprintf("EXPLAIN QUERY PLAN %s", query->text);
	sqlite3_stmt *handle;

	if (sqlite3_prepare_v2(db, explain, -1, &handle, NULL) != SQLITE_OK)
		fail_msg("%s: %s", query->name, sqlite3_errmsg(db));
	while (sqlite3_step(handle) == SQLITE_ROW) {
		const char *detail = (const char *)sqlite3_column_text(handle, 3);

		if (query->plan == QUERY_PLAN_KEYED && walks(detail))
			fail_msg("%s walks: %s", query->name, detail);
		if (query->plan == QUERY_PLAN_KEYED && strstr(detail, "TEMP B-TREE"))
			fail_msg("%s sorts: %s", query->name, detail);
		if (strstr(detail, "AUTOMATIC"))
			fail_msg("%s lacks an index: %s", query->name, detail);
	}
	assert_int_equal(sqlite3_finalize(handle), SQLITE_OK);
}

static void test_plans_are_keyed(void **state)
{
	struct rig *rig = *state;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path_of(rig), &db), SQLITE_OK);
	for (int i = 0; i < QUERY_COUNT; i++)
		if (query_texts[i].plan != QUERY_PLAN_NONE)
			check_plan(db, &query_texts[i]);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* --- the schema knows what the program knows --- */

static void assert_schema_allows(const char *column, const char *const names[])
{
	char check[512];
	size_t len = 0;

	for (int i = 0; names[i]; i++)
		len += (size_t)snprintf(check + len, sizeof(check) - len, "%s%s = '%s'",
			i ? " OR " : "(", column, names[i]);
	assert_true(len < sizeof(check));
	assert_non_null(strstr(sqlite_migrations[0].text, check));
}

static void test_schema_lists_the_states_and_triggers_of_the_model(void **state)
{
	assert_non_null(strstr(sqlite_migrations[0].text, run_state_sql_check()));
	assert_schema_allows("triggered_by", run_trigger_names);
}

/* What an IN of more than two words costs, wherever it stands: a CHECK, a partial index. */
static void test_writing_a_run_builds_no_table_on_the_way(void **state)
{
	static const enum query writes[] = {QUERY_RUN_INSERT, QUERY_RUN_UPDATE,
		QUERY_ATTEMPT_INSERT, QUERY_CURSOR_MOVE, QUERY_OPEN_COUNT};
	struct rig *rig = *state;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path_of(rig), &db), SQLITE_OK);
	for (size_t i = 0; i < COUNT_OF(writes); i++) {
		const struct query_text *query = &query_texts[writes[i]];
		auto_free char *explain = xasprintf("EXPLAIN %s", query->text);
		sqlite3_stmt *st;

		assert_int_equal(sqlite3_prepare_v2(db, explain, -1, &st, NULL), SQLITE_OK);
		while (sqlite3_step(st) == SQLITE_ROW)
			if (strcmp((const char *)sqlite3_column_text(st, 1), "OpenEphemeral") == 0)
				fail_msg("%s builds a table", query->name);
		(void)sqlite3_finalize(st);
	}
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void test_schema_refuses_nonsense(void **state)
{
	struct rig *rig = *state;
	static const char *const bad[] = {
		"UPDATE run SET state = 'lost'", "UPDATE run SET instance_id = NULL",
		"UPDATE run SET attempt = -1", "UPDATE run SET action_id = x'00'",
		"UPDATE action SET version = 0", "UPDATE action SET next_due_ms = 'soon'",
		"CREATE TEMP TABLE twin AS SELECT * FROM run;"
		" UPDATE twin SET id = x'00000000000000000000000000000001', state = 'skipped';"
		" INSERT INTO run SELECT * FROM twin", /* one due time, two rows */
	};
	sqlite3 *db;

	(void)rig_start(rig, rig_create(rig, "a", "", T0), T0);
	assert_int_equal(sqlite3_open(path_of(rig), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA foreign_keys = ON", NULL, NULL, NULL), SQLITE_OK);
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (sqlite3_exec(db, bad[i], NULL, NULL, NULL) != SQLITE_CONSTRAINT)
			fail_msg("%s: %s", bad[i], sqlite3_errmsg(db));
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* Enough to be worth a checkpoint. The timer does not hold the loop, so it is turned by hand. */
static void test_log_is_copied_back_when_idle(void **state)
{
	struct rig *rig = *state;
	struct action *actions[200];
	struct store_create_actions create = {.actions = actions, .count = COUNT_OF(actions)};
	struct stat facts = {0};
	char name[48];

	for (int round = 0; round < 6; round++) {
		for (size_t i = 0; i < create.count; i++) {
			(void)snprintf(name, sizeof(name), "a%zu-%d", i, round);
			actions[i] = rig_define(rig, name, "");
		}
		assert_int_equal(rig_do(rig, create_actions, &create), 0);
		store_create_actions_fini(&create);
	}
	for (uint64_t end = uv_hrtime() + UINT64_C(20000000000);
		facts.st_size < 200000 && uv_hrtime() < end;) {
		(void)uv_run(&rig->loop, UV_RUN_NOWAIT);
		assert_int_equal(stat(path_of(rig), &facts), 0);
	}
	assert_true(facts.st_size >= 200000);
}

/* One damaged definition fails its own run and no other. */
static void test_unreadable_definition_fails_its_run_alone(void **state)
{
	struct rig *rig = *state;
	struct action *bad = rig_create(rig, "bad", "", T0),
		      *lost = rig_create(rig, "lost", "", T0);
	struct action *good = rig_create(rig, "good", "", T0);
	struct store_get_action get = {.name = "bad"};
	struct store_recover recover = {.ret_count = 0};
	struct run *run;

	assert_true(rig_claim(rig, bad, T0, 0));
	assert_true(rig_claim(rig, good, T0, 0));
	(void)rig_start(rig, lost, T0);
	rig_close(rig);
	run_sql(path_of(rig), "UPDATE definition SET body = '{' WHERE action_id IN"
			      " (SELECT id FROM action WHERE name IN ('bad', 'lost'))");
	assert_int_equal(rig_open(rig, 10, 10, NULL), 0);
	assert_int_equal(rig_do(rig, recover, &recover), 0);
	assert_int_equal(recover.ret_count, 1);
	assert_run(rig_find_run(rig, lost, T0), RUN_FAILED, REASON_OWNER_LOST);
	assert_int_equal(rig_take(rig, 9, &run), 1);
	assert_string_equal(run->action_name, "good");
	run = rig_find_run(rig, bad, T0);
	assert_run(run, RUN_FAILED, REASON_NONE);
	assert_non_null(strstr(run->error, "cannot be read"));
	assert_int_equal(rig_do(rig, get_action, &get), ERR_CORRUPT);
	store_get_action_fini(&get);
}

static void test_unreadable_definition_is_left_out_of_a_look(void **state)
{
	struct rig *rig = *state;
	struct store_look look = {.horizon_ms = 1000, .limit = 10};

	(void)rig_create(rig, "bad", "", T0);
	(void)rig_create(rig, "good", "", T0);
	rig_close(rig);
	run_sql(path_of(rig), "UPDATE definition SET body = '{' WHERE action_id IN"
			      " (SELECT id FROM action WHERE name = 'bad')");
	assert_int_equal(rig_open(rig, 10, 10, NULL), 0);
	assert_int_equal(rig_do(rig, look, &look), 0);
	assert_int_equal(look.ret_count, 1);
	assert_string_equal(look.ret_actions[0]->name, "good");
	assert_int_equal(look.ret_unreadable, 1);
	assert_int_equal(look.ret_unreadable_err.code, ERR_CORRUPT);
	store_look_fini(&look);
}

/* --- one server a file --- */

/* Beside the one that is open; -> how it was refused. */
static int open_second(struct rig *rig, const char *url, struct err *err)
{
	struct store *first = rig->store;
	struct id first_id = rig->instance_id;
	auto_free char *first_url = xstrdup(rig->url), *second_url = xstrdup(url);
	int status;

	*err = (struct err){0};
	(void)snprintf(rig->url, sizeof(rig->url), "%s", second_url);
	status = rig_open(rig, 1, 1, err);
	assert_true(status < 0);
	(void)snprintf(rig->url, sizeof(rig->url), "%s", first_url);
	rig->store = first;
	rig->instance_id = first_id;
	return status;
}

static void test_second_server_is_refused_by_name(void **state)
{
	struct rig *rig = *state;
	char id[ID_TEXT_SIZE], pid[32], *link_path = xasprintf("%s-link", path_of(rig));
	auto_free char *link_url = xasprintf("sqlite:%s", link_path);
	struct err err = {0};

	(void)snprintf(pid, sizeof(pid), "process %ld", (long)getpid());
	assert_int_equal(open_second(rig, rig->url, &err), ERR_CONFLICT);
	assert_non_null(strstr(err.text, pid));
	assert_non_null(strstr(err.text, id_format(&rig->instance_id, id)));
	assert_non_null(strstr(err.text, "stop it or use another file"));
	assert_int_equal(symlink(path_of(rig), link_path), 0);
	assert_int_equal(open_second(rig, link_url, &err), ERR_CONFLICT);
	free(link_path);
	assert_int_equal(
		store_migrate(rig->url, STORE_MIGRATE_APPLY, NULL, NULL, &err), ERR_CONFLICT);
	assert_int_equal(store_migrate(rig->url, STORE_MIGRATE_DRY_RUN, NULL, NULL, &err), 0);
	rig_close(rig);
	assert_int_equal(rig_open(rig, 10, 10, &err), 0); /* let go */
}

static void test_lock_ends_with_its_process(void **state)
{
	struct rig *rig = *state;
	struct err err = {0};
	int pipes[2], status;
	char byte;
	pid_t pid;

	rig_close(rig);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		struct file_lock lock;
		bool is_inherited;

		if (file_lock_take(&lock, path_of(rig), &(struct file_lock_claim){0}, &is_inherited,
			    NULL) == 0)
			(void)!write(pipes[1], "x", 1);
		(void)pause();
		_exit(1);
	}
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	assert_int_equal(rig_open(rig, 10, 10, &err), ERR_CONFLICT);
	assert_non_null(strstr(err.text, "gathering migrate"));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(rig_open(rig, 10, 10, &err), 0);
	(void)close(pipes[0]);
	(void)close(pipes[1]);
}

static void test_descriptors_are_closed_on_exec(void **state)
{
	for (int fd = 3; fd < 256; fd++) {
		char link[64], target[256];
		ssize_t len;

		(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		len = readlink(link, target, sizeof(target) - 1);
		if (len <= 0)
			continue;
		target[len] = '\0';
		if (strstr(target, "rig.db") && !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
			fail_msg("%s would be inherited", target);
	}
}

/* --- files that are not as they should be --- */

/* Opens again and expects this; the text must name the file. */
static void assert_refused(struct rig *rig, int code, const char *part)
{
	struct err err = {0};

	assert_null(rig->store);
	if (rig_open(rig, 10, 10, &err) != code)
		fail_msg("expected %s, got %s: %s", err_name(code), err_name(err.code), err.text);
	if (!strstr(err.text, part))
		fail_msg("no '%s' in: %s", part, err.text);
	assert_non_null(strstr(err.text, "rig"));
	rig->store = NULL;
}

static void test_garbage_is_not_a_database(void **state)
{
	struct rig *rig = *state;
	char garbage[8192];

	rig_close(rig);
	memset(garbage, 'G', sizeof(garbage));
	write_file(path_of(rig), garbage, sizeof(garbage), 0);
	assert_refused(rig, ERR_CORRUPT, "not a database");
}

static void test_truncated_file_is_corrupt(void **state)
{
	struct rig *rig = *state;

	for (int i = 0; i < 20; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "a%d", i);
		(void)rig_create(rig, name, "", T0);
	}
	rig_close(rig);
	assert_int_equal(truncate(path_of(rig), 3 * 4096 + 100), 0);
	assert_refused(rig, ERR_CORRUPT, "damaged");
}

static void test_garbage_page_is_corrupt(void **state)
{
	struct rig *rig = *state;
	struct stat facts;
	char garbage[4096];

	for (int i = 0; i < 50; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "a%d", i);
		(void)rig_create(rig, name, "", T0);
	}
	rig_close(rig);
	assert_int_equal(stat(path_of(rig), &facts), 0);
	memset(garbage, 0xa5, sizeof(garbage));
	write_file(path_of(rig), garbage, sizeof(garbage), facts.st_size - 4096);
	assert_refused(rig, ERR_CORRUPT, "damaged");
}

static void test_foreign_database_is_left_alone(void **state)
{
	struct rig *rig = *state;

	rig_close(rig);
	assert_int_equal(unlink(path_of(rig)), 0);
	run_sql(path_of(rig), "CREATE TABLE theirs (x); PRAGMA user_version = 3;");
	assert_refused(rig, ERR_CORRUPT, "another program");
	run_sql(path_of(rig), "SELECT x FROM theirs; PRAGMA application_id = 77;");
	assert_refused(rig, ERR_CORRUPT, "another program");
}

static void test_newer_schema_is_refused(void **state)
{
	struct rig *rig = *state;

	rig_close(rig);
	run_sql(path_of(rig), "PRAGMA user_version = 99");
	assert_refused(rig, ERR_CORRUPT, "newer");
	assert_int_equal(
		store_migrate(rig->url, STORE_MIGRATE_DRY_RUN, NULL, NULL, NULL), ERR_CORRUPT);
}

static void test_empty_file_is_a_new_database(void **state)
{
	struct rig *rig = *state;
	struct stat facts;

	rig_close(rig);
	assert_int_equal(truncate(path_of(rig), 0), 0);
	assert_int_equal(rig_open(rig, 10, 10, NULL), 0);
	(void)rig_create(rig, "a", "", NO_TIME);
	assert_int_equal(stat(path_of(rig), &facts), 0);
	assert_int_equal(facts.st_mode & 077, 0); /* for its owner alone */
}

static void test_missing_folder_and_a_folder_as_file(void **state)
{
	struct rig *rig = *state;
	struct err err = {0};

	rig_close(rig);
	assert_int_equal(open_second(rig, "sqlite:/nonexistent-folder/rig.db", &err), ERR_IO);
	assert_non_null(strstr(err.text, "/nonexistent-folder/rig.db"));
	assert_non_null(strstr(err.text, "create it"));
	assert_int_equal(unlink(path_of(rig)), 0);
	assert_int_equal(mkdir(path_of(rig), 0700), 0);
	assert_refused(rig, ERR_IO, "folder");
	assert_int_equal(rmdir(path_of(rig)), 0);
	assert_int_equal(mkfifo(path_of(rig), 0600), 0);
	assert_refused(rig, ERR_IO, "regular file");
}

/* Root may write everywhere, so a child becomes nobody. Its exit status tells. */
static int open_as_nobody(struct rig *rig, const char *part)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct err err = {0};

		if (getuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
			_exit(9);
		if (open_second(rig, rig->url, &err) != ERR_IO)
			_exit(1);
		_exit(strstr(err.text, part) && strstr(err.text, "rig.db") ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_read_only_file_and_folder(void **state)
{
	struct rig *rig = *state;
	auto_free char *lock = xasprintf("%s.lock", path_of(rig));

	rig_close(rig);
	assert_int_equal(chmod(rig->folder, 0777), 0);
	assert_int_equal(chmod(lock, 0666), 0);
	assert_int_equal(chmod(path_of(rig), 0444), 0);
	assert_int_equal(open_as_nobody(rig, "permission denied"), 0);
	assert_int_equal(unlink(lock), 0);
	assert_int_equal(chmod(rig->folder, 0555), 0);
	assert_int_equal(open_as_nobody(rig, "permission denied"), 0);
	assert_int_equal(chmod(rig->folder, 0700), 0);
}

/* --- a full disk --- */

static void limit_file_size(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_full_disk_loses_nothing_and_goes_on_when_there_is_room(void **state)
{
	struct rig *rig = *state;
	char body[2000], members[2100], name[16];
	struct store_create_actions create = {.count = 1};
	struct action *action;
	struct run *run = rig_start(rig, rig_create(rig, "first", "", T0), T0);
	struct store_stats stats = {0};
	int64_t made = 0;

	(void)signal(SIGXFSZ, SIG_IGN);
	memset(body, 'x', sizeof(body));
	body[sizeof(body) - 1] = '\0';
	(void)snprintf(members, sizeof(members), "\"description\": \"%.900s\"", body);
	limit_file_size(300000);
	for (;; made++) {
		(void)snprintf(name, sizeof(name), "a%d", (int)made);
		action = rig_define(rig, name, members);
		create.actions = &action;
		if (rig_do(rig, create_actions, &create) < 0)
			break;
		store_create_actions_fini(&create);
		assert_true(made < 1000);
	}
	assert_int_equal(create.req.err.code, ERR_FULL);
	assert_non_null(strstr(create.req.err.text, "rig.db"));
	assert_non_null(strstr(create.req.err.text, "make room"));
	assert_int_equal(rig_succeed(rig, run), ERR_FULL);
	assert_int_equal(rig_do(rig, stats, &stats), 0); /* reading goes on */
	assert_int_equal(stats.ret_actions, made + 1);
	assert_int_equal(stats.ret_runs_running, 1);
	limit_file_size(RLIM_INFINITY);
	assert_int_equal(rig_succeed(rig, run), 0); /* the same requests again */
	assert_int_equal(rig_do(rig, create_actions, &create), 0);
	store_create_actions_fini(&create);
	rig_restart(rig);
	assert_int_equal(rig_do(rig, stats, &stats), 0);
	assert_int_equal(stats.ret_actions, made + 2);
	assert_run(rig_get_run(rig, &run->id), RUN_SUCCEEDED, REASON_NONE);
}

static void test_no_room_to_begin_with(void **state)
{
	struct rig *rig = *state;

	(void)signal(SIGXFSZ, SIG_IGN);
	rig_close(rig);
	assert_int_equal(unlink(path_of(rig)), 0);
	limit_file_size(5000);
	assert_refused(rig, ERR_FULL, "make room");
	limit_file_size(RLIM_INFINITY);
	assert_int_equal(rig_open(rig, 10, 10, NULL), 0);
}

/* Somebody else's transaction on our file, longer than our patience. */
struct ticking {
	sqlite3 *locker; /* NULL: the lock is gone */
	int ticks;
	bool is_open;
	int open_code;
};

/* The loop turns while the file cannot be read: so the wait is not the loop's. */
static void on_tick(uv_timer_t *timer)
{
	struct ticking *ticking = timer->data;

	if (++ticking->ticks < 3 || !ticking->locker)
		return;
	assert_false(ticking->is_open);
	assert_int_equal(sqlite3_close(take_ptr(ticking->locker)), SQLITE_OK);
}

static void on_opened(const struct err *err, void *data)
{
	struct ticking *ticking = data;

	ticking->is_open = true;
	ticking->open_code = err ? err->code : 0;
}

static void test_opening_does_not_stop_the_loop(void **state)
{
	struct rig *rig = *state;
	struct ticking ticking = {0};
	struct store_opts opts = {.loop = &rig->loop,
		.url = rig->url,
		.queue_max = 1,
		.batch_max = 1,
		.opened = on_opened,
		.opened_data = &ticking};
	uv_timer_t timer = {.data = &ticking};

	rig_close(rig);
	assert_int_equal(unlink(path_of(rig)), 0);
	assert_int_equal(sqlite3_open(path_of(rig), &ticking.locker), SQLITE_OK);
	assert_int_equal(
		sqlite3_exec(ticking.locker, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(uv_timer_init(&rig->loop, &timer), 0);
	assert_int_equal(store_open(&opts, &rig->store, NULL), 0);
	assert_int_equal(uv_timer_start(&timer, on_tick, 1, 1), 0);
	while (!ticking.is_open)
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
	assert_int_equal(ticking.open_code, 0);
	uv_close((uv_handle_t *)&timer, NULL);
	(void)uv_run(&rig->loop, UV_RUN_NOWAIT);
}

static void test_locked_by_another_program_is_unavailable(void **state)
{
	struct rig *rig = *state;
	struct action *action = rig_define(rig, "a", "");
	struct store_create_actions create = {.actions = &action, .count = 1};
	sqlite3 *other;

	assert_int_equal(sqlite3_open(path_of(rig), &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(rig_do(rig, create_actions, &create), ERR_UNAVAILABLE);
	assert_non_null(strstr(create.req.err.text, "locked by another program"));
	assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(other), SQLITE_OK);
	assert_int_equal(rig_do(rig, create_actions, &create), 0);
	store_create_actions_fini(&create);
}

/* --- lanes --- */

#define LONG_LEDGER 100000
#define SLOW_LISTS  10

static void on_slow_list(struct store_req *req)
{
	(*(int *)req->data)--;
}

static void make_long_ledger(struct rig *rig)
{
	struct action *action = rig_create(rig, "a", "", NO_TIME);

	assert_false(id_is_zero(&rig_trigger(rig, action)->id));
	run_sql(path_of(rig),
		"WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < "
		"100000) INSERT INTO run (id, action_id, action_version, definition_version, kind,"
		" is_serial, triggered_by, due_at_ms, state, reason, attempt, interruptions,"
		" epoch, priority, created_at_ms, output_bytes, missed_count, missed_until_ms,"
		" cancel_requested) SELECT CAST(printf('%016d', i) AS BLOB), r.action_id, 1, 1,"
		" 'exec', 1, 'schedule', i, 'skipped', 'late', 0, 0, 0, 0, 1, 0, 1, i, 0"
		" FROM c, (SELECT action_id FROM run LIMIT 1) r");
	assert_int_equal(rig_run_count(rig, action), LONG_LEDGER + 1);
}

/* Whoever pages through a long ledger delays neither the scheduler nor a probe. */
static void test_a_look_does_not_wait_for_lists(void **state)
{
	struct rig *rig = *state;
	struct store_list_runs lists[SLOW_LISTS];
	struct store_look look = {.horizon_ms = MINUTE_MS, .limit = 1};
	struct store_stats stats = {.req = {.data = NULL}};
	int left = SLOW_LISTS;

	make_long_ledger(rig);
	for (int i = 0; i < SLOW_LISTS; i++) {
		lists[i] = (struct store_list_runs){.req.data = &left,
			.limit = 1,
			.trigger = TRIGGER_EVENT,
			.due_from_ms = NO_TIME,
			.due_to_ms = NO_TIME,
			.want_total = true};
		store_list_runs(rig->store, &lists[i], on_slow_list);
	}
	assert_int_equal(rig_do(rig, look, &look), 0);
	assert_int_equal(rig_do(rig, stats, &stats), 0);
	assert_int_equal(left, SLOW_LISTS);
	store_look_fini(&look);
	while (left > 0)
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
	for (int i = 0; i < SLOW_LISTS; i++) {
		assert_int_equal(lists[i].req.err.code, 0);
		assert_int_equal(lists[i].ret_total, 0);
		store_list_runs_fini(&lists[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_plans_are_keyed),
		RIG_TEST(test_writing_a_run_builds_no_table_on_the_way),
		RIG_TEST(test_schema_lists_the_states_and_triggers_of_the_model),
		RIG_TEST(test_schema_refuses_nonsense),
		RIG_TEST(test_log_is_copied_back_when_idle),
		RIG_TEST(test_unreadable_definition_fails_its_run_alone),
		RIG_TEST(test_unreadable_definition_is_left_out_of_a_look),
		RIG_TEST(test_second_server_is_refused_by_name),
		RIG_TEST(test_lock_ends_with_its_process),
		RIG_TEST(test_descriptors_are_closed_on_exec),
		RIG_TEST(test_garbage_is_not_a_database),
		RIG_TEST(test_truncated_file_is_corrupt),
		RIG_TEST(test_garbage_page_is_corrupt),
		RIG_TEST(test_foreign_database_is_left_alone),
		RIG_TEST(test_newer_schema_is_refused),
		RIG_TEST(test_empty_file_is_a_new_database),
		RIG_TEST(test_missing_folder_and_a_folder_as_file),
		RIG_TEST(test_read_only_file_and_folder),
		RIG_TEST(test_full_disk_loses_nothing_and_goes_on_when_there_is_room),
		RIG_TEST(test_no_room_to_begin_with),
		RIG_TEST(test_locked_by_another_program_is_unavailable),
		RIG_TEST(test_opening_does_not_stop_the_loop),
		RIG_TEST(test_a_look_does_not_wait_for_lists),
	};

	rig_backend = "sqlite";
	return cmocka_run_group_tests_name("sqlite", tests, NULL, NULL);
}
