/* SPDX-License-Identifier: Apache-2.0
 *
 * The ledger row and the result of an attempt: their words, their keys, their end. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/text.h"
#include "model/model_priv.h"

const char *const run_reason_names[] = {
	[REASON_NONE] = "",
	[REASON_HANDED_BACK] = "handed_back",
	[REASON_OWNER_LOST] = "owner_lost",
	[REASON_RETRY] = "retry",
	[REASON_QUEUED] = "queued",
	[REASON_OVERLAP] = "overlap",
	[REASON_PAUSED] = "paused",
	[REASON_LATE] = "late",
	[REASON_BLACKOUT] = "blackout",
	[REASON_LIMIT] = "limit",
	[REASON_USER] = "user",
	[REASON_SHUTDOWN] = "shutdown",
	NULL,
};

const char *const run_trigger_names[] = {
	[TRIGGER_SCHEDULE] = "schedule",
	[TRIGGER_MANUAL] = "manual",
	[TRIGGER_EVENT] = "event",
	[TRIGGER_BACKFILL] = "backfill",
	[TRIGGER_RETRY] = "retry",
	[TRIGGER_START] = "start",
	NULL,
};

const char *const attempt_outcome_names[] = {
	[ATTEMPT_SUCCEEDED] = "succeeded",
	[ATTEMPT_FAILED] = "failed",
	[ATTEMPT_TIMED_OUT] = "timed_out",
	[ATTEMPT_CANCELLED] = "cancelled",
	[ATTEMPT_INTERRUPTED] = "interrupted",
	NULL,
};

void run_fini(struct run *run)
{
	free(take_ptr(run->action_name));
	free(take_ptr(run->error));
	free(take_ptr(run->event));
	free(take_ptr(run->payload));
	free(take_ptr(run->progress_message));
	free(take_ptr(run->checkpoint));
	action_unref(take_ptr(run->action));
}

_Static_assert(RUN_KEY_SIZE >= ID_TEXT_SIZE + RFC3339_TEXT_SIZE + 24, "id, '/' and time fit");

const char *run_idempotency_key(const struct run *run, char ret_text[static RUN_KEY_SIZE])
{
	char id[ID_TEXT_SIZE], due[RFC3339_TEXT_SIZE], backfill[32] = "";

	if (run->backfill > 0)
		(void)snprintf(backfill, sizeof(backfill), "/b%" PRId64, run->backfill);
	(void)snprintf(ret_text, RUN_KEY_SIZE, "%s/%s%s", id_format(&run->action_id, id),
		format_rfc3339(run->due_at_ms, due), backfill);
	return ret_text;
}

void attempt_result_fini(struct attempt_result *result)
{
	free(take_ptr(result->error));
	free(take_ptr(result->output));
	result->output_len = 0;
}
