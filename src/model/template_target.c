/* SPDX-License-Identifier: Apache-2.0
 *
 * The templates of a target: which of its texts may be some, what must be known about them before a
 * run comes, which secrets they name, and the target with everything put in. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "model/model_priv.h"

/* --- the form of a body --- */

static bool ends_with(const char *text, size_t len, const char *suffix)
{
	size_t size = strlen(suffix);

	return len >= size && strncasecmp(text + len - size, suffix, size) == 0;
}

/* By the media type alone: "application/problem+json; charset=utf-8". */
enum template_form template_body_form(const char *content_type)
{
	size_t len = content_type != NULL ? strcspn(content_type, "; \t") : 0;

	if (ends_with(content_type, len, "/json") || ends_with(content_type, len, "+json") ||
		ends_with(content_type, len, "json-seq") || ends_with(content_type, len, "ndjson"))
		return TEMPLATE_JSON;
	if (ends_with(content_type, len, "/x-www-form-urlencoded"))
		return TEMPLATE_PERCENT;
	if (ends_with(content_type, len, "/xml") || ends_with(content_type, len, "+xml") ||
		ends_with(content_type, len, "/html"))
		return TEMPLATE_XML;
	return TEMPLATE_TEXT;
}

/* --- checking --- */

struct collection {
	char *names[ACTION_SECRETS_MAX + 1];
	size_t count;
	bool is_full, has_checkpoint;
};

static void collect(const char *name, size_t len, void *data)
{
	struct collection *found = data;

	for (size_t i = 0; i < found->count; i++)
		if (strlen(found->names[i]) == len && memcmp(found->names[i], name, len) == 0)
			return;
	if (found->count == ACTION_SECRETS_MAX)
		found->is_full = true;
	else
		found->names[found->count++] = xstrndup(name, len);
}

static void check_text(struct collection *found, const char *text, const struct place *place)
{
	struct err err = {0};

	if (text != NULL && template_check(text, collect, found, &err) != 0)
		place_fault(place, "%s", err.text);
	else if (text != NULL && template_uses_checkpoint(text))
		found->has_checkpoint = true;
}

static void check_pairs(struct collection *found, const struct name_value *pairs, size_t count,
	const struct place *place)
{
	for (size_t i = 0; i < count; i++) {
		struct place at = place_member(place, pairs[i].name);

		check_text(found, pairs[i].value, &at);
		if (strcasecmp(pairs[i].name, "Content-Type") == 0 && template_is(pairs[i].value))
			place_fault(&at, "must not be a template: it decides how the values in the "
					 "body are written");
	}
}

/* Hands the names over to the action. */
static void keep_names(struct collection *found, struct action *action, const struct place *place)
{
	if (found->is_full)
		place_fault(place, "more than %d secrets are used", ACTION_SECRETS_MAX);
	action->uses_checkpoint = found->has_checkpoint;
	if (found->count == 0)
		return;
	action->secrets = xcalloc(found->count + 1, sizeof(*action->secrets));
	memcpy(action->secrets, found->names, found->count * sizeof(*action->secrets));
}

void templates_read_http(struct action *action, const struct place *place)
{
	struct http_target *http = &action->http;
	struct place url = place_member(place, "url"), body = place_member(place, "body");
	struct place headers = place_member(place, "headers");
	struct collection found = {0};

	check_text(&found, http->url, &url);
	check_text(&found, http->body, &body);
	check_pairs(&found, http->headers, http->header_count, &headers);
	for (char *const *name = http->signing_secrets; name != NULL && *name != NULL; name++)
		collect(*name, strlen(*name), &found);
	keep_names(&found, action, place);
}

static bool is_path(const struct name_value *pair)
{
	return strcmp(pair->name, "PATH") == 0;
}

void templates_read_exec(struct action *action, const struct place *place)
{
	struct exec_target *exec = &action->exec;
	struct place input = place_member(place, "stdin"), env = place_member(place, "env");
	struct collection found = {0};

	check_text(&found, exec->stdin_text, &input);
	check_pairs(&found, exec->env, exec->env_count, &env);
	for (size_t i = 0; i < exec->env_count; i++) {
		struct place at = place_member(&env, exec->env[i].name);

		if (is_path(&exec->env[i]) && template_is(exec->env[i].value))
			place_fault(&at, "must not be a template: it decides which program runs");
	}
	keep_names(&found, action, place);
}

static void note_secret(const char *name, size_t len, void *data)
{
	*(bool *)data = true;
}

