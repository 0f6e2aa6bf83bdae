# SPDX-License-Identifier: Apache-2.0
"""What a stop, a roll or a lost database does to runs: nothing starts once it has begun, nothing is lost, nothing
runs twice, and what does not end is ended (LIFECYCLE tests 24 to 28, 30, 31, 33, 36, 37)."""
import concurrent.futures
import datetime
import os
import signal
import subprocess
import threading
import time

import pytest

from harness import Server, has_ended, shell, wait_for, wait_lines
from pg import Cluster, cluster  # noqa: F401 (a fixture)
from test_scheduling import assert_every_due_time_once

GRACE_S = 5  # before readiness sees a lost database
WATCHER = {"User-Agent": "gathering/test"}  # not a prober: a stop does not wait for it


@pytest.fixture
def database(cluster):  # noqa: F811
    """A database of the test's own in the file's cluster."""
    name = f"t{time.monotonic_ns()}"
    cluster.sql(f"CREATE DATABASE {name}")
    return cluster.url.rsplit("/", 1)[0] + "/" + name


# --- programs that do not end ---

def test_a_program_that_ignores_term_is_killed_after_the_grace(servers, tmp_path):
    server = servers(exec_enabled=True, run_max="0s", term_grace="1s").start()
    server.create(name="deaf", **shell(f"trap 'echo term >> {tmp_path}/heard' TERM; echo $$ >> {tmp_path}/pid; "
                                       "while :; do sleep 0.1; done"))
    server.post("/api/v1/actions/deaf/run")
    pid = int(wait_lines(tmp_path / "pid", "the program")[0])
    began = time.monotonic()
    server.stop(expect=3)
    assert 1 <= time.monotonic() - began < 15  # term_grace; total_max is 25 s
    assert wait_lines(tmp_path / "heard", "TERM before KILL") and has_ended(pid)


def test_what_a_program_has_left_in_the_background_ends_with_it(servers, tmp_path):
    server = servers(exec_enabled=True, run_max="0s").start()
    server.create(name="forks", **shell(f"nohup sleep 300 >/dev/null 2>&1 & echo $! >> {tmp_path}/pid; exec sleep 300"))
    server.post("/api/v1/actions/forks/run")
    pid = int(wait_lines(tmp_path / "pid", "the program")[0])
    try:
        server.stop(expect=3)
        wait_for(lambda: has_ended(pid), "the end of the whole group")
    finally:
        if not has_ended(pid):
            os.kill(pid, signal.SIGKILL)


def test_a_run_interrupted_four_times_fails_by_its_retry_policy(servers, tmp_path):
    server = servers(exec_enabled=True, run_max="0s").start()
    server.create(name="long", **shell(f"echo x >> {tmp_path}/starts; exec sleep 300"))
    run = server.post("/api/v1/actions/long/run").json["id"]
    for n in range(1, 5):
        wait_lines(tmp_path / "starts", f"start {n}", n)
        found = server.get(f"/api/v1/runs/{run}").json
        assert (found["state"], found["interruptions"], found["attempt"]) == ("running", n - 1, 1)
        server.stop(expect=3)
        server = servers(exec_enabled=True, run_max="0s").start()
    found = server.get(f"/api/v1/runs/{run}").json
    assert (found["state"], found["reason"], found["attempt"]) == ("failed", "shutdown", 1)
    server.stop()


# --- due times ---

def test_of_1000_due_in_a_drain_none_starts_and_the_next_start_runs_each_once(servers, targets):
    """They are made while it drains, and are due some seconds later: sooner they might be made too late."""
    target = targets()
    server = servers().start()
    assert server.post("/api/v1/instances/self/drain").status == 200
    due = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=8)
    items = [{"name": f"a{n}", "kind": "http", "http": {"url": target.url}, "schedule": {"at": due.isoformat()}}
             for n in range(1000)]
    assert server.post("/api/v1/actions", {"items": items}).status == 201
    wait_for(lambda: time.time() > due.timestamp() + 1, "a second after they were due")
    server.stop()
    assert target.requests == []
    server = servers().start()
    wait_for(lambda: len(target.requests) == 1000 and not server.runs(state="pending,running"), "all of them", timeout=60)
    assert len({request["headers"]["Idempotency-Key"] for request in target.requests}) == 1000
    assert [run["state"] for run in server.runs()] == ["succeeded"] * 1000
    server.stop()


