# SPDX-License-Identifier: Apache-2.0
"""Due times and runs on the real server: exactly once, misfire, overlap, retries, crashes, drains."""
import datetime
import signal
import time

import pytest

from harness import has_ended, seeded, shell, wait_for, wait_lines

FINAL = {"succeeded", "failed", "timed_out", "cancelled", "skipped", "held"}


def at_ms(text):
    return round(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def states(runs):
    return [(run["state"], run["reason"]) for run in sorted(runs, key=lambda run: at_ms(run["due_at"]))]


def assert_every_due_time_once(runs, every_ms):
    """From the first due time to the last one, each multiple has exactly one row, or lies within one."""
    covered = []
    for run in runs:
        last = at_ms(run["missed_until"]) if "missed_until" in run else at_ms(run["due_at"])
        covered += range(at_ms(run["due_at"]), last + 1, every_ms)
    covered.sort()
    assert covered == list(range(covered[0], covered[-1] + 1, every_ms))


def wait_running(server, action):
    return wait_for(lambda: server.runs(action, state="running"), f"a running run of {action}")[0]


# --- exactly once ---

def test_every_due_time_runs_once_and_never_early(servers, targets):
    server, target = servers().start(), targets()
    server.create(name="tick", kind="http", http={"url": target.url}, overlap="allow",
                  schedule={"every": "100ms"})
    wait_for(lambda: len(target.requests) >= 30, "30 requests")
    server.post("/api/v1/actions/tick/pause")
    wait_for(lambda: not server.runs("tick", state="pending,running"), "the last runs")
    runs = server.runs("tick", trigger="schedule")
    assert_every_due_time_once(runs, 100)
    keys = [r["headers"]["Idempotency-Key"] for r in target.requests]
    ran = [run for run in runs if run["state"] == "succeeded"]
    assert len(keys) == len(set(keys)) == len(ran)
    for request in target.requests:
        assert request["at"] * 1000 >= at_ms(request["headers"]["X-Gathering-Due-At"])


def test_a_recurrence_rule_runs_as_often_as_it_counts(servers):
    server = servers().start()
    start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))
    server.create(name="r", kind="noop", overlap="allow", schedule={"rrule": "FREQ=SECONDLY;COUNT=3", "start_at": start})
    wait_for(lambda: server.get("/api/v1/actions/r").json["state"] == "completed", "the last due time")
    wait_for(lambda: not server.runs("r", state="pending,running"), "the last run")
    dues = sorted(at_ms(run["due_at"]) - at_ms(start) for run in server.runs("r"))
    assert dues and dues == [0, 1000, 2000][-len(dues):]  # what was over when a slow machine created it is no due time
    refused = server.request("PATCH", "/api/v1/actions/r", {"schedule": {"rrule": "FREQ=DAILY;BYHOUR=25"}})
    assert refused.status == 422 and refused.json["errors"][0]["pointer"] == "/schedule/rrule"


def test_kill_9_again_and_again_loses_and_doubles_no_due_time(servers, targets):
    rng = seeded()
    target = targets()
    server = servers().start()
    for n in range(5):
        server.create(name=f"a{n}", kind="http", http={"url": target.url}, overlap="allow", misfire="all",
                      misfire_grace="50ms", schedule={"every": "100ms"})
    for _ in range(6):
        seen = len(target.requests)
        wait_for(lambda: len(target.requests) > seen + 10, "requests after a start")
        time.sleep(rng.random() * 0.1)  # a random moment, not a wait for an effect
        server.kill()
        server = servers().start()
    for n in range(5):
        server.post(f"/api/v1/actions/a{n}/pause")
    wait_for(lambda: not server.runs(state="pending,running"), "the last runs")
    for n in range(5):
        runs = server.runs(f"a{n}")
        assert_every_due_time_once(runs, 100)
        assert all(run["state"] in FINAL for run in runs)
    # A crash may repeat a run (on_interrupt: retry), always under the same key; an uninterrupted run
    # is never repeated.
    times = {}
    for request in target.requests:
        key = request["headers"]["Idempotency-Key"]
        times[key] = times.get(key, 0) + 1
    interrupted = {run["action_id"] + "/" + run["due_at"] for n in range(5) for run in server.runs(f"a{n}")
                   if run["interruptions"] > 0}
    assert {key for key, count in times.items() if count > 1} <= interrupted


