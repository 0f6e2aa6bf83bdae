/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of an action: references, copies that share a definition, PATCH, and that a definition
 * comes back from its text as it was, for random ones. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "model_input.h"
#include "seed.h"

#define ROUNDS       3000
#define SPEED_ROUNDS 5000
#define THREADS      4
#define THREAD_REFS  20000
#define INPUT_MAX    100000

static struct id id_of(const char *text)
{
	struct id id;

	assert_true(id_parse(text, &id));
	return id;
}

/* --- references and copies --- */

static void test_unref_null_is_fine(void **state)
{
	action_unref(NULL);
}

static void test_copy_outlives_what_it_was_made_from(void **state)
{
	struct action *action = input_action(HTTP_WITH(",'schedule':{'every':'1m'},'tags':['t']"));
	struct id id = id_of("0193aaaa-0000-7000-8000-000000000001");
	auto_free char *before = action_definition_text(action);
	auto_free char *after = NULL;
	struct action *copy, *second;

	copy = action_with_row(action, &id, 3, true, 5000, 1000, 2000);
	assert_true(id_is_zero(&action->id)); /* the original is as it was */
	assert_int_equal(action->version, 0);
	assert_int_equal(action->next_due_ms, NO_TIME);
	action_unref(action);
	second = action_with_row(copy, &id, 4, false, 6000, 1000, 2001);
	assert_ptr_equal(second->name, copy->name); /* shared, not copied */
	assert_true(id_equal(&second->id, &id));
	assert_int_equal(second->version, 4);
	assert_int_equal(copy->version, 3);
	assert_true(copy->is_paused);
	assert_int_equal(copy->next_due_ms, 5000);
	assert_int_equal(copy->created_at_ms, 1000);
	assert_int_equal(copy->updated_at_ms, 2000);
	action_unref(copy);
	after = action_definition_text(second);
	assert_string_equal(after, before);
	action_unref(second);
}

/* A chain of cursor moves, as a scheduler makes them, must not keep its links alive. */
static void test_copies_of_copies_hold_only_the_first(void **state)
{
	struct action *action = input_action(HTTP_WITH(""));
	struct action *first = action_ref(action);

	for (int i = 0; i < 10000; i++) {
		struct action *next = action_with_row(action, &action->id, i, false, NO_TIME, 0, 0);

		action_unref(action);
		action = next;
	}
	assert_ptr_equal(action->origin, first);
	assert_int_equal(first->refs, 2);
	action_unref(action);
	assert_int_equal(first->refs, 1);
	action_unref(first);
}

static void *take_and_drop(void *data)
{
	struct action *action = data;

	for (int i = 0; i < THREAD_REFS; i++) {
		struct action *copy =
			action_with_row(action_ref(action), &action->id, 1, false, 0, 0, 0);

		action_unref(action);
		action_unref(copy);
	}
	return NULL;
}

static void test_references_may_be_counted_on_several_threads(void **state)
{
	struct action *action = input_action(HTTP_WITH(""));
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_and_drop, action), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(action->refs, 1);
	action_unref(action);
}

static void test_state_is_what_the_row_says(void **state)
{
	struct schedule *some = (struct schedule *)state; /* only whether there is one matters */
	/* clang-format off */
	const struct {
		struct action action;
		enum action_state state;
	} rows[] = {
		{{.schedule = NULL, .next_due_ms = NO_TIME}, ACTION_ACTIVE},
		{{.schedule = some, .next_due_ms = 5}, ACTION_ACTIVE},
		{{.schedule = some, .next_due_ms = NO_TIME}, ACTION_COMPLETED},
		{{.schedule = some, .next_due_ms = NO_TIME, .is_paused = true}, ACTION_PAUSED},
		{{.schedule = NULL, .next_due_ms = NO_TIME, .is_paused = true}, ACTION_PAUSED},
	};
	/* clang-format on */

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_int_equal(action_state(&rows[i].action), rows[i].state);
}

