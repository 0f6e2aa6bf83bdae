/* SPDX-License-Identifier: Apache-2.0
 *
 * A line is, in this order: blank, a comment, an assignment, or a job. An assignment is tried first
 * as cron does, and cannot swallow a job: after a job's first field comes another field, never '='.
 *
 * Seen on Debian 12 (cron 3.0pl1-162) rather than read: in the command `\%` becomes `%` and `\\`
 * becomes `\`, any other backslash stays; in the standard input only `\%` changes, every other % is
 * a newline, and a newline is added when the text does not end in one. TZ is an ordinary variable
 * of the commands and moves no schedule. */
#include "cli/crontab.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"

#define CRON_FIELDS  5
#define REMARK_CHARS 300
#define BLANKS       " \t"

struct reader {
	struct crontab *crontab;
	struct crontab_env env[CRONTAB_ENV_MAX]; /* in force from here on; owned */
	size_t env_count;
	char *timezone; /* CRON_TZ; owned */
	char *shell;    /* SHELL; owned */
	int line;
	bool cr_told;
};

/* --- remarks --- */

__attribute__((format(printf, 4, 0))) static void remark_add(struct crontab *crontab, int line,
	enum crontab_verdict verdict, const char *fmt, va_list args)
{
	char text[REMARK_CHARS];
	struct buf clean;
	size_t at = crontab->remark_count;

	(void)vsnprintf(text, sizeof(text), fmt, args);
	buf_init(&clean, sizeof(text) * 3);
	utf8_clean(text, strlen(text), &clean); /* a cut may have split a character */
	crontab->remarks =
		xrealloc(crontab->remarks, crontab->remark_count + 1, sizeof(*crontab->remarks));
	while (at > 0 && crontab->remarks[at - 1].line > line) {
		crontab->remarks[at] = crontab->remarks[at - 1];
		at--;
	}
	crontab->remarks[at] = (struct crontab_remark){
		.line = line, .verdict = verdict, .text = xstrdup(buf_text(&clean))};
	crontab->remark_count++;
	buf_fini(&clean);
}

void crontab_remark(
	struct crontab *crontab, int line, enum crontab_verdict verdict, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	remark_add(crontab, line, verdict, fmt, args);
	va_end(args);
}

__attribute__((format(printf, 2, 3))) static void note(struct reader *reader, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	remark_add(reader->crontab, reader->line, CRONTAB_NOTED, fmt, args);
	va_end(args);
}

__attribute__((format(printf, 2, 3))) static void refuse(
	struct reader *reader, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	remark_add(reader->crontab, reader->line, CRONTAB_REFUSED, fmt, args);
	va_end(args);
}

/* --- assignments --- */

/* What a variable means to us. */
enum meaning {
	MEANS_ENV,     /* handed to the commands that follow */
	MEANS_ZONE,    /* schedules that follow are in this zone */
	MEANS_SHELL,   /* commands that follow are given to this shell */
	MEANS_NO_MAIL, /* cron's mail; there is none here */
	MEANS_FIXED,   /* cron sets it itself and ignores the file */
	MEANS_FOREIGN  /* another cron's scheduling; not carried over */
};

static const struct {
	const char *name;
	enum meaning meaning;
} meanings[] = {
	{"CRON_TZ", MEANS_ZONE},
	{"SHELL", MEANS_SHELL},
	{"MAILTO", MEANS_NO_MAIL},
	{"MAILFROM", MEANS_NO_MAIL},
	{"CONTENT_TYPE", MEANS_NO_MAIL},
	{"CONTENT_TRANSFER_ENCODING", MEANS_NO_MAIL},
	{"LOGNAME", MEANS_FIXED},
	{"USER", MEANS_FIXED},
	{"RANDOM_DELAY", MEANS_FOREIGN},
	{"START_HOURS_RANGE", MEANS_FOREIGN},
	{"CRON_WITHIN", MEANS_FOREIGN},
};

