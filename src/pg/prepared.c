/* SPDX-License-Identifier: Apache-2.0
 *
 * Which statements a session knows, by the address of the constant. Open addressing; nothing is
 * ever taken out: a session that forgets a statement clears its serial. */
#include "pg_priv.h"

struct pg_prepared *pg_prepared_slot(
	struct pg_prepared_set *set, const struct pg_statement *statement)
{
	uint64_t hash = (uint64_t)(uintptr_t)statement * UINT64_C(0x9e3779b97f4a7c15);
	struct pg_prepared *slot;

	for (size_t i = hash >> 32;; i++) {
		slot = &set->slots[i % COUNT_OF(set->slots)];
		if (slot->statement == statement)
			return slot;
		if (slot->statement == NULL)
			break;
	}
	if (set->count == PG_PREPARED_MAX)
		return NULL;
	set->count++;
	slot->statement = statement;
	return slot;
}
