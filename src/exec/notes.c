/* SPDX-License-Identifier: Apache-2.0
 *
 * Watches the folders of running programs (folder.c) and passes on what they write, at most once in
 * NOTE_EVERY_MS each. inotify tells when there is something to read, so programs that write nothing
 * cost nothing; a folder that cannot be watched (the user's limit of watches) is looked at instead.
 *
 * A checkpoint counts when its writer has closed it or renamed it into place. One that is being
 * written while it is read is not taken: the events that came meanwhile tell, and its end will be
 * announced, too.
 *
 * All folders stand in one of this process, <state>/tmp/<random>, which is locked as long as the
 * process lives. What a crashed process has left is no more locked and goes at the next start. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "exec_priv.h"

#define BASE_MODE     0711 /* programs of other users must be able to pass through */
#define STATE_MODE    0755
#define WATCHED       (IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO | IN_ONLYDIR)
#define EVENTS_BYTES  16384
#define FIRST_LOOK_MS 20 /* what is written in one go is read once */

struct notes {
	uv_loop_t *loop;
	char *path; /* owned; of this process */
	int lock_fd, inotify_fd;
	struct list folders;
	size_t polled; /* folders without a watch */
	uv_poll_t poll;
	uv_timer_t timer;
	int open_handles;
	exec_closed_fn *closed;
	void *closed_data;
};

/* --- the folder of this process --- */

static int make_folder(const char *path, mode_t mode, struct err *err)
{
	if (mkdir(path, mode) == 0 || errno == EEXIST)
		return 0;
	return err_set(err, ERR_IO,
		"cannot make the folder %s for the files of programs: %s; set state_dir", path,
		strerror(errno));
}

static int lock_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

/* What dead processes have left. */
static void sweep(const char *tmp)
{
	DIR *folder = opendir(tmp);
	const struct dirent *entry;

	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		auto_free char *path = xasprintf("%s/%s", tmp, entry->d_name);
		int fd = entry->d_name[0] != '.' ? lock_folder(path) : -1;

		if (fd < 0)
			continue;
		folder_remove(path, FOLDER_ALL);
		(void)close(fd);
	}
	if (folder != NULL)
		(void)closedir(folder);
}

/* Made under a name that sweep passes over, and locked before it gets its own. */
static int make_own(struct notes *notes, const char *tmp, struct err *err)
{
	char id[ID_TEXT_SIZE];
	struct id name = id_make();
	auto_free char *hidden = xasprintf("%s/.%s", tmp, id_format(&name, id));

	notes->path = xasprintf("%s/%s", tmp, id);
	if (make_folder(hidden, BASE_MODE, err) != 0)
		return err->code;
	notes->lock_fd = lock_folder(hidden);
	if (notes->lock_fd >= 0 && chmod(hidden, BASE_MODE) == 0 &&
		rename(hidden, notes->path) == 0)
		return 0;
	(void)rmdir(hidden);
	return err_set(err, ERR_IO, "cannot use the folder %s for the files of programs: %s", tmp,
		strerror(errno));
}

static int prepare_folders(struct notes *notes, const char *state_dir, struct err *err)
{
	auto_free char *tmp = xasprintf("%s/tmp", state_dir);

	if (make_folder(state_dir, STATE_MODE, err) != 0 || make_folder(tmp, BASE_MODE, err) != 0)
		return err->code;
	sweep(tmp);
	return make_own(notes, tmp, err);
}

/* --- reading --- */

static struct folder *find_folder(const struct notes *notes, int watch)
{
	list_for_each (node, &notes->folders) {
		struct folder *folder = list_entry(node, struct folder, link);

		if (folder->watch == watch)
			return folder;
	}
	return NULL;
}

static void note_event(struct folder *folder, const struct inotify_event *event)
{
	bool is_whole = (event->mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) != 0;

	if (strcmp(event->name, FOLDER_PROGRESS) == 0)
		folder->has_progress = true;
	if (strcmp(event->name, FOLDER_CHECKPOINT) == 0) {
		folder->has_checkpoint = is_whole;
		folder->is_being_written = !is_whole;
	}
}

/* Every event there is. True: some folder has news. */
static bool read_events(struct notes *notes)
{
	char buffer[EVENTS_BYTES] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool has_news = false;
	ssize_t got;

	while ((got = read(notes->inotify_fd, buffer, sizeof(buffer))) > 0) {
		const struct inotify_event *event;

		for (ssize_t at = 0; at < got; at += (ssize_t)(sizeof(*event) + event->len)) {
			struct folder *folder;

			event = (const struct inotify_event *)(const void *)(buffer + at);
			folder = event->len > 0 ? find_folder(notes, event->wd) : NULL;
			if (folder == NULL)
				continue;
			note_event(folder, event);
			has_news |= folder->has_progress || folder->has_checkpoint;
		}
	}
	return has_news;
}

static void take_checkpoint(struct notes *notes, struct folder *folder, struct run_note *note)
{
	struct run_note read = {.percent = -1};
	enum folder_checkpoint found;

	folder->has_checkpoint = false;
	found = folder_read_checkpoint(folder, &read);
	if (folder->watch >= 0)
		(void)read_events(notes);
	if (folder->is_being_written) {
		folder->checkpoint_seen = (struct timespec){0};
		run_note_fini(&read);
		return;
	}
	run_note_merge(note, &read);
	if (found == CHECKPOINT_TOO_LONG)
		attempt_write(
			folder->attempt, CHECKPOINT_COMPLAINT, sizeof(CHECKPOINT_COMPLAINT) - 1);
}

