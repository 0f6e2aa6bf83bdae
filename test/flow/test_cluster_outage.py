# SPDX-License-Identifier: Apache-2.0
"""Several instances when PostgreSQL restarts, is away or stands still, and when one of them does."""
import os
import signal
import statistics
import time

import pytest

from gang import Gang
from harness import seeded, wait_for
from pg import cluster, clusters  # noqa: F401 (fixtures)

AWAY_S = 8
LEASE_S = 10


@pytest.fixture
def gang(servers, cluster, tmp_path):  # noqa: F811
    """Makes gangs, each on a database of its own in the file's cluster."""
    def make(**options):
        name = f"t{time.monotonic_ns()}"
        cluster.sql(f"CREATE DATABASE {name}")
        return Gang(servers, tmp_path, cluster.url.rsplit("/", 1)[0] + "/" + name, **options)

    return make


def assert_nobody_died(gang):
    for server in gang.servers:
        assert "an instance is gone" not in server.log, server.log
        assert "taken over" not in server.log, server.log


def test_a_restart_and_8_s_without_postgresql_lose_and_double_nothing_and_end_nobodys_work(gang, cluster):  # noqa: F811
    rng = seeded()
    two = gang()
    two.start(2)
    two.schedule(rng, longest_s=1.0)
    two.any().create(name="long", **two.run_program(AWAY_S + 8))
    assert two.any().post("/api/v1/actions/long/run").status == 202
    two.wait_effects(12)
    cluster.restart("immediate")
    two.wait_effects(12)
    cluster.stop("immediate")
    time.sleep(AWAY_S)  # the outage
    assert {server.get("/health/live").status for server in two.servers} == {200}
    cluster.start()
    two.wait_effects(12)
    wait_for(lambda: any(e.word == "end" and e.action == "long" for e in two.effects()), "the long one")
    two.settle()
    two.assert_exactly_once()
    assert_nobody_died(two)


def owner_of(gang, run_id, servers):
    run = wait_for(lambda: (r := servers[0].get(f"/api/v1/runs/{run_id}").json)["state"] == "running" and r, "it runs")
    pid = gang_pid(gang, run["instance_id"])
    return run, next(s for s in servers if s.pid == pid)


def gang_pid(gang, instance_id):
    items = gang.any().get("/api/v1/instances").json["items"]
    return next((item["pid"] for item in items if item["id"] == instance_id), None)


def is_running(pid):
    """A zombie is dead: its parent stands still."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


IGNORE_FIRST = "[ $(wc -l <{pids}) -gt 1 ] || trap '' TERM; while :; do sleep 1; done"


@pytest.mark.parametrize("word, restarts", [("exec sleep 300", False), (IGNORE_FIRST, False), ("exec sleep 300", True)],
                         ids=["polite", "ignores_term", "and_no_session_is_left_to_hold_a_lock"])
def test_the_program_of_a_frozen_instance_is_dead_before_its_lease_ends_and_its_result_is_refused(gang, cluster, word, restarts):  # noqa: F811
    two = gang(lease=f"{LEASE_S}s", heartbeat="1s", term_grace="60s", total_max="90s")
    servers = two.start(2)
    pids = os.path.join(two.folder, "pids")
    # the second one asks whether the first is still there
    script = f"for p in $(cat {pids}); do grep -q '^State:[[:space:]]*[RSDTt]' /proc/$p/status && echo $p >>{pids}.alive; done; " \
             f"echo $$ >>{pids}; " + word.replace("{pids}", pids)
    servers[0].create(name="long", kind="exec", on_interrupt="retry", exec={"shell": True, "command": script})
    run_id = servers[0].post("/api/v1/actions/long/run").json["id"]
    run, owner = owner_of(two, run_id, servers)
    other = next(s for s in servers if s is not owner)
    first = int(wait_for(lambda: os.path.exists(pids) and (t := open(pids, encoding="utf-8").read()).endswith("\n") and t, "its pid"))
    owner.signal(signal.SIGSTOP)
    frozen_at = time.monotonic()
    if restarts:
        cluster.restart("immediate")
    wait_for(lambda: not is_running(first), "the program to be ended", timeout=LEASE_S)
    died_after = time.monotonic() - frozen_at
    again = wait_for(lambda: (r := other.get(f"/api/v1/runs/{run_id}").json)["epoch"] > run["epoch"] and r, "the takeover", timeout=60)
    print(f"the program was ended {died_after:.1f} s after the freeze, the run taken over after {time.monotonic() - frozen_at:.1f} s")
    assert died_after < LEASE_S
    assert again["interruptions"] == 1
    wait_for(lambda: len(open(pids, encoding="utf-8").read().split()) == 2, "the second program")
    assert not os.path.exists(pids + ".alive")
    owner.signal(signal.SIGCONT)
    wait_for(lambda: "stale" in owner.log, "its result to be refused")
    now = other.get(f"/api/v1/runs/{run_id}").json
    assert (now["state"], now["epoch"]) == ("running", again["epoch"])
    other.post(f"/api/v1/runs/{run_id}/cancel")
    other.wait_run(run_id, states=["cancelled"])


def test_postgresql_that_stands_still_does_not_hold_up_live_and_ready_turns(gang, cluster):  # noqa: F811
    rng = seeded()
    one = gang(lease=f"{LEASE_S}s", heartbeat="500ms")
    server, = one.start(1)
    one.schedule(rng)
    one.wait_effects(6)
    assert server.get("/health/ready").status == 200
    took_ms = []

    def ask(path):
        began = time.monotonic()
        answer = server.get(path)
        took_ms.append((time.monotonic() - began) * 1000)
        return answer

    cluster.freeze()
    try:
        def has_turned():
            assert ask("/health/live").status == 200
            return (answer := ask("/health/ready")).status == 503 and answer
        assert wait_for(has_turned, "ready to turn").json["reason"] == "database"
        while len(took_ms) < 400:
            assert ask("/health/live").status == 200
    finally:
        cluster.thaw()
    print(f"live and ready while PostgreSQL stood still: median {statistics.median(took_ms):.2f} ms, worst {max(took_ms):.1f} ms")
    assert statistics.median(took_ms) < 100  # on an idle machine 1; a noisy one gets more
    wait_for(lambda: server.get("/health/ready").status == 200, "ready again")
    one.wait_effects(6)
    one.settle()
    one.assert_exactly_once(interrupted=True)  # a claim came through whose answer did not: recovered after the lease
