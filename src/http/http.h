/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP/1.1 server on the loop: libmicrohttpd behind its epoll descriptor, on our own listening
 * socket, behind a strict gate (gate.c) that answers malformed or ambiguous requests with 400, 501
 * or 505 and `Connection: close` before any handler sees them (RFC 9112). Nothing else includes
 * microhttpd.h. How it is done, and what it does not catch: doc/design/http.md.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/err.h"
#include "base/id.h"

struct http;
struct http_request;

/* A listening socket that somebody else has opened. */
struct http_socket {
	int fd;         /* taken over, also when it is refused */
	bool is_shared; /* others listen on it too, or will: see http_share_listener() */
};

/* Every number must be above 0. */
struct http_opts {
	uv_loop_t *loop;
	const char *listen; /* "127.0.0.1:8080", "[::1]:0" (0: any free port), "unix:/path" */
	const struct http_socket *socket; /* NULL: open `listen`; else this one, and `listen` is not
					     looked at */
	bool is_held;                     /* nobody is accepted before http_open_doors() */
	bool is_private; /* a second server of the process: it is kept out of the metrics, and its
			    unix socket is for the owner alone (0600) */
	int backlog;
	int connections_max; /* beyond it 16 more, which are served /health alone; then 503 */
	int connections_per_address; /* IPv6: per /64; not for unix sockets; beyond it 503 */
	size_t header_max;           /* bytes of request line and headers together: 431, 414 */
	size_t body_max;             /* 413 */
	int64_t header_timeout_ms;   /* from connect or first line to the end of the head: 408, or
					close when nothing came */
	int64_t body_timeout_ms;     /* from the end of the head to the end of the body: 408; and a
					client that reads nothing of its answer for so long is cut */
	int64_t idle_timeout_ms;     /* keep-alive */
	int streams_max;             /* open at a time (http_stream_begin); 0: none */
	int streams_per_address;
	size_t stream_buffer;        /* bytes of one stream that its client has not read yet */
	int64_t stream_heartbeat_ms; /* between two signs of life of a stream */
};

/* Called on the loop once the whole request has arrived (head and body, both within limits). Must
 * lead to exactly one http_reply(), now or later. `request` is valid until then, even when the
 * client has left or http_cut() or http_destroy() came first; the answer is then dropped. */
typedef void http_handler_fn(struct http_request *request, void *data);

/* Binds and listens; ERR_CONFLICT: address in use, ERR_INVALID: not an address, or the socket given
 * does not listen; ERR_FORBIDDEN: privileged port. Serving begins with the next turn of the loop.
 */
int http_create(const struct http_opts *opts, http_handler_fn *handler, void *data,
	struct http **ret_http, struct err *err);

/* "127.0.0.1:43211": the address really bound. Borrowed. */
const char *http_address(const struct http *http);

/* Begins to accept, when is_held was set; the clients that have queued meanwhile come first. */
void http_open_doors(struct http *http);

/* The listening socket, to be given to a successor; -1 once it is closed. Borrowed. */
int http_listener_fd(const struct http *http);

/* Whether the socket lives on elsewhere: then closing the listener only lets go of it. Whoever
 * waits in its queue is the others' client, and a unix path stays. */
void http_share_listener(struct http *http, bool is_shared);

/* What can change while it runs, as in http_opts; for what begins from now on. */
struct http_limits {
	int connections_per_address;
	size_t body_max;
	int64_t header_timeout_ms, body_timeout_ms, idle_timeout_ms;
};
void http_set_limits(struct http *http, const struct http_limits *limits);

/* From now on every answer carries `Connection: close` (on) or not (off). On TCP an answer behind
 * which a further pipelined request has already arrived does not: the last one does. */
void http_set_closing(struct http *http, bool is_closing);

/* Monotonic time of the last request that was not for /health or below; NO_TIME before the first.
 */
int64_t http_last_request_mono_ms(const struct http *http);

/* Stops accepting, once: everything already in the accept queue is accepted and served, then the
 * listening socket is closed, then `closed` runs; 20 to 200 ms. A unix path is removed first. A
 * shared socket is let go of at once. */
typedef void http_done_fn(void *data);
void http_close_listener(struct http *http, http_done_fn *closed, void *data);

/* After the listener is closed: `drained` runs, never before this returns, when no request is in
 * flight and no connection open; idle ones are closed after idle_grace_ms, a head that has begun
 * gets 2 s; streams are closed one by one within close_spread_ms, and none begins. http_cut ends
 * what is left with the next turn of the loop (`drained` then runs); returns how many requests it
 * cut and logs nothing. It may be called at any time, also by a handler. */
