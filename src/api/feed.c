/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /api/v1/stream: runs, actions and instances as they change, on all instances.
 *
 * The store tells which run or action was written (store/live.h). A hint says that there is news,
 * not what: the row is read, and the event carries it as it is then. So events are true, also when
 * hints come twice or late; and a run that begins and ends within a moment may show as ended only.
 * Hints are gathered for TICK_MS, so that what changes often is read a few times a second at most;
 * more than can be read so, and what the store cannot name, is one event `runs.changed` or
 * `actions.changed`: read the list.
 *
 * An id is this instance and a number. Who comes back here with one is told what it has missed,
 * from the last events that are kept; when that is not known for sure (another instance, too long
 * ago) it is told `reset`: read the lists again. So is everyone when hints of the other instances
 * may have been lost.
 *
 * It exists while somebody listens, and a little longer for those who come back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/feed_priv.h"

#include "api/actions_priv.h"
#include "api/sse_priv.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "store/instances.h"
#include "store/live.h"

#define TICK_MS      250
#define HINTS_MAX    128  /* runs, and actions, that are read in one tick */
#define KEPT_MAX     1000 /* events that can be told again */
#define INSTANCES_MS 5000 /* one that leaves tells nobody: their list is read so often */
#define LINGER_MS    30000
#define DEAF_MS      5000  /* between two `reset` while others cannot tell us */
#define SETTLE_MS    1000  /* until all the others know that we listen */
#define DATA_MAX     32768 /* bytes of one event: more tells in brief what to read */

enum kind {
	KIND_RUN,
	KIND_ACTION,
	KIND_INSTANCE,
	KIND_COUNT
};
static const char *const kind_names[] = {"run", "action", "instance", NULL};

struct event {
	enum kind kind;      /* KIND_COUNT: for everybody */
	struct id action_id; /* zero: of no one action */
	const char *name;    /* static */
	char *data;          /* owned; JSON */
};

/* What was hinted at since the last tick. */
struct hints {
	struct id ids[HINTS_MAX];
	size_t count;
	bool is_many;
};

struct feed {
	struct api *api;
	struct store *store; /* NULL: taken away */
	struct list listeners;
	uv_timer_t timer;
	struct hints runs, actions;
	bool has_instances, has_missed, is_closing;
	struct store_list_instances list;
	bool is_listing;
	int64_t listed_mono_ms;
	char *instances; /* owned; what was told of them last, in short; NULL: nothing yet */
	size_t fetches;
	enum service_state state; /* of this instance, as it was told */
	int64_t listened_mono_ms, reset_mono_ms;
	int64_t settled_mono_ms; /* the others know by then that we listen; NO_TIME: that was told
				  */
	int64_t left_mono_ms;    /* since then nobody is here; NO_TIME: somebody is */
	struct event kept[KEPT_MAX]; /* of number n: [n % KEPT_MAX] */
	int64_t first, next;         /* numbers; none is used again by the feed after this one */
};

struct listener {
	struct feed *feed;
	struct http_stream *stream;
	struct list node;
	struct id action_id; /* zero: all */
	int kind;            /* enum kind, or -1 */
};

/* --- listeners --- */

static void on_gone(void *data)
{
	struct listener *listener = data;
	struct feed *feed = listener->feed;

	list_remove(&listener->node);
	if (list_is_empty(&feed->listeners))
		feed->left_mono_ms = clock_mono_ms();
	free(listener);
}

static void close_listener(struct listener *listener, const char *reason)
{
	sse_close(listener->stream, reason);
	on_gone(listener);
}

static void on_closing(void *data)
{
	close_listener(data, "shutting_down");
}

static bool is_for(const struct event *event, const struct listener *listener)
{
	return event->kind == KIND_COUNT ||
	       ((listener->kind < 0 || listener->kind == (int)event->kind) &&
		       (id_is_zero(&listener->action_id) || id_is_zero(&event->action_id) ||
			       id_equal(&listener->action_id, &event->action_id)));
}

static bool write_event(const struct listener *listener, const struct event *event, int64_t number)
{
	char instance[ID_TEXT_SIZE];
	struct buf out;
	bool is_taken;

	id_format(&listener->feed->api->opts.instance_id, instance);
	buf_init(&out, strlen(event->data) + 256);
	buf_printf(&out, "id: %s.%lld\nevent: %s\ndata: %s\n\n", instance, (long long)number,
		event->name, event->data);
	is_taken = http_stream_write(listener->stream, buf_text(&out), out.len);
	buf_fini(&out);
	return is_taken;
}

/* --- events --- */

