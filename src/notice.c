/* SPDX-License-Identifier: Apache-2.0
 *
 * A prober's 503 and a client's request are seen where they are answered (api, http); a look at
 * both every few milliseconds, for a second or two in the life of a process, is cheaper to
 * understand than to be told by them. */
#include "notice.h"

#include "api/api.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/http.h"

#define LOOK_MS 10

static void end(struct notice *notice, const char *because)
{
	const struct notice_opts *opts = &notice->opts;

	(void)uv_timer_stop(&notice->timer);
	log_info("notice", kv_str("ended", because),
		kv_i64("took_ms", clock_mono_ms() - notice->began_mono_ms),
		kv_i64("probers", (int64_t)api_probers(opts->api)),
		kv_bool("all_have_heard", api_probers_have_heard(opts->api, opts->refusals)));
	notice->done(notice->data);
}

/* Why it may end now; NULL: it may not. */
static const char *reason(const struct notice *notice)
{
	const struct notice_opts *opts = &notice->opts;
	int64_t now = clock_mono_ms(), began = notice->began_mono_ms;
	int64_t last = http_last_request_mono_ms(opts->http);

	if (now >= began + opts->max_ms)
		return "notice_max";
	if (now >= began + opts->min_ms && (last == NO_TIME || now >= last + opts->quiet_ms) &&
		api_probers_have_heard(opts->api, opts->refusals))
		return "quiet";
	return NULL;
}

static void look(uv_timer_t *timer)
{
	struct notice *notice = timer->data;
	const char *because = reason(notice);

	if (because)
		end(notice, because);
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
		end(notice, "hurried");
}

void notice_close(struct notice *notice)
{
	uv_close((uv_handle_t *)&notice->timer, NULL);
}
