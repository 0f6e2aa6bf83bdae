/* SPDX-License-Identifier: Apache-2.0
 *
 * Values as people may see them: logs and the output of check-config are passed around, and a
 * database URL may hold a password, before its '@' or as a parameter. */
#include <string.h>

#include "conf/conf_priv.h"

#define HIDDEN   "***"
#define PASSWORD "password="

/* "//user:secret@host"; returns where to go on, which is behind the secret if there is one. */
static const char *hide_in_authority(const char *text, struct buf *out)
{
	size_t len = strcspn(text, "/? \t\n");
	const char *at = memrchr(text, '@', len);
	const char *colon = at ? memchr(text, ':', (size_t)(at - text)) : NULL;

	if (!colon)
		return text;
	buf_append(out, text, (size_t)(colon - text));
	buf_puts(out, ":" HIDDEN);
	return at;
}

static void hide_passwords(const char *text, struct buf *out)
{
	while (*text != '\0') {
		if (strncmp(text, "://", 3) == 0) {
			buf_puts(out, "://");
			text = hide_in_authority(text + 3, out);
		} else if (strncmp(text, PASSWORD, strlen(PASSWORD)) == 0) {
			buf_puts(out, PASSWORD HIDDEN);
			text += strcspn(text, "& \t\n");
		} else {
			buf_putc(out, *text++);
		}
	}
}

void conf_show_value(const struct conf *conf, const struct conf_option *option, struct buf *out)
{
	struct buf plain;

	buf_init(&plain, out->limit);
	conf_write_value(conf, option, &plain);
	hide_passwords(buf_text(&plain), out);
	buf_fini(&plain);
}
