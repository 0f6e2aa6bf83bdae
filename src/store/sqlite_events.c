/* SPDX-License-Identifier: Apache-2.0
 *
 * Events: who waits for one, the runs it starts and what it brings them; and the end of a run as an
 * event. Ids of runs come of the event and the action, as a worker thread makes none of its own. */
#include <stdlib.h>
#include <string.h>

#include "store/sqlite_priv.h"

/* One event on its way to those who wait for it. */
struct delivery {
	struct sqlite_db *db;
	int64_t now_ms;
	struct err *err;
	struct id event_id;
	const char *name, *payload;
	const struct run
		*ended; /* whose end it is: its payload, once somebody waits; NULL: given */
	const char *traceparent; /* NULL: none */
	int depth;
	/* of an alert: who waits for it from any action, who is named for it, whom it is about */
	const char *any, *hook;
	struct id about;
	/* out; runs may be NULL: not wanted */
	struct run **runs;
	size_t run_room, *run_count;
	struct id **cancel;
	size_t *cancel_count;
};

/* Everybody once, and not the one that it is about. */
static void add_subscriber(
	const struct delivery *delivery, const struct id *id, struct id **ids, size_t *count)
{
	if (id_equal(id, &delivery->about))
		return;
	for (size_t i = 0; i < *count; i++)
		if (id_equal(id, &(*ids)[i]))
			return;
	ids_add(ids, count, id);
}

/* Those whom `query` gives for a name; NULL: none. */
static int add_subscribers(struct delivery *delivery, enum query query, const char *name,
	struct id **ids, size_t *count)
{
	struct statement st;
	int status;

	if (!name)
		return 0;
	st = statement_start(&delivery->db->writer, query);
	put_text(&st, name);
	while ((status = statement_step(&st, delivery->err)) > 0) {
		struct id id = read_id(&st);

		add_subscriber(delivery, &id, ids, count);
	}
	statement_end(&st);
	return status;
}

static int list_subscribers(struct delivery *delivery, struct id **ret_ids, size_t *ret_count)
{
	if (add_subscribers(delivery, QUERY_SUBSCRIBERS, delivery->name, ret_ids, ret_count) < 0 ||
		add_subscribers(delivery, QUERY_SUBSCRIBERS, delivery->any, ret_ids, ret_count) <
			0 ||
		add_subscribers(delivery, QUERY_ACTION_ID_OF, delivery->hook, ret_ids, ret_count) <
			0)
		return delivery->err->code;
	return 0;
}

static int insert_run_event(struct delivery *delivery, const struct id *run_id)
{
	struct statement st = statement_start(&delivery->db->writer, QUERY_RUN_EVENT_INSERT);

	put_id(&st, run_id);
	put_id(&st, &delivery->event_id);
	put_i64(&st, delivery->depth);
	put_text(&st, delivery->name);
	put_text(&st, delivery->payload);
	return statement_run(&st, delivery->err);
}

static void keep_run(struct delivery *delivery, struct run *run)
{
	if (delivery->runs) {
		*delivery->runs = grow_array(*delivery->runs, *delivery->run_count,
			&delivery->run_room, sizeof(**delivery->runs));
		(*delivery->runs)[*delivery->run_count] = *run;
	} else {
		run_fini(run);
	}
	(*delivery->run_count)++;
}

static int deliver_to(struct delivery *delivery, const struct id *action_id)
{
	struct claiming claiming = claiming_start(delivery->db, delivery->now_ms, delivery->cancel,
		delivery->cancel_count, delivery->err);
	const struct firing firing = {
		.trigger = TRIGGER_EVENT,
		.run_id = id_derive(&delivery->event_id, action_id, delivery->now_ms),
		.reason = delivery->depth > CHAIN_MAX ? REASON_LIMIT : REASON_NONE,
		.obeys_pause = true,
		.traceparent = delivery->traceparent,
	};
	struct run run;
	int status;

	claiming.action_id = *action_id;
	status = claiming_fire(&claiming, &firing, &run);
	if (status <= 0)
		return status;
	status = insert_run_event(delivery, &run.id);
	keep_run(delivery, &run);
	return status;
}

