/* SPDX-License-Identifier: Apache-2.0
 *
 * See client.h. One easy handle is kept for the life of the program, so that a series of calls uses
 * one connection. */
#include "cli/client.h"

#include <curl/curl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"

struct client {
	CURL *curl;
	char *server;      /* owned; as given */
	char *base;        /* owned; "http://host:port", no slash at the end */
	char *socket_path; /* owned; NULL: TCP */
	struct buf body;
	int64_t retry_after_s;
	client_bytes_fn *on_bytes; /* of the stream that is read; NULL: none is */
	void *data;
};

/* --- the address --- */

static bool is_loopback(const char *base)
{
	static const char *const hosts[] = {"127.", "localhost", "[::1]"};
	const char *host = strstr(base, "://");

	for (size_t i = 0; host && i < COUNT_OF(hosts); i++)
		if (strncmp(host + 3, hosts[i], strlen(hosts[i])) == 0)
			return true;
	return false;
}

static int fail_address(const char *server, struct err *err)
{
	return err_set(err, ERR_INVALID,
		"server address '%.80s': written http://host:port or unix:PATH (--server)", server);
}

/* Has it a host, and a port that exists? */
static bool is_url(const char *base)
{
	CURLU *url = curl_url();
	bool is_good = url && curl_url_set(url, CURLUPART_URL, base, 0) == CURLUE_OK;

	curl_url_cleanup(url);
	return is_good;
}

static int read_address(struct client *client, const char *server, struct err *err)
{
	size_t len = strlen(server);

	while (len > 0 && server[len - 1] == '/')
		len--;
	if (strcmp(server, "unix:") == 0)
		return fail_address(server, err);
	if (strncmp(server, "unix:", 5) == 0) {
		client->socket_path = xstrdup(server + 5);
		client->base = xstrdup("http://localhost");
		return 0;
	}
	if (len == 0 || strpbrk(server, " \t\r\n?#"))
		return fail_address(server, err);
	if (strncmp(server, "http://", 7) == 0 || strncmp(server, "https://", 8) == 0)
		client->base = xstrndup(server, len);
	else if (strstr(server, "://"))
		return err_set(err, ERR_INVALID,
			"server address '%.80s': only http://, https:// and unix: are spoken "
			"(--server)",
			server);
	else
		client->base = xasprintf("http://%.*s", (int)len, server);
	return is_url(client->base) ? 0 : fail_address(server, err);
}

/* --- libcurl --- */

static size_t on_body(char *bytes, size_t size, size_t count, void *data)
{
	struct client *client = data;
	long status = 0;

	if (client->on_bytes)
		(void)curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status >= 200 && status < 300) {
		client->on_bytes(bytes, size * count, client->data);
		return size * count;
	}
	buf_append(&client->body, bytes, size * count);
	return client->body.is_cut ? 0 : size * count;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *data)
{
	static const char name[] = "retry-after:";
	struct client *client = data;
	size_t len = size * count;
	char value[24];

	if (len > sizeof(name) - 1 && strncasecmp(bytes, name, sizeof(name) - 1) == 0) {
		int skip = (int)sizeof(name) - 1;

		while ((size_t)skip < len && bytes[skip] == ' ')
			skip++;
		(void)snprintf(value, sizeof(value), "%.*s",
			(int)strcspn(bytes + skip, "\r\n") > 20
				? 20
				: (int)strcspn(bytes + skip, "\r\n"),
			bytes + skip);
		(void)parse_i64(value, 0, INT32_MAX, &client->retry_after_s);
	}
	return len;
}

static void set_options(struct client *client)
{
	CURL *curl = client->curl;

	(void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CLIENT_CONNECT_MS);
	(void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)CLIENT_TOTAL_MS);
	(void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "gathering-cli/" GATHERING_VERSION);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, client);
	(void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, client);
	if (client->socket_path)
		(void)curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->socket_path);
	if (client->socket_path || is_loopback(client->base))
		(void)curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
}

int client_create(const char *server, struct client **ret_client, struct err *err)
{
	struct client *client = xcalloc(1, sizeof(*client));
	int code;

	client->server = xstrdup(server);
	buf_init(&client->body, CLIENT_BODY_MAX);
	code = read_address(client, server, err);
	if (code) {
		client_destroy(client);
		return code;
	}
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
	client->curl = curl_easy_init();
	must(client->curl);
	set_options(client);
	*ret_client = client;
	return 0;
}

void client_destroy(struct client *client)
{
	if (!client)
		return;
	if (client->curl) {
		curl_easy_cleanup(client->curl);
		curl_global_cleanup();
	}
	buf_fini(&client->body);
	free(client->server);
	free(client->base);
	free(client->socket_path);
	free(client);
}

const char *client_server(const struct client *client)
{
	return client->socket_path ? client->server : client->base;
}

/* --- one call --- */

static int fail_transfer(const struct client *client, CURLcode result, struct err *err)
{
	long os_error = 0;
	const char *why = curl_easy_strerror(result);

	(void)curl_easy_getinfo(client->curl, CURLINFO_OS_ERRNO, &os_error);
	switch (result) {
	case CURLE_COULDNT_CONNECT:
		why = os_error ? strerror((int)os_error) : why;
		[[fallthrough]];
	case CURLE_COULDNT_RESOLVE_HOST:
		return err_set(err, ERR_UNAVAILABLE,
			"cannot reach %s: %s; is `gathering serve` running there? (--server)",
			client_server(client), why);
	case CURLE_OPERATION_TIMEDOUT:
		return err_set(err, ERR_TIMEOUT, "%s gave no answer in time (%s)",
			client_server(client), why);
	case CURLE_WRITE_ERROR:
		return err_set(err, ERR_TOO_LARGE, "the answer of %s is larger than %u MiB",
			client_server(client), CLIENT_BODY_MAX >> 20);
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_URL_MALFORMAT:
		return err_set(err, ERR_INVALID, "server address '%.80s': %s (--server)",
			client_server(client), why);
	default:
		return err_set(err, ERR_IO, "talking to %s: %s", client_server(client), why);
	}
}

