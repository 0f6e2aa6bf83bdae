/* SPDX-License-Identifier: Apache-2.0
 *
 * Who asks /health/ready, how often, and how many times in a row the answer was 503. A drain keeps
 * the listener open until everyone who asks regularly has heard it often enough to act on it
 * (doc/design/shutdown.md, "The notice"). Plain memory, monotonic times as parameters. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Told apart by address and User-Agent; when there are more, the one silent the longest is
 * forgotten. */
#define PROBERS_MAX 64

/* Silent for longer than this before the drain: not a prober any more. */
#define PROBER_FORGET_MS 60000

struct prober {
	char peer[48];
	char agent[80];
	int64_t last_mono_ms;
	int64_t interval_ms; /* between the last two; 0: seen once */
	int refusals;        /* 503 in a row */
};

struct probers {
	struct prober item[PROBERS_MAX];
	size_t count;
};

/* A request to /health/ready was answered, with 503 or not. `agent` may be NULL. kube-probe (whose
 * verdict removes no endpoint of a terminating pod) and our own command line do not count. */
void probers_note(struct probers *probers, const char *peer, const char *agent, bool was_refused,
	int64_t now_mono_ms);

/* Asks regularly: twice or more, the last time within PROBER_FORGET_MS, and it is not yet silent
 * for twice its own interval (at least a second). And how many do. */
bool prober_is_live(const struct prober *prober, int64_t now_mono_ms);
size_t probers_live(const struct probers *probers, int64_t now_mono_ms);

/* True when every live prober has had `refusals` 503 in a row: one that went away must not hold up
 * the drain. True when nobody asks. */
bool probers_have_heard(const struct probers *probers, int refusals, int64_t now_mono_ms);
