/* SPDX-License-Identifier: Apache-2.0
 *
 * From "127.0.0.1:8080", "[::1]:0", "localhost:80" or "unix:/run/x.sock" to a listening socket, and
 * from a peer's socket address to text. Names other than localhost are refused: looking them up
 * would block, and a server that listens where a name happens to point surprises its owner. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "http/http_priv.h"

static int errno_to_err(int number)
{
	switch (number) {
	case EADDRINUSE:
		return ERR_CONFLICT;
	case EACCES:
	case EPERM:
		return ERR_FORBIDDEN;
	case EADDRNOTAVAIL:
	case EAFNOSUPPORT:
		return ERR_INVALID;
	default:
		return ERR_IO;
	}
}

static const char *errno_advice(int number)
{
	switch (number) {
	case EADDRINUSE:
		return "another program listens there; stop it or choose another port";
	case EACCES:
	case EPERM:
		return "not permitted; ports below 1024 need root or CAP_NET_BIND_SERVICE";
	case EADDRNOTAVAIL:
	case EAFNOSUPPORT:
		return "this machine has no such address";
	default:
		return strerror(number);
	}
}

/* Splits "host:port" or "[host]:port". */
static bool split(const char *text, char *host, size_t host_size, in_port_t *ret_port)
{
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;
	int64_t port;

	if (!colon || !parse_i64(colon + 1, 0, 65535, &port))
		return false;
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	} else if (memchr(text, ':', len)) {
		return false;
	}
	if (len == 0 || len >= host_size)
		return false;
	memcpy(host, text, len);
	host[len] = '\0';
	*ret_port = htons((uint16_t)port);
	return true;
}

static bool parse_inet(const char *text, struct sockaddr_storage *addr, socklen_t *ret_len)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)addr;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)addr;
	char host[INET6_ADDRSTRLEN];
	in_port_t port;

	memset(addr, 0, sizeof(*addr));
	if (!split(text, host, sizeof(host), &port))
		return false;
	if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host,
		    &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = port;
		*ret_len = sizeof(*v4);
		return text[0] != '[';
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = port;
	*ret_len = sizeof(*v6);
	return text[0] == '[' && inet_pton(AF_INET6, host, &v6->sin6_addr) == 1;
}

/* Binds and listens on a fresh socket; returns it or -1 with errno set. */
static int open_listening(const struct sockaddr *addr, socklen_t len, int backlog)
{
	int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int number;

	if (fd < 0)
		return -1;
	if (addr->sa_family != AF_UNIX)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	/* "[::]" takes IPv4 too, whatever the machine's bindv6only says. */
	if (addr->sa_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){0}, sizeof(int));
	if (bind(fd, addr, len) == 0 && listen(fd, backlog) == 0)
		return fd;
	number = errno;
	close(fd);
	errno = number;
	return -1;
}

static void format_inet(
	const struct sockaddr_storage *addr, char *ret_host, size_t size, in_port_t *ret_port)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)addr;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)addr;

	if (addr->ss_family == AF_INET) {
		must(inet_ntop(AF_INET, &v4->sin_addr, ret_host, (socklen_t)size));
		*ret_port = ntohs(v4->sin_port);
		return;
	}
	/* An IPv4 client of a dual-stack socket is called by its own name. */
	if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		must(inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], ret_host, (socklen_t)size));
	else
		must(inet_ntop(AF_INET6, &v6->sin6_addr, ret_host, (socklen_t)size));
	*ret_port = ntohs(v6->sin6_port);
}

static void describe_inet(
	const struct sockaddr_storage *addr, char ret_text[static HTTP_ADDRESS_SIZE])
{
	char host[INET6_ADDRSTRLEN];
	in_port_t port;

	format_inet(addr, host, sizeof(host), &port);
	(void)snprintf(ret_text, HTTP_ADDRESS_SIZE,
		addr->ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host, (unsigned)port);
}

static int listen_inet(const char *text, int backlog, struct listener *listener,
	char ret_text[static HTTP_ADDRESS_SIZE], struct err *err)
{
	struct sockaddr_storage addr;
	socklen_t len;

	if (!parse_inet(text, &addr, &len))
		return err_set(err, ERR_INVALID,
			"'%s' is not an address to listen on; write 127.0.0.1:8080, [::1]:8080 or "
			"unix:/path",
			text);
	listener->fd = open_listening((struct sockaddr *)&addr, len, backlog);
	if (listener->fd < 0)
		return err_set(err, errno_to_err(errno), "cannot listen on %s: %s", text,
			errno_advice(errno));
	len = sizeof(addr);
	must(getsockname(listener->fd, (struct sockaddr *)&addr, &len) == 0);
	describe_inet(&addr, ret_text);
	return 0;
}

