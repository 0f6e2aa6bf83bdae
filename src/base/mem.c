/* SPDX-License-Identifier: Apache-2.0
 *
 * Allocation that cannot fail: it returns memory or ends the process. See mem.h for why. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Not must(): the program is not broken, the machine is. Same end, another message. */
static _Noreturn void mem_exhausted(size_t size)
{
	(void)fprintf(stderr, "out of memory: %zu bytes refused\n", size);
	abort();
}

void *xmalloc(size_t size)
{
	void *memory = malloc(size > 0 ? size : 1);

	if (!memory)
		mem_exhausted(size);
	return memory;
}

void *xcalloc(size_t count, size_t size)
{
	void *memory = calloc(count > 0 ? count : 1, size > 0 ? size : 1);

	if (!memory)
		mem_exhausted(count > 0 && size > SIZE_MAX / count ? SIZE_MAX : count * size);
	return memory;
}

void *xrealloc(void *old, size_t count, size_t size)
{
	size_t bytes = 0;
	void *memory = NULL;

	if (__builtin_mul_overflow(count, size, &bytes))
		mem_exhausted(SIZE_MAX);
	memory = realloc(old, bytes > 0 ? bytes : 1);
	if (!memory)
		mem_exhausted(bytes);
	return memory;
}

char *xmemdup(const void *bytes, size_t len)
{
	char *copy = NULL;

	if (len == SIZE_MAX)
		mem_exhausted(len);
	copy = xmalloc(len + 1);
	if (len > 0)
		memcpy(copy, bytes, len);
	copy[len] = '\0';
	return copy;
}

char *xstrdup(const char *text)
{
	return text ? xmemdup(text, strlen(text)) : NULL;
}

char *xstrndup(const char *text, size_t len)
{
	return text ? xmemdup(text, strnlen(text, len)) : NULL;
}

char *xasprintf(const char *fmt, ...)
{
	char *text = NULL;
	va_list args;
	int len = 0;

	va_start(args, fmt);
	len = vasprintf(&text, fmt, args);
	va_end(args);
	if (len < 0)
		mem_exhausted(0);
	return text;
}

void mem_auto_free(void *pointer_to_pointer)
{
	void *memory = NULL;

	/* memcpy, because the variable is a pointer to anything, not a void *. */
	memcpy(&memory, pointer_to_pointer, sizeof(memory));
	free(memory);
}
