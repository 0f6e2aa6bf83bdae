/* SPDX-License-Identifier: Apache-2.0
 *
 * One connection against a real server: values in and out, pipelines with errors in them,
 * deadlines, cancelling, scripts, prepared statements, notifications. */
#include "pg_rig.h"

#include "seed.h"

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

static void rig_open(struct rig *rig)
{
	rig_init(rig, cluster.url);
	rig_connect(rig);
}

/* --- values --- */

static void test_values_come_back(void **state)
{
	static const char bytes[] = {0, 1, (char)0xff, '\'', 0};
	struct id id = id_make();
	struct rig rig;
	struct ask ask;
	struct pg_row row;
	struct id back;
	const char *blob;
	size_t len;

	rig_open(&rig);
	ask_init(&ask, &rig, "SELECT $1, $2, $3, $4, $5, $6, $7");
	pg_put_bool(&ask.query.params, true);
	pg_put_i32(&ask.query.params, INT32_MIN);
	pg_put_i64(&ask.query.params, INT64_MAX);
	pg_put_time(&ask.query.params, -1);
	pg_put_id(&ask.query.params, &id);
	pg_put_text(&ask.query.params, "h\xc3\xb6'llo");
	pg_put_bytes(&ask.query.params, bytes, sizeof(bytes));
	ask_run(&ask);
	ask_assert_ok(&ask);
	row = pg_rows(&ask.query);
	assert_true(pg_row_next(&row));
	assert_true(pg_read_bool(&row));
	assert_int_equal(pg_read_int(&row, 0), INT32_MIN);
	assert_int_equal(pg_read_i64(&row), INT64_MAX);
	assert_int_equal(pg_read_time(&row), -1);
	back = pg_read_id(&row);
	assert_true(id_equal(&back, &id));
	assert_string_equal(pg_read_text(&row), "h\xc3\xb6'llo");
	blob = pg_read_bytes(&row, &len);
	assert_int_equal(len, sizeof(bytes));
	assert_memory_equal(blob, bytes, len);
	assert_false(pg_row_next(&row));
	ask_fini(&ask);
	rig_close(&rig);
}

static void test_nulls_come_back(void **state)
{
	struct id zero = {0};
	struct rig rig;
	struct ask ask;
	struct pg_row row;
	struct id back;
	size_t len;

	rig_open(&rig);
	ask_init(&ask, &rig, "SELECT $1, $2, $3, $4, $5, $6, $7, '', NULL::bigint");
	pg_put_null(&ask.query.params, PG_BOOL);
	pg_put_null(&ask.query.params, PG_I32);
	pg_put_null(&ask.query.params, PG_I64);
	pg_put_time(&ask.query.params, NO_TIME);
	pg_put_id(&ask.query.params, &zero);
	pg_put_text(&ask.query.params, NULL);
	pg_put_bytes(&ask.query.params, NULL, 0);
	ask_run(&ask);
	ask_assert_ok(&ask);
	row = pg_rows(&ask.query);
	assert_true(pg_row_next(&row));
	assert_false(pg_read_bool(&row));
	assert_int_equal(pg_read_int(&row, 7), 7);
	assert_int_equal(pg_read_i64(&row), 0);
	assert_true(pg_read_time(&row) == NO_TIME);
	back = pg_read_id(&row);
	assert_true(id_is_zero(&back));
	assert_null(pg_read_text(&row));
	assert_null(pg_read_bytes(&row, &len));
	assert_false(pg_is_null(&row));
	assert_string_equal(pg_read_text(&row), "");
	assert_true(pg_is_null(&row));
	ask_fini(&ask);
	rig_close(&rig);
}

/* Any moment the program can hold, to the millisecond; microseconds are rounded down, also before
 * the epoch. */
static void test_times_are_exact(void **state)
{
	static const struct {
		const char *text;
		int64_t at_ms;
	} rows[] = {
		{"SELECT '1970-01-01 00:00:00.001+00'::timestamptz", 1},
		{"SELECT '1969-12-31 23:59:59.999+00'::timestamptz", -1},
		{"SELECT '2026-11-22 01:30:00.000999+00'::timestamptz", 1795311000000},
		{"SELECT '1999-12-31 23:59:59.9995+00'::timestamptz", 946684799999},
		{"SELECT '9999-12-31 23:59:59.999+00'::timestamptz", 253402300799999},
		{"SELECT 'infinity'::timestamptz", NO_TIME},
		{"SELECT '-infinity'::timestamptz", NO_TIME},
	};
	struct rig rig;

	rig_open(&rig);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct ask ask;
		struct pg_row row;

		ask_init(&ask, &rig, rows[i].text);
		ask_run(&ask);
		ask_assert_ok(&ask);
		row = pg_rows(&ask.query);
		assert_true(pg_row_next(&row));
		assert_true(pg_read_time(&row) == rows[i].at_ms);
		ask_fini(&ask);
	}
	rig_close(&rig);
}

#define ROWS 1000

/* What a batch statement does: one row for each element, NULLs and all. */
struct sample {
	struct id ids[ROWS];
	int64_t numbers[ROWS];
	char texts[ROWS][16];
};

static void sample_make(struct sample *sample)
{
	struct seed seed = seed_start("test_arrays_make_rows");

	for (int i = 0; i < ROWS; i++) {
		sample->ids[i] = id_make();
		sample->numbers[i] = (int64_t)seed_next(&seed) / 1000000;
		(void)snprintf(sample->texts[i], sizeof(sample->texts[i]), "t,{\"%d", i);
	}
}

