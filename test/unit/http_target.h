/* SPDX-License-Identifier: Apache-2.0
 *
 * A small HTTP/1.1 server on loopback for the tests of webhooks: a thread a connection, blocking,
 * and it does what the path says:
 *
 *   /status/503      that status          /echo          the request as it came, as the body
 *   /redirect/3      that many redirects, then 200       /circle        to itself for ever
 *   /to?URL          302 to URL           /via/307?URL   307 to URL
 *   /headers?LINES   503 with these header lines; '|' ends one, '+' is a space
 *   /big/N           N bytes with a length           /endless       chunks until the client leaves
 *   /hang            no answer                       /hang-head     half a head
 *   /hang-body       a head, 10 bytes of 100         /short         the same, and the end
 *   /reset           RST                             /close         the end without an answer
 *   /flood           headers without end           /ssh           what is not HTTP */
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"

#define TARGET_REQUEST_MAX (2 << 20)

struct target {
	int listener;
	int port;
	pthread_t thread;
	atomic_int accepts;
	atomic_int open;
	atomic_int requests;
};

struct target_client {
	struct target *target;
	int fd;
};

/* False: the client is gone. */
static inline bool target_send(int fd, const void *bytes, size_t len)
{
	const char *from = bytes;

	while (len > 0) {
		ssize_t sent = send(fd, from, len, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		from += sent;
		len -= (size_t)sent;
	}
	return true;
}

__attribute__((format(printf, 2, 3))) static inline bool target_sendf(int fd, const char *fmt, ...)
{
	char *text = NULL;
	va_list args;
	bool is_sent;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	va_end(args);
	is_sent = target_send(fd, text, strlen(text));
	free(text);
	return is_sent;
}

static inline bool target_answer(int fd, int status, const char *headers, const char *body)
{
	return target_sendf(fd, "HTTP/1.1 %d Answer\r\n%sContent-Length: %zu\r\n\r\n%s", status,
		headers, strlen(body), body);
}

static inline void target_wait_for_client_to_leave(int fd)
{
	char byte;

	while (recv(fd, &byte, 1, 0) > 0)
		continue;
}

static inline bool target_send_bytes(int fd, int64_t len)
{
	static const char block[65536];

	while (len > 0) {
		size_t part = len < (int64_t)sizeof(block) ? (size_t)len : sizeof(block);

		if (!target_send(fd, block, part))
			return false;
		len -= (int64_t)part;
	}
	return true;
}

static inline int64_t target_number(const char *text)
{
	int64_t number;

	if (!parse_i64(text, 0, INT64_MAX, &number))
		abort();
	return number;
}

static inline bool target_redirect(int fd, const char *count)
{
	int64_t left = target_number(count);
	char header[64];

	if (left == 0)
		return target_answer(fd, 200, "", "arrived");
	(void)snprintf(header, sizeof(header), "Location: /redirect/%lld\r\n", (long long)left - 1);
	return target_answer(fd, 302, header, "not the body");
}

static inline bool target_headers(int fd, const char *lines)
{
	auto_free char *text = xasprintf("%s\n", lines);

	for (char *at = text; *at != '\0'; at++) {
		if (*at == '|')
			*at = '\n';
		else if (*at == '+')
			*at = ' ';
	}
	return target_answer(fd, 503, text, "");
}

static inline bool target_flood(int fd)
{
	bool goes_on = target_sendf(fd, "HTTP/1.1 200 OK\r\n");

	for (int i = 0; goes_on && i < 100000; i++)
		goes_on = target_sendf(fd, "X-Flood-%d: %0512d\r\n", i, 0);
	return false;
}

static inline bool target_endless(int fd)
{
	bool goes_on = target_sendf(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");

	while (goes_on)
		goes_on = target_sendf(fd, "10000\r\n") && target_send_bytes(fd, 0x10000) &&
			  target_sendf(fd, "\r\n");
	return false;
}

static inline bool target_reset(int fd)
{
	struct linger linger = {.l_onoff = 1};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	return false;
}

/* True: the connection can be used again. */
static inline bool target_serve(int fd, const char *path, const char *request)
{
	if (strncmp(path, "/status/", 8) == 0)
		return target_answer(fd, (int)target_number(path + 8), "", "a body");
	if (strcmp(path, "/204") == 0)
		return target_sendf(fd, "HTTP/1.1 204 No Content\r\n\r\n");
	if (strcmp(path, "/echo") == 0)
		return target_answer(fd, 200, "", request);
	if (strncmp(path, "/redirect/", 10) == 0)
		return target_redirect(fd, path + 10);
	if (strcmp(path, "/circle") == 0)
		return target_answer(fd, 302, "Location: /circle\r\n", "");
	if (strncmp(path, "/to?", 4) == 0)
		return target_sendf(fd,
			"HTTP/1.1 302 Found\r\nLocation: %s\r\n"
			"Content-Length: 0\r\n\r\n",
			path + 4);
	if (strncmp(path, "/via/307?", 9) == 0)
		return target_sendf(fd,
			"HTTP/1.1 307 Temporary\r\nLocation: %s\r\n"
			"Content-Length: 0\r\n\r\n",
			path + 9);
	if (strncmp(path, "/headers?", 9) == 0)
		return target_headers(fd, path + 9);
	if (strncmp(path, "/big/", 5) == 0)
		return target_sendf(
			       fd, "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n", path + 5) &&
		       target_send_bytes(fd, target_number(path + 5));
	if (strcmp(path, "/endless") == 0)
		return target_endless(fd);
	if (strcmp(path, "/hang-body") == 0)
		(void)target_sendf(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789");
	if (strcmp(path, "/hang-head") == 0)
		(void)target_sendf(fd, "HTTP/1.1 200 OK\r\nX-Half: ");
	if (strncmp(path, "/hang", 5) == 0)
		target_wait_for_client_to_leave(fd);
	if (strcmp(path, "/short") == 0)
		(void)target_sendf(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789");
	if (strcmp(path, "/flood") == 0)
		return target_flood(fd);
	if (strcmp(path, "/ssh") == 0)
		(void)target_sendf(fd, "SSH-2.0-Somebody\r\n");
	if (strcmp(path, "/reset") == 0)
		return target_reset(fd);
	return false;
}

/* A whole request (head, and body by Content-Length), NUL-terminated; NULL at the end. */
static inline char *target_receive(int fd)
{
	char *request = xmalloc(TARGET_REQUEST_MAX);
	size_t len = 0, wanted = 0;

	for (;;) {
		ssize_t got = recv(fd, request + len, TARGET_REQUEST_MAX - 1 - len, 0);
		const char *end, *announced;

		if (got <= 0)
			break;
		len += (size_t)got;
		request[len] = '\0';
		end = strstr(request, "\r\n\r\n");
		if (end == NULL)
			continue;
		announced = strcasestr(request, "\r\nContent-Length: ");
		wanted = (size_t)(end - request) + 4;
		if (announced != NULL && announced < end) {
			auto_free char *number =
				xstrndup(announced + 18, strcspn(announced + 18, "\r"));

			wanted += (size_t)target_number(number);
		}
		if (len >= wanted)
			return request;
	}
	free(request);
	return NULL;
}

static inline void *target_client_main(void *data)
{
	struct target_client *client = data;
	bool goes_on = true;

	while (goes_on) {
		auto_free char *request = target_receive(client->fd);
		auto_free char *path = NULL;
		const char *begin;

		if (request == NULL)
			break;
		atomic_fetch_add(&client->target->requests, 1);
		begin = strchr(request, ' ') + 1;
		path = xstrndup(begin, strcspn(begin, " "));
		goes_on = target_serve(client->fd, path, request);
	}
	(void)close(client->fd);
	atomic_fetch_sub(&client->target->open, 1);
	free(client);
	return NULL;
}

static inline void *target_main(void *data)
{
	struct target *target = data;

	for (;;) {
		int fd = accept4(target->listener, NULL, NULL, SOCK_CLOEXEC);
		struct target_client *client;
		pthread_t thread;

		if (fd < 0)
			return NULL;
		atomic_fetch_add(&target->accepts, 1);
		atomic_fetch_add(&target->open, 1);
		client = xmalloc(sizeof(*client));
		*client = (struct target_client){target, fd};
		if (pthread_create(&thread, NULL, target_client_main, client) != 0)
			abort();
		(void)pthread_detach(thread);
	}
}

/* A listening socket on 127.0.0.1 with a port of its own. */
static inline int target_listen(int backlog, int *ret_port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static inline void target_start(struct target *target)
{
	*target = (struct target){0};
	target->listener = target_listen(1024, &target->port);
	assert_int_equal(pthread_create(&target->thread, NULL, target_main, target), 0);
}

/* All clients must have left (the executor is closed), so their threads end. */
static inline void target_stop(struct target *target)
{
	(void)shutdown(target->listener, SHUT_RDWR);
	assert_int_equal(pthread_join(target->thread, NULL), 0);
	(void)close(target->listener);
	while (atomic_load(&target->open) > 0)
		(void)usleep(1000);
}
