/* SPDX-License-Identifier: Apache-2.0
 *
 * A bounded pool: one line of waiters, queries and leases alike, served in the order of their
 * arrival. Nobody passes the first one, so a lease that waits for a connection of its own gets one
 * as soon as the statements that are under way have ended. A connection is added, one at a time,
 * when somebody waits and all are taken. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "pool_priv.h"

#define HANDLES 2

struct pg_pool_opts pg_pool_defaults(void)
{
	return (struct pg_pool_opts){
		.conn = pg_conn_defaults(),
		.min = 1,
		.max = 4,
		.queue_max = 10000,
		.wait_ms = 5000,
		.idle_ms = 60000,
		.lifetime_ms = 30 * 60 * 1000,
		.check_ms = 30000,
		.check_timeout_ms = 1000,
	};
}

static struct pg_query *query_of(struct pg_waiter *waiter)
{
	return container_of(waiter, struct pg_query, wait);
}

static struct pg_lease *lease_of(struct pg_waiter *waiter)
{
	return container_of(waiter, struct pg_lease, wait);
}

static struct pg_waiter *waiter_of(struct list *node)
{
	return container_of(node, struct pg_waiter, node);
}

static struct err *err_of(struct pg_waiter *waiter)
{
	return waiter->is_lease ? &lease_of(waiter)->err : &query_of(waiter)->err;
}

/* --- timer and turn --- */

static void on_timer(uv_timer_t *timer);

void pool_arm(struct pg_pool *pool, int64_t until_mono_ms)
{
	int64_t in_ms = until_mono_ms - clock_mono_ms();

	if (until_mono_ms == INT64_MAX ||
		(pool->armed_mono_ms != 0 && pool->armed_mono_ms <= until_mono_ms))
		return;
	pool->armed_mono_ms = until_mono_ms;
	if (!uv_is_closing((uv_handle_t *)&pool->timer))
		(void)uv_timer_start(&pool->timer, on_timer, in_ms > 0 ? (uint64_t)in_ms : 0, 0);
}

static void deliver(struct pg_pool *pool)
{
	struct list batch;
	struct list *node;

	list_init(&batch);
	list_splice(&batch, &pool->done);
	while ((node = list_pop(&batch)) != NULL) {
		struct pg_waiter *waiter = waiter_of(node);

		if (waiter->is_lease) {
			lease_of(waiter)->state =
				lease_of(waiter)->err.code == 0 ? PG_LEASE_HELD : PG_LEASE_NONE;
			lease_of(waiter)->done(lease_of(waiter));
		} else {
			query_of(waiter)->place = PG_NOWHERE;
			pg_pool_on_answer(pool, query_of(waiter));
			query_of(waiter)->done(query_of(waiter));
		}
	}
}

static void on_turn(uv_idle_t *turn)
{
	struct pg_pool *pool = container_of(turn, struct pg_pool, turn);

	(void)uv_idle_stop(turn);
	deliver(pool);
	if (pool->is_closing)
		pool_finish_closing(pool);
}

void pool_schedule(struct pg_pool *pool)
{
	if (!uv_is_closing((uv_handle_t *)&pool->turn))
		(void)uv_idle_start(&pool->turn, on_turn);
}

/* --- the line --- */

static void waiter_done(struct pg_pool *pool, struct pg_waiter *waiter)
{
	list_remove(&waiter->node);
	list_push(&pool->done, &waiter->node);
	if (waiter->is_lease)
		lease_of(waiter)->state = PG_LEASE_ENDED;
	else
		query_of(waiter)->place = PG_IN_DONE;
	pool_schedule(pool);
}

/* Its err is set. */
static void leave_line(struct pg_pool *pool, struct pg_waiter *waiter)
{
	pool->waiting_count--;
	waiter_done(pool, waiter);
}

void pg_pool_cancel(struct pg_pool *pool, struct pg_waiter *waiter)
{
	(void)err_set(err_of(waiter), ERR_CANCELLED, "cancelled");
	leave_line(pool, waiter);
	pool_serve(pool); /* it may have been the one that nobody passes */
}

