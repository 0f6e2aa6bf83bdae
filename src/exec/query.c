/* SPDX-License-Identifier: Apache-2.0
 *
 * One sql attempt: the statement in a transaction of its own, its first rows as the output. A
 * column `gathering` in the first row says how far it came and from where the next attempt is to go
 * on.
 *
 * On `self`, our own database, the end of the run is recorded in the same transaction: both are
 * there or neither, whatever is killed in between. When the connection is lost under the COMMIT,
 * nobody knows which; the attempt then counts as interrupted, and recording that is refused exactly
 * when the other had come through. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "exec_priv.h"

#define QUERY_ROWS_MAX  100 /* in the output */
#define NOTE_COLUMN     "gathering"
#define QUERY_MARGIN_MS 5000 /* our own deadline comes first, the server's half of this later */
#define SETTINGS_MAX    12

struct query {
	struct attempt attempt;
	struct pg_errand errand;
	struct pg_setting settings[SETTINGS_MAX];
	char timeout[24], run_id[ID_TEXT_SIZE], due_at[RFC3339_TEXT_SIZE], number[24], epoch[24];
	char key[RUN_KEY_SIZE];
	bool is_started, is_undone;
	char *answer; /* owned; of the column, until the COMMIT; NULL: none */
};

static struct query *query_of(const struct attempt *attempt)
{
	return container_of(attempt, struct query, attempt);
}

static struct attempt *query_create(void)
{
	struct query *query = xcalloc(1, sizeof(*query));

	return &query->attempt;
}

static void query_destroy(struct attempt *attempt)
{
	free(query_of(attempt)->answer);
	free(query_of(attempt));
}

/* --- the output: as COPY writes text, with the names of the columns first --- */

static void write_value(struct attempt *attempt, const char *value)
{
	size_t len;

	if (value == NULL)
		attempt_write(attempt, "\\N", 2);
	for (; value != NULL && *value != '\0'; value += len) {
		len = strcspn(value, "\t\n\\");
		attempt_write(attempt, value, len);
		if (value[len] == '\0')
			break;
		attempt_write(attempt,
			value[len] == '\t'   ? "\\t"
			: value[len] == '\n' ? "\\n"
					     : "\\\\",
			2);
		len++;
	}
}

static void write_text(struct attempt *attempt, const char *text)
{
	attempt_write(attempt, text, strlen(text));
}

static void write_rows(struct attempt *attempt, const struct pg_query *result)
{
	int columns = pg_column_count(result);
	struct pg_row row = pg_rows(result);

	for (int i = 0; i < columns; i++) {
		write_value(attempt, pg_column_name(result, i));
		write_text(attempt, i + 1 < columns ? "\t" : "\n");
	}
	for (int count = 0; count < QUERY_ROWS_MAX && pg_row_next(&row); count++) {
		for (int i = 0; i < columns; i++) {
			write_value(attempt, pg_read_text(&row));
			write_text(attempt, i + 1 < columns ? "\t" : "\n");
		}
	}
}

static void write_result(struct attempt *attempt, const struct pg_query *result)
{
	int64_t rows = pg_row_count(result), affected = pg_affected(result);
	char text[80];

	if (pg_column_count(result) > 0)
		write_rows(attempt, result);
	if (rows > QUERY_ROWS_MAX)
		write_text(attempt, "[... more rows left out ...]\n");
	(void)snprintf(text, sizeof(text), "(%lld row%s)\n", (long long)affected,
		affected == 1 ? "" : "s");
	write_text(attempt, text);
}

/* --- what the statement says about the run --- */

/* Of the first row; borrowed. NULL: it says nothing. */
static const char *find_answer(const struct pg_query *result)
{
	int columns = pg_column_count(result);
	struct pg_row row = pg_rows(result);
	const char *found = NULL;

	if (!pg_row_next(&row))
		return NULL;
	for (int i = 0; i < columns; i++) {
		const char *value = pg_read_text(&row);

		if (strcmp(pg_column_name(result, i), NOTE_COLUMN) == 0)
			found = value;
	}
	return found;
}

/* It counts once it is committed; whether it can be read belongs into the output, which is recorded
 * with the COMMIT on `self`. There a checkpoint would be apart from what it is about. */
static void read_answer(struct query *query, const struct pg_query *result)
{
	const char *answer = find_answer(result);
	struct run_note note = {0};
	bool is_done = true;
	struct err err = {0};

	if (answer == NULL)
		return;
	if (answer_note_parse(answer, strlen(answer), &note, &is_done, &err) == 0) {
		query->answer = query->errand.put_last == NULL ? xstrdup(answer) : NULL;
		if (note.checkpoint != NULL && query->answer == NULL)
			(void)err_set(&err, ERR_INVALID,
				"on 'self' a checkpoint is kept in a table of your own, in the "
				"same transaction");
	}
	run_note_fini(&note);
	query->is_undone = !is_done;
	attempt_refuse_note(&query->attempt, "the column '" NOTE_COLUMN "'", &err);
}

static void set_success(struct query *query)
{
	query->attempt.result.outcome = query->is_undone ? ATTEMPT_FAILED : ATTEMPT_SUCCEEDED;
	if (query->is_undone)
		attempt_set_error(&query->attempt, ANSWER_UNDONE);
}

/* --- the end --- */

static void set_failure(struct query *query)
{
	struct attempt *attempt = &query->attempt;
	const struct pg_errand *errand = &query->errand;
	char text[ENDING_TEXT_SIZE];

	attempt->result.outcome = ATTEMPT_FAILED; /* put_end may have said otherwise */
	if (errand->is_unknown) {
		attempt->result.outcome = ATTEMPT_INTERRUPTED;
		attempt_set_error(attempt,
			"the connection was lost under the COMMIT, so the statement may have been "
			"done: %s",
			errand->err.text);
	} else if (attempt->ending != ATTEMPT_SUCCEEDED) {
		attempt->result.outcome = attempt->ending;
		attempt_set_error(
			attempt, "%s; nothing was changed", attempt_ending_text(attempt, text));
	} else {
		attempt_set_error(attempt, "%s", errand->err.text);
	}
}

