/* SPDX-License-Identifier: Apache-2.0
 *
 * Rate limits by the sliding window counter: each address has, per tier, a window of one minute
 * that began with a request of its own, the count in it, and the count of the window before. The
 * rate is taken as
 *
 *     count + previous * (part of the previous window that still lies within the last minute)
 *
 * and a request passes while that stays below the limit. So a quiet client gets exactly `limit`
 * requests, a busy one is let in evenly afterwards, there is no double burst at a window's edge,
 * and 12 bytes a tier are enough. Refused requests are not counted: who waits as told gets in.
 *
 * An IPv6 client owns at least a /64, so it is counted by that prefix; otherwise one machine could
 * present 2^64 addresses. Clients of a unix socket are one address. The table is a chained hash
 * with a random seed, in order of last use; full, it forgets the address not seen for the longest
 * time. */
#include "api/limit_priv.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/list.h"
#include "base/mem.h"

#define KEY_BYTES      16
#define IPV6_NET_BYTES 8 /* a /64 */

struct window {
	int64_t start_mono_ms;
	int count;
	int previous;
	bool is_open; /* false: no request yet */
};

struct address {
	uint8_t key[KEY_BYTES];
	struct address *next; /* in its hash chain */
	struct list use_node; /* in limiter->by_use, the longest unseen first */
	struct window windows[TIER_COUNT];
};

struct limiter {
	int per_minute[TIER_COUNT];
	size_t count, count_max;
	size_t bucket_mask;
	struct address **buckets; /* owned */
	struct list by_use;
	uint64_t seed;
};

void limiter_set(struct limiter *limiter, enum tier tier, int per_minute)
{
	limiter->per_minute[tier] = per_minute;
}

struct limiter *limiter_create(const int per_minute[static TIER_COUNT], size_t addresses_max)
{
	struct limiter *limiter = xcalloc(1, sizeof(*limiter));
	size_t buckets = 16;

	must(addresses_max > 0);
	memcpy(limiter->per_minute, per_minute, sizeof(limiter->per_minute));
	limiter->count_max = addresses_max;
	while (buckets < addresses_max)
		buckets *= 2;
	limiter->bucket_mask = buckets - 1;
	limiter->buckets = xcalloc(buckets, sizeof(*limiter->buckets));
	list_init(&limiter->by_use);
	/* without randomness the table still works, only its chains could be guessed */
	(void)!getrandom(&limiter->seed, sizeof(limiter->seed), GRND_NONBLOCK);
	return limiter;
}

void limiter_destroy(struct limiter *limiter)
{
	if (!limiter)
		return;
	list_for_each (node, &limiter->by_use)
		free(list_entry(node, struct address, use_node));
	free(limiter->buckets);
	free(limiter);
}

/* An IPv4 address (also the mapped form of a dual-stack socket) is written in bytes 12..15 behind
 * ff ff, an IPv6 network in bytes 0..7; anything else ("unix") is all zero but the first byte. */
static void key_from_peer(const char *peer, uint8_t ret_key[static KEY_BYTES])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	uint8_t bytes[KEY_BYTES];

	memset(ret_key, 0, KEY_BYTES);
	if (inet_pton(AF_INET, peer, ret_key + 12) == 1) {
		memcpy(ret_key, mapped, sizeof(mapped));
	} else if (inet_pton(AF_INET6, peer, bytes) == 1) {
		bool is_mapped = memcmp(bytes, mapped, sizeof(mapped)) == 0;

		memcpy(ret_key, bytes, is_mapped ? KEY_BYTES : IPV6_NET_BYTES);
	} else {
		memset(ret_key, 0, KEY_BYTES);
		ret_key[0] = 0xff;
	}
}

/* Two multiply-and-fold rounds over the seeded halves. */
static size_t bucket_of(const struct limiter *limiter, const uint8_t key[static KEY_BYTES])
{
	uint64_t half[2];
	uint64_t hash;

	memcpy(half, key, sizeof(half));
	hash = (half[0] ^ limiter->seed) * 0x9e3779b97f4a7c15u;
	hash = (hash ^ (hash >> 32) ^ half[1]) * 0xd6e8feb86659fd93u;
	hash = (hash ^ (hash >> 32) ^ limiter->seed) * 0x9e3779b97f4a7c15u;
	return (size_t)(hash >> 32) & limiter->bucket_mask;
}

