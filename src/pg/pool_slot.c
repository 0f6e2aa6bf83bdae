/* SPDX-License-Identifier: Apache-2.0
 *
 * The connections of a pool: which one to use next, and their upkeep. A connection that is lost
 * comes back by itself (conn.c); one above `min` is closed instead when nobody waits. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "pool_priv.h"

/* A round trip, and no statement in the server's statistics. */
#define CHECK_TEXT ""

/* Up to a tenth less, so that connections made together are not replaced together. */
static int64_t lifetime(const struct pg_pool *pool)
{
	uint32_t random = 0;

	(void)uv_random(NULL, NULL, &random, sizeof(random), 0, NULL);
	return pool->opts.lifetime_ms -
	       (int64_t)(random % (uint64_t)(pool->opts.lifetime_ms / 10 + 1));
}

void pool_slot_add(struct pg_pool *pool)
{
	struct pool_slot *slot = xcalloc(1, sizeof(*slot));

	must(pool->slot_count < PG_POOL_MAX);
	slot->pool = pool;
	pool->slots[pool->slot_count++] = slot;
	slot->conn = pg_conn_make(&pool->conn_opts, pool->target, pool);
	slot->conn->opts.data = slot;
}

static void on_slot_closed(void *data)
{
	struct pool_slot *slot = data;
	struct pg_pool *pool = slot->pool;

	for (int i = 0; i < pool->slot_count; i++)
		if (pool->slots[i] == slot) {
			pool->slots[i] = pool->slots[--pool->slot_count];
			break;
		}
	pg_query_fini(&slot->check);
	free(slot);
	if (pool->is_closing)
		pool_finish_closing(pool);
	else
		pool_serve(pool);
}

void pool_slot_close(struct pool_slot *slot)
{
	if (slot->is_closing)
		return;
	slot->is_closing = true;
	if (slot->lease != NULL)
		slot->lease->conn = NULL;
	slot->lease = NULL;
	pg_conn_close(slot->conn, on_slot_closed, slot);
}

void pool_slot_renew(struct pool_slot *slot, const char *why)
{
	slot->is_renewing = true;
	pg_conn_renew(slot->conn, why);
}

bool pool_slot_is_free(const struct pool_slot *slot)
{
	return !slot->is_closing && slot->lease == NULL && pg_conn_load(slot->conn) == 0;
}

static bool is_ready(const struct pool_slot *slot)
{
	return !slot->is_closing && pg_conn_is_ready(slot->conn);
}

int pool_slots_ready(const struct pg_pool *pool)
{
	int count = 0;

	for (int i = 0; i < pool->slot_count; i++)
		count += is_ready(pool->slots[i]);
	return count;
}

bool pool_has_connecting(const struct pg_pool *pool)
{
	for (int i = 0; i < pool->slot_count; i++)
		if (!pool->slots[i]->is_closing && !pg_conn_is_ready(pool->slots[i]->conn))
			return true;
	return false;
}

static bool may_take(const struct pool_slot *slot, bool for_lease, int64_t now_mono_ms)
{
	const struct pg_conn *conn = slot->conn;

	if (!is_ready(slot) || slot->lease != NULL || slot->expires_mono_ms <= now_mono_ms ||
		conn->abandoned > 0 || conn->cancel != NULL)
		return false;
	return for_lease ? pg_conn_is_clean(conn) : pg_conn_load(conn) < conn->opts.pipeline_max;
}

/* Among equals each in turn. */
struct pool_slot *pool_slot_pick(struct pg_pool *pool, bool for_lease, int64_t now_mono_ms)
{
	struct pool_slot *best = NULL;

	for (int i = 0; i < pool->slot_count; i++) {
		struct pool_slot *slot = pool->slots[(pool->next_slot + i) % pool->slot_count];

		if (may_take(slot, for_lease, now_mono_ms) &&
			(best == NULL || pg_conn_load(slot->conn) < pg_conn_load(best->conn)))
			best = slot;
	}
	if (best != NULL) {
		pool->next_slot = (pool->next_slot + 1) % pool->slot_count;
		best->used_mono_ms = now_mono_ms;
	}
	return best;
}

/* --- upkeep --- */

static void on_checked(struct pg_query *query)
{
	struct pool_slot *slot = container_of(query, struct pool_slot, check);
	char why[160];

	slot->checked_mono_ms = clock_mono_ms();
	if (query->err.code == ERR_TIMEOUT && !slot->is_closing) {
		(void)snprintf(why, sizeof(why), "it did not answer a health check within %lld ms",
			(long long)query->timeout_ms);
		pg_conn_renew(slot->conn, why);
	}
	pg_query_fini(query);
}

