# SPDX-License-Identifier: Apache-2.0
"""Files that are no database, are damaged, foreign, newer, locked, read-only or on a full disk: at the start a
clear message and exit status 1, while running problem documents; never a crash, never a due time lost."""
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time

import pytest

import trouble
from harness import BINARY, Server, wait_for
from test_scheduling import assert_every_due_time_once

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, or mounts")


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A database with some pages in it, cleanly closed; to be copied."""
    folder = tmp_path_factory.mktemp("filled")
    server = Server(folder, exec_enabled=True).start()
    for n in range(5):
        answer = server.post("/api/v1/actions", [http_action(f"a{n}-{k}", tags=["t"], description="x" * 500) for k in range(100)])
        assert answer.status == 201
    server.create(name="talks", kind="exec", exec={"shell": True, "command": "seq 20000"})
    server.wait_run(server.post("/api/v1/actions/talks/run").json["id"])
    server.stop()
    assert not os.path.exists(folder / "gathering.db-wal"), "the log is copied back at the end"
    return folder / "gathering.db"


@pytest.fixture
def database(filled, tmp_path):
    return shutil.copy(filled, tmp_path / "gathering.db")


def http_action(name, url="http://127.0.0.1:9/", **members):
    return {"name": name, "kind": "http", "http": {"url": url}, **members}


def refused(server, *words, status=1):
    """It does not start, says why in one line that names the file, and leaves nothing behind."""
    server.spawn()
    assert server.wait() == status, server.log
    line = next(line for line in server.log.splitlines() if "cannot start" in line)
    for word in words:
        assert word in line, line
    assert "sqlite3_" not in line and "PRAGMA" not in line
    server.close()


# --- at the start ---

def test_missing_folder(servers, tmp_path):
    refused(servers(database=f"sqlite:{tmp_path}/none/g.db"), "none/g.db", "folder does not exist")
    (tmp_path / "file").touch()
    refused(servers(database=f"sqlite:{tmp_path}/file/g.db"), "file/g.db")


def test_places_that_are_no_file(servers, tmp_path):
    refused(servers(database=f"sqlite:{tmp_path}"), "folder")
    refused(servers(database="sqlite:/dev/null"), "/dev/null", "not a regular file")
    os.mkfifo(tmp_path / "pipe")
    refused(servers(database=f"sqlite:{tmp_path}/pipe"), "not a regular file")
    refused(servers(database="sqlite:"), "sqlite:PATH")
    refused(servers(database="sqlite::memory:"), "name a file")
    refused(servers(database="mysql://localhost/x"), "sqlite:PATH")


@pytest.mark.parametrize("content, word", [
    (b"hello\n", "not a database"), (b"\0" * 8192, "not a database"), (os.urandom(50_000), "not a database"),
    (b"SQLite format 3\0", ""), (b"SQLite format 3\0" + b"\xff" * 5000, "")])
def test_not_a_database(servers, tmp_path, content, word):
    path = tmp_path / "gathering.db"
    path.write_bytes(content)
    refused(servers(), "gathering.db", word)
    assert path.read_bytes() == content


def test_an_empty_file_becomes_a_database(servers, tmp_path):
    (tmp_path / "gathering.db").touch()
    servers().start().stop()


def test_foreign_database(servers, tmp_path):
    other = sqlite3.connect(tmp_path / "gathering.db")
    other.execute("CREATE TABLE songs (title)")
    other.commit()
    other.close()
    content = (tmp_path / "gathering.db").read_bytes()
    refused(servers(), "another program")
    assert (tmp_path / "gathering.db").read_bytes() == content


@pytest.mark.parametrize("pragma, words", [("application_id = 7", ["another program"]), ("user_version = 999", ["newer gathering", "999"])])
def test_foreign_or_newer_schema(servers, database, pragma, words):
    other = sqlite3.connect(database)
    other.execute("PRAGMA " + pragma)
    other.close()
    refused(servers(), *words)


def test_truncated_database(servers, database):
    os.truncate(database, os.path.getsize(database) // 2)
    server = servers(exec_enabled=True).spawn()
    assert_no_crash(server)


def assert_no_crash(server):
    """Refused with a reason, or started and answering what it can; then it ends by itself or when told."""
    def settled():
        if server.process.poll() is not None:
            return True
        with contextlib.suppress(OSError, AssertionError):  # it may end just now
            return server.wait_listening().get("/health/startup").status == 200

    wait_for(settled, "a start or a refusal")
    if server.process.poll() is None:
        ask_everything(server)
        server.signal(signal.SIGTERM)
        assert server.wait() in (0, 4), server.log
    else:
        assert server.process.returncode == 1, server.log
        assert "cannot start" in server.log and "gathering.db" in server.log
    server.close()
    return server.process.returncode


def ask_everything(server):
    """Reads and writes; returns the codes of what failed, all of them problems that keep their insides."""
    codes = set()
    for method, path, body in [
            *[("GET", path, None) for path in (
                "/api/v1/actions?limit=1000", "/api/v1/actions?name=9&total=true", "/api/v1/runs?limit=1000", "/health", "/health/checks",
                "/api/v1/actions/a1-50", "/api/v1/actions/talks/runs")],
            ("POST", "/api/v1/actions", http_action("new")), ("POST", "/api/v1/actions/a1-50/run", None),
            ("PATCH", "/api/v1/actions/a2-50", {"priority": 5}), ("DELETE", "/api/v1/actions/a3-50", None)]:
        answer = server.request(method, path, body)
        assert answer.status in (200, 201, 202, 204, 404, 409, 500, 503), answer
        if answer.status >= 500:
            codes.add(answer.json["code"])
            assert "gathering.db" not in answer.body.decode()
    assert server.get("/health/live").status == 200
    return codes


def test_a_page_of_garbage_anywhere_is_no_crash(servers, filled, tmp_path):
    seed = int(os.environ.get("GATHERING_TEST_SEED", time.time_ns() % 1_000_000))
    print("GATHERING_TEST_SEED =", seed)
    rng = random.Random(seed)
    pages = os.path.getsize(filled) // 4096
    assert pages > 50
    statuses = []
    for page in [0, 1, 2, 3] + rng.sample(range(4, pages), 8):
        path = shutil.copy(filled, tmp_path / "gathering.db")
        with open(path, "r+b") as file:
            file.seek(page * 4096 + (100 if page == 0 else 0))  # behind the file's own head
            file.write(rng.choice([rng.randbytes(3000), b"\0" * 3000, b"\xff" * 3000]))
        statuses.append((page, assert_no_crash(servers(exec_enabled=True).spawn())))
    print(statuses)


def test_damage_is_reported_as_such(servers, filled, tmp_path):
    """Every page but the first is garbage: whatever is asked meets it."""
    path = shutil.copy(filled, tmp_path / "gathering.db")
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(random.Random(1).randbytes(size - 4096))
    refused(servers(), "gathering.db", "damaged", ".recover")


def test_damage_while_it_runs(servers, database):
    """Somebody writes into the file: problems, a word in the log and in the checks, no crash; the next start refuses."""
    server = servers(exec_enabled=True).start()
    with open(database, "r+b") as file:
        file.seek(12 * 4096)
        file.write(random.Random(2).randbytes(os.path.getsize(database) - 12 * 4096))
    assert ask_everything(server) == {"corrupt"}
    assert "damaged" in server.log and ".recover" in server.log
    server.signal(signal.SIGTERM)
    assert server.wait() in (0, 4)
    refused(servers(), "damaged")


def test_migrate_tells_the_same(servers, tmp_path):
    (tmp_path / "gathering.db").write_bytes(b"hello\n" * 1000)
    for arguments in ([], ["--dry-run"]):
        done = subprocess.run([BINARY, "migrate", "--database", f"sqlite:{tmp_path}/gathering.db", *arguments], capture_output=True, text=True)
        assert done.returncode == 1 and "not a database" in done.stderr, done


def test_damaged_log(servers, tmp_path):
    """What a kill leaves is in the log; a log of garbage is ignored by its checksums, not believed."""
    server = servers().start()
    server.create(**http_action("kept"))
    server.kill()
    log = tmp_path / "gathering.db-wal"
    assert log.stat().st_size > 0
    with open(log, "r+b") as file:
        file.seek(-2000, os.SEEK_END)
        file.write(os.urandom(2000))
    assert_no_crash(servers().spawn())


# --- not ours to write ---

def as_nobody(servers, folder, **options):
    return servers(prefix=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"], database=f"sqlite:{folder}/gathering.db", **options)


@pytest.fixture
def world(tmp_path_factory):
    """A folder that nobody can reach, without pytest's own walls around it."""
    folder = tmp_path_factory.mktemp("world")
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.geteuid() and str(parent) not in ("/", "/tmp"):
            parent.chmod(parent.stat().st_mode | 0o011)
    return folder


