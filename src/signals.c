/* SPDX-License-Identifier: Apache-2.0
 *
 * What each signal does. All of them arrive on the loop; no work is done in handlers.
 *
 *   TERM, INT   drain, then stop; the second hurries, the third exits at once
 *   QUIT        hurries at once
 *   HUP         reads the configuration again (reload.c)
 *   USR1        writes the state into the log
 *   USR2        a new process takes over (upgrade.c) */
#include <signal.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "life/life.h"
#include "sched/sched.h"
#include "server_priv.h"

void server_stop(struct server *server, enum life_signal signal, const char *name)
{
	upgrade_abort(server);
	life_signal(server->life, signal, name);
	if (server->sched)
		sched_finish_within(server->sched, server_run_max_ms(&server->conf));
}

static void on_stop(struct server *server, const char *name)
{
	server_stop(server, LIFE_SIGNAL_STOP, name);
}

static void on_quit(struct server *server, const char *name)
{
	server_stop(server, LIFE_SIGNAL_QUIT, name);
}

static void on_reload(struct server *server, const char *name)
{
	(void)name;
	reload_begin(server);
}

static void on_dump(struct server *server, const char *name)
{
	(void)name;
	server_dump(server);
}

static void on_upgrade(struct server *server, const char *name)
{
	(void)name;
	upgrade_begin(server);
}

static const struct {
	int number;
	void (*act)(struct server *server, const char *name);
} actions[] = {
	{SIGTERM, on_stop},
	{SIGINT, on_stop},
	{SIGQUIT, on_quit},
	{SIGHUP, on_reload},
	{SIGUSR1, on_dump},
	{SIGUSR2, on_upgrade},
};

static void on_signal(uv_signal_t *handle, int number)
{
	struct server *server = handle->data;

	for (size_t i = 0; i < COUNT_OF(actions); i++)
		if (actions[i].number == number)
			actions[i].act(server, strsignal(number));
}

void signals_part_start(void *data)
{
	struct server *server = data;

	must(COUNT_OF(actions) == SERVER_SIGNALS);
	for (size_t i = 0; i < COUNT_OF(actions); i++) {
		must(uv_signal_init(&server->loop, &server->signals[i]) == 0);
		server->signals[i].data = server;
		must(uv_signal_start(&server->signals[i], on_signal, actions[i].number) == 0);
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

void signals_part_stop(void *data)
{
	struct server *server = data;

	/* The last part to stop. libuv gives the signal its default back, and a second TERM that
	 * comes now would take the exit status from a stop that is over. */
	for (size_t i = 0; i < COUNT_OF(actions); i++) {
		uv_close((uv_handle_t *)&server->signals[i], on_signal_closed);
		(void)signal(actions[i].number, SIG_IGN);
	}
}
