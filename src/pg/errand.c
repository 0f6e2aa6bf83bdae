/* SPDX-License-Identifier: Apache-2.0
 *
 * A statement that somebody else wrote, in a transaction of its own:
 *
 *   lease -> BEGIN, settings, statement -> [RESET ROLE, the caller's last word] -> COMMIT -> done
 *                                      \-> ROLLBACK ---------------------------------------^
 *
 * The extended protocol takes one command at a time, so a text cannot close the transaction and go
 * on behind it; that it consists of COMMIT alone is for the last word to notice, which finds the
 * settings gone. Nothing is sent again here: what may be repeated, the caller knows. */
#include <stdlib.h>

#include "base/mem.h"
#include "pg/pg.h"

static void fail(struct pg_errand *errand, const struct err *err)
{
	if (errand->err.code == 0)
		errand->err = *err;
}

static void on_answer(struct pg_query *query);

static struct pg_query *next_query(struct pg_errand *errand)
{
	struct pg_query *query = &errand->queries[errand->query_count++];

	must(errand->query_count <= PG_ERRAND_QUERIES);
	pg_query_init(query);
	query->timeout_ms = errand->timeout_ms;
	query->done = on_answer;
	query->data = errand;
	return query;
}

static void ask(struct pg_errand *errand, struct pg_query *query)
{
	errand->under_way++;
	pg_lease_query(&errand->lease, query);
}

static void ask_text(struct pg_errand *errand, const char *text)
{
	struct pg_query *query = next_query(errand);

	query->text = text;
	ask(errand, query);
}

/* --- the end --- */

static void finish(struct pg_errand *errand)
{
	pg_lease_release(&errand->lease);
	errand->stage = PG_ERRAND_DONE;
	errand->done(errand);
}

static void roll_back(struct pg_errand *errand)
{
	errand->stage = PG_ERRAND_ROLLING_BACK;
	ask_text(errand, "ROLLBACK");
}

static void commit(struct pg_errand *errand)
{
	if (errand->is_cancelled) {
		fail(errand, &(struct err){.code = ERR_CANCELLED, .text = "cancelled"});
		roll_back(errand);
		return;
	}
	errand->stage = PG_ERRAND_COMMITTING;
	ask_text(errand, "COMMIT");
}

/* A server's own words say that it did not; but silence says nothing, and neither does the end of
 * the session, which may have come behind a COMMIT that is done, or from a pooler that knows no
 * more than we do. */
static void on_commit(struct pg_errand *errand, const struct pg_query *query)
{
	bool is_silent = query->sqlstate[0] == '\0' || query->was_last_word;

	errand->is_unknown = query->err.code != 0 && query->was_sent && is_silent &&
			     query->err.code != ERR_CONFLICT;
	fail(errand, &query->err);
	finish(errand);
}

/* --- the way there --- */

static void say_last_word(struct pg_errand *errand)
{
	struct pg_query *query;

	if (errand->on_statement != NULL)
		errand->on_statement(errand);
	if (errand->put_last == NULL) {
		commit(errand);
		return;
	}
	errand->stage = PG_ERRAND_LAST_WORD;
	ask_text(errand, "RESET ROLE");
	query = next_query(errand);
	errand->put_last(errand, query);
	ask(errand, query);
}

static void go_on(struct pg_errand *errand, const struct pg_query *query)
{
	switch (errand->stage) {
	case PG_ERRAND_WORKING:
		if (errand->err.code != 0)
			roll_back(errand);
		else
			say_last_word(errand);
		return;
	case PG_ERRAND_LAST_WORD:
		if (errand->err.code == 0 && errand->read_last(errand, query))
			commit(errand);
		else
			roll_back(errand);
		return;
	case PG_ERRAND_COMMITTING:
		on_commit(errand, query);
		return;
	case PG_ERRAND_ROLLING_BACK:
		finish(errand);
		return;
	case PG_ERRAND_LEASING:
	case PG_ERRAND_DONE:
		break;
	}
	must_fail("an answer to nothing", __FILE__, __LINE__);
}

/* Of several under way the first error is the reason, and the rest only its echo. */
static void on_answer(struct pg_query *query)
{
	struct pg_errand *errand = query->data;

	if (query->err.code != 0 && errand->stage != PG_ERRAND_ROLLING_BACK &&
		errand->stage != PG_ERRAND_COMMITTING)
		fail(errand, &query->err);
	if (--errand->under_way == 0)
		go_on(errand, query);
}

static void ask_settings(struct pg_errand *errand)
{
	struct pg_query *query = next_query(errand);
	struct buf text;

	buf_init(&text, PG_ERRAND_SETTINGS_TEXT);
	buf_puts(&text, "SELECT ");
	for (size_t i = 0; i < errand->setting_count; i++) {
		buf_printf(&text, "%sset_config('%s', $%zu::text, true)", i > 0 ? ", " : "",
			errand->settings[i].name, i + 1);
		pg_put_text(&query->params, errand->settings[i].value);
	}
	errand->settings_text = buf_take(&text);
	query->text = errand->settings_text;
	ask(errand, query);
}

static void on_leased(struct pg_lease *lease)
{
	struct pg_errand *errand = lease->data;

	if (lease->err.code != 0) {
		fail(errand, &lease->err);
		errand->stage = PG_ERRAND_DONE;
		errand->done(errand);
		return;
	}
	errand->stage = PG_ERRAND_WORKING;
	ask_text(errand, errand->is_read_only ? "BEGIN READ ONLY" : "BEGIN");
	if (errand->setting_count > 0)
		ask_settings(errand);
	errand->statement = next_query(errand);
	errand->statement->text = errand->text;
	errand->statement->people = errand->people;
	errand->statement->format = PG_FORMAT_TEXT;
	ask(errand, errand->statement);
}

void pg_errand_start(struct pg_errand *errand)
{
	must(errand->setting_count <= PG_PARAMS_MAX);
	errand->lease = (struct pg_lease){
		.timeout_ms = errand->timeout_ms, .done = on_leased, .data = errand};
	errand->stage = PG_ERRAND_LEASING;
	pg_pool_lease(errand->pool, &errand->lease);
}

void pg_errand_cancel(struct pg_errand *errand)
{
	if (errand->stage == PG_ERRAND_LEASING)
		pg_lease_cancel(&errand->lease);
	if (errand->stage != PG_ERRAND_WORKING && errand->stage != PG_ERRAND_LAST_WORD)
		return;
	errand->is_cancelled = true;
	for (int i = 0; i < errand->query_count; i++)
		pg_query_cancel(&errand->queries[i]);
}

void pg_errand_fini(struct pg_errand *errand)
{
	for (int i = 0; i < errand->query_count; i++)
		pg_query_fini(&errand->queries[i]);
	errand->query_count = 0;
	free(take_ptr(errand->settings_text));
}
