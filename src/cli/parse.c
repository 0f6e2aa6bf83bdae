/* SPDX-License-Identifier: Apache-2.0
 *
 * argv to struct cli. Words first name the command; then flags and arguments in any order, each
 * flag looked up in the tables of that command (and the global one) and its value checked by its
 * type;
 * `--` ends the flags. Global flags may also stand before the command. A word that is nearly right
 * gets a suggestion. */
#include "cli/cli_priv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"

/* --- commands --- */

static size_t words_matched(const char *name, char *const *words, size_t count)
{
	size_t used = 0;

	for (; *name; used++) {
		size_t len = strcspn(name, " ");

		if (used == count || strlen(words[used]) != len ||
			strncmp(name, words[used], len) != 0)
			return 0;
		name += len + (name[len] == ' ');
	}
	return used;
}

const struct command *command_find(char *const *words, size_t count, size_t *ret_used)
{
	for (const struct command *command = cli_commands; command->name; command++) {
		size_t used = words_matched(command->name, words, count);

		if (used > 0) {
			*ret_used = used;
			return command;
		}
	}
	return NULL;
}

static const char *command_name(const void *data, size_t i)
{
	return cli_commands[i].name;
}

/* The verbs of a group ("action"), for nearest_word; NULL at the end. */
static const char *verb_at(const void *group, size_t index)
{
	size_t len = strlen(group);

	for (const struct command *command = cli_commands; command->name; command++)
		if (strncmp(command->name, group, len) == 0 && command->name[len] == ' ' &&
			index-- == 0)
			return command->name + len + 1;
	return NULL;
}

/* "gathering action" or "gathering action lst". */
static int fail_verb(const char *group, const char *verb, struct err *err)
{
	const char *near = verb ? nearest_word(verb, verb_at, group) : NULL, *known;
	char text[256] = "";

	if (near)
		return err_set(err, ERR_INVALID, "no command '%s %.60s'; did you mean '%s %s'?",
			group, verb, group, near);
	for (size_t i = 0; (known = verb_at(group, i)); i++) {
		size_t at = strlen(text);

		(void)snprintf(text + at, sizeof(text) - at, "%s%s", at ? ", " : "", known);
	}
	if (!verb)
		return err_set(err, ERR_INVALID, "%s what? one of: %s", group, text);
	return err_set(
		err, ERR_INVALID, "no command '%s %.60s'; %s takes: %s", group, verb, group, text);
}

static int fail_command(char *const *words, size_t count, struct err *err)
{
	auto_free char *two = NULL;
	const char *near;

	if (count == 0)
		return err_set(err, ERR_INVALID, "which command? `gathering help` lists them");
	if (verb_at(words[0], 0))
		return fail_verb(words[0], count > 1 ? words[1] : NULL, err);
	two = xasprintf("%s %s", words[0], count > 1 ? words[1] : "");
	near = nearest_word(words[0], command_name, NULL);
	if (!near)
		near = nearest_word(two, command_name, NULL);
	if (near)
		return err_set(
			err, ERR_INVALID, "no command '%.80s'; did you mean '%s'?", words[0], near);
	return err_set(
		err, ERR_INVALID, "no command '%.80s'; `gathering help` lists them", words[0]);
}

/* --- flags --- */

/* Visits the flags a call may use: those of the command, then the global ones. */
static const struct flag *flag_at(const struct command *command, size_t index)
{
	for (size_t t = 0; t <= COMMAND_FLAGS_MAX; t++) {
		const struct flag *table = t < COMMAND_FLAGS_MAX
						   ? (command ? command->flags[t] : NULL)
						   : cli_global_flags;

		for (; table && table->name; table++)
			if (index-- == 0)
				return table;
	}
	return NULL;
}

static const char *flag_name_at(const void *command, size_t index)
{
	const struct flag *flag = flag_at(command, index);

	return flag ? flag->name : NULL;
}

static const struct flag *flag_find(const struct command *command, const char *name, size_t len)
{
	const struct flag *flag;

	for (size_t i = 0; (flag = flag_at(command, i)); i++)
		if (strlen(flag->name) == len && strncmp(flag->name, name, len) == 0)
			return flag;
	return NULL;
}

static const struct flag *flag_by_letter(const struct command *command, char letter)
{
	const struct flag *flag;

	for (size_t i = 0; (flag = flag_at(command, i)); i++)
		if (flag->letter && flag->letter == letter)
			return flag;
	return NULL;
}

static int check_choice(const struct flag *flag, const char *value, struct err *err)
{
	char known[200] = "";

	for (size_t i = 0; flag->choices[i]; i++) {
		size_t at = strlen(known);

		if (strcmp(flag->choices[i], value) == 0)
			return 0;
		(void)snprintf(
			known + at, sizeof(known) - at, "%s%s", at ? ", " : "", flag->choices[i]);
	}
	return err_set(err, ERR_INVALID, "--%s '%.60s': one of %s", flag->name, value, known);
}

