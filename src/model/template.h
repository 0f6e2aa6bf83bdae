/* SPDX-License-Identifier: Apache-2.0
 *
 * Templates (doc/templates.md): what stands in {{...}} is put in when an attempt begins. */
#pragma once

#include "model/model.h"

/* The place a text is for. It decides what a value becomes, so that it cannot break out. */
enum template_form {
	TEMPLATE_TEXT,    /* as it is: environment, stdin, a body of any other type */
	TEMPLATE_HEADER,  /* as it is; a line break is refused */
	TEMPLATE_URL,     /* percent-encoded; the path keeps its depth */
	TEMPLATE_PERCENT, /* percent-encoded: a form */
	TEMPLATE_JSON,    /* in a string escaped, elsewhere a JSON value of its own */
	TEMPLATE_XML      /* character references */
};

#define TEMPLATE_LINE_MAX 16384         /* bytes of a URL or a header with its values put in */
#define TEMPLATE_BODY_MAX (1024 * 1024) /* bytes of anything else */

struct template_values {
	const struct run *run; /* its ->action is set */
	const json_t *payload; /* NULL: none */
	const struct name_value *secrets;
	size_t secret_count;
};

/* Is {{checkpoint}} among it? */
bool template_uses_checkpoint(const char *text);

/* Has `text` anything to put in? Without, it is its own rendering. */
bool template_is(const char *text);

/* The template whose rendering is `text` itself. Owned by the caller. */
char *template_escape(const char *text);

/* 0, or ERR_INVALID with the position of what is wrong. `each_secret` (may be NULL) hears of every
 * secret that is named, as often as it is. */
typedef void template_secret_fn(const char *name, size_t len, void *data);
int template_check(const char *text, template_secret_fn *each_secret, void *data, struct err *err);

/* Renders into `out`, which is initialised here; buf_fini it whatever the result. ERR_INVALID: the
 * payload lacks a field, or a value cannot stand there; ERR_NOT_FOUND: no such secret;
 * ERR_TOO_LARGE.
 */
int template_render(enum template_form form, const char *text, const struct template_values *values,
	struct buf *out, struct err *err);

/* What an attempt works with: the action's targets with the values put in. Strings without a
 * template are the action's. */
struct rendered_target {
	const struct action *action; /* borrowed, until the _fini; NULL: nothing to free */
	struct http_target http;
	struct exec_target exec;
};

/* As template_render, with the run's payload; the text names the member. Nothing to free after an
 * error. */
int target_render(const struct action *action, const struct run *run,
	const struct name_value *secrets, size_t secret_count, struct rendered_target *ret_target,
	struct err *err);
void rendered_target_fini(struct rendered_target *target);

/* Does the body, as its author wrote it, hold a secret? */
bool http_body_has_secret(const struct http_target *target);

/* Which form a body of this content type has (NULL: plain text). */
enum template_form template_body_form(const char *content_type);

/* Letters, digits and '_', no digit first, at most SECRET_NAME_MAX. */
bool secret_name_is_valid(const char *name, size_t len);
const char *secret_find(const struct template_values *values, const char *name, size_t len);
