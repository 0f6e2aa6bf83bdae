/* SPDX-License-Identifier: Apache-2.0
 *
 * lease: where several instances share the store, each says regularly that it lives and which runs
 * it works on; that is good for one lease. One that cannot say so ends its own work before the
 * lease is over, because the others take its runs over then: no run has two live owners. And each
 * looks whether somebody else has gone silent, and recovers what that one ran.
 *
 * A lease counts from the moment the heartbeat, or the claim, was *sent*: the database has read its
 * clock later. What a heartbeat does not name it does not extend; ours is the oldest lease of all.
 * And by a clock that goes on while this machine sleeps, for the others' do. Programs are ended
 * even when this process stands still: the executor's keeper knows how long the lease is good for.
 * Between the end of our work and the next heartbeat that comes through, nothing is started. */
#include "sched/sched_priv.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/prove.h"

/* So long before the lease ends, attempts get TERM; KILL follows after the executor's grace. */
#define FENCE_MARGIN_MS 5000
#define BEAT_AGAIN_MS   500
#define EXPOSED_BEAT_MS 300  /* several within the grace that the others give us */
#define LEASE_END_MS    50   /* after a lease has ended we look */
#define BACK_GRACE_MS   2000 /* who was away itself accuses nobody: others have been, too */
#define SILENT_LEASES   2 /* who has no work is gone after so many; the heartbeat counts with it */

bool lease_is_held(const struct sched *sched)
{
	return !store_is_shared(sched->opts.store) || clock_boot_ms() < sched->fence_boot_ms;
}

static void on_fence(uv_timer_t *timer)
{
	struct sched *sched = timer->data;
	size_t ended;

	if (RULE_IS_OFF(FENCED) || sched->attempt_count == 0)
		return;
	ended = exec_end_all(sched->opts.exec, ATTEMPT_INTERRUPTED);
	log_error("the lease cannot be extended: our runs are ended before others take them over",
		kv_i64("runs", (int64_t)ended));
}

/* --- the runs of those who are gone --- */

static void recover(struct sched *sched);

static void reap_end(struct sched *sched)
{
	sched->is_reaping = false;
	if (sched->recover_wanted && !sched->is_destroyed)
		recover(sched);
	drain_check(sched);
}

static void on_orphans_recovered(struct store_req *req)
{
	struct sched *sched = req->data;

	if (req->err.code == 0 && sched->orphans.ret_count > 0) {
		metrics.runs_recovered += (int64_t)sched->orphans.ret_count;
		log_info("recovered runs of an instance that is gone",
			kv_i64("runs", (int64_t)sched->orphans.ret_count));
	}
	if (req->err.code != 0 || sched->orphans.ret_count > 0) { /* it may have come through */
		sched->has_pending = true;
		sched->look_wanted = true; /* one that is over may be what a due time counts from */
		take_want(sched);
		sched_turn(sched);
	}
	reap_end(sched);
}

static void recover(struct sched *sched)
{
	sched->is_reaping = true;
	sched->recover_wanted = false;
	sched->orphans = (struct store_recover){.req.data = sched};
	store_recover(sched->opts.store, &sched->orphans, on_orphans_recovered);
}

/* A retry that only the dead one knew of may wait, so there is a look too. */
void lease_recover(struct sched *sched)
{
	if (sched->is_destroyed) /* a draining one recovers, too: for the others to start */
		return;
	sched->look_wanted = sched->recover_wanted = true;
	if (!sched->is_reaping)
		recover(sched);
	sched_turn(sched);
}

static void on_reaped(struct store_req *req)
{
	struct sched *sched = req->data;

	for (size_t i = 0; i < sched->reap.ret_dead_count; i++)
		log_warn("an instance is gone", kv_id("instance", &sched->reap.ret_dead[i]));
	sched->recover_wanted |= sched->reap.ret_dead_count > 0;
	store_reap_fini(&sched->reap);
	reap_end(sched);
}

/* When the database was away, or is another one now whose clock is ahead, all leases look old until
 * their owners have been heard again. */
static bool may_accuse(struct sched *sched)
{
	int64_t now = clock_boot_ms();

	if ((sched->has_missed || sched->is_exposed) && !RULE_IS_OFF(BACK_GRACE))
		sched->accuse_boot_ms = now + BACK_GRACE_MS;
	sched->has_missed = false;
	return now >= sched->accuse_boot_ms;
}

