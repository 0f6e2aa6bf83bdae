/* SPDX-License-Identifier: Apache-2.0
 *
 * What people watch while it happens: which runs and actions change, on all instances. Hints, as
 * those of store_watch() are, that cost nothing while nobody listens: then they are not even told.
 */
#pragma once

#include "store/store.h"

/* On the loop, never inside a call of ours; ids are borrowed for the call. What is told is written
 * already; several writes to the same may be told once. */
struct store_listener {
	void (*on_run)(const struct id *run_id, void *data); /* NULL: some, it is not known which */
	void (*on_action)(const struct id *action_id, void *data); /* the same */
	void (*on_instances)(void *data);
	/* What the other instances did meanwhile may not have been told. */
	void (*on_missed)(void *data);
	void *data;
};

/* How soon store_listen must be called again while somebody listens: others forget. */
#define STORE_LISTEN_MS 10000

/* Listens from now on, or goes on; NULL: no more. One listener at a time. */
void store_listen(struct store *store, const struct store_listener *listener);

/* False: what other instances do is not told to us (no session, a transaction pooler). True where
 * there are none. */
bool store_hears_others(const struct store *store);

/* --- output of attempts --- */

/* The captured output of the last attempt that ended, of those with that number and that epoch. By
 * epoch also of one that is running, if its instance has put it there: ret_is_live. ERR_NOT_FOUND.
 */
struct store_get_output {
	struct store_req req;
	struct id run_id;
	int attempt;   /* 0: any; an interrupted one shares its number with the next */
	int64_t epoch; /* 0: any */
	int ret_attempt;
	char *ret_output;
	size_t ret_len;
	int64_t ret_total; /* bytes the attempt produced */
	bool ret_is_live;
};
void store_get_output(struct store *store, struct store_get_output *req, store_done_fn *done);
void store_get_output_fini(struct store_get_output *req);

/* Of those that run on another instance. */

/* Wanted again at least so often, while it is. */
#define STORE_WANT_MS 5000

/* Asks the instance that has this run to put there what it writes, for store_get_output with the
 * epoch (ret_is_live). A hint: nothing comes of it when nobody hears us. */
void store_want_output(struct store *store, const struct id *run_id);

/* Another instance asks so, of whatever run. One watcher at a time; NULL: no more. */
typedef void store_output_wanted_fn(const struct id *run_id, void *data);
void store_watch_output(struct store *store, store_output_wanted_fn *wanted, void *data);

/* The output of a running attempt as of now, as it would be kept; without bytes it is taken away.
 * Without effect when the run is not running under this epoch, or nobody shares the store. */
struct store_put_live {
	struct store_req req;
	struct id run_id;
	int64_t epoch;
	const char *output; /* NULL: forget it */
	size_t len;
	int64_t total; /* bytes the attempt has produced */
};
void store_put_live(struct store *store, struct store_put_live *req, store_done_fn *done);

/* A run that was written past our verbs (store_put_finish). */
void store_run_changed(struct store *store, const struct id *run_id);
