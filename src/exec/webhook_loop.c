/* SPDX-License-Identifier: Apache-2.0
 *
 * libcurl's multi interface on the loop. libcurl says which sockets it wants watched and when it
 * wants to be called; we say what happened. One multi handle holds all transfers, so connections
 * are kept and used again across actions.
 *
 * Three rules that are easy to break: no multi function from inside one of its callbacks (hence the
 * finished transfers are collected after each call); a poll handle is freed in its close callback
 * only; the cache of connections must be as large as the number of transfers at a time, or each
 * end of a transfer closes the connection the next one would have used.
 *
 * Easy handles are used again as well: making one costs a dozen large allocations. */
#include <curl/curl.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "exec_priv.h"

struct hooks {
	uv_loop_t *loop;
	CURLM *multi;
	int connections_max;
	uv_timer_t timer;
	int open_handles;          /* the timer and the socket watches */
	CURL *idle[HOOK_IDLE_MAX]; /* reset, ready for the next transfer */
	int idle_count;
	bool is_closing;
	exec_closed_fn *closed;
	void *closed_data;
};

struct socket_watch {
	uv_poll_t poll;
	struct hooks *hooks;
	curl_socket_t fd;
};

static void check_closed(struct hooks *hooks)
{
	exec_closed_fn *closed = hooks->closed;
	void *data = hooks->closed_data;

	if (!hooks->is_closing || hooks->open_handles > 0)
		return;
	free(hooks);
	curl_global_cleanup();
	closed(data);
}

static void collect_finished(struct hooks *hooks)
{
	CURLMsg *message;
	int waiting;

	while ((message = curl_multi_info_read(hooks->multi, &waiting)) != NULL) {
		if (message->msg == CURLMSG_DONE)
			webhook_on_done(message->easy_handle, (int)message->data.result);
	}
}

static void on_socket_event(uv_poll_t *poll, int status, int events)
{
	struct socket_watch *watch = container_of(poll, struct socket_watch, poll);
	struct hooks *hooks = watch->hooks;
	int flags = 0;
	int running;

	if (status != 0) /* let it read and write, so that it learns which error it is */
		flags |= CURL_CSELECT_IN | CURL_CSELECT_OUT;
	if ((events & UV_READABLE) != 0)
		flags |= CURL_CSELECT_IN;
	if ((events & UV_WRITABLE) != 0)
		flags |= CURL_CSELECT_OUT;
	(void)curl_multi_socket_action(hooks->multi, watch->fd, flags, &running);
	collect_finished(hooks);
}

static void on_watch_closed(uv_handle_t *handle)
{
	struct socket_watch *watch = container_of((uv_poll_t *)handle, struct socket_watch, poll);
	struct hooks *hooks = watch->hooks;

	free(watch);
	hooks->open_handles--;
	check_closed(hooks);
}

static struct socket_watch *watch_socket(struct hooks *hooks, curl_socket_t fd)
{
	struct socket_watch *watch = xcalloc(1, sizeof(*watch));

	watch->hooks = hooks;
	watch->fd = fd;
	if (uv_poll_init_socket(hooks->loop, &watch->poll, fd) != 0) {
		free(watch);
		return NULL;
	}
	hooks->open_handles++;
	return watch;
}

/* CURLMOPT_SOCKETFUNCTION. -1 makes libcurl fail the transfers of this socket. */
static int on_socket_wanted(CURL *easy, curl_socket_t fd, int what, void *data, void *socket_data)
{
	struct hooks *hooks = data;
	struct socket_watch *watch = socket_data;
	int events = 0;

	if (what == CURL_POLL_REMOVE) {
		if (watch != NULL) {
			(void)curl_multi_assign(hooks->multi, fd, NULL);
			uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
		}
		return 0;
	}
	if (watch == NULL) {
		watch = watch_socket(hooks, fd);
		if (watch == NULL)
			return -1;
		(void)curl_multi_assign(hooks->multi, fd, watch);
	}
	if ((what & CURL_POLL_IN) != 0)
		events |= UV_READABLE;
	if ((what & CURL_POLL_OUT) != 0)
		events |= UV_WRITABLE;
	return uv_poll_start(&watch->poll, events, on_socket_event) == 0 ? 0 : -1;
}

