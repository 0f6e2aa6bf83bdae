/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of the store and of its requests: which backend, how many requests at most, and the rule
 * that an answer comes exactly once and on a later turn of the loop. The verbs themselves are in
 * store_actions.c and store_runs.c; how a synchronous backend works through them is batch.c. */
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/metric.h"
#include "store/store_priv.h"

#define LEASE_DEFAULT_MS 30000

static const struct store_backend *const backends[] = {
	&postgres_backend, &sqlite_backend, &memory_backend};

/* --- which backend --- */

static bool backend_takes(
	const struct store_backend *backend, const char *url, const char **ret_place)
{
	for (size_t i = 0; i < COUNT_OF(backend->schemes) && backend->schemes[i]; i++) {
		size_t len = strlen(backend->schemes[i]);

		if (strncmp(url, backend->schemes[i], len) == 0) {
			*ret_place = backend->takes_whole_url ? url : url + len;
			return true;
		}
	}
	return false;
}

static const struct store_backend *backend_find(
	const char *url, const char **ret_place, struct err *err)
{
	for (size_t i = 0; i < COUNT_OF(backends); i++)
		if (backend_takes(backends[i], url, ret_place))
			return backends[i];
	(void)err_set(err, ERR_INVALID,
		"database '%.40s' is none of: postgresql://HOST/NAME, sqlite:PATH, memory:", url);
	return NULL;
}

static void store_destroy(struct store *store)
{
	definition_cache_destroy(store->definitions);
	free(store->place);
	free(store);
}

/* --- the turn: what was gathered starts, what is late is delivered --- */

static void on_turn_closed(uv_handle_t *handle)
{
	struct store *store = handle->data;
	store_closed_fn *closed = store->closed;
	void *data = store->closed_data;

	store_destroy(store);
	if (closed)
		closed(data);
}

static void close_when_empty(struct store *store)
{
	if (!store->is_backend_closed || store->open_count > 0)
		return;
	if (!uv_is_closing((uv_handle_t *)&store->turn))
		uv_close((uv_handle_t *)&store->turn, on_turn_closed);
}

static void on_turn(uv_idle_t *turn)
{
	struct store *store = turn->data;
	struct list late;

	(void)uv_idle_stop(turn);
	list_init(&late);
	list_splice(&late, &store->late);
	for (struct list *node; (node = list_pop(&late)) != NULL;)
		store_req_finish(list_entry(node, struct store_req, queue_node));
	if (store->is_opened && store->opened && !store->is_closing)
		take_ptr(store->opened)(
			store->open_err.code ? &store->open_err : NULL, store->opened_data);
	if (!store->is_backend_closed)
		store->backend->flush(store);
	close_when_empty(store);
}

void store_turn_later(struct store *store)
{
	must(!uv_is_closing((uv_handle_t *)&store->turn));
	if (!uv_is_active((uv_handle_t *)&store->turn))
		must(uv_idle_start(&store->turn, on_turn) == 0);
}

/* --- requests --- */

static bool is_store_trouble(int code)
{
	return code == ERR_UNAVAILABLE || code == ERR_FULL || code == ERR_IO ||
	       code == ERR_CORRUPT || code == ERR_INTERNAL;
}

static void scratch_destroy(struct store_scratch *scratch)
{
	if (!scratch)
		return;
	for (size_t i = 0; i < scratch->text_count; i++)
		free(scratch->texts[i]);
	for (size_t i = 0; i < scratch->row_count; i++)
		free(scratch->rows[i].text);
	for (size_t i = 0; i < scratch->orphan_count; i++) {
		run_fini(&scratch->orphans[i].run);
		free(scratch->orphans[i].why);
	}
	free(scratch->ids);
	free(scratch->texts);
	free(scratch->rows);
	free(scratch->orphans);
	free(scratch);
}

void store_req_finish(struct store_req *req)
{
	struct store *store = req->store;

	store->open_count--;
	if (req->scratch) { /* else it was refused */
		store->queue_count--;
		store->waiting_mono_ms = clock_mono_ms();
		if (!is_store_trouble(req->err.code))
			store->answered_mono_ms = store->waiting_mono_ms;
	}
	metrics.store_queue = (int64_t)store->queue_count;
	metrics.store_requests++;
	if (is_store_trouble(req->err.code))
		metrics.store_errors++;
	if (req->err.code < 0 && req->verb->fini)
		req->verb->fini(req);
	if (req->err.code == 0)
		store_req_tell(req);
	scratch_destroy(take_ptr(req->scratch));
	req->done(req); /* the request may be gone now */
}

void store_req_finish_late(struct store_req *req)
{
	list_push(&req->store->late, &req->queue_node);
	store_turn_later(req->store);
}

static int refuse(struct store *store, struct err *err)
{
	if (store->is_closing)
		return err_set(err, ERR_CANCELLED, "the store is closing");
	if (store->queue_count >= store->queue_max)
		return err_set(err, ERR_UNAVAILABLE,
			"%zu requests wait for the database already: try again later",
			store->queue_max);
	return 0;
}

