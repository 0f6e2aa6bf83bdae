/* SPDX-License-Identifier: Apache-2.0
 *
 * `gathering run logs --follow`: reads the events of a run's output and prints what they bring.
 *
 * The server's last id says how far the output has been read. When a stream ends before the run has
 * (the instance stops, a connection breaks) the next one, from whatever instance the same address
 * leads to, begins there; so nothing is printed twice, and nothing is left out unless a mark says
 * so. An event that was cut in the middle counts as not read. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli_priv.h"
#include "model/model.h"

#define LINE_MAX_BYTES (1 << 20) /* of an event; the server's are far shorter */
#define ID_MAX         128
#define PAUSE_FIRST_MS 250 /* before the next try; doubles */
#define PAUSE_LAST_MS  5000
#define AWAY_MAX_MS    60000 /* a server that has not been heard of for so long is given up */
#define PROBLEM_MAX    65536

struct follow {
	struct cli *cli;
	const char *run_id;
	struct buf line;       /* not ended yet */
	char event[32];        /* of the event being read */
	char *data;            /* owned; the same */
	char id[ID_MAX];       /* the same; "": none */
	char last_id[ID_MAX];  /* of the last that was read whole; "": none */
	int64_t retry_ms;      /* as the server asked */
	int64_t heard_mono_ms; /* of the server */
	bool is_line_open;     /* on the terminal */
	bool is_deleted;
	bool is_held; /* that was told */
	json_t *run;  /* of `end`; NULL: it has not come */
};

/* --- what events mean --- */

static void print_text(struct follow *follow, const json_t *data)
{
	const json_t *text = json_object_get(data, "text");
	const char *bytes = json_string_value(text);
	size_t len = json_string_length(text);

	if (get_number(data, "left_out", 0) > 0)
		(void)printf("%s[... %lld bytes left out ...]\n", follow->is_line_open ? "\n" : "",
			(long long)get_number(data, "left_out", 0));
	if (!bytes || len == 0)
		return;
	print_piece(follow->cli, bytes, len);
	follow->is_line_open = bytes[len - 1] != '\n';
}

/* Nothing will come until a person lets it. */
static void tell_held(struct follow *follow, bool is_held)
{
	if (is_held && !follow->is_held) {
		(void)fflush(stdout);
		(void)fprintf(stderr,
			"%sthe run is held; `gathering run resume %s` lets it go on\n",
			follow->is_line_open && follow->cli->is_terminal ? "\n" : "",
			follow->run_id);
		follow->is_line_open = false;
	}
	follow->is_held = is_held;
}

static void take_event(struct follow *follow, json_t *data)
{
	if (follow->cli->is_json) {
		json_object_set_new(data, "event", json_string(follow->event));
		(void)json_dumpf(data, stdout, JSON_COMPACT);
		(void)putchar('\n');
	} else if (strcmp(follow->event, "output") == 0) {
		print_text(follow, data);
	}
	(void)fflush(stdout);
	if (strcmp(follow->event, "state") == 0 && !follow->cli->is_json) {
		tell_held(follow, run_is(data, RUN_HELD));
	} else if (strcmp(follow->event, "end") == 0) {
		json_decref(follow->run);
		follow->run = json_incref(data);
	} else if (strcmp(follow->event, "closing") == 0) {
		const char *reason = get_text(data, "reason");

		follow->is_deleted = reason && strcmp(reason, "deleted") == 0;
	}
}

/* --- lines (the EventSource format) --- */

static void end_event(struct follow *follow)
{
	json_t *data = follow->data ? json_loads(follow->data, 0, NULL) : NULL;

	if (json_is_object(data))
		take_event(follow, data);
	json_decref(data);
	if (follow->id[0])
		memcpy(follow->last_id, follow->id, sizeof(follow->id));
	free(take_ptr(follow->data));
	follow->event[0] = follow->id[0] = '\0';
}

/* The value of `name` in this line; NULL: it is another. */
static const char *field(const char *line, const char *name)
{
	size_t len = strlen(name);

	if (strncmp(line, name, len) != 0 || line[len] != ':')
		return NULL;
	return line[len + 1] == ' ' ? line + len + 2 : line + len + 1;
}

