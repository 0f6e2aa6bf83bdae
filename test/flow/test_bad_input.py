# SPDX-License-Identifier: Apache-2.0
"""What people and their programs get wrong: each mistake is answered by a problem document that names it,
changes nothing and tells nothing about our insides.

One server for the whole file; two actions of it must survive all of it byte for byte.
"""
import http.client
import json
import os
import random
import re
import socket
import time

import pytest

from harness import Server

NOBODY = "00000000-0000-7000-8000-000000000000"
ACTIONS, KEPT = "/api/v1/actions", "/api/v1/actions/kept"
JSON = {"Content-Type": "application/json"}
BODY_MAX = 1024 * 1024

# What must never leave the server: SQL, source files, the place of the database, addresses in memory.
LEAKS = re.compile(r"JSON_ALLOW|SELECT|INSERT|UPDATE |sqlite|constraint|\.[ch]:\d|gathering\.db|pytest-of|src/|0x[0-9a-f]{6}|\x00")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("bad_input")).start()
    server.create(**action("kept", schedule={"cron": "0 0 1 1 *"}))
    server.create(**action("other"))
    server.post(KEPT + "/pause")
    server.ended_run = server.post(KEPT + "/run").json["id"]
    server.wait_run(server.ended_run)
    yield server
    server.stop()
    server.close()


def action(name="new", **members):
    return {"name": name, "kind": "http", "http": {"url": "http://127.0.0.1:9/"}, **members}


def with_http(**members):
    return action(http={"url": "http://127.0.0.1:9/", **members})


def with_exec(**members):
    return {"name": "new", "kind": "exec", "exec": members}


def nested(depth):
    return b"[" * depth + b"]" * depth


def raw(text):
    """The JSON of an action with `text` put in as it is."""
    text = text.encode() if isinstance(text, str) else text
    return b'{"name": "new", "kind": "http", "http": {"url": "http://127.0.0.1:9/"}, ' + text + b"}"


def everything(server):
    """All that a request could have changed; an instance says with each answer that it lives."""
    instances = server.get("/api/v1/instances").json["items"]
    return [[(one["id"], one["state"]) for one in instances]] + [server.get(path).body for path in
            ("/api/v1/actions?limit=1000&total=true", "/api/v1/runs?limit=1000&total=true", KEPT,
             f"/api/v1/runs/{server.ended_run}")]


def check_problem(answer, status, code, pointer=None):
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json
    assert set(problem) >= {"type", "title", "status", "detail", "code", "request_id"}, problem
    assert set(problem) <= {"type", "title", "status", "detail", "code", "request_id", "errors"}, problem
    assert (problem["status"], problem["code"]) == (status, code), problem
    assert problem["type"] == "urn:gathering:problem:" + code
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert problem["title"] and problem["detail"]
    if pointer is not None:
        assert pointer in [error["pointer"] for error in problem["errors"]], problem
        assert all(error["detail"] for error in problem["errors"])
    assert not LEAKS.search(answer.body.decode()), answer
    return problem


# --- bodies that are no JSON: 400, and the place ---

