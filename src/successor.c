/* SPDX-License-Identifier: Apache-2.0 */
#include "successor.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

static void tell(const struct successor *successor, char word)
{
	if (successor->fd >= 0)
		(void)send(successor->fd, &word, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void successor_close(struct successor *successor)
{
	if (successor->fd < 0)
		return;
	(void)uv_poll_stop(&successor->poll);
	(void)close(successor->fd);
	successor->fd = -1;
	uv_close((uv_handle_t *)&successor->poll, NULL);
}

static void on_word(uv_poll_t *poll, int status, int events)
{
	struct successor *successor = poll->data;
	char word = 0;
	ssize_t got = recv(successor->fd, &word, 1, MSG_DONTWAIT);

	(void)status;
	(void)events;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0)
		successor_close(successor);
	if (successor->may_go && (got <= 0 || word == PREDECESSOR_GO))
		take_ptr(successor->may_go)(successor->data);
	if (got <= 0)
		successor->gone(successor->data);
}

void successor_init(
	struct successor *successor, uv_loop_t *loop, int fd, successor_fn *gone, void *data)
{
	*successor = (struct successor){.fd = fd, .gone = gone, .data = data};
	if (fd < 0)
		return;
	must(uv_poll_init_socket(loop, &successor->poll, fd) == 0);
	successor->poll.data = successor;
	must(uv_poll_start(&successor->poll, UV_READABLE, on_word) == 0);
}

bool successor_has_predecessor(const struct successor *successor)
{
	return successor->fd >= 0;
}

void successor_ask(struct successor *successor, successor_fn *may_go)
{
	if (successor->fd < 0) {
		may_go(successor->data);
		return;
	}
	successor->may_go = may_go;
	tell(successor, SUCCESSOR_ASKS);
}

bool successor_cancel(struct successor *successor)
{
	bool was_waiting = successor->may_go != NULL;

	successor->may_go = NULL;
	return was_waiting;
}

void successor_ready(struct successor *successor)
{
	tell(successor, SUCCESSOR_READY);
}
