/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by the files of this module.
 *
 *   http.c      the object: create, one turn of libmicrohttpd, close, drain, cut, destroy
 *   address.c   "host:port" and "unix:/path" to a listening socket
 *   listener.c  accepting, limits, closing without resetting anyone
 *   conn.c      a connection: its phase, its deadline, its end
 *   linger.c    sockets that only wait for their client to have read the answer
 *   request.c   libmicrohttpd's callbacks, what the gate lets through, the request's accessors
 *   answer.c    answers, problems, and the few that are written past libmicrohttpd
 *   stream.c    answers that go on
 *   gate.c target.c  pure rules
 *
 * Everything runs on the loop thread. libmicrohttpd is entered by http.c alone (MHD_run,
 * MHD_stop_daemon) from callbacks of the loop; all else happens inside its callbacks or only marks
 * a connection and lets the next turn act. */
#pragma once

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/buf.h"
#include "base/list.h"
#include "http/gate.h"
#include "http/http.h"

/* Beyond connections_max this many more are let in, for /health alone: a full server must still be
 * able to say that it lives. */
#define HTTP_RESERVE_CONNECTIONS 16

/* Half-closed sockets that wait for their client: how many, how long, how much is thrown away. */
#define HTTP_LINGER_MAX   256
#define HTTP_LINGER_MS    1000
#define HTTP_LINGER_BYTES (16 * 1024 * 1024)

/* While draining, a request head that has begun is given this long. */
#define HTTP_DRAIN_HEAD_MS 2000

/* Closing the listener: quiet for this long, at most that long (LIFECYCLE section 4). */
#define HTTP_QUIET_MS     20
#define HTTP_QUIET_MAX_MS 200

/* Out of descriptors or memory: pause accepting. */
#define HTTP_ACCEPT_PAUSE_MS 100

/* Accepted in one go before the loop gets its turn. */
#define HTTP_ACCEPT_BATCH 64

#define HTTP_PEER_SIZE       64
#define HTTP_ADDRESS_SIZE    128
#define HTTP_ADDRESS_BUCKETS 256
#define HTTP_ADDRESS_KEY     16

/* libmicrohttpd overlooks that a client has shut its half when that arrives together with the end
 * of its request; a connection without a further request is looked at once after this long. */
#define HTTP_HALF_CLOSED_MS 50

/* What a connection is busy with; each phase but BUSY has a time limit, the same for all
 * connections, so a list in order of entry is in order of deadline.
 *
 *   HEAD -> BODY -> BUSY -> SEND -> IDLE -> RESTING        any -> ENDED
 *    ^               |        ^       |        |
 *    |               +> STREAM+       |        |
 *    +--------------------------------+--------+
 *
 * HEAD begins with the connection or with a complete request line; BUSY is the handler's; a STREAM
 * is written to until its owner ends it, its deadline is the next sign of life; IDLE has
 * just been answered, RESTING is kept open for further requests; ENDED: nothing more is answered,
 * we wait for the client to close. */
enum phase {
	PHASE_HEAD,
	PHASE_BODY,
	PHASE_BUSY,
	PHASE_SEND,
	PHASE_STREAM,
	PHASE_IDLE,
	PHASE_RESTING,
	PHASE_ENDED,
	PHASE_COUNT
};

/* Who is at the other end. */
struct peer {
	struct sockaddr_storage addr;
	socklen_t addr_len;
	char text[HTTP_PEER_SIZE];
	uint8_t key[HTTP_ADDRESS_KEY]; /* IPv4 address, or the /64 an IPv6 client can roam in */
	bool is_limited;               /* false: unix socket */
};

struct conn {
	struct http *http;          /* borrowed */
	struct MHD_Connection *mhd; /* borrowed, valid as long as this struct */
	int fd;                     /* libmicrohttpd's */
	struct peer peer;
	bool is_reserve; /* let in beyond the limit */
	enum phase phase;
	int64_t deadline_mono_ms;
	uint64_t consumed_bytes; /* of the stream, by complete heads and bodies */
	uint64_t acked_bytes;    /* at the last look at a slow reader */
	bool is_suspended;
	bool is_cut;                  /* no lingering */
	struct http_request *request; /* the current one; NULL between requests */
	struct http_stream *stream;   /* its answer; NULL: none, or not one that goes on */
	struct list in_phase;         /* http->phases[phase] */
	struct list in_bucket;        /* http->buckets[] */
	struct list in_resumed;       /* http->resumed, for one turn */
};

struct http_request {
	struct conn *conn; /* NULL: the connection is gone, the answer will be dropped */
	const char
		*target_at; /* where the target stands in libmicrohttpd's buffer; compared only */
	char *target_raw;   /* owned */
	struct target target;
	char *head;                /* owned copy of the head; fields point into it */
	struct gate_field *fields; /* owned */
	size_t field_count;
	enum http_method method;
	const char *method_name; /* in head */
	char id[65];
	char peer[HTTP_PEER_SIZE];
	struct buf body;
	bool is_chunked;
	bool has_head;                 /* the gate has seen it */
	bool is_with_handler;          /* the handler has it and has not answered */
	bool is_in_handler;            /* and is still on the stack */
	struct MHD_Response *response; /* owned; answered while in the handler */
	int status;
};

enum listener_state {
	LISTENER_HELD,
	LISTENER_OPEN,
	LISTENER_PAUSED,
	LISTENER_CLOSING,
	LISTENER_CLOSED
};

struct listener {
	int fd;
	int reserve_fd; /* given up to accept and refuse when descriptors run out; -1: none */
	enum listener_state state;
	bool is_shared;
	uv_poll_t poll;
	uv_timer_t timer; /* PAUSED: resume; CLOSING: quiet */
	int64_t closing_until_mono_ms;
	bool is_unix;
	char *unix_path; /* owned; the file that is ours to remove; NULL: none */
	dev_t unix_device;
	ino_t unix_inode;
	http_done_fn *closed;
	void *closed_data;
};

