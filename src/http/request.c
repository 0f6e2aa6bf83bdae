/* SPDX-License-Identifier: Apache-2.0
 *
 * One request, from libmicrohttpd's callbacks to the handler.
 *
 *   request_on_target      the first line is complete: a request begins
 *   on_head                the head is complete: the gate decides, before any body is read
 *   on_body                a piece of the body
 *   on_complete            everything is here: the handler is called, and unless it has answered
 *                          by then the connection is suspended until http_reply()
 *   request_on_completed   the answer is with the kernel, or the connection is gone
 *
 * What a handler may look at is copied out of libmicrohttpd's memory, so that a request outlives
 * its connection if need be. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metric.h"
#include "http/http_priv.h"

static const struct {
	const char *name;
	enum http_method method;
} methods[] = {
	{"GET", HTTP_GET},
	{"HEAD", HTTP_HEAD},
	{"POST", HTTP_POST},
	{"PUT", HTTP_PUT},
	{"PATCH", HTTP_PATCH},
	{"DELETE", HTTP_DELETE},
	{"OPTIONS", HTTP_OPTIONS},
};

void *request_on_target(void *data, const char *target, struct MHD_Connection *mhd)
{
	struct http *http = data;
	struct conn *conn = conn_of(mhd);
	struct http_request *request = xcalloc(1, sizeof(*request));

	request->conn = conn;
	request->target_at = target;
	request->target_raw = xstrdup(target);
	(void)snprintf(request->peer, sizeof(request->peer), "%s", conn->peer.text);
	buf_init(&request->body, http->opts.body_max);
	conn->request = request;
	if (conn->phase == PHASE_IDLE || conn->phase == PHASE_RESTING)
		conn_enter(conn, PHASE_HEAD);
	http->in_flight++;
	http_count(http);
	return request;
}

/* What libmicrohttpd found in a head. */
struct collect {
	struct gate_head head;
	struct gate_field fields[GATE_FIELDS_MAX];
};

static enum MHD_Result collect_field(void *data, enum MHD_ValueKind kind, const char *name,
	size_t name_len, const char *value, size_t value_len)
{
	struct collect *collect = data;

	if (collect->head.field_count < GATE_FIELDS_MAX)
		collect->fields[collect->head.field_count] =
			(struct gate_field){name, name_len, value ? value : "", value_len};
	collect->head.field_count++;
	return MHD_YES;
}

static void choose_id(struct http_request *request, const struct collect *collect)
{
	struct id id;

	for (size_t i = 0; i < collect->head.field_count && i < GATE_FIELDS_MAX; i++) {
		const struct gate_field *field = &collect->fields[i];

		if (strcasecmp(field->name, "X-Request-ID") == 0 &&
			gate_is_request_id(field->value)) {
			(void)snprintf(request->id, sizeof(request->id), "%s", field->value);
			return;
		}
	}
	id = id_make();
	id_format(&id, request->id);
}

/* Trailing blanks are no part of a value (RFC 9110 section 5.5). */
static void trim(char *value, size_t len)
{
	while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t'))
		value[--len] = '\0';
}

/* Copies the head; its parts keep their places in it. */
static void keep_head(struct http_request *request, const struct collect *collect)
{
	const struct gate_head *head = &collect->head;

	request->head = xmemdup(head->method, head->bytes);
	request->fields = xcalloc(head->field_count ? head->field_count : 1, sizeof(*head->fields));
	request->field_count = head->field_count;
	for (size_t i = 0; i < head->field_count; i++) {
		struct gate_field field = collect->fields[i];
		char *value = request->head + (field.value - head->method);

		trim(value, field.value_len);
		field.name = request->head + (field.name - head->method);
		field.value = value;
		request->fields[i] = field;
	}
	request->method_name = request->head;
	request->method = HTTP_OTHER;
	for (size_t i = 0; i < COUNT_OF(methods); i++) {
		if (strcmp(request->method_name, methods[i].name) == 0)
			request->method = methods[i].method;
	}
}

static struct gate_verdict judge(struct http_request *request, const struct collect *collect)
{
	const struct http_opts *opts = &request->conn->http->opts;
	const struct gate_head *head = &collect->head;
	struct gate_limits limits = {.header_max = opts->header_max, .body_max = opts->body_max};
	struct gate_verdict verdict;

	if (head->field_count <= GATE_FIELDS_MAX &&
		!gate_is_seamless(head, request->target_at, strlen(request->target_raw)))
		return (struct gate_verdict){.status = 400,
			.why = "the request head holds a bare line feed, a folded line, a NUL or a "
			       "stray space"};
	verdict = gate_check(head, &limits);
	if (verdict.status != 0)
		return verdict;
	verdict.why = target_parse(request->target_raw, &request->target);
	if (verdict.why)
		verdict.status = 400;
	return verdict;
}

static bool is_health(const struct http_request *request)
{
	return strcmp(request->target.path, "/health") == 0 ||
	       strncmp(request->target.path, "/health/", 8) == 0;
}

