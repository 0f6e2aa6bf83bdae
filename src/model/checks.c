/* SPDX-License-Identifier: Apache-2.0
 *
 * What a name, an address, a header, a variable may consist of. Everything here ends up in a path,
 * a request or a process, so the rules allow the known good and refuse the rest. */
#include <string.h>
#include <strings.h>

#include "base/ascii.h"
#include "base/mem.h"
#include "base/text.h"
#include "model/model_priv.h"

#define PORT_DIGITS 5

/* By the standards' alphabets, not by the locale's. */
static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

static bool is_in(char c, const char *set)
{
	return c != '\0' && strchr(set, c) != NULL;
}

static bool has_control(const char *text)
{
	for (; *text != '\0'; text++)
		if (is_control(*text))
			return true;
	return false;
}

/* Letters, digits and `extra`. */
static bool consists_of(const char *text, size_t len, const char *extra)
{
	for (size_t i = 0; i < len; i++)
		if (!ascii_is_letter(text[i]) && !ascii_is_digit(text[i]) && !is_in(text[i], extra))
			return false;
	return true;
}

void check_name(const char *text, const struct place *place)
{
	struct id id;

	if (!ascii_is_letter(text[0]) && !ascii_is_digit(text[0]))
		place_fault(place, "'%.60s' must begin with a letter or a digit", text);
	else if (!consists_of(text, strlen(text), "._-"))
		place_fault(place, "'%.60s' may hold only letters, digits, '.', '_' and '-'", text);
	else if (id_parse(text, &id))
		place_fault(place, "'%.60s' looks like an id; choose a name that does not", text);
}

void check_tag(const char *text, const struct place *place)
{
	if (has_control(text))
		place_fault(place, "must not contain control characters");
}

/* Methods are case-sensitive (RFC 9110 section 9.1); CONNECT and TRACE are no use to a webhook. */
void check_method(const char *text, const struct place *place)
{
	static const char *const methods[] = {
		"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};

	for (size_t i = 0; i < COUNT_OF(methods); i++)
		if (strcmp(text, methods[i]) == 0)
			return;
	place_fault(place, "'%.60s' is none of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", text);
}

/* --- url (RFC 3986, http and https only) --- */

static bool port_is_valid(const char *text, size_t len)
{
	char digits[PORT_DIGITS + 1] = "";
	int64_t port;

	if (len > PORT_DIGITS)
		return false;
	memcpy(digits, text, len);
	return parse_i64(digits, 1, 65535, &port);
}

/* "host", "host:port", "[v6]" or "[v6]:port". What it resolves to is checked when it is called. */
static bool authority_is_valid(const char *text, size_t len)
{
	const char *end = text + len, *host_end;

	if (len > 0 && text[0] == '[') {
		host_end = memchr(text, ']', len);
		if (host_end == NULL || host_end - text < 3 ||
			!consists_of(text + 1, (size_t)(host_end - text - 1), ":."))
			return false;
		host_end++;
	} else {
		host_end = memchr(text, ':', len);
		host_end = host_end == NULL ? end : host_end;
		if (host_end == text || !consists_of(text, (size_t)(host_end - text), "._-"))
			return false;
	}
	if (host_end == end)
		return true;
	return *host_end == ':' && port_is_valid(host_end + 1, (size_t)(end - host_end - 1));
}

static size_t scheme_length(const char *url)
{
	if (strncasecmp(url, "http://", 7) == 0)
		return 7;
	return strncasecmp(url, "https://", 8) == 0 ? 8 : 0;
}

void check_url(const char *text, const struct place *place)
{
	size_t scheme = scheme_length(text);
	const char *authority = text + scheme;
	size_t len = strcspn(authority, "/?#");

	for (const char *c = text; *c != '\0'; c++) {
		if (*c <= ' ' || *c >= 0x7f || *c == '\\') {
			place_fault(place,
				"must not contain spaces, control characters, backslashes or "
				"other than ASCII; write them percent-encoded");
			return;
		}
	}
	if (scheme == 0)
		place_fault(place, "must begin with http:// or https://");
	else if (memchr(authority, '@', len) != NULL)
		place_fault(
			place, "must not hold a user or a password; send an Authorization header");
	else if (memchr(authority, '{', len) != NULL)
		place_fault(place, "the host cannot be a template: who is called must not depend "
				   "on what somebody sends");
	else if (!authority_is_valid(authority, len))
		place_fault(place, "needs a host such as example.org, example.org:8080 or [::1]");
}

/* --- headers (RFC 9110 section 5) --- */

/* Ours to set: they frame the request or tell the target about the run. A '*' ends a prefix. */
static const char *const reserved_headers[] = {"Host", "Content-Length", "Transfer-Encoding",
	"Connection", "Expect", "TE", "Trailer", "Upgrade", "Idempotency-Key", "X-Gathering-*",
	"webhook-*", "traceparent"};

static bool is_reserved_header(const char *name)
{
	for (size_t i = 0; i < COUNT_OF(reserved_headers); i++) {
		size_t len = strcspn(reserved_headers[i], "*");

		if (strncasecmp(name, reserved_headers[i], len) == 0 &&
			(reserved_headers[i][len] == '*' || name[len] == '\0'))
			return true;
	}
	return false;
}

void check_header_name(const char *text, const struct place *place)
{
	if (!consists_of(text, strlen(text), "!#$%&'*+-.^_`|~"))
		place_fault(place, "'%.60s' is not a header name (RFC 9110 token)", text);
	else if (is_reserved_header(text))
		place_fault(place, "'%.60s' is set by the server and cannot be chosen", text);
}

void check_header_value(const char *text, const struct place *place)
{
	if (has_control(text))
		place_fault(place, "must not contain line breaks or other control characters");
}

/* --- programs --- */

void check_env_name(const char *text, const struct place *place)
{
	if (ascii_is_digit(text[0]) || !consists_of(text, strlen(text), "_"))
		place_fault(place,
			"'%.60s' is not a variable name: letters, digits and '_' only, no digit "
			"first",
			text);
	else if (strncmp(text, "GATHERING_", 10) == 0)
		place_fault(place,
			"'%.60s': names that begin with GATHERING_ are set by the server", text);
}

void check_path(const char *text, const struct place *place)
{
	if (text[0] != '/')
		place_fault(place, "'%.60s' must be an absolute path", text);
	else if (has_control(text))
		place_fault(place, "must not contain control characters");
}

void check_database(const char *text, const struct place *place)
{
	if (!consists_of(text, strlen(text), "._-"))
		place_fault(
			place, "'%.60s' must consist of letters, digits, '_', '-' and '.'", text);
}

void check_user(const char *text, const struct place *place)
{
	if (text[0] == '-' || !consists_of(text, strcspn(text, "$"), "._-") ||
		strlen(text) > strcspn(text, "$") + 1)
		place_fault(place, "'%.60s' is not a user name", text);
}
