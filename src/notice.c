/* SPDX-License-Identifier: Apache-2.0
 *
 * A prober's 503 and a client's request are seen where they are answered (api, http); a look at
 * both every few milliseconds, for a second or two in the life of a process, is cheaper to
 * understand than to be told by them. */
#include "notice.h"

#include "api/api.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "http/http.h"

#define LOOK_MS 10

static void end(struct notice *notice)
{
	(void)uv_timer_stop(&notice->timer);
	notice->done(notice->data);
}

static bool is_over(const struct notice *notice)
{
	const struct notice_opts *opts = &notice->opts;
	int64_t now = clock_mono_ms(), began = notice->began_mono_ms;
	int64_t last = http_last_request_mono_ms(opts->http);

	if (now >= began + opts->max_ms)
		return true;
	return now >= began + opts->min_ms && (last == NO_TIME || now >= last + opts->quiet_ms) &&
	       api_probers_have_heard(opts->api, opts->refusals);
}

static void look(uv_timer_t *timer)
{
	struct notice *notice = timer->data;

	if (is_over(notice))
		end(notice);
	else
		(void)uv_timer_start(timer, look, LOOK_MS, 0);
}

void notice_init(struct notice *notice, uv_loop_t *loop)
{
	*notice = (struct notice){0};
	must(uv_timer_init(loop, &notice->timer) == 0);
	notice->timer.data = notice;
}

void notice_begin(
	struct notice *notice, const struct notice_opts *opts, notice_done_fn *done, void *data)
{
	notice->opts = *opts;
	notice->done = done;
	notice->data = data;
	notice->began_mono_ms = clock_mono_ms();
	look(&notice->timer);
}

void notice_hurry(struct notice *notice)
{
	if (uv_is_active((uv_handle_t *)&notice->timer))
		end(notice);
}

void notice_close(struct notice *notice)
{
	uv_close((uv_handle_t *)&notice->timer, NULL);
}
