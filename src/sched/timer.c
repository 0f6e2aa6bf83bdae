/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/timer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

/* An armed timer is needed to hear of a clock that is set; this one is far enough away. */
#define FAR_AHEAD_MS (365LL * 24 * 3600 * 1000)

struct wake_timer {
	uv_poll_t poll;
	int fd;
	wake_fn *wake;
	void *data;
};

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct wake_timer *timer = poll->data;
	uint64_t expirations;

	(void)status, (void)events;
	/* ECANCELED: the clock was set; EAGAIN: re-armed since the poll. Either way the owner
	 * looks. */
	(void)!read(timer->fd, &expirations, sizeof(expirations));
	timer->wake(timer->data);
}

int wake_timer_create(
	uv_loop_t *loop, wake_fn *wake, void *data, struct wake_timer **ret_timer, struct err *err)
{
	struct wake_timer *timer = xcalloc(1, sizeof(*timer));

	timer->wake = wake;
	timer->data = data;
	timer->fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (timer->fd < 0) {
		free(timer);
		return err_set(err, ERR_IO, "cannot create a timer: %s", strerror(errno));
	}
	must(uv_poll_init(loop, &timer->poll, timer->fd) == 0);
	timer->poll.data = timer;
	must(uv_poll_start(&timer->poll, UV_READABLE, on_readable) == 0);
	*ret_timer = timer;
	return 0;
}

void wake_timer_set(struct wake_timer *timer, int64_t at_ms)
{
	struct itimerspec spec = {0};

	if (at_ms == NO_TIME)
		at_ms = clock_wall_ms() + FAR_AHEAD_MS;
	if (at_ms < 1)
		at_ms = 1; /* all zero would disarm */
	spec.it_value.tv_sec = at_ms / 1000;
	spec.it_value.tv_nsec = at_ms % 1000 * 1000000;
	must(timerfd_settime(timer->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &spec, NULL) ==
		0);
}

static void on_closed(uv_handle_t *handle)
{
	struct wake_timer *timer = handle->data;

	close(timer->fd);
	free(timer);
}

void wake_timer_destroy(struct wake_timer *timer)
{
	if (!timer)
		return;
	uv_poll_stop(&timer->poll);
	uv_close((uv_handle_t *)&timer->poll, on_closed);
}
