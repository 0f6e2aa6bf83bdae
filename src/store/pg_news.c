/* SPDX-License-Identifier: Apache-2.0
 *
 * News: what the instances tell each other with NOTIFY. A hint, sent by the client after its write
 * has been answered, not by a trigger inside the transaction: commits that notify queue up behind a
 * lock of the whole server, and claims are to commit side by side. What is to be told while a
 * message is on its way, and a moment longer, is the next message, so however much is written there
 * are no more than a hundred a second.
 *
 *   "<sender> p"      a run became pending      "<sender> a<id>"   this action was written
 *   "<sender> i"      members changed           "<sender> c<id>"   this run is to be cancelled
 *   "<sender> l"      many actions were       "<sender> h<id>"   this run is to be paused
 *                                             "<sender> w<id>"   an operator wants something of
 *                                                                this instance
 *   "<sender> s"      somebody listens        "<sender> r<id>"   this run has changed; so have
 *                     here, for a while       "<sender> R"       others; only while somebody
 *                                                                listens
 *   "<sender> o<id>"  somebody follows the output of this run here
 *
 * Any of them together, with a space between. What does not fit is not told: polls and heartbeats
 * find it later. What cannot be sent because there is no session, or fails, is told without ids
 * when there is one again: others look, take and balance. Unknown words are passed over. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/pg_store_priv.h"

#define TELL_TIMEOUT_MS 1000
#define LISTENED_MS     (3 * STORE_LISTEN_MS)
#define TELL_GAP_MS     10
#define NEWS_MAX        7500 /* bytes; the server takes 8000 */
#define ACTIONS_MAX     16   /* more are "many": looking is cheaper than asking for each */

enum {
	NEWS_PENDING = 1,
	NEWS_MEMBERS = 2,
	NEWS_MANY = 4,
	NEWS_MANY_RUNS = 8,
	NEWS_LISTENER = 16
};

static const struct pg_statement tell_statement = {
	.name = "tell", .text = "SELECT pg_notify('" PG_NEWS_CHANNEL "', $1::text)"};

/* --- telling --- */

static void tell(struct pg_news *news);

static void news_clear(struct pg_news *news)
{
	buf_fini(&news->words);
	buf_init(&news->words, NEWS_MAX);
	news->flags = 0;
	news->actions = 0;
}

/* The same without ids. */
static unsigned in_short(const struct pg_news *news)
{
	return news->flags | (news->actions > 0 ? NEWS_MANY : 0);
}

static void on_gap_over(uv_timer_t *timer)
{
	struct pg_news *news = timer->data;

	news->is_telling = false;
	if (!news->has_failed)
		tell(news);
	pg_store_step(news->pg);
}

static void on_told(struct pg_query *query)
{
	struct pg_news *news = query->data;

	news->has_failed = query->err.code < 0;
	if (news->has_failed)
		news->flags |= news->told;
	pg_query_fini(query);
	if (news->is_closing) {
		news->is_telling = false;
		return;
	}
	uv_timer_start(&news->gap, on_gap_over, TELL_GAP_MS, 0);
}

static void put_words(const struct pg_news *news, struct buf *text)
{
	char sender[ID_TEXT_SIZE];

	id_format(&news->pg->store->instance_id, sender);
	buf_printf(text, "%s%s%s%s%s%s%s", sender, news->flags & NEWS_PENDING ? " p" : "",
		news->flags & NEWS_MEMBERS ? " i" : "", news->flags & NEWS_MANY ? " l" : "",
		news->flags & NEWS_MANY_RUNS ? " R" : "", news->flags & NEWS_LISTENER ? " s" : "",
		news->words.len > 0 ? buf_text(&news->words) : "");
}

static void tell(struct pg_news *news)
{
	struct pg_query *query = &news->query;
	unsigned flags = in_short(news);
	struct buf text;

	if (news->is_telling || news->is_closing || (flags == 0 && news->words.len == 0))
		return;
	if (!pg_conn_is_ready(news->pg->session.conn)) {
		news_clear(news);
		news->flags = flags;
		return;
	}
	buf_init(&text, 2 * NEWS_MAX);
	put_words(news, &text);
	news_clear(news);
	news->told = flags;
	news->is_telling = true;
	pg_query_init(query);
	query->statement = &tell_statement;
	query->timeout_ms = TELL_TIMEOUT_MS;
	query->done = on_told;
	query->data = news;
	pg_put_text(&query->params, buf_text(&text));
	buf_fini(&text);
	pg_conn_query(news->pg->session.conn, query);
}

/* One word with an id; false: it does not fit. */
static bool put_id(struct pg_news *news, char word, const struct id *id)
{
	char text[ID_TEXT_SIZE];

	if (news->words.len + sizeof(text) + 2 > NEWS_MAX - 100)
		return false;
	id_format(id, text);
	buf_printf(&news->words, " %c%s", word, text);
	return true;
}

static struct pg_news *news_of(struct pg_store *pg)
{
	return pg->session.conn ? &pg->news : NULL;
}

void pg_tell_pending(struct pg_store *pg)
{
	struct pg_news *news = news_of(pg);

	if (!news)
		return;
	news->flags |= NEWS_PENDING;
	tell(news);
}

void pg_tell_instances(struct pg_store *pg)
{
	struct pg_news *news = news_of(pg);

	if (!news)
		return;
	news->flags |= NEWS_MEMBERS;
	tell(news);
}

