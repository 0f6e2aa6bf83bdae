/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files about actions share: finding the one a path names, and showing it. */
#pragma once

#include "api/api_priv.h"

/* Embedded in the state of a call. */
struct action_find {
	struct api_call *call;
	void (*found)(struct action_find *find); /* the action is in get.ret_action */
	struct store_get_action get;
};

/* Looks up `id_or_name` (borrowed until the answer; names never look like ids), then calls `found`,
 * or answers 404. May be called again with the same struct, to re-read. */
void action_find(struct action_find *find, struct api_call *call, const char *id_or_name,
	void (*found)(struct action_find *find));
void action_find_fini(struct action_find *find);

/* The action with the remarks on its schedule as `warnings`. New reference. */
json_t *action_shown(const struct action *action);

/* Answers with the action and its ETag; 201 has a Location too. */
void action_reply(struct api_call *call, int status, const struct action *action);

/* If-Match, when sent, names this version; else answered 412 or 400. */
bool action_passes_if_match(struct api_call *call, const struct action *action);
