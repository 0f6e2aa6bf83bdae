/* SPDX-License-Identifier: Apache-2.0
 *
 * At most so many requests to one host at a time (max_per_host), so that one slow receiver is not
 * buried and does not take every slot. A host is a scheme, a name and a port, as the action's URL
 * says; where a redirect leads is not counted.
 *
 * Those that wait stand in a queue of their host, first come, first served, and hosts with a queue
 * in a list in which the one served last goes to the end. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* uthash's own function trips -Wimplicit-fallthrough of clang. */
#define HASH_FUNCTION HASH_OAT
#include <uthash.h>

#include "base/ascii.h"
#include "base/mem.h"
#include "exec/webhook_priv.h"

struct host {
	UT_hash_handle hh;
	char *key; /* owned */
	int running;
	struct list waiting; /* struct webhook */
	struct list crowded; /* in hosts->crowded while somebody waits */
	bool is_crowded;
};

struct hosts {
	int max_per_host;
	struct host *table;
	struct list crowded;
};

struct hosts *hosts_create(int max_per_host)
{
	struct hosts *hosts = xcalloc(1, sizeof(*hosts));

	hosts->max_per_host = max_per_host;
	list_init(&hosts->crowded);
	return hosts;
}

/* Nobody is there any more, so there are no hosts. */
void hosts_destroy(struct hosts *hosts)
{
	must(hosts->table == NULL);
	free(hosts);
}

int hosts_limit(const struct hosts *hosts)
{
	return hosts->max_per_host;
}

void hosts_set_limit(struct hosts *hosts, int max_per_host)
{
	hosts->max_per_host = max_per_host;
}

/* "https://example.org:8443", lower case, the port always there. */
static char *key_of(const char *text)
{
	CURLU *url = curl_url();
	char *scheme = NULL, *host = NULL, *port = NULL, *key = NULL;

	if (curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
		curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
		curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK)
		key = xasprintf("%s://%s:%s", scheme, host, port);
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(url);
	for (char *c = key; c != NULL && *c != '\0'; c++)
		*c = ascii_lower(*c);
	return key;
}

static struct host *find_or_add(struct hosts *hosts, const char *key)
{
	struct host *host;

	HASH_FIND_STR(hosts->table, key, host);
	if (host != NULL)
		return host;
	host = xcalloc(1, sizeof(*host));
	host->key = xstrdup(key);
	list_init(&host->waiting);
	list_init(&host->crowded);
	HASH_ADD_KEYPTR(hh, hosts->table, host->key, strlen(host->key), host);
	return host;
}

static void set_crowded(struct hosts *hosts, struct host *host)
{
	bool is_crowded = !list_is_empty(&host->waiting);

	if (host->is_crowded == is_crowded)
		return;
	host->is_crowded = is_crowded;
	if (is_crowded)
		list_push(&hosts->crowded, &host->crowded);
	else
		list_remove(&host->crowded);
}

bool hosts_enter(struct hosts *hosts, struct webhook *hook, const char *url)
{
	auto_free char *key = hosts->max_per_host > 0 ? key_of(url) : NULL;

	if (key == NULL) /* no limit, or libcurl will say what is wrong with the URL */
		return true;
	hook->host = find_or_add(hosts, key);
	if (hook->host->running < hosts->max_per_host && !hook->host->is_crowded) {
		hook->host->running++;
		return true;
	}
	list_init(&hook->waiting);
	list_push(&hook->host->waiting, &hook->waiting);
	set_crowded(hosts, hook->host);
	return false;
}

void hosts_leave(struct hosts *hosts, struct webhook *hook)
{
	struct host *host = take_ptr(hook->host);

	if (host == NULL)
		return;
	if (hook->phase == HOOK_QUEUED)
		list_remove(&hook->waiting);
	else
		host->running--;
	set_crowded(hosts, host);
	if (host->running > 0 || host->is_crowded)
		return;
	HASH_DEL(hosts->table, host);
	free(host->key);
	free(host);
}

struct webhook *hosts_next(struct hosts *hosts)
{
	list_for_each (node, &hosts->crowded) {
		struct host *host = list_entry(node, struct host, crowded);
		struct webhook *hook;

		if (hosts->max_per_host > 0 && host->running >= hosts->max_per_host)
			continue;
		hook = list_entry(host->waiting.next, struct webhook, waiting);
		list_remove(&hook->waiting);
		host->running++;
		list_remove(&host->crowded);
		host->is_crowded = false;
		set_crowded(hosts, host);
		return hook;
	}
	return NULL;
}
