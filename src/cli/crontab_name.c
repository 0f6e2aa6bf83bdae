/* SPDX-License-Identifier: Apache-2.0
 *
 * Names for crontab lines, which have none: the program that matters, past the words that only set
 * the stage (`cd /srv &&`, `test -x ... ||`, `FOO=1`, `nice -n 10`, `/bin/sh -c`). A guess, and
 * only for the eye: what a job is, for finding it again, is its hash. */
#include "cli/crontab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/buf.h"
#include "base/mem.h"

#define NAME_WORD_MAX 256

/* Words that begin a command which only prepares the next one. */
static const char *const stage_words[] = {"cd", "test", "[", "[[", ":", "true", ".", "source",
	"set", "export", "umask", "sleep", "if", NULL};

/* Programs that start another: how many words they take before it, and which of their options take
 * a word of their own ("nice -n 10 x"). */
static const struct wrapper {
	const char *name;
	int words;
	const char *valued;
} wrappers[] = {
	{"nice", 0, "n"},
	{"ionice", 0, "cnp"},
	{"chrt", 1, ""},
	{"env", 0, "uC"},
	{"exec", 0, "a"},
	{"time", 0, "of"},
	{"nohup", 0, ""},
	{"chronic", 0, ""},
	{"setsid", 0, ""},
	{"sudo", 0, "ugpCh"},
	{"timeout", 1, "ks"},
	{"flock", 1, "wE"},
	{"setlock", 1, ""},
	{"sh", 0, ""},
	{"bash", 0, ""},
	{"dash", 0, ""},
	{"ksh", 0, ""},
	{"zsh", 0, ""},
	{"python", 0, "mWX"},
	{"python3", 0, "WX"},
	{"perl", 0, "IM"},
	{"php", 0, "cd"},
	{"ruby", 0, "Ir"},
	{"node", 0, "r"},
	{"run-parts", 0, ""},
	{"then", 0, ""},
	{"do", 0, ""},
	{"eval", 0, ""},
	{"systemd-cat", 0, "tp"},
	{"command", 0, ""},
};

static const char *const endings[] = {".sh", ".bash", ".py", ".pl", ".php", ".rb", ".js", NULL};

static bool is_one_of(const char *word, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(*list, word) == 0)
			return true;
	return false;
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

static const struct wrapper *wrapper_find(const char *word)
{
	for (size_t i = 0; i < COUNT_OF(wrappers); i++)
		if (strcmp(wrappers[i].name, base_of(word)) == 0)
			return &wrappers[i];
	return NULL;
}

/* The next word, quotes taken off; *ret_ends when a separator (&& || ; | and brackets) came instead
 * or the text is over. */
static size_t next_token(const char **at, char *word, bool *ret_ends)
{
	const char *text = *at + strspn(*at, " \t\n");
	size_t len = 0;
	char quote = '\0';

	*ret_ends = *text == '\0';
	if (*text && strchr(";&|(){}!<>", *text)) {
		*at = text + 1;
		*ret_ends = true;
		word[0] = '\0';
		return 1;
	}
	for (; *text && (quote || !strchr(" \t\n;&|()<>", *text)); text++) {
		if (quote ? *text == quote : *text == '"' || *text == '\'')
			quote = quote ? '\0' : *text;
		else if (len + 1 < NAME_WORD_MAX)
			word[len++] = *text;
	}
	word[len] = '\0';
	*at = text;
	return len;
}

static bool is_assignment(const char *word)
{
	const char *equals = strchr(word, '=');

	return equals && equals > word && strcspn(word, "/-.") > (size_t)(equals - word);
}

/* Words that name no program: expansions, options, leftovers. */
static bool finds_nothing(const char *path)
{
	const char *word = base_of(path);

	return word[0] == '\0' || word[0] == '$' || word[0] == '-' || word[0] == '>' ||
	       word[0] == '<';
}

static void skip_command(const char **at, char *word)
{
	bool ends = false;

	while (!ends)
		(void)next_token(at, word, &ends);
}

/* An option of the wrapper; does it take the next word? "-n10" holds its value. */
static bool takes_value(const struct wrapper *wrapper, const char *option)
{
	return option[1] && !option[2] && strchr(wrapper->valued, option[1]);
}

/* Reads one simple command; true and `word` set when it names a program worth a name. A wrapper
 * with nothing behind it is that program itself. */
static bool find_in_command(const char **at, char *word)
{
	const struct wrapper *wrapper = NULL, *next;
	int skip = 0;
	bool ends;

	for (;;) {
		size_t len = next_token(at, word, &ends);

		if (ends && wrapper)
			(void)snprintf(word, NAME_WORD_MAX, "%s", wrapper->name);
		if (ends)
			return wrapper != NULL;
		if (len == 0 || is_assignment(word))
			continue;
		if (wrapper && word[0] == '-') {
			skip += takes_value(wrapper, word);
			continue;
		}
		if (skip > 0) {
			skip--;
			continue;
		}
		if (is_one_of(word, stage_words)) {
			skip_command(at, word);
			return false;
		}
		next = wrapper_find(word);
		if (!next)
			return !finds_nothing(word);
		wrapper = next;
		skip = wrapper->words;
	}
}

/* Letters, digits, '_' and '-' only; beginning and end alphanumeric; lower case. */
static char *sanitize(const char *word)
{
	struct buf name;
	char *text;
	size_t len = strlen(word);

	for (size_t i = 0; endings[i]; i++) {
		size_t ending = strlen(endings[i]);

		if (len > ending && strcmp(word + len - ending, endings[i]) == 0)
			len -= ending;
	}
	buf_init(&name, CRONTAB_BASE_MAX);
	for (size_t i = 0; i < len; i++) {
		char c = ascii_lower(word[i]);

		if (ascii_is_alnum(c) || (c == '_' && name.len))
			buf_putc(&name, c);
		else if (name.len && name.data[name.len - 1] != '-')
			buf_putc(&name, '-');
	}
	while (name.len && strchr("-_", name.data[name.len - 1]))
		name.data[--name.len] = '\0';
	text = buf_take(&name);
	buf_fini(&name);
	return text;
}

char *crontab_base_name(const char *command)
{
	char word[NAME_WORD_MAX];

	while (*command) {
		char *name;

		if (!find_in_command(&command, word))
			continue;
		name = sanitize(base_of(word));
		if (*name)
			return name;
		free(name);
	}
	return xstrdup("job");
}

/* FNV-1a; the NUL is hashed too, so that "a","bc" and "ab","c" differ. NULL counts as "". */
static uint64_t hash_text(uint64_t hash, const char *text)
{
	text = text ? text : "";
	do {
		hash ^= (unsigned char)*text;
		hash *= UINT64_C(0x100000001b3);
	} while (*text++);
	return hash;
}

uint64_t crontab_job_hash(const struct crontab_job *job, int twin)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	hash = hash_text(hash, job->schedule);
	hash = hash_text(hash, job->timezone);
	hash = hash_text(hash, job->user);
	hash = hash_text(hash, job->command);
	hash = hash_text(hash, job->stdin_text);
	return (hash ^ (uint64_t)twin) * UINT64_C(0x100000001b3);
}
