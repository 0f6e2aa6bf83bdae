/* SPDX-License-Identifier: Apache-2.0
 *
 * One http attempt: a request with what an attempt is told in its headers, and what its answer
 * means.
 *
 * The target is not trusted: no other protocol than http and https however often it redirects, no
 * address that the filter refuses (webhook_addr.c, asked for each new connection), no more bytes
 * than the limits. Neither is the environment: no proxy variables, no .netrc, no cookies.
 *
 * Redirects are followed unless the action expects a status in the 300s. 301, 302 and 303 turn a
 * POST into a GET, 307 and 308 repeat it (RFC 9110 section 15.4); libcurl keeps Authorization and
 * Cookie headers from another host. When a kept connection breaks before the first byte of an
 * answer libcurl repeats the request on a new one: the receiver tells by Idempotency-Key. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/text.h"
#include "exec_priv.h"

#define HEADER_VALUE_SIZE 64 /* Date and Retry-After are shorter when they mean something */

enum hook_phase {
	HOOK_LOOKING_UP,
	HOOK_CONNECTING,
	HOOK_WAITING,
	HOOK_READING
};

struct webhook {
	struct attempt attempt;
	CURL *easy;
	struct curl_slist *headers;
	enum hook_phase phase;
	char peer[ADDRESS_TEXT_SIZE]; /* called last; "": none yet */
	const char *refusal;          /* why that address was not called, static; NULL: it was */
	const char *advice;           /* goes with it */
	size_t header_bytes;
	size_t body_bytes;
	const char *excess; /* which limit the answer broke, static; NULL: none */
	char date[HEADER_VALUE_SIZE], retry_after[HEADER_VALUE_SIZE]; /* of the last answer */
	char problem[CURL_ERROR_SIZE];
};

static struct webhook *webhook_of(const struct attempt *attempt)
{
	return container_of(attempt, struct webhook, attempt);
}

static struct attempt *webhook_create(void)
{
	struct webhook *hook = xcalloc(1, sizeof(*hook));

	return &hook->attempt;
}

static void webhook_destroy(struct attempt *attempt)
{
	struct webhook *hook = webhook_of(attempt);

	curl_easy_cleanup(hook->easy);
	curl_slist_free_all(hook->headers);
	free(hook);
}

/* --- the connection --- */

/* CURLOPT_OPENSOCKETFUNCTION: called for each address a name resolved to, on each redirect. */
static curl_socket_t on_open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct webhook *hook = data;

	hook->phase = HOOK_CONNECTING;
	hook->refusal = webhook_refusal(hook->attempt.exec, &address->addr, &hook->advice);
	(void)address_format(&address->addr, hook->peer);
	if (hook->refusal != NULL)
		return CURL_SOCKET_BAD;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* CURLOPT_PREREQFUNCTION: there is a connection, new or kept, and the request is about to go out.
 */
static int on_connected(void *data, char *ip, char *local_ip, int port, int local_port)
{
	struct webhook *hook = data;
	bool is_v6 = strchr(ip, ':') != NULL;

	hook->phase = HOOK_WAITING;
	(void)snprintf(hook->peer, sizeof(hook->peer), "%s%s%s:%d", is_v6 ? "[" : "", ip,
		is_v6 ? "]" : "", port);
	return CURL_PREREQFUNC_OK;
}

/* --- the answer --- */

/* Returns what libcurl wants to hear: `len` to go on, anything else to stop. */
static size_t stop_reading(struct webhook *hook, const char *excess)
{
	hook->excess = excess;
	return 0;
}

static size_t on_body(char *bytes, size_t unit, size_t len, void *data)
{
	struct webhook *hook = data;

	hook->body_bytes += len;
	if (hook->body_bytes > HOOK_BODY_MAX)
		return stop_reading(hook, "body is longer than 16 MiB");
	attempt_write(&hook->attempt, bytes, len);
	return len;
}
_Static_assert(HOOK_BODY_MAX == 16 << 20, "the text above names the limit");

/* If `line` is the header `name`, its value; values that do not fit mean nothing to us. */
static void keep_header(const char *line, size_t len, const char *name, char *value)
{
	size_t name_len = strlen(name);

	if (len <= name_len || strncasecmp(line, name, name_len) != 0 || line[name_len] != ':')
		return;
	line += name_len + 1;
	len -= name_len + 1;
	while (len > 0 && (*line == ' ' || *line == '\t')) {
		line++;
		len--;
	}
	while (len > 0 && strchr(" \t\r\n", line[len - 1]) != NULL)
		len--;
	if (len < HEADER_VALUE_SIZE)
		(void)snprintf(value, HEADER_VALUE_SIZE, "%.*s", (int)len, line);
}

