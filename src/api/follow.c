/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /api/v1/runs/{run}/output?follow=1: the output so far, then what comes, until the run ends.
 *
 * What has been told is a place: the epoch of an attempt and how many bytes of its output. From any
 * source the rest is read from that place on, so a follower can change its source without a gap or
 * a repetition, and a client that comes back (Last-Event-ID) can do so at any instance:
 *
 *   the attempt runs here         the executor's memory, ten times a second
 *   it has ended                  what was kept of it in the store
 *   it runs on another instance   what that instance puts there while somebody asks (store/live.h)
 *
 * Bytes that the executor has forgotten before we came, or that a slow client did not read in time,
 * are replaced by the same mark as in the output that is kept. Nothing is read that the client has
 * no room for. Secrets were taken out before anything is kept anywhere.
 *
 * As events (Accept: text/event-stream) it says also what becomes of the run; `end` brings the
 * whole run, and nothing follows. As text it simply ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/follow_priv.h"
#include "api/sse_priv.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "store/live.h"

#define HERE_MS      100   /* between two looks at an attempt that runs here */
#define ELSEWHERE_MS 1000  /* and at the ledger */
#define SOON_MS      50    /* the client has to read first, or a result is being recorded */
#define PIECE_MAX    8192  /* bytes told at once ... */
#define PIECE_ROOM   65536 /* ... and what they may become in JSON */
#define PLACE_SIZE   64
#define NEXT_ATTEMPT "\n[... next attempt ...]\n"
#define CLEAN_FACTOR 3 /* U+FFFD is three bytes and may stand for each single one */

enum form {
	FORM_TEXT,
	FORM_BYTES,
	FORM_EVENTS
};

struct follower {
	struct api *api;
	struct http_stream *stream; /* NULL: it is over */
	enum form form;
	struct id run_id;
	int only; /* this attempt alone; 0: all */

	int64_t first_epoch; /* the first attempt to be told */

	/* the place */
	int64_t epoch; /* 0: none yet */
	int attempt;
	int64_t at;

	bool is_told;         /* of this attempt there is nothing more to come */
	bool is_past;         /* `only` is over already, under an epoch we do not know */
	enum run_state state; /* that was told; RUN_STATE_COUNT: none */
	int64_t state_epoch;

	uv_timer_t timer;
	int64_t ask_mono_ms;    /* the ledger is asked again then */
	int64_t wanted_mono_ms; /* another instance was asked for its output; 0: never */
	int64_t pause_ms;       /* the last one for a client that has to read first; 0: none */
	bool is_elsewhere;      /* `kept` is what that instance has put there */
	bool is_asking;         /* one of these is under way */
	struct store_get_run run;
	struct store_get_output kept;
};

static void on_timer(uv_timer_t *timer);

static void come_back(struct follower *follower, int64_t in_ms)
{
	must(uv_timer_start(&follower->timer, on_timer, (uint64_t)in_ms, 0) == 0);
}

/* The ledger is asked again after a while; sooner when the next attempt begins here. */
static void wait_for_more(struct follower *follower)
{
	follower->ask_mono_ms = clock_mono_ms() + ELSEWHERE_MS;
	come_back(follower, HERE_MS);
}

/* --- the end --- */

static void on_timer_closed(uv_handle_t *handle)
{
	struct follower *follower = container_of((uv_timer_t *)handle, struct follower, timer);
	struct api *api = follower->api;

	free(follower);
	api_let_go(api);
}

/* When the stream is over and the store owes nothing. */
static void free_if_over(struct follower *follower)
{
	if (!follower->stream && !follower->is_asking &&
		!uv_is_closing((uv_handle_t *)&follower->timer))
		uv_close((uv_handle_t *)&follower->timer, on_timer_closed);
}

static void on_gone(void *data)
{
	struct follower *follower = data;

	follower->stream = NULL;
	free_if_over(follower);
}

static void end(struct follower *follower)
{
	http_stream_end(take_ptr(follower->stream), "", 0);
	free_if_over(follower);
}

static void close_with(struct follower *follower, const char *reason, const char *words)
{
	struct http_stream *stream = take_ptr(follower->stream);

	if (follower->form == FORM_EVENTS)
		sse_close(stream, reason);
	else
		http_stream_end(stream, words, strlen(words));
	free_if_over(follower);
}

static void on_closing(void *data)
{
	close_with(data, "shutting_down",
		"\n[... this instance is stopping; ask again for the rest ...]\n");
}

/* --- telling --- */

static const char *write_place(const struct follower *follower, char ret_text[static PLACE_SIZE])
{
	(void)snprintf(ret_text, PLACE_SIZE, "%lld.%d.%lld", (long long)follower->epoch,
		follower->attempt, (long long)follower->at);
	return ret_text;
}