/* The data as text. An action may be larger than what is kept for a listener: that would end every
 * stream, again and again, and what is kept for those who come back would be boundless. Consumes
 * `data`. */
static char *write_data(json_t *data)
{
	char *text = json_dumps(data, JSON_WRITE_FLAGS);
	json_t *brief;

	must(text);
	if (strlen(text) > DATA_MAX) {
		free(text);
		brief = json_pack("{s:O*, s:O*, s:O*, s:O*, s:b}", "id",
			json_object_get(data, "id"), "name", json_object_get(data, "name"),
			"action", json_object_get(data, "action"), "state",
			json_object_get(data, "state"), "is_brief", 1);
		text = json_dumps(brief, JSON_WRITE_FLAGS);
		must(text);
		json_decref(brief);
	}
	json_decref(data);
	return text;
}

/* Consumes `data`. */
static void publish(struct feed *feed, enum kind kind, const struct id *action_id, const char *name,
	json_t *data)
{
	struct event *event = &feed->kept[feed->next % KEPT_MAX];

	free(event->data);
	*event = (struct event){.kind = kind, .name = name};
	event->data = write_data(data);
	if (action_id)
		event->action_id = *action_id;
	list_for_each (node, &feed->listeners) {
		struct listener *listener = list_entry(node, struct listener, node);

		if (is_for(event, listener) && !write_event(listener, event, feed->next))
			close_listener(listener, "too_slow");
	}
	feed->next++;
}

static void publish_reset(struct feed *feed, const char *reason)
{
	feed->reset_mono_ms = clock_mono_ms();
	publish(feed, KIND_COUNT, NULL, "reset", json_pack("{s:s}", "reason", reason));
}

/* --- reading what was hinted at --- */

struct fetch {
	struct feed *feed;
	struct id id;
	struct store_get_run run;
	struct store_get_action action;
};

static void free_if_done(struct feed *feed);

static void fetched(struct fetch *fetch)
{
	struct feed *feed = fetch->feed;

	free(fetch);
	feed->fetches--;
	free_if_done(feed);
}

static const char *event_of(enum run_state state)
{
	if (run_state_is_final(state))
		return "run.finished";
	return state == RUN_RUNNING ? "run.started"
	       : state == RUN_HELD  ? "run.held"
				    : "run.pending";
}

static void on_run_read(struct store_req *req)
{
	struct fetch *fetch = container_of(req, struct fetch, run.req);
	const struct run *run = &fetch->run.ret_run;
	json_t *json;

	if (req->err.code == 0 && !fetch->feed->is_closing) {
		json = run_to_json(run);
		(void)json_object_del(json, "payload"); /* it may be large */
		publish(fetch->feed, KIND_RUN, &run->action_id, event_of(run->state), json);
	} else if (req->err.code != 0 && req->err.code != ERR_NOT_FOUND) {
		fetch->feed->has_missed = true;
	}
	store_get_run_fini(&fetch->run);
	fetched(fetch);
}

static void on_action_read(struct store_req *req)
{
	struct fetch *fetch = container_of(req, struct fetch, action.req);
	char id[ID_TEXT_SIZE];

	if (fetch->feed->is_closing)
		;
	else if (req->err.code == 0)
		publish(fetch->feed, KIND_ACTION, &fetch->id, "action.changed",
			action_to_json(fetch->action.ret_action));
	else if (req->err.code == ERR_NOT_FOUND)
		publish(fetch->feed, KIND_ACTION, &fetch->id, "action.deleted",
			json_pack("{s:s}", "id", id_format(&fetch->id, id)));
	else
		fetch->feed->has_missed = true;
	store_get_action_fini(&fetch->action);
	fetched(fetch);
}

static struct fetch *fetch_create(struct feed *feed, const struct id *id)
{
	struct fetch *fetch = xcalloc(1, sizeof(*fetch));

	fetch->feed = feed;
	fetch->id = fetch->run.id = fetch->action.id = *id;
	feed->fetches++;
	return fetch;
}

/* What would be worth telling: who is there, in which state; not each heartbeat. */
static char *sum_up(const json_t *items)
{
	json_t *sum = json_array(), *item;
	char *text;
	size_t i;

	json_array_foreach(items, i, item) json_array_append_new(sum,
		json_pack("[O, O]", json_object_get(item, "id"), json_object_get(item, "state")));
	text = json_dumps(sum, JSON_COMPACT);
	json_decref(sum);
	return text;
}

static void publish_instances(struct feed *feed)
{
	json_t *items = instances_to_json(feed->api, &feed->list);
	auto_free char *sum = sum_up(items);

	if (!feed->instances || strcmp(sum, feed->instances) != 0)
		publish(feed, KIND_INSTANCE, NULL, "instances.changed",
			json_pack("{s:O}", "items", items));
	json_decref(items);
	free(feed->instances);
	feed->instances = take_ptr(sum);
}

