# SPDX-License-Identifier: Apache-2.0
"""What clients see of a stop: every request that is taken is answered, whoever dawdles is let go in time, and the
listener closes without losing a connection (LIFECYCLE tests 6 to 15)."""
import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import select
import signal
import socket
import statistics
import threading
import time

import pytest

import trouble
from harness import head_of_post, http_action, seeded, wait_for

LIST = b"GET /api/v1/actions HTTP/1.1\r\nHost: a\r\n\r\n"
OTHER_AGENT = {"User-Agent": "gathering/test"}  # not a prober


def begin_post(server, body, *fields):
    """A request whose body has not come yet: in flight."""
    sock = server.connect()
    sock.sendall(head_of_post(body, "Expect: 100-continue", *fields))
    assert sock.recv(100).startswith(b"HTTP/1.1 100")
    return sock


def read_answer(sock):
    answer = http.client.HTTPResponse(sock)
    answer.begin()
    answer.body = answer.read()
    return answer


def read_all(sock, timeout=20):
    sock.settimeout(timeout)
    return b"".join(iter(lambda: sock.recv(65536), b""))


def wait_notice(server):
    wait_for(lambda: server.get("/health/ready", headers=OTHER_AGENT).status == 503, "the notice")


def wait_event(server, name):
    wait_for(lambda: name in server.stop_events, name)


# --- in flight ---

def test_a_request_in_flight_is_answered_in_full_and_the_exit_follows_at_once(servers):
    server = servers(http_max="20s").start()
    body = json.dumps(http_action("late"))
    sock = begin_post(server, body)
    server.signal(signal.SIGTERM)
    wait_event(server, "listener_closed")
    time.sleep(2)  # the client takes its time
    assert server.process.poll() is None and "http_drained" not in server.stop_events
    sock.sendall(body.encode())
    answer = read_answer(sock)
    answered = time.monotonic()
    assert answer.status == 201 and answer.headers["Connection"] == "close" and json.loads(answer.body)["name"] == "late"
    sock.close()
    assert server.wait() == 0
    assert time.monotonic() - answered < 10  # 0.2 s by the specification; with the sanitizers on a noisy machine more
    server = servers().start()
    assert server.get("/api/v1/actions/late").status == 200
    server.stop()


def test_a_slow_body_that_makes_progress_is_awaited(servers):
    server = servers(http_max="20s").start()
    body = json.dumps(http_action("dripped"))
    sock = begin_post(server, body)
    server.signal(signal.SIGTERM)
    wait_event(server, "listener_closed")
    for at in range(0, len(body), 10):
        sock.sendall(body[at:at + 10].encode())
        time.sleep(0.3)  # the client's pace
    assert read_answer(sock).status == 201
    sock.close()
    assert server.wait() == 0


def test_a_request_that_takes_too_long_is_cut_and_named_in_the_log(servers):
    server = servers(http_max="1s").start()
    sock = begin_post(server, json.dumps(http_action("late")), "X-Request-ID: the-late-one")
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.wait() == 3
    assert 0.9 < time.monotonic() - began < 8
    assert re.search(r"requests cut.* requests=1", server.log)
    assert re.search(r"request cut.* request=the-late-one method=POST path=/api/v1/actions", server.log)
    sock.settimeout(5)
    with contextlib.suppress(ConnectionError):
        assert not sock.recv(1000).startswith(b"HTTP/1.1 2")
    server = servers().start()
    assert server.get("/api/v1/actions").json == {"items": []}
    server.stop()


def test_a_half_closed_client_gets_its_answer(servers, tmp_path):
    """Also when the answer comes long after its half was shut: the database is locked meanwhile."""
    server = servers(notice_min="2s", notice_max="2s").start()
    server.signal(signal.SIGTERM)
    wait_notice(server)
    with contextlib.ExitStack() as stack:
        with trouble.write_lock(tmp_path / "gathering.db"):
            socks = [stack.enter_context(server.connect()) for _ in range(10)]
            for n, sock in enumerate(socks):
                body = json.dumps(http_action(f"a{n}"))
                sock.sendall(head_of_post(body) + body.encode())
                sock.shutdown(socket.SHUT_WR)
            in_flight = re.compile(rb"http_requests_in_flight (\d+)")
            wait_for(lambda: int(in_flight.search(server.get("/metrics").body).group(1)) == 11, "them all in flight")
        for sock in socks:
            assert read_all(sock).startswith(b"HTTP/1.1 201")
    assert server.wait() == 0


