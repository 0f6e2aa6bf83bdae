/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading: defaults, file, environment, flags, each laid over what came before, all through
 * conf_set(). Flags are looked through twice, because --config among them names the file that comes
 * before them. */
#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/mem.h"
#include "base/text.h"
#include "conf/conf_priv.h"

#define CONF_FILE_DEFAULT "/etc/gathering/gathering.conf"
#define CONF_FILE_VAR     "GATHERING_CONFIG"
#define VAR_NAME_SIZE     64
#define CONF_VALUE_MAX    4096 /* of a value in a log line */

static void apply_default(struct conf *conf, const struct conf_option *option)
{
	/* A default that its own row refuses is a fault in options.def. */
	must(conf_set(conf, option, option->preset, "default", NULL) == 0);
	conf->sources[option - conf_options] = CONF_DEFAULT;
}

static int apply(struct conf *conf, const struct conf_option *option, const char *value,
	enum conf_source source, const char *where, struct err *err)
{
	int status = conf_set(conf, option, value, where, err);

	if (status == 0)
		conf->sources[option - conf_options] = source;
	return status;
}

/* --- file --- */

static int take_file_pair(void *data, const char *key, const char *value, struct err *err)
{
	struct conf *conf = data;
	const struct conf_option *option = conf_find(key, strlen(key));

	if (!option)
		return err_set(err, ERR_INVALID,
			"%s: unknown option '%.80s': the nearest known one is '%s'", conf->file,
			key, conf_nearest(key, strlen(key)));
	return apply(conf, option, value, CONF_FILE, conf->file, err);
}

/* `given` comes from --config, else it is NULL. */
static int load_file(struct conf *conf, const char *given, struct err *err)
{
	const char *path = given ? given : getenv(CONF_FILE_VAR);

	if (!path || (!given && path[0] == '\0')) {
		if (access(CONF_FILE_DEFAULT, F_OK) != 0)
			return 0;
		path = CONF_FILE_DEFAULT;
	}
	conf->file = xstrdup(path);
	return conf_read_file(path, take_file_pair, conf, err);
}

/* --- environment --- */

static const char *variable_name(
	const struct conf_option *option, char ret_name[static VAR_NAME_SIZE])
{
	int len = snprintf(ret_name, VAR_NAME_SIZE, "GATHERING_%s", option->name);

	must(len > 0 && len < VAR_NAME_SIZE);
	for (char *at = ret_name; *at != '\0'; at++)
		*at = ascii_upper(*at);
	return ret_name;
}

static int load_environment(struct conf *conf, struct err *err)
{
	char name[VAR_NAME_SIZE];

	for (size_t i = 0; i < conf_option_count; i++) {
		const char *value = getenv(variable_name(&conf_options[i], name));
		int status = 0;

		if (value)
			status = apply(conf, &conf_options[i], value, CONF_ENVIRONMENT, name, err);
		if (status < 0)
			return status;
	}
	return 0;
}

/* --- flags --- */

/* One argument taken apart: "--name", "--name=value" or "--name value". */
struct flag {
	const char *name; /* behind the dashes; not terminated */
	size_t name_len;
	const char *value; /* NULL: none */
	bool is_next;      /* the value was the argument that follows */
};

static bool is_named(const struct flag *flag, const char *name)
{
	return strlen(name) == flag->name_len && memcmp(flag->name, name, flag->name_len) == 0;
}

static int refuse_unknown(const char *name, size_t len, struct err *err)
{
	return err_set(err, ERR_INVALID, "unknown option '%.*s': the nearest known one is '%s'",
		len < 80 ? (int)len : 80, name, conf_nearest(name, len));
}

/* The next argument is no value when it looks like a flag itself; a switch takes it only when it
 * says yes or no. */
static void find_value(struct flag *flag, const struct conf_option *option, const char *next)
{
	bool ignored = false;

	if (flag->value)
		return;
	flag->is_next = next && strncmp(next, "--", 2) != 0 &&
			(!option || option->type != CONF_TYPE_BOOL || parse_bool(next, &ignored));
	flag->value = flag->is_next ? next : NULL;
	if (!flag->value && option && option->type == CONF_TYPE_BOOL)
		flag->value = "true";
}

/* Takes argv[0], and perhaps argv[1], apart. *ret_option is NULL for --set and --config. */
static int read_flag(char *const *argv, struct flag *ret_flag,
	const struct conf_option **ret_option, struct err *err)
{
	struct flag flag = {0};
	const struct conf_option *option = NULL;

	if (strncmp(argv[0], "--", 2) != 0 || argv[0][2] == '\0')
		return err_set(err, ERR_INVALID,
			"'%.80s' is not an option: options are written --name VALUE", argv[0]);
	flag.name = argv[0] + 2;
	flag.name_len = strcspn(flag.name, "=");
	if (flag.name[flag.name_len] == '=')
		flag.value = flag.name + flag.name_len + 1;
	if (!is_named(&flag, "config") && !is_named(&flag, "set")) {
		option = conf_find(flag.name, flag.name_len);
		if (!option)
			return refuse_unknown(flag.name, flag.name_len, err);
	}
	find_value(&flag, option, argv[1]);
	if (!flag.value)
		return err_set(err, ERR_INVALID, "option '%.80s' needs a value: write %.80s=VALUE",
			argv[0], argv[0]);
	*ret_flag = flag;
	*ret_option = option;
	return 0;
}

