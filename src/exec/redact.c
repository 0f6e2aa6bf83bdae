/* SPDX-License-Identifier: Apache-2.0
 *
 * Takes the values of secrets out of what an attempt writes. A program prints its environment, a
 * target echoes the header it was sent: neither must end in the ledger.
 *
 * Output comes in pieces, and a value may lie across their borders. Each pattern is followed by an
 * automaton of its own (Knuth, Morris, Pratt), whose state says how many of the last bytes could
 * still become a match; the largest of these states is what must be held back, nothing more. So the
 * work is linear whatever the bytes are, and what is held is shorter than the longest value.
 * Matches may overlap: every byte that belongs to any is taken out, and each stretch of such bytes
 * is replaced by one mark.
 *
 * A value is looked for as it is and in the forms it takes on its way: percent-encoded and as the
 * inside of a JSON string. Other encodings (base64, a hash) are not recognised. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/escape.h"
#include "base/mem.h"
#include "exec_priv.h"

#define REDACTED "[redacted]"

struct pattern {
	char *bytes; /* owned */
	size_t len;
	uint32_t *borders; /* owned; [i]: the longest proper border of the first i + 1 bytes */
	size_t state;      /* bytes of it that the last bytes written match */
};

struct redactor {
	struct pattern *patterns;
	size_t count, room;
	bool begins[256]; /* a pattern begins with this byte */
	char *held;       /* owned; not passed on yet */
	bool *is_secret;  /* owned; of each held byte */
	size_t held_len, held_size;
	bool in_secret; /* the last byte passed on was taken out */
};

struct redactor *redactor_create(void)
{
	return xcalloc(1, sizeof(struct redactor));
}

/* Values are wiped: the heap outlives the attempt. */
void redactor_destroy(struct redactor *redactor)
{
	if (redactor == NULL)
		return;
	for (size_t i = 0; i < redactor->count; i++) {
		explicit_bzero(redactor->patterns[i].bytes, redactor->patterns[i].len);
		free(redactor->patterns[i].bytes);
		free(redactor->patterns[i].borders);
	}
	free(redactor->patterns);
	free(redactor->held);
	free(redactor->is_secret);
	free(redactor);
}

/* --- patterns --- */

static uint32_t *find_borders(const char *bytes, size_t len)
{
	uint32_t *borders = xcalloc(len, sizeof(*borders));
	uint32_t border = 0;

	for (size_t i = 1; i < len; i++) {
		while (border > 0 && bytes[i] != bytes[border])
			border = borders[border - 1];
		border += bytes[i] == bytes[border];
		borders[i] = border;
	}
	return borders;
}

static bool has_pattern(const struct redactor *redactor, const char *bytes, size_t len)
{
	for (size_t i = 0; i < redactor->count; i++) {
		const struct pattern *pattern = &redactor->patterns[i];

		if (pattern->len == len && memcmp(pattern->bytes, bytes, len) == 0)
			return true;
	}
	return false;
}

static void add_pattern(struct redactor *redactor, const char *bytes, size_t len)
{
	if (len == 0 || has_pattern(redactor, bytes, len))
		return;
	if (redactor->count == redactor->room) {
		redactor->room = redactor->room > 0 ? 2 * redactor->room : 4;
		redactor->patterns =
			xrealloc(redactor->patterns, redactor->room, sizeof(*redactor->patterns));
	}
	redactor->patterns[redactor->count++] = (struct pattern){
		.bytes = xmemdup(bytes, len), .len = len, .borders = find_borders(bytes, len)};
	redactor->begins[(unsigned char)bytes[0]] = true;
}

void redactor_add(struct redactor *redactor, const char *value)
{
	static const enum escape forms[] = {ESCAPE_NONE, ESCAPE_PERCENT, ESCAPE_JSON};
	size_t len = strlen(value);
	struct buf form;

	buf_init(&form, ESCAPE_GROWTH * len);
	for (size_t i = 0; i < COUNT_OF(forms); i++) {
		buf_clear(&form);
		escape_append(forms[i], value, len, &form);
		add_pattern(redactor, buf_text(&form), form.len);
	}
	if (form.data != NULL)
		explicit_bzero(form.data, form.size);
	buf_fini(&form);
}

