/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration file: a GKeyFile with the one group [gathering]. The only user of GLib in
 * conf/.
 *
 *     [gathering]
 *     listen = 127.0.0.1:8080
 *
 * Values are taken as they stand, without GKeyFile's backslash escapes, so that a text means the
 * same in the file, in the environment and as a flag. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "conf/conf_priv.h"

#define CONF_GROUP    "gathering"
#define CONF_FILE_MAX (1024 * 1024)

/* The whole file, but never more than CONF_FILE_MAX of something that does not end. O_NONBLOCK, so
 * that a pipe nobody writes to is an error and not a wait. */
static int read_all(const char *path, struct buf *out, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char block[4096];
	ssize_t n = -1;

	if (fd >= 0)
		while (!out->is_cut && (n = read(fd, block, sizeof(block))) > 0)
			buf_append(out, block, (size_t)n);
	if (n < 0)
		(void)err_set(err, ERR_IO, "%s: cannot be read: %s", path, strerror(errno));
	else if (out->is_cut)
		n = err_set(err, ERR_INVALID, "%s: larger than %d bytes: not a configuration file",
			path, CONF_FILE_MAX);
	if (fd >= 0)
		(void)close(fd);
	if (out->is_cut)
		return ERR_INVALID;
	return n < 0 ? ERR_IO : 0;
}

/* Why GLib refuses the text, in our form: one line, lower case at the start, no full stop. */
static int refuse_syntax(const char *path, const GError *error, struct err *err)
{
	auto_free char *why = xstrdup(error->message);
	size_t len = strcspn(why, "\n");

	while (len > 0 && why[len - 1] == '.')
		len--;
	return err_set(err, ERR_INVALID, "%s: not a configuration file: %.*s", path, (int)len, why);
}

static int check_groups(GKeyFile *file, const char *path, struct err *err)
{
	gchar **groups = g_key_file_get_groups(file, NULL);
	int status = 0;

	for (size_t i = 0; groups[i] && status == 0; i++)
		if (strcmp(groups[i], CONF_GROUP) != 0)
			status = err_set(err, ERR_INVALID,
				"%s: unknown group [%.80s]: everything stands in [" CONF_GROUP "]",
				path, groups[i]);
	g_strfreev(groups);
	return status;
}

static int take_pairs(GKeyFile *file, conf_pair_fn *take, void *data, struct err *err)
{
	gchar **keys = g_key_file_get_keys(file, CONF_GROUP, NULL, NULL);
	int status = 0;

	for (size_t i = 0; keys && keys[i] && status == 0; i++) {
		gchar *value = g_key_file_get_value(file, CONF_GROUP, keys[i], NULL);

		status = take(data, keys[i], g_strchomp(value), err);
		g_free(value);
	}
	g_strfreev(keys);
	return status;
}

static int read_text(
	const char *path, const struct buf *text, conf_pair_fn *take, void *data, struct err *err)
{
	GKeyFile *file = g_key_file_new();
	GError *error = NULL;
	int status = 0;

	/* Translations are kept, because else a key such as "listen[de]" is dropped in silence. */
	if (g_key_file_load_from_data(
		    file, buf_text(text), text->len, G_KEY_FILE_KEEP_TRANSLATIONS, &error))
		status = check_groups(file, path, err);
	else
		status = refuse_syntax(path, error, err);
	if (status == 0)
		status = take_pairs(file, take, data, err);
	g_clear_error(&error);
	g_key_file_free(file);
	return status;
}

int conf_read_file(const char *path, conf_pair_fn *take, void *data, struct err *err)
{
	struct buf text;
	int status = 0;

	buf_init(&text, CONF_FILE_MAX);
	status = read_all(path, &text, err);
	if (status == 0 && !utf8_is_valid(buf_text(&text), text.len))
		status = err_set(
			err, ERR_INVALID, "%s: has bytes in it that are not UTF-8 text", path);
	/* GLib takes no empty text, but to set nothing is fine. */
	if (status == 0 && text.len > 0)
		status = read_text(path, &text, take, data, err);
	buf_fini(&text);
	return status;
}
