# SPDX-License-Identifier: Apache-2.0
"""What each signal does, at every moment it may come: hurrying, dumping, stopping in each phase of a start.
(The first stop signal and the older cases are in test_lifecycle.py.)"""
import datetime
import os
import re
import signal
import subprocess
import time

import pytest

from harness import free_port, shell, wait_for
from pg import cluster, clusters  # noqa: F401 (fixtures)
from test_lifecycle import assert_program_gone, start_stubborn

HURRY_MS = 3000 + 5000  # the promise, and what a loaded machine may add to it


def ended_in_a_hurry(server):
    """The exit status, after it was told to hurry. It has hurried by the times in its log: what the test sleeps and
    what the process does behind its last word (the search for leaks) are not counted."""
    status = server.wait(20)
    times = [(datetime.datetime.fromisoformat(line.split(" ")[0]), line) for line in server.log.splitlines() if re.match(r"20\d\d-\S+Z ", line)]
    told = next(at for at, line in times if "signal name=" in line and "grade=2" in line)
    took_ms = (times[-1][0] - told) / datetime.timedelta(milliseconds=1)
    assert took_ms < HURRY_MS, f"{took_ms:.0f} ms\n{server.log}"
    return status


def ended_within(server, seconds, began):
    status = server.wait()
    took = time.monotonic() - began
    assert took < seconds, f"{took:.1f} s\n{server.log}"
    return status


# --- hurrying ---

def test_quit_hands_runs_back_within_three_seconds(servers):
    server = servers(exec_enabled=True, run_max="60s", total_max="100s", term_grace="60s").start()
    server.create(name="stubborn", **shell("trap '' TERM; echo > up; while :; do sleep 0.1; done"))
    run = server.post("/api/v1/actions/stubborn/run").json["id"]
    wait_for(lambda: os.path.exists(f"{server.folder}/up"), "the program")
    server.signal(signal.SIGQUIT)
    assert ended_in_a_hurry(server) == 3
    assert list(server.stop_events)[-1] == "store_closed"
    assert re.search(rf"run action=stubborn run={run} state=pending reason=handed_back attempt=1", server.log)
    server = servers().start()
    assert server.get(f"/api/v1/runs/{run}").json["interruptions"] == 1
    server.stop()


def test_quit_does_not_wait_for_requests_or_probers(servers):
    server = servers(notice_min="30s", notice_max="30s", http_max="30s", total_max="100s").start()
    sock = server.connect()
    sock.sendall(b"POST /api/v1/actions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{")
    wait_for(lambda: b"http_requests_in_flight 2\n" in server.get("/metrics").body, "the request to be in flight")
    server.signal(signal.SIGQUIT)
    assert ended_in_a_hurry(server) == 3
    assert "requests cut requests=1" in server.log
    sock.close()


PHASES = {  # what the stop waits for -> options that make it wait, and the last word before it does
    "the notice": ({"notice_min": "60s", "notice_max": "60s"}, "event=shutting_down"),
    "a request": ({"http_max": "60s"}, "event=listener_closed"),
    "a run": ({}, "event=scheduler_stopped"),
}


@pytest.mark.parametrize("phase", PHASES)
def test_a_second_signal_ends_whatever_a_stop_waits_for_and_a_third_what_the_second_waits_for(servers, phase):
    options, word = PHASES[phase]
    server = start_stubborn(servers, **{**options, "total_max": "300s", "run_max": "200s"})
    request = None
    if phase == "a request":
        request = server.connect()
        request.sendall(b"POST /api/v1/actions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{")
        wait_for(lambda: b"http_requests_in_flight 2\n" in server.get("/metrics").body, "the request to be in flight")
    server.signal(signal.SIGTERM)
    wait_for(lambda: word in server.log, "the phase")
    time.sleep(0.5)  # sooner would count as the same signal
    assert "event=executor_stopped" not in server.log
    server.signal(signal.SIGTERM)
    wait_for(lambda: "grade=2" in server.log, "the second signal")
    time.sleep(0.5)
    if server.process.poll() is None:
        server.signal(signal.SIGTERM)
    assert ended_in_a_hurry(server) == 3
    assert_program_gone(server)
    if request:
        request.close()
    server = servers().start()
    assert server.runs("stubborn")[0]["state"] in ("held", "running", "pending")
    server.stop()


def test_a_second_signal_that_finds_the_database_hanging_still_ends(servers, cluster):  # noqa: F811
    server = servers(database=cluster.url, db_max="30s", total_max="100s", run_max="60s", exec_enabled=True).start()
    server.create(name="long", **shell("echo > up; exec sleep 300"))
    server.post("/api/v1/actions/long/run")
    wait_for(lambda: os.path.exists(f"{server.folder}/up"), "the program")
    cluster.freeze()
    try:
        server.signal(signal.SIGTERM)
        wait_for(lambda: "scheduler_stopped" in server.stop_events, "the drain to wait for the run")
        time.sleep(0.5)  # sooner would count as the same signal
        server.signal(signal.SIGTERM)
        assert ended_in_a_hurry(server) in (3, 4)
    finally:
        cluster.thaw()


