# SPDX-License-Identifier: Apache-2.0
"""What a person does to runs (pause, resume, retry), limits on what runs and waits, and who goes first."""
import itertools
import subprocess
import threading
import time

import pytest

from calls import ERROR
from harness import BINARY, has_ended, shell, wait_for, wait_lines
from pg import cluster, clusters  # noqa: F401 (fixtures)
from test_instances import database, gang  # noqa: F401 (fixtures)


def running(server, action):
    return server.runs(action, state="running")


def test_paused_program_is_ended_and_its_next_attempt_gets_the_checkpoint(servers, tmp_path):
    server = servers(exec_enabled=True).start()
    server.create(name="long", **shell(
        f'echo "$GATHERING_ATTEMPT $(cat "$GATHERING_CHECKPOINT_FILE" 2>/dev/null)" >> {tmp_path}/starts; '
        f'trap "printf step-7 > \\"$GATHERING_CHECKPOINT_FILE\\"; exit 1" TERM; echo $$ > {tmp_path}/pid; '
        '[ -s "$GATHERING_CHECKPOINT_FILE" ] && exit 0; while :; do sleep 0.05; done'))
    run = server.post("/api/v1/actions/long/run").json
    pid = int(wait_lines(tmp_path / "pid", "the pid")[0])
    assert server.post(f"/api/v1/runs/{run['id']}/pause").status == 202
    held = server.wait_run(run["id"])
    assert (held["state"], held["reason"], held["attempt"]) == ("held", "paused", 0)
    assert has_ended(pid)
    row = server.cli("run", "list", "--action", "long").stdout.splitlines()[1]
    assert row.split()[2:4] == ["held", "paused"], row  # and not the status its program left
    with open(tmp_path / "said", "wb") as said:  # who follows it is told what it waits for
        client = subprocess.Popen([BINARY, "--server", f"{server.host}:{server.port}", "run", "logs", "-f", run["id"]], stderr=said)
    try:
        wait_for(lambda: f"`gathering run resume {run['id']}`" in (tmp_path / "said").read_text(), "a word about it")
        assert server.post(f"/api/v1/runs/{run['id']}/resume").status == 200
        assert client.wait(60) == 0, (tmp_path / "said").read_text()
    finally:
        client.kill()
        client.wait()
    assert server.wait_run(run["id"])["state"] == "succeeded"
    assert (tmp_path / "starts").read_text().splitlines() == ["1 ", "1 step-7"]


def test_retry_repeats_a_run_that_has_ended_and_names_it(servers):
    server = servers(exec_enabled=True).start()
    server.create(name="bad", **shell("exit 3"))
    first = server.post("/api/v1/actions/bad/run").json
    assert server.wait_run(first["id"])["state"] == "failed"
    answer = server.post(f"/api/v1/runs/{first['id']}/retry")
    assert answer.status == 202 and answer.headers["Location"].endswith(answer.json["id"])
    again = server.wait_run(answer.json["id"])
    assert (again["trigger"], again["retry_of"], again["state"]) == ("retry", first["id"], "failed")
    assert server.post(f"/api/v1/runs/{first['id']}/resume").status == 409
    assert "repeated as" in server.cli("run", "retry", first["id"]).stdout


def test_runs_beyond_max_pending_are_refused_and_keep_nothing(servers):
    server = servers(exec_enabled=True, max_running=1).start()
    server.create(name="hold", **shell("sleep 60"))
    server.post("/api/v1/actions/hold/run")
    wait_for(lambda: running(server, "hold"), "the slot is taken")
    server.create(name="q", **shell("true"), overlap="allow", max_pending=2)
    assert [server.post("/api/v1/actions/q/run").status for _ in range(3)] == [202, 202, 429]
    assert server.post("/api/v1/actions/q/run").json["code"] == "queue_full"
    refused = server.cli("action", "run", "q", expect=ERROR)
    assert "2 runs of the action wait already" in refused.stderr and "max_pending" in refused.stderr
    assert len(server.runs("q")) == 2


def test_limits_hold_for_all_instances_together(gang):  # noqa: F811
    servers = gang(2, limits="tag.db=2")
    servers[0].create(name="one", **shell("sleep 0.2"), overlap="allow", tags=["db"])
    servers[0].create(name="two", **shell("sleep 0.2"), overlap="allow", max_concurrent=1)
    most = {"one": 0, "two": 0}
    stop = threading.Event()

    def watch():
        while not stop.is_set():
            for name in most:
                most[name] = max(most[name], len(running(servers[1], name)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for i in range(8):
        for name in most:
            servers[i % 2].post(f"/api/v1/actions/{name}/run")
    wait_for(lambda: all(len(servers[0].runs(name, state="succeeded")) == 8 for name in most), "all have run")
    stop.set()
    watcher.join()
    assert 1 <= most["one"] <= 2 and most["two"] == 1, most


@pytest.mark.parametrize("limits, most", [("kind.exec=2, all=4", 2), ("kind.exec=4, all=3", 3)])
def test_no_more_run_at_a_time_than_kind_and_all_allow(servers, tmp_path, limits, most):
    """Counted by the programs: what they append has an order, and a place is free only behind their end."""
    server = servers(exec_enabled=True, limits=limits).start()
    for name in ("one", "two"):
        server.create(name=name, **shell(f"echo 1 >> {tmp_path}/log; sleep 0.5; echo -1 >> {tmp_path}/log"), overlap="allow")
    for _ in range(4):
        for name in ("one", "two"):
            server.post(f"/api/v1/actions/{name}/run")
    wait_for(lambda: len(server.runs(state="succeeded")) == 8, "all have run")
    steps = [int(line) for line in (tmp_path / "log").read_text().split()]
    assert len(steps) == 16 and max(itertools.accumulate(steps)) <= most, steps


def test_what_waits_for_a_slot_starts_when_all_are_free_again(servers):
    """Kinds that share room are offered it in turns; one that was passed over while it had no slot must get its turn again."""
    server = servers(exec_enabled=True).start()
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 6))
    items = [{"name": f"p{n}", "kind": "exec", "exec": {"command": ["/bin/true"]}, "schedule": {"at": at}} for n in range(80)]
    assert server.post("/api/v1/actions", {"items": items}).status == 201
    # without that they would wait for the poll, most of a minute later
    wait_for(lambda: len(server.runs(state="succeeded")) == 80, "all of them", timeout=40)