static struct curl_slist *make_headers(const struct call *call)
{
	struct curl_slist *headers = NULL;
	auto_free char *accept =
		xasprintf("Accept: %s", call->accept ? call->accept : "application/json");

	headers = curl_slist_append(headers, accept);
	headers = curl_slist_append(
		headers, "Expect:"); /* no 100-continue round trip for bulk bodies */
	/* without a body, none: libcurl would call it a form */
	headers = curl_slist_append(
		headers, call->body ? "Content-Type: application/json" : "Content-Type:");
	if (call->last_id) {
		auto_free char *line = xasprintf("Last-Event-ID: %s", call->last_id);

		headers = curl_slist_append(headers, line);
	}
	if (call->if_match) {
		auto_free char *line = xasprintf("If-Match: %s", call->if_match);

		headers = curl_slist_append(headers, line);
	}
	return headers;
}

static CURLcode perform(struct client *client, const struct call *call)
{
	auto_free char *url = xasprintf("%s%s", client->base, call->path);
	struct curl_slist *headers = make_headers(call);
	CURL *curl = client->curl;
	CURLcode result;

	buf_clear(&client->body);
	client->retry_after_s = -1;
	(void)curl_easy_setopt(curl, CURLOPT_URL, url);
	(void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	(void)curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
	if (call->body || strcmp(call->method, "GET") != 0) {
		(void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body ? call->body : "");
		(void)curl_easy_setopt(
			curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_len);
	}
	(void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
	result = curl_easy_perform(curl);
	(void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(headers);
	return result;
}

/* poll() rather than a sleep, since time.h stays behind its fence. */
static void wait_seconds(int64_t seconds)
{
	(void)poll(NULL, 0, (int)seconds * 1000);
}

static int64_t retry_wait_s(const struct client *client)
{
	int64_t wait_s = client->retry_after_s < 0 ? 1 : client->retry_after_s;

	return wait_s > CLIENT_RETRY_MAX_S ? CLIENT_RETRY_MAX_S : wait_s;
}

/* Too many requests are over within a minute. A full queue may last for hours: whoever asked
 * decides whether to come again. */
static bool is_worth_waiting(const struct client *client, long status)
{
	json_t *problem;
	const char *code;
	bool is_full;

	if (status != 429)
		return false;
	problem = json_loadb(buf_text(&client->body), client->body.len, 0, NULL);
	code = json_string_value(json_object_get(problem, "code"));
	is_full = code && strcmp(code, err_name(ERR_QUEUE_FULL)) == 0;
	json_decref(problem);
	return !is_full;
}

int client_call(
	struct client *client, const struct call *call, struct answer *ret_answer, struct err *err)
{
	long status = 0;

	for (int tries = 0;; tries++) {
		CURLcode result = perform(client, call);

		if (result != CURLE_OK)
			return fail_transfer(client, result, err);
		(void)curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
		if (!is_worth_waiting(client, status) || tries == CLIENT_RETRIES_MAX)
			break;
		if (isatty(STDERR_FILENO))
			(void)fprintf(stderr,
				"too many requests; waiting %llds as the server asks\n",
				(long long)retry_wait_s(client));
		wait_seconds(retry_wait_s(client));
	}
	*ret_answer = (struct answer){
		.status = status, .len = client->body.len, .retry_after_s = client->retry_after_s};
	ret_answer->body = buf_take(&client->body);
	return 0;
}

int client_stream(struct client *client, const struct call *call, client_bytes_fn *on_bytes,
	void *data, struct answer *ret_answer, struct err *err)
{
	long status = 0;
	CURLcode result;

	client->on_bytes = on_bytes;
	client->data = data;
	(void)curl_easy_setopt(client->curl, CURLOPT_TIMEOUT_MS, 0L);
	(void)curl_easy_setopt(client->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	(void)curl_easy_setopt(client->curl, CURLOPT_LOW_SPEED_TIME, (long)CLIENT_SILENT_S);
	result = perform(client, call);
	(void)curl_easy_setopt(client->curl, CURLOPT_LOW_SPEED_TIME, 0L);
	(void)curl_easy_setopt(client->curl, CURLOPT_TIMEOUT_MS, (long)CLIENT_TOTAL_MS);
	client->on_bytes = NULL;
	if (result != CURLE_OK)
		return fail_transfer(client, result, err);
	(void)curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
	*ret_answer = (struct answer){
		.status = status, .len = client->body.len, .retry_after_s = client->retry_after_s};
	ret_answer->body = buf_take(&client->body);
	return 0;
}

void answer_fini(struct answer *answer)
{
	free(answer->body);
	*answer = (struct answer){0};
}

char *client_encode(const char *text)
{
	char *encoded = curl_easy_escape(NULL, text, 0);
	char *copy = xstrdup(encoded ? encoded : "");

	curl_free(encoded);
	return copy;
}
