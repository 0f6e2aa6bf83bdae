/* SPDX-License-Identifier: Apache-2.0
 *
 * Between backfills_begin.c and backfills.c. */
#pragma once

#include "api/api_priv.h"
#include "store/backfill.h"

/* As the API shows it. New reference. */
json_t *backfill_json(const struct backfill *backfill);
