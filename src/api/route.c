/* SPDX-License-Identifier: Apache-2.0
 *
 * The router: a walk over the table, pattern against path, segment by segment. The path is split at
 * '/' while it is still encoded, so that a name with "%2F" in it stays one segment. With some
 * thirty rows a walk costs less than the JSON of any answer. */
#include "api/route_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"

static const char *const method_names[] = {
	[HTTP_GET] = "GET, HEAD",
	[HTTP_POST] = "POST",
	[HTTP_PUT] = "PUT",
	[HTTP_PATCH] = "PATCH",
	[HTTP_DELETE] = "DELETE",
};

/* True when `path` fits `pattern`; then *ret_param and its length tell the segment that stands for
 * the (only) parameter, or NULL. */
static bool pattern_fits(
	const char *pattern, const char *path, const char **ret_param, size_t *ret_len)
{
	const char *param = NULL;
	size_t len = 0;

	while (*pattern != '\0') {
		if (*pattern == '{') {
			param = path;
			len = strcspn(path, "/");
			if (len == 0)
				return false;
			path += len;
			pattern += strcspn(pattern, "}") + 1;
		} else if (*pattern++ != *path++) {
			return false;
		}
	}
	if (*path != '\0')
		return false;
	*ret_param = param;
	*ret_len = len;
	return true;
}

static void allow_add(char allow[static ROUTE_ALLOW_SIZE], enum http_method method)
{
	size_t used = strlen(allow);
	const char *name = method_names[method];

	must(used + strlen(name) + sizeof(", , OPTIONS") <= ROUTE_ALLOW_SIZE);
	if (used > 0) {
		memcpy(allow + used, ", ", 2);
		used += 2;
	}
	memcpy(allow + used, name, strlen(name) + 1);
}

static int take_param(const char *text, size_t len, char **ret_param, struct err *err)
{
	char *param = xstrndup(text, len);

	if (!http_percent_decode(param)) {
		free(param);
		return err_set(
			err, ERR_BAD_REQUEST, "the path has a bad percent escape or is not UTF-8");
	}
	*ret_param = param;
	return 0;
}

int route_find(const struct route *table, size_t count, enum http_method method, const char *path,
	struct route_match *ret_match, struct err *err)
{
	const char *text = NULL;
	size_t len = 0;

	*ret_match = (struct route_match){0};
	if (method == HTTP_HEAD)
		method = HTTP_GET;
	for (size_t i = 0; i < count; i++) {
		const char *param;
		size_t param_len;

		if (!pattern_fits(table[i].pattern, path, &param, &param_len))
			continue;
		allow_add(ret_match->allow, table[i].method);
		if (table[i].method != method)
			continue;
		ret_match->route = &table[i];
		text = param;
		len = param_len;
	}
	if (ret_match->allow[0] == '\0')
		return err_set(err, ERR_NOT_FOUND, "no such path; GET / lists all");
	memcpy(ret_match->allow + strlen(ret_match->allow), ", OPTIONS", sizeof(", OPTIONS"));
	if (!ret_match->route)
		return err_set(err, ERR_METHOD, "this path takes %s", ret_match->allow);
	return text ? take_param(text, len, &ret_match->param, err) : 0;
}

int route_query_check(const struct route *route, const char *name, unsigned *seen, struct err *err)
{
	const char *word = route->query;
	size_t name_len = strlen(name);

	if (strcmp(word, "*") == 0)
		return 0;
	for (unsigned bit = 1; *word != '\0'; bit <<= 1) {
		size_t len = strcspn(word, " ");
		bool is_list = len > 0 && word[len - 1] == '+';

		if (len - is_list == name_len && memcmp(word, name, name_len) == 0) {
			if ((*seen & bit) && !is_list)
				return err_set(err, ERR_BAD_REQUEST,
					"query parameter '%.64s' is given twice", name);
			*seen |= bit;
			return 0;
		}
		word += len + (word[len] == ' ');
	}
	return err_set(err, ERR_BAD_REQUEST, "unknown query parameter '%.64s'; this path takes %s",
		name, *route->query ? route->query : "none");
}
