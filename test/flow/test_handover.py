# SPDX-License-Identifier: Apache-2.0
"""One process follows another on the same listening socket: SIGUSR2, and socket activation. Nobody is refused or
reset, no due time is lost or run twice, and whatever goes wrong with the new one, the old one goes on."""
import ctypes
import http.client
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import BINARY, seeded, shell, wait_for
from pg import cluster, clusters  # noqa: F401 (fixtures)
from test_drain_http import LIST, SLOW_NOTICE, queue_clients, read_answers
from test_scheduling import assert_every_due_time_once

HANDOVERS = int(os.environ.get("GATHERING_TEST_HANDOVERS", 50))
PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(autouse=True)
def heirs():
    """Whoever loses its parent becomes our child: so its end can be waited for."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0)


class Process:
    """A successor, with as much of Popen as harness.Server uses."""

    def __init__(self, pid):
        self.pid, self.returncode = pid, None

    def poll(self):
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
            except ChildProcessError:  # still the old one's child, which reaps it
                if not os.path.exists(f"/proc/{self.pid}"):
                    self.returncode = -1
        return self.returncode

    def wait(self, timeout=30):
        wait_for(lambda: self.poll() is not None, f"the end of {self.pid}", timeout)
        return self.returncode

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)


def count(server, text):
    return server.log.count(text)


def begin(server):
    """SIGUSR2; the pid of the new process. Asks again as long as the process before the last one is on its way out."""
    begun = count(server, "upgrade: the new process is starting")

    def has_begun():
        refused = count(server, "SIGUSR2 ignored")
        server.signal(signal.SIGUSR2)
        wait_for(lambda: count(server, "upgrade: the new process is starting") > begun or count(server, "SIGUSR2 ignored") > refused,
                 f"an answer\n{server.log}")
        return count(server, "upgrade: the new process is starting") > begun

    wait_for(has_begun, "the new process")
    return int(re.findall(r"new process is starting program=\S+ pid=(\d+)", server.log)[-1])


def hand_over(server):
    """Through to the end of the old process, which must have been clean."""
    old = server.process
    pid = begin(server)
    assert old.wait(60) == 0, server.log
    server.process = Process(pid)
    return server


def answers(server):
    return server.get("/health/live").status == 200


class Clients:
    """Threads that ask without a pause; every second one keeps its connection as long as it is let."""

    def __init__(self, server, count=4):
        self.server, self.failures, self.done, self.lock = server, [], 0, threading.Lock()
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self.ask, args=(n % 2 == 0, n)) for n in range(count)]
        for thread in self.threads:
            thread.start()

    def ask(self, is_kept, n):
        connection, asked = None, 0
        while not self.is_over.is_set():
            asked += 1
            try:
                if not connection:
                    connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=30)
                connection.request("GET", "/api/v1/actions?limit=1" if asked % 2 else "/api/v1/runs?limit=1")
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.failures.append(f"{n}: {answer.status}")
                if not is_kept or answer.will_close:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{n}: {error!r}")
                connection = None
            with self.lock:
                self.done += 1

    def end(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join()
        return self.done


# --- SIGUSR2 ---

def test_no_client_and_no_due_time_notices_fifty_handovers(servers, targets):
    target = targets()
    server = servers().start()
    server.create(name="tick", kind="http", http={"url": target.url}, overlap="allow", misfire="all",
                  schedule={"every": "200ms", "anchor": "2020-01-01T00:00:00Z"})
    clients = Clients(server)
    began = time.monotonic()
    for _ in range(HANDOVERS):
        hand_over(server)
    took = time.monotonic() - began
    done = clients.end()
    gaps = [int(ms) for ms in re.findall(r"handed over .*unplanned_ms=(\d+)", server.log)]
    print(f"{HANDOVERS} hand-overs in {took:.1f} s, {done} requests, {len(clients.failures)} failed; "
          f"nothing was planned for {sorted(gaps)[len(gaps) // 2]} ms (median), {max(gaps)} ms at most")
    assert clients.failures == [] and done > 10 * HANDOVERS
    server.post("/api/v1/actions/tick/pause")
    wait_for(lambda: not server.runs(state="pending,running"), "the last runs")
    assert_every_due_time_once(server.runs("tick"), 200)
    keys = [request["headers"]["Idempotency-Key"] for request in target.requests]
    assert len(keys) == len(set(keys)), "a due time ran twice"
    server.stop()


def test_a_run_ends_in_the_process_it_began_in(servers):
    server = servers(exec_enabled=True).start()
    server.create(name="long", **shell("while ! [ -e go ]; do sleep 0.05; done; echo end"))
    run = server.post("/api/v1/actions/long/run").json["id"]
    first = wait_for(lambda: (r := server.get(f"/api/v1/runs/{run}").json)["state"] == "running" and r, "the run")
    old = server.process
    server.process = Process(begin(server))
    wait_for(lambda: "handed over" in server.log and answers(server), "the new process")
    wait_for(lambda: server.get("/api/v1/instances").json["items"][0]["pid"] == server.pid, "its answer")
    assert server.get(f"/api/v1/runs/{run}").json == first, "the new process has touched it"
    assert old.poll() is None
    open(f"{server.folder}/go", "w", encoding="ascii").close()
    assert old.wait(30) == 0
    after = server.get(f"/api/v1/runs/{run}").json
    assert (after["state"], after["attempt"], after["interruptions"], after["epoch"]) == ("succeeded", 1, 0, first["epoch"])
    server.stop()


def test_a_cancel_reaches_a_run_of_the_process_that_drains(servers):
    server = servers(exec_enabled=True, run_max="60s", total_max="100s").start()
    server.create(name="long", **shell("echo > up; exec sleep 300"))
    run = server.post("/api/v1/actions/long/run").json["id"]
    wait_for(lambda: os.path.exists(f"{server.folder}/up"), "the program")
    old = server.process
    server.process = Process(begin(server))
    wait_for(lambda: "handed over" in server.log, "the hand-over")
    wait_for(lambda: server.post(f"/api/v1/runs/{run}/cancel").status == 202, "the new process to take it")
    assert server.wait_run(run)["state"] == "cancelled"
    assert old.wait(30) == 0
    server.stop()


def test_what_the_old_process_leaves_is_run_by_the_new_one(servers):
    """Its program outlasts run_max: handed back, and begun again within a second."""
    server = servers(exec_enabled=True, run_max="100ms").start()
    server.create(name="twice", **shell("echo x >> starts; [ $(wc -l < starts) = 2 ] || exec sleep 300"))
    run = server.post("/api/v1/actions/twice/run").json["id"]
    wait_for(lambda: os.path.exists(f"{server.folder}/starts"), "the program")
    old = server.process
    server.process = Process(begin(server))
    assert old.wait(30) == 3, "something was cut"
    after = server.wait_run(run)
    assert (after["state"], after["attempt"], after["interruptions"]) == ("succeeded", 1, 1)
    server.stop()


@pytest.fixture
def movable(servers, tmp_path):
    """A server started by a path that can be made to lead elsewhere, as a deploy does."""
    def make(**options):
        path = tmp_path / "current"
        path.symlink_to(BINARY)
        server = servers(**options)
        server.binary = str(path)

        def lead_to(target):
            path.unlink()
            if target.startswith("#!"):
                path.write_text(target)
                path.chmod(0o755)
            else:
                path.symlink_to(target)
        server.lead_to = lead_to
        return server
    return make


@pytest.mark.parametrize("program, words", [
    ("#!/bin/sh\nexit 7\n", "the new process ended before it was ready"),
    ("#!/bin/sh\nkill -SEGV $$\n", "the new process ended before it was ready"),
    ("#!/bin/sh\nexec sleep 300\n", "the new process is not ready in time"),
    ("/nowhere/gathering", "the new process cannot be started"),
])
def test_a_new_program_that_fails_changes_nothing(movable, targets, program, words):
    target = targets()
    server = movable(upgrade_max="500ms").start()
    server.create(name="tick", kind="http", http={"url": target.url}, schedule={"every": "100ms"})
    server.lead_to(program)
    for n in range(2):
        server.signal(signal.SIGUSR2)
        wait_for(lambda: count(server, words) > n, words)
        wait_for(lambda: count(server, "upgrade failed") > n, "the end of it")
        asked = len(target.requests)
        wait_for(lambda: len(target.requests) > asked + 2, "it to go on")
    assert server.get("/health/ready").status == 200
    server.lead_to(BINARY)
    hand_over(server).stop()


def test_a_new_program_that_dies_with_the_file_in_its_hands_changes_nothing(movable, targets):
    """It has asked for the store and got it: the old one has stopped planning, and plans again."""
    target = targets()
    server = movable(upgrade_max="20s").start()
    server.create(name="tick", kind="http", http={"url": target.url}, schedule={"every": "100ms"})
    # SEQPACKET on descriptor 3: ask for the store, wait for the answer, die
    server.lead_to("#!/usr/bin/python3\nimport os\nos.write(3, b'S'); assert os.read(3, 1) == b'G'; os.kill(os.getpid(), 9)\n")
    server.signal(signal.SIGUSR2)
    wait_for(lambda: "upgrade failed" in server.log, "the end of it")
    asked = len(target.requests)
    wait_for(lambda: len(target.requests) > asked + 2, "it to go on")
    server.stop()


def test_one_upgrade_at_a_time_and_none_while_stopping(movable):
    server = movable(upgrade_max="20s", notice_min="1s").start()
    server.lead_to("#!/bin/sh\nexec sleep 300\n")
    pid = begin(server)
    server.signal(signal.SIGUSR2)
    wait_for(lambda: "an upgrade is under way" in server.log, "the refusal")
    server.signal(signal.SIGTERM)
    wait_for(lambda: "called off" in server.log, "the end of the upgrade")
    server.signal(signal.SIGUSR2)
    wait_for(lambda: count(server, "SIGUSR2 ignored") == 2, "the second refusal")
    assert server.wait() == 0
    assert not os.path.exists(f"/proc/{pid}")


def test_whoever_is_killed_in_the_middle_one_goes_on(servers, targets):
    """kill -9 of the old or the new one at a random moment of a hand-over: then one serves and plans, never two."""
    rng, target = seeded(), targets()
    server = servers().start()
    server.create(name="tick", kind="http", http={"url": target.url}, misfire="all", overlap="allow",
                  schedule={"every": "100ms", "anchor": "2020-01-01T00:00:00Z"})
    for _ in range(12):
        old = server.process
        new = Process(begin(server))
        time.sleep(rng.random() * 0.12)  # the random moment is the test
        victim = rng.choice([old, new])
        victim.kill()
        victim.wait()
        if victim is old:
            server.process = new
        else:
            wait_for(lambda: "handed over" in server.log.rsplit("upgrade: the new", 1)[1]
                     or "upgrade failed" in server.log.rsplit("upgrade: the new", 1)[1], "the verdict")
            server.process = old
            if "handed over" in server.log.rsplit("upgrade: the new", 1)[1]:  # it had let go already, and ends
                old.wait(60)
                server.start()
        asked = len(target.requests)
        wait_for(lambda: len(target.requests) > asked + 2, f"the one that is left\n{server.log}")
        wait_for(lambda: server.get("/health/startup").status == 200, "its readiness")
    server.post("/api/v1/actions/tick/pause")
    wait_for(lambda: not server.runs(state="pending,running"), "the last runs")
    assert_every_due_time_once(server.runs("tick"), 100)
    server.stop()


def test_a_unix_socket_goes_from_hand_to_hand(servers, tmp_path):
    path = str(tmp_path / "api.sock")

    def ask():
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.sendall(b"GET /health/ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return sock.recv(4096)

    server = servers(listen=f"unix:{path}").spawn()
    wait_for(lambda: "to=ready" in server.log, "the start")
    inode = os.stat(path).st_ino
    for _ in range(2):
        hand_over(server)
        assert ask().startswith(b"HTTP/1.1 200") and os.stat(path).st_ino == inode
    server.stop()
    assert not os.path.exists(path), "the last one did not take it along"


def test_the_service_manager_is_told_whom_to_watch(servers, tmp_path):
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(tmp_path / "notify"))
    notify.settimeout(30)
    server = servers(environ={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "500000"}).start()
    hand_over(server)
    heard = []
    while not heard or "MAINPID" not in heard[-1]:
        heard.append(notify.recv(4096).decode())
    assert f"MAINPID={server.pid}\n" in heard[-1]
    assert not any("STOPPING" in word for word in heard)
    wait_for(lambda: "WATCHDOG=1" in notify.recv(4096).decode(), "the new one's sign of life")
    server.stop()
    notify.close()


def test_instances_on_postgresql_hand_over_too(servers, cluster, targets):  # noqa: F811
    name = f"t{time.monotonic_ns()}"
    cluster.sql(f"CREATE DATABASE {name}")
    target = targets()
    server = servers(database=cluster.url.rsplit("/", 1)[0] + "/" + name).start()
    server.create(name="tick", kind="http", http={"url": target.url}, overlap="allow", misfire="all",
                  schedule={"every": "200ms", "anchor": "2020-01-01T00:00:00Z"})
    clients = Clients(server)
    for _ in range(5):
        hand_over(server)
    clients.end()
    assert clients.failures == []
    server.post("/api/v1/actions/tick/pause")
    wait_for(lambda: not server.runs(state="pending,running"), "the last runs")
    assert_every_due_time_once(server.runs("tick"), 200)
    server.stop()


def test_whoever_waits_in_the_queue_of_a_socket_that_was_handed_over_is_answered(servers):
    """Once its predecessor is gone the socket is the server's own, and so is everybody in its queue."""
    server = hand_over(servers(**SLOW_NOTICE).start())
    wait_for(lambda: "the process before this one has ended" in server.log, "its being alone")
    assert read_answers(queue_clients(server, server.connect)) == [b"HTTP/1.1 200"] * 50
    assert server.wait() == 0
    assert server.log.count("listener_closed") == 2
    with pytest.raises(ConnectionRefusedError):
        server.connect()


