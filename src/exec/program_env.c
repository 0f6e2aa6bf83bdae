/* SPDX-License-Identifier: Apache-2.0
 *
 * The environment of a program: nothing of the server's (which may hold its database password), a
 * small standard set as cron gives, then the action's own, then what an attempt is told (API.md). A
 * later group replaces names of an earlier one, so an action can change PATH but cannot forge
 * GATHERING_RUN_ID. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "exec_priv.h"

#define FIXED_MAX 24

struct env {
	char **items;
	size_t count;
};

static void env_set(struct env *env, const char *name, const char *value)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < env->count; i++) {
		if (strncmp(env->items[i], name, len) == 0 && env->items[i][len] == '=') {
			free(env->items[i]);
			env->items[i] = xasprintf("%s=%s", name, value);
			return;
		}
	}
	env->items[env->count++] = xasprintf("%s=%s", name, value);
}

static void env_set_number(struct env *env, const char *name, int64_t value)
{
	auto_free char *text = xasprintf("%lld", (long long)value);

	env_set(env, name, text);
}

static void add_standard(struct env *env, const struct account *account)
{
	env_set(env, "PATH", PROGRAM_PATH_DEFAULT);
	env_set(env, "HOME", account->home);
	env_set(env, "USER", account->name);
	env_set(env, "LOGNAME", account->name);
	env_set(env, "SHELL", PROGRAM_SHELL);
	env_set(env, "LANG", "C.UTF-8");
}

static void add_folder(struct env *env, const struct run *run, const char *folder_path)
{
	static const char *const files[][2] = {{"GATHERING_CHECKPOINT_FILE", FOLDER_CHECKPOINT},
		{"GATHERING_PROGRESS_FILE", FOLDER_PROGRESS},
		{"GATHERING_FINISH_BY_FILE", FOLDER_FINISH_BY},
		{"GATHERING_PAYLOAD_FILE", FOLDER_PAYLOAD}};

	for (size_t i = 0; i < COUNT_OF(files); i++) {
		auto_free char *path = xasprintf("%s/%s", folder_path, files[i][1]);

		if (run->payload != NULL || strcmp(files[i][1], FOLDER_PAYLOAD) != 0)
			env_set(env, files[i][0], path);
	}
}

static void add_attempt(struct env *env, const struct run *run)
{
	char id[ID_TEXT_SIZE], due[RFC3339_TEXT_SIZE], key[RUN_KEY_SIZE];

	env_set(env, "GATHERING_RUN_ID", id_format(&run->id, id));
	env_set(env, "GATHERING_ACTION", run->action->name);
	env_set(env, "GATHERING_DUE_AT", format_rfc3339(run->due_at_ms, due));
	env_set_number(env, "GATHERING_ATTEMPT", run->attempt);
	env_set_number(env, "GATHERING_EPOCH", run->epoch);
	env_set(env, "GATHERING_IDEMPOTENCY_KEY", run_idempotency_key(run, key));
}

char **env_create(const struct run *run, const struct exec_target *target,
	const struct account *account, const char *folder_path)
{
	struct env env = {.items = xcalloc(target->env_count + FIXED_MAX, sizeof(char *))};

	add_standard(&env, account);
	for (size_t i = 0; i < target->env_count; i++)
		env_set(&env, target->env[i].name, target->env[i].value);
	add_attempt(&env, run);
	add_folder(&env, run, folder_path);
	return env.items;
}

void env_free(char **env)
{
	for (size_t i = 0; env != NULL && env[i] != NULL; i++)
		free(env[i]);
	free(env);
}

const char *env_path(const struct exec_target *target)
{
	const char *path = PROGRAM_PATH_DEFAULT;

	for (size_t i = 0; i < target->env_count; i++) {
		if (strcmp(target->env[i].name, "PATH") == 0)
			path = target->env[i].value;
	}
	return path;
}
