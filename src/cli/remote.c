/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls to the server for the commands: JSON in and out, problem documents (RFC 9457) told to the
 * person with every member they name, lists read page by page. */
#include "cli/cli_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/client.h"
#include "model/model.h"

#define DEFAULT_SERVER    "http://127.0.0.1:8080"
#define PAGE_ITEMS        1000  /* as many as the server gives at once */
#define PAGES_MAX         10000 /* then the server is going round in circles */
#define PATH_MAX_BYTES    16384
#define PROBLEM_BYTES_MAX 65536

static int connect_client(struct cli *cli, struct err *err)
{
	const char *server = cli_flag(cli, "server");

	if (cli->client)
		return 0;
	if (!server)
		server = getenv("GATHERING_SERVER");
	return client_create(server && *server ? server : DEFAULT_SERVER, &cli->client, err);
}

/* --- problems --- */

/* The exit status that errors.def gives to a problem's code, or to its HTTP status. */
static int problem_exit(const char *word, long status)
{
	static const struct {
		const char *word;
		long http;
		int exit;
	} rows[] = {
#define X(name, value, code, http, exit, meaning) {code, http, exit},
#include "base/errors.def"
#undef X
	};

	for (size_t i = 0; word && i < COUNT_OF(rows); i++)
		if (strcmp(rows[i].word, word) == 0)
			return rows[i].exit;
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		if (rows[i].http == status)
			return rows[i].exit;
	return 1;
}

/* One member at fault; its detail is left out where it only repeats what was said already. */
static void append_fault(struct buf *text, const json_t *fault, const char *said)
{
	const char *pointer = get_text(fault, "pointer"), *detail = get_text(fault, "detail");
	bool is_told = detail && said && strcmp(detail, said) == 0;
	bool has_place = pointer && *pointer;

	if (is_told && !has_place)
		return;
	buf_puts(text, is_told ? " (" : "\n  ");
	if (has_place)
		append_safe(text, pointer);
	if (is_told) {
		buf_putc(text, ')');
		return;
	}
	buf_puts(text, has_place ? ": " : "");
	append_safe(text, detail ? detail : "not acceptable");
}

/* The problem document as text for a person; the exit status it stands for. */
static int write_problem(const struct cli *cli, const struct answer *answer, struct buf *text)
{
	json_t *problem = json_loadb(answer->body, answer->len, 0, NULL);
	const char *detail = get_text(problem, "detail"), *title = get_text(problem, "title");
	int exit_status = problem_exit(get_text(problem, "code"), answer->status);
	json_t *fault;
	size_t i;

	if (detail || title)
		append_safe(text, detail ? detail : title);
	else
		buf_printf(text, "%s answered with HTTP status %ld", client_server(cli->client),
			answer->status);
	json_array_foreach(json_object_get(problem, "errors"), i, fault)
		append_fault(text, fault, detail);
	json_decref(problem);
	return exit_status;
}

/* --- calls --- */

/* Any failure becomes text in `problem`. */
static int call_server(
	struct cli *cli, const struct call *call, struct answer *ret_answer, struct buf *problem)
{
	struct err err = {0};
	int status;

	if (connect_client(cli, &err) || client_call(cli->client, call, ret_answer, &err)) {
		append_safe(problem, err.text);
		return err_exit_status(err.code);
	}
	if (ret_answer->status >= 200 && ret_answer->status < 300)
		return 0;
	status = write_problem(cli, ret_answer, problem);
	answer_fini(ret_answer);
	return status;
}

static bool is_worth_another_try(long status)
{
	return status == 429 || status == 502 || status == 503 || status == 504;
}

int remote_follow(struct cli *cli, struct remote_stream *stream, struct buf *ret_problem)
{
	const struct call call = {.method = "GET",
		.path = stream->path,
		.accept = "text/event-stream",
		.last_id = stream->last_id};
	struct answer answer = {0};
	struct err err = {0};
	int status = 0;

	stream->ret_may_retry = false;
	if (connect_client(cli, &err) ||
		client_stream(cli->client, &call, stream->on_bytes, stream->data, &answer, &err)) {
		append_safe(ret_problem, err.text);
		stream->ret_may_retry = err.code != ERR_INVALID;
		return err_exit_status(err.code);
	}
	stream->ret_may_retry = is_worth_another_try(answer.status);
	if (answer.status < 200 || answer.status >= 300)
		status = write_problem(cli, &answer, ret_problem);
	answer_fini(&answer);
	return status;
}

