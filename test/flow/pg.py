# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL clusters for flow tests: tools/pg-cluster as a child, one method for each of its commands.

    def test_x(cluster): ...               one for all tests of the file, made at its first use
    def test_y(clusters, servers): clusters("--replica-of", primary.folder)      of the test's own

`clusters` stands before `servers`, so that these end first: a stop without its database waits for that in vain.
"""
import os
import subprocess

import pytest

from harness import ROOT


class Cluster:
    """url, socket_url, pooler_url, folder, port, pid, certificate: as printed (see tools/pg-cluster --help)."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([os.path.join(ROOT, "tools/pg-cluster"), "--no-fsync", *arguments], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for line in self.process.stdout:
            key, _, value = line.strip().partition("=")
            if key == "ready":
                return
            assert not line.startswith("failed"), line
            setattr(self, key, value)
        raise AssertionError("tools/pg-cluster has ended")

    def begin(self, command):
        """Without waiting: end() gives the answer."""
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def end(self):
        answer = self.process.stdout.readline().strip()
        assert answer.startswith("ok"), answer or "tools/pg-cluster has ended"
        return answer[len("ok "):]

    def do(self, command):
        self.begin(command)
        return self.end()

    def stop(self, mode="immediate"):
        self.do(f"stop {mode}")

    def start(self):
        self.do("start")

    def restart(self, mode="immediate"):
        self.do(f"restart {mode}")

    def freeze(self):
        self.do("freeze")

    def thaw(self):
        self.do("thaw")

    def promote(self):
        self.do("promote")

    def sql(self, text):
        """The first value of the result, as text."""
        return self.do("sql " + " ".join(text.split()))

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


@pytest.fixture
def clusters():
    made = []

    def make(*arguments):
        made.append(Cluster(*arguments))
        return made[-1]

    yield make
    for one in reversed(made):
        one.close()


@pytest.fixture(scope="module")
def cluster():
    one = Cluster()
    yield one
    one.close()