static void on_timer(uv_timer_t *timer)
{
	struct hooks *hooks = container_of(timer, struct hooks, timer);
	int running;

	(void)curl_multi_socket_action(hooks->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	collect_finished(hooks);
}

/* CURLMOPT_TIMERFUNCTION */
static int on_timer_wanted(CURLM *multi, long timeout_ms, void *data)
{
	struct hooks *hooks = data;

	if (timeout_ms < 0)
		(void)uv_timer_stop(&hooks->timer);
	else if (!uv_is_closing((uv_handle_t *)&hooks->timer))
		(void)uv_timer_start(&hooks->timer, on_timer, (uint64_t)timeout_ms, 0);
	return 0;
}

static CURLM *open_multi(struct hooks *hooks)
{
	CURLM *multi = curl_multi_init();

	if (multi == NULL)
		return NULL;
	(void)curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted);
	(void)curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, hooks);
	(void)curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
	(void)curl_multi_setopt(multi, CURLMOPT_TIMERDATA, hooks);
	(void)curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)hooks->connections_max);
	return multi;
}

int hooks_create(uv_loop_t *loop, int connections_max, struct hooks **ret_hooks, struct err *err)
{
	struct hooks *hooks;

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return err_set(err, ERR_INTERNAL, "libcurl cannot be initialised");
	hooks = xcalloc(1, sizeof(*hooks));
	hooks->loop = loop;
	hooks->connections_max = connections_max;
	hooks->multi = open_multi(hooks);
	if (hooks->multi == NULL) {
		free(hooks);
		curl_global_cleanup();
		return err_set(err, ERR_INTERNAL, "libcurl cannot make a multi handle");
	}
	must(uv_timer_init(loop, &hooks->timer) == 0);
	hooks->open_handles = 1;
	*ret_hooks = hooks;
	return 0;
}

void hooks_set_connections(struct hooks *hooks, int connections_max)
{
	hooks->connections_max = connections_max;
	(void)curl_multi_setopt(hooks->multi, CURLMOPT_MAXCONNECTS, (long)connections_max);
}

static void drop_idle(struct hooks *hooks)
{
	while (hooks->idle_count > 0)
		curl_easy_cleanup(hooks->idle[--hooks->idle_count]);
}

void *hooks_take_easy(struct hooks *hooks)
{
	CURL *easy = hooks->idle_count > 0 ? hooks->idle[--hooks->idle_count] : curl_easy_init();

	must(easy != NULL);
	return easy;
}

void hooks_give_easy(struct hooks *hooks, void *easy)
{
	if (easy == NULL)
		return;
	if (hooks->idle_count == HOOK_IDLE_MAX) {
		curl_easy_cleanup(easy);
		return;
	}
	curl_easy_reset(easy);
	hooks->idle[hooks->idle_count++] = easy;
}

/* libcurl closes what it keeps only with the multi handle itself. */
void hooks_drop_connections(struct hooks *hooks)
{
	CURLM *fresh = open_multi(hooks);

	drop_idle(hooks);
	if (fresh == NULL)
		return; /* nothing is lost but some memory */
	(void)curl_multi_cleanup(hooks->multi);
	hooks->multi = fresh;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct hooks *hooks = container_of((uv_timer_t *)handle, struct hooks, timer);

	hooks->open_handles--;
	check_closed(hooks);
}

void hooks_destroy(struct hooks *hooks, exec_closed_fn *closed, void *data)
{
	hooks->is_closing = true;
	hooks->closed = closed;
	hooks->closed_data = data;
	drop_idle(hooks);
	(void)curl_multi_cleanup(hooks->multi);
	uv_close((uv_handle_t *)&hooks->timer, on_timer_closed);
}

int hooks_add(struct hooks *hooks, void *easy)
{
	return (int)curl_multi_add_handle(hooks->multi, easy);
}

void hooks_remove(struct hooks *hooks, void *easy)
{
	(void)curl_multi_remove_handle(hooks->multi, easy);
}
