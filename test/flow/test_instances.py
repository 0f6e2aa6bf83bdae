# SPDX-License-Identifier: Apache-2.0
"""Several real servers on one real PostgreSQL: every due time once, whoever dies; what one is told, the
others obey. (Under load: test_cluster_*.py.)"""
import os
import signal
import statistics
import time

import pytest

from gang import psql
from harness import wait_for, wait_lines
from pg import cluster, clusters  # noqa: F401 (fixtures)
from test_scheduling import assert_every_due_time_once, shell, wait_running


@pytest.fixture
def database(cluster):  # noqa: F811
    """A database of the test's own in the file's cluster."""
    name = f"t{time.monotonic_ns()}"
    cluster.sql(f"CREATE DATABASE {name}")
    return cluster.url.rsplit("/", 1)[0] + "/" + name


@pytest.fixture
def gang(servers, database):
    def make(count, **options):
        made = [servers(database=database, exec_enabled=True, **options).spawn() for _ in range(count)]
        for server in made:
            server.wait_listening()
        for server in made:
            wait_for(lambda: server.get("/health/startup").status == 200, f"a start\n{server.log}")
        if "GATHERING_CLUSTER_SQL" in os.environ:  # see gang.py
            psql(database, os.environ["GATHERING_CLUSTER_SQL"])
        return made

    return make


def pause_all(server, names):
    for name in names:
        assert server.post(f"/api/v1/actions/{name}/pause").status == 200
    wait_for(lambda: not server.runs(state="pending,running"), "the last runs")


def tick_definitions(target, count, every="500ms"):
    return [{"name": f"a{n}", "kind": "http", "http": {"url": target.url}, "overlap": "allow", "misfire": "all",
             "schedule": {"every": every, "anchor": f"2020-01-01T00:00:00.{n * 77 % 500:03}Z"}}
            for n in range(count)]


def test_ten_instances_start_at_once_on_an_empty_database(gang):
    ten = gang(10)
    assert {server.get("/health/ready").status for server in ten} == {200}
    wait_for(lambda: ten[0].get("/health").json["instances"]["total"] == 10, "all of them in the count")
    for server in ten[:2]:
        listed = server.get("/api/v1/instances").json["items"]
        assert {item["id"] for item in listed} == {s.id for s in ten}
        assert [item["id"] for item in listed if item["is_self"]] == [server.id]
        assert {item["pid"] for item in listed} == {s.pid for s in ten}


def test_a_killed_instance_is_replaced_within_its_lease(gang, targets):
    target = targets()
    a, b = gang(2, lease="10s", heartbeat="1s")
    definitions = tick_definitions(target, 4)
    assert a.post("/api/v1/actions", {"items": definitions}).status == 201
    assert a.post("/api/v1/actions", {"name": "long", "on_interrupt": "retry", **shell("sleep 300")}).status == 201
    run = a.post("/api/v1/actions/long/run").json
    wait_running(a, "long")
    wait_for(lambda: len(target.requests) >= 20, "some requests")
    instance = a.get(f"/api/v1/runs/{run['id']}").json["instance_id"]
    owner = next(s for s in (a, b) if s.id == instance)
    other = b if owner is a else a
    owner.kill()
    again = wait_for(lambda: (r := other.get(f"/api/v1/runs/{run['id']}").json)["instance_id"] != instance
                     and r["state"] == "running" and r, "the takeover", timeout=60)
    assert again["interruptions"] == 1 and again["epoch"] > run["epoch"]
    asked = len(target.requests)
    wait_for(lambda: len(target.requests) > asked + 20, "the other one to go on", timeout=60)
    other.post(f"/api/v1/runs/{run['id']}/cancel")
    pause_all(other, [d["name"] for d in definitions])
    for definition in definitions:
        runs = other.runs(definition["name"])
        assert_every_due_time_once(runs, 500)
        assert all(r["state"] in ("succeeded", "skipped") for r in runs)


def test_pause_edit_delete_and_cancel_through_one_are_honoured_by_the_others(gang, targets):
    """Six actions, so that either of the two looks after some of them; all are changed through b."""
    old, new = targets(), targets()
    a, b = gang(2, heartbeat="500ms")
    names = [f"x{n}" for n in range(6)]

    def asked(target):
        paths = [request["path"] for request in list(target.requests)]
        return [paths.count(f"/{name}") for name in names]

    for name in names:
        a.create(name=name, kind="http", http={"url": f"{old.url}/{name}"}, schedule={"every": "200ms"})
    wait_for(lambda: min(asked(old)) > 2, "them to run")
    for name in names:
        assert b.request("PATCH", f"/api/v1/actions/{name}", {"http": {"url": f"{new.url}/{name}"}}).status == 200
    wait_for(lambda: min(asked(new)) > 1, "the new definitions")
    before = asked(old)
    wait_for(lambda: min(asked(new)) > 5, "the new definitions")
    assert all(count <= was + 1 for count, was in zip(asked(old), before))
    for name in names:
        assert b.post(f"/api/v1/actions/{name}/pause").status == 200
    wait_for(lambda: not a.runs(state="pending,running"), "the last runs")
    before = asked(new)
    wait_for(lambda: all(len(a.runs(name, state="skipped")) > 3 for name in names), "rows of paused due times")
    assert asked(new) == before
    a.create(name="long", **shell("sleep 300"))
    run = a.post("/api/v1/actions/long/run").json
    wait_running(a, "long")
    for server in (a, b):  # one of them is not the owner
        server.post(f"/api/v1/runs/{run['id']}/cancel")
    assert a.wait_run(run["id"])["state"] == "cancelled"
    assert b.request("DELETE", "/api/v1/actions/x0").status == 204
    assert a.get("/api/v1/actions/x0").status == 404