/* As the heartbeat says there is somebody, or something. */
static void look_for_the_dead(struct sched *sched, const struct store_heartbeat *beat)
{
	if (!may_accuse(sched) || sched->is_reaping || sched->is_paused || sched->is_destroyed)
		return;
	if (beat->ret_silent > 0) {
		sched->is_reaping = true;
		sched->recover_wanted = beat->ret_orphans > 0;
		sched->reap = (struct store_reap){
			.req.data = sched, .dead_ms = SILENT_LEASES * sched->opts.lease_ms};
		store_reap(sched->opts.store, &sched->reap, on_reaped);
	} else if (beat->ret_orphans > 0) {
		recover(sched);
	}
}

/* --- our own --- */

/* What was named in the heartbeat that has come through is leased since that was sent, or since
 * earlier when it could not extend all; what was claimed meanwhile was not in it. Returns since
 * when the oldest lease of ours runs. */
static int64_t note_extended(struct sched *sched, const struct store_heartbeat *beat)
{
	int64_t missing = beat->ret_now_ms + sched->opts.lease_ms - beat->ret_lease_until_ms;
	int64_t named = sched->beat_sent_boot_ms - missing, oldest = named;

	list_for_each (node, &sched->attempts) {
		struct attempt *attempt = list_entry(node, struct attempt, node);

		if (attempt->is_named)
			attempt->leased_boot_ms = named;
		else if (attempt->leased_boot_ms < oldest)
			oldest = attempt->leased_boot_ms;
	}
	return oldest;
}

static void extend(struct sched *sched, int64_t since_boot_ms)
{
	int64_t until = since_boot_ms + sched->opts.lease_ms;
	int64_t left;

	sched->fence_boot_ms = until - FENCE_MARGIN_MS;
	left = sched->fence_boot_ms - clock_boot_ms();
	uv_timer_start(&sched->fence, on_fence, left > 0 ? (uint64_t)left : 0, 0);
	exec_extend_lease(sched->opts.exec, until);
}

/* No run is ours yet: what is claimed from now on is leased for as long, whether or not a heartbeat
 * comes through. */
void lease_start(struct sched *sched)
{
	if (!store_is_shared(sched->opts.store))
		return;
	extend(sched, clock_boot_ms());
	lease_beat(&sched->heartbeat);
}

/* Once for each; in a row that had to be made anew nobody has wished anything yet. */
static void note_wish(struct sched *sched, const struct store_heartbeat *beat)
{
	bool is_new = beat->ret_wish > sched->wish && !beat->ret_was_gone;

	sched->wish = beat->ret_wish;
	if (is_new && sched->opts.on_wish)
		sched->opts.on_wish(beat->ret_wish % 2 == 1, sched->opts.data);
}

/* --- when the next one is due --- */

static void set_beat_timer(struct sched *sched)
{
	int64_t in_ms = sched->beat_due_boot_ms - clock_boot_ms();

	if (!sched->is_beating && !sched->is_destroyed)
		uv_timer_start(&sched->heartbeat, lease_beat, in_ms > 0 ? (uint64_t)in_ms : 0, 0);
}

/* The earliest wish counts, also of those that come while one is under way. */
static void arm_beat(struct sched *sched, int64_t due_boot_ms)
{
	if (due_boot_ms >= sched->beat_due_boot_ms)
		return;
	sched->beat_due_boot_ms = due_boot_ms;
	set_beat_timer(sched);
}

/* An instance without work has nothing to extend, and others see its end in its session. */
static int64_t beat_every_ms(const struct sched *sched)
{
	int64_t busy_ms = sched->opts.heartbeat_ms, idle_ms = sched->opts.lease_ms * 2 / 3;
	int64_t fence_ms = sched->opts.lease_ms - FENCE_MARGIN_MS - 2 * BEAT_AGAIN_MS;

	if (idle_ms > fence_ms)
		idle_ms = fence_ms; /* what is claimed then can start */

	if (sched->is_exposed)
		return busy_ms < EXPOSED_BEAT_MS ? busy_ms : EXPOSED_BEAT_MS;
	if (!sched->is_listening || sched->attempt_count > 0 || idle_ms < busy_ms)
		return busy_ms;
	return idle_ms;
}

/* Not later than the first lease of others ends: if it does, there is something to recover. */
static int64_t next_beat_ms(const struct sched *sched, const struct store_heartbeat *beat)
{
	int64_t in_ms = beat_every_ms(sched), left;

	if (beat->ret_lease_end_ms == NO_TIME)
		return in_ms;
	left = beat->ret_lease_end_ms - beat->ret_now_ms + LEASE_END_MS;
	if (left < BEAT_AGAIN_MS)
		left = BEAT_AGAIN_MS;
	return left < in_ms ? left : in_ms;
}

