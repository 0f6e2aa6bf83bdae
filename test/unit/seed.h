/* SPDX-License-Identifier: Apache-2.0
 *
 * Random numbers for tests, from a seed that is printed and can be given again:
 * GATHERING_TEST_SEED. */
#pragma once

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/text.h"

struct seed {
	uint64_t state;
};

static inline struct seed seed_start(const char *test)
{
	const char *given = getenv("GATHERING_TEST_SEED");
	int64_t value = 0;

	if (!given || !parse_i64(given, 0, INT64_MAX, &value))
		value = clock_wall_ms();
	(void)fprintf(stderr, "# %s: GATHERING_TEST_SEED=%" PRId64 "\n", test, value);
	return (struct seed){(uint64_t)value};
}

/* SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators). */
static inline uint64_t seed_next(struct seed *seed)
{
	uint64_t mixed = seed->state += UINT64_C(0x9e3779b97f4a7c15);

	mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
	return mixed ^ mixed >> 31;
}

/* 0 .. count - 1 */
static inline uint64_t seed_below(struct seed *seed, uint64_t count)
{
	return seed_next(seed) % count;
}
