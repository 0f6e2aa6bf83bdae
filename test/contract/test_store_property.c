/* SPDX-License-Identifier: Apache-2.0
 *
 * Random requests to a memory store and to another (the first argument: sqlite, postgresql) side by
 * side: every answer and every row must be the same. Only the ids of runs differ, so a run is known
 * by its action and due time. */
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "seed.h"
#include "store/care.h"
#include "store/sqlite_priv.h"

#define STEPS       1200
#define NAMES       6
#define RUNS_MAX    400
#define CHECK_EVERY 20

enum {
	MEMORY,
	OTHER,
	SIDES
};

struct key {
	struct id action_id;
	int64_t due_at_ms;
};

struct pair {
	struct rig *rig[SIDES];
	struct seed seed;
	struct id ids[NAMES]; /* zero: no such action now */
	struct key runs[RUNS_MAX];
	size_t run_count;
	int step;
	const char *operation;
};

static struct pair pair;
static const char *other_backend = "sqlite";

#define same(a, b)                                                                                 \
	do {                                                                                       \
		if ((int64_t)(a) != (int64_t)(b))                                                  \
			fail_msg("step %d, %s: %s is %lld, %s is %lld", pair.step, pair.operation, \
				#a, (long long)(a), #b, (long long)(b));                           \
	} while (0)

static uint64_t pick(uint64_t count)
{
	return seed_below(&pair.seed, count);
}

/* --- comparing --- */

static void same_text(const char *what, const char *a, const char *b)
{
	if ((a == NULL) != (b == NULL) || (a && strcmp(a, b) != 0))
		fail_msg("step %d, %s: %s is '%s' and '%s'", pair.step, pair.operation, what,
			a ? a : "(null)", b ? b : "(null)");
}

static void same_run(const struct run *a, const struct run *b)
{
	assert_true(id_equal(&a->action_id, &b->action_id));
	same(a->action_version, b->action_version);
	same_text("action_name", a->action_name, b->action_name);
	same(a->trigger, b->trigger);
	same(a->due_at_ms, b->due_at_ms);
	same(a->state, b->state);
	same(a->reason, b->reason);
	same(a->attempt, b->attempt);
	same(a->interruptions, b->interruptions);
	same(a->epoch, b->epoch);
	same(id_is_zero(&a->instance_id), id_is_zero(&b->instance_id));
	same(a->priority, b->priority);
	same(a->not_before_ms, b->not_before_ms);
	same(a->created_at_ms, b->created_at_ms);
	same(a->claimed_at_ms, b->claimed_at_ms);
	same(a->started_at_ms, b->started_at_ms);
	same(a->finished_at_ms, b->finished_at_ms);
	same(a->http_status, b->http_status);
	same(a->exit_code, b->exit_code);
	same_text("error", a->error, b->error);
	same(a->output_bytes, b->output_bytes);
	same(a->missed_count, b->missed_count);
	same(a->missed_until_ms, b->missed_until_ms);
	same(a->cancel_requested, b->cancel_requested);
}

static void same_action(const struct action *a, const struct action *b)
{
	auto_free char *text_a = action_definition_text(a), *text_b = action_definition_text(b);

	assert_true(id_equal(&a->id, &b->id));
	same_text("definition", text_a, text_b);
	same(a->version, b->version);
	same(a->is_paused, b->is_paused);
	same(a->next_due_ms, b->next_due_ms);
	same(a->created_at_ms, b->created_at_ms);
	same(a->updated_at_ms, b->updated_at_ms);
}

static void same_actions(struct action **a, size_t count_a, struct action **b, size_t count_b)
{
	same(count_a, count_b);
	for (size_t i = 0; i < count_a; i++)
		same_action(a[i], b[i]);
}

static void same_runs(const struct run *a, size_t count_a, const struct run *b, size_t count_b)
{
	same(count_a, count_b);
	for (size_t i = 0; i < count_a; i++)
		same_run(&a[i], &b[i]);
}

static void same_err(const struct store_req *a, const struct store_req *b)
{
	same(a->err.code, b->err.code);
	same_text("err.text", a->err.text, b->err.text);
	same_text("err.field", a->err.field, b->err.field);
}

/* Runs `verb` on both sides and compares the errors; the code. */
#define both(verb, request)                                                                        \
	({                                                                                         \
		for (int _side = 0; _side < SIDES; _side++)                                        \
			(void)rig_do(pair.rig[_side], verb, &(request)[_side]);                    \
		same_err(&(request)[MEMORY].req, &(request)[OTHER].req);                           \
		(request)[MEMORY].req.err.code;                                                    \
	})
#define both_fini(verb, request)                                                                   \
	do {                                                                                       \
		store_##verb##_fini(&(request)[MEMORY]);                                           \
		store_##verb##_fini(&(request)[OTHER]);                                            \
	} while (0)

/* --- things to choose from --- */

static struct action *random_definition(void)
{
	static const char *const overlaps[] = {"skip", "queue", "allow", "cancel_running"};
	static const char *const interrupts[] = {"retry", "fail", "hold"};
	size_t overlap = pick(4);
	auto_free char *members = xasprintf("\"overlap\": \"%s\", \"queue_limit\": %d, "
					    "\"priority\": %d, \"on_interrupt\": \"%s\","
					    "\"tags\": [\"t%d\"], \"max_pending\": %d,"
					    "\"max_concurrent\": %d%s",
		overlaps[overlap], 1 + (int)pick(3), (int)pick(5) - 2, interrupts[pick(3)],
		(int)pick(3), 1 + (int)pick(6), overlap == OVERLAP_ALLOW ? (int)pick(3) : 0,
		pick(4) == 0 ? ", \"schedule\": null" : "");
	auto_free char *name = xasprintf("n%d", (int)pick(NAMES + 2));
	struct action *action = rig_define(pair.rig[MEMORY], name, members);

	/* released by hand: the rig's own list would run full */
	pair.rig[MEMORY]->action_count--;
	action->next_due_ms = pick(6) == 0 ? NO_TIME : rig_now_ms - 300 + (int64_t)pick(600);
	return action;
}

static struct id *random_action(void)
{
	static struct id unknown;
	struct id *id = &pair.ids[pick(NAMES)];

	unknown = (struct id){{1, 2, 3}};
	return id_is_zero(id) ? &unknown : id;
}

static void remember_run(const struct run *run)
{
	if (pair.run_count == RUNS_MAX) /* forget an old one */
		pair.runs[pick(RUNS_MAX)] = (struct key){run->action_id, run->due_at_ms};
	else
		pair.runs[pair.run_count++] = (struct key){run->action_id, run->due_at_ms};
}

/* The run of a key on one side; false when its action is gone. */
static bool fetch_run(int side, const struct key *key, struct run *ret_run)
{
	struct store_list_runs list = {.limit = 1,
		.action_id = key->action_id,
		.trigger = -1,
		.due_from_ms = key->due_at_ms,
		.due_to_ms = key->due_at_ms + 1};
	bool is_there;

	assert_int_equal(rig_do(pair.rig[side], list_runs, &list), 0);
	is_there = list.ret_count == 1;
	if (is_there) {
		*ret_run = list.ret_runs[0];
		list.ret_runs[0] = (struct run){0};
	}
	store_list_runs_fini(&list);
	return is_there;
}

static bool fetch_both(struct run runs[SIDES])
{
	const struct key *key;
	bool is_there[SIDES];

	if (pair.run_count == 0)
		return false;
	key = &pair.runs[pick(pair.run_count)];
	for (int side = 0; side < SIDES; side++)
		is_there[side] = fetch_run(side, key, &runs[side]);
	same(is_there[MEMORY], is_there[OTHER]);
	return is_there[MEMORY];
}

static void fini_both(struct run runs[SIDES])
{
	run_fini(&runs[MEMORY]);
	run_fini(&runs[OTHER]);
}

/* --- operations --- */

static void op_create(void)
{
	size_t slot = pick(NAMES), count = 1 + pick(2);
	struct action *actions[2] = {random_definition(), random_definition()};
	struct store_create_actions create[SIDES] = {
		{.actions = actions, .count = count}, {.actions = actions, .count = count}};

	actions[0]->id = id_make();
	actions[1]->id = id_make();
	if (both(create_actions, create) == 0) {
		pair.ids[slot] = actions[0]->id;
		same_actions(create[0].ret_actions, count, create[1].ret_actions, count);
	}
	same(create[MEMORY].ret_index, create[OTHER].ret_index);
	both_fini(create_actions, create);
	action_unref(actions[0]);
	action_unref(actions[1]);
}

static void op_replace(void)
{
	struct action *action = random_definition();
	struct store_replace_action replace[SIDES] = {
		{.id = *random_action(), .expected_version = (int64_t)pick(4), .action = action}};

	replace[OTHER] = replace[MEMORY];
	if (both(replace_action, replace) == 0)
		same_action(replace[MEMORY].ret_action, replace[OTHER].ret_action);
	both_fini(replace_action, replace);
	action_unref(action);
}

static void op_pause(void)
{
	struct store_pause_action pause[SIDES] = {{.id = *random_action(),
		.expected_version = pick(3) == 0 ? 1 : 0,
		.is_paused = pick(2),
		.next_due_ms = pick(3) == 0 ? NO_TIME : rig_now_ms - 100}};

	pause[OTHER] = pause[MEMORY];
	if (both(pause_action, pause) == 0)
		same_action(pause[MEMORY].ret_action, pause[OTHER].ret_action);
	both_fini(pause_action, pause);
}

static void op_delete(void)
{
	struct id *id = random_action();
	struct store_delete_action delete[SIDES] = {{.id = *id}};

	if (pick(3) != 0)
		return;
	delete[OTHER] = delete[MEMORY];
	if (both(delete_action, delete) == 0)
		*id = (struct id){0};
	same(delete[MEMORY].ret_running_count, delete[OTHER].ret_running_count);
	both_fini(delete_action, delete);
}

/* Some due times from the cursor on, often the way the scheduler would plan them. */
static size_t random_dues(const struct action *action, struct planned_due *dues)
{
	size_t count = pick(4);

	for (size_t i = 0; i < count; i++) {
		int64_t due_at_ms = action->next_due_ms + (int64_t)i * (1 + (int64_t)pick(3));

		dues[i] = (struct planned_due){due_at_ms, due_at_ms, 1, DUE_RUN};
		if (pick(4) == 0)
			dues[i].verdict = pick(2) ? DUE_SKIP_LATE : DUE_SKIP_LIMIT;
		if (dues[i].verdict != DUE_RUN && pick(3) == 0)
			dues[i].count = 2 + (int64_t)pick(5), dues[i].until_ms += 50;
	}
	return count;
}

static void same_claim(const struct store_claim claim[SIDES], size_t count)
{
	for (size_t i = 0; i < count; i++)
		same(claim[MEMORY].items[i].ret_won, claim[OTHER].items[i].ret_won);
	same_runs(claim[MEMORY].ret_started, claim[MEMORY].ret_started_count,
		claim[OTHER].ret_started, claim[OTHER].ret_started_count);
	same(claim[MEMORY].ret_cancel_count, claim[OTHER].ret_cancel_count);
	same(claim[MEMORY].ret_queued, claim[OTHER].ret_queued);
	same(claim[MEMORY].ret_skipped, claim[OTHER].ret_skipped);
	same(claim[MEMORY].ret_now_ms, claim[OTHER].ret_now_ms);
}

static void remember_dues(const struct claim_item *item)
{
	for (size_t i = 0; item->ret_won && i < item->due_count; i++)
		remember_run(&(struct run){
			.action_id = item->action->id, .due_at_ms = item->dues[i].due_at_ms});
}

static void op_claim(void)
{
	struct store_look look[SIDES] = {{.horizon_ms = 100, .limit = NAMES}};
	struct claim_item items[SIDES][NAMES];
	struct planned_due dues[NAMES][4];
	struct store_claim claim[SIDES] = {{.capacity = {(int)pick(4), (int)pick(4)}}};
	size_t count;

	look[OTHER] = look[MEMORY];
	(void)both(look, look);
	same_actions(look[MEMORY].ret_actions, look[MEMORY].ret_count, look[OTHER].ret_actions,
		look[OTHER].ret_count);
	same(look[MEMORY].ret_pending_at_ms, look[OTHER].ret_pending_at_ms);
	same(look[MEMORY].ret_has_more, look[OTHER].ret_has_more);
	count = look[MEMORY].ret_count;
	for (size_t i = 0; i < count; i++) {
		struct action *action = look[MEMORY].ret_actions[i];

		items[MEMORY][i] = (struct claim_item){.action = action,
			.expected_ms = action->next_due_ms + (pick(10) == 0),
			.dues = dues[i],
			.due_count = random_dues(action, dues[i]),
			.next_due_ms = pick(8) == 0 ? NO_TIME : rig_now_ms + (int64_t)pick(200)};
		items[OTHER][i] = items[MEMORY][i];
	}
	claim[OTHER] = claim[MEMORY];
	for (int side = 0; side < SIDES; side++) {
		claim[side].items = items[side];
		claim[side].count = count;
	}
	(void)both(claim, claim);
	same_claim(claim, count);
	for (size_t i = 0; i < count; i++)
		remember_dues(&items[MEMORY][i]);
	both_fini(claim, claim);
	both_fini(look, look);
}

static void op_take(void)
{
	const struct run_limit limits[] = {
		{.kind = -1, .tag = (char *)"t1", .max = 1 + (int)pick(2)},
		{.kind = ACTION_EXEC, .max = 1 + (int)pick(4)}, {.kind = -1, .max = 4}};
	struct store_take take[SIDES] = {{.capacity = {(int)pick(3), (int)pick(4)},
		.limits = limits,
		.limit_count = pick(2) ? 0 : pick(COUNT_OF(limits) + 1)}};

	take[OTHER] = take[MEMORY];
	(void)both(take, take);
	same_runs(take[MEMORY].ret_started, take[MEMORY].ret_started_count, take[OTHER].ret_started,
		take[OTHER].ret_started_count);
	for (size_t i = 0; i < take[MEMORY].ret_started_count; i++) {
		auto_free char *a = action_definition_text(take[MEMORY].ret_started[i].action);
		auto_free char *b = action_definition_text(take[OTHER].ret_started[i].action);

		same_text("definition", a, b);
		same(take[MEMORY].ret_started[i].action->version,
			take[OTHER].ret_started[i].action->version);
	}
	/* it may be early: what a limit keeps waiting, or what was left for want of a place */
	if (take[MEMORY].limit_count == 0 && take[MEMORY].ret_started_count == 0)
		same(take[MEMORY].ret_pending_at_ms, take[OTHER].ret_pending_at_ms);
	both_fini(take, take);
}

static void op_finish(void)
{
	static const struct {
		enum attempt_outcome outcome;
		struct run_follow_up follow_up;
	} rows[] = {
		{ATTEMPT_SUCCEEDED, {RUN_SUCCEEDED, REASON_NONE, 0, true}},
		{ATTEMPT_FAILED, {RUN_FAILED, REASON_NONE, 0, true}},
		{ATTEMPT_FAILED, {RUN_PENDING, REASON_RETRY, 400, true}},
		{ATTEMPT_INTERRUPTED, {RUN_PENDING, REASON_HANDED_BACK, 0, false}},
		{ATTEMPT_INTERRUPTED, {RUN_HELD, REASON_SHUTDOWN, 0, true}},
		{ATTEMPT_INTERRUPTED, {RUN_FAILED, REASON_SHUTDOWN, 0, true}},
		{ATTEMPT_CANCELLED, {RUN_CANCELLED, REASON_USER, 0, true}},
		{ATTEMPT_TIMED_OUT, {RUN_TIMED_OUT, REASON_NONE, 0, true}},
	};
	char output[] = "some output", error[] = "an error";
	size_t row = pick(COUNT_OF(rows));
	struct attempt_result result = {.outcome = rows[row].outcome,
		.http_status = (int)pick(2) * 200,
		.exit_code = (int)pick(3) - 1,
		.started_at_ms = pick(4) ? rig_now_ms : NO_TIME,
		.error = pick(2) ? error : NULL,
		.output = output,
		.output_len = pick(sizeof(output) / 2) * 2, /* op_retain leaves one byte */
		.output_total = (int64_t)pick(100)};
	struct run runs[SIDES];
	struct store_finish finish[SIDES] = {{.run = NULL}, {.run = NULL}};
	bool is_stale = pick(8) == 0;

	if (!fetch_both(runs))
		return;
	for (int side = 0; side < SIDES; side++) {
		runs[side].epoch -= is_stale;
		finish[side].run = &runs[side];
		finish[side].result = &result;
		finish[side].follow_up = rows[row].follow_up;
	}
	if (both(finish, finish) == 0)
		same(finish[MEMORY].ret_state, finish[OTHER].ret_state);
	fini_both(runs);
}

static void op_trigger(void)
{
	struct store_trigger trigger[SIDES] = {{.action_id = *random_action()}};

	trigger[OTHER] = trigger[MEMORY];
	if (both(trigger, trigger) == 0) {
		same_run(&trigger[MEMORY].ret_run, &trigger[OTHER].ret_run);
		remember_run(&trigger[MEMORY].ret_run);
	}
	same(trigger[MEMORY].ret_cancel_count, trigger[OTHER].ret_cancel_count);
	both_fini(trigger, trigger);
}

static void op_cancel(void)
{
	struct run runs[SIDES];
	struct store_cancel_run cancel[SIDES] = {{.id = {{0}}}, {.id = {{0}}}};

	if (!fetch_both(runs))
		return;
	same_run(&runs[MEMORY], &runs[OTHER]);
	for (int side = 0; side < SIDES; side++)
		cancel[side].id = runs[side].id;
	if (both(cancel_run, cancel) == 0)
		same_run(&cancel[MEMORY].ret_run, &cancel[OTHER].ret_run);
	both_fini(cancel_run, cancel);
	fini_both(runs);
}

static void op_change(void)
{
	struct run runs[SIDES];
	struct store_change_run change[SIDES] = {{.id = {{0}}}, {.id = {{0}}}};
	enum run_change what = pick(2) ? RUN_PAUSE : RUN_RESUME;

	if (!fetch_both(runs))
		return;
	for (int side = 0; side < SIDES; side++) {
		change[side].id = runs[side].id;
		change[side].change = what;
	}
	if (both(change_run, change) == 0)
		same_run(&change[MEMORY].ret_run, &change[OTHER].ret_run);
	both_fini(change_run, change);
	fini_both(runs);
}

static void op_output(void)
{
	struct run runs[SIDES];
	struct store_get_output get[SIDES] = {{.attempt = (int)pick(4)}};

	if (!fetch_both(runs))
		return;
	get[OTHER] = get[MEMORY];
	for (int side = 0; side < SIDES; side++)
		get[side].run_id = runs[side].id;
	if (both(get_output, get) == 0) {
		same(get[MEMORY].ret_len, get[OTHER].ret_len);
		same(get[MEMORY].ret_total, get[OTHER].ret_total);
		if (get[MEMORY].ret_len)
			assert_memory_equal(
				get[MEMORY].ret_output, get[OTHER].ret_output, get[MEMORY].ret_len);
	}
	both_fini(get_output, get);
	fini_both(runs);
}

/* All of it, for of those that ended in the same millisecond any may be the oldest. */
static void op_retain(void)
{
	struct store_retain retain[SIDES] = {
		{.actions_max = 1000, .limit = 5000, .output_bytes = 1}};

	retain[OTHER] = retain[MEMORY];
	(void)both(retain, retain);
	same(retain[MEMORY].ret_outputs, retain[OTHER].ret_outputs);
	same(retain[OTHER].ret_is_done, true);
}

static void op_list_runs(void)
{
	struct store_list_runs list[SIDES] = {{.limit = 1 + (int)pick(30),
		.states = pick(2) ? (uint32_t)pick(1u << RUN_STATE_COUNT) : 0,
		.trigger = pick(3) ? -1 : (int)pick(2),
		.due_from_ms = pick(3) ? NO_TIME : rig_now_ms - (int64_t)pick(1000),
		.due_to_ms = pick(3) ? NO_TIME : rig_now_ms - (int64_t)pick(300),
		.want_total = pick(2)}};

	if (pick(2))
		list[MEMORY].action_id = *random_action();
	if (pick(3) == 0)
		list[MEMORY].states =
			pick(2) ? 1u << RUN_PENDING | 1u << RUN_RUNNING : 1u << RUN_FAILED;
	list[OTHER] = list[MEMORY];
	(void)both(list_runs, list);
	same_runs(list[MEMORY].ret_runs, list[MEMORY].ret_count, list[OTHER].ret_runs,
		list[OTHER].ret_count);
	same(list[MEMORY].ret_has_more, list[OTHER].ret_has_more);
	same(list[MEMORY].ret_total, list[OTHER].ret_total);
	both_fini(list_runs, list);
}

static void op_list_actions(void)
{
	static const char *const parts[] = {"n", "N1", "3", "%", "_"};
	static const char *const tags[] = {"t0", "t1", "T1"};
	struct store_list_actions list[SIDES] = {{.limit = 1 + (int)pick(5),
		.after_name = pick(3) ? NULL : "n2",
		.name_part = pick(2) ? NULL : parts[pick(COUNT_OF(parts))],
		.tag = pick(2) ? NULL : tags[pick(COUNT_OF(tags))],
		.kind = (int)pick(3) - 1,
		.state = (int)pick(4) - 1,
		.want_total = pick(2)}};

	list[OTHER] = list[MEMORY];
	(void)both(list_actions, list);
	same_actions(list[MEMORY].ret_actions, list[MEMORY].ret_count, list[OTHER].ret_actions,
		list[OTHER].ret_count);
	same(list[MEMORY].ret_has_more, list[OTHER].ret_has_more);
	same(list[MEMORY].ret_total, list[OTHER].ret_total);
	both_fini(list_actions, list);
}

static void op_restart_and_recover(void)
{
	struct store_recover recover[SIDES] = {{.ret_count = 0}, {.ret_count = 0}};

	if (pick(4) != 0)
		return;
	for (int side = 0; side < SIDES; side++) {
		rig_backend = side == OTHER ? other_backend : "memory";
		rig_restart(pair.rig[side]);
	}
	/* the jitter of a retry comes from the id of the run, so no retries here */
	(void)both(recover, recover);
	same(recover[MEMORY].ret_count, recover[OTHER].ret_count);
}

static void op_time(void)
{
	rig_now_ms += (int64_t)pick(pick(8) == 0 ? 30000 : 80);
}

static const struct {
	const char *name;
	void (*run)(void);
	unsigned weight;
} operations[] = {
	{"create", op_create, 3},
	{"replace", op_replace, 2},
	{"pause", op_pause, 2},
	{"delete", op_delete, 1},
	{"claim", op_claim, 8},
	{"take", op_take, 6},
	{"finish", op_finish, 10},
	{"trigger", op_trigger, 4},
	{"cancel", op_cancel, 2},
	{"change", op_change, 5},
	{"output", op_output, 4},
	{"retain", op_retain, 1},
	{"list_runs", op_list_runs, 4},
	{"list_actions", op_list_actions, 3},
	{"restart", op_restart_and_recover, 1},
	{"time", op_time, 8},
};

static unsigned seen_states[RUN_STATE_COUNT];

static void random_step(void)
{
	unsigned total = 0, at;

	for (size_t i = 0; i < COUNT_OF(operations); i++)
		total += operations[i].weight;
	at = (unsigned)pick(total);
	for (size_t i = 0; i < COUNT_OF(operations); i++) {
		if (at < operations[i].weight) {
			pair.operation = operations[i].name;
			operations[i].run();
			return;
		}
		at -= operations[i].weight;
	}
}

/* By how much what is counted as kept differs from what is. */
static int64_t miscounted(void)
{
	const char *url = pair.rig[OTHER]->url;
	struct conn conn = {.db = NULL};
	struct err err;
	int64_t gap;
	char text[32];

	if (strncmp(url, "sqlite:", 7) != 0) {
		rig_pg_sql(
			"SELECT coalesce((SELECT sum(bytes) FROM gathering.kept_output), 0)"
			" - coalesce((SELECT sum(octet_length(output)) FROM gathering.attempt), 0)",
			text, sizeof(text));
		return strtoll(text, NULL, 10);
	}
	assert_int_equal(sqlite3_open(url + 7, &conn.db), SQLITE_OK);
	assert_int_equal(conn_read_i64(&conn,
				 "SELECT bytes - (SELECT total(length(output)) FROM attempt)"
				 " FROM kept_output",
				 &gap, &err),
		0);
	assert_int_equal(sqlite3_close(conn.db), SQLITE_OK);
	return gap;
}

static void check_all(void)
{
	struct store_list_runs list[SIDES] = {
		{.limit = 5000, .trigger = -1, .due_from_ms = NO_TIME, .due_to_ms = NO_TIME}};
	struct store_stats stats[SIDES] = {{.ret_now_ms = 0}, {.ret_now_ms = 0}};

	pair.operation = "check";
	list[OTHER] = list[MEMORY];
	(void)both(list_runs, list);
	same_runs(list[MEMORY].ret_runs, list[MEMORY].ret_count, list[OTHER].ret_runs,
		list[OTHER].ret_count);
	for (size_t i = 0; i < list[OTHER].ret_count; i++)
		seen_states[list[OTHER].ret_runs[i].state]++;
	both_fini(list_runs, list);
	(void)both(stats, stats);
	same(stats[MEMORY].ret_actions, stats[OTHER].ret_actions);
	same(stats[MEMORY].ret_actions_paused, stats[OTHER].ret_actions_paused);
	same(stats[MEMORY].ret_runs_pending, stats[OTHER].ret_runs_pending);
	same(stats[MEMORY].ret_runs_running, stats[OTHER].ret_runs_running);
	same(miscounted(), 0);
}

static void test_both_backends_answer_alike(void **state)
{
	pair.seed = seed_start("store_property");
	for (int side = 0; side < SIDES; side++) {
		rig_backend = side == OTHER ? other_backend : "memory";
		pair.rig[side] = calloc(1, sizeof(struct rig));
		assert_non_null(pair.rig[side]);
		rig_init(pair.rig[side]);
		assert_int_equal(rig_open(pair.rig[side], 100, 100, NULL), 0);
	}
	for (pair.step = 0; pair.step < STEPS; pair.step++) {
		random_step();
		if (pair.step % CHECK_EVERY == 0)
			check_all();
	}
	check_all();
	assert_true(seen_states[RUN_RUNNING] > 0 && seen_states[RUN_SKIPPED] > 0);
	for (int side = 0; side < SIDES; side++) {
		rig_fini(pair.rig[side]);
		free(pair.rig[side]);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_both_backends_answer_alike)};

	if (argc > 1)
		other_backend = argv[1];
	return cmocka_run_group_tests_name("store property", tests, NULL, NULL);
}
