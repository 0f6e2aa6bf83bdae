/* SPDX-License-Identifier: Apache-2.0
 *
 * Duties: work for all instances that one of them does. Who that is the store says (a session lock
 * with PostgreSQL, ourselves with SQLite); this file has the clock. A duty that is not ours is
 * looked at again now and then, from memory, so that it goes on soon after its holder is gone. */
#include "sched/sched_priv.h"

#include <stdlib.h>

#include "base/clock.h"

#define FIRST_MS 5000  /* a new holder waits so long at most before its first round */
#define AGAIN_MS 10000 /* who does not hold it looks again */
#define HINT_MS  1000  /* of many actions that change, one round hears */
#define REST_MS  10    /* between two rounds, whoever asks */
#define RARE_MS  300000

static void arm(struct sched *sched);

static int64_t jitter(int64_t ms)
{
	uint32_t eighth = (uint32_t)(ms / 8 < 3600000 ? ms / 8 : 3600000);

	return ms - eighth + arc4random_uniform(2 * eighth + 1);
}

static bool is_ours(const struct sched_duty *duty)
{
	return (store_held(duty->sched->opts.store)->duties & (1U << duty->duty)) != 0;
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void try_duty(struct sched_duty *duty, int64_t now)
{
	if (duty->is_working || now < duty->next_mono_ms)
		return;
	if (!is_ours(duty)) {
		duty->next_mono_ms = now + jitter(least(duty->period_ms, AGAIN_MS));
		return;
	}
	duty->is_working = true;
	duty->asked_in_ms = INT64_MAX;
	duty->sched->duties_working++;
	duty->work(duty);
}

static void on_duties(uv_timer_t *timer)
{
	struct sched *sched = timer->data;
	int64_t now = clock_mono_ms();

	list_for_each (node, &sched->duties)
		try_duty(list_entry(node, struct sched_duty, node), now);
	arm(sched);
}

static void arm(struct sched *sched)
{
	int64_t at = INT64_MAX, now = clock_mono_ms();

	list_for_each (node, &sched->duties) {
		const struct sched_duty *duty = list_entry(node, struct sched_duty, node);

		if (!duty->is_working)
			at = least(at, duty->next_mono_ms);
	}
	uv_timer_stop(&sched->duty_timer);
	if (at == INT64_MAX || sched->is_paused || sched->is_destroyed)
		return;
	uv_timer_start(&sched->duty_timer, on_duties, at > now ? (uint64_t)(at - now) : 0, 0);
}

void sched_duty_add(struct sched *sched, struct sched_duty *duty)
{
	must(duty->period_ms > 0 && duty->work);
	duty->sched = sched;
	duty->is_working = false;
	duty->next_mono_ms = clock_mono_ms() + jitter(least(duty->period_ms, FIRST_MS));
	list_push(&sched->duties, &duty->node);
	arm(sched);
}

void sched_duty_done(struct sched_duty *duty, int64_t again_ms)
{
	struct sched *sched = duty->sched;

	must(duty->is_working);
	duty->is_working = false;
	sched->duties_working--;
	if (again_ms == NO_TIME)
		again_ms = jitter(duty->period_ms);
	again_ms = least(again_ms, duty->asked_in_ms);
	duty->next_mono_ms = clock_mono_ms() + (again_ms > REST_MS ? again_ms : REST_MS);
	arm(sched);
	drain_check(sched);
}

void duty_within(struct sched_duty *duty, int64_t in_ms)
{
	duty->asked_in_ms = least(duty->asked_in_ms, in_ms);
	duty->next_mono_ms = least(duty->next_mono_ms, clock_mono_ms() + in_ms);
	arm(duty->sched);
}

void duties_hint(struct sched *sched)
{
	list_for_each (node, &sched->duties) {
		struct sched_duty *duty = list_entry(node, struct sched_duty, node);

		if (duty->minds_actions)
			duty_within(duty, HINT_MS);
	}
}

/* Who can be told of a change need not ask. */
int64_t duty_rest_ms(const struct sched *sched)
{
	int64_t poll_ms = sched_poll_ms(sched);

	return poll_ms < sched->opts.poll_ms ? poll_ms : RARE_MS;
}

/* After a pause or its end. */
void duty_turn(struct sched *sched)
{
	arm(sched);
}
