/* SPDX-License-Identifier: Apache-2.0
 *
 * The executor: which attempts are running, how many more may, when each must end, and the way back
 * of its result. What an attempt does is its kind's business (the table below).
 *
 * The life of an attempt:
 *
 *   exec_start -> kind->start -> (the kind works) -> attempt_finish -> handles close -> done()
 *                                    ^
 *   deadline, exec_end ---------> kind->end (TERM; abort the request)
 *   exec_kill_all --------------> kind->kill
 *
 * The promise "the callback never runs before exec_start returned" needs no queue: the result is
 * delivered by the last close callback of the attempt's handles, which libuv runs at the end of a
 * loop turn, and every attempt has at least its timer. It also means that when the callback runs
 * nothing of the attempt is left, and that an idle executor really has nothing pending. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "exec_priv.h"

static const struct exec_kind *const kinds[ACTION_KIND_COUNT] = {
	[ACTION_HTTP] = &webhook_kind,
	[ACTION_EXEC] = &program_kind,
	[ACTION_SQL] = &query_kind,
	[ACTION_NOOP] = &noop_kind,
};

/* --- creating and destroying --- */

/* Writing to a program that does not read, or to a peer that left, must be an error and not our
 * end; and a SIGCHLD that was ignored when we were started would throw exit statuses away. */
static void prepare_signals(void)
{
	struct sigaction action;

	(void)signal(SIGPIPE, SIG_IGN);
	if (sigaction(SIGCHLD, NULL, &action) == 0 &&
		(action.sa_handler == SIG_IGN || (action.sa_flags & SA_NOCLDWAIT) != 0))
		(void)signal(SIGCHLD, SIG_DFL);
}

static void on_nothing(void *data)
{
}

static void exec_free(struct exec *exec)
{
	hosts_destroy(exec->hosts);
	keeper_stop(&exec->keeper);
	account_fini(&exec->own);
	if (exec->accounts != NULL)
		accounts_destroy(exec->accounts, on_nothing, NULL);
	if (exec->null_fd >= 0)
		(void)close(exec->null_fd);
	free(exec->chunk);
	free(exec);
}

int exec_create(const struct exec_opts *opts, struct exec **ret_exec, struct err *err)
{
	struct exec *exec = xcalloc(1, sizeof(*exec));
	int code;

	prepare_signals();
	exec->opts = *opts;
	exec->keeper.fd = -1;
	exec->chunk = xmalloc(OUTPUT_CHUNK);
	list_init(&exec->attempts);
	exec->hosts = hosts_create(opts->max_per_host);
	account_find_own(&exec->own);
	exec->accounts = accounts_create(opts->loop);
	exec->null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (exec->null_fd < 0 || !child_lift_fd(&exec->null_fd)) {
		code = err_set(err, ERR_IO, "cannot open /dev/null: %s", strerror(errno));
		exec_free(exec);
		return code;
	}
	code = webhook_check_ca_file(opts->ca_file, err);
	if (code == 0)
		code = databases_create(opts, &exec->databases, err);
	if (code != 0) {
		exec_free(exec);
		return code;
	}
	code = opts->exec_enabled ? keeper_start(KEEPER_GROUPS_MAX, &exec->keeper, err) : 0;
	if (code == 0 && opts->exec_enabled)
		code = notes_create(opts->loop, opts->state_dir, &exec->notes, err);
	if (code == 0)
		code = hooks_create(
			opts->loop, opts->max_running_kind[ACTION_HTTP], &exec->hooks, err);
	if (code != 0) {
		if (exec->notes != NULL)
			notes_destroy(exec->notes, on_nothing, NULL);
		databases_destroy(exec->databases, on_nothing, NULL);
		exec_free(exec);
		return code;
	}
	*ret_exec = exec;
	return 0;
}

void exec_tune(struct exec *exec, const struct exec_tuning *tuning)
{
	exec->opts.max_running = tuning->max_running;
	memcpy(exec->opts.max_running_kind, tuning->max_running_kind,
		sizeof(exec->opts.max_running_kind));
	exec->opts.term_grace_ms = tuning->term_grace_ms;
	exec->opts.output_max = tuning->output_max;
	exec->opts.allow_private_targets = tuning->allow_private_targets;
	hosts_set_limit(exec->hosts, tuning->max_per_host);
	hooks_set_connections(exec->hooks, tuning->max_running_kind[ACTION_HTTP]);
	databases_set_connections(exec->databases, tuning->max_running_kind[ACTION_SQL]);
	webhook_start_waiting(exec);
}

static void on_hooks_closed(void *data)
{
	struct exec *exec = data;
	exec_closed_fn *closed = exec->closed;
	void *closed_data = exec->closed_data;

	exec_free(exec);
	if (closed != NULL)
		closed(closed_data);
}