def test_once_runs_once_and_completes(server, targets):
    target = targets()
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(milliseconds=700)
    server.create(name="once", kind="http", http={"url": target.url}, schedule={"at": soon.isoformat()})
    wait_for(lambda: server.runs("once", state="succeeded"), "the run")
    action = server.get("/api/v1/actions/once").json
    assert action["state"] == "completed" and action.get("next_due_at") is None
    assert len(server.runs("once")) == 1 and len(target.requests) == 1


# --- missed due times ---

MISFIRES = {
    "latest": ({"misfire": "latest"}, lambda n: [("skipped", "late")] * (n - 1) + [("succeeded", None)]),
    "skip": ({"misfire": "skip"}, lambda n: [("skipped", "late")] * n),
    "earliest": ({"misfire": "earliest"}, lambda n: [("succeeded", None)] + [("skipped", "late")] * (n - 1)),
    "all": ({"misfire": "all"}, lambda n: [("succeeded", None)] * n),
    "limited": ({"misfire": "all", "max_catchup": 2}, lambda n: [("skipped", "limit")] * (n - 2) + [("succeeded", None)] * 2),
    "too_late": ({"misfire": "all", "max_lateness": "1ms"}, lambda n: [("skipped", "late")] * n),
}


def test_misfire_policies(servers):
    """The schedule ends with the downtime (a cron second that then lies a minute away), so that every
    row after the start is of a missed due time."""
    server = servers(exec_enabled=True).start()
    now = datetime.datetime.now(datetime.timezone.utc)
    start = now + datetime.timedelta(seconds=4 if now.second < 50 else 64 - now.second)
    seconds = ",".join(str(start.second + n) for n in range(4) if start.second + n < 60)
    count = len(seconds.split(","))
    items = [{"name": name, **shell("true"), "overlap": "allow", "misfire_grace": "0s", **policy,
              "schedule": {"cron": f"{seconds} {start.minute} * * * *"}} for name, (policy, _) in MISFIRES.items()]
    assert server.post("/api/v1/actions", {"items": items}).status == 201
    server.stop()
    end = start.replace(microsecond=0) + datetime.timedelta(seconds=count - 1, milliseconds=50)
    wait_for(lambda: datetime.datetime.now(datetime.timezone.utc) > end, "the missed due times to pass")
    server = servers(exec_enabled=True).start()
    for name, (_, expected) in MISFIRES.items():
        wait_for(lambda: len(server.runs(name)) >= count, f"the rows of {name}")
        wait_for(lambda: not server.runs(name, state="pending,running"), f"the runs of {name}")
        assert states(server.runs(name)) == expected(count), name


# --- overlap ---

def test_overlap_skip(servers):
    server = servers(exec_enabled=True, run_max="0s").start()
    server.create(name="slow", **shell("sleep 60"), schedule={"every": "200ms"})
    wait_for(lambda: len(server.runs("slow")) >= 5, "5 due times")
    got = states(server.runs("slow"))
    assert got[0][0] == "running" and set(got[1:]) == {("skipped", "overlap")}
    server.stop(expect=3)


def test_overlap_queue(servers):
    server = servers(exec_enabled=True, run_max="0s").start()
    server.create(name="slow", **shell("sleep 60"), overlap="queue", schedule={"every": "200ms"})
    wait_for(lambda: len(server.runs("slow")) >= 5, "5 due times")
    got = states(server.runs("slow"))
    assert got[0][0] == "running" and got[1] == ("pending", "queued")
    assert set(got[2:]) == {("skipped", "limit")}
    server.post(f"/api/v1/runs/{server.runs('slow', state='running')[0]['id']}/cancel")
    second = sorted(server.runs("slow"), key=lambda run: at_ms(run["due_at"]))[1]
    assert server.wait_run(second["id"], states=["running"])["attempt"] == 1
    server.stop(expect=3)