static json_t *clean_text(const char *bytes, size_t len)
{
	struct buf clean;
	json_t *text;

	buf_init(&clean, len * CLEAN_FACTOR + 1);
	utf8_clean(bytes, len, &clean);
	text = json_stringn(buf_text(&clean), clean.len);
	buf_fini(&clean);
	return text;
}

/* There is room for a piece, whatever becomes of it on its way. */
static bool has_room(const struct follower *follower)
{
	return http_stream_room(follower->stream) >= PIECE_ROOM;
}

static void tell_event(struct follower *follower, int64_t left_out, const char *bytes, size_t len)
{
	char place[PLACE_SIZE];
	json_t *data = json_pack("{s:i, s:I, s:o}", "attempt", follower->attempt, "from",
		(json_int_t)(follower->at - (int64_t)len), "text", clean_text(bytes, len));

	if (left_out > 0)
		json_object_set_new(data, "left_out", json_integer(left_out));
	must(sse_send(follower->stream, "output", write_place(follower, place), data));
}

static void tell_plain(struct follower *follower, int64_t left_out, const char *bytes, size_t len)
{
	char mark[EXEC_MARK_SIZE];
	struct buf out;

	buf_init(&out, PIECE_ROOM);
	if (left_out > 0)
		buf_printf(&out, "\n%s", exec_mark(left_out, mark));
	if (follower->form == FORM_TEXT)
		utf8_clean(bytes, len, &out);
	else
		buf_append(&out, bytes, len);
	must(http_stream_write(follower->stream, buf_text(&out), out.len));
	buf_fini(&out);
}

/* How many of these bytes are whole characters, or none of any. */
static size_t whole_prefix(const char *bytes, size_t len)
{
	for (size_t back = 1; back <= 3 && back <= len; back++) {
		unsigned char byte = (unsigned char)bytes[len - back];
		size_t wanted = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;

		if ((byte & 0xC0) == 0x80)
			continue;
		return wanted > back ? len - back : len;
	}
	return len;
}

/* Tells what was read from the place on, piece by piece. False: the client has to read first. The
 * beginning of a character waits for its end, if there may be one (has_more). */
static bool tell_output(struct follower *follower, const struct exec_output *output, bool has_more)
{
	const char *bytes = output->bytes;
	size_t left = output->len;
	int64_t left_out = output->from - follower->at;

	if (has_more && follower->form != FORM_BYTES)
		left = whole_prefix(bytes, left);
	while (left > 0) {
		size_t len = left < PIECE_MAX ? left : PIECE_MAX;

		if (len < left && follower->form != FORM_BYTES)
			len = whole_prefix(bytes, len);
		if (!has_room(follower))
			return false;
		follower->at += left_out + (int64_t)len;
		if (follower->form == FORM_EVENTS)
			tell_event(follower, left_out, bytes, len);
		else
			tell_plain(follower, left_out, bytes, len);
		left_out = 0;
		bytes += len;
		left -= len;
	}
	return true;
}

static bool tell_state(struct follower *follower, const struct run *run)
{
	char id[ID_TEXT_SIZE];
	json_t *data;

	if (follower->form != FORM_EVENTS || run_state_is_final(run->state) ||
		(run->state == follower->state && run->epoch == follower->state_epoch))
		return true;
	if (!has_room(follower))
		return false;
	follower->state = run->state;
	follower->state_epoch = run->epoch;
	data = json_pack("{s:s, s:i, s:s?}", "state", run_state_names[run->state], "attempt",
		run->attempt, "instance_id",
		id_is_zero(&run->instance_id) ? NULL : id_format(&run->instance_id, id));
	must(sse_send(follower->stream, "state", NULL, data));
	return true;
}

/* False: the client has to read first. */
static bool tell_end(struct follower *follower, const struct run *run)
{
	json_t *json;

	if (!has_room(follower))
		return false;
	if (follower->form == FORM_EVENTS) {
		json = run_to_json(run);
		(void)json_object_del(json, "payload"); /* it may be large */
		must(sse_send(follower->stream, "end", NULL, json));
	}
	end(follower);
	return true;
}

/* --- an attempt that runs here --- */

/* False: it does not. */
static bool follow_here(struct follower *follower)
{
	struct exec *exec = follower->api->exec;
	struct exec_output output;
	bool is_told = true;
	int64_t before;

	if (!exec || follower->epoch == 0 || follower->is_told)
		return false;
	do {
		before = follower->at;
		if (!exec_output_from(
			    exec, &follower->run_id, follower->epoch, before, PIECE_MAX, &output))
			return false;
		is_told = tell_output(follower, &output, true);
		free(output.bytes);
	} while (is_told && follower->at > before);
	come_back(follower, is_told ? HERE_MS : SOON_MS);
	return true;
}