static int64_t sample_time(int i)
{
	return i % 3 == 0 ? NO_TIME : i * INT64_C(86400001);
}

#define PUT_ARRAY(params, type, put)                                                               \
	do {                                                                                       \
		pg_array_begin(params, type);                                                      \
		for (int i = 0; i < ROWS; i++)                                                     \
			put;                                                                       \
		pg_array_end(params);                                                              \
	} while (0)

/* One of each type, in the order of assert_sample_row. */
static void put_sample(struct pg_params *params, const struct sample *sample)
{
	PUT_ARRAY(params, PG_ID, pg_array_id(params, &sample->ids[i]));
	PUT_ARRAY(params, PG_I64, pg_array_i64(params, sample->numbers[i]));
	PUT_ARRAY(params, PG_TIME, pg_array_time(params, sample_time(i)));
	PUT_ARRAY(params, PG_TEXT, pg_array_text(params, i % 7 == 0 ? NULL : sample->texts[i]));
	PUT_ARRAY(params, PG_BYTES, pg_array_bytes(params, sample->texts[i], (size_t)i % 5));
	PUT_ARRAY(params, PG_BOOL, pg_array_bool(params, i % 2 == 0));
	PUT_ARRAY(params, PG_I32, pg_array_i32(params, -i));
}

static void assert_sample_row(struct pg_row *row, const struct sample *sample, int i)
{
	struct id id = pg_read_id(row);
	const char *text;
	size_t len;

	assert_true(id_equal(&id, &sample->ids[i]));
	assert_true(pg_read_i64(row) == sample->numbers[i]);
	assert_true(pg_read_time(row) == sample_time(i));
	text = pg_read_text(row);
	if (i % 7 == 0)
		assert_null(text);
	else
		assert_string_equal(text, sample->texts[i]);
	(void)pg_read_bytes(row, &len);
	assert_int_equal(len, i % 5);
	assert_int_equal(pg_read_bool(row), i % 2 == 0);
	assert_int_equal(pg_read_i64(row), -i);
}

static void test_arrays_make_rows(void **state)
{
	struct sample sample;
	struct rig rig;
	struct ask ask;
	struct pg_row row;
	int count = 0;

	rig_open(&rig);
	sample_make(&sample);
	ask_init(&ask, &rig,
		"SELECT id, n, at, t, b, f, i FROM unnest($1, $2, $3, $4, $5, $6, $7) AS u(id, n, "
		"at, t, b, f, i)");
	put_sample(&ask.query.params, &sample);
	ask_run(&ask);
	ask_assert_ok(&ask);
	for (row = pg_rows(&ask.query); pg_row_next(&row); count++)
		assert_sample_row(&row, &sample, count);
	assert_int_equal(count, ROWS);
	ask_fini(&ask);
	rig_close(&rig);
}

static void test_arrays_are_read(void **state)
{
	struct rig rig;
	struct ask ask;
	struct pg_row row;
	struct pg_elements elements;
	struct id id;

	rig_open(&rig);
	ask_init(&ask, &rig,
		"SELECT ARRAY['a', NULL, 'ccc'], ARRAY[1, -2]::smallint[], '{}'::bigint[], "
		"NULL::text[], "
		"ARRAY['00000000-0000-7000-8000-000000000001']::uuid[], $1, $2");
	pg_array_begin(&ask.query.params, PG_I64);
	pg_array_end(&ask.query.params);
	pg_put_i64(&ask.query.params, 77); /* what follows an empty array is not shifted */
	ask_run(&ask);
	ask_assert_ok(&ask);
	row = pg_rows(&ask.query);
	assert_true(pg_row_next(&row));
	elements = pg_read_array(&row);
	assert_true(pg_element_next(&elements) && elements.len == 1 && elements.bytes[0] == 'a');
	assert_true(pg_element_next(&elements) && elements.bytes == NULL);
	assert_true(pg_element_next(&elements) && elements.len == 3 &&
		    memcmp(elements.bytes, "ccc", 3) == 0);
	assert_false(pg_element_next(&elements));
	elements = pg_read_array(&row);
	assert_true(pg_element_next(&elements) && pg_element_i64(&elements) == 1);
	assert_true(pg_element_next(&elements) && pg_element_i64(&elements) == -2);
	assert_false(pg_element_next(&elements));
	elements = pg_read_array(&row);
	assert_false(pg_element_next(&elements));
	elements = pg_read_array(&row);
	assert_false(pg_element_next(&elements));
	elements = pg_read_array(&row);
	assert_true(pg_element_next(&elements));
	id = pg_element_id(&elements);
	assert_int_equal(id.bytes[15], 1);
	elements = pg_read_array(&row);
	assert_false(pg_element_next(&elements));
	assert_int_equal(pg_read_i64(&row), 77);
	ask_fini(&ask);
	rig_close(&rig);
}

