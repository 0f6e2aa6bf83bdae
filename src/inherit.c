/* SPDX-License-Identifier: Apache-2.0 */
#include "inherit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"

#define ACTIVATION_FD 3 /* SD_LISTEN_FDS_START */

static int keep_to_ourselves(int fd)
{
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	return fd;
}

static int read_activation(struct inherited *inherited, struct err *err)
{
	const char *pid_text = getenv("LISTEN_PID"), *count_text = getenv("LISTEN_FDS");
	int64_t pid = 0, count = 0;

	if (!pid_text || !count_text || !parse_i64(pid_text, 1, INT32_MAX, &pid) || pid != getpid())
		return 0;
	if (!parse_i64(count_text, 0, INT32_MAX, &count) || count == 0)
		return 0;
	if (count > 1)
		return err_set(err, ERR_INVALID,
			"%lld sockets were passed to us and one can be served: leave one "
			"ListenStream= in the .socket unit",
			(long long)count);
	inherited->listen_fd = keep_to_ourselves(ACTIVATION_FD);
	inherited->is_shared = true;
	return 0;
}

static void read_upgrade(struct inherited *inherited, const char *what)
{
	const char *count = getenv(HANDOVERS_VARIABLE);

	inherited->channel_fd = keep_to_ourselves(UPGRADE_CHANNEL_FD);
	inherited->listen_fd = keep_to_ourselves(UPGRADE_LISTEN_FD);
	if (what[0] == '1')
		inherited->lock_fd = keep_to_ourselves(UPGRADE_LOCK_FD);
	inherited->is_shared = what[1] == '1';
	if (count)
		(void)parse_i64(count, 0, INT64_MAX - 1, &inherited->handovers);
	if (what[2] == '1')
		inherited->admin_fd = keep_to_ourselves(UPGRADE_ADMIN_FD);
}

int inherit(struct inherited *ret_inherited, struct err *err)
{
	static const char *const variables[] = {
		UPGRADE_VARIABLE, HANDOVERS_VARIABLE, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"};
	struct inherited inherited = {
		.listen_fd = -1, .channel_fd = -1, .lock_fd = -1, .admin_fd = -1};
	const char *upgrade = getenv(UPGRADE_VARIABLE);
	int status = 0;

	if (upgrade && strlen(upgrade) == 3)
		read_upgrade(&inherited, upgrade);
	else
		status = read_activation(&inherited, err);
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		(void)unsetenv(variables[i]);
	if (status == 0)
		*ret_inherited = inherited;
	return status;
}

bool inherit_is_local(int listen_fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_storage room;
	} addr = {0};
	socklen_t len = sizeof(addr);

	if (getsockname(listen_fd, &addr.any, &len) != 0)
		return true; /* no socket: adopting it will say so */
	if (addr.any.sa_family == AF_INET)
		return ntohl(addr.v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	if (addr.any.sa_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&addr.v6.sin6_addr);
	return true;
}
