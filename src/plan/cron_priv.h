/* SPDX-License-Identifier: Apache-2.0
 *
 * Between cron_parse.c (expressions) and cron_field.c (one field of one). */
#pragma once

#include "plan/plan_priv.h"

enum cron_field {
	SECOND,
	MINUTE,
	HOUR,
	DAY_OF_MONTH,
	MONTH,
	DAY_OF_WEEK,
	CRON_FIELDS
};

struct cron_field_rule {
	const char *name;
	int min, max;
	int last;          /* where * and open steps end: 7 is another name of Sunday */
	const char *names; /* three letters each, the first one is min; NULL when there are none */
};

extern const struct cron_field_rule cron_fields[CRON_FIELDS];

/* H without a range, in day-of-month: every month has these. */
#define HASHED_LAST_DAY 28

/* A field being read. */
struct cron_parser {
	enum cron_field field;
	const struct cron_field_rule *rule;
	const char *name;  /* the action's, which H picks by; NULL: there is none */
	struct piece item; /* what is being read, for messages */
	const char *at, *end;
	uint64_t set;      /* the field's numbers so far */
	struct cron *cron; /* gets the forms that are no set of numbers: L, W, # */
	char *warning;     /* WARNING_SIZE */
	struct err *err;
};

/* Reads a whole field into parser->set; everything else in the parser is set by the caller once. */
int cron_parse_field(struct cron_parser *parser, enum cron_field field, const struct piece *text);
