/* SPDX-License-Identifier: Apache-2.0
 *
 * TZif, the compiled form of the time zone data base (RFC 8536). The file holds the same data
 * twice, first with 32-bit times, which are skipped; then come the 64-bit ones and a footer with
 * the rule for all later years. Every count is checked against the length before it is used. */
#include "plan/zone_priv.h"

#include <string.h>

#include "base/mem.h"

#define HEADER_BYTES     44
#define TYPE_BYTES       6
#define FOOTER_MAX_BYTES 256

/* Utmost offsets of RFC 8536: -25 h < offset < +26 h. */
#define OFFSET_MIN_S (-89999)
#define OFFSET_MAX_S 93599

struct header {
	char version;
	uint32_t isut_count, isstd_count, leap_count, time_count, type_count, char_count;
};

struct block {
	const uint8_t *times, *indexes, *types;
	uint32_t time_count, type_count;
};

static uint32_t read_u32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int64_t read_i64(const uint8_t *at)
{
	return (int64_t)((uint64_t)read_u32(at) << 32 | read_u32(at + 4));
}

static int corrupt(struct err *err, const char *what)
{
	return err_set(err, ERR_CORRUPT, "time zone data: %s", what);
}

static bool header_read(const uint8_t *at, size_t len, struct header *ret_header)
{
	if (len < HEADER_BYTES || memcmp(at, "TZif", 4) != 0)
		return false;
	*ret_header = (struct header){.version = (char)at[4],
		.isut_count = read_u32(at + 20),
		.isstd_count = read_u32(at + 24),
		.leap_count = read_u32(at + 28),
		.time_count = read_u32(at + 32),
		.type_count = read_u32(at + 36),
		.char_count = read_u32(at + 40)};
	return true;
}

/* Bytes behind the header; sums of six 32-bit counts cannot overflow 64 bits. */
static uint64_t block_bytes(const struct header *header, uint64_t time_bytes)
{
	return header->time_count * (time_bytes + 1) + (uint64_t)header->type_count * TYPE_BYTES +
	       header->char_count + header->leap_count * (time_bytes + 4) + header->isstd_count +
	       header->isut_count;
}

static int block_check(const struct header *header, const struct block *block, struct err *err)
{
	if (header->leap_count != 0)
		return corrupt(err, "counts leap seconds; use the zone without 'right/'");
	if (header->time_count > ZONE_TRANSITIONS_MAX)
		return corrupt(err, "more transitions than we take");
	if (header->type_count == 0 || header->type_count > 256)
		return corrupt(err, "has no local time types, or too many");
	for (uint32_t i = 0; i < block->time_count; i++) {
		if (block->indexes[i] >= block->type_count)
			return corrupt(err, "a transition names a type that is not there");
		if (i > 0 && read_i64(block->times + 8 * (size_t)i) <=
				     read_i64(block->times + 8 * (size_t)(i - 1)))
			return corrupt(err, "transitions do not ascend");
	}
	for (uint32_t i = 0; i < block->type_count; i++) {
		int32_t offset_s = (int32_t)read_u32(block->types + TYPE_BYTES * (size_t)i);

		if (offset_s < OFFSET_MIN_S || offset_s > OFFSET_MAX_S)
			return corrupt(err, "an offset from UTC is out of range");
	}
	return ERR_NONE;
}

/* Finds the 64-bit block and what stands behind it. */
static int block_find(const uint8_t *bytes, size_t len, struct block *ret_block,
	const uint8_t **ret_footer, struct err *err)
{
	struct header header;
	const uint8_t *at = bytes, *end = bytes + len;

	if (!header_read(at, len, &header))
		return corrupt(err, "not a TZif file");
	if (header.version < '2')
		return corrupt(err, "version 1, which ends in 2037; version 2 or later is needed");
	if (block_bytes(&header, 4) > len - HEADER_BYTES)
		return corrupt(err, "cut short");
	at += HEADER_BYTES + block_bytes(&header, 4);
	if (!header_read(at, (size_t)(end - at), &header))
		return corrupt(err, "the second header is missing");
	at += HEADER_BYTES;
	if (block_bytes(&header, 8) > (size_t)(end - at))
		return corrupt(err, "cut short");
	ret_block->time_count = header.time_count;
	ret_block->type_count = header.type_count;
	ret_block->times = at;
	ret_block->indexes = at + 8 * (size_t)header.time_count;
	ret_block->types = ret_block->indexes + header.time_count;
	*ret_footer = at + block_bytes(&header, 8);
	return block_check(&header, ret_block, err);
}

static int32_t block_offset(const struct block *block, uint8_t type)
{
	return (int32_t)read_u32(block->types + TYPE_BYTES * (size_t)type);
}

/* Adds a change unless it changes nothing (a new abbreviation, DST flag, or the same rule). What
 * lies before 1970 is folded into the first one, as nothing is ever due there. */
static void zone_add_change(struct zone *zone, int64_t at_s, int32_t offset_s)
{
	struct zone_change *last = &zone->changes[zone->change_count - 1];

	if (zone->change_count == 1 && at_s < -2 * SECONDS_PER_DAY)
		last->offset_s = offset_s;
	else if (last->offset_s != offset_s)
		zone->changes[zone->change_count++] = (struct zone_change){at_s, offset_s};
}

/* The footer is "\n" text "\n"; an empty text says that nobody knows, so the last offset stays. */
static int footer_read(const uint8_t *at, const uint8_t *end, struct zone *zone, struct err *err)
{
	const char *text = (const char *)at + 1;
	const char *stop = NULL;
	size_t room = at < end ? (size_t)(end - at) - 1 : 0;

	if (at == end || *at != '\n')
		return corrupt(err, "the footer is missing");
	stop = memchr(text, '\n', room < FOOTER_MAX_BYTES ? room : FOOTER_MAX_BYTES);
	if (!stop)
		return corrupt(err, "the footer has no end");
	if (stop == text)
		return ERR_NONE;
	if (!zone_rule_parse(text, (size_t)(stop - text), &zone->rule))
		return corrupt(err, "the rule in the footer cannot be read");
	zone->has_rule = zone->rule.has_dst;
	return ERR_NONE;
}

int zone_file_parse(const uint8_t *bytes, size_t len, struct zone *zone, struct err *err)
{
	struct block block = {0};
	const uint8_t *footer = NULL;
	int code = block_find(bytes, len, &block, &footer, err);

	zone->changes = NULL;
	zone->change_count = 0;
	zone->has_rule = false;
	if (code == ERR_NONE)
		code = footer_read(footer, bytes + len, zone, err);
	if (code != ERR_NONE)
		return code;
	zone->changes = xcalloc((size_t)block.time_count + 1, sizeof(*zone->changes));
	zone->changes[0] = (struct zone_change){INT64_MIN, block_offset(&block, 0)};
	zone->change_count = 1;
	for (uint32_t i = 0; i < block.time_count; i++)
		zone_add_change(zone, read_i64(block.times + 8 * (size_t)i),
			block_offset(&block, block.indexes[i]));
	return ERR_NONE;
}
