/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows of the memory backend, shared by mem_store.c (life, actions), mem_runs.c, mem_sched.c
 * (look, claim, take) and a file for each of the rest. */
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
	int64_t runs_left;     /* NO_TIME: nothing limits them */
	struct care care;
	struct list runs;      /* all, in the order of their making */
	struct list open_runs; /* pending and running */
};

struct mem_run {
	struct run run; /* action_name and action stay NULL here */
	struct mem_action *owner;
	struct action *definition; /* one reference: as it was when the row was made */
	struct list of_action, open_of_action, open_of_all;
	struct id event_id; /* zero: no event's */
	int depth;
	struct mem_attempt *attempts;
	size_t attempt_count, attempt_room;
	int64_t note_epoch; /* of the attempt that wrote the note; 0: none */
	struct run_note note;
};

struct mem_event_key {
	char *name, *key; /* owned */
	struct id event_id;
	int64_t sent_at_ms;
};

/* What several stores of one process may share by name. */
struct mem_db {
	struct mem_db *next;
	char *name;
	int refs;
	struct sorted actions_by_name, actions_by_id, runs; /* own their items, by_id borrows */
	struct list open_runs;
	struct mem_event_key *event_keys; /* owned */
	size_t event_key_count, event_key_room;
	struct sorted secrets;      /* owns its items */
	struct backfill *backfills; /* owned; oldest first */
	size_t backfill_count, backfill_room;
};

/* One store's view: the `db` of the verbs. */
struct mem {
	struct mem_db *rows;
	struct id instance_id;
};

void mem_run_destroy(struct mem_db *rows, struct mem_run *run);
/* Takes the strings of `given`. */
struct mem_run *mem_insert_run(
	struct mem_db *rows, struct mem_action *owner, const struct run *given);
/* A copy with its own strings and the action's present name. */
void mem_copy_run(const struct mem_run *row, struct run *ret_run);
struct open_runs mem_count_open(const struct mem_action *owner);
bool mem_has_due(const struct mem_action *owner, int64_t due_at_ms);
void mem_make_room(struct mem_db *rows, struct mem_action *owner, int64_t now_ms,
	struct id **cancel, size_t *cancel_count);

/* The end of a run as an event; returns how many runs it made (mem_fire.c). */
size_t mem_announce_end(struct mem *mem, const struct mem_run *run, struct id **cancel,
	size_t *cancel_count, int64_t now_ms);
void mem_move_cursor(struct mem_action *row, int64_t next_due_ms);
/* Schedules that depend on what their runs do. The new definition is in place; the claim has made
 * so many runs, and moved the cursor; a run has ended (true: that has set the cursor). */
void mem_pace_reset(struct mem_action *row);
void mem_pace_claimed(struct mem_action *row, int64_t made, int64_t now_ms);
bool mem_pace_ended(struct mem_action *row, int64_t now_ms);
void mem_event_keys_fini(struct mem_db *rows);

/* How the action fares (mem_care.c): its definition has come or changed; a run has ended (true:
 * that is to be told). */
void mem_care_write(struct mem_action *row, int64_t old_expect_ms, int64_t now_ms);
bool mem_care_ended(struct mem_db *rows, struct mem_action *row, enum run_state state,
	int64_t now_ms, enum alert *ret_alert);
/* An alert, to whom it concerns; returns how many runs it made (mem_fire.c). */
struct mem_news {
	enum alert alert;
	struct id event_id;
	char *payload; /* borrowed */
	const char *traceparent;
	int depth;
	struct id **cancel;
	size_t *cancel_count;
};
size_t mem_tell_alert(struct mem *mem, const struct mem_action *about, const struct mem_news *news,
	int64_t now_ms);
int mem_retain(void *db, struct store_retain *req, int64_t now_ms);
int mem_lapse(void *db, struct store_lapse *req, int64_t now_ms);

int mem_look(void *db, struct store_look *req, int64_t now_ms);
int mem_claim(void *db, struct store_claim *req, int64_t now_ms);
int mem_take(void *db, struct store_take *req, int64_t now_ms);
int mem_finish(void *db, struct store_finish *req, int64_t now_ms);
int mem_list_orphans(void *db, struct store_recover *req);
int mem_trigger(void *db, struct store_trigger *req, int64_t now_ms);
int mem_send_event(void *db, struct store_send_event *req, int64_t now_ms);
/* Those of an action up to that number. */
void mem_forget_backfills(struct mem_db *rows, const struct id *action_id, int64_t number);
void mem_backfills_fini(struct mem_db *rows);
int mem_create_backfill(void *db, struct store_create_backfill *req, int64_t now_ms);
int mem_list_backfills(void *db, struct store_list_backfills *req, int64_t now_ms);
int mem_advance_backfill(void *db, struct store_advance_backfill *req, int64_t now_ms);
int mem_cancel_backfill(void *db, struct store_cancel_backfill *req, int64_t now_ms);
int mem_boot(void *db, struct store_boot *req, int64_t now_ms);
int mem_get_run(void *db, struct store_get_run *req, int64_t now_ms);
int mem_list_runs(void *db, struct store_list_runs *req, int64_t now_ms);
int mem_change_run(void *db, struct store_change_run *req, int64_t now_ms);
int mem_cancel_run(void *db, struct store_cancel_run *req, int64_t now_ms);
int mem_get_output(void *db, struct store_get_output *req, int64_t now_ms);
int mem_put_secret(void *db, struct store_put_secret *req, int64_t now_ms);
int mem_get_secrets(void *db, struct store_get_secrets *req, int64_t now_ms);
int mem_delete_secret(void *db, struct store_delete_secret *req, int64_t now_ms);
void mem_secrets_init(struct mem_db *rows);
void mem_secrets_fini(struct mem_db *rows);
int mem_get_cares(void *db, struct store_get_cares *req, int64_t now_ms);
int mem_note(void *db, struct store_note *req, int64_t now_ms);
int mem_get_checkpoint(void *db, struct store_get_checkpoint *req, int64_t now_ms);
int mem_stats(void *db, struct store_stats *req, int64_t now_ms);
