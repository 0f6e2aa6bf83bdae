/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /api/v1/stream: what changes, as it changes. */
#pragma once

struct api;
struct feed;

/* The parts are taken away, or the api closes: it hears nothing more. `feed` may be NULL. */
void feed_parts_gone(struct feed *feed);
void feed_close(struct feed *feed);