def test_a_client_that_never_reads_does_not_hold_the_drain(servers):
    server = servers(body_timeout="1s", notice_max="500ms").start()
    for n in range(40):
        server.create(name=f"a{n}", kind="http", http={"url": "http://127.0.0.1:9/", "body": "x" * 30_000})
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect((server.host, server.port))
        sock.sendall(LIST.replace(b"actions", b"actions?limit=1000") * 20)
        wait_for(lambda: select.select([sock], [], [], 0)[0], "the first bytes")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0, server.log
    assert server.stop_events["http_drained"] < 9000  # http_max is 10 s


# --- connections that are kept ---

def test_requests_on_kept_connections_are_served_at_any_moment_of_the_notice(servers):
    """200 idle connections; on 50 a request comes at a random moment. No reset, no end of file before the answer; the
    others end with FIN."""
    rng = seeded()
    server = servers(notice_min="3s", notice_max="3s", connections_per_address=1000).start()
    pool = [server.connect() for _ in range(200)]
    for sock in pool:
        sock.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_answer(sock).status == 200
    server.signal(signal.SIGTERM)
    wait_notice(server)
    began = time.monotonic()
    used, idle = pool[:50], pool[50:]
    for moment, sock in zip(sorted(rng.random() * 2.5 for _ in used), used):
        time.sleep(max(0, began + moment - time.monotonic()))  # the random moment is the test
        sock.sendall(LIST)
        answer = read_answer(sock)
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
    for sock in pool:
        assert read_all(sock) == b""  # a reset would raise
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        sock.close()
    assert len(idle) == 150 and server.wait() == 0


def test_an_idle_connection_is_served_until_its_grace_is_over(servers):
    """Also when the listener has been closed already."""
    server = servers(idle_grace="50s", http_max="60s", total_max="100s").start()
    with server.connect() as sock:
        sock.sendall(LIST)
        assert read_answer(sock).headers["Connection"] is None
        server.signal(signal.SIGTERM)
        wait_event(server, "listener_closed")
        sock.sendall(LIST)
        answer = read_answer(sock)
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
    assert server.wait() == 0


def test_kept_connections_are_told_to_close(servers):
    server = servers(notice_min="1s").start()
    used, idle = [http.client.HTTPConnection(server.host, server.port, timeout=10) for _ in range(2)]
    for connection in (used, idle):
        connection.request("GET", "/api/v1/actions")
        answer = connection.getresponse()
        assert answer.read() and answer.headers["Connection"] is None
    idle_socket = idle.sock
    server.signal(signal.SIGTERM)
    wait_notice(server)
    used.request("POST", "/api/v1/actions", json.dumps(http_action("during")), {"Content-Type": "application/json"})
    answer = used.getresponse()
    assert (answer.status, answer.headers["Connection"]) == (201, "close")
    idle_socket.settimeout(10)
    assert idle_socket.recv(1) == b"", "an idle connection ends with FIN, not with a reset"
    assert server.wait() == 0


def test_every_kind_of_answer_says_close_while_draining(servers):
    """Without a body, without content, for a client that speaks HTTP/1.0, or one that would like to upgrade."""
    server = servers().start()
    server.create(**http_action("a"))
    assert server.post("/api/v1/instances/self/drain").status == 200

    def ask(line, *fields):
        with server.connect() as sock:
            sock.sendall("\r\n".join([line, "Host: a", *fields, "", ""]).encode())
            head = read_all(sock).split(b"\r\n\r\n")[0]  # to its end: the server closes
        return int(head.split()[1]), head.count(b"\r\nConnection: close")

    assert ask("HEAD /api/v1/actions HTTP/1.1") == (200, 1)
    assert ask("DELETE /api/v1/actions/a HTTP/1.1") == (204, 1)
    assert ask("GET /api/v1/actions HTTP/1.0", "Connection: keep-alive") == (200, 1)
    assert ask("GET /api/v1/actions HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket") == (200, 1)
    assert ask("GET /nothing HTTP/1.1") == (404, 1)
    server.stop()


