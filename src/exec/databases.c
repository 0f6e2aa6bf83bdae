/* SPDX-License-Identifier: Apache-2.0
 *
 * The databases that sql actions may use: those the configuration names, and `self`, our own. Each
 * has a pool that opens connections when there is work and closes them afterwards. */
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/mem.h"
#include "exec_priv.h"

struct database {
	char *name, *url; /* owned */
	const char *role; /* borrowed; NULL: the one that signs in */
	struct pg_pool *pool;
};

struct databases {
	uv_loop_t *loop;
	int connections_max; /* of each */
	struct database *items;
	size_t count, open_count;
	exec_closed_fn *closed;
	void *closed_data;
};

static void free_all(struct databases *databases)
{
	for (size_t i = 0; i < databases->count; i++) {
		free(databases->items[i].name);
		free(databases->items[i].url);
	}
	free(databases->items);
	free(databases);
}

static struct database *find(const struct databases *databases, const char *name)
{
	for (size_t i = 0; i < databases->count; i++)
		if (strcmp(databases->items[i].name, name) == 0)
			return &databases->items[i];
	return NULL;
}

static struct database *add(struct databases *databases, char *name_take, char *url_take)
{
	struct database *item;

	databases->items =
		xrealloc(databases->items, databases->count + 1, sizeof(*databases->items));
	item = &databases->items[databases->count++];
	*item = (struct database){.name = name_take, .url = url_take};
	return item;
}

/* --- NAME=URL NAME=URL --- */

static bool is_name(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++)
		if (!ascii_is_alnum(name[i]) && strchr("_-.", name[i]) == NULL)
			return false;
	return len > 0 && len <= ACTION_DATABASE_MAX;
}

/* The text of a word is not repeated: a password may stand in it. */
static int add_word(struct databases *databases, const char *word, size_t len, struct err *err)
{
	const char *equals = memchr(word, '=', len);
	size_t name_len = equals != NULL ? (size_t)(equals - word) : 0;
	auto_free char *name = xstrndup(word, name_len);
	auto_free char *url = equals != NULL ? xstrndup(equals + 1, len - name_len - 1) : NULL;
	struct err why = {0};

	if (!is_name(name))
		return err_set(err, ERR_INVALID,
			"sql_databases: write NAME=postgresql://..., several separated by spaces; "
			"a "
			"name has letters, digits, '_', '-' and '.'");
	if (strcmp(name, SQL_SELF) == 0 || find(databases, name) != NULL)
		return err_set(err, ERR_INVALID, "sql_databases: '%s' is %s", name,
			strcmp(name, SQL_SELF) == 0 ? "our own database and needs no entry"
						    : "given twice");
	if (pg_url_check(url, &why) != 0)
		return err_set(err, ERR_INVALID, "sql_databases: %s: %s", name, why.text);
	(void)add(databases, take_ptr(name), take_ptr(url));
	return 0;
}

static int add_words(struct databases *databases, const char *words, struct err *err)
{
	int code = 0;

	for (words += strspn(words, " \t\n"); *words != '\0' && code == 0;
		words += strspn(words, " \t\n")) {
		size_t len = strcspn(words, " \t\n");

		code = add_word(databases, words, len, err);
		words += len;
	}
	return code;
}

static bool is_set(const char *text)
{
	return text != NULL && text[0] != '\0';
}

void databases_set_connections(struct databases *databases, int connections_max)
{
	int most = connections_max < 1             ? 1
		   : connections_max > PG_POOL_MAX ? PG_POOL_MAX
						   : connections_max;

	databases->connections_max = most;
	for (size_t i = 0; i < databases->count; i++)
		if (databases->items[i].pool != NULL)
			pg_pool_set_max(databases->items[i].pool, most);
}

int databases_create(
	const struct exec_opts *opts, struct databases **ret_databases, struct err *err)
{
	struct databases *databases = xcalloc(1, sizeof(*databases));
	int code = 0;

	databases->loop = opts->loop;
	databases_set_connections(databases, opts->max_running_kind[ACTION_SQL]);
	if (is_set(opts->sql_databases))
		code = add_words(databases, opts->sql_databases, err);
	if (code != 0) {
		free_all(databases);
		return code;
	}
	if (is_set(opts->sql_self_url) && is_set(opts->sql_self_role))
		add(databases, xstrdup(SQL_SELF), xstrdup(opts->sql_self_url))->role =
			opts->sql_self_role;
	*ret_databases = databases;
	return 0;
}

int databases_find(struct databases *databases, const char *name, struct pg_pool **ret_pool,
	const char **ret_role, struct err *err)
{
	struct database *database = find(databases, name);
	struct pg_pool_opts opts = pg_pool_defaults();

	if (database == NULL)
		return err_set(err, ERR_NOT_FOUND, "there is no database '%s' here", name);
	if (database->pool == NULL) {
		opts.conn.loop = databases->loop;
		opts.conn.url = database->url;
		opts.conn.application_name = "gathering sql";
		opts.conn.route = PG_POOLED; /* nothing here needs a session */
		opts.conn.sync = PG_SYNC_EACH;
		opts.min = 0;
		opts.max = databases->connections_max;
		if (pg_pool_create(&opts, &database->pool, err) != 0)
			return err->code;
		databases->open_count++;
	}
	*ret_pool = database->pool;
	*ret_role = database->role;
	return 0;
}

bool databases_has(const struct databases *databases, const char *name)
{
	return find(databases, name) != NULL;
}

static void on_pool_closed(void *data)
{
	struct databases *databases = data;
	exec_closed_fn *closed = databases->closed;
	void *closed_data = databases->closed_data;

	if (--databases->open_count > 0)
		return;
	free_all(databases);
	closed(closed_data);
}

void databases_destroy(struct databases *databases, exec_closed_fn *closed, void *data)
{
	databases->closed = closed;
	databases->closed_data = data;
	databases->open_count++; /* ours, so that the last pool does not free what we walk */
	for (size_t i = 0; i < databases->count; i++)
		if (databases->items[i].pool != NULL)
			pg_pool_close(databases->items[i].pool, 0, on_pool_closed, databases);
	on_pool_closed(databases);
}
