/* SPDX-License-Identifier: Apache-2.0
 *
 * The routes told to people: the page at / and the tables of doc/api.md. */
#include <stdio.h>
#include <string.h>

#include "api/api_priv.h"
#include "base/mem.h"

#define PAGE_MAX (64 * 1024)

static const char *const method_words[] = {
	[HTTP_GET] = "GET",
	[HTTP_POST] = "POST",
	[HTTP_PUT] = "PUT",
	[HTTP_PATCH] = "PATCH",
	[HTTP_DELETE] = "DELETE",
};

static const char *const tier_words[TIER_COUNT] = {
	[TIER_HEALTH] = "health",
	[TIER_PROBE] = "probe",
	[TIER_READ] = "read",
	[TIER_WRITE] = "write",
};

static const struct {
	int code;
	const char *name;
	int http;
	const char *meaning;
} errors[] = {
#define X(name, value, code, http, exit, meaning) {name, code, http, meaning},
#include "base/errors.def"
#undef X
};

/* Markdown is fine in doc/api.md; a terminal wants none of it. */
static void put_plain(struct buf *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text != '`')
			buf_putc(out, *text);
	}
}

void root_show(struct api_call *call)
{
	struct buf page;

	buf_init(&page, PAGE_MAX);
	buf_printf(&page, "gathering %s\n\n", call->api->opts.version);
	for (size_t i = 0; i < route_count; i++) {
		buf_printf(&page, "%-6s %-40s ", method_words[routes[i].method], routes[i].pattern);
		put_plain(&page, routes[i].doc);
		buf_putc(&page, '\n');
	}
	api_reply_bytes(call, 200, "text/plain; charset=utf-8", buf_text(&page), page.len, NULL);
	buf_fini(&page);
}

/* "limit cursor state+" -> "`limit` `cursor` `state`..." */
static void put_query(struct buf *out, const char *query)
{
	if (strcmp(query, "*") == 0)
		return;
	while (*query != '\0') {
		size_t len = strcspn(query, " ");
		bool is_list = query[len - 1] == '+';

		buf_printf(out, "`%.*s`%s", (int)len - is_list, query, is_list ? "..." : "");
		query += len;
		query += strspn(query, " ");
		if (*query != '\0')
			buf_putc(out, ' ');
	}
}

void api_write_markdown(struct buf *out)
{
	buf_puts(out, "| method | path | query | limit | answers |\n|---|---|---|---|---|\n");
	for (size_t i = 0; i < route_count; i++) {
		buf_printf(
			out, "| %s | `%s` | ", method_words[routes[i].method], routes[i].pattern);
		put_query(out, routes[i].query);
		buf_printf(out, " | %s | %s |\n", tier_words[routes[i].tier], routes[i].doc);
	}
	buf_puts(out, "\n| status | code | meaning |\n|---|---|---|\n");
	for (size_t i = 0; i < COUNT_OF(errors); i++)
		buf_printf(out, "| %d | `%s` | %s |\n", errors[i].http, errors[i].name,
			errors[i].meaning);
}