static void test_to_json_shows_the_row_and_can_be_sent_back(void **state)
{
	struct action *plain = input_action(HTTP_WITH(",'schedule':{'every':'1m'}"));
	struct id id = id_of("0193aaaa-0000-7000-8000-000000000001");
	struct action *action =
		action_with_row(plain, &id, 3, true, 1795311000000, 1795311000001, NO_TIME);
	json_t *shown = action_to_json(action), *facts = json_object();
	static const char *const names[] = {
		"id", "version", "state", "next_due_at", "created_at", "updated_at"};
	auto_free char *text = NULL, *before = action_definition_text(action), *after = NULL;
	struct faults faults = {0};
	struct action *again;

	for (size_t i = 0; i < COUNT_OF(names); i++)
		json_object_set(facts, names[i], json_object_get(shown, names[i]));
	text = json_dumps(facts, JSON_WRITE_FLAGS);
	assert_string_equal(text,
		"{\"id\":\"0193aaaa-0000-7000-8000-000000000001\",\"version\":3,"
		"\"state\":\"paused\",\"next_due_at\":\"2026-11-22T01:30:00Z\","
		"\"created_at\":\"2026-11-22T01:30:00.001Z\",\"updated_at\":null}");
	assert_int_equal(action_from_json(shown, NULL, &again, &faults), 0);
	after = action_definition_text(again);
	assert_string_equal(after, before);
	assert_true(id_is_zero(&again->id));
	assert_int_equal(again->version, 0);
	json_decref(shown);
	json_decref(facts);
	action_unref(again);
	action_unref(action);
	action_unref(plain);
}

/* --- PATCH --- */

static const char patch_base[] =
	"{'name':'a','kind':'http','http':{'url':'http://h/"
	"','headers':{'X-A':'1','X-B':'2'},'body':'b'},"
	"'schedule':{'cron':'0 2 * * *','timezone':'Europe/Paris'},'timeout':'5s','tags':['t','u'],"
	"'retry':{'max_attempts':3,'backoff':'fixed'},'description':'d'}";

struct patch_row {
	const char *patch;
	const char *same_as; /* the whole definition it is to make */
};

#define PATCHED(name, http, schedule, rest)                                                        \
	"{'name':'" name "','kind':'http','http':{" http "},'schedule':{" schedule "}" rest "}"
#define P_HTTP     "'url':'http://h/','method':'POST','headers':{'X-A':'1','X-B':'2'},'body':'b'"
#define P_SCHEDULE "'cron':'0 2 * * *','timezone':'Europe/Paris'"
#define P_RETRY    ",'retry':{'max_attempts':3,'backoff':'fixed'}"
#define P_REST     ",'timeout':'5s','tags':['t','u'],'description':'d'"
/* clang-format off */
static const struct patch_row patch_rows[] = {
	{"{}", PATCHED("a", P_HTTP, P_SCHEDULE, P_RETRY P_REST)},
	{"{'name':'b'}", PATCHED("b", P_HTTP, P_SCHEDULE, P_RETRY P_REST)},
	{"{'id':7,'version':'x','state':null,'next_due_at':0,'created_at':[],'updated_at':{}}",
		PATCHED("a", P_HTTP, P_SCHEDULE, P_RETRY P_REST)},
	{"{'timeout':null,'description':null,'tags':null}", PATCHED("a", P_HTTP, P_SCHEDULE, P_RETRY)},
	{"{'tags':['v']}", PATCHED("a", P_HTTP, P_SCHEDULE, P_RETRY ",'timeout':'5s','tags':['v'],'description':'d'")},
	{"{'retry':{'max_attempts':4}}", PATCHED("a", P_HTTP, P_SCHEDULE,
		",'retry':{'max_attempts':4,'backoff':'fixed'}" P_REST)},
	{"{'retry':{'backoff':null}}", PATCHED("a", P_HTTP, P_SCHEDULE, ",'retry':{'max_attempts':3}" P_REST)},
	{"{'retry':null}", PATCHED("a", P_HTTP, P_SCHEDULE, P_REST)},
	{"{'http':{'headers':{'X-A':null,'X-C':'3'}}}", PATCHED("a",
		"'url':'http://h/','method':'POST','headers':{'X-B':'2','X-C':'3'},'body':'b'", P_SCHEDULE, P_RETRY P_REST)},
	{"{'http':{'body':null,'method':null,'headers':null}}", PATCHED("a",
		"'url':'http://h/'", P_SCHEDULE, P_RETRY P_REST)},
	{"{'schedule':{'timezone':'UTC'}}", PATCHED("a", P_HTTP, "'cron':'0 2 * * *'", P_RETRY P_REST)},
	{"{'schedule':{'cron':null,'every':'5m'}}", PATCHED("a", P_HTTP,
		"'every':'5m','timezone':'Europe/Paris'", P_RETRY P_REST)},
	{"{'schedule':null}", "{'name':'a','kind':'http','http':{" P_HTTP "}" P_RETRY P_REST "}"},
	{"{'kind':'exec','http':null,'exec':{'command':['x']}}",
		"{'name':'a','kind':'exec','exec':{'command':['x']},'schedule':{" P_SCHEDULE "}" P_RETRY P_REST "}"},
};
/* clang-format on */

