/* SPDX-License-Identifier: Apache-2.0
 *
 * W3C Trace Context (https://www.w3.org/TR/trace-context/): reading the `traceparent` of a request,
 *
 *   00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
 *   version  trace                       parent           flags
 *
 * so that what the request sets in motion belongs to the same trace. One that is malformed is as
 * none, as the specification wants it: tracing must never fail a request. */
#include <string.h>

#include "model/model.h"

#define TRACE_AT   3
#define PARENT_AT  36
#define FLAGS_AT   53
#define LENGTH     55
#define IS_SAMPLED 1

/* -1: not a lower-case hexadecimal digit. */
static int digit_value(char digit)
{
	const char *digits = "0123456789abcdef";
	const char *found = digit != '\0' ? strchr(digits, digit) : NULL;

	return found ? (int)(found - digits) : -1;
}

static bool is_hex(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (digit_value(text[i]) < 0)
			return false;
	return true;
}

/* An id; all zeros is none. */
static bool is_id(const char *text, size_t len)
{
	return is_hex(text, len) && strspn(text, "0") < len;
}

/* Later versions may say more, behind another '-'. */
static bool has_form(const char *text)
{
	size_t len = strlen(text);
	bool is_first = strncmp(text, "00", 2) == 0;

	return len >= LENGTH && is_hex(text, 2) && strncmp(text, "ff", 2) != 0 &&
	       text[TRACE_AT - 1] == '-' && text[PARENT_AT - 1] == '-' &&
	       text[FLAGS_AT - 1] == '-' && is_id(text + TRACE_AT, PARENT_AT - TRACE_AT - 1) &&
	       is_id(text + PARENT_AT, FLAGS_AT - PARENT_AT - 1) && is_hex(text + FLAGS_AT, 2) &&
	       (len == LENGTH || (!is_first && text[LENGTH] == '-'));
}

bool traceparent_parse(const char *text, char ret_text[static TRACEPARENT_SIZE])
{
	if (!text || !has_form(text))
		return false;
	memcpy(ret_text, text, LENGTH);
	memcpy(ret_text, "00", 2);
	/* The flags of later versions are not ours to repeat. */
	ret_text[FLAGS_AT] = '0';
	ret_text[FLAGS_AT + 1] = digit_value(text[FLAGS_AT + 1]) & IS_SAMPLED ? '1' : '0';
	ret_text[LENGTH] = '\0';
	return true;
}
_Static_assert(TRACEPARENT_SIZE == LENGTH + 1, "the text and its NUL");
