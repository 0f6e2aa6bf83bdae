/* SPDX-License-Identifier: Apache-2.0
 *
 * What each signal does. All of them arrive on the loop; no work is done in handlers. */
#include <signal.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "life/life.h"
#include "sched/sched.h"
#include "server_priv.h"

static const int stop_signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP};

static void on_signal(uv_signal_t *handle, int signum)
{
	struct server *server = handle->data;

	if (signum == SIGHUP) {
		log_info("SIGHUP ignored: the configuration is read at start");
		return;
	}
	life_signal(server->life, strsignal(signum));
	if (server->sched)
		sched_finish_within(server->sched, server->conf.run_max);
}

void signals_start(void *data)
{
	struct server *server = data;

	for (size_t i = 0; i < COUNT_OF(stop_signals); i++) {
		must(uv_signal_init(&server->loop, &server->signals[i]) == 0);
		server->signals[i].data = server;
		must(uv_signal_start(&server->signals[i], on_signal, stop_signals[i]) == 0);
		server->signals_open++;
	}
	life_part_done(server->life);
}

static void on_signal_closed(uv_handle_t *handle)
{
	struct server *server = handle->data;

	if (--server->signals_open == 0)
		life_part_done(server->life);
}

void signals_stop(void *data)
{
	struct server *server = data;

	for (size_t i = 0; i < COUNT_OF(stop_signals); i++)
		uv_close((uv_handle_t *)&server->signals[i], on_signal_closed);
}