static void test_too_many_bytes_are_refused(void **state)
{
	struct rig rig;
	struct ask ask;
	char *big = xcalloc(1, PG_PARAMS_BYTES_MAX / 4);

	rig_open(&rig);
	ask_init(&ask, &rig, "SELECT array_length($1, 1), $2");
	pg_array_begin(&ask.query.params, PG_BYTES);
	for (int i = 0; i < 4; i++)
		pg_array_bytes(&ask.query.params, big, PG_PARAMS_BYTES_MAX / 4);
	pg_array_end(&ask.query.params);
	pg_put_i64(&ask.query.params, 1);
	ask_run(&ask);
	ask_assert_err(&ask, ERR_TOO_LARGE, "");
	assert_false(ask.query.was_sent);
	ask_fini(&ask);
	free(big);
	rig_close(&rig);
}

/* Larger than any buffer on the way, in both directions: flushed until nothing is left, read as it
 * comes. */
static void test_big_values(void **state)
{
	enum {
		BIG = 24 * 1024 * 1024
	};
	char *big = xmalloc(BIG + 1);
	struct rig rig;
	struct ask ask, small;
	struct pg_row row;

	memset(big, 'x', BIG);
	big[BIG] = '\0';
	rig_open(&rig);
	ask_init(&ask, &rig, "SELECT $1 || 'y'");
	ask_init(&small, &rig, "SELECT 5");
	pg_put_text(&ask.query.params, big);
	ask_start(&ask);
	ask_start(&small);
	ask_wait(&small);
	ask_assert_ok(&ask);
	row = pg_rows(&ask.query);
	assert_true(pg_row_next(&row));
	assert_int_equal(strlen(pg_read_text(&row)), BIG + 1);
	ask_fini(&ask);
	ask_init(&ask, &rig, "SELECT i, repeat('z', 20) FROM generate_series(1, 300000) AS i");
	ask_run(&ask);
	ask_assert_ok(&ask);
	assert_int_equal(pg_row_count(&ask.query), 300000);
	assert_int_equal(pg_affected(&ask.query), 300000);
	ask_fini(&ask);
	ask_fini(&small);
	free(big);
	rig_close(&rig);
}

static void test_text_format_reads_anything(void **state)
{
	struct rig rig;
	struct ask ask;
	struct pg_row row;

	rig_open(&rig);
	ask_init(&ask, &rig, "SELECT 1.50::numeric AS price, now() - now(), true, NULL");
	ask.query.format = PG_FORMAT_TEXT;
	ask_run(&ask);
	ask_assert_ok(&ask);
	assert_int_equal(pg_column_count(&ask.query), 4);
	assert_string_equal(pg_column_name(&ask.query, 0), "price");
	row = pg_rows(&ask.query);
	assert_true(pg_row_next(&row));
	assert_string_equal(pg_read_text(&row), "1.50");
	assert_string_equal(pg_read_text(&row), "00:00:00");
	assert_string_equal(pg_read_text(&row), "t");
	assert_null(pg_read_text(&row));
	ask_fini(&ask);
	rig_close(&rig);
}

/* --- errors --- */

static void test_errors_have_codes(void **state)
{
	static const struct {
		const char *text, *sqlstate;
		int code;
	} rows[] = {
		{"SELEKT 1", "42601", ERR_INTERNAL},
		{"SELECT 1/0", "22012", ERR_INVALID},
		{"SELECT 'x'::bigint", "22P02", ERR_INVALID},
		{"INSERT INTO things VALUES (1)", "23505", ERR_CONFLICT},
		{"SELECT pg_terminate_backend(1)", "", ERR_NONE},
		{"COPY things TO STDOUT", "", ERR_INVALID},
		{"SELECT 1; SELECT 2", "42601", ERR_INTERNAL},
	};
	struct rig rig;

	rig_open(&rig);
	rig_exec(&rig,
		"CREATE TABLE IF NOT EXISTS things (id bigint CONSTRAINT things_one PRIMARY KEY)");
	rig_exec(&rig, "INSERT INTO things VALUES (1) ON CONFLICT DO NOTHING");
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct ask ask;

		rig_until(&rig, pg_conn_is_ready(rig.conn));
		ask_init(&ask, &rig, rows[i].text);
		ask_run(&ask);
		if (rows[i].code == 0)
			ask_assert_ok(&ask);
		else
			ask_assert_err(&ask, rows[i].code, rows[i].sqlstate);
		assert_true(ask.query.was_sent);
		if (strcmp(rows[i].sqlstate, "23505") == 0)
			assert_string_equal(ask.query.constraint, "things_one");
		ask_fini(&ask);
	}
	rig_close(&rig);
}

/* Two sessions: what one holds, the other's lock_timeout and NOWAIT run into. */
static void test_lock_errors(void **state)
{
	struct rig holder, waiter;
	struct ask ask;

	rig_open(&holder);
	rig_init(&waiter, cluster.url);
	waiter.opts.settings = "SET lock_timeout = '10ms'; SET statement_timeout = '20s'";
	rig_connect(&waiter);
	rig_exec(&holder, "SELECT pg_advisory_lock(7, 1)");
	ask_init(&ask, &waiter, "SELECT pg_advisory_lock(7, 1)");
	ask_run(&ask);
	ask_assert_err(&ask, ERR_UNAVAILABLE, "55P03");
	ask_fini(&ask);
	rig_exec(&waiter, "SET statement_timeout = '10ms'");
	ask_init(&ask, &waiter, "SELECT pg_sleep(100)");
	ask_run(&ask);
	ask_assert_err(&ask, ERR_TIMEOUT, "57014");
	ask_fini(&ask);
	rig_close(&waiter);
	rig_close(&holder);
}

