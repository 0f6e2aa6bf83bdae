/* SPDX-License-Identifier: Apache-2.0
 *
 * Limits on what runs at a time in the whole cluster, as the option `limits` names them: all of it,
 * a kind, a tag. They are counted by the database at each take, from the runs that are running, so
 * there is no counter that could drift. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "model/model_priv.h"

#define KIND_PREFIX "kind."
#define TAG_PREFIX  "tag."

static int parse_subject(const char *name, struct run_limit *ret_limit, struct err *err)
{
	*ret_limit = (struct run_limit){.kind = -1};
	if (strcmp(name, "all") == 0)
		return 0;
	if (strncmp(name, TAG_PREFIX, strlen(TAG_PREFIX)) == 0 && name[strlen(TAG_PREFIX)]) {
		ret_limit->tag = xstrdup(name + strlen(TAG_PREFIX));
		return 0;
	}
	if (strncmp(name, KIND_PREFIX, strlen(KIND_PREFIX)) == 0)
		ret_limit->kind = name_index(action_kind_names, name + strlen(KIND_PREFIX));
	if (ret_limit->kind >= 0)
		return 0;
	return err_set(err, ERR_INVALID,
		"limits: '%.64s' is none of all, kind.KIND and tag.TAG, such as kind.exec or "
		"tag.db",
		name);
}

/* "tag.db=2". */
static int parse_one(const char *part, struct run_limit *ret_limit, struct err *err)
{
	const char *equals = strrchr(part, '=');
	auto_free char *name = equals ? xstrndup(part, (size_t)(equals - part)) : NULL;
	int64_t max;

	if (!equals || !parse_i64(equals + 1, 1, ACTION_CONCURRENT_MAX, &max))
		return err_set(err, ERR_INVALID,
			"limits: '%.64s' is not NAME=N with N from 1 to %d, such as tag.db=2", part,
			ACTION_CONCURRENT_MAX);
	if (parse_subject(name, ret_limit, err) < 0)
		return err->code;
	ret_limit->max = (int)max;
	return 0;
}

int run_limits_parse(
	const char *text, struct run_limit *ret_limits, size_t *ret_count, struct err *err)
{
	auto_free char *copy = xstrdup(text);
	char *rest = copy, *part;
	size_t count = 0;

	while ((part = strsep(&rest, ", ")) != NULL) {
		if (*part == '\0')
			continue;
		if (count == RUN_LIMITS_MAX)
			(void)err_set(err, ERR_INVALID, "limits: more than %d", RUN_LIMITS_MAX);
		if (count == RUN_LIMITS_MAX || parse_one(part, &ret_limits[count], err) < 0) {
			run_limits_fini(ret_limits, count);
			return err->code;
		}
		count++;
	}
	*ret_count = count;
	return 0;
}

void run_limits_fini(struct run_limit *limits, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(take_ptr(limits[i].tag));
}

bool run_limit_applies(const struct run_limit *limit, const struct action *action)
{
	if (limit->kind >= 0 && (enum action_kind)limit->kind != action->kind)
		return false;
	if (!limit->tag)
		return true;
	for (char *const *tag = action->tags; *tag; tag++)
		if (strcmp(*tag, limit->tag) == 0)
			return true;
	return false;
}
