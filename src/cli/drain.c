/* SPDX-License-Identifier: Apache-2.0
 *
 * `instance drain --wait`: until an instance that was told to drain has nothing left to do, or
 * until one that stops is gone; meanwhile one line that says what it waits for. Best asked over the
 * admin socket (--server unix:PATH), which answers to the very end of the process. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli_priv.h"

#define ASK_EVERY_MS  500 /* /health lets one address ask five times a second */
#define PROBLEM_MAX   4096
#define EXIT_WAS_CUT  3
#define TIMEOUT_UNSET -1

struct wait {
	struct cli *cli;
	int64_t until_mono_ms; /* TIMEOUT_UNSET: for ever */
	bool was_stop, was_cut;
	bool is_terminal;
};

/* On a terminal the line is written over; elsewhere each change would fill a log, so it is not
 * shown. */
static void show(const struct wait *wait, const json_t *health, const json_t *shutdown)
{
	const char *part = get_text(shutdown, "waits_for");
	int64_t left_ms = json_is_integer(json_object_get(shutdown, "left_ms"))
				  ? get_number(shutdown, "left_ms", 0)
				  : -1;
	char left[64] = "";

	if (!wait->is_terminal)
		return;
	if (left_ms < 0 && wait->until_mono_ms != TIMEOUT_UNSET)
		left_ms = wait->until_mono_ms - clock_mono_ms();
	if (left_ms >= 0)
		(void)snprintf(left, sizeof(left), ", at most %llds left",
			(long long)((left_ms + 999) / 1000));
	(void)fprintf(stderr, "\r\033[K%s%s%s: %lld runs, %lld requests%s",
		get_text(health, "state"), part && *part ? ", waits for " : "", part ? part : "",
		(long long)get_number(shutdown, "runs_running", 0),
		(long long)get_number(shutdown, "requests_in_flight", 0), left);
	(void)fflush(stderr);
}

static void end_line(const struct wait *wait)
{
	if (wait->is_terminal)
		(void)fputs("\r\033[K", stderr);
}

/* 1: nothing is left, or the process is gone; 0: not yet; negative: -(exit status), told. */
static int ask(struct wait *wait)
{
	json_t *health = NULL, *shutdown;
	struct buf problem;
	int status;

	buf_init(&problem, PROBLEM_MAX);
	status = remote_try(wait->cli, "GET", "/health", NULL, &health, &problem);
	if (status != 0 && !wait->was_stop)
		(void)fprintf(stderr, "%s\n", buf_text(&problem));
	buf_fini(&problem);
	if (status != 0) /* one that stops has closed its doors, as it should */
		return wait->was_stop ? 1 : -status;
	shutdown = json_object_get(health, "shutdown");
	if (shutdown) {
		wait->was_stop = json_is_true(json_object_get(shutdown, "is_stop"));
		wait->was_cut |= json_is_true(json_object_get(shutdown, "cut"));
		show(wait, health, shutdown);
	}
	/* our own question is one of the requests, unless it came by the admin socket */
	status = shutdown && !wait->was_stop && get_number(shutdown, "runs_running", 0) == 0 &&
		 get_number(shutdown, "requests_in_flight", 0) <= 1;
	json_decref(health);
	return status;
}

static bool is_too_late(const struct wait *wait)
{
	return wait->until_mono_ms != TIMEOUT_UNSET && clock_mono_ms() >= wait->until_mono_ms;
}

static const char *verdict(const struct wait *wait)
{
	if (wait->was_cut)
		return "stopped; a deadline cut something";
	return wait->was_stop ? "stopped" : "drained";
}

int cli_wait_drained(struct cli *cli, int64_t timeout_ms)
{
	struct wait wait = {.cli = cli,
		.until_mono_ms = timeout_ms < 0 ? TIMEOUT_UNSET : clock_mono_ms() + timeout_ms,
		.is_terminal = isatty(STDERR_FILENO)};
	int answer;

	while ((answer = ask(&wait)) == 0 && !is_too_late(&wait))
		(void)poll(NULL, 0, ASK_EVERY_MS);
	end_line(&wait);
	if (answer < 0)
		return -answer;
	if (answer == 0)
		(void)fputs("not drained in time\n", stderr);
	else if (!cli->is_json)
		(void)puts(verdict(&wait));
	return answer == 0 || wait.was_cut ? EXIT_WAS_CUT : 0;
}
