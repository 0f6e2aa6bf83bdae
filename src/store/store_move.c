/* SPDX-License-Identifier: Apache-2.0
 *
 * From a file to a server, for those who have outgrown one machine. What matters is the order of
 * the last two steps: the file is marked before the server commits. A crash in between leaves a
 * file that no server takes and a database without actions; the same command again goes on from
 * there. The other order would leave two places in which every due time is claimed. */
#include <stdlib.h>
#include <string.h>

#include "pg/pg.h"
#include "store/move_priv.h"

#define BATCH_BYTES (1u << 20)
#define BATCH_ROWS  2000
#define BATCH_MAX   (BATCH_BYTES + (64u << 20)) /* one row may be as large as a statement */

void move_tables_free(struct move_table *tables, size_t count)
{
	for (size_t t = 0; t < count; t++) {
		for (size_t i = 0; i < tables[t].count; i++) {
			free(tables[t].columns[i].from);
			free(tables[t].columns[i].to);
			free(tables[t].columns[i].type);
		}
		free(tables[t].columns);
		free(tables[t].name);
	}
	free(tables);
}

static void free_names(char **names)
{
	for (size_t i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
}

/* --- which column is which --- */

static bool is_same(const char *from, const char *to)
{
	size_t len = strlen(from);

	if (strcmp(from, to) == 0)
		return true;
	if (len < 3 || strcmp(from + len - 3, "_ms") != 0 || strncmp(from, to, len - 3) != 0)
		return false;
	return to[len - 3] == '\0' || strcmp(to + len - 3, "_at") == 0;
}

static bool match_column(struct move_table *table, const char *from)
{
	for (size_t i = 0; i < table->count; i++) {
		if (table->columns[i].from || !is_same(from, table->columns[i].to))
			continue;
		table->columns[i].from = xstrdup(from);
		return true;
	}
	return false;
}

/* What only the server has takes its default there. */
static void drop_unmatched(struct move_table *table)
{
	size_t kept = 0;

	for (size_t i = 0; i < table->count; i++) {
		if (table->columns[i].from) {
			table->columns[kept++] = table->columns[i];
			continue;
		}
		free(table->columns[i].to);
		free(table->columns[i].type);
	}
	table->count = kept;
}

static int match_table(struct export *export, struct move_table *table, struct err *err)
{
	char **names = NULL;
	int status = export_columns(export, table->name, &names, err);

	for (size_t i = 0; status == 0 && names[i]; i++)
		if (!match_column(table, names[i]))
			status = err_set(err, ERR_INTERNAL,
				"column %s.%s of the file has no place on the server; this is a "
				"fault of the program, please report it",
				table->name, names[i]);
	free_names(names);
	drop_unmatched(table);
	return status;
}

static bool has_table(const struct move_table *tables, size_t count, const char *name)
{
	for (size_t t = 0; t < count; t++)
		if (strcmp(tables[t].name, name) == 0)
			return true;
	return false;
}

static int match(struct export *export, struct move_table *tables, size_t count, struct err *err)
{
	char **names = NULL;
	int status = export_tables(export, &names, err);

	for (size_t i = 0; status == 0 && names[i]; i++)
		if (!has_table(tables, count, names[i]))
			status = err_set(err, ERR_INTERNAL,
				"table %s of the file has no place on the server; this is a fault "
				"of the program, please report it",
				names[i]);
	free_names(names);
	for (size_t t = 0; status == 0 && t < count; t++)
		status = match_table(export, &tables[t], err);
	return status;
}

/* --- rows --- */

struct mover {
	struct store_move *move;
	struct export *export;
	struct import *import;
};

static int flush(struct mover *mover, const struct move_table *table, struct buf *batch,
	int64_t done, struct err *err)
{
	if (batch->len > 0) {
		buf_putc(batch, ']');
		if (import_rows(mover->import, table, buf_text(batch), err) < 0)
			return err->code;
		buf_clear(batch);
	}
	if (mover->move->progress)
		mover->move->progress(table->name, done, table->rows, mover->move->data);
	return 0;
}

static int copy_rows(
	struct mover *mover, const struct move_table *table, struct buf *batch, struct err *err)
{
	const char *row;
	int64_t done = 0;
	int status;

	while ((status = export_row(mover->export, &row, err)) > 0) {
		buf_putc(batch, batch->len ? ',' : '[');
		buf_puts(batch, row);
		if (++done % BATCH_ROWS == 0 || batch->len >= BATCH_BYTES)
			status = flush(mover, table, batch, done, err);
		if (status < 0)
			return status;
	}
	if (status == 0)
		status = flush(mover, table, batch, done, err);
	mover->move->ret_rows += done;
	return status;
}

static int copy_table(struct mover *mover, struct move_table *table, struct err *err)
{
	struct buf batch;
	int status;

	if (table->count == 0) /* the file has no such table */
		return 0;
	if (export_count(mover->export, table->name, &table->rows, err) < 0 ||
		export_begin(mover->export, table, err) < 0)
		return err->code;
	buf_init(&batch, BATCH_MAX);
	status = copy_rows(mover, table, &batch, err);
	buf_fini(&batch);
	return status;
}

static int copy_all(struct mover *mover, struct err *err)
{
	struct move_table *tables = NULL;
	size_t count = 0;
	int status = import_tables(mover->import, &tables, &count, err);

	if (status == 0)
		status = match(mover->export, tables, count, err);
	for (size_t t = 0; status == 0 && t < count; t++)
		status = copy_table(mover, &tables[t], err);
	move_tables_free(tables, count);
	return status;
}

/* What would be copied. */
static int count_all(struct mover *mover, struct err *err)
{
	char **names = NULL;
	int status = export_tables(mover->export, &names, err);

	for (size_t i = 0; status == 0 && names[i]; i++) {
		int64_t rows = 0;

		status = export_count(mover->export, names[i], &rows, err);
		if (status == 0 && mover->move->progress)
			mover->move->progress(names[i], 0, rows, mover->move->data);
		mover->move->ret_rows += rows;
	}
	free_names(names);
	return status;
}

static int hand_over(struct mover *mover, struct err *err)
{
	auto_free char *place = pg_url_for_people(mover->move->to);

	if (export_mark(mover->export, place, err) < 0)
		return err->code;
	if (import_commit(mover->import, err) < 0)
		return err_wrap(err, "the file is marked as moved, but the server did not confirm; "
				     "run the same command again");
	return 0;
}

static const char *file_of(const char *url)
{
	return strncmp(url, "sqlite:", 7) == 0 ? url + 7 : NULL;
}

static int copy_and_hand_over(struct mover *mover, struct err *err)
{
	int status;

	if (export_upgrade(mover->export, err) < 0 ||
		import_open(mover->move->to, &mover->import, err) < 0)
		return err->code;
	status = copy_all(mover, err);
	if (status == 0)
		status = hand_over(mover, err);
	import_close(mover->import);
	return status;
}

int store_move(struct store_move *move, struct err *err)
{
	struct mover mover = {.move = move};
	int status;

	move->ret_rows = 0;
	if (!file_of(move->from) || pg_url_check(move->to, err) < 0)
		return err_set(err, ERR_INVALID,
			"only a file can be moved, and only to a server: --from sqlite:PATH --to "
			"postgresql://HOST/NAME");
	if (export_open(file_of(move->from), &mover.export, err) < 0)
		return err->code;
	status = move->dry_run ? count_all(&mover, err) : copy_and_hand_over(&mover, err);
	export_close(mover.export);
	return status;
}

int store_take_back(const char *url, struct err *err)
{
	struct export *export;
	int status;

	if (!file_of(url))
		return err_set(err, ERR_INVALID, "only a file can be taken back: sqlite:PATH");
	if (export_open(file_of(url), &export, err) < 0)
		return err->code;
	status = export_mark(export, NULL, err);
	export_close(export);
	return status;
}