/* --set name=value */
static int apply_set(struct conf *conf, const char *pair, struct err *err)
{
	size_t len = strcspn(pair, "=");
	const struct conf_option *option = conf_find(pair, len);

	if (pair[len] != '=')
		return err_set(err, ERR_INVALID, "--set '%.80s': write --set name=value", pair);
	if (!option)
		return refuse_unknown(pair, len, err);
	return apply(conf, option, pair + len + 1, CONF_FLAG, "--set", err);
}

static int apply_flag(struct conf *conf, const struct flag *flag, const struct conf_option *option,
	struct err *err)
{
	char where[VAR_NAME_SIZE];

	if (is_named(flag, "config"))
		return 0;
	if (!option)
		return apply_set(conf, flag->value, err);
	(void)snprintf(where, sizeof(where), "--%.*s", (int)flag->name_len, flag->name);
	return apply(conf, option, flag->value, CONF_FLAG, where, err);
}

/* Walks the flags: with `conf` to apply them, without to find --config (the last counts). */
static int walk_flags(
	int argc, char *const *argv, struct conf *conf, const char **ret_file, struct err *err)
{
	for (int i = 1; i < argc; i++) {
		const struct conf_option *option = NULL;
		struct flag flag = {0};
		int status = read_flag(argv + i, &flag, &option, err);

		if (status == 0 && conf)
			status = apply_flag(conf, &flag, option, err);
		if (status < 0)
			return status;
		if (is_named(&flag, "config"))
			*ret_file = flag.value;
		i += flag.is_next;
	}
	return 0;
}

/* --- public --- */

static int load(int argc, char *const *argv, struct conf *conf, struct err *err)
{
	const char *file = NULL;
	int status = walk_flags(argc, argv, NULL, &file, err);

	for (size_t i = 0; i < conf_option_count; i++)
		apply_default(conf, &conf_options[i]);
	if (status == 0)
		status = load_file(conf, file, err);
	if (status == 0)
		status = load_environment(conf, err);
	if (status == 0)
		status = walk_flags(argc, argv, conf, &file, err);
	if (status == 0)
		status = conf_check(conf, err);
	return status;
}

int conf_load(int argc, char *const *argv, struct conf *ret_conf, struct err *err)
{
	struct conf conf = {0};
	int status = 0;

	conf.sources = xcalloc(conf_option_count, sizeof(*conf.sources));
	status = load(argc, argv, &conf, err);
	if (status < 0) {
		conf_fini(&conf);
		return status;
	}
	*ret_conf = conf;
	return 0;
}

static void swap_live(struct conf *conf, struct conf *fresh)
{
	for (size_t i = 0; i < conf_option_count; i++)
		if (conf_options[i].is_live)
			conf_swap(conf, fresh, &conf_options[i]);
}

static bool is_same(
	const struct conf *conf, const struct conf *old, const struct conf_option *option)
{
	struct buf here, there;
	bool result;

	buf_init(&here, CONF_VALUE_MAX);
	buf_init(&there, CONF_VALUE_MAX);
	conf_write_value(conf, option, &here);
	conf_write_value(old, option, &there);
	result = strcmp(buf_text(&here), buf_text(&there)) == 0;
	buf_fini(&here);
	buf_fini(&there);
	return result;
}

/* `old` has the values of before where an option is live, of later where it is not. */
static void tell_change(const struct conf *conf, const struct conf *old,
	const struct conf_option *option, conf_change_fn *each, void *data)
{
	struct buf here, there;

	if (is_same(conf, old, option))
		return;
	buf_init(&here, CONF_VALUE_MAX);
	buf_init(&there, CONF_VALUE_MAX);
	conf_show_value(conf, option, &here);
	conf_show_value(old, option, &there);
	each(&(struct conf_change){.name = option->name,
		     .before = buf_text(option->is_live ? &there : &here),
		     .after = buf_text(option->is_live ? &here : &there),
		     .is_live = option->is_live},
		data);
	buf_fini(&here);
	buf_fini(&there);
}

int conf_apply_live(
	struct conf *conf, struct conf *fresh, conf_change_fn *each, void *data, struct err *err)
{
	swap_live(conf, fresh);
	if (conf_check(conf, err) < 0) {
		swap_live(conf, fresh);
		return err->code;
	}
	for (size_t i = 0; i < conf_option_count; i++)
		tell_change(conf, fresh, &conf_options[i], each, data);
	return 0;
}

void conf_fini(struct conf *conf)
{
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct conf_option *option = &conf_options[i];

		if (option->type == CONF_TYPE_STRING || option->type == CONF_TYPE_ENUM)
			mem_auto_free((char *)conf + option->offset);
	}
	free(conf->sources);
	free(conf->file);
	*conf = (struct conf){0};
}

static void write_source(const struct conf *conf, const struct conf_option *option, struct buf *out)
{
	char name[VAR_NAME_SIZE];

	switch (conf->sources[option - conf_options]) {
	case CONF_DEFAULT:
		buf_puts(out, "default");
		break;
	case CONF_FILE:
		buf_printf(out, "file %s", conf->file);
		break;
	case CONF_ENVIRONMENT:
		buf_printf(out, "environment %s", variable_name(option, name));
		break;
	case CONF_FLAG:
		buf_puts(out, "flag");
		break;
	}
}

void conf_write_effective(const struct conf *conf, struct buf *out)
{
	for (size_t i = 0; i < conf_option_count; i++) {
		struct buf value;

		buf_init(&value, out->limit);
		conf_show_value(conf, &conf_options[i], &value);
		buf_printf(out, "%-24s %-24s ", conf_options[i].name,
			value.len > 0 ? buf_text(&value) : "\"\"");
		write_source(conf, &conf_options[i], out);
		buf_putc(out, '\n');
		buf_fini(&value);
	}
}