static void test_commit_of_a_failed_transaction(void **state)
{
	static const char *const texts[] = {
		"BEGIN", "SELECT 1/0", "SELECT 2", "COMMIT", "SELECT 3"};
	static const int codes[] = {ERR_NONE, ERR_INVALID, ERR_INTERNAL, ERR_CONFLICT, ERR_NONE};
	struct ask asks[COUNT_OF(texts)];
	struct rig rig;

	rig_open(&rig);
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		ask_init(&asks[i], &rig, texts[i]);
		ask_start(&asks[i]);
	}
	ask_wait(&asks[COUNT_OF(texts) - 1]);
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		assert_int_equal(asks[i].query.err.code, codes[i]);
		ask_fini(&asks[i]);
	}
	rig_close(&rig);
}

/* --- pipelines --- */

#define MANY 500

/* Every third statement fails; each other one gets its own answer, in order. One Sync a turn aborts
 * the neighbours, which run again unseen. */
static void run_pipeline_with_errors(enum pg_sync sync, bool is_prepared)
{
	static const struct pg_statement divide = {"divide", "SELECT $1 / $2"};
	struct ask *asks = xcalloc(MANY, sizeof(*asks));
	struct rig rig;
	int order = 0;

	rig_init(&rig, cluster.url);
	rig.opts.sync = sync;
	rig.opts.pipeline_max = 40;
	rig_connect(&rig);
	for (int i = 0; i < MANY; i++) {
		ask_init(&asks[i], &rig, is_prepared ? NULL : divide.text);
		asks[i].query.statement = is_prepared ? &divide : NULL;
		asks[i].last_order = &order;
		pg_put_i64(&asks[i].query.params, i * INT64_C(7));
		pg_put_i64(&asks[i].query.params, i % 3 == 1 ? 0 : 7);
		ask_start(&asks[i]);
	}
	assert_int_equal(pg_conn_load(rig.conn), MANY);
	rig_until(&rig, order == MANY);
	assert_int_equal(pg_conn_load(rig.conn), 0);
	for (int i = 0; i < MANY; i++) {
		if (i % 3 == 1)
			ask_assert_err(&asks[i], ERR_INVALID, "22012");
		else
			assert_int_equal(ask_i64(&asks[i]), i);
		if (sync == PG_SYNC_EACH)
			assert_int_equal(asks[i].order, i + 1);
		ask_fini(&asks[i]);
	}
	free(asks);
	rig_close(&rig);
}

static void test_pipeline_with_errors_sync_each(void **state)
{
	run_pipeline_with_errors(PG_SYNC_EACH, false);
	run_pipeline_with_errors(PG_SYNC_EACH, true);
}

static void test_pipeline_with_errors_sync_turn(void **state)
{
	run_pipeline_with_errors(PG_SYNC_TURN, false);
	run_pipeline_with_errors(PG_SYNC_TURN, true);
}

/* With one Sync for each, what stood before and behind a failing write is kept. */
static void test_writes_stand_for_themselves(void **state)
{
	struct ask asks[4];
	static const char *const texts[] = {"INSERT INTO w VALUES (1)", "INSERT INTO w VALUES (1)",
		"INSERT INTO w VALUES (2)", "SELECT count(*) FROM w"};
	struct rig rig;

	rig_open(&rig);
	rig_exec(&rig, "CREATE TEMP TABLE w (id bigint PRIMARY KEY)");
	for (size_t i = 0; i < COUNT_OF(asks); i++) {
		ask_init(&asks[i], &rig, texts[i]);
		ask_start(&asks[i]);
	}
	ask_wait(&asks[3]);
	assert_int_equal(pg_affected(&asks[0].query), 1);
	ask_assert_err(&asks[1], ERR_CONFLICT, "23505");
	assert_int_equal(ask_i64(&asks[3]), 2);
	for (size_t i = 0; i < COUNT_OF(asks); i++)
		ask_fini(&asks[i]);
	rig_close(&rig);
}

/* A reading connection cannot write, by the server's own rule: a write among reads would be rolled
 * back by a neighbour's error after it had been reported. */
static void test_reading_connection_refuses_writes(void **state)
{
	struct rig rig;
	struct ask ask;

	rig_init(&rig, cluster.url);
	rig.opts.sync = PG_SYNC_TURN;
	rig_connect(&rig);
	ask_init(&ask, &rig, "CREATE TABLE never (id bigint)");
	ask_run(&ask);
	ask_assert_err(&ask, ERR_UNAVAILABLE, "25006");
	ask_fini(&ask);
	assert_int_equal(pg_conn_session(rig.conn), 1);
	rig_close(&rig);
}

static void test_queue_is_bounded(void **state)
{
	struct ask asks[6];
	struct rig rig;

	rig_init(&rig, cluster.url);
	rig.opts.queue_max = 4;
	rig.opts.pipeline_max = 2;
	rig_connect(&rig);
	for (size_t i = 0; i < COUNT_OF(asks); i++) {
		ask_init(&asks[i], &rig, "SELECT 9");
		ask_start(&asks[i]);
	}
	for (size_t i = 0; i < COUNT_OF(asks); i++) {
		ask_wait(&asks[i]);
		if (i < 4)
			assert_int_equal(ask_i64(&asks[i]), 9);
		else
			ask_assert_err(&asks[i], ERR_UNAVAILABLE, "");
		ask_fini(&asks[i]);
	}
	rig_close(&rig);
}

