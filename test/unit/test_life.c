/* SPDX-License-Identifier: Apache-2.0
 *
 * The walk over the table of parts: order, hooks that report at once or later, failures, deadlines,
 * signals. Two fake parts write down what is called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <uv.h>

#include "base/log.h"
#include "base/mem.h"
#include "life/life.h"

struct fake {
	uv_loop_t loop;
	struct life *life;
	uv_timer_t later;
	bool is_async;      /* hooks report in a later turn */
	bool fails_b;       /* b cannot start */
	bool b_drain_hangs; /* until hurried */
	int64_t b_max_ms;
	void (*when_ready)(struct fake *fake);
	char trace[512];
};

static struct fake fake;

static void note(const char *text)
{
	strncat(fake.trace, text, sizeof(fake.trace) - strlen(fake.trace) - 1);
	strncat(fake.trace, " ", sizeof(fake.trace) - strlen(fake.trace) - 1);
}

static void on_later(uv_timer_t *timer)
{
	(void)timer;
	life_part_done(fake.life);
}

static void done(const char *text)
{
	note(text);
	if (fake.is_async)
		uv_timer_start(&fake.later, on_later, 1, 0);
	else
		life_part_done(fake.life);
}

static void a_start(void *data)
{
	done("a+");
}

static void a_stop(void *data)
{
	uv_close((uv_handle_t *)&fake.later, NULL);
	note("a-");
	life_part_done(fake.life);
}

static void b_start(void *data)
{
	struct err err = {0};

	if (!fake.fails_b) {
		done("b+");
		return;
	}
	note("b!");
	err_set(&err, ERR_IO, "no luck");
	life_part_failed(fake.life, &err);
}

static void b_quiet(void *data)
{
	note("b.quiet");
}

static void b_unquiet(void *data)
{
	note("b.unquiet");
}

static void b_drain(void *data)
{
	if (fake.b_drain_hangs)
		note("b.drain");
	else
		done("b.drain");
}

static void b_hurry(void *data)
{
	done("b.hurry");
}

static int64_t b_max(void *data)
{
	return fake.b_max_ms;
}

static void b_stop(void *data)
{
	done("b-");
}

static void c_start(void *data)
{
	done("c+");
	if (fake.when_ready)
		fake.when_ready(&fake);
}

static const struct part parts[] = {
	{.name = "a", .start = a_start, .stop = a_stop},
	{.name = "b",
		.start = b_start,
		.quiet = b_quiet,
		.unquiet = b_unquiet,
		.drain = b_drain,
		.drain_max_ms = b_max,
		.hurry = b_hurry,
		.stop = b_stop},
	{.name = "c", .start = c_start},
};

static int run(void)
{
	int status;

	log_configure(LOG_ERROR, LOG_TEXT);
	assert_int_equal(uv_loop_init(&fake.loop), 0);
	uv_timer_init(&fake.loop, &fake.later);
	fake.life = life_create(&(struct life_opts){.loop = &fake.loop,
		.parts = parts,
		.part_count = 3,
		.server = &fake,
		.total_max_ms = 20000});
	assert_int_equal(life_state(fake.life), SERVICE_STARTING);
	life_start(fake.life);
	uv_run(&fake.loop, UV_RUN_DEFAULT);
	assert_int_equal(life_state(fake.life), SERVICE_STOPPED);
	status = life_exit_status(fake.life);
	life_destroy(fake.life);
	assert_int_equal(uv_loop_close(&fake.loop), 0);
	return status;
}

static uv_idle_t idle;

static void on_idle(uv_idle_t *handle)
{
	if (life_state(fake.life) != SERVICE_READY)
		return;
	uv_close((uv_handle_t *)handle, NULL);
	((void (*)(void))handle->data)();
}

/* Calls `then` in the first turn in which the service is ready. */
static void (*ready_then)(void);
static void watch_ready(struct fake *unused)
{
	(void)unused;
	uv_idle_init(&fake.loop, &idle);
	idle.data = (void *)ready_then;
	uv_idle_start(&idle, on_idle);
}

static void expect_run(struct fake setup, void (*then)(void), int status, const char *trace)
{
	fake = setup;
	ready_then = then;
	fake.when_ready = watch_ready;
	assert_int_equal(run(), status);
	assert_string_equal(fake.trace, trace);
}

static void send_term(void)
{
	life_signal(fake.life, LIFE_SIGNAL_STOP, "TERM");
}

