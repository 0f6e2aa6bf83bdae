/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzzing recurrence rules (RFC 5545). The first byte picks zone and settings, the second a start;
 * the rest is the rule. Whatever is taken must keep the promises of plan.h, and quickly: the search
 * is bounded, so libFuzzer's limit of time is a judge as well.
 *
 * `tools/run-fuzz rrule` runs it with libFuzzer, `make test` on mutations of its corpus. */
#include "promises.h"

#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const char *const zones[] = {
		NULL, "Europe/Paris", "Australia/Lord_Howe", "Pacific/Apia"};
	static const char *const starts[] = {NULL, "2026-03-28T01:30:00Z", "1999-12-31T23:59:59.5Z",
		"2024-02-29T12:00:00Z", "2026-10-25T00:30:00Z", "9990-01-01T00:00:00Z"};
	uint8_t pick = len > 0 ? bytes[0] : 0, start = len > 1 ? bytes[1] : 0;
	size_t skip = len < 2 ? len : 2;
	auto_free char *text = xmemdup(bytes + skip, len - skip);
	struct schedule_spec spec = {.rrule = text,
		.name = "fuzz",
		.jitter = (pick & 7) == 7 ? "90s" : NULL,
		.timezone = zones[pick >> 3 & 3],
		.start_at = starts[start % 6],
		.dst_gap = (enum dst_gap)(pick >> 5 & 1),
		.dst_overlap = (enum dst_overlap)((pick >> 6) % 3)};

	try_spec(&spec);
	return 0;
}
