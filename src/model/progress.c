/* SPDX-License-Identifier: Apache-2.0
 *
 * What a running attempt notes down, and the text of its progress. Programs in any language write
 * it, so nothing is an error: what cannot be read as a percentage is a message. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/mem.h"
#include "base/text.h"
#include "model/model_priv.h"

void run_note_fini(struct run_note *note)
{
	free(take_ptr(note->message));
	free(take_ptr(note->checkpoint));
	*note = (struct run_note){0};
}

bool run_note_is_empty(const struct run_note *note)
{
	return !note->has_progress && note->checkpoint == NULL;
}

void run_note_merge(struct run_note *note, struct run_note *newer_take)
{
	if (newer_take->has_progress) {
		free(note->message);
		note->has_progress = true;
		note->percent = newer_take->percent;
		note->message = take_ptr(newer_take->message);
	}
	if (newer_take->checkpoint != NULL) {
		free(note->checkpoint);
		note->checkpoint = take_ptr(newer_take->checkpoint);
		note->checkpoint_len = newer_take->checkpoint_len;
	}
	run_note_fini(newer_take);
}

/* --- progress --- */

static int percent_of(double number)
{
	if (!(number > 0)) /* not a number, too */
		return 0;
	return number >= 100 ? 100 : (int)floor(number);
}

/* Without the spaces around. */
static void trim(const char **text, size_t *len)
{
	while (*len > 0 && isspace((unsigned char)(*text)[*len - 1]))
		(*len)--;
	while (*len > 0 && isspace((unsigned char)**text)) {
		(*text)++;
		(*len)--;
	}
}

/* Cut where a character begins, without spaces around. NULL when nothing is left. */
static char *message_of(const char *text, size_t len)
{
	struct buf clean;

	trim(&text, &len);
	if (len == 0)
		return NULL;
	if (len > PROGRESS_MESSAGE_MAX) {
		len = PROGRESS_MESSAGE_MAX;
		while (len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80)
			len--;
	}
	buf_init(&clean, 3 * len + 1);
	utf8_clean(text, len, &clean);
	return buf_take(&clean);
}

static bool parse_object(const char *text, size_t len, struct run_note *note)
{
	struct err err = {0};
	const json_t *percent, *message;
	json_t *json;

	if (json_from_text(text, len, &json, &err) != 0)
		return false;
	percent = json_object_get(json, "percent");
	message = json_object_get(json, "message");
	if (json_is_object(json)) {
		note->percent =
			json_is_number(percent) ? percent_of(json_number_value(percent)) : -1;
		note->message = json_is_string(message) ? message_of(json_string_value(message),
								  json_string_length(message))
							: NULL;
		note->has_progress = note->percent >= 0 || note->message != NULL;
	}
	json_decref(json);
	return note->has_progress;
}

/* "42", "42%", "42.5 % copying"; a number that runs on ("42nd file") is a word. */
static size_t read_percent(const char *line, size_t len, int *ret_percent)
{
	double number = 0, unit = 1;
	size_t at = 0;

	while (at < len && ascii_is_digit(line[at]))
		number = number * 10 + (line[at++] - '0');
	if (at == 0)
		return 0;
	if (at + 1 < len && line[at] == '.' && ascii_is_digit(line[at + 1]))
		for (at++; at < len && ascii_is_digit(line[at]); at++)
			number += (line[at] - '0') * (unit /= 10);
	if (at < len && line[at] == '%')
		at++;
	else if (at < len && !isspace((unsigned char)line[at]))
		return 0;
	*ret_percent = percent_of(number);
	return at;
}

static bool parse_line(const char *line, size_t len, struct run_note *note)
{
	size_t at;

	if (line[0] == '{' && parse_object(line, len, note))
		return true;
	note->percent = -1;
	at = read_percent(line, len, &note->percent);
	note->message = message_of(line + at, len - at);
	return note->has_progress = true;
}

bool progress_parse(const char *text, size_t len, struct run_note *note)
{
	size_t begin;

	*note = (struct run_note){.percent = -1};
	trim(&text, &len);
	if (len == 0)
		return false;
	if (text[0] == '{' && text[len - 1] == '}' && parse_object(text, len, note))
		return true;
	for (begin = len; begin > 0 && text[begin - 1] != '\n'; begin--)
		continue;
	while (begin < len && isspace((unsigned char)text[begin]))
		begin++;
	return parse_line(text + begin, len - begin, note);
}

/* --- the answer of an http target --- */

static void take_progress(const json_t *progress, struct run_note *note)
{
	char *text = json_is_object(progress) ? json_dumps(progress, JSON_WRITE_FLAGS) : NULL;

	if (text != NULL && !parse_object(text, strlen(text), note))
		note->percent = -1;
	free(text);
}

/* NULL: too long. */
static char *checkpoint_text(const json_t *checkpoint)
{
	char *text;

	if (json_is_null(checkpoint))
		return xstrdup("");
	text = json_is_string(checkpoint)
		       ? xmemdup(json_string_value(checkpoint), json_string_length(checkpoint))
		       : json_dumps(checkpoint, JSON_WRITE_FLAGS | JSON_ENCODE_ANY);
	must(text != NULL);
	if (strlen(text) <= CHECKPOINT_MAX)
		return text;
	free(text);
	return NULL;
}

int answer_note_parse(
	const char *text, size_t len, struct run_note *ret_note, bool *ret_is_done, struct err *err)
{
	struct run_note note = {.percent = -1};
	const json_t *checkpoint;
	json_t *json;
	bool is_done;
	int code = 0;

	if (json_from_text(text, len, &json, err) != 0)
		return ERR_INVALID;
	checkpoint = json_object_get(json, "checkpoint");
	is_done = !json_is_false(json_object_get(json, "done"));
	take_progress(json_object_get(json, "progress"), &note);
	if (checkpoint != NULL)
		note.checkpoint = checkpoint_text(checkpoint);
	if (!json_is_object(json))
		code = err_set(err, ERR_INVALID, "it is not an object");
	else if (checkpoint != NULL && note.checkpoint == NULL)
		code = err_set(err, ERR_TOO_LARGE, "its checkpoint has more than %d bytes",
			CHECKPOINT_MAX);
	json_decref(json);
	if (code != 0) {
		run_note_fini(&note);
		return code;
	}
	note.checkpoint_len = note.checkpoint != NULL ? strlen(note.checkpoint) : 0;
	*ret_note = note;
	*ret_is_done = is_done;
	return 0;
}
