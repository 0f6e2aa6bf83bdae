/* SPDX-License-Identifier: Apache-2.0
 *
 * Parameters in PostgreSQL's binary form: integers in network order, times as microseconds since
 * 2000, arrays with a header and each element behind its length. All of a statement's stand in one
 * buffer. */
#include <endian.h>
#include <string.h>

#include "base/clock.h"
#include "pg_priv.h"

#define TIME_EPOCH_MS 946684800000 /* 2000-01-01 */

/* Offsets in an array's header, which is five 32-bit numbers, or three when it is empty. */
enum {
	ARRAY_DIMENSIONS = 0,
	ARRAY_HAS_NULL = 4,
	ARRAY_TYPE = 8,
	ARRAY_COUNT = 12,
	ARRAY_HEADER = 20,
	ARRAY_EMPTY = 12
};

static struct buf *bytes_of(struct pg_params *params)
{
	if (params->bytes.limit == 0)
		buf_init(&params->bytes, PG_PARAMS_BYTES_MAX);
	return &params->bytes;
}

static struct pg_param *param_add(struct pg_params *params, uint32_t type, int len)
{
	struct pg_param *param = &params->items[params->count];

	must(params->count < PG_PARAMS_MAX);
	params->count++;
	*param = (struct pg_param){.type = type, .len = len, .offset = bytes_of(params)->len};
	return param;
}

static void append_u32(struct pg_params *params, uint32_t value)
{
	value = htobe32(value);
	buf_append(bytes_of(params), &value, sizeof(value));
}

static void append_u64(struct pg_params *params, uint64_t value)
{
	value = htobe64(value);
	buf_append(bytes_of(params), &value, sizeof(value));
}

/* What lies beyond the calendar is the server's infinity. */
static uint64_t wire_time(int64_t at_ms)
{
	int64_t us;

	if (__builtin_sub_overflow(at_ms, TIME_EPOCH_MS, &us) ||
		__builtin_mul_overflow(us, 1000, &us))
		us = at_ms > 0 ? INT64_MAX : INT64_MIN;
	return (uint64_t)us;
}

void pg_put_null(struct pg_params *params, enum pg_type type)
{
	(void)param_add(params, type, -1);
}

void pg_put_bool(struct pg_params *params, bool value)
{
	(void)param_add(params, PG_BOOL, 1);
	buf_putc(bytes_of(params), value ? 1 : 0);
}

void pg_put_i32(struct pg_params *params, int32_t value)
{
	(void)param_add(params, PG_I32, sizeof(value));
	append_u32(params, (uint32_t)value);
}

void pg_put_i64(struct pg_params *params, int64_t value)
{
	(void)param_add(params, PG_I64, sizeof(value));
	append_u64(params, (uint64_t)value);
}

void pg_put_time(struct pg_params *params, int64_t at_ms)
{
	if (at_ms == NO_TIME) {
		pg_put_null(params, PG_TIME);
		return;
	}
	(void)param_add(params, PG_TIME, sizeof(at_ms));
	append_u64(params, wire_time(at_ms));
}

void pg_put_id(struct pg_params *params, const struct id *id)
{
	if (id_is_zero(id)) {
		pg_put_null(params, PG_ID);
		return;
	}
	(void)param_add(params, PG_ID, ID_BYTES);
	buf_append(bytes_of(params), id->bytes, ID_BYTES);
}

static void put_sized(struct pg_params *params, enum pg_type type, const void *bytes, size_t len)
{
	if (bytes == NULL || len > PG_PARAMS_BYTES_MAX) {
		pg_put_null(params, type);
		bytes_of(params)->is_cut |= len > PG_PARAMS_BYTES_MAX;
		return;
	}
	(void)param_add(params, type, (int)len);
	buf_append(bytes_of(params), bytes, len);
}

void pg_put_text(struct pg_params *params, const char *text)
{
	put_sized(params, PG_TEXT, text, text != NULL ? strlen(text) : 0);
}

void pg_put_bytes(struct pg_params *params, const void *bytes, size_t len)
{
	put_sized(params, PG_BYTES, bytes, len);
}

/* --- arrays --- */

