/* SPDX-License-Identifier: Apache-2.0
 *
 * The rules of gate.h, one small function each. They are run in the order of the tables below; the
 * first that objects decides the answer. */
#include "http/gate.h"

#include <string.h>
#include <strings.h>

#include "base/ascii.h"
#include "base/mem.h"
#include "base/text.h"

/* What the rules look at and what they find out. */
struct gate {
	const struct gate_head *head;
	const struct gate_limits *limits;
	struct gate_verdict verdict;
	const struct gate_field *host, *length, *coding; /* the only one of its name, or NULL */
	bool is_http_1_0;
};

typedef void gate_rule(struct gate *gate);

static void object(struct gate *gate, int status, const char *why)
{
	gate->verdict.status = status;
	gate->verdict.why = why;
}

/* tchar, RFC 9110 section 5.6.2. */
static bool is_token(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\0' ||
			(!ascii_is_alnum(text[i]) && !strchr("!#$%&'*+-.^_`|~", text[i])))
			return false;
	}
	return len > 0;
}

static bool field_is(const struct gate_field *field, const char *name)
{
	return field->name_len == strlen(name) &&
	       strncasecmp(field->name, name, field->name_len) == 0;
}

static bool value_is(const struct gate_field *field, const char *value)
{
	return field->value_len == strlen(value) &&
	       strncasecmp(field->value, value, field->value_len) == 0;
}

static void rule_size(struct gate *gate)
{
	if (strlen(gate->head->target) > gate->limits->header_max / 2)
		object(gate, 414, "the request target is longer than half of header_max");
	else if (gate->head->bytes > gate->limits->header_max)
		object(gate, 431, "the request line and headers are larger than header_max");
	else if (gate->head->field_count > GATE_FIELDS_MAX)
		object(gate, 431, "more than 100 header lines");
}

