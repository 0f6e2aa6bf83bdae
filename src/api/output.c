/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /api/v1/runs/{run}/output. Of the attempt that is running here, what it has written so far
 * comes from the executor; of those that ended, what was kept comes from the store. People get text
 * that any terminal or browser can take (UTF-8, ill-formed bytes replaced), programs that ask for
 * application/octet-stream the exact bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/follow_priv.h"
#include "base/text.h"
#include "store/live.h"

#define BINARY_TYPE  "application/octet-stream"
#define TEXT_TYPE    "text/plain; charset=utf-8"
#define ATTEMPT_MAX  1000000
#define CLEAN_FACTOR 3 /* U+FFFD is three bytes and may stand for each single one */

struct output {
	struct api_call *call;
	int attempt; /* 0: the current or last one */
	bool is_followed;
	struct store_get_run run;
	struct store_get_output get;
	bool has_run, has_output;
};

static void output_fini(void *state)
{
	struct output *output = state;

	if (output->has_run)
		store_get_run_fini(&output->run);
	if (output->has_output)
		store_get_output_fini(&output->get);
}

/* `total`: bytes the attempt produced; more than `len` when only the tail was kept. */
static void reply_output(struct api_call *call, const char *bytes, size_t len, int64_t total)
{
	char text[24];
	const char *const headers[] = {"X-Gathering-Output-Total", text, NULL};
	struct buf clean;

	(void)snprintf(text, sizeof(text), "%lld", (long long)total);
	if (api_accepts(call, BINARY_TYPE)) {
		api_reply_bytes(call, 200, BINARY_TYPE, bytes, len, headers);
		return;
	}
	buf_init(&clean, len * CLEAN_FACTOR + 1);
	utf8_clean(bytes, len, &clean);
	api_reply_bytes(call, 200, TEXT_TYPE, buf_text(&clean), clean.len, headers);
	buf_fini(&clean);
}

static void on_output(struct store_req *req)
{
	struct output *output = container_of(req, struct output, get.req);
	const struct run *run = &output->run.ret_run;

	if (req->err.code == 0)
		reply_output(output->call, output->get.ret_output ? output->get.ret_output : "",
			output->get.ret_len, output->get.ret_total);
	else if (req->err.code == ERR_NOT_FOUND && output->attempt > 0)
		api_reply_problem(output->call, ERR_NOT_FOUND,
			"no output of attempt %d; the run is %s, and its newest attempt is %d",
			output->attempt, run_state_names[run->state], run->attempt);
	else if (req->err.code == ERR_NOT_FOUND)
		api_reply_problem(output->call, ERR_NOT_FOUND, "no output: the run is %s",
			run_state_names[run->state]);
	else
		api_reply_err(output->call, &req->err);
}

/* False: that attempt does not run here, or not any more. */
static bool reply_so_far(struct output *output)
{
	const struct run *run = &output->run.ret_run;
	struct exec *exec = output->call->api->exec;
	size_t len;
	char *bytes;

	if (run->state != RUN_RUNNING || !exec ||
		(output->attempt != 0 && output->attempt != run->attempt))
		return false;
	bytes = exec_output_so_far(exec, &run->id, &len);
	if (!bytes)
		return false;
	reply_output(output->call, bytes, len, (int64_t)len);
	free(bytes);
	return true;
}

static void on_run(struct store_req *req)
{
	struct output *output = container_of(req, struct output, run.req);
	struct store *store = output->call->api->store;

	if (req->err.code != 0) {
		api_reply_err(output->call, &req->err);
		return;
	}
	if (output->is_followed) {
		follow_begin(output->call, &output->run.ret_run, output->attempt);
		return;
	}
	if (reply_so_far(output))
		return;
	if (!store) {
		api_reply_problem(output->call, ERR_UNAVAILABLE, "the service is stopping");
		return;
	}
	output->get.run_id = output->run.id;
	output->get.attempt = output->attempt;
	output->has_output = true;
	store_get_output(store, &output->get, on_output);
}

void runs_output(struct api_call *call)
{
	struct output *output = api_call_state(call, sizeof(*output), output_fini);
	const char *attempt = http_query(call->request, "attempt");
	int64_t number = 0;

	output->call = call;
	if (!api_query_bool(call, "follow", &output->is_followed))
		return;
	if (attempt && !parse_i64(attempt, 1, ATTEMPT_MAX, &number)) {
		api_reply_problem(call, ERR_BAD_REQUEST,
			"query parameter 'attempt': '%.32s' is not a number from 1 on", attempt);
		return;
	}
	if (!id_parse(call->param, &output->run.id)) {
		api_reply_problem(
			call, ERR_NOT_FOUND, "no run '%.64s'; runs have ids only", call->param);
		return;
	}
	output->attempt = (int)number;
	output->has_run = true;
	store_get_run(call->api->store, &output->run, on_run);
}
