/* SPDX-License-Identifier: Apache-2.0
 *
 * UUID version 7 (RFC 9562). Layout: 48 bits of milliseconds, version, 12 random bits, variant, 62
 * random bits. Order within one millisecond is by "monotonic random" (section 6.2, method 2): the
 * 74 random bits of the previous id plus a random step, so ids ascend and still cannot be guessed.
 */
#include "base/id.h"

#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"

#define ID_MS_MAX   ((INT64_C(1) << 48) - 1)
#define ID_HIGH_MAX 0xfffu
#define ID_LOW_MAX  ((UINT64_C(1) << 62) - 1)

#define FNV_OFFSET UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME  UINT64_C(0x100000001b3)

/* The parts of the last id made; -1: none yet. */
static int64_t last_ms = -1;
static uint64_t last_high, last_low;

/* Where the dashes stand in the text, as the index of the byte that follows. */
static bool has_dash_before(int byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

static uint64_t random_bits(void)
{
	uint64_t bits = 0;

	/* Requests of up to 256 bytes are never cut or interrupted once the pool is up:
	 * getrandom(2). */
	must(getrandom(&bits, sizeof(bits), 0) == sizeof(bits));
	return bits;
}

static void start_millisecond(int64_t now_ms)
{
	last_ms = now_ms;
	last_high = random_bits() & ID_HIGH_MAX;
	last_low = random_bits() & ID_LOW_MAX;
}

/* Also the way on when the wall clock was set back: the newest millisecond seen is kept. */
static void step_within_millisecond(void)
{
	last_low += 1 + (random_bits() & UINT32_MAX);
	if (last_low <= ID_LOW_MAX)
		return;
	last_low &= ID_LOW_MAX;
	if (++last_high > ID_HIGH_MAX)
		start_millisecond(last_ms + 1);
}

struct id id_make(void)
{
	struct id id;
	int64_t now_ms = clock_wall_ms();

	if (now_ms < 0)
		now_ms = 0;
	if (now_ms > last_ms)
		start_millisecond(now_ms);
	else
		step_within_millisecond();
	must(last_ms <= ID_MS_MAX);

	for (int i = 0; i < 6; i++)
		id.bytes[i] = (uint8_t)(last_ms >> (40 - 8 * i));
	id.bytes[6] = (uint8_t)(0x70 | last_high >> 8);
	id.bytes[7] = (uint8_t)last_high;
	for (int i = 0; i < 8; i++)
		id.bytes[8 + i] = (uint8_t)(last_low >> (56 - 8 * i));
	id.bytes[8] |= 0x80;
	return id;
}

/* SplitMix64's mixer. */
static uint64_t mix(uint64_t bits)
{
	bits = (bits ^ bits >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	bits = (bits ^ bits >> 27) * UINT64_C(0x94d049bb133111eb);
	return bits ^ bits >> 31;
}

struct id id_derive(const struct id *a, const struct id *b, int64_t now_ms)
{
	uint64_t high = mix(id_hash(a) ^ mix(id_hash(b)));
	uint64_t low = mix(high + id_hash(a));
	int64_t at_ms = now_ms < 0 ? 0 : now_ms & ID_MS_MAX;
	struct id id;

	for (int i = 0; i < 6; i++)
		id.bytes[i] = (uint8_t)(at_ms >> (40 - 8 * i));
	id.bytes[6] = (uint8_t)(0x70 | (high >> 60));
	id.bytes[7] = (uint8_t)(high >> 52);
	for (int i = 0; i < 8; i++)
		id.bytes[8 + i] = (uint8_t)(low >> (56 - 8 * i));
	id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3f) | 0x80);
	return id;
}

const char *id_format(const struct id *id, char ret_text[static ID_TEXT_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	char *at = ret_text;

	for (int i = 0; i < ID_BYTES; i++) {
		if (has_dash_before(i))
			*at++ = '-';
		*at++ = digits[id->bytes[i] >> 4];
		*at++ = digits[id->bytes[i] & 15];
	}
	*at = '\0';
	return ret_text;
}

bool id_parse(const char *text, struct id *ret_id)
{
	struct id id;

	if (!text)
		return false;
	for (int i = 0; i < ID_BYTES; i++) {
		if (has_dash_before(i) && *text++ != '-')
			return false;
		int high = hex_value(text[0]);
		int low = high < 0 ? -1 : hex_value(text[1]);

		if (low < 0)
			return false;
		id.bytes[i] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	if (*text != '\0')
		return false;
	*ret_id = id;
	return true;
}

bool id_equal(const struct id *a, const struct id *b)
{
	return id_compare(a, b) == 0;
}

bool id_is_zero(const struct id *id)
{
	static const struct id zero;

	return id_equal(id, &zero);
}

int id_compare(const struct id *a, const struct id *b)
{
	return memcmp(a->bytes, b->bytes, ID_BYTES);
}

uint64_t id_hash(const struct id *id)
{
	uint64_t hash = FNV_OFFSET;

	for (int i = 0; i < ID_BYTES; i++)
		hash = (hash ^ id->bytes[i]) * FNV_PRIME;
	return hash;
}
