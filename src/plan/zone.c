/* SPDX-License-Identifier: Apache-2.0
 *
 * Time zones: which offset from UTC holds when, and until when. The data is that of the system's
 * zoneinfo folder, read by ourselves: GLib's GTimeZone names no transitions, gives Dublin the
 * wrong offset in the winters after 2037 and needs up to 170 ns a look-up (doc/design/time.md).
 *
 * A zone is a sorted array of changes; behind the last one a rule makes two more a year. The cache
 * is the one state of this module: zones are never freed, at most as many as there are files. */
#include "plan/zone_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/civil.h"
#include "base/mem.h"

/* Three years of two changes, and the last listed one before them. */
#define RULE_CHANGES_MAX 7

static struct zone_change utc_change = {INT64_MIN, 0};
static struct zone utc = {.name = "UTC", .changes = &utc_change, .change_count = 1};

/* The zones read so far, the last used first. UTC is here without a file. */
static struct zone *zones = &utc;

/* --- names and files --- */

static bool is_name_char(char c)
{
	return ascii_is_alnum(c) || c == '_' || c == '-' || c == '+';
}

/* Parts of letters, digits and _-+ between single slashes, beginning with a capital: no way out of
 * the folder, and none to its copies 'posix/', 'right/', 'localtime' and 'posixrules'. */
static bool is_zone_name(const char *name)
{
	size_t len = strlen(name);

	if (len >= ZONE_NAME_SIZE || name[0] < 'A' || name[0] > 'Z' || name[len - 1] == '/')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_name_char(name[i]) && (name[i] != '/' || name[i - 1] == '/'))
			return false;
	return true;
}

static int unknown_zone(const char *name, struct err *err)
{
	char shown[EXCERPT_SIZE], near[ZONE_NAME_SIZE];

	(void)excerpt(name, strlen(name), shown);
	if (access(ZONE_DIR "/Europe", F_OK) != 0)
		return err_field(err, ERR_INVALID, "/timezone",
			"unknown time zone '%s': there is no time zone data in %s; install the "
			"package "
			"tzdata",
			shown, ZONE_DIR);
	if (zone_nearest_name(name, near))
		return err_field(err, ERR_INVALID, "/timezone",
			"unknown time zone '%s'; did you mean '%s'?", shown, near);
	return err_field(err, ERR_INVALID, "/timezone",
		"unknown time zone '%s'; use an IANA name such as 'Europe/Paris', or 'UTC'", shown);
}

/* Reads the whole file; the number of bytes, or -1 when it is not a regular file of a sane size. */
static ssize_t read_file(const char *name, uint8_t bytes[static ZONE_FILE_MAX_BYTES])
{
	char path[sizeof(ZONE_DIR) + ZONE_NAME_SIZE + 1];
	struct stat st;
	ssize_t got = -1, len = 0;
	int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/%s", ZONE_DIR, name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size >= ZONE_FILE_MAX_BYTES) {
		(void)close(fd);
		return -1;
	}
	do {
		got = read(fd, bytes + len, ZONE_FILE_MAX_BYTES - (size_t)len);
		len += got > 0 ? got : 0;
	} while (got > 0 || (got < 0 && errno == EINTR));
	(void)close(fd);
	return got < 0 ? -1 : len;
}

static int zone_read(const char *name, const struct zone **ret_zone, struct err *err)
{
	auto_free uint8_t *bytes = xmalloc(ZONE_FILE_MAX_BYTES);
	auto_free struct zone *zone = xcalloc(1, sizeof(*zone));
	ssize_t len = read_file(name, bytes);
	struct err why = {0};

	if (len < 0)
		return unknown_zone(name, err);
	if (zone_file_parse(bytes, (size_t)len, zone, &why) != ERR_NONE)
		return err_field(err, why.code, "/timezone", "%s/%s: %s", ZONE_DIR, name, why.text);
	(void)snprintf(zone->name, sizeof(zone->name), "%s", name);
	zone->next = zones;
	*ret_zone = zones = take_ptr(zone);
	return ERR_NONE;
}

int zone_get(const char *name, const struct zone **ret_zone, struct err *err)
{
	for (struct zone **link = &zones; *link; link = &(*link)->next) {
		struct zone *zone = *link;

		if (strcmp(zone->name, name) != 0)
			continue;
		*link = zone->next;
		zone->next = zones;
		*ret_zone = zones = zone;
		return ERR_NONE;
	}
	if (!is_zone_name(name))
		return unknown_zone(name, err);
	return zone_read(name, ret_zone, err);
}

/* --- look-up --- */

/* The last of `changes` at or before at_s; changes[0] always is. */
static size_t change_index(const struct zone_change *changes, size_t count, int64_t at_s)
{
	size_t low = 0, high = count;

	while (high - low > 1) {
		size_t middle = (low + high) / 2;

		if (changes[middle].at_s <= at_s)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static struct zone_span span_at(const struct zone_change *changes, size_t count, int64_t at_s)
{
	size_t i = change_index(changes, count, at_s);
	bool is_last = i + 1 == count;

	return (struct zone_span){.start_at_s = changes[i].at_s,
		.end_at_s = is_last ? INT64_MAX : changes[i + 1].at_s,
		.offset_s = changes[i].offset_s,
		.before_s = changes[i > 0 ? i - 1 : 0].offset_s,
		.after_s = changes[is_last ? i : i + 1].offset_s};
}

/* Puts `change` where it belongs, dropping it when it is already told by the listed ones. */
static size_t insert_change(
	struct zone_change *changes, size_t count, const struct zone_change *change)
{
	size_t i = count;

	if (change->at_s <= changes[0].at_s)
		return count;
	for (; i > 1 && changes[i - 1].at_s > change->at_s; i--)
		changes[i] = changes[i - 1];
	changes[i] = *change;
	return count + 1;
}

/* Drops what changes nothing: a rule may come to where the listed changes already are. */
static size_t merge_changes(struct zone_change *changes, size_t count)
{
	size_t kept = 1;

	for (size_t i = 1; i < count; i++)
		if (changes[i].offset_s != changes[kept - 1].offset_s)
			changes[kept++] = changes[i];
	return kept;
}

/* The span at a time that only the rule describes. */
static struct zone_span rule_span(const struct zone *zone, int64_t at_s)
{
	const struct zone_change *last = &zone->changes[zone->change_count - 1];
	struct zone_change changes[RULE_CHANGES_MAX] = {*last};
	int year = civil_from_seconds(at_s + zone->rule.std_offset_s).year;
	size_t count = 1;
	struct zone_span span;

	for (int y = year - 1; y <= year + 1; y++) {
		struct zone_change to_dst, to_std;

		zone_rule_changes(&zone->rule, y, &to_dst, &to_std);
		count = insert_change(changes, count, &to_dst);
		count = insert_change(changes, count, &to_std);
	}
	count = merge_changes(changes, count);
	span = span_at(changes, count, at_s);
	/* The listed changes know what was before the last of them. */
	if (span.start_at_s == last->at_s && zone->change_count > 1)
		span.before_s = last[-1].offset_s;
	return span;
}

struct zone_span zone_find(const struct zone *zone, int64_t at_s)
{
	if (zone->has_rule && at_s >= zone->changes[zone->change_count - 1].at_s)
		return rule_span(zone, at_s);
	return span_at(zone->changes, zone->change_count, at_s);
}
