/* SPDX-License-Identifier: Apache-2.0
 *
 * The clocks, injectable for tests. Milliseconds throughout: `_at_ms` is wall clock UTC since
 * 1970, `_mono_ms` and `_boot_ms` monotonic, `_ms` otherwise a duration. Never mixed. */
#pragma once

#include <stdint.h>

/* "Never" or "not set" for an _at_ms value. */
#define NO_TIME INT64_MIN

struct clock_source {
	int64_t (*wall_ms)(void);
	int64_t (*mono_ms)(void);
};

/* Wall clock. Only for log lines, new ids and the SQLite store (whose database clock it is). */
int64_t clock_wall_ms(void);

/* Monotonic clock, for every duration and deadline. */
int64_t clock_mono_ms(void);

/* Monotonic too, but goes on while the machine sleeps (CLOCK_BOOTTIME): for what another machine
 * counts as well, such as a lease. Async-signal-safe. */
int64_t clock_boot_ms(void);

/* Replaces the clocks (boot by mono); NULL restores the real ones. Before the loop starts; tests
 * only. */
void clock_set_source(const struct clock_source *source);
