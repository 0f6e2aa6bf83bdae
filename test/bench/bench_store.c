/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast a store creates, claims and finishes, by the size of a batch.
 *
 *     bench_store [FOLDER|postgresql://... [ACTIONS]]
 *
 * SQLite in FOLDER (default /tmp), which should be on the disk one wants to know about; or an empty
 * PostgreSQL database, whose own processor time is not in the figures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "store/store.h"

#define DEFAULT_ACTIONS 5000

struct bench {
	uv_loop_t loop;
	struct store *store;
	struct action **actions;
	size_t count;
	struct run *runs; /* those of the last claim */
	size_t run_count;
	int64_t *cursors;
	size_t waiting;
};

/* A moment by the clock and by the processor; the latter tells more on a busy machine. */
struct moment {
	double wall_s, cpu_s;
};

static struct moment moment(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_SELF, &usage);
	return (struct moment){.wall_s = (double)uv_hrtime() / 1e9,
		.cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
			 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6};
}

static void report(const char *what, size_t batch, size_t count, struct moment began)
{
	struct moment now = moment();
	double took_s = now.wall_s - began.wall_s;

	printf("%-8s in batches of %5zu: %8.0f /s, %5.1f us of processor each  (%zu in %.3f s)\n",
		what, batch, (double)count / took_s,
		(now.cpu_s - began.cpu_s) * 1e6 / (double)count, count, took_s);
}

static void on_done(struct store_req *req)
{
	struct bench *bench = req->data;

	if (req->err.code < 0) {
		fprintf(stderr, "bench_store: %s\n", req->err.text);
		exit(1);
	}
	bench->waiting--;
}

static void wait_all(struct bench *bench)
{
	while (bench->waiting > 0)
		(void)uv_run(&bench->loop, UV_RUN_ONCE);
}

static struct action *make_action(size_t number)
{
	static const char form[] =
		"{\"name\": \"bench-%zu\", \"kind\": \"http\", \"overlap\": \"%s\","
		" \"http\": {\"url\": \"http://127.0.0.1:9/job/%zu\"},"
		" \"schedule\": {\"cron\": \"*/5 * * * *\", \"timezone\": \"Europe/Paris\"}}";
	auto_free char *text = xasprintf(form, number, "skip", number);
	struct action *action;
	struct err err = {0};

	if (action_from_text(text, strlen(text), &action, &err) < 0) {
		fprintf(stderr, "bench_store: %s\n", err.text);
		exit(1);
	}
	return action;
}

static void create_all(struct bench *bench)
{
	struct store_create_actions create = {
		.req.data = bench, .actions = bench->actions, .count = bench->count};
	struct moment began;

	for (size_t i = 0; i < bench->count; i++) {
		bench->actions[i] = make_action(i);
		bench->actions[i]->next_due_ms = bench->cursors[i];
	}
	began = moment();
	bench->waiting = 1;
	store_create_actions(bench->store, &create, on_done);
	wait_all(bench);
	report("create", bench->count, bench->count, began);
	for (size_t i = 0; i < bench->count; i++) {
		action_unref(bench->actions[i]);
		bench->actions[i] = action_ref(create.ret_actions[i]);
	}
	store_create_actions_fini(&create);
}

/* Keeps the runs for finish_all. */
static void keep_runs(struct bench *bench, struct store_claim *claim)
{
	for (size_t i = 0; i < claim->ret_started_count; i++) {
		bench->runs[bench->run_count++] = claim->ret_started[i];
		claim->ret_started[i] = (struct run){0};
	}
	store_claim_fini(claim);
}

static void claim_batch(struct bench *bench, struct claim_item *items, size_t count)
{
	struct store_claim claim = {.req.data = bench,
		.items = items,
		.count = count,
		.capacity = {INT32_MAX, INT32_MAX}};

	bench->waiting = 1;
	store_claim(bench->store, &claim, on_done);
	wait_all(bench);
	keep_runs(bench, &claim);
}

/* Each of the first `count` actions at its cursor, which moves on by a millisecond. */
static void claim_all(struct bench *bench, size_t batch, size_t count)
{
	struct planned_due *dues = xcalloc(count, sizeof(*dues));
	struct claim_item *items = xcalloc(count, sizeof(*items));
	struct moment began;

	for (size_t i = 0; i < count; i++) {
		int64_t at_ms = bench->cursors[i]++;

		dues[i] = (struct planned_due){at_ms, at_ms, 1, DUE_RUN};
		items[i] = (struct claim_item){.action = bench->actions[i],
			.expected_ms = at_ms,
			.dues = &dues[i],
			.due_count = 1,
			.next_due_ms = at_ms + 1};
	}
	began = moment();
	for (size_t at = 0; at < count; at += batch)
		claim_batch(bench, items + at, batch < count - at ? batch : count - at);
	report("claim", batch, count, began);
	if (bench->run_count != count) {
		fprintf(stderr, "bench_store: %zu of %zu claimed\n", bench->run_count, count);
		exit(1);
	}
	free(items);
	free(dues);
}

