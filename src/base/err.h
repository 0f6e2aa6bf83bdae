/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors as values: a negative code and a text for the person who must act.
 * must() is for broken programs, struct err for a broken world (STYLE 15, 16). */
#pragma once

#include <stdarg.h>

enum err_code {
	ERR_NONE = 0,
#define X(name, value, code, http, exit, meaning) name = value,
#include "base/errors.def"
#undef X
};

/* What happened, to which thing, and what to do. `field` is a JSON pointer ("/schedule/cron") when
 * one member of an input is to blame, else "". Plain data; initialise with {0}. */
struct err {
	int code;
	char field[96];
	char text[400];
};

/* Fills `err` (may be NULL) and returns `code`. The text is lower case, without a full stop, and is
 * cut at the size of the buffer. `field` becomes "". */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same, naming the member of the input (a JSON pointer) that is to blame. */
int err_field(struct err *err, int code, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Puts "prefix: " before the text of an error that is being passed on; returns err->code. */
int err_wrap(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#ifdef __clang_analyzer__ /* it sees one file at a time and would suspect that 0 is returned */
#define err_set(err, code, ...)          ((err_set)(err, code, __VA_ARGS__), (code))
#define err_field(err, code, field, ...) ((err_field)(err, code, field, __VA_ARGS__), (code))
#endif

/* The stable word of a code ("not_found"); "internal" for an unknown one. */
const char *err_name(int code);

/* One sentence on what the code means, for documentation and problem titles. */
const char *err_meaning(int code);

/* HTTP status and process exit status that stand for `code`. */
int err_http_status(int code);
int err_exit_status(int code);

/* Prints the condition and its place and aborts: the program is broken, the database is not. Always
 * on. Never on input, disk, network or database. */
#define must(cond) ((cond) ? (void)0 : must_fail(#cond, __FILE__, __LINE__))
_Noreturn void must_fail(const char *cond, const char *file, int line);
