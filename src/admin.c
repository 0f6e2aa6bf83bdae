/* SPDX-License-Identifier: Apache-2.0
 *
 * The API object, and the admin socket: a second, small HTTP server on a unix socket of the owner's
 * alone (0600). It opens before everything else that answers and closes last, so that an operator
 * can watch a start, a drain and a stop to their ends while the listener is not there. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/http.h"
#include "life/life.h"
#include "server_priv.h"

/* A handful of people and scripts. */
#define ADMIN_BACKLOG     16
#define ADMIN_CONNECTIONS 32
#define ADMIN_HEADER_MAX  8192
#define ADMIN_BODY_MAX    4096
#define ADMIN_TIMEOUT_MS  10000
#define ADMIN_IDLE_MS     60000

int64_t server_db_grace_ms(const struct conf *conf)
{
	if (strcmp(conf->ready_db, "ignore") == 0)
		return API_DB_IGNORED;
	return strcmp(conf->ready_db, "strict") == 0 ? 0 : conf->ready_db_grace;
}

static int open_api(struct server *server, struct err *err)
{
	/* the disk that matters is the database's */
	auto_free char *folder = server_database_folder(&server->conf);
	struct api_opts opts = {
		.vault = server->vault,
		.loop = &server->loop,
		.life = server->life,
		.version = GATHERING_VERSION,
		.instance_id = server->instance_id,
		.rate_health = (int)server->conf.rate_health,
		.rate_probe = (int)server->conf.rate_probe,
		.db_grace_ms = server_db_grace_ms(&server->conf),
		.event_window_ms = server->conf.event_window,
		.queued_max = (int)server->conf.max_queued,
		.disk_path = folder,
	};

	return api_create(&opts, &server->api, err);
}

static int open_admin(struct server *server, struct err *err)
{
	auto_free char *listen = xasprintf("unix:%s", server->conf.admin_socket);
	int fd = server->inherited.admin_fd;
	struct http_socket socket = {.fd = fd, .is_shared = true};
	struct http_opts opts = {
		.loop = &server->loop,
		.listen = listen,
		.socket = fd >= 0 ? &socket : NULL,
		.is_held = fd >= 0,
		.is_private = true,
		.backlog = ADMIN_BACKLOG,
		.connections_max = ADMIN_CONNECTIONS,
		.connections_per_address = ADMIN_CONNECTIONS,
		.header_max = ADMIN_HEADER_MAX,
		.body_max = ADMIN_BODY_MAX,
		.header_timeout_ms = ADMIN_TIMEOUT_MS,
		.body_timeout_ms = ADMIN_TIMEOUT_MS,
		.idle_timeout_ms = ADMIN_IDLE_MS,
	};

	server->inherited.admin_fd = -1;
	if (server->conf.admin_socket[0] == '\0') {
		if (fd >= 0)
			(void)close(fd);
		return 0;
	}
	return http_create(&opts, api_handle_private, server->api, &server->admin, err);
}

void admin_part_start(void *data)
{
	struct server *server = data;
	struct err err = {0};
	int status = open_api(server, &err);

	if (status == 0)
		status = open_admin(server, &err);
	if (status == 0 && server->admin)
		log_info("admin socket", kv_str("address", http_address(server->admin)));
	if (status < 0 && server->api) /* the walk back begins below this part */
		api_destroy(take_ptr(server->api), NULL, NULL);
	server_report(server, status, &err);
}

static void on_api_destroyed(void *data)
{
	struct server *server = data;

	server->api = NULL;
	life_part_done(server->life);
}

static void on_admin_destroyed(void *data)
{
	struct server *server = data;

	server->admin = NULL;
	api_destroy(server->api, on_api_destroyed, server);
}

void admin_part_stop(void *data)
{
	struct server *server = data;

	if (server->admin)
		http_destroy(server->admin, on_admin_destroyed, server);
	else
		on_admin_destroyed(server);
}
