/* SPDX-License-Identifier: Apache-2.0
 *
 * Definitions to the server, many in a request: each request is created all or none. A request that
 * is refused is, with --keep-going, sent again in halves until the rows at fault stand alone. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/import_priv.h"

#define BULK_ITEMS_MAX 1000                /* the server's limit */
#define BULK_BYTES_MAX ((size_t)900 << 10) /* below the 1 MiB of its body_max */
#define REFUSALS_MAX   100                 /* then it is not the lines that are wrong */

struct sending {
	struct import *import;
	struct import_row **rows; /* those to create */
	size_t count, done, refused;
	bool has_progress;
};

static void show_progress(const struct sending *sending)
{
	if (sending->has_progress)
		(void)fprintf(stderr, "\rcreated %zu of %zu%s", sending->done, sending->count,
			sending->done == sending->count ? "\n" : "");
}

static json_t *bulk_json(struct import_row **rows, size_t count)
{
	json_t *items = json_array();

	for (size_t i = 0; i < count; i++)
		(void)json_array_append(items, rows[i]->definition);
	return json_pack("{s:o}", "items", items);
}

/* May the trouble be with single rows? Then the problem names them; anything else (no server, a
 * full disk) would only come again. */
static bool may_divide(const struct sending *sending, const struct buf *problem)
{
	return cli_has(sending->import->cli, "keep-going") && sending->refused < REFUSALS_MAX &&
	       strstr(buf_text(problem), "/items/");
}

/* The one row that the server will not have: a remark, and the import goes on. */
static int refuse_row(
	struct sending *sending, const struct import_row *row, const struct buf *problem)
{
	sending->refused++;
	crontab_remark(&sending->import->crontab, row->job->line, CRONTAB_REFUSED, "%s",
		buf_text(problem));
	return 0;
}

static int give_up(const struct sending *sending, struct import_row **rows, size_t count,
	int status, const struct buf *problem)
{
	(void)fprintf(stderr, "%sgathering: lines %d to %d: %s\n",
		sending->has_progress ? "\n" : "", rows[0]->job->line, rows[count - 1]->job->line,
		buf_text(problem));
	return status;
}

/* One request, and when it is refused its halves. */
static int send_rows(struct sending *sending, struct import_row **rows, size_t count)
{
	json_t *body = bulk_json(rows, count);
	struct buf problem;
	int status;

	buf_init(&problem, 1u << 16);
	status = remote_try(sending->import->cli, "POST", "/api/v1/actions", body, NULL, &problem);
	json_decref(body);
	if (!status) {
		for (size_t i = 0; i < count; i++)
			rows[i]->created = true;
		sending->done += count;
		show_progress(sending);
	} else if (!may_divide(sending, &problem)) {
		status = give_up(sending, rows, count, status, &problem);
	} else if (count == 1) {
		status = refuse_row(sending, rows[0], &problem);
	} else {
		status = send_rows(sending, rows, count / 2);
		if (!status)
			status = send_rows(sending, rows + count / 2, count - count / 2);
	}
	buf_fini(&problem);
	return status;
}

/* How many of the rows from `at` on fit in one request; at least one. */
static size_t bulk_size(const struct sending *sending, size_t at)
{
	size_t bytes = 0, count = 0;

	while (at + count < sending->count && count < BULK_ITEMS_MAX) {
		bytes += json_dumpb(sending->rows[at + count]->definition, NULL, 0, JSON_COMPACT) +
			 1;
		if (bytes > BULK_BYTES_MAX && count > 0)
			break;
		count++;
	}
	return count;
}

int import_send(struct import *import)
{
	struct sending sending = {.import = import,
		.rows = xcalloc(import->row_count + 1, sizeof(*sending.rows)),
		.has_progress = isatty(STDERR_FILENO) == 1 && !import->cli->is_json};
	int status = 0;

	for (size_t i = 0; i < import->row_count; i++)
		if (!import->rows[i].exists)
			sending.rows[sending.count++] = &import->rows[i];
	for (size_t at = 0; !status && at < sending.count;) {
		size_t count = bulk_size(&sending, at);

		status = send_rows(&sending, sending.rows + at, count);
		at += count;
	}
	free(sending.rows);
	return status;
}
