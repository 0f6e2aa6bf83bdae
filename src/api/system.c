/* SPDX-License-Identifier: Apache-2.0 */
#include "api/system_priv.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/ascii.h"

#define PROC_TEXT_SIZE 4096
#define CPU_FIELDS     8 /* user nice system idle iowait irq softirq steal; guest is within user */
#define CPU_IDLE       3
#define CPU_IOWAIT     4
#define STAT_UTIME     14 /* field numbers of /proc/self/stat, from 1 */
#define STAT_STIME     15

/* The beginning of a file as text; "" when it cannot be read. */
static void read_text(const char *path, char text[static PROC_TEXT_SIZE])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = 0;

	if (fd >= 0) {
		got = read(fd, text, PROC_TEXT_SIZE - 1);
		close(fd);
	}
	text[got > 0 ? got : 0] = '\0';
}

/* A decimal integer after blanks; moves `text` behind it. Digits too many are not from the kernel.
 */
static int64_t take_integer(const char **text)
{
	int64_t value = 0;

	*text += strspn(*text, " \t");
	while (ascii_is_digit(**text)) {
		if (value < INT64_MAX / 10 - 9)
			value = value * 10 + (**text - '0');
		(*text)++;
	}
	return value;
}

/* "12.34 ": the kernel writes two decimals here; the result is in hundredths. */
static int64_t take_hundredths(const char **text)
{
	int64_t value = take_integer(text) * 100;

	if (**text == '.') {
		(*text)++;
		value += take_integer(text);
	}
	return value;
}

int64_t system_meminfo_bytes(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, len) == 0 && line[len] == ':') {
			line += len + 1;
			return take_integer(&line) * 1024;
		}
	}
	return 0;
}

static int64_t resident_bytes(void)
{
	char text[PROC_TEXT_SIZE];
	const char *at = text;

	read_text("/proc/self/statm", text);
	(void)take_integer(&at); /* the whole size comes first */
	return take_integer(&at) * sysconf(_SC_PAGESIZE);
}

void system_read(struct system_facts *ret_facts)
{
	char text[PROC_TEXT_SIZE];
	const char *at = text;

	*ret_facts = (struct system_facts){.cpu_count = (int)sysconf(_SC_NPROCESSORS_ONLN)};
	read_text("/proc/loadavg", text);
	for (int i = 0; i < 3; i++)
		ret_facts->load[i] = (double)take_hundredths(&at) / 100;
	read_text("/proc/uptime", text);
	at = text;
	ret_facts->uptime_ms = take_hundredths(&at) * 10;
	read_text("/proc/meminfo", text);
	ret_facts->memory_total_bytes = system_meminfo_bytes(text, "MemTotal");
	ret_facts->memory_available_bytes = system_meminfo_bytes(text, "MemAvailable");
	ret_facts->process_memory_bytes = resident_bytes();
}

bool system_parse_cpu(const char *text, struct cpu_sample *ret_sample)
{
	struct cpu_sample sample = {0};

	if (strncmp(text, "cpu ", 4) != 0)
		return false;
	text += 4;
	for (int i = 0; i < CPU_FIELDS; i++) {
		int64_t ticks = take_integer(&text);

		sample.all += ticks;
		if (i == CPU_IDLE || i == CPU_IOWAIT)
			sample.idle += ticks;
	}
	*ret_sample = sample;
	return true;
}

/* The program's name, second field, may hold blanks and parentheses: fields count from the last
 * ')'. */
static int64_t process_ticks(const char *stat)
{
	const char *at = strrchr(stat, ')');
	int64_t ticks = 0;

	if (!at)
		return 0;
	at++;
	for (int field = 3; field <= STAT_STIME && *at != '\0'; field++) {
		at += strspn(at, " ");
		if (field >= STAT_UTIME)
			ticks += take_integer(&at);
		at += strcspn(at, " ");
	}
	return ticks;
}

void system_cpu_sample(struct cpu_sample *ret_sample)
{
	char text[PROC_TEXT_SIZE];

	read_text("/proc/stat", text);
	if (!system_parse_cpu(text, ret_sample))
		*ret_sample = (struct cpu_sample){0};
	read_text("/proc/self/stat", text);
	ret_sample->process = process_ticks(text);
}

void system_cpu_share(const struct cpu_sample *from, const struct cpu_sample *to,
	double *ret_machine, double *ret_process)
{
	int64_t all = to->all - from->all;
	int64_t busy = all - (to->idle - from->idle);
	int64_t process = to->process - from->process;

	*ret_machine = all > 0 && busy > 0 ? (double)busy / (double)all : 0;
	*ret_process = all > 0 && process > 0 ? (double)process / (double)all : 0;
	/* iowait may fall, and the files are not read at one instant */
	*ret_machine = *ret_machine > 1 ? 1 : *ret_machine;
	*ret_process = *ret_process > 1 ? 1 : *ret_process;
}
