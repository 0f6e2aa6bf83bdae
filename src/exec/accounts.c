/* SPDX-License-Identifier: Apache-2.0
 *
 * Users are looked up beside the loop: a directory service behind NSS may take its time, or not
 * answer at all, and neither may hold anything else up. One look-up is under way at a time, so that
 * a dead service costs one thread of the pool and not all of them; who waits for the same name is
 * answered by the same look-up. Nobody waits here longer than its own timeout: it goes away, and
 * the look-up ends for nobody. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "exec_priv.h"

struct accounts {
	uv_loop_t *loop;
	struct list waits; /* of struct account_wait */
	uv_work_t work;
	bool is_working;
	exec_closed_fn *closed; /* once it does not work any more; NULL: it is in use */
	void *closed_data;
	/* The thread's while it works. */
	char *name; /* owned */
	struct account account;
	struct err err;
};

struct accounts *accounts_create(uv_loop_t *loop)
{
	struct accounts *accounts = xcalloc(1, sizeof(*accounts));

	accounts->loop = loop;
	list_init(&accounts->waits);
	return accounts;
}

static void work(uv_work_t *work)
{
	struct accounts *accounts = container_of(work, struct accounts, work);

	(void)account_find(accounts->name, &accounts->account, &accounts->err);
}

static void on_worked(uv_work_t *work, int status);

static void work_for_first(struct accounts *accounts)
{
	if (list_is_empty(&accounts->waits))
		return;
	accounts->name = xstrdup(list_entry(accounts->waits.next, struct account_wait, link)->name);
	accounts->err = (struct err){0};
	accounts->is_working = true;
	must(uv_queue_work(accounts->loop, &accounts->work, work, on_worked) == 0);
}

/* Whoever is called may wait again, or give others up. */
static void answer(struct accounts *accounts)
{
	struct list served;
	struct list *node;

	list_init(&served);
	list_for_each (waiting, &accounts->waits) {
		if (strcmp(list_entry(waiting, struct account_wait, link)->name, accounts->name) !=
			0)
			continue;
		list_remove(waiting);
		list_push(&served, waiting);
	}
	while ((node = list_pop(&served)) != NULL) {
		struct account_wait *wait = list_entry(node, struct account_wait, link);

		wait->done(
			wait, accounts->err.code == 0 ? &accounts->account : NULL, &accounts->err);
	}
}

static void accounts_free(struct accounts *accounts)
{
	exec_closed_fn *closed = accounts->closed;
	void *data = accounts->closed_data;

	free(accounts);
	closed(data);
}

static void on_worked(uv_work_t *work, int status)
{
	struct accounts *accounts = container_of(work, struct accounts, work);

	answer(accounts);
	account_fini(&accounts->account);
	free(take_ptr(accounts->name));
	accounts->is_working = false;
	if (accounts->closed != NULL)
		accounts_free(accounts);
	else
		work_for_first(accounts);
}

void accounts_destroy(struct accounts *accounts, exec_closed_fn *closed, void *data)
{
	must(list_is_empty(&accounts->waits));
	accounts->closed = closed;
	accounts->closed_data = data;
	if (!accounts->is_working)
		accounts_free(accounts);
}

void accounts_find(struct accounts *accounts, struct account_wait *wait)
{
	list_init(&wait->link);
	list_push(&accounts->waits, &wait->link);
	if (!accounts->is_working)
		work_for_first(accounts);
}

void accounts_give_up(struct account_wait *wait)
{
	list_remove(&wait->link);
}