static void test_patch_merges_over_the_base(void **state)
{
	struct action *base = input_action(patch_base);
	auto_free char *before = action_definition_text(base), *after = NULL;

	for (size_t i = 0; i < COUNT_OF(patch_rows); i++) {
		struct action *patched = input_patch(patch_rows[i].patch, base);
		struct action *whole = input_action(patch_rows[i].same_as);
		json_t *got = action_definition_json(patched),
		       *wanted = action_definition_json(whole);
		auto_free char *text = json_dumps(got, JSON_WRITE_FLAGS);

		if (!json_equal(got, wanted))
			fail_msg("%s: %s", patch_rows[i].patch, text);
		json_decref(got);
		json_decref(wanted);
		action_unref(patched);
		action_unref(whole);
	}
	after = action_definition_text(base);
	assert_string_equal(after, before);
	action_unref(base);
}

static void test_patch_that_makes_a_bad_whole_is_refused(void **state)
{
	/* clang-format off */
	static const char *const rows[][3] = {
		{"{'schedule':{'every':'5m'}}", "/schedule",
			"has 'cron' 'every'; only one of them can hold (in a PATCH, set the other to null)"},
		{"{'kind':'exec','exec':{'command':['x']}}", "/http",
			"must be left out (in a PATCH: null): the kind is 'exec'"},
		{"{'name':null}", "/name", "is required"},
		{"{'http':null}", "/http", "is required: the kind is 'http'"},
		{"{'http':{'url':null}}", "/http/url", "is required"},
		{"{'timout':null}", "/timout", "unknown member 'timout'; did you mean 'timeout'?"},
		{"{'http':'http://h/'}", "/http", "must be an object, not a string"},
		{"{'retry':{'max':'1s'}}", "/retry/initial", "must not be above 'max'"},
		{"[]", "", "an action must be an object, not a list"},
	};
	/* clang-format on */
	struct action *base = input_action(patch_base);

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct faults faults;

		assert_null(input_read(rows[i][0], base, &faults));
		assert_int_equal(faults.count, 1);
		assert_string_equal(faults.item[0].pointer, rows[i][1]);
		assert_string_equal(faults.item[0].detail, rows[i][2]);
	}
	action_unref(base);
}

static void test_patch_at_a_limit_may_replace_one(void **state)
{
	struct action *base, *patched;
	struct buf input;

	buf_init(&input, INPUT_MAX);
	buf_puts(&input, "{'name':'a','kind':'http','http':{'url':'http://h/','headers':{");
	for (int i = 0; i < ACTION_HEADERS_MAX; i++)
		buf_printf(&input, "%s'X-%d':''", i ? "," : "", i);
	buf_puts(&input, "}}}");
	base = input_action(buf_text(&input));
	patched = input_patch("{'http':{'headers':{'X-3':null,'Y':''}}}", base);
	assert_int_equal(patched->http.header_count, ACTION_HEADERS_MAX);
	assert_string_equal(patched->http.headers[ACTION_HEADERS_MAX - 1].name, "Y");
	action_unref(base);
	action_unref(patched);
	buf_fini(&input);
}