static enum meaning meaning_of(const char *name)
{
	for (size_t i = 0; i < COUNT_OF(meanings); i++)
		if (strcmp(meanings[i].name, name) == 0)
			return meanings[i].meaning;
	return MEANS_ENV;
}

/* A quoted or bare word; sets *ret_end behind it. NULL: a quote that does not end, or nothing. */
static char *take_word(const char *text, const char *stops, const char **ret_end)
{
	const char *end;

	if (*text == '"' || *text == '\'') {
		end = strchr(text + 1, *text);
		if (!end)
			return NULL;
		*ret_end = end + 1;
		return xstrndup(text + 1, (size_t)(end - text - 1));
	}
	end = text + strcspn(text, stops);
	*ret_end = end;
	return end == text ? NULL : xstrndup(text, (size_t)(end - text));
}

/* The text without the blanks at its end. */
static char *dup_trimmed(const char *text)
{
	size_t len = strlen(text);

	while (len > 0 && strchr(BLANKS, text[len - 1]))
		len--;
	return xstrndup(text, len);
}

/* False, nothing set: no assignment. */
static bool split_assignment(const char *text, char **ret_name, const char **ret_value)
{
	const char *end;
	auto_free char *name = take_word(text, BLANKS "=", &end);

	if (!name)
		return false;
	end += strspn(end, BLANKS);
	if (*end != '=')
		return false;
	end++;
	*ret_name = take_ptr(name);
	*ret_value = end + strspn(end, BLANKS);
	return true;
}

static bool is_variable_name(const char *name)
{
	const char *c = name;

	for (; *c; c++) {
		if (!ascii_is_letter(*c) && *c != '_' && !(c > name && ascii_is_digit(*c)))
			return false;
	}
	return c > name;
}

/* Takes over `value_take`. */
static void set_env(struct reader *reader, const char *name, char *value_take)
{
	for (size_t i = 0; i < reader->env_count; i++) {
		if (strcmp(reader->env[i].name, name) == 0) {
			free(reader->env[i].value);
			reader->env[i].value = value_take;
			return;
		}
	}
	if (reader->env_count == CRONTAB_ENV_MAX) {
		refuse(reader, "%s: more than %d variables", name, CRONTAB_ENV_MAX);
		free(value_take);
		return;
	}
	reader->env[reader->env_count++] =
		(struct crontab_env){.name = xstrdup(name), .value = value_take};
}

static void apply_variable(struct reader *reader, const char *name, char *value_take)
{
	auto_free char *value = value_take;

	switch (meaning_of(name)) {
	case MEANS_ENV:
		set_env(reader, name, take_ptr(value));
		return;
	case MEANS_ZONE:
		free(reader->timezone);
		reader->timezone = *value ? take_ptr(value) : NULL;
		return;
	case MEANS_SHELL:
		set_env(reader, name, xstrdup(value));
		free(reader->shell);
		reader->shell = take_ptr(value);
		return;
	case MEANS_NO_MAIL:
		note(reader,
			"%s is not carried over: output is kept with each run instead of being "
			"mailed",
			name);
		return;
	case MEANS_FIXED:
		note(reader, "%s is not carried over: cron ignores it too, it is the user's name",
			name);
		return;
	case MEANS_FOREIGN:
		note(reader, "%s is not carried over: not a setting of Debian's cron", name);
		return;
	}
}

static void read_assignment(struct reader *reader, const char *name, const char *text)
{
	const char *end = text;
	char *value;

	if (!is_variable_name(name)) {
		refuse(reader, "'%.60s' is not a variable name: letters, digits and '_' only",
			name);
		return;
	}
	if (strncmp(name, "GATHERING_", 10) == 0) {
		refuse(reader, "%.60s: names that begin with GATHERING_ are set by the server",
			name);
		return;
	}
	if (*text != '"' && *text != '\'') {
		apply_variable(reader, name, dup_trimmed(text));
		return;
	}
	value = take_word(text, "", &end);
	if (!value) {
		refuse(reader, "%s: the quote %c is not closed", name, *text);
		return;
	}
	if (end[strspn(end, BLANKS)] != '\0') {
		refuse(reader,
			"%s: text behind the closing quote; cron takes the line for a bad job",
			name);
		free(value);
		return;
	}
	apply_variable(reader, name, value);
}

