# SPDX-License-Identifier: Apache-2.0
"""Results that a stop cannot record because the database is away: kept in state_dir, recorded by the next start
under the epoch they were run with, exit status 4."""
import json
import os
import sqlite3
import time

import pytest

import trouble
from harness import lines_of, shell, wait_for, wait_lines
from pg import cluster, clusters  # noqa: F401 (fixtures)

OUTPUT = bytes(range(256)) + b"end\n"


def start_running(servers, **options):
    """A program that ends, with bytes that are no text, when the file `go` is there."""
    server = servers(exec_enabled=True, **options).start()
    with open(f"{server.folder}/bytes", "wb") as file:
        file.write(OUTPUT)
    server.create(name="long", **shell("echo up > up; while ! [ -e go ]; do sleep 0.05; done; cat bytes; exit 3"))
    server.run_id = server.post("/api/v1/actions/long/run").json["id"]
    wait_lines(f"{server.folder}/up", "the program")
    server.file = f"{server.folder}/gathering.state/unrecorded.jsonl"
    return server


def let_end(server):
    open(f"{server.folder}/go", "w", encoding="ascii").close()


def stop_without_database(server):
    """The program ends while nothing can be recorded."""
    let_end(server)
    began = time.monotonic()
    server.stop(expect=4)
    assert "kept in state_dir" in server.log
    return time.monotonic() - began


def assert_recorded(server, log):
    run = server.get(f"/api/v1/runs/{server.run_id}").json
    assert (run["state"], run["exit_code"], run["attempt"], run["interruptions"], run["epoch"]) == ("failed", 3, 1, 0, 1)
    assert server.get(f"/api/v1/runs/{server.run_id}/output", headers={"Accept": "application/octet-stream"}).body == OUTPUT
    assert "a result of before is recorded" in log and "recorded=1 stale=0 failed=0" in log
    assert os.path.getsize(server.file) == 0


@pytest.fixture
def kept(servers, tmp_path):
    """A server on SQLite that has ended with its result in the file."""
    server = start_running(servers, db_max="300ms")
    with trouble.write_lock(tmp_path / "gathering.db"):
        stop_without_database(server)
    assert len(lines_of(server.file)) == 1
    assert os.stat(server.file).st_mode & 0o777 == 0o600
    return server


def start_again(server):
    server.options.pop("db_max", None)
    return server.start()


def test_the_next_start_records_what_the_last_stop_could_not(kept):
    assert_recorded(start_again(kept), kept.log)
    kept.stop()
    start_again(kept)
    assert "results of before" not in kept.log, "it was recorded twice"
    kept.stop()


def test_a_run_that_was_taken_over_meanwhile_refuses_the_old_result(kept, tmp_path):
    with sqlite3.connect(tmp_path / "gathering.db") as db:
        db.execute("UPDATE run SET epoch = epoch + 1")
    db.close()
    start_again(kept)
    assert f"stale: this run was taken over or removed meanwhile; its result of before is dropped run={kept.run_id}" in kept.log
    assert "recorded=0 stale=1 failed=0" in kept.log and os.path.getsize(kept.file) == 0
    kept.stop()


@pytest.mark.parametrize("torn", [b'{"run":"0193', b"\x00\xff\n", b"[]\n", b'{"run":"x"}\n'])
def test_lines_that_a_crash_has_cut_are_passed_over(kept, torn):
    with open(kept.file, "rb") as file:
        whole = file.read()
    with open(kept.file, "wb") as file:
        file.write(torn + b"\n" + whole + torn)
    start_again(kept)
    assert kept.log.count("is passed over") == 2
    assert_recorded(kept, kept.log)
    kept.stop()


def test_a_torn_line_does_not_swallow_the_next_one(servers, tmp_path):
    server = start_running(servers, db_max="300ms")
    with open(server.file, "wb") as file:
        file.write(b'{"run":"01')
    with trouble.write_lock(tmp_path / "gathering.db"):
        stop_without_database(server)
    lines = lines_of(server.file)
    assert len(lines) == 2 and json.loads(lines[1])["run"] == server.run_id
    assert_recorded(start_again(server), server.log)
    server.stop()


def test_a_file_that_is_full_is_said_and_the_run_recovered(servers, tmp_path):
    server = start_running(servers, db_max="300ms")
    os.truncate(os.open(server.file, os.O_WRONLY | os.O_CREAT, 0o600), 64 << 20)
    let_end(server)
    with trouble.write_lock(tmp_path / "gathering.db"):
        server.stop(expect=4)
    assert "neither be recorded nor kept" in server.log and "more than 64 MiB" in server.log
    os.unlink(server.file)
    start_again(server)
    assert server.get(f"/api/v1/runs/{server.run_id}").json["interruptions"] == 1
    server.stop()


def test_postgresql_gone_during_the_whole_drain(clusters, servers):  # noqa: F811
    cluster = clusters()  # noqa: F811
    server = start_running(servers, database=cluster.url, db_max="1s", total_max="20s")
    cluster.stop()
    assert stop_without_database(server) < 20
    cluster.start()
    assert_recorded(start_again(server), server.log)
    server.stop()


def test_postgresql_frozen_during_the_whole_drain(clusters, servers):  # noqa: F811
    """No error ever comes back: the file is written all the same, and total_max is the end."""
    cluster = clusters()  # noqa: F811
    server = start_running(servers, database=cluster.url, db_max="1s", total_max="8s", term_grace="1s")
    cluster.freeze()
    try:
        assert stop_without_database(server) < 8 + 4
    finally:
        cluster.thaw()
    assert len(lines_of(server.file)) == 1
    server.options["total_max"] = "25s"
    start_again(server)  # the frozen statement may have gone through: then it is stale now
    run = server.get(f"/api/v1/runs/{server.run_id}").json
    assert (run["state"], run["exit_code"], run["attempt"]) == ("failed", 3, 1)
    server.stop()
