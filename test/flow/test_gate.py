# SPDX-License-Identifier: Apache-2.0
"""Hostile requests over a raw socket against the whole server: none is executed, and who sends them, dawdles or
takes too much leaves the others in peace.

The requests are the table of the unit test (test/unit/hostile_requests.def), aimed here at an action: every
hidden or malformed request would run it, and the ledger would tell.
"""
import concurrent.futures
import json
import re
import socket
import time

import pytest

import hostile
from harness import Server, wait_for

RUN = b"POST /api/v1/actions/kept/run HTTP/1.1"
HIDDEN = b"GET /smuggled HTTP/1.1"
PATIENCE_S = 60


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("gate"), header_timeout="1s", body_timeout="1s", idle_timeout="1s").start()
    server.create(name="kept", kind="http", http={"url": "http://127.0.0.1:9/"}, overlap="allow")
    yield server
    server.stop()
    server.close()


def ledger(server):
    """At rest: a run that an earlier control test has started may still be about to end."""
    wait_for(lambda: not server.runs(state="pending,running"), "earlier runs to end")
    return [server.get(path).body for path in ("/api/v1/actions?total=true", "/api/v1/runs?limit=1000&total=true")]


def handled(server):
    """Requests that have reached a handler, without this one."""
    return int(re.search(rb"http_requests_total (\d+)", server.get("/metrics").body).group(1))


def say(server, *parts, pause_s=0, shut=False, source=None):
    """Sends the parts and returns all that is answered until the server closes."""
    with socket.create_connection((server.host, server.port), timeout=PATIENCE_S, source_address=source) as sock:
        answer = b""
        try:
            for part in parts:
                sock.sendall(part)
                time.sleep(pause_s)
            if shut:
                sock.shutdown(socket.SHUT_WR)
            while chunk := sock.recv(65536):
                answer += chunk
        except ConnectionError:
            pass
        return answer


def statuses(answer):
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)]


def request(line, *fields, body=b""):
    return b"\r\n".join([line, b"Host: a", *fields, b"", b""]) + body


# --- the table ---

def aimed(raw):
    """The request with everything in it turned against the action; lengths that span a hidden one fit again."""
    grown = len(RUN) - len(HIDDEN)
    for length in (36, 44):
        if HIDDEN in raw:
            raw = raw.replace(b": %d\r\n" % length, b": %d\r\n" % (length + grown))
    raw = raw.replace(HIDDEN, RUN).replace(b"POST /x", b"POST /api/v1/actions/kept/run")
    return raw.replace(b"GET /x", b"GET /api/v1/actions/kept").replace(b"/smuggled", b"/api/v1/actions/kept/run")


def test_the_table_is_refused_and_nothing_of_it_is_executed(site):
    before, count = ledger(site), handled(site)
    rows = hostile.requests()
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda row: say(site, aimed(row[2])), rows))
    for (name, expected, _), answer in zip(rows, answers):
        got = statuses(answer)
        # libmicrohttpd, where it speaks first, may write the head of its refusal twice
        assert all(status >= 400 and status == got[0] for status in got), (name, answer)
        assert expected == 0 or got == [expected], (name, answer)
        if expected:
            check_refusal(answer)
    assert handled(site) == count + 1  # the first look at the counter
    assert ledger(site) == before


