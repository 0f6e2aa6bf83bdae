/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON text from outside to a value, and values to JSON that cannot fail. The parser recurses, so
 * the depth is counted first, over the plain bytes; everything else (duplicate keys, broken UTF-8,
 * NUL, text behind the value, numbers out of range) the parser refuses by itself. */
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "model/model_priv.h"

struct position {
	size_t line, column;
};

static void position_step(struct position *position, char c)
{
	if (c == '\n') {
		position->line++;
		position->column = 0;
	} else if (((unsigned char)c & 0xC0) != 0x80) {
		position->column++; /* characters, as the parser counts */
	}
}

/* False with the position of the bracket that is one too deep. Text that is not JSON may be counted
 * wrongly, but never above its real depth before the parser has met the mistake. */
static bool depth_is_bounded(const char *text, size_t len, struct position *ret_position)
{
	struct position at = {.line = 1};
	bool in_string = false;
	int depth = 0;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		position_step(&at, c);
		if (in_string && c == '\\' && i + 1 < len)
			position_step(&at, text[++i]);
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '[' || c == '{'))
			depth++;
		else if (!in_string && (c == ']' || c == '}'))
			depth--;
		if (depth > JSON_MAX_DEPTH) {
			*ret_position = at;
			return false;
		}
	}
	return true;
}

/* The parser's words quote the input, which may be anything; on NUL they speak to programmers. */
static int set_parse_error(struct err *err, const json_error_t *error)
{
	enum json_error_code kind = json_error_code(error);
	struct buf clean;
	int code;

	if (kind == json_error_null_character || kind == json_error_null_byte_in_key)
		return err_set(err, ERR_BAD_REQUEST,
			"JSON, line %d, column %d: \\u0000 is not allowed in a string", error->line,
			error->column);
	buf_init(&clean, sizeof(err->text));
	utf8_clean(error->text, strlen(error->text), &clean);
	code = err_set(err, ERR_BAD_REQUEST, "JSON, line %d, column %d: %s", error->line,
		error->column, buf_text(&clean));
	buf_fini(&clean);
	return code;
}

static bool is_blank(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] == '\0' || strchr(" \t\r\n", text[i]) == NULL)
			return false;
	return true;
}

int json_from_text(const char *text, size_t len, json_t **ret_json, struct err *err)
{
	struct position at;
	json_error_t error;
	json_t *json;

	if (is_blank(text, len))
		return err_set(err, ERR_BAD_REQUEST, "JSON expected, found nothing");
	if (!depth_is_bounded(text, len, &at))
		return err_set(err, ERR_BAD_REQUEST,
			"JSON, line %zu, column %zu: nested deeper than %d", at.line, at.column,
			JSON_MAX_DEPTH);
	json = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	if (json == NULL)
		return set_parse_error(err, &error);
	*ret_json = json;
	return 0;
}

json_t *json_new_object(void)
{
	json_t *object = json_object();

	must(object != NULL);
	return object;
}

void json_put(json_t *object, const char *name, json_t *value_take)
{
	must(json_object_set_new(object, name, value_take) == 0);
}

json_t *json_text(const char *text)
{
	json_t *json;
	struct buf clean;

	if (text == NULL)
		return json_null();
	json = json_string(text);
	if (json != NULL)
		return json;
	buf_init(&clean, strlen(text) * 3 + 1); /* each bad byte becomes three */
	utf8_clean(text, strlen(text), &clean);
	json = json_string(buf_text(&clean));
	buf_fini(&clean);
	must(json != NULL);
	return json;
}

json_t *json_time(int64_t at_ms)
{
	char text[RFC3339_TEXT_SIZE];

	return at_ms == NO_TIME ? json_null() : json_text(format_rfc3339(at_ms, text));
}

json_t *json_id(const struct id *id)
{
	char text[ID_TEXT_SIZE];

	return id_is_zero(id) ? json_null() : json_text(id_format(id, text));
}
