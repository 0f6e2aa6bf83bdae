/* SPDX-License-Identifier: Apache-2.0
 *
 * Output that is followed while it comes. */
#pragma once

#include "api/api_priv.h"

/* GET .../output?follow=1 of a run that exists; answers, and frees the call. `attempt` 0: from the
 * one that runs, or the last one, on to the end of the run; else that one alone. */
void follow_begin(struct api_call *call, const struct run *run, int attempt);