def test_pipelined_requests_are_all_answered_and_the_last_one_says_close(servers):
    """The signal comes while the second of five is arriving."""
    server = servers(notice_min="1s").start()
    with server.connect() as sock:
        stream = LIST * 5
        half = len(LIST) * 3 // 2
        sock.sendall(stream[:half])
        assert sock.recv(1, socket.MSG_PEEK)
        server.signal(signal.SIGTERM)
        wait_notice(server)
        sock.sendall(stream[half:])
        answer = read_all(sock)
    assert answer.count(b"HTTP/1.1 200") == 5 and answer.count(b"Connection: close") == 1
    assert b"Connection: close" in answer[answer.rindex(b"HTTP/1.1 200"):]
    assert server.wait() == 0


# --- who dawdles ---

def test_500_slow_loris_connections_end_by_the_head_deadline(servers):
    """Each drips a byte of its head a second. A normal request is served meanwhile, and the drain waits for none
    of them longer than 2 s behind the close of the listener."""
    server = servers(notice_min="1s", notice_max="1s", header_timeout="60s", connections_per_address=1000).start()
    socks = [server.connect() for _ in range(500)]
    is_ending = threading.Event()

    def drip():
        while not is_ending.is_set():
            for sock in socks:
                with contextlib.suppress(OSError):
                    sock.send(b"a")
            is_ending.wait(1)

    for sock in socks:
        sock.sendall(b"GET /api/v1/actions HTTP/1.1\r\nHost: a\r\nX-A: ")
    dripper = threading.Thread(target=drip)
    dripper.start()
    try:
        server.signal(signal.SIGTERM)
        wait_notice(server)
        assert server.get("/api/v1/actions").status == 200
        assert server.wait() == 0, server.log
    finally:
        is_ending.set()
        dripper.join()
    events = server.stop_events
    assert events["http_drained"] - events["listener_closed"] < 8000  # 3 s on an idle machine; http_max is 10 s
    for sock in socks:
        sock.close()


# --- descriptors run out ---

def cpu_s(server):
    with open(f"/proc/{server.pid}/stat", encoding="utf-8") as file:
        user, system = file.read().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def connect_until_refused(server):
    """-> clients that say nothing, as many as the server has descriptors for."""
    socks = []
    while not select.select(socks, [], [], 0.01)[0]:
        assert len(socks) < 400
        socks.append(server.connect())
    refused = select.select(socks, [], [])[0][0]
    assert b" 503 " in refused.recv(100)
    return socks


