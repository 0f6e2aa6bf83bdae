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

/* A run that was written past our verbs (store_put_finish). */
void store_run_changed(struct store *store, const struct id *run_id);
