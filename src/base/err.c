/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors as values, and the table errors.def made askable. */
#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text_priv.h"

#undef err_set /* macros only for the analyzer: see err.h */
#undef err_field

struct err_entry {
	int value;
	int http_status;
	int exit_status;
	const char *name;
	const char *meaning;
};

static const struct err_entry err_none = {ERR_NONE, 200, 0, "ok", "no error"};

static const struct err_entry err_table[] = {
#define X(name, value, code, http, exit, meaning) {value, http, exit, code, meaning},
#include "base/errors.def"
#undef X
};

/* The row of `code`; an unknown one is a fault of ours and answers as such. */
static const struct err_entry *err_lookup(int code)
{
	if (code == ERR_NONE)
		return &err_none;
	for (size_t i = 0; i < COUNT_OF(err_table); i++)
		if (err_table[i].value == code)
			return &err_table[i];
	return err_lookup(ERR_INTERNAL);
}

/* Formats into `out`, cutting between characters: these texts end up in JSON. */
__attribute__((format(printf, 3, 0))) static void format_cut(
	char *out, size_t size, const char *fmt, va_list args)
{
	int len = vsnprintf(out, size, fmt, args);

	if (len < 0)
		out[0] = '\0';
	else if ((size_t)len >= size)
		out[utf8_cut(out, size - 1)] = '\0';
}

/* Through a second buffer, because the arguments may point into `err` itself. */
__attribute__((format(printf, 4, 0))) static void err_fill(
	struct err *err, int code, const char *field, const char *fmt, va_list args)
{
	struct err fresh = {.code = code};

	(void)snprintf(fresh.field, sizeof(fresh.field), "%s", field);
	fresh.field[utf8_cut(fresh.field, strlen(fresh.field))] = '\0';
	format_cut(fresh.text, sizeof(fresh.text), fmt, args);
	*err = fresh;
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list args;

	if (!err)
		return code;
	va_start(args, fmt);
	err_fill(err, code, "", fmt, args);
	va_end(args);
	return code;
}

int err_field(struct err *err, int code, const char *field, const char *fmt, ...)
{
	va_list args;

	if (!err)
		return code;
	va_start(args, fmt);
	err_fill(err, code, field, fmt, args);
	va_end(args);
	return code;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
	char text[2 * sizeof(err->text) + 2];
	char prefix[sizeof(err->text)];
	va_list args;

	if (!err)
		return ERR_INTERNAL;
	va_start(args, fmt);
	format_cut(prefix, sizeof(prefix), fmt, args);
	va_end(args);
	(void)snprintf(text, sizeof(text), "%s: %s", prefix, err->text);
	text[utf8_cut(text, strnlen(text, sizeof(err->text) - 1))] = '\0';
	memcpy(err->text, text, strlen(text) + 1);
	return err->code;
}

const char *err_name(int code)
{
	return err_lookup(code)->name;
}

const char *err_meaning(int code)
{
	return err_lookup(code)->meaning;
}

int err_http_status(int code)
{
	return err_lookup(code)->http_status;
}

int err_exit_status(int code)
{
	return err_lookup(code)->exit_status;
}

void must_fail(const char *cond, const char *file, int line)
{
	(void)fprintf(stderr, "%s:%d: this must hold but does not: %s\n", file, line, cond);
	abort();
}