NOT_JSON = {
    "empty": b"",
    "blank": b" \r\n\t",
    "one brace": b"{",
    "cut short": json.dumps(action()).encode()[:-1],
    "cut in a string": b'{"name": "ne',
    "text behind": json.dumps(action()).encode() + b"x",
    "two values": json.dumps(action()).encode() * 2,
    "trailing comma": b'{"name": "new",}',
    "no quotes": b"{name: 1}",
    "single quotes": b"{'name': 'new'}",
    "comment": raw('"tags": [] /* none */'),
    "NaN": raw('"priority": NaN'),
    "Infinity": raw('"priority": -Infinity'),
    "number too large": raw('"priority": 1e999'),
    "integer too large": raw('"priority": 99999999999999999999'),
    "leading zero": raw('"priority": 007'),
    "hexadecimal": raw('"priority": 0x10'),
    "plus sign": raw('"priority": +1'),
    "control character in a string": raw('"description": "a\nb"'),
    "bad escape": raw('"description": "\\x41"'),
    "escape cut short": raw('"description": "\\u12"'),
    "lone high surrogate": raw('"description": "\\ud800"'),
    "lone low surrogate": raw('"description": "\\udc00"'),
    "surrogates the wrong way round": raw('"description": "\\udc00\\ud800"'),
    "NUL byte in front": b"\0" + json.dumps(action()).encode(),
    "NUL byte behind": json.dumps(action()).encode() + b"\0",
    "NUL byte in a string": raw(b'"description": "a\0b"'),
    "broken UTF-8": raw(b'"description": "\xff\xfe"'),
    "UTF-8 cut short": raw(b'"description": "\xe2\x82"'),
    "overlong UTF-8": raw(b'"description": "\xc0\xaf"'),
    "surrogate in UTF-8": raw(b'"description": "\xed\xa0\x80"'),
    "beyond Unicode": raw(b'"description": "\xf5\x80\x80\x80"'),
    "broken UTF-8 in a key": raw(b'"\xff": 1'),
    "UTF-16": json.dumps(action()).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + json.dumps(action()).encode(),
    "a key twice": raw('"name": "again"'),
    "an inner key twice": raw('"retry": {"max_attempts": 1, "max_attempts": 2}'),
    "a key twice, once escaped": raw('"n\\u0061me": "again"'),
    "NUL in a key": raw('"a\\u0000b": 1'),
    "NUL in a name": raw('"name": "a\\u0000b"'),
    "NUL in a duration": raw('"timeout": "10s\\u0000"'),
    "NUL in a choice": raw('"overlap": "skip\\u0000"'),
    "NUL in an argument": raw('"exec": {"command": ["/bin/a\\u0000b"]}'),
    "NUL in a cron expression": raw('"schedule": {"cron": "*\\u0000 * * * *"}'),
    "33 levels": nested(33),
    "10,000 levels": nested(10_000),
    "500,000 levels, unclosed": b"[" * 500_000,
    "500,000 objects, unclosed": b'{"a":' * 200_000,
    "a form": b"name=new&kind=http",
    "XML": b"<action name='new'/>",
    "YAML": b"name: new\nkind: http\n",
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("method, path", [
    ("POST", ACTIONS), ("PUT", KEPT), ("PATCH", KEPT), ("POST", "/api/v1/schedules/preview")])
@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_no_json_is_400(site, method, path, body):
    before = everything(site)
    check_problem(site.request(method, path, body, JSON), 400, "bad_request")
    assert everything(site) == before


# --- values that cannot be taken: 422, and where each one stands ---

UNACCEPTABLE = [
    # the whole
    (None, ""), ([], ""), ("text", ""), (42, ""), (True, ""), ({}, "/name"), ({}, "/kind"), ([[]], "/0"), ([None], "/0"),
    ({"items": []}, "/items"), ({"items": {}}, "/items"), ({"items": None}, "/items"),
    ({"items": [action()], "name": "x"}, ""),
    # members
    (action(nmae="x"), "/nmae"), (action(Name="x"), "/Name"), (action(**{"": 1}), "/"), (action(**{"a/b~c": 1}), "/a~1b~0c"),
    (with_http(verb="GET"), "/http/verb"), (action(schedule={"cron": "* * * * *", "tz": "UTC"}), "/schedule/tz"),
    (action(retry={"attempts": 3}), "/retry/attempts"), (action(exec={"command": ["/bin/true"]}), "/exec"),
    ({"name": "new", "kind": "http"}, "/http"), ({"name": "new", "kind": "exec"}, "/exec"),
    ({"name": "new", "kind": "mail"}, "/kind"),
    # names
    (action(name=""), "/name"), (action(name=5), "/name"), (action(name=None), "/name"), (action(name=["a"]), "/name"),
    (action(name="a b"), "/name"), (action(name="a/b"), "/name"), (action(name="../etc"), "/name"), (action(name=".hidden"), "/name"),
    (action(name="naïve"), "/name"), (action(name="a\nb"), "/name"),
    (action(name="x" * 5000), "/name"), (action(name=NOBODY), "/name"), (action(name="'; DROP TABLE actions; --"), "/name"),
    # types
    (action(kind="HTTP"), "/kind"), (action(kind=1), "/kind"), (action(http="http://127.0.0.1/"), "/http"), (action(http=None), "/http"),
    (action(schedule="* * * * *"), "/schedule"), (action(schedule=[]), "/schedule"), (action(timeout=10), "/timeout"),
    (action(timeout=True), "/timeout"), (action(priority="1"), "/priority"), (action(priority=1.5), "/priority"),
    (action(pause_records="yes"), "/pause_records"), (action(pause_records=1), "/pause_records"), (action(tags="a"), "/tags"),
    (action(tags=[1]), "/tags/0"), (action(tags=["a", None]), "/tags/1"), (action(retry=3), "/retry"),
    (action(description={}), "/description"), (action(queue_limit=[]), "/queue_limit"), (action(max_catchup=1e2), "/max_catchup"),
    (with_http(headers=[]), "/http/headers"), (with_http(headers={"X": 1}), "/http/headers/X"), (with_http(body={}), "/http/body"),
    (with_http(url=5), "/http/url"), (with_http(expect_status=[]), "/http/expect_status"), (with_http(expect_status=[200, "2xx"]), "/http/expect_status/1"),
    (with_exec(command="df -h"), "/exec/command"), (with_exec(command=[]), "/exec/command"), (with_exec(command=[1]), "/exec/command/0"),
    (with_exec(command={"a": 1}), "/exec/command"), (with_exec(), "/exec/command"), (with_exec(command=["/bin/true"], env=[]), "/exec/env"),
    # ranges
    (action(priority=101), "/priority"), (action(priority=-101), "/priority"), (action(priority=2**62), "/priority"),
    (action(timeout="0s"), "/timeout"), (action(timeout="8d"), "/timeout"), (action(timeout="-1s"), "/timeout"),
    (action(timeout="10"), "/timeout"), (action(timeout="10 parsecs"), "/timeout"), (action(timeout=""), "/timeout"),
    (action(timeout="99999999999999999999s"), "/timeout"), (action(timeout="1e3s"), "/timeout"),
    (action(queue_limit=0), "/queue_limit"), (action(queue_limit=10**9), "/queue_limit"), (action(max_catchup=-1), "/max_catchup"),
    (action(max_lateness="400d"), "/max_lateness"), (action(misfire_grace="-1ms"), "/misfire_grace"),
    (action(retry={"max_attempts": 0}), "/retry/max_attempts"), (action(retry={"max_attempts": 10**6}), "/retry/max_attempts"),
    (action(retry={"jitter": 1.01}), "/retry/jitter"), (action(retry={"jitter": -0.1}), "/retry/jitter"),
    (action(retry={"initial": "2m", "max": "1m"}), "/retry/initial"), (action(retry={"backoff": "random"}), "/retry/backoff"),
    (action(overlap="maybe"), "/overlap"), (action(misfire="all "), "/misfire"), (action(on_interrupt=""), "/on_interrupt"),
    (action(tags=["a", "a"]), "/tags/1"), (action(tags=[""]), "/tags/0"), (action(tags=["a\tb"]), "/tags/0"),
    (action(tags=[f"t{n}" for n in range(1000)]), "/tags"), (action(tags=["x" * 5000]), "/tags/0"),
    (action(description="x" * 100_000), "/description"),
    (with_http(expect_status=99), "/http/expect_status"), (with_http(expect_status=600), "/http/expect_status"),
    (with_http(expect_status="299-200"), "/http/expect_status"), (with_http(expect_status="2xx"), "/http/expect_status"),
    # targets
    (with_http(url=""), "/http/url"), (with_http(url="ftp://127.0.0.1/"), "/http/url"), (with_http(url="file:///etc/passwd"), "/http/url"),
    (with_http(url="gopher://127.0.0.1/"), "/http/url"), (with_http(url="//127.0.0.1/"), "/http/url"), (with_http(url="http://"), "/http/url"),
    (with_http(url="http:///path"), "/http/url"), (with_http(url="http://u:p@127.0.0.1/"), "/http/url"),
    (with_http(url="http://127.0.0.1:0/"), "/http/url"), (with_http(url="http://127.0.0.1:65536/"), "/http/url"),
    (with_http(url="http://127.0.0.1:8x/"), "/http/url"), (with_http(url="http://[::1/"), "/http/url"), (with_http(url="http://a b/"), "/http/url"),
    (with_http(url="http://127.0.0.1/\r\nX: y"), "/http/url"), (with_http(url="http://127.0.0.1\\@b/"), "/http/url"),
    (with_http(url="http://127.0.0.1/" + "x" * 10_000), "/http/url"), (with_http(url="http://\u00e4.example/"), "/http/url"),
    (with_http(url="javascript:alert(1)"), "/http/url"), (with_http(url=" http://127.0.0.1/"), "/http/url"),
    (with_http(method="TRACE"), "/http/method"), (with_http(method="get"), "/http/method"), (with_http(method="GET / HTTP/1.1"), "/http/method"),
    (with_http(headers={"X-A": "a\r\nX-B: b"}), "/http/headers/X-A"), (with_http(headers={"X A": "b"}), "/http/headers/X A"),
    (with_http(headers={"": "b"}), "/http/headers/"), (with_http(headers={"X:": "b"}), "/http/headers/X:"),
    (with_http(headers={"Host": "b"}), "/http/headers/Host"), (with_http(headers={"transfer-encoding": "b"}), "/http/headers/transfer-encoding"),
    (with_http(headers={"X-Gathering-Epoch": "1"}), "/http/headers/X-Gathering-Epoch"),
    (with_http(headers={"A": "1", "a": "2"}), "/http/headers/a"), (with_http(headers={f"X-{n}": "v" for n in range(1000)}), "/http/headers"),
    (with_http(body="x" * 900_000), "/http/body"),
    (with_exec(command=[""]), "/exec/command/0"),
    (with_exec(command=["/bin/true"], cwd="relative"), "/exec/cwd"), (with_exec(command=["/bin/true"], env={"1A": "b"}), "/exec/env/1A"),
    (with_exec(command=["/bin/true"], env={"A=B": "c"}), "/exec/env/A=B"), (with_exec(command=["/bin/true"], user="-root"), "/exec/user"),
    (with_exec(command=["/bin/true"], env={"GATHERING_RUN_ID": "c"}), "/exec/env/GATHERING_RUN_ID"),
    (with_exec(command=["/bin/true"] * 5000), "/exec/command"), (with_exec(command=["a", "b"], shell=True), "/exec/command"),
    # schedules
    (action(schedule={}), "/schedule"), (action(schedule={"cron": "* * * * *", "every": "1m"}), "/schedule"),
    (action(schedule={"cron": "* * * *"}), "/schedule/cron"), (action(schedule={"cron": "* * * * * * *"}), "/schedule/cron"),
    (action(schedule={"cron": ""}), "/schedule/cron"), (action(schedule={"cron": "60 * * * *"}), "/schedule/cron"),
    (action(schedule={"cron": "* 24 * * *"}), "/schedule/cron"), (action(schedule={"cron": "* * 0 * *"}), "/schedule/cron"),
    (action(schedule={"cron": "* * * 13 *"}), "/schedule/cron"), (action(schedule={"cron": "* * * * 8"}), "/schedule/cron"),
    (action(schedule={"cron": "*/0 * * * *"}), "/schedule/cron"), (action(schedule={"cron": "5-1-3 * * * *"}), "/schedule/cron"),
    (action(schedule={"cron": "@fortnightly"}), "/schedule/cron"), (action(schedule={"cron": "* * * * mumday"}), "/schedule/cron"),
    (action(schedule={"cron": "-1 * * * *"}), "/schedule/cron"), (action(schedule={"cron": "1,,2 * * * *"}), "/schedule/cron"),
    (action(schedule={"cron": "0 0 31 2 *"}), "/schedule/cron"), (action(schedule={"cron": "99999999999999999999 * * * *"}), "/schedule/cron"),
    (action(schedule={"cron": "* " * 5000}), "/schedule/cron"),
    (action(schedule={"cron": 5}), "/schedule/cron"), (action(schedule={"cron": "* * * * *", "timezone": "Mars/Olympus"}), "/schedule/timezone"),
    (action(schedule={"cron": "* * * * *", "timezone": "../../etc/passwd"}), "/schedule/timezone"),
    (action(schedule={"cron": "* * * * *", "timezone": "/etc/localtime"}), "/schedule/timezone"),
    (action(schedule={"cron": "* * * * *", "timezone": ""}), "/schedule/timezone"),
    (action(schedule={"cron": "* * * * *", "timezone": "Europe"}), "/schedule/timezone"),
    (action(schedule={"cron": "* * * * *", "dst_gap": "never"}), "/schedule/dst_gap"),
    (action(schedule={"cron": "* * * * *", "anchor": "2026-01-01T00:00:00Z"}), "/schedule/anchor"),
    (action(schedule={"every": "0s"}), "/schedule/every"), (action(schedule={"every": "soon"}), "/schedule/every"),
    (action(schedule={"every": "-5m"}), "/schedule/every"), (action(schedule={"every": "9999999999d"}), "/schedule/every"),
    (action(schedule={"every": 60}), "/schedule/every"), (action(schedule={"every": "1m", "anchor": "noon"}), "/schedule/anchor"),
    (action(schedule={"at": "tomorrow"}), "/schedule/at"), (action(schedule={"at": "2030-13-01T00:00:00Z"}), "/schedule/at"),
    (action(schedule={"at": "2030-02-30T00:00:00Z"}), "/schedule/at"), (action(schedule={"at": 1900000000}), "/schedule/at"),
    (action(schedule={"at": "1999-12-31T23:59:59Z"}), "/schedule/at"), (action(schedule={"at": "99999-01-01T00:00:00Z"}), "/schedule/at"),
    # several at once
    (action(name="", priority=1000, tags=3), "/priority"), ([action("ok1"), action("ok2", priority=1000), action("ok3")], "/1/priority"),
    ({"items": [action("ok1"), {"name": "x"}]}, "/items/1/kind"), ([action(f"a{n}") for n in range(1001)], ""),
]


def row_name(row):
    return re.sub(r"[^ -~]", "?", json.dumps(row[0]))[:60] + " -> " + row[1]


@pytest.mark.parametrize("body, pointer", UNACCEPTABLE, ids=map(row_name, UNACCEPTABLE))
def test_unacceptable_values_are_422_and_named(site, body, pointer):
    before = everything(site)
    check_problem(site.post(ACTIONS, json.dumps(body), headers=JSON), 422, "invalid", pointer)
    assert everything(site) == before


def test_every_fault_of_a_body_is_listed(site):
    body = action("a b", priority=1000, timeout=5, overlap="x", schedule={"cron": "61 * * * *"}, nmae=1)
    errors = check_problem(site.post(ACTIONS, body), 422, "invalid")["errors"]
    assert {e["pointer"] for e in errors} == {"/name", "/priority", "/timeout", "/overlap", "/schedule/cron", "/nmae"}


def test_a_thousand_faults_are_counted_and_the_answer_stays_small(site):
    answer = site.post(ACTIONS, [action(f"a{n}", priority=1000, timeout=5) for n in range(1000)])
    problem = check_problem(answer, 422, "invalid", "/0/priority")
    assert "2000" in problem["detail"] and len(answer.body) < 20_000


def test_hints_name_what_was_probably_meant(site):
    def detail(**members):
        return site.post(ACTIONS, action(**members)).json["errors"][0]["detail"]

    assert "timeout" in detail(timeuot="5s")
    assert "Europe/Berlin" in detail(schedule={"cron": "* * * * *", "timezone": "Europe/Berlni"})


@pytest.mark.parametrize("body, pointer", [
    ({"priority": 1000}, "/priority"), ({"name": None}, "/name"), ({"kind": "exec"}, "/exec"), ({"http": {"url": None}}, "/http/url"),
    ({"schedule": {"every": "1m"}}, "/schedule"), ({"schedule": {"cron": None}}, "/schedule"), ({"bogus": None}, "/bogus"),
    ([], ""), ("x", ""), (None, ""), ({"http": None}, "/http"), ({"schedule": {"at": "1999-01-01T00:00:00Z", "cron": None}}, "/schedule/at"),
])
def test_unacceptable_patches(site, body, pointer):
    before = everything(site)
    check_problem(site.request("PATCH", KEPT, json.dumps(body), JSON), 422, "invalid", pointer)
    assert everything(site) == before


@pytest.mark.parametrize("body, pointer", [
    ({}, ""), ([], ""), ({"schedule": {}}, "/schedule"), ({"schedule": {"cron": "61 * * * *"}}, "/schedule/cron"),
    ({"schedule": {"cron": "* * * * *", "timezone": "Nowhere"}}, "/schedule/timezone"),
    ({"schedule": {"cron": "* * * * *"}, "count": 0}, "/count"), ({"schedule": {"cron": "* * * * *"}, "count": 10**9}, "/count"),
    ({"schedule": {"cron": "* * * * *"}, "count": "5"}, "/count"), ({"schedule": {"cron": "* * * * *"}, "from": "now"}, "/from"),
    ({"schedule": {"cron": "* * * * *"}, "until": 1}, "/until"),
])
def test_unacceptable_previews(site, body, pointer):
    problem = check_problem(site.post("/api/v1/schedules/preview", body), 422, "invalid")
    assert any(e["pointer"].startswith(pointer) for e in problem["errors"]), problem


# --- one bad item spoils the whole list, and nothing of it is kept ---

def test_bulk_is_all_or_nothing(site):
    before = everything(site)
    good = [action(f"bulk{n}") for n in range(50)]
    for body, status, code, pointer in [
            (good + [action("bulk50", priority=1000)], 422, "invalid", "/50/priority"),
            (good + [action("kept")], 409, "conflict", "/50/name"),
            (good + [action("bulk7")], 409, "conflict", "/50/name"),
            ({"items": good + [action("kept")]}, 409, "conflict", "/items/50/name"),
            (good + [{"name": "x", "kind": "exec", "exec": {"command": ["/bin/true"]}}], 403, "forbidden", "/50/kind"),
            (good + [action("past", schedule={"at": "2020-01-01T00:00:00Z"})], 422, "invalid", "/50/schedule/at")]:
        check_problem(site.post(ACTIONS, body), status, code, pointer)
        assert everything(site) == before


# --- conflicts, versions, what the configuration forbids ---

def test_names_that_are_taken(site):
    before = everything(site)
    check_problem(site.post(ACTIONS, action("kept")), 409, "conflict", "/name")
    check_problem(site.request("PUT", KEPT, action("other")), 409, "conflict")
    check_problem(site.request("PATCH", KEPT, {"name": "other"}), 409, "conflict")
    assert everything(site) == before


@pytest.mark.parametrize("method, path, body", [
    ("PUT", KEPT, action("kept")), ("PATCH", KEPT, {"priority": 1}), ("DELETE", KEPT, None), ("POST", KEPT + "/resume", None)])
@pytest.mark.parametrize("tag, status, code", [
    ('"0"', 412, "version_mismatch"), ('"99"', 412, "version_mismatch"), ('W/"1"', 412, "version_mismatch"), ('"a", "b"', 412, "version_mismatch"),
    ('""', 412, "version_mismatch"), ("1", 400, "bad_request"), ('"1', 400, "bad_request"), ("* *", 400, "bad_request"), ("", 400, "bad_request")])
def test_if_match_that_does_not_match(site, method, path, body, tag, status, code):
    before = everything(site)
    check_problem(site.request(method, path, body, {"If-Match": tag}), status, code)
    assert everything(site) == before


def test_exec_while_disabled_names_the_option(site):
    before = everything(site)
    body = {"name": "new", "kind": "exec", "exec": {"command": ["/bin/true"]}}
    for answer in (site.post(ACTIONS, body), site.request("PUT", KEPT, {**body, "name": "kept"}),
                   site.request("PATCH", KEPT, {"kind": "exec", "http": None, "exec": {"command": ["/bin/true"]}})):
        assert "exec_enabled" in check_problem(answer, 403, "forbidden")["detail"]
    assert everything(site) == before


def test_ended_runs_cannot_be_cancelled(site):
    before = everything(site)
    check_problem(site.post(f"/api/v1/runs/{site.ended_run}/cancel"), 409, "conflict")
    assert everything(site) == before


# --- paths, methods, queries, types ---

@pytest.mark.parametrize("path, status", [
    ("/nope", 404), ("/api", 404), ("/api/v1", 404), ("/api/v2/actions", 404), ("/health/", 404), ("/healthx", 404), ("//health", 404),
    ("/api/v1/actions/", 404), ("/api/v1/actions//runs", 404), ("/api/v1/actions/nope", 404), (f"/api/v1/actions/{NOBODY}", 404),
    ("/api/v1/actions/nope/runs", 404), (f"/api/v1/runs/{NOBODY}", 404), (f"/api/v1/runs/{NOBODY}/output", 404),
    ("/api/v1/runs/nope", 404), ("/api/v1/runs/" + "f" * 5000, 404), ("/api/v1/actions/" + "x" * 5000, 404), ("/api/v1/actions/KEPT", 404),
    ("/api/v1/actions/kept/", 404), ("/api/v1/actions/kept/nope", 404), ("/api/v1/actions/kept%2Fruns", 404),
    ("/api/v1/actions/%27%20OR%201=1--", 404), ("/api/v1/actions/kept%20", 404), ("/api/v1/actions/%C3%A4", 404),
    ("/api/v1/actions/kept%00", 400), ("/api/v1/actions/%ff", 400), ("/api/v1/actions/..", 400), ("/api/v1/actions/%2e%2e", 400),
    ("/api/v1/actions/%zz", 400), ("/API/V1/ACTIONS", 404), ("/api/v1/actions;x", 404), ("/" + "x" * 9000, 414),
])
def test_paths_that_lead_nowhere(site, path, status):
    codes = {400: "bad_request", 404: "not_found", 414: "too_large"}
    check_problem(site.get(path), status, codes[status])


@pytest.mark.parametrize("method, path", [
    ("PUT", f"/api/v1/actions/{NOBODY}"), ("PATCH", f"/api/v1/actions/{NOBODY}"), ("DELETE", f"/api/v1/actions/{NOBODY}"),
    ("POST", "/api/v1/actions/nope/pause"), ("POST", "/api/v1/actions/nope/resume"), ("POST", "/api/v1/actions/nope/run"),
    ("POST", f"/api/v1/runs/{NOBODY}/cancel"), ("POST", "/api/v1/runs/x/cancel"),
    ("POST", f"/api/v1/instances/{NOBODY}/drain"), ("POST", "/api/v1/instances/x/undrain")])
def test_changes_of_what_does_not_exist(site, method, path):
    before = everything(site)
    body = action("nope") if method in ("PUT", "PATCH") else None
    check_problem(site.request(method, path, body), 404, "not_found")
    assert everything(site) == before
    assert site.get("/health/ready").status == 200


@pytest.mark.parametrize("method, path, allow", [
    ("POST", "/health/ready", "GET, HEAD, OPTIONS"), ("DELETE", "/health", "GET, HEAD, OPTIONS"), ("PUT", "/", "GET, HEAD, OPTIONS"),
    ("PATCH", ACTIONS, "GET, HEAD, POST, OPTIONS"), ("DELETE", ACTIONS, "GET, HEAD, POST, OPTIONS"),
    ("POST", KEPT, "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"), ("GET", KEPT + "/run", "POST, OPTIONS"), ("HEAD", KEPT + "/run", "POST, OPTIONS"),
    ("DELETE", KEPT + "/pause", "POST, OPTIONS"), ("DELETE", "/api/v1/runs", "GET, HEAD, OPTIONS"),
    ("GET", "/api/v1/schedules/preview", "POST, OPTIONS"), ("GET", "/api/v1/instances/self/drain", "POST, OPTIONS"),
    ("FROB", ACTIONS, "GET, HEAD, POST, OPTIONS"), ("get", ACTIONS, "GET, HEAD, POST, OPTIONS"), ("BREW", "/", "GET, HEAD, OPTIONS"),
])
def test_wrong_methods_are_405_with_allow(site, method, path, allow):
    before = everything(site)
    answer = site.request(method, path)
    if method == "HEAD":
        assert answer.status == 405 and answer.body == b""
    else:
        check_problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == allow
    assert everything(site) == before


def test_options_tells_the_methods(site):
    answer = site.request("OPTIONS", KEPT)
    assert answer.status == 204 and answer.body == b"" and answer.headers["Allow"] == "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"
    check_problem(site.request("OPTIONS", "/nope"), 404, "not_found")


BAD_QUERIES = [
    *[f"/api/v1/{list}?{query}" for list in ("actions", "runs", "actions/kept/runs") for query in (
        "limit=0", "limit=-1", "limit=1001", "limit=abc", "limit=1.5", "limit=", "limit=1e3", "limit=99999999999999999999", "limit=+5",
        "limit=%205", "limit=0x10", "limit=5&limit=6", "limit", "total=maybe", "cursor=", "cursor=x", "cursor=!!!!", "cursor=AAAA",
        "cursor=" + "A" * 4000, "cursor=%F0%9F%92%A9", "bogus=1", "Limit=5", "=5")],
    "/api/v1/actions?state=running", "/api/v1/actions?kind=mail", "/api/v1/actions?kind=", "/api/v1/actions?state=active&state=paused",
    "/api/v1/runs?state=nope", "/api/v1/runs?state=", "/api/v1/runs?state=failed,nope", "/api/v1/runs?state=failed,,held", "/api/v1/runs?trigger=x",
    "/api/v1/runs?since=yesterday", "/api/v1/runs?until=2026-02-30T00:00:00Z", "/api/v1/runs?since=1700000000",
    "/api/v1/runs?since=2026-01-01T00:00:00+01:00", "/api/v1/runs?since=2026-01-01", "/api/v1/actions/kept?verbose=1",
    "/api/v1/runs/{run}?x=1", "/api/v1/runs/{run}/output?attempt=0", "/api/v1/runs/{run}/output?attempt=x", "/api/v1/runs/{run}/output?attempt=-1",
    "/api/v1/runs/{run}/output?attempt=99999999999", "/api/v1/runs/{run}/output?follow=maybe", "/api/v1/instances?x=1",
    "/api/v1/actions?name=%ff", "/api/v1/actions?name=a%00b", "/api/v1/actions?name=%4",
]


@pytest.mark.parametrize("path", BAD_QUERIES, ids=lambda path: path[:70])
def test_bad_queries_are_400(site, path):
    check_problem(site.get(path.replace("{run}", site.ended_run)), 400, "bad_request")


def test_a_cursor_fits_its_own_list_only(site):
    cursor = site.get("/api/v1/actions?limit=1").json["next_cursor"]
    assert site.get(f"/api/v1/actions?limit=1&cursor={cursor}").json["items"][0]["name"] == "other"
    check_problem(site.get(f"/api/v1/runs?cursor={cursor}"), 400, "bad_request")
    for n in range(len(cursor)):  # any change of one character is refused or a place in the same list
        changed = cursor[:n] + ("A" if cursor[n] != "A" else "B") + cursor[n + 1:]
        assert site.get(f"/api/v1/actions?cursor={changed}").status in (200, 400)


def test_filters_by_what_does_not_exist(site):
    check_problem(site.get("/api/v1/runs?action=nope"), 404, "not_found")
    for path in ("/api/v1/actions?tag=nope", "/api/v1/actions?name=%25", "/api/v1/actions?name=_", "/api/v1/actions?name=%27%22%3B--"):
        assert site.get(path).json == {"items": []}


@pytest.mark.parametrize("content_type", [
    "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", "application/xml", "json",
    "application/merge-patch+json", "application/", "/", ",", "application/json-patch+json"])
def test_other_content_types_are_415(site, content_type):
    before = everything(site)
    body, headers = json.dumps(action()), {"Content-Type": content_type}
    check_problem(site.post(ACTIONS, body, headers=headers), 415, "unsupported_media_type")
    check_problem(site.request("PUT", KEPT, body, headers), 415, "unsupported_media_type")
    assert everything(site) == before


@pytest.mark.parametrize("path", [KEPT + "/run", KEPT + "/resume", f"/api/v1/runs/{NOBODY}/cancel", "/api/v1/instances/self/drain"])
@pytest.mark.parametrize("body", ['{"x": 1}', "[]", "{", "null"])
def test_bodies_where_none_belongs(site, path, body):
    before = everything(site)
    check_problem(site.post(path, body, headers=JSON), 400, "bad_request")
    assert everything(site) == before
    assert site.get("/health/ready").status == 200


# --- size ---

def exchange(site, *parts):
    """Sends the parts, whatever is answered meanwhile, and returns all that comes until the server closes."""
    with site.connect() as sock:
        try:
            for part in parts:
                sock.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it had heard enough; what it said is still to be read
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        body = answer.read()
        assert answer.will_close
        return answer.status, json.loads(body)


def head(*fields):
    return "\r\n".join(["POST /api/v1/actions HTTP/1.1", "Host: a", "Content-Type: application/json", *fields, "", ""]).encode()


def test_bodies_that_are_too_large_are_413(site):
    before = everything(site)
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    for parts in ([head(f"Content-Length: {BODY_MAX + 1}"), b" " * (BODY_MAX + 1)],
                  [head(f"Content-Length: {BODY_MAX + 1}")],
                  [head("Content-Length: 999999999999")],
                  [head(f"Content-Length: {BODY_MAX + 1}", "Expect: 100-continue")],
                  [head("Transfer-Encoding: chunked")] + [chunk] * 20):
        status, problem = exchange(site, *parts)
        assert (status, problem["code"]) == (413, "too_large"), problem
    assert everything(site) == before


def test_a_body_of_exactly_the_limit_is_read(site):
    body = json.dumps(action("largest")).encode()
    assert site.post(ACTIONS, body + b" " * (BODY_MAX - len(body)), headers=JSON).status == 201
    assert site.request("DELETE", ACTIONS + "/largest").status == 204


# --- anything at all ---

def mutated(rng, body):
    body = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(body))
        how = rng.randrange(5)
        if how == 0:
            body[at] = rng.randrange(256)
        elif how == 1:
            del body[at:at + rng.randint(1, 20)]
        elif how == 2:
            body[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 8)))
        elif how == 3:
            end = at + rng.randint(1, 40)
            body[at:at] = body[at:end] * rng.randint(1, 3)
        else:
            body[at:at] = rng.choice([b"null", b"-1", b"1e308", b'""', b"{}", b"[]", b"true", b'"\\u0000"', b"9223372036854775807"])
        body = body or bytearray(b" ")
    return bytes(body)


