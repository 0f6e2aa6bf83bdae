/* SPDX-License-Identifier: Apache-2.0
 *
 * The answers: headers that stand on every one of them, JSON, bytes, problems. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_priv.h"
#include "api/problem_priv.h"
#include "base/log.h"
#include "base/mem.h"

#define REAL_DIGITS 12 /* 0.2 is 0.2 again, not 0.20000000000000001 */

/* Header values of numbers live as long as the reply is being made. */
struct header_list {
	const char *items[2 * (API_HEADERS_MAX + 12) + 1];
	size_t count;
	char limit[16], remaining[16], reset[16], retry[16];
};

static void header_add(struct header_list *list, const char *name, const char *value)
{
	must(list->count + 2 < COUNT_OF(list->items));
	list->items[list->count++] = name;
	list->items[list->count++] = value;
}

static void header_add_number(
	struct header_list *list, const char *name, int value, char text[static 16])
{
	(void)snprintf(text, 16, "%d", value);
	header_add(list, name, text);
}

/* Every answer is a fresh fact about one instance for one client, and never a page to be shown with
 * scripts, in a frame, or guessed at. */
static void header_add_common(struct header_list *list, const struct api_call *call, int status)
{
	header_add(list, "X-Content-Type-Options", "nosniff");
	header_add(list, "Cache-Control", "no-store");
	header_add(list, "Referrer-Policy", "no-referrer");
	header_add(list, "X-Frame-Options", "DENY");
	header_add(list, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
	if (call->allow)
		header_add(list, "Allow", call->allow);
	if (call->limit.is_limited) {
		header_add_number(list, "X-RateLimit-Limit", call->limit.limit, list->limit);
		header_add_number(
			list, "X-RateLimit-Remaining", call->limit.remaining, list->remaining);
		header_add_number(list, "X-RateLimit-Reset", call->limit.reset_s, list->reset);
	}
	if (call->limit.is_refused)
		header_add_number(list, "Retry-After", call->limit.retry_s, list->retry);
	else if (status == 503)
		header_add(list, "Retry-After", "1");
}

void api_reply_bytes(struct api_call *call, int status, const char *content_type, const char *bytes,
	size_t len, const char *const *headers)
{
	struct header_list list = {.count = 0};
	struct http_answer answer = {
		.status = status, .content_type = content_type, .body = bytes, .body_len = len};

	header_add_common(&list, call, status);
	for (; headers && headers[0]; headers += 2)
		header_add(&list, headers[0], headers[1]);
	list.items[list.count] = NULL;
	answer.headers = list.items;
	log_debug("request", kv_str("id", http_request_id(call->request)),
		kv_str("method", http_method_name(call->request)),
		kv_str("path", http_path_raw(call->request)), kv_i64("status", status));
	http_reply(call->request, &answer);
	api_call_end(call);
}

void api_reply_text(struct api_call *call, int status, const char *content_type, const char *text)
{
	api_reply_bytes(call, status, content_type, text, strlen(text), NULL);
}

void api_reply_empty(struct api_call *call, int status, const char *const *headers)
{
	api_reply_bytes(call, status, NULL, "", 0, headers);
}

/* Consumes `json`. */
static void reply_as(struct api_call *call, int status, const char *type, json_t *json,
	const char *const *headers)
{
	char *text = json_dumps(json, JSON_REAL_PRECISION(REAL_DIGITS));

	must(text);
	json_decref(json);
	api_reply_bytes(call, status, type, text, strlen(text), headers);
	free(text);
}

void api_reply_json(struct api_call *call, int status, json_t *json, const char *const *headers)
{
	reply_as(call, status, "application/json", json, headers);
}

static void reply_problem(struct api_call *call, int code, json_t *json)
{
	reply_as(call, err_http_status(code), "application/problem+json", json, NULL);
}

static void reply_err(struct api_call *call, const struct err *err)
{
	reply_problem(call, err->code, problem_from_err(err, http_request_id(call->request)));
}

/* What went wrong within the server is for those who run it: it names files and disks. */
static void reply_trouble(struct api_call *call, const struct err *err)
{
	struct err told = {0};

	log_at(err->code == ERR_UNAVAILABLE ? LOG_WARN : LOG_ERROR, "request failed",
		kv_str("id", http_request_id(call->request)),
		kv_str("method", http_method_name(call->request)),
		kv_str("path", http_path_raw(call->request)), kv_str("code", err_name(err->code)),
		kv_str("error", err->text));
	(void)err_set(&told, err->code, "%s; the server's log tells why under this request_id",
		err_meaning(err->code));
	reply_err(call, &told);
}

void api_reply_err(struct api_call *call, const struct err *err)
{
	if (err_http_status(err->code) >= 500)
		reply_trouble(call, err);
	else
		reply_err(call, err);
}

void api_reply_problem(struct api_call *call, int code, const char *fmt, ...)
{
	struct err err = {.code = code};
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(err.text, sizeof(err.text), fmt, args);
	va_end(args);
	reply_err(call, &err);
}

void api_reply_faults(struct api_call *call, const struct faults *faults)
{
	reply_problem(
		call, ERR_INVALID, problem_from_faults(faults, http_request_id(call->request)));
}

bool api_reply_stream(
	struct api_call *call, const struct http_stream_opts *opts, struct http_stream **ret_stream)
{
	struct header_list list = {.count = 0};
	struct http_stream_opts full = *opts;
	struct err err = {0};

	header_add_common(&list, call, 200);
	header_add(&list, "X-Accel-Buffering", "no"); /* nginx would keep it back */
	list.items[list.count] = NULL;
	full.headers = list.items;
	if (http_stream_begin(call->request, &full, ret_stream, &err) < 0) {
		reply_err(call, &err);
		return false;
	}
	api_call_end(call);
	return true;
}
