/* SPDX-License-Identifier: Apache-2.0
 *
 * How an action fares, and the verbs that look after the ledger.
 *
 * An action is well, failing, or late; it can be both of the last. Only a change is told:
 *
 *   a run failed or timed out    well -> failing          "failing"
 *   a run succeeded              failing, late -> well    "recovered"
 *   the deadline passed          -> late                  "late"
 *
 * So one failure after the other is one alert, and a circle of actions that tell of each other
 * comes to rest by itself. A cancelled run says nothing about its action. */
#include <stdlib.h>

#include "base/prove.h"
#include "store/store_priv.h"

int64_t care_deadline(int64_t expect_ms, bool is_paused, int64_t now_ms)
{
	return expect_ms > 0 && !is_paused ? add_ms(now_ms, expect_ms) : NO_TIME;
}

void care_expect(
	struct care *care, int64_t old_expect_ms, int64_t expect_ms, bool is_paused, int64_t now_ms)
{
	if (expect_ms == old_expect_ms)
		return;
	care->deadline_ms = care_deadline(expect_ms, is_paused, now_ms);
	care->late_since_ms = NO_TIME;
}

void care_pause(struct care *care, int64_t expect_ms, bool is_paused, int64_t now_ms)
{
	if (expect_ms > 0 && care->late_since_ms == NO_TIME)
		care->deadline_ms = care_deadline(expect_ms, is_paused, now_ms);
}

bool care_is_told(int64_t expect_ms, char *const hooks[ALERT_COUNT])
{
	return expect_ms > 0 || hooks[ALERT_FAILING] || hooks[ALERT_RECOVERED];
}

static bool care_failed(struct care *care, int64_t now_ms, enum alert *ret_alert)
{
	if (care->failing_since_ms != NO_TIME && !RULE_IS_OFF(CHANGES_TOLD))
		return false;
	care->failing_since_ms = now_ms;
	*ret_alert = ALERT_FAILING;
	return true;
}

static bool care_succeeded(
	struct care *care, int64_t expect_ms, bool is_paused, int64_t now_ms, enum alert *ret_alert)
{
	bool was_well = care->failing_since_ms == NO_TIME && care->late_since_ms == NO_TIME;

	care->failing_since_ms = care->late_since_ms = NO_TIME;
	care->deadline_ms = care_deadline(expect_ms, is_paused, now_ms);
	*ret_alert = ALERT_RECOVERED;
	return !was_well;
}

bool care_ended(struct care *care, enum run_state state, int64_t expect_ms, bool is_paused,
	int64_t now_ms, enum alert *ret_alert)
{
	if (state == RUN_SUCCEEDED)
		return care_succeeded(care, expect_ms, is_paused, now_ms, ret_alert);
	if (state == RUN_FAILED || state == RUN_TIMED_OUT)
		return care_failed(care, now_ms, ret_alert);
	return false;
}

const char *alert_of_any(enum alert alert)
{
	static const char *const names[] = {RUN_EVENT_PREFIX "*.failing",
		RUN_EVENT_PREFIX "*.recovered", RUN_EVENT_PREFIX "*.late"};

	return names[alert];
}

/* --- retain --- */

STORE_VERB_RUN(retain)
STORE_VERB(retain, .lane = LANE_WRITE, OUTPUTS(retain, ret_removed))

/* --- lapse --- */

STORE_VERB_RUN(lapse)
STORE_VERB_FREES(lapse)
STORE_VERB(lapse, .lane = LANE_WRITE, OUTPUTS(lapse, ret_now_ms), .fini = lapse_release,
	.changes = some_runs_changes)

void store_lapse_fini(struct store_lapse *req)
{
	free(take_ptr(req->ret_cancel));
	req->ret_cancel_count = 0;
}

/* --- get_cares --- */

static void prepare_cares(struct store_req *base)
{
	struct store_get_cares *req = container_of(base, struct store_get_cares, req);

	req->ret_cares = xcalloc(req->count ? req->count : 1, sizeof(*req->ret_cares));
	for (size_t i = 0; i < req->count; i++)
		req->ret_cares[i].care = CARE_NONE;
}

STORE_VERB_RUN(get_cares)
STORE_VERB_FREES(get_cares)
STORE_VERB(get_cares, .lane = LANE_READ, OUTPUTS(get_cares, ret_cares), .prepare = prepare_cares,
	.fini = get_cares_release)

void store_get_cares_fini(struct store_get_cares *req)
{
	free(take_ptr(req->ret_cares));
}
