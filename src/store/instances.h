/* SPDX-License-Identifier: Apache-2.0
 *
 * Several instances on one store: who they are, who has died, who looks after what, and what they
 * tell each other. What holds for all verbs stands in store.h. */
#pragma once

#include "store/store.h"

/* --- instances and leases ---
 *
 * Several servers on one PostgreSQL. With SQLite and memory there is one instance, never dead: its
 * heartbeat only tells what became of its runs, list shows it alone, reap finds nobody.
 *
 * A run is leased for store_opts.lease_ms from the claim or the last heartbeat that named it. An
 * owner that cannot extend ends its own work before. A running run whose lease has ended is an
 * orphan, for store_recover of anybody. A polite end and reap end the leases of those gone. */

enum store_instance_state {
	INSTANCE_STARTING,
	INSTANCE_READY,
	INSTANCE_DRAINING
};
extern const char *const store_instance_state_names[];

struct store_lease {
	struct id run_id;
	int64_t epoch;
};

/* Says that we live, in which state, and extends the leases of the runs that we work on; one
 * statement. `lost`: not running under our name and epoch any more, or less than half a lease is
 * left because somebody has the row locked; their work has to end, and what it would write is
 * refused. `cancel` and `pause`: ours, and somebody asked for that. */
struct store_heartbeat {
	struct store_req req;
	enum store_instance_state state;
	const struct store_lease *leases;
	size_t count;
	int64_t ret_now_ms;
	int64_t ret_lease_until_ms; /* of all that are not lost: one that somebody had locked was
				       not extended */
	int64_t ret_instances;      /* in the table, this one included */
	int64_t ret_silent;         /* of these: others whom reap would take after two leases */
	bool ret_is_first;          /* of those at work and heard of within a lease, the oldest */
	int64_t ret_orphans;        /* runs that store_recover would find */
	int64_t ret_lease_end_ms;   /* the earliest of all; NO_TIME: none runs, or not shared */
	int64_t ret_wish;  /* the newest of store_wish for us: odd to drain, even to undrain */
	bool ret_was_gone; /* the others had taken us for dead; we are in the table again */
	struct id *ret_lost, *ret_cancel, *ret_pause;
	size_t ret_lost_count, ret_cancel_count, ret_pause_count;
};
void store_heartbeat(struct store *store, struct store_heartbeat *req, store_done_fn *done);
void store_heartbeat_fini(struct store_heartbeat *req);

struct store_instance {
	struct id id;
	char *host, *version; /* owned */
	int pid;
	enum store_instance_state state;
	int64_t started_at_ms, heartbeat_at_ms;
	int64_t running; /* runs */
};

/* All, oldest first. */
struct store_list_instances {
	struct store_req req;
	int64_t ret_now_ms;
	struct store_instance *ret_instances;
	size_t ret_count;
};
void store_list_instances(
	struct store *store, struct store_list_instances *req, store_done_fn *done);
void store_list_instances_fini(struct store_list_instances *req);

/* Takes those without a heartbeat for dead_ms out of the table and ends the leases of their runs.
 * Never ourselves. Time that the database server was down counts for nobody. Who dies in a session
 * (below) is found much sooner. */
struct store_reap {
	struct store_req req;
	int64_t dead_ms;
	struct id *ret_dead;
	size_t ret_dead_count;
};
void store_reap(struct store *store, struct store_reap *req, store_done_fn *done);
void store_reap_fini(struct store_reap *req);

/* The actions are spread over so many shards; look can be asked for some of them. */
#define STORE_SHARDS 64
int store_shard_of(const struct id *action_id);

/* --- coordination: who looks after what, who wakes whom, who has died ---
 *
 * All of it divides work, saves time or proves life; none of it decides who runs what (claim, take
 * and the epochs do), so it may be late, fail or be told twice. An error of the database means "not
 * this time". One instance alone (SQLite, memory) holds everything and hears nothing.
 *
 * Of the instances on one PostgreSQL each keeps a session of its own, which holds advisory locks:
 * of life, of its share of the shards, of duties. They end with the session. While there is none
 * (the database is away, a transaction pooler is in between) we look after all shards. */

/* Work for all that one instance does at a time. Its place is its lock's key: add at the end. */
enum store_duty {
	STORE_DUTY_RETENTION,
	STORE_DUTY_ALERTS,
	STORE_DUTY_BACKFILL,
	STORE_DUTY_COUNT
};

struct store_held {
	uint64_t shards; /* bit 1 << store_shard_of() each; ALL_SHARDS; none when others have all */
	uint32_t duties; /* bit 1 << enum store_duty each */
	int members;     /* instances that share the shards; 0: not known */
	bool is_listening; /* what others tell reaches us */
	bool is_exposed;   /* our lock of life is gone: only fresh heartbeats show that we live */
	bool is_pooled;    /* a transaction pooler is in between: no locks, no news */
};
#define ALL_SHARDS UINT64_MAX

/* On the loop, never inside a call of ours. Ids are borrowed for the call. */
struct store_watcher {
	void (*on_held)(const struct store_held *held, void *data); /* something changed */
	/* Another instance has written this action, or (NULL) many. */
	void (*on_action)(const struct id *action_id, void *data);
	void (*on_pending)(void *data); /* a run became pending: take it if there is room */
	void (*on_cancel)(const struct id *run_id, void *data);
	void (*on_pause)(const struct id *run_id, void *data);
	void (*on_wish)(void *data); /* somebody has a wish for us: the next heartbeat tells */
	/* These are out of the table and their leases have ended: recover. */
	void (*on_dead)(const struct id *ids, size_t count, void *data);
	void *data;
};

/* Begins to take part, once, when the store is open; ends with store_close. What our writes mean to
 * the others is told them from then on. */
void store_watch(struct store *store, const struct store_watcher *watcher);

/* The watcher hears nothing more; what we hold is let go of at store_close. */
void store_unwatch(struct store *store);

/* Whether we want shards and duties; not at first. Without effect on one instance alone. */
void store_want_work(struct store *store, bool wants_work);

/* From memory. */
const struct store_held *store_held(const struct store *store);
