/* SPDX-License-Identifier: Apache-2.0
 *
 * Counters and gauges from counters.def, and their Prometheus text (exposition format 0.0.4). */
#pragma once

#include <stdint.h>

#include "base/buf.h"

/* One field a row of counters.def. Written from the loop thread only. */
struct metrics {
#define X(kind, name, help) int64_t name;
#include "base/counters.def"
#undef X
};

extern struct metrics metrics;

/* Appends all of them as gathering_<name>[_total] with HELP and TYPE. */
void metrics_write(struct buf *out);
