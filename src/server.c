/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of the server and the order they start in; stopping is the reverse. Each hook below
 * begins its work and reports to life.c, which alone decides what comes next. Every module's
 * options are filled in here from the configuration, so that no module knows conf.h. */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/prove.h"
#include "exec/exec.h"
#include "http/http.h"
#include "life/life.h"
#include "process.h"
#include "sched/sched.h"
#include "server_priv.h"
#include "store/store.h"
#include "vault/vault.h"

/* Fixed limits that nobody has needed to change yet. */
#define STORE_QUEUE_MAX    20000
#define STORE_BATCH_MAX    500
#define WINDOW_MAX         1000 /* nothing is claimed while it is being filled (numbers.md) */
#define WINDOW_MS          90000
#define POLL_MS            56000 /* with its jitter less than the window */
#define DEAF_POLL_MS       5000  /* what nobody can tell us is late by this at most */
#define CLAIM_MAX          100   /* the first start while the next are claimed (numbers.md) */
#define NOOP_RUNNING_MAX   2000  /* started and not yet recorded */
#define SCHED_DRAIN_MARGIN 1000

static void part_done(void *data)
{
	struct server *server = data;

	life_part_done(server->life);
}

void server_report(struct server *server, int status, const struct err *err)
{
	if (status < 0)
		life_part_failed(server->life, err);
	else
		life_part_done(server->life);
}

/* --- store --- */

static void on_failed_store_closed(void *data)
{
	struct server *server = data;

	if (life_state(server->life) == SERVICE_STARTING)
		life_part_failed(server->life, &server->open_err);
	else
		life_part_done(
			server->life); /* a signal came meanwhile: store_stop waits for this */
}

static void on_store_opened(const struct err *err, void *data)
{
	struct server *server = data;

	if (err) {
		server->open_err = *err;
		store_close(take_ptr(server->store), on_failed_store_closed, server);
		return;
	}
	log_info("store open", kv_str("kind", store_backend_name(server->store)),
		kv_str("place", store_place(server->store)));
	life_part_done(server->life);
}

static void open_store(void *data)
{
	struct server *server = data;
	struct err err = {0};
	struct store_opts opts = {
		.loop = &server->loop,
		.url = server->conf.database,
		.queue_max = STORE_QUEUE_MAX,
		.batch_max = STORE_BATCH_MAX,
		.instance_id = server->instance_id,
		.lock_fd = server->inherited.lock_fd,
		.lease_ms = server->conf.lease,
		.waits_for_leases = strcmp(server->conf.recovery, "lease") == 0,
		.pool_min = (int)server->conf.pool_min,
		.pool_max = (int)server->conf.pool_max,
		.start_max_ms = server->conf.start_max,
		.opened = on_store_opened,
		.opened_data = server,
	};

	server->inherited.lock_fd = -1;
	if (store_open(&opts, &server->store, &err) < 0)
		life_part_failed(server->life, &err);
}

/* A predecessor on the same file has to stop planning first. */
static void store_start(void *data)
{
	struct server *server = data;

	successor_ask(&server->successor, open_store);
}

static void on_store_closed(void *data)
{
	struct server *server = data;

	server->store = NULL;
	life_event(server->life, "store_closed");
	life_part_done(server->life);
}

static void store_stop(void *data)
{
	struct server *server = data;

	if (server->store)
		store_close(server->store, on_store_closed, server);
	else if (successor_cancel(&server->successor))
		life_part_done(server->life); /* it was not even opened */
}

/* --- executor --- */

char *server_database_folder(const struct conf *conf)
{
	const char *path = strncmp(conf->database, "sqlite:", 7) == 0 ? conf->database + 7 : "";
	const char *slash = strrchr(path, '/');

	return slash ? xstrndup(path, (size_t)(slash - path) + 1) : xstrdup(".");
}

/* Absolute, because programs are told of paths in it. */
static char *state_folder(const struct conf *conf)
{
	auto_free char *beside = server_database_folder(conf);
	auto_free char *path = conf->state_dir[0] != '\0' ? xstrdup(conf->state_dir)
							  : xasprintf("%s/gathering.state", beside);
	auto_free char *here = path[0] == '/' ? NULL : realpath(".", NULL);

	return here != NULL ? xasprintf("%s/%s", here, path) : take_ptr(path);
}

struct exec_tuning server_exec_tuning(const struct conf *conf)
{
	return (struct exec_tuning){
		.max_running = (int)conf->max_running,
		.max_running_kind = {[ACTION_HTTP] = (int)conf->max_running_http,
			[ACTION_EXEC] = (int)conf->max_running_exec,
			[ACTION_SQL] = (int)conf->max_running_sql,
			[ACTION_NOOP] = NOOP_RUNNING_MAX},
		.max_per_host = (int)conf->max_per_host,
		.term_grace_ms = conf->term_grace,
		.output_max = (size_t)conf->output_max,
		.allow_private_targets = conf->allow_private_targets,
	};
}

