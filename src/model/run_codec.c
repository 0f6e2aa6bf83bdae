/* SPDX-License-Identifier: Apache-2.0
 *
 * A run as JSON, for the API. Written only: nobody sends runs. */
#include "model/model_priv.h"

/* Never negative: the wall clock behind both may have been set back in between. */
static json_t *json_span(int64_t from_ms, int64_t to_ms)
{
	if (from_ms == NO_TIME || to_ms == NO_TIME)
		return json_null();
	return json_integer(to_ms > from_ms ? to_ms - from_ms : 0);
}

static void put_times(json_t *json, const struct run *run)
{
	if (run->not_before_ms != NO_TIME)
		json_put(json, "not_before_at", json_time(run->not_before_ms));
	json_put(json, "claimed_at", json_time(run->claimed_at_ms));
	json_put(json, "started_at", json_time(run->started_at_ms));
	json_put(json, "finished_at", json_time(run->finished_at_ms));
	json_put(json, "start_lag_ms", json_span(run->due_at_ms, run->started_at_ms));
	json_put(json, "duration_ms", json_span(run->started_at_ms, run->finished_at_ms));
}

static json_t *json_progress(const struct run *run)
{
	json_t *json;

	if (!run->has_progress)
		return json_null();
	json = json_new_object();
	json_put(json, "percent",
		run->progress_percent < 0 ? json_null() : json_integer(run->progress_percent));
	json_put(json, "message",
		json_text(run->progress_message != NULL ? run->progress_message : ""));
	return json;
}

static void put_result(json_t *json, const struct run *run)
{
	json_put(json, "http_status",
		run->http_status == 0 ? json_null() : json_integer(run->http_status));
	json_put(json, "exit_code",
		run->exit_code == -1 ? json_null() : json_integer(run->exit_code));
	json_put(json, "error", json_text(run->error));
	json_put(json, "progress", json_progress(run));
	json_put(json, "output_bytes", json_integer(run->output_bytes));
}

/* As it was sent; text that somebody else has put there is shown as text. */
static json_t *json_payload(const char *payload)
{
	json_t *json = json_loads(payload, JSON_DECODE_ANY, NULL);

	return json != NULL ? json : json_text(payload);
}

static void put_remarks(json_t *json, const struct run *run)
{
	if (run->missed_count > 1) {
		json_put(json, "missed_count", json_integer(run->missed_count));
		json_put(json, "missed_until", json_time(run->missed_until_ms));
	}
	if (run->backfill > 0)
		json_put(json, "backfill", json_integer(run->backfill));
	if (!id_is_zero(&run->retry_of))
		json_put(json, "retry_of", json_id(&run->retry_of));
	if (run_is_pausing(run))
		json_put(json, "pause_requested", json_true());
	if (run->checkpoint_bytes > 0)
		json_put(json, "checkpoint_bytes", json_integer(run->checkpoint_bytes));
	if (run->cancel_requested)
		json_put(json, "cancel_requested", json_true());
	if (run->traceparent[0] != '\0')
		json_put(json, "traceparent", json_text(run->traceparent));
	if (run->event != NULL)
		json_put(json, "event", json_text(run->event));
	if (run->payload != NULL)
		json_put(json, "payload", json_payload(run->payload));
}

json_t *run_to_json(const struct run *run)
{
	json_t *json = json_new_object();

	json_put(json, "id", json_id(&run->id));
	json_put(json, "action_id", json_id(&run->action_id));
	json_put(json, "action", json_text(run->action_name));
	json_put(json, "trigger", json_text(run_trigger_names[run->trigger]));
	json_put(json, "due_at", json_time(run->due_at_ms));
	json_put(json, "state", json_text(run_state_names[run->state]));
	json_put(json, "reason",
		run->reason == REASON_NONE ? json_null()
					   : json_text(run_reason_names[run->reason]));
	json_put(json, "attempt", json_integer(run->attempt));
	json_put(json, "interruptions", json_integer(run->interruptions));
	json_put(json, "epoch", json_integer(run->epoch));
	json_put(json, "instance_id", json_id(&run->instance_id));
	json_put(json, "priority", json_integer(run->priority));
	put_times(json, run);
	put_result(json, run);
	put_remarks(json, run);
	return json;
}
