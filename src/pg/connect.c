/* SPDX-License-Identifier: Apache-2.0
 *
 * From a URL to a session: names to addresses, one after the other; then each address in turn, each
 * with its own deadline, until one of them is a server of the wanted kind (target_session_attrs).
 *
 * libpq could go through the hosts itself, but has no deadline of its own when used without
 * blocking: a host that accepts and says nothing would keep it from the next one for ever. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "pg_priv.h"

#define PROBLEMS_MAX 300 /* what struct err holds, less what goes before it */
#define OPTIONS_MAX  64  /* libpq 15 has 41 */

static void try_address(struct pg_conn *conn);

/* --- the end of a try --- */

static void problem_add(struct pg_conn *conn, const char *text)
{
	if (conn->problems.len > 0)
		buf_puts(&conn->problems, "; ");
	buf_puts(&conn->problems, text);
}

static void trace_close(struct pg_conn *conn)
{
	if (conn->trace_stream == NULL)
		return;
	if (conn->handle != NULL)
		PQuntrace(conn->handle);
	(void)fclose(conn->trace_stream);
	conn->trace_stream = NULL;
}

void pg_connect_clean(struct pg_conn *conn)
{
	pg_lookup_abandon(take_ptr(conn->lookup));
	pg_watch_close(take_ptr(conn->watch));
	trace_close(conn);
	free(take_ptr(conn->trace));
	PQfinish(take_ptr(conn->handle));
	conn->is_pipelined = false;
}

static void all_failed(struct pg_conn *conn)
{
	struct err err = {0};

	(void)err_set(&err, ERR_UNAVAILABLE, "cannot connect to %s: %s", conn->target->people,
		buf_text(&conn->problems));
	pg_conn_lost(conn, &err);
}

static void next_address(struct pg_conn *conn)
{
	pg_connect_clean(conn);
	if (++conn->address_index == conn->address_count && conn->target->prefers_standby &&
		conn->round == 0) {
		conn->address_index = 0;
		conn->round = 1;
	}
	if (conn->address_index < conn->address_count)
		try_address(conn);
	else
		all_failed(conn);
}

static void address_failed(struct pg_conn *conn)
{
	struct err err = {0};

	pg_conn_libpq_err(conn, &err);
	problem_add(conn, err.text);
	next_address(conn);
}

/* --- one address --- */

/* Nothing of a notice is for us; libpq would print it. */
static void ignore_notice(void *data, const PGresult *result)
{
}

struct pairs {
	const char *keywords[OPTIONS_MAX + 1];
	const char *values[OPTIONS_MAX + 1];
	int count;
};

static void pair_add(struct pairs *pairs, const char *keyword, const char *value)
{
	must(pairs->count < OPTIONS_MAX);
	pairs->keywords[pairs->count] = keyword;
	pairs->values[pairs->count++] = value;
}

static bool is_ours(const char *keyword)
{
	static const char *const ours[] = {"host", "hostaddr", "port", "target_session_attrs",
		"connect_timeout", "client_encoding", "fallback_application_name"};

	for (size_t i = 0; i < COUNT_OF(ours); i++)
		if (strcmp(ours[i], keyword) == 0)
			return true;
	return false;
}

static void pairs_fill(const struct pg_conn *conn, struct pairs *pairs)
{
	const struct pg_address *address = &conn->addresses[conn->address_index];
	const char *attrs = pg_target_option(conn->target, "target_session_attrs");

	for (const PQconninfoOption *option = conn->target->options; option->keyword != NULL;
		option++)
		if (option->val != NULL && !is_ours(option->keyword))
			pair_add(pairs, option->keyword, option->val);
	if (address->host->name != NULL)
		pair_add(pairs, "host", address->host->name);
	if (address->numeric[0] != '\0')
		pair_add(pairs, "hostaddr", address->numeric);
	if (address->host->port != NULL)
		pair_add(pairs, "port", address->host->port);
	if (conn->target->prefers_standby)
		attrs = conn->round == 0 ? "standby" : "any";
	if (attrs != NULL)
		pair_add(pairs, "target_session_attrs", attrs);
	pair_add(pairs, "client_encoding", "UTF8");
	if (conn->opts.application_name != NULL)
		pair_add(pairs, "fallback_application_name", conn->opts.application_name);
}

/* libpq may close the socket and open another within one step. */
static bool watch_for(struct pg_conn *conn, int events)
{
	int fd = PQsocket(conn->handle);

	if (conn->watch != NULL && pg_watch_fd(conn->watch) != fd)
		pg_watch_close(take_ptr(conn->watch));
	if (conn->watch == NULL && fd >= 0)
		conn->watch = pg_watch_open(conn->opts.loop, fd, pg_conn_on_io, conn);
	if (conn->watch != NULL && pg_watch_set(conn->watch, events))
		return true;
	problem_add(conn, "the event loop refuses its socket");
	next_address(conn);
	return false;
}