@needs_root
def test_read_only_file(servers, filled, world):
    world.chmod(0o777)
    shutil.copy(filled, world / "gathering.db")
    (world / "gathering.db").chmod(0o444)
    refused(as_nobody(servers, world), "gathering.db", "permission denied")


@needs_root
def test_read_only_folder(servers, filled, world):
    shutil.copy(filled, world / "gathering.db")
    (world / "gathering.db").chmod(0o666)
    world.chmod(0o555)
    refused(as_nobody(servers, world), "gathering.db", "permission denied")


@needs_root
def test_a_log_that_belongs_to_another(servers, world):
    """Left behind by a run as root: the file itself can be written, its log cannot."""
    world.chmod(0o777)
    server = servers(database=f"sqlite:{world}/gathering.db").start()
    server.create(**http_action("kept"))
    server.kill()
    (world / "gathering.db").chmod(0o666)
    (world / "gathering.db.lock").chmod(0o666)
    refused(as_nobody(servers, world), "gathering.db")


@needs_root
def test_read_only_file_system(servers, filled, tmp_path):
    with trouble.disk(tmp_path / "disk", 4096) as disk:
        shutil.copy(filled, disk.folder)
        disk.make("ro")
        refused(servers(database=f"sqlite:{disk.folder}/gathering.db"), "read-only")


