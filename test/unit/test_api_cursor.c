/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the cursor stands after a person changed an action (SCHEDULES.md "Changing an action"). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/cursor_priv.h"
#include "base/mem.h"
#include "base/text.h"

#define NOW "2026-11-22T12:00:30Z"

static int64_t ms(const char *text)
{
	int64_t at_ms;

	assert_true(parse_rfc3339(text, &at_ms));
	return at_ms;
}

/* An action with these members beside name, kind and target. */
static struct action *action_of(const char *members)
{
	auto_free char *text = xasprintf("{\"name\": \"a\", \"kind\": \"http\", \"http\": "
					 "{\"url\": \"http://127.0.0.1/\"}%s%s}",
		*members ? ", " : "", members);
	struct faults faults = {.count = 0};
	struct err err = {0};
	struct action *action = NULL;
	json_t *json = NULL;

	assert_int_equal(json_from_text(text, strlen(text), &json, &err), 0);
	if (action_from_json(json, NULL, &action, &faults) < 0)
		fail_msg("%s %s", faults.item[0].pointer, faults.item[0].detail);
	json_decref(json);
	return action;
}

static void test_cursor_for_create_is_the_next_due_time(void **state)
{
	struct action *cron = action_of("\"schedule\": {\"cron\": \"*/5 * * * *\"}");
	struct action *manual = action_of("");
	struct action *once = action_of("\"schedule\": {\"at\": \"2026-11-22T12:00:31Z\"}");
	int64_t due = 0;

	assert_int_equal(cursor_for_create(cron, ms(NOW), &due, NULL), 0);
	assert_true(due == ms("2026-11-22T12:05:00Z"));
	assert_int_equal(cursor_for_create(manual, ms(NOW), &due, NULL), 0);
	assert_true(due == NO_TIME);
	assert_int_equal(cursor_for_create(once, ms(NOW), &due, NULL), 0);
	assert_true(due == ms("2026-11-22T12:00:31Z"));
	action_unref(cron);
	action_unref(manual);
	action_unref(once);
}

