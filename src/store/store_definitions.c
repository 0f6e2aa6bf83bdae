/* SPDX-License-Identifier: Apache-2.0
 *
 * Turns rows read back into actions, on the loop. Reading the JSON of a definition costs some tens
 * of microseconds, and the scheduler reads the same ones at every look and every take; so those are
 * kept, in a table with one place for each hash. (It holds most of them itself meanwhile; a copy
 * with other facts shares its definition.) A definition never changes under its key, action id and
 * definition version, so nothing here is ever invalid; a collision merely replaces. The facts of
 * the row come fresh each time. */
#include <stdlib.h>

#include "store/store_priv.h"

#define DEFINITION_CACHE_SLOTS 16384 /* actions kept parsed at most */

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

static int parse(const struct stored_action *row, struct action **ret_action, struct err *err)
{
	char id[ID_TEXT_SIZE];
	struct err cause = {0};

	if (action_from_text(row->text, row->len, ret_action, &cause) < 0)
		return err_set(err, ERR_CORRUPT, "definition %lld of action %s cannot be read: %s",
			(long long)row->definition_version, id_format(&row->id, id), cause.text);
	return 0;
}

static struct action *with_facts(const struct action *action, const struct stored_action *row)
{
	return action_with_row(action, &row->id, row->version, row->is_paused, row->next_due_ms,
		row->created_at_ms, row->updated_at_ms);
}

int definition_cache_read(struct definition_cache *cache, const struct stored_action *row,
	struct action **ret_action, struct err *err)
{
	struct slot *slot = slot_of(cache, row);
	struct action *action;

	if (!slot_holds(slot, row)) {
		if (parse(row, &action, err) < 0)
			return ERR_CORRUPT;
		action_unref(slot->action);
		*slot = (struct slot){row->id, row->definition_version, action};
	}
	*ret_action = with_facts(slot->action, row);
	return 0;
}

int definition_cache_read_once(struct definition_cache *cache, const struct stored_action *row,
	struct action **ret_action, struct err *err)
{
	const struct slot *slot = slot_of(cache, row);
	struct action *action;

	if (slot_holds(slot, row)) {
		*ret_action = with_facts(slot->action, row);
		return 0;
	}
	if (parse(row, &action, err) < 0)
		return ERR_CORRUPT;
	*ret_action = with_facts(action, row);
	action_unref(action);
	return 0;
}