static void check(struct pool_slot *slot)
{
	pg_query_init(&slot->check);
	slot->check.text = CHECK_TEXT;
	slot->check.timeout_ms = slot->pool->opts.check_timeout_ms;
	slot->check.done = on_checked;
	slot->pool->totals.checks++;
	pg_conn_query(slot->conn, &slot->check);
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static void retire(struct pool_slot *slot, bool is_needed)
{
	if (is_needed)
		pool_slot_renew(slot, "it has reached its age");
	else
		pool_slot_close(slot);
}

/* When to look at it again. */
static int64_t tend(struct pool_slot *slot, int *open, int64_t now_mono_ms)
{
	const struct pg_pool_opts *opts = &slot->pool->opts;
	int64_t idle_until = slot->used_mono_ms + opts->idle_ms;
	int64_t check_at = later(slot->used_mono_ms, slot->checked_mono_ms) + opts->check_ms;
	bool is_needed = *open <= opts->min;

	/* A check that has failed may still be on its way to us. */
	if (!is_ready(slot) || !pool_slot_is_free(slot) || slot->check.place != PG_NOWHERE)
		return INT64_MAX;
	if (slot->expires_mono_ms <= now_mono_ms || (!is_needed && idle_until <= now_mono_ms)) {
		*open -= !is_needed;
		retire(slot, is_needed);
		return INT64_MAX;
	}
	if (check_at <= now_mono_ms) {
		check(slot);
		check_at = now_mono_ms + opts->check_ms;
	}
	return earlier(
		earlier(check_at, slot->expires_mono_ms), is_needed ? INT64_MAX : idle_until);
}

int64_t pool_slots_tend(struct pg_pool *pool, int64_t now_mono_ms)
{
	int64_t next = INT64_MAX;
	int open = 0;

	for (int i = 0; i < pool->slot_count; i++)
		open += !pool->slots[i]->is_closing;
	for (int i = 0; i < pool->slot_count; i++)
		next = earlier(next, tend(pool->slots[i], &open, now_mono_ms));
	return next;
}

void pool_slots_release(struct pg_pool *pool)
{
	for (int i = 0; i < pool->slot_count; i++)
		if (pool_slot_is_free(pool->slots[i]))
			pool_slot_close(pool->slots[i]);
}

/* --- what a connection tells --- */

static void slot_ready(struct pool_slot *slot)
{
	struct pg_pool *pool = slot->pool;
	int64_t now_mono_ms = clock_mono_ms();

	slot->was_ready = true;
	slot->used_mono_ms = slot->checked_mono_ms = now_mono_ms;
	slot->expires_mono_ms = now_mono_ms + lifetime(pool);
	pool->totals.sessions++;
	pool_arm(pool, now_mono_ms + earlier(pool->opts.check_ms,
					     earlier(pool->opts.idle_ms, pool->opts.lifetime_ms)));
}

static void slot_down(struct pool_slot *slot, const struct err *err)
{
	struct pg_pool *pool = slot->pool;
	int open = 0;

	*(slot->was_ready ? &pool->totals.sessions_lost : &pool->totals.connect_failures) += 1;
	slot->was_ready = false;
	pool->totals.last_err = *err;
	for (int i = 0; i < pool->slot_count; i++)
		open += !pool->slots[i]->is_closing;
	if (pool->is_closing ? slot->lease == NULL
			     : open > pool->opts.min && slot->lease == NULL &&
				       list_is_empty(&pool->waiting))
		pool_slot_close(slot);
}

static void tell_state(struct pg_pool *pool, bool is_up, const struct err *err)
{
	if (is_up == (pool->down_since_mono_ms == 0))
		return;
	pool->down_since_mono_ms = is_up ? 0 : clock_mono_ms();
	if (pool->opts.on_state != NULL && !pool->is_closing)
		pool->opts.on_state(pool, is_up, err, pool->opts.data);
}

void pg_pool_on_conn_state(struct pg_conn *conn, bool is_up, const struct err *err)
{
	struct pool_slot *slot = conn->opts.data;
	struct pg_pool *pool = slot->pool;

	if (!is_up && slot->is_renewing) {
		slot->is_renewing = slot->was_ready = false; /* on purpose: no news for anybody */
		return;
	}
	if (is_up)
		slot_ready(slot);
	else
		slot_down(slot, err);
	tell_state(pool, pool_slots_ready(pool) > 0, err);
	if (pool->is_closing)
		pool_slots_release(pool);
	else
		pool_serve(pool);
}

void pg_pool_on_room(struct pg_conn *conn)
{
	struct pool_slot *slot = conn->opts.data;
	struct pg_pool *pool = slot->pool;
	int64_t now_mono_ms = clock_mono_ms();

	slot->checked_mono_ms = now_mono_ms; /* it lives */
	if (pool->is_closing) {
		pool_slots_release(pool);
		return;
	}
	if (pool_slot_is_free(slot))
		pool_arm(pool,
			earlier(slot->expires_mono_ms,
				now_mono_ms + earlier(pool->opts.check_ms, pool->opts.idle_ms)));
	pool_serve(pool);
}
