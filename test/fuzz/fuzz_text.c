/* SPDX-License-Identifier: Apache-2.0
 *
 * The text parsers of base/: what they take must come back the same, and nothing may be read past
 * the end of the input. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/text.h"

static void try_duration(const char *text)
{
	char again[DURATION_TEXT_SIZE];
	int64_t ms = 0, back = 0;

	if (!parse_duration(text, &ms))
		return;
	must(ms >= 0);
	must(parse_duration(format_duration(ms, again), &back) && back == ms);
}

static void try_moment(const char *text)
{
	char again[RFC3339_TEXT_SIZE];
	int64_t at_ms = 0, back = 0;

	if (!parse_rfc3339(text, &at_ms))
		return;
	must(parse_rfc3339(format_rfc3339(at_ms, again), &back) && back == at_ms);
}

static void try_id(const char *text)
{
	char again[ID_TEXT_SIZE];
	struct id id, back;

	if (!id_parse(text, &id))
		return;
	must(id_parse(id_format(&id, again), &back) && id_equal(&id, &back));
}

static void try_utf8(const char *bytes, size_t len)
{
	struct buf clean;

	buf_init(&clean, 3 * len);
	utf8_clean(bytes, len, &clean);
	must(!clean.is_cut && utf8_is_valid(buf_text(&clean), clean.len));
	must(!utf8_is_valid(bytes, len) || clean.len == len);
	buf_fini(&clean);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = xmemdup(data, size);
	int64_t number = 0;
	bool flag = false;

	try_duration(text);
	try_moment(text);
	try_id(text);
	try_utf8((const char *)data, size);
	(void)parse_i64(text, INT64_MIN, INT64_MAX, &number);
	(void)parse_size(text, &number);
	(void)parse_bool(text, &flag);
	return 0;
}
