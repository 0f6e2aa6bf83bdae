/* SPDX-License-Identifier: Apache-2.0
 *
 * libsodium's secretbox (XSalsa20, Poly1305) with a fresh random nonce for each value.
 *
 *   sealed  = version (1) | key id (8) | nonce (24) | box of: hash of the name (16) | value
 *   key     = "gathering-key-1 " BASE64(32 bytes)
 *   key id  = the first 8 bytes of the key's hash: says which key of the file, tells nothing of it
 *
 * To replace a key: put a new line above the old one on every instance, restart them, set
 * each secret again, then take the old line out. */
#include "vault/vault.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define KEY_PREFIX    "gathering-key-1 "
#define FILE_MAX      4096
#define VERSION       1
#define KEY_ID_BYTES  8
#define NAME_BYTES    crypto_generichash_BYTES_MIN
#define KEY_BYTES     crypto_secretbox_KEYBYTES
#define NONCE_BYTES   crypto_secretbox_NONCEBYTES
#define MAC_BYTES     crypto_secretbox_MACBYTES
#define HEAD_BYTES    (1 + KEY_ID_BYTES + NONCE_BYTES)
#define KEY_TEXT_SIZE sodium_base64_ENCODED_LEN(KEY_BYTES, sodium_base64_VARIANT_ORIGINAL)

_Static_assert(HEAD_BYTES + MAC_BYTES + NAME_BYTES <= VAULT_OVERHEAD, "what sealing adds");

struct key {
	unsigned char bytes[KEY_BYTES];
	unsigned char id[KEY_ID_BYTES];
};

struct vault {
	struct key keys[VAULT_KEYS_MAX];
	size_t count;
};

/* --- the key file --- */

static void set_id(struct key *key)
{
	unsigned char hash[crypto_generichash_BYTES];

	(void)crypto_generichash(hash, sizeof(hash), key->bytes, KEY_BYTES, NULL, 0);
	memcpy(key->id, hash, KEY_ID_BYTES);
}

static int check_file(int fd, const char *path, struct err *err)
{
	struct stat status;

	if (fstat(fd, &status) != 0)
		return err_set(err, ERR_IO, "key file %s: %s", path, strerror(errno));
	if (!S_ISREG(status.st_mode))
		return err_set(err, ERR_INVALID, "key file %s is not a regular file", path);
	if ((status.st_mode & 077) != 0)
		return err_set(err, ERR_FORBIDDEN,
			"key file %s may be used by others than its owner (mode %04o); run: chmod "
			"600 %s",
			path, (unsigned)status.st_mode & 07777, path);
	if (status.st_uid != geteuid() && status.st_uid != 0)
		return err_set(err, ERR_FORBIDDEN,
			"key file %s belongs to user %u, who is neither this server's nor root",
			path, (unsigned)status.st_uid);
	return 0;
}

static int read_all(int fd, const char *path, char ret_text[static FILE_MAX + 1], struct err *err)
{
	size_t len = 0;
	ssize_t got;

	while ((got = read(fd, ret_text + len, FILE_MAX - len)) != 0) {
		if (got < 0 && errno != EINTR)
			return err_set(err, ERR_IO, "key file %s: %s", path, strerror(errno));
		len += got > 0 ? (size_t)got : 0;
		if (len == FILE_MAX)
			return err_set(err, ERR_INVALID, "key file %s is longer than %d bytes",
				path, FILE_MAX);
	}
	ret_text[len] = '\0';
	return 0;
}

static int read_file(const char *path, char ret_text[static FILE_MAX + 1], struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int code;

	if (fd < 0)
		return err_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "key file %s: %s%s%s",
			path, strerror(errno),
			errno == ENOENT ? "; make one with: gathering secret keygen > " : "",
			errno == ENOENT ? path : "");
	code = check_file(fd, path, err);
	if (code == 0)
		code = read_all(fd, path, ret_text, err);
	(void)close(fd);
	return code;
}

static bool read_key(const char *line, size_t len, struct key *key)
{
	size_t prefix = strlen(KEY_PREFIX), got;

	if (len < prefix || memcmp(line, KEY_PREFIX, prefix) != 0 ||
		sodium_base642bin(key->bytes, KEY_BYTES, line + prefix, len - prefix, " \r", &got,
			NULL, sodium_base64_VARIANT_ORIGINAL) != 0 ||
		got != KEY_BYTES)
		return false;
	set_id(key);
	return true;
}

