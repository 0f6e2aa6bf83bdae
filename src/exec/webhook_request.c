/* SPDX-License-Identifier: Apache-2.0
 *
 * The request of an http attempt: its method, headers and limits, in libcurl's terms. */
#include <curl/curl.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"
#include "exec_priv.h"

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
static void add_attempt_headers(struct curl_slist **headers, const struct run *run)
{
	char id[ID_TEXT_SIZE], due[RFC3339_TEXT_SIZE], key[RUN_KEY_SIZE];

	add_header(headers, "Idempotency-Key", run_idempotency_key(run, key));
	add_header(headers, "X-Gathering-Run-Id", id_format(&run->id, id));
	add_header(headers, "X-Gathering-Due-At", format_rfc3339(run->due_at_ms, due));
	add_number_header(headers, "X-Gathering-Attempt", run->attempt);
	add_number_header(headers, "X-Gathering-Epoch", run->epoch);
}

static bool names_header(const struct http_target *target, const char *name)
{
	for (size_t i = 0; i < target->header_count; i++) {
		if (strcasecmp(target->headers[i].name, name) == 0)
			return true;
	}
	return false;
}

static const char *guess_content_type(const char *body)
{
	const char *first = body + strspn(body, " \t\r\n");

	return *first == '{' || *first == '[' ? "application/json" : "text/plain; charset=utf-8";
}

struct curl_slist *webhook_headers(const struct run *run)
{
	const struct http_target *target = &run->action->http;
	struct curl_slist *headers = NULL;

	add_attempt_headers(&headers, run);
	for (size_t i = 0; i < target->header_count; i++)
		add_header(&headers, target->headers[i].name, target->headers[i].value);
	/* libcurl would announce long bodies with "Expect: 100-continue", which costs a second with
	 * targets that do not know it, and give a POST without a body the content type of a form.
	 */
	add_line(&headers, "Expect:");
	if (names_header(target, "Content-Type"))
		return headers;
	if (target->body != NULL)
		add_header(&headers, "Content-Type", guess_content_type(target->body));
	else
		add_line(&headers, "Content-Type:");
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
	bool expects_redirect = target->expect_min < 400 && target->expect_max >= 300;

	(void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, expects_redirect ? 0L : 1L);
	(void)curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)HOOK_REDIRECTS_MAX);
	(void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)HOOK_CONNECT_MS);
	(void)curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)HOOK_BODY_MAX);
	(void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(easy, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	/* Or an attempt that ends during a name look-up would wait for the look-up. */
	(void)curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
}

void webhook_set_request(void *easy, const struct http_target *target)
{
	(void)curl_easy_setopt(easy, CURLOPT_URL, target->url);
	set_limits(easy, target);
	set_method(easy, target);
}