def test_rolls_of_two_instances_while_actions_come_due_miss_and_double_nothing(servers, targets, database):
    """Attempts that last are under way whenever one starts: it must not take them for lost."""
    target = targets(lambda entry: time.sleep(0.4) or (200, b"ok"))
    made = []

    def start():
        made.append(servers(database=database).start())
        return made[-1]

    pair = [start() for _ in range(2)]
    names = [f"a{n}" for n in range(4)]
    assert pair[0].post("/api/v1/actions", {"items": [
        {"name": name, "kind": "http", "http": {"url": target.url}, "overlap": "allow", "misfire": "all", "schedule": {"every": "500ms"}}
        for name in names]}).status == 201
    for _ in range(2):
        for at in range(2):
            asked = len(target.requests)
            wait_for(lambda: len(target.requests) > asked + 8, "requests")
            pair[at].stop()
            pair[at] = start()
    asked = len(target.requests)
    wait_for(lambda: len(target.requests) > asked + 8, "requests")
    for name in names:
        assert pair[0].post(f"/api/v1/actions/{name}/pause").status == 200
    wait_for(lambda: not pair[1].runs(state="pending,running"), "the last runs")
    runs = [run for name in names for run in pair[1].runs(name)]
    for name in names:
        assert_every_due_time_once(pair[1].runs(name), 500)
    assert {run["state"] for run in runs} <= {"succeeded", "skipped"}
    assert {run["reason"] for run in runs if run["state"] == "skipped"} <= {"paused"}
    # what was claimed in the instant of a stop and handed back unstarted was not interrupted
    assert {run["interruptions"] for run in runs} == {0}
    assert not [server for server in made if "recovered runs" in server.log]
    keys = [request["headers"]["Idempotency-Key"] for request in target.requests]
    assert len(keys) == len(set(keys)) == len([run for run in runs if run["state"] == "succeeded"])


# --- the database ---

@pytest.fixture
def own_cluster():
    one = Cluster()
    yield one
    one.close()


def test_a_result_is_recorded_after_the_database_came_back_in_the_drain(servers, own_cluster, tmp_path):
    url = own_cluster.url
    server = servers(database=url, exec_enabled=True, run_max="60s", db_max="60s", total_max="120s").start()
    server.create(name="slow", **shell(f"echo began >> {tmp_path}/said; until test -e {tmp_path}/go; do sleep 0.05; done; "
                                       f"echo ended >> {tmp_path}/said"))
    run = server.post("/api/v1/actions/slow/run").json["id"]
    wait_lines(tmp_path / "said", "the program")
    server.signal(signal.SIGTERM)
    wait_for(lambda: "scheduler_stopped" in server.stop_events, "the drain to wait for the run")
    own_cluster.stop("immediate")
    (tmp_path / "go").touch()
    wait_lines(tmp_path / "said", "the program's end", 2)
    wait_for(lambda: "a result cannot be recorded now" in server.log, "a first try")
    own_cluster.start()
    assert server.wait(60) == 0, server.log
    server = servers(database=url).start()
    found = server.get(f"/api/v1/runs/{run}").json
    assert (found["state"], found["attempt"], found["interruptions"]) == ("succeeded", 1, 0)
    assert len(server.runs("slow")) == 1 and len(wait_lines(tmp_path / "said", "lines")) == 2
    server.stop()


class Prober:
    """Asks for readiness and liveness until told to end; keeps every change of readiness, and how long
    liveness took."""

    def __init__(self, server):
        self.server, self.changes, self.took_s, self.lives = server, [], [], set()
        self.is_ending = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.is_ending.is_set():
            began = time.monotonic()
            self.lives.add(self.server.get("/health/live", headers=WATCHER).status)
            self.took_s.append(time.monotonic() - began)
            status = self.server.get("/health/ready", headers=WATCHER).status
            if not self.changes or self.changes[-1] != status:
                self.changes.append(status)
            self.is_ending.wait(0.03)

    def end(self):
        self.is_ending.set()
        self.thread.join()