/* --- what the store has --- */

static void go_on(struct follower *follower);

/* False: the client has to read first. */
static bool tell_kept(struct follower *follower)
{
	const struct store_get_output *kept = &follower->kept;
	const char *text = kept->ret_output ? kept->ret_output : "";
	struct exec_output output;

	follower->attempt = kept->ret_attempt;
	do {
		exec_kept_from(text, kept->ret_len, kept->ret_total, follower->at, &output);
		if (!tell_output(follower, &output, kept->ret_is_live))
			return false;
	} while (output.len > 0 && !kept->ret_is_live);
	return true;
}

/* A request has been answered, and what follows from that begun. */
static void asked(struct follower *follower)
{
	if (!follower->is_asking)
		store_get_run_fini(&follower->run);
	free_if_over(follower);
}

/* The client has to read first. Each look reads all that was kept: they become rare while nothing
 * can be told. */
static void let_it_read(struct follower *follower, bool has_moved)
{
	int64_t pause_ms = follower->pause_ms == 0 || has_moved ? SOON_MS : follower->pause_ms * 2;

	follower->pause_ms = pause_ms < ELSEWHERE_MS ? pause_ms : ELSEWHERE_MS;
	come_back(follower, follower->pause_ms);
}

static void on_kept(struct store_req *req)
{
	struct follower *follower = container_of(req, struct follower, kept.req);
	int code = req->err.code;
	int64_t before = follower->at;
	bool is_live;

	follower->is_asking = false;
	/* not found: it was handed back before it had begun, or nothing has been put there yet */
	if (follower->stream)
		follower->is_told = code == ERR_NOT_FOUND || (code == 0 && tell_kept(follower));
	is_live = follower->is_elsewhere && (code == ERR_NOT_FOUND || follower->kept.ret_is_live);
	store_get_output_fini(&follower->kept);
	if (!follower->stream)
		; /* nobody to tell */
	else if (!follower->is_told && code == 0)
		let_it_read(follower, follower->at > before);
	else if (!follower->is_told)
		come_back(follower, ELSEWHERE_MS);
	else if (is_live)
		wait_for_more(follower);
	else
		go_on(follower);
	follower->is_told &= !is_live;
	asked(follower);
}

static void ask_kept(struct follower *follower, bool is_elsewhere)
{
	follower->is_elsewhere = is_elsewhere;
	follower->kept = (struct store_get_output){.run_id = follower->run_id,
		.attempt = follower->is_past ? follower->only : 0,
		.epoch = follower->is_past ? 0 : follower->epoch};
	follower->is_asking = true;
	store_get_output(follower->api->store, &follower->kept, on_kept);
}

/* --- which attempt --- */

static void move_to(struct follower *follower, int64_t epoch, int attempt)
{
	if (follower->epoch > 0 && follower->form == FORM_TEXT)
		(void)http_stream_write(follower->stream, NEXT_ATTEMPT, strlen(NEXT_ATTEMPT));
	follower->epoch = epoch;
	follower->attempt = attempt;
	follower->at = 0;
	follower->is_told = false;
}

static bool choose_only(struct follower *follower, const struct run *run)
{
	if (run->attempt < follower->only)
		return false;
	follower->is_past = run->attempt > follower->only;
	if (follower->is_past && follower->epoch > 0)
		return false;
	move_to(follower, run->epoch, follower->only);
	return true;
}

/* Chooses the first attempt, or the next one. False: there is none yet. */
static bool choose(struct follower *follower, const struct run *run)
{
	if (run->epoch == follower->epoch)
		return false;
	if (follower->only > 0)
		return choose_only(follower, run);
	/* the number of one that is over already, of several, comes with its output */
	move_to(follower, follower->epoch > 0 ? follower->epoch + 1 : follower->first_epoch,
		run->attempt);
	return true;
}

static bool is_over(const struct follower *follower, const struct run *run)
{
	return follower->is_past || run->epoch > follower->epoch || run->state != RUN_RUNNING;
}

static bool has_end(const struct follower *follower, const struct run *run)
{
	return run_state_is_final(run->state) || follower->is_past;
}

static void follow_elsewhere(struct follower *follower)
{
	int64_t now = clock_mono_ms();

	if (follower->wanted_mono_ms == 0 || now - follower->wanted_mono_ms > STORE_WANT_MS) {
		follower->wanted_mono_ms = now;
		store_want_output(follower->api->store, &follower->run_id);
	}
	ask_kept(follower, true);
}

