/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a pool, for pool.c (its life, its line of waiters) and pool_slot.c (its
 * connections). */
#pragma once

#include "pg_priv.h"

/* A place for a connection, and the connection in it. */
struct pool_slot {
	struct pg_pool *pool;
	struct pg_conn *conn;
	struct pg_lease *lease; /* who has it for himself, or NULL */
	bool is_closing, is_renewing, was_ready;
	int64_t used_mono_ms;    /* last work, or the beginning */
	int64_t checked_mono_ms; /* last answer to a check, or the same */
	int64_t expires_mono_ms; /* to be replaced from then on */
	struct pg_query check;
};

struct pg_pool {
	struct pg_pool_opts opts;      /* but opts.conn, whose texts are not ours */
	struct pg_conn_opts conn_opts; /* its copy */
	struct pg_texts texts;
	struct pg_target *target;
	struct pool_slot *slots[PG_POOL_MAX]; /* owned, each */
	int slot_count, next_slot;
	struct list waiting; /* pg_waiter, first come first served */
	struct list done;    /* pg_waiter: refused; callback to come */
	size_t waiting_count;
	uv_idle_t turn;
	uv_timer_t timer;
	int64_t armed_mono_ms;
	int leases_held; /* granted and not released */
	bool is_closing;
	int64_t grace_until_mono_ms;
	int64_t down_since_mono_ms; /* 0: up */
	struct pg_pool_stats totals;
	pg_closed_fn *closed;
	void *closed_data;
	int handles_left;
};

void pool_arm(struct pg_pool *pool, int64_t until_mono_ms);
void pool_schedule(struct pg_pool *pool);
/* Hands connections to the line, as far as there are any. */
void pool_serve(struct pg_pool *pool);
/* Ends the closing, when nothing is left. */
void pool_finish_closing(struct pg_pool *pool);

/* --- pool_slot.c --- */

void pool_slot_add(struct pg_pool *pool);
/* Cancels what is under way on it. */
void pool_slot_close(struct pool_slot *slot);
/* A new session in its place, which is no news: only that it fails would be. */
void pool_slot_renew(struct pool_slot *slot, const char *why);
bool pool_slot_is_free(const struct pool_slot *slot); /* nothing on it, nobody has it */
/* The one with the most room for a statement, or a free one for a lease; NULL: none now. */
struct pool_slot *pool_slot_pick(struct pg_pool *pool, bool for_lease, int64_t now_mono_ms);
/* Replaces the old, closes the superfluous, asks the silent. Says when to look again. */
int64_t pool_slots_tend(struct pg_pool *pool, int64_t now_mono_ms);
/* In a closing pool: lets go of what has nothing to do. */
void pool_slots_release(struct pg_pool *pool);
int pool_slots_ready(const struct pg_pool *pool);
bool pool_has_connecting(const struct pg_pool *pool);