static void take_line(struct follow *follow, const char *line)
{
	const char *value;

	if (*line == '\0') {
		end_event(follow);
	} else if ((value = field(line, "data"))) {
		free(follow->data);
		follow->data = xstrdup(value);
	} else if ((value = field(line, "event"))) {
		(void)snprintf(follow->event, sizeof(follow->event), "%s", value);
	} else if ((value = field(line, "id"))) {
		(void)snprintf(follow->id, sizeof(follow->id), "%s", value);
	} else if ((value = field(line, "retry"))) {
		(void)parse_i64(value, 0, PAUSE_LAST_MS, &follow->retry_ms);
	}
}

static void on_bytes(const char *bytes, size_t len, void *data)
{
	struct follow *follow = data;

	follow->heard_mono_ms = clock_mono_ms();
	while (len > 0) {
		const char *end = memchr(bytes, '\n', len);
		size_t piece = end ? (size_t)(end - bytes) : len;

		buf_append(&follow->line, bytes, piece);
		if (!end)
			return;
		take_line(follow, buf_text(&follow->line));
		buf_clear(&follow->line);
		bytes += piece + 1;
		len -= piece + 1;
	}
}

/* --- again and again --- */

static void forget_half(struct follow *follow)
{
	buf_clear(&follow->line);
	free(take_ptr(follow->data));
	follow->event[0] = follow->id[0] = '\0';
}

static int tell_problem(const struct buf *problem, int status)
{
	(void)fprintf(stderr, "gathering: %s\n", buf_text(problem));
	return status;
}

/* Reads until `end` has come; the exit status when it never will. */
static int read_to_end(struct follow *follow, const char *path)
{
	int64_t pause_ms = PAUSE_FIRST_MS, heard_mono_ms;
	struct remote_stream stream = {.path = path, .on_bytes = on_bytes, .data = follow};
	struct buf problem;
	int status;

	buf_init(&problem, PROBLEM_MAX);
	for (;;) {
		heard_mono_ms = follow->heard_mono_ms;
		stream.last_id = follow->last_id[0] ? follow->last_id : NULL;
		buf_clear(&problem);
		status = remote_follow(follow->cli, &stream, &problem);
		forget_half(follow);
		if (follow->run || follow->is_deleted)
			break;
		if (status && (!stream.ret_may_retry || follow->heard_mono_ms == 0 ||
				      clock_mono_ms() - follow->heard_mono_ms > AWAY_MAX_MS))
			break;
		if (follow->heard_mono_ms > heard_mono_ms)
			pause_ms = PAUSE_FIRST_MS;
		(void)poll(NULL, 0, (int)(follow->retry_ms > 0 ? follow->retry_ms : pause_ms));
		follow->retry_ms = 0;
		pause_ms = 2 * pause_ms < PAUSE_LAST_MS ? 2 * pause_ms : PAUSE_LAST_MS;
	}
	if (follow->is_deleted) {
		(void)fputs("gathering: the run was deleted\n", stderr);
		status = 3;
	} else if (!follow->run) {
		status = tell_problem(&problem, status);
	}
	buf_fini(&problem);
	return status;
}

static int judge(const struct follow *follow, int64_t attempt)
{
	if (attempt > 0)
		return 0;
	if (!follow->cli->is_json)
		tell_run_end(follow->run);
	return run_is(follow->run, RUN_SUCCEEDED) ? 0 : 1;
}

int follow_run(struct cli *cli, const char *run_id, int64_t attempt)
{
	auto_free char *path = remote_path("/api/v1/runs/", run_id, "/output?follow=1");
	struct follow follow = {.cli = cli, .run_id = run_id};
	struct buf full;
	char number[24];
	int status;

	buf_init(&full, 4096);
	buf_puts(&full, path);
	(void)snprintf(number, sizeof(number), "%lld", (long long)attempt);
	remote_query(&full, "attempt", attempt > 0 ? number : NULL);
	buf_init(&follow.line, LINE_MAX_BYTES);
	status = read_to_end(&follow, buf_text(&full));
	if (follow.is_line_open && cli->is_terminal)
		(void)putchar('\n');
	(void)fflush(stdout);
	if (follow.run)
		status = judge(&follow, attempt);
	json_decref(follow.run);
	buf_fini(&follow.line);
	buf_fini(&full);
	return status;
}