/* --- prepared statements --- */

static void test_statement_is_prepared_once(void **state)
{
	static const struct pg_statement twice = {"twice", "SELECT 2 * $1"};
	struct rig rig;

	rig_open(&rig);
	for (int i = 0; i < 5; i++) {
		struct ask ask;

		ask_init(&ask, &rig, NULL);
		ask.query.statement = &twice;
		pg_put_i64(&ask.query.params, i);
		ask_run(&ask);
		assert_int_equal(ask_i64(&ask), 2 * i);
		ask_fini(&ask);
	}
	assert_int_equal(rig_i64(&rig, "SELECT count(*) FROM pg_prepared_statements WHERE "
				       "statement = 'SELECT 2 * $1'"),
		1);
	rig_close(&rig);
}

/* What a session remembers is bounded; the rest is sent with its text each time. */
static void test_too_many_statements_to_prepare(void **state)
{
	enum {
		STATEMENTS = 300,
		PREPARED = 256
	};
	struct pg_statement *statements = xcalloc(STATEMENTS, sizeof(*statements));
	struct rig rig;

	rig_open(&rig);
	for (int i = 0; i < STATEMENTS * 2; i++) {
		struct ask ask;

		statements[i % STATEMENTS] = (struct pg_statement){"three", "SELECT 3 + $1"};
		ask_init(&ask, &rig, NULL);
		ask.query.statement = &statements[i % STATEMENTS];
		pg_put_i64(&ask.query.params, i);
		ask_run(&ask);
		assert_int_equal(ask_i64(&ask), 3 + i);
		ask_fini(&ask);
	}
	assert_int_equal(rig_i64(&rig, "SELECT count(*) FROM pg_prepared_statements"), PREPARED);
	rig_close(&rig);
	free(statements);
}

/* What cannot be prepared now may be later, and the error is the statement's own. */
static void test_failed_prepare_is_tried_again(void **state)
{
	static const struct pg_statement count_late = {"count_late", "SELECT count(*) FROM late"};
	struct ask asks[3];
	struct rig rig;

	rig_open(&rig);
	for (size_t i = 0; i < COUNT_OF(asks); i++) {
		ask_init(&asks[i], &rig, NULL);
		asks[i].query.statement = &count_late;
		ask_start(&asks[i]);
	}
	ask_wait(&asks[2]);
	ask_assert_err(&asks[0], ERR_INTERNAL, "42P01");
	assert_non_null(strstr(asks[0].query.err.text, "count_late"));
	for (size_t i = 1; i < COUNT_OF(asks); i++) { /* relied on the first one's */
		ask_assert_err(&asks[i], ERR_UNAVAILABLE, "26000");
		assert_false(asks[i].query.was_sent);
	}
	rig_exec(&rig, "CREATE TEMP TABLE late (id bigint)");
	for (size_t i = 0; i < COUNT_OF(asks); i++) {
		ask_fini(&asks[i]);
		ask_init(&asks[i], &rig, NULL);
		asks[i].query.statement = &count_late;
		ask_run(&asks[i]);
		assert_int_equal(ask_i64(&asks[i]), 0);
		ask_fini(&asks[i]);
	}
	rig_close(&rig);
}

/* The server forgot it, or a migration changed its columns: reads go on unseen. */
static void test_prepared_statement_is_renewed(void **state)
{
	static const struct pg_statement all = {"all", "SELECT * FROM shape"};
	static const char *const changes[] = {
		"SELECT 1", "DEALLOCATE ALL", "ALTER TABLE shape ADD COLUMN more bigint"};
	struct rig rig, other;

	rig_open(&other);
	rig_exec(&other, "DROP TABLE IF EXISTS shape");
	rig_exec(&other, "CREATE TABLE shape (id bigint)");
	rig_exec(&other, "INSERT INTO shape VALUES (4)");
	rig_init(&rig, cluster.url);
	rig.opts.sync = PG_SYNC_TURN;
	rig_connect(&rig);
	for (size_t i = 0; i < COUNT_OF(changes); i++) {
		struct ask ask;

		for (int j = 0; j < 2; j++) {
			ask_init(&ask, &rig, NULL);
			ask.query.statement = &all;
			ask_run(&ask);
			assert_int_equal(ask_i64(&ask), 4);
			ask_fini(&ask);
		}
		rig_exec(i == 1 ? &rig : &other, changes[i]);
		ask_init(&ask, &rig, NULL);
		ask.query.statement = &all;
		ask_run(&ask);
		assert_int_equal(ask_i64(&ask), 4);
		ask_fini(&ask);
	}
	rig_exec(&other, "DROP TABLE shape");
	rig_close(&rig);
	rig_close(&other);
}

/* --- scripts --- */

static void test_script_runs_alone(void **state)
{
	struct rig rig;
	struct ask before, script, after;

	rig_open(&rig);
	ask_init(&before, &rig, "SELECT 1");
	ask_init(&script, &rig, NULL);
	script.query.script = "CREATE TEMP TABLE s (id bigint); INSERT INTO s VALUES (1), (2); "
			      "SELECT 'a', 'b' FROM s;";
	ask_init(&after, &rig, "SELECT count(*) FROM s");
	ask_start(&before);
	ask_start(&script);
	ask_start(&after);
	ask_wait(&after);
	assert_int_equal(ask_i64(&before), 1);
	ask_assert_ok(&script);
	assert_int_equal(pg_row_count(&script.query), 2);
	assert_int_equal(ask_i64(&after), 2);
	ask_fini(&before);
	ask_fini(&script);
	ask_fini(&after);
	rig_close(&rig);
}

