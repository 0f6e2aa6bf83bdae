/* SPDX-License-Identifier: Apache-2.0
 *
 * Log lines on standard error: an event, then keys and values; as `key=value` text or as JSON.
 * Only the edges (api, sched, server, life, cli) log; libraries return errors (STYLE 25).
 *
 *     log_info("run finished", kv_id("run", &run->id), kv_i64("took_ms", took)); */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/id.h"

enum log_level {
	LOG_DEBUG,
	LOG_INFO,
	LOG_WARN,
	LOG_ERROR
};
enum log_format {
	LOG_TEXT,
	LOG_JSON
};

enum log_kv_type {
	LOG_KV_END,
	LOG_KV_STR,
	LOG_KV_I64,
	LOG_KV_ID,
	LOG_KV_BOOL
};

struct log_kv {
	const char *key;
	enum log_kv_type type;
	union {
		const char *str;
		int64_t i64;
		const struct id *id;
		bool boolean;
	};
};

#define kv_str(k, v)  ((struct log_kv){.key = (k), .type = LOG_KV_STR, .str = (v)})
#define kv_i64(k, v)  ((struct log_kv){.key = (k), .type = LOG_KV_I64, .i64 = (v)})
#define kv_id(k, v)   ((struct log_kv){.key = (k), .type = LOG_KV_ID, .id = (v)})
#define kv_bool(k, v) ((struct log_kv){.key = (k), .type = LOG_KV_BOOL, .boolean = (v)})

/* Level and form; set before the loop starts (or on reload), from the loop thread. */
void log_configure(enum log_level level, enum log_format format);

/* From now on lines go to the file at `path`, created when missing, appended to; standard error is
 * that file then. Also opens it anew after a rotation. ERR_IO, and the log goes where it went.
 * Blocking; any thread. */
int log_reopen(const char *path, struct err *err);
bool log_is_on(enum log_level level);

/* One line; values are escaped, control characters never reach the terminal. A NULL string is
 * written as null. Thread-safe (one write(2) a line). */
void log_line(enum log_level level, const char *event, const struct log_kv *kvs);

#ifdef __cppcheck__ /* it does not know __VA_OPT__ */
#define log_at(level, event, ...) log_line(level, event, NULL)
#else
#define log_at(level, event, ...)                                                                  \
	do {                                                                                       \
		if (log_is_on(level))                                                              \
			log_line(level, event,                                                     \
				(const struct log_kv[]){__VA_ARGS__ __VA_OPT__(, ){0}});           \
	} while (0)
#endif
#define log_debug(event, ...) log_at(LOG_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...)  log_at(LOG_INFO, event, __VA_ARGS__)
#define log_warn(event, ...)  log_at(LOG_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_at(LOG_ERROR, event, __VA_ARGS__)