static void on_listed(struct store_req *req)
{
	struct feed *feed = container_of(req, struct feed, list.req);

	feed->is_listing = false;
	if (req->err.code == 0 && !feed->is_closing)
		publish_instances(feed);
	store_list_instances_fini(&feed->list);
	free_if_done(feed);
}

static void read_runs(struct feed *feed)
{
	struct hints *hints = &feed->runs;

	for (size_t i = 0; i < hints->count; i++)
		store_get_run(feed->store, &fetch_create(feed, &hints->ids[i])->run, on_run_read);
	if (hints->is_many)
		publish(feed, KIND_RUN, NULL, "runs.changed", json_object());
	*hints = (struct hints){.count = 0};
}

static void read_actions(struct feed *feed)
{
	struct hints *hints = &feed->actions;

	for (size_t i = 0; i < hints->count; i++)
		store_get_action(
			feed->store, &fetch_create(feed, &hints->ids[i])->action, on_action_read);
	if (hints->is_many)
		publish(feed, KIND_ACTION, NULL, "actions.changed", json_object());
	*hints = (struct hints){.count = 0};
}

/* --- hints --- */

static void hint(struct hints *hints, const struct id *id)
{
	for (size_t i = 0; id && i < hints->count; i++)
		if (id_equal(&hints->ids[i], id))
			return;
	if (id && hints->count < HINTS_MAX)
		hints->ids[hints->count++] = *id;
	else
		hints->is_many = true;
}

static void on_run(const struct id *run_id, void *data)
{
	hint(&((struct feed *)data)->runs, run_id);
}

static void on_action(const struct id *action_id, void *data)
{
	hint(&((struct feed *)data)->actions, action_id);
}

static void on_instances(void *data)
{
	((struct feed *)data)->has_instances = true;
}

static void on_missed(void *data)
{
	((struct feed *)data)->has_missed = true;
}

static void listen_on(struct feed *feed)
{
	const struct store_listener listener = {.on_run = on_run,
		.on_action = on_action,
		.on_instances = on_instances,
		.on_missed = on_missed,
		.data = feed};

	feed->listened_mono_ms = clock_mono_ms();
	store_listen(feed->store, &listener);
}

/* --- the tick --- */

static void reset_if_missed(struct feed *feed, int64_t now_mono_ms)
{
	if (feed->settled_mono_ms != NO_TIME && now_mono_ms > feed->settled_mono_ms) {
		feed->settled_mono_ms = NO_TIME;
		publish_reset(feed, "listening");
	}
	if (feed->has_missed)
		publish_reset(feed, "events_missed");
	else if (!store_hears_others(feed->store) && now_mono_ms - feed->reset_mono_ms > DEAF_MS)
		publish_reset(feed, "polling");
	feed->has_missed = false;
}

static void on_tick(uv_timer_t *timer)
{
	struct feed *feed = container_of(timer, struct feed, timer);
	int64_t now = clock_mono_ms();

	if (!feed->store)
		return;
	if (feed->left_mono_ms != NO_TIME && now - feed->left_mono_ms > LINGER_MS) {
		feed_close(feed);
		return;
	}
	if (now - feed->listened_mono_ms > STORE_LISTEN_MS)
		listen_on(feed);
	reset_if_missed(feed, now);
	feed->has_instances |= feed->state != life_state(feed->api->opts.life) ||
			       now - feed->listed_mono_ms > INSTANCES_MS;
	feed->state = life_state(feed->api->opts.life);
	if (feed->fetches > 0) /* the store is slow: more hints gather meanwhile */
		return;
	read_actions(feed);
	read_runs(feed);
	if (feed->has_instances && !feed->is_listing) {
		feed->has_instances = false;
		feed->is_listing = true;
		feed->listed_mono_ms = now;
		store_list_instances(feed->store, &feed->list, on_listed);
	}
}

/* --- its life --- */

static void on_timer_closed(uv_handle_t *handle)
{
	struct feed *feed = container_of((uv_timer_t *)handle, struct feed, timer);
	struct api *api = feed->api;

	for (size_t i = 0; i < KEPT_MAX; i++)
		free(feed->kept[i].data);
	free(feed->instances);
	free(feed);
	api_let_go(api);
}

static void free_if_done(struct feed *feed)
{
	if (feed->is_closing && feed->fetches == 0 && !feed->is_listing &&
		!uv_is_closing((uv_handle_t *)&feed->timer))
		uv_close((uv_handle_t *)&feed->timer, on_timer_closed);
}