static void test_failing_script_leaves_nothing(void **state)
{
	struct rig rig;
	struct ask script;

	rig_open(&rig);
	ask_init(&script, &rig, NULL);
	script.query.script =
		"CREATE TABLE half (id bigint); SELECT 1/0; CREATE TABLE other_half (id bigint)";
	ask_run(&script);
	ask_assert_err(&script, ERR_INVALID, "22012");
	ask_fini(&script);
	assert_int_equal(
		rig_i64(&rig, "SELECT count(*) FROM pg_tables WHERE tablename LIKE '%half'"), 0);
	rig_close(&rig);
}

/* --- deadlines and cancelling --- */

static int64_t running_sleeps(struct rig *rig)
{
	return rig_i64(rig, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND "
			    "query LIKE '%pg_sleep(1000)%' "
			    "AND pid <> pg_backend_pid()");
}

/* The statement ends on the server too, its neighbours in the pipeline live, and the session stays.
 */
static void run_deadline(enum pg_sync sync)
{
	struct rig rig, watcher;
	struct ask slow, behind;

	rig_open(&watcher);
	rig_init(&rig, cluster.url);
	rig.opts.sync = sync;
	rig_connect(&rig);
	ask_init(&slow, &rig, "SELECT pg_sleep(1000)");
	slow.query.timeout_ms = 50;
	ask_init(&behind, &rig, "SELECT 3");
	ask_start(&slow);
	ask_start(&behind);
	ask_wait(&slow);
	ask_assert_err(&slow, ERR_TIMEOUT, "");
	assert_true(slow.query.was_sent);
	assert_int_equal(behind.callbacks, 0);
	ask_wait(&behind);
	if (sync == PG_SYNC_EACH &&
		behind.query.err.code != 0) /* the signal comes twice, and may hit this one too */
		ask_assert_err(&behind, ERR_UNAVAILABLE, "57014");
	else
		assert_int_equal(ask_i64(&behind), 3);
	assert_int_equal(running_sleeps(&watcher), 0);
	assert_int_equal(pg_conn_session(rig.conn), 1);
	ask_fini(&slow);
	ask_fini(&behind);
	rig_close(&rig);
	rig_close(&watcher);
}

static void test_deadline_ends_the_statement(void **state)
{
	run_deadline(PG_SYNC_EACH);
	run_deadline(PG_SYNC_TURN);
}

static void test_cancel_ends_the_statement(void **state)
{
	struct rig rig, watcher;
	struct ask slow, waiting, never;

	rig_open(&watcher);
	rig_init(&rig, cluster.socket_url);
	rig.opts.pipeline_max = 2;
	rig_connect(&rig);
	ask_init(&slow, &rig, "SELECT pg_sleep(1000)");
	ask_init(&waiting, &rig, "SELECT 3");
	ask_init(&never, &rig, "SELECT 4");
	ask_start(&slow);
	ask_start(&waiting);
	ask_start(&never);
	while (running_sleeps(&watcher) == 0)
		(void)uv_run(&rig.loop, UV_RUN_NOWAIT);
	pg_query_cancel(&never.query);
	pg_query_cancel(&slow.query);
	pg_query_cancel(&slow.query);
	assert_int_equal(slow.callbacks + never.callbacks, 0);
	ask_wait(&slow);
	ask_wait(&never);
	ask_assert_err(&slow, ERR_CANCELLED, "");
	ask_assert_err(&never, ERR_CANCELLED, "");
	assert_true(slow.query.was_sent);
	assert_false(never.query.was_sent);
	ask_wait(&waiting);
	if (waiting.query.err.code != 0) /* the signal came late, and hit the next one */
		ask_assert_err(&waiting, ERR_UNAVAILABLE, "57014");
	pg_query_cancel(&waiting.query); /* harmless */
	assert_int_equal(running_sleeps(&watcher), 0);
	assert_int_equal(pg_conn_session(rig.conn), 1);
	ask_fini(&slow);
	ask_fini(&waiting);
	ask_fini(&never);
	rig_close(&rig);
	rig_close(&watcher);
}

/* Those in the middle and at the end of a pipeline, at random; whatever is left gets its own
 * answer. */