def test_without_descriptors_the_listener_neither_spins_nor_loses_the_drain(servers):
    server = servers(prefix=["prlimit", "--nofile=80:80"], header_timeout="60s").start()
    socks = connect_until_refused(server)
    assert b"out of file descriptors" in read_all(server.connect())
    began, used = time.monotonic(), cpu_s(server)
    time.sleep(1)  # what it does in a second of this
    assert cpu_s(server) - used < 0.5 * (time.monotonic() - began)
    for sock in socks[:len(socks) // 2]:
        sock.close()

    def is_served(path):
        with contextlib.suppress(OSError, http.client.HTTPException):  # turned away before it has said its request
            return server.get(path).status == 200

    wait_for(lambda: is_served("/health/live") and is_served("/api/v1/actions"), "service when some are free")
    socks += connect_until_refused(server)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0, server.log
    assert list(server.stop_events)[-1] == "store_closed"
    for sock in socks:
        sock.close()


# --- the notice ---

def test_the_door_is_open_until_the_notice_ends(servers):
    server = servers(notice_min="500ms").start()
    server.signal(signal.SIGTERM)
    wait_notice(server)
    assert "notice_done" not in server.stop_events
    assert server.get("/api/v1/actions").status == 200
    assert server.wait() == 0
    with pytest.raises(ConnectionRefusedError):
        server.connect()


def test_a_fixed_pause_is_neither_shorter_nor_longer(servers):
    """notice_min = notice_max: nobody asks, and it lasts; somebody asks all the time, and it ends."""
    quiet, busy = [servers(database="memory:", notice_min="3s", notice_max="3s").start() for _ in range(2)]
    for server in (quiet, busy):
        server.signal(signal.SIGTERM)
    with contextlib.suppress(OSError, http.client.HTTPException):
        while True:
            busy.get("/health/ready", headers={"User-Agent": "balancer"})
            busy.get("/api/v1/actions")
    for server in (quiet, busy):
        assert server.wait() == 0
        assert 3000 <= server.stop_events["notice_done"] < 4500


def test_an_idle_server_stops_within_300_ms(servers):
    """20 times, nobody probing. What the machine does meanwhile is not ours: the quicker half counts."""
    times = []
    for _ in range(20):
        server = servers()
        server.environ["ASAN_OPTIONS"] = server.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"  # its search takes time
        server.start()
        began = time.monotonic()
        server.stop()
        times.append(round((time.monotonic() - began) * 1000))
    print("idle stop, ms:", sorted(times))
    assert statistics.quantiles(times)[0] < 300


# --- the accept queue ---

class Storm:
    """Clients that make a new connection for every request, until they are refused."""

    def __init__(self, connect, clients):
        self.connect, self.answered, self.lost = connect, 0, []
        self.threads = [threading.Thread(target=self.run) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while True:
            try:
                sock = self.connect()
            except (ConnectionRefusedError, FileNotFoundError):
                return
            except OSError as error:  # reset while connecting is a loss too
                self.lost.append(error)
                return
            try:
                with sock:
                    sock.sendall(LIST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                    answer = read_all(sock)
                    if not answer.startswith(b"HTTP/1.1 200"):
                        self.lost.append(answer)
                    self.answered += 1
            except OSError as error:
                self.lost.append(error)


def connect_unix(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)
    sock.connect(path)
    return sock


def start_on(servers, folder, kind, **options):
    """-> (server, a way to connect to it)"""
    listen = {"ipv4": "127.0.0.1:0", "ipv6": "[::1]:0", "unix": f"unix:{folder}/s"}[kind]
    server = servers(listen=listen, database=f"sqlite:{folder}/g.db", **options).spawn()
    if kind != "unix":
        server.wait_listening()
    wait_for(lambda: "to=ready" in server.log, "the start")
    return server, (lambda: connect_unix(f"{folder}/s")) if kind == "unix" else server.connect


SLOW_NOTICE = {"notice_min": "4s", "notice_max": "4s"}  # it must stand still before that is over


def is_stopped(server):
    with open(f"/proc/{server.pid}/stat", encoding="utf-8") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "T"


def queue_clients(server, connect):
    """-> 50 clients in the queue of a server with SLOW_NOTICE, which wakes to the end of its notice: it has been told
    to stop, and has stood still while they came."""
    drained = server.log.count("to=draining")
    server.signal(signal.SIGTERM)
    wait_for(lambda: server.log.count("to=draining") > drained, "the notice")
    noticed = time.monotonic()
    server.signal(signal.SIGSTOP)
    wait_for(lambda: is_stopped(server), "it to stand still")
    socks = [connect() for _ in range(50)]
    for sock in socks:
        sock.sendall(LIST)
    time.sleep(max(0, noticed + 4.5 - time.monotonic()))  # the notice runs out
    server.signal(signal.SIGCONT)
    return socks


def read_answers(socks):
    answers = []
    for sock in socks:
        try:
            answers.append(read_all(sock)[:12])
        except OSError as error:
            answers.append(repr(error))
        sock.close()
    return answers


@pytest.mark.parametrize("kind", ["ipv4", "ipv6", "unix"])
def test_whoever_waits_in_the_queue_when_the_listener_closes_is_answered(servers, tmp_path, kind):
    server, connect = start_on(servers, tmp_path, kind, **SLOW_NOTICE)
    assert read_answers(queue_clients(server, connect)) == [b"HTTP/1.1 200"] * 50
    assert server.wait() == 0


def stop_in_a_storm(servers, folder, kind):
    folder.mkdir()
    server, connect = start_on(servers, folder, kind, notice_max="200ms")
    storm = Storm(connect, 6)
    wait_for(lambda: storm.answered > 20, "the storm")
    server.signal(signal.SIGTERM)
    status = server.wait()
    for thread in storm.threads:
        thread.join(30)
    return status, storm.answered, storm.lost


@pytest.mark.parametrize("kind, stops", [("ipv4", 20), ("ipv6", 8), ("unix", 8)])
def test_stops_in_a_storm_lose_no_connection(servers, tmp_path, kind, stops):
    stops = int(os.environ.get("STORM_STOPS", stops))  # make soak
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda n: stop_in_a_storm(servers, tmp_path / f"storm{n}", kind), range(stops)))
    print("answered:", [answered for _, answered, _ in results])
    assert [lost for _, _, lost in results if lost] == []
    assert [status for status, _, _ in results] == [0] * stops
