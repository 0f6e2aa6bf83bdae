/* SPDX-License-Identifier: Apache-2.0
 *
 * A story that uses every request of the scheduler and the executor, told once for each of them:
 * the nth is refused, or done while its answer is lost, or answered late. However it went, the
 * ledger must be the same in the end: each due time once, each run ended once, nothing left open;
 * and no program or webhook was begun more often than attempts are on record.
 *
 * A claim or take that came through while nobody knows has left runs that stand in our name. With
 * PostgreSQL their lease ends (lease.c); the stores here have none, and cannot lose an answer
 * unless the process is lost, too. So it is: another instance goes on, and recovers them. */
#include "fault_rig.h"

#define CALLS_MAX 400
#define STORY_MS  (48 * HOUR_MS) /* of the clock; before it lies what is old */
#define T0        (FAULT_EPOCH_MS + STORY_MS)

/* --- what there is to do --- */

static struct action *create(struct rig *rig, const char *name, int64_t due_ms, const char *fmt,
	...) __attribute__((format(printf, 4, 5)));

static struct action *create(
	struct rig *rig, const char *name, int64_t due_ms, const char *fmt, ...)
{
	struct store_create_actions request = {.count = 1};
	struct action *action, *stored;
	struct err err = {0};
	char members[1000];
	auto_free char *text = NULL;
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(members, sizeof(members), fmt, args);
	va_end(args);
	text = xasprintf("{\"name\":\"%s\",%s}", name, members);
	if (action_from_text(text, strlen(text), &action, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	action->next_due_ms = due_ms;
	request.actions = &action;
	if (ask(rig, create_actions, &request) != 0)
		fail_msg("%s", request.req.err.text);
	stored = action_ref(request.ret_actions[0]);
	store_create_actions_fini(&request);
	action_unref(action);
	return stored;
}

#define create_alone(...) action_unref(create(__VA_ARGS__))

static struct id trigger(struct rig *rig, const struct action *action)
{
	struct store_trigger request = {.action_id = action->id};
	struct id id;

	assert_int_equal(ask(rig, trigger, &request), 0);
	id = request.ret_run.id;
	store_trigger_fini(&request);
	return id;
}

/* Two runs that ended long ago, of which the newest stays. */
static void make_old(struct rig *rig)
{
	struct action *old =
		create(rig, "old", NO_TIME, "\"kind\":\"noop\",\"retention\":{\"age\":\"1h\"}");

	for (int i = 0; i < 2; i++) {
		struct store_take take = {.capacity = {[ACTION_NOOP] = 1}};
		struct attempt_result result = {
			.exit_code = -1, .retry_after_ms = -1, .started_at_ms = FAULT_EPOCH_MS};
		struct store_finish finish = {
			.result = &result, .follow_up = {.state = RUN_SUCCEEDED, .counts = true}};

		(void)trigger(rig, old);
		assert_int_equal(ask(rig, take, &take), 0);
		assert_int_equal(take.ret_started_count, 1);
		finish.run = &take.ret_started[0];
		assert_int_equal(ask(rig, finish, &finish), 0);
		store_finish_fini(&finish);
		store_take_fini(&take);
	}
	action_unref(old);
	create_alone(rig, "late", NO_TIME, "\"kind\":\"noop\",\"expect_success_within\":\"1h\"");
	create_alone(rig, "pager", NO_TIME,
		"\"kind\":\"noop\",\"schedule\":{\"on\":\"action.late.late\"}");
}

#define BEGUN "echo $GATHERING_RUN_ID $GATHERING_EPOCH >>%s/begun;"

static void make_due(struct rig *rig)
{
	struct store_put_secret secret = {.name = "token", .sealed = "open sesame", .len = 11};

	assert_int_equal(ask(rig, put_secret, &secret), 0);
	for (int i = 0; i < 3; i++) {
		char name[] = {'d', 'u', 'e', (char)('0' + i), '\0'};

		create_alone(rig, name, T0, "\"kind\":\"noop\",\"schedule\":{\"every\":\"365d\"}");
	}
	create_alone(rig, "missed", T0 - 2 * HOUR_MS,
		"\"kind\":\"noop\",\"misfire\":\"all\",\"overlap\":\"queue\",\"queue_limit\":9,"
		"\"schedule\":{\"every\":\"1h\",\"end_at\":\"2027-01-17T08:30:00Z\"}");
	create_alone(rig, "pace", T0,
		"\"kind\":\"noop\",\"schedule\":{\"every_after\":\"1s\",\"max_runs\":2}");
	create_alone(rig, "retry", T0,
		"\"kind\":\"exec\",\"schedule\":{\"every\":\"365d\"},"
		"\"retry\":{\"max_attempts\":2,\"initial\":\"100ms\"},"
		"\"exec\":{\"shell\":true,\"command\":\"" BEGUN "test $GATHERING_ATTEMPT = 2\"}",
		rig->folder);
	create_alone(rig, "chain", NO_TIME,
		"\"kind\":\"noop\",\"schedule\":{\"on\":\"action.retry.succeeded\"}");
	create_alone(rig, "hook", T0,
		"\"kind\":\"http\",\"schedule\":{\"every\":\"365d\"},\"http\":{\"url\":"
		"\"http://127.0.0.1:%d/status/"
		"200\",\"headers\":{\"X-Token\":\"{{secret.token}}\"}}",
		rig->target.port);
	create_alone(rig, "flaky", T0,
		"\"kind\":\"http\",\"schedule\":{\"every\":\"365d\"},"
		"\"retry\":{\"max_attempts\":2,\"initial\":\"100ms\"},"
		"\"http\":{\"url\":\"http://127.0.0.1:%d/status/503\"}",
		rig->target.port);
	create_alone(rig, "alarm", NO_TIME,
		"\"kind\":\"noop\",\"schedule\":{\"on\":\"action.flaky.failing\"}");
	create_alone(
		rig, "start", NO_TIME, "\"kind\":\"noop\",\"schedule\":{\"run_on_start\":true}");
}

static void make_wanted(struct rig *rig)
{
	struct action *hold = create(rig, "hold", NO_TIME,
		"\"kind\":\"exec\",\"overlap\":\"queue\",\"queue_limit\":9,\"exec\":{\"shell\":"
		"true,\"command\":\"" BEGUN "exec sleep 1000\"}",
		rig->folder);
	struct action *note = create(rig, "note", NO_TIME,
		"\"kind\":\"exec\",\"exec\":{\"shell\":true,\"command\":\"" BEGUN
		"grep -qx half $GATHERING_CHECKPOINT_FILE && exit 0;"
		"echo half >$GATHERING_CHECKPOINT_FILE; exec sleep 1000\"}",
		rig->folder);

	rig->held_run = trigger(rig, hold);
	rig->queued_run = trigger(rig, hold);
	rig->noting_run = trigger(rig, note);
	action_unref(hold);
	action_unref(note);
}

/* Three runs of the past. */
static void make_backfill(struct rig *rig)
{
	struct action *past = create(rig, "past", NO_TIME, "\"kind\":\"noop\"");
	const struct backfill backfill = {.action_id = past->id,
		.action_name = past->name,
		.seed = past->name,
		.schedule = (char *)"{\"every\":\"1h\"}",
		.from_ms = T0 - 9 * HOUR_MS,
		.to_ms = T0 - 6 * HOUR_MS,
		.cursor_ms = T0 - 9 * HOUR_MS,
		.total = 3,
		.interval_ms = 10,
		.max_open = 2};
	struct store_create_backfill request = {.backfill = &backfill};

	assert_int_equal(ask(rig, create_backfill, &request), 0);
	store_create_backfill_fini(&request);
	rig->past = past;
}

static void make_chain(struct rig *rig)
{
	create_alone(rig, "first", T0, "\"kind\":\"noop\",\"schedule\":{\"every\":\"365d\"}");
	create_alone(rig, "second", NO_TIME,
		"\"kind\":\"noop\",\"schedule\":{\"on\":\"action.first.succeeded\"}");
}

/* --- persons --- */

/* Whoever runs it may not know of it yet; with PostgreSQL heartbeats tell again and again. */
static void cancel(struct rig *rig, const struct id *id)
{
	while (is_open(find_run(rig, id))) {
		struct store_cancel_run request = {.id = *id};
		int code = insist(rig, cancel_run, &request);

		assert_true(code == 0 || code == ERR_CONFLICT);
		store_cancel_run_fini(&request);
		sched_cancel_run(rig->sched, id);
		turn(rig);
	}
}

static void change(struct rig *rig, const struct id *id, enum run_change change)
{
	struct store_change_run request = {.id = *id, .change = change};
	int code = insist(rig, change_run, &request);

	assert_true(code == 0 || code == ERR_CONFLICT); /* it has ended meanwhile */
	store_change_run_fini(&request);
}

static void cancel_both(struct rig *rig)
{
	while (!is_in(rig, &rig->held_run, RUN_RUNNING))
		turn(rig);
	cancel(rig, &rig->queued_run);
	cancel(rig, &rig->held_run);
}

static void pause_and_resume(struct rig *rig)
{
	while (find_run(rig, &rig->noting_run)->checkpoint_bytes == 0 &&
		is_open(find_run(rig, &rig->noting_run)))
		turn(rig);
	while (is_in(rig, &rig->noting_run, RUN_PENDING) ||
		is_in(rig, &rig->noting_run, RUN_RUNNING)) {
		change(rig, &rig->noting_run, RUN_PAUSE);
		sched_pause_run(rig->sched, &rig->noting_run);
		turn(rig);
	}
	if (!is_in(rig, &rig->noting_run, RUN_HELD))
		return; /* it was interrupted, and came through with its checkpoint */
	change(rig, &rig->noting_run, RUN_RESUME);
	sched_run_pending(rig->sched);
	turn(rig);
}

/* --- the stories --- */

static void make_all(struct rig *rig)
{
	make_due(rig);
	make_wanted(rig);
	make_backfill(rig);
}

static void act(struct rig *rig)
{
	pause_and_resume(rig);
	cancel_both(rig);
}

struct story {
	void (*make_old)(struct rig *rig); /* two days before */
	void (*make)(struct rig *rig);
	void (*act)(struct rig *rig);
	size_t runs, starts; /* of it, in the end; starts are not among `runs` */
};
static const struct story whole = {make_old, make_all, act, 21, 1},
			  chain = {.make = make_chain, .runs = 2},
			  backfill = {.make = make_backfill, .runs = 3};

/* --- the end --- */

static size_t count_runs(const struct rig *rig, bool (*fits)(const struct run *run))
{
	size_t count = 0;

	for (size_t i = 0; i < rig->ledger.ret_count; i++)
		count += fits(&rig->ledger.ret_runs[i]);
	return count;
}

static bool is_start(const struct run *run)
{
	return run->trigger == TRIGGER_START;
}

static bool is_old(const struct run *run)
{
	return strcmp(run->action_name, "old") == 0;
}

static bool is_program(const struct run *run)
{
	return strcmp(run->action_name, "retry") == 0 || strcmp(run->action_name, "hold") == 0 ||
	       strcmp(run->action_name, "note") == 0;
}

static bool is_hook(const struct run *run)
{
	return strcmp(run->action_name, "hook") == 0 || strcmp(run->action_name, "flaky") == 0;
}

static bool is_told(const struct rig *rig)
{
	size_t starts = count_runs(rig, is_start);

	return count_runs(rig, is_open) == 0 && starts >= rig->story->starts &&
	       count_runs(rig, is_old) <= 1 && rig->ledger.ret_count - starts >= rig->story->runs;
}

static bool has_backfill(struct rig *rig)
{
	struct store_list_backfills list = {.only_running = true, .limit = 1};
	bool has_one;

	assert_int_equal(ask(rig, list_backfills, &list), 0);
	has_one = list.ret_count > 0;
	store_list_backfills_fini(&list);
	return has_one;
}

/* Whatever comes too much has come when nothing more is asked for. */
static void wait_end(struct rig *rig)
{
	int quiet = 0, calls = 0;

	while (quiet < QUIET_TICKS) {
		turn(rig);
		quiet = is_told(rig) && !has_backfill(rig) && !fault.is_holding &&
					exec_in_flight(rig->exec) == 0 && calls == fault.calls
				? quiet + 1
				: 0;
		calls = fault.calls;
	}
}

static int compare_lines(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

/* Of a run that was cancelled while it began nobody can say how far it had come. */
static char *tell_run(const struct run *run)
{
	bool is_exact = run->trigger == TRIGGER_BACKFILL ||
			(run->trigger == TRIGGER_SCHEDULE && strcmp(run->action_name, "pace") != 0);

	return xasprintf("%s %s due=%lld %s '%s' attempt=%d\n", run->action_name,
		run_trigger_names[run->trigger], (long long)(is_exact ? run->due_at_ms - T0 : 0),
		run_state_names[run->state], run_reason_names[run->reason],
		run->state == RUN_CANCELLED ? -1 : run->attempt);
}

/* The ledger, sorted, without starts; the caller's. */
static char *tell_ledger(const struct rig *rig)
{
	char *lines[RUNS_MAX], *text = xstrdup("");
	size_t count = 0;

	for (size_t i = 0; i < rig->ledger.ret_count; i++)
		if (!is_start(&rig->ledger.ret_runs[i]))
			lines[count++] = tell_run(&rig->ledger.ret_runs[i]);
	qsort(lines, count, sizeof(*lines), compare_lines);
	for (size_t i = 0; i < count; i++) {
		char *longer = xasprintf("%s%s", text, lines[i]);

		free(text);
		free(lines[i]);
		text = longer;
	}
	return text;
}

/* Lines that programs have written: all, or those that begin so. */
static int count_begun(const struct rig *rig, const char *begin)
{
	auto_free char *path = xasprintf("%s/begun", rig->folder);
	FILE *file = fopen(path, "re");
	char line[100];
	int count = 0;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		count += strncmp(line, begin, strlen(begin)) == 0;
	(void)fclose(file);
	return count;
}

static int count_attempts(struct rig *rig, const struct run *run)
{
	int count = 0;

	for (int64_t epoch = 1; epoch <= run->epoch; epoch++) {
		struct store_get_output get = {.run_id = run->id, .epoch = epoch};

		count += ask(rig, get_output, &get) == 0;
		store_get_output_fini(&get);
	}
	return count;
}

/* As often as attempts are on record; less when one was lost before it began. */
static void check_begun(struct rig *rig)
{
	int hooks = 0, requests = atomic_load(&rig->target.requests);
	char id[ID_TEXT_SIZE];

	for (size_t i = 0; i < rig->ledger.ret_count; i++) {
		const struct run *run = &rig->ledger.ret_runs[i];
		int begun, on_record = count_attempts(rig, run);

		hooks += is_hook(run) ? on_record : 0;
		if (!is_program(run))
			continue;
		begun = count_begun(rig, id_format(&run->id, id));
		if (begun > on_record ||
			(rig->restarts == 0 && begun < on_record && run->state != RUN_CANCELLED))
			complain("%s: %d of %d", run->action_name, begun, on_record);
	}
	if (requests > hooks || (rig->restarts == 0 && requests < hooks))
		complain("%d requests of %d", requests, hooks);
}

/* --- telling it --- */

static void check_starts(const struct rig *rig)
{
	size_t starts = count_runs(rig, is_start);

	if (rig->story->starts == 0 ||
		(fault.manner == FAULT_LOST && strcmp(fault.name, "boot") == 0))
		return; /* nobody knows whether that was the start */
	if (starts != 1 + (size_t)rig->restarts)
		complain("%zu starts, %d restarts", starts, rig->restarts);
}

/* The story while the nth call of a verb goes wrong; the ledger in the end. */
static char *tell(const struct story *story, enum fault_manner manner, const char *verb, int nth)
{
	struct rig rig;
	char *ledger;

	fault = (struct fault){.manner = FAULT_NONE};
	open_rig(&rig, story);
	if (story->make_old)
		story->make_old(&rig);
	fault_set_clock(STORY_MS);
	story->make(&rig);
	fault = (struct fault){.manner = manner, .name = verb, .nth = nth, .left = nth};
	start_work(&rig);
	if (rig.past)
		sched_action_changed(rig.sched, rig.past); /* as the API tells */
	turn(&rig);
	if (story->act)
		story->act(&rig);
	wait_end(&rig);
	ledger = tell_ledger(&rig);
	check_begun(&rig);
	check_starts(&rig);
	close_rig(&rig);
	return ledger;
}

/* --- each of them --- */

/* What the story asks, and how many calls of it are enough; 0: all there are. */
static const struct {
	const char *name;
	int most;
} verbs[] = {{"recover", 0}, {"look", 0}, {"claim", 0}, {"take", 0}, {"finish", 0}, {"note", 0},
	{"get_checkpoint", 0}, {"get_secrets", 0}, {"list_actions", 0}, {"boot", 0}, {"retain", 2},
	{"lapse", 2}, {"list_backfills", 4}, {"advance_backfill", 0}, {"cancel_run", 2},
	{"change_run", 2}};

static void check(const struct story *story, enum fault_manner manner, const char *verb, int nth,
	const char *expected)
{
	auto_free char *ledger = tell(story, manner, verb, nth);

	if (strcmp(ledger, expected) == 0)
		return;
	print_message("%sinstead of\n%s", ledger, expected); /* too long for fail_msg */
	complain("the ledger is another");
}

/* Every `step`th call of every verb; the first of each there must be. */
static void tell_all(enum fault_manner manner, int step)
{
	auto_free char *expected = tell(&whole, FAULT_NONE, "", 0);
	int count = 0, nth;

	for (size_t i = 0; i < COUNT_OF(verbs); i++) {
		for (nth = 1; verbs[i].most == 0 || nth <= verbs[i].most; nth += step) {
			check(&whole, manner, verbs[i].name, nth, expected);
			if (!fault.is_hit)
				break;
			count++;
			assert_true(nth < CALLS_MAX);
		}
		if (nth == 1)
			complain("there is none");
	}
	print_message("%d calls, each %s once\n", count, fault_manners[manner]);
}

static void test_each_call_may_be_refused(void **state)
{
	(void)state;
	tell_all(FAULT_REFUSED, 1);
}

static void test_each_answer_may_be_lost(void **state)
{
	(void)state;
	tell_all(FAULT_LOST, 1);
}

static void test_each_answer_may_come_after_others(void **state)
{
	(void)state;
	tell_all(FAULT_HELD, 4);
}

/* What is written from another thread, and in batches. */
static void test_the_same_with_sqlite(void **state)
{
	static const struct {
		const char *verb;
		int nth;
	} samples[] = {{"claim", 1}, {"take", 2}, {"finish", 3}, {"advance_backfill", 1}};
	char *expected;

	(void)state;
	is_sqlite = true;
	expected = tell(&whole, FAULT_NONE, "", 0);
	for (size_t i = 0; i < COUNT_OF(samples); i++)
		for (int manner = FAULT_REFUSED; manner <= FAULT_HELD; manner++)
			check(&whole, (enum fault_manner)manner, samples[i].verb, samples[i].nth,
				expected);
	free(expected);
	is_sqlite = false;
}

/* In a small story nothing else makes the scheduler look. */
static void test_what_follows_a_lost_answer_need_not_wait_for_a_poll(void **state)
{
	static const struct {
		const struct story *story;
		const char *verb;
	} lost[] = {{&chain, "finish"}, {&backfill, "advance_backfill"}, {&backfill, "finish"}};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(lost); i++) {
		auto_free char *expected = tell(lost[i].story, FAULT_NONE, "", 0);

		for (int nth = 1; nth == 1 || fault.is_hit; nth++)
			check(lost[i].story, FAULT_LOST, lost[i].verb, nth, expected);
	}
}

/* What it keeps of freed memory has to be mapped anew at each fork, and there are thousands. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=4";
}

/* "lost take 2": that one alone. */
static void tell_one(char **words)
{
	for (int i = FAULT_REFUSED; i <= FAULT_HELD; i++)
		if (strcmp(fault_manners[i], words[0]) == 0) {
			auto_free char *ledger =
				tell(&whole, (enum fault_manner)i, words[1], atoi(words[2]));

			print_message("%s", ledger);
		}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_call_may_be_refused),
		cmocka_unit_test(test_each_answer_may_be_lost),
		cmocka_unit_test(test_each_answer_may_come_after_others),
		cmocka_unit_test(test_the_same_with_sqlite),
		cmocka_unit_test(test_what_follows_a_lost_answer_need_not_wait_for_a_poll),
	};

	log_configure(getenv("FAULT_LOG") ? LOG_DEBUG : LOG_ERROR, LOG_TEXT);
	if (argc == 4) {
		tell_one(argv + 1);
		return 0;
	}
	return cmocka_run_group_tests_name("sched faults", tests, NULL, NULL);
}
