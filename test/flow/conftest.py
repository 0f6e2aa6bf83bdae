# SPDX-License-Identifier: Apache-2.0
import contextlib

import pytest

from harness import Server, Target


@pytest.fixture
def servers(tmp_path):
    """Makes servers in the test's own folder; all are stopped and checked for sanitizer reports."""
    made = []

    def make(**options):
        server = Server(tmp_path, **options)
        made.append(server)
        return server

    yield make
    with contextlib.ExitStack() as stack:  # all of them, also when one complains
        for server in reversed(made):
            if server.process:
                stack.callback(server.close)


@pytest.fixture
def server(servers):
    return servers().start()


@pytest.fixture
def targets():
    made = []

    def make(respond=None):
        made.append(Target(respond))
        return made[-1]

    yield make
    for target in made:
        target.close()
