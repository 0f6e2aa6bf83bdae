/* SPDX-License-Identifier: Apache-2.0
 *
 * Turns rows read back into actions, on the loop. Reading the JSON of a definition costs some tens
 * of microseconds, and the scheduler reads the same ones at every look and every take; so the last
 * ones parsed are kept, in a table with one place for each hash. A definition never changes under
 * its key (action id and definition version), so nothing here is ever invalid; a collision merely
 * replaces. The facts of the row come fresh each time. */
#include <stdlib.h>

#include "store/store_priv.h"

#define DEFINITION_CACHE_SLOTS 4096 /* actions kept parsed at most */

struct slot {
	struct id id;
	int64_t version;
	struct action *action; /* one reference; NULL: free */
};

struct definition_cache {
	struct slot slots[DEFINITION_CACHE_SLOTS];
};

struct definition_cache *definition_cache_create(void)
{
	return xcalloc(1, sizeof(struct definition_cache));
}

void definition_cache_destroy(struct definition_cache *cache)
{
	for (size_t i = 0; cache && i < DEFINITION_CACHE_SLOTS; i++)
		action_unref(cache->slots[i].action);
	free(cache);
}

static struct slot *slot_of(struct definition_cache *cache, const struct stored_action *row)
{
	uint64_t hash = id_hash(&row->id) + (uint64_t)row->definition_version;

	return &cache->slots[hash % DEFINITION_CACHE_SLOTS];
}

static bool slot_holds(const struct slot *slot, const struct stored_action *row)
{
	return slot->action && slot->version == row->definition_version &&
	       id_equal(&slot->id, &row->id);
}

static int slot_fill(struct slot *slot, const struct stored_action *row, struct err *err)
{
	struct action *action;
	char id[ID_TEXT_SIZE];
	struct err cause = {0};

	if (action_from_text(row->text, row->len, &action, &cause) < 0)
		return err_set(err, ERR_CORRUPT, "definition %lld of action %s cannot be read: %s",
			(long long)row->definition_version, id_format(&row->id, id), cause.text);
	action_unref(slot->action);
	*slot = (struct slot){.id = row->id, .version = row->definition_version, .action = action};
	return 0;
}

int definition_cache_read(struct definition_cache *cache, const struct stored_action *row,
	struct action **ret_action, struct err *err)
{
	struct slot *slot = slot_of(cache, row);

	if (!slot_holds(slot, row) && slot_fill(slot, row, err) < 0)
		return ERR_CORRUPT;
	*ret_action = action_with_row(slot->action, &row->id, row->version, row->is_paused,
		row->next_due_ms, row->created_at_ms, row->updated_at_ms);
	return 0;
}
