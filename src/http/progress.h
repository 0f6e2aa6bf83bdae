/* SPDX-License-Identifier: Apache-2.0
 *
 * How far a TCP stream has come, according to the kernel. A file of its own because the C library's
 * <netinet/tcp.h>, which uv.h includes, knows only an older struct tcp_info and cannot stand beside
 * <linux/tcp.h>. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct tcp_progress {
	uint64_t received_bytes; /* that have arrived, read or not */
	uint64_t acked_bytes;    /* of ours that the peer has acknowledged */
};

/* False when the kernel does not say (not TCP, Linux before 4.2). */
bool tcp_progress_read(int fd, struct tcp_progress *ret_progress);
