# SPDX-License-Identifier: Apache-2.0
"""The connection to PostgreSQL breaks at each kind of write that a running server makes: before the question has reached it, and
when it was committed and nobody has heard of it."""
import time

import pytest

from gang import Gang
from harness import seeded, wait_for
from pg import cluster  # noqa: F401 (fixture)
from wire import Wire

WRITES = ["claim", "take", "finish", "heartbeat", "trigger"]
ROUNDS = 2


@pytest.fixture
def wire(cluster):  # noqa: F811
    one = Wire(cluster.port)
    yield one
    one.close()


def test_an_answer_that_is_lost_after_the_commit_leaves_the_ledger_exact(servers, cluster, wire, tmp_path):  # noqa: F811
    rng = seeded()
    name = f"t{time.monotonic_ns()}"
    cluster.sql(f"CREATE DATABASE {name}")
    url = cluster.url.rsplit("/", 1)[0] + "/" + name
    one = Gang(servers, tmp_path, url, heartbeat="500ms")
    server, = one.start(1, database=wire.url(url))
    one.schedule(rng)
    one.any().create(name="wanted", overlap="allow", **one.run_program())
    one.wait_effects(1)
    wanted = []
    cuts = [(word, side) for word in WRITES for side in ("question", "answer")] * ROUNDS
    rng.shuffle(cuts)
    for word, side in cuts:
        cut = wire.cut(word, side)

        def has_come():
            if word in ("take", "trigger"):
                answer = server.post("/api/v1/actions/wanted/run")
                assert answer.status == 202, answer
                wanted.append(answer.json["id"])
            return cut.wait(0.05)
        wait_for(has_come, f"a {word} to be cut at its {side}", timeout=60)
    one.wait_effects(6)
    one.settle()
    runs = one.assert_exactly_once()
    assert sorted(run["id"] for run in runs if run["triggered_by"] == "manual") == sorted(wanted)
    assert "stale:" not in server.log, server.log  # asked again, each end was known as ours
