/* SPDX-License-Identifier: Apache-2.0
 *
 * Intervals: due at anchor + n * every for every whole n, so that neither a restart nor a deploy
 * moves them. No zone plays a part. */
#include "plan/plan_priv.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

int interval_parse(const char *member, const char *text, int64_t *ret_every_ms, struct err *err)
{
	char shown[EXCERPT_SIZE], field[16];
	int64_t every_ms;

	(void)excerpt(text, strlen(text), shown);
	(void)snprintf(field, sizeof(field), "/%s", member);
	if (!parse_duration(text, &every_ms))
		return err_field(err, ERR_INVALID, field,
			"interval '%s' is not a duration such as 90s or 1h30m", shown);
	if (every_ms < EVERY_MIN_MS)
		return err_field(err, ERR_INVALID, field, "interval '%s' is below %dms", shown,
			EVERY_MIN_MS);
	if (every_ms > EVERY_MAX_MS)
		return err_field(err, ERR_INVALID, field, "interval '%s' is above 36525d", shown);
	*ret_every_ms = every_ms;
	return ERR_NONE;
}

int every_parse(const char *every, const char *anchor, struct every *ret_every, struct err *err)
{
	struct every parsed = {0};
	char shown[EXCERPT_SIZE];
	int code = interval_parse("every", every, &parsed.every_ms, err);

	if (code != ERR_NONE)
		return code;
	if (anchor && !parse_rfc3339(anchor, &parsed.anchor_at_ms))
		return err_field(err, ERR_INVALID, "/anchor",
			"anchor '%s' is not a time with an offset such as 2026-11-22T01:30:00Z",
			excerpt(anchor, strlen(anchor), shown));
	*ret_every = parsed;
	return ERR_NONE;
}

/* How many due times lie at or before at_ms, counted from the anchor (which is number 0): the
 * number of the newest of them. Both times lie within 1970 to 9999, so that nothing overflows. */
static int64_t number_at(const struct every *every, int64_t at_ms)
{
	return floor_div(at_ms - every->anchor_at_ms, every->every_ms);
}

bool every_next(const struct every *every, int64_t from_at_ms, int64_t *ret_at_ms)
{
	int64_t number = number_at(every, from_at_ms - 1) + 1;
	int64_t at_ms = every->anchor_at_ms + number * every->every_ms;

	if (at_ms > DUE_MAX_MS)
		return false;
	*ret_at_ms = at_ms;
	return true;
}

int64_t every_count(const struct every *every, int64_t from_at_ms, int64_t to_at_ms)
{
	return number_at(every, to_at_ms) - number_at(every, from_at_ms - 1);
}
