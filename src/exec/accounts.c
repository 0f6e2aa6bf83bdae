/* SPDX-License-Identifier: Apache-2.0
 *
 * Users are looked up beside the loop: a directory service behind NSS may take its time, or not
 * answer at all, and neither may hold anything else up. One look-up is under way at a time; who
 * waits for the same name is answered by the same look-up. Nobody waits here longer than its own
 * timeout: it goes away, and the look-up ends for nobody.
 *
 * Each look-up has a thread of its own and not one of the pool, for the pool waits for its threads
 * when the process ends: a dead service would hold up every stop. What the thread touches belongs
 * to the look-up, which is freed by whoever is done with it last. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "exec_priv.h"

/* What the loop and a thread share. */
struct asking {
	uv_async_t told;
	pthread_mutex_t lock;
	int holders;    /* under the lock: the loop until the handle is closed, the thread */
	bool is_waited; /* under the lock: somebody wants to be told */
	struct accounts *accounts;
	exec_closed_fn *closed; /* NULL: the accounts are in use */
	void *closed_data;
	/* The thread's until it has told. */
	char *name; /* owned */
	struct account account;
	struct err err;
};

struct accounts {
	uv_loop_t *loop;
	struct list waits;     /* of struct account_wait */
	struct asking *asking; /* NULL: no look-up is under way */
};

struct accounts *accounts_create(uv_loop_t *loop)
{
	struct accounts *accounts = xcalloc(1, sizeof(*accounts));

	accounts->loop = loop;
	list_init(&accounts->waits);
	return accounts;
}

/* --- the look-up --- */

static void let_go(struct asking *asking)
{
	int left;

	(void)pthread_mutex_lock(&asking->lock);
	left = --asking->holders;
	(void)pthread_mutex_unlock(&asking->lock);
	if (left > 0)
		return;
	(void)pthread_mutex_destroy(&asking->lock);
	account_fini(&asking->account);
	free(asking->name);
	free(asking);
}

/* The handle lives as long as somebody waits, which the lock keeps so. */
static void *ask(void *data)
{
	struct asking *asking = data;

	(void)account_find(asking->name, &asking->account, &asking->err);
	(void)pthread_mutex_lock(&asking->lock);
	if (asking->is_waited)
		(void)uv_async_send(&asking->told);
	(void)pthread_mutex_unlock(&asking->lock);
	let_go(asking);
	return NULL;
}

/* Signals are the loop's. */
static int start_thread(struct asking *asking)
{
	sigset_t all, before;
	pthread_t thread;
	int error;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, NULL, ask, asking);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error == 0)
		(void)pthread_detach(thread);
	return error;
}

static void on_told(uv_async_t *told);

static void ask_for_first(struct accounts *accounts)
{
	struct asking *asking;
	int error;

	if (list_is_empty(&accounts->waits))
		return;
	accounts->asking = asking = xcalloc(1, sizeof(*asking));
	asking->accounts = accounts;
	asking->name = xstrdup(list_entry(accounts->waits.next, struct account_wait, link)->name);
	asking->holders = 2;
	asking->is_waited = true;
	must(pthread_mutex_init(&asking->lock, NULL) == 0);
	must(uv_async_init(accounts->loop, &asking->told, on_told) == 0);
	error = start_thread(asking);
	if (error == 0)
		return;
	(void)err_set(&asking->err, ERR_UNAVAILABLE, "cannot look up user '%.64s': %s",
		asking->name, strerror(error));
	asking->holders--;
	(void)uv_async_send(&asking->told);
}

static void on_told_closed(uv_handle_t *handle)
{
	struct asking *asking = container_of(handle, struct asking, told);
	exec_closed_fn *closed = asking->closed;
	void *data = asking->closed_data;

	let_go(asking);
	if (closed != NULL)
		closed(data);
}

/* --- who waits for it --- */

/* Whoever is called may wait again, or give others up. */
static void answer(struct accounts *accounts)
{
	const struct asking *asking = accounts->asking;
	struct list served;
	struct list *node;

	list_init(&served);
	list_for_each (waiting, &accounts->waits) {
		if (strcmp(list_entry(waiting, struct account_wait, link)->name, asking->name) != 0)
			continue;
		list_remove(waiting);
		list_push(&served, waiting);
	}
	while ((node = list_pop(&served)) != NULL) {
		struct account_wait *wait = list_entry(node, struct account_wait, link);

		wait->done(wait, asking->err.code == 0 ? &asking->account : NULL, &asking->err);
	}
}

static void on_told(uv_async_t *told)
{
	struct asking *asking = container_of(told, struct asking, told);
	struct accounts *accounts = asking->accounts;

	answer(accounts);
	accounts->asking = NULL;
	uv_close((uv_handle_t *)told, on_told_closed);
	ask_for_first(accounts);
}

void accounts_destroy(struct accounts *accounts, exec_closed_fn *closed, void *data)
{
	struct asking *asking = accounts->asking;

	must(list_is_empty(&accounts->waits));
	free(accounts);
	if (asking == NULL) {
		closed(data);
		return;
	}
	(void)pthread_mutex_lock(&asking->lock);
	asking->is_waited = false;
	(void)pthread_mutex_unlock(&asking->lock);
	asking->closed = closed;
	asking->closed_data = data;
	uv_close((uv_handle_t *)&asking->told, on_told_closed);
}

void accounts_find(struct accounts *accounts, struct account_wait *wait)
{
	list_init(&wait->link);
	list_push(&accounts->waits, &wait->link);
	if (accounts->asking == NULL)
		ask_for_first(accounts);
}

void accounts_give_up(struct account_wait *wait)
{
	list_remove(&wait->link);
}
