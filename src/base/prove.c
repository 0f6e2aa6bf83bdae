/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads PROVE_WITHOUT, once. Empty unless the build is one that proves. */
#include "base/prove.h"

#ifdef GATHERING_PROVE

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static const char *const rule_names[] = {
#define X(name, what) #name,
#include "base/prove.def"
#undef X
};

static bool is_off[PROVE_RULE_COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void switch_off(const char *name, size_t len)
{
	for (size_t i = 0; i < PROVE_RULE_COUNT; i++)
		if (strlen(rule_names[i]) == len && memcmp(rule_names[i], name, len) == 0) {
			is_off[i] = true;
			return;
		}
	(void)fprintf(stderr, "PROVE_WITHOUT names no rule: %.*s\n", (int)len, name);
	_Exit(2);
}

static void read_switches(void)
{
	const char *at = getenv("PROVE_WITHOUT");

	while (at && *at != '\0') {
		size_t len = strcspn(at, ",");

		switch_off(at, len);
		at += len + (at[len] == ',');
	}
}

bool prove_is_off(enum prove_rule rule)
{
	(void)pthread_once(&once, read_switches);
	return is_off[rule];
}

#endif
