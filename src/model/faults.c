/* SPDX-License-Identifier: Apache-2.0
 *
 * Collects what is wrong with an input. What was sent is quoted in the texts, and they are sent
 * back as JSON, so both are made well-formed UTF-8 here, once. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "model/model_priv.h"

#define FAULT_TEXT_MAX ((size_t)1024)

/* Copies what fits, ending between two characters. */
static void copy_clean(char *to, size_t size, const char *from)
{
	struct buf clean;
	size_t len;

	buf_init(&clean, FAULT_TEXT_MAX * 3);
	utf8_clean(from, strlen(from), &clean);
	len = clean.len;
	if (len >= size) {
		len = size - 1;
		while (len > 0 && ((unsigned char)clean.data[len] & 0xC0) == 0x80)
			len--;
	}
	memcpy(to, buf_text(&clean), len);
	to[len] = '\0';
	buf_fini(&clean);
}

static void add(struct faults *faults, const char *pointer, const char *detail)
{
	size_t i = faults->count++;

	if (i >= FAULTS_MAX)
		return;
	copy_clean(faults->item[i].pointer, sizeof(faults->item[i].pointer), pointer);
	copy_clean(faults->item[i].detail, sizeof(faults->item[i].detail), detail);
}

void faults_add(struct faults *faults, const char *pointer, const char *fmt, ...)
{
	char detail[FAULT_TEXT_MAX];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(detail, sizeof(detail), fmt, args);
	va_end(args);
	add(faults, pointer, detail);
}

struct place place_member(const struct place *parent, const char *name)
{
	return (struct place){.parent = parent, .name = name, .faults = parent->faults};
}

struct place place_element(const struct place *parent, size_t index)
{
	return (struct place){.parent = parent, .index = index, .faults = parent->faults};
}

/* RFC 6901 section 3: '~' and '/' within a name are written ~0 and ~1. */
static void append_escaped(struct buf *out, const char *name)
{
	for (; *name != '\0'; name++) {
		if (*name == '~')
			buf_puts(out, "~0");
		else if (*name == '/')
			buf_puts(out, "~1");
		else
			buf_putc(out, *name);
	}
}

static void append_place(struct buf *out, const struct place *place)
{
	if (place->parent == NULL) {
		buf_puts(out, place->name);
		return;
	}
	append_place(out, place->parent); /* as deep as the tables nest */
	buf_putc(out, '/');
	if (place->name != NULL)
		append_escaped(out, place->name);
	else
		buf_printf(out, "%zu", place->index);
}

void place_fault(const struct place *place, const char *fmt, ...)
{
	char detail[FAULT_TEXT_MAX];
	struct buf pointer;
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(detail, sizeof(detail), fmt, args);
	va_end(args);
	buf_init(&pointer, sizeof(place->faults->item[0].pointer) * 2);
	append_place(&pointer, place);
	add(place->faults, buf_text(&pointer), detail);
	buf_fini(&pointer);
}
