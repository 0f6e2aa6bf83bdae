/* SPDX-License-Identifier: Apache-2.0
 *
 * crontab_parse over arbitrary bytes. The first byte picks the form, the rest is the file. Every
 * line must end as a job, a remark, or neither, never as a job and a refusal; what a job carries
 * must be fit for an action; and the same text must give the same jobs again.
 *
 *     FUZZ_SECONDS=60 tools/run-fuzz crontab
 *
 * test/fuzz/smoke.c runs it on mutations of the corpus in every `make test`. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/crontab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_text(const char *text)
{
	return utf8_is_valid(text, strlen(text));
}

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Fit for the name of an action, with or without a prefix. */
static void check_name(const char *command)
{
	auto_free char *name = crontab_base_name(command);

	must(is_alnum(name[0]) && strlen(name) <= CRONTAB_BASE_MAX);
	for (const char *c = name; *c; c++)
		must(is_alnum(*c) || *c == '-' || *c == '_');
}

static bool is_variable_name(const char *name)
{
	for (const char *c = name; *c; c++)
		if (!is_alnum(*c) && *c != '_')
			return false;
	return name[0] != '\0' && !(name[0] >= '0' && name[0] <= '9');
}

static void check_env(const struct crontab_job *job)
{
	must(job->env_count <= CRONTAB_ENV_MAX);
	for (size_t i = 0; i < job->env_count; i++) {
		const char *name = job->env[i].name;

		must(is_variable_name(name) && is_text(job->env[i].value));
		must(strcmp(name, "CRON_TZ") != 0 && strncmp(name, "GATHERING_", 10) != 0);
		for (size_t k = 0; k < i; k++)
			must(strcmp(job->env[k].name, name) != 0);
	}
}

static void check_job(const struct crontab *crontab, const struct crontab_job *job)
{
	must(job->schedule[0] != '\0');
	must(strlen(job->schedule) + strlen(job->command) <= CRONTAB_LINE_MAX);
	must(job->command[strspn(job->command, " \t")] != '\0');
	must(is_text(job->schedule) && is_text(job->command));
	must(!strchr(job->schedule, '\n') && !strchr(job->command, '\n'));
	must((job->user != NULL) == (crontab->form == CRONTAB_SYSTEM));
	must(!job->user ||
		(job->user[0] != '\0' && !strpbrk(job->user, " \t") && is_text(job->user)));
	must(!job->timezone || job->timezone[0] != '\0');
	must(!job->stdin_text ||
		(is_text(job->stdin_text) && job->stdin_text[strlen(job->stdin_text) - 1] == '\n'));
	must(crontab_job_hash(job, 0) != crontab_job_hash(job, 1));
	check_env(job);
	check_name(job->command);
}

static int count_lines(const char *text, size_t len)
{
	int lines = 0;

	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n' || i + 1 == len;
	return lines;
}

static bool is_refused(const struct crontab *crontab, int line)
{
	for (size_t i = 0; i < crontab->remark_count; i++)
		if (crontab->remarks[i].line == line &&
			crontab->remarks[i].verdict == CRONTAB_REFUSED)
			return true;
	return false;
}

static void check_lines(const struct crontab *crontab, int lines)
{
	int line = 0;

	must(crontab->form == CRONTAB_USER || crontab->form == CRONTAB_SYSTEM);
	for (size_t i = 0; i < crontab->job_count; i++) {
		must(crontab->jobs[i].line > line && crontab->jobs[i].line <= lines);
		line = crontab->jobs[i].line;
		must(!is_refused(crontab, line));
		check_job(crontab, &crontab->jobs[i]);
	}
	line = 0;
	for (size_t i = 0; i < crontab->remark_count; i++) {
		const struct crontab_remark *remark = &crontab->remarks[i];

		must(remark->line >= line && remark->line <= lines);
		line = remark->line;
		must(remark->text[0] != '\0' && is_text(remark->text));
	}
}

/* Comments and blank lines between the others move the jobs and change nothing about them. */
static void check_moved(const char *text, size_t len, const struct crontab *crontab)
{
	static const char above[] = "# a remark\n\n";
	auto_free char *moved = xmalloc(sizeof(above) - 1 + len);
	struct crontab again;

	memcpy(moved, above, sizeof(above) - 1);
	memcpy(moved + sizeof(above) - 1, text, len);
	crontab_parse(moved, sizeof(above) - 1 + len, crontab->form, &again);
	must(again.job_count == crontab->job_count && again.remark_count == crontab->remark_count);
	for (size_t i = 0; i < again.job_count; i++) {
		must(again.jobs[i].line == crontab->jobs[i].line + 2);
		must(crontab_job_hash(&again.jobs[i], 0) == crontab_job_hash(&crontab->jobs[i], 0));
	}
	crontab_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum crontab_form form = size ? (enum crontab_form)(data[0] % 3) : CRONTAB_AUTO;
	const char *text = (const char *)data + (size > 0);
	size_t len = size - (size > 0);
	struct crontab crontab;

	crontab_parse(text, len, form, &crontab);
	must(form == CRONTAB_AUTO || crontab.form == form);
	check_lines(&crontab, count_lines(text, len));
	check_moved(text, len, &crontab);
	crontab_fini(&crontab);
	return 0;
}
