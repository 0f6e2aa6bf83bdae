/* SPDX-License-Identifier: Apache-2.0
 *
 * The end of an attempt as one line of JSON, for a file: what the store could not be told. Output
 * is bytes, not text: each byte becomes the character of its number, which any reader of JSON gives
 * back. */
#include <jansson.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "model/model_priv.h"

/* --- bytes --- */

static json_t *json_bytes(const char *bytes, size_t len)
{
	struct buf text;
	json_t *json;

	buf_init(&text, 2 * len + 1);
	for (size_t i = 0; i < len; i++) {
		unsigned char byte = (unsigned char)bytes[i];

		if (byte >= 0x80)
			buf_putc(&text, (char)(0xc0 | byte >> 6));
		buf_putc(&text, (char)(byte >= 0x80 ? 0x80 | (byte & 0x3f) : byte));
	}
	json = json_stringn(buf_text(&text), text.len);
	buf_fini(&text);
	return json;
}

/* False: a character above U+00FF. */
static bool bytes_from_json(const json_t *json, char **ret_bytes, size_t *ret_len)
{
	const unsigned char *text = (const unsigned char *)json_string_value(json);
	size_t len = json_string_length(json), count = 0;
	char *bytes = xcalloc(len + 1, 1);

	for (size_t i = 0; i < len; i++) {
		unsigned char byte = text[i];

		if (byte >= 0x80) {
			if ((byte & 0xfc) != 0xc0 || i + 1 == len) {
				free(bytes);
				return false;
			}
			byte = (unsigned char)(byte << 6 | (text[++i] & 0x3f));
		}
		bytes[count++] = (char)byte;
	}
	*ret_bytes = bytes;
	*ret_len = count;
	return true;
}

/* --- out --- */

char *ended_attempt_to_text(const struct run *run, const struct attempt_result *result,
	const struct run_follow_up *follow_up)
{
	char id[ID_TEXT_SIZE];
	json_t *json = json_pack("{s:s, s:I, s:i, s:s, s:i, s:i, s:I, s:I, s:b, s:I}", "run",
		id_format(&run->id, id), "epoch", (json_int_t)run->epoch, "attempt", run->attempt,
		"outcome", attempt_outcome_names[result->outcome], "http_status",
		result->http_status, "exit_code", result->exit_code, "started_at_ms",
		(json_int_t)result->started_at_ms, "retry_after_ms",
		(json_int_t)result->retry_after_ms, "is_unanswered", (int)result->is_unanswered,
		"output_total", (json_int_t)result->output_total);
	char *text;

	must(json);
	if (result->error)
		json_object_set_new(
			json, "error", json_bytes(result->error, strlen(result->error)));
	if (result->output)
		json_object_set_new(json, "output", json_bytes(result->output, result->output_len));
	json_object_set_new(json, "follow_up",
		json_pack("{s:s, s:s, s:I, s:b}", "state", run_state_names[follow_up->state],
			"reason", run_reason_names[follow_up->reason], "delay_ms",
			(json_int_t)follow_up->delay_ms, "counts", (int)follow_up->counts));
	text = json_dumps(json, JSON_COMPACT);
	must(text);
	json_decref(json);
	return text;
}

/* --- in --- */

static bool read_follow_up(json_t *json, struct run_follow_up *ret_follow_up)
{
	const char *state_word = NULL, *reason_word = NULL;
	json_int_t delay_ms = 0;
	int counts = 0, state, reason;

	if (json_unpack(json, "{s:s, s:s, s:I, s:b}", "state", &state_word, "reason", &reason_word,
		    "delay_ms", &delay_ms, "counts", &counts) != 0)
		return false;
	state = name_index(run_state_names, state_word);
	reason = name_index(run_reason_names, reason_word);
	if (state < 0 || reason < 0 || delay_ms < 0)
		return false;
	*ret_follow_up = (struct run_follow_up){.state = (enum run_state)state,
		.reason = (enum run_reason)reason,
		.delay_ms = delay_ms,
		.counts = counts != 0};
	return true;
}

static bool read_bytes(json_t *json, const char *name, char **ret_bytes, size_t *ret_len)
{
	json_t *member = json_object_get(json, name);

	return !member || (json_is_string(member) && bytes_from_json(member, ret_bytes, ret_len));
}

static bool read_ending(json_t *json, struct ended_attempt *ending)
{
	struct attempt_result *result = &ending->result;
	const char *id = NULL, *outcome_word = NULL;
	json_int_t epoch = 0, started = 0, retry_after = 0, total = 0;
	int is_unanswered = 0, outcome;
	size_t ignored;

	if (json_unpack(json, "{s:s, s:I, s:i, s:s, s:i, s:i, s:I, s:I, s:b, s:I}", "run", &id,
		    "epoch", &epoch, "attempt", &ending->run.attempt, "outcome", &outcome_word,
		    "http_status", &result->http_status, "exit_code", &result->exit_code,
		    "started_at_ms", &started, "retry_after_ms", &retry_after, "is_unanswered",
		    &is_unanswered, "output_total", &total) != 0)
		return false;
	outcome = name_index(attempt_outcome_names, outcome_word);
	if (outcome < 0 || !id_parse(id, &ending->run.id) ||
		!read_follow_up(json_object_get(json, "follow_up"), &ending->follow_up) ||
		!read_bytes(json, "error", &result->error, &ignored) ||
		!read_bytes(json, "output", &result->output, &result->output_len))
		return false;
	ending->run.epoch = epoch;
	result->outcome = (enum attempt_outcome)outcome;
	result->started_at_ms = started;
	result->retry_after_ms = retry_after;
	result->is_unanswered = is_unanswered != 0;
	result->output_total = total;
	return true;
}

int ended_attempt_from_text(
	const char *text, size_t len, struct ended_attempt *ret_ending, struct err *err)
{
	struct ended_attempt ending = {0};
	json_t *json = json_loadb(text, len, JSON_ALLOW_NUL, NULL);
	bool is_read = json && read_ending(json, &ending);

	json_decref(json);
	if (!is_read) {
		ended_attempt_fini(&ending);
		return err_set(err, ERR_CORRUPT, "not the end of an attempt: %.60s", text);
	}
	*ret_ending = ending;
	return 0;
}

void ended_attempt_fini(struct ended_attempt *ending)
{
	attempt_result_fini(&ending->result);
	run_fini(&ending->run);
}
