/* SPDX-License-Identifier: Apache-2.0
 *
 * The only place that allocates. Out of memory aborts: sizes from outside are limited before they
 * come here, and a crash loses nothing (ARCHITECTURE.md). */
#pragma once

#include <stddef.h>

/* As malloc, calloc, realloc, strdup, strndup; never NULL. Free with free(). */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t count, size_t size); /* count * size is checked for overflow */
char *xstrdup(const char *text);                      /* NULL gives NULL */
char *xstrndup(const char *text, size_t len);
char *xmemdup(const void *bytes, size_t len); /* a NUL is added behind the copy */

/* printf into fresh memory, owned by the caller. */
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* `auto_free char *s = xstrdup(...)`: freed when the scope ends. */
void mem_auto_free(void *pointer_to_pointer);
#define auto_free __attribute__((cleanup(mem_auto_free)))

/* Reads a pointer and leaves NULL behind: hands an auto_free variable's value over. */
#define take_ptr(p)                                                                                \
	({                                                                                         \
		__auto_type _p = (p);                                                              \
		(p) = NULL;                                                                        \
		_p;                                                                                \
	})

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define COUNT_OF(array)                 (sizeof(array) / sizeof((array)[0]))