/* --- random definitions --- */

static void add_text(struct buf *out, struct seed *seed, const char *name, size_t most)
{
	static const char *const units[] = {
		"x", " ", "\\n", "\\\"", "\\\\", "\u00e9", "\U0001f600", "{{due_at}}"};

	buf_printf(out, "\"%s\":\"", name);
	for (uint64_t i = seed_below(seed, most); i > 0; i--)
		buf_puts(out, units[seed_below(seed, COUNT_OF(units))]);
	buf_puts(out, "\",");
}

static void add_duration(
	struct buf *out, struct seed *seed, const char *name, int64_t min, int64_t max)
{
	char text[DURATION_TEXT_SIZE];
	int64_t ms = min + (int64_t)seed_below(seed, (uint64_t)(max - min) + 1);

	buf_printf(out, "\"%s\":\"%s\",", name, format_duration(ms, text));
}

static void add_word(struct buf *out, struct seed *seed, const char *name, const char *const *words)
{
	size_t count = 0;

	while (words[count] != NULL)
		count++;
	buf_printf(out, "\"%s\":\"%s\",", name, words[seed_below(seed, count)]);
}

static void add_target(struct buf *out, struct seed *seed)
{
	bool is_shell = seed_below(seed, 2);

	if (seed_below(seed, 2)) {
		buf_puts(out, "\"kind\":\"http\",\"http\":{");
		if (seed_below(seed, 2))
			add_text(out, seed, "body", 200);
		buf_puts(out, "\"headers\":{");
		for (uint64_t i = 0, n = seed_below(seed, 5); i < n; i++)
			buf_printf(out, "%s\"X-%d\":\"\u00e9 %d\"", i ? "," : "", (int)i,
				(int)seed_below(seed, 1000));
		buf_printf(out, "},\"expect_status\":\"%d-%d\",\"url\":\"http://h:%d/\"},",
			100 + (int)seed_below(seed, 200), 300 + (int)seed_below(seed, 300),
			1 + (int)seed_below(seed, 65535));
		return;
	}
	buf_puts(out, "\"kind\":\"exec\",\"exec\":{");
	if (seed_below(seed, 2))
		add_text(out, seed, "stdin", 200);
	buf_printf(out, "\"shell\":%s,", is_shell ? "true" : "false");
	buf_puts(out, is_shell ? "\"command\":\"a | b\"" : "\"command\":[\"a\",\"\u00e9\",\"\"]");
	buf_puts(out, seed_below(seed, 2) ? ",\"cwd\":\"/tmp/\u00e9\",\"user\":\"nobody\"" : "");
	buf_puts(out, seed_below(seed, 2) ? ",\"env\":{\"A\":\"\",\"_b1\":\"\u00e9\\n\"}}," : "},");
}

static void add_schedule(struct buf *out, struct seed *seed)
{
	static const char *const zones[] = {"UTC", "Europe/Paris", "Asia/Kolkata"};
	char text[DURATION_TEXT_SIZE];

	if (seed_below(seed, 4) == 0)
		return;
	buf_puts(out, "\"schedule\":{");
	add_word(out, seed, "dst_gap", dst_gap_names);
	add_word(out, seed, "dst_overlap", dst_overlap_names);
	add_word(out, seed, "day_match", day_match_names);
	buf_printf(out, "\"timezone\":\"%s\",", zones[seed_below(seed, COUNT_OF(zones))]);
	if (seed_below(seed, 2))
		buf_printf(out, "\"cron\":\"%d */%d * * *\"},", (int)seed_below(seed, 60),
			1 + (int)seed_below(seed, 20));
	else
		buf_printf(out, "\"every\":\"%s\"},",
			format_duration(1000 + (int64_t)seed_below(seed, 1000000), text));
}

