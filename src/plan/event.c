/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of events: what POST /api/v1/events/{name} sends and `on` waits for. Few characters, so
 * that a name needs no quoting in a path, a shell or a log. */
#include "plan/plan_priv.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"

#define EVENT_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:"

bool event_name_is_valid(const char *name)
{
	size_t len = strlen(name);

	return len >= 1 && len <= EVENT_NAME_MAX && strspn(name, EVENT_CHARACTERS) == len;
}

/* "action.*.failing": how any action fares. Of ends of runs there is no such thing: an action that
 * waited for those of all others would start itself. */
#define ANY_ACTION "action.*."
static bool is_alert_of_any(const char *on)
{
	static const char *const alerts[] = {"failing", "recovered", "late"};

	if (strncmp(on, ANY_ACTION, strlen(ANY_ACTION)) != 0)
		return false;
	for (size_t i = 0; i < sizeof(alerts) / sizeof(alerts[0]); i++)
		if (strcmp(on + strlen(ANY_ACTION), alerts[i]) == 0)
			return true;
	return false;
}

int event_parse(const char *on, char ret_event[static EVENT_NAME_MAX + 1], struct err *err)
{
	char shown[EXCERPT_SIZE];

	if (!event_name_is_valid(on) && !is_alert_of_any(on))
		return err_field(err, ERR_INVALID, "/on",
			"event name '%s' must be 1 to %d letters, digits, '.', '_', '-' and ':', "
			"or action.*. and one of failing, recovered, late",
			excerpt(on, strlen(on), shown), EVENT_NAME_MAX);
	(void)snprintf(ret_event, EVENT_NAME_MAX + 1, "%s", on);
	return ERR_NONE;
}
