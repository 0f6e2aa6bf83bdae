/* SPDX-License-Identifier: Apache-2.0
 *
 * From method and path to a row of routes.def. Pure: knows patterns, not handlers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "http/http.h"

struct api_call;
typedef void api_handler(struct api_call *call);

/* Rate limit tiers; limit.c counts each address in each of them by itself. */
enum tier {
	TIER_HEALTH,
	TIER_PROBE,
	TIER_READ,
	TIER_WRITE,
	TIER_COUNT
};

struct route {
	enum http_method method;
	const char *pattern;
	api_handler *handler;
	enum tier tier;
	const char *query;
	const char *doc;
};

/* routes.def, in its order. */
extern const struct route routes[];
extern const size_t route_count;

#define ROUTE_ALLOW_SIZE 64

struct route_match {
	const struct route *route;
	char *param;                  /* owned, decoded; NULL: the pattern has none */
	char allow[ROUTE_ALLOW_SIZE]; /* "GET, HEAD, OPTIONS": what this path takes */
};

/* Finds the row for `method` (HEAD counts as GET) and the still percent-encoded `path`. `allow` is
 * set whenever the path is known. ERR_NOT_FOUND: unknown path; ERR_METHOD: known, but not with this
 * method (also for OPTIONS, which has no rows); ERR_BAD_REQUEST: a parameter is not well encoded.
 */
int route_find(const struct route *table, size_t count, enum http_method method, const char *path,
	struct route_match *ret_match, struct err *err);

/* Checks one query parameter against the words of route->query. `seen` starts at 0 and collects
 * bits, so that a repeated parameter is found. ERR_BAD_REQUEST names the parameter. */
int route_query_check(const struct route *route, const char *name, unsigned *seen, struct err *err);
