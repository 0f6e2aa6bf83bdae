/* SPDX-License-Identifier: Apache-2.0
 *
 * The request of an http attempt: its method, headers and limits, in libcurl's terms. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"
#include "exec/webhook_priv.h"

/* --- lines --- */

#define LINES_BYTES_MAX (ACTION_HEADERS_MAX * (ACTION_HEADER_NAME_MAX + TEMPLATE_LINE_MAX) + 8192)

static void lines_init(struct header_lines *lines)
{
	*lines = (struct header_lines){0};
	buf_init(&lines->text, LINES_BYTES_MAX);
}

void header_lines_fini(struct header_lines *lines)
{
	if (lines->text.data != NULL)
		explicit_bzero(lines->text.data, lines->text.len);
	buf_fini(&lines->text);
	free(take_ptr(lines->nodes));
}

static void end_line(struct header_lines *lines)
{
	must(lines->count < HOOK_LINES_MAX && !lines->text.is_cut);
	buf_putc(&lines->text, '\0');
	lines->count++;
}

static void add_line(struct header_lines *lines, const char *line)
{
	buf_puts(&lines->text, line);
	end_line(lines);
}

static void add_header(struct header_lines *lines, const char *name, const char *value)
{
	buf_puts(&lines->text, name);
	/* libcurl's ways to say "with an empty value". */
	buf_puts(&lines->text, value[0] != '\0' ? ": " : ";");
	add_line(lines, value);
}

static void add_number_header(struct header_lines *lines, const char *name, int64_t value)
{
	buf_printf(&lines->text, "%s: %lld", name, (long long)value);
	end_line(lines);
}

/* The text stays where it is from now on. */
static struct curl_slist *link_lines(struct header_lines *lines)
{
	char *at = lines->text.data;

	lines->nodes = xcalloc(lines->count, sizeof(*lines->nodes));
	for (size_t i = 0; i < lines->count; i++) {
		lines->nodes[i].data = at;
		lines->nodes[i].next = i + 1 < lines->count ? &lines->nodes[i + 1] : NULL;
		at += strlen(at) + 1;
	}
	return lines->nodes;
}

/* --- what is said --- */

/* The names are fixed in API.md. */
static void add_attempt_headers(struct header_lines *headers, const struct webhook *hook)
{
	const struct run *run = hook->attempt.run;
	char id[ID_TEXT_SIZE], due[RFC3339_TEXT_SIZE], key[RUN_KEY_SIZE], trace[TRACEPARENT_SIZE];

	(void)id_format(&run->id, id);
	add_header(headers, "Idempotency-Key", run_idempotency_key(run, key));
	add_header(headers, "X-Gathering-Run-Id", id);
	add_header(headers, "X-Gathering-Due-At", format_rfc3339(run->due_at_ms, due));
	add_number_header(headers, "X-Gathering-Attempt", run->attempt);
	add_number_header(headers, "X-Gathering-Epoch", run->epoch);
	add_header(headers, "traceparent", webhook_traceparent(run, trace));
	add_header(headers, "webhook-id", id);
	add_number_header(headers, "webhook-timestamp", hook->timestamp_s);
	if (hook->signature != NULL && !hook->is_elsewhere)
		add_header(headers, "webhook-signature", hook->signature);
}

static bool is_content_type(const char *name)
{
	return strcasecmp(name, "Content-Type") == 0;
}

/* Does a header of the action go along? Not one about a body that was dropped, and elsewhere next
 * to none. */
static bool goes_along(const struct webhook *hook, const char *name)
{
	if (is_content_type(name))
		return !hook->is_get;
	return !hook->is_elsewhere || strcasecmp(name, "Accept") == 0;
}

static struct curl_slist *make_headers(const struct webhook *hook, struct header_lines *headers)
{
	const struct http_target *target = &hook->attempt.target.http;
	bool has_type = false;

	header_lines_fini(headers);
	lines_init(headers);
	add_attempt_headers(headers, hook);
	for (size_t i = 0; i < target->header_count; i++) {
		const char *name = target->headers[i].name;

		has_type = has_type || is_content_type(name);
		if (goes_along(hook, name))
			add_header(headers, name, target->headers[i].value);
	}
	/* libcurl would announce long bodies with "Expect: 100-continue", which costs a second with
	 * targets that do not know it, and give a POST without a body the content type of a form.
	 */
	add_line(headers, "Expect:");
	if (hook->is_get || (!has_type && target->body == NULL))
		add_line(headers, "Content-Type:");
	else if (!has_type)
		add_header(headers, "Content-Type", http_target_content_type(target));
	return link_lines(headers);
}

static void set_method(CURL *easy, const struct http_target *target)
{
	const char *body = target->body != NULL ? target->body : "";
	bool is_post = strcmp(target->method, "POST") == 0;

	if (is_post || target->body != NULL) {
		(void)curl_easy_setopt(easy, CURLOPT_POST, 1L);
		(void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body); /* borrowed */
		(void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
	}
	if (strcmp(target->method, "HEAD") == 0)
		(void)curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	else if (!is_post && !(target->body == NULL && strcmp(target->method, "GET") == 0))
		(void)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, target->method);
}

/* CAPATH is the system's, which would be trusted besides. */
static void set_authorities(CURL *easy, const char *ca_file)
{
	if (ca_file == NULL || ca_file[0] == '\0')
		return;
	(void)curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
	(void)curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
}

static void set_limits(CURL *easy, const struct http_target *target)
{
	(void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)target->connect_timeout_ms);
	(void)curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)HOOK_BODY_MAX);
	(void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(easy, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	/* Most of what a waiting webhook costs. */
	(void)curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)HOOK_BUFFER_SIZE);
	(void)curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)HOOK_UPLOAD_SIZE);
	/* Or an attempt that ends during a name look-up would wait for the look-up. */
	(void)curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
}

void webhook_set_request(struct webhook *hook)
{
	const struct http_target *target = &hook->attempt.target.http;
	CURL *easy = hook->easy;

	(void)curl_easy_setopt(easy, CURLOPT_URL, hook->url != NULL ? hook->url : target->url);
	set_limits(easy, target);
	set_authorities(easy, hook->attempt.exec->opts.ca_file);
	if (!hook->is_get)
		set_method(easy, target);
	(void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, make_headers(hook, &hook->headers));
	(void)curl_easy_setopt(easy, CURLOPT_USERAGENT, hook->attempt.exec->opts.user_agent);
}
