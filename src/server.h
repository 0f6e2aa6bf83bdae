/* SPDX-License-Identifier: Apache-2.0
 *
 * The composition root: with its siblings in this folder all that knows every module, and the table
 * of their lifecycle. */
#pragma once

/* `gathering serve OPTIONS`, argv as main() has it: runs until it is stopped. Returns the exit
 * status: 0 clean, 1 could not start, 2 wrong options, 3 a deadline cut something, 4 a result could
 * not be recorded. */
int server_run(int argc, char **argv);