void http_drain(struct http *http, int64_t idle_grace_ms, int64_t close_spread_ms,
	http_done_fn *drained, void *data);
size_t http_cut(struct http *http);

/* Without streams, for whose end nobody waits. */
size_t http_in_flight(const struct http *http);

/* Calls back, before it returns, for each request in flight whose head has arrived: id, method and
 * path can be asked. For the log, before http_cut(). */
typedef void http_each_fn(const struct http_request *request, void *data);
void http_each_in_flight(const struct http *http, http_each_fn *each, void *data);

size_t http_connections(const struct http *http);

/* Releases everything (open connections are closed); `destroyed` runs when the handles are gone. */
void http_destroy(struct http *http, http_done_fn *destroyed, void *data);

/* --- a request; all borrowed, valid until the reply --- */

enum http_method {
	HTTP_GET,
	HTTP_HEAD,
	HTTP_POST,
	HTTP_PUT,
	HTTP_PATCH,
	HTTP_DELETE,
	HTTP_OPTIONS,
	HTTP_OTHER
};
enum http_method http_method(const struct http_request *request);
const char *http_method_name(const struct http_request *request);

/* Percent-decoded path ("/api/v1/actions/a b"), without query; never contains NUL. Raw form: still
 * encoded, so that a router can split at '/' before decoding. */
const char *http_path_raw(const struct http_request *request);

/* One query parameter, decoded (UTF-8 checked by the gate); NULL when absent; "" when without
 * value. http_query_each calls back for all, in order, so that unknown ones can be refused. */
const char *http_query(const struct http_request *request, const char *name);
void http_query_each(const struct http_request *request,
	void (*each)(const char *name, const char *value, void *data), void *data);

/* A header by name, any case; NULL when absent. */
const char *http_header(const struct http_request *request, const char *name);

/* The body; NUL-terminated behind `len` for convenience. Never NULL. */
const char *http_body(const struct http_request *request, size_t *ret_len);

/* The peer address without port ("127.0.0.1", "::1", "unix"). */
const char *http_peer(const struct http_request *request);

/* X-Request-ID: the client's when it is 1 to 64 of [A-Za-z0-9._-], else a fresh UUIDv7. It is sent
 * back with every answer. */
const char *http_request_id(const struct http_request *request);

/* Decodes %xx in place; false on a bad escape, NUL or ill-formed UTF-8. */
bool http_percent_decode(char *text);

/* --- the answer --- */

struct http_answer {
	int status;
	const char *content_type; /* NULL: no body type header */
	const char *body;         /* copied; HEAD sends the length only */
	size_t body_len;
	const char *const *headers; /* name, value, name, value, ..., NULL; copied */
};

/* Answers. Exactly once a request; the request is gone afterwards. Loop thread. When the client
 * left meanwhile, the answer is dropped. */
void http_reply(struct http_request *request, const struct http_answer *answer);

/* --- an answer that goes on: a stream --- */

/* Written bit by bit, by anybody on the loop thread, until somebody ends it. In chunks; to HTTP/1.0
 * until the connection closes, which it does in any case. It is not in flight. */
struct http_stream;

struct http_stream_opts {
	const char *content_type;
	const char *const *headers; /* as in http_answer */
	const char *heartbeat;      /* written when nothing was for stream_heartbeat_ms, so that a
				       client that has vanished is noticed; NULL: nothing. Static */
	/* The server drains: the stream's turn has come. Must end it. */
	void (*closing)(void *data);
	/* The client has left, reads nothing, or was cut; also from within http_cut and
	 * http_destroy. The stream is gone. Not after http_stream_end. */
	void (*gone)(void *data);
	void *data;
};

/* Answers 200, in place of http_reply, with a stream; NULL when there is nobody to write to (a HEAD
 * request, a client that has left). ERR_UNAVAILABLE, ERR_RATE: streams too many, draining, or no
 * room in the kernel to watch one; the request then still waits for its answer. */
int http_stream_begin(struct http_request *request, const struct http_stream_opts *opts,
	struct http_stream **ret_stream, struct err *err);

/* False: the client reads too slowly, there is no room for these bytes (stream_buffer), and nothing
 * of them was taken. Room for how many there is. */
bool http_stream_write(struct http_stream *stream, const char *bytes, size_t len);
size_t http_stream_room(const struct http_stream *stream);

/* Ends it with a last word, for which there is always room. The stream is not the caller's any
 * more. */
#define HTTP_STREAM_LAST_MAX 4096
void http_stream_end(struct http_stream *stream, const char *last, size_t len);

size_t http_streams(const struct http *http);
