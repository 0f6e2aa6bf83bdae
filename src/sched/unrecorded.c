/* SPDX-License-Identifier: Apache-2.0
 *
 * unrecorded: results that the store could not be told before the process has to end. Each becomes
 * a line of a file, synced to disk, and whoever starts next with the same state_dir records it
 * then, under the epoch it was run with: if the run was taken over meanwhile, the ledger refuses it
 * as stale, so recording one twice, or too late, does no harm.
 *
 * The file is only read and written under its lock, on worker threads. A line that a crash has cut
 * short is passed over. It is emptied once every line has got its answer; if the store fails again,
 * it stays as it is for the next start. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "sched/sched_priv.h"

#define FILE_BYTES_MAX (64 << 20)
#define LOCK_TRIES     100 /* others only hold it for a moment, unless they are replaying it */
#define LOCK_AGAIN_MS  10
#define REPLAY_MAX     64 /* at a time */

struct unrecorded {
	struct sched *sched; /* borrowed */
	char *path;          /* owned */
	uv_work_t work;
	bool is_busy;
	int fd; /* while replaying: it holds the lock */
	struct buf text;
	struct err err;               /* of the work that has ended */
	struct list waiting, writing; /* of struct attempt */

	size_t at; /* in text: the next line to be replayed */
	size_t open_count, recorded_count, stale_count, failed_count;
};

/* One line on its way into the ledger. */
struct replay {
	struct unrecorded *unrecorded;
	struct ended_attempt ending;
	struct store_finish finish;
};

struct unrecorded *unrecorded_create(struct sched *sched, const char *path)
{
	struct unrecorded *unrecorded = xcalloc(1, sizeof(*unrecorded));

	unrecorded->sched = sched;
	unrecorded->path = path ? xstrdup(path) : NULL;
	unrecorded->work.data = unrecorded;
	unrecorded->fd = -1;
	buf_init(&unrecorded->text, FILE_BYTES_MAX);
	list_init(&unrecorded->waiting);
	list_init(&unrecorded->writing);
	return unrecorded;
}

void unrecorded_destroy(struct unrecorded *unrecorded)
{
	if (!unrecorded)
		return;
	must(!unrecorded->is_busy);
	buf_fini(&unrecorded->text);
	free(unrecorded->path);
	free(unrecorded);
}

bool unrecorded_is_busy(const struct unrecorded *unrecorded)
{
	return unrecorded->is_busy;
}

static void begin(struct unrecorded *unrecorded, uv_work_cb work, uv_after_work_cb done)
{
	unrecorded->is_busy = true;
	unrecorded->err = (struct err){0};
	must(uv_queue_work(unrecorded->sched->opts.loop, &unrecorded->work, work, done) == 0);
}

/* --- the file; worker threads --- */

static int fail(struct unrecorded *unrecorded, const char *what)
{
	return err_set(&unrecorded->err, ERR_IO, "%s: cannot %s: %s", unrecorded->path, what,
		strerror(errno));
}

static int lock(struct unrecorded *unrecorded, int fd)
{
	for (int tries = 0; tries < LOCK_TRIES; tries++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK)
			break;
		(void)poll(NULL, 0, LOCK_AGAIN_MS);
	}
	return fail(unrecorded, "lock it");
}

static int write_all(struct unrecorded *unrecorded, int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t written = write(fd, bytes, len);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return fail(unrecorded, "write it");
		bytes += written;
		len -= (size_t)written;
	}
	return fsync(fd) == 0 ? 0 : fail(unrecorded, "sync it");
}

/* A line that was cut short by a crash must not swallow the first of ours. */
static int append(struct unrecorded *unrecorded, int fd)
{
	struct stat facts;
	char last = '\n';

	if (fstat(fd, &facts) != 0)
		return fail(unrecorded, "look at it");
	if ((size_t)facts.st_size + unrecorded->text.len > FILE_BYTES_MAX)
		return err_set(&unrecorded->err, ERR_FULL,
			"%s: more than %d MiB: start a server with this state_dir and its "
			"database, so that it is recorded",
			unrecorded->path, FILE_BYTES_MAX >> 20);
	if (facts.st_size > 0 && pread(fd, &last, 1, facts.st_size - 1) != 1)
		return fail(unrecorded, "read it");
	if (last != '\n' && write(fd, "\n", 1) != 1)
		return fail(unrecorded, "write it");
	return write_all(unrecorded, fd, buf_text(&unrecorded->text), unrecorded->text.len);
}