/* One line; a status line begins the next answer (after 100 Continue, after a redirect). */
static size_t on_header(char *line, size_t unit, size_t len, void *data)
{
	struct webhook *hook = data;

	hook->phase = HOOK_READING;
	hook->header_bytes += len;
	if (hook->header_bytes > HOOK_HEADERS_MAX)
		return stop_reading(hook, "headers are longer than 256 KiB");
	if (len >= 5 && memcmp(line, "HTTP/", 5) == 0)
		hook->date[0] = hook->retry_after[0] = '\0';
	keep_header(line, len, "Date", hook->date);
	keep_header(line, len, "Retry-After", hook->retry_after);
	return len;
}
_Static_assert(HOOK_HEADERS_MAX == 256 << 10, "the text above names the limit");

/* RFC 9110 section 10.2.3. A moment is counted from the target's own clock: ours may differ. */
static int64_t retry_after_ms(const struct webhook *hook)
{
	int64_t seconds;

	if (!parse_i64(hook->retry_after, 0, INT64_MAX, &seconds)) {
		int64_t then = curl_getdate(hook->retry_after, NULL);
		int64_t now = curl_getdate(hook->date, NULL);

		if (then < 0 || now < 0)
			return -1;
		seconds = then > now ? then - now : 0;
	}
	return 1000 * (seconds < HOOK_RETRY_AFTER_MAX ? seconds : HOOK_RETRY_AFTER_MAX);
}

/* --- results --- */

