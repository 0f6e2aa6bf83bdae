/* SPDX-License-Identifier: Apache-2.0
 *
 * Output of attempts that run elsewhere. A backend that serves one instance has no elsewhere. */
#include "store/store_priv.h"

static int put_live_run(
	const struct sync_verbs *verbs, void *db, struct store_req *base, int64_t now_ms)
{
	if (verbs->put_live)
		return verbs->put_live(db, container_of(base, struct store_put_live, req), now_ms);
	return 0;
}

STORE_VERB(put_live, .lane = LANE_WRITE)

void store_watch_output(struct store *store, store_output_wanted_fn *wanted, void *data)
{
	store->output_wanted = wanted;
	store->output_wanted_data = data;
}

void store_want_output(struct store *store, const struct id *run_id)
{
	if (store->backend->want_output)
		store->backend->want_output(store, run_id);
}