static void on_errand_done(struct pg_errand *errand)
{
	struct query *query = errand->data;
	struct attempt *attempt = &query->attempt;

	if (errand->err.code == 0) {
		set_success(query);
		if (query->answer != NULL)
			attempt_take_answer(attempt, query->answer, strlen(query->answer),
				&(bool){false}, &(struct err){0});
		attempt->result.is_recorded = errand->put_last != NULL;
	} else {
		set_failure(query);
	}
	pg_errand_fini(errand);
	attempt_finish(attempt);
}

/* Whoever asks us to end hears that from the server. */
static void query_end(struct attempt *attempt)
{
	pg_errand_cancel(&query_of(attempt)->errand);
}

static bool query_has_ended(const struct attempt *attempt)
{
	return !query_of(attempt)->is_started;
}

/* --- the beginning --- */

static void add_setting(struct query *query, const char *name, const char *value)
{
	must(query->errand.setting_count < SETTINGS_MAX);
	query->settings[query->errand.setting_count++] = (struct pg_setting){name, value};
}

/* `role` is last: it may be one that must not change what stands before it. */
static void add_settings(struct query *query, const char *role)
{
	const struct run *run = query->attempt.run;

	(void)snprintf(query->timeout, sizeof(query->timeout), "%lld",
		(long long)query->attempt.action->timeout_ms + QUERY_MARGIN_MS / 2);
	(void)snprintf(query->number, sizeof(query->number), "%d", run->attempt);
	(void)snprintf(query->epoch, sizeof(query->epoch), "%lld", (long long)run->epoch);
	add_setting(query, "statement_timeout", query->timeout);
	add_setting(query, "gathering.run_id", id_format(&run->id, query->run_id));
	add_setting(query, "gathering.action", run->action->name);
	add_setting(query, "gathering.due_at", format_rfc3339(run->due_at_ms, query->due_at));
	add_setting(query, "gathering.attempt", query->number);
	add_setting(query, "gathering.epoch", query->epoch);
	add_setting(query, "gathering.idempotency_key", run_idempotency_key(run, query->key));
	add_setting(query, "gathering.payload", run->payload != NULL ? run->payload : "");
	add_setting(query, "gathering.checkpoint", run->checkpoint != NULL ? run->checkpoint : "");
	if (role != NULL)
		add_setting(query, "role", role);
	query->errand.settings = query->settings;
}

static void on_statement_done(struct pg_errand *errand)
{
	struct query *query = errand->data;

	write_result(&query->attempt, errand->statement);
	read_answer(query, errand->statement);
}

/* What the ledger will show, if the COMMIT succeeds. */
static void put_end(struct pg_errand *errand, struct pg_query *query)
{
	struct attempt *attempt = &((struct query *)errand->data)->attempt;
	struct attempt_result result;

	set_success(errand->data);
	result = attempt->result;
	result.output_total = attempt->output.total;
	result.output = capture_copy(&attempt->output, &result.output_len);
	attempt->exec->opts.put_end(attempt->run, &result, query, attempt->data);
	free(result.output);
}

static bool read_end(struct pg_errand *errand, const struct pg_query *query)
{
	const struct attempt *attempt = &((struct query *)errand->data)->attempt;

	return attempt->exec->opts.read_end(attempt->run, query, &errand->err, attempt->data) == 0;
}

static int begin(struct query *query, struct err *err)
{
	struct attempt *attempt = &query->attempt;
	const struct sql_target *target = &attempt->action->sql;
	struct pg_errand *errand = &query->errand;
	const char *role = NULL;
	int code = query_check(attempt->exec, attempt->action, err);

	if (code == 0)
		code = databases_find(
			attempt->exec->databases, target->database, &errand->pool, &role, err);
	if (code != 0)
		return code;
	errand->text = target->statement;
	errand->people = target->database;
	errand->is_read_only = target->is_read_only;
	errand->timeout_ms = attempt->action->timeout_ms + QUERY_MARGIN_MS;
	errand->on_statement = on_statement_done;
	if (role != NULL && !target->is_read_only) { /* reading has no effect to be exact about */
		errand->put_last = put_end;
		errand->read_last = read_end;
	}
	errand->done = on_errand_done;
	errand->data = query;
	add_settings(query, role);
	query->is_started = true;
	pg_errand_start(errand);
	return 0;
}

static void query_start(struct attempt *attempt)
{
	struct err err = {0};

	if (begin(query_of(attempt), &err) == 0)
		return;
	attempt_set_error(attempt, "%s", err.text);
	attempt_finish(attempt);
}

int query_check(const struct exec *exec, const struct action *action, struct err *err)
{
	const char *name = action->sql.database;

	if (databases_has(exec->databases, name))
		return 0;
	if (strcmp(name, SQL_SELF) == 0)
		return err_field(err, ERR_FORBIDDEN, "/sql/database",
			"sql actions may not use our own database; that takes PostgreSQL and "
			"sql_self_role = a role of its own for them");
	return err_field(err, ERR_FORBIDDEN, "/sql/database",
		"no database '%s' is known here; add %s=postgresql://... to sql_databases", name,
		name);
}

const struct exec_kind query_kind = {
	.create = query_create,
	.destroy = query_destroy,
	.start = query_start,
	.has_ended = query_has_ended,
	.end = query_end,
	.kill = query_end,
	.check = query_check,
};