def lose_database(folder, lose, regain):
    """For a moment, then for longer than the grace; -> what readiness said then, the prober."""
    os.makedirs(folder)
    one = Cluster()
    server = Server(folder, database=one.url).start()
    prober = Prober(server)
    try:
        lost_at = time.monotonic()
        lose(one)
        time.sleep(2)  # the length of the loss is the test
        regain(one)
        wait_for(lambda: server.get("/api/v1/actions").status == 200, "the database")
        if time.monotonic() - lost_at < GRACE_S - 1:
            assert prober.changes == [200], "a short loss is not told to the balancer"
        wait_for(lambda: server.get("/health/ready", headers=WATCHER).status == 200, "readiness")
        wait_for(lambda: prober.changes[-1] == 200, "the prober to see it")
        seen = len(prober.changes)
        lose(one)
        wait_for(lambda: prober.changes[-1] == 503, "the end of the grace")
        regain(one)
        wait_for(lambda: prober.changes[-1] == 200, "readiness")
        prober.end()
        server.stop()
    finally:
        prober.end()
        server.close()
        one.close()
    return prober.changes[seen:], prober


def test_readiness_sees_a_lost_database_after_its_grace_and_liveness_never(tmp_path):
    """Once it is down and once it hangs, side by side."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        down = pool.submit(lose_database, tmp_path / "down", lambda one: one.stop(), lambda one: one.start())
        hangs = pool.submit(lose_database, tmp_path / "hangs", lambda one: one.freeze(), lambda one: one.thaw())
        for changes, prober in (down.result(), hangs.result()):
            print(f"liveness: slowest of {len(prober.took_s)} answers {max(prober.took_s) * 1000:.0f} ms")
            assert changes == [503, 200]
            assert prober.lives == {200}
            assert max(prober.took_s) < 8  # 10 ms on an idle machine


SLOW_DDL = """
CREATE FUNCTION public.dawdle() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.5); END $$;
CREATE EVENT TRIGGER slow ON ddl_command_start EXECUTE FUNCTION public.dawdle()"""


def test_a_signal_during_a_long_migration_leaves_all_or_nothing(servers, own_cluster):
    """Every statement of it takes half a second."""
    own_cluster.sql(SLOW_DDL)
    server = servers(database=own_cluster.url).spawn().wait_listening()
    migrating = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    wait_for(lambda: own_cluster.sql(migrating) == "1", "the migration")
    assert server.get("/health/live").status == 200
    startup = server.get("/health/startup")
    assert (startup.status, startup.json["reason"]) == (503, "starting")
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0, server.log
    assert time.monotonic() - began < 10
    wait_for(lambda: own_cluster.sql(migrating) == "0", "the server of the connection to notice", timeout=120)
    assert own_cluster.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'gathering'") == "0"
    own_cluster.sql("DROP EVENT TRIGGER slow")
    server = servers(database=own_cluster.url).start()
    assert server.get("/health/ready").status == 200
    server.stop()


def test_a_newer_schema_is_used_as_long_as_it_says_so_and_refused_after(servers, database, cluster):  # noqa: F811
    servers(database=database).start().stop()
    name = database.rsplit("/", 1)[1]
    newest = int(psql(cluster, name, "SELECT max(version) FROM gathering.migration"))
    psql(cluster, name, f"INSERT INTO gathering.migration (version, name, min_version) VALUES ({newest + 1}, 'next', {newest})")
    server = servers(database=database).start()
    server.create(name="works", kind="http", http={"url": "http://127.0.0.1:9/"})
    server.stop()
    psql(cluster, name, f"INSERT INTO gathering.migration (version, name, min_version) VALUES ({newest + 2}, 'after', {newest + 1})")
    server = servers(database=database).spawn()
    assert server.wait() == 1
    assert "newer gathering" in server.log and str(newest + 2) in server.log


def psql(cluster, name, text):  # noqa: F811
    """In a database that is not the cluster's first."""
    done = subprocess.run(["psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", cluster.url.rsplit("/", 1)[0] + "/" + name, "-c", text],
                          capture_output=True, text=True, check=True)
    return done.stdout.split("\n")[0]
