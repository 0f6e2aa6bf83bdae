/* SPDX-License-Identifier: Apache-2.0
 *
 * Request targets (RFC 9112 section 3.2, RFC 3986): only the origin form "/path?query". The
 * absolute and authority forms are for proxies, which this server is not.
 *
 * Dot segments are refused rather than resolved: no client that means well sends them, and a router
 * that never sees one cannot be led astray by one. */
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/mem.h"
#include "base/text.h"
#include "http/gate.h"
#include "http/http.h"

bool http_percent_decode(char *text)
{
	char *out = text;

	for (const char *in = text; *in; in++) {
		int high, low;

		if (*in != '%') {
			*out++ = *in;
			continue;
		}
		high = hex_value(in[1]);
		low = high < 0 ? -1 : hex_value(in[2]);
		if (low < 0 || (high == 0 && low == 0))
			return false;
		*out++ = (char)(high * 16 + low);
		in += 2;
	}
	*out = '\0';
	return utf8_is_valid(text, (size_t)(out - text));
}

/* The characters of RFC 3986, plus those that every client in use sends unescaped. '#' belongs to
 * the client alone, and a backslash is a slash to some. */
static bool is_target_char(char c)
{
	return ascii_is_alnum(c) || (c != '\0' && strchr("-._~%!$&'()*+,;=:@/?[]{}|", c) != NULL);
}

static bool has_control(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	}
	return false;
}

static bool has_dot_segment(const char *path)
{
	while (*path == '/') {
		size_t len = strcspn(++path, "/");

		if ((len == 1 && path[0] == '.') || (len == 2 && path[0] == '.' && path[1] == '.'))
			return true;
		path += len;
	}
	return false;
}

static const char *check_path(const char *raw)
{
	auto_free char *path = xstrdup(raw);

	if (!http_percent_decode(path))
		return "the path holds a broken escape, a NUL or ill-formed UTF-8";
	if (has_control(path))
		return "the path holds a control character";
	if (has_dot_segment(path))
		return "the path holds a dot segment";
	return NULL;
}

static void plus_to_space(char *text)
{
	for (; *text; text++) {
		if (*text == '+')
			*text = ' ';
	}
}

static const char *add_pair(struct target *target, char *text)
{
	char *value = strchr(text, '=');
	struct target_pair *pair;

	if (target->query_count == GATE_QUERY_MAX)
		return "more than 100 query parameters";
	if (value)
		*value++ = '\0';
	else
		value = text + strlen(text);
	plus_to_space(text);
	plus_to_space(value);
	if (!http_percent_decode(text) || !http_percent_decode(value))
		return "the query holds a broken escape, a NUL or ill-formed UTF-8";
	target->query = xrealloc(target->query, target->query_count + 1, sizeof *target->query);
	pair = &target->query[target->query_count++];
	*pair = (struct target_pair){.name = text, .value = value};
	return NULL;
}

static const char *parse_query(struct target *target, char *query)
{
	const char *why = NULL;

	for (char *next; query && !why; query = next) {
		next = strchr(query, '&');
		if (next)
			*next++ = '\0';
		if (*query)
			why = add_pair(target, query);
	}
	return why;
}

const char *target_parse(const char *raw, struct target *ret_target)
{
	struct target target = {0};
	const char *why;
	char *query;

	if (raw[0] != '/')
		return "the request target must be a path that begins with a slash";
	for (const char *c = raw; *c; c++) {
		if (!is_target_char(*c))
			return "the request target holds a character that must be percent-encoded";
	}
	target.memory = xstrdup(raw);
	target.path = target.memory;
	query = strchr(target.path, '?');
	if (query)
		*query++ = '\0';
	why = check_path(target.path);
	if (!why)
		why = parse_query(&target, query);
	if (why)
		target_fini(&target);
	else
		*ret_target = target;
	return why;
}

void target_fini(struct target *target)
{
	free(target->memory);
	free(target->query);
	*target = (struct target){0};
}
