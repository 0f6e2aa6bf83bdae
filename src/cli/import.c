/* SPDX-License-Identifier: Apache-2.0
 *
 * `gathering import crontab`: lines to actions that behave as under cron, and a report of what
 * could not be taken. Nothing is created before the whole file has been judged.
 *
 * A job is recognised again by a tag, "crontab-" and the hash of what it runs, when and as whom; so
 * importing a file twice creates nothing twice, wherever the line has moved and whatever name or
 * policy its action was given since. A changed line is a new job: its old action stays and is the
 * user's to delete. doc/crontab.md says all this to users. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/cli_priv.h"
#include "cli/crontab.h"
#include "cli/files.h"
#include "cli/import_priv.h"
#include "model/model.h"
#include "model/template.h"

#define DEFAULT_PREFIX  "cron-"
#define DEFAULT_TIMEOUT "1d"
#define DEFAULT_OVERLAP OVERLAP_ALLOW
#define DEFAULT_MISFIRE MISFIRE_SKIP

static const char default_shell[] = "/bin/sh";

/* --- the machine: zone, form, home --- */

/* The zone cron means: that of the machine, not the TZ of this process. Owned. */
static char *machine_zone(void)
{
	static const char mark[] = "/zoneinfo/";
	auto_free char *text = NULL;
	char target[512];
	const char *name;
	size_t len;
	ssize_t got;

	if (read_file("/etc/timezone", 256, &text, &len, NULL) == 0 && strcspn(text, " \n") > 0)
		return xstrndup(text, strcspn(text, " \n"));
	got = readlink("/etc/localtime", target, sizeof(target) - 1);
	if (got > 0) {
		target[got] = '\0';
		name = strstr(target, mark);
		if (name)
			return xstrdup(name + sizeof(mark) - 1);
	}
	return xstrdup("UTC");
}

static enum crontab_form find_form(const struct cli *cli, const char *path)
{
	auto_free char *real = NULL;
	char *resolved = realpath(path, NULL);
	bool is_system;

	real = resolved;
	is_system =
		cli_has(cli, "system") || (real && (strcmp(real, "/etc/crontab") == 0 ||
							   strncmp(real, "/etc/cron.d/", 12) == 0));
	return is_system ? CRONTAB_SYSTEM : CRONTAB_AUTO;
}

/* Home of `user` when it is a folder here; owned, NULL when unknown. */
static char *home_of(const char *user)
{
	const struct passwd *entry = user ? getpwnam(user) : NULL;
	struct stat status;

	if (!entry || !entry->pw_dir || stat(entry->pw_dir, &status) != 0 ||
		!S_ISDIR(status.st_mode))
		return NULL;
	return xstrdup(entry->pw_dir);
}

/* --- a line to a definition --- */

static void put_text(json_t *object, const char *key, const char *text)
{
	if (text)
		must(json_object_set_new(object, key, json_string(text)) == 0);
}

/* Where a definition may have a template: cron knows none, so what looks like one is meant as it
 * stands. (Commands never are one.) */
static void put_literal(json_t *object, const char *key, const char *text)
{
	auto_free char *escaped = text ? template_escape(text) : NULL;

	put_text(object, key, escaped);
}

/* Who runs it: --user, else the column; NULL: the server's own user. */
static const char *job_user(const struct import *import, const struct crontab_job *job)
{
	const char *user = cli_flag(import->cli, "user");

	if (!user)
		return job->user;
	return strcmp(user, "-") == 0 ? NULL : user;
}

/* Cron starts commands in HOME. */
static char *job_folder(struct import *import, const struct crontab_job *job)
{
	const char *user = job_user(import, job);

	for (size_t i = 0; i < job->env_count; i++)
		if (strcmp(job->env[i].name, "HOME") == 0)
			return job->env[i].value[0] == '/' ? xstrdup(job->env[i].value) : NULL;
	if (user && (!import->home_user || strcmp(import->home_user, user) != 0)) {
		free(import->home_user);
		free(import->home);
		import->home_user = xstrdup(user);
		import->home = home_of(user);
	}
	return user ? xstrdup(import->home) : NULL;
}

