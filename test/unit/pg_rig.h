/* SPDX-License-Identifier: Apache-2.0
 *
 * A loop, connections and statements for the tests of src/pg. */
#pragma once

#include "pg_cluster.h"
#include "pg_guard.h"

#include <uv.h>

#include "base/clock.h"
#include "pg/pg.h"

#define RIG_PATIENCE_MS 120000 /* no test waits longer for anything */

struct rig {
	uv_loop_t loop;
	uv_timer_t watchdog;
	struct pg_conn_opts opts; /* a test changes them before rig_connect */
	struct pg_conn *conn;
	bool is_closed;
	/* what on_state and on_notify told */
	int ready_count, down_count;
	struct err state_err;
	char notified[256];
	int notify_count;
};

static inline void rig_on_watchdog(uv_timer_t *timer)
{
	(void)fprintf(stderr, "a test waited longer than %d ms\n", RIG_PATIENCE_MS);
	abort();
}

static inline void rig_on_state(
	struct pg_conn *conn, bool is_ready, const struct err *err, void *data)
{
	struct rig *rig = data;

	if (is_ready) {
		assert_null(err);
		rig->ready_count++;
		return;
	}
	rig->down_count++;
	rig->state_err = *err;
}

static inline void rig_on_notify(
	struct pg_conn *conn, const char *channel, const char *payload, void *data)
{
	struct rig *rig = data;

	rig->notify_count++;
	(void)snprintf(rig->notified, sizeof(rig->notified), "%s:%s", channel, payload);
}

static inline void rig_init(struct rig *rig, const char *url)
{
	*rig = (struct rig){0};
	assert_int_equal(uv_loop_init(&rig->loop), 0);
	assert_int_equal(uv_timer_init(&rig->loop, &rig->watchdog), 0);
	uv_timer_start(&rig->watchdog, rig_on_watchdog, RIG_PATIENCE_MS, 0);
	uv_unref((uv_handle_t *)&rig->watchdog);
	rig->opts = pg_conn_defaults();
	rig->opts.loop = &rig->loop;
	rig->opts.url = url;
	rig->opts.connect_timeout_ms = 30000;
	rig->opts.backoff_min_ms = 20;
	rig->opts.backoff_max_ms = 100;
	rig->opts.cancel_grace_ms = 30000;
	rig->opts.on_state = rig_on_state;
	rig->opts.on_notify = rig_on_notify;
	rig->opts.data = rig;
}

static inline void rig_turn(struct rig *rig)
{
	(void)uv_run(&rig->loop, UV_RUN_ONCE);
}

#define rig_until(rig, condition)                                                                  \
	do {                                                                                       \
		while (!(condition))                                                               \
			rig_turn(rig);                                                             \
	} while (0)

static inline void rig_connect_only(struct rig *rig)
{
	struct err err = {0};

	if (pg_conn_create(&rig->opts, &rig->conn, &err) != 0)
		fail_msg("%s", err.text);
	assert_false(pg_conn_is_ready(rig->conn));
}

static inline void rig_connect(struct rig *rig)
{
	rig_connect_only(rig);
	while (!pg_conn_is_ready(rig->conn)) {
		rig_turn(rig);
		if (rig->down_count > 0)
			fail_msg("%s", rig->state_err.text);
	}
}

static inline void rig_on_closed(void *data)
{
	struct rig *rig = data;

	assert_false(rig->is_closed);
	rig->is_closed = true;
}

/* The loop must be empty afterwards: nothing of src/pg may be left in it. */
static inline void rig_fini(struct rig *rig)
{
	uv_close((uv_handle_t *)&rig->watchdog, NULL);
	(void)uv_run(&rig->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&rig->loop), 0);
}

static inline void rig_close(struct rig *rig)
{
	pg_conn_close(rig->conn, rig_on_closed, rig);
	assert_false(rig->is_closed);
	rig_until(rig, rig->is_closed);
	rig_fini(rig);
}

/* --- statements --- */

struct ask {
	struct pg_query query;
	struct rig *rig;
	int callbacks;
	int order;       /* 1, 2, ...: when its callback ran */
	int *last_order; /* counts them; may be NULL */
	void (*when_done)(struct ask *ask);
};

static inline void ask_on_done(struct pg_query *query)
{
	struct ask *ask = container_of(query, struct ask, query);

	assert_ptr_equal(query->data, ask);
	ask->callbacks++;
	if (ask->last_order != NULL)
		ask->order = ++*ask->last_order;
	if (ask->when_done != NULL)
		ask->when_done(ask);
}

static inline void ask_init(struct ask *ask, struct rig *rig, const char *text)
{
	*ask = (struct ask){.rig = rig};
	pg_query_init(&ask->query);
	ask->query.text = text;
	ask->query.timeout_ms = RIG_PATIENCE_MS;
	ask->query.done = ask_on_done;
	ask->query.data = ask;
}

static inline void ask_fini(struct ask *ask)
{
	assert_int_equal(ask->callbacks, 1);
	pg_query_fini(&ask->query);
}

static inline void ask_start(struct ask *ask)
{
	pg_conn_query(ask->rig->conn, &ask->query);
	assert_int_equal(ask->callbacks, 0); /* never before the call returned */
}

static inline void ask_wait(struct ask *ask)
{
	rig_until(ask->rig, ask->callbacks > 0);
	assert_int_equal(ask->callbacks, 1);
}

static inline void ask_run(struct ask *ask)
{
	ask_start(ask);
	ask_wait(ask);
}

static inline void ask_assert_ok(const struct ask *ask)
{
	if (ask->query.err.code != 0)
		fail_msg("%s", ask->query.err.text);
}

static inline void ask_assert_err(const struct ask *ask, int code, const char *sqlstate)
{
	if (ask->query.err.code != code || strcmp(ask->query.sqlstate, sqlstate) != 0)
		fail_msg("%d [%s] '%s', not %d [%s]", ask->query.err.code, ask->query.sqlstate,
			ask->query.err.text, code, sqlstate);
	assert_true(ask->query.err.text[0] != '\0');
}

/* The first column of the only row. */
static inline int64_t ask_i64(const struct ask *ask)
{
	struct pg_row row = pg_rows(&ask->query);

	ask_assert_ok(ask);
	assert_int_equal(pg_row_count(&ask->query), 1);
	assert_true(pg_row_next(&row));
	return pg_read_i64(&row);
}

/* Runs one statement that must succeed, and gives its number. */
static inline int64_t rig_i64(struct rig *rig, const char *text)
{
	struct ask ask;
	int64_t value;

	ask_init(&ask, rig, text);
	ask_run(&ask);
	value = ask_i64(&ask);
	ask_fini(&ask);
	return value;
}

static inline void rig_exec(struct rig *rig, const char *text)
{
	struct ask ask;

	ask_init(&ask, rig, text);
	ask_run(&ask);
	ask_assert_ok(&ask);
	ask_fini(&ask);
}

/* Runs what the server is asked through another way, so that the loop need not run. */
static inline void rig_sql(struct cluster *cluster, const char *text)
{
	char command[512];

	(void)snprintf(command, sizeof(command), "sql %s", text);
	cluster_do(cluster, command);
}