def test_overlap_allow(servers):
    server = servers(exec_enabled=True, run_max="0s").start()
    server.create(name="slow", **shell("sleep 60"), overlap="allow", schedule={"every": "200ms"})
    wait_for(lambda: len(server.runs("slow", state="running")) >= 4, "4 at a time")
    server.stop(expect=3)


def test_overlap_cancel_running(servers):
    server = servers(exec_enabled=True, run_max="0s").start()
    server.create(name="slow", **shell("sleep 60"), overlap="cancel_running", schedule={"every": "500ms"})
    wait_for(lambda: len(server.runs("slow", state="cancelled")) >= 3, "3 cancelled ones")
    assert {run["reason"] for run in server.runs("slow", state="cancelled")} == {"overlap"}
    assert len(server.runs("slow", state="running")) <= 1
    server.stop(expect=3)


def test_manual_runs_obey_overlap(servers):
    server = servers(exec_enabled=True, run_max="0s").start()
    server.create(name="slow", **shell("sleep 60"))
    first = server.post("/api/v1/actions/slow/run")
    assert first.status == 202 and first.headers["Location"].endswith(first.json["id"])
    wait_running(server, "slow")
    second = server.post("/api/v1/actions/slow/run").json
    assert (second["state"], second["reason"], second["trigger"]) == ("skipped", "overlap", "manual")
    server.stop(expect=3)


# --- retries, cancel, pause ---

def test_retries_until_it_succeeds(servers, tmp_path):
    server = servers(exec_enabled=True).start()
    script = f"echo $GATHERING_ATTEMPT >> {tmp_path}/tries; test $GATHERING_ATTEMPT -ge 3"
    server.create(name="flaky", **shell(script), retry={"max_attempts": 5, "initial": "20ms", "jitter": 0})
    run = server.wait_run(server.post("/api/v1/actions/flaky/run").json["id"])
    assert (run["state"], run["attempt"], run["exit_code"]) == ("succeeded", 3, 0)
    assert (tmp_path / "tries").read_text().split() == ["1", "2", "3"]


def test_retries_end_with_the_last_attempt(servers):
    server = servers(exec_enabled=True).start()
    server.create(name="bad", **shell("echo out; exit 7"), retry={"max_attempts": 3, "initial": "10ms"})
    run = server.wait_run(server.post("/api/v1/actions/bad/run").json["id"])
    assert (run["state"], run["attempt"], run["exit_code"]) == ("failed", 3, 7)
    for attempt in (1, 2, 3):
        assert server.get(f"/api/v1/runs/{run['id']}/output?attempt={attempt}").body == b"out\n"
    assert server.get(f"/api/v1/runs/{run['id']}/output?attempt=4").status == 404


def test_timeout(servers):
    server = servers(exec_enabled=True).start()
    server.create(name="slow", **shell("echo began; sleep 60"), timeout="300ms")
    run = server.wait_run(server.post("/api/v1/actions/slow/run").json["id"])
    assert run["state"] == "timed_out" and "300ms" in run["error"]
    assert server.get(f"/api/v1/runs/{run['id']}/output").body == b"began\n"


def test_cancel_of_a_running_run_ends_its_program(servers, tmp_path):
    server = servers(exec_enabled=True).start()
    server.create(name="slow", **shell(f"echo $$ > {tmp_path}/pid; exec sleep 60"))
    run = server.post("/api/v1/actions/slow/run").json
    pid = int(wait_lines(tmp_path / "pid", "the pid")[0])
    assert server.post(f"/api/v1/runs/{run['id']}/cancel").status == 202
    ended = server.wait_run(run["id"])
    assert (ended["state"], ended["reason"]) == ("cancelled", "user")
    assert has_ended(pid)
    assert server.post(f"/api/v1/runs/{run['id']}/cancel").status == 409


def test_pause_records_and_resume_never_replays(server, targets):
    target = targets()
    server.create(name="p", kind="http", http={"url": target.url}, schedule={"every": "200ms"})
    server.post("/api/v1/actions/p/pause")
    wait_for(lambda: len(server.runs("p", state="skipped")) >= 3, "skipped rows")
    assert {run["reason"] for run in server.runs("p", state="skipped")} == {"paused"}
    asked = len(target.requests)
    server.post("/api/v1/actions/p/resume")
    wait_for(lambda: len(target.requests) > asked, "a run after the resume")
    server.post("/api/v1/actions/p/pause")
    assert_every_due_time_once(server.runs("p"), 200)


