# SPDX-License-Identifier: Apache-2.0
"""The health endpoints as probes, load balancers and people see them: exact answers, limits, and what they say
while the service starts and while its database is lost."""
import contextlib
import http.client
import re
import time

import pytest

import trouble
from harness import Server, wait_for
from test_scheduling import assert_every_due_time_once

PROBES = ("/health/live", "/health/ready", "/health/startup")
PAGES = ("/health", "/health/checks", "/health/system")
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("health"), rate_health=0).start()
    yield server
    server.stop()
    server.close()


def action(name, url="http://127.0.0.1:9/", **members):
    return {"name": name, "kind": "http", "http": {"url": url}, **members}


def repeat(server, path, count, source="127.0.0.1"):
    """The answers to many requests on one connection, as (status, headers)."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30, source_address=(source, 0))
    answers = []
    for _ in range(count):
        connection.request("GET", path)
        answer = connection.getresponse()
        answers.append((answer.status, answer.headers, answer.read()))
    connection.close()
    return answers


def checks(server):
    answer = server.get("/health/checks").json
    return {check["name"]: check for check in answer["checks"]}, answer["overall_status"]


# --- exact answers ---

@pytest.mark.parametrize("path, body", [
    ("/health/ready", b'{"ready": true}'), ("/health/live", b'{"alive": true}'), ("/health/startup", b'{"started": true}')])
def test_probes_answer_exactly(site, path, body):
    for query in ("", "?", "?a=b&a=c", "?limit=x"):  # probes add things
        answer = site.get(path + query)
        assert (answer.status, answer.body) == (200, body)
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Retry-After" not in answer.headers and "Connection" not in answer.headers


def test_health_counts(site):
    site.create(**action("one"))
    site.create(**action("two"))
    assert site.post("/api/v1/actions/two/pause").status == 200
    before = site.get("/health").json
    health = wait_for(lambda: (h := site.get("/health").json)["actions"] == {"total": 2, "paused": 1} and h, "the counts")
    assert set(health) == {"status", "version", "uptime", "uptime_ms", "state", "instance_id", "actions", "runs", "instances"}
    assert (health["status"], health["state"]) == ("healthy", "ready")
    assert health["instances"] == {"total": 1} and health["runs"] == {"pending": 0, "running": 0}
    assert health["version"] in site.cli("version").stdout
    assert UUID7.fullmatch(health["instance_id"]) and health["instance_id"] in site.log
    assert health["uptime_ms"] >= before["uptime_ms"] >= 0 and re.fullmatch(r"(\d+[dhm])*\d*s?", health["uptime"])
    for name in ("one", "two"):
        assert site.request("DELETE", "/api/v1/actions/" + name).status == 204


def test_checks(site):
    found, overall = checks(site)
    assert list(found) == ["server", "database", "scheduler", "memory", "disk"]
    assert all(set(check) == {"name", "status", "detail"} and check["detail"] for check in found.values())
    order = ["healthy", "warning", "critical"]
    assert overall == max((check["status"] for check in found.values()), key=order.index)
    assert found["database"]["status"] == found["scheduler"]["status"] == "healthy"


def test_the_disk_checked_is_the_database_s(servers, tmp_path):
    """The server stands on a roomy disk, its database on a small one."""
    with trouble.disk(tmp_path / "small", 16 * 1024) as disk:
        server = servers(database=f"sqlite:{disk.folder}/g.db").start()
        assert server.get("/health/system").json["disk"]["total_bytes"] == 16 * 1024 * 1024
        disk.fill(leave=64 * 1024)
        wait_for(lambda: checks(server)[0]["disk"]["status"] == "critical", "the check of the disk")
        assert checks(server)[1] == "critical"
        assert server.get("/health/ready").status == 200  # a warning, not yet a failure
        disk.clear()
        wait_for(lambda: checks(server)[0]["disk"]["status"] == "healthy", "room")
        server.stop()


def test_system(site):
    system = site.get("/health/system").json
    assert set(system) == {"cpu", "memory", "disk", "load_average", "uptime_ms", "process_uptime_ms"}
    assert system["cpu"]["count"] >= 1 and 0 <= system["cpu"]["used_percent"] <= 100
    for space in (system["memory"], system["disk"]):
        assert 0 < space["available_bytes"] <= space["total_bytes"] and 0 <= space["used_percent"] <= 100
    assert 1_000_000 < system["memory"]["process_bytes"] < system["memory"]["total_bytes"]
    assert len(system["load_average"]) == 3 and system["uptime_ms"] > system["process_uptime_ms"] > 0


def test_head_is_get_without_a_body(site):
    for path in PROBES + PAGES + ("/metrics", "/", "/api/v1/actions"):
        head, get = site.request("HEAD", path), site.get(path)
        assert head.status == get.status == 200 and head.body == b"" and get.body
        assert head.headers["Content-Type"] == get.headers["Content-Type"]
        assert set(head.headers) == set(get.headers)
    assert site.request("HEAD", "/nope").status == 404


def test_request_ids_go_in_and_out(site):
    for given in ("a", "trace-1.2_3", "x" * 64, "01a204b7-c879-7d75-b984-04725e913231"):
        for path in ("/health/live", "/api/v1/actions", "/nope"):
            assert site.get(path, headers={"X-Request-ID": given}).headers["X-Request-ID"] == given
    for given in ("", "x" * 65, "a b", "a/b", 'a"b', "é", "<script>", "a,b", "a;b"):
        answer = site.get("/health/live", headers={"X-Request-ID": given.encode()})
        assert UUID7.fullmatch(answer.headers["X-Request-ID"])
    made = [site.get("/health/live").headers["X-Request-ID"] for _ in range(20)]
    assert len(set(made)) == 20 and all(UUID7.fullmatch(id) for id in made)
    assert site.get("/nope", headers={"X-Request-ID": "mine"}).json["request_id"] == "mine"


# --- limits ---

def test_probes_at_50_a_second_are_never_refused(servers):
    """A minute of them, as fast as they go."""
    server = servers().start()
    for path in PROBES[:2]:
        for status, headers, _ in repeat(server, path, 1500):
            assert status == 200
        assert headers["X-RateLimit-Limit"] == "6000"
    server.stop()


def test_the_301st_check_within_a_minute_is_refused(servers):
    server = servers().start()
    answers = repeat(server, "/health/checks", 300)
    assert [status for status, _, _ in answers] == [200] * 300
    assert [int(headers["X-RateLimit-Remaining"]) for _, headers, _ in answers] == list(range(299, -1, -1))
    assert {headers["X-RateLimit-Limit"] for _, headers, _ in answers} == {"300"}
    for path in PAGES:  # the tier is shared
        answer = server.get(path)
        assert answer.status == 429 and answer.json["code"] == "rate_limited"
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert (answer.headers["X-RateLimit-Limit"], answer.headers["X-RateLimit-Remaining"]) == ("300", "0")
        assert 1 <= int(answer.headers["Retry-After"]) <= 120 and 1 <= int(answer.headers["X-RateLimit-Reset"]) <= 60
        assert str(int(answer.headers["Retry-After"])) in answer.json["detail"]
    assert server.request("HEAD", "/health").status == 429
    for path in PROBES:
        assert server.get(path).status == 200
    assert server.get("/api/v1/actions").status == 200
    assert repeat(server, "/health/checks", 1, source="127.0.0.2")[0][0] == 200
    assert server.get("/health", headers={"X-Forwarded-For": "10.9.8.7"}).status == 429  # nobody said to trust it
    server.stop()


def test_limits_are_options(servers):
    server = servers(rate_health=3, rate_probe=5).spawn().wait_listening()
    wait_for(lambda: " to=ready " in server.log, "the start")  # whoever asks for it uses up the limit
    for path, allowed in (("/health", 3), ("/health/live", 5)):
        assert [status for status, _, _ in repeat(server, path, allowed + 2)] == [200] * allowed + [429] * 2
    server.stop()


def test_limits_can_be_lifted(site):
    answers = repeat(site, "/health/system", 400)
    assert {status for status, _, _ in answers} == {200}
    assert not any(name.startswith("X-RateLimit") for name in answers[0][1])


# --- starting ---

def test_starting(servers, tmp_path):
    """The last step of the start, the recovery, waits for another program that writes."""
    servers().start().stop()
    with trouble.write_lock(tmp_path / "gathering.db", "EXCLUSIVE"):
        server = servers().spawn().wait_listening()
        wait_for(lambda: server.get("/health/startup").json.get("phase") == "scheduler", "the phase")
        assert server.get("/health/live").json == {"alive": True}
        ready, startup = server.get("/health/ready"), server.get("/health/startup")
        assert ready.status == startup.status == 503
        assert ready.json == {"ready": False, "reason": "starting", "phase": "scheduler"}
        assert startup.json == {"started": False, "reason": "starting", "phase": "scheduler"}
        assert ready.headers["Retry-After"] == "1"
        for method, path in [("GET", "/api/v1/actions"), ("POST", "/api/v1/actions"), ("GET", "/api/v1/runs/x")]:
            answer = server.request(method, path)
            assert (answer.status, answer.json["code"], answer.headers["Retry-After"]) == (503, "unavailable", "1")
            assert "starting" in answer.json["detail"]
        health = server.get("/health")
        assert (health.status, health.json["state"], health.json["phase"]) == (200, "starting", "scheduler")
        assert health.json["actions"] == {"total": None, "paused": None}
        found, _ = checks(server)
        assert found["server"]["status"] == found["scheduler"]["status"] == "warning"
        assert server.get("/metrics").status == server.get("/").status == server.get("/health/system").status == 200
        assert "state from=starting to=ready" not in server.log
    wait_for(lambda: server.get("/health/ready").status == 200, "readiness once the other has gone")
    assert server.get("/health/startup").json == {"started": True}
    server.stop()


# --- the database is lost ---

def wait_lost(server):
    """Until readiness gives up; all the while the probes answer fast, whatever the database does."""
    began = time.monotonic()
    while True:
        for path in ("/health/live", "/health/ready"):
            asked = time.monotonic()
            answer = server.get(path)
            assert time.monotonic() - asked < 5, path  # from memory: 10 ms on an idle machine; the database would take 10 s
            assert path != "/health/live" or (answer.status, answer.json) == (200, {"alive": True})
        if answer.status == 503:
            assert answer.json == {"ready": False, "reason": "database"} and answer.headers["Retry-After"] == "1"
            return time.monotonic() - began
        assert time.monotonic() - began < 90, "it never noticed"
        time.sleep(0.05)


@pytest.mark.parametrize("lock", [trouble.write_lock, trouble.total_lock])
def test_database_lost_and_found(servers, targets, tmp_path, lock):
    target, server = targets(), servers(rate_health=0).start()
    server.create(**action("tick", target.url, overlap="allow", misfire="all", schedule={"every": "200ms"}))
    wait_for(lambda: len(target.requests) > 2, "runs")
    with lock(str(tmp_path / "gathering.db")):
        server.get("/health/checks")
        assert wait_lost(server) > 4  # a short loss must not empty the balancer: 5 s of grace
        asked = time.monotonic()
        health, (found, overall) = server.get("/health"), checks(server)
        assert time.monotonic() - asked < 8  # half a second each; the database would take 10 s
        assert (health.status, health.json["status"], health.json["state"]) == (200, "degraded", "ready")
        assert found["database"]["status"] == overall == "critical"
        answer = server.post("/api/v1/actions", action("lost"))
        assert (answer.status, answer.json["code"], answer.headers["Retry-After"]) == (503, "unavailable", "1")
        assert "gathering.db" not in answer.body.decode() and answer.json["request_id"] in server.log
    wait_for(lambda: server.get("/health/ready").status == 200, "readiness")
    seen = len(target.requests)
    wait_for(lambda: len(target.requests) > seen + 5, "runs again")
    assert server.get("/api/v1/actions/lost").status == 404
    server.post("/api/v1/actions/tick/pause")
    wait_for(lambda: not server.runs("tick", state="pending,running"), "the last runs")
    runs = server.runs("tick")
    assert_every_due_time_once(runs, 200)
    assert {run["state"] for run in runs} <= {"succeeded", "skipped"}
    assert {run["reason"] for run in runs if run["state"] == "skipped"} <= {"paused"}
    keys = [request["headers"]["Idempotency-Key"] for request in target.requests]
    assert len(keys) == len(set(keys)) == len([run for run in runs if run["state"] == "succeeded"])
    assert server.log.count("database lost") == server.log.count("database back") == 1
    server.stop()


def test_a_short_loss_is_not_told_to_the_balancer(servers, targets, tmp_path):
    target, server = targets(), servers(rate_health=0).start()
    server.create(**action("tick", target.url, overlap="allow", misfire="all", schedule={"every": "100ms"}))
    wait_for(lambda: len(target.requests) > 2, "runs")
    with trouble.write_lock(tmp_path / "gathering.db"):
        wait_for(lambda: checks(server)[0]["scheduler"]["status"] == "critical", "a claim that fails")
        assert server.get("/health/ready").status == 200
    wait_for(lambda: checks(server)[1] != "critical", "its end")
    assert "database lost" not in server.log
    server.stop()


def lost(server):
    server.get("/health")  # so that it looks now
    answer = server.get("/health/ready")
    return answer.status == 503 and answer.json == {"ready": False, "reason": "database"}


def test_how_long_the_database_may_be_away_is_an_option(servers, tmp_path):
    """strict: not ready at the first failure; ignore: ready whatever happens."""
    made = {}
    for mode, options in (("strict", {"ready_db": "strict"}), ("ignore", {"ready_db": "ignore"}), ("grace", {"ready_db_grace": "1s"})):
        folder = tmp_path / mode
        folder.mkdir()
        made[mode] = servers(database=f"sqlite:{folder}/gathering.db", rate_health=0, **options).start()
    with contextlib.ExitStack() as locks:
        for mode in made:
            locks.enter_context(trouble.total_lock(f"{tmp_path}/{mode}/gathering.db"))
        wait_for(lambda: lost(made["strict"]), "the strict one to be not ready")
        wait_for(lambda: lost(made["grace"]), "the one with a second of grace")
        wait_for(lambda: made["ignore"].get("/health").json["status"] == "degraded", "the third to know")
        assert made["ignore"].get("/health/ready").status == 200
    for server in made.values():
        wait_for(lambda: server.get("/health/ready").status == 200, "readiness")  # noqa: B023
        server.stop()