static enum MHD_Result on_head(
	struct http_request *request, const char *method, const char *version)
{
	struct conn *conn = request->conn;
	struct collect collect = {
		.head = {.method = method, .target = request->target_raw, .version = version}};
	struct gate_verdict verdict;

	collect.head.fields = collect.fields;
	collect.head.bytes =
		MHD_get_connection_info(conn->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE)
			->header_size;
	MHD_get_connection_values_n(conn->mhd, MHD_HEADER_KIND, collect_field, &collect);
	conn->consumed_bytes += collect.head.bytes;
	request->has_head = true;
	verdict = judge(request, &collect);
	choose_id(request, &collect);
	if (verdict.status != 0)
		return answer_refuse(request, verdict.status, verdict.why);
	keep_head(request, &collect);
	request->is_chunked = verdict.is_chunked;
	if (conn->is_reserve && !is_health(request))
		return answer_refuse(request, 503, "too many connections");
	if (!verdict.is_head_only)
		conn_enter(conn, PHASE_BODY);
	return MHD_YES;
}

static enum MHD_Result on_body(struct http_request *request, const char *data, size_t *size)
{
	struct conn *conn = request->conn;

	if (*size > request->body.limit - request->body.len) {
		conn_end(conn, 413, "the body is larger than body_max");
		return MHD_NO;
	}
	buf_append(&request->body, data, *size);
	conn->consumed_bytes += *size;
	*size = 0;
	return MHD_YES;
}

static enum MHD_Result on_complete(struct http_request *request)
{
	struct conn *conn = request->conn;
	struct http *http = conn->http;

	if (!is_health(request))
		http->last_request_mono_ms = clock_mono_ms();
	conn_enter(conn, PHASE_BUSY);
	request->is_with_handler = true;
	request->is_in_handler = true;
	http->handler(request, http->data);
	request->is_in_handler = false;
	if (conn->phase == PHASE_ENDED) { /* cut by the handler itself */
		if (!request->conn && !request->is_with_handler)
			request_destroy(request);
		return MHD_NO;
	}
	if (request->response)
		return answer_queue(request);
	conn->is_suspended = true;
	MHD_suspend_connection(conn->mhd);
	return MHD_YES;
}

/* NOLINTNEXTLINE(readability-function-size): the signature is libmicrohttpd's */
enum MHD_Result request_on_data(void *data, struct MHD_Connection *mhd, const char *url,
	const char *method, const char *version, const char *body, size_t *size, void **context)
{
	struct http_request *request = *context;
	struct conn *conn = conn_of(mhd);

	/* Ended: whatever still comes is not looked at. */
	if (conn->phase == PHASE_ENDED || request->conn != conn)
		return MHD_NO;
	if (!request->has_head)
		return on_head(request, method, version);
	if (*size > 0)
		return on_body(request, body, size);
	return on_complete(request);
}

void request_detach(struct http_request *request)
{
	request->conn->request = NULL;
	request->conn = NULL;
}

void request_destroy(struct http_request *request)
{
	if (request->response)
		MHD_destroy_response(request->response);
	target_fini(&request->target);
	buf_fini(&request->body);
	free(request->target_raw);
	free(request->fields);
	free(request->head);
	free(request);
}

void request_on_completed(void *data, struct MHD_Connection *mhd, void **context,
	enum MHD_RequestTerminationCode code)
{
	struct http *http = data;
	struct conn *conn = conn_of(mhd);
	struct http_request *request = conn->request;

	/* A detached request is its handler's; *context may be gone by now. */
	*context = NULL;
	if (conn->stream)
		stream_detach(conn);
	else
		http->in_flight--;
	http_count(http);
	if (conn->phase != PHASE_ENDED)
		conn_enter(conn, PHASE_IDLE);
	if (!request)
		return;
	conn->request = NULL;
	request->conn = NULL;
	if (!request->is_with_handler)
		request_destroy(request);
}

enum http_method http_method(const struct http_request *request)
{
	return request->method;
}

const char *http_method_name(const struct http_request *request)
{
	return request->method_name;
}

const char *http_path_raw(const struct http_request *request)
{
	return request->target.path;
}

const char *http_query(const struct http_request *request, const char *name)
{
	for (size_t i = 0; i < request->target.query_count; i++) {
		if (strcmp(request->target.query[i].name, name) == 0)
			return request->target.query[i].value;
	}
	return NULL;
}

void http_query_each(const struct http_request *request,
	void (*each)(const char *name, const char *value, void *data), void *data)
{
	for (size_t i = 0; i < request->target.query_count; i++)
		each(request->target.query[i].name, request->target.query[i].value, data);
}

const char *http_header(const struct http_request *request, const char *name)
{
	for (size_t i = 0; i < request->field_count; i++) {
		if (strcasecmp(request->fields[i].name, name) == 0)
			return request->fields[i].value;
	}
	return NULL;
}

const char *http_body(const struct http_request *request, size_t *ret_len)
{
	*ret_len = request->body.len;
	return buf_text(&request->body);
}

const char *http_peer(const struct http_request *request)
{
	return request->peer;
}

const char *http_request_id(const struct http_request *request)
{
	return request->id;
}
