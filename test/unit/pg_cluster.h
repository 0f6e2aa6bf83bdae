/* SPDX-License-Identifier: Apache-2.0
 *
 * A real PostgreSQL cluster for a test program: tools/pg-cluster as a child, told what to do line
 * by line. It ends, and removes all it made, when our end of its standard input closes, which the
 * kernel does however we die. */
#pragma once

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"

#define CLUSTER_ARGS_MAX 16

struct cluster {
	pid_t pid;
	FILE *commands, *answers;
	char url[256], socket_url[256], pooler_url[256], certificate[256], folder[256];
};

static inline bool cluster_read_fact(struct cluster *cluster, const char *line)
{
	const struct {
		const char *key;
		char *to;
	} facts[] = {
		{"url=", cluster->url},
		{"socket_url=", cluster->socket_url},
		{"pooler_url=", cluster->pooler_url},
		{"certificate=", cluster->certificate},
		{"folder=", cluster->folder},
	};

	for (size_t i = 0; i < COUNT_OF(facts); i++) {
		size_t key_len = strlen(facts[i].key);
		int len;

		if (strncmp(line, facts[i].key, key_len) != 0)
			continue;
		len = snprintf(facts[i].to, sizeof(cluster->url), "%s", line + key_len);
		assert_true(len >= 0 && (size_t)len < sizeof(cluster->url));
	}
	return strcmp(line, "ready") == 0;
}

static inline void cluster_read_line(struct cluster *cluster, char *line, size_t size)
{
	if (fgets(line, (int)size, cluster->answers) == NULL)
		fail_msg("tools/pg-cluster has ended");
	line[strcspn(line, "\n")] = '\0';
}

/* `args`: of tools/pg-cluster, NULL at the end. */
static inline void cluster_start(struct cluster *cluster, const char *const *args)
{
	const char *argv[CLUSTER_ARGS_MAX] = {PG_CLUSTER, "--no-fsync"};
	int in[2], out[2], count = 2;
	char line[512] = "";

	*cluster = (struct cluster){0};
	for (; args != NULL && *args != NULL && count < CLUSTER_ARGS_MAX - 1; args++)
		argv[count++] = *args;
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	cluster->pid = fork();
	assert_true(cluster->pid >= 0);
	if (cluster->pid == 0) {
		(void)dup2(in[0], STDIN_FILENO);
		(void)dup2(out[1], STDOUT_FILENO);
		(void)execv(PG_CLUSTER, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	(void)close(in[0]);
	(void)close(out[1]);
	cluster->commands = fdopen(in[1], "w");
	cluster->answers = fdopen(out[0], "r");
	while (!cluster_read_fact(cluster, line)) {
		cluster_read_line(cluster, line, sizeof(line));
		if (strncmp(line, "failed", strlen("failed")) == 0)
			fail_msg("tools/pg-cluster: %s", line);
	}
}

/* Without waiting for the answer: the caller has a loop to run meanwhile, or wants several at once.
 */
static inline void cluster_begin(struct cluster *cluster, const char *command)
{
	assert_true(fprintf(cluster->commands, "%s\n", command) > 0);
	assert_int_equal(fflush(cluster->commands), 0);
}

static inline void cluster_end(struct cluster *cluster, const char *command)
{
	char line[512];

	cluster_read_line(cluster, line, sizeof(line));
	if (strncmp(line, "ok", strlen("ok")) != 0)
		fail_msg("tools/pg-cluster: %s: %s", command, line);
}

static inline void cluster_do(struct cluster *cluster, const char *command)
{
	cluster_begin(cluster, command);
	cluster_end(cluster, command);
}

static inline void cluster_stop(struct cluster *cluster)
{
	int status = 0;

	if (cluster->pid <= 0)
		return;
	(void)fclose(cluster->commands);
	(void)fclose(cluster->answers);
	assert_int_equal(waitpid(cluster->pid, &status, 0), cluster->pid);
	cluster->pid = 0;
	assert_int_equal(status, 0);
}
