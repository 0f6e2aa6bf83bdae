/* SPDX-License-Identifier: Apache-2.0
 *
 * The verb behind run_on_start; what holds for all verbs stands in store.h. */
#pragma once

#include "store/store.h"

/* The start of the service: starts a run of each of these actions (->version is not looked at),
 * with trigger start, if nobody else was serving this store; `skipped` by verdict, pause, overlap,
 * or max_runs, of which a start takes one. All in one transaction, which one instance of those that
 * start together wins. With SQLite every call is a start.
 *
 *   BOOT_STARTED  we are the first, and the runs are made
 *   BOOT_RUNNING  the service has been running: another serves it, we are asked again, or
 *                 is_running says so (it was handed over, or the others took us for dead)
 *   BOOT_UNKNOWN  somebody has served it who may be alive or dead: ask again in a moment, he was
 *                 asked for a sign of life
 *
 * Whoever serves the store vouches for it: it goes on when he leaves politely and another is there
 * that has not been answered yet. */
enum store_boot_answer {
	BOOT_STARTED,
	BOOT_RUNNING,
	BOOT_UNKNOWN
};
struct boot_item {
	const struct action *action;
	enum due_verdict verdict; /* DUE_RUN or DUE_SKIP_BLACKOUT */
};
struct store_boot {
	struct store_req req;
	bool is_running;
	const struct boot_item *items;
	size_t count;
	enum store_boot_answer ret_answer;
	size_t ret_queued, ret_skipped;
	struct id *ret_cancel; /* overlap=cancel_running: runs to end now */
	size_t ret_cancel_count;
};
void store_boot(struct store *store, struct store_boot *req, store_done_fn *done);
void store_boot_fini(struct store_boot *req);