/* A program that has ended writes no more, so all that stands there is whole, as far as it got. */
static void collect(struct notes *notes, struct folder *folder, bool is_last)
{
	struct attempt *attempt = folder->attempt;
	struct run_note note = {.percent = -1};
	bool has_all = is_last || folder->watch < 0;

	if (is_last)
		folder->is_being_written = false;
	if (folder->has_progress || has_all)
		folder_read_progress(folder, &note);
	folder->has_progress = false;
	if (folder->has_checkpoint || has_all)
		take_checkpoint(notes, folder, &note);
	attempt_note(attempt, &note);
	run_note_fini(&note);
}

static void on_timer(uv_timer_t *timer);

static void arm(struct notes *notes, uint64_t after_ms)
{
	if (!uv_is_active((uv_handle_t *)&notes->timer))
		(void)uv_timer_start(&notes->timer, on_timer, after_ms, 0);
}

/* The timer runs on while there was news, so the next is not read sooner than allowed. */
static void on_timer(uv_timer_t *timer)
{
	struct notes *notes = timer->data;
	bool had_news = false;

	list_for_each (node, &notes->folders) {
		struct folder *folder = list_entry(node, struct folder, link);

		if (!folder->has_progress && !folder->has_checkpoint && folder->watch >= 0)
			continue;
		collect(notes, folder, false);
		had_news = true;
	}
	if (had_news || notes->polled > 0)
		arm(notes, NOTE_EVERY_MS);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	struct notes *notes = poll->data;

	if (read_events(notes))
		arm(notes, FIRST_LOOK_MS);
}

/* --- the folder of an attempt --- */

int notes_open(struct attempt *attempt, const struct account *account, struct folder *folder,
	struct err *err)
{
	struct notes *notes = attempt->exec->notes;
	char id[ID_TEXT_SIZE];

	folder->attempt = attempt;
	folder->owner = account->uid;
	folder->group = account->gid;
	folder->path = xasprintf("%s/%s.%lld", notes->path, id_format(&attempt->run->id, id),
		(long long)attempt->run->epoch);
	if (!folder_make(folder, attempt->run)) {
		int error = errno;

		folder_remove(folder->path, FOLDER_ALL);
		free(take_ptr(folder->path));
		return err_set(err, ERR_IO, "cannot make the program's private folder in %s: %s",
			notes->path, strerror(error));
	}
	folder->watch = inotify_add_watch(notes->inotify_fd, folder->path, WATCHED);
	list_push(&notes->folders, &folder->link);
	if (folder->watch < 0) {
		notes->polled++;
		arm(notes, NOTE_EVERY_MS);
	}
	return 0;
}

void notes_close(struct attempt *attempt, struct folder *folder)
{
	struct notes *notes = attempt->exec->notes;

	if (folder->path == NULL)
		return;
	(void)read_events(notes);
	collect(notes, folder, true);
	if (folder->watch >= 0)
		(void)inotify_rm_watch(notes->inotify_fd, folder->watch);
	else
		notes->polled--;
	list_remove(&folder->link);
	folder_remove(folder->path, FOLDER_SOME);
	free(take_ptr(folder->path));
	if (!list_is_empty(&notes->folders))
		arm(notes, FIRST_LOOK_MS); /* what was read here may have been news of theirs */
}

/* --- life --- */

static void notes_free(struct notes *notes)
{
	if (notes->inotify_fd >= 0)
		(void)close(notes->inotify_fd);
	if (notes->path != NULL)
		(void)rmdir(notes->path);
	if (notes->lock_fd >= 0)
		(void)close(notes->lock_fd);
	free(notes->path);
	free(notes);
}

int notes_create(uv_loop_t *loop, const char *state_dir, struct notes **ret_notes, struct err *err)
{
	struct notes *notes = xcalloc(1, sizeof(*notes));

	*notes = (struct notes){.loop = loop, .lock_fd = -1, .inotify_fd = -1};
	list_init(&notes->folders);
	if (prepare_folders(notes, state_dir, err) != 0) {
		notes_free(notes);
		return err->code;
	}
	notes->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (notes->inotify_fd < 0 || !child_lift_fd(&notes->inotify_fd) ||
		uv_poll_init(loop, &notes->poll, notes->inotify_fd) != 0) {
		notes_free(notes);
		return err_set(err, ERR_IO,
			"cannot watch the files of programs: %s; raise "
			"fs.inotify.max_user_instances",
			strerror(errno));
	}
	must(uv_timer_init(loop, &notes->timer) == 0);
	must(uv_poll_start(&notes->poll, UV_READABLE, on_event) == 0);
	notes->poll.data = notes->timer.data = notes;
	notes->open_handles = 2;
	*ret_notes = notes;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct notes *notes = handle->data;
	exec_closed_fn *closed = notes->closed;
	void *data = notes->closed_data;

	if (--notes->open_handles > 0)
		return;
	notes_free(notes);
	closed(data);
}

void notes_destroy(struct notes *notes, exec_closed_fn *closed, void *data)
{
	must(list_is_empty(&notes->folders));
	notes->closed = closed;
	notes->closed_data = data;
	uv_close((uv_handle_t *)&notes->poll, on_closed);
	uv_close((uv_handle_t *)&notes->timer, on_closed);
}
