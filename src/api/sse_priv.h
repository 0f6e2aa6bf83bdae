/* SPDX-License-Identifier: Apache-2.0
 *
 * Server-sent events (the EventSource format of the HTML standard). */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "http/http.h"

#define SSE_TYPE      "text/event-stream"
#define SSE_HEARTBEAT ": still here\n\n"

/* How long a client that was told `closing` waits before it comes back, to whomever. */
#define SSE_RETRY_MS 1000

/* Writes one event; consumes `data`. `id` NULL: none, the client keeps the last one. False: there
 * is no room for it. */
bool sse_send(struct http_stream *stream, const char *event, const char *id, json_t *data);

/* The last event of a stream that ends before its subject does: come back, and go on from the last
 * id. Ends the stream. */
void sse_close(struct http_stream *stream, const char *reason);
