/* SPDX-License-Identifier: Apache-2.0
 *
 * What a request that went well has changed, told to who listens here (store_listen) and, when
 * somebody does, to the other instances. */
#include "store/store_priv.h"

static bool wants(const struct store *store)
{
	return store->listener.data ||
	       (store->backend->others_listen && store->backend->others_listen(store));
}

static void tell_run(struct store *store, const struct id *run_id)
{
	if (store->listener.data)
		store->listener.on_run(run_id, store->listener.data);
	if (store->backend->tell_run)
		store->backend->tell_run(store, run_id);
}

/* The other instances hear of actions in any case (store_watch). */
static void tell_action(struct store *store, const struct id *action_id)
{
	if (store->listener.data)
		store->listener.on_action(action_id, store->listener.data);
}

static void tell_runs(struct store *store, const struct run *runs, size_t count)
{
	for (size_t i = 0; i < count; i++)
		tell_run(store, &runs[i].id);
}

void store_req_tell(struct store_req *req)
{
	if (req->verb->changes && wants(req->store))
		req->verb->changes(req);
}

void store_run_changed(struct store *store, const struct id *run_id)
{
	if (wants(store))
		tell_run(store, run_id);
}

/* --- by verb --- */

void create_actions_changes(struct store_req *base)
{
	const struct store_create_actions *req =
		container_of(base, struct store_create_actions, req);

	for (size_t i = 0; i < req->count; i++)
		tell_action(base->store, &req->ret_actions[i]->id);
}

void replace_action_changes(struct store_req *base)
{
	tell_action(base->store, &container_of(base, struct store_replace_action, req)->id);
}

void pause_action_changes(struct store_req *base)
{
	tell_action(base->store, &container_of(base, struct store_pause_action, req)->id);
}

void delete_action_changes(struct store_req *base)
{
	tell_action(base->store, &container_of(base, struct store_delete_action, req)->id);
}

void claim_changes(struct store_req *base)
{
	const struct store_claim *req = container_of(base, struct store_claim, req);

	tell_runs(base->store, req->ret_started, req->ret_started_count);
	if (req->ret_queued + req->ret_skipped > 0)
		tell_run(base->store, NULL);
}

void take_changes(struct store_req *base)
{
	const struct store_take *req = container_of(base, struct store_take, req);

	tell_runs(base->store, req->ret_started, req->ret_started_count);
}

void finish_changes(struct store_req *base)
{
	const struct store_finish *req = container_of(base, struct store_finish, req);

	tell_run(base->store, &req->run->id);
	if (req->ret_has_sequels)
		tell_run(base->store, NULL);
}

void recover_changes(struct store_req *base)
{
	if (container_of(base, struct store_recover, req)->ret_count > 0)
		tell_run(base->store, NULL);
}

void trigger_changes(struct store_req *base)
{
	tell_run(base->store, &container_of(base, struct store_trigger, req)->ret_run.id);
}

void send_event_changes(struct store_req *base)
{
	const struct store_send_event *req = container_of(base, struct store_send_event, req);

	tell_runs(base->store, req->ret_runs, req->ret_count);
}

void cancel_run_changes(struct store_req *base)
{
	tell_run(base->store, &container_of(base, struct store_cancel_run, req)->id);
}

void change_run_changes(struct store_req *base)
{
	tell_run(base->store, &container_of(base, struct store_change_run, req)->id);
}

/* For verbs that do not know which runs they have made. */
void some_runs_changes(struct store_req *base)
{
	tell_run(base->store, NULL);
}

/* --- listening --- */

void store_listen(struct store *store, const struct store_listener *listener)
{
	store->listener = listener ? *listener : (struct store_listener){0};
	if (listener && store->backend->listen)
		store->backend->listen(store);
}

bool store_hears_others(const struct store *store)
{
	return !store->backend->is_shared || store->held.is_listening;
}
