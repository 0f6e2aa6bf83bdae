/* SPDX-License-Identifier: Apache-2.0
 *
 * The session of this instance: a direct connection that holds its advisory locks and listens. Its
 * lock of life tells the others that it is there (pg_lookout.c); locks on shards and duties divide
 * the work; what the others write comes in as NOTIFY and what we write goes out (pg_news.c).
 *
 *   (none) -> hail: lock of life -> balance: shards and duties -> balance again on news
 *
 * Balance: each member's share is the 64 shards by the number of members, rounded up. Who has more
 * gives up first and says so; who has less takes what is free and never waits. So at rest nothing
 * moves, and one that comes or goes moves what it must. Who has no session looks after all shards,
 * which costs lost claims and nothing else; the same where a transaction pooler is in between: then
 * there is never a session, and duties fall to whoever the heartbeat names. */
#include <stdlib.h>

#include "base/clock.h"
#include "store/pg_store_priv.h"

#define ASK_TIMEOUT_MS  5000
#define HAIL_AGAIN_MS   100    /* one that looks whether we live holds our lock for a moment */
#define BALANCE_MIN_MS  5      /* after news, with jitter ... */
#define BALANCE_MAX_MS  50     /* ... so that what comes together is one balance */
#define BALANCE_REST_MS 300000 /* without news; in vain, unless some were lost */
#define BALANCE_FAIL_MS 1000
#define BACKOFF_MAX_MS  500

static void arm(struct pg_session *session, int64_t in_ms);

/* --- what we hold --- */

static void publish(struct pg_session *session)
{
	struct store *store = session->pg->store;
	bool is_balanced = session->is_held && session->members > 0;

	store_set_held(store,
		&(struct store_held){
			.shards = is_balanced && store->wants_work ? session->owned : ALL_SHARDS,
			.duties = session->duties,
			.members = session->members,
			.is_listening = session->is_held,
			.is_exposed = !session->is_held,
		});
}

static void forget(struct pg_session *session)
{
	session->is_held = session->is_member = false;
	session->owned = 0;
	session->duties = 0;
	session->members = 0;
}

/* --- asking: one statement at a time --- */

static const struct pg_statement hail_statement = {
	.name = "hail", .text = "SELECT gathering.hail($1::uuid)"};

static const struct pg_statement balance_statement = {.name = "balance",
	.text = "SELECT ret_members, ret_is_member, ret_owned, ret_duties, ret_freed"
		" FROM gathering.balance($1::uuid, $2::boolean, $3::boolean, $4::bigint,"
		" $5::integer, $6::integer)"};

static void ask(struct pg_session *session, const struct pg_statement *statement, pg_done_fn *done)
{
	struct pg_query *query = &session->query;

	pg_query_init(query);
	query->statement = statement;
	query->timeout_ms = ASK_TIMEOUT_MS;
	query->session = pg_conn_session(session->conn);
	query->done = done;
	query->data = session;
	pg_put_id(&query->params, &session->pg->store->instance_id);
	session->is_asking = true;
}

/* False: what came is of no use, and was dealt with. Session locks outlive the statement that took
 * them: after a balance that failed nobody knows which the session holds, so it is replaced. */
static bool answer_is_good(struct pg_session *session)
{
	struct pg_query *query = &session->query;

	session->is_asking = false;
	if (!session->is_closing && query->err.code == 0)
		return true;
	if (!session->is_closing && pg_conn_is_ready(session->conn)) {
		session->has_failed = session->is_held;
		if (session->is_held || query->err.code == ERR_TIMEOUT)
			pg_conn_renew(session->conn, query->err.text);
		else
			arm(session, BALANCE_FAIL_MS);
	}
	pg_query_fini(query);
	return false;
}

/* Whether the others may now have more, or must have less. */
static bool read_balance(struct pg_session *session)
{
	struct pg_row row = pg_rows(&session->query);
	bool was_member = session->is_member;

	must(pg_row_next(&row));
	session->members = pg_read_int(&row, 0);
	session->is_member = pg_read_bool(&row);
	session->owned = (uint64_t)pg_read_i64(&row);
	session->duties = (uint32_t)pg_read_i64(&row);
	return pg_read_bool(&row) || (session->is_member && !was_member);
}

static void on_balanced(struct pg_query *query)
{
	struct pg_session *session = query->data;
	bool has_freed;

	if (!answer_is_good(session))
		return;
	has_freed = read_balance(session);
	pg_query_fini(query);
	session->has_failed = false;
	publish(session);
	if (has_freed)
		pg_tell_instances(session->pg);
	if (session->wanted == session->pg->store->wants_work)
		arm(session, BALANCE_REST_MS);
	else
		arm(session, 0); /* we have changed our mind meanwhile */
}

