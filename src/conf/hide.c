/* SPDX-License-Identifier: Apache-2.0
 *
 * Values as people may see them: logs and the output of check-config are passed around, and a
 * database URL may hold a password, before its '@' or as a parameter. */
#include <string.h>

#include "conf/conf_priv.h"

#define HIDDEN   "***"
#define PASSWORD "password="

/* Behind "://": the '@' before which a secret stands. A '/', '?' or '@' in a password ends the
 * authority too early; whoever forgot to write %2F must not find it in a log. That may hide more
 * than a secret, but not the host and port of a URL whose parameters have an '@'. */
static const char *end_of_secret(const char *text)
{
	const char *at = memrchr(text, '@', strcspn(text, "? \t\n"));
	const char *port = memchr(text, ':', strcspn(text, "/? \t\n"));

	if (at || !port || port[1 + strspn(port + 1, "0123456789")] == '/')
		return at;
	return memrchr(text, '@', strcspn(text, " \t\n"));
}

/* "//user:secret@host"; returns where to go on, which is behind the secret if there is one. */
static const char *hide_in_authority(const char *text, struct buf *out)
{
	const char *at = end_of_secret(text);
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