static int deliver(struct delivery *delivery)
{
	auto_free char *payload = NULL;
	struct id *subscribers = NULL;
	size_t count = 0;
	int status = list_subscribers(delivery, &subscribers, &count);

	if (count > 0 && delivery->ended) {
		payload = run_event_payload(delivery->ended);
		delivery->payload = payload;
	}
	for (size_t i = 0; i < count && status == 0; i++)
		status = deliver_to(delivery, &subscribers[i]);
	free(subscribers);
	return status;
}

/* --- an event from outside --- */

/* 1: it came within the window, and *ret_id is what it was called then. */
static int find_key(struct conn *conn, const struct store_send_event *req, int64_t now_ms,
	struct id *ret_id, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_EVENT_KEY_GET);
	int status;

	put_text(&st, req->name);
	put_text(&st, req->key);
	put_i64(&st, now_ms - req->window_ms);
	status = statement_step(&st, err);
	if (status > 0)
		*ret_id = read_id(&st);
	statement_end(&st);
	return status;
}

static int put_key(
	struct conn *conn, const struct store_send_event *req, int64_t now_ms, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_EVENT_KEY_PUT);

	put_text(&st, req->name);
	put_text(&st, req->key);
	put_id(&st, &req->ret_event_id);
	put_i64(&st, now_ms);
	if (statement_run(&st, err) < 0)
		return err->code;
	st = statement_start(conn, QUERY_EVENT_KEY_EXPIRE);
	put_i64(&st, now_ms - req->window_ms);
	return statement_run(&st, err);
}

static int list_event_runs(struct conn *conn, struct store_send_event *req)
{
	struct statement st = statement_start(conn, QUERY_RUNS_OF_EVENT);
	size_t room = 0;
	int status;

	put_id(&st, &req->ret_event_id);
	while ((status = statement_step(&st, &req->req.err)) > 0) {
		req->ret_runs =
			grow_array(req->ret_runs, req->ret_count, &room, sizeof(*req->ret_runs));
		read_run(&st, &req->ret_runs[req->ret_count++]);
	}
	statement_end(&st);
	return status;
}

int sqlite_send_event(void *data, struct store_send_event *req, int64_t now_ms)
{
	struct sqlite_db *db = data;
	struct err *err = &req->req.err;
	struct delivery delivery = {
		.db = db,
		.now_ms = now_ms,
		.err = err,
		.event_id = *scratch_next_id(req->req.scratch),
		.name = req->name,
		.payload = req->payload,
		.traceparent = req->traceparent,
		.runs = &req->ret_runs,
		.run_count = &req->ret_count,
		.cancel = &req->ret_cancel,
		.cancel_count = &req->ret_cancel_count,
	};
	int found = 0;

	req->ret_event_id = delivery.event_id;
	if (req->key)
		found = find_key(&db->writer, req, now_ms, &req->ret_event_id, err);
	if (found < 0)
		return found;
	req->ret_is_duplicate = found > 0;
	if (found > 0)
		return list_event_runs(&db->writer, req);
	if (check_queue(&db->writer, req->queued_max, err) < 0)
		return err->code;
	if (req->key && put_key(&db->writer, req, now_ms, err) < 0)
		return err->code;
	return deliver(&delivery);
}

/* --- what an event brought --- */

int load_run_event(struct conn *conn, struct run *run, int *ret_depth, struct err *err)
{
	struct statement st;
	int status;

	if (ret_depth)
		*ret_depth = 0;
	if (run->trigger != TRIGGER_EVENT && run->trigger != TRIGGER_RETRY)
		return 0;
	st = statement_start(conn, QUERY_RUN_EVENT_GET);
	put_id(&st, &run->id);
	status = statement_step(&st, err);
	if (status > 0) {
		run->event = read_text(&st);
		run->payload = read_text(&st);
		if (ret_depth)
			*ret_depth = read_int(&st, 0);
	}
	statement_end(&st);
	return status < 0 ? status : 0;
}

/* --- the end of a run --- */

static int depth_of(struct sqlite_db *db, const struct run *run, int *ret_depth, struct err *err)
{
	struct run facts = {.id = run->id, .trigger = run->trigger};
	int status = load_run_event(&db->writer, &facts, ret_depth, err);

	run_fini(&facts);
	return status;
}

