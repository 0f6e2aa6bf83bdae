/* SPDX-License-Identifier: Apache-2.0
 *
 * What people see of an import: the plan, the remarks by line, the result. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/import_priv.h"
#include "model/model.h"

void import_tell_remarks(const struct import *import, FILE *out)
{
	for (size_t i = 0; i < import->crontab.remark_count; i++) {
		const struct crontab_remark *remark = &import->crontab.remarks[i];
		struct buf line;

		buf_init(&line, 8192);
		append_safe(&line, remark->text);
		(void)fprintf(out, "line %d %s: %s\n", remark->line,
			remark->verdict == CRONTAB_REFUSED ? "refused" : "note", buf_text(&line));
		buf_fini(&line);
	}
}

/* --- JSON --- */

static json_t *remarks_json(const struct import *import, enum crontab_verdict verdict)
{
	json_t *list = json_array();

	for (size_t i = 0; i < import->crontab.remark_count; i++) {
		const struct crontab_remark *remark = &import->crontab.remarks[i];

		if (remark->verdict == verdict)
			(void)json_array_append_new(
				list, json_pack("{s:i, s:s}", "line", remark->line, "detail",
					      remark->text));
	}
	return list;
}

static json_t *rows_json(const struct import *import)
{
	json_t *list = json_array();
	char due[RFC3339_TEXT_SIZE];

	for (size_t i = 0; i < import->row_count; i++) {
		const struct import_row *row = &import->rows[i];

		(void)json_array_append_new(list,
			json_pack("{s:i, s:b, s:b, s:s?, s:O}", "line", row->job->line, "existing",
				(int)row->exists, "created", (int)row->created, "next_due_at",
				row->next_due_ms == NO_TIME ? NULL
							    : format_rfc3339(row->next_due_ms, due),
				"action", row->definition));
	}
	return list;
}

static void print_report_json(const struct import *import)
{
	json_t *report = json_pack("{s:o, s:o, s:o}", "items", rows_json(import), "refused",
		remarks_json(import, CRONTAB_REFUSED), "notes",
		remarks_json(import, CRONTAB_NOTED));

	print_json(report);
	json_decref(report);
}

/* --- text --- */

static const char *row_user(const struct import_row *row)
{
	return get_text(json_object_get(row->definition, "exec"), "user");
}

static const char *row_zone(const struct import_row *row)
{
	return get_text(json_object_get(row->definition, "schedule"), "timezone");
}

static void print_rows(const struct import *import)
{
	static const struct column columns[] = {
		{"LINE", COLUMN_RIGHT},
		{"NAME", COLUMN_SHRINKS},
		{"SCHEDULE", COLUMN_PLAIN},
		{"ZONE", COLUMN_PLAIN},
		{"USER", COLUMN_PLAIN},
		{"NEXT DUE", COLUMN_PLAIN},
		{"COMMAND", COLUMN_SHRINKS},
	};
	struct table table;
	char due[RFC3339_TEXT_SIZE];

	table_init(&table, columns, COUNT_OF(columns));
	for (size_t i = 0; i < import->row_count; i++) {
		const struct import_row *row = &import->rows[i];
		json_t *at = row->next_due_ms == NO_TIME
				     ? json_null()
				     : json_string(format_rfc3339(row->next_due_ms, due));

		table_printf(&table, "%d", row->job->line);
		table_add(&table, row->name);
		table_add(&table, row->job->schedule);
		table_add(&table, row_zone(row));
		table_add(&table, row_user(row));
		table_add_time(&table, import->cli, at);
		table_add(&table, row->job->command);
		json_decref(at);
	}
	table_print(&table, import->cli);
	table_fini(&table);
}

/* The users the jobs need, each once, and what that asks of the server. */
static void print_users(const struct import *import)
{
	json_t *users = json_object();
	const char *user;
	json_t *count;

	for (size_t i = 0; i < import->row_count; i++) {
		const char *name = row_user(&import->rows[i]);

		if (name)
			(void)json_object_set_new(users, name,
				json_integer(json_integer_value(json_object_get(users, name)) + 1));
	}
	if (json_object_size(users) == 0) {
		(void)puts("they run as the server's own user");
	} else {
		(void)fputs("they run as", stdout);
		json_object_foreach(users, user, count)(void)
			printf(" %s (%lld)", user, (long long)json_integer_value(count));
		(void)puts("; the server must be that user itself, or run as root with the user in "
			   "exec_users");
	}
	json_decref(users);
}

void import_show_plan(const struct import *import)
{
	const json_t *first = import->row_count ? import->rows[0].definition : NULL;

	if (import->cli->is_json) {
		print_report_json(import);
		return;
	}
	if (import->row_count) {
		print_rows(import);
		(void)printf("\n%zu %s would be created (%s form), each with overlap %s, misfire "
			     "%s, timeout %s\n",
			import->row_count, import->row_count == 1 ? "action" : "actions",
			import->crontab.form == CRONTAB_SYSTEM ? "system" : "user",
			get_text(first, "overlap"), get_text(first, "misfire"),
			get_text(first, "timeout"));
		print_users(import);
	} else {
		(void)printf("no jobs in %s\n", import->source);
	}
	import_tell_remarks(import, stdout);
	if (import_refused(import) && !cli_has(import->cli, "keep-going"))
		(void)puts("an import would stop here, with nothing created; --keep-going imports "
			   "the rest");
}

void import_tell_result(const struct import *import)
{
	size_t created = 0, existing = 0;

	if (import->cli->is_json) {
		print_report_json(import);
		return;
	}
	for (size_t i = 0; i < import->row_count; i++) {
		created += import->rows[i].created;
		existing += import->rows[i].exists;
	}
	import_tell_remarks(import, stderr);
	(void)printf("created %zu, already there %zu, refused %zu\n", created, existing,
		import_refused(import));
	if (created)
		(void)puts("`gathering action list --tag crontab` lists them");
}
