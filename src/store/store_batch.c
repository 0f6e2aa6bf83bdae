/* SPDX-License-Identifier: Apache-2.0
 *
 * Works requests off in batches for a backend whose verbs simply block.
 *
 * Three lanes, writes, reads by key, and lists, each with one batch at a time: what arrives while a
 * batch is under way becomes the next one. So the batch grows with the load, and one commit (one
 * sync of the disk) pays for all that came meanwhile: group commit without a timer. Each request of
 * a batch stands in its own savepoint; one that fails is undone alone.
 *
 * No locks: a batch belongs to its worker from uv_queue_work until after_work, and the loop does
 * not look at it in between. What takes too much for one transaction as a whole (disk full, a
 * failed commit) fails every request of it, since all were undone. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/metric.h"
#include "store/store_priv.h"

#define REST_AFTER_MS 200 /* the write lane is quiet when nothing came for so long */

struct lane {
	struct batch_runner *runner;
	enum store_lane which;
	struct list waiting;
	/* the batch under way: the worker's while is_busy */
	struct list batch;
	size_t batch_count;
	int64_t now_ms;
	bool is_committed;
	uv_work_t work;
	bool is_busy;
};

struct batch_runner {
	struct store *store;
	const struct sync_ops *ops;
	void *db; /* owned */
	struct lane lanes[LANE_COUNT];
	uv_timer_t rest_timer;
	uv_work_t open_work;
	struct err open_err; /* the worker's while is_opening */
	bool is_opening;
	bool is_closing, is_timer_closed, is_db_closed;
	uv_work_t close_work;
};

/* --- on the worker --- */

static void fail_batch(struct lane *lane, const struct err *err)
{
	list_for_each (node, &lane->batch)
		list_entry(node, struct store_req, queue_node)->err = *err;
}

static int run_verb(struct lane *lane, struct store_req *req)
{
	struct batch_runner *runner = lane->runner;

	return req->verb->run(runner->ops->verbs, runner->db, req, lane->now_ms);
}

/* One of several in a transaction. Negative when the transaction itself is lost. */
static int run_marked(struct lane *lane, struct store_req *req, struct err *err)
{
	const struct sync_transactions *tx = lane->runner->ops->transactions;
	void *db = lane->runner->db;

	if (tx->mark(db, err) < 0)
		return err->code;
	if (run_verb(lane, req) == 0)
		return tx->keep(db, err);
	if (!tx->is_open(db, lane->which)) {
		*err = req->err;
		return err->code;
	}
	return tx->undo(db, err);
}

static int run_all(struct lane *lane, struct err *err)
{
	bool is_marked = lane->which == LANE_WRITE && lane->batch_count > 1;

	list_for_each (node, &lane->batch) {
		struct store_req *req = list_entry(node, struct store_req, queue_node);

		if (is_marked && run_marked(lane, req, err) < 0)
			return err->code;
		/* alone: undone with its transaction */
		if (!is_marked && run_verb(lane, req) < 0 && lane->which == LANE_WRITE) {
			*err = req->err;
			return err->code;
		}
	}
	return 0;
}

static void run_transaction(struct lane *lane)
{
	const struct sync_transactions *tx = lane->runner->ops->transactions;
	void *db = lane->runner->db;
	struct err err = {0};

	if (tx->begin(db, lane->which, &err) < 0) {
		fail_batch(lane, &err);
		return;
	}
	if (run_all(lane, &err) < 0 || tx->commit(db, lane->which, &err) < 0) {
		tx->rollback(db, lane->which);
		fail_batch(lane, &err);
		return;
	}
	lane->is_committed = lane->which == LANE_WRITE;
}

static void run_batch(struct lane *lane)
{
	lane->is_committed = false;
	if (lane->runner->ops->transactions) {
		run_transaction(lane);
		return;
	}
	list_for_each (node, &lane->batch)
		(void)run_verb(lane, list_entry(node, struct store_req, queue_node));
}

static void on_work(uv_work_t *work)
{
	run_batch(container_of(work, struct lane, work));
}

/* --- on the loop --- */

static void lane_start(struct lane *lane);
static void close_step(struct batch_runner *runner);

