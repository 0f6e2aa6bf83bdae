/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets: names and sealed bytes, as put. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "rig.h"
#include "store/secrets.h"

static int put(struct rig *rig, const char *name, const char *sealed, size_t len)
{
	struct store_put_secret req = {.name = name, .sealed = sealed, .len = len};

	return rig_do(rig, put_secret, &req);
}

static int delete (struct rig *rig, const char *name)
{
	struct store_delete_secret req = {.name = name};

	return rig_do(rig, delete_secret, &req);
}

static void assert_names(struct rig *rig, char *const *names, const char *expected)
{
	struct store_get_secrets req = {.names = names};
	struct buf list;

	buf_init(&list, 1000);
	assert_int_equal(rig_do(rig, get_secrets, &req), 0);
	for (size_t i = 0; i < req.ret_count; i++)
		buf_printf(&list, "%s ", req.ret_secrets[i].name);
	assert_string_equal(buf_text(&list), expected);
	buf_fini(&list);
	store_get_secrets_fini(&req);
}

static void test_what_was_put_comes_back_by_name(void **state)
{
	char *const some[] = {(char *)"b", (char *)"none", (char *)"A", NULL};
	char *const none[] = {NULL};
	struct rig *rig = *state;

	assert_names(rig, NULL, "");
	assert_int_equal(put(rig, "b", "\0\377b", 3), 0);
	assert_int_equal(put(rig, "c", "", 0), 0);
	assert_int_equal(put(rig, "A", "a", 1), 0);
	assert_names(rig, NULL, "A b c ");
	assert_names(rig, some, "A b ");
	assert_names(rig, none, "");
}

static void test_putting_again_replaces(void **state)
{
	struct store_get_secrets req = {0};
	struct rig *rig = *state;

	assert_int_equal(put(rig, "key", "old", 3), 0);
	rig_now_ms += MINUTE_MS;
	assert_int_equal(put(rig, "key", "\0new", 4), 0);
	assert_int_equal(rig_do(rig, get_secrets, &req), 0);
	assert_int_equal(req.ret_count, 1);
	assert_int_equal(req.ret_secrets[0].len, 4);
	assert_memory_equal(req.ret_secrets[0].sealed, "\0new", 4);
	assert_int_equal(req.ret_secrets[0].created_at_ms, RIG_EPOCH_MS);
	assert_int_equal(req.ret_secrets[0].updated_at_ms, RIG_EPOCH_MS + MINUTE_MS);
	store_get_secrets_fini(&req);
}

static void test_what_is_deleted_is_gone(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(put(rig, "key", "x", 1), 0);
	assert_int_equal(delete (rig, "KEY"), ERR_NOT_FOUND);
	assert_int_equal(delete (rig, "key"), 0);
	assert_int_equal(delete (rig, "key"), ERR_NOT_FOUND);
	assert_names(rig, NULL, "");
}

static void test_there_is_a_limit_and_replacing_is_within_it(void **state)
{
	struct rig *rig = *state;
	char name[16];

	for (int i = 0; i < STORE_SECRETS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "s%d", i);
		assert_int_equal(put(rig, name, "x", 1), 0);
	}
	assert_int_equal(put(rig, "more", "x", 1), ERR_FULL);
	assert_int_equal(put(rig, "s0", "y", 1), 0);
	assert_int_equal(delete (rig, "s1"), 0);
	assert_int_equal(put(rig, "more", "x", 1), 0);
}

const struct CMUnitTest secret_tests[] = {
	RIG_TEST(test_what_was_put_comes_back_by_name),
	RIG_TEST(test_putting_again_replaces),
	RIG_TEST(test_what_is_deleted_is_gone),
	RIG_TEST(test_there_is_a_limit_and_replacing_is_within_it),
};
const size_t secret_test_count = COUNT_OF(secret_tests);
