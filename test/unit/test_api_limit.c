/* SPDX-License-Identifier: Apache-2.0
 *
 * The sliding window counter, against a plain list of the moments at which requests passed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "api/limit_priv.h"
#include "base/mem.h"
#include "seed.h"

#define START_MS 1000000

static struct limiter *limiter_of(int health, size_t addresses)
{
	return limiter_create((const int[TIER_COUNT]){[TIER_HEALTH] = health}, addresses);
}

static struct limit_verdict take(struct limiter *limiter, const char *peer, int64_t now)
{
	return limiter_take(limiter, peer, TIER_HEALTH, now);
}

static void test_limit_when_zero_then_nothing_is_counted(void **state)
{
	struct limiter *limiter = limiter_of(0, 10);

	for (int i = 0; i < 1000; i++) {
		struct limit_verdict verdict = take(limiter, "127.0.0.1", START_MS);

		assert_false(verdict.is_limited);
		assert_false(verdict.is_refused);
	}
	assert_int_equal(limiter_count(limiter), 0);
	limiter_destroy(limiter);
}

static void test_limit_when_reached_then_refused_and_counts_down(void **state)
{
	struct limiter *limiter = limiter_of(5, 10);
	struct limit_verdict verdict;

	for (int i = 0; i < 5; i++) {
		verdict = take(limiter, "127.0.0.1", START_MS + i * 1000);
		assert_true(verdict.is_limited);
		assert_false(verdict.is_refused);
		assert_int_equal(verdict.limit, 5);
		assert_int_equal(verdict.remaining, 4 - i);
		assert_int_equal(verdict.reset_s, 60 - i);
	}
	verdict = take(limiter, "127.0.0.1", START_MS + 10000);
	assert_true(verdict.is_refused);
	assert_int_equal(verdict.remaining, 0);
	assert_in_range(verdict.retry_s, 50, 51);
	limiter_destroy(limiter);
}

/* Who waits for Retry-After gets in, who comes a second earlier does not; whatever the history. */
static void test_limit_when_waited_as_told_then_passes(void **state)
{
	for (int limit = 1; limit <= 40; limit++) {
		struct limiter *limiter = limiter_of(limit, 10);
		struct limiter *early = limiter_of(limit, 10);
		int64_t now = START_MS;

		for (int round = 0; round < 200; round++) {
			struct limit_verdict verdict = take(limiter, "::1", now);

			assert_int_equal(verdict.is_refused, take(early, "::1", now).is_refused);
			if (verdict.is_refused) {
				int64_t wait = verdict.retry_s * 1000;

				assert_true(verdict.retry_s >= 1);
				if (wait > 2000)
					assert_true(
						take(early, "::1", now + wait - 2000).is_refused);
				now += wait;
				assert_false(take(limiter, "::1", now).is_refused);
				assert_false(take(early, "::1", now).is_refused);
			}
			now += 17;
		}
		limiter_destroy(limiter);
		limiter_destroy(early);
	}
}

/* Random traffic: within any one minute at most limit + what the even spread may misjudge passes,
 * and never twice the limit, which is what a fixed window would let through at its edge. */
static void test_limit_when_traffic_is_random_then_rate_holds(void **state)
{
	enum {
		LIMIT = 60,
		REQUESTS = 20000
	};
	struct limiter *limiter = limiter_of(LIMIT, 10);
	struct seed seed = seed_start("limit");
	int64_t *passed = xcalloc(REQUESTS, sizeof(*passed));
	size_t count = 0, from = 0, worst = 0;
	int64_t now = START_MS;

	for (int i = 0; i < REQUESTS; i++) {
		now += (int64_t)seed_below(&seed, 1200);
		if (take(limiter, "10.0.0.1", now).is_refused)
			continue;
		passed[count++] = now;
		while (passed[from] <= now - LIMIT_WINDOW_MS)
			from++;
		if (count - from > worst)
			worst = count - from;
	}
	assert_true(worst >= LIMIT);
	assert_true(worst <= LIMIT * 3 / 2);
	free(passed);
	limiter_destroy(limiter);
}

