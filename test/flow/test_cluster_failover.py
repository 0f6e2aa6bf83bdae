# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL that fails over to its replica, or to a clock that is wrong, and instances that start on a database nobody has
migrated yet."""
import json
import signal
import subprocess
import threading
import time

from gang import Gang, psql
from harness import seeded, wait_for
from pg import cluster, clusters  # noqa: F401 (fixtures)



class Writer(threading.Thread):
    """Triggers runs of an action of its own through one server; `told` are those that were acknowledged."""

    def __init__(self, server, action):
        super().__init__(daemon=True)
        self.server, self.action = server, action
        self.told, self.refused, self.over = [], 0, threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.05):
            answer = self.server.post(f"/api/v1/actions/{self.action}/run", timeout=120)
            if answer.status == 202:
                self.told.append(json.loads(answer.body)["id"])
            else:
                self.refused += 1

    def wait_told(self, more):
        """Until so many more are acknowledged than now."""
        count = len(self.told)
        wait_for(lambda: len(self.told) >= count + more, f"{more} more runs of {self.action}\n{self.server.log[-3000:]}", timeout=90)

    def stop(self):
        self.over.set()
        self.join()


# A run that somebody asked for is in the primary's log and in no other's.
COMMITS_THAT_WAIT = """SELECT count(*) FROM pg_stat_activity
    WHERE wait_event = 'SyncRep' AND application_name = 'gathering writes' AND query LIKE '%gathering.trigger%'"""


def test_failover_with_synchronous_replication_loses_nothing_acknowledged_and_doubles_nothing(clusters, servers, tmp_path):  # noqa: F811
    rng = seeded()
    primary = clusters("--set", "synchronous_standby_names=*")
    replica = clusters("--replica-of", primary.folder)
    wait_for(lambda: primary.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1", "the replica to follow")
    url = f"postgresql://postgres@127.0.0.1:{primary.port},127.0.0.1:{replica.port}/postgres?target_session_attrs=read-write"
    gang = Gang(servers, tmp_path, url)
    gang.start(2)
    gang.schedule(rng, longest_s=0.5)
    gang.any().create(name="long", **gang.run_program(10))
    for n in range(2):
        gang.any().create(name=f"asked{n}", overlap="allow", **gang.run_program())
    gang.any().post("/api/v1/actions/long/run")
    writers = [Writer(server, f"asked{n}") for n, server in enumerate(gang.servers)]
    gang.wait_effects(18)
    for writer in writers:
        writer.wait_told(3)
    replica.stop("immediate")  # from now on commits wait for it
    wait_for(lambda: primary.sql(COMMITS_THAT_WAIT) == "2", "a commit of each server to wait")
    primary.stop("immediate")  # whose last words are that these are done, without the commit
    replica.start()
    replica.promote()
    gang.wait_effects(18)
    for writer in writers:
        writer.wait_told(3)
    for writer in writers:
        writer.stop()
    wait_for(lambda: any(e.word == "end" and e.action == "long" for e in gang.effects()), "the long one")
    gang.settle()
    runs = {run["id"] for run in gang.ledger()}
    told = [run_id for writer in writers for run_id in writer.told]
    print(f"{len(told)} acknowledged, {sum(writer.refused for writer in writers)} refused, {len(runs)} in the ledger")
    assert [run_id for run_id in told if run_id not in runs] == []
    gang.assert_exactly_once()
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


def test_who_was_away_itself_takes_nobody_for_dead_who_is_not_back_yet(servers, cluster, tmp_path):  # noqa: F811
    """After a failover to a clock that is ahead all leases look over, and one instance is back sooner than the other."""
    name = f"t{time.monotonic_ns()}"
    cluster.sql(f"CREATE DATABASE {name}")
    gang = Gang(servers, tmp_path, cluster.url.rsplit("/", 1)[0] + "/" + name, lease="60s", heartbeat="20s")
    gang.start(2)
    psql(gang.url, CLOCK)
    gang.any().create(name="long", on_interrupt="retry", **gang.run_program(300))
    run = gang.any().post("/api/v1/actions/long/run").json
    run = wait_for(lambda: (r := gang.any().get(f"/api/v1/runs/{run['id']}").json)["state"] == "running" and r, "it runs")
    wait_for(gang.effects, "its program")
    slow = next(server for server in gang.servers if server.id == run["instance_id"])
    fast = next(server for server in gang.servers if server is not slow)

    def is_heard(server):
        return psql(gang.url, f"SELECT heartbeat_at > now() + interval '100 s' FROM gathering.instance WHERE id = '{server.id}'") == "t"

    slow.signal(signal.SIGSTOP)
    psql(gang.url, f"ALTER DATABASE {name} SET test.skew = '200 s'")  # more than two leases
    cluster.restart("immediate")
    wait_for(lambda: is_heard(fast), "the one that is back")  # and would have accused the other now
    slow.signal(signal.SIGCONT)
    wait_for(lambda: is_heard(slow), "the other one")  # within a heartbeat of the first
    now = fast.get(f"/api/v1/runs/{run['id']}").json
    assert (now["state"], now["epoch"], now["interruptions"]) == ("running", 1, 0)
    slow.post(f"/api/v1/runs/{run['id']}/cancel")
    fast.wait_run(run["id"], states=["cancelled"])
    assert "is gone" not in fast.log, fast.log


class Session:
    """psql in a transaction that holds locks until it is closed."""

    def __init__(self, url, text):
        self.process = subprocess.Popen(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdin.write(f"BEGIN; {text}; SELECT 'done';\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def close(self):
        self.process.communicate("ROLLBACK;\n", timeout=30)


def has_port(pid, port):
    """Is it the process's end of a connection? Its sockets, by inode, against the kernel's table."""
    done = subprocess.run(["ls", "-l", f"/proc/{pid}/fd"], capture_output=True, text=True, check=False).stdout
    with open("/proc/net/tcp", encoding="ascii") as file:
        for fields in (line.split() for line in file.readlines()[1:]):
            if f"socket:[{fields[9]}]" in done and int(fields[1].split(":")[1], 16) == port:
                return True
    return False


# How many wait for a lock in this database, and the ports of those who wait for the obstacle's table: one snapshot of all locks.
WAITING = """SELECT count(*) || '/' || coalesce(string_agg((SELECT client_port::text FROM pg_stat_activity a WHERE a.pid = l.pid), ',')
    FILTER (WHERE relation = 'pg_namespace'::regclass), '')
    FROM pg_locks l WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