static void balance(struct pg_session *session)
{
	struct pg_params *params = &session->query.params;

	session->wanted = session->pg->store->wants_work;
	ask(session, &balance_statement, on_balanced);
	pg_put_bool(params, session->wanted);
	pg_put_bool(params, session->is_member);
	pg_put_i64(params, (int64_t)session->owned);
	pg_put_i32(params, (int32_t)session->duties);
	pg_put_i32(params, STORE_DUTY_COUNT);
	pg_conn_query(session->conn, &session->query);
}

static void on_hailed(struct pg_query *query)
{
	struct pg_session *session = query->data;
	struct pg_row row;

	if (!answer_is_good(session))
		return;
	row = pg_rows(query);
	must(pg_row_next(&row));
	session->is_held = pg_read_bool(&row);
	pg_query_fini(query);
	publish(session);
	if (!session->is_held)
		arm(session, HAIL_AGAIN_MS);
	else
		arm(session, session->has_failed ? BALANCE_FAIL_MS : 0);
	pg_news_catch_up(session->pg);
}

static void on_timer(uv_timer_t *timer)
{
	struct pg_session *session = timer->data;

	session->due_mono_ms = INT64_MAX;
	if (session->is_closing || session->is_asking || !pg_conn_is_ready(session->conn))
		return;
	if (session->is_held) {
		balance(session);
		return;
	}
	ask(session, &hail_statement, on_hailed);
	pg_conn_query(session->conn, &session->query);
}

/* The earlier wish counts. */
static void arm(struct pg_session *session, int64_t in_ms)
{
	int64_t due = clock_mono_ms() + in_ms;

	if (due >= session->due_mono_ms)
		return;
	session->due_mono_ms = due;
	uv_timer_start(&session->timer, on_timer, (uint64_t)in_ms, 0);
}

/* --- events --- */

void pg_session_members_changed(struct pg_store *pg)
{
	if (pg->session.conn)
		arm(&pg->session,
			BALANCE_MIN_MS + arc4random_uniform(BALANCE_MAX_MS - BALANCE_MIN_MS));
}

void pg_session_want_work(struct store *store)
{
	struct pg_store *pg = store->impl;

	if (pg->session.conn)
		arm(&pg->session, 0);
}

/* Without sessions the oldest one at work has the duties. */
void pg_session_note_first(struct pg_store *pg, bool is_first)
{
	struct store_held held = pg->store->held;

	if (pg->session.conn)
		return;
	held.duties = is_first && pg->store->wants_work ? UINT32_MAX : 0;
	store_set_held(pg->store, &held);
}

static void on_state(struct pg_conn *conn, bool is_ready, const struct err *err, void *data)
{
	struct pg_session *session = data;

	if (session->is_closing)
		return;
	forget(session);
	publish(session);
	if (is_ready)
		arm(session, 0);
}

static void on_notify(struct pg_conn *conn, const char *channel, const char *payload, void *data)
{
	struct pg_session *session = data;

	if (!session->is_closing)
		pg_news_read(session->pg, payload);
}

/* --- life --- */

struct pg_conn *pg_session_connect(struct pg_store *pg, const char *name,
	const char *const *channels, pg_state_fn *on_state_fn, pg_notify_fn *on_notify_fn,
	void *data)
{
	struct pg_conn_opts opts = pg_conn_defaults();
	struct pg_conn *conn;
	struct err err;

	opts.loop = pg->store->loop;
	opts.url = pg->url;
	opts.application_name = name;
	opts.backoff_max_ms = BACKOFF_MAX_MS;
	/* idle is what it is for; idle_session_timeout came with version 14 */
	opts.settings = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN"
			" ('idle_session_timeout', 'statement_timeout')";
	opts.channels = channels;
	opts.on_state = on_state_fn;
	opts.on_notify = on_notify_fn;
	opts.data = data;
	must(pg_conn_create(&opts, &conn, &err) == 0); /* the URL has been used already */
	return conn;
}

void pg_session_open(struct store *store)
{
	static const char *const channels[] = {PG_NEWS_CHANNEL, NULL};
	struct pg_store *pg = store->impl;
	struct pg_session *session = &pg->session;

	if (pg->state != PG_STORE_OPEN)
		return;
	if (pg->is_pooled)
		return;
	session->pg = pg;
	session->due_mono_ms = INT64_MAX;
	must(uv_timer_init(store->loop, &session->timer) == 0);
	session->timer.data = session;
	pg_news_open(pg);
	session->conn =
		pg_session_connect(pg, "gathering session", channels, on_state, on_notify, session);
	pg_lookout_open(pg);
}

static void on_conn_closed(void *data)
{
	pg_store_part_closed(data);
}

static void on_timer_closed(uv_handle_t *handle)
{
	pg_store_part_closed(((struct pg_session *)handle->data)->pg);
}

int pg_session_close(struct pg_store *pg)
{
	struct pg_session *session = &pg->session;

	if (!session->conn)
		return 0;
	session->is_closing = true;
	uv_close((uv_handle_t *)&session->timer, on_timer_closed);
	pg_conn_close(session->conn, on_conn_closed, pg);
	return 2 + pg_news_close(pg) + pg_lookout_close(pg);
}