void feed_parts_gone(struct feed *feed)
{
	if (feed && feed->store)
		store_listen(feed->store, NULL);
	if (feed)
		feed->store = NULL;
}

void feed_close(struct feed *feed)
{
	if (!feed)
		return;
	feed_parts_gone(feed);
	feed->api->feed = NULL;
	feed->api->feed_next = feed->next;
	feed->is_closing = true;
	list_for_each (node, &feed->listeners)
		close_listener(list_entry(node, struct listener, node), "shutting_down");
	free_if_done(feed);
}

static struct feed *feed_of(struct api *api)
{
	struct feed *feed = api->feed;
	int64_t now = clock_mono_ms();

	if (feed)
		return feed;
	api->feed = feed = xcalloc(1, sizeof(*feed));
	feed->api = api;
	feed->store = api->store;
	feed->first = feed->next = api->feed_next + 1;
	feed->state = life_state(api->opts.life);
	feed->reset_mono_ms = now;
	feed->settled_mono_ms = store_is_shared(api->store) ? now + SETTLE_MS : NO_TIME;
	feed->left_mono_ms = now;
	list_init(&feed->listeners);
	api_hold(api);
	must(uv_timer_init(api->opts.loop, &feed->timer) == 0);
	must(uv_timer_start(&feed->timer, on_tick, TICK_MS, TICK_MS) == 0);
	listen_on(feed);
	return feed;
}

/* --- the request --- */

struct stream_call {
	struct action_find find;
	int kind;
};

static void call_fini(void *state)
{
	action_find_fini(&((struct stream_call *)state)->find);
}

/* The number behind which a client goes on; -1: that is not known here any more. */
static int64_t read_place(const struct feed *feed, const char *text)
{
	size_t len = text ? strlen(text) : 0;
	int64_t number;
	struct id id;
	auto_free char *instance = xstrndup(text ? text : "", len < 36 ? len : 36);

	if (len < 38 || text[36] != '.' || !id_parse(instance, &id) ||
		!id_equal(&id, &feed->api->opts.instance_id) ||
		!parse_i64(text + 37, feed->first - 1, feed->next - 1, &number) ||
		feed->next - number > KEPT_MAX)
		return -1;
	return number;
}

/* The events behind `number`, or (-1) that it does not know what it has missed. */
static void catch_up(struct listener *listener, int64_t number, bool has_been)
{
	struct feed *feed = listener->feed;
	struct event begin = {
		.kind = KIND_COUNT, .name = has_been ? "reset" : "hello", .data = (char *)"{}"};

	if (number < 0) {
		(void)write_event(listener, &begin, feed->next - 1);
		return;
	}
	for (; number + 1 < feed->next; number++) {
		const struct event *event = &feed->kept[(number + 1) % KEPT_MAX];

		if (is_for(event, listener) && !write_event(listener, event, number + 1)) {
			close_listener(listener, "too_slow");
			return;
		}
	}
}

static void begin(struct api_call *call, const struct id *action_id, int kind)
{
	struct feed *feed = feed_of(call->api);
	const char *last_id = http_header(call->request, "Last-Event-ID");
	int64_t place = read_place(feed, last_id);
	bool has_been = last_id && *last_id;
	struct listener *listener = xcalloc(1, sizeof(*listener));
	struct http_stream_opts opts = {.content_type = SSE_TYPE,
		.heartbeat = SSE_HEARTBEAT,
		.closing = on_closing,
		.gone = on_gone,
		.data = listener};

	listener->feed = feed;
	listener->kind = kind;
	list_init(&listener->node);
	if (action_id)
		listener->action_id = *action_id;
	if (!api_reply_stream(call, &opts, &listener->stream) || !listener->stream) {
		on_gone(listener);
		return;
	}
	list_push(&feed->listeners, &listener->node);
	feed->left_mono_ms = NO_TIME;
	catch_up(listener, place, has_been);
}

static void on_found(struct action_find *find)
{
	struct stream_call *state = container_of(find, struct stream_call, find);
	struct id id = find->get.ret_action->id;

	if (!find->call->api->store)
		api_reply_problem(find->call, ERR_UNAVAILABLE, "the service is stopping");
	else
		begin(find->call, &id, state->kind);
}

void stream_show(struct api_call *call)
{
	struct stream_call *state = api_call_state(call, sizeof(*state), call_fini);
	const char *action = http_query(call->request, "action");

	state->kind = -1;
	if (!api_query_name(call, "kind", kind_names, &state->kind))
		return;
	if (action)
		action_find(&state->find, call, action, on_found);
	else
		begin(call, NULL, state->kind);
}
