/* SPDX-License-Identifier: Apache-2.0
 *
 * Switches that turn rules off, so that the tests of the rules can be seen to fail (prove.def).
 * They exist in a build with -Dprove=true alone; in every other RULE_IS_OFF() is the constant false
 * and nothing of this is in the program. */
#pragma once

#include <stdbool.h>

enum prove_rule {
#define X(name, what) PROVE_##name,
#include "base/prove.def"
#undef X
	PROVE_RULE_COUNT
};

/* In the one condition that makes the rule: `if (is_late && !RULE_IS_OFF(HEAD_DEADLINE))`. */
#ifdef GATHERING_PROVE
#define RULE_IS_OFF(name) prove_is_off(PROVE_##name)
#else
#define RULE_IS_OFF(name) ((void)PROVE_##name, false)
#endif

/* True when PROVE_WITHOUT lists the rule. Any thread. A name it does not know ends the process with
 * exit status 2: a switch that is misspelt would prove nothing. */
bool prove_is_off(enum prove_rule rule);