def test_random_changes_of_good_bodies_never_hurt(site):
    seed = int(os.environ.get("GATHERING_TEST_SEED", time.time_ns() % 1_000_000))
    print("GATHERING_TEST_SEED =", seed)
    rng = random.Random(seed)
    good = json.dumps({**with_http(headers={"X-A": "b"}, body="hello", expect_status="200-299"), "schedule": {"cron": "0 0 1 1 *", "timezone": "UTC"},
                       "retry": {"max_attempts": 3, "jitter": 0.1}, "tags": ["a", "b"], "timeout": "5m"}).encode()
    connection = http.client.HTTPConnection(site.host, site.port, timeout=30)
    for n in range(1500):
        method, path = rng.choice([("POST", ACTIONS), ("POST", "/api/v1/schedules/preview")])
        connection.request(method, path, mutated(rng, good), JSON)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status in (200, 201):
            made = json.loads(body)
            for name in [item["name"] for item in made.get("items", [made]) if "name" in item]:
                assert site.request("DELETE", f"{ACTIONS}/{name}").status == 204
        else:
            assert answer.status in (400, 403, 409, 422), (n, answer.status, body)
            assert json.loads(body)["status"] == answer.status
            assert not LEAKS.search(body.decode()), body
    connection.close()
    assert site.get("/health/ready").status == 200


def test_the_server_has_not_complained(site):
    """A client's mistake is no error of the server; and no mistake above has been answered by a 500."""
    assert not re.search(r"^\S+ (warn|error) (?!run )", site.log, re.M), site.log
    with socket.create_connection((site.host, site.port)) as sock:
        sock.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
