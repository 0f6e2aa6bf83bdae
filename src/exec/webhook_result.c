/* SPDX-License-Identifier: Apache-2.0
 *
 * What became of an http attempt: what its answer means, or in words for a person what kept it from
 * getting one. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "exec/webhook_priv.h"

int webhook_status(const struct webhook *hook)
{
	long status = 0;

	(void)curl_easy_getinfo(hook->easy, CURLINFO_RESPONSE_CODE, &status);
	return (int)status;
}

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

const char *webhook_url_text(
	const struct webhook *hook, CURLUPart part, char ret_text[static URL_TEXT_SIZE])
{
	CURLU *url = curl_url();
	const char *effective;
	char *found = NULL;

	effective = hook->url != NULL ? hook->url : hook->attempt.target.http.url;
	if (curl_url_set(url, CURLUPART_URL, effective, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK)
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
		hook->attempt.result.is_unanswered = false; /* it was not asked */
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
	int64_t limit_ms = hook->attempt.target.http.connect_timeout_ms;
	char host[URL_TEXT_SIZE], limit[DURATION_TEXT_SIZE];

	if (hook->attempt.action->timeout_ms <= limit_ms)
		hook->attempt.result.outcome = ATTEMPT_TIMED_OUT;
	(void)format_duration(limit_ms, limit);
	if (hook->phase == HOOK_LOOKING_UP)
		attempt_set_error(&hook->attempt, "the host name %s was not resolved within %s",
			webhook_url_text(hook, CURLUPART_HOST, host), limit);
	else
		attempt_set_error(&hook->attempt, "connect to %s failed: no answer within %s",
			hook->peer, limit);
}

void webhook_set_transfer_error(struct webhook *hook, CURLcode code)
{
	struct attempt *attempt = &hook->attempt;
	char text[URL_TEXT_SIZE];

	attempt->result.is_unanswered = hook->excess == NULL && code != CURLE_FILESIZE_EXCEEDED;
	switch ((int)code) {
	case CURLE_COULDNT_CONNECT:
		set_connect_error(hook);
		return;
	case CURLE_OPERATION_TIMEDOUT:
		set_connect_timeout(hook);
		return;
	case CURLE_COULDNT_RESOLVE_HOST:
		attempt_set_error(attempt, "the host name %s cannot be resolved",
			webhook_url_text(hook, CURLUPART_HOST, text));
		return;
	case CURLE_GOT_NOTHING:
		attempt_set_error(
			attempt, "%s closed the connection without an answer", hook->peer);
		return;
	case CURLE_UNSUPPORTED_PROTOCOL: /* so libcurl calls HTTP/0.9: bytes without a head */
	case CURLE_WEIRD_SERVER_REPLY:
		if (webhook_status(hook) != 0)
			break; /* it is HTTP, with a header that is not */
		attempt_set_error(attempt,
			"%s answers with something that is not HTTP; is the port right?",
			hook->peer);
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

void webhook_keep_status(struct webhook *hook)
{
	int status = webhook_status(hook);

	if (status == 0)
		return; /* what the last redirect said stands */
	hook->attempt.result.http_status = status;
	hook->attempt.result.retry_after_ms = retry_after_ms(hook);
}

/* "200-299 or 409". */
static void set_status_error(struct webhook *hook)
{
	static const struct number_range fallback = {200, 299};
	const struct http_target *target = &hook->attempt.target.http;
	size_t count = target->expect_count > 0 ? target->expect_count : 1;
	struct buf list;

	buf_init(&list, 300);
	for (size_t i = 0; i < count; i++) {
		const struct number_range *range =
			target->expect_count > 0 ? &target->expect[i] : &fallback;

		buf_printf(&list, "%s%d", i == 0 ? "" : ", ", range->min);
		if (range->max != range->min)
			buf_printf(&list, "-%d", range->max);
	}
	attempt_set_error(&hook->attempt, "status %d is outside %s",
		hook->attempt.result.http_status, buf_text(&list));
	buf_fini(&list);
}

/* Whatever the status: a 503 may well say how far it came. What cannot be read is told in the
 * output, for the attempt itself may have gone well. False: the target has not done all of it. */
static bool take_note(struct webhook *hook)
{
	bool is_done = true;
	struct err err = {0};

	if (!hook->is_note)
		return true;
	if (hook->note.is_cut)
		(void)err_set(&err, ERR_TOO_LARGE, "it is longer than %d bytes", ANSWER_NOTE_MAX);
	else
		attempt_take_answer(
			&hook->attempt, buf_text(&hook->note), hook->note.len, &is_done, &err);
	attempt_refuse_note(&hook->attempt, "this " ANSWER_NOTE_TYPE, &err);
	return is_done;
}

void webhook_judge_answer(struct webhook *hook)
{
	struct attempt_result *result = &hook->attempt.result;
	bool is_done = take_note(hook);

	if (!http_target_expects(&hook->attempt.target.http, result->http_status))
		set_status_error(hook);
	else if (!is_done)
		attempt_set_error(&hook->attempt, ANSWER_UNDONE);
	else
		result->outcome = ATTEMPT_SUCCEEDED;
}

void webhook_set_ending_error(struct webhook *hook, const char *ending)
{
	struct attempt *attempt = &hook->attempt;
	char host[URL_TEXT_SIZE];

	switch (hook->phase) {
	case HOOK_QUEUED:
		attempt_set_error(attempt,
			"%s while waiting for one of the %d places at %s (max_per_host)", ending,
			hosts_limit(attempt->exec->hosts),
			webhook_url_text(hook, CURLUPART_HOST, host));
		break;
	case HOOK_LOOKING_UP:
		attempt_set_error(attempt, "%s while resolving the host name %s", ending,
			webhook_url_text(hook, CURLUPART_HOST, host));
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
}
