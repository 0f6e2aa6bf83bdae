/* SPDX-License-Identifier: Apache-2.0 */
#include "api/prober_priv.h"

#include <stdio.h>
#include <string.h>

#include "base/prove.h"

#define SILENCE_MIN_MS 1000

static bool is_ignored(const char *agent)
{
	return strncmp(agent, "kube-probe/", 11) == 0 || strncmp(agent, "gathering/", 10) == 0;
}

static struct prober *find(struct probers *probers, const char *peer, const char *agent)
{
	for (size_t i = 0; i < probers->count; i++) {
		struct prober *prober = &probers->item[i];

		if (strcmp(prober->peer, peer) == 0 && strcmp(prober->agent, agent) == 0)
			return prober;
	}
	return NULL;
}

/* A free place, or that of whoever has been silent the longest. */
static struct prober *make_room(struct probers *probers)
{
	struct prober *oldest = &probers->item[0];

	if (probers->count < PROBERS_MAX)
		return &probers->item[probers->count++];
	for (size_t i = 1; i < PROBERS_MAX; i++)
		if (probers->item[i].last_mono_ms < oldest->last_mono_ms)
			oldest = &probers->item[i];
	return oldest;
}

void probers_note(struct probers *probers, const char *peer, const char *agent, bool was_refused,
	int64_t now_mono_ms)
{
	struct prober key = {.last_mono_ms = now_mono_ms};
	struct prober *prober;

	(void)snprintf(key.peer, sizeof(key.peer), "%s", peer);
	(void)snprintf(key.agent, sizeof(key.agent), "%s", agent ? agent : "");
	if (is_ignored(key.agent))
		return;
	prober = find(probers, key.peer, key.agent);
	if (!prober) {
		prober = make_room(probers);
		*prober = key;
	} else {
		prober->interval_ms = now_mono_ms - prober->last_mono_ms;
		prober->last_mono_ms = now_mono_ms;
	}
	prober->refusals = was_refused ? prober->refusals + 1 : 0;
}

bool prober_is_live(const struct prober *prober, int64_t now_mono_ms)
{
	int64_t silent_ms = now_mono_ms - prober->last_mono_ms;
	int64_t patience_ms = 2 * prober->interval_ms;

	if (patience_ms < SILENCE_MIN_MS)
		patience_ms = SILENCE_MIN_MS;
	return prober->interval_ms > 0 && silent_ms <= PROBER_FORGET_MS &&
	       (silent_ms <= patience_ms || RULE_IS_OFF(SILENT_PROBERS_DROPPED));
}

bool probers_have_heard(const struct probers *probers, int refusals, int64_t now_mono_ms)
{
	for (size_t i = 0; i < probers->count; i++)
		if (prober_is_live(&probers->item[i], now_mono_ms) &&
			probers->item[i].refusals < refusals)
			return false;
	return true;
}

size_t probers_live(const struct probers *probers, int64_t now_mono_ms)
{
	size_t count = 0;

	for (size_t i = 0; i < probers->count; i++)
		count += prober_is_live(&probers->item[i], now_mono_ms);
	return count;
}
