/* SPDX-License-Identifier: Apache-2.0
 *
 * No blocking call on the loop thread, proved for everything that a test of src/pg does: these take
 * the place of libc's functions in libpq, libuv and ourselves, and end the program when the main
 * thread waits in one of them. Included once in a program. */
#pragma once

#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned long guard_calls; /* that passed: the guard is in place */

static void guard(bool would_block, const char *what)
{
	static const char text[] = ": would block the loop\n";

	if (gettid() != getpid())
		return;
	guard_calls++;
	if (!would_block)
		return;
	(void)!write(STDERR_FILENO, what, strlen(what));
	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	abort();
}

/* At the end of a program: the guard has seen the calls. */
static void guard_check(void)
{
	assert_true(guard_calls > 0);
}

static bool guard_is_blocking(int fd)
{
	return (fcntl(fd, F_GETFL) & O_NONBLOCK) == 0;
}

int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};

	guard(timeout_ms != 0, "poll");
	return (int)syscall(SYS_ppoll, fds, count, timeout_ms < 0 ? NULL : &timeout, NULL, 0);
}

int select(int count, fd_set *restrict reads, fd_set *restrict writes, fd_set *restrict exceptions,
	struct timeval *restrict timeout)
{
	guard(timeout == NULL || timeout->tv_sec != 0 || timeout->tv_usec != 0, "select");
	return (int)syscall(SYS_select, count, reads, writes, exceptions, timeout);
}

ssize_t recv(int fd, void *bytes, size_t len, int flags)
{
	guard(guard_is_blocking(fd) && (flags & MSG_DONTWAIT) == 0, "recv");
	return syscall(SYS_recvfrom, fd, bytes, len, flags, NULL, NULL);
}

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
	guard(guard_is_blocking(fd) && (flags & MSG_DONTWAIT) == 0, "send");
	return syscall(SYS_sendto, fd, bytes, len, flags, NULL, 0);
}

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
	guard(guard_is_blocking(fd), "connect");
	return (int)syscall(SYS_connect, fd, address, len);
}

/* Only a name can take time. */
int getaddrinfo(const char *restrict name, const char *restrict service,
	const struct addrinfo *restrict hints, struct addrinfo **restrict found)
{
	static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

	guard(name != NULL && (hints == NULL || (hints->ai_flags & AI_NUMERICHOST) == 0),
		"getaddrinfo");
	if (real == NULL)
		real = (int (*)(const char *, const char *, const struct addrinfo *,
			struct addrinfo **))dlsym(RTLD_NEXT, "getaddrinfo");
	return real(name, service, hints, found);
}