# --- dumping ---

def test_usr1_writes_the_state_into_the_log(servers):
    server = start_stubborn(servers)
    server.signal(signal.SIGUSR1)
    wait_for(lambda: re.search(r"dump run .*\n", server.log), "the dump")
    assert re.search(r"dump service version=\S+ instance=\S+ state=ready", server.log)
    assert re.search(rf"dump http address=\S*:{server.port} ", server.log)
    assert re.search(r"dump store kind=sqlite ", server.log)
    assert re.search(r"dump scheduler paused=false .*running=1 ", server.log)
    assert f"dump run run={server.run_id}" in server.log
    server.signal(signal.SIGQUIT)
    assert server.wait() == 3


# --- stopping in each phase of a start ---

def assert_stops_quickly(server):
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    assert ended_within(server, 10, began) == 0
    assert "to=ready" not in server.log


def wait_phase(server, phase):
    server.wait_listening()
    wait_for(lambda: server.get("/health/startup").json.get("phase") == phase, f"phase {phase}")


def test_term_before_the_database_answers(servers):
    server = servers(database=f"postgresql://127.0.0.1:{free_port()}/none").spawn()
    wait_phase(server, "store")
    assert_stops_quickly(server)


def test_a_database_that_does_not_come_ends_the_start_after_start_max(servers):
    port = free_port()
    server = servers(database=f"postgresql://127.0.0.1:{port}/none", start_max="5s").spawn()
    wait_phase(server, "store")
    began = time.monotonic()
    assert server.wait() == 1
    assert f"127.0.0.1:{port}" in server.log and "cannot start part=store" in server.log
    assert time.monotonic() - began < 25


def test_term_while_another_migrates(servers, cluster):  # noqa: F811
    """The migration waits for a lock that somebody else holds."""
    name = f"t{time.monotonic_ns()}"
    cluster.sql(f"CREATE DATABASE {name}")
    url = cluster.url.rsplit("/", 1)[0] + "/" + name
    holder = subprocess.Popen(["psql", "-qAt", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        holder.stdin.write("BEGIN; CREATE SCHEMA gathering; SELECT 'held';\n")
        holder.stdin.flush()
        assert holder.stdout.readline().strip() == "held"
        server = servers(database=url).spawn()
        wait_phase(server, "store")
        assert_stops_quickly(server)
    finally:
        holder.stdin.close()
        holder.wait(30)
    servers(database=url).start().stop()  # nothing half done was left behind


def test_hup_usr1_and_usr2_while_it_starts_end_nothing(servers):
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        server = servers(database="memory:").spawn()
        wait_for(lambda: "starting" in server.log, "its first words")
        deadline = time.monotonic() + 0.1
        while time.monotonic() < deadline:
            server.signal(number)
            time.sleep(0.002)
        server.wait_listening()
        assert server.process.poll() is None, (number, server.log)
        server.stop()


# --- the first process of a container ---

AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root makes a process the first of its kind")

def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def state_of(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


def start_as_init(servers, **options):
    server = servers(prefix=["unshare", "--pid", "--fork", "--mount-proc"], exec_enabled=True, **options).start()
    server.init = children(server.pid)[0]
    return server


@AS_ROOT
def test_as_pid_1_it_reaps_what_programs_leave_behind(servers):
    server = start_as_init(servers)
    # leaves its process group, so that the server does not end it, and its parent dies before it
    server.create(name="daemon", **shell("setsid sh -c 'echo up > up; sleep 0.1' > /dev/null 2>&1 & while ! [ -e up ]; do sleep 0.02; done"))
    for _ in range(3):
        server.wait_run(server.post("/api/v1/actions/daemon/run").json["id"])
    wait_for(lambda: len(children(server.init)) == 1, "nobody but the server to be left")
    assert state_of(children(server.init)[0]) != "Z"
    os.kill(server.init, signal.SIGTERM)
    assert server.wait() == 0, server.log
    assert "stop sequence event=store_closed" in server.log


@AS_ROOT
def test_as_pid_1_its_exit_status_and_signals_are_the_servers(servers):
    server = start_as_init(servers, run_max="60s", total_max="100s", term_grace="60s")
    server.create(name="long", **shell("trap '' TERM; echo up > up; while :; do sleep 0.1; done"))
    server.post("/api/v1/actions/long/run")
    wait_for(lambda: os.path.exists(f"{server.folder}/up"), "the program")
    os.kill(server.init, signal.SIGUSR1)
    wait_for(lambda: "dump service" in server.log, "the dump")
    os.kill(server.init, signal.SIGUSR2)
    wait_for(lambda: "the container ends with this process" in server.log, "the refusal of an upgrade")
    os.kill(server.init, signal.SIGQUIT)
    assert server.wait() == 3, server.log
