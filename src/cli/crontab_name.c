/* SPDX-License-Identifier: Apache-2.0
 *
 * Names for crontab lines, which have none: the program that matters, past the words that only set
 * the stage (`cd /srv &&`, `test -x ... ||`, `FOO=1`, `nice -n 10`, `/bin/sh -c`). A guess, and only
 * for the eye: what a job is, for finding it again, is its hash. */
#include "cli/crontab.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

#define NAME_WORD_MAX 256

/* Words that begin a command which only prepares the next one. */
static const char *const stage_words[] = {
	"cd", "test", "[", "[[", ":", "true", ".", "source", "set", "export", "umask", "sleep", "if", NULL};

/* Programs that start another; the number of words they take before it, options aside. */
static const struct {
	const char *name;
	int words;
} wrappers[] = {{"nice", 0}, {"ionice", 0}, {"chrt", 1}, {"env", 0}, {"exec", 0}, {"time", 0},
	{"nohup", 0}, {"chronic", 0}, {"setsid", 0}, {"sudo", 0}, {"timeout", 1}, {"flock", 1},
	{"setlock", 1}, {"sh", 0}, {"bash", 0}, {"dash", 0}, {"ksh", 0}, {"zsh", 0}, {"python", 0},
	{"python3", 0}, {"perl", 0}, {"php", 0}, {"ruby", 0}, {"node", 0}, {"run-parts", 0}, {"then", 0},
	{"do", 0}, {"eval", 0}, {"systemd-cat", 0}, {"command", 0}};

/* Options of those that take a word of their own. */
static const char *const valued_options[] = {"-n", "-c2", "-u", "-g", "-p", "-k", "-s", "-w", "-E", "-t", NULL};

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

static int wrapper_words(const char *word)
{
	for (size_t i = 0; i < COUNT_OF(wrappers); i++)
		if (strcmp(wrappers[i].name, base_of(word)) == 0)
			return wrappers[i].words;
	return -1;
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

	return equals && equals > word && strcspn(word, "/-.") > (size_t) (equals - word);
}

static bool finds_nothing(const char *word)
{
	return word[0] == '\0' || word[0] == '$' || word[0] == '-' || word[0] == '>' || word[0] == '<';
}

/* Reads one simple command; true and `word` set when it names a program worth a name. */
static bool find_in_command(const char **at, char *word)
{
	int skip = 0;
	bool ends, found_wrapper = false;
	char last[NAME_WORD_MAX] = "";

	for (;;) {
		size_t len = next_token(at, word, &ends);

		if (ends) {
			memcpy(word, last, sizeof(last));
			return found_wrapper && last[0] != '\0';
		}
		if (len == 0 || is_assignment(word))
			continue;
		if (found_wrapper && word[0] == '-') {
			skip += is_one_of(word, valued_options);
			continue;
		}
		if (skip > 0) {
			skip--;
			continue;
		}
		if (is_one_of(word, stage_words)) {
			while (!ends)
				(void) next_token(at, word, &ends);
			return false;
		}
		if (wrapper_words(word) < 0)
			return !finds_nothing(word);
		skip = wrapper_words(word);
		found_wrapper = true;
		memcpy(last, base_of(word), strlen(base_of(word)) + 1);
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
		char c = word[i];

		if (c >= 'A' && c <= 'Z')
			c = (char) (c - 'A' + 'a');
		if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c == '_' && name.len))
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
		hash ^= (unsigned char) *text;
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
	return (hash ^ (uint64_t) twin) * UINT64_C(0x100000001b3);
}
