/* SPDX-License-Identifier: Apache-2.0
 *
 * Each event is one line of JSON, so that its text needs no splitting. */
#include "api/sse_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "model/model.h"

#define EVENT_EXTRA 256 /* bytes besides the data */

bool sse_send(struct http_stream *stream, const char *event, const char *id, json_t *data)
{
	auto_free char *text = json_dumps(data, JSON_WRITE_FLAGS);
	struct buf out;
	bool is_taken;

	must(text);
	json_decref(data);
	buf_init(&out, strlen(text) + EVENT_EXTRA);
	if (id)
		buf_printf(&out, "id: %s\n", id);
	buf_printf(&out, "event: %s\ndata: %s\n\n", event, text);
	must(!out.is_cut);
	is_taken = http_stream_write(stream, out.data, out.len);
	buf_fini(&out);
	return is_taken;
}

void sse_close(struct http_stream *stream, const char *reason)
{
	struct buf out;

	buf_init(&out, EVENT_EXTRA);
	buf_printf(&out, "retry: %d\nevent: closing\ndata: {\"reason\":\"%s\"}\n\n", SSE_RETRY_MS,
		reason);
	http_stream_end(stream, out.data, out.len);
	buf_fini(&out);
}
