/* SPDX-License-Identifier: Apache-2.0 */
#include "life/watchdog.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

struct watchdog {
	uv_thread_t thread;
	uv_mutex_t mutex;
	uv_cond_t wake;
	uint64_t limit_ns;
	const char *why;
	_Atomic int status;
	bool is_off; /* under mutex */
};

static void watch(void *data)
{
	struct watchdog *dog = data;
	uint64_t deadline = uv_hrtime() + dog->limit_ns, now;

	uv_mutex_lock(&dog->mutex);
	while (!dog->is_off && (now = uv_hrtime()) < deadline)
		uv_cond_timedwait(&dog->wake, &dog->mutex, deadline - now);
	if (!dog->is_off) {
		log_error(dog->why);
		_exit(atomic_load(&dog->status));
	}
	uv_mutex_unlock(&dog->mutex);
}

struct watchdog *watchdog_start(int64_t limit_ms, const char *why)
{
	struct watchdog *dog = xcalloc(1, sizeof(*dog));

	dog->limit_ns = (uint64_t)limit_ms * 1000000;
	dog->why = why;
	atomic_store(&dog->status, 3);
	must(uv_mutex_init(&dog->mutex) == 0);
	must(uv_cond_init(&dog->wake) == 0);
	must(uv_thread_create(&dog->thread, watch, dog) == 0);
	return dog;
}

void watchdog_set_status(struct watchdog *dog, int status)
{
	if (dog)
		atomic_store(&dog->status, status);
}

void watchdog_stop(struct watchdog *dog)
{
	if (!dog)
		return;
	uv_mutex_lock(&dog->mutex);
	dog->is_off = true;
	uv_cond_signal(&dog->wake);
	uv_mutex_unlock(&dog->mutex);
	uv_thread_join(&dog->thread);
	uv_cond_destroy(&dog->wake);
	uv_mutex_destroy(&dog->mutex);
	free(dog);
}
