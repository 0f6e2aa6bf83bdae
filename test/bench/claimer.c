/* SPDX-License-Identifier: Apache-2.0
 *
 * One instance that claims, for test/bench/bench-cluster: opens a store, says `ready`, waits for a
 * line, then looks and claims until nothing is due in its shards, and says how many and how long.
 *
 *     claimer URL SHARDS BATCH       SHARDS: the set as a hexadecimal number, 0 for all */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/text.h"
#include "store/store.h"

#define LOOK_MAX 20000

struct claimer {
	uv_loop_t loop;
	struct store *store;
	uint64_t shards;
	size_t batch;
	bool is_waiting;
	int64_t looked, won;
};

static _Noreturn void die(const char *what)
{
	(void)fprintf(stderr, "claimer: %s\n", what);
	exit(1);
}

static void wait_for_answer(struct claimer *claimer)
{
	while (claimer->is_waiting)
		(void)uv_run(&claimer->loop, UV_RUN_ONCE);
}

static void on_done(struct store_req *req)
{
	struct claimer *claimer = req->data;

	if (req->err.code != 0)
		die(req->err.text);
	claimer->is_waiting = false;
}

/* Each action at its cursor, which moves on by a year. */
static void claim(struct claimer *claimer, struct action *const *actions, size_t count)
{
	struct planned_due *dues = xcalloc(count, sizeof(*dues));
	struct claim_item *items = xcalloc(count, sizeof(*items));
	struct store_claim request = {.req.data = claimer, .items = items, .count = count};

	for (int kind = 0; kind < ACTION_KIND_COUNT; kind++)
		request.capacity[kind] = INT32_MAX;
	for (size_t i = 0; i < count; i++) {
		int64_t at_ms = actions[i]->next_due_ms;

		dues[i] = (struct planned_due){at_ms, at_ms, 1, DUE_RUN};
		items[i] = (struct claim_item){.action = actions[i],
			.expected_ms = at_ms,
			.dues = &dues[i],
			.due_count = 1,
			.next_due_ms = at_ms + INT64_C(31536000000)};
	}
	claimer->is_waiting = true;
	store_claim(claimer->store, &request, on_done);
	wait_for_answer(claimer);
	for (size_t i = 0; i < count; i++)
		claimer->won += items[i].ret_won;
	store_claim_fini(&request);
	free(items);
	free(dues);
}

/* False when nothing was due. */
static bool look_and_claim(struct claimer *claimer)
{
	struct store_look look = {
		.req.data = claimer, .shards = claimer->shards, .limit = LOOK_MAX};
	size_t count;

	claimer->is_waiting = true;
	store_look(claimer->store, &look, on_done);
	wait_for_answer(claimer);
	count = look.ret_count;
	claimer->looked += (int64_t)count;
	for (size_t at = 0; at < count; at += claimer->batch)
		claim(claimer, look.ret_actions + at,
			claimer->batch < count - at ? claimer->batch : count - at);
	store_look_fini(&look);
	return count > 0;
}

static void on_opened(const struct err *err, void *data)
{
	if (err != NULL)
		die(err->text);
	*(bool *)data = false;
}

static void on_closed(void *data)
{
	*(bool *)data = false;
}

static void open_store(struct claimer *claimer, const char *url)
{
	struct err err = {0};

	claimer->is_waiting = true;
	if (store_open(&(struct store_opts){.loop = &claimer->loop,
			       .url = url,
			       .queue_max = 1000,
			       .batch_max = 500,
			       .lease_ms = 30000,
			       .instance_id = id_make(),
			       .opened = on_opened,
			       .opened_data = &claimer->is_waiting},
		    &claimer->store, &err) != 0)
		die(err.text);
	wait_for_answer(claimer);
}

int main(int argc, char **argv)
{
	struct claimer claimer = {0};
	int64_t batch = 0, began;
	char line[16];

	if (argc != 4 || !parse_i64(argv[3], 1, 500, &batch))
		die("usage: claimer URL SHARDS BATCH");
	claimer.shards = strtoull(argv[2], NULL, 16);
	claimer.batch = (size_t)batch;
	must(uv_loop_init(&claimer.loop) == 0);
	open_store(&claimer, argv[1]);
	(void)puts("ready");
	(void)fflush(stdout);
	if (fgets(line, sizeof(line), stdin) == NULL)
		return 1;
	began = clock_mono_ms();
	while (look_and_claim(&claimer))
		continue;
	(void)printf("%lld %lld %lld\n", (long long)claimer.looked, (long long)claimer.won,
		(long long)(clock_mono_ms() - began));
	claimer.is_waiting = true;
	store_close(claimer.store, on_closed, &claimer.is_waiting);
	wait_for_answer(&claimer);
	(void)uv_loop_close(&claimer.loop);
	return 0;
}