# --- socket activation ---

@pytest.fixture
def activate(servers):
    """Starts a server as systemd does: sockets from 3 on, and their number."""
    def make(*sockets, start=True, **options):
        server = servers(**options)
        server.activation = sockets
        return server.start() if start else server.spawn()
    return make


def listening(family, address):
    sock = socket.socket(family)
    sock.bind(address)
    sock.listen(128)
    return sock


def test_a_passed_socket_outlives_the_server(activate):
    """Whoever connects while there is no server waits, and is answered by the next one."""
    with listening(socket.AF_INET, ("127.0.0.1", 0)) as sock:
        server = activate(sock)
        assert "inherited=true" in server.log and (server.host, server.port) == sock.getsockname()
        server.stop()
        early = socket.create_connection(sock.getsockname())
        early.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        server = activate(sock)
        early.settimeout(30)
        assert early.recv(4096).startswith(b"HTTP/1.1 200")
        early.close()
        hand_over(server)
        assert answers(server)
        server.stop()
        socket.create_connection(sock.getsockname()).close()  # still listening


def test_whoever_waits_in_the_queue_of_a_passed_socket_is_answered_by_one_or_the_next(activate):
    """Its 50 clients, and another one that comes when the server is gone, with the next not yet there."""
    with listening(socket.AF_INET, ("127.0.0.1", 0)) as sock:
        server = activate(sock, **SLOW_NOTICE)
        socks = queue_clients(server, server.connect)
        assert server.wait() == 0
        socks.append(socket.create_connection(sock.getsockname(), timeout=10))
        socks[-1].sendall(LIST)
        server = activate(sock, idle_timeout="100ms")
        assert read_answers(socks) == [b"HTTP/1.1 200"] * 51
        server.stop()


