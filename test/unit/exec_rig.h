/* SPDX-License-Identifier: Apache-2.0
 *
 * An executor on a loop of its own, and jobs to give to it, for the tests of src/exec. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <uv.h>

#include "base/mem.h"
#include "exec/exec.h"

#define RIG_PATIENCE_MS 120000 /* no test waits longer for anything */
#define RIG_OUTPUT_MAX  65536

struct rig {
	uv_loop_t loop;
	uv_timer_t watchdog;
	struct exec_opts opts;
	struct exec *exec;
	bool is_closed;
	char folder[32];
};

static inline void rig_on_watchdog(uv_timer_t *timer)
{
	(void)fprintf(stderr, "a test waited longer than %d ms\n", RIG_PATIENCE_MS);
	abort();
}

/* What a server with everything allowed would have; a test changes rig->opts before rig_open. */
static inline void rig_init(struct rig *rig)
{
	*rig = (struct rig){0};
	assert_int_equal(uv_loop_init(&rig->loop), 0);
	assert_int_equal(uv_timer_init(&rig->loop, &rig->watchdog), 0);
	uv_timer_start(&rig->watchdog, rig_on_watchdog, RIG_PATIENCE_MS, 0);
	uv_unref((uv_handle_t *)&rig->watchdog);
	(void)snprintf(rig->folder, sizeof(rig->folder), "/tmp/test-exec-XXXXXX");
	assert_non_null(mkdtemp(rig->folder));
	rig->opts = (struct exec_opts){
		.loop = &rig->loop,
		.max_running = 1000,
		.max_running_kind = {1000, 1000},
		.exec_enabled = true,
		.exec_paths = "",
		.exec_users = "",
		.term_grace_ms = 100,
		.output_max = RIG_OUTPUT_MAX,
		.state_dir = rig->folder,
		.user_agent = "gathering/test",
	};
}

static inline void rig_open(struct rig *rig)
{
	struct err err = {0};

	if (exec_create(&rig->opts, &rig->exec, &err) != 0)
		fail_msg("%s", err.text);
}

static inline void rig_on_closed(void *data)
{
	struct rig *rig = data;

	rig->is_closed = true;
}

static inline void rig_wait(struct rig *rig, const bool *flag)
{
	while (!*flag)
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
}

/* Nothing of any program may be left there. */
static inline void rig_remove_folder(struct rig *rig)
{
	auto_free char *tmp = xasprintf("%s/tmp", rig->folder);

	if (rig->opts.exec_enabled)
		assert_int_equal(rmdir(tmp), 0);
	assert_int_equal(rmdir(rig->folder), 0);
}

/* The loop must be empty afterwards: nothing of the executor may be left in it. */
static inline void rig_end(struct rig *rig)
{
	uv_close((uv_handle_t *)&rig->watchdog, NULL);
	(void)uv_run(&rig->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&rig->loop), 0);
	rig_remove_folder(rig);
}

static inline void rig_close(struct rig *rig)
{
	assert_int_equal(exec_in_flight(rig->exec), 0);
	exec_destroy(rig->exec, rig_on_closed, rig);
	assert_false(rig->is_closed);
	rig_wait(rig, &rig->is_closed);
	rig_end(rig);
}

/* --- jobs --- */

struct job {
	struct action action;
	struct run run;
	struct attempt_result result;
	bool is_done;
	int callbacks;
	void (*when_done)(struct job *job);
};

static inline void job_init(struct job *job, enum action_kind kind)
{
	*job = (struct job){0};
	job->action.kind = kind;
	job->action.id = id_make();
	job->action.name = (char *)(uintptr_t) "nightly";
	job->action.timeout_ms = RIG_PATIENCE_MS;
	job->action.http.method = (char *)(uintptr_t) "GET";
	job->action.http.connect_timeout_ms = 10000;
	job->action.http.max_redirects = 5;
	job->run.id = id_make();
	job->run.action_id = job->action.id;
	job->run.action = &job->action;
	job->run.due_at_ms = 1795311000000; /* 2026-11-22T01:30:00Z */
	job->run.attempt = 2;
	job->run.epoch = 7;
}

static inline void job_fini(struct job *job)
{
	attempt_result_fini(&job->result);
}

static inline void job_on_done(const struct run *run, struct attempt_result *result, void *data)
{
	struct job *job = data;

	assert_ptr_equal(run, &job->run);
	job->callbacks++;
	job->result = *result;
	job->is_done = true;
	if (job->when_done != NULL)
		job->when_done(job);
}

static inline void job_start(struct rig *rig, struct job *job)
{
	exec_start(rig->exec, &job->run, 4711, job_on_done, job);
	assert_false(job->is_done); /* never before exec_start returned */
}

static inline void job_run(struct rig *rig, struct job *job)
{
	job_start(rig, job);
	rig_wait(rig, &job->is_done);
	assert_int_equal(job->callbacks, 1);
	assert_int_equal(job->result.started_at_ms, 4711);
}

/* Runs the loop until the running job has written `text`. */
static inline void job_wait_for_output(struct rig *rig, struct job *job, const char *text)
{
	for (;;) {
		size_t len = 0;
		char *output = exec_output_so_far(rig->exec, &job->run.id, &len);
		bool is_there;

		if (output == NULL)
			fail_msg("ended before it wrote '%s': %s", text,
				job->result.error != NULL ? job->result.error : "succeeded");
		is_there = strstr(output, text) != NULL;
		free(output);
		if (is_there)
			return;
		(void)uv_run(&rig->loop, UV_RUN_ONCE);
	}
}

static inline void job_assert_output(const struct job *job, const char *text)
{
	if (text[0] == '\0') {
		assert_null(job->result.output);
		return;
	}
	if (job->result.output == NULL)
		fail_msg("no output; %s", job->result.error);
	assert_string_equal(job->result.output, text);
	assert_int_equal(job->result.output_len, strlen(text));
	assert_int_equal(job->result.output_total, strlen(text));
}

/* `error` NULL: none. Its text is part of the contract: a person acts on it. */
static inline void job_assert(
	const struct job *job, enum attempt_outcome outcome, int exit_code, const char *error)
{
	if (error == NULL && job->result.error != NULL)
		fail_msg("unexpected: %s", job->result.error);
	if (error != NULL) {
		assert_non_null(job->result.error);
		assert_string_equal(job->result.error, error);
	}
	assert_int_equal(job->result.outcome, outcome);
	assert_int_equal(job->result.exit_code, exit_code);
}

/* Of /proc: 'R', 'S', 'T' (stopped), 'Z' ...; 'X': there is none. */
static inline char state_of(pid_t pid)
{
	auto_free char *path = xasprintf("/proc/%d/stat", (int)pid);
	FILE *file = fopen(path, "re");
	char state = 'X';

	if (file == NULL)
		return state;
	(void)fscanf(file, "%*d (%*[^)]) %c", &state);
	(void)fclose(file);
	return state;
}

/* A zombie is dead: whoever is its parent by now may not have collected it yet. */
static inline bool is_alive(pid_t pid)
{
	char state = state_of(pid);

	return state != 'Z' && state != 'X';
}
