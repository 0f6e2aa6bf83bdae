/* SPDX-License-Identifier: Apache-2.0
 *
 * What follows an attempt. A failure is an answer, and the retry policy rules; an interruption is
 * no answer, and on_interrupt rules: the user alone knows whether the work may be done twice. An
 * action that is interrupted again and again may be what kills its owners, so the patience is
 * bounded. */
#include "base/prove.h"
#include "model/model_priv.h"

static int64_t times(int64_t delay_ms, int64_t factor, int64_t max_ms)
{
	int64_t product;

	if (__builtin_mul_overflow(delay_ms, factor, &product) || product > max_ms)
		return max_ms;
	return product;
}

/* Before the jitter, after `failures` failed attempts (at least 1). */
static int64_t backoff_ms(const struct retry_policy *retry, int failures)
{
	int64_t delay_ms = times(retry->initial_ms, 1, retry->max_ms);

	switch (retry->backoff) {
	case BACKOFF_FIXED:
		return delay_ms;
	case BACKOFF_LINEAR:
		return times(delay_ms, failures, retry->max_ms);
	case BACKOFF_EXPONENTIAL:
		for (int i = 1; i < failures && delay_ms > 0 && delay_ms < retry->max_ms; i++)
			delay_ms = times(delay_ms, 2, retry->max_ms);
		return delay_ms;
	}
	return delay_ms;
}

/* Taken off, not added: `max` stays the most there is. */
static int64_t with_jitter(int64_t delay_ms, double jitter, uint32_t random)
{
	double share = (double)delay_ms * jitter;

	return delay_ms - (int64_t)(share * (double)random / 4294967296.0);
}

static int64_t retry_delay_ms(const struct run *run, const struct retry_policy *retry,
	const struct attempt_result *result, uint32_t random)
{
	int failures = run->attempt > 1 ? run->attempt : 1;
	int64_t delay_ms = with_jitter(backoff_ms(retry, failures), retry->jitter, random);

	if (delay_ms < result->retry_after_ms)
		delay_ms = result->retry_after_ms;
	return delay_ms < RETRY_DELAY_MAX_MS ? delay_ms : RETRY_DELAY_MAX_MS;
}

/* --- which failures are tried again --- */

static enum retry_cause cause_of(const struct attempt_result *result)
{
	if (result->outcome == ATTEMPT_TIMED_OUT)
		return RETRY_CAUSE_TIMEOUT;
	if (result->is_unanswered)
		return RETRY_CAUSE_CONNECTION;
	if (result->exit_code >= 0)
		return RETRY_CAUSE_EXIT;
	return result->http_status != 0 ? RETRY_CAUSE_STATUS : RETRY_CAUSE_OTHER;
}

static bool rule_fits(
	const struct retry_rule *rule, enum retry_cause cause, const struct attempt_result *result)
{
	int number = cause == RETRY_CAUSE_EXIT ? result->exit_code : result->http_status;

	if (rule->cause != cause)
		return false;
	if (cause != RETRY_CAUSE_EXIT && cause != RETRY_CAUSE_STATUS)
		return true;
	return number >= rule->range.min && number <= rule->range.max;
}

/* The rules are about failures; an interruption is none, whatever it is counted as. */
static bool may_retry(const struct retry_policy *retry, const struct attempt_result *result)
{
	enum retry_cause cause = cause_of(result);

	for (size_t i = 0; i < retry->on_count; i++)
		if (rule_fits(&retry->on[i], cause, result))
			return true;
	return retry->on_count == 0 || result->outcome == ATTEMPT_INTERRUPTED;
}

static struct run_follow_up ended(enum run_state state, enum run_reason reason)
{
	return (struct run_follow_up){.state = state, .reason = reason, .counts = true};
}

static struct run_follow_up after_failure(const struct run *run, const struct action *action,
	const struct attempt_result *result, struct run_follow_up last, uint32_t random)
{
	if (run->attempt >= action->retry.max_attempts || !may_retry(&action->retry, result))
		return last;
	if (run->cancel_requested)
		return ended(RUN_CANCELLED, REASON_USER);
	return (struct run_follow_up){
		.state = RUN_PENDING,
		.reason = REASON_RETRY,
		.delay_ms = retry_delay_ms(run, &action->retry, result, random),
		.counts = true,
	};
}

static struct run_follow_up after_interruption(const struct run *run, const struct action *action,
	const struct attempt_result *result, enum run_reason reason, uint32_t random)
{
	enum run_reason cause = reason == REASON_OWNER_LOST ? REASON_OWNER_LOST : REASON_SHUTDOWN;
	bool is_unbegun = reason == REASON_HANDED_BACK && result->started_at_ms == NO_TIME;
	struct run_follow_up again = {
		.state = RUN_PENDING, .reason = reason, .counts = RULE_IS_OFF(HAND_BACK_IS_FREE)};
	struct run_follow_up held = {.state = RUN_HELD, .reason = cause};

	if (run->cancel_requested)
		return ended(RUN_CANCELLED, REASON_USER);
	if (is_unbegun)
		return again;
	switch (action->on_interrupt) {
	case ON_INTERRUPT_RETRY:
		if (run->interruptions < INTERRUPTIONS_MAX || RULE_IS_OFF(INTERRUPTIONS_BOUNDED))
			return again;
		return after_failure(run, action, result, ended(RUN_FAILED, cause), random);
	case ON_INTERRUPT_HOLD:
		return held;
	case ON_INTERRUPT_FAIL:
		break;
	}
	return ended(RUN_FAILED, cause);
}

struct run_follow_up run_follow_up(const struct run *run, const struct action *action,
	const struct attempt_result *result, enum run_reason reason_if_interrupted, uint32_t random)
{
	switch (result->outcome) {
	case ATTEMPT_SUCCEEDED:
		return ended(RUN_SUCCEEDED, REASON_NONE);
	case ATTEMPT_FAILED:
		return after_failure(run, action, result, ended(RUN_FAILED, REASON_NONE), random);
	case ATTEMPT_TIMED_OUT:
		return after_failure(
			run, action, result, ended(RUN_TIMED_OUT, REASON_NONE), random);
	case ATTEMPT_CANCELLED:
		return ended(RUN_CANCELLED,
			run->reason == REASON_OVERLAP ? REASON_OVERLAP : REASON_USER);
	case ATTEMPT_INTERRUPTED:
		break;
	}
	return after_interruption(run, action, result, reason_if_interrupted, random);
}