static struct pg_param *array_param(struct pg_params *params)
{
	must(params->count > 0);
	return &params->items[params->count - 1];
}

/* A number of the header, which may have been cut off with the rest. */
static void header_set(struct pg_params *params, int at, uint32_t value)
{
	size_t offset = array_param(params)->offset + (size_t)at;

	value = htobe32(value);
	if (!params->bytes.is_cut)
		memcpy(params->bytes.data + offset, &value, sizeof(value));
}

static uint32_t header_get(const struct pg_params *params, size_t array, int at)
{
	uint32_t value = 0;

	if (!params->bytes.is_cut)
		memcpy(&value, params->bytes.data + array + at, sizeof(value));
	return be32toh(value);
}

static uint32_t array_type(enum pg_type type)
{
	switch (type) {
#define X(name, oid, array)                                                                        \
	case PG_##name:                                                                            \
		return array;
		PG_TYPES(X)
#undef X
	}
	must(false);
	return 0;
}

void pg_array_begin(struct pg_params *params, enum pg_type type)
{
	(void)param_add(params, array_type(type), 0);
	append_u32(params, 1); /* dimensions */
	append_u32(params, 0); /* has nulls */
	append_u32(params, type);
	append_u32(params, 0); /* elements */
	append_u32(params, 1); /* lower bound */
}

static void element_begin(struct pg_params *params, enum pg_type type, uint32_t len)
{
	size_t array = array_param(params)->offset;

	must(params->bytes.is_cut || header_get(params, array, ARRAY_TYPE) == type);
	header_set(params, ARRAY_COUNT, header_get(params, array, ARRAY_COUNT) + 1);
	append_u32(params, len);
}

void pg_array_null(struct pg_params *params)
{
	element_begin(
		params, header_get(params, array_param(params)->offset, ARRAY_TYPE), UINT32_MAX);
	header_set(params, ARRAY_HAS_NULL, 1);
}

void pg_array_bool(struct pg_params *params, bool value)
{
	element_begin(params, PG_BOOL, 1);
	buf_putc(&params->bytes, value ? 1 : 0);
}

void pg_array_i32(struct pg_params *params, int32_t value)
{
	element_begin(params, PG_I32, sizeof(value));
	append_u32(params, (uint32_t)value);
}

void pg_array_i64(struct pg_params *params, int64_t value)
{
	element_begin(params, PG_I64, sizeof(value));
	append_u64(params, (uint64_t)value);
}

void pg_array_time(struct pg_params *params, int64_t at_ms)
{
	if (at_ms == NO_TIME) {
		pg_array_null(params);
		return;
	}
	element_begin(params, PG_TIME, sizeof(at_ms));
	append_u64(params, wire_time(at_ms));
}

void pg_array_id(struct pg_params *params, const struct id *id)
{
	if (id_is_zero(id)) {
		pg_array_null(params);
		return;
	}
	element_begin(params, PG_ID, ID_BYTES);
	buf_append(&params->bytes, id->bytes, ID_BYTES);
}

static void array_sized(struct pg_params *params, enum pg_type type, const void *bytes, size_t len)
{
	if (bytes == NULL || len > PG_PARAMS_BYTES_MAX) {
		params->bytes.is_cut |= len > PG_PARAMS_BYTES_MAX;
		pg_array_null(params);
		return;
	}
	element_begin(params, type, (uint32_t)len);
	buf_append(&params->bytes, bytes, len);
}

void pg_array_text(struct pg_params *params, const char *text)
{
	array_sized(params, PG_TEXT, text, text != NULL ? strlen(text) : 0);
}

void pg_array_bytes(struct pg_params *params, const void *bytes, size_t len)
{
	array_sized(params, PG_BYTES, bytes, len);
}

void pg_array_end(struct pg_params *params)
{
	struct pg_param *param = array_param(params);

	if (params->bytes.is_cut)
		return;
	if (header_get(params, param->offset, ARRAY_COUNT) == 0) {
		header_set(params, ARRAY_DIMENSIONS, 0);
		params->bytes.len = param->offset + ARRAY_EMPTY;
	}
	param->len = (int)(params->bytes.len - param->offset);
}
