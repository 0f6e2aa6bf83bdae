/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate over arbitrary bytes. They are cut into a head as libmicrohttpd would cut it, and then:
 * what is seamless and passes must have exactly one Host (1.1), no more than one length or coding,
 * and a path without anything a router could stumble over.
 *
 * tools/run-fuzz http runs it. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"
#include "http/gate.h"
#include "http/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct cut {
	struct gate_head head;
	struct gate_field fields[GATE_FIELDS_MAX];
	char *target; /* owned */
	const char *target_at;
	char *at, *end;
};

/* The next line, its end overwritten as libmicrohttpd does; NULL when there is none. */
static char *next_line(struct cut *cut)
{
	char *line = cut->at;
	char *feed = memchr(line, '\n', (size_t)(cut->end - line));

	if (!feed)
		return NULL;
	if (feed > line && feed[-1] == '\r')
		feed[-1] = '\0';
	*feed = '\0';
	cut->at = feed + 1;
	return line;
}

static bool cut_first_line(struct cut *cut)
{
	char *line = next_line(cut);
	char *target = line ? strchr(line, ' ') : NULL;
	char *version = target ? strrchr(target + 1, ' ') : NULL;

	if (!version)
		return false;
	*target++ = '\0';
	*version++ = '\0';
	cut->head.method = line;
	cut->head.version = version;
	cut->head.target = cut->target = xstrdup(target);
	cut->target_at = target;
	return true;
}

static bool cut_fields(struct cut *cut)
{
	for (char *line; (line = next_line(cut));) {
		char *colon = strchr(line, ':');
		struct gate_field *field = &cut->fields[cut->head.field_count];

		if (line[0] == '\0') {
			cut->head.bytes = (size_t)(cut->at - cut->head.method);
			return true;
		}
		if (!colon || cut->head.field_count == GATE_FIELDS_MAX)
			return false;
		*colon++ = '\0';
		colon += strspn(colon, " \t");
		*field = (struct gate_field){line, strlen(line), colon, strlen(colon)};
		cut->head.field_count++;
	}
	return false;
}

static size_t count_of(const struct gate_head *head, const char *name)
{
	size_t count = 0;

	for (size_t i = 0; i < head->field_count; i++)
		count += strcasecmp(head->fields[i].name, name) == 0;
	return count;
}

static void check_passed(const struct gate_head *head, const struct target *target)
{
	auto_free char *path = xstrdup(target->path);
	size_t lengths = count_of(head, "Content-Length");
	size_t codings = count_of(head, "Transfer-Encoding");

	must(strcmp(head->version, "HTTP/1.0") == 0 || count_of(head, "Host") == 1);
	must(lengths + codings <= 1);
	must(http_percent_decode(path));
	must(path[0] == '/' && !strstr(path, "/../") && !strstr(path, "/./"));
	must(!strchr(path, '\n') && !strchr(path, '\r'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct gate_limits limits = {.header_max = 4096, .body_max = 1000};
	auto_free char *bytes = xmemdup((const char *)data, size);
	struct cut cut = {.at = bytes, .end = bytes + size};
	struct target target;

	cut.head.fields = cut.fields;
	if (cut_first_line(&cut) && cut_fields(&cut) &&
		gate_is_seamless(&cut.head, cut.target_at, strlen(cut.target)) &&
		gate_check(&cut.head, &limits).status == 0 && !target_parse(cut.target, &target)) {
		check_passed(&cut.head, &target);
		target_fini(&target);
	}
	free(cut.target);
	return 0;
}
