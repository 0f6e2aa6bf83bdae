/* SPDX-License-Identifier: Apache-2.0
 *
 * Files and the editor, for commands that take definitions. Private to cli/. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

/* A whole file ("-": standard input) of at most `limit` bytes; *ret_text is owned, NUL behind it.
 * ERR_NOT_FOUND, ERR_IO, ERR_TOO_LARGE. */
int read_file(const char *path, size_t limit, char **ret_text, size_t *ret_len, struct err *err);

/* The JSON in it; ERR_BAD_REQUEST with the position. */
int read_json_file(const char *path, json_t **ret_json, struct err *err);

/* Opens `json` in $VISUAL, $EDITOR or vi. *ret_json is NULL when nothing was changed, else owned,
 * and *ret_path (owned) is the file, the caller's to delete once the text is no longer needed. */
int edit_json(const json_t *json, json_t **ret_json, char **ret_path, struct err *err);