static int refusal(const struct pg_pool *pool, struct err *err)
{
	if (pool->is_closing)
		return err_set(err, ERR_CANCELLED, "the pool of connections to %s is closed",
			pool->target->people);
	if (pool->waiting_count >= pool->opts.queue_max)
		return err_set(err, ERR_UNAVAILABLE, "%zu requests wait for a connection to %s",
			pool->waiting_count, pool->target->people);
	return 0;
}

static void line_up(
	struct pg_pool *pool, struct pg_waiter *waiter, int64_t until_mono_ms, int64_t now_mono_ms)
{
	list_init(&waiter->node);
	waiter->queued_mono_ms = now_mono_ms;
	waiter->until_mono_ms = now_mono_ms + pool->opts.wait_ms;
	if (until_mono_ms < waiter->until_mono_ms)
		waiter->until_mono_ms = until_mono_ms;
	if (refusal(pool, err_of(waiter)) != 0) {
		pool->totals.refused++;
		waiter_done(pool, waiter);
		return;
	}
	pool->waiting_count++;
	list_push(&pool->waiting, &waiter->node);
	pool_serve(pool);
	if (!list_is_empty(&pool->waiting))
		pool_arm(pool, waiter->until_mono_ms);
}

void pg_pool_query(struct pg_pool *pool, struct pg_query *query)
{
	int64_t now_mono_ms = clock_mono_ms();

	pg_query_begin(query, now_mono_ms);
	query->pool = pool;
	query->place = PG_IN_POOL;
	query->wait.is_lease = false;
	line_up(pool, &query->wait, query->until_mono_ms, now_mono_ms);
}

void pg_pool_lease(struct pg_pool *pool, struct pg_lease *lease)
{
	int64_t now_mono_ms = clock_mono_ms();

	must(lease->state == PG_LEASE_NONE && lease->timeout_ms > 0 && lease->done != NULL);
	lease->err = (struct err){0};
	lease->pool = pool;
	lease->conn = NULL;
	lease->session = 0;
	lease->state = PG_LEASE_WAITS;
	lease->wait.is_lease = true;
	line_up(pool, &lease->wait, now_mono_ms + lease->timeout_ms, now_mono_ms);
}

void pg_lease_cancel(struct pg_lease *lease)
{
	if (lease->state == PG_LEASE_WAITS)
		pg_pool_cancel(lease->pool, &lease->wait);
}

static void count_wait(struct pg_pool *pool, int64_t waited_ms)
{
	pool->totals.wait_total_ms += waited_ms;
	if (waited_ms > pool->totals.wait_max_ms)
		pool->totals.wait_max_ms = waited_ms;
}

static void serve_one(
	struct pg_pool *pool, struct pg_waiter *waiter, struct pool_slot *slot, int64_t now_mono_ms)
{
	list_remove(&waiter->node);
	pool->waiting_count--;
	count_wait(pool, now_mono_ms - waiter->queued_mono_ms);
	if (!waiter->is_lease) {
		pg_queue_accept(slot->conn, query_of(waiter));
		return;
	}
	lease_of(waiter)->conn = slot->conn;
	lease_of(waiter)->session = pg_conn_session(slot->conn);
	slot->lease = lease_of(waiter);
	pool->leases_held++;
	pool->totals.leases++;
	waiter_done(pool, waiter);
}

void pool_serve(struct pg_pool *pool)
{
	int64_t now_mono_ms;

	if (list_is_empty(&pool->waiting) || pool->is_closing)
		return;
	now_mono_ms = clock_mono_ms();
	while (!list_is_empty(&pool->waiting)) {
		struct pg_waiter *waiter = waiter_of(pool->waiting.next);
		struct pool_slot *slot = pool_slot_pick(pool, waiter->is_lease, now_mono_ms);

		if (slot == NULL)
			break;
		serve_one(pool, waiter, slot, now_mono_ms);
	}
	if (!list_is_empty(&pool->waiting) && pool->slot_count < pool->opts.max &&
		!pool_has_connecting(pool))
		pool_slot_add(pool);
}

