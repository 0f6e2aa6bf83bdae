/* SPDX-License-Identifier: Apache-2.0
 *
 * The request of an http attempt: its method, headers and limits, in libcurl's terms. */
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"
#include "exec/webhook_priv.h"

static void add_line(struct curl_slist **headers, const char *line)
{
	struct curl_slist *longer = curl_slist_append(*headers, line);

	must(longer != NULL);
	*headers = longer;
}

static void add_header(struct curl_slist **headers, const char *name, const char *value)
{
	/* libcurl's ways to say "with an empty value". */
	auto_free char *line =
		value[0] != '\0' ? xasprintf("%s: %s", name, value) : xasprintf("%s;", name);

	add_line(headers, line);
}

static void add_number_header(struct curl_slist **headers, const char *name, int64_t value)
{
	auto_free char *text = xasprintf("%lld", (long long)value);

	add_header(headers, name, text);
}

/* The names are fixed in API.md. */
static void add_attempt_headers(struct curl_slist **headers, const struct webhook *hook)
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

static struct curl_slist *make_headers(const struct webhook *hook)
{
	const struct http_target *target = &hook->attempt.target.http;
	struct curl_slist *headers = NULL;
	bool has_type = false;

	add_attempt_headers(&headers, hook);
	for (size_t i = 0; i < target->header_count; i++) {
		const char *name = target->headers[i].name;

		has_type = has_type || is_content_type(name);
		if (goes_along(hook, name))
			add_header(&headers, name, target->headers[i].value);
	}
	/* libcurl would announce long bodies with "Expect: 100-continue", which costs a second with
	 * targets that do not know it, and give a POST without a body the content type of a form.
	 */
	add_line(&headers, "Expect:");
	if (hook->is_get || (!has_type && target->body == NULL))
		add_line(&headers, "Content-Type:");
	else if (!has_type)
		add_header(&headers, "Content-Type", http_target_content_type(target));
	return headers;
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

static void set_limits(CURL *easy, const struct http_target *target)
{
	(void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)target->connect_timeout_ms);
	(void)curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)HOOK_BODY_MAX);
	(void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(easy, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	/* Or an attempt that ends during a name look-up would wait for the look-up. */
	(void)curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
}

void webhook_set_request(struct webhook *hook)
{
	const struct http_target *target = &hook->attempt.target.http;
	CURL *easy = hook->easy;

	(void)curl_easy_setopt(easy, CURLOPT_URL, hook->url != NULL ? hook->url : target->url);
	set_limits(easy, target);
	if (!hook->is_get)
		set_method(easy, target);
	curl_slist_free_all(hook->headers);
	hook->headers = make_headers(hook);
	(void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, hook->headers);
	(void)curl_easy_setopt(easy, CURLOPT_USERAGENT, hook->attempt.exec->opts.user_agent);
}
