/* SPDX-License-Identifier: Apache-2.0
 *
 * counters.def as storage and as Prometheus text. */
#include "base/metric.h"

#include <inttypes.h>

enum metric_kind {
	COUNTER,
	GAUGE
};

struct metric_entry {
	enum metric_kind kind;
	const char *name;
	const char *help;
	const int64_t *value;
};

struct metrics metrics;

static const struct metric_entry metric_table[] = {
#define X(kind, name, help) {kind, #name, help, &metrics.name},
#include "base/counters.def"
#undef X
};

void metrics_write(struct buf *out)
{
	static const char *const types[] = {[COUNTER] = "counter", [GAUGE] = "gauge"};
	static const char *const suffixes[] = {[COUNTER] = "_total", [GAUGE] = ""};

	for (size_t i = 0; i < sizeof(metric_table) / sizeof(metric_table[0]); i++) {
		const struct metric_entry *metric = &metric_table[i];
		const char *suffix = suffixes[metric->kind];

		buf_printf(out, "# HELP gathering_%s%s %s\n", metric->name, suffix, metric->help);
		buf_printf(out, "# TYPE gathering_%s%s %s\n", metric->name, suffix,
			types[metric->kind]);
		buf_printf(
			out, "gathering_%s%s %" PRId64 "\n", metric->name, suffix, *metric->value);
	}
}
