# SPDX-License-Identifier: Apache-2.0
"""Streams of two instances on one PostgreSQL: what one does is heard at the other, and who is cut off goes on there."""
import os
import signal
import subprocess

import pytest

from balancers import HAPROXY, Haproxy
from harness import BINARY, shell, wait_for
from pg import cluster, clusters  # noqa: F401 (fixtures)
from streams import Stream, open_streams
from test_streams import follow_path, go, run_now, steps


@pytest.fixture
def pair(servers, cluster):  # noqa: F811
    """Two servers on a database of their own."""
    name = f"streams{os.urandom(4).hex()}"
    cluster.sql(f"CREATE DATABASE {name}")
    url = cluster.url.rsplit("/", 1)[0] + "/" + name
    options = {"database": url, "exec_enabled": True, "run_max": "0s", "close_spread": "100ms"}
    both = [servers(**options).start() for _ in range(2)]
    wait_for(lambda: all(len(server.get("/api/v1/instances").json["items"]) == 2 for server in both), "both to know each other")
    return both


def owner_first(pair, run):
    """(the server on which it runs, the other)"""
    def owner():
        row = pair[0].get(f"/api/v1/runs/{run}").json
        return row["state"] == "running" and row["instance_id"]
    found = wait_for(owner, "somebody to run it")
    return pair if pair[0].id == found else pair[::-1]


class Follower:
    """`gathering run logs -f` of a run, at a port."""

    def __init__(self, folder, port, run):
        self.told, self.said = os.path.join(folder, f"told-{run}"), os.path.join(folder, f"said-{run}")
        with open(self.told, "wb") as told, open(self.said, "wb") as said:
            self.process = subprocess.Popen([BINARY, "--server", f"127.0.0.1:{port}", "run", "logs", "--follow", run],
                                            stdout=told, stderr=said)

    def text(self):
        with open(self.told, encoding="utf-8") as file:
            return file.read()

    def wait_text(self, text):
        wait_for(lambda: self.text() == text, f"{text!r} to be printed")

    def wait(self, expect):
        with open(self.said, encoding="utf-8") as said:
            assert self.process.wait(60) == expect, (self.text(), said.read())

    def close(self):
        self.process.kill()
        self.process.wait()


def test_output_of_a_run_elsewhere_is_followed_and_goes_on_after_its_owner_was_killed(pair, tmp_path):
    pair[0].create(name="job", **shell(
        "echo begin $GATHERING_EPOCH; [ $GATHERING_EPOCH = 1 ] || exit 0; " + steps(tmp_path, "one\\n", "two\\n") + "; sleep 600"))
    run = run_now(pair[0])
    owner, other = owner_first(pair, run)
    stream, follower = Stream(other, follow_path(run)), Follower(tmp_path, other.port, run)
    try:
        stream.wait_output("begin 1\none\n")
        assert stream.wait("state")["instance_id"] == owner.id
        go(tmp_path, 1)
        stream.wait_output("two\n")
        follower.wait_text("begin 1\none\ntwo\n")
        owner.kill()
        assert stream.wait("end", timeout=60)["state"] == "succeeded"
        assert stream.output() == "begin 1\none\ntwo\nbegin 2\n"
        assert {data["attempt"] for data in stream.named("output")} <= {1, 2}
        follower.wait(0)
        assert follower.text() == "begin 1\none\ntwo\nbegin 2\n"
    finally:
        follower.close()
    wait_for(lambda: open_streams(other) == 0, "no stream is left")


@pytest.mark.skipif(not HAPROXY, reason="no haproxy")
def test_who_follows_through_a_balancer_goes_on_at_the_other_instance(pair, tmp_path):
    pair[0].create(name="job", **shell(
        "echo begin; until [ -e %s/go1 ]; do sleep 0.05; done; echo end" % tmp_path), on_interrupt="retry")
    run = run_now(pair[0])
    owner, _ = owner_first(pair, run)
    balancer = Haproxy(tmp_path / "balancer", pair)
    follower = Follower(tmp_path, balancer.port, run)
    try:
        follower.wait_text("begin\n")
        serving = next(server for server in pair if open_streams(server) == 1)
        left = pair[1] if serving is pair[0] else pair[0]
        serving.signal(signal.SIGTERM)
        wait_for(lambda: open_streams(left) == 1, "the client to come to the other one")
        serving.wait()  # it has handed back the run, if it had it: else the program might end there yet
        go(tmp_path, 1)
        follower.wait(0)
        # handed back, when it ran on the one that was stopped
        assert follower.text() == ("begin\nbegin\nend\n" if serving is owner else "begin\nend\n")
    finally:
        follower.close()
        balancer.close()


def test_events_tell_what_another_instance_does(pair):
    first, second = pair
    stream, runs = Stream(second, "/api/v1/stream"), Stream(second, "/api/v1/stream?kind=run")
    assert stream.wait("hello") == {}
    wait_for(lambda: {"reason": "listening"} in stream.named("reset"), "the others to know that we listen")
    first.create(name="job", **shell("true"))
    assert stream.wait("action.changed")["name"] == "job"
    run = run_now(first)
    ended = wait_for(lambda: [data for data in stream.named("run.finished") if data["id"] == run], "the end of the run")
    assert ended[0]["state"] == "succeeded"
    only = Stream(first, "/api/v1/stream?action=job", last_id=stream.events[-1][2])
    assert only.wait("reset") == {}  # the id of another instance
    assert first.request("DELETE", "/api/v1/actions/job").status == 204
    stream.wait("action.deleted")
    only.wait("action.deleted")
    first.stop()
    wait_for(lambda: any(len(data["items"]) == 1 for data in stream.named("instances.changed")), "the other to be gone")
    only.wait_end()
    assert only.events[-1][0] == "closing"
    assert {name.split(".")[0] for name, *_ in runs.events} <= {"hello", "reset", "run", "runs"}