def test_pause_without_records(server):
    server.create(name="p", kind="http", http={"url": "http://127.0.0.1:1/"}, pause_records=False,
                  schedule={"every": "200ms"})
    paused = server.post("/api/v1/actions/p/pause").json
    assert paused["state"] == "paused" and paused.get("next_due_at") is None
    count = len(server.runs("p"))
    server.create(name="clock", kind="http", http={"url": "http://127.0.0.1:1/"}, schedule={"every": "200ms"})
    wait_for(lambda: len(server.runs("clock")) >= 3, "time to pass")
    assert len(server.runs("p")) == count


def test_deleting_an_action_ends_its_run(servers, tmp_path):
    server = servers(exec_enabled=True).start()
    server.create(name="slow", **shell(f"echo $$ > {tmp_path}/pid; exec sleep 60"))
    run = server.post("/api/v1/actions/slow/run").json
    pid = int(wait_lines(tmp_path / "pid", "the pid")[0])
    assert server.request("DELETE", "/api/v1/actions/slow").status == 204
    wait_for(lambda: has_ended(pid), "the program to end")
    assert server.get(f"/api/v1/runs/{run['id']}").status == 404


def test_a_change_is_honoured_at_the_next_due_time(server, targets):
    old, new = targets(), targets()
    server.create(name="a", kind="http", http={"url": old.url}, schedule={"every": "200ms"})
    wait_for(lambda: old.requests, "the old target")
    answer = server.request("PATCH", "/api/v1/actions/a", {"http": {"url": new.url}})
    assert answer.status == 200 and answer.json["version"] == 2
    asked = len(old.requests)
    wait_for(lambda: len(new.requests) >= 3, "the new target")
    assert len(old.requests) <= asked + 1  # one may have been on its way


# --- capacity ---

def test_capacity_and_priority(servers, tmp_path):
    server = servers(exec_enabled=True, max_running_exec=1).start()
    for name, priority in (("block", 0), ("low", -5), ("mid", 0), ("high", 9)):
        script = f"echo {name} >> {tmp_path}/order" if name != "block" else \
            f"while ! test -e {tmp_path}/go; do sleep 0.02; done"
        server.create(name=name, **shell(script), priority=priority)
    server.post("/api/v1/actions/block/run")
    wait_running(server, "block")
    runs = [server.post(f"/api/v1/actions/{name}/run").json["id"] for name in ("low", "mid", "high")]
    assert {server.get(f"/api/v1/runs/{run}").json["state"] for run in runs} == {"pending"}
    (tmp_path / "go").touch()
    for run in runs:
        assert server.wait_run(run)["state"] == "succeeded"
    assert (tmp_path / "order").read_text().split() == ["high", "mid", "low"]


def test_500_due_at_one_instant_all_run(servers, targets):
    server, target = servers().start(), targets()
    at = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=3)).isoformat()
    answer = server.post("/api/v1/actions", {"items": [
        {"name": f"a{n}", "kind": "http", "http": {"url": target.url}, "schedule": {"at": at}}
        for n in range(500)]})
    assert answer.status == 201, answer
    wait_for(lambda: len(server.runs(state="succeeded")) == 500, "500 runs", timeout=60)
    assert len({r["headers"]["X-Gathering-Run-Id"] for r in target.requests}) == len(target.requests) == 500


# --- crashes and drains ---

@pytest.mark.parametrize("on_interrupt, state, reason", [
    ("retry", "running", None), ("fail", "failed", "owner_lost"), ("hold", "held", "owner_lost")])