static bool is_share(const char *value)
{
	const char *digits = value[0] == '0' || value[0] == '1' ? value + 1 : "?";

	if (digits[0] == '.' && digits[1] != '\0')
		digits++;
	return digits[strspn(digits, value[0] == '1' ? "0" : "0123456789")] == '\0';
}

static int check_value(const struct flag *flag, const char *value, struct err *err)
{
	int64_t number;

	switch (flag->type) {
	case FLAG_SWITCH:
	case FLAG_TEXT:
	case FLAG_LIST:
		return 0;
	case FLAG_INT:
		if (parse_i64(value, flag->min, flag->max, &number))
			return 0;
		return err_set(err, ERR_INVALID, "--%s '%.60s': a whole number from %lld to %lld",
			flag->name, value, (long long)flag->min, (long long)flag->max);
	case FLAG_DURATION:
		if (parse_duration(value, &number))
			return 0;
		return err_set(err, ERR_INVALID,
			"--%s '%.60s': a duration such as 90s, 5m or 1h30m", flag->name, value);
	case FLAG_TIME:
		if (parse_rfc3339(value, &number) || parse_duration(value, &number))
			return 0;
		return err_set(err, ERR_INVALID,
			"--%s '%.60s': a time such as 2026-11-22T01:30:00Z, or how long ago such "
			"as 2h",
			flag->name, value);
	case FLAG_CHOICE:
	case FLAG_BOOL:
		return check_choice(flag, value, err);
	case FLAG_SHARE:
		if (is_share(value))
			return 0;
		return err_set(err, ERR_INVALID, "--%s '%.60s': a share from 0 to 1, such as 0.2",
			flag->name, value);
	case FLAG_PAIR:
	case FLAG_WINDOW:
		if (flag->type == FLAG_PAIR ? strchr(value, flag->separator) > value
					    : strstr(value, " for ") || strstr(value, " to "))
			return 0;
		return err_set(err, ERR_INVALID, "--%s '%.60s': written %s", flag->name, value,
			flag->value);
	}
	return 0;
}

static int fail_flag(const struct command *command, const char *word, struct err *err)
{
	const char *name = word + strspn(word, "-");
	size_t len = strcspn(name, "=");
	auto_free char *bare = xstrndup(name, len);
	/* one letter says nothing about which long one was meant */
	const char *near = len > 1 ? nearest_word(bare, flag_name_at, command) : NULL;

	if (near)
		return err_set(
			err, ERR_INVALID, "no flag '%.60s' here; did you mean --%s?", word, near);
	if (command && command->takes_rest)
		return err_set(err, ERR_INVALID,
			"no flag '%.60s' here; flags of your own program go behind `--`", word);
	return err_set(err, ERR_INVALID, "no flag '%.60s' here", word);
}

struct walk {
	struct cli *cli;
	char *const *argv;
	size_t count, at;
	bool wants_help;
};

static int take_flag(struct walk *walk, struct err *err)
{
	const char *word = walk->argv[walk->at++], *equals = strchr(word, '='), *value = NULL;
	bool is_long = word[1] == '-';
	const struct command *command = walk->cli->command;
	const struct flag *flag;
	int code;

	if (is_long)
		flag = flag_find(
			command, word + 2, equals ? (size_t)(equals - word - 2) : strlen(word + 2));
	else
		flag = flag_by_letter(command, word[1]);
	if (!flag)
		return fail_flag(command, word, err);
	if (is_long && equals)
		value = equals + 1;
	else if (!is_long && word[2])
		value = word + 2;
	if (flag->type == FLAG_SWITCH && value)
		return err_set(
			err, ERR_INVALID, "--%s stands alone, it takes no value", flag->name);
	if (flag->type != FLAG_SWITCH && !value) {
		if (walk->at == walk->count)
			return err_set(err, ERR_INVALID, "--%s needs a value: %s", flag->name,
				flag->value);
		value = walk->argv[walk->at++];
	}
	code = value ? check_value(flag, value, err) : 0;
	if (code)
		return code;
	walk->cli->given[walk->cli->given_count++] =
		(struct given_flag){.flag = flag, .value = value ? value : ""};
	walk->wants_help |= strcmp(flag->name, "help") == 0;
	return 0;
}

static bool is_flag(const char *word)
{
	return word[0] == '-' && word[1] != '\0';
}

/* Global flags in front, then the words of the command. */
static int take_command(struct walk *walk, struct err *err)
{
	struct cli *cli = walk->cli;
	size_t used, words = 0;

	while (walk->at < walk->count && is_flag(walk->argv[walk->at])) {
		int code = take_flag(walk, err);

		if (code)
			return code;
	}
	while (words < 2 && walk->at + words < walk->count &&
		!is_flag(walk->argv[walk->at + words]))
		words++;
	if (words == 0 && walk->wants_help)
		return 0;
	cli->command = command_find(walk->argv + walk->at, words, &used);
	if (!cli->command)
		return fail_command(walk->argv + walk->at, words, err);
	walk->at += used;
	return 0;
}