static void test_limit_when_addresses_or_tiers_differ_then_apart(void **state)
{
	struct limiter *limiter =
		limiter_create((const int[TIER_COUNT]){[TIER_HEALTH] = 1, [TIER_PROBE] = 1}, 10);

	assert_false(take(limiter, "10.0.0.1", START_MS).is_refused);
	assert_true(take(limiter, "10.0.0.1", START_MS).is_refused);
	assert_false(take(limiter, "10.0.0.2", START_MS).is_refused);
	assert_false(take(limiter, "unix", START_MS).is_refused);
	assert_true(take(limiter, "unix", START_MS).is_refused);
	assert_false(limiter_take(limiter, "10.0.0.1", TIER_PROBE, START_MS).is_refused);
	assert_true(limiter_take(limiter, "10.0.0.1", TIER_PROBE, START_MS).is_refused);
	limiter_destroy(limiter);
}

static void test_limit_when_ipv6_then_counted_by_network(void **state)
{
	struct limiter *limiter = limiter_of(1, 10);

	assert_false(take(limiter, "2001:db8:1:2::1", START_MS).is_refused);
	assert_true(take(limiter, "2001:db8:1:2:ffff::9", START_MS).is_refused);
	assert_false(take(limiter, "2001:db8:1:3::1", START_MS).is_refused);
	/* one machine over a dual-stack socket and over IPv4 */
	assert_false(take(limiter, "10.1.2.3", START_MS).is_refused);
	assert_true(take(limiter, "::ffff:10.1.2.3", START_MS).is_refused);
	assert_false(take(limiter, "::ffff:10.1.2.4", START_MS).is_refused);
	limiter_destroy(limiter);
}

static void test_limit_when_table_is_full_then_oldest_is_forgotten(void **state)
{
	struct limiter *limiter = limiter_of(1, 3);

	assert_false(take(limiter, "10.0.0.1", START_MS).is_refused);
	assert_false(take(limiter, "10.0.0.2", START_MS).is_refused);
	assert_false(take(limiter, "10.0.0.3", START_MS).is_refused);
	assert_true(
		take(limiter, "10.0.0.1", START_MS).is_refused); /* seen again: 2 is the oldest */
	assert_false(take(limiter, "10.0.0.4", START_MS).is_refused);
	assert_int_equal(limiter_count(limiter), 3);
	assert_true(take(limiter, "10.0.0.1", START_MS).is_refused);
	assert_true(take(limiter, "10.0.0.3", START_MS).is_refused);
	assert_false(take(limiter, "10.0.0.2", START_MS).is_refused);
	limiter_destroy(limiter);
}

static void test_limit_when_many_addresses_then_memory_is_bounded(void **state)
{
	struct limiter *limiter = limiter_of(1, LIMIT_ADDRESSES_MAX);
	char peer[32];

	for (int i = 0; i < 3 * LIMIT_ADDRESSES_MAX; i++) {
		(void)snprintf(peer, sizeof(peer), "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
		assert_false(take(limiter, peer, START_MS).is_refused);
		assert_true(take(limiter, peer, START_MS).is_refused);
	}
	assert_int_equal(limiter_count(limiter), LIMIT_ADDRESSES_MAX);
	limiter_destroy(limiter);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limit_when_zero_then_nothing_is_counted),
		cmocka_unit_test(test_limit_when_reached_then_refused_and_counts_down),
		cmocka_unit_test(test_limit_when_waited_as_told_then_passes),
		cmocka_unit_test(test_limit_when_traffic_is_random_then_rate_holds),
		cmocka_unit_test(test_limit_when_addresses_or_tiers_differ_then_apart),
		cmocka_unit_test(test_limit_when_ipv6_then_counted_by_network),
		cmocka_unit_test(test_limit_when_table_is_full_then_oldest_is_forgotten),
		cmocka_unit_test(test_limit_when_many_addresses_then_memory_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
