/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers picked by an action's name: the same ones on every instance, after every restart and in
 * every release to come, since a changed one would move due times. test_spread.c holds examples
 * computed elsewhere; doc/schedules.md has the formula. */
#include "plan/plan_priv.h"

/* FNV-1a of 64 bits (draft-eastlake-fnv). */
uint64_t spread_hash(const char *name)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; *name != '\0'; name++)
		hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
	return hash;
}

/* The number `salt` of the SplitMix64 sequence that begins at the hash: FNV alone hardly moves the
 * high bits of names that differ in their last letter, as job-1 and job-2 do. */
int64_t spread_pick(uint64_t hash, uint64_t salt, int64_t count)
{
	uint64_t mixed = hash + salt * UINT64_C(0x9e3779b97f4a7c15);

	mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
	mixed ^= mixed >> 31;
	return (int64_t)(mixed % (uint64_t)count);
}
