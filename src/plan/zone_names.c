/* SPDX-License-Identifier: Apache-2.0
 *
 * The nearest spelling of an unknown time zone, for the error message only: the names of tzdata.zi
 * (zic(8) input in short form: "Z name ..." and "L target name") by edit distance. The last part of
 * a name is enough, so that 'paris' and 'new york' find theirs. About a millisecond. */
#include "plan/zone_priv.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/mem.h"

#define NAMES_FILE      ZONE_DIR "/tzdata.zi"
#define NAMES_MAX_BYTES (512 * 1024)

struct word {
	const char *at;
	size_t len;
};

struct search {
	struct word wanted;
	struct word best;
	size_t best_distance;
};

static char fold(char c)
{
	return c == ' ' || c == '-' ? '_' : ascii_lower(c);
}

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;

	return least < c ? least : c;
}

/* Levenshtein's distance without regard to case, by rows. Both shorter than ZONE_NAME_SIZE. */
static size_t distance(const struct word *a, const struct word *b)
{
	size_t row[ZONE_NAME_SIZE];

	for (size_t j = 0; j <= b->len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a->len; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b->len; j++) {
			size_t above = row[j];
			size_t change = fold(a->at[i - 1]) != fold(b->at[j - 1]);

			row[j] = min3(above + 1, row[j - 1] + 1, diagonal + change);
			diagonal = above;
		}
	}
	return row[b->len];
}

static void search_compare(
	struct search *search, const struct word *spelling, const struct word *name)
{
	size_t longer = spelling->len > search->wanted.len ? spelling->len : search->wanted.len;
	size_t shorter = spelling->len + search->wanted.len - longer;
	size_t found = 0;

	/* No less than the difference in length, which settles it for most names. */
	if (longer - shorter > search->best_distance)
		return;
	found = distance(&search->wanted, spelling);
	/* Of equally near ones the shorter: UTC, not Etc/UTC. */
	if (found > search->best_distance ||
		(found == search->best_distance && name->len >= search->best.len))
		return;
	search->best_distance = found;
	search->best = *name;
}

static void search_name(struct search *search, const struct word *name)
{
	const char *slash = memrchr(name->at, '/', name->len);
	struct word last = *name;

	if (name->len >= ZONE_NAME_SIZE)
		return;
	search_compare(search, name, name);
	if (!slash)
		return;
	last.at = slash + 1;
	last.len = name->len - (size_t)(last.at - name->at);
	search_compare(search, &last, name);
}

static struct word next_word(const char **at, const char *end)
{
	struct word word = {*at, 0};

	while (*at < end && **at != ' ')
		(*at)++;
	word.len = (size_t)(*at - word.at);
	if (*at < end)
		(*at)++;
	return word;
}

static void search_line(struct search *search, const char *at, const char *end)
{
	struct word kind = next_word(&at, end);
	struct word name = next_word(&at, end);

	if (kind.len != 1 || (*kind.at != 'Z' && *kind.at != 'L'))
		return;
	if (*kind.at == 'L')
		name = next_word(&at, end);
	search_name(search, &name);
}

static size_t read_names(char *text)
{
	int fd = open(NAMES_FILE, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t got = 0;

	if (fd < 0)
		return 0;
	while (len < NAMES_MAX_BYTES && (got = read(fd, text + len, NAMES_MAX_BYTES - len)) > 0)
		len += (size_t)got;
	(void)close(fd);
	return len;
}

bool zone_nearest_name(const char *name, char ret_name[static ZONE_NAME_SIZE])
{
	auto_free char *text = NULL;
	struct search search = {
		.wanted.at = name, .wanted.len = strlen(name), .best.len = SIZE_MAX};
	const char *at = NULL, *end = NULL;

	if (search.wanted.len >= ZONE_NAME_SIZE)
		return false;
	/* A quarter of the letters may be wrong; a wrong three-letter guess would mislead. */
	search.best_distance = search.wanted.len / 4;
	text = xmalloc(NAMES_MAX_BYTES);
	at = text;
	end = text + read_names(text);
	while (at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));

		stop = stop ? stop : end;
		search_line(&search, at, stop);
		at = stop + 1;
	}
	if (!search.best.at)
		return false;
	memcpy(ret_name, search.best.at, search.best.len);
	ret_name[search.best.len] = '\0';
	return true;
}
