/* SPDX-License-Identifier: Apache-2.0
 *
 * TCP_INFO, see tcp(7) and linux/tcp.h. */
#include "http/progress.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

bool tcp_progress_read(int fd, struct tcp_progress *ret_progress)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 ||
		len < offsetof(struct tcp_info, tcpi_segs_out))
		return false;
	ret_progress->received_bytes = info.tcpi_bytes_received;
	ret_progress->acked_bytes = info.tcpi_bytes_acked;
	return true;
}
