/* SPDX-License-Identifier: Apache-2.0
 *
 * A store to test, on a loop of its own, with a clock that stands still until it is told to move.
 * The backend is the program's first argument: "memory", "sqlite" (a fresh folder each test) or
 * "postgresql" (a cluster of our own, an empty schema each test). */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* needs the ones above */
#include <cmocka.h>

#include "store/live.h"
#include "store/store.h"

#define RIG_EPOCH_MS INT64_C(1800000000000) /* where the clock of each test begins */
#define MINUTE_MS    INT64_C(60000)
#define RIG_OWN_MAX  4096

struct rig {
	uv_loop_t loop;
	struct store *store;
	struct id instance_id;
	char folder[64]; /* "": none */
	char url[300];
	struct action *actions[RIG_OWN_MAX]; /* released at the end */
	struct run runs[RIG_OWN_MAX];
	size_t action_count, run_count;
};

extern const char *rig_backend;
extern int64_t *rig_clock_ms;
#define rig_now_ms (*rig_clock_ms)
bool rig_is_sqlite(void);
bool rig_is_pg(void);

/* PostgreSQL (rig_pg.c). SQL of our own in the rig's database: the first value; whether it is
 * refused, and why. A command to tools/pg-cluster. */
void rig_pg_init(struct rig *rig);
void rig_pg_take_clock(void);
void rig_pg_sql(const char *sql, char *ret_value, size_t size);
bool rig_pg_refuses(const char *sql, char *ret_why, size_t size);
void rig_pg_do(const char *command);
/* One statement that goes on meanwhile, and its end. */
void rig_pg_start(const char *sql);
void rig_pg_end(void);
/* A session that stays open with what `sql` has locked, and its end, which rolls back. */
void rig_pg_hold(const char *sql);
void rig_pg_let_go(void);

/* cmocka set-up and tear-down; *state is the rig. */
int rig_setup(void **state);
int rig_teardown(void **state);

/* Without cmocka: the store of `rig` opened at rig->url with these limits. */
void rig_init(struct rig *rig);
void rig_fini(struct rig *rig);
int rig_open(struct rig *rig, size_t queue_max, size_t batch_max, struct err *err);
void rig_close(struct rig *rig);
/* Runs the loop until every request has been answered. (The connections of PostgreSQL keep the loop
 * alive as long as the store is open.) */
void rig_settle(struct rig *rig);
/* As an instance that died and another that came. */
void rig_restart(struct rig *rig);

/* Starts a request and waits for its answer; its code. Checks that it comes once and not at once.
 */
#define rig_do(rig, verb, request)                                                                 \
	({                                                                                         \
		(request)->req.data = NULL;                                                        \
		store_##verb((rig)->store, (request), rig_on_done);                                \
		rig_wait(&(rig)->loop, &(request)->req);                                           \
	})
void rig_on_done(struct store_req *req);
int rig_wait(uv_loop_t *loop, struct store_req *req);

/* --- shorthands; what they return belongs to the rig --- */

/* A definition: exec of /bin/true every minute, with more members ("\"overlap\": \"queue\""). */
struct action *rig_define(struct rig *rig, const char *name, const char *members);
struct action *rig_own_action(struct rig *rig, struct action *action);
/* Stored, due first at `next_due_ms`. */
struct action *rig_create(
	struct rig *rig, const char *name, const char *members, int64_t next_due_ms);
struct action *rig_get(struct rig *rig, const struct id *id);

/* Claims one due time of `action`, whose cursor stands there; the next is a minute later. True when
 * won. The action's cursor in memory is not moved. */
bool rig_claim(struct rig *rig, struct action *action, int64_t due_at_ms, int capacity);
/* The ledger row of a due time, NULL when there is none. */
struct run *rig_find_run(struct rig *rig, const struct action *action, int64_t due_at_ms);
struct run *rig_get_run(struct rig *rig, const struct id *id);
/* Claimed and running. */
struct run *rig_start(struct rig *rig, struct action *action, int64_t due_at_ms);
/* Takes with this capacity of both kinds; returns how many, the first in *ret_first (may be NULL).
 */
size_t rig_take(struct rig *rig, int capacity, struct run **ret_first);
int rig_finish(struct rig *rig, const struct run *run, enum attempt_outcome outcome,
	struct run_follow_up follow_up);
#define rig_succeed(rig, run)                                                                      \
	rig_finish(rig, run, ATTEMPT_SUCCEEDED,                                                    \
		(struct run_follow_up){.state = RUN_SUCCEEDED, .counts = true})
struct run *rig_trigger(struct rig *rig, const struct action *action);
size_t rig_run_count(struct rig *rig, const struct action *action);
/* The newest run of `action` in one of these states (bit 1 << enum run_state each; 0: any), which
 * there must be; the only run it has. */
struct run *rig_newest_run(struct rig *rig, const struct action *action, uint32_t states);
struct run *rig_only_run(struct rig *rig, const struct action *action);

void assert_run(const struct run *run, enum run_state state, enum run_reason reason);

/* The groups of test_store_contract. */
extern const struct CMUnitTest life_tests[], action_tests[], claim_tests[], take_tests[],
	finish_tests[], note_tests[], run_tests[], event_tests[], pace_tests[], instance_tests[],
	secret_tests[], boot_tests[], care_tests[], backfill_tests[];
extern const size_t life_test_count, action_test_count, claim_test_count, take_test_count,
	finish_test_count, note_test_count, run_test_count, event_test_count, pace_test_count,
	instance_test_count, secret_test_count, boot_test_count, care_test_count,
	backfill_test_count;

/* Runs the loop until `condition` holds. */
#define rig_await(rig, condition)                                                                  \
	do {                                                                                       \
		int64_t rig_until = rig_patience();                                                \
		while (!(condition))                                                               \
			rig_turn((rig), rig_until, #condition);                                    \
	} while (0)
int64_t rig_patience(void);
void rig_turn(struct rig *rig, int64_t until_ms, const char *what);

#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
