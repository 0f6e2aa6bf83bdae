/* SPDX-License-Identifier: Apache-2.0
 *
 * SIGHUP: the configuration is read again from where it came from. It is read as a whole first, on
 * a worker thread, since a file may lie on a slow disk; what is wrong with it leaves everything as
 * it is. Options marked LIVE in options.def change at once; of the others the log says that they
 * wait for a restart. The log file, if there is one, is opened anew, as log rotation expects. */
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/prove.h"
#include "http/http.h"
#include "life/life.h"
#include "server_priv.h"

void server_configure_log(const struct conf *conf)
{
	static const char *const levels[] = {"debug", "info", "warn", "error"};
	enum log_level level = LOG_INFO;

	for (size_t i = 0; i < COUNT_OF(levels); i++)
		if (strcmp(conf->log_level, levels[i]) == 0)
			level = (enum log_level)i;
	log_configure(level, strcmp(conf->log_format, "json") == 0 ? LOG_JSON : LOG_TEXT);
}

static int argument_count(char **argv)
{
	int count = 0;

	while (argv[count])
		count++;
	return count;
}

/* On a worker thread: touches the reload alone; argv and the environment do not change. */
static void read_again(uv_work_t *work)
{
	struct reload *reload = work->data;

	reload->status = conf_load(
		argument_count(reload->argv) - 1, reload->argv + 1, &reload->fresh, &reload->err);
	if (reload->status == 0 && reload->log_file[0] != '\0')
		reload->status = log_reopen(reload->log_file, &reload->err);
}

static void note_change(const struct conf_change *change, void *data)
{
	int *waiting = data;

	log_info(change->is_live ? "option changed" : "option waits for a restart",
		kv_str("option", change->name), kv_str("from", change->before),
		kv_str("to", change->after));
	*waiting += !change->is_live;
}

/* To the parts that keep a copy; the others ask the configuration when they need it. */
static void tell_parts(struct server *server)
{
	const struct conf *conf = &server->conf;
	struct exec_tuning tuning = server_exec_tuning(conf);

	server_configure_log(conf);
	life_set_total_max(server->life, conf->total_max);
	api_set_limits(server->api, &(struct api_limits){.rate_health = (int)conf->rate_health,
					    .rate_probe = (int)conf->rate_probe,
					    .event_window_ms = conf->event_window,
					    .db_grace_ms = server_db_grace_ms(conf)});
	if (server->exec)
		exec_tune(server->exec, &tuning);
	if (server->sched)
		sched_set_limits(
			server->sched, &(struct sched_limits){.heartbeat_ms = conf->heartbeat,
					       .db_max_ms = conf->db_max});
	if (server->http)
		http_set_limits(server->http,
			&(struct http_limits){
				.connections_per_address = (int)conf->connections_per_address,
				.body_max = (size_t)conf->body_max,
				.header_timeout_ms = conf->header_timeout,
				.body_timeout_ms = conf->body_timeout,
				.idle_timeout_ms = conf->idle_timeout,
			});
}

static void on_read(uv_work_t *work, int status)
{
	struct reload *reload = work->data;
	struct server *server = container_of(reload, struct server, reload);
	int waiting = 0;

	(void)status; /* nobody cancels it */
	if (reload->status == 0)
		reload->status = conf_apply_live(
			&server->conf, &reload->fresh, note_change, &waiting, &reload->err);
	if (reload->status < 0) {
		metrics.reloads_refused++;
		log_error("reload refused: the old configuration stays",
			kv_str("error", reload->err.text));
		if (RULE_IS_OFF(WRONG_RELOAD_IGNORED))
			server_stop(server, LIFE_SIGNAL_STOP, "a wrong configuration");
	} else {
		tell_parts(server);
		metrics.reloads++;
		log_info("reloaded", kv_i64("waiting_for_restart", waiting));
	}
	conf_fini(&reload->fresh);
	reload->is_busy = false;
	life_reloaded(server->life);
	if (reload->is_stopping)
		life_part_done(server->life);
}

void reload_begin(struct server *server)
{
	struct reload *reload = &server->reload;
	enum service_state state = life_state(server->life);

	if ((state != SERVICE_READY && !RULE_IS_OFF(RELOAD_WHEN_READY)) || reload->is_busy) {
		log_info("SIGHUP ignored", kv_str("state", service_state_names[state]),
			kv_bool("reloading", reload->is_busy));
		return;
	}
	*reload = (struct reload){.argv = server->argv,
		.log_file = server->conf.log_file,
		.work.data = reload,
		.is_busy = true};
	life_reloading(server->life);
	must(uv_queue_work(&server->loop, &reload->work, read_again, on_read) == 0);
}

void reload_part_stop(void *data)
{
	struct server *server = data;

	server->reload.is_stopping = true;
	if (!server->reload.is_busy)
		life_part_done(server->life);
}