def test_a_drained_instance_hands_over_at_once(gang, tmp_path):
    a, b = gang(2, run_max="100ms")
    a.create(name="long", **shell(f"echo x >> {tmp_path}/starts; exec sleep 300"))
    run = a.post("/api/v1/actions/long/run").json
    running = wait_for(lambda: (r := a.get(f"/api/v1/runs/{run['id']}").json)["state"] == "running" and r, "it runs")
    owner = next(s for s in (a, b) if s.id == running["instance_id"])
    other = b if owner is a else a
    owner.stop(expect=3)
    again = wait_for(lambda: (r := other.get(f"/api/v1/runs/{run['id']}").json)["state"] == "running"
                     and r["epoch"] > running["epoch"] and r, "it goes on elsewhere", timeout=60)
    assert again["interruptions"] == 1 and again["attempt"] == 1
    other.post(f"/api/v1/runs/{run['id']}/cancel")
    other.wait_run(run["id"], states=["cancelled"])


def test_an_instance_is_drained_and_undrained_through_another(gang):
    """A balancer sends the operator's request to any of them."""
    a, b = gang(2)

    def seen(state):
        return next(i["state"] for i in a.get("/api/v1/instances").json["items"] if i["id"] == b.id) == state

    for _ in range(2):  # a wish that was fulfilled can be made again
        answer = a.post(f"/api/v1/instances/{b.id}/drain")
        assert (answer.status, answer.json) == (202, {"id": b.id, "asked_to": "drain"})
        wait_for(lambda: b.get("/health/ready").status == 503, "the drain")
        assert a.get("/health/ready").status == 200
        wait_for(lambda: seen("draining"), "the others to see it")
        assert "asked through the database" in a.cli("instance", "undrain", b.id).stdout
        wait_for(lambda: b.get("/health/ready").status == 200, "the undrain")
        wait_for(lambda: seen("ready"), "the others to see it")
    assert b.post("/api/v1/instances/self/drain").status == 200  # by itself, and back through the other
    assert a.post(f"/api/v1/instances/{b.id}/undrain").status == 202
    wait_for(lambda: b.get("/health/ready").status == 200, "the undrain")
    assert a.post("/api/v1/instances/0193aaaa-0000-7000-8000-000000000000/drain").status == 404


def test_the_due_times_of_a_frozen_instance_are_claimed_by_the_other(gang, targets):
    """It keeps its session, and with it its shards, until it is taken for dead; then all is as if it had ended."""
    target = targets()
    a, b = gang(2, lease="10s", heartbeat="1s")
    definitions = tick_definitions(target, 12, every="1s")
    assert a.post("/api/v1/actions", {"items": definitions}).status == 201
    wait_for(lambda: len(target.requests) > 48, "both at work")
    b.signal(signal.SIGSTOP)

    def latest():
        newest = "/runs?limit=1&state=succeeded"
        return {d["name"]: a.get(f"/api/v1/actions/{d['name']}{newest}").json["items"][0]["due_at"] for d in definitions}

    def is_served():
        newest = latest()
        return max(newest.values())[:18] == min(newest.values())[:18]  # within ten seconds of each other

    try:
        wait_for(lambda: b.id not in {i["id"] for i in a.get("/api/v1/instances").json["items"]}, "it to be taken for dead", timeout=60)
        wait_for(is_served, "its actions to be served", timeout=60)
    finally:
        b.signal(signal.SIGCONT)
    wait_for(lambda: b.id in {i["id"] for i in a.get("/api/v1/instances").json["items"]}, "it to be back", timeout=60)
    pause_all(a, [d["name"] for d in definitions])
    for definition in definitions:
        assert_every_due_time_once(a.runs(definition["name"]), 1000)


HEARS_TERM = 'trap "date +%s.%N > {0}/$GATHERING_RUN_ID; exit 1" TERM; echo ready > {0}/$GATHERING_RUN_ID.began; while :; do sleep 0.02; done'


def test_what_is_asked_of_another_instance_is_heard_at_once(gang, tmp_path):  # noqa: F811
    """Heartbeats are rare here: only the owner's being told ends a run in time."""
    one, two = gang(2, lease="10m", heartbeat="2m")
    one.create(name="long", overlap="allow", **shell(HEARS_TERM.format(tmp_path)))
    took = []
    for n in range(8):
        run = one.post("/api/v1/actions/long/run").json["id"]
        owner = one.wait_run(run, states=["running"])["instance_id"]
        wait_lines(tmp_path / f"{run}.began", "the trap")
        other, verb = (two if owner == one.id else one), ("cancel", "pause")[n % 2]
        asked = time.time()
        assert other.post(f"/api/v1/runs/{run}/{verb}").status == 202
        took.append(float(wait_lines(tmp_path / run, "TERM")[0]) - asked)
        assert other.wait_run(run)["state"] == ("cancelled", "held")[n % 2]
    print(f"heard after {statistics.median(took) * 1000:.0f} ms (median of {len(took)}, worst {max(took) * 1000:.0f} ms)")
    assert statistics.median(took) < 5
