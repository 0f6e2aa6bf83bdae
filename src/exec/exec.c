/* SPDX-License-Identifier: Apache-2.0
 *
 * The executor: which attempts are running, how many more may, and what is asked of all of them.
 * attempt.c is one attempt; what it does is its kind's business (the table below).
 *
 * The life of an attempt:
 *
 *   exec_start -> kind->start -> (the kind works) -> attempt_finish -> handles close -> done()
 *                                    ^
 *   deadline, exec_end ---------> kind->end (TERM; abort the request)
 *   exec_kill_all --------------> kind->kill */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "exec/exec_priv.h"

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

/* What can fail. */
static int create_parts(struct exec *exec, struct err *err)
{
	const struct exec_opts *opts = &exec->opts;
	int code = 0;

	exec->null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (exec->null_fd < 0 || !child_lift_fd(&exec->null_fd))
		return err_set(err, ERR_IO, "cannot open /dev/null: %s", strerror(errno));
	code = webhook_check_ca_file(opts->ca_file, err);
	if (code == 0)
		code = databases_create(opts, &exec->databases, err);
	if (code == 0 && opts->exec_enabled)
		code = keeper_start(KEEPER_GROUPS_MAX, &exec->keeper, err);
	if (code == 0 && opts->exec_enabled)
		code = notes_create(opts->loop, opts->state_dir, &exec->notes, err);
	if (code == 0)
		code = hooks_create(
			opts->loop, opts->max_running_kind[ACTION_HTTP], &exec->hooks, err);
	return code;
}

static void discard_parts(struct exec *exec)
{
	if (exec->notes != NULL)
		notes_destroy(exec->notes, on_nothing, NULL);
	if (exec->databases != NULL)
		databases_destroy(exec->databases, on_nothing, NULL);
	exec_free(exec);
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
	code = create_parts(exec, err);
	if (code < 0) {
		discard_parts(exec);
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

int exec_check_secrets(const struct exec *exec, const struct action *action, struct err *err)
{
	if (action->secrets == NULL || exec->opts.get_secrets != NULL)
		return 0;
	return err_field(err, ERR_FORBIDDEN, "",
		"the action uses the secret '%s', but this server keeps none; set secret_key_file",
		action->secrets[0]);
}

int exec_check(const struct exec *exec, const struct action *action, struct err *err)
{
	int code = exec_check_secrets(exec, action, err);

	return code < 0 ? code : kinds[action->kind]->check(exec, action, err);
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

/* --- starting and ending --- */

bool exec_lease_is_over(const struct exec *exec)
{
	return exec->lease_until_boot_ms != 0 &&
	       clock_boot_ms() >= exec->lease_until_boot_ms - KEEPER_TERM_MS;
}

void exec_leave(struct attempt *attempt)
{
	struct exec *exec = attempt->exec;

	exec->running--;
	exec->slots_taken -= exec_takes_slot(attempt->action->kind);
	exec->running_kind[attempt->action->kind]--;
	list_remove(&attempt->link);
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
	attempt_prepare(attempt);
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
