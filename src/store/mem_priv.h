/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows of the memory backend, shared by mem_store.c (life, actions) and mem_runs.c. */
#pragma once

#include "store/store_priv.h"

/* Pointers kept in order of a key. */
struct sorted {
	void **items;
	size_t count, room;
	int (*compare)(const void *key, const void *item);
};

/* The place of `key`, or where it would go; true when it is there. */
bool sorted_find(const struct sorted *sorted, const void *key, size_t *ret_index);
void *sorted_get(const struct sorted *sorted, const void *key);
void sorted_insert(struct sorted *sorted, const void *key, void *item);
void sorted_remove(struct sorted *sorted, const void *key);

struct mem_attempt {
	int64_t epoch;
	int attempt;
	char *output; /* owned */
	size_t len;
	int64_t total;
};

struct mem_action {
	struct action *action; /* one reference; with the facts of the row */
	struct list runs;      /* all, in the order of their making */
	struct list open_runs; /* pending and running */
};

struct mem_run {
	struct run run; /* action_name and action stay NULL here */
	struct mem_action *owner;
	struct action *definition; /* one reference: as it was when the row was made */
	struct list of_action, open_of_action, open_of_all;
	struct mem_attempt *attempts;
	size_t attempt_count, attempt_room;
};

/* What several stores of one process may share by name. */
struct mem_db {
	struct mem_db *next;
	char *name;
	int refs;
	struct sorted actions_by_name, actions_by_id, runs; /* own their items, by_id borrows */
	struct list open_runs;
};

/* One store's view: the `db` of the verbs. */
struct mem {
	struct mem_db *rows;
	struct id instance_id;
};

void mem_run_destroy(struct mem_db *rows, struct mem_run *run);

int mem_look(void *db, struct store_look *req, int64_t now_ms);
int mem_claim(void *db, struct store_claim *req, int64_t now_ms);
int mem_take(void *db, struct store_take *req, int64_t now_ms);
int mem_finish(void *db, struct store_finish *req, int64_t now_ms);
int mem_list_orphans(void *db, struct store_recover *req);
int mem_trigger(void *db, struct store_trigger *req, int64_t now_ms);
int mem_get_run(void *db, struct store_get_run *req, int64_t now_ms);
int mem_list_runs(void *db, struct store_list_runs *req, int64_t now_ms);
int mem_change_run(void *db, struct store_change_run *req, int64_t now_ms);
int mem_cancel_run(void *db, struct store_cancel_run *req, int64_t now_ms);
int mem_get_output(void *db, struct store_get_output *req, int64_t now_ms);
int mem_stats(void *db, struct store_stats *req, int64_t now_ms);