/* Only work that is alone moves the fence forward. What an old answer brings moves it back, but not
 * so far that other work would end: then it does not start. */
bool lease_begins(struct sched *sched, struct attempt *attempt)
{
	int64_t since = sched->asked_boot_ms;
	int64_t fence = since + sched->opts.lease_ms - FENCE_MARGIN_MS;
	int64_t beat = since < sched->beat_sent_boot_ms ? since : sched->beat_sent_boot_ms;

	attempt->leased_boot_ms = INT64_MAX;
	if (!store_is_shared(sched->opts.store))
		return true;
	if (fence <= clock_boot_ms() && !RULE_IS_OFF(LATE_CLAIMS_MINDED))
		return false;
	attempt->leased_boot_ms = since;
	if ((fence < sched->fence_boot_ms && !RULE_IS_OFF(LATE_CLAIMS_MINDED)) ||
		(fence > sched->fence_boot_ms && sched->attempt_count == 1))
		extend(sched, since);
	arm_beat(sched, beat + beat_every_ms(sched));
	return lease_is_held(sched);
}

void lease_beat_soon(struct sched *sched)
{
	if (store_is_shared(sched->opts.store))
		arm_beat(sched, clock_boot_ms());
}

void lease_exposed(struct sched *sched, bool is_exposed)
{
	bool is_new = is_exposed && !sched->is_exposed;

	sched->is_exposed = is_exposed;
	if (is_new)
		arm_beat(sched, clock_boot_ms());
}

/* --- heartbeats --- */

static void renew(struct sched *sched, const struct store_heartbeat *beat)
{
	int64_t since = note_extended(sched, beat);
	int64_t again = clock_boot_ms() + BEAT_AGAIN_MS, due = since + beat_every_ms(sched);

	extend(sched, since);
	arm_beat(sched, sched->beat_sent_boot_ms + next_beat_ms(sched, beat));
	arm_beat(sched, due > again ? due : again);
	for (size_t i = 0; i < beat->ret_lost_count; i++) {
		/* one that has ended meanwhile is in the ledger, only its answer is not here yet */
		if (exec_end(sched->opts.exec, &beat->ret_lost[i], ATTEMPT_INTERRUPTED))
			log_warn("a run of ours was taken over; ending it",
				kv_id("run", &beat->ret_lost[i]));
	}
	for (size_t i = 0; i < beat->ret_cancel_count && !RULE_IS_OFF(CHANGES_HEARD); i++)
		sched_cancel_run(sched, &beat->ret_cancel[i]);
	for (size_t i = 0; i < beat->ret_pause_count; i++)
		sched_pause_run(sched, &beat->ret_pause[i]);
	note_wish(sched, beat);
	if (beat->ret_was_gone)
		boot_was_gone(sched->boot);
	look_for_the_dead(sched, beat);
}

static void on_beat(struct store_req *req)
{
	struct store_heartbeat *beat = container_of(req, struct store_heartbeat, req);
	struct sched *sched = req->data;
	bool is_ok = req->err.code == 0;

	sched->is_beating = false;
	free(take_ptr(sched->leases));
	if (is_ok) {
		renew(sched, beat);
	} else {
		log_warn("a heartbeat failed; trying again", kv_str("error", req->err.text));
		sched->has_missed = true;
		arm_beat(sched, clock_boot_ms() + BEAT_AGAIN_MS);
	}
	set_beat_timer(sched);
	store_heartbeat_fini(beat);
	sched_turn(sched);
	drain_check(sched);
}

/* Of all attempts: also one that has ended keeps its run until its result is recorded. */
static void list_leases(struct sched *sched)
{
	size_t count = 0;

	sched->leases = xcalloc(sched->attempt_count + 1, sizeof(*sched->leases));
	list_for_each (node, &sched->attempts) {
		struct attempt *attempt = list_entry(node, struct attempt, node);

		attempt->is_named = true;
		sched->leases[count++] = (struct store_lease){
			.run_id = attempt->run.id, .epoch = attempt->run.epoch};
	}
	sched->beat.leases = sched->leases;
	sched->beat.count = count;
}

void lease_beat(uv_timer_t *timer)
{
	struct sched *sched = timer->data;

	sched->is_beating = true;
	sched->beat_due_boot_ms = INT64_MAX;
	sched->beat_sent_boot_ms = clock_boot_ms();
	sched->beat = (struct store_heartbeat){
		.req.data = sched, .state = sched->is_paused ? INSTANCE_DRAINING : INSTANCE_READY};
	list_leases(sched);
	store_heartbeat(sched->opts.store, &sched->beat, on_beat);
}
