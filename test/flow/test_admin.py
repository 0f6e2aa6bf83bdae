# SPDX-License-Identifier: Apache-2.0
"""The admin socket, and what an operator does with it: draining an instance, taking that back, waiting for it."""
import http.client
import os
import re
import signal
import socket
import subprocess

import pytest

from harness import Answer, BINARY, shell, wait_for, wait_lines
from test_handover import hand_over, heirs  # noqa: F401 (fixture)


class OverUnix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("admin", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self.path)


@pytest.fixture
def watched(servers, tmp_path):
    """A server with an admin socket and a way to ask it."""
    def make(**options):
        server = servers(admin_socket=str(tmp_path / "admin.sock"), **options)
        server.admin_path = str(tmp_path / "admin.sock")

        def ask(path, method="GET"):
            connection = OverUnix(server.admin_path)
            try:
                connection.request(method, path)
                answer = connection.getresponse()
                return Answer(answer.status, answer.headers, answer.read())
            finally:
                connection.close()
        server.ask = ask
        return server.start()
    return make


def cli(server, *arguments, **options):
    return subprocess.Popen([BINARY, "--server", f"unix:{server.admin_path}", *arguments], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, env=server.environ, **options)


def test_it_is_for_its_owner_alone_and_serves_nothing_but_operations(watched):
    server = watched(rate_health=1)
    assert os.stat(server.admin_path).st_mode & 0o777 == 0o600
    for path in ("/health/live", "/health/ready", "/health/startup", "/health", "/health/checks", "/health/system", "/metrics"):
        assert {server.ask(path).status for _ in range(3)} == {200}, path  # no rate limit
    for method, path in (("GET", "/api/v1/actions"), ("GET", "/api/v1/runs"), ("GET", "/"), ("POST", "/api/v1/events")):
        assert server.ask(path, method).status in (404, 405), path
    assert b"http_connections 0\n" in server.ask("/metrics").body, "it counts itself"
    server.stop()
    assert not os.path.exists(server.admin_path)


def test_it_answers_while_the_listener_is_gone_and_the_runs_end(watched):
    server = watched(exec_enabled=True)
    server.create(name="long", **shell("echo up > up; while ! [ -e go ]; do sleep 0.05; done"))
    server.post("/api/v1/actions/long/run")
    wait_lines(f"{server.folder}/up", "the program")
    server.signal(signal.SIGTERM)
    wait_for(lambda: "scheduler_stopped" in server.stop_events, "the drain to wait for the run")
    with pytest.raises(ConnectionRefusedError):
        server.get("/health/live")
    assert server.ask("/health/live").status == 200 and server.ask("/health/ready").status == 503
    shutdown = server.ask("/health").json["shutdown"]
    assert (shutdown["waits_for"], shutdown["runs_running"], shutdown["is_stop"], shutdown["cut"]) == ("scheduler", 1, True, False)
    assert 0 < shutdown["left_ms"] <= 25000
    assert [event["event"] for event in shutdown["events"]][:3] == ["shutting_down", "notice_done", "listener_closed"]
    assert server.ask("/api/v1/instances/self/undrain", "POST").status == 409
    open(f"{server.folder}/go", "w", encoding="ascii").close()
    assert server.wait() == 0


def test_health_and_metrics_tell_what_a_stop_has_done_and_cut(watched):
    """A balancer asks until it has heard; two runs are cut, and one of the programs does not obey."""
    server = watched(exec_enabled=True, run_max="100ms", term_grace="60s", total_max="200s")

    def figure(name):
        return int(re.search(rf"^gathering_{name} (\d+)$", server.ask("/metrics").body.decode(), re.M).group(1))

    def probe(status):
        """Once more: who is silent for a second is no prober, and the machine may be slow."""
        assert server.get("/health/ready", headers={"User-Agent": "balancer"}).status == status
        told.append(status)
        return True

    def refusals():
        return [prober["refusals"] for prober in server.ask("/health").json["shutdown"]["probers"] if prober["agent"] == "balancer"]

    told = []

    assert figure('state{state="ready"}') == 1 and figure('state{state="draining"}') == 0 and figure("probers") == 0
    for name, trap in (("obeys", ""), ("stubborn", "trap '' TERM;")):
        server.create(name=name, **shell(f"{trap} echo up > {name}; while :; do sleep 0.05; done", on_interrupt="hold"))
    runs = {name: server.post(f"/api/v1/actions/{name}/run").json["id"] for name in ("obeys", "stubborn")}
    for name in runs:
        wait_lines(f"{server.folder}/{name}", "the program")
    wait_for(lambda: probe(200) and figure("probers") == 1, "the prober to be known")
    assert server.ask("/api/v1/instances/self/drain", "POST").status == 200
    assert figure('state{state="draining"}') == 1
    wait_for(lambda: probe(503) and refusals() == [told.count(503)] and told.count(503) >= 3, "it to have heard")
    assert figure("probes_refused_total") == told.count(503)
    server.signal(signal.SIGTERM)
    wait_for(lambda: "claims_drained" in server.stop_events, "the drain to wait for the runs")
    shutdown = wait_for(lambda: (found := server.ask("/health").json["shutdown"])["runs_cut"] and found["runs_running"] == 1 and found, "the cut")
    assert set(shutdown["runs_cut"]) == set(runs.values())
    events = shutdown["events"]
    assert [event["event"] for event in events][:3] == ["shutting_down", "notice_done", "listener_closed"]
    assert sum(event["took_ms"] for event in events) == events[-1]["after_ms"]
    assert figure('drain_ms{phase="notice_done"}') == events[1]["took_ms"] and figure('state{state="stopping"}') == 1
    assert (figure("runs_cut_total"), figure("runs_killed_total"), figure("runs_running")) == (2, 0, 1)
    server.signal(signal.SIGQUIT)
    assert server.wait() == 3
    for name, run in runs.items():
        assert re.search(rf"run cut action={name} run={run} ", server.log)
    assert re.search(r"notice ended=quiet took_ms=\d+ probers=[01] all_have_heard=true", server.log)
    assert re.search(r"event=claims_drained after_ms=\d+ cut=\w+ took_ms=\d+ connections=\d+ requests=0 runs=\d", server.log)


