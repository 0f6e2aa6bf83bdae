/* SPDX-License-Identifier: Apache-2.0
 *
 * Intervals and single moments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "plan_input.h"
#include "seed.h"

#define ROUNDS 20000

/* A row a line: */
/* clang-format off */

static void test_interval_is_due_at_whole_multiples_from_its_anchor(void **state)
{
	static const struct {
		struct schedule_spec spec;
		const char *after;
		const char *dues[DUES_MAX];
	} rows[] = {
		{{.every = "90s"}, "2026-01-01T00:00:00Z", {"2026-01-01T00:01:30+00:00", "2026-01-01T00:03:00+00:00"}},
		{{.every = "90s"}, "2025-12-31T23:59:59.999Z", {"2026-01-01T00:00:00+00:00"}},
		{{.every = "100ms"}, "2026-01-01T00:00:00.150Z", {"2026-01-01T00:00:00.200+00:00", "2026-01-01T00:00:00.300+00:00"}},
		/* the epoch was a Thursday */
		{{.every = "1w"}, "2026-01-02T00:00:00Z", {"2026-01-08T00:00:00+00:00", "2026-01-15T00:00:00+00:00"}},
		{{.every = "1h30m", .anchor = "2026-01-01T00:10:00Z"}, "2026-01-01T00:10:00Z", {"2026-01-01T01:40:00+00:00", "2026-01-01T03:10:00+00:00"}},
		/* the anchor itself is due, and so is what lies before it */
		{{.every = "1h30m", .anchor = "2026-01-01T00:10:00Z"}, "2025-12-31T22:00:00Z", {"2025-12-31T22:40:00+00:00", "2026-01-01T00:10:00+00:00"}},
		{{.every = "1d", .anchor = "2030-01-01T02:30:00.250+01:00"}, "2026-01-01T00:00:00Z", {"2026-01-01T01:30:00.250+00:00"}},
		/* no zone moves an interval; it only shows in the preview */
		{{.every = "1h", .timezone = "Europe/Paris"}, "2026-03-29T00:30:00Z", {"2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"}},
		{{.every = "12h", .timezone = "Europe/Paris"}, "2026-10-24T12:00:00Z", {"2026-10-25T02:00:00+02:00", "2026-10-25T13:00:00+01:00"}},
		{{.every = "36525d"}, "2026-01-01T00:00:00Z", {"2070-01-01T00:00:00+00:00", "2170-01-02T00:00:00+00:00"}},
		{{.every = "1s"}, "9999-12-31T23:59:58Z", {"9999-12-31T23:59:59+00:00", "none"}},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_dues(&rows[i].spec, rows[i].after, rows[i].dues);
}

static void test_moment_is_due_once(void **state)
{
	static const struct {
		struct schedule_spec spec;
		const char *after;
		const char *dues[DUES_MAX];
	} rows[] = {
		{{.at = "2026-12-01T09:00:00+01:00"}, "2026-01-01T00:00:00Z", {"2026-12-01T08:00:00+00:00", "none"}},
		{{.at = "2026-12-01T09:00:00.123+01:00", .timezone = "Europe/Paris"}, "2026-12-01T08:00:00.122Z", {"2026-12-01T09:00:00.123+01:00", "none"}},
		{{.at = "2026-12-01T09:00:00+01:00"}, "2026-12-01T08:00:00Z", {"none"}},
		{{.at = "2026-12-01T09:00:00+01:00"}, "2027-01-01T00:00:00Z", {"none"}},
		{{.at = "1970-01-01T00:00:00Z"}, "1970-01-01T00:00:00Z", {"none"}},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_dues(&rows[i].spec, rows[i].after, rows[i].dues);
}

/* clang-format on */

static void test_interval_is_never_moved_by_when_it_is_asked(void **state)
{
	struct seed seed = seed_start("test_every");

	for (int round = 0; round < ROUNDS; round++) {
		struct every every = {
			.every_ms = EVERY_MIN_MS + (int64_t)seed_below(&seed, EVERY_MAX_MS),
			.anchor_at_ms = (int64_t)seed_below(&seed, DUE_MAX_MS)};
		int64_t from_ms = (int64_t)seed_below(&seed, DUE_MAX_MS), due_ms = 0;

		if (round % 2)
			every.every_ms = EVERY_MIN_MS + (int64_t)seed_below(&seed, 100000);
		if (!every_next(&every, from_ms, &due_ms)) {
			assert_true(from_ms > DUE_MAX_MS - every.every_ms);
			continue;
		}
		assert_true(due_ms >= from_ms && due_ms - from_ms < every.every_ms);
		assert_true((due_ms - every.anchor_at_ms) % every.every_ms == 0);
		assert_true(every_count(&every, from_ms, due_ms) == 1);
		assert_true(every_count(&every, from_ms, due_ms - 1) == 0);
	}
}

static void test_schedule_lives_as_long_as_its_references(void **state)
{
	struct schedule *schedule = plan_input(&(struct schedule_spec){.every = "5m"});

	assert_int_equal(schedule_kind(schedule), SCHEDULE_EVERY);
	assert_null(schedule_warning(schedule));
	assert_ptr_equal(schedule_ref(schedule), schedule);
	schedule_unref(schedule);
	assert_true(schedule_next(schedule, 0) == 300000);
	schedule_unref(schedule);
	schedule_unref(NULL);
}

static void test_names_stand_in_the_order_of_their_enums(void **state)
{
	assert_string_equal(dst_gap_names[DST_GAP_SKIP], "skip");
	assert_null(dst_gap_names[DST_GAP_SKIP + 1]);
	assert_string_equal(dst_overlap_names[DST_OVERLAP_LAST], "last");
	assert_null(dst_overlap_names[DST_OVERLAP_BOTH + 1]);
	assert_string_equal(day_match_names[DAY_MATCH_BOTH], "both");
	assert_null(day_match_names[DAY_MATCH_BOTH + 1]);
	assert_string_equal(misfire_names[MISFIRE_EARLIEST], "earliest");
	assert_null(misfire_names[MISFIRE_ALL + 1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interval_is_due_at_whole_multiples_from_its_anchor),
		cmocka_unit_test(test_moment_is_due_once),
		cmocka_unit_test(test_interval_is_never_moved_by_when_it_is_asked),
		cmocka_unit_test(test_schedule_lives_as_long_as_its_references),
		cmocka_unit_test(test_names_stand_in_the_order_of_their_enums),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
