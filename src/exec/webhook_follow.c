/* SPDX-License-Identifier: Apache-2.0
 *
 * Redirects. libcurl could follow them, but it would take the action's own headers along to
 * wherever they lead; an API key in a header of any name must stay where it was meant to go.
 *
 * Followed are 301, 302, 303, 307 and 308 with a Location, unless the action expects the status or
 * max_redirects is 0. 303 makes a GET of everything but HEAD, 301 and 302 of a POST; the others
 * repeat the request (RFC 9110 section 15.4). Never to another scheme than http and https, never
 * from https to http. To another origin (scheme, host, port) go no headers of the action but
 * Accept and Content-Type, no signature, and no body in which a secret stands; what has gone
 * elsewhere stays so, even when it leads back. Each new connection goes through the address filter.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "exec/webhook_priv.h"

static bool is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool webhook_will_follow(const struct webhook *hook, int status)
{
	const struct http_target *target = &hook->attempt.target.http;

	return is_redirect(status) && hook->has_location && target->max_redirects > 0 &&
	       !http_target_expects(target, status);
}

/* --- where it leads --- */

struct origin {
	char *scheme, *host, *port; /* libcurl's */
};

static bool origin_read(const char *text, struct origin *origin)
{
	CURLU *url = curl_url();
	bool is_read =
		curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
		curl_url_get(url, CURLUPART_SCHEME, &origin->scheme, 0) == CURLUE_OK;

	/* a file: has neither */
	(void)curl_url_get(url, CURLUPART_HOST, &origin->host, 0);
	(void)curl_url_get(url, CURLUPART_PORT, &origin->port, CURLU_DEFAULT_PORT);
	curl_url_cleanup(url);
	return is_read;
}

static void origin_fini(struct origin *origin)
{
	curl_free(origin->scheme);
	curl_free(origin->host);
	curl_free(origin->port);
}

static bool is_same(const char *a, const char *b)
{
	return a != NULL && b != NULL && curl_strequal(a, b) != 0;
}

static bool is_same_origin(const struct origin *a, const struct origin *b)
{
	return is_same(a->scheme, b->scheme) && is_same(a->host, b->host) &&
	       is_same(a->port, b->port);
}

/* --- what goes along --- */

static bool becomes_get(const struct webhook *hook, int status)
{
	const char *method = hook->attempt.target.http.method;

	if (hook->is_get)
		return true;
	if (status == 303)
		return strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0;
	return (status == 301 || status == 302) && strcmp(method, "POST") == 0;
}

static bool may_go(struct webhook *hook, const struct origin *from, const struct origin *to)
{
	if (!is_same(to->scheme, "http") && !is_same(to->scheme, "https")) {
		attempt_set_error(&hook->attempt,
			"redirected to %s://, but only http and https are followed", to->scheme);
		return false;
	}
	if (is_same(from->scheme, "https") && is_same(to->scheme, "http")) {
		attempt_set_error(&hook->attempt,
			"redirected from https to http://%s, which is not followed", to->host);
		return false;
	}
	if (hook->is_elsewhere && !hook->is_get &&
		http_body_has_secret(&hook->attempt.action->http)) {
		attempt_set_error(&hook->attempt,
			"redirected to %s://%s:%s, which is not sent the secret in the body; if it "
			"is meant to get it, call it by its own URL",
			to->scheme, to->host, to->port);
		return false;
	}
	return true;
}

static bool go(struct webhook *hook, int status, const char *from_url, const char *to_url)
{
	struct origin from = {0}, to = {0};
	bool goes = false;

	if (!origin_read(to_url, &to)) {
		attempt_set_error(
			&hook->attempt, "redirected by %s to what is not a URL", hook->peer);
	} else if (origin_read(from_url, &from)) {
		hook->is_get = becomes_get(hook, status);
		hook->is_elsewhere = hook->is_elsewhere || !is_same_origin(&from, &to);
		goes = may_go(hook, &from, &to);
	}
	origin_fini(&from);
	origin_fini(&to);
	return goes;
}

bool webhook_follow(struct webhook *hook, int status)
{
	const struct http_target *target = &hook->attempt.target.http;
	const char *from = hook->url != NULL ? hook->url : target->url;
	const char *to = NULL;
	char *url;

	if (hook->redirects >= target->max_redirects) {
		attempt_set_error(&hook->attempt,
			"more than %d redirects; the last answer came from %s",
			target->max_redirects, hook->peer);
		return false;
	}
	(void)curl_easy_getinfo(hook->easy, CURLINFO_REDIRECT_URL, &to);
	if (to == NULL) {
		attempt_set_error(
			&hook->attempt, "redirected by %s to what is not a URL", hook->peer);
		return false;
	}
	if (!go(hook, status, from, to))
		return false;
	url = xstrdup(to);
	free(hook->url);
	hook->url = url;
	hook->redirects++;
	return true;
}