static void finish_all(struct bench *bench, size_t batch)
{
	static char output[] = "done in 12 ms\n";
	struct attempt_result result = {.outcome = ATTEMPT_SUCCEEDED,
		.http_status = 200,
		.exit_code = -1,
		.started_at_ms = clock_wall_ms(),
		.output = output,
		.output_len = sizeof(output) - 1,
		.output_total = sizeof(output) - 1};
	struct store_finish *finishes = xcalloc(bench->run_count, sizeof(*finishes));
	struct moment began = moment();

	for (size_t at = 0; at < bench->run_count;) {
		for (size_t i = 0; i < batch && at < bench->run_count; i++, at++) {
			finishes[at] = (struct store_finish){.req.data = bench,
				.run = &bench->runs[at],
				.result = &result,
				.follow_up = {.state = RUN_SUCCEEDED, .counts = true}};
			bench->waiting++;
			store_finish(bench->store, &finishes[at], on_done);
		}
		wait_all(bench);
	}
	report("finish", batch, bench->run_count, began);
	while (bench->run_count > 0)
		run_fini(&bench->runs[--bench->run_count]);
	free(finishes);
}

static void look_all(struct bench *bench, const char *what)
{
	struct store_look look = {
		.req.data = bench, .horizon_ms = 60000, .limit = (int)bench->count};
	struct moment began = moment();

	bench->waiting = 1;
	store_look(bench->store, &look, on_done);
	wait_all(bench);
	report(what, look.ret_count, look.ret_count, began);
	store_look_fini(&look);
}

static void run_rounds(struct bench *bench)
{
	static const struct {
		size_t batch, count;
	} rounds[] = {{1, 1000}, {10, 5000}, {100, SIZE_MAX}, {500, SIZE_MAX}};

	for (size_t i = 0; i < COUNT_OF(rounds); i++) {
		size_t count = rounds[i].count < bench->count ? rounds[i].count : bench->count;

		claim_all(bench, rounds[i].batch, count);
		finish_all(bench, rounds[i].batch);
	}
}

static bool is_url(const char *path)
{
	return strncmp(path, "postgres", strlen("postgres")) == 0;
}

static void on_opened(const struct err *err, void *data)
{
	if (err) {
		fprintf(stderr, "bench_store: %s\n", err->text);
		exit(1);
	}
	*(bool *)data = true;
}

static void open_store(struct bench *bench, const char *path)
{
	auto_free char *url = is_url(path) ? xstrdup(path) : xasprintf("sqlite:%s", path);
	bool is_open = false;
	struct err err = {0};
	struct moment began = moment();

	if (store_open(&(struct store_opts){.loop = &bench->loop,
			       .url = url,
			       .queue_max = 100000,
			       .batch_max = 500,
			       .instance_id = id_make(),
			       .opened = on_opened,
			       .opened_data = &is_open},
		    &bench->store, &err) < 0) {
		fprintf(stderr, "bench_store: %s\n", err.text);
		exit(1);
	}
	while (!is_open)
		(void)uv_run(&bench->loop, UV_RUN_ONCE);
	printf("open     %.1f ms\n", (moment().wall_s - began.wall_s) * 1000);
}

static void on_closed(void *data)
{
	*(bool *)data = true;
}

static void close_store(struct bench *bench)
{
	bool is_closed = false;

	store_close(bench->store, on_closed, &is_closed);
	while (!is_closed)
		(void)uv_run(&bench->loop, UV_RUN_ONCE);
}

static void remove_files(const char *path)
{
	static const char *const suffixes[] = {"", "-wal", "-shm", ".lock"};

	for (size_t i = 0; i < COUNT_OF(suffixes); i++) {
		auto_free char *name = xasprintf("%s%s", path, suffixes[i]);

		(void)unlink(name);
	}
}

static void run_bench(struct bench *bench, const char *path)
{
	struct stat facts = {0};

	open_store(bench, path);
	create_all(bench);
	look_all(bench, "look");
	look_all(bench, "again");
	run_rounds(bench);
	close_store(bench);
	if (!is_url(path) && stat(path, &facts) == 0)
		printf("file     %.1f MiB\n", (double)facts.st_size / 1048576);
	open_store(bench, path);
	close_store(bench);
}

int main(int argc, char **argv)
{
	struct bench bench = {0};
	const char *place = argc > 1 ? argv[1] : "/tmp";
	auto_free char *path = is_url(place)
				       ? xstrdup(place)
				       : xasprintf("%s/bench_store.%ld.db", place, (long)getpid());
	int64_t count = DEFAULT_ACTIONS;

	if (argc > 2 && !parse_i64(argv[2], 1, 10000000, &count)) {
		fprintf(stderr, "usage: bench_store [FOLDER|postgresql://... [ACTIONS]]\n");
		return 2;
	}
	must(uv_loop_init(&bench.loop) == 0);
	bench.count = (size_t)count;
	bench.actions = xcalloc(bench.count, sizeof(struct action *));
	bench.cursors = xcalloc(bench.count, sizeof(*bench.cursors));
	bench.runs = xcalloc(bench.count, sizeof(*bench.runs));
	for (size_t i = 0; i < bench.count; i++)
		bench.cursors[i] = clock_wall_ms() - 60000;
	run_bench(&bench, path);
	for (size_t i = 0; i < bench.count; i++)
		action_unref(bench.actions[i]);
	free(bench.actions);
	free(bench.cursors);
	free(bench.runs);
	must(uv_loop_close(&bench.loop) == 0);
	if (!is_url(path))
		remove_files(path);
	return 0;
}