static json_t *exec_json(struct import *import, const struct crontab_job *job)
{
	auto_free char *folder = job_folder(import, job);
	bool is_plain = !job->shell || !*job->shell || strcmp(job->shell, default_shell) == 0;
	json_t *exec, *env;

	if (is_plain)
		exec = json_pack("{s:b, s:[s]}", "shell", 1, "command", job->command);
	else
		exec = json_pack("{s:[s, s, s]}", "command", job->shell, "-c", job->command);
	env = json_object();
	for (size_t i = 0; i < job->env_count; i++)
		put_literal(env, job->env[i].name, job->env[i].value);
	must(exec && json_object_set_new(exec, "env", env) == 0);
	put_text(exec, "cwd", folder);
	put_literal(exec, "stdin", job->stdin_text);
	put_text(exec, "user", job_user(import, job));
	return exec;
}

static const char *job_zone(const struct import *import, const struct crontab_job *job)
{
	return job->timezone ? job->timezone : import->timezone;
}

/* cron's own start is the start of the service here. */
static json_t *schedule_json(const struct import *import, const struct crontab_job *job)
{
	const char *zone = job_zone(import, job);

	if (strcmp(job->schedule, "@reboot") == 0)
		return json_pack("{s:b, s:s}", "run_on_start", 1, "timezone", zone);
	return json_pack("{s:s, s:s}", "cron", job->schedule, "timezone", zone);
}

static json_t *job_json(
	struct import *import, const struct crontab_job *job, const char *name, const char *tag)
{
	const struct cli *cli = import->cli;
	const char *timeout = cli_flag(cli, "timeout");
	auto_free char *where = xasprintf("line %d of %s", job->line, import->source);
	json_t *json = json_pack("{s:s, s:s, s:s, s:o, s:o, s:s, s:s, s:s, s:[s, s]}", "name", name,
		"description", where, "kind", action_kind_names[ACTION_EXEC], "exec",
		exec_json(import, job), "schedule", schedule_json(import, job), "timeout",
		timeout ? timeout : DEFAULT_TIMEOUT, "overlap",
		overlap_names[cli_flag_choice(cli, "overlap", DEFAULT_OVERLAP)], "misfire",
		misfire_names[cli_flag_choice(cli, "misfire", DEFAULT_MISFIRE)], "tags", "crontab",
		tag);

	must(json);
	return json;
}

/* --- names --- */

static bool take_name(json_t *taken, const char *name)
{
	if (json_object_get(taken, name))
		return false;
	must(json_object_set_new(taken, name, json_true()) == 0);
	return true;
}

/* The plain name when it is free, else with as much of the hash as it takes. Owned. */
static char *choose_name(
	const struct import *import, const char *command, uint64_t hash, json_t *taken)
{
	auto_free char *base = crontab_base_name(command);
	const char *prefix = import->prefix;
	bool has_prefix = *prefix && strncmp(base, prefix, strlen(prefix)) == 0;
	char *name = xasprintf("%s%s", has_prefix ? "" : prefix, base);

	for (int digits = 6; !take_name(taken, name); digits += 5) {
		free(name);
		must(digits <= 16);
		name = xasprintf("%s%s-%0*llx", has_prefix ? "" : prefix, base, digits,
			(unsigned long long)(hash >> (64 - 4 * digits)));
	}
	return name;
}

static uint64_t twin_hash(json_t *seen, const struct crontab_job *job)
{
	uint64_t hash = crontab_job_hash(job, 0);
	char key[24];
	json_int_t twin;

	(void)snprintf(key, sizeof(key), "%llx", (unsigned long long)hash);
	twin = json_integer_value(json_object_get(seen, key));
	must(json_object_set_new(seen, key, json_integer(twin + 1)) == 0);
	return crontab_job_hash(job, (int)twin);
}

/* --- judging --- */

static void refuse_faults(struct import *import, int line, const struct faults *faults)
{
	size_t kept = faults->count < FAULTS_MAX ? faults->count : FAULTS_MAX;

	for (size_t i = 0; i < kept; i++) {
		const char *pointer = faults->item[i].pointer;
		bool is_plain = strcmp(pointer, "/schedule/cron") == 0;

		crontab_remark(&import->crontab, line, CRONTAB_REFUSED, "%s%s%s",
			is_plain ? "" : pointer, is_plain ? "" : ": ", faults->item[i].detail);
	}
}

/* Adds the row of a job, or a refusal. */
static void judge_job(struct import *import, const struct crontab_job *job, uint64_t hash)
{
	struct import_row *row = &import->rows[import->row_count];
	struct faults faults = {0};
	struct action *action;

	(void)snprintf(
		row->tag, sizeof(row->tag), "crontab-%012llx", (unsigned long long)(hash >> 16));
	row->definition = job_json(import, job, "cron-line", row->tag);
	if (action_from_json(row->definition, NULL, &action, &faults)) {
		refuse_faults(import, job->line, &faults);
		json_decref(row->definition);
		return;
	}
	row->job = job;
	row->hash = hash;
	row->next_due_ms = schedule_next(action->schedule, import->now_ms);
	import->row_count++;
	action_unref(action);
}