bool http_body_has_secret(const struct http_target *target)
{
	bool has_secret = false;

	if (target->body != NULL)
		(void)template_check(target->body, note_secret, &has_secret, NULL);
	return has_secret;
}

/* --- rendering --- */

/* *text becomes its rendering, owned, if it is a template. */
static int render(enum template_form form, char **text, const char *member,
	const struct template_values *values, struct err *err)
{
	struct buf out;
	int code;

	if (*text == NULL || !template_is(*text))
		return 0;
	code = template_render(form, *text, values, &out, err);
	if (code == 0)
		*text = buf_take(&out);
	else
		(void)err_wrap(err, "%s", member);
	buf_fini(&out);
	return code;
}

/* The array becomes a copy; names stay the action's, as do values without a template. */
static int render_pairs(enum template_form form, const char *what, struct name_value **pairs,
	size_t count, const struct template_values *values, struct err *err)
{
	char member[ACTION_ENV_NAME_MAX + 16];
	int code = 0;

	if (count == 0)
		return 0;
	*pairs = (struct name_value *)(void *)xmemdup(*pairs, count * sizeof(**pairs));
	for (size_t i = 0; i < count && code == 0; i++) {
		(void)snprintf(member, sizeof(member), "%s %s", what, (*pairs)[i].name);
		code = render(form, &(*pairs)[i].value, member, values, err);
	}
	return code;
}

static int render_all(const struct action *action, const struct template_values *values,
	struct rendered_target *ret_target, struct err *err)
{
	struct rendered_target target = {action, action->http, action->exec};
	struct http_target *http = &target.http;
	struct exec_target *exec = &target.exec;
	enum template_form form = template_body_form(http_target_content_type(http));
	int code = render(TEMPLATE_URL, &http->url, "url", values, err);

	if (code == 0)
		code = render(form, &http->body, "body", values, err);
	if (code == 0)
		code = render(TEMPLATE_TEXT, &exec->stdin_text, "stdin", values, err);
	if (code == 0)
		code = render_pairs(
			TEMPLATE_HEADER, "header", &http->headers, http->header_count, values, err);
	if (code == 0)
		code = render_pairs(
			TEMPLATE_TEXT, "variable", &exec->env, exec->env_count, values, err);
	if (code == 0)
		*ret_target = target;
	else
		rendered_target_fini(&target);
	return code;
}

static bool has_template(const struct name_value *pairs, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (template_is(pairs[i].value))
			return true;
	return false;
}

static bool is_template(const char *text)
{
	return text != NULL && template_is(text);
}

/* Most targets have none, and are as they are. */
static bool target_has_template(const struct action *action)
{
	const struct http_target *http = &action->http;
	const struct exec_target *exec = &action->exec;

	return is_template(http->url) || is_template(http->body) || is_template(exec->stdin_text) ||
	       has_template(http->headers, http->header_count) ||
	       has_template(exec->env, exec->env_count);
}

int target_render(const struct action *action, const struct run *run,
	const struct name_value *secrets, size_t secret_count, struct rendered_target *ret_target,
	struct err *err)
{
	struct template_values values = {
		.run = run, .secrets = secrets, .secret_count = secret_count};
	json_t *payload = NULL;
	int code;

	if (!target_has_template(action)) {
		*ret_target = (struct rendered_target){NULL, action->http, action->exec};
		return 0;
	}
	if (run->payload != NULL)
		payload = json_loads(run->payload, JSON_DECODE_ANY, NULL);
	values.payload = payload;
	code = render_all(action, &values, ret_target, err);
	json_decref(payload);
	return code;
}

/* They may hold secrets. */
static void drop(char *text, const char *original)
{
	if (text == original)
		return;
	explicit_bzero(text, strlen(text));
	free(text);
}

static void drop_pairs(struct name_value *pairs, const struct name_value *original, size_t count)
{
	if (pairs == original)
		return;
	for (size_t i = 0; i < count; i++)
		drop(pairs[i].value, original[i].value);
	free(pairs);
}

void rendered_target_fini(struct rendered_target *target)
{
	const struct action *action = target->action;

	if (action == NULL)
		return;
	drop(target->http.url, action->http.url);
	drop(target->http.body, action->http.body);
	drop_pairs(target->http.headers, action->http.headers, action->http.header_count);
	drop(target->exec.stdin_text, action->exec.stdin_text);
	drop_pairs(target->exec.env, action->exec.env, action->exec.env_count);
	*target = (struct rendered_target){0};
}
