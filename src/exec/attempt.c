/* SPDX-License-Identifier: Apache-2.0
 *
 * One attempt, whatever its kind: it waits for its secrets, begins, is made to end, gathers output,
 * and hands its result back when nothing of it is left.
 *
 * The promise "the callback never runs before exec_start returned" needs no queue: the result is
 * delivered by the last close callback of the attempt's handles, which libuv runs at the end of a
 * loop turn, and every attempt has at least its timer. It also means that when the callback runs
 * nothing of the attempt is left, and that an idle executor really has nothing pending. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "exec/exec_priv.h"

/* --- handles, and the way back of the result --- */

void attempt_own_handle(struct attempt *attempt, uv_handle_t *handle)
{
	handle->data = attempt;
	attempt->open_handles++;
}

static void forget_secrets(struct attempt *attempt)
{
	for (size_t i = 0; i < attempt->secret_count; i++) {
		explicit_bzero(attempt->secrets[i].value, strlen(attempt->secrets[i].value));
		free(attempt->secrets[i].value);
		free(attempt->secrets[i].name);
	}
	free(take_ptr(attempt->secrets));
	attempt->secret_count = 0;
}

static void deliver(struct attempt *attempt)
{
	struct exec *exec = attempt->exec;
	exec_done_fn *done = attempt->done;
	const struct run *run = attempt->run;
	void *data = attempt->data;
	struct attempt_result result = attempt->result;

	if (attempt->redactor != NULL)
		redactor_end(attempt->redactor, &attempt->output);
	result.output_total = attempt->output.total;
	if (attempt->output.total > 0)
		result.output = capture_copy(&attempt->output, &result.output_len);
	exec_leave(attempt);
	capture_fini(&attempt->output);
	redactor_destroy(attempt->redactor);
	rendered_target_fini(&attempt->target);
	forget_secrets(attempt);
	attempt->kind->destroy(attempt);
	webhook_start_waiting(exec);
	done(run, &result, data);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct attempt *attempt = handle->data;

	attempt->open_handles--;
	if (attempt->is_finished && attempt->open_handles == 0)
		deliver(attempt);
}

void attempt_close_handle(struct attempt *attempt, uv_handle_t *handle)
{
	must(handle->data == attempt);
	uv_close(handle, on_handle_closed);
}

void attempt_arm(struct attempt *attempt, int64_t after_ms, uv_timer_cb on_timer)
{
	/* The loop's idea of now may be as old as this turn; a deadline must not come early by
	 * that. */
	uv_update_time(attempt->exec->opts.loop);
	(void)uv_timer_start(&attempt->timer, on_timer, after_ms > 0 ? (uint64_t)after_ms : 0, 0);
}

void attempt_finish(struct attempt *attempt)
{
	must(!attempt->is_finished);
	attempt->is_finished = true;
	attempt_close_handle(attempt, (uv_handle_t *)&attempt->timer);
}

/* --- output --- */

void attempt_write(struct attempt *attempt, const void *bytes, size_t len)
{
	if (attempt->redactor != NULL)
		redactor_write(attempt->redactor, bytes, len, &attempt->output);
	else
		capture_write(&attempt->output, bytes, len);
}

void attempt_note(struct attempt *attempt, struct run_note *note)
{
	char *message = note->message;

	if (attempt->exec->opts.on_note == NULL || run_note_is_empty(note))
		return;
	if (message != NULL && attempt->redactor != NULL) {
		note->message = redactor_clean(attempt->redactor, message);
		free(message);
	}
	attempt->exec->opts.on_note(attempt->run, note, attempt->data);
}

void attempt_take_answer(
	struct attempt *attempt, const char *text, size_t len, bool *ret_is_done, struct err *err)
{
	struct run_note note = {0};

	if (answer_note_parse(text, len, &note, ret_is_done, err) != 0)
		return;
	attempt_note(attempt, &note);
	run_note_fini(&note);
}

void attempt_refuse_note(struct attempt *attempt, const char *what, const struct err *err)
{
	auto_free char *mark = NULL;

	if (err->code == 0)
		return;
	mark = xasprintf("\n[gathering: %s was not taken: %s]\n", what, err->text);
	attempt_write(attempt, mark, strlen(mark));
}

/* Secrets are taken out before anything is cut: half of one would not be recognised. */
void attempt_set_error(struct attempt *attempt, const char *fmt, ...)
{
	char text[ERROR_TEXT_ROOM];
	auto_free char *redacted = NULL;
	struct buf clean;
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (attempt->redactor != NULL)
		redacted = redactor_clean(attempt->redactor, text);
	buf_init(&clean, 3 * ERROR_TEXT_MAX);
	utf8_clean(redacted != NULL ? redacted : text,
		strnlen(redacted != NULL ? redacted : text, ERROR_TEXT_MAX), &clean);
	free(attempt->result.error);
	attempt->result.error = buf_take(&clean);
}

/* --- ending --- */

