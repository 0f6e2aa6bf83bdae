# SPDX-License-Identifier: Apache-2.0
"""Rolling deploys behind real load balancers without retries: no request fails, and a direct look sees the 503
while the listener still serves (LIFECYCLE tests 1 to 5). The rolls of the file wait side by side."""
import concurrent.futures
import functools
import http.client
import signal
import socket
import threading
import time

import pytest

from balancers import HAPROXY, NGINX, Haproxy, Load, Nginx, Roll
from harness import free_port, wait_for

ROLLS = {
    "haproxy_500ms": functools.partial(Roll, balancer=functools.partial(Haproxy, inter="500ms")),
    "haproxy_2s": functools.partial(Roll, balancer=functools.partial(Haproxy, inter="2s")),
    "nginx": functools.partial(Roll, balancer=Nginx, drains_first=True),
    # the older fixed pause: three checks at 500 ms fit into it
    "fixed_pause": functools.partial(Roll, balancer=functools.partial(Haproxy, inter="500ms"), notice_min="3s", notice_max="3s"),
}


@pytest.fixture(scope="module")
def rolls(request, tmp_path_factory):
    """All that this session wants begin at the first use and wait at the same time."""
    wanted = [item.callspec.params["kind"] for item in request.session.items
              if item.fspath == request.fspath and "kind" in getattr(getattr(item, "callspec", None), "params", {})]
    with concurrent.futures.ThreadPoolExecutor(len(ROLLS)) as pool:
        yield {kind: pool.submit(ROLLS[kind], tmp_path_factory.mktemp(kind)) for kind in wanted}


needs_haproxy = pytest.mark.skipif(not HAPROXY, reason="haproxy is not installed")
needs_nginx = pytest.mark.skipif(not NGINX, reason="nginx is not installed")


@pytest.mark.parametrize("kind", [
    pytest.param("haproxy_500ms", marks=needs_haproxy), pytest.param("haproxy_2s", marks=needs_haproxy),
    pytest.param("nginx", marks=needs_nginx), pytest.param("fixed_pause", marks=needs_haproxy)])
def test_a_roll_of_two_servers_fails_no_request(rolls, kind):
    roll = rolls[kind].result()
    print(f"{kind}: {roll.load.ok} requests, {len(roll.load.failed)} failed, stops took {roll.took_s} s, 503 seen {roll.refusals}")
    assert roll.load.failed == []
    assert min(roll.refusals) >= 3, "the 503 was visible while connections were still accepted"


def test_a_restart_under_socket_activation_refuses_nobody(servers):
    """Three restarts with 300 ms of no server: who comes in between waits in the queue of the socket."""
    with socket.create_server(("127.0.0.1", free_port()), backlog=1024) as sock:
        server = servers(notice_max="500ms")
        server.activation = [sock]
        server.start()
        load = Load(server.port)
        try:
            for _ in range(3):
                done = load.ok
                wait_for(lambda: load.ok > done + 100, "the load to flow")
                server.stop()
                time.sleep(0.3)  # the gap
                server.start()
            done = load.ok
            wait_for(lambda: load.ok > done + 100, "the load to flow")
        finally:
            load.end()
        print(f"{load.ok} requests, {len(load.failed)} failed, longest {load.longest_s * 1000:.0f} ms")
        assert load.failed == []
        server.stop()


def test_a_balancer_that_never_notices_ends_at_notice_max(servers):
    """It probes, gets its 503 and goes on sending: everything is answered until the close, then refused."""
    server = servers(notice_max="2s").start()
    outcomes, is_ending = [], threading.Event()

    def send():
        while not is_ending.is_set():
            try:
                outcomes.append(server.get("/api/v1/actions").status)
            except ConnectionRefusedError:
                outcomes.append("refused")
                return
            except (OSError, http.client.HTTPException) as error:
                outcomes.append(repr(error))

    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    wait_for(lambda: len(outcomes) > 20, "requests")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    is_ending.set()
    for sender in senders:
        sender.join()
    assert set(outcomes) <= {200, "refused"}
    assert "notice_done after_ms=2" in server.log


def test_a_prober_that_vanishes_does_not_hold_the_drain(servers):
    server = servers(notice_max="20s").start()
    for _ in range(4):
        server.get("/health/ready", headers={"User-Agent": "balancer"})
        time.sleep(0.2)  # a balancer's pace: its interval is what its silence is measured by
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert time.monotonic() - began < 15  # about a second; notice_max is far behind that


def test_a_prober_that_goes_on_is_heard(servers):
    server = servers(notice_max="60s").start()
    answers = []
    while server.process.poll() is None:
        try:
            answers.append(server.get("/health/ready", headers={"User-Agent": "balancer"}).status)
        except (OSError, http.client.HTTPException):
            break
        if len(answers) == 5:
            server.signal(signal.SIGTERM)
        time.sleep(0.1)  # a balancer's pace
    assert server.wait() == 0
    assert answers.count(503) >= 3
