/* SPDX-License-Identifier: Apache-2.0
 *
 * A store of which the nth call fails, beneath a scheduler that runs, and a clock that goes
 * FAULT_SPEED times as fast, so that its pauses do not make a hundred rounds long. Both stand where
 * the linker puts them (-Wl,--wrap, test/unit/meson.build): no code of the server knows of them.
 *
 * Calls are counted by what the scheduler and the executor ask, and persons who ask until they are
 * answered. What a test asks with fault_on_answer is left alone. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/timerfd.h>

#include <cmocka.h>
#include <curl/curl.h>
#include <uv.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/store_priv.h"

#define FAULT_SPEED    40
#define FAULT_EPOCH_MS INT64_C(1800000000000)
#define FAULT_LATE_MS  1000 /* longer than any pause before another try */

enum fault_manner {
	FAULT_NONE,
	FAULT_REFUSED, /* nothing was done */
	FAULT_LOST,    /* it was done, and nobody knows */
	FAULT_HELD,    /* it was done, and the answer comes after others */
};
static const char *const fault_manners[] = {"fail", "refused", "lost", "held"};

static struct fault {
	enum fault_manner manner;
	const char *name; /* of the verb; the call of it that brings `left` to zero */
	int nth, left;
	int calls; /* but those of duties, which never end */
	bool is_hit, is_holding;
	bool has_orphans; /* runs were started that nobody knows of */
	uv_timer_t timer;
	struct store *store;
	struct store_req *req;
	const struct store_verb *verb;
	store_done_fn *done;
} fault;

/* Of the answers that a test itself waits for: never touched. */
static void fault_on_answer(struct store_req *req);

/* --- the clock --- */

static int64_t fault_ahead_ms;

static int64_t fault_elapsed_ms(void)
{
	static uint64_t since;

	since = since ? since : uv_hrtime();
	return (int64_t)((uv_hrtime() - since) / (1000000 / FAULT_SPEED));
}

static int64_t fault_wall_ms(void)
{
	return FAULT_EPOCH_MS + fault_ahead_ms + fault_elapsed_ms();
}

static const struct clock_source fault_clock = {
	.wall_ms = fault_wall_ms, .mono_ms = fault_elapsed_ms};

/* The wall clock of the next round begins at FAULT_EPOCH_MS + ahead_ms. */
static void fault_set_clock(int64_t ahead_ms)
{
	clock_set_source(&fault_clock);
	fault_ahead_ms = ahead_ms - fault_elapsed_ms();
}

static bool fault_is_in_curl;
int __real_uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat);
int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat);
int __wrap_timerfd_settime(
	int fd, int flags, const struct itimerspec *spec, struct itimerspec *old_spec);
int __real_timerfd_settime(
	int fd, int flags, const struct itimerspec *spec, struct itimerspec *old_spec);

static uint64_t fault_real_ms(uint64_t ms)
{
	return (ms + FAULT_SPEED - 1) / FAULT_SPEED;
}

/* libcurl has a clock of its own, and asks once: too early would be never. */
int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat)
{
	if (fault_is_in_curl)
		return __real_uv_timer_start(timer, cb, timeout, repeat);
	return __real_uv_timer_start(timer, cb, fault_real_ms(timeout), fault_real_ms(repeat));
}

int __wrap_timerfd_settime(
	int fd, int flags, const struct itimerspec *spec, struct itimerspec *old_spec)
{
	int64_t at_ms = spec->it_value.tv_sec * 1000 + spec->it_value.tv_nsec / 1000000;
	int64_t left_ms = at_ms - clock_wall_ms();
	struct itimerspec real = {0};
	struct timespec now;

	assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
	at_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 +
		(int64_t)fault_real_ms(left_ms > 0 ? (uint64_t)left_ms : 0);
	real.it_value.tv_sec = at_ms / 1000;
	real.it_value.tv_nsec = at_ms % 1000 * 1000000;
	return __real_timerfd_settime(fd, flags, &real, old_spec);
}