static void test_cancel_anywhere_in_a_pipeline(void **state)
{
	struct seed seed = seed_start("test_cancel_anywhere_in_a_pipeline");
	struct ask asks[40];
	struct rig rig;

	rig_init(&rig, cluster.url);
	rig.opts.sync = PG_SYNC_TURN;
	rig_connect(&rig);
	for (int round = 0; round < 30; round++) {
		bool is_cancelled[COUNT_OF(asks)] = {0};

		for (size_t i = 0; i < COUNT_OF(asks); i++) {
			ask_init(&asks[i], &rig,
				"SELECT $1 FROM (SELECT pg_sleep($2::int / 1000.0)) AS s");
			pg_put_i64(&asks[i].query.params, (int64_t)i);
			pg_put_i32(&asks[i].query.params, seed_below(&seed, 8) == 0 ? 2 : 0);
			ask_start(&asks[i]);
		}
		for (uint64_t turns = seed_below(&seed, 300); turns > 0; turns--)
			(void)uv_run(&rig.loop, UV_RUN_NOWAIT);
		for (size_t i = 0; i < COUNT_OF(asks); i++)
			if (seed_below(&seed, 4) == 0 && asks[i].callbacks == 0) {
				is_cancelled[i] = true;
				pg_query_cancel(&asks[i].query);
			}
		for (size_t i = 0; i < COUNT_OF(asks); i++) {
			ask_wait(&asks[i]);
			if (!is_cancelled[i] || asks[i].query.err.code == 0)
				assert_int_equal(ask_i64(&asks[i]), i);
			else
				ask_assert_err(&asks[i], ERR_CANCELLED, "");
			ask_fini(&asks[i]);
		}
	}
	assert_int_equal(pg_conn_session(rig.conn), 1);
	rig_close(&rig);
}

static void test_close_cancels_what_is_under_way(void **state)
{
	struct rig rig;
	struct ask asks[3];

	rig_init(&rig, cluster.url);
	rig.opts.pipeline_max = 2;
	rig_connect(&rig);
	for (size_t i = 0; i < COUNT_OF(asks); i++) {
		ask_init(&asks[i], &rig, "SELECT pg_sleep(1000)");
		ask_start(&asks[i]);
	}
	rig_turn(&rig);
	rig_close(&rig);
	for (size_t i = 0; i < COUNT_OF(asks); i++) {
		ask_assert_err(&asks[i], ERR_CANCELLED, "");
		ask_fini(&asks[i]);
	}
}

static void close_in_callback(struct ask *ask)
{
	pg_conn_close(ask->rig->conn, rig_on_closed, ask->rig);
}

static void test_close_in_a_callback(void **state)
{
	struct rig rig;
	struct ask first, second;

	rig_open(&rig);
	ask_init(&first, &rig, "SELECT 1");
	ask_init(&second, &rig, "SELECT pg_sleep(1000)");
	first.when_done = close_in_callback;
	ask_start(&first);
	ask_start(&second);
	rig_until(&rig, rig.is_closed);
	assert_int_equal(ask_i64(&first), 1);
	ask_assert_err(&second, ERR_CANCELLED, "");
	ask_fini(&first);
	ask_fini(&second);
	rig_fini(&rig);
}

static void ask_again(struct ask *ask)
{
	if (ask->order == 50)
		return;
	ask_assert_ok(ask);
	pg_query_fini(&ask->query); /* is the caller's again */
	ask->callbacks = 0;
	ask_start(ask);
}

static void test_query_is_used_again_in_its_callback(void **state)
{
	struct rig rig;
	struct ask ask;
	int order = 0;

	rig_open(&rig);
	ask_init(&ask, &rig, "SELECT 1");
	ask.last_order = &order;
	ask.when_done = ask_again;
	ask_start(&ask);
	rig_until(&rig, order == 50);
	ask_fini(&ask);
	rig_close(&rig);
}

/* --- sessions --- */

static void test_session_is_prepared(void **state)
{
	static const char *const channels[] = {"wake \"up\"", "other", NULL};
	struct rig rig, other;
	struct ask ask;
	struct pg_row row;

	rig_init(&rig, cluster.url);
	rig.opts.settings = "SET lock_timeout = '1234ms'";
	rig.opts.channels = channels;
	rig.opts.application_name = "gathering/test";
	rig_connect(&rig);
	rig_open(&other);
	ask_init(&ask, &rig,
		"SELECT current_setting('lock_timeout'), current_setting('application_name'), "
		"current_setting('client_encoding'), "
		"current_setting('client_connection_check_interval')");
	ask_run(&ask);
	row = pg_rows(&ask.query);
	assert_true(pg_row_next(&row));
	assert_string_equal(pg_read_text(&row), "1234ms");
	assert_string_equal(pg_read_text(&row), "gathering/test");
	assert_string_equal(pg_read_text(&row), "UTF8");
	assert_string_equal(pg_read_text(&row), "1s");
	ask_fini(&ask);
	assert_int_equal(rig_i64(&rig, "SELECT pg_backend_pid()"), pg_conn_backend_pid(rig.conn));
	rig_exec(&other, "SELECT pg_notify('wake \"up\"', 'now')");
	rig_until(&rig, rig.notify_count == 1);
	assert_string_equal(rig.notified, "wake \"up\":now");
	rig_exec(&other, "NOTIFY other");
	rig_until(&rig, rig.notify_count == 2);
	assert_string_equal(rig.notified, "other:");
	rig_close(&other);
	rig_close(&rig);
}

/* Notifications between the answers of a busy session. */
static void test_notify_among_answers(void **state)
{
	static const char *const channels[] = {"own", NULL};
	struct ask asks[60];
	struct rig rig;

	rig_init(&rig, cluster.url);
	rig.opts.channels = channels;
	rig_connect(&rig);
	for (size_t i = 0; i < COUNT_OF(asks); i++) {
		ask_init(&asks[i], &rig, "SELECT pg_notify('own', $1)");
		pg_put_text(&asks[i].query.params, "x");
		ask_start(&asks[i]);
	}
	for (size_t i = 0; i < COUNT_OF(asks); i++) {
		ask_wait(&asks[i]);
		ask_assert_ok(&asks[i]);
		ask_fini(&asks[i]);
	}
	rig_until(&rig, rig.notify_count == COUNT_OF(asks));
	rig_close(&rig);
}