static void rule_version(struct gate *gate)
{
	gate->is_http_1_0 = strcmp(gate->head->version, "HTTP/1.0") == 0;
	if (!gate->is_http_1_0 && strcmp(gate->head->version, "HTTP/1.1") != 0)
		object(gate, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
}

static void rule_method(struct gate *gate)
{
	const char *method = gate->head->method;

	if (!is_token(method, strlen(method)))
		object(gate, 400, "the method is not a token");
	else if (strcmp(method, "CONNECT") == 0 || strcmp(method, "TRACE") == 0)
		object(gate, 501, "this method is not implemented");
}

static void rule_field_syntax(struct gate *gate)
{
	for (size_t i = 0; i < gate->head->field_count; i++) {
		const struct gate_field *field = &gate->head->fields[i];

		if (!is_token(field->name, field->name_len))
			return object(gate, 400, "a header name is empty or not a token");
		for (size_t k = 0; k < field->value_len; k++) {
			unsigned char c = (unsigned char)field->value[k];

			if ((c < 0x20 && c != '\t') || c == 0x7f)
				return object(
					gate, 400, "a header value holds a control character");
		}
	}
}

/* Remembers the fields that decide how the request is read; each may come once. */
static void rule_once(struct gate *gate)
{
	struct {
		const char *name;
		const struct gate_field **found;
		const char *why;
	} once[] = {
		{"Host", &gate->host, "more than one Host"},
		{"Content-Length", &gate->length, "more than one Content-Length"},
		{"Transfer-Encoding", &gate->coding, "more than one Transfer-Encoding"},
	};

	for (size_t i = 0; i < gate->head->field_count; i++) {
		for (size_t k = 0; k < COUNT_OF(once); k++) {
			if (!field_is(&gate->head->fields[i], once[k].name))
				continue;
			if (*once[k].found)
				return object(gate, 400, once[k].why);
			*once[k].found = &gate->head->fields[i];
		}
	}
}

/* RFC 9110 section 7.2: uri-host [ ":" port ]. An empty host is no http address (section 4.2.1). */
static void rule_host(struct gate *gate)
{
	if (!gate->host) {
		if (!gate->is_http_1_0)
			object(gate, 400, "HTTP/1.1 without Host");
		return;
	}
	if (gate->host->value_len == 0)
		object(gate, 400, "Host is empty");
	for (size_t i = 0; i < gate->host->value_len; i++) {
		char c = gate->host->value[i];

		if (!ascii_is_alnum(c) && !strchr("-._~%!$&'()*+;=:[]", c))
			return object(gate, 400, "Host holds a character that no host name has");
	}
}

/* A coding we do not know must not be guessed at, and never together with a length: RFC 9112
 * section 6.1, 6.3. */
static void rule_coding(struct gate *gate)
{
	if (!gate->coding)
		return;
	if (gate->length)
		object(gate, 400, "both Content-Length and Transfer-Encoding");
	else if (gate->is_http_1_0)
		object(gate, 400, "Transfer-Encoding in HTTP/1.0");
	else if (!value_is(gate->coding, "chunked"))
		object(gate, 501, "the only Transfer-Encoding taken is chunked");
	gate->verdict.is_chunked = true;
}

/* 1*DIGIT and nothing else; the limit is checked digit by digit, so nothing can overflow. */
static void rule_length(struct gate *gate)
{
	uint64_t length = 0;

	if (!gate->length)
		return;
	if (gate->length->value_len == 0)
		return object(gate, 400, "Content-Length is empty");
	for (size_t i = 0; i < gate->length->value_len; i++) {
		char c = gate->length->value[i];

		if (c < '0' || c > '9')
			return object(gate, 400, "Content-Length is not a plain number");
		if (length <= gate->limits->body_max)
			length = length * 10 + (uint64_t)(c - '0');
	}
	if (length > gate->limits->body_max)
		return object(gate, 413, "the body is larger than body_max");
	gate->verdict.content_length = (int64_t)length;
}

static void rule_expect(struct gate *gate)
{
	for (size_t i = 0; i < gate->head->field_count; i++) {
		const struct gate_field *field = &gate->head->fields[i];

		if (field_is(field, "Expect") && !value_is(field, "100-continue"))
			object(gate, 417, "the only Expect taken is 100-continue");
	}
}

struct gate_verdict gate_check(const struct gate_head *head, const struct gate_limits *limits)
{
	static gate_rule *const rules[] = {rule_size, rule_version, rule_method, rule_field_syntax,
		rule_once, rule_host, rule_coding, rule_length, rule_expect};
	struct gate gate = {.head = head, .limits = limits};

	for (size_t i = 0; i < COUNT_OF(rules) && gate.verdict.status == 0; i++)
		rules[i](&gate);
	gate.verdict.is_head_only = !gate.verdict.is_chunked && gate.verdict.content_length == 0;
	return gate.verdict;
}

/* "method\0target\0version\0\0": one separator between the words, CRLF behind them. */
static bool first_line_is_seamless(
	const struct gate_head *head, const char *target_at, size_t target_len)
{
	return head->method + strlen(head->method) + 1 == target_at &&
	       target_at + target_len + 1 == head->version && strlen(head->version) == 8 &&
	       head->version[9] == '\0';
}

bool gate_is_seamless(const struct gate_head *head, const char *target_at, size_t target_len)
{
	const char *at;

	if (!first_line_is_seamless(head, target_at, target_len))
		return false;
	at = head->version + 10;
	for (size_t i = 0; i < head->field_count; i++) {
		const struct gate_field *field = &head->fields[i];
		const char *value = field->name + field->name_len + 1;

		if (field->name != at)
			return false;
		value += strspn(value, " \t");
		if (field->value != value || value[field->value_len] != '\0' ||
			value[field->value_len + 1] != '\0')
			return false;
		at = value + field->value_len + 2;
	}
	return (size_t)(at - head->method) + 2 == head->bytes && at[0] == '\0' && at[1] == '\0';
}

bool gate_is_request_id(const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++) {
		if (!ascii_is_alnum(text[i]) && !strchr("._-", text[i]))
			return false;
	}
	return len >= 1 && len <= 64;
}
