/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of model/ share: places in an input (for JSON pointers), and tables of members
 * from which objects are read and written. A member is known once, in its row; defaults, ranges,
 * messages and the output order follow from it. */
#pragma once

#include "model/model.h"
#include "model/template.h"

/* --- places: where in the input we are --- */

/* A chain on the stack, from a member up to the root; turned into a pointer (RFC 6901) only when
 * there is a fault to report. The root's `name` is a ready pointer ("" or "/schedule"). */
struct place {
	const struct place *parent;
	const char *name; /* NULL: an array element, `index` */
	size_t index;
	struct faults *faults;
};

struct place place_member(const struct place *parent, const char *name);
struct place place_element(const struct place *parent, size_t index);
void place_fault(const struct place *place, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* "a string", "a number", ...: what was found instead of what was wanted. */
const char *json_kind(const json_t *json);

/* True when `json` is a string of min..max bytes without NUL; else a fault is added. */
bool text_fits(const json_t *json, int64_t min, int64_t max, const struct place *place);

/* --- tables of members --- */

enum member_type {
	MEMBER_TEXT,     /* char *, owned; min and max in bytes; absent: NULL */
	MEMBER_ENUM,     /* an enum; `names` in its order */
	MEMBER_BOOL,     /* bool */
	MEMBER_INT,      /* int */
	MEMBER_DURATION, /* int64_t milliseconds, text such as "10s" in JSON */
	MEMBER_SIZE,     /* int64_t bytes, text such as "64MiB" in JSON, or a number */
	MEMBER_SHARE,    /* double 0..1; min, max and fallback in millionths, its resolution */
	MEMBER_OBJECT,   /* a struct in place, described by `members`; absent: all its defaults */
	MEMBER_CUSTOM    /* `read` and `write` see the whole object */
};

/* Adds a fault when `text` is not acceptable. Its length has been checked. */
typedef void member_check_fn(const char *text, const struct place *place);
/* `value` is NULL when the member is absent or null. */
typedef void member_read_fn(const json_t *value, void *object, const struct place *place);
/* A new reference, or NULL: the member is left out. */
typedef json_t *member_write_fn(const void *object);

struct member {
	const char *name; /* NULL ends a table */
	size_t offset;
	enum member_type type;
	bool is_required;
	bool is_optional; /* INT, DURATION: left out when it is 0, which means that nothing is said
			   */
	int64_t min, max, fallback;
	const char *const *names;
	member_check_fn *check; /* MEMBER_TEXT; may be NULL */
	const struct member *members;
	member_read_fn *read;
	member_write_fn *write;
};

/* Fills `object` from `json` (NULL: everything absent); a member that is null counts as absent.
 * `ignored` (may be NULL, NULL at its end) names members that are accepted and not read. Text
 * fields that were read before a fault are set, and the caller's to free. */
void members_read(const struct member *members, const char *const *ignored, const json_t *json,
	void *object, const struct place *place);

/* Adds the members of `object` to `json`, in the order of the table. */
void members_write(const struct member *members, const void *object, json_t *json);

/* --- parts of the definition (targets.c, schedule_codec.c, checks.c) --- */

extern const struct member http_members[];
extern const struct member exec_members[];
extern const struct member sql_members[];
void http_target_finish(struct http_target *http);
void exec_target_finish(struct exec_target *exec, const struct place *place);

/* `name` is the action's, NULL when there is none to pick H and jitter by. */
void schedule_read(const json_t *json, const char *name, const struct place *place,
	struct schedule **ret_schedule, json_t **ret_normal);

/* Checks every template of the target, and notes the secrets it names (action->secrets). */
void templates_read_http(struct action *action, const struct place *place);
void templates_read_exec(struct action *action, const struct place *place);

/* "200-299" or "204", within min..max. */
bool parse_number_range(const char *text, int min, int max, struct number_range *ret_range);
#define NUMBER_RANGE_SIZE 24
const char *format_number_range(
	const struct number_range *range, char ret_text[static NUMBER_RANGE_SIZE]);

member_check_fn check_name, check_tag, check_method, check_url, check_header_name,
	check_header_value, check_env_name, check_path, check_user, check_database;

/* --- JSON building: never fails, whatever the bytes --- */

json_t *json_new_object(void);
void json_put(json_t *object, const char *name, json_t *value_take);
json_t *json_text(const char *text);  /* ill-formed UTF-8 is replaced; NULL gives null */
json_t *json_id(const struct id *id); /* zero gives null */
