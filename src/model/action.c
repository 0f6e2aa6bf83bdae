/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of an action. Its definition never changes, so a copy that differs in the facts of its
 * row (the cursor moves with every due time) shares it: the copy holds a reference to the action
 * that owns the strings. */
#include <stdlib.h>

#include "base/mem.h"
#include "model/model_priv.h"

const char *const action_kind_names[] = {"http", "exec", "sql", "noop", NULL};
const char *const overlap_names[] = {"skip", "queue", "allow", "cancel_running", NULL};
const char *const on_interrupt_names[] = {"retry", "fail", "hold", NULL};
const char *const backoff_names[] = {"fixed", "linear", "exponential", NULL};
const char *const retry_cause_names[] = {"status", "exit", "timeout", "connection", "other", NULL};
const char *const alert_names[] = {"failing", "recovered", "late", NULL};
const char *const action_state_names[] = {"active", "paused", "completed", NULL};

static void pairs_free(struct name_value *pairs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(pairs[i].name);
		free(pairs[i].value);
	}
	free(pairs);
}

static void strings_free(char **strings)
{
	for (char **string = strings; string != NULL && *string != NULL; string++)
		free(*string);
	free(strings);
}

static void http_fini(struct http_target *http)
{
	free(http->method);
	free(http->url);
	pairs_free(http->headers, http->header_count);
	free(http->body);
	free(http->expect);
	strings_free(http->signing_secrets);
}

static void exec_fini(struct exec_target *exec)
{
	strings_free(exec->command);
	free(exec->cwd);
	pairs_free(exec->env, exec->env_count);
	free(exec->stdin_text);
	free(exec->user);
}

static void sql_fini(struct sql_target *sql)
{
	free(sql->database);
	free(sql->statement);
}

static void definition_fini(struct action *action)
{
	free(action->name);
	free(action->description);
	strings_free(action->tags);
	strings_free(action->secrets);
	for (int alert = 0; alert < ALERT_COUNT; alert++)
		free(action->hooks[alert]);
	free(action->retry.on);
	http_fini(&action->http);
	exec_fini(&action->exec);
	sql_fini(&action->sql);
	schedule_unref(action->schedule);
	json_decref(action->schedule_json);
}

struct action *action_ref(struct action *action)
{
	int before = __atomic_fetch_add(&action->refs, 1, __ATOMIC_RELAXED);

	must(before > 0);
	return action;
}

void action_unref(struct action *action)
{
	int left;

	if (action == NULL)
		return;
	left = __atomic_sub_fetch(&action->refs, 1, __ATOMIC_ACQ_REL);
	must(left >= 0);
	if (left > 0)
		return;
	if (action->origin == NULL)
		definition_fini(action);
	else
		action_unref(action->origin);
	free(action);
}

/* NOLINTNEXTLINE(readability-function-size): one parameter a column of the row */
struct action *action_with_row(const struct action *action, const struct id *id, int64_t version,
	bool is_paused, int64_t next_due_ms, int64_t created_at_ms, int64_t updated_at_ms)
{
	struct action *owner = action->origin != NULL ? action->origin : (struct action *)action;
	struct action *copy = xmalloc(sizeof(*copy));

	*copy = *action;
	copy->refs = 1;
	copy->origin = action_ref(owner);
	copy->id = *id;
	copy->version = version;
	copy->is_paused = is_paused;
	copy->next_due_ms = next_due_ms;
	copy->created_at_ms = created_at_ms;
	copy->updated_at_ms = updated_at_ms;
	return copy;
}

int action_pending_limit(const struct action *action)
{
	bool is_queue = action->overlap == OVERLAP_QUEUE;

	return is_queue && action->queue_limit < action->max_pending ? action->queue_limit
								     : action->max_pending;
}

enum action_state action_state(const struct action *action)
{
	if (action->is_paused)
		return ACTION_PAUSED;
	if (action_has_due_times(action) && action->next_due_ms == NO_TIME)
		return ACTION_COMPLETED;
	return ACTION_ACTIVE;
}

const char *action_event(const struct action *action)
{
	return action->schedule != NULL ? schedule_event(action->schedule) : NULL;
}

bool action_runs_on_start(const struct action *action)
{
	return action->schedule != NULL && schedule_runs_on_start(action->schedule);
}

bool action_has_due_times(const struct action *action)
{
	return action->schedule != NULL && schedule_has_due_times(action->schedule);
}