/* A socket file outlives its process. It is removed only when nobody answers on it. */
static int remove_stale(const struct sockaddr_un *addr, struct err *err)
{
	struct stat status;
	int fd, result;

	if (lstat(addr->sun_path, &status) != 0)
		return 0;
	if (!S_ISSOCK(status.st_mode))
		return err_set(err, ERR_CONFLICT,
			"%s exists and is not a socket; it was left alone", addr->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(err, ERR_IO, "cannot make a socket: %s", strerror(errno));
	result = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ? 0 : errno;
	close(fd);
	if (result != ECONNREFUSED)
		return err_set(err, ERR_CONFLICT, "cannot listen on unix:%s: %s", addr->sun_path,
			result == 0 || result == EAGAIN ? "another program listens there"
							: strerror(result));
	if (unlink(addr->sun_path) != 0 && errno != ENOENT)
		return err_set(err, errno_to_err(errno), "cannot remove the stale socket %s: %s",
			addr->sun_path, strerror(errno));
	return 0;
}

/* What this process put there, so that its end removes nobody else's. */
static void remember_path(struct listener *listener, const char *path)
{
	struct stat status = {0};

	(void)lstat(path, &status);
	listener->unix_path = xstrdup(path);
	listener->unix_device = status.st_dev;
	listener->unix_inode = status.st_ino;
}

static int listen_unix(const char *path, const struct http_opts *opts, struct listener *listener,
	char ret_text[static HTTP_ADDRESS_SIZE], struct err *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	mode_t before = 0;
	int result;

	if (path[0] != '/' || strlen(path) >= sizeof(addr.sun_path))
		return err_set(err, ERR_INVALID,
			"'unix:%s' is not a socket path; it must be absolute and shorter than %zu "
			"bytes",
			path, sizeof(addr.sun_path));
	memcpy(addr.sun_path, path, strlen(path));
	result = remove_stale(&addr, err);
	if (result < 0)
		return result;
	/* By the umask, since a chmod afterwards would come too late for whoever is quick. */
	if (opts->is_private)
		before = umask(0177);
	listener->fd = open_listening((struct sockaddr *)&addr, sizeof(addr), opts->backlog);
	if (opts->is_private)
		(void)umask(before);
	if (listener->fd < 0)
		return err_set(err, errno_to_err(errno), "cannot listen on unix:%s: %s", path,
			strerror(errno));
	listener->is_unix = true;
	remember_path(listener, path);
	(void)snprintf(ret_text, HTTP_ADDRESS_SIZE, "unix:%s", path);
	return 0;
}

int address_listen(const struct http_opts *opts, struct listener *listener,
	char ret_text[static HTTP_ADDRESS_SIZE], struct err *err)
{
	if (strncmp(opts->listen, "unix:", 5) == 0)
		return listen_unix(opts->listen + 5, opts, listener, ret_text, err);
	return listen_inet(opts->listen, opts->backlog, listener, ret_text, err);
}

/* The address of a socket that we were given; an abstract one ("@name") has no file. */
static void describe_unix(const struct sockaddr_un *addr, socklen_t len, struct listener *listener,
	char ret_text[static HTTP_ADDRESS_SIZE])
{
	size_t room = len > offsetof(struct sockaddr_un, sun_path)
			      ? len - offsetof(struct sockaddr_un, sun_path)
			      : 0;
	char path[sizeof(addr->sun_path) + 1] = "";

	memcpy(path, addr->sun_path, room);
	listener->is_unix = true;
	if (path[0] == '/')
		remember_path(listener, path);
	if (room > 0 && path[0] == '\0')
		path[0] = '@';
	(void)snprintf(ret_text, HTTP_ADDRESS_SIZE, "unix:%.*s", (int)sizeof(path) - 1, path);
}

static int refuse_socket(int fd, const char *why, struct err *err)
{
	return err_set(err, ERR_INVALID,
		"the socket that was passed to us (descriptor %d) %s: it must be one listening "
		"stream socket (ListenStream= in the .socket unit, Accept=no)",
		fd, why);
}

int address_adopt(
	int fd, struct listener *listener, char ret_text[static HTTP_ADDRESS_SIZE], struct err *err)
{
	union {
		struct sockaddr_storage any;
		struct sockaddr_un un;
	} addr = {0};
	socklen_t len = sizeof(addr), int_len = sizeof(int);
	int type = 0, is_listening = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &int_len) != 0)
		return refuse_socket(fd, "is no socket", err);
	(void)getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &int_len);
	if (type != SOCK_STREAM || !is_listening)
		return refuse_socket(fd, "does not listen", err);
	must(getsockname(fd, (struct sockaddr *)&addr, &len) == 0);
	if (addr.any.ss_family == AF_UNIX)
		describe_unix(&addr.un, len, listener, ret_text);
	else if (addr.any.ss_family == AF_INET || addr.any.ss_family == AF_INET6)
		describe_inet(&addr.any, ret_text);
	else
		return refuse_socket(fd, "is of a family that is not served", err);
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0 ||
		fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
		return refuse_socket(fd, "cannot be set up", err);
	listener->fd = fd;
	return 0;
}

void address_of_peer(struct peer *peer)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&peer->addr;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&peer->addr;
	in_port_t port;

	peer->is_limited = peer->addr.ss_family == AF_INET || peer->addr.ss_family == AF_INET6;
	memset(peer->key, 0, sizeof(peer->key));
	if (!peer->is_limited) {
		(void)snprintf(peer->text, sizeof(peer->text), "unix");
		return;
	}
	format_inet(&peer->addr, peer->text, sizeof(peer->text), &port);
	if (peer->addr.ss_family == AF_INET)
		memcpy(peer->key + 12, &v4->sin_addr, 4);
	else if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		memcpy(peer->key + 12, &v6->sin6_addr.s6_addr[12], 4);
	else
		memcpy(peer->key, &v6->sin6_addr, 8);
}