def test_a_prober_that_asks_there_is_not_waited_for(watched):
    server = watched()
    for _ in range(3):
        server.ask("/health/ready")
    server.stop()
    assert server.stop_events["notice_done"] < 1000


def test_drain_and_undrain_and_no_stopping_is_said(watched, tmp_path):
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(tmp_path / "notify"))
    notify.settimeout(30)
    server = watched(environ={"NOTIFY_SOCKET": str(tmp_path / "notify")})
    for _ in range(2):
        assert server.ask("/api/v1/instances/self/drain", "POST").json["state"] == "draining"
        assert server.ask("/health/ready").status == 503 and server.get("/api/v1/actions").status == 200
        assert server.ask("/api/v1/instances/self/undrain", "POST").json["state"] == "ready"
    heard = []
    while sum("ready: undrain" in word for word in heard) < 2:
        heard.append(notify.recv(4096).decode())
    assert not any("STOPPING" in word for word in heard)
    server.stop()
    notify.close()


def test_waiting_for_a_drain_ends_with_the_last_run(watched):
    server = watched(exec_enabled=True)
    server.create(name="long", **shell("echo up > up; while ! [ -e go ]; do sleep 0.05; done"))
    server.post("/api/v1/actions/long/run")
    wait_lines(f"{server.folder}/up", "the program")
    late = cli(server, "instance", "drain", "--wait", "--timeout", "1s")
    assert late.wait(60) == 3 and "not drained in time" in late.stdout.read()
    waiting = cli(server, "instance", "drain", "--wait")
    assert "draining" in waiting.stdout.readline()
    assert waiting.poll() is None
    open(f"{server.folder}/go", "w", encoding="ascii").close()
    assert waiting.wait(60) == 0 and waiting.stdout.read() == "drained\n"
    assert server.get("/health/startup").status == 200, "it has only drained"
    server.stop()


@pytest.mark.parametrize("run_max, status, words", [("60s", 0, "stopped\n"), ("100ms", 3, "a deadline cut something")])
def test_waiting_for_a_stop_tells_whether_something_was_cut(watched, run_max, status, words):
    server = watched(exec_enabled=True, run_max=run_max, total_max="100s", term_grace="60s")
    server.create(name="long", **shell("trap '' TERM; echo up > up; while ! [ -e go ]; do sleep 0.05; done"))
    server.post("/api/v1/actions/long/run")
    wait_lines(f"{server.folder}/up", "the program")
    server.signal(signal.SIGTERM)
    wait_for(lambda: "scheduler_stopped" in server.stop_events, "the stop to wait for the run")
    waiting = cli(server, "instance", "drain", "--wait")
    assert waiting.stdout.readline() == "stopping already\n"
    if status == 0:
        open(f"{server.folder}/go", "w", encoding="ascii").close()
    else:
        server.signal(signal.SIGQUIT)
    assert server.wait() == status, server.log
    assert waiting.wait(60) == status
    assert words in waiting.stdout.read()


def test_it_goes_from_hand_to_hand(watched, heirs):  # noqa: F811
    server = watched()
    first = server.ask("/health").json["instance_id"]
    hand_over(server)
    assert server.ask("/health").json["instance_id"] != first
    assert b"\ngathering_handovers_total 1\n" in server.ask("/metrics").body
    server.stop()
    assert not os.path.exists(server.admin_path)


def test_nobody_is_there(servers, tmp_path):
    done = subprocess.run([BINARY, "--server", f"unix:{tmp_path}/none.sock", "instance", "drain", "--wait"], capture_output=True, text=True, check=False,
                          env=servers().environ)
    assert done.returncode == 1 and "cannot reach" in done.stderr