@needs_root
def test_full_disk_at_the_start(servers, filled, tmp_path):
    with trouble.disk(tmp_path / "disk", 4096) as disk:
        disk.fill()
        refused(servers(database=f"sqlite:{disk.folder}/new.db"), "new.db", "no space left")
        disk.clear()
        shutil.copy(filled, disk.folder)
        disk.fill()
        refused(servers(database=f"sqlite:{disk.folder}/gathering.db"), "gathering.db", "no space left")


# --- while running ---

def tick(server, target):
    server.create(**http_action("tick", target.url, overlap="allow", misfire="all", schedule={"every": "100ms"}))
    wait_for(lambda: len(target.requests) > 3, "runs")


def assert_nothing_lost(server, target):
    """Every due time has its one row, and everything that ran did so once."""
    seen = len(target.requests)
    wait_for(lambda: len(target.requests) > seen + 10, "runs again")
    assert server.post("/api/v1/actions/tick/pause").status == 200
    wait_for(lambda: not server.runs("tick", state="pending,running"), "the last runs")
    runs = server.runs("tick")
    assert_every_due_time_once(runs, 100)
    assert {(run["state"], run["reason"]) for run in runs} <= {("succeeded", None), ("skipped", "paused")}
    keys = [request["headers"]["Idempotency-Key"] for request in target.requests]
    assert len(keys) == len(set(keys)) == len([run for run in runs if run["state"] == "succeeded"])
    assert wait_for(lambda: server.get("/health/ready").status == 200, "readiness")


def wait_write_refused(server, status, code):
    def answer():
        refusal = server.post("/api/v1/actions", http_action(f"never-{time.monotonic_ns()}"))
        return refusal if refusal.status != 201 else None
    refusal = wait_for(answer, "a write that is refused")
    assert (refusal.status, refusal.json["code"]) == (status, code), refusal
    assert refusal.headers["Content-Type"] == "application/problem+json"
    assert "gathering.db" not in refusal.body.decode() and refusal.json["request_id"] in server.log


@needs_root
def test_full_disk_while_running(servers, targets, tmp_path):
    with trouble.disk(tmp_path / "disk", 8192) as disk:
        server, target = servers(database=f"sqlite:{disk.folder}/gathering.db").start(), targets()
        tick(server, target)
        disk.fill()
        wait_write_refused(server, 507, "full")
        wait_for(lambda: "for=claim" in server.log, "a claim that fails")
        seen = len(target.requests)
        assert server.get("/api/v1/actions/tick").status == 200 and server.get("/api/v1/runs").status == 200
        assert server.get("/health").json["status"] == "degraded"
        for _ in range(3):  # it may not get in by and by either
            wait_write_refused(server, 507, "full")
        assert len(target.requests) <= seen + 1, "runs that are not in the ledger"
        disk.clear()
        assert_nothing_lost(server, target)
        server.stop()