def test_a_passed_unix_socket_keeps_its_file(activate, tmp_path):
    path = str(tmp_path / "api.sock")
    with listening(socket.AF_UNIX, path) as sock:
        server = activate(sock, start=False)
        wait_for(lambda: "to=ready" in server.log, "the start")
        assert f"address=unix:{path} inherited=true" in server.log
        server.stop()
        assert os.path.exists(path)


def test_sockets_that_cannot_be_served_are_refused_with_the_reason(activate):
    with listening(socket.AF_INET, ("127.0.0.1", 0)) as one, listening(socket.AF_INET, ("127.0.0.1", 0)) as two, \
            listening(socket.AF_INET, ("0.0.0.0", 0)) as everywhere, socket.socket() as deaf, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        deaf.bind(("127.0.0.1", 0))
        datagrams.bind(("127.0.0.1", 0))
        for sockets, words, status in [((one, two), "2 sockets were passed", 2), ((everywhere,), "--insecure", 1),
                                       ((deaf,), "does not listen", 1), ((datagrams,), "does not listen", 1)]:
            server = activate(*sockets, start=False)
            assert server.wait() == status, server.log
            assert words in server.log


def test_sockets_meant_for_another_process_are_left_alone(servers):
    server = servers(environ={"LISTEN_FDS": "1", "LISTEN_PID": "1"}).start()
    assert "inherited=false" in server.log
    server.stop()