static void test_start_runs_forward_and_stop_backward(void **state)
{
	const char *trace = "a+ b+ c+ b.quiet b.drain b- a- ";

	expect_run((struct fake){.b_max_ms = 60000}, send_term, 0, trace);
	expect_run((struct fake){.is_async = true, .b_max_ms = 60000}, send_term, 0, trace);
}

static void test_failed_start_stops_what_had_started(void **state)
{
	fake = (struct fake){.fails_b = true};
	assert_int_equal(run(), 1);
	assert_string_equal(fake.trace, "a+ b! a- ");
}

static void test_deadline_hurries_the_part_and_exits_3(void **state)
{
	expect_run((struct fake){.b_drain_hangs = true, .b_max_ms = 30}, send_term, 3,
		"a+ b+ c+ b.quiet b.drain b.hurry b- a- ");
}

static void drain_and_undrain(void)
{
	struct life_event events[LIFE_EVENTS_MAX];

	life_drain(fake.life, LIFE_DRAIN_HOLD, "test");
	life_drain(fake.life, LIFE_DRAIN_HOLD, "test");
	assert_int_equal(life_state(fake.life), SERVICE_DRAINING);
	assert_int_equal(life_events(fake.life, events), 1);
	assert_string_equal(events[0].name, "shutting_down");
	assert_true(life_undrain(fake.life));
	assert_true(life_undrain(fake.life));
	assert_int_equal(life_state(fake.life), SERVICE_READY);
	send_term();
	assert_false(life_undrain(fake.life));
}

static void test_operator_drain_is_idempotent_and_can_be_taken_back(void **state)
{
	expect_run((struct fake){.is_async = true, .b_max_ms = 60000}, drain_and_undrain, 0,
		"a+ b+ c+ b.quiet b.unquiet b.quiet b.drain b- a- ");
}

static void undrain_and_stop(uv_idle_t *handle)
{
	if (life_state(fake.life) == SERVICE_STARTING)
		return;
	uv_close((uv_handle_t *)handle, NULL);
	assert_int_equal(life_state(fake.life), SERVICE_DRAINING);
	assert_true(life_undrain(fake.life));
	assert_int_equal(life_state(fake.life), SERVICE_READY);
	send_term();
}

static void drain_too_soon(struct fake *unused)
{
	(void)unused;
	assert_int_equal(life_state(fake.life), SERVICE_STARTING);
	life_drain(fake.life, LIFE_DRAIN_HOLD, "test");
	assert_int_equal(life_state(fake.life), SERVICE_STARTING);
	uv_idle_init(&fake.loop, &idle);
	uv_idle_start(&idle, undrain_and_stop);
}

static void drain_too_soon_and_undrain(struct fake *unused)
{
	life_drain(fake.life, LIFE_DRAIN_HOLD, "test");
	assert_true(life_undrain(fake.life));
	watch_ready(unused);
}

static void test_a_drain_asked_for_while_starting_begins_when_all_parts_have_started(void **state)
{
	fake = (struct fake){.b_max_ms = 60000, .when_ready = drain_too_soon};
	assert_int_equal(run(), 0);
	assert_string_equal(fake.trace, "a+ b+ c+ b.quiet b.unquiet b.quiet b.drain b- a- ");
	ready_then = send_term;
	fake = (struct fake){.b_max_ms = 60000, .when_ready = drain_too_soon_and_undrain};
	assert_int_equal(run(), 0);
	assert_string_equal(fake.trace, "a+ b+ c+ b.quiet b.drain b- a- ");
}

static void on_second(uv_timer_t *timer)
{
	uv_close((uv_handle_t *)timer, NULL);
	life_signal(fake.life, LIFE_SIGNAL_STOP, "TERM");
}

static uv_timer_t second;
static void two_signals(void)
{
	send_term();
	send_term(); /* at once: the same keypress, not counted */
	uv_timer_init(&fake.loop, &second);
	uv_timer_start(&second, on_second, 550, 0);
}

static void test_second_signal_hurries(void **state)
{
	expect_run((struct fake){.b_drain_hangs = true, .b_max_ms = 60000}, two_signals, 3,
		"a+ b+ c+ b.quiet b.drain b.hurry b- a- ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start_runs_forward_and_stop_backward),
		cmocka_unit_test(test_failed_start_stops_what_had_started),
		cmocka_unit_test(test_deadline_hurries_the_part_and_exits_3),
		cmocka_unit_test(test_operator_drain_is_idempotent_and_can_be_taken_back),
		cmocka_unit_test(
			test_a_drain_asked_for_while_starting_begins_when_all_parts_have_started),
		cmocka_unit_test(test_second_signal_hurries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
