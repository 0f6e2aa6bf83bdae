/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by the files of the composition root: the server object, and the hooks of those parts that
 * have a file of their own. */
#pragma once

#include <stddef.h>
#include <uv.h>

#include "base/err.h"
#include "base/id.h"
#include "conf/conf.h"
#include "exec/exec.h"
#include "inherit.h"
#include "life/life.h"
#include "model/model.h"
#include "notice.h"
#include "successor.h"
#include "upgrade.h"

#define SERVER_SIGNALS 6

/* A reading of the configuration, on a worker thread; reload.c's. */
struct reload {
	uv_work_t work;
	char **argv;          /* borrowed */
	const char *log_file; /* borrowed from the configuration: it waits for a restart */
	struct conf fresh;
	struct err err;
	int status;
	bool is_busy, is_stopping;
};

struct server {
	bool has_init; /* we run under the first process of a container, which ends with us */
	char **argv;   /* of the process: what a successor is started with */
	struct conf conf;
	struct inherited inherited;
	struct successor successor;
	struct upgrade upgrade;
	struct reload reload;
	uv_loop_t loop;
	struct life *life;
	struct id instance_id;
	uv_signal_t signals[SERVER_SIGNALS];
	size_t signals_open;
	struct http *http, *admin; /* admin: NULL without an admin socket */
	struct api *api;
	struct vault *vault; /* NULL: no secret_key_file */
	struct store *store;
	struct err open_err;
	struct exec *exec;
	struct run_limit limits[RUN_LIMITS_MAX];
	size_t limit_count;
	struct sched *sched;
	struct notice notice;
};

/* Starts that can fail end here: done, or the reason why not. */
void server_report(struct server *server, int status, const struct err *err);

/* Of an SQLite file; "." when it has none, and with any other database. Owned by the caller. */
char *server_database_folder(const struct conf *conf);

/* How long runs may go on once the process is to stop: run_max, but early enough for TERM, KILL and
 * their results before total_max. */
int64_t server_run_max_ms(const struct conf *conf);

/* What the executor may do, as far as it can change. */
struct exec_tuning server_exec_tuning(const struct conf *conf);

/* --- reload.c: SIGHUP --- */

void reload_begin(struct server *server);
void reload_part_stop(void *server); /* waits for the one that is under way */
void server_configure_log(const struct conf *conf);

/* --- signals.c --- */

void signals_part_start(void *server);
void signals_part_stop(void *server);

/* Drains and stops; a new process that is not ready yet is given up first. */
void server_stop(struct server *server, enum life_signal signal, const char *cause);

/* --- secrets.c --- */

/* An exec_get_secrets_fn; `server` is what the executor was given with it. */
void secrets_read(char *const *names, exec_secrets_fn *done, void *attempt, void *server);

/* --- admin.c: the API object and the admin socket --- */

void admin_part_start(void *server);

/* As api_opts wants it, from ready_db and ready_db_grace. */
int64_t server_db_grace_ms(const struct conf *conf);
void admin_part_stop(void *server);

/* --- dump.c --- */

void server_dump(const struct server *server);

/* --- doors.c: what clients meet --- */

void listener_part_start(void *server);
void listener_part_stop(void *server);

/* http: opens the doors once all is up; requests in flight end before the runs. */
void http_part_start(void *server);
void http_quiet(void *server);
void http_unquiet(void *server);
void http_part_drain(void *server);
int64_t http_drain_max(void *server);
void http_part_hurry(void *server);
void http_part_stop(void *server);

/* notice: the listener stays open while load balancers learn that we are going. */
void notice_part_start(void *server);
void notice_part_drain(void *server);
void notice_part_hurry(void *server);
void notice_part_stop(void *server);