/* With the run as it has just been read. */
static void go_on(struct follower *follower)
{
	const struct run *run = &follower->run.ret_run;
	bool is_here = id_equal(&run->instance_id, &follower->api->opts.instance_id);

	if (!tell_state(follower, run)) {
		come_back(follower, SOON_MS);
		return;
	}
	if ((follower->epoch == 0 || follower->is_told) && !choose(follower, run)) {
		if (!has_end(follower, run))
			wait_for_more(follower);
		else if (!tell_end(follower, run))
			come_back(follower, SOON_MS);
		return;
	}
	if (!follower->api->store) /* taken away while it read the run: the stop closes us */
		come_back(follower, ELSEWHERE_MS);
	else if (is_over(follower, run))
		ask_kept(follower, false);
	else if (follow_here(follower))
		return;
	else if (is_here) /* its result is being recorded */
		come_back(follower, SOON_MS);
	else
		follow_elsewhere(follower);
}

static void on_run(struct store_req *req)
{
	struct follower *follower = container_of(req, struct follower, run.req);

	follower->is_asking = false;
	if (follower->stream && req->err.code == 0)
		go_on(follower);
	else if (follower->stream && req->err.code == ERR_NOT_FOUND)
		close_with(follower, "deleted", "\n[... the run was deleted ...]\n");
	else if (follower->stream)
		come_back(follower, ELSEWHERE_MS);
	/* go_on may have begun the next request, which does not need the run until it is answered
	 */
	if (!follower->is_asking)
		store_get_run_fini(&follower->run);
	free_if_over(follower);
}

/* Another attempt than the one that was told last. */
static bool has_begun_here(const struct follower *follower)
{
	const struct exec *exec = follower->api->exec;
	int64_t epoch = exec ? exec_epoch_of(exec, &follower->run_id) : 0;

	return epoch > follower->epoch;
}

static void on_timer(uv_timer_t *timer)
{
	struct follower *follower = container_of(timer, struct follower, timer);

	if (!follower->stream || follow_here(follower))
		return;
	if (clock_mono_ms() < follower->ask_mono_ms && !has_begun_here(follower)) {
		come_back(follower, HERE_MS);
		return;
	}
	if (!follower->api->store) {
		come_back(follower, ELSEWHERE_MS); /* the stop closes us */
		return;
	}
	follower->run.id = follower->run_id;
	follower->is_asking = true;
	store_get_run(follower->api->store, &follower->run, on_run);
}

/* --- the beginning --- */

static enum form choose_form(const struct api_call *call)
{
	if (api_accepts(call, SSE_TYPE))
		return FORM_EVENTS;
	return api_accepts(call, "application/octet-stream") ? FORM_BYTES : FORM_TEXT;
}

static const char *const form_types[] = {[FORM_TEXT] = "text/plain; charset=utf-8",
	[FORM_BYTES] = "application/octet-stream",
	[FORM_EVENTS] = SSE_TYPE};

/* Where a client that comes back was; what is no place of ours counts as none. */
static void read_place(struct follower *follower, const char *text)
{
	auto_free char *copy = xstrdup(text ? text : "");
	char *rest, *epoch = strtok_r(copy, ".", &rest), *attempt, *at;
	int64_t numbers[3];

	attempt = epoch ? strtok_r(NULL, ".", &rest) : NULL;
	at = attempt ? strtok_r(NULL, "", &rest) : NULL;
	if (!at || !parse_i64(epoch, 1, INT64_MAX, &numbers[0]) ||
		!parse_i64(attempt, 1, INT32_MAX, &numbers[1]) ||
		!parse_i64(at, 0, INT64_MAX, &numbers[2]))
		return;
	follower->epoch = numbers[0];
	follower->attempt = (int)numbers[1];
	follower->at = numbers[2];
}

void follow_begin(struct api_call *call, const struct run *run, int attempt)
{
	struct api *api = call->api;
	struct follower *follower = xcalloc(1, sizeof(*follower));
	struct http_stream_opts opts = {.closing = on_closing, .gone = on_gone, .data = follower};

	follower->api = api;
	follower->form = choose_form(call);
	follower->run_id = run->id;
	follower->only = attempt;
	follower->state = RUN_STATE_COUNT;
	read_place(follower, http_header(call->request, "Last-Event-ID"));
	follower->first_epoch = run->epoch > 0 ? run->epoch : 1;
	follower->is_past = attempt > 0 && attempt < run->attempt;
	if (follower->epoch > run->epoch || (attempt > 0 && attempt != follower->attempt))
		follower->epoch = follower->at = 0; /* of another run, or made up */
	opts.content_type = form_types[follower->form];
	opts.heartbeat = follower->form == FORM_EVENTS ? SSE_HEARTBEAT : NULL;
	if (!api_reply_stream(call, &opts, &follower->stream) || !follower->stream) {
		free(follower);
		return;
	}
	api_hold(api);
	must(uv_timer_init(api->opts.loop, &follower->timer) == 0);
	come_back(follower, 0);
}
