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

enum metric_kind {
	METRIC_COUNTER,
	METRIC_GAUGE
};

/* Appends HELP and TYPE of gathering_<name>[_total]; its samples have to follow, each written with
 * metric_write_sample. `label`: "pool=\"reads\"", or NULL when there is one sample only. */
void metric_write_head(struct buf *out, enum metric_kind kind, const char *name, const char *help);
void metric_write_sample(
	struct buf *out, enum metric_kind kind, const char *name, const char *label, int64_t value);

/* Appends all of them as gathering_<name>[_total] with HELP and TYPE. */
void metrics_write(struct buf *out);