CURLMcode __real_curl_multi_socket_action(CURLM *multi, curl_socket_t fd, int what, int *running);
CURLMcode __wrap_curl_multi_socket_action(CURLM *multi, curl_socket_t fd, int what, int *running);
CURLMcode __real_curl_multi_add_handle(CURLM *multi, CURL *easy);
CURLMcode __wrap_curl_multi_add_handle(CURLM *multi, CURL *easy);
CURLMcode __real_curl_multi_remove_handle(CURLM *multi, CURL *easy);
CURLMcode __wrap_curl_multi_remove_handle(CURLM *multi, CURL *easy);

CURLMcode __wrap_curl_multi_socket_action(CURLM *multi, curl_socket_t fd, int what, int *running)
{
	CURLMcode code;

	fault_is_in_curl = true;
	code = __real_curl_multi_socket_action(multi, fd, what, running);
	fault_is_in_curl = false;
	return code;
}

CURLMcode __wrap_curl_multi_add_handle(CURLM *multi, CURL *easy)
{
	CURLMcode code;

	fault_is_in_curl = true;
	code = __real_curl_multi_add_handle(multi, easy);
	fault_is_in_curl = false;
	return code;
}

CURLMcode __wrap_curl_multi_remove_handle(CURLM *multi, CURL *easy)
{
	CURLMcode code;

	fault_is_in_curl = true;
	code = __real_curl_multi_remove_handle(multi, easy);
	fault_is_in_curl = false;
	return code;
}

/* --- the calls --- */

void __real_store_submit(struct store *store, struct store_req *req, const struct store_verb *verb,
	store_done_fn *done);
void __wrap_store_submit(struct store *store, struct store_req *req, const struct store_verb *verb,
	store_done_fn *done);

static void fault_refuse(void)
{
	size_t queue_max = fault.store->queue_max;

	fault.store->queue_max = 0;
	__real_store_submit(fault.store, fault.req, fault.verb, fault.done);
	fault.store->queue_max = queue_max;
}

static bool fault_has_started(const struct store_req *req)
{
	if (strcmp(fault.verb->name, "claim") == 0)
		return container_of(req, struct store_claim, req)->ret_started_count > 0;
	return strcmp(fault.verb->name, "take") == 0 &&
	       container_of(req, struct store_take, req)->ret_started_count > 0;
}

/* As when the connection is gone for longer than the store tries again. */
static void fault_on_done_and_lost(struct store_req *req)
{
	if (req->err.code == 0) {
		fault.has_orphans = fault_has_started(req);
		if (fault.verb->fini)
			fault.verb->fini(req);
		memset((char *)req + fault.verb->outputs, 0, fault.verb->end - fault.verb->outputs);
		(void)err_set(&req->err, ERR_UNAVAILABLE, "it is not known whether this was done");
	}
	fault.done(req);
}

static void fault_on_timer_closed(uv_handle_t *timer)
{
	(void)timer;
	fault.is_holding = false;
}

static void fault_on_held_long_enough(uv_timer_t *timer)
{
	uv_close((uv_handle_t *)timer, fault_on_timer_closed);
	fault.done(fault.req);
}

static void fault_hold(struct store_req *req)
{
	(void)req;
	fault.is_holding = true;
	assert_int_equal(uv_timer_init(fault.store->loop, &fault.timer), 0);
	(void)uv_timer_start(&fault.timer, fault_on_held_long_enough, FAULT_LATE_MS, 0);
}

static bool fault_is_of_duty(const struct store_verb *verb)
{
	return strcmp(verb->name, "retain") == 0 || strcmp(verb->name, "lapse") == 0 ||
	       strcmp(verb->name, "list_backfills") == 0;
}

void __wrap_store_submit(struct store *store, struct store_req *req, const struct store_verb *verb,
	store_done_fn *done)
{
	fault.calls += done != fault_on_answer && !fault_is_of_duty(verb);
	if (fault.manner == FAULT_NONE || done == fault_on_answer ||
		strcmp(verb->name, fault.name) != 0 || --fault.left != 0) {
		__real_store_submit(store, req, verb, done);
		return;
	}
	fault.is_hit = true;
	fault.store = store;
	fault.req = req;
	fault.verb = verb;
	fault.done = done;
	if (fault.manner == FAULT_REFUSED)
		fault_refuse();
	else
		__real_store_submit(store, req, verb,
			fault.manner == FAULT_LOST ? fault_on_done_and_lost : fault_hold);
}
