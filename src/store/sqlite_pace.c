/* SPDX-License-Identifier: Apache-2.0
 *
 * Schedules whose next due time depends on their runs: every_after counts from the end of one,
 * max_runs ends with the last. A row of its own for the few actions that have such a schedule; the
 * claim asks only for those, which the definition tells. */
#include "store/sqlite_priv.h"

static bool has_pace(const struct action *action, struct schedule_pace *ret_pace)
{
	return action->schedule && schedule_pace(action->schedule, ret_pace);
}

int pace_write(struct conn *conn, const struct id *id, const struct action *action, struct err *err)
{
	struct schedule_pace pace;
	struct statement st;

	if (run_by_id(conn, QUERY_PACE_DELETE, id, err) < 0)
		return err->code;
	if (!has_pace(action, &pace))
		return 0;
	st = statement_start(conn, QUERY_PACE_PUT);
	put_id(&st, id);
	put_time(&st, pace.every_after_ms > 0 ? pace.every_after_ms : NO_TIME);
	put_time(&st, pace.end_at_ms);
	put_time(&st, pace.max_runs > 0 ? pace.max_runs : NO_TIME);
	return statement_run(&st, err);
}

/* 1: there is a row; NO_TIME in *ret_left where nothing limits the runs. */
static int load_pace(struct conn *conn, const struct id *id, struct schedule_pace *ret_pace,
	int64_t *ret_left, struct err *err)
{
	struct statement st = statement_start(conn, QUERY_PACE_GET);
	int status;

	put_id(&st, id);
	status = statement_step(&st, err);
	if (status > 0) {
		int64_t every_after_ms = read_time(&st);

		ret_pace->every_after_ms = every_after_ms == NO_TIME ? 0 : every_after_ms;
		ret_pace->end_at_ms = read_time(&st);
		*ret_left = read_time(&st);
	}
	statement_end(&st);
	return status;
}

int pace_left(struct conn *conn, const struct action *action, int64_t *ret_left, struct err *err)
{
	struct schedule_pace pace;
	int64_t left = NO_TIME;

	if (has_pace(action, &pace) && load_pace(conn, &action->id, &pace, &left, err) < 0)
		return err->code;
	*ret_left = left == NO_TIME ? INT64_MAX : left;
	return 0;
}

static int set_number(struct conn *conn, enum query query, const struct id *action_id,
	int64_t number, struct err *err)
{
	struct statement st = statement_start(conn, query);

	put_id(&st, action_id);
	put_time(&st, number);
	return statement_run(&st, err);
}

int pace_claimed(struct conn *conn, const struct action *action, int64_t made, int64_t now_ms,
	struct err *err)
{
	struct schedule_pace pace;
	const struct id *id = &action->id;
	int64_t left = NO_TIME;
	int status = has_pace(action, &pace) ? load_pace(conn, id, &pace, &left, err) : 0;

	if (status <= 0)
		return status;
	if (left != NO_TIME && set_number(conn, QUERY_PACE_SPEND, id, made, err) < 0)
		return err->code;
	if (left != NO_TIME && left <= made)
		return set_number(conn, QUERY_CURSOR_MOVE, id, NO_TIME, err);
	if (pace.every_after_ms > 0 && made == 0)
		return set_number(conn, QUERY_CURSOR_MOVE, id, pace_next(&pace, now_ms), err);
	return 0;
}

int pace_ended(struct conn *conn, const struct id *action_id, int64_t now_ms, bool *ret_has_moved,
	struct err *err)
{
	struct schedule_pace pace;
	int64_t left;
	int status = load_pace(conn, action_id, &pace, &left, err);

	if (status <= 0 || pace.every_after_ms == 0)
		return status < 0 ? status : 0;
	if (ret_has_moved)
		*ret_has_moved = true;
	return set_number(conn, QUERY_PACE_CURSOR, action_id, pace_next(&pace, now_ms), err);
}