static void judge_all(struct import *import)
{
	struct crontab *crontab = &import->crontab;
	json_t *seen = json_object();

	import->rows = xcalloc(crontab->job_count + 1, sizeof(*import->rows));
	for (size_t i = 0; i < crontab->job_count; i++)
		judge_job(import, &crontab->jobs[i], twin_hash(seen, &crontab->jobs[i]));
	json_decref(seen);
}

/* Names for all rows; `existing` (may be NULL) are the actions of the server. */
static void name_rows(struct import *import, const json_t *existing)
{
	json_t *taken = json_object(), *by_tag = json_object(), *action, *tag;
	size_t i, t;

	json_array_foreach(existing, i, action)
	{
		(void)take_name(taken, get_text(action, "name"));
		json_array_foreach(json_object_get(action, "tags"), t, tag)(void) json_object_set(
			by_tag, json_string_value(tag), json_object_get(action, "name"));
	}
	for (i = 0; i < import->row_count; i++) {
		struct import_row *row = &import->rows[i];
		const char *known = get_text(by_tag, row->tag);

		row->exists = known != NULL;
		row->name = known ? xstrdup(known)
				  : choose_name(import, row->job->command, row->hash, taken);
		put_text(row->definition, "name", row->name);
	}
	json_decref(by_tag);
	json_decref(taken);
}

/* --- the command --- */

size_t import_refused(const struct import *import)
{
	size_t count = 0;

	for (size_t i = 0; i < import->crontab.remark_count; i++)
		count += import->crontab.remarks[i].verdict == CRONTAB_REFUSED;
	return count;
}

static int read_crontab(struct import *import, struct err *err)
{
	const char *path = import->cli->args[0];
	auto_free char *text = NULL;
	size_t len;
	int code = read_file(path, CRONTAB_BYTES_MAX, &text, &len, err);

	if (code)
		return code;
	crontab_parse(text, len, find_form(import->cli, path), &import->crontab);
	judge_all(import);
	return 0;
}

static int import_for_real(struct import *import)
{
	json_t *existing;
	int status;

	if (import_refused(import) && !cli_has(import->cli, "keep-going")) {
		import_tell_remarks(import, stderr);
		(void)fputs(
			"gathering: nothing was created; --keep-going imports the other lines\n",
			stderr);
		return 1;
	}
	status = remote_list(import->cli, "/api/v1/actions", 0, &existing, NULL);
	if (status)
		return status;
	name_rows(import, existing);
	json_decref(existing);
	status = import_send(import);
	import_tell_result(import);
	return status;
}

static void import_fini(struct import *import)
{
	for (size_t i = 0; i < import->row_count; i++) {
		json_decref(import->rows[i].definition);
		free(import->rows[i].name);
	}
	free(import->rows);
	crontab_fini(&import->crontab);
	free(import->machine_zone);
	free(import->home_user);
	free(import->home);
}

static int check_zone(const char *zone, struct err *err)
{
	struct schedule_spec spec = {.cron = "0 0 * * *", .timezone = zone};
	struct schedule *schedule;
	int code = schedule_parse(&spec, &schedule, err);

	if (!code)
		schedule_unref(schedule);
	return code;
}

int cmd_import_crontab(struct cli *cli)
{
	struct import import = {.cli = cli,
		.now_ms = clock_wall_ms(),
		.machine_zone = machine_zone(),
		.timezone = cli_flag(cli, "timezone"),
		.prefix = cli_flag(cli, "prefix")};
	struct err err = {0};
	int status;

	import.source = strcmp(cli->args[0], "-") == 0 ? "a crontab" : cli->args[0];
	if (!import.timezone)
		import.timezone = import.machine_zone;
	if (!import.prefix)
		import.prefix = DEFAULT_PREFIX;
	if (check_zone(import.timezone, &err) || read_crontab(&import, &err)) {
		status = cli_fail(&err);
	} else if (cli_has(cli, "dry-run")) {
		name_rows(&import, NULL);
		import_show_plan(&import);
		status = import_refused(&import) && !cli_has(cli, "keep-going");
	} else {
		status = import_for_real(&import);
	}
	import_fini(&import);
	return status;
}
