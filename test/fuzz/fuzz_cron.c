/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzzing what plan/ reads from outside: cron expressions, intervals, moments, zone names, and zone
 * files with their rules (fuzz_text.c tries the parsers of base/ below them). The first byte picks
 * the parser and the settings, the rest is its text. Whatever is taken must then keep the promises
 * of plan.h; whatever is refused must say why in words that a terminal and a JSON document can
 * bear.
 *
 * `tools/run-fuzz cron` runs it with libFuzzer, and test/unit/test_fuzz_plan.c on mutations of good
 * inputs in every `make test`. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "plan/zone_priv.h"
#include "promises.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void try_rule(const char *text, size_t len)
{
	struct zone_rule rule;
	struct zone_change to_dst, to_std;

	if (!zone_rule_parse(text, len, &rule))
		return;
	zone_rule_changes(&rule, 2028, &to_dst, &to_std);
	must(llabs(to_dst.at_s - INT64_C(1830297600)) < INT64_C(400) * 86400);
	must(llabs(to_std.at_s - INT64_C(1830297600)) < INT64_C(400) * 86400);
}

static void try_zone_file(const uint8_t *bytes, size_t len)
{
	struct zone zone = {0};
	struct err err = {0};
	int64_t at_s = 0;

	if (zone_file_parse(bytes, len, &zone, &err) != ERR_NONE) {
		must(err.text[0] != '\0' && !zone.changes);
		return;
	}
	for (int i = 0; i < WALK && at_s < DUE_MAX_S; i++) {
		struct zone_span span = zone_find(&zone, at_s);

		must(span.start_at_s <= at_s && span.end_at_s > at_s);
		at_s = span.end_at_s;
	}
	free(zone.changes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const char *const zones[] = {
		NULL, "Europe/Paris", "Australia/Lord_Howe", "Pacific/Apia"};
	uint8_t pick = len ? bytes[0] : 0;
	const uint8_t *rest = bytes + (len > 0);
	size_t rest_len = len - (len > 0);
	auto_free char *text = xmemdup(rest, rest_len);
	struct schedule_spec spec = {.cron = text,
		.name = pick & 7 ? "fuzz" : NULL,
		.jitter = (pick & 7) == 7 ? "90s" : NULL,
		.timezone = zones[pick >> 3 & 3],
		.dst_gap = (enum dst_gap)(pick >> 5 & 1),
		.dst_overlap = (enum dst_overlap)((pick >> 6) % 3),
		.day_match = (enum day_match)(pick & 1)};

	switch (pick & 7) {
	case 2:
		try_spec(&(struct schedule_spec){.every = text});
		try_spec(&(struct schedule_spec){.every = text, .jitter = "1m", .name = "fuzz"});
		try_spec(&(struct schedule_spec){
			.cron = "0,1 2 * * *", .jitter = text, .name = "fuzz"});
		break;
	case 3:
		try_spec(&(struct schedule_spec){.at = text});
		try_spec(&(struct schedule_spec){.every = "90s", .anchor = text});
		try_spec(&(struct schedule_spec){.every = "90s", .start_at = text});
		try_spec(&(struct schedule_spec){.cron = "0 9 * * *", .end_at = text});
		break;
	case 4:
		try_zone_file(rest, rest_len);
		break;
	case 5:
		try_rule(text, rest_len);
		break;
	case 6:
		try_spec(&(struct schedule_spec){.cron = "0 * * * *", .timezone = text});
		break;
	default:
		try_spec(&spec);
	}
	return 0;
}
