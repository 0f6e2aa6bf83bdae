/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocking HTTP client of the command line: one server, JSON or bytes, every wait bounded. Private
 * to cli/; the only file of it that knows libcurl is client.c. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define CLIENT_CONNECT_MS  5000
#define CLIENT_TOTAL_MS    60000
#define CLIENT_SILENT_S    120 /* a stream without a byte for so long is dead: servers beat */
#define CLIENT_BODY_MAX    (64u << 20)
#define CLIENT_RETRIES_MAX 5  /* answers 429 that are waited out */
#define CLIENT_RETRY_MAX_S 70 /* one such wait; the limits count by the minute */

struct client;

struct call {
	const char *method;
	const char *path; /* "/api/v1/actions?limit=10", encoded */
	const char *body; /* JSON text; NULL: none */
	size_t body_len;
	const char *if_match; /* NULL: none */
	const char *accept;   /* NULL: application/json */
	const char *last_id;  /* of a stream that was left: Last-Event-ID; NULL: none */
};

struct answer {
	long status;
	char *body; /* owned, NUL-terminated; never NULL after success */
	size_t len;
	int64_t retry_after_s; /* -1: the server did not say */
};

/* `server`: "http://host:port", "https://...", "host:port" or "unix:PATH"; "/" at the end is fine.
 * ERR_INVALID: not such a thing. */
int client_create(const char *server, struct client **ret_client, struct err *err);
void client_destroy(struct client *client); /* NULL is fine */

/* The address as given, for messages. Borrowed. */
const char *client_server(const struct client *client);

/* One exchange; any HTTP status is a success here. An answer 429 is waited out as Retry-After says,
 * at most CLIENT_RETRIES_MAX times, unless it says queue_full. ERR_UNAVAILABLE: no connection (the
 * text says what to check); ERR_TIMEOUT; ERR_TOO_LARGE: the answer; ERR_IO: broken off. */
int client_call(
	struct client *client, const struct call *call, struct answer *ret_answer, struct err *err);
/* The same for an answer that goes on: the bytes of a good one (2xx) go to `on_bytes` as they come,
 * without limit in time or size; ret_answer then has no body. ERR_TIMEOUT, ERR_IO: it broke off. */
typedef void client_bytes_fn(const char *bytes, size_t len, void *data);
int client_stream(struct client *client, const struct call *call, client_bytes_fn *on_bytes,
	void *data, struct answer *ret_answer, struct err *err);
void answer_fini(struct answer *answer);

/* Percent-encodes one path segment or query value. Owned by the caller. */
char *client_encode(const char *text);
