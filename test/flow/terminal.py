# SPDX-License-Identifier: Apache-2.0
"""A program on a terminal of its own, for what it does differently there."""
import errno
import fcntl
import os
import pty
import struct
import subprocess
import termios

WAIT_S = 60


def on_terminal(command, environ, columns=80):
    """-> (exit status, what it wrote; lines end in CR LF). Standard input is the terminal as well."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environ = {key: value for key, value in environ.items() if key != "COLUMNS"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, start_new_session=True)
    os.close(theirs)
    text = bytearray()
    try:
        while chunk := read(ours):
            text += chunk
        return process.wait(WAIT_S), text.decode("utf-8", "replace")
    finally:
        os.close(ours)
        process.kill()
        process.wait()


def read(fd):
    """Linux says EIO when the last program that had the terminal open is gone."""
    try:
        return os.read(fd, 65536)
    except OSError as failure:
        if failure.errno == errno.EIO:
            return b""
        raise