/* A part of the URL that was called last; "?" when there is none. Returns `ret_text`. */
#define URL_TEXT_SIZE 300
static const char *url_text(
	const struct webhook *hook, CURLUPart part, char ret_text[static URL_TEXT_SIZE])
{
	CURLU *url = curl_url();
	const char *effective = NULL;
	char *found = NULL;

	(void)curl_easy_getinfo(hook->easy, CURLINFO_EFFECTIVE_URL, &effective);
	if (effective != NULL &&
		curl_url_set(url, CURLUPART_URL, effective, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK)
		(void)curl_url_get(url, part, &found, 0);
	(void)snprintf(ret_text, URL_TEXT_SIZE, "%s", found != NULL ? found : "?");
	curl_free(found);
	curl_url_cleanup(url);
	return ret_text;
}

static void set_connect_error(struct webhook *hook)
{
	long error = 0;

	if (hook->refusal != NULL) {
		attempt_set_error(&hook->attempt, "%s is %s and is not called%s", hook->peer,
			hook->refusal, hook->advice);
		return;
	}
	(void)curl_easy_getinfo(hook->easy, CURLINFO_OS_ERRNO, &error);
	attempt_set_error(&hook->attempt, "connect to %s failed: %s", hook->peer,
		error != 0 ? strerror((int)error) : hook->problem);
}

/* libcurl's own time limit is on connecting only; ours on everything. When they are the same it
 * must not depend on who is first. */
static void set_connect_timeout(struct webhook *hook)
{
	char host[URL_TEXT_SIZE];

	if (hook->attempt.action->timeout_ms <= HOOK_CONNECT_MS)
		hook->attempt.result.outcome = ATTEMPT_TIMED_OUT;
	if (hook->phase == HOOK_LOOKING_UP)
		attempt_set_error(&hook->attempt, "the host name %s was not resolved within %d s",
			url_text(hook, CURLUPART_HOST, host), HOOK_CONNECT_MS / 1000);
	else
		attempt_set_error(&hook->attempt, "connect to %s failed: no answer within %d s",
			hook->peer, HOOK_CONNECT_MS / 1000);
}

static void set_transfer_error(struct webhook *hook, CURLcode code)
{
	struct attempt *attempt = &hook->attempt;
	char text[URL_TEXT_SIZE];

	switch ((int)code) {
	case CURLE_COULDNT_CONNECT:
		set_connect_error(hook);
		return;
	case CURLE_OPERATION_TIMEDOUT:
		set_connect_timeout(hook);
		return;
	case CURLE_COULDNT_RESOLVE_HOST:
		attempt_set_error(attempt, "the host name %s cannot be resolved",
			url_text(hook, CURLUPART_HOST, text));
		return;
	case CURLE_UNSUPPORTED_PROTOCOL:
		attempt_set_error(attempt,
			"redirected to %s://, but only http and https are followed",
			url_text(hook, CURLUPART_SCHEME, text));
		return;
	case CURLE_TOO_MANY_REDIRECTS:
		attempt_set_error(attempt, "more than %d redirects; the last answer came from %s",
			HOOK_REDIRECTS_MAX, hook->peer);
		return;
	case CURLE_GOT_NOTHING:
		attempt_set_error(
			attempt, "%s closed the connection without an answer", hook->peer);
		return;
	case CURLE_FILESIZE_EXCEEDED:
		hook->excess = "body is longer than 16 MiB";
		break;
	}
	if (hook->excess != NULL)
		attempt_set_error(attempt, "reading the answer of %s was stopped: its %s",
			hook->peer, hook->excess);
	else
		attempt_set_error(attempt, "request to %s failed: %s", hook->peer,
			hook->problem[0] != '\0' ? hook->problem : curl_easy_strerror(code));
}

static void set_status(struct webhook *hook)
{
	long status = 0;

	(void)curl_easy_getinfo(hook->easy, CURLINFO_RESPONSE_CODE, &status);
	hook->attempt.result.http_status = (int)status;
	if (status != 0)
		hook->attempt.result.retry_after_ms = retry_after_ms(hook);
}

void webhook_on_done(void *easy, int curl_code)
{
	struct webhook *hook = NULL;
	const struct http_target *target;
	struct attempt_result *result;

	(void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&hook);
	hooks_remove(hook->attempt.exec->hooks, easy);
	target = &hook->attempt.action->http;
	result = &hook->attempt.result;
	set_status(hook);
	if (curl_code != CURLE_OK)
		set_transfer_error(hook, (CURLcode)curl_code);
	else if (result->http_status < target->expect_min ||
		 result->http_status > target->expect_max)
		attempt_set_error(&hook->attempt, "status %d is outside %d-%d", result->http_status,
			target->expect_min, target->expect_max);
	else
		result->outcome = ATTEMPT_SUCCEEDED;
	attempt_finish(&hook->attempt);
}

static void webhook_end(struct attempt *attempt)
{
	struct webhook *hook = webhook_of(attempt);
	char ending[ENDING_TEXT_SIZE], host[URL_TEXT_SIZE];

	hooks_remove(attempt->exec->hooks, hook->easy);
	set_status(hook);
	attempt->result.outcome = attempt->ending;
	(void)attempt_ending_text(attempt, ending);
	switch (hook->phase) {
	case HOOK_LOOKING_UP:
		attempt_set_error(attempt, "%s while resolving the host name %s", ending,
			url_text(hook, CURLUPART_HOST, host));
		break;
	case HOOK_CONNECTING:
		attempt_set_error(attempt, "%s while connecting to %s", ending, hook->peer);
		break;
	case HOOK_WAITING:
		attempt_set_error(
			attempt, "%s while waiting for the answer of %s", ending, hook->peer);
		break;
	case HOOK_READING:
		attempt_set_error(attempt,
			"%s while reading the answer of %s, after %zu bytes of its body", ending,
			hook->peer, hook->body_bytes);
		break;
	}
	attempt_finish(attempt);
}

/* A transfer ends in the moment we hear of it. */
static bool webhook_has_ended(const struct attempt *attempt)
{
	return false;
}

/* --- the beginning --- */

static void set_callbacks(struct webhook *hook)
{
	CURL *easy = hook->easy;

	(void)curl_easy_setopt(easy, CURLOPT_PRIVATE, hook);
	(void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, hook->problem);
	(void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	(void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, hook);
	(void)curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_connected);
	(void)curl_easy_setopt(easy, CURLOPT_PREREQDATA, hook);
	(void)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(easy, CURLOPT_HEADERDATA, hook);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, hook);
}

static void webhook_start(struct attempt *attempt)
{
	struct webhook *hook = webhook_of(attempt);
	int code;

	hook->easy = curl_easy_init();
	must(hook->easy != NULL);
	hook->headers = webhook_headers(attempt->run);
	set_callbacks(hook);
	webhook_set_request(hook->easy, &attempt->action->http);
	(void)curl_easy_setopt(hook->easy, CURLOPT_HTTPHEADER, hook->headers);
	(void)curl_easy_setopt(hook->easy, CURLOPT_USERAGENT, attempt->exec->opts.user_agent);
	code = hooks_add(attempt->exec->hooks, hook->easy);
	if (code == CURLM_OK)
		return;
	attempt_set_error(
		attempt, "cannot start the request: %s", curl_multi_strerror((CURLMcode)code));
	attempt_finish(attempt);
}

const struct exec_kind webhook_kind = {
	.create = webhook_create,
	.destroy = webhook_destroy,
	.start = webhook_start,
	.has_ended = webhook_has_ended,
	.end = webhook_end,
	.kill = webhook_end,
	.check = webhook_check,
};