static void write_random(struct buf *out, struct seed *seed)
{
	buf_puts(out, "{");
	add_target(out, seed);
	add_schedule(out, seed);
	if (seed_below(seed, 2))
		add_text(out, seed, "description", 300);
	add_duration(out, seed, "timeout", 1, INT64_C(7) * 86400000);
	add_duration(out, seed, "misfire_grace", 0, INT64_C(7) * 86400000);
	add_duration(out, seed, "max_lateness", 0, INT64_C(366) * 86400000);
	add_word(out, seed, "overlap", overlap_names);
	add_word(out, seed, "misfire", misfire_names);
	add_word(out, seed, "on_interrupt", on_interrupt_names);
	buf_puts(out, "\"retry\":{");
	add_word(out, seed, "backoff", backoff_names);
	add_duration(out, seed, "initial", 0, 43200000);
	add_duration(out, seed, "max", 43200000, 86400000);
	buf_printf(out, "\"max_attempts\":%d,\"jitter\":%.17g},", 1 + (int)seed_below(seed, 100),
		(double)seed_next(seed) / (double)UINT64_MAX);
	buf_printf(out,
		"\"queue_limit\":%d,\"max_catchup\":%d,\"priority\":%d,\"pause_records\":%s,",
		1 + (int)seed_below(seed, 1000), (int)seed_below(seed, 1001),
		(int)seed_below(seed, 201) - 100, seed_below(seed, 2) ? "true" : "false");
	buf_puts(out, seed_below(seed, 2) ? "\"tags\":[\"a\",\"\u00e9 b\"]," : "");
	buf_printf(out, "\"name\":\"n.%d_-\"}", (int)seed_below(seed, 1000000));
}

static struct action *read_text(const char *text, size_t len)
{
	struct action *action = NULL;
	struct err err = {0};

	if (action_from_text(text, len, &action, &err) != 0)
		fail_msg("%s: %s", err.text, text);
	return action;
}

/* What the text cannot hide: the fields themselves. */
static void assert_same_fields(const struct action *a, const struct action *b)
{
	assert_string_equal(a->name, b->name);
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->timeout_ms, b->timeout_ms);
	assert_int_equal(a->overlap, b->overlap);
	assert_int_equal(a->queue_limit, b->queue_limit);
	assert_memory_equal(&a->misfire.grace_ms, &b->misfire.grace_ms, 2 * sizeof(int64_t));
	assert_int_equal(a->misfire.policy, b->misfire.policy);
	assert_int_equal(a->misfire.max_catchup, b->misfire.max_catchup);
	assert_int_equal(a->pause_records, b->pause_records);
	assert_int_equal(a->on_interrupt, b->on_interrupt);
	assert_true(a->retry.jitter == b->retry.jitter);
	assert_int_equal(a->retry.initial_ms, b->retry.initial_ms);
	assert_int_equal(a->retry.max_ms, b->retry.max_ms);
	assert_int_equal(a->retry.max_attempts, b->retry.max_attempts);
	assert_int_equal(a->retry.backoff, b->retry.backoff);
	assert_int_equal(a->priority, b->priority);
	assert_int_equal(a->http.header_count, b->http.header_count);
	assert_int_equal(a->http.expect_count, b->http.expect_count);
	assert_int_equal(a->exec.env_count, b->exec.env_count);
	assert_int_equal(a->exec.use_shell, b->exec.use_shell);
	assert_int_equal(a->schedule == NULL, b->schedule == NULL);
}

/* What came in equals what goes out, for members given with a value that is kept as written. */
static void assert_given_is_kept(const char *given, const char *written)
{
	static const char *const names[] = {"name", "kind", "description", "overlap", "queue_limit",
		"pause_records", "priority"};
	json_t *in = json_loads(given, 0, NULL), *out = json_loads(written, 0, NULL);

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		json_t *a = json_object_get(in, names[i]), *b = json_object_get(out, names[i]);

		if (a != b && !json_equal(a, b))
			fail_msg("'%s' differs: %s\n%s", names[i], given, written);
	}
	json_decref(in);
	json_decref(out);
}