/* Whether the request has to go round once more. */
static bool complete(struct lane *lane, struct store_req *req)
{
	if (req->err.code < 0 || !req->verb->complete || !req->verb->complete(req))
		return false;
	if (lane->runner->is_closing)
		return err_set(&req->err, ERR_CANCELLED, "the store is closing") == 0;
	list_push(&lane->waiting, &req->queue_node);
	store_turn_later(lane->runner->store);
	return true;
}

static void on_rest(uv_work_t *work)
{
	struct batch_runner *runner = container_of(work, struct lane, work)->runner;

	runner->ops->transactions->rest(runner->db);
}

static void after_rest(uv_work_t *work, int status)
{
	struct lane *lane = container_of(work, struct lane, work);

	(void)status;
	lane->is_busy = false;
	lane_start(lane);
	close_step(lane->runner);
}

static void on_rest_timer(uv_timer_t *timer)
{
	struct batch_runner *runner = timer->data;
	struct lane *lane = &runner->lanes[LANE_WRITE];

	if (lane->is_busy)
		return; /* not so quiet; the batch sets the timer again */
	lane->is_busy = true;
	must(uv_queue_work(runner->store->loop, &lane->work, on_rest, after_rest) == 0);
}

static void rest_later(struct lane *lane)
{
	const struct sync_transactions *tx = lane->runner->ops->transactions;

	if (lane->which != LANE_WRITE || lane->is_busy || lane->runner->is_closing || !tx)
		return;
	if (tx->wants_rest(lane->runner->db))
		(void)uv_timer_start(&lane->runner->rest_timer, on_rest_timer, REST_AFTER_MS, 0);
}

static void deliver(struct lane *lane)
{
	struct list answered;

	list_init(&answered);
	list_splice(&answered, &lane->batch);
	for (struct list *node; (node = list_pop(&answered)) != NULL;) {
		struct store_req *req = list_entry(node, struct store_req, queue_node);

		if (!complete(lane, req))
			store_req_finish(req);
	}
}

static void after_batch(struct lane *lane)
{
	if (lane->is_committed)
		metrics.store_commits++;
	deliver(lane);
	lane->is_busy = false;
	lane_start(lane);
	rest_later(lane);
	close_step(lane->runner);
}

static void after_work(uv_work_t *work, int status)
{
	(void)status; /* work is never cancelled */
	after_batch(container_of(work, struct lane, work));
}

static void fill_batch(struct lane *lane, size_t max)
{
	lane->batch_count = 0;
	while (lane->batch_count < max && !list_is_empty(&lane->waiting)) {
		list_push(&lane->batch, list_pop(&lane->waiting));
		lane->batch_count++;
	}
}

static void lane_start(struct lane *lane)
{
	struct batch_runner *runner = lane->runner;

	if (lane->is_busy || lane->runner->is_opening || list_is_empty(&lane->waiting))
		return;
	fill_batch(lane, runner->store->batch_max);
	lane->now_ms = clock_wall_ms();
	lane->is_busy = true;
	must(uv_queue_work(runner->store->loop, &lane->work, on_work, after_work) == 0);
}

/* Without threads: what has been gathered runs here and now; what the callbacks ask for comes on
 * the next turn. */
static void lane_run_here(struct lane *lane)
{
	struct list gathered;

	list_init(&gathered);
	list_splice(&gathered, &lane->waiting);
	list_splice(&lane->batch, &gathered);
	lane->now_ms = clock_wall_ms();
	lane->is_busy = true;
	run_batch(lane);
	deliver(lane);
	lane->is_busy = false;
}

static void fail_waiting(struct batch_runner *runner, const struct err *err)
{
	for (int i = 0; i < LANE_COUNT; i++)
		for (struct list *node; (node = list_pop(&runner->lanes[i].waiting)) != NULL;) {
			struct store_req *req = list_entry(node, struct store_req, queue_node);

			req->err = *err;
			store_req_finish_late(req);
		}
}

/* --- opening --- */

static void on_open_work(uv_work_t *work)
{
	struct batch_runner *runner = container_of(work, struct batch_runner, open_work);

	(void)runner->ops->open(runner->db, &runner->open_err);
}

