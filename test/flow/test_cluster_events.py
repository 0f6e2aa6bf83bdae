# SPDX-License-Identifier: Apache-2.0
"""Events, chains and schedules that follow runs, where two instances share a PostgreSQL and one is killed."""
import concurrent.futures
import time

import pytest

from gang import Gang
from harness import wait_for
from pg import cluster, clusters  # noqa: F401 (fixtures)


@pytest.fixture
def two(servers, cluster, tmp_path):  # noqa: F811
    name = f"t{time.monotonic_ns()}"
    cluster.sql(f"CREATE DATABASE {name}")
    gang = Gang(servers, tmp_path, cluster.url.rsplit("/", 1)[0] + "/" + name)
    gang.start(2)
    return gang


def test_chains_and_every_after_go_on_when_their_instance_is_killed(two):
    a, b = two.servers
    a.create(name="first", kind="noop", overlap="allow", schedule={"on": "go"})
    a.create(name="second", kind="noop", overlap="allow", schedule={"on": "action.first.succeeded"})
    a.create(name="steady", kind="noop", schedule={"every_after": "200ms"})
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        sent = list(pool.map(lambda n: (a, b)[n % 2].post(f"/api/v1/events/go?key=k{n // 2}", n), range(60)))
    assert {answer.status for answer in sent} == {200, 202}
    assert len({answer.json["event_id"] for answer in sent}) == 30  # each key once, whoever was asked
    a.kill()
    wait_for(lambda: len(b.runs("second", state="succeeded")) == 30, "the ends of the chains")
    assert len(b.runs("first")) == len(b.runs("second")) == 30
    seen = len(b.runs("steady", state="succeeded"))
    wait_for(lambda: len(b.runs("steady", state="succeeded")) >= seen + 5, "runs after the kill")
    runs = [b.get("/api/v1/runs/" + run["id"]).json for run in b.runs("second")]
    assert len({run["payload"]["run_id"] for run in runs}) == 30