def test_kill_9_in_a_run(servers, tmp_path, on_interrupt, state, reason):
    server = servers(exec_enabled=True).start()
    server.create(name="slow", **shell(f"echo $$ >> {tmp_path}/pids; exec sleep 60"), on_interrupt=on_interrupt)
    run = server.post("/api/v1/actions/slow/run").json
    pids = tmp_path / "pids"
    pid = int(wait_lines(pids, "the pid")[0])
    server.kill()
    wait_for(lambda: has_ended(pid), "the orphan to die with its server")
    server = servers(exec_enabled=True, run_max="0s").start()
    again = server.wait_run(run["id"], states=[state])
    # an interruption that fails the run has used its attempt up; the others have not
    assert (again["reason"], again["interruptions"]) == (reason, 0 if on_interrupt == "fail" else 1)
    if on_interrupt == "retry":
        assert again["attempt"] == 1 and again["epoch"] > run["epoch"]
        wait_lines(pids, "the second start", 2)
        server.stop(expect=3)


def test_term_lets_a_run_finish(servers, tmp_path):
    server = servers(exec_enabled=True).start()
    server.create(name="slow", **shell(f"touch {tmp_path}/began; sleep 2; touch {tmp_path}/ended"))
    run = server.post("/api/v1/actions/slow/run").json
    wait_for((tmp_path / "began").exists, "the run to begin")
    server.stop(expect=0)
    assert (tmp_path / "ended").exists()
    server = servers(exec_enabled=True).start()
    assert server.get(f"/api/v1/runs/{run['id']}").json["state"] == "succeeded"


def test_term_hands_a_long_run_back_and_the_next_start_goes_on(servers, tmp_path):
    server = servers(exec_enabled=True, run_max="300ms").start()
    server.create(name="long", **shell(f"echo x >> {tmp_path}/starts; test -e {tmp_path}/quick || sleep 60"))
    run = server.post("/api/v1/actions/long/run").json
    wait_lines(tmp_path / "starts", "the run to begin")
    server.stop(expect=3)
    (tmp_path / "quick").touch()
    server = servers(exec_enabled=True).start()
    ended = server.wait_run(run["id"])
    assert (ended["state"], ended["attempt"], ended["interruptions"]) == ("succeeded", 1, 1)
    assert (tmp_path / "starts").read_text() == "x\nx\n"


def test_second_signal_ends_runs_at_once(servers, tmp_path):
    server = servers(exec_enabled=True).start()
    server.create(name="deaf", **shell(f"trap '' TERM; touch {tmp_path}/began; while :; do sleep 0.1; done"))
    run = server.post("/api/v1/actions/deaf/run").json
    wait_for((tmp_path / "began").exists, "the run to begin")
    server.signal(signal.SIGTERM)
    wait_for(lambda: "scheduler_stopped" in server.log, "the drain of the runs")
    time.sleep(0.6)  # a second signal within 0.5 s counts as the same one
    server.signal(signal.SIGTERM)
    began = time.monotonic()
    assert server.wait() == 3
    assert time.monotonic() - began < 10  # 3 s by the specification; a noisy machine gets more
    server = servers(exec_enabled=True, run_max="0s").start()
    assert server.wait_run(run["id"], states=["running"])["interruptions"] == 1
    server.stop(expect=3)


def test_nothing_starts_after_the_drain_began(servers, targets):
    target = targets()
    server = servers(notice_min="1500ms", notice_max="1500ms").start()
    for n in range(20):
        server.create(name=f"a{n}", kind="http", http={"url": target.url}, schedule={"every": "100ms"})
    wait_for(lambda: len(target.requests) > 50, "some requests")
    server.signal(signal.SIGTERM)
    wait_for(lambda: server.get("/health/ready").status == 503, "the 503")
    drained_at = time.time()
    assert server.wait() == 0
    assert all(request["at"] < drained_at + 0.5 for request in target.requests)
    server = servers().start()
    for n in range(20):
        server.post(f"/api/v1/actions/a{n}/pause")
        assert_every_due_time_once(server.runs(f"a{n}"), 100)


def test_a_manual_run_cancels_the_running_one_when_asked_to(servers):
    server = servers(exec_enabled=True, run_max="0s").start()
    server.create(name="slow", **shell("sleep 60"), overlap="cancel_running")
    first = server.post("/api/v1/actions/slow/run").json
    wait_running(server, "slow")
    second = server.post("/api/v1/actions/slow/run").json
    ended = server.wait_run(first["id"])
    assert (ended["state"], ended["reason"]) == ("cancelled", "overlap")
    server.wait_run(second["id"], states=["running"])
    server.stop(expect=3)
