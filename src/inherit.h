/* SPDX-License-Identifier: Apache-2.0
 *
 * What this process was given by whoever started it: a listening socket by systemd (socket
 * activation, sd_listen_fds(3)), or everything a hand-over needs by the process it is to replace
 * (upgrade.c). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct inherited {
	int listen_fd;     /* -1: none, as with the others */
	bool is_shared;    /* systemd goes on listening on it when we are gone */
	int channel_fd;    /* to the predecessor */
	int lock_fd;       /* the lock of its database file */
	int admin_fd;      /* its admin socket */
	int64_t handovers; /* of this service so far */
};

/* The descriptors in a process that takes over, and the variable that says which of them are there:
 * one digit for the lock, one for is_shared, one for the admin socket. */
#define UPGRADE_CHANNEL_FD 3
#define UPGRADE_LISTEN_FD  4
#define UPGRADE_LOCK_FD    5
#define UPGRADE_ADMIN_FD   6
#define UPGRADE_LAST_FD    UPGRADE_ADMIN_FD
#define UPGRADE_VARIABLE   "GATHERING_UPGRADE"
#define HANDOVERS_VARIABLE "GATHERING_HANDOVERS"

/* Reads the environment and takes what it names out of it, so that nobody further down believes it
 * is meant. First of all in a process: it relies on the descriptors being where they were put.
 * ERR_INVALID: several sockets were passed. */
int inherit(struct inherited *ret_inherited, struct err *err);

/* Whether only this machine can reach a listening socket. */
bool inherit_is_local(int listen_fd);