static void exec_part_start(void *data)
{
	struct server *server = data;
	const struct conf *conf = &server->conf;
	struct exec_tuning tuning = server_exec_tuning(conf);
	auto_free char *state = state_folder(conf);
	struct err err = {0};
	struct exec_opts opts = {
		.loop = &server->loop,
		.max_running = tuning.max_running,
		.exec_enabled = conf->exec_enabled,
		.exec_paths = conf->exec_paths,
		.sql_databases = conf->sql_databases,
		.sql_self_url = store_is_shared(server->store) ? conf->database : "",
		.sql_self_role = conf->sql_self_role,
		.put_end = sched_put_end,
		.read_end = sched_read_end,
		.exec_users = conf->exec_users,
		.allow_private_targets = tuning.allow_private_targets,
		.max_per_host = tuning.max_per_host,
		.ca_file = conf->http_ca_file,
		.get_secrets = server->vault != NULL ? secrets_read : NULL,
		.get_secrets_data = server,
		.term_grace_ms = tuning.term_grace_ms,
		.output_max = tuning.output_max,
		.state_dir = state,
		.on_note = sched_note,
		.user_agent = "gathering/" GATHERING_VERSION,
	};

	memcpy(opts.max_running_kind, tuning.max_running_kind, sizeof(opts.max_running_kind));
	server_report(server, exec_create(&opts, &server->exec, &err), &err);
}

static void exec_part_stop(void *data)
{
	struct server *server = data;

	exec_destroy(take_ptr(server->exec), part_done, server);
}

/* --- scheduler --- */

/* As if the operator had asked us. */
static void on_wish(bool drain, void *data)
{
	struct server *server = data;

	if (drain)
		life_drain(server->life, LIFE_DRAIN_HOLD, "asked through another instance");
	else if (!life_undrain(server->life))
		log_info("undrain comes too late: this instance is stopping");
}

/* At once: whatever hangs from here on, the exit status tells. */
static void on_unrecorded(void *data)
{
	struct server *server = data;

	life_set_exit(server->life, 4);
}

static void sched_part_start(void *data)
{
	struct server *server = data;
	struct err err = {0};
	auto_free char *state = state_folder(&server->conf);
	auto_free char *unrecorded = xasprintf("%s/unrecorded.jsonl", state);
	struct sched_opts opts = {
		.loop = &server->loop,
		.store = server->store,
		.exec = server->exec,
		.window_max = WINDOW_MAX,
		.window_ms = WINDOW_MS,
		.poll_ms = POLL_MS,
		.deaf_poll_ms = DEAF_POLL_MS,
		.claim_max = CLAIM_MAX,
		.heartbeat_ms = server->conf.heartbeat,
		.lease_ms = server->conf.lease,
		.unrecorded_path = unrecorded,
		.has_predecessor = successor_has_predecessor(&server->successor) &&
				   !store_is_shared(server->store),
		.is_handed_over = successor_has_predecessor(&server->successor),
		.on_wish = on_wish,
		.on_unrecorded = on_unrecorded,
		.data = server,
		.db_max_ms = server->conf.db_max,
		.limits = server->limits,
		.limit_count = server->limit_count,
		.retain_every_ms = server->conf.retention_every,
		.retention = {server->conf.retention_age, (int)server->conf.retention_count},
		.retain_output_bytes = server->conf.retention_output,
	};

	if (sched_create(&opts, &server->sched, &err) < 0)
		life_part_failed(server->life, &err);
	else
		sched_start(server->sched, part_done, server);
}

static void sched_quiet(void *data)
{
	struct server *server = data;

	if (server->sched && !RULE_IS_OFF(NO_CLAIM_WHILE_DRAINING))
		sched_pause(server->sched);
}

static void sched_unquiet(void *data)
{
	struct server *server = data;

	sched_resume(server->sched);
}

static void on_claims_drained(void *data)
{
	struct server *server = data;

	life_event(server->life, "claims_drained");
}

static void on_runs_drained(void *data)
{
	struct server *server = data;

	if (sched_was_cut(server->sched))
		life_set_exit(server->life, 3);
	life_event(server->life, "executor_stopped");
	life_part_done(server->life);
}

static void sched_part_drain(void *data)
{
	struct server *server = data;

	life_event(server->life, "scheduler_stopped");
	sched_drain(server->sched, on_claims_drained, on_runs_drained, server);
}

int64_t server_run_max_ms(const struct conf *conf)
{
	int64_t latest = conf->total_max - conf->term_grace - conf->db_max;

	return conf->run_max > latest && !RULE_IS_OFF(RUNS_END_IN_TIME) ? latest : conf->run_max;
}

static int64_t sched_drain_max(void *data)
{
	const struct conf *conf = &((struct server *)data)->conf;

	return server_run_max_ms(conf) + conf->term_grace + conf->db_max + SCHED_DRAIN_MARGIN;
}

static void sched_part_hurry(void *data)
{
	struct server *server = data;

	sched_hurry(server->sched);
}