def check_refusal(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    problem = json.loads(body)
    assert b"\r\nContent-Type: application/problem+json" in head and b"\r\nConnection: close" in head, answer
    assert {"type", "title", "status", "detail", "code", "request_id"} == set(problem), problem
    assert f"X-Request-ID: {problem['request_id']}".encode() in head


def test_what_is_hidden_would_have_been_executed(site):
    """The control: the same request in the open, alone and behind another, does change the ledger."""
    runs = len(site.runs("kept"))
    answer = say(site, request(RUN) + request(RUN), request(b"GET /api/v1/actions/kept HTTP/1.1", b"Connection: close"))
    assert statuses(answer) == [202, 202, 200]
    assert len(site.runs("kept")) == runs + 2


def after(line, *fields, body=b""):
    return request(line, *fields, body=body) + request(RUN)


@pytest.mark.parametrize("raw", {
    "chunked with a trailer that is a request": after(
        b"POST /api/v1/schedules/preview HTTP/1.1", b"Transfer-Encoding: chunked", body=b"0\r\n" + RUN + b"\r\nHost: a\r\n\r\n"),
    "chunked, then another": after(
        b"POST /api/v1/schedules/preview HTTP/1.1", b"Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n"),
    "chunk size with a bare line feed": after(
        b"POST /api/v1/schedules/preview HTTP/1.1", b"Transfer-Encoding: chunked", body=b"2\n{}\n0\n\n"),
    "chunk with an extension": after(
        b"POST /api/v1/schedules/preview HTTP/1.1", b"Transfer-Encoding: chunked", body=b"2;a=b\r\n{}\r\n0\r\n\r\n"),
    "chunk extension with a hidden line": after(
        b"POST /api/v1/schedules/preview HTTP/1.1", b"Transfer-Encoding: chunked", body=b"2;\n{}\r\n0\r\n\r\n"),
    "behind a refusal": request(b"GET /x HTTP/1.1", b"Bad Name: x") + request(RUN),
    "behind a body too large": request(b"POST /x HTTP/1.1", b"Content-Length: 99999999") + request(RUN),
    "behind Connection: close": request(b"GET /health/live HTTP/1.1", b"Connection: close") + request(RUN),
    "behind HTTP/1.0": b"GET /health/live HTTP/1.0\r\n\r\n" + request(RUN),
    "behind an upgrade to HTTP/2": request(
        b"GET /health/live HTTP/1.1", b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings, close", b"HTTP2-Settings: AAAA") + request(RUN),
}.items(), ids=lambda row: row[0])
def test_nothing_behind_the_last_request_is_executed(site, raw):
    before = ledger(site)
    assert len(statuses(say(site, raw[1]))) <= 1
    assert ledger(site) == before


@pytest.mark.parametrize("fields, body", [
    ([b"Content-Length: 50"], b"{}"), ([b"Transfer-Encoding: chunked"], b"2\r\n{}\r\n"), ([b"Transfer-Encoding: chunked"], b"2\r\n{"),
    ([b"Content-Length: 2", b"Expect: 100-continue"], b"")])
def test_half_a_request_is_not_executed(site, fields, body):
    """Whether the client leaves in the middle or merely stops."""
    before = ledger(site)
    raws = [request(RUN, *fields, body=body), b"POST /api/v1/actions/kept/run HTT", RUN, RUN + b"\r\nHost: a\r\n"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda case: say(site, case[0], shut=case[1]), [(raw, shut) for raw in raws for shut in (True, False)])
    assert all(status in (100, 400, 408) for answer in answers for status in statuses(answer))
    assert ledger(site) == before


def test_headers_that_promise_another_method_or_path_are_ignored(site):
    before = ledger(site)
    fields = [b"X-HTTP-Method-Override: POST", b"X-Original-URL: /api/v1/actions/kept/run", b"X-Rewrite-URL: /api/v1/actions/kept/run",
              b"X-Forwarded-Prefix: /x", b"Connection: close"]
    answer = say(site, request(b"GET /api/v1/actions/kept HTTP/1.1", *fields))
    assert statuses(answer) == [200] and ledger(site) == before
    assert statuses(say(site, request(b"GET /api/v1/actions/kept/run HTTP/1.1", *fields))) == [405]


@pytest.mark.parametrize("raw, expected", [
    (request(b"GET /" + b"x" * 9000 + b" HTTP/1.1"), 414), (request(b"GET / HTTP/1.1", b"X-A: " + b"a" * 17000), 431),
    (request(b"GET / HTTP/1.1", b"a" * 17000 + b": x"), 431), (request(b"GET / HTTP/1.1", *[b"X-%d: y" % n for n in range(200)]), 431),
    (request(b"GET / HTTP/1.1", *[b"a:b"] * 5000), 431), (b"GET /" + b"x" * 200_000, 0), (b"x" * 200_000, 0), (b"\0" * 200_000, 0)])
def test_heads_that_are_too_large(site, raw, expected):
    got = statuses(say(site, raw))
    assert (got == [expected]) if expected else (len(got) <= 1 and all(400 <= status < 500 for status in got))


def test_a_request_may_come_in_pieces(site):
    raw = request(b"GET /health/live HTTP/1.1", b"Connection: close")
    for size in (1, 7):
        pieces = [raw[at:at + size] for at in range(0, len(raw), size)]
        assert say(site, *pieces, pause_s=0.001).endswith(b'{"alive": true}')


def test_continue_is_said_before_a_body_is_read(site):
    with site.connect() as sock:
        sock.sendall(request(b"POST /api/v1/schedules/preview HTTP/1.1", b"Content-Length: 2", b"Expect: 100-continue", b"Connection: close"))
        assert sock.recv(65536).startswith(b"HTTP/1.1 100 ")
        sock.sendall(b"{}")
        assert statuses(sock.recv(65536)) == [422]


# --- who dawdles ---

def drip(server, at_once, slowly):
    """Sends a part at once and then a byte at a time, the last one again and again, until the server ends it;
    returns what it said and after how long."""
    began, answer = time.monotonic(), b""
    with server.connect() as sock:
        sock.sendall(at_once)
        sock.settimeout(0.1)
        while time.monotonic() - began < PATIENCE_S:
            try:
                sock.sendall(slowly[:1])
                slowly = slowly[1:] or slowly
                chunk = sock.recv(65536)
                answer += chunk
            except TimeoutError:
                continue
            except ConnectionError:
                chunk = b""
            if not chunk:
                return answer, time.monotonic() - began
    raise AssertionError(f"the connection was held for {PATIENCE_S} s")


POST = b"POST /api/v1/actions HTTP/1.1"
CHUNKED = b"Transfer-Encoding: chunked"


DRIPS = {
    "a head": (b"", request(b"GET /api/v1/actions HTTP/1.1", b"X-A: " + b"a" * 1000), [408]),
    "a target": (b"", b"GET /" + b"x" * 1000, [408]),
    "empty lines": (b"", b"\r\n" * 1000, [408]),
    "a second head": (request(b"GET /health/live HTTP/1.1"), b"GET /health/live", [200, 408]),
    "a body": (request(POST, b"Content-Length: 1000"), b" ", [408]),
    "chunks": (request(POST, CHUNKED), b"3e8\r\n ", [408]),
    "one chunk": (request(POST, CHUNKED, body=b"3e8\r\n"), b" ", [408]),
    "a chunk size": (request(POST, CHUNKED), b"0", [408]),
    "a chunk extension": (request(POST, CHUNKED), b"1;a=" + b"x" * 1000, [408]),
    "trailers": (request(POST, CHUNKED, body=b"0\r\n"), b"X: " + b"y" * 1000, [408]),
}


@pytest.mark.parametrize("at_once, slowly, expected", DRIPS.values(), ids=DRIPS.keys())
def test_a_dripped_request_does_not_hold_a_connection(site, at_once, slowly, expected):
    """All limits are 1 s; libmicrohttpd's own would begin anew with every byte."""
    before = ledger(site)
    answer, took = drip(site, at_once, slowly)
    assert took < 15, took
    assert statuses(answer) == expected, answer
    assert ledger(site) == before


def test_a_hundred_dawdlers_do_not_stop_the_others(site):
    socks = [site.connect() for _ in range(100)]
    for sock in socks:
        sock.sendall(b"GET /api/v1/actions HTTP/1.1\r\nHost: a\r\nX-A")
    began = time.monotonic()
    while time.monotonic() - began < 0.7:
        for sock in socks:
            sock.sendall(b"a")
        assert site.get("/api/v1/actions/kept").status == 200
    for sock in socks:
        sock.settimeout(PATIENCE_S)
        assert statuses(sock.recv(65536)) == [408]
        sock.close()


def test_a_client_that_never_reads_is_let_go(servers):
    """Its answers would fill the kernel's buffers and then wait for ever."""
    server = servers(body_timeout="1s", header_timeout="1s", idle_timeout="1s").start()
    for n in range(60):
        server.create(name=f"a{n}", kind="http", http={"url": "http://127.0.0.1:9/", "body": "x" * 30_000})
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect((server.host, server.port))
        sock.sendall(request(b"GET /api/v1/actions?limit=1000 HTTP/1.1") * 20)
        wait_for(lambda: b"http_connections 1\n" in server.get("/metrics").body, "its end")
    server.stop()


# --- who takes too much ---

def test_500_idle_connections_do_not_stop_health(servers):
    server = servers(connections_per_address=1000, idle_timeout="60s").start()
    socks = []
    for n in range(500):
        sock = server.connect()
        if n % 2:
            sock.sendall(request(b"GET /health/live HTTP/1.1"))
        socks.append(sock)
    for path in ("/health/ready", "/health/live", "/health", "/health/checks"):
        began = time.monotonic()
        assert server.get(path).status == 200
        assert time.monotonic() - began < 15
    for sock in socks:
        sock.close()
    wait_for(lambda: b"http_connections 1\n" in server.get("/metrics").body, "the end of the connections")
    server.stop()


def open_idle(server, count, source=None):
    return [socket.create_connection((server.host, server.port), PATIENCE_S, source) for _ in range(count)]


def connections(server):
    """How many are open, this one included; asked from an address of its own."""
    answer = say(server, request(b"GET /metrics HTTP/1.1", b"Connection: close"), source=("127.0.0.9", 0))
    return int(re.search(rb"http_connections (\d+)", answer).group(1))


def test_connections_are_limited_for_all_and_health_has_a_reserve(servers):
    server = servers(connections_max=16, connections_per_address=1000, header_timeout="60s", idle_timeout="60s").start()
    wait_for(lambda: connections(server) == 1, "a quiet server")
    idle = open_idle(server, 16)
    wait_for(lambda: b"200" in say(server, request(b"GET /health/ready HTTP/1.1", b"Connection: close"))[:20], "the reserve")
    refused = say(server, request(b"GET /api/v1/actions HTTP/1.1"))
    assert statuses(refused) == [503] and b"Retry-After: 1" in refused
    check_refusal(refused.replace(b"Retry-After: 1\r\n", b""))
    for path in (b"/health/live", b"/health/ready", b"/health"):  # one request each: the reserve is for probes
        answer = say(server, request(b"GET " + path + b" HTTP/1.1") * 2)
        assert statuses(answer) == [200] and b"Connection: close" in answer
    held = open_idle(server, 16)  # the reserve is taken too
    refused = wait_for(lambda: say(server, b""), "a refusal at the door")
    assert statuses(refused) == [503]
    for sock in idle + held:
        sock.close()
    wait_for(lambda: statuses(say(server, request(b"GET /api/v1/actions HTTP/1.1", b"Connection: close"))) == [200], "service again")
    server.stop()


def test_connections_are_limited_per_address(servers):
    server = servers(connections_per_address=8, header_timeout="60s", idle_timeout="60s").start()
    wait_for(lambda: connections(server) == 1, "a quiet server")
    idle = open_idle(server, 8)
    refused = say(server, request(b"GET /health/live HTTP/1.1", b"X-Forwarded-For: 10.1.2.3", b"Connection: close"))
    assert statuses(refused) == [503] and b"this address" in refused
    answer = say(server, request(b"GET /api/v1/actions HTTP/1.1", b"Connection: close"), source=("127.0.0.2", 0))
    assert statuses(answer) == [200]
    idle.pop().close()
    wait_for(lambda: statuses(say(server, request(b"GET /api/v1/actions HTTP/1.1", b"Connection: close"))) == [200], "its own place")
    for sock in idle:
        sock.close()
    server.stop()


def test_idle_connections_are_closed(servers):
    server = servers(idle_timeout="1s", header_timeout="1s").start()
    began = time.monotonic()
    assert say(server) == b""  # has never said anything
    assert statuses(say(server, request(b"GET /health/live HTTP/1.1"))) == [200]
    assert time.monotonic() - began < 10
    server.stop()


def test_the_server_is_as_before(site):
    assert site.get("/health/ready").json == {"ready": True}
    assert not re.search(r"^\S+ (warn|error) (?!run )", site.log, re.M), site.log