void store_submit(struct store *store, struct store_req *req, const struct store_verb *verb,
	store_done_fn *done)
{
	req->err = (struct err){0};
	req->done = done;
	req->verb = verb;
	req->store = store;
	req->scratch = NULL;
	list_init(&req->queue_node);
	memset((char *)req + verb->outputs, 0, verb->end - verb->outputs);
	store->open_count++;
	if (refuse(store, &req->err) < 0) {
		store_req_finish_late(req);
		return;
	}
	req->scratch = xcalloc(1, sizeof(*req->scratch));
	if (store->queue_count++ == 0)
		store->waiting_mono_ms = clock_mono_ms();
	metrics.store_queue = (int64_t)store->queue_count;
	if (verb->prepare)
		verb->prepare(req);
	store->backend->submit(store, req);
	store_turn_later(store);
}

/* --- scratch --- */

void scratch_make_ids(struct store_scratch *scratch, size_t count)
{
	scratch->ids = xcalloc(count ? count : 1, sizeof(*scratch->ids));
	scratch->id_count = count;
	for (size_t i = 0; i < count; i++)
		scratch->ids[i] = id_make();
}

const struct id *scratch_next_id(struct store_scratch *scratch)
{
	must(scratch->id_next < scratch->id_count);
	return &scratch->ids[scratch->id_next++];
}

void scratch_set_texts(struct store_scratch *scratch, struct action *const *actions, size_t count)
{
	scratch->texts = xcalloc(count ? count : 1, sizeof(*scratch->texts));
	scratch->text_count = count;
	for (size_t i = 0; i < count; i++)
		scratch->texts[i] = action_definition_text(actions[i]);
}

struct stored_action *scratch_add_row(struct store_scratch *scratch)
{
	scratch->rows = grow_array(
		scratch->rows, scratch->row_count, &scratch->row_room, sizeof(*scratch->rows));
	return &scratch->rows[scratch->row_count++];
}

struct store_orphan *scratch_add_orphan(struct store_scratch *scratch)
{
	scratch->orphans = grow_array(scratch->orphans, scratch->orphan_count,
		&scratch->orphan_room, sizeof(*scratch->orphans));
	return &scratch->orphans[scratch->orphan_count++];
}

/* --- open and close --- */

static struct store *store_create(
	const struct store_opts *opts, const struct store_backend *backend)
{
	struct store *store = xcalloc(1, sizeof(*store));

	must(opts->queue_max > 0 && opts->batch_max > 0);
	store->backend = backend;
	store->loop = opts->loop;
	store->instance_id = opts->instance_id;
	store->lock_fd = -1;
	store->opened_at_ms = clock_wall_ms();
	store->lease_ms = opts->lease_ms > 0 ? opts->lease_ms : LEASE_DEFAULT_MS;
	store->queue_max = opts->queue_max;
	store->batch_max = opts->batch_max;
	store->opened = opts->opened;
	store->opened_data = opts->opened_data;
	store->definitions = definition_cache_create();
	store->answered_mono_ms = NO_TIME;
	store->held = (struct store_held){.shards = ALL_SHARDS, .members = 1};
	if (!backend->is_shared)
		store->held.duties = UINT32_MAX;
	list_init(&store->late);
	return store;
}

int store_open(const struct store_opts *opts, struct store **ret_store, struct err *err)
{
	struct err unwanted;
	const char *place;
	const struct store_backend *backend = backend_find(opts->url, &place, err);
	struct store *store;
	int status;

	if (!backend)
		return ERR_INVALID;
	store = store_create(opts, backend);
	status = backend->open(store, opts, place, err ? err : &unwanted);
	if (status < 0) {
		store_destroy(store);
		return status;
	}
	must(uv_idle_init(opts->loop, &store->turn) == 0);
	store->turn.data = store;
	if (status != STORE_OPENING)
		store_opened(store, NULL);
	*ret_store = store;
	return 0;
}

void store_opened(struct store *store, const struct err *err)
{
	must(!store->is_opened);
	store->is_opened = true;
	if (err)
		store->open_err = *err;
	if (store->opened)
		store_turn_later(store);
}

void store_backend_closed(struct store *store)
{
	must(list_is_empty(&store->late) || uv_is_active((uv_handle_t *)&store->turn));
	store->is_backend_closed = true;
	close_when_empty(store);
}

void store_close(struct store *store, store_closed_fn *closed, void *data)
{
	must(!store->is_closing);
	store->is_closing = true;
	store->closed = closed;
	store->closed_data = data;
	store->backend->close(store);
}

int store_lock_fd(const struct store *store)
{
	return store->lock_fd;
}

bool store_is_shared(const struct store *store)
{
	return store->backend->is_shared;
}

int64_t store_answered_mono_ms(const struct store *store)
{
	return store->answered_mono_ms;
}

int64_t store_silent_ms(const struct store *store)
{
	return store->queue_count > 0 ? clock_mono_ms() - store->waiting_mono_ms : 0;
}

const char *store_backend_name(const struct store *store)
{
	return store->backend->name;
}

size_t store_pools(const struct store *store, struct store_pool ret_pools[static STORE_POOLS_MAX])
{
	return store->backend->pools && store->impl ? store->backend->pools(store, ret_pools) : 0;
}

const char *store_place(const struct store *store)
{
	return store->place;
}

int store_migrate(const char *url, enum store_migrate_mode mode,
	void (*each)(const char *name, void *data), void *data, struct err *err)
{
	struct err unwanted;
	const char *place;
	const struct store_backend *backend = backend_find(url, &place, err);

	if (!backend)
		return ERR_INVALID;
	return backend->migrate(place, mode, each, data, err ? err : &unwanted);
}