static int open_to_append(const char *path)
{
	return open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static void make_folder_of(const char *path)
{
	auto_free char *folder = xstrndup(path, (size_t)(strrchr(path, '/') - path));

	(void)mkdir(folder, 0700);
}

static void write_file(uv_work_t *work)
{
	struct unrecorded *unrecorded = work->data;
	int fd = open_to_append(unrecorded->path);

	if (fd < 0 && errno == ENOENT) {
		make_folder_of(unrecorded->path);
		fd = open_to_append(unrecorded->path);
	}
	if (fd < 0) {
		(void)fail(unrecorded, "open it");
		return;
	}
	if (lock(unrecorded, fd) == 0)
		(void)append(unrecorded, fd);
	(void)close(fd);
}

static void read_file(uv_work_t *work)
{
	struct unrecorded *unrecorded = work->data;
	int fd = open(unrecorded->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	char block[65536];
	ssize_t got = 0;

	if (fd < 0) {
		if (errno != ENOENT)
			(void)fail(unrecorded, "open it");
		return;
	}
	if (lock(unrecorded, fd) == 0) {
		while (!unrecorded->text.is_cut && (got = read(fd, block, sizeof(block))) > 0)
			buf_append(&unrecorded->text, block, (size_t)got);
		if (got < 0)
			(void)fail(unrecorded, "read it");
	}
	if (unrecorded->err.code == 0)
		unrecorded->fd = fd;
	else
		(void)close(fd);
}

/* Every line has had its answer; or it stays for the next start. */
static void let_go(uv_work_t *work)
{
	struct unrecorded *unrecorded = work->data;

	if (unrecorded->failed_count == 0 && ftruncate(unrecorded->fd, 0) != 0)
		(void)fail(unrecorded, "empty it");
	(void)close(unrecorded->fd);
	unrecorded->fd = -1;
}

/* --- keeping --- */

static void write_waiting(struct unrecorded *unrecorded);

static void on_written(uv_work_t *work, int status)
{
	struct unrecorded *unrecorded = work->data;
	struct err err = unrecorded->err;
	struct list written;

	(void)status; /* nobody cancels it */
	unrecorded->is_busy = false;
	list_init(&written);
	list_splice(&written, &unrecorded->writing);
	for (struct list *node; (node = list_pop(&written));)
		attempt_kept(list_entry(node, struct attempt, in_unrecorded), &err);
	write_waiting(unrecorded);
	drain_check(unrecorded->sched);
}

static void write_waiting(struct unrecorded *unrecorded)
{
	if (unrecorded->is_busy || list_is_empty(&unrecorded->waiting))
		return;
	buf_clear(&unrecorded->text);
	list_splice(&unrecorded->writing, &unrecorded->waiting);
	list_for_each (node, &unrecorded->writing) {
		struct attempt *attempt = list_entry(node, struct attempt, in_unrecorded);
		auto_free char *line = ended_attempt_to_text(
			&attempt->run, &attempt->result, &attempt->finish.follow_up);

		buf_printf(&unrecorded->text, "%s\n", line);
	}
	begin(unrecorded, write_file, on_written);
}

void unrecorded_keep(struct unrecorded *unrecorded, struct attempt *attempt)
{
	struct err err = {0};

	if (!unrecorded->path) {
		(void)err_set(&err, ERR_IO, "there is no file for it");
		attempt_kept(attempt, &err);
		return;
	}
	list_push(&unrecorded->waiting, &attempt->in_unrecorded);
	write_waiting(unrecorded);
}

/* --- replaying --- */

static void replay_lines(struct unrecorded *unrecorded);

static void on_let_go(uv_work_t *work, int status)
{
	struct unrecorded *unrecorded = work->data;

	(void)status;
	unrecorded->is_busy = false;
	buf_clear(&unrecorded->text);
	if (unrecorded->err.code != 0)
		log_warn("results of before", kv_str("error", unrecorded->err.text));
	sched_replayed(unrecorded->sched);
}

static void replay_ended(struct unrecorded *unrecorded)
{
	log_info("results of before", kv_str("file", unrecorded->path),
		kv_i64("recorded", (int64_t)unrecorded->recorded_count),
		kv_i64("stale", (int64_t)unrecorded->stale_count),
		kv_i64("failed", (int64_t)unrecorded->failed_count));
	begin(unrecorded, let_go, on_let_go);
}

static void on_replayed(struct store_req *req)
{
	struct replay *replay = container_of(req, struct replay, finish.req);
	struct unrecorded *unrecorded = replay->unrecorded;
	const struct id *id = &replay->ending.run.id;

	unrecorded->open_count--;
	if (req->err.code == 0) {
		unrecorded->recorded_count++;
		log_info("a result of before is recorded", kv_id("run", id),
			kv_str("state", run_state_names[replay->finish.ret_state]));
	} else if (req->err.code == ERR_STALE || req->err.code == ERR_NOT_FOUND) {
		unrecorded->stale_count++;
		metrics.results_stale++;
		log_warn("stale: this run was taken over or removed meanwhile; its result of "
			 "before is dropped",
			kv_id("run", id), kv_i64("epoch", replay->ending.run.epoch));
	} else {
		unrecorded->failed_count++;
		log_error("a result of before cannot be recorded; it stays in the file for the "
			  "next start",
			kv_id("run", id), kv_str("error", req->err.text));
	}
	store_finish_fini(&replay->finish);
	ended_attempt_fini(&replay->ending);
	free(replay);
	replay_lines(unrecorded);
}

static void replay_line(struct unrecorded *unrecorded, const char *line, size_t len)
{
	struct replay *replay = xcalloc(1, sizeof(*replay));
	struct err err = {0};

	if (ended_attempt_from_text(line, len, &replay->ending, &err) < 0) {
		log_warn("a line of results of before is passed over",
			kv_str("file", unrecorded->path), kv_str("error", err.text));
		free(replay);
		return;
	}
	replay->unrecorded = unrecorded;
	replay->finish = (struct store_finish){.run = &replay->ending.run,
		.result = &replay->ending.result,
		.follow_up = replay->ending.follow_up};
	unrecorded->open_count++;
	store_finish(unrecorded->sched->opts.store, &replay->finish, on_replayed);
}

static void replay_lines(struct unrecorded *unrecorded)
{
	const struct buf *text = &unrecorded->text;

	while (unrecorded->at < text->len && unrecorded->open_count < REPLAY_MAX) {
		const char *line = text->data + unrecorded->at;
		const char *end = memchr(line, '\n', text->len - unrecorded->at);
		size_t len = end ? (size_t)(end - line) : text->len - unrecorded->at;

		unrecorded->at += len + (end != NULL);
		if (len > 0)
			replay_line(unrecorded, line, len);
	}
	if (unrecorded->at >= text->len && unrecorded->open_count == 0)
		replay_ended(unrecorded);
}

static void on_read(uv_work_t *work, int status)
{
	struct unrecorded *unrecorded = work->data;

	(void)status;
	if (unrecorded->err.code != 0)
		log_error(
			"results of before cannot be read", kv_str("error", unrecorded->err.text));
	if (unrecorded->text.len > 0) {
		replay_lines(unrecorded);
		return;
	}
	if (unrecorded->fd >= 0)
		(void)close(unrecorded->fd);
	unrecorded->fd = -1;
	unrecorded->is_busy = false;
	sched_replayed(unrecorded->sched);
}

void unrecorded_replay(struct unrecorded *unrecorded)
{
	if (unrecorded->path)
		begin(unrecorded, read_file, on_read);
	else
		sched_replayed(unrecorded->sched);
}
