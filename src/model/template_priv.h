/* SPDX-License-Identifier: Apache-2.0
 *
 * Between template_read.c and template.c: the pieces of a template. */
#pragma once

#include "model/model_priv.h"

/* What {{name}} says of the run. */
struct fact {
	const char *name;
	void (*put)(const struct run *run, struct buf *out);
	bool is_number; /* outside of a JSON string it needs no quotes */
};

enum piece_kind {
	PIECE_TEXT, /* to be copied */
	PIECE_FACT,
	PIECE_PAYLOAD,   /* name: the path behind "payload", "" for all of it */
	PIECE_SECRET,    /* name: its name */
	PIECE_CHECKPOINT /* what an earlier attempt of the run left */
};

struct piece {
	enum piece_kind kind;
	const char *text; /* PIECE_TEXT; borrowed from the template, as all here */
	size_t len;
	const struct fact *fact;
	const char *name;
	size_t name_len;
	const char *fallback; /* NULL: none */
	size_t fallback_len;
};

/* The next piece at *at, which moves behind it; 1: there is one, 0: the end, ERR_INVALID. */
int template_next(const char *text, const char **at, struct piece *piece, struct err *err);
