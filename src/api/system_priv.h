/* SPDX-License-Identifier: Apache-2.0
 *
 * Facts about machine and process from /proc (proc(5)). Small files that the kernel makes up in
 * memory: read on the loop. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct system_facts {
	int cpu_count;
	double load[3]; /* 1, 5, 15 minutes */
	int64_t memory_total_bytes, memory_available_bytes;
	int64_t process_memory_bytes; /* resident */
	int64_t uptime_ms;            /* of the machine */
};

/* What cannot be read stays 0. */
void system_read(struct system_facts *ret_facts);

/* CPU time used so far, in clock ticks, of the whole machine and of this process; the share between
 * two samples is what matters. */
struct cpu_sample {
	int64_t all, idle;
	int64_t process;
};
void system_cpu_sample(struct cpu_sample *ret_sample);

/* Shares, 0 .. 1 of all CPUs, between two samples; 0 when no tick passed. */
void system_cpu_share(const struct cpu_sample *from, const struct cpu_sample *to,
	double *ret_machine, double *ret_process);

/* For tests: the number behind `key` in the text of /proc/meminfo, in bytes; 0 when absent. */
int64_t system_meminfo_bytes(const char *text, const char *key);

/* For tests: sums the first line of /proc/stat; false when it is not one. */
bool system_parse_cpu(const char *text, struct cpu_sample *ret_sample);