def test_the_migration_goes_on_elsewhere_when_its_instance_is_killed(servers, cluster, tmp_path):  # noqa: F811
    name = f"t{time.monotonic_ns()}"
    cluster.sql(f"CREATE DATABASE {name}")
    url = cluster.url.rsplit("/", 1)[0] + "/" + name
    obstacle = Session(url, "LOCK TABLE pg_namespace IN SHARE MODE")  # no schema can be made: the migration stands in the middle
    gang = Gang(servers, tmp_path, url)
    for _ in range(3):
        gang.spawn().wait_listening()

    def in_the_middle(instances):
        """Those that migrate, when so many want to; after 5 s each tries anew."""
        count, ports = psql(url, WAITING).split("/")
        if int(count) == instances:
            return [server for server in gang.running() if any(has_port(server.pid, int(port)) for port in ports.split(",") if port)]
        return None

    first = wait_for(lambda: in_the_middle(3), "three that want to migrate")
    assert len(first) == 1, "several migrate at a time"
    first[0].kill()
    second = wait_for(lambda: in_the_middle(2), "another that migrates")
    assert len(second) == 1, "several migrate at a time"
    obstacle.close()
    survivors = gang.running()
    assert len(survivors) == 2
    for server in survivors:
        wait_for(lambda: server.get("/health/startup").status == 200, f"a start\n{server.log}")
    assert psql(url, "SELECT count(*) = count(DISTINCT version) AND count(*) >= 1 FROM gathering.migration") == "t"
    survivors[0].create(name="first", **gang.run_program())
    run_id = survivors[1].post("/api/v1/actions/first/run").json["id"]
    assert survivors[0].wait_run(run_id)["state"] == "succeeded"