static void test_bad_settings_are_told(void **state)
{
	struct rig rig;

	rig_init(&rig, cluster.url);
	rig.opts.settings = "SET no_such_setting = 1";
	rig_connect_only(&rig);
	rig_until(&rig, rig.down_count == 2); /* it tries again */
	assert_int_equal(rig.ready_count, 0);
	assert_int_equal(rig.state_err.code, ERR_UNAVAILABLE);
	assert_non_null(strstr(rig.state_err.text, "no_such_setting"));
	rig_close(&rig);
}

/* It is answered at once, without having been sent. */
static void assert_not_sent(struct rig *rig, const char *text, int64_t session)
{
	struct ask ask;

	ask_init(&ask, rig, text);
	ask.query.session = session;
	ask_run(&ask);
	ask_assert_err(&ask, ERR_UNAVAILABLE, "");
	assert_false(ask.query.was_sent);
	ask_fini(&ask);
}

/* A statement of the old session does not run in the new one; nor does the rest of a transaction.
 */
static void test_terminated_session_is_replaced(void **state)
{
	static const char *const channels[] = {"hint", NULL};
	static const char *const texts[] = {"BEGIN", "INSERT INTO kept VALUES (1)",
		"SELECT pg_sleep(1000)", "INSERT INTO kept VALUES (2)", "COMMIT"};
	struct rig rig, killer;
	struct ask asks[COUNT_OF(texts)];
	char kill[80];

	rig_open(&killer);
	rig_exec(&killer, "DROP TABLE IF EXISTS kept");
	rig_exec(&killer, "CREATE TABLE kept (id bigint)");
	rig_init(&rig, cluster.url);
	rig.opts.channels = channels;
	rig.opts.pipeline_max = 3;
	rig_connect(&rig);
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		ask_init(&asks[i], &rig, texts[i]);
		asks[i].query.session = 1;
		ask_start(&asks[i]);
	}
	while (running_sleeps(&killer) == 0)
		(void)uv_run(&rig.loop, UV_RUN_NOWAIT);
	(void)snprintf(kill, sizeof(kill), "SELECT pg_terminate_backend(%d)::int",
		pg_conn_backend_pid(rig.conn));
	assert_int_equal(rig_i64(&killer, kill), 1);
	rig_until(&rig, rig.down_count == 1);
	assert_int_equal(pg_conn_session(rig.conn), 0);
	assert_not_sent(&rig, "INSERT INTO kept VALUES (3)", 0);
	rig_until(&rig, rig.ready_count == 2);
	assert_not_sent(&rig, "INSERT INTO kept VALUES (4)", 1);
	assert_int_equal(pg_conn_session(rig.conn), 2);
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		if (i >= 2)
			assert_int_equal(asks[i].query.err.code, ERR_UNAVAILABLE);
		ask_fini(&asks[i]);
	}
	assert_int_equal(rig_i64(&rig, "SELECT count(*) FROM kept"), 0);
	rig_exec(&killer, "NOTIFY hint, 'again'");
	rig_until(&rig, rig.notify_count == 1); /* it listens again */
	rig_exec(&killer, "DROP TABLE kept");
	rig_close(&rig);
	rig_close(&killer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_come_back),
		cmocka_unit_test(test_nulls_come_back),
		cmocka_unit_test(test_times_are_exact),
		cmocka_unit_test(test_arrays_make_rows),
		cmocka_unit_test(test_arrays_are_read),
		cmocka_unit_test(test_too_many_bytes_are_refused),
		cmocka_unit_test(test_big_values),
		cmocka_unit_test(test_text_format_reads_anything),
		cmocka_unit_test(test_errors_have_codes),
		cmocka_unit_test(test_lock_errors),
		cmocka_unit_test(test_commit_of_a_failed_transaction),
		cmocka_unit_test(test_pipeline_with_errors_sync_each),
		cmocka_unit_test(test_pipeline_with_errors_sync_turn),
		cmocka_unit_test(test_writes_stand_for_themselves),
		cmocka_unit_test(test_reading_connection_refuses_writes),
		cmocka_unit_test(test_queue_is_bounded),
		cmocka_unit_test(test_statement_is_prepared_once),
		cmocka_unit_test(test_too_many_statements_to_prepare),
		cmocka_unit_test(test_failed_prepare_is_tried_again),
		cmocka_unit_test(test_prepared_statement_is_renewed),
		cmocka_unit_test(test_script_runs_alone),
		cmocka_unit_test(test_failing_script_leaves_nothing),
		cmocka_unit_test(test_deadline_ends_the_statement),
		cmocka_unit_test(test_cancel_ends_the_statement),
		cmocka_unit_test(test_cancel_anywhere_in_a_pipeline),
		cmocka_unit_test(test_close_cancels_what_is_under_way),
		cmocka_unit_test(test_close_in_a_callback),
		cmocka_unit_test(test_query_is_used_again_in_its_callback),
		cmocka_unit_test(test_session_is_prepared),
		cmocka_unit_test(test_notify_among_answers),
		cmocka_unit_test(test_bad_settings_are_told),
		cmocka_unit_test(test_terminated_session_is_replaced),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