static void after_open_work(uv_work_t *work, int status)
{
	struct batch_runner *runner = container_of(work, struct batch_runner, open_work);
	bool has_failed = runner->open_err.code < 0;

	(void)status;
	runner->is_opening = false;
	if (!has_failed)
		runner->store->lock_fd = runner->ops->lock_fd(runner->db);
	if (runner->is_closing) {
		close_step(runner);
		return;
	}
	store_opened(runner->store, has_failed ? &runner->open_err : NULL);
	store_turn_later(runner->store);
}

static void open_later(struct batch_runner *runner)
{
	runner->is_opening = true;
	must(uv_queue_work(
		     runner->store->loop, &runner->open_work, on_open_work, after_open_work) == 0);
}

/* --- the backend's side of the store --- */

struct batch_runner *batch_create(struct store *store, const struct sync_ops *ops, void *db)
{
	struct batch_runner *runner = xcalloc(1, sizeof(*runner));

	runner->store = store;
	runner->ops = ops;
	runner->db = db;
	for (int i = 0; i < LANE_COUNT; i++) {
		runner->lanes[i].runner = runner;
		runner->lanes[i].which = (enum store_lane)i;
		list_init(&runner->lanes[i].waiting);
		list_init(&runner->lanes[i].batch);
	}
	must(uv_timer_init(store->loop, &runner->rest_timer) == 0);
	uv_unref((uv_handle_t *)&runner->rest_timer);
	runner->rest_timer.data = runner;
	if (ops->open)
		open_later(runner);
	return runner;
}

void batch_submit(struct store *store, struct store_req *req)
{
	struct batch_runner *runner = store->impl;
	enum store_lane which = runner->ops->is_threaded ? req->verb->lane : LANE_WRITE;

	list_push(&runner->lanes[which].waiting, &req->queue_node);
}

void batch_flush(struct store *store)
{
	struct batch_runner *runner = store->impl;

	if (!runner->ops->is_threaded) {
		lane_run_here(&runner->lanes[LANE_WRITE]);
		close_step(runner);
		return;
	}
	if (!runner->is_opening && runner->open_err.code < 0)
		fail_waiting(runner, &runner->open_err);
	for (int i = 0; i < LANE_COUNT; i++)
		lane_start(&runner->lanes[i]);
}

/* --- closing --- */

static void on_close_work(uv_work_t *work)
{
	struct batch_runner *runner = container_of(work, struct batch_runner, close_work);

	runner->ops->close(runner->db);
}

static void close_end(struct batch_runner *runner)
{
	struct store *store = runner->store;

	if (!runner->is_timer_closed || !runner->is_db_closed)
		return;
	free(runner);
	store_backend_closed(store);
}

static void after_close_work(uv_work_t *work, int status)
{
	struct batch_runner *runner = container_of(work, struct batch_runner, close_work);

	(void)status;
	runner->is_db_closed = true;
	close_end(runner);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct batch_runner *runner = handle->data;

	runner->is_timer_closed = true;
	close_end(runner);
}

/* Goes on with closing once both lanes have ended. */
static void close_step(struct batch_runner *runner)
{
	uv_handle_t *timer = (uv_handle_t *)&runner->rest_timer;

	if (!runner->is_closing || runner->is_opening || uv_is_closing(timer))
		return;
	for (int i = 0; i < LANE_COUNT; i++)
		if (runner->lanes[i].is_busy)
			return;
	uv_close(timer, on_timer_closed);
	if (!runner->ops->is_threaded) {
		runner->ops->close(runner->db);
		runner->is_db_closed = true;
		return;
	}
	must(uv_queue_work(runner->store->loop, &runner->close_work, on_close_work,
		     after_close_work) == 0);
}

void batch_close(struct store *store)
{
	struct batch_runner *runner = store->impl;
	struct err closing = {0};

	(void)err_set(&closing, ERR_CANCELLED, "the store is closing");
	runner->is_closing = true;
	(void)uv_timer_stop(&runner->rest_timer);
	fail_waiting(runner, &closing);
	close_step(runner);
}
