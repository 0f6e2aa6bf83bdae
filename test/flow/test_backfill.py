# SPDX-License-Identifier: Apache-2.0
"""Backfills: the due times of the past, each once, whoever dies meanwhile."""
import datetime
import json

from gang import Gang, psql
from harness import shell, wait_for
from pg import cluster, clusters  # noqa: F401 (fixtures)

# It has ended: nothing is due now, at a full ten minutes either.
NOOP = {"kind": "noop", "overlap": "allow",
        "schedule": {"cron": "*/10 * * * *", "start_at": "2020-01-01T00:00:00Z", "end_at": "2026-06-01T00:00:00Z"}}
DAY = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}  # 144 due times
FAST = {"rate": "100/s", "max_running": 200}


def begin(server, action, expect=202, **more):
    answer = server.post(f"/api/v1/actions/{action}/backfill", more)
    assert answer.status == expect, answer
    return answer.json


def wait_over(ask, backfill, state="done", timeout=90):
    """`ask` gives a server that answers."""
    def over():
        found = ask().get(f"/api/v1/backfills/{backfill['id']}").json
        return found if found["state"] != "running" else None
    found = wait_for(over, "the backfill to be over", timeout)
    assert found["state"] == state, found
    return found


def all_runs(server, action):
    runs, cursor = [], ""
    while True:
        page = server.get(f"/api/v1/actions/{action}/runs?trigger=backfill&limit=1000{cursor}").json
        runs += page["items"]
        if "next_cursor" not in page:
            return runs
        cursor = f"&cursor={page['next_cursor']}"


def due_times(day, count, minutes=10):
    at = datetime.datetime.fromisoformat(day.replace("Z", "+00:00"))
    return [(at + datetime.timedelta(minutes=minutes * n)).strftime("%Y-%m-%dT%H:%M:%SZ") for n in range(count)]


def test_five_hundred_due_times_over_two_instances_of_which_one_is_killed_run_exactly_once(servers, cluster, tmp_path):  # noqa: F811
    gang = Gang(servers, tmp_path, cluster.url)
    gang.start(2)
    gang.any().create(name="past", overlap="allow", schedule=NOOP["schedule"], **gang.run_program())
    backfill = begin(gang.any(), "past", **FAST, **{"from": "2026-01-01T00:00:00Z", "to": "2026-01-04T11:20:00Z"})
    assert backfill["total"] == 500
    gang.wait_effects(60)
    holder = psql(cluster.url, "SELECT i.id FROM gathering.instance i JOIN pg_locks l ON l.classid = 1198811251"
                  " AND l.objid = (gathering.instance_key(i.id)::bigint & 4294967295)::oid JOIN pg_locks d ON d.pid = l.pid"
                  " AND d.classid = 1198811250 AND d.objid = 18 WHERE d.granted LIMIT 1")
    victim = next((server for server in gang.servers if server.id == holder), gang.servers[0])
    print("killed:", victim.id, "who had the duty:", holder)
    victim.kill()
    done = wait_over(gang.any, backfill)
    assert (done["done"], done["passed"], done["failed"]) == (500, 0, 0), done
    runs = all_runs(gang.any(), "past")
    assert sorted(run["due_at"] for run in runs) == due_times("2026-01-01T00:00:00Z", 500)
    assert {run["state"] for run in runs} == {"succeeded"} and {run["backfill"] for run in runs} == {1}
    effects = [effect for effect in gang.effects() if effect.word != "end"]
    assert {effect.word for effect in effects} == {"start"}, "no run at the same time twice"
    interrupted = {run["due_at"] for run in runs if run["interruptions"]}
    started = [effect.due for effect in effects]
    assert {due for due in started if started.count(due) > 1} <= interrupted, "again only what the kill has cut"
    assert all(effect.key.endswith("/b1") for effect in effects)


def test_a_backfill_goes_on_after_a_restart_and_a_kill(servers):
    server = servers().start()
    server.create(name="past", **NOOP)
    backfill = begin(server, "past", rate="20/s", **DAY)  # 7 s: not over before its two ends
    for end in (server.stop, server.kill):
        before = server.get(f"/api/v1/backfills/{backfill['id']}").json["made"]
        wait_for(lambda: server.get(f"/api/v1/backfills/{backfill['id']}").json["made"] > before, "progress")
        end()
        server.start()
    done = wait_over(lambda: server, backfill)
    assert done["done"] == done["total"] == 144
    assert sorted(run["due_at"] for run in all_runs(server, "past")) == due_times(DAY["from"], 144)
    server.stop()


def test_what_has_run_is_run_again_only_when_told(servers):
    server = servers().start()
    server.create(name="past", **NOOP)
    hour = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z"}
    first = wait_over(lambda: server, begin(server, "past", **hour, **FAST))
    again = wait_over(lambda: server, begin(server, "past", **FAST, **{**hour, "to": "2026-01-01T02:00:00Z"}))
    anew = wait_over(lambda: server, begin(server, "past", rerun="all", **hour, **FAST))
    assert [(one["made"], one["passed"], one["number"]) for one in (first, again, anew)] == [(6, 0, 1), (6, 6, 2), (6, 0, 3)]
    assert len(all_runs(server, "past")) == 18
    listed = server.get("/api/v1/backfills?action=past&limit=2").json
    assert [item["id"] for item in listed["items"]] == [anew["id"], again["id"]]
    assert [item["id"] for item in server.get(f"/api/v1/backfills?limit=2&cursor={listed['next_cursor']}").json["items"]] == [first["id"]]
    server.stop()


