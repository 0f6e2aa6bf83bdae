/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files about actions share: finding the one a path names, and showing it. */
#pragma once

#include "api/api_priv.h"
#include "store/care.h"

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

/* An answer that shows actions, with how they fare and with what is to be remarked on them
 * (`warnings`). Embedded in the state of a call, zeroed. */
struct actions_answer {
	struct api_call *call;
	int status;
	struct action *const
		*actions; /* borrowed: the state of the call holds them until its end */
	json_t *(*wrap)(struct api_call *call, json_t *items_take); /* NULL: one action, bare */
	struct store_get_cares cares;
	bool is_asked;
};

/* Answers with the action and its ETag; 201 has a Location too. */
void action_answer(struct actions_answer *answer, struct api_call *call, int status,
	struct action *const *action);
/* Answers with what `wrap` makes of the list. */
void actions_answer(struct actions_answer *answer, struct api_call *call, int status,
	struct action *const *actions, size_t count,
	json_t *(*wrap)(struct api_call *call, json_t *items_take));
void actions_answer_fini(struct actions_answer *answer);

/* If-Match, when sent, names this version; else answered 412 or 400. */
bool action_passes_if_match(struct api_call *call, const struct action *action);
