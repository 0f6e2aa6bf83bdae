/* SPDX-License-Identifier: Apache-2.0
 *
 * Log lines:
 *
 *     2026-11-22T01:30:00.250Z info run finished run=0193... took_ms=12
 *     {"time":"2026-11-22T01:30:00.250Z","level":"info","event":"run finished","run":"0193...",...}
 *
 * Values may come from outside (output of programs, header fields), so none of them can end a line,
 * start another or steer a terminal: what is not a plain character is written as an escape. A line
 * is made in memory and given to write(2) at once, so lines of several threads do not mix. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/text_priv.h"

#define LOG_VALUE_MAX 2048  /* bytes of a value as given; the rest is shown as "..." */
#define LOG_LINE_MAX  16384 /* bytes of a line; keys that do not fit are left off */
#define LOG_TAIL_MAX  32    /* kept free for what ends a line */

static _Atomic int log_level_now = LOG_INFO;
static _Atomic int log_format_now = LOG_TEXT;

/* Characters that act instead of showing: C0 and DEL, C1, line separators and the direction marks
 * that can make a line read backwards. */
static bool is_acting(uint32_t code)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{0x00, 0x1f},
		{0x7f, 0x9f},
		{0x200e, 0x200f},
		{0x2028, 0x202e},
		{0x2066, 0x2069},
		{0xfeff, 0xfeff},
	};

	for (size_t i = 0; i < COUNT_OF(ranges); i++)
		if (code >= ranges[i].first && code <= ranges[i].last)
			return true;
	return false;
}

static void put_character(struct buf *out, const char *bytes, size_t len, uint32_t code)
{
	if (code == UTF8_ILL_FORMED)
		buf_puts(out, "\\ufffd");
	else if (code == '"' || code == '\\')
		buf_printf(out, "\\%c", (char)code);
	else if (code == '\n')
		buf_puts(out, "\\n");
	else if (code == '\t')
		buf_puts(out, "\\t");
	else if (is_acting(code))
		buf_printf(out, "\\u%04" PRIx32, code);
	else
		buf_append(out, bytes, len);
}

/* As a JSON string; the text form uses the same, so there is one escaping to know. */
static void put_quoted(struct buf *out, const char *text)
{
	size_t full = strlen(text);
	size_t len = full > LOG_VALUE_MAX ? utf8_cut(text, LOG_VALUE_MAX) : full;

	buf_putc(out, '"');
	for (size_t at = 0; at < len;) {
		uint32_t code = 0;
		size_t took = utf8_next(text + at, len - at, &code);

		put_character(out, text + at, took, code);
		at += took;
	}
	buf_puts(out, len < full ? "...\"" : "\"");
}

/* True when a value can stand in a text line without quotes. "null" cannot: it means absent. */
static bool is_plain(const char *text)
{
	size_t len = strlen(text);

	if (len == 0 || len > LOG_VALUE_MAX || strcmp(text, "null") == 0)
		return false;
	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] > '~' || strchr("\"\\=", text[i]))
			return false;
	return true;
}

static void put_string(struct buf *out, enum log_format format, const char *text)
{
	if (!text)
		buf_puts(out, "null");
	else if (format == LOG_TEXT && is_plain(text))
		buf_puts(out, text);
	else
		put_quoted(out, text);
}

static void put_value(struct buf *out, enum log_format format, const struct log_kv *kv)
{
	char id_text[ID_TEXT_SIZE];

	switch (kv->type) {
	case LOG_KV_END:
		break;
	case LOG_KV_STR:
		put_string(out, format, kv->str);
		break;
	case LOG_KV_I64:
		buf_printf(out, "%" PRId64, kv->i64);
		break;
	case LOG_KV_ID:
		put_string(out, format, kv->id ? id_format(kv->id, id_text) : NULL);
		break;
	case LOG_KV_BOOL:
		buf_puts(out, kv->boolean ? "true" : "false");
		break;
	}
}

static void put_head(
	struct buf *out, enum log_format format, enum log_level level, const char *event)
{
	static const char *const names[] = {[LOG_DEBUG] = "debug",
		[LOG_INFO] = "info",
		[LOG_WARN] = "warn",
		[LOG_ERROR] = "error"};
	char time_text[RFC3339_TEXT_SIZE];

	(void)format_rfc3339(clock_wall_ms(), time_text);
	if (format == LOG_TEXT) {
		buf_printf(out, "%s %s %s", time_text, names[level], event);
		return;
	}
	buf_printf(out, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":", time_text, names[level]);
	put_quoted(out, event);
}

static void put_pair(struct buf *out, enum log_format format, const struct log_kv *kv)
{
	buf_printf(out, format == LOG_TEXT ? " %s=" : ",\"%s\":", kv->key);
	put_value(out, format, kv);
}

/* A pair that does not fit is taken back as a whole, so that the line stays well-formed. */
static void put_pairs(struct buf *out, enum log_format format, const struct log_kv *kvs)
{
	for (; kvs->type != LOG_KV_END; kvs++) {
		size_t before = out->len;

		put_pair(out, format, kvs);
		if (out->is_cut) {
			out->len = before;
			out->is_cut = false;
			out->limit += LOG_TAIL_MAX;
			put_pair(out, format, &kv_bool("cut", true));
			return;
		}
	}
	out->limit += LOG_TAIL_MAX;
}

/* There is nobody to tell when the log cannot be written. */
static void write_all(const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDERR_FILENO, bytes, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		bytes += n;
		len -= (size_t)n;
	}
}

void log_configure(enum log_level level, enum log_format format)
{
	atomic_store(&log_level_now, (int)level);
	atomic_store(&log_format_now, (int)format);
}

int log_reopen(const char *path, struct err *err)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
	int error = fd < 0 || dup2(fd, STDERR_FILENO) < 0 ? errno : 0;

	if (fd >= 0)
		(void)close(fd);
	if (error != 0)
		return err_set(
			err, ERR_IO, "log file '%s' cannot be opened: %s", path, strerror(error));
	return 0;
}

bool log_is_on(enum log_level level)
{
	return (int)level >= atomic_load(&log_level_now);
}

void log_line(enum log_level level, const char *event, const struct log_kv *kvs)
{
	enum log_format format = (enum log_format)atomic_load(&log_format_now);
	int saved_errno = errno;
	struct buf line;

	if (!log_is_on(level))
		return;
	buf_init(&line, LOG_LINE_MAX - LOG_TAIL_MAX);
	put_head(&line, format, level, event);
	put_pairs(&line, format, kvs);
	buf_puts(&line, format == LOG_TEXT ? "\n" : "}\n");
	write_all(line.data, line.len);
	buf_fini(&line);
	errno = saved_errno;
}