def test_the_oldest_of_more_backfills_than_are_listed_at_once_goes_on(servers):
    server = servers().start()
    hour = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z"}
    backfills = []
    for n in range(101):
        server.create(name=f"past{n}", **NOOP)
        assert server.post(f"/api/v1/actions/past{n}/pause").status == 200
        backfills.append(begin(server, f"past{n}", **hour, **FAST))
    assert server.post("/api/v1/actions/past0/resume").status == 200
    assert wait_over(lambda: server, backfills[0])["made"] == 6
    server.stop()


def test_cancel_ends_what_waits_and_what_runs(servers):
    server = servers(exec_enabled=True).start()
    server.create(name="past", overlap="queue", schedule=NOOP["schedule"], **shell("exec sleep 600", timeout="1h"))
    backfill = begin(server, "past", rate="100/s", max_running=5, **DAY)

    def its_runs(**filters):
        return server.runs("past", trigger="backfill", **filters)

    wait_for(lambda: len(its_runs(state="running")) == 1 and len(its_runs(state="pending")) == 4, "five open runs")
    begin(server, "past", expect=409, **DAY)
    assert server.post(f"/api/v1/backfills/{backfill['id']}/cancel").status == 202
    wait_for(lambda: [run["state"] for run in its_runs()] == ["cancelled"] * 5, "the end of its runs")
    shown = server.get(f"/api/v1/backfills/{backfill['id']}").json
    assert (shown["state"], shown["made"], shown["runs"]) == ("cancelled", 5, {"cancelled": 5})
    assert server.post(f"/api/v1/backfills/{backfill['id']}/cancel").status == 409
    server.stop()


def test_a_dry_run_tells_and_does_nothing_and_nonsense_is_refused(servers):
    server = servers().start()
    server.create(name="past", **NOOP)
    server.create(name="dark", **{**NOOP, "schedule": {"cron": "0 * * * *", "blackout": [{"cron": "0 12 * * *", "duration": "3h"}]}})
    server.create(name="after", kind="noop", schedule={"every_after": "1h"})
    shown = begin(server, "past", expect=200, dry_run=True, **DAY)
    assert (shown["total"], shown["first_due_at"], shown["last_due_at"]) == (144, "2026-01-01T00:00:00Z", "2026-01-01T23:50:00Z")
    assert [item["due_at"] for item in shown["items"]] == due_times(DAY["from"], 10)
    shown = begin(server, "dark", expect=200, dry_run=True, **DAY)
    assert (shown["total"], shown["blacked_out"]) == (21, 3)
    assert server.get("/api/v1/backfills").json["items"] == [] and server.runs("past", trigger="backfill") == []

    for more, pointer in (({"from": "yesterday"}, "/from"), ({"to": "2126-01-01T00:00:00Z"}, "/to"), ({"to": DAY["from"]}, "/from"),
                          ({"rate": "200/s"}, "/rate"), ({"rate": "fast"}, "/rate"), ({"rate": 7}, "/rate"), ({"max_running": 0}, "/max_running"),
                          ({"rerun": "some"}, "/rerun"), ({"dry_run": "yes"}, "/dry_run"), ({"colour": 1}, "")):
        problem = begin(server, "past", expect=422, **{**DAY, **more})
        assert problem["errors"][0]["pointer"] == pointer, problem
    assert "14400 due times" in json.dumps(begin(server, "past", expect=422, **{**DAY, "to": "2026-04-11T00:00:00Z"}))
    assert "no due time" in json.dumps(begin(server, "past", expect=422, **{**DAY, "to": "2026-01-01T00:00:01Z", "from": "2026-01-01T00:00:00.5Z"}))
    begin(server, "after", expect=409, **DAY)
    begin(server, "nobody", expect=404, **DAY)
    assert server.get("/api/v1/backfills/nothing").status == 404
    assert server.get("/api/v1/backfills?cursor=x").status == 400
    server.stop()


def test_the_command_line_shows_begins_and_waits(servers):
    server = servers().start()
    server.create(name="past", **NOOP)
    hour = ["--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T01:00:00Z"]
    shown = server.cli("backfill", "past", *hour, "--dry-run").stdout.splitlines()
    assert shown[0] == "2026-01-01T00:00:00+00:00" and shown[-1].startswith("6 due times, from 2026-01-01T00:00:00Z to 2026-01-01T00:50:00Z")
    done = server.cli("backfill", "past", *hour, "--wait", "--rate", "100/s").stdout
    assert "done: 6 of 6 due times done, 0 of them had run before; 0 failed" in done
    assert "past" in server.cli("backfill", "list").stdout
    ident = done.split()[0]
    assert "6 of 6" in server.cli("backfill", "show", ident).stdout
    assert "is done already" in server.cli("backfill", "cancel", ident, expect=1).stderr
    server.cli("backfill", "past", "--from", "7d", expect=2)
    server.stop()