static void try_address(struct pg_conn *conn)
{
	int64_t timeout_ms = conn->target->connect_timeout_ms > 0 ? conn->target->connect_timeout_ms
								  : conn->opts.connect_timeout_ms;
	struct pairs pairs = {0};

	pairs_fill(conn, &pairs);
	conn->handle = PQconnectStartParams(pairs.keywords, pairs.values, 0);
	must(conn->handle != NULL);
	if (PQstatus(conn->handle) == CONNECTION_BAD) {
		address_failed(conn);
		return;
	}
	PQsetNoticeReceiver(conn->handle, ignore_notice, NULL);
	conn->trace_stream = open_memstream(&conn->trace, &conn->trace_len);
	if (conn->trace_stream != NULL) {
		PQtrace(conn->handle, conn->trace_stream);
		PQsetTraceFlags(conn->handle, PQTRACE_SUPPRESS_TIMESTAMPS);
	}
	pg_conn_disarm(conn);
	pg_conn_arm(conn, clock_mono_ms() + timeout_ms);
	(void)watch_for(conn, UV_WRITABLE);
}

static void signed_in(struct pg_conn *conn)
{
	trace_close(conn);
	pg_cancel_read_key(conn->trace, &conn->cancel_key);
	free(take_ptr(conn->trace));
	if (PQsetnonblocking(conn->handle, 1) != 0) {
		address_failed(conn);
		return;
	}
	if (watch_for(conn, UV_READABLE))
		pg_conn_ready(conn);
}

void pg_connect_on_io(struct pg_conn *conn)
{
	(void)pg_watch_set(conn->watch, 0);
	switch (PQconnectPoll(conn->handle)) {
	case PGRES_POLLING_OK:
		signed_in(conn);
		return;
	case PGRES_POLLING_READING:
		(void)watch_for(conn, UV_READABLE);
		return;
	case PGRES_POLLING_WRITING:
	case PGRES_POLLING_ACTIVE:
		(void)watch_for(conn, UV_WRITABLE);
		return;
	case PGRES_POLLING_FAILED:
		address_failed(conn);
		return;
	}
}

/* --- names --- */

/* Goes with the host that is being looked at. "" when the host needs none. */
static void address_add(struct pg_conn *conn, const char *numeric)
{
	struct pg_address *address = &conn->addresses[conn->address_count];

	if (conn->address_count == PG_ADDRESSES_MAX)
		return;
	address->host = &conn->target->hosts[conn->lookup_host];
	(void)snprintf(address->numeric, sizeof(address->numeric), "%s", numeric);
	conn->address_count++;
}

static bool is_numeric(const char *name)
{
	unsigned char ignored[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, name, ignored) == 1 || inet_pton(AF_INET6, name, ignored) == 1;
}

/* The address that needs no looking up; NULL: it does. */
static const char *address_of(const struct pg_host *host)
{
	if (host->addr != NULL)
		return host->addr;
	if (host->name == NULL || host->name[0] == '/' || host->name[0] == '@')
		return ""; /* a unix socket */
	return is_numeric(host->name) ? host->name : NULL;
}

static void next_host(struct pg_conn *conn);

static void on_looked_up(void *data, const struct addrinfo *found, const struct err *err)
{
	struct pg_conn *conn = data;
	char numeric[sizeof(conn->addresses[0].numeric)];

	conn->lookup = NULL;
	if (err->code != 0)
		problem_add(conn, err->text);
	for (; found != NULL; found = found->ai_next)
		if (getnameinfo(found->ai_addr, found->ai_addrlen, numeric, sizeof(numeric), NULL,
			    0, NI_NUMERICHOST) == 0)
			address_add(conn, numeric);
	conn->lookup_host++;
	next_host(conn);
}

/* Looks up what has to be; with the last host known the connecting begins. */
static void next_host(struct pg_conn *conn)
{
	for (; conn->lookup_host < conn->target->host_count; conn->lookup_host++) {
		const struct pg_host *host = &conn->target->hosts[conn->lookup_host];

		if (address_of(host) != NULL) {
			address_add(conn, address_of(host));
			continue;
		}
		pg_conn_disarm(conn);
		pg_conn_arm(conn, clock_mono_ms() + conn->opts.connect_timeout_ms);
		conn->lookup = pg_lookup_start(conn->opts.loop, host->name, on_looked_up, conn);
		if (conn->lookup != NULL)
			return;
		problem_add(conn, "a host name is not one");
	}
	if (conn->address_count == 0) {
		all_failed(conn);
		return;
	}
	pg_conn_move(conn, CONN_CONNECTING);
	try_address(conn);
}

void pg_connect_start(struct pg_conn *conn)
{
	pg_conn_move(conn, CONN_RESOLVING);
	buf_fini(&conn->problems);
	buf_init(&conn->problems, PROBLEMS_MAX);
	conn->lookup_host = conn->address_count = conn->address_index = conn->round = 0;
	next_host(conn);
}

/* The deadline of a lookup or of an address. */
void pg_connect_on_timer(struct pg_conn *conn)
{
	const struct pg_address *address = &conn->addresses[conn->address_index];
	char text[160];

	if (conn->state == CONN_RESOLVING) {
		pg_lookup_abandon(take_ptr(conn->lookup));
		(void)snprintf(text, sizeof(text),
			"the lookup of host name \"%.64s\" takes too long",
			conn->target->hosts[conn->lookup_host++].name);
		problem_add(conn, text);
		next_host(conn);
		return;
	}
	(void)snprintf(text, sizeof(text), "%.64s port %.8s does not answer",
		address->host->name != NULL ? address->host->name : address->numeric,
		address->host->port != NULL ? address->host->port : "");
	problem_add(conn, text);
	next_address(conn);
}
