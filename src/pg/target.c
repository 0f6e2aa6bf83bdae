/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection URL, taken apart. libpq knows the syntax; what is needed on top is the list of
 * hosts, for names are looked up and hosts are tried by us, each with a deadline of its own:
 * PQconnectPoll would wait for a host that answers nothing for ever, and never come to the second
 * one. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "pg_priv.h"

#define CONNECT_TIMEOUT_MAX_S 3600
#define PEOPLE_MAX            1024

static const char *const schemes[] = {"postgresql://", "postgres://"};

/* libpq reads these for itself when they are not given: host list and user must be known before. */
static const char *const from_defaults[] = {"user", "host", "hostaddr", "port", "dbname",
	"target_session_attrs", "connect_timeout", "gssencmode"};

/* A host that vanished without a word is found within half a minute, also by a connection that only
 * listens; the kernel's own default is two hours. */
static const char *const from_us[][2] = {
	{"keepalives_idle", "15"},
	{"keepalives_interval", "5"},
	{"keepalives_count", "3"},
	{"tcp_user_timeout", "30000"},
};

static PQconninfoOption *find_option(PQconninfoOption *options, const char *keyword)
{
	for (PQconninfoOption *option = options; option->keyword != NULL; option++)
		if (strcmp(option->keyword, keyword) == 0)
			return option;
	return NULL;
}

const char *pg_target_option(const struct pg_target *target, const char *keyword)
{
	const PQconninfoOption *option = find_option(target->options, keyword);

	return option != NULL && option->val != NULL && option->val[0] != '\0' ? option->val : NULL;
}

/* libpq frees an option's value itself, with free(). */
static void set_option(PQconninfoOption *options, const char *keyword, const char *value)
{
	PQconninfoOption *option = find_option(options, keyword);

	if (option == NULL || option->val != NULL || value == NULL)
		return;
	option->val = xstrdup(value);
}

static void add_defaults(PQconninfoOption *options)
{
	PQconninfoOption *defaults = PQconndefaults();

	must(defaults != NULL);
	/* Kerberos would speak to its servers from within PQconnectPoll, blocking. */
	if (getenv("PGGSSENCMODE") == NULL)
		set_option(options, "gssencmode", "disable");
	for (size_t i = 0; i < COUNT_OF(from_us); i++)
		set_option(options, from_us[i][0], from_us[i][1]);
	for (size_t i = 0; i < COUNT_OF(from_defaults); i++)
		set_option(options, from_defaults[i], find_option(defaults, from_defaults[i])->val);
	PQconninfoFree(defaults);
}

/* The n-th piece of a comma-separated list; NULL when there is none, or it is empty. */
static char *piece(const char *list, int index)
{
	size_t len;

	for (; index > 0 && list != NULL; index--) {
		list = strchr(list, ',');
		list = list != NULL ? list + 1 : NULL;
	}
	len = list != NULL ? strcspn(list, ",") : 0;
	return len > 0 ? xstrndup(list, len) : NULL;
}

static int piece_count(const char *list)
{
	int count = list != NULL;

	for (; list != NULL && (list = strchr(list, ',')) != NULL; list++)
		count++;
	return count;
}

static int read_hosts(struct pg_target *target, struct err *err)
{
	const char *names = pg_target_option(target, "host");
	const char *addrs = pg_target_option(target, "hostaddr");
	const char *ports = pg_target_option(target, "port");
	int names_count = piece_count(names), addrs_count = piece_count(addrs),
	    ports_count = piece_count(ports);
	int count = names_count > 0 ? names_count : addrs_count > 0 ? addrs_count : 1;

	if (count > PG_HOSTS_MAX)
		return err_set(err, ERR_INVALID, "database URL: more than %d hosts", PG_HOSTS_MAX);
	if (names_count > 0 && addrs_count > 0 && names_count != addrs_count)
		return err_set(err, ERR_INVALID, "database URL: %d hosts, but %d in hostaddr",
			names_count, addrs_count);
	if (ports_count > 1 && ports_count != count)
		return err_set(err, ERR_INVALID, "database URL: %d hosts, but %d ports", count,
			ports_count);
	for (int i = 0; i < count; i++)
		target->hosts[i] = (struct pg_host){.name = piece(names, i),
			.addr = piece(addrs, i),
			.port = piece(ports, ports_count == 1 ? 0 : i)};
	target->host_count = count;
	return 0;
}

