/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests a minute per client address, by tier. Bounded memory; the monotonic clock comes in as a
 * parameter. limit.c tells how it counts. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/route_priv.h"

struct limiter;

#define LIMIT_WINDOW_MS     60000
#define LIMIT_ADDRESSES_MAX 10000

/* per_minute[tier] 0: that tier is not limited. At most `addresses_max` addresses are remembered;
 * the one not seen for the longest time is forgotten first. */
struct limiter *limiter_create(const int per_minute[static TIER_COUNT], size_t addresses_max);
void limiter_destroy(struct limiter *limiter);

/* From the next request on. */
void limiter_set(struct limiter *limiter, enum tier tier, int per_minute);

struct limit_verdict {
	bool is_limited; /* the tier has a limit: send the X-RateLimit headers */
	bool is_refused; /* answer 429 */
	int limit;       /* requests a minute */
	int remaining;   /* that would still pass at once */
	int reset_s;     /* whole seconds until the window of this address ends */
	int retry_s;     /* refused: whole seconds, at least 1, until a request passes again */
};

/* Counts one request of `peer` ("127.0.0.1", "2001:db8::1", "unix"); a refused one is not counted.
 */
struct limit_verdict limiter_take(
	struct limiter *limiter, const char *peer, enum tier tier, int64_t now_mono_ms);

/* Addresses remembered now. */
size_t limiter_count(const struct limiter *limiter);