/* --- jobs --- */

static void job_fini(struct crontab_job *job)
{
	free(job->schedule);
	free(job->timezone);
	free(job->user);
	free(job->command);
	free(job->stdin_text);
	free(job->shell);
	for (size_t i = 0; i < job->env_count; i++) {
		free(job->env[i].name);
		free(job->env[i].value);
	}
	free(job->env);
}

/* The next word of the line, or NULL at its end; moves `at` behind it. */
static char *next_word(const char **at)
{
	const char *start = *at + strspn(*at, BLANKS);
	size_t len = strcspn(start, BLANKS);

	*at = start + len;
	return len ? xstrndup(start, len) : NULL;
}

/* "@daily", or five fields joined by single blanks. NULL after a refusal. */
static char *take_schedule(struct reader *reader, const char **at)
{
	struct buf schedule;
	char *text;

	if (**at == '@')
		return next_word(at);
	buf_init(&schedule, CRONTAB_LINE_MAX);
	for (int i = 0; i < CRON_FIELDS; i++) {
		auto_free char *field = next_word(at);

		if (!field) {
			refuse(reader, "only %d of the %d time fields, and no command", i,
				CRON_FIELDS);
			buf_fini(&schedule);
			return NULL;
		}
		buf_printf(&schedule, "%s%s", i ? " " : "", field);
	}
	text = buf_take(&schedule);
	buf_fini(&schedule);
	return text;
}

/* The command up to the first % that is not escaped; *ret_rest stands behind it or is NULL. */
static char *take_command(const char *text, const char **ret_rest)
{
	char *command = xmalloc(strlen(text) + 1), *out = command;

	*ret_rest = NULL;
	for (; *text; text++) {
		if (*text == '\\' && (text[1] == '%' || text[1] == '\\')) {
			*out++ = *++text;
		} else if (*text == '%') {
			*ret_rest = text + 1;
			break;
		} else {
			*out++ = *text;
		}
	}
	*out = '\0';
	return command;
}

static char *make_stdin(const char *text)
{
	size_t len = strlen(text);
	char *input = xmalloc(len + 2), *out = input;

	for (; *text; text++) {
		if (*text == '\\' && text[1] == '%')
			*out++ = *++text;
		else
			*out++ = *text == '%' ? '\n' : *text;
	}
	if (out == input || out[-1] != '\n')
		*out++ = '\n';
	*out = '\0';
	return input;
}

static void copy_env(const struct reader *reader, struct crontab_job *job)
{
	job->env_count = reader->env_count;
	job->env = xcalloc(reader->env_count + 1, sizeof(*job->env));
	for (size_t i = 0; i < reader->env_count; i++) {
		job->env[i].name = xstrdup(reader->env[i].name);
		job->env[i].value = xstrdup(reader->env[i].value);
	}
	job->timezone = xstrdup(reader->timezone);
	job->shell = xstrdup(reader->shell);
}

static bool check_start(struct reader *reader, const char *text)
{
	if (*text == '-') {
		refuse(reader, "a leading '-' (no log line, in some crons) is nothing Debian's "
			       "cron takes; "
			       "delete it");
		return false;
	}
	return true;
}

static void read_job(struct reader *reader, const char *text)
{
	struct crontab *crontab = reader->crontab;
	struct crontab_job job = {.line = reader->line};
	const char *at = text, *rest;

	if (!check_start(reader, text))
		return;
	job.schedule = take_schedule(reader, &at);
	if (!job.schedule)
		return;
	if (crontab->form == CRONTAB_SYSTEM)
		job.user = next_word(&at);
	at += strspn(at, BLANKS);
	job.command = take_command(at, &rest);
	if (job.command[strspn(job.command, BLANKS)] == '\0') {
		refuse(reader, crontab->form == CRONTAB_SYSTEM
				       ? "no command behind the time and the user"
				       : "no command behind the time");
		job_fini(&job);
		return;
	}
	job.stdin_text = rest ? make_stdin(rest) : NULL;
	copy_env(reader, &job);
	crontab->jobs[crontab->job_count++] = job;
}