void pg_tell_action(struct pg_store *pg, const struct id *action_id)
{
	struct pg_news *news = news_of(pg);

	if (!news)
		return;
	if (news->actions >= ACTIONS_MAX || !put_id(news, 'a', action_id))
		news->flags |= NEWS_MANY;
	news->actions++;
	tell(news);
}

void pg_tell_cancels(struct pg_store *pg, const struct id *run_ids, size_t count)
{
	struct pg_news *news = news_of(pg);

	if (!news || count == 0)
		return;
	for (size_t i = 0; i < count; i++)
		(void)put_id(news, 'c', &run_ids[i]);
	tell(news);
}

void pg_tell_pause(struct pg_store *pg, const struct id *run_id)
{
	struct pg_news *news = news_of(pg);

	if (!news)
		return;
	(void)put_id(news, 'h', run_id);
	tell(news);
}

void pg_tell_wish(struct pg_store *pg, const struct id *instance_id)
{
	struct pg_news *news = news_of(pg);

	if (!news)
		return;
	(void)put_id(news, 'w', instance_id);
	tell(news);
}

void pg_news_catch_up(struct pg_store *pg)
{
	tell(&pg->news);
}

void pg_news_listen(struct store *store)
{
	struct pg_news *news = news_of(store->impl);

	if (!news)
		return;
	news->flags |= NEWS_LISTENER;
	tell(news);
}

bool pg_news_others_listen(const struct store *store)
{
	const struct pg_store *pg = store->impl;

	return pg->session.conn && clock_mono_ms() < pg->news.listened_mono_ms;
}

void pg_news_tell_run(struct store *store, const struct id *run_id)
{
	struct pg_news *news = news_of(store->impl);

	if (!news || !pg_news_others_listen(store))
		return;
	if (!run_id || !put_id(news, 'r', run_id))
		news->flags |= NEWS_MANY_RUNS;
	tell(news);
}

void pg_news_want_output(struct store *store, const struct id *run_id)
{
	struct pg_news *news = news_of(store->impl);

	if (!news)
		return;
	(void)put_id(news, 'o', run_id);
	tell(news);
}

/* --- hearing --- */

/* Who listens hears what the watcher hears, and of runs. */
static void hear_for_listener(struct store *store, const char *word)
{
	const struct store_listener *listener = &store->listener;
	struct id id;
	bool has_id = id_parse(word + 1, &id);

	if (word[0] == 'o' && has_id && store->output_wanted)
		store->output_wanted(&id, store->output_wanted_data);
	if (!listener->data)
		return;
	if (word[0] == 'R' || (word[0] == 'r' && has_id))
		listener->on_run(word[0] == 'r' ? &id : NULL, listener->data);
	else if (word[0] == 'l' || (word[0] == 'a' && has_id))
		listener->on_action(word[0] == 'a' ? &id : NULL, listener->data);
	else if (word[0] == 'p')
		listener->on_run(NULL, listener->data);
	else if (word[0] == 'i')
		listener->on_instances(listener->data);
}

static void hear_id(const struct store *store, const char *word)
{
	const struct store_watcher *watcher = &store->watcher;
	struct id id;

	if (!id_parse(word + 1, &id))
		return;
	if (word[0] == 'a')
		watcher->on_action(&id, watcher->data);
	else if (word[0] == 'c')
		watcher->on_cancel(&id, watcher->data);
	else if (word[0] == 'h')
		watcher->on_pause(&id, watcher->data);
	else if (word[0] == 'w' && id_equal(&id, &store->instance_id))
		watcher->on_wish(watcher->data);
}

static void hear(struct pg_store *pg, const char *word)
{
	const struct store_watcher *watcher = &pg->store->watcher;

	hear_for_listener(pg->store, word);
	if (strcmp(word, "s") == 0)
		pg->news.listened_mono_ms = clock_mono_ms() + LISTENED_MS;
	if (!watcher->data)
		return; /* its scheduler is gone, and we are about to close */
	if (strcmp(word, "p") == 0) {
		watcher->on_pending(watcher->data);
	} else if (strcmp(word, "l") == 0) {
		watcher->on_action(NULL, watcher->data);
	} else if (strcmp(word, "i") == 0) {
		pg_session_members_changed(pg);
		pg_lookout_members_changed(pg);
	} else {
		hear_id(pg->store, word);
	}
}

void pg_news_read(struct pg_store *pg, const char *payload)
{
	auto_free char *text = xstrdup(payload);
	char sender[ID_TEXT_SIZE];
	char *rest, *word = strtok_r(text, " ", &rest);

	id_format(&pg->store->instance_id, sender);
	if (!word || strcmp(word, sender) == 0)
		return; /* our own */
	while ((word = strtok_r(NULL, " ", &rest)) != NULL)
		hear(pg, word);
}

/* --- life --- */

bool pg_news_is_busy(const struct pg_store *pg)
{
	return pg->session.conn && !pg->news.is_closing && pg->news.is_telling;
}

void pg_news_open(struct pg_store *pg)
{
	struct pg_news *news = &pg->news;

	news->pg = pg;
	news_clear(news);
	must(uv_timer_init(pg->store->loop, &news->gap) == 0);
	news->gap.data = news;
}

static void on_gap_closed(uv_handle_t *handle)
{
	pg_store_part_closed(((struct pg_news *)handle->data)->pg);
}

int pg_news_close(struct pg_store *pg)
{
	pg->news.is_closing = true;
	buf_fini(&pg->news.words);
	uv_close((uv_handle_t *)&pg->news.gap, on_gap_closed);
	return 1;
}