static void on_databases_closed(void *data)
{
	struct exec *exec = data;

	hooks_destroy(exec->hooks, on_hooks_closed, exec);
}

static void on_accounts_closed(void *data)
{
	struct exec *exec = data;

	exec->accounts = NULL;
	databases_destroy(exec->databases, on_databases_closed, exec);
}

static void on_notes_closed(void *data)
{
	struct exec *exec = data;

	accounts_destroy(exec->accounts, on_accounts_closed, exec);
}

void exec_destroy(struct exec *exec, exec_closed_fn *closed, void *data)
{
	must(exec->running == 0);
	exec->closed = closed;
	exec->closed_data = data;
	if (exec->notes != NULL)
		notes_destroy(exec->notes, on_notes_closed, exec);
	else
		on_notes_closed(exec);
}

/* --- asking --- */

int exec_check(const struct exec *exec, const struct action *action, struct err *err)
{
	if (action->secrets != NULL && exec->opts.get_secrets == NULL)
		return err_field(err, ERR_FORBIDDEN, "",
			"the action uses the secret '%s', but this server keeps none; set "
			"secret_key_file",
			action->secrets[0]);
	return kinds[action->kind]->check(exec, action, err);
}

int exec_free_slots(const struct exec *exec, int ret_free[static ACTION_KIND_COUNT])
{
	int running[ACTION_KIND_COUNT];
	int common = exec->opts.max_running - exec->slots_taken + exec->waiting;

	memcpy(running, exec->running_kind, sizeof(running));
	if (exec->waiting < exec->opts.max_running_kind[ACTION_HTTP])
		running[ACTION_HTTP] -= exec->waiting;
	for (int kind = 0; kind < ACTION_KIND_COUNT; kind++) {
		int own = exec->opts.max_running_kind[kind] - running[kind];
		int least = own < common || kinds[kind]->takes_no_slot ? own : common;

		ret_free[kind] = least > 0 ? least : 0;
	}
	return common > 0 ? common : 0;
}

bool exec_takes_slot(enum action_kind kind)
{
	return !kinds[kind]->takes_no_slot;
}

size_t exec_in_flight(const struct exec *exec)
{
	return (size_t)exec->running;
}

void exec_drop_connections(struct exec *exec)
{
	if (exec_in_flight(exec) == 0)
		hooks_drop_connections(exec->hooks);
}

size_t exec_list(const struct exec *exec, struct id *ret_ids, size_t max)
{
	size_t count = 0;

	list_for_each (node, &exec->attempts) {
		if (count == max)
			break;
		ret_ids[count++] = list_entry(node, struct attempt, link)->run->id;
	}
	return count;
}

static struct attempt *find(const struct exec *exec, const struct id *run_id)
{
	list_for_each (node, &exec->attempts) {
		struct attempt *attempt = list_entry(node, struct attempt, link);

		if (id_equal(&attempt->run->id, run_id))
			return attempt;
	}
	return NULL;
}

char *exec_output_so_far(const struct exec *exec, const struct id *run_id, size_t *ret_len)
{
	const struct attempt *attempt = find(exec, run_id);

	return attempt != NULL ? capture_copy(&attempt->output, ret_len) : NULL;
}

int64_t exec_epoch_of(const struct exec *exec, const struct id *run_id)
{
	const struct attempt *attempt = find(exec, run_id);

	return attempt != NULL ? attempt->run->epoch : 0;
}

bool exec_output_from(const struct exec *exec, const struct id *run_id, int64_t epoch, int64_t from,
	size_t max, struct exec_output *ret_output)
{
	const struct attempt *attempt = find(exec, run_id);

	if (attempt == NULL || attempt->run->epoch != epoch)
		return false;
	ret_output->from = from;
	ret_output->total = attempt->output.total;
	ret_output->bytes =
		capture_from(&attempt->output, &ret_output->from, max, &ret_output->len);
	return true;
}

/* --- secrets --- */

#define WAITS_FOR_SECRETS "waiting for its secrets"

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

/* --- what kinds use --- */