static void test_cursor_for_create_when_moment_has_passed(void **state)
{
	static const struct {
		const char *members;
		bool is_taken;
	} rows[] = {
		{"\"schedule\": {\"at\": \"2026-11-22T11:59:31Z\"}, \"misfire\": \"skip\"", true},
		{"\"schedule\": {\"at\": \"2026-11-22T11:59:29Z\"}, \"misfire\": \"skip\"", false},
		{"\"schedule\": {\"at\": \"2026-11-22T11:59:29Z\"}", true},
		{"\"schedule\": {\"at\": \"2026-11-21T12:00:30Z\"}", true},
		{"\"schedule\": {\"at\": \"2026-11-21T12:00:29Z\"}", false},
		{"\"schedule\": {\"at\": \"2026-11-21T12:00:29Z\"}, \"max_lateness\": \"2d\"",
			true},
		{"\"schedule\": {\"at\": \"1970-01-01T00:00:00Z\"}", false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct action *action = action_of(rows[i].members);
		struct err err = {0};
		int64_t due = 0;
		int code = cursor_for_create(action, ms(NOW), &due, &err);

		assert_int_equal(code, rows[i].is_taken ? 0 : ERR_INVALID);
		if (rows[i].is_taken)
			assert_true(due == schedule_next(action->schedule, -1));
		else
			assert_string_equal(err.field, "/schedule/at");
		action_unref(action);
	}
}

#define FIVE "\"schedule\": {\"cron\": \"*/5 * * * *\"}"
#define TEN  "\"schedule\": {\"cron\": \"*/10 * * * *\"}"
#define PAST "\"schedule\": {\"at\": \"2026-11-01T00:00:00Z\"}"

static void test_cursor_for_replace(void **state)
{
	static const struct {
		const char *old;
		bool is_paused;
		const char *old_due; /* NULL: none */
		const char *new;
		const char *due;
	} rows[] = {
		/* unchanged: also what is overdue stays, so nothing is lost by an edit */
		{FIVE, false, "2026-11-22T11:55:00Z", FIVE ", \"priority\": 3",
			"2026-11-22T11:55:00Z"},
		{FIVE, false, "2026-11-22T11:55:00Z", TEN, "2026-11-22T12:10:00Z"},
		{FIVE, false, "2026-11-22T11:55:00Z", "", NULL},
		{"", false, NULL, FIVE, "2026-11-22T12:05:00Z"},
		{"", false, NULL, "", NULL},
		/* a moment that is done is not done again */
		{PAST, false, NULL, PAST ", \"priority\": 3", NULL},
		/* paused */
		{FIVE, true, "2026-11-22T12:05:00Z", FIVE, "2026-11-22T12:05:00Z"},
		{FIVE, true, "2026-11-22T12:05:00Z", TEN, "2026-11-22T12:10:00Z"},
		{FIVE, true, "2026-11-22T12:05:00Z", FIVE ", \"pause_records\": false", NULL},
		{FIVE ", \"pause_records\": false", true, NULL, TEN ", \"pause_records\": false",
			NULL},
		{FIVE ", \"pause_records\": false", true, NULL, FIVE, "2026-11-22T12:05:00Z"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct action *definition = action_of(rows[i].old);
		struct action *old = action_with_row(definition, &(struct id){{1}}, 1,
			rows[i].is_paused, rows[i].old_due ? ms(rows[i].old_due) : NO_TIME, 0, 0);
		struct action *action = action_of(rows[i].new);
		int64_t due = 0;

		assert_int_equal(cursor_for_replace(action, old, ms(NOW), &due, NULL), 0);
		assert_true(due == (rows[i].due ? ms(rows[i].due) : NO_TIME));
		action_unref(action);
		action_unref(old);
		action_unref(definition);
	}
}

/* A new name is another schedule when H or jitter is picked by it, and only then. */
static void test_cursor_for_replace_when_renamed(void **state)
{
	static const struct {
		const char *members;
		bool is_moved;
	} rows[] = {
		{FIVE, false},
		{"\"schedule\": {\"cron\": \"H H * * *\"}", true},
		{"\"schedule\": {\"every\": \"1h\", \"jitter\": \"30m\"}", true},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct action *definition = action_of(rows[i].members), *renamed = NULL;
		struct action *old = action_with_row(
			definition, &(struct id){{1}}, 1, false, ms("2026-11-22T11:55:00Z"), 0, 0);
		json_t *patch = json_pack("{s:s}", "name", "b");
		struct faults faults = {.count = 0};
		int64_t due = 0;

		assert_int_equal(action_from_json(patch, old, &renamed, &faults), 0);
		assert_int_equal(cursor_for_replace(renamed, old, ms(NOW), &due, NULL), 0);
		assert_true(due == (rows[i].is_moved ? schedule_next(renamed->schedule, ms(NOW))
						     : old->next_due_ms));
		assert_true(rows[i].is_moved == (schedule_next(renamed->schedule, ms(NOW)) !=
							schedule_next(old->schedule, ms(NOW))));
		json_decref(patch);
		action_unref(renamed);
		action_unref(old);
		action_unref(definition);
	}
}

static void test_cursor_for_replace_when_new_moment_has_passed_then_refused(void **state)
{
	struct action *old = action_of(FIVE);
	struct action *action = action_of(PAST);
	struct err err = {0};
	int64_t due = 7;

	assert_int_equal(cursor_for_replace(action, old, ms(NOW), &due, &err), ERR_INVALID);
	assert_true(due == 7);
	action_unref(old);
	action_unref(action);
}

static void test_cursor_for_pause_and_resume(void **state)
{
	struct action *recording = action_of(FIVE);
	struct action *silent = action_of(FIVE ", \"pause_records\": false");

	recording->next_due_ms = silent->next_due_ms = ms("2026-11-22T12:05:00Z");
	assert_true(cursor_for_pause(recording) == ms("2026-11-22T12:05:00Z"));
	assert_true(cursor_for_pause(silent) == NO_TIME);
	/* an hour later: nothing is replayed */
	assert_true(cursor_for_resume(recording, ms("2026-11-22T13:01:00Z")) ==
		    ms("2026-11-22T13:05:00Z"));
	action_unref(recording);
	action_unref(silent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cursor_for_create_is_the_next_due_time),
		cmocka_unit_test(test_cursor_for_create_when_moment_has_passed),
		cmocka_unit_test(test_cursor_for_replace),
		cmocka_unit_test(test_cursor_for_replace_when_renamed),
		cmocka_unit_test(test_cursor_for_replace_when_new_moment_has_passed_then_refused),
		cmocka_unit_test(test_cursor_for_pause_and_resume),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
