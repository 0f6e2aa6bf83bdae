/* SPDX-License-Identifier: Apache-2.0
 *
 * counters.def as storage and as Prometheus text. */
#include "base/metric.h"

#include <inttypes.h>

struct metric_entry {
	enum metric_kind kind;
	const char *name;
	const char *help;
	const int64_t *value;
};

struct metrics metrics;

static const struct metric_entry metric_table[] = {
#define X(kind, name, help) {METRIC_##kind, #name, help, &metrics.name},
#include "base/counters.def"
#undef X
};

static const char *const types[] = {[METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge"};
static const char *const suffixes[] = {[METRIC_COUNTER] = "_total", [METRIC_GAUGE] = ""};

void metric_write_head(struct buf *out, enum metric_kind kind, const char *name, const char *help)
{
	buf_printf(out, "# HELP gathering_%s%s %s\n", name, suffixes[kind], help);
	buf_printf(out, "# TYPE gathering_%s%s %s\n", name, suffixes[kind], types[kind]);
}

void metric_write_sample(
	struct buf *out, enum metric_kind kind, const char *name, const char *label, int64_t value)
{
	buf_printf(out, "gathering_%s%s", name, suffixes[kind]);
	if (label)
		buf_printf(out, "{%s}", label);
	buf_printf(out, " %" PRId64 "\n", value);
}

void metrics_write(struct buf *out)
{
	for (size_t i = 0; i < sizeof(metric_table) / sizeof(metric_table[0]); i++) {
		const struct metric_entry *metric = &metric_table[i];

		metric_write_head(out, metric->kind, metric->name, metric->help);
		metric_write_sample(out, metric->kind, metric->name, NULL, *metric->value);
	}
}
