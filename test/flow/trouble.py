# SPDX-License-Identifier: Apache-2.0
"""Ways to make a database file fail: locks, and disks that are small or read-only.

with trouble.write_lock(path): ...      another program writes: reads go on
with trouble.total_lock(path): ...      nothing can be read or written
with trouble.disk(folder, kib) as disk: a small disk of its own; disk.fill(), disk.clear(), disk.make("ro")
"""
import contextlib
import fcntl
import os
import sqlite3
import subprocess
import time

import pytest

SHM_LOCKS_AT, SHM_LOCK_COUNT = 120, 8  # https://www.sqlite.org/walformat.html#the_wal_index_file_format


@contextlib.contextmanager
def write_lock(path, kind="IMMEDIATE"):
    """As another program that is in a transaction (with a log, BEGIN EXCLUSIVE is no more than that)."""
    other = sqlite3.connect(path, isolation_level=None, timeout=30)
    other.execute("BEGIN " + kind)
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@contextlib.contextmanager
def total_lock(path):
    """Holds every lock of the log's index: whoever wants to read waits, for SQLite about ten seconds."""
    with open(path + "-shm", "r+b") as index:
        deadline = time.monotonic() + 30
        while True:
            try:
                fcntl.lockf(index, fcntl.LOCK_EX | fcntl.LOCK_NB, SHM_LOCK_COUNT, SHM_LOCKS_AT)
                break
            except OSError:
                assert time.monotonic() < deadline, "the locks are never free"
        yield


class Disk:
    def __init__(self, folder):
        self.folder = folder
        self.ballast = os.path.join(folder, "ballast")

    def fill(self, leave=0):
        """Takes all room but `leave` bytes."""
        with open(self.ballast, "ab", buffering=0) as file:
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * 4096)
            if leave:
                os.ftruncate(file.fileno(), max(0, os.fstat(file.fileno()).st_size - leave))

    def clear(self):
        os.unlink(self.ballast)

    def make(self, mode):
        subprocess.run(["mount", "-o", "remount," + mode, self.folder], check=True)


@contextlib.contextmanager
def disk(folder, kib):
    folder = str(folder)
    os.makedirs(folder, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k,mode=0777", "none", folder], capture_output=True)
    if done.returncode != 0:
        pytest.skip("mounting needs root: " + done.stderr.decode().strip())
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