static int call_json(
	struct cli *cli, const struct call *call, json_t **ret_json, struct buf *problem)
{
	struct answer answer = {0};
	json_t *json = NULL;
	int status = call_server(cli, call, &answer, problem);

	if (status)
		return status;
	if (answer.len > 0 && ret_json)
		json = json_loadb(answer.body, answer.len, JSON_DECODE_ANY, NULL);
	if (answer.len > 0 && ret_json && !json) {
		buf_printf(problem, "%s answered with something that is not JSON; is it gathering?",
			client_server(cli->client));
		status = 1;
	}
	answer_fini(&answer);
	if (!status && ret_json)
		*ret_json = json;
	return status;
}

static int tell(int status, const struct buf *problem)
{
	if (status)
		(void)fprintf(stderr, "gathering: %s\n", buf_text(problem));
	return status;
}

int remote_try(struct cli *cli, const char *method, const char *path, const json_t *body,
	json_t **ret_json, struct buf *ret_problem)
{
	auto_free char *text = body ? json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	struct call call = {
		.method = method, .path = path, .body = text, .body_len = text ? strlen(text) : 0};

	return call_json(cli, &call, ret_json, ret_problem);
}

int remote_call_if(struct cli *cli, const char *method, const char *path, const json_t *body,
	const char *if_match, json_t **ret_json)
{
	auto_free char *text = body ? json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	struct call call = {.method = method,
		.path = path,
		.body = text,
		.body_len = text ? strlen(text) : 0,
		.if_match = if_match};
	struct buf problem;
	int status;

	buf_init(&problem, PROBLEM_BYTES_MAX);
	status = tell(call_json(cli, &call, ret_json, &problem), &problem);
	buf_fini(&problem);
	return status;
}

int remote_call(struct cli *cli, const char *method, const char *path, const json_t *body,
	json_t **ret_json)
{
	return remote_call_if(cli, method, path, body, NULL, ret_json);
}

int remote_bytes(struct cli *cli, const char *path, char **ret_bytes, size_t *ret_len)
{
	struct call call = {.method = "GET", .path = path, .accept = "application/octet-stream"};
	struct answer answer = {0};
	struct buf problem;
	int status;

	buf_init(&problem, PROBLEM_BYTES_MAX);
	status = tell(call_server(cli, &call, &answer, &problem), &problem);
	buf_fini(&problem);
	if (status)
		return status;
	*ret_bytes = take_ptr(answer.body);
	*ret_len = answer.len;
	answer_fini(&answer);
	return 0;
}

char *remote_path(const char *before, const char *segment, const char *after)
{
	auto_free char *encoded = client_encode(segment);

	return xasprintf("%s%s%s", before, encoded, after);
}

void remote_query(struct buf *path, const char *key, const char *value)
{
	auto_free char *encoded = value ? client_encode(value) : NULL;

	if (encoded)
		buf_printf(path, "%c%s=%s", strchr(buf_text(path), '?') ? '&' : '?', key, encoded);
}

static int fetch_page(
	struct cli *cli, const char *path, const char *cursor, size_t limit, json_t **ret_page)
{
	struct buf full;
	char number[24];
	int status;

	buf_init(&full, PATH_MAX_BYTES);
	buf_puts(&full, path);
	(void)snprintf(number, sizeof(number), "%zu", limit);
	remote_query(&full, "limit", number);
	remote_query(&full, "cursor", cursor);
	status = remote_call(cli, "GET", buf_text(&full), NULL, ret_page);
	buf_fini(&full);
	return status;
}

int remote_list(
	struct cli *cli, const char *path, size_t max, json_t **ret_items, bool *ret_has_more)
{
	auto_free char *cursor = NULL;
	json_t *items = json_array(), *page;
	size_t left = max, pages = 0;

	do {
		size_t limit = max && left < PAGE_ITEMS ? left : PAGE_ITEMS;
		int status = fetch_page(cli, path, cursor, limit, &page);

		if (status) {
			json_decref(items);
			return status;
		}
		(void)json_array_extend(items, json_object_get(page, "items"));
		left = max > json_array_size(items) ? max - json_array_size(items) : 0;
		free(cursor);
		cursor = xstrdup(get_text(page, "next_cursor"));
		json_decref(page);
	} while (cursor && (max == 0 || left > 0) && ++pages < PAGES_MAX);
	if (ret_has_more)
		*ret_has_more = cursor != NULL;
	*ret_items = items;
	return 0;
}
