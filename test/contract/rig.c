/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/metric.h"

const char *rig_backend = "memory";
static int64_t own_clock_ms = RIG_EPOCH_MS;
int64_t *rig_clock_ms = &own_clock_ms;

bool rig_is_sqlite(void)
{
	return strcmp(rig_backend, "sqlite") == 0;
}

bool rig_is_pg(void)
{
	return strcmp(rig_backend, "postgresql") == 0;
}

/* --- time --- */

static int64_t now(void)
{
	return rig_now_ms;
}

/* Deadlines over a network are real ones. */
static int64_t real_mono(void)
{
	return (int64_t)(uv_hrtime() / 1000000);
}

static const struct clock_source standing_clock = {.wall_ms = now, .mono_ms = now};
static const struct clock_source standing_wall_clock = {.wall_ms = now, .mono_ms = real_mono};

/* --- life --- */

static void make_url(struct rig *rig)
{
	if (rig_is_pg()) {
		rig_pg_init(rig);
		return;
	}
	if (!rig_is_sqlite()) {
		(void)snprintf(rig->url, sizeof(rig->url), "memory:rig");
		return;
	}
	(void)snprintf(rig->folder, sizeof(rig->folder), "/tmp/gathering-store-XXXXXX");
	assert_non_null(mkdtemp(rig->folder));
	(void)snprintf(rig->url, sizeof(rig->url), "sqlite:%s/rig.db", rig->folder);
}

static void remove_folder(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		(void)closedir(dir);
	(void)rmdir(folder);
}

void rig_init(struct rig *rig)
{
	clock_set_source(rig_is_pg() ? &standing_wall_clock : &standing_clock);
	rig_now_ms = RIG_EPOCH_MS;
	assert_int_equal(uv_loop_init(&rig->loop), 0);
	make_url(rig);
}

static void release_owned(struct rig *rig)
{
	while (rig->run_count > 0)
		run_fini(&rig->runs[--rig->run_count]);
	while (rig->action_count > 0)
		action_unref(rig->actions[--rig->action_count]);
}

void rig_fini(struct rig *rig)
{
	release_owned(rig);
	if (rig->store)
		rig_close(rig);
	(void)uv_run(&rig->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&rig->loop), 0);
	if (rig->folder[0])
		remove_folder(rig->folder);
}

struct opening {
	bool is_over;
	struct err err;
};

static void on_opened(const struct err *err, void *data)
{
	struct opening *opening = data;

	assert_false(opening->is_over);
	opening->is_over = true;
	if (err)
		opening->err = *err;
}

int rig_open(struct rig *rig, size_t queue_max, size_t batch_max, struct err *err)
{
	struct opening opening = {0};
	int status;

	rig->instance_id = id_make();
	status = store_open(&(struct store_opts){.loop = &rig->loop,
				    .url = rig->url,
				    .queue_max = queue_max,
				    .batch_max = batch_max,
				    .instance_id = rig->instance_id,
				    .opened = on_opened,
				    .opened_data = &opening},
		&rig->store, err);
	if (status < 0)
		return status;
	assert_false(opening.is_over); /* never before the call returned */
	while (!opening.is_over)
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
	if (opening.err.code < 0) {
		print_message("the store does not open: %s\n", opening.err.text);
		rig_close(rig);
		if (err)
			*err = opening.err;
		return opening.err.code;
	}
	if (rig_is_pg())
		rig_pg_take_clock();
	return 0;
}

static void on_closed(void *data)
{
	*(bool *)data = true;
}

void rig_close(struct rig *rig)
{
	bool is_closed = false;

	store_close(rig->store, on_closed, &is_closed);
	assert_false(is_closed);
	while (!is_closed)
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
	rig->store = NULL;
}

void rig_restart(struct rig *rig)
{
	struct store *old = rig->store;
	struct store *next;

	if (rig_is_sqlite() || rig_is_pg()) {
		rig_close(rig);
		assert_int_equal(rig_open(rig, 1000, 100, NULL), 0);
		return;
	}
	assert_int_equal(rig_open(rig, 1000, 100, NULL), 0); /* the rows live with a store */
	next = rig->store;
	rig->store = old;
	rig_close(rig);
	rig->store = next;
}

int rig_setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	rig_init(rig);
	assert_int_equal(rig_open(rig, 1000, 100, NULL), 0);
	*state = rig;
	return 0;
}

