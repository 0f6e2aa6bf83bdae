/* SPDX-License-Identifier: Apache-2.0
 *
 * The strict gate: pure functions that decide whether a request head may reach a handler.
 *
 * libmicrohttpd 0.9.75 is generous: it ends lines at a bare LF, glues folded lines to the header
 * *name*, cuts values at a NUL and believes the first of two Content-Lengths. Each of these lets
 * two parsers read one byte stream differently, which is what request smuggling is made of (RFC
 * 9112 section 11.2). So a head passes only when exactly one reading of it exists. No I/O, no
 * clock, no libmicrohttpd here: everything can be tested and fuzzed alone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Most header lines, and most query parameters, of one request: 431, 400. */
#define GATE_FIELDS_MAX 100
#define GATE_QUERY_MAX  100

struct gate_field {
	const char *name;
	size_t name_len;
	const char *value; /* leading blanks already skipped */
	size_t value_len;
};

/* A request head in parts; all borrowed. */
struct gate_head {
	const char *method;
	const char *target; /* raw: still encoded */
	const char *version;
	const struct gate_field *fields;
	size_t field_count; /* may exceed GATE_FIELDS_MAX; then `fields` holds only that many */
	size_t bytes;       /* from the first byte of the method to the end of the empty line */
};

struct gate_limits {
	size_t header_max;
	size_t body_max;
};

/* status 0 passes; else the status to answer and why, a static text without quotes. */
struct gate_verdict {
	int status;
	const char *why;
	int64_t content_length; /* 0 when there is none */
	bool is_chunked;
	bool is_head_only; /* no body follows */
};

/* RFC 9112 section 3 (request line), 5 (fields), 6 (body length), 7 (transfer codings). */
struct gate_verdict gate_check(const struct gate_head *head, const struct gate_limits *limits);

/* True when the parts lie in the buffer at `head->method` exactly as a head with one space between
 * the words of its first line, CRLF at every line's end and no NUL leaves them behind after
 * libmicrohttpd has put NULs over the separators: nothing between the parts is unaccounted for.
 * `target_at` is where the target begins in that buffer and `target_len` its length before it was
 * taken apart. Pointers are compared and read only inside the head's bytes. */
bool gate_is_seamless(const struct gate_head *head, const char *target_at, size_t target_len);

/* A request target, taken apart. */
struct target {
	char *memory; /* owned; everything below points into it or is owned */
	char *path;   /* raw, without query */
	struct target_pair {
		char *name, *value; /* decoded; '+' is a space */
	} * query;                  /* owned */
	size_t query_count;
};

/* Splits and checks an origin-form target: legal characters, whole escapes, UTF-8 without control
 * characters, no "." or ".." segment however written. NULL and *ret_target on success; else why not
 * (static text), and nothing to free. */
const char *target_parse(const char *raw, struct target *ret_target);
void target_fini(struct target *target);

/* 1 to 64 of [A-Za-z0-9._-]: a request id worth echoing. */
bool gate_is_request_id(const char *text);
