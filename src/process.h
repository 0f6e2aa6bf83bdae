/* SPDX-License-Identifier: Apache-2.0
 *
 * What a server's process puts right about itself before anything else is opened. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/* A supervisor may start us with 0, 1 or 2 closed; the next file opened would then get that number,
 * and the log or a program's output would go into it. */
void process_open_standard_descriptors(void);

/* As the first process of a container somebody has to reap what programs leave behind, and nobody
 * else can. So that process stays behind as no more than that: it starts the server proper, passes
 * signals on to it, reaps whoever loses its parent, and ends as the server ends. Returns in the
 * server: true when there is such a process above it. Before any thread is started. */
bool process_leave_init(void);

/* A client that left, a log nobody reads and a file at its size limit are errors of one write, not
 * our end. Programs get the defaults back (exec/child.c). */
void process_ignore_write_signals(void);

/* Each connection and each program takes descriptors; the soft limit of 1024 is a relic of
 * select(2). ERR_FULL when the hard limit does not even allow a start. */
int process_raise_descriptor_limit(struct err *err);