static void forget_oldest(struct limiter *limiter)
{
	struct list *node = list_pop(&limiter->by_use);
	struct address *oldest;
	struct address **link;

	must(node);
	oldest = list_entry(node, struct address, use_node);
	link = &limiter->buckets[bucket_of(limiter, oldest->key)];
	while (*link != oldest)
		link = &(*link)->next;
	*link = oldest->next;
	free(oldest);
	limiter->count--;
}

static struct address *address_get(struct limiter *limiter, const char *peer)
{
	uint8_t key[KEY_BYTES];
	struct address *address;
	size_t bucket;

	key_from_peer(peer, key);
	bucket = bucket_of(limiter, key);
	for (address = limiter->buckets[bucket]; address; address = address->next) {
		if (memcmp(address->key, key, KEY_BYTES) == 0) {
			list_remove(&address->use_node);
			list_push(&limiter->by_use, &address->use_node);
			return address;
		}
	}
	if (limiter->count == limiter->count_max)
		forget_oldest(limiter);
	address = xcalloc(1, sizeof(*address));
	memcpy(address->key, key, KEY_BYTES);
	address->next = limiter->buckets[bucket];
	limiter->buckets[bucket] = address;
	list_init(&address->use_node);
	list_push(&limiter->by_use, &address->use_node);
	limiter->count++;
	return address;
}

/* Moves on to the window in which `now` lies. */
static void window_roll(struct window *window, int64_t now_mono_ms)
{
	int64_t age = now_mono_ms - window->start_mono_ms;

	if (window->is_open && age < LIMIT_WINDOW_MS)
		return;
	if (window->is_open && age < 2 * LIMIT_WINDOW_MS) {
		window->previous = window->count;
		window->start_mono_ms += LIMIT_WINDOW_MS;
	} else {
		window->previous = 0;
		window->start_mono_ms = now_mono_ms;
	}
	window->count = 0;
	window->is_open = true;
}

/* Requests of the last minute, `age` milliseconds into the window, rounded down: the previous
 * window counts with the part of it that is less than a minute old. */
static int64_t used_at(const struct window *window, int64_t age)
{
	return window->count + window->previous * (LIMIT_WINDOW_MS - age) / LIMIT_WINDOW_MS;
}

/* How long until a request passes: the moment t of the window from which on used_at() is below the
 * limit, fading * (WINDOW - t) < free_places * WINDOW. A window that is full by itself must end
 * first and then fade as `previous` of the next. */
static int64_t wait_ms(const struct window *window, int64_t age, int limit)
{
	int64_t free_places = limit - window->count;
	int64_t fading = window->previous;
	int64_t start = 0;

	if (free_places <= 0) {
		free_places = limit;
		fading = window->count;
		start = LIMIT_WINDOW_MS;
	}
	return start + LIMIT_WINDOW_MS - (free_places * LIMIT_WINDOW_MS - 1) / fading - age;
}

static int whole_seconds(int64_t ms)
{
	return ms <= 1000 ? 1 : (int)((ms + 999) / 1000);
}

struct limit_verdict limiter_take(
	struct limiter *limiter, const char *peer, enum tier tier, int64_t now_mono_ms)
{
	int limit = limiter->per_minute[tier];
	struct limit_verdict verdict = {.is_limited = limit > 0, .limit = limit};
	struct window *window;
	int64_t age, used;

	if (limit <= 0)
		return verdict;
	window = &address_get(limiter, peer)->windows[tier];
	window_roll(window, now_mono_ms);
	age = now_mono_ms - window->start_mono_ms;
	used = used_at(window, age);
	verdict.reset_s = whole_seconds(LIMIT_WINDOW_MS - age);
	verdict.is_refused = used >= limit;
	if (verdict.is_refused) {
		verdict.retry_s = whole_seconds(wait_ms(window, age, limit));
	} else {
		window->count++;
		verdict.remaining = limit - (int)used - 1;
	}
	return verdict;
}

size_t limiter_count(const struct limiter *limiter)
{
	return limiter->count;
}
