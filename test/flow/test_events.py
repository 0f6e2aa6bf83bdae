# SPDX-License-Identifier: Apache-2.0
"""Events and chains on the real server: who is started, once, with what, crashes included."""
import datetime

from harness import wait_for


def now_text():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def shell(text, **more):
    return {"kind": "exec", "exec": {"shell": True, "command": text}, **more}


def test_event_starts_who_waits_and_a_key_counts_once(servers):
    server = servers(exec_enabled=True).start()
    server.create(name="a", schedule={"on": "order.created"}, **shell("true"))
    first = server.post("/api/v1/events/order.created?key=7", {"id": 7}).json
    assert not first["duplicate"] and [run["action"] for run in first["runs"]] == ["a"]
    again = server.post("/api/v1/events/order.created?key=7", {"id": 7}).json
    assert again["duplicate"] and again["event_id"] == first["event_id"]
    assert [run["id"] for run in again["runs"]] == [run["id"] for run in first["runs"]]
    run = wait_for(lambda: server.runs("a", state="succeeded"), "the run")[0]
    shown = server.get("/api/v1/runs/" + run["id"]).json
    assert shown["trigger"] == "event" and shown["event"] == "order.created" and shown["payload"] == {"id": 7}


def test_names_of_ends_cannot_be_sent_from_outside(servers):
    server = servers(exec_enabled=True).start()
    assert server.post("/api/v1/events/action.a.succeeded").status == 403
    assert server.post("/api/v1/events/what%20is%20this").status == 422


def test_chain_runs_to_its_end_once_through_kills_of_the_server(servers):
    server = servers(exec_enabled=True).start()
    server.create(name="first", schedule={"on": "go"}, **shell("true"))
    server.create(name="second", schedule={"on": "action.first.succeeded"}, overlap="allow", **shell("exit 3"))
    server.create(name="third", schedule={"on": "action.second.failed"}, overlap="allow", **shell("true"))
    for round in range(5):
        server.post("/api/v1/events/go", round)
        wait_for(lambda: len(server.runs("first", state="succeeded")) == round + 1, "the first link")
        server.kill()
        server = servers(exec_enabled=True).start()
        wait_for(lambda: len(server.runs("third", state="succeeded")) == round + 1, "the last link")
    assert len(server.runs("second")) == len(server.runs("third")) == 5
    thirds = [server.get("/api/v1/runs/" + run["id"]).json for run in server.runs("third")]
    seconds = {run["id"] for run in server.runs("second")}
    assert {run["payload"]["run_id"] for run in thirds} == seconds


def test_every_after_goes_on_through_failures_and_kills_and_max_runs_ends_it(servers):
    server = servers(exec_enabled=True).start()
    server.create(name="a", schedule={"every_after": "100ms"}, **shell("exit 1"))
    server.create(name="b", schedule={"every_after": "100ms", "max_runs": 3}, **shell("true"))
    wait_for(lambda: len(server.runs("a", state="failed")) >= 3, "three runs")
    server.kill()
    server = servers(exec_enabled=True).start()
    seen = len(server.runs("a", state="failed"))
    wait_for(lambda: len(server.runs("a", state="failed")) >= seen + 2, "runs after the kill")
    wait_for(lambda: server.get("/api/v1/actions/b").json["state"] == "completed", "the last run of b")
    wait_for(lambda: len(server.runs("b", state="succeeded")) == 3, "the end of b")
    runs = [server.get("/api/v1/runs/" + run["id"]).json for run in server.runs("a", state="failed")]
    runs.sort(key=lambda run: run["due_at"])
    for before, after in zip(runs, runs[1:]):
        assert before["finished_at"] < after["due_at"]


def test_changing_a_schedule_leaves_no_overdue_time_without_a_row(servers):
    """The server has been away over a due time; a change comes before or after the claim, whoever is first."""
    server = servers(exec_enabled=True).start()
    server.create(name="a", schedule={"every": "1s"}, misfire="all", misfire_grace="1m", overlap="allow", **shell("true"))
    wait_for(lambda: server.runs("a", state="succeeded"), "a first run")
    server.post("/api/v1/instances/self/drain")  # nothing is claimed from now on
    cursor = server.get("/api/v1/actions/a").json["next_due_at"]
    wait_for(lambda: cursor < now_text(), "the due time to pass")
    changed = server.request("PATCH", "/api/v1/actions/a", {"schedule": {"every": "7d"}})
    assert changed.status == 200, changed
    assert cursor in [run["due_at"] for run in server.runs("a")]
