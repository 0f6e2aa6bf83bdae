# SPDX-License-Identifier: Apache-2.0
"""How instances on one PostgreSQL divide the work, wake each other and notice each other's end, with the options
that ship. What must never happen whoever dies is in test_instances.py; here is how soon things happen, and how quietly."""
import contextlib
import datetime
import os
import re
import signal
import statistics
import time

import pytest

from gang import psql
from harness import Server, wait_for
from pg import Cluster, cluster, clusters  # noqa: F401 (fixtures)
from test_cluster_failover import Session
from test_instances import database, gang, pause_all, tick_definitions  # noqa: F401 (fixtures)
from test_scheduling import assert_every_due_time_once, at_ms, shell

SHARDS = 64


def shards(server):
    found = re.search(rb"^gathering_shards_owned (\d+)$", server.get("/metrics").body, re.M)
    return int(found.group(1))


def wait_shares(servers, *, what):
    """Each has its share, and together they have all: then nobody has one that is another's too."""
    share = -(-SHARDS // len(servers))

    def is_fair():
        held = [shards(server) for server in servers]
        return sum(held) == SHARDS and max(held) <= share and held

    return wait_for(is_fair, what)


def owner_of(servers, run):
    return next(server for server in servers if server.id == run["instance_id"])


def start_long(server, name="long"):
    """A run that lasts until somebody ends it, and its row when it runs."""
    run = server.post(f"/api/v1/actions/{name}/run").json
    return wait_for(lambda: (r := server.get(f"/api/v1/runs/{run['id']}").json)["state"] == "running" and r,
                    f"{name} runs")


def start_program(server, folder, name="long"):
    """The same, and its program runs too: the row says so before its owner knows."""
    run = start_long(server, name)
    wait_for((folder / "started").exists, "the program")
    return run


def wait_taken_over(server, run):
    return wait_for(lambda: (r := server.get(f"/api/v1/runs/{run['id']}").json)["epoch"] > run["epoch"]
                    and r["state"] == "running" and r, "the takeover", timeout=60)


def cancel(server, run):
    assert server.post(f"/api/v1/runs/{run['id']}/cancel").status in (200, 202)
    return server.wait_run(run["id"], states=["cancelled"])


def no_one_was_declared_dead(servers):
    for server in servers:
        for words in ("has died", "is gone", "recovered runs", "taken over"):
            assert words not in server.log, server.log
    return True


# --- who looks after what ---

def test_shards_are_shared_fairly_and_again_after_a_kill_and_a_join(gang):
    a, b, c = gang(3)
    assert sorted(wait_shares([a, b, c], what="three shares")) == [20, 22, 22]
    c.kill()
    assert wait_shares([a, b], what="two shares after a kill") == [32, 32]
    (d,) = gang(1)
    assert sorted(wait_shares([a, b, d], what="three shares after a join")) == [20, 22, 22]
    d.stop()
    assert wait_shares([a, b], what="two shares after a stop") == [32, 32]


def test_actions_created_through_one_start_on_time_whoever_looks_after_them(gang, targets):
    """The poll is most of a minute away: without a word from the other this would be late by that."""
    target = targets()
    a, b = gang(2)
    wait_shares([a, b], what="two shares")
    names = [f"soon{n}" for n in range(12)]
    for name in names:
        a.create(name=name, kind="http", http={"url": target.url}, schedule={"every": "2s"})
    runs = [wait_for(lambda: a.runs(name, state="succeeded"), f"the first run of {name}")[-1] for name in names]
    lags = [at_ms(run["started_at"]) - at_ms(run["due_at"]) for run in runs]
    print("lags of the first runs in ms:", lags)
    assert max(lags) < 20000 and statistics.median(lags) < 5000
    assert {run["instance_id"] for run in runs} == {a.id, b.id}
    pause_all(b, names)


def test_a_change_through_one_reaches_the_window_of_another(gang, targets):
    """What is due in an hour is moved to now."""
    target = targets()
    a, b = gang(2)
    wait_shares([a, b], what="two shares")
    names = [f"far{n}" for n in range(8)]
    for name in names:
        a.create(name=name, kind="http", http={"url": target.url}, schedule={"every": "1h"})
    began = time.monotonic()
    for name in names:
        assert b.request("PATCH", f"/api/v1/actions/{name}", {"schedule": {"every": "1s"}}).status == 200
    for name in names:
        wait_for(lambda: a.runs(name, state="succeeded"), f"a run of {name}", timeout=40)
    print(f"all eight had run after {time.monotonic() - began:.1f} s")
    pause_all(b, names)


def test_a_cancel_through_another_instance_is_heard_at_once(gang, tmp_path):
    a, b = gang(2, heartbeat="60s", lease="200s")
    wait_shares([a, b], what="two shares")
    a.create(name="long", **shell(f"touch {tmp_path}/started; exec sleep 300"))
    run = start_program(a, tmp_path)
    owner = owner_of([a, b], run)
    other = b if owner is a else a
    began = time.monotonic()
    cancel(other, run)
    print(f"cancelled {time.monotonic() - began:.3f} s later")
    assert time.monotonic() - began < 10  # a heartbeat would have told it in a minute


def test_a_run_handed_back_starts_elsewhere_at_once(gang, tmp_path):
    a, b = gang(2, run_max="50ms")
    wait_shares([a, b], what="two shares")
    a.create(name="long", **shell(f"touch {tmp_path}/started; exec sleep 300"))
    run = start_program(a, tmp_path)
    owner = owner_of([a, b], run)
    other = b if owner is a else a
    owner.stop(expect=3)
    began = time.monotonic()
    again = wait_taken_over(other, run)
    assert time.monotonic() - began < 10  # the poll would have found it within a minute
    assert again["interruptions"] == 1
    cancel(other, run)


# --- who has died ---

def test_the_runs_of_a_killed_instance_restart_within_two_seconds(gang):
    """With the lease and heartbeat that ship: 30 s and 5 s."""
    servers, took = gang(3), []
    servers[0].create(name="long", on_interrupt="retry", **shell("exec sleep 300"))
    for _ in range(10):
        wait_shares(servers, what="shares, so all of them are watched")
        run = start_long(servers[0])
        owner = owner_of(servers, run)
        servers.remove(owner)
        began = time.monotonic()
        owner.kill()
        again = wait_taken_over(servers[0], run)
        took.append(time.monotonic() - began)
        assert again["interruptions"] == 1 and again["instance_id"] in {server.id for server in servers}
        cancel(servers[0], run)
        servers += gang(1)
    print("restarted elsewhere after", ", ".join(f"{s:.2f}" for s in took), "s")
    assert max(took) < 12 and statistics.median(took) < 5  # 1.2 s are the grace; a noisy machine gets more


def test_nobody_is_declared_dead_for_a_restart_of_postgresql(gang, cluster, tmp_path):  # noqa: F811
    """Every session lock is gone at once, and the work goes on."""
    servers = gang(3)
    wait_shares(servers, what="three shares")
    for n in range(3):
        servers[0].create(name=f"long{n}", **shell(f"echo x >> {tmp_path}/starts{n}; exec sleep 300"))
    runs = [start_long(servers[0], f"long{n}") for n in range(3)]
    for mode in ("immediate", "fast"):
        cluster.restart(mode)
        wait_for(lambda: all(server.get("/api/v1/runs?limit=1").status == 200 for server in servers), "the database")
        wait_shares(servers, what=f"three shares after restart {mode}")
    time.sleep(3)  # longer than the grace: had anybody been suspected, this would be the moment
    for n, run in enumerate(runs):
        now = servers[0].get(f"/api/v1/runs/{run['id']}").json
        assert (now["state"], now["epoch"], now["instance_id"]) == ("running", run["epoch"], run["instance_id"])
        assert (tmp_path / f"starts{n}").read_text() == "x\n"
        cancel(servers[1], run)
    assert no_one_was_declared_dead(servers)


def test_nobody_is_declared_dead_whose_sessions_are_ended(gang, cluster):  # noqa: F811
    """One alone loses its lock of life, again and again: it says that it lives, and takes the lock anew."""
    a, b = gang(2)
    wait_shares([a, b], what="two shares")
    a.create(name="long", **shell("exec sleep 300"))
    run = start_long(a)
    for _ in range(3):
        wait_shares([a, b], what="two shares")
        ended = cluster.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid = (SELECT min(pid)"
                            " FROM pg_stat_activity WHERE application_name = 'gathering session' AND datname = "
                            f"'{a.database.rsplit('/', 1)[1]}')")
        assert ended == "1"
        time.sleep(1.5)  # longer than the grace
    assert a.get(f"/api/v1/runs/{run['id']}").json["epoch"] == run["epoch"]
    assert no_one_was_declared_dead([a, b])
    cancel(b, run)


def test_an_instance_that_hangs_keeps_its_runs_until_the_lease_ends(gang):
    """Its session still holds the lock of life: no sign of death."""
    a, b = gang(2, lease="10s", heartbeat="1s")
    wait_shares([a, b], what="two shares")
    a.create(name="long", **shell("exec sleep 300"))
    run = start_long(a)
    owner = owner_of([a, b], run)
    other = b if owner is a else a
    owner.signal(signal.SIGSTOP)
    began = time.monotonic()
    wait_taken_over(other, run)
    took = time.monotonic() - began
    owner.signal(signal.SIGCONT)
    print(f"taken over after {took:.1f} s")
    assert took > 8  # the lease is extended once a second
    cancel(other, run)


def test_a_run_whose_claim_was_answered_too_late_does_not_start_on_that_lease(gang, tmp_path):
    """The claim stands still for longer than its lease is good for, while heartbeats go on: they do not name it."""
    (a,) = gang(1, lease="10s", heartbeat="1s")  # work ends 5 s before the lease does
    wait_shares([a], what="all shares")
    due = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(seconds=15)
    a.create(name="late", schedule={"every": "1h", "anchor": due.strftime("%Y-%m-%dT%H:%M:%SZ")},
             **shell(f"touch {tmp_path}/started; exec sleep 300"))
    a.create(name="other", kind="noop")
    a.wait_run(a.post("/api/v1/actions/other/run").json["id"])
    obstacle = Session(a.database, """INSERT INTO gathering.run SELECT (json_populate_record(r, json_build_object('id', gathering.make_id(),
        'action_id', a.id, 'due_at', a.next_due_at))).* FROM gathering.run r, gathering.action a WHERE a.name = 'late'""")
    claim = "application_name = 'gathering claims' AND wait_event_type = 'Lock' AND datname = current_database()"
    wait_for(lambda: psql(a.database, f"SELECT count(*) FROM pg_stat_activity WHERE {claim}") == "1", "the claim to wait")
    time.sleep(6)  # the fault
    wait_for(lambda: psql(a.database, "SELECT heartbeat_at > xact_start + interval '1 s' FROM gathering.instance, pg_stat_activity"
                          f" WHERE {claim}") == "t", "a heartbeat meanwhile")
    released = psql(a.database, "SELECT now()")
    obstacle.close()
    wait_for((tmp_path / "started").exists, "the program")
    assert psql(a.database, f"SELECT claimed_at > timestamptz '{released}' - interval '5 s' FROM gathering.run WHERE state = 'running'") == "t"
    cancel(a, a.runs("late", state="running")[0])


# --- quietly ---

IDLE_S = 60


class Idle:
    """Two instances with nothing to do, on a PostgreSQL of their own that writes down what it is asked, and when."""

    def __init__(self, folder):
        self.cluster, self.servers = None, []
        try:
            self.cluster = Cluster("--set", "log_statement=all", "--set", "log_line_prefix=%a|%n|", "--set", "log_min_messages=log")
            self.servers = [Server(folder, database=self.cluster.url).spawn() for _ in range(2)]
            for server in self.servers:
                server.wait_listening()
            wait_shares(self.servers, what="two shares")
        except BaseException:
            self.close()
            raise
        self.began_s = time.time() + 3  # what the start brought with it is over then

    def statements(self):
        """Of a minute; waits for its end."""
        time.sleep(max(0, self.began_s + IDLE_S + 1 - time.time()))
        with open(os.path.join(self.cluster.folder, "log"), encoding="utf-8", errors="replace") as log:
            found = re.findall(r"^(gathering[^|]*)\|([0-9.]+)\|LOG:  (?:execute|statement)", log.read(), re.M)
        return [name for name, at in found if self.began_s <= float(at) < self.began_s + IDLE_S]

    def close(self):
        with contextlib.ExitStack() as stack:
            if self.cluster:
                stack.callback(self.cluster.close)
            for server in self.servers:
                stack.callback(server.close)


IDLE_TEST = "test_an_idle_instance_sends_few_statements"


@pytest.fixture(scope="module", autouse=True)
def idle(request, tmp_path_factory):
    """Begins with the file, so that the minute passes while others work."""
    if not any(item.name == IDLE_TEST for item in request.session.items):
        yield None
        return
    one = Idle(tmp_path_factory.mktemp("idle"))
    yield one
    one.close()


def test_an_idle_instance_sends_few_statements(idle):
    """Six a minute on average (README); in one given minute two looks of two statements, three heartbeats and one
    of each of the rarer ones may come together."""
    names = idle.statements()
    print(f"{len(names) / 2 * 60 / IDLE_S:.1f} statements a minute and instance:")
    for name in sorted(set(names)):
        print(f"  {name}: {names.count(name)}")
    assert len(names) > 0
    assert len(names) <= 2 * 9, names


# --- through a transaction pooler ---

def test_behind_a_transaction_pooler_all_works_and_one_line_says_what_fell_back(clusters, servers, targets):  # noqa: F811
    pooled = clusters("--pooler")
    target = targets()
    a, b = [servers(database=pooled.pooler_url, exec_enabled=True, lease="10s", heartbeat="1s").spawn() for _ in range(2)]
    for server in (a, b):
        server.wait_listening()
        wait_for(lambda: server.get("/health/startup").status == 200, f"a start\n{server.log}")
        assert server.log.count("transaction pooler") == 1, server.log
    definitions = tick_definitions(target, 3)
    assert a.post("/api/v1/actions", {"items": definitions}).status == 201
    wait_for(lambda: len(target.requests) >= 30, "5 s of six a second", timeout=60)
    pause_all(b, [d["name"] for d in definitions])
    for definition in definitions:
        assert_every_due_time_once(a.runs(definition["name"]), 500)
    a.create(name="long", **shell("exec sleep 300"))
    run = start_long(a)
    owner = owner_of([a, b], run)
    other = b if owner is a else a
    assert [shards(a), shards(b)] == [SHARDS, SHARDS]
    owner.kill()
    wait_taken_over(other, run)  # within the lease
    cancel(other, run)
    assert "prepared statement" not in a.log.replace("no prepared statements", "") + b.log.replace(
        "no prepared statements", "")


def test_a_direct_connection_is_not_taken_for_a_pooler(gang):
    (a,) = gang(1)
    wait_for(lambda: "sharing the work" in a.log, "the session")
    assert "transaction pooler" not in a.log
