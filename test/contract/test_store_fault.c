/* SPDX-License-Identifier: Apache-2.0
 *
 * The n-th call into the file system fails, for each n until none is left to fail. A request that
 * was refused must have changed nothing, must succeed when it is sent again, and the end must be
 * the same as without any failure. The failing disk is a VFS of SQLite's own kind
 * (https://sqlite.org/vfs.html) that passes everything else on to the real one; syncing is left
 * out, which makes it fast. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "rig.h"

#define T0        RIG_EPOCH_MS
#define CALLS_MAX 5000 /* more calls than the story makes: a test that never ends has failed */

/* --- the failing disk --- */

enum fault {
	FAULT_IO,
	FAULT_FULL
};

static _Atomic int64_t calls_left; /* the call that brings it to zero fails */
static enum fault fault;

static bool fails_now(void)
{
	return atomic_fetch_sub(&calls_left, 1) == 1;
}

static int failure(int io_code)
{
	return fault == FAULT_FULL ? SQLITE_FULL : io_code;
}

struct disk_file {
	sqlite3_file base;
	sqlite3_file *real; /* behind this struct */
};

static sqlite3_file *real_of(sqlite3_file *file)
{
	return ((struct disk_file *)file)->real;
}

static int disk_close(sqlite3_file *file)
{
	return real_of(file)->pMethods->xClose(real_of(file));
}

static int disk_read(sqlite3_file *file, void *bytes, int len, sqlite3_int64 at)
{
	if (fails_now())
		return SQLITE_IOERR_READ;
	return real_of(file)->pMethods->xRead(real_of(file), bytes, len, at);
}

static int disk_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 at)
{
	if (fails_now())
		return failure(SQLITE_IOERR_WRITE);
	return real_of(file)->pMethods->xWrite(real_of(file), bytes, len, at);
}

