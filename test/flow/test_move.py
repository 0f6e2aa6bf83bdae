# SPDX-License-Identifier: Apache-2.0
"""`gathering migrate --from sqlite:FILE --to postgresql://...`: everything once, nothing twice, nothing half."""
import json
import re
import subprocess
import time

import pytest

from harness import BINARY, wait_for
from pg import cluster, clusters  # noqa: F401 (fixtures)
from test_scheduling import shell, wait_running


@pytest.fixture
def database(cluster):  # noqa: F811
    name = f"move_{time.monotonic_ns()}"
    cluster.sql(f"CREATE DATABASE {name}")
    return cluster.url.rsplit("/", 1)[0] + "/" + name


def migrate(*arguments, expect=0):
    done = subprocess.run([BINARY, "migrate", *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
    return done


def facts(server):
    """All that a person can ask: definitions, runs with their output. What only counts versions of rows is left out."""
    actions = {a["name"]: a for a in server.get("/api/v1/actions?limit=1000").json["items"]}
    runs = {r["id"]: r for r in server.runs()}
    output = {r: server.get(f"/api/v1/runs/{r}/output").body for r in runs}
    return actions, runs, output


def fill(server):
    """A ledger with every kind of row: ended well and badly, skipped, waiting, retried, paused, odd text."""
    server.create(name="fine", tags=["a", "ü"], description="quote ' and \\ and \n", **shell("echo ok; printf '\\377\\000x'"))
    server.create(name="bad", retry={"max_attempts": 2, "initial": "1ms"}, **shell(
        "echo 50 half > $GATHERING_PROGRESS_FILE; printf '\\377' > $GATHERING_CHECKPOINT_FILE; echo no >&2; exit 3"))
    server.create(name="late", retry={"max_attempts": 2, "initial": "24h", "max": "24h"}, **shell("exit 1"))
    server.create(name="nightly", schedule={"cron": "30 2 29 2 *", "timezone": "Europe/Paris"}, **shell("true"))
    server.create(name="paused", schedule={"every": "1h"}, **shell("true"))
    assert server.post("/api/v1/actions/paused/pause").status == 200
    for name in ("fine", "bad"):
        server.wait_run(server.post(f"/api/v1/actions/{name}/run").json["id"])
    run = server.post("/api/v1/actions/late/run").json["id"]
    server.wait_run(run, states=["pending"])
    wait_for(lambda: server.get(f"/api/v1/runs/{run}").json["reason"] == "retry", "the wait for the second attempt")
    for n in range(250):
        server.create(name=f"many-{n:03}", schedule={"every": "365d"}, **shell("true"))


def test_a_move_takes_everything_along(servers, database, tmp_path):
    file = f"sqlite:{tmp_path}/gathering.db"
    old = servers(exec_enabled=True).start()
    fill(old)
    before = facts(old)
    busy = migrate("--from", file, "--to", database, expect=1)
    assert str(old.pid) in busy.stderr  # who has the file
    old.stop()
    plan = migrate("--from", file, "--to", database, "--dry-run").stdout
    assert "action           255 rows to copy" in plan
    rows = json.loads(migrate("--from", file, "--to", database, "--json").stdout)["rows"]
    assert rows["action"] == 255 and rows["run"] == len(before[1])
    new = servers(database=database, exec_enabled=True).start()
    assert facts(new) == before
    new.wait_run(new.post("/api/v1/actions/fine/run").json["id"], states=["succeeded"])
    new.stop()


def test_a_file_that_was_moved_is_refused_until_taken_back(servers, database, tmp_path):
    file = f"sqlite:{tmp_path}/gathering.db"
    old = servers(exec_enabled=True).start()
    old.create(name="one", **shell("true"))
    old.stop()
    migrate("--from", file, "--to", database)
    again = servers(exec_enabled=True).spawn()
    assert again.wait() == 1 and re.search(r"was moved to \S*move_\d+", again.log) and "--take-back" in again.log
    assert "1 actions already" in migrate("--from", file, "--to", database, expect=1).stderr
    migrate("--database", file, "--take-back")
    server = servers(exec_enabled=True).start()
    assert server.get("/api/v1/actions/one").status == 200
    server.stop()


def test_what_ran_when_the_file_s_server_died_goes_on_after_the_move(servers, database, tmp_path):
    old = servers(exec_enabled=True).start()
    old.create(name="long", **shell(f"test -e {tmp_path}/second && exit 0; touch {tmp_path}/second; exec sleep 300"))
    run = old.post("/api/v1/actions/long/run").json["id"]
    wait_running(old, "long")
    wait_for((tmp_path / "second").exists, "the program's first start")
    old.kill()
    migrate("--from", f"sqlite:{tmp_path}/gathering.db", "--to", database)
    new = servers(database=database, exec_enabled=True).start()
    done = new.wait_run(run, states=["succeeded"])
    assert done["interruptions"] == 1 and done["attempt"] == 1
    new.stop()


def test_an_error_in_the_middle_leaves_both_as_they_were(servers, cluster, database, tmp_path):  # noqa: F811
    file = f"sqlite:{tmp_path}/gathering.db"
    old = servers(exec_enabled=True).start()
    old.create(name="one", **shell("true"))
    old.wait_run(old.post("/api/v1/actions/one/run").json["id"])
    old.stop()
    migrate("--database", database)
    full = subprocess.run(["psql", "-qX", database, "-c", "ALTER TABLE gathering.run ADD CONSTRAINT none CHECK (false) NOT VALID"],
                          capture_output=True, text=True)
    assert full.returncode == 0, full.stderr
    assert "table run" in migrate("--from", file, "--to", database, expect=1).stderr
    server = servers(exec_enabled=True).start()
    assert len(server.runs()) == 1
    server.stop()
    subprocess.run(["psql", "-qX", database, "-c", "ALTER TABLE gathering.run DROP CONSTRAINT none"], check=True)
    migrate("--from", file, "--to", database)


@pytest.mark.parametrize("arguments, said", [
    (["--from", "sqlite:/no/such.db", "--to", "postgresql://127.0.0.1:1/x"], "no database file '/no/such.db'"),
    (["--from", "sqlite:x.db"], "give both"), (["--to", "postgresql://127.0.0.1/x"], "give both"),
    (["--from", "postgresql://a/b", "--to", "sqlite:x.db"], "only a file can be moved"),
    (["--from", "sqlite:x.db", "--to", "sqlite:y.db"], "only a file can be moved"),
    (["--take-back"], "which file?"), (["--database", "postgresql://a/b", "--take-back"], "only a file")])
def test_a_move_that_cannot_be(arguments, said, tmp_path):
    done = subprocess.run([BINARY, "migrate", *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode in (1, 2, 3) and said in done.stderr and done.stdout == ""
    assert list(tmp_path.iterdir()) == []
