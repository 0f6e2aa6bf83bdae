/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread that ends the process after a time, whatever the loop does. Private to life/. */
#pragma once

#include <stdint.h>

struct watchdog;

/* After `limit_ms` the process logs `why` (a constant) and exits with status 3. */
struct watchdog *watchdog_start(int64_t limit_ms, const char *why);

/* The exit status it would use from now on, instead of 3. NULL is fine. */
void watchdog_set_status(struct watchdog *watchdog, int status);

/* Calls it off and frees it; NULL is fine. */
void watchdog_stop(struct watchdog *watchdog);