/* --- lines --- */

static bool check_line(struct reader *reader, const char *line, size_t len)
{
	if (len > CRONTAB_LINE_MAX)
		refuse(reader, "%zu bytes; the longest line that is taken has %d", len,
			CRONTAB_LINE_MAX);
	else if (memchr(line, '\0', len))
		refuse(reader, "contains a NUL byte");
	else if (!utf8_is_valid(line, len))
		refuse(reader, "is not UTF-8");
	else
		return true;
	return false;
}

static void read_line(struct reader *reader, const char *line, size_t len)
{
	auto_free char *text = NULL, *name = NULL;
	const char *start, *value;

	while (len > 0 && strchr(BLANKS, *line) && *line)
		line++, len--;
	if (len > 0 && line[len - 1] == '\r') {
		len--;
		if (!reader->cr_told)
			note(reader, "lines end in CR LF; the CR is dropped (cron would hand it to "
				     "the command)");
		reader->cr_told = true;
	}
	if (len == 0 || *line == '#' || !check_line(reader, line, len))
		return;
	text = xstrndup(line, len);
	start = text;
	if (split_assignment(start, &name, &value))
		read_assignment(reader, name, value);
	else
		read_job(reader, start);
}

/* Calls `each` for every line, numbered from 1. */
static size_t count_lines(const char *text, size_t len)
{
	size_t lines = 1;

	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	return lines;
}

/* The first command word of a job line is exactly "root". */
static bool names_root(const char *line, size_t len)
{
	auto_free char *text = xstrndup(line, len);
	const char *at = text + strspn(text, BLANKS);
	auto_free char *word = NULL;

	if (*at == '\0' || *at == '#')
		return false;
	for (int i = *at == '@' ? 1 : CRON_FIELDS; i >= 0; i--) {
		free(word);
		word = next_word(&at);
		if (!word)
			return false;
	}
	return strcmp(word, "root") == 0;
}

static bool looks_like_system(const char *text, size_t len)
{
	while (len > 0) {
		const char *end = memchr(text, '\n', len);
		size_t line_len = end ? (size_t)(end - text) : len;

		if (line_len <= CRONTAB_LINE_MAX && names_root(text, line_len))
			return true;
		len -= line_len + (end != NULL);
		text += line_len + (end != NULL);
	}
	return false;
}

void crontab_parse(
	const char *text, size_t len, enum crontab_form form, struct crontab *ret_crontab)
{
	struct reader reader = {.crontab = ret_crontab};
	bool is_system =
		form == CRONTAB_SYSTEM || (form == CRONTAB_AUTO && looks_like_system(text, len));

	*ret_crontab = (struct crontab){.form = is_system ? CRONTAB_SYSTEM : CRONTAB_USER};
	ret_crontab->jobs = xcalloc(count_lines(text, len), sizeof(*ret_crontab->jobs));
	while (len > 0) {
		const char *end = memchr(text, '\n', len);
		size_t line_len = end ? (size_t)(end - text) : len;

		reader.line++;
		read_line(&reader, text, line_len);
		if (!end && line_len > 0)
			note(&reader, "no newline at the end of the file; taken all the same (cron "
				      "ignores such a file)");
		len -= line_len + (end != NULL);
		text += line_len + (end != NULL);
	}
	for (size_t i = 0; i < reader.env_count; i++) {
		free(reader.env[i].name);
		free(reader.env[i].value);
	}
	free(reader.timezone);
	free(reader.shell);
}

void crontab_fini(struct crontab *crontab)
{
	for (size_t i = 0; i < crontab->job_count; i++)
		job_fini(&crontab->jobs[i]);
	for (size_t i = 0; i < crontab->remark_count; i++)
		free(crontab->remarks[i].text);
	free(crontab->jobs);
	free(crontab->remarks);
	*crontab = (struct crontab){0};
}