const char *attempt_ending_text(
	const struct attempt *attempt, char ret_text[static ENDING_TEXT_SIZE])
{
	char duration[DURATION_TEXT_SIZE];

	switch (attempt->ending) {
	case ATTEMPT_TIMED_OUT:
		(void)snprintf(ret_text, ENDING_TEXT_SIZE, "timed out after %s",
			format_duration(attempt->action->timeout_ms, duration));
		return ret_text;
	case ATTEMPT_CANCELLED:
		(void)snprintf(ret_text, ENDING_TEXT_SIZE, "cancelled");
		return ret_text;
	case ATTEMPT_INTERRUPTED:
		(void)snprintf(ret_text, ENDING_TEXT_SIZE, "interrupted by the server");
		return ret_text;
	case ATTEMPT_SUCCEEDED:
	case ATTEMPT_FAILED:
		break;
	}
	must_fail("an attempt that nobody ended", __FILE__, __LINE__);
}

/* What ended by itself keeps its own result, even when we have not yet seen it. A person's wish
 * outranks a shutdown that came first: the run must not be started again elsewhere. */
void attempt_end(struct attempt *attempt, enum attempt_outcome outcome)
{
	if (attempt->is_finished)
		return;
	if (attempt->ending != ATTEMPT_SUCCEEDED) { /* ours, also when it has ended meanwhile */
		if (attempt->ending == ATTEMPT_INTERRUPTED && outcome == ATTEMPT_CANCELLED)
			attempt->ending = outcome;
		return;
	}
	if (!attempt->is_fetching && attempt->kind->has_ended(attempt))
		return;
	attempt->ending = outcome;
	if (!attempt->is_fetching) /* else the answer will find it */
		attempt->kind->end(attempt);
}

static void on_deadline(uv_timer_t *timer)
{
	attempt_end(timer->data, ATTEMPT_TIMED_OUT);
}

void attempt_arm_deadline(struct attempt *attempt)
{
	attempt_arm(attempt, attempt->action->timeout_ms, on_deadline);
}

void attempt_forget_start(struct attempt *attempt)
{
	if (attempt->ending == ATTEMPT_INTERRUPTED)
		attempt->result.started_at_ms = NO_TIME;
}

void attempt_end_unbegun(struct attempt *attempt, const char *what)
{
	char ending[ENDING_TEXT_SIZE];

	attempt->result.outcome = attempt->ending;
	attempt_forget_start(attempt);
	attempt_set_error(attempt, "%s while %s", attempt_ending_text(attempt, ending), what);
}

bool attempt_is_too_late(struct attempt *attempt, const char *what)
{
	if (!exec_lease_is_over(attempt->exec))
		return false;
	attempt->ending = ATTEMPT_INTERRUPTED;
	attempt_end_unbegun(attempt, what);
	return true;
}

/* --- beginning, perhaps after its secrets have come --- */

#define WAITS_FOR_SECRETS "waiting for its secrets"

static void keep_secrets(struct attempt *attempt, const struct name_value *secrets, size_t count)
{
	attempt->redactor = redactor_create();
	attempt->secrets = xcalloc(count + 1, sizeof(*attempt->secrets));
	attempt->secret_count = count;
	for (size_t i = 0; i < count; i++) {
		attempt->secrets[i].name = xstrdup(secrets[i].name);
		attempt->secrets[i].value = xstrdup(secrets[i].value);
		redactor_add(attempt->redactor, secrets[i].value);
	}
}

/* Puts the values in and lets the kind begin. The action's timeout is not for the database, whose
 * answer comes within a limit of the store's. */
static void begin(struct attempt *attempt)
{
	struct err err = {0};

	attempt_arm_deadline(attempt);
	if (target_render(attempt->action, attempt->run, attempt->secrets, attempt->secret_count,
		    &attempt->target, &err) == 0) {
		attempt->kind->start(attempt);
		return;
	}
	attempt_set_error(attempt, "%s", err.text);
	attempt_finish(attempt);
}

/* A database that is away is no answer: the attempt has not begun, and is no failure. */
static void refuse_secrets(struct attempt *attempt, const struct err *err)
{
	if (err->code == ERR_UNAVAILABLE) {
		attempt->ending = attempt->result.outcome = ATTEMPT_INTERRUPTED;
		attempt_forget_start(attempt);
	}
	attempt_set_error(attempt, "the secrets cannot be read: %s", err->text);
}

static void on_secrets(
	const struct name_value *secrets, size_t count, const struct err *err, void *data)
{
	struct attempt *attempt = data;

	attempt->is_fetching = false;
	if (attempt->ending != ATTEMPT_SUCCEEDED) {
		attempt_end_unbegun(attempt, WAITS_FOR_SECRETS);
		attempt_finish(attempt);
	} else if (attempt_is_too_late(attempt, WAITS_FOR_SECRETS)) {
		attempt_finish(attempt);
	} else if (err->code != 0) {
		refuse_secrets(attempt, err);
		attempt_finish(attempt);
	} else {
		keep_secrets(attempt, secrets, count);
		begin(attempt);
	}
}

static void fetch_secrets(struct attempt *attempt)
{
	const struct exec_opts *opts = &attempt->exec->opts;
	struct err err = {0};

	if (exec_check_secrets(attempt->exec, attempt->action, &err) < 0) {
		attempt_set_error(attempt, "%s", err.text);
		attempt_finish(attempt);
		return;
	}
	attempt->is_fetching = true;
	opts->get_secrets(attempt->action->secrets, on_secrets, attempt, opts->get_secrets_data);
}

void attempt_prepare(struct attempt *attempt)
{
	if (attempt->action->secrets != NULL)
		fetch_secrets(attempt);
	else
		begin(attempt);
}