static int read_keys(struct vault *vault, const char *path, const char *text, struct err *err)
{
	size_t number = 1;

	for (const char *line = text; *line != '\0'; number++) {
		size_t len = strcspn(line, "\n");

		if (len > 0 && line[0] != '#') {
			if (vault->count == VAULT_KEYS_MAX)
				return err_set(err, ERR_INVALID,
					"key file %s has more than %d keys", path, VAULT_KEYS_MAX);
			if (!read_key(line, len, &vault->keys[vault->count++]))
				return err_set(err, ERR_INVALID,
					"key file %s, line %zu: no key; make one with: gathering "
					"secret keygen",
					path, number);
		}
		line += len + (line[len] == '\n');
	}
	if (vault->count == 0)
		return err_set(err, ERR_INVALID,
			"key file %s has no key; make one with: gathering secret keygen", path);
	return 0;
}

int vault_open(const char *path, struct vault **ret_vault, struct err *err)
{
	char text[FILE_MAX + 1] = "";
	struct vault *vault;
	int code;

	if (sodium_init() < 0)
		return err_set(err, ERR_INTERNAL, "libsodium cannot be initialised");
	code = read_file(path, text, err);
	if (code != 0)
		return code;
	vault = xcalloc(1, sizeof(*vault));
	code = read_keys(vault, path, text, err);
	sodium_memzero(text, sizeof(text));
	if (code == 0)
		*ret_vault = vault;
	else
		vault_close(vault);
	return code;
}

void vault_close(struct vault *vault)
{
	if (vault == NULL)
		return;
	sodium_memzero(vault, sizeof(*vault));
	free(vault);
}

void vault_write_key(struct buf *out)
{
	unsigned char key[KEY_BYTES];
	char text[KEY_TEXT_SIZE];

	must(sodium_init() >= 0);
	crypto_secretbox_keygen(key);
	(void)sodium_bin2base64(
		text, sizeof(text), key, sizeof(key), sodium_base64_VARIANT_ORIGINAL);
	buf_printf(out, KEY_PREFIX "%s\n", text);
	sodium_memzero(key, sizeof(key));
	sodium_memzero(text, sizeof(text));
}

/* --- sealing --- */

static void hash_name(const char *name, unsigned char ret_hash[static NAME_BYTES])
{
	(void)crypto_generichash(
		ret_hash, NAME_BYTES, (const unsigned char *)name, strlen(name), NULL, 0);
}

void vault_seal(
	const struct vault *vault, const char *name, const char *value, struct buf *ret_sealed)
{
	const struct key *key = &vault->keys[0];
	size_t len = strlen(value), inner_len = NAME_BYTES + len;
	unsigned char *inner = xmalloc(inner_len), *sealed;
	size_t sealed_len = HEAD_BYTES + MAC_BYTES + inner_len;

	hash_name(name, inner);
	memcpy(inner + NAME_BYTES, value, len);
	sealed = xmalloc(sealed_len);
	sealed[0] = VERSION;
	memcpy(sealed + 1, key->id, KEY_ID_BYTES);
	randombytes_buf(sealed + 1 + KEY_ID_BYTES, NONCE_BYTES);
	must(crypto_secretbox_easy(sealed + HEAD_BYTES, inner, inner_len, sealed + 1 + KEY_ID_BYTES,
		     key->bytes) == 0);
	buf_append(ret_sealed, sealed, sealed_len);
	sodium_memzero(inner, inner_len);
	free(inner);
	free(sealed);
}

static const struct key *find_key(const struct vault *vault, const unsigned char *id)
{
	for (size_t i = 0; i < vault->count; i++)
		if (memcmp(vault->keys[i].id, id, KEY_ID_BYTES) == 0)
			return &vault->keys[i];
	return NULL;
}

int vault_unseal(const struct vault *vault, const char *name, const void *sealed, size_t len,
	char **ret_value, struct err *err)
{
	const unsigned char *bytes = sealed;
	unsigned char expected[NAME_BYTES];
	const struct key *key;
	size_t inner_len;
	char *inner;
	bool is_good;

	if (len < HEAD_BYTES + MAC_BYTES + NAME_BYTES || bytes[0] != VERSION)
		return err_set(err, ERR_CORRUPT, "the stored secret '%s' is damaged", name);
	key = find_key(vault, bytes + 1);
	if (key == NULL)
		return err_set(err, ERR_CORRUPT,
			"the secret '%s' was sealed with a key that secret_key_file does not hold; "
			"add that key or set the secret again",
			name);
	inner_len = len - HEAD_BYTES - MAC_BYTES;
	inner = xcalloc(1, inner_len + 1);
	hash_name(name, expected);
	is_good = crypto_secretbox_open_easy((unsigned char *)inner, bytes + HEAD_BYTES,
			  len - HEAD_BYTES, bytes + 1 + KEY_ID_BYTES, key->bytes) == 0 &&
		  sodium_memcmp(inner, expected, NAME_BYTES) == 0;
	if (is_good)
		*ret_value = xstrdup(inner + NAME_BYTES);
	sodium_memzero(inner, inner_len);
	free(inner);
	if (is_good)
		return 0;
	return err_set(err, ERR_CORRUPT, "the stored secret '%s' is damaged", name);
}