void attempt_own_handle(struct attempt *attempt, uv_handle_t *handle)
{
	handle->data = attempt;
	attempt->open_handles++;
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
	exec->running--;
	exec->slots_taken -= exec_takes_slot(attempt->action->kind);
	exec->running_kind[attempt->action->kind]--;
	list_remove(&attempt->link);
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

void attempt_finish(struct attempt *attempt)
{
	must(!attempt->is_finished);
	attempt->is_finished = true;
	attempt_close_handle(attempt, (uv_handle_t *)&attempt->timer);
}

/* --- starting and ending --- */

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

/* Puts the values in and lets the kind begin. */
static void begin(struct attempt *attempt)
{
	struct err err = {0};

	if (target_render(attempt->action, attempt->run, attempt->secrets, attempt->secret_count,
		    &attempt->target, &err) == 0) {
		attempt->kind->start(attempt);
		return;
	}
	attempt_set_error(attempt, "%s", err.text);
	attempt_finish(attempt);
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

bool exec_lease_is_over(const struct exec *exec)
{
	return exec->lease_until_boot_ms != 0 &&
	       clock_boot_ms() >= exec->lease_until_boot_ms - KEEPER_TERM_MS;
}

bool attempt_is_too_late(struct attempt *attempt, const char *what)
{
	if (!exec_lease_is_over(attempt->exec))
		return false;
	attempt->ending = ATTEMPT_INTERRUPTED;
	attempt_end_unbegun(attempt, what);
	return true;
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
		attempt_set_error(attempt, "the secrets cannot be read: %s", err->text);
		attempt_finish(attempt);
	} else {
		keep_secrets(attempt, secrets, count);
		begin(attempt);
	}
}

static void fetch_secrets(struct attempt *attempt)
{
	const struct exec_opts *opts = &attempt->exec->opts;

	if (opts->get_secrets == NULL) {
		attempt_set_error(attempt,
			"the action uses the secret '%s', but this server "
			"keeps none; set secret_key_file",
			attempt->action->secrets[0]);
		attempt_finish(attempt);
		return;
	}
	attempt->is_fetching = true;
	opts->get_secrets(attempt->action->secrets, on_secrets, attempt, opts->get_secrets_data);
}

void exec_start(struct exec *exec, const struct run *run, int64_t started_at_ms, exec_done_fn *done,
	void *data)
{
	const struct action *action = run->action;
	const struct exec_kind *kind = kinds[action->kind];
	struct attempt *attempt = kind->create();
	int slots[ACTION_KIND_COUNT];

	(void)exec_free_slots(exec, slots);
	must(slots[action->kind] > 0);
	exec->running++;
	exec->slots_taken += exec_takes_slot(action->kind);
	exec->running_kind[action->kind]++;
	list_init(&attempt->link);
	list_push(&exec->attempts, &attempt->link);
	attempt->exec = exec;
	attempt->kind = kind;
	attempt->run = run;
	attempt->action = action;
	attempt->done = done;
	attempt->data = data;
	attempt->ending = ATTEMPT_SUCCEEDED;
	attempt->result = (struct attempt_result){.outcome = ATTEMPT_FAILED,
		.exit_code = -1,
		.retry_after_ms = -1,
		.started_at_ms = started_at_ms};
	capture_init(&attempt->output, exec->opts.output_max);
	must(uv_timer_init(exec->opts.loop, &attempt->timer) == 0);
	attempt_own_handle(attempt, (uv_handle_t *)&attempt->timer);
	attempt_arm_deadline(attempt);
	if (action->secrets != NULL)
		fetch_secrets(attempt);
	else
		begin(attempt);
}

bool exec_end(struct exec *exec, const struct id *run_id, enum attempt_outcome outcome)
{
	struct attempt *attempt = find(exec, run_id);

	must(outcome == ATTEMPT_CANCELLED || outcome == ATTEMPT_INTERRUPTED);
	if (attempt == NULL)
		return false;
	attempt_end(attempt, outcome);
	return true;
}

size_t exec_end_all(struct exec *exec, enum attempt_outcome outcome)
{
	must(outcome == ATTEMPT_CANCELLED || outcome == ATTEMPT_INTERRUPTED);
	list_for_each (node, &exec->attempts) {
		attempt_end(list_entry(node, struct attempt, link), outcome);
	}
	return exec_in_flight(exec);
}

void exec_extend_lease(struct exec *exec, int64_t until_boot_ms)
{
	exec->lease_until_boot_ms = until_boot_ms;
	keeper_extend(&exec->keeper, until_boot_ms);
}

void exec_finish_by(struct exec *exec, int64_t at_ms)
{
	list_for_each (node, &exec->attempts) {
		struct attempt *attempt = list_entry(node, struct attempt, link);

		if (!attempt->is_finished && attempt->kind->finish_by != NULL)
			attempt->kind->finish_by(attempt, at_ms);
	}
}

void exec_kill_all(struct exec *exec)
{
	list_for_each (node, &exec->attempts) {
		struct attempt *attempt = list_entry(node, struct attempt, link);

		if (attempt->is_finished)
			continue;
		if (attempt->is_fetching) {
			attempt_end(attempt, ATTEMPT_INTERRUPTED);
			continue;
		}
		if (attempt->ending == ATTEMPT_SUCCEEDED && !attempt->kind->has_ended(attempt))
			attempt->ending = ATTEMPT_INTERRUPTED;
		attempt->kind->kill(attempt);
	}
}