static int disk_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	if (fails_now())
		return SQLITE_IOERR_TRUNCATE;
	return real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int disk_sync(sqlite3_file *file, int flags)
{
	return fails_now() ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static int disk_size(sqlite3_file *file, sqlite3_int64 *size)
{
	if (fails_now())
		return SQLITE_IOERR_FSTAT;
	return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int disk_lock(sqlite3_file *file, int level)
{
	return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int disk_unlock(sqlite3_file *file, int level)
{
	return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int disk_check_lock(sqlite3_file *file, int *ret_is_reserved)
{
	return real_of(file)->pMethods->xCheckReservedLock(real_of(file), ret_is_reserved);
}

static int disk_control(sqlite3_file *file, int operation, void *argument)
{
	return real_of(file)->pMethods->xFileControl(real_of(file), operation, argument);
}

static int disk_sector(sqlite3_file *file)
{
	return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int disk_traits(sqlite3_file *file)
{
	return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int disk_shm_map(
	sqlite3_file *file, int page, int size, int may_extend, void volatile **ret_memory)
{
	if (fails_now())
		return failure(SQLITE_IOERR_SHMSIZE);
	return real_of(file)->pMethods->xShmMap(real_of(file), page, size, may_extend, ret_memory);
}

static int disk_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
	return real_of(file)->pMethods->xShmLock(real_of(file), offset, count, flags);
}

static void disk_shm_barrier(sqlite3_file *file)
{
	real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int disk_shm_unmap(sqlite3_file *file, int is_delete)
{
	return real_of(file)->pMethods->xShmUnmap(real_of(file), is_delete);
}

static const sqlite3_io_methods disk_methods = {
	.iVersion = 2,
	.xClose = disk_close,
	.xRead = disk_read,
	.xWrite = disk_write,
	.xTruncate = disk_truncate,
	.xSync = disk_sync,
	.xFileSize = disk_size,
	.xLock = disk_lock,
	.xUnlock = disk_unlock,
	.xCheckReservedLock = disk_check_lock,
	.xFileControl = disk_control,
	.xSectorSize = disk_sector,
	.xDeviceCharacteristics = disk_traits,
	.xShmMap = disk_shm_map,
	.xShmLock = disk_shm_lock,
	.xShmBarrier = disk_shm_barrier,
	.xShmUnmap = disk_shm_unmap,
};

static int disk_open(
	sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
	struct disk_file *disk = (struct disk_file *)file;
	sqlite3_vfs *real = vfs->pAppData;
	int rc;

	disk->base.pMethods = NULL;
	disk->real = (sqlite3_file *)(disk + 1);
	if (fails_now())
		return SQLITE_CANTOPEN;
	rc = real->xOpen(real, name, disk->real, flags, ret_flags);
	if (rc == SQLITE_OK)
		disk->base.pMethods = &disk_methods;
	return rc;
}

static void disk_install(void)
{
	static sqlite3_vfs disk;
	sqlite3_vfs *real = sqlite3_vfs_find(NULL);

	disk = *real; /* deleting, time, chance and errors are the real one's */
	disk.szOsFile = (int)sizeof(struct disk_file) + real->szOsFile;
	disk.zName = "failing";
	disk.pAppData = real;
	disk.pNext = NULL;
	disk.xOpen = disk_open;
	assert_int_equal(sqlite3_vfs_register(&disk, 1), SQLITE_OK);
}

/* --- the story: each chapter is one request (or some at once) --- */

static int chapter_create(struct rig *rig)
{
	struct action *actions[3] = {rig_define(rig, "a", "\"overlap\": \"queue\""),
		rig_define(rig, "b", "\"tags\": [\"x\", \"y\"]"), rig_define(rig, "c", "")};
	struct store_create_actions create = {.actions = actions, .count = 3};
	int code;

	for (int i = 0; i < 3; i++)
		actions[i]->next_due_ms = T0;
	code = rig_do(rig, create_actions, &create);
	store_create_actions_fini(&create);
	return code;
}

/* What a chapter has to know beforehand is read from a disk that is well. */
static struct action *by_name(struct rig *rig, const char *name)
{
	int64_t left = atomic_exchange(&calls_left, 0);
	struct store_get_action get = {.name = name};

	assert_int_equal(rig_do(rig, get_action, &get), 0);
	atomic_store(&calls_left, left);
	return rig_own_action(rig, take_ptr(get.ret_action));
}

static struct run *by_due(struct rig *rig, const char *name, int64_t due_at_ms)
{
	struct action *action = by_name(rig, name);
	int64_t left = atomic_exchange(&calls_left, 0);
	struct run *run = rig_find_run(rig, action, due_at_ms);

	atomic_store(&calls_left, left);
	assert_non_null(run);
	return run;
}

static int chapter_claim(struct rig *rig)
{
	struct planned_due dues[3] = {{T0, T0, 1, DUE_RUN}, {T0 + 10, T0 + 50, 5, DUE_SKIP_LATE},
		{T0 + 60, T0 + 60, 1, DUE_RUN}};
	struct claim_item items[3];
	struct store_claim claim = {.items = items, .count = 3, .capacity = {1, 1}};
	static const char *const names[] = {"a", "b", "c"};
	int code;

	for (int i = 0; i < 3; i++)
		items[i] = (struct claim_item){.action = by_name(rig, names[i]),
			.expected_ms = T0,
			.dues = dues,
			.due_count = 3,
			.next_due_ms = T0 + 1000};
	code = rig_do(rig, claim, &claim);
	for (int i = 0; i < 3; i++)
		assert_int_equal(items[i].ret_won, code == 0);
	store_claim_fini(&claim);
	return code;
}

static int chapter_take(struct rig *rig)
{
	struct store_take take = {.capacity = {9, 9}};
	int code = rig_do(rig, take, &take);

	if (code < 0)
		assert_int_equal(take.ret_started_count, 0);
	store_take_fini(&take);
	return code;
}

/* Three in one transaction: one tries again, one succeeds, one fails. */
static int chapter_take_limited(struct rig *rig)
{
	const struct run_limit limits[] = {
		{.kind = -1, .tag = (char *)"x", .max = 1}, {.kind = -1, .max = 5}};
	struct store_take take = {.capacity = {9, 9}, .limits = limits, .limit_count = 2};
	int code = rig_do(rig, take, &take);

	if (code < 0)
		assert_int_equal(take.ret_started_count, 0);
	store_take_fini(&take);
	return code;
}

static int chapter_finish(struct rig *rig)
{
	static const char *const names[] = {"a", "b", "c"};
	static char output[20000];
	static const struct run_follow_up follow_ups[] = {{RUN_PENDING, REASON_RETRY, 100, true},
		{RUN_SUCCEEDED, REASON_NONE, 0, true}, {RUN_FAILED, REASON_NONE, 0, true}};
	struct attempt_result result = {.outcome = ATTEMPT_FAILED,
		.exit_code = 1,
		.started_at_ms = T0,
		.output = output,
		.output_len = sizeof(output)};
	struct store_finish finish[3] = {{.run = NULL}};
	int code = 0;

	for (int i = 0; i < 3; i++) {
		struct run *run = by_due(rig, names[i], T0);

		finish[i] = (struct store_finish){
			.run = run, .result = &result, .follow_up = follow_ups[i]};
		if (run->state != RUN_RUNNING) /* done at an earlier try */
			finish[i].req.data = &finish[i];
	}
	for (int i = 0; i < 3; i++)
		if (!finish[i].req.data)
			store_finish(rig->store, &finish[i], rig_on_done);
	(void)uv_run(&rig->loop, UV_RUN_DEFAULT);
	for (int i = 0; i < 3; i++)
		if (finish[i].req.err.code < 0)
			code = finish[i].req.err.code;
	return code;
}

static int chapter_trigger(struct rig *rig)
{
	struct store_trigger trigger = {.action_id = by_name(rig, "b")->id};
	int code = rig_do(rig, trigger, &trigger);

	store_trigger_fini(&trigger);
	return code;
}

static int change_run(struct rig *rig, enum run_change change)
{
	struct store_change_run request = {.id = by_due(rig, "b", T0 + 200)->id, .change = change};
	int code = rig_do(rig, change_run, &request);

	store_change_run_fini(&request);
	return code;
}

static int chapter_pause_run(struct rig *rig)
{
	return change_run(rig, RUN_PAUSE);
}

static int chapter_resume_run(struct rig *rig)
{
	return change_run(rig, RUN_RESUME);
}

static int chapter_retry(struct rig *rig)
{
	struct store_trigger retry = {
		.action_id = by_name(rig, "c")->id, .retry_of = by_due(rig, "c", T0)->id};
	int code = rig_do(rig, trigger, &retry);

	store_trigger_fini(&retry);
	return code;
}

static int chapter_cancel(struct rig *rig)
{
	struct store_cancel_run cancel = {.id = by_due(rig, "b", T0 + 200)->id};
	int code = rig_do(rig, cancel_run, &cancel);

	store_cancel_run_fini(&cancel);
	return code;
}

static int chapter_replace(struct rig *rig)
{
	struct store_replace_action replace = {.id = by_name(rig, "c")->id,
		.expected_version = 1,
		.action = rig_define(rig, "c", "\"tags\": [\"z\"], \"overlap\": \"allow\"")};
	int code = rig_do(rig, replace_action, &replace);

	store_replace_action_fini(&replace);
	return code;
}

static int chapter_pause(struct rig *rig)
{
	struct store_pause_action pause = {.id = by_name(rig, "a")->id,
		.expected_version = 1,
		.is_paused = true,
		.next_due_ms = NO_TIME};
	int code = rig_do(rig, pause_action, &pause);

	store_pause_action_fini(&pause);
	return code;
}

static int chapter_delete(struct rig *rig)
{
	struct store_delete_action delete = {.id = by_name(rig, "b")->id};
	int code = rig_do(rig, delete_action, &delete);

	store_delete_action_fini(&delete);
	return code;
}

static int chapter_restart(struct rig *rig)
{
	struct err err = {0};
	int code;

	if (rig->store)
		rig_close(rig);
	code = rig_open(rig, 100, 100, &err);
	if (code < 0)
		rig->store = NULL;
	return code;
}

static int chapter_recover(struct rig *rig)
{
	struct store_recover recover = {.ret_count = 0};

	return rig_do(rig, recover, &recover);
}

static const struct {
	const char *name;
	int (*tell)(struct rig *rig);
	int64_t at_ms;
} chapters[] = {
	{"open", chapter_restart, 0},
	{"create", chapter_create, 0},
	{"claim", chapter_claim, 60},
	{"take", chapter_take, 70},
	{"finish", chapter_finish, 100},
	{"trigger", chapter_trigger, 200},
	{"pause a run", chapter_pause_run, 202},
	{"resume it", chapter_resume_run, 204},
	{"retry", chapter_retry, 206},
	{"cancel", chapter_cancel, 210},
	{"replace", chapter_replace, 220},
	{"pause", chapter_pause, 230},
	{"take again", chapter_take_limited, 300},
	{"restart", chapter_restart, 310},
	{"recover", chapter_recover, 320},
	{"delete", chapter_delete, 330},
};

/* --- what the database says --- */

static void dump_actions(struct rig *rig, FILE *out)
{
	struct store_list_actions list = {.limit = 100, .kind = -1, .state = -1};

	assert_int_equal(rig_do(rig, list_actions, &list), 0);
	for (size_t i = 0; i < list.ret_count; i++) {
		const struct action *action = list.ret_actions[i];

		fprintf(out, "%s v%lld paused=%d next=%lld tags=%s\n", action->name,
			(long long)action->version, action->is_paused,
			(long long)action->next_due_ms, action->tags[0] ? action->tags[0] : "");
	}
	store_list_actions_fini(&list);
}

static void dump_runs(struct rig *rig, FILE *out)
{
	struct store_list_runs list = {
		.limit = 100, .trigger = -1, .due_from_ms = NO_TIME, .due_to_ms = NO_TIME};

	assert_int_equal(rig_do(rig, list_runs, &list), 0);
	for (size_t i = 0; i < list.ret_count; i++) {
		const struct run *run = &list.ret_runs[i];

		fprintf(out, "%s %lld %s '%s' attempt=%d/%d epoch=%lld bytes=%lld cancel=%d\n",
			run->action_name, (long long)run->due_at_ms, run_state_names[run->state],
			run_reason_names[run->reason], run->attempt, run->interruptions,
			(long long)run->epoch, (long long)run->output_bytes, run->cancel_requested);
	}
	store_list_runs_fini(&list);
}

/* The caller's to free; the disk is well while we read. */
static char *dump(struct rig *rig)
{
	int64_t left = atomic_exchange(&calls_left, 0);
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	if (rig->store) {
		dump_actions(rig, out);
		dump_runs(rig, out);
	}
	assert_int_equal(fclose(out), 0);
	atomic_store(&calls_left, left);
	return text;
}

/* --- telling it --- */

static bool is_trouble(int code)
{
	return code == ERR_IO || code == ERR_FULL || code == ERR_UNAVAILABLE || code == ERR_CORRUPT;
}

/* Runs one chapter, and once more when it was refused. */
static void tell(struct rig *rig, size_t chapter, int64_t nth)
{
	bool is_group = chapters[chapter].tell == chapter_finish;
	bool is_reopen = chapters[chapter].tell == chapter_restart;
	auto_free char *before = dump(rig);
	int code;

	rig_now_ms = T0 + chapters[chapter].at_ms;
	code = chapters[chapter].tell(rig);
	if (code == 0)
		return;
	if (!is_trouble(code))
		fail_msg("call %lld, %s: %s", (long long)nth, chapters[chapter].name,
			err_name(code));
	if (!is_group && !is_reopen) {
		auto_free char *after = dump(rig);

		if (strcmp(before, after) != 0)
			fail_msg("call %lld, %s was refused, but left\n%s\nof\n%s", (long long)nth,
				chapters[chapter].name, after, before);
	}
	code = chapters[chapter].tell(rig);
	if (code != 0)
		fail_msg("call %lld, %s refused again: %s", (long long)nth, chapters[chapter].name,
			err_name(code));
}

/* The whole story with the nth call failing; what the database says in the end. True in
 * *ret_has_failed when there was an nth call. */
static char *tell_all(int64_t nth, bool *ret_has_failed)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	char *end;

	assert_non_null(rig);
	rig_init(rig);
	atomic_store(&calls_left, nth);
	for (size_t i = 0; i < COUNT_OF(chapters); i++)
		tell(rig, i, nth);
	*ret_has_failed = atomic_load(&calls_left) <= 0;
	end = dump(rig);
	rig_fini(rig);
	free(rig);
	return end;
}

static void fail_each_call(enum fault kind)
{
	bool has_failed = false;
	auto_free char *expected = tell_all(INT64_MAX, &has_failed);
	int64_t nth = 0;

	fault = kind;
	do {
		auto_free char *end = tell_all(++nth, &has_failed);

		assert_string_equal(end, expected);
		assert_true(nth < CALLS_MAX);
	} while (has_failed);
	print_message("%lld calls failed, each once\n", (long long)nth - 1);
	assert_true(nth > 100);
}

static void test_io_error_at_each_call_loses_nothing(void **state)
{
	fail_each_call(FAULT_IO);
}

static void test_full_disk_at_each_call_loses_nothing(void **state)
{
	fail_each_call(FAULT_FULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_io_error_at_each_call_loses_nothing),
		cmocka_unit_test(test_full_disk_at_each_call_loses_nothing),
	};

	rig_backend = "sqlite";
	disk_install();
	return cmocka_run_group_tests_name("store fault", tests, NULL, NULL);
}
