# SPDX-License-Identifier: Apache-2.0
"""What a service manager hears over $NOTIFY_SOCKET (LIFECYCLE test 42), with a socket of our own."""
import re
import signal
import socket

import pytest

from harness import wait_for


class Manager:
    def __init__(self, address):
        self.heard = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def hears(self, text):
        while True:
            try:
                self.heard.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return any(text in message for message in self.heard)


@pytest.fixture
def manager(tmp_path):
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.socket.close()


def test_ready_only_when_ready_and_stopping_only_on_a_real_stop(servers, manager, tmp_path):
    server = servers(environ={"NOTIFY_SOCKET": str(tmp_path / "notify")}).start()
    assert manager.hears("READY=1")
    assert server.post("/api/v1/instances/self/drain").status == 200
    assert manager.hears("STATUS=draining")
    assert not manager.hears("STOPPING=1")
    assert server.post("/api/v1/instances/self/undrain").status == 200
    server.stop()
    assert manager.hears("STOPPING=1")
    assert manager.hears("EXTEND_TIMEOUT_USEC=")
    assert manager.hears("STATUS=stopped")
    order = "\n".join(manager.heard)
    assert order.index("READY=1") < order.index("STOPPING=1")


def test_a_start_that_fails_is_never_ready(servers, manager, tmp_path):
    server = servers(environ={"NOTIFY_SOCKET": str(tmp_path / "notify")},
                     database=f"sqlite:{tmp_path}/missing/folder/x.db").spawn()
    assert server.wait() == 1
    assert manager.hears("STATUS=stopped") and not manager.hears("READY=1")


def test_the_watchdog_is_kept_alive_by_the_loop_also_while_draining(servers, manager, tmp_path):
    server = servers(environ={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"},
                     notice_min="1s").start()

    def count():
        manager.hears("")
        return sum("WATCHDOG=1" in message for message in manager.heard)

    wait_for(lambda: count() >= 3, "three signs of life")
    server.signal(signal.SIGTERM)
    wait_for(lambda: manager.hears("STOPPING=1"), "the stop")
    before = count()
    wait_for(lambda: count() >= before + 3, "signs of life while draining")
    assert server.wait() == 0


def test_a_stopped_loop_gives_no_sign_of_life(servers, manager, tmp_path):
    server = servers(environ={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"}).start()
    wait_for(lambda: manager.hears("WATCHDOG=1"), "a sign of life")
    server.signal(signal.SIGSTOP)
    wait_for(lambda: re.search(r"State:\s+T", open(f"/proc/{server.pid}/status").read()), "the stop")
    manager.hears("")
    manager.heard.clear()
    with pytest.raises(AssertionError):
        wait_for(lambda: manager.hears("WATCHDOG=1"), "nothing", timeout=0.5)
    server.signal(signal.SIGCONT)
    wait_for(lambda: manager.hears("WATCHDOG=1"), "life again")


def test_a_watchdog_meant_for_somebody_else_is_ignored(servers, manager, tmp_path):
    server = servers(environ={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000",
                              "WATCHDOG_PID": "1"}).start()
    server.stop()
    assert not manager.hears("WATCHDOG=1")


@pytest.mark.parametrize("address", ["relative", "/nobody/listens/here", ""])
def test_a_manager_that_is_not_there_is_no_fault(servers, address):
    servers(environ={"NOTIFY_SOCKET": address}).start().stop()
