/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by the files of conf/: options.def as rows that can be walked. */
#pragma once

#include <stddef.h>

#include "conf/conf.h"

enum conf_type {
	CONF_TYPE_STRING,
	CONF_TYPE_ENUM,
	CONF_TYPE_DURATION,
	CONF_TYPE_SIZE,
	CONF_TYPE_INT,
	CONF_TYPE_BOOL
};

struct conf_option {
	const char *name;
	enum conf_type type;
	const char *preset;
	const char *words; /* ENUM: what is allowed, a blank between; else NULL */
	int64_t min, max;  /* DURATION, SIZE, INT */
	size_t offset;     /* of the value in struct conf */
	const char *help;
	bool is_live; /* changes at SIGHUP */
};

/* The rows, in the order of options.def. */
extern const struct conf_option conf_options[];
extern const size_t conf_option_count;

/* The row called `name` ('-' counts as '_'); NULL when there is none. */
const struct conf_option *conf_find(const char *name, size_t len);

/* The known name most like the first `len` bytes of `name`; never NULL. */
const char *conf_nearest(const char *name, size_t len);

/* Sets one option from text. `where` stands before the text of an error. ERR_INVALID. */
int conf_set(struct conf *conf, const struct conf_option *option, const char *value,
	const char *where, struct err *err);

/* Exchanges the values of one option between two configurations. */
void conf_swap(struct conf *a, struct conf *b, const struct conf_option *option);

/* Refuses options that contradict each other. ERR_INVALID. */
int conf_check(const struct conf *conf, struct err *err);

/* Appends what values the option takes ("a whole number, 1 to 100000"), or its value in `conf`. */
void conf_write_allowed(const struct conf_option *option, struct buf *out);
void conf_write_value(const struct conf *conf, const struct conf_option *option, struct buf *out);

/* The same for people: passwords in URLs are `***`. */
void conf_show_value(const struct conf *conf, const struct conf_option *option, struct buf *out);

/* Gets one `key = value` of [gathering]; a negative return ends the reading and is passed on. */
typedef int conf_pair_fn(void *data, const char *key, const char *value, struct err *err);

/* Reads the file at `path` and gives its pairs to `take` in order. The text of an error begins with
 * the path. ERR_IO: cannot be read; ERR_INVALID: no such group, not UTF-8, not a key file. */
int conf_read_file(const char *path, conf_pair_fn *take, void *data, struct err *err);
