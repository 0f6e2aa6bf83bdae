/* SPDX-License-Identifier: Apache-2.0
 *
 * A socket that belongs to somebody else, watched by the loop. Lives on the heap, for libuv needs
 * the handle until its close callback while the socket's owner may be gone by then. */
#include <stdlib.h>

#include "pg_priv.h"

struct pg_watch {
	uv_poll_t poll;
	int fd;
	int events;
	pg_watch_fn *on_io;
	void *data;
};

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct pg_watch *watch = container_of(poll, struct pg_watch, poll);

	if (status < 0)
		watch->events =
			0; /* libuv has stopped it: on a reset, before what came first was read */
	watch->on_io(watch->data, status, events);
}

static void on_closed(uv_handle_t *handle)
{
	free(container_of((uv_poll_t *)handle, struct pg_watch, poll));
}

struct pg_watch *pg_watch_open(uv_loop_t *loop, int fd, pg_watch_fn *on_io, void *data)
{
	struct pg_watch *watch = xcalloc(1, sizeof(*watch));

	if (uv_poll_init(loop, &watch->poll, fd) != 0) {
		free(watch);
		return NULL;
	}
	watch->fd = fd;
	watch->on_io = on_io;
	watch->data = data;
	return watch;
}

int pg_watch_fd(const struct pg_watch *watch)
{
	return watch->fd;
}

/* Starting again what is started costs two system calls in libuv. */
bool pg_watch_set(struct pg_watch *watch, int events)
{
	if (watch->events == events)
		return true;
	watch->events = events;
	if (events == 0)
		return uv_poll_stop(&watch->poll) == 0;
	return uv_poll_start(&watch->poll, events, on_poll) == 0;
}

void pg_watch_close(struct pg_watch *watch)
{
	if (watch != NULL)
		uv_close((uv_handle_t *)&watch->poll, on_closed);
}
