/* SPDX-License-Identifier: Apache-2.0
 *
 * Results, read by type. The statement and its reader are written side by side by the same hand, so
 * a reader that does not fit is a bug: must(). What the values are is the database's, and never is
 * one. */
#include <endian.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "pg_priv.h"

#define TIME_EPOCH_MS 946684800000 /* 2000-01-01 */
#define ARRAY_HEADER  20

static uint32_t wire_u32(const char *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return be32toh(value);
}

static int64_t wire_int(const char *bytes, size_t len)
{
	uint16_t value16;
	uint64_t value64;

	switch (len) {
	case sizeof(value16):
		memcpy(&value16, bytes, sizeof(value16));
		return (int16_t)be16toh(value16);
	case sizeof(uint32_t):
		return (int32_t)wire_u32(bytes);
	default:
		must(len == sizeof(value64));
		memcpy(&value64, bytes, sizeof(value64));
		return (int64_t)be64toh(value64);
	}
}

struct pg_row pg_rows(const struct pg_query *query)
{
	return (struct pg_row){.result = query->result, .index = -1};
}

bool pg_row_next(struct pg_row *row)
{
	row->column = 0;
	return row->result != NULL && ++row->index < PQntuples(row->result);
}

int64_t pg_row_count(const struct pg_query *query)
{
	return PQntuples(query->result);
}

int64_t pg_affected(const struct pg_query *query)
{
	int64_t count = 0;

	/* Takes a non-const result, and does not change it. */
	if (query->result == NULL || !parse_i64(PQcmdTuples(query->result), 0, INT64_MAX, &count))
		return 0;
	return count;
}

int pg_column_count(const struct pg_query *query)
{
	return PQnfields(query->result);
}

const char *pg_column_name(const struct pg_query *query, int column)
{
	return PQfname(query->result, column);
}

/* --- columns --- */

bool pg_is_null(const struct pg_row *row)
{
	return PQgetisnull(row->result, row->index, row->column) == 1;
}

void pg_skip(struct pg_row *row)
{
	must(row->column < PQnfields(row->result));
	row->column++;
}

/* The next column's value; NULL for NULL. */
static const char *next_value(struct pg_row *row, size_t *ret_len)
{
	const char *value = NULL;
	int column = row->column;

	pg_skip(row);
	*ret_len = 0;
	if (PQgetisnull(row->result, row->index, column) == 0) {
		value = PQgetvalue(row->result, row->index, column);
		*ret_len = (size_t)PQgetlength(row->result, row->index, column);
	}
	return value;
}

/* Types are asked of the column at hand. */
static bool is_binary(const struct pg_row *row, uint32_t type)
{
	return PQftype(row->result, row->column) == type &&
	       PQfformat(row->result, row->column) == 1;
}

bool pg_read_bool(struct pg_row *row)
{
	const char *value;
	size_t len;

	must(is_binary(row, PG_BOOL));
	value = next_value(row, &len);
	return value != NULL && value[0] != 0;
}

int64_t pg_read_i64(struct pg_row *row)
{
	const char *value;
	size_t len;

	must(is_binary(row, PG_I64) || is_binary(row, PG_I32) || is_binary(row, PG_I16));
	value = next_value(row, &len);
	return value != NULL ? wire_int(value, len) : 0;
}

int pg_read_int(struct pg_row *row, int if_null)
{
	bool is_null = pg_is_null(row);
	int64_t value = pg_read_i64(row);

	if (is_null)
		return if_null;
	return value < INT32_MIN ? INT32_MIN : value > INT32_MAX ? INT32_MAX : (int)value;
}

static int64_t time_of(const char *value)
{
	int64_t us = wire_int(value, sizeof(us));
	int64_t ms = us / 1000 - (us % 1000 < 0);

	if (us == INT64_MIN || us == INT64_MAX)
		return NO_TIME;
	return ms + TIME_EPOCH_MS;
}

int64_t pg_read_time(struct pg_row *row)
{
	const char *value;
	size_t len;

	must(is_binary(row, PG_TIME));
	value = next_value(row, &len);
	return value != NULL ? time_of(value) : NO_TIME;
}

struct id pg_read_id(struct pg_row *row)
{
	struct id id = {0};
	const char *value;
	size_t len;

	must(is_binary(row, PG_ID));
	value = next_value(row, &len);
	if (value != NULL)
		memcpy(id.bytes, value, ID_BYTES);
	return id;
}

const char *pg_read_text(struct pg_row *row)
{
	size_t len;

	must(PQfformat(row->result, row->column) == 0 || is_binary(row, PG_TEXT) ||
		is_binary(row, 19 /* name */) || is_binary(row, 1043 /* varchar */) ||
		is_binary(row, 114 /* json */));
	return next_value(row, &len);
}

const char *pg_read_bytes(struct pg_row *row, size_t *ret_len)
{
	must(is_binary(row, PG_BYTES));
	return next_value(row, ret_len);
}

/* --- arrays --- */

struct pg_elements pg_read_array(struct pg_row *row)
{
	struct pg_elements elements = {0};
	const char *value;
	size_t len;

	must(PQfformat(row->result, row->column) == 1);
	value = next_value(row, &len);
	if (value == NULL || len < ARRAY_HEADER)
		return elements; /* an empty one has no dimension */
	must(wire_u32(value) == 1);
	elements.type = wire_u32(value + 8);
	elements.left = wire_u32(value + 12);
	elements.next = value + ARRAY_HEADER;
	elements.end = value + len;
	return elements;
}

bool pg_element_next(struct pg_elements *elements)
{
	uint32_t len;

	if (elements->left == 0)
		return false;
	must((size_t)(elements->end - elements->next) >= sizeof(len));
	len = wire_u32(elements->next);
	elements->next += sizeof(len);
	elements->left--;
	elements->bytes = len != UINT32_MAX ? elements->next : NULL;
	elements->len = elements->bytes != NULL ? len : 0;
	must((size_t)(elements->end - elements->next) >= elements->len);
	elements->next += elements->len;
	return true;
}

int64_t pg_element_i64(const struct pg_elements *elements)
{
	must(elements->type == PG_I64 || elements->type == PG_I32 || elements->type == PG_I16);
	return elements->bytes != NULL ? wire_int(elements->bytes, elements->len) : 0;
}

struct id pg_element_id(const struct pg_elements *elements)
{
	struct id id = {0};

	must(elements->type == PG_ID);
	if (elements->bytes != NULL)
		memcpy(id.bytes, elements->bytes, ID_BYTES);
	return id;
}