static int read_connect_timeout(struct pg_target *target, struct err *err)
{
	const char *text = pg_target_option(target, "connect_timeout");
	int64_t seconds = 0;

	if (text != NULL && !parse_i64(text, -1, CONNECT_TIMEOUT_MAX_S, &seconds))
		return err_set(err, ERR_INVALID,
			"database URL: connect_timeout '%s' is not a number of seconds up to %d",
			text, CONNECT_TIMEOUT_MAX_S);
	target->connect_timeout_ms = seconds > 0 ? seconds * 1000 : 0;
	return 0;
}

static void describe(struct pg_target *target)
{
	const char *database = pg_target_option(target, "dbname");
	const char *user = pg_target_option(target, "user");
	struct buf text;

	buf_init(&text, PEOPLE_MAX);
	buf_printf(&text, "%s@", user != NULL ? user : "");
	for (int i = 0; i < target->host_count; i++) {
		const struct pg_host *host = &target->hosts[i];
		const char *name = host->name != NULL   ? host->name
				   : host->addr != NULL ? host->addr
							: "";

		buf_printf(&text, "%s%s", i > 0 ? "," : "", name);
		if (host->port != NULL)
			buf_printf(&text, ":%s", host->port);
	}
	buf_printf(&text, "/%s", database != NULL ? database : user != NULL ? user : "");
	target->people = buf_take(&text);
}

/* libpq's complaint without what it repeats of the URL, which may be the password or a part of it.
 */
static int syntax_error(char *message, struct err *err)
{
	char *repeated = message != NULL ? strstr(message, ": \"") : NULL;

	if (repeated != NULL)
		*repeated = '\0';
	if (message != NULL)
		message[strcspn(message, "\n")] = '\0';
	(void)err_set(
		err, ERR_INVALID, "database URL: %s", message != NULL ? message : "not understood");
	PQfreemem(message);
	return ERR_INVALID;
}

static int parse(const char *url, PQconninfoOption **ret_options, struct err *err)
{
	char *message = NULL;
	bool is_url = false;

	for (size_t i = 0; i < COUNT_OF(schemes); i++)
		is_url |= strncmp(url, schemes[i], strlen(schemes[i])) == 0;
	if (!is_url)
		return err_set(err, ERR_INVALID, "database URL: must begin with postgresql://");
	*ret_options = PQconninfoParse(url, &message);
	if (*ret_options == NULL)
		return syntax_error(message, err);
	PQfreemem(message);
	if (find_option(*ret_options, "service")->val != NULL) {
		PQconninfoFree(*ret_options);
		return err_set(err, ERR_INVALID,
			"database URL: service files are not supported; write the host into the "
			"URL");
	}
	return 0;
}

int pg_target_create(const char *url, struct pg_target **ret_target, struct err *err)
{
	PQconninfoOption *options = NULL;
	struct pg_target *target;
	const char *attrs;

	if (parse(url, &options, err) != 0)
		return ERR_INVALID;
	target = xcalloc(1, sizeof(*target));
	target->refs = 1;
	target->options = options;
	add_defaults(options);
	attrs = pg_target_option(target, "target_session_attrs");
	target->prefers_standby = attrs != NULL && strcmp(attrs, "prefer-standby") == 0;
	if (read_hosts(target, err) != 0 || read_connect_timeout(target, err) != 0) {
		pg_target_unref(target);
		return ERR_INVALID;
	}
	describe(target);
	*ret_target = target;
	return 0;
}

struct pg_target *pg_target_ref(struct pg_target *target)
{
	target->refs++;
	return target;
}

void pg_target_unref(struct pg_target *target)
{
	if (target == NULL || --target->refs > 0)
		return;
	for (int i = 0; i < target->host_count; i++) {
		free(target->hosts[i].name);
		free(target->hosts[i].addr);
		free(target->hosts[i].port);
	}
	PQconninfoFree(target->options);
	free(target->people);
	free(target);
}

int pg_url_check(const char *url, struct err *err)
{
	struct pg_target *target = NULL;
	int code = pg_target_create(url, &target, err);

	pg_target_unref(target);
	return code;
}

char *pg_url_for_people(const char *url)
{
	struct pg_target *target = NULL;
	char *people;

	if (pg_target_create(url, &target, NULL) != 0)
		return xstrdup("?");
	people = take_ptr(target->people);
	pg_target_unref(target);
	return people;
}
