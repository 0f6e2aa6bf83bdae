/* SPDX-License-Identifier: Apache-2.0
 *
 * One http attempt, for the files that share it. */
#pragma once

#include <curl/curl.h>

#include "base/buf.h"
#include "exec/exec_priv.h"

#define HEADER_VALUE_SIZE 64 /* Date and Retry-After are shorter when they mean something */

enum hook_phase {
	HOOK_QUEUED, /* for a place at its host */
	HOOK_LOOKING_UP,
	HOOK_CONNECTING,
	HOOK_WAITING,
	HOOK_READING
};

struct host;

/* The header lines of a request: one text, and the list that libcurl reads, which points into it.
 */
#define HOOK_LINES_MAX (ACTION_HEADERS_MAX + 16)
struct header_lines {
	struct buf text;          /* each line ends in NUL */
	struct curl_slist *nodes; /* owned, one array */
	size_t count;
};
void header_lines_fini(struct header_lines *lines);

struct webhook {
	struct attempt attempt;
	CURL *easy;
	struct header_lines headers;
	enum hook_phase phase;
	char peer[ADDRESS_TEXT_SIZE]; /* called last; "": none yet */
	const char *refusal;          /* why that address was not called, static; NULL: it was */
	const char *advice;           /* goes with it */
	size_t header_bytes;
	size_t body_bytes;
	const char *excess; /* which limit the answer broke, static; NULL: none */
	char date[HEADER_VALUE_SIZE], retry_after[HEADER_VALUE_SIZE]; /* of the last answer */
	char problem[CURL_ERROR_SIZE];
	bool is_note;    /* the answer is of type ANSWER_NOTE_TYPE ... */
	struct buf note; /* ... and this is its body */

	/* the first byte */
	uv_timer_t first_byte; /* only with a first_byte_timeout */
	bool has_first_byte_timer, is_too_slow;

	/* redirects */
	int redirects;     /* followed so far */
	char *url;         /* owned; where the last one led; NULL: the target's own */
	bool has_location; /* the last answer has */
	bool is_get;       /* the method and the body were dropped on the way */
	bool is_elsewhere; /* it has left the origin it was meant for */

	char *signature;     /* owned; NULL: not signed */
	int64_t timestamp_s; /* of the signature */
	int64_t started_mono_ms;

	/* places */
	struct host *host; /* NULL: neither there nor waiting */
	struct list waiting;
};

/* A part of the URL that was called last; "?" when there is none. Returns `ret_text`. */
#define URL_TEXT_SIZE 300
const char *webhook_url_text(
	const struct webhook *hook, CURLUPart part, char ret_text[static URL_TEXT_SIZE]);

/* --- webhook_result.c --- */

/* Of the answer so far; 0: there is none yet. */
int webhook_status(const struct webhook *hook);
/* The result gets that status, and Retry-After; what an earlier one said stands while it is 0. */
void webhook_keep_status(struct webhook *hook);
/* An answer has come, whole. */
void webhook_judge_answer(struct webhook *hook);
/* None has, or not all of it. */
void webhook_set_transfer_error(struct webhook *hook, CURLcode code);
/* What it was doing, for "timed out after 5s while ...". */
void webhook_set_ending_error(struct webhook *hook, const char *ending);