static int take_rest(struct walk *walk)
{
	struct cli *cli = walk->cli;

	walk->at++;
	if (cli->command->takes_rest) {
		cli->rest = walk->argv + walk->at;
		cli->rest_count = walk->count - walk->at;
		walk->at = walk->count;
		return 0;
	}
	while (walk->at < walk->count)
		cli->args[cli->arg_count++] = walk->argv[walk->at++];
	return 0;
}

/* The words of a raw command are conf_load's business, but for help. */
static bool is_our_flag(const struct cli *cli, const char *word)
{
	return is_flag(word) &&
	       (!cli->command->raw || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0);
}

static int take_all(struct walk *walk, struct err *err)
{
	struct cli *cli = walk->cli;
	int code = 0;

	while (!code && walk->at < walk->count) {
		const char *word = walk->argv[walk->at];

		if (strcmp(word, "--") == 0)
			code = take_rest(walk);
		else if (is_our_flag(cli, word))
			code = take_flag(walk, err);
		else
			cli->args[cli->arg_count++] = walk->argv[walk->at++];
	}
	return code;
}

static int check_args(const struct cli *cli, struct err *err)
{
	const struct command *command = cli->command;

	if (command->raw)
		return 0;
	if (cli->arg_count < (size_t)command->min_args)
		return err_set(err, ERR_INVALID, "%s needs %s", command->name, command->args);
	if (cli->arg_count > (size_t)command->max_args)
		return err_set(err, ERR_INVALID, "%s: '%.80s' is one argument too many%s",
			command->name, cli->args[command->max_args],
			command->takes_rest ? "; the program goes behind `--`" : "");
	return 0;
}

/* --- the terminal --- */

#define WIDTH_MIN 40
#define WIDTH_MAX 1000

static int terminal_width(void)
{
	struct winsize size;
	int64_t columns;
	const char *text = getenv("COLUMNS");

	if (text && parse_i64(text, WIDTH_MIN, WIDTH_MAX, &columns))
		return (int)columns;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= WIDTH_MIN)
		return size.ws_col;
	return 80;
}

static void find_terminal(struct cli *cli)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	cli->is_terminal = isatty(STDOUT_FILENO) == 1;
	cli->width = cli->is_terminal ? terminal_width() : 0;
	cli->has_color =
		cli->is_terminal && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
}

int cli_parse(int argc, char *const *argv, struct cli *cli, bool *ret_wants_help, struct err *err)
{
	size_t count = argc > 0 ? (size_t)argc : 0;
	struct walk walk = {.cli = cli, .argv = argv, .count = count, .at = count > 0};
	int code;

	*cli = (struct cli){.given = xcalloc(count + 1, sizeof(*cli->given)),
		.args = xcalloc(count + 1, sizeof(*cli->args))};
	find_terminal(cli);
	*ret_wants_help = false;
	code = take_command(&walk, err);
	if (!code && cli->command)
		code = take_all(&walk, err);
	if (!code && walk.wants_help) {
		*ret_wants_help = true;
		return 0;
	}
	if (!code)
		code = check_args(cli, err);
	if (code)
		return code;
	cli->is_json = cli_flag_choice(cli, "output", 0) == 1 || cli_has(cli, "json");
	if (cli_has(cli, "no-color"))
		cli->has_color = false;
	return 0;
}

/* --- reading flags --- */

const char *cli_flag(const struct cli *cli, const char *name)
{
	must(flag_find(cli->command, name, strlen(name)));
	for (size_t i = cli->given_count; i-- > 0;)
		if (strcmp(cli->given[i].flag->name, name) == 0)
			return cli->given[i].value;
	return NULL;
}

bool cli_has(const struct cli *cli, const char *name)
{
	return cli_flag(cli, name) != NULL;
}

int64_t cli_flag_int(const struct cli *cli, const char *name, int64_t preset)
{
	const char *text = cli_flag(cli, name);
	int64_t value;

	return text && parse_i64(text, INT64_MIN, INT64_MAX, &value) ? value : preset;
}

int64_t cli_flag_duration(const struct cli *cli, const char *name, int64_t preset_ms)
{
	const char *text = cli_flag(cli, name);
	int64_t value_ms;

	return text && parse_duration(text, &value_ms) ? value_ms : preset_ms;
}

int64_t cli_flag_time(const struct cli *cli, const char *name, int64_t now_ms, int64_t preset_ms)
{
	const char *text = cli_flag(cli, name);
	int64_t value_ms;

	if (!text)
		return preset_ms;
	if (parse_rfc3339(text, &value_ms))
		return value_ms;
	return parse_duration(text, &value_ms) ? now_ms - value_ms : preset_ms;
}

int cli_flag_choice(const struct cli *cli, const char *name, int preset)
{
	const char *text = cli_flag(cli, name);
	const struct flag *flag = flag_find(cli->command, name, strlen(name));
	int choice = name_index(flag->choices, text);

	return choice < 0 ? preset : choice;
}
