# SPDX-License-Identifier: Apache-2.0
"""A rolling deploy of two servers behind HAProxy without retries: no request fails, and a direct look sees
the 503 while the listener still serves (LIFECYCLE tests 1, 4 and 5)."""
import http.client
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import Server, wait_for

HAPROXY = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin")
CONFIG = """
global
    maxconn 2000
    stats socket {folder}/stats.sock mode 600 level admin
defaults
    mode http
    retries 0
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    option httpchk GET /health/ready
    default-server check inter {inter} fall 3 rise 2
frontend in
    bind 127.0.0.1:{port}
    default_backend servers
backend servers
    balance roundrobin
    server a 127.0.0.1:{a}
    server b 127.0.0.1:{b}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Balancer:
    def __init__(self, folder, ports, inter):
        self.folder, self.port = folder, free_port()
        config = folder / "haproxy.cfg"
        config.write_text(CONFIG.format(folder=folder, port=self.port, a=ports[0], b=ports[1], inter=inter))
        self.process = subprocess.Popen([HAPROXY, "-db", "-f", str(config)], stdout=subprocess.DEVNULL,
                                        stderr=open(folder / "haproxy.log", "wb"))
        wait_for(lambda: self.states() == ["UP", "UP"], "both servers up in HAProxy")

    def states(self):
        try:
            with socket.socket(socket.AF_UNIX) as stats:
                stats.connect(str(self.folder / "stats.sock"))
                stats.sendall(b"show stat\n")
                text = b"".join(iter(lambda: stats.recv(65536), b"")).decode()
        except OSError:
            return []
        rows = [line.split(",") for line in text.splitlines() if line.startswith("servers,")]
        return [row[17] for row in rows if row[1] in "ab"]

    def close(self):
        self.process.terminate()
        self.process.wait()


class Load:
    """Clients that never retry; GET and POST, keep-alive or a connection a request."""

    def __init__(self, port, clients=8, pause=0.02):
        self.port, self.pause = port, pause
        self.ok, self.failed, self.is_ending = 0, [], False
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(clients)]
        for thread in self.threads:
            thread.start()

    def one(self, connection, number, keeps):
        headers = {} if keeps else {"Connection": "close"}
        if number % 4 == 0:
            body = '{"schedule": {"every": "10s"}, "count": 1}'
            connection.request("POST", "/api/v1/schedules/preview", body,
                               {"Content-Type": "application/json", **headers})
        else:
            connection.request("GET", "/api/v1/actions?limit=1", headers=headers)
        answer = connection.getresponse()
        answer.read()
        return answer

    def run(self, client):
        keeps, number = client % 2 == 0, client
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self.is_ending:
            number += 1
            try:
                answer = self.one(connection, number, keeps)
                if answer.status == 200:
                    self.ok += 1
                else:
                    self.failed.append((time.monotonic(), answer.status))
            except (OSError, http.client.HTTPException) as error:
                self.failed.append((time.monotonic(), repr(error)))
                connection.close()
            if not keeps:
                connection.close()
            time.sleep(self.pause)
        connection.close()

    def end(self):
        self.is_ending = True
        for thread in self.threads:
            thread.join()


def make_pair(tmp_path, **options):
    pair = []
    for name in "ab":
        folder = tmp_path / name
        folder.mkdir()
        pair.append(Server(folder, **options).start())
    return pair


def restart(server):
    """The same port again, as a deploy does."""
    server.options["listen"] = f"127.0.0.1:{server.port}"
    return server.start()


@pytest.fixture
def pair(tmp_path):
    servers = make_pair(tmp_path)
    yield servers
    for server in servers:
        server.close()


@pytest.mark.skipif(not HAPROXY, reason="haproxy is not installed")
def test_rolling_two_servers_behind_haproxy_fails_no_request(tmp_path, pair):
    balancer = Balancer(tmp_path, [server.port for server in pair], inter="500ms")
    load = Load(balancer.port)
    try:
        wait_for(lambda: load.ok > 200, "the load to flow")
        for server in pair:
            server.signal(signal.SIGTERM)
            refusals = 0
            while server.process.poll() is None:
                try:
                    refusals += server.get("/health/ready", headers={"User-Agent": "gathering/test"}).status == 503
                except OSError:
                    break
                time.sleep(0.05)
            assert server.wait() == 0, server.log
            assert refusals >= 3, "the 503 was visible while connections were still accepted"
            restart(server)
            wait_for(lambda: balancer.states() == ["UP", "UP"], "both servers up again")
    finally:
        load.end()
        balancer.close()
    print(f"{load.ok} requests, {len(load.failed)} failed")
    assert load.failed == []


def test_a_balancer_that_never_notices_ends_at_notice_max(servers):
    """It probes, gets its 503 and goes on sending: everything is answered until the close, then refused."""
    server = servers(notice_max="2s").start()
    outcomes, is_ending = [], threading.Event()

    def send():
        while not is_ending.is_set():
            try:
                outcomes.append((time.monotonic(), server.get("/api/v1/actions").status))
            except ConnectionRefusedError:
                outcomes.append((time.monotonic(), "refused"))
                return
            except OSError as error:
                outcomes.append((time.monotonic(), repr(error)))

    sender = threading.Thread(target=send)
    sender.start()
    wait_for(lambda: len(outcomes) > 10, "requests")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    is_ending.set()
    sender.join()
    assert {outcome for _, outcome in outcomes} <= {200, "refused"}
    assert "notice_done after_ms=2" in server.log


def test_a_prober_that_vanishes_does_not_hold_the_drain(servers):
    server = servers(notice_max="60s").start()
    for _ in range(4):
        server.get("/health/ready", headers={"User-Agent": "balancer"})
    server.signal(signal.SIGTERM)
    assert server.wait() == 0  # well before notice_max; WAIT_S is 30


def test_a_prober_that_goes_on_is_heard(servers):
    server = servers(notice_max="60s").start()
    answers = []
    while server.process.poll() is None:
        try:
            answers.append(server.get("/health/ready", headers={"User-Agent": "balancer"}).status)
        except OSError:
            break
        if len(answers) == 5:
            server.signal(signal.SIGTERM)
        time.sleep(0.1)
    assert server.wait() == 0
    assert answers.count(503) >= 3
