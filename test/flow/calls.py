# SPDX-License-Identifier: Apache-2.0
"""Calls of the program that need no server, and what its exit statuses mean (doc/cli.md)."""
import os
import subprocess

from harness import BINARY

OK, ERROR, USAGE, ABSENT = 0, 1, 2, 3
NO_ID = "01a204ab-0000-7000-8000-000000000000"


def local(*arguments, expect=OK, stdin="", environ=None, **options):
    """A command that needs no server."""
    done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, input=stdin, timeout=60, check=False,
                          env={**os.environ, **(environ or {})}, **options)
    assert done.returncode == expect, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done