static void test_definition_comes_back_from_its_text_as_it_was(void **state)
{
	struct seed seed = seed_start(__func__);

	for (int round = 0; round < ROUNDS; round++) {
		auto_free char *once = NULL, *twice = NULL;
		struct action *first, *second;
		struct buf input;

		buf_init(&input, INPUT_MAX);
		write_random(&input, &seed);
		first = read_text(input.data, input.len);
		once = action_definition_text(first);
		second = read_text(once, strlen(once));
		twice = action_definition_text(second);
		assert_string_equal(twice, once);
		assert_same_fields(first, second);
		assert_given_is_kept(input.data, once);
		action_unref(first);
		action_unref(second);
		buf_fini(&input);
	}
}

/* A figure for people, no verdict: the machine and the sanitizers decide it. */
static void test_speed_of_reading_a_stored_definition(void **state)
{
	struct action *action = input_action(patch_base);
	auto_free char *text = action_definition_text(action);
	size_t len = strlen(text);
	int64_t start_ms = clock_mono_ms(), took_ms;

	for (int i = 0; i < SPEED_ROUNDS; i++)
		action_unref(read_text(text, len));
	took_ms = clock_mono_ms() - start_ms;
	print_message("# reading a stored definition of %zu bytes takes %.1f us\n", len,
		(double)took_ms * 1000 / SPEED_ROUNDS);
	action_unref(action);
}

/* --- limits --- */

static void test_limits_are_read_and_apply_to_what_they_name(void **state)
{
	struct action *action = input_action("{'name':'a','kind':'exec','exec':{'command':['x']},"
					     "'tags':['db','eu west']}");
	static const bool applies[] = {true, false, true, true, false};
	struct run_limit limits[RUN_LIMITS_MAX];
	size_t count = 9;

	assert_int_equal(run_limits_parse("all=200, kind.http=7,tag.db=2  kind.exec=100000 tag.d=1",
				 limits, &count, NULL),
		0);
	assert_int_equal(count, COUNT_OF(applies));
	for (size_t i = 0; i < count; i++)
		assert_int_equal(run_limit_applies(&limits[i], action), applies[i]);
	assert_int_equal(limits[0].max, 200);
	assert_int_equal(limits[3].max, 100000);
	run_limits_fini(limits, count);
	assert_int_equal(run_limits_parse(" , ", limits, &count, NULL), 0);
	assert_int_equal(count, 0);
	action_unref(action);
}

static void test_limits_that_are_wrong_are_named(void **state)
{
	static const char *const wrong[] = {"all", "all=0", "all=100001", "all=1x", "tag.=1",
		"kind.=1", "kind.tape=1", "db=2", "=1", "tag.a=1 all"};
	struct run_limit limits[RUN_LIMITS_MAX];
	struct err err;
	size_t count;

	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		err = (struct err){0};
		if (run_limits_parse(wrong[i], limits, &count, &err) != ERR_INVALID)
			fail_msg("%s was taken", wrong[i]);
		assert_non_null(strstr(err.text, "limits: "));
	}
}

static void test_rank_is_priority_and_age(void **state)
{
	assert_int_equal(run_rank_ms(1000, 0), 1000);
	assert_true(run_rank_ms(1000, 1) < run_rank_ms(1000, 0));
	assert_int_equal(run_rank_ms(1000 + 3 * RUN_AGEING_MS, 3), run_rank_ms(1000, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unref_null_is_fine),
		cmocka_unit_test(test_copy_outlives_what_it_was_made_from),
		cmocka_unit_test(test_copies_of_copies_hold_only_the_first),
		cmocka_unit_test(test_references_may_be_counted_on_several_threads),
		cmocka_unit_test(test_state_is_what_the_row_says),
		cmocka_unit_test(test_to_json_shows_the_row_and_can_be_sent_back),
		cmocka_unit_test(test_patch_merges_over_the_base),
		cmocka_unit_test(test_patch_that_makes_a_bad_whole_is_refused),
		cmocka_unit_test(test_patch_at_a_limit_may_replace_one),
		cmocka_unit_test(test_definition_comes_back_from_its_text_as_it_was),
		cmocka_unit_test(test_speed_of_reading_a_stored_definition),
		cmocka_unit_test(test_limits_are_read_and_apply_to_what_they_name),
		cmocka_unit_test(test_limits_that_are_wrong_are_named),
		cmocka_unit_test(test_rank_is_priority_and_age),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