struct http {
	uv_loop_t *loop;
	struct http_opts opts; /* opts.listen and opts.socket are not kept */
	http_handler_fn *handler;
	void *data;
	char address[HTTP_ADDRESS_SIZE];
	struct MHD_Daemon *daemon;
	uv_poll_t epoll;
	uv_idle_t turn; /* runs once more at the next turn of the loop */
	uv_timer_t timer;
	int64_t timer_mono_ms; /* what it is set to; INT64_MAX: not running */
	struct listener listener;
	const struct peer *arriving; /* while libmicrohttpd is told of a connection */
	bool arriving_is_reserve;
	struct list phases[PHASE_COUNT];
	struct list buckets[HTTP_ADDRESS_BUCKETS];
	struct list resumed;
	struct list lingers;
	size_t linger_count;
	size_t connection_count;
	size_t in_flight;
	struct list streams;
	size_t stream_count;
	int64_t closing_from_mono_ms, closing_spread_ms; /* of the streams, while draining */
	size_t closing_total, closing_left;
	int64_t last_request_mono_ms;
	bool is_closing;
	bool is_draining;
	int64_t idle_grace_ms;
	http_done_fn *drained;
	void *drained_data;
	bool is_destroying;
	size_t open_handles;
	http_done_fn *destroyed;
	void *destroyed_data;
};

/* --- http.c --- */

/* One more turn of libmicrohttpd and of the bookkeeping soon. */
void http_kick(struct http *http);
/* Brings the gauges up to date. */
void http_count(const struct http *http);
/* The timer fires no later than this. */
void http_arm(struct http *http, int64_t mono_ms);
/* Counts a handle opened on the loop; closes it with http_handle_closed as (last) callback. */
void http_handle_opened(struct http *http);
void http_handle_closed(struct http *http);

/* --- address.c --- */

/* A non-blocking listening socket; listener->fd, is_unix, unix_* and the address text are set.
 * address_adopt takes one that is there, with listener->is_shared set already. */
[[nodiscard]] int address_listen(const struct http_opts *opts, struct listener *listener,
	char ret_text[static HTTP_ADDRESS_SIZE], struct err *err);
[[nodiscard]] int address_adopt(int fd, struct listener *listener,
	char ret_text[static HTTP_ADDRESS_SIZE], struct err *err);
void address_of_peer(struct peer *peer);

/* --- listener.c --- */

[[nodiscard]] int listener_init(struct http *http, struct err *err);
void listener_start(struct http *http);
void listener_open(struct http *http);
void listener_begin_close(struct http *http);
void listener_fini(struct http *http);

/* --- conn.c --- */

/* `data` is the struct http. */
void conn_notify(void *data, struct MHD_Connection *mhd, void **socket_context,
	enum MHD_ConnectionNotificationCode code);
struct conn *conn_of(struct MHD_Connection *mhd);
size_t conn_count_at(const struct http *http, const struct peer *peer);
void conn_enter(struct conn *conn, enum phase phase);
/* Bytes of a further request have arrived behind those already taken. False when unknown. */
bool conn_has_more(const struct conn *conn);
/* Tells the client (a complete answer, or nothing when status is 0) and closes our half. */
void conn_end(struct conn *conn, int status, const char *why);
/* Drops the connection in the next turn; an unanswered request is let go. */
void conn_cut(struct conn *conn);
/* Acts on every deadline that has passed; returns the next one, INT64_MAX when there is none. */
int64_t conn_expire(struct http *http, int64_t now_mono_ms);
/* Shortens the deadlines of what is idle or incomplete. */
void conn_drain_all(struct http *http);

/* --- linger.c --- */

/* Takes over `fd`, whose sending half is shut: reads and forgets until the client closes. */
void linger_take(struct http *http, int fd);
int64_t linger_expire(struct http *http, int64_t now_mono_ms);
void linger_close_all(struct http *http);

/* --- request.c --- */

/* `data` is the struct http. */
void *request_on_target(void *data, const char *target, struct MHD_Connection *mhd);
enum MHD_Result request_on_data(void *data, struct MHD_Connection *mhd, const char *url,
	const char *method, const char *version, const char *body, size_t *size, void **context);
void request_on_completed(void *data, struct MHD_Connection *mhd, void **context,
	enum MHD_RequestTerminationCode code);
/* The connection goes; a request its handler still holds stays until its http_reply(). */
void request_detach(struct http_request *request);
void request_destroy(struct http_request *request);

/* --- answer.c --- */

/* Answers with a problem document and `Connection: close`; for libmicrohttpd's callbacks. */
enum MHD_Result answer_refuse(struct http_request *request, int status, const char *why);
/* A whole problem answer written to the socket itself, where libmicrohttpd has nothing to send. */
void answer_write(int fd, int status, const char *why);
/* Gives `response` (taken over; NULL only when the connection is gone) to a request that is with
 * its handler; is_last: Connection: close. */
void answer_give(
	struct http_request *request, int status, struct MHD_Response *response, bool is_last);
/* Hands request->response over to libmicrohttpd. */
enum MHD_Result answer_queue(struct http_request *request);

/* --- stream.c --- */

/* Its connection goes, or is cut: the owner is told. */
void stream_over(struct http_stream *stream);
void stream_detach(struct conn *conn);
/* The deadline of PHASE_STREAM. */
void stream_beat(struct conn *conn);
void streams_begin_close(struct http *http, int64_t spread_ms);
/* Closes those whose turn has come; returns when the next one's comes, INT64_MAX: none is left. */
int64_t streams_close_due(struct http *http, int64_t now_mono_ms);
