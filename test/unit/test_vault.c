/* SPDX-License-Identifier: Apache-2.0
 *
 * Key files that are taken and refused, and what can be unsealed by whom. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "vault/vault.h"

static char folder[] = "/tmp/gathering-vault-XXXXXX";
static char path[64];

static void write_file(const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	(void)close(fd);
}

static char *new_key(void)
{
	struct buf out;

	buf_init(&out, 200);
	vault_write_key(&out);
	return buf_take(&out);
}

static struct vault *open_vault(const char *text)
{
	struct vault *vault = NULL;
	struct err err = {0};

	write_file(text, 0600);
	if (vault_open(path, &vault, &err) != 0)
		fail_msg("%s", err.text);
	return vault;
}

static void assert_refused(int code, const char *part)
{
	struct vault *vault = NULL;
	struct err err = {0};

	assert_int_equal(vault_open(path, &vault, &err), code);
	assert_null(vault);
	if (strstr(err.text, part) == NULL)
		fail_msg("'%s' is not in '%s'", part, err.text);
}

static void test_a_bad_key_file_is_refused_with_what_to_do(void **state)
{
	auto_free char *key = new_key(), *keys = xstrdup("");

	assert_refused(ERR_NOT_FOUND, "gathering secret keygen >");
	write_file(key, 0640);
	assert_refused(ERR_FORBIDDEN, "chmod 600");
	write_file(key, 0604);
	assert_refused(ERR_FORBIDDEN, "mode 0604");
	write_file("# nothing\n\n", 0600);
	assert_refused(ERR_INVALID, "has no key");
	write_file("\ngathering-key-1 AAAA\n", 0600);
	assert_refused(ERR_INVALID, "line 2: no key");
	write_file("secret\n", 0600);
	assert_refused(ERR_INVALID, "line 1: no key");
	for (int i = 0; i <= VAULT_KEYS_MAX; i++) {
		char *more = xasprintf("%s%s", keys, key);

		free(keys);
		keys = more;
	}
	write_file(keys, 0600);
	assert_refused(ERR_INVALID, "more than 8 keys");
	(void)unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_refused(ERR_INVALID, "not a regular file");
	(void)rmdir(path);
}

static void assert_unseals(
	const struct vault *vault, const char *name, const struct buf *sealed, const char *expected)
{
	auto_free char *value = NULL;
	struct err err = {0};

	if (expected != NULL) {
		assert_int_equal(
			vault_unseal(vault, name, sealed->data, sealed->len, &value, &err), 0);
		assert_string_equal(value, expected);
	} else {
		assert_int_equal(vault_unseal(vault, name, sealed->data, sealed->len, &value, &err),
			ERR_CORRUPT);
		assert_null(value);
	}
}

static void test_a_value_opens_with_its_key_and_its_name_only(void **state)
{
	auto_free char *one = new_key(), *two = new_key();
	auto_free char *both = xasprintf("# new\n%s\n# old\n%s", two, one);
	struct vault *old = open_vault(one), *new = open_vault(two), *rotated = open_vault(both);
	struct buf sealed, again;

	assert_string_not_equal(one, two);
	buf_init(&sealed, 1000);
	buf_init(&again, 1000);
	vault_seal(old, "TOKEN", "hunter22", &sealed);
	vault_seal(old, "TOKEN", "hunter22", &again);
	assert_true(sealed.len <= 8 + VAULT_OVERHEAD);
	assert_int_not_equal(memcmp(sealed.data, again.data, sealed.len), 0);
	assert_null(memmem(sealed.data, sealed.len, "hunter22", 8));
	assert_unseals(old, "TOKEN", &sealed, "hunter22");
	assert_unseals(old, "OTHER", &sealed, NULL);
	assert_unseals(new, "TOKEN", &sealed, NULL);
	assert_unseals(rotated, "TOKEN", &sealed, "hunter22");
	buf_clear(&again);
	vault_seal(rotated, "TOKEN", "", &again);
	assert_unseals(new, "TOKEN", &again, "");
	buf_fini(&sealed);
	buf_fini(&again);
	vault_close(old);
	vault_close(new);
	vault_close(rotated);
}

static void test_no_damaged_value_opens(void **state)
{
	auto_free char *key = new_key();
	struct vault *vault = open_vault(key);
	struct buf sealed;

	buf_init(&sealed, 1000);
	vault_seal(vault, "TOKEN", "hunter22", &sealed);
	for (size_t i = 0; i < sealed.len; i++) {
		sealed.data[i] ^= 1;
		assert_unseals(vault, "TOKEN", &sealed, NULL);
		sealed.data[i] ^= 1;
	}
	for (size_t whole = sealed.len; sealed.len > 0;) {
		sealed.len--;
		assert_unseals(vault, "TOKEN", &sealed, NULL);
		assert_true(sealed.len < whole);
	}
	buf_fini(&sealed);
	vault_close(vault);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_bad_key_file_is_refused_with_what_to_do),
		cmocka_unit_test(test_a_value_opens_with_its_key_and_its_name_only),
		cmocka_unit_test(test_no_damaged_value_opens),
	};
	int failed;

	if (mkdtemp(folder) == NULL)
		return 2;
	(void)snprintf(path, sizeof(path), "%s/key", folder);
	failed = cmocka_run_group_tests_name("vault", tests, NULL, NULL);
	(void)unlink(path);
	(void)rmdir(folder);
	return failed;
}