static void sched_part_stop(void *data)
{
	struct server *server = data;

	sched_destroy(take_ptr(server->sched), part_done, server);
}

/* --- succession: of one process by another, both ways --- */

/* From here on what was shared with the predecessor is ours; systemd's socket stays systemd's. */
static void on_predecessor_gone(void *data)
{
	struct server *server = data;

	log_info("the process before this one has ended");
	if (server->http)
		http_share_listener(server->http, server->inherited.is_shared);
	if (server->admin)
		http_share_listener(server->admin, false);
	if (server->sched)
		sched_predecessor_gone(server->sched);
}

static void succession_start(void *data)
{
	struct server *server = data;
	int fd = server->inherited.channel_fd;

	server->inherited.channel_fd = -1;
	metrics.handovers = server->inherited.handovers;
	successor_init(&server->successor, &server->loop, fd, on_predecessor_gone, server);
	life_part_done(server->life);
}

static void succession_stop(void *data)
{
	struct server *server = data;

	successor_close(&server->successor);
	upgrade_part_stop(server);
}

/* The last word of a start: whoever comes from now on is served here. */
static void ready_part_start(void *data)
{
	struct server *server = data;

	life_part_done(server->life);
	successor_ready(&server->successor);
}

/* In start order; see LIFECYCLE.md for why each stands where it does. `http` drains before `sched`
 * so that an operator can watch while anything is left to watch; the store is the last thing to go
 * that anybody else could still need. */
static const struct part parts[] = {
	{.name = "signals", .start = signals_part_start, .stop = signals_part_stop},
	{.name = "reload", .stop = reload_part_stop},
	{.name = "succession", .start = succession_start, .stop = succession_stop},
	{.name = "admin", .start = admin_part_start, .stop = admin_part_stop},
	{.name = "listener", .start = listener_part_start, .stop = listener_part_stop},
	{.name = "store", .start = store_start, .stop = store_stop},
	{.name = "executor", .start = exec_part_start, .stop = exec_part_stop},
	{.name = "scheduler",
		.start = sched_part_start,
		.quiet = sched_quiet,
		.unquiet = sched_unquiet,
		.drain = sched_part_drain,
		.drain_max_ms = sched_drain_max,
		.hurry = sched_part_hurry,
		.stop = sched_part_stop},
	{.name = "http",
		.start = http_part_start,
		.quiet = http_quiet,
		.unquiet = http_unquiet,
		.drain = http_part_drain,
		.drain_max_ms = http_drain_max,
		.hurry = http_part_hurry,
		.stop = http_part_stop},
	{.name = "notice",
		.start = notice_part_start,
		.drain = notice_part_drain,
		.hurry = notice_part_hurry,
		.stop = notice_part_stop},
	{.name = "ready", .start = ready_part_start},
};

static int serve(struct server *server)
{
	int status;

	server->instance_id = id_make();
	server->life = life_create(&(struct life_opts){.loop = &server->loop,
		.parts = parts,
		.part_count = COUNT_OF(parts),
		.server = server,
		.total_max_ms = server->conf.total_max});
	log_info("starting", kv_str("version", GATHERING_VERSION),
		kv_id("instance", &server->instance_id));
	life_start(server->life);
	uv_run(&server->loop, UV_RUN_DEFAULT);
	status = life_exit_status(server->life);
	log_info("exit", kv_i64("status", status));
	life_destroy(server->life);
	must(uv_loop_close(&server->loop) == 0);
	return status;
}

/* What can fail before there is a log. */
static int prepare(struct server *server, int argc, char **argv, struct err *err)
{
	if (inherit(&server->inherited, err) < 0 ||
		conf_load(argc - 1, argv + 1, &server->conf, err) < 0 ||
		run_limits_parse(server->conf.limits, server->limits, &server->limit_count, err) <
			0 ||
		process_raise_descriptor_limit(err) < 0)
		return err->code;
	if (server->conf.secret_key_file[0] != '\0' &&
		vault_open(server->conf.secret_key_file, &server->vault, err) < 0)
		return err->code;
	if (server->conf.log_file[0] != '\0' && log_reopen(server->conf.log_file, err) < 0)
		return err->code;
	if (uv_loop_init(&server->loop) != 0)
		return err_set(err, ERR_FULL, "no descriptors or no memory left on this machine");
	return 0;
}

int server_run(int argc, char **argv)
{
	struct server server = {.argv = argv};
	struct err err = {0};
	int status;

	process_open_standard_descriptors();
	server.has_init = process_leave_init();
	process_ignore_write_signals();
	if (prepare(&server, argc, argv, &err) < 0) {
		(void)fprintf(stderr, "gathering serve: %s\n", err.text);
		vault_close(server.vault);
		conf_fini(&server.conf);
		return err_exit_status(err.code);
	}
	server_configure_log(&server.conf);
	status = serve(&server);
	vault_close(server.vault);
	run_limits_fini(server.limits, server.limit_count);
	conf_fini(&server.conf);
	return status;
}
