/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/window.h"

#include <stdlib.h>
#include <string.h>

/* An id is random already; uthash's own function would also trip -Wimplicit-fallthrough. */
#define HASH_FUNCTION(key, len, hash) ((hash) = (unsigned)id_hash((const struct id *)(key)))
#include <uthash.h>

#include "base/mem.h"

struct entry {
	struct id id;
	struct action *action; /* owned reference */
	int64_t due_ms;
	size_t place; /* in the heap */
	UT_hash_handle hh;
};

struct window {
	struct entry **heap;
	size_t count, size;
	struct entry *by_id;
};

struct window *window_create(void)
{
	return xcalloc(1, sizeof(struct window));
}

static void place(struct window *window, struct entry *entry, size_t at)
{
	window->heap[at] = entry;
	entry->place = at;
}

static void sift_up(struct window *window, struct entry *entry, size_t at)
{
	while (at > 0 && entry->due_ms < window->heap[(at - 1) / 2]->due_ms) {
		place(window, window->heap[(at - 1) / 2], at);
		at = (at - 1) / 2;
	}
	place(window, entry, at);
}

static void sift_down(struct window *window, struct entry *entry, size_t at)
{
	for (size_t child; (child = 2 * at + 1) < window->count; at = child) {
		if (child + 1 < window->count &&
			window->heap[child + 1]->due_ms < window->heap[child]->due_ms)
			child++;
		if (window->heap[child]->due_ms >= entry->due_ms)
			break;
		place(window, window->heap[child], at);
	}
	place(window, entry, at);
}

/* Takes the entry out of heap and index; its reference goes to the caller. */
static struct action *detach(struct window *window, struct entry *entry)
{
	struct entry *last = window->heap[--window->count];
	struct action *action = entry->action;

	if (last != entry) {
		sift_down(window, last, entry->place);
		sift_up(window, last, last->place);
	}
	must(window->by_id != NULL); /* what the heap holds, the index holds */
	HASH_DEL(window->by_id, entry);
	free(entry);
	return action;
}

static struct entry *find(struct window *window, const struct id *id)
{
	struct entry *entry;

	HASH_FIND(hh, window->by_id, id, sizeof(*id), entry);
	return entry;
}

void window_put(struct window *window, struct action *action, int64_t due_ms)
{
	struct entry *entry = find(window, &action->id);

	if (entry && entry->action->version > action->version)
		return;
	if (entry)
		action_unref(detach(window, entry));
	if (due_ms == NO_TIME)
		return;
	entry = xcalloc(1, sizeof(*entry));
	*entry = (struct entry){.id = action->id, .action = action_ref(action), .due_ms = due_ms};
	if (window->count == window->size) {
		window->size = window->size ? 2 * window->size : 64;
		window->heap = xrealloc(window->heap, window->size, sizeof(*window->heap));
	}
	HASH_ADD(hh, window->by_id, id, sizeof(entry->id), entry);
	sift_up(window, entry, window->count++);
}

void window_remove(struct window *window, const struct id *action_id)
{
	struct entry *entry = find(window, action_id);

	if (entry)
		action_unref(detach(window, entry));
}

void window_clear(struct window *window)
{
	while (window->count > 0)
		action_unref(detach(window, window->heap[window->count - 1]));
}

void window_destroy(struct window *window)
{
	if (!window)
		return;
	window_clear(window);
	free(window->heap);
	free(window);
}

size_t window_count(const struct window *window)
{
	return window->count;
}

int64_t window_head(const struct window *window)
{
	return window->count ? window->heap[0]->due_ms : NO_TIME;
}

struct action *window_pop(struct window *window, int64_t now_ms, int64_t *ret_due_ms)
{
	if (window->count == 0 || window->heap[0]->due_ms > now_ms)
		return NULL;
	*ret_due_ms = window->heap[0]->due_ms;
	return detach(window, window->heap[0]);
}
