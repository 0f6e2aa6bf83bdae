/* SPDX-License-Identifier: Apache-2.0
 *
 * One http attempt: a request with what an attempt is told in its headers, and what its answer
 * means.
 *
 * The target is not trusted: no other protocol than http and https however often it redirects, no
 * address that the filter refuses (webhook_addr.c, asked for each new connection), no more bytes
 * than the limits. Neither is the environment: no proxy variables, no .netrc, no cookies.
 *
 * Redirects are ours to follow (webhook_follow.c), as are the places at a host (webhook_hosts.c).
 * When a kept connection breaks before the first byte of an answer libcurl repeats the request on a
 * new one: the receiver tells by Idempotency-Key. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "exec/webhook_priv.h"

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

	hosts_leave(attempt->exec->hosts, hook);
	hooks_give_easy(attempt->exec->hooks, hook->easy);
	header_lines_fini(&hook->headers);
	buf_fini(&hook->note);
	free(hook->signature);
	free(hook->url);
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
static void on_first_byte_late(uv_timer_t *timer)
{
	struct webhook *hook = container_of(timer, struct webhook, first_byte);

	hook->is_too_slow = true;
	attempt_end(&hook->attempt, ATTEMPT_TIMED_OUT);
}

static int on_connected(void *data, char *ip, char *local_ip, int port, int local_port)
{
	struct webhook *hook = data;
	bool is_v6 = strchr(ip, ':') != NULL;

	hook->phase = HOOK_WAITING;
	if (hook->has_first_byte_timer)
		(void)uv_timer_start(&hook->first_byte, on_first_byte_late,
			(uint64_t)hook->attempt.target.http.first_byte_timeout_ms, 0);
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
	if (webhook_will_follow(hook, webhook_status(hook)))
		return len; /* no answer to keep */
	attempt_write(&hook->attempt, bytes, len);
	if (hook->is_note)
		buf_append(&hook->note, bytes, len);
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
	char type[HEADER_VALUE_SIZE] = "";

	hook->phase = HOOK_READING;
	if (hook->has_first_byte_timer)
		(void)uv_timer_stop(&hook->first_byte);
	hook->header_bytes += len;
	if (hook->header_bytes > HOOK_HEADERS_MAX)
		return stop_reading(hook, "headers are longer than 256 KiB");
	if (len >= 5 && memcmp(line, "HTTP/", 5) == 0) {
		hook->date[0] = hook->retry_after[0] = '\0';
		hook->has_location = hook->is_note = false;
	}
	if (len > 9 && strncasecmp(line, "Location:", 9) == 0)
		hook->has_location = true;
	keep_header(line, len, "Content-Type", type);
	if (strncasecmp(type, ANSWER_NOTE_TYPE, strlen(ANSWER_NOTE_TYPE)) == 0)
		hook->is_note = true;
	keep_header(line, len, "Date", hook->date);
	keep_header(line, len, "Retry-After", hook->retry_after);
	return len;
}
_Static_assert(HOOK_HEADERS_MAX == 256 << 10, "the text above names the limit");

/* --- the end --- */

static void finish(struct webhook *hook)
{
	if (hook->has_first_byte_timer)
		attempt_close_handle(&hook->attempt, (uv_handle_t *)&hook->first_byte);
	attempt_finish(&hook->attempt);
}

static void send_request(struct webhook *hook);

void webhook_on_done(void *easy, int curl_code)
{
	struct webhook *hook = NULL;
	struct attempt_result *result;

	(void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&hook);
	hooks_remove(hook->attempt.exec->hooks, easy);
	result = &hook->attempt.result;
	webhook_keep_status(hook);
	if (curl_code != CURLE_OK) {
		webhook_set_transfer_error(hook, (CURLcode)curl_code);
	} else if (webhook_will_follow(hook, result->http_status)) {
		if (webhook_follow(hook, result->http_status)) {
			send_request(hook);
			return;
		}
	} else {
		webhook_judge_answer(hook);
	}
	finish(hook);
}

static void webhook_end(struct attempt *attempt)
{
	struct webhook *hook = webhook_of(attempt);
	char ending[ENDING_TEXT_SIZE], limit[DURATION_TEXT_SIZE];

	attempt->result.outcome = attempt->ending;
	if (hook->phase == HOOK_QUEUED) {
		hosts_leave(attempt->exec->hosts, hook);
		attempt->exec->waiting--;
		attempt_forget_start(attempt);
	} else {
		hooks_remove(attempt->exec->hooks, hook->easy);
		webhook_keep_status(hook);
	}
	if (hook->is_too_slow)
		attempt_set_error(attempt, "%s sent no first byte within %s", hook->peer,
			format_duration(attempt->target.http.first_byte_timeout_ms, limit));
	else
		webhook_set_ending_error(hook, attempt_ending_text(attempt, ending));
	finish(hook);
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

static void send_request(struct webhook *hook)
{
	struct attempt *attempt = &hook->attempt;
	int code;

	hook->phase = HOOK_LOOKING_UP;
	hook->body_bytes = 0;
	buf_fini(&hook->note);
	buf_init(&hook->note, ANSWER_NOTE_MAX);
	if (hook->redirects > 0)
		curl_easy_reset(hook->easy);
	set_callbacks(hook);
	webhook_set_request(hook);
	code = hooks_add(attempt->exec->hooks, hook->easy);
	if (code == CURLM_OK)
		return;
	attempt_set_error(
		attempt, "cannot start the request: %s", curl_multi_strerror((CURLMcode)code));
	finish(hook);
}

/* The second it is sent in, by the clock that stamped the attempt. */
static bool sign_request(struct webhook *hook)
{
	struct attempt *attempt = &hook->attempt;
	int64_t waited_ms = clock_mono_ms() - hook->started_mono_ms;
	struct err err = {0};

	hook->timestamp_s = (attempt->result.started_at_ms + waited_ms) / 1000;
	if (attempt->target.http.signing_secrets == NULL ||
		webhook_sign(attempt, hook->timestamp_s, &hook->signature, &err) == 0)
		return true;
	attempt_set_error(attempt, "%s", err.text);
	finish(hook);
	return false;
}

static void begin_request(struct webhook *hook)
{
	struct attempt *attempt = &hook->attempt;

	hook->phase = HOOK_LOOKING_UP;
	hook->easy = hooks_take_easy(attempt->exec->hooks);
	if (attempt->target.http.first_byte_timeout_ms > 0) {
		must(uv_timer_init(attempt->exec->opts.loop, &hook->first_byte) == 0);
		attempt_own_handle(attempt, (uv_handle_t *)&hook->first_byte);
		hook->has_first_byte_timer = true;
	}
	if (sign_request(hook))
		send_request(hook);
}

static void webhook_start(struct attempt *attempt)
{
	struct webhook *hook = webhook_of(attempt);

	hook->started_mono_ms = clock_mono_ms();
	hook->phase = HOOK_QUEUED;
	if (hosts_enter(attempt->exec->hosts, hook, attempt->target.http.url))
		begin_request(hook);
	else
		attempt->exec->waiting++;
}

void webhook_start_waiting(struct exec *exec)
{
	struct webhook *hook;

	if (exec_lease_is_over(exec)) /* they will be ended */
		return;
	while (exec->waiting > 0 && exec->slots_taken - exec->waiting < exec->opts.max_running &&
		exec->running_kind[ACTION_HTTP] - exec->waiting <
			exec->opts.max_running_kind[ACTION_HTTP] &&
		(hook = hosts_next(exec->hosts)) != NULL) {
		exec->waiting--;
		attempt_arm_deadline(&hook->attempt);
		begin_request(hook);
	}
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