void pg_pool_set_max(struct pg_pool *pool, int max)
{
	must(max >= 1 && max <= PG_POOL_MAX && max >= pool->opts.min);
	pool->opts.max = max;
	pool_serve(pool);
}

/* Waited too long: for a database that is away, or one that is too slow. */
static void expire(struct pg_pool *pool, struct pg_waiter *waiter, int64_t now_mono_ms)
{
	const struct err *last = &pool->totals.last_err;
	const char *people = pool->target->people;
	long long waited_ms = now_mono_ms - waiter->queued_mono_ms;

	if (pg_pool_is_up(pool))
		(void)err_set(err_of(waiter), ERR_TIMEOUT,
			"no connection to %s was free within %lld ms", people, waited_ms);
	else if (last->code == 0)
		(void)err_set(err_of(waiter), ERR_UNAVAILABLE,
			"still connecting to %s after %lld ms", people, waited_ms);
	else
		(void)err_set(err_of(waiter), ERR_UNAVAILABLE, "%s", last->text);
	pool->totals.refused++;
	count_wait(pool, waited_ms);
	leave_line(pool, waiter);
}

static void on_timer(uv_timer_t *timer)
{
	struct pg_pool *pool = container_of(timer, struct pg_pool, timer);
	int64_t now_mono_ms = clock_mono_ms(), next = INT64_MAX;

	pool->armed_mono_ms = 0;
	list_for_each (node, &pool->waiting) {
		if (waiter_of(node)->until_mono_ms <= now_mono_ms)
			expire(pool, waiter_of(node), now_mono_ms);
		else if (waiter_of(node)->until_mono_ms < next)
			next = waiter_of(node)->until_mono_ms;
	}
	if (!pool->is_closing)
		pool_arm(pool, pool_slots_tend(pool, now_mono_ms));
	else if (pool->grace_until_mono_ms > now_mono_ms)
		next = pool->grace_until_mono_ms;
	else
		for (int i = 0; i < pool->slot_count; i++)
			pool_slot_close(pool->slots[i]);
	pool_arm(pool, next);
	pool_serve(pool);
}

/* --- leases --- */

void pg_lease_query(struct pg_lease *lease, struct pg_query *query)
{
	must(lease->state == PG_LEASE_HELD);
	pg_query_begin(query, clock_mono_ms());
	query->pool = lease->pool;
	query->session = lease->session;
	query->wait.is_lease = false;
	if (lease->conn != NULL) {
		pg_queue_accept(lease->conn, query);
		return;
	}
	(void)err_set(&query->err, ERR_CANCELLED, "the pool of connections to %s is closed",
		lease->pool->target->people);
	waiter_done(lease->pool, &query->wait);
}

void pg_lease_release(struct pg_lease *lease)
{
	struct pg_pool *pool = lease->pool;
	struct pg_conn *conn = take_ptr(lease->conn);

	must(lease->state == PG_LEASE_HELD);
	lease->state = PG_LEASE_NONE;
	pool->leases_held--;
	if (conn != NULL) {
		struct pool_slot *slot = conn->opts.data;

		slot->lease = NULL;
		if (pg_conn_is_ready(conn) && !pg_conn_is_clean(conn))
			pool_slot_renew(slot, "a lease ended within a transaction");
		pg_pool_on_room(conn);
	}
	pool_schedule(pool); /* the last one may have held up the closing */
}

/* --- life --- */

