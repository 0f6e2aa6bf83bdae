/* SPDX-License-Identifier: Apache-2.0
 *
 * What an SQLSTATE means to us: one table, the longest matching prefix wins. */
#include <string.h>

#include "pg_priv.h"

static const struct {
	const char *prefix;
	int code;
} codes[] = {
	{"08", ERR_UNAVAILABLE},    /* connection */
	{"22", ERR_INVALID},        /* a value: out of range, no such date */
	{"23", ERR_CONFLICT},       /* a constraint */
	{"25006", ERR_UNAVAILABLE}, /* a standby, or one that was a primary */
	{"40", ERR_UNAVAILABLE},    /* serialization, deadlock */
	{"42501", ERR_FORBIDDEN},   /* privileges */
	{"53", ERR_UNAVAILABLE},    /* too many connections, out of memory */
	{"53100", ERR_FULL},        /* disk */
	{"54", ERR_TOO_LARGE},      /* program limits */
	{"55P03", ERR_UNAVAILABLE}, /* lock_timeout, NOWAIT */
	{"57", ERR_UNAVAILABLE},    /* shutdown, restart, terminated */
	{"57014", ERR_TIMEOUT},     /* statement_timeout */
	{"58", ERR_IO},
	{"XX001", ERR_CORRUPT},
	{"XX002", ERR_CORRUPT},
};

int pg_error_code(const char *sqlstate)
{
	size_t longest = 0;
	int code = ERR_INTERNAL;

	for (size_t i = 0; i < COUNT_OF(codes); i++) {
		size_t len = strlen(codes[i].prefix);

		if (len > longest && strncmp(codes[i].prefix, sqlstate, len) == 0) {
			longest = len;
			code = codes[i].code;
		}
	}
	return code;
}

static void copy_field(char *to, size_t size, const PGresult *failure, int field)
{
	const char *value = PQresultErrorField(failure, field);

	(void)snprintf(to, size, "%s", value != NULL ? value : "");
}

const char *pg_query_name(const struct pg_query *query)
{
	if (query->people != NULL)
		return query->people;
	if (query->statement != NULL)
		return query->statement->name;
	return query->script != NULL ? "a script" : "a statement";
}

/* Its author is not here to ask: all that the server says about it. */
static void set_foreign(struct pg_query *query, const PGresult *failure, const char *message)
{
	const char *at = PQresultErrorField(failure, PG_DIAG_STATEMENT_POSITION);
	const char *detail = PQresultErrorField(failure, PG_DIAG_MESSAGE_DETAIL);
	const char *hint = PQresultErrorField(failure, PG_DIAG_MESSAGE_HINT);

	(void)err_set(&query->err, pg_error_code(query->sqlstate),
		"%s: %s%s%s (SQLSTATE %s)%s%s%s%s", query->people, message,
		at != NULL ? ", at character " : "", at != NULL ? at : "", query->sqlstate,
		detail != NULL ? "; " : "", detail != NULL ? detail : "", hint != NULL ? "; " : "",
		hint != NULL ? hint : "");
}

/* A pooler gives the severity in the words of people alone, which are these. */
static bool is_last_word(const PGresult *failure)
{
	const char *severity = PQresultErrorField(failure, PG_DIAG_SEVERITY_NONLOCALIZED);

	if (severity == NULL)
		severity = PQresultErrorField(failure, PG_DIAG_SEVERITY);
	return severity != NULL &&
	       (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

void pg_error_read(struct pg_query *query, const PGresult *failure)
{
	const char *message = PQresultErrorField(failure, PG_DIAG_MESSAGE_PRIMARY);
	const char *name = pg_query_name(query);

	query->was_last_word = is_last_word(failure);
	copy_field(query->sqlstate, sizeof(query->sqlstate), failure, PG_DIAG_SQLSTATE);
	copy_field(query->constraint, sizeof(query->constraint), failure, PG_DIAG_CONSTRAINT_NAME);
	if (query->people != NULL && query->sqlstate[0] != '\0')
		set_foreign(query, failure, message != NULL ? message : "failed");
	else if (query->sqlstate[0] != '\0')
		(void)err_set(&query->err, pg_error_code(query->sqlstate), "%s: %s (SQLSTATE %s)",
			name, message != NULL ? message : "failed", query->sqlstate);
	else /* libpq's own: the connection broke */
		(void)err_set(&query->err, ERR_UNAVAILABLE, "%s: %s", name,
			PQresultStatus(failure) == PGRES_FATAL_ERROR
				? "the connection was lost"
				: PQresStatus(PQresultStatus(failure)));
}
