/* SPDX-License-Identifier: Apache-2.0
 *
 * Problem documents (RFC 9457): what every answer from 400 on looks like. */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "model/model.h"

/* {type, title, status, detail, code, request_id} and, when the error names a member of the input,
 * `errors` with its pointer. `request_id` may be NULL. New reference, owned by the caller. */
json_t *problem_from_err(const struct err *err, const char *request_id);

/* The same for a definition with faults: 422, one entry in `errors` each. */
json_t *problem_from_faults(const struct faults *faults, const char *request_id);

/* A string that may quote outside bytes, or be cut within a character: made well-formed UTF-8
 * first. Never NULL. */
json_t *json_clean_string(const char *text);
