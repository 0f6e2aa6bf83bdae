/* SPDX-License-Identifier: Apache-2.0
 *
 * The real clocks, and the place where a test puts others. */
#include "base/clock.h"

#include <time.h>

#include "base/err.h"

static int64_t read_ms(clockid_t which)
{
	struct timespec now = {0};

	must(clock_gettime(which, &now) == 0);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t real_wall_ms(void)
{
	return read_ms(CLOCK_REALTIME);
}

static int64_t real_mono_ms(void)
{
	return read_ms(CLOCK_MONOTONIC);
}

static const struct clock_source real_source = {real_wall_ms, real_mono_ms};
static const struct clock_source *source = &real_source;

int64_t clock_wall_ms(void)
{
	return source->wall_ms();
}

int64_t clock_mono_ms(void)
{
	return source->mono_ms();
}

int64_t clock_boot_ms(void)
{
	return source == &real_source ? read_ms(CLOCK_BOOTTIME) : source->mono_ms();
}

void clock_set_source(const struct clock_source *new_source)
{
	source = new_source ? new_source : &real_source;
}