static int deliver_sequel(const struct delivery *event, const struct sequels *sequels)
{
	size_t count = 0;
	struct delivery delivery = *event;

	delivery.run_count = &count;
	delivery.cancel = sequels->cancel;
	delivery.cancel_count = sequels->cancel_count;
	if (deliver(&delivery) < 0)
		return delivery.err->code;
	if (sequels->has_any)
		*sequels->has_any |= count > 0;
	return 0;
}

int tell_alert(struct sqlite_db *db, const struct alert_news *news, const struct sequels *sequels,
	int64_t now_ms, struct err *err)
{
	auto_free char *name = alert_event_name(news->alert, news->row->action_name);
	struct delivery delivery = {
		.db = db,
		.now_ms = now_ms,
		.err = err,
		.event_id = news->event_id,
		.name = name,
		.payload = news->payload,
		.traceparent = news->traceparent,
		.depth = news->depth,
		.any = alert_of_any(news->alert),
		.hook = news->row->hooks[news->alert],
		.about = news->row->action_id,
	};

	return deliver_sequel(&delivery, sequels);
}

static bool is_failure(const struct run *run)
{
	return run->state == RUN_FAILED || run->state == RUN_TIMED_OUT;
}

/* The first failure is to be noticed as soon as somebody listens, whoever that is; 1: so it is. */
static int begin_care(struct conn *conn, const struct run *run, struct err *err)
{
	struct statement st;
	int status;

	if (!is_failure(run))
		return 0;
	st = statement_start(conn, QUERY_LISTENER_EXISTS);
	status = statement_any(&st, err);
	if (status > 0 && run_by_id(conn, QUERY_CARE_BEGIN, &run->action_id, err) < 0)
		return err->code;
	return status;
}

/* Writes down how the action fares after this end: 1: it is to be told, 0: it is not; ERR_*. */
static int note_change(struct sqlite_db *db, const struct run *run, struct care_row *row,
	int64_t now_ms, enum alert *ret_alert, struct err *err)
{
	const struct care before = row->care;
	bool is_told = care_ended(
		&row->care, run->state, row->expect_ms, row->is_paused, now_ms, ret_alert);

	if (memcmp(&before, &row->care, sizeof(before)) != 0 &&
		care_save(&db->writer, row, err) < 0)
		return err->code;
	return is_told;
}

/* What the end makes of its action. */
static int announce_care(struct sqlite_db *db, const struct run *run, const struct sequels *sequels,
	int depth, int64_t now_ms, struct err *err)
{
	auto_free char *payload = NULL;
	struct care_row row;
	struct alert_news news = {
		.row = &row,
		.event_id = id_derive(&run->action_id, &run->id, now_ms),
		.traceparent = run->traceparent,
		.depth = depth,
	};
	int status, is_heard = begin_care(&db->writer, run, err);

	if (is_heard < 0)
		return err->code;
	status = care_load(&db->writer, &run->action_id, &row, err);
	if (status > 0 && is_failure(run) && !is_heard && !care_is_told(row.expect_ms, row.hooks))
		status = 0;
	if (status > 0)
		status = note_change(db, run, &row, now_ms, &news.alert, err);
	if (status > 0) {
		news.payload = payload = alert_payload(news.alert, run);
		status = tell_alert(db, &news, sequels, now_ms, err);
	}
	care_row_fini(&row);
	return status;
}

int announce_end(struct sqlite_db *db, const struct run *run, const struct sequels *sequels,
	int64_t now_ms, struct err *err)
{
	auto_free char *name = run->action_name ? run_event_name(run) : NULL;
	struct delivery delivery = {
		.db = db,
		.now_ms = now_ms,
		.err = err,
		.event_id = id_derive(&run->id, &run->action_id, now_ms),
		.name = name,
		.ended = run,
		.traceparent = run->traceparent,
	};

	if (!name)
		return 0;
	if (depth_of(db, run, &delivery.depth, err) < 0)
		return err->code;
	delivery.depth++;
	if (deliver_sequel(&delivery, sequels) < 0)
		return err->code;
	return announce_care(db, run, sequels, delivery.depth, now_ms, err);
}
