/* SPDX-License-Identifier: Apache-2.0
 *
 * The actions that are due soon: a binary heap by due time with an index by action id. Plain
 * memory, no clock, no I/O. Private to sched/. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "model/model.h"

struct window;

struct window *window_create(void);
void window_destroy(struct window *window);

/* Puts `action` (a reference is taken) in with its cursor `due_ms`, replacing an entry of the same
 * id. NO_TIME takes it out. */
void window_put(struct window *window, struct action *action, int64_t due_ms);
void window_remove(struct window *window, const struct id *action_id);
void window_clear(struct window *window);

size_t window_count(const struct window *window);

/* Due time of the first entry; NO_TIME when empty. */
int64_t window_head(const struct window *window);

/* Takes the first entry out: its action, with the window's reference, and its cursor. NULL when the
 * head is after `now_ms`. */
struct action *window_pop(struct window *window, int64_t now_ms, int64_t *ret_due_ms);