@needs_root
def test_full_disk_at_the_stop_then_the_next_start(servers, targets, tmp_path):
    """What cannot be recorded is said (exit 4) and recovered later: the run is repeated under its key."""
    with trouble.disk(tmp_path / "disk", 8192) as disk:
        options = {"database": f"sqlite:{disk.folder}/gathering.db", "db_max": "1s"}
        gate = tmp_path / "open"
        target = targets(lambda entry: wait_for(gate.exists, "the gate") and (200, b"ok"))
        server = servers(**options).start()
        server.create(**http_action("slow", target.url))
        run = server.post("/api/v1/actions/slow/run").json["id"]
        wait_for(lambda: target.requests, "the request")
        disk.fill()
        wait_write_refused(server, 507, "full")  # there may have been room in what the files had already
        server.signal(signal.SIGTERM)
        gate.touch()
        assert server.wait() == 4, server.log
        assert "neither be recorded nor kept" in server.log  # state_dir is on the same disk
        disk.clear()
        server = servers(**options).start()
        assert server.wait_run(run)["state"] == "succeeded"
        assert len({request["headers"]["Idempotency-Key"] for request in target.requests}) == 1
        server.stop()


def test_file_size_limit(servers, targets):
    """RLIMIT_FSIZE: the signal that goes with it (SIGXFSZ) must not be what ends the server."""
    server, target = servers(prefix=["prlimit", "--fsize=400000:unlimited"]).start(), targets()
    tick(server, target)
    wait_write_refused(server, 507, "full")
    assert server.get("/api/v1/actions/tick").status == 200
    subprocess.run(["prlimit", f"--pid={server.pid}", "--fsize=unlimited:unlimited"], check=True)
    assert_nothing_lost(server, target)
    server.stop()


def test_locked_by_another_program(servers, targets, tmp_path):
    server, target = servers().start(), targets()
    tick(server, target)
    with trouble.write_lock(tmp_path / "gathering.db"):
        wait_write_refused(server, 503, "unavailable")
        assert server.get("/api/v1/actions/tick").status == 200
    assert_nothing_lost(server, target)
    server.stop()


def test_others_may_read_while_it_runs(servers, targets, tmp_path):
    """A shell or a backup: sees a consistent state, holds nobody up, and a long read costs nothing but a longer log."""
    server, target = servers().start(), targets()
    tick(server, target)
    other = sqlite3.connect(f"file:{tmp_path}/gathering.db?mode=ro", uri=True)
    other.execute("BEGIN")
    tables = [name for (name,) in other.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    counts = {name: other.execute(f'SELECT count(*) FROM "{name}"').fetchone() for name in tables}
    assert len(tables) >= 3
    seen = len(target.requests)
    wait_for(lambda: len(target.requests) > seen + 10, "runs meanwhile")
    assert counts == {name: other.execute(f'SELECT count(*) FROM "{name}"').fetchone() for name in tables}
    other.rollback()
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        other.backup(copy)
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    other.close()
    assert_nothing_lost(server, target)
    server.stop()
    with contextlib.closing(sqlite3.connect(tmp_path / "gathering.db")) as closed:
        assert closed.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    started = servers(database=f"sqlite:{tmp_path}/copy.db").start()  # a backup is a database
    assert started.get("/api/v1/actions/tick").status == 200
    started.stop()


# --- one server a file ---

def test_a_second_server_is_refused_and_told_who_has_the_file(servers, tmp_path):
    first = servers().start()
    os.symlink(tmp_path / "gathering.db", tmp_path / "alias.db")
    os.link(tmp_path / "gathering.db", tmp_path / "other-name.db")
    refused(servers(), "in use", f"process {first.pid} ", first.get("/health").json["instance_id"])
    refused(servers(database="sqlite:gathering.db"), f"process {first.pid} ")
    refused(servers(database=f"sqlite:{tmp_path}/../{tmp_path.name}/./gathering.db"), f"process {first.pid} ")
    refused(servers(database=f"sqlite:{tmp_path}/alias.db"), f"process {first.pid} ")
    done = subprocess.run([BINARY, "migrate", "--database", f"sqlite:{tmp_path}/gathering.db"], capture_output=True, text=True)
    assert done.returncode == 1 and str(first.pid) in done.stderr
    assert first.get("/health/ready").status == 200
    first.create(**http_action("kept"))
    first.kill()
    second = servers().start()  # the lock is gone with the process
    assert second.get("/api/v1/actions/kept").status == 200
    second.stop()


def test_many_servers_at_once_one_wins(servers):
    group = [servers().spawn() for _ in range(6)]
    wait_for(lambda: sum(server.process.poll() is not None for server in group) == 5, "five refusals")
    winner = next(server for server in group if server.process.poll() is None)
    for server in group:
        if server is not winner:
            assert server.process.returncode == 1 and "in use" in server.log
    winner.wait_listening()
    wait_for(lambda: winner.get("/health/ready").status == 200, "readiness")
    winner.stop()
