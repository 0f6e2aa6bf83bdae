/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers. Three ways out:
 *
 *   http_reply()     the handler's answer, now or after a while on a suspended connection
 *   answer_refuse()  the gate's, in place of the handler's; closes the connection
 *   answer_write()   straight to the socket, where libmicrohttpd cannot be made to answer: before
 * it has the connection, while a head or a body is overdue, in the middle of a body
 *
 * `Connection: close` is added when the server is closing, unless the kernel has delivered more of
 * the stream than the requests so far: then a pipelined request waits, and libmicrohttpd would
 * throw it away. It is also added after every chunked request, because libmicrohttpd reads chunk
 * framing and trailers generously: whatever somebody hid there is never read as a second request.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/metric.h"
#include "base/prove.h"
#include "http/http_priv.h"

/* A refusal is a few hundred bytes. */
#define PROBLEM_MAX 2048

/* Any value but the daemon's own (none); see http_reply(). */
#define RESUMED_TIMEOUT_S 3600u

static int problem_code(int status)
{
	switch (status) {
	case 408:
		return ERR_TIMEOUT;
	case 413:
	case 414:
	case 431:
		return ERR_TOO_LARGE;
	case 503:
		return ERR_UNAVAILABLE;
	default:
		return ERR_BAD_REQUEST;
	}
}

/* RFC 9457. `why` and the meanings are our own texts, and an id has no character to escape. */
static void problem_write(struct buf *out, int status, const char *why, const char *id)
{
	int code = problem_code(status);

	buf_printf(out,
		"{\"type\":\"urn:gathering:problem:%s\",\"title\":\"%s\",\"status\":%d,"
		"\"detail\":\"%s\",\"code\":\"%s\",\"request_id\":\"%s\"}\n",
		err_name(code), err_meaning(code), status, why, err_name(code), id);
}

void answer_write(int fd, int status, const char *why)
{
	struct id id = id_make();
	char id_text[ID_TEXT_SIZE];
	struct buf body, answer;

	buf_init(&body, PROBLEM_MAX);
	buf_init(&answer, PROBLEM_MAX * 2);
	problem_write(&body, status, why, id_format(&id, id_text));
	buf_printf(&answer,
		"HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: "
		"%zu\r\n"
		"X-Request-ID: %s\r\n%sConnection: close\r\n\r\n",
		status, MHD_get_reason_phrase_for((unsigned)status), body.len, id_text,
		status == 503 ? "Retry-After: 1\r\n" : "");
	buf_append(&answer, body.data, body.len);
	/* What does not fit into an empty send buffer has no reader. */
	(void)!send(fd, answer.data, answer.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	buf_fini(&body);
	buf_fini(&answer);
}

static struct MHD_Response *make_response(const char *body, size_t len, const char *type)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(len, len ? xmemdup(body, len) : (void *)"",
			len ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);

	must(response);
	if (type)
		(void)MHD_add_response_header(response, "Content-Type", type);
	return response;
}

static void add_common_headers(struct http_request *request, bool is_last)
{
	(void)MHD_add_response_header(request->response, "X-Request-ID", request->id);
	if (is_last)
		(void)MHD_add_response_header(request->response, "Connection", "close");
}

enum MHD_Result answer_queue(struct http_request *request)
{
	struct MHD_Response *response = take_ptr(request->response);
	enum MHD_Result result;

	conn_enter(request->conn, request->conn->stream ? PHASE_STREAM : PHASE_SEND);
	result = MHD_queue_response(request->conn->mhd, (unsigned)request->status, response);
	MHD_destroy_response(response);
	return result;
}

enum MHD_Result answer_refuse(struct http_request *request, int status, const char *why)
{
	struct buf body;

	metrics.http_refused++;
	buf_init(&body, PROBLEM_MAX);
	problem_write(&body, status, why, request->id);
	request->status = status;
	request->response = make_response(body.data, body.len, "application/problem+json");
	buf_fini(&body);
	add_common_headers(request, true);
	if (status == 503)
		(void)MHD_add_response_header(request->response, "Retry-After", "1");
	return answer_queue(request);
}

static bool is_last_answer(const struct http_request *request)
{
	const struct conn *conn = request->conn;

	return request->is_chunked || conn->is_reserve ||
	       (conn->http->is_closing && (!conn_has_more(conn) || RULE_IS_OFF(CLOSE_ON_LAST)));
}

/* libmicrohttpd reads from a resumed connection before it looks whether an answer is ready, and a
 * client that has shut its sending half is dropped unanswered. It looks first at connections with a
 * timeout of their own: so each has one for the turn in which it is resumed. */
static void resume(struct conn *conn)
{
	if (!RULE_IS_OFF(HALF_CLOSED_ANSWERED))
		(void)MHD_set_connection_option(
			conn->mhd, MHD_CONNECTION_OPTION_TIMEOUT, RESUMED_TIMEOUT_S);
	list_push(&conn->http->resumed, &conn->in_resumed);
	conn->is_suspended = false;
	MHD_resume_connection(conn->mhd);
	http_kick(conn->http);
}

void answer_give(
	struct http_request *request, int status, struct MHD_Response *response, bool is_last)
{
	must(request->is_with_handler);
	request->is_with_handler = false;
	metrics.http_requests++;
	if (!request->conn) {
		if (!request->is_in_handler)
			request_destroy(request);
		return;
	}
	request->status = status;
	request->response = response;
	add_common_headers(request, is_last);
	if (request->is_in_handler)
		return;
	if (answer_queue(request) == MHD_YES)
		resume(request->conn);
	else
		conn_cut(request->conn);
}

void http_reply(struct http_request *request, const struct http_answer *answer)
{
	struct MHD_Response *response = NULL;

	if (request->conn)
		response = make_response(answer->body, answer->body_len, answer->content_type);
	for (const char *const *h = answer->headers; response && h && h[0]; h += 2)
		(void)MHD_add_response_header(response, h[0], h[1]);
	answer_give(request, answer->status, response, request->conn && is_last_answer(request));
}