int rig_teardown(void **state)
{
	rig_fini(*state);
	free(*state);
	return 0;
}

/* --- requests --- */

void rig_settle(struct rig *rig)
{
	if (!rig_is_pg()) {
		(void)uv_run(&rig->loop, UV_RUN_DEFAULT);
		return;
	}
	(void)uv_run(&rig->loop, UV_RUN_NOWAIT); /* what was refused */
	while (metrics.store_queue > 0)
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
}

void rig_on_done(struct store_req *req)
{
	assert_null(req->data); /* once */
	req->data = req;
}

int rig_wait(uv_loop_t *loop, struct store_req *req)
{
	assert_null(req->data); /* never before the call returned */
	while (!req->data)
		(void)uv_run(loop, UV_RUN_ONCE);
	return req->err.code;
}

#define PATIENCE_MS 60000
#define TURN_MS     50

int64_t rig_patience(void)
{
	return real_mono() + PATIENCE_MS;
}

static void on_turn_over(uv_timer_t *timer)
{
	(void)timer;
}

void rig_turn(struct rig *rig, int64_t until_ms, const char *what)
{
	uv_timer_t timer;

	if (real_mono() > until_ms) { /* the loop has more than the rig's own on it: no tear-down */
		print_error("in vain waited for: %s\n", what);
		exit(1);
	}
	assert_int_equal(uv_timer_init(&rig->loop, &timer), 0);
	uv_timer_start(&timer, on_turn_over, TURN_MS, 0);
	(void)uv_run(&rig->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	(void)uv_run(&rig->loop, UV_RUN_NOWAIT); /* its memory is ours again */
}

/* --- shorthands --- */

struct action *rig_own_action(struct rig *rig, struct action *action)
{
	assert_true(rig->action_count < RIG_OWN_MAX);
	return rig->actions[rig->action_count++] = action;
}

static struct run *own_run(struct rig *rig, struct run *run)
{
	assert_true(rig->run_count < RIG_OWN_MAX);
	rig->runs[rig->run_count] = *run;
	memset(run, 0, sizeof(*run));
	return &rig->runs[rig->run_count++];
}

static json_t *parse(const char *text)
{
	json_t *json = NULL;
	struct err err = {0};

	if (json_from_text(text, strlen(text), &json, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return json;
}

/* The plain definition, with `members` put over it and those that are null taken out. */
static json_t *definition(const char *name, const char *members)
{
	auto_free char *text = xasprintf("{%s}", members);
	json_t *json = parse("{\"kind\": \"exec\", \"exec\": {\"command\": [\"/bin/true\"]},"
			     " \"schedule\": {\"every\": \"1m\"}}");
	json_t *over = parse(text), *value;
	const char *key;
	void *next;

	assert_int_equal(json_object_set_new(json, "name", json_string(name)), 0);
	assert_int_equal(json_object_update(json, over), 0);
	json_decref(over);
	json_object_foreach_safe(json, next, key, value) if (json_is_null(value))(void)
		json_object_del(json, key);
	return json;
}

struct action *rig_define(struct rig *rig, const char *name, const char *members)
{
	struct faults faults = {0};
	struct action *action = NULL;
	json_t *json = definition(name, members);

	if (action_from_json(json, NULL, &action, &faults) < 0)
		fail_msg("%s: %s %s", members, faults.item[0].pointer, faults.item[0].detail);
	json_decref(json);
	return rig_own_action(rig, action);
}

struct action *rig_create(
	struct rig *rig, const char *name, const char *members, int64_t next_due_ms)
{
	struct action *action = rig_define(rig, name, members);
	struct store_create_actions create = {.actions = &action, .count = 1};
	struct action *stored;

	action->next_due_ms = next_due_ms;
	assert_int_equal(rig_do(rig, create_actions, &create), 0);
	stored = action_ref(create.ret_actions[0]);
	store_create_actions_fini(&create);
	return rig_own_action(rig, stored);
}

struct action *rig_get(struct rig *rig, const struct id *id)
{
	struct store_get_action get = {.id = *id};

	assert_int_equal(rig_do(rig, get_action, &get), 0);
	return rig_own_action(rig, take_ptr(get.ret_action));
}

bool rig_claim(struct rig *rig, struct action *action, int64_t due_at_ms, int capacity)
{
	struct planned_due due = {
		.due_at_ms = due_at_ms, .until_ms = due_at_ms, .count = 1, .verdict = DUE_RUN};
	struct claim_item item = {.action = action,
		.expected_ms = due_at_ms,
		.dues = &due,
		.due_count = 1,
		.next_due_ms = due_at_ms + MINUTE_MS};
	struct store_claim claim = {.items = &item, .count = 1, .capacity = {capacity, capacity}};

	assert_int_equal(rig_do(rig, claim, &claim), 0);
	store_claim_fini(&claim);
	return item.ret_won;
}

struct run *rig_find_run(struct rig *rig, const struct action *action, int64_t due_at_ms)
{
	struct store_list_runs list = {.limit = 2,
		.action_id = action->id,
		.trigger = -1,
		.due_from_ms = due_at_ms,
		.due_to_ms = due_at_ms + 1};
	struct run *run = NULL;

	assert_int_equal(rig_do(rig, list_runs, &list), 0);
	assert_true(list.ret_count <= 1);
	if (list.ret_count == 1)
		run = own_run(rig, &list.ret_runs[0]);
	store_list_runs_fini(&list);
	return run;
}

struct run *rig_get_run(struct rig *rig, const struct id *id)
{
	struct store_get_run get = {.id = *id};

	assert_int_equal(rig_do(rig, get_run, &get), 0);
	return own_run(rig, &get.ret_run);
}

struct run *rig_start(struct rig *rig, struct action *action, int64_t due_at_ms)
{
	struct run *run;

	assert_true(rig_claim(rig, action, due_at_ms, 1));
	run = rig_find_run(rig, action, due_at_ms);
	assert_run(run, RUN_RUNNING, REASON_NONE);
	return run;
}

size_t rig_take(struct rig *rig, int capacity, struct run **ret_first)
{
	struct store_take take = {.capacity = {capacity, capacity}};
	size_t count;

	assert_int_equal(rig_do(rig, take, &take), 0);
	count = take.ret_started_count;
	if (count > 0 && ret_first)
		*ret_first = own_run(rig, &take.ret_started[0]);
	store_take_fini(&take);
	return count;
}

int rig_finish(struct rig *rig, const struct run *run, enum attempt_outcome outcome,
	struct run_follow_up follow_up)
{
	struct attempt_result result = {.outcome = outcome,
		.exit_code = 0,
		.started_at_ms = run->started_at_ms,
		.retry_after_ms = -1};
	struct store_finish finish = {.run = run, .result = &result, .follow_up = follow_up};

	return rig_do(rig, finish, &finish);
}

struct run *rig_trigger(struct rig *rig, const struct action *action)
{
	struct store_trigger trigger = {.action_id = action->id};
	struct run *run;

	assert_int_equal(rig_do(rig, trigger, &trigger), 0);
	run = own_run(rig, &trigger.ret_run);
	store_trigger_fini(&trigger);
	return run;
}

/* The newest of them, and how many there are. */
static void list_newest(struct rig *rig, const struct action *action, uint32_t states,
	struct store_list_runs *ret_list)
{
	*ret_list = (struct store_list_runs){.limit = 1,
		.action_id = action->id,
		.states = states,
		.trigger = -1,
		.due_from_ms = NO_TIME,
		.due_to_ms = NO_TIME,
		.want_total = true};
	assert_int_equal(rig_do(rig, list_runs, ret_list), 0);
}

size_t rig_run_count(struct rig *rig, const struct action *action)
{
	struct store_list_runs list;
	size_t total;

	list_newest(rig, action, 0, &list);
	total = (size_t)list.ret_total;
	store_list_runs_fini(&list);
	return total;
}

struct run *rig_newest_run(struct rig *rig, const struct action *action, uint32_t states)
{
	struct store_list_runs list;
	struct id id;

	list_newest(rig, action, states, &list);
	assert_int_equal(list.ret_count, 1);
	id = list.ret_runs[0].id;
	store_list_runs_fini(&list);
	return rig_get_run(rig, &id);
}

struct run *rig_only_run(struct rig *rig, const struct action *action)
{
	assert_int_equal(rig_run_count(rig, action), 1);
	return rig_newest_run(rig, action, 0);
}

void assert_run(const struct run *run, enum run_state state, enum run_reason reason)
{
	assert_non_null(run);
	if (run->state != state || run->reason != reason)
		fail_msg("the run is %s '%s', expected %s '%s'", run_state_names[run->state],
			run_reason_names[run->reason], run_state_names[state],
			run_reason_names[reason]);
}
