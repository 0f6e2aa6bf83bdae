/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets at rest. The database holds sealed values; the key stands in a file that every instance
 * has and the database has not, so neither a dump of the database nor the file alone tells
 * anything. */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct vault;

#define VAULT_KEYS_MAX 8

/* Reads a key file: one key a line as vault_write_key writes it, the first seals, all unseal; empty
 * lines and lines that begin with '#' are skipped. ERR_NOT_FOUND, ERR_IO; ERR_FORBIDDEN when others
 * than its owner may read or write it, or the owner is neither this user nor root; ERR_INVALID with
 * the line. */
int vault_open(const char *path, struct vault **ret_vault, struct err *err);
void vault_close(struct vault *vault); /* NULL is fine; wipes the keys */

/* Appends a new key as a line of a key file. */
void vault_write_key(struct buf *out);

/* A sealed value is bound to its name: under another one it cannot be unsealed. */
#define VAULT_OVERHEAD 80 /* bytes that sealing adds at most */
void vault_seal(
	const struct vault *vault, const char *name, const char *value, struct buf *ret_sealed);

/* *ret_value is owned by the caller, who wipes it. ERR_CORRUPT: damaged, another secret's, or
 * sealed with a key that the file does not hold (any more). */
int vault_unseal(const struct vault *vault, const char *name, const void *sealed, size_t len,
	char **ret_value, struct err *err);
