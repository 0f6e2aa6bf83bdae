# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL that fails over to its replica, and instances that start on a database nobody has migrated yet."""
import json
import subprocess
import threading
import time

from gang import Gang, psql, seeded
from harness import wait_for
from pg import cluster, clusters  # noqa: F401 (fixtures)

MIGRATION_LOCK = "locktype = 'advisory' AND classid = 1198811250 AND objid = 1 AND objsubid = 2"


class Writer(threading.Thread):
    """Triggers runs of an action through one instance after the other; `told` are those that were acknowledged."""

    def __init__(self, gang, action):
        super().__init__(daemon=True)
        self.gang, self.action = gang, action
        self.told, self.refused, self.over = [], 0, threading.Event()
        self.start()

    def run(self):
        turn = 0
        while not self.over.wait(0.05):
            turn += 1
            try:
                answer = self.gang.servers[turn % len(self.gang.servers)].post(f"/api/v1/actions/{self.action}/run")
            except OSError:
                continue
            if answer.status == 202:
                self.told.append(json.loads(answer.body)["id"])
            else:
                self.refused += 1

    def stop(self):
        self.over.set()
        self.join()


def test_failover_with_synchronous_replication_loses_nothing_acknowledged_and_doubles_nothing(servers, clusters, tmp_path):  # noqa: F811
    rng = seeded()
    primary = clusters("--set", "synchronous_standby_names=*")
    replica = clusters("--replica-of", primary.folder)
    wait_for(lambda: primary.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1", "the replica to follow")
    url = f"postgresql://postgres@127.0.0.1:{primary.port},127.0.0.1:{replica.port}/postgres?target_session_attrs=read-write"
    gang = Gang(servers, tmp_path, url)
    gang.start(2)
    gang.schedule(rng, longest_s=0.5)
    gang.any().create(name="long", **gang.run_program(10))
    gang.any().create(name="asked", overlap="allow", **gang.run_program())
    gang.any().post("/api/v1/actions/long/run")
    writer = Writer(gang, "asked")
    gang.wait_effects(18)
    primary.stop("immediate")
    replica.promote()
    gang.wait_effects(18)
    writer.stop()
    wait_for(lambda: any(e.word == "end" and e.action == "long" for e in gang.effects()), "the long one")
    gang.settle()
    runs = {run["id"]: run for run in gang.assert_exactly_once()}
    print(f"{len(writer.told)} acknowledged, {writer.refused} refused, {len(runs)} in the ledger")
    assert len(writer.told) > 20
    assert {run_id: "" for run_id in writer.told if run_id not in runs} == {}
    for server in gang.servers:
        assert "an instance is gone" not in server.log and "taken over" not in server.log, server.log


CLOCK = """CREATE OR REPLACE FUNCTION gathering.clock() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT
    date_trunc('milliseconds', now() + coalesce(nullif(current_setting('test.skew', true), ''), '0 s')::interval) $$"""


def test_a_failover_to_a_clock_that_is_wrong_ends_and_doubles_nothing(servers, cluster, tmp_path):  # noqa: F811
    """The setting is that of new sessions, so the clock changes with the restart, as with another server."""
    name = f"t{time.monotonic_ns()}"
    cluster.sql(f"CREATE DATABASE {name}")
    gang = Gang(servers, tmp_path, cluster.url.rsplit("/", 1)[0] + "/" + name)
    gang.start(2)
    psql(gang.url, CLOCK)
    gang.any().create(name="tick", overlap="allow", misfire="all", schedule={"every": "500ms"}, **gang.run_program())
    longs = []
    for n in range(2):
        gang.any().create(name=f"long{n}", on_interrupt="retry", **gang.run_program(300))
        longs.append(gang.any().post(f"/api/v1/actions/long{n}/run").json["id"])
    gang.wait_effects(6)
    for skew_s in (-5, 8):  # a step of less than half a lease
        psql(gang.url, f"ALTER DATABASE {name} SET test.skew = '{skew_s} s'")
        cluster.restart("immediate")
        wait_for(lambda: abs(float(psql(gang.url, "SELECT extract(epoch FROM gathering.clock() - now())")) - skew_s) < 1, "the other clock")
        gang.wait_effects(6, timeout=90)  # behind: what has been claimed already comes up again first
    time.sleep(3)  # longer than the grace: had anybody been accused, this would be the moment
    for run_id in longs:
        run = gang.any().get(f"/api/v1/runs/{run_id}").json
        assert (run["state"], run["epoch"], run["interruptions"]) == ("running", 1, 0)
        gang.any().post(f"/api/v1/runs/{run_id}/cancel")
        gang.any().wait_run(run_id, states=["cancelled"])
    assert gang.any().post("/api/v1/actions/tick/pause").status == 200
    wait_for(lambda: not gang.any().runs(state="pending,running"), "the last runs")
    runs = [run for run in gang.ledger() if run["action"] == "tick"]
    started = [effect for effect in gang.effects() if effect.word == "start" and effect.action == "tick"]
    assert len({run["due_at"] for run in runs}) == len(runs)
    assert len(started) == len({effect.key for effect in started}) == sum(run["state"] == "succeeded" for run in runs)
    for server in gang.servers:
        assert "taken over" not in server.log and "is gone" not in server.log.replace("recovered runs of an instance that is gone", ""), server.log


class Session:
    """psql in a transaction that holds locks until it is closed."""

    def __init__(self, url, text):
        self.process = subprocess.Popen(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdin.write(f"BEGIN; {text}; SELECT 'done';\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def close(self):
        self.process.communicate("ROLLBACK;\n", timeout=30)


def has_port(pid, ports):
    """Is one of these the process's end of a connection? Its sockets, by inode, against the kernel's table."""
    done = subprocess.run(["ls", "-l", f"/proc/{pid}/fd"], capture_output=True, text=True, check=False).stdout
    with open("/proc/net/tcp", encoding="ascii") as file:
        for fields in (line.split() for line in file.readlines()[1:]):
            if f"socket:[{fields[9]}]" in done and int(fields[1].split(":")[1], 16) in ports:
                return True
    return False


def test_the_migration_goes_on_elsewhere_when_its_instance_is_killed(servers, cluster, tmp_path):  # noqa: F811
    name = f"t{time.monotonic_ns()}"
    cluster.sql(f"CREATE DATABASE {name}")
    url = cluster.url.rsplit("/", 1)[0] + "/" + name
    obstacle = Session(url, "LOCK TABLE pg_namespace IN SHARE MODE")  # no schema can be made: the migration stands in the middle
    gang = Gang(servers, tmp_path, url)
    for _ in range(3):
        gang.spawn().wait_listening()
    holder = wait_for(lambda: psql(url, f"""SELECT a.client_port FROM pg_locks l JOIN pg_stat_activity a USING (pid)
        WHERE {MIGRATION_LOCK} AND granted AND a.wait_event_type = 'Lock' AND l.database = (SELECT oid FROM pg_database
        WHERE datname = current_database())"""), "somebody to migrate")
    victim = next(server for server in gang.servers if has_port(server.pid, {int(holder)}))
    victim.kill()
    obstacle.close()
    survivors = gang.running()
    assert len(survivors) == 2
    for server in survivors:
        wait_for(lambda: server.get("/health/startup").status == 200, f"a start\n{server.log}")
    assert psql(url, "SELECT count(*) = count(DISTINCT version) AND count(*) >= 1 FROM gathering.migration") == "t"
    survivors[0].create(name="first", **gang.run_program())
    run_id = survivors[1].post("/api/v1/actions/first/run").json["id"]
    assert survivors[0].wait_run(run_id)["state"] == "succeeded"