/* --- bytes --- */

/* Makes room for `len` more held bytes. */
static void hold(struct redactor *redactor, const char *bytes, size_t len)
{
	size_t wanted = redactor->held_len + len;

	if (wanted > redactor->held_size) {
		redactor->held = xrealloc(redactor->held, wanted, 1);
		redactor->is_secret = xrealloc(redactor->is_secret, wanted, sizeof(bool));
		redactor->held_size = wanted;
	}
	memcpy(redactor->held + redactor->held_len, bytes, len);
	memset(redactor->is_secret + redactor->held_len, false, len * sizeof(bool));
	redactor->held_len = wanted;
}

static size_t advance(const struct pattern *pattern, size_t state, char byte)
{
	while (state > 0 && (state == pattern->len || pattern->bytes[state] != byte))
		state = pattern->borders[state - 1];
	return state + (pattern->bytes[state] == byte);
}

/* One held byte for all patterns; returns how many of the last bytes have to stay held. */
static size_t match_byte(struct redactor *redactor, size_t at)
{
	size_t longest = 0;

	for (size_t i = 0; i < redactor->count; i++) {
		struct pattern *pattern = &redactor->patterns[i];

		pattern->state = advance(pattern, pattern->state, redactor->held[at]);
		if (pattern->state == pattern->len)
			memset(redactor->is_secret + at + 1 - pattern->len, true,
				pattern->len * sizeof(bool));
		if (pattern->state > longest)
			longest = pattern->state;
	}
	return longest;
}

/* Passes the first `len` held bytes on, in stretches that are secret or not. */
static void release(struct redactor *redactor, size_t len, struct capture *capture)
{
	size_t end;

	for (size_t at = 0; at < len; at = end) {
		bool is_secret = redactor->is_secret[at];

		for (end = at + 1; end < len && redactor->is_secret[end] == is_secret;)
			end++;
		if (!is_secret)
			capture_write(capture, redactor->held + at, end - at);
		else if (!redactor->in_secret)
			capture_write(capture, REDACTED, strlen(REDACTED));
		redactor->in_secret = is_secret;
	}
	if (len == 0)
		return;
	redactor->held_len -= len;
	memmove(redactor->held, redactor->held + len, redactor->held_len);
	memmove(redactor->is_secret, redactor->is_secret + len, redactor->held_len * sizeof(bool));
}

void redactor_write(
	struct redactor *redactor, const void *bytes, size_t len, struct capture *capture)
{
	size_t first = redactor->held_len, keep = first;

	if (len == 0)
		return;
	hold(redactor, bytes, len);
	for (size_t i = first; i < redactor->held_len; i++)
		if (keep > 0 || redactor->begins[(unsigned char)redactor->held[i]])
			keep = match_byte(redactor, i);
	release(redactor, redactor->held_len - keep, capture);
}

void redactor_end(struct redactor *redactor, struct capture *capture)
{
	for (size_t i = 0; i < redactor->count; i++)
		redactor->patterns[i].state = 0;
	release(redactor, redactor->held_len, capture);
	redactor->in_secret = false;
}

/* The stream may be in the middle of a match: this has a state of its own. */
char *redactor_clean(const struct redactor *redactor, const char *text)
{
	struct redactor fresh = {.count = redactor->count};
	struct capture capture;
	size_t len = strlen(text);
	char *clean;

	memcpy(fresh.begins, redactor->begins, sizeof(fresh.begins));
	fresh.patterns = xcalloc(redactor->count + 1, sizeof(*fresh.patterns));
	for (size_t i = 0; i < redactor->count; i++) {
		fresh.patterns[i] = redactor->patterns[i]; /* bytes borrowed */
		fresh.patterns[i].state = 0;
	}
	capture_init(&capture, (sizeof(REDACTED) + 1) * (len + 1));
	redactor_write(&fresh, text, len, &capture);
	redactor_end(&fresh, &capture);
	clean = capture_copy(&capture, &len);
	capture_fini(&capture);
	free(fresh.patterns);
	free(fresh.held);
	free(fresh.is_secret);
	return clean;
}