int pg_pool_create(const struct pg_pool_opts *opts, struct pg_pool **ret_pool, struct err *err)
{
	struct pg_target *target = NULL;
	struct pg_pool *pool;

	must(opts->max >= 1 && opts->max <= PG_POOL_MAX && opts->min >= 0 &&
		opts->min <= opts->max);
	must(opts->wait_ms > 0 && opts->idle_ms > 0 && opts->lifetime_ms > 0 &&
		opts->check_ms > 0 && opts->check_timeout_ms > 0);
	if (pg_conn_check_opts(&opts->conn, err) != 0 ||
		pg_target_create(opts->conn.url, &target, err) != 0)
		return ERR_INVALID;
	pool = xcalloc(1, sizeof(*pool));
	pool->opts = *opts;
	pg_texts_copy(&pool->texts, &pool->conn_opts, &opts->conn);
	pool->target = target;
	list_init(&pool->waiting);
	list_init(&pool->done);
	pool->handles_left = HANDLES;
	pool->down_since_mono_ms = clock_mono_ms();
	must(uv_idle_init(opts->conn.loop, &pool->turn) == 0 &&
		uv_timer_init(opts->conn.loop, &pool->timer) == 0);
	pool->turn.data = pool->timer.data = pool;
	while (pool->slot_count < opts->min)
		pool_slot_add(pool);
	*ret_pool = pool;
	return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct pg_pool *pool = handle->data;
	pg_closed_fn *closed = pool->closed;
	void *data = pool->closed_data;

	if (--pool->handles_left > 0)
		return;
	pg_target_unref(pool->target);
	pg_texts_fini(&pool->texts);
	free(pool);
	if (closed != NULL)
		closed(data);
}

void pool_finish_closing(struct pg_pool *pool)
{
	if (pool->slot_count > 0 || pool->leases_held > 0 || !list_is_empty(&pool->done) ||
		uv_is_closing((uv_handle_t *)&pool->turn))
		return;
	uv_close((uv_handle_t *)&pool->turn, on_handle_closed);
	uv_close((uv_handle_t *)&pool->timer, on_handle_closed);
}

void pg_pool_close(struct pg_pool *pool, int64_t grace_ms, pg_closed_fn *closed, void *data)
{
	int64_t until_mono_ms = clock_mono_ms() + grace_ms;

	if (!pool->is_closing || until_mono_ms < pool->grace_until_mono_ms)
		pool->grace_until_mono_ms = until_mono_ms;
	pool->is_closing = true;
	pool->closed = closed;
	pool->closed_data = data;
	while (!list_is_empty(&pool->waiting)) {
		struct pg_waiter *waiter = waiter_of(pool->waiting.next);

		(void)err_set(err_of(waiter), ERR_CANCELLED,
			"the pool of connections to %s is closed", pool->target->people);
		leave_line(pool, waiter);
	}
	pool_slots_release(pool);
	pool_arm(pool, pool->grace_until_mono_ms);
	pool_schedule(pool);
}

/* --- figures --- */

void pg_pool_on_answer(struct pg_pool *pool, const struct pg_query *query)
{
	struct pg_pool_stats *totals = &pool->totals;

	totals->queries++;
	totals->errors += query->err.code != 0;
	totals->timeouts += query->err.code == ERR_TIMEOUT;
	totals->cancelled += query->err.code == ERR_CANCELLED;
}

bool pg_pool_is_up(const struct pg_pool *pool)
{
	return pool->down_since_mono_ms == 0;
}

void pg_pool_stats(const struct pg_pool *pool, struct pg_pool_stats *ret_stats)
{
	struct pg_pool_stats *stats = ret_stats;

	*stats = pool->totals;
	stats->min = pool->opts.min;
	stats->max = pool->opts.max;
	for (int i = 0; i < pool->slot_count; i++) {
		const struct pool_slot *slot = pool->slots[i];
		bool is_ready = !slot->is_closing && pg_conn_is_ready(slot->conn);

		stats->ready += is_ready;
		stats->connecting += !is_ready && !slot->is_closing;
		stats->leased += is_ready && slot->lease != NULL;
		stats->idle += is_ready && pool_slot_is_free(slot);
		stats->in_flight += is_ready ? pg_conn_load(slot->conn) : 0; /* else its setup */
	}
	stats->busy = stats->ready - stats->leased - stats->idle;
	stats->waiting = pool->waiting_count;
	stats->is_up = pg_pool_is_up(pool);
	stats->down_ms = stats->is_up ? 0 : clock_mono_ms() - pool->down_since_mono_ms;
}
