/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parsers share: pieces of somebody's text, and what is said about them. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "plan/plan_priv.h"

#define WHY_SIZE 240

bool piece_is(const struct piece *piece, const char *word)
{
	return strlen(word) == piece->len && strncasecmp(piece->at, word, piece->len) == 0;
}

const char *excerpt(const char *text, size_t len, char ret_text[static EXCERPT_SIZE])
{
	size_t shown = len < EXCERPT_SIZE ? len : EXCERPT_SIZE - 4;

	for (size_t i = 0; i < shown; i++)
		ret_text[i] = text[i] < ' ' || text[i] > '~' ? '?' : text[i];
	(void)snprintf(ret_text + shown, EXCERPT_SIZE - shown, "%s", shown < len ? "..." : "");
	return ret_text;
}

int subject_fail(struct subject subject, const char *fmt, ...)
{
	char why[WHY_SIZE];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	return err_field(subject.err, ERR_INVALID, subject.member, "%s '%s': %s", subject.kind,
		subject.name, why);
}

void warning_add(char warning[static WARNING_SIZE], const char *fmt, ...)
{
	size_t len = strlen(warning);
	char *more = len ? warning + len + 2 : warning;
	ptrdiff_t room = warning + WARNING_SIZE - more;
	va_list args;
	int wanted = 0;

	if (room <= 1)
		return;
	va_start(args, fmt);
	wanted = vsnprintf(more, (size_t)room, fmt, args);
	va_end(args);
	if (wanted < 0 || wanted >= room)
		warning[len] = '\0';
	else if (len)
		memcpy(warning + len, "; ", 2);
}
