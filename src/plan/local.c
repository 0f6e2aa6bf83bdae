/* SPDX-License-Identifier: Apache-2.0
 *
 * Cron expressions and recurrence rules on a wall clock that jumps. The zone's time is a chain of
 * spans of one offset each; within a span the clock runs evenly and cron.c or rrule.c does the
 * search, so that every rule about gaps and overlaps is a statement about the edge between two
 * spans:
 *
 *     gap      the offset grows: local times [edge + before, edge + after) never show. What matches
 *              there is due at the edge, once, or not at all.
 *     overlap  the offset shrinks: local times [edge + after, edge + before) show twice. One of the
 *              two spans leaves its share out, or neither does.
 *
 * What is interval-like (local->is_interval_like) knows neither: it is due whenever the clock shows
 * a match. The rules and what Debian's cron does are in doc/design/time.md. No zone has two edges
 * nearer than six days, so the sides of an edge are all there is to look at; test_zone.c watches
 * that. */
#include "plan/plan_priv.h"

#define NOTE_MOVED  "moved out of DST gap"
#define NOTE_SECOND "second pass"

/* How far apart two offsets can be, and more: an instant `skip` before a local time's nominal one
 * is certainly not after it. */
#define OFFSETS_APART_S (2 * INT64_C(86400))

/* Local times a span may be asked for: [from_s, limit_s). */
struct window {
	int64_t from_s;
	int64_t limit_s;
};

/* The first local time at or after from_s, and how many there are, as if the clock never jumped. */
static bool next_shown(
	const struct local_times *local, int64_t from_s, int64_t limit_s, int64_t *ret_local_s)
{
	return local->rrule ? rrule_next(local->rrule, from_s, limit_s, ret_local_s)
			    : cron_next(&local->cron, from_s, limit_s, ret_local_s);
}

static int64_t count_shown(const struct local_times *local, int64_t from_s, int64_t limit_s)
{
	return local->rrule ? rrule_count(local->rrule, from_s, limit_s)
			    : cron_count(&local->cron, from_s, limit_s);
}

/* What of [at_s, limit_at_s) lies within the span, less the pass of an overlap that does not count.
 */
static struct window window_of(const struct local_times *local, const struct zone_span *span,
	int64_t at_s, int64_t limit_at_s)
{
	int64_t end_at_s = span->end_at_s < limit_at_s ? span->end_at_s : limit_at_s;
	struct window window = {at_s + span->offset_s, end_at_s + span->offset_s};

	/* Nor may the local year have five digits: nobody could write it. */
	window.limit_s = window.limit_s < DUE_MAX_S + 1 ? window.limit_s : DUE_MAX_S + 1;
	if (local->is_interval_like)
		return window;
	if (local->dst_overlap == DST_OVERLAP_FIRST && span->before_s > span->offset_s) {
		int64_t fresh_s = span->start_at_s + span->before_s;

		window.from_s = window.from_s > fresh_s ? window.from_s : fresh_s;
	}
	if (local->dst_overlap == DST_OVERLAP_LAST && span->after_s < span->offset_s) {
		int64_t repeated_s = span->end_at_s + span->after_s;

		window.limit_s = window.limit_s < repeated_s ? window.limit_s : repeated_s;
	}
	return window;
}

/* Did the clock jump over a fixed time at the start of this span, which is then due at the start?
 */
static bool is_due_after_gap(const struct local_times *local, const struct zone_span *span)
{
	int64_t missed_local_s = 0;

	if (span->offset_s <= span->before_s || local->is_interval_like ||
		local->dst_gap != DST_GAP_RUN_AFTER)
		return false;
	return next_shown(local, span->start_at_s + span->before_s,
		span->start_at_s + span->offset_s, &missed_local_s);
}

/* Is it due at the start of the span by the clock itself? Then nothing has to be moved there. */
static bool is_due_at_start(const struct local_times *local, const struct zone_span *span)
{
	int64_t first_local_s = span->start_at_s + span->offset_s;
	int64_t match_local_s = 0;

	return next_shown(local, first_local_s, first_local_s + 1, &match_local_s);
}

/* Where to go on when the next match, `match_local_s`, lies behind the span: at its end, or, when
 * no local time before the match can show again, just before the match, however many years that is.
 */
static int64_t next_start(
	const struct local_times *local, const struct zone_span *span, int64_t match_local_s)
{
	int64_t near_at_s = match_local_s - span->offset_s - OFFSETS_APART_S;
	bool is_fixed_first = !local->is_interval_like && local->dst_overlap == DST_OVERLAP_FIRST;

	if (span->after_s < span->offset_s && !is_fixed_first)
		return span->end_at_s;
	return near_at_s > span->end_at_s ? near_at_s : span->end_at_s;
}

bool local_next(const struct local_times *local, int64_t from_at_s, struct due *ret_due)
{
	int64_t limit_at_s =
		from_at_s > DUE_MAX_S - HORIZON_S ? DUE_MAX_S + 1 : from_at_s + HORIZON_S;
	int64_t limit_local_s = limit_at_s + OFFSETS_APART_S;
	int64_t at_s = from_at_s;

	while (at_s < limit_at_s) {
		struct zone_span span = zone_find(local->zone, at_s);
		struct window window = window_of(local, &span, at_s, limit_at_s);
		int64_t match_s = 0;

		if (at_s == span.start_at_s && is_due_after_gap(local, &span)) {
			*ret_due = (struct due){at_s * 1000, span.offset_s,
				is_due_at_start(local, &span) ? NULL : NOTE_MOVED};
			return true;
		}
		if (!next_shown(local, window.from_s, limit_local_s, &match_s))
			return false;
		if (match_s < window.limit_s) {
			bool is_second = span.before_s > span.offset_s &&
					 match_s < span.start_at_s + span.before_s;

			*ret_due = (struct due){(match_s - span.offset_s) * 1000, span.offset_s,
				is_second ? NOTE_SECOND : NULL};
			return true;
		}
		if (span.end_at_s >= limit_at_s)
			return false;
		at_s = next_start(local, &span, match_s);
	}
	return false;
}

int64_t local_count(const struct local_times *local, int64_t from_at_s, int64_t to_at_s)
{
	int64_t at_s = from_at_s;
	int64_t count = 0;

	while (at_s <= to_at_s) {
		struct zone_span span = zone_find(local->zone, at_s);
		struct window window = window_of(local, &span, at_s, to_at_s + 1);

		if (at_s == span.start_at_s && is_due_after_gap(local, &span) &&
			!is_due_at_start(local, &span))
			count++;
		count += count_shown(local, window.from_s, window.limit_s);
		at_s = span.end_at_s;
	}
	return count;
}
