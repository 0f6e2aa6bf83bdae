/* SPDX-License-Identifier: Apache-2.0
 *
 * What a misspelt word was probably meant to be: a command, a flag, a choice. */
#include "cli/cli_priv.h"

#include <string.h>

#define WORD_MAX 40

/* Edits (insert, delete, change, swap of neighbours) between two words of at most WORD_MAX. */
static size_t edit_distance(const char *a, const char *b)
{
	size_t row[3][WORD_MAX + 1];
	size_t a_len = strlen(a), b_len = strlen(b);

	for (size_t j = 0; j <= b_len; j++)
		row[0][j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t *now = row[i % 3], *before = row[(i + 2) % 3], *earlier = row[(i + 1) % 3];

		now[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t best = before[j - 1] + (a[i - 1] != b[j - 1]);

			best = best < before[j] + 1 ? best : before[j] + 1;
			best = best < now[j - 1] + 1 ? best : now[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
				earlier[j - 2] + 1 < best)
				best = earlier[j - 2] + 1;
			now[j] = best;
		}
	}
	return row[a_len % 3][b_len];
}

const char *nearest_word(
	const char *word, const char *(*get)(const void *data, size_t i), const void *data)
{
	const char *best = NULL, *candidate;
	size_t len = strlen(word), best_distance = 2 + (len > 3) + (len > 6);

	if (len == 0 || len > WORD_MAX)
		return NULL;
	for (size_t i = 0; (candidate = get(data, i)); i++) {
		size_t distance;

		if (strlen(candidate) > WORD_MAX)
			continue;
		distance = strncmp(candidate, word, len) == 0 ? 1 : edit_distance(word, candidate);
		if (distance < best_distance) {
			best = candidate;
			best_distance = distance;
		}
	}
	return best;
}
