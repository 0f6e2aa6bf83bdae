# SPDX-License-Identifier: Apache-2.0
"""Retention, alerts and deadlines of real servers."""
import json
import time

from harness import shell, wait_for


def metric(server, name):
    lines = server.get("/metrics").body.decode().splitlines()
    return int(next(line.split()[-1] for line in lines if line.startswith(f"gathering_{name} ")))


def alerts(target):
    return [json.loads(request["body"]) for request in target.requests]


def create_pager(server, target, **schedule):
    server.create(name="page", kind="http", overlap="allow", retry={"max_attempts": 20, "initial": "100ms", "max": "500ms"}, http={
        "method": "POST", "url": target.url,
        "body": '{"action": "{{payload.action}}", "alert": "{{payload.alert}}", "run": "{{run_id}}"}'}, **schedule)


def told(target, count):
    wait_for(lambda: len(target.requests) >= count, f"{count} alerts")
    return [(alert["action"], alert["alert"]) for alert in alerts(target)]


def run_to_its_end(server, name):
    return server.wait_run(server.post(f"/api/v1/actions/{name}/run").json["id"])


def test_an_action_is_told_of_when_it_begins_to_fail_and_when_it_has_recovered(servers, targets, tmp_path):
    server, target = servers(exec_enabled=True).start(), targets()
    create_pager(server, target)
    server.create(name="job", on_failure="page", on_recovery="page", **shell(f"test -e {tmp_path}/good"))
    for _ in range(3):
        assert run_to_its_end(server, "job")["state"] == "failed"
    (tmp_path / "good").touch()
    for _ in range(2):
        assert run_to_its_end(server, "job")["state"] == "succeeded"
    assert sorted(told(target, 2)) == [("job", "failing"), ("job", "recovered")]
    pages = wait_for(lambda: [run for run in server.runs("page") if run["state"] == "succeeded"][1:] and server.runs("page"), "both pages")
    assert [run["trigger"] for run in pages] == ["event", "event"]


def test_a_deadline_that_passes_while_nobody_runs_is_told_of_once(servers, targets):
    server, target = servers().start(), targets()
    create_pager(server, target, schedule={"on": "action.*.late"})
    server.create(name="heartbeat", kind="noop", expect_success_within="1500ms")
    server.kill()
    time.sleep(1.6)  # the deadline is a moment, no event
    server.start()
    assert told(target, 1) == [("heartbeat", "late")]
    server.kill()  # with the page under way or done
    server.start()
    wait_for(lambda: [run["state"] for run in server.runs("page")] == ["succeeded"], "the one page's end")
    server.create(name="other", kind="noop", expect_success_within="100ms")  # its turn comes when the first had one, too
    wait_for(lambda: [alert for alert in alerts(target) if alert["action"] == "other"], "the next to be late")
    assert len(server.runs("page")) == 2
    assert run_to_its_end(server, "heartbeat")["state"] == "succeeded"
    wait_for(lambda: len(server.runs("page")) == 3, "the next lapse")
    assert {run["trigger"] for run in server.runs("page")} == {"event"}


def test_an_action_shows_since_when_it_fails_and_is_late_and_whom_it_cannot_tell(servers):
    server = servers(exec_enabled=True).start()
    job = server.create(name="job", on_failure="page", on_recovery="page", expect_success_within="1h", **shell("false"))
    assert [warning.split(";")[0] for warning in job["warnings"]] == [
        "on_failure: there is no action 'page'", "on_recovery: there is no action 'page'"]
    assert job["deadline"] > job["created_at"] and job["failing_since"] is None and job["late_since"] is None
    failed = run_to_its_end(server, "job")
    shown = server.get("/api/v1/actions/job").json
    assert shown["failing_since"] == failed["finished_at"]
    changed = server.request("PUT", "/api/v1/actions/job", {**shown, "expect_success_within": "10ms"}).json  # takes back what it showed
    assert changed["failing_since"] == failed["finished_at"] and len(changed["warnings"]) == 2
    server.create(name="page", kind="noop")
    late = wait_for(lambda: [a for a in server.get("/api/v1/actions?name=job").json["items"] if a["late_since"]], "the deadline")[0]
    assert late["late_since"] > changed["updated_at"] and late["deadline"] is None and "warnings" not in late
    assert run_to_its_end(server, "page")["state"] == "succeeded"
    bulk = server.post("/api/v1/actions", [{"name": "a", "kind": "noop", "on_failure": "nobody"}, {"name": "b", "kind": "noop"}]).json["items"]
    assert ["warnings" in action for action in bulk] == [True, False]


def test_the_ledger_is_kept_within_its_limits_while_it_is_in_use(servers):
    server = servers(retention_every="100ms", retention_age="1m").start()
    server.create(name="busy", kind="noop", overlap="allow", retention={"count": 3})
    server.create(name="other", kind="noop")
    for _ in range(6):
        assert run_to_its_end(server, "busy")["state"] == "succeeded"
    walks = metric(server, "retention_walks_total")
    wait_for(lambda: metric(server, "retention_walks_total") > walks + 1, "two walks")
    assert len(server.runs("busy")) == 6, "none goes in the first minute"
    assert metric(server, "retention_removed_total") == 0
    assert server.request("DELETE", "/api/v1/actions/busy").status == 204
    assert server.runs() == []


def test_more_than_may_wait_is_refused_with_a_reason(servers):
    server = servers(exec_enabled=True, max_running_exec=1, max_queued=2, run_max="100ms").start()
    server.create(name="slow", overlap="allow", **shell("sleep 600"))
    server.create(name="listener", kind="noop", schedule={"on": "order"})
    running = server.post("/api/v1/actions/slow/run").json["id"]
    server.wait_run(running, states=("running",))
    for _ in range(2):
        assert server.post("/api/v1/actions/slow/run").status == 202
    refused = server.post("/api/v1/actions/slow/run")
    assert (refused.status, refused.json["code"]) == (429, "queue_full")
    assert "max_queued" in refused.json["detail"]
    assert server.post("/api/v1/events/order", {"id": 1}).status == 429
    assert server.runs("listener") == []
    assert metric(server, "queue_refused_total") == 2
    server.post(f"/api/v1/runs/{running}/cancel")
    wait_for(lambda: server.post("/api/v1/events/order", {"id": 1}).status == 202, "room in the queue")
